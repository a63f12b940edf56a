/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations on guest memory. */
#include <errno.h>
#include <stdint.h>
#include <xen/xen.h>
#include <xen/memory.h>
#include "../faults/faults.h"
#include "../host/domain.h"
#include "operations.h"

struct xe_run *call_add_run(struct call *k, uint32_t index, uint32_t count, uint64_t off, int err,
                            uint32_t domid)
{
    struct xe_run *runs = (struct xe_run *)k->out, *r;

    if (k->rep.n) { /* grow the last one */
        r = &runs[k->rep.n - 1];
        if (r->index + r->count == index && r->domid == domid && r->err == err &&
            (err || r->off + ((uint64_t)r->count << XE_PAGE_SHIFT) == off)) {
            r->count += count;
            return r;
        }
    }
    r = &runs[k->rep.n++];
    *r = (struct xe_run){index, count, off, err, domid};
    k->outlen = k->rep.n * sizeof(*r);
    return r;
}

int op_map(struct call *k)
{
    const uint64_t *gfn = (const uint64_t *)k->pay;
    struct xe_run *runs = (struct xe_run *)k->out;
    struct domain *d = k->d;
    uint32_t i, n = k->req->n;

    if (!n || n > XE_MAP_BATCH / 2 || k->paylen < n * sizeof(*gfn))
        return -EINVAL;
    for (i = 0; i < n;) {
        const struct mem_run *r = mem_lookup(d, gfn[i]);
        int err = fault_page(k->h->faults, XE_OP_MAP, gfn[i]);
        uint32_t m = 1;

        if (err || !r || r->type == MEM_MMIO_DM) {
            call_add_run(k, i, 1, 0, err ? err : -EINVAL, d->id);
        } else if (k->req->a[1] & 2 && r->type == MEM_RAM_RO) {
            call_add_run(k, i, 1, 0, -EACCES, d->id);
        } else {
            uint64_t in_run = r->gfn + r->nr - gfn[i];

            while (!k->h->faults->len && m < n - i && m < in_run && gfn[i + m] == gfn[i] + m)
                m++;
            call_add_run(k, i, m, (r->mfn + (gfn[i] - r->gfn)) << XE_PAGE_SHIFT, 0, d->id);
        }
        i += m;
    }
    for (i = 0; i < k->rep.n; i++)
        if (!runs[i].err)
            mapping_add(k->h, k->c, d, k->req->a[0] + ((uint64_t)runs[i].index << XE_PAGE_SHIFT),
                        runs[i].count, runs[i].off >> XE_PAGE_SHIFT, gfn[runs[i].index],
                        MAP_FOREIGN);
    return 0;
}

int op_unmap(struct call *k)
{
    mapping_remove(k->h, k->c, k->req->a[0], k->req->a[1], MAP_FOREIGN);
    return 0;
}

int op_resource(struct call *k)
{
    uint64_t frame = k->req->a[2], nr = k->req->a[3], i;
    struct xe_run *runs = (struct xe_run *)k->out;

    if (k->req->a[0] != XENMEM_resource_ioreq_server)
        return -EOPNOTSUPP;
    if (!nr || nr > 64)
        return -EINVAL;
    for (i = 0; i < nr; i++) {
        uint64_t mfn;
        int r = ioreq_resource(k->d, (unsigned int)k->req->a[1], frame + i, &mfn);

        if (r)
            return r;
        call_add_run(k, (uint32_t)i, 1, mfn << XE_PAGE_SHIFT, 0, k->d->id);
    }
    for (i = 0; i < k->rep.n; i++)
        mapping_add(k->h, k->c, k->d, k->req->a[4] + ((uint64_t)runs[i].index << XE_PAGE_SHIFT),
                    runs[i].count, runs[i].off >> XE_PAGE_SHIFT, 0, MAP_RESOURCE);
    return 0;
}

int op_resource_size(struct call *k)
{
    if (k->req->a[0] != XENMEM_resource_ioreq_server)
        return -EOPNOTSUPP;
    k->rep.a[0] = 2 * XE_PAGE;
    return 0;
}

int op_populate(struct call *k)
{
    const uint64_t *gfn = (const uint64_t *)k->pay;
    uint32_t i;

    if (k->paylen < k->req->n * sizeof(*gfn))
        return -EINVAL;
    for (i = 0; i < k->req->n; i++) {
        int r = fault_page(k->h->faults, XE_OP_POPULATE, gfn[i]);

        if (!r)
            r = mem_populate(k->d, gfn[i], (unsigned int)MIN(k->req->a[0], 63));
        if (r)
            return i || r == -ENOMEM ? (int)i : r; /* Xen: as many as there was memory for */
    }
    return (int)i;
}

int op_decrease(struct call *k)
{
    const uint64_t *gfn = (const uint64_t *)k->pay;
    uint32_t i;

    if (k->paylen < k->req->n * sizeof(*gfn) || k->req->a[0] > 18)
        return -EINVAL;
    for (i = 0; i < k->req->n; i++)
        if (!mem_remove(k->d, gfn[i], UINT64_C(1) << k->req->a[0], true))
            break;
    return (int)i;
}

int op_add_to_physmap(struct call *k)
{
    if (k->req->a[0] != XENMAPSPACE_gmfn)
        return -EOPNOTSUPP;
    return mem_relocate(k->d, 1, k->req->a[1], k->req->a[2]);
}

int op_remove_from_physmap(struct call *k)
{
    return mem_remove(k->d, k->req->a[0], 1, true) ? 0 : -ENOENT;
}

int op_setmaxmem(struct call *k)
{
    k->d->max_pages = k->req->a[0] >> 2;
    return 0;
}

int op_max_gpfn(struct call *k)
{
    k->rep.a[0] = k->d->max_gfn;
    return 0;
}

int op_logdirty(struct call *k)
{
    switch (k->req->a[0]) {
    case 0:
        k->d->log.on = false;
        return 0;
    case 1:
        if (k->d->log.on)
            return -EINVAL;
        dirty_clear(&k->d->log);
        k->d->log.on = true;
        k->d->vram_nr = 0;
        return 0;
    default:
        return -EOPNOTSUPP;
    }
}
