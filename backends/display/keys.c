/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys on their way to the guest. A keyboard has room for a few; a person, and a program that types
 * for one, does not wait for the guest to read. What finds no room waits here, in order, with the
 * hold times of sendkey, which are counted by the guest's clock.
 */
#include <errno.h>

#include "input-internal.h"

struct key_item {
    unsigned code; /* 0: a hold time */
    bool down;
    unsigned hold_ms;
};

static void key_queue_run(struct input *in);

static void hold_over(void *opaque)
{
    key_queue_run(opaque);
}

void key_queue_init(struct input *in)
{
    g_queue_init(&in->keys.items);
    in->keys.down = g_hash_table_new(NULL, NULL);
}

static void items_clear(struct input *in)
{
    g_queue_clear_full(&in->keys.items, g_free);
    in->keys.presses = 0;
    if (in->keys.timed) {
        vtimer_disarm(&in->keys.hold);
    }
}

void key_queue_clear(struct input *in)
{
    items_clear(in);
    g_hash_table_destroy(in->keys.down);
}

void input_set_clock(struct input *in, struct vclock *clock)
{
    vtimer_init(&in->keys.hold, clock, "key-hold", hold_over, in);
    in->keys.timed = true;
}

/* Tells the keyboard, if it has room. */
static bool deliver(struct input *in, unsigned code, bool down)
{
    const struct attached *a = input_keyboard(in);

    if (!a) {
        return true; /* into the void */
    }
    if (a->device->key_room && !a->device->key_room(a->opaque)) {
        return false;
    }
    a->device->key(a->opaque, code, down);
    if (a->device->sync) {
        a->device->sync(a->opaque);
    }
    return true;
}

/* Whether the head is done with: a key was taken, a hold time is over. */
static bool head_done(struct input *in, struct key_item *item)
{
    if (item->code) {
        return deliver(in, item->code, item->down);
    }
    if (!in->keys.timed || item->hold_ms == 0) {
        return true;
    }
    if (!vtimer_armed(&in->keys.hold)) {
        vtimer_arm_in(&in->keys.hold, item->hold_ms * NS_PER_MS);
        item->hold_ms = 0;
    }
    return false;
}

/* Devices call back from inside: input_key_ready() when they took something, at times at once. */
static void key_queue_run(struct input *in)
{
    struct key_item *item;

    if (in->keys.delivering) {
        return;
    }
    in->keys.delivering = true;
    while (!(in->keys.timed && vtimer_armed(&in->keys.hold)) &&
           (item = g_queue_peek_head(&in->keys.items)) && head_done(in, item)) {
        in->keys.presses -= item->code && item->down;
        g_free(g_queue_pop_head(&in->keys.items));
    }
    in->keys.delivering = false;
}

void input_key_ready(struct input *in)
{
    if (!g_queue_is_empty(&in->keys.items)) {
        key_queue_run(in);
    }
}

static void push(struct input *in, unsigned code, bool down, unsigned hold_ms)
{
    struct key_item *item = g_new(struct key_item, 1);

    *item = (struct key_item){.code = code, .down = down, .hold_ms = hold_ms};
    g_queue_push_tail(&in->keys.items, item);
    in->keys.presses += code && down;
}

bool input_key(struct input *in, unsigned code, bool down)
{
    gpointer key = GUINT_TO_POINTER(code);

    if (code == 0 || code >= KEY_CODE_LIMIT ||
        (down && in->keys.presses >= INPUT_KEYS_WAITING_MAX) ||
        (!down && !g_hash_table_contains(in->keys.down, key)) ||
        !tape_enter(TAPE_KEY, NULL, (uint64_t[]){code, down}, NULL, 0)) {
        return false;
    }
    if (down) {
        g_hash_table_add(in->keys.down, key);
    } else {
        g_hash_table_remove(in->keys.down, key);
    }
    push(in, code, down, 0);
    key_queue_run(in);
    tape_leave();
    return true;
}

unsigned input_keys_waiting(const struct input *in)
{
    return in->keys.items.length;
}

bool input_keys_held(const struct input *in)
{
    return !g_queue_is_empty((GQueue *)&in->keys.items) || g_hash_table_size(in->keys.down) > 0;
}

int input_press_keys(struct input *in, const unsigned *codes, unsigned n, unsigned hold_ms)
{
    if (in->keys.presses + n > INPUT_KEYS_WAITING_MAX) {
        return -ENOBUFS;
    }
    if (!tape_enter(TAPE_KEYS, NULL, (uint64_t[]){hold_ms}, codes, n * sizeof(*codes))) {
        return -EBUSY;
    }
    for (unsigned i = 0; i < n; i++) {
        input_key(in, codes[i], true);
    }
    push(in, 0, false, MIN(hold_ms, INPUT_HOLD_MS_MAX));
    for (unsigned i = n; i-- > 0;) {
        input_key(in, codes[i], false);
    }
    tape_leave();
    return 0;
}

int input_send_keys(struct input *in, const char *combination, unsigned hold_ms, char **bad)
{
    unsigned codes[INPUT_COMBINATION_MAX], n = 0;
    char **names = g_strsplit(combination, "-", INPUT_COMBINATION_MAX + 1);

    *bad = NULL;
    for (; names[n]; n++) {
        unsigned code = n < INPUT_COMBINATION_MAX ? input_key_from_name(names[n]) : 0;

        if (code == 0) {
            *bad = g_strdup(names[n]);
            break;
        }
        codes[n] = code;
    }
    g_strfreev(names);
    if (!*bad && n == 0) {
        *bad = g_strdup(combination);
    }
    return *bad ? -EINVAL : input_press_keys(in, codes, n, hold_ms);
}
