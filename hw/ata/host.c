/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bus that drives are on; see xendm/ata.h. */
#include <errno.h>

#include <xendm/tape.h>

#include "ata-internal.h"

static int ata_take(struct bus *bus, struct device *dev, GError **err)
{
    struct ata_host *h = (struct ata_host *)bus;
    struct ata_drive *d = ata_drive_of(dev);

    if (d->unit >= h->units) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: %s has no unit %u", dev->id, bus->id, d->unit);
        return -EINVAL;
    }
    for (unsigned i = 0; i < bus->devices->len; i++) {
        struct ata_drive *other = g_ptr_array_index(bus->devices, i);

        if (other->unit == d->unit) {
            g_set_error(err, XENDM_ERROR, EBUSY, "%s: %s unit %u is taken by %s", dev->id, bus->id,
                        d->unit, other->dev.id);
            return -EBUSY;
        }
    }
    bus_add(bus, dev);
    return 0;
}

static int ata_on(struct device *dev, GError **err)
{
    struct ata_host *h = (struct ata_host *)dev->bus;

    if (h->ops->attached) {
        h->ops->attached(h);
    }
    return 0;
}

static void ata_off(struct device *dev)
{
    ata_drive_off(ata_drive_of(dev));
}

static const struct property ata_place[] = {
    {.name = "unit",
     .type = PROP_UINT32,
     .offset = offsetof(struct ata_drive, unit),
     .max = 1,
     .help = "0 master, 1 slave"},
    {.name = NULL},
};

const struct bus_class ata_bus_class = {
    .name = "IDE",
    .place = ata_place,
    .hotplug = true,
    .take = ata_take,
    .on = ata_on,
    .off = ata_off,
    .leave = bus_remove,
};

/* ---- the guest's list of memory ---- */

#define SLICE_US 500
#define SLICE_LOOK 32u /* pieces between two looks at the clock */

bool ata_slice_over(struct ata_slice *s)
{
    int64_t now;

    if (++s->steps % SLICE_LOOK) {
        return false;
    }
    now = g_get_monotonic_time();
    if (s->end == 0) {
        s->end = now + SLICE_US;
    }
    return tape_late(now >= s->end);
}

int64_t ata_host_copy(struct ata_host *h, const struct ata_pieces *pieces, void *buf, uint32_t len,
                      enum dma_direction direction, bool *ended)
{
    struct ata_slice slice = {0};
    uint32_t done = 0;

    *ended = false;
    while (done < len) {
        uint8_t *at = (uint8_t *)buf + done;
        uint64_t address;
        uint32_t run;
        int err = pieces->next(h, len - done, &address, &run);

        if (err == -ENODATA) {
            *ended = true;
            break;
        }
        if (err == 0) {
            err = direction == DMA_FROM_DEVICE ? dma_write(h->controller, address, at, run)
                                               : dma_read(h->controller, address, at, run);
            if (err) {
                h->bad_address = address;
            }
        }
        if (err) {
            return err;
        }
        pieces->took(h, run);
        done += run;
        if (ata_slice_over(&slice)) {
            break;
        }
    }
    return done;
}

/* ---- life ---- */

void ata_host_init(struct ata_host *h, struct device *controller, char *id,
                   const struct ata_host_ops *ops, unsigned units)
{
    h->ops = ops;
    h->controller = controller;
    h->units = units;
    h->id = id;
    bus_init(&h->bus, &ata_bus_class, controller->machine, controller, id);
    h->bus.fixed = !ops->attached;
}

void ata_host_fini(struct ata_host *h)
{
    if (!h->ops) {
        return;
    }
    while (h->bus.devices->len > 0) {
        struct device *dev = g_ptr_array_index(h->bus.devices, h->bus.devices->len - 1);

        device_unplug(dev);
        bus_remove(dev);
    }
    bus_fini(&h->bus);
    g_clear_pointer(&h->id, g_free);
    h->ops = NULL;
}
