/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libxengnttab.so.1: grants of a guest are mapped from its memfd; copies go through pread/pwrite on
 * it, so a copy costs one system call per segment and no mapping, like the hypercall. Sharing pages
 * from here (gntshr) and dma-buf are left out: no device model needs them; they fail by name.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xengnttab.h>
#include "client.h"

struct xengntdev_handle {
    struct xe_client client; /* must be first */
};

xengnttab_handle *xengnttab_open(struct xentoollog_logger *logger, unsigned open_flags)
{
    (void)logger, (void)open_flags;
    return xe_client_open(sizeof(struct xengntdev_handle), "xengnttab", xe_restrict_null);
}

int xengnttab_close(xengnttab_handle *h)
{
    return xe_client_close((struct xe_client *)h);
}

int xengnttab_fd(xengnttab_handle *h)
{
    return h->client.fd;
}

int xengnttab_set_max_grants(xengnttab_handle *h, uint32_t nr_grants)
{
    (void)h, (void)nr_grants;
    return 0; /* obsolete on Linux, too */
}

static void *gnttab_map(xengnttab_handle *h, uint32_t count, const struct xe_ref *refs, int prot)
{
    struct xe_run *runs;
    uint32_t done;
    int saved;
    char *base;

    if (!count || count > 1u << 20) {
        errno = EINVAL;
        return NULL;
    }
    base = mmap(NULL, (size_t)count << 12, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    runs = malloc((count < 1024 ? count : 1024) * sizeof(*runs));
    if (!runs)
        goto fail;
    for (done = 0; done < count;) {
        uint32_t n = count - done < 1024 ? count - done : 1024;
        struct xe_req req = {.magic = XE_MAGIC,
                             .op = XE_OP_GNT_MAP,
                             .n = n,
                             .a = {(uintptr_t)base + ((size_t)done << 12), !!(prot & PROT_WRITE)}};
        struct xe_rep rep;

        if (xe_call(&h->client, &req, refs + done, n * sizeof(*refs), &rep, runs, n * sizeof(*runs),
                    NULL) < 0 ||
            xe_map_runs(&h->client, base + ((size_t)done << 12), prot, runs, rep.n) < 0)
            goto fail;
        done += n;
    }
    free(runs);
    return base;

fail:
    saved = errno;
    free(runs);
    xe_simple(&h->client, XE_OP_GNT_UNMAP, 0, (const uint64_t[2]){(uintptr_t)base, count}, 2);
    munmap(base, (size_t)count << 12);
    errno = saved;
    return NULL;
}

static void *gnttab_map_list(xengnttab_handle *h, uint32_t count, const uint32_t *domids,
                             unsigned int step, const uint32_t *refs, int prot)
{
    struct xe_ref *list = calloc(count ? count : 1, sizeof(*list));
    uint32_t i;
    void *p;

    if (!list)
        return NULL;
    for (i = 0; i < count; i++) {
        list[i].domid = domids[i * step];
        list[i].ref = refs[i];
    }
    p = gnttab_map(h, count, list, prot);
    i = (uint32_t)errno;
    free(list);
    errno = (int)i;
    return p;
}

void *xengnttab_map_grant_ref(xengnttab_handle *h, uint32_t domid, uint32_t ref, int prot)
{
    return gnttab_map_list(h, 1, &domid, 0, &ref, prot);
}

void *xengnttab_map_grant_refs(xengnttab_handle *h, uint32_t count, uint32_t *domids,
                               uint32_t *refs, int prot)
{
    return gnttab_map_list(h, count, domids, 1, refs, prot);
}

void *xengnttab_map_domain_grant_refs(xengnttab_handle *h, uint32_t count, uint32_t domid,
                                      uint32_t *refs, int prot)
{
    return gnttab_map_list(h, count, &domid, 0, refs, prot);
}

void *xengnttab_map_grant_ref_notify(xengnttab_handle *h, uint32_t domid, uint32_t ref, int prot,
                                     uint32_t notify_offset, evtchn_port_t notify_port)
{
    void *p = xengnttab_map_grant_ref(h, domid, ref, prot);

    if (p && (notify_offset < 4096 || notify_port != (evtchn_port_t)-1)) {
        uint64_t a[4] = {(uintptr_t)p, notify_offset, notify_port,
                         (notify_offset < 4096 ? 1 : 0) |
                             (notify_port != (evtchn_port_t)-1 ? 2 : 0)};

        if (xe_simple(&h->client, XE_OP_GNT_NOTIFY, 0, a, 4) < 0) {
            int saved = errno;

            xengnttab_unmap(h, p, 1);
            errno = saved;
            p = NULL;
        }
    }
    return p;
}

int xengnttab_unmap(xengnttab_handle *h, void *start_address, uint32_t count)
{
    if (!start_address) {
        errno = EINVAL;
        return -1;
    }
    if (munmap(start_address, (size_t)count << 12) < 0)
        return -1;
    return xe_simple(&h->client, XE_OP_GNT_UNMAP, 0,
                     (const uint64_t[2]){(uintptr_t)start_address, count}, 2) < 0
               ? -1
               : 0;
}

static void gnttab_copy_one(xengnttab_handle *h, struct xe_copy *c, void *virt)
{
    char *p = virt;
    size_t left = c->len;
    off_t off = (off_t)c->mem_off;
    int fd = xe_memfd_get(&h->client, c->domid);

    while (left && fd >= 0) {
        ssize_t r = c->write ? pwrite(fd, p, left, off) : pread(fd, p, left, off);

        if (r <= 0)
            break;
        p += r;
        off += r;
        left -= (size_t)r;
    }
    if (left)
        c->status = GNTST_general_error;
}

int xengnttab_grant_copy(xengnttab_handle *h, uint32_t count, xengnttab_grant_copy_segment_t *segs)
{
    enum { BATCH = 512 };
    struct xe_copy c[BATCH];
    uint32_t done, i;

    for (done = 0; done < count;) {
        uint32_t n = count - done < BATCH ? count - done : BATCH;
        struct xe_req req = {.magic = XE_MAGIC, .op = XE_OP_GNT_COPY, .n = n};
        struct xe_rep rep;

        for (i = 0; i < n; i++) {
            const xengnttab_grant_copy_segment_t *s = &segs[done + i];
            int dst = !!(s->flags & GNTCOPY_dest_gref), src = !!(s->flags & GNTCOPY_source_gref);

            if (dst == src) { /* both or neither: nothing that a device model does */
                errno = EINVAL;
                return -1;
            }
            memset(&c[i], 0, sizeof(c[i]));
            c[i].domid = dst ? s->dest.foreign.domid : s->source.foreign.domid;
            c[i].ref = dst ? s->dest.foreign.ref : s->source.foreign.ref;
            c[i].offset = dst ? s->dest.foreign.offset : s->source.foreign.offset;
            c[i].len = s->len;
            c[i].write = (uint8_t)dst;
        }
        if (xe_call(&h->client, &req, c, n * sizeof(c[0]), &rep, c, n * sizeof(c[0]), NULL) < 0)
            return -1;
        for (i = 0; i < n; i++) {
            xengnttab_grant_copy_segment_t *s = &segs[done + i];

            if (c[i].status == GNTST_okay)
                gnttab_copy_one(h, &c[i], c[i].write ? s->source.virt : s->dest.virt);
            s->status = c[i].status;
        }
        done += n;
    }
    return 0;
}
