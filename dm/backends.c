/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's side of the machine, from its description; see daemon.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xendm/backend.h>
#include <xendm/block.h>
#include <xendm/error.h>
#include <xendm/log.h>
#include <xendm/turn.h>
#include <xendm/xenstore.h>

#include "daemon.h"
#include "loop.h"
#include "origin.h"

int backends_open(struct daemon *d, GError **err)
{
    d->backends = backend_set_new();
    if (d->origin.incoming_fd >= 0) {
        backend_set_begin_inactive(d->backends); /* another host's, until the first cont */
    }
    for (guint i = 0; i < d->desc->objects->len; i++) {
        const struct object_desc *o = g_ptr_array_index(d->desc->objects, i);

        if (o->what == OBJECT_BACKEND && !origin_open_backend(&d->origin, d->backends, o, err)) {
            return -1;
        }
    }
    return 0;
}

/* ---- flushing ---- */

struct flush_one {
    struct flush *f;
    const char *id;
    struct block_queue *q;
    struct block_request req;
};

struct flush {
    void (*done)(void *opaque, GError *err); /* NULL: nobody waits any more */
    void *opaque;
    GError *err;
    unsigned left, count;
    struct flush_one one[];
};

static void flush_free(struct flush *f)
{
    for (unsigned i = 0; i < f->count; i++) {
        block_queue_free(f->one[i].q);
    }
    g_clear_error(&f->err);
    g_free(f);
}

static void flush_end(struct flush *f)
{
    GError *err = g_steal_pointer(&f->err);
    void (*done)(void *, GError *) = f->done;
    void *opaque = f->opaque;

    flush_free(f);
    if (done) {
        done(opaque, err);
    } else {
        g_clear_error(&err);
    }
}

/* From the loop; in a turn of its own, for a queue is not freed in its own completion. */
static gboolean flush_ended(gpointer opaque)
{
    turn_of("flush");
    flush_end(opaque);
    return G_SOURCE_REMOVE;
}

static void one_flushed(struct block_request *req, int error)
{
    struct flush_one *one = req->opaque;
    struct flush *f = one->f;

    if (error && !f->err) {
        g_set_error(&f->err, XENDM_ERROR, -error,
                    "drive %s: what the guest wrote cannot be made safe: %s", one->id,
                    g_strerror(-error));
    }
    if (--f->left == 0) {
        g_idle_add_full(G_PRIORITY_DEFAULT, flush_ended, f, NULL);
    }
}

static struct block *written(struct backend *backend)
{
    struct block *b = backend->class->kind == BACKEND_BLOCK ? block_of(backend) : NULL;

    return b && block_present(b) && block_active(b) && !block_read_only(b) ? b : NULL;
}

static void count_written(void *opaque, struct backend *backend)
{
    *(unsigned *)opaque += written(backend) != NULL;
}

static void flush_one(void *opaque, struct backend *backend)
{
    struct flush *f = opaque;
    struct block *b = written(backend);
    struct flush_one *one = &f->one[f->count];

    if (b) {
        *one = (struct flush_one){.f = f, .id = block_id(b), .q = block_queue_new(b)};
        one->req = (struct block_request){.op = BLOCK_FLUSH, .done = one_flushed, .opaque = one};
        f->count++;
        f->left++;
        block_submit(one->q, &one->req);
    }
}

struct flush *backends_flush(struct daemon *d, void (*done)(void *opaque, GError *err),
                             void *opaque)
{
    struct flush *f;
    unsigned count = 0;

    backend_foreach(d->backends, count_written, &count);
    f = g_malloc0(sizeof(*f) + count * sizeof(f->one[0]));
    f->done = done;
    f->opaque = opaque;
    backend_foreach(d->backends, flush_one, f);
    if (f->count > 0) {
        return f;
    }
    flush_end(f);
    return NULL;
}

void backends_flush_forget(struct flush *f)
{
    f->done = NULL;
    for (unsigned i = 0; f->left > 0 && i < f->count; i++) {
        block_cancel(f->one[i].q, &f->one[i].req);
    }
}

/* ---- the end ---- */

/* How long ending waits for I/O that is on its way to the host. */
#define END_PATIENCE_US (1 * G_TIME_SPAN_SECOND)

/*
 * A disk that does not answer must not keep a dying domain's memory: after a moment of patience the
 * process goes as it is, and the kernel takes everything back. The guest was not told that such a
 * request is done, so nothing is lost.
 */
void backends_await_io(struct daemon *d)
{
    gint64 deadline = g_get_monotonic_time() + END_PATIENCE_US;
    unsigned left;

    while (d->backends && (left = backend_set_busy(d->backends)) > 0) {
        if (g_get_monotonic_time() > deadline) {
            log_warning(LOG_DM, "%u disk requests do not come back: not waiting for them", left);
            _exit(EXIT_SUCCESS);
        }
        if (!g_main_context_iteration(NULL, FALSE)) {
            g_usleep(1000);
        }
    }
}

void backends_close(struct daemon *d)
{
    g_clear_pointer(&d->backends, backend_set_free);
}

/*
 * PV back ends that libxl leaves to the device model (toolstack.md 3.4) and that we do not serve
 * yet. Left in state Initialising they hold up a guest with PV drivers: Linux waits 30 s for a
 * keyboard and 5 minutes for a disk. Closed, their frontends give up at once, and the emulated CD
 * drive, keyboard and mouse do the work.
 */
void backends_close_absent(struct daemon *d)
{
    static const char *const kinds[] = {"qdisk", "vkbd", "vfb", "qusb", "9pfs"};

    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *dir =
            g_strdup_printf("/local/domain/0/backend/%s/%u", kinds[i], d->desc->domid);
        g_auto(GStrv) devices = xenstore_list(d->xenstore, dir);
        int e = errno;

        if (!devices && e != ENOENT) {
            log_warning(LOG_BACKEND, "cannot look for %s back ends: %s", kinds[i], g_strerror(e));
        }
        for (char **device = devices; device && *device; device++) {
            g_autofree char *state = g_strdup_printf("%s/%s/state", dir, *device);

            e = xenstore_write(d->xenstore, state, "6"); /* XenbusStateClosed */
            if (e < 0) {
                log_warning(LOG_BACKEND, "cannot close %s: %s", state, g_strerror(-e));
            } else {
                log_info(LOG_BACKEND, "%s %s: there is no such PV back end yet; closed", kinds[i],
                         *device);
            }
        }
    }
}
