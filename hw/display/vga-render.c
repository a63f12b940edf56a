/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IBM VGA and its extensions: keeps the display's surface like the screen. Called only while
 * somebody looks.
 *
 * A picture is drawn when a register was written, memory was written through us or the hypervisor
 * says that the guest wrote there itself, or something blinks. Each row is made aside and compared
 * with the surface, so that viewers hear of what really changed. VRAM may change under our hands
 * (the guest runs): bytes are used as values only, never as sizes or addresses beyond a mask. So
 * may registers, from one turn of the main loop to the next: sizes and places are of a picture's
 * beginning.
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

/* A picture under way: what the registers said when it was begun, and how far it is. */
struct vga_drawing {
    enum { DRAW_NOTHING, DRAW_BLANK, DRAW_LINEAR, DRAW_SCAN } what;
    struct vga_mode mode; /* DRAW_LINEAR */
    struct vga_scan scan; /* DRAW_SCAN */
    uint32_t palette[256];
    uint64_t row_bytes;
    bool everything; /* not only what changed */
    bool tell_all;
    uint32_t *surface;
    unsigned width, height, y;
    struct vga_line before;
    struct damage damage;
    uint32_t row[DISPLAY_WIDTH_MAX]; /* the one being made */
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

/* ---- which pages changed ---- */

/*
 * Collects what the guest and we wrote into these pages since the last call. Failure means: all of
 * it. What we write from now on is for the next picture.
 */
static void vga_tracking_read(struct vga *v, uint32_t first, uint32_t pages)
{
    size_t bytes = (pages + 63) / 64 * sizeof(uint64_t);

    memset(v->guest_dirty, 0, bytes);
    if (!devmem_dirty(&v->mem, first, pages, v->guest_dirty)) {
        memset(v->guest_dirty, 0xff, bytes);
    }
    for (uint32_t n = 0; n < pages; n++) {
        uint32_t page = first + n;
        v->guest_dirty[n / 64] |= (v->own_dirty[page / 64] >> page % 64 & 1) << n % 64;
    }
    v->track_first = first;
}

static bool vga_page_is_dirty(const struct vga *v, uint32_t page)
{
    uint32_t n = page - v->track_first;
    return v->guest_dirty[n / 64] >> n % 64 & 1;
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

static void linear_row(struct vga_drawing *d, const uint8_t *from)
{
    const struct vga_mode *m = &d->mode;

    for (unsigned x = 0; x < d->width; x++) {
        uint32_t p;
        switch (m->bpp) {
        case 8:
            p = d->palette[from[x]];
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
        d->row[x] = p;
    }
}

static bool linear_row_changed(const struct vga *v, uint64_t offset, uint64_t bytes)
{
    return vga_pages_are_dirty(v, (uint32_t)(offset / GUEST_PAGE_SIZE),
                               (uint32_t)((offset + bytes - 1) / GUEST_PAGE_SIZE));
}

static void draw_linear_row(struct vga *v, struct vga_drawing *d)
{
    uint64_t offset = d->mode.start + (uint64_t)d->y * d->mode.pitch;

    if (offset >= v->vram_size || d->row_bytes > v->vram_size - offset) {
        if (!d->everything) {
            return;
        }
        memset(d->row, 0, d->width * sizeof(*d->row));
    } else {
        if (!d->everything && !linear_row_changed(v, offset, d->row_bytes)) {
            damage_flush(&d->damage);
            return;
        }
        linear_row(d, v->vram + offset);
    }
    row_store(&d->damage, d->surface, d->row, d->width, d->y);
    v->rows_drawn++;
}

static void begin_linear(struct vga *v, struct vga_drawing *d, bool full)
{
    const struct vga_mode *m = &d->mode;

    d->what = DRAW_LINEAR;
    d->row_bytes = (uint64_t)d->width * bytes_per_pixel(m->bpp);
    uint64_t end =
        MIN(m->start + (uint64_t)(d->height - 1) * m->pitch + d->row_bytes, v->vram_size);
    if (!full && m->start < end) {
        uint32_t first = (uint32_t)(m->start / GUEST_PAGE_SIZE);
        vga_tracking_read(v, first, (uint32_t)((end - 1) / GUEST_PAGE_SIZE) - first + 1);
    }
    for (unsigned i = 0; i < 256 && m->bpp == 8; i++) {
        d->palette[i] = vga_dac_colour(v, i);
    }
}

/* ---- modes of the VGA proper ---- */

static void draw_scan_row(struct vga *v, struct vga_drawing *d)
{
    struct vga_line line = vga_scan_line(&d->scan, d->y);
    bool same = d->y > 0 && line.cell == d->before.cell && line.scan == d->before.scan &&
                line.pan == d->before.pan;

    if (!same) {
        vga_scan_draw(v, &d->scan, line, d->row);
    }
    row_store(&d->damage, d->surface, d->row, d->width, d->y);
    v->rows_drawn++;
    d->before = line;
}

static void begin_scan(struct vga *v, struct vga_drawing *d, bool extended, bool full, bool blinks)
{
    uint32_t pages = (extended ? v->vram_size : VGA_LEGACY_SIZE) / GUEST_PAGE_SIZE;

    if (!full) {
        vga_tracking_read(v, 0, pages);
    }
    d->everything = d->everything || (d->scan.kind == VGA_TEXT && blinks) ||
                    vga_pages_are_dirty(v, 0, pages - 1);
    d->what = d->everything ? DRAW_SCAN : DRAW_NOTHING;
}

static bool vga_is_blank(const struct vga *v)
{
    return !(v->ar_index & AR_INDEX_SCREEN_ON) || (v->sr[SR_CLOCKING] & SR1_SCREEN_OFF);
}

/* ---- pictures ---- */

static void draw_row(struct vga *v, struct vga_drawing *d)
{
    switch (d->what) {
    case DRAW_BLANK:
        row_store(&d->damage, d->surface, d->row, d->width, d->y);
        break;
    case DRAW_LINEAR:
        draw_linear_row(v, d);
        break;
    case DRAW_SCAN:
        draw_scan_row(v, d);
        break;
    case DRAW_NOTHING:
        break;
    }
}

static bool vga_draw_more(void *opaque)
{
    struct vga *v = opaque;
    struct vga_drawing *d = v->drawing;

    while (d->what != DRAW_NOTHING && d->y < d->height) {
        draw_row(v, d);
        d->y++;
        if (d->y < d->height && display_pause(v->display)) {
            damage_flush(&d->damage);
            return true;
        }
    }
    damage_flush(&d->damage);
    if (d->tell_all) {
        display_damage(v->display, 0, 0, d->width, d->height);
    }
    v->pictures++;
    return false;
}

/* Its size, and what the registers ask for; whether the chip's extension is on. */
static bool picture_setup(struct vga *v, struct vga_drawing *d, bool blank)
{
    bool extended = v->extension && v->extension->mode(v, &d->mode);

    if (extended && d->mode.bpp > 4) {
        d->width = CLAMP(d->mode.width, 1, DISPLAY_WIDTH_MAX);
        d->height = CLAMP(d->mode.height, 1, DISPLAY_HEIGHT_MAX);
    } else {
        vga_scan_setup(v, extended ? &d->mode : NULL, &d->scan);
        d->width = d->scan.width = MAX(d->scan.width, 1);
        d->height = d->scan.height = MAX(d->scan.height, 1);
    }
    if (blank && !extended) { /* the CRTC may be half programmed: keep the size */
        d->width = v->width ? v->width : 640;
        d->height = v->height ? v->height : 480;
    }
    return extended;
}

static bool vga_refresh(void *opaque, bool full)
{
    struct vga *v = opaque;
    bool blank = vga_is_blank(v), extended, linear;

    if (!v->drawing) {
        v->drawing = g_new(struct vga_drawing, 1);
    }
    struct vga_drawing *d = v->drawing;
    memset(d, 0, offsetof(struct vga_drawing, row));
    d->damage.display = v->display;
    extended = picture_setup(v, d, blank);
    linear = extended && d->mode.bpp > 4;
    if (v->extension && v->extension->looked) {
        v->extension->looked(v);
    }
    d->surface = display_resize(v->display, d->width, d->height);
    if (!d->surface) {
        return false;
    }
    bool resized = d->width != v->width || d->height != v->height;
    unsigned phase = linear || blank ? v->blink_phase : vga_blink_phase(v);

    d->everything = full || resized || v->changed;
    d->tell_all = full || resized;
    if (blank) {
        d->what = d->everything ? DRAW_BLANK : DRAW_NOTHING;
        memset(d->row, 0, d->width * sizeof(*d->row));
    } else if (linear) {
        begin_linear(v, d, full);
    } else {
        begin_scan(v, d, extended, full, phase != v->blink_phase);
    }
    v->width = d->width;
    v->height = d->height;
    v->blink_phase = phase;
    v->changed = false;
    vga_own_dirty_clear(v);
    return vga_draw_more(v);
}

/* Nobody looks any more: costs nothing from now on. */
static void vga_unwatched(void *opaque)
{
    struct vga *v = opaque;
    devmem_dirty_end(&v->mem);
    v->changed = true;
    g_clear_pointer(&v->drawing, g_free);
}

const struct display_device vga_display_device = {
    .refresh = vga_refresh,
    .more = vga_draw_more,
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
