/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io_uring engine. One ring for all drives, made when the first drive opens. A request is submitted
 * at once: for cached data the kernel completes it inside that call, and the completion is found
 * without a poll.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <glib.h>
#include <liburing.h>

#include <xendm/log.h>
#include <xendm/turn.h>

#include "job-list.h"

#define RING_ENTRIES 128u
#define ENTER_TRIES 3u /* at once, when a signal comes; then as for any refusal */
#define TURN_US 1000

static struct io_uring ring;

/*
 * Jobs that found no free entry wait in the backlog; those that have one, but were not taken by the
 * kernel yet, in `prepared`. Both in order.
 */
static struct job_list backlog = JOB_LIST_EMPTY(backlog), prepared = JOB_LIST_EMPTY(prepared);

/* While the kernel does not take what is prepared. */
static guint retry_source;
static unsigned retry_ms;
static int64_t refused_since;

/*
 * More has ended than the queue holds, and the kernel does not hand out the rest. Its descriptor
 * stays readable, so it is not asked for until the next try.
 */
static GSource *ring_source;
static gpointer ring_tag;
static guint flush_source;
static unsigned flush_ms = ENGINE_RETRY_FIRST_MS;

static gboolean flush_again(gpointer opaque);

static void flush_refused(void)
{
    if (!flush_source) {
        g_source_modify_unix_fd(ring_source, ring_tag, 0);
        flush_source = g_timeout_add(flush_ms, flush_again, NULL);
        flush_ms = MIN(flush_ms * 2, ENGINE_RETRY_MAX_MS);
    }
}

static void finish(struct engine_job *job, ssize_t result)
{
    job->place = ENGINE_NOWHERE;
    job->entry = NULL;
    job->result = result;
    job->done(job);
}

/*
 * What has ended, as long as the turn is ours: each may begin the next, which the page cache has
 * done at once, and so on for as many as the guest likes. What is left keeps the source ready.
 */
static bool reap(void)
{
    gint64 end = g_get_monotonic_time() + TURN_US;
    struct io_uring_cqe *cqe;
    bool any = false;

    while (!(any && g_get_monotonic_time() >= end)) {
        if (io_uring_peek_cqe(&ring, &cqe) < 0) {
            if (io_uring_cq_has_overflow(&ring)) {
                flush_refused();
            }
            break;
        }
        struct engine_job *job = io_uring_cqe_get_data(cqe);
        int result = cqe->res;

        io_uring_cqe_seen(&ring, cqe);
        if (job) { /* else a request to cancel one, or one that was blanked */
            any = true;
            finish(job, result);
        }
    }
    return any;
}

static void prepare(struct io_uring_sqe *sqe, struct engine_job *job)
{
    switch (job->op) {
    case ENGINE_READV:
        io_uring_prep_readv(sqe, job->fd, job->iov, job->niov, job->offset);
        break;
    case ENGINE_WRITEV:
        io_uring_prep_writev(sqe, job->fd, job->iov, job->niov, job->offset);
        break;
    case ENGINE_WRITEV_SYNC:
        io_uring_prep_writev2(sqe, job->fd, job->iov, job->niov, job->offset, RWF_DSYNC);
        break;
    case ENGINE_SYNC:
        io_uring_prep_fsync(sqe, job->fd, IORING_FSYNC_DATASYNC);
        break;
    case ENGINE_PUNCH:
        io_uring_prep_fallocate(sqe, job->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                (off_t)job->offset, (off_t)job->length);
        break;
    case ENGINE_ZERO:
        io_uring_prep_fallocate(sqe, job->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                                (off_t)job->offset, (off_t)job->length);
        break;
    }
    io_uring_sqe_set_data(sqe, job);
    job->entry = sqe;
}

/*
 * An entry that the kernel has not taken becomes one that does nothing: a flush of no file. Nobody
 * hears of its end.
 */
static void blank(struct io_uring_sqe *sqe)
{
    io_uring_prep_fsync(sqe, -1, 0);
    io_uring_sqe_set_data(sqe, NULL);
}

static gboolean try_again(gpointer opaque);

/* The kernel refuses, for a moment or for good. What stays prepared goes with a later call. */
static void refused(int error)
{
    int64_t now = g_get_monotonic_time();

    if (!refused_since) {
        refused_since = now;
        retry_ms = ENGINE_RETRY_FIRST_MS;
        if (error != -EBUSY) {
            log_warning(LOG_BLOCK, "io_uring takes no requests: %s; trying again",
                        g_strerror(-error));
        }
    }
    if (!retry_source) {
        retry_source = g_timeout_add(retry_ms, try_again, NULL);
        retry_ms = MIN(retry_ms * 2, ENGINE_RETRY_MAX_MS);
    }
}

/* Whether the kernel has not taken it yet: it takes entries in order, up to the tail. */
static bool pending(const struct io_uring_sqe *sqe)
{
    unsigned at = (unsigned)(sqe - ring.sq.sqes), head = *ring.sq.khead;

    return ((at - head) & (*ring.sq.kring_mask)) < io_uring_sq_ready(&ring);
}

/* Hands prepared entries to the kernel. */
static void push(void)
{
    struct engine_job *job;
    int n = 0;

    for (unsigned tries = 0; tries < ENTER_TRIES; tries++) {
        n = io_uring_submit(&ring);
        if (n != -EINTR) {
            break;
        }
    }
    while ((job = prepared.first) && !pending(job->entry)) {
        list_take(&prepared);
        job->place = ENGINE_GIVEN;
        job->entry = NULL;
    }
    if (io_uring_sq_ready(&ring) == 0) {
        refused_since = 0;
    } else {
        refused(n < 0 ? n : -EBUSY);
    }
}

static void flush_backlog(void)
{
    while (backlog.first) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
        struct engine_job *job;

        if (!sqe) {
            break;
        }
        job = list_take(&backlog);
        prepare(sqe, job);
        list_add(&prepared, job);
    }
    if (io_uring_sq_ready(&ring) > 0) {
        push();
    }
}

/* For so long nothing was taken: all that waits ends with an error. */
static void give_up(void)
{
    struct job_list lost = backlog;
    struct engine_job *job;

    refused_since = 0;
    if (lost.first == NULL) {
        lost.end = &lost.first;
    }
    backlog = (struct job_list)JOB_LIST_EMPTY(backlog);
    while ((job = list_take(&prepared))) {
        blank(job->entry);
        job->next = lost.first;
        lost.first = job;
    }
    log_error(LOG_BLOCK, "io_uring took no request for %u s: they fail",
              (unsigned)(ENGINE_PATIENCE_US / G_USEC_PER_SEC));
    while ((job = list_take(&lost))) {
        finish(job, -EIO);
    }
}

static gboolean try_again(gpointer opaque)
{
    turn_of("io_uring");
    retry_source = 0;
    flush_backlog();
    if (refused_since && g_get_monotonic_time() - refused_since > ENGINE_PATIENCE_US) {
        give_up();
    }
    return G_SOURCE_REMOVE;
}

static bool uring_poll(void)
{
    bool any = reap();

    if (any) {
        flush_ms = ENGINE_RETRY_FIRST_MS;
    }

    if (any || (backlog.first && !refused_since)) {
        flush_backlog();
    }
    return any;
}

static gboolean flush_again(gpointer opaque)
{
    turn_of("io_uring");
    flush_source = 0;
    g_source_modify_unix_fd(ring_source, ring_tag, G_IO_IN);
    uring_poll();
    return G_SOURCE_REMOVE;
}

static void uring_submit(struct engine_job *job)
{
    struct io_uring_sqe *sqe = backlog.first ? NULL : io_uring_get_sqe(&ring);

    job->place = ENGINE_WAITING;
    if (!sqe) {
        list_add(&backlog, job);
        return;
    }
    prepare(sqe, job);
    list_add(&prepared, job);
    push();
}

static GSource *ended_source; /* dispatched when something was cancelled here */
static struct job_list ended = JOB_LIST_EMPTY(ended);

/* What the kernel never saw ends in the next turn of the loop. */
static void end_soon(struct engine_job *job)
{
    list_add(&ended, job);
    g_source_set_ready_time(ended_source, 0);
}

static bool complete_ended(void)
{
    struct engine_job *job;
    bool any = false;

    g_source_set_ready_time(ended_source, -1);
    while ((job = list_take(&ended))) {
        any = true;
        finish(job, -ECANCELED);
    }
    return any;
}

static gboolean ended_dispatch(GSource *source, GSourceFunc fn, gpointer opaque)
{
    turn_of("io_uring");
    complete_ended();
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs ended_funcs = {.dispatch = ended_dispatch};

static void uring_cancel(struct engine_job *job)
{
    struct io_uring_sqe *sqe;

    if (job->place == ENGINE_WAITING) {
        if (list_remove(&backlog, job)) {
            end_soon(job);
        } else if (list_remove(&prepared, job)) {
            blank(job->entry);
            end_soon(job);
        }
        return;
    }
    /* A queue that is full can wait for its end as well. */
    sqe = job->place == ENGINE_GIVEN && !refused_since ? io_uring_get_sqe(&ring) : NULL;
    if (sqe) {
        io_uring_prep_cancel(sqe, job, 0);
        io_uring_sqe_set_data(sqe, NULL);
        push();
    }
}

static bool uring_wait(int timeout_ms)
{
    struct pollfd pfd = {.fd = ring.ring_fd, .events = POLLIN};

    turn_waits();
    flush_backlog();
    if (complete_ended()) {
        return true;
    }
    if (io_uring_cq_ready(&ring) == 0) {
        poll(flush_source ? NULL : &pfd, flush_source ? 0 : 1,
             flush_source ? MIN(timeout_ms, (int)flush_ms) : timeout_ms);
    }
    return uring_poll();
}

/* ---- main loop ---- */

/* Of what did not fit into the queue its own counters know nothing. */
static bool something_ended(void)
{
    return io_uring_cq_ready(&ring) > 0 || (io_uring_cq_has_overflow(&ring) && !flush_source);
}

static gboolean source_prepare(GSource *source, gint *timeout)
{
    *timeout = -1;
    return something_ended();
}

static gboolean source_check(GSource *source)
{
    return something_ended();
}

static gboolean source_dispatch(GSource *source, GSourceFunc fn, gpointer opaque)
{
    turn_of("io_uring");
    uring_poll();
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = {
    .prepare = source_prepare,
    .check = source_check,
    .dispatch = source_dispatch,
};

/*
 * What a ring can be made to do is not seen by seccomp, so the ring itself is told. Kernels before
 * 5.10 cannot be: theirs does all.
 */
static int restrict_ring(void)
{
    static const uint8_t ops[] = {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC,
                                  IORING_OP_FALLOCATE, IORING_OP_ASYNC_CANCEL};
    struct io_uring_restriction allowed[G_N_ELEMENTS(ops)] = {0};

    for (unsigned i = 0; i < G_N_ELEMENTS(ops); i++) {
        allowed[i].opcode = IORING_RESTRICTION_SQE_OP;
        allowed[i].sqe_op = ops[i];
    }
    /* liburing 2.3 declares functions for these two, and does not export them */
    if (syscall(__NR_io_uring_register, ring.ring_fd, IORING_REGISTER_RESTRICTIONS, allowed,
                G_N_ELEMENTS(ops)) < 0 ||
        syscall(__NR_io_uring_register, ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0) {
        return -errno;
    }
    return 0;
}

static int uring_start(void)
{
    struct io_uring_probe *probe;
    GSource *source;
    bool usable, can_restrict = true;
    int err = io_uring_queue_init(RING_ENTRIES, &ring, IORING_SETUP_R_DISABLED);

    if (err == -EINVAL) {
        can_restrict = false;
        err = io_uring_queue_init(RING_ENTRIES, &ring, 0);
    }
    if (err < 0) {
        return err;
    }
    probe = io_uring_get_probe_ring(&ring);
    usable = probe && io_uring_opcode_supported(probe, IORING_OP_READV) &&
             io_uring_opcode_supported(probe, IORING_OP_FALLOCATE);
    io_uring_free_probe(probe);
    err = !usable ? -ENOSYS : can_restrict ? restrict_ring() : 0;
    if (err < 0) {
        io_uring_queue_exit(&ring);
        return err;
    }
    source = g_source_new(&source_funcs, sizeof(GSource));
    g_source_set_name(source, "io_uring");
    ring_tag = g_source_add_unix_fd(source, ring.ring_fd, G_IO_IN);
    ring_source = source;
    g_source_set_can_recurse(source, TRUE); /* spares four system calls a dispatch */
    g_source_attach(source, NULL);
    g_source_unref(source);
    ended_source = g_source_new(&ended_funcs, sizeof(GSource));
    g_source_set_name(ended_source, "io_uring-ended");
    g_source_attach(ended_source, NULL);
    return 0;
}

const struct block_engine block_engine_uring = {
    .name = "io_uring",
    .start = uring_start,
    .submit = uring_submit,
    .cancel = uring_cancel,
    .poll = uring_poll,
    .wait = uring_wait,
};
