/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory: a sparse memfd in which every page has a number ("mfn"), and runs that say which
 * guest page is which. Numbers are handed out once and never again, so a page that a device model
 * still maps keeps its content after the guest gave it away, as on Xen, and a stale mapping is
 * seen, not reused.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include "domain.h"

static size_t mem_find(const struct domain *d, uint64_t gfn)
{
    size_t lo = 0, hi = d->runs->len;

    /* First run that ends beyond gfn. */
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const struct mem_run *r = &g_array_index(d->runs, struct mem_run, mid);

        if (r->gfn + r->nr <= gfn)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct mem_run *mem_lookup(const struct domain *d, uint64_t gfn)
{
    size_t i = mem_find(d, gfn);
    const struct mem_run *r;

    if (i >= d->runs->len)
        return NULL;
    r = &g_array_index(d->runs, struct mem_run, i);
    return r->gfn <= gfn ? r : NULL;
}

uint64_t mem_alloc_mfn(struct domain *d, uint64_t nr)
{
    uint64_t mfn = d->next_mfn;

    if (nr > d->mem_pages - d->next_mfn)
        return 0;
    d->next_mfn += nr;
    return mfn;
}

static bool mem_is_mapped(struct domain *d, uint64_t mfn, uint64_t nr)
{
    unsigned int i;

    for (i = 0; i < d->host->mappings->len; i++) {
        const struct mapping *m = g_ptr_array_index(d->host->mappings, i);

        if (m->dom == d && m->mfn < mfn + nr && mfn < m->mfn + m->pages)
            return true;
    }
    return false;
}

static void mem_release(struct domain *d, uint64_t mfn, uint64_t nr)
{
    if (mem_is_mapped(d, mfn, nr)) {
        struct mem_run z = {.mfn = mfn, .nr = nr};

        g_array_append_val(d->zombies, z);
        return;
    }
    if (fallocate(d->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  (off_t)(mfn << XE_PAGE_SHIFT), (off_t)(nr << XE_PAGE_SHIFT)) < 0)
        host_log(d->host, "d%u: punching a hole: %s", d->id, strerror(errno));
    d->tot_pages -= nr;
}

void mem_reap(struct domain *d)
{
    unsigned int i = 0;

    while (i < d->zombies->len) {
        struct mem_run z = g_array_index(d->zombies, struct mem_run, i);

        if (mem_is_mapped(d, z.mfn, z.nr)) {
            i++;
            continue;
        }
        g_array_remove_index_fast(d->zombies, i);
        mem_release(d, z.mfn, z.nr);
    }
}

int mem_remove(struct domain *d, uint64_t gfn, uint64_t nr, bool free_pages)
{
    uint64_t end = gfn + nr;
    size_t i = mem_find(d, gfn);
    int removed = 0;

    while (i < d->runs->len) {
        struct mem_run r = g_array_index(d->runs, struct mem_run, i);
        uint64_t s = MAX(r.gfn, gfn), e = MIN(r.gfn + r.nr, end);

        if (r.gfn >= end)
            break;
        g_array_remove_index(d->runs, i);
        if (e < r.gfn + r.nr) {
            struct mem_run tail = {e, r.gfn + r.nr - e, r.mfn + (e - r.gfn), r.type};

            g_array_insert_val(d->runs, i, tail);
        }
        if (r.gfn < s) {
            struct mem_run head = {r.gfn, s - r.gfn, r.mfn, r.type};

            g_array_insert_val(d->runs, i, head);
            i++;
        }
        if (free_pages)
            mem_release(d, r.mfn + (s - r.gfn), e - s);
        removed += (int)(e - s);
        i = mem_find(d, e);
    }
    return removed;
}

void mem_insert(struct domain *d, uint64_t gfn, uint64_t nr, uint64_t mfn, enum mem_type type)
{
    size_t i = mem_find(d, gfn);
    struct mem_run n = {gfn, nr, mfn, type};

    if (i > 0) { /* extend the one before */
        struct mem_run *p = &g_array_index(d->runs, struct mem_run, i - 1);

        if (p->gfn + p->nr == gfn && p->mfn + p->nr == mfn && p->type == type) {
            p->nr += nr;
            goto done;
        }
    }
    g_array_insert_val(d->runs, i, n);
done:
    if (gfn + nr - 1 > d->max_gfn)
        d->max_gfn = gfn + nr - 1;
}

int mem_populate(struct domain *d, uint64_t gfn, unsigned int order)
{
    uint64_t nr = UINT64_C(1) << order, mfn;

    if (order > 18 || gfn >= XE_MAX_GFN - nr)
        return -EINVAL;
    if (d->tot_pages + nr > d->max_pages)
        return -ENOMEM;
    mfn = mem_alloc_mfn(d, nr);
    if (!mfn)
        return -ENOMEM;
    mem_remove(d, gfn, nr, true);
    mem_insert(d, gfn, nr, mfn, MEM_RAM_RW);
    d->tot_pages += nr;
    return 0;
}

int mem_relocate(struct domain *d, uint64_t nr, uint64_t src, uint64_t dst)
{
    /* Xen moves page by page, so an overlapping move eats its own tail. */
    bool overlap = src < dst + nr && dst < src + nr;
    uint64_t i;

    if (src >= XE_MAX_GFN - nr || dst >= XE_MAX_GFN - nr)
        return -EINVAL;
    for (i = 0; i < nr;) {
        const struct mem_run *r = mem_lookup(d, src + i);
        struct mem_run m;
        uint64_t n;

        if (!r || r->type == MEM_MMIO_DM)
            return -EINVAL;
        m = *r;
        n = overlap ? 1 : MIN(m.gfn + m.nr - (src + i), nr - i);
        mem_remove(d, src + i, n, false);
        mem_remove(d, dst + i, n, true);
        mem_insert(d, dst + i, n, m.mfn + (src + i - m.gfn), m.type);
        i += n;
    }
    return 0;
}

/* The transitions that Xen allows: RAM ↔ RO, RAM ↔ MMIO hole marker, RAM ↔ ioreq_server. */
int mem_set_type(struct domain *d, enum mem_type type, uint64_t gfn, uint64_t nr)
{
    uint64_t i;

    if (nr && gfn + nr - 1 > d->max_gfn)
        return -EINVAL;
    for (i = 0; i < nr;) {
        const struct mem_run *r = mem_lookup(d, gfn + i);
        struct mem_run m;
        uint64_t n;

        if (!r)
            return -EINVAL;
        m = *r;
        n = MIN(m.gfn + m.nr - (gfn + i), nr - i);
        if (m.type != type && m.type != MEM_RAM_RW && type != MEM_RAM_RW)
            return -EINVAL;
        mem_remove(d, gfn + i, n, false);
        mem_insert(d, gfn + i, n, m.mfn + (gfn + i - m.gfn), type);
        i += n;
    }
    return 0;
}

uint8_t *mem_ptr(struct domain *d, uint64_t gpa, uint64_t *left, enum mem_type *type)
{
    const struct mem_run *r = mem_lookup(d, gpa >> XE_PAGE_SHIFT);
    uint64_t off;

    if (!r || r->type == MEM_MMIO_DM) {
        *left = XE_PAGE - (gpa & (XE_PAGE - 1));
        return NULL;
    }
    off = gpa - (r->gfn << XE_PAGE_SHIFT);
    *left = (r->nr << XE_PAGE_SHIFT) - off;
    if (type)
        *type = r->type;
    return d->mem + (r->mfn << XE_PAGE_SHIFT) + off;
}
