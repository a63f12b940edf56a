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

#include "engine.h"

#define RING_ENTRIES 128u

static struct io_uring ring;
/* Jobs that found no free entry wait here, in order. */
static struct engine_job *backlog, **backlog_end = &backlog;

static bool reap(void)
{
    struct io_uring_cqe *cqe;
    bool any = false;

    while (io_uring_peek_cqe(&ring, &cqe) == 0) {
        struct engine_job *job = io_uring_cqe_get_data(cqe);

        job->result = cqe->res;
        io_uring_cqe_seen(&ring, cqe);
        any = true;
        job->done(job);
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
}

/* Hands prepared entries to the kernel. -EBUSY/-EAGAIN: they stay prepared and go with the next
 * call. */
static void push(void)
{
    int n;

    do {
        n = io_uring_submit(&ring);
    } while (n == -EINTR);
    if (n < 0 && n != -EBUSY && n != -EAGAIN) {
        log_error(LOG_BLOCK, "io_uring_submit: %s", g_strerror(-n));
    }
}

static void flush_backlog(void)
{
    bool any = false;

    while (backlog) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

        if (!sqe) {
            break;
        }
        prepare(sqe, backlog);
        backlog = backlog->next;
        any = true;
    }
    if (!backlog) {
        backlog_end = &backlog;
    }
    if (any || io_uring_sq_ready(&ring) > 0) {
        push();
    }
}

static bool uring_poll(void)
{
    bool any = reap();

    if (any || backlog || io_uring_sq_ready(&ring) > 0) {
        flush_backlog();
    }
    return any;
}

static void uring_submit(struct engine_job *job)
{
    struct io_uring_sqe *sqe = backlog ? NULL : io_uring_get_sqe(&ring);

    if (!sqe) {
        job->next = NULL;
        *backlog_end = job;
        backlog_end = &job->next;
        return;
    }
    prepare(sqe, job);
    push();
}

static bool uring_wait(int timeout_ms)
{
    struct pollfd pfd = {.fd = ring.ring_fd, .events = POLLIN};

    flush_backlog();
    if (io_uring_cq_ready(&ring) == 0) {
        poll(&pfd, 1, timeout_ms);
    }
    return uring_poll();
}

/* ---- main loop ---- */

static gboolean source_prepare(GSource *source, gint *timeout)
{
    *timeout = -1;
    return io_uring_cq_ready(&ring) > 0;
}

static gboolean source_check(GSource *source)
{
    return io_uring_cq_ready(&ring) > 0;
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
                                  IORING_OP_FALLOCATE};
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
    g_source_add_unix_fd(source, ring.ring_fd, G_IO_IN);
    g_source_set_can_recurse(source, TRUE); /* spares four system calls a dispatch */
    g_source_attach(source, NULL);
    g_source_unref(source);
    return 0;
}

const struct block_engine block_engine_uring = {
    .name = "io_uring",
    .start = uring_start,
    .submit = uring_submit,
    .poll = uring_poll,
    .wait = uring_wait,
};
