/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio SCSI host (5.6): PCI 1af4:1004, or 1af4:1048 without the legacy registers. Linux, SeaBIOS,
 * OVMF, GRUB, the BSDs and (with the virtio drivers) Windows know it. Its disks and CD drives are
 * units on its bus: scsi-hd and scsi-cd, with ids 0 to 255 and LUNs 0 to 16383.
 *
 * Several request queues; task management; events for units that come, go and change; notification
 * of a CD drive's medium. Left out: data in both directions and protection information (neither is
 * offered), other asynchronous notifications (none is told), task attributes (all are SIMPLE).
 */
#include <errno.h>

#include <xendm/classes.h>
#include <xendm/facts.h>

#include "scsi.h"

#define QUEUES_MAX 64u

/* Configuration (5.6.4). */
#define CONFIG_BYTES 36u
#define CONFIG_SENSE_SIZE 20u
#define CONFIG_CDB_SIZE 24u

/* Events (5.6.6.3). */
#define EVENT_BYTES 16u
#define EVENTS_MISSED 0x80000000u
#define EVENT_NONE 0u
#define EVENT_TRANSPORT_RESET 1u
#define EVENT_ASYNC_NOTIFY 2u
#define EVENT_PARAM_CHANGE 3u
#define RESET_RESCAN 1u
#define RESET_REMOVED 2u

/* ---- events ---- */

/* `u` NULL: it is about none. Without a buffer the driver learns that it has missed something. */
static void event(struct virtio_scsi *s, uint32_t what, const struct scsi_unit *u, uint32_t reason)
{
    struct virtio *v = &s->virtio;
    uint8_t bytes[EVENT_BYTES] = {0}, lun[8];
    struct virtio_chain c;

    if (!virtio_runs(v, &v->vq[VSCSI_EVENTS])) {
        return;
    }
    if (!virtq_pop(v, VSCSI_EVENTS, &c)) {
        s->events_missed = true;
        return;
    }
    if (c.in_bytes < EVENT_BYTES) {
        virtio_broken(v, VSCSI_EVENTS, "a buffer too small for an event");
        return;
    }
    store_le32(bytes, what | (s->events_missed ? EVENTS_MISSED : 0));
    if (u) {
        scsi_lun_store(lun, u->lun);
        bytes[4] = 1;
        bytes[5] = (uint8_t)u->id;
        bytes[6] = lun[0];
        bytes[7] = lun[1];
    }
    store_le32(bytes + 12, reason);
    if (virtio_write(v, &c, 0, bytes, EVENT_BYTES) < 0) {
        virtio_broken(v, VSCSI_EVENTS, "an event's buffer is in no memory");
    }
    s->events_missed = false;
    s->events++;
    virtq_push(v, VSCSI_EVENTS, &c, EVENT_BYTES);
    virtq_signal(v, VSCSI_EVENTS, false);
}

/* Buffers stay in the ring until there is something to say. */
static int serve_events(struct virtio_scsi *s)
{
    if (s->events_missed && virtq_ready(&s->virtio, VSCSI_EVENTS)) {
        event(s, EVENT_NONE, NULL, 0);
    }
    return VIRTIO_NOTHING;
}

static int vscsi_serve(struct virtio *v, unsigned n)
{
    struct virtio_scsi *s = vscsi_of(v);

    switch (n) {
    case VSCSI_CONTROL:
        return vscsi_serve_control(s);
    case VSCSI_EVENTS:
        return serve_events(s);
    default:
        return vscsi_serve_request(s, n);
    }
}

/* ---- units ---- */

static struct virtio_scsi *host_of(struct scsi_host *h)
{
    return DEVICE_CAST(struct virtio_scsi, h->controller);
}

static void unit_came(struct scsi_host *h, struct scsi_unit *u)
{
    struct virtio_scsi *s = host_of(h);

    if (virtio_has(&s->virtio, VSCSI_F_HOTPLUG)) {
        event(s, EVENT_TRANSPORT_RESET, u, RESET_RESCAN);
    }
}

static void unit_gone(struct scsi_host *h, struct scsi_unit *u)
{
    struct virtio_scsi *s = host_of(h);

    vscsi_drop_unit(s, u);
    u->wanted = 0;
    if (virtio_has(&s->virtio, VSCSI_F_HOTPLUG)) {
        event(s, EVENT_TRANSPORT_RESET, u, RESET_REMOVED);
    }
}

/* Disks and CD drives are told of differently (5.6.6.3.3). */
static void unit_news(struct scsi_host *h, struct scsi_unit *u, uint16_t asc)
{
    struct virtio_scsi *s = host_of(h);
    uint32_t reason = asc >> 8 | (asc & 0xffu) << 8;

    if (u->target.type == &scsi_cd_type) {
        if (u->wanted & VSCSI_ASYNC_MEDIA) {
            event(s, EVENT_ASYNC_NOTIFY, u, VSCSI_ASYNC_MEDIA);
        }
    } else if (virtio_has(&s->virtio, VSCSI_F_CHANGE)) {
        event(s, EVENT_PARAM_CHANGE, u, reason);
    }
}

static const struct scsi_host_ops host_ops = {.gone = unit_gone,
                                              .came = unit_came,
                                              .news = unit_news};

static void reset_units(struct virtio_scsi *s)
{
    for (unsigned id = 0; id < SCSI_IDS; id++) {
        for (struct scsi_unit *u = s->host.unit[id]; u; u = u->next) {
            u->wanted = 0;
            scsi_target_reset(&u->target, false);
        }
    }
}

static void vscsi_forget_queue(struct virtio *v, unsigned n)
{
    struct virtio_scsi *s = vscsi_of(v);

    vscsi_forget(s, n);
    if (n == VIRTIO_QUEUES) {
        reset_units(s);
        s->cdb_size = VSCSI_CDB;
        s->sense_size = VSCSI_SENSE;
        s->events_missed = false;
    }
}

static void vscsi_restart(struct virtio *v)
{
    vscsi_requests_go(vscsi_of(v));
}

static void vscsi_blocked(struct virtio *v)
{
    vscsi_requests_stop(vscsi_of(v));
}

/* ---- configuration ---- */

static uint64_t vscsi_features(const struct virtio *v)
{
    const struct virtio_scsi *s = vscsi_of(v);

    return (s->hotplug ? VSCSI_F_HOTPLUG : 0) | (s->param_change ? VSCSI_F_CHANGE : 0);
}

static void vscsi_config(const struct virtio *v, uint8_t *to)
{
    const struct virtio_scsi *s = vscsi_of(v);

    store_le32(to, v->queues - VSCSI_FIXED);
    store_le32(to + 4, v->queue_size - 2); /* seg_max: header and answer need one each */
    store_le32(to + 8, s->max_sectors);
    store_le32(to + 12, s->cmd_per_lun);
    store_le32(to + 16, EVENT_BYTES);
    store_le32(to + CONFIG_SENSE_SIZE, s->sense_size);
    store_le32(to + CONFIG_CDB_SIZE, s->cdb_size);
    store_le16(to + 30, SCSI_IDS - 1); /* channels: 0 alone */
    store_le32(to + 32, SCSI_LUNS - 1);
}

/* Sense data of 64 KiB and more, and a CDB of 256 bytes and more, there cannot be: as QEMU. */
static void vscsi_config_written(struct virtio *v, unsigned at, uint8_t value)
{
    struct virtio_scsi *s = vscsi_of(v);
    bool cdb = at >= CONFIG_CDB_SIZE && at < CONFIG_CDB_SIZE + 4;
    bool sense = at >= CONFIG_SENSE_SIZE && at < CONFIG_SENSE_SIZE + 4;

    if (cdb && at == CONFIG_CDB_SIZE) {
        s->cdb_size = value;
    } else if (sense && at < CONFIG_SENSE_SIZE + 2) {
        unsigned shift = 8 * (at - CONFIG_SENSE_SIZE);

        s->sense_size = (s->sense_size & ~(0xffu << shift)) | (uint32_t)value << shift;
    } else if ((cdb || sense) && value) {
        virtio_broken(v, VSCSI_CONTROL, "a CDB or sense data of such a size");
    }
}

static const struct virtio_type type = {
    .name = "SCSI",
    .id = 8,
    .transitional = 0x1004,
    .config_bytes = CONFIG_BYTES,
    .features = vscsi_features,
    .config = vscsi_config,
    .config_written = vscsi_config_written,
    .serve = vscsi_serve,
    .forget = vscsi_forget_queue,
    .restart = vscsi_restart,
    .blocked = vscsi_blocked,
};

/* ---- life ---- */

static struct virtio_scsi *vscsi_dev(struct device *dev)
{
    return DEVICE_CAST(struct virtio_scsi, dev);
}

static unsigned queues_wanted(const struct virtio_scsi *s)
{
    unsigned vcpus = s->virtio.pci.dev.machine->vcpus;

    return s->num_queues == UINT32_MAX ? MAX(1, MIN(vcpus, QUEUES_MAX)) : s->num_queues;
}

static int vscsi_realize(struct device *dev, GError **err)
{
    struct virtio_scsi *s = vscsi_dev(dev);
    unsigned queues = queues_wanted(s);

    if (queues < 1 || queues > QUEUES_MAX) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: num_queues=%u is not 1 to %u", dev->id, queues,
                    QUEUES_MAX);
        return -EINVAL;
    }
    if (virtio_realize(&s->virtio, &type, VSCSI_FIXED + queues, err) < 0) {
        return -EINVAL;
    }
    s->cdb_size = VSCSI_CDB;
    s->sense_size = VSCSI_SENSE;
    vscsi_requests_init(s);
    scsi_host_init(&s->host, dev, SCSI_IDS, SCSI_LUNS, SCSI_ANY, &host_ops);
    return 0;
}

static void vscsi_unrealize(struct device *dev)
{
    struct virtio_scsi *s = vscsi_dev(dev);

    s->virtio.stopped = true; /* nobody is told of units that go with it */
    scsi_host_fini(&s->host);
    virtio_unrealize(&s->virtio);
    vscsi_requests_fini(s);
}

static void vscsi_reset(struct device *dev, enum reset_reason why)
{
    struct virtio_scsi *s = vscsi_dev(dev);

    virtio_reset(&s->virtio);
    if (why == RESET_COLD) {
        s->commands = s->managements = s->events = s->bytes_read = s->bytes_written = 0;
    }
}

static void vscsi_quiesce(struct device *dev)
{
    struct virtio_scsi *s = vscsi_dev(dev);

    virtio_quiesce(&s->virtio);
    vscsi_requests_stop(s);
}

static bool vscsi_busy(struct device *dev)
{
    return vscsi_requests_busy(vscsi_dev(dev));
}

static void vscsi_resume(struct device *dev)
{
    virtio_resume(&vscsi_dev(dev)->virtio);
}

static void vscsi_describe(struct device *dev, struct facts *to)
{
    const struct virtio_scsi *s = vscsi_dev(dev);

    virtio_describe(&s->virtio, to);
    fact_int(to, "units", s->host.bus.devices->len);
    fact_int(to, "cdb size", s->cdb_size);
    fact_int(to, "sense size", s->sense_size);
    fact_int(to, "requests", s->used);
    fact_int(to, "commands", (int64_t)s->commands);
    fact_int(to, "task management", (int64_t)s->managements);
    fact_int(to, "events", (int64_t)s->events);
    fact_bool(to, "events missed", s->events_missed);
}

static const struct property properties[] = {
    {.name = "num_queues",
     .type = PROP_UINT32,
     .offset = offsetof(struct virtio_scsi, num_queues),
     .def = "0xffffffff",
     .help = "request queues, at most 64; without: one for each vCPU"},
    {.name = "virtqueue_size",
     .type = PROP_UINT32,
     .offset = offsetof(struct virtio, queue_size),
     .def = "256",
     .min = 4,
     .max = VIRTIO_QUEUE_MAX,
     .power_of_two = true,
     .help = "entries of a queue"},
    {.name = "max_sectors",
     .type = PROP_UINT32,
     .offset = offsetof(struct virtio_scsi, max_sectors),
     .def = "0xffff",
     .min = 1,
     .max = UINT32_MAX,
     .help = "that the driver asks for in one command, a hint"},
    {.name = "cmd_per_lun",
     .type = PROP_UINT32,
     .offset = offsetof(struct virtio_scsi, cmd_per_lun),
     .def = "128",
     .min = 1,
     .max = UINT32_MAX,
     .help = "that the driver has under way at a unit, a hint"},
    {.name = "hotplug",
     .type = PROP_BOOL,
     .offset = offsetof(struct virtio_scsi, hotplug),
     .def = "on",
     .help = "tells the driver of units that come and go"},
    {.name = "param_change",
     .type = PROP_BOOL,
     .offset = offsetof(struct virtio_scsi, param_change),
     .def = "on",
     .help = "tells the driver of disks whose size has changed"},
    VIRTIO_PROPERTIES,
    {.name = NULL},
};

#define S(kind, f, ...) STATE_FIELD_##kind(struct virtio_scsi, f, __VA_ARGS__)

static const struct state_field fields[] = {
    VIRTIO_STATE(struct virtio_scsi),
    S(U32, cdb_size, .max = 255),
    S(U32, sense_size, .max = 65535),
    S(BOOL, events_missed),
    STATE_FIELD_STRUCTS_VAR(struct virtio_scsi, request, VSCSI_REQUESTS, saved_count,
                            &vscsi_request_state),
    STATE_FIELD_STRUCTS_VAR(struct virtio_scsi, saved_piece, VSCSI_PIECES, saved_pieces,
                            &virtio_piece_state),
    S(U64, commands),
    S(U64, bytes_read),
    S(U64, bytes_written),
    S(U64, managements),
    S(U64, events),
    STATE_FIELD_END,
};

static const struct state_desc state = {
    .name = "virtio-scsi",
    .version = 1,
    .fields = fields,
    .pre_save = vscsi_pre_save,
    .check = vscsi_check,
    .fits = vscsi_fits,
    .post_load = vscsi_post_load,
};

static const struct pci_info pci = VIRTIO_PCI_INFO(0x010000, 8);

static const char *const aliases[] = {"virtio-scsi", NULL};

const struct device_class virtio_scsi_class = {
    .name = "virtio-scsi-pci",
    .aliases = aliases,
    .help = "virtio SCSI host adapter",
    .size = sizeof(struct virtio_scsi),
    .properties = properties,
    .state = &state,
    .recorded = true,
    .hotplug = true,
    .realize = vscsi_realize,
    .reset = vscsi_reset,
    .quiesce = vscsi_quiesce,
    .busy = vscsi_busy,
    .resume = vscsi_resume,
    .unrealize = vscsi_unrealize,
    .describe = vscsi_describe,
    .pci = &pci,
};
