/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to backends/pv: the frame buffer. Keys and events are in fb.c, pictures in fb-draw.c. */
#ifndef BACKENDS_PV_FB_H
#define BACKENDS_PV_FB_H

#include <xendm/display.h>

#include "internal.h"

/* How a picture lies in the memory that the front end gave; checked to be inside. */
struct fb_mode {
    uint32_t width, height;  /* pixels */
    uint32_t stride, offset; /* bytes */
    uint32_t depth;          /* bits: 8, 16, 24, 32 */
};

struct fb_rect {
    uint32_t x0, y0, x1, y1; /* up to, and not including, the second */
};

struct xenfb_page;

struct fb {
    struct pv_device dev;
    struct xenfb_page *page; /* NULL: not connected */
    uint32_t out_cons;       /* ours; what stands in the page is for the front end */
    const uint8_t *memory;   /* the front end's, which it writes at any time */
    uint32_t bytes;          /* of it */
    struct fb_mode mode;
    bool updates;          /* it says what it has changed, and nothing else has */
    struct fb_rect damage; /* what it said since the last picture; empty: nothing */

    /* The picture that is being drawn, as it was begun. */
    struct fb_mode drawn;
    struct fb_rect rect;
    uint32_t row;
    uint32_t *surface;

    uint64_t update_events, resizes, pictures, refused;
};

/* -EINVAL: it is not inside `bytes`, or nothing that can be shown. */
int fb_mode_check(const struct fb_mode *mode, uint32_t bytes);
void fb_damage(struct fb *f, int64_t x, int64_t y, int64_t width, int64_t height);
void fb_damage_all(struct fb *f);

/* The head shows it, from now on or no more. */
void fb_show(struct fb *f, bool on);

#endif
