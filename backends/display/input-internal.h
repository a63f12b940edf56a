/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the routing of input and its queue of keys. */
#ifndef DISPLAY_INPUT_INTERNAL_H
#define DISPLAY_INPUT_INTERNAL_H

#include <glib.h>

#include <xendm/clock.h>
#include <xendm/input.h>
#include <xendm/tape.h>

struct attached {
    const struct input_device *device;
    void *opaque;
    unsigned number;
};

/* keys.c */
#define KEY_CODE_LIMIT 768u /* KEY_CNT of Linux */
struct key_queue {
    GQueue items;           /* struct key_item * */
    unsigned presses;       /* of them */
    GHashTable *down;       /* codes that are down once all that waits was delivered */
    struct vtimer hold;     /* runs while a hold time is at the head */
    bool timed, delivering; /* there is a clock; a device's callback is under way */
};
void key_queue_init(struct input *in);
void key_queue_clear(struct input *in);

struct input {
    GArray *devices; /* struct attached, the last attached last */
    GArray *viewers; /* struct watching */
    unsigned leds;
    unsigned attached; /* so far */
    int x, y;          /* the last absolute position */
    struct key_queue keys;
};

/* input.c: who gets keys, or NULL. */
const struct attached *input_keyboard(struct input *in);

#endif
