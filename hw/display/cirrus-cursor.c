/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CL-GD5446: the hardware cursor, given to the display as a picture of its own. Registers and the
 * pattern, which the guest writes into its memory, are looked at before each picture, so that a
 * cursor nobody sees costs nothing.
 *
 * Source: CL-GD5446 Technical Reference Manual, SR10..SR13, "Hardware cursor". A pattern has two
 * planes: 32 rows of 4 bytes, plane after plane, or 64 rows of 8 + 8. The two planes' bits of a
 * pixel: 0 screen, 1 inverted screen, 2 colour 0, 3 colour 15 of the cursor's palette.
 *
 * A cursor that viewers draw cannot invert: those pixels are grey.
 */
#include <string.h>

#include "cirrus.h"

#define PATTERNS (CIRRUS_VRAM - 0x4000u) /* the last 16 KiB: 64 of 256 bytes */
#define PATTERN_SIZE 256u
#define OPAQUE 0xff000000u
#define INVERTED (OPAQUE | 0x808080u)

static uint32_t cirrus_cursor_colour(const struct cirrus *s, unsigned index)
{
    uint32_t rgb = OPAQUE;

    for (unsigned i = 0; i < 3; i++) {
        unsigned six = s->cursor_palette[index * 3 + i] & 0x3f;
        rgb |= (six << 2 | six >> 4) << (16 - 8 * i);
    }
    return rgb;
}

static unsigned bit_of(const uint8_t *plane, unsigned x)
{
    return plane[x >> 3] >> (7 - (x & 7)) & 1;
}

static void cirrus_cursor_make(struct cirrus *s, const uint8_t *pattern, unsigned size)
{
    static const unsigned apart[2] = {128, 8}; /* planes */
    bool large = size == 64;
    const uint32_t colours[4] = {0, INVERTED, s->cursor_colours[0], s->cursor_colours[1]};
    struct display_cursor *c = g_new0(struct display_cursor, 1);

    c->width = c->height = size;
    for (unsigned y = 0; y < size; y++) {
        const uint8_t *row = pattern + y * (large ? 16 : 4);
        for (unsigned x = 0; x < size; x++) {
            unsigned n = bit_of(row, x) | bit_of(row + apart[large], x) << 1;
            c->argb[y * size + x] = colours[n];
        }
    }
    display_cursor_set(s->vga.display, c);
    g_free(c);
}

/* The shape, when it is another one than was told. */
static void cirrus_cursor_shape(struct cirrus *s)
{
    const struct vga *v = &s->vga;
    bool large = v->sr[SR_CURSOR] & SR12_LARGE;
    unsigned size = large ? 64 : 32;
    uint32_t at = PATTERNS + (v->sr[SR_CURSOR_PATTERN] & (large ? 0x3cu : 0x3fu)) * PATTERN_SIZE;
    uint32_t colours[2] = {cirrus_cursor_colour(s, 0), cirrus_cursor_colour(s, 15)};
    uint8_t pattern[sizeof(s->cursor_seen)] = {0};

    memcpy(pattern, v->vram + at, size * size / 4);
    if (s->cursor_attribute == v->sr[SR_CURSOR] &&
        memcmp(colours, s->cursor_colours, sizeof(colours)) == 0 &&
        memcmp(pattern, s->cursor_seen, sizeof(pattern)) == 0) {
        return;
    }
    memcpy(s->cursor_seen, pattern, sizeof(pattern));
    memcpy(s->cursor_colours, colours, sizeof(colours));
    s->cursor_attribute = v->sr[SR_CURSOR];
    cirrus_cursor_make(s, pattern, size);
}

void cirrus_cursor_looked(struct vga *v)
{
    struct cirrus *s = cirrus_of(v);
    bool visible = (v->sr[SR_CURSOR] & SR12_SHOW) && (v->sr[SR_MODE] & SR7_EXTENDED);
    int x = v->sr[SR_CURSOR_X] << 3 | s->cursor_x_low;
    int y = v->sr[SR_CURSOR_Y] << 3 | s->cursor_y_low;

    if (visible) {
        cirrus_cursor_shape(s);
    } else if (!s->cursor_visible) {
        return;
    }
    if (visible != s->cursor_visible || x != s->cursor_x || y != s->cursor_y) {
        s->cursor_visible = visible;
        s->cursor_x = x;
        s->cursor_y = y;
        display_cursor_move(v->display, x, y, visible);
    }
}

/* The display keeps what it was told until the next picture. */
void cirrus_cursor_reset(struct cirrus *s)
{
    s->cursor_attribute = 0; /* no shape was told with SHOW off */
}
