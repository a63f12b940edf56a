/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RTL8139: receiving. The 8139 writes frames one behind the other into a ring of bytes (data sheet
 * 6.1), the C+ into buffers that descriptors name ("receive descriptor", C+ programming guide).
 *
 * A frame that does not fit is missed, counted and told (RXOVW); where the driver does not want to
 * hear of it, the frame stays with the host until there is room.
 */
#include <string.h>

#include <zlib.h>

#include <xendm/bytes.h>
#include <xendm/machine.h>

#include "rtl8139.h"

#define RX_STATUS_OK 0x0001u
#define RX_STATUS_BROADCAST 0x2000u
#define RX_STATUS_PHYSICAL 0x4000u
#define RX_STATUS_MULTICAST 0x8000u
#define RX_HEADER 4u
#define FCS 4u
#define FRAME_LIMIT 4096u /* larger ones are no cable's */

/* C+ descriptor, first dword. */
#define RXD_OWN 0x80000000u
#define RXD_EOR 0x40000000u
#define RXD_FS 0x20000000u
#define RXD_LS 0x10000000u
#define RXD_MAR 0x08000000u
#define RXD_PAM 0x04000000u
#define RXD_BAR 0x02000000u
#define RXD_SIZE 0x1fffu
#define RXD_TAVA 0x10000u /* second dword: a tag was taken out */
#define RXD_BYTES 16u
#define RXD_COUNT 64u /* the most in a ring */

/* The bits of the header's status that say whose frame it is; 0: nobody's. */
static unsigned addressee(const struct rtl8139 *s, const uint8_t *frame)
{
    unsigned bits = 0;

    if (net_broadcast(frame)) {
        bits = RX_STATUS_BROADCAST;
        return s->rcr & (RTL_RCR_AB | RTL_RCR_AAP) ? bits : 0;
    }
    if (frame[0] & 1) {
        unsigned hash = net_mac_crc(frame) >> 26;
        bool wanted = (s->rcr & RTL_RCR_AM) && (s->mar[hash >> 3] >> (hash & 7) & 1);
        return wanted || (s->rcr & RTL_RCR_AAP) ? RX_STATUS_MULTICAST : 0;
    }
    if (memcmp(frame, s->idr, NET_MAC_LEN) == 0) {
        return s->rcr & (RTL_RCR_APM | RTL_RCR_AAP) ? RX_STATUS_PHYSICAL : 0;
    }
    /* promiscuous: received, and no bit says that it was for us; something has to be returned */
    return s->rcr & RTL_RCR_AAP ? RX_STATUS_OK : 0;
}

static void count(struct rtl8139 *s, unsigned who)
{
    s->tally.rx_ok++;
    if (who & RX_STATUS_BROADCAST) {
        s->tally.rx_broadcast++;
    } else if (who & RX_STATUS_MULTICAST) {
        s->tally.rx_multicast++;
    } else {
        s->tally.rx_unicast++;
    }
}

static void miss(struct rtl8139 *s)
{
    s->missed = (s->missed + 1) & 0xffffff;
    s->tally.missed++;
    rtl8139_raise(s, RTL_INT_RXOVW);
}

/* ---- 8139: the ring of bytes ---- */

static uint32_t ring_room(const struct rtl8139 *s)
{
    uint32_t bytes = rtl8139_ring_bytes(s);
    uint32_t room = (bytes + s->capr - s->cbr) % bytes;

    return room ? room : bytes; /* equal means empty: the chip never fills it to the last byte */
}

static uint32_t ring_need(size_t len)
{
    return ((uint32_t)len + RX_HEADER + FCS + 3) & ~3u;
}

/*
 * At the end of the ring it goes on at the start, or, with WRAP and a ring that has a tail, beyond
 * it (data sheet 5.8: the driver gives 1.5 KiB more).
 */
static bool ring_put(struct rtl8139 *s, const uint8_t *buf, uint32_t len)
{
    uint32_t bytes = rtl8139_ring_bytes(s);
    uint32_t to_end = bytes - s->cbr % bytes;
    bool linear = (s->rcr & RTL_RCR_WRAP) && bytes < 65536;
    uint32_t first = linear ? len : MIN(len, to_end);
    bool ok = dma_write(&s->pci.dev, (uint32_t)(s->rbstart + s->cbr), buf, first) == 0;

    if (ok && first < len) {
        ok = dma_write(&s->pci.dev, s->rbstart, buf + first, len - first) == 0;
    }
    return ok;
}

static void ring_receive(struct rtl8139 *s, const uint8_t *frame, size_t len, unsigned who)
{
    uint8_t buf[RX_HEADER + FRAME_LIMIT + FCS + 3] = {0};
    uint32_t bytes = rtl8139_ring_bytes(s), need = ring_need(len);
    uint16_t status = (uint16_t)(RX_STATUS_OK | who);

    if (need >= ring_room(s)) {
        miss(s);
        return;
    }
    store_le32(buf, status | (uint32_t)(len + FCS) << 16);
    memcpy(buf + RX_HEADER, frame, len);
    store_le32(buf + RX_HEADER + len, (uint32_t)crc32(0, frame, (uInt)len));
    if (!ring_put(s, buf, need)) {
        rtl8139_raise(s, RTL_INT_SERR);
        return;
    }
    s->cbr = (uint16_t)((s->cbr + need) % bytes);
    count(s, who);
    rtl8139_raise(s, RTL_INT_ROK);
}

/* ---- C+: the ring of descriptors ---- */

static uint64_t descriptor_address(const struct rtl8139 *s)
{
    uint64_t base = (uint64_t)s->rdsar_high << 32 | s->rdsar_low;

    return (base & ~(uint64_t)0xff) + (uint64_t)s->rx_next * RXD_BYTES;
}

/* VLAN tag out of the frame; the second dword has it as it was on the wire, read little-endian. */
static size_t take_tag(const struct rtl8139 *s, uint8_t *frame, size_t len, uint32_t *second)
{
    *second = 0;
    if (!(s->cpcr & RTL_CP_RXVLAN) || !net_tagged(frame, len, NET_TYPE_VLAN)) {
        return len;
    }
    *second = RXD_TAVA | frame[14] | (uint32_t)frame[15] << 8;
    memmove(frame + 12, frame + 12 + NET_TAG_LEN, len - 12 - NET_TAG_LEN);
    len -= NET_TAG_LEN;
    if (len < NET_FRAME_MIN) {
        memset(frame + len, 0, NET_FRAME_MIN - len);
        len = NET_FRAME_MIN;
    }
    return len;
}

static void plus_receive(struct rtl8139 *s, const uint8_t *frame, size_t len, unsigned who)
{
    uint8_t d[RXD_BYTES], buf[FRAME_LIMIT + FCS];
    uint64_t at = descriptor_address(s);
    uint32_t second;

    if (dma_read(&s->pci.dev, at, d, sizeof(d)) < 0) {
        rtl8139_raise(s, RTL_INT_SERR);
        return;
    }
    uint32_t first = load_le32(d);
    if (!(first & RXD_OWN)) {
        miss(s);
        return;
    }
    memcpy(buf, frame, len);
    len = take_tag(s, buf, len, &second);
    store_le32(buf + len, (uint32_t)crc32(0, buf, (uInt)len));
    if (len + FCS > (first & RXD_SIZE)) {
        miss(s); /* the drivers give one buffer a frame, and know no other way either */
        return;
    }
    uint64_t to = (uint64_t)load_le32(d + 12) << 32 | load_le32(d + 8);
    if (dma_write(&s->pci.dev, to, buf, len + FCS) < 0) {
        rtl8139_raise(s, RTL_INT_SERR);
        return;
    }
    uint32_t eor = first & RXD_EOR;
    uint32_t status = eor | RXD_FS | RXD_LS | (uint32_t)(len + FCS);
    status |= who & RX_STATUS_BROADCAST ? RXD_BAR : 0;
    status |= who & RX_STATUS_MULTICAST ? RXD_MAR : 0;
    status |= who & RX_STATUS_PHYSICAL ? RXD_PAM : 0;
    store_le32(d, status);
    store_le32(d + 4, second);
    /* the dword with OWN last: the guest may look at any moment */
    if (dma_write(&s->pci.dev, at + 4, d + 4, 4) < 0 || dma_write(&s->pci.dev, at, d, 4) < 0) {
        rtl8139_raise(s, RTL_INT_SERR);
        return;
    }
    s->rx_next = eor ? 0 : (s->rx_next + 1) % RXD_COUNT;
    count(s, who);
    rtl8139_raise(s, RTL_INT_ROK);
}

/* ---- both ---- */

bool rtl8139_receive(struct rtl8139 *s, const uint8_t *frame, size_t len)
{
    uint8_t padded[NET_FRAME_MIN] = {0};
    unsigned who;

    if (!(s->cr & RTL_CR_RE) || len > FRAME_LIMIT - 1 || !(who = addressee(s, frame))) {
        return false;
    }
    if (len < NET_FRAME_MIN) {
        memcpy(padded, frame, len);
        frame = padded;
        len = NET_FRAME_MIN;
    }
    if (rtl8139_rx_plus(s)) {
        plus_receive(s, frame, len, who);
    } else {
        ring_receive(s, frame, len, who);
    }
    return true;
}

static bool can_receive(void *opaque)
{
    const struct rtl8139 *s = opaque;

    return !(s->cr & RTL_CR_RE) || rtl8139_rx_plus(s) || (s->imr & RTL_INT_RXOVW) ||
           ring_room(s) > ring_need(NET_HEADER_LEN + 1504);
}

static bool receive(void *opaque, const uint8_t *frame, size_t len, const struct net_offload *o)
{
    return rtl8139_receive(opaque, frame, len);
}

static void sent(void *opaque)
{
    rtl8139_transmit(opaque);
}

static void link_changed(void *opaque, bool up)
{
    rtl8139_raise(opaque, RTL_INT_LINK);
}

const struct net_device rtl8139_net = {
    .taped = true,
    .can_receive = can_receive,
    .receive = receive,
    .sent = sent,
    .link_changed = link_changed,
};

/* The driver has read so far. */
void rtl8139_capr_written(struct rtl8139 *s, uint16_t capr)
{
    s->capr = (uint16_t)((capr + RTL_RXBUF_TAIL) % rtl8139_ring_bytes(s));
    net_receive_again(s->net);
}
