/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 82540EM: receiving (manual 3.2). A frame goes into as many buffers as it needs. While there is no
 * descriptor it stays with the host, as in the chip's 64 KiB of memory: nothing is lost by a driver
 * that is slow.
 */
#include <string.h>

#include <zlib.h>

#include <xendm/bytes.h>

#include "e1000.h"

#define DESCRIPTOR 16u
#define FCS 4u
#define FRAME_NORMAL 1518u /* without FCS and with a tag, 1522 with: 13.4.22, LPE */
#define FRAME_LIMIT 16384u

#define RXD_DD 0x01u
#define RXD_EOP 0x02u
#define RXD_IXSM 0x04u
#define RXD_VP 0x08u
#define RXD_PIF 0x80u /* passed an inexact filter: software has to look */
#define RAH_AV 0x80000000u

static unsigned ring_size(const struct e1000 *s)
{
    return s->rdlen / DESCRIPTOR;
}

static unsigned ring_left(const struct e1000 *s)
{
    unsigned n = ring_size(s);

    return n && s->rdh < n && s->rdt < n ? (s->rdt + n - s->rdh) % n : 0;
}

/* 13.4.22: BSIZE, and BSEX for sixteen times as much. */
static unsigned buffer_bytes(const struct e1000 *s)
{
    unsigned bsize = s->rctl >> 16 & 3;

    if (s->rctl & E1000_RCTL_BSEX) {
        return bsize ? 32768u >> bsize : 2048;
    }
    return 2048u >> bsize;
}

enum match {
    MATCH_NONE,
    MATCH_EXACT,
    MATCH_INEXACT,
};

static bool tagged(const struct e1000 *s, const uint8_t *f, size_t len)
{
    return net_tagged(f, len, (uint16_t)s->vet);
}

static bool vlan_wanted(const struct e1000 *s, const uint8_t *f, size_t len)
{
    unsigned id = load_be16(f + 14) & 0xfff;

    return !(s->rctl & E1000_RCTL_VFE) || !tagged(s, f, len) || (s->vfta[id >> 5] >> (id & 31) & 1);
}

/* 3.2.1: exact addresses, then the hash of twelve bits that MO picks. */
static enum match match_address(const struct e1000 *s, const uint8_t *f)
{
    static const uint8_t shift[] = {4, 3, 2, 0};
    uint32_t low = load_le32(f);
    uint32_t high = f[4] | (uint32_t)f[5] << 8;

    for (unsigned i = 0; i < 32; i += 2) {
        if ((s->ra[i + 1] & RAH_AV) && s->ra[i] == low && (s->ra[i + 1] & 0xffff) == high) {
            return MATCH_EXACT;
        }
    }
    unsigned hash = high >> shift[s->rctl >> 12 & 3] & 0xfff;
    return s->mta[hash >> 5] >> (hash & 31) & 1 ? MATCH_INEXACT : MATCH_NONE;
}

static enum match match(const struct e1000 *s, const uint8_t *f, size_t len)
{
    bool multicast = f[0] & 1;

    if (!vlan_wanted(s, f, len)) {
        return MATCH_NONE;
    }
    if (s->rctl & (multicast ? E1000_RCTL_MPE : E1000_RCTL_UPE)) {
        return MATCH_EXACT;
    }
    if ((s->rctl & E1000_RCTL_BAM) && net_broadcast(f)) {
        return MATCH_EXACT;
    }
    return match_address(s, f);
}

static void count(struct e1000 *s, const uint8_t *f, size_t len)
{
    e1000_count(s, E1000_STAT_TPR);
    e1000_count(s, E1000_STAT_GPRC);
    e1000_count64(s, E1000_STAT_TOR, len + FCS);
    e1000_count64(s, E1000_STAT_GORC, len + FCS);
    e1000_count_length(s, E1000_STAT_PRC64, len);
    if (net_broadcast(f)) {
        e1000_count(s, E1000_STAT_BPRC);
    } else if (f[0] & 1) {
        e1000_count(s, E1000_STAT_MPRC);
    }
}

/* One buffer; the status byte is written last, since the guest may look at any moment. */
static bool fill_buffer(struct e1000 *s, const uint8_t *data, size_t len, uint8_t status,
                        uint16_t tag)
{
    uint64_t ring = (uint64_t)s->rdbah << 32 | (s->rdbal & ~15u);
    uint64_t at = ring + (uint64_t)s->rdh * DESCRIPTOR, to;
    uint8_t d[8] = {0};

    if (dma_read(&s->pci.dev, at, &to, sizeof(to)) < 0) {
        return false;
    }
    to = GUINT64_FROM_LE(to);
    if (to && dma_write(&s->pci.dev, to, data, len) < 0) {
        return false;
    }
    store_le16(d, len);
    d[4] = status;
    store_le16(d + 6, tag);
    if (dma_write(&s->pci.dev, at + 8, d, 4) < 0 || dma_write(&s->pci.dev, at + 14, d + 6, 2) < 0 ||
        dma_write(&s->pci.dev, at + 12, d + 4, 2) < 0) {
        return false;
    }
    s->rdh = (s->rdh + 1) % ring_size(s);
    return true;
}

/* 13.4.22, RDMTS: half, a quarter or an eighth of the ring is left. */
static bool below_threshold(const struct e1000 *s)
{
    return ring_left(s) <= ring_size(s) >> ((s->rctl >> 8 & 3) + 1);
}

static void store(struct e1000 *s, const uint8_t *data, size_t len, uint8_t status, uint16_t tag)
{
    unsigned piece = buffer_bytes(s);

    for (size_t at = 0; at < len; at += piece) {
        size_t n = MIN(piece, len - at);
        bool last = at + n == len;
        if (!fill_buffer(s, data + at, n, status | RXD_DD | (last ? RXD_EOP : 0), last ? tag : 0)) {
            e1000_raise(s, E1000_INT_RXO); /* a master abort: nothing better to say */
            return;
        }
    }
    e1000_raise(s, E1000_INT_RXT0 | (below_threshold(s) ? E1000_INT_RXDMT0 : 0));
}

static bool stripped_tag(const struct e1000 *s, const uint8_t *frame, size_t len)
{
    return (s->ctrl & E1000_CTRL_VME) && tagged(s, frame, len);
}

/* A frame that is not stored as it came: without its tag, with the sum at its end. */
static void store_copy(struct e1000 *s, const uint8_t *frame, size_t len, uint8_t status)
{
    g_autofree uint8_t *copy = g_malloc(len + FCS);
    uint16_t tag = 0;
    uint32_t fcs;

    memcpy(copy, frame, len);
    if (stripped_tag(s, frame, len)) {
        tag = (uint16_t)(frame[14] << 8 | frame[15]);
        status |= RXD_VP;
        memcpy(copy + 12, frame + 16, len - 16);
        len -= 4;
    }
    if (!(s->rctl & E1000_RCTL_SECRC)) {
        fcs = GUINT32_TO_LE((uint32_t)crc32(0, copy, (uInt)len));
        memcpy(copy + len, &fcs, FCS);
        len += FCS;
    }
    store(s, copy, len, status, tag);
}

static bool receive_padded(struct e1000 *s, const uint8_t *frame, size_t len)
{
    enum match m = match(s, frame, len);
    uint8_t status = RXD_IXSM | (m == MATCH_INEXACT ? RXD_PIF : 0);

    if (m == MATCH_NONE) {
        return false;
    }
    if (len > FRAME_NORMAL && !(s->rctl & E1000_RCTL_LPE)) {
        e1000_count(s, E1000_STAT_ROC);
        return false;
    }
    size_t needed = (len + FCS + buffer_bytes(s) - 1) / buffer_bytes(s);
    if (needed > ring_left(s)) {
        e1000_count(s, E1000_STAT_MPC);
        e1000_raise(s, E1000_INT_RXO);
        return false;
    }
    count(s, frame, len);
    if (!(s->rctl & E1000_RCTL_SECRC) || stripped_tag(s, frame, len)) {
        store_copy(s, frame, len, status);
    } else {
        store(s, frame, len, status, 0);
    }
    return true;
}

bool e1000_receive(struct e1000 *s, const uint8_t *frame, size_t len)
{
    uint8_t padded[NET_FRAME_MIN] = {0};

    if (!(s->rctl & E1000_RCTL_EN) || len + FCS > FRAME_LIMIT) {
        return false;
    }
    if (len >= NET_FRAME_MIN) {
        return receive_padded(s, frame, len);
    }
    memcpy(padded, frame, len);
    return receive_padded(s, padded, NET_FRAME_MIN);
}

static bool can_receive(void *opaque)
{
    const struct e1000 *s = opaque;

    /* off: frames go by; on: as long as one of normal size has room */
    return !(s->rctl & E1000_RCTL_EN) ||
           ring_left(s) >= (FRAME_NORMAL + FCS + buffer_bytes(s) - 1) / buffer_bytes(s);
}

static bool receive(void *opaque, const uint8_t *frame, size_t len, const struct net_offload *o)
{
    struct e1000 *s = opaque;

    return !e1000_loops_back(s) && e1000_receive(s, frame, len);
}

static void sent(void *opaque)
{
    e1000_transmit(opaque);
}

static void link_changed(void *opaque, bool up)
{
    struct e1000 *s = opaque;

    e1000_phy_link(s);
    e1000_raise(s, E1000_INT_LSC);
}

const struct net_device e1000_net = {
    .taped = true,
    .can_receive = can_receive,
    .receive = receive,
    .sent = sent,
    .link_changed = link_changed,
};
