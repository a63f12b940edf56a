/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From what a viewer says of a key to the key of the guest's keyboard: by its symbol ("a", "Ä"),
 * looked up in a layout of xkb, or by the number that the viewer's own keyboard gave it.
 */
#ifndef BACKENDS_VNC_KEYMAP_H
#define BACKENDS_VNC_KEYMAP_H

#include <stdbool.h>
#include <stdint.h>

struct keymap;

/* `name` as QEMU's -k has it ("en-us", "de-ch"), or xkb's ("de(nodeadkeys)"). NULL: unknown. */
struct keymap *keymap_new(const char *name);
void keymap_free(struct keymap *k);

struct keymap_key {
    unsigned code;     /* evdev; 0: no key of the layout gives the symbol */
    bool shift, altgr; /* what has to be held for it */
    bool levels;       /* the key gives other symbols with other modifiers */
};
struct keymap_key keymap_find(const struct keymap *k, uint32_t keysym);

/* XT set 1 as QEMU's extended key event has it: with 0x80 for those behind 0xe0. 0: none. */
unsigned keymap_from_xt(uint32_t xt);

#endif
