/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Thread-pool engine, for kernels that refuse io_uring. Threads are started on demand and end when
 * idle. While none can be made the jobs wait, and it is tried again; after a while of that they end
 * with the error.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <glib.h>
#include <glib-unix.h>

#include <xendm/log.h>
#include <xendm/turn.h>

#include "job-list.h"

#define THREADS_MAX 8
#define THREAD_STACK (128u << 10)
#define IDLE_SECONDS 5

static int wake_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wanted = PTHREAD_COND_INITIALIZER;
/* Under the lock. */
static struct job_list waiting = JOB_LIST_EMPTY(waiting), finished = JOB_LIST_EMPTY(finished);
static unsigned threads, idle;

/* The main loop's: while no thread can be made. */
static guint retry_source;
static unsigned retry_ms;
static int64_t short_since;

static ssize_t perform(const struct engine_job *job)
{
    ssize_t n;

    switch (job->op) {
    case ENGINE_READV:
        n = preadv(job->fd, job->iov, (int)job->niov, (off_t)job->offset);
        break;
    case ENGINE_WRITEV:
        n = pwritev(job->fd, job->iov, (int)job->niov, (off_t)job->offset);
        break;
    case ENGINE_WRITEV_SYNC:
        n = pwritev2(job->fd, job->iov, (int)job->niov, (off_t)job->offset, RWF_DSYNC);
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
    return n < 0 ? -errno : n; /* -EINTR, too: raw.c tries again, with pauses and not for ever */
}

static void wake(void)
{
    uint64_t one = 1;

    while (write(wake_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

/* Under the lock: the next job, or NULL when none came for a while. */
static struct engine_job *await_job(void)
{
    struct timespec until;
    int e = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += IDLE_SECONDS;
    idle++;
    while (!waiting.first && e == 0) {
        e = pthread_cond_timedwait(&wanted, &lock, &until);
    }
    idle--;
    return list_take(&waiting);
}

static void *worker(void *arg)
{
    struct engine_job *job;

    pthread_mutex_lock(&lock);
    while ((job = await_job())) {
        job->place = ENGINE_GIVEN;
        pthread_mutex_unlock(&lock);
        job->result = perform(job);
        pthread_mutex_lock(&lock);
        list_add(&finished, job);
        wake();
    }
    threads--;
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Signals are the main thread's. */
static int start_thread(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    int e;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, THREAD_STACK);
    e = pthread_create(&thread, &attr, worker, NULL);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -e;
}

/* All that waits ends with the error: for so long there was nobody to do it. */
static void give_up(int error)
{
    struct engine_job *job;

    while ((job = list_take(&waiting))) {
        job->result = error;
        list_add(&finished, job);
    }
    wake();
}

static gboolean try_again(gpointer opaque);

/* Sees to it that somebody takes what waits. */
static void staff(void)
{
    int e = 0;

    pthread_mutex_lock(&lock);
    if (waiting.first && idle == 0 && threads < THREADS_MAX) {
        e = start_thread();
        threads += e == 0;
    }
    if (e < 0 && threads == 0) {
        int64_t now = g_get_monotonic_time();

        if (!short_since) {
            short_since = now;
            retry_ms = ENGINE_RETRY_FIRST_MS;
            log_warning(LOG_BLOCK, "no thread for disk I/O: %s; trying again", g_strerror(-e));
        }
        if (now - short_since > ENGINE_PATIENCE_US) {
            short_since = 0;
            give_up(e);
        } else if (!retry_source) {
            retry_source = g_timeout_add(retry_ms, try_again, NULL);
            retry_ms = MIN(retry_ms * 2, ENGINE_RETRY_MAX_MS);
        }
    } else {
        short_since = 0;
    }
    pthread_mutex_unlock(&lock);
}

static gboolean try_again(gpointer opaque)
{
    turn_of("disk threads");
    retry_source = 0;
    staff();
    return G_SOURCE_REMOVE;
}

static struct engine_job *take_finished(void)
{
    pthread_mutex_lock(&lock);
    struct engine_job *job = list_take(&finished);
    pthread_mutex_unlock(&lock);
    return job;
}

/* What is left when the turn is used up keeps the descriptor ready. */
static bool threads_poll(void)
{
    struct engine_job *job;
    bool any = false;
    uint64_t count;

    if (read(wake_fd, &count, sizeof(count)) < 0) {
        return false;
    }
    while (!(any && turn_is_used_up()) && (job = take_finished())) {
        any = true;
        job->place = ENGINE_NOWHERE;
        job->done(job);
    }
    if (any && turn_is_used_up()) {
        wake();
    }
    return true;
}

static bool threads_wait(int timeout_ms)
{
    struct pollfd pfd = {.fd = wake_fd, .events = POLLIN};

    staff();
    turn_waits();
    poll(&pfd, 1, timeout_ms);
    return threads_poll();
}

static void threads_submit(struct engine_job *job)
{
    pthread_mutex_lock(&lock);
    job->place = ENGINE_WAITING;
    list_add(&waiting, job);
    pthread_cond_signal(&wanted);
    pthread_mutex_unlock(&lock);
    staff();
}

static void threads_cancel(struct engine_job *job)
{
    pthread_mutex_lock(&lock);
    if (job->place == ENGINE_WAITING && list_remove(&waiting, job)) {
        job->result = -ECANCELED;
        list_add(&finished, job);
        wake();
    }
    pthread_mutex_unlock(&lock);
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
    g_unix_fd_add(wake_fd, G_IO_IN, wake_ready, NULL);
    return 0;
}

const struct block_engine block_engine_threads = {
    .name = "threads",
    .start = threads_start,
    .submit = threads_submit,
    .cancel = threads_cancel,
    .poll = threads_poll,
    .wait = threads_wait,
};
