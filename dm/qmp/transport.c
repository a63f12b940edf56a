/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP's transport: sockets, clients, where a command begins and ends. toolstack.md 2.1 and
 * 2.3 have the rules that libxl's and xentop's parsers impose; the important ones:
 *   - we speak first; every message is one line that ends in CR LF, with no other CR LF in it;
 *   - a command ends at its closing brace, not at a line's end (xentop sends none);
 *   - a descriptor rides on the first byte of its command, so every read is a recvmsg();
 *   - we do not close after a reply: libxl looks at POLLHUP before it reads;
 *   - no event between xentop's commands and replies.
 *
 * A client has one command under way at a time; until it is answered, and while much output waits,
 * nothing more is read from it. That bounds what a client can make us keep to one read, one reply
 * and some events.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib-unix.h>

#include <xendm/device.h>
#include <xendm/files.h>
#include <xendm/log.h>
#include <xendm/turn.h>

#include "transport.h"

#define BACKLOG 16
#define READ_SIZE 4096
#define TURN_US 1000 /* for one client in a turn of the main loop */
#define QUIET_MONITOR "libxenstat-cmd"

static void client_process(struct qmp_client *client);
static void client_update(struct qmp_client *client);
static void monitor_update(struct qmp_monitor *monitor);

/* ---- clients ---- */

static gsize client_backlog(const struct qmp_client *client)
{
    return client->out->len - client->written;
}

static void client_free(void *p)
{
    struct qmp_client *client = p;

    client->monitor->transport->ops->gone(client);
    for (unsigned i = 0; i < client->nfds; i++) {
        close(client->fds[i]);
    }
    g_source_destroy(client->source);
    g_source_unref(client->source);
    close(client->fd);
    g_byte_array_free(client->in, TRUE);
    g_byte_array_free(client->out, TRUE);
    g_free(client);
}

static void client_close(struct qmp_client *client)
{
    struct qmp_monitor *monitor = client->monitor;
    struct qmp_transport *t = monitor->transport;

    log_debug(LOG_QMP, "%s: client %u is gone%s", monitor->id, client->number,
              client->events_dropped ? ", it did not read all events" : "");
    g_ptr_array_remove_fast(monitor->clients, client); /* frees it */
    if (--t->clients == 0) {
        t->ops->last_gone(t->qmp);
    }
    monitor_update(monitor);
}

/* Writes what the socket takes. */
static void client_write(struct qmp_client *client)
{
    while (client_backlog(client) && !client->broken) {
        ssize_t n = send(client->fd, client->out->data + client->written, client_backlog(client),
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n > 0) {
            client->written += (gsize)n;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            break;
        } else if (errno != EINTR) {
            client->broken = true;
        }
    }
    if (!client_backlog(client)) {
        g_byte_array_set_size(client->out, 0);
        client->written = 0;
    } else if (client->written > QMP_OUTPUT_HIGH) {
        g_byte_array_remove_range(client->out, 0, client->written);
        client->written = 0;
    }
}

void qmp_client_send(struct qmp_client *client, const char *message)
{
    if (!client->broken) {
        g_byte_array_append(client->out, (const guint8 *)message, (guint)strlen(message));
        g_byte_array_append(client->out, (const guint8 *)"\r\n", 2);
        client_write(client);
        client_update(client);
    }
}

/* What the source waits for follows from the client's state. Hang-ups are always told. */
static void client_update(struct qmp_client *client)
{
    GIOCondition wanted = G_IO_HUP | G_IO_ERR;

    if (!client->eof && !client->call && !client->closing && !client->more &&
        client_backlog(client) < QMP_OUTPUT_HIGH) {
        wanted |= G_IO_IN;
    }
    if (client_backlog(client)) {
        wanted |= G_IO_OUT;
    }
    g_source_modify_unix_fd(client->source, client->tag, wanted);
    g_source_set_ready_time(client->source, client->more ? 0 : -1);
}

int qmp_client_take_fd(struct qmp_client *client)
{
    int fd;

    if (!client->nfds) {
        return -1;
    }
    fd = client->fds[0];
    client->nfds--;
    memmove(&client->fds[0], &client->fds[1], client->nfds * sizeof(client->fds[0]));
    return fd;
}

/* Keeps the descriptors of a message; false when there are more than anybody needs. */
static bool client_keep_fds(struct qmp_client *client, struct msghdr *msg)
{
    bool ok = !(msg->msg_flags & MSG_CTRUNC);

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t count;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
            if (client->nfds < QMP_CLIENT_FDS_MAX) {
                client->fds[client->nfds++] = fd;
            } else {
                close(fd);
                ok = false;
            }
        }
    }
    return ok;
}

static void client_garbage(struct qmp_client *client, const char *why)
{
    client->monitor->transport->ops->garbage(client, why);
}

/* One read. */
static void client_read(struct qmp_client *client)
{
    guint8 buf[READ_SIZE];
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(QMP_CLIENT_FDS_MAX * sizeof(int))];
    } control;
    struct iovec iov = {buf, sizeof(buf)};
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    ssize_t n = recvmsg(client->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n < 0) {
        client->broken = errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
        return;
    }
    if (!client_keep_fds(client, &msg)) {
        client_garbage(client, "too many file descriptors");
        client->closing = true;
        return;
    }
    if (n == 0) {
        client->eof = true;
        return;
    }
    g_byte_array_append(client->in, buf, (guint)n);
}

/* ---- where commands begin and end ---- */

enum scan_result {
    SCAN_MORE,     /* all was looked at */
    SCAN_DOCUMENT, /* from scan.start, before scan.at */
    SCAN_GARBAGE,  /* not JSON: the rest of the line is skipped */
    SCAN_DEEP,     /* nested too deeply: likewise */
    SCAN_RESET,    /* a character that JSON has not: what was begun is forgotten */
};

static enum scan_result scan_garbage(struct qmp_client *client, enum scan_result why)
{
    client->scan.depth = 0;
    client->scan.quote = 0;
    client->scan.skip = why != SCAN_RESET;
    client->scan.skipped = 0;
    return why;
}

/*
 * What QMP's specification has a client send to get a parser into a state that it knows: a control
 * character, which JSON has neither in strings nor around them, or a byte that UTF-8 has not.
 */
static bool is_reset(guint8 ch, bool string)
{
    return ch >= 0xfe || (ch < ' ' && (string || !strchr("\t\r\n", ch) || !ch));
}

static enum scan_result scan_open(struct qmp_client *client, guint8 ch)
{
    unsigned depth = client->scan.depth;

    if (depth == 0) {
        client->scan.start = client->scan.at - 1;
    } else if (depth == QMP_DEPTH_MAX) {
        return scan_garbage(client, SCAN_DEEP);
    }
    client->scan.brackets[depth / 8] &= (guint8) ~(1u << depth % 8);
    client->scan.brackets[depth / 8] |= (guint8)((ch == '[') << depth % 8);
    client->scan.depth++;
    return SCAN_MORE;
}

static enum scan_result scan_close(struct qmp_client *client, guint8 ch)
{
    unsigned depth = --client->scan.depth;

    if ((client->scan.brackets[depth / 8] >> depth % 8 & 1) != (ch == ']')) {
        return scan_garbage(client, SCAN_GARBAGE);
    }
    return depth ? SCAN_MORE : SCAN_DOCUMENT;
}

static enum scan_result scan_string(struct qmp_client *client, guint8 ch)
{
    if (client->scan.escape) {
        client->scan.escape = false;
    } else if (ch == '\\') {
        client->scan.escape = true;
    } else if (ch == client->scan.quote) {
        client->scan.quote = 0;
    }
    return SCAN_MORE;
}

static enum scan_result scan_byte(struct qmp_client *client, guint8 ch)
{
    if (client->scan.skip) {
        client->scan.skip = ch != '\n' && !is_reset(ch, false);
        client->scan.skipped++;
        return SCAN_MORE;
    }
    if (is_reset(ch, client->scan.quote)) {
        client->scan.escape = false;
        return scan_garbage(client, SCAN_RESET);
    }
    if (client->scan.quote) {
        return scan_string(client, ch);
    }
    if (ch == '{' || ch == '[') {
        return scan_open(client, ch);
    }
    if (client->scan.depth == 0) {
        return strchr(" \t\r\n", ch) ? SCAN_MORE : scan_garbage(client, SCAN_GARBAGE);
    }
    if (ch == '"' || ch == '\'') {
        client->scan.quote = ch;
    } else if (ch == '}' || ch == ']') {
        return scan_close(client, ch);
    }
    return SCAN_MORE;
}

static enum scan_result client_scan(struct qmp_client *client)
{
    enum scan_result result = SCAN_MORE;

    while (result == SCAN_MORE && client->scan.at < client->in->len) {
        result = scan_byte(client, client->in->data[client->scan.at++]);
    }
    return result;
}

/* Drops what is no longer needed of the input. */
static void client_compact(struct qmp_client *client)
{
    gsize done = client->scan.depth ? client->scan.start : client->scan.at;

    if (done) {
        g_byte_array_remove_range(client->in, 0, (guint)done);
        client->scan.at -= done;
        client->scan.start = 0;
    }
}

/*
 * Answers the commands that were read, until one's reply has to wait, or others are to have their
 * turn: a client may send a thousand at once. Does not free the client: that is for whoever calls
 * from the main loop, by client_settle().
 */
static void client_process(struct qmp_client *client)
{
    gint64 end = g_get_monotonic_time() + TURN_US;

    if (client->busy) {
        return;
    }
    client->busy = true;
    client->more = false;
    while (!client->more && !client->call && !client->broken && !client->closing &&
           client_backlog(client) < QMP_OUTPUT_HIGH) {
        enum scan_result result = client_scan(client);

        if (result == SCAN_DOCUMENT) {
            client->monitor->transport->ops->document(client,
                                                      (const char *)client->in->data +
                                                          client->scan.start,
                                                      client->scan.at - client->scan.start);
        } else if (result == SCAN_GARBAGE) {
            client_garbage(client, "this is no JSON; skipping to the end of the line");
        } else if (result == SCAN_RESET) {
            client_garbage(client, "this is no JSON; starting anew");
        } else if (result == SCAN_DEEP) {
            client_garbage(client, "nested too deeply; skipping to the end of the line");
        } else {
            break;
        }
        client->more = client->scan.at < client->in->len && g_get_monotonic_time() >= end;
    }
    client_compact(client);
    if ((client->in->len > QMP_COMMAND_MAX + READ_SIZE && !client->more) ||
        (client->scan.depth && client->scan.at > QMP_COMMAND_MAX) ||
        (client->scan.skip && client->scan.skipped > QMP_COMMAND_MAX)) {
        if (!client->closing) {
            log_warning(LOG_QMP, "%s: client %u sent an endless command, hanging up",
                        client->monitor->id, client->number);
            client_garbage(client, "the command is too long");
            client->closing = true;
        }
    }
    client->busy = false;
}

/* After anything that happened to a client: close it, or wait for more. */
static void client_settle(struct qmp_client *client)
{
    bool written = !client_backlog(client);

    if (client->broken || (client->closing && written) ||
        (client->eof && written && !client->call && !client->more)) {
        client_close(client);
    } else {
        client_update(client);
    }
}

void qmp_client_resume(struct qmp_client *client)
{
    if (!client->busy) {
        client_process(client);
        client_settle(client);
    }
}

struct client_source {
    GSource base;
    struct qmp_client *client;
};

static gboolean client_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
    struct qmp_client *client = ((struct client_source *)source)->client;
    GIOCondition is = g_source_query_unix_fd(source, client->tag);

    turn_of("qmp");
    if (is & G_IO_OUT) {
        client_write(client);
    }
    if ((is & G_IO_IN) && !client->more) {
        client_read(client);
    } else if (is & (G_IO_HUP | G_IO_ERR)) {
        client->broken = true;
    }
    if (!client->broken) {
        client_process(client);
    }
    client_settle(client);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs client_source_funcs = {.dispatch = client_dispatch};

struct qmp_client *qmp_client_new(struct qmp_monitor *monitor, int fd)
{
    struct qmp_client *client = g_new0(struct qmp_client, 1);

    client->monitor = monitor;
    client->fd = fd;
    client->number = monitor->transport->next_number++;
    client->in = g_byte_array_new();
    client->out = g_byte_array_new();
    client->source = g_source_new(&client_source_funcs, sizeof(struct client_source));
    ((struct client_source *)client->source)->client = client;
    client->tag = g_source_add_unix_fd(client->source, fd, G_IO_IN | G_IO_HUP | G_IO_ERR);
    g_source_set_name(client->source, "qmp-client");
    g_source_attach(client->source, NULL);
    g_ptr_array_add(monitor->clients, client);
    monitor->transport->clients++;
    log_debug(LOG_QMP, "%s: client %u", monitor->id, client->number);
    return client;
}

/* ---- monitors ---- */

static gboolean monitor_retry(gpointer data)
{
    struct qmp_monitor *monitor = data;

    turn_of("qmp listen");
    monitor->retry = 0;
    monitor_update(monitor);
    return G_SOURCE_REMOVE;
}

static gboolean monitor_accept(gint fd, GIOCondition condition, gpointer data)
{
    struct qmp_monitor *monitor = data;
    int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    turn_of("qmp listen");
    if (client >= 0) {
        struct qmp_client *c = qmp_client_new(monitor, client);

        monitor->transport->ops->arrived(c);
        client_settle(c);
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR && errno != ECONNABORTED) {
        /* Descriptors or memory are short: not again at once, for the socket stays readable. */
        log_error(LOG_QMP, "%s: accept: %s", monitor->id, g_strerror(errno));
        monitor->source = 0;
        monitor->retry = g_timeout_add_seconds(1, monitor_retry, monitor);
        return G_SOURCE_REMOVE;
    }
    if (monitor->clients->len >= QMP_CLIENTS_MAX) {
        monitor->source = 0;
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

static void monitor_update(struct qmp_monitor *monitor)
{
    if (!monitor->source && !monitor->retry && monitor->clients->len < QMP_CLIENTS_MAX) {
        monitor->source = g_unix_fd_add(monitor->fd, G_IO_IN, monitor_accept, monitor);
    }
}

static void monitor_free(void *p)
{
    struct qmp_monitor *monitor = p;

    g_ptr_array_free(monitor->clients, TRUE);
    if (monitor->source) {
        g_source_remove(monitor->source);
    }
    if (monitor->retry) {
        g_source_remove(monitor->retry);
    }
    if (monitor->fd >= 0) {
        close(monitor->fd);
    }
    /* Not if a successor for the same domain has put its own there (soft reset). */
    if (monitor->path) {
        files_remove_socket(monitor->path, monitor->device, monitor->inode);
    }
    g_free(monitor->path);
    g_free(monitor->id);
    g_free(monitor);
}

static int make_socket(struct qmp_monitor *monitor, const char *path, GError **err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    mode_t mask;
    int rc;

    if (strlen(path) >= sizeof(address.sun_path)) {
        g_set_error(err, XENDM_ERROR, ENAMETOOLONG,
                    "%s: the path of a UNIX socket is at most %zu bytes long", path,
                    sizeof(address.sun_path) - 1);
        return -ENAMETOOLONG;
    }
    strcpy(address.sun_path, path);
    monitor->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (monitor->fd < 0) {
        rc = -errno;
        g_set_error(err, XENDM_ERROR, -rc, "socket: %s", g_strerror(-rc));
        return rc;
    }
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        unlink(path); /* left over by a process that was killed */
    }
    mask = umask(0177);
    rc = bind(monitor->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    umask(mask);
    if (rc == 0 && lstat(path, &st) == 0) {
        monitor->path = g_strdup(path);
        monitor->device = st.st_dev;
        monitor->inode = st.st_ino;
    }
    if (rc < 0) {
        g_set_error(err, XENDM_ERROR, -rc, "%s: bind: %s", path, g_strerror(-rc));
    }
    return rc;
}

/* The socket that our predecessor made; it is ours to remove if its name still leads to it. */
static int inherit_socket(struct qmp_monitor *monitor, const struct qmp_socket *socket)
{
    monitor->fd = socket->fd;
    monitor->path = g_strdup(socket->path);
    monitor->device = socket->device;
    monitor->inode = socket->inode;
    return 0;
}

static int take_socket(struct qmp_monitor *monitor, int fd, GError **err)
{
    int listening = 0, flags = fcntl(fd, F_GETFL);
    socklen_t len = sizeof(listening);

    if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 ||
        !listening) {
        g_set_error(err, XENDM_ERROR, EBADF, "-chardev fd=%d: not a listening socket", fd);
        return -EBADF;
    }
    monitor->fd = fd;
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

int qmp_monitor_new(struct qmp_transport *t, const struct monitor_desc *desc,
                    const struct qmp_socket *inherited, GError **err)
{
    struct qmp_monitor *monitor = g_new0(struct qmp_monitor, 1);
    int rc;

    monitor->transport = t;
    monitor->qmp = t->qmp;
    monitor->id = g_strdup(desc->chardev_id);
    monitor->fd = -1;
    monitor->clients = g_ptr_array_new_with_free_func(client_free);
    monitor->quiet = strcmp(desc->chardev_id, QUIET_MONITOR) == 0;
    if (inherited) {
        rc = inherit_socket(monitor, inherited);
    } else {
        rc = desc->path ? make_socket(monitor, desc->path, err)
                        : take_socket(monitor, desc->fd, err);
    }
    /* libxl's own socket has a backlog of 1; a second listen() raises it. One that is inherited
     * listens, and goes on naming the process that the toolstack knows as its maker. */
    if (rc == 0 && !inherited && listen(monitor->fd, BACKLOG) < 0) {
        rc = -errno;
        g_set_error(err, XENDM_ERROR, -rc, "%s: listen: %s", monitor->id, g_strerror(-rc));
    }
    if (rc < 0) {
        monitor_free(monitor);
        return rc;
    }
    g_ptr_array_add(t->monitors, monitor);
    monitor_update(monitor);
    return 0;
}

void qmp_transport_init(struct qmp_transport *t, const struct qmp_transport_ops *ops,
                        struct qmp *qmp)
{
    t->ops = ops;
    t->qmp = qmp;
    t->monitors = g_ptr_array_new_with_free_func(monitor_free);
}

void qmp_transport_clear(struct qmp_transport *t)
{
    g_ptr_array_free(t->monitors, TRUE);
}
