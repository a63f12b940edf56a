/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bus master's descriptor walk (SFF-8038i 1.2-1.3, 82371SB section 2.7).
 *
 * A descriptor is {address, count} of 4 bytes each; count is 16 bits and even, 0 stands for 64 KiB,
 * bit 31 ends the table. The table lies in one 64 KiB page, within which the chip's pointer wraps;
 * after 8192 descriptors it would come round, which is taken as its end. Every descriptor is
 * fetched once, moves at least two bytes, and its memory is mapped through xendm/dma.h, so neither
 * loops nor wild addresses get further than the guest's own RAM.
 */
#include <errno.h>

#include "ide-internal.h"

#define TABLE_MAX (65536u / 8)
#define PAGE 4096u

void ide_bm_reset(struct ide_bm *bm)
{
    bm->command = bm->status = 0;
    bm->table = 0;
    bm->cursor = (struct ide_bm_cursor){0};
    bm->client = NULL;
}

void ide_bm_start(struct ide_channel *ch)
{
    ch->bm.cursor = (struct ide_bm_cursor){.next = ch->bm.table};
}

bool ide_bm_exhausted(const struct ide_bm *bm)
{
    return bm->cursor.left == 0 && (bm->cursor.last || bm->cursor.fetched >= TABLE_MAX);
}

static void cursor_advance(struct ide_bm_cursor *c, uint32_t n)
{
    c->address += n;
    c->left -= n;
}

/* Makes sure that something is left in the current descriptor: 0, -ENODATA at the end of the table,
 * or the DMA error. */
static int cursor_fill(struct ide_channel *ch)
{
    struct ide_bm *bm = &ch->bm;
    struct ide_bm_cursor *c = &bm->cursor;
    uint8_t prd[8];
    int err;

    if (c->left) {
        return 0;
    }
    if (ide_bm_exhausted(bm)) {
        return -ENODATA;
    }
    err = dma_read(&ch->controller->pci.dev, c->next, prd, sizeof(prd));
    if (err) {
        bm->bad_address = c->next;
        return err;
    }
    c->next = (c->next & 0xffff0000) | ((c->next + 8) & 0xffff);
    c->fetched++;
    c->address = (prd[0] | prd[1] << 8 | prd[2] << 16 | (uint32_t)prd[3] << 24) & ~1u;
    c->left = (prd[4] | prd[5] << 8) & 0xfffe;
    if (c->left == 0) {
        c->left = 0x10000;
    }
    c->last = prd[7] & 0x80;
    return 0;
}

/* The chip's address counter has 32 bits: a descriptor that runs over 4 GiB goes on at 0. */
static uint32_t cursor_run(const struct ide_bm_cursor *c, uint32_t want)
{
    uint64_t to_wrap = (UINT64_C(1) << 32) - c->address;

    return (uint32_t)MIN(MIN(c->left, want), to_wrap);
}

int64_t ide_bm_map(struct ide_channel *ch, uint32_t want, enum dma_direction direction)
{
    struct ide_bm *bm = &ch->bm;
    unsigned pieces = 0;
    uint32_t total = 0, keep, at;
    int err = 0;

    bm->chunk_start = bm->cursor;
    bm->direction = direction;
    bm->segments = bm->iovs = 0;
    while (total < want && bm->segments < IDE_DMA_SEGMENTS) {
        uint32_t run, room;
        int n;

        err = cursor_fill(ch);
        if (err) {
            break;
        }
        /* A segment may be as small as a page. */
        room = (IDE_DMA_SEGMENTS - bm->segments) * PAGE - (bm->cursor.address & (PAGE - 1));
        run = cursor_run(&bm->cursor, MIN(want - total, room));
        n = dma_map(&ch->controller->pci.dev, bm->cursor.address, run, direction,
                    bm->segment + bm->segments, IDE_DMA_SEGMENTS - bm->segments);
        if (n < 0) {
            bm->bad_address = bm->cursor.address;
            err = n;
            break;
        }
        bm->piece[pieces].before = bm->cursor;
        bm->piece[pieces].at = total;
        pieces++;
        bm->segments += n;
        total += run;
        cursor_advance(&bm->cursor, run);
    }

    keep = total - total % IDE_SECTOR;
    if (keep == 0) {
        ide_bm_unmap(ch, 0);
        if (err == -ENODATA) {
            return 0;
        }
        ide_bm_rewind(ch);
        return err ? err : -ENOBUFS;
    }
    if (keep != total) {
        /* The rest of a sector comes with the next chunk. */
        while (bm->piece[pieces - 1].at > keep) {
            pieces--;
        }
        bm->cursor = bm->piece[pieces - 1].before;
        cursor_advance(&bm->cursor, keep - bm->piece[pieces - 1].at);
    }
    for (at = 0; at < keep; bm->iovs++) {
        const struct guestmem_ref *ref = &bm->segment[bm->iovs].ref;

        bm->iov[bm->iovs].iov_base = ref->ptr;
        bm->iov[bm->iovs].iov_len = MIN(ref->len, keep - at);
        at += (uint32_t)bm->iov[bm->iovs].iov_len;
    }
    return keep;
}

void ide_bm_unmap(struct ide_channel *ch, size_t done)
{
    if (ch->bm.segments) {
        dma_unmap(&ch->controller->pci.dev, ch->bm.segment, ch->bm.segments, done);
    }
    ch->bm.segments = ch->bm.iovs = 0;
}

void ide_bm_rewind(struct ide_channel *ch)
{
    ch->bm.cursor = ch->bm.chunk_start;
}

int64_t ide_bm_copy(struct ide_channel *ch, void *buf, uint32_t len, enum dma_direction direction)
{
    struct device *dev = &ch->controller->pci.dev;
    struct ide_bm_cursor *c = &ch->bm.cursor;
    uint8_t *p = buf;
    uint32_t done = 0;

    while (done < len) {
        uint32_t run;
        int err = cursor_fill(ch);

        if (err == -ENODATA) {
            break;
        }
        if (err == 0) {
            run = cursor_run(c, len - done);
            err = direction == DMA_FROM_DEVICE ? dma_write(dev, c->address, p + done, run)
                                               : dma_read(dev, c->address, p + done, run);
            if (err) {
                ch->bm.bad_address = c->address;
            }
        }
        if (err) {
            return err;
        }
        cursor_advance(c, run);
        done += run;
    }
    return done;
}
