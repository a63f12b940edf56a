/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVMe namespaces: a drive as an array of logical blocks. The first may be the controller's own
 * (-device nvme,drive=), others are devices on its bus (-device nvme-ns). A block has 512 or 4096
 * bytes, as the command line says or as the guest formats it.
 */
#include <errno.h>
#include <string.h>

#include <xendm/classes.h>
#include <xendm/facts.h>

#include "nvme.h"

/* ---- the table of a controller ---- */

struct nvme_ns *nvme_ns_find(const struct nvme *n, uint32_t nsid)
{
    return nsid >= 1 && nsid <= NVME_NAMESPACES ? n->ns[nsid - 1] : NULL;
}

struct nvme_ns *nvme_ns_next(const struct nvme *n, uint32_t after)
{
    for (uint32_t i = after; i < NVME_NAMESPACES; i++) {
        if (n->ns[i]) {
            return n->ns[i];
        }
    }
    return NULL;
}

/* ---- its drive ---- */

static void drive_changed(void *opaque)
{
    struct nvme_ns *ns = opaque;

    if (ns->n && ns->unplug == NVME_PLUGGED) {
        nvme_namespace_changed(ns->n, ns->nsid);
    }
}

static const struct block_listener listener = {.medium_changed = drive_changed,
                                               .resized = drive_changed};

static int parse_uuid(struct nvme_ns *ns, GError **err)
{
    unsigned digit = 0;

    if (!ns->uuid_text) {
        return 0;
    }
    if (!g_uuid_string_is_valid(ns->uuid_text)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: uuid=%s is not a UUID", ns->dev->id,
                    ns->uuid_text);
        return -EINVAL;
    }
    for (const char *c = ns->uuid_text; *c; c++) {
        if (*c != '-') {
            ns->uuid[digit / 2] = (uint8_t)(ns->uuid[digit / 2] << 4 | g_ascii_xdigit_value(*c));
            digit++;
        }
    }
    return 0;
}

int nvme_ns_open(struct nvme_ns *ns, struct device *dev, GError **err)
{
    ns->dev = dev;
    if (!block_present(ns->block) && !dev->machine->restored) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: a namespace needs a drive with an image",
                    dev->id);
        return -EINVAL;
    }
    if (ns->logical_block_size != 512 && ns->logical_block_size != 4096) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: logical_block_size=%u is not 512 or 4096",
                    dev->id, ns->logical_block_size);
        return -EINVAL;
    }
    if (parse_uuid(ns, err) < 0) {
        return -EINVAL;
    }
    nvme_ns_reset(ns);
    ns->queue = block_queue_new(ns->block);
    block_listen(ns->block, &listener, ns);
    return 0;
}

void nvme_ns_close(struct nvme_ns *ns)
{
    if (!ns->queue) {
        return;
    }
    nvme_ns_detach(ns);
    block_unlisten(ns->block, &listener, ns);
    block_queue_free(ns->queue); /* whoever frees a device waits until it is not busy */
    ns->queue = NULL;
}

/* Back to the format of the command line. */
void nvme_ns_reset(struct nvme_ns *ns)
{
    ns->shift = ns->logical_block_size == 4096 ? 12 : 9;
    ns->formatting = false;
    ns->reads = ns->writes = ns->bytes_read = ns->bytes_written = 0;
}

/* The same in each process and on each host that shows this guest this disk. */
static void make_uuid(struct nvme_ns *ns)
{
    g_autofree char *name = g_strdup_printf("xendm %s %u", ns->n->serial, ns->nsid);
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA1);
    uint8_t digest[20];
    gsize len = sizeof(digest);

    g_checksum_update(sum, (const guchar *)name, -1);
    g_checksum_get_digest(sum, digest, &len);
    memcpy(ns->uuid, digest, sizeof(ns->uuid));
    ns->uuid[6] = (uint8_t)((ns->uuid[6] & 0x0f) | 0x50); /* RFC 4122: version 5 */
    ns->uuid[8] = (uint8_t)((ns->uuid[8] & 0x3f) | 0x80);
}

void nvme_ns_attach(struct nvme_ns *ns, struct nvme *n, uint32_t nsid)
{
    ns->n = n;
    ns->nsid = nsid;
    n->ns[nsid - 1] = ns;
    if (!ns->uuid_text) {
        make_uuid(ns);
    }
}

void nvme_ns_detach(struct nvme_ns *ns)
{
    struct nvme *n = ns->n;

    if (!n) {
        return;
    }
    n->ns[ns->nsid - 1] = NULL;
    ns->n = NULL;
    nvme_ns_cancel(n, ns);
    nvme_namespace_changed(n, ns->nsid);
}

bool nvme_ns_fits(const struct nvme_ns *saved, GError **err)
{
    if (saved->shift != 9 && saved->shift != 12) {
        g_set_error(err, STATE_ERROR, EINVAL, "blocks of %u bytes", 1u << saved->shift);
        return false;
    }
    return true;
}

void nvme_ns_describe(const struct nvme_ns *ns, struct facts *to)
{
    fact_text(to, "drive", "%s", ns->block ? block_id(ns->block) : "");
    fact_int(to, "nsid", ns->nsid);
    fact_int(to, "block bytes", INT64_C(1) << ns->shift);
    fact_int(to, "blocks", (int64_t)nvme_ns_blocks(ns));
    fact_int(to, "in flight", ns->in_flight);
    fact_int(to, "reads", (int64_t)ns->reads);
    fact_int(to, "writes", (int64_t)ns->writes);
    fact_int(to, "failures", (int64_t)ns->failures);
}

/* ---- the guest's PV driver takes over ---- */

static void unplug_end(struct nvme_ns *ns)
{
    ns->unplug = NVME_UNPLUGGED;
    if (block_present(ns->block)) {
        block_eject(ns->block);
    }
    if (ns->n) {
        nvme_unplug_done(ns->n);
    }
}

static void unplug_flushed(struct block_request *io, int error)
{
    struct nvme_ns *ns = io->opaque;

    ns->in_flight--;
    if (error) {
        log_warning(LOG_NVME, "%s: flush before the unplugging failed: %s", ns->dev->id,
                    g_strerror(-error));
        machine_event_block_error(ns->dev->machine, ns->dev->id, "flush", error);
    }
    unplug_end(ns);
}

/* Again when the last request of the past is back. */
void nvme_ns_unplug(struct nvme_ns *ns)
{
    if (ns->unplug == NVME_FLUSHES || ns->unplug == NVME_UNPLUGGED) {
        return;
    }
    ns->unplug = NVME_WAITS;
    if (ns->in_flight > 0) {
        return;
    }
    if (!block_present(ns->block)) {
        unplug_end(ns);
        return;
    }
    ns->unplug = NVME_FLUSHES;
    ns->in_flight++;
    ns->flush = (struct block_request){.op = BLOCK_FLUSH, .done = unplug_flushed, .opaque = ns};
    block_submit(ns->queue, &ns->flush);
}

/* ---- nvme-ns ---- */

struct nvme_ns_device {
    struct device dev;
    uint32_t nsid; /* property: 0: the first that is free */
    struct nvme_ns ns;
};

static struct nvme *controller_of(const struct bus *bus)
{
    return DEVICE_CAST(struct nvme, bus->owner);
}

static int bus_take(struct bus *bus, struct device *dev, GError **err)
{
    struct nvme_ns_device *d = DEVICE_CAST(struct nvme_ns_device, dev);
    struct nvme *n = controller_of(bus);
    uint32_t nsid = d->nsid;

    for (uint32_t i = 1; !nsid && i <= NVME_NAMESPACES; i++) {
        nsid = n->ns[i - 1] ? 0 : i;
    }
    if (!nsid || n->ns[nsid - 1]) {
        g_set_error(err, XENDM_ERROR, EBUSY, "%s: namespace %u of %s is taken", dev->id, nsid,
                    bus->id);
        return -EBUSY;
    }
    d->nsid = nsid;
    bus_add(bus, dev);
    return 0;
}

static int bus_on(struct device *dev, GError **err)
{
    struct nvme_ns_device *d = DEVICE_CAST(struct nvme_ns_device, dev);
    struct nvme *n = controller_of(dev->bus);

    nvme_ns_attach(&d->ns, n, d->nsid);
    nvme_namespace_changed(n, d->nsid);
    return 0;
}

static void bus_off(struct device *dev)
{
    nvme_ns_detach(&DEVICE_CAST(struct nvme_ns_device, dev)->ns);
}

static const struct property bus_place[] = {
    {.name = "nsid",
     .type = PROP_UINT32,
     .offset = offsetof(struct nvme_ns_device, nsid),
     .max = NVME_NAMESPACES,
     .help = "its number, from 1; 0: the first that is free"},
    {.name = NULL},
};

const struct bus_class nvme_bus_class = {
    .name = "NVMe",
    .place = bus_place,
    .hotplug = true,
    .take = bus_take,
    .on = bus_on,
    .off = bus_off,
    .leave = bus_remove,
};

static int ns_realize(struct device *dev, GError **err)
{
    return nvme_ns_open(&DEVICE_CAST(struct nvme_ns_device, dev)->ns, dev, err);
}

static void ns_unrealize(struct device *dev)
{
    nvme_ns_close(&DEVICE_CAST(struct nvme_ns_device, dev)->ns);
}

static void ns_reset(struct device *dev, enum reset_reason why)
{
    struct nvme_ns *ns = &DEVICE_CAST(struct nvme_ns_device, dev)->ns;

    if (why == RESET_COLD) {
        nvme_ns_reset(ns); /* a format outlives a loss of power, but not the machine */
    }
}

static bool ns_busy(struct device *dev)
{
    const struct nvme_ns *ns = &DEVICE_CAST(struct nvme_ns_device, dev)->ns;

    return ns->in_flight > 0;
}

static void ns_describe(struct device *dev, struct facts *to)
{
    nvme_ns_describe(&DEVICE_CAST(struct nvme_ns_device, dev)->ns, to);
}

static const struct property ns_properties[] = {
    {.name = "drive",
     .type = PROP_BACKEND,
     .offset = offsetof(struct nvme_ns_device, ns.block),
     .kind = BACKEND_BLOCK,
     .required = true,
     .help = "whose blocks it has"},
    {.name = "logical_block_size",
     .type = PROP_UINT32,
     .offset = offsetof(struct nvme_ns_device, ns.logical_block_size),
     .def = "512",
     .help = "512 or 4096 bytes"},
    {.name = "uuid",
     .type = PROP_STRING,
     .offset = offsetof(struct nvme_ns_device, ns.uuid_text),
     .help = "its identifier; without: one that follows from the serial number"},
    {.name = NULL},
};

static const struct state_field ns_fields[] = {
    NVME_NS_STATE(struct nvme_ns_device, ns),
    STATE_FIELD_END,
};

static bool ns_fits(const void *scratch, const void *base, GError **err)
{
    return nvme_ns_fits(&((const struct nvme_ns_device *)scratch)->ns, err);
}

static const struct state_desc ns_state = {
    .name = "nvme-ns",
    .version = 1,
    .fields = ns_fields,
    .fits = ns_fits,
};

const struct device_class nvme_ns_class = {
    .name = "nvme-ns",
    .help = "a namespace of an NVMe controller",
    .size = sizeof(struct nvme_ns_device),
    .properties = ns_properties,
    .state = &ns_state,
    .recorded = true,
    .bus = &nvme_bus_class,
    .hotplug = true,
    .realize = ns_realize,
    .reset = ns_reset,
    .busy = ns_busy,
    .unrealize = ns_unrealize,
    .describe = ns_describe,
};
