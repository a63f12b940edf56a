/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands beyond qtest; docs/xenemu.1 lists them for users, the table at the end is the truth. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "../host/host.h"

struct cmd {
    struct session *s;
    struct domain *d;
    char **w; /* w[0] is the command */
    unsigned int n;
    uint64_t a[16]; /* numbers among the words, by position; 0 if not a number */
};

static char *fail(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

static char *fail(const char *fmt, ...)
{
    va_list ap;
    char *t, *r;

    va_start(ap, fmt);
    t = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    r = g_strdup_printf("FAIL %s", t);
    g_free(t);
    return r;
}

static char *done(int r)
{
    return r < 0 ? fail("%s", strerror(-r)) : g_strdup("OK");
}

static const char *key(struct cmd *c, const char *name)
{
    size_t len = strlen(name);
    unsigned int i;

    for (i = 1; i < c->n; i++)
        if (!strncmp(c->w[i], name, len) && c->w[i][len] == '=')
            return c->w[i] + len + 1;
    return NULL;
}

static uint64_t key_u64(struct cmd *c, const char *name, uint64_t def)
{
    const char *t = key(c, name);
    uint64_t v;

    return t && parse_u64(t, &v) ? v : def;
}

/* ---- domains and virtual CPUs ---- */

static char *cmd_domain_create(struct cmd *c)
{
    const char *err, *name = key(c, "name");
    uint64_t mem = key_u64(c, "memory_kb", 128 * 1024);
    char tmp[32];
    struct domain *d;

    snprintf(tmp, sizeof(tmp), "d%" PRIu64, key_u64(c, "id", 1));
    d = domain_create(c->s->host, (uint32_t)key_u64(c, "id", 1), name ? name : tmp, mem,
                      key_u64(c, "video_kb", 0), key_u64(c, "mmio_start", 0xF0000000),
                      (unsigned int)key_u64(c, "vcpus", 1), &err);
    if (!d)
        return fail("%s", err);
    c->s->dom = d;
    c->s->vcpu = 0;
    return g_strdup_printf("OK %u", d->id);
}

static char *cmd_domain_destroy(struct cmd *c)
{
    domain_destroy(c->d);
    virq_dom_exc(c->s->host);
    return g_strdup("OK");
}

static char *cmd_domain(struct cmd *c)
{
    struct domain *d = domain_find(c->s->host, (uint32_t)c->a[1]);

    if (!d || !d->id)
        return fail("no such domain");
    c->s->dom = d;
    c->s->vcpu = 0;
    return g_strdup("OK");
}

static char *cmd_domains(struct cmd *c)
{
    GString *t = g_string_new("OK");
    GHashTableIter it;
    gpointer v;

    g_hash_table_iter_init(&it, c->s->host->domains);
    while (g_hash_table_iter_next(&it, NULL, &v))
        if (((struct domain *)v)->id)
            g_string_append_printf(t, " %u", ((struct domain *)v)->id);
    return g_string_free(t, FALSE);
}

static char *cmd_socket(struct cmd *c)
{
    return done(host_listen(c->s->host, c->w[1], c->d));
}

static char *cmd_vcpu(struct cmd *c)
{
    if (c->a[1] >= c->d->nr_vcpus)
        return fail("no such vcpu");
    c->s->vcpu = (unsigned int)c->a[1];
    return g_strdup("OK");
}

static char *cmd_state(struct cmd *c)
{
    static const char *const reasons[] = {"poweroff", "reboot",   "suspend",
                                          "crash",    "watchdog", "soft-reset"};
    struct domain *d = c->d;

    if (d->crashed)
        return g_strdup_printf("OK crashed %s", d->crash_why);
    if (d->shutdown)
        return g_strdup_printf("OK shutdown %s", d->shutdown_reason < G_N_ELEMENTS(reasons)
                                                     ? reasons[d->shutdown_reason]
                                                     : "?");
    if (d->params[HVM_PARAM_ACPI_S_STATE] == 3)
        return g_strdup("OK s3");
    return g_strdup(d->paused ? "OK paused" : "OK running");
}

static char *cmd_revive(struct cmd *c)
{
    c->d->shutdown = c->d->crashed = false;
    c->d->shutdown_reason = 0;
    g_clear_pointer(&c->d->crash_why, g_free);
    return g_strdup("OK");
}

static char *cmd_pause(struct cmd *c)
{
    c->d->paused = !strcmp(c->w[0], "pause");
    return g_strdup("OK");
}

/* ---- accesses that qtest has no word for ---- */

/* ins|outs PORT SIZE COUNT RAM [df]; movs_in|movs_out MMIO SIZE COUNT RAM [df] */
static char *cmd_string(struct cmd *c)
{
    bool port = c->w[0][0] != 'm', in = strstr(c->w[0], "in") != NULL;
    bool df = c->n > 5 && !strcmp(c->w[5], "df");
    uint64_t addr = c->a[1], count = c->a[3], ram = c->a[4];
    unsigned int size = (unsigned int)c->a[2];
    enum io_result r = IO_OK;
    const char *why = NULL;

    if ((size != 1 && size != 2 && size != 4 && size != 8) || (port && size == 8) || !count ||
        count > 1u << 24)
        return fail("bad size or count");
    while (count && r != IO_FAIL) {
        uint32_t off = ram & (XE_PAGE - 1), here, dev = addr & (XE_PAGE - 1);
        ioreq_t req = {.type = port ? IOREQ_TYPE_PIO : IOREQ_TYPE_COPY,
                       .addr = addr,
                       .size = size,
                       .dir = in ? IOREQ_READ : IOREQ_WRITE,
                       .df = df,
                       .data = ram,
                       .data_is_ptr = 1,
                       .state = STATE_IOREQ_READY};

        /* Xen cuts where the buffer leaves its page, and MMIO where the device address does. */
        here = df ? (off + size) / size : (XE_PAGE - off) / size;
        if (!port)
            here = MIN(here, df ? (dev + size) / size : (XE_PAGE - dev) / size);
        req.count = (uint32_t)MIN(count, here ? here : 1);
        r = io_access(c->d, c->s->vcpu, &req, &why);
        if (in) {
            pthread_mutex_lock(&c->s->host->big);
            mem_mark_dirty(c->d, ram >> XE_PAGE_SHIFT, 1);
            pthread_mutex_unlock(&c->s->host->big);
        }
        count -= req.count;
        ram = df ? ram - (uint64_t)req.count * size : ram + (uint64_t)req.count * size;
        if (!port)
            addr = df ? addr - (uint64_t)req.count * size : addr + (uint64_t)req.count * size;
    }
    return r == IO_FAIL ? fail("%s", why) : g_strdup("OK");
}

bool parse_bdf(const char *t, uint32_t *bdf)
{
    unsigned int b, dv, f;
    uint64_t v;

    if (sscanf(t, "%x:%x.%u", &b, &dv, &f) == 3 && b < 256 && dv < 32 && f < 8) {
        *bdf = b << 8 | dv << 3 | f;
        return true;
    }
    if (sscanf(t, "%x.%u", &dv, &f) == 2 && strchr(t, '.') && dv < 32 && f < 8) {
        *bdf = dv << 3 | f;
        return true;
    }
    if (!parse_u64(t, &v) || v > 0xffff)
        return false;
    *bdf = (uint32_t)v;
    return true;
}

static bool pci_request(struct cmd *c, ioreq_t *req)
{
    uint32_t bdf, size = (uint32_t)c->a[3];

    if (!parse_bdf(c->w[1], &bdf) || (size != 1 && size != 2 && size != 4) || c->a[2] > 255 ||
        c->a[2] % size)
        return false;
    memset(req, 0, sizeof(*req));
    req->type = IOREQ_TYPE_PCI_CONFIG;
    req->addr = (uint64_t)bdf << 32 | c->a[2];
    req->size = size;
    req->count = 1;
    req->state = STATE_IOREQ_READY;
    req->dir = c->w[0][3] == 'r' ? IOREQ_READ : IOREQ_WRITE;
    req->data = c->w[0][3] == 'r' ? 0 : c->a[4] & (UINT64_MAX >> (64 - 8 * size));
    return true;
}

static char *cmd_pci(struct cmd *c)
{
    const char *why = NULL;
    ioreq_t req;

    if (!pci_request(c, &req))
        return fail("usage: pciread BB:DD.F REG SIZE, pciwrite BB:DD.F REG SIZE VALUE");
    if (io_access(c->d, c->s->vcpu, &req, &why) == IO_FAIL)
        return fail("%s", why);
    if (req.dir == IOREQ_WRITE)
        return g_strdup("OK");
    return g_strdup_printf("OK 0x%0*" PRIx64, (int)req.size * 2,
                           req.data & (UINT64_MAX >> (64 - 8 * req.size)));
}

static char *cmd_bufwrite(struct cmd *c)
{
    ioreq_t req = {.type = IOREQ_TYPE_COPY,
                   .addr = c->a[1],
                   .size = (uint32_t)c->a[2],
                   .count = 1,
                   .dir = IOREQ_WRITE,
                   .data = c->a[3]};

    switch (io_buffered(c->d, &req)) {
    case IO_OK:
        return g_strdup("OK");
    default:
        return fail("no server takes it, or the ring is full");
    }
}

static char *cmd_broadcast(struct cmd *c)
{
    bool inv = !strcmp(c->w[0], "invalidate");
    const char *why = NULL;
    enum io_result r =
        io_broadcast(c->d, c->s->vcpu, inv ? IOREQ_TYPE_INVALIDATE : IOREQ_TYPE_TIMEOFFSET,
                     inv ? UINT64_MAX : c->a[1], &why);

    return r == IO_OK ? g_strdup("OK") : fail("%s", why ? why : "no ioreq server");
}

/*
 * The hot loop of the benchmarks: COUNT times the access, timed one by one in this process, where
 * the virtual CPU is. → n, total, min, median, 99th percentile, max in nanoseconds.
 */
static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static bool bench_request(struct cmd *c, ioreq_t *req)
{
    static const char *const names[] = {"inb",    "inw",    "inl",    "outb",  "outw",
                                        "outl",   "readb",  "readw",  "readl", "readq",
                                        "writeb", "writew", "writel", "writeq"};
    static const uint8_t sizes[] = {1, 2, 4, 1, 2, 4, 1, 2, 4, 8, 1, 2, 4, 8};
    unsigned int i;

    memset(req, 0, sizeof(*req));
    if (!strncmp(c->w[0], "pci", 3))
        return c->n >= 4 && pci_request(c, req);
    if (!strcmp(c->w[0], "ins") || !strcmp(c->w[0], "outs")) {
        req->type = IOREQ_TYPE_PIO;
        req->addr = c->a[1];
        req->size = (uint32_t)c->a[2];
        req->count = (uint32_t)c->a[3];
        req->data = c->a[4];
        req->data_is_ptr = 1;
        req->dir = c->w[0][0] == 'i' ? IOREQ_READ : IOREQ_WRITE;
        req->state = STATE_IOREQ_READY;
        return c->n >= 5 && req->count && req->size && req->size <= 4;
    }
    for (i = 0; i < G_N_ELEMENTS(names); i++)
        if (!strcmp(c->w[0], names[i])) {
            req->type = i < 6 ? IOREQ_TYPE_PIO : IOREQ_TYPE_COPY;
            req->dir = c->w[0][0] == 'i' || c->w[0][0] == 'r' ? IOREQ_READ : IOREQ_WRITE;
            req->addr = c->a[1];
            req->data = c->a[2];
            req->size = sizes[i];
            req->count = 1;
            req->state = STATE_IOREQ_READY;
            return c->n >= 2;
        }
    return false;
}

static char *cmd_bench(struct cmd *c)
{
    uint64_t n = c->a[1], i, total = 0;
    struct cmd sub = *c;
    const char *why = NULL;
    ioreq_t req, r;
    uint32_t *t;
    char *out;

    sub.w += 2;
    sub.n -= 2;
    memmove(sub.a, sub.a + 2, sizeof(sub.a) - 2 * sizeof(sub.a[0]));
    if (!n || n > 10000000 || !bench_request(&sub, &req))
        return fail("usage: bench COUNT in*|out*|read*|write*|ins|outs|pciread|pciwrite ...");
    t = g_new(uint32_t, n);
    for (i = 0; i < n; i++) {
        struct timespec a, b;
        uint64_t ns;

        r = req;
        clock_gettime(CLOCK_MONOTONIC, &a);
        if (io_access(c->d, c->s->vcpu, &r, &why) == IO_FAIL) {
            g_free(t);
            return fail("%s", why);
        }
        clock_gettime(CLOCK_MONOTONIC, &b);
        ns = (uint64_t)(b.tv_sec - a.tv_sec) * 1000000000u + (uint64_t)b.tv_nsec -
             (uint64_t)a.tv_nsec;
        t[i] = (uint32_t)MIN(ns, UINT32_MAX);
        total += ns;
    }
    qsort(t, n, sizeof(*t), compare_u32);
    out = g_strdup_printf("OK n=%" PRIu64 " total=%" PRIu64 " min=%u p50=%u p99=%u max=%u", n,
                          total, t[0], t[n / 2], t[n * 99 / 100], t[n - 1]);
    g_free(t);
    return out;
}

/*
 * poll in*|read*|pciread… MS MASK VALUE [not]: repeats a read until masked it is (is not) the
 * value, or for so long. → the last value, so that a script or a comparison sees what it was.
 */
static char *cmd_poll(struct cmd *c)
{
    int64_t end;
    struct cmd sub = *c;
    const char *why = NULL;
    unsigned int k = c->n, turns = 0;
    bool negate = !strcmp(c->w[c->n - 1], "not");
    uint64_t ms, mask, value;
    ioreq_t req, r;

    k -= negate;
    if (k < 6 || k > G_N_ELEMENTS(c->a))
        return fail("usage: poll in*|read*|pciread ... MS MASK VALUE [not]");
    ms = c->a[k - 3];
    mask = c->a[k - 2];
    value = c->a[k - 1];
    sub.w += 1;
    sub.n = k - 4;
    memmove(sub.a, sub.a + 1, sizeof(sub.a) - sizeof(sub.a[0]));
    if (!bench_request(&sub, &req) || req.dir != IOREQ_READ || req.data_is_ptr)
        return fail("only a read can be polled");
    end = g_get_monotonic_time() + (int64_t)MIN(ms, 60000) * 1000;
    for (;;) {
        r = req;
        if (io_access(c->d, c->s->vcpu, &r, &why) == IO_FAIL)
            return fail("%s", why);
        r.data &= UINT64_MAX >> (64 - 8 * r.size);
        if (((r.data & mask) == value) != negate || g_get_monotonic_time() > end)
            return g_strdup_printf("OK 0x%" PRIx64, r.data);
        g_usleep(turns++ < 20 ? 20 : 200);
    }
}

/* sum ADDR LEN: a checksum of guest memory; pages that are not RAM are skipped. */
static char *cmd_sum(struct cmd *c)
{
    uint64_t gpa = c->a[1], len = c->a[2], left, sum = UINT64_C(0xcbf29ce484222325), i;

    if (len > UINT64_C(1) << 32)
        return fail("at most 4 GiB");
    while (len) {
        uint64_t n = MIN(len, XE_PAGE - (gpa & (XE_PAGE - 1)));
        const uint8_t *p = mem_ptr(c->d, gpa, &left, NULL);

        for (i = 0; p && i + 8 <= n; i += 8) {
            uint64_t v;

            memcpy(&v, p + i, 8);
            sum = (sum ^ v) * UINT64_C(0x100000001b3);
            sum ^= sum >> 29;
        }
        for (; p && i < n; i++)
            sum = (sum ^ p[i]) * UINT64_C(0x100000001b3);
        gpa += n;
        len -= n;
    }
    return g_strdup_printf("OK 0x%016" PRIx64, sum);
}

/* ---- interrupts ---- */

/* As irqstate, but levels and routes only: what does not depend on how often a line moved. */
static char *cmd_lines(struct cmd *c)
{
    struct domain *d = c->d;

    return g_strdup_printf("OK gsi=0x%" PRIx64 " isa=0x%x route=%u,%u,%u,%u", d->gsi_level,
                           d->isa_level, d->link_route[0], d->link_route[1], d->link_route[2],
                           d->link_route[3]);
}

static char *cmd_irqstate(struct cmd *c)
{
    struct domain *d = c->d;

    if (c->n > 1)
        return c->a[1] < XE_NR_GSI
                   ? g_strdup_printf("OK %u", (unsigned int)(d->gsi_level >> c->a[1] & 1))
                   : fail("no such line");
    return g_strdup_printf("OK gsi=0x%" PRIx64
                           " isa=0x%x intx=0x%x,0x%x,0x%x,0x%x route=%u,%u,%u,%u "
                           "calls=%" PRIu64 " unchanged=%" PRIu64,
                           d->gsi_level, d->isa_level, d->pci_intx[0], d->pci_intx[1],
                           d->pci_intx[2], d->pci_intx[3], d->link_route[0], d->link_route[1],
                           d->link_route[2], d->link_route[3], d->irq_ops, d->irq_ops_same);
}

static char *cmd_intx(struct cmd *c)
{
    uint32_t bdf;
    unsigned int pin = (unsigned int)c->a[2];

    if (!parse_bdf(c->w[1], &bdf) || bdf > 255 || pin > 3)
        return fail("usage: intx DD.F PIN");
    return g_strdup_printf("OK %u gsi=%u", c->d->pci_intx[pin] >> (bdf >> 3) & 1,
                           irq_intx_gsi(bdf >> 3, pin));
}

static char *cmd_msi(struct cmd *c)
{
    GString *t = g_string_new("OK");
    unsigned int i;

    g_string_append_printf(t, " total=%" PRIu64, c->d->msi_total);
    for (i = 0; i < c->d->msi->len; i++) {
        const struct msi_record *m = &g_array_index(c->d->msi, struct msi_record, i);

        g_string_append_printf(t, " 0x%" PRIx64 ":0x%x", m->addr, m->data);
    }
    g_array_set_size(c->d->msi, 0);
    return g_string_free(t, FALSE);
}

static char *cmd_watch(struct cmd *c)
{
    unsigned int i;

    c->s->want = 0;
    for (i = 1; i < c->n; i++) {
        if (!strcmp(c->w[i], "irq"))
            c->s->want |= SESSION_IRQ;
        else if (!strcmp(c->w[i], "msi"))
            c->s->want |= SESSION_MSI;
        else if (!strcmp(c->w[i], "evtchn"))
            c->s->want |= SESSION_EVTCHN;
        else if (strcmp(c->w[i], "none"))
            return fail("usage: watch [irq] [msi] [evtchn] [none]");
    }
    return g_strdup("OK");
}

/* ---- parameters and memory ---- */

static char *cmd_xenparam(struct cmd *c)
{
    uint64_t v;
    int r;

    if (c->n > 2)
        return done(param_set(c->d, (uint32_t)c->a[1], c->a[2]));
    r = param_get(c->d, (uint32_t)c->a[1], &v);
    return r ? done(r) : g_strdup_printf("OK 0x%" PRIx64, v);
}

static char *cmd_populate(struct cmd *c)
{
    uint64_t i, n = c->n > 2 ? c->a[2] : 1;
    int r = 0;

    for (i = 0; i < n && !r; i++)
        r = mem_populate(c->d, c->a[1] + i, 0);
    return done(r);
}

/* The guest gives pages away; Xen then tells every device model to drop its mappings. */
static char *cmd_balloon(struct cmd *c)
{
    uint64_t n = c->n > 2 ? c->a[2] : 1;
    bool quiet = c->n > 3 && !strcmp(c->w[3], "quiet");
    const char *why = NULL;
    int removed;

    pthread_mutex_lock(&c->s->host->big);
    removed = mem_remove(c->d, c->a[1], n, true);
    pthread_mutex_unlock(&c->s->host->big);
    if (!quiet &&
        io_broadcast(c->d, c->s->vcpu, IOREQ_TYPE_INVALIDATE, UINT64_MAX, &why) == IO_FAIL)
        return fail("%s", why);
    return g_strdup_printf("OK %d", removed);
}

static char *cmd_memory(struct cmd *c)
{
    static const char *const types[] = {"rw", "ro", "mmio", "ioreq"};
    GString *t = g_string_new(NULL);
    unsigned int i;

    g_string_append_printf(t, "OK pages=%" PRIu64 " max=%" PRIu64 " gone=%u", c->d->tot_pages,
                           c->d->max_pages, c->d->zombies->len);
    for (i = 0; i < c->d->runs->len; i++) {
        const struct mem_run *r = &g_array_index(c->d->runs, struct mem_run, i);

        g_string_append_printf(t, " 0x%" PRIx64 "+0x%" PRIx64 ":%s", r->gfn, r->nr, types[r->type]);
    }
    for (i = 0; i < c->d->pinned->len; i++) {
        const struct mem_run *r = &g_array_index(c->d->pinned, struct mem_run, i);

        g_string_append_printf(t, " pin:0x%" PRIx64 "+0x%" PRIx64 ":%" PRIu64, r->gfn, r->nr,
                               r->mfn);
    }
    return g_string_free(t, FALSE);
}

static char *cmd_setmaxmem(struct cmd *c)
{
    c->d->max_pages = c->a[1] >> 2;
    return g_strdup("OK");
}

static void append_dirty(GString *t, struct dirty_log *log, uint64_t max_gfn)
{
    uint64_t i, start = UINT64_MAX;

    for (i = 0; i <= max_gfn + 1; i++) {
        bool dirty = i <= max_gfn && dirty_test(log, i);

        if (!dirty && start == UINT64_MAX && i < log->nr && !log->bits[i / 64]) {
            i |= 63; /* nothing in this word */
            continue;
        }
        if (dirty && start == UINT64_MAX)
            start = i;
        if (!dirty && start != UINT64_MAX) {
            g_string_append_printf(t, " 0x%" PRIx64 "+0x%" PRIx64, start, i - start);
            start = UINT64_MAX;
        }
    }
    dirty_clear(log);
}

static char *cmd_dirty(struct cmd *c)
{
    const char *what = c->n > 1 ? c->w[1] : "";
    GString *t;

    if (!strcmp(what, "on") || !strcmp(what, "off")) {
        c->d->log.on = what[1] == 'n';
        dirty_clear(&c->d->log);
        c->d->vram_nr = 0;
        return g_strdup("OK");
    }
    if (strcmp(what, "query") && strcmp(what, "modified"))
        return fail("usage: dirty on|off|query|modified");
    t = g_string_new("OK");
    append_dirty(t, what[0] == 'q' ? &c->d->log : &c->d->modified, c->d->max_gfn);
    return g_string_free(t, FALSE);
}

/* ---- grants and event channels, the guest's side ---- */

static char *cmd_grant(struct cmd *c)
{
    if (c->n == 4 || c->n == 5)
        if (!strcmp(c->w[1], "add"))
            return done(gnttab_add(c->d, (uint32_t)c->a[2], 0, c->a[3],
                                   c->n == 5 && !strcmp(c->w[4], "ro")));
    if (c->n == 3 && !strcmp(c->w[1], "remove"))
        return done(gnttab_remove(c->d, (uint32_t)c->a[2]));
    if (c->n == 2 && !strcmp(c->w[1], "list")) {
        GString *t = g_string_new("OK");
        GHashTableIter it;
        gpointer k, v;

        g_hash_table_iter_init(&it, c->d->grants);
        while (g_hash_table_iter_next(&it, &k, &v))
            g_string_append_printf(t, " %u:0x%" PRIx64 ":%u", GPOINTER_TO_UINT(k),
                                   ((struct grant *)v)->gfn, ((struct grant *)v)->in_use);
        return g_string_free(t, FALSE);
    }
    return fail("usage: grant add REF GFN [ro] | remove REF | list");
}

static char *cmd_evtchn(struct cmd *c)
{
    const char *what = c->n > 1 ? c->w[1] : "";
    struct domain *d = !strcmp(what, "alloc0") ? domain_find(c->s->host, 0) : c->d;
    struct port *p;

    if (!d)
        return fail("no domain selected");
    if (!strcmp(what, "alloc") || !strcmp(what, "alloc0")) {
        p = port_alloc_unbound(d, 0);
        return p ? g_strdup_printf("OK %u", p->nr) : fail("no port left");
    }
    if (!strcmp(what, "list")) {
        GString *t = g_string_new("OK");
        unsigned int i;

        for (i = 1; i < d->ports->len; i++) {
            p = g_ptr_array_index(d->ports, i);
            if (p)
                g_string_append_printf(t, " %u:%s%s:%" PRIu64, p->nr,
                                       p->state == PORT_INTERDOMAIN ? "bound" : "unbound",
                                       p->xen ? ":xen" : "", p->events);
        }
        return g_string_free(t, FALSE);
    }
    p = c->n > 2 ? port_get(d, (uint32_t)c->a[2]) : NULL;
    if (!p)
        return fail("usage: evtchn alloc | list | send PORT | pending PORT | close PORT");
    if (!strcmp(what, "send")) {
        port_notify_peer(p);
        return g_strdup("OK");
    }
    if (!strcmp(what, "pending")) {
        bool was = p->pending;

        p->pending = false;
        return g_strdup_printf("OK %d %" PRIu64, was, p->events);
    }
    if (!strcmp(what, "close") && !p->xen) {
        port_free(p);
        return g_strdup("OK");
    }
    return fail("no such evtchn command");
}

/* ---- faults ---- */

static const struct {
    const char *name;
    int value;
} errnos[] = {
    {"EPERM", EPERM},     {"ENOENT", ENOENT},         {"EINTR", EINTR},   {"EIO", EIO},
    {"EAGAIN", EAGAIN},   {"ENOMEM", ENOMEM},         {"EACCES", EACCES}, {"EFAULT", EFAULT},
    {"EBUSY", EBUSY},     {"EEXIST", EEXIST},         {"EINVAL", EINVAL}, {"ENOSPC", ENOSPC},
    {"ENODATA", ENODATA}, {"EOPNOTSUPP", EOPNOTSUPP}, {"ESRCH", ESRCH},   {"ENOSYS", ENOSYS},
    {"EMFILE", EMFILE},   {"EFBIG", EFBIG},           {"EROFS", EROFS},
};

/* A-B or A. */
static bool fault_range(const char *text, uint64_t *first, uint64_t *last)
{
    const char *dash = strchr(text, '-');
    char *head = dash ? g_strndup(text, (gsize)(dash - text)) : g_strdup(text);
    bool ok = parse_u64(head, first) && (!dash || parse_u64(dash + 1, last));

    g_free(head);
    if (ok && !dash)
        *last = *first;
    return ok && *first <= *last;
}

static bool starts_with_any(const char *text, const char *const *heads, unsigned int n)
{
    unsigned int i;

    for (i = 0; i < n; i++)
        if (g_str_has_prefix(text, heads[i]))
            return true;
    return false;
}

/* Which part of an operation's calls fails, and how. NULL, or what is wrong with it. */
static const char *fault_details(struct cmd *c, struct fault *f)
{
    const char *drive = key(c, "drive"), *few = key(c, "short");
    bool disk = f->op >= XE_OP_DISK && f->op != UINT32_MAX;
    const char *range = key(c, disk ? "lba" : "gfn");
    unsigned int i;

    for (i = 2; i < c->n; i++) {
        static const char *const all[] = {"nth=", "count=", "errno="};
        static const char *const pages[] = {"gfn="}, *const disks[] = {"lba=", "drive=", "short="};

        if (!starts_with_any(c->w[i], all, 3) &&
            !starts_with_any(c->w[i], disk ? disks : pages, disk ? 3 : 1))
            return "unknown detail; see xenemu(1), FAULTS";
    }
    if (range && !disk && f->op != XE_OP_MAP && f->op != XE_OP_POPULATE)
        return "only map and populate are called for pages";
    if (range && !fault_range(range, &f->gfn, &f->gfn_end))
        return "no range";
    if (drive && (strlen(drive) != 3 || strncmp(drive, "hd", 2)))
        return "drives are hda ... hdd";
    if (drive)
        g_strlcpy(f->drive, drive, sizeof(f->drive));
    if (few && (f->op == XE_OP_DISK + 2 || f->op == XE_OP_DISK + 3 || key(c, "errno") ||
                !parse_u64(few, &f->shorter)))
        return "short=BYTES is for reads and writes, in the place of errno";
    return NULL;
}

static char *cmd_fault(struct cmd *c)
{
    GArray *a = c->s->host->faults;
    const char *what = c->n > 1 ? c->w[1] : "list", *e = key(c, "errno"), *wrong;
    struct fault f = {.count = (unsigned int)key_u64(c, "count", 1),
                      .gfn = XE_INVALID_GFN,
                      .shorter = FAULT_FAILS};
    unsigned int i;

    if (!strcmp(what, "clear")) {
        g_array_set_size(a, 0);
        return g_strdup("OK");
    }
    if (!strcmp(what, "list")) {
        GString *t = g_string_new("OK");

        for (i = 0; i < a->len; i++) {
            const struct fault *x = &g_array_index(a, struct fault, i);

            g_string_append_printf(t, " %s:hits=%u", op_name(x->op), x->hits);
        }
        return g_string_free(t, FALSE);
    }
    if (!strcmp(what, "names"))
        return op_names();
    f.op = op_by_name(what);
    if (!f.op)
        return fail("no such operation; see xenemu(1), FAULTS");
    if (!key_u64(c, "nth", 1))
        return fail("the first call is nth=1");
    f.after = (unsigned int)key_u64(c, "nth", 1) - 1;
    if (key(c, "count") && !strcmp(key(c, "count"), "all"))
        f.count = UINT32_MAX;
    f.err = f.op >= XE_OP_DISK && f.op != UINT32_MAX ? EIO : ENOMEM;
    if (e) {
        uint64_t v;

        f.err = 0;
        for (i = 0; i < G_N_ELEMENTS(errnos); i++)
            if (!strcmp(errnos[i].name, e))
                f.err = errnos[i].value;
        if (!f.err && parse_u64(e, &v) && v && v < 4096)
            f.err = (int)v;
        if (!f.err)
            return fail("no such errno");
    }
    wrong = fault_details(c, &f);
    if (wrong)
        return fail("%s", wrong);
    if (a->len >= 64)
        return fail("too many faults");
    g_array_append_val(a, f);
    return g_strdup("OK");
}

/* From xenemu run, for each system call on a drive's file: OP DRIVE FIRST LAST CACHED, where the
 * range is of sectors. The answer: 0, or the errno, or 0 and how many bytes at most. */
static char *cmd_diskcall(struct cmd *c)
{
    uint64_t shorter = FAULT_FAILS;
    int r = fault_disk(c->s->host, op_by_name(c->w[1]), c->w[2], c->a[3], c->a[4], c->a[5] != 0,
                       &shorter);

    return r > 0 ? g_strdup_printf("OK 0 %" PRIu64, shorter) : g_strdup_printf("OK %d", -r);
}

/* ---- looking ---- */

static char *cmd_servers(struct cmd *c)
{
    static const char *const types[] = {"port", "mmio", "pci"};
    GString *t;
    unsigned int id, k, i;

    if (c->n > 1 && !strcmp(c->w[1], "destroy")) { /* what making the domain anew would do */
        for (id = 0; id < XE_MAX_SERVERS; id++)
            if (c->d->server[id])
                ioreq_destroy(c->d, id);
        return g_strdup("OK");
    }
    t = g_string_new("OK");
    for (id = 0; id < XE_MAX_SERVERS; id++) {
        struct server *s = c->d->server[id];

        if (!s)
            continue;
        g_string_append_printf(t, " server=%u:%s:sent=%" PRIu64 ":buffered=%" PRIu64, id,
                               s->enabled ? "enabled" : "disabled", s->sent, s->sent_buffered);
        for (k = 0; k < 3; k++)
            for (i = 0; i < s->ranges[k]->len; i++) {
                const struct range *r = &g_array_index(s->ranges[k], struct range, i);

                g_string_append_printf(t, " %s:0x%" PRIx64 "-0x%" PRIx64, types[k], r->start,
                                       r->end);
            }
    }
    return g_string_free(t, FALSE);
}

static char *cmd_stats(struct cmd *c)
{
    GString *t = g_string_new("OK");
    GHashTableIter it;
    gpointer k, v;

    g_hash_table_iter_init(&it, c->s->host->op_count);
    while (g_hash_table_iter_next(&it, &k, &v))
        g_string_append_printf(t, " %s=%u", op_name(GPOINTER_TO_UINT(k)), GPOINTER_TO_UINT(v));
    return g_string_free(t, FALSE);
}

static char *cmd_missing(struct cmd *c)
{
    GString *t = g_string_new("OK");
    GHashTableIter it;
    gpointer k;

    g_hash_table_iter_init(&it, c->s->host->missing);
    while (g_hash_table_iter_next(&it, &k, NULL))
        g_string_append_printf(t, " %s", (const char *)k);
    return g_string_free(t, FALSE);
}

static char *cmd_pt(struct cmd *c)
{
    GString *t = g_string_new("OK");
    unsigned int i;

    for (i = 0; i < c->d->pt_log->len; i++)
        g_string_append_printf(t, " [%s]", (const char *)g_ptr_array_index(c->d->pt_log, i));
    g_ptr_array_set_size(c->d->pt_log, 0);
    return g_string_free(t, FALSE);
}

/* What process PID (0 = anyone) still holds or held when its handles closed; one LEAK line each. */
static char *cmd_leaks(struct cmd *c)
{
    struct host *h = c->s->host;
    GString *t = g_string_new(NULL);
    unsigned int i, n = 0, k;

    for (i = 0; i < h->left->len; i++) {
        const char *l = g_ptr_array_index(h->left, i);

        if (c->a[1] && strtoull(l, NULL, 10) != c->a[1])
            continue;
        g_string_append_printf(t, "LEAK at exit: %s\n", strchr(l, ' ') + 1);
        n++;
    }
    for (i = 0; i < h->conns->len; i++) {
        const struct conn *x = g_ptr_array_index(h->conns, i);

        if (c->a[1] && x->pid == c->a[1]) {
            g_string_append_printf(t, "LEAK handle: %s of process %u is still open\n", x->lib,
                                   x->pid);
            n++;
        }
    }
    for (i = 0; c->d && i < XE_MAX_SERVERS; i++) {
        struct server *s = c->d->server[i];

        if (!s)
            continue;
        for (k = 0; k < 3; k++) {
            static const char *const types[] = {"port", "mmio", "pci"};

            if (s->ranges[k]->len) {
                g_string_append_printf(t, "LEAK ranges: %u %s ranges of server %u\n",
                                       s->ranges[k]->len, types[k], i);
                n++;
            }
        }
        g_string_append_printf(t, "LEAK ioreq server %u\n", i);
        n++;
    }
    g_string_append_printf(t, "OK %u", n);
    return g_string_free(t, FALSE);
}

/* Open library handles of process PID. */
static char *cmd_handles(struct cmd *c)
{
    unsigned int i, n = 0;

    for (i = 0; i < c->s->host->conns->len; i++)
        n += ((struct conn *)g_ptr_array_index(c->s->host->conns, i))->pid == c->a[1];
    return g_strdup_printf("OK %u", n);
}

static char *cmd_xsproxy(struct cmd *c)
{
    return done(xsproxy_start(c->s->host, c->w[1], c->w[2]));
}

static char *cmd_sleep(struct cmd *c)
{
    g_usleep((gulong)MIN(c->a[1], 60000) * 1000);
    return g_strdup("OK");
}

static char *cmd_timeout(struct cmd *c)
{
    c->s->host->access_timeout_us = (int64_t)c->a[1] * 1000;
    return g_strdup("OK");
}

static char *cmd_spin(struct cmd *c)
{
    c->s->host->spin_ns = (int64_t)MIN(c->a[1], 1000000) * 1000;
    return g_strdup("OK");
}

static char *cmd_echo(struct cmd *c)
{
    GString *t = g_string_new("OK");
    unsigned int i;

    for (i = 1; i < c->n; i++)
        g_string_append_printf(t, " %s", c->w[i]);
    return g_string_free(t, FALSE);
}

static char *cmd_quit(struct cmd *c)
{
    c->s->host->quit = true;
    return g_strdup("OK");
}

static char *cmd_help(struct cmd *c);

static char *cmd_benchseq(struct cmd *c)
{
    return bench_sequence(c->s, c->w, c->n);
}

enum { WITH_DOMAIN = 1, LOCKED = 2 };

static const struct {
    const char *name;
    char *(*run)(struct cmd *c);
    unsigned int words; /* at least, with the command */
    unsigned int flags;
} commands[] = {
    {"domain_create", cmd_domain_create, 1, LOCKED},
    {"domain_destroy", cmd_domain_destroy, 1, LOCKED | WITH_DOMAIN},
    {"domain", cmd_domain, 2, LOCKED},
    {"domains", cmd_domains, 1, LOCKED},
    {"socket", cmd_socket, 2, LOCKED | WITH_DOMAIN},
    {"vcpu", cmd_vcpu, 2, LOCKED | WITH_DOMAIN},
    {"state", cmd_state, 1, LOCKED | WITH_DOMAIN},
    {"revive", cmd_revive, 1, LOCKED | WITH_DOMAIN},
    {"pause", cmd_pause, 1, LOCKED | WITH_DOMAIN},
    {"unpause", cmd_pause, 1, LOCKED | WITH_DOMAIN},
    {"ins", cmd_string, 5, WITH_DOMAIN},
    {"outs", cmd_string, 5, WITH_DOMAIN},
    {"movs_in", cmd_string, 5, WITH_DOMAIN},
    {"movs_out", cmd_string, 5, WITH_DOMAIN},
    {"pciread", cmd_pci, 4, WITH_DOMAIN},
    {"pciwrite", cmd_pci, 5, WITH_DOMAIN},
    {"bufwrite", cmd_bufwrite, 4, WITH_DOMAIN},
    {"invalidate", cmd_broadcast, 1, WITH_DOMAIN},
    {"timeoffset", cmd_broadcast, 2, WITH_DOMAIN},
    {"bench", cmd_bench, 4, WITH_DOMAIN},
    {"benchseq", cmd_benchseq, 4, WITH_DOMAIN},
    {"poll", cmd_poll, 6, WITH_DOMAIN},
    {"sum", cmd_sum, 3, LOCKED | WITH_DOMAIN},
    {"irqstate", cmd_irqstate, 1, LOCKED | WITH_DOMAIN},
    {"lines", cmd_lines, 1, LOCKED | WITH_DOMAIN},
    {"intx", cmd_intx, 3, LOCKED | WITH_DOMAIN},
    {"msi", cmd_msi, 1, LOCKED | WITH_DOMAIN},
    {"watch", cmd_watch, 1, LOCKED},
    {"xenparam", cmd_xenparam, 2, LOCKED | WITH_DOMAIN},
    {"populate", cmd_populate, 2, LOCKED | WITH_DOMAIN},
    {"balloon", cmd_balloon, 2, WITH_DOMAIN},
    {"memory", cmd_memory, 1, LOCKED | WITH_DOMAIN},
    {"setmaxmem", cmd_setmaxmem, 2, LOCKED | WITH_DOMAIN},
    {"dirty", cmd_dirty, 2, LOCKED | WITH_DOMAIN},
    {"grant", cmd_grant, 2, LOCKED | WITH_DOMAIN},
    {"evtchn", cmd_evtchn, 2, LOCKED},
    {"fault", cmd_fault, 1, LOCKED},
    {"diskcall", cmd_diskcall, 6, LOCKED},
    {"servers", cmd_servers, 1, LOCKED | WITH_DOMAIN},
    {"stats", cmd_stats, 1, LOCKED},
    {"missing", cmd_missing, 1, LOCKED},
    {"pt", cmd_pt, 1, LOCKED | WITH_DOMAIN},
    {"leaks", cmd_leaks, 1, LOCKED},
    {"xsproxy", cmd_xsproxy, 3, LOCKED},
    {"handles", cmd_handles, 2, LOCKED},
    {"sleep", cmd_sleep, 2, 0},
    {"timeout", cmd_timeout, 2, LOCKED},
    {"spin", cmd_spin, 2, LOCKED},
    {"echo", cmd_echo, 1, 0},
    {"quit", cmd_quit, 1, LOCKED},
    {"help", cmd_help, 1, 0},
};

static char *cmd_help(struct cmd *c)
{
    GString *t = g_string_new("OK");
    unsigned int i;

    (void)c;
    for (i = 0; i < G_N_ELEMENTS(commands); i++)
        g_string_append_printf(t, " %s", commands[i].name);
    return g_string_free(t, FALSE);
}

char *command_run(struct session *s, char **w, unsigned int n)
{
    struct cmd c = {.s = s, .d = s->dom, .w = w, .n = n};
    unsigned int i, k;
    char *out;

    for (i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(commands[i].name, w[0]))
            continue;
        if (n < commands[i].words)
            return fail("%s needs %u arguments", w[0], commands[i].words - 1);
        if (commands[i].flags & WITH_DOMAIN && !s->dom)
            return fail("no domain selected");
        for (k = 0; k < n && k < G_N_ELEMENTS(c.a); k++)
            if (!parse_u64(w[k], &c.a[k]))
                c.a[k] = 0;
        if (commands[i].flags & LOCKED)
            pthread_mutex_lock(&s->host->big);
        out = commands[i].run(&c);
        if (commands[i].flags & LOCKED)
            pthread_mutex_unlock(&s->host->big);
        return out;
    }
    return NULL;
}
