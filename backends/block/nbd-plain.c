/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The part of libnbd that reads an image of the image server, for a daemon that is in its sandbox
 * and cannot load the library any more (a CD in a format, put in later), and must not load it
 * before: it would double the memory of every guest that has a CD drive.
 *
 * Source: the NBD project's doc/proto.md: fixed newstyle negotiation with NBD_OPT_EXPORT_NAME,
 * simple replies. Reading only, no TLS, no structured replies. What the server says is checked:
 * anything unexpected ends the connection, and whoever has it asks for another.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <xendm/bytes.h>

#include "nbd-api.h"

#define MAGIC UINT64_C(0x4e42444d41474943)    /* "NBDMAGIC" */
#define HAVE_OPT UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define REQUEST_MAGIC 0x25609513u
#define REPLY_MAGIC 0x67446698u
#define MAX_BLOCK (32u << 20) /* what servers take when they say nothing */

enum { FIXED_NEWSTYLE = 1, NO_ZEROES = 2 };
enum { OPT_EXPORT_NAME = 1 };
enum { CMD_READ = 0, CMD_DISC = 2 };
enum { FLAG_READ_ONLY = 1 << 1, FLAG_ROTATIONAL = 1 << 4, FLAG_MULTI = 1 << 8 };

#define GREETING 18u /* bytes: magic, magic, flags */
#define EXPORT 10u   /* size, flags */
#define REPLY 16u    /* magic, error, cookie */

/* A read that was sent. */
struct command {
    uint64_t cookie;
    uint8_t *buf;
    size_t count;
    nbd_completion_callback done;
};

struct nbd_handle {
    enum { CREATED, GREETED, AGREEING, READY, DEAD } state;
    int fd;
    char *export;
    uint64_t size;
    uint16_t flags;
    uint64_t last_cookie;
    GQueue commands; /* struct command */
    GByteArray *out; /* not sent yet */
    uint8_t in[GREETING];
    size_t got;
    struct command *reading; /* its data come; NULL: what comes is a header */
    size_t at;
};

static uint64_t load_be64(const uint8_t *p)
{
    return (uint64_t)load_be32(p) << 32 | load_be32(p + 4);
}

static const char *why = "";

static struct nbd_handle *plain_create(void)
{
    struct nbd_handle *h = g_new0(struct nbd_handle, 1);

    h->fd = -1;
    h->export = g_strdup("");
    h->out = g_byte_array_new();
    g_queue_init(&h->commands);
    return h;
}

static void plain_close(struct nbd_handle *h)
{
    if (!h) {
        return;
    }
    if (h->fd >= 0) {
        close(h->fd);
    }
    g_free(h->reading);
    g_queue_clear_full(&h->commands, g_free);
    g_byte_array_unref(h->out);
    g_free(h->export);
    g_free(h);
}

static const char *plain_get_error(void)
{
    return why;
}

static int dead(struct nbd_handle *h, const char *reason)
{
    h->state = DEAD;
    why = reason;
    return -1;
}

static int plain_set_export_name(struct nbd_handle *h, const char *name)
{
    g_free(h->export);
    h->export = g_strdup(name);
    return 0;
}

static int plain_aio_connect_socket(struct nbd_handle *h, int sock)
{
    h->fd = sock;
    h->state = GREETED;
    return 0;
}

static int plain_aio_get_fd(struct nbd_handle *h)
{
    return h->fd;
}

static unsigned plain_aio_get_direction(struct nbd_handle *h)
{
    return h->state == CREATED || h->state == DEAD
               ? 0
               : LIBNBD_AIO_DIRECTION_READ | (h->out->len ? LIBNBD_AIO_DIRECTION_WRITE : 0);
}

static void put(struct nbd_handle *h, uint64_t value, unsigned bytes)
{
    uint8_t b[8];

    store_be32(b, (uint32_t)(value >> 32));
    store_be32(b + 4, (uint32_t)value);
    g_byte_array_append(h->out, b + 8 - bytes, bytes);
}

static int plain_aio_notify_write(struct nbd_handle *h)
{
    ssize_t n = send(h->fd, h->out->data, h->out->len, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n < 0) {
        return errno == EAGAIN || errno == EINTR ? 0 : dead(h, g_strerror(errno));
    }
    g_byte_array_remove_range(h->out, 0, (guint)n);
    return 0;
}

/* ---- what comes ---- */

static int take_greeting(struct nbd_handle *h)
{
    uint16_t flags = load_be16(h->in + 16);

    if (load_be64(h->in) != MAGIC || load_be64(h->in + 8) != HAVE_OPT ||
        !(flags & FIXED_NEWSTYLE) || !(flags & NO_ZEROES)) {
        return dead(h, "its server speaks another language");
    }
    put(h, FIXED_NEWSTYLE | NO_ZEROES, 4);
    put(h, HAVE_OPT, 8);
    put(h, OPT_EXPORT_NAME, 4);
    put(h, strlen(h->export), 4);
    g_byte_array_append(h->out, (const uint8_t *)h->export, (guint)strlen(h->export));
    h->state = AGREEING;
    return plain_aio_notify_write(h);
}

static int take_export(struct nbd_handle *h)
{
    h->size = load_be64(h->in);
    h->flags = load_be16(h->in + 8);
    h->state = READY;
    return 0;
}

/* As the protocol has them; Linux' numbers. */
static int error_of(uint32_t error)
{
    static const uint8_t known[] = {EPERM, EIO, ENOMEM, EINVAL, ENOSPC, EOVERFLOW, ESHUTDOWN};

    return error < 256 && memchr(known, (int)error, sizeof(known)) ? (int)error : EIO;
}

static void end_command(struct command *c, int error)
{
    c->done.callback(c->done.user_data, &error);
    g_free(c);
}

static struct command *find_command(struct nbd_handle *h, uint64_t cookie)
{
    for (GList *l = h->commands.head; l; l = l->next) {
        struct command *c = l->data;

        if (c->cookie == cookie) {
            g_queue_delete_link(&h->commands, l);
            return c;
        }
    }
    return NULL;
}

static int take_reply(struct nbd_handle *h)
{
    uint32_t error = load_be32(h->in + 4);
    struct command *c =
        load_be32(h->in) == REPLY_MAGIC ? find_command(h, load_be64(h->in + 8)) : NULL;

    if (!c) {
        return dead(h, "its server answers what was not asked");
    }
    if (error) {
        end_command(c, error_of(error));
    } else {
        h->reading = c;
        h->at = 0;
    }
    return 0;
}

static size_t header_size(const struct nbd_handle *h)
{
    return h->state == GREETED ? GREETING : h->state == AGREEING ? EXPORT : REPLY;
}

static int take_header(struct nbd_handle *h)
{
    return h->state == GREETED    ? take_greeting(h)
           : h->state == AGREEING ? take_export(h)
                                  : take_reply(h);
}

static int plain_aio_notify_read(struct nbd_handle *h)
{
    struct command *c = h->reading;
    uint8_t *to = c ? c->buf + h->at : h->in + h->got;
    size_t most = c ? c->count - h->at : header_size(h) - h->got;
    ssize_t n = recv(h->fd, to, most, MSG_DONTWAIT);

    if (n <= 0) {
        return n < 0 && (errno == EAGAIN || errno == EINTR)
                   ? 0
                   : dead(h, n < 0 ? g_strerror(errno) : "its server hung up");
    }
    if (!c) {
        h->got += (size_t)n;
        if (h->got < header_size(h)) {
            return 0;
        }
        h->got = 0;
        return take_header(h);
    }
    h->at += (size_t)n;
    if (h->at == c->count) {
        h->reading = NULL;
        end_command(c, 0);
    }
    return 0;
}

/* ---- what is asked ---- */

static int plain_aio_is_connecting(struct nbd_handle *h)
{
    return h->state == GREETED || h->state == AGREEING;
}

static int plain_aio_is_created(struct nbd_handle *h)
{
    return h->state == CREATED;
}

static int plain_aio_is_ready(struct nbd_handle *h)
{
    return h->state == READY;
}

static int plain_aio_is_processing(struct nbd_handle *h)
{
    return false;
}

static void put_request(struct nbd_handle *h, unsigned type, uint64_t offset, size_t count)
{
    put(h, REQUEST_MAGIC, 4);
    put(h, 0, 2);
    put(h, type, 2);
    put(h, ++h->last_cookie, 8);
    put(h, offset, 8);
    put(h, count, 4);
}

static int64_t plain_aio_pread(struct nbd_handle *h, void *buf, size_t count, uint64_t offset,
                               nbd_completion_callback done, uint32_t flags)
{
    struct command *c;

    if (h->state != READY || count == 0 || count > MAX_BLOCK) {
        return -1;
    }
    put_request(h, CMD_READ, offset, count);
    c = g_new(struct command, 1);
    *c = (struct command){h->last_cookie, buf, count, done};
    g_queue_push_tail(&h->commands, c);
    plain_aio_notify_write(h);
    return (int64_t)c->cookie;
}

static int64_t plain_aio_pwrite(struct nbd_handle *h, const void *buf, size_t count,
                                uint64_t offset, nbd_completion_callback done, uint32_t flags)
{
    return -1;
}

static int64_t plain_aio_flush(struct nbd_handle *h, nbd_completion_callback done, uint32_t flags)
{
    return -1;
}

static int64_t plain_aio_trim(struct nbd_handle *h, uint64_t count, uint64_t offset,
                              nbd_completion_callback done, uint32_t flags)
{
    return -1;
}

static int64_t plain_aio_zero(struct nbd_handle *h, uint64_t count, uint64_t offset,
                              nbd_completion_callback done, uint32_t flags)
{
    return -1;
}

static int plain_aio_disconnect(struct nbd_handle *h, uint32_t flags)
{
    if (h->state == READY) {
        put_request(h, CMD_DISC, 0, 0);
        plain_aio_notify_write(h);
    }
    return 0;
}

static int64_t plain_get_size(struct nbd_handle *h)
{
    return h->size <= INT64_MAX ? (int64_t)h->size : -1;
}

static int64_t plain_get_block_size(struct nbd_handle *h, int type)
{
    return type == LIBNBD_SIZE_MAXIMUM ? MAX_BLOCK : 1;
}

static int plain_is_read_only(struct nbd_handle *h)
{
    return true; /* whatever the server would let us do */
}

static int plain_is_rotational(struct nbd_handle *h)
{
    return !!(h->flags & FLAG_ROTATIONAL);
}

static int plain_can_multi_conn(struct nbd_handle *h)
{
    return !!(h->flags & FLAG_MULTI);
}

static int plain_cannot(struct nbd_handle *h)
{
    return false;
}

#define plain_can_flush plain_cannot
#define plain_can_fua plain_cannot
#define plain_can_trim plain_cannot
#define plain_can_zero plain_cannot

const struct nbd_api nbd_plain = {
#define X(call) .call = plain_##call,
    NBD_CALLS(X)
#undef X
};
