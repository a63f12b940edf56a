/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address spaces: finding, splitting, widening, block forms, placing; each against a model in the
 * test. */
#include <errno.h>
#include <string.h>

#include <xendm/aspace.h>
#include <xendm/device.h>
#include <xendm/turn.h>

#include "fakes.h"

#define CHIP_SIZE 32u

/* A chip of bytes that checks every access against what it declared. */
struct chip {
    struct region r;
    struct region_ops ops;
    uint8_t bytes[CHIP_SIZE];
    unsigned reads, writes;
    size_t block_limit; /* units that the block forms serve at most */
    unsigned blocks;
};

static void check_access(const struct chip *c, uint64_t offset, unsigned size)
{
    unsigned min = c->ops.impl_min ? c->ops.impl_min : 1;
    unsigned max = c->ops.impl_max ? c->ops.impl_max : 4;

    g_assert_cmpuint(size, >=, min);
    g_assert_cmpuint(size, <=, max);
    g_assert_cmpuint(size & (size - 1), ==, 0);
    g_assert_cmpuint(offset % min, ==, 0);
    g_assert_cmpuint(offset + size, <=, c->r.size);
}

static uint64_t chip_read(void *opaque, uint64_t offset, unsigned size)
{
    struct chip *c = opaque;
    uint64_t value = UINT64_C(0xa5a5a5a5a5a5a5a5); /* bits above `size` are to be ignored */

    check_access(c, offset, size);
    c->reads++;
    memcpy(&value, c->bytes + offset, size);
    return value;
}

static void chip_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct chip *c = opaque;

    check_access(c, offset, size);
    c->writes++;
    g_assert_true(size == 8 || value >> (8 * size) == 0);
    memcpy(c->bytes + offset, &value, size);
}

static size_t chip_read_block(void *opaque, uint64_t offset, void *buf, unsigned size, size_t count)
{
    struct chip *c = opaque;
    size_t n = MIN(count, c->block_limit);

    check_access(c, offset, size);
    c->blocks++;
    memset(buf, 0xb0, n * size);
    return n;
}

static size_t chip_write_block(void *opaque, uint64_t offset, const void *buf, unsigned size,
                               size_t count)
{
    struct chip *c = opaque;
    size_t n = MIN(count, c->block_limit);

    check_access(c, offset, size);
    c->blocks++;
    if (n) {
        memcpy(c->bytes + offset, (const char *)buf + (n - 1) * size, size);
    }
    return n;
}

static void chip_init(struct chip *c, const char *name, struct region_ops ops, uint64_t size)
{
    memset(c, 0, sizeof(*c));
    c->ops = ops;
    for (unsigned i = 0; i < CHIP_SIZE; i++) {
        c->bytes[i] = (uint8_t)(0x10 + i);
    }
    region_init(&c->r, name, &c->ops, c, size);
}

static uint64_t mask(unsigned size)
{
    return size == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
}

static void place(struct aspace *as, struct region *r, uint64_t base)
{
    GError *err = NULL;

    region_place(as, r, base, &err);
    g_assert_no_error(err);
}

/* Every guest size at every offset against every implemented pair of sizes, in both kinds of
 * spaces. */
static void test_sizes(void)
{
    static const unsigned sizes[] = {1, 2, 4, 8};

    for (unsigned bits = 16; bits <= 48; bits += 32) {
        for (unsigned mi = 0; mi < 4; mi++) {
            for (unsigned ma = mi; ma < 4; ma++) {
                for (unsigned si = 0; si < 4; si++) {
                    for (unsigned offset = 0; offset + sizes[si] <= CHIP_SIZE; offset++) {
                        for (int shifts = 0; shifts < 2; shifts++) {
                            struct aspace *as = aspace_new("test", bits);
                            struct region_ops ops = {
                                .read = chip_read,
                                .write = chip_write,
                                .impl_min = (uint8_t)sizes[mi],
                                .impl_max = (uint8_t)sizes[ma],
                                .write_shifts = shifts,
                            };
                            unsigned size = sizes[si], min = sizes[mi];
                            uint64_t value = UINT64_C(0xf1f2f3f4f5f6f7f8), expect = 0;
                            struct chip c;

                            chip_init(&c, "chip", ops, CHIP_SIZE);
                            place(as, &c.r, 0x1000);
                            memcpy(&expect, c.bytes + offset, size);
                            g_assert_cmphex(aspace_read(as, 0x1000 + offset, size), ==, expect);
                            aspace_write(as, 0x1000 + offset, value, size);
                            for (unsigned i = 0; i < CHIP_SIZE; i++) {
                                bool inside = i >= offset && i < offset + size;
                                unsigned first = offset & ~(min - 1);
                                unsigned end = (offset + size + min - 1) & ~(min - 1);
                                bool neighbour = i >= first && i < end;

                                if (inside) {
                                    g_assert_cmphex(c.bytes[i], ==,
                                                    value >> (8 * (i - offset)) & 0xff);
                                } else if (shifts && neighbour) {
                                    g_assert_cmphex(c.bytes[i], ==, 0);
                                } else {
                                    g_assert_cmphex(c.bytes[i], ==, 0x10 + i);
                                }
                            }
                            g_assert_cmpuint(c.r.reads, ==, 1);
                            g_assert_cmpuint(c.r.writes, ==, 1);
                            if (size >= min && size <= sizes[ma] && offset % min == 0) {
                                g_assert_cmpuint(c.writes, ==, 1);
                            }
                            region_remove(&c.r);
                            aspace_free(as);
                        }
                    }
                }
            }
        }
    }
}

static void test_defaults(void)
{
    struct aspace *as = aspace_new("pio", 16);
    struct chip c;

    /* 0 means 1..4: a qword is two dwords. */
    chip_init(&c, "chip", (struct region_ops){.read = chip_read, .write = chip_write}, CHIP_SIZE);
    place(as, &c.r, 0);
    g_assert_cmphex(aspace_read(as, 0, 8), ==, UINT64_C(0x1716151413121110));
    g_assert_cmpuint(c.reads, ==, 2);
    region_remove(&c.r);

    chip_init(&c, "mute", (struct region_ops){.impl_max = 0}, CHIP_SIZE);
    place(as, &c.r, 0);
    g_assert_cmphex(aspace_read(as, 4, 2), ==, 0xffff);
    aspace_write(as, 4, 0, 2);
    g_assert_cmpuint(c.r.reads, ==, 1);
    g_assert_cmpuint(c.r.writes, ==, 1);
    g_assert_cmpuint(aspace_counters(as)->unclaimed_reads, ==, 0);
    region_remove(&c.r);
    aspace_free(as);
}

static void test_guest_rules(void)
{
    struct aspace *as = aspace_new("mmio", 48);
    struct region_ops ops = {
        .read = chip_read,
        .write = chip_write,
        .impl_min = 1,
        .impl_max = 8,
        .guest_min = 2,
        .guest_max = 4,
        .guest_aligned = true,
    };
    struct chip c;

    chip_init(&c, "strict", ops, CHIP_SIZE);
    place(as, &c.r, 0x10000);
    for (unsigned size = 1; size <= 8; size *= 2) {
        for (unsigned offset = 0; offset + size <= CHIP_SIZE; offset++) {
            bool good = size >= 2 && size <= 4 && offset % size == 0;
            uint64_t refused = aspace_counters(as)->refused;
            unsigned writes = c.writes;

            if (!good) {
                g_assert_cmphex(aspace_read(as, 0x10000 + offset, size), ==, mask(size));
                aspace_write(as, 0x10000 + offset, 0, size);
                g_assert_cmpuint(c.writes, ==, writes);
                g_assert_cmpuint(aspace_counters(as)->refused, ==, refused + 2);
            } else {
                g_assert_cmphex(aspace_read(as, 0x10000 + offset, size), !=, mask(size));
                g_assert_cmpuint(aspace_counters(as)->refused, ==, refused);
            }
        }
    }
    region_remove(&c.r);
    aspace_free(as);
}

static void test_borders(void)
{
    struct aspace *as = aspace_new("pio", 16);
    struct region_ops ops = {.read = chip_read, .write = chip_write, .impl_max = 8};
    struct chip a, b, top;

    chip_init(&a, "a", ops, 3);
    chip_init(&b, "b", ops, 2);
    chip_init(&top, "top", ops, 2);
    place(as, &a.r, 0x100);
    place(as, &b.r, 0x103);
    place(as, &top.r, 0xfffe);
    /* a a a b b, then nobody. */
    g_assert_cmphex(aspace_read(as, 0x100, 8), ==, UINT64_C(0xffffff1110121110));
    g_assert_cmphex(aspace_read(as, 0x102, 2), ==, 0x1012);
    g_assert_cmphex(aspace_read(as, 0xff, 2), ==, 0x10ff);
    aspace_write(as, 0x101, 0x44332211, 4);
    g_assert_cmphex(a.bytes[1], ==, 0x11);
    g_assert_cmphex(a.bytes[2], ==, 0x22);
    g_assert_cmphex(b.bytes[0], ==, 0x33);
    g_assert_cmphex(b.bytes[1], ==, 0x44);
    g_assert_cmpuint(aspace_counters(as)->unclaimed_reads, ==, 0);
    /* Over the top of the space is nobody, not the bottom. */
    g_assert_cmphex(aspace_read(as, 0xffff, 4), ==, 0xffffff11);
    aspace_write(as, 0xffff, 0x99887766, 4);
    g_assert_cmphex(top.bytes[1], ==, 0x66);
    g_assert_cmphex(aspace_read(as, UINT64_MAX, 8), ==, UINT64_MAX);
    aspace_write(as, UINT64_MAX - 3, 0, 8);
    g_assert_cmphex(aspace_read(as, 0x5000, 4), ==, 0xffffffff);
    aspace_write(as, 0x5000, 1, 1);
    g_assert_cmpuint(aspace_counters(as)->unclaimed_reads, ==, 2);
    g_assert_cmpuint(aspace_counters(as)->unclaimed_writes, ==, 2);
    region_remove(&a.r);
    region_remove(&b.r);
    region_remove(&top.r);
    region_remove(&top.r);
    aspace_free(as);
}

static int listener_result;
static GString *listener_log;

static int on_add(void *opaque, uint64_t first, uint64_t last)
{
    g_assert_true(opaque == &listener_result);
    g_string_append_printf(listener_log, "+%x-%x ", (unsigned)first, (unsigned)last);
    return listener_result;
}

static void on_del(void *opaque, uint64_t first, uint64_t last)
{
    g_string_append_printf(listener_log, "-%x-%x ", (unsigned)first, (unsigned)last);
}

static void test_place(void)
{
    static const struct aspace_listener listener = {.range_add = on_add, .range_del = on_del};
    struct region_ops ops = {.read = chip_read, .write = chip_write};

    for (unsigned bits = 16; bits <= 48; bits += 32) {
        struct aspace *as = aspace_new("space", bits);
        g_autoptr(GError) err = NULL;
        struct chip a, b;

        listener_log = g_string_new(NULL);
        listener_result = 0;
        aspace_set_listener(as, &listener, &listener_result);
        chip_init(&a, "first-chip", ops, 16);
        chip_init(&b, "second-chip", ops, 16);
        place(as, &a.r, 0x100);
        for (uint64_t at = 0xf1; at <= 0x10f; at++) {
            g_assert_cmpint(region_place(as, &b.r, at, &err), ==, -EBUSY);
            g_assert_error(err, XENDM_ERROR, EBUSY);
            g_assert_nonnull(strstr(err->message, "first-chip"));
            g_assert_nonnull(strstr(err->message, "second-chip"));
            g_clear_error(&err);
        }
        g_assert_cmpint(region_place(as, &a.r, 0x300, &err), ==, -EALREADY);
        g_clear_error(&err);
        g_assert_cmpint(region_place(as, &b.r, (UINT64_C(1) << bits) - 15, NULL), ==, -ERANGE);
        g_assert_cmpint(region_place(as, &b.r, UINT64_MAX, NULL), ==, -ERANGE);
        g_assert_null(b.r.space);
        g_assert_cmpstr(listener_log->str, ==, "+100-10f ");

        /* The hypervisor refuses: nothing stays behind. */
        listener_result = -ENOSPC;
        g_assert_cmpint(region_place(as, &b.r, 0x110, &err), ==, -ENOSPC);
        g_assert_nonnull(strstr(err->message, "second-chip"));
        g_clear_error(&err);
        g_assert_null(aspace_find(as, 0x110));
        g_assert_cmphex(aspace_read(as, 0x110, 1), ==, 0xff);
        listener_result = 0;
        place(as, &b.r, 0x110);
        g_assert_true(aspace_find(as, 0x110) == &b.r);
        g_assert_true(aspace_find(as, 0x10f) == &a.r);
        g_assert_true(aspace_overlaps(as, 0, 0x101));
        g_assert_false(aspace_overlaps(as, 0, 0x100));
        g_assert_false(aspace_overlaps(as, 0x100, 0));
        g_assert_true(aspace_overlaps(as, 0x11f, UINT64_MAX));
        g_assert_false(aspace_overlaps(as, 0x120, UINT64_MAX));

        region_set_hidden(&b.r, true);
        g_assert_cmphex(aspace_read(as, 0x110, 2), ==, 0xffff);
        aspace_write(as, 0x110, 0, 2);
        g_assert_cmpuint(b.writes, ==, 0);
        g_assert_true(aspace_overlaps(as, 0x110, 1));
        region_set_hidden(&b.r, false);
        g_assert_cmphex(aspace_read(as, 0x110, 2), ==, 0x1110);

        region_remove(&a.r);
        g_assert_null(aspace_find(as, 0x100));
        region_remove(&b.r);
        g_assert_cmpstr(listener_log->str, ==, "+100-10f +110-11f +110-11f -100-10f -110-11f ");
        g_string_free(listener_log, TRUE);
        aspace_free(as);
    }
}

static void test_block(void)
{
    struct region_ops ops = {
        .read = chip_read,
        .write = chip_write,
        .read_block = chip_read_block,
        .write_block = chip_write_block,
        .impl_min = 2,
        .impl_max = 4,
    };
    struct aspace *as = aspace_new("pio", 16);
    uint8_t buf[64];
    struct chip c;

    chip_init(&c, "data", ops, 8);
    place(as, &c.r, 0x1f0);
    c.block_limit = SIZE_MAX;
    fake_string_in(as, 0x1f0, buf, 2, 32);
    for (unsigned i = 0; i < 64; i++) {
        g_assert_cmphex(buf[i], ==, 0xb0);
    }
    g_assert_cmpuint(c.reads, ==, 0);
    g_assert_cmpuint(c.r.reads, ==, 32);

    /* Some by block, the rest one by one. */
    c.block_limit = 3;
    fake_string_in(as, 0x1f0, buf, 4, 5);
    g_assert_cmphex(buf[11], ==, 0xb0);
    g_assert_cmpmem(buf + 12, 4, c.bytes, 4);
    g_assert_cmpmem(buf + 16, 4, c.bytes, 4);
    g_assert_cmpuint(c.reads, ==, 2);
    for (unsigned i = 0; i < 64; i++) {
        buf[i] = (uint8_t)i;
    }
    c.block_limit = 31;
    c.writes = 0;
    fake_string_out(as, 0x1f0, buf, 2, 32);
    g_assert_cmpuint(c.writes, ==, 1);
    g_assert_cmphex(c.bytes[0], ==, 62);
    g_assert_cmphex(c.bytes[1], ==, 63);

    /* Sizes that the chip does not implement, unaligned offsets and borders never reach the block
     * form. */
    c.blocks = 0;
    c.block_limit = SIZE_MAX;
    fake_string_in(as, 0x1f0, buf, 1, 4);
    fake_string_in(as, 0x1f0, buf, 8, 2);
    g_assert_cmpmem(buf, 8, c.bytes, 8);
    g_assert_cmpmem(buf + 8, 8, c.bytes, 8);
    fake_string_in(as, 0x1f6, buf, 4, 2);
    g_assert_cmpmem(buf, 2, c.bytes + 6, 2);
    g_assert_cmphex(buf[2], ==, 0xff);
    fake_string_out(as, 0x1f7, buf, 2, 2);
    fake_string_out(as, 0x1f0, buf, 1, 3);
    g_assert_cmphex(c.bytes[0], ==, buf[2]);
    g_assert_cmpuint(c.blocks, ==, 0);
    region_set_hidden(&c.r, true);
    fake_string_in(as, 0x1f0, buf, 2, 2);
    g_assert_cmphex(buf[3], ==, 0xff);
    g_assert_cmpuint(c.blocks, ==, 0);
    region_set_hidden(&c.r, false);
    fake_string_in(as, 0x1f0, buf, 2, 0);
    g_assert_cmpuint(c.blocks, ==, 0);
    region_remove(&c.r);

    /* Nobody there. */
    fake_string_in(as, 0x5e, buf, 2, 32);
    for (unsigned i = 0; i < 64; i++) {
        g_assert_cmphex(buf[i], ==, 0xff);
    }
    fake_string_out(as, 0x5e, buf, 4, 16);
    aspace_free(as);
}

/* A chip that takes itself out while it is written, as a BAR move does. */
static void vanish(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct chip *c = opaque;

    c->writes++;
    region_remove(&c->r);
}

static void test_vanishing(void)
{
    for (unsigned bits = 16; bits <= 48; bits += 32) {
        struct aspace *as = aspace_new("space", bits);
        struct region_ops ops = {.read = chip_read, .write = vanish, .impl_max = 1};
        uint32_t buf[4] = {0};
        struct chip c;

        chip_init(&c, "ghost", ops, 8);
        place(as, &c.r, 0x200);
        aspace_write(as, 0x200, 0, 4);
        g_assert_null(aspace_find(as, 0x200));
        place(as, &c.r, 0x200);
        c.writes = 0;
        fake_string_out(as, 0x200, buf, 1, 4);
        g_assert_cmpuint(c.writes, ==, 1);
        place(as, &c.r, 0x200);
        aspace_write(as, 0x206, 0, 4);
        g_assert_cmphex(aspace_read(as, 0x200, 4), ==, 0xffffffff);
        aspace_free(as);
    }
}

static void count_region(void *opaque, const struct region *r)
{
    uint64_t *last = opaque;

    g_assert_cmpuint(r->base, >=, *last);
    *last = r->base + r->size;
}

/* Hundreds of regions come and go; every byte is answered by whom the model says. */
static void test_payload(void)
{
    static const struct region_ops ops = {.impl_max = 4};
    struct aspace *as = aspace_new("pio", 16);
    struct region uart, all;

    region_init(&uart, "uart", &ops, NULL, 8);
    region_init(&all, "all", &ops, NULL, 0x100);
    g_assert_cmphex(uart.payload, ==, 0);
    uart.payload = 1;
    all.payload = REGION_ALL_PAYLOAD;
    g_assert_cmpint(region_place(as, &uart, 0x3f8, NULL), ==, 0);
    g_assert_cmpint(region_place(as, &all, 0x1000, NULL), ==, 0);
    g_assert_true(aspace_is_payload(as, 0x3f8, 1));
    g_assert_false(aspace_is_payload(as, 0x3f9, 1));
    g_assert_false(aspace_is_payload(as, 0x3fc, 4));
    g_assert_true(aspace_is_payload(as, 0x3f8, 4));
    g_assert_false(aspace_is_payload(as, 0x400, 1));
    g_assert_true(aspace_is_payload(as, 0x10ff, 1));
    g_assert_true(aspace_is_payload(as, 0x1080, 4));
    g_assert_false(aspace_is_payload(as, UINT64_MAX, 8));
    region_remove(&uart);
    g_assert_false(aspace_is_payload(as, 0x3f8, 1));
    region_remove(&all);
    aspace_free(as);
}

static void test_random(gconstpointer data)
{
    unsigned bits = GPOINTER_TO_UINT(data);
    uint64_t origin = bits == 16 ? 0 : UINT64_C(0xf0000000);
    enum { CHIPS = 200, SPAN = 4096 };
    struct region_ops ops = {.read = chip_read, .write = chip_write, .impl_max = 8};
    struct aspace *as = aspace_new("space", bits);
    struct chip *chip = g_new0(struct chip, CHIPS);
    GRand *rand = g_rand_new_with_seed(20240601);
    int owner[SPAN + 8];

    memset(owner, -1, sizeof(owner));
    for (int i = 0; i < CHIPS; i++) {
        chip_init(&chip[i], "chip", ops, (uint64_t)g_rand_int_range(rand, 1, CHIP_SIZE + 1));
    }
    for (unsigned turn = 0; turn < 20000; turn++) {
        int i = g_rand_int_range(rand, 0, CHIPS);
        struct chip *c = &chip[i];
        unsigned at = (unsigned)g_rand_int_range(rand, 0, SPAN - CHIP_SIZE);

        if (c->r.space) {
            for (unsigned k = 0; k < c->r.size; k++) {
                owner[c->r.base - origin + k] = -1;
            }
            region_remove(&c->r);
        } else {
            bool free_there = true;

            for (unsigned k = 0; k < c->r.size; k++) {
                free_there &= owner[at + k] < 0;
            }
            g_assert_cmpint(region_place(as, &c->r, origin + at, NULL), ==,
                            free_there ? 0 : -EBUSY);
            for (unsigned k = 0; free_there && k < c->r.size; k++) {
                owner[at + k] = i;
            }
        }
        for (unsigned probe = 0; probe < 8; probe++) {
            unsigned where = (unsigned)g_rand_int_range(rand, 0, SPAN);
            unsigned size = 1u << g_rand_int_range(rand, 0, 4);
            uint64_t value = aspace_read(as, origin + where, size);

            for (unsigned k = 0; k < size; k++) {
                int o = owner[where + k];
                unsigned expect = o < 0 ? 0xff : chip[o].bytes[origin + where + k - chip[o].r.base];

                g_assert_cmphex(value >> (8 * k) & 0xff, ==, expect);
            }
            g_assert_true(aspace_overlaps(as, origin + where, 1) == (owner[where] >= 0));
        }
    }
    uint64_t last = 0;
    aspace_foreach(as, count_region, &last);
    g_assert_cmpuint(last, >, origin);
    for (int i = 0; i < CHIPS; i++) {
        region_remove(&chip[i].r);
    }
    aspace_free(as);
    g_free(chip);
    g_rand_free(rand);
}

/* Whoever waits inside an access is found by a build with sanitizers. */
static uint64_t impatient_read(void *opaque, uint64_t offset, unsigned size)
{
    turn_waits();
    return 0;
}

static void test_nobody_waits(void)
{
    static const struct region_ops ops = {.read = impatient_read};
    struct aspace *as = aspace_new("test", 16);
    struct region r;

    turn_waits();
#ifndef __SANITIZE_ADDRESS__
    g_test_skip("a build without sanitizers lets it be");
#endif
    if (g_test_subprocess()) {
        region_init(&r, "impatient", &ops, NULL, 1);
        region_place(as, &r, 0x100, NULL);
        aspace_read(as, 0x100, 1);
        return;
    }
#ifdef __SANITIZE_ADDRESS__
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
#endif
    aspace_free(as);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/aspace/sizes", test_sizes);
    g_test_add_func("/aspace/defaults", test_defaults);
    g_test_add_func("/aspace/guest-rules", test_guest_rules);
    g_test_add_func("/aspace/borders", test_borders);
    g_test_add_func("/aspace/place", test_place);
    g_test_add_func("/aspace/block", test_block);
    g_test_add_func("/aspace/vanishing", test_vanishing);
    g_test_add_func("/aspace/payload", test_payload);
    g_test_add_data_func("/aspace/random-pio", GUINT_TO_POINTER(16), test_random);
    g_test_add_data_func("/aspace/random-mmio", GUINT_TO_POINTER(48), test_random);
    g_test_add_func("/aspace/nobody-waits", test_nobody_waits);
    return g_test_run();
}
