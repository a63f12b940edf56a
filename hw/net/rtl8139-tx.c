/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RTL8139: transmitting. Four slots of one buffer each (data sheet 5.2, 5.3), or two rings of
 * descriptors (C+ programming guide, "transmit descriptor"), whose frames may be in pieces and have
 * checksums filled in, VLAN tags put in, and large TCP segments cut.
 *
 * A frame goes to the host out of the guest's memory. Its headers are copied first: what the chip
 * decides by them, and changes in them, is the copy. A ring that a guest fills as fast as we send
 * has its turn, and then others have theirs.
 */
#include <errno.h>
#include <string.h>

#include <xendm/bytes.h>
#include <xendm/machine.h>
#include <xendm/tape.h>
#include <xendm/turn.h>

#include "rtl8139.h"

#define FRAMES_A_TURN 64u
#define PIECES 32u

/* C+ descriptor, first dword. */
#define TXD_OWN 0x80000000u
#define TXD_EOR 0x40000000u
#define TXD_FS 0x20000000u
#define TXD_LS 0x10000000u
#define TXD_LGSEN 0x08000000u
#define TXD_MSS(d) ((d) >> 16 & 0x7ffu)
#define TXD_IPCS 0x40000u
#define TXD_UDPCS 0x20000u
#define TXD_TCPCS 0x10000u
#define TXD_SIZE 0xffffu
#define TXD_TAGC 0x20000u /* second dword: put this tag in */
#define TXD_BYTES 16u
#define TXD_COUNT 64u

#define HEAD_MAX 160u /* Ethernet, tag, IPv4 and TCP with all their options, and some */

struct tx_frame {
    uint8_t head[HEAD_MAX + NET_TAG_LEN];
    size_t head_len; /* in the copy, tag included */
    size_t taken;    /* of the list, for the copy */
    struct net_offload offload;
};

/*
 * Loopback: to the receiver instead of the cable. 0, or -EAGAIN as net_send(): then the frame stays
 * where it is.
 */
static int send_frame(struct rtl8139 *s, const struct tx_frame *f, const struct iovec *iov,
                      unsigned niov)
{
    uint8_t frame[4096];
    size_t len, rest = dma_list_bytes(s->list) - f->taken;

    if ((s->tcr & RTL_TCR_LBK) != RTL_TCR_LBK) {
        return net_send(s->net, iov, niov, f->offload.flags ? &f->offload : NULL);
    }
    rest = MIN(rest, sizeof(frame) - f->head_len);
    len = f->head_len + rest;
    memcpy(frame, f->head, f->head_len);
    if (len >= NET_HEADER_LEN && dma_list_get(s->list, f->taken, frame + f->head_len, rest) == 0) {
        rtl8139_receive(s, frame, len);
    }
    return 0;
}

/* ---- 8139: four slots ---- */

static int send_slot(struct rtl8139 *s, uint32_t *tsd, uint32_t address)
{
    static const struct tx_frame all; /* nothing of it is ours */
    uint32_t len = *tsd & RTL_TSD_SIZE;
    unsigned niov = 0;
    int64_t got;
    int error = 0;

    dma_list_begin(s->list, DMA_TO_DEVICE);
    got = len ? dma_list_add(s->list, address, len) : 0;
    if (got == (int64_t)len && len >= NET_HEADER_LEN) {
        struct iovec *iov = dma_list_iov(s->list, 0, len, &niov);
        error = send_frame(s, &all, iov, niov);
    }
    dma_list_end(s->list, error == -EAGAIN ? 0 : len);
    if (error == -EAGAIN) {
        return error;
    }
    if (got < 0) {
        rtl8139_raise(s, RTL_INT_SERR);
    }
    *tsd |= RTL_TSD_OWN | RTL_TSD_TOK;
    s->tally.tx_ok++;
    rtl8139_raise(s, RTL_INT_TOK);
    return 0;
}

/* False: done, or the host has no room. */
static bool transmit_slot(struct rtl8139 *s)
{
    if (s->tsd[s->slot] & RTL_TSD_OWN) {
        return false;
    }
    if (send_slot(s, &s->tsd[s->slot], s->tsad[s->slot]) == -EAGAIN) {
        s->tx_waiting = true;
        return false;
    }
    s->slot = (s->slot + 1) % RTL_SLOTS;
    return true;
}

/* ---- C+: rings ---- */

struct ring {
    uint64_t base;
    uint32_t *next;
};

static struct ring tx_ring(struct rtl8139 *s, bool high)
{
    unsigned i = high ? 2 : 0;

    return (struct ring){((uint64_t)s->tsad[i + 1] << 32 | s->tsad[i]) & ~(uint64_t)0xff,
                         high ? &s->tx_high_next : &s->tx_next};
}

/* The second dword has the tag as it goes onto the wire, read little-endian. */
static void put_tag(struct tx_frame *f, uint32_t second)
{
    if ((second & TXD_TAGC) && f->head_len >= NET_HEADER_LEN) {
        f->head_len =
            net_put_tag(f->head, f->head_len, NET_TYPE_VLAN, GUINT16_SWAP_LE_BE((uint16_t)second));
    }
}

/* The sum of TCP's or UDP's pseudo header goes into the field; the rest is the host's. */
static void ask_checksum(struct tx_frame *f, const struct net_headers *h, size_t len)
{
    store_be16(f->head + h->transport + h->csum_offset,
               net_fold(net_pseudo_sum(f->head, h, len - h->transport)));
    f->offload.flags |= NET_CSUM;
    f->offload.csum_start = (uint16_t)h->transport;
    f->offload.csum_offset = h->csum_offset;
}

static void ask_segments(struct tx_frame *f, const struct net_headers *h, uint32_t first,
                         size_t len)
{
    if (!h->payload || !TXD_MSS(first) || h->payload + TXD_MSS(first) >= len) {
        return; /* no TCP, or small enough */
    }
    f->offload.flags |= NET_TSO4;
    f->offload.segment = (uint16_t)TXD_MSS(first);
    f->offload.header = (uint16_t)h->payload;
}

/* What the descriptor asks for, as far as the frame is what it says: IPv4, and TCP or UDP in it. */
static void look_at_headers(struct tx_frame *f, uint32_t first, size_t len)
{
    struct net_headers h;

    if (!(first & (TXD_IPCS | TXD_UDPCS | TXD_TCPCS | TXD_LGSEN)) ||
        !net_find_headers(f->head, f->head_len, &h) || h.version != 4) {
        return;
    }
    bool tcp = h.transport && h.protocol == NET_TCP, udp = h.transport && h.protocol == NET_UDP;
    bool large = first & TXD_LGSEN;
    if (large && tcp) {
        ask_segments(f, &h, first, len);
    }
    if ((tcp && (large || (first & TXD_TCPCS))) || (udp && !large && (first & TXD_UDPCS))) {
        ask_checksum(f, &h, len);
    }
    if (large || (first & TXD_IPCS)) {
        net_fill_ipv4_sum(f->head, &h);
    }
}

static int send_list(struct rtl8139 *s, uint32_t first, uint32_t second)
{
    struct tx_frame f = {.head_len = 0};
    struct iovec with[PIECES + 2], *iov;
    size_t len = dma_list_bytes(s->list);
    unsigned niov;

    f.taken = f.head_len = MIN(len, HEAD_MAX);
    if (len < NET_HEADER_LEN || dma_list_get_headers(s->list, f.head, f.taken) < 0) {
        return 0;
    }
    put_tag(&f, second);
    look_at_headers(&f, first, len - f.taken + f.head_len);
    with[0] = (struct iovec){f.head, f.head_len};
    iov = dma_list_iov(s->list, f.taken, len - f.taken, &niov);
    niov = MIN(niov, PIECES + 1);
    memcpy(with + 1, iov, niov * sizeof(*iov));
    return send_frame(s, &f, with, niov + 1);
}

struct chain {
    uint32_t first, second; /* of the first descriptor, which has the frame's wishes */
    unsigned count;
    uint32_t index[TXD_COUNT];
    uint32_t dword[TXD_COUNT];
    bool whole, broken;
};

/*
 * Descriptors of one frame. Not whole: the guest has not filled them all yet. Broken: the frame
 * cannot be sent, and its descriptors go back to the guest all the same.
 */
static void fetch_chain(struct rtl8139 *s, const struct ring *r, struct chain *c)
{
    uint32_t at = *r->next;
    uint8_t d[TXD_BYTES];
    size_t bytes = 0;

    memset(c, 0, offsetof(struct chain, index));
    c->whole = c->broken = false;
    while (c->count < TXD_COUNT && !c->whole) {
        if (dma_read(&s->pci.dev, r->base + (uint64_t)at * TXD_BYTES, d, sizeof(d)) < 0) {
            rtl8139_raise(s, RTL_INT_SERR);
            return;
        }
        uint32_t first = load_le32(d), size = first & TXD_SIZE;
        if (!(first & TXD_OWN)) {
            return;
        }
        if (c->count == 0) {
            c->first = first;
            c->second = load_le32(d + 4);
        }
        uint64_t address = (uint64_t)load_le32(d + 12) << 32 | load_le32(d + 8);
        bytes += size;
        if (size && !c->broken &&
            (bytes > NET_FRAME_MAX - NET_TAG_LEN ||
             dma_list_add(s->list, address, size) != (int64_t)size)) {
            c->broken = true;
        }
        c->index[c->count] = at;
        c->dword[c->count++] = first;
        c->whole = first & TXD_LS;
        at = first & TXD_EOR ? 0 : (at + 1) % TXD_COUNT;
    }
    c->broken |= !c->whole;
    c->whole = true;
}

static void give_back(struct rtl8139 *s, const struct ring *r, const struct chain *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        uint8_t d[4];
        store_le32(d, c->dword[i] & ~TXD_OWN);
        if (dma_write(&s->pci.dev, r->base + (uint64_t)c->index[i] * TXD_BYTES, d, 4) < 0) {
            rtl8139_raise(s, RTL_INT_SERR);
        }
    }
    uint32_t last = c->dword[c->count - 1];
    *r->next = last & TXD_EOR ? 0 : (c->index[c->count - 1] + 1) % TXD_COUNT;
}

static bool transmit_ring(struct rtl8139 *s, bool high)
{
    struct ring r = tx_ring(s, high);
    struct chain c;
    int error = 0;

    dma_list_begin(s->list, DMA_TO_DEVICE);
    fetch_chain(s, &r, &c);
    if (c.whole && !c.broken) {
        error = send_list(s, c.first, c.second);
    }
    dma_list_end(s->list, c.whole && error != -EAGAIN ? dma_list_bytes(s->list) : 0);
    if (error == -EAGAIN) {
        s->tx_waiting = true;
        return false;
    }
    if (!c.whole) {
        return false;
    }
    give_back(s, &r, &c);
    if (c.broken) {
        s->tally.tx_error++;
        rtl8139_raise(s, RTL_INT_TER);
    } else {
        s->tally.tx_ok++;
        rtl8139_raise(s, RTL_INT_TOK);
    }
    return true;
}

/* ---- both ---- */

static bool transmit_one(struct rtl8139 *s)
{
    if (!(s->cr & RTL_CR_TE)) {
        return false;
    }
    if (!(s->cpcr & RTL_CP_TX)) {
        return transmit_slot(s);
    }
    return transmit_ring(s, true) || (!s->tx_waiting && transmit_ring(s, false));
}

static void go_on(void *opaque)
{
    rtl8139_transmit(opaque);
}

static const struct later_kind tx_later = {.turn = "rtl8139", .go_on = go_on};

void rtl8139_transmit(struct rtl8139 *s)
{
    unsigned left = FRAMES_A_TURN;

    s->tx_waiting = false;
    bool more = true;

    while (left > 0 && !(left < FRAMES_A_TURN && tape_late(turn_is_used_up())) &&
           (more = transmit_one(s))) {
        left--;
    }
    if (more) {
        later_ask(&s->tx_later, &tx_later, s, s->pci.dev.id);
    }
}

void rtl8139_transmit_stop(struct rtl8139 *s)
{
    later_forget(&s->tx_later);
}
