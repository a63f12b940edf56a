/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CL-GD5446: the BitBLT engine.
 *
 * Source: CL-GD5446 Technical Reference Manual, "BitBLT engine" and GR20..GR39.
 *
 * Every blit is drawn row by row. A row is made aside, as bytes and a mask of which of them count;
 * then it is combined with what is there. Bounds are arithmetic: cirrus_rect_row() is the one place
 * where a guest's numbers become a place in video memory, of which there are always 4 MiB, and
 * row_load() and row_store() cut at its end, where the chip's addresses wrap. A row is at most 8
 * KiB because its register has 13 bits. So there is nothing to refuse: not XSA-208's and 209's
 * rectangles, not those of CVE-2007-1320, 2008-4539, 2014-8106 and their kin.
 *
 * Left out: blits from the screen to the CPU and from memory to memory, which QEMU does not have
 * either and no driver uses, and transparent copies of 24 and 32 bits, which the chip does not
 * have. A CPU that looks never sees a blit between video memory half done (hold.h), so that the
 * busy bit shows only while one waits for the CPU's data.
 */
#include <string.h>

#include "cirrus.h"

#define MODE_UP 0x01
#define MODE_TO_SYSTEM 0x02
#define MODE_FROM_SYSTEM 0x04
#define MODE_TRANSPARENT 0x08
#define MODE_PIXEL 0x30
#define MODE_PATTERN 0x40
#define MODE_EXPAND 0x80
#define EXT_DWORDS 0x01 /* expanded rows from the CPU are whole dwords */
#define EXT_INVERT 0x02
#define EXT_SOLID 0x04
#define ROP_SOURCE 0x0d

#define STATUS_BUSY 0x01
#define STATUS_START 0x02
#define STATUS_FIFO 0x10

#define STEP_BYTES (64u << 10)
#define ROW_COST 256u /* bytes that a row, however short, is worth */

struct row {
    uint8_t bytes[CIRRUS_ROW_MAX + 8];
    uint8_t mask[CIRRUS_ROW_MAX + 8];
};

/* ---- places ---- */

/* Where row `n` begins. Sums wrap at 2^32, of which 4 MiB is a part. */
static uint32_t cirrus_rect_row(const struct cirrus_rect *r, uint32_t n)
{
    uint32_t first = r->up ? r->at - n * r->pitch - (r->width - 1) : r->at + n * r->pitch;

    return first & CIRRUS_MASK;
}

static void row_load(const struct vga *v, uint32_t at, uint8_t *to, uint32_t len)
{
    uint32_t first = MIN(len, CIRRUS_VRAM - at);

    memcpy(to, v->vram + at, first);
    memcpy(to + first, v->vram, len - first);
}

static void row_store(struct vga *v, uint32_t at, const uint8_t *from, uint32_t len)
{
    uint32_t first = MIN(len, CIRRUS_VRAM - at);

    memcpy(v->vram + at, from, first);
    memcpy(v->vram, from + first, len - first);
    vga_vram_written(v, at, first);
    vga_vram_written(v, 0, len - first);
}

/* ---- raster operations ---- */

/* As a truth table: bit 3 for source and destination 1, bit 2 source only, bit 1 destination only,
 * bit 0 neither. What the chip does not know leaves the destination. */
static unsigned rop_truth(uint8_t code)
{
    static const struct {
        uint8_t code, truth;
    } table[] = {{0x00, 0x0}, {0x05, 0x8}, {0x06, 0xa}, {0x09, 0x4}, {0x0b, 0x5}, {0x0d, 0xc},
                 {0x0e, 0xf}, {0x50, 0x2}, {0x59, 0x6}, {0x6d, 0xe}, {0x90, 0x7}, {0x95, 0x9},
                 {0xad, 0xd}, {0xd0, 0x3}, {0xd6, 0xb}, {0xda, 0x1}};

    for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
        if (table[i].code == code) {
            return table[i].truth;
        }
    }
    return 0xa;
}

static void rop_apply(unsigned truth, uint8_t *source, const uint8_t *destination, uint32_t len)
{
    uint64_t both = truth & 8 ? ~0ull : 0, source_only = truth & 4 ? ~0ull : 0;
    uint64_t destination_only = truth & 2 ? ~0ull : 0, neither = truth & 1 ? ~0ull : 0;

    for (uint32_t i = 0; i < len; i += 8) { /* buffers have room for a word more */
        uint64_t s, d;
        memcpy(&s, source + i, 8);
        memcpy(&d, destination + i, 8);
        s = (s & ((d & both) | (~d & source_only))) |
            (~s & ((d & destination_only) | (~d & neither)));
        memcpy(source + i, &s, 8);
    }
}

/* Where `mask` is 0 the destination stays. */
static void mask_apply(uint8_t *result, const uint8_t *mask, const uint8_t *destination,
                       uint32_t len)
{
    for (uint32_t i = 0; i < len; i += 8) {
        uint64_t r, m, d;
        memcpy(&r, result + i, 8);
        memcpy(&m, mask + i, 8);
        memcpy(&d, destination + i, 8);
        r = d ^ ((d ^ r) & m);
        memcpy(result + i, &r, 8);
    }
}

/* ---- rows ---- */

static bool blit_is(const struct cirrus_blit *b, uint8_t mode)
{
    return (b->mode & mode) == mode;
}

static bool blit_is_solid(const struct cirrus_blit *b)
{
    return (b->ext & EXT_SOLID) && blit_is(b, MODE_PATTERN | MODE_EXPAND) &&
           !(b->mode & MODE_TRANSPARENT);
}

static bool blit_is_copy(const struct cirrus_blit *b)
{
    return !(b->mode & (MODE_PATTERN | MODE_EXPAND));
}

static bool blit_is_keyed(const struct cirrus_blit *b)
{
    return blit_is_copy(b) && (b->mode & MODE_TRANSPARENT);
}

/* Pixels at the left of each row that are skipped in the source and stay in the destination; for
 * 24 bits a pixel the register counts bytes, except where both colours are drawn. */
static unsigned blit_clip(const struct cirrus_blit *b)
{
    if (b->pixel == 3 && (!(b->mode & MODE_EXPAND) || (b->mode & MODE_TRANSPARENT))) {
        return (b->clip & 0x1f) / 3;
    }
    return b->clip & 7;
}

static unsigned blit_clip_bytes(const struct cirrus_blit *b)
{
    if (b->pixel == 3 && (!(b->mode & MODE_EXPAND) || (b->mode & MODE_TRANSPARENT))) {
        return b->clip & 0x1f;
    }
    return blit_clip(b) * b->pixel;
}

static void put(const struct cirrus_blit *b, struct row *row, uint32_t x, const void *pixel,
                bool on)
{
    uint32_t n = MIN(b->pixel, b->width - x);

    memcpy(row->bytes + x, pixel, n);
    memset(row->mask + x, on ? 0xff : 0, n);
}

/* Ones are drawn in the foreground, zeros in the background or not at all. */
static void row_expand(const struct cirrus_blit *b, struct row *row, const uint8_t *bits,
                       bool repeat)
{
    bool opaque = !(b->mode & MODE_TRANSPARENT), invert = !opaque && (b->ext & EXT_INVERT);
    uint32_t start = MIN(blit_clip_bytes(b), b->width), bit = blit_clip(b);

    memset(row->mask, 0, start);
    for (uint32_t x = start; x < b->width; x += b->pixel, bit++) {
        uint32_t n = repeat ? bit & 7 : bit;
        bool one = bits[n >> 3] & 0x80 >> (n & 7);
        put(b, row, x, one ? &b->fg : &b->bg, opaque || one != invert);
    }
}

static void row_solid(const struct cirrus_blit *b, struct row *row)
{
    for (uint32_t x = 0; x < b->width; x += b->pixel) {
        put(b, row, x, &b->fg, true);
    }
}

/* Eight pixels, beginning anew at the left edge; rows of 24-bit patterns are 32 bytes apart. */
static void row_pattern(const struct cirrus_blit *b, struct row *row)
{
    unsigned pitch = b->pixel == 3 ? 32 : b->pixel * 8u;
    const uint8_t *from = b->data + ((b->src + b->done) & 7) * pitch;
    uint32_t start = MIN(blit_clip_bytes(b), b->width), n = blit_clip(b);

    memset(row->mask, 0, start);
    for (uint32_t x = start; x < b->width; x += b->pixel, n++) {
        put(b, row, x, from + (n & 7) * b->pixel, true);
    }
}

/* Bytes that a row of bits takes. */
static uint32_t blit_bits(const struct cirrus_blit *b)
{
    uint32_t pixels = (b->width + b->pixel - 1) / b->pixel;

    return b->ext & EXT_DWORDS ? (pixels + 31) / 32 * 4 : (pixels + 7) / 8;
}

/* What is the key's colour after the operation stays what it was. */
static void row_key(const struct cirrus_blit *b, struct row *row, uint32_t len)
{
    for (uint32_t x = 0; x < len; x += b->pixel) {
        uint16_t value = row->bytes[x];
        if (b->pixel == 2) {
            value |= (uint16_t)(row->bytes[x + 1] << 8);
        }
        memset(row->mask + x, value == (b->pixel == 2 ? b->key : b->key & 0xff) ? 0 : 0xff,
               b->pixel);
    }
}

/* Combines `len` bytes with those at `at`. */
static void row_draw(struct cirrus *s, struct row *row, uint32_t at, uint32_t len, bool masked)
{
    const struct cirrus_blit *b = &s->blit;
    uint8_t old[CIRRUS_ROW_MAX + 8];
    bool keyed = blit_is_keyed(b);

    if (b->rop != ROP_SOURCE || masked || keyed) {
        row_load(&s->vga, at, old, len);
        if (b->rop != ROP_SOURCE) {
            rop_apply(rop_truth(b->rop), row->bytes, old, len);
        }
        if (keyed) {
            row_key(b, row, len);
        }
        if (keyed || masked) {
            mask_apply(row->bytes, row->mask, old, len);
        }
    }
    row_store(&s->vga, at, row->bytes, len);
}

static struct cirrus_rect blit_destination(const struct cirrus_blit *b)
{
    return (struct cirrus_rect){b->dst, b->dst_pitch, b->width,
                                blit_is_copy(b) && (b->mode & MODE_UP)};
}

/*
 * A copy onto what its own row has still to read repeats what lies between, as the chip, which goes
 * byte by byte, does: so much at a time. Returns how many pieces it took.
 */
static uint32_t row_copy(struct cirrus *s, struct row *row)
{
    const struct cirrus_blit *b = &s->blit;
    struct cirrus_rect to = blit_destination(b), from = to;
    uint32_t pieces = 0, piece = b->width;

    from.at = b->src;
    from.pitch = b->src_pitch;
    uint32_t dst = cirrus_rect_row(&to, b->done), src = cirrus_rect_row(&from, b->done);
    uint32_t distance = (to.up ? src - dst : dst - src) & CIRRUS_MASK;
    if (distance > 0 && distance < b->width) {
        piece = blit_is_keyed(b) ? MAX(distance / b->pixel, 1u) * b->pixel : distance;
    }
    for (uint32_t done = 0; done < b->width; done += piece, pieces++) {
        uint32_t len = MIN(piece, b->width - done);
        uint32_t x = to.up ? b->width - done - len : done;
        row_load(&s->vga, (src + x) & CIRRUS_MASK, row->bytes, len);
        row_draw(s, row, (dst + x) & CIRRUS_MASK, len, false);
    }
    return pieces;
}

/* The next row; `data`: the CPU's. Returns what it cost, in bytes. */
static uint32_t blit_row(struct cirrus *s, const uint8_t *data)
{
    struct cirrus_blit *b = &s->blit;
    struct cirrus_rect to = blit_destination(b);
    uint32_t cost = b->width + ROW_COST;
    struct row row;
    bool masked = true;

    if (blit_is_solid(b)) {
        row_solid(b, &row);
        masked = false;
    } else if (blit_is(b, MODE_PATTERN | MODE_EXPAND)) {
        row_expand(b, &row, b->data + ((b->src + b->done) & 7), true);
    } else if (b->mode & MODE_PATTERN) {
        row_pattern(b, &row);
    } else if (b->mode & MODE_EXPAND) {
        uint8_t bits[CIRRUS_ROW_MAX / 8 + 8];
        if (!data) {
            row_load(&s->vga, b->src & CIRRUS_MASK, bits, blit_bits(b) + 1);
            b->src += blit_bits(b);
        }
        row_expand(b, &row, data ? data : bits, false);
    } else if (data) {
        memcpy(row.bytes, data, b->width);
        masked = false;
    } else {
        cost *= row_copy(s, &row);
    }
    if (data || !blit_is_copy(b)) {
        row_draw(s, &row, cirrus_rect_row(&to, b->done), b->width, masked);
    }
    s->blit_rows++;
    b->done++;
    b->rows--;
    return cost;
}

/* ---- the engine ---- */

static void blit_end(struct cirrus *s)
{
    s->blit.wanted = s->blit.got = s->blit.rows = 0;
    s->vga.gr[GR_BLT_STATUS] &= (uint8_t) ~(STATUS_BUSY | STATUS_START | STATUS_FIFO);
}

static bool blit_step(void *opaque)
{
    struct cirrus *s = opaque;

    for (uint32_t cost = 0; s->blit.rows > 0 && cost < STEP_BYTES;) {
        cost += blit_row(s, NULL);
    }
    if (s->blit.rows > 0) {
        return true;
    }
    blit_end(s);
    return false;
}

void cirrus_blit_abort(struct cirrus *s)
{
    device_work_finish(&s->work);
    blit_end(s);
}

static uint32_t gr16(const struct vga *v, unsigned i)
{
    return v->gr[i] | (uint32_t)v->gr[i + 1] << 8;
}

static void blit_read_registers(struct cirrus *s)
{
    const struct vga *v = &s->vga;
    const uint8_t *gr = v->gr;
    struct cirrus_blit *b = &s->blit;

    b->mode = gr[GR_BLT_MODE];
    b->rop = gr[GR_BLT_ROP];
    b->ext = gr[GR_BLT_EXT];
    b->clip = gr[GR_BLT_CLIP];
    b->pixel = (uint8_t)((b->mode & MODE_PIXEL) >> 4) + 1;
    b->key = (uint16_t)gr16(v, GR_BLT_KEY);
    b->fg = s->gr1 | (uint32_t)gr[0x11] << 8 | (uint32_t)gr[0x13] << 16 | (uint32_t)gr[0x15] << 24;
    b->bg = s->gr0 | (uint32_t)gr[0x10] << 8 | (uint32_t)gr[0x12] << 16 | (uint32_t)gr[0x14] << 24;
    b->width = (gr16(v, GR_BLT_WIDTH) & (CIRRUS_ROW_MAX - 1)) + 1;
    b->rows = (gr16(v, GR_BLT_HEIGHT) & (CIRRUS_ROW_MAX - 1)) + 1;
    b->dst_pitch = gr16(v, GR_BLT_DST_PITCH);
    b->src_pitch = gr16(v, GR_BLT_SRC_PITCH);
    b->dst = gr16(v, GR_BLT_DST) | (uint32_t)gr[GR_BLT_DST + 2] << 16;
    b->src = gr16(v, GR_BLT_SRC) | (uint32_t)gr[GR_BLT_SRC + 2] << 16;
    b->done = b->wanted = b->got = 0;
}

/* Bytes of a whole pattern. */
static uint32_t blit_pattern_size(const struct cirrus_blit *b)
{
    return b->mode & MODE_EXPAND ? 8 : b->pixel == 3 ? 256 : 64u * b->pixel;
}

static uint32_t blit_wanted(const struct cirrus_blit *b)
{
    if (b->mode & MODE_PATTERN) {
        return blit_pattern_size(b);
    }
    return b->mode & MODE_EXPAND ? blit_bits(b) : (b->width + 3) & ~3u;
}

static bool blit_is_possible(const struct cirrus_blit *b)
{
    return !(b->mode & MODE_TO_SYSTEM) && !(blit_is_keyed(b) && b->pixel > 2);
}

void cirrus_blit_start(struct cirrus *s)
{
    struct cirrus_blit *b = &s->blit;

    cirrus_blit_abort(s);
    blit_read_registers(s);
    if (!blit_is_possible(b)) {
        blit_end(s);
        return;
    }
    s->blits++;
    s->vga.gr[GR_BLT_STATUS] |= STATUS_BUSY;
    if ((b->mode & MODE_FROM_SYSTEM) && !blit_is_solid(b)) {
        b->wanted = blit_wanted(b);
        cirrus_settle(s);
        return;
    }
    if (b->mode & MODE_PATTERN) {
        uint32_t size = blit_pattern_size(b);
        row_load(&s->vga, b->src & CIRRUS_MASK & ~(size - 1), b->data, size);
    }
    device_work_start(&s->work, &s->pci.dev, blit_step, s);
}

static void blit_data_complete(struct cirrus *s)
{
    struct cirrus_blit *b = &s->blit;

    b->got = 0;
    if (b->mode & MODE_PATTERN) {
        b->wanted = 0;
        device_work_start(&s->work, &s->pci.dev, blit_step, s);
        return;
    }
    blit_row(s, b->data);
    if (b->rows == 0) {
        blit_end(s);
    }
}

/* Bytes behind the last one, up to the end of the access, go nowhere. */
void cirrus_blit_data(struct cirrus *s, uint64_t value, unsigned size)
{
    struct cirrus_blit *b = &s->blit;

    for (; size > 0 && b->wanted > 0; size--, value >>= 8) {
        b->data[b->got++] = (uint8_t)value;
        if (b->got == b->wanted) {
            blit_data_complete(s);
        }
    }
}

/* ---- saved state: a blit that waits for data; others are done when a machine stands ---- */

static const struct state_field blit_fields[] = {
    STATE_FIELD_U8(struct cirrus_blit, mode),
    STATE_FIELD_U8(struct cirrus_blit, rop),
    STATE_FIELD_U8(struct cirrus_blit, ext),
    STATE_FIELD_U8(struct cirrus_blit, clip),
    STATE_FIELD_U8(struct cirrus_blit, pixel, .min = 1, .max = 4),
    STATE_FIELD_U16(struct cirrus_blit, key),
    STATE_FIELD_U32(struct cirrus_blit, fg),
    STATE_FIELD_U32(struct cirrus_blit, bg),
    STATE_FIELD_U32(struct cirrus_blit, width, .min = 1, .max = CIRRUS_ROW_MAX),
    STATE_FIELD_U32(struct cirrus_blit, rows, .min = 1, .max = CIRRUS_ROW_MAX),
    STATE_FIELD_U32(struct cirrus_blit, done, .min = 0, .max = CIRRUS_ROW_MAX),
    STATE_FIELD_U32(struct cirrus_blit, dst, .min = 0, .max = CIRRUS_MASK),
    STATE_FIELD_U32(struct cirrus_blit, dst_pitch, .min = 0, .max = CIRRUS_ROW_MAX - 1),
    STATE_FIELD_U32(struct cirrus_blit, src, .min = 0, .max = CIRRUS_MASK),
    STATE_FIELD_U32(struct cirrus_blit, src_pitch, .min = 0, .max = CIRRUS_ROW_MAX - 1),
    STATE_FIELD_U32(struct cirrus_blit, got, .min = 0, .max = CIRRUS_ROW_MAX - 1),
    STATE_FIELD_BYTES(struct cirrus_blit, data),
    STATE_FIELD_END,
};

static bool blit_check(const void *base, GError **err)
{
    const struct cirrus_blit *b = base;

    if (!(b->mode & MODE_FROM_SYSTEM) || !blit_is_possible(b) || b->got >= blit_wanted(b)) {
        g_set_error(err, STATE_ERROR, EINVAL, "a blit that cannot wait for data");
        return false;
    }
    return true;
}

static void blit_post_load(void *base)
{
    struct cirrus_blit *b = base;
    b->wanted = blit_wanted(b);
}

const struct state_desc cirrus_blit_state = {
    .name = "cirrus-blit",
    .version = 1,
    .fields = blit_fields,
    .check = blit_check,
    .post_load = blit_post_load,
};
