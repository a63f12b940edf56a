/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cirrus CL-GD5446 as a guest and a viewer see it. Blits are compared with a model that goes byte
 * by byte, everywhere in video memory and over its end, where addresses wrap; that video memory is
 * all they touch is for the sanitizers to say, and for the guards around the fake's memory.
 */
#include <string.h>

#include <glib.h>

#include <xendm/classes.h>
#include <xendm/display.h>
#include <xendm/hold.h>
#include <xendm/pci.h>

#include "fakes.h"
#include "look.h"

#define DEVFN PCI_DEVFN(2, 0)
#define LFB 0xf0000000u
#define APERTURE (LFB + 0x1000000u)
#define MMIO 0xf3000000u
#define BLT (MMIO + 0x100u)
#define VRAM (4u << 20)

struct kit {
    struct machine *m;
    struct device *dev;
    struct display *display;
    struct display_watch *watch;
    struct display_cursor cursor;
    unsigned shapes;
    int x, y;
    bool visible;
};

static void on_cursor(void *opaque, const struct display_cursor *c)
{
    struct kit *k = opaque;
    if (c) {
        k->cursor = *c;
        k->shapes++;
    }
}

static void on_moved(void *opaque, int x, int y, bool visible)
{
    struct kit *k = opaque;
    k->x = x, k->y = y, k->visible = visible;
}

static void on_damage(void *opaque, unsigned x, unsigned y, unsigned w, unsigned h)
{
}

static const struct display_viewer viewer = {
    .damaged = on_damage,
    .cursor_set = on_cursor,
    .cursor_moved = on_moved,
};

static void map_bars(struct kit *k)
{
    pci_config_write(k->m->pci, DEVFN, 0x10, LFB, 4);
    pci_config_write(k->m->pci, DEVFN, 0x14, MMIO, 4);
    pci_config_write(k->m->pci, DEVFN, 0x04, 3, 2);
}

static void settle(struct kit *k)
{
    while (device_is_held(k->dev)) {
        g_main_context_iteration(NULL, TRUE);
    }
}

static struct kit *kit_new(void)
{
    struct kit *k = g_new0(struct kit, 1);

    k->m = fake_machine_new();
    k->display = k->m->display = display_new();
    k->dev = fake_pci_device(k->m, &cirrus_vga_class, DEVFN, "vgamem_mb=8", NULL);
    machine_complete(k->m);
    machine_start(k->m);
    map_bars(k);
    settle(k);
    k->watch = display_watch(k->display, &viewer, k);
    return k;
}

static void kit_free(struct kit *k)
{
    settle(k);
    fake_machine_free(k->m);
    display_unwatch(k->watch);
    display_free(k->display);
    g_free(k);
}

static void indexed(struct kit *k, unsigned port, unsigned index, unsigned value)
{
    aspace_write(k->m->pio, port, value << 8 | index, 2);
    settle(k);
}

static unsigned get(struct kit *k, unsigned port, unsigned index)
{
    aspace_write(k->m->pio, port, index, 1);
    return (unsigned)aspace_read(k->m->pio, port + 1, 1);
}

static void sr(struct kit *k, unsigned index, unsigned value)
{
    indexed(k, 0x3c4, index, value);
}

static void gr(struct kit *k, unsigned index, unsigned value)
{
    indexed(k, 0x3ce, index, value);
}

static void poke(struct kit *k, uint32_t address, uint64_t value, unsigned size)
{
    aspace_write(k->m->mmio, address, value, size);
    settle(k);
}

static uint64_t peek(struct kit *k, uint32_t address, unsigned size)
{
    return aspace_read(k->m->mmio, address, size);
}

static bool busy(struct kit *k)
{
    return peek(k, BLT + 0x40, 1) & 1;
}

/* ---- the model ---- */

struct blit {
    uint8_t mode, rop, ext, clip;
    uint16_t key;
    uint32_t fg, bg, width, height, dst_pitch, src_pitch, dst, src;
};

enum { UP = 1, FROM_CPU = 4, KEYED = 8, PATTERN = 0x40, EXPAND = 0x80 };

static uint8_t model_rop(uint8_t rop, uint8_t s, uint8_t d)
{
    switch (rop) {
    case 0x00:
        return 0;
    case 0x05:
        return s & d;
    case 0x09:
        return s & ~d;
    case 0x0b:
        return ~d;
    case 0x0d:
        return s;
    case 0x0e:
        return 0xff;
    case 0x50:
        return ~s & d;
    case 0x59:
        return s ^ d;
    case 0x6d:
        return s | d;
    case 0x90:
        return ~s | ~d;
    case 0x95:
        return ~(s ^ d);
    case 0xad:
        return s | ~d;
    case 0xd0:
        return ~s;
    case 0xd6:
        return ~s | d;
    case 0xda:
        return ~s & ~d;
    default:
        return d;
    }
}

static const uint8_t rops[] = {0x00, 0x05, 0x06, 0x09, 0x0b, 0x0d, 0x0e, 0x50, 0x59,
                               0x6d, 0x90, 0x95, 0xad, 0xd0, 0xd6, 0xda, 0x77};

static uint8_t *at(uint8_t *vram, uint32_t address)
{
    return vram + (address & (VRAM - 1));
}

/* One pixel of up to `n` bytes from `from`, byte after byte; `step` 1 or, going up, -1. */
static void model_pixel(uint8_t *vram, const struct blit *b, uint32_t to, const uint8_t *from,
                        unsigned n, unsigned pixel)
{
    uint8_t result[4];
    unsigned value = 0;

    for (unsigned i = 0; i < n; i++) {
        result[i] = model_rop(b->rop, from[i], *at(vram, to + i));
        value |= (unsigned)result[i] << 8 * i;
    }
    if (!(b->mode & (PATTERN | EXPAND)) && (b->mode & KEYED) &&
        value == (pixel == 1 ? b->key & 0xffu : b->key)) {
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        *at(vram, to + i) = result[i];
    }
}

static void model_copy(uint8_t *vram, const struct blit *b, unsigned pixel)
{
    unsigned n = b->mode & KEYED ? pixel : 1;

    for (uint32_t y = 0; y < b->height; y++) {
        for (uint32_t x = 0; x < b->width; x += n) {
            uint32_t to = b->dst + y * b->dst_pitch + x, from = b->src + y * b->src_pitch + x;
            uint8_t bytes[4];
            if (b->mode & UP) {
                to = b->dst - y * b->dst_pitch - x - (n - 1);
                from = b->src - y * b->src_pitch - x - (n - 1);
            }
            for (unsigned i = 0; i < n; i++) {
                bytes[i] = *at(vram, from + i);
            }
            model_pixel(vram, b, to, bytes, n, pixel);
        }
    }
}

/* Expansion, patterns, solid; `data`: from the CPU, or the pattern, else rows of bits at src. */
static void model_other(uint8_t *vram, const struct blit *b, unsigned pixel, const uint8_t *data)
{
    uint32_t pixels = (b->width + pixel - 1) / pixel;
    uint32_t bits = b->ext & 1 ? (pixels + 31) / 32 * 4 : (pixels + 7) / 8;
    bool opaque = !(b->mode & KEYED), bytes24 = pixel == 3 && !((b->mode & EXPAND) && opaque);
    bool solid = (b->ext & 4) && (b->mode & EXPAND) && (b->mode & PATTERN) && opaque;
    uint32_t skip = bytes24 ? b->clip & 31 : (b->clip & 7) * pixel;
    uint32_t first = bytes24 ? (b->clip & 31) / 3 : b->clip & 7;

    for (uint32_t y = 0; y < b->height; y++) {
        uint8_t row[0x800];
        for (uint32_t i = 0; i <= bits; i++) { /* read before the row is drawn */
            row[i] = *at(vram, b->src + y * bits + i);
        }
        for (uint32_t x = solid ? 0 : skip, n = first; x < b->width; x += pixel, n++) {
            const uint8_t *from;
            if (solid) {
                from = (const uint8_t *)&b->fg;
            } else if (b->mode & EXPAND) {
                unsigned byte = b->mode & PATTERN ? data[(b->src + y) & 7]
                                : data            ? data[y * bits + n / 8]
                                                  : row[n / 8];
                bool one = byte & 0x80 >> (n & 7);
                if (!opaque && one == ((b->ext & 2) != 0)) {
                    continue;
                }
                from = (const uint8_t *)(one ? &b->fg : &b->bg);
            } else {
                from = data + ((b->src + y) & 7) * (pixel == 3 ? 32 : pixel * 8) + (n & 7) * pixel;
            }
            model_pixel(vram, b, b->dst + y * b->dst_pitch + x, from, MIN(pixel, b->width - x),
                        pixel);
        }
    }
}

static uint32_t model_pattern_size(const struct blit *b, unsigned pixel)
{
    return b->mode & EXPAND ? 8 : pixel == 3 ? 256 : 64 * pixel;
}

static void model(uint8_t *vram, const struct blit *b)
{
    unsigned pixel = (b->mode >> 4 & 3) + 1u;
    uint8_t pattern[256];

    if (!(b->mode & (PATTERN | EXPAND))) {
        if (!(b->mode & KEYED) || pixel <= 2) {
            model_copy(vram, b, pixel);
        }
    } else if (b->mode & PATTERN) {
        uint32_t size = model_pattern_size(b, pixel);
        for (uint32_t i = 0; i < size; i++) {
            pattern[i] = *at(vram, (b->src & ~(size - 1)) + i);
        }
        model_other(vram, b, pixel, pattern);
    } else {
        model_other(vram, b, pixel, NULL);
    }
}

/* ---- driving ---- */

static void set_blit(struct kit *k, const struct blit *b)
{
    poke(k, BLT + 0x00, b->bg, 4);
    poke(k, BLT + 0x04, b->fg, 4);
    poke(k, BLT + 0x08, b->width - 1, 2);
    poke(k, BLT + 0x0a, b->height - 1, 2);
    poke(k, BLT + 0x0c, b->dst_pitch, 2);
    poke(k, BLT + 0x0e, b->src_pitch, 2);
    poke(k, BLT + 0x10, b->dst, 4);
    poke(k, BLT + 0x14, b->src, 2);
    poke(k, BLT + 0x16, b->src >> 16, 1);
    poke(k, BLT + 0x17, b->clip, 1);
    poke(k, BLT + 0x18, b->mode, 1);
    poke(k, BLT + 0x1a, b->rop, 1);
    poke(k, BLT + 0x1b, b->ext, 1);
    poke(k, BLT + 0x1c, b->key, 2);
}

static void go(struct kit *k, const struct blit *b)
{
    set_blit(k, b);
    poke(k, BLT + 0x40, 2, 1);
}

static uint8_t *vram_of(struct kit *k)
{
    return k->m->hv->vram;
}

static void noise(uint8_t *p, size_t n)
{
    static uint32_t seed = 1;
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        p[i] = (uint8_t)(seed >> 24);
    }
}

static void same(const uint8_t *a, const uint8_t *b, const struct blit *c)
{
    for (uint32_t i = 0; i < VRAM; i++) {
        if (a[i] != b[i]) {
            g_error("at 0x%x: 0x%x, not 0x%x: mode 0x%x rop 0x%x ext %x clip %x key 0x%x, %ux%u "
                    "from 0x%x,%u to 0x%x,%u",
                    i, a[i], b[i], c->mode, c->rop, c->ext, c->clip, c->key, c->width, c->height,
                    c->src, c->src_pitch, c->dst, c->dst_pitch);
        }
    }
}

static uint32_t some_address(void)
{
    static const uint32_t edges[] = {0, 1, VRAM - 1, VRAM - 64, VRAM / 2};
    return g_test_rand_bit()
               ? (uint32_t)g_test_rand_int_range(0, VRAM)
               : (edges[g_test_rand_int_range(0, 5)] + (uint32_t)g_test_rand_int_range(0, 32)) &
                     (VRAM - 1);
}

static struct blit some_blit(uint8_t mode)
{
    struct blit b = {
        .mode = mode | (uint8_t)(g_test_rand_int_range(0, 4) << 4),
        .rop = rops[g_test_rand_int_range(0, G_N_ELEMENTS(rops))],
        .ext = (uint8_t)g_test_rand_int_range(0, 8),
        .clip = (uint8_t)g_test_rand_int(),
        .key = (uint16_t)g_test_rand_int(),
        .fg = (uint32_t)g_test_rand_int(),
        .bg = (uint32_t)g_test_rand_int(),
        .width = (uint32_t)g_test_rand_int_range(1, g_test_rand_bit() ? 300 : 40),
        .height = (uint32_t)g_test_rand_int_range(1, 20),
        .dst_pitch = (uint32_t)g_test_rand_int_range(0, 0x2000),
        .src_pitch = (uint32_t)g_test_rand_int_range(0, 0x2000),
        .dst = some_address(),
        .src = some_address(),
    };
    unsigned pixel = (b.mode >> 4 & 3) + 1u;

    b.width = MAX(b.width / pixel, 1u) * pixel; /* whole pixels, as every driver has them */
    if (g_test_rand_bit()) {                    /* a scroll: overlaps */
        b.src_pitch = b.dst_pitch;
        b.src = (b.dst + (uint32_t)g_test_rand_int_range(-64, 64) * pixel) & (VRAM - 1);
    }
    if ((b.mode & KEYED) && !(b.mode & (PATTERN | EXPAND)) && g_test_rand_bit()) {
        b.key = g_test_rand_bit() ? 0 : 0xffff;
        b.rop = 0x0e;
    }
    return b;
}

static const uint8_t kinds[] = {0,
                                UP,
                                KEYED,
                                UP | KEYED,
                                PATTERN,
                                EXPAND,
                                PATTERN | EXPAND,
                                EXPAND | KEYED,
                                PATTERN | EXPAND | KEYED};

static void test_blits(void)
{
    struct kit *k = kit_new();
    g_autofree uint8_t *want = g_malloc(VRAM);

    noise(vram_of(k), VRAM);
    memcpy(want, vram_of(k), VRAM);
    for (unsigned i = 0; i < 1500; i++) {
        struct blit b = some_blit(kinds[i % G_N_ELEMENTS(kinds)]);
        model(want, &b);
        go(k, &b);
        g_assert_false(busy(k));
        if (i % 50 == 49 || memcmp(vram_of(k), want, VRAM) != 0) {
            same(vram_of(k), want, &b);
        }
    }
    kit_free(k);
}

/* The bytes in pieces of any size, by one of the three ways. */
static void give(struct kit *k, const uint8_t *data, uint32_t len, unsigned way)
{
    static const uint32_t base[] = {0xa0000, LFB, APERTURE};

    for (uint32_t done = 0; done < len;) {
        unsigned size = 1u << g_test_rand_int_range(0, 4);
        uint64_t value = 0;
        while (size > len - done) {
            size /= 2;
        }
        memcpy(&value, data + done, size);
        g_assert_true(busy(k));
        poke(k, base[way] + (done & 0x7ff8), value, size);
        done += size;
    }
}

static void test_from_cpu(void)
{
    struct kit *k = kit_new();
    g_autofree uint8_t *want = g_malloc(VRAM), *data = g_malloc(VRAM);
    static const uint8_t some[] = {0, EXPAND, EXPAND | KEYED, PATTERN, PATTERN | EXPAND};

    sr(k, 7, 1);
    noise(vram_of(k), VRAM);
    memcpy(want, vram_of(k), VRAM);
    for (unsigned i = 0; i < 300; i++) {
        struct blit b = some_blit(some[i % G_N_ELEMENTS(some)] | FROM_CPU), m = b;
        unsigned pixel = (b.mode >> 4 & 3) + 1u;
        uint32_t pixels = (b.width + pixel - 1) / pixel, len;

        b.ext &= 3;
        m = b;
        m.mode &= ~FROM_CPU;
        noise(data, 256 * 1024);
        if (b.mode & PATTERN) {
            len = model_pattern_size(&b, pixel);
            model_other(want, &m, pixel, data);
        } else if (b.mode & EXPAND) {
            len = (b.ext & 1 ? (pixels + 31) / 32 * 4 : (pixels + 7) / 8) * b.height;
            model_other(want, &m, pixel, data);
        } else {
            uint32_t row = (b.width + 3) & ~3u;
            len = row * b.height;
            for (uint32_t y = 0; y < b.height; y++) {
                for (uint32_t x = 0; x < b.width; x++) {
                    uint8_t *to = at(want, b.dst + y * b.dst_pitch + x);
                    *to = model_rop(b.rop, data[y * row + x], *to);
                }
            }
        }
        go(k, &b);
        give(k, data, len, i % 3);
        g_assert_false(busy(k));
        if (i % 20 == 19) {
            same(vram_of(k), want, &b);
        }
    }
    same(vram_of(k), want, &(struct blit){0});
    kit_free(k);
}

/* ---- the frame buffer is the guest's, but while it has to be trapped ---- */

static void test_trap(void)
{
    struct kit *k = kit_new();
    struct hypervisor *hv = k->m->hv;
    struct blit b = {.mode = FROM_CPU, .rop = 0x0d, .width = 4, .height = 1, .dst = 0x1000};

    g_assert_cmphex(hv->vram_gfn, ==, LFB >> 12);
    g_assert_cmpuint(hv->vram_pages, ==, VRAM >> 12); /* not the eight MiB of vgamem_mb */
    g_assert_null(aspace_find(k->m->mmio, LFB));
    go(k, &b);
    g_assert_cmphex(hv->vram_gfn, ==, (LFB >> 12) + 0x800);
    g_assert_nonnull(aspace_find(k->m->mmio, LFB));
    poke(k, LFB + 0x123, 0x44332211, 4);
    g_assert_false(busy(k));
    g_assert_cmphex(*(uint32_t *)(vram_of(k) + 0x1000), ==, 0x44332211);

    /* It stays aside for the next blit, and goes back to a guest that draws. */
    poke(k, LFB + 0x20, 0x5a, 1);
    g_assert_cmphex(peek(k, LFB + 0x20, 1), ==, 0x5a);
    g_assert_cmphex(vram_of(k)[0x20], ==, 0x5a);
    g_assert_cmphex(hv->vram_gfn, ==, (LFB >> 12) + 0x800);
    for (unsigned i = 0; i < 100 && aspace_find(k->m->mmio, LFB); i++) {
        poke(k, LFB + i, i, 1);
    }
    g_assert_cmphex(hv->vram_gfn, ==, LFB >> 12);
    g_assert_null(aspace_find(k->m->mmio, LFB));

    /* The BAR moves meanwhile; decoding goes off; a reset. */
    go(k, &b);
    pci_config_write(k->m->pci, DEVFN, 0x10, 0xe0000000, 4);
    settle(k);
    g_assert_cmphex(hv->vram_gfn, ==, 0xe0800);
    g_assert_nonnull(aspace_find(k->m->mmio, 0xe0000000));
    g_assert_null(aspace_find(k->m->mmio, LFB));
    pci_config_write(k->m->pci, DEVFN, 0x04, 0, 2);
    settle(k);
    g_assert_null(aspace_find(k->m->mmio, 0xe0000000));
    machine_reset(k->m, RESET_COLD);
    map_bars(k);
    settle(k);
    g_assert_cmphex(hv->vram_gfn, ==, LFB >> 12);
    g_assert_false(busy(k));
    kit_free(k);
}

/* ---- advisories, by number ---- */

static void expect_blit(struct kit *k, const struct blit *b)
{
    g_autofree uint8_t *want = g_malloc(VRAM);

    noise(vram_of(k), VRAM);
    memcpy(want, vram_of(k), VRAM);
    model(want, b);
    go(k, b);
    g_assert_false(busy(k));
    same(vram_of(k), want, b);
}

/* XSA-208, CVE-2017-2615: backward, so that it began before the first byte. */
static void test_208(void)
{
    struct kit *k = kit_new();

    for (uint32_t dst = 0; dst < 0x400; dst += 0x55) {
        expect_blit(k, &(struct blit){.mode = UP,
                                      .rop = 0x0d,
                                      .width = 0x200,
                                      .height = 8,
                                      .dst_pitch = 0x100,
                                      .src_pitch = 0x100,
                                      .dst = dst,
                                      .src = VRAM - 1 - dst});
    }
    kit_free(k);
}

/* XSA-209, CVE-2017-2620: from the CPU to places outside. */
static void test_209(void)
{
    struct kit *k = kit_new();
    g_autofree uint8_t *data = g_malloc(0x2000 * 64), *want = g_malloc(VRAM);
    struct blit b = {.mode = FROM_CPU,
                     .rop = 0x0d,
                     .width = 0x2000,
                     .height = 64,
                     .dst_pitch = 0x1fff,
                     .dst = VRAM - 0x123};

    noise(vram_of(k), VRAM);
    memcpy(want, vram_of(k), VRAM);
    noise(data, 0x2000 * 64);
    for (uint32_t y = 0; y < 64; y++) {
        for (uint32_t x = 0; x < b.width; x++) {
            *at(want, b.dst + y * b.dst_pitch + x) = data[y * b.width + x];
        }
    }
    go(k, &b);
    for (uint32_t i = 0; i < 0x2000 * 64; i += 8) {
        uint64_t value;
        memcpy(&value, data + i, 8);
        poke(k, APERTURE + (i & 0x3ffff8), value, 8);
    }
    g_assert_false(busy(k));
    same(vram_of(k), want, &b);
    kit_free(k);
}

/* CVE-2007-1320, CVE-2008-4539: pitch, width and height each as large as they get, and zero. */
static void test_2007_1320(void)
{
    struct kit *k = kit_new();
    static const uint32_t pitch[] = {0, 1, 0x1fff};

    for (unsigned i = 0; i < 9; i++) {
        expect_blit(k, &(struct blit){.mode = i & 1 ? UP : 0,
                                      .rop = 0x59,
                                      .width = 0x2000,
                                      .height = 33,
                                      .dst_pitch = pitch[i / 3],
                                      .src_pitch = pitch[i % 3],
                                      .dst = VRAM - 1,
                                      .src = i * 0x3ffff});
    }
    kit_free(k);
}

/* CVE-2014-8106: source and destination checked with the other one's pitch. */
static void test_2014_8106(void)
{
    struct kit *k = kit_new();

    expect_blit(k, &(struct blit){.rop = 0x0d,
                                  .width = 16,
                                  .height = 0x800,
                                  .dst_pitch = 16,
                                  .src_pitch = 0x1fff,
                                  .src = VRAM - 17});
    expect_blit(k, &(struct blit){.rop = 0x0d,
                                  .width = 16,
                                  .height = 0x800,
                                  .dst_pitch = 0x1fff,
                                  .src_pitch = 16,
                                  .dst = VRAM - 17});
    kit_free(k);
}

/* CVE-2017-7718, CVE-2017-7980: patterns and solid fills at the end of memory. */
static void test_2017_7980(void)
{
    struct kit *k = kit_new();
    static const uint8_t some[] = {PATTERN, PATTERN | EXPAND, PATTERN | EXPAND | KEYED, EXPAND};

    for (unsigned i = 0; i < 16; i++) {
        expect_blit(k, &(struct blit){.mode = (uint8_t)(some[i % 4] | i / 4 << 4),
                                      .rop = 0x0d,
                                      .ext = i & 4,
                                      .clip = 0x1f,
                                      .fg = 0x11223344,
                                      .width = 0x600,
                                      .height = 7,
                                      .dst_pitch = 0x1ffd,
                                      .dst = VRAM - 3,
                                      .src = VRAM - 1});
    }
    kit_free(k);
}

/* CVE-2016-9921, -9922: a division by a pitch of zero, with and without a mode. */
static void test_2016_9921(void)
{
    struct kit *k = kit_new();

    for (unsigned mode = 0; mode < 2; mode++) {
        sr(k, 7, mode);
        expect_blit(k, &(struct blit){.rop = 0x0d, .width = 40, .height = 40, .src = 1000});
        expect_blit(k, &(struct blit){.mode = UP, .rop = 0x0d, .width = 40, .height = 40});
    }
    kit_free(k);
}

/* XSA-211, CVE-2016-9603: pictures and cursors from beyond video memory. */
static void test_211(void)
{
    struct kit *k = kit_new();
    unsigned width, height;

    for (unsigned i = 0; i < 80; i++) {
        sr(k, 7, 1 | (i % 5) << 1);
        gr(k, 6, 1);
        sr(k, 0x12, 5 | (i & 2) << 1);
        sr(k, 0x13, 0xff);
        sr(k, 0xf0, 0xff);
        sr(k, 0xf1, 0xff);
        aspace_write(k->m->pio, 0x3c2, 1, 1);
        for (unsigned cr = 0; cr < 0x1e; cr++) {
            indexed(k, 0x3d4, cr == 0x11 ? 0x19 : cr, i & 1 ? 0xff : i * 37 + cr * 11);
        }
        aspace_read(k->m->pio, 0x3da, 1);
        aspace_write(k->m->pio, 0x3c0, 0x20, 1);
        g_assert_nonnull(look_at(k->display, i & 1, &width, &height));
        g_assert_cmpuint(width, <=, DISPLAY_WIDTH_MAX);
        g_assert_cmpuint(height, <=, DISPLAY_HEIGHT_MAX);
    }
    kit_free(k);
}

/* ---- a large one takes turns ---- */

static void test_slices(void)
{
    struct kit *k = kit_new();
    struct blit b = {.rop = 0x59, .width = 0x2000, .height = 0x2000, .dst_pitch = 0, .src = 0x100};
    unsigned turns = 0;

    set_blit(k, &b);
    aspace_write(k->m->mmio, BLT + 0x40, 2, 1);
    g_assert_true(device_is_held(k->dev)); /* 64 MiB are more than an access may take */
    while (device_is_held(k->dev)) {
        g_main_context_iteration(NULL, TRUE);
        turns++;
    }
    g_assert_cmpuint(turns, >, 1);
    g_assert_false(busy(k));

    /* Given up in the middle: a reset does not wait for ever, nor leave it running. */
    aspace_write(k->m->mmio, BLT + 0x40, 0, 1);
    aspace_write(k->m->mmio, BLT + 0x40, 2, 1);
    g_assert_true(device_is_held(k->dev));
    machine_reset(k->m, RESET_COLD);
    g_assert_false(device_is_held(k->dev));
    kit_free(k);
}

/* ---- pictures ---- */

/* As drivers set them: CR1 in characters of 8, CR13 in 8 bytes, with CR1B's bit above. */
static void set_mode(struct kit *k, unsigned width, unsigned height, unsigned sr7, unsigned pitch,
                     unsigned hidden)
{
    aspace_write(k->m->pio, 0x3c2, 0x67, 1);
    sr(k, 1, 1);
    sr(k, 7, sr7);
    gr(k, 6, 5);
    indexed(k, 0x3d4, 0x11, 0);
    indexed(k, 0x3d4, 0x01, width / 8 - 1);
    indexed(k, 0x3d4, 0x12, (height - 1) & 0xff);
    indexed(k, 0x3d4, 0x07, ((height - 1) >> 8 & 1) << 1 | ((height - 1) >> 9 & 1) << 6);
    indexed(k, 0x3d4, 0x13, pitch / 8 & 0xff);
    indexed(k, 0x3d4, 0x1b, 0x22 | (pitch / 8 >> 8 & 1) << 4);
    indexed(k, 0x3d4, 0x0c, 0);
    indexed(k, 0x3d4, 0x0d, 0);
    for (unsigned i = 0; i < 4; i++) {
        aspace_read(k->m->pio, 0x3c6, 1);
    }
    aspace_write(k->m->pio, 0x3c6, hidden, 1);
    aspace_read(k->m->pio, 0x3da, 1);
    aspace_write(k->m->pio, 0x3c0, 0x20, 1);
}

static void test_pictures(void)
{
    struct kit *k = kit_new();
    const uint32_t *pixels;
    unsigned width, height;

    set_mode(k, 800, 600, 0x09, 3200, 0xc5); /* more than a byte of pitch */
    noise(vram_of(k), VRAM);
    pixels = look_at(k->display, true, &width, &height);
    g_assert_cmpuint(width, ==, 800);
    g_assert_cmpuint(height, ==, 600);
    for (unsigned i = 0; i < width * height; i++) {
        g_assert_cmphex(pixels[i], ==, ((uint32_t *)vram_of(k))[i] & 0xffffff);
    }
    set_mode(k, 1280, 1024, 0x05, 3840, 0xc5);
    indexed(k, 0x3d4, 0x0d, 3); /* the picture begins 12 bytes later */
    pixels = look_at(k->display, true, &width, &height);
    g_assert_cmpuint(width, ==, 1280);
    for (unsigned i = 0; i < 1280 * 1000; i++) {
        const uint8_t *c = vram_of(k) + 12 + 3 * i;
        g_assert_cmphex(pixels[i], ==, (uint32_t)c[2] << 16 | (uint32_t)c[1] << 8 | c[0]);
    }
    set_mode(k, 800, 600, 0x07, 1600, 0xc1);
    *(uint16_t *)vram_of(k) = 0x07e0;
    pixels = look_at(k->display, true, &width, &height);
    g_assert_cmphex(pixels[0], ==, 0x00ff00);
    set_mode(k, 800, 600, 0x07, 1600, 0xf0);
    *(uint16_t *)vram_of(k) = 0x03e0;
    pixels = look_at(k->display, true, &width, &height);
    g_assert_cmphex(pixels[0], ==, 0x00ff00);
    set_mode(k, 640, 480, 0x01, 640, 0);
    aspace_write(k->m->pio, 0x3c8, 7, 1);
    for (unsigned i = 0; i < 3; i++) {
        aspace_write(k->m->pio, 0x3c9, 0x10 * (i + 1), 1);
    }
    vram_of(k)[641] = 7;
    pixels = look_at(k->display, true, &width, &height);
    g_assert_cmphex(pixels[641], ==, 0x4182c3);

    /* A blit is seen by a picture that draws only what changed. */
    go(k, &(struct blit){.mode = PATTERN | EXPAND,
                         .ext = 4,
                         .rop = 0x0d,
                         .fg = 7,
                         .width = 10,
                         .height = 3,
                         .dst_pitch = 640,
                         .dst = 640 * 100 + 5});
    pixels = look_at(k->display, false, &width, &height);
    g_assert_cmphex(pixels[640 * 102 + 14], ==, 0x4182c3);
    kit_free(k);
}

static void test_cursor(void)
{
    struct kit *k = kit_new();
    uint8_t *pattern;
    unsigned width, height;

    set_mode(k, 640, 480, 0x01, 640, 0);
    sr(k, 0x12, 2); /* its palette */
    aspace_write(k->m->pio, 0x3c8, 0, 1);
    for (unsigned i = 0; i < 3; i++) {
        aspace_write(k->m->pio, 0x3c9, 0x3f, 1);
    }
    aspace_write(k->m->pio, 0x3c8, 15, 1);
    for (unsigned i = 0; i < 3; i++) {
        aspace_write(k->m->pio, 0x3c9, 0x15 * i, 1);
    }
    pattern = vram_of(k) + VRAM - 0x4000 + 3 * 256;
    memset(pattern, 0, 256);
    pattern[0] = 0x50;   /* plane 0: pixels 1 and 3 */
    pattern[128] = 0x30; /* plane 1: pixels 2 and 3 */
    sr(k, 0x13, 3);
    sr(k, 0x70, 0x12);
    sr(k, 0x31, 0x0a);
    look_at(k->display, false, &width, &height);
    g_assert_cmpuint(k->shapes, ==, 0);
    sr(k, 0x12, 1);
    look_at(k->display, false, &width, &height);
    g_assert_cmpuint(k->shapes, ==, 1);
    g_assert_true(k->visible);
    g_assert_cmpint(k->x, ==, 0x93);
    g_assert_cmpint(k->y, ==, 0x51);
    g_assert_cmpuint(k->cursor.width, ==, 32);
    g_assert_cmphex(k->cursor.argb[0], ==, 0);
    g_assert_cmphex(k->cursor.argb[1] >> 24, ==, 0xff);
    g_assert_cmphex(k->cursor.argb[2], ==, 0xffffffff);
    g_assert_cmphex(k->cursor.argb[3], ==, 0xff0055aa);

    sr(k, 0x10, 0x20); /* moves; the shape is the same */
    look_at(k->display, false, &width, &height);
    g_assert_cmpuint(k->shapes, ==, 1);
    g_assert_cmpint(k->x, ==, 0x100);
    pattern[4] = 0xff; /* drawn by the guest, which tells nobody */
    look_at(k->display, false, &width, &height);
    g_assert_cmpuint(k->shapes, ==, 2);
    sr(k, 0x12, 5);
    look_at(k->display, false, &width, &height);
    g_assert_cmpuint(k->cursor.width, ==, 64);
    sr(k, 0x12, 0);
    look_at(k->display, false, &width, &height);
    g_assert_false(k->visible);
    kit_free(k);
}

/* ---- saved state ---- */

static void test_state(void)
{
    struct kit *k = kit_new(), *other = kit_new();
    struct blit b = {.mode = FROM_CPU | EXPAND,
                     .rop = 0x0d,
                     .fg = 0xaa,
                     .bg = 0x55,
                     .width = 64,
                     .height = 4,
                     .dst_pitch = 64,
                     .dst = 0x2000};

    set_mode(k, 1024, 768, 0x07, 2048, 0xc1);
    sr(k, 0x12, 3);
    sr(k, 0x50, 0x11);
    gr(k, 0x0b, 0x21);
    gr(k, 0x09, 0x04);
    fake_state_round_trip(k->dev, other->dev);
    go(k, &b);
    for (unsigned i = 0; i < 11; i++) { /* in the middle of the second row */
        poke(k, APERTURE, 0xf0, 1);
    }
    fake_state_round_trip(k->dev, other->dev);
    g_assert_true(busy(other));
    for (unsigned i = 11; i < 32; i++) {
        g_assert_true(busy(other));
        poke(other, APERTURE, 0x0f, 1);
    }
    g_assert_false(busy(other));
    g_assert_cmphex(vram_of(other)[0x2000 + 64 + 24], ==, 0x55);
    g_assert_cmphex(vram_of(other)[0x2000 + 64 + 28], ==, 0xaa);
    g_assert_cmphex(vram_of(other)[0x2000 + 3 * 64 + 60], ==, 0xaa);
    kit_free(k);
    kit_free(other);
}

static void test_registers(void)
{
    struct kit *k = kit_new();

    aspace_write(k->m->pio, 0x3c2, 1, 1);
    g_assert_cmphex(pci_config_read(k->m->pci, DEVFN, 0, 4), ==, 0x00b81013);
    g_assert_cmphex(get(k, 0x3d4, 0x27), ==, 0xb8);
    g_assert_cmphex(get(k, 0x3c4, 6), ==, 0x0f);
    sr(k, 6, 0x12);
    g_assert_cmphex(get(k, 0x3c4, 6), ==, 0x12);
    gr(k, 0, 0xab);
    g_assert_cmphex(get(k, 0x3ce, 0), ==, 0xab);
    g_assert_cmphex(peek(k, BLT, 1), ==, 0xab);
    for (unsigned i = 0; i < 256; i++) { /* every index, whatever it is, and back */
        sr(k, i, 0xff);
        gr(k, i, 0xff);
        indexed(k, 0x3d4, i, 0xff);
        get(k, 0x3c4, i);
        get(k, 0x3ce, i);
        get(k, 0x3d4, i);
    }
    for (unsigned i = 0; i < 0x1000; i++) {
        poke(k, MMIO + i, 0xff, 1);
        peek(k, MMIO + i, 1);
    }
    machine_reset(k->m, RESET_COLD);
    g_assert_cmphex(get(k, 0x3c4, 0x0f), ==, 0x98);
    kit_free(k);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cirrus/registers", test_registers);
    g_test_add_func("/cirrus/blits", test_blits);
    g_test_add_func("/cirrus/from-cpu", test_from_cpu);
    g_test_add_func("/cirrus/trap", test_trap);
    g_test_add_func("/cirrus/xsa-208-backward-below-zero", test_208);
    g_test_add_func("/cirrus/xsa-209-cpu-beyond-the-end", test_209);
    g_test_add_func("/cirrus/xsa-211-pictures-beyond-the-end", test_211);
    g_test_add_func("/cirrus/cve-2007-1320-extents", test_2007_1320);
    g_test_add_func("/cirrus/cve-2014-8106-pitches", test_2014_8106);
    g_test_add_func("/cirrus/cve-2016-9921-pitch-zero", test_2016_9921);
    g_test_add_func("/cirrus/cve-2017-7980-patterns-at-the-end", test_2017_7980);
    g_test_add_func("/cirrus/slices", test_slices);
    g_test_add_func("/cirrus/pictures", test_pictures);
    g_test_add_func("/cirrus/cursor", test_cursor);
    g_test_add_func("/cirrus/state", test_state);
    return g_test_run();
}
