/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtio entropy device: bytes, how many a second, moves, buffers that cannot be. */
#include "virtio-fixture.h"

static void rng_new(struct box *b)
{
    b->connect = NULL;
    b->populate = NULL;
    box_new(b, &virtio_rng_class, NULL);
    start(b, 0, 1);
}

static uint32_t ask(struct box *b, uint32_t len)
{
    struct buffer buf = {DATA, len, true};
    uint32_t written = 0;

    memset(mem(b, DATA), 0, len);
    put(b, 0, &buf, 1, false);
    kick(b, 0);
    settle(b);
    return used(b, 0, NULL, &written) ? written : 0;
}

static void test_bytes(void)
{
    static const uint8_t zeros[32];
    struct box b;
    uint32_t len;

    rng_new(&b);
    g_assert_cmpuint(ask(&b, 64), ==, 64);
    g_assert_cmpint(memcmp(mem(&b, DATA), zeros, 32), !=, 0);
    g_assert_cmpint(memcmp(mem(&b, DATA + 32), zeros, 32), !=, 0);
    g_assert_cmpuint(ask(&b, 65536), ==, 10240 - 64); /* what is left of these 10 ms */
    g_assert_cmpuint(ask(&b, 64), ==, 0);
    box_move(&b);
    g_assert_false(used(&b, 0, NULL, &len));
    fake_clock_step(b.m, 10 * NS_PER_MS);
    settle(&b);
    g_assert_true(used(&b, 0, NULL, &len));
    g_assert_cmpuint(len, ==, 64);
    box_free(&b);
}

static void test_hostile(void)
{
    struct buffer bad[] = {{DATA, 64, false}, {NO_MEMORY, 64, true}, {BAR, 64, true}};
    struct box b;

    log_set_level("all", "error");
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        rng_new(&b);
        put(&b, 0, &bad[i], 1, false);
        kick(&b, 0);
        settle(&b);
        g_assert_cmphex(STATUS(&b), ==, 0x0f | BROKEN);
        start(&b, 0, 1);
        g_assert_cmpuint(ask(&b, 16), ==, 16);
        box_free(&b);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-rng/bytes", test_bytes);
    g_test_add_func("/virtio-rng/hostile", test_hostile);
    return g_test_run();
}
