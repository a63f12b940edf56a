/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's end of the broker; see broker.h. Without one it does everything itself.
 *
 * A name may lie on a file system whose server is gone, and whoever opens it then waits for ever.
 * That is the broker: we wait for so long, and say that there is no answer. Until there is one, for
 * which nobody waits any more, the broker can be asked nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xendm/error.h>
#include <xendm/files.h>
#include <xendm/log.h>
#include <xendm/one-fd.h>
#include <xendm/turn.h>

#include "broker.h"
#include "sandbox.h"

#define PATIENCE_US (5 * G_USEC_PER_SEC) /* below libxl's 10 s for a QMP command */

static int broker = -1;
static unsigned owed; /* replies that nobody waits for any more */
static pid_t program; /* without a broker */

static bool receive(struct broker_reply *reply, int *fd, int flags)
{
    return one_fd_receive(broker, reply, sizeof(*reply), fd, flags) == sizeof(*reply);
}

/* Takes the replies to what was given up. False: there are some to come. */
static bool owes_nothing(void)
{
    struct broker_reply late;
    int fd = -1;

    while (owed > 0 && receive(&late, &fd, MSG_DONTWAIT)) {
        owed--;
        if (fd >= 0) {
            close(fd);
        }
        if (owed == 0) {
            log_info(LOG_DM, "the process that opens files goes on");
        }
    }
    return owed == 0;
}

/* False: there is none in so long. An end of the broker's is an answer. */
static bool answers(void)
{
    struct pollfd p = {.fd = broker, .events = POLLIN};
    gint64 end = g_get_monotonic_time() + PATIENCE_US, left = PATIENCE_US;
    int n = 0;

    turn_waits();
    while (n <= 0 && left > 0) {
        n = poll(&p, 1, (int)(left / 1000) + 1);
        left = end - g_get_monotonic_time();
    }
    return n > 0;
}

/* The result or -errno; `*fd`: what goes and what comes, -1: none. */
static int call(struct broker_request *q, const char *path, int *fd, int32_t *value)
{
    struct broker_reply reply = {.result = -EPIPE};
    int come = -1;

    if (path) {
        if (g_strlcpy(q->path, path, sizeof(q->path)) >= sizeof(q->path)) {
            return -ENAMETOOLONG;
        }
    }
    if (!owes_nothing()) {
        return -ETIMEDOUT;
    }
    if (one_fd_send(broker, q, sizeof(*q), fd ? *fd : -1, 0) != sizeof(*q)) {
        return -EPIPE;
    }
    if (!answers()) {
        owed++;
        log_warning(LOG_DM,
                    "the process that opens files does not answer%s%s: does a file system hang?",
                    path ? " for " : "", path ? path : "");
        return -ETIMEDOUT;
    }
    if (!receive(&reply, &come, 0)) {
        return -EPIPE;
    }
    if (value) {
        *value = reply.value;
    }
    if (fd) {
        *fd = come;
    } else if (come >= 0) {
        close(come);
    }
    return reply.result;
}

/* `fd` goes along, if it is one. What comes, or -errno: as the broker could not say it, EMFILE. */
static int call_with_fd(struct broker_request *q, const char *path, int fd, int32_t *value)
{
    int rc = call(q, path, &fd, value);

    return rc < 0 ? rc : fd < 0 ? -EMFILE : fd;
}

static int call_for_fd(struct broker_request *q, const char *path, int32_t *value)
{
    return call_with_fd(q, path, -1, value);
}

/* ---- files.h ---- */

static int open_read(const char *path)
{
    struct broker_request q = {.op = BROKER_OPEN_READ};

    return call_for_fd(&q, path, NULL);
}

static int open_write(const char *path)
{
    struct broker_request q = {.op = BROKER_OPEN_WRITE};

    return call_for_fd(&q, path, NULL);
}

static int start_keeper(const char *driver, const char *file, int image, unsigned flags)
{
    struct broker_request q = {.op = BROKER_START_KEEPER, .argument = flags};

    if (g_strlcpy(q.format, driver, sizeof(q.format)) >= sizeof(q.format)) {
        return -EINVAL;
    }
    return call_with_fd(&q, file, image, NULL);
}

static int serve_tree(const char *path, const char *model, bool read_only)
{
    struct broker_request q = {.op = BROKER_SERVE_TREE, .argument = read_only};

    if (g_strlcpy(q.format, model, sizeof(q.format)) >= sizeof(q.format)) {
        return -EINVAL;
    }
    return call_for_fd(&q, path, NULL);
}

static int serve_usb(const char *where)
{
    struct broker_request q = {.op = BROKER_SERVE_USB};

    return call_for_fd(&q, where, NULL);
}

static int picture_begin(const char *path, unsigned *picture)
{
    struct broker_request q = {.op = BROKER_PICTURE_BEGIN};
    int32_t value = 0;
    int fd = call_for_fd(&q, path, &value);

    *picture = (unsigned)value;
    return fd;
}

static int picture_end(unsigned picture, bool complete)
{
    struct broker_request q = {.op = BROKER_PICTURE_END, .argument = complete, .picture = picture};

    return call(&q, NULL, NULL, NULL);
}

static int remove_socket(const char *path, dev_t device, ino_t inode)
{
    struct broker_request q = {.op = BROKER_REMOVE_SOCKET, .device = device, .inode = inode};

    return call(&q, path, NULL, NULL);
}

static int drop_cache(int fd)
{
    struct broker_request q = {.op = BROKER_DROP_CACHE};

    return call(&q, NULL, &fd, NULL);
}

static const struct files_ops ops = {
    .open_read = open_read,
    .open_write = open_write,
    .start_keeper = start_keeper,
    .serve_tree = serve_tree,
    .serve_usb = serve_usb,
    .picture_begin = picture_begin,
    .picture_end = picture_end,
    .remove_socket = remove_socket,
    .drop_cache = drop_cache,
};

void broker_use(int socket)
{
    broker = socket;
}

bool broker_is_there(void)
{
    return broker >= 0;
}

void broker_give_names_up(void)
{
    files_set_ops(&ops);
}

/* ---- the program of a live update ---- */

static int execute_here(const char *path, int line)
{
    int fd = open(path, O_RDONLY);
    int pid = fd < 0 ? -errno : access(path, X_OK) < 0 ? -errno : program_start(fd, path, line);

    program = pid > 0 ? pid : 0;
    return pid < 0 ? pid : 0;
}

int sandbox_execute(const char *path, int line, GError **err)
{
    struct broker_request q = {.op = BROKER_EXECUTE};
    int rc = broker_is_there() ? call(&q, path, &line, NULL) : execute_here(path, line);

    if (rc < 0) {
        g_set_error(err, XENDM_ERROR, -rc, "cannot execute '%s': %s", path, g_strerror(-rc));
    }
    return rc;
}

int sandbox_program_ended(int *status)
{
    struct broker_request q = {.op = BROKER_PROGRAM_ENDED};
    int32_t value = 0;
    int rc;

    if (broker_is_there()) {
        rc = call(&q, NULL, NULL, &value);
        *status = value;
        return rc < 0 ? -1 : rc;
    }
    rc = program ? waitpid(program, status, WNOHANG) : -1;
    program = rc == 0 ? program : 0;
    return rc < 0 ? -1 : rc > 0;
}

void sandbox_kill_program(void)
{
    struct broker_request q = {.op = BROKER_KILL_PROGRAM};

    if (broker_is_there()) {
        call(&q, NULL, NULL, NULL);
    } else if (program) {
        kill(program, SIGKILL);
    }
}
