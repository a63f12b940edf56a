/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xHCI: saved state. Rings, contexts and what is queued in them are guest memory; here is how far
 * we are in them. No transfer is in flight (xendm/usb.h): what waits for a device is asked again.
 */
#include <errno.h>
#include <string.h>

#include "xhci.h"

#define REG_STRUCT struct xhci
#define EP(kind, f, ...) STATE_FIELD_##kind(struct xhci_endpoint, f, __VA_ARGS__)
#define SLOT(kind, f, ...) STATE_FIELD_##kind(struct xhci_slot, f, __VA_ARGS__)
#define RING(kind, f, ...) STATE_FIELD_##kind(struct xhci_ring, f, __VA_ARGS__)
#define EVENTS(kind, f, ...) STATE_FIELD_##kind(struct xhci_events, f, __VA_ARGS__)
#define X(kind, f, ...) STATE_FIELD_##kind(struct xhci, f, __VA_ARGS__)

static const struct state_field ring_fields[] = {
    RING(U64, dequeue),
    RING(BOOL, cycle),
    STATE_FIELD_END,
};
static const struct state_desc ring_state = {"ring", 1, .fields = ring_fields};

static const struct state_field events_fields[] = {
    EVENTS(U64, start),
    EVENTS(U32, size, .max = XHCI_RING_SEGMENT),
    EVENTS(U32, at, .max = XHCI_RING_SEGMENT - 1),
    EVENTS(BOOL, cycle),
    EVENTS(BOOL, told),
    EVENTS(BOOL, bad),
    STATE_FIELD_END,
};
static const struct state_desc events_state = {"events", 1, .fields = events_fields};

static const struct state_field slot_fields[] = {
    SLOT(BOOL, enabled),
    SLOT(U8, state, .max = SLOT_CONFIGURED),
    SLOT(U8, port, .max = 2 * XHCI_PORTS_MAX),
    SLOT(U8, address, .max = XHCI_SLOTS),
    SLOT(U32, route, .max = 0xfffff),
    SLOT(U64, context),
    STATE_FIELD_END,
};
static const struct state_desc slot_state = {"slot", 1, .fields = slot_fields};

static const struct state_field endpoint_fields[] = {
    EP(U8, slot, .max = XHCI_SLOTS),
    EP(U8, dci, .max = XHCI_DCIS - 1),
    EP(U8, state, .max = EP_STATES - 1),
    EP(U8, type, .max = EP_TYPE_MAX),
    EP(U16, packet, .max = 1024),
    EP(U8, interval, .max = 15),
    STATE_FIELD_STRUCT(struct xhci_endpoint, ring, 1, &ring_state),
    EP(U32, done, .max = TRB_LENGTH_MAX),
    EP(U32, moved),
    EP(U32, trbs),
    EP(BOOL, in),
    EP(BOOL, skipping),
    EP(BOOL, reported),
    EP(BOOL, active),
    EP(I64, next, .max = INT64_MAX),
    STATE_FIELD_END,
};
static const struct state_desc endpoint_state = {"endpoint", 1, .fields = endpoint_fields};

static const struct state_field fields[] = {
    REG_STATE(XHCI_REGS_LOW) REG_STATE(XHCI_REGS_HIGH)
        X(U32, ir, .count = XHCI_INTERRUPTERS * IR_WORDS),
    X(U32, portsc, .count = 2 * XHCI_PORTS_MAX),
    X(U32, portpmsc, .count = 2 * XHCI_PORTS_MAX),
    X(U32, port_events),
    STATE_FIELD_STRUCT(struct xhci, commands, 1, &ring_state),
    X(BOOL, commands_run),
    X(BOOL, stop_owed),
    X(I64, started, .max = INT64_MAX),
    STATE_FIELD_STRUCT(struct xhci, events, XHCI_INTERRUPTERS, &events_state),
    STATE_FIELD_STRUCT(struct xhci, slot, XHCI_SLOTS, &slot_state),
    STATE_FIELD_STRUCTS_VAR(struct xhci, endpoint, XHCI_ENDPOINTS, endpoints, &endpoint_state),
    STATE_FIELD_END,
};

/* One endpoint that is in use, and which of its slot's is there already. */
static bool endpoint_fits(const struct xhci *x, const struct xhci_endpoint *e, uint32_t *seen)
{
    const struct xhci_slot *s;

    if (e->slot == 0) {
        return e->dci == 0 && e->state == EP_DISABLED && !e->active;
    }
    s = &x->slot[e->slot - 1];
    if (!s->enabled || s->state == SLOT_DISABLED || e->dci == 0 || *seen >> e->dci & 1 ||
        e->state == EP_DISABLED || e->packet == 0 || EP_KIND(e->type) == EP_ISOCHRONOUS ||
        !xhci_endpoint_may_be(e->type, e->dci)) {
        return false;
    }
    *seen |= 1u << e->dci;
    return true;
}

static bool check(const void *base, GError **err)
{
    const struct xhci *x = base;
    uint32_t seen[XHCI_SLOTS] = {0};

    for (unsigned i = 0; i < x->endpoints; i++) {
        const struct xhci_endpoint *e = &x->endpoint[i];

        if (!endpoint_fits(x, e, &seen[e->slot ? e->slot - 1 : 0])) {
            g_set_error(err, STATE_ERROR, EINVAL, "endpoint %u of slot %u contradicts itself",
                        e->dci, e->slot);
            return false;
        }
    }
    if (!xhci_events_check(x) || !xhci_ports_check(x)) {
        g_set_error(err, STATE_ERROR, EINVAL, "ports or interrupters that there cannot be");
        return false;
    }
    if (x->usbsts & STS_HALTED ? x->commands_run || x->usbcmd & CMD_RUN : !(x->usbcmd & CMD_RUN)) {
        g_set_error(err, STATE_ERROR, EINVAL, "USBCMD 0x%x and USBSTS 0x%x", x->usbcmd, x->usbsts);
        return false;
    }
    return true;
}

/* How many there are is a property. */
static bool fits(const void *scratch, const void *base, GError **err)
{
    const struct xhci *from = scratch, *x = base;

    for (unsigned i = 0; i < XHCI_SLOTS; i++) {
        if (from->slot[i].enabled && (i >= x->slots || from->slot[i].port > xhci_ports(x))) {
            g_set_error(err, STATE_ERROR, EINVAL, "slot %u is in use, or in port %u", i + 1,
                        from->slot[i].port);
            return false;
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(x->portsc); i++) {
        if (!from->portsc[i] != (i >= xhci_ports(x))) {
            g_set_error(err, STATE_ERROR, EINVAL, "there are %u ports", xhci_ports(x));
            return false;
        }
    }
    for (unsigned i = x->interrupters; i < XHCI_INTERRUPTERS; i++) {
        if (from->events[i].size) {
            g_set_error(err, STATE_ERROR, EINVAL, "there are %u interrupters", x->interrupters);
            return false;
        }
    }
    return true;
}

/* It does nothing before it is resumed. */
static void post_load(void *base)
{
    struct xhci *x = base;

    x->stopped = true;
    xhci_sources_stop(x);
    for (unsigned i = 0; i < XHCI_SLOTS; i++) {
        memset(x->slot[i].endpoint, 0, sizeof(x->slot[i].endpoint));
    }
    memset(x->endpoint + x->endpoints, 0, (XHCI_ENDPOINTS - x->endpoints) * sizeof(x->endpoint[0]));
    for (unsigned i = 0; i < x->endpoints; i++) {
        struct xhci_endpoint *e = &x->endpoint[i];

        e->ready = e->waiting = false;
        if (e->slot) {
            x->slot[e->slot - 1].endpoint[e->dci] = (uint16_t)(i + 1);
        }
    }
    for (unsigned i = 0; i < XHCI_INTERRUPTERS; i++) {
        x->events[i].owed = false;
    }
    xhci_ports_adopt(x);
}

const struct state_desc xhci_state = {
    .name = "xhci",
    .version = 1,
    .fields = fields,
    .check = check,
    .fits = fits,
    .post_load = post_load,
};
