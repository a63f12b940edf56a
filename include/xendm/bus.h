/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buses: where a device is plugged in, and how it comes and goes while the guest runs.
 *
 *   device_new → properties → bus: take → realize (bus: prepare, class, bus: on) → …
 *     … → device_unplug: quiesce, bus: off → (busy() is false) → unrealize, bus: release, leave
 *
 * A bus is embedded in what owns it: the machine's PCI bus, a controller. Its class says which
 * properties name a place on it; those and "bus=ID" are options of every device whose class names
 * the bus class.
 */
#ifndef XENDM_BUS_H
#define XENDM_BUS_H

#include <stdbool.h>

#include <glib.h>

#include <xendm/device.h>
#include <xendm/object.h>

struct bus {
    const struct bus_class *class;
    const char *id; /* "pci.0", "scsi0.0"; unique in the machine */
    struct machine *machine;
    struct device *owner; /* the controller; NULL: the machine */
    bool fixed;           /* whatever the classes say, nothing comes or goes at run time */
    GPtrArray *devices; /* struct device *, in the order of plugging; those that leave are in it */
};

/* All but `take` and `leave` may be NULL. */
struct bus_class {
    const char *name;
    /*
     * "addr"; "unit"; "scsi-id", "lun"; "port": properties of the devices on it, whose offsets are
     * in the structure that all devices of this bus begin with: numbers and texts. `take` stores
     * what it chose, so that they say where a device is.
     */
    const struct property *place;
    bool hotplug; /* devices may come and go while the machine runs */
    bool newest; /* who names none is on the one that was made last, as with QEMU; else the first */

    /* By its place properties; -EBUSY names who is there. The device is on the bus after that. */
    int (*take)(struct bus *bus, struct device *dev, GError **err);
    /* Before class->realize: what the device may then describe. */
    int (*prepare)(struct device *dev, GError **err);
    /* After it: accesses arrive. */
    int (*on)(struct device *dev, GError **err);
    /* No access arrives, no interrupt leaves, no memory is reached any more. More than once. */
    void (*off)(struct device *dev);
    /* After class->unrealize, or when it failed. */
    void (*release)(struct device *dev);
    void (*leave)(struct device *dev);
    /* Before the device's own reset. */
    void (*reset)(struct device *dev, enum reset_reason why);
    /*
     * The toolstack wants it out, and the guest has to be asked (ACPI, SHPC): ends in
     * device_unplug() some time, or never. NULL: it goes at once.
     */
    int (*request_unplug)(struct device *dev, GError **err);
};

void bus_init(struct bus *bus, const struct bus_class *class, struct machine *m,
              struct device *owner, const char *id);
void bus_fini(struct bus *bus); /* nothing may be on it */
/* QEMU's name of a controller's bus, to be freed: `unnamed` if the controller was given no id. */
char *bus_id(const struct device *controller, const char *unnamed);
/*
 * `id`: the bus' own or its controller's; NULL: the first of its class. NULL with `err` that says
 * which there are.
 */
struct bus *bus_find(struct machine *m, const struct bus_class *class, const char *id,
                     GError **err);

/* For bus classes: `dev` is on `bus` from now on, or on none. */
void bus_add(struct bus *bus, struct device *dev);
void bus_remove(struct device *dev);

/*
 * Makes, sets, plugs and realizes: for the command line, for device_add, and while the machine
 * runs. NULL with `err`, and nothing is left of it.
 */
struct device *device_plug(struct machine *m, const struct object_desc *desc, GError **err);

/*
 * Takes it out, from wherever it is called, a register access of its own included: nothing reaches
 * it from here on, its id is free, and it is freed when the main loop comes round and its busy() is
 * false. machine_event_unplugged() follows. Its timers may still fire until then. Again: no effect.
 */
void device_unplug(struct device *dev);

/* -EINVAL: it cannot be unplugged; else the bus asks whoever has to agree. */
int device_request_unplug(struct device *dev, GError **err);

#endif
