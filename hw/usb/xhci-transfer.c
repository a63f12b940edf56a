/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xHCI: transfer rings (4.9, 4.10, 4.11) and endpoints.
 *
 * A unit is one transaction: of as many TRBs as a packet takes, or of several packets of a bulk
 * endpoint at a time. Its TRBs are fetched once, and what is kept between units is where the ring
 * is, how far in that TRB, and what to do until the descriptor's end. When the device says NAK
 * nothing of it has happened, and it is fetched anew later.
 *
 * No list is without an end: 32 links in a row, 32 TRBs in a packet, 8192 in a descriptor; more is
 * a TRB Error. (Rings of valid transfers without an end are what xhci_run() has a budget for.)
 *
 * After a short packet one event is written for the descriptor, and one for each event data TRB, as
 * with QEMU's; some chips write another for its last TRB.
 */
#include <string.h>

#include "xhci.h"

#define LINKS_MAX 32u
#define PIECES_MAX 32u
#define TRBS_MAX 8192u
#define BURST 4096u /* bytes of one unit */
#define IMMEDIATE_MAX 8u

/* ---- rings ---- */

enum xhci_fetched xhci_fetch(struct xhci *x, struct xhci_ring *r, struct xhci_trb *t)
{
    for (unsigned links = 0; links <= LINKS_MAX; links++) {
        uint8_t bytes[TRB_BYTES];

        if (!xhci_read(x, r->dequeue, bytes, sizeof(bytes))) {
            return XHCI_FAILED;
        }
        *t = (struct xhci_trb){r->dequeue, load_le64(bytes), load_le32(bytes + 8),
                               load_le32(bytes + 12)};
        if (!(t->control & TRB_CYCLE) == r->cycle) {
            return XHCI_EMPTY;
        }
        if (TRB_TYPE(t->control) != TRB_LINK) {
            return XHCI_FETCHED;
        }
        r->dequeue = t->parameter & ~UINT64_C(15);
        r->cycle ^= !!(t->control & TRB_TOGGLE);
    }
    return XHCI_ENDLESS;
}

/* ---- endpoints ---- */

struct xhci_endpoint *xhci_endpoint(struct xhci *x, unsigned slot, unsigned dci)
{
    unsigned at =
        slot >= 1 && slot <= XHCI_SLOTS && dci < XHCI_DCIS ? x->slot[slot - 1].endpoint[dci] : 0;

    return at ? &x->endpoint[at - 1] : NULL;
}

bool xhci_endpoint_may_be(unsigned type, unsigned dci)
{
    return type != 0 && (type == EP_CONTROL) == (dci == 1) &&
           (dci <= 1 || !(type & EP_IN) == !(dci & 1));
}

/* The output context's state and dequeue pointer (6.2.3). */
void xhci_endpoint_set_state(struct xhci *x, struct xhci_endpoint *e, unsigned state)
{
    uint64_t at = x->slot[e->slot - 1].context + e->dci * 32u;
    uint8_t word[4], dequeue[8];

    e->state = (uint8_t)state;
    e->ready = e->ready && state == EP_RUNNING;
    e->waiting = e->waiting && state == EP_RUNNING;
    if (!xhci_read(x, at, word, sizeof(word))) {
        return;
    }
    store_le32(word, (load_le32(word) & ~7u) | state);
    store_le64(dequeue, e->ring.dequeue | e->ring.cycle);
    if (xhci_write(x, at, word, sizeof(word))) {
        xhci_write(x, at + 8, dequeue, sizeof(dequeue));
    }
}

void xhci_endpoint_forget(struct xhci_endpoint *e)
{
    e->done = e->moved = e->trbs = 0;
    e->skipping = e->reported = e->in = false;
}

/* `control`: bits of the event's last word. */
static void endpoint_event(struct xhci *x, const struct xhci_endpoint *e, const struct xhci_trb *t,
                           uint64_t parameter, unsigned code, uint32_t bytes, uint32_t control)
{
    xhci_event(x, TRB_INTERRUPTER(t->status), parameter, code << 24 | (bytes & 0xffffff),
               (uint32_t)e->slot << 24 | (uint32_t)e->dci << 16 | TRB_TRANSFER_EVENT << 10 |
                   control | (t->control & TRB_BLOCK_EVENT));
}

static void transfer_event(struct xhci *x, const struct xhci_endpoint *e, const struct xhci_trb *t,
                           unsigned code, uint32_t left)
{
    endpoint_event(x, e, t, t->at, code, left, 0);
}

/* How many bytes moved, wherever that was (4.11.5.2). */
static void event_data(struct xhci *x, struct xhci_endpoint *e, const struct xhci_trb *t)
{
    unsigned code = e->skipping ? CC_SHORT_PACKET : CC_SUCCESS;

    if (t->control & TRB_IOC) {
        endpoint_event(x, e, t, t->parameter, code, e->moved, TRB_EVENT_DATA);
    }
    e->moved = 0;
}

/* It stops at this TRB, and says why. */
static void fail(struct xhci *x, struct xhci_endpoint *e, const struct xhci_trb *t, unsigned code)
{
    uint32_t length = TRB_LENGTH(t->status);

    if (code == CC_TRB_ERROR) {
        log_guest(LOG_USB, "%s: slot %u, endpoint %u: a TRB of type %u at 0x%llx does not fit",
                  x->pci.dev.id, e->slot, e->dci, TRB_TYPE(t->control), (unsigned long long)t->at);
    }
    x->errors++;
    transfer_event(x, e, t, code, length - MIN(length, e->done));
    xhci_endpoint_forget(e);
    e->active = false;
    xhci_endpoint_set_state(x, e, code == CC_TRB_ERROR ? EP_ERROR : EP_HALTED);
}

bool xhci_endpoint_stop(struct xhci *x, struct xhci_endpoint *e)
{
    struct xhci_trb t;

    if (e->active && xhci_fetch(x, &e->ring, &t) == XHCI_FETCHED) {
        uint32_t length = TRB_LENGTH(t.status);

        if (!xhci_events_room(x, TRB_INTERRUPTER(t.status), 2)) {
            return false;
        }
        transfer_event(x, e, &t, CC_STOPPED, length - MIN(length, e->done));
    }
    xhci_endpoint_set_state(x, e, EP_STOPPED);
    return true;
}

void xhci_endpoint_doorbell(struct xhci *x, unsigned slot, uint32_t value)
{
    struct xhci_endpoint *e = xhci_endpoint(x, slot, value & 0xff);

    if (!e || value >> 16 || slot > x->slots) {
        log_guest(LOG_USB, "%s: slot %u: doorbell 0x%x of no endpoint", x->pci.dev.id, slot, value);
        return;
    }
    if (e->state == EP_STOPPED && !x->pci.dev.dma_blocked) {
        xhci_endpoint_set_state(x, e, EP_RUNNING);
    }
    if (e->state == EP_RUNNING) {
        e->active = true;
        e->ready = !e->waiting;
    }
}

/* ---- one unit ---- */

/* The TRBs of one transaction. */
struct pieces {
    struct xhci_trb trb[PIECES_MAX];
    struct xhci_ring ring[PIECES_MAX]; /* at that TRB */
    unsigned count;
    uint32_t bytes; /* that there are, behind what is done */
    bool ended;     /* the last one ends the descriptor */
    bool partial;   /* the guest has not given the next one yet */
};

static bool is_control(const struct xhci_endpoint *e)
{
    return e->type == EP_CONTROL;
}

static uint32_t piece_length(const struct xhci_trb *t)
{
    return TRB_TYPE(t->control) == TRB_EVENT ? 0 : TRB_LENGTH(t->status);
}

static bool is_data(const struct xhci_trb *t)
{
    return TRB_TYPE(t->control) == TRB_NORMAL || TRB_TYPE(t->control) == TRB_DATA;
}

static bool is_in(const struct xhci_endpoint *e)
{
    return is_control(e) ? e->in : e->type & EP_IN;
}

/* Behind this TRB. */
static void consume(struct xhci_endpoint *e, const struct xhci_trb *t, struct xhci_ring ring)
{
    e->ring = ring;
    xhci_advance(&e->ring);
    e->done = 0;
    e->trbs++;
    if (!(t->control & TRB_CHAIN)) {
        e->moved = e->trbs = 0;
        e->skipping = e->reported = false;
    }
}

/* Each may end with an event, and the first with an error. */
static bool has_room(struct xhci *x, const struct pieces *p)
{
    unsigned events = 1;

    for (unsigned i = 0; i < p->count; i++) {
        events += (p->trb[i].control & (TRB_IOC | TRB_ISP)) != 0;
    }
    for (unsigned i = 0; i < p->count; i++) {
        if ((i == 0 || p->trb[i].control & (TRB_IOC | TRB_ISP)) &&
            !xhci_events_room(x, TRB_INTERRUPTER(p->trb[i].status), events)) {
            return false;
        }
    }
    return true;
}

/* What the device's answer means; 0: it is to be asked again. */
static unsigned code_of(enum usb_status status)
{
    switch (status) {
    case USB_OK:
        return CC_SUCCESS;
    case USB_NAK:
        return 0;
    case USB_STALL:
        return CC_STALL;
    case USB_BABBLE:
        return CC_BABBLE;
    default:
        return CC_TRANSACTION_ERROR;
    }
}

/* A packet to or from the device. False: it is not done, and all that follows from that is. */
static bool transact(struct xhci *x, struct xhci_endpoint *e, const struct xhci_trb *t,
                     struct usb_packet *p)
{
    struct usb_device *dev = xhci_slot_device(x, &x->slot[e->slot - 1]);
    unsigned code;

    e->waiting = true; /* a wake-up from here on counts */
    code = code_of(dev ? usb_handle(dev, p) : USB_IO_ERROR);
    if (code == 0) {
        x->naks++;
        e->ready = !e->waiting;
        return false;
    }
    e->waiting = false;
    if (code != CC_SUCCESS) {
        fail(x, e, t, code);
        return false;
    }
    x->transfers++;
    if (EP_KIND(e->type) == EP_INTERRUPT) {
        e->next = xhci_now(x) + (int64_t)(UINT64_C(125000) << e->interval);
    }
    return true;
}

/* The rest of a descriptor after a short packet, TRB by TRB. */
static void skip(struct xhci *x, struct xhci_endpoint *e, const struct xhci_trb *t)
{
    if (TRB_TYPE(t->control) == TRB_EVENT) {
        event_data(x, e, t);
    } else if (t->control & TRB_IOC && !e->reported) {
        transfer_event(x, e, t, CC_SHORT_PACKET, TRB_LENGTH(t->status));
        e->reported = true;
    }
    consume(e, t, e->ring);
}

/* A stage of a control transfer that is one packet, and one TRB. */
static void stage(struct xhci *x, struct xhci_endpoint *e, const struct xhci_trb *t,
                  struct usb_packet *p)
{
    if (transact(x, e, t, p)) {
        if (t->control & TRB_IOC) {
            transfer_event(x, e, t, CC_SUCCESS, 0);
        }
        consume(e, t, e->ring);
    }
}

static void setup_stage(struct xhci *x, struct xhci_endpoint *e, const struct xhci_trb *t)
{
    uint8_t bytes[8];
    struct usb_packet p = {.pid = USB_SETUP, .data = bytes, .length = sizeof(bytes)};

    if (!(t->control & TRB_IMMEDIATE) || TRB_LENGTH(t->status) != sizeof(bytes) || e->trbs > 0) {
        fail(x, e, t, CC_TRB_ERROR);
        return;
    }
    store_le64(bytes, t->parameter);
    stage(x, e, t, &p);
}

static void status_stage(struct xhci *x, struct xhci_endpoint *e, const struct xhci_trb *t)
{
    uint8_t nothing;
    struct usb_packet p = {.pid = t->control & TRB_IN ? USB_IN : USB_OUT, .data = &nothing};

    stage(x, e, t, &p);
}

/* ---- data ---- */

/* Behind the first TRB: what belongs to the same packet, or to as many as go in one unit. */
static bool gather(struct xhci *x, const struct xhci_endpoint *e, struct pieces *p, uint32_t limit)
{
    struct xhci_ring ring = e->ring;
    enum xhci_fetched fetched = XHCI_FETCHED;

    for (;;) {
        const struct xhci_trb *t = &p->trb[p->count];

        p->ring[p->count] = ring;
        p->bytes += piece_length(t) - (p->count ? 0 : MIN(e->done, piece_length(t)));
        p->count++;
        p->ended = !(t->control & TRB_CHAIN);
        if (p->ended || p->count == PIECES_MAX || p->bytes >= limit) {
            return true;
        }
        xhci_advance(&ring);
        fetched = xhci_fetch(x, &ring, &p->trb[p->count]);
        if (fetched != XHCI_FETCHED) {
            p->partial = fetched == XHCI_EMPTY;
            return p->partial;
        }
        t = &p->trb[p->count];
        if (TRB_TYPE(t->control) != TRB_EVENT && TRB_TYPE(t->control) != TRB_NORMAL) {
            return true; /* it will be looked at when it is the first */
        }
    }
}

static bool piece_fits(const struct xhci_endpoint *e, const struct xhci_trb *t)
{
    uint32_t length = piece_length(t);

    return length <= TRB_LENGTH_MAX &&
           (!is_data(t) || !(t->control & TRB_IMMEDIATE) || (length <= IMMEDIATE_MAX && !is_in(e)));
}

/* `n` bytes between the buffer and guest memory. */
static bool move(struct xhci *x, const struct xhci_endpoint *e, const struct pieces *p,
                 uint8_t *data, uint32_t n)
{
    enum dma_content what = n >= 64 && !is_control(e) ? DMA_PAYLOAD : DMA_ANYTHING;
    uint32_t skipped = e->done;

    for (unsigned i = 0; i < p->count && n > 0; i++) {
        const struct xhci_trb *t = &p->trb[i];
        uint32_t part = MIN(n, piece_length(t) - MIN(skipped, piece_length(t)));
        uint64_t at = t->parameter + skipped;
        uint8_t immediate[IMMEDIATE_MAX];
        int rc = 0;

        if (part > 0 && t->control & TRB_IMMEDIATE) {
            store_le64(immediate, t->parameter);
            memcpy(data, immediate + skipped, part);
        } else if (part > 0 && is_in(e)) {
            rc = dma_write(&x->pci.dev, at, data, part);
        } else if (part > 0) {
            rc = dma_read_content(&x->pci.dev, at, data, part, what);
        }
        if (rc < 0) {
            xhci_host_error(x, rc, at);
            return false;
        }
        data += part;
        n -= part;
        skipped = 0;
    }
    return n == 0;
}

/* `n` bytes were moved; `is_short`: and the device has no more for this descriptor. */
static void account(struct xhci *x, struct xhci_endpoint *e, const struct pieces *p, uint32_t n,
                    bool is_short)
{
    for (unsigned i = 0; i < p->count; i++) {
        const struct xhci_trb *t = &p->trb[i];
        uint32_t left = piece_length(t) - MIN(e->done, piece_length(t)), part = MIN(n, left);

        n -= part;
        e->moved += part;
        e->ring = p->ring[i];
        if (part < left) {
            e->done += part;
            if (is_short) {
                e->skipping = true;
                if (t->control & (TRB_IOC | TRB_ISP)) {
                    transfer_event(x, e, t, CC_SHORT_PACKET, left - part);
                    e->reported = true;
                }
                consume(e, t, e->ring);
            }
            return;
        }
        if (TRB_TYPE(t->control) == TRB_EVENT) {
            event_data(x, e, t);
        } else if (t->control & TRB_IOC) {
            transfer_event(x, e, t, CC_SUCCESS, 0);
        }
        consume(e, t, e->ring);
    }
}

/*
 * How many bytes go now: whole packets, but at the descriptor's end. False: none, as `*code` says,
 * or 0 for a descriptor that is not all there yet.
 */
static bool choose_length(const struct xhci_endpoint *e, const struct pieces *p, uint32_t limit,
                          uint32_t *ask, unsigned *code)
{
    *ask = MIN(p->bytes, limit);
    if (*ask == p->bytes && p->ended) {
        return true;
    }
    *ask -= *ask % e->packet;
    *code = p->partial ? 0 : CC_TRB_ERROR;
    return *ask > 0;
}

static void data_unit(struct xhci *x, struct xhci_endpoint *e, const struct xhci_trb *first)
{
    uint32_t limit = EP_KIND(e->type) == EP_INTERRUPT ? e->packet : BURST - BURST % e->packet, ask;
    struct pieces p = {.trb = {*first}};
    uint8_t data[BURST];
    struct usb_packet packet = {.endpoint = e->dci / 2, .data = data};
    unsigned code;

    if (TRB_TYPE(first->control) == TRB_DATA) {
        e->in = first->control & TRB_IN;
    }
    if (!gather(x, e, &p, limit)) {
        if (xhci_runs(x)) {
            fail(x, e, first, CC_TRB_ERROR); /* links without an end */
        }
        return;
    }
    for (unsigned i = 0; i < p.count; i++) {
        if (!piece_fits(e, &p.trb[i])) {
            fail(x, e, first, CC_TRB_ERROR);
            return;
        }
    }
    if (!has_room(x, &p)) {
        return;
    }
    if (!choose_length(e, &p, limit, &ask, &code)) {
        if (code) {
            fail(x, e, first, code);
        } else {
            e->active = e->ready = false;
        }
        return;
    }
    if (ask == 0 && e->trbs > 0) { /* nothing but TRBs without length behind the data */
        account(x, e, &p, 0, false);
        return;
    }
    packet.pid = is_in(e) ? USB_IN : USB_OUT;
    packet.length = ask;
    if ((packet.pid == USB_OUT && !move(x, e, &p, data, ask)) || !transact(x, e, first, &packet)) {
        return;
    }
    if (packet.pid == USB_OUT) {
        account(x, e, &p, ask, false);
    } else if (move(x, e, &p, data, (uint32_t)packet.done)) {
        bool is_short = packet.done < ask && (packet.done % e->packet != 0 || packet.done == 0);

        account(x, e, &p, (uint32_t)packet.done, is_short);
    }
}

static void run_trb(struct xhci *x, struct xhci_endpoint *e, const struct xhci_trb *t)
{
    unsigned type = TRB_TYPE(t->control);

    if (e->trbs >= TRBS_MAX) {
        fail(x, e, t, CC_TRB_ERROR);
    } else if (e->skipping) {
        skip(x, e, t);
    } else if (type == TRB_EVENT) {
        event_data(x, e, t);
        consume(e, t, e->ring);
    } else if (type == TRB_NOOP) {
        if (t->control & TRB_IOC) {
            transfer_event(x, e, t, CC_SUCCESS, 0);
        }
        consume(e, t, e->ring);
    } else if (is_control(e) && type == TRB_SETUP) {
        setup_stage(x, e, t);
    } else if (is_control(e) && type == TRB_STATUS) {
        status_stage(x, e, t);
    } else if (is_control(e) ? type == TRB_DATA || (type == TRB_NORMAL && e->trbs > 0)
                             : type == TRB_NORMAL) {
        data_unit(x, e, t);
    } else {
        fail(x, e, t, CC_TRB_ERROR);
    }
}

void xhci_endpoint_unit(struct xhci *x, struct xhci_endpoint *e)
{
    struct xhci_trb t;

    switch (xhci_fetch(x, &e->ring, &t)) {
    case XHCI_FETCHED:
        e->delayed = EP_KIND(e->type) == EP_INTERRUPT && xhci_now(x) < e->next;
        if (!e->delayed && xhci_events_room(x, TRB_INTERRUPTER(t.status), 1)) {
            run_trb(x, e, &t);
        }
        break;
    case XHCI_EMPTY:
        e->active = e->ready = false;
        break;
    case XHCI_ENDLESS:
        fail(x, e, &t, CC_TRB_ERROR);
        break;
    default:
        break;
    }
}
