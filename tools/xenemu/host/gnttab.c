/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Grant tables: which page of the guest a reference names, who may map it, and who does. */
#include <errno.h>
#include <stdint.h>
#include <xen/xen.h>
#include <xen/grant_table.h>
#include "domain-life.h"
#include "domain.h"

int gnttab_add(struct domain *d, uint32_t ref, uint32_t domid, uint64_t gfn, bool readonly)
{
    struct grant *g = g_hash_table_lookup(d->grants, GUINT_TO_POINTER(ref));

    if (g && g->in_use)
        return -EBUSY;
    g = g_new0(struct grant, 1);
    g->domid = domid;
    g->gfn = gfn;
    g->readonly = readonly;
    g_hash_table_insert(d->grants, GUINT_TO_POINTER(ref), g);
    return 0;
}

int gnttab_remove(struct domain *d, uint32_t ref)
{
    struct grant *g = g_hash_table_lookup(d->grants, GUINT_TO_POINTER(ref));

    if (!g)
        return -ENOENT;
    if (g->in_use)
        return -EBUSY;
    g_hash_table_remove(d->grants, GUINT_TO_POINTER(ref));
    return 0;
}

struct grant *gnttab_get(struct domain *d, uint32_t ref, bool write, int16_t *status)
{
    struct grant *g = g_hash_table_lookup(d->grants, GUINT_TO_POINTER(ref));

    if (!g || g->domid != 0) {
        *status = GNTST_bad_gntref;
        return NULL;
    }
    if (write && g->readonly) {
        *status = GNTST_permission_denied;
        return NULL;
    }
    *status = GNTST_okay;
    return g;
}

/* The last step of an unmap: the notification that the mapper asked for, and the use count. */
void gnttab_unmapped(struct host *h, struct mapping *m)
{
    struct grant *g = g_hash_table_lookup(m->dom->grants, GUINT_TO_POINTER(m->ref));

    if (g && g->in_use)
        g->in_use--;
    if (m->notify & 1)
        m->dom->mem[(m->mfn << XE_PAGE_SHIFT) + m->notify_offset] = 0;
    if (m->notify & 2) {
        struct domain *dom0 = domain_find(h, 0);
        struct port *p = dom0 ? port_get(dom0, m->notify_port) : NULL;

        if (p)
            port_notify_peer(p);
    }
}
