/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Logs of written pages: one bit per guest page, in memory that the kernel gives as it is used. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "domain.h"

void dirty_init(struct dirty_log *log, uint64_t nr)
{
    void *p = mmap(NULL, (nr + 63) / 64 * 8, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    log->bits = p == MAP_FAILED ? NULL : p;
    log->nr = p == MAP_FAILED ? 0 : nr;
}

void dirty_free(struct dirty_log *log)
{
    if (log->bits)
        munmap(log->bits, (log->nr + 63) / 64 * 8);
}

void dirty_set(struct dirty_log *log, uint64_t gfn, uint64_t nr)
{
    uint64_t i;

    for (i = gfn; i < gfn + nr && i < log->nr; i++)
        log->bits[i / 64] |= UINT64_C(1) << (i % 64);
}

void dirty_clear(struct dirty_log *log)
{
    if (log->bits)
        madvise(log->bits, (log->nr + 63) / 64 * 8, MADV_DONTNEED);
}

bool dirty_test(const struct dirty_log *log, uint64_t gfn)
{
    return gfn < log->nr && log->bits[gfn / 64] >> (gfn % 64) & 1;
}

void mem_mark_dirty(struct domain *d, uint64_t gfn, uint64_t nr)
{
    if (d->log.on)
        dirty_set(&d->log, gfn, nr);
    if (d->vram_nr && gfn < d->vram_first + d->vram_nr && d->vram_first < gfn + nr)
        dirty_set(&d->vram, gfn, nr);
}

int mem_track_vram(struct domain *d, uint64_t first, uint32_t nr, uint8_t *bitmap)
{
    uint32_t i;

    if (nr > UINT32_C(1) << (30 - XE_PAGE_SHIFT))
        return -EINVAL;
    if (!nr) {
        d->vram_nr = 0;
        return 0;
    }
    if (d->log.on)
        return -EINVAL; /* the toolstack's log has the pages */
    memset(bitmap, 0, (nr + 7) / 8);
    if (d->vram_nr != nr || d->vram_first != first) {
        /* As HAP does: the first call after a change says that everything is dirty. */
        dirty_clear(&d->vram);
        d->vram_first = first;
        d->vram_nr = nr;
        memset(bitmap, 0xff, (nr + 7) / 8);
        return 0;
    }
    for (i = 0; i < nr; i++)
        if (dirty_test(&d->vram, first + i)) {
            bitmap[i / 8] |= (uint8_t)(1u << (i % 8));
            d->vram.bits[(first + i) / 64] &= ~(UINT64_C(1) << ((first + i) % 64));
        }
    return 0;
}

int mem_modified(struct domain *d, uint64_t pfn, uint64_t nr)
{
    if (!nr || pfn + nr - 1 < pfn || pfn + nr > d->max_gfn)
        return -EINVAL;
    dirty_set(&d->modified, pfn, nr);
    mem_mark_dirty(d, pfn, nr);
    return 0;
}
