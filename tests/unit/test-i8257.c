/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pc-common.h"

static const struct fuzz_range ranges[] = {{0x00, 16}, {0x81, 15}, {0xc0, 32}, {0}};

static struct machine *new_machine(struct device **dev)
{
    struct machine *m = fake_machine_new();

    *dev = fake_device(m, &i8257_class, NULL, NULL);
    start(m);
    return m;
}

static void test_address_and_count(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    outb(m, 0x0c, 0);
    outb(m, 0x04, 0x34);
    outb(m, 0x04, 0x12);
    outb(m, 0x05, 0x78);
    outb(m, 0x05, 0x56);
    outb(m, 0x0c, 0);
    g_assert_cmphex(inb(m, 0x04), ==, 0x34);
    g_assert_cmphex(inb(m, 0x04), ==, 0x12);
    g_assert_cmphex(inb(m, 0x05), ==, 0x78);
    outb(m, 0x0c, 0); /* the flip-flop is the controller's, not the register's */
    g_assert_cmphex(inb(m, 0x05), ==, 0x78);
    g_assert_cmphex(inb(m, 0x05), ==, 0x56);

    /* The second controller: registers two apart, each at both ports. */
    outb(m, 0xd8, 0);
    outb(m, 0xc4, 0xcd);
    outb(m, 0xc5, 0xab);
    outb(m, 0xd9, 0);
    g_assert_cmphex(inb(m, 0xc5), ==, 0xcd);
    g_assert_cmphex(inb(m, 0xc4), ==, 0xab);
    outb(m, 0x0c, 0);
    g_assert_cmphex(inb(m, 0x04), ==, 0x34);
    fake_machine_free(m);
}

static void test_mask_and_status(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    g_assert_cmphex(inb(m, 0x0f), ==, 0xff);
    outb(m, 0x0a, 2);
    g_assert_cmphex(inb(m, 0x0f), ==, 0xfb);
    outb(m, 0x0a, 6);
    g_assert_cmphex(inb(m, 0x0f), ==, 0xff);
    outb(m, 0xdc, 0);
    g_assert_cmphex(inb(m, 0xde), ==, 0xf0);
    outb(m, 0xde, 0x0e);
    g_assert_cmphex(inb(m, 0xde), ==, 0xfe);
    g_assert_cmphex(inb(m, 0x08), ==, 0);
    outb(m, 0x09, 5);
    g_assert_cmphex(inb(m, 0x08), ==, 0x20);
    outb(m, 0x0d, 0); /* master clear */
    g_assert_cmphex(inb(m, 0x08), ==, 0);
    g_assert_cmphex(inb(m, 0x0d), ==, 0);
    g_assert_cmphex(inb(m, 0x0f), ==, 0xff);
    fake_machine_free(m);
}

static void test_pages(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    g_assert_cmphex(inb(m, 0x80), ==, 0xff); /* not ours */
    g_assert_cmphex(inb(m, 0x88), !=, 0x1f); /* hvmloader's battery */
    for (unsigned port = 0x81; port <= 0x8f; port++) {
        outb(m, (uint16_t)port, (uint8_t)(port * 3));
    }
    for (unsigned port = 0x81; port <= 0x8f; port++) {
        g_assert_cmphex(inb(m, (uint16_t)port), ==, (uint8_t)(port * 3));
    }
    machine_reset(m, RESET_COLD);
    g_assert_cmphex(inb(m, 0x81), ==, 0);
    fake_machine_free(m);
}

static void test_state(void)
{
    struct device *dev, *other;
    struct machine *m = new_machine(&dev), *m2 = new_machine(&other);

    outb(m, 0x04, 0x34); /* half-written: the flip-flop is state */
    outb(m, 0x8b, 0x77);
    outb(m, 0xd6, 0xc0);
    outb(m, 0xd4, 0);
    fake_state_round_trip(dev, other);
    outb(m2, 0x04, 0x12);
    g_assert_cmphex(inb(m2, 0x04), ==, 0x34);
    g_assert_cmphex(inb(m2, 0x04), ==, 0x12);
    g_assert_cmphex(inb(m2, 0x8b), ==, 0x77);
    g_assert_cmphex(inb(m2, 0xde), ==, 0xfe);
    fake_machine_free(m);
    fake_machine_free(m2);
}

static void test_fuzz(void)
{
    struct device *dev, *other;
    struct machine *m = new_machine(&dev), *m2 = new_machine(&other);

    fuzz(m, 0x8257, ranges, -1, FUZZ_STEPS);
    fake_state_round_trip(dev, other);
    fuzz_state(other, 0x8257, ranges, -1);
    fake_machine_free(m);
    fake_machine_free(m2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8257/address-and-count", test_address_and_count);
    g_test_add_func("/i8257/mask-and-status", test_mask_and_status);
    g_test_add_func("/i8257/pages", test_pages);
    g_test_add_func("/i8257/state", test_state);
    g_test_add_func("/i8257/fuzz", test_fuzz);
    return g_test_run();
}
