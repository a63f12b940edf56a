/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <xendm/acpi.h>
#include <xendm/log.h>

#include "pc-common.h"

#define DEVFN PCI_DEVFN(1, 3)

static const struct fuzz_range ranges[] = {
    {0xb2, 2},    {0xae00, 16}, {0xaf00, 32}, {0xafe0, 4},
    {0xb000, 16}, {0xb044, 4},  {0xb100, 16}, {0},
};

static struct machine *new_machine(struct device **dev)
{
    struct machine *m = fake_machine_new();

    m->vcpus = 20;
    m->vcpus_online = 3;
    *dev = fake_pci_device(m, &piix4_pm_class, DEVFN, NULL);
    start(m);
    return m;
}

/* What hvmloader does: toolstack.md 4.8. */
static void hvmloader(struct machine *m)
{
    pci_config_write(m->pci, DEVFN, 0x20, 0, 4);
    pci_config_write(m->pci, DEVFN, 0x22, 0, 1);
    pci_config_write(m->pci, DEVFN, 0xd2, 0, 1);
    pci_config_write(m->pci, DEVFN, 0x3c, 9, 1);
    pci_config_write(m->pci, DEVFN, 0x3d, 1, 1);
    pci_config_write(m->pci, DEVFN, 0x40, 0xb001, 4);
    pci_config_write(m->pci, DEVFN, 0x80, 1, 1);
    if (!(in(m, 0xb004, 2) & 1)) {
        outb(m, 0xb2, 0xf1);
    }
}

static void test_ids(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0, 4), ==, 0x71138086);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 8, 4), ==, 0x06800003);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 6, 2), ==, 0x0280);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0x3d, 1), ==, 1);
    fake_machine_free(m);
}

static void test_sci_enable(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    g_assert_cmphex(in(m, 0xb004, 2), ==, 0xffff); /* not decoded yet */
    hvmloader(m);
    g_assert_cmphex(in(m, 0xb004, 2), ==, 0x0001);
    g_assert_cmphex(in(m, 0xb004, 4), ==, 0x00000001);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0x40, 4), ==, 0xb001);
    g_assert_cmphex(inb(m, 0xb2), ==, 0xf1);
    outb(m, 0xb3, 0x5a);
    g_assert_cmphex(inb(m, 0xb3), ==, 0x5a);
    outb(m, 0xb2, 0xf0);
    g_assert_cmphex(in(m, 0xb004, 2), ==, 0x0000);

    /* Xen's neighbours are not claimed. */
    g_assert_null(aspace_find(m->pio, 0xb000));
    g_assert_null(aspace_find(m->pio, 0xb003));
    g_assert_null(aspace_find(m->pio, 0xb008));
    fake_machine_free(m);
}

static void test_move(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);
    uint64_t complaints;

    hvmloader(m);
    pci_config_write(m->pci, DEVFN, 0x40, 0x1f40 | 1, 4);
    g_assert_cmphex(in(m, 0x1f44, 2), ==, 0x0001);
    g_assert_cmphex(in(m, 0xb004, 2), ==, 0xffff);
    pci_config_write(m->pci, DEVFN, 0x80, 0, 1);
    g_assert_cmphex(in(m, 0x1f44, 2), ==, 0xffff);

    /* On top of our own CPU map: refused, nothing decoded, and it can move on from there. */
    complaints = log_guest_count(LOG_ACPI);
    pci_config_write(m->pci, DEVFN, 0x40, 0xaf01, 4);
    pci_config_write(m->pci, DEVFN, 0x80, 1, 1);
    g_assert_cmpuint(log_guest_count(LOG_ACPI), ==, complaints + 1);
    g_assert_cmphex(inb(m, 0xaf04), ==, 0);
    pci_config_write(m->pci, DEVFN, 0x40, 0xb001, 4);
    g_assert_cmphex(in(m, 0xb004, 2), ==, 0x0001);
    fake_machine_free(m);
}

static void test_poweroff(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    hvmloader(m);
    out(m, 0xb004, 0x0001, 2);
    g_assert_cmpuint(m->hv->shutdowns, ==, 0);
    out(m, 0xb004, 0x3c01, 2); /* type 7: unknown */
    g_assert_cmpuint(m->hv->shutdowns, ==, 0);
    g_assert_cmphex(in(m, 0xb004, 2), ==, 0x1c01);
    out(m, 0xb004, 0x2001, 2); /* type 0: S5 */
    g_assert_cmpuint(m->hv->shutdowns, ==, 1);
    g_assert_cmpint(m->hv->shutdown_reason, ==, HV_SHUTDOWN_POWEROFF);
    fake_machine_free(m);
}

static void test_suspend(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    inb(m, 0xb102);
    for (unsigned i = 0; i < 32; i++) {
        outb(m, 0xb107, (uint8_t)i); /* to the end of the block */
    }
    hvmloader(m);
    out(m, 0xafe2, 0x0006, 2);
    out(m, 0xb004, 0x2401, 2); /* type 1: S3 */
    g_assert_cmpuint(m->hv->s_state, ==, 3);
    g_assert_cmpint(m->state, ==, MACHINE_SUSPENDED);
    g_assert_cmpint(machine_wakeup(m, NULL), ==, 0);
    g_assert_cmpuint(m->hv->s_state, ==, 0);
    /* Nobody runs hvmloader again: decoded where it was, in ACPI mode. */
    g_assert_cmphex(in(m, 0xb004, 2), ==, 0x0001);
    g_assert_cmphex(in(m, 0xafe2, 2), ==, 0);
    machine_reset(m, RESET_COLD);
    g_assert_cmphex(in(m, 0xb004, 2), ==, 0xffff);
    fake_machine_free(m);
}

static void test_cpu_map(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    hvmloader(m);
    g_assert_cmphex(inb(m, 0xaf00), ==, 0x07);
    g_assert_cmphex(in(m, 0xaf00, 4), ==, 0x07);
    outb(m, 0xaf00, 0xff);
    g_assert_cmphex(inb(m, 0xaf00), ==, 0x07);
    g_assert_true(acpi_vcpu_is_online(dev, 2));
    g_assert_false(acpi_vcpu_is_online(dev, 17));

    out(m, 0xafe2, 0x0004, 2);
    g_assert_true(acpi_vcpu_online(dev, 17));
    g_assert_true(m->hv->isa_level[9]);
    g_assert_cmphex(inb(m, 0xaf02), ==, 0x02);
    g_assert_cmphex(in(m, 0xafe0, 2), ==, 0x0004);
    outb(m, 0xafe0, 0x04);
    g_assert_false(m->hv->isa_level[9]);
    g_assert_cmphex(in(m, 0xafe0, 4), ==, 0x00040000);

    g_assert_false(acpi_vcpu_online(dev, 17)); /* already */
    g_assert_false(acpi_vcpu_online(dev, ACPI_VCPU_MAX));
    g_assert_false(acpi_vcpu_is_online(dev, UINT32_MAX));
    g_assert_false(m->hv->isa_level[9]);
    g_assert_true(acpi_vcpu_online(dev, ACPI_VCPU_MAX - 1));
    g_assert_cmphex(inb(m, 0xaf1f), ==, 0x80);
    fake_machine_free(m);
}

/*
 * The line is Xen's, too: it is not written low unless our last event goes, and written high again
 * when the guest dealt with one of two.
 */
static void test_sci_line(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);
    unsigned changes = m->hv->isa_changes[9];

    g_assert_cmpuint(changes, ==, 0);
    g_assert_true(acpi_vcpu_online(dev, 5)); /* not enabled: no interrupt */
    outb(m, 0xafe0, 0x02);
    g_assert_cmpuint(m->hv->isa_changes[9], ==, 0);
    outb(m, 0xafe2, 0x04); /* pending when it is enabled */
    g_assert_cmpuint(m->hv->isa_changes[9], ==, 1);
    g_assert_true(m->hv->isa_level[9]);
    m->hv->isa_level[9] = false; /* Xen dropped the line for a PM1a event of its own */
    outb(m, 0xafe0, 0x02);       /* another GPE; ours stays pending */
    g_assert_true(m->hv->isa_level[9]);
    outb(m, 0xafe2, 0x00);
    g_assert_false(m->hv->isa_level[9]);
    g_assert_cmphex(inb(m, 0xafe0), ==, 0x04);
    m->hv->isa_level[9] = true; /* now Xen's event */
    outb(m, 0xafe0, 0x04);
    g_assert_true(m->hv->isa_level[9]);
    fake_machine_free(m);
}

static void test_pci_slots(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);
    uint64_t complaints = log_guest_count(LOG_ACPI);

    fake_pci_device(m, &i440fx_class, 0, NULL);
    g_assert_cmphex(in(m, 0xae00, 4), ==, 0);
    g_assert_cmphex(in(m, 0xae04, 4), ==, 0);
    g_assert_cmphex(in(m, 0xae0c, 4), ==, 0xfffffffc); /* not the chip set */
    g_assert_cmphex(in(m, 0xae0d, 1), ==, 0xff);
    out(m, 0xae08, 1u << 1, 4);
    g_assert_cmpuint(log_guest_count(LOG_ACPI), ==, complaints + 1);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0, 4), ==, 0x71138086);
    fake_machine_free(m);
}

/* hvmloader switches it off. A driver that is forced on finds nobody. */
static void test_smbus(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0x90, 4), ==, 0xb101);
    g_assert_cmphex(inb(m, 0xb100), ==, 0);
    outb(m, 0xb104, 0xa1);
    outb(m, 0xb102, 0x48);
    g_assert_cmphex(inb(m, 0xb100) & 0x04, ==, 0x04);
    g_assert_cmphex(inb(m, 0xb102), ==, 0x08);
    outb(m, 0xb100, 0xff);
    g_assert_cmphex(inb(m, 0xb100), ==, 0);
    for (unsigned i = 0; i < 40; i++) {
        outb(m, 0xb107, (uint8_t)i);
    }
    inb(m, 0xb102);
    g_assert_cmphex(inb(m, 0xb107), ==, 32);
    hvmloader(m);
    g_assert_cmphex(inb(m, 0xb100), ==, 0xff);
    fake_machine_free(m);
}

static void test_state(void)
{
    struct device *dev, *other;
    struct machine *m = new_machine(&dev), *m2 = new_machine(&other);

    hvmloader(m);
    out(m, 0xafe2, 0x0006, 2);
    acpi_vcpu_online(dev, 7);
    outb(m, 0xb044, 0x11);
    fake_state_round_trip(dev, other);
    g_assert_cmphex(in(m2, 0xb004, 2), ==, 0x0001);
    g_assert_cmphex(inb(m2, 0xaf00), ==, 0x87);
    g_assert_cmphex(inb(m2, 0xb044), ==, 0x11);
    g_assert_cmphex(inb(m2, 0xb100), ==, 0xff);
    g_assert_cmpuint(m2->hv->isa_changes[9], ==, 0); /* Xen restored the line itself */
    outb(m2, 0xafe0, 0x04);
    g_assert_cmpuint(m2->hv->isa_changes[9], ==, 1); /* but now it falls */
    g_assert_false(m2->hv->isa_level[9]);
    fake_machine_free(m);
    fake_machine_free(m2);
}

static void test_fuzz(void)
{
    struct device *dev, *other;
    struct machine *m = new_machine(&dev), *m2 = new_machine(&other);

    hvmloader(m);
    fuzz(m, 0x7113, ranges, DEVFN, FUZZ_STEPS);
    fake_state_round_trip(dev, other);
    fuzz_state(other, 0x7113, ranges, DEVFN);
    fake_machine_free(m);
    fake_machine_free(m2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pm/ids", test_ids);
    g_test_add_func("/pm/sci-enable", test_sci_enable);
    g_test_add_func("/pm/move", test_move);
    g_test_add_func("/pm/poweroff", test_poweroff);
    g_test_add_func("/pm/suspend", test_suspend);
    g_test_add_func("/pm/cpu-map", test_cpu_map);
    g_test_add_func("/pm/sci-line", test_sci_line);
    g_test_add_func("/pm/pci-slots", test_pci_slots);
    g_test_add_func("/pm/smbus", test_smbus);
    g_test_add_func("/pm/state", test_state);
    g_test_add_func("/pm/fuzz", test_fuzz);
    return g_test_run();
}
