/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pictures of the PV frame buffer: rows of the guest's memory into the display's surface, of what
 * the front end says it has changed, or, when it says nothing, of all that differs.
 */
#include <errno.h>
#include <string.h>

#include <xendm/bytes.h>

#include "fb.h"

/* ---- the mode ---- */

int fb_mode_check(const struct fb_mode *mode, uint32_t bytes)
{
    uint64_t row = (uint64_t)mode->width * (mode->depth / 8);
    bool shown = mode->width >= 1 && mode->width <= DISPLAY_WIDTH_MAX && mode->height >= 1 &&
                 mode->height <= DISPLAY_HEIGHT_MAX &&
                 (mode->depth == 8 || mode->depth == 16 || mode->depth == 24 || mode->depth == 32);
    uint64_t end = mode->offset + (uint64_t)mode->stride * (mode->height - 1) + row;

    return shown && mode->stride >= row && end <= bytes ? 0 : -EINVAL;
}

/* ---- what changed ---- */

static bool is_empty(const struct fb_rect *r)
{
    return r->x0 >= r->x1 || r->y0 >= r->y1;
}

void fb_damage(struct fb *f, int64_t x, int64_t y, int64_t width, int64_t height)
{
    struct fb_rect r = {
        .x0 = (uint32_t)CLAMP(x, 0, f->mode.width),
        .y0 = (uint32_t)CLAMP(y, 0, f->mode.height),
        .x1 = (uint32_t)CLAMP(x + width, 0, f->mode.width),
        .y1 = (uint32_t)CLAMP(y + height, 0, f->mode.height),
    };

    if (is_empty(&r)) {
        return;
    }
    if (is_empty(&f->damage)) {
        f->damage = r;
        return;
    }
    f->damage.x0 = MIN(f->damage.x0, r.x0);
    f->damage.y0 = MIN(f->damage.y0, r.y0);
    f->damage.x1 = MAX(f->damage.x1, r.x1);
    f->damage.y1 = MAX(f->damage.y1, r.y1);
}

void fb_damage_all(struct fb *f)
{
    f->damage = (struct fb_rect){.x1 = f->mode.width, .y1 = f->mode.height};
}

/* ---- a row ---- */

/* Linux' frame buffers of 8 bits here: three of red, three of green, two of blue. */
static uint32_t of_8(const uint8_t *p)
{
    uint32_t r = *p >> 5, g = *p >> 2 & 7, b = *p & 3;

    return (r * 255 / 7) << 16 | (g * 255 / 7) << 8 | b * 255 / 3;
}

static uint32_t of_16(const uint8_t *p)
{
    uint32_t v = load_le16(p), r = v >> 11, g = v >> 5 & 63, b = v & 31;

    return (r * 255 / 31) << 16 | (g * 255 / 63) << 8 | b * 255 / 31;
}

static uint32_t of_24(const uint8_t *p)
{
    return load_le16(p) | (uint32_t)p[2] << 16;
}

static void convert(const struct fb_mode *m, const uint8_t *from, uint32_t *to, uint32_t count)
{
    switch (m->depth) {
    case 8:
        for (uint32_t i = 0; i < count; i++) {
            to[i] = of_8(from + i);
        }
        break;
    case 16:
        for (uint32_t i = 0; i < count; i++) {
            to[i] = of_16(from + 2 * (size_t)i);
        }
        break;
    case 24:
        for (uint32_t i = 0; i < count; i++) {
            to[i] = of_24(from + 3 * (size_t)i);
        }
        break;
    default:
        memcpy(to, from, (size_t)count * 4);
        for (uint32_t i = 0; i < count; i++) {
            to[i] &= 0xffffff;
        }
    }
}

/* Whether the row is another one than what is shown. */
static bool draw_row(struct fb *f, uint32_t y)
{
    const struct fb_mode *m = &f->drawn;
    uint32_t row[DISPLAY_WIDTH_MAX], count = f->rect.x1 - f->rect.x0;
    uint32_t *shown = f->surface + (size_t)y * m->width + f->rect.x0;

    convert(m, f->memory + m->offset + (size_t)y * m->stride + (size_t)f->rect.x0 * (m->depth / 8),
            row, count);
    if (memcmp(row, shown, (size_t)count * 4) == 0) {
        return false;
    }
    memcpy(shown, row, (size_t)count * 4);
    return true;
}

/* ---- a picture ---- */

static void tell(struct fb *f, uint32_t from, uint32_t to)
{
    if (to > from) {
        display_damage(pv_host(&f->dev)->display, f->rect.x0, from, f->rect.x1 - f->rect.x0,
                       to - from);
    }
}

static bool draw_more(void *opaque)
{
    struct fb *f = opaque;
    uint32_t first = f->row; /* of those that differ and were not told yet */
    bool pause = false;

    while (f->row < f->rect.y1 && !pause) {
        uint32_t y = f->row++;

        if (!draw_row(f, y)) {
            tell(f, first, y);
            first = f->row;
        }
        pause = display_pause(pv_host(&f->dev)->display);
    }
    tell(f, first, f->row);
    return f->row < f->rect.y1;
}

static bool refresh(void *opaque, bool full)
{
    struct fb *f = opaque;
    bool resized = f->drawn.width != f->mode.width || f->drawn.height != f->mode.height;

    f->surface = display_resize(pv_host(&f->dev)->display, f->mode.width, f->mode.height);
    if (!f->surface) {
        return false;
    }
    f->drawn = f->mode;
    f->rect = f->damage;
    if (full || resized || !f->updates) {
        f->rect = (struct fb_rect){.x1 = f->mode.width, .y1 = f->mode.height};
    }
    f->damage = (struct fb_rect){.x0 = 0};
    if (is_empty(&f->rect)) {
        return false;
    }
    f->row = f->rect.y0;
    f->pictures++;
    return draw_more(f);
}

/* The surface is gone: the next one begins with all of it. */
static void unwatched(void *opaque)
{
    struct fb *f = opaque;

    fb_damage_all(f);
}

static const struct display_device device = {
    .refresh = refresh,
    .more = draw_more,
    .unwatched = unwatched,
};

void fb_show(struct fb *f, bool on)
{
    display_set_device(pv_host(&f->dev)->display, on ? &device : NULL, on ? f : NULL);
}
