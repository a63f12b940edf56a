/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's side of the machine, from its description; see daemon.h. */
#include <errno.h>

#include <xendm/backend.h>
#include <xendm/block.h>
#include <xendm/error.h>
#include <xendm/evtchn.h>
#include <xendm/foreign.h>
#include <xendm/grants.h>
#include <xendm/handover.h>
#include <xendm/image-name.h>
#include <xendm/instance.h>
#include <xendm/log.h>
#include <xendm/pv.h>
#include <xendm/turn.h>
#include <xendm/xenstore.h>

#include "daemon.h"
#include "origin.h"
#include "sandbox/sandbox.h"

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
        one->req = (struct block_request){.op = BLOCK_FLUSH,
                                          .flags = BLOCK_SURELY,
                                          .done = one_flushed,
                                          .opaque = one};
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
            sandbox_end_as_it_is();
        }
        turn_waits();
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
 * ---- PV ----
 *
 * PV back ends need xenstore and grants for as long as the guest lives. A restricted process
 * (dm_restrict) has neither, so there the toolstack's PV devices are closed before the restriction,
 * and the emulated CD drive, keyboard and mouse do the work.
 */

/* What serves a disk elsewhere is loaded before the sandbox, when there is one. */
static void prepare_disks(const struct daemon *d)
{
    g_autofree char *dir = g_strdup_printf("/local/domain/%u/backend/qdisk/%u",
                                           xenstore_own_domid(d->xenstore), d->desc->domid);
    g_auto(GStrv) disks = xenstore_list(d->xenstore, dir);

    if (!disks && errno != ENOENT) {
        log_warning(LOG_BACKEND, "cannot look for disks of image formats in %s: %s", dir,
                    g_strerror(errno));
    }
    for (char **disk = disks; disk && *disk; disk++) {
        g_autofree char *path = g_strdup_printf("%s/%s/params", dir, *disk);
        g_autofree char *params = xenstore_read(d->xenstore, path);
        const char *file, *driver = image_of_params(params, &file);
        const struct backend_class *class =
            driver ? backend_class_find(BACKEND_BLOCK, driver) : NULL;

        if (class && class->prepare) {
            class->prepare();
        }
    }
}

int daemon_pv_open(struct daemon *d, GError **err)
{
    g_autoptr(GError) why = NULL;

    if (d->desc->restrict_domid || !d->xenstore) {
        return 0;
    }
    prepare_disks(d);
    d->grants = grants_open(d->desc->domid, &why);
    d->pv_events = d->grants ? evtchn_open(d->desc->domid, -1, &why) : NULL;
    if (d->pv_events && instance_serves(instance_kind(d->desc->type), "vfb")) {
        d->foreign = foreign_open(d->desc->domid, &why);
    }
    if (d->pv_events && !why) {
        return 0;
    }
    g_clear_pointer(&d->grants, grants_close);
    if (!instance_has(d->desc->type, INSTANCE_MACHINE)) { /* there is nothing else to do */
        g_propagate_error(err, g_steal_pointer(&why));
        return -1;
    }
    log_warning(LOG_BACKEND, "PV devices are not served: %s", why->message);
    return 0;
}

/* The connection of the program before us, with the ports of the front ends. */
static int take_events(struct daemon *d, int fd, GError **err)
{
    struct evtchn *taken = evtchn_open(d->desc->domid, fd, err);

    if (!taken) {
        return -EIO;
    }
    evtchn_close(d->pv_events);
    d->pv_events = taken;
    return 0;
}

/* Those of xendm that this kind of instance serves. */
static const struct pv_class **choose(enum machine_type type)
{
    const struct instance_kind *kind = instance_kind(type);
    GPtrArray *chosen = g_ptr_array_new();

    for (const struct pv_class *const *c = pv_classes(); *c; c++) {
        if (instance_serves(kind, (*c)->kind)) {
            g_ptr_array_add(chosen, (gpointer)*c);
        }
    }
    g_ptr_array_add(chosen, NULL);
    return (const struct pv_class **)g_ptr_array_free(chosen, FALSE);
}

int daemon_pv_build(struct daemon *d, GError **err)
{
    const struct handover *left = d->origin.left;
    int fd = left ? handover_fd(left, "pv", "evtchn") : -1;
    struct pv_host host = {.domid = d->desc->domid,
                           .xs = d->xenstore,
                           .grants = d->grants,
                           .foreign = d->foreign,
                           .backends = d->backends,
                           .display = d->display,
                           .input = d->input};

    if (!d->pv_events) {
        return 0;
    }
    if (fd >= 0 && take_events(d, fd, err) < 0) {
        return -1;
    }
    host.events = d->pv_events;
    d->pv_served = choose(d->desc->type);
    d->pv = pv_bus_new(&host, d->pv_served);
    pv_bus_pause(d->pv);
    return fd >= 0 && pv_bus_take_over(d->pv, left, err) < 0 ? -1 : 0;
}

void daemon_pv_hand_over(const struct daemon *d, bool check, struct handover *to)
{
    if (d->pv && !check) { /* ports have one owner */
        handover_put_fd(to, "pv", "evtchn", evtchn_fd(d->pv_events));
        pv_bus_hand_over(d->pv, to);
    }
}

void daemon_pv_run(struct daemon *d)
{
    g_autoptr(GError) err = NULL;

    if (!d->pv) {
        return;
    }
    pv_bus_resume(d->pv);
    if (pv_bus_start(d->pv, &err) < 0) {
        log_error(LOG_BACKEND, "PV devices are not served: %s", err->message);
    }
}

/* libxl gives a domain sound after the device model is there, and waits before it lets it run. */
void daemon_pv_offer_early(struct daemon *d)
{
    g_autoptr(GError) err = NULL;

    if (d->pv && pv_bus_start_early(d->pv, &err) < 0) {
        log_error(LOG_BACKEND, "PV devices are not offered: %s", err->message);
    }
}

void daemon_pv_pause(struct daemon *d)
{
    if (d->pv) {
        pv_bus_pause(d->pv);
    }
}

bool daemon_pv_busy(const struct daemon *d)
{
    return d->pv && pv_bus_busy(d->pv);
}

void daemon_pv_close(struct daemon *d)
{
    g_clear_pointer(&d->pv, pv_bus_free);
    g_clear_pointer(&d->pv_served, g_free);
    g_clear_pointer(&d->pv_events, evtchn_close);
    g_clear_pointer(&d->foreign, foreign_close);
    g_clear_pointer(&d->grants, grants_close);
}

/*
 * What is served, for the toolstack: libxl asks before it makes a qusb controller for a guest that
 * runs, and takes a list without a kind for its word (docs/misc/qemu-backends.txt of Xen).
 */
void daemon_pv_tell_served(struct daemon *d)
{
    for (const struct pv_class *const *c = d->pv_served; c && *c; c++) {
        g_autofree char *key = g_strdup_printf("backends/%s", (*c)->kind);
        int rc = xenstore_write(d->xenstore, key, "");

        if (rc < 0) {
            log_warning(LOG_BACKEND, "cannot write %s: %s", key, g_strerror(-rc));
        }
    }
}

/* ---- those that are not served ---- */

static bool served(const struct daemon *d, const char *kind)
{
    for (const struct pv_class *const *c = d->pv_served; c && *c; c++) {
        if (g_str_equal((*c)->kind, kind)) {
            return true;
        }
    }
    return false;
}

static void close_kind(struct daemon *d, const char *kind)
{
    g_autofree char *dir = g_strdup_printf("/local/domain/%u/backend/%s/%u",
                                           xenstore_own_domid(d->xenstore), kind, d->desc->domid);
    g_auto(GStrv) devices = xenstore_list(d->xenstore, dir);
    int e = errno;

    if (!devices && e != ENOENT) {
        log_warning(LOG_BACKEND, "cannot look for %s back ends: %s", kind, g_strerror(e));
    }
    for (char **device = devices; device && *device; device++) {
        g_autofree char *one = g_strdup_printf("%s/%s", dir, *device);
        g_autofree char *state = g_strdup_printf("%s/state", one);

        e = xenstore_write_in(d->xenstore, one, state, "6"); /* XenbusStateClosed */
        if (e == -ENOENT) {
            continue; /* the toolstack took it away */
        }
        if (e < 0) {
            log_warning(LOG_BACKEND, "cannot close %s: %s", state, g_strerror(-e));
        } else {
            log_info(LOG_BACKEND, "%s %s is not served%s: closed", kind, *device,
                     d->desc->restrict_domid ? " under dm_restrict" : "");
        }
    }
}

/*
 * Left in state Initialising they hold up a guest with PV drivers: Linux waits 30 s for a keyboard
 * and 5 minutes for a disk. Closed, their front ends give up at once.
 */
void daemon_pv_close_absent(struct daemon *d)
{
    static const char *const kinds[] = {"qdisk", "vkbd", "vfb", "qusb", "9pfs", "qnic"};

    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (!served(d, kinds[i])) {
            close_kind(d, kinds[i]);
        }
    }
}
