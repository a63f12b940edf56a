/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network back end "socket": frames over a stream to another process, each behind its length as 32
 * bits, most significant byte first: what QEMU's -netdev socket speaks. For labs without bridges,
 * and for tests.
 *
 * fd=N: a connected stream socket. connect=HOST:PORT, listen=[HOST]:PORT: TCP; one peer at a time.
 * Without peer, frames are dropped.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib-unix.h>

#include <xendm/backend-classes.h>
#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/handover.h>
#include <xendm/iov.h>
#include <xendm/log.h>
#include <xendm/turn.h>

#include "net.h"

#define PREFIX 4u
#define FRAMES_A_TURN 64u

struct stream {
    struct net net;
    char *connect_to, *listen_on;
    uint32_t fd_number;

    int fd, listener; /* -1: none */
    unsigned reading, writable, accepting;
    uint8_t in[PREFIX + NET_FRAME_MAX];
    size_t in_len;
    uint8_t out[PREFIX + NET_FRAME_MAX]; /* the rest of a frame that was begun */
    size_t out_len, out_done;
};

static void hang_up(struct stream *s)
{
    if (s->fd < 0) {
        return;
    }
    log_write(LOG_NET, XLOG_INFO, "%s: the peer left", s->net.backend.id);
    g_clear_handle_id(&s->reading, g_source_remove);
    g_clear_handle_id(&s->writable, g_source_remove);
    close(s->fd);
    s->fd = -1;
    s->in_len = s->out_len = s->out_done = 0;
}

/* True: nothing of a frame is left. */
static bool flush_out(struct stream *s)
{
    while (s->out_done < s->out_len) {
        ssize_t n = send(s->fd, s->out + s->out_done, s->out_len - s->out_done, MSG_NOSIGNAL);
        if (n >= 0) {
            s->out_done += (size_t)n;
        } else if (errno == EAGAIN) {
            return false;
        } else if (errno != EINTR) {
            hang_up(s);
            return true;
        }
    }
    s->out_len = s->out_done = 0;
    return true;
}

static gboolean on_writable(gint fd, GIOCondition condition, gpointer opaque)
{
    struct stream *s = opaque;

    turn_of("net");
    if (!flush_out(s)) {
        return G_SOURCE_CONTINUE;
    }
    s->writable = 0;
    net_writable(&s->net);
    return G_SOURCE_REMOVE;
}

static int stream_send(struct net *n, const struct iovec *iov, unsigned niov,
                       const struct net_offload *o)
{
    struct stream *s = (struct stream *)n;
    size_t len = 0;

    if (s->fd < 0) {
        return -ENOTCONN;
    }
    if (s->out_len) {
        return -EAGAIN;
    }
    len = iov_get(iov, niov, 0, s->out + PREFIX, sizeof(s->out) - PREFIX);
    uint32_t prefix = GUINT32_TO_BE((uint32_t)len);
    memcpy(s->out, &prefix, PREFIX);
    s->out_len = PREFIX + len;
    if (!flush_out(s) && !s->writable) {
        s->writable = g_unix_fd_add(s->fd, G_IO_OUT, on_writable, s);
    }
    return 0;
}

/* What is missing of the frame that begins in `in`; 0: it is whole; -1: nonsense. */
static ssize_t missing(const struct stream *s)
{
    uint32_t prefix, len;

    if (s->in_len < PREFIX) {
        return (ssize_t)(PREFIX - s->in_len);
    }
    memcpy(&prefix, s->in, PREFIX);
    len = GUINT32_FROM_BE(prefix);
    return len > NET_FRAME_MAX ? -1 : (ssize_t)(PREFIX + len - s->in_len);
}

static bool receive_one(struct stream *s)
{
    static const struct net_offload none;
    ssize_t want;

    if (!net_can_deliver(&s->net)) {
        return false;
    }
    while ((want = missing(s)) > 0) {
        ssize_t n = recv(s->fd, s->in + s->in_len, (size_t)want, 0);
        if (n > 0) {
            s->in_len += (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            return false;
        } else if (n == 0 || errno != EINTR) {
            hang_up(s);
            return false;
        }
    }
    if (want < 0) {
        log_write(LOG_NET, XLOG_WARNING, "%s: the peer sends no frames", s->net.backend.id);
        hang_up(s);
        return false;
    }
    if (!net_deliver(&s->net, s->in + PREFIX, s->in_len - PREFIX, &none)) {
        return false;
    }
    s->in_len = 0;
    return true;
}

static gboolean on_readable(gint fd, GIOCondition condition, gpointer opaque)
{
    struct stream *s = opaque;

    turn_of("net");
    for (unsigned i = 0; i < FRAMES_A_TURN && !(i && turn_is_used_up()) && receive_one(s); i++) {
    }
    return s->reading ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static void stream_set_reading(struct net *n, bool on)
{
    struct stream *s = (struct stream *)n;

    if (on && !s->reading && s->fd >= 0) {
        s->reading = g_unix_fd_add(s->fd, G_IO_IN | G_IO_HUP, on_readable, s);
    } else if (!on) {
        g_clear_handle_id(&s->reading, g_source_remove);
    }
}

static const struct net_driver stream_driver = {
    .send = stream_send,
    .set_reading = stream_set_reading,
};

static gboolean on_peer(gint fd, GIOCondition condition, gpointer opaque);

static gboolean accept_again(gpointer opaque)
{
    struct stream *s = opaque;

    turn_of("net");
    s->accepting = g_unix_fd_add(s->listener, G_IO_IN, on_peer, s);
    return G_SOURCE_REMOVE;
}

static gboolean on_peer(gint fd, GIOCondition condition, gpointer opaque)
{
    struct stream *s = opaque;
    int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    turn_of("net");
    if (peer < 0) {
        /* without descriptors the socket stays readable: no spinning on it */
        s->accepting = g_timeout_add_seconds(1, accept_again, s);
        return G_SOURCE_REMOVE;
    }
    if (s->fd >= 0) {
        close(peer); /* one at a time */
        return G_SOURCE_CONTINUE;
    }
    s->fd = peer;
    net_update_reading(&s->net);
    return G_SOURCE_CONTINUE;
}

/* HOST:PORT to a socket that is connected, or listens. */
static int open_tcp(const struct stream *s, const char *text, bool listening, GError **err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = listening ? AI_PASSIVE : 0};
    struct addrinfo *list = NULL;
    g_autofree char *host = g_strdup(text);
    char *port = strrchr(host, ':');
    int fd = -1, on = 1, error;

    if (port) {
        *port++ = '\0';
    }
    error = port ? getaddrinfo(host[0] ? host : NULL, port, &hints, &list) : EAI_NONAME;
    if (error) {
        g_set_error(err, XENDM_ERROR, EINVAL, "netdev %s: %s is no HOST:PORT: %s",
                    s->net.backend.id, text, gai_strerror(error));
        return -1;
    }
    error = ENOENT;
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && listening) {
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        }
        if (fd >= 0 && (listening ? bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, 1) < 0
                                  : connect(fd, a->ai_addr, a->ai_addrlen) < 0)) {
            error = errno;
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    if (fd < 0) {
        g_set_error(err, XENDM_ERROR, error, "netdev %s: %s: %s", s->net.backend.id, text,
                    g_strerror(error));
    }
    return fd;
}

static int open_new(struct stream *s, GError **err)
{
    if (!!s->fd_number + !!s->connect_to + !!s->listen_on != 1) {
        g_set_error(err, XENDM_ERROR, EINVAL,
                    "netdev %s: a socket wants one of fd=, connect=, listen=", s->net.backend.id);
        return -EINVAL;
    }
    if (s->fd_number) {
        s->fd = (int)s->fd_number;
    } else if (s->connect_to) {
        s->fd = open_tcp(s, s->connect_to, false, err);
    } else {
        s->listener = open_tcp(s, s->listen_on, true, err);
    }
    return s->fd < 0 && s->listener < 0 ? -EINVAL : 0;
}

static bool is_stream(int fd)
{
    int type = 0;
    socklen_t len = sizeof(type);

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

/* Of a frame that was begun before a live update: without it the stream would be out of step. */
static void take_rest(const struct handover *from, const char *group, const char *key, uint8_t *to,
                      size_t *len)
{
    size_t n = 0;
    g_autofree uint8_t *bytes = handover_bytes(from, group, key, &n);

    if (bytes && n <= PREFIX + NET_FRAME_MAX) {
        memcpy(to, bytes, n);
        *len = n;
    }
}

static int stream_open(struct backend *b, const struct handover *from, GError **err)
{
    struct stream *s = (struct stream *)b;

    s->fd = s->listener = -1;
    if (from) {
        g_autofree char *group = backend_group(b);
        s->fd = handover_fd(from, group, "fd");
        s->listener = handover_fd(from, group, "listener");
        take_rest(from, group, "in", s->in, &s->in_len);
        take_rest(from, group, "out", s->out, &s->out_len);
    } else if (open_new(s, err) < 0) {
        return -EINVAL;
    }
    if (s->fd >= 0) {
        if (!is_stream(s->fd)) {
            g_set_error(err, XENDM_ERROR, EINVAL, "netdev %s: fd=%u is not a stream socket", b->id,
                        s->fd_number);
            return -EINVAL;
        }
        fcntl(s->fd, F_SETFL, fcntl(s->fd, F_GETFL) | O_NONBLOCK);
        fcntl(s->fd, F_SETFD, FD_CLOEXEC);
    }
    if (s->listener >= 0) {
        s->accepting = g_unix_fd_add(s->listener, G_IO_IN, on_peer, s);
    }
    if (s->out_len) {
        s->writable = g_unix_fd_add(s->fd, G_IO_OUT, on_writable, s);
    }
    net_init(&s->net, &stream_driver);
    return 0;
}

static void stream_close(struct backend *b)
{
    struct stream *s = (struct stream *)b;

    net_fini(&s->net);
    hang_up(s);
    g_clear_handle_id(&s->accepting, g_source_remove);
    if (s->listener >= 0) {
        close(s->listener);
    }
}

static void stream_hand_over(const struct backend *b, struct handover *to)
{
    const struct stream *s = (const struct stream *)b;
    g_autofree char *group = backend_group(b);

    handover_put_fd(to, group, "fd", s->fd);
    handover_put_fd(to, group, "listener", s->listener);
    handover_put_bytes(to, group, "in", s->in, s->in_len);
    handover_put_bytes(to, group, "out", s->out + s->out_done, s->out_len - s->out_done);
}

static void stream_describe(const struct backend *b, struct facts *to)
{
    const struct stream *s = (const struct stream *)b;

    fact_bool(to, "connected", s->fd >= 0);
    net_describe(&s->net, to);
}

static const struct property stream_properties[] = {
    {"fd", PROP_UINT32, offsetof(struct stream, fd_number), .min = 3, .max = 65535,
     .help = "a connected stream socket"},
    {"connect", PROP_STRING, offsetof(struct stream, connect_to), .help = "HOST:PORT"},
    {"listen", PROP_STRING, offsetof(struct stream, listen_on), .help = "[HOST]:PORT"},
    {NULL},
};

const struct backend_class backend_net_socket = {
    .kind = BACKEND_NET,
    .driver = "socket",
    .help = "frames over a stream socket, as QEMU's",
    .size = sizeof(struct stream),
    .properties = stream_properties,
    .open = stream_open,
    .close = stream_close,
    .activate = net_activate,
    .hand_over = stream_hand_over,
    .describe = stream_describe,
};
