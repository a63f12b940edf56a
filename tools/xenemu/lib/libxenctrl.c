/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libxenctrl.so, of the version that is installed: the toolstack's library, as far as a device
 * model and xenstored use it. The many other symbols are generated from libxenctrl.syms and fail
 * with ENOSYS by name.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xenctrl.h>
#include <xen/hvm/save.h>
#include <xen/vm_event.h>
#include "client.h"

struct xc_interface_core {
    struct xe_client client; /* must be first */
};

xc_interface *xc_interface_open(xentoollog_logger *logger, xentoollog_logger *dombuild_logger,
                                unsigned open_flags)
{
    (void)logger, (void)dombuild_logger, (void)open_flags;
    return xe_client_open(sizeof(struct xc_interface_core), "xenctrl", xe_restrict_null);
}

int xc_interface_close(xc_interface *h)
{
    return xe_client_close((struct xe_client *)h);
}

static int xc_get_infos(xc_interface *h, uint32_t first, unsigned int max, struct xe_dominfo *out)
{
    struct xe_req req = {.magic = XE_MAGIC, .op = XE_OP_DOMAIN_INFO, .n = max, .a = {first}};
    struct xe_rep rep;

    if (xe_call(&h->client, &req, NULL, 0, &rep, out, max * sizeof(*out), NULL) < 0)
        return -1;
    return (int)rep.n;
}

int xc_domain_getinfolist(xc_interface *h, uint32_t first_domain, unsigned int max_domains,
                          xc_domaininfo_t *info)
{
    unsigned int done = 0;

    while (done < max_domains) {
        struct xe_dominfo d[64];
        unsigned int want = max_domains - done < 64 ? max_domains - done : 64;
        int i, n = xc_get_infos(h, first_domain, want, d);

        if (n < 0)
            return -1;
        if (!n)
            break;
        for (i = 0; i < n; i++, done++) {
            xc_domaininfo_t *x = &info[done];

            memset(x, 0, sizeof(*x));
            x->domain = (domid_t)d[i].domid;
            x->flags = (d[i].flags & XE_DOM_DYING ? XEN_DOMINF_dying : 0) |
                       (d[i].flags & XE_DOM_SHUTDOWN ? XEN_DOMINF_shutdown : 0) |
                       (d[i].flags & XE_DOM_PAUSED ? XEN_DOMINF_paused : XEN_DOMINF_running) |
                       (d[i].flags & XE_DOM_HVM ? XEN_DOMINF_hvm_guest | XEN_DOMINF_hap : 0) |
                       d[i].shutdown_reason << XEN_DOMINF_shutdownshift;
            x->tot_pages = d[i].tot_pages;
            x->max_pages = d[i].max_kb >> 2;
            x->nr_online_vcpus = d[i].nr_vcpus;
            x->max_vcpu_id = d[i].nr_vcpus - 1;
            memcpy(x->handle, d[i].uuid, 16);
            x->gpaddr_bits = 46;
            first_domain = d[i].domid + 1;
        }
    }
    return (int)done;
}

#ifdef XENEMU_DOMINFO /* until Xen 4.17 */
int xc_domain_getinfo(xc_interface *h, uint32_t first_domid, unsigned int max_doms,
                      xc_dominfo_t *info)
{
    unsigned int done = 0;

    while (done < max_doms) {
        struct xe_dominfo d[64];
        unsigned int want = max_doms - done < 64 ? max_doms - done : 64;
        int i, n = xc_get_infos(h, first_domid, want, d);

        if (n < 0)
            return -1;
        if (!n)
            break;
        for (i = 0; i < n; i++, done++) {
            xc_dominfo_t *x = &info[done];

            memset(x, 0, sizeof(*x));
            x->domid = d[i].domid;
            x->dying = !!(d[i].flags & XE_DOM_DYING);
            x->shutdown = !!(d[i].flags & XE_DOM_SHUTDOWN);
            x->paused = !!(d[i].flags & XE_DOM_PAUSED);
            x->running = !x->paused && !x->shutdown;
            x->hvm = x->hap = !!(d[i].flags & XE_DOM_HVM);
            x->shutdown_reason = d[i].shutdown_reason;
            if (x->shutdown && x->shutdown_reason == SHUTDOWN_crash)
                x->crashed = 1, x->shutdown = 0;
            x->nr_pages = (unsigned long)d[i].tot_pages;
            x->max_memkb = (unsigned long)d[i].max_kb;
            x->nr_online_vcpus = d[i].nr_vcpus;
            x->max_vcpu_id = d[i].nr_vcpus - 1;
            memcpy(x->handle, d[i].uuid, 16);
            x->gpaddr_bits = 46;
            first_domid = d[i].domid + 1;
        }
    }
    if (!done && max_doms) {
        errno = ESRCH;
        return -1;
    }
    return (int)done;
}
#else
int xc_domain_getinfo_single(xc_interface *h, uint32_t domid, xc_domaininfo_t *info)
{
    xc_domaininfo_t found;
    int n = xc_domain_getinfolist(h, domid, 1, &found);

    if (n < 0)
        return -1;
    if (!n || found.domain != domid) {
        errno = ESRCH;
        return -1;
    }
    if (info)
        *info = found;
    return 0;
}
#endif

static int xc_extents(xc_interface *h, uint32_t op, uint32_t domid, unsigned long nr,
                      unsigned int order, const xen_pfn_t *gfns)
{
    enum { BATCH = XE_PAYLOAD_MAX / sizeof(xen_pfn_t) };
    unsigned long done = 0;

    while (done < nr) {
        unsigned long n = nr - done < BATCH ? nr - done : BATCH;
        struct xe_req req = {
            .magic = XE_MAGIC, .op = op, .domid = domid, .n = (uint32_t)n, .a = {order}};
        struct xe_rep rep;
        int r = xe_call(&h->client, &req, gfns + done, n * sizeof(*gfns), &rep, NULL, 0, NULL);

        if (r < 0)
            return done ? (int)done : -1;
        done += (unsigned long)r;
        if ((unsigned long)r < n)
            break;
    }
    return (int)done;
}

int xc_domain_populate_physmap(xc_interface *h, uint32_t domid, unsigned long nr_extents,
                               unsigned int extent_order, unsigned int mem_flags,
                               xen_pfn_t *extent_start)
{
    (void)mem_flags;
    return xc_extents(h, XE_OP_POPULATE, domid, nr_extents, extent_order, extent_start);
}

static int xc_exact(int r, unsigned long nr)
{
    if (r >= 0 && (unsigned long)r == nr)
        return 0;
    if (r >= 0)
        errno = EBUSY; /* what the real library says when the quota ends */
    return -1;
}

int xc_domain_populate_physmap_exact(xc_interface *h, uint32_t domid, unsigned long nr_extents,
                                     unsigned int extent_order, unsigned int mem_flags,
                                     xen_pfn_t *extent_start)
{
    return xc_exact(xc_domain_populate_physmap(h, domid, nr_extents, extent_order, mem_flags,
                                               extent_start),
                    nr_extents);
}

int xc_domain_decrease_reservation(xc_interface *h, uint32_t domid, unsigned long nr_extents,
                                   unsigned int extent_order, xen_pfn_t *extent_start)
{
    return xc_extents(h, XE_OP_DECREASE, domid, nr_extents, extent_order, extent_start);
}

int xc_domain_decrease_reservation_exact(xc_interface *h, uint32_t domid, unsigned long nr_extents,
                                         unsigned int extent_order, xen_pfn_t *extent_start)
{
    int r = xc_domain_decrease_reservation(h, domid, nr_extents, extent_order, extent_start);

    if (r >= 0 && (unsigned long)r != nr_extents) {
        errno = EINVAL;
        return -1;
    }
    return r < 0 ? -1 : 0;
}

#define XC(h, op, domid, ...) \
    xe_simple(&(h)->client, (op), (domid), (const uint64_t[6]){__VA_ARGS__}, 6)

int xc_domain_add_to_physmap(xc_interface *h, uint32_t domid, unsigned int space, unsigned long idx,
                             xen_pfn_t gpfn)
{
    return XC(h, XE_OP_ADD_TO_PHYSMAP, domid, space, idx, gpfn);
}

int xc_domain_remove_from_physmap(xc_interface *h, uint32_t domid, xen_pfn_t gpfn)
{
    return XC(h, XE_OP_REMOVE_FROM_PHYSMAP, domid, gpfn);
}

int xc_domain_setmaxmem(xc_interface *h, uint32_t domid, uint64_t max_memkb)
{
    return XC(h, XE_OP_SETMAXMEM, domid, max_memkb);
}

int xc_domain_maximum_gpfn(xc_interface *h, uint32_t domid, xen_pfn_t *gpfns)
{
    struct xe_req req = {.magic = XE_MAGIC, .op = XE_OP_MAX_GPFN, .domid = domid};
    struct xe_rep rep;

    if (xe_call(&h->client, &req, NULL, 0, &rep, NULL, 0, NULL) < 0)
        return -1;
    *gpfns = rep.a[0];
    return 0;
}

int xc_domain_nr_gpfns(xc_interface *h, uint32_t domid, xen_pfn_t *gpfns)
{
    int r = xc_domain_maximum_gpfn(h, domid, gpfns);

    if (r >= 0)
        *gpfns += 1;
    return r;
}

int xc_domain_shutdown(xc_interface *h, uint32_t domid, int reason)
{
    return XC(h, XE_OP_SHUTDOWN, domid, (uint64_t)reason);
}

int xc_domain_pause(xc_interface *h, uint32_t domid)
{
    return XC(h, XE_OP_PAUSE, domid, 1);
}

int xc_domain_unpause(xc_interface *h, uint32_t domid)
{
    return XC(h, XE_OP_PAUSE, domid, 0);
}

/* ---- what a vCPU does, and debugging ---- */

int xc_vcpu_getinfo(xc_interface *h, uint32_t domid, uint32_t vcpu, xc_vcpuinfo_t *info)
{
    struct xe_req req = {.magic = XE_MAGIC, .op = XE_OP_VCPU_INFO, .domid = domid, .a = {vcpu}};
    struct xe_rep rep;

    if (xe_call(&h->client, &req, NULL, 0, &rep, NULL, 0, NULL) < 0)
        return -1;
    memset(info, 0, sizeof(*info));
    info->vcpu = vcpu;
    info->online = !!(rep.a[0] & XE_VCPU_ONLINE);
    info->blocked = !!(rep.a[0] & XE_VCPU_BLOCKED);
    info->running = !!(rep.a[0] & XE_VCPU_RUNNING);
    info->cpu_time = rep.a[1];
    return 0;
}

/* Without a buffer: how large it has to be. */
int xc_domain_hvm_getcontext(xc_interface *h, uint32_t domid, uint8_t *buf, uint32_t size)
{
    struct xe_req req = {.magic = XE_MAGIC, .op = XE_OP_HVM_CONTEXT, .domid = domid};
    struct xe_rep rep;

    if (xe_call(&h->client, &req, NULL, 0, &rep, buf, buf ? size : 0, NULL) < 0)
        return -1;
    if (buf && rep.a[0] > size) {
        errno = ENOSPC;
        return -1;
    }
    return (int)rep.a[0];
}

static int xc_vcpu_regs(xc_interface *h, uint32_t domid, uint32_t vcpu, struct hvm_hw_cpu *regs)
{
    struct xe_req req = {.magic = XE_MAGIC, .op = XE_OP_VCPU_GET, .domid = domid, .a = {vcpu}};
    struct xe_rep rep;

    return xe_call(&h->client, &req, NULL, 0, &rep, regs, sizeof(*regs), NULL);
}

/* Both ways between what Xen saves and what the debug calls carry, for an HVM guest. */
#define XC_USER_REGS(X) \
    X(rax); \
    X(rbx); \
    X(rcx); \
    X(rdx); \
    X(rbp); \
    X(rsi); \
    X(rdi); \
    X(rsp); \
    X(r8); \
    X(r9); \
    X(r10); \
    X(r11); \
    X(r12); \
    X(r13); \
    X(r14); \
    X(r15); \
    X(rip); \
    X(rflags)

int xc_vcpu_getcontext(xc_interface *h, uint32_t domid, uint32_t vcpu,
                       vcpu_guest_context_any_t *ctxt)
{
    struct hvm_hw_cpu r;
    struct cpu_user_regs *u = &ctxt->c.user_regs;

    if (xc_vcpu_regs(h, domid, vcpu, &r) < 0)
        return -1;
    memset(ctxt, 0, sizeof(*ctxt));
    ctxt->c.flags = VGCF_online;
#define X(name) u->name = r.name
    XC_USER_REGS(X);
#undef X
    u->cs = (uint16_t)r.cs_sel;
    u->ss = (uint16_t)r.ss_sel;
    u->ds = (uint16_t)r.ds_sel;
    u->es = (uint16_t)r.es_sel;
    u->fs = (uint16_t)r.fs_sel;
    u->gs = (uint16_t)r.gs_sel;
    ctxt->c.ctrlreg[0] = r.cr0;
    ctxt->c.ctrlreg[2] = r.cr2;
    ctxt->c.ctrlreg[3] = r.cr3;
    ctxt->c.ctrlreg[4] = r.cr4;
    ctxt->c.debugreg[0] = r.dr0;
    ctxt->c.debugreg[1] = r.dr1;
    ctxt->c.debugreg[2] = r.dr2;
    ctxt->c.debugreg[3] = r.dr3;
    ctxt->c.debugreg[6] = r.dr6;
    ctxt->c.debugreg[7] = r.dr7;
    return 0;
}

int xc_vcpu_setcontext(xc_interface *h, uint32_t domid, uint32_t vcpu,
                       vcpu_guest_context_any_t *ctxt)
{
    struct xe_req req = {.magic = XE_MAGIC, .op = XE_OP_VCPU_SET, .domid = domid, .a = {vcpu}};
    const struct cpu_user_regs *u = &ctxt->c.user_regs;
    struct hvm_hw_cpu r;
    struct xe_rep rep;

    if (xc_vcpu_regs(h, domid, vcpu, &r) < 0)
        return -1;
#define X(name) r.name = u->name
    XC_USER_REGS(X);
#undef X
    r.dr0 = ctxt->c.debugreg[0];
    r.dr1 = ctxt->c.debugreg[1];
    r.dr2 = ctxt->c.debugreg[2];
    r.dr3 = ctxt->c.debugreg[3];
    r.dr6 = ctxt->c.debugreg[6];
    r.dr7 = ctxt->c.debugreg[7];
    return xe_call(&h->client, &req, &r, sizeof(r), &rep, NULL, 0, NULL);
}

int xc_domain_setdebugging(xc_interface *h, uint32_t domid, unsigned int enable)
{
    return XC(h, XE_OP_DEBUGGING, domid, enable);
}

/* With XENEMU_NO_GDBSX it is an SVM, which has no steps. */
int xc_domain_debug_control(xc_interface *h, uint32_t domid, uint32_t sop, uint32_t vcpu)
{
    if (getenv("XENEMU_NO_GDBSX") ||
        (sop != XEN_DOMCTL_DEBUG_OP_SINGLE_STEP_ON && sop != XEN_DOMCTL_DEBUG_OP_SINGLE_STEP_OFF)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return XC(h, XE_OP_STEP, domid, sop == XEN_DOMCTL_DEBUG_OP_SINGLE_STEP_ON, vcpu);
}

/* The ring, mapped. With XENEMU_NO_MONITOR there is none. */
void *xc_monitor_enable(xc_interface *h, uint32_t domid, uint32_t *port)
{
    struct xe_req req = {.magic = XE_MAGIC, .op = XE_OP_MONITOR, .domid = domid, .a = {1}};
    struct xe_req map = {.magic = XE_MAGIC, .op = XE_OP_MAP, .domid = domid, .n = 1};
    struct xe_run run;
    struct xe_rep rep;
    xen_pfn_t gfn;
    char *page;

    if (getenv("XENEMU_NO_MONITOR")) {
        errno = EOPNOTSUPP;
        return NULL;
    }
    if (xe_call(&h->client, &req, NULL, 0, &rep, NULL, 0, NULL) < 0)
        return NULL;
    gfn = rep.a[0];
    *port = (uint32_t)rep.a[1];
    page = mmap(NULL, XC_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return NULL;
    map.a[0] = (uintptr_t)page;
    map.a[1] = PROT_READ | PROT_WRITE;
    if (xe_call(&h->client, &map, &gfn, sizeof(gfn), &rep, &run, sizeof(run), NULL) < 0 ||
        xe_map_runs(&h->client, page, PROT_READ | PROT_WRITE, &run, rep.n) < 0) {
        munmap(page, XC_PAGE_SIZE);
        return NULL;
    }
    map.op = XE_OP_UNMAP; /* whoever unmaps it tells nobody */
    map.n = 0;
    map.a[1] = 1;
    xe_send_oneway(&h->client, &map, NULL, 0);
    return page;
}

int xc_monitor_disable(xc_interface *h, uint32_t domid)
{
    return XC(h, XE_OP_MONITOR, domid, 0);
}

int xc_monitor_debug_exceptions(xc_interface *h, uint32_t domid, bool enable, bool sync)
{
    if (!sync) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return XC(h, XE_OP_MONITOR_WANT, domid, VM_EVENT_REASON_DEBUG_EXCEPTION, enable);
}

int xc_monitor_singlestep(xc_interface *h, uint32_t domid, bool enable)
{
    (void)h, (void)domid, (void)enable;
    errno = EOPNOTSUPP;
    return -1;
}

int xc_readconsolering(xc_interface *h, char *buffer, unsigned int *pnr_chars, int clear,
                       int incremental, uint32_t *pindex)
{
    struct xe_req req = {.magic = XE_MAGIC, .op = XE_OP_CONSOLE};
    struct xe_rep rep;

    (void)clear, (void)incremental, (void)pindex;
    if (xe_call(&h->client, &req, NULL, 0, &rep, buffer, *pnr_chars, NULL) < 0)
        return -1;
    *pnr_chars = rep.a[0] < *pnr_chars ? (unsigned int)rep.a[0] : *pnr_chars;
    return 0;
}

int xc_hvm_param_set(xc_interface *h, uint32_t dom, uint32_t param, uint64_t value)
{
    return XC(h, XE_OP_PARAM_SET, dom, param, value);
}

int xc_hvm_param_get(xc_interface *h, uint32_t dom, uint32_t param, uint64_t *value)
{
    struct xe_req req = {.magic = XE_MAGIC, .op = XE_OP_PARAM_GET, .domid = dom, .a = {param}};
    struct xe_rep rep;

    if (xe_call(&h->client, &req, NULL, 0, &rep, NULL, 0, NULL) < 0)
        return -1;
    *value = rep.a[0];
    return 0;
}

int xc_set_hvm_param(xc_interface *h, uint32_t dom, int param, unsigned long value)
{
    return xc_hvm_param_set(h, dom, (uint32_t)param, value);
}

int xc_get_hvm_param(xc_interface *h, uint32_t dom, int param, unsigned long *value)
{
    uint64_t v;

    if (xc_hvm_param_get(h, dom, (uint32_t)param, &v) < 0)
        return -1;
    *value = (unsigned long)v;
    return 0;
}

/*
 * A toolstack would migrate with it; here it switches the log that modified_memory and guest writes
 * go to, so that a test can play toolstack.
 */
long long xc_logdirty_control(xc_interface *h, uint32_t domid, unsigned int sop,
                              xc_hypercall_buffer_t *dirty_bitmap, unsigned long pages,
                              unsigned int mode, xc_shadow_op_stats_t *stats)
{
    (void)dirty_bitmap, (void)pages, (void)mode, (void)stats;
    if (sop == XEN_DOMCTL_SHADOW_OP_OFF)
        return XC(h, XE_OP_LOGDIRTY, domid, 0);
    if (sop == XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY)
        return XC(h, XE_OP_LOGDIRTY, domid, 1);
    errno = EOPNOTSUPP; /* use the socket's `dirty` command */
    return -1;
}

/* Passthrough: there is no hardware; the calls are recorded and can be read from the socket. */

int xc_domain_ioport_mapping(xc_interface *h, uint32_t domid, uint32_t first_gport,
                             uint32_t first_mport, uint32_t nr_ports, uint32_t add_mapping)
{
    return XC(h, XE_OP_PT, domid, XE_PT_IOPORT_MAP, first_gport, first_mport, nr_ports,
              add_mapping);
}

int xc_domain_memory_mapping(xc_interface *h, uint32_t domid, unsigned long first_gfn,
                             unsigned long first_mfn, unsigned long nr_mfns, uint32_t add_mapping)
{
    return XC(h, XE_OP_PT, domid, XE_PT_MEMORY_MAP, first_gfn, first_mfn, nr_mfns, add_mapping);
}

int xc_domain_iomem_permission(xc_interface *h, uint32_t domid, unsigned long first_mfn,
                               unsigned long nr_mfns, uint8_t allow_access)
{
    return XC(h, XE_OP_PT, domid, XE_PT_IOMEM_PERM, first_mfn, nr_mfns, allow_access);
}

static int xc_map_pirq(xc_interface *h, uint32_t domid, const uint64_t a[6], int *pirq)
{
    struct xe_req req = {.magic = XE_MAGIC, .op = XE_OP_PT, .domid = domid};
    struct xe_rep rep;

    memcpy(req.a, a, sizeof(req.a));
    if (xe_call(&h->client, &req, NULL, 0, &rep, NULL, 0, NULL) < 0)
        return -1;
    *pirq = (int)rep.a[0];
    return 0;
}

int xc_physdev_map_pirq(xc_interface *h, uint32_t domid, int index, int *pirq)
{
    return xc_map_pirq(h, domid,
                       (const uint64_t[6]){XE_PT_MAP_PIRQ, (uint64_t)index, (uint64_t)*pirq}, pirq);
}

int xc_physdev_map_pirq_msi(xc_interface *h, uint32_t domid, int index, int *pirq, int devfn,
                            int bus, int entry_nr, uint64_t table_base)
{
    return xc_map_pirq(h, domid,
                       (const uint64_t[6]){XE_PT_MAP_PIRQ_MSI, (uint64_t)index, (uint64_t)*pirq,
                                           (uint64_t)(bus << 8 | devfn), (uint64_t)entry_nr,
                                           table_base},
                       pirq);
}

int xc_physdev_unmap_pirq(xc_interface *h, uint32_t domid, int pirq)
{
    return XC(h, XE_OP_PT, domid, XE_PT_UNMAP_PIRQ, (uint64_t)pirq);
}

int xc_domain_bind_pt_pci_irq(xc_interface *h, uint32_t domid, uint8_t machine_irq, uint8_t bus,
                              uint8_t device, uint8_t intx)
{
    return XC(h, XE_OP_PT, domid, XE_PT_BIND_PCI_IRQ, machine_irq, bus, device, intx);
}

int xc_domain_unbind_pt_irq(xc_interface *h, uint32_t domid, uint8_t machine_irq, uint8_t irq_type,
                            uint8_t bus, uint8_t device, uint8_t intx, uint8_t isa_irq)
{
    return XC(h, XE_OP_PT, domid, XE_PT_UNBIND_IRQ, machine_irq, irq_type, bus, device,
              (uint64_t)intx << 8 | isa_irq);
}

int xc_domain_update_msi_irq(xc_interface *h, uint32_t domid, uint32_t gvec, uint32_t pirq,
                             uint32_t gflags, uint64_t gtable)
{
    return XC(h, XE_OP_PT, domid, XE_PT_UPDATE_MSI, gvec, pirq, gflags, gtable);
}

int xc_domain_unbind_msi_irq(xc_interface *h, uint32_t domid, uint32_t gvec, uint32_t pirq,
                             uint32_t gflags)
{
    return XC(h, XE_OP_PT, domid, XE_PT_UNBIND_MSI, gvec, pirq, gflags);
}

/* Local helpers of the library that need no hypervisor. */

void *xc_memalign(xc_interface *h, size_t alignment, size_t size)
{
    void *p;

    (void)h;
    return posix_memalign(&p, alignment, size) ? NULL : p;
}

const char *xc_strerror(xc_interface *h, int errcode)
{
    (void)h;
    return strerror(errcode);
}

const char *xc_error_code_to_desc(int code)
{
    (void)code;
    return "Unknown error code";
}

const xc_error *xc_get_last_error(xc_interface *h)
{
    static const xc_error none;

    (void)h;
    return &none;
}

void xc_clear_last_error(xc_interface *h)
{
    (void)h;
}
