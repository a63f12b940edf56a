/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Scrolled text that a viewer has already: whatever is found, a viewer that moves and then takes
 * what is left of the damage has the picture.
 */
#include <string.h>

#include <glib.h>

#include "backends/vnc/scroll.h"

#define WIDTH 160u
#define HEIGHT 400u
#define PITCH (WIDTH * 4)

struct screen {
    uint8_t picture[HEIGHT * PITCH], viewer[HEIGHT * PITCH];
    unsigned copied, sent; /* rows, pixels */
};

static struct screen *screen_new(void)
{
    scroll_forget();
    return g_new0(struct screen, 1);
}

static void text_row(struct screen *s, unsigned y, uint32_t seed)
{
    uint32_t *row = (uint32_t *)(s->picture + y * PITCH);

    for (unsigned x = 0; x < WIDTH; x++) {
        seed = seed * 1664525 + 1013904223;
        row[x] = seed >> 30 ? 0 : 0xaaaaaa;
    }
}

static void blank_row(struct screen *s, unsigned y)
{
    memset(s->picture + y * PITCH, 0, PITCH);
}

/* Lines of sixteen rows, of which the last two are blank. */
static void fill(struct screen *s, unsigned first_line)
{
    for (unsigned y = 0; y < HEIGHT; y++) {
        if (y % 16 < 14) {
            text_row(s, y, (first_line + y / 16) * 16 + y % 16 + 1);
        } else {
            blank_row(s, y);
        }
    }
}

static void viewer_moves(struct screen *s, sraRegionPtr copy, int distance)
{
    g_autofree uint8_t *before = g_memdup2(s->viewer, sizeof(s->viewer));
    sraRectangleIterator *it = sraRgnGetIterator(copy);
    sraRect r;

    while (sraRgnIteratorNext(it, &r)) {
        g_assert_cmpint(r.y1 - distance, >=, 0);
        g_assert_cmpint(r.y2 - distance, <=, (int)HEIGHT);
        for (int y = r.y1; y < r.y2; y++) {
            memcpy(s->viewer + (unsigned)y * PITCH, before + (unsigned)(y - distance) * PITCH,
                   PITCH);
            s->copied++;
        }
    }
    sraRgnReleaseIterator(it);
}

static void viewer_takes(struct screen *s, sraRegionPtr damage)
{
    sraRectangleIterator *it = sraRgnGetIterator(damage);
    sraRect r;

    while (sraRgnIteratorNext(it, &r)) {
        for (int y = r.y1; y < r.y2; y++) {
            unsigned at = (unsigned)y * PITCH + (unsigned)r.x1 * 4;

            memcpy(s->viewer + at, s->picture + at, (unsigned)(r.x2 - r.x1) * 4);
            s->sent += (unsigned)(r.x2 - r.x1);
        }
    }
    sraRgnReleaseIterator(it);
}

/* The rows [first, end) may have changed. */
static int update(struct screen *s, unsigned first, unsigned end, bool certain)
{
    sraRegionPtr damage = sraRgnCreateRect(0, (int)first, WIDTH, (int)end);
    sraRegionPtr copy = sraRgnCreate();
    int distance = scroll_find(s->picture, WIDTH, HEIGHT, certain, damage, copy);

    s->copied = s->sent = 0;
    g_assert_true((distance != 0) == !sraRgnEmpty(copy));
    viewer_moves(s, copy, distance);
    viewer_takes(s, damage);
    g_assert_cmpmem(s->picture, sizeof(s->picture), s->viewer, sizeof(s->viewer));
    sraRgnDestroy(damage);
    sraRgnDestroy(copy);
    return distance;
}

static void test_lines(void)
{
    struct screen *s = screen_new();

    fill(s, 100);
    g_assert_cmpint(update(s, 0, HEIGHT, false), ==, 0);
    fill(s, 101);
    g_assert_cmpint(update(s, 0, HEIGHT, true), ==, -16);
    g_assert_cmpuint(s->sent, <=, 16 * WIDTH);
    fill(s, 99); /* down by two lines */
    g_assert_cmpint(update(s, 0, HEIGHT, true), ==, 32);
    g_assert_cmpuint(s->sent, <=, 32 * WIDTH);
    fill(s, 100);
    g_assert_cmpint(update(s, 0, HEIGHT, false), ==, 0); /* somebody else drew */
    g_assert_cmpuint(s->sent, ==, HEIGHT * WIDTH);
    g_free(s);
}

/* Nothing changed, or a little: no move, and no row too many. */
static void test_unchanged(void)
{
    struct screen *s = screen_new();

    fill(s, 1);
    update(s, 0, HEIGHT, false);
    g_assert_cmpint(update(s, 0, HEIGHT, true), ==, 0);
    g_assert_cmpuint(s->sent, ==, 0);
    text_row(s, 200, 12345);
    g_assert_cmpint(update(s, 0, HEIGHT, true), ==, 0);
    g_assert_cmpuint(s->sent, ==, WIDTH);
    text_row(s, 20, 54321);
    g_assert_cmpint(update(s, 16, 32, true), ==, 0); /* too low to be looked at */
    g_assert_cmpuint(s->sent, ==, 16 * WIDTH);
    g_free(s);
}

/* A part scrolls, below a line that stays. */
static void test_part(void)
{
    struct screen *s = screen_new();

    fill(s, 1);
    update(s, 0, HEIGHT, false);
    memmove(s->picture + 32 * PITCH, s->picture + 48 * PITCH, 200 * PITCH);
    for (unsigned y = 232; y < 248; y++) {
        text_row(s, y, 99999 + y);
    }
    g_assert_cmpint(update(s, 32, 248, true), ==, -16);
    g_assert_cmpuint(s->copied, >=, 170);
    g_assert_cmpuint(s->sent, <=, 30 * WIDTH);
    g_free(s);
}

/* A picture that never repeats is given up, and what comes after that is right all the same. */
static void test_film(void)
{
    struct screen *s = screen_new();

    for (unsigned n = 0; n < 50; n++) {
        for (unsigned y = 0; y < HEIGHT; y++) {
            text_row(s, y, n * 1000 + y + 7);
        }
        g_assert_cmpint(update(s, 0, HEIGHT, n > 0), ==, 0);
    }
    for (unsigned n = 0; n < 20; n++) {
        fill(s, n);
        update(s, 0, HEIGHT, true);
    }
    g_assert_cmpuint(s->copied, >, HEIGHT / 2); /* found again */
    g_free(s);
}

/* Anything: moves, changes, uniform rows, damage too large, pictures of others. */
static void test_any(void)
{
    GRand *rand = g_rand_new_with_seed(7);
    struct screen *s = screen_new();

    for (unsigned n = 0; n < 2000; n++) {
        unsigned first = (unsigned)g_rand_int_range(rand, 0, HEIGHT);
        unsigned end = (unsigned)g_rand_int_range(rand, (gint32)first, HEIGHT) + 1;
        unsigned rows = end - first, shift = (unsigned)g_rand_int_range(rand, 0, (gint32)rows);
        unsigned what = (unsigned)g_rand_int_range(rand, 0, 6);

        if (what < 3) {
            memmove(s->picture + first * PITCH, s->picture + (first + shift) * PITCH,
                    (rows - shift) * PITCH);
        } else if (what == 3) {
            memmove(s->picture + (first + shift) * PITCH, s->picture + first * PITCH,
                    (rows - shift) * PITCH);
        }
        for (unsigned y = first; y < end; y++) {
            if (what > 3 || g_rand_int_range(rand, 0, 50) == 0) {
                text_row(s, y, (uint32_t)g_rand_int_range(rand, 1, what == 4 ? 3 : 100000));
            }
        }
        update(s, first, end, g_rand_int_range(rand, 0, 8) != 0);
        if (g_rand_int_range(rand, 0, 100) == 0) {
            scroll_forget();
        }
    }
    g_rand_free(rand);
    g_free(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/scroll/lines", test_lines);
    g_test_add_func("/scroll/unchanged", test_unchanged);
    g_test_add_func("/scroll/part", test_part);
    g_test_add_func("/scroll/film", test_film);
    g_test_add_func("/scroll/any", test_any);
    return g_test_run();
}
