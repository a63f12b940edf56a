/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The raw driver on an engine whose calls fail by a table: each call × each error × the first time,
 * the third, always. What is only of the moment is tried again, ever more rarely and not for ever;
 * the rest is reported; and afterwards the drive works.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include <xendm/block.h>

#include "block/engine.h"

/* ---- the engine ---- */

enum when { NEVER, FIRST, THIRD, ALWAYS };

static struct {
    enum engine_op op;
    int error;
    enum when when;
    unsigned calls; /* of that op */
    GQueue jobs;
    guint source;
    bool hold; /* nothing ends by itself */
} host;

static ssize_t result_of(const struct engine_job *job)
{
    bool moves =
        job->op == ENGINE_READV || job->op == ENGINE_WRITEV || job->op == ENGINE_WRITEV_SYNC;
    size_t bytes = 0;

    for (unsigned i = 0; moves && i < job->niov; i++) {
        bytes += job->iov[i].iov_len;
    }
    if (job->op != host.op) {
        return (ssize_t)bytes;
    }
    host.calls++;
    if (host.when == ALWAYS || (host.when == FIRST && host.calls == 1) ||
        (host.when == THIRD && host.calls == 3)) {
        return -host.error;
    }
    /* So that there is a third: a sector at a time. */
    return moves ? (ssize_t)MIN(bytes, 512) : 0;
}

static bool run(void)
{
    struct engine_job *job = g_queue_pop_head(&host.jobs);

    if (job) {
        job->result = job->entry ? -ECANCELED : result_of(job);
        job->entry = NULL;
        job->done(job);
    }
    return job;
}

static gboolean idle(gpointer opaque)
{
    if (!host.hold && run()) {
        return G_SOURCE_CONTINUE;
    }
    host.source = 0;
    return G_SOURCE_REMOVE;
}

static void fake_submit(struct engine_job *job)
{
    g_queue_push_tail(&host.jobs, job);
    if (!host.source) {
        host.source = g_idle_add(idle, NULL);
    }
}

static void fake_cancel(struct engine_job *job)
{
    if (g_queue_find(&host.jobs, job)) {
        job->entry = job; /* ends so, in its turn */
        host.hold = false;
        if (!host.source) {
            host.source = g_idle_add(idle, NULL);
        }
    }
}

static int fake_start(void)
{
    return 0;
}

static bool fake_poll(void)
{
    return false;
}

static bool fake_wait(int timeout_ms)
{
    return run();
}

const struct block_engine block_engine_uring = {
    .name = "fake",
    .start = fake_start,
    .submit = fake_submit,
    .cancel = fake_cancel,
    .poll = fake_poll,
    .wait = fake_wait,
};
const struct block_engine block_engine_threads = {.name = "none", .start = fake_start};

/* ---- requests ---- */

#define SIZE 4096u

static char *file;
static struct block *b;
static struct block_queue *q;

struct wait {
    struct block_request req;
    bool done;
    int error;
};

static void request_done(struct block_request *req, int error)
{
    struct wait *w = req->opaque;

    g_assert_false(w->done);
    w->done = true;
    w->error = error;
}

static void submit(struct wait *w, enum block_op op)
{
    static uint8_t buf[SIZE];
    static struct iovec iov = {buf, SIZE};
    bool moves = op == BLOCK_READ || op == BLOCK_WRITE;

    *w =
        (struct wait){.req = {.op = op, .length = SIZE, .iov = moves ? &iov : NULL, .niov = moves}};
    w->req.done = request_done;
    w->req.opaque = w;
    block_submit(q, &w->req);
}

static int finish(struct wait *w)
{
    while (!w->done) {
        g_main_context_iteration(NULL, TRUE);
    }
    return w->error;
}

static int transfer(enum block_op op)
{
    struct wait w;

    submit(&w, op);
    return finish(&w);
}

static void setup_with(struct block_cache cache)
{
    GError *err = NULL;
    /* Not in memory, for what is there is copied without the engine. */
    int fd;

    file = g_strdup("test-raw-XXXXXX");
    fd = g_mkstemp(file);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, SIZE), ==, 0);
    close(fd);
    b = block_open(&(struct block_options){.id = "d", .file = file, .cache = cache, .fd = -1},
                   &err);
    g_assert_no_error(err);
    q = block_queue_new(b);
}

static void setup(void)
{
    setup_with((struct block_cache){0});
}

static void teardown(void)
{
    block_queue_free(q);
    block_close(b);
    g_unlink(file);
    g_free(file);
}

static void plan(enum engine_op op, int error, enum when when)
{
    host.op = op;
    host.error = error;
    host.when = when;
    host.calls = 0;
}

/* ---- tests ---- */

static const struct {
    enum block_op op;
    enum engine_op call;
} calls[] = {
    {BLOCK_READ, ENGINE_READV},    {BLOCK_WRITE, ENGINE_WRITEV}, {BLOCK_FLUSH, ENGINE_SYNC},
    {BLOCK_DISCARD, ENGINE_PUNCH}, {BLOCK_ZERO, ENGINE_ZERO},
};
static const int moments[] = {EAGAIN, EINTR, ENOMEM, ECANCELED, ENOBUFS, EMFILE, ENFILE};
static const int failures[] = {EIO, ENOSPC, EFBIG, EBADF};

/* More tries than that in 200 ms would be spinning: they double, from one millisecond on. */
#define TRIES_MAX 20u

static void test_moment(void)
{
    for (unsigned c = 0; c < G_N_ELEMENTS(calls); c++) {
        for (unsigned e = 0; e < G_N_ELEMENTS(moments); e++) {
            for (enum when when = FIRST; when <= ALWAYS; when++) {
                uint64_t retries;
                int error;

                setup();
                retries = block_stats(b)->retries;
                plan(calls[c].call, moments[e], when);
                error = transfer(calls[c].op);
                if (when == ALWAYS) {
                    g_assert_cmpint(error, <, 0);
                    g_assert_cmpuint(host.calls, >=, 3);
                    g_assert_cmpuint(host.calls, <, TRIES_MAX);
                } else {
                    g_assert_cmpint(error, ==, 0);
                    g_assert_cmpuint(block_stats(b)->retries, ==,
                                     retries + (host.calls > 1 || when == FIRST));
                }
                /* Nothing is lost for that. */
                plan(calls[c].call, 0, NEVER);
                g_assert_cmpint(transfer(calls[c].op), ==, 0);
                g_assert_cmpint(transfer(BLOCK_FLUSH), ==, 0);
                g_assert_cmpint(block_lost(b), ==, 0);
                teardown();
            }
        }
    }
}

static void test_failures(void)
{
    for (unsigned c = 0; c < G_N_ELEMENTS(calls); c++) {
        for (unsigned e = 0; e < G_N_ELEMENTS(failures); e++) {
            setup();
            plan(calls[c].call, failures[e], FIRST);
            g_assert_cmpint(transfer(calls[c].op), ==, -failures[e]);
            g_assert_cmpuint(host.calls, ==, 1);
            plan(calls[c].call, 0, NEVER);
            /* A flush that failed has lost writes, and no other makes that good. */
            g_assert_cmpint(transfer(BLOCK_FLUSH), ==,
                            calls[c].op == BLOCK_FLUSH ? -failures[e] : 0);
            teardown();
        }
    }
}

/* cache=writethrough, cache=unsafe: which of the host's calls stand for a request. */
static void test_cache(void)
{
    struct wait w;

    setup_with((struct block_cache){.through = true});
    plan(ENGINE_WRITEV_SYNC, 0, NEVER);
    g_assert_cmpint(transfer(BLOCK_WRITE), ==, 0);
    g_assert_cmpuint(host.calls, ==, SIZE / 512); /* a sector at a time here */
    g_assert_cmpint(transfer(BLOCK_ZERO), ==, 0); /* as data */
    g_assert_cmpuint(host.calls, ==, 2 * SIZE / 512);
    plan(ENGINE_SYNC, 0, NEVER);
    g_assert_cmpint(transfer(BLOCK_FLUSH), ==, 0);
    g_assert_cmpuint(host.calls, ==, 1);
    teardown();

    setup_with((struct block_cache){.no_flush = true});
    plan(ENGINE_SYNC, EIO, ALWAYS);
    g_assert_cmpint(transfer(BLOCK_FLUSH), ==, 0);
    g_assert_cmpuint(host.calls, ==, 0);
    w = (struct wait){.req = {.op = BLOCK_FLUSH, .flags = BLOCK_SURELY, .done = request_done}};
    w.req.opaque = &w;
    block_submit(q, &w.req); /* a stop's */
    g_assert_cmpint(finish(&w), ==, -EIO);
    g_assert_cmpuint(host.calls, ==, 1);
    g_assert_cmpint(transfer(BLOCK_FLUSH), ==, -EIO); /* what is lost is lost */
    teardown();
}

/* What the host cannot do at all: discarding is advice, zeros are written. */
static void test_unsupported(void)
{
    setup();
    plan(ENGINE_PUNCH, EOPNOTSUPP, ALWAYS);
    g_assert_cmpint(transfer(BLOCK_DISCARD), ==, 0);
    g_assert_cmpint(transfer(BLOCK_DISCARD), ==, 0);
    g_assert_cmpuint(host.calls, ==, 1); /* asked once */
    plan(ENGINE_ZERO, EOPNOTSUPP, ALWAYS);
    g_assert_cmpint(transfer(BLOCK_ZERO), ==, 0);
    g_assert_cmpint(transfer(BLOCK_ZERO), ==, 0);
    g_assert_cmpuint(host.calls, ==, 1);
    teardown();
}

/* Called back: before the host has it, while it waits for another try, when it is too late. */
static void test_cancel(void)
{
    struct wait w;

    for (unsigned c = 0; c < G_N_ELEMENTS(calls); c++) {
        setup();
        plan(calls[c].call, 0, NEVER);
        host.hold = true;
        submit(&w, calls[c].op);
        block_cancel(q, &w.req);
        finish(&w);
        g_assert_cmpint(w.error, ==, -ECANCELED);
        host.hold = false;
        plan(calls[c].call, EAGAIN, ALWAYS);
        submit(&w, calls[c].op);
        while (block_stats(b)->retries == 0) {
            g_main_context_iteration(NULL, TRUE);
        }
        block_cancel(q, &w.req);
        block_cancel(q, &w.req); /* harmless */
        finish(&w);
        g_assert_cmpint(w.error, ==, -ECANCELED);
        plan(calls[c].call, 0, NEVER);
        g_assert_cmpint(transfer(BLOCK_FLUSH), ==, 0);
        g_assert_cmpuint(block_in_flight(b), ==, 0);
        teardown();
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/raw/moment", test_moment);
    g_test_add_func("/raw/failures", test_failures);
    g_test_add_func("/raw/cache", test_cache);
    g_test_add_func("/raw/unsupported", test_unsupported);
    g_test_add_func("/raw/cancel", test_cancel);
    return g_test_run();
}
