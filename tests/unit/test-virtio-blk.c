/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtio disk: requests, errors, resets and moves with requests under way, noise. */
#include <errno.h>

#include "virtio-fixture.h"

static const char *const plain[] = {"serial=abc", "num-queues=2", NULL};

static void blk_new(struct box *b)
{
    b->connect = NULL;
    b->populate = NULL;
    box_new(b, &virtio_blk_class, plain);
}

#define F_FLUSH (1u << 9)
#define F_WCE (1u << 11)

static void test_requests(void)
{
    struct box b;

    blk_new(&b);
    start(&b, F_INDIRECT | F_FLUSH | F_WCE | 1u << 13 | 1u << 14, 1);
    memset(mem(&b, DATA), 0x5a, 4096);
    g_assert_cmphex(blk_do(&b, 1, 100, DATA, 4096), ==, 0);
    g_assert_cmphex(b.disk->data[100 * 512 + 4095], ==, 0x5a);
    g_assert_cmphex(blk_do(&b, 4, 0, 0, 0), ==, 0);
    g_assert_cmpuint(b.disk->submitted[BLOCK_FLUSH], ==, 1);
    g_assert_cmphex(blk_do(&b, 8, 0, DATA, 20), ==, 0);
    g_assert_cmpmem(mem(&b, DATA), 5, "abc\0\0", 5);
    g_assert_cmphex(blk_do(&b, 8, 0, DATA, 2), ==, 0);
    memset(mem(&b, DATA), 0, 16);
    store_le64(mem(&b, DATA), 102);
    store_le32(mem(&b, DATA) + 8, 2);
    g_assert_cmphex(blk_do(&b, 11, 0, DATA, 16), ==, 0);
    g_assert_cmpuint(b.disk->submitted[BLOCK_DISCARD], ==, 1);
    g_assert_cmphex(b.disk->data[102 * 512], ==, 0);
    g_assert_cmphex(b.disk->data[104 * 512], ==, 0x5a);
    store_le64(mem(&b, DATA), 106);
    g_assert_cmphex(blk_do(&b, 13, 0, DATA, 16), ==, 0);
    g_assert_cmpuint(b.disk->submitted[BLOCK_ZERO], ==, 1);
    g_assert_cmphex(b.disk->data[106 * 512], ==, 0);
    g_assert_cmphex(blk_do(&b, 2, 0, DATA, 16), ==, 2);
    g_assert_cmphex(blk_do(&b, 10, 0, DATA, 16), ==, 2);
    g_assert_cmphex(blk_do(&b, 14, 0, DATA, 16), ==, 2);
    g_assert_cmphex(blk_do(&b, 0x80000000, 5, DATA, 512), ==, 0); /* legacy barrier, a read */
    box_free(&b);
}

static void test_bad_requests(void)
{
    static const struct {
        uint32_t type;
        uint64_t sector;
        uint32_t len;
        uint8_t status;
    } bad[] = {
        {0, SECTORS, 512, 1},
        {0, SECTORS - 1, 1024, 1},
        {0, UINT64_MAX, 512, 1},
        {0, UINT64_MAX - 1, 1024, 1},
        {0, UINT64_C(1) << 55, 512, 1}, /* sector * 512 goes round */
        {0, 0, 511, 1},
        {1, 0, 513, 1},
        {1, SECTORS, 512, 1},
        {0, SECTORS, 0, 0}, /* nothing, at the end */
    };
    static const struct {
        uint32_t type;
        uint64_t sector;
        uint32_t count, flags;
        uint32_t len;
        uint8_t status;
    } ranges[] = {
        {11, SECTORS, 1, 0, 16, 1},     {11, 0, 0x400000, 0, 16, 1}, {11, 0, UINT32_MAX, 0, 16, 1},
        {11, UINT64_MAX, 8, 0, 16, 1},  {11, 0, 8, 1, 16, 2},        {13, 0, 8, 2, 16, 2},
        {13, SECTORS - 1, 2, 1, 16, 1}, {11, 0, 8, 0, 32, 2},        {13, 0, 8, 0, 8, 2},
        {11, 0, 0, 0, 16, 0},
    };
    struct box b;

    log_set_level("all", "error");
    blk_new(&b);
    start(&b, F_INDIRECT, 1);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_cmphex(blk_do(&b, bad[i].type, bad[i].sector, DATA, bad[i].len), ==,
                        bad[i].status);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(ranges); i++) {
        memset(mem(&b, DATA), 0, 32);
        store_le64(mem(&b, DATA), ranges[i].sector);
        store_le32(mem(&b, DATA) + 8, ranges[i].count);
        store_le32(mem(&b, DATA) + 12, ranges[i].flags);
        g_assert_cmphex(blk_do(&b, ranges[i].type, 0, DATA, ranges[i].len), ==, ranges[i].status);
    }
    g_assert_cmphex(blk_do(&b, 0, 0, NO_MEMORY, 512), ==, 1);
    g_assert_cmphex(blk_do(&b, 1, 0, BAR, 512), ==, 1);
    g_assert_cmphex(STATUS(&b), ==, 0x0f);
    b.disk->read_only = true;
    g_assert_cmphex(blk_do(&b, 1, 0, DATA, 512), ==, 1);
    g_assert_cmphex(offered(&b) & 0x20, ==, 0x20);
    g_assert_cmphex(blk_do(&b, 0, 0, DATA, 512), ==, 0);
    box_free(&b);
}

static void test_host_errors(void)
{
    struct box b;

    log_set_level("all", "error");
    blk_new(&b);
    start(&b, F_FLUSH, 1);
    b.disk->bad_sector = 7;
    b.disk->fail[BLOCK_READ] = b.disk->fail[BLOCK_WRITE] = -EIO;
    b.disk->fail[BLOCK_FLUSH] = -ENOSPC;
    g_assert_cmphex(blk_do(&b, 0, 0, DATA, 4096), ==, 1);
    g_assert_cmphex(blk_do(&b, 1, 7, DATA, 512), ==, 1);
    g_assert_cmphex(blk_do(&b, 4, 0, 0, 0), ==, 1);
    g_assert_cmphex(blk_do(&b, 0, 8, DATA, 4096), ==, 0);
    box_free(&b);
}

/* 5.2.5: a cache when the driver can flush it, or says so; the switch holds until a reset. */
static void test_write_cache(void)
{
    struct box b;

    blk_new(&b);
    g_assert_cmphex(rd(&b, 0x2020, 1), ==, 1);
    start(&b, F_FLUSH | F_WCE, 1);
    wr(&b, 0x2020, 0, 1);
    g_assert_cmphex(rd(&b, 0x2020, 1), ==, 0);
    box_move(&b);
    g_assert_cmphex(rd(&b, 0x2020, 1), ==, 0);
    b.disk->hold = true;
    blk(&b, 0, 1, 3, DATA, 512);
    g_assert_cmphex(((struct block_request *)g_queue_peek_head(&b.disk->pending))->flags, ==,
                    BLOCK_FUA);
    fake_block_complete_all(b.disk);
    wr(&b, 0x2020, 1, 1);
    blk(&b, 0, 1, 3, DATA, 512);
    g_assert_cmphex(((struct block_request *)g_queue_peek_head(&b.disk->pending))->flags, ==, 0);
    fake_block_complete_all(b.disk);
    start(&b, 0, 1); /* a driver without flush */
    blk(&b, 0, 1, 3, DATA, 512);
    g_assert_cmphex(((struct block_request *)g_queue_peek_head(&b.disk->pending))->flags, ==,
                    BLOCK_FUA);
    wr(&b, 0x2020, 0, 1); /* was not negotiated */
    g_assert_cmphex(rd(&b, 0x2020, 1), ==, 1);
    box_free(&b);
}

/* More than a list holds, and pieces of all lengths: goes in parts, and all of it arrives. */
static void test_pieces(void)
{
    struct buffer bufs[200];
    struct box b;
    uint64_t total = 0;
    uint32_t len;

    blk_new(&b);
    start(&b, F_INDIRECT, 1);
    wr(&b, 0x14, 0, 1);
    negotiate(&b, F_V1 | F_INDIRECT);
    queue_up(&b, 0, 256, true);
    wr(&b, 0x14, 0x0f, 1);
    memset(mem(&b, HEADERS), 0, 64);
    bufs[0] = (struct buffer){HEADERS, 16, false};
    for (unsigned i = 1; i < 199; i++) {
        len = i % 3 == 0 ? 512 : i % 3 == 1 ? 100 : 412;
        bufs[i] = (struct buffer){DATA + i * 5120, len, true};
        total += len;
    }
    bufs[199] = (struct buffer){HEADERS + 32, 1, true};
    g_assert_cmpuint(total % 512, ==, 0);
    for (unsigned i = 0; i < 200; i++) {
        desc(&b, 0, i, bufs[i].gpa, bufs[i].len, (bufs[i].write ? WRITE : 0) | (i < 199 ? NEXT : 0),
             i + 1);
    }
    store_le16(mem(&b, DRIVER(0) + 2), 1);
    kick(&b, 0);
    settle(&b);
    g_assert_cmpuint(load_le16(mem(&b, DEVICE(0) + 2)), ==, 1);
    g_assert_cmpuint(load_le32(mem(&b, DEVICE(0) + 8)), ==, total + 1);
    g_assert_cmpuint(b.disk->submitted[BLOCK_READ], ==, 2);
    for (unsigned i = 1, at = 0; i < 199; at += bufs[i].len, i++) {
        g_assert_cmpmem(mem(&b, bufs[i].gpa), bufs[i].len, b.disk->data + at, bufs[i].len);
    }
    box_free(&b);
}

/* 4 GiB in one descriptor: a part at a time, until the end of memory says no. */
static void test_huge(void)
{
    struct box b;

    log_set_level("all", "error");
    blk_new(&b);
    start(&b, F_INDIRECT, 1);
    g_assert_cmphex(blk_do(&b, 0, 0, DATA, 0xfffffe00), ==, 1);
    g_assert_cmphex(blk_do(&b, 0, 0, DATA, 3u << 20), ==, 0);
    g_assert_cmpuint(b.disk->largest, <=, 1u << 20);
    g_assert_cmpuint(sector_at(&b, DATA + (3u << 20) - 512), ==, 6143);
    box_free(&b);
}

/* What is in flight when the driver starts anew: nobody uses its memory before it is back. */
static void test_reset(void)
{
    struct box b;
    uint32_t len;

    blk_new(&b);
    start(&b, F_INDIRECT, 2);
    b.disk->hold = true;
    blk(&b, 0, 0, 5, DATA, 512);
    blk(&b, 1, 0, 6, DATA + 512, 512);
    wr(&b, 0x14, 0, 1); /* held until the host gave everything back */
    g_assert_true(device_is_held(b.dev));
    g_assert_true(fake_block_complete(b.disk, 0));
    g_assert_true(device_is_held(b.dev));
    g_assert_true(fake_block_complete(b.disk, 0));
    g_assert_false(device_is_held(b.dev));
    g_assert_cmphex(STATUS(&b), ==, 0);
    start(&b, F_INDIRECT, 2);
    g_assert_false(used(&b, 0, NULL, &len));

    /* one queue alone */
    start(&b, F_INDIRECT | F_RESET, 2);
    blk(&b, 0, 0, 5, DATA, 512);
    blk(&b, 1, 0, 6, DATA + 512, 512);
    wr(&b, 0x16, 1, 2);
    wr(&b, 0x3a, 1, 2);
    g_assert_true(device_is_held(b.dev));
    fake_block_complete_all(b.disk);
    g_assert_false(device_is_held(b.dev));
    g_assert_cmphex(rd(&b, 0x1c, 2), ==, 0);
    g_assert_cmphex(rd(&b, 0x3a, 2), ==, 0);
    settle(&b);
    g_assert_true(used(&b, 0, NULL, &len));
    g_assert_false(used(&b, 1, NULL, &len));
    b.q[1] = (struct driver_queue){.avail_wrap = true, .used_wrap = true};
    memset(mem(&b, RING(1)), 0, 0x4000);
    queue_up(&b, 1, ENTRIES, true);
    blk(&b, 1, 0, 6, DATA + 512, 512);
    fake_block_complete_all(b.disk);
    settle(&b);
    g_assert_true(used(&b, 1, NULL, &len));

    /* the machine's: nobody waits, and a start that comes early finds its requests later */
    blk(&b, 0, 0, 5, DATA, 512);
    machine_reset(b.m, RESET_COLD);
    box_place(&b);
    start(&b, F_INDIRECT, 1);
    blk(&b, 0, 0, 9, DATA + 4096, 512);
    g_assert_cmpuint(b.disk->pending.length, ==, 1);
    b.disk->hold = false;
    fake_block_complete_all(b.disk);
    settle(&b);
    g_assert_true(used(&b, 0, NULL, &len));
    g_assert_cmpuint(sector_at(&b, DATA + 4096), ==, 9);
    box_free(&b);
}

static void test_legacy_reset(void)
{
    struct box b;

    blk_new(&b);
    start_legacy(&b, 0, 1);
    b.disk->hold = true;
    desc(&b, 0, 0, HEADERS, 16, NEXT, 1);
    desc(&b, 0, 1, DATA, 512, NEXT | WRITE, 2);
    desc(&b, 0, 2, HEADERS + 32, 1, WRITE, 0);
    memset(mem(&b, HEADERS), 0, 33);
    store_le16(mem(&b, RING(0) + 4096 + 2), 1);
    out(&b, 0x10, 0, 2);
    g_assert_cmpuint(b.disk->pending.length, ==, 1);
    out(&b, 0x12, 0, 1);
    g_assert_true(device_is_held(b.dev));
    fake_block_complete_all(b.disk);
    g_assert_false(device_is_held(b.dev));
    box_free(&b);
}

/* Called back by a stop, begun again elsewhere; or ended during it. */
static void test_move(void)
{
    static const uint64_t kinds[] = {F_INDIRECT, F_PACKED, F_PACKED | F_INDIRECT};

    for (unsigned i = 0; i < G_N_ELEMENTS(kinds) * 2; i++) {
        static const char *const packed[] = {"packed=on", "queue-size=16", NULL};
        struct box b = {.connect = NULL};
        uint16_t id[3], got = 0;
        uint32_t len;

        box_new(&b, &virtio_blk_class, packed);
        start(&b, kinds[i / 2], 1);
        b.disk->hold = true;
        b.disk->cancel_works = i & 1;
        for (unsigned r = 0; r < 3; r++) {
            id[r] = blk(&b, 0, r == 1, 5 + r, DATA + r * 512, 512);
        }
        memset(mem(&b, DATA + 512), 0x77, 512);
        box_move(&b);
        b.disk->hold = false;
        settle(&b);
        for (unsigned r = 0; r < 3; r++) {
            g_assert_true(used(&b, 0, &got, &len));
            g_assert_cmphex(got, ==, id[r]);
        }
        g_assert_false(used(&b, 0, &got, &len));
        g_assert_cmpuint(sector_at(&b, DATA), ==, 5);
        g_assert_cmphex(b.disk->data[6 * 512 + 511], ==, 0x77);
        g_assert_cmpuint(sector_at(&b, DATA + 1024), ==, 7);
        box_free(&b);
    }
}

/* Numbers and positions of a stream are refused, or harm nobody but their guest. */
static void test_hostile_state(void)
{
    static const char *const fields[] = {"saved", "pieces", "queue", "out", "in", "vq", "head"};
    g_autoptr(GByteArray) saved = g_byte_array_new();
    GRand *rand = g_rand_new_with_seed(3);
    unsigned taken = 0;
    struct box b;

    log_set_level("all", "error");
    blk_new(&b);
    start(&b, F_INDIRECT, 2);
    b.disk->hold = b.disk->cancel_works = true;
    blk(&b, 0, 0, 5, DATA, 512);
    blk(&b, 1, 0, 6, DATA, 4096);
    machine_stop(b.m);
    fake_block_complete_all(b.disk);
    g_assert_cmpint(machine_save(b.m, saved, NULL), ==, 0);
    for (unsigned i = 0; i < 1500; i++) {
        g_autoptr(GByteArray) bad = g_byte_array_new();
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
        const char *field = fields[i % G_N_ELEMENTS(fields)];
        guint body = saved->len - 40; /* the end: type, length, checksum */
        gsize size = 32;
        uint8_t *name;

        g_byte_array_append(bad, saved->data, saved->len);
        name = memmem(bad->data, body, field, strlen(field));
        for (unsigned n = 0; n < 1 + i % 3; n++) {
            guint at = (guint)g_rand_int_range(rand, 0, (int)body);

            if (name && i % 2) {
                at = (guint)(name - bad->data) + (guint)g_rand_int_range(rand, 0, 40);
            }
            bad->data[MIN(at, body - 1)] = (uint8_t)g_rand_int(rand);
        }
        g_checksum_update(sum, bad->data, body);
        g_checksum_get_digest(sum, bad->data + body + 8, &size);
        if (box_load(&b, bad)) {
            g_autoptr(GByteArray) again = g_byte_array_new();

            taken++;
            machine_start(b.m);
            settle(&b);
            machine_stop(b.m);
            fake_block_complete_all(b.disk);
            g_assert_cmpint(machine_save(b.m, again, NULL), ==, 0);
        }
    }
    g_assert_cmpuint(taken, >, 100);
    g_rand_free(rand);
    g_assert_true(box_load(&b, saved));
    machine_start(b.m);
    box_free(&b);
}

/* More requests than there is room for: the rest waits in the rings. */
static void test_full(void)
{
    static const char *const deep[] = {"num-queues=1", "queue-size=256", NULL};
    struct box b = {.connect = NULL};

    box_new(&b, &virtio_blk_class, deep);
    negotiate(&b, F_V1);
    queue_up(&b, 0, 256, true);
    wr(&b, 0x14, 0x0f, 1);
    b.disk->hold = true;
    memset(mem(&b, HEADERS), 0, 64);
    desc(&b, 0, 0, HEADERS, 16, NEXT, 1);
    desc(&b, 0, 1, DATA, 512, NEXT | WRITE, 2);
    desc(&b, 0, 2, HEADERS + 32, 1, WRITE, 0);
    store_le16(mem(&b, DRIVER(0) + 2), 256); /* the same one, 256 times */
    kick(&b, 0);
    settle(&b);
    g_assert_cmpuint(b.disk->pending.length, ==, 128);
    b.disk->hold = false;
    fake_block_complete_all(b.disk);
    settle(&b);
    g_assert_cmpuint(load_le16(mem(&b, DEVICE(0) + 2)), ==, 256);
    box_free(&b);
}

static void test_noise(void)
{
    GRand *rand = g_rand_new_with_seed(1);
    static const char *const everything[] = {"packed=on", "in_order=on", "num-queues=4", NULL};
    struct box b = {.connect = NULL};

    log_set_level("all", "error");
    box_new(&b, &virtio_blk_class, everything);
    b.disk->hold = true;
    for (unsigned i = 0; i < 60000; i++) {
        if (i % 500 == 0 && !device_is_held(b.dev)) {
            start(&b, i & 512 ? F_INDIRECT | F_EVENT : F_PACKED | F_INDIRECT, 4);
        }
        if (g_rand_int(rand) % 4 == 0) {
            store_le32(mem(&b, RING((unsigned)g_rand_int_range(rand, 0, 4)) +
                                   (unsigned)g_rand_int_range(rand, 0, 0x900) * 4),
                       g_rand_int(rand) & 0x8087);
        }
        if (!device_is_held(b.dev)) {
            unsigned reg = (unsigned)g_rand_int_range(rand, 0, 8);

            if (reg == 0) {
                wr(&b, (unsigned)g_rand_int_range(rand, 0, 0x40), g_rand_int(rand), 4);
            } else if (reg < 6) {
                kick(&b, reg - 1);
            } else {
                out(&b, (unsigned)g_rand_int_range(rand, 0, 0x50), g_rand_int(rand), 4);
            }
        }
        if (g_rand_int(rand) % 8 == 0) {
            fake_block_complete(b.disk, 0);
            settle(&b);
        }
    }
    fake_block_complete_all(b.disk);
    g_rand_free(rand);
    b.disk->hold = false;
    start(&b, F_INDIRECT, 1);
    g_assert_cmphex(blk_do(&b, 0, 5, DATA, 512), ==, 0);
    box_free(&b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-blk/requests", test_requests);
    g_test_add_func("/virtio-blk/bad-requests", test_bad_requests);
    g_test_add_func("/virtio-blk/host-errors", test_host_errors);
    g_test_add_func("/virtio-blk/write-cache", test_write_cache);
    g_test_add_func("/virtio-blk/pieces", test_pieces);
    g_test_add_func("/virtio-blk/huge", test_huge);
    g_test_add_func("/virtio-blk/reset", test_reset);
    g_test_add_func("/virtio-blk/legacy-reset", test_legacy_reset);
    g_test_add_func("/virtio-blk/move", test_move);
    g_test_add_func("/virtio-blk/hostile-state", test_hostile_state);
    g_test_add_func("/virtio-blk/full", test_full);
    g_test_add_func("/virtio-blk/noise", test_noise);
    return g_test_run();
}
