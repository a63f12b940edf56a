/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations on the handle itself and on domains. */
#include <errno.h>
#include <string.h>
#include <inttypes.h>
#include "../host/domain-life.h"
#include "../host/domain.h"
#include "../host/handle.h"
#include "operations.h"

int op_hello(struct call *k)
{
    g_free(k->c->lib);
    k->c->lib = g_strndup((const char *)k->pay, MIN(k->paylen, 32));
    k->c->pid = (uint32_t)k->req->a[0];
    return 0;
}

int op_restrict(struct call *k)
{
    if (k->c->restrict_domid >= 0 && k->c->restrict_domid != k->req->domid)
        return -EACCES;
    k->c->restrict_domid = k->req->domid;
    return 0;
}

int op_log(struct call *k)
{
    char *name = g_strndup((const char *)k->pay, MIN(k->paylen, 80));
    gpointer n = g_hash_table_lookup(k->h->missing, name);

    host_log(k->h, "missing function: %s", name);
    g_hash_table_insert(k->h->missing, name, GUINT_TO_POINTER(GPOINTER_TO_UINT(n) + 1));
    return 0;
}

int op_memfd(struct call *k)
{
    k->fd = k->d->memfd;
    return k->fd < 0 ? -ESRCH : 0;
}

static gint compare_domid(gconstpointer a, gconstpointer b)
{
    return (gint)GPOINTER_TO_UINT(a) - (gint)GPOINTER_TO_UINT(b);
}

int op_domain_info(struct call *k)
{
    struct xe_dominfo *out = (struct xe_dominfo *)k->out;
    GList *ids = g_list_sort(g_hash_table_get_keys(k->h->domains), compare_domid), *l;
    uint32_t max = MIN(k->req->n, (uint32_t)(XE_PAYLOAD_MAX / sizeof(*out)));

    for (l = ids; l && k->rep.n < max; l = l->next) {
        struct domain *d = domain_find(k->h, GPOINTER_TO_UINT(l->data));
        struct xe_dominfo *o = &out[k->rep.n];

        if (d->id < k->req->a[0])
            continue;
        memset(o, 0, sizeof(*o));
        o->domid = d->id;
        o->flags = (d->dying ? XE_DOM_DYING : 0u) | (d->shutdown ? XE_DOM_SHUTDOWN : 0u) |
                   (d->crashed ? XE_DOM_CRASHED : 0u) | (d->paused ? XE_DOM_PAUSED : 0u) |
                   (d->id ? XE_DOM_HVM : 0u);
        o->shutdown_reason = d->shutdown_reason;
        o->nr_vcpus = d->nr_vcpus ? d->nr_vcpus : 1;
        o->tot_pages = d->tot_pages;
        o->max_kb = d->max_pages << 2;
        memcpy(o->uuid, d->uuid, 16);
        k->rep.n++;
    }
    g_list_free(ids);
    k->outlen = k->rep.n * sizeof(*out);
    return 0;
}

int op_shutdown(struct call *k)
{
    return domain_shutdown(k->d, (uint32_t)k->req->a[0]);
}

int op_pause(struct call *k)
{
    k->d->paused = k->req->a[0] != 0;
    if (!k->d->paused && (k->d->debugged || k->d->monitor.port))
        cpu_run_debugged(k->d);
    return 0;
}

int op_param_set(struct call *k)
{
    return param_set(k->d, (uint32_t)k->req->a[0], k->req->a[1]);
}

int op_param_get(struct call *k)
{
    return param_get(k->d, (uint32_t)k->req->a[0], &k->rep.a[0]);
}

int op_pt(struct call *k)
{
    static const char *const names[] = {
        "?",          "ioport-map",   "memory-map", "iomem-permission",
        "map-pirq",   "map-pirq-msi", "unmap-pirq", "bind-pci-irq",
        "unbind-irq", "update-msi",   "unbind-msi",
    };
    uint64_t op = k->req->a[0];

    if (!op || op >= G_N_ELEMENTS(names))
        return -EINVAL;
    if (op == XE_PT_MAP_PIRQ || op == XE_PT_MAP_PIRQ_MSI) {
        int pirq = (int)k->req->a[2];

        k->rep.a[0] = (uint64_t)(pirq >= 0 ? pirq : 64 + (int)(k->d->pt_log->len & 127));
    }
    if (k->d->pt_log->len < 4096)
        g_ptr_array_add(k->d->pt_log,
                        g_strdup_printf("%s 0x%" PRIx64 " 0x%" PRIx64 " 0x%" PRIx64 " 0x%" PRIx64,
                                        names[op], k->req->a[1], k->req->a[2], k->req->a[3],
                                        k->req->a[4]));
    return 0;
}
