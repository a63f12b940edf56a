/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Thread-pool engine, for kernels that refuse io_uring. Threads are started on demand and end when
 * idle. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <glib.h>
#include <glib-unix.h>

#include <xendm/turn.h>

#include "engine.h"

#define THREADS_MAX 8

static GThreadPool *pool;
static int wake_fd = -1;
static GMutex lock;
static struct engine_job *finished, **finished_end = &finished; /* under lock */

static ssize_t perform(const struct engine_job *job)
{
    ssize_t n;

    do {
        switch (job->op) {
        case ENGINE_READV:
            n = preadv(job->fd, job->iov, (int)job->niov, (off_t)job->offset);
            break;
        case ENGINE_WRITEV:
            n = pwritev(job->fd, job->iov, (int)job->niov, (off_t)job->offset);
            break;
        case ENGINE_SYNC:
            n = fdatasync(job->fd);
            break;
        case ENGINE_PUNCH:
            n = fallocate(job->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)job->offset,
                          (off_t)job->length);
            break;
        case ENGINE_ZERO:
            n = fallocate(job->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)job->offset,
                          (off_t)job->length);
            break;
        default:
            return -EINVAL;
        }
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static void worker(gpointer data, gpointer opaque)
{
    struct engine_job *job = data;
    uint64_t one = 1;

    job->result = perform(job);
    g_mutex_lock(&lock);
    job->next = NULL;
    *finished_end = job;
    finished_end = &job->next;
    g_mutex_unlock(&lock);
    while (write(wake_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

static bool threads_poll(void)
{
    struct engine_job *job, *next;
    uint64_t count;

    if (read(wake_fd, &count, sizeof(count)) < 0) {
        return false;
    }
    g_mutex_lock(&lock);
    job = finished;
    finished = NULL;
    finished_end = &finished;
    g_mutex_unlock(&lock);
    for (; job; job = next) {
        next = job->next;
        job->done(job);
    }
    return true;
}

static bool threads_wait(int timeout_ms)
{
    struct pollfd pfd = {.fd = wake_fd, .events = POLLIN};

    poll(&pfd, 1, timeout_ms);
    return threads_poll();
}

static void threads_submit(struct engine_job *job)
{
    g_thread_pool_push(pool, job, NULL);
}

static gboolean wake_ready(gint fd, GIOCondition condition, gpointer opaque)
{
    turn_of("disk threads");
    threads_poll();
    return G_SOURCE_CONTINUE;
}

static int threads_start(void)
{
    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd < 0) {
        return -errno;
    }
    pool = g_thread_pool_new(worker, NULL, THREADS_MAX, FALSE, NULL);
    g_thread_pool_set_max_idle_time(5000);
    g_unix_fd_add(wake_fd, G_IO_IN, wake_ready, NULL);
    return 0;
}

const struct block_engine block_engine_threads = {
    .name = "threads",
    .start = threads_start,
    .submit = threads_submit,
    .poll = threads_poll,
    .wait = threads_wait,
};
