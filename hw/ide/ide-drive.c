/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What both kinds of drive have in common: how data moves between guest, buffer and medium.
 *
 * One command at a time, one block request at a time. A command is a phase and a position (lba,
 * left, pos …), all of which is saved; ide_drive_step() goes on from there whenever nothing is in
 * flight: after a completion, when the guest starts the bus master, and when the machine is
 * resumed.
 *
 *   PIO in    MEDIA_IN (buffer full of sectors) → PIO_IN (DRQ blocks) → MEDIA_IN … → finish
 *   PIO out   PIO_OUT (DRQ blocks) → MEDIA_OUT (buffer written) → PIO_OUT … → finish
 *   DMA       chunks of up to 1 MiB straight between the back end and guest memory → finish
 *
 * PIO sectors are taken from, or gathered for, the medium up to 64 KiB at once; never beyond the
 * command, so nothing the guest reads is older than its command. Reads that the host has in its
 * cache do not wait for the main loop. When a chunk fails it is done again sector by sector, so
 * that the drive stops at the sector that is bad.
 *
 * Nobody waits for the host. A command that ends while its request is in flight (reset, unplug)
 * calls it back, and the drive stays busy until it is: the request may still write the guest's
 * memory, or the medium.
 */
#include <errno.h>
#include <inttypes.h>

#include "ide-internal.h"

void ide_text(uint8_t *to, size_t size, const char *text)
{
    size_t n = MIN(strlen(text), size);

    memset(to, ' ', size);
    memcpy(to, text, n);
}

uint64_t ide_drive_sectors(const struct ide_drive *d)
{
    return d->block && block_present(d->block) ? block_size(d->block) / IDE_SECTOR : 0;
}

/* ---- the ends of a command ---- */

void ide_drive_raise(struct ide_drive *d)
{
    struct ide_channel *ch = d->channel;

    d->intrq = true;
    ide_channel_update_irq(ch);
    if (ch->irq.level) {
        ide_bm_interrupt(ch);
    }
}

void ide_drive_raise_when_quiet(struct ide_drive *d)
{
    if (d->cancelling) {
        d->quiet_interrupt = true;
    } else {
        ide_drive_raise(d);
    }
}

static void drive_idle(struct ide_drive *d)
{
    d->phase = IDE_IDLE;
    d->pos = d->drq_end = d->data_end = d->media_pos = 0;
    if (d->channel) {
        ide_bm_release(d->channel, d);
    }
}

void ide_drive_done(struct ide_drive *d)
{
    drive_idle(d);
    d->status = ATA_READY;
    d->error = 0;
    ide_drive_raise(d);
}

void ide_drive_abort(struct ide_drive *d, uint8_t error)
{
    drive_idle(d);
    d->status = ATA_READY | ATA_ERR;
    d->error = error;
    ide_drive_raise(d);
}

static void slice_stop(struct ide_drive *d)
{
    if (d->slice_source) {
        g_source_remove(d->slice_source);
        d->slice_source = 0;
    }
    if (d->gathering) {
        d->gathering = false;
        dma_list_end(d->list, 0);
        ide_bm_rewind(d->channel);
    }
}

void ide_drive_cancel(struct ide_drive *d)
{
    slice_stop(d);
    if (d->in_flight && !d->cancelling) {
        d->cancelling = true;
        block_cancel(d->queue, &d->req);
    }
    d->quiet_interrupt = false;
    drive_idle(d);
    d->careful = false;
}

void ide_drive_hold_reset(struct ide_drive *d)
{
    ide_drive_cancel(d);
    d->intrq = false;
    d->status = d->quiet_status = ATA_BSY;
}

void ide_drive_reset(struct ide_drive *d, bool hard)
{
    ide_drive_cancel(d);
    d->intrq = false;
    d->error = ATA_DIAG_PASSED;
    d->status = ATA_READY;
    d->device = ATA_DEVICE_OBSOLETE;
    d->feature[0] = d->feature[1] = 0;
    d->count[1] = d->lba_low[1] = d->lba_mid[1] = d->lba_high[1] = 0;
    d->count[0] = d->lba_low[0] = 1;
    d->ops->reset(d, hard);
    if (d->cancelling) {
        d->quiet_status = d->status;
        d->status = ATA_BSY;
    }
}

bool ide_drive_dma_back(struct ide_drive *d)
{
    slice_stop(d);
    if (!d->in_flight || !d->mapped) {
        return false;
    }
    block_cancel(d->queue, &d->req);
    return true;
}

/* ---- block requests ---- */

static void request_done(struct block_request *req, int error);

static void submit(struct ide_drive *d, enum block_op op, uint64_t sector, uint32_t sectors,
                   const struct iovec *iov, unsigned niov)
{
    d->chunk = sectors;
    d->in_flight = true;
    d->req = (struct block_request){
        .op = op,
        .offset = sector * IDE_SECTOR,
        .length = (uint64_t)sectors * IDE_SECTOR,
        .iov = iov,
        .niov = niov,
        .done = request_done,
        .opaque = d,
    };
    block_submit(d->queue, &d->req);
}

static const char *const op_name[] = {
    [BLOCK_READ] = "read",       [BLOCK_WRITE] = "write", [BLOCK_FLUSH] = "flush",
    [BLOCK_DISCARD] = "discard", [BLOCK_ZERO] = "write",
};

static void drive_failed(struct ide_drive *d, enum block_op op, int error)
{
    drive_idle(d);
    if (!log_is_news(&d->failures)) {
        /* but the event and the guest's answer go out */
    } else if (op == BLOCK_FLUSH) {
        log_warning(LOG_IDE, "%s: flush failed: %s", d->dev.id, g_strerror(-error));
    } else {
        log_warning(LOG_IDE, "%s: %s at sector %" PRIu64 " failed: %s", d->dev.id, op_name[op],
                    d->lba, g_strerror(-error));
    }
    machine_event_block_error(d->dev.machine, d->dev.id, op_name[op], error);
    d->ops->fail(d, op, error);
}

/* A chunk of more than a sector failed: again, one at a time. True if so. */
static bool try_carefully(struct ide_drive *d)
{
    if (d->careful || d->chunk <= 1) {
        return false;
    }
    d->careful = true;
    return true;
}

static uint32_t chunk_sectors(const struct ide_drive *d, uint32_t most)
{
    return d->careful ? 1 : MIN(d->left, most);
}

static void sectors_moved(struct ide_drive *d, uint32_t n)
{
    d->lba += n;
    d->left -= n;
}

/* ---- PIO ---- */

static void drq_begin(struct ide_drive *d, bool interrupt)
{
    d->drq_end = d->pos + d->ops->drq_block(d);
    d->status = ATA_READY | ATA_DRQ;
    if (interrupt) {
        ide_drive_raise(d);
    }
}

static void media_in(struct ide_drive *d);

static void media_in_done(struct ide_drive *d)
{
    sectors_moved(d, d->chunk);
    d->pio_sectors += d->chunk;
    d->media_pos += d->chunk * IDE_SECTOR;
    if (d->careful && d->left && d->media_pos < d->drq_sectors * IDE_SECTOR) {
        media_in(d); /* the guest expects whole DRQ blocks, whatever became of the buffer */
        return;
    }
    d->pos = 0;
    d->data_end = d->media_pos;
    d->media_pos = 0;
    if (d->ops->media_read && d->ops->media_read(d)) {
        return;
    }
    d->phase = IDE_PIO_IN;
    d->error = 0;
    drq_begin(d, true);
}

static void media_in_failed(struct ide_drive *d, int error)
{
    if (try_carefully(d)) {
        ide_drive_step(d);
    } else {
        drive_failed(d, BLOCK_READ, error);
    }
}

static void media_in(struct ide_drive *d)
{
    uint32_t most = d->ops->media_most ? d->ops->media_most(d) : IDE_BUFFER_SECTORS;
    uint32_t n = chunk_sectors(d, most);
    int error;

    d->status = ATA_DRDY | ATA_DSC | ATA_BSY;
    d->chunk = n;
    d->iov = (struct iovec){d->buffer + d->media_pos, (size_t)n * IDE_SECTOR};
    error = block_read_now(d->queue, d->lba * IDE_SECTOR, d->iov.iov_base, d->iov.iov_len);
    if (error == 0) {
        media_in_done(d);
    } else if (error == -EAGAIN) {
        submit(d, BLOCK_READ, d->lba, n, &d->iov, 1);
    } else {
        media_in_failed(d, error);
    }
}

/* Waits for the guest's data for the next sectors. */
static void pio_out_begin(struct ide_drive *d, bool interrupt)
{
    d->phase = IDE_PIO_OUT;
    d->pos = d->media_pos = 0;
    d->data_end = MIN(d->left, IDE_BUFFER_SECTORS) * IDE_SECTOR;
    drq_begin(d, interrupt);
}

static void media_out(struct ide_drive *d)
{
    uint32_t n = (d->data_end - d->media_pos) / IDE_SECTOR;

    if (d->careful) {
        n = 1;
    }
    d->status = ATA_DRDY | ATA_DSC | ATA_BSY;
    d->iov = (struct iovec){d->buffer + d->media_pos, (size_t)n * IDE_SECTOR};
    submit(d, BLOCK_WRITE, d->lba, n, &d->iov, 1);
}

static void media_out_done(struct ide_drive *d)
{
    sectors_moved(d, d->chunk);
    d->pio_sectors += d->chunk;
    d->media_pos += d->chunk * IDE_SECTOR;
    if (d->media_pos < d->data_end) {
        media_out(d);
    } else if (d->left) {
        pio_out_begin(d, true);
    } else {
        d->ops->finish(d);
    }
}

void ide_drive_pio_done(struct ide_drive *d)
{
    if (d->pos < d->data_end) {
        drq_begin(d, true);
        return;
    }
    if (d->phase == IDE_PIO_IN) {
        if (d->media && d->left) {
            d->pos = d->drq_end = d->data_end = 0;
            d->phase = IDE_MEDIA_IN;
            d->status = ATA_DRDY | ATA_DSC | ATA_BSY;
            ide_drive_step(d);
        } else {
            d->ops->finish(d);
        }
    } else if (d->media) {
        d->phase = IDE_MEDIA_OUT;
        d->status = ATA_DRDY | ATA_DSC | ATA_BSY;
        ide_drive_step(d);
    } else {
        uint32_t length = d->data_end;

        drive_idle(d);
        d->ops->buffer_in(d, length);
    }
}

void ide_drive_media_pio(struct ide_drive *d)
{
    d->media = true;
    d->careful = false;
    if (d->write) {
        pio_out_begin(d, false);
    } else {
        d->phase = IDE_MEDIA_IN;
        d->status = ATA_DRDY | ATA_DSC | ATA_BSY;
        ide_drive_step(d);
    }
}

void ide_drive_buffer_pio(struct ide_drive *d, uint32_t length, bool write, bool interrupt)
{
    d->media = false;
    d->write = write;
    d->left = 0;
    d->pos = 0;
    d->data_end = length;
    d->phase = write ? IDE_PIO_OUT : IDE_PIO_IN;
    drq_begin(d, interrupt);
}

/* ---- DMA ---- */

static void dma_begin(struct ide_drive *d)
{
    if (!ide_bm_claim(d->channel, d)) {
        /* The other drive waits for the engine: the guest has lost its way. */
        log_guest(LOG_IDE, "%s: DMA command while drive %u of the channel has one", d->dev.id,
                  1 - d->unit);
        ide_drive_abort(d, ATA_ABRT);
        return;
    }
    d->phase = IDE_DMA;
    d->careful = false;
    d->status = ATA_READY | ATA_DRQ;
    ide_drive_step(d);
}

void ide_drive_media_dma(struct ide_drive *d)
{
    d->media = true;
    dma_begin(d);
}

void ide_drive_media_next(struct ide_drive *d)
{
    d->media = true;
    d->pos = d->drq_end = d->data_end = 0;
    d->phase = IDE_MEDIA_IN;
    d->status = ATA_DRDY | ATA_DSC | ATA_BSY;
    ide_drive_step(d);
}

void ide_drive_media_buffer_dma(struct ide_drive *d, uint32_t length)
{
    d->media = false;
    d->pos = 0;
    d->drq_end = d->data_end = length;
    dma_begin(d);
}

void ide_drive_buffer_dma(struct ide_drive *d, uint32_t length, bool write)
{
    d->media = false;
    d->write = write;
    d->left = 0;
    d->pos = 0;
    d->drq_end = d->data_end = length;
    dma_begin(d);
}

/*
 * Data is through. The engine stays active until the command is over, too (a flush or discard may
 * follow): a driver that polls takes an inactive engine without an interrupt for an error.
 */
static void dma_finish(struct ide_drive *d)
{
    uint32_t length = d->data_end;

    d->phase = IDE_IDLE;
    d->pos = d->drq_end = d->data_end = d->media_pos = 0;
    if (!d->media && d->write) {
        d->ops->buffer_in(d, length);
    } else {
        d->ops->finish(d);
    }
}

/* The table ended before the data: the engine stops, the drive goes on asking until it is reset or
 * the engine restarted. */
static void dma_starved(struct ide_drive *d)
{
    ide_bm_stop(d->channel);
    d->status = ATA_READY | ATA_DRQ;
    log_guest(LOG_IDE, "%s: descriptor table is shorter than the transfer", d->dev.id);
}

static void dma_error(struct ide_drive *d, int error)
{
    struct ide_bm *bm = &d->channel->bm;

    if (guestmem_host_failed(error)) {
        if (log_is_news(&d->failures)) {
            log_warning(LOG_IDE, "%s: guest memory near 0x%08x cannot be mapped: %s", d->dev.id,
                        bm->bad_address, g_strerror(-error));
        }
        machine_event_block_error(d->dev.machine, d->dev.id, d->write ? "write" : "read", error);
    } else {
        log_guest(LOG_IDE, "%s: bus master met an error near 0x%08x: %s", d->dev.id,
                  bm->bad_address, g_strerror(-error));
    }
    ide_bm_error(d->channel);
    ide_drive_abort(d, ATA_ABRT);
}

static gboolean next_slice(gpointer opaque)
{
    struct ide_drive *d = opaque;

    turn_of("ide");
    d->slice_source = 0;
    ide_drive_step(d);
    return G_SOURCE_REMOVE;
}

/* The descriptor table takes long: the rest in a later turn of the loop. */
static void dma_later(struct ide_drive *d)
{
    d->status = ATA_READY | ATA_BSY;
    if (!d->slice_source) {
        d->slice_source = g_idle_add_full(G_PRIORITY_DEFAULT, next_slice, d, NULL);
    }
}

static void dma_buffer(struct ide_drive *d)
{
    bool ended;
    int64_t n = ide_bm_copy(d->channel, d->buffer + d->pos, d->data_end - d->pos,
                            d->write ? DMA_TO_DEVICE : DMA_FROM_DEVICE, &ended);

    if (n < 0) {
        dma_error(d, (int)n);
        return;
    }
    d->pos += (uint32_t)n;
    if (d->pos >= d->data_end) {
        dma_finish(d);
    } else if (ended) {
        dma_starved(d);
    } else {
        dma_later(d);
    }
}

static void dma_media(struct ide_drive *d)
{
    int64_t bytes;
    struct iovec *iov;
    unsigned count;

    if (!d->gathering) {
        ide_bm_begin(d->channel, &d->gather, d->list, d->write ? DMA_TO_DEVICE : DMA_FROM_DEVICE);
        d->gathering = true;
    }
    bytes = ide_bm_gather(d->channel, &d->gather,
                          chunk_sectors(d, IDE_DMA_CHUNK / IDE_SECTOR) * IDE_SECTOR);
    if (bytes == -EINPROGRESS) {
        dma_later(d);
        return;
    }
    d->gathering = false;
    if (bytes < 0) {
        dma_error(d, (int)bytes);
    } else if (bytes == 0) {
        dma_starved(d);
    } else {
        iov = dma_list_iov(d->list, 0, (size_t)bytes, &count);
        d->status = ATA_READY | ATA_BSY;
        d->mapped = true;
        submit(d, d->write ? BLOCK_WRITE : BLOCK_READ, d->lba, (uint32_t)bytes / IDE_SECTOR, iov,
               count);
    }
}

static void dma_step(struct ide_drive *d)
{
    if (d->media && d->left == 0) {
        dma_finish(d);
    } else if (!ide_bm_active(d->channel, d)) {
        d->status = ATA_READY | ATA_DRQ;
    } else if (d->media) {
        dma_media(d);
    } else {
        dma_buffer(d);
    }
}

static void dma_done(struct ide_drive *d, int error)
{
    ide_bm_idle(d->channel, d);
    if (error == 0) {
        sectors_moved(d, d->chunk);
        d->dma_sectors += d->chunk;
    } else if (error == -ECANCELED || try_carefully(d)) {
        ide_bm_rewind(d->channel); /* called back by a stop: again when the engine is started */
    } else {
        ide_bm_stop(d->channel);
        drive_failed(d, d->write ? BLOCK_WRITE : BLOCK_READ, error);
        return;
    }
    ide_drive_step(d);
}

/* ---- flush, discard ---- */

void ide_drive_flush(struct ide_drive *d)
{
    d->phase = IDE_FLUSH;
    d->status = ATA_READY | ATA_BSY;
    ide_drive_step(d);
}

void ide_drive_discard(struct ide_drive *d, uint32_t length)
{
    d->pos = 0;
    d->drq_end = d->data_end = length;
    d->phase = IDE_DISCARD;
    d->status = ATA_READY | ATA_BSY;
    ide_drive_step(d);
}

static void discard_step(struct ide_drive *d)
{
    uint64_t sector;
    uint32_t count;

    if (!d->ops->discard_next || !d->ops->discard_next(d, &sector, &count)) {
        d->ops->finish(d);
        return;
    }
    d->lba = sector;
    submit(d, BLOCK_DISCARD, sector, count, NULL, 0);
}

/* ---- the machine ---- */

void ide_drive_step(struct ide_drive *d)
{
    if (d->in_flight || d->quiesced || !d->channel || d->slice_source) {
        return;
    }
    if (!d->block && (d->phase == IDE_MEDIA_IN || (d->phase == IDE_DMA && d->media))) {
        /* restored from a machine that had a medium */
        drive_failed(d, BLOCK_READ, -ENOMEDIUM);
        return;
    }
    switch ((enum ide_phase)d->phase) {
    case IDE_IDLE:
    case IDE_PIO_IN:
    case IDE_PIO_OUT:
        break;
    case IDE_MEDIA_IN:
        media_in(d);
        break;
    case IDE_MEDIA_OUT:
        media_out(d);
        break;
    case IDE_DMA:
        dma_step(d);
        break;
    case IDE_FLUSH:
        submit(d, BLOCK_FLUSH, 0, 0, NULL, 0);
        break;
    case IDE_DISCARD:
        discard_step(d);
        break;
    }
}

static void unplug_step(struct ide_drive *d);

/* What was in flight when its command ended is back. */
static void quiet(struct ide_drive *d)
{
    bool interrupt = d->quiet_interrupt;

    d->cancelling = d->quiet_interrupt = false;
    d->status = d->quiet_status;
    if (d->unplugging) {
        unplug_step(d);
    } else if (interrupt && d->channel) {
        ide_drive_raise(d);
    }
}

static void request_done(struct block_request *req, int error)
{
    struct ide_drive *d = req->opaque;

    d->in_flight = false;
    if (d->mapped) {
        /* A failed read may have changed memory, too. */
        d->mapped = false;
        dma_list_end(d->list, (size_t)d->chunk * IDE_SECTOR);
    }
    if (d->cancelling) {
        quiet(d);
        return;
    }
    switch ((enum ide_phase)d->phase) {
    case IDE_MEDIA_IN:
        if (error) {
            media_in_failed(d, error);
        } else {
            media_in_done(d);
        }
        break;
    case IDE_MEDIA_OUT:
        if (error == 0) {
            media_out_done(d);
        } else if (try_carefully(d)) {
            ide_drive_step(d);
        } else {
            drive_failed(d, BLOCK_WRITE, error);
        }
        break;
    case IDE_DMA:
        dma_done(d, error);
        break;
    case IDE_FLUSH:
        if (error) {
            drive_failed(d, BLOCK_FLUSH, error);
        } else {
            d->ops->finish(d);
        }
        break;
    case IDE_DISCARD:
        /* Discarding is advice: a host that cannot has done no harm. */
        if (error && error != -EOPNOTSUPP) {
            drive_failed(d, BLOCK_DISCARD, error);
        } else {
            ide_drive_step(d);
        }
        break;
    case IDE_IDLE:
    case IDE_PIO_IN:
    case IDE_PIO_OUT:
        break;
    }
}

/* ---- before the first command ---- */

static void look_done(struct block_request *req, int error)
{
    struct ide_drive *d = req->opaque;

    if (!d->unplugging) {
        d->looked(d, error);
    }
    request_done(req, error);
}

void ide_drive_look(struct ide_drive *d, void (*done)(struct ide_drive *d, int error))
{
    int error;

    d->looked = done;
    if (d->phase != IDE_IDLE || d->in_flight || !d->queue) {
        return; /* it has begun to work already, or nothing to look at */
    }
    d->iov = (struct iovec){d->buffer, IDE_SECTOR};
    error = block_read_now(d->queue, 0, d->buffer, IDE_SECTOR);
    if (error != -EAGAIN) {
        done(d, error);
        return;
    }
    d->cancelling = true; /* busy, until it is back */
    d->quiet_status = d->status;
    d->status = ATA_BSY;
    submit(d, BLOCK_READ, 0, 1, &d->iov, 1);
    d->req.done = look_done;
}

void ide_drive_quiesce(struct device *dev)
{
    struct ide_drive *d = DEVICE_CAST(struct ide_drive, dev);

    d->quiesced = true;
    slice_stop(d);
}

bool ide_drive_busy(struct device *dev)
{
    const struct ide_drive *d = DEVICE_CAST(struct ide_drive, dev);

    return d->in_flight || d->unplugging;
}

void ide_drive_resume(struct device *dev)
{
    struct ide_drive *d = DEVICE_CAST(struct ide_drive, dev);

    d->quiesced = false;
    ide_drive_step(d);
}

/* ---- life ---- */

int ide_drive_realize(struct ide_drive *d, const struct ide_drive_ops *ops, GError **err)
{
    struct device *dev = machine_find(d->dev.machine, d->controller);
    struct ide_drive **place;

    if (!dev || dev->class != &piix3_ide_class) {
        g_set_error(err, XENDM_ERROR, ENODEV, "%s: there is no IDE controller '%s'", d->dev.id,
                    d->controller);
        return -ENODEV;
    }
    place = &DEVICE_CAST(struct ide_controller, dev)->channel[d->bus].drive[d->unit];
    if (*place) {
        g_set_error(err, XENDM_ERROR, EBUSY, "%s: ide.%u unit %u is taken by %s", d->dev.id, d->bus,
                    d->unit, (*place)->dev.id);
        return -EBUSY;
    }
    d->ops = ops;
    if (!d->serial) {
        d->serial = g_strdup_printf("XM%05u", d->bus * 2 + d->unit + 1);
    }
    d->buffer = g_malloc0(IDE_BUFFER);
    d->list = dma_list_new(dev, IDE_DMA_PIECES);
    d->queue = d->block ? block_queue_new(d->block) : NULL;
    d->channel = &DEVICE_CAST(struct ide_controller, dev)->channel[d->bus];
    *place = d;
    return 0;
}

/* Off the cable; what that means for the interrupt line is the caller's matter. */
static struct ide_channel *detach(struct ide_drive *d)
{
    struct ide_channel *ch = d->channel;

    ide_drive_cancel(d);
    if (ch) {
        ch->drive[d->unit] = NULL;
        d->channel = NULL;
    }
    return ch;
}

static void detach_running(struct ide_drive *d)
{
    struct ide_channel *ch = detach(d);

    if (ch) {
        ide_channel_update_irq(ch);
    }
}

static void unplug_release(struct ide_drive *d)
{
    if (d->holder && device_is_held(d->holder)) {
        device_release(d->holder);
    }
    d->holder = NULL;
}

void ide_drive_unrealize(struct ide_drive *d)
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

static void unplug_end(struct ide_drive *d)
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
    struct ide_drive *d = req->opaque;

    d->in_flight = false;
    if (error) {
        log_warning(LOG_IDE, "%s: flush before the unplugging failed: %s", d->dev.id,
                    g_strerror(-error));
        machine_event_block_error(d->dev.machine, d->dev.id, "flush", error);
    }
    unplug_end(d);
}

static void unplug_step(struct ide_drive *d)
{
    if (d->unplugging == UNPLUG_QUIET && d->block && block_present(d->block)) {
        d->unplugging = UNPLUG_FLUSH;
        submit(d, BLOCK_FLUSH, 0, 0, NULL, 0);
        d->req.done = unplug_flushed;
    } else {
        unplug_end(d);
    }
}

/*
 * The guest's PV driver takes over: nothing of ours may touch the image from then on, nor keep it
 * open. The guest's vCPU waits for that, and nobody else: for the guest the disk is gone at once.
 */
void ide_drive_unplug(struct ide_drive *d)
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
    if (!d->in_flight) {
        unplug_step(d);
    }
}

bool ide_drive_is_cd(const struct device *dev)
{
    return dev->class == &ide_cd_class;
}

bool ide_drive_unplugged(const struct device *dev)
{
    return DEVICE_CAST(const struct ide_drive, dev)->unplugged;
}

struct block *ide_drive_block(const struct device *dev)
{
    return DEVICE_CAST(const struct ide_drive, dev)->block;
}

void ide_drive_describe(struct ide_drive *d, struct facts *to)
{
    static const char *const phase[] = {"idle",    "PIO in", "PIO out",  "reading",
                                        "writing", "DMA",    "flushing", "discarding"};

    if (d->unplugged) {
        fact_bool(to, "unplugged by the guest", true);
        return;
    }
    fact_text(to, "place", "ide.%u unit %u", d->bus, d->unit);
    fact_text(to, "model", "%s", d->model);
    fact_text(to, "serial", "%s", d->serial);
    fact_int(to, "sectors", (int64_t)ide_drive_sectors(d));
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
static uint32_t buffer_used(const struct ide_drive *d)
{
    switch ((enum ide_phase)d->phase) {
    case IDE_PIO_IN:
    case IDE_MEDIA_OUT:
    case IDE_DISCARD:
        return d->data_end;
    case IDE_MEDIA_IN:
        return d->media_pos;
    case IDE_PIO_OUT:
        return d->pos;
    case IDE_DMA:
        return d->media ? 0 : d->write ? d->pos : d->data_end;
    case IDE_IDLE:
    case IDE_FLUSH:
        break;
    }
    return 0;
}

void ide_drive_pre_save(struct ide_drive *d)
{
    g_free(d->saved);
    d->saved_length = buffer_used(d);
    d->saved = g_memdup2(d->buffer, d->saved_length);
}

bool ide_drive_check_state(const struct ide_drive *d, GError **err)
{
    const char *wrong = NULL;

    bool filling = d->phase == IDE_MEDIA_IN;

    if (d->pos > d->drq_end || d->drq_end > d->data_end || d->drq_sectors == 0 ||
        d->media_pos > (filling ? (d->drq_sectors - 1) * IDE_SECTOR : d->data_end)) {
        wrong = "position in the buffer";
    } else if (d->saved_length != buffer_used(d)) {
        wrong = "length of the buffer";
    } else if ((d->phase == IDE_PIO_IN || d->phase == IDE_PIO_OUT) && d->pos == d->drq_end) {
        wrong = "an empty DRQ block";
    } else if ((filling &&
                (d->left == 0 || d->write || !d->media || (d->media_pos && !d->careful))) ||
               (d->phase == IDE_MEDIA_OUT &&
                (!d->write || !d->media || d->media_pos == d->data_end ||
                 (d->data_end - d->media_pos) % IDE_SECTOR ||
                 (d->data_end - d->media_pos) / IDE_SECTOR > d->left)) ||
               (d->phase == IDE_PIO_OUT && d->media &&
                (d->data_end % IDE_SECTOR || d->data_end / IDE_SECTOR > d->left || d->media_pos))) {
        wrong = "a transfer that cannot be";
    }
    if (wrong) {
        g_set_error(err, STATE_ERROR, EINVAL,
                    "drive: %s: phase %u, pos %u, drq_end %u, data_end %u, media_pos %u, left %u",
                    wrong, d->phase, d->pos, d->drq_end, d->data_end, d->media_pos, d->left);
    }
    return !wrong;
}

void ide_drive_post_load(struct ide_drive *d)
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
    } else if (d->channel) {
        ide_bm_restore(d->channel, d);
    }
}
