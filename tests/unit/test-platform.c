/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>

#include <xendm/log.h>

#include "pc-common.h"

#define DEVFN PCI_DEVFN(2, 0)

static const struct fuzz_range ranges[] = {{0x10, 4}, {0xc000, 256}, {0}};

/* Sees what is unplugged. */
struct probe {
    struct device dev;
    unsigned calls, what;
};

static void probe_unplug(struct device *dev, unsigned what)
{
    struct probe *p = DEVICE_CAST(struct probe, dev);

    p->calls++;
    p->what = what;
}

static const struct device_class probe_class = {
    .name = "unplug-probe",
    .help = "test",
    .size = sizeof(struct probe),
    .unplug = probe_unplug,
};

static struct machine *new_machine(struct device **dev)
{
    struct machine *m = fake_machine_new();

    *dev = fake_pci_device(m, &xen_platform_class, DEVFN, NULL);
    start(m);
    return m;
}

static void map_bars(struct machine *m)
{
    pci_config_write(m->pci, DEVFN, 0x10, 0xc000, 4);
    pci_config_write(m->pci, DEVFN, 0x14, 0xf0000000, 4);
    pci_config_write(m->pci, DEVFN, 0x04, 3, 2);
}

static void test_ids(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0, 4), ==, 0x00015853);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 8, 4), ==, 0xff800001);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0x2c, 4), ==, 0x00015853);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0x3d, 1), ==, 1);
    pci_config_write(m->pci, DEVFN, 0x10, 0xffffffff, 4);
    pci_config_write(m->pci, DEVFN, 0x14, 0xffffffff, 4);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0x10, 4), ==, 0xffffff01);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0x14, 4), ==, 0xff000008);
    fake_machine_free(m);
}

/* The steps of hvm-emulated-unplug.pandoc. */
static void test_unplug(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);
    struct probe *p = DEVICE_CAST(struct probe, fake_device(m, &probe_class, NULL, NULL));
    uint64_t complaints = log_guest_count(LOG_PLATFORM);

    g_assert_cmphex(in(m, 0x10, 2), ==, 0x49d2);
    g_assert_cmphex(inb(m, 0x12), ==, 1);
    out(m, 0x12, 3, 2);
    out(m, 0x10, 0x01020304, 4);
    g_assert_cmphex(in(m, 0x10, 2), ==, 0x49d2);
    g_assert_cmpuint(p->calls, ==, 0);
    out(m, 0x10, 0x0003, 2);
    g_assert_cmpuint(p->calls, ==, 1);
    g_assert_cmphex(p->what, ==, UNPLUG_DISKS | UNPLUG_NICS);
    out(m, 0x10, 0x0005, 2); /* all disks override auxiliary ones */
    g_assert_cmphex(p->what, ==, UNPLUG_DISKS);
    out(m, 0x10, 0x0004, 2);
    g_assert_cmphex(p->what, ==, UNPLUG_AUX_DISKS);
    out(m, 0x10, 0x0008, 2);
    g_assert_cmphex(p->what, ==, UNPLUG_NVME);
    g_assert_cmpuint(p->calls, ==, 4);
    g_assert_cmpuint(log_guest_count(LOG_PLATFORM), ==, complaints);
    out(m, 0x10, 0xfff0, 2);
    g_assert_cmpuint(p->calls, ==, 4);
    g_assert_cmpuint(log_guest_count(LOG_PLATFORM), ==, complaints + 1);
    fake_machine_free(m);
}

static void test_log(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);
    uint64_t lines = log_guest_count(LOG_PLATFORM);

    for (const char *c = "PV drivers say hello"; *c; c++) {
        outb(m, 0x12, (uint8_t)*c);
    }
    g_assert_cmpuint(log_guest_count(LOG_PLATFORM), ==, lines);
    outb(m, 0x12, '\n');
    g_assert_cmpuint(log_guest_count(LOG_PLATFORM), ==, lines + 1);
    outb(m, 0x12, '\n'); /* empty lines are none */
    g_assert_cmpuint(log_guest_count(LOG_PLATFORM), ==, lines + 1);
    for (unsigned i = 0; i < 256 * 4 + 1; i++) {
        outb(m, 0x12, (uint8_t)(i | 0x80));
    }
    g_assert_cmpuint(log_guest_count(LOG_PLATFORM), ==, lines + 5);
    fake_machine_free(m);
}

static void test_bars(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);
    uint64_t lines = log_guest_count(LOG_PLATFORM);

    map_bars(m);
    g_assert_cmphex(inb(m, 0x10), ==, 0);
    outb(m, 0xc000, 0xff);
    g_assert_cmphex(inb(m, 0xc000), ==, 1);
    g_assert_cmphex(inb(m, 0x10), ==, 1);
    outb(m, 0x10, 0);
    g_assert_cmphex(inb(m, 0xc000), ==, 0);
    g_assert_cmphex(inb(m, 0xc004), ==, 0xff);
    outb(m, 0xc008, 'x');
    outb(m, 0xc008, '\n');
    g_assert_cmpuint(log_guest_count(LOG_PLATFORM), ==, lines + 1);
    aspace_write(m->mmio, 0xf0000004, 1, 4); /* SUSE's unofficial unplug before 2011: no effect */
    g_assert_cmphex(aspace_read(m->mmio, 0xf0000000, 8), ==, 0);
    g_assert_cmphex(aspace_read(m->mmio, 0xf0ffffff, 1), ==, 0);
    fake_machine_free(m);
}

static void test_state(void)
{
    struct device *dev, *other;
    struct machine *m = new_machine(&dev), *m2 = new_machine(&other);

    out(m, 0x12, 3, 2);
    out(m, 0x10, 0xffffffff, 4);
    outb(m, 0x10, 1);
    out(m, 0x10, 0x000f, 2);
    fake_state_round_trip(dev, other);
    g_assert_cmphex(inb(m2, 0x10), ==, 1);
    fake_machine_free(m);
    fake_machine_free(m2);
}

static void test_fuzz(void)
{
    struct device *dev, *other;
    struct machine *m = new_machine(&dev), *m2 = new_machine(&other);

    map_bars(m);
    fuzz(m, 0x5853, ranges, DEVFN, FUZZ_STEPS);
    fake_state_round_trip(dev, other);
    fuzz_state(other, 0x5853, ranges, DEVFN);
    fake_machine_free(m);
    fake_machine_free(m2);
}

static void test_pvdevice(void)
{
    struct machine *m = fake_machine_new();
    struct pci_device *pci;
    GError *err = NULL;
    struct device *dev;

    fake_pci_device(m, &xen_pvdevice_class, DEVFN, "device-id=0xc000", NULL);
    start(m);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0, 4), ==, 0xc0005853);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 8, 4), ==, 0x08800001);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0x2c, 4), ==, 0xc0005853);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0x10, 4), ==, 0);
    pci_config_write(m->pci, DEVFN, 0x14, 0xffffffff, 4);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0x14, 4), ==, 0xffc00008);
    pci_config_write(m->pci, DEVFN, 0x14, 0xf0000000, 4);
    pci_config_write(m->pci, DEVFN, 0x04, 2, 2);
    g_assert_cmphex(aspace_read(m->mmio, 0xf0000000, 4), ==, 0xffffffff);
    machine_reset(m, RESET_COLD);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0, 4), ==, 0xc0005853);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 8, 4), ==, 0x08800001);
    fake_machine_free(m);

    /* Refused: no id; an odd size, which leaves it as it was. */
    m = fake_machine_new();
    for (unsigned i = 0; i < 2; i++) {
        dev = device_new(m, &xen_pvdevice_class, NULL, NULL);
        pci = (struct pci_device *)dev;
        g_assert_cmpint(pci_device_attach(m->pci, pci, PCI_DEVFN_AUTO, NULL), ==, 0);
        if (i) {
            g_assert_cmpint(device_set(dev, "size", "4097", &err), ==, -EINVAL);
            g_assert_error(err, XENDM_ERROR, EINVAL);
            g_clear_error(&err);
        }
        g_assert_cmpint(device_realize(dev, &err), ==, -EINVAL);
        g_assert_error(err, XENDM_ERROR, EINVAL);
        g_clear_error(&err);
        device_free(dev);
    }
    fake_machine_free(m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/platform/ids", test_ids);
    g_test_add_func("/platform/unplug", test_unplug);
    g_test_add_func("/platform/log", test_log);
    g_test_add_func("/platform/bars", test_bars);
    g_test_add_func("/platform/state", test_state);
    g_test_add_func("/platform/fuzz", test_fuzz);
    g_test_add_func("/platform/pvdevice", test_pvdevice);
    return g_test_run();
}
