/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pc-common.h"

static const struct fuzz_range ranges[] = {{0x70, 2}, {0}};

static struct machine *new_machine(struct device **dev)
{
    struct machine *m = fake_machine_new();

    *dev = fake_device(m, &cmos_class, NULL, NULL);
    start(m);
    return m;
}

static void test_ram(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    for (unsigned i = 14; i < 128; i++) {
        outb(m, 0x70, (uint8_t)i);
        outb(m, 0x71, (uint8_t)(i ^ 0x5a));
    }
    for (unsigned i = 14; i < 128; i++) {
        outb(m, 0x70, (uint8_t)(i | 0x80)); /* bit 7 masks NMI and is no address */
        g_assert_cmphex(inb(m, 0x71), ==, i ^ 0x5a);
    }
    g_assert_cmphex(inb(m, 0x70), ==, 0xff);
    machine_reset(m, RESET_COLD);
    outb(m, 0x70, 0x40);
    g_assert_cmphex(inb(m, 0x71), ==, 0x40 ^ 0x5a); /* battery */
    outb(m, 0x70, 0x0f);
    g_assert_cmphex(inb(m, 0x71), ==, 0x0f ^ 0x5a);
    machine_reset(m, RESET_WAKEUP);
    outb(m, 0x70, 0x40);
    g_assert_cmphex(inb(m, 0x71), ==, 0x40 ^ 0x5a);
    outb(m, 0x70, 0x0f);
    g_assert_cmphex(inb(m, 0x71), ==, 0xfe); /* "wake up, do not boot" */
    fake_machine_free(m);
}

/* The clock's registers are Xen's; nothing of the RAM shows or changes there. */
static void test_clock_registers(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    g_assert_cmphex(inb(m, 0x71), ==, 0xff); /* no index yet */
    for (unsigned i = 0; i < 14; i++) {
        outb(m, 0x70, (uint8_t)i);
        outb(m, 0x71, 0x12);
        g_assert_cmphex(inb(m, 0x71), ==, 0xff);
    }
    fake_machine_free(m);
}

static void test_state(void)
{
    struct device *dev, *other;
    struct machine *m = new_machine(&dev), *m2 = new_machine(&other);

    outb(m, 0x70, 0x3d);
    outb(m, 0x71, 0x32);
    fake_state_round_trip(dev, other);
    g_assert_cmphex(inb(m2, 0x71), ==, 0x32); /* contents and index */
    fake_machine_free(m);
    fake_machine_free(m2);
}

static void test_fuzz(void)
{
    struct device *dev, *other;
    struct machine *m = new_machine(&dev), *m2 = new_machine(&other);

    fuzz(m, 0x7071, ranges, -1, FUZZ_STEPS);
    fake_state_round_trip(dev, other);
    fuzz_state(other, 0x7071, ranges, -1);
    fake_machine_free(m);
    fake_machine_free(m2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cmos/ram", test_ram);
    g_test_add_func("/cmos/clock-registers", test_clock_registers);
    g_test_add_func("/cmos/state", test_state);
    g_test_add_func("/cmos/fuzz", test_fuzz);
    return g_test_run();
}
