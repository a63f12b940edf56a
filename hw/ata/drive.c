/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What both kinds of drive have in common: how data moves between guest, buffer and medium.
 *
 * One command at a time, one block request at a time. A command is a phase and a position (lba,
 * left, pos …), all of which is saved; ata_drive_step() goes on from there whenever nothing is in
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

#include "ata-internal.h"

void ata_text(uint8_t *to, size_t size, const char *text)
{
    size_t n = MIN(strlen(text), size);

    memset(to, ' ', size);
    memcpy(to, text, n);
}

uint64_t ata_drive_sectors(const struct ata_drive *d)
{
    return d->block && block_present(d->block) ? block_size(d->block) / ATA_SECTOR : 0;
}

/* ---- the ends of a command ---- */

void ata_drive_raise(struct ata_drive *d)
{
    d->intrq = true;
    d->host->ops->interrupt(d->host, d);
}

void ata_drive_raise_when_quiet(struct ata_drive *d)
{
    if (d->cancelling) {
        d->quiet_interrupt = true;
    } else {
        ata_drive_raise(d);
    }
}

static void drive_idle(struct ata_drive *d)
{
    d->phase = ATA_IDLE;
    d->pos = d->drq_end = d->data_end = d->media_pos = 0;
    if (d->host) {
        d->host->ops->release(d->host, d);
    }
}

void ata_drive_done(struct ata_drive *d)
{
    drive_idle(d);
    d->status = ATA_READY;
    d->error = 0;
    ata_drive_raise(d);
}

void ata_drive_fail(struct ata_drive *d, uint8_t status, uint8_t error)
{
    drive_idle(d);
    d->status = status | ATA_ERR;
    d->error = error;
    ata_drive_raise(d);
}

void ata_drive_abort(struct ata_drive *d, uint8_t error)
{
    ata_drive_fail(d, ATA_READY, error);
}

void ata_drive_command(struct ata_drive *d, uint8_t code)
{
    d->commands++;
    d->ops->command(d, code);
}

static void slice_stop(struct ata_drive *d)
{
    later_forget(&d->slice);
    if (d->gathering) {
        d->gathering = false;
        dma_list_end(d->list, 0);
        d->host->ops->rewind(d->host);
    }
}

void ata_drive_cancel(struct ata_drive *d)
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

void ata_drive_hold_reset(struct ata_drive *d)
{
    ata_drive_cancel(d);
    d->intrq = false;
    d->status = d->quiet_status = ATA_BSY;
}

void ata_drive_reset(struct ata_drive *d, bool hard)
{
    ata_drive_cancel(d);
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

bool ata_drive_dma_back(struct ata_drive *d)
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

void ata_drive_submit(struct ata_drive *d, enum block_op op, uint64_t sector, uint32_t sectors,
                      const struct iovec *iov, unsigned niov)
{
    d->chunk = sectors;
    d->in_flight = true;
    d->req = (struct block_request){
        .op = op,
        .offset = sector * ATA_SECTOR,
        .length = (uint64_t)sectors * ATA_SECTOR,
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

static void drive_failed(struct ata_drive *d, enum block_op op, int error)
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
static bool try_carefully(struct ata_drive *d)
{
    if (d->careful || d->chunk <= 1) {
        return false;
    }
    d->careful = true;
    return true;
}

static uint32_t chunk_sectors(const struct ata_drive *d, uint32_t most)
{
    return d->careful ? 1 : MIN(d->left, most);
}

static void sectors_moved(struct ata_drive *d, uint32_t n)
{
    d->lba += n;
    d->left -= n;
}

/* ---- PIO ---- */

static void drq_begin(struct ata_drive *d, bool interrupt)
{
    d->drq_end = d->pos + d->ops->drq_block(d);
    d->status = ATA_READY | ATA_DRQ;
    if (interrupt) {
        ata_drive_raise(d);
    }
}

static void media_in(struct ata_drive *d);

static void media_in_done(struct ata_drive *d)
{
    sectors_moved(d, d->chunk);
    d->pio_sectors += d->chunk;
    d->media_pos += d->chunk * ATA_SECTOR;
    if (d->careful && d->left && d->media_pos < d->drq_sectors * ATA_SECTOR) {
        media_in(d); /* the guest expects whole DRQ blocks, whatever became of the buffer */
        return;
    }
    d->pos = 0;
    d->data_end = d->media_pos;
    d->media_pos = 0;
    if (d->ops->media_read && d->ops->media_read(d)) {
        return;
    }
    d->phase = ATA_PIO_IN;
    d->error = 0;
    drq_begin(d, true);
}

static void media_in_failed(struct ata_drive *d, int error)
{
    if (try_carefully(d)) {
        ata_drive_step(d);
    } else {
        drive_failed(d, BLOCK_READ, error);
    }
}

static void media_in(struct ata_drive *d)
{
    uint32_t most = d->ops->media_most ? d->ops->media_most(d) : ATA_BUFFER_SECTORS;
    uint32_t n = chunk_sectors(d, most);
    int error;

    d->status = ATA_DRDY | ATA_DSC | ATA_BSY;
    d->chunk = n;
    d->iov = (struct iovec){d->buffer + d->media_pos, (size_t)n * ATA_SECTOR};
    error = block_read_now(d->queue, d->lba * ATA_SECTOR, d->iov.iov_base, d->iov.iov_len);
    if (error == 0) {
        media_in_done(d);
    } else if (error == -EAGAIN) {
        ata_drive_submit(d, BLOCK_READ, d->lba, n, &d->iov, 1);
    } else {
        media_in_failed(d, error);
    }
}

/* Waits for the guest's data for the next sectors. */
static void pio_out_begin(struct ata_drive *d, bool interrupt)
{
    d->phase = ATA_PIO_OUT;
    d->pos = d->media_pos = 0;
    d->data_end = MIN(d->left, ATA_BUFFER_SECTORS) * ATA_SECTOR;
    drq_begin(d, interrupt);
}

static void media_out(struct ata_drive *d)
{
    uint32_t n = (d->data_end - d->media_pos) / ATA_SECTOR;

    if (d->careful) {
        n = 1;
    }
    d->status = ATA_DRDY | ATA_DSC | ATA_BSY;
    d->iov = (struct iovec){d->buffer + d->media_pos, (size_t)n * ATA_SECTOR};
    ata_drive_submit(d, BLOCK_WRITE, d->lba, n, &d->iov, 1);
}

static void media_out_done(struct ata_drive *d)
{
    sectors_moved(d, d->chunk);
    d->pio_sectors += d->chunk;
    d->media_pos += d->chunk * ATA_SECTOR;
    if (d->media_pos < d->data_end) {
        media_out(d);
    } else if (d->left) {
        pio_out_begin(d, true);
    } else {
        d->ops->finish(d);
    }
}

void ata_drive_pio_done(struct ata_drive *d)
{
    if (d->pos < d->data_end) {
        drq_begin(d, true);
        return;
    }
    if (d->phase == ATA_PIO_IN) {
        if (d->media && d->left) {
            d->pos = d->drq_end = d->data_end = 0;
            d->phase = ATA_MEDIA_IN;
            d->status = ATA_DRDY | ATA_DSC | ATA_BSY;
            ata_drive_step(d);
        } else {
            d->ops->finish(d);
        }
    } else if (d->media) {
        d->phase = ATA_MEDIA_OUT;
        d->status = ATA_DRDY | ATA_DSC | ATA_BSY;
        ata_drive_step(d);
    } else {
        uint32_t length = d->data_end;

        drive_idle(d);
        d->ops->buffer_in(d, length);
    }
}

void ata_drive_media_pio(struct ata_drive *d)
{
    d->media = true;
    d->careful = false;
    if (d->write) {
        pio_out_begin(d, false);
    } else {
        d->phase = ATA_MEDIA_IN;
        d->status = ATA_DRDY | ATA_DSC | ATA_BSY;
        ata_drive_step(d);
    }
}

void ata_drive_buffer_pio(struct ata_drive *d, uint32_t length, bool write, bool interrupt)
{
    d->media = false;
    d->write = write;
    d->left = 0;
    d->pos = 0;
    d->data_end = length;
    d->phase = write ? ATA_PIO_OUT : ATA_PIO_IN;
    drq_begin(d, interrupt);
}

/* ---- DMA ---- */

static void dma_begin(struct ata_drive *d)
{
    if (!d->host->ops->claim(d->host, d)) {
        /* The other drive waits for the engine: the guest has lost its way. */
        log_guest(LOG_IDE, "%s: DMA command while drive %u of the channel has one", d->dev.id,
                  1 - d->unit);
        ata_drive_abort(d, ATA_ABRT);
        return;
    }
    d->phase = ATA_DMA;
    d->careful = false;
    d->status = ATA_READY | ATA_DRQ;
    ata_drive_step(d);
}

void ata_drive_media_dma(struct ata_drive *d)
{
    d->media = true;
    dma_begin(d);
}

void ata_drive_media_next(struct ata_drive *d)
{
    d->media = true;
    d->pos = d->drq_end = d->data_end = 0;
    d->phase = ATA_MEDIA_IN;
    d->status = ATA_DRDY | ATA_DSC | ATA_BSY;
    ata_drive_step(d);
}

void ata_drive_media_buffer_dma(struct ata_drive *d, uint32_t length)
{
    d->media = false;
    d->pos = 0;
    d->drq_end = d->data_end = length;
    dma_begin(d);
}

void ata_drive_buffer_dma(struct ata_drive *d, uint32_t length, bool write)
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
static void dma_finish(struct ata_drive *d)
{
    uint32_t length = d->data_end;

    d->phase = ATA_IDLE;
    d->pos = d->drq_end = d->data_end = d->media_pos = 0;
    if (!d->media && d->write) {
        d->ops->buffer_in(d, length);
    } else {
        d->ops->finish(d);
    }
}

/* The guest's list ended before the data. */
static void dma_starved(struct ata_drive *d)
{
    log_guest(LOG_IDE, "%s: descriptor table is shorter than the transfer", d->dev.id);
    d->host->ops->starved(d->host, d);
}

static void dma_error(struct ata_drive *d, int error)
{
    uint64_t at = d->host->bad_address;

    if (guestmem_host_failed(error)) {
        if (log_is_news(&d->failures)) {
            log_warning(LOG_IDE, "%s: guest memory near 0x%08" PRIx64 " cannot be mapped: %s",
                        d->dev.id, at, g_strerror(-error));
        }
        machine_event_block_error(d->dev.machine, d->dev.id, d->write ? "write" : "read", error);
    } else {
        log_guest(LOG_IDE, "%s: bus master met an error near 0x%08" PRIx64 ": %s", d->dev.id, at,
                  g_strerror(-error));
    }
    d->host->ops->error(d->host, error);
    ata_drive_abort(d, ATA_ABRT);
}

static void next_slice(void *opaque)
{
    ata_drive_step(opaque);
}

/* The descriptor table takes long: the rest in a later turn of the loop. */
static void dma_later(struct ata_drive *d)
{
    static const struct later_kind kind = {.turn = "ide", .go_on = next_slice};

    d->status = ATA_READY | ATA_BSY;
    later_ask(&d->slice, &kind, d, d->dev.id);
}

static void dma_buffer(struct ata_drive *d)
{
    bool ended;
    int64_t n = d->host->ops->copy(d->host, d->buffer + d->pos, d->data_end - d->pos,
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

static void dma_media(struct ata_drive *d)
{
    int64_t bytes;
    struct iovec *iov;
    unsigned count;

    if (!d->gathering) {
        d->host->ops->begin(d->host, d, d->write ? DMA_TO_DEVICE : DMA_FROM_DEVICE);
        d->gathering = true;
    }
    bytes =
        d->host->ops->gather(d->host, d, chunk_sectors(d, ATA_DMA_CHUNK / ATA_SECTOR) * ATA_SECTOR);
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
        ata_drive_submit(d, d->write ? BLOCK_WRITE : BLOCK_READ, d->lba,
                         (uint32_t)bytes / ATA_SECTOR, iov, count);
    }
}

static void dma_step(struct ata_drive *d)
{
    if (d->media && d->left == 0) {
        dma_finish(d);
    } else if (!d->host->ops->active(d->host, d)) {
        d->status = ATA_READY | ATA_DRQ;
    } else if (d->media) {
        dma_media(d);
    } else {
        dma_buffer(d);
    }
}

static void dma_done(struct ata_drive *d, int error)
{
    d->host->ops->idle(d->host, d);
    if (error == 0) {
        sectors_moved(d, d->chunk);
        d->dma_sectors += d->chunk;
    } else if (error == -ECANCELED || try_carefully(d)) {
        d->host->ops->rewind(d->host); /* called back by a stop: again when the engine is started */
    } else {
        d->host->ops->stop(d->host);
        drive_failed(d, d->write ? BLOCK_WRITE : BLOCK_READ, error);
        return;
    }
    ata_drive_step(d);
}

/* ---- flush, discard ---- */

void ata_drive_flush(struct ata_drive *d)
{
    d->phase = ATA_FLUSH;
    d->status = ATA_READY | ATA_BSY;
    ata_drive_step(d);
}

void ata_drive_discard(struct ata_drive *d, uint32_t length)
{
    d->pos = 0;
    d->drq_end = d->data_end = length;
    d->phase = ATA_DISCARD;
    d->status = ATA_READY | ATA_BSY;
    ata_drive_step(d);
}

static void discard_step(struct ata_drive *d)
{
    uint64_t sector;
    uint32_t count;

    if (!d->ops->discard_next || !d->ops->discard_next(d, &sector, &count)) {
        d->ops->finish(d);
        return;
    }
    d->lba = sector;
    ata_drive_submit(d, BLOCK_DISCARD, sector, count, NULL, 0);
}

/* ---- the machine ---- */

void ata_drive_step(struct ata_drive *d)
{
    if (d->in_flight || d->quiesced || !d->host || later_is_asked(&d->slice)) {
        return;
    }
    if (!d->block && (d->phase == ATA_MEDIA_IN || (d->phase == ATA_DMA && d->media))) {
        /* restored from a machine that had a medium */
        drive_failed(d, BLOCK_READ, -ENOMEDIUM);
        return;
    }
    switch ((enum ata_phase)d->phase) {
    case ATA_IDLE:
    case ATA_PIO_IN:
    case ATA_PIO_OUT:
        break;
    case ATA_MEDIA_IN:
        media_in(d);
        break;
    case ATA_MEDIA_OUT:
        media_out(d);
        break;
    case ATA_DMA:
        dma_step(d);
        break;
    case ATA_FLUSH:
        ata_drive_submit(d, BLOCK_FLUSH, 0, 0, NULL, 0);
        break;
    case ATA_DISCARD:
        discard_step(d);
        break;
    }
}

/* What was in flight when its command ended is back. */
static void quiet(struct ata_drive *d)
{
    bool interrupt = d->quiet_interrupt;

    d->cancelling = d->quiet_interrupt = false;
    d->status = d->quiet_status;
    if (interrupt && d->host) {
        ata_drive_raise(d);
    } else if (d->host && d->host->ops->quiet) {
        d->host->ops->quiet(d->host);
    }
}

static void request_done(struct block_request *req, int error)
{
    struct ata_drive *d = req->opaque;

    d->in_flight = false;
    if (d->mapped) {
        /* A failed read may have changed memory, too. */
        d->mapped = false;
        dma_list_end(d->list, (size_t)d->chunk * ATA_SECTOR);
    }
    if (d->cancelling) {
        quiet(d);
        return;
    }
    switch ((enum ata_phase)d->phase) {
    case ATA_MEDIA_IN:
        if (error) {
            media_in_failed(d, error);
        } else {
            media_in_done(d);
        }
        break;
    case ATA_MEDIA_OUT:
        if (error == 0) {
            media_out_done(d);
        } else if (try_carefully(d)) {
            ata_drive_step(d);
        } else {
            drive_failed(d, BLOCK_WRITE, error);
        }
        break;
    case ATA_DMA:
        dma_done(d, error);
        break;
    case ATA_FLUSH:
        if (error) {
            drive_failed(d, BLOCK_FLUSH, error);
        } else {
            d->ops->finish(d);
        }
        break;
    case ATA_DISCARD:
        /* Discarding is advice: a host that cannot has done no harm. */
        if (error && error != -EOPNOTSUPP) {
            drive_failed(d, BLOCK_DISCARD, error);
        } else {
            ata_drive_step(d);
        }
        break;
    case ATA_IDLE:
    case ATA_PIO_IN:
    case ATA_PIO_OUT:
        break;
    }
}

/* ---- before the first command ---- */

static void look_done(struct block_request *req, int error)
{
    struct ata_drive *d = req->opaque;

    if (!d->unplugging) {
        d->looked(d, error);
    }
    request_done(req, error);
}

void ata_drive_look(struct ata_drive *d, void (*done)(struct ata_drive *d, int error))
{
    int error;

    d->looked = done;
    if (d->phase != ATA_IDLE || d->in_flight || !d->queue) {
        return; /* it has begun to work already, or nothing to look at */
    }
    d->iov = (struct iovec){d->buffer, ATA_SECTOR};
    error = block_read_now(d->queue, 0, d->buffer, ATA_SECTOR);
    if (error != -EAGAIN) {
        done(d, error);
        return;
    }
    d->cancelling = true; /* busy, until it is back */
    d->quiet_status = d->status;
    d->status = ATA_BSY;
    ata_drive_submit(d, BLOCK_READ, 0, 1, &d->iov, 1);
    d->req.done = look_done;
}

void ata_drive_quiesce(struct device *dev)
{
    struct ata_drive *d = DEVICE_CAST(struct ata_drive, dev);

    d->quiesced = true;
    slice_stop(d);
}

bool ata_drive_busy(struct device *dev)
{
    const struct ata_drive *d = DEVICE_CAST(struct ata_drive, dev);

    return d->in_flight || d->queued || d->unplugging;
}

void ata_drive_resume(struct device *dev)
{
    struct ata_drive *d = DEVICE_CAST(struct ata_drive, dev);

    d->quiesced = false;
    ata_drive_step(d);
}
