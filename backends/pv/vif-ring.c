/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rings of a PV network interface: frames of the guest to the network, and of the network into
 * pages that the guest has granted. Xen's io/netif.h and io/ring.h.
 *
 * An entry of the shared rings is copied once (XSA-155); data is copied by Xen. Sizes, numbers of
 * pieces and offloads are held against the frame as it was copied: checksums are placed by what its
 * own headers say. Nothing of a frame is answered before all of it is done, so a frame that the
 * host cannot take now is read again after a stop or a live update.
 *
 * Left out: flipping of pages, several queues, multicast lists, hashes, the control ring.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/netif.h>

#include <xendm/bytes.h>
#include <xendm/grants.h>
#include <xendm/turn.h>

#include "vif.h"

#define HEADER 64u   /* of a ring's page */
#define ENTRIES 256u /* that fit behind it, for both kinds */
#define TURN_FRAMES 64u
#define GSO_SLOTS VIF_SLOTS_MAX

/* ---- a ring ---- */

struct header {
    uint32_t req_prod, req_event, rsp_prod, rsp_event;
};

static struct header *header(const struct vif_ring *r)
{
    return (struct header *)(void *)r->page;
}

static uint8_t *entry(const struct vif_ring *r, uint32_t index)
{
    return r->page + HEADER + (index & (ENTRIES - 1)) * r->entry;
}

static void read_entry(const struct vif_ring *r, uint32_t index, void *to, size_t size)
{
    memcpy(to, entry(r, index), size);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* from here on it is the copy */
}

/* Requests that nobody has taken. More than ENTRIES: nonsense. */
static uint32_t waiting(const struct vif_ring *r)
{
    return __atomic_load_n(&header(r)->req_prod, __ATOMIC_ACQUIRE) - r->done;
}

/* The front end rings when there are `count` of them. True: there are. */
static bool ask_for(struct vif_ring *r, uint32_t count)
{
    __atomic_store_n(&header(r)->req_event, r->done + count, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return waiting(r) >= count;
}

/* All that was answered. True: the front end wants to be told. */
static bool show(struct vif_ring *r)
{
    uint32_t old = r->shown, event;

    r->shown = r->done;
    __atomic_store_n(&header(r)->rsp_prod, r->done, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    event = __atomic_load_n(&header(r)->rsp_event, __ATOMIC_RELAXED);
    return r->done - event < r->done - old;
}

void vif_rings_set(struct vif *v, void *tx, void *rx)
{
    v->tx = (struct vif_ring){.page = tx, .entry = sizeof(union netif_tx_sring_entry)};
    v->rx = (struct vif_ring){.page = rx, .entry = sizeof(union netif_rx_sring_entry)};
    v->frame.entries = 0;
}

/* A front end that goes on with its rings has answers of the back end before us in them. */
bool vif_rings_begin(struct vif *v)
{
    v->tx.done = v->tx.shown = __atomic_load_n(&header(&v->tx)->rsp_prod, __ATOMIC_RELAXED);
    v->rx.done = v->rx.shown = __atomic_load_n(&header(&v->rx)->rsp_prod, __ATOMIC_RELAXED);
    return waiting(&v->tx) <= ENTRIES && waiting(&v->rx) <= ENTRIES;
}

void vif_rings_end(struct vif *v)
{
    later_forget(&v->more);
    v->tx.page = v->rx.page = NULL;
    v->frame.entries = 0;
}

/* ---- of the guest ---- */

/*
 * The guest left a checksum out. Where it belongs is found here, and the sum of the pseudo header,
 * which not all front ends write, is put there. False: there is no place for one.
 */
static bool place_checksum(struct vif_frame *f)
{
    struct net_headers h;

    if (!net_find_headers(f->bytes, f->len, &h) || !h.transport) {
        return false;
    }
    f->offload.flags |= NET_CSUM;
    f->offload.csum_start = (uint16_t)h.transport;
    f->offload.csum_offset = h.csum_offset;
    store_be16(f->bytes + h.transport + h.csum_offset,
               net_fold(net_pseudo_sum(f->bytes, &h, f->len - h.transport)));
    if (h.protocol == NET_TCP) {
        f->offload.header = (uint16_t)h.payload;
    }
    return true;
}

struct gather {
    struct netif_tx_request first;
    struct grant_copy part[VIF_SLOTS_MAX];
    uint32_t count, entries, extras;
    struct netif_extra_info gso;
    bool has_gso;
};

/* Extra information, behind the first request. False: the chain goes on where the ring ends. */
static bool read_extras(struct vif *v, struct gather *g, uint32_t there)
{
    struct netif_extra_info extra = {.flags = XEN_NETIF_EXTRA_FLAG_MORE};

    if (!(g->first.flags & NETTXF_extra_info)) {
        return true;
    }
    while (extra.flags & XEN_NETIF_EXTRA_FLAG_MORE) {
        if (g->entries >= there) {
            return false;
        }
        read_entry(&v->tx, v->tx.done + g->entries++, &extra, sizeof(extra));
        g->extras++;
        if (extra.type == XEN_NETIF_EXTRA_TYPE_GSO) {
            g->gso = extra;
            g->has_gso = true;
        }
    }
    return true;
}

/* All entries of the next frame; false: the last says that there is another, and there is none. */
static bool gather_entries(struct vif *v, struct gather *g, uint32_t there, size_t *rest)
{
    struct netif_tx_request r;
    size_t at;

    read_entry(&v->tx, v->tx.done, &g->first, sizeof(g->first));
    g->entries = 1;
    r = g->first;
    if (!read_extras(v, g, there)) {
        return false;
    }
    g->count = 1; /* the first is the rest of the whole, which it says */
    for (at = 0; r.flags & NETTXF_more_data; at += r.size) {
        if (g->entries >= there) {
            return false;
        }
        read_entry(&v->tx, v->tx.done + g->entries++, &r, sizeof(r));
        if (g->count < VIF_SLOTS_MAX) {
            g->part[g->count] =
                (struct grant_copy){.ref = r.gref, .offset = r.offset, .len = r.size};
        }
        g->count++;
    }
    *rest = at;
    return true;
}

/* Where each piece goes, and whether it can. */
static bool lay_out(struct vif *v, struct gather *g, size_t rest)
{
    size_t at;

    if (g->count > VIF_SLOTS_MAX || rest >= g->first.size) {
        return false;
    }
    g->part[0] = (struct grant_copy){.ref = g->first.gref,
                                     .offset = g->first.offset,
                                     .len = (uint16_t)(g->first.size - rest)};
    at = 0;
    for (unsigned i = 0; i < g->count; i++) {
        if (g->part[i].len == 0 || g->part[i].offset + (size_t)g->part[i].len > GRANT_PAGE_SIZE) {
            return false;
        }
        g->part[i].local = v->frame.bytes + at;
        at += g->part[i].len;
    }
    return true;
}

/* What is still to be done with it. */
static bool read_offload(struct vif_frame *f, const struct gather *g)
{
    f->offload = (struct net_offload){0};
    if ((g->has_gso || (g->first.flags & NETTXF_csum_blank)) && !place_checksum(f)) {
        return false;
    }
    if (g->has_gso) {
        f->offload.flags |= g->gso.u.gso.type == XEN_NETIF_GSO_TYPE_TCPV4   ? NET_TSO4
                            : g->gso.u.gso.type == XEN_NETIF_GSO_TYPE_TCPV6 ? NET_TSO6
                                                                            : 0;
        f->offload.segment = g->gso.u.gso.size;
    }
    return true;
}

static bool copy_frame(struct vif *v, struct gather *g, size_t rest)
{
    struct vif_frame *f = &v->frame;

    f->len = g->first.size;
    return f->len >= NET_HEADER_LEN && lay_out(v, g, rest) &&
           grants_copy(pv_host(&v->dev)->grants, g->part, g->count, false) == 0 &&
           read_offload(f, g);
}

/* The answers of a frame: to extra information there is none. */
static void answer_frame(struct vif *v, uint32_t entries, uint32_t extras, int status)
{
    for (uint32_t i = 0; i < entries; i++) {
        struct netif_tx_response response = {.status = (int16_t)status};

        if (i >= 1 && i <= extras) {
            response.status = NETIF_RSP_NULL;
        } else {
            memcpy(&response.id, entry(&v->tx, v->tx.done) + offsetof(struct netif_tx_request, id),
                   sizeof(response.id));
        }
        memcpy(entry(&v->tx, v->tx.done++), &response, sizeof(response));
    }
}

/* One that was read. False: the host has no room now. */
static bool send_frame(struct vif *v)
{
    struct vif_frame *f = &v->frame;
    struct iovec iov = {f->bytes, f->len};
    int rc = net_send(v->end, &iov, 1, f->offload.flags ? &f->offload : NULL);

    if (rc == -EAGAIN) {
        return false;
    }
    v->refused += rc < 0;
    answer_frame(v, f->entries, f->extras, rc < 0 ? NETIF_RSP_ERROR : NETIF_RSP_OKAY);
    f->entries = 0;
    return true;
}

/* Reads the next frame and sends it. False: none could be. */
static bool take_frame(struct vif *v)
{
    uint32_t there = waiting(&v->tx);
    struct gather g = {0};
    size_t rest = 0;

    if (v->frame.entries) {
        return send_frame(v);
    }
    if (there > ENTRIES || (there > 0 && !gather_entries(v, &g, there, &rest))) {
        pv_fail(&v->dev, there > ENTRIES ? "its ring has more requests than it has room for"
                                         : "a frame without its end");
        return false;
    }
    if (there == 0) {
        return ask_for(&v->tx, 1);
    }
    if (!copy_frame(v, &g, rest)) {
        v->refused++;
        answer_frame(v, g.entries, g.extras, NETIF_RSP_ERROR);
        return true;
    }
    v->frame.entries = g.entries;
    v->frame.extras = g.extras;
    return send_frame(v);
}

static void run_more(void *opaque)
{
    vif_run(opaque);
}

void vif_run(struct vif *v)
{
    static const struct later_kind kind = {.turn = "PV network", .go_on = run_more};
    unsigned taken = 0;

    while (v->tx.page && !pv_paused(&v->dev)) {
        if (taken >= TURN_FRAMES || (taken && turn_is_used_up())) {
            later_ask(&v->more, &kind, v, NULL);
            break;
        }
        if (!take_frame(v)) {
            break;
        }
        taken++;
    }
    if (v->tx.page && v->tx.done != v->tx.shown && show(&v->tx)) {
        pv_notify(&v->dev);
    }
}

/* ---- to the guest ---- */

static uint32_t most_slots(const struct vif *v)
{
    return v->gather && v->offloads & (NET_TSO4 | NET_TSO6) ? GSO_SLOTS : 1;
}

static bool can_receive(void *opaque)
{
    struct vif *v = opaque;
    uint32_t there;

    if (!v->rx.page || pv_paused(&v->dev)) {
        return false;
    }
    there = waiting(&v->rx);
    return there <= ENTRIES && (there >= most_slots(v) || ask_for(&v->rx, most_slots(v)));
}

static uint16_t flags_of(const struct net_offload *o)
{
    return o->flags & NET_CSUM    ? NETRXF_csum_blank | NETRXF_data_validated
           : o->flags & NET_VALID ? NETRXF_data_validated
                                  : 0;
}

static void put_extra(struct vif *v, const struct net_offload *o)
{
    struct netif_extra_info extra = {.type = XEN_NETIF_EXTRA_TYPE_GSO};

    extra.u.gso.size = o->segment;
    extra.u.gso.type = o->flags & NET_TSO4 ? XEN_NETIF_GSO_TYPE_TCPV4 : XEN_NETIF_GSO_TYPE_TCPV6;
    memcpy(entry(&v->rx, v->rx.done++), &extra, sizeof(extra));
}

static void put_answers(struct vif *v, const struct netif_rx_request *request,
                        const struct grant_copy *part, uint32_t pages, const struct net_offload *o)
{
    bool cut = o->flags & (NET_TSO4 | NET_TSO6);

    for (uint32_t i = 0; i < pages; i++) {
        struct netif_rx_response response = {.id = request[i].id, .status = (int16_t)part[i].len};

        response.flags = i + 1 < pages ? NETRXF_more_data : 0;
        response.flags |= i == 0 ? flags_of(o) | (cut ? NETRXF_extra_info : 0) : 0;
        memcpy(entry(&v->rx, v->rx.done++), &response, sizeof(response));
        if (i == 0 && cut) {
            put_extra(v, o);
        }
    }
}

/* The guest's pages are not to be had: so many are given back. */
static void refuse(struct vif *v, uint32_t pages)
{
    for (uint32_t i = 0; i < pages; i++) {
        struct netif_rx_response response = {.status = NETIF_RSP_ERROR};

        memcpy(&response.id, entry(&v->rx, v->rx.done), sizeof(response.id));
        memcpy(entry(&v->rx, v->rx.done++), &response, sizeof(response));
    }
    v->dropped++;
}

/* All pieces are there, or the frame is dropped: pages are filled before anything is answered. */
static bool receive(void *opaque, const uint8_t *frame, size_t len, const struct net_offload *o)
{
    static const struct net_offload plain;
    struct vif *v = opaque;
    uint32_t pages = (uint32_t)((len + GRANT_PAGE_SIZE - 1) / GRANT_PAGE_SIZE), at = v->rx.done;
    struct netif_rx_request request[VIF_SLOTS_MAX];
    struct grant_copy part[VIF_SLOTS_MAX];
    bool cut;
    int rc;

    o = o ? o : &plain;
    cut = o->flags & (NET_TSO4 | NET_TSO6);
    if (pages + cut > most_slots(v)) {
        v->dropped++;
        return false;
    }
    for (uint32_t i = 0; i < pages; i++, at++) {
        at += i == 1 && cut; /* the entry behind the first is the extra information's */
        read_entry(&v->rx, at, &request[i], sizeof(request[i]));
        part[i] =
            (struct grant_copy){.ref = request[i].gref,
                                .len = (uint16_t)MIN(len - i * GRANT_PAGE_SIZE, GRANT_PAGE_SIZE),
                                .local = (void *)(frame + i * GRANT_PAGE_SIZE)};
    }
    rc = grants_copy(pv_host(&v->dev)->grants, part, pages, true);
    if (rc < 0) {
        refuse(v, pages);
    } else {
        put_answers(v, request, part, pages, o);
    }
    if (show(&v->rx)) {
        pv_notify(&v->dev);
    }
    return rc == 0;
}

static void sent(void *opaque)
{
    vif_run(opaque);
}

const struct net_device vif_net_device = {
    .can_receive = can_receive,
    .receive = receive,
    .sent = sent,
};
