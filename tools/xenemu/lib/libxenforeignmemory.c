/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libxenforeignmemory.so.1. The host translates page numbers to places in the domain's memfd, this
 * side maps them: one mmap per contiguous run. Pages that fail keep the reservation (PROT_NONE), so
 * touching one faults as it does on Xen.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xenforeignmemory.h>
#include "client.h"

struct xenforeignmemory_handle {
    struct xe_client client; /* must be first */
};

struct xenforeignmemory_resource_handle {
    void *addr;
    size_t pages;
};

xenforeignmemory_handle *xenforeignmemory_open(struct xentoollog_logger *logger,
                                               unsigned open_flags)
{
    (void)logger, (void)open_flags;
    return xe_client_open(sizeof(struct xenforeignmemory_handle), "xenforeignmemory",
                          xe_restrict_rpc);
}

int xenforeignmemory_close(xenforeignmemory_handle *h)
{
    return xe_client_close((struct xe_client *)h);
}

int xenforeignmemory_restrict(xenforeignmemory_handle *h, domid_t domid)
{
    return xe_restrict_rpc(&h->client.tc, domid);
}

static void fmem_release(xenforeignmemory_handle *h, const void *addr, size_t pages)
{
    struct xe_req req = {.magic = XE_MAGIC, .op = XE_OP_UNMAP, .a = {(uintptr_t)addr, pages}};

    xe_send_oneway(&h->client, &req, NULL, 0);
}

void *xenforeignmemory_map2(xenforeignmemory_handle *h, uint32_t dom, void *addr, int prot,
                            int flags, size_t pages, const xen_pfn_t arr[], int err[])
{
    struct xe_run runs_small[64], *runs = runs_small;
    size_t done, i, failed = 0;
    int saved, first_err = 0;
    char *base;

    if (!pages || pages > SIZE_MAX >> 12) {
        errno = EINVAL;
        return NULL;
    }
    base = mmap(addr, pages << 12, PROT_NONE, flags | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    if (pages > 64) {
        runs = malloc(XE_MAP_BATCH * sizeof(*runs));
        if (!runs)
            goto fail;
    }
    for (done = 0; done < pages;) {
        /* Half a batch is what fits when every page is its own run (24 bytes each). */
        size_t n = pages - done < XE_MAP_BATCH / 2 ? pages - done : XE_MAP_BATCH / 2;
        struct xe_req req = {.magic = XE_MAGIC,
                             .op = XE_OP_MAP,
                             .domid = dom,
                             .n = (uint32_t)n,
                             .a = {(uintptr_t)base + (done << 12), (uint64_t)prot, done}};
        struct xe_rep rep;

        if (xe_call(&h->client, &req, arr + done, n * sizeof(arr[0]), &rep, runs, n * sizeof(*runs),
                    NULL) < 0)
            goto fail;
        if (xe_map_runs(&h->client, base + (done << 12), prot, runs, rep.n) < 0)
            goto fail;
        for (i = 0; i < rep.n; i++) {
            size_t k;

            if (runs[i].err) {
                failed += runs[i].count;
                if (!first_err)
                    first_err = -runs[i].err;
            }
            for (k = 0; err && k < runs[i].count; k++)
                err[done + runs[i].index + k] = runs[i].err;
        }
        done += n;
    }
    if (failed && !err) {
        errno = first_err;
        goto fail;
    }
    if (runs != runs_small)
        free(runs);
    return base;

fail:
    saved = errno;
    fmem_release(h, base, pages);
    munmap(base, pages << 12);
    if (runs != runs_small)
        free(runs);
    errno = saved;
    return NULL;
}

void *xenforeignmemory_map(xenforeignmemory_handle *h, uint32_t dom, int prot, size_t pages,
                           const xen_pfn_t arr[], int err[])
{
    return xenforeignmemory_map2(h, dom, NULL, prot, 0, pages, arr, err);
}

int xenforeignmemory_unmap(xenforeignmemory_handle *h, void *addr, size_t pages)
{
    if (munmap(addr, pages << 12) < 0)
        return -1;
    fmem_release(h, addr, pages);
    return 0;
}

xenforeignmemory_resource_handle *
xenforeignmemory_map_resource(xenforeignmemory_handle *h, domid_t domid, unsigned int type,
                              unsigned int id, unsigned long frame, unsigned long nr_frames,
                              void **paddr, int prot, int flags)
{
    struct xenforeignmemory_resource_handle *fres;
    struct xe_req req = {.magic = XE_MAGIC,
                         .op = XE_OP_RESOURCE,
                         .domid = domid,
                         .a = {type, id, frame, nr_frames}};
    struct xe_run runs[64];
    struct xe_rep rep;
    int saved;
    char *base;

    if (flags & ~MAP_FIXED || !nr_frames || nr_frames > 64) {
        errno = EINVAL;
        return NULL;
    }
    fres = calloc(1, sizeof(*fres));
    if (!fres)
        return NULL;
    base = mmap(*paddr, nr_frames << 12, PROT_NONE, flags | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        saved = errno;
        free(fres);
        errno = saved;
        return NULL;
    }
    req.a[4] = (uintptr_t)base;
    if (xe_call(&h->client, &req, NULL, 0, &rep, runs, sizeof(runs), NULL) < 0 ||
        xe_map_runs(&h->client, base, prot, runs, rep.n) < 0) {
        saved = errno;
        munmap(base, nr_frames << 12);
        free(fres);
        errno = saved;
        return NULL;
    }
    fres->addr = *paddr = base;
    fres->pages = nr_frames;
    return fres;
}

int xenforeignmemory_unmap_resource(xenforeignmemory_handle *h,
                                    xenforeignmemory_resource_handle *fres)
{
    int r = xenforeignmemory_unmap(h, fres->addr, fres->pages);

    free(fres);
    return r;
}

int xenforeignmemory_resource_size(xenforeignmemory_handle *h, domid_t domid, unsigned int type,
                                   unsigned int id, size_t *size)
{
    struct xe_req req = {.magic = XE_MAGIC,
                         .op = XE_OP_RESOURCE_SIZE,
                         .domid = domid,
                         .a = {type, id}};
    struct xe_rep rep;

    if (xe_call(&h->client, &req, NULL, 0, &rep, NULL, 0, NULL) < 0)
        return -1;
    *size = (size_t)rep.a[0];
    return 0;
}
