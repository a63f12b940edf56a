/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character back ends: pty, file, pipe, serial, stdio, null, and stream sockets. One structure
 * serves all drivers: an input and an output descriptor (often the same), for sockets a listening
 * one.
 *
 * Nothing here polls. That someone opened a pty's other end is told by inotify, because a pty
 * master without reader only knows "hung up", at the price of a wake-up each time it is asked.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <glib-unix.h>

#include <xendm/backend-classes.h>
#include <xendm/chardev.h>
#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/files.h>
#include <xendm/handover.h>
#include <xendm/host-time.h>
#include <xendm/log.h>
#include <xendm/tape.h>
#include <xendm/turn.h>

#define RECEIVE_MAX 512u
#define ACCEPT_RETRY_SECONDS 1u

enum chardev_kind {
    CHARDEV_NULL,
    CHARDEV_PTY,
    CHARDEV_STDIO,
    CHARDEV_FILE,
    CHARDEV_PIPE,
    CHARDEV_UNIX,
    CHARDEV_TCP,
};

struct chardev {
    struct backend b;
    /* properties */
    char *path;        /* file, pipe, serial, socket; any bytes */
    char *host, *port; /* socket */
    bool server, wait, nodelay, append;

    char *filename; /* what it is called in query-chardev */
    enum chardev_kind kind;
    int in_fd, out_fd, listen_fd, notify_fd;
    bool connected;
    bool left;  /* the peer of in_fd hung up; the device has not read all it had sent */
    bool bound; /* we made the socket at `path`: removed at the end if it is still ours */
    uint64_t device, inode;
    guint in_source, hup_source, out_source, listen_source, notify_source;
    int64_t waits_since; /* while out_source is there: ns, CLOCK_MONOTONIC */
    bool accept_failed;
    const struct chardev_frontend *frontend;
    void *opaque;
    struct chardev_stats stats;
};

static void input_start(struct chardev *cd);

static void source_remove(guint *source)
{
    if (*source) {
        g_source_remove(*source);
        *source = 0;
    }
}

/* ---- what the device is told: events of a recording (xendm/tape.h) ---- */

static bool is_taped(const struct chardev *cd)
{
    return tape_on() && cd->frontend && cd->frontend->taped;
}

static void deliver(struct chardev *cd, enum tape_kind kind, uint64_t event, const uint8_t *buf,
                    size_t len)
{
    const struct chardev_frontend *f = cd->frontend;

    if (f && kind == TAPE_CHAR_IN) {
        f->receive(cd->opaque, buf, len);
    } else if (f && kind == TAPE_CHAR_EVENT && f->event) {
        f->event(cd->opaque, (enum chardev_event)event);
    } else if (f && kind == TAPE_CHAR_ROOM && f->writable) {
        f->writable(cd->opaque);
    }
}

static void tell(struct chardev *cd, enum tape_kind kind, uint64_t event, const uint8_t *buf,
                 size_t len)
{
    if (!is_taped(cd)) {
        deliver(cd, kind, event, buf, len);
    } else if (tape_enter(kind, cd->b.id, &event, buf, len)) {
        deliver(cd, kind, event, buf, len);
        tape_leave();
    }
}

bool chardev_play_input(struct chardev *cd, const uint8_t *buf, size_t len)
{
    const struct chardev_frontend *f = cd->frontend;

    if (!f || !f->receive || !f->can_receive ||
        (!f->looks && f->can_receive(cd->opaque) < len)) { /* else it was asked on the tape */
        return false;
    }
    deliver(cd, TAPE_CHAR_IN, 0, buf, len);
    return true;
}

static size_t room_for(const struct chardev *cd)
{
    const struct chardev_frontend *f = cd->frontend;
    size_t room;

    if (!f || !f->can_receive) {
        return 0;
    }
    if (!is_taped(cd) || !f->looks) {
        return f->can_receive(cd->opaque);
    }
    if (!tape_enter(TAPE_CHAR_ASK, cd->b.id, NULL, NULL, 0)) {
        return 0;
    }
    room = f->can_receive(cd->opaque);
    tape_leave();
    return room;
}

void chardev_play_ask(struct chardev *cd)
{
    room_for(cd);
}

void chardev_play_event(struct chardev *cd, enum chardev_event event)
{
    deliver(cd, TAPE_CHAR_EVENT, event, NULL, 0);
}

void chardev_play_room(struct chardev *cd)
{
    deliver(cd, TAPE_CHAR_ROOM, 0, NULL, 0);
}

static void set_connected(struct chardev *cd, bool connected)
{
    if (cd->connected == connected) {
        return;
    }
    cd->connected = connected;
    if (connected) {
        input_start(cd);
    } else {
        source_remove(&cd->in_source);
        source_remove(&cd->hup_source);
        source_remove(&cd->out_source);
    }
    tell(cd, TAPE_CHAR_EVENT, connected ? CHARDEV_OPENED : CHARDEV_CLOSED, NULL, 0);
    /* What was held back for a reader that is gone need not be. */
    if (!connected) {
        tell(cd, TAPE_CHAR_ROOM, 0, NULL, 0);
    }
}

static bool is_socket(const struct chardev *cd)
{
    return cd->kind == CHARDEV_UNIX || cd->kind == CHARDEV_TCP;
}

static void hang_up(struct chardev *cd)
{
    set_connected(cd, false);
    if (is_socket(cd)) {
        source_remove(&cd->in_source); /* of one that had left */
        if (cd->in_fd >= 0) {
            close(cd->in_fd);
        }
        cd->in_fd = cd->out_fd = -1;
        cd->left = false;
    }
}

/* ---- input ---- */

/* The end of standard input is not the end of standard output. */
static void input_ended(struct chardev *cd)
{
    if (is_socket(cd) || cd->kind == CHARDEV_PTY) {
        hang_up(cd);
        return;
    }
    if (cd->in_fd >= 0 && cd->in_fd != cd->out_fd) {
        close(cd->in_fd);
    }
    cd->in_fd = -1;
    set_connected(cd, cd->out_fd >= 0);
}

/*
 * The peer of a socket is gone while the device had no room: the carrier drops now, what it sent
 * before is still read when there is room, unless somebody else calls first.
 */
static gboolean peer_left(gint fd, GIOCondition condition, gpointer opaque)
{
    struct chardev *cd = opaque;

    turn_of("character input");
    cd->hup_source = 0;
    cd->left = true;
    set_connected(cd, false);
    return G_SOURCE_REMOVE;
}

static void input_wait(struct chardev *cd)
{
    if (is_socket(cd) && !cd->left && !cd->hup_source) {
        cd->hup_source = g_unix_fd_add(cd->in_fd, G_IO_HUP | G_IO_ERR, peer_left, cd);
    }
}

static gboolean input_ready(gint fd, GIOCondition condition, gpointer opaque)
{
    struct chardev *cd = opaque;
    uint8_t buf[RECEIVE_MAX];
    size_t room = room_for(cd);
    ssize_t n;

    turn_of("character input");
    if (room == 0) {
        cd->in_source = 0; /* until chardev_accept_input() */
        input_wait(cd);
        return G_SOURCE_REMOVE;
    }
    n = read(fd, buf, room < sizeof(buf) ? room : sizeof(buf));
    if (n > 0) {
        cd->stats.bytes_in += (uint64_t)n;
        tell(cd, TAPE_CHAR_IN, 0, buf, (size_t)n);
        return G_SOURCE_CONTINUE;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        if (!(condition & (G_IO_HUP | G_IO_ERR))) {
            return G_SOURCE_CONTINUE;
        }
    }
    cd->in_source = 0;
    input_ended(cd);
    return G_SOURCE_REMOVE;
}

static void input_start(struct chardev *cd)
{
    if (cd->in_source || cd->in_fd < 0 || !(cd->connected || cd->left) || !cd->frontend) {
        return;
    }
    source_remove(&cd->hup_source);
    cd->in_source = g_unix_fd_add(cd->in_fd, G_IO_IN | G_IO_HUP | G_IO_ERR, input_ready, cd);
}

void chardev_accept_input(struct chardev *cd)
{
    if (!tape_plays()) {
        input_start(cd);
    }
}

/* ---- output ---- */

/* Nobody will read any more: of a socket this is the end, elsewhere the input goes on. */
static void output_ended(struct chardev *cd)
{
    source_remove(&cd->out_source);
    if (is_socket(cd) || cd->kind == CHARDEV_PTY) {
        hang_up(cd);
        return;
    }
    if (cd->out_fd != cd->in_fd) {
        close(cd->out_fd);
    }
    cd->out_fd = -1;
    set_connected(cd, cd->in_fd >= 0);
}

static gboolean output_ready(gint fd, GIOCondition condition, gpointer opaque)
{
    struct chardev *cd = opaque;

    turn_of("character output");
    cd->out_source = 0;
    tell(cd, TAPE_CHAR_ROOM, 0, NULL, 0);
    return G_SOURCE_REMOVE;
}

/*
 * One write that does not wait. Standard output is shared with others, who may not want it
 * non-blocking.
 */
static ssize_t write_some(struct chardev *cd, const uint8_t *buf, size_t len)
{
    struct pollfd pfd = {.fd = cd->out_fd, .events = POLLOUT};

    switch (cd->kind) {
    case CHARDEV_UNIX:
    case CHARDEV_TCP:
        return send(cd->out_fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    case CHARDEV_STDIO:
        if (poll(&pfd, 1, 0) == 0) {
            errno = EAGAIN;
            return -1;
        }
        return write(cd->out_fd, buf, len < PIPE_BUF ? len : PIPE_BUF);
    default:
        return write(cd->out_fd, buf, len);
    }
}

static size_t write_out(struct chardev *cd, const uint8_t *buf, size_t len)
{
    size_t done = 0;

    if (cd->kind == CHARDEV_NULL) {
        cd->stats.bytes_out += len;
        return len;
    }
    if (!cd->connected || cd->out_fd < 0) {
        cd->stats.dropped += len;
        return len;
    }
    while (done < len) {
        ssize_t n = write_some(cd, buf + done, len - done);

        if (n > 0) {
            done += (size_t)n;
            continue;
        }
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            if (!cd->out_source) {
                cd->waits_since = host_now_ns();
                cd->out_source =
                    g_unix_fd_add(cd->out_fd, G_IO_OUT | G_IO_HUP | G_IO_ERR, output_ready, cd);
            }
            break;
        }
        /* A full disk behind a console file, a reader that went away: the guest's UART knows
         * neither. */
        if (cd->kind == CHARDEV_FILE && cd->stats.dropped == 0) {
            log_warning(LOG_CHAR, "%s: cannot write '%s': %s; output is lost", cd->b.id,
                        cd->filename, g_strerror(errno));
        }
        cd->stats.dropped += len - done;
        done = len;
        /* In the middle of an event a recording could not have another; the input will notice. */
        if (cd->kind != CHARDEV_FILE && !(is_taped(cd) && tape_inside())) {
            output_ended(cd);
        }
        return len;
    }
    cd->stats.bytes_out += done;
    return done;
}

size_t chardev_write(struct chardev *cd, const uint8_t *buf, size_t len)
{
    uint64_t done;

    if (tape_plays()) {
        done = 0;
    } else {
        done = write_out(cd, buf, len);
    }
    if (is_taped(cd) && tape_inside()) {
        tape_fact(TAPE_CHAR_OUT, cd->b.id, &done, (void *)(uintptr_t)buf, len);
    }
    return (size_t)MIN(done, len);
}

/* ---- ptys ---- */

static bool pty_has_reader(const struct chardev *cd)
{
    struct pollfd pfd = {.fd = cd->in_fd, .events = POLLIN};

    return poll(&pfd, 1, 0) >= 0 && !(pfd.revents & POLLHUP);
}

static gboolean pty_notified(gint fd, GIOCondition condition, gpointer opaque)
{
    struct chardev *cd = opaque;
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

    turn_of("pty");
    while (read(fd, events, sizeof(events)) > 0) {
    }
    set_connected(cd, pty_has_reader(cd));
    return G_SOURCE_CONTINUE;
}

static int watch_pty(struct chardev *cd, const char *name)
{
    if (cd->notify_fd < 0) { /* else it was handed over */
        cd->notify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (cd->notify_fd < 0 || inotify_add_watch(cd->notify_fd, name, IN_OPEN | IN_CLOSE) < 0) {
            return -1;
        }
    }
    cd->notify_source = g_unix_fd_add(cd->notify_fd, G_IO_IN, pty_notified, cd);
    return 0;
}

static int open_pty(struct chardev *cd, GError **err)
{
    struct termios tio;
    char name[64];
    int slave = -1, fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || grantpt(fd) < 0 || unlockpt(fd) < 0 || ptsname_r(fd, name, sizeof(name)) != 0 ||
        (slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0 || tcgetattr(slave, &tio) < 0) {
        goto fail;
    }
    cfmakeraw(&tio);
    if (tcsetattr(slave, TCSANOW, &tio) < 0) {
        goto fail;
    }
    /* Opened and closed once, the master says "hung up" until somebody opens it. */
    close(slave);
    slave = -1;
    if (watch_pty(cd, name) < 0) {
        goto fail;
    }
    cd->in_fd = cd->out_fd = fd;
    cd->filename = g_strdup_printf("pty:%s", name);
    log_info(LOG_CHAR, "%s is %s", cd->b.id, name);
    return 0;

fail:
    g_set_error(err, XENDM_ERROR, errno, "%s: cannot make a pty: %s", cd->b.id, g_strerror(errno));
    if (slave >= 0) {
        close(slave);
    }
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

/* ---- sockets ---- */

static void client_arrived(struct chardev *cd, int fd)
{
    int one = 1;

    if (cd->nodelay && cd->kind == CHARDEV_TCP) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
    cd->in_fd = cd->out_fd = fd;
    set_connected(cd, true);
}

/* Whether who is connected can send no more: gone, though what it sent was not read yet. */
static bool peer_is_gone(const struct chardev *cd)
{
    struct pollfd pfd = {.fd = cd->in_fd, .events = POLLRDHUP};

    return cd->left || (poll(&pfd, 1, 0) > 0 && (pfd.revents & (POLLRDHUP | POLLHUP | POLLERR)));
}

static gboolean listen_ready(gint listen_fd, GIOCondition condition, gpointer opaque);

static gboolean listen_again(gpointer opaque)
{
    struct chardev *cd = opaque;

    turn_of("character listen");
    cd->listen_source = g_unix_fd_add(cd->listen_fd, G_IO_IN, listen_ready, cd);
    return G_SOURCE_REMOVE;
}

/* Descriptors or memory are short: not again at once, for the socket stays readable. */
static void listen_later(struct chardev *cd)
{
    if (!cd->accept_failed) {
        log_warning(LOG_CHAR, "%s: accept: %s; trying again", cd->b.id, g_strerror(errno));
    }
    cd->accept_failed = true;
    cd->listen_source = g_timeout_add_seconds(ACCEPT_RETRY_SECONDS, listen_again, cd);
}

static gboolean listen_ready(gint listen_fd, GIOCondition condition, gpointer opaque)
{
    struct chardev *cd = opaque;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    turn_of("character listen");
    if (fd < 0) {
        if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) {
            return G_SOURCE_CONTINUE;
        }
        listen_later(cd);
        return G_SOURCE_REMOVE;
    }
    cd->accept_failed = false;
    if (cd->in_fd >= 0 && peer_is_gone(cd)) {
        hang_up(cd);
    }
    if (cd->in_fd >= 0) {
        close(fd); /* one at a time: the cable is plugged in already */
        return G_SOURCE_CONTINUE;
    }
    client_arrived(cd, fd);
    return G_SOURCE_CONTINUE;
}

static int socket_error(struct chardev *cd, const char *what, const char *where, int e,
                        GError **err)
{
    g_set_error(err, XENDM_ERROR, e, "%s: cannot %s %s: %s", cd->b.id, what, where, g_strerror(e));
    return -1;
}

static int start_server(struct chardev *cd, int fd, const char *where, GError **err)
{
    if (listen(fd, 1) < 0) {
        int e = errno;

        close(fd);
        return socket_error(cd, "listen on", where, e, err);
    }
    cd->listen_fd = fd;
    if (cd->wait) {
        int client;

        log_info(LOG_CHAR, "%s: waiting for a connection to %s", cd->b.id, where);
        do {
            client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        } while (client < 0 && errno == EINTR);
        if (client < 0) {
            return socket_error(cd, "accept on", where, errno, err);
        }
        g_unix_set_fd_nonblocking(client, TRUE, NULL);
        client_arrived(cd, client);
    }
    g_unix_set_fd_nonblocking(fd, TRUE, NULL);
    cd->listen_source = g_unix_fd_add(fd, G_IO_IN, listen_ready, cd);
    return 0;
}

static int open_unix(struct chardev *cd, GError **err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct stat st;
    int fd;

    cd->filename = g_strdup_printf("unix:%s%s", cd->path, cd->server ? ",server=on" : "");
    if (strlen(cd->path) >= sizeof(addr.sun_path)) {
        return socket_error(cd, "use", cd->path, ENAMETOOLONG, err);
    }
    strcpy(addr.sun_path, cd->path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return socket_error(cd, "make a socket for", cd->path, errno, err);
    }
    if (!cd->server) {
        if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
            int e = errno;

            close(fd);
            return socket_error(cd, "connect to", cd->path, e, err);
        }
        g_unix_set_fd_nonblocking(fd, TRUE, NULL);
        client_arrived(cd, fd);
        return 0;
    }
    if (lstat(cd->path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        unlink(cd->path); /* left over by a process that was killed */
    }
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        int e = errno;

        close(fd);
        return socket_error(cd, "bind to", cd->path, e, err);
    }
    if (lstat(cd->path, &st) == 0) {
        cd->bound = true;
        cd->device = st.st_dev;
        cd->inode = st.st_ino;
    }
    return start_server(cd, fd, cd->path, err);
}

static int open_tcp(struct chardev *cd, GError **err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = cd->server ? AI_PASSIVE : 0};
    struct addrinfo *list = NULL;
    const char *host = cd->host && cd->host[0] ? cd->host : NULL;
    int e = 0, one = 1, fd = -1;
    int rc = getaddrinfo(host, cd->port, &hints, &list);
    g_autofree char *where = g_strdup_printf("%s:%s", cd->host ? cd->host : "", cd->port);

    cd->filename = g_strdup_printf("tcp:%s%s", where, cd->server ? ",server=on" : "");
    if (rc != 0) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: cannot look up %s: %s", cd->b.id, where,
                    gai_strerror(rc));
        return -1;
    }
    for (struct addrinfo *a = list; a; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd < 0) {
            e = errno;
            continue;
        }
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if ((cd->server ? bind(fd, a->ai_addr, a->ai_addrlen)
                        : connect(fd, a->ai_addr, a->ai_addrlen)) == 0) {
            break;
        }
        e = errno;
        close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    if (fd < 0) {
        return socket_error(cd, cd->server ? "bind to" : "connect to", where, e, err);
    }
    if (cd->server) {
        return start_server(cd, fd, where, err);
    }
    g_unix_set_fd_nonblocking(fd, TRUE, NULL);
    client_arrived(cd, fd);
    return 0;
}

/* ---- files ---- */

static int open_path(struct chardev *cd, const char *path, int flags, int *fd, GError **err)
{
    *fd = open(path, flags | O_CLOEXEC | O_NOCTTY, 0644);
    if (*fd < 0) {
        g_set_error(err, XENDM_ERROR, errno, "%s: cannot open '%s': %s", cd->b.id, path,
                    g_strerror(errno));
        return -1;
    }
    return 0;
}

static int open_file(struct chardev *cd, GError **err)
{
    cd->filename = g_strdup_printf("file:%s", cd->path);
    if (open_path(cd, cd->path, O_WRONLY | O_CREAT | (cd->append ? O_APPEND : O_TRUNC) | O_NONBLOCK,
                  &cd->out_fd, err) < 0) {
        return -1;
    }
    cd->connected = true;
    return 0;
}

static int open_device(struct chardev *cd, GError **err)
{
    cd->filename = g_strdup_printf("serial:%s", cd->path);
    if (open_path(cd, cd->path, O_RDWR | O_NONBLOCK, &cd->in_fd, err) < 0) {
        return -1;
    }
    cd->out_fd = cd->in_fd;
    cd->connected = true;
    return 0;
}

/* "PATH.in" and "PATH.out" when both exist, else PATH for both directions. */
static int open_pipe(struct chardev *cd, GError **err)
{
    g_autofree char *in = g_strconcat(cd->path, ".in", NULL);
    g_autofree char *out = g_strconcat(cd->path, ".out", NULL);

    cd->filename = g_strdup_printf("pipe:%s", cd->path);
    if (access(in, F_OK) == 0 && access(out, F_OK) == 0) {
        if (open_path(cd, in, O_RDWR | O_NONBLOCK, &cd->in_fd, err) < 0 ||
            open_path(cd, out, O_RDWR | O_NONBLOCK, &cd->out_fd, err) < 0) {
            return -1;
        }
    } else {
        if (open_path(cd, cd->path, O_RDWR | O_NONBLOCK, &cd->in_fd, err) < 0) {
            return -1;
        }
        cd->out_fd = cd->in_fd;
    }
    cd->connected = true;
    return 0;
}

static int open_stdio(struct chardev *cd, GError **err)
{
    cd->filename = g_strdup("stdio");
    cd->in_fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
    cd->out_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (cd->in_fd < 0 || cd->out_fd < 0) {
        g_set_error(err, XENDM_ERROR, errno, "%s: standard input or output is closed", cd->b.id);
        return -1;
    }
    cd->connected = true;
    return 0;
}

/* ---- life ---- */

static int open_null(struct chardev *cd, GError **err)
{
    cd->filename = g_strdup("null");
    cd->connected = true;
    return 0;
}

static int open_socket(struct chardev *cd, GError **err)
{
    return cd->kind == CHARDEV_UNIX ? open_unix(cd, err) : open_tcp(cd, err);
}

static void shut(struct backend *b)
{
    struct chardev *cd = (struct chardev *)b;

    source_remove(&cd->in_source);
    source_remove(&cd->hup_source);
    source_remove(&cd->out_source);
    source_remove(&cd->listen_source);
    source_remove(&cd->notify_source);
    if (cd->out_fd >= 0 && cd->out_fd != cd->in_fd) {
        close(cd->out_fd);
    }
    if (cd->in_fd >= 0) {
        close(cd->in_fd);
    }
    if (cd->listen_fd >= 0) {
        close(cd->listen_fd);
    }
    if (cd->notify_fd >= 0) {
        close(cd->notify_fd);
    }
    /* Not if a successor for the same domain has put its own there. */
    if (cd->bound) {
        files_remove_socket(cd->path, cd->device, cd->inode);
    }
    g_clear_pointer(&cd->filename, g_free);
}

/* Live update: the same pty, the same connection. */
static int adopt(struct chardev *cd, const struct handover *from, GError **err)
{
    g_autofree char *group = backend_group(&cd->b);

    cd->in_fd = handover_fd(from, group, "in");
    cd->out_fd = handover_fd(from, group, "out");
    cd->listen_fd = handover_fd(from, group, "listen");
    cd->notify_fd = handover_fd(from, group, "notify");
    cd->filename = handover_text(from, group, "filename");
    if (!cd->filename) {
        cd->filename = g_strdup("");
    }
    cd->connected = cd->in_fd >= 0 || cd->out_fd >= 0 || cd->kind == CHARDEV_NULL;
    if (cd->kind == CHARDEV_UNIX && cd->server) {
        cd->bound = true;
        cd->device = (uint64_t)handover_int(from, group, "device", 0);
        cd->inode = (uint64_t)handover_int(from, group, "inode", 0);
    }
    if (cd->listen_fd >= 0) {
        cd->listen_source = g_unix_fd_add(cd->listen_fd, G_IO_IN, listen_ready, cd);
    }
    if (cd->kind == CHARDEV_PTY) {
        /* What happened while nobody watched is seen by looking. */
        errno = 0;
        if (!g_str_has_prefix(cd->filename, "pty:") || cd->in_fd < 0 ||
            watch_pty(cd, cd->filename + strlen("pty:")) < 0) {
            g_set_error(err, XENDM_ERROR, errno ? errno : EINVAL, "%s: cannot go on with '%s': %s",
                        cd->b.id, cd->filename, g_strerror(errno ? errno : EINVAL));
            return -EINVAL;
        }
        cd->connected = pty_has_reader(cd);
    }
    return 0;
}

static void hand_over(const struct backend *b, struct handover *to)
{
    const struct chardev *cd = (const struct chardev *)b;
    g_autofree char *group = backend_group(b);

    handover_put_fd(to, group, "in", cd->in_fd);
    handover_put_fd(to, group, "out", cd->out_fd);
    handover_put_fd(to, group, "listen", cd->listen_fd);
    handover_put_fd(to, group, "notify", cd->notify_fd);
    handover_put_text(to, group, "filename", cd->filename);
    handover_put_int(to, group, "device", (int64_t)cd->device);
    handover_put_int(to, group, "inode", (int64_t)cd->inode);
}

static int start(struct backend *b, enum chardev_kind kind, const struct handover *from,
                 int (*open)(struct chardev *cd, GError **err), GError **err)
{
    struct chardev *cd = (struct chardev *)b;
    int rc;

    cd->kind = kind;
    cd->in_fd = cd->out_fd = cd->listen_fd = cd->notify_fd = -1;
    rc = from ? adopt(cd, from, err) : open(cd, err);
    if (rc < 0) {
        shut(b);
    }
    return rc;
}

static void describe(const struct backend *b, struct facts *to)
{
    const struct chardev *cd = (const struct chardev *)b;

    fact_text(to, "filename", "%s", cd->filename);
    fact_bool(to, "connected", cd->connected);
    fact_int(to, "bytes in", (int64_t)cd->stats.bytes_in);
    fact_int(to, "bytes out", (int64_t)cd->stats.bytes_out);
    fact_int(to, "dropped", (int64_t)cd->stats.dropped);
    if (cd->out_source) {
        fact_int(to, "output waits since", cd->waits_since);
    }
}

/* ---- the drivers ---- */

static const struct property path_properties[] = {
    {.name = "path",
     .type = PROP_STRING,
     .offset = offsetof(struct chardev, path),
     .required = true,
     .help = "file name"},
    {.name = NULL},
};

static const struct property file_properties[] = {
    {.name = "path",
     .type = PROP_STRING,
     .offset = offsetof(struct chardev, path),
     .required = true,
     .help = "file name"},
    {.name = "append",
     .type = PROP_BOOL,
     .offset = offsetof(struct chardev, append),
     .def = "off",
     .help = "behind what is there, instead of in its place"},
    {.name = NULL},
};

static const struct property socket_properties[] = {
    {.name = "path",
     .type = PROP_STRING,
     .offset = offsetof(struct chardev, path),
     .help = "of a UNIX socket"},
    {.name = "host",
     .type = PROP_STRING,
     .offset = offsetof(struct chardev, host),
     .help = "of a TCP socket; a server's may be missing"},
    {.name = "port", .type = PROP_STRING, .offset = offsetof(struct chardev, port), .help = "…"},
    {.name = "server",
     .type = PROP_BOOL,
     .offset = offsetof(struct chardev, server),
     .def = "off",
     .help = "wait for a caller instead of calling"},
    {.name = "wait",
     .type = PROP_BOOL,
     .offset = offsetof(struct chardev, wait),
     .def = "on",
     .help = "server: the guest does not start before somebody has called"},
    {.name = "nodelay",
     .type = PROP_BOOL,
     .offset = offsetof(struct chardev, nodelay),
     .def = "off",
     .help = "TCP_NODELAY"},
    {.name = NULL},
};

static int check_path(const struct backend *b, GError **err)
{
    if (!((const struct chardev *)b)->path[0]) {
        g_set_error(err, XENDM_ERROR, EINVAL, "path= is empty");
        return -EINVAL;
    }
    return 0;
}

static int check_socket(const struct backend *b, GError **err)
{
    const struct chardev *cd = (const struct chardev *)b;

    if ((cd->path != NULL) + (cd->host || cd->port) != 1) {
        g_set_error(err, XENDM_ERROR, EINVAL, "needs one of path=, or host= and port=");
        return -EINVAL;
    }
    if (cd->path) {
        return check_path(b, err);
    }
    if (!cd->port || !cd->port[0]) {
        g_set_error(err, XENDM_ERROR, EINVAL, "port= is missing");
        return -EINVAL;
    }
    return 0;
}

#define DRIVER(name_, kind_, open_, properties_, check_, help_) \
    static int name_##_open(struct backend *b, const struct handover *from, GError **err) \
    { \
        return start(b, kind_, from, open_, err); \
    } \
    const struct backend_class chardev_##name_##_class = { \
        .kind = BACKEND_CHAR, \
        .driver = #name_, \
        .help = help_, \
        .size = sizeof(struct chardev), \
        .properties = properties_, \
        .check = check_, \
        .open = name_##_open, \
        .close = shut, \
        .hand_over = hand_over, \
        .describe = describe, \
    }

DRIVER(pty, CHARDEV_PTY, open_pty, NULL, NULL, "pseudo terminal");
DRIVER(file, CHARDEV_FILE, open_file, file_properties, check_path, "output into a file");
DRIVER(pipe, CHARDEV_PIPE, open_pipe, path_properties, check_path,
       "PATH.in and PATH.out, or PATH for both directions");
DRIVER(serial, CHARDEV_PIPE, open_device, path_properties, check_path, "a tty of the host");
DRIVER(stdio, CHARDEV_STDIO, open_stdio, NULL, NULL, "standard input and output");
DRIVER(null, CHARDEV_NULL, open_null, NULL, NULL, "takes all, gives nothing");
DRIVER(socket, ((struct chardev *)b)->path ? CHARDEV_UNIX : CHARDEV_TCP, open_socket,
       socket_properties, check_socket, "UNIX or TCP stream socket");

/* ---- for devices ---- */

void chardev_set_frontend(struct chardev *cd, const struct chardev_frontend *frontend, void *opaque)
{
    source_remove(&cd->in_source);
    source_remove(&cd->hup_source);
    cd->frontend = frontend;
    cd->opaque = opaque;
    input_start(cd);
    if (frontend && frontend->event && cd->connected) {
        frontend->event(opaque, CHARDEV_OPENED);
    }
}

bool chardev_has_frontend(const struct chardev *cd)
{
    return cd->frontend != NULL;
}

const char *chardev_label(const struct chardev *cd)
{
    return cd->b.id;
}

const char *chardev_filename(const struct chardev *cd)
{
    return cd->filename;
}

bool chardev_connected(const struct chardev *cd)
{
    uint64_t connected = cd->connected;

    if (is_taped(cd) && tape_inside()) {
        tape_fact(TAPE_CARRIER, cd->b.id, &connected, NULL, 0);
    }
    return connected;
}

bool chardev_size(const struct chardev *cd, uint16_t *cols, uint16_t *rows)
{
    struct winsize size = {0};
    bool known = (cd->kind == CHARDEV_PTY || cd->kind == CHARDEV_STDIO) && cd->in_fd >= 0 &&
                 ioctl(cd->in_fd, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;
    uint64_t n[] = {known, size.ws_col, size.ws_row};

    if (is_taped(cd) && tape_inside()) {
        tape_fact(TAPE_CHAR_SIZE, cd->b.id, n, NULL, 0);
    }
    if (!n[0]) {
        return false;
    }
    *cols = (uint16_t)n[1];
    *rows = (uint16_t)n[2];
    return true;
}

const struct chardev_stats *chardev_stats(const struct chardev *cd)
{
    return &cd->stats;
}
