/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The connection to an NBD server: asked of the keeper, agreed on by libnbd, given up when it
 * breaks. Nothing here waits but nbd_link_wait() and nbd_link_stop(), which say how long.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <xendm/error.h>
#include <xendm/log.h>
#include <xendm/one-fd.h>
#include <xendm/turn.h>

#include "image-wire.h"
#include "nbd.h"

#define SHAKE_US (5 * G_TIME_SPAN_SECOND)
#define PAUSE_FIRST_MS 20u
#define PAUSE_MAX_MS 1000u
#define ASK_US (20 * G_TIME_SPAN_SECOND) /* the keeper ends a server and connects meanwhile */
#define KEEPER_GONE "its keeper has ended"
#define TURNS_MAX 64u                 /* of libnbd in one step, so that others come to theirs */
#define MESSAGES_MAX 16u              /* of the keeper, the same */
#define RANGE_MAX (128u << 20)        /* bytes of one TRIM or ZERO */
#define DEFAULT_MAX_BLOCK (32u << 20) /* NBD: what every server must take */

void nbd_link_init(struct nbd_link *l)
{
    l->keeper = l->fd = -1;
    /* Not the numbers of the program before this one, whose server may end while this one asks. */
    l->serial = g_random_int();
    l->used_serial = l->ended_serial = l->serial - 1;
}

static void set_reason(struct nbd_link *l, int error, const char *why)
{
    char *copy = g_strdup(why ? why : g_strerror(error));

    g_free(l->why);
    l->why = copy;
    l->error = error ? error : EIO;
}

static void close_handle(struct nbd_link *l)
{
    if (l->handle) {
        l->api->close(l->handle);
        l->handle = NULL;
    }
    l->fd = -1;
}

void nbd_link_drop(struct nbd_link *l, int error, const char *why)
{
    set_reason(l, error, why);
    if (l->state == NBD_READY) {
        l->cut = true;
    }
    close_handle(l);
    l->state = NBD_IDLE;
    l->pause_ms = l->pause_ms ? MIN(l->pause_ms * 2, PAUSE_MAX_MS) : PAUSE_FIRST_MS;
    l->failed_at = g_get_monotonic_time();
    l->next_ask = l->failed_at + l->pause_ms * G_TIME_SPAN_MILLISECOND;
}

/* ---- the keeper ---- */

static bool tell(struct nbd_link *l, enum image_kind kind)
{
    struct image_message m = {.kind = kind, .serial = l->serial};

    return l->keeper >= 0 &&
           send(l->keeper, &m, sizeof(m), MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(m);
}

void nbd_link_want(struct nbd_link *l)
{
    if (l->state != NBD_IDLE || g_get_monotonic_time() < l->next_ask) {
        return;
    }
    l->serial++;
    l->state = NBD_ASKED;
    l->deadline = g_get_monotonic_time() + ASK_US;
    if (!tell(l, l->looking ? IMAGE_LOOK : IMAGE_CONNECT)) {
        nbd_link_drop(l, EIO, l->keeper < 0 ? KEEPER_GONE : "its keeper cannot be asked");
    }
}

/* libnbd is there already, or cannot come any more (nbd_prepare()). */
static const struct nbd_api *api_for(struct nbd_link *l, enum image_kind kind)
{
    g_autoptr(GError) err = NULL;
    const struct nbd_api *api = kind == IMAGE_CONNECTED_VHOST ? &vhost_blk : nbd_api_load(&err);

    if (!api) {
        nbd_link_drop(l, ENOSYS, err->message);
    }
    return api;
}

static void shake(struct nbd_link *l, enum image_kind kind, int fd)
{
    l->api = api_for(l, kind);
    if (!l->api) {
        close(fd);
        return;
    }
    l->handle = l->api->create();
    if (!l->handle || l->api->set_export_name(l->handle, l->export) < 0 ||
        l->api->aio_connect_socket(l->handle, fd) < 0) {
        if (!l->handle) {
            close(fd);
        }
        nbd_link_drop(l, ENOMEM, l->api->get_error());
        return;
    }
    l->state = NBD_SHAKING;
    l->fd = l->api->aio_get_fd(l->handle);
    l->deadline = g_get_monotonic_time() + SHAKE_US;
}

static void server_ended(struct nbd_link *l, const struct image_message *m)
{
    bool in_use = m->serial == l->used_serial || (l->inherited && m->serial != l->serial);

    l->inherited = false;
    l->ended_serial = m->serial;
    if (m->error && in_use) {
        l->unclean = true;
        g_free(l->end_reason);
        l->end_reason = g_strdup(m->text);
        if (m->serial == l->serial && l->state == NBD_READY) {
            /* What it said last is not read: it is asked for again. */
            nbd_link_drop(l, EIO, m->text);
        }
    }
    if (m->error && m->serial == l->serial && l->state != NBD_READY) {
        if (l->state == NBD_SHAKING) {
            nbd_link_drop(l, EIO, NULL);
        }
        if (l->state == NBD_IDLE) {
            set_reason(l, m->error, m->text);
        }
    }
}

static void take_message(struct nbd_link *l, struct image_message *m, int fd)
{
    bool ours = m->serial == l->serial && l->state == NBD_ASKED;
    bool connected = m->kind == IMAGE_CONNECTED_NBD || m->kind == IMAGE_CONNECTED_VHOST;

    m->text[IMAGE_TEXT - 1] = '\0';
    if (connected && ours && fd >= 0) {
        shake(l, m->kind, fd);
        return;
    }
    if (connected && ours) { /* what was sent with it could not be taken */
        nbd_link_drop(l, EMFILE, NULL);
        return;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (m->kind == IMAGE_FAILED && ours) {
        nbd_link_drop(l, CLAMP(m->error, 1, 4095), m->text[0] ? m->text : NULL);
    } else if (m->kind == IMAGE_ENDED) {
        m->error = CLAMP(m->error, 0, 4095);
        server_ended(l, m);
    } else if (m->kind == IMAGE_STOPPED && m->serial == l->serial) {
        l->stopping = false;
    }
}

/* One message; false: there was none. */
static bool hear(struct nbd_link *l)
{
    struct image_message m = {0};
    ssize_t n;
    int fd;

    if (l->keeper < 0 || g_get_monotonic_time() < l->deaf_until) {
        return false;
    }
    l->deaf_until = 0;
    n = one_fd_receive(l->keeper, &m, sizeof(m), &fd, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
        return false;
    }
    if (n < 0 && errno != ECONNRESET) { /* the host's want of something: it is there still */
        l->deaf_ms = l->deaf_ms ? MIN(l->deaf_ms * 2, PAUSE_MAX_MS) : PAUSE_FIRST_MS;
        l->deaf_until = g_get_monotonic_time() + l->deaf_ms * G_TIME_SPAN_MILLISECOND;
        return false;
    }
    l->deaf_ms = 0;
    if (n == (ssize_t)sizeof(m)) {
        take_message(l, &m, fd);
        return true;
    }
    if (fd >= 0) {
        close(fd);
    }
    close(l->keeper);
    l->keeper = -1;
    l->stopping = false;
    if (l->state == NBD_ASKED) {
        nbd_link_drop(l, EIO, KEEPER_GONE);
    }
    return true;
}

/* ---- libnbd ---- */

bool nbd_link_alive(const struct nbd_link *l)
{
    return l->api->aio_is_created(l->handle) || l->api->aio_is_connecting(l->handle) ||
           l->api->aio_is_ready(l->handle) || l->api->aio_is_processing(l->handle);
}

static const char *unusable(const struct nbd_link *l, int64_t size, int64_t min_block)
{
    if (size < BLOCK_SECTOR || size > INT64_MAX - BLOCK_SECTOR) {
        return "its size is of no use";
    }
    if ((uint64_t)size < l->need_size) {
        return "it is smaller than it was";
    }
    if (min_block > BLOCK_SECTOR) {
        return "it wants larger blocks than 512 bytes";
    }
    return NULL;
}

/* What the export is like; it may be another than last time. */
static void agree(struct nbd_link *l)
{
    struct nbd_handle *h = l->handle;
    int64_t size = l->api->get_size(h), max = l->api->get_block_size(h, LIBNBD_SIZE_MAXIMUM);
    const char *why = unusable(l, size, l->api->get_block_size(h, LIBNBD_SIZE_MINIMUM));

    l->read_only = l->api->is_read_only(h) > 0;
    if (!why && l->writable && !l->looking && l->read_only) {
        nbd_link_drop(l, EROFS, "its server serves it for reading only");
        return;
    }
    if (why) {
        nbd_link_drop(l, EINVAL, why);
        return;
    }
    l->size = (uint64_t)size;
    l->max_block = max < (int64_t)BLOCK_SECTOR ? DEFAULT_MAX_BLOCK : (uint32_t)MIN(max, 64 << 20);
    l->max_range = l->api->range_max ? l->api->range_max(h) : RANGE_MAX;
    l->rotational = l->api->is_rotational(h) > 0;
    l->can_flush = l->api->can_flush(h) > 0;
    l->can_fua = l->api->can_fua(h) > 0;
    l->can_trim = l->api->can_trim(h) > 0;
    l->can_zero = l->api->can_zero(h) > 0;
    l->multi = l->api->can_multi_conn(h) > 0;
    l->used_serial = l->looking ? l->used_serial : l->serial;
    l->error = 0;
    l->ready_at = g_get_monotonic_time();
    l->state = NBD_READY;
}

static bool turn(struct nbd_link *l)
{
    unsigned direction = l->api->aio_get_direction(l->handle);
    struct pollfd p = {.fd = l->fd};

    p.events = (short)((direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
                       (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
    if (!direction || poll(&p, 1, 0) <= 0) {
        return false;
    }
    if (direction & LIBNBD_AIO_DIRECTION_READ && p.revents & (POLLIN | POLLHUP | POLLERR)) {
        l->api->aio_notify_read(l->handle);
    } else {
        l->api->aio_notify_write(l->handle);
    }
    return true;
}

bool nbd_link_step(struct nbd_link *l)
{
    bool any = false;

    for (unsigned i = 0; i < MESSAGES_MAX && hear(l); i++) {
        any = true;
    }
    for (unsigned i = 0; i < TURNS_MAX && l->handle; i++) {
        bool more = turn(l);

        any |= more;
        if (!nbd_link_alive(l)) {
            nbd_link_drop(l, EIO, l->api->get_error());
            return true;
        }
        if (l->state == NBD_SHAKING && l->api->aio_is_ready(l->handle)) {
            agree(l);
            any = true;
        }
        if (!more) {
            break;
        }
    }
    if ((l->state == NBD_SHAKING || l->state == NBD_ASKED) &&
        g_get_monotonic_time() >= l->deadline) {
        nbd_link_drop(l, ETIMEDOUT,
                      l->state == NBD_ASKED ? "its keeper does not answer"
                                            : "its server does not answer");
    }
    return any;
}

/* ---- waiting ---- */

static void wait_for_any(const struct nbd_link *l, int64_t until)
{
    struct pollfd p[2] = {{.fd = l->deaf_until ? -1 : l->keeper, .events = POLLIN}, {.fd = l->fd}};
    int64_t left = MAX(until - g_get_monotonic_time(), 0) / 1000 + 1;

    if (l->handle) {
        unsigned direction = l->api->aio_get_direction(l->handle);

        p[1].events = (short)((direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
                              (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
    }
    turn_waits();
    poll(p, 2, (int)MIN(left, l->deaf_until ? PAUSE_FIRST_MS : 100));
}

bool nbd_link_awaits_reason(const struct nbd_link *l)
{
    return l->error == EIO && l->served && l->keeper >= 0 && l->ended_serial != l->serial;
}

int nbd_link_wait(struct nbd_link *l, int timeout_ms, int reason_ms)
{
    int64_t until = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;

    l->next_ask = 0;
    nbd_link_want(l);
    while (l->state != NBD_READY && l->state != NBD_IDLE) {
        wait_for_any(l, until);
        nbd_link_step(l);
        if (l->state != NBD_READY && g_get_monotonic_time() >= until) {
            nbd_link_drop(l, ETIMEDOUT, "its server does not answer");
        }
    }
    if (l->state == NBD_READY) {
        return 0;
    }
    until = g_get_monotonic_time() + reason_ms * G_TIME_SPAN_MILLISECOND;
    while (nbd_link_awaits_reason(l) && g_get_monotonic_time() < until) {
        wait_for_any(l, until);
        nbd_link_step(l);
    }
    return -l->error;
}

void nbd_link_stop(struct nbd_link *l, int timeout_ms)
{
    int64_t until = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;

    if (l->state == NBD_READY) {
        l->api->aio_disconnect(l->handle, 0);
        turn(l);
    }
    close_handle(l);
    l->state = NBD_IDLE;
    l->serial++;
    l->stopping = tell(l, IMAGE_STOP);
    while (l->stopping && l->keeper >= 0 && g_get_monotonic_time() < until) {
        wait_for_any(l, until);
        nbd_link_step(l);
    }
    l->next_ask = 0;
    l->pause_ms = 0;
}

void nbd_link_free(struct nbd_link *l)
{
    close_handle(l);
    if (l->keeper >= 0) {
        close(l->keeper);
    }
    l->keeper = -1;
    g_clear_pointer(&l->export, g_free);
    g_clear_pointer(&l->why, g_free);
    g_clear_pointer(&l->end_reason, g_free);
}
