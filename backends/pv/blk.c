/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qdisk: disks and CD drives that the toolstack leaves to the device model: its keys, its medium,
 * and the connection; the ring is in blk-ring.c. Xen's io/blkif.h, libxl's disk keys (toolstack.md
 * 3.4).
 *
 * A disk that is emulated, too, is the same drive (struct block): by its id if it is a CD drive, so
 * that both see one medium and one eject, else by its image, which is locked and open once, and
 * stays when the guest unplugs the emulated disk. Only a
 * disk without an emulated twin (`xl block-attach`, vdev=xvd…) has a drive of its own, whose medium
 * follows the toolstack's `params`.
 *
 * Image formats but raw are served beside us (backends/block/nbd.c).
 *
 * Left out: persistent grants, which save mapping where data is mapped, and here it is copied;
 * several queues; secure discard.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/blkif.h>

#include <xendm/backend.h>
#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/handover.h>
#include <xendm/image-name.h>
#include <xendm/log.h>
#include <xendm/object.h>

#include "blk.h"

static struct blk *blk_of(struct pv_device *dev)
{
    return (struct blk *)dev;
}

/* ---- keys ---- */

static void write_size(struct blk *b)
{
    pv_write(&b->dev, "sectors", "%" PRIu64, block_size(b->drive) / BLK_SECTOR);
}

/* A medium of another size: front ends look again when they see us connected once more. */
static void size_changed(void *opaque)
{
    struct blk *b = opaque;

    write_size(b);
    if (b->dev.state == PV_CONNECTED) {
        pv_say_again(&b->dev);
    }
}

static const struct block_listener listener = {.medium_changed = size_changed,
                                               .resized = size_changed};

/* The toolstack may forbid it, for an image whose space is to stay taken. */
static bool discards(struct blk *b)
{
    uint64_t enable = 1;

    pv_read_uint(&b->dev, false, "discard-enable", 1, &enable);
    return enable && !b->read_only && !block_read_only(b->drive) &&
           block_limits(b->drive)->can_discard;
}

static void write_keys(struct blk *b)
{
    const struct block_limits *limits = block_limits(b->drive);
    bool read_only = b->read_only || block_read_only(b->drive);
    struct pv_device *dev = &b->dev;

    pv_write(dev, "feature-flush-cache", "1");
    pv_write(dev, "max-ring-page-order", "%u", BLK_RING_ORDER_MAX);
    pv_write(dev, "feature-max-indirect-segments", "%u", BLK_INDIRECT_MAX);
    if (discards(b)) {
        pv_write(dev, "feature-discard", "1");
        pv_write(dev, "discard-granularity", "%u", MAX(limits->discard_align, BLK_SECTOR));
        pv_write(dev, "discard-alignment", "0");
        pv_write(dev, "discard-secure", "0");
    }
    pv_write(dev, "info", "%u",
             (b->cdrom ? VDISK_CDROM | VDISK_REMOVABLE : 0) | (read_only ? VDISK_READONLY : 0));
    pv_write(dev, "sector-size", "%u", MAX(limits->logical, BLK_SECTOR));
    pv_write(dev, "physical-sector-size", "%u", MAX(limits->physical, BLK_SECTOR));
    write_size(b);
}

/* ---- the drive ---- */

static char *own_id(const struct pv_device *dev)
{
    return g_strdup_printf("qdisk-%u", dev->devid);
}

/* The medium that the toolstack wants, "" for none; `*driver` serves it, NULL: nobody does. */
static char *image_of(struct pv_device *dev, const char **driver)
{
    struct blk *b = blk_of(dev);
    const char *file;

    g_free(b->tried);
    b->tried = pv_read(dev, false, "params");
    *driver = image_of_params(b->tried, &file);
    return g_strdup(file);
}

static int not_served(struct blk *b, GError **err)
{
    g_set_error(err, XENDM_ERROR, ENOTSUP, "nobody serves the image format of '%s'", b->tried);
    return -ENOTSUP;
}

struct search {
    const char *file;
    struct block *found;
};

static void same_image(void *opaque, struct backend *backend)
{
    struct search *s = opaque;

    if (backend->class->kind == BACKEND_BLOCK && s->file[0] && !s->found &&
        strcmp(block_file(block_of(backend)), s->file) == 0) {
        s->found = block_of(backend);
    }
}

/* Which emulated drive it is the other side of, or NULL. */
static struct block *find_twin(struct blk *b, const char *file)
{
    struct backend_set *set = pv_host(&b->dev)->backends;
    g_autofree char *id = g_strdup_printf("ide-%u", b->dev.devid);
    struct backend *by_id = b->cdrom ? backend_find(set, BACKEND_BLOCK, id) : NULL;
    struct search s = {.file = file};

    if (by_id) {
        return block_of(by_id);
    }
    backend_foreach(set, same_image, &s);
    return s.found;
}

static void use_drive(struct blk *b, struct block *drive, bool own)
{
    b->drive = drive;
    b->own = own;
    b->queue = block_queue_new(drive);
    block_listen(drive, &listener, b);
    block_keep(drive, !b->cdrom);
}

static void drop_own(struct blk *b, struct block *drive)
{
    backend_remove(pv_host(&b->dev)->backends, block_backend(drive), NULL);
}

static void drop_drive(struct blk *b, bool close)
{
    struct block *drive = b->drive;

    if (!drive) {
        return;
    }
    block_unlisten(drive, &listener, b);
    block_queue_free(b->queue);
    b->drive = NULL;
    b->queue = NULL;
    if (!b->cdrom && close) {
        block_keep(drive, false);
    }
    if (b->own && close) {
        drop_own(b, drive);
    }
}

/* The toolstack's leave to go past the host's page cache: taken where the host can. */
static bool goes_direct(struct blk *b)
{
    return !b->not_direct && pv_read_flag(&b->dev, false, "direct-io-safe");
}

static struct block *make_drive(struct blk *b, const char *driver, const char *file,
                                const struct handover *from, GError **err)
{
    g_autofree char *id = own_id(&b->dev);
    struct object_desc *desc =
        object_desc_make(OBJECT_BACKEND, BACKEND_BLOCK, driver, id, "file", file[0] ? file : NULL,
                         "read-only", b->read_only ? "on" : "off", "cache.direct",
                         goes_direct(b) ? "on" : NULL, NULL);
    struct backend *made = backend_add(pv_host(&b->dev)->backends, desc, from, err);

    object_desc_free(desc);
    return made ? block_of(made) : NULL;
}

static int open_own(struct blk *b, const char *driver, const char *file, GError **err);

static void open_anew(struct blk *b, GError **err)
{
    const char *driver;
    g_autofree char *file = image_of(&b->dev, &driver);

    log_info(LOG_BACKEND, "%s: '%s' cannot be used past the host's page cache: by it, then",
             pv_name(&b->dev), file);
    open_own(b, driver, file, err);
}

/* The medium of a drive of its own is there, or cannot be had. */
static void own_opened(void *opaque, GError *err)
{
    struct blk *b = opaque;
    struct block *drive = g_steal_pointer(&b->opening);

    if (!drive) { /* not wanted any more */
        g_clear_error(&err);
        return;
    }
    if (!err) {
        use_drive(b, drive, true);
    } else {
        drop_own(b, drive);
        if (err->code == ENOTSUP && goes_direct(b)) {
            b->not_direct = true;
            g_clear_error(&err);
            open_anew(b, &err);
        }
        b->not_opened = err;
    }
    if (!b->offering) {
        pv_offer_again(&b->dev);
    }
}

static void forget_opening(struct blk *b)
{
    struct block *drive = g_steal_pointer(&b->opening);

    if (drive) {
        drop_own(b, drive);
    }
    g_clear_error(&b->not_opened);
}

/* -EINPROGRESS: a server may have to start or to answer first. */
static int open_own(struct blk *b, const char *driver, const char *file, GError **err)
{
    struct block_options options = {
        .file = file, .format = driver, .read_only = b->read_only, .fd = -1, .patient = true};

    b->opening = make_drive(b, driver, "", NULL, err);
    if (!b->opening) {
        return -EIO;
    }
    if (!file[0]) {
        own_opened(b, NULL);
        return 0;
    }
    block_insert(b->opening, &options, own_opened, b);
    return b->drive ? 0 : -EINPROGRESS;
}

static int open_drive(struct blk *b, GError **err)
{
    g_autofree char *file = NULL;
    struct block *drive;
    const char *driver;
    int rc;

    if (b->drive || b->opening) {
        return b->drive ? 0 : -EINPROGRESS;
    }
    if (b->not_opened) {
        g_propagate_error(err, g_steal_pointer(&b->not_opened));
        return -EIO;
    }
    file = image_of(&b->dev, &driver);
    drive = find_twin(b, file);
    if (drive) {
        use_drive(b, drive, false);
        log_guest(LOG_BACKEND, "%s: is the drive %s", pv_name(&b->dev), block_id(drive));
        return 0;
    }
    if (!driver) {
        return not_served(b, err);
    }
    if (!file[0] && !b->cdrom) {
        g_set_error(err, XENDM_ERROR, ENOENT, "there is no image in `params`");
        return -ENOENT;
    }
    b->offering = true;
    rc = open_own(b, driver, file, err);
    b->offering = false;
    if (b->not_opened) {
        g_propagate_error(err, g_steal_pointer(&b->not_opened));
        return -EIO;
    }
    return rc;
}

static void followed(void *opaque, GError *err)
{
    struct blk *b = opaque;

    if (err) {
        log_warning(LOG_BACKEND, "%s: the medium stays: %s", pv_name(&b->dev), err->message);
        g_error_free(err);
    }
}

/* The toolstack rewrote `params`: of a twin it changes the medium by QMP. */
static void follow_params(struct blk *b)
{
    g_autoptr(GError) err = NULL;
    const char *driver;
    g_autofree char *file = image_of(&b->dev, &driver);
    struct block_options options = {.file = file, .format = driver, .read_only = true, .fd = -1};

    if (!driver) {
        not_served(b, &err);
        log_warning(LOG_BACKEND, "%s: %s", pv_name(&b->dev), err->message);
    } else if (strcmp(file, block_file(b->drive)) == 0) {
        return;
    } else if (!file[0]) {
        block_eject(b->drive);
    } else {
        block_insert(b->drive, &options, followed, b);
    }
}

static void blk_changed(struct pv_device *dev, const char *key)
{
    struct blk *b = blk_of(dev);
    g_autofree char *params = strcmp(key, "params") == 0 ? pv_read(dev, false, key) : NULL;

    if (!params || g_strcmp0(params, b->tried) == 0) {
        return;
    }
    if (!b->drive) { /* what could not be opened, perhaps can be now */
        forget_opening(b);
        pv_offer_again(dev);
    } else if (b->own && b->cdrom) {
        follow_params(b);
    }
}

/* ---- the connection ---- */

static void read_kind(struct blk *b)
{
    g_autofree char *mode = pv_read(&b->dev, false, "mode");
    g_autofree char *type = pv_read(&b->dev, false, "device-type");

    b->cdrom = type && strcmp(type, "cdrom") == 0;
    b->read_only = b->cdrom || !mode || mode[0] != 'w';
}

static int blk_offer(struct pv_device *dev, GError **err)
{
    struct blk *b = blk_of(dev);
    int rc;

    read_kind(b);
    rc = open_drive(b, err);
    if (rc == 0) {
        write_keys(b);
    }
    return rc;
}

static int read_order(struct blk *b, unsigned *order, GError **err)
{
    uint64_t value = 0;
    int rc = pv_read_uint(&b->dev, true, "ring-page-order", BLK_RING_ORDER_MAX, &value);

    *order = (unsigned)value;
    if (rc < 0 && rc != -ENOENT) {
        g_set_error(err, XENDM_ERROR, -rc, "its ring-page-order is not 0 to %u",
                    BLK_RING_ORDER_MAX);
        return rc;
    }
    return rc == -ENOENT ? 1 : 0; /* a ring of one page, by the old key */
}

static int read_refs(struct blk *b, uint32_t *refs, unsigned *count, GError **err)
{
    unsigned order = 0;
    int old = read_order(b, &order, err), rc = 0;
    uint64_t value;

    if (old < 0) {
        return old;
    }
    *count = 1u << order;
    /* A ring of one page goes by either key. */
    if (old ||
        (order == 0 && pv_read_uint(&b->dev, true, "ring-ref", UINT32_MAX, &value) != -ENOENT)) {
        return pv_read_u32(&b->dev, "ring-ref", refs, err);
    }
    for (unsigned i = 0; rc == 0 && i < *count; i++) {
        g_autofree char *numbered = g_strdup_printf("ring-ref%u", i);

        rc = pv_read_u32(&b->dev, numbered, &refs[i], err);
    }
    return rc;
}

static int read_protocol(struct blk *b, GError **err)
{
    g_autofree char *name = pv_read(&b->dev, true, "protocol");

    b->protocol = blk_protocol_find(name);
    if (!b->protocol) {
        g_set_error(err, XENDM_ERROR, ENOTSUP, "its protocol '%s' is not known", name);
        return -ENOTSUP;
    }
    return 0;
}

static int blk_connect(struct pv_device *dev, GError **err)
{
    struct blk *b = blk_of(dev);
    uint32_t refs[PV_RING_PAGES_MAX], port = 0;
    unsigned count = 0;
    int rc = read_protocol(b, err);

    if (rc == 0) {
        rc = read_refs(b, refs, &count, err);
    }
    if (rc == 0) {
        rc = pv_read_u32(dev, "event-channel", &port, err);
    }
    return rc < 0 ? rc : pv_attach(dev, refs, count, port, err);
}

static int blk_attached(struct pv_device *dev, const struct handover *from, const char *group,
                        GError **err)
{
    struct blk *b = blk_of(dev);

    if (from) {
        blk_ring_resume_at(b, (uint32_t)handover_int(from, group, "index", 0));
        return 0;
    }
    if (blk_ring_begin(b) < 0) {
        g_set_error(err, XENDM_ERROR, EIO, "its ring has more requests than it has room for");
        return -EIO;
    }
    return 0;
}

static void blk_event(struct pv_device *dev)
{
    blk_ring_run(blk_of(dev));
}

static void blk_disconnect(struct pv_device *dev)
{
    blk_ring_end(blk_of(dev));
}

static bool blk_busy(const struct pv_device *dev)
{
    return ((const struct blk *)dev)->in_flight > 0;
}

static void blk_removed(struct pv_device *dev, bool gone)
{
    forget_opening(blk_of(dev));
    drop_drive(blk_of(dev), gone);
    g_clear_pointer(&blk_of(dev)->tried, g_free);
}

/* ---- live update ---- */

static void blk_hand_over(const struct pv_device *dev, struct handover *to, const char *group)
{
    const struct blk *b = (const struct blk *)dev;

    handover_put_int(to, group, "cdrom", b->cdrom);
    handover_put_int(to, group, "read-only", b->read_only);
    handover_put_int(to, group, "own", b->own);
    if (b->drive) {
        handover_put_text(to, group, "drive", block_id(b->drive));
    }
    if (b->ring) {
        handover_put_text(to, group, "protocol", b->protocol->name);
        handover_put_int(to, group, "index", b->req_cons);
    }
}

static int blk_take_over(struct pv_device *dev, const struct handover *from, const char *group,
                         GError **err)
{
    struct blk *b = blk_of(dev);
    g_autofree char *id = handover_text(from, group, "drive");
    g_autofree char *protocol = handover_text(from, group, "protocol");
    bool own = handover_int(from, group, "own", 0);
    struct backend *found;
    struct block *drive;

    b->cdrom = handover_int(from, group, "cdrom", 0);
    b->read_only = handover_int(from, group, "read-only", 1);
    b->protocol = blk_protocol_find(protocol);
    if (!id) {
        return 0;
    }
    found = own ? NULL : backend_find(pv_host(dev)->backends, BACKEND_BLOCK, id);
    drive = own ? make_drive(b, "raw", "", from, err) : found ? block_of(found) : NULL;
    if (!drive || !b->protocol) {
        if (!*err) {
            g_set_error(err, XENDM_ERROR, ENOENT, "there is no drive %s", id);
        }
        return -ENOENT;
    }
    use_drive(b, drive, own);
    return 0;
}

static void blk_describe(const struct pv_device *dev, struct facts *to)
{
    const struct blk *b = (const struct blk *)dev;

    fact_text(to, "drive", "%s", b->drive ? block_id(b->drive) : "");
    fact_bool(to, "read-only", b->read_only);
    fact_int(to, "requests", (int64_t)b->requests);
    fact_int(to, "in flight", b->in_flight);
    fact_int(to, "refused", (int64_t)b->refused);
    fact_int(to, "errors", (int64_t)b->errors);
    if (b->ring) {
        fact_text(to, "protocol", "%s", b->protocol->name);
        fact_int(to, "ring entries", b->entries);
    }
}

const struct pv_class pv_blk_class = {
    .kind = "qdisk",
    .size = sizeof(struct blk),
    .offer = blk_offer,
    .connect = blk_connect,
    .take_over = blk_take_over,
    .attached = blk_attached,
    .event = blk_event,
    .changed = blk_changed,
    .disconnect = blk_disconnect,
    .busy = blk_busy,
    .removed = blk_removed,
    .hand_over = blk_hand_over,
    .describe = blk_describe,
};
