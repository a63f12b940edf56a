/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vkbd: the PV keyboard and pointer, which libxl creates for every HVM guest. Xen's io/kbdif.h.
 *
 * Once a front end is connected it is the last device attached to the seat, so keys and pointer go
 * to it rather than to the PS/2 chips, and come back when it leaves. Nothing runs while nobody
 * types.
 *
 * Absolute positions are sent in the toolstack's `width` and `height` if it set them; else we say
 * 32768 by 32768, so that raw and scaled positions are the same.
 *
 * Left out: multi-touch, for which no source of events exists here; the obsolete page-ref, by which
 * only PV guests of 2008 share their page; events of the front end's, of which there are none.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <linux/input-event-codes.h>
#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/kbdif.h>

#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/handover.h>
#include <xendm/input.h>

#include "internal.h"

#define EXTENT (INPUT_ABS_MAX + 1)

struct kbd {
    struct pv_device dev;
    struct xenkbd_page *page;
    uint32_t prod; /* ours; what stands in the page is for the front end */
    bool absolute, raw;
    uint32_t width, height;
    bool full;       /* input_key_ready() is awaited */
    bool sent;       /* since the last notification */
    int x, y, wheel; /* of the report that is being made */
    bool moved;      /* x and y are to be sent */
    bool seated;     /* attached to the input */
    bool was_absolute;
    uint64_t events, dropped;
};

static struct kbd *kbd_of(struct pv_device *dev)
{
    return (struct kbd *)dev;
}

/* ---- the ring ---- */

/* The front end's index is its own affair: what is no room is none. */
static bool room(struct kbd *k, uint32_t events)
{
    uint32_t cons = __atomic_load_n(&k->page->in_cons, __ATOMIC_ACQUIRE);
    uint32_t used = k->prod - cons;

    return used <= XENKBD_IN_RING_LEN && XENKBD_IN_RING_LEN - used >= events;
}

static void put(struct kbd *k, const union xenkbd_in_event *event)
{
    if (!k->page || !room(k, 1)) {
        k->dropped++;
        return;
    }
    memcpy(&XENKBD_IN_RING_REF(k->page, k->prod), event, sizeof(*event));
    k->prod++;
    __atomic_store_n(&k->page->in_prod, k->prod, __ATOMIC_RELEASE);
    k->events++;
    k->sent = true;
}

static void notify(struct kbd *k)
{
    if (k->sent) {
        k->sent = false;
        pv_notify(&k->dev);
    }
}

/* ---- as a device of the seat ---- */

static void put_key(struct kbd *k, unsigned code, bool down)
{
    union xenkbd_in_event event = {0};

    event.key = (struct xenkbd_key){.type = XENKBD_TYPE_KEY, .pressed = down, .keycode = code};
    put(k, &event);
}

static void on_key(void *opaque, unsigned code, bool down)
{
    put_key(opaque, code, down);
    notify(opaque);
}

static bool on_key_room(void *opaque)
{
    struct kbd *k = opaque;

    k->full = !room(k, 1);
    return !k->full;
}

static void send_motion(struct kbd *k, int dx, int dy, int wheel)
{
    union xenkbd_in_event event = {0};

    event.motion = (struct xenkbd_motion){.type = XENKBD_TYPE_MOTION,
                                          .rel_x = dx,
                                          .rel_y = dy,
                                          .rel_z = wheel};
    put(k, &event);
}

/* Front ends turn the wheel the other way round: away from the user is negative. */
static void on_relative(void *opaque, int dx, int dy, int wheel)
{
    struct kbd *k = opaque;

    if (!k->absolute) {
        send_motion(k, dx, dy, -wheel);
    } else if (wheel) {
        k->wheel -= wheel;
        k->moved = true;
    }
}

static int scale(int value, uint32_t extent)
{
    return (int)((int64_t)value * (extent ? extent - 1 : 0) / INPUT_ABS_MAX);
}

static void send_position(struct kbd *k)
{
    union xenkbd_in_event event = {0};

    if (!k->moved) {
        return;
    }
    event.pos = (struct xenkbd_position){.type = XENKBD_TYPE_POS,
                                         .abs_x = k->raw ? k->x : scale(k->x, k->width),
                                         .abs_y = k->raw ? k->y : scale(k->y, k->height),
                                         .rel_z = k->wheel};
    k->moved = false;
    k->wheel = 0;
    put(k, &event);
}

static void on_absolute(void *opaque, int x, int y)
{
    struct kbd *k = opaque;

    k->moved = k->moved || x != k->x || y != k->y;
    k->x = x;
    k->y = y;
}

/* Where it is pressed is told first. */
static void on_button(void *opaque, unsigned code, bool down)
{
    send_position(opaque);
    put_key(opaque, code, down);
}

static void on_sync(void *opaque)
{
    send_position(opaque);
    notify(opaque);
}

static const struct input_device relative_seat = {
    .name = "PV keyboard and mouse",
    .key = on_key,
    .key_room = on_key_room,
    .relative = on_relative,
    .button = on_button,
    .sync = on_sync,
};

static const struct input_device absolute_seat = {
    .name = "PV keyboard and tablet",
    .key = on_key,
    .key_room = on_key_room,
    .relative = on_relative,
    .absolute = on_absolute,
    .button = on_button,
    .sync = on_sync,
};

static void sit(struct kbd *k, bool on)
{
    struct input *in = pv_host(&k->dev)->input;

    if (on == k->seated || !in) {
        return;
    }
    k->seated = on;
    if (on) {
        k->was_absolute = k->absolute;
        input_attach(in, k->absolute ? &absolute_seat : &relative_seat, k);
    } else {
        input_detach(in, k->was_absolute ? &absolute_seat : &relative_seat, k);
        input_key_ready(in); /* what waited for us goes to who is there now */
    }
}

/* ---- as a PV device ---- */

static int kbd_offer(struct pv_device *dev, GError **err)
{
    uint64_t width = 0;

    pv_write(dev, "feature-abs-pointer", "1");
    pv_write(dev, "feature-raw-pointer", "1");
    if (pv_read_uint(dev, false, "width", INT32_MAX, &width) == -ENOENT) {
        pv_write(dev, "width", "%d", EXTENT);
        pv_write(dev, "height", "%d", EXTENT);
    }
    return 0;
}

static uint32_t extent(struct pv_device *dev, const char *key)
{
    uint64_t value = EXTENT;

    pv_read_uint(dev, false, key, INT32_MAX, &value);
    return (uint32_t)value;
}

static int kbd_connect(struct pv_device *dev, GError **err)
{
    struct kbd *k = kbd_of(dev);
    uint32_t ref = 0, port = 0;
    int rc = pv_read_u32(dev, XENKBD_FIELD_RING_GREF, &ref, err);

    rc = rc ? rc : pv_read_u32(dev, XENKBD_FIELD_EVT_CHANNEL, &port, err);
    if (rc < 0) {
        return rc;
    }
    k->absolute = pv_read_flag(dev, true, XENKBD_FIELD_REQ_ABS_POINTER);
    k->raw = k->absolute && pv_read_flag(dev, true, XENKBD_FIELD_REQ_RAW_POINTER);
    k->width = extent(dev, XENKBD_FIELD_WIDTH);
    k->height = extent(dev, XENKBD_FIELD_HEIGHT);
    return pv_attach(dev, &ref, 1, port, err);
}

static int kbd_attached(struct pv_device *dev, const struct handover *from, const char *group,
                        GError **err)
{
    struct kbd *k = kbd_of(dev);

    k->page = dev->ring;
    k->full = k->sent = k->moved = false;
    k->wheel = 0;
    if (from) {
        k->absolute = handover_int(from, group, "absolute", 0);
        k->raw = handover_int(from, group, "raw", 0);
        k->width = (uint32_t)handover_int(from, group, "width", EXTENT);
        k->height = (uint32_t)handover_int(from, group, "height", EXTENT);
        k->prod = (uint32_t)handover_int(from, group, "prod", 0);
        k->x = (int)handover_int(from, group, "x", 0);
        k->y = (int)handover_int(from, group, "y", 0);
    } else { /* a front end that has lived with another back end goes on where that was */
        k->prod = __atomic_load_n(&k->page->in_prod, __ATOMIC_RELAXED);
    }
    sit(k, true);
    return 0;
}

/* It has read: there is room. */
static void kbd_event(struct pv_device *dev)
{
    struct kbd *k = kbd_of(dev);

    pv_unmask(dev);
    if (k->full && room(k, 1)) {
        k->full = false;
        input_key_ready(pv_host(dev)->input);
    }
}

static void kbd_disconnect(struct pv_device *dev)
{
    struct kbd *k = kbd_of(dev);

    k->page = NULL;
    sit(k, false);
}

static void kbd_hand_over(const struct pv_device *dev, struct handover *to, const char *group)
{
    const struct kbd *k = (const struct kbd *)dev;

    handover_put_int(to, group, "absolute", k->absolute);
    handover_put_int(to, group, "raw", k->raw);
    handover_put_int(to, group, "width", k->width);
    handover_put_int(to, group, "height", k->height);
    handover_put_int(to, group, "prod", k->prod);
    handover_put_int(to, group, "x", k->x);
    handover_put_int(to, group, "y", k->y);
}

static void kbd_describe(const struct pv_device *dev, struct facts *to)
{
    const struct kbd *k = (const struct kbd *)dev;

    fact_text(to, "pointer", "%s",
              k->raw        ? "absolute, raw"
              : k->absolute ? "absolute"
                            : "relative");
    fact_int(to, "events", (int64_t)k->events);
    fact_int(to, "dropped", (int64_t)k->dropped);
}

const struct pv_class pv_kbd_class = {
    .kind = "vkbd",
    .size = sizeof(struct kbd),
    .offer = kbd_offer,
    .connect = kbd_connect,
    .attached = kbd_attached,
    .event = kbd_event,
    .disconnect = kbd_disconnect,
    .hand_over = kbd_hand_over,
    .describe = kbd_describe,
};
