/* SPDX-License-Identifier: GPL-2.0-or-later */
/* USB buses: a controller's ports and what is in them; see xendm/usb.h. */
#include <errno.h>
#include <string.h>

#include <xendm/error.h>
#include <xendm/machine.h>
#include <xendm/numbers.h>
#include <xendm/usb.h>

static struct usb_device *usb_of(struct device *dev)
{
    return DEVICE_CAST(struct usb_device, dev);
}

static struct usb_port *hub_ports(const struct usb_port *port, unsigned *count)
{
    struct usb_device *dev = port->device;

    *count = 0;
    return dev && dev->dev.phase != DEVICE_NEW && dev->dev.class->usb->ports
               ? dev->dev.class->usb->ports(dev, count)
               : NULL;
}

/* The controller's first, then those of hubs, in the order of their ports. */
static struct usb_port *free_port(struct usb_port *ports, unsigned count)
{
    struct usb_port *found = NULL;

    for (unsigned i = 0; i < count && !found; i++) {
        found = ports[i].device ? NULL : &ports[i];
    }
    for (unsigned i = 0; i < count && !found; i++) {
        unsigned n;
        struct usb_port *behind = hub_ports(&ports[i], &n);

        found = free_port(behind, n);
    }
    return found;
}

/* "2.3"; NULL: there is none. */
static struct usb_port *named_port(struct usb_bus *bus, const char *name)
{
    g_auto(GStrv) parts = g_strsplit(name, ".", -1);
    struct usb_port *ports = bus->ports, *port = NULL;
    unsigned count = bus->count;

    for (char **part = parts; *part; part++) {
        uint64_t number;

        if (number_parse(*part, 1, count, &number) < 0) {
            return NULL;
        }
        port = &ports[number - 1];
        ports = hub_ports(port, &count);
    }
    return port;
}

static struct usb_port *find_port(struct usb_bus *bus, const struct usb_device *dev, GError **err)
{
    struct usb_port *port = free_port(bus->ports, bus->count);

    if (!dev->port_name) {
        if (!port) {
            g_set_error(err, XENDM_ERROR, EBUSY,
                        "%s: the %u ports of %s are taken; a usb-hub has more", dev->dev.id,
                        bus->count, bus->id);
        }
        return port;
    }
    port = named_port(bus, dev->port_name);
    if (!port) {
        g_set_error(
            err, XENDM_ERROR, EINVAL,
            "%s: property port: %s has ports 1 to %u, and those of hubs, as 2.1; not \"%s\"",
            dev->dev.id, bus->id, bus->count, dev->port_name);
        return NULL;
    }
    if (port->device) {
        g_set_error(err, XENDM_ERROR, EBUSY, "%s: port %u of %s is taken by %s", dev->dev.id,
                    port->number, bus->id, port->device->dev.id);
        return NULL;
    }
    return port;
}

static int bus_take(struct bus *base, struct device *dev, GError **err)
{
    struct usb_bus *bus = (struct usb_bus *)base;
    struct usb_port *port = find_port(bus, usb_of(dev), err);

    if (!port) {
        return -EBUSY;
    }
    if (dev->class->usb->descriptors && !(port->speeds & 1u << dev->class->usb->speed)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: %s is too slow or too fast for it", dev->id,
                    bus->id);
        return -EINVAL;
    }
    port->device = usb_of(dev);
    usb_of(dev)->port = port;
    if (!usb_of(dev)->port_name) {
        usb_of(dev)->port_name = usb_device_path(usb_of(dev));
    }
    bus_add(base, dev);
    return 0;
}

const char *usb_speed_name(enum usb_speed speed)
{
    static const char *const names[] = {"low", "full", "high", "super"};

    return names[speed];
}

int usb_attach(struct usb_device *dev, unsigned speeds, GError **err)
{
    unsigned both = dev->port ? dev->port->speeds & speeds : 0;

    if (!both) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: its port is too slow or too fast for it",
                    dev->dev.id);
        return -EINVAL;
    }
    dev->speed = (enum usb_speed)g_bit_nth_msf(both, -1);
    dev->attached = true;
    dev->port->ops->attached(dev->port);
    return 0;
}

void usb_detach(struct usb_device *dev)
{
    if (dev->attached) {
        dev->port->ops->detached(dev->port);
        dev->attached = false;
    }
}

/* The guest sees it when it is complete. */
static int bus_on(struct device *dev, GError **err)
{
    return dev->class->usb->descriptors ? usb_attach(usb_of(dev), 1u << dev->class->usb->speed, err)
                                        : 0;
}

static void bus_off(struct device *dev)
{
    struct usb_port *port = usb_of(dev)->port;
    unsigned count = 0;
    struct usb_port *behind = port ? hub_ports(port, &count) : NULL;

    for (unsigned i = 0; i < count; i++) { /* with a hub goes what is behind it */
        if (behind[i].device) {
            device_unplug(&behind[i].device->dev);
        }
    }
    if (port) {
        usb_detach(usb_of(dev));
        port->device = NULL;
        usb_of(dev)->port = NULL;
    }
}

/* Also of one that was never on: its realize failed. */
static void bus_leave(struct device *dev)
{
    struct usb_port *port = usb_of(dev)->port;

    if (port) {
        usb_of(dev)->attached = false;
        port->device = NULL;
        usb_of(dev)->port = NULL;
    }
    bus_remove(dev);
}

static const struct property bus_place[] = {
    {.name = "port",
     .type = PROP_STRING,
     .offset = offsetof(struct usb_device, port_name),
     .help = "of the controller, from 1, or of a hub in it, as 2.1"},
    {.name = NULL},
};

const struct bus_class usb_bus_class = {
    .name = "USB",
    .place = bus_place,
    .hotplug = true,
    .take = bus_take,
    .on = bus_on,
    .off = bus_off,
    .leave = bus_leave,
};

/* "usb-bus.0" is QEMU's name of the bus of a controller without id. */
void usb_bus_init(struct usb_bus *bus, struct device *controller, struct usb_port *ports,
                  unsigned count)
{
    bus->ports = ports;
    bus->count = count;
    bus->id = bus_id(controller, "usb-bus.0");
    for (unsigned i = 0; i < count; i++) {
        ports[i].number = i + 1;
    }
    bus_init(&bus->bus, &usb_bus_class, controller->machine, controller, bus->id);
}

void usb_bus_fini(struct usb_bus *bus)
{
    while (bus->bus.devices->len > 0) {
        struct device *dev = g_ptr_array_index(bus->bus.devices, bus->bus.devices->len - 1);

        bus_leave(dev);
        device_unplug(dev);
    }
    bus_fini(&bus->bus);
    g_clear_pointer(&bus->id, g_free);
}

void usb_foreach(struct machine *m, void (*each)(void *opaque, struct usb_device *dev),
                 void *opaque)
{
    for (unsigned i = 0; i < m->devices->len; i++) {
        struct device *dev = g_ptr_array_index(m->devices, i);

        if (usb_device_is(dev) && usb_of(dev)->attached) {
            each(opaque, usb_of(dev));
        }
    }
}
