/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PV frame buffer: pictures of all depths, what the front end says it changed, other modes,
 * what a hostile one may write, and a live update. Frames are pages of the fake's.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>
#include <xen/xen.h>
#include <xen/io/fbif.h>

#include <xendm/backend.h>
#include <xendm/display.h>
#include <xendm/handover.h>

#include "fake-pv.h"

#define BACK "/local/domain/0/backend/vfb/7/0"
#define FRONT "/local/domain/7/device/vfb/0"
#define PORT 5u
#define PAGE 1u      /* the shared one */
#define DIRECTORY 2u /* … and up to three more */
#define PIXELS 10u   /* the first of the frame buffer's */

const struct backend_class *const *backend_classes(void)
{
    static const struct backend_class *const classes[] = {NULL};

    return classes;
}

struct world {
    struct pv_host host;
    struct pv_bus *bus;
    struct xenfb_page *page;
    uint8_t *pixels;
    struct display_watch *watch;
    unsigned changed, damaged;
    unsigned x0, y0, x1, y1; /* of what was damaged */
};

static void on_resized(void *opaque, unsigned width, unsigned height)
{
}

static void on_damaged(void *opaque, unsigned x, unsigned y, unsigned width, unsigned height)
{
    struct world *w = opaque;

    if (!w->damaged++) {
        w->x0 = x;
        w->y0 = y;
        w->x1 = w->y1 = 0;
    }
    w->x0 = MIN(w->x0, x);
    w->y0 = MIN(w->y0, y);
    w->x1 = MAX(w->x1, x + width);
    w->y1 = MAX(w->y1, y + height);
}

static void on_changed(void *opaque)
{
    ((struct world *)opaque)->changed++;
}

static const struct display_viewer viewer = {.resized = on_resized,
                                             .damaged = on_damaged,
                                             .changed = on_changed};

static void set(struct world *w, const char *path, const char *value)
{
    fake_xenstore_set(w->host.xs, path, "%s", value);
}

static void expect(struct world *w, const char *path, const char *value)
{
    g_assert_cmpstr(fake_xenstore_get(w->host.xs, path), ==, value);
}

static struct world *world_new(void)
{
    struct world *w = g_new0(struct world, 1);

    fake_pv_host_open(&w->host);
    set(w, FRONT "/state", "1");
    set(w, BACK "/frontend", FRONT);
    set(w, BACK "/frontend-id", "7");
    set(w, BACK "/online", "1");
    set(w, BACK "/state", "1");
    w->bus = pv_bus_new(&w->host, pv_classes());
    w->watch = display_watch(w->host.display, &viewer, w);
    g_assert_cmpint(pv_bus_start(w->bus, NULL), ==, 0);
    fake_pv_settle();
    expect(w, BACK "/state", "2");
    expect(w, BACK "/feature-resize", "1");
    return w;
}

static void world_free(struct world *w)
{
    display_unwatch(w->watch);
    fake_xenstore_remove(w->host.xs, BACK);
    fake_pv_host_close(&w->host, w->bus);
    g_free(w);
}

static void front_state(struct world *w, unsigned state)
{
    fake_xenstore_set(w->host.xs, FRONT "/state", "%u", state);
    fake_pv_settle();
}

/* A frame buffer in the pages from PIXELS on, all of them named in one directory page. */
static void front_prepares(struct world *w, unsigned width, unsigned height, unsigned depth)
{
    unsigned bytes = width * height * depth / 8, pages = (bytes + 4095) / 4096;
    uint64_t *directory;

    w->page = fake_grant_page(PAGE);
    memset(w->page, 0, 4096);
    w->pixels = fake_grant_page(PIXELS);
    memset(w->pixels, 0, (size_t)pages * 4096);
    directory = fake_grant_page(DIRECTORY);
    for (unsigned i = 0; i < pages; i++) {
        directory[i] = PIXELS + i;
    }
    w->page->width = (int32_t)width;
    w->page->height = (int32_t)height;
    w->page->line_length = width * depth / 8;
    w->page->mem_length = bytes;
    w->page->depth = (uint8_t)depth;
    w->page->pd[0] = DIRECTORY;
    fake_xenstore_set(w->host.xs, FRONT "/page-ref", "%u", PAGE);
    fake_xenstore_set(w->host.xs, FRONT "/event-channel", "%u", PORT);
    set(w, FRONT "/protocol", "x86_64-abi");
    set(w, FRONT "/feature-update", "1");
}

static void front_connects(struct world *w, unsigned width, unsigned height, unsigned depth)
{
    front_prepares(w, width, height, depth);
    front_state(w, 3);
    expect(w, BACK "/state", "4");
    front_state(w, 4);
}

static void say(struct world *w, const union xenfb_out_event *e)
{
    XENFB_OUT_RING_REF(w->page, w->page->out_prod) = *e;
    w->page->out_prod++;
    fake_evtchn_ring(PORT);
    fake_pv_settle();
}

static void update(struct world *w, int x, int y, int width, int height)
{
    union xenfb_out_event e = {
        .update = {.type = XENFB_TYPE_UPDATE, .x = x, .y = y, .width = width, .height = height}};

    say(w, &e);
}

static void resize(struct world *w, int width, int height, int stride, int depth, int offset)
{
    union xenfb_out_event e = {.resize = {.type = XENFB_TYPE_RESIZE,
                                          .width = width,
                                          .height = height,
                                          .stride = stride,
                                          .depth = depth,
                                          .offset = offset}};

    say(w, &e);
}

static const uint32_t *look(struct world *w, bool full, unsigned width, unsigned height)
{
    unsigned shown_width = 0, shown_height = 0;
    const uint32_t *pixels;

    w->damaged = 0;
    display_refresh(w->watch, full);
    fake_pv_settle();
    pixels = display_pixels(w->host.display, &shown_width, &shown_height);
    g_assert_nonnull(pixels);
    g_assert_cmpuint(shown_width, ==, width);
    g_assert_cmpuint(shown_height, ==, height);
    return pixels;
}

static void expect_damage(struct world *w, unsigned x0, unsigned y0, unsigned x1, unsigned y1)
{
    g_assert_cmpuint(w->damaged, >, 0);
    g_assert_cmpuint(w->x0, ==, x0);
    g_assert_cmpuint(w->y0, ==, y0);
    g_assert_cmpuint(w->x1, ==, x1);
    g_assert_cmpuint(w->y1, ==, y1);
}

/* ---- what it is for ---- */

static void test_picture(void)
{
    struct world *w = world_new();
    const uint32_t *shown;

    front_connects(w, 64, 48, 32);
    expect(w, BACK "/request-update", "1");
    ((uint32_t *)(void *)w->pixels)[64 * 2 + 3] = 0xff123456;
    shown = look(w, true, 64, 48);
    g_assert_cmphex(shown[64 * 2 + 3], ==, 0x123456);
    ((uint32_t *)(void *)w->pixels)[64 * 7 + 9] = 0xabcdef;
    shown = look(w, false, 64, 48); /* it has said nothing: nothing is looked at */
    g_assert_cmphex(shown[64 * 7 + 9], ==, 0);
    g_assert_cmpuint(w->damaged, ==, 0);
    update(w, 8, 6, 4, 3);
    g_assert_cmpuint(w->changed, >, 0);
    g_assert_cmpuint(w->page->out_cons, ==, 1);
    g_assert_cmpuint(fake_evtchn_rung(PORT), >, 0);
    shown = look(w, false, 64, 48);
    g_assert_cmphex(shown[64 * 7 + 9], ==, 0xabcdef);
    expect_damage(w, 8, 7, 12, 8); /* of what it said, the rows that differ */
    world_free(w);
}

/* A front end that does not say what it changes: all is looked at, each time. */
static void test_silent(void)
{
    struct world *w = world_new();

    front_prepares(w, 64, 48, 32);
    set(w, FRONT "/feature-update", "0");
    front_state(w, 3);
    expect(w, BACK "/state", "4");
    expect(w, BACK "/request-update", "");
    look(w, true, 64, 48);
    ((uint32_t *)(void *)w->pixels)[64 * 7 + 9] = 0xabcdef;
    g_assert_cmphex(look(w, false, 64, 48)[64 * 7 + 9], ==, 0xabcdef);
    expect_damage(w, 0, 7, 64, 8);
    world_free(w);
}

static void test_depths(void)
{
    static const struct {
        unsigned depth;
        uint8_t bytes[4];
        uint32_t shown;
    } cases[] = {
        {8, {0xe0}, 0xff0000},
        {8, {0x1f}, 0x00ffff},
        {16, {0x00, 0xf8}, 0xff0000},
        {16, {0xe0, 0x07}, 0x00ff00},
        {24, {0x56, 0x34, 0x12}, 0x123456},
        {32, {0x56, 0x34, 0x12, 0xff}, 0x123456},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct world *w = world_new();
        unsigned step = cases[i].depth / 8;

        front_connects(w, 16, 4, cases[i].depth);
        memcpy(w->pixels + (16 + 5) * step, cases[i].bytes, step);
        g_assert_cmphex(look(w, true, 16, 4)[16 + 5], ==, cases[i].shown);
        world_free(w);
    }
}

static void test_resize(void)
{
    struct world *w = world_new();

    front_connects(w, 64, 48, 32);
    look(w, true, 64, 48);
    ((uint32_t *)(void *)(w->pixels + 4096))[33] = 0x778899;
    resize(w, 32, 16, 128, 32, 4096);
    g_assert_cmphex(look(w, false, 32, 16)[33], ==, 0x778899);
    resize(w, 64, 48, 256, 32, 0);
    look(w, false, 64, 48);
    world_free(w);
}

/* A 32-bit guest's directory has entries of four bytes, from another place on. */
static void test_32_bit(void)
{
    struct world *w = world_new();
    uint32_t *directory, pd = DIRECTORY;

    front_prepares(w, 64, 48, 32);
    set(w, FRONT "/protocol", "x86_32-abi");
    memcpy((uint8_t *)w->page + 36, &pd, sizeof(pd));
    directory = fake_grant_page(DIRECTORY);
    for (unsigned i = 0; i < 3; i++) {
        directory[i] = PIXELS + i;
    }
    front_state(w, 3);
    expect(w, BACK "/state", "4");
    ((uint32_t *)(void *)w->pixels)[64 * 47] = 0x010203;
    g_assert_cmphex(look(w, true, 64, 48)[64 * 47], ==, 0x010203);
    world_free(w);
}

/* More than one directory page: 513 pages of pixels. */
static void test_large(void)
{
    struct world *w = world_new();
    uint64_t *second;

    front_prepares(w, 1, 1, 32);
    w->page->width = 1024;
    w->page->height = 513;
    w->page->line_length = 4096;
    w->page->mem_length = 513 * 4096;
    w->page->pd[1] = DIRECTORY + 1;
    for (unsigned i = 0; i < 512; i++) {
        ((uint64_t *)fake_grant_page(DIRECTORY))[i] = PIXELS + i;
    }
    second = fake_grant_page(DIRECTORY + 1);
    second[0] = PIXELS + 512;
    front_state(w, 3);
    expect(w, BACK "/state", "4");
    ((uint32_t *)(void *)w->pixels)[512 * 1024 + 1023] = 0x00c0de;
    g_assert_cmphex(look(w, true, 1024, 513)[512 * 1024 + 1023], ==, 0x00c0de);
    world_free(w);
}

/* ---- states ---- */

static void test_reconnect(void)
{
    struct world *w = world_new();

    for (unsigned i = 0; i < 3; i++) {
        front_connects(w, 64, 48, 32);
        look(w, true, 64, 48);
        if (i != 1) { /* else a kexec, without a word */
            front_state(w, 5);
            front_state(w, 6);
            g_assert_cmpuint(fake_foreign_mapped, ==, 0);
            g_assert_cmpuint(fake_evtchn_bound(), ==, 0);
        }
        front_state(w, 1);
        expect(w, BACK "/state", "2");
    }
    world_free(w);
}

/* There is no head: beside a machine, where the toolstack gives none, or a strange one does. */
static void test_no_head(void)
{
    struct world *w = world_new();
    struct display *display = w->host.display;

    fake_xenstore_remove(w->host.xs, BACK);
    fake_pv_settle();
    pv_bus_free(w->bus);
    w->host.display = NULL;
    set(w, BACK "/frontend", FRONT);
    set(w, BACK "/frontend-id", "7");
    set(w, BACK "/online", "1");
    set(w, BACK "/state", "1");
    w->bus = pv_bus_new(&w->host, pv_classes());
    g_assert_cmpint(pv_bus_start(w->bus, NULL), ==, 0);
    fake_pv_settle();
    expect(w, BACK "/state", "6");
    w->host.display = display;
    world_free(w);
}

/* ---- a hostile front end ---- */

static void test_bad_modes(void)
{
    static const struct {
        int width, height;
        unsigned stride, bytes, depth;
    } modes[] = {
        {0, 48, 256, 12288, 32},        {64, 0, 256, 12288, 32},           {-1, 48, 256, 12288, 32},
        {64, -1, 256, 12288, 32},       {4097, 1, 16388, 65536, 32},       {64, 48, 255, 12288, 32},
        {64, 48, 256, 12287, 32},       {64, 48, 0xffffffff, 12288, 32},   {64, 48, 256, 0, 32},
        {64, 48, 256, 0xffffffff, 32},  {64, 48, 256, 12288, 0},           {64, 48, 256, 12288, 15},
        {64, 48, 1024, 12288 * 4, 128}, {64, 48, 0x10000, 0x80000000, 32},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++) {
        struct world *w = world_new();

        front_prepares(w, 64, 48, 32);
        w->page->width = modes[i].width;
        w->page->height = modes[i].height;
        w->page->line_length = modes[i].stride;
        w->page->mem_length = modes[i].bytes;
        w->page->depth = (uint8_t)modes[i].depth;
        front_state(w, 3);
        expect(w, BACK "/state", "5");
        g_assert_cmpuint(fake_foreign_mapped, ==, 0);
        world_free(w);
    }
}

/* Frames that nobody has, in the key, in the page, in the directory. */
static void test_bad_frames(void)
{
    for (unsigned i = 0; i < 4; i++) {
        struct world *w = world_new();

        front_prepares(w, 64, 48, 32);
        if (i == 0) {
            set(w, FRONT "/page-ref", "99999");
        } else if (i == 1) {
            w->page->pd[0] = UINT64_C(1) << 52;
        } else if (i == 2) {
            ((uint64_t *)fake_grant_page(DIRECTORY))[2] = 99999;
        } else {
            set(w, FRONT "/protocol", "vax");
        }
        front_state(w, 3);
        expect(w, BACK "/state", "5");
        g_assert_cmpuint(fake_foreign_mapped, ==, 0);
        world_free(w);
    }
}

static void test_bad_events(void)
{
    struct world *w = world_new();
    union xenfb_out_event unknown = {.type = 77};

    front_connects(w, 64, 48, 32);
    look(w, true, 64, 48);
    say(w, &unknown);
    resize(w, 64, 49, 256, 32, 0);
    resize(w, 64, 48, 256, 32, 1);
    resize(w, 64, 48, 256, 32, -256);
    resize(w, INT32_MAX, INT32_MAX, INT32_MAX, 32, 0);
    resize(w, 1, 1, -1, 32, INT32_MIN);
    update(w, INT32_MIN, INT32_MIN, INT32_MAX, INT32_MAX);
    update(w, INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX);
    update(w, 0, 0, -1, -1);
    look(w, false, 64, 48);
    g_assert_cmpuint(w->page->out_cons, ==, 9);
    w->page->out_prod = 9 + XENFB_OUT_RING_LEN + 1;
    fake_evtchn_ring(PORT);
    fake_pv_settle();
    expect(w, BACK "/state", "5");
    g_assert_cmpuint(fake_foreign_mapped, ==, 0);
    display_refresh(w->watch, true);
    fake_pv_settle();
    g_assert_null(display_pixels(w->host.display, &(unsigned){0}, &(unsigned){0}));
    world_free(w);
}

/* XSA-155: what says how large it is may say something else at the next look. There is none. */
static void test_mode_changes(void)
{
    struct world *w = world_new();

    front_connects(w, 64, 48, 32);
    w->page->width = w->page->height = 4096;
    w->page->line_length = 16384;
    w->page->mem_length = 1u << 26;
    w->page->pd[0] = 99999;
    update(w, 0, 0, 4096, 4096);
    look(w, true, 64, 48);
    world_free(w);
}

/* ---- stopped, and handed on ---- */

static void test_update(void)
{
    struct world *w = world_new();
    struct handover *h = handover_new();

    front_connects(w, 64, 48, 32);
    resize(w, 32, 16, 128, 32, 4096);
    pv_bus_pause(w->bus);
    update(w, 0, 0, 4, 4);
    g_assert_cmpuint(w->page->out_cons, ==, 1);
    pv_bus_hand_over(w->bus, h);
    pv_bus_free(w->bus);
    g_assert_cmpuint(fake_foreign_mapped, ==, 0);
    w->page->out_cons = 99; /* ours is what counts */
    w->bus = fake_pv_take_over(&w->host, h);
    g_assert_cmpuint(w->page->out_cons, ==, 2);
    ((uint32_t *)(void *)(w->pixels + 4096))[33] = 0x778899;
    g_assert_cmphex(look(w, false, 32, 16)[33], ==, 0x778899);
    expect(w, BACK "/state", "4");
    handover_free(h);
    world_free(w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pv/fb/picture", test_picture);
    g_test_add_func("/pv/fb/silent", test_silent);
    g_test_add_func("/pv/fb/depths", test_depths);
    g_test_add_func("/pv/fb/resize", test_resize);
    g_test_add_func("/pv/fb/32-bit", test_32_bit);
    g_test_add_func("/pv/fb/large", test_large);
    g_test_add_func("/pv/fb/reconnect", test_reconnect);
    g_test_add_func("/pv/fb/no-head", test_no_head);
    g_test_add_func("/pv/fb/bad-modes", test_bad_modes);
    g_test_add_func("/pv/fb/bad-frames", test_bad_frames);
    g_test_add_func("/pv/fb/bad-events", test_bad_events);
    g_test_add_func("/pv/fb/xsa-155", test_mode_changes);
    g_test_add_func("/pv/fb/update", test_update);
    return g_test_run();
}
