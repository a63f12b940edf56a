/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IBM VGA: one scan line of the picture at a time, from the CRTC's counters to pixels, as the
 * hardware does it: the CRTC gives a cell and a row scan for each line; the sequencer's and
 * graphics controller's mode makes dots of a cell; the attribute controller and the DAC make
 * colours of dots.
 *
 * Sources: IBM PS/2 Video Subsystem Technical Reference; FreeVGA "VGA text mode", "VGA graphics
 * mode" and "CRTC".
 *
 * Left out: interlace, cursor skew, CR17's clock dividers, CR14's count-by-four: no program shows a
 * picture with them. Every value here comes from the guest. Cells are masked into VRAM, lines are
 * bounded by the geometry's clamps.
 */
#include <limits.h>
#include <string.h>

#include <glib.h>

#include "vga-core.h"

#define BLINK_NS (267 * NS_PER_MS) /* 16 frames of 60 Hz */

/* Bit 0: cursor dark. Bit 1: blinking characters dark, at half the speed. */
unsigned vga_blink_phase(const struct vga *v)
{
    return (unsigned)(vclock_now(v->clock) / BLINK_NS) & 3;
}

uint32_t vga_dac_colour(const struct vga *v, unsigned index)
{
    const uint8_t *c = &v->dac[(index & v->dac_mask & 0xff) * 3];
    if (v->dac_8bit) {
        return (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
    }
    uint32_t rgb = 0;
    for (int i = 0; i < 3; i++) {
        unsigned six = c[i] & 0x3f;
        rgb = rgb << 8 | (six << 2 | six >> 4);
    }
    return rgb;
}

/* A 4-bit attribute as the attribute controller passes it to the DAC. */
static uint32_t vga_attribute_colour(const struct vga *v, unsigned index)
{
    unsigned entry = v->ar[index & v->ar[AR_PLANES] & 15] & 0x3f;
    if (v->ar[AR_MODE] & AR10_PALETTE_54) {
        entry = (entry & 0x0f) | (v->ar[AR_COLOUR_SELECT] & 3) << 4;
    }
    return vga_dac_colour(v, entry | (v->ar[AR_COLOUR_SELECT] & 0x0cu) << 4);
}

static uint32_t mask_below(uint32_t n)
{
    return n == 0 ? 0 : (1u << (31 - __builtin_clz(n))) - 1;
}

/* Dots to skip at the left: the register counts differently for 9-dot characters and for 256
 * colours. */
static unsigned vga_panning(const struct vga *v, const struct vga_scan *s)
{
    unsigned pan = v->ar[AR_PANNING] & 15;
    if (s->kind == VGA_256) {
        return pan >> 1 & 3;
    }
    if (s->dots == 9) {
        return pan >= 8 ? 0 : pan + 1;
    }
    return pan & 7;
}

void vga_scan_setup(struct vga *v, const struct vga_mode *m, struct vga_scan *s)
{
    const uint8_t *cr = v->cr;
    unsigned phase = vga_blink_phase(v);

    memset(s, 0, sizeof(*s));
    s->line_compare = UINT_MAX;
    s->cell_mask = VGA_LEGACY_SIZE / 4 - 1;
    s->dots = 8;
    if (m) { /* a planar mode of an extension: no CRTC tricks */
        s->kind = VGA_PLANAR;
        s->width = MIN(m->width, DISPLAY_WIDTH_MAX);
        s->height = MIN(m->height, DISPLAY_HEIGHT_MAX);
        s->columns = (s->width + 7) / 8;
        s->start = (uint32_t)m->start;
        s->pitch = m->pitch;
        s->pan = m->pan & 7;
        s->cell_mask = mask_below(v->vram_size / 4);
    } else {
        if (!(v->gr[GR_MISC] & GR6_GRAPHICS)) {
            s->kind = VGA_TEXT;
            s->dots = v->sr[SR_CLOCKING] & SR1_8DOT ? 8 : 9;
        } else if (v->gr[GR_MODE] & GR5_SHIFT_256) {
            s->kind = VGA_256;
            s->dots = 4;
        } else {
            s->kind = v->gr[GR_MODE] & GR5_SHIFT_CGA ? VGA_CGA : VGA_PLANAR;
        }
        s->double_dots = s->kind == VGA_256 || (v->sr[SR_CLOCKING] & SR1_HALF_CLOCK);
        s->columns = cr[0x01] + 1u;
        s->width = MIN(s->columns * s->dots << s->double_dots, DISPLAY_WIDTH_MAX);
        s->height = (cr[0x12] | (cr[0x07] & 0x02u) << 7 | (cr[0x07] & 0x40u) << 3) + 1;
        s->double_lines = cr[0x09] & 0x80;
        s->max_scan = cr[0x09] & 0x1f;
        s->first_scan = cr[0x08] & 0x1f;
        s->start = (uint32_t)(cr[0x0c] << 8 | cr[0x0d]) + (cr[0x08] >> 5 & 3);
        s->pitch = cr[0x13] * 2u;
        s->line_compare = cr[0x18] | (cr[0x07] & 0x10u) << 4 | (cr[0x09] & 0x40u) << 3;
        s->pan = vga_panning(v, s);
        s->pan_stops_at_split = v->ar[AR_MODE] & AR10_PANNING_COMPAT;
    }
    s->cursor_on = !(cr[0x0a] & 0x20) && !(phase & 1);
    s->blink_on = !(phase & 2);
    if (s->kind == VGA_256) {
        for (unsigned i = 0; i < 256; i++) {
            s->colours[i] = vga_dac_colour(v, i);
        }
    } else {
        for (unsigned i = 0; i < 16; i++) {
            s->colours[i] = vga_attribute_colour(v, i);
        }
    }
}

struct vga_line vga_scan_line(const struct vga_scan *s, unsigned y)
{
    struct vga_line line = {.pan = s->pan};
    unsigned rows = s->max_scan + 1;
    uint32_t base = s->start;
    unsigned n; /* lines since the counters were loaded, in row scans */

    if (s->line_compare != UINT_MAX && y > s->line_compare) {
        base = 0;
        n = (y - s->line_compare - 1) >> s->double_lines;
        if (s->pan_stops_at_split) {
            line.pan = 0;
        }
    } else {
        /* A preset beyond the last scan line would run to 32 in hardware; it starts the row here.
         */
        n = (y >> s->double_lines) + (s->first_scan > s->max_scan ? 0 : s->first_scan);
    }
    line.scan = n % rows;
    line.cell = base + n / rows * s->pitch;
    return line;
}

static inline uint32_t load_cell(const struct vga *v, uint32_t cell)
{
    uint32_t value;
    memcpy(&value, v->vram + (size_t)cell * 4, 4);
    return value;
}

static void draw_text(const struct vga *v, const struct vga_scan *s, struct vga_line line,
                      uint8_t *dots)
{
    const uint8_t *cr = v->cr;
    unsigned map = v->sr[SR_CHAR_MAP];
    unsigned map_b = (map & 3) | (map >> 2 & 4), map_a = (map >> 2 & 3) | (map >> 3 & 4);
    uint32_t font[2] = {(map_b & 3) << 14 | (map_b & 4) << 11, (map_a & 3) << 14 | (map_a & 4)
                                                                                       << 11};
    bool blinking = v->ar[AR_MODE] & AR10_BLINK, graphics9 = v->ar[AR_MODE] & AR10_LINE_GRAPHICS;
    bool underline = line.scan == (cr[0x14] & 0x1fu);
    bool cursor_line =
        s->cursor_on && line.scan >= (cr[0x0a] & 0x1fu) && line.scan <= (cr[0x0b] & 0x1fu);
    uint32_t cursor = (uint32_t)(cr[0x0e] << 8 | cr[0x0f]);

    for (unsigned column = 0; column <= s->columns; column++) {
        uint32_t cell = (line.cell + column) & s->cell_mask;
        uint32_t value = load_cell(v, cell);
        unsigned ch = value & 0xff, attribute = value >> 8 & 0xff;
        unsigned fg = attribute & 15, bg = attribute >> 4;
        unsigned glyph =
            load_cell(v, (font[attribute >> 3 & 1] + ch * 32 + line.scan) & 0xffff) >> 16 & 0xff;

        if (blinking) {
            bg &= 7;
            if ((attribute & 0x80) && !s->blink_on) {
                fg = bg;
            }
        }
        unsigned nine = graphics9 && (ch & 0xe0) == 0xc0 ? glyph & 1 : 0;
        if (underline && (attribute & 0x77) == 0x01) {
            glyph = 0xff;
            nine = 1;
        }
        if (cursor_line && cell == cursor) {
            glyph = 0xff;
            nine = 1;
            fg = attribute & 15;
        }
        for (unsigned i = 0; i < 8; i++) {
            *dots++ = (uint8_t)(glyph & 0x80 >> i ? fg : bg);
        }
        if (s->dots == 9) {
            *dots++ = (uint8_t)(nine ? fg : bg);
        }
    }
}

static void draw_planar(const struct vga *v, const struct vga_scan *s, struct vga_line line,
                        uint8_t *dots)
{
    for (unsigned column = 0; column <= s->columns; column++) {
        uint32_t value = load_cell(v, (line.cell + column) & s->cell_mask);
        for (unsigned i = 0; i < 8; i++) {
            uint32_t bits = value >> (7 - i) & 0x01010101;
            *dots++ = (uint8_t)((bits | bits >> 7 | bits >> 14 | bits >> 21) & 15);
        }
    }
}

static void draw_cga(const struct vga *v, const struct vga_scan *s, struct vga_line line,
                     uint8_t *dots)
{
    for (unsigned column = 0; column <= s->columns; column++) {
        uint32_t value = load_cell(v, (line.cell + column) & s->cell_mask);
        for (unsigned i = 0; i < 8; i++) {
            uint32_t pair = value >> (i < 4 ? 0 : 8) >> (6 - 2 * (i & 3));
            *dots++ = (uint8_t)((pair & 3) | (pair >> 14 & 0x0c));
        }
    }
}

static void draw_256(const struct vga *v, const struct vga_scan *s, struct vga_line line,
                     uint8_t *dots)
{
    for (unsigned column = 0; column <= s->columns; column++, dots += 4) {
        uint32_t value = load_cell(v, (line.cell + column) & s->cell_mask);
        memcpy(dots, &value, 4);
    }
}

/* CGA's two and Hercules' four interleaved banks: the row scan takes the place of address bits 13
 * and 14. */
static uint32_t vga_compatible_cell(const struct vga *v, const struct vga_scan *s,
                                    struct vga_line line)
{
    unsigned bit = v->cr[0x17] & 0x40
                       ? 13
                       : 12; /* word addressing is packed here, so everything is one bit lower */
    uint32_t cell = line.cell;

    if (s->kind == VGA_TEXT || s->line_compare == UINT_MAX) {
        return cell;
    }
    if (!(v->cr[0x17] & 1)) {
        cell = (cell & ~(1u << bit)) | (line.scan & 1) << bit;
    }
    if (!(v->cr[0x17] & 2)) {
        cell = (cell & ~(2u << bit)) | (line.scan >> 1 & 1) << (bit + 1);
    }
    return cell;
}

void vga_scan_draw(const struct vga *v, const struct vga_scan *s, struct vga_line line,
                   uint32_t *row)
{
    /* One cell more than shown, for panning; extensions' planar modes have up to 512 + 1 cells of 8
     * dots. */
    uint8_t dots[(DISPLAY_WIDTH_MAX / 8 + 1) * 9];

    G_STATIC_ASSERT(sizeof(dots) >= 257 * 9);
    line.cell = vga_compatible_cell(v, s, line);
    switch (s->kind) {
    case VGA_TEXT:
        draw_text(v, s, line, dots);
        break;
    case VGA_PLANAR:
        draw_planar(v, s, line, dots);
        break;
    case VGA_CGA:
        draw_cga(v, s, line, dots);
        break;
    case VGA_256:
        draw_256(v, s, line, dots);
        break;
    }
    const uint8_t *from = dots + line.pan;
    if (s->double_dots) {
        for (unsigned x = 0; x < s->width; x++) {
            row[x] = s->colours[from[x >> 1]];
        }
    } else {
        for (unsigned x = 0; x < s->width; x++) {
            row[x] = s->colours[from[x]];
        }
    }
}
