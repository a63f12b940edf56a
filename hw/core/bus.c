/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Buses; see xendm/bus.h. */
#include <errno.h>
#include <string.h>

#include <xendm/bus.h>
#include <xendm/machine.h>
#include <xendm/recorder.h>

#include "core.h"

void bus_init(struct bus *bus, const struct bus_class *class, struct machine *m,
              struct device *owner, const char *id)
{
    XENDM_ASSERT(class->take && class->leave);
    bus->class = class;
    bus->id = id;
    bus->machine = m;
    bus->owner = owner;
    bus->devices = g_ptr_array_new();
    g_ptr_array_add(machine_private(m)->buses, bus);
}

void bus_fini(struct bus *bus)
{
    XENDM_ASSERT(bus->devices->len == 0);
    g_ptr_array_remove(machine_private(bus->machine)->buses, bus);
    g_clear_pointer(&bus->devices, g_ptr_array_unref);
}

char *bus_id(const struct device *controller, const char *unnamed)
{
    return strcmp(controller->id, controller->class->name) == 0
               ? g_strdup(unnamed)
               : g_strdup_printf("%s.0", controller->id);
}

static bool is_called(const struct bus *bus, const char *id)
{
    return strcmp(bus->id, id) == 0 || (bus->owner && strcmp(bus->owner->id, id) == 0);
}

struct bus *bus_find(struct machine *m, const struct bus_class *class, const char *id, GError **err)
{
    GPtrArray *buses = machine_private(m)->buses;
    g_autoptr(GString) known = g_string_new(NULL);
    struct bus *newest = NULL;

    for (unsigned i = 0; i < buses->len; i++) {
        struct bus *bus = g_ptr_array_index(buses, i);

        if (bus->class != class) {
            continue;
        }
        if (id ? is_called(bus, id) : !class->newest) {
            return bus;
        }
        newest = bus;
        g_string_append_printf(known, "%s%s", known->len ? ", " : "", bus->id);
    }
    if (!id && newest) {
        return newest;
    }
    if (known->len) {
        g_set_error(err, XENDM_ERROR, ENOENT, "there is no %s bus \"%s\", only %s", class->name, id,
                    known->str);
    } else {
        g_set_error(err, XENDM_ERROR, ENOENT, "there is no %s bus", class->name);
    }
    return NULL;
}

void bus_add(struct bus *bus, struct device *dev)
{
    XENDM_ASSERT(!dev->bus);
    dev->bus = bus;
    g_ptr_array_add(bus->devices, dev);
}

void bus_remove(struct device *dev)
{
    if (dev->bus) {
        g_ptr_array_remove(dev->bus->devices, dev);
        dev->bus = NULL;
    }
}
