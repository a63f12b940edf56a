/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Queued commands (Serial ATA 2.6 section 13.6; AHCI 1.3.1 sections 5.3.13, 6.2): READ and WRITE
 * FPDMA QUEUED, up to 32 at once, which end in any order.
 *
 * Each moves in chunks of up to 1 MiB straight between the host and guest memory. When one fails,
 * the drive tells it by a Set Device Bits FIS with ERR and forgets all others, and the queued error
 * log says which it was; no further one is accepted before the guest has read that, or reset the
 * drive. Requests that were called back keep the port busy until they have come.
 */
#include <errno.h>
#include <inttypes.h>

#include "ahci.h"

#define FIS_SDB 0xa1u
#define FIS_AT_SDB 0x58u
#define CMD_WRITE_FPDMA 0x61u
#define TAG_NON_QUEUED 0x80u

static void step(struct ahci_slot *s);

static uint32_t bit(const struct ahci_slot *s)
{
    return 1u << s->q.slot;
}

/* ---- ends ---- */

static void post_set_device_bits(struct ahci_port *p, uint8_t status, uint8_t error, uint32_t done)
{
    uint8_t fis[8] = {FIS_SDB, 0x40, status & 0x77, error};

    store_le32(fis + 4, done);
    ahci_post_fis(p, FIS_AT_SDB, fis, sizeof(fis));
    p->tfd = (p->tfd & (ATA_BSY | ATA_DRQ)) | (status & 0x77) | (uint32_t)error << 8;
    p->sact &= ~done;
}

static void done(struct ahci_slot *s)
{
    struct ahci_port *p = s->port;

    s->active = false;
    post_set_device_bits(p, ATA_READY, 0, bit(s));
    ahci_port_interrupt(p, PORT_SDBS);
}

static void fail(struct ahci_slot *s, uint8_t error)
{
    struct ahci_port *p = s->port;

    p->queue_failed = true;
    p->log_tag = (uint8_t)s->q.slot;
    p->log_status = ATA_READY | ATA_ERR;
    p->log_error = error;
    p->log_lba = s->q.lba;
    p->log_count = (uint16_t)s->q.left;
    ahci_queue_drop(p);
    post_set_device_bits(p, ATA_READY | ATA_ERR, error, 0);
    ahci_halt(p, PORT_SDBS | PORT_TFES);
}

static void memory_failed(struct ahci_slot *s, int error)
{
    struct ahci_port *p = s->port;

    if (guestmem_host_failed(error)) {
        log_warning(LOG_AHCI, "%s: guest memory near 0x%" PRIx64 " cannot be mapped: %s",
                    s->drive->dev.id, p->host.bad_address, g_strerror(-error));
    } else {
        log_guest(LOG_AHCI, "%s: queued command met an error near 0x%" PRIx64 ": %s",
                  s->drive->dev.id, p->host.bad_address, g_strerror(-error));
    }
    ahci_queue_drop(p);
    ahci_halt(p, PORT_HBFS);
}

static void medium_failed(struct ahci_slot *s, int error)
{
    static const char *const name[] = {"read", "write", "flush"};
    const char *op = name[s->q.flushing ? 2 : s->q.write];
    struct ata_drive *d = s->drive;

    if (log_is_news(&d->failures)) {
        log_warning(LOG_AHCI, "%s: %s at sector %" PRIu64 " failed: %s", d->dev.id, op, s->q.lba,
                    g_strerror(-error));
    }
    machine_event_block_error(d->dev.machine, d->dev.id, op, error);
    fail(s, s->q.write ? ATA_ABRT : ATA_UNC);
}

/* ---- requests ---- */

static void request_done(struct block_request *req, int error)
{
    struct ahci_slot *s = req->opaque;
    struct ahci_port *p = s->port;

    s->in_flight = false;
    p->in_flight--;
    s->drive->queued--;
    if (req->op != BLOCK_FLUSH) {
        dma_list_end(s->list, (size_t)s->chunk * ATA_SECTOR); /* a failed read, too */
    }
    if (s->dropped) {
        s->dropped = s->active = false;
        ahci_port_go(p);
        return;
    }
    if (error == -ECANCELED) {
        s->q.prd = s->chunk_start; /* called back as bus mastering is off: it meets that now */
    } else if (error) {
        medium_failed(s, error);
        return;
    } else if (s->q.flushing) {
        s->q.flushing = s->q.fua = false;
    } else {
        s->q.lba += s->chunk;
        s->q.left -= s->chunk;
        s->drive->dma_sectors += s->chunk;
    }
    step(s);
}

static void submit(struct ahci_slot *s, enum block_op op, const struct iovec *iov, unsigned niov)
{
    s->drive = ahci_drive(s->port);
    s->in_flight = true;
    s->port->in_flight++;
    s->drive->queued++;
    s->req = (struct block_request){
        .op = op,
        .offset = op == BLOCK_FLUSH ? 0 : s->q.lba * ATA_SECTOR,
        .length = op == BLOCK_FLUSH ? 0 : (uint64_t)s->chunk * ATA_SECTOR,
        .iov = iov,
        .niov = niov,
        .done = request_done,
        .opaque = s,
    };
    block_submit(s->drive->queue, &s->req);
}

static void transfer(struct ahci_slot *s)
{
    struct ahci_port *p = s->port;
    uint32_t want = MIN(s->q.left, AHCI_CHUNK / ATA_SECTOR) * ATA_SECTOR;
    struct iovec *iov;
    int64_t bytes;
    unsigned count;

    if (!s->list) {
        s->list = dma_list_new(&p->hba->pci.dev, AHCI_PIECES);
    }
    s->drive = ahci_drive(p);
    s->chunk_start = s->q.prd;
    dma_list_begin(s->list, s->q.write ? DMA_TO_DEVICE : DMA_FROM_DEVICE);
    bytes = ahci_gather(p, &s->q.prd, s->list, want);
    if (bytes < 0) {
        memory_failed(s, (int)bytes);
    } else if (bytes == 0) {
        log_guest(LOG_AHCI, "%s: descriptor table is shorter than the transfer", s->drive->dev.id);
        p->is |= PORT_OFS;
        fail(s, ATA_ABRT);
    } else {
        s->chunk = (uint32_t)bytes / ATA_SECTOR;
        iov = dma_list_iov(s->list, 0, (size_t)bytes, &count);
        submit(s, s->q.write ? BLOCK_WRITE : BLOCK_READ, iov, count);
    }
}

static void step(struct ahci_slot *s)
{
    struct ata_drive *d = ahci_drive(s->port);

    if (!s->active || s->in_flight || s->port->hba->quiesced || !d) {
        return;
    }
    s->drive = d;
    if (!d->queue) {
        medium_failed(s, -ENOMEDIUM); /* restored from a machine that had one */
    } else if (s->q.left) {
        transfer(s);
    } else if (s->q.write && s->q.fua) {
        s->q.flushing = true;
        submit(s, BLOCK_FLUSH, NULL, 0);
    } else {
        done(s);
    }
}

void ahci_queue_step(struct ahci_port *p)
{
    for (unsigned i = 0; i < AHCI_SLOTS; i++) {
        if (p->queue[i].active) {
            step(&p->queue[i]);
        }
    }
}

void ahci_queue_call_back(struct ahci_port *p)
{
    for (unsigned i = 0; i < AHCI_SLOTS; i++) {
        struct ahci_slot *s = &p->queue[i];

        if (s->in_flight && !s->dropped) {
            block_cancel(s->drive->queue, &s->req);
        }
    }
}

void ahci_queue_drop(struct ahci_port *p)
{
    for (unsigned i = 0; i < AHCI_SLOTS; i++) {
        struct ahci_slot *s = &p->queue[i];

        s->active = false;
        if (s->in_flight && !s->dropped) {
            s->dropped = true;
            block_cancel(s->drive->queue, &s->req);
        }
    }
}

/* ---- issue ---- */

static bool acceptable(struct ahci_slot *s, const uint8_t *fis, uint8_t *error)
{
    struct ahci_port *p = s->port;
    struct ata_drive *d = ahci_drive(p);
    uint64_t total = ata_drive_sectors(d);

    *error = ATA_ABRT;
    if (d->packet || p->queue_failed || fis[12] >> 3 != s->q.slot || !(fis[7] & ATA_DEVICE_LBA) ||
        (s->q.write && block_read_only(d->block))) {
        return false;
    }
    *error = ATA_IDNF;
    return s->q.lba < total && s->q.left <= total - s->q.lba;
}

void ahci_queue_issue(struct ahci_port *p, unsigned slot, const uint8_t *fis,
                      const struct ahci_prd *prd)
{
    struct ahci_slot *s = &p->queue[slot];
    uint32_t count = fis[3] | (uint32_t)fis[11] << 8;
    uint8_t error;

    s->port = p;
    s->drive = ahci_drive(p);
    s->q = (struct ahci_queued){
        .slot = slot,
        .lba = load_le16(fis + 4) | (uint64_t)fis[6] << 16 | (uint64_t)fis[8] << 24 |
               (uint64_t)load_le16(fis + 9) << 32,
        .left = count ? count : 65536,
        .write = fis[2] == CMD_WRITE_FPDMA,
        .fua = (fis[7] & 0x80) || !ata_drive_caches(s->drive),
        .prd = *prd,
    };
    s->drive->commands++;
    if (!acceptable(s, fis, &error)) {
        fail(s, error);
        return;
    }
    s->active = true;
    step(s);
}

/* ACS-2 A.14; the sum of all its bytes is 0. */
void ahci_queue_log(struct ahci_port *p, uint8_t *page)
{
    uint8_t sum = 0;

    memset(page, 0, ATA_SECTOR);
    page[0] = p->queue_failed ? p->log_tag : TAG_NON_QUEUED;
    if (p->queue_failed) {
        page[2] = p->log_status;
        page[3] = p->log_error;
        for (unsigned i = 0; i < 3; i++) {
            page[4 + i] = (uint8_t)(p->log_lba >> 8 * i);
            page[8 + i] = (uint8_t)(p->log_lba >> 8 * (i + 3));
        }
        page[7] = ATA_DEVICE_LBA;
        store_le16(page + 12, p->log_count);
    }
    p->queue_failed = false;
    for (unsigned i = 0; i < ATA_SECTOR - 1; i++) {
        sum += page[i];
    }
    page[ATA_SECTOR - 1] = (uint8_t)-sum;
}
