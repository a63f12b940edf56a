/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block driver `nbd`: a medium that a server has: somebody's, by NBD, or the image server that our
 * keeper starts: for files of the formats qcow2, vpc (VHD), qed, vmdk qemu-storage-daemon, by
 * vhost-user-blk; for what QEMU can reach elsewhere (rbd:, iscsi:, https:; as `remote` the bytes of
 * it) qemu-nbd, by NBD. nbd-api.h makes one of the two.
 *
 * What is not known to be done when a connection breaks is asked for again on the next one, for as
 * long as the raw driver tries again; then it fails with the host's error. What was acknowledged
 * but not flushed when a server ended out of order may be lost, as in the server's memory there is
 * some of the image's metadata: then no flush succeeds any more (block_request_done()). A server
 * that stays but drops the connection promises with NBD_FLAG_CAN_MULTI_CONN that nothing is lost;
 * else it is taken for lost.
 *
 * Hostile servers: libnbd and vhost-blk.c check the protocol; nothing longer than what was asked
 * for comes. Size and block sizes are checked in nbd-link.c. A server that never answers holds its
 * own requests.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xendm/error.h>
#include <xendm/file-size.h>
#include <xendm/files.h>
#include <xendm/image-name.h>
#include <xendm/iov.h>
#include <xendm/log.h>
#include <xendm/turn.h>

#include "engine.h"
#include "nbd.h"

#define CHUNK_MAX (1u << 20) /* bytes of one READ or WRITE, and of a copy of them */
#define ZEROS_MAX 65536u     /* of zeros that are written as data */
#define OPEN_MS 10000        /* for a server to be there when a medium is opened */
#define REASON_MS 1000       /* for the end of one that refused, which says why */
#define STOP_MS 3000         /* for one to end when the image is given away */
#define STEADY_US (1 * G_TIME_SPAN_SECOND)
#define SAY_US (5 * G_TIME_SPAN_SECOND)          /* between two breaks that the log tells of */
#define GONE_US (2 * G_TIME_SPAN_SECOND)         /* longer than the longest pause of a link */
#define LATER_US (100 * G_TIME_SPAN_MILLISECOND) /* a server that could not for a moment */

struct nbd {
    struct block_medium m; /* first */
    struct nbd_link link;
    int image;                 /* that was passed, open while it is served; -1 */
    bool inherited;            /* connect when the guest asks for something, not before */
    bool closed;               /* freed at the end of the step that runs */
    bool opening;              /* lock_soon() */
    int64_t open_until;        /* … monotonic µs: waits so long for an answer, or for a reason */
    GQueue waiting;            /* struct flight: to be sent */
    GQueue flying;             /* sent */
    GQueue landed;             /* answered */
    int64_t send_from;         /* monotonic µs: not before */
    bool full;                 /* the connection takes no more until something has landed */
    uint64_t written, flushed; /* writes that were acknowledged; … that a flush covered */
    int64_t said_at;           /* of a break */
    bool said_cut, said_gone;  /* in the log, once each */
    GSource *source;
    gpointer keeper_tag, fd_tag;
    int watched;         /* descriptor of fd_tag */
    GIOCondition events; /* and what is waited for on it */
};

/* One request on its way. */
struct flight {
    struct nbd *n;
    struct block_request *req;
    GList node; /* in one of the three queues */
    GQueue *queue;
    uint64_t done;   /* bytes */
    uint32_t chunk;  /* bytes on their way */
    uint8_t *copy;   /* of them, when they are not in one piece, or … */
    bool taken;      /* … of the connection's memory: api->take() */
    uint64_t covers; /* FLUSH, or that of a write: n->written when it was sent */
    uint8_t *in_place;
    bool flushing; /* a write for good, to a server without FUA: its data are there */
    bool cancelled;
    int error;
    int64_t first_try; /* monotonic µs; 0: none failed so far */
};

static GPtrArray *media;
static unsigned stepping;
static GPtrArray *graveyard;

/* ---- flights ---- */

static void move_to(struct flight *f, GQueue *queue)
{
    if (f->queue) {
        g_queue_unlink(f->queue, &f->node);
    }
    f->queue = queue;
    if (queue) {
        g_queue_push_tail_link(queue, &f->node);
    }
}

/* `alive`: the connection is, which the memory belongs to. */
static void give_back(struct flight *f, bool alive)
{
    if (f->taken && alive) {
        f->n->link.api->give(f->n->link.handle, f->copy, f->chunk);
    }
    if (f->taken) {
        f->taken = false;
        f->copy = NULL;
    }
}

static void flight_end(struct flight *f, int error)
{
    struct nbd *n = f->n;
    struct block_request *req = f->req;

    move_to(f, NULL);
    if (!error && (req->op == BLOCK_FLUSH || f->flushing)) {
        n->flushed = MAX(n->flushed, f->covers);
    } else if (!error && req->op != BLOCK_READ && !(req->flags & BLOCK_FUA)) {
        n->written++;
    }
    g_free(f->copy);
    g_free(f);
    req->driver[0] = NULL;
    block_request_done(&n->m, req, error);
}

/* Where `size` bytes at `f->done` are in one piece; NULL: nowhere. */
static uint8_t *in_place(const struct flight *f, uint64_t size)
{
    uint64_t skip = f->done;

    for (unsigned i = 0; i < f->req->niov; i++) {
        const struct iovec *v = &f->req->iov[i];

        if (skip < v->iov_len) {
            return v->iov_len - skip >= size ? (uint8_t *)v->iov_base + skip : NULL;
        }
        skip -= v->iov_len;
    }
    return NULL;
}

/* libnbd's callback: nothing of libnbd may be called from here. */
static int answered(void *opaque, int *error)
{
    struct flight *f = opaque;

    f->error = *error;
    move_to(f, &f->n->landed);
    return 1;
}

/* How much of it the next command takes; 0: the image ends here. */
static uint32_t next_chunk(const struct nbd *n, const struct flight *f)
{
    const struct block_request *req = f->req;
    uint64_t at = req->offset + f->done, max = CHUNK_MAX;

    if (at >= n->link.size) {
        return 0;
    }
    if (req->op == BLOCK_DISCARD || (req->op == BLOCK_ZERO && n->link.can_zero)) {
        max = n->link.max_range;
    } else if (req->op == BLOCK_ZERO) {
        max = ZEROS_MAX;
    }
    max = req->op == BLOCK_ZERO || req->op == BLOCK_DISCARD ? max : MIN(max, n->link.max_block);
    return (uint32_t)MIN(MIN(max, req->length - f->done), n->link.size - at);
}

static bool has_data(const struct nbd *n, const struct flight *f)
{
    enum block_op op = f->req->op;

    return !f->flushing &&
           (op == BLOCK_READ || op == BLOCK_WRITE || (op == BLOCK_ZERO && !n->link.can_zero));
}

/* Memory for the data, filled if they are written. False: there is none now. */
static bool make_buffer(struct nbd *n, struct flight *f)
{
    const struct nbd_api *api = n->link.api;

    f->in_place = api->take ? NULL : in_place(f, f->chunk);
    if (f->in_place) {
        return true;
    }
    if (api->take) {
        f->copy = api->take(n->link.handle, f->chunk);
        f->taken = f->copy != NULL;
    } else if (!f->copy) {
        f->copy = g_malloc(MIN(f->req->length, CHUNK_MAX));
    }
    if (f->copy && f->req->op == BLOCK_WRITE) {
        iov_get(f->req->iov, f->req->niov, f->done, f->copy, f->chunk);
    } else if (f->copy && f->req->op == BLOCK_ZERO) {
        memset(f->copy, 0, f->chunk);
    }
    return f->copy != NULL;
}

static int64_t send_command(struct nbd *n, struct flight *f)
{
    const struct block_request *req = f->req;
    nbd_completion_callback done = {.callback = answered, .user_data = f};
    struct nbd_handle *h = n->link.handle;
    uint64_t at = req->offset + f->done;
    uint8_t *data = f->in_place ? f->in_place : f->copy;
    uint32_t fua = req->op == BLOCK_WRITE && req->flags & BLOCK_FUA && n->link.can_fua
                       ? LIBNBD_CMD_FLAG_FUA
                       : 0;

    if (f->flushing) {
        return n->link.api->aio_flush(h, done, 0);
    }
    switch (req->op) {
    case BLOCK_READ:
        return n->link.api->aio_pread(h, data, f->chunk, at, done, 0);
    case BLOCK_WRITE:
        return n->link.api->aio_pwrite(h, data, f->chunk, at, done, fua);
    case BLOCK_FLUSH:
        return n->link.api->aio_flush(h, done, 0);
    case BLOCK_DISCARD:
        return n->link.api->aio_trim(h, f->chunk, at, done, 0);
    default:
        break;
    }
    if (!n->link.can_zero) {
        return n->link.api->aio_pwrite(h, data, f->chunk, at, done, 0);
    }
    return n->link.api->aio_zero(h, f->chunk, at, done,
                                 req->flags & BLOCK_MAY_UNMAP ? 0 : LIBNBD_CMD_FLAG_NO_HOLE);
}

/* Nothing of it needs the server. */
static bool ends_here(struct nbd *n, struct flight *f)
{
    const struct block_request *req = f->req;

    if (f->flushing || req->op == BLOCK_FLUSH) {
        f->covers = n->written;
        f->error = -n->m.flush_error; /* it waited while that became known */
        return f->error || !n->link.can_flush;
    }
    if (req->op == BLOCK_DISCARD && !n->link.can_trim) {
        return true;
    }
    f->chunk = next_chunk(n, f);
    if (f->chunk > 0) {
        return false;
    }
    if (req->op == BLOCK_READ) {
        iov_put(req->iov, req->niov, f->done, NULL, req->length - f->done);
    } else if (req->op == BLOCK_WRITE && f->done < req->length) {
        f->error = ENOSPC; /* behind the last byte of a server that has an odd number of them */
    }
    return true;
}

static bool is_full(const struct nbd *n)
{
    return n->link.api->is_full && n->link.api->is_full(n->link.handle);
}

/* False: it stays where it is, at the head of those that wait. */
static bool send_one(struct nbd *n, struct flight *f)
{
    f->error = 0;
    f->chunk = 0;
    if (ends_here(n, f)) {
        f->done = f->req->length;
        f->flushing = true; /* nothing is left to be asked */
        move_to(f, &n->landed);
        return true;
    }
    if (is_full(n) || (has_data(n, f) && !make_buffer(n, f))) {
        n->full = true;
        return false;
    }
    move_to(f, &n->flying);
    if (send_command(n, f) < 0 && f->queue == &n->flying) {
        if (!nbd_link_alive(&n->link)) {
            move_to(f, &n->waiting); /* the next step finds out */
            return true;
        }
        f->error = EINVAL;
        move_to(f, &n->landed);
    }
    return true;
}

static bool send_waiting(struct nbd *n)
{
    guint count = g_queue_get_length(&n->waiting);
    bool any = false;

    if (count == 0 || n->full || g_get_monotonic_time() < n->send_from) {
        return false;
    }
    n->send_from = 0;
    nbd_link_want(&n->link);
    for (; count > 0 && n->link.state == NBD_READY && nbd_link_alive(&n->link); count--) {
        if (!send_one(n, n->waiting.head->data)) {
            break;
        }
        any = true;
    }
    return any;
}

/* The server could not, or is gone: again, until that went on for too long. */
static void again(struct nbd *n, struct flight *f)
{
    if (!f->first_try) {
        f->first_try = g_get_monotonic_time();
        block_count_retry(&n->m);
    }
    move_to(f, &n->waiting);
}

static bool of_the_moment(int error)
{
    return error == ESHUTDOWN || error_is_of_the_moment(error);
}

static void land(struct nbd *n, struct flight *f)
{
    struct block_request *req = f->req;

    n->full = false;
    if (!f->error && req->op == BLOCK_READ && f->chunk && !f->in_place) {
        iov_put(f->req->iov, f->req->niov, f->done, f->copy, f->chunk);
    }
    give_back(f, true);
    if (f->error) {
        if (of_the_moment(f->error) && !f->cancelled &&
            (!f->first_try || g_get_monotonic_time() - f->first_try < ENGINE_PATIENCE_US)) {
            n->send_from = g_get_monotonic_time() + LATER_US;
            again(n, f);
            return;
        }
        flight_end(f, -f->error);
        return;
    }
    if (g_get_monotonic_time() - n->link.ready_at > STEADY_US) {
        n->link.pause_ms = 0; /* else it may break again at once, and again */
    }
    f->first_try = 0;
    if (req->op == BLOCK_FLUSH || f->flushing) {
        flight_end(f, 0);
        return;
    }
    f->done += f->chunk;
    if (f->done >= req->length) {
        if (!(req->flags & BLOCK_FUA) || (req->op == BLOCK_WRITE && n->link.can_fua)) {
            flight_end(f, 0);
            return;
        }
        f->flushing = true;
    } else if (f->cancelled) {
        flight_end(f, -ECANCELED);
        return;
    }
    move_to(f, &n->waiting);
}

static bool land_all(struct nbd *n)
{
    guint count = g_queue_get_length(&n->landed);

    for (guint i = 0; i < count && !g_queue_is_empty(&n->landed); i++) {
        land(n, n->landed.head->data);
    }
    return count > 0;
}

/* ---- a connection that broke ---- */

static void writes_may_be_lost(struct nbd *n)
{
    if (n->written == n->flushed || n->m.flush_error || n->m.read_only) {
        return;
    }
    n->m.flush_error = -EIO;
    log_error(LOG_BLOCK, "%s: the server of '%s' has ended; acknowledged writes are lost",
              block_id(n->m.drive), n->m.file);
}

/*
 * What the guest was not told of, from its beginning: of a long write some was acknowledged to us,
 * which may be lost with the server, and is not counted.
 */
static void begin_anew(struct nbd *n, GQueue *queue)
{
    for (guint count = g_queue_get_length(queue); count > 0; count--) {
        struct flight *f = queue->head->data;

        f->done = 0;
        f->flushing = false;
        give_back(f, false);
        again(n, f);
    }
}

static void cut(struct nbd *n)
{
    n->link.cut = n->full = false;
    if (!n->said_cut && (!n->said_at || g_get_monotonic_time() - n->said_at > SAY_US)) {
        n->said_cut = true;
        n->said_at = g_get_monotonic_time();
        log_warning(LOG_BLOCK, "%s: the connection to the server of '%s' broke: %s; %u requests",
                    block_id(n->m.drive), n->m.file, n->link.why, n->m.in_flight);
    }
    if (!n->link.served && !n->link.multi) {
        writes_may_be_lost(n);
    }
    /* libnbd has ended them with an error of its own, which is not the server's. */
    begin_anew(n, &n->landed);
    begin_anew(n, &n->flying);
    begin_anew(n, &n->waiting);
}

/* When that was over once, the next ones are waited for until another try was made. */
static int64_t patience(const struct nbd *n)
{
    return n->said_gone ? GONE_US : ENGINE_PATIENCE_US;
}

/* Those that were taken back, and those that waited for too long. */
static bool give_up(struct nbd *n)
{
    guint count = g_queue_get_length(&n->waiting);
    int64_t now = g_get_monotonic_time();
    bool any = false;

    for (guint i = 0; i < count && !g_queue_is_empty(&n->waiting); i++) {
        struct flight *f = n->waiting.head->data;

        if (f->cancelled) {
            any = true;
            flight_end(f, -ECANCELED);
            continue;
        }
        if (n->link.state != NBD_READY && !f->first_try) {
            f->first_try = now;
        }
        if (f->first_try && now - f->first_try > patience(n)) {
            any = true;
            if (!n->said_gone) {
                log_error(LOG_BLOCK, "%s: there is no server of '%s': %s", block_id(n->m.drive),
                          n->m.file, n->link.why ? n->link.why : "it does not answer");
            }
            n->said_gone = true;
            flight_end(f, n->link.error ? -n->link.error : -ETIMEDOUT);
            continue;
        }
        move_to(f, &n->waiting); /* keeps the order: each goes round once */
    }
    return any;
}

/* ---- opening in the loop ---- */

static void take_limits(struct nbd *n)
{
    n->m.size = (n->link.size + BLOCK_SECTOR - 1) / BLOCK_SECTOR * BLOCK_SECTOR;
    n->link.need_size = n->link.size;
    n->m.limits = (struct block_limits){
        .logical = BLOCK_SECTOR,
        .physical = BLOCK_SECTOR,
        .discard_align = BLOCK_SECTOR,
        .can_discard = !n->m.read_only,
        .can_zero = !n->m.read_only,
        .rotational = n->link.rotational,
    };
}

static GError *why_not(const struct nbd *n)
{
    return g_error_new(XENDM_ERROR, n->link.error, "drive %s: '%s': %s", block_id(n->m.drive),
                       n->m.file, n->link.why);
}

static void connected(struct nbd *n)
{
    n->link.cut = n->link.unclean = false;
    if (n->m.size == 0) {
        take_limits(n); /* else block.c asks for it, and tells the listeners */
    }
}

/* Whether it is over; then with `*err`, or it is connected. */
static bool opened(struct nbd *n, GError **err)
{
    struct nbd_link *l = &n->link;
    int64_t now = g_get_monotonic_time();

    if (l->state == NBD_READY) {
        connected(n);
        return true;
    }
    if (l->state != NBD_IDLE) {
        if (now < n->open_until) {
            return false;
        }
        nbd_link_drop(l, ETIMEDOUT, "its server does not answer");
    } else if (nbd_link_awaits_reason(l) && now < n->open_until) {
        n->open_until = MIN(n->open_until, l->failed_at + REASON_MS * G_TIME_SPAN_MILLISECOND);
        if (now < n->open_until) {
            return false;
        }
    }
    *err = why_not(n);
    return true;
}

static bool step_opening(struct nbd *n)
{
    GError *err = NULL;

    if (!n->opening || !opened(n, &err)) {
        return false;
    }
    n->opening = false;
    block_medium_locked(&n->m, err);
    return true;
}

/* ---- the step ---- */

static void nbd_free(struct nbd *n)
{
    nbd_link_free(&n->link);
    if (n->image >= 0) {
        close(n->image);
    }
    g_source_destroy(n->source);
    g_source_unref(n->source);
    g_free(n);
}

static void bury(void)
{
    while (graveyard && graveyard->len > 0) {
        nbd_free(g_ptr_array_steal_index_fast(graveyard, graveyard->len - 1));
    }
}

static bool step(struct nbd *n)
{
    bool any;

    stepping++;
    any = nbd_link_step(&n->link);
    if (n->opening) {
        any |= step_opening(n);
    }
    if (n->link.unclean) {
        n->link.unclean = false;
        log_warning(LOG_BLOCK, "%s: the image server of '%s' ended: %s", block_id(n->m.drive),
                    n->m.file, n->link.end_reason);
        writes_may_be_lost(n);
    }
    if (n->link.cut) {
        cut(n);
    }
    if (n->link.state == NBD_READY) {
        n->said_gone = false;
    }
    if (n->link.state == NBD_READY && n->said_cut) {
        n->said_cut = false;
        log_info(LOG_BLOCK, "%s: connected to a server of '%s' again", block_id(n->m.drive),
                 n->m.file);
    }
    any |= !n->closed && land_all(n);
    any |= !n->closed && give_up(n);
    any |= !n->closed && send_waiting(n);
    if (--stepping == 0) {
        bury();
    }
    return any;
}

bool block_nbd_poll(void)
{
    bool any = false;

    for (guint i = 0; media && i < media->len; i++) {
        struct nbd *n = g_ptr_array_index(media, i);

        if (n->m.in_flight > 0) {
            any |= step(n);
        }
    }
    return any;
}

/* ---- the loop ---- */

struct nbd_source {
    GSource source;
    struct nbd *n;
};

static GIOCondition wanted(const struct nbd *n)
{
    unsigned direction = n->link.api->aio_get_direction(n->link.handle);

    return (direction & LIBNBD_AIO_DIRECTION_READ ? G_IO_IN : 0) |
           (direction & LIBNBD_AIO_DIRECTION_WRITE ? G_IO_OUT : 0) | G_IO_HUP | G_IO_ERR;
}

/* GLib wakes its loop for each change that it is told of, even for one that is none. */
static void watch(struct nbd *n)
{
    GIOCondition events = n->link.handle ? wanted(n) : 0;
    bool hears = n->link.keeper >= 0 && !n->link.deaf_until;

    if (n->fd_tag && n->watched != n->link.fd) {
        g_source_remove_unix_fd(n->source, n->fd_tag);
        n->fd_tag = NULL;
    }
    if (n->keeper_tag && !hears) {
        g_source_remove_unix_fd(n->source, n->keeper_tag);
        n->keeper_tag = NULL;
    } else if (!n->keeper_tag && hears) {
        n->keeper_tag = g_source_add_unix_fd(n->source, n->link.keeper, G_IO_IN);
    }
    n->watched = n->link.fd;
    if (n->link.handle && !n->fd_tag) {
        n->fd_tag = g_source_add_unix_fd(n->source, n->link.fd, events);
    } else if (n->link.handle && events != n->events) {
        g_source_modify_unix_fd(n->source, n->fd_tag, events);
    }
    n->events = events;
}

/* When there is something to do that no descriptor tells of; -1: never. */
static int64_t due(const struct nbd *n)
{
    int64_t at = INT64_MAX;
    const struct flight *f = n->waiting.head ? n->waiting.head->data : NULL;

    if (n->landed.length > 0 || (f && n->link.state == NBD_READY && !n->send_from && !n->full)) {
        return 0;
    }
    if (n->link.state == NBD_SHAKING || n->link.state == NBD_ASKED) {
        at = n->link.deadline;
    }
    if (n->link.deaf_until) {
        at = MIN(at, n->link.deaf_until);
    }
    if (n->opening) {
        at = n->link.state == NBD_READY ? 0 : MIN(at, n->open_until);
    }
    if (f && n->link.state == NBD_IDLE) {
        at = MIN(at, MAX(n->link.next_ask, n->send_from));
    }
    if (f && n->link.state == NBD_READY && !n->full) {
        at = MIN(at, n->send_from);
    }
    for (const GList *i = n->waiting.head; i; i = i->next) {
        f = i->data;
        if (f->cancelled || (!f->first_try && n->link.state != NBD_READY)) {
            return 0;
        }
        if (f->first_try) {
            at = MIN(at, f->first_try + patience(n) + 1000);
        }
    }
    return at == INT64_MAX ? -1 : at;
}

static gboolean source_prepare(GSource *source, gint *timeout)
{
    struct nbd *n = ((struct nbd_source *)source)->n;
    int64_t at;

    watch(n);
    at = due(n);
    *timeout = at < 0 ? -1 : (gint)(MAX(at - g_get_monotonic_time(), 0) / 1000 + (at ? 1 : 0));
    return at == 0;
}

static gboolean source_check(GSource *source)
{
    struct nbd *n = ((struct nbd_source *)source)->n;
    int64_t at = due(n);

    return (n->fd_tag && g_source_query_unix_fd(source, n->fd_tag)) ||
           (n->keeper_tag && g_source_query_unix_fd(source, n->keeper_tag)) ||
           (at >= 0 && g_get_monotonic_time() >= at);
}

static gboolean source_dispatch(GSource *source, GSourceFunc fn, gpointer opaque)
{
    turn_of("disk");
    step(((struct nbd_source *)source)->n);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = {
    .prepare = source_prepare,
    .check = source_check,
    .dispatch = source_dispatch,
};

static void attach(struct nbd *n)
{
    n->source = g_source_new(&source_funcs, sizeof(struct nbd_source));
    ((struct nbd_source *)n->source)->n = n;
    g_source_set_name(n->source, "block-nbd");
    g_source_set_can_recurse(n->source, TRUE);
    g_source_attach(n->source, NULL);
    media = media ? media : g_ptr_array_new();
    g_ptr_array_add(media, n);
}

/* ---- the driver ---- */

static int connect_now(struct nbd *n, bool look, GError **err)
{
    int e;

    n->link.looking = look;
    e = nbd_link_wait(&n->link, OPEN_MS, REASON_MS);
    if (e < 0) {
        g_propagate_error(err, why_not(n));
        return e;
    }
    connected(n);
    return 0;
}

/* The image is somebody else's: only how large it is. */
static int look(struct nbd *n, GError **err)
{
    int e = connect_now(n, true, err);

    if (e == 0) {
        nbd_link_stop(&n->link, STOP_MS);
    }
    n->link.looking = false;
    return e;
}

static bool is_socket(int fd)
{
    struct stat st;

    return fd >= 0 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static bool is_image_format(const char *format)
{
    return strcmp(format, "nbd") != 0 && strcmp(format, "remote") != 0;
}

/* Of an image that was opened by whoever passed it. */
static bool is_image(const struct block_options *o)
{
    struct stat st;

    return is_image_format(o->format) && o->read_only && fstat(o->fd, &st) == 0 &&
           (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode));
}

/* libnbd, where it is needed: in the sandbox none can be loaded. */
static int prepare(const struct block_options *o, GError **err)
{
    bool nbd = strcmp(o->format, "nbd") == 0 || (o->file && image_is_elsewhere(o->file));

    file_size_allow(VHOST_BLK_MEMORY);
    return !nbd || nbd_api_load(err) ? 0 : -ENOSYS;
}

static unsigned keeper_flags(const struct nbd *n)
{
    return (n->m.read_only ? FILES_KEEPER_READS : 0) |
           (block_cache(n->m.drive)->direct ? FILES_KEEPER_DIRECT : 0);
}

static int open_link(struct nbd *n, const struct block_options *o, GError **err)
{
    int e = prepare(o, err);

    if (e < 0) {
        return e;
    }
    if (o->fd < 0 || is_image(o)) {
        const char *file = o->fd < 0 ? o->file : NULL;

        e = nbd_keeper_start(&n->link, o->format, file, o->fd, keeper_flags(n), err);
        n->image = o->fd;
        return e == 0 && o->inactive ? look(n, err) : e;
    }
    if (!is_socket(o->fd) || o->size < BLOCK_SECTOR || o->size > INT64_MAX - BLOCK_SECTOR) {
        g_set_error(err, XENDM_ERROR, ENOTSUP,
                    "an image of the format %s is opened by its name, not by a descriptor",
                    o->format);
        return -ENOTSUP;
    }
    n->link.export = g_strdup(o->export_name ? o->export_name : "");
    n->link.served = strcmp(o->format, "nbd") != 0;
    n->link.keeper = o->fd;
    n->link.inherited = n->inherited = true;
    n->link.size = o->size;
    n->written = 1; /* whatever the program before this one wrote */
    take_limits(n);
    n->link.need_size = o->size - (BLOCK_SECTOR - 1); /* it was rounded up */
    return 0;
}

static struct block_medium *nbd_open(struct block *drive, const struct block_options *o,
                                     GError **err)
{
    struct nbd *n = g_new0(struct nbd, 1);

    n->image = -1;
    n->m.driver = &block_nbd;
    n->m.drive = drive;
    n->m.file = g_strdup(o->file ? o->file : "");
    n->m.read_only = o->read_only || strcmp(o->format, "vmdk") == 0;
    n->link.writable = !n->m.read_only;
    nbd_link_init(&n->link);
    if (open_link(n, o, err) == 0) {
        attach(n);
        return &n->m;
    }
    g_prefix_error(err, "drive %s: ", block_id(drive));
    if (o->fd >= 0 && n->image < 0) {
        n->link.keeper = -1; /* the caller's still */
    }
    nbd_link_free(&n->link);
    g_free(n->m.file);
    g_free(n);
    return NULL;
}

static void nbd_driver_close(struct block_medium *m)
{
    struct nbd *n = (struct nbd *)m;

    n->closed = true;
    g_ptr_array_remove(media, n);
    if (m->lent && n->image >= 0) {
        n->image = -1;
    } else if (m->lent) {
        n->link.keeper = -1;
    }
    if (stepping == 0) {
        nbd_free(n);
        return;
    }
    graveyard = graveyard ? graveyard : g_ptr_array_new();
    g_ptr_array_add(graveyard, n);
}

static void nbd_submit(struct block_medium *m, struct block_request *req)
{
    struct nbd *n = (struct nbd *)m;
    struct flight *f = g_new0(struct flight, 1);

    f->n = n;
    f->req = req;
    f->node.data = f;
    req->driver[0] = f;
    if (req->op == BLOCK_FLUSH ? m->read_only : req->length == 0) {
        f->flushing = true;
        move_to(f, &n->landed);
        return;
    }
    move_to(f, &n->waiting);
    if (n->link.state == NBD_READY && n->waiting.length == 1 && !n->send_from && !n->full) {
        send_one(n, f);
    }
}

static void nbd_cancel(struct block_medium *m, struct block_request *req)
{
    struct flight *f = req->driver[0];

    if (f) {
        f->cancelled = true; /* NBD takes nothing back: what was sent ends as it does */
    }
}

static int nbd_read_now(struct block_medium *m, uint64_t offset, void *buf, size_t length)
{
    return -EAGAIN;
}

/* NBD does not tell; a new connection does. */
static int nbd_resize(struct block_medium *m, GError **err)
{
    struct nbd *n = (struct nbd *)m;

    if (n->link.state == NBD_READY) {
        take_limits(n);
    }
    return 0;
}

/* The server locks, as QEMU does: there is one while the image is ours. */
static int nbd_lock(struct block_medium *m, GError **err)
{
    struct nbd *n = (struct nbd *)m;

    if (n->inherited) {
        n->inherited = false;
        return 0;
    }
    n->link.need_size = 0;
    return connect_now(n, false, err);
}

static void nbd_lock_soon(struct block_medium *m)
{
    struct nbd *n = (struct nbd *)m;

    n->link.need_size = 0;
    n->link.looking = false;
    n->link.next_ask = 0;
    n->opening = true;
    n->open_until = g_get_monotonic_time() + OPEN_MS * G_TIME_SPAN_MILLISECOND;
    nbd_link_want(&n->link);
}

static void nbd_unlock(struct block_medium *m)
{
    struct nbd *n = (struct nbd *)m;

    nbd_link_stop(&n->link, STOP_MS);
    if (n->link.unclean) {
        n->link.unclean = false;
        writes_may_be_lost(n);
    }
}

static void nbd_forget(struct block_medium *m)
{
    /* The server was started after the other side's ended: it has read everything anew. */
}

static int nbd_fd(const struct block_medium *m)
{
    return ((const struct nbd *)m)->link.keeper;
}

static const char *nbd_export(const struct block_medium *m)
{
    return ((const struct nbd *)m)->link.export;
}

void block_nbd_prepare(void)
{
    g_autoptr(GError) err = NULL;

    if (!nbd_api_load(&err)) {
        log_warning(LOG_BLOCK, "%s", err->message);
    }
}

static const char *const formats[] = {"nbd", "qcow2", "vpc", "qed", "vmdk", "remote", NULL};

const struct block_driver block_nbd = {
    .name = "nbd",
    .formats = formats,
    .open = nbd_open,
    .close = nbd_driver_close,
    .submit = nbd_submit,
    .cancel = nbd_cancel,
    .read_now = nbd_read_now,
    .resize = nbd_resize,
    .lock = nbd_lock,
    .lock_soon = nbd_lock_soon,
    .unlock = nbd_unlock,
    .forget = nbd_forget,
    .fd = nbd_fd,
    .export_name = nbd_export,
};
