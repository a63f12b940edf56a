/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands: string accesses, polling, and a sum over memory. */
#include <inttypes.h>
#include <string.h>
#include "../host/domain.h"
#include "commands.h"
#include "qtest.h"
#include "request.h"
#include "words.h"

/* ins|outs PORT SIZE COUNT RAM [df]; movs_in|movs_out MMIO SIZE COUNT RAM [df] */
char *cmd_string(struct cmd *c)
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

/*
 * poll in*|read*|pciread… MS MASK VALUE [not]: repeats a read until masked it is (is not) the
 * value, or for so long. → the last value, so that a script or a comparison sees what it was.
 */
char *cmd_poll(struct cmd *c)
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
    if (!request_parse(&sub, &req) || req.dir != IOREQ_READ || req.data_is_ptr)
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
char *cmd_sum(struct cmd *c)
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
