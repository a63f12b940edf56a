/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory: a sparse memfd in which every page has a number ("mfn"), and runs that say which
 * guest page is which. Numbers are handed out once and never again, so a page that a device model
 * still maps keeps its content after the guest gave it away, as on Xen, and a stale mapping is
 * seen, not reused.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>
#include "host.h"

/* Room for pages that come after creation: 64 GiB, sparse, costs address space only. */
#define MEM_HEADROOM (UINT64_C(1) << 24)
/* Guest addresses end at 46 bits. */
#define MEM_MAX_GFN (UINT64_C(1) << 34)

#define SPECIAL_GFN 0xFEFF8u
#define IOREQ_GFN 0xFEFF0u

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

/* Zombies whose last mapping went away are freed now. */
static void mem_reap(struct domain *d)
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

    if (order > 18 || gfn >= MEM_MAX_GFN - nr)
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

    if (src >= MEM_MAX_GFN - nr || dst >= MEM_MAX_GFN - nr)
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

/* ---- dirty pages ---- */

static void dirty_init(struct dirty_log *log, uint64_t nr)
{
    void *p = mmap(NULL, (nr + 63) / 64 * 8, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    log->bits = p == MAP_FAILED ? NULL : p;
    log->nr = p == MAP_FAILED ? 0 : nr;
}

void dirty_set(struct dirty_log *log, uint64_t gfn, uint64_t nr)
{
    uint64_t i;

    for (i = gfn; i < gfn + nr && i < log->nr; i++)
        log->bits[i / 64] |= UINT64_C(1) << (i % 64);
}

void dirty_clear(struct dirty_log *log)
{
    if (log->bits)
        madvise(log->bits, (log->nr + 63) / 64 * 8, MADV_DONTNEED);
}

bool dirty_test(const struct dirty_log *log, uint64_t gfn)
{
    return gfn < log->nr && log->bits[gfn / 64] >> (gfn % 64) & 1;
}

void mem_mark_dirty(struct domain *d, uint64_t gfn, uint64_t nr)
{
    if (d->log.on)
        dirty_set(&d->log, gfn, nr);
    if (d->vram_nr && gfn < d->vram_first + d->vram_nr && d->vram_first < gfn + nr)
        dirty_set(&d->vram, gfn, nr);
}

int mem_track_vram(struct domain *d, uint64_t first, uint32_t nr, uint8_t *bitmap)
{
    uint32_t i;

    if (nr > UINT32_C(1) << (30 - XE_PAGE_SHIFT))
        return -EINVAL;
    if (!nr) {
        d->vram_nr = 0;
        return 0;
    }
    if (d->log.on)
        return -EINVAL; /* the toolstack's log has the pages */
    memset(bitmap, 0, (nr + 7) / 8);
    if (d->vram_nr != nr || d->vram_first != first) {
        /* As HAP does: the first call after a change says that everything is dirty. */
        dirty_clear(&d->vram);
        d->vram_first = first;
        d->vram_nr = nr;
        memset(bitmap, 0xff, (nr + 7) / 8);
        return 0;
    }
    for (i = 0; i < nr; i++)
        if (dirty_test(&d->vram, first + i)) {
            bitmap[i / 8] |= (uint8_t)(1u << (i % 8));
            d->vram.bits[(first + i) / 64] &= ~(UINT64_C(1) << ((first + i) % 64));
        }
    return 0;
}

int mem_modified(struct domain *d, uint64_t pfn, uint64_t nr)
{
    if (!nr || pfn + nr - 1 < pfn || pfn + nr > d->max_gfn)
        return -EINVAL;
    dirty_set(&d->modified, pfn, nr);
    mem_mark_dirty(d, pfn, nr);
    return 0;
}

/* ---- mappings held by processes ---- */

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

/* ---- domains ---- */

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
        pthread_mutex_init(&d->vcpu[i].lock, NULL);
    }
    d->xen = xen_devices_new();
    d->max_pages = (memory_kb + 1024) >> 2;
    r = domain_memory(d, memory_kb - video_kb, mmio_start, nr_vcpus);
    dirty_init(&d->log, MEM_MAX_GFN);
    dirty_init(&d->modified, MEM_MAX_GFN);
    dirty_init(&d->vram, MEM_MAX_GFN);
    if (r < 0 || !d->log.bits || !d->modified.bits || !d->vram.bits) {
        *err = "no memory for the domain";
        domain_destroy(d);
        return NULL;
    }
    d->params[HVM_PARAM_STORE_PFN] = SPECIAL_GFN + 4;
    d->params[HVM_PARAM_IOREQ_PFN] = SPECIAL_GFN + 2;
    d->params[HVM_PARAM_BUFIOREQ_PFN] = SPECIAL_GFN + 1;
    d->params[HVM_PARAM_IDENT_PT] = (uint64_t)(SPECIAL_GFN + 5) << XE_PAGE_SHIFT;
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
    for (i = 0; i < h->mappings->len;) {
        struct mapping *m = g_ptr_array_index(h->mappings, i);

        if (m->dom == d)
            mapping_delete(h, i);
        else
            i++;
    }
    for (i = 0; i < h->sessions->len; i++) {
        struct session *s = g_ptr_array_index(h->sessions, i);

        if (s->dom == d)
            s->dom = NULL;
    }
    if (d->mem && d->mem != MAP_FAILED)
        munmap(d->mem, d->mem_pages << XE_PAGE_SHIFT);
    if (d->memfd >= 0)
        close(d->memfd);
    struct dirty_log *logs[] = {&d->log, &d->modified, &d->vram};
    for (i = 0; i < 3; i++)
        if (logs[i]->bits)
            munmap(logs[i]->bits, (logs[i]->nr + 63) / 64 * 8);
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
