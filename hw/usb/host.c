/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A USB device of the host on the guest's bus; the device itself is xendm/usb-host.h's, in a
 * process of its own. Properties are QEMU's.
 *
 * Sources: USB 2.0, chapters 5.5 to 5.8 (transfers), 8.5 (packets), 9.4 (requests), 9.6
 * (descriptors); USB 3.2, 9.6 (what SuperSpeed has in these); UHCI's and xHCI's idea of a packet.
 *
 * A packet that needs the host is begun there, answered with NAK, and handed over when the guest
 * asks again. Controllers of USB 1 have packets of at most 64 bytes, one after the other, and no
 * transfers. So what comes in is asked for as much of as the controller sees that the guest wants,
 * and never more (a memory stick that is asked too much stalls), and kept until the guest has taken
 * it; what goes out is collected until the guest's transfer ends. Controllers that know transfers
 * hand them over whole.
 *
 * A device that is faster than its port, and has nothing that a slower one could not have, works at
 * the port's speed: the guest sees other packet sizes in its descriptors, and the device sees whole
 * transfers, so neither notices.
 *
 * Left out: isochronous transfers (an endpoint of that kind does not answer), streams, a device
 * that is opened again when it comes back. In a saved state there is nothing of it: where that is
 * loaded, the guest sees it unplugged, and plugged in if the host there has it.
 */
#include <errno.h>
#include <string.h>

#include <xendm/bytes.h>
#include <xendm/classes.h>
#include <xendm/clock.h>
#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/handover.h>
#include <xendm/later.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/usb-host.h>

#include "usb-internal.h"

#define ENDPOINTS 16u
#define FULL_PACKET 64u /* the largest at full speed */
#define COLLECT 4096u   /* bytes of packets that go out together: whole packets at any speed */
#define COLLECT_NS (30 * NS_PER_MS) /* how long they wait for more */
#define NO_SLOT 0xffu

enum { IN_EMPTY, IN_SENT, IN_DONE };

struct in_pipe {
    uint8_t phase, slot, status;
    uint8_t end_due; /* the device's transfer ended with what was a full packet of the guest's */
    uint32_t length, asked; /* bytes that came, and that were asked for */
    uint32_t at;            /* that the guest has */
};

enum { OUT_EMPTY, OUT_COLLECTS, OUT_SENT, OUT_DONE };

struct out_pipe {
    uint8_t phase, slot, status;
    uint8_t waits;         /* the guest was told nothing yet of the last packet in it */
    uint32_t length, tail; /* of all, and of that packet */
    uint32_t last;         /* length of the request before */
};

enum { CONTROL_IDLE, CONTROL_IN, CONTROL_OUT, CONTROL_STATUS, CONTROL_STALLED };

struct control {
    uint8_t stage, slot, sent, done, status;
    uint8_t setup[8];
    uint32_t length, at; /* of the data: that there is, or is to be; and how far */
};

/* Whose a slot is: 0 nobody's here; those that nobody waits for are given when they are over. */
enum { OWNER_NONE, OWNER_CONTROL = 0x10, OWNER_ORPHAN = 0x80, OWNER_IN = 0x20, OWNER_OUT = 0x40 };

/* All that goes on, as a live update carries it. */
struct traffic {
    uint8_t owner[USB_HOST_SLOTS];
    struct control control;
    struct in_pipe in[ENDPOINTS];
    struct out_pipe out[ENDPOINTS];
};

struct host_device {
    struct usb_device usb;
    uint32_t bus, address, vendor, product; /* properties; 0: not given */
    char *port;

    char *where;
    struct usb_host *host; /* NULL: not here any more */
    struct later close, wake;
    uint32_t starved;    /* endpoints without a slot, by bit: OUT, IN */
    const char *refused; /* why the guest does not have it */
    bool used;           /* something was asked of it since it was reset */
    bool slower;         /* the guest sees it at less than its speed */
    struct traffic t;
    struct vtimer timer;       /* while something is collected */
    uint64_t requests, failed; /* for people */
};

static struct host_device *host_of(struct usb_device *dev)
{
    return (struct host_device *)dev;
}

/* ---- slots ---- */

/* The host's word for the guest's. */
static enum usb_status status_of(uint8_t status)
{
    static const enum usb_status of[USB_HOST_STATUSES] = {
        [USB_HOST_OK] = USB_OK,
        [USB_HOST_STALL] = USB_STALL,
        [USB_HOST_BABBLE] = USB_BABBLE,
        [USB_HOST_IO_ERROR] = USB_IO_ERROR,
        [USB_HOST_CANCELLED] = USB_IO_ERROR,
        [USB_HOST_GONE] = USB_IO_ERROR,
    };

    return of[MIN(status, USB_HOST_STATUSES - 1)];
}

/* NO_SLOT: not now. `spare`: only if others are left. */
static uint8_t take(struct host_device *h, uint8_t owner, unsigned spare)
{
    unsigned used = 0;
    int slot;

    for (unsigned i = 0; i < USB_HOST_SLOTS; i++) {
        used += h->t.owner[i] != OWNER_NONE;
    }
    slot = h->host && used + spare < USB_HOST_SLOTS ? usb_host_take(h->host) : -ENODEV;
    if (slot < 0) {
        h->starved |= 1u << ((owner & 15) | (owner & OWNER_IN ? 16 : 0));
        return NO_SLOT;
    }
    h->t.owner[slot] = owner;
    return (uint8_t)slot;
}

static void wake_starved(void *opaque)
{
    struct host_device *h = opaque;
    uint32_t starved = h->starved;

    h->starved = 0;
    for (unsigned i = 0; i < 32; i++) {
        if (starved >> i & 1) {
            usb_wakeup(&h->usb, (uint8_t)((i & 15) | (i & 16 ? USB_DIR_IN : 0)));
        }
    }
}

static void room(void *opaque)
{
    static const struct later_kind kind = {.turn = "USB device", .go_on = wake_starved};
    struct host_device *h = opaque;

    if (h->starved) {
        later_ask(&h->wake, &kind, h, NULL);
    }
}

static void give(struct host_device *h, uint8_t slot)
{
    h->t.owner[slot] = OWNER_NONE;
    usb_host_give(h->host, slot);
    room(h);
}

/* One that is not needed any more, wherever it is. */
static void drop(struct host_device *h, uint8_t slot, bool in_flight)
{
    if (slot == NO_SLOT) {
        return;
    }
    if (in_flight) {
        h->t.owner[slot] = OWNER_ORPHAN;
        usb_host_cancel(h->host, slot);
    } else {
        give(h, slot);
    }
}

static void submit(struct host_device *h, uint8_t slot, const struct usb_host_request *q)
{
    h->used = true;
    h->requests++;
    usb_host_submit(h->host, slot, q);
}

static uint8_t *memory(struct host_device *h, uint8_t slot)
{
    return usb_host_memory(h->host, slot);
}

/* ---- what comes in ---- */

static void drop_in(struct host_device *h, struct in_pipe *p)
{
    if (p->phase != IN_EMPTY) {
        drop(h, p->slot, p->phase == IN_SENT);
    }
    memset(p, 0, sizeof(*p));
}

/* Whether the controller has packets, not transfers. */
static bool by_packets(const struct host_device *h, size_t length)
{
    return h->usb.speed <= USB_FULL && length <= FULL_PACKET;
}

static size_t behind(const struct usb_packet *p)
{
    return p->behind ? p->behind(p) : 0;
}

static void ask(struct host_device *h, struct in_pipe *pipe, const struct usb_packet *p)
{
    bool packets = by_packets(h, p->length), rounded = packets && h->slower;
    size_t length = p->length + (packets ? behind(p) : 0);
    struct usb_host_request q = {
        .type = USB_HOST_BULK,
        .endpoint = p->endpoint | USB_DIR_IN,
        .length = (uint32_t)MIN(length, rounded ? COLLECT : USB_HOST_SLOT_SIZE),
        .whole_packets = rounded,
    };
    uint8_t slot = take(h, (uint8_t)(OWNER_IN | p->endpoint), 1);

    if (slot != NO_SLOT) {
        *pipe = (struct in_pipe){.phase = IN_SENT, .slot = slot, .asked = q.length};
        submit(h, slot, &q);
    }
}

/* There is something that the guest has not. */
static enum usb_status hand_in(struct host_device *h, struct in_pipe *pipe, struct usb_packet *p)
{
    pipe->at +=
        (uint32_t)usb_packet_put(p, memory(h, pipe->slot) + pipe->at, pipe->length - pipe->at);
    if (pipe->at < pipe->length && (p->length < FULL_PACKET && !behind(p))) {
        drop_in(h, pipe);
        return USB_BABBLE;
    }
    if (pipe->at == pipe->length && pipe->status == USB_HOST_OK) {
        /* One that would wait for more is told that there is none. */
        bool end_due =
            pipe->length < pipe->asked && p->done == p->length && p->length > 0 && behind(p) > 0;

        drop_in(h, pipe);
        pipe->end_due = end_due;
    }
    return USB_OK;
}

static enum usb_status transfer_in(struct host_device *h, struct usb_packet *p)
{
    struct in_pipe *pipe = &h->t.in[p->endpoint];
    enum usb_status status = status_of(pipe->status);

    if (pipe->end_due) {
        pipe->end_due = false;
        return USB_OK;
    }
    if (pipe->phase == IN_EMPTY) {
        ask(h, pipe, p);
    }
    if (pipe->phase != IN_DONE) {
        return USB_NAK;
    }
    if (pipe->at < pipe->length) {
        return hand_in(h, pipe, p);
    }
    drop_in(h, pipe);
    h->failed += status != USB_OK;
    return status;
}

/* ---- what goes out ---- */

static void drop_out(struct host_device *h, struct out_pipe *o)
{
    if (o->phase != OUT_EMPTY) {
        drop(h, o->slot, o->phase == OUT_SENT);
    }
    memset(o, 0, sizeof(*o));
}

static void send_out(struct host_device *h, struct out_pipe *o, bool waits)
{
    const struct usb_host_request q = {.type = USB_HOST_BULK,
                                       .endpoint = (uint8_t)(o - h->t.out),
                                       .length = o->length};

    o->phase = OUT_SENT;
    o->waits = waits;
    submit(h, o->slot, &q);
}

/* The guest has no more for now; only its transfer's end would have said so. */
static void collected(void *opaque)
{
    struct host_device *h = opaque;

    for (unsigned i = 0; i < ENDPOINTS; i++) {
        if (h->t.out[i].phase == OUT_COLLECTS) {
            send_out(h, &h->t.out[i], false);
        }
    }
}

/* The same packet as the one that waits for its answer. */
static bool is_that(struct host_device *h, const struct out_pipe *o, const struct usb_packet *p)
{
    return o->waits && p->length == o->tail &&
           memcmp(p->data, memory(h, o->slot) + o->length - o->tail, o->tail) == 0;
}

/* True: *status is the packet's answer. Else it is still to be taken. */
static bool is_over(struct host_device *h, struct out_pipe *o, struct usb_packet *p,
                    enum usb_status *status)
{
    bool that = is_that(h, o, p);

    *status = status_of(o->status);
    o->last = o->length;
    o->phase = OUT_EMPTY;
    give(h, o->slot);
    if (that && *status == USB_OK) {
        p->done = p->length;
    }
    h->failed += *status != USB_OK;
    /* One that the guest took back has no answer. */
    return that || (*status != USB_OK && o->status != USB_HOST_CANCELLED);
}

/* False: not now. */
static bool collect(struct host_device *h, struct out_pipe *o, struct usb_packet *p)
{
    if (o->phase == OUT_EMPTY) {
        uint8_t slot = take(h, (uint8_t)(OWNER_OUT | p->endpoint), 1);

        if (slot == NO_SLOT) {
            return false;
        }
        *o = (struct out_pipe){.phase = OUT_COLLECTS, .slot = slot, .last = o->last};
    }
    o->tail =
        (uint32_t)usb_packet_get(p, memory(h, o->slot) + o->length, USB_HOST_SLOT_SIZE - o->length);
    o->length += o->tail;
    return true;
}

static enum usb_status transfer_out(struct host_device *h, struct usb_packet *p)
{
    struct out_pipe *o = &h->t.out[p->endpoint];
    enum usb_status status;

    if (o->phase == OUT_SENT) {
        if (o->waits && !is_that(h, o, p)) {
            usb_host_cancel(h->host, o->slot);
        }
        return USB_NAK;
    }
    if (o->phase == OUT_DONE && is_over(h, o, p, &status)) {
        return status;
    }
    if (o->phase == OUT_COLLECTS && (p->length == 0 || !by_packets(h, p->length))) {
        send_out(h, o, false);
        return USB_NAK;
    }
    if (p->length == 0 && h->slower && o->last % 512 != 0) { /* that was an end for the device */
        o->last = 0;
        return USB_OK;
    }
    if (!collect(h, o, p)) {
        return USB_NAK;
    }
    if (by_packets(h, p->length) && p->length == FULL_PACKET && o->length < COLLECT && behind(p)) {
        vtimer_arm_in(&h->timer, COLLECT_NS);
        return USB_OK;
    }
    p->done = 0;
    send_out(h, o, true);
    return USB_NAK;
}

static enum usb_status transfer(struct usb_device *dev, struct usb_packet *p)
{
    struct host_device *h = host_of(dev);

    if (!h->host) {
        return USB_IO_ERROR;
    }
    return p->pid == USB_IN ? transfer_in(h, p) : transfer_out(h, p);
}

static void drop_endpoint(struct host_device *h, unsigned address)
{
    if (address & USB_DIR_IN) {
        drop_in(h, &h->t.in[address & 15]);
    } else {
        drop_out(h, &h->t.out[address & 15]);
    }
}

static void drop_endpoints(struct host_device *h)
{
    for (unsigned i = 1; i < ENDPOINTS; i++) {
        drop_in(h, &h->t.in[i]);
        drop_out(h, &h->t.out[i]);
    }
}

/* ---- descriptors of a device that is faster than its port ---- */

/* What there is of an endpoint's descriptor. */
static void slow_endpoint(const struct host_device *h, uint8_t *d, size_t length)
{
    uint16_t bulk = h->usb.speed == USB_FULL ? FULL_PACKET : 512;

    if (length < 7) {
        return;
    }
    if ((d[3] & 3) == 2 && load_le16(d + 4) > bulk) {
        store_le16(d + 4, bulk);
    } else if ((d[3] & 3) == 3 && h->usb.speed == USB_FULL) { /* 2^(n - 1) microframes; frames */
        d[6] = (uint8_t)CLAMP((1u << (CLAMP(d[6], 1, 16) - 1)) / 8, 1, 255);
    }
}

static void slow_configuration(const struct host_device *h, uint8_t *data, size_t length)
{
    for (size_t at = 0; at + 2 <= length && data[at] >= 2; at += data[at]) {
        if (data[at + 1] == USB_DT_ENDPOINT) {
            slow_endpoint(h, data + at, MIN(data[at], length - at));
        }
    }
}

static void slow_device(uint8_t *data, size_t length)
{
    if (length >= 8 && load_le16(data + 2) >= 0x0300) {
        store_le16(data + 2, 0x0200);
        data[7] = FULL_PACKET; /* SuperSpeed has an exponent there */
    }
}

/* ---- control transfers ---- */

static bool is_request(const struct usb_setup *s, unsigned type, unsigned request)
{
    return s->type == type && s->request == request;
}

static bool is_set_address(const struct control *c)
{
    const struct usb_setup s = usb_setup_parse(c->setup);

    return is_request(&s, 0, USB_REQ_SET_ADDRESS);
}

static void drop_control(struct host_device *h)
{
    struct control *c = &h->t.control;

    if (c->stage != CONTROL_IDLE) {
        drop(h, c->slot, c->sent && !c->done);
    }
    *c = (struct control){.slot = NO_SLOT};
}

static enum usb_status stall(struct host_device *h)
{
    drop_control(h);
    h->t.control.stage = CONTROL_STALLED;
    return USB_STALL;
}

/* What is asked for makes an end to what is under way. */
static void make_ends(struct host_device *h, const struct usb_setup *s)
{
    if (is_request(s, USB_RECIPIENT_ENDPOINT, USB_REQ_CLEAR_FEATURE) &&
        s->value == USB_FEATURE_ENDPOINT_HALT) {
        drop_endpoint(h, s->index);
    } else if (is_request(s, 0, USB_REQ_SET_CONFIGURATION) ||
               is_request(s, USB_RECIPIENT_INTERFACE, USB_REQ_SET_INTERFACE)) {
        drop_endpoints(h);
    }
}

/* To the host, if it was not and there is room. */
static void begin(struct host_device *h)
{
    struct control *c = &h->t.control;
    const struct usb_setup s = usb_setup_parse(c->setup);
    struct usb_host_request q = {.type = USB_HOST_CONTROL, .length = s.length};

    if (c->sent || is_set_address(c)) {
        return;
    }
    c->slot = c->slot == NO_SLOT ? take(h, OWNER_CONTROL, 0) : c->slot;
    if (c->slot == NO_SLOT) {
        return;
    }
    make_ends(h, &s);
    memcpy(q.setup, c->setup, sizeof(q.setup));
    c->sent = true;
    submit(h, c->slot, &q);
}

/* The other speed's descriptors are not those of what the guest sees. */
static bool is_of_other_speed(const struct host_device *h, const struct usb_setup *s)
{
    return h->slower && is_request(s, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR) &&
           (s->value >> 8 == USB_DT_QUALIFIER || s->value >> 8 == USB_DT_OTHER_SPEED);
}

static enum usb_status setup(struct host_device *h, struct usb_packet *p)
{
    struct control *c = &h->t.control;
    struct usb_setup s;
    uint8_t bytes[8];

    if (usb_packet_get(p, bytes, sizeof(bytes)) != sizeof(bytes)) {
        return USB_IO_ERROR;
    }
    drop_control(h);
    memcpy(c->setup, bytes, sizeof(bytes));
    s = usb_setup_parse(bytes);
    c->stage = !s.length ? CONTROL_STATUS : s.type & USB_DIR_IN ? CONTROL_IN : CONTROL_OUT;
    c->length = s.length;
    if (is_of_other_speed(h, &s) || (is_set_address(c) && s.value > USB_ADDRESS_MAX)) {
        stall(h);
    } else if (c->stage != CONTROL_OUT) {
        begin(h);
    }
    return USB_OK;
}

static enum usb_status control_data_in(struct host_device *h, struct usb_packet *p)
{
    struct control *c = &h->t.control;
    enum usb_status status = status_of(c->status);

    if (!c->done) {
        begin(h);
        return USB_NAK;
    }
    if (status != USB_OK) {
        h->failed++;
        stall(h);
        return status;
    }
    c->at += (uint32_t)usb_packet_put(p, memory(h, c->slot) + c->at, c->length - c->at);
    return USB_OK;
}

static enum usb_status control_status(struct host_device *h)
{
    struct control *c = &h->t.control;
    enum usb_status status = status_of(c->status);

    if (is_set_address(c)) {
        h->usb.address = (uint8_t)usb_setup_parse(c->setup).value;
        drop_control(h);
        return USB_OK;
    }
    if (!c->done) {
        begin(h);
        return USB_NAK;
    }
    drop_control(h);
    if (status != USB_OK) {
        h->failed++;
        h->t.control.stage = CONTROL_STALLED;
    }
    return status;
}

static enum usb_status control_data_out(struct host_device *h, struct usb_packet *p)
{
    struct control *c = &h->t.control;

    if (p->length > c->length - c->at) {
        return stall(h);
    }
    c->slot = c->slot == NO_SLOT ? take(h, OWNER_CONTROL, 0) : c->slot;
    if (c->slot == NO_SLOT) {
        return USB_NAK;
    }
    c->at += (uint32_t)usb_packet_get(p, memory(h, c->slot) + c->at, p->length);
    if (c->at == c->length) {
        c->stage = CONTROL_STATUS;
        begin(h);
    }
    return USB_OK;
}

static enum usb_status endpoint0(struct usb_device *dev, struct usb_packet *p)
{
    struct host_device *h = host_of(dev);
    uint8_t stage = h->t.control.stage;

    if (!h->host) {
        return USB_IO_ERROR;
    }
    if (p->pid == USB_SETUP) {
        return setup(h, p);
    }
    if (p->pid == USB_IN) {
        return stage == CONTROL_IN       ? control_data_in(h, p)
               : stage == CONTROL_STATUS ? control_status(h)
                                         : stall(h);
    }
    if (stage == CONTROL_OUT) {
        return control_data_out(h, p);
    }
    if (stage != CONTROL_IN) {
        return stall(h);
    }
    p->done = p->length; /* the guest has what it wants */
    drop_control(h);
    return USB_OK;
}

/* A request was obeyed: what is to be known of it here. */
static void take_effect(struct host_device *h)
{
    struct control *c = &h->t.control;
    const struct usb_setup s = usb_setup_parse(c->setup);
    bool set = s.request == USB_REQ_SET_FEATURE;

    if (is_request(&s, 0, USB_REQ_SET_CONFIGURATION)) {
        h->usb.configuration = (uint8_t)s.value;
    } else if (s.type == 0 && (set || s.request == USB_REQ_CLEAR_FEATURE) &&
               s.value == USB_FEATURE_REMOTE_WAKEUP) {
        h->usb.remote_wakeup = set;
    } else if (h->slower && is_request(&s, USB_DIR_IN, USB_REQ_GET_DESCRIPTOR)) {
        uint8_t *data = memory(h, c->slot);

        if (s.value >> 8 == USB_DT_DEVICE) {
            slow_device(data, c->length);
        } else if (s.value >> 8 == USB_DT_CONFIGURATION) {
            slow_configuration(h, data, c->length);
        }
    }
}

/* ---- of the host ---- */

static bool wants(void *opaque)
{
    struct host_device *h = opaque;

    return h->usb.dev.phase == DEVICE_RUNNING;
}

static void close_now(void *opaque)
{
    struct host_device *h = opaque;

    g_clear_pointer(&h->host, usb_host_free);
    memset(&h->t, 0, sizeof(h->t));
    h->t.control.slot = NO_SLOT;
}

/* The guest sees an unplug; the device is closed when nobody of it is on the stack. */
static void leave(struct host_device *h, const char *why)
{
    static const struct later_kind kind = {.turn = "USB device", .go_on = close_now};

    h->refused = why;
    vtimer_disarm(&h->timer);
    usb_detach(&h->usb);
    later_ask(&h->close, &kind, h, NULL);
}

static bool is_meant(const struct host_device *h, const struct usb_host_about *about)
{
    return (!h->vendor || h->vendor == about->vendor) &&
           (!h->product || h->product == about->product);
}

static void ready(void *opaque)
{
    struct host_device *h = opaque;
    const struct usb_host_about *about = usb_host_about(h->host);

    h->usb.address = h->usb.configuration = 0; /* of another one, in a machine that was restored */
    h->usb.remote_wakeup = false;
    if (!is_meant(h, about)) {
        log_warning(LOG_USB, "%s: the USB device %s is %04x:%04x, which is not what is asked for",
                    h->usb.dev.id, h->where, about->vendor, about->product);
        leave(h, "another device is there");
    } else if (usb_attach(&h->usb, about->speeds, NULL) < 0) {
        log_warning(LOG_USB,
                    "%s: the USB device %s has %s speed, and cannot be slower: its port of %s "
                    "cannot do that, one of nec-usb-xhci (usbctrl version=3) can",
                    h->usb.dev.id, h->where, usb_speed_name(about->speed), h->usb.dev.bus->id);
        leave(h, "too fast for its port");
    } else {
        h->slower = h->usb.speed < about->speed;
    }
}

static void done_in(struct host_device *h, unsigned number, uint8_t status, uint32_t length)
{
    struct in_pipe *pipe = &h->t.in[number];

    pipe->phase = IN_DONE;
    pipe->status = status;
    pipe->length = length;
    usb_wakeup(&h->usb, (uint8_t)(USB_DIR_IN | number));
}

static void done_out(struct host_device *h, unsigned number, uint8_t status)
{
    struct out_pipe *o = &h->t.out[number];

    o->phase = OUT_DONE;
    o->status = status;
    usb_wakeup(&h->usb, (uint8_t)number);
}

static void done_control(struct host_device *h, uint8_t status, uint32_t length)
{
    struct control *c = &h->t.control;

    c->done = true;
    c->status = status;
    c->length = MIN(length, c->length);
    c->at = 0;
    if (status == USB_HOST_OK) {
        take_effect(h);
    }
    usb_wakeup(&h->usb, 0);
}

static void done(void *opaque, unsigned slot, enum usb_host_status status, uint32_t length)
{
    struct host_device *h = opaque;
    uint8_t owner = h->t.owner[slot];

    if (owner == OWNER_CONTROL) {
        done_control(h, (uint8_t)status, length);
    } else if (owner & OWNER_IN) {
        done_in(h, owner & 15, (uint8_t)status, length);
    } else if (owner & OWNER_OUT) {
        done_out(h, owner & 15, (uint8_t)status);
    } else {
        give(h, (uint8_t)slot);
    }
}

static void gone(void *opaque)
{
    leave(opaque, "gone");
}

static const struct usb_host_user user = {
    .wants = wants, .ready = ready, .done = done, .room = room, .gone = gone};

/* ---- life ---- */

/* A reset of the bus, or of the machine. */
static void configured(struct usb_device *dev)
{
    struct host_device *h = host_of(dev);

    if (dev->configuration) {
        return;
    }
    vtimer_disarm(&h->timer);
    if (h->used && h->host && usb_host_about(h->host)) {
        usb_host_abandon(h->host);
    }
    h->used = false;
    memset(&h->t, 0, sizeof(h->t));
    h->t.control.slot = NO_SLOT;
}

static int name_place(struct host_device *h, GError **err)
{
    if (h->bus && h->address) {
        h->where = g_strdup_printf("%u:%u", h->bus, h->address);
    } else if (h->bus && h->port) {
        h->where = g_strdup_printf("%u-%s", h->bus, h->port);
    } else if (h->vendor && h->product && !h->bus && !h->address && !h->port) {
        h->where = g_strdup_printf("id:%04x:%04x", h->vendor, h->product);
    }
    if (!h->where || !usb_host_where_is_valid(h->where)) {
        g_set_error(err, XENDM_ERROR, EINVAL,
                    "%s: which USB device of the host? hostbus and hostaddr say it, or hostbus and "
                    "hostport (2.1), or vendorid and productid",
                    h->usb.dev.id);
        g_clear_pointer(&h->where, g_free);
        return -EINVAL;
    }
    return 0;
}

static int host_realize(struct device *dev, GError **err)
{
    struct host_device *h = DEVICE_CAST(struct host_device, dev);

    if (name_place(h, err) < 0) {
        return -EINVAL;
    }
    h->t.control.slot = NO_SLOT;
    if (!dev->machine->inherited || dev->machine->state != MACHINE_BUILDING) {
        h->host = usb_host_new(h->where, &user, h, err);
        if (!h->host) {
            g_prefix_error(err, "%s: ", dev->id);
            g_clear_pointer(&h->where, g_free);
            return -ENODEV;
        }
    }
    vtimer_init(&h->timer, dev->machine->clock, "usb-host", collected, h);
    return 0;
}

static void host_unrealize(struct device *dev)
{
    struct host_device *h = DEVICE_CAST(struct host_device, dev);

    vtimer_disarm(&h->timer);
    later_forget(&h->close);
    later_forget(&h->wake);
    g_clear_pointer(&h->host, usb_host_free);
    g_clear_pointer(&h->where, g_free);
}

static void host_reset(struct device *dev, enum reset_reason why)
{
    usb_device_reset(DEVICE_CAST(struct usb_device, dev));
}

static void host_resume(struct device *dev)
{
    struct host_device *h = DEVICE_CAST(struct host_device, dev);

    if (h->host) {
        usb_host_go_on(h->host);
    }
}

static char *product(const struct usb_device *dev)
{
    const struct host_device *h = (const struct host_device *)dev;
    const struct usb_host_about *about = h->host ? usb_host_about(h->host) : NULL;

    return about ? g_strdup_printf("%04x:%04x, of the host's %s", about->vendor, about->product,
                                   h->where)
                 : NULL;
}

static void host_describe(struct device *dev, struct facts *to)
{
    const struct host_device *h = DEVICE_CAST(struct host_device, dev);
    const struct usb_host_about *about = h->host ? usb_host_about(h->host) : NULL;
    g_autofree char *path = usb_device_path(&h->usb);

    fact_text(to, "port", "%s", path);
    fact_text(to, "of the host", "%s", h->where);
    if (about) {
        fact_text(to, "ids", "%04x:%04x", about->vendor, about->product);
        fact_text(to, "speed", "%s%s%s", usb_speed_name(about->speed),
                  h->slower ? ", the guest sees " : "",
                  h->slower ? usb_speed_name(h->usb.speed) : "");
    }
    fact_text(to, "state", "%s",
              h->refused        ? h->refused
              : !h->host        ? "not there"
              : !about          ? "being opened"
              : h->usb.attached ? "plugged in"
                                : "not plugged in");
    fact_int(to, "address", h->usb.address);
    fact_int(to, "configuration", h->usb.configuration);
    fact_int(to, "requests", (int64_t)h->requests);
    fact_int(to, "failed", (int64_t)h->failed);
}

/* ---- live update ---- */

static void host_hand_over(const struct device *dev, struct handover *to, const char *group)
{
    const struct host_device *h = (const struct host_device *)dev;

    if (!h->host || usb_host_is_gone(h->host) || h->refused) {
        return;
    }
    handover_put_int(to, group, "served", 1);
    handover_put_int(to, group, "attached", h->usb.attached);
    handover_put_int(to, group, "guest-speed", h->usb.speed);
    handover_put_int(to, group, "slower", h->slower);
    handover_put_int(to, group, "used", h->used);
    handover_put_bytes(to, group, "traffic", &h->t, sizeof(h->t));
    usb_host_hand_over(h->host, to, group);
}

/* What is not as it can be ends with the bus' next reset, and reaches no memory that is none. */
static bool is_sound(const struct traffic *t)
{
    const struct control *c = &t->control;
    bool sound = c->at <= c->length && c->length <= USB_HOST_SLOT_SIZE &&
                 (c->slot < USB_HOST_SLOTS || c->slot == NO_SLOT) &&
                 (!c->sent || c->slot < USB_HOST_SLOTS);

    for (unsigned i = 0; i < ENDPOINTS; i++) {
        const struct in_pipe *in = &t->in[i];
        const struct out_pipe *o = &t->out[i];

        sound &= in->slot < USB_HOST_SLOTS && in->phase <= IN_DONE && in->at <= in->length &&
                 in->length <= USB_HOST_SLOT_SIZE && in->asked <= USB_HOST_SLOT_SIZE &&
                 o->slot < USB_HOST_SLOTS && o->phase <= OUT_DONE && o->tail <= o->length &&
                 o->length <= USB_HOST_SLOT_SIZE;
    }
    return sound;
}

static int host_take_over(struct device *dev, const struct handover *from, const char *group,
                          GError **err)
{
    struct host_device *h = DEVICE_CAST(struct host_device, dev);
    size_t length = 0;
    g_autofree uint8_t *traffic = NULL;

    if (!handover_int(from, group, "served", 0)) {
        h->refused = "gone";
        return 0;
    }
    traffic = handover_bytes(from, group, "traffic", &length);
    if (!traffic || length != sizeof(h->t) || !is_sound((const struct traffic *)(void *)traffic)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: what goes on with it is not understood",
                    dev->id);
        return -EINVAL;
    }
    h->host = usb_host_take_over(from, group, &user, h, err);
    if (!h->host) {
        return -EIO;
    }
    memcpy(&h->t, traffic, sizeof(h->t));
    h->usb.attached = handover_int(from, group, "attached", 0);
    h->usb.speed =
        (enum usb_speed)CLAMP(handover_int(from, group, "guest-speed", 0), USB_LOW, USB_SUPER);
    h->slower = handover_int(from, group, "slower", 0);
    h->used = handover_int(from, group, "used", 0);
    return 0;
}

/* ---- the class ---- */

static const struct state_field host_fields[] = {
    STATE_USB_DEVICE(struct host_device, usb),
    STATE_FIELD_TIMER(struct host_device, timer),
    STATE_FIELD_END,
};

static const struct state_desc host_state = {
    .name = "usb-host",
    .version = 1,
    .fields = host_fields,
};

static const struct property host_properties[] = {
    {.name = "hostbus",
     .type = PROP_UINT32,
     .offset = offsetof(struct host_device, bus),
     .max = 999,
     .help = "the host's bus"},
    {.name = "hostaddr",
     .type = PROP_UINT32,
     .offset = offsetof(struct host_device, address),
     .max = USB_ADDRESS_MAX,
     .help = "address on it"},
    {.name = "hostport",
     .type = PROP_STRING,
     .offset = offsetof(struct host_device, port),
     .help = "or port on it, as 2.1"},
    {.name = "vendorid",
     .type = PROP_UINT32,
     .offset = offsetof(struct host_device, vendor),
     .max = UINT16_MAX,
     .help = "its vendor"},
    {.name = "productid",
     .type = PROP_UINT32,
     .offset = offsetof(struct host_device, product),
     .max = UINT16_MAX,
     .help = "its product"},
    {.name = NULL},
};

const struct device_class usb_host_class = {
    .name = "usb-host",
    .help = "USB device of the host",
    .size = sizeof(struct host_device),
    .properties = host_properties,
    .state = &host_state,
    .bus = &usb_bus_class,
    .hotplug = true,
    .realize = host_realize,
    .reset = host_reset,
    .unrealize = host_unrealize,
    .resume = host_resume,
    .hand_over = host_hand_over,
    .take_over = host_take_over,
    .describe = host_describe,
    .usb =
        &(const struct usb_class){
            .endpoint0 = endpoint0,
            .product = product,
            .transfer = transfer,
            .configured = configured,
        },
};
