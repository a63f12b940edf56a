/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Device-model operations, in the order of the library's calls. */
#include <errno.h>
#include <stdint.h>
#include <xen/xen.h>
#include <xen/hvm/dm_op.h>
#include "../host/domain-life.h"
#include "../host/domain.h"
#include "operations.h"

int dm_create(struct call *k)
{
    unsigned int id = 0;
    int r = ioreq_create(k->d, (int)k->req->a[0], &id);

    k->rep.a[0] = id;
    return r;
}

int dm_info(struct call *k)
{
    return ioreq_info(k->d, (unsigned int)k->req->a[0], k->req->a[1] & XEN_DMOP_no_gfns, k->rep.a);
}

int dm_map_range(struct call *k)
{
    return ioreq_map_range(k->d, (unsigned int)k->req->a[0], (unsigned int)k->req->a[1],
                           k->req->a[2], k->req->a[3]);
}

int dm_unmap_range(struct call *k)
{
    return ioreq_unmap_range(k->d, (unsigned int)k->req->a[0], (unsigned int)k->req->a[1],
                             k->req->a[2], k->req->a[3]);
}

int dm_state(struct call *k)
{
    return ioreq_set_state(k->d, (unsigned int)k->req->a[0], k->req->a[1]);
}

int dm_destroy(struct call *k)
{
    return ioreq_destroy(k->d, (unsigned int)k->req->a[0]);
}

int dm_track_vram(struct call *k)
{
    int r = mem_track_vram(k->d, k->req->a[0], k->req->n, k->out);

    if (!r)
        k->outlen = (k->req->n + 7u) / 8u;
    return r;
}

int dm_intx(struct call *k)
{
    if (k->req->a[0] || k->req->a[1] >> 8)
        return -EINVAL; /* segment and bus must be 0 */
    if (k->req->a[1])
        return -EINVAL;
    return irq_set_intx(k->d, (unsigned int)k->req->a[2], (unsigned int)k->req->a[3],
                        (unsigned int)k->req->a[4]);
}

int dm_isa(struct call *k)
{
    return irq_set_isa(k->d, (unsigned int)k->req->a[0], (unsigned int)k->req->a[1]);
}

int dm_route(struct call *k)
{
    return irq_set_route(k->d, (unsigned int)k->req->a[0], (unsigned int)k->req->a[1]);
}

int dm_modified(struct call *k)
{
    const struct xe_extent *x = (const struct xe_extent *)k->pay;
    uint32_t i;

    if (k->paylen < k->req->n * sizeof(*x))
        return -EINVAL;
    for (i = 0; i < k->req->n; i++) {
        int r = mem_modified(k->d, x[i].pfn, x[i].nr);

        if (r)
            return r;
    }
    return 0;
}

int dm_mem_type(struct call *k)
{
    switch (k->req->a[0]) {
    case HVMMEM_ram_rw:
        return mem_set_type(k->d, MEM_RAM_RW, k->req->a[1], k->req->a[2]);
    case HVMMEM_ram_ro:
        return mem_set_type(k->d, MEM_RAM_RO, k->req->a[1], k->req->a[2]);
    case HVMMEM_mmio_dm:
        return mem_set_type(k->d, MEM_MMIO_DM, k->req->a[1], k->req->a[2]);
    case HVMMEM_ioreq_server:
        return k->d->log.on ? -EBUSY
                            : mem_set_type(k->d, MEM_IOREQ_SERVER, k->req->a[1], k->req->a[2]);
    default:
        return -EINVAL;
    }
}

int dm_event(struct call *k)
{
    if (k->req->a[0] >= k->d->nr_vcpus)
        return -EINVAL;
    if (k->d->vcpu[k->req->a[0]].event_pending)
        return -EBUSY;
    k->d->vcpu[k->req->a[0]].event_pending = true;
    return 0;
}

int dm_msi(struct call *k)
{
    return irq_inject_msi(k->d, k->req->a[0], (uint32_t)k->req->a[1]);
}

int dm_map_type(struct call *k)
{
    return ioreq_map_mem_type(k->d, (unsigned int)k->req->a[0], (uint32_t)k->req->a[1],
                              (uint32_t)k->req->a[2]);
}

int dm_shutdown(struct call *k)
{
    return domain_shutdown(k->d, (uint32_t)k->req->a[0]);
}

int dm_relocate(struct call *k)
{
    return mem_relocate(k->d, k->req->a[0], k->req->a[1], k->req->a[2]);
}

int dm_pin(struct call *k)
{
    uint64_t start = k->req->a[0], end = k->req->a[1];
    uint32_t type = (uint32_t)k->req->a[2];
    struct mem_run n = {start, end - start + 1, type, MEM_RAM_RW};
    unsigned int i;

    if (start > end)
        return -EINVAL;
    if (type == XEN_DMOP_DELETE_MEM_CACHEATTR) {
        for (i = 0; i < k->d->pinned->len; i++) {
            struct mem_run *r = &g_array_index(k->d->pinned, struct mem_run, i);

            if (r->gfn == start && r->nr == end - start + 1) {
                g_array_remove_index(k->d->pinned, i);
                return 0;
            }
        }
        return -ENOENT;
    }
    if (type > 7 || type == 2 || type == 3)
        return -EINVAL;
    for (i = 0; i < k->d->pinned->len; i++) {
        struct mem_run *r = &g_array_index(k->d->pinned, struct mem_run, i);

        if (r->gfn == start && r->nr == n.nr) {
            r->mfn = type;
            return 0;
        }
        if (start < r->gfn + r->nr && r->gfn <= end)
            return -EBUSY;
    }
    if (k->d->pinned->len >= 64)
        return -ENOSPC;
    g_array_append_val(k->d->pinned, n);
    return 0;
}

int dm_nr_vcpus(struct call *k)
{
    k->rep.a[0] = k->d->nr_vcpus;
    return 0;
}
