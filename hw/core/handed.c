/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Live update: devices that came while the machine ran come again, and those that have something of
 * the host's hand it on. The names of the values: docs/live-update.md.
 */
#include <errno.h>
#include <inttypes.h>

#include <xendm/bus.h>
#include <xendm/error.h>
#include <xendm/handover.h>
#include <xendm/machine.h>

#define PLUGGED_MAX 1000u
#define OPTIONS_MAX 100u

static char *plugged_group(unsigned number)
{
    return g_strdup_printf("plugged %u", number);
}

static char *option_key(const char *what, unsigned number)
{
    return g_strdup_printf("%s %u", what, number);
}

/* Where it is, not where it would come to be now. */
static struct object_desc *describe_place(const struct device *dev)
{
    struct object_desc *o = object_desc_copy(dev->plugged);
    const struct property *p = dev->bus ? dev->bus->class->place : NULL;

    for (; p && p->name; p++) {
        const void *at = (const uint8_t *)dev + p->offset;
        const char *text = p->type == PROP_STRING ? *(char *const *)at : NULL;

        if (p->type == PROP_UINT32) {
            g_autofree char *number = g_strdup_printf("%" PRIu32, *(const uint32_t *)at);

            object_desc_set(o, p->name, number);
        } else if (text) {
            object_desc_set(o, p->name, text);
        }
    }
    return o;
}

static void put_plugged(const struct device *dev, unsigned number, struct handover *to)
{
    struct object_desc *o = describe_place(dev);
    g_autofree char *group = plugged_group(number);

    handover_put_text(to, group, "driver", o->driver);
    if (o->id) {
        handover_put_text(to, group, "id", o->id);
    }
    handover_put_int(to, group, "options", o->options->len);
    for (guint i = 0; i < o->options->len; i++) {
        const struct option_desc *option = &g_array_index(o->options, struct option_desc, i);
        g_autofree char *name = option_key("name", i), *value = option_key("value", i);

        handover_put_text(to, group, name, option->name);
        handover_put_text(to, group, value, option->value);
    }
    object_desc_free(o);
}

void machine_hand_over_plan(const struct machine *m, struct handover *to)
{
    unsigned number = 0;

    for (unsigned i = 0; i < m->devices->len; i++) {
        const struct device *dev = g_ptr_array_index(m->devices, i);

        if (dev->plugged && dev->phase != DEVICE_LEAVING) {
            put_plugged(dev, number++, to);
        }
    }
}

/* NULL: there are no more. */
static struct object_desc *take_plugged(const struct handover *from, unsigned number)
{
    g_autofree char *group = plugged_group(number);
    g_autofree char *driver = handover_text(from, group, "driver");
    g_autofree char *id = handover_text(from, group, "id");
    int64_t options = handover_int(from, group, "options", 0);
    struct object_desc *o = driver ? object_desc_new(OBJECT_DEVICE, 0, driver, id) : NULL;

    for (unsigned i = 0; o && i < MIN(options, OPTIONS_MAX); i++) {
        g_autofree char *name_key = option_key("name", i), *value_key = option_key("value", i);
        g_autofree char *name = handover_text(from, group, name_key);
        g_autofree char *value = handover_text(from, group, value_key);

        if (name && value) {
            object_desc_set(o, name, value);
        }
    }
    return o;
}

int machine_plug_as_before(struct machine *m, const struct handover *from, GError **err)
{
    for (unsigned i = 0; i < PLUGGED_MAX; i++) {
        struct object_desc *o = take_plugged(from, i);
        struct device *dev = o ? device_plug(m, o, err) : NULL;

        if (o && !dev) {
            object_desc_free(o);
            return -EINVAL;
        }
        if (!o) {
            break;
        }
        dev->plugged = o;
    }
    return 0;
}

static char *device_group(const struct device *dev)
{
    return g_strdup_printf("device %s", dev->id);
}

void machine_hand_over(const struct machine *m, struct handover *to)
{
    for (unsigned i = 0; i < m->devices->len; i++) {
        const struct device *dev = g_ptr_array_index(m->devices, i);

        if (dev->class->hand_over) {
            g_autofree char *group = device_group(dev);

            dev->class->hand_over(dev, to, group);
        }
    }
}

int machine_take_over(struct machine *m, const struct handover *from, GError **err)
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < m->devices->len; i++) {
        struct device *dev = g_ptr_array_index(m->devices, i);

        if (dev->class->take_over) {
            g_autofree char *group = device_group(dev);

            rc = dev->class->take_over(dev, from, group, err);
        }
    }
    return rc;
}
