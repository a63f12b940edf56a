/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of the drop-in libraries: one table from operation to handler. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../host/host.h"
#include <xen/grant_table.h>
#include <xen/memory.h>

struct call {
    struct host *h;
    struct conn *c;
    const struct xe_req *req;
    const uint8_t *pay;
    size_t paylen;
    struct xe_rep rep;
    uint8_t *out; /* XE_PAYLOAD_MAX bytes */
    size_t outlen;
    int fd; /* sent along; not closed */
    struct domain *d;
};

/* ---- general ---- */

static int op_hello(struct call *k)
{
    g_free(k->c->lib);
    k->c->lib = g_strndup((const char *)k->pay, MIN(k->paylen, 32));
    k->c->pid = (uint32_t)k->req->a[0];
    return 0;
}

static int op_restrict(struct call *k)
{
    if (k->c->restrict_domid >= 0 && k->c->restrict_domid != k->req->domid)
        return -EACCES;
    k->c->restrict_domid = k->req->domid;
    return 0;
}

static int op_log(struct call *k)
{
    char *name = g_strndup((const char *)k->pay, MIN(k->paylen, 80));
    gpointer n = g_hash_table_lookup(k->h->missing, name);

    host_log(k->h, "missing function: %s", name);
    g_hash_table_insert(k->h->missing, name, GUINT_TO_POINTER(GPOINTER_TO_UINT(n) + 1));
    return 0;
}

static int op_memfd(struct call *k)
{
    k->fd = k->d->memfd;
    return k->fd < 0 ? -ESRCH : 0;
}

static gint compare_domid(gconstpointer a, gconstpointer b)
{
    return (gint)GPOINTER_TO_UINT(a) - (gint)GPOINTER_TO_UINT(b);
}

static int op_domain_info(struct call *k)
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

/* ---- memory ---- */

static struct xe_run *add_run(struct call *k, uint32_t index, uint32_t count, uint64_t off, int err,
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

static int fault_page(struct host *h, uint32_t op, uint64_t gfn);

static int op_map(struct call *k)
{
    const uint64_t *gfn = (const uint64_t *)k->pay;
    struct xe_run *runs = (struct xe_run *)k->out;
    struct domain *d = k->d;
    uint32_t i, n = k->req->n;

    if (!n || n > XE_MAP_BATCH / 2 || k->paylen < n * sizeof(*gfn))
        return -EINVAL;
    for (i = 0; i < n;) {
        const struct mem_run *r = mem_lookup(d, gfn[i]);
        int err = fault_page(k->h, XE_OP_MAP, gfn[i]);
        uint32_t m = 1;

        if (err || !r || r->type == MEM_MMIO_DM) {
            add_run(k, i, 1, 0, err ? err : -EINVAL, d->id);
        } else if (k->req->a[1] & 2 && r->type == MEM_RAM_RO) {
            add_run(k, i, 1, 0, -EACCES, d->id);
        } else {
            uint64_t in_run = r->gfn + r->nr - gfn[i];

            while (!k->h->faults->len && m < n - i && m < in_run && gfn[i + m] == gfn[i] + m)
                m++;
            add_run(k, i, m, (r->mfn + (gfn[i] - r->gfn)) << XE_PAGE_SHIFT, 0, d->id);
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

static int op_unmap(struct call *k)
{
    mapping_remove(k->h, k->c, k->req->a[0], k->req->a[1], MAP_FOREIGN);
    return 0;
}

static int op_resource(struct call *k)
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
        add_run(k, (uint32_t)i, 1, mfn << XE_PAGE_SHIFT, 0, k->d->id);
    }
    for (i = 0; i < k->rep.n; i++)
        mapping_add(k->h, k->c, k->d, k->req->a[4] + ((uint64_t)runs[i].index << XE_PAGE_SHIFT),
                    runs[i].count, runs[i].off >> XE_PAGE_SHIFT, 0, MAP_RESOURCE);
    return 0;
}

static int op_resource_size(struct call *k)
{
    if (k->req->a[0] != XENMEM_resource_ioreq_server)
        return -EOPNOTSUPP;
    k->rep.a[0] = 2 * XE_PAGE;
    return 0;
}

static int op_populate(struct call *k)
{
    const uint64_t *gfn = (const uint64_t *)k->pay;
    uint32_t i;

    if (k->paylen < k->req->n * sizeof(*gfn))
        return -EINVAL;
    for (i = 0; i < k->req->n; i++) {
        int r = fault_page(k->h, XE_OP_POPULATE, gfn[i]);

        if (!r)
            r = mem_populate(k->d, gfn[i], (unsigned int)MIN(k->req->a[0], 63));
        if (r)
            return i || r == -ENOMEM ? (int)i : r; /* Xen: as many as there was memory for */
    }
    return (int)i;
}

static int op_decrease(struct call *k)
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

static int op_add_to_physmap(struct call *k)
{
    if (k->req->a[0] != XENMAPSPACE_gmfn)
        return -EOPNOTSUPP;
    return mem_relocate(k->d, 1, k->req->a[1], k->req->a[2]);
}

static int op_remove_from_physmap(struct call *k)
{
    return mem_remove(k->d, k->req->a[0], 1, true) ? 0 : -ENOENT;
}

static int op_setmaxmem(struct call *k)
{
    k->d->max_pages = k->req->a[0] >> 2;
    return 0;
}

static int op_max_gpfn(struct call *k)
{
    k->rep.a[0] = k->d->max_gfn;
    return 0;
}

static int op_logdirty(struct call *k)
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

/* ---- domain ---- */

static int op_shutdown(struct call *k)
{
    return domain_shutdown(k->d, (uint32_t)k->req->a[0]);
}

static int op_pause(struct call *k)
{
    k->d->paused = k->req->a[0] != 0;
    return 0;
}

static int op_param_set(struct call *k)
{
    return param_set(k->d, (uint32_t)k->req->a[0], k->req->a[1]);
}

static int op_param_get(struct call *k)
{
    return param_get(k->d, (uint32_t)k->req->a[0], &k->rep.a[0]);
}

static int op_pt(struct call *k)
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

/* ---- grants ---- */

static int op_gnt_map(struct call *k)
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
        add_run(k, i, 1, (r->mfn + (g->gfn - r->gfn)) << XE_PAGE_SHIFT, 0, d->id);
        m = mapping_add(k->h, k->c, d, k->req->a[0] + ((uint64_t)i << XE_PAGE_SHIFT), 1,
                        r->mfn + (g->gfn - r->gfn), g->gfn, MAP_GRANT);
        m->ref = ref[i].ref;
        m->writable = k->req->a[1];
        g->in_use++;
    }
    return 0;
}

static int op_gnt_unmap(struct call *k)
{
    mapping_remove(k->h, k->c, k->req->a[0], k->req->a[1], MAP_GRANT);
    return 0;
}

static int op_gnt_notify(struct call *k)
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

static int op_gnt_copy(struct call *k)
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

/* ---- event channels ---- */

static int op_evtchn_open(struct call *k)
{
    struct stat st;
    int sv[2];

    if (k->c->stream >= 0)
        return -EBUSY;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        return -errno;
    k->c->stream = sv[0];
    k->c->stream_inode = fstat(sv[1], &st) == 0 ? st.st_ino : 0;
    k->c->stream_src.fd = sv[0];
    k->c->stream_src.ready = evtchn_stream_ready;
    host_watch(k->h, &k->c->stream_src, EPOLLONESHOT);
    k->fd = sv[1];
    return 0;
}

static int evtchn_allowed(struct call *k, uint32_t domid)
{
    if (k->c->stream < 0)
        return -EINVAL;
    return k->c->restrict_domid >= 0 && k->c->restrict_domid != domid ? -EACCES : 0;
}

static int op_evtchn_unbound(struct call *k)
{
    int r = evtchn_allowed(k, (uint32_t)k->req->a[0]);
    struct port *p;

    if (r)
        return r;
    p = port_alloc_unbound(domain_find(k->h, 0), (uint32_t)k->req->a[0]);
    if (!p)
        return -ENOSPC;
    p->peer_efd = eventfd(0, EFD_CLOEXEC);
    if (p->peer_efd < 0) {
        port_free(p);
        return -EMFILE;
    }
    port_set_user(p, k->c);
    k->rep.a[0] = p->nr;
    k->fd = p->peer_efd;
    return 0;
}

static int op_evtchn_interdomain(struct call *k)
{
    int r = evtchn_allowed(k, (uint32_t)k->req->a[0]);
    struct port *p;

    if (!r)
        r = port_bind_interdomain(domain_find(k->h, 0), (uint32_t)k->req->a[0],
                                  (uint32_t)k->req->a[1], &p);
    if (r)
        return r;
    port_set_user(p, k->c);
    k->rep.a[0] = p->nr;
    k->fd = port_peer(p)->src.fd;
    port_deliver(p); /* Xen marks a fresh binding pending, so that no early event is lost */
    return 0;
}

static int op_evtchn_virq(struct call *k)
{
    struct port *p;

    if (k->c->stream < 0)
        return -EINVAL;
    if (k->c->restrict_domid >= 0)
        return -EACCES;
    p = port_alloc(domain_find(k->h, 0));
    if (!p)
        return -ENOSPC;
    p->state = PORT_VIRQ;
    p->virq = (uint32_t)k->req->a[0];
    port_set_user(p, k->c);
    k->rep.a[0] = p->nr;
    k->fd = p->src.fd;
    return 0;
}

static int op_evtchn_unbind(struct call *k)
{
    struct port *p = port_get(domain_find(k->h, 0), (uint32_t)k->req->a[0]);

    if (!p || p->user != k->c)
        return -ENOTCONN;
    port_free(p);
    return 0;
}

static int op_evtchn_notify(struct call *k)
{
    struct port *p = port_get(domain_find(k->h, 0), (uint32_t)k->req->a[0]);

    if (!p || p->user != k->c)
        return -ENOTCONN;
    port_notify_peer(p);
    return 0;
}

/*
 * xenevtchn_fdopen() in a process that inherited the descriptor: on Xen the bindings are the open
 * file's, here they move from the connection that had them.
 */
static int op_evtchn_adopt(struct call *k)
{
    struct conn *old = NULL, *c = k->c;
    unsigned int i;

    if (c->stream >= 0)
        return -EBUSY;
    for (i = 0; i < k->h->conns->len && !old; i++) {
        struct conn *o = g_ptr_array_index(k->h->conns, i);

        if (o->stream >= 0 && o->stream_inode == k->req->a[0])
            old = o;
    }
    if (!old || !k->req->a[0])
        return -EBADF;
    host_unwatch(k->h, &old->stream_src);
    c->stream = c->stream_src.fd = old->stream;
    c->stream_inode = old->stream_inode;
    c->stream_src.ready = evtchn_stream_ready;
    c->restrict_domid = old->restrict_domid;
    memcpy(c->partial, old->partial, sizeof(c->partial));
    c->partial_len = old->partial_len;
    old->stream = old->stream_src.fd = -1;
    while (old->ports->len) {
        struct port *p = g_ptr_array_steal_index(old->ports, 0);

        port_set_user(p, c);
    }
    host_watch(k->h, &c->stream_src, EPOLLIN | EPOLLONESHOT); /* what was held back is looked at */
    c->stream_armed = true;
    if (old->orphan)
        conn_close(k->h, old);
    k->rep.a[0] = c->ports->len;
    return 0;
}

static int op_evtchn_port(struct call *k)
{
    struct port *p, *peer;

    if (k->req->a[0] >= k->c->ports->len)
        return -ENOENT;
    p = g_ptr_array_index(k->c->ports, k->req->a[0]);
    peer = port_peer(p);
    k->rep.a[0] = p->nr;
    k->fd = p->state == PORT_VIRQ ? p->src.fd : peer ? peer->src.fd : p->peer_efd;
    return 0;
}

/* ---- device-model operations ---- */

static int dm_create(struct call *k)
{
    unsigned int id = 0;
    int r = ioreq_create(k->d, (int)k->req->a[0], &id);

    k->rep.a[0] = id;
    return r;
}

static int dm_info(struct call *k)
{
    return ioreq_info(k->d, (unsigned int)k->req->a[0], k->req->a[1] & XEN_DMOP_no_gfns, k->rep.a);
}

static int dm_map_range(struct call *k)
{
    return ioreq_map_range(k->d, (unsigned int)k->req->a[0], (unsigned int)k->req->a[1],
                           k->req->a[2], k->req->a[3]);
}

static int dm_unmap_range(struct call *k)
{
    return ioreq_unmap_range(k->d, (unsigned int)k->req->a[0], (unsigned int)k->req->a[1],
                             k->req->a[2], k->req->a[3]);
}

static int dm_state(struct call *k)
{
    return ioreq_set_state(k->d, (unsigned int)k->req->a[0], k->req->a[1]);
}

static int dm_destroy(struct call *k)
{
    return ioreq_destroy(k->d, (unsigned int)k->req->a[0]);
}

static int dm_track_vram(struct call *k)
{
    int r = mem_track_vram(k->d, k->req->a[0], k->req->n, k->out);

    if (!r)
        k->outlen = (k->req->n + 7u) / 8u;
    return r;
}

static int dm_intx(struct call *k)
{
    if (k->req->a[0] || k->req->a[1] >> 8)
        return -EINVAL; /* segment and bus must be 0 */
    if (k->req->a[1])
        return -EINVAL;
    return irq_set_intx(k->d, (unsigned int)k->req->a[2], (unsigned int)k->req->a[3],
                        (unsigned int)k->req->a[4]);
}

static int dm_isa(struct call *k)
{
    return irq_set_isa(k->d, (unsigned int)k->req->a[0], (unsigned int)k->req->a[1]);
}

static int dm_route(struct call *k)
{
    return irq_set_route(k->d, (unsigned int)k->req->a[0], (unsigned int)k->req->a[1]);
}

static int dm_modified(struct call *k)
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

static int dm_mem_type(struct call *k)
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

static int dm_event(struct call *k)
{
    if (k->req->a[0] >= k->d->nr_vcpus)
        return -EINVAL;
    if (k->d->vcpu[k->req->a[0]].event_pending)
        return -EBUSY;
    k->d->vcpu[k->req->a[0]].event_pending = true;
    return 0;
}

static int dm_msi(struct call *k)
{
    return irq_inject_msi(k->d, k->req->a[0], (uint32_t)k->req->a[1]);
}

static int dm_map_type(struct call *k)
{
    return ioreq_map_mem_type(k->d, (unsigned int)k->req->a[0], (uint32_t)k->req->a[1],
                              (uint32_t)k->req->a[2]);
}

static int dm_shutdown(struct call *k)
{
    return domain_shutdown(k->d, (uint32_t)k->req->a[0]);
}

static int dm_relocate(struct call *k)
{
    return mem_relocate(k->d, k->req->a[0], k->req->a[1], k->req->a[2]);
}

static int dm_pin(struct call *k)
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

static int dm_nr_vcpus(struct call *k)
{
    k->rep.a[0] = k->d->nr_vcpus;
    return 0;
}

/* ---- table ---- */

enum { NEED_DOMAIN = 1, PRIVILEGED = 2, ONE_WAY = 4, DM_OP = 8 };

static const struct operation {
    uint32_t op;
    const char *name;
    int (*run)(struct call *k);
    unsigned int flags;
} operations[] = {
    {XE_OP_HELLO, "hello", op_hello, 0},
    {XE_OP_RESTRICT, "restrict", op_restrict, 0},
    {XE_OP_LOG, "log", op_log, ONE_WAY},
    {XE_OP_DOMAIN_MEMFD, "memfd", op_memfd, NEED_DOMAIN},
    {XE_OP_DOMAIN_INFO, "domain-info", op_domain_info, PRIVILEGED},
    {XE_OP_MAP, "map", op_map, NEED_DOMAIN},
    {XE_OP_UNMAP, "unmap", op_unmap, ONE_WAY},
    {XE_OP_RESOURCE, "resource", op_resource, NEED_DOMAIN},
    {XE_OP_RESOURCE_SIZE, "resource-size", op_resource_size, NEED_DOMAIN},
    {XE_OP_GNT_MAP, "grant-map", op_gnt_map, 0},
    {XE_OP_GNT_UNMAP, "grant-unmap", op_gnt_unmap, 0},
    {XE_OP_GNT_NOTIFY, "grant-notify", op_gnt_notify, 0},
    {XE_OP_GNT_COPY, "grant-copy", op_gnt_copy, 0},
    {XE_OP_EVTCHN_OPEN, "evtchn-open", op_evtchn_open, 0},
    {XE_OP_EVTCHN_UNBOUND, "evtchn-unbound", op_evtchn_unbound, 0},
    {XE_OP_EVTCHN_INTERDOMAIN, "evtchn-bind", op_evtchn_interdomain, 0},
    {XE_OP_EVTCHN_VIRQ, "evtchn-virq", op_evtchn_virq, 0},
    {XE_OP_EVTCHN_UNBIND, "evtchn-unbind", op_evtchn_unbind, 0},
    {XE_OP_EVTCHN_NOTIFY, "evtchn-notify", op_evtchn_notify, 0},
    {XE_OP_EVTCHN_ADOPT, "evtchn-adopt", op_evtchn_adopt, 0},
    {XE_OP_EVTCHN_PORT, "evtchn-port", op_evtchn_port, 0},
    {XE_OP_POPULATE, "populate", op_populate, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_DECREASE, "decrease", op_decrease, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_ADD_TO_PHYSMAP, "add-to-physmap", op_add_to_physmap, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_REMOVE_FROM_PHYSMAP, "remove-from-physmap", op_remove_from_physmap,
     NEED_DOMAIN | PRIVILEGED},
    {XE_OP_SETMAXMEM, "setmaxmem", op_setmaxmem, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_MAX_GPFN, "max-gpfn", op_max_gpfn, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_SHUTDOWN, "shutdown", op_shutdown, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_PAUSE, "pause", op_pause, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_PARAM_SET, "param-set", op_param_set, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_PARAM_GET, "param-get", op_param_get, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_LOGDIRTY, "logdirty", op_logdirty, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_PT, "passthrough", op_pt, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_DM + XEN_DMOP_create_ioreq_server, "create-ioreq-server", dm_create, DM_OP},
    {XE_OP_DM + XEN_DMOP_get_ioreq_server_info, "get-ioreq-server-info", dm_info, DM_OP},
    {XE_OP_DM + XEN_DMOP_map_io_range_to_ioreq_server, "map-io-range", dm_map_range, DM_OP},
    {XE_OP_DM + XEN_DMOP_unmap_io_range_from_ioreq_server, "unmap-io-range", dm_unmap_range, DM_OP},
    {XE_OP_DM + XEN_DMOP_set_ioreq_server_state, "set-ioreq-server-state", dm_state, DM_OP},
    {XE_OP_DM + XEN_DMOP_destroy_ioreq_server, "destroy-ioreq-server", dm_destroy, DM_OP},
    {XE_OP_DM + XEN_DMOP_track_dirty_vram, "track-dirty-vram", dm_track_vram, DM_OP},
    {XE_OP_DM + XEN_DMOP_set_pci_intx_level, "set-pci-intx-level", dm_intx, DM_OP},
    {XE_OP_DM + XEN_DMOP_set_isa_irq_level, "set-isa-irq-level", dm_isa, DM_OP},
    {XE_OP_DM + XEN_DMOP_set_pci_link_route, "set-pci-link-route", dm_route, DM_OP},
    {XE_OP_DM + XEN_DMOP_modified_memory, "modified-memory", dm_modified, DM_OP},
    {XE_OP_DM + XEN_DMOP_set_mem_type, "set-mem-type", dm_mem_type, DM_OP},
    {XE_OP_DM + XEN_DMOP_inject_event, "inject-event", dm_event, DM_OP},
    {XE_OP_DM + XEN_DMOP_inject_msi, "inject-msi", dm_msi, DM_OP},
    {XE_OP_DM + XEN_DMOP_map_mem_type_to_ioreq_server, "map-mem-type", dm_map_type, DM_OP},
    {XE_OP_DM + XEN_DMOP_remote_shutdown, "remote-shutdown", dm_shutdown, DM_OP},
    {XE_OP_DM + XEN_DMOP_relocate_memory, "relocate-memory", dm_relocate, DM_OP},
    {XE_OP_DM + XEN_DMOP_pin_memory_cacheattr, "pin-memory-cacheattr", dm_pin, DM_OP},
    {XE_OP_DM + XEN_DMOP_nr_vcpus, "nr-vcpus", dm_nr_vcpus, DM_OP},
};

/* By number in xs_wire.h. */
static const char *const xs_names[] = {
    "xs-control",
    "xs-directory",
    "xs-read",
    "xs-get-perms",
    "xs-watch",
    "xs-unwatch",
    "xs-transaction-start",
    "xs-transaction-end",
    "xs-introduce",
    "xs-release",
    "xs-get-domain-path",
    "xs-write",
    "xs-mkdir",
    "xs-rm",
    "xs-set-perms",
};

/* System calls of the device model on the files of its drives; xenemu run asks (disk-faults.c). */
static const char *const disk_names[] = {"disk-read", "disk-write", "disk-flush", "disk-discard"};

const char *op_name(uint32_t op)
{
    unsigned int i;

    if (op >= XE_OP_XS && op - XE_OP_XS < G_N_ELEMENTS(xs_names))
        return xs_names[op - XE_OP_XS];
    if (op >= XE_OP_DISK && op - XE_OP_DISK < G_N_ELEMENTS(disk_names))
        return disk_names[op - XE_OP_DISK];
    if (op == UINT32_MAX)
        return "event";
    for (i = 0; i < G_N_ELEMENTS(operations); i++)
        if (operations[i].op == op)
            return operations[i].name;
    return "?";
}

/* HELLO and LOG are xenemu's own; a notify goes by the stream of event channels. */
static bool can_fail(const struct operation *o)
{
    return o->op != XE_OP_HELLO && o->op != XE_OP_EVTCHN_NOTIFY && !(o->flags & ONE_WAY);
}

char *op_names(void)
{
    GString *t = g_string_new("OK event");
    unsigned int i;

    for (i = 0; i < G_N_ELEMENTS(operations); i++)
        if (can_fail(&operations[i]))
            g_string_append_printf(t, " %s", operations[i].name);
    for (i = 0; i < G_N_ELEMENTS(xs_names); i++)
        g_string_append_printf(t, " %s", xs_names[i]);
    for (i = 0; i < G_N_ELEMENTS(disk_names); i++)
        g_string_append_printf(t, " %s", disk_names[i]);
    return g_string_free(t, FALSE);
}

uint32_t op_by_name(const char *name)
{
    unsigned int i;

    if (!strcmp(name, "event"))
        return UINT32_MAX;
    for (i = 0; i < G_N_ELEMENTS(xs_names); i++)
        if (!strcmp(xs_names[i], name))
            return XE_OP_XS + i;
    for (i = 0; i < G_N_ELEMENTS(disk_names); i++)
        if (!strcmp(disk_names[i], name))
            return XE_OP_DISK + i;
    for (i = 0; i < G_N_ELEMENTS(operations); i++)
        if (!strcmp(operations[i].name, name) && can_fail(&operations[i]))
            return operations[i].op;
    return 0;
}

/* ---- faults asked for by a test ---- */

static int fault_take(struct fault *f)
{
    if (f->after) {
        f->after--;
        return 0;
    }
    if (!f->count)
        return 0;
    if (f->count != UINT32_MAX)
        f->count--;
    f->hits++;
    return -f->err;
}

static int fault_page(struct host *h, uint32_t op, uint64_t gfn)
{
    unsigned int i;
    int r = 0;

    for (i = 0; !r && i < h->faults->len; i++) {
        struct fault *f = &g_array_index(h->faults, struct fault, i);

        if (f->op == op && f->gfn != XE_INVALID_GFN && gfn >= f->gfn && gfn <= f->gfn_end)
            r = fault_take(f);
    }
    return r;
}

int fault_call(struct host *h, uint32_t op)
{
    unsigned int i;
    int r = 0;

    for (i = 0; !r && i < h->faults->len; i++) {
        struct fault *f = &g_array_index(h->faults, struct fault, i);

        if (f->op == op && f->gfn == XE_INVALID_GFN)
            r = fault_take(f);
    }
    return r;
}

/*
 * A system call on a drive's file, which touches the sectors first … last. 0: none of it fails;
 * < 0: it fails so; 1: it moves at most *shorter bytes. A read that takes only what is in the cache
 * (`cached`) finds nothing there if it would fail: the read that follows fails in its place.
 */
int fault_disk(struct host *h, uint32_t op, const char *drive, uint64_t first, uint64_t last,
               bool cached, uint64_t *shorter)
{
    unsigned int i;

    for (i = 0; i < h->faults->len; i++) {
        struct fault *f = &g_array_index(h->faults, struct fault, i);
        int r;

        if (f->op != op || (f->drive[0] && strcmp(f->drive, drive)) ||
            (f->gfn != XE_INVALID_GFN && (last < f->gfn || first > f->gfn_end)))
            continue;
        if (cached && !f->after && f->count)
            return -EAGAIN;
        r = fault_take(f);
        if (r && f->shorter == FAULT_FAILS)
            return r;
        *shorter = f->shorter;
        if (r)
            return 1;
    }
    return 0;
}

/* ---- connections ---- */

static int call_run(struct call *k, const struct operation *o)
{
    const struct xe_req *req = k->req;
    int64_t only = k->c->restrict_domid;
    int r;

    if (o->flags & PRIVILEGED && only >= 0)
        return -EPERM;
    if (o->flags & (NEED_DOMAIN | DM_OP)) {
        if (only >= 0 && only != req->domid)
            return -EACCES;
        k->d = req->domid ? domain_find(k->h, req->domid) : NULL;
        if (!k->d || k->d->dying)
            return -ESRCH;
    }
    if (o->flags & DM_OP)
        k->c->is_dm = true;
    r = fault_call(k->h, o->op);
    return r ? r : o->run(k);
}

static void conn_reply(struct call *k)
{
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.buf = {0}};
    struct iovec iov[2] = {
        {.iov_base = &k->rep, .iov_len = sizeof(k->rep)},
        {.iov_base = k->out, .iov_len = k->outlen},
    };
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = k->outlen ? 2 : 1};

    if (k->fd >= 0) {
        struct cmsghdr *cm;

        msg.msg_control = control.buf;
        msg.msg_controllen = sizeof(control.buf);
        cm = CMSG_FIRSTHDR(&msg);
        cm->cmsg_level = SOL_SOCKET;
        cm->cmsg_type = SCM_RIGHTS;
        cm->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cm), &k->fd, sizeof(int));
    }
    if (sendmsg(k->c->src.fd, &msg, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
        host_log(k->h, "reply to %s: %s", k->c->lib, strerror(errno));
}

static void conn_ready(struct host *h, struct source *s, uint32_t events)
{
    static uint8_t in[sizeof(struct xe_req) + XE_PAYLOAD_MAX + 64] __attribute__((aligned(16)));
    static uint8_t out[XE_PAYLOAD_MAX + 64] __attribute__((aligned(16)));
    struct conn *c = (struct conn *)s;
    const struct operation *o = NULL;
    struct xe_req req;
    ssize_t n = recv(s->fd, in, sizeof(in), MSG_DONTWAIT);
    struct call k = {.h = h, .c = c, .req = &req, .fd = -1, .out = out};
    unsigned int i;

    if (n < 0 && (errno == EAGAIN || errno == EINTR) && !(events & (EPOLLHUP | EPOLLERR)))
        return;
    if (n < (ssize_t)sizeof(req)) {
        conn_close(h, c);
        return;
    }
    memcpy(&req, in, sizeof(req));
    k.pay = in + sizeof(req);
    k.paylen = (size_t)n - sizeof(req);
    c->calls++;
    for (i = 0; req.magic == XE_MAGIC && i < G_N_ELEMENTS(operations); i++)
        if (operations[i].op == req.op)
            o = &operations[i];
    g_hash_table_insert(
        h->op_count, GUINT_TO_POINTER(req.op),
        GUINT_TO_POINTER(
            GPOINTER_TO_UINT(g_hash_table_lookup(h->op_count, GUINT_TO_POINTER(req.op))) + 1));
    k.rep.ret = o ? call_run(&k, o) : -ENOSYS;
    if (o && o->flags & ONE_WAY)
        return;
    if (k.rep.ret < 0) {
        /* What was mapped so far stays for the unmap that the library sends; nothing goes out. */
        k.rep.n = 0;
        k.outlen = 0;
        k.fd = -1;
    }
    conn_reply(&k);
    if (req.op == XE_OP_EVTCHN_OPEN && k.fd >= 0)
        close(k.fd);
}

void conn_new(struct host *h, int fd)
{
    struct conn *c = g_new0(struct conn, 1);
    int size = 1 << 20;

    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    c->src.fd = fd;
    c->src.ready = conn_ready;
    c->lib = g_strdup("?");
    c->restrict_domid = -1;
    c->stream = -1;
    c->stream_src.fd = -1;
    c->ports = g_ptr_array_new();
    g_ptr_array_add(h->conns, c);
    host_watch(h, &c->src, EPOLLIN);
}

static bool stream_is_open(const struct conn *c)
{
    struct pollfd p = {.fd = c->stream};

    return c->stream >= 0 && poll(&p, 1, 0) >= 0 && !(p.revents & (POLLHUP | POLLERR));
}

static void conn_close_handle(struct host *h, struct conn *c)
{
    mapping_drop_conn(h, c);
    host_unwatch(h, &c->src);
    close(c->src.fd);
    c->src.fd = -1;
}

void conn_close(struct host *h, struct conn *c)
{
    if (!c->orphan && stream_is_open(c)) {
        conn_close_handle(h, c);
        c->orphan = true;
        host_rewatch(h, &c->stream_src, EPOLLIN | EPOLLONESHOT);
        c->stream_armed = true;
        return;
    }
    if (c->ports->len && h->left->len < 4096)
        g_ptr_array_add(h->left,
                        g_strdup_printf("%u %s: %u event channels", c->pid, c->lib, c->ports->len));
    while (c->ports->len)
        port_free(g_ptr_array_index(c->ports, 0));
    if (c->src.fd >= 0)
        conn_close_handle(h, c);
    if (c->stream >= 0) {
        host_unwatch(h, &c->stream_src);
        close(c->stream);
        c->stream = c->stream_src.fd = -1;
    }
    g_ptr_array_remove_fast(h->conns, c);
    g_ptr_array_free(c->ports, TRUE);
    g_free(c->lib);
    g_ptr_array_add(h->graveyard, c);
}
