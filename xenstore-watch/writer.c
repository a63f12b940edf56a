/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes that nobody waits for. libxenstore waits for xenstored's answer, and what a guest does may
 * not wait for a daemon that is stopped, so these go by a connection and a thread of their own.
 *
 * One value a path: a later one takes the place of one that was not written yet. The thread is made
 * with the first write.
 */
#include <errno.h>
#include <string.h>

#include <glib.h>
#include <xenstore.h>

#include <xendm/log.h>
#include <xendm/xenstore.h>

#include "writer.h"

#define PATHS_MAX 64u
#define END_WAIT_US G_USEC_PER_SEC

struct pending {
    char *path, *value;
};

struct xenstore_writer {
    struct xs_handle *handle;
    GThread *thread;
    GMutex lock; /* of what follows */
    GCond changed;
    GQueue pending; /* struct pending *, in order of their paths' first write */
    bool busy, quit, closed;
    bool failed; /* which was said, until it goes well again */
};

static void pending_free(void *opaque)
{
    struct pending *p = opaque;

    g_free(p->path);
    g_free(p->value);
    g_free(p);
}

static void write_one(struct xenstore_writer *w, const struct pending *p)
{
    bool ok = xs_write(w->handle, XBT_NULL, p->path, p->value, (unsigned)strlen(p->value));
    int e = errno;

    if (!ok && !w->failed) {
        log_warning(LOG_XENSTORE, "cannot write %s: %s", p->path, g_strerror(e));
    }
    w->failed = !ok;
}

static void *writer_thread(void *opaque)
{
    struct xenstore_writer *w = opaque;
    struct pending *p;

    g_mutex_lock(&w->lock);
    while ((p = g_queue_pop_head(&w->pending)) || !w->quit) {
        if (!p) {
            g_cond_wait(&w->changed, &w->lock);
            continue;
        }
        w->busy = true;
        g_mutex_unlock(&w->lock);
        write_one(w, p);
        pending_free(p);
        g_mutex_lock(&w->lock);
        w->busy = false;
        g_cond_broadcast(&w->changed);
    }
    w->closed = true;
    g_cond_broadcast(&w->changed);
    g_mutex_unlock(&w->lock);
    return NULL;
}

struct xenstore_writer *xenstore_writer_new(void)
{
    struct xs_handle *handle = xs_open(0);
    struct xenstore_writer *w;

    if (!handle) {
        return NULL;
    }
    w = g_new0(struct xenstore_writer, 1);
    w->handle = handle;
    g_mutex_init(&w->lock);
    g_cond_init(&w->changed);
    g_queue_init(&w->pending);
    return w;
}

/* Replaces what waits for the same path; true if there was some. */
static bool replace(struct xenstore_writer *w, const char *path, const char *value)
{
    for (GList *l = w->pending.head; l; l = l->next) {
        struct pending *p = l->data;

        if (strcmp(p->path, path) == 0) {
            g_free(p->value);
            p->value = g_strdup(value);
            return true;
        }
    }
    return false;
}

int xenstore_writer_put(struct xenstore_writer *w, const char *path, const char *value)
{
    int rc = 0;

    g_mutex_lock(&w->lock);
    if (!w->thread) {
        w->thread = g_thread_try_new("xenstore-writer", writer_thread, w, NULL);
    }
    if (!w->thread) {
        rc = -EAGAIN;
    } else if (!replace(w, path, value)) {
        if (w->pending.length < PATHS_MAX) {
            struct pending *p = g_new(struct pending, 1);

            *p = (struct pending){g_strdup(path), g_strdup(value)};
            g_queue_push_tail(&w->pending, p);
        } else {
            rc = -ENOBUFS;
        }
    }
    g_cond_broadcast(&w->changed);
    g_mutex_unlock(&w->lock);
    return rc;
}

void xenstore_writer_free(struct xenstore_writer *w)
{
    gint64 end = g_get_monotonic_time() + END_WAIT_US;
    bool closed;

    if (!w) {
        return;
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
        /* xenstored does not answer. The process ends, and the thread with it. */
        log_warning(LOG_XENSTORE, "xenstored does not answer: what was to be written is lost");
        return;
    }
    if (w->thread) {
        g_thread_join(w->thread);
    }
    xs_close(w->handle);
    g_queue_clear_full(&w->pending, pending_free);
    g_mutex_clear(&w->lock);
    g_cond_clear(&w->changed);
    g_free(w);
}
