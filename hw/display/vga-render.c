/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IBM VGA and its extensions: keeps the display's surface like the screen. Called only while
 * somebody looks.
 *
 * A picture is drawn when a register was written, memory was written through us or the hypervisor
 * says that the guest wrote there itself, or something blinks. Each row is made aside and compared
 * with the surface, so that viewers hear of what really changed. VRAM may change under our hands
 * (the guest runs): bytes are used as values only, never as sizes or addresses beyond a mask.
 */
#include <stdio.h>
#include <string.h>

#include <glib.h>

#include <xendm/facts.h>
#include <xendm/log.h>

#include "vga-core.h"

struct damage {
    struct display *display;
    bool open;
    unsigned x0, x1, y0, y1; /* half open */
};

static void damage_flush(struct damage *d)
{
    if (d->open) {
        display_damage(d->display, d->x0, d->y0, d->x1 - d->x0, d->y1 - d->y0);
        d->open = false;
    }
}

/* Puts a finished row into the surface; runs of changed rows become one rectangle. */
static void row_store(struct damage *d, uint32_t *surface, const uint32_t *row, unsigned width,
                      unsigned y)
{
    uint32_t *to = surface + (size_t)y * width;
    unsigned x0 = 0, x1 = width;

    if (memcmp(to, row, width * sizeof(*row)) == 0) {
        damage_flush(d);
        return;
    }
    while (to[x0] == row[x0]) {
        x0++;
    }
    while (to[x1 - 1] == row[x1 - 1]) {
        x1--;
    }
    memcpy(to + x0, row + x0, (x1 - x0) * sizeof(*row));
    if (!d->open) {
        d->open = true;
        d->x0 = x0;
        d->x1 = x1;
        d->y0 = y;
    } else {
        d->x0 = MIN(d->x0, x0);
        d->x1 = MAX(d->x1, x1);
    }
    d->y1 = y + 1;
}

static void row_finish(struct vga *v, struct damage *d, uint32_t *surface, unsigned width,
                       unsigned y)
{
    row_store(d, surface, v->row, width, y);
    v->rows_drawn++;
}

/* ---- which pages changed ---- */

/* Collects what the guest wrote into these pages since the last call. Failure means: all of it. */
static void vga_tracking_read(struct vga *v, uint32_t first, uint32_t pages)
{
    size_t bytes = (pages + 63) / 64 * sizeof(uint64_t);

    memset(v->guest_dirty, 0, bytes);
    if (!devmem_dirty(&v->mem, first, pages, v->guest_dirty)) {
        memset(v->guest_dirty, 0xff, bytes);
    }
    v->track_first = first;
}

static bool vga_page_is_dirty(const struct vga *v, uint32_t page)
{
    uint32_t n = page - v->track_first;
    return (v->own_dirty[page / 64] >> page % 64 & 1) || (v->guest_dirty[n / 64] >> n % 64 & 1);
}

/* Pages are inside the tracked range. */
static bool vga_pages_are_dirty(const struct vga *v, uint32_t first, uint32_t last)
{
    for (uint32_t page = first; page <= last; page++) {
        if (vga_page_is_dirty(v, page)) {
            return true;
        }
    }
    return false;
}

static void vga_own_dirty_clear(struct vga *v)
{
    memset(v->own_dirty, 0, (v->vram_size / GUEST_PAGE_SIZE + 63) / 64 * sizeof(uint64_t));
}

/* ---- linear modes ---- */

static unsigned bytes_per_pixel(unsigned bpp)
{
    return (bpp + 7) / 8;
}

static inline uint32_t expand5(uint32_t c)
{
    return c << 3 | c >> 2;
}

static inline uint32_t expand6(uint32_t c)
{
    return c << 2 | c >> 4;
}

static void linear_row(const struct vga *v, const struct vga_mode *m, const uint8_t *from,
                       unsigned width, const uint32_t *palette)
{
    uint32_t *to = v->row;

    for (unsigned x = 0; x < width; x++) {
        uint32_t p;
        switch (m->bpp) {
        case 8:
            p = palette[from[x]];
            break;
        case 15:
        case 16: {
            uint16_t w;
            memcpy(&w, from + 2 * x, 2);
            w = m->big_endian ? GUINT16_SWAP_LE_BE(w) : w;
            if (m->bpp == 15) {
                p = expand5(w >> 10 & 31) << 16 | expand5(w >> 5 & 31) << 8 | expand5(w & 31);
            } else {
                p = expand5(w >> 11 & 31) << 16 | expand6(w >> 5 & 63) << 8 | expand5(w & 31);
            }
            break;
        }
        case 24:
            p = (uint32_t)from[3 * x] | (uint32_t)from[3 * x + 1] << 8 |
                (uint32_t)from[3 * x + 2] << 16;
            if (m->big_endian) {
                p = GUINT32_SWAP_LE_BE(p) >> 8;
            }
            break;
        default:
            memcpy(&p, from + 4 * x, 4);
            p = (m->big_endian ? GUINT32_SWAP_LE_BE(p) : p) & 0xffffff;
            break;
        }
        to[x] = p;
    }
}

static void vga_draw_linear(struct vga *v, const struct vga_mode *m, uint32_t *surface,
                            unsigned width, unsigned height, bool everything, bool full,
                            struct damage *damage)
{
    uint64_t row_bytes = (uint64_t)width * bytes_per_pixel(m->bpp);
    uint64_t end = MIN(m->start + (uint64_t)(height - 1) * m->pitch + row_bytes, v->vram_size);
    uint32_t palette[256];

    if (!full && m->start < end) {
        uint32_t first = (uint32_t)(m->start / GUEST_PAGE_SIZE);
        vga_tracking_read(v, first, (uint32_t)((end - 1) / GUEST_PAGE_SIZE) - first + 1);
    }
    if (m->bpp == 8) {
        for (unsigned i = 0; i < 256; i++) {
            palette[i] = vga_dac_colour(v, i);
        }
    }
    for (unsigned y = 0; y < height; y++) {
        uint64_t offset = m->start + (uint64_t)y * m->pitch;
        if (offset >= v->vram_size || row_bytes > v->vram_size - offset) {
            if (!everything) {
                continue;
            }
            memset(v->row, 0, width * sizeof(*v->row));
        } else {
            if (!everything &&
                !vga_pages_are_dirty(v, (uint32_t)(offset / GUEST_PAGE_SIZE),
                                     (uint32_t)((offset + row_bytes - 1) / GUEST_PAGE_SIZE))) {
                damage_flush(damage);
                continue;
            }
            linear_row(v, m, v->vram + offset, width, palette);
        }
        row_finish(v, damage, surface, width, y);
    }
    damage_flush(damage);
}

/* ---- modes of the VGA proper ---- */

static void vga_draw_scan(struct vga *v, const struct vga_scan *s, uint32_t *surface,
                          struct damage *damage)
{
    struct vga_line before = {0};

    for (unsigned y = 0; y < s->height; y++) {
        struct vga_line line = vga_scan_line(s, y);
        bool same =
            y > 0 && line.cell == before.cell && line.scan == before.scan && line.pan == before.pan;
        if (!same) {
            vga_scan_draw(v, s, line, v->row);
        }
        row_finish(v, damage, surface, s->width, y);
        before = line;
    }
    damage_flush(damage);
}

static bool vga_is_blank(const struct vga *v)
{
    return !(v->ar_index & AR_INDEX_SCREEN_ON) || (v->sr[SR_CLOCKING] & SR1_SCREEN_OFF);
}

static void vga_draw_blank(struct vga *v, uint32_t *surface, unsigned width, unsigned height,
                           struct damage *damage)
{
    memset(v->row, 0, width * sizeof(*v->row));
    for (unsigned y = 0; y < height; y++) {
        row_store(damage, surface, v->row, width, y);
    }
    damage_flush(damage);
}

static void vga_refresh(void *opaque, bool full)
{
    struct vga *v = opaque;
    struct vga_mode m = {0};
    struct vga_scan s;
    struct damage damage = {.display = v->display};
    bool blank = vga_is_blank(v);
    bool extended = v->extension && v->extension->mode(v, &m);
    bool linear = extended && m.bpp > 4;
    unsigned width, height;

    if (v->extension && v->extension->looked) {
        v->extension->looked(v);
    }
    if (linear) {
        width = CLAMP(m.width, 1, DISPLAY_WIDTH_MAX);
        height = CLAMP(m.height, 1, DISPLAY_HEIGHT_MAX);
    } else {
        vga_scan_setup(v, extended ? &m : NULL, &s);
        width = s.width = MAX(s.width, 1);
        height = s.height = MAX(s.height, 1);
    }
    if (blank && !extended) { /* the CRTC may be half programmed: keep the size */
        width = v->width ? v->width : 640;
        height = v->height ? v->height : 480;
    }
    uint32_t *surface = display_resize(v->display, width, height);
    if (!surface) {
        return;
    }
    if (!v->row) {
        v->row = g_new(uint32_t, DISPLAY_WIDTH_MAX);
    }
    bool resized = width != v->width || height != v->height;
    unsigned phase = linear || blank ? v->blink_phase : vga_blink_phase(v);
    bool everything = full || resized || v->changed;

    v->width = width;
    v->height = height;
    if (blank) {
        if (everything) {
            vga_draw_blank(v, surface, width, height, &damage);
        }
    } else if (linear) {
        vga_draw_linear(v, &m, surface, width, height, everything, full, &damage);
    } else {
        uint32_t pages =
            extended ? v->vram_size / GUEST_PAGE_SIZE : VGA_LEGACY_SIZE / GUEST_PAGE_SIZE;
        if (!full) {
            vga_tracking_read(v, 0, pages);
        }
        if (everything || (s.kind == VGA_TEXT && phase != v->blink_phase) ||
            vga_pages_are_dirty(v, 0, pages - 1)) {
            vga_draw_scan(v, &s, surface, &damage);
        }
    }
    if (full || resized) {
        display_damage(v->display, 0, 0, width, height);
    }
    v->blink_phase = phase;
    v->changed = false;
    v->pictures++;
    vga_own_dirty_clear(v);
}

/* Nobody looks any more: costs nothing from now on. */
static void vga_unwatched(void *opaque)
{
    struct vga *v = opaque;
    devmem_dirty_end(&v->mem);
    v->changed = true;
    g_clear_pointer(&v->row, g_free);
}

const struct display_device vga_display_device = {
    .refresh = vga_refresh,
    .unwatched = vga_unwatched,
};

/* "text 80x25, 720x400", "640x480x4", "1024x768x32". */
static void vga_mode_describe(struct vga *v, char *buf, size_t len)
{
    struct vga_mode m = {0};
    struct vga_scan s;

    if (v->extension && v->extension->mode(v, &m)) {
        g_snprintf(buf, len, "%ux%ux%u%s", m.width, m.height, m.bpp,
                   vga_is_blank(v) ? ", blank" : "");
        return;
    }
    if (vga_is_blank(v)) {
        g_snprintf(buf, len, "blank");
        return;
    }
    vga_scan_setup(v, NULL, &s);
    if (s.kind == VGA_TEXT) {
        g_snprintf(buf, len, "text %ux%u, %ux%u", s.columns,
                   s.height / ((s.max_scan + 1) << s.double_lines), s.width, s.height);
    } else {
        g_snprintf(buf, len, "%ux%u, %s colours", s.width, s.height,
                   s.kind == VGA_256   ? "256"
                   : s.kind == VGA_CGA ? "4"
                                       : "16");
    }
}

void vga_describe(struct vga *v, struct facts *to)
{
    char mode[80];

    vga_mode_describe(v, mode, sizeof(mode));
    fact_text(to, "mode", "%s", mode);
    devmem_describe(&v->mem, to);
    fact_int(to, "pictures", (int64_t)v->pictures);
    fact_int(to, "rows drawn", (int64_t)v->rows_drawn);
}
