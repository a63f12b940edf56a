/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Standard VGA as a guest and a viewer see it: ports, the window at 0xA0000, BARs, and pictures
 * compared with what a straightforward reading of the same memory gives.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>
#include <glib/gstdio.h>

#include <xendm/classes.h>
#include <xendm/display.h>
#include <xendm/log.h>
#include <xendm/pci.h>

#include "fakes.h"
#include "look.h"

#define DEVFN PCI_DEVFN(2, 0)

struct kit {
    struct machine *m;
    struct device *dev;
    struct display *display;
    struct display_watch *watch;
    unsigned damage, x, y, w, h;
    uint64_t damaged_pixels;
};

static void on_damaged(void *opaque, unsigned x, unsigned y, unsigned w, unsigned h)
{
    struct kit *k = opaque;
    k->damage++;
    k->x = x, k->y = y, k->w = w, k->h = h;
    k->damaged_pixels += (uint64_t)w * h;
}

static const struct display_viewer viewer = {.damaged = on_damaged};

static struct kit *kit_new(const char *mb)
{
    struct kit *k = g_new0(struct kit, 1);
    g_autofree char *setting = g_strdup_printf("vgamem_mb=%s", mb);
    k->m = fake_machine_new();
    k->display = k->m->display = display_new();
    k->dev = fake_pci_device(k->m, &std_vga_class, DEVFN, setting, NULL);
    machine_complete(k->m);
    machine_start(k->m);
    k->watch = display_watch(k->display, &viewer, k);
    return k;
}

static void kit_free(struct kit *k)
{
    fake_machine_free(k->m);
    display_unwatch(k->watch);
    display_free(k->display);
    g_free(k);
}

static void outb(struct kit *k, unsigned port, unsigned value)
{
    aspace_write(k->m->pio, port, value, 1);
}

static uint8_t inb(struct kit *k, unsigned port)
{
    return (uint8_t)aspace_read(k->m->pio, port, 1);
}

/* Index and data in one word, as drivers do. */
static void out_indexed(struct kit *k, unsigned port, unsigned index, unsigned value)
{
    aspace_write(k->m->pio, port, value << 8 | index, 2);
}

static uint8_t in_indexed(struct kit *k, unsigned port, unsigned index)
{
    outb(k, port, index);
    return inb(k, port + 1);
}

static void attribute(struct kit *k, unsigned index, unsigned value)
{
    inb(k, 0x3da);
    outb(k, 0x3c0, index);
    outb(k, 0x3c0, value);
}

static void dispi(struct kit *k, unsigned index, unsigned value)
{
    aspace_write(k->m->pio, 0x1ce, index, 2);
    aspace_write(k->m->pio, 0x1cf, value, 2);
}

static unsigned dispi_read(struct kit *k, unsigned index)
{
    aspace_write(k->m->pio, 0x1ce, index, 2);
    return (unsigned)aspace_read(k->m->pio, 0x1cf, 2);
}

static void poke(struct kit *k, uint32_t address, unsigned value)
{
    aspace_write(k->m->mmio, address, value, 1);
}

static uint8_t peek(struct kit *k, uint32_t address)
{
    return (uint8_t)aspace_read(k->m->mmio, address, 1);
}

struct picture {
    const uint32_t *pixels;
    unsigned width, height;
};

static struct picture look(struct kit *k, bool full)
{
    struct picture p;
    k->damage = 0;
    k->damaged_pixels = 0;
    p.pixels = look_at(k->display, full, &p.width, &p.height);
    return p;
}

/* Register values of the standard BIOS modes. */
struct mode {
    uint8_t misc, sr[5], cr[25], gr[9], ar[21];
};

static const struct mode mode_text = {
    /* 3: 80x25, 9x16 */
    0x67,
    {0x03, 0x00, 0x03, 0x00, 0x02},
    {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
     0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff},
    {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x0f, 0xff},
    {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
     0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00},
};
static const struct mode mode_13h = {
    /* 320x200, 256 colours */
    0x63,
    {0x03, 0x01, 0x0f, 0x00, 0x0e},
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0x00, 0x00, 0x00,
     0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff},
    {0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x05, 0x0f, 0xff},
    {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a,
     0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x41, 0x00, 0x0f, 0x00, 0x00},
};
static const struct mode mode_12h = {
    /* 640x480, 16 colours */
    0xe3,
    {0x03, 0x01, 0x0f, 0x00, 0x06},
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0x00, 0x00, 0x00,
     0x00, 0x00, 0x00, 0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff},
    {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0f, 0xff},
    {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
     0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x01, 0x00, 0x0f, 0x00, 0x00},
};
static const struct mode mode_0dh = {
    /* 320x200, 16 colours */
    0x63,
    {0x03, 0x09, 0x0f, 0x00, 0x06},
    {0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc0, 0x00, 0x00, 0x00,
     0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xe3, 0xff},
    {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0f, 0xff},
    {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x10, 0x11, 0x12,
     0x13, 0x14, 0x15, 0x16, 0x17, 0x01, 0x00, 0x0f, 0x00, 0x00},
};
static const struct mode mode_4 = {
    /* 320x200, CGA 4 colours */
    0x63,
    {0x03, 0x09, 0x03, 0x00, 0x02},
    {0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00, 0x00,
     0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xa2, 0xff},
    {0x00, 0x00, 0x00, 0x00, 0x00, 0x30, 0x0f, 0x0f, 0xff},
    {0x00, 0x13, 0x15, 0x17, 0x02, 0x04, 0x06, 0x07, 0x10, 0x11, 0x12,
     0x13, 0x14, 0x15, 0x16, 0x17, 0x01, 0x00, 0x03, 0x00, 0x00},
};
static const struct mode mode_6 = {
    /* 640x200, CGA 2 colours */
    0x63,
    {0x03, 0x01, 0x01, 0x00, 0x06},
    {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00, 0x00,
     0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x00, 0x96, 0xb9, 0xc2, 0xff},
    {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0d, 0x0f, 0xff},
    {0x00, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17,
     0x17, 0x17, 0x17, 0x17, 0x17, 0x01, 0x00, 0x01, 0x00, 0x00},
};

static uint8_t dac_value(unsigned i)
{
    return (uint8_t)(i * 2654435761u >> 20) & 0x3f;
}

static uint32_t dac_pixel(unsigned index)
{
    uint32_t rgb = 0;
    for (unsigned c = 0; c < 3; c++) {
        unsigned v = dac_value(index * 3 + c);
        rgb = rgb << 8 | (v << 2 | v >> 4);
    }
    return rgb;
}

static void set_mode(struct kit *k, const struct mode *m)
{
    outb(k, 0x3c2, m->misc);
    for (unsigned i = 0; i < sizeof(m->sr); i++) {
        out_indexed(k, 0x3c4, i, m->sr[i]);
    }
    out_indexed(k, 0x3d4, 0x11, 0);
    for (unsigned i = 0; i < sizeof(m->cr); i++) {
        out_indexed(k, 0x3d4, i, m->cr[i]);
    }
    for (unsigned i = 0; i < sizeof(m->gr); i++) {
        out_indexed(k, 0x3ce, i, m->gr[i]);
    }
    for (unsigned i = 0; i < sizeof(m->ar); i++) {
        attribute(k, i, m->ar[i]);
    }
    outb(k, 0x3c6, 0xff);
    outb(k, 0x3c8, 0);
    for (unsigned i = 0; i < 768; i++) {
        outb(k, 0x3c9, dac_value(i));
    }
    inb(k, 0x3da);
    outb(k, 0x3c0, 0x20);
}

/* ---- registers ---- */

static void test_registers(void)
{
    struct kit *k = kit_new("4");

    g_assert_cmphex(inb(k, 0x3d4), ==, 0xff); /* monochrome after reset: the CRTC is at 3B4 */
    g_assert_cmphex(inb(k, 0x3b4), ==, 0x00);
    outb(k, 0x3c2, 0x01);
    g_assert_cmphex(inb(k, 0x3cc), ==, 0x01);
    g_assert_cmphex(inb(k, 0x3b4), ==, 0xff);
    g_assert_cmphex(inb(k, 0x3ba), ==, 0xff);
    outb(k, 0x3b4, 5);
    g_assert_cmphex(inb(k, 0x3d4), ==, 0x00);

    out_indexed(k, 0x3c4, 2, 0xff);
    g_assert_cmphex(in_indexed(k, 0x3c4, 2), ==, 0x0f);
    out_indexed(k, 0x3ce, 8, 0x5a);
    g_assert_cmphex(in_indexed(k, 0x3ce, 8), ==, 0x5a);
    g_assert_cmphex(in_indexed(k, 0x3ce, 12), ==, 0x00);
    g_assert_cmphex((unsigned)aspace_read(k->m->pio, 0x3ce, 2), ==, 0x000c);

    out_indexed(k, 0x3d4, 3, 0x12); /* CR0..7 are locked by CR11, but for one bit of CR7 */
    out_indexed(k, 0x3d4, 0x11, 0x80);
    out_indexed(k, 0x3d4, 3, 0x34);
    out_indexed(k, 0x3d4, 7, 0xff);
    out_indexed(k, 0x3d4, 8, 0x55);
    g_assert_cmphex(in_indexed(k, 0x3d4, 3), ==, 0x12);
    g_assert_cmphex(in_indexed(k, 0x3d4, 7), ==, 0x10);
    g_assert_cmphex(in_indexed(k, 0x3d4, 8), ==, 0x55);
    out_indexed(k, 0x3d4, 0x30, 0x55);
    g_assert_cmphex(in_indexed(k, 0x3d4, 0x30), ==, 0x00);

    attribute(k, 0x10, 0xff); /* the flip-flop */
    g_assert_cmphex(in_indexed(k, 0x3d4, 0x24), ==, 0x00);
    outb(k, 0x3c0, 0x30);
    g_assert_cmphex(in_indexed(k, 0x3d4, 0x24), ==, 0x80);
    g_assert_cmphex(inb(k, 0x3c1), ==, 0xef);
    g_assert_cmphex(inb(k, 0x3c0), ==, 0x30);
    outb(k, 0x3c0, 0x0c);
    g_assert_cmphex(inb(k, 0x3c1), ==, 0x0c);
    outb(k, 0x3c0, 0x3f); /* no such register */
    outb(k, 0x3c0, 0x11);
    g_assert_cmphex(inb(k, 0x3c1), ==, 0x00);

    outb(k, 0x3c8, 254); /* DAC: write index runs over the end */
    for (unsigned i = 0; i < 9; i++) {
        outb(k, 0x3c9, 0xc0 + i);
    }
    g_assert_cmphex(inb(k, 0x3c7), ==, 0x00);
    g_assert_cmphex(inb(k, 0x3c8), ==, 1);
    outb(k, 0x3c7, 255);
    g_assert_cmphex(inb(k, 0x3c7), ==, 0x03);
    for (unsigned i = 3; i < 9; i++) {
        g_assert_cmphex(inb(k, 0x3c9), ==, i);
    }
    outb(k, 0x3da, 0xff);
    g_assert_cmphex(inb(k, 0x3ca), ==, 0x10);
    g_assert_cmphex(inb(k, 0x3c3), ==, 0x01);
    kit_free(k);
}

static void test_retrace(void)
{
    struct kit *k = kit_new("4");
    unsigned retraces = 0, blanks = 0;

    set_mode(k, &mode_text);
    bool before = inb(k, 0x3da) & 8;
    for (unsigned i = 0; i < 100000; i++) { /* one second in steps of 10 µs */
        fake_clock_step(k->m, 10000);
        uint8_t st = inb(k, 0x3da);
        g_assert_true(!(st & 8) || (st & 1));
        retraces += (st & 8) && !before;
        blanks += st & 1;
        before = st & 8;
    }
    g_assert_cmpuint(retraces, >=, 69);
    g_assert_cmpuint(retraces, <=, 72);
    g_assert_cmpuint(blanks, >, 10000);
    g_assert_cmpuint(blanks, <, 50000);
    /* A guest that looks rarely still sees each retrace begin. */
    retraces = 0;
    for (unsigned i = 0; i < 100; i++) {
        fake_clock_step(k->m, 15 * NS_PER_MS);
        retraces += inb(k, 0x3da) >> 3 & 1;
    }
    g_assert_cmpuint(retraces, ==, 100);
    kit_free(k);
}

/* ---- memory ---- */

/* The planes, by the book, one byte at a time. */
struct reference {
    uint8_t plane[4][0x20000], latch[4];
    const uint8_t *sr, *gr;
};

static bool reference_window(const struct reference *r, uint32_t offset, uint32_t *address)
{
    static const struct {
        uint32_t base, size;
    } map[] = {{0, 0x20000}, {0, 0x10000}, {0x10000, 0x8000}, {0x18000, 0x8000}};
    unsigned n = r->gr[6] >> 2 & 3;
    *address = offset - map[n].base;
    return offset >= map[n].base && offset < map[n].base + map[n].size;
}

static void reference_write(struct reference *r, uint32_t offset, uint8_t byte)
{
    uint32_t a;
    if (!reference_window(r, offset, &a)) {
        return;
    }
    bool chain4 = r->sr[4] & 8, odd_even = !(r->sr[4] & 4);
    for (unsigned p = 0; p < 4; p++) {
        uint32_t n = chain4 ? a / 4 : odd_even ? a / 2 : a;
        bool selected = chain4 ? p == a % 4 : odd_even ? p % 2 == a % 2 : true;
        if (!selected || !(r->sr[2] >> p & 1)) {
            continue;
        }
        unsigned rotate = r->gr[3] & 7;
        uint8_t rotated = (uint8_t)((byte | byte << 8) >> rotate);
        uint8_t sr = r->gr[0] >> p & 1 ? 0xff : 0, value, mask = r->gr[8];
        switch (r->gr[5] & 3) {
        case 0:
            value = r->gr[1] >> p & 1 ? sr : rotated;
            break;
        case 1:
            r->plane[p][n] = r->latch[p];
            continue;
        case 2:
            value = byte >> p & 1 ? 0xff : 0;
            break;
        default:
            value = sr;
            mask &= rotated;
            break;
        }
        switch (r->gr[3] >> 3) {
        case 1:
            value &= r->latch[p];
            break;
        case 2:
            value |= r->latch[p];
            break;
        case 3:
            value ^= r->latch[p];
            break;
        }
        r->plane[p][n] = (value & mask) | (r->latch[p] & ~mask);
    }
}

static uint8_t reference_read(struct reference *r, uint32_t offset)
{
    uint32_t a;
    if (!reference_window(r, offset, &a)) {
        return 0xff;
    }
    bool chain4 = r->sr[4] & 8, odd_even = r->gr[5] & 0x10;
    uint32_t n = chain4 ? a / 4 : odd_even ? a / 2 : a;
    unsigned plane = chain4 ? a % 4 : odd_even ? (r->gr[4] & 2) | (a & 1) : r->gr[4] & 3;
    uint8_t value = 0xff;
    for (unsigned p = 0; p < 4; p++) {
        r->latch[p] = r->plane[p][n];
        if (r->gr[7] >> p & 1) {
            value &= (uint8_t) ~(r->latch[p] ^ (r->gr[2] >> p & 1 ? 0xff : 0));
        }
    }
    return r->gr[5] & 8 ? value : r->latch[plane];
}

static void test_planes(void)
{
    struct kit *k = kit_new("4");
    struct reference *ref = g_new0(struct reference, 1);
    GRand *r = g_rand_new_with_seed(1987);
    uint8_t sr[8] = {0}, gr[16] = {0};
    static const uint8_t gr_mask[9] = {15, 15, 15, 0x1f, 3, 0x7b, 15, 15, 0xff};

    ref->sr = sr;
    ref->gr = gr;
    outb(k, 0x3c2, 1);
    for (unsigned round = 0; round < 2000; round++) {
        for (unsigned i = 0; i < 9; i++) {
            gr[i] = (uint8_t)g_rand_int(r) & gr_mask[i];
            if (i == 8 && g_rand_int(r) % 2) {
                gr[i] = 0xff;
            }
            out_indexed(k, 0x3ce, i, gr[i]);
        }
        sr[2] = g_rand_int(r) & 15;
        sr[4] = g_rand_int(r) & 14;
        out_indexed(k, 0x3c4, 2, sr[2]);
        out_indexed(k, 0x3c4, 4, sr[4]);
        for (unsigned i = 0; i < 100; i++) {
            static const unsigned sizes[] = {1, 1, 2, 4, 8};
            unsigned size = sizes[g_rand_int(r) % 5];
            uint32_t offset = g_rand_int(r) % 64 + (g_rand_int(r) % 4) * 0x8000;
            uint64_t value = (uint64_t)g_rand_int(r) << 32 | g_rand_int(r);
            if (offset + size > 0x20000) {
                continue;
            }
            if (g_rand_int(r) % 2) {
                aspace_write(k->m->mmio, 0xa0000 + offset,
                             size == 8 ? value : value & ((1ull << 8 * size) - 1), size);
                for (unsigned b = 0; b < size; b++) {
                    reference_write(ref, offset + b, (uint8_t)(value >> 8 * b));
                }
            } else {
                uint64_t got = aspace_read(k->m->mmio, 0xa0000 + offset, size), want = 0;
                for (unsigned b = 0; b < size; b++) {
                    want |= (uint64_t)reference_read(ref, offset + b) << 8 * b;
                }
                g_assert_cmphex(got, ==, want);
            }
        }
    }
    for (uint32_t n = 0; n < 0x20000; n++) {
        for (unsigned p = 0; p < 4; p++) {
            g_assert_cmphex(k->m->hv->vram[4 * n + p], ==, ref->plane[p][n]);
        }
    }
    g_assert_cmpuint(k->m->hv->modified_pages, >, 0);
    g_rand_free(r);
    g_free(ref);
    kit_free(k);
}

/* ---- pictures ---- */

static uint8_t glyph_row(unsigned font, unsigned ch, unsigned y)
{
    return (uint8_t)((ch * 167 + y * 59 + font * 91) ^ (ch >> 3) ^ (y << 4));
}

/* As vgabios and Linux load fonts: planar access to plane 2. */
static void load_font(struct kit *k, unsigned font, uint32_t where)
{
    out_indexed(k, 0x3c4, 2, 4);
    out_indexed(k, 0x3c4, 4, 7);
    out_indexed(k, 0x3ce, 5, 0);
    out_indexed(k, 0x3ce, 6, 4);
    for (unsigned ch = 0; ch < 256; ch++) {
        for (unsigned y = 0; y < 16; y++) {
            poke(k, 0xa0000 + where + ch * 32 + y, glyph_row(font, ch, y));
        }
    }
    out_indexed(k, 0x3c4, 2, 3);
    out_indexed(k, 0x3c4, 4, 2);
    out_indexed(k, 0x3ce, 5, 0x10);
    out_indexed(k, 0x3ce, 6, 0x0e);
}

static uint32_t text_pixel(unsigned attribute_index, const struct mode *m)
{
    return dac_pixel(m->ar[attribute_index]);
}

struct text {
    uint8_t ch[80 * 25], attribute[80 * 25];
};

static void fill_text(struct kit *k, struct text *t)
{
    for (unsigned i = 0; i < 80 * 25; i++) {
        t->ch[i] = (uint8_t)(i * 7 + i / 80);
        t->attribute[i] = (uint8_t)(i * 13 + i / 256);
        aspace_write(k->m->mmio, 0xb8000 + 2 * i, t->attribute[i] << 8 | t->ch[i], 2);
    }
}

/* cursor: cell, or -1. blink: attribute bit 7 blinks, and `dark` now. fonts: of attribute bit 3
 * clear and set. */
static void check_text(struct kit *k, const struct text *t, const struct mode *m, unsigned dots,
                       int cursor, bool blink, bool dark, unsigned font0, unsigned font1)
{
    struct picture p = look(k, false);
    g_assert_cmpuint(p.width, ==, 80 * dots);
    g_assert_cmpuint(p.height, ==, 400);
    for (unsigned y = 0; y < 400; y++) {
        for (unsigned x = 0; x < 80 * dots; x++) {
            unsigned i = y / 16 * 80 + x / dots, row = y % 16, dot = x % dots;
            unsigned a = t->attribute[i], fg = a & 15, bg = a >> 4;
            unsigned bits = glyph_row(a & 8 ? font1 : font0, t->ch[i], row);
            bool on = dot < 8 ? bits >> (7 - dot) & 1
                              : (t->ch[i] & 0xe0) == 0xc0 && (m->ar[16] & 4) && (bits & 1);
            if (blink) {
                on = on && !((a & 0x80) && dark);
                bg &= 7;
            }
            if ((int)i == cursor && row >= 13 && row <= 14) {
                on = true;
            }
            g_assert_cmphex(p.pixels[y * p.width + x], ==, text_pixel(on ? fg : bg, m));
        }
    }
}

static void test_text(void)
{
    struct kit *k = kit_new("4");
    struct text t;

    set_mode(k, &mode_text);
    load_font(k, 0, 0);
    load_font(k, 1, 0x4000);
    fill_text(k, &t);
    g_assert_cmphex(peek(k, 0xb8000 + 2 * 81), ==, t.ch[81]);
    g_assert_cmphex(peek(k, 0xb8000 + 2 * 81 + 1), ==, t.attribute[81]);
    out_indexed(k, 0x3d4, 0x0e, 1234 >> 8);
    out_indexed(k, 0x3d4, 0x0f, 1234 & 0xff);
    check_text(k, &t, &mode_text, 9, 1234, true, false, 0, 0);

    look(k, false);
    g_assert_cmpuint(k->damage, ==, 0);     /* nothing happened */
    fake_clock_step(k->m, 300 * NS_PER_MS); /* the cursor goes dark */
    look(k, false);
    g_assert_cmpuint(k->damage, ==, 1);
    g_assert_cmpuint(k->w, <=, 9);
    g_assert_cmpuint(k->h, ==, 2);
    check_text(k, &t, &mode_text, 9, -1, true, false, 0, 0);
    fake_clock_step(k->m, 300 * NS_PER_MS); /* cursor on, blinking characters dark */
    check_text(k, &t, &mode_text, 9, 1234, true, true, 0, 0);

    struct mode m = mode_text; /* bright background instead, two fonts, cursor off */
    m.ar[16] = 0x04;
    attribute(k, 16, 0x04);
    outb(k, 0x3c0, 0x20);
    out_indexed(k, 0x3c4, 3, 0x04); /* map A: font at 16 KiB */
    out_indexed(k, 0x3d4, 0x0a, 0x2d);
    check_text(k, &t, &m, 9, -1, false, false, 0, 1);
    out_indexed(k, 0x3c4, 1, 0x01);
    check_text(k, &t, &m, 8, -1, false, false, 0, 1);

    /* One character written: the damage is its cell. */
    poke(k, 0xb8000 + 2 * (80 * 3 + 5), t.ch[245] ^= 0xff);
    struct picture p = look(k, false);
    g_assert_nonnull(p.pixels);
    g_assert_cmpuint(k->damage, >=, 1);
    g_assert_cmpuint(k->x, >=, 40);
    g_assert_cmpuint(k->x + k->w, <=, 48);
    g_assert_cmpuint(k->damaged_pixels, <=, 8 * 16);

    /* Scrolling by the start address, and a split screen that shows the first row at the bottom
     * again. */
    out_indexed(k, 0x3d4, 0x0d, 80);
    p = look(k, false);
    for (unsigned x = 0; x < 640; x++) {
        unsigned i = 80 + x / 8;
        bool on = glyph_row(t.attribute[i] & 8 ? 1 : 0, t.ch[i], 5) >> (7 - x % 8) & 1;
        g_assert_cmphex(p.pixels[5 * 640 + x], ==,
                        text_pixel(on ? t.attribute[i] & 15 : t.attribute[i] >> 4, &m));
    }
    out_indexed(k, 0x3d4, 0x11, 0);
    out_indexed(k, 0x3d4, 0x09, 0x0f);
    out_indexed(k, 0x3d4, 0x18, 383 & 0xff);
    out_indexed(k, 0x3d4, 0x07, 0x1f);
    p = look(k, false);
    for (unsigned x = 0; x < 640; x++) {
        unsigned i = x / 8;
        bool on = glyph_row(t.attribute[i] & 8 ? 1 : 0, t.ch[i], 2) >> (7 - x % 8) & 1;
        g_assert_cmphex(p.pixels[386 * 640 + x], ==,
                        text_pixel(on ? t.attribute[i] & 15 : t.attribute[i] >> 4, &m));
    }

    out_indexed(k, 0x3c4, 1, 0x21); /* screen off */
    p = look(k, false);
    g_assert_cmpuint(p.width, ==, 640);
    for (unsigned i = 0; i < p.width * p.height; i++) {
        g_assert_cmphex(p.pixels[i], ==, 0);
    }
    kit_free(k);
}

static void test_underline_40(void)
{
    struct kit *k = kit_new("4");

    set_mode(k, &mode_text);
    load_font(k, 0, 0);
    out_indexed(k, 0x3d4, 0x11, 0);
    out_indexed(k, 0x3d4, 0x01, 39);
    out_indexed(k, 0x3d4, 0x0a, 0x20);
    out_indexed(k, 0x3d4, 0x14, 13);
    out_indexed(k, 0x3c4, 1, 0x08);
    aspace_write(k->m->mmio, 0xb8000, 0x01000a20, 4);
    struct picture p = look(k, false);
    g_assert_cmpuint(p.width, ==, 720); /* 40 columns of 9 dots, doubled */
    for (unsigned x = 0; x < 36; x++) { /* colour 1 is underlined, bright or not; others are not */
        unsigned dot = x / 2 % 9, cell = x / 18;
        bool on = dot < 8 && glyph_row(0, cell ? 0 : 0x20, 13) >> (7 - dot) & 1;
        g_assert_cmphex(p.pixels[13 * 720 + x], ==, text_pixel(cell ? 1 : on ? 10 : 0, &mode_text));
    }
    poke(k, 0xb8001, 0x09);
    p = look(k, false);
    for (unsigned x = 0; x < 36; x++) {
        g_assert_cmphex(p.pixels[13 * 720 + x], ==, text_pixel(x < 18 ? 9 : 1, &mode_text));
    }
    kit_free(k);
}

/* The eight places of fonts: A (attribute bit 3) and B have a bit apart for the odd 8 KiB. */
static void test_fonts(void)
{
    struct kit *k = kit_new("4");
    static const uint32_t where[8] = {0, 0x4000, 0x8000, 0xc000, 0x2000, 0x6000, 0xa000, 0xe000};

    set_mode(k, &mode_text);
    for (unsigned i = 0; i < 8; i++) {
        load_font(k, i, where[i]);
    }
    out_indexed(k, 0x3d4, 0x0a, 0x20);
    aspace_write(k->m->mmio, 0xb8000, 0x0f410741, 4);
    for (unsigned a = 0; a < 8; a++) {
        unsigned b = (a * 3 + 1) & 7;
        out_indexed(k, 0x3c4, 3, (a & 3) << 2 | (a & 4) << 3 | (b & 3) | (b & 4) << 2);
        struct picture p = look(k, false);
        for (unsigned y = 0; y < 16; y++) {
            for (unsigned x = 0; x < 8; x++) {
                g_assert_cmphex(p.pixels[y * 720 + x], ==,
                                text_pixel(glyph_row(b, 0x41, y) >> (7 - x) & 1 ? 7 : 0,
                                           &mode_text));
                g_assert_cmphex(p.pixels[y * 720 + 9 + x], ==,
                                text_pixel(glyph_row(a, 0x41, y) >> (7 - x) & 1 ? 15 : 0,
                                           &mode_text));
            }
        }
    }
    kit_free(k);
}

static void test_mode_13h(void)
{
    struct kit *k = kit_new("4");
    struct picture p;

    set_mode(k, &mode_13h);
    for (unsigned i = 0; i < 64000; i += 4) {
        aspace_write(k->m->mmio, 0xa0000 + i,
                     (i * 3 & 0xff) | ((i + 1) * 3 & 0xff) << 8 | ((i + 2) * 3 & 0xff) << 16 |
                         (uint64_t)((i + 3) * 3 & 0xff) << 24,
                     4);
    }
    p = look(k, false);
    g_assert_cmpuint(p.width, ==, 640);
    g_assert_cmpuint(p.height, ==, 400);
    for (unsigned y = 0; y < 400; y++) {
        for (unsigned x = 0; x < 640; x++) {
            unsigned i = y / 2 * 320 + x / 2;
            g_assert_cmphex(p.pixels[y * 640 + x], ==, dac_pixel(i * 3 & 0xff));
        }
    }
    /* One palette entry: exactly its pixels change. */
    outb(k, 0x3c8, 9);
    outb(k, 0x3c9, 63);
    outb(k, 0x3c9, 0);
    outb(k, 0x3c9, 32);
    p = look(k, false);
    g_assert_cmphex(p.pixels[3 * 2], ==, 0xff0082);

    /* Mode X: planes by hand, 360 pixels wide memory, panned by one pixel. */
    set_mode(k, &mode_13h);
    out_indexed(k, 0x3c4, 4, 0x06);
    out_indexed(k, 0x3d4, 0x13, 45);
    for (unsigned y = 0; y < 200; y++) {
        for (unsigned x = 0; x < 360; x++) {
            out_indexed(k, 0x3c4, 2, 1 << (x & 3));
            poke(k, 0xa0000 + y * 90 + x / 4, (x + y * 5) & 0xff);
        }
    }
    attribute(k, 0x13, 2);
    outb(k, 0x3c0, 0x20);
    p = look(k, false);
    for (unsigned y = 0; y < 400; y++) {
        for (unsigned x = 0; x < 640; x++) {
            g_assert_cmphex(p.pixels[y * 640 + x], ==, dac_pixel((x / 2 + 1 + y / 2 * 5) & 0xff));
        }
    }
    kit_free(k);
}

static void test_planar(void)
{
    struct kit *k = kit_new("4");
    const struct mode *modes[] = {&mode_12h, &mode_0dh};

    for (unsigned n = 0; n < 2; n++) {
        const struct mode *m = modes[n];
        unsigned bytes = n == 0 ? 80 : 40, lines = n == 0 ? 480 : 200, scale = n == 0 ? 1 : 2;
        set_mode(k, m);
        for (unsigned plane = 0; plane < 4; plane++) {
            out_indexed(k, 0x3c4, 2, 1 << plane);
            for (unsigned i = 0; i < bytes * lines; i++) {
                poke(k, 0xa0000 + i, (i * (plane * 2 + 3) + i / 97) & 0xff);
            }
        }
        struct picture p = look(k, false);
        g_assert_cmpuint(p.width, ==, 640);
        g_assert_cmpuint(p.height, ==, lines * scale);
        for (unsigned y = 0; y < p.height; y++) {
            for (unsigned x = 0; x < 640; x++) {
                unsigned i = y / scale * bytes + x / scale / 8, c = 0;
                for (unsigned plane = 0; plane < 4; plane++) {
                    c |= (((i * (plane * 2 + 3) + i / 97) & 0xff) >> (7 - x / scale % 8) & 1)
                         << plane;
                }
                g_assert_cmphex(p.pixels[y * 640 + x], ==, dac_pixel(m->ar[c]));
            }
        }
    }
    kit_free(k);
}

static void test_cga(void)
{
    struct kit *k = kit_new("4");
    struct picture p;

    for (unsigned n = 0; n < 2; n++) {
        const struct mode *m = n == 0 ? &mode_4 : &mode_6;
        set_mode(k, m);
        for (unsigned bank = 0; bank < 2; bank++) { /* even lines, odd lines */
            for (unsigned i = 0; i < 8000; i++) {
                poke(k, 0xb8000 + bank * 0x2000 + i, (i * 11 + bank * 77) & 0xff);
            }
        }
        g_assert_cmphex(peek(k, 0xb8000 + 0x2000 + 5), ==, 5 * 11 + 77);
        p = look(k, false);
        g_assert_cmpuint(p.width, ==, 640);
        g_assert_cmpuint(p.height, ==, 400);
        for (unsigned y = 0; y < 400; y++) {
            for (unsigned x = 0; x < 640; x++) {
                unsigned line = y / 2, i = line / 2 * 80 + x / 8,
                         byte = (i * 11 + line % 2 * 77) & 0xff;
                unsigned c = n == 0 ? byte >> (6 - x / 2 % 4 * 2) & 3 : byte >> (7 - x % 8) & 1;
                g_assert_cmphex(p.pixels[y * 640 + x], ==, dac_pixel(m->ar[c]));
            }
        }
    }
    kit_free(k);
}

/* ---- VBE ---- */

static void set_vbe(struct kit *k, unsigned width, unsigned height, unsigned bpp)
{
    outb(k, 0x3c2, 1);
    inb(k, 0x3da);
    outb(k, 0x3c0, 0x20);
    dispi(k, 4, 0);
    dispi(k, 3, bpp);
    dispi(k, 1, width);
    dispi(k, 2, height);
    dispi(k, 4, 0x41);
}

static void test_vbe_registers(void)
{
    struct kit *k = kit_new("4");

    g_assert_cmphex(dispi_read(k, 0), ==, 0xb0c5);
    dispi(k, 0, 0xb0c2);
    g_assert_cmphex(dispi_read(k, 0), ==, 0xb0c2);
    dispi(k, 0, 0x1234);
    g_assert_cmphex(dispi_read(k, 0), ==, 0xb0c2);
    g_assert_cmpuint(dispi_read(k, 10), ==, 64);
    dispi(k, 4, 2);
    g_assert_cmpuint(dispi_read(k, 1), ==, 4096);
    g_assert_cmpuint(dispi_read(k, 2), ==, 4096);
    g_assert_cmpuint(dispi_read(k, 3), ==, 32);
    set_vbe(k, 1024, 768, 32);
    g_assert_cmpuint(dispi_read(k, 6), ==, 1024);
    g_assert_cmpuint(dispi_read(k, 7), ==, 1024);
    dispi(k, 9, 5000);
    g_assert_cmpuint(dispi_read(k, 9), ==, 256);
    dispi(k, 6, 1200);
    g_assert_cmpuint(dispi_read(k, 6), ==, 1200);
    g_assert_cmpuint(dispi_read(k, 7), ==, 873);
    dispi(k, 8, 500);
    g_assert_cmpuint(dispi_read(k, 8), ==, 176);
    dispi(k, 1, 65535);
    g_assert_cmpuint(dispi_read(k, 1), ==, 4096);
    g_assert_cmpuint(dispi_read(k, 2), ==, 256);
    dispi(k, 3, 99);
    g_assert_cmpuint(dispi_read(k, 3), ==, 8);
    dispi(k, 5, 3);
    g_assert_cmpuint(dispi_read(k, 5), ==, 3);
    dispi(k, 4, 0);
    g_assert_cmpuint(dispi_read(k, 5), ==, 0);
    dispi(k, 4, 0x20); /* 8-bit DAC */
    outb(k, 0x3c8, 0);
    outb(k, 0x3c9, 0xab);
    outb(k, 0x3c9, 0);
    outb(k, 0x3c9, 0);
    outb(k, 0x3c7, 0);
    g_assert_cmphex(inb(k, 0x3c9), ==, 0xab);
    kit_free(k);
}

/* 1366 is not a multiple of 8, and what many laptops' and drivers' modes have. */
static void test_any_width(void)
{
    struct kit *k = kit_new("16");
    uint32_t *vram = (uint32_t *)k->m->hv->vram;

    for (unsigned width = 1360; width <= 1368; width++) {
        set_mode(k, &mode_text);
        set_vbe(k, width, 768, 32);
        g_assert_cmpuint(dispi_read(k, 1), ==, width);
        g_assert_cmpuint(dispi_read(k, 6), ==, width);
        for (unsigned i = 0; i < width * 768; i++) {
            vram[i] = i * 2654435761u & 0xffffff;
        }
        struct picture p = look(k, true);
        g_assert_cmpuint(p.width, ==, width);
        g_assert_cmpuint(p.height, ==, 768);
        g_assert_true(memcmp(p.pixels, vram, width * 768 * 4) == 0);
    }
    set_vbe(k, 1366, 768, 4); /* planes: whole cells */
    g_assert_cmpuint(dispi_read(k, 1), ==, 1360);
    kit_free(k);
}

static void test_vbe_pictures(void)
{
    struct kit *k = kit_new("16");
    uint8_t *vram = k->m->hv->vram;
    static const unsigned depths[] = {8, 15, 16, 24, 32};

    for (unsigned n = 0; n < G_N_ELEMENTS(depths); n++) {
        unsigned bpp = depths[n], bytes = (bpp + 7) / 8;
        set_mode(k, &mode_text);
        set_vbe(k, 1024, 768, bpp);
        dispi(k, 6, 1040);
        dispi(k, 9, 3);
        dispi(k, 8, 8);
        for (unsigned i = 0; i < 1040 * 800 * bytes; i++) {
            vram[i] = (uint8_t)(i * 31 + i / 1021);
        }
        struct picture p = look(k, true);
        g_assert_cmpuint(p.width, ==, 1024);
        g_assert_cmpuint(p.height, ==, 768);
        for (unsigned y = 0; y < 768; y++) {
            for (unsigned x = 0; x < 1024; x++) {
                const uint8_t *c = vram + ((y + 3) * 1040 + x + 8) * bytes;
                unsigned w = bytes > 1 ? c[0] | c[1] << 8 : c[0];
                uint32_t want;
                if (bpp == 8) {
                    want = dac_pixel(w);
                } else if (bpp == 15) {
                    unsigned r = w >> 10 & 31, g = w >> 5 & 31, b = w & 31;
                    want = (r << 3 | r >> 2) << 16 | (g << 3 | g >> 2) << 8 | (b << 3 | b >> 2);
                } else if (bpp == 16) {
                    unsigned r = w >> 11, g = w >> 5 & 63, b = w & 31;
                    want = (r << 3 | r >> 2) << 16 | (g << 2 | g >> 4) << 8 | (b << 3 | b >> 2);
                } else {
                    want = (uint32_t)c[2] << 16 | (uint32_t)c[1] << 8 | c[0];
                }
                g_assert_cmphex(p.pixels[y * 1024 + x], ==, want);
            }
        }
    }

    /* 4 bpp: planar, banked at 0xA0000. */
    set_mode(k, &mode_12h);
    set_vbe(k, 800, 600, 4);
    out_indexed(k, 0x3c4, 2, 0x0a);
    poke(k, 0xa0000 + 100 * 599 + 99, 0x01);
    struct picture p = look(k, false);
    g_assert_cmpuint(p.width, ==, 800);
    g_assert_cmphex(p.pixels[800 * 600 - 1], ==, dac_pixel(mode_12h.ar[10]));
    g_assert_cmphex(p.pixels[800 * 600 - 2], ==, dac_pixel(mode_12h.ar[0]));

    /* Banked access in a packed mode; the last bank ends with VRAM. */
    set_vbe(k, 640, 480, 8);
    dispi(k, 5, 2);
    aspace_write(k->m->mmio, 0xa0010, 0x11223344, 4);
    g_assert_cmpmem(vram + 0x20010, 4, "\x44\x33\x22\x11", 4);
    g_assert_cmphex((unsigned)aspace_read(k->m->mmio, 0xa0011, 2), ==, 0x2233);
    dispi(k, 5, 255);
    aspace_write(k->m->mmio, 0xafffc, 0x55667788, 4);
    g_assert_cmpmem(vram + 0xfffffc, 4, "\x88\x77\x66\x55", 4);
    dispi(k, 5, 256);
    poke(k, 0xa0000, 1);
    g_assert_cmphex(peek(k, 0xa0000), ==, 0xff);

    /* Memory is cleared when a mode is set, unless it shall not be. */
    vram[5] = 7;
    dispi(k, 4, 0);
    dispi(k, 4, 0xc1);
    g_assert_cmphex(vram[5], ==, 7);
    dispi(k, 4, 0);
    dispi(k, 4, 0x41);
    g_assert_cmphex(vram[5], ==, 0);
    kit_free(k);
}

static void test_dirty(void)
{
    struct kit *k = kit_new("16");
    struct hypervisor *hv = k->m->hv;

    set_vbe(k, 1024, 768, 32);
    look(k, false);
    hv->dirty = g_new0(uint64_t, 64);
    look(k, false);
    g_assert_cmpuint(k->damage, ==, 0);
    /* The guest writes two pixels; the hypervisor says which page one of them is in. */
    memset(hv->vram + 4096 * 10, 0xff, 4);
    memset(hv->vram + 4096 * 20, 0xff, 4);
    hv->dirty[0] = 1ull << 10;
    struct picture p = look(k, false);
    g_assert_cmpuint(k->damage, ==, 1);
    g_assert_cmpuint(k->y, ==, 10);
    g_assert_cmpuint(k->w * k->h, ==, 1);
    g_assert_cmphex(p.pixels[10 * 1024], ==, 0xffffff);
    g_assert_cmphex(p.pixels[20 * 1024], ==, 0);
    p = look(k, true);
    g_assert_cmphex(p.pixels[20 * 1024], ==, 0xffffff);
    /* Writes by our own window are seen without the hypervisor. */
    g_clear_pointer(&hv->dirty, g_free);
    hv->dirty = g_new0(uint64_t, 64);
    aspace_write(k->m->mmio, 0xa0000, 0x123456, 4);
    p = look(k, false);
    g_assert_cmphex(p.pixels[0], ==, 0x123456);
    g_assert_cmpuint(k->damage, ==, 1);
    g_clear_pointer(&hv->dirty, g_free);
    kit_free(k);
}

/* ---- PCI ---- */

static void config_write(struct kit *k, unsigned reg, uint32_t value, unsigned len)
{
    pci_config_write(k->m->pci, DEVFN, reg, value, len);
}

static uint32_t config_read(struct kit *k, unsigned reg)
{
    return pci_config_read(k->m->pci, DEVFN, reg, 4);
}

/* As hvmloader: decoding off, size, assign, decoding on. */
static void assign_bars(struct kit *k)
{
    config_write(k, 0x04, 0, 2);
    config_write(k, 0x10, 0xffffffff, 4);
    config_write(k, 0x10, 0xf0000000, 4);
    config_write(k, 0x18, 0xffffffff, 4);
    config_write(k, 0x18, 0xf3000000, 4);
    config_write(k, 0x04, 3, 2);
}

/* Not where hvmloader puts BARs or RAM. */
static void test_place(void)
{
    static const struct {
        uint64_t low_end, high_end, place;
    } cases[] = {
        {504ull << 20, 4ull << 30, 504ull << 20},
        {2032ull << 20, 4ull << 30, 2032ull << 20},
        {2033ull << 20, 4ull << 30, 8ull << 30},
        {0xf0000000, 7ull << 30, 11ull << 30},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct machine *m = fake_machine_new();

        m->ram_low_end = cases[i].low_end;
        m->ram_high_end = cases[i].high_end;
        fake_pci_device(m, &std_vga_class, DEVFN, "vgamem_mb=16", NULL);
        g_assert_cmphex(m->hv->vram_gfn, ==, cases[i].place >> 12);
        fake_machine_free(m);
    }
}

static void test_bars(void)
{
    struct kit *k = kit_new("16");
    struct hypervisor *hv = k->m->hv;

    g_assert_cmphex(config_read(k, 0), ==, 0x11111234);
    g_assert_cmphex(config_read(k, 8), ==, 0x03000002);
    g_assert_cmpuint(hv->vram_pages, ==, 4096);
    g_assert_cmphex(hv->vram_gfn, ==, k->m->ram_low_end >> 12);
    uint64_t first = hv->vram_gfn;

    config_write(k, 0x10, 0xffffffff, 4);
    g_assert_cmphex(config_read(k, 0x10), ==, 0xff000008);
    config_write(k, 0x18, 0xffffffff, 4);
    g_assert_cmphex(config_read(k, 0x18), ==, 0xfffff000);
    g_assert_cmpuint(hv->relocations, ==, 0);
    assign_bars(k);
    g_assert_cmpuint(hv->relocations, ==, 1);
    /* Nobody goes to the old place, of whatever has left it: 64 pages at a time. */
    g_assert_cmpuint(fake_guestmem_invalidations(k->m->memory), ==, hv->vram_pages / 64);
    g_assert_cmphex(hv->vram_gfn, ==, 0xf0000);
    g_assert_cmphex(hv->vram_gfn, !=, first);
    g_assert_true(hv->write_combine);

    assign_bars(k); /* the same place: nothing to do */
    g_assert_cmpuint(hv->relocations, ==, 1);
    config_write(k, 0x10, 0xffffffff, 4); /* sized with decoding on */
    config_write(k, 0x10, 0xf0000000, 4);
    g_assert_cmpuint(hv->relocations, ==, 1);
    config_write(k, 0x10, 0xf1000000, 4);
    g_assert_cmpuint(hv->relocations, ==, 2);
    g_assert_cmphex(hv->vram_gfn, ==, 0xf1000);
    config_write(k, 0x04, 0, 2); /* unmapped: it stays */
    g_assert_cmphex(hv->vram_gfn, ==, 0xf1000);

    /*
     * A guest that gave a page of it away can have this all day: what is logged has to be limited.
     */
    uint64_t complaints = log_guest_count(LOG_DISPLAY);
    hv->fail_relocate = EINVAL;
    config_write(k, 0x10, 0xf2000000, 4);
    config_write(k, 0x04, 2, 2);
    g_assert_cmpuint(log_guest_count(LOG_DISPLAY), ==, complaints + 1);
    g_assert_cmphex(hv->vram_gfn, ==, 0xf1000);
    hv->fail_relocate = 0;
    config_write(k, 0x04, 0, 2);

    /* The picture comes from the same memory all the time. */
    set_vbe(k, 640, 480, 32);
    hv->vram[0] = 0x5a;
    g_assert_cmphex(look(k, false).pixels[0], ==, 0x5a);
    kit_free(k);
}

/* As Linux' bochs driver: everything by BAR 2. */
static void test_mmio(void)
{
    struct kit *k = kit_new("16");
    const uint64_t bar = 0xf3000000;
    uint8_t edid[128], sum = 0;

    assign_bars(k);
    for (unsigned i = 0; i < 128; i++) {
        edid[i] = peek(k, (uint32_t)bar + i);
        sum += edid[i];
    }
    g_assert_cmpmem(edid, 8, "\x00\xff\xff\xff\xff\xff\xff\x00", 8);
    g_assert_cmpuint(sum, ==, 0);
    g_assert_cmpuint(edid[56] | edid[58] >> 4 << 8, ==, 1024);
    g_assert_cmpuint(edid[59] | edid[61] >> 4 << 8, ==, 768);
    g_assert_cmphex(peek(k, (uint32_t)bar + 200), ==, 0);

    g_assert_cmphex((unsigned)aspace_read(k->m->mmio, bar + 0x500, 2), ==, 0xb0c5);
    g_assert_cmpuint((unsigned)aspace_read(k->m->mmio, bar + 0x514, 2), ==, 256);
    g_assert_cmpuint((unsigned)aspace_read(k->m->mmio, bar + 0x600, 4), ==, 8);
    g_assert_cmphex((unsigned)aspace_read(k->m->mmio, bar + 0x604, 4), ==, 0x1e1e1e1e);
    aspace_write(k->m->mmio, bar + 0x604, 0x1e1e1e1e, 4);

    aspace_write(k->m->mmio, bar + 0x402, 0x01, 1); /* misc: colour */
    aspace_read(k->m->mmio, bar + 0x41a, 1);        /* status 1: flip-flop */
    aspace_write(k->m->mmio, bar + 0x400, 0x20, 1); /* screen on */
    static const struct {
        unsigned index, value;
    } set[] = {{4, 0},    {3, 32},   {1, 1024}, {2, 768}, {5, 0},
               {6, 1024}, {7, 4096}, {8, 0},    {9, 0},   {4, 0x41}};
    for (unsigned i = 0; i < G_N_ELEMENTS(set); i++) {
        aspace_write(k->m->mmio, bar + 0x500 + set[i].index * 2, set[i].value, 2);
    }
    memcpy(k->m->hv->vram + 4 * (1024 * 700 + 5), "\x56\x34\x12", 3);
    struct picture p = look(k, false);
    g_assert_cmpuint(p.width, ==, 1024);
    g_assert_cmpuint(p.height, ==, 768);
    g_assert_cmphex(p.pixels[1024 * 700 + 5], ==, 0x123456);
    aspace_write(k->m->mmio, bar + 0x604, 0xbebebebe, 4);
    p = look(k, false);
    g_assert_cmphex(p.pixels[1024 * 700 + 5], ==, 0x341200);
    aspace_write(k->m->mmio, bar + 0x41e - 0x10, 0x5a08, 2); /* 3CE: index and data in one word */
    g_assert_cmphex(in_indexed(k, 0x3ce, 8), ==, 0x5a);
    kit_free(k);
}

static struct device *try_device(struct machine *m, const char *property, const char *value,
                                 GError **err)
{
    struct device *dev = device_new(m, &std_vga_class, NULL, err);
    g_assert_nonnull(dev);
    if (device_set(dev, property, value, err) < 0 ||
        pci_device_attach(m->pci, (struct pci_device *)dev, DEVFN, err) < 0 ||
        device_realize(dev, err) < 0) {
        device_free(dev);
        return NULL;
    }
    return dev;
}

static void test_errors(void)
{
    struct machine *m = fake_machine_new();
    g_autoptr(GError) err = NULL;

    g_assert_null(try_device(m, "romfile", "/nonexistent/vgabios.bin", &err));
    g_assert_nonnull(strstr(err->message, "/nonexistent/vgabios.bin"));
    g_clear_error(&err);
    g_assert_null(try_device(m, "vgamem_mb", "0", &err));
    g_clear_error(&err);
    g_assert_null(try_device(m, "vgamem_mb", "1000000", &err));
    g_clear_error(&err);
    m->hv->fail_populate = -ENOMEM;
    g_assert_null(try_device(m, "vgamem_mb", "8", &err));
    g_assert_nonnull(strstr(err->message, "8 MiB"));
    g_clear_error(&err);
    m->hv->fail_populate = 0;
    fake_machine_free(m);
}

static void test_rom(void)
{
    g_autofree char *file = NULL;
    char image[1024] = {0x55, (char)0xaa, 2};
    struct machine *m = fake_machine_new();
    int fd = g_file_open_tmp("xendm-XXXXXX", &file, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, image, sizeof(image)), ==, sizeof(image));
    close(fd);
    g_autofree char *rom = g_strdup_printf("romfile=%s", file);
    g_assert_nonnull(fake_pci_device(m, &std_vga_class, DEVFN, rom, "vgamem_mb=20", NULL));
    g_assert_cmpuint(m->hv->vram_pages, ==, 20 * 256); /* what was asked for … */
    pci_config_write(m->pci, DEVFN, 0x10, 0xffffffff, 4);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0x10, 4), ==,
                    0xfe000008); /* … in a BAR of 32 MiB */
    pci_config_write(m->pci, DEVFN, 0x30, 0xfffff800, 4);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0x30, 4) & ~0x7ffu, !=, 0);
    fake_machine_free(m);
    g_unlink(file);
}

/* ---- hostile guest ---- */

static void test_fuzz(void)
{
    struct kit *k = kit_new("2");
    GRand *r = g_rand_new_with_seed(0x3c0);
    unsigned pictures = 0;

    assign_bars(k);
    for (unsigned i = 0; i < 200000; i++) {
        uint32_t n = g_rand_int(r), v = g_rand_int(r);
        unsigned size = 1u << (n & 1);
        switch (n >> 4 & 15) {
        case 0 ... 4:
            aspace_write(k->m->pio, 0x3b0 + (n >> 8) % 0x30, v & 0xffff, size);
            break;
        case 5:
            aspace_read(k->m->pio, 0x3b0 + (n >> 8) % 0x30, size);
            break;
        case 6: /* keep it likely that something is shown */
            outb(k, 0x3c2, v | 1);
            inb(k, 0x3da);
            outb(k, 0x3c0, 0x20);
            out_indexed(k, 0x3c4, 1, v & 0xdf);
            break;
        case 7:
            out_indexed(k, 0x3d4, 0x11, 0);
            out_indexed(k, 0x3d4, (n >> 8) % 25, v);
            break;
        case 8:
            dispi(k, (n >> 8) % 12, v & 1 ? v >> 16 : (v >> 16) & 0x3ff);
            break;
        case 9:
            dispi(k, 4, v & 0xff);
            break;
        case 10:
        case 11:
            aspace_write(k->m->mmio, 0xa0000 + (n >> 8) % 0x20000, (uint64_t)v << 32 | n,
                         1u << (n & 3));
            break;
        case 12:
            aspace_read(k->m->mmio, 0xa0000 + (n >> 8) % 0x20000, 1u << (n & 3));
            break;
        case 13:
            aspace_write(k->m->mmio, 0xf3000000 + (n >> 8) % 0x700, (uint64_t)v << 32 | n,
                         1u << (n & 3));
            aspace_read(k->m->mmio, 0xf3000000 + (v >> 8) % 0x700, 1u << (v & 3));
            break;
        case 14:
            fake_clock_step(k->m, v);
            break;
        default:
            dispi(k, 4, 0);
            break;
        }
        if (i % 500 == 0) {
            struct picture p = look(k, v & 1);
            if (p.pixels) {
                g_assert_cmpuint(p.width, <=, DISPLAY_WIDTH_MAX);
                g_assert_cmpuint(p.height, <=, DISPLAY_HEIGHT_MAX);
                pictures++;
            }
        }
    }
    g_assert_cmpuint(pictures, >, 300);
    g_rand_free(r);
    kit_free(k);
}

/* ---- state ---- */

static void test_state(void)
{
    struct kit *a = kit_new("2"), *b = kit_new("2");
    GRand *r = g_rand_new_with_seed(7);

    assign_bars(a);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 200; i++) {
            uint32_t n = g_rand_int(r);
            aspace_write(a->m->pio, n & 0x10000 ? 0x1ce + (n >> 8) % 2 : 0x3c0 + (n >> 8) % 0x1b,
                         n & 0xff, n & 0x10000 ? 2 : 1);
        }
        machine_stop(a->m);
        machine_stop(b->m);
        fake_state_round_trip(a->dev, b->dev);
        g_assert_cmphex(b->m->hv->vram_gfn, ==, a->m->hv->vram_gfn);
        machine_start(a->m);
        machine_start(b->m);
    }
    set_mode(a, &mode_text);
    load_font(a, 0, 0);
    struct text t;
    fill_text(a, &t);
    machine_stop(a->m);
    machine_stop(b->m);
    fake_state_round_trip(a->dev, b->dev);
    memcpy(b->m->hv->vram, a->m->hv->vram, 2 << 20);
    machine_start(a->m);
    machine_start(b->m);
    struct picture pa = look(a, true), pb = look(b, true);
    g_assert_cmpmem(pa.pixels, pa.width * pa.height * 4, pb.pixels, pb.width * pb.height * 4);
    g_rand_free(r);
    kit_free(a);
    kit_free(b);
}

/*
 * A picture is drawn in parts. What the guest does meanwhile, another mode included, is shown by
 * the next one at the latest, and the one under way ends all the same.
 */
static void test_parts(void)
{
    struct kit *k = kit_new("2");
    unsigned width, height;

    assign_bars(k);
    set_vbe(k, 640, 480, 32);
    look(k, true);
    display_set_slice(k->display, 100);
    uint8_t *vram = k->m->hv->vram;
    vram[640 * 4 * 10] = 0x11;
    vram[640 * 4 * 400] = 0x22;
    display_refresh(k->watch, true);
    const uint32_t *pixels = display_pixels(k->display, &width, &height);
    g_assert_cmphex(pixels[640 * 10], ==, 0x11);
    g_assert_cmphex(pixels[640 * 400], ==, 0);
    poke(k, 0xa0000 + 640 * 4 * 10, 0x33); /* through us, where it is drawn already */
    set_vbe(k, 320, 200, 8);
    display_finish(k->display);
    pixels = display_pixels(k->display, &width, &height);
    g_assert_cmpuint(width, ==, 640);
    g_assert_cmphex(pixels[640 * 10], ==, 0x11);
    look(k, false);
    pixels = display_pixels(k->display, &width, &height);
    g_assert_cmpuint(width, ==, 320);

    set_vbe(k, 640, 480, 32);
    look(k, true);
    k->m->hv->dirty = g_new0(uint64_t, 64);
    display_refresh(k->watch, false);
    display_finish(k->display);
    display_refresh(k->watch, true);
    poke(k, 0xa0000 + 640 * 4 * 10, 0x44);
    display_finish(k->display);
    struct picture p = look(k, false); /* nothing but our own list says that it changed */
    g_assert_cmphex(p.pixels[640 * 10], ==, 0x44);

    dispi(k, 4, 0);
    display_refresh(k->watch, true);
    machine_reset(k->m, RESET_COLD);
    display_finish(k->display);
    display_refresh(k->watch, true); /* the chip goes in the middle */
    g_clear_pointer(&k->m->hv->dirty, g_free);
    kit_free(k);
}

/* A domain that is restored has the video memory already, where it was; the device finds it by its
 * state. */
static void test_restored(void)
{
    struct kit *a = kit_new("2");
    struct machine *m = fake_machine_new();
    struct display *d = m->display = display_new();
    unsigned w, h;

    m->restored = true;
    assign_bars(a);
    set_vbe(a, 640, 480, 32);
    machine_stop(a->m);
    struct device *dev = fake_pci_device(m, &std_vga_class, DEVFN, "vgamem_mb=2", NULL);
    g_assert_null(m->hv->vram); /* nothing was populated */
    g_assert_nonnull(look_at(d, true, &w, &h));
    m->hv->vram = g_malloc0(2 << 20);
    m->hv->vram_gfn = a->m->hv->vram_gfn;
    m->hv->vram_pages = 512;
    m->hv->vram[640 * 4 * 10] = 0x77;
    fake_state_round_trip(a->dev, dev);
    g_assert_cmpuint(m->hv->relocations, ==, 0);
    g_assert_true(m->hv->write_combine);
    struct display_watch *watch = display_watch(d, &viewer, a);
    const uint32_t *pixels = look_at(d, true, &w, &h);
    g_assert_cmpuint(w, ==, 640);
    g_assert_cmphex(pixels[640 * 10], ==, 0x77);
    display_unwatch(watch);
    fake_machine_free(m);
    display_free(d);

    /* Memory that is not there, or another amount of it, is refused. */
    static const char *const memory[] = {"vgamem_mb=2", "vgamem_mb=4"};
    static const char *const why[] = {"cannot map the video memory at gfn 0x",
                                      "1024 pages here, 512"};

    for (unsigned i = 0; i < G_N_ELEMENTS(memory); i++) {
        m = fake_machine_new();
        m->restored = true;
        dev = fake_pci_device(m, &std_vga_class, DEVFN, memory[i], NULL);
        GByteArray *bytes = g_byte_array_new();
        g_autoptr(GError) err = NULL;
        state_save(std_vga_class.state, a->dev, bytes);
        struct state_plan *plan = state_parse_sized(std_vga_class.state, std_vga_class.size,
                                                    bytes->data, bytes->len, &err);
        g_assert_no_error(err);
        g_assert_false(state_fits(plan, dev, &err));
        g_assert_nonnull(strstr(err->message, why[i]));
        state_plan_free(plan);
        g_byte_array_free(bytes, TRUE);
        fake_machine_free(m);
    }
    kit_free(a);
}

static void test_move_fails(void)
{
    struct kit *k = kit_new("2");
    struct hypervisor *hv = k->m->hv;
    uint64_t first = hv->vram_gfn;

    hv->vram_pages = 1; /* makes the fake refuse */
    assign_bars(k);
    g_assert_cmphex(hv->vram_gfn, ==, first);
    g_assert_false(hv->write_combine);
    hv->vram_pages = 512;
    config_write(k, 0x10, 0xf2000000, 4); /* the next one works, from the old place */
    g_assert_cmphex(hv->vram_gfn, ==, 0xf2000);
    kit_free(k);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vga/registers", test_registers);
    g_test_add_func("/vga/retrace", test_retrace);
    g_test_add_func("/vga/planes", test_planes);
    g_test_add_func("/vga/text", test_text);
    g_test_add_func("/vga/underline-40-columns", test_underline_40);
    g_test_add_func("/vga/fonts", test_fonts);
    g_test_add_func("/vga/mode-13h", test_mode_13h);
    g_test_add_func("/vga/planar", test_planar);
    g_test_add_func("/vga/cga", test_cga);
    g_test_add_func("/vga/vbe-registers", test_vbe_registers);
    g_test_add_func("/vga/vbe-pictures", test_vbe_pictures);
    g_test_add_func("/vga/any-width", test_any_width);
    g_test_add_func("/vga/dirty", test_dirty);
    g_test_add_func("/vga/place", test_place);
    g_test_add_func("/vga/bars", test_bars);
    g_test_add_func("/vga/mmio", test_mmio);
    g_test_add_func("/vga/errors", test_errors);
    g_test_add_func("/vga/rom", test_rom);
    g_test_add_func("/vga/fuzz", test_fuzz);
    g_test_add_func("/vga/state", test_state);
    g_test_add_func("/vga/parts", test_parts);
    g_test_add_func("/vga/restored", test_restored);
    g_test_add_func("/vga/move-fails", test_move_fails);
    return g_test_run();
}
