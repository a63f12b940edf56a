/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hot loop of the benchmarks: COUNT times the access, timed one by one in this process, where
 * the virtual CPU is. → n, total, min, median, 99th percentile, max in nanoseconds.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "../host/domain.h"
#include "bench.h"
#include "commands.h"
#include "qtest.h"
#include "request.h"
#include "words.h"

int bench_compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

char *cmd_bench(struct cmd *c)
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
    if (!n || n > 10000000 || !request_parse(&sub, &req))
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
    qsort(t, n, sizeof(*t), bench_compare);
    out = g_strdup_printf("OK n=%" PRIu64 " total=%" PRIu64 " min=%u p50=%u p99=%u max=%u", n,
                          total, t[0], t[n / 2], t[n * 99 / 100], t[n - 1]);
    g_free(t);
    return out;
}
