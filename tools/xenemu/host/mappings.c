/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mappings that processes hold, and what stays of them when a handle is closed: a leak. */
#include <inttypes.h>
#include "domain.h"
#include "handle.h"

static gpointer map_key(const struct conn *c, uint64_t addr)
{
    return (gpointer)(uintptr_t)(addr ^ ((uint64_t)(uintptr_t)c << 20));
}

struct mapping *mapping_add(struct host *h, struct conn *c, struct domain *d, uint64_t addr,
                            uint64_t pages, uint64_t mfn, uint64_t gfn, enum map_kind kind)
{
    struct mapping *m = g_new0(struct mapping, 1);

    m->conn = c;
    m->dom = d;
    m->addr = addr;
    m->pages = pages;
    m->mfn = mfn;
    m->gfn = gfn;
    m->kind = kind;
    m->index = h->mappings->len;
    g_ptr_array_add(h->mappings, m);
    g_hash_table_insert(h->map_by_addr, map_key(c, addr), m);
    return m;
}

static void mapping_delete(struct host *h, unsigned int i)
{
    struct mapping *m = g_ptr_array_index(h->mappings, i);
    struct domain *d = m->dom;

    g_ptr_array_remove_index_fast(h->mappings, i);
    if (i < h->mappings->len)
        ((struct mapping *)g_ptr_array_index(h->mappings, i))->index = i;
    if (g_hash_table_lookup(h->map_by_addr, map_key(m->conn, m->addr)) == m)
        g_hash_table_remove(h->map_by_addr, map_key(m->conn, m->addr));
    if (m->kind == MAP_GRANT)
        gnttab_unmapped(h, m);
    g_free(m);
    if (d->zombies->len)
        mem_reap(d);
}

void mapping_remove(struct host *h, struct conn *c, uint64_t addr, uint64_t pages,
                    enum map_kind kind)
{
    uint64_t end = addr + (pages << XE_PAGE_SHIFT);
    unsigned int i = 0;

    /* The common case: exactly what was mapped, run by run. */
    while (addr < end) {
        struct mapping *m = g_hash_table_lookup(h->map_by_addr, map_key(c, addr));
        uint64_t size;

        if (!m || m->conn != c || m->addr != addr || (m->kind == MAP_GRANT) != (kind == MAP_GRANT))
            break;
        size = m->pages << XE_PAGE_SHIFT;
        if (size > end - addr)
            break;
        mapping_delete(h, m->index);
        addr += size;
    }
    while (addr < end && i < h->mappings->len) {
        struct mapping *m = g_ptr_array_index(h->mappings, i);
        uint64_t mend = m->addr + (m->pages << XE_PAGE_SHIFT), s, e;

        if (m->conn != c || (m->kind == MAP_GRANT) != (kind == MAP_GRANT) || m->addr >= end ||
            mend <= addr) {
            i++;
            continue;
        }
        s = MAX(m->addr, addr);
        e = MIN(mend, end);
        if (e < mend)
            mapping_add(h, c, m->dom, e, (mend - e) >> XE_PAGE_SHIFT,
                        m->mfn + ((e - m->addr) >> XE_PAGE_SHIFT),
                        m->gfn + ((e - m->addr) >> XE_PAGE_SHIFT), m->kind);
        if (m->addr < s)
            mapping_add(h, c, m->dom, m->addr, (s - m->addr) >> XE_PAGE_SHIFT, m->mfn, m->gfn,
                        m->kind);
        mapping_delete(h, i);
    }
}

void mapping_drop_conn(struct host *h, struct conn *c)
{
    static const char *const kinds[] = {"foreign mappings", "grant mappings", "resource mappings"};
    uint64_t count[3] = {0}, pages[3] = {0};
    unsigned int i;

    for (i = 0; i < h->mappings->len; i++) {
        const struct mapping *m = g_ptr_array_index(h->mappings, i);

        if (m->conn == c) {
            count[m->kind]++;
            pages[m->kind] += m->pages;
        }
    }
    for (i = 0; i < 3; i++)
        if (count[i] && h->left->len < 4096)
            g_ptr_array_add(h->left, g_strdup_printf("%u %s: %" PRIu64 " %s, %" PRIu64 " pages",
                                                     c->pid, c->lib, count[i], kinds[i], pages[i]));
    i = 0;

    while (i < h->mappings->len) {
        struct mapping *m = g_ptr_array_index(h->mappings, i);

        if (m->conn == c)
            mapping_delete(h, i);
        else
            i++;
    }
}

void mapping_drop_domain(struct host *h, struct domain *d)
{
    unsigned int i;

    for (i = 0; i < h->mappings->len;) {
        struct mapping *m = g_ptr_array_index(h->mappings, i);

        if (m->dom == d)
            mapping_delete(h, i);
        else
            i++;
    }
}
