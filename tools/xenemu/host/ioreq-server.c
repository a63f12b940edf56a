/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ioreq servers (toolstack.md 4.2, xen/common/ioreq.c): creation, the two ways to reach
 * their pages, ranges.
 */
#include <errno.h>
#include <string.h>
#include <stdint.h>
#include <xen/hvm/dm_op.h>
#include "domain.h"

static struct server *server_get(struct domain *d, unsigned int id)
{
    return id < XE_MAX_SERVERS ? d->server[id] : NULL;
}

/* ---- ranges ---- */

static size_t range_find(const GArray *a, uint64_t addr)
{
    size_t lo = 0, hi = a->len;

    /* First range that ends at addr or later. */
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (g_array_index(a, struct range, mid).end < addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool range_contains(const GArray *a, uint64_t start, uint64_t end)
{
    size_t i = range_find(a, start);
    const struct range *r;

    if (i >= a->len)
        return false;
    r = &g_array_index(a, struct range, i);
    return r->start <= start && end <= r->end;
}

static bool range_overlaps(const GArray *a, uint64_t start, uint64_t end)
{
    size_t i = range_find(a, start);

    return i < a->len && g_array_index(a, struct range, i).start <= end;
}

int ioreq_map_range(struct domain *d, unsigned int id, unsigned int type, uint64_t start,
                    uint64_t end)
{
    struct server *s = server_get(d, id);
    struct range n = {start, end};
    bool left, right;
    GArray *a;
    size_t i;

    if (start > end)
        return -EINVAL;
    if (!s)
        return -ENOENT;
    if (type > XEN_DMOP_IO_RANGE_PCI)
        return -EINVAL;
    a = s->ranges[type];
    if (range_overlaps(a, start, end))
        return -EEXIST;
    i = range_find(a, start);
    /* Adjacent ranges merge, as they do in Xen's rangeset. */
    left = i > 0 && g_array_index(a, struct range, i - 1).end + 1 == start;
    right = i < a->len && end + 1 == g_array_index(a, struct range, i).start;
    if (left && right) {
        g_array_index(a, struct range, i - 1).end = g_array_index(a, struct range, i).end;
        g_array_remove_index(a, (unsigned int)i);
    } else if (left) {
        g_array_index(a, struct range, i - 1).end = end;
    } else if (right) {
        g_array_index(a, struct range, i).start = start;
    } else {
        if (a->len >= XE_MAX_RANGES)
            return -ENOMEM;
        g_array_insert_val(a, i, n);
    }
    return 0;
}

int ioreq_unmap_range(struct domain *d, unsigned int id, unsigned int type, uint64_t start,
                      uint64_t end)
{
    struct server *s = server_get(d, id);
    struct range r;
    GArray *a;
    size_t i;

    if (start > end)
        return -EINVAL;
    if (!s)
        return -ENOENT;
    if (type > XEN_DMOP_IO_RANGE_PCI)
        return -EINVAL;
    a = s->ranges[type];
    if (!range_contains(a, start, end))
        return -ENOENT;
    i = range_find(a, start);
    r = g_array_index(a, struct range, i);
    if (r.start < start && end < r.end) {
        struct range tail = {end + 1, r.end};

        if (a->len >= XE_MAX_RANGES)
            return -ENOMEM;
        g_array_index(a, struct range, i).end = start - 1;
        g_array_insert_val(a, i + 1, tail);
    } else if (r.start < start) {
        g_array_index(a, struct range, i).end = start - 1;
    } else if (end < r.end) {
        g_array_index(a, struct range, i).start = end + 1;
    } else {
        g_array_remove_index(a, (unsigned int)i);
    }
    return 0;
}

/* ---- life of a server ---- */

void ioreq_put(struct server *s)
{
    unsigned int i;

    if (--s->refs)
        return;
    for (i = 0; i < 3; i++)
        g_array_free(s->ranges[i], TRUE);
    g_free(s);
}

int ioreq_create(struct domain *d, int bufioreq, unsigned int *id)
{
    struct server *s;
    unsigned int i, v;

    if (bufioreq < 0 || bufioreq > 2)
        return -EINVAL;
    for (i = 0; i < XE_MAX_SERVERS && d->server[i]; i++)
        ;
    if (i == XE_MAX_SERVERS)
        return -ENOSPC;
    s = g_new0(struct server, 1);
    s->id = i;
    s->refs = 1;
    s->dom = d;
    s->bufioreq_handling = bufioreq;
    s->sync.gfn = s->buf.gfn = XE_INVALID_GFN;
    for (v = 0; v < 3; v++)
        s->ranges[v] = g_array_new(FALSE, FALSE, sizeof(struct range));
    for (v = 0; v < d->nr_vcpus; v++) {
        s->vport[v] = port_alloc_unbound(d, 0);
        if (!s->vport[v]) {
            d->server[i] = s;
            ioreq_destroy(d, i);
            return -ENOSPC;
        }
        s->vport[v]->xen = true;
    }
    if (bufioreq) {
        struct port *p = port_alloc_unbound(d, 0);

        if (!p) {
            d->server[i] = s;
            ioreq_destroy(d, i);
            return -ENOSPC;
        }
        p->xen = true;
        s->buf_port = p->nr;
    }
    d->server[i] = s;
    *id = i;
    return 0;
}

static void ioreq_free_gfn(struct domain *d, struct ioreq_page *p)
{
    if (p->gfn == XE_INVALID_GFN)
        return;
    if (p->gfn == d->params[HVM_PARAM_IOREQ_PFN])
        d->legacy_gfn_mask |= 1;
    else if (p->gfn == d->params[HVM_PARAM_BUFIOREQ_PFN])
        d->legacy_gfn_mask |= 2;
    else
        d->ioreq_gfn_mask |= UINT64_C(1) << (p->gfn - d->params[HVM_PARAM_IOREQ_SERVER_PFN]);
    p->gfn = XE_INVALID_GFN;
}

int ioreq_destroy(struct domain *d, unsigned int id)
{
    struct server *s = server_get(d, id);
    unsigned int v;

    if (!s)
        return -ENOENT;
    s->enabled = false;
    s->dead = true;
    ioreq_abort_waiters(d, s, "the ioreq server was destroyed with the request pending");
    if (d->mem_server == s)
        d->mem_server = NULL;
    d->server[id] = NULL;
    for (v = 0; v < d->nr_vcpus; v++)
        if (s->vport[v]) {
            /* A waiter sleeps on this eventfd: let it out before the descriptor goes. */
            while (d->vcpu[v].waiting == s)
                pthread_cond_wait(&d->host->idle, &d->host->big);
            port_free(s->vport[v]);
            s->vport[v] = NULL;
        }
    if (s->buf_port && port_get(d, s->buf_port))
        port_free(port_get(d, s->buf_port));
    ioreq_free_gfn(d, &s->sync);
    ioreq_free_gfn(d, &s->buf);
    ioreq_put(s);
    return 0;
}

static int ioreq_map_gfn(struct domain *d, struct ioreq_page *p)
{
    const struct mem_run *r;
    unsigned int bit;

    if (p->mfn)
        return p->gfn == XE_INVALID_GFN ? -EPERM : 0;
    if (d->ioreq_gfn_mask) {
        bit = (unsigned int)__builtin_ctzll(d->ioreq_gfn_mask);
        d->ioreq_gfn_mask &= ~(UINT64_C(1) << bit);
        p->gfn = d->params[HVM_PARAM_IOREQ_SERVER_PFN] + bit;
    } else if (d->legacy_gfn_mask) {
        bit = (unsigned int)__builtin_ctzll(d->legacy_gfn_mask);
        d->legacy_gfn_mask &= ~(UINT64_C(1) << bit);
        p->gfn = d->params[bit ? HVM_PARAM_BUFIOREQ_PFN : HVM_PARAM_IOREQ_PFN];
    } else {
        return -ENOMEM;
    }
    r = mem_lookup(d, p->gfn);
    if (!r) {
        /* Taken out of the guest by an earlier server: put back as Xen does at disable. */
        uint64_t mfn = mem_alloc_mfn(d, 1);

        if (!mfn) {
            ioreq_free_gfn(d, p);
            return -ENOMEM;
        }
        mem_insert(d, p->gfn, 1, mfn, MEM_RAM_RW);
        r = mem_lookup(d, p->gfn);
    }
    p->mfn = r->mfn + (p->gfn - r->gfn);
    p->va = d->mem + (p->mfn << XE_PAGE_SHIFT);
    memset(p->va, 0, XE_PAGE);
    return 0;
}

int ioreq_info(struct domain *d, unsigned int id, bool no_gfns, uint64_t out[3])
{
    struct server *s = server_get(d, id);
    int r;

    out[0] = out[1] = out[2] = 0;
    if (!s)
        return -ENOENT;
    if (!no_gfns) {
        r = ioreq_map_gfn(d, &s->sync);
        if (!r && s->bufioreq_handling)
            r = ioreq_map_gfn(d, &s->buf);
        if (r)
            return r;
        out[0] = s->sync.gfn;
        if (s->bufioreq_handling)
            out[1] = s->buf.gfn;
    }
    if (s->bufioreq_handling)
        out[2] = s->buf_port;
    return 0;
}

int ioreq_resource(struct domain *d, unsigned int id, uint64_t frame, uint64_t *mfn)
{
    struct server *s = server_get(d, id);
    struct ioreq_page *p;

    if (!s)
        return -ENOENT;
    if (frame > 1)
        return -EINVAL;
    if (!frame && !s->bufioreq_handling)
        return -ENOENT;
    p = frame ? &s->sync : &s->buf;
    if (p->mfn && p->gfn != XE_INVALID_GFN)
        return -EPERM;
    if (!p->mfn) {
        p->mfn = mem_alloc_mfn(d, 1); /* outside the domain's quota */
        if (!p->mfn)
            return -ENOMEM;
        p->va = d->mem + (p->mfn << XE_PAGE_SHIFT);
        if (s->enabled && frame) {
            unsigned int v;

            for (v = 0; v < d->nr_vcpus; v++)
                ((ioreq_t *)p->va)[v].vp_eport = s->vport[v]->nr;
        }
    }
    *mfn = p->mfn;
    return 0;
}

int ioreq_set_state(struct domain *d, unsigned int id, bool enabled)
{
    struct server *s = server_get(d, id);
    unsigned int v;

    if (!s)
        return -ENOENT;
    if (enabled == s->enabled)
        return 0;
    s->enabled = enabled;
    if (enabled) {
        if (s->sync.gfn != XE_INVALID_GFN)
            mem_remove(d, s->sync.gfn, 1, false);
        if (s->buf.gfn != XE_INVALID_GFN)
            mem_remove(d, s->buf.gfn, 1, false);
        for (v = 0; s->sync.va && v < d->nr_vcpus; v++)
            ((ioreq_t *)s->sync.va)[v].vp_eport = s->vport[v]->nr;
    } else {
        if (s->sync.gfn != XE_INVALID_GFN)
            mem_insert(d, s->sync.gfn, 1, s->sync.mfn, MEM_RAM_RW);
        if (s->buf.gfn != XE_INVALID_GFN)
            mem_insert(d, s->buf.gfn, 1, s->buf.mfn, MEM_RAM_RW);
    }
    return 0;
}

int ioreq_map_mem_type(struct domain *d, unsigned int id, uint32_t type, uint32_t flags)
{
    struct server *s = server_get(d, id);

    if (type != HVMMEM_ioreq_server)
        return -EINVAL;
    if (!s)
        return -ENOENT;
    if (flags & ~XEN_DMOP_IOREQ_MEM_ACCESS_WRITE)
        return -EINVAL;
    if (!flags) {
        if (d->mem_server != s)
            return -EINVAL;
        d->mem_server = NULL;
    } else if (d->mem_server && d->mem_server != s) {
        return -EINVAL;
    } else {
        d->mem_server = s;
    }
    d->mem_server_flags = flags;
    return 0;
}
