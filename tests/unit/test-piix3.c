/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pc-common.h"

#define DEVFN PCI_DEVFN(1, 0)

static const struct fuzz_range ranges[] = {{0x92, 1}, {0}};

static struct machine *new_machine(struct device **dev)
{
    struct machine *m = fake_machine_new();

    *dev = fake_pci_device(m, &piix3_class, DEVFN, NULL);
    start(m);
    return m;
}

/* hvmloader refuses to run unless this is 8086:7000. */
static void test_ids(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0, 4), ==, 0x70008086);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 8, 4), ==, 0x06010000);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 6, 2), ==, 0x0200);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0x0e, 1), ==, 0x80);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0x4c, 1), ==, 0x4d);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0x60, 4), ==, 0x80808080);
    fake_machine_free(m);
}

static void test_routes(void)
{
    static const uint8_t hvmloader[4] = {5, 10, 11, 5};
    struct device *dev;
    struct machine *m = new_machine(&dev);

    for (unsigned link = 0; link < 4; link++) {
        pci_config_write(m->pci, DEVFN, 0x60 + link, hvmloader[link], 1);
        g_assert_cmpuint(m->hv->link_route[link], ==, hvmloader[link]);
    }
    pci_config_write(m->pci, DEVFN, 0x61, 0x8a, 1); /* _DIS: or 0x80 */
    g_assert_cmpuint(m->hv->link_route[1], ==, 0);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0x61, 1), ==, 0x8a);
    pci_config_write(m->pci, DEVFN, 0x60, 0x7b7b7b7b, 4);
    for (unsigned link = 0; link < 4; link++) {
        g_assert_cmpuint(m->hv->link_route[link], ==, 11);
    }
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0x60, 4), ==, 0x0b0b0b0b);

    machine_reset(m, RESET_WAKEUP);
    g_assert_cmpuint(m->hv->link_route[3], ==, 11);
    machine_reset(m, RESET_COLD);
    g_assert_cmpuint(m->hv->link_route[3], ==, 0);
    g_assert_cmphex(pci_config_read(m->pci, DEVFN, 0x60, 4), ==, 0x80808080);
    fake_machine_free(m);
}

static void test_port92(void)
{
    struct device *dev;
    struct machine *m = new_machine(&dev);

    g_assert_cmphex(inb(m, 0x92), ==, 0);
    outb(m, 0x92, 0xfe);
    g_assert_cmphex(inb(m, 0x92), ==, 0x02);
    g_assert_cmpuint(m->hv->shutdowns, ==, 0);
    outb(m, 0x92, 0x03);
    g_assert_cmpuint(m->hv->shutdowns, ==, 1);
    g_assert_cmpint(m->hv->shutdown_reason, ==, HV_SHUTDOWN_REBOOT);
    fake_machine_free(m);
}

/* A restored machine does not tell Xen what Xen's own context holds, but the next change is told.
 */
static void test_state(void)
{
    struct device *dev, *other;
    struct machine *m = new_machine(&dev), *m2 = new_machine(&other);

    pci_config_write(m->pci, DEVFN, 0x60, 0x050b0a05, 4);
    outb(m, 0x92, 0x02);
    fake_state_round_trip(dev, other);
    g_assert_cmphex(pci_config_read(m2->pci, DEVFN, 0x60, 4), ==, 0x050b0a05);
    g_assert_cmphex(inb(m2, 0x92), ==, 0x02);
    g_assert_cmpuint(m2->hv->link_route[1], ==, 0);
    pci_config_write(m2->pci, DEVFN, 0x61, 0x0b, 1);
    g_assert_cmpuint(m2->hv->link_route[1], ==, 11);
    fake_machine_free(m);
    fake_machine_free(m2);
}

static void test_fuzz(void)
{
    struct device *dev, *other;
    struct machine *m = new_machine(&dev), *m2 = new_machine(&other);

    fuzz(m, 0x3711, ranges, DEVFN, FUZZ_STEPS);
    for (unsigned link = 0; link < 4; link++) {
        unsigned reg = pci_config_read(m->pci, DEVFN, 0x60 + link, 1);

        g_assert_cmpuint(m->hv->link_route[link], ==, reg & 0x80 ? 0 : reg);
    }
    fake_state_round_trip(dev, other);
    fuzz_state(other, 0x3711, ranges, DEVFN);
    fake_machine_free(m);
    fake_machine_free(m2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/piix3/ids", test_ids);
    g_test_add_func("/piix3/routes", test_routes);
    g_test_add_func("/piix3/port92", test_port92);
    g_test_add_func("/piix3/state", test_state);
    g_test_add_func("/piix3/fuzz", test_fuzz);
    return g_test_run();
}
