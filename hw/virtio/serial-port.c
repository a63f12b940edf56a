/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ports of a virtio console: virtconsole, a terminal, and virtserialport, which has a name by
 * which an agent in the guest finds it. Each is a device on the controller's bus, with a character
 * back end, and may come and go. What the guest knows of it, and the saved state, are the
 * controller's.
 *
 * As in QEMU: number 0 is a console's, for drivers that know one port; a console is open to the
 * guest whether or not somebody looks at it, other ports are while somebody is there.
 */
#include <errno.h>
#include <string.h>

#include <xendm/classes.h>
#include <xendm/facts.h>

#include "serial.h"

static struct serial_port *port_of(struct device *dev)
{
    return DEVICE_CAST(struct serial_port, dev);
}

static struct serial_slot *slot_of(const struct serial_port *p)
{
    return &p->serial->slot[p->nr];
}

bool serial_port_is_console(const struct serial_port *p)
{
    return p->dev.class == &virtconsole_class;
}

bool serial_port_connected(const struct serial_port *p)
{
    return p->chardev && (serial_port_is_console(p) || chardev_connected(p->chardev));
}

bool serial_port_size(const struct serial_port *p, uint16_t *cols, uint16_t *rows)
{
    return p->chardev && chardev_size(p->chardev, cols, rows);
}

/* ---- the back end ---- */

static size_t on_can_receive(void *opaque)
{
    const struct serial_port *p = opaque;

    return serial_room(p->serial, p->nr);
}

/* A terminal does not say when its size changes; it is looked at with what is typed into it. */
static void on_receive(void *opaque, const uint8_t *buf, size_t len)
{
    struct serial_port *p = opaque;

    p->bytes_in += len;
    serial_input(p->serial, p->nr, buf, len);
    if (p->serial->sizes && serial_port_is_console(p)) {
        serial_tell(p->serial);
    }
}

static void on_event(void *opaque, enum chardev_event event)
{
    struct serial_port *p = opaque;
    struct serial_slot *slot = slot_of(p);

    if (event == CHARDEV_CLOSED && slot->open && !serial_port_is_console(p)) {
        slot->flapped = true;
    }
    if (event == CHARDEV_OPENED && p->serial->sizes && p->nr == 0) {
        virtio_config_changed(&p->serial->virtio);
    }
    serial_tell(p->serial);
}

static void on_writable(void *opaque)
{
    struct serial_port *p = opaque;

    serial_output(p->serial, p->nr);
}

static const struct chardev_frontend frontend = {
    .taped = true,
    .looks = true,
    .can_receive = on_can_receive,
    .receive = on_receive,
    .event = on_event,
    .writable = on_writable,
};

/* ---- the bus ---- */

static struct serial *controller_of(const struct bus *bus)
{
    return DEVICE_CAST(struct serial, bus->owner);
}

/* Those that leave do not count. */
static struct serial_port *port_at(const struct bus *bus, uint32_t nr)
{
    for (unsigned i = 0; i < bus->devices->len; i++) {
        struct device *dev = g_ptr_array_index(bus->devices, i);

        if (dev->phase != DEVICE_LEAVING && port_of(dev)->nr == nr) {
            return port_of(dev);
        }
    }
    return NULL;
}

static struct serial_port *port_named(const struct bus *bus, const char *name)
{
    for (unsigned i = 0; name && i < bus->devices->len; i++) {
        struct device *dev = g_ptr_array_index(bus->devices, i);

        if (dev->phase != DEVICE_LEAVING && g_strcmp0(port_of(dev)->name, name) == 0) {
            return port_of(dev);
        }
    }
    return NULL;
}

static uint32_t free_number(const struct bus *bus, bool console)
{
    uint32_t nr = console ? 0 : 1;

    while (nr < controller_of(bus)->max_ports && port_at(bus, nr)) {
        nr++;
    }
    return nr;
}

static int check_place(const struct bus *bus, const struct serial_port *p, GError **err)
{
    uint32_t ports = controller_of(bus)->max_ports;
    const struct serial_port *other;

    if (p->name && strlen(p->name) > SERIAL_NAME_MAX) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: the name is longer than %u bytes", p->dev.id,
                    SERIAL_NAME_MAX);
    } else if ((other = port_named(bus, p->name))) {
        g_set_error(err, XENDM_ERROR, EBUSY, "%s: the name %s is that of port %u of %s", p->dev.id,
                    p->name, other->nr, bus->id);
    } else if (p->nr == SERIAL_NR_AUTO) {
        g_set_error(err, XENDM_ERROR, EBUSY, "%s: the %u ports of %s are taken", p->dev.id, ports,
                    bus->id);
    } else if (p->nr >= ports) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: nr=%u: %s has ports 0 to %u", p->dev.id, p->nr,
                    bus->id, ports - 1);
    } else if (p->nr == 0 && !serial_port_is_console(p)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: nr=0: the first port is a virtconsole's",
                    p->dev.id);
    } else if ((other = port_at(bus, p->nr))) {
        g_set_error(err, XENDM_ERROR, EBUSY, "%s: port %u of %s is taken by %s", p->dev.id, p->nr,
                    bus->id, other->dev.id);
    } else {
        return 0;
    }
    return -EINVAL;
}

static int bus_take(struct bus *bus, struct device *dev, GError **err)
{
    struct serial_port *p = port_of(dev);
    uint32_t given = p->nr, nr;

    if (given == SERIAL_NR_AUTO) {
        nr = free_number(bus, serial_port_is_console(p));
        p->nr = nr < controller_of(bus)->max_ports ? nr : SERIAL_NR_AUTO;
    }
    if (check_place(bus, p, err) < 0) {
        p->nr = given;
        return -EINVAL;
    }
    bus_add(bus, dev);
    return 0;
}

static int bus_on(struct device *dev, GError **err)
{
    struct serial_port *p = port_of(dev);

    p->serial = controller_of(dev->bus);
    slot_of(p)->port = p;
    if (p->chardev) {
        chardev_set_frontend(p->chardev, &frontend, p);
    }
    serial_tell(p->serial);
    return 0;
}

/* What the guest had written is taken back by nobody: it is given back. */
static void bus_off(struct device *dev)
{
    struct serial_port *p = port_of(dev);
    struct serial *s = p->serial;
    struct serial_slot *slot;

    if (!s) {
        return;
    }
    if (p->chardev) {
        chardev_set_frontend(p->chardev, NULL, NULL);
    }
    slot = slot_of(p);
    *slot = (struct serial_slot){.gone = slot->added || slot->gone};
    p->serial = NULL;
    serial_output(s, p->nr);
    serial_tell(s);
}

static const struct property bus_place[] = {
    {.name = "nr",
     .type = PROP_UINT32,
     .offset = offsetof(struct serial_port, nr),
     .def = "0xffffffff",
     .help = "its number; without: the first that is free, 0 for consoles only"},
    {.name = NULL},
};

const struct bus_class serial_bus_class = {
    .name = "virtio-serial",
    .place = bus_place,
    .hotplug = true,
    .take = bus_take,
    .on = bus_on,
    .off = bus_off,
    .leave = bus_remove,
};

/* "virtio-serial-bus.0" is QEMU's name of the bus of a controller without id. */
void serial_bus_init(struct serial *s)
{
    struct device *dev = &s->virtio.pci.dev;

    s->bus_id = bus_id(dev, "virtio-serial-bus.0");
    bus_init(&s->bus, &serial_bus_class, dev->machine, dev, s->bus_id);
}

void serial_bus_fini(struct serial *s)
{
    while (s->bus.devices->len > 0) {
        struct device *dev = g_ptr_array_index(s->bus.devices, s->bus.devices->len - 1);

        bus_off(dev);
        bus_remove(dev);
        device_unplug(dev);
    }
    bus_fini(&s->bus);
    g_clear_pointer(&s->bus_id, g_free);
}

/* ---- the two classes ---- */

static void port_describe(struct device *dev, struct facts *to)
{
    const struct serial_port *p = port_of(dev);

    fact_int(to, "nr", p->nr);
    fact_text(to, "name", "%s", p->name ? p->name : "");
    fact_text(to, "character device", "%s", p->chardev ? chardev_label(p->chardev) : "");
    fact_bool(to, "host connected", serial_port_connected(p));
    if (p->serial) {
        fact_bool(to, "opened by the guest", slot_of(p)->driver_open);
        fact_bool(to, "waits for room", slot_of(p)->waits);
    }
    fact_int(to, "bytes to the guest", (int64_t)p->bytes_in);
    fact_int(to, "bytes of the guest", (int64_t)p->bytes_out);
}

static const struct property properties[] = {
    {.name = "chardev",
     .type = PROP_BACKEND,
     .offset = offsetof(struct serial_port, chardev),
     .kind = BACKEND_CHAR,
     .help = "the other end; without: nowhere"},
    {.name = "name",
     .type = PROP_STRING,
     .offset = offsetof(struct serial_port, name),
     .help = "by which the guest finds it, as org.qemu.guest_agent.0"},
    {.name = NULL},
};

#define PORT_CLASS(name_, help_) \
    { \
        .name = (name_), .help = (help_), .size = sizeof(struct serial_port), \
        .properties = properties, .bus = &serial_bus_class, .hotplug = true, .recorded = true, \
        .describe = port_describe, \
    }

const struct device_class virtconsole_class =
    PORT_CLASS("virtconsole", "a console of a virtio-serial-pci");
const struct device_class virtport_class =
    PORT_CLASS("virtserialport", "a port of a virtio-serial-pci, with a name");
