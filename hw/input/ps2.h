/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PS/2 keyboard and mouse: what is at the end of the cable. The controller writes bytes to them and
 * takes bytes from them; it is told by `ready` when a viewer's input made some.
 */
#ifndef XENDM_PS2_H
#define XENDM_PS2_H

#include <stdbool.h>
#include <stdint.h>

#include <xendm/input.h>
#include <xendm/state.h>

#define PS2_QUEUE_SIZE 16

struct ps2_queue {
    uint8_t data[PS2_QUEUE_SIZE];
    uint8_t count;
};

extern const struct state_desc ps2_queue_state;
/* All bytes or none. */
bool ps2_queue_put(struct ps2_queue *q, const uint8_t *bytes, unsigned n);
bool ps2_queue_take(struct ps2_queue *q, uint8_t *byte);

struct ps2_port {
    void (*ready)(void *opaque);
    void *opaque;
    struct input *input; /* for LEDs; may be NULL */
};

struct ps2_keyboard {
    struct ps2_port port;
    struct ps2_queue reply; /* answers to commands go before keys */
    struct ps2_queue keys;
    uint8_t command; /* whose argument is awaited; 0: none */
    uint8_t last;    /* byte sent, for "resend" */
    uint8_t set;     /* scan code set 1..3 */
    uint8_t leds;
    bool scanning;
    uint8_t down[32];    /* bit per key code the guest was told to be down */
    uint8_t release[32]; /* releases that found no room: sent when there is */
    uint64_t dropped;    /* presses and releases that found no room */
};

extern const struct state_desc ps2_keyboard_state;
extern const struct input_device ps2_keyboard_input; /* opaque: struct ps2_keyboard */
void ps2_keyboard_reset(struct ps2_keyboard *k);
/* Every key that is down goes up with the next bytes that are taken. */
void ps2_keyboard_release_all(struct ps2_keyboard *k);
void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t byte);
/* The next answer; then, unless `answers_only`, the next byte of a key. */
bool ps2_keyboard_take(struct ps2_keyboard *k, bool answers_only, uint8_t *byte, bool *is_answer);
/* Scan code set 2 to set 1, one byte, as the controller does it (without the break prefix). */
uint8_t ps2_translate(uint8_t set2);

struct ps2_mouse {
    struct ps2_port port;
    struct ps2_queue reply, packets;
    uint8_t command, last;
    uint8_t type;     /* 0, 3 (wheel), 4 (wheel and five buttons) */
    uint8_t knock[3]; /* the last sample rates set, latest last */
    uint8_t rate, resolution;
    bool remote, reporting, scale21, wrap;
    uint8_t buttons; /* bit 0 left, 1 right, 2 middle, 3 side, 4 extra */
    uint8_t buttons_sent;
    int32_t dx, dy, dz; /* not yet sent; y up, z towards the user */
};

extern const struct state_desc ps2_mouse_state;
extern const struct input_device ps2_mouse_input; /* opaque: struct ps2_mouse */
void ps2_mouse_reset(struct ps2_mouse *m);
void ps2_mouse_write(struct ps2_mouse *m, uint8_t byte);
bool ps2_mouse_take(struct ps2_mouse *m, bool answers_only, uint8_t *byte);

#endif
