/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How drives come, go, and are saved. */
#include <errno.h>
#include <inttypes.h>

#include "ata-internal.h"

/* ---- life ---- */

int ata_drive_realize(struct ata_drive *d, const struct ata_drive_ops *ops, GError **err)
{
    struct ata_host *h = (struct ata_host *)d->dev.bus;

    d->ops = ops;
    if (!d->serial) {
        d->serial = g_strdup_printf("XM%05u", h->first + d->unit + 1);
    }
    d->buffer = g_malloc0(ATA_BUFFER);
    d->list = dma_list_new(h->controller, ATA_DMA_PIECES);
    d->queue = d->block ? block_queue_new(d->block) : NULL;
    d->host = h;
    h->drive[d->unit] = d;
    return 0;
}

/* Off the cable; what that means for the interrupt line is the caller's matter. */
static struct ata_host *detach(struct ata_drive *d)
{
    struct ata_host *h = d->host;

    ata_drive_cancel(d);
    if (h) {
        h->drive[d->unit] = NULL;
        d->host = NULL;
    }
    return h;
}

static void detach_running(struct ata_drive *d)
{
    struct ata_host *h = d->host;

    if (h && h->ops->detached) {
        h->ops->detached(h);
    }
    detach(d);
    if (h && h->ops->quiet) {
        h->ops->quiet(h);
    }
}

void ata_drive_off(struct ata_drive *d)
{
    if (d->ops) {
        detach_running(d);
    }
}

static void unplug_release(struct ata_drive *d)
{
    if (d->holder && device_is_held(d->holder)) {
        device_release(d->holder);
    }
    d->holder = NULL;
}

void ata_drive_unrealize(struct ata_drive *d)
{
    if (d->ops) {
        detach_running(d);
    }
    XENDM_ASSERT(!d->in_flight); /* whoever frees a device waits until it is not busy */
    unplug_release(d);
    dma_list_free(d->list);
    d->list = NULL;
    block_queue_free(d->queue);
    d->queue = NULL;
    g_free(d->buffer);
    d->buffer = NULL;
    g_free(d->saved);
    d->saved = NULL;
}

static void unplug_end(struct ata_drive *d)
{
    d->unplugging = UNPLUG_NO;
    if (d->block && block_present(d->block)) {
        block_eject(d->block);
    }
    log_info(LOG_IDE, "%s: unplugged by the guest", d->dev.id);
    machine_event_unplugged(d->dev.machine, d->dev.id);
    unplug_release(d);
}

static void unplug_flushed(struct block_request *req, int error)
{
    struct ata_drive *d = req->opaque;

    d->in_flight = false;
    if (error) {
        log_warning(LOG_IDE, "%s: flush before the unplugging failed: %s", d->dev.id,
                    g_strerror(-error));
        machine_event_block_error(d->dev.machine, d->dev.id, "flush", error);
    }
    unplug_end(d);
}

/* Nothing is in flight any more, of the drive's nor of its host's. */
static void unplug_quiet(void *opaque)
{
    struct ata_drive *d = opaque;

    if (d->unplugging == UNPLUG_QUIET && d->block && block_present(d->block)) {
        d->unplugging = UNPLUG_FLUSH;
        ata_drive_submit(d, BLOCK_FLUSH, 0, 0, NULL, 0);
        d->req.done = unplug_flushed;
    } else {
        unplug_end(d);
    }
}

/*
 * The guest's PV driver takes over: nothing of ours may touch the image from then on, nor keep it
 * open. The guest's vCPU waits for that, and nobody else: for the guest the disk is gone at once.
 */
void ata_drive_unplug(struct ata_drive *d)
{
    if (d->unplugged) {
        return;
    }
    detach_running(d);
    d->unplugged = true;
    d->unplugging = UNPLUG_QUIET;
    /* One that holds for all drives that go with this access: it waits for one device only. */
    d->holder = d->dev.machine->holds.by_this ? d->dev.machine->holds.by_this : &d->dev;
    device_hold(d->holder);
    if (d->queue) {
        block_quiesce(d->queue, unplug_quiet, d);
    } else {
        unplug_end(d);
    }
}

bool ide_drive_is_cd(const struct device *dev)
{
    return dev->class == &ide_cd_class;
}

bool ide_drive_unplugged(const struct device *dev)
{
    return DEVICE_CAST(const struct ata_drive, dev)->unplugged;
}

struct block *ide_drive_block(const struct device *dev)
{
    return DEVICE_CAST(const struct ata_drive, dev)->block;
}

void ata_drive_describe(struct ata_drive *d, struct facts *to)
{
    static const char *const phase[] = {"idle",    "PIO in", "PIO out",  "reading",
                                        "writing", "DMA",    "flushing", "discarding"};

    if (d->unplugged) {
        fact_bool(to, "unplugged by the guest", true);
        return;
    }
    fact_text(to, "place", "%s unit %u", d->dev.bus->id, d->unit);
    fact_text(to, "model", "%s", d->model);
    fact_text(to, "serial", "%s", d->serial);
    fact_int(to, "sectors", (int64_t)ata_drive_sectors(d));
    fact_text(to, "file", "%s", d->block ? block_file(d->block) : "");
    fact_text(to, "phase", "%s", phase[d->phase]);
    fact_hex(to, "status", d->status);
    fact_hex(to, "error", d->error);
    fact_int(to, "commands", (int64_t)d->commands);
    fact_int(to, "sectors by PIO", (int64_t)d->pio_sectors);
    fact_int(to, "sectors by DMA", (int64_t)d->dma_sectors);
    fact_int(to, "failures", d->failures);
}

/* ---- saved state ---- */

/* How much of the buffer means something. */
static uint32_t buffer_used(const struct ata_drive *d)
{
    switch ((enum ata_phase)d->phase) {
    case ATA_PIO_IN:
    case ATA_MEDIA_OUT:
    case ATA_DISCARD:
        return d->data_end;
    case ATA_MEDIA_IN:
        return d->media_pos;
    case ATA_PIO_OUT:
        return d->pos;
    case ATA_DMA:
        return d->media ? 0 : d->write ? d->pos : d->data_end;
    case ATA_IDLE:
    case ATA_FLUSH:
        break;
    }
    return 0;
}

void ata_drive_pre_save(struct ata_drive *d)
{
    g_free(d->saved);
    d->saved_length = buffer_used(d);
    d->saved = g_memdup2(d->buffer, d->saved_length);
}

bool ata_drive_check_state(const struct ata_drive *d, GError **err)
{
    const char *wrong = NULL;

    bool filling = d->phase == ATA_MEDIA_IN;

    if (d->pos > d->drq_end || d->drq_end > d->data_end || d->drq_sectors == 0 ||
        d->media_pos > (filling ? (d->drq_sectors - 1) * ATA_SECTOR : d->data_end)) {
        wrong = "position in the buffer";
    } else if (d->saved_length != buffer_used(d)) {
        wrong = "length of the buffer";
    } else if ((d->phase == ATA_PIO_IN || d->phase == ATA_PIO_OUT) && d->pos == d->drq_end) {
        wrong = "an empty DRQ block";
    } else if ((filling &&
                (d->left == 0 || d->write || !d->media || (d->media_pos && !d->careful))) ||
               (d->phase == ATA_MEDIA_OUT &&
                (!d->write || !d->media || d->media_pos == d->data_end ||
                 (d->data_end - d->media_pos) % ATA_SECTOR ||
                 (d->data_end - d->media_pos) / ATA_SECTOR > d->left)) ||
               (d->phase == ATA_PIO_OUT && d->media &&
                (d->data_end % ATA_SECTOR || d->data_end / ATA_SECTOR > d->left || d->media_pos))) {
        wrong = "a transfer that cannot be";
    }
    if (wrong) {
        g_set_error(err, STATE_ERROR, EINVAL,
                    "drive: %s: phase %u, pos %u, drq_end %u, data_end %u, media_pos %u, left %u",
                    wrong, d->phase, d->pos, d->drq_end, d->data_end, d->media_pos, d->left);
    }
    return !wrong;
}

void ata_drive_post_load(struct ata_drive *d)
{
    if (d->saved_length) {
        memcpy(d->buffer, d->saved, d->saved_length);
    }
    g_free(d->saved);
    d->saved = NULL;
    if (d->unplugged) {
        /*
         * The line is the controller's and loaded already; the other drive, whose interrupt it may
         * be, is not.
         */
        detach(d);
        if (d->block && block_present(d->block)) {
            block_eject(d->block);
        }
    } else if (d->host) {
        if (d->host->ops->restored) {
            d->host->ops->restored(d->host, d);
        }
    }
}
