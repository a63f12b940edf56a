/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scsi-hd and scsi-cd: targets as devices, and the bus of a host adapter that they are on. Each has
 * one logical unit, 0, and an id of its own.
 *
 * The adapter makes the tasks and frees them. A unit that is taken out is off its bus at once, and
 * is freed when the last task that the host worked on is back.
 */
#include <errno.h>

#include <xendm/backend.h>
#include <xendm/classes.h>
#include <xendm/machine.h>
#include <xendm/recorder.h>

#include "scsi-internal.h"

static struct scsi_unit *unit_of(struct device *dev)
{
    return DEVICE_CAST(struct scsi_unit, dev);
}

/* ---- the bus ---- */

static bool id_taken(const struct bus *bus, uint32_t id)
{
    const struct scsi_host *h = (const struct scsi_host *)bus;

    for (unsigned i = 0; i < bus->devices->len; i++) {
        if (unit_of(g_ptr_array_index(bus->devices, i))->id == id) {
            return true;
        }
    }
    return id == h->own_id;
}

static int bus_take(struct bus *bus, struct device *dev, GError **err)
{
    const struct scsi_host *h = (const struct scsi_host *)bus;
    struct scsi_unit *u = unit_of(dev);
    uint32_t id = u->id == SCSI_ANY_ID ? 0 : u->id;

    while (u->id == SCSI_ANY_ID && id < h->ids && id_taken(bus, id)) {
        id++;
    }
    if (id >= h->ids) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: scsi-id=%u: %s has the ids 0 to %u", dev->id, id,
                    bus->id, h->ids - 1);
        return -EINVAL;
    }
    if (id_taken(bus, id)) {
        g_set_error(err, XENDM_ERROR, EBUSY, "%s: scsi-id=%u of %s is taken", dev->id, id, bus->id);
        return -EBUSY;
    }
    u->id = id;
    bus_add(bus, dev);
    return 0;
}

static int bus_on(struct device *dev, GError **err)
{
    struct scsi_unit *u = unit_of(dev);

    u->host = (struct scsi_host *)dev->bus;
    u->host->unit[u->id] = u;
    return 0;
}

static void detach(struct scsi_unit *u)
{
    struct scsi_host *h = u->host;

    if (h) {
        h->unit[u->id] = NULL;
        u->host = NULL;
        h->ops->gone(h, u);
    }
}

static void bus_off(struct device *dev)
{
    detach(unit_of(dev));
}

static const struct property bus_place[] = {
    {.name = "scsi-id",
     .type = PROP_UINT32,
     .offset = offsetof(struct scsi_unit, id),
     .def = "4294967295",
     .help = "its id, from 0; without: the first that is free"},
    {.name = NULL},
};

const struct bus_class scsi_bus_class = {
    .name = "SCSI",
    .place = bus_place,
    .hotplug = true,
    .take = bus_take,
    .on = bus_on,
    .off = bus_off,
    .leave = bus_remove,
};

/* "scsi.0" is QEMU's name of the bus of an adapter without id. */
void scsi_host_init(struct scsi_host *h, struct device *controller, uint32_t ids, uint32_t own_id,
                    const struct scsi_host_ops *ops)
{
    h->ops = ops;
    h->controller = controller;
    h->ids = ids;
    h->own_id = own_id;
    h->id = bus_id(controller, "scsi.0");
    bus_init(&h->bus, &scsi_bus_class, controller->machine, controller, h->id);
}

void scsi_host_fini(struct scsi_host *h)
{
    while (h->bus.devices->len > 0) {
        struct device *dev = g_ptr_array_index(h->bus.devices, h->bus.devices->len - 1);

        bus_off(dev);
        bus_remove(dev);
        device_unplug(dev);
    }
    bus_fini(&h->bus);
    g_clear_pointer(&h->id, g_free);
}

/* ---- the guest's PV driver takes over ---- */

static void release_holder(struct scsi_unit *u)
{
    if (u->holder && device_is_held(u->holder)) {
        device_release(u->holder);
    }
    u->holder = NULL;
}

static void unplug_end(struct scsi_unit *u)
{
    if (block_present(u->block)) {
        block_eject(u->block);
    }
    log_info(LOG_SCSI, "%s: unplugged by the guest", u->dev.id);
    machine_event_unplugged(u->dev.machine, u->dev.id);
    release_holder(u);
}

static void unplug_flushed(struct block_request *req, int error)
{
    struct scsi_unit *u = req->opaque;

    u->flushing = false;
    if (error) {
        log_warning(LOG_SCSI, "%s: flush before the unplugging failed: %s", u->dev.id,
                    g_strerror(-error));
        machine_event_block_error(u->dev.machine, u->dev.id, "flush", error);
    }
    unplug_end(u);
}

static void unplug_quiet(void *opaque)
{
    struct scsi_unit *u = opaque;

    if (!block_present(u->block)) {
        unplug_end(u);
        return;
    }
    u->flushing = true;
    u->flush = (struct block_request){.op = BLOCK_FLUSH, .done = unplug_flushed, .opaque = u};
    block_submit(u->queue, &u->flush);
}

/* Nothing of ours may touch the image from here on. The vCPU that asked waits, and nobody else. */
static void hd_unplug(struct device *dev, unsigned what)
{
    struct scsi_unit *u = unit_of(dev);

    if (!(what & UNPLUG_DISKS) || u->unplugged) {
        return;
    }
    u->unplugged = true;
    u->holder = dev->machine->holds.by_this ? dev->machine->holds.by_this : dev;
    device_hold(u->holder);
    detach(u);
    block_quiesce(u->queue, unplug_quiet, u);
}

/* ---- life ---- */

static int unit_realize(struct device *dev, const struct scsi_type *type)
{
    struct scsi_unit *u = unit_of(dev);

    u->target = (struct scsi_target){
        .type = type,
        .dev = dev,
        .block = u->block,
        .model = u->model,
        .firmware = u->firmware,
        .serial = u->serial,
        .buffer = g_malloc0(SCSI_BUFFER),
    };
    u->queue = u->block ? block_queue_new(u->block) : NULL;
    scsi_target_init(&u->target);
    return 0;
}

static int hd_realize(struct device *dev, GError **err)
{
    return unit_realize(dev, &scsi_disk_type);
}

static int cd_realize(struct device *dev, GError **err)
{
    return unit_realize(dev, &scsi_cd_type);
}

static void unit_unrealize(struct device *dev)
{
    struct scsi_unit *u = unit_of(dev);

    detach(u);
    XENDM_ASSERT(u->tasks == 0 &&
                 !u->flushing); /* whoever frees a device waits until it is not busy */
    release_holder(u);
    scsi_target_fini(&u->target);
    block_queue_free(u->queue);
    g_free(u->target.buffer);
}

static void unit_reset(struct device *dev, enum reset_reason why)
{
    scsi_target_reset(&unit_of(dev)->target, true);
}

/* While it is on its bus the tasks are the adapter's to wait for. */
static bool unit_busy(struct device *dev)
{
    const struct scsi_unit *u = unit_of(dev);

    return u->flushing || (!u->host && u->tasks > 0);
}

static void unit_describe(struct device *dev, struct facts *to)
{
    const struct scsi_unit *u = unit_of(dev);

    if (u->unplugged) {
        fact_bool(to, "unplugged by the guest", true);
        return;
    }
    fact_int(to, "id", u->id);
    fact_text(to, "model", "%s", u->model);
    fact_text(to, "serial", "%s", u->serial ? u->serial : "");
    fact_text(to, "file", "%s", u->block ? block_file(u->block) : "");
    fact_int(to, "commands under way", u->tasks);
    scsi_target_describe(&u->target, to);
}

static const struct state_field unit_fields[] = {
    STATE_SCSI_TARGET(struct scsi_unit, target),
    STATE_FIELD_BOOL(struct scsi_unit, unplugged),
    STATE_FIELD_END,
};

static void unit_post_load(void *base)
{
    struct scsi_unit *u = base;

    if (u->unplugged) {
        detach(u);
        if (u->block && block_present(u->block)) {
            block_eject(u->block);
        }
    }
}

static const struct state_desc unit_state = {
    .name = "scsi-unit",
    .version = 1,
    .fields = unit_fields,
    .post_load = unit_post_load,
};

#define UNIT_PROPERTIES(product, need, about) \
    {.name = "drive", \
     .type = PROP_BACKEND, \
     .kind = BACKEND_BLOCK, \
     .offset = offsetof(struct scsi_unit, block), \
     .required = (need), \
     .help = about}, \
        {.name = "serial", \
         .type = PROP_STRING, \
         .offset = offsetof(struct scsi_unit, serial), \
         .help = "serial number"}, \
        {.name = "product", \
         .type = PROP_STRING, \
         .offset = offsetof(struct scsi_unit, model), \
         .def = product, \
         .help = "as INQUIRY says it"}, \
        {.name = "ver", \
         .type = PROP_STRING, \
         .offset = offsetof(struct scsi_unit, firmware), \
         .def = "2.5+", \
         .help = "revision"}, \
    { \
        .name = NULL \
    }

static const struct property hd_properties[] = {
    UNIT_PROPERTIES("XENDM HARDDISK", true, "the disk's image, of -drive if=none")};
static const struct property cd_properties[] = {
    UNIT_PROPERTIES("XENDM CD-ROM", false, "the disc's image, of -drive if=none; without: empty")};

const struct device_class scsi_hd_class = {
    .name = "scsi-hd",
    .help = "SCSI disk",
    .size = sizeof(struct scsi_unit),
    .properties = hd_properties,
    .state = &unit_state,
    .recorded = true,
    .bus = &scsi_bus_class,
    .hotplug = true,
    .realize = hd_realize,
    .reset = unit_reset,
    .busy = unit_busy,
    .unplug = hd_unplug,
    .unrealize = unit_unrealize,
    .describe = unit_describe,
};

const struct device_class scsi_cd_class = {
    .name = "scsi-cd",
    .help = "SCSI CD/DVD-ROM drive",
    .size = sizeof(struct scsi_unit),
    .properties = cd_properties,
    .state = &unit_state,
    .recorded = true,
    .bus = &scsi_bus_class,
    .hotplug = true,
    .realize = cd_realize,
    .reset = unit_reset,
    .busy = unit_busy,
    .unrealize = unit_unrealize,
    .describe = unit_describe,
};
