/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PS/2 mouse with the IntelliMouse (wheel) and IntelliMouse Explorer (five buttons) extensions.
 *
 * Sources: IBM PS/2 Hardware Interface Technical Reference, "Auxiliary device"; A. Chapweske, "The
 * PS/2 mouse interface"; what Linux' psmouse and SeaBIOS ask for.
 *
 * The sample rate is accepted but does not limit anything: a packet goes out when the guest took
 * the one before.
 */
#include <stdlib.h>
#include <string.h>

#include <glib.h>
#include <linux/input-event-codes.h>

#include <xendm/log.h>

#include "ps2.h"

#define ACK 0xfa
#define RESEND 0xfe
#define DELTA_MAX 127 /* of one packet; what is more goes into the next one */
#define WHEEL_MAX 7
#define PENDING_MAX 32767

static void answer(struct ps2_mouse *m, uint8_t byte)
{
    ps2_queue_put(&m->reply, &byte, 1);
}

static void clear_movement(struct ps2_mouse *m)
{
    memset(&m->packets, 0, sizeof(m->packets));
    m->dx = m->dy = m->dz = 0;
    m->buttons_sent = m->buttons;
}

static void set_defaults(struct ps2_mouse *m)
{
    m->rate = 100;
    m->resolution = 2;
    m->remote = m->reporting = m->scale21 = false;
    clear_movement(m);
}

void ps2_mouse_reset(struct ps2_mouse *m)
{
    memset(&m->reply, 0, sizeof(m->reply));
    memset(m->knock, 0, sizeof(m->knock));
    m->command = m->last = m->type = 0;
    m->wrap = false;
    set_defaults(m);
}

/* "2:1": small movements stay fine, large ones double. Only in stream mode. */
static int scale(const struct ps2_mouse *m, int d)
{
    static const uint8_t small[] = {0, 1, 1, 3, 6, 9};
    int size = abs(d);

    if (!m->scale21 || m->remote) {
        return d;
    }
    size = size < (int)G_N_ELEMENTS(small) ? small[size] : 2 * size;
    return d < 0 ? -size : size;
}

/* The next packet's bytes; takes the movement it reports. */
static unsigned make_packet(struct ps2_mouse *m, uint8_t *p)
{
    int limit = m->scale21 && !m->remote ? DELTA_MAX / 2 : DELTA_MAX;
    int dx = CLAMP(m->dx, -limit, limit), dy = CLAMP(m->dy, -limit, limit),
        dz = CLAMP(m->dz, -WHEEL_MAX, WHEEL_MAX);

    m->dx -= dx;
    m->dy -= dy;
    m->dz -= dz;
    m->buttons_sent = m->buttons;
    dx = scale(m, dx);
    dy = scale(m, dy);
    p[0] = (uint8_t)((m->buttons & 7) | 0x08 | (dx < 0) << 4 | (dy < 0) << 5);
    p[1] = (uint8_t)dx;
    p[2] = (uint8_t)dy;
    switch (m->type) {
    case 3:
        p[3] = (uint8_t)dz;
        return 4;
    case 4:
        p[3] = (uint8_t)((dz & 15) | (m->buttons & 0x18) << 1);
        return 4;
    default:
        m->dz = 0;
        return 3;
    }
}

/* Stream mode: puts what happened into packets while there is room for whole ones. */
static void send_packets(struct ps2_mouse *m)
{
    uint8_t packet[4];

    if (m->remote || !m->reporting || m->wrap) {
        return;
    }
    while (m->packets.count + sizeof(packet) <= PS2_QUEUE_SIZE &&
           (m->dx || m->dy || (m->dz && m->type) || m->buttons != m->buttons_sent)) {
        ps2_queue_put(&m->packets, packet, make_packet(m, packet));
    }
}

static int add(int sum, int d)
{
    return (int)CLAMP((int64_t)sum + d, -PENDING_MAX, PENDING_MAX);
}

static void on_relative(void *opaque, int dx, int dy, int wheel)
{
    struct ps2_mouse *m = opaque;

    if (!m->reporting && !m->remote) {
        return;
    }
    m->dx = add(m->dx, dx);
    m->dy = add(m->dy, CLAMP(-(int64_t)dy, -PENDING_MAX, PENDING_MAX));
    m->dz = add(m->dz, CLAMP(-(int64_t)wheel, -PENDING_MAX, PENDING_MAX));
}

static void on_button(void *opaque, unsigned code, bool down)
{
    static const struct {
        unsigned code;
        uint8_t bit;
    } map[] = {{BTN_LEFT, 1}, {BTN_RIGHT, 2}, {BTN_MIDDLE, 4}, {BTN_SIDE, 8}, {BTN_EXTRA, 16}};
    struct ps2_mouse *m = opaque;

    for (unsigned i = 0; i < G_N_ELEMENTS(map); i++) {
        if (map[i].code == code) {
            m->buttons = (uint8_t)(down ? m->buttons | map[i].bit : m->buttons & ~map[i].bit);
        }
    }
}

static void on_sync(void *opaque)
{
    struct ps2_mouse *m = opaque;

    send_packets(m);
    if (m->packets.count > 0) {
        m->port.ready(m->port.opaque);
    }
}

const struct input_device ps2_mouse_input = {
    .name = "ps2-mouse",
    .relative = on_relative,
    .button = on_button,
    .sync = on_sync,
};

/* Three certain sample rates in a row switch a mouse to its next protocol. */
static void set_rate(struct ps2_mouse *m, uint8_t rate)
{
    m->rate = rate;
    m->knock[0] = m->knock[1];
    m->knock[1] = m->knock[2];
    m->knock[2] = rate;
    if (m->knock[0] == 200 && m->knock[1] == 100 && rate == 80) {
        m->type = 3;
    } else if (m->knock[0] == 200 && m->knock[1] == 200 && rate == 80) {
        m->type = 4;
    }
}

static void answer_status(struct ps2_mouse *m)
{
    uint8_t buttons =
        (uint8_t)((m->buttons & 1) << 2 | (m->buttons & 4) >> 1 | (m->buttons & 2) >> 1);

    answer(m, ACK);
    answer(m, (uint8_t)(m->remote << 6 | m->reporting << 5 | m->scale21 << 4 | buttons));
    answer(m, m->resolution);
    answer(m, m->rate);
}

static bool take_argument(struct ps2_mouse *m, uint8_t byte)
{
    uint8_t command = m->command;

    m->command = 0;
    switch (command) {
    case 0xe8:
        if (byte > 3) {
            answer(m, RESEND);
        } else {
            m->resolution = byte;
            answer(m, ACK);
        }
        return true;
    case 0xf3:
        set_rate(m, byte);
        answer(m, ACK);
        return true;
    default:
        return false;
    }
}

void ps2_mouse_write(struct ps2_mouse *m, uint8_t byte)
{
    uint8_t packet[4];

    if (m->wrap && byte != 0xff && byte != 0xec) {
        answer(m, byte);
        return;
    }
    if (take_argument(m, byte)) {
        return;
    }
    switch (byte) {
    case 0xe6:
    case 0xe7:
        m->scale21 = byte == 0xe7;
        break;
    case 0xe8:
    case 0xf3:
        m->command = byte;
        break;
    case 0xe9:
        answer_status(m);
        return;
    case 0xea:
        m->remote = false;
        clear_movement(m);
        break;
    case 0xeb: {
        answer(m, ACK);
        unsigned n = make_packet(m, packet);
        ps2_queue_put(&m->reply, packet, n);
        return;
    }
    case 0xec:
    case 0xee:
        m->wrap = byte == 0xee;
        clear_movement(m);
        break;
    case 0xf0:
        m->remote = true;
        clear_movement(m);
        break;
    case 0xf2:
        answer(m, ACK);
        answer(m, m->type);
        return;
    case 0xf4:
    case 0xf5:
        m->reporting = byte == 0xf4;
        clear_movement(m);
        break;
    case 0xf6:
        set_defaults(m);
        break;
    case 0xfe:
        answer(m, m->last);
        return;
    case 0xff:
        ps2_mouse_reset(m);
        answer(m, ACK);
        answer(m, 0xaa);
        answer(m, 0x00);
        return;
    default:
        log_guest(LOG_INPUT, "mouse: unknown command 0x%02x", byte);
        answer(m, RESEND);
        return;
    }
    answer(m, ACK);
}

bool ps2_mouse_take(struct ps2_mouse *m, bool answers_only, uint8_t *byte)
{
    if (!ps2_queue_take(&m->reply, byte)) {
        if (answers_only || !ps2_queue_take(&m->packets, byte)) {
            return false;
        }
        send_packets(m);
    }
    m->last = *byte;
    return true;
}

static const struct state_field ps2_mouse_fields[] = {
    STATE_FIELD_STRUCT(struct ps2_mouse, reply, 1, &ps2_queue_state),
    STATE_FIELD_STRUCT(struct ps2_mouse, packets, 1, &ps2_queue_state),
    STATE_FIELD_U8(struct ps2_mouse, command),
    STATE_FIELD_U8(struct ps2_mouse, last),
    STATE_FIELD_U8(struct ps2_mouse, type, .max = 4),
    STATE_FIELD_BYTES(struct ps2_mouse, knock),
    STATE_FIELD_U8(struct ps2_mouse, rate),
    STATE_FIELD_U8(struct ps2_mouse, resolution, .max = 3),
    STATE_FIELD_BOOL(struct ps2_mouse, remote),
    STATE_FIELD_BOOL(struct ps2_mouse, reporting),
    STATE_FIELD_BOOL(struct ps2_mouse, scale21),
    STATE_FIELD_BOOL(struct ps2_mouse, wrap),
    STATE_FIELD_U8(struct ps2_mouse, buttons, .max = 0x1f),
    STATE_FIELD_U8(struct ps2_mouse, buttons_sent, .max = 0x1f),
    STATE_NUM_(STATE_I32, struct ps2_mouse, dx),
    STATE_NUM_(STATE_I32, struct ps2_mouse, dy),
    STATE_NUM_(STATE_I32, struct ps2_mouse, dz),
    STATE_FIELD_END,
};

static void ps2_mouse_post_load(void *base)
{
    struct ps2_mouse *m = base;
    m->dx = add(0, m->dx);
    m->dy = add(0, m->dy);
    m->dz = add(0, m->dz);
}

const struct state_desc ps2_mouse_state = {
    .name = "ps2-mouse",
    .version = 1,
    .fields = ps2_mouse_fields,
    .post_load = ps2_mouse_post_load,
};
