/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtio 9P transport: messages to a server and back, its end, resets, moves, mistakes. */
#include <errno.h>

#include <xendm/backend.h>
#include <xendm/p9.h>

#include "fake-p9.h"
#include "virtio-fixture.h"

#define AT(n) (DATA + (n)*0x2000u)
#define ANSWER(n) (AT(n) + 0x1000u)
#define TREAD 116u
#define RLERROR 7u

struct p9_share {
    struct backend b;
    struct p9_mount *mount;
};

/* Each machine has its own. */
static GPtrArray *shares;

struct p9_mount *p9_share_mount(struct p9_share *s)
{
    return s->mount;
}

static void share_free(gpointer data)
{
    struct p9_share *s = data;

    p9_mount_free(s->mount);
    g_free(s->b.id);
    g_free(s);
}

static struct p9_share *share(void)
{
    return g_ptr_array_index(shares, shares->len - 1);
}

static void connect_share(struct box *b, struct device *dev)
{
    static const struct backend_class class = {.kind = BACKEND_FSDEV, .driver = "fake"};
    static const struct p9_tree tree = {(char *)"/srv", (char *)"none", false};
    struct p9_share *s = g_new0(struct p9_share, 1);

    s->b.class = &class;
    s->b.id = g_strdup("fs");
    s->mount = p9_mount_new(&tree, NULL, NULL);
    g_assert_cmpint(p9_mount_start(s->mount, NULL), ==, 0);
    g_ptr_array_add(shares, s);
    device_set_backend(dev, "fsdev", &s->b);
}

static void p9_new(struct box *b)
{
    static const char *const settings[] = {"mount_tag=share", "packed=on", NULL};

    shares = g_ptr_array_new_with_free_func(share_free);
    b->connect = connect_share;
    b->populate = NULL;
    box_new(b, &virtio_9p_class, settings);
}

static void p9_free(struct box *b)
{
    box_free(b);
    g_ptr_array_unref(shares);
    g_assert_cmpuint(fake_p9_links, ==, 0);
}

/* A message of `len` bytes in two pieces, with room for an answer in two. */
static void ask(struct box *b, unsigned n, unsigned type, uint32_t len, uint32_t room)
{
    struct buffer bufs[] = {{AT(n), 7, false},
                            {AT(n) + 0x100, len - 7, false},
                            {ANSWER(n), 5, true},
                            {ANSWER(n) + 0x100, room - 5, true}};

    memset(mem(b, AT(n)), 0, 0x2000);
    store_le32(mem(b, AT(n)), len);
    mem(b, AT(n))[4] = (uint8_t)type;
    store_le16(mem(b, AT(n)) + 5, 0x4400 + n);
    memset(mem(b, AT(n) + 0x100), 'a' + (int)n, len - 7);
    put(b, 0, bufs, 4, b->features & F_INDIRECT);
    kick(b, 0);
    settle(b);
}

static uint32_t answered(struct box *b)
{
    uint32_t len = 0;

    settle(b);
    return used(b, 0, NULL, &len) ? len : 0;
}

/* Rlerror with EIO, to the message `n`. */
static void failed(struct box *b, unsigned n)
{
    g_assert_cmpuint(answered(b), ==, P9_FAILURE_BYTES);
    g_assert_cmpuint(load_le32(mem(b, ANSWER(n))), ==, P9_FAILURE_BYTES);
    g_assert_cmpuint(mem(b, ANSWER(n))[4], ==, RLERROR);
    g_assert_cmpuint(load_le16(mem(b, ANSWER(n) + 0x100)), ==, 0x4400 + n);
    g_assert_cmpuint(load_le32(mem(b, ANSWER(n) + 0x102)), ==, EIO);
}

static void test_identity(void)
{
    struct box b;

    p9_new(&b);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0, 4), ==, 0x10091af4);
    g_assert_cmphex(offered(&b) & 1, ==, 1);
    g_assert_cmpuint(rd(&b, 0x2000, 2), ==, 5);
    g_assert_cmphex(rd(&b, 0x2002, 4), ==, 0x72616873);
    g_assert_cmphex(rd(&b, 0x2006, 4), ==, 0x65);
    p9_free(&b);
}

static void test_messages(void)
{
    static const uint64_t all[] = {0, F_INDIRECT, F_EVENT, F_PACKED, F_PACKED | F_INDIRECT};
    struct box b;

    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        p9_new(&b);
        start(&b, all[i], 1);
        ask(&b, 0, P9_VERSION, 21, 64);
        g_assert_cmpuint(answered(&b), ==, 0);
        g_assert_true(machine_busy(b.m) || p9_mount_in_flight(share()->mount) == 1);
        g_assert_true(fake_p9_answer(0, 21)); /* what was sent comes back */
        g_assert_cmpuint(answered(&b), ==, 21);
        g_assert_cmpuint(load_le32(mem(&b, ANSWER(0))), ==, 21);
        g_assert_cmpuint(load_le16(mem(&b, ANSWER(0) + 0x100)), ==, 0x4400);
        g_assert_cmpint(memcmp(mem(&b, ANSWER(0) + 0x102), "aaaaaaaaaaaaaa", 14), ==, 0);
        box_move(&b);
        ask(&b, 1, TREAD, 23, 1000);
        g_assert_true(fake_p9_answer(0, 900));
        g_assert_cmpuint(answered(&b), ==, 900);
        p9_free(&b);
    }
}

/* The server has as many as there are slots; more wait in the ring, and nobody asks again. */
static void test_many(void)
{
    struct box b;

    p9_new(&b);
    start(&b, F_INDIRECT, 1);
    for (unsigned n = 0; n < ENTRIES; n++) {
        ask(&b, n, TREAD, 23, 64);
    }
    g_assert_cmpuint(p9_mount_in_flight(share()->mount), ==, P9_SLOTS);
    g_assert_true(fake_p9_answer(3, 23)); /* one overtakes */
    g_assert_cmpuint(answered(&b), ==, 23);
    ask(&b, 3, TREAD, 23, 64);
    g_assert_cmpuint(p9_mount_in_flight(share()->mount), ==, P9_SLOTS);
    for (unsigned n = 0; n < P9_SLOTS; n++) {
        g_assert_true(fake_p9_answer(n, 23));
        g_assert_cmpuint(answered(&b), ==, 23);
    }
    g_assert_false(fake_p9_answer(0, 23));
    p9_free(&b);
}

static void test_server_ends(void)
{
    struct box b;

    log_set_level("all", "error");
    p9_new(&b);
    start(&b, 0, 1);
    ask(&b, 0, TREAD, 23, 64);
    fake_p9_end();
    failed(&b, 0);
    ask(&b, 1, TREAD, 23, 64);
    failed(&b, 1);
    ask(&b, 2, P9_VERSION, 21, 64); /* mounted anew */
    g_assert_true(fake_p9_answer(0, 21));
    g_assert_cmpuint(answered(&b), ==, 21);
    fake_p9_end();
    fake_p9_refuses = true;
    ask(&b, 3, P9_VERSION, 21, 64);
    failed(&b, 3);
    fake_p9_refuses = false;
    p9_free(&b);
}

static void test_resets(void)
{
    struct box b;

    p9_new(&b);
    start(&b, 0, 1);
    ask(&b, 0, TREAD, 23, 64);
    start(&b, 0, 1); /* at once: the server does not see the guest's memory */
    g_assert_true(fake_p9_answer(0, 23));
    g_assert_cmpuint(answered(&b), ==, 0);
    ask(&b, 1, TREAD, 23, 64);
    device_reset(b.dev, RESET_DEVICE);
    g_assert_true(fake_p9_answer(0, 23));
    start(&b, 0, 1);
    ask(&b, 2, TREAD, 23, 64);
    g_assert_true(fake_p9_answer(0, 30));
    g_assert_cmpuint(answered(&b), ==, 30);
    g_assert_cmphex(STATUS(&b), ==, 0x0f);
    p9_free(&b);
}

/* Bus mastering goes off while the server works: the answer waits; on another host it is lost. */
static void test_blocked(void)
{
    struct box b;

    for (unsigned moved = 0; moved < 2; moved++) {
        p9_new(&b);
        start(&b, 0, 1);
        ask(&b, 0, TREAD, 23, 64);
        pci_config_write(b.m->pci, DEVFN, 0x04, 3, 2);
        g_assert_true(fake_p9_answer(0, 23));
        g_assert_cmpuint(answered(&b), ==, 0);
        if (moved) {
            box_move(&b);
        }
        pci_config_write(b.m->pci, DEVFN, 0x04, 7, 2);
        if (moved) {
            failed(&b, 0);
        } else {
            g_assert_cmpuint(answered(&b), ==, 23);
        }
        ask(&b, 1, TREAD, 23, 64);
        g_assert_true(fake_p9_answer(0, 23));
        g_assert_cmpuint(answered(&b), ==, 23);
        p9_free(&b);
    }
}

static void test_stop(void)
{
    struct box b;

    p9_new(&b);
    start(&b, 0, 1);
    ask(&b, 0, TREAD, 23, 64);
    machine_stop(b.m);
    g_assert_true(machine_busy(b.m));
    g_assert_true(fake_p9_answer(0, 23)); /* what is in flight comes back in a stop */
    g_assert_false(machine_busy(b.m));
    g_assert_cmpuint(answered(&b), ==, 23);
    machine_start(b.m);
    p9_free(&b);
}

static void test_hostile(void)
{
    static const struct {
        uint32_t size; /* that the message says */
        struct buffer bufs[2];
    } bad[] = {
        {7, {{AT(0), 6, false}, {ANSWER(0), 64, true}}},
        {7, {{AT(0), 7, false}, {ANSWER(0), 6, true}}},
        {6, {{AT(0), 64, false}, {ANSWER(0), 64, true}}},
        {65, {{AT(0), 64, false}, {ANSWER(0), 64, true}}},
        {UINT32_MAX, {{AT(0), UINT32_MAX, false}, {ANSWER(0), 64, true}}},
        {64, {{NO_MEMORY, 64, false}, {ANSWER(0), 64, true}}},
        {P9_SLOT_SIZE + 1, {{AT(0), P9_SLOT_SIZE + 1, false}, {ANSWER(0), 64, true}}},
    };
    struct buffer out = {AT(0), 23, false}, in = {NO_MEMORY, 64, true};
    struct buffer both[2] = {out, in};
    struct box b;

    log_set_level("all", "error");
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        p9_new(&b);
        start(&b, 0, 1);
        store_le32(mem(&b, AT(0)), bad[i].size);
        put(&b, 0, bad[i].bufs, 2, false);
        kick(&b, 0);
        settle(&b);
        g_assert_cmphex(STATUS(&b), ==, 0x0f | BROKEN);
        g_assert_cmpuint(p9_mount_in_flight(share()->mount), ==, 0);
        p9_free(&b);
    }
    p9_new(&b);
    start(&b, 0, 1);
    store_le32(mem(&b, AT(0)), 23);
    put(&b, 0, both, 2, false); /* an answer in no memory */
    kick(&b, 0);
    g_assert_true(fake_p9_answer(0, 23));
    g_assert_cmphex(STATUS(&b), ==, 0x0f | BROKEN);
    start(&b, 0, 1);
    ask(&b, 0, TREAD, 23, 16); /* one that is longer than its room */
    g_assert_true(fake_p9_answer(0, 100));
    g_assert_cmphex(STATUS(&b), ==, 0x0f | BROKEN);
    p9_free(&b);
}

static void test_noise(void)
{
    GRand *rand = g_rand_new_with_seed(1);
    struct box b;
    uint32_t len;

    log_set_level("all", "error");
    p9_new(&b);
    for (unsigned i = 0; i < 10000; i++) {
        unsigned n = (unsigned)g_rand_int_range(rand, 0, 32);

        if (i % 300 == 0) {
            start(&b, g_rand_boolean(rand) ? F_INDIRECT : 0, 1);
        }
        ask(&b, n, g_rand_boolean(rand) ? TREAD : P9_VERSION,
            (uint32_t)g_rand_int_range(rand, 8, 200), (uint32_t)g_rand_int_range(rand, 6, 200));
        if (g_rand_boolean(rand)) {
            fake_p9_answer(n, (uint32_t)g_rand_int_range(rand, 0, 200));
        }
        if (g_rand_int_range(rand, 0, 50) == 0) {
            fake_p9_end();
        }
        if (g_rand_int_range(rand, 0, 20) == 0) {
            pci_config_write(b.m->pci, DEVFN, 0x04, g_rand_boolean(rand) ? 7 : 3, 2);
        }
        while (used(&b, 0, NULL, &len)) {
        }
        if (i % 991 == 0) {
            while (fake_p9_answer(n, 20)) {
            }
            box_move(&b);
        }
    }
    g_rand_free(rand);
    while (fake_p9_answer(0, 20)) {
    }
    p9_free(&b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-9p/identity", test_identity);
    g_test_add_func("/virtio-9p/messages", test_messages);
    g_test_add_func("/virtio-9p/many", test_many);
    g_test_add_func("/virtio-9p/server-ends", test_server_ends);
    g_test_add_func("/virtio-9p/resets", test_resets);
    g_test_add_func("/virtio-9p/blocked", test_blocked);
    g_test_add_func("/virtio-9p/stop", test_stop);
    g_test_add_func("/virtio-9p/hostile", test_hostile);
    g_test_add_func("/virtio-9p/noise", test_noise);
    return g_test_run();
}
