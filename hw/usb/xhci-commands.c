/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xHCI: the command ring and device slots (4.5, 4.6), contexts (6.2).
 *
 * A context is fetched whole, into a local, and all that it says is looked at before anything of it
 * is done.
 */
#include <string.h>

#include "usb-internal.h"
#include "xhci.h"

#define CONTEXT 32u
#define INPUT_BYTES (CONTEXT * (1 + XHCI_DCIS))
#define ROUTE_MASK 0xfffffu
#define PACKET_MAX 1024u
#define INTERVAL_MAX 15u
#define TIERS 5u /* of hubs */

/* The slot context's words (6.2.2): what a Configure Endpoint takes over. */
#define SLOT_STATE_SHIFT 27
#define SLOT_HUB_BITS 0xfe000000u /* context entries, hub, multiple TTs */
#define SLOT_PORTS 0xff000000u
#define SLOT_THINK_TIME 0x00030000u
#define SLOT_EXIT_LATENCY 0x0000ffffu
#define SLOT_INTERRUPTER 0xffc00000u

#define COMMAND_SLOT(control) ((control) >> 24)
#define COMMAND_DCI(control) ((control) >> 16 & 31u)
#define COMMAND_BLOCK_ADDRESS 0x200u /* of Address Device; of Configure: deconfigure */
#define NEC_FIRMWARE_VERSION 0x3034u

/* An input context. Word 0 of control is what to drop, word 1 what to add. */
struct input {
    uint8_t bytes[INPUT_BYTES];
};

static uint32_t word_of(const uint8_t *context, unsigned word)
{
    return load_le32(context + 4 * word);
}

static const uint8_t *input_context(const struct input *in, unsigned dci)
{
    return in->bytes + CONTEXT * (1 + dci);
}

static bool read_input(struct xhci *x, const struct xhci_trb *t, struct input *in)
{
    return xhci_read(x, t->parameter & ~UINT64_C(15), in->bytes, sizeof(in->bytes));
}

/* ---- slots ---- */

static struct xhci_slot *slot_of(struct xhci *x, unsigned id)
{
    return id >= 1 && id <= x->slots && x->slot[id - 1].enabled ? &x->slot[id - 1] : NULL;
}

static unsigned id_of(const struct xhci *x, const struct xhci_slot *s)
{
    return (unsigned)(s - x->slot) + 1;
}

/* Its route string: a port of a hub in each four bits (8.9 of USB 3.0). */
static struct usb_device *device_on_route(struct xhci *x, const struct xhci_slot *s)
{
    struct usb_device *dev = xhci_port_device(x, s->port);
    uint32_t route = s->route;

    for (unsigned tier = 0; dev && route && tier < TIERS; tier++, route >>= 4) {
        const struct usb_class *class = dev->dev.class->usb;
        unsigned count = 0, n = route & 15;
        struct usb_port *ports = class->ports ? class->ports(dev, &count) : NULL;

        dev = n >= 1 && n <= count ? usb_port_device(&ports[n - 1]) : NULL;
    }
    return dev;
}

struct usb_device *xhci_slot_device(struct xhci *x, const struct xhci_slot *s)
{
    struct usb_device *dev = device_on_route(x, s);

    /* Hubs on the way let through what their ports are enabled for. */
    return dev && dev->address == s->address &&
                   usb_find_device(xhci_port_device(x, s->port), s->address) == dev
               ? dev
               : NULL;
}

static void write_slot(struct xhci *x, struct xhci_slot *s, unsigned state)
{
    uint8_t word[4];

    s->state = (uint8_t)state;
    store_le32(word, s->address | (uint32_t)state << SLOT_STATE_SHIFT);
    xhci_write(x, s->context + 12, word, sizeof(word));
}

static void forget_endpoint(struct xhci *x, struct xhci_slot *s, unsigned dci)
{
    unsigned at = s->endpoint[dci];

    if (at) {
        x->endpoint[at - 1] = (struct xhci_endpoint){0};
        s->endpoint[dci] = 0;
    }
}

static void free_slot(struct xhci *x, struct xhci_slot *s)
{
    for (unsigned dci = 1; dci < XHCI_DCIS; dci++) {
        forget_endpoint(x, s, dci);
    }
    *s = (struct xhci_slot){0};
}

void xhci_slots_reset(struct xhci *x)
{
    memset(x->slot, 0, sizeof(x->slot));
    memset(x->endpoint, 0, x->endpoints * sizeof(x->endpoint[0]));
    x->endpoints = 0;
}

static unsigned free_endpoints(const struct xhci *x)
{
    unsigned n = XHCI_ENDPOINTS - x->endpoints;

    for (unsigned i = 0; i < x->endpoints; i++) {
        n += x->endpoint[i].slot == 0;
    }
    return n;
}

/* There is one: free_endpoints() was asked. */
static struct xhci_endpoint *new_endpoint(struct xhci *x, struct xhci_slot *s, unsigned dci)
{
    unsigned at = 0;

    while (at < x->endpoints && x->endpoint[at].slot) {
        at++;
    }
    x->endpoints = MAX(x->endpoints, at + 1);
    s->endpoint[dci] = (uint16_t)(at + 1);
    x->endpoint[at] = (struct xhci_endpoint){.slot = (uint8_t)id_of(x, s), .dci = (uint8_t)dci};
    return &x->endpoint[at];
}

/* ---- endpoint contexts ---- */

static uint32_t context_packet(const uint8_t *c)
{
    return word_of(c, 1) >> 16;
}

/* Whether there can be such an endpoint; CC_SUCCESS or why not. */
static unsigned endpoint_check(const uint8_t *c, unsigned dci)
{
    unsigned type = word_of(c, 1) >> 3 & 7, packet = context_packet(c);

    if (!xhci_endpoint_may_be(type, dci) || packet < 1 || packet > PACKET_MAX) {
        return CC_PARAMETER_ERROR;
    }
    if (word_of(c, 0) >> 10 & 31) { /* streams, and there are none (5.3.6) */
        return CC_PARAMETER_ERROR;
    }
    return EP_KIND(type) == EP_ISOCHRONOUS ? CC_BANDWIDTH_ERROR : CC_SUCCESS;
}

/* It runs from here on; its output context is what the guest said, and that. */
static void start_endpoint(struct xhci *x, struct xhci_slot *s, const uint8_t *c, unsigned dci)
{
    struct xhci_endpoint *e = new_endpoint(x, s, dci);
    uint8_t out[CONTEXT];
    uint64_t dequeue = load_le64(c + 8);

    e->type = word_of(c, 1) >> 3 & 7;
    e->packet = (uint16_t)context_packet(c);
    e->interval = (uint8_t)MIN(word_of(c, 0) >> 16 & 0xff, INTERVAL_MAX);
    e->ring = (struct xhci_ring){dequeue & ~UINT64_C(15), dequeue & TRB_CYCLE};
    e->state = EP_RUNNING;
    memcpy(out, c, sizeof(out));
    store_le32(out, (word_of(c, 0) & ~7u) | EP_RUNNING);
    xhci_write(x, s->context + CONTEXT * dci, out, sizeof(out));
}

static void end_endpoint(struct xhci *x, struct xhci_slot *s, unsigned dci)
{
    struct xhci_endpoint *e = xhci_endpoint(x, id_of(x, s), dci);

    if (e) {
        xhci_endpoint_set_state(x, e, EP_DISABLED);
        forget_endpoint(x, s, dci);
    }
}

/* All but the first: the device is not configured any more. */
static void end_endpoints(struct xhci *x, struct xhci_slot *s)
{
    for (unsigned dci = 2; dci < XHCI_DCIS; dci++) {
        end_endpoint(x, s, dci);
    }
}

/* ---- commands ---- */

static unsigned enable_slot(struct xhci *x, unsigned *id)
{
    for (unsigned i = 0; i < MIN(x->slots, x->config); i++) {
        if (!x->slot[i].enabled) {
            x->slot[i] = (struct xhci_slot){.enabled = true};
            *id = i + 1;
            return CC_SUCCESS;
        }
    }
    return CC_NO_SLOTS;
}

static bool is_taken(const struct xhci *x, const struct xhci_slot *s, unsigned port, uint32_t route)
{
    for (unsigned i = 0; i < x->slots; i++) {
        const struct xhci_slot *other = &x->slot[i];

        if (other != s && other->enabled && other->port == port && other->route == route) {
            return true;
        }
    }
    return false;
}

static enum usb_status set_address(struct usb_device *dev, unsigned address)
{
    uint8_t setup[8] = {0, USB_REQ_SET_ADDRESS, (uint8_t)address};
    struct usb_packet p = {.pid = USB_SETUP, .data = setup, .length = sizeof(setup)};
    enum usb_status status = usb_handle(dev, &p);

    p = (struct usb_packet){.pid = USB_IN, .data = setup};
    return status == USB_OK ? usb_handle(dev, &p) : status;
}

/* 4.6.5. `block`: the device is not told. */
static unsigned address_device(struct xhci *x, struct xhci_slot *s, const struct xhci_trb *t)
{
    bool block = t->control & COMMAND_BLOCK_ADDRESS;
    unsigned id = id_of(x, s), code;
    struct xhci_slot new = {.enabled = true};
    struct usb_device *dev;
    struct input in;
    uint8_t entry[8], out[CONTEXT];

    if (!read_input(x, t, &in) || !xhci_read(x, x->dcbaap + 8 * id, entry, sizeof(entry))) {
        return 0;
    }
    if (word_of(in.bytes, 0) != 0 || word_of(in.bytes, 1) != 3) {
        return CC_TRB_ERROR;
    }
    if (s->state > SLOT_DEFAULT || (block && s->state == SLOT_DEFAULT)) {
        return CC_CONTEXT_STATE;
    }
    new.context = load_le64(entry) & ~UINT64_C(63);
    new.port = (uint8_t)(word_of(input_context(&in, 0), 1) >> 16);
    new.route = word_of(input_context(&in, 0), 0) & ROUTE_MASK;
    code = endpoint_check(input_context(&in, 1), 1);
    if (new.port < 1 || new.port > xhci_ports(x) || is_taken(x, s, new.port, new.route)) {
        return CC_TRB_ERROR;
    }
    if (code != CC_SUCCESS || (!s->endpoint[1] && free_endpoints(x) == 0)) {
        return code != CC_SUCCESS ? code : CC_RESOURCE_ERROR;
    }
    dev = xhci_slot_device(x, &new);
    if (!dev) {
        return CC_TRANSACTION_ERROR;
    }
    if (!block) {
        if (set_address(dev, id) != USB_OK) {
            return CC_TRANSACTION_ERROR;
        }
        new.address = (uint8_t)id;
    }
    free_slot(x, s);
    *s = new;
    memcpy(out, input_context(&in, 0), sizeof(out));
    if (xhci_write(x, s->context, out, sizeof(out))) {
        write_slot(x, s, block ? SLOT_DEFAULT : SLOT_ADDRESSED);
        start_endpoint(x, s, input_context(&in, 1), 1);
    }
    return CC_SUCCESS;
}

/* What the output slot context takes over from an input one, in masks a word. */
static void update_slot(struct xhci *x, struct xhci_slot *s, const uint8_t *in,
                        const uint32_t mask[3])
{
    uint8_t out[12];

    if (!xhci_read(x, s->context, out, sizeof(out))) {
        return;
    }
    for (unsigned i = 0; i < 3; i++) {
        store_le32(out + 4 * i, (word_of(out, i) & ~mask[i]) | (word_of(in, i) & mask[i]));
    }
    xhci_write(x, s->context, out, sizeof(out));
}

/* Whether all that is to be added can be. */
static unsigned additions_check(struct xhci *x, const struct xhci_slot *s, const struct input *in)
{
    uint32_t drop = word_of(in->bytes, 0), add = word_of(in->bytes, 1);
    unsigned needed = 0, room = free_endpoints(x);

    for (unsigned dci = 2; dci < XHCI_DCIS; dci++) {
        room += ((drop | add) >> dci & 1) && s->endpoint[dci];
        if (add >> dci & 1) {
            unsigned code = endpoint_check(input_context(in, dci), dci);

            if (code != CC_SUCCESS) {
                return code;
            }
            needed++;
        }
    }
    return needed > room ? CC_RESOURCE_ERROR : CC_SUCCESS;
}

/* 4.6.6. What is added and was there already begins anew, whether it was dropped or not. */
static unsigned configure_endpoint(struct xhci *x, struct xhci_slot *s, const struct xhci_trb *t)
{
    static const uint32_t mask[3] = {SLOT_HUB_BITS, SLOT_PORTS, SLOT_THINK_TIME};
    struct input in;
    uint32_t drop, add;
    unsigned code, left = 0;

    if (s->state < SLOT_ADDRESSED) {
        return CC_CONTEXT_STATE;
    }
    if (t->control & COMMAND_BLOCK_ADDRESS) {
        end_endpoints(x, s);
        write_slot(x, s, SLOT_ADDRESSED);
        return CC_SUCCESS;
    }
    if (!read_input(x, t, &in)) {
        return 0;
    }
    drop = word_of(in.bytes, 0);
    add = word_of(in.bytes, 1);
    if ((drop & 3) != 0 || (add & 3) != 1) {
        return CC_TRB_ERROR;
    }
    code = additions_check(x, s, &in);
    if (code != CC_SUCCESS) {
        return code;
    }
    for (unsigned dci = 2; dci < XHCI_DCIS; dci++) {
        if ((drop | add) >> dci & 1) {
            end_endpoint(x, s, dci);
        }
        if (add >> dci & 1) {
            start_endpoint(x, s, input_context(&in, dci), dci);
        }
        left += s->endpoint[dci] != 0;
    }
    update_slot(x, s, input_context(&in, 0), mask);
    write_slot(x, s, left ? SLOT_CONFIGURED : SLOT_ADDRESSED);
    return CC_SUCCESS;
}

/* 4.6.7: of the slot the exit latency and the interrupter, of endpoint 0 its packets. */
static unsigned evaluate_context(struct xhci *x, struct xhci_slot *s, const struct xhci_trb *t)
{
    static const uint32_t mask[3] = {0, SLOT_EXIT_LATENCY, SLOT_INTERRUPTER};
    struct xhci_endpoint *e;
    struct input in;
    uint8_t word[4];
    uint32_t packet;

    if (s->state < SLOT_DEFAULT) {
        return CC_CONTEXT_STATE;
    }
    if (!read_input(x, t, &in)) {
        return 0;
    }
    if (word_of(in.bytes, 0) != 0 || word_of(in.bytes, 1) & ~3u) {
        return CC_TRB_ERROR;
    }
    e = xhci_endpoint(x, id_of(x, s), 1);
    packet = context_packet(input_context(&in, 1));
    if (word_of(in.bytes, 1) & 2 && (!e || packet < 1 || packet > PACKET_MAX)) {
        return CC_PARAMETER_ERROR;
    }
    if (word_of(in.bytes, 1) & 1) {
        update_slot(x, s, input_context(&in, 0), mask);
    }
    if (word_of(in.bytes, 1) & 2 && xhci_read(x, s->context + CONTEXT + 4, word, sizeof(word))) {
        e->packet = (uint16_t)packet;
        store_le32(word, (load_le32(word) & 0xffff) | packet << 16);
        xhci_write(x, s->context + CONTEXT + 4, word, sizeof(word));
    }
    return CC_SUCCESS;
}

/* 4.6.11: the device was reset by its port, or is going to be. */
static unsigned reset_device(struct xhci *x, struct xhci_slot *s)
{
    if (s->state < SLOT_ADDRESSED) {
        return CC_CONTEXT_STATE;
    }
    end_endpoints(x, s);
    s->address = 0;
    write_slot(x, s, SLOT_DEFAULT);
    return CC_SUCCESS;
}

static unsigned reset_endpoint(struct xhci *x, struct xhci_endpoint *e)
{
    if (e->state != EP_HALTED) {
        return CC_CONTEXT_STATE;
    }
    xhci_endpoint_forget(e);
    xhci_endpoint_set_state(x, e, EP_STOPPED);
    return CC_SUCCESS;
}

static unsigned stop_endpoint(struct xhci *x, struct xhci_endpoint *e)
{
    if (e->state != EP_RUNNING) {
        return CC_CONTEXT_STATE;
    }
    return xhci_endpoint_stop(x, e) ? CC_SUCCESS : 0;
}

/* 4.6.10. A stream is none that there is. */
static unsigned set_dequeue(struct xhci *x, struct xhci_endpoint *e, const struct xhci_trb *t)
{
    if (e->state != EP_STOPPED && e->state != EP_ERROR) {
        return CC_CONTEXT_STATE;
    }
    if (t->status >> 16) {
        return CC_TRB_ERROR;
    }
    xhci_endpoint_forget(e);
    e->active = false;
    e->ring = (struct xhci_ring){t->parameter & ~UINT64_C(15), t->parameter & TRB_CYCLE};
    xhci_endpoint_set_state(x, e, EP_STOPPED);
    return CC_SUCCESS;
}

static unsigned endpoint_command(struct xhci *x, const struct xhci_trb *t)
{
    struct xhci_endpoint *e = xhci_endpoint(x, COMMAND_SLOT(t->control), COMMAND_DCI(t->control));

    if (COMMAND_DCI(t->control) == 0) {
        return CC_TRB_ERROR;
    }
    if (!e) {
        return CC_ENDPOINT_NOT_ENABLED;
    }
    switch (TRB_TYPE(t->control)) {
    case TRB_RESET_ENDPOINT:
        return reset_endpoint(x, e);
    case TRB_STOP_ENDPOINT:
        return stop_endpoint(x, e);
    default:
        return set_dequeue(x, e, t);
    }
}

static unsigned slot_command(struct xhci *x, struct xhci_slot *s, const struct xhci_trb *t)
{
    switch (TRB_TYPE(t->control)) {
    case TRB_DISABLE_SLOT:
        free_slot(x, s);
        return CC_SUCCESS;
    case TRB_ADDRESS_DEVICE:
        return address_device(x, s, t);
    case TRB_CONFIGURE_ENDPOINT:
        return configure_endpoint(x, s, t);
    case TRB_EVALUATE_CONTEXT:
        return evaluate_context(x, s, t);
    case TRB_RESET_DEVICE:
        return reset_device(x, s);
    default:
        return endpoint_command(x, t);
    }
}

/* Completion code; 0: memory does not answer, or there is no room for events yet. */
static unsigned perform(struct xhci *x, const struct xhci_trb *t, unsigned *id)
{
    unsigned type = TRB_TYPE(t->control);
    struct xhci_slot *s;

    if (type == TRB_NOOP_COMMAND) {
        return CC_SUCCESS;
    }
    if (type == TRB_ENABLE_SLOT) {
        return enable_slot(x, id);
    }
    if (type < TRB_DISABLE_SLOT || type > TRB_RESET_DEVICE) {
        log_guest(LOG_USB, "%s: command %u, which there is not", x->pci.dev.id, type);
        return CC_TRB_ERROR;
    }
    *id = COMMAND_SLOT(t->control);
    s = slot_of(x, *id);
    return s                           ? slot_command(x, s, t)
           : *id < 1 || *id > x->slots ? CC_TRB_ERROR
                                       : CC_SLOT_NOT_ENABLED;
}

static void completion(struct xhci *x, uint64_t at, uint32_t status, unsigned id, unsigned type)
{
    xhci_event(x, 0, at, status, id << 24 | type << 10);
}

/* NEC's drivers ask for the version of its firmware; no more of that is here. */
static bool is_nec_firmware(const struct xhci *x, const struct xhci_trb *t)
{
    return TRB_TYPE(t->control) == TRB_NEC_FIRMWARE && x->pci.dev.class->pci->vendor == 0x1033;
}

void xhci_commands_stop(struct xhci *x)
{
    x->commands_run = x->commands_ready = false;
    x->stop_owed = true;
}

void xhci_post_stop_event(struct xhci *x)
{
    if (x->stop_owed && xhci_events_room(x, 0, 1)) {
        x->stop_owed = false;
        completion(x, x->commands.dequeue, (uint32_t)CC_RING_STOPPED << 24, 0, TRB_COMMAND_EVENT);
    }
}

bool xhci_command_unit(struct xhci *x)
{
    struct xhci_trb t;
    unsigned code, id = 0;

    if (!xhci_events_room(x, 0, 2)) {
        return false;
    }
    switch (xhci_fetch(x, &x->commands, &t)) {
    case XHCI_FETCHED:
        break;
    case XHCI_ENDLESS:
        log_guest(LOG_USB, "%s: the command ring is nothing but links", x->pci.dev.id);
        x->usbsts |= STS_CONTROLLER_ERROR;
        x->commands_run = x->commands_ready = false;
        return false;
    default:
        x->commands_ready = false;
        return false;
    }
    if (is_nec_firmware(x, &t)) {
        xhci_advance(&x->commands);
        completion(x, t.at, CC_SUCCESS << 24 | NEC_FIRMWARE_VERSION, 0, TRB_NEC_EVENT);
        return true;
    }
    code = perform(x, &t, &id);
    if (code && xhci_runs(x)) {
        xhci_advance(&x->commands);
        completion(x, t.at, code << 24, id, TRB_COMMAND_EVENT);
    }
    return true;
}
