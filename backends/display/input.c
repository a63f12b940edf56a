/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Input routing: events to the device that was attached last and takes them. */
#include <errno.h>
#include <string.h>

#include <glib.h>

#include "input-internal.h"

struct watching {
    const struct input_viewer *viewer;
    void *opaque;
};

struct input *input_new(void)
{
    struct input *in = g_new0(struct input, 1);
    in->devices = g_array_new(FALSE, FALSE, sizeof(struct attached));
    in->viewers = g_array_new(FALSE, FALSE, sizeof(struct watching));
    key_queue_init(in);
    return in;
}

void input_free(struct input *in)
{
    if (in) {
        key_queue_clear(in);
        g_array_free(in->devices, TRUE);
        g_array_free(in->viewers, TRUE);
        g_free(in);
    }
}

/* The attachment that offers `member`, or NULL. */
#define INPUT_FIND(in, member) \
    ({ \
        const struct attached *found_ = NULL; \
        for (guint i_ = (in)->devices->len; i_-- > 0 && !found_;) { \
            const struct attached *a_ = &g_array_index((in)->devices, struct attached, i_); \
            found_ = a_->device->member ? a_ : NULL; \
        } \
        found_; \
    })

const struct attached *input_keyboard(struct input *in)
{
    return INPUT_FIND(in, key);
}

/* Calls `member` of all viewers; backwards, so that the one that is called may leave. */
#define INPUT_TELL(in, member, ...) \
    do { \
        for (guint i_ = (in)->viewers->len; i_-- > 0;) { \
            const struct watching *w_ = &g_array_index((in)->viewers, struct watching, i_); \
            if (w_->viewer->member) { \
                w_->viewer->member(w_->opaque, __VA_ARGS__); \
            } \
        } \
    } while (0)

static void tell_absolute(struct input *in, bool before)
{
    bool now = input_is_absolute(in);

    if (now != before) {
        INPUT_TELL(in, absolute, now);
    }
}

void input_attach(struct input *in, const struct input_device *device, void *opaque)
{
    struct attached a = {device, opaque, ++in->attached};
    bool before = input_is_absolute(in);

    g_array_append_val(in->devices, a);
    tell_absolute(in, before);
}

void input_detach(struct input *in, const struct input_device *device, void *opaque)
{
    bool before = input_is_absolute(in);

    for (guint i = in->devices->len; i-- > 0;) {
        const struct attached *a = &g_array_index(in->devices, struct attached, i);
        if (a->device == device && a->opaque == opaque) {
            g_array_remove_index(in->devices, i);
            tell_absolute(in, before);
            return;
        }
    }
}

void input_watch(struct input *in, const struct input_viewer *viewer, void *opaque)
{
    struct watching w = {viewer, opaque};

    g_array_append_val(in->viewers, w);
}

void input_unwatch(struct input *in, const struct input_viewer *viewer, void *opaque)
{
    for (guint i = in->viewers->len; i-- > 0;) {
        const struct watching *w = &g_array_index(in->viewers, struct watching, i);
        if (w->viewer == viewer && w->opaque == opaque) {
            g_array_remove_index(in->viewers, i);
            return;
        }
    }
}

void input_relative(struct input *in, int dx, int dy, int wheel)
{
    const struct attached *a = INPUT_FIND(in, relative);
    uint64_t n[] = {(uint64_t)dx, (uint64_t)dy, (uint64_t)wheel};

    if (a && tape_enter(TAPE_RELATIVE, NULL, n, NULL, 0)) {
        a->device->relative(a->opaque, dx, dy, wheel);
        tape_leave();
    }
}

void input_absolute(struct input *in, int x, int y)
{
    const struct attached *a = INPUT_FIND(in, absolute);

    in->x = CLAMP(x, 0, INPUT_ABS_MAX);
    in->y = CLAMP(y, 0, INPUT_ABS_MAX);
    if (a &&
        tape_enter(TAPE_ABSOLUTE, NULL, (uint64_t[]){(uint64_t)in->x, (uint64_t)in->y}, NULL, 0)) {
        a->device->absolute(a->opaque, in->x, in->y);
        tape_leave();
    }
}

void input_absolute_axis(struct input *in, bool vertical, int value)
{
    input_absolute(in, vertical ? in->x : value, vertical ? value : in->y);
}

void input_button(struct input *in, unsigned code, bool down)
{
    const struct attached *a = INPUT_FIND(in, button);

    if (a && tape_enter(TAPE_BUTTON, NULL, (uint64_t[]){code, down}, NULL, 0)) {
        a->device->button(a->opaque, code, down);
        tape_leave();
    }
}

/* A report may have parts for several devices: each ends its own. */
void input_sync(struct input *in)
{
    if (!tape_enter(TAPE_SYNC, NULL, NULL, NULL, 0)) {
        return;
    }
    for (guint i = 0; i < in->devices->len; i++) {
        const struct attached *a = &g_array_index(in->devices, struct attached, i);
        if (a->device->sync) {
            a->device->sync(a->opaque);
        }
    }
    tape_leave();
}

bool input_is_absolute(const struct input *in)
{
    return INPUT_FIND(in, absolute) != NULL;
}

static bool is_pointer(const struct attached *a)
{
    return a->device->relative || a->device->absolute;
}

void input_foreach_pointer(const struct input *in,
                           void (*fn)(void *opaque, const struct input_pointer *pointer),
                           void *opaque)
{
    bool first = true;

    for (guint i = in->devices->len; i-- > 0;) {
        const struct attached *a = &g_array_index(in->devices, struct attached, i);
        struct input_pointer p = {a->device->name, a->number, a->device->absolute != NULL, first};

        if (is_pointer(a)) {
            first = false;
            fn(opaque, &p);
        }
    }
}

int input_choose_pointer(struct input *in, unsigned number)
{
    tape_unrecorded("a pointer is chosen");
    for (guint i = 0; i < in->devices->len; i++) {
        struct attached a = g_array_index(in->devices, struct attached, i);

        if (a.number == number && is_pointer(&a)) {
            g_array_remove_index(in->devices, i);
            g_array_append_val(in->devices, a);
            return 0;
        }
    }
    return -ENOENT;
}

void input_set_leds(struct input *in, unsigned leds)
{
    if (in->leds != (leds & 7)) {
        in->leds = leds & 7;
        INPUT_TELL(in, leds, in->leds);
    }
}

unsigned input_leds(const struct input *in)
{
    return in->leds;
}
