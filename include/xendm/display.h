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
     * Begins to bring the surface up to date: display_resize() when the mode's size changed, draw,
     * display_damage() for what changed. `full`: draw everything, whatever changed. A turn of the
     * main loop has a part for drawing: once display_pause() says that it is used up, return true;
     * more() is then called in the next turns until it returns false. What the picture is made of
     * may change in between; a picture that was begun is ended as it was begun, so that a guest
     * cannot keep it from being ended.
     */
    bool (*refresh)(void *opaque, bool full);
    bool (*more)(void *opaque); /* may be NULL when refresh() never returns true */
    /*
     * The last viewer went: stop tracking what the guest draws, give memory back; a picture that
     * was begun is not asked for any more. May be NULL.
     */
    void (*unwatched)(void *opaque);
    /*
     * A viewer's window has this size: a device that can change its mode by itself (vfb, virtio)
     * may tell the guest. May be NULL: the guest alone decides.
     */
    void (*wish)(void *opaque, unsigned width, unsigned height);
};

#define DISPLAY_CURSOR_MAX 64u /* pixels each way; the largest of the chips here */

struct display_cursor {
    unsigned width, height;
    unsigned hot_x, hot_y;
    uint32_t argb[DISPLAY_CURSOR_MAX * DISPLAY_CURSOR_MAX]; /* not premultiplied; width a row */
};

struct display *display_new(void);
void display_free(struct display *d);
void display_set_device(struct display *d, const struct display_device *device, void *opaque);

/*
 * For the device, inside refresh(): a surface of that size, cleared if the size changed; the pitch
 * is width pixels. Sizes are clamped to 1..DISPLAY_*_MAX by the caller. NULL when memory is short.
 * It stays where it is until the picture is ended.
 */
uint32_t *display_resize(struct display *d, unsigned width, unsigned height);
/* For the device, inside refresh() and more(), after each row or so. */
bool display_pause(struct display *d);
void display_damage(struct display *d, unsigned x, unsigned y, unsigned width, unsigned height);
/* The cursor of text modes is drawn into the surface by the device, as the chip does. */

/*
 * For the device, at any time. display_changed(): there is something to draw, for devices that are
 * told by the guest (vfb's updates); the others are asked at the viewers' rate.
 */
void display_changed(struct display *d);
/*
 * A hardware cursor, kept out of the surface: viewers that can draw it themselves do. It is copied;
 * NULL: none. display_cursor_move() gives the place of the hot spot.
 */
void display_cursor_set(struct display *d, const struct display_cursor *cursor);
void display_cursor_move(struct display *d, int x, int y, bool visible);

/* For viewers. */
struct display_viewer {
    void (*resized)(void *opaque, unsigned width, unsigned height);
    void (*damaged)(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height);
    /* Of the following each may be NULL. */
    void (*drawn)(void *opaque);   /* the picture that display_refresh() asked for is there */
    void (*changed)(void *opaque); /* a refresh would show something new */
    void (*cursor_set)(void *opaque, const struct display_cursor *cursor); /* NULL: none */
    void (*cursor_moved)(void *opaque, int x, int y, bool visible);
};
struct display_watch;
struct display_watch *display_watch(struct display *d, const struct display_viewer *viewer,
                                    void *opaque);
void display_unwatch(struct display_watch *w);
/*
 * Asks for a picture of what the guest shows from now on. It is drawn in some turns of the main
 * loop; then drawn() is called, once, perhaps before this returns. What one viewer has asked for
 * all hear of by damaged().
 */
void display_refresh(struct display_watch *w, bool full);
/* How many pictures were begun so far, whoever asked for them. */
unsigned display_pictures(const struct display *d);
/* The surface as it is, until it is drawn anew. NULL: no device, no memory, or never drawn. */
const uint32_t *display_pixels(const struct display *d, unsigned *width, unsigned *height);

/*
 * The surface's memory, for a viewer in another process: a descriptor that can be mapped read-only,
 * width * height * 4 bytes; the display's own, another one after each resize. -1: no surface.
 */
int display_surface_fd(struct display *d);
/* What a newly come viewer has to know; false: no cursor, or not visible. */
bool display_cursor_get(const struct display *d, const struct display_cursor **cursor, int *x,
                        int *y);
void display_wish(struct display *d, unsigned width, unsigned height);

/*
 * Writes a picture of the screen: PNG when `file` ends in .png or `png` is set, else binary PPM
 * (what QEMU's screendump writes). The file appears complete or not at all; only a regular file is
 * replaced. `fd`, unless -1: the picture goes there, from where it stands on, whatever `file` is
 * called; it is taken over, and must be a regular file's, for which nobody waits. A large picture
 * takes some turns of the main loop. `done` is called once, at the latest by display_free(), with
 * what went wrong, which it takes over, or NULL; perhaps before this returns.
 */
typedef void display_screendump_done(void *opaque, GError *err);
void display_screendump(struct display *d, const char *file, int fd, bool png,
                        display_screendump_done *done, void *opaque);

#endif
