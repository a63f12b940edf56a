/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 82540EM: transmitting (manual 3.3, 3.4, 3.5). A frame goes to the host out of the guest's memory;
 * its headers are copied first, and what offloads ask for is done by the copy. A ring that a guest
 * fills as fast as we send has its turn, and then others have theirs.
 *
 * Left out: segmentation of UDP, FCS of the driver's own (IFCS clear: the host's cable has none).
 */
#include <errno.h>
#include <string.h>

#include <xendm/bytes.h>
#include <xendm/tape.h>
#include <xendm/turn.h>

#include "e1000.h"

#define DESCRIPTOR 16u
#define FRAMES_A_TURN 64u
#define DESCRIPTORS_A_TURN 512u
#define PIECES (NET_IOV_MAX - 2u)
#define HEAD_MAX 256u /* HDRLEN has eight bits */

/* Command bits of the second dword's upper byte (table 3-10), as bits of the dword. */
#define TXD_EOP 0x01000000u
#define TXD_IC 0x04000000u  /* legacy: insert a checksum */
#define TXD_TSE 0x04000000u /* data descriptors: cut */
#define TXD_RS 0x08000000u
#define TXD_DEXT 0x20000000u
#define TXD_VLE 0x40000000u
#define TXD_IDE 0x80000000u
#define TXD_DATA 0x00100000u /* DTYP 1 */
#define TXD_DD 0x01u
#define POPTS_IXSM 0x01u
#define POPTS_TXSM 0x02u
#define TUCMD_TCP 0x01u
#define TUCMD_IP 0x02u /* version 4 */
#define TUCMD_TSE 0x04u

struct tx_frame {
    uint8_t head[HEAD_MAX + NET_TAG_LEN];
    size_t head_len, taken; /* in the copy; of the list */
    struct net_offload offload;
};

/* What the descriptors of one frame said; the first one's offloads count (3.3.7). */
struct tx_wish {
    unsigned count;
    uint32_t first; /* second dword of the first descriptor */
    uint8_t popts;
    uint16_t tag;
    uint32_t all; /* RS, IDE, VLE of any */
    uint8_t cso, css;
    bool whole, broken;
};

static unsigned ring_size(const struct e1000 *s)
{
    return s->tdlen / DESCRIPTOR;
}

static uint64_t descriptor_at(const struct e1000 *s, unsigned index)
{
    return ((uint64_t)s->tdbah << 32 | (s->tdbal & ~15u)) + (uint64_t)index * DESCRIPTOR;
}

/* ---- offloads ---- */

/* The IP header's checksum, over IPCSS to IPCSE or the end of the header. */
static void ip_checksum(struct tx_frame *f, const struct e1000_context *c)
{
    size_t end = c->ipcse ? (size_t)c->ipcse + 1 : f->head_len;

    if (end > f->head_len || c->ipcss >= end || (size_t)c->ipcso + 2 > f->head_len) {
        return;
    }
    store_be16(f->head + c->ipcso, 0);
    store_be16(f->head + c->ipcso,
               (uint16_t)~net_fold(net_sum(f->head + c->ipcss, end - c->ipcss)));
}

/* Lengths that the chip writes itself in every segment (3.5.8), for whoever sees the whole. */
static void lengths_of_whole(struct tx_frame *f, const struct e1000_context *c, size_t len)
{
    size_t ip = c->ipcss;

    if ((c->command & TUCMD_IP) && ip + 20 <= f->head_len) {
        store_be16(f->head + ip + 2, MIN(len - ip, 65535));
        f->head[ip + 10] = f->head[ip + 11] = 0;
        store_be16(f->head + ip + 10,
                   (uint16_t)~net_fold(net_sum(f->head + ip, (size_t)(f->head[ip] & 15) * 4)));
    } else if (!(c->command & TUCMD_IP) && ip + 40 <= f->head_len) {
        store_be16(f->head + ip + 4, MIN(len - ip - 40, 65535));
    }
}

/*
 * The driver left the pseudo header's sum without the length in the field (3.5.7): each segment has
 * another. The core wants it with the whole length.
 */
static bool ask_segments(struct tx_frame *f, const struct e1000_context *c, size_t len)
{
    bool v4 = c->command & TUCMD_IP;

    if (!(c->command & TUCMD_TCP) || !c->mss || c->hdrlen > f->head_len ||
        c->tucso != c->tucss + 16u || c->tucss + 20u > c->hdrlen || c->ipcss + 20u > c->tucss ||
        (size_t)(f->head[c->ipcss] & 15) * 4 > f->head_len - c->ipcss) {
        return false;
    }
    if ((size_t)c->hdrlen + c->mss < len) {
        f->offload.flags |= v4 ? NET_TSO4 : NET_TSO6;
        f->offload.segment = c->mss;
        f->offload.header = c->hdrlen;
    }
    store_be16(f->head + c->tucso,
               net_fold(load_be16(f->head + c->tucso) + (uint32_t)(len - c->tucss)));
    lengths_of_whole(f, c, len);
    f->offload.flags |= NET_CSUM;
    f->offload.csum_start = c->tucss;
    f->offload.csum_offset = 16;
    return true;
}

static void ask_checksum(struct tx_frame *f, unsigned start, unsigned field, size_t len)
{
    if (field >= start && (size_t)field + 2 <= len && start < len) {
        f->offload.flags |= NET_CSUM;
        f->offload.csum_start = (uint16_t)start;
        f->offload.csum_offset = (uint16_t)(field - start);
    }
}

static void put_tag(struct e1000 *s, struct tx_frame *f, uint16_t tag)
{
    f->head_len = net_put_tag(f->head, f->head_len, (uint16_t)s->vet, tag);
    if (f->offload.flags) {
        f->offload.csum_start += NET_TAG_LEN;
        f->offload.header += f->offload.header ? NET_TAG_LEN : 0;
    }
}

/* False: asks for what cannot be; the frame is not sent. */
static bool apply_wish(struct e1000 *s, struct tx_frame *f, const struct tx_wish *w, size_t len)
{
    bool extended = w->first & TXD_DEXT, cut = extended && (w->first & TXD_TSE);
    const struct e1000_context *c = cut ? &s->cutting : &s->plain;

    if (cut && !ask_segments(f, c, len)) {
        return false;
    }
    if (!cut && extended && (w->popts & POPTS_IXSM)) {
        ip_checksum(f, c);
    }
    if (!cut && extended && (w->popts & POPTS_TXSM)) {
        ask_checksum(f, c->tucss, c->tucso, len);
    }
    if (!extended && (w->first & TXD_IC)) {
        ask_checksum(f, w->css, w->cso, len);
    }
    if ((w->all & TXD_VLE) && (s->ctrl & E1000_CTRL_VME)) {
        put_tag(s, f, w->tag);
    }
    return true;
}

static void loop_back(struct e1000 *s, const struct tx_frame *f)
{
    size_t rest = dma_list_bytes(s->list) - f->taken;
    g_autofree uint8_t *frame = g_malloc(f->head_len + rest);

    memcpy(frame, f->head, f->head_len);
    if (dma_list_get(s->list, f->taken, frame + f->head_len, rest) == 0) {
        e1000_receive(s, frame, f->head_len + rest);
    }
}

static void count_sent(struct e1000 *s, const uint8_t *head, size_t len, bool cut)
{
    e1000_count(s, E1000_STAT_TPT);
    e1000_count(s, E1000_STAT_GPTC);
    e1000_count64(s, E1000_STAT_TOT, len + 4);
    e1000_count64(s, E1000_STAT_GOTC, len + 4);
    e1000_count_length(s, E1000_STAT_PTC64, len);
    if (cut) {
        e1000_count(s, E1000_STAT_TSCTC);
    }
    if (net_broadcast(head)) {
        e1000_count(s, E1000_STAT_BPTC);
    } else if (head[0] & 1) {
        e1000_count(s, E1000_STAT_MPTC);
    }
}

/* 0 (sent, or impossible), or -EAGAIN. */
static int send_list(struct e1000 *s, const struct tx_wish *w)
{
    struct tx_frame f = {.head_len = 0};
    struct iovec with[NET_IOV_MAX], *iov;
    size_t len = dma_list_bytes(s->list);
    unsigned niov;
    int error = 0;

    f.taken = f.head_len = MIN(len, HEAD_MAX);
    if (len < NET_HEADER_LEN || dma_list_get_headers(s->list, f.head, f.taken) < 0 ||
        !apply_wish(s, &f, w, len)) {
        return 0;
    }
    with[0] = (struct iovec){f.head, f.head_len};
    iov = dma_list_iov(s->list, f.taken, len - f.taken, &niov);
    niov = MIN(niov, PIECES);
    memcpy(with + 1, iov, niov * sizeof(*iov));
    if (e1000_loops_back(s)) {
        loop_back(s, &f);
    } else {
        error = net_send(s->net, with, niov + 1, f.offload.flags ? &f.offload : NULL);
    }
    if (error == -EAGAIN) {
        return error;
    }
    if (!error) {
        count_sent(s, f.head, len - f.taken + f.head_len, f.offload.segment);
    }
    return 0;
}

/* ---- the ring ---- */

/* 3.3.6: for the frames that follow. */
static void take_context(struct e1000 *s, const uint8_t *d)
{
    uint32_t lower = load_le32(d + 8);
    uint8_t command = (uint8_t)(lower >> 24);
    struct e1000_context *c = command & TUCMD_TSE ? &s->cutting : &s->plain;

    c->ipcss = d[0];
    c->ipcso = d[1];
    c->ipcse = load_le16(d + 2);
    c->tucss = d[4];
    c->tucso = d[5];
    c->tucse = load_le16(d + 6);
    c->paylen = lower & 0xfffff;
    c->command = command;
    c->hdrlen = d[13];
    c->mss = load_le16(d + 14);
}

static bool is_context(uint32_t lower)
{
    return (lower & TXD_DEXT) && !(lower & 0x00f00000u);
}

static void take_data(struct e1000 *s, struct tx_wish *w, const uint8_t *d, uint32_t lower)
{
    bool extended = lower & TXD_DEXT;
    size_t size = lower & (extended ? 0xfffffu : 0xffffu);
    uint64_t address = (uint64_t)load_le32(d + 4) << 32 | load_le32(d);

    if (w->count == 1) {
        w->first = lower;
        w->popts = extended ? d[13] : 0;
        w->cso = extended ? 0 : d[10];
        w->css = extended ? 0 : d[13];
    }
    w->all |= lower & (TXD_RS | TXD_IDE | TXD_VLE);
    w->tag = load_le16(d + 14);
    w->broken |= size > 0 && (dma_list_bytes(s->list) + size > NET_FRAME_MAX - NET_TAG_LEN ||
                              dma_list_add(s->list, address, size) != (int64_t)size);
}

/*
 * Descriptors from TDH to the end of one frame, or a context. Not whole: the guest has not moved
 * TDT behind them yet.
 */
static void fetch(struct e1000 *s, struct tx_wish *w)
{
    unsigned size = ring_size(s), at = s->tdh;
    uint8_t d[DESCRIPTOR];

    memset(w, 0, sizeof(*w));
    while (at != s->tdt && w->count < DESCRIPTORS_A_TURN && !w->whole) {
        if (dma_read(&s->pci.dev, descriptor_at(s, at), d, sizeof(d)) < 0) {
            w->broken = true; /* a master abort: the chip goes past it */
            memset(d, 0, sizeof(d));
            d[11] = 1;
        }
        uint32_t lower = load_le32(d + 8);
        w->count++;
        at = (at + 1) % size;
        if (is_context(lower)) {
            if (w->count > 1) {
                w->broken = true; /* in the middle of a frame */
                continue;
            }
            take_context(s, d);
            w->all = lower & (TXD_RS | TXD_IDE);
            w->whole = w->broken = true; /* nothing to send */
            continue;
        }
        take_data(s, w, d, lower);
        w->whole = lower & TXD_EOP;
    }
    if (w->count >= DESCRIPTORS_A_TURN && !w->whole) {
        w->whole = w->broken = true;
    }
}

/* DD for those that asked for a report (3.3.3); then TDH moves. */
static void report(struct e1000 *s, const struct tx_wish *w)
{
    for (unsigned i = 0; i < w->count; i++) {
        uint64_t at = descriptor_at(s, s->tdh);
        uint8_t command, status;
        if ((w->all & TXD_RS) && dma_read(&s->pci.dev, at + 11, &command, 1) == 0 &&
            (command & (TXD_RS >> 24)) && dma_read(&s->pci.dev, at + 12, &status, 1) == 0) {
            status = (uint8_t)((status & ~15u) | TXD_DD);
            dma_write(&s->pci.dev, at + 12, &status, 1);
        }
        s->tdh = (s->tdh + 1) % ring_size(s);
    }
    s->tx_delayed |= !!(w->all & TXD_IDE);
}

/* Returns descriptors done; 0: nothing more now. */
static unsigned transmit_one(struct e1000 *s, uint32_t *causes)
{
    struct tx_wish w;
    int error = 0;

    dma_list_begin(s->list, DMA_TO_DEVICE);
    fetch(s, &w);
    if (w.whole && !w.broken) {
        error = send_list(s, &w);
    }
    dma_list_end(s->list, w.whole && error != -EAGAIN ? dma_list_bytes(s->list) : 0);
    if (error == -EAGAIN) {
        s->tx_waiting = true;
        return 0;
    }
    if (!w.whole) {
        return 0;
    }
    report(s, &w);
    *causes |= w.all & TXD_RS ? E1000_INT_TXDW : 0;
    return w.count;
}

static void go_on(void *opaque)
{
    e1000_transmit(opaque);
}

static const struct later_kind tx_later = {.turn = "e1000", .go_on = go_on};

void e1000_transmit(struct e1000 *s)
{
    unsigned frames = 0, descriptors = 0, done = 1;
    uint32_t causes = 0;

    s->tx_waiting = false;
    if (!(s->tctl & E1000_TCTL_EN) || s->tdh >= ring_size(s) || s->tdt >= ring_size(s)) {
        return;
    }
    while (s->tdh != s->tdt && done && frames < FRAMES_A_TURN && descriptors < DESCRIPTORS_A_TURN &&
           !(frames && tape_late(turn_is_used_up()))) {
        done = transmit_one(s, &causes);
        descriptors += done;
        frames++;
    }
    if (s->tdh == s->tdt) {
        causes |= E1000_INT_TXQE;
    } else if (done) {
        later_ask(&s->tx_later, &tx_later, s, s->pci.dev.id);
    }
    if (causes) {
        e1000_raise(s, causes);
    }
}

void e1000_transmit_stop(struct e1000 *s)
{
    later_forget(&s->tx_later);
}

static const struct state_field context_fields[] = {
    STATE_FIELD_U8(struct e1000_context, ipcss),
    STATE_FIELD_U8(struct e1000_context, ipcso),
    STATE_FIELD_U8(struct e1000_context, tucss),
    STATE_FIELD_U8(struct e1000_context, tucso),
    STATE_FIELD_U16(struct e1000_context, ipcse),
    STATE_FIELD_U16(struct e1000_context, tucse),
    STATE_FIELD_U32(struct e1000_context, paylen, .max = 0xfffff),
    STATE_FIELD_U16(struct e1000_context, mss),
    STATE_FIELD_U8(struct e1000_context, hdrlen),
    STATE_FIELD_U8(struct e1000_context, command),
    STATE_FIELD_END,
};

const struct state_desc e1000_context_state = {
    .name = "context",
    .version = 1,
    .fields = context_fields,
};
