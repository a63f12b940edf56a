/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <xendm/log.h>

#include "pc-common.h"

#define DEVFN PCI_DEVFN(4, 0)
#define BAR UINT64_C(0xf0000000)
#define CONTROL 0x60
#define LOCK 0x68
#define TICK_NS ((1 << 15) * 1000 / 33)

static struct machine *new_machine(struct device **dev, const char *action)
{
    struct machine *m = fake_machine_new();

    *dev = fake_pci_device(m, &i6300esb_class, DEVFN, action, NULL);
    pci_config_write(m->pci, DEVFN, 0x10, (uint32_t)BAR, 4);
    pci_config_write(m->pci, DEVFN, 0x04, 0x0002, 2);
    return m;
}

static uint32_t rd(struct machine *m, unsigned reg)
{
    return (uint32_t)aspace_read(m->mmio, BAR + reg, 4);
}

static void wr(struct machine *m, unsigned reg, uint32_t value)
{
    aspace_write(m->mmio, BAR + reg, value, reg == 0x0c ? 2 : 4);
}

static void wr_unlocked(struct machine *m, unsigned reg, uint32_t value)
{
    wr(m, 0x0c, 0x80);
    wr(m, 0x0c, 0x86);
    wr(m, reg, value);
}

static void lock(struct machine *m, uint8_t value)
{
    pci_config_write(m->pci, DEVFN, LOCK, value, 1);
}

/* As Linux' driver does it: ten ticks for each stage. */
static void run_watchdog(struct machine *m)
{
    wr_unlocked(m, 0x00, 10);
    wr_unlocked(m, 0x04, 10);
    wr_unlocked(m, 0x0c, 0x100);
    lock(m, 2);
}

static void test_unlock(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev, "action=none");

    g_assert_cmphex(rd(m, 0x00), ==, 0xfffff);
    wr(m, 0x00, 5);
    wr(m, 0x0c, 0x86);
    wr(m, 0x00, 5);
    wr(m, 0x0c, 0x80);
    wr(m, 0x00, 5);
    wr(m, 0x0c, 0x80);
    wr(m, 0x04, 6); /* not between the two */
    wr(m, 0x0c, 0x86);
    wr(m, 0x00, 5);
    g_assert_cmphex(rd(m, 0x00), ==, 0xfffff);
    g_assert_cmphex(rd(m, 0x04), ==, 0xfffff);
    wr_unlocked(m, 0x00, 0xff000005);
    wr(m, 0x04, 6); /* one write only */
    g_assert_cmphex(rd(m, 0x00), ==, 5);
    g_assert_cmphex(rd(m, 0x04), ==, 0xfffff);
    fake_machine_free(m);
}

static void test_bites(void)
{
    static const struct {
        const char *action;
        unsigned shutdowns;
        enum hv_shutdown reason;
    } cases[] = {{"action=reset", 1, HV_SHUTDOWN_REBOOT},
                 {"action=watchdog", 1, HV_SHUTDOWN_WATCHDOG},
                 {"action=none", 0, 0}};

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct device *dev;
        struct machine *m = new_machine(&dev, cases[i].action);

        machine_complete(m);
        machine_start(m);
        pci_config_write(m->pci, DEVFN, 0x10, (uint32_t)BAR, 4);
        pci_config_write(m->pci, DEVFN, 0x04, 0x0002, 2);
        run_watchdog(m);
        fake_clock_step(m, 9 * TICK_NS);
        wr_unlocked(m, 0x0c, 0x100); /* the guest is alive */
        fake_clock_step(m, 9 * TICK_NS);
        g_assert_cmphex(rd(m, 0x08), ==, 0);
        fake_clock_step(m, 2 * TICK_NS);
        g_assert_cmphex(rd(m, 0x08), ==, 1);
        wr(m, 0x08, 1);
        g_assert_cmphex(rd(m, 0x08), ==, 0);
        g_assert_cmpuint(m->hv->shutdowns, ==, 0);
        fake_clock_step(m, 10 * TICK_NS);
        g_assert_cmpuint(m->hv->shutdowns, ==, cases[i].shutdowns);
        if (cases[i].shutdowns) {
            g_assert_cmpint(m->hv->shutdown_reason, ==, cases[i].reason);
        }
        g_assert_cmphex(rd(m, 0x0c), ==, 0x200);
        wr_unlocked(m, 0x0c, 0x200);
        g_assert_cmphex(rd(m, 0x0c), ==, 0);
        g_assert_cmpint(vclock_next_deadline(m->clock), ==, VTIMER_OFF);
        fake_machine_free(m);
    }
}

static void test_lock(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev, "action=none");

    run_watchdog(m);
    lock(m, 0);
    g_assert_cmpint(vclock_next_deadline(m->clock), ==, VTIMER_OFF);
    lock(m, 3);
    lock(m, 0);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, LOCK, 1), ==, 3);
    g_assert_cmpint(vclock_next_deadline(m->clock), !=, VTIMER_OFF);
    device_reset(dev, RESET_COLD);
    g_assert_cmpint(vclock_next_deadline(m->clock), ==, VTIMER_OFF);
    fake_machine_free(m);
}

/* No output, free running, no time at all: the shortest that a guest can ask for. */
static void test_free_running(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev, "action=reset");

    pci_config_write(m->pci, DEVFN, CONTROL, 0x24, 2);
    wr_unlocked(m, 0x00, 0);
    wr_unlocked(m, 0x04, 0);
    lock(m, 6);
    for (unsigned i = 0; i < 100; i++) {
        int64_t now = vclock_now(m->clock), next = vclock_next_deadline(m->clock);

        g_assert_cmpint(next, >=, now + NS_PER_MS);
        fake_clock_step(m, next - now);
    }
    g_assert_cmpuint(m->hv->shutdowns, ==, 0);
    fake_machine_free(m);
}

static void test_state(void)
{
    struct device *dev, *other;
    struct machine *m = new_machine(&dev, "action=reset"), *n = fake_machine_new();

    other = fake_pci_device(n, &i6300esb_class, DEVFN, NULL);
    run_watchdog(m);
    fake_clock_step(m, 15 * TICK_NS); /* in the second stage */
    wr(m, 0x0c, 0x80);
    fake_state_round_trip(dev, other);
    machine_complete(n);
    fake_machine_free(m);
    fake_machine_free(n);
}

static void test_bad_action(void)
{
    struct machine *m = fake_machine_new();
    g_autoptr(GError) err = NULL;
    struct device *dev = device_new(m, &i6300esb_class, NULL, &err);

    g_assert_no_error(err);
    g_assert_cmpint(device_set(dev, "action", "bark", &err), ==, 0);
    g_assert_cmpint(pci_device_attach(m->pci, (struct pci_device *)dev, DEVFN, &err), ==, 0);
    g_assert_cmpint(device_realize(dev, &err), <, 0);
    g_assert_nonnull(strstr(err->message, "bark"));
    device_free(dev);
    fake_machine_free(m);
}

static void test_noise(void)
{
    GRand *rand = g_rand_new_with_seed(1);
    struct device *dev;
    struct machine *m = new_machine(&dev, "action=none");

    log_set_level("all", "error");
    for (unsigned i = 0; i < 20000; i++) {
        unsigned at = (unsigned)g_rand_int_range(rand, 0, 16),
                 size = 1u << g_rand_int_range(rand, 0, 4);
        uint32_t value = g_rand_boolean(rand) ? g_rand_int(rand) : 0x80 + 6 * g_rand_boolean(rand);

        if (g_rand_int_range(rand, 0, 8) == 0) {
            pci_config_write(m->pci, DEVFN, CONTROL + at, value & ~1u, MIN(size, 4));
        }
        aspace_write(m->mmio, BAR + at, value, size);
        aspace_read(m->mmio, BAR + at, size);
        fake_clock_step(m, g_rand_int_range(rand, 0, 3000000));
    }
    g_rand_free(rand);
    fake_machine_free(m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i6300esb/unlock", test_unlock);
    g_test_add_func("/i6300esb/bites", test_bites);
    g_test_add_func("/i6300esb/lock", test_lock);
    g_test_add_func("/i6300esb/free-running", test_free_running);
    g_test_add_func("/i6300esb/state", test_state);
    g_test_add_func("/i6300esb/bad-action", test_bad_action);
    g_test_add_func("/i6300esb/noise", test_noise);
    return g_test_run();
}
