/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains: made as libxl would, with the pages and parameters that a guest has from the start. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>
#include <stdint.h>
#include <xen/sched.h>
#include "domain-life.h"
#include "domain.h"

/* Room for pages that come after creation: 64 GiB, sparse, costs address space only. */
#define MEM_HEADROOM (UINT64_C(1) << 24)

#define SPECIAL_GFN 0xFEFF8u
#define IOREQ_GFN 0xFEFF0u

struct domain *domain_find(struct host *h, uint32_t id)
{
    return g_hash_table_lookup(h->domains, GUINT_TO_POINTER(id));
}

void domain_crash(struct domain *d, const char *fmt, ...)
{
    va_list ap;

    if (d->crashed)
        return;
    d->crashed = d->shutdown = true;
    d->shutdown_reason = SHUTDOWN_crash;
    va_start(ap, fmt);
    d->crash_why = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    host_log(d->host, "d%u: domain crashed: %s", d->id, d->crash_why);
}

void virq_dom_exc(struct host *h)
{
    struct domain *dom0 = domain_find(h, 0);
    unsigned int i;

    for (i = 1; i < dom0->ports->len; i++) {
        struct port *p = g_ptr_array_index(dom0->ports, i);

        if (p && p->state == PORT_VIRQ && p->virq == VIRQ_DOM_EXC)
            port_deliver(p);
    }
}

int domain_shutdown(struct domain *d, uint32_t reason)
{
    if (reason > SHUTDOWN_soft_reset)
        return -EINVAL;
    if (d->shutdown)
        return 0; /* the first reason stays */
    d->shutdown = true;
    d->shutdown_reason = reason;
    host_log(d->host, "d%u: shutdown, reason %u", d->id, reason);
    virq_dom_exc(d->host);
    return 0;
}

static void domain_magic_pages(struct domain *d, unsigned int nr_vcpus, uint64_t low_pages,
                               uint64_t high_end)
{
    /* struct hvm_info_table at 0x9F800: what hvmloader reads; sum of its bytes is zero. */
    uint8_t *info = d->mem + 0x9F800;
    uint32_t len = 48, i;
    uint32_t lo = (uint32_t)low_pages, hi = (uint32_t)high_end, resv = IOREQ_GFN;
    uint8_t sum = 0;

    memcpy(info, "HVM INFO", 8);
    memcpy(info + 8, &len, 4);
    info[13] = 1; /* APIC mode */
    memcpy(info + 16, &nr_vcpus, 4);
    memcpy(info + 20, &lo, 4);
    memcpy(info + 24, &hi, 4);
    memcpy(info + 28, &resv, 4);
    for (i = 0; i < nr_vcpus; i++)
        info[32 + i / 8] |= (uint8_t)(1u << (i % 8));
    for (i = 0; i < len; i++)
        sum = (uint8_t)(sum + info[i]);
    info[12] = (uint8_t)-sum;
}

static int domain_memory(struct domain *d, uint64_t ram_kb, uint64_t mmio_start,
                         unsigned int nr_vcpus)
{
    uint64_t ram = ram_kb >> 2, low = MIN(ram, mmio_start >> XE_PAGE_SHIFT), high = ram - low;
    uint64_t four_g = UINT64_C(1) << 20, i;

    d->mem_pages = ram + MEM_HEADROOM;
    d->memfd = memfd_create("xenemu-ram", MFD_CLOEXEC);
    if (d->memfd < 0 || ftruncate(d->memfd, (off_t)(d->mem_pages << XE_PAGE_SHIFT)) < 0)
        return -errno;
    d->mem = mmap(NULL, d->mem_pages << XE_PAGE_SHIFT, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_NORESERVE, d->memfd, 0);
    if (d->mem == MAP_FAILED)
        return -errno;
    /* RAM comes first and page by page, so that a run of guest pages is a run of the file. */
    d->next_mfn = ram ? ram : 1;
    if (low <= 0xC0) {
        mem_insert(d, 0, low, 0, MEM_RAM_RW);
    } else {
        mem_insert(d, 0, 0xA0, 0, MEM_RAM_RW);
        mem_insert(d, 0xC0, low - 0xC0, 0xC0, MEM_RAM_RW);
        low -= 0x20; /* never populated; only for the count below */
    }
    if (high)
        mem_insert(d, four_g, high, mmio_start >> XE_PAGE_SHIFT, MEM_RAM_RW);
    d->tot_pages = low + high;
    for (i = 0; i < 8; i++)
        mem_populate(d, SPECIAL_GFN + i, 0);
    for (i = 0; i < 8; i++)
        mem_populate(d, IOREQ_GFN + i, 0);
    if (ram > 0xA0)
        domain_magic_pages(d, nr_vcpus, MIN(ram, mmio_start >> XE_PAGE_SHIFT),
                           high ? four_g + high : 0);
    return 0;
}

struct domain *domain_create(struct host *h, uint32_t id, const char *name, uint64_t memory_kb,
                             uint64_t video_kb, uint64_t mmio_start, unsigned int nr_vcpus,
                             const char **err)
{
    struct domain *d;
    unsigned int i;
    int r;

    *err = NULL;
    if (domain_find(h, id)) {
        *err = "domain exists";
        return NULL;
    }
    if (id && (id >= DOMID_FIRST_RESERVED || !nr_vcpus || nr_vcpus > XE_MAX_VCPUS ||
               memory_kb <= video_kb || memory_kb > UINT64_C(1) << 34 || mmio_start > 0xF0000000u ||
               mmio_start < 1u << 20)) {
        *err = "domain id, memory, mmio_start or vcpus out of range";
        return NULL;
    }
    d = g_new0(struct domain, 1);
    d->host = h;
    d->id = id;
    d->memfd = -1;
    d->name = g_strdup(name);
    d->runs = g_array_new(FALSE, TRUE, sizeof(struct mem_run));
    d->zombies = g_array_new(FALSE, TRUE, sizeof(struct mem_run));
    d->pinned = g_array_new(FALSE, TRUE, sizeof(struct mem_run));
    d->msi = g_array_new(FALSE, TRUE, sizeof(struct msi_record));
    d->pt_log = g_ptr_array_new_with_free_func(g_free);
    d->ports = g_ptr_array_new();
    d->grants = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);
    if (getrandom(d->uuid, sizeof(d->uuid), 0) != (ssize_t)sizeof(d->uuid))
        memset(d->uuid, 0x58, sizeof(d->uuid));
    g_hash_table_insert(h->domains, GUINT_TO_POINTER(id), d);
    if (!id)
        return d; /* dom0 is here for its event channels only */

    d->nr_vcpus = nr_vcpus;
    d->vcpu = g_new0(struct vcpu, nr_vcpus);
    for (i = 0; i < nr_vcpus; i++) {
        d->vcpu[i].id = i;
        cpu_init(&d->vcpu[i].cpu);
        pthread_mutex_init(&d->vcpu[i].lock, NULL);
    }
    d->xen = xen_devices_new();
    d->max_pages = (memory_kb + 1024) >> 2;
    r = domain_memory(d, memory_kb - video_kb, mmio_start, nr_vcpus);
    dirty_init(&d->log, XE_MAX_GFN);
    dirty_init(&d->modified, XE_MAX_GFN);
    dirty_init(&d->vram, XE_MAX_GFN);
    if (r < 0 || !d->log.bits || !d->modified.bits || !d->vram.bits) {
        *err = "no memory for the domain";
        domain_destroy(d);
        return NULL;
    }
    d->params[HVM_PARAM_STORE_PFN] = SPECIAL_GFN + 4;
    d->params[HVM_PARAM_IOREQ_PFN] = SPECIAL_GFN + 2;
    d->params[HVM_PARAM_BUFIOREQ_PFN] = SPECIAL_GFN + 1;
    d->params[HVM_PARAM_IDENT_PT] = (uint64_t)(SPECIAL_GFN + 5) << XE_PAGE_SHIFT;
    d->params[HVM_PARAM_MONITOR_RING_PFN] = SPECIAL_GFN + 6;
    d->params[HVM_PARAM_CONSOLE_PFN] = SPECIAL_GFN + 7;
    d->params[HVM_PARAM_IOREQ_SERVER_PFN] = IOREQ_GFN;
    d->params[HVM_PARAM_NR_IOREQ_SERVER_PAGES] = 8;
    d->params[HVM_PARAM_HPET_ENABLED] = 1;
    d->ioreq_gfn_mask = 0xff;
    d->legacy_gfn_mask = 3;
    gnttab_add(d, 1, 0, d->params[HVM_PARAM_STORE_PFN], false);
    gnttab_add(d, 0, 0, d->params[HVM_PARAM_CONSOLE_PFN], false);
    d->params[HVM_PARAM_STORE_EVTCHN] = port_alloc_unbound(d, 0)->nr;
    d->params[HVM_PARAM_CONSOLE_EVTCHN] = port_alloc_unbound(d, 0)->nr;
    return d;
}

void domain_destroy(struct domain *d)
{
    struct host *h = d->host;
    unsigned int i;

    d->dying = true;
    ioreq_abort_waiters(d, NULL, "the domain is being destroyed");
    while (d->inflight)
        pthread_cond_wait(&h->idle, &h->big);
    for (i = 0; i < XE_MAX_SERVERS; i++)
        if (d->server[i])
            ioreq_destroy(d, i);
    for (i = 0; i < d->ports->len; i++)
        if (g_ptr_array_index(d->ports, i))
            port_free(g_ptr_array_index(d->ports, i));
    mapping_drop_domain(h, d);
    host_event(h, d, EVENT_DOMAIN_GONE, NULL);
    if (d->mem && d->mem != MAP_FAILED)
        munmap(d->mem, d->mem_pages << XE_PAGE_SHIFT);
    if (d->memfd >= 0)
        close(d->memfd);
    dirty_free(&d->log);
    dirty_free(&d->modified);
    dirty_free(&d->vram);
    g_hash_table_remove(h->domains, GUINT_TO_POINTER(d->id));
    g_array_free(d->runs, TRUE);
    g_array_free(d->zombies, TRUE);
    g_array_free(d->pinned, TRUE);
    g_array_free(d->msi, TRUE);
    g_ptr_array_free(d->pt_log, TRUE);
    g_ptr_array_free(d->ports, TRUE);
    g_hash_table_destroy(d->grants);
    g_free(d->xen);
    g_free(d->vcpu);
    g_free(d->name);
    g_free(d->crash_why);
    g_free(d);
}
