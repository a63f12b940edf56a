/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests to xenstored. libxenstore waits for the answer, for ever, and neither a guest nor the
 * monitor may wait for a daemon that is stopped. So a thread does them, and who asks waits only so
 * long. After that xenstored counts as without an answer: what would be read cannot be had now, and
 * what would be written waits here in its order, until it has answered what it owes. Then the main
 * loop is woken, to look at everything anew.
 *
 * The thread is made with the first request that needs it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>
#include <xenstore.h>

#include <xendm/log.h>
#include <xendm/turn.h>
#include <xendm/xenstore.h>

#include "worker.h"

#define PATHS_MAX 64u       /* of which the newest value counts */
#define JOBS_MAX 4096u      /* of all that nobody waits for */
#define TRANSACTIONS_MAX 8u /* that others may spoil, one after the other */
#define END_WAIT_US G_USEC_PER_SEC

struct xenstore_worker {
    struct xs_handle *handle;
    unsigned limit_ms; /* 0: none, and no thread for what is asked */
    GThread *thread;
    GMutex lock; /* of what follows */
    GCond changed;
    GQueue jobs;
    unsigned owed; /* answers that nobody waits for any more */
    bool recovered;
    bool quit, closed;
    bool failed; /* which was said, until it goes well again */
};

struct xs_job *xs_job_new(enum xs_op op, const char *path, const char *value)
{
    struct xs_job *job = g_new0(struct xs_job, 1);

    job->op = op;
    job->path = g_strdup(path);
    job->value = g_strdup(value);
    return job;
}

void xs_job_free(struct xs_job *job)
{
    g_free(job->path);
    g_free(job->value);
    g_free(job->directory);
    free(job->text);
    free(job->list);
    g_free(job);
}

static bool is_write(const struct xs_job *job)
{
    return job->op == XS_OP_WRITE || job->op == XS_OP_WRITE_IN || job->op == XS_OP_UNWATCH;
}

/* ---- what xenstored is asked ---- */

static bool write_value(struct xs_handle *handle, xs_transaction_t t, const struct xs_job *job)
{
    return xs_write(handle, t, job->path, job->value, (unsigned)strlen(job->value));
}

/* One transaction: false with errno, EAGAIN when another write came in between. */
static bool write_where(struct xs_handle *handle, const struct xs_job *job)
{
    xs_transaction_t t = xs_transaction_start(handle);
    char *there;
    bool ok;
    int e;

    if (t == XBT_NULL) {
        return false;
    }
    there = xs_read(handle, t, job->directory, &(unsigned){0});
    ok = there && write_value(handle, t, job);
    e = errno;
    free(there);
    if (ok) {
        return xs_transaction_end(handle, t, false);
    }
    xs_transaction_end(handle, t, true);
    errno = e;
    return false;
}

static bool write_in(struct xs_handle *handle, const struct xs_job *job)
{
    errno = EAGAIN;
    for (unsigned i = 0; errno == EAGAIN && i < TRANSACTIONS_MAX; i++) {
        if (write_where(handle, job)) {
            return true;
        }
    }
    return false;
}

static void job_run(struct xs_handle *handle, struct xs_job *job)
{
    errno = 0;
    switch (job->op) {
    case XS_OP_READ:
        job->text = xs_read(handle, XBT_NULL, job->path, &job->length);
        job->ok = job->text != NULL;
        break;
    case XS_OP_LIST:
        job->list = xs_directory(handle, XBT_NULL, job->path, &job->length);
        job->ok = job->list != NULL;
        break;
    case XS_OP_WRITE:
        job->ok = write_value(handle, XBT_NULL, job);
        break;
    case XS_OP_WRITE_IN:
        job->ok = write_in(handle, job);
        break;
    case XS_OP_WATCH:
        job->ok = xs_watch(handle, job->path, job->value);
        break;
    case XS_OP_UNWATCH:
        xs_unwatch(handle, job->path, job->value); /* fails only with the connection */
        job->ok = true;
        break;
    case XS_OP_INTRODUCED:
        job->ok = xs_is_domain_introduced(handle, job->domid);
        break;
    }
    job->error = job->ok ? 0 : errno;
}

/* ---- the thread ---- */

/*
 * With the lock. Nobody waits for it. A directory that is gone needs no value; a watch that nobody
 * has needs none of its events, which are not known then.
 */
static void job_forget(struct xenstore_worker *w, struct xs_job *job)
{
    bool gone = job->op == XS_OP_WRITE_IN && job->error == ENOENT;

    if (job->op == XS_OP_WATCH && job->ok) {
        g_queue_push_head(&w->jobs, xs_job_new(XS_OP_UNWATCH, job->path, job->value));
    }
    if (is_write(job) && !job->ok && !gone && !w->failed) {
        log_warning(LOG_XENSTORE, "cannot write %s: %s", job->path, g_strerror(job->error));
    }
    if (is_write(job)) {
        w->failed = !job->ok && !gone;
    }
    if (job->owed && --w->owed == 0) { /* the last answer that somebody had waited for */
        w->recovered = true;
        g_main_context_wakeup(NULL);
    }
    xs_job_free(job);
}

static void *worker_thread(void *opaque)
{
    struct xenstore_worker *w = opaque;
    struct xs_job *job;

    g_mutex_lock(&w->lock);
    while ((job = g_queue_pop_head(&w->jobs)) || !w->quit) {
        if (!job) {
            g_cond_wait(&w->changed, &w->lock);
            continue;
        }
        g_mutex_unlock(&w->lock);
        job_run(w->handle, job);
        g_mutex_lock(&w->lock);
        job->done = true;
        if (job->waited) {
            g_cond_broadcast(&w->changed);
        } else {
            job_forget(w, job);
        }
    }
    w->closed = true;
    g_cond_broadcast(&w->changed);
    g_mutex_unlock(&w->lock);
    return NULL;
}

/* With the lock. */
static bool have_thread(struct xenstore_worker *w)
{
    if (!w->thread) {
        w->thread = g_thread_try_new("xenstore", worker_thread, w, NULL);
    }
    return w->thread != NULL;
}

/* ---- who asks ---- */

struct xenstore_worker *xenstore_worker_new(struct xs_handle *handle)
{
    struct xenstore_worker *w = g_new0(struct xenstore_worker, 1);

    w->handle = handle;
    g_mutex_init(&w->lock);
    g_cond_init(&w->changed);
    g_queue_init(&w->jobs);
    return w;
}

void xenstore_worker_limit(struct xenstore_worker *w, unsigned ms)
{
    w->limit_ms = ms;
}

/* With the lock. Takes the place of what waits for the same path; true if there was some. */
static bool replace(struct xenstore_worker *w, struct xs_job *job)
{
    for (GList *l = w->jobs.head; l; l = l->next) {
        struct xs_job *old = l->data;

        if (old->newest_counts && strcmp(old->path, job->path) == 0) {
            l->data = job;
            xs_job_free(old);
            return true;
        }
    }
    return false;
}

/* With the lock. */
static int put(struct xenstore_worker *w, struct xs_job *job)
{
    if (job->newest_counts && replace(w, job)) {
        return 0;
    }
    if (!have_thread(w) || w->jobs.length >= (job->newest_counts ? PATHS_MAX : JOBS_MAX)) {
        xs_job_free(job);
        return w->thread ? -ENOBUFS : -EAGAIN;
    }
    g_queue_push_tail(&w->jobs, job);
    g_cond_broadcast(&w->changed);
    return 0;
}

int xenstore_worker_put(struct xenstore_worker *w, struct xs_job *job)
{
    int rc;

    g_mutex_lock(&w->lock);
    rc = put(w, job);
    g_mutex_unlock(&w->lock);
    return rc;
}

/* With the lock. */
static bool wait_for(struct xenstore_worker *w, struct xs_job *job)
{
    gint64 end = g_get_monotonic_time() + (gint64)w->limit_ms * 1000;

    turn_waits();
    job->waited = true;
    while (!job->done && g_cond_wait_until(&w->changed, &w->lock, end)) {
    }
    job->waited = false;
    if (!job->done) {
        job->owed = true;
        w->owed++;
    }
    return job->done;
}

int xenstore_worker_ask(struct xenstore_worker *w, struct xs_job *job)
{
    bool writes = is_write(job);
    int rc = -EAGAIN;

    if (w->limit_ms == 0) {
        job_run(w->handle, job);
        return 0;
    }
    g_mutex_lock(&w->lock);
    if (w->owed == 0) {
        rc = put(w, job);
        if (rc == 0 && !wait_for(w, job)) {
            log_warning(LOG_XENSTORE, "xenstored does not answer");
            rc = writes ? -EINPROGRESS : -EAGAIN;
        }
    } else if (writes) {
        rc = put(w, job);
        rc = rc == 0 ? -EINPROGRESS : rc;
    } else {
        xs_job_free(job);
    }
    g_mutex_unlock(&w->lock);
    return rc;
}

bool xenstore_worker_recovered(struct xenstore_worker *w)
{
    bool recovered;

    g_mutex_lock(&w->lock);
    recovered = w->recovered;
    w->recovered = false;
    g_mutex_unlock(&w->lock);
    return recovered;
}

bool xenstore_worker_free(struct xenstore_worker *w)
{
    gint64 end = g_get_monotonic_time() + END_WAIT_US;
    bool closed;

    if (!w) {
        return true;
    }
    g_mutex_lock(&w->lock);
    w->quit = true;
    closed = !w->thread;
    g_cond_broadcast(&w->changed);
    while (!closed && !w->closed && g_cond_wait_until(&w->changed, &w->lock, end)) {
    }
    closed = closed || w->closed;
    g_mutex_unlock(&w->lock);
    if (!closed) {
        /* The process ends, and the thread with it. */
        log_warning(LOG_XENSTORE, "xenstored does not answer: what was to be written is lost");
        return false;
    }
    if (w->thread) {
        g_thread_join(w->thread);
    }
    g_mutex_clear(&w->lock);
    g_cond_clear(&w->changed);
    g_free(w);
    return true;
}
