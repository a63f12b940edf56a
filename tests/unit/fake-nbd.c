/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See fake-nbd.h. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <glib.h>

#include <xendm/one-fd.h>

#include "backends/block/image-wire.h"
#include "backends/block/nbd-api.h"

#include "fake-nbd.h"

struct fake_nbd fake_nbd = {.keeper = -1, .server = -1};

static bool fails(enum fake_nbd_call call)
{
    if (fake_nbd.call != call || !fake_nbd.from) {
        return false;
    }
    fake_nbd.calls++;
    return fake_nbd.calls >= fake_nbd.from && fake_nbd.calls <= fake_nbd.until;
}

uint8_t fake_nbd_byte(uint64_t at)
{
    return (uint8_t)(at / 512 * 31 + at);
}

/* ---- the kernel's calls, on the keeper's socket ---- */

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    struct sockaddr *nobody = NULL;

    if (flags & MSG_DONTWAIT && size == sizeof(struct image_message) && fails(FAKE_NBD_SEND)) {
        errno = fake_nbd.error;
        return -1;
    }
    return syscall(SYS_sendto, fd, data, size, flags, nobody, 0);
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
    if (flags & MSG_DONTWAIT && fails(FAKE_NBD_RECEIVE)) {
        errno = fake_nbd.error;
        return -1;
    }
    return syscall(SYS_recvmsg, fd, msg, flags);
}

/* ---- the clock ---- */

static gint64 now = 1000000;

gint64 g_get_monotonic_time(void)
{
    return ++now;
}

void fake_nbd_time(int64_t us)
{
    now += us;
}

/* ---- libnbd ---- */

struct command {
    enum block_op op;
    uint8_t *buf;
    uint64_t at, count;
    nbd_completion_callback done;
};

struct nbd_handle {
    enum { CREATED, CONNECTING, READY, DEAD } state;
    int fd;
    GQueue commands; /* struct command * */
    int64_t size;    /* as it was told */
};

static struct nbd_handle *fake_create(void)
{
    struct nbd_handle *h;

    if (fails(FAKE_NBD_CREATE)) {
        return NULL;
    }
    h = g_new0(struct nbd_handle, 1);
    h->fd = -1;
    g_queue_init(&h->commands);
    return h;
}

static void fake_close(struct nbd_handle *h)
{
    if (h->fd >= 0) {
        close(h->fd);
    }
    g_queue_clear_full(&h->commands, g_free);
    g_free(h);
}

static const char *fake_get_error(void)
{
    return "as the test has it";
}

static int fake_set_export_name(struct nbd_handle *h, const char *name)
{
    return fails(FAKE_NBD_NAME) ? -1 : 0;
}

static int fake_aio_connect_socket(struct nbd_handle *h, int sock)
{
    h->fd = sock;
    if (fails(FAKE_NBD_CONNECT)) {
        return -1;
    }
    h->state = CONNECTING;
    if (!fake_nbd.by_hand) {
        fake_nbd_server_says(fails(FAKE_NBD_SHAKE) ? 'd' : 'c');
    }
    return 0;
}

static int fake_aio_get_fd(struct nbd_handle *h)
{
    return h->fd;
}

static unsigned fake_aio_get_direction(struct nbd_handle *h)
{
    return h->state == CONNECTING || h->state == READY ? LIBNBD_AIO_DIRECTION_READ : 0;
}

static void end_command(struct nbd_handle *h, unsigned which, int error)
{
    struct command *c = g_queue_pop_nth(&h->commands, which);

    if (!error && c->op == BLOCK_READ) {
        for (uint64_t i = 0; i < c->count; i++) {
            c->buf[i] = fake_nbd_byte(c->at + i);
        }
    }
    c->done.callback(c->done.user_data, &error);
    g_free(c);
}

static void die(struct nbd_handle *h)
{
    h->state = DEAD;
    while (!g_queue_is_empty(&h->commands)) {
        end_command(h, 0, ENOTCONN);
    }
}

static int fake_aio_notify_read(struct nbd_handle *h)
{
    static const int errors[] = {0, 0, 0, EIO, ENOSPC, ENOMEM, ESHUTDOWN, EINVAL};
    uint8_t what;
    ssize_t n = recv(h->fd, &what, 1, MSG_DONTWAIT);

    if (n < 0) {
        return 0;
    }
    if (n == 0 || what == 'd') {
        die(h);
        return -1;
    }
    if (h->state == CONNECTING) {
        h->state = what == 'c' ? READY : DEAD;
        return 0;
    }
    if (what == 'x' && h->commands.length > 0) { /* by the plan */
        end_command(h, 0, fails(FAKE_NBD_ANSWER) ? fake_nbd.error : 0);
    } else if (h->commands.length > 0) {
        end_command(h, (what >> 3) % h->commands.length, errors[what % G_N_ELEMENTS(errors)]);
    }
    return 0;
}

static int fake_aio_notify_write(struct nbd_handle *h)
{
    return 0;
}

static int fake_aio_is_connecting(struct nbd_handle *h)
{
    return h->state == CONNECTING;
}

static int fake_aio_is_created(struct nbd_handle *h)
{
    return h->state == CREATED;
}

static int fake_aio_is_ready(struct nbd_handle *h)
{
    return h->state == READY;
}

static int fake_aio_is_processing(struct nbd_handle *h)
{
    return false;
}

static int64_t put(struct nbd_handle *h, enum block_op op, void *buf, uint64_t count, uint64_t at,
                   nbd_completion_callback done)
{
    static int64_t cookie;
    struct command *c;

    g_assert_cmpint(h->state, ==, READY);
    if (op != BLOCK_FLUSH) {
        g_assert_cmpuint(count, >, 0);
        g_assert_cmpuint(at + count, <=, (uint64_t)h->size);
    }
    if (fails(FAKE_NBD_COMMAND)) {
        return -1;
    }
    c = g_new(struct command, 1);
    *c = (struct command){op, buf, at, count, done};
    g_queue_push_tail(&h->commands, c);
    if (!fake_nbd.by_hand) {
        fake_nbd_server_says('x');
    }
    return ++cookie;
}

static int64_t fake_aio_pread(struct nbd_handle *h, void *buf, size_t count, uint64_t at,
                              nbd_completion_callback done, uint32_t flags)
{
    return put(h, BLOCK_READ, buf, count, at, done);
}

static int64_t fake_aio_pwrite(struct nbd_handle *h, const void *buf, size_t count, uint64_t at,
                               nbd_completion_callback done, uint32_t flags)
{
    return put(h, BLOCK_WRITE, NULL, count, at, done);
}

static int64_t fake_aio_flush(struct nbd_handle *h, nbd_completion_callback done, uint32_t flags)
{
    return put(h, BLOCK_FLUSH, NULL, 0, 0, done);
}

static int64_t fake_aio_trim(struct nbd_handle *h, uint64_t count, uint64_t at,
                             nbd_completion_callback done, uint32_t flags)
{
    return put(h, BLOCK_DISCARD, NULL, count, at, done);
}

static int64_t fake_aio_zero(struct nbd_handle *h, uint64_t count, uint64_t at,
                             nbd_completion_callback done, uint32_t flags)
{
    return put(h, BLOCK_ZERO, NULL, count, at, done);
}

static int fake_aio_disconnect(struct nbd_handle *h, uint32_t flags)
{
    return 0;
}

static int64_t fake_get_size(struct nbd_handle *h)
{
    h->size = fake_nbd.size;
    return h->size;
}

static int64_t fake_get_block_size(struct nbd_handle *h, int type)
{
    return type == LIBNBD_SIZE_MAXIMUM ? 1 << 20 : 1;
}

static int fake_is_rotational(struct nbd_handle *h)
{
    return false;
}

#define SAYS(call) \
    static int fake_##call(struct nbd_handle *h) \
    { \
        return fake_nbd.call; \
    }
SAYS(can_flush)
SAYS(can_fua)
SAYS(can_trim)
SAYS(can_zero)

static int fake_is_read_only(struct nbd_handle *h)
{
    return fake_nbd.read_only;
}

static int fake_can_multi_conn(struct nbd_handle *h)
{
    return fake_nbd.multi;
}

const struct nbd_api *nbd_api_load(GError **err)
{
    static const struct nbd_api api = {
#define X(call) .call = fake_##call,
        NBD_CALLS(X)
#undef X
    };

    return &api;
}

/* ---- keeper and server ---- */

void fake_nbd_server_says(uint8_t what)
{
    if (fake_nbd.server >= 0 && send(fake_nbd.server, &what, 1, MSG_NOSIGNAL) != 1) {
        errno = 0; /* nobody is there */
    }
}

static void drop(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

void fake_nbd_keeper_says(uint32_t kind, uint32_t serial, int error, bool with_fd)
{
    struct image_message m = {.kind = kind, .serial = serial, .error = error, .text = "so"};
    int pair[2] = {-1, -1};

    if (with_fd) {
        drop(&fake_nbd.server);
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
                        ==, 0);
        fake_nbd.server = pair[0];
    }
    one_fd_send(fake_nbd.keeper, &m, sizeof(m), pair[1], MSG_DONTWAIT);
    drop(&pair[1]);
}

void fake_nbd_hear(void)
{
    struct image_message m;

    while (recv(fake_nbd.keeper, &m, sizeof(m), MSG_DONTWAIT) == (ssize_t)sizeof(m)) {
        fake_nbd.serial = m.serial;
        fake_nbd.asked = m.kind;
        if (fake_nbd.by_hand) {
            continue;
        }
        if (m.kind == IMAGE_STOP) {
            fake_nbd_keeper_says(IMAGE_STOPPED, m.serial, 0, false);
        } else if (fails(FAKE_NBD_KEEPER)) {
            fake_nbd_keeper_says(IMAGE_FAILED, m.serial, fake_nbd.error, false);
        } else if (!fails(FAKE_NBD_SILENCE)) {
            fake_nbd_keeper_says(IMAGE_CONNECTED_NBD, m.serial, 0, !fails(FAKE_NBD_NO_FD));
        }
    }
}

void fake_nbd_settle(unsigned most)
{
    for (unsigned turns = 0;; turns++) {
        bool any = g_main_context_iteration(NULL, FALSE);

        if (!fake_nbd.by_hand) {
            fake_nbd_hear();
        }
        if (!any && !g_main_context_pending(NULL)) {
            return;
        }
        if (turns > most) {
            g_error("it does not come to rest");
        }
    }
}

struct block *fake_nbd_open(bool read_only)
{
    struct block_options o = {.id = "d",
                              .file = "image",
                              .format = "qcow2",
                              .read_only = read_only,
                              .size = FAKE_NBD_SIZE};
    GError *err = NULL;
    struct block *b;
    int pair[2];

    fake_nbd = (struct fake_nbd){.server = -1,
                                 .size = FAKE_NBD_SIZE,
                                 .read_only = read_only,
                                 .can_flush = true,
                                 .can_trim = true,
                                 .can_zero = true,
                                 .multi = true};
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), ==,
                    0);
    fake_nbd.keeper = pair[0];
    o.fd = pair[1];
    b = block_open(&o, &err);
    g_assert_no_error(err);
    return b;
}

void fake_nbd_close(struct block *b)
{
    block_close(b);
    drop(&fake_nbd.keeper);
    drop(&fake_nbd.server);
}
