/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pc-common.h"

static const struct fuzz_range ranges[] = {{0xcf8, 8}, {0}};

static struct machine *new_machine(struct device **dev)
{
    struct machine *m = fake_machine_new();

    *dev = fake_pci_device(m, &i440fx_class, PCI_DEVFN(0, 0), NULL);
    start(m);
    return m;
}

static void test_ids(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    g_assert_cmphex(pci_config_read(m->pci, 0, 0, 4), ==, 0x12378086);
    g_assert_cmphex(pci_config_read(m->pci, 0, 8, 4), ==, 0x06000002);
    g_assert_cmphex(pci_config_read(m->pci, 0, 0x2c, 4), ==, 0x11001af4);
    g_assert_cmphex(pci_config_read(m->pci, 0, 0x0e, 1), ==, 0);
    fake_machine_free(m);
}

/* Mechanism #1 through the ports, as a machine without hypervisor sees it. */
static void test_mechanism(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    out(m, 0xcf8, 0x80000000, 4);
    g_assert_cmphex(in(m, 0xcf8, 4), ==, 0x80000000);
    g_assert_cmphex(in(m, 0xcfc, 4), ==, 0x12378086);
    g_assert_cmphex(in(m, 0xcfe, 2), ==, 0x1237);
    g_assert_cmphex(in(m, 0xcff, 1), ==, 0x12);
    out(m, 0xcf8, 0x80000058, 4);
    outb(m, 0xcfd, 0xff);
    g_assert_cmphex(pci_config_read(m->pci, 0, 0x59, 1), ==, 0xf0);

    /* No function, other bus, disabled. */
    out(m, 0xcf8, 0x80000000 | PCI_DEVFN(9, 0) << 8, 4);
    g_assert_cmphex(in(m, 0xcfc, 4), ==, 0xffffffff);
    out(m, 0xcf8, 0x80010000, 4);
    g_assert_cmphex(in(m, 0xcfc, 4), ==, 0xffffffff);
    out(m, 0xcf8, 0x00000000, 4);
    g_assert_cmphex(in(m, 0xcfc, 4), ==, 0xffffffff);

    /* Only dwords reach CONFADD; Linux tells mechanism #2 by bytes that read 0. */
    out(m, 0xcf8, 0x80000000, 4);
    outb(m, 0xcfb, 0x01);
    outb(m, 0xcf8, 0x00);
    g_assert_cmphex(in(m, 0xcf8, 4), ==, 0x80000000);
    g_assert_cmphex(inb(m, 0xcf8), ==, 0xff);
    g_assert_cmphex(inb(m, 0xcfa), ==, 0xff);
    fake_machine_free(m);
}

static void test_reset_control(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    outb(m, 0xcf9, 0x02);
    g_assert_cmphex(inb(m, 0xcf9), ==, 0x02);
    g_assert_cmpuint(m->hv->shutdowns, ==, 0);
    outb(m, 0xcf9, 0x06);
    g_assert_cmpuint(m->hv->shutdowns, ==, 1);
    g_assert_cmpint(m->hv->shutdown_reason, ==, HV_SHUTDOWN_REBOOT);
    fake_machine_free(m);
}

static void test_masks(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    for (unsigned reg = 0x5a; reg <= 0x5f; reg++) {
        pci_config_write(m->pci, 0, reg, 0x33, 1);
        g_assert_cmphex(pci_config_read(m->pci, 0, reg, 1), ==, 0x33);
    }
    pci_config_write(m->pci, 0, 0, 0xffffffff, 4);
    pci_config_write(m->pci, 0, 8, 0xffffffff, 4);
    pci_config_write(m->pci, 0, 0x40, 0xffffffff, 4);
    g_assert_cmphex(pci_config_read(m->pci, 0, 0, 4), ==, 0x12378086);
    g_assert_cmphex(pci_config_read(m->pci, 0, 8, 4), ==, 0x06000002);
    g_assert_cmphex(pci_config_read(m->pci, 0, 0x40, 4), ==, 0);

    machine_reset(m, RESET_WAKEUP);
    g_assert_cmphex(pci_config_read(m->pci, 0, 0x5a, 1), ==, 0x33);
    machine_reset(m, RESET_COLD);
    g_assert_cmphex(pci_config_read(m->pci, 0, 0x5a, 1), ==, 0x00);
    fake_machine_free(m);
}

static void test_smram_lock(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    g_assert_cmphex(pci_config_read(m->pci, 0, 0x72, 1), ==, 0x02);
    pci_config_write(m->pci, 0, 0x72, 0x4f, 1);
    g_assert_cmphex(pci_config_read(m->pci, 0, 0x72, 1), ==, 0x4a);
    pci_config_write(m->pci, 0, 0x72, 0x5a, 1);
    g_assert_cmphex(pci_config_read(m->pci, 0, 0x72, 1), ==, 0x1a);
    /* Unlock and open by a dword: neither works. */
    pci_config_write(m->pci, 0, 0x70, 0x00400000, 4);
    g_assert_cmphex(pci_config_read(m->pci, 0, 0x72, 1), ==, 0x12);
    machine_reset(m, RESET_COLD);
    g_assert_cmphex(pci_config_read(m->pci, 0, 0x72, 1), ==, 0x02);
    fake_machine_free(m);
}

static void test_state(void)
{
    struct device *dev, *other;
    struct machine *m = new_machine(&dev), *m2 = new_machine(&other);

    out(m, 0xcf8, 0x80000070, 4);
    outb(m, 0xcf9, 0x02);
    pci_config_write(m->pci, 0, 0x72, 0x18, 1);
    fake_state_round_trip(dev, other);
    g_assert_cmphex(in(m2, 0xcf8, 4), ==, 0x80000070);
    g_assert_cmphex(inb(m2, 0xcf9), ==, 0x02);
    fake_machine_free(m);
    fake_machine_free(m2);
}

static void test_fuzz(void)
{
    struct device *dev, *other;
    struct machine *m = new_machine(&dev), *m2 = new_machine(&other);

    fuzz(m, 0x440f, ranges, 0, FUZZ_STEPS);
    fake_state_round_trip(dev, other);
    fuzz_state(other, 0x440f, ranges, 0);
    g_assert_cmphex(pci_config_read(m->pci, 0, 0, 4), ==, 0x12378086);
    fake_machine_free(m);
    fake_machine_free(m2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i440fx/ids", test_ids);
    g_test_add_func("/i440fx/mechanism-1", test_mechanism);
    g_test_add_func("/i440fx/reset-control", test_reset_control);
    g_test_add_func("/i440fx/masks", test_masks);
    g_test_add_func("/i440fx/smram-lock", test_smram_lock);
    g_test_add_func("/i440fx/state", test_state);
    g_test_add_func("/i440fx/fuzz", test_fuzz);
    return g_test_run();
}
