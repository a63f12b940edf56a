/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The io_uring engine on a kernel of the test's: liburing's functions, on rings in ordinary memory.
 * That kernel refuses by a table (each error of io_uring_enter(2) × the first time, the third,
 * always), takes some entries only, has a completion queue that overflows, and refuses to flush
 * that. Each job ends once, in its turn, and nothing spins.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <glib.h>
#include <liburing.h>

#include "block/engine.h"

/* ---- the kernel ---- */

#define SQ 128u
#define CQ 4u

enum when { NEVER, FIRST, THIRD, ALWAYS };

struct ended {
    uint64_t job;
    int result;
};

static struct {
    struct io_uring_sqe sqes[SQ];
    struct io_uring_cqe cqes[CQ];
    unsigned sq_head, sq_tail, sq_mask, sq_entries, sq_flags, sq_dropped, sq_array[SQ];
    unsigned cq_head, cq_tail, cq_mask, cq_entries, cq_flags, cq_overflow;
    int fd; /* readable while something has ended */
    GQueue overflow, held;
    /* the plan */
    int error;
    enum when when;
    unsigned calls, takes; /* entries that one call takes */
    int flush_error;
    unsigned flushes;
    bool hold; /* nothing ends */
} kernel = {.takes = SQ};

static bool fails(void)
{
    unsigned n = ++kernel.calls;

    return kernel.when == ALWAYS || (kernel.when == FIRST && n == 1) ||
           (kernel.when == THIRD && n == 3);
}

static bool put(const struct ended *e)
{
    if (kernel.cq_tail - kernel.cq_head == CQ) {
        return false;
    }
    kernel.cqes[kernel.cq_tail++ & (CQ - 1)] =
        (struct io_uring_cqe){.user_data = e->job, .res = e->result};
    return true;
}

static void post(uint64_t job, int result)
{
    struct ended e = {job, result};

    if (!g_queue_is_empty(&kernel.overflow) || !put(&e)) {
        g_queue_push_tail(&kernel.overflow, g_memdup2(&e, sizeof(e)));
        kernel.sq_flags |= IORING_SQ_CQ_OVERFLOW;
    }
}

/* Ends what was held: one job, or with 0 all. */
static bool release(uint64_t job, int result)
{
    bool any = false;

    for (GList *l = kernel.held.head; l;) {
        GList *next = l->next;
        const struct engine_job *j = l->data;
        if (job == 0 || job == (uintptr_t)j) {
            g_queue_delete_link(&kernel.held, l);
            post((uintptr_t)j, result);
            any = true;
        }
        l = next;
    }
    return any;
}

static void take(const struct io_uring_sqe *sqe)
{
    if (sqe->opcode == IORING_OP_ASYNC_CANCEL) {
        post(sqe->user_data, release(sqe->addr, -ECANCELED) ? 0 : -ENOENT);
    } else if (sqe->user_data == 0) {
        g_assert_cmpint(sqe->fd, ==, -1); /* blanked: it may do nothing */
        post(0, -EBADF);
    } else if (kernel.hold) {
        g_queue_push_tail(&kernel.held, (void *)(uintptr_t)sqe->user_data);
    } else {
        post(sqe->user_data, (int)sqe->off);
    }
}

int io_uring_submit(struct io_uring *ring)
{
    unsigned n = 0;

    if (fails()) {
        return -kernel.error;
    }
    for (; kernel.sq_head != ring->sq.sqe_tail && n < kernel.takes; n++) {
        take(&kernel.sqes[kernel.sq_head++ & (SQ - 1)]);
    }
    return (int)n;
}

int __io_uring_get_cqe(struct io_uring *ring, struct io_uring_cqe **cqe, unsigned submit,
                       unsigned wait_nr, sigset_t *mask)
{
    g_assert_cmpuint(wait_nr, ==, 0);
    if (kernel.sq_flags & IORING_SQ_CQ_OVERFLOW) {
        struct ended *e;

        kernel.flushes++;
        if (kernel.flush_error) {
            return -kernel.flush_error;
        }
        while ((e = g_queue_peek_head(&kernel.overflow)) && put(e)) {
            g_free(g_queue_pop_head(&kernel.overflow));
        }
        if (!e) {
            kernel.sq_flags = 0;
        }
    }
    *cqe = kernel.cq_tail != kernel.cq_head ? &kernel.cqes[kernel.cq_head & (CQ - 1)] : NULL;
    return *cqe ? 0 : -EAGAIN;
}

int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
    if (flags & IORING_SETUP_R_DISABLED) {
        return -EINVAL; /* one that cannot be told what it may do */
    }
    g_assert_cmpuint(entries, ==, SQ);
    kernel.sq_mask = SQ - 1;
    kernel.sq_entries = SQ;
    kernel.cq_mask = CQ - 1;
    kernel.cq_entries = CQ;
    kernel.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    memset(ring, 0, sizeof(*ring));
    ring->sq = (struct io_uring_sq){
        .khead = &kernel.sq_head,
        .ktail = &kernel.sq_tail,
        .kring_mask = &kernel.sq_mask,
        .kring_entries = &kernel.sq_entries,
        .kflags = &kernel.sq_flags,
        .kdropped = &kernel.sq_dropped,
        .array = kernel.sq_array,
        .sqes = kernel.sqes,
        .ring_mask = SQ - 1,
        .ring_entries = SQ,
    };
    ring->cq = (struct io_uring_cq){
        .khead = &kernel.cq_head,
        .ktail = &kernel.cq_tail,
        .kring_mask = &kernel.cq_mask,
        .kring_entries = &kernel.cq_entries,
        .kflags = &kernel.cq_flags,
        .koverflow = &kernel.cq_overflow,
        .cqes = kernel.cqes,
        .ring_mask = CQ - 1,
        .ring_entries = CQ,
    };
    ring->features = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
    ring->ring_fd = ring->enter_ring_fd = kernel.fd;
    return 0;
}

void io_uring_queue_exit(struct io_uring *ring)
{
}

struct io_uring_probe *io_uring_get_probe_ring(struct io_uring *ring)
{
    struct io_uring_probe *p =
        calloc(1, sizeof(*p) + IORING_OP_LAST * sizeof(struct io_uring_probe_op));

    p->last_op = IORING_OP_LAST - 1;
    for (unsigned i = 0; i < IORING_OP_LAST; i++) {
        p->ops[i].flags = IO_URING_OP_SUPPORTED;
    }
    return p;
}

void io_uring_free_probe(struct io_uring_probe *probe)
{
    free(probe);
}

/* ---- jobs ---- */

#define JOBS 300u

static struct engine_job jobs[JOBS];
static unsigned ended[JOBS], order[JOBS], done_count;
static gulong slow_us; /* each completion takes so long */

static void on_done(struct engine_job *job)
{
    unsigned n = (unsigned)(job - jobs);

    g_assert_cmpuint(ended[n], ==, 0);
    ended[n]++;
    order[done_count++] = n;
    if (slow_us) {
        gint64 until = g_get_monotonic_time() + (gint64)slow_us;
        while (g_get_monotonic_time() < until) {
        }
    }
}

/* Its number is what it gives when it succeeds. */
static void start(unsigned n)
{
    jobs[n] = (struct engine_job){.op = ENGINE_READV, .fd = 0, .offset = n, .done = on_done};
    block_engine_uring.submit(&jobs[n]);
}

static void plan(int error, enum when when)
{
    kernel.error = error;
    kernel.when = when;
    kernel.calls = kernel.flushes = 0;
}

static void begin(void)
{
    memset(ended, 0, sizeof(ended));
    done_count = 0;
    plan(0, NEVER);
}

/* The descriptor is readable when the real one would be. */
static void show(void)
{
    uint64_t n = 1;
    bool readable = kernel.cq_head != kernel.cq_tail || kernel.sq_flags;
    ssize_t rc = readable ? write(kernel.fd, &n, sizeof(n)) : read(kernel.fd, &n, sizeof(n));

    g_assert_true(rc == sizeof(n) || errno == EAGAIN);
}

/* Turns of the main loop until so many have ended. */
static unsigned finish(unsigned count)
{
    unsigned turns = 0;

    for (; done_count < count; turns++) {
        show();
        g_main_context_iteration(NULL, TRUE);
    }
    return turns;
}

static gboolean over(gpointer opaque)
{
    *(bool *)opaque = true;
    return G_SOURCE_REMOVE;
}

static unsigned turns_in_ms(guint ms)
{
    bool time_over = false;
    unsigned turns = 0;

    g_timeout_add(ms, over, &time_over);
    for (; !time_over; turns++) {
        show();
        g_main_context_iteration(NULL, TRUE);
    }
    return turns;
}

/* ---- tests ---- */

static const int refusals[] = {EAGAIN, EBUSY, EINTR, ENOMEM, EBADR};

/* More calls than that, beside one or a few for each job, would be spinning. */
#define CALLS_MAX 40u

static void test_refused(void)
{
    for (unsigned e = 0; e < G_N_ELEMENTS(refusals); e++) {
        for (enum when when = FIRST; when <= ALWAYS; when++) {
            begin();
            plan(refusals[e], when);
            for (unsigned i = 0; i < 5; i++) {
                start(i);
            }
            finish(5);
            g_assert_cmpuint(kernel.calls, <, CALLS_MAX);
            for (unsigned i = 0; i < 5; i++) {
                g_assert_cmpint((int)jobs[i].result, ==, when == ALWAYS ? -EIO : (int)i);
            }
            begin(); /* and then it works */
            start(7);
            finish(1);
            g_assert_cmpint((int)jobs[7].result, ==, 7);
            g_assert_cmpuint(kernel.calls, <, 3);
        }
    }
}

/* What ends so is the caller's to try again: it is told what the kernel said. */
static void test_results(void)
{
    static const int results[] = {-ECANCELED, -EINTR, -EAGAIN, -ENOMEM, -EIO, 0, 4096};

    for (unsigned i = 0; i < G_N_ELEMENTS(results); i++) {
        begin();
        kernel.hold = true;
        start(1);
        g_assert_true(release(0, results[i]));
        kernel.hold = false;
        finish(1);
        g_assert_cmpint((int)jobs[1].result, ==, results[i]);
        g_assert_cmpuint(kernel.calls, ==, 1);
    }
}

/* More than the queue has entries, while the kernel takes none, or three at a time. */
static void test_full(void)
{
    for (unsigned round = 0; round < 2; round++) {
        begin();
        if (round == 0) {
            plan(EBUSY, ALWAYS);
        } else {
            kernel.takes = 3;
        }
        for (unsigned i = 0; i < JOBS; i++) {
            start(i);
        }
        g_assert_cmpuint(done_count, ==, 0); /* never inside submit() */
        kernel.when = NEVER;
        finish(JOBS);
        kernel.takes = SQ;
        for (unsigned i = 0; i < JOBS; i++) {
            g_assert_cmpuint(order[i], ==, i);
            g_assert_cmpint((int)jobs[i].result, ==, (int)i);
        }
    }
}

/* More has ended than the queue holds, and the loop's turn is over after each. */
static void test_overflow(void)
{
    begin();
    kernel.hold = true;
    for (unsigned i = 0; i < 40; i++) {
        start(i);
    }
    kernel.hold = false;
    release(0, 1);
    g_assert_cmpuint(g_queue_get_length(&kernel.overflow), ==, 40 - CQ);
    slow_us = 1100;
    g_assert_cmpuint(finish(40), <=, 50);
    slow_us = 0;
    g_assert_cmpuint(turns_in_ms(20), <=, 2); /* it sleeps */
}

/* … and the kernel will not hand out the rest, for a moment or longer. */
static void test_overflow_refused(void)
{
    for (unsigned e = 0; e < G_N_ELEMENTS(refusals); e++) {
        begin();
        kernel.hold = true;
        for (unsigned i = 0; i < 20; i++) {
            start(i);
        }
        kernel.hold = false;
        kernel.flush_error = refusals[e];
        release(0, 1);
        g_assert_cmpuint(turns_in_ms(50), <=, 20);
        g_assert_cmpuint(done_count, ==, CQ);
        g_assert_cmpuint(kernel.flushes, <=, 20);
        start(20); /* others go their way meanwhile */
        g_assert_false(block_engine_uring.wait(5));
        kernel.flush_error = 0;
        finish(21);
    }
}

static void cancel_all(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        block_engine_uring.cancel(&jobs[i]);
        block_engine_uring.cancel(&jobs[i]); /* harmless */
    }
}

/* Called back: from the list, from the entries that the kernel did not take, from the kernel. */
static void test_cancel(void)
{
    begin();
    kernel.hold = true;
    start(0);
    plan(EAGAIN, ALWAYS);
    for (unsigned i = 1; i < 200; i++) {
        start(i);
    }
    cancel_all(1, 1);
    cancel_all(150, 10);
    finish(11);
    plan(0, NEVER);
    while (kernel.calls == 0) { /* the others go */
        g_main_context_iteration(NULL, TRUE);
    }
    turns_in_ms(5);
    cancel_all(0, 1);
    finish(12);
    for (unsigned i = 0; i < 12; i++) {
        g_assert_cmpint((int)jobs[order[i]].result, ==, -ECANCELED);
    }
    g_assert_cmpuint(order[11], ==, 0);
    kernel.hold = false;
    release(0, 9);
    finish(200);
    g_assert_true(g_queue_is_empty(&kernel.held));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_assert_cmpint(block_engine_uring.start(), ==, 0);
    g_test_add_func("/uring/refused", test_refused);
    g_test_add_func("/uring/results", test_results);
    g_test_add_func("/uring/full", test_full);
    g_test_add_func("/uring/overflow", test_overflow);
    g_test_add_func("/uring/overflow-refused", test_overflow_refused);
    g_test_add_func("/uring/cancel", test_cancel);
    return g_test_run();
}
