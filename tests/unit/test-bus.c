/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buses: places and their names, plugging by description, unplugging from wherever it is asked,
 * a register write of the device's own and with I/O in flight included; ACPI's part for PCI.
 */
#include <errno.h>
#include <string.h>

#include <xendm/acpi.h>
#include <xendm/bus.h>
#include <xendm/classes.h>
#include <xendm/log.h>
#include <xendm/pci.h>

#include "fakes.h"

#define IO_BAR 0x1000u
#define ROUNDS 1000u

/* ---- a PCI function that takes itself out, with I/O in flight ---- */

struct leaver {
    struct pci_device pci;
    uint32_t value;
    struct dma_list *list;
    guint io; /* a request to the host is under way */
    struct vtimer timer;
};

static unsigned freed, completed;

static gboolean io_done(gpointer opaque)
{
    struct leaver *s = opaque;
    uint8_t byte = 0x5a;

    s->io = 0;
    completed++;
    /* The memory was pinned before; nothing new is reached. */
    if (s->pci.dev.phase == DEVICE_LEAVING) {
        g_assert_cmpint(dma_list_put(s->list, 0, &byte, 1), ==, -EPERM);
        g_assert_cmpint(dma_write(&s->pci.dev, 0x2000, &byte, 1), ==, -EPERM);
    }
    dma_list_end(s->list, 0);
    pci_intx_set(&s->pci, true);
    return G_SOURCE_REMOVE;
}

static void start_io(struct leaver *s)
{
    if (s->io == 0) {
        dma_list_begin(s->list, DMA_FROM_DEVICE);
        g_assert_cmpint(dma_list_add(s->list, 0x3000, 512), ==, 512);
        s->io = g_timeout_add(1, io_done, s);
    }
}

static uint64_t leaver_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct leaver *)opaque)->value;
}

static void leaver_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct leaver *s = opaque;

    switch (offset) {
    case 0:
        start_io(s);
        pci_intx_set(&s->pci, true);
        vtimer_arm_in(&s->timer, NS_PER_US);
        break;
    case 4:
        device_unplug(&s->pci.dev);
        device_unplug(&s->pci.dev); /* again: no effect */
        break;
    default:
        break;
    }
    /* The handler goes on, as handlers do. */
    s->value = (uint32_t)value;
    pci_intx_set(&s->pci, value & 1);
}

static const struct region_ops leaver_ops = {.read = leaver_read, .write = leaver_write};

static void leaver_timer(void *opaque)
{
    pci_intx_set(&((struct leaver *)opaque)->pci, true);
}

static int leaver_realize(struct device *dev, GError **err)
{
    struct leaver *s = DEVICE_CAST(struct leaver, dev);

    s->list = dma_list_new(dev, 4);
    vtimer_init(&s->timer, dev->machine->clock, "leaver", leaver_timer, s);
    return 0;
}

static bool leaver_busy(struct device *dev)
{
    return DEVICE_CAST(struct leaver, dev)->io != 0;
}

static void leaver_unrealize(struct device *dev)
{
    struct leaver *s = DEVICE_CAST(struct leaver, dev);

    g_clear_handle_id(&s->io, g_source_remove);
    vtimer_disarm(&s->timer);
    dma_list_free(s->list);
    freed++;
}

static const struct pci_info leaver_pci = {
    .vendor = 0x1234,
    .device = 0x5678,
    .class = 0x020000,
    .intx_pin = 1,
    .bar = {[0] = {.type = PCI_BAR_IO, .size = 16, .ops = &leaver_ops, .name = "leaver"}},
};

static const char *const leaver_names[] = {"leaver-pci", NULL};

static const struct device_class leaver_class = {
    .name = "leaver",
    .size = sizeof(struct leaver),
    .hotplug = true,
    .aliases = leaver_names,
    .realize = leaver_realize,
    .busy = leaver_busy,
    .unrealize = leaver_unrealize,
    .pci = &leaver_pci,
};

static const struct device_class fixed_class = {
    .name = "fixed",
    .size = sizeof(struct pci_device),
    .unmigratable = "its state is in the host's hardware",
    .pci = &leaver_pci,
};

/* ---- a bus of our own: four ports ---- */

struct port_device {
    struct device dev;
    uint32_t port;
};

struct port_bus {
    struct bus bus;
    struct device *at[4];
    unsigned resets;
};

static int port_take(struct bus *bus, struct device *dev, GError **err)
{
    struct port_bus *b = (struct port_bus *)bus;
    unsigned port = DEVICE_CAST(struct port_device, dev)->port;

    if (b->at[port]) {
        g_set_error(err, XENDM_ERROR, EBUSY, "%s: port %u is taken by %s", dev->id, port,
                    b->at[port]->id);
        return -EBUSY;
    }
    b->at[port] = dev;
    bus_add(bus, dev);
    return 0;
}

static void port_leave(struct device *dev)
{
    ((struct port_bus *)dev->bus)->at[DEVICE_CAST(struct port_device, dev)->port] = NULL;
    bus_remove(dev);
}

static void port_reset(struct device *dev, enum reset_reason why)
{
    ((struct port_bus *)dev->bus)->resets++;
}

static const struct property port_place[] = {
    {.name = "port",
     .type = PROP_UINT32,
     .offset = offsetof(struct port_device, port),
     .def = "0",
     .max = 3},
    {.name = NULL},
};

static const struct bus_class port_bus_class = {
    .name = "port",
    .place = port_place,
    .hotplug = true,
    .take = port_take,
    .leave = port_leave,
    .reset = port_reset,
};

static const struct device_class port_class = {
    .name = "gadget",
    .size = sizeof(struct port_device),
    .bus = &port_bus_class,
    .hotplug = true,
};

/* What the real table is in the daemon. */
const struct device_class *device_class_find(const char *name)
{
    static const struct device_class *const classes[] = {&leaver_class, &fixed_class, &port_class,
                                                         &piix4_pm_class};

    for (unsigned i = 0; i < G_N_ELEMENTS(classes); i++) {
        if (strcmp(classes[i]->name, name) == 0) {
            return classes[i];
        }
    }
    return NULL;
}

/* ---- helpers ---- */

static struct device *try_plug(struct machine *m, const char *driver, const char *id,
                               const char *const *options, GError **err)
{
    struct object_desc *desc = object_desc_new(OBJECT_DEVICE, 0, driver, id);
    struct device *dev;

    for (unsigned i = 0; options && options[i]; i += 2) {
        object_desc_set(desc, options[i], options[i + 1]);
    }
    dev = device_plug(m, desc, err);
    object_desc_free(desc);
    return dev;
}

static struct device *plug(struct machine *m, const char *driver, const char *id, const char *name,
                           const char *value)
{
    const char *const options[] = {name, value, NULL};
    GError *err = NULL;
    struct device *dev = try_plug(m, driver, id, options, &err);

    g_assert_no_error(err);
    g_assert_nonnull(dev);
    return dev;
}

static void refused(struct machine *m, const char *driver, const char *id, const char *name,
                    const char *value, const char *why)
{
    const char *const options[] = {name, value, NULL};
    g_autoptr(GError) err = NULL;

    g_assert_null(try_plug(m, driver, id, options, &err));
    g_assert_nonnull(err);
    if (!strstr(err->message, why)) {
        g_error("\"%s\" does not say \"%s\"", err->message, why);
    }
}

static unsigned gone;
static char *gone_id;

static void unplugged(void *opaque, const char *id)
{
    gone++;
    g_free(gone_id);
    gone_id = g_strdup(id);
}

static const struct machine_events events = {.unplugged = unplugged};

static struct machine *running(void)
{
    struct machine *m = fake_machine_new();

    freed = completed = gone = 0;
    m->events = &events;
    machine_complete(m);
    machine_start(m);
    return m;
}

static void wait_gone(unsigned n)
{
    while (gone < n) {
        g_main_context_iteration(NULL, TRUE);
    }
}

static void enable(struct machine *m, unsigned devfn)
{
    pci_config_write(m->pci, devfn, 0x10, IO_BAR, 4);
    pci_config_write(m->pci, devfn, 0x04, 0x0005, 2);
}

/* ---- places ---- */

static void test_places(void)
{
    struct machine *m = fake_machine_new();
    struct device *dev;

    dev = plug(m, "leaver", "a", "addr", "1d.7");
    g_assert_cmphex(((struct pci_device *)dev)->devfn, ==, PCI_DEVFN(0x1d, 7));
    g_assert_cmpstr(dev->bus->id, ==, "pci.0");
    dev = plug(m, "leaver", "b", "addr", "0x4");
    g_assert_cmphex(((struct pci_device *)dev)->devfn, ==, PCI_DEVFN(4, 0));
    dev = plug(m, "leaver", "c", "bus", "pci.0");
    g_assert_cmphex(((struct pci_device *)dev)->devfn, ==, PCI_DEVFN(2, 0));
    refused(m, "leaver", "d", "addr", "4", "taken by b");
    refused(m, "leaver", "d", "addr", "20", "no slot");
    refused(m, "leaver", "d", "addr", "4.8", "no slot");
    refused(m, "leaver", "d", "addr", "", "no slot");
    refused(m, "leaver", "d", "addr", "4.", "no slot");
    refused(m, "leaver", "d", "addr", "4 ", "no slot");
    refused(m, "leaver", "d", "bus", "pci.1", "only pci.0");
    refused(m, "leaver", "d", "colour", "red", "no property colour");
    refused(m, "leaver", "a", NULL, NULL, "taken");
    refused(m, "nothing", "d", NULL, NULL, "not a valid device model name");
    refused(m, "gadget", "d", NULL, NULL, "no port bus");
    g_assert_cmpuint(m->devices->len, ==, 3);
    fake_machine_free(m);
}

static void test_bus_id(void)
{
    struct machine *m = fake_machine_new();
    struct device *named = plug(m, "leaver", "a", NULL, NULL);
    g_autofree char *id = bus_id(named, "leaver-bus.0");

    g_assert_cmpstr(id, ==, "a.0");
    fake_machine_free(m);
}

static void test_own_bus(void)
{
    struct machine *m = running();
    struct port_bus one = {.resets = 0}, two = {.resets = 0};
    struct device *dev;

    bus_init(&one.bus, &port_bus_class, m, NULL, "port.0");
    bus_init(&two.bus, &port_bus_class, m, NULL, "port.1");
    dev = plug(m, "gadget", "g0", "port", "3");
    g_assert_true(one.at[3] == dev);
    g_assert_cmpuint(one.resets, ==, 1);
    refused(m, "gadget", "g1", "port", "3", "port 3 is taken by g0");
    refused(m, "gadget", "g1", "port", "4", "not in 0..3");
    dev = plug(m, "gadget", "g1", "bus", "port.1");
    g_assert_true(two.at[0] == dev);
    g_assert_cmpint(device_request_unplug(dev, NULL), ==, 0); /* nobody to ask: at once */
    g_assert_cmpint(dev->phase, ==, DEVICE_LEAVING);
    g_assert_null(machine_find(m, "g1"));
    wait_gone(1);
    g_assert_null(two.at[0]);
    g_assert_cmpstr(gone_id, ==, "g1");
    bus_fini(&two.bus);
    device_free(machine_find(m, "g0"));
    bus_fini(&one.bus);
    fake_machine_free(m);
}

/* ---- unplugging ---- */

/* By a register write of its own, while its request is under way and its interrupt is high. */
static void test_from_inside(void)
{
    struct machine *m = running();

    for (unsigned i = 1; i <= ROUNDS; i++) {
        struct device *dev = plug(m, "leaver", "x", "addr", "5");
        unsigned devfn = PCI_DEVFN(5, 0);

        enable(m, devfn);
        aspace_write(m->pio, IO_BAR, 1, 4);
        g_assert_true(m->hv->intx_level[5][0]);
        /* An 8-byte write: the second half unplugs, and on odd rounds both halves do something. */
        aspace_write(m->pio, IO_BAR + (i & 1 ? 0 : 4), UINT64_C(0x100000001), i & 1 ? 8 : 4);
        g_assert_false(m->hv->intx_level[5][0]);
        g_assert_cmpint(dev->phase, ==, DEVICE_LEAVING);
        g_assert_null(machine_find(m, "x"));
        g_assert_null(aspace_find(m->pio, IO_BAR));
        g_assert_cmphex(pci_config_read(m->pci, devfn, 0, 4), ==, UINT32_MAX);
        g_assert_cmpuint(freed, ==, i - 1);
        g_assert_true(machine_busy(m));
        fake_clock_step(m, NS_PER_MS); /* its timer still comes, and moves nothing */
        g_assert_false(m->hv->intx_level[5][0]);
        if (i % 3 == 0) {
            machine_reset(m, RESET_COLD);
        }
        if (i % 5 == 0) {
            machine_stop(m);
            machine_start(m);
        }
        wait_gone(i);
        g_assert_cmpuint(freed, ==, i);
        g_assert_cmpuint(completed, ==, i);
        g_assert_false(machine_busy(m));
        g_assert_cmpuint(fake_guestmem_pinned(m->memory), ==, 0);
    }
    fake_machine_free(m);
}

/* The machine ends while a device is leaving. */
static void test_end(void)
{
    struct machine *m = running();

    plug(m, "leaver", "x", "addr", "5");
    enable(m, PCI_DEVFN(5, 0));
    aspace_write(m->pio, IO_BAR, 1, 4);
    aspace_write(m->pio, IO_BAR + 4, 1, 4);
    fake_machine_free(m);
    g_assert_cmpuint(freed, ==, 1);
}

/* Its slot is taken until it is freed, its id is not. */
static void test_again(void)
{
    struct machine *m = running();

    plug(m, "leaver", "x", "addr", "5");
    enable(m, PCI_DEVFN(5, 0));
    aspace_write(m->pio, IO_BAR, 1, 4);
    device_unplug(machine_find(m, "x"));
    refused(m, "leaver", "x", "addr", "5", "taken");
    plug(m, "leaver", "x", "addr", "6");
    wait_gone(1);
    plug(m, "leaver", "y", "addr", "5");
    fake_machine_free(m);
}

static void test_refused(void)
{
    g_autoptr(GByteArray) saved = g_byte_array_new();
    struct machine *m = fake_machine_new();
    g_autoptr(GError) err = NULL;
    struct device *fixed = plug(m, "fixed", "f", "addr", "7");

    machine_complete(m);
    g_assert_cmpint(device_request_unplug(fixed, &err), ==, -EINVAL);
    g_assert_cmpstr(err->message, ==, "Device 'f' does not support hotplugging");
    refused(m, "fixed", "g", NULL, NULL, "'fixed' does not support hotplugging");
    g_clear_error(&err);
    g_assert_cmpint(machine_save(m, saved, &err), ==, -ENOTSUP);
    g_assert_cmpstr(err->message, ==,
                    "f (fixed) cannot be saved: its state is in the host's hardware");
    fake_machine_free(m);
}

/* ---- ACPI ---- */

static uint32_t in(struct machine *m, unsigned port)
{
    return (uint32_t)aspace_read(m->pio, port, 4);
}

static struct machine *with_acpi(void)
{
    struct machine *m = fake_machine_new();

    freed = completed = gone = 0;
    m->events = &events;
    plug(m, "piix4-pm", NULL, "addr", "1.3");
    plug(m, "fixed", "f", "addr", "7");
    plug(m, "leaver", "boot", "addr", "8");
    machine_complete(m);
    machine_start(m);
    aspace_write(m->pio, 0xafe2, 0x0002, 2); /* the guest wants to hear of slots */
    return m;
}

static void test_acpi(void)
{
    struct machine *m = with_acpi();
    struct device *dev;

    g_assert_cmphex(in(m, 0xae00), ==, 0); /* what was there at start needs no notice */
    g_assert_false(m->hv->isa_level[9]);
    dev = plug(m, "leaver", "x", "addr", "5");
    g_assert_cmphex(in(m, 0xae00), ==, 1u << 5);
    g_assert_true(m->hv->isa_level[9]);
    aspace_write(m->pio, 0xafe0, 0x0002, 2);
    g_assert_false(m->hv->isa_level[9]);

    /* Asked to go: it stays until the guest lets it. */
    g_assert_cmpint(device_request_unplug(dev, NULL), ==, 0);
    g_assert_cmphex(in(m, 0xae04), ==, 1u << 5);
    g_assert_true(m->hv->isa_level[9]);
    aspace_write(m->pio, 0xafe0, 0x0002, 2);
    g_assert_cmpint(dev->phase, ==, DEVICE_RUNNING);
    enable(m, PCI_DEVFN(5, 0));
    aspace_write(m->pio, IO_BAR, 1, 4);
    aspace_write(m->pio, 0xae08, 1u << 5, 4);
    g_assert_cmphex(in(m, 0xae00), ==, 0);
    g_assert_cmphex(in(m, 0xae04), ==, 0);
    g_assert_cmphex(pci_config_read(m->pci, PCI_DEVFN(5, 0), 0, 4), ==, UINT32_MAX);
    wait_gone(1);
    g_assert_cmpstr(gone_id, ==, "x");

    /* All slots at once, asked or not: what may go, goes; nothing else does. */
    aspace_write(m->pio, 0xae08, UINT32_MAX, 4);
    wait_gone(2);
    g_assert_cmpstr(gone_id, ==, "boot");
    g_assert_nonnull(machine_find(m, "f"));
    g_assert_nonnull(machine_find(m, "piix4-pm"));
    fake_machine_free(m);
}

/* What the guest has not dealt with yet goes along. */
static void test_acpi_state(void)
{
    g_autoptr(GByteArray) saved = g_byte_array_new();
    struct machine *m = with_acpi(), *n;
    g_autoptr(GError) err = NULL;

    g_assert_cmpint(device_request_unplug(machine_find(m, "boot"), NULL), ==, 0);
    machine_stop(m);
    g_assert_cmpint(machine_save(m, saved, &err), ==, -ENOTSUP); /* the fixed one */
    device_free(machine_find(m, "f"));
    g_assert_cmpint(machine_save(m, saved, NULL), ==, 0);

    n = fake_machine_new();
    plug(n, "piix4-pm", NULL, "addr", "1.3");
    plug(n, "leaver", "boot", "addr", "8");
    machine_complete(n);
    g_clear_error(&err);
    machine_load(n, saved->data, saved->len, &err);
    g_assert_no_error(err);
    machine_start(n);
    g_assert_cmphex(in(n, 0xae04), ==, 1u << 8);
    gone = 0;
    n->events = &events;
    aspace_write(n->pio, 0xae08, 1u << 8, 4);
    wait_gone(1);
    fake_machine_free(n);
    fake_machine_free(m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bus/places", test_places);
    g_test_add_func("/bus/id", test_bus_id);
    g_test_add_func("/bus/own", test_own_bus);
    g_test_add_func("/bus/unplug/from-inside", test_from_inside);
    g_test_add_func("/bus/unplug/end", test_end);
    g_test_add_func("/bus/unplug/again", test_again);
    g_test_add_func("/bus/refused", test_refused);
    g_test_add_func("/bus/acpi", test_acpi);
    g_test_add_func("/bus/acpi-state", test_acpi_state);
    return g_test_run();
}
