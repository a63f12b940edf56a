/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mapcache: the implementation of xendm/guestmem.h on foreign mappings, as its owner (dm/) sees it.
 */
#ifndef XENDM_MAPCACHE_H
#define XENDM_MAPCACHE_H

#include <stdint.h>

#include <glib.h>

#include <xendm/guestmem.h>

struct mapcache_limits {
    unsigned bucket_pages; /* pages mapped at once, a power of two; 0: MAPCACHE_BUCKET_PAGES */
    /*
     * Mapped at most, unless more is pinned, and beside GUESTMEM_EXPECT_MAX pages that are
     * expected; 0: MAPCACHE_MAX_BYTES
     */
    uint64_t max_bytes;
    /*
     * What was not used for so long (at most twice that) is unmapped; 0: never. No timer runs while
     * nothing unused is mapped.
     */
    unsigned idle_seconds;
};
#define MAPCACHE_BUCKET_PAGES 64u
#define MAPCACHE_MAX_BYTES (64u << 20)

/*
 * `map` maps `pages` pages from `gfn` (one mmap; per-page error in errs, 0 where it worked; NULL
 * with errno when nothing could be mapped) and `unmap` ends it. `gather` maps the pages that are
 * named, as one piece; NULL: that cannot be had. `modified` is told of written pages. dm/ passes
 * those on libxenforeignmemory, tests their own.
 */
struct mapcache_ops {
    void *(*map)(void *opaque, uint64_t gfn, unsigned pages, int *errs);
    void *(*gather)(void *opaque, const uint64_t *gfns, unsigned pages, int *errs);
    void (*unmap)(void *opaque, void *ptr, unsigned pages);
    void (*modified)(void *opaque, uint64_t gfn, unsigned pages);
};

struct guestmem *mapcache_new(const struct mapcache_ops *ops, void *opaque,
                              const struct mapcache_limits *limits);
void mapcache_free(struct guestmem *gm); /* nothing may be pinned */
/* unmaps all that is not pinned (xenpaging's flush-cache) */
void mapcache_trim(struct guestmem *gm);

struct mapcache_counters {
    uint64_t hits, misses, evictions, trimmed, invalidations, map_errors, holes;
    uint64_t gathered; /* pages that were mapped because somebody expected them */
    uint64_t bytes_mapped, bytes_pinned;
    unsigned buckets;
};
void mapcache_counters(const struct guestmem *gm, struct mapcache_counters *out);

#endif
