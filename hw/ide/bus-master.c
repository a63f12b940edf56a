/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bus master of a channel: its registers and its descriptor walk (SFF-8038i 1.2-1.3, 82371SB
 * section 2.7). Nobody else writes what is in struct ide_bm.
 *
 * A descriptor is {address, count} of 4 bytes each; count is 16 bits and even, 0 stands for 64 KiB,
 * bit 31 ends the table. The table lies in one 64 KiB page, within which the chip's pointer wraps;
 * after 8192 descriptors it would come round, which is taken as its end. Every descriptor is
 * fetched once, moves at least two bytes, and its memory is mapped through xendm/dma.h, so neither
 * loops nor wild addresses get further than the guest's own RAM. A walk that takes long (each
 * descriptor may name memory that is not mapped yet) is left after half a millisecond and gone on
 * with in a later turn of the loop.
 *
 * A stop while the host works on guest memory cannot be had at once. The chip would be inactive
 * after the write that clears Start; ours stays active, and the drive busy, until the host is done:
 * by either a driver sees that its memory is not its own yet.
 */
#include <errno.h>

#include <xendm/bytes.h>

#include "ide-internal.h"

#define TABLE_MAX (65536u / 8)

/* ---- its life ---- */

void ide_bm_reset(struct ide_channel *ch)
{
    ch->bm = (struct ide_bm){0};
}

static bool exhausted(const struct ide_bm *bm)
{
    return bm->cursor.left == 0 && (bm->cursor.last || bm->cursor.fetched >= TABLE_MAX);
}

static struct ide_channel *channel_of(struct ata_host *h)
{
    return (struct ide_channel *)h;
}

static bool bm_claim(struct ata_host *h, struct ata_drive *d)
{
    struct ide_channel *ch = channel_of(h);

    if (ch->bm.client && ch->bm.client != d) {
        return false;
    }
    ch->bm.client = d;
    return true;
}

/*
 * The command is over. A table that is longer leaves the engine active, by which the guest sees it.
 */
static void bm_release(struct ata_host *h, const struct ata_drive *d)
{
    struct ide_bm *bm = &channel_of(h)->bm;

    if (bm->client != d) {
        return;
    }
    bm->client = NULL;
    if (bm->stopping || exhausted(bm)) {
        bm->stopping = false;
        bm->status &= ~BM_ACTIVE;
    }
}

static bool bm_active(const struct ata_host *h, const struct ata_drive *d)
{
    const struct ide_bm *bm = &((const struct ide_channel *)h)->bm;

    return bm->client == d && (bm->status & BM_ACTIVE) && !bm->stopping;
}

static void bm_stop(struct ata_host *h)
{
    struct ide_bm *bm = &channel_of(h)->bm;

    bm->stopping = false;
    bm->status &= ~BM_ACTIVE;
}

static void bm_error(struct ata_host *h, int error)
{
    bm_stop(h);
    channel_of(h)->bm.status |= BM_ERROR;
}

/* The engine stops, the drive goes on asking until it is reset or the engine restarted. */
static void bm_starved(struct ata_host *h, struct ata_drive *d)
{
    bm_stop(h);
    d->status = ATA_READY | ATA_DRQ;
}

void ide_bm_interrupt(struct ide_channel *ch)
{
    ch->bm.status |= BM_INTERRUPT;
}

static void bm_idle(struct ata_host *h, const struct ata_drive *d)
{
    const struct ide_bm *bm = &channel_of(h)->bm;

    if (bm->client == d && bm->stopping) {
        bm_stop(h);
    }
}

void ide_bm_master_off(struct ide_channel *ch)
{
    if (ch->bm.client && !ata_drive_dma_back(ch->bm.client)) {
        ata_drive_step(ch->bm.client); /* and meets the error, if it has something to move */
    }
}

/* A drive whose state was loaded had the engine. */
static void bm_restored(struct ata_host *h, struct ata_drive *d)
{
    struct ide_channel *ch = channel_of(h);
    bool ended = (d->phase == ATA_FLUSH || d->phase == ATA_DISCARD) &&
                 (ch->bm.status & BM_ACTIVE) && exhausted(&ch->bm);

    if (d->phase == ATA_DMA || ended) {
        ch->bm.client = d;
    } else if (ch->bm.client == d) {
        ch->bm.client = NULL;
    }
}

/* ---- registers ---- */

uint8_t ide_bm_read(const struct ide_channel *ch, unsigned reg)
{
    const struct ide_bm *bm = &ch->bm;

    switch (reg) {
    case 0:
        return bm->command;
    case 2:
        return bm->status;
    case 4 ... 7:
        return (uint8_t)(bm->table >> 8 * (reg - 4));
    default:
        return 0;
    }
}

static void write_command(struct ide_channel *ch, uint8_t value)
{
    struct ide_bm *bm = &ch->bm;
    bool was = bm->command & BM_START, now = value & BM_START;

    bm->command = value & (BM_START | BM_TO_MEMORY);
    if (now && !was) {
        bm->cursor = bm->chunk_start = (struct ide_bm_cursor){.next = bm->table};
        bm->stopping = false;
        bm->status |= BM_ACTIVE;
        if (bm->client) {
            ata_drive_step(bm->client);
        }
    } else if (was && !now) {
        bm->stopping = bm->client && ata_drive_dma_back(bm->client);
        if (!bm->stopping) {
            bm->status &= ~BM_ACTIVE;
            if (bm->client) {
                ata_drive_step(bm->client); /* it asks for data again */
            }
        }
    }
}

void ide_bm_write(struct ide_channel *ch, unsigned reg, uint8_t value)
{
    struct ide_bm *bm = &ch->bm;

    switch (reg) {
    case 0:
        write_command(ch, value);
        break;
    case 2:
        bm->status &= ~(value & (BM_ERROR | BM_INTERRUPT));
        bm->status = (bm->status & ~BM_DRIVE_DMA) | (value & BM_DRIVE_DMA);
        break;
    case 4:
        bm->table = (bm->table & ~0xffu) | (value & ~3u);
        break;
    case 5 ... 7:
        bm->table = (bm->table & ~(0xffu << 8 * (reg - 4))) | (uint32_t)value << 8 * (reg - 4);
        break;
    default:
        break;
    }
}

/* ---- the descriptor table ---- */

static void cursor_advance(struct ide_bm_cursor *c, uint32_t n)
{
    c->address += n;
    c->left -= n;
}

static bool descriptor(const uint8_t *prd, uint64_t *address, uint64_t *bytes)
{
    *address = load_le32(prd) & ~1u;
    *bytes = load_le16(prd + 4) & 0xfffe;
    if (*bytes == 0) {
        *bytes = 0x10000;
    }
    return !(prd[7] & 0x80);
}

/* Makes sure that something is left in the current descriptor: 0, -ENODATA at the end of the table,
 * or the DMA error. */
static int cursor_fill(struct ide_channel *ch)
{
    struct ide_bm *bm = &ch->bm;
    struct ide_bm_cursor *c = &bm->cursor;
    struct device *dev = &ch->controller->pci.dev;
    uint64_t address, left;
    uint8_t prd[8];
    int err;

    if (c->left) {
        return 0;
    }
    if (exhausted(bm)) {
        return -ENODATA;
    }
    if (c->fetched % DMA_FORESEE_MAX == 0) {
        dma_foresee(dev, c->next, (0x10000 - (c->next & 0xffff)) / 8, 8, descriptor);
    }
    err = dma_read(dev, c->next, prd, sizeof(prd));
    if (err) {
        ch->host.bad_address = c->next;
        return err;
    }
    c->next = (c->next & 0xffff0000) | ((c->next + 8) & 0xffff);
    c->fetched++;
    c->last = !descriptor(prd, &address, &left);
    c->address = (uint32_t)address;
    c->left = (uint32_t)left;
    return 0;
}

/* The chip's address counter has 32 bits: a descriptor that runs over 4 GiB goes on at 0. */
static uint32_t cursor_run(const struct ide_bm_cursor *c, uint32_t want)
{
    uint64_t to_wrap = (UINT64_C(1) << 32) - c->address;

    return (uint32_t)MIN(MIN(c->left, want), to_wrap);
}

static void bm_begin(struct ata_host *h, struct ata_drive *d, enum dma_direction direction)
{
    struct ide_bm *bm = &channel_of(h)->bm;

    bm->chunk_start = bm->whole = bm->cursor;
    bm->total = bm->keep = 0;
    dma_list_begin(d->list, direction);
}

static void bm_rewind(struct ata_host *h)
{
    struct ide_bm *bm = &channel_of(h)->bm;

    bm->cursor = bm->chunk_start;
}

/* `n` bytes of the current descriptor are in the list. */
static void bm_took(struct ide_bm *bm, uint32_t n)
{
    if ((bm->total + n) / ATA_SECTOR > bm->keep / ATA_SECTOR) {
        bm->whole = bm->cursor;
        bm->keep = (bm->total + n) / ATA_SECTOR * ATA_SECTOR;
        cursor_advance(&bm->whole, bm->keep - bm->total);
    }
    cursor_advance(&bm->cursor, n);
    bm->total += n;
}

static int64_t bm_gather(struct ata_host *h, struct ata_drive *d, uint32_t want)
{
    struct ide_channel *ch = channel_of(h);
    struct ide_bm *bm = &ch->bm;
    struct ata_slice slice = {0};
    int64_t n = 0;

    while (bm->total < want && (n = cursor_fill(ch)) == 0) {
        n = dma_list_add(d->list, bm->cursor.address, cursor_run(&bm->cursor, want - bm->total));
        if (n <= 0) {
            h->bad_address = bm->cursor.address;
            break;
        }
        bm_took(bm, (uint32_t)n);
        if (ata_slice_over(&slice)) {
            if (bm->keep == 0) {
                return -EINPROGRESS;
            }
            break;
        }
    }
    if (bm->keep == 0) {
        dma_list_end(d->list, 0);
        if (n == -ENODATA) {
            return 0;
        }
        bm_rewind(h);
        return n < 0 ? n : -ENOBUFS;
    }
    bm->cursor = bm->whole; /* the rest of a sector comes with the next chunk */
    return bm->keep;
}

static int bm_next(struct ata_host *h, uint32_t want, uint64_t *address, uint32_t *length)
{
    const struct ide_bm_cursor *c = &channel_of(h)->bm.cursor;
    int err = cursor_fill(channel_of(h));

    if (err == 0) {
        *address = c->address;
        *length = cursor_run(c, want);
    }
    return err;
}

static void bm_copied(struct ata_host *h, uint32_t n)
{
    cursor_advance(&channel_of(h)->bm.cursor, n);
}

static int64_t bm_copy(struct ata_host *h, void *buf, uint32_t len, enum dma_direction direction,
                       bool *ended)
{
    static const struct ata_pieces pieces = {bm_next, bm_copied};

    return ata_host_copy(h, &pieces, buf, len, direction, ended);
}

const struct ata_host_ops ide_host_ops = {
    .interrupt = ide_channel_interrupt,
    .quiet = ide_channel_quiet,
    .claim = bm_claim,
    .release = bm_release,
    .active = bm_active,
    .idle = bm_idle,
    .stop = bm_stop,
    .error = bm_error,
    .starved = bm_starved,
    .begin = bm_begin,
    .gather = bm_gather,
    .rewind = bm_rewind,
    .copy = bm_copy,
    .restored = bm_restored,
};
