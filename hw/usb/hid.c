/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * USB tablet, mouse and keyboard: `usbdevice="tablet"` and its like, so that the guest's pointer is
 * where the viewer's is.
 *
 * Source: Device Class Definition for HID 1.11, chapter 7 (requests), appendix B (boot protocol).
 * They take the viewers' input while the guest has configured them. Each press and release of a
 * button or key is a report of its own, however seldom the guest asks; movements between them are
 * added up.
 */
#include <errno.h>
#include <string.h>

#include <linux/input-event-codes.h>

#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/input.h>
#include <xendm/machine.h>

#include "hid.h"
#include "usb-internal.h"

#define ENDPOINT (USB_DIR_IN | 1u)
#define PROTOCOL_BOOT 0
#define PROTOCOL_REPORT 1
#define IDLE_NS (4 * NS_PER_MS)
#define MOVE_MAX 127
#define PENDING_MAX 32767
#define UNITS_PER_PIXEL 32 /* a relative movement on the tablet: 1024 pixels are the screen */
#define BOOT_KEYS 6u
#define USAGE_ROLLOVER 0x01
#define USAGE_MODIFIERS 0xe0

enum { REQUEST_GET_REPORT = 1, REQUEST_GET_IDLE, REQUEST_GET_PROTOCOL };
enum { REQUEST_SET_REPORT = 9, REQUEST_SET_IDLE, REQUEST_SET_PROTOCOL };
enum { REPORT_INPUT = 1, REPORT_OUTPUT };

static inline bool is_keyboard(const struct usb_hid *h)
{
    return h->usb.dev.class == &usb_kbd_class;
}

static inline bool is_tablet(const struct usb_hid *h)
{
    return h->usb.dev.class == &usb_tablet_class;
}

static bool pending(const struct usb_hid *h)
{
    return h->events || h->keys || h->idle_due;
}

/* ---- pointer: viewers' side ---- */

static int32_t add(int32_t a, int32_t b)
{
    return (int32_t)CLAMP((int64_t)a + b, -PENDING_MAX, PENDING_MAX);
}

/* The report that what comes now goes into. */
static struct hid_event *open_event(struct usb_hid *h)
{
    struct hid_event *tail = h->events ? &h->event[h->events - 1] : NULL;
    const struct hid_event *before = tail ? tail : &h->last;
    struct hid_event *e;

    if (tail && ((!tail->edge && tail->buttons == h->buttons) || h->events == HID_EVENTS)) {
        tail->edge |= tail->buttons != h->buttons; /* full: the last state is what remains */
        tail->buttons = h->buttons;
        return tail;
    }
    e = &h->event[h->events];
    *e = (struct hid_event){.buttons = h->buttons, .edge = before->buttons != h->buttons};
    if (is_tablet(h)) {
        e->x = before->x;
        e->y = before->y;
    }
    h->events++;
    return e;
}

static void on_absolute(void *opaque, int x, int y)
{
    struct hid_event *e = open_event(opaque);

    e->x = CLAMP(x, 0, INPUT_ABS_MAX);
    e->y = CLAMP(y, 0, INPUT_ABS_MAX);
}

static void on_relative(void *opaque, int dx, int dy, int wheel)
{
    struct usb_hid *h = opaque;
    struct hid_event *e = open_event(h);

    if (is_tablet(h)) {
        e->x = CLAMP(add(e->x, CLAMP(dx, -1024, 1024) * UNITS_PER_PIXEL), 0, INPUT_ABS_MAX);
        e->y = CLAMP(add(e->y, CLAMP(dy, -1024, 1024) * UNITS_PER_PIXEL), 0, INPUT_ABS_MAX);
    } else {
        e->x = add(e->x, dx);
        e->y = add(e->y, dy);
    }
    e->wheel = add(e->wheel, wheel);
}

static void on_button(void *opaque, unsigned code, bool down)
{
    static const unsigned codes[] = {BTN_LEFT, BTN_RIGHT, BTN_MIDDLE};
    struct usb_hid *h = opaque;

    for (unsigned i = 0; i < G_N_ELEMENTS(codes); i++) {
        uint8_t bit = (uint8_t)(1u << i);

        if (codes[i] == code && !(h->buttons & bit) == down) {
            h->buttons ^= bit;
            open_event(h);
        }
    }
}

static void on_sync(void *opaque)
{
    struct usb_hid *h = opaque;

    if (pending(h)) {
        usb_wakeup(&h->usb, ENDPOINT);
    }
}

/* ---- keyboard: viewers' side ---- */

static void put_key(struct usb_hid *h, uint8_t usage, bool down)
{
    if (h->keys < HID_KEYS) {
        h->key[h->keys++] = (struct hid_key){usage, down};
        usb_wakeup(&h->usb, ENDPOINT);
    }
}

static bool on_key_room(void *opaque)
{
    return ((struct usb_hid *)opaque)->keys < HID_KEYS - HID_KEYS_SPARE;
}

static void on_key(void *opaque, unsigned code, bool down)
{
    if (hid_usage(code)) {
        put_key(opaque, hid_usage(code), down);
    }
}

/* Every key that is down, or will be, goes up. */
static void release_all(struct usb_hid *h)
{
    bool down[256] = {false};

    for (unsigned i = 0; i < h->downs; i++) {
        down[h->down[i]] = true;
    }
    for (unsigned i = 0; i < 8; i++) {
        down[USAGE_MODIFIERS + i] = h->modifiers >> i & 1;
    }
    for (unsigned i = 0; i < h->keys; i++) {
        down[h->key[i].usage] = h->key[i].down;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(down); i++) {
        if (down[i]) {
            put_key(h, (uint8_t)i, false);
        }
    }
}

static const struct input_device tablet_input = {
    .name = "usb-tablet",
    .relative = on_relative,
    .absolute = on_absolute,
    .button = on_button,
    .sync = on_sync,
};
static const struct input_device mouse_input = {
    .name = "usb-mouse",
    .relative = on_relative,
    .button = on_button,
    .sync = on_sync,
};
static const struct input_device keyboard_input = {
    .name = "usb-kbd",
    .key = on_key,
    .key_room = on_key_room,
};

static const struct input_device *input_of(const struct usb_hid *h)
{
    return is_keyboard(h) ? &keyboard_input : is_tablet(h) ? &tablet_input : &mouse_input;
}

static void attach(struct usb_hid *h, bool on)
{
    struct input *in = h->usb.dev.machine->input;

    if (!in || on == h->attached) {
        return;
    }
    h->attached = on;
    if (on) {
        input_attach(in, input_of(h), h);
    } else {
        input_detach(in, input_of(h), h);
    }
}

static void set_leds(struct usb_hid *h)
{
    uint8_t hid = h->leds; /* bit 0 num, 1 caps, 2 scroll */

    if (h->usb.dev.machine->input) {
        input_set_leds(h->usb.dev.machine->input, (hid >> 2 & 1) | (hid & 3u) << 1);
    }
}

/* ---- reports: the guest's side ---- */

static void take_key(struct usb_hid *h)
{
    struct hid_key k = h->key[0];
    unsigned at = 0;

    h->keys--;
    memmove(h->key, h->key + 1, h->keys * sizeof(h->key[0]));
    if (k.usage >= USAGE_MODIFIERS) {
        uint8_t bit = (uint8_t)(1u << (k.usage & 7));

        h->modifiers = (uint8_t)(k.down ? h->modifiers | bit : h->modifiers & ~bit);
        return;
    }
    while (at < h->downs && h->down[at] != k.usage) {
        at++;
    }
    if (k.down && at == h->downs && h->downs < HID_DOWN) {
        h->down[h->downs++] = k.usage;
    } else if (!k.down && at < h->downs) {
        h->downs--;
        memmove(h->down + at, h->down + at + 1, h->downs - at);
    }
}

static size_t keyboard_report(const struct usb_hid *h, uint8_t *r)
{
    memset(r, 0, HID_REPORT_MAX);
    r[0] = h->modifiers;
    for (unsigned i = 0; i < BOOT_KEYS; i++) {
        r[2 + i] = h->downs > BOOT_KEYS ? USAGE_ROLLOVER : i < h->downs ? h->down[i] : 0;
    }
    return 8;
}

/* The next event becomes the last one; what one report of a mouse cannot say, remains. */
static void take_event(struct usb_hid *h)
{
    struct hid_event *e = &h->event[0], now = *e;

    now.wheel = CLAMP(e->wheel, -MOVE_MAX, MOVE_MAX);
    e->wheel -= now.wheel;
    if (!is_tablet(h)) {
        now.x = CLAMP(e->x, -MOVE_MAX, MOVE_MAX);
        now.y = CLAMP(e->y, -MOVE_MAX, MOVE_MAX);
        e->x -= now.x;
        e->y -= now.y;
    }
    h->last = now;
    if (e->wheel == 0 && (is_tablet(h) || (e->x == 0 && e->y == 0))) {
        h->events--;
        memmove(h->event, h->event + 1, h->events * sizeof(h->event[0]));
    }
}

static size_t pointer_report(const struct usb_hid *h, uint8_t *r)
{
    const struct hid_event *e = &h->last;

    r[0] = e->buttons;
    if (is_tablet(h)) {
        r[1] = (uint8_t)e->x;
        r[2] = (uint8_t)(e->x >> 8);
        r[3] = (uint8_t)e->y;
        r[4] = (uint8_t)(e->y >> 8);
        r[5] = (uint8_t)e->wheel;
        return 6;
    }
    r[1] = (uint8_t)e->x;
    r[2] = (uint8_t)e->y;
    r[3] = (uint8_t)e->wheel;
    return h->protocol == PROTOCOL_BOOT ? 3 : 4;
}

static size_t report(const struct usb_hid *h, uint8_t *r)
{
    return is_keyboard(h) ? keyboard_report(h, r) : pointer_report(h, r);
}

static void arm_idle(struct usb_hid *h)
{
    h->idle_due = false;
    if (h->idle && h->usb.configuration) {
        vtimer_arm_in(&h->timer, h->idle * IDLE_NS);
    } else {
        vtimer_disarm(&h->timer);
    }
}

static void idle_fires(void *opaque)
{
    struct usb_hid *h = opaque;

    h->idle_due = true;
    usb_wakeup(&h->usb, ENDPOINT);
}

static enum usb_status hid_transfer(struct usb_device *dev, struct usb_packet *p)
{
    struct usb_hid *h = (struct usb_hid *)dev;
    uint8_t bytes[HID_REPORT_MAX];
    bool full = !on_key_room(h);

    if (!pending(h)) {
        return USB_NAK;
    }
    if (h->keys) {
        take_key(h);
    } else if (h->events) {
        take_event(h);
    }
    usb_packet_put(p, bytes, report(h, bytes));
    if (!is_keyboard(h)) { /* movements are said once, also by GET_REPORT and idle reports */
        h->last.wheel = 0;
        h->last.x = is_tablet(h) ? h->last.x : 0;
        h->last.y = is_tablet(h) ? h->last.y : 0;
    }
    arm_idle(h);
    if (full && on_key_room(h) && h->attached) {
        input_key_ready(h->usb.dev.machine->input);
    }
    if (pending(h)) {
        usb_wakeup(dev, ENDPOINT);
    }
    return USB_OK;
}

/* ---- requests ---- */

static enum usb_status set_report(struct usb_hid *h, const struct usb_setup *s, const uint8_t *data,
                                  size_t length)
{
    if (!is_keyboard(h) || s->value >> 8 != REPORT_OUTPUT || length < 1) {
        return USB_STALL;
    }
    h->leds = data[0] & 0x1f;
    set_leds(h);
    return USB_OK;
}

static enum usb_status to_host(struct usb_hid *h, const struct usb_setup *s, uint8_t *data,
                               size_t *length)
{
    uint8_t bytes[HID_REPORT_MAX];
    size_t n = 1;

    switch (s->request) {
    case REQUEST_GET_REPORT:
        if (s->value >> 8 != REPORT_INPUT) {
            return USB_STALL;
        }
        n = report(h, bytes);
        break;
    case REQUEST_GET_IDLE:
        bytes[0] = h->idle;
        break;
    case REQUEST_GET_PROTOCOL:
        bytes[0] = h->protocol;
        break;
    default:
        return USB_STALL;
    }
    *length = MIN(*length, n);
    memcpy(data, bytes, *length);
    return USB_OK;
}

static enum usb_status hid_control(struct usb_device *dev, const struct usb_setup *s, uint8_t *data,
                                   size_t *length)
{
    struct usb_hid *h = (struct usb_hid *)dev;

    if ((s->type & ~USB_DIR_IN) != (USB_TYPE_CLASS | USB_RECIPIENT_INTERFACE) || s->index != 0) {
        return USB_STALL;
    }
    if (s->type & USB_DIR_IN) {
        return to_host(h, s, data, length);
    }
    switch (s->request) {
    case REQUEST_SET_REPORT:
        return set_report(h, s, data, *length);
    case REQUEST_SET_IDLE:
        h->idle = (uint8_t)(s->value >> 8);
        arm_idle(h);
        return USB_OK;
    case REQUEST_SET_PROTOCOL:
        if (s->value > PROTOCOL_REPORT) {
            return USB_STALL;
        }
        h->protocol = (uint8_t)s->value;
        return USB_OK;
    default:
        return USB_STALL;
    }
}

/* ---- life ---- */

/* As after power on; the viewers' buttons are what they are. */
static void clear(struct usb_hid *h)
{
    h->idle = 0;
    h->protocol = PROTOCOL_REPORT;
    h->idle_due = false;
    h->events = h->keys = h->downs = 0;
    memset(h->event, 0, sizeof(h->event));
    memset(h->key, 0, sizeof(h->key));
    memset(h->down, 0, sizeof(h->down));
    memset(&h->last, 0, sizeof(h->last));
    h->modifiers = h->leds = h->buttons = 0;
    vtimer_disarm(&h->timer);
}

static void hid_configured(struct usb_device *dev)
{
    struct usb_hid *h = (struct usb_hid *)dev;

    attach(h, false); /* to come to the front again when it is configured */
    clear(h);
    attach(h, dev->configuration != 0);
}

static int hid_realize(struct device *dev, GError **err)
{
    struct usb_hid *h = DEVICE_CAST(struct usb_hid, dev);

    vtimer_init(&h->timer, dev->machine->clock, "usb-hid", idle_fires, h);
    h->protocol = PROTOCOL_REPORT;
    return 0;
}

static void hid_reset(struct device *dev, enum reset_reason why)
{
    usb_device_reset(DEVICE_CAST(struct usb_device, dev));
}

static void hid_unrealize(struct device *dev)
{
    struct usb_hid *h = DEVICE_CAST(struct usb_hid, dev);

    attach(h, false);
    vtimer_disarm(&h->timer);
}

static void hid_describe(struct device *dev, struct facts *to)
{
    struct usb_hid *h = DEVICE_CAST(struct usb_hid, dev);

    usb_device_describe(&h->usb, to);
    fact_bool(to, "takes input", h->attached);
    fact_int(to, "idle rate in ms", h->idle * 4);
    fact_text(to, "protocol", "%s", h->protocol == PROTOCOL_BOOT ? "boot" : "report");
    fact_int(to, "reports waiting", is_keyboard(h) ? h->keys : h->events);
    if (is_keyboard(h)) {
        fact_hex(to, "leds", h->leds);
    }
}

/* ---- saved state ---- */

static void hid_pre_save(void *base)
{
    struct usb_hid *h = base;

    if (is_keyboard(h) && h->attached && input_keys_held(h->usb.dev.machine->input)) {
        release_all(h);
    }
}

static bool hid_fits(const void *scratch, const void *base, GError **err)
{
    const struct usb_hid *from = scratch, *h = base;

    if ((is_keyboard(h) && from->events) || (!is_keyboard(h) && (from->keys || from->downs))) {
        g_set_error(err, XENDM_ERROR, EINVAL, "reports of another device");
        return false;
    }
    if (is_tablet(h) && (from->last.x < 0 || from->last.y < 0)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "a place outside the screen");
        return false;
    }
    return true;
}

static void hid_post_load(void *base)
{
    struct usb_hid *h = base;

    attach(h, h->usb.configuration != 0);
    if (is_keyboard(h)) {
        set_leds(h);
    }
}

#define RANGE .min = (uint64_t)(int64_t)-PENDING_MAX, .max = PENDING_MAX

static const struct state_field event_fields[] = {
    STATE_FIELD_I32(struct hid_event, x, RANGE),
    STATE_FIELD_I32(struct hid_event, y, RANGE),
    STATE_FIELD_I32(struct hid_event, wheel, RANGE),
    STATE_FIELD_U8(struct hid_event, buttons, .max = 7),
    STATE_FIELD_BOOL(struct hid_event, edge),
    STATE_FIELD_END,
};
static const struct state_desc event_state = {"hid-event", 1, .fields = event_fields};

static const struct state_field key_fields[] = {
    STATE_FIELD_U8(struct hid_key, usage, .min = 1, .max = 0xe7),
    STATE_FIELD_BOOL(struct hid_key, down),
    STATE_FIELD_END,
};
static const struct state_desc key_state = {"hid-key", 1, .fields = key_fields};

static const struct state_field hid_fields[] = {
    STATE_USB_DEVICE(struct usb_hid, usb),
    STATE_FIELD_U8(struct usb_hid, idle),
    STATE_FIELD_U8(struct usb_hid, protocol, .max = PROTOCOL_REPORT),
    STATE_FIELD_U8(struct usb_hid, leds, .max = 0x1f),
    STATE_FIELD_BOOL(struct usb_hid, idle_due),
    STATE_FIELD_TIMER(struct usb_hid, timer),
    STATE_FIELD_STRUCTS_VAR(struct usb_hid, event, HID_EVENTS, events, &event_state),
    STATE_FIELD_STRUCT(struct usb_hid, last, 1, &event_state),
    STATE_FIELD_U8(struct usb_hid, buttons, .max = 7),
    STATE_FIELD_STRUCTS_VAR(struct usb_hid, key, HID_KEYS, keys, &key_state),
    STATE_FIELD_U8(struct usb_hid, modifiers),
    STATE_FIELD_BYTES(struct usb_hid, down),
    STATE_FIELD_U32(struct usb_hid, downs, .max = HID_DOWN),
    STATE_FIELD_END,
};

static const struct state_desc hid_state = {
    .name = "usb-hid",
    .version = 1,
    .fields = hid_fields,
    .pre_save = hid_pre_save,
    .fits = hid_fits,
    .post_load = hid_post_load,
};

#define HID_CLASS(symbol, text, description, table) \
    const struct device_class symbol = { \
        .name = text, \
        .help = description, \
        .size = sizeof(struct usb_hid), \
        .state = &hid_state, \
        .recorded = true, \
        .bus = &usb_bus_class, \
        .hotplug = true, \
        .realize = hid_realize, \
        .reset = hid_reset, \
        .unrealize = hid_unrealize, \
        .describe = hid_describe, \
        .usb = &(const struct usb_class){.speed = USB_FULL, \
                                         .descriptors = &table, \
                                         .control = hid_control, \
                                         .transfer = hid_transfer, \
                                         .configured = hid_configured}, \
    }

HID_CLASS(usb_tablet_class, "usb-tablet", "absolute pointer", hid_tablet_descriptors);
HID_CLASS(usb_mouse_class, "usb-mouse", "relative pointer", hid_mouse_descriptors);
HID_CLASS(usb_kbd_class, "usb-kbd", "keyboard", hid_keyboard_descriptors);
