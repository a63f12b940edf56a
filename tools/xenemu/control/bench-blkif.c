/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * benchblk: a PV disk's front end, repeated and timed in this process, as Linux' blkfront drives a
 * ring (Xen's io/blkif.h, io/ring.h; x86_64-abi).
 *
 *     benchblk read|write COUNT BYTES DEPTH RING_GFN PAGES PORT INDIRECT rand|seq LIMIT
 *
 * COUNT transfers of BYTES, DEPTH of them under way at once, over a ring of PAGES pages that the
 * script has granted and told the back end of. INDIRECT: the back end takes one request for a whole
 * transfer; else it is cut where a request's eleven pages end, as blkfront cuts it. LIMIT: sectors
 * of the disk. The pages of data are behind the ring; they are granted here, as reference 0x10000
 * plus the page's number, and taken back at the end.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#define xen_mb() __sync_synchronize() /* io/ring.h wants them */
#define xen_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define xen_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)
#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/blkif.h>
#include "../host/domain.h"
#include "bench.h"
#include "commands.h"
#include "qtest.h"
#include "words.h"

#define SECTOR 512u
#define DIRECT_SEGMENTS BLKIF_MAX_SEGMENTS_PER_REQUEST
#define INDIRECT_SEGMENTS 256u
#define DEPTH_MAX 256u
#define FIRST_REF 0x10000u

struct transfer {
    int64_t start;
    uint64_t sector;
    uint32_t at;    /* pages that were asked for */
    uint32_t parts; /* requests without answer */
    bool under_way;
};

struct blk_bench {
    struct domain *d;
    bool write, indirect, sequential;
    uint64_t count, limit, next, seed;
    uint32_t bytes, depth, pages; /* pages of one transfer, that of indirect segments apart */
    uint64_t data_gfn;
    struct port *port;
    blkif_sring_t *shared;
    blkif_front_ring_t ring;
    struct transfer t[DEPTH_MAX];
    struct transfer *filling; /* a part of it is in the ring, the rest has no room yet */
    uint64_t begun, ended;
    uint32_t *ns;
    const char *why;
};

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint32_t slot_pages(const struct blk_bench *b)
{
    return b->pages + 1; /* the last is for indirect segments */
}

static uint32_t slot_of(const struct blk_bench *b, const struct transfer *t)
{
    return (uint32_t)(t - b->t);
}

static grant_ref_t ref_of(const struct blk_bench *b, const struct transfer *t, uint32_t page)
{
    return FIRST_REF + slot_of(b, t) * slot_pages(b) + page;
}

static uint64_t next_sector(struct blk_bench *b)
{
    uint64_t step = b->bytes / SECTOR, at = b->next;

    if (b->sequential) {
        b->next = at + 2 * step <= b->limit ? at + step : 0;
        return at;
    }
    b->seed = b->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (b->seed >> 33) % (b->limit / step) * step;
}

static void segments_fill(struct blk_bench *b, const struct transfer *t,
                          struct blkif_request_segment *seg, uint32_t n)
{
    uint32_t left = b->bytes - t->at * XE_PAGE, i;

    for (i = 0; i < n; i++, left -= MIN(left, XE_PAGE)) {
        seg[i].gref = ref_of(b, t, t->at + i);
        seg[i].first_sect = 0;
        seg[i].last_sect = (uint8_t)(MIN(left, XE_PAGE) / SECTOR - 1);
    }
}

static void request_put_indirect(struct blk_bench *b, struct transfer *t)
{
    blkif_request_indirect_t *r = (void *)RING_GET_REQUEST(&b->ring, b->ring.req_prod_pvt);
    uint64_t gfn = b->data_gfn + (uint64_t)slot_of(b, t) * slot_pages(b) + b->pages, left;
    void *page = mem_ptr(b->d, gfn << XE_PAGE_SHIFT, &left, NULL);

    segments_fill(b, t, page, b->pages);
    r->operation = BLKIF_OP_INDIRECT;
    r->indirect_op = b->write ? BLKIF_OP_WRITE : BLKIF_OP_READ;
    r->nr_segments = (uint16_t)b->pages;
    r->id = slot_of(b, t);
    r->sector_number = t->sector;
    r->handle = 0;
    r->indirect_grefs[0] = ref_of(b, t, b->pages);
    t->at = b->pages;
}

static void request_put(struct blk_bench *b, struct transfer *t)
{
    blkif_request_t *r = RING_GET_REQUEST(&b->ring, b->ring.req_prod_pvt);
    uint32_t n = MIN(b->pages - t->at, DIRECT_SEGMENTS);

    r->operation = b->write ? BLKIF_OP_WRITE : BLKIF_OP_READ;
    r->nr_segments = (uint8_t)n;
    r->handle = 0;
    r->id = slot_of(b, t);
    r->sector_number = t->sector + (uint64_t)t->at * (XE_PAGE / SECTOR);
    segments_fill(b, t, r->seg, n);
    t->at += n;
}

static struct transfer *transfer_begin(struct blk_bench *b)
{
    uint32_t i;

    for (i = 0; i < b->depth; i++)
        if (!b->t[i].under_way) {
            b->t[i] =
                (struct transfer){.start = now_ns(), .sector = next_sector(b), .under_way = true};
            b->begun++;
            return &b->t[i];
        }
    return NULL;
}

/* As many requests as there is room and work for; how many. */
static uint32_t ring_fill(struct blk_bench *b)
{
    uint32_t n = 0;

    while (!RING_FULL(&b->ring)) {
        if (!b->filling && b->begun < b->count)
            b->filling = transfer_begin(b);
        if (!b->filling)
            break;
        if (b->indirect && b->pages > DIRECT_SEGMENTS)
            request_put_indirect(b, b->filling);
        else
            request_put(b, b->filling);
        b->filling->parts++;
        b->ring.req_prod_pvt++;
        n++;
        if (b->filling->at == b->pages)
            b->filling = NULL;
    }
    return n;
}

static void ring_push(struct blk_bench *b)
{
    int notify;

    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&b->ring, notify);
    if (notify) {
        pthread_mutex_lock(&b->d->host->big);
        port_notify_peer(b->port);
        pthread_mutex_unlock(&b->d->host->big);
    }
}

static bool answer_take(struct blk_bench *b, const blkif_response_t *r)
{
    struct transfer *t = r->id < b->depth ? &b->t[r->id] : NULL;

    if (!t || !t->parts || r->status != BLKIF_RSP_OKAY) {
        b->why = t && t->parts ? "a transfer failed" : "an answer that nobody waits for";
        return false;
    }
    if (--t->parts == 0 && t->at == b->pages) {
        b->ns[b->ended++] = (uint32_t)MIN(now_ns() - t->start, UINT32_MAX);
        t->under_way = false;
    }
    return true;
}

/* Whether there are answers; before there are none for good, the back end is asked for an event. */
static bool answers_wait(struct blk_bench *b)
{
    struct host *h = b->d->host;
    int64_t spin = now_ns() + h->spin_ns;
    struct timespec end;
    int more, e = 0;

    do {
        if (RING_HAS_UNCONSUMED_RESPONSES(&b->ring))
            return true;
    } while (now_ns() < spin);
    RING_FINAL_CHECK_FOR_RESPONSES(&b->ring, more);
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += h->access_timeout_us / 1000000;
    pthread_mutex_lock(&h->big);
    while (!more && !b->d->dying && e != ETIMEDOUT) {
        if (b->port->pending) {
            b->port->pending = false;
            break;
        }
        e = pthread_cond_timedwait(&h->idle, &h->big, &end);
    }
    pthread_mutex_unlock(&h->big);
    if (e == ETIMEDOUT)
        b->why = "no answer came in time";
    return e != ETIMEDOUT;
}

static bool answers_take(struct blk_bench *b)
{
    RING_IDX end = b->shared->rsp_prod;

    xen_rmb();
    for (; b->ring.rsp_cons != end; b->ring.rsp_cons++)
        if (!answer_take(b, RING_GET_RESPONSE(&b->ring, b->ring.rsp_cons)))
            return false;
    return true;
}

static char *bench_run(struct blk_bench *b)
{
    int64_t start = now_ns();
    char *out;

    while (b->ended < b->count) {
        if (ring_fill(b))
            ring_push(b);
        if (!answers_wait(b) || !answers_take(b))
            return g_strdup_printf("FAIL after %" PRIu64 " transfers: %s", b->ended, b->why);
    }
    start = now_ns() - start;
    qsort(b->ns, b->count, sizeof(*b->ns), bench_compare);
    out = g_strdup_printf("OK n=%" PRIu64 " total=%" PRId64 " p50=%u p99=%u", b->count, start,
                          b->ns[b->count / 2], b->ns[b->count * 99 / 100]);
    return out;
}

/* A front end goes on where the last one left the ring. */
static bool ring_find(struct blk_bench *b, uint64_t gfn, uint32_t pages)
{
    uint64_t left;

    b->shared = (blkif_sring_t *)mem_ptr(b->d, gfn << XE_PAGE_SHIFT, &left, NULL);
    if (!b->shared || left < (uint64_t)(pages + b->depth * slot_pages(b)) * XE_PAGE)
        return false;
    FRONT_RING_ATTACH(&b->ring, b->shared, b->shared->rsp_prod, pages * XE_PAGE);
    b->data_gfn = gfn + pages;
    return true;
}

static void data_grant(struct blk_bench *b, bool give)
{
    uint32_t i;

    pthread_mutex_lock(&b->d->host->big);
    for (i = 0; i < b->depth * slot_pages(b); i++) {
        if (give)
            gnttab_add(b->d, FIRST_REF + i, 0, b->data_gfn + i, false);
        else
            gnttab_remove(b->d, FIRST_REF + i);
    }
    pthread_mutex_unlock(&b->d->host->big);
}

/* benchblk read|write COUNT BYTES DEPTH RING_GFN PAGES PORT INDIRECT rand|seq LIMIT */
char *cmd_benchblk(struct cmd *c)
{
    struct blk_bench b = {.d = c->d,
                          .write = !strcmp(c->w[1], "write"),
                          .count = c->a[2],
                          .bytes = (uint32_t)c->a[3],
                          .depth = (uint32_t)c->a[4],
                          .port = port_get(c->d, (uint32_t)c->a[7]),
                          .indirect = c->a[8],
                          .sequential = !strcmp(c->w[9], "seq"),
                          .limit = c->a[10],
                          .seed = 1};
    char *out;

    b.pages = (b.bytes + XE_PAGE - 1) / XE_PAGE;
    if (!b.count || b.count > 10000000 || !b.bytes || b.bytes % SECTOR ||
        b.pages > INDIRECT_SEGMENTS || !b.depth || b.depth > DEPTH_MAX || !b.port ||
        b.limit < b.bytes / SECTOR || !c->a[6] || c->a[6] > 16 ||
        !ring_find(&b, c->a[5], (uint32_t)c->a[6]))
        return fail("usage: benchblk read|write COUNT BYTES DEPTH RING_GFN PAGES PORT INDIRECT "
                    "rand|seq LIMIT");
    b.ns = g_new(uint32_t, b.count);
    data_grant(&b, true);
    out = bench_run(&b);
    data_grant(&b, false);
    g_free(b.ns);
    return out;
}
