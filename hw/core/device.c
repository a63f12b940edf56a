/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Device life cycle and properties; see xendm/device.h. The order of calls is asserted here. */
#include <errno.h>
#include <string.h>

#include <xendm/aspace.h>
#include <xendm/backend.h>
#include <xendm/bus.h>
#include <xendm/device.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/recorder.h>
#include <xendm/regs.h>
#include <xendm/turn.h>

#include "core.h"

#define DEVICE_ID_MAX 255u /* the saved state counts its length in one byte */

/* ---- properties ---- */

static inline struct backend **backend_place(struct device *dev, const struct property *p)
{
    return (void *)((char *)dev + p->offset);
}

static void take_backend(struct device *dev, const struct property *p, struct backend *b)
{
    struct backend **place = backend_place(dev, p);

    if (*place) {
        (*place)->user = NULL;
    }
    *place = b;
    if (b) {
        b->user = dev;
    }
}

static int find_backend(struct device *dev, const struct property *p, const char *id,
                        struct backend **b, GError **err)
{
    const struct backend_set *set = dev->machine->backends;

    *b = set ? backend_find(set, p->kind, id) : NULL;
    if (!*b) {
        g_set_error(err, XENDM_ERROR, ENOENT, "property %s: there is no %s back end '%s'", p->name,
                    backend_kind_name(p->kind), id);
        return -ENOENT;
    }
    if ((*b)->user && (*b)->user != dev) {
        g_set_error(err, XENDM_ERROR, EBUSY, "property %s: %s back end '%s' is used by device %s",
                    p->name, backend_kind_name(p->kind), id, (*b)->user->id);
        return -EBUSY;
    }
    return 0;
}

/* Reads `text` for `p`, and stores it when `store` says so. */
static int property_text(struct device *dev, const struct property *p, const char *text, bool store,
                         GError **err)
{
    struct backend *b = NULL;
    int rc = p->type == PROP_BACKEND ? find_backend(dev, p, text, &b, err)
                                     : property_set(p, store ? dev : NULL, text, err);

    if (rc < 0) {
        g_prefix_error(err, "%s: ", dev->id);
    } else if (b && store) {
        take_backend(dev, p, b);
    }
    return rc;
}

static void release_backends(struct device *dev)
{
    for (const struct property *p = dev->class->properties; p && p->name; p++) {
        if (p->type == PROP_BACKEND) {
            take_backend(dev, p, NULL);
        }
    }
}

/* Of the class, or of the place on its bus. */
static const struct property *device_property(const struct device *dev, const char *name)
{
    const struct property *p = property_find(dev->class->properties, name);

    return p || !bus_class_of(dev->class) ? p
                                          : property_find(bus_class_of(dev->class)->place, name);
}

int device_set(struct device *dev, const char *property, const char *value, GError **err)
{
    const struct property *p = device_property(dev, property);
    int rc;

    if (!p) {
        g_set_error(err, XENDM_ERROR, ENOENT, "%s: device %s has no property %s (value \"%s\")",
                    dev->id, dev->class->name, property, value);
        return -ENOENT;
    }
    rc = property_text(dev, p, value, dev->phase == DEVICE_NEW, err);
    if (rc < 0 || dev->phase == DEVICE_NEW) {
        return rc;
    }
    if (!dev->class->change) {
        g_set_error(err, XENDM_ERROR, EBUSY, "%s: property %s cannot be changed at run time",
                    dev->id, property);
        return -EBUSY;
    }
    tape_unrecorded("a property of a device changes");
    rc = dev->class->change(dev, property, value, err);
    return rc < 0 ? rc : property_text(dev, p, value, true, err);
}

void device_set_backend(struct device *dev, const char *property, struct backend *b)
{
    const struct property *p = property_find(dev->class->properties, property);

    XENDM_ASSERT(dev->phase == DEVICE_NEW);
    XENDM_ASSERT(p && p->type == PROP_BACKEND);
    XENDM_ASSERT(!b || !b->user);
    take_backend(dev, p, b);
}

/* ---- life ---- */

static char *free_id(struct machine *machine, const struct device_class *class)
{
    char *id = g_strdup(class->name);

    for (unsigned n = 1; machine_find(machine, id); n++) {
        g_free(id);
        id = g_strdup_printf("%s.%u", class->name, n);
    }
    return id;
}

struct device *device_new(struct machine *machine, const struct device_class *class, const char *id,
                          GError **err)
{
    struct device *dev;

    XENDM_ASSERT(class->name &&
                 class->size >= (class->pci ? sizeof(struct pci_device) : sizeof(struct device)));
    if (class->state) {
        state_desc_assert(class->state);
    }
    if (id && (id[0] == '\0' || strlen(id) > DEVICE_ID_MAX)) {
        g_set_error(err, XENDM_ERROR, EINVAL,
                    "%s: the device id \"%s\" is empty or longer than %u bytes", class->name, id,
                    DEVICE_ID_MAX);
        return NULL;
    }
    if (id && machine_find(machine, id)) {
        g_set_error(err, XENDM_ERROR, EEXIST, "%s: the device id \"%s\" is taken", class->name, id);
        return NULL;
    }
    dev = g_malloc0(class->size);
    dev->class = class;
    dev->machine = machine;
    dev->id = id ? g_strdup(id) : free_id(machine, class);
    dev->phase = DEVICE_NEW;
    dev->owned = g_ptr_array_new();
    dev->banks = g_ptr_array_new();
    property_set_defaults(class->properties, dev);
    if (bus_class_of(class)) {
        property_set_defaults(bus_class_of(class)->place, dev);
    }
    g_ptr_array_add(machine->devices, dev);
    return dev;
}

static void remove_owned(struct device *dev)
{
    while (dev->owned->len > 0) {
        region_remove(g_ptr_array_index(dev->owned, dev->owned->len - 1));
        g_ptr_array_set_size(dev->owned, (int)dev->owned->len - 1);
    }
    g_ptr_array_set_size(dev->banks, 0);
}

/* Calls an operation of the bus that the device is on, if there is one. */
#define BUS_DO(dev, op, ...) \
    do { \
        if ((dev)->bus && (dev)->bus->class->op) { \
            (dev)->bus->class->op(__VA_ARGS__); \
        } \
    } while (0)

static void unrealize(struct device *dev)
{
    BUS_DO(dev, off, dev);
    if (dev->class->unrealize) {
        dev->class->unrealize(dev);
    }
    XENDM_ASSERT(!dma_window_exists(dev));
    device_release_all(dev); /* who waits for an access to it gets an answer */
    remove_owned(dev);
    BUS_DO(dev, release, dev);
    dev->phase = DEVICE_NEW;
}

static int bus_step(struct device *dev, int (*step)(struct device *dev, GError **err), GError **err)
{
    return step ? step(dev, err) : 0;
}

int device_realize(struct device *dev, GError **err)
{
    const struct bus_class *bus = dev->bus ? dev->bus->class : NULL;
    int rc;

    XENDM_ASSERT(dev->phase == DEVICE_NEW);
    if (bus_class_of(dev->class) && !bus) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: not attached to a %s bus", dev->id,
                    bus_class_of(dev->class)->name);
        return -EINVAL;
    }
    rc = bus ? bus_step(dev, bus->prepare, err) : 0;
    if (rc < 0) {
        return rc;
    }
    if (dev->class->realize) {
        rc = dev->class->realize(dev, err);
        XENDM_ASSERT(rc <= 0);
    }
    if (rc < 0) {
        /* The class took back what it had done itself; ours is here. */
        remove_owned(dev);
        BUS_DO(dev, release, dev);
        return rc;
    }
    dev->phase = DEVICE_REALIZED;
    rc = bus ? bus_step(dev, bus->on, err) : 0;
    if (rc < 0) {
        unrealize(dev);
        return rc;
    }
    if (dev->machine->state !=
        MACHINE_BUILDING) { /* plugged into a machine that is there already */
        BUS_DO(dev, reset, dev, RESET_COLD);
        device_reset(dev, RESET_COLD);
        if (dev->machine->state != MACHINE_STOPPED) {
            device_resume(dev);
        }
    }
    return 0;
}

void device_free(struct device *dev)
{
    struct machine *machine = dev->machine;

    if (dev->phase != DEVICE_NEW) {
        unrealize(dev);
    }
    if (dev->bus) {
        dev->bus->class->leave(dev);
    }
    if (!g_ptr_array_remove(machine->devices, dev)) {
        g_ptr_array_remove(machine_private(machine)->leaving, dev);
    }
    release_backends(dev);
    property_free_strings(dev->class->properties, dev);
    if (bus_class_of(dev->class)) {
        property_free_strings(bus_class_of(dev->class)->place, dev);
    }
    g_ptr_array_free(dev->owned, TRUE);
    g_ptr_array_free(dev->banks, TRUE);
    object_desc_free(dev->plugged);
    g_free(dev->id);
    g_free(dev);
}

/* ---- unplugging ---- */

static bool still_busy(struct device *dev)
{
    return device_is_held(dev) || (dev->class->busy && dev->class->busy(dev));
}

bool device_leaving_busy(struct machine *m)
{
    GPtrArray *leaving = machine_private(m)->leaving;

    for (unsigned i = 0; i < leaving->len; i++) {
        if (still_busy(g_ptr_array_index(leaving, i))) {
            return true;
        }
    }
    return false;
}

void device_free_leaving(struct machine *m)
{
    GPtrArray *leaving = machine_private(m)->leaving;

    while (leaving->len > 0) {
        device_free(g_ptr_array_index(leaving, leaving->len - 1));
    }
}

static gboolean free_left(gpointer opaque)
{
    struct machine_private *p = opaque;

    turn_of("unplug");
    for (unsigned i = p->leaving->len; i-- > 0;) {
        struct device *dev = g_ptr_array_index(p->leaving, i);

        if (!still_busy(dev)) {
            g_autofree char *id = g_strdup(dev->id);

            device_free(dev);
            machine_event_unplugged(&p->m, id);
        }
    }
    if (p->leaving->len > 0) {
        return G_SOURCE_CONTINUE;
    }
    p->leaving_source = 0;
    return G_SOURCE_REMOVE;
}

void device_unplug(struct device *dev)
{
    struct machine_private *p = machine_private(dev->machine);

    XENDM_ASSERT(dev->phase != DEVICE_NEW);
    if (dev->phase == DEVICE_LEAVING) {
        return;
    }
    tape_unrecorded("a device is unplugged");
    if (dev->phase == DEVICE_RUNNING) {
        device_quiesce(dev);
    }
    dev->phase = DEVICE_LEAVING;
    dev->dma_blocked = true;
    BUS_DO(dev, off, dev);
    remove_owned(dev);
    g_ptr_array_remove(p->m.devices, dev);
    g_ptr_array_add(p->leaving, dev);
    if (!p->leaving_source) {
        p->leaving_source = g_timeout_add(1, free_left, p);
    }
}

int device_request_unplug(struct device *dev, GError **err)
{
    const struct bus_class *bus = dev->bus ? dev->bus->class : NULL;

    if (!bus || !bus->hotplug || dev->bus->fixed || !dev->class->hotplug ||
        dev->phase == DEVICE_NEW) {
        g_set_error(err, XENDM_ERROR, EINVAL, "Device '%s' does not support hotplugging", dev->id);
        return -EINVAL;
    }
    if (bus->request_unplug) {
        return bus->request_unplug(dev, err);
    }
    device_unplug(dev);
    return 0;
}

/* ---- running ---- */

void device_reset(struct device *dev, enum reset_reason why)
{
    XENDM_ASSERT(dev->phase != DEVICE_NEW);
    for (unsigned i = 0; i < dev->banks->len; i++) {
        reg_bank_reset(g_ptr_array_index(dev->banks, i), why);
    }
    if (dev->class->reset) {
        dev->class->reset(dev, why);
    }
}

void device_quiesce(struct device *dev)
{
    XENDM_ASSERT(dev->phase == DEVICE_RUNNING);
    dev->phase = DEVICE_QUIESCED;
    if (dev->class->quiesce) {
        dev->class->quiesce(dev);
    }
}

void device_resume(struct device *dev)
{
    XENDM_ASSERT(dev->phase == DEVICE_REALIZED || dev->phase == DEVICE_QUIESCED);
    dev->phase = DEVICE_RUNNING;
    if (dev->class->resume) {
        dev->class->resume(dev);
    }
}

void device_describe(struct device *dev, struct facts *to)
{
    if (dev->class->describe) {
        dev->class->describe(dev, to);
    }
    for (unsigned i = 0; i < dev->banks->len; i++) {
        reg_bank_describe(g_ptr_array_index(dev->banks, i), to);
    }
}

/* ---- resources ---- */

static int place(struct device *dev, struct aspace *as, struct region *r, uint64_t address,
                 GError **err)
{
    int rc;

    r->owner = dev;
    rc = region_place(as, r, address, err);

    if (rc < 0) {
        g_prefix_error(err, "%s: ", dev->id);
        return rc;
    }
    g_ptr_array_add(dev->owned, r);
    return 0;
}

int device_place_pio(struct device *dev, struct region *r, uint16_t port, GError **err)
{
    return place(dev, dev->machine->pio, r, port, err);
}

int device_place_mmio(struct device *dev, struct region *r, uint64_t address, GError **err)
{
    return place(dev, dev->machine->mmio, r, address, err);
}

void device_connect_isa_irq(struct device *dev, struct irq *irq, unsigned number)
{
    XENDM_ASSERT(number < 16);
    irq_connect(irq, &dev->machine->isa_irq[number]);
}
