/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * benchseq: what a guest's driver does for one request, repeated and timed in this process, so that
 * no command socket is between the accesses.
 *
 *     benchseq COUNT [gap=US] [lba=rand|seq,LIMIT[,STEP]] OP ; OP ; ...
 *
 * OP is an access as in `bench`, or
 *     until in* PORT MASK VALUE      polls like a driver that waits for a status bit
 *     irq GSI                        waits until the line is high, as a vCPU in HLT does: asleep,
 *                                    whatever `spin` says
 * A value may be $0 ... $3: the bytes of this turn's LBA. gap: so long a pause between the turns
 * (not timed), which lets the device model go to sleep.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "../host/domain.h"
#include "bench.h"
#include "commands.h"
#include "qtest.h"
#include "words.h"

#define MAX_OPS 32u

enum bench_kind { BENCH_ACCESS, BENCH_UNTIL, BENCH_IRQ };

struct bench_op {
    enum bench_kind kind;
    ioreq_t req;
    int lba_byte; /* -1: the value is fixed */
    uint64_t mask, value;
    unsigned int gsi;
};

struct bench {
    struct session *s;
    struct domain *d;
    struct bench_op op[MAX_OPS];
    unsigned int ops;
    uint64_t limit, step, lba, seed;
    bool sequential;
    uint64_t polls;
    const char *why;
};

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool access_parse(char **w, unsigned int n, struct bench_op *op)
{
    static const char sizes[] = "bwlq";
    size_t len = strlen(w[0]);
    const char *size = strchr(sizes, w[0][len - 1]);
    bool in = w[0][0] == 'i' || w[0][0] == 'r';
    ioreq_t *r = &op->req;
    uint64_t addr, value = 0, bytes, count;
    uint32_t bdf;

    op->kind = BENCH_ACCESS;
    op->lba_byte = -1;
    r->state = STATE_IOREQ_READY;
    r->count = 1;
    if (!strcmp(w[0], "ins") || !strcmp(w[0], "outs")) {
        if (n != 5 || !parse_u64(w[1], &addr) || !parse_u64(w[2], &bytes) ||
            !parse_u64(w[3], &count) || !parse_u64(w[4], &value) || bytes > 4 || !count)
            return false;
        r->type = IOREQ_TYPE_PIO;
        r->addr = addr;
        r->size = (uint32_t)bytes;
        r->count = (uint32_t)count;
        r->data = value;
        r->data_is_ptr = 1;
        r->dir = in ? IOREQ_READ : IOREQ_WRITE;
        return true;
    }
    if (!strcmp(w[0], "pciread") || !strcmp(w[0], "pciwrite")) {
        r->dir = w[0][3] == 'r' ? IOREQ_READ : IOREQ_WRITE;
        if (n < 4 || !parse_bdf(w[1], &bdf) || !parse_u64(w[2], &addr) ||
            !parse_u64(w[3], &bytes) || bytes > 4 || (n > 4 && !parse_u64(w[4], &value)))
            return false;
        r->type = IOREQ_TYPE_PCI_CONFIG;
        r->addr = (uint64_t)bdf << 32 | addr;
        r->size = (uint32_t)bytes;
        r->data = value;
        return true;
    }
    if ((strncmp(w[0], "in", 2) && strncmp(w[0], "out", 3) && strncmp(w[0], "read", 4) &&
         strncmp(w[0], "write", 5)) ||
        !size || n != (in ? 2u : 3u) || !parse_u64(w[1], &addr))
        return false;
    if (!in && w[2][0] == '$' && w[2][1] >= '0' && w[2][1] <= '3')
        op->lba_byte = w[2][1] - '0';
    else if (!in && !parse_u64(w[2], &value))
        return false;
    r->type = w[0][0] == 'i' || w[0][0] == 'o' ? IOREQ_TYPE_PIO : IOREQ_TYPE_COPY;
    r->addr = addr;
    r->size = 1u << (size - sizes);
    r->data = value;
    r->dir = in ? IOREQ_READ : IOREQ_WRITE;
    return true;
}

static bool op_parse(char **w, unsigned int n, struct bench_op *op)
{
    uint64_t v;

    if (!n)
        return false;
    if (!strcmp(w[0], "irq")) {
        op->kind = BENCH_IRQ;
        if (n != 2 || !parse_u64(w[1], &v) || v >= XE_NR_GSI)
            return false;
        op->gsi = (unsigned int)v;
        return true;
    }
    if (!strcmp(w[0], "until")) {
        if (n != 5 || w[1][0] != 'i' || !access_parse(w + 1, 2, op) ||
            !parse_u64(w[3], &op->mask) || !parse_u64(w[4], &op->value))
            return false;
        op->kind = BENCH_UNTIL;
        return true;
    }
    return access_parse(w, n, op);
}

static bool irq_wait(struct bench *b, unsigned int gsi)
{
    struct host *h = b->d->host;
    uint64_t bit = UINT64_C(1) << gsi;
    struct timespec end;
    int e = 0;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += h->access_timeout_us / 1000000;
    pthread_mutex_lock(&h->big);
    while (!(b->d->gsi_level & bit) && !b->d->dying && e != ETIMEDOUT)
        e = pthread_cond_timedwait(&h->idle, &h->big, &end);
    pthread_mutex_unlock(&h->big);
    if (e == ETIMEDOUT)
        b->why = "the interrupt did not come in time";
    return e != ETIMEDOUT;
}

static bool op_run(struct bench *b, const struct bench_op *op)
{
    int64_t end = 0;

    if (op->kind == BENCH_IRQ)
        return irq_wait(b, op->gsi);
    for (;;) {
        ioreq_t r = op->req;

        if (op->lba_byte >= 0)
            r.data = b->lba >> (8 * op->lba_byte) & 0xff;
        if (io_access(b->d, b->s->vcpu, &r, &b->why) == IO_FAIL)
            return false;
        if (op->kind != BENCH_UNTIL || (r.data & op->mask) == op->value)
            return true;
        b->polls++;
        if (!end)
            end = now_ns() + b->d->host->access_timeout_us * 1000;
        else if (now_ns() > end) {
            b->why = "the status did not come in time";
            return false;
        }
    }
}

static void lba_next(struct bench *b)
{
    if (b->sequential) {
        b->lba += b->step;
        if (b->lba + b->step > b->limit)
            b->lba = 0;
    } else if (b->limit >= b->step) {
        b->seed = b->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        b->lba = (b->seed >> 33) % (b->limit / b->step) * b->step;
    }
}

static bool option_parse(struct bench *b, const char *w, uint64_t *gap)
{
    char **part;
    bool ok = false;

    if (!strncmp(w, "gap=", 4))
        return parse_u64(w + 4, gap) && *gap <= 1000000;
    part = g_strsplit(w + 4, ",", 3);
    if (part[0] && part[1]) {
        b->sequential = !strcmp(part[0], "seq");
        ok = (b->sequential || !strcmp(part[0], "rand")) && parse_u64(part[1], &b->limit) &&
             (!part[2] || parse_u64(part[2], &b->step)) && b->step;
    }
    g_strfreev(part);
    return ok;
}

static char *bench_loop(struct bench *b, uint64_t n, uint64_t gap)
{
    uint32_t *t = g_new(uint32_t, n);
    int64_t total = 0;
    uint64_t i;
    char *out;

    for (i = 0; i < n; i++) {
        int64_t start;
        unsigned int k;

        if (gap)
            usleep((useconds_t)gap);
        lba_next(b);
        start = now_ns();
        for (k = 0; k < b->ops; k++)
            if (!op_run(b, &b->op[k])) {
                g_free(t);
                return g_strdup_printf("FAIL turn %" PRIu64 ", step %u: %s", i, k, b->why);
            }
        start = now_ns() - start;
        t[i] = (uint32_t)MIN(start, UINT32_MAX);
        total += start;
    }
    qsort(t, n, sizeof(*t), bench_compare);
    out = g_strdup_printf("OK n=%" PRIu64 " total=%" PRId64
                          " min=%u p25=%u p50=%u p75=%u p99=%u max=%u polls=%" PRIu64,
                          n, total, t[0], t[n / 4], t[n / 2], t[n * 3 / 4], t[n * 99 / 100],
                          t[n - 1], b->polls);
    g_free(t);
    return out;
}

static char *bench_sequence(struct session *s, char **w, unsigned int n)
{
    struct bench b = {.s = s, .d = s->dom, .step = 1, .seed = 1};
    uint64_t count, gap = 0;
    unsigned int i = 2, k;

    if (!parse_u64(w[1], &count) || !count || count > 10000000)
        goto usage;
    for (; i < n && (!strncmp(w[i], "gap=", 4) || !strncmp(w[i], "lba=", 4)); i++)
        if (!option_parse(&b, w[i], &gap))
            goto usage;
    for (; i < n; i = k + 1) {
        for (k = i; k < n && strcmp(w[k], ";"); k++)
            ;
        if (b.ops == MAX_OPS || !op_parse(w + i, k - i, &b.op[b.ops++]))
            goto usage;
    }
    if (b.ops)
        return bench_loop(&b, count, gap);
usage:
    return g_strdup_printf("FAIL usage: benchseq COUNT [gap=US] [lba=rand|seq,LIMIT[,STEP]] "
                           "OP [; OP]...; at word %u",
                           i + 1);
}

char *cmd_benchseq(struct cmd *c)
{
    return bench_sequence(c->s, c->w, c->n);
}
