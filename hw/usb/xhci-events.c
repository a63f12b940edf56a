/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xHCI: event rings (4.9.4) and interrupts (4.17).
 *
 * What makes an event looks before whether there is room for it. If not, it is not begun, the guest
 * finds an Event Ring Full error in the last place, and all goes on when it moves its dequeue
 * pointer: no event is lost, and none is kept here.
 */
#include "xhci.h"

#define SEGMENT_MIN 16u

static uint32_t *registers_of(struct xhci *x, unsigned i)
{
    return &x->ir[i * IR_WORDS];
}

static uint64_t pair(const uint32_t *low)
{
    return low[0] | (uint64_t)low[1] << 32;
}

/* ---- the ring ---- */

/* The segment table's only entry (6.5), read when it is needed first. False: there is no ring. */
static bool has_ring(struct xhci *x, unsigned i)
{
    const uint32_t *ir = registers_of(x, i);
    struct xhci_events *e = &x->events[i];
    uint8_t entry[16];
    uint32_t size;

    if (e->size > 0) {
        return true;
    }
    if (e->bad || (ir[IR_ERSTSZ] & 0xffff) == 0 ||
        !xhci_read(x, pair(ir + IR_ERSTBA) & ~UINT64_C(63), entry, sizeof(entry))) {
        return false;
    }
    size = load_le16(entry + 8);
    if (size < SEGMENT_MIN || size > XHCI_RING_SEGMENT) {
        log_guest(LOG_USB, "%s: interrupter %u: an event ring of %u entries", x->pci.dev.id, i,
                  size);
        e->bad = true;
        return false;
    }
    e->start = load_le64(entry) & ~UINT64_C(63);
    e->size = size;
    e->at = 0;
    e->cycle = true;
    return true;
}

/* Events that the guest has not looked at; all there can be when its pointer is nowhere. */
static uint32_t used(const struct xhci *x, unsigned i)
{
    const struct xhci_events *e = &x->events[i];
    uint64_t at = (pair(&x->ir[i * IR_WORDS + IR_ERDP]) & ~UINT64_C(15)) - e->start;

    if (at >= (uint64_t)e->size * TRB_BYTES) {
        return e->size - 1;
    }
    return (e->at + e->size - (uint32_t)(at / TRB_BYTES)) % e->size;
}

/* The word with the cycle bit is written last. */
static void write_event(struct xhci *x, unsigned i, uint64_t parameter, uint32_t status,
                        uint32_t control)
{
    struct xhci_events *e = &x->events[i];
    uint64_t at = e->start + e->at * TRB_BYTES;
    uint8_t trb[TRB_BYTES];

    store_le64(trb, parameter);
    store_le32(trb + 8, status);
    store_le32(trb + 12, control | (e->cycle ? TRB_CYCLE : 0));
    if (!xhci_write(x, at, trb, 12) || !xhci_write(x, at + 12, trb + 12, 4)) {
        return;
    }
    if (++e->at == e->size) {
        e->at = 0;
        e->cycle = !e->cycle;
    }
    e->owed |= !(control & TRB_BLOCK_EVENT);
}

static unsigned existing(const struct xhci *x, unsigned i)
{
    return i < x->interrupters ? i : 0;
}

bool xhci_events_room(struct xhci *x, unsigned interrupter, unsigned count)
{
    unsigned i = existing(x, interrupter);
    struct xhci_events *e = &x->events[i];
    uint32_t room;

    if (!has_ring(x, i)) {
        return true; /* nobody wants them */
    }
    room = e->size - 1 - used(x, i);
    if (room >= MIN(count + 1, e->size - 1)) { /* one for the error */
        return true;
    }
    if (room > 0 && !e->told) {
        e->told = true;
        write_event(x, i, 0, (uint32_t)CC_RING_FULL << 24, TRB_CONTROLLER_EVENT << 10);
    }
    x->blocked = true;
    return false;
}

void xhci_event(struct xhci *x, unsigned interrupter, uint64_t parameter, uint32_t status,
                uint32_t control)
{
    unsigned i = existing(x, interrupter);

    if (!has_ring(x, i)) {
        return;
    }
    if (used(x, i) >= x->events[i].size - 1) { /* more in one packet than a small ring has */
        log_guest(LOG_USB, "%s: interrupter %u: an event is lost", x->pci.dev.id, i);
        return;
    }
    write_event(x, i, parameter, status, control);
}

/* ---- interrupts ---- */

static bool wants_interrupt(const struct xhci *x, unsigned i)
{
    return (x->ir[i * IR_WORDS + IR_IMAN] & (IMAN_PENDING | IMAN_ENABLE)) ==
               (IMAN_PENDING | IMAN_ENABLE) &&
           x->usbcmd & CMD_INTE;
}

/* A message goes out once, and takes the pending bit with it; the pin has the level (4.17.5). */
static void deliver(struct xhci *x, unsigned i)
{
    if (wants_interrupt(x, i) && (pci_msix_send(&x->pci, i) || pci_msi_send(&x->pci, i))) {
        registers_of(x, i)[IR_IMAN] &= ~IMAN_PENDING;
        x->interrupts++;
    }
}

void xhci_update_interrupts(struct xhci *x)
{
    bool level;

    for (unsigned i = 0; i < x->interrupters; i++) {
        deliver(x, i);
    }
    level = wants_interrupt(x, 0) && !pci_msi_enabled(&x->pci) && !pci_msix_enabled(&x->pci);
    x->interrupts += level && !x->pci.intx_asserted;
    pci_intx_set(&x->pci, level);
}

/* Not while the guest is busy with the one before: when it is done it says so (ERDP). */
static void raise_interrupt(struct xhci *x, unsigned i)
{
    uint32_t *ir = registers_of(x, i);

    if (!(ir[IR_ERDP] & ERDP_BUSY)) {
        ir[IR_ERDP] |= ERDP_BUSY;
        ir[IR_IMAN] |= IMAN_PENDING;
        x->usbsts |= STS_EINT;
    }
}

void xhci_signal(struct xhci *x)
{
    bool any = false;

    for (unsigned i = 0; i < x->interrupters; i++) {
        if (x->events[i].owed) {
            x->events[i].owed = false;
            raise_interrupt(x, i);
            any = true;
        }
    }
    if (any) {
        xhci_update_interrupts(x);
    }
}

/* ---- registers ---- */

static void dequeue_written(struct xhci *x, unsigned i, uint32_t old, uint32_t value)
{
    uint32_t *low = &registers_of(x, i)[IR_ERDP];
    struct xhci_events *e = &x->events[i];

    *low = (*low & ~ERDP_BUSY) | (old & ERDP_BUSY & ~value);
    if (e->size > 0 && used(x, i) == 0) {
        e->told = false; /* not before, or each place that is freed were taken by another error */
    } else if (e->size > 0 && xhci_runs(x)) {
        raise_interrupt(x, i);
    }
    if (x->blocked) {
        xhci_kick(x);
    }
}

/* Masks; `old` is the word's value before, x->ir has the new one. */
void xhci_interrupter_written(struct xhci *x, unsigned word, uint32_t old, uint32_t value)
{
    unsigned i = word / IR_WORDS;
    uint32_t *now = &x->ir[word];

    if (i >= x->interrupters) {
        *now = 0;
        return;
    }
    switch (word % IR_WORDS) {
    case IR_IMAN:
        *now = (*now & IMAN_ENABLE) | (old & IMAN_PENDING & ~value);
        break;
    case IR_ERSTSZ:
        *now &= 0xffff;
        break;
    case IR_ERSTBA: /* the ring begins anew (4.9.4) */
        *now &= ~63u;
        x->events[i] = (struct xhci_events){0};
        break;
    case IR_ERSTBA_HIGH:
        x->events[i] = (struct xhci_events){0};
        break;
    case IR_ERDP:
        dequeue_written(x, i, old, value);
        break;
    case IR_RESERVED:
        *now = 0;
        break;
    default:
        break;
    }
}

bool xhci_events_check(const struct xhci *x)
{
    for (unsigned i = 0; i < XHCI_INTERRUPTERS; i++) {
        const uint32_t *ir = &x->ir[i * IR_WORDS];
        const struct xhci_events *e = &x->events[i];

        if (ir[IR_IMAN] & ~(IMAN_PENDING | IMAN_ENABLE) || ir[IR_ERSTSZ] > 0xffff ||
            ir[IR_RESERVED] || ir[IR_ERSTBA] & 63) {
            return false;
        }
        if (e->size == 0 ? e->at != 0 : e->size < SEGMENT_MIN || e->at >= e->size) {
            return false;
        }
    }
    return true;
}
