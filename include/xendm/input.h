/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Input: keys and pointer events from viewers and QMP to the guest's input devices. Key codes and
 * buttons are Linux evdev codes (linux/input-event-codes.h); absolute coordinates are
 * 0..INPUT_ABS_MAX over the screen.
 */
#ifndef XENDM_INPUT_H
#define XENDM_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#define INPUT_ABS_MAX 0x7fff

struct input;

/* A device's side; functions it does not offer are NULL. */
struct input_device {
    const char *name;
    void (*key)(void *opaque, unsigned code, bool down);
    /*
     * Whether key() can take another one now; NULL: always. A device that said no calls
     * input_key_ready() when it can.
     */
    bool (*key_room)(void *opaque);
    void (*relative)(void *opaque, int dx, int dy, int wheel);
    void (*absolute)(void *opaque, int x, int y);
    /* BTN_LEFT, BTN_RIGHT, BTN_MIDDLE, BTN_SIDE, BTN_EXTRA */
    void (*button)(void *opaque, unsigned code, bool down);
    void (*sync)(void *opaque); /* end of one report */
};

struct input *input_new(void);
void input_free(struct input *in);

/*
 * The last one attached that offers a function gets it: a USB tablet takes the pointer from the
 * PS/2 mouse.
 */
void input_attach(struct input *in, const struct input_device *device, void *opaque);
void input_detach(struct input *in, const struct input_device *device, void *opaque);

/*
 * Keys that the guest has no room for wait, in order, however slowly it reads. When
 * INPUT_KEYS_WAITING_MAX wait, further presses are dropped (false), but never a release of what was
 * pressed.
 */
#define INPUT_KEYS_WAITING_MAX 1024u
bool input_key(struct input *in, unsigned code, bool down);
void input_key_ready(struct input *in); /* by the device */
unsigned input_keys_waiting(const struct input *in);
/*
 * Whether the release of a key is still to come. A keyboard that is saved meanwhile saves itself
 * with all keys on their way up: who goes on with it will not hear of the release.
 */
bool input_keys_held(const struct input *in);

/* How hold times of keys are counted; without one there are none. */
struct vclock;
void input_set_clock(struct input *in, struct vclock *clock);

void input_relative(struct input *in, int dx, int dy, int wheel);
void input_absolute(struct input *in, int x, int y);
void input_button(struct input *in, unsigned code, bool down);
void input_sync(struct input *in);
bool input_is_absolute(const struct input *in); /* an absolute device is attached */
/* One coordinate; the other stays what it was. */
void input_absolute_axis(struct input *in, bool vertical, int value);

/* The devices that take movements, for people. Their numbers stay while they are attached. */
struct input_pointer {
    const char *name;
    unsigned number;
    bool absolute;
    bool current; /* as if attached last */
};
void input_foreach_pointer(const struct input *in,
                           void (*fn)(void *opaque, const struct input_pointer *pointer),
                           void *opaque);
/* As if that one were attached last. -ENOENT: there is no pointer with the number. */
int input_choose_pointer(struct input *in, unsigned number);

/* QEMU's key names ("a", "ret", "ctrl", "f1", "spc" …) for sendkey; 0 when unknown. */
unsigned input_key_from_name(const char *name);

/*
 * Presses the keys in order and, `hold_ms` later, releases them in reverse. -ENOBUFS: too much
 * waits for the guest; none is pressed then.
 */
#define INPUT_COMBINATION_MAX 16u
#define INPUT_HOLD_MS 100u
#define INPUT_HOLD_MS_MAX 10000u
int input_press_keys(struct input *in, const unsigned *codes, unsigned n, unsigned hold_ms);
/* The same with "ctrl-alt-delete"; -EINVAL names the unknown key in *bad. */
int input_send_keys(struct input *in, const char *combination, unsigned hold_ms, char **bad);

/* LEDs as the guest sets them on its keyboard: bit 0 scroll, 1 num, 2 caps. */
void input_set_leds(struct input *in, unsigned leds);
unsigned input_leds(const struct input *in);

/*
 * Viewers: told when an absolute pointer comes or goes (a tablet that the guest has set up), and
 * when the guest switches its LEDs; each may be NULL.
 */
struct input_viewer {
    void (*absolute)(void *opaque, bool absolute);
    void (*leds)(void *opaque, unsigned leds);
};
void input_watch(struct input *in, const struct input_viewer *viewer, void *opaque);
void input_unwatch(struct input *in, const struct input_viewer *viewer, void *opaque);

#endif
