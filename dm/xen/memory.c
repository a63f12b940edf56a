/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory by libxendevicemodel and libxenforeignmemory.
 *
 * Video memory: populated once, at a frame number that nobody uses, and moved to wherever the guest
 * puts the BAR. What is mapped into this process are machine frames, of which Xen keeps a reference
 * for as long as the mapping lives; moving a page changes only which guest frame number names it.
 * So the mapping made before a relocation is the same memory after it.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <xendm/log.h>

#include "ctrl.h"
#include "internal.h"

#include <xen/hvm/dm_op.h>

#define DIRTY_TRACK_PAGES_MAX (UINT64_C(1) << 18) /* track_dirty_vram takes 1 GiB */
#define SLACK_PAGES 256u                          /* libxl__arch_extra_memory() */

/* ---- memory that a device owns ---- */

/*
 * Video memory is part of what the toolstack allows the domain (videoram= plus 1 MiB, contract
 * 4.5). A configuration may exceed that; then we raise the limit by what is missing, leave the 1
 * MiB that hvmloader needs for its tables, and say so.
 */
static int raise_limit(struct hypervisor *hv, size_t missing)
{
    struct xen_ctrl_info info;
    int err = xen_ctrl_info(hv->xen->ctrl, hv->xen->domid, &info);
    uint64_t limit;

    if (err < 0) {
        return err;
    }
    if (info.pages + missing <= info.max_pages) {
        return -ENOMEM; /* the limit is not what stopped us: the host is out of memory */
    }
    limit = info.pages + missing + SLACK_PAGES;
    err = xen_ctrl_set_max_pages(hv->xen->ctrl, hv->xen->domid, limit);
    if (err == 0) {
        log_info(LOG_DM, "raised the domain's memory limit by %llu KiB for video memory",
                 (unsigned long long)(limit - info.max_pages) * 4);
    }
    return err;
}

int hv_memory_populate(struct hypervisor *hv, uint64_t gfn, size_t pages)
{
    size_t done = 0;
    long got;
    int err;

    if (hv->adopting) {
        return -EBUSY;
    }
    if (hv->xen->restricted) {
        return -EPERM;
    }
    got = xen_ctrl_populate(hv->xen->ctrl, hv->xen->domid, gfn, pages);
    if (got > 0) {
        done = (size_t)got;
    }
    err = got < 0 ? (int)got : -ENOMEM;
    if (done < pages && err == -ENOMEM) {
        err = raise_limit(hv, pages - done);
        if (err == 0) {
            got = xen_ctrl_populate(hv->xen->ctrl, hv->xen->domid, gfn + done, pages - done);
            done += got > 0 ? (size_t)got : 0;
            err = got < 0 ? (int)got : -ENOMEM;
        }
    }
    if (done == pages) {
        return 0;
    }
    if (done > 0) {
        xen_ctrl_depopulate(hv->xen->ctrl, hv->xen->domid, gfn, done);
    }
    errno = -err;
    return hv_refused(hv, "give the domain memory", gfn, pages);
}

int hv_memory_relocate(struct hypervisor *hv, uint64_t from_gfn, uint64_t to_gfn, size_t pages)
{
    if (pages > UINT32_MAX) {
        return -EINVAL;
    }
    if (hv->adopting) {
        return -EBUSY;
    }
    if (xendevicemodel_relocate_memory(hv->xen->dmod, domid(hv), (uint32_t)pages, from_gfn,
                                       to_gfn) != 0) {
        return hv_failed(hv, "move memory of the domain", from_gfn, to_gfn);
    }
    return 0;
}

void hv_memory_write_combine(struct hypervisor *hv, uint64_t gfn, size_t pages, bool on)
{
    /* Both ends are included; deleting needs the same two. */
    if (pages > 0 && !hv->adopting &&
        xendevicemodel_pin_memory_cacheattr(hv->xen->dmod, domid(hv), gfn, gfn + pages - 1,
                                            on ? XEN_DMOP_MEM_CACHEATTR_WC
                                               : XEN_DMOP_DELETE_MEM_CACHEATTR) != 0) {
        hv_failed(hv, "set the caching of memory", gfn, pages);
    }
}

static int modified(struct hypervisor *hv, uint64_t gfn, size_t pages)
{
    return xendevicemodel_modified_memory(hv->xen->dmod, domid(hv), gfn,
                                          (uint32_t)MIN(pages, UINT32_MAX));
}

void hv_memory_modified(struct hypervisor *hv, uint64_t gfn, size_t pages)
{
    if (__builtin_expect(!hv->log_dirty || hv->adopting, 1)) {
        return;
    }
    hv->counters.modified_calls++;
    if (modified(hv, gfn, pages) == 0) {
        return;
    }
    if (errno == EINVAL && pages > 1) {
        /*
         * An extent that ends with the very last frame of the guest is refused as a whole: the rest
         * of it, then that.
         */
        hv->counters.modified_calls += 2;
        if (modified(hv, gfn, pages - 1) != 0) {
            hv_failed(hv, "mark memory as modified", gfn, pages - 1);
        }
        gfn += pages - 1;
        pages = 1;
        if (modified(hv, gfn, pages) == 0) {
            return;
        }
    }
    if (errno != EINVAL) {
        hv_failed(hv, "mark memory as modified", gfn, pages);
    }
}

int hv_memory_dirty(struct hypervisor *hv, uint64_t gfn, size_t pages, uint64_t *bitmap)
{
    size_t words = (pages + 63) / 64;
    bool first = hv->dirty_pages == 0 || hv->dirty_gfn != gfn || hv->dirty_pages != pages;
    int err = 0;

    if (pages == 0) {
        if (hv->dirty_pages != 0 && xendevicemodel_track_dirty_vram(hv->xen->dmod, domid(hv),
                                                                    hv->dirty_gfn, 0, NULL) != 0) {
            log_debug(LOG_DM, "ending dirty tracking: %s", strerror(errno));
        }
        hv->dirty_pages = 0;
        return 0;
    }
    _Static_assert(sizeof(unsigned long) == sizeof(uint64_t), "Xen's bitmap is of longs");
    memset(bitmap, 0, words * sizeof(*bitmap));
    if (pages > DIRTY_TRACK_PAGES_MAX || hv->adopting) {
        err = -EINVAL;
    } else if (xendevicemodel_track_dirty_vram(hv->xen->dmod, domid(hv), gfn, (uint32_t)pages,
                                               (unsigned long *)bitmap) != 0) {
        /*
         * Usual while the toolstack's log-dirty mode is on (migration), and on the first call with
         * shadow paging.
         */
        err = errno == ENODATA ? 0 : -errno;
        first = true;
    }
    hv->dirty_gfn = gfn;
    hv->dirty_pages = err == 0 ? pages : 0;
    if (err < 0 || first) {
        memset(bitmap, 0xff, words * sizeof(*bitmap));
    }
    if (pages % 64 != 0) {
        bitmap[words - 1] &= (UINT64_C(1) << pages % 64) - 1;
    }
    return err;
}

/* ---- mappings ---- */

static void *map_those(struct hypervisor *hv, const xen_pfn_t *frames, size_t pages, int *errs)
{
    return xenforeignmemory_map(hv->xen->fmem, hv->xen->domid, PROT_READ | PROT_WRITE, pages,
                                frames, errs);
}

static void *map_frames(struct hypervisor *hv, uint64_t gfn, size_t pages, int *errs)
{
    enum { SMALL = 64 };
    xen_pfn_t small[SMALL] = {0};
    xen_pfn_t *frames = pages <= SMALL ? small : g_try_new(xen_pfn_t, pages);
    void *ptr;
    int e;

    if (frames == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    for (size_t i = 0; i < pages; i++) {
        frames[i] = gfn + i;
    }
    ptr = map_those(hv, frames, pages, errs);
    e = errno;
    if (frames != small) {
        g_free(frames);
    }
    errno = e;
    return ptr;
}

/*
 * The guest may give back pages of what a device of its own is made of, as it may any page. The
 * device that has it mapped keeps it; who comes later (a live update, a restore) finds holes, and
 * fills them with memory that the guest does not see: that it may, but not be without a device
 * model. Nothing but holes is a wrong address, unless somebody had it mapped until now.
 */
static bool fill_holes(struct hypervisor *hv, uint8_t *ptr, uint64_t gfn, size_t pages,
                       const int *errs)
{
    size_t holes = 0;

    for (size_t i = 0; i < pages; i++) {
        if (errs[i] == 0) {
            continue;
        }
        if (errs[i] == -ENOMEM || errs[i] == -EAGAIN || errs[i] == -EPERM ||
            mmap(ptr + i * GUEST_PAGE_SIZE, GUEST_PAGE_SIZE, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
            errno = -errs[i];
            return false;
        }
        holes++;
    }
    if (holes == pages && !hv->adopting) {
        errno = -errs[0];
        return false;
    }
    if (holes > 0) {
        log_warning(LOG_DM, "the guest has given back %zu of %zu pages at gfn %#llx", holes, pages,
                    (unsigned long long)gfn);
    }
    return true;
}

void *hv_memory_map(struct hypervisor *hv, uint64_t gfn, size_t pages)
{
    g_autofree int *errs = g_new0(int, pages);
    void *ptr = map_frames(hv, gfn, pages, errs);

    if (ptr != NULL && !fill_holes(hv, ptr, gfn, pages, errs)) {
        int e = errno;

        xenforeignmemory_unmap(hv->xen->fmem, ptr, pages);
        ptr = NULL;
        errno = e;
    }
    if (ptr == NULL) {
        int e = errno;

        hv_refused(hv, "map memory of the domain", gfn, pages);
        errno = e;
    }
    return ptr;
}

void hv_memory_unmap(struct hypervisor *hv, void *ptr, size_t pages)
{
    if (ptr != NULL && xenforeignmemory_unmap(hv->xen->fmem, ptr, pages) != 0) {
        hv_failed(hv, "unmap memory of the domain", (uintptr_t)ptr, pages);
    }
}

static void *cache_map(void *opaque, uint64_t gfn, unsigned pages, int *errs)
{
    void *ptr = map_frames(opaque, gfn, pages, errs);

    /* Holes are the guest's doing, and errors of single frames: no log line. */
    if (ptr == NULL) {
        int e = errno;

        hv_failed(opaque, "map memory of the domain", gfn, pages);
        errno = e;
    }
    return ptr;
}

static void *cache_gather(void *opaque, const uint64_t *gfns, unsigned pages, int *errs)
{
    _Static_assert(sizeof(xen_pfn_t) == sizeof(uint64_t), "frame numbers have 64 bits");
    return map_those(opaque, (const xen_pfn_t *)gfns, pages, errs);
}

static void cache_unmap(void *opaque, void *ptr, unsigned pages)
{
    hv_memory_unmap(opaque, ptr, pages);
}

static void cache_modified(void *opaque, uint64_t gfn, unsigned pages)
{
    hv_memory_modified(opaque, gfn, pages);
}

struct guestmem *xen_guestmem_new(struct hypervisor *hv, const struct mapcache_limits *limits)
{
    static const struct mapcache_ops ops = {.map = cache_map,
                                            .gather = cache_gather,
                                            .unmap = cache_unmap,
                                            .modified = cache_modified};
    static const struct mapcache_limits defaults = {.idle_seconds = 10};

    return mapcache_new(&ops, hv, limits != NULL ? limits : &defaults);
}
