/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench9p: requests of 9P on a ring of Xen's 9pfs, repeated and timed in this process, as Linux'
 * client makes them (docs/misc/9pfs.pandoc of Xen).
 *
 *     bench9p COUNT DEPTH RING_GFN PORT STEP LIMIT HEX...
 *
 * HEX: messages whole, as the client of tests/kit/p9.py makes them; they are sent in turn, DEPTH
 * of them under way at once, COUNT times all of them. STEP: the 64-bit number in byte 11, which is
 * the offset of a read or a write, grows by that each time, until LIMIT. Each must be answered by
 * the message of the next type.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#define xen_mb() __sync_synchronize()
#define xen_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define xen_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)
#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/9pfs.h>
#include "../host/domain.h"
#include "bench.h"
#include "commands.h"
#include "qtest.h"
#include "words.h"

#define MESSAGES_MAX 8u
#define DEPTH_MAX 16u
#define HEAD 7u
#define OFFSET_AT 11u

struct p9_bench {
    struct domain *d;
    struct port *port;
    struct xen_9pfs_data_intf *page;
    uint8_t *in, *out;
    uint32_t size; /* bytes of each */
    uint64_t count, depth, step, limit, offset;
    uint8_t *message[MESSAGES_MAX];
    uint32_t length[MESSAGES_MAX], messages;
    int64_t start[DEPTH_MAX];
    uint64_t sent, answered;
    uint32_t *ns;
    const char *why;
};

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void copy(uint8_t *ring, uint32_t size, uint32_t index, uint8_t *data, uint32_t len, bool in)
{
    uint32_t at = index & (size - 1), first = MIN(len, size - at);

    memcpy(in ? data : ring + at, in ? ring + at : data, first);
    memcpy(in ? data + first : ring, in ? ring : data + first, len - first);
}

static bool send_next(struct p9_bench *b)
{
    uint32_t which = (uint32_t)(b->sent % b->messages), len = b->length[which];
    uint32_t prod = b->page->out_prod;
    uint16_t tag = (uint16_t)(b->sent % b->depth);

    if (b->size - (prod - __atomic_load_n(&b->page->out_cons, __ATOMIC_ACQUIRE)) < len)
        return false;
    memcpy(b->message[which] + 5, &tag, sizeof(tag));
    if (b->step) {
        memcpy(b->message[which] + OFFSET_AT, &b->offset, sizeof(b->offset));
        b->offset = b->offset + 2 * b->step <= b->limit ? b->offset + b->step : 0;
    }
    b->start[tag] = now_ns();
    copy(b->out, b->size, prod, b->message[which], len, false);
    __atomic_store_n(&b->page->out_prod, prod + len, __ATOMIC_RELEASE);
    b->sent++;
    pthread_mutex_lock(&b->d->host->big);
    port_notify_peer(b->port);
    pthread_mutex_unlock(&b->d->host->big);
    return true;
}

static uint32_t waiting(const struct p9_bench *b)
{
    return __atomic_load_n(&b->page->in_prod, __ATOMIC_ACQUIRE) - b->page->in_cons;
}

/* Answers come in one piece. */
static bool await(struct p9_bench *b)
{
    struct host *h = b->d->host;
    int64_t spin = now_ns() + h->spin_ns;
    struct timespec end;
    int e = 0;

    do {
        if (waiting(b) >= HEAD)
            return true;
    } while (now_ns() < spin);
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += h->access_timeout_us / 1000000;
    pthread_mutex_lock(&h->big);
    port_notify_peer(b->port); /* there is room again */
    while (waiting(b) < HEAD && !b->d->dying && e != ETIMEDOUT) {
        e = pthread_cond_timedwait(&h->idle, &h->big, &end);
    }
    pthread_mutex_unlock(&h->big);
    return waiting(b) >= HEAD;
}

static bool take(struct p9_bench *b)
{
    uint32_t cons = b->page->in_cons, len;
    uint8_t head[HEAD + 4];
    uint16_t tag;

    copy(b->in, b->size, cons, head, sizeof(head), true);
    memcpy(&len, head, sizeof(len));
    memcpy(&tag, head + 5, sizeof(tag));
    if (tag >= b->depth || len < HEAD || len > waiting(b)) {
        b->why = "an answer that nobody waits for";
        return false;
    }
    /* With one at a time it is known which it answers. */
    if (head[4] == 7 ||
        (b->depth == 1 && head[4] != b->message[b->answered % b->messages][4] + 1)) {
        b->why = "a request failed";
        return false;
    }
    b->ns[b->answered++] = (uint32_t)MIN(now_ns() - b->start[tag], UINT32_MAX);
    __atomic_store_n(&b->page->in_cons, cons + len, __ATOMIC_RELEASE);
    return true;
}

static char *bench_run(struct p9_bench *b)
{
    uint64_t all = b->count * b->messages;
    int64_t start = now_ns();

    b->ns = g_new(uint32_t, all);
    while (b->answered < all) {
        while (b->sent < all && b->sent - b->answered < b->depth && send_next(b)) {
        }
        if (!await(b)) {
            b->why = "no answer came in time";
            return g_strdup_printf("FAIL after %" PRIu64 " answers: %s", b->answered, b->why);
        }
        if (!take(b))
            return g_strdup_printf("FAIL after %" PRIu64 " answers: %s", b->answered, b->why);
    }
    start = now_ns() - start;
    qsort(b->ns, all, sizeof(*b->ns), bench_compare);
    return g_strdup_printf("OK n=%" PRIu64 " total=%" PRId64 " p50=%u p99=%u", all, start,
                           b->ns[all / 2], b->ns[all * 99 / 100]);
}

static bool read_message(struct p9_bench *b, const char *hex)
{
    size_t len = strlen(hex) / 2;
    uint8_t *m = g_malloc0(MAX(len, OFFSET_AT + 8));

    b->message[b->messages] = m;
    b->length[b->messages++] = (uint32_t)len;
    for (size_t i = 0; i < len; i++) {
        int high = g_ascii_xdigit_value(hex[2 * i]), low = g_ascii_xdigit_value(hex[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        m[i] = (uint8_t)(high << 4 | low);
    }
    return len >= HEAD && len <= b->size;
}

/* The page, and the data behind it. */
static bool ring_find(struct p9_bench *b, uint64_t gfn)
{
    uint64_t left;
    uint32_t order;

    b->page = (void *)mem_ptr(b->d, gfn << XE_PAGE_SHIFT, &left, NULL);
    order = b->page ? b->page->ring_order : 0;
    if (order < 1 || order > 9 || left < (uint64_t)((1u << order) + 1) << XE_PAGE_SHIFT)
        return false;
    b->size = (uint32_t)XEN_FLEX_RING_SIZE(order);
    b->in = (uint8_t *)b->page + XE_PAGE;
    b->out = b->in + b->size;
    return true;
}

/* bench9p COUNT DEPTH RING_GFN PORT STEP LIMIT HEX... */
char *cmd_bench9p(struct cmd *c)
{
    struct p9_bench b = {.d = c->d,
                         .count = c->a[1],
                         .depth = c->a[2],
                         .port = port_get(c->d, (uint32_t)c->a[4]),
                         .step = c->a[5],
                         .limit = c->a[6]};
    bool ok = b.count && b.count <= 1000000 && b.depth && b.depth <= DEPTH_MAX && b.port &&
              c->n <= 7 + MESSAGES_MAX && ring_find(&b, c->a[3]);
    char *out;

    for (unsigned int i = 7; ok && i < c->n; i++)
        ok = read_message(&b, c->w[i]);
    out = ok ? bench_run(&b) : fail("usage: bench9p COUNT DEPTH RING_GFN PORT STEP LIMIT HEX...");
    for (unsigned int i = 0; i < b.messages; i++)
        g_free(b.message[i]);
    g_free(b.ns);
    return out;
}
