/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Display: one head between a graphics device and whoever looks (VNC, screendump). Nobody looking
 * costs nothing: the device is asked to draw only when a viewer wants a frame, so an idle guest
 * without viewer never wakes us.
 *
 * Pixels are 32 bits 0x00RRGGBB in host byte order, rows top to bottom.
 */
#ifndef XENDM_DISPLAY_H
#define XENDM_DISPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#define DISPLAY_WIDTH_MAX 4096u
#define DISPLAY_HEIGHT_MAX 4096u

struct display;

/* The device's side. */
struct display_device {
    /*
     * Brings the surface up to date: display_resize() when the mode's size changed, draw,
     * display_damage() for what changed. `full`: draw everything, whatever changed.
     */
    void (*refresh)(void *opaque, bool full);
    /* The last viewer went: stop tracking what the guest draws, give memory back. May be NULL. */
    void (*unwatched)(void *opaque);
};

struct display *display_new(void);
void display_free(struct display *d);
void display_set_device(struct display *d, const struct display_device *device, void *opaque);

/*
 * For the device, inside refresh(): a surface of that size, cleared if the size changed; the pitch
 * is width pixels. Sizes are clamped to 1..DISPLAY_*_MAX by the caller. NULL when memory is short.
 */
uint32_t *display_resize(struct display *d, unsigned width, unsigned height);
void display_damage(struct display *d, unsigned x, unsigned y, unsigned width, unsigned height);
/* Text-mode cursor and hardware cursors are drawn into the surface by the device. */

/* For viewers. */
struct display_viewer {
    void (*resized)(void *opaque, unsigned width, unsigned height);
    void (*damaged)(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height);
};
struct display_watch;
struct display_watch *display_watch(struct display *d, const struct display_viewer *viewer,
                                    void *opaque);
void display_unwatch(struct display_watch *w);
/*
 * Asks the device to draw now. The surface is valid until the next refresh. NULL pixels: no device
 * or no memory.
 */
const uint32_t *display_refresh(struct display *d, bool full, unsigned *width, unsigned *height);

/*
 * Writes a picture of the screen: PNG when `file` ends in .png or `png` is set, else binary PPM
 * (what QEMU's screendump writes). The file appears complete or not at all.
 */
int display_screendump(struct display *d, const char *file, bool png, GError **err);

#endif
