/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scsi-hd and scsi-cd: logical units as devices, and the bus of a host adapter that they are on.
 * Those with one id are one target.
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

struct scsi_unit *scsi_host_unit(const struct scsi_host *h, uint32_t id, uint32_t lun)
{
    struct scsi_unit *u = id < SCSI_IDS ? h->unit[id] : NULL;

    while (u && u->lun < lun) {
        u = u->next;
    }
    return u && u->lun == lun ? u : NULL;
}

void scsi_lun_store(uint8_t *to, uint32_t lun)
{
    memset(to, 0, 8);
    to[0] = lun < 256 ? 0 : (uint8_t)(0x40 | lun >> 8);
    to[1] = (uint8_t)lun;
}

/* Also units that the guest has unplugged, or that are not realized yet, have their place. */
static bool is_taken(const struct bus *bus, uint32_t id, uint32_t lun)
{
    const struct scsi_host *h = (const struct scsi_host *)bus;

    for (unsigned i = 0; i < bus->devices->len; i++) {
        const struct scsi_unit *u = unit_of(g_ptr_array_index(bus->devices, i));

        if (u->id == id && u->lun == lun) {
            return true;
        }
    }
    return id == h->own_id;
}

/* As QEMU does it: without an id the first target that has no such LUN; else the first LUN. */
static void find_place(const struct bus *bus, const struct scsi_unit *u, uint32_t *id,
                       uint32_t *lun)
{
    const struct scsi_host *h = (const struct scsi_host *)bus;

    *id = u->id == SCSI_ANY ? 0 : u->id;
    *lun = u->lun == SCSI_ANY ? 0 : u->lun;
    while (u->id == SCSI_ANY && *id < h->ids && is_taken(bus, *id, *lun)) {
        ++*id;
    }
    while (u->id != SCSI_ANY && u->lun == SCSI_ANY && *lun + 1 < h->luns &&
           is_taken(bus, *id, *lun)) {
        ++*lun;
    }
}

static int check_place(const struct bus *bus, const struct scsi_unit *u, GError **err)
{
    const struct scsi_host *h = (const struct scsi_host *)bus;

    if (u->channel) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: channel=%u: %s has channel 0 alone", u->dev.id,
                    u->channel, bus->id);
        return -EINVAL;
    }
    if (u->lun != SCSI_ANY && u->lun >= h->luns) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: lun=%u: %s has LUNs up to %u", u->dev.id, u->lun,
                    bus->id, h->luns - 1);
        return -EINVAL;
    }
    return 0;
}

static int bus_take(struct bus *bus, struct device *dev, GError **err)
{
    const struct scsi_host *h = (const struct scsi_host *)bus;
    struct scsi_unit *u = unit_of(dev);
    uint32_t id, lun;

    if (check_place(bus, u, err) < 0) {
        return -EINVAL;
    }
    find_place(bus, u, &id, &lun);
    if (id >= h->ids) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: scsi-id=%u: %s has the ids 0 to %u", dev->id, id,
                    bus->id, h->ids - 1);
        return -EINVAL;
    }
    if (is_taken(bus, id, lun)) {
        g_set_error(err, XENDM_ERROR, EBUSY, "%s: scsi-id=%u%s of %s is taken", dev->id, id,
                    u->lun == SCSI_ANY ? "" : " with this LUN", bus->id);
        return -EBUSY;
    }
    u->id = id;
    u->lun = lun;
    bus_add(bus, dev);
    return 0;
}

static int bus_on(struct device *dev, GError **err)
{
    struct scsi_unit *u = unit_of(dev), **at;

    u->host = (struct scsi_host *)dev->bus;
    for (at = &u->host->unit[u->id]; *at && (*at)->lun < u->lun; at = &(*at)->next) {
    }
    u->next = *at;
    *at = u;
    if (u->host->ops->came) {
        u->host->ops->came(u->host, u);
    }
    return 0;
}

static void detach(struct scsi_unit *u)
{
    struct scsi_host *h = u->host;
    struct scsi_unit **at;

    if (h) {
        for (at = &h->unit[u->id]; *at != u; at = &(*at)->next) {
        }
        *at = u->next;
        u->next = NULL;
        u->host = NULL;
        h->ops->gone(h, u);
    }
}

static struct scsi_unit *unit_of_target(const struct scsi_target *t)
{
    return unit_of(t->dev);
}

static void unit_news(struct scsi_target *t, uint16_t asc)
{
    struct scsi_unit *u = unit_of_target(t);

    if (u->host && u->host->ops->news) {
        u->host->ops->news(u->host, u, asc);
    }
}

static uint32_t unit_luns(const struct scsi_target *t, uint8_t *to, uint32_t most)
{
    const struct scsi_unit *u = unit_of_target(t);
    uint32_t n = 0;

    for (u = u->host ? u->host->unit[u->id] : u; u && n + 8 <= most; u = u->next) {
        scsi_lun_store(to + n, u->lun);
        n += 8;
    }
    return n;
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
    {.name = "lun",
     .type = PROP_UINT32,
     .offset = offsetof(struct scsi_unit, lun),
     .def = "4294967295",
     .help = "which of its target's logical units it is; without: the first that is free"},
    {.name = "channel",
     .type = PROP_UINT32,
     .offset = offsetof(struct scsi_unit, channel),
     .def = "0",
     .help = "0"},
    {.name = NULL},
};

const struct bus_class scsi_bus_class = {
    .name = "SCSI",
    .place = bus_place,
    .hotplug = true,
    .newest = true,
    .take = bus_take,
    .on = bus_on,
    .off = bus_off,
    .leave = bus_remove,
};

/* "scsi.0" is QEMU's name of the bus of an adapter without id. */
void scsi_host_init(struct scsi_host *h, struct device *controller, uint32_t ids, uint32_t luns,
                    uint32_t own_id, const struct scsi_host_ops *ops)
{
    XENDM_ASSERT(ids <= SCSI_IDS && luns <= SCSI_LUNS);
    h->ops = ops;
    h->controller = controller;
    h->ids = ids;
    h->luns = luns;
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
        .news = unit_news,
        .luns = unit_luns,
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
    fact_int(to, "lun", u->lun);
    fact_text(to, "model", "%s", u->model);
    fact_text(to, "serial", "%s", u->serial ? u->serial : "");
    fact_text(to, "file", "%s", u->block ? block_file(u->block) : "");
    fact_int(to, "commands under way", u->tasks);
    scsi_target_describe(&u->target, to);
}

static const struct state_field unit_fields[] = {
    STATE_SCSI_TARGET(struct scsi_unit, target),
    STATE_FIELD_BOOL(struct scsi_unit, unplugged),
    STATE_FIELD_U32(struct scsi_unit, wanted, .since = 2),
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
    .version = 2, /* 2: what its driver wants to be told of */
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
