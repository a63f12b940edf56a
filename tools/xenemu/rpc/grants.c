/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations on grants. */
#include <errno.h>
#include <string.h>
#include <stdint.h>
#include <xen/xen.h>
#include <xen/grant_table.h>
#include "../host/domain-life.h"
#include "../host/domain.h"
#include "operations.h"

int op_gnt_map(struct call *k)
{
    const struct xe_ref *ref = (const struct xe_ref *)k->pay;
    uint32_t i, n = k->req->n;

    if (!n || n > 1024 || k->paylen < n * sizeof(*ref))
        return -EINVAL;
    for (i = 0; i < n; i++) {
        struct domain *d = domain_find(k->h, ref[i].domid);
        const struct mem_run *r;
        struct mapping *m;
        struct grant *g;
        int16_t status;

        if (!d)
            return -ENOENT;
        g = gnttab_get(d, ref[i].ref, k->req->a[1], &status);
        r = g ? mem_lookup(d, g->gfn) : NULL;
        if (!r)
            return -EINVAL;
        call_add_run(k, i, 1, (r->mfn + (g->gfn - r->gfn)) << XE_PAGE_SHIFT, 0, d->id);
        m = mapping_add(k->h, k->c, d, k->req->a[0] + ((uint64_t)i << XE_PAGE_SHIFT), 1,
                        r->mfn + (g->gfn - r->gfn), g->gfn, MAP_GRANT);
        m->ref = ref[i].ref;
        m->writable = k->req->a[1];
        g->in_use++;
    }
    return 0;
}

int op_gnt_unmap(struct call *k)
{
    mapping_remove(k->h, k->c, k->req->a[0], k->req->a[1], MAP_GRANT);
    return 0;
}

int op_gnt_notify(struct call *k)
{
    unsigned int i;

    for (i = 0; i < k->h->mappings->len; i++) {
        struct mapping *m = g_ptr_array_index(k->h->mappings, i);

        if (m->conn == k->c && m->kind == MAP_GRANT && m->addr == k->req->a[0]) {
            m->notify = (uint8_t)(k->req->a[3] & 3);
            m->notify_offset = (uint16_t)(k->req->a[1] & (XE_PAGE - 1));
            m->notify_port = (uint32_t)k->req->a[2];
            return 0;
        }
    }
    return -ENOENT;
}

int op_gnt_copy(struct call *k)
{
    struct xe_copy *out = (struct xe_copy *)k->out;
    uint32_t i, n = k->req->n;

    if (n > 512 || k->paylen < n * sizeof(*out))
        return -EINVAL;
    memcpy(out, k->pay, n * sizeof(*out));
    for (i = 0; i < n; i++) {
        struct xe_copy *c = &out[i];
        struct domain *d = domain_find(k->h, c->domid);
        const struct mem_run *r;
        struct grant *g;

        if (!d) {
            c->status = GNTST_bad_domain;
            continue;
        }
        if (c->offset + c->len > (int)XE_PAGE) {
            c->status = GNTST_bad_copy_arg;
            continue;
        }
        g = gnttab_get(d, c->ref, c->write, &c->status);
        r = g ? mem_lookup(d, g->gfn) : NULL;
        if (g && !r)
            c->status = GNTST_general_error;
        if (r) {
            c->mem_off = ((r->mfn + (g->gfn - r->gfn)) << XE_PAGE_SHIFT) + c->offset;
            if (c->write)
                mem_mark_dirty(d, g->gfn, 1);
        }
    }
    k->rep.n = n;
    k->outlen = n * sizeof(*out);
    return 0;
}
