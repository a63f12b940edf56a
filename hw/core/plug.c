/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices from descriptions, plugged into their buses; see xendm/bus.h. */
#include <errno.h>
#include <string.h>

#include <xendm/bus.h>
#include <xendm/machine.h>

#include "core.h"

/* A machine that is complete gets only what may come and go. */
static int may_come(struct machine *m, const struct device_class *class, GError **err)
{
    if (m->state == MACHINE_BUILDING) {
        return 0;
    }
    tape_unrecorded("a device is plugged in");
    if (!class->hotplug || !bus_class_of(class) || !bus_class_of(class)->hotplug) {
        g_set_error(err, XENDM_ERROR, EINVAL, "Device '%s' does not support hotplugging",
                    class->name);
        return -EINVAL;
    }
    return 0;
}

static int set_options(struct device *dev, const struct object_desc *desc, GError **err)
{
    int rc = 0;

    for (guint i = 0; rc == 0 && desc->options && i < desc->options->len; i++) {
        const struct option_desc *o = &g_array_index(desc->options, struct option_desc, i);

        if (bus_class_of(dev->class) && strcmp(o->name, "bus") == 0) {
            continue;
        }
        rc = device_set(dev, o->name, o->value, err);
    }
    return rc;
}

static int plug(struct device *dev, const struct object_desc *desc, GError **err)
{
    const struct bus_class *class = bus_class_of(dev->class);
    int rc = set_options(dev, desc, err);

    if (rc == 0 && class) {
        struct bus *bus = bus_find(dev->machine, class, object_option(desc, "bus"), err);

        if (!bus) {
            g_prefix_error(err, "%s: ", dev->id);
            return -ENOENT;
        }
        if (bus->fixed && dev->machine->state != MACHINE_BUILDING) {
            g_set_error(err, XENDM_ERROR, EINVAL, "Bus '%s' does not support hotplugging", bus->id);
            return -EINVAL;
        }
        rc = class->take(bus, dev, err);
    }
    return rc == 0 ? device_realize(dev, err) : rc;
}

struct device *device_plug(struct machine *m, const struct object_desc *desc, GError **err)
{
    const struct device_class *class = device_class_find(desc->driver);
    struct device *dev;

    if (!class) {
        g_set_error(err, XENDM_ERROR, ENOENT, "'%s' is not a valid device model name",
                    desc->driver);
        return NULL;
    }
    dev = may_come(m, class, err) == 0 ? device_new(m, class, desc->id, err) : NULL;
    if (dev && plug(dev, desc, err) < 0) {
        device_free(dev);
        return NULL;
    }
    if (dev && m->state != MACHINE_BUILDING) {
        dev->plugged = object_desc_copy(desc);
    }
    return dev;
}
