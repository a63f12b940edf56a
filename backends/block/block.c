/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The drive: its queues, its medium, who listens, what is counted. What moves the bytes is the
 * medium's driver (driver.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <xendm/backend-classes.h>
#include <xendm/block.h>
#include <xendm/error.h>
#include <xendm/host-time.h>
#include <xendm/iov.h>
#include <xendm/log.h>
#include <xendm/probe.h>
#include <xendm/recorder.h>
#include <xendm/tape.h>
#include <xendm/turn.h>

#include "engine.h"
#include "internal.h"

/* How long opening one waits for the lock of an image: whoever had it may be on its way out. */
#define LOCK_PATIENCE_US (1 * G_TIME_SPAN_SECOND)
/* How long closing a drive waits for what is in flight. */
#define CLOSE_PATIENCE_US (1 * G_TIME_SPAN_SECOND)
#define LOOK_MS 20

struct listening {
    const struct block_listener *listener;
    void *opaque;
};

struct block_queue {
    struct block *b;
    unsigned in_flight;
    void (*quiet)(void *opaque);
    void *quiet_opaque;
};

static const struct block_driver *const drivers[] = {&block_raw, &block_nbd};

/* Requests of all drives that need no medium, or were refused: these end from the loop, too. */
static GQueue refusing = G_QUEUE_INIT;

/* ---- requests ---- */

/* In request->driver[]: [0] the driver's, [1] the error of a refused one, [2] medium, [3] queue. */
static struct block_queue *queue_of(const struct block_request *req)
{
    return req->driver[3];
}

static void medium_close(struct block_medium *m)
{
    char *file = m->file;

    m->driver->close(m);
    g_free(file);
}

/*
 * Whether nobody knows any more what was written. Else the flush was not done, and another may be.
 */
static bool writes_lost(int error)
{
    return error != 0 && error != -ECANCELED && error != -ENOMEDIUM && error != -EBUSY &&
           !error_is_of_the_moment(error);
}

static void request_ended(struct block_queue *q, struct block_request *req, int error)
{
    struct block *b = q->b;

    recorder_note(REC_BLOCK_DONE,
                  ((uint32_t)-error & RECORDER_BLOCK_MASK) | b->number << RECORDER_DRIVE_SHIFT,
                  req->offset, req->length);
    PROBE4(block_done, req, b->number, req->op, error);
    b->in_flight--;
    b->progress = host_now_ns();
    q->in_flight--;
    if (error) {
        b->stats.errors[req->op]++;
    } else {
        b->stats.ops[req->op]++;
        b->stats.bytes[req->op] += req->op == BLOCK_FLUSH ? 0 : req->length;
    }
    if (q->in_flight == 0 && q->quiet) {
        /*
         * Who waits for silence hears it after the request's own end, if that begins nothing new.
         */
        void (*quiet)(void *) = q->quiet;
        void *opaque = q->quiet_opaque;

        q->in_flight++; /* keeps the queue while it is used */
        req->done(req, error);
        if (--q->in_flight == 0 && q->quiet == quiet) {
            q->quiet = NULL;
            quiet(opaque);
        }
        return;
    }
    req->done(req, error);
}

static void request_end(struct block_queue *q, struct block_request *req, int error)
{
    bool taped = tape_on() && block_tape_done(req, error);

    request_ended(q, req, error);
    if (taped) {
        tape_leave();
    }
}

bool block_play_done(uint64_t number, int error, const void *data, size_t len)
{
    struct block_request *req = block_tape_take(number, data, len);

    if (!req) {
        return false;
    }
    request_ended(queue_of(req), req, error);
    return true;
}

static void resize_now(struct block *b);

void block_request_done(struct block_medium *m, struct block_request *req, int error)
{
    /*
     * The host tells of lost writes once and then forgets them, and guests repeat a failed flush.
     * What is lost stays lost: no later flush of this medium succeeds.
     */
    if (req->op == BLOCK_FLUSH && writes_lost(error) && m->flush_error == 0) {
        m->flush_error = error;
        log_error(LOG_BLOCK, "%s: flushing '%s' failed: %s; acknowledged writes are lost",
                  block_id(m->drive), m->file, g_strerror(-error));
    }
    if (--m->in_flight == 0) {
        if (m->out) {
            medium_close(m);
        } else if (m->drive->resize.done) {
            resize_now(m->drive);
        }
    }
    request_end(queue_of(req), req, error);
}

void block_count_retry(struct block_medium *m)
{
    m->drive->stats.retries++;
}

static bool complete_refused(void)
{
    guint n = g_queue_get_length(&refusing);

    for (guint i = 0; i < n; i++) {
        struct block_request *req = g_queue_pop_head(&refusing);

        request_end(queue_of(req), req, GPOINTER_TO_INT(req->driver[1]));
    }
    return n > 0;
}

static gboolean refused_prepare(GSource *source, gint *timeout)
{
    *timeout = -1;
    return !g_queue_is_empty(&refusing);
}

static gboolean refused_check(GSource *source)
{
    return !g_queue_is_empty(&refusing);
}

static gboolean refused_dispatch(GSource *source, GSourceFunc fn, gpointer opaque)
{
    turn_of("disk");
    complete_refused();
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs refused_funcs = {
    .prepare = refused_prepare,
    .check = refused_check,
    .dispatch = refused_dispatch,
};

static void refused_start(void)
{
    static bool started;

    if (!started) {
        GSource *source = g_source_new(&refused_funcs, sizeof(GSource));

        started = true;
        g_source_set_name(source, "block-refused");
        g_source_set_can_recurse(source, TRUE);
        g_source_attach(source, NULL);
        g_source_unref(source);
    }
}

static int check_transfer(const struct block_request *req)
{
    return req->niov <= BLOCK_IOV_MAX && iov_bytes(req->iov, req->niov) == req->length ? 0
                                                                                       : -EINVAL;
}

static int check_request(const struct block *b, const struct block_request *req)
{
    const struct block_medium *m = b->m;

    if (!m) {
        return -ENOMEDIUM;
    }
    if (!m->active) {
        return -EBUSY;
    }
    switch (req->op) {
    case BLOCK_FLUSH:
        return m->flush_error;
    case BLOCK_WRITE:
    case BLOCK_DISCARD:
    case BLOCK_ZERO:
        if (m->read_only) {
            return -EROFS;
        }
        break;
    case BLOCK_READ:
        break;
    default:
        return -EINVAL;
    }
    if (req->offset > m->size || req->length > m->size - req->offset) {
        return -EINVAL;
    }
    return req->op == BLOCK_READ || req->op == BLOCK_WRITE ? check_transfer(req) : 0;
}

void block_refuse(struct block_request *req, int error)
{
    req->driver[1] = GINT_TO_POINTER(error);
    g_queue_push_tail(&refusing, req);
}

/* A flush that the drive was told not to do. */
static bool is_ignored(const struct block *b, const struct block_request *req)
{
    return req->op == BLOCK_FLUSH && b->cache.no_flush && !(req->flags & BLOCK_SURELY);
}

void block_pass(struct block *b, struct block_request *req)
{
    int err = check_request(b, req);

    if (err < 0 || is_ignored(b, req)) {
        block_refuse(req, err);
        return;
    }
    req->driver[2] = b->m;
    b->m->in_flight++;
    b->m->driver->submit(b->m, req);
}

void block_submit(struct block_queue *q, struct block_request *req)
{
    struct block *b = q->b;

    recorder_note(REC_BLOCK, req->op | b->number << RECORDER_DRIVE_SHIFT, req->offset, req->length);
    PROBE5(block, req, b->number, req->op, req->offset, req->length);
    req->driver[0] = req->driver[2] = NULL;
    req->driver[3] = q;
    if (b->cache.through && (req->op == BLOCK_WRITE || req->op == BLOCK_ZERO)) {
        req->flags |= BLOCK_FUA;
    }
    if (b->in_flight == 0) {
        b->progress = host_now_ns();
    }
    b->in_flight++;
    q->in_flight++;
    if (tape_on() && tape_inside()) {
        block_tape_submit(b, req);
        if (tape_plays()) {
            return;
        }
    }
    if (!gate_is_free(b) && check_request(b, req) == 0 && gate_hold(b, req)) {
        b->stats.held++;
        return;
    }
    block_pass(b, req);
}

void block_cancel(struct block_queue *q, struct block_request *req)
{
    struct block_medium *m = req->driver[2];

    if (tape_plays() && block_tape_has(req)) {
        return; /* the tape knows when it is back */
    }
    if (q->in_flight > 0 && m) {
        m->driver->cancel(m, req);
    } else if (!gate_is_free(q->b) && gate_take_back(q->b, req)) {
        block_refuse(req, -ECANCELED);
    }
}

static int read_now(struct block_queue *q, uint64_t offset, void *buf, size_t length)
{
    struct block *b = q->b;
    struct block_medium *m = b->m;
    int e;

    if (!m || !m->active) {
        return m ? -EBUSY : -ENOMEDIUM;
    }
    if (offset > m->size || length > m->size - offset) {
        return -EINVAL;
    }
    if (!gate_is_free(b)) {
        return -EAGAIN;
    }
    e = m->driver->read_now(m, offset, buf, length);
    if (e == 0) {
        b->stats.ops[BLOCK_READ]++;
        b->stats.bytes[BLOCK_READ] += length;
    }
    return e;
}

int block_read_now(struct block_queue *q, uint64_t offset, void *buf, size_t length)
{
    int e = tape_plays() ? 0 : read_now(q, offset, buf, length);
    uint64_t n[] = {offset, length, (uint64_t)-e};

    if (tape_on() && tape_inside()) {
        tape_fact(TAPE_READ_NOW, block_id(q->b), n, buf, e == 0 ? length : 0);
    }
    return -(int)MIN(n[2], TAPE_ERRNO_MAX);
}

bool block_poll(void)
{
    bool any = complete_refused();

    any |= block_nbd_poll();
    return block_raw_poll() || any;
}

/* ---- queues ---- */

struct block_queue *block_queue_new(struct block *b)
{
    struct block_queue *q = g_new0(struct block_queue, 1);

    q->b = b;
    return q;
}

void block_queue_free(struct block_queue *q)
{
    XENDM_ASSERT(!q || q->in_flight == 0);
    g_free(q);
}

void block_quiesce(struct block_queue *q, void (*quiet)(void *opaque), void *opaque)
{
    q->quiet = quiet;
    q->quiet_opaque = opaque;
    if (quiet && q->in_flight == 0) {
        q->quiet = NULL;
        quiet(opaque);
    }
}

/* ---- media ---- */

/* The driver that serves a format, whose name becomes one that stays. */
static const struct block_driver *find_driver(const char **format)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(drivers); i++) {
        for (const char *const *f = drivers[i]->formats; *f; f++) {
            if (strcmp(*f, *format) == 0) {
                *format = *f;
                return drivers[i];
            }
        }
    }
    return NULL;
}

/* Whether a lock that could not be had may be had in a moment. */
static bool worth_waiting(const GError *why)
{
    return why->code != ENOENT && why->code != EROFS && why->code != EINVAL;
}

/* Nobody is served yet. */
static int await_lock(struct block_medium *m, GError **err)
{
    int64_t deadline = g_get_monotonic_time() + LOCK_PATIENCE_US;

    for (;;) {
        GError *why = NULL;
        int e = m->driver->lock(m, &why);

        if (e == 0) {
            return 0;
        }
        if (!worth_waiting(why) || g_get_monotonic_time() >= deadline) {
            g_propagate_error(err, why);
            return e;
        }
        g_error_free(why);
        turn_waits();
        g_usleep(LOOK_MS * 1000);
    }
}

/* Not locked yet. */
static struct block_medium *medium_begin(struct block *b, const struct block_options *o,
                                         GError **err)
{
    const char *format = o->format ? o->format : "raw";
    const struct block_driver *driver = find_driver(&format);
    struct block_medium *m;

    if (!driver) {
        g_set_error(err, XENDM_ERROR, ENOTSUP, "drive %s: image format '%s' of '%s' is not known",
                    b->b.id, format, o->file ? o->file : "");
        return NULL;
    }
    m = driver->open(b, o, err);
    if (m) {
        m->format = format;
        m->flush_error = o->lost < 0 ? o->lost : 0;
    }
    return m;
}

/* `passed`: its descriptor stays the caller's. */
static void medium_give_up(struct block_medium *m, bool passed)
{
    m->lent = passed;
    medium_close(m);
}

static struct block_medium *medium_open(struct block *b, const struct block_options *o,
                                        GError **err)
{
    struct block_medium *m = medium_begin(b, o, err);

    if (m && b->active && await_lock(m, err) < 0) {
        medium_give_up(m, o->fd >= 0);
        return NULL;
    }
    if (m) {
        m->active = b->active;
    }
    return m;
}

static void resize_end(struct block *b, GError *err)
{
    void (*done)(void *, GError *) = b->resize.done;

    if (!done) {
        g_clear_error(&err);
        return;
    }
    b->resize.done = NULL;
    gate_open(b);
    done(b->resize.opaque, err);
}

/* Out of the drive; closed when its last request is over. */
static void medium_out(struct block *b)
{
    struct block_medium *m = b->m;

    b->m = NULL;
    if (!m) {
        return;
    }
    gate_refuse_all(b, -ENOMEDIUM);
    resize_end(b,
               g_error_new(XENDM_ERROR, ENOMEDIUM, "drive %s: the medium was taken out", b->b.id));
    if (m->in_flight == 0) {
        medium_close(m);
        return;
    }
    log_warning(LOG_BLOCK, "%s: '%s' is taken out with %u requests in flight", b->b.id, m->file,
                m->in_flight);
    m->out = true; /* its lock goes with its descriptor */
}

static void tell(struct block *b, bool resized)
{
    tape_unrecorded("a medium changes");
    for (unsigned i = 0; i < b->listeners->len; i++) {
        const struct listening *l = &g_array_index(b->listeners, struct listening, i);
        void (*call)(void *) = resized ? l->listener->resized : l->listener->medium_changed;

        if (call) {
            call(l->opaque);
        }
    }
}

/* ---- a medium that comes ---- */

static void coming_end(struct block *b, GError *err)
{
    struct block_medium *m = b->coming.m;

    b->coming.m = NULL;
    g_clear_handle_id(&b->coming.timer, g_source_remove);
    if (err) {
        medium_give_up(m, b->coming.passed);
    } else {
        m->active = b->active;
        medium_out(b);
        b->m = m;
        tell(b, false);
    }
    b->coming.done(b->coming.opaque, err);
}

static void coming_cancel(struct block *b, const char *why)
{
    if (b->coming.m) {
        coming_end(b, g_error_new(XENDM_ERROR, ECANCELED, "drive %s: '%s' is not opened: %s",
                                  b->b.id, b->coming.m->file, why));
    }
}

static void coming_lock(struct block *b)
{
    struct block_medium *m = b->coming.m;
    GError *err = NULL;

    if (b->active && m->driver->lock_soon) {
        m->driver->lock_soon(m);
        return;
    }
    if (b->active) {
        m->driver->lock(m, &err);
    }
    block_medium_locked(m, err);
}

static gboolean coming_again(gpointer opaque)
{
    struct block *b = opaque;

    turn_of("disk");
    b->coming.timer = 0;
    coming_lock(b);
    return G_SOURCE_REMOVE;
}

void block_medium_locked(struct block_medium *m, GError *err)
{
    struct block *b = m->drive;

    if (err && worth_waiting(err) && g_get_monotonic_time() < b->coming.until) {
        g_error_free(err);
        b->coming.timer = g_timeout_add(LOOK_MS, coming_again, b);
        return;
    }
    coming_end(b, err);
}

void block_insert(struct block *b, const struct block_options *options,
                  void (*done)(void *opaque, GError *err), void *opaque)
{
    GError *err = NULL;
    struct block_medium *m;

    if (b->coming.m) {
        err = g_error_new(XENDM_ERROR, EBUSY, "drive %s: '%s' is being opened", b->b.id,
                          b->coming.m->file);
        done(opaque, err);
        return;
    }
    m = medium_begin(b, options, &err);
    if (!m) {
        done(opaque, err);
        return;
    }
    b->coming.m = m;
    b->coming.passed = options->fd >= 0;
    b->coming.until = options->patient ? g_get_monotonic_time() + LOCK_PATIENCE_US : 0;
    b->coming.done = done;
    b->coming.opaque = opaque;
    coming_lock(b);
}

/* ---- the drive ---- */

int block_start(struct block *b, const struct block_options *options, GError **err)
{
    static uint16_t drives;

    refused_start();
    b->number = ++drives;
    b->active = !options->inactive;
    b->read_only = options->read_only;
    b->listeners = g_array_new(FALSE, FALSE, sizeof(struct listening));
    if (options->fd >= 0 || (options->file && options->file[0])) {
        b->m = medium_open(b, options, err);
        if (!b->m) {
            g_array_free(b->listeners, TRUE);
            return -EINVAL;
        }
    }
    return 0;
}

struct block *block_open(const struct block_options *options, GError **err)
{
    struct block *b = g_new0(struct block, 1);

    b->b.class = &block_raw_class;
    b->b.id = g_strdup(options->id);
    b->cache = options->cache;
    if (block_start(b, options, err) < 0) {
        g_free(b->b.id);
        g_free(b);
        return NULL;
    }
    return b;
}

void block_stop(struct block *b)
{
    int64_t deadline = g_get_monotonic_time() + CLOSE_PATIENCE_US;

    coming_cancel(b, "the drive is closed");
    gate_refuse_all(b, -ECANCELED);
    while (b->in_flight > 0) {
        if (g_get_monotonic_time() > deadline) {
            log_warning(LOG_BLOCK, "%s: %u requests do not come back: not waiting for them",
                        b->b.id, b->in_flight);
            b->b.stays = true; /* and what they use */
            return;
        }
        if (!complete_refused() && !block_nbd_poll()) {
            block_raw_wait(LOOK_MS);
        }
    }
    medium_out(b);
    gate_set_limits(b, NULL, NULL);
    g_array_free(b->listeners, TRUE);
}

void block_close(struct block *b)
{
    if (!b) {
        return;
    }
    block_stop(b);
    if (!b->b.stays) {
        g_free(b->b.id);
        g_free(b);
    }
}

void block_eject(struct block *b)
{
    coming_cancel(b, "the drive was to be emptied");
    b->eject_waits = b->kept;
    if (b->m && !b->kept) {
        medium_out(b);
        tell(b, false);
    }
}

void block_keep(struct block *b, bool keep)
{
    b->kept = keep;
    if (!keep && b->eject_waits) {
        block_eject(b);
    }
}

void block_listen(struct block *b, const struct block_listener *listener, void *opaque)
{
    struct listening l = {listener, opaque};

    g_array_append_val(b->listeners, l);
}

void block_unlisten(struct block *b, const struct block_listener *listener, void *opaque)
{
    for (unsigned i = 0; i < b->listeners->len; i++) {
        const struct listening *l = &g_array_index(b->listeners, struct listening, i);

        if (l->listener == listener && l->opaque == opaque) {
            g_array_remove_index(b->listeners, i);
            return;
        }
    }
}

static int refresh(struct block *b, GError **err)
{
    uint64_t before = b->m->size;
    int e = b->m->driver->resize(b->m, err);

    if (e == 0 && b->m->size != before) {
        log_info(LOG_BLOCK,
                 "%s: '%s' has %" G_GUINT64_FORMAT " bytes now, %" G_GUINT64_FORMAT " before",
                 b->b.id, b->m->file, b->m->size, before);
        tell(b, true);
    }
    return e;
}

/* ---- another size ---- */

static void resize_now(struct block *b)
{
    struct block_medium *m = b->m;
    uint64_t before = m->size;
    GError *err = NULL;

    if (m->driver->truncate(m, b->resize.size, &err) == 0) {
        log_info(LOG_BLOCK, "%s: '%s' is resized from %" PRIu64 " to %" PRIu64 " bytes", b->b.id,
                 m->file, before, m->size);
    }
    if (m->size != before) {
        tell(b, true);
    }
    resize_end(b, err);
}

/* Whose size nobody here can change: whether it is so by now. */
static GError *look_again(struct block *b, uint64_t size)
{
    GError *err = NULL;

    if (refresh(b, &err) == 0 &&
        block_size(b) != (size + BLOCK_SECTOR - 1) / BLOCK_SECTOR * BLOCK_SECTOR) {
        err = g_error_new(XENDM_ERROR, ENOTSUP,
                          "drive %s: the %s image '%s' has %" PRIu64
                          " bytes; its size is changed by whoever serves it (of an image file by "
                          "qemu-img resize, while no guest has it)",
                          b->b.id, block_format(b), block_file(b), block_size(b));
    }
    return err;
}

static GError *refuse_resize(struct block *b, uint64_t size)
{
    const char *why = !b->m                             ? "has no medium"
                      : !b->m->active                   ? "is somebody else's at present"
                      : b->m->read_only                 ? "is read-only"
                      : b->resize.done                  ? "is being resized already"
                      : size == 0                       ? "cannot have no bytes at all"
                      : size > INT64_MAX - BLOCK_SECTOR ? "cannot be so large"
                                                        : NULL;

    return why ? g_error_new(XENDM_ERROR, EINVAL, "drive '%s' %s", b->b.id, why) : NULL;
}

void block_resize(struct block *b, uint64_t size, void (*done)(void *opaque, GError *err),
                  void *opaque)
{
    GError *err = refuse_resize(b, size);

    if (err || !b->m->driver->truncate) {
        done(opaque, err ? err : look_again(b, size));
        return;
    }
    b->resize.size = size;
    b->resize.done = done;
    b->resize.opaque = opaque;
    gate_shut(b);
    if (b->m->in_flight == 0 || size >= b->m->size) {
        resize_now(b);
    }
}

/* ---- limits ---- */

int block_set_throttle(struct block *b, const struct block_throttle *t, const char *group,
                       GError **err)
{
    int e = block_throttle_check(t, err);

    if (e == 0) {
        gate_set_limits(b, block_throttle_any(t) ? t : NULL, group);
    }
    return e;
}

const struct block_throttle *block_throttle(const struct block *b)
{
    return gate_limits(&b->gate);
}

const char *block_throttle_group(const struct block *b)
{
    return gate_group(&b->gate);
}

struct block_gate *block_gate_of(struct block *b)
{
    return &b->gate;
}

/* ---- whose it is ---- */

int block_activate(struct block *b, GError **err)
{
    struct block_medium *m = b->m;
    int e;

    if (b->active) {
        return 0;
    }
    if (m) {
        e = await_lock(m, err);
        if (e < 0) {
            return e;
        }
        m->driver->forget(m);
        e = refresh(b, err);
        if (e < 0) {
            m->driver->unlock(m);
            return e;
        }
        m->active = true;
    }
    b->active = true;
    return 0;
}

void block_inactivate(struct block *b)
{
    coming_cancel(b, "the other side of a migration has the drive");
    if (b->active && b->m) {
        b->m->driver->unlock(b->m);
        b->m->active = false;
    }
    b->active = false;
}

bool block_active(const struct block *b)
{
    return b->active;
}

/* ---- facts ---- */

unsigned block_in_flight(const struct block *b)
{
    return b->in_flight;
}

int block_fd(const struct block *b)
{
    return b->m ? b->m->driver->fd(b->m) : -1;
}

int block_lost(const struct block *b)
{
    return b->m ? b->m->flush_error : 0;
}

uint64_t block_size(const struct block *b)
{
    return b->m ? b->m->size : 0;
}

const struct block_limits *block_limits(const struct block *b)
{
    static const struct block_limits none = {.logical = BLOCK_SECTOR,
                                             .physical = BLOCK_SECTOR,
                                             .discard_align = BLOCK_SECTOR};
    const struct block_limits *limits = b->m ? &b->m->limits : &none;

    return tape_on() && tape_inside() ? block_tape_limits(b, limits) : limits;
}

bool block_read_only(const struct block *b)
{
    return b->m ? b->m->read_only : b->read_only;
}

bool block_present(const struct block *b)
{
    return b->m;
}

const char *block_id(const struct block *b)
{
    return b->b.id;
}

const char *block_file(const struct block *b)
{
    return b->m ? b->m->file : "";
}

const char *block_format(const struct block *b)
{
    return b->m ? b->m->format : "";
}

const struct block_cache *block_cache(const struct block *b)
{
    return &b->cache;
}

const struct block_stats *block_stats(const struct block *b)
{
    return &b->stats;
}
