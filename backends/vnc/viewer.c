/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One viewer, as the daemon sees it: the messages of its server process, which may say anything,
 * and the picture for it. Nothing here waits: a server that does not read loses messages, and gets
 * a whole picture when it asks the next time.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib-unix.h>
#include <linux/input-event-codes.h>

#include <xendm/log.h>
#include <xendm/one-fd.h>
#include <xendm/turn.h>

#include "vnc.h"

#define MESSAGES_A_TURN 32u
#define WHEEL_MAX 16

/* False: it did not go. */
static bool send_message(struct vnc_viewer *w, const struct vnc_message *m, size_t size, int fd)
{
    ssize_t n = one_fd_send(w->fd, m, size, fd, MSG_DONTWAIT);

    w->stale |= n < 0;
    return n >= 0;
}

static void send_value(struct vnc_viewer *w, enum vnc_kind kind, uint32_t value)
{
    struct vnc_message m = {.kind = kind, .value = value};

    send_message(w, &m, VNC_SIZE(value), -1);
}

/* ---- the picture ---- */

static void on_resized(void *opaque, unsigned width, unsigned height)
{
    struct vnc_viewer *w = opaque;

    w->resized = true;
    w->damage.damage.count = 0;
}

/* Too many pieces become one that holds them all. */
static void merge(struct vnc_message *m, unsigned x, unsigned y, unsigned width, unsigned height)
{
    unsigned right = x + width, bottom = y + height;

    for (unsigned i = 0; i < m->damage.count; i++) {
        x = MIN(x, m->damage.rect[i].x);
        y = MIN(y, m->damage.rect[i].y);
        right = MAX(right, (unsigned)m->damage.rect[i].x + m->damage.rect[i].width);
        bottom = MAX(bottom, (unsigned)m->damage.rect[i].y + m->damage.rect[i].height);
    }
    m->damage.count = 0;
    m->damage.rect[0].x = (uint16_t)x;
    m->damage.rect[0].y = (uint16_t)y;
    m->damage.rect[0].width = (uint16_t)(right - x);
    m->damage.rect[0].height = (uint16_t)(bottom - y);
    m->damage.count = 1;
}

static void on_damaged(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height)
{
    struct vnc_message *m = &((struct vnc_viewer *)opaque)->damage;

    if (m->damage.count == VNC_DAMAGE_MAX) {
        merge(m, x, y, width, height);
        return;
    }
    m->damage.rect[m->damage.count].x = (uint16_t)x;
    m->damage.rect[m->damage.count].y = (uint16_t)y;
    m->damage.rect[m->damage.count].width = (uint16_t)width;
    m->damage.rect[m->damage.count].height = (uint16_t)height;
    m->damage.count++;
}

static void on_changed(void *opaque)
{
    send_value(opaque, VNC_CHANGED, 0);
}

static void on_cursor_set(void *opaque, const struct display_cursor *cursor)
{
    struct vnc_message m = {.kind = VNC_CURSOR};

    m.cursor.present = cursor != NULL;
    if (cursor) {
        m.cursor.shape = *cursor;
    }
    send_message(opaque, &m, VNC_SIZE(cursor), -1);
}

static void on_cursor_moved(void *opaque, int x, int y, bool visible)
{
    struct vnc_message m = {.kind = VNC_CURSOR_AT, .cursor_at = {x, y, visible}};

    send_message(opaque, &m, VNC_SIZE(cursor_at), -1);
}

static void send_surface(struct vnc_viewer *w, unsigned width, unsigned height)
{
    struct vnc_message m = {.kind = VNC_SURFACE, .surface = {width, height}};
    int fd = display_surface_fd(w->vnc->display);

    if (fd >= 0 && send_message(w, &m, VNC_SIZE(surface), fd)) {
        w->resized = false;
    }
}

/* What changed since the last time, by whomever it was asked for. */
static void on_drawn(void *opaque)
{
    struct vnc_viewer *w = opaque;
    unsigned width, height, pictures = display_pictures(w->vnc->display);
    bool whole = w->stale, ours = !whole && !w->resized && pictures == w->pictures + 1;

    w->pictures = pictures;
    if (display_pixels(w->vnc->display, &width, &height)) {
        w->stale = false;
        if (w->resized) {
            send_surface(w, width, height);
        }
        if (whole) {
            w->damage.damage.count = 0;
            on_damaged(w, 0, 0, width, height);
        }
        if (w->damage.damage.count) {
            send_message(w, &w->damage, VNC_SIZE(damage), -1);
        }
    }
    w->damage.damage.count = 0;
    send_value(w, VNC_DONE, ours && !w->stale);
}

static const struct display_viewer display_viewer = {
    .resized = on_resized,
    .damaged = on_damaged,
    .drawn = on_drawn,
    .changed = on_changed,
    .cursor_set = on_cursor_set,
    .cursor_moved = on_cursor_moved,
};

static void start_watching(struct vnc_viewer *w)
{
    const struct display_cursor *cursor;
    int x, y;

    w->damage.kind = VNC_DAMAGE;
    w->watch = display_watch(w->vnc->display, &display_viewer, w);
    w->stale = w->resized = true;
    bool visible = display_cursor_get(w->vnc->display, &cursor, &x, &y);
    if (cursor) {
        on_cursor_set(w, cursor);
    }
    on_cursor_moved(w, x, y, visible);
}

static void refresh(struct vnc_viewer *w)
{
    if (!w->vnc->display) {
        return;
    }
    if (!w->watch) {
        start_watching(w);
    }
    display_refresh(w->watch, w->stale);
}

/* ---- input ---- */

static bool key_is_down(const struct vnc_viewer *w, unsigned code)
{
    return w->keys[code / 8] >> (code % 8) & 1;
}

static void press(struct vnc_viewer *w, unsigned code, bool down)
{
    if (down) {
        w->keys[code / 8] |= (uint8_t)(1u << code % 8);
    } else {
        w->keys[code / 8] &= (uint8_t) ~(1u << code % 8);
    }
    if (w->vnc->input) {
        input_key(w->vnc->input, code, down);
        input_sync(w->vnc->input);
    }
}

static void release_all(struct vnc_viewer *w)
{
    static const unsigned codes[] = {BTN_LEFT, BTN_MIDDLE, BTN_RIGHT};

    for (unsigned code = 0; code < sizeof(w->keys) * 8; code++) {
        if (key_is_down(w, code)) {
            press(w, code, false);
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(codes) && w->vnc->input; i++) {
        if (w->buttons >> i & 1) {
            input_button(w->vnc->input, codes[i], false);
        }
    }
    if (w->buttons && w->vnc->input) {
        input_sync(w->vnc->input);
    }
    w->buttons = 0;
}

static void pointer(struct vnc_viewer *w, const struct vnc_message *m)
{
    static const unsigned codes[] = {BTN_LEFT, BTN_MIDDLE, BTN_RIGHT};
    struct input *in = w->vnc->input;
    int wheel = CLAMP(m->pointer.wheel, -WHEEL_MAX, WHEEL_MAX);

    if (!in) {
        return;
    }
    if (m->pointer.absolute && input_is_absolute(in)) {
        input_absolute(in, m->pointer.x, m->pointer.y);
        if (wheel) {
            input_relative(in, 0, 0, wheel);
        }
    } else if (!m->pointer.absolute) {
        input_relative(in, CLAMP(m->pointer.x, -4096, 4096), CLAMP(m->pointer.y, -4096, 4096),
                       wheel);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(codes); i++) {
        bool down = m->pointer.buttons >> i & 1;
        if (down != (w->buttons >> i & 1)) {
            input_button(in, codes[i], down);
        }
    }
    w->buttons = m->pointer.buttons & 7;
    input_sync(in);
}

static void on_absolute(void *opaque, bool absolute)
{
    const struct vnc *v = opaque;

    for (guint i = 0; i < v->viewers->len; i++) {
        send_value(g_ptr_array_index(v->viewers, i), VNC_POINTER_MODE, absolute);
    }
}

static void on_leds(void *opaque, unsigned leds)
{
    const struct vnc *v = opaque;

    for (guint i = 0; i < v->viewers->len; i++) {
        send_value(g_ptr_array_index(v->viewers, i), VNC_LEDS, leds);
    }
}

const struct input_viewer vnc_input_viewer = {.absolute = on_absolute, .leds = on_leds};

/* ---- messages ---- */

/* False: that is no message of a server's. */
static bool obey(struct vnc_viewer *w, const struct vnc_message *m, size_t size)
{
    switch (m->kind) {
    case VNC_READY:
        if (size != VNC_SIZE(value) || w->client.initialized) {
            return false;
        }
        vnc_viewer_ready(w->vnc, w, m->value);
        return true;
    case VNC_REFRESH:
        if (size != VNC_SIZE(value) || !w->client.initialized) {
            return false;
        }
        w->stale |= m->value;
        refresh(w);
        return true;
    case VNC_KEY:
        if (size != VNC_SIZE(key) || !w->client.initialized || m->key.code >= sizeof(w->keys) * 8 ||
            m->key.down > 1) {
            return false;
        }
        press(w, m->key.code, m->key.down);
        return true;
    case VNC_POINTER:
        if (size != VNC_SIZE(pointer) || !w->client.initialized) {
            return false;
        }
        pointer(w, m);
        return true;
    case VNC_WISH:
        if (size != VNC_SIZE(wish) || !w->client.initialized) {
            return false;
        }
        if (w->vnc->display) {
            display_wish(w->vnc->display, m->wish.width, m->wish.height);
        }
        return true;
    }
    return false;
}

static gboolean on_message(gint fd, GIOCondition condition, gpointer opaque)
{
    struct vnc_viewer *w = opaque;

    turn_of("vnc");
    for (unsigned i = 0; i < MESSAGES_A_TURN && !w->gone && !(i && turn_is_used_up()); i++) {
        struct vnc_message m;
        ssize_t n = recv(fd, &m, sizeof(m), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            break;
        }
        if (n <= 0 || (size_t)n < sizeof(m.kind) || !obey(w, &m, (size_t)n)) {
            if (n > 0) {
                log_write(LOG_DISPLAY, XLOG_WARNING, "vnc: the server for %s talks nonsense",
                          w->client.host);
            }
            viewer_drop(w);
        }
    }
    if (w->gone) {
        w->source = 0;
        vnc_viewer_gone(w->vnc, w);
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

/* ---- life ---- */

static void say_hello(struct vnc_viewer *w)
{
    const struct vnc *v = w->vnc;
    struct vnc_message m = {.kind = VNC_START};

    g_strlcpy(m.start.name, v->name, sizeof(m.start.name));
    g_strlcpy(m.start.keymap, v->keymap, sizeof(m.start.keymap));
    memcpy(m.start.password, v->password, sizeof(m.start.password));
    m.start.auth = v->options.password;
    m.start.refuse = vnc_refuses(v);
    m.start.websocket = w->client.websocket;
    m.start.absolute = v->input && input_is_absolute(v->input);
    m.start.leds = v->input ? (uint8_t)input_leds(v->input) : 0;
    send_message(w, &m, VNC_SIZE(start), -1);
}

struct vnc_viewer *viewer_new(struct vnc *v, int fd, const struct vnc_client *client)
{
    struct vnc_viewer *w = g_new0(struct vnc_viewer, 1);

    w->vnc = v;
    w->fd = fd;
    w->client = *client;
    w->stale = true;
    w->source = g_unix_fd_add(fd, G_IO_IN | G_IO_HUP, on_message, w);
    if (!client->initialized) {
        say_hello(w);
    }
    return w;
}

void viewer_drop(struct vnc_viewer *w)
{
    w->gone = true;
    shutdown(w->fd, SHUT_RDWR); /* wakes our own source, too */
}

void viewer_free(struct vnc_viewer *w)
{
    g_clear_handle_id(&w->source, g_source_remove);
    if (w->vnc->display) {
        release_all(w);
        display_unwatch(w->watch);
    }
    close(w->fd);
    g_free(w);
}
