/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The broker's process; see broker.h. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xendm/files.h>
#include <xendm/one-fd.h>

#include "broker.h"
#include "service/service.h"

#define KEEPERS_MAX 16u

struct broker {
    struct broker_rules *rules;
    int dirs[FILES_PICTURES]; /* of pictures that are being written; -1 */
    pid_t program;            /* 0: none */
    bool ended;               /* with that status */
    int status;
    unsigned keepers; /* of images and directories, that were started here */
};

/* ---- requests ---- */

static int begin_picture(struct broker *b, const char *path, unsigned *picture)
{
    g_autofree char *base = g_path_get_basename(path), *there = NULL;
    int dir = -1, fd = rules_picture_place(b->rules, path, &dir);

    if (fd < 0) {
        return fd;
    }
    /* By the directory that was judged, whatever its name leads to by now. */
    there = g_strdup_printf("/proc/self/fd/%d/%s", dir, base);
    fd = files_picture_begin(there, picture);
    if (fd < 0) {
        close(dir);
    } else {
        b->dirs[*picture] = dir;
    }
    return fd;
}

static int end_picture(struct broker *b, unsigned picture, bool complete)
{
    int rc = files_picture_end(picture, complete);

    if (picture < FILES_PICTURES && b->dirs[picture] >= 0) {
        close(b->dirs[picture]);
        b->dirs[picture] = -1;
    }
    return rc;
}

static int execute(struct broker *b, const char *path, int line)
{
    int program = line >= 0 && b->program == 0 ? rules_open_program(b->rules, path) : -EBUSY;
    int pid = program >= 0 ? program_start(program, path, line) : program;

    if (pid < 0) {
        return pid;
    }
    b->program = pid;
    b->ended = false;
    return 0;
}

/* The program, keepers, and what the program left behind when it ended. */
static void reap(struct broker *b)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == b->program) {
            b->ended = true;
            b->status = status;
        } else if (b->keepers > 0) {
            b->keepers--;
        }
    }
}

/* For one more process beside the program. */
static bool has_room(struct broker *b)
{
    reap(b);
    return b->keepers < KEEPERS_MAX;
}

/* A socket, whose other end was started; or why not. */
static int started(struct broker *b, int socket)
{
    b->keepers += socket >= 0;
    return socket;
}

static int start_keeper(struct broker *b, const struct broker_request *q, int passed)
{
    return has_room(b)
               ? started(b, rules_start_keeper(b->rules, q->format, q->path, passed, q->argument))
               : -EBUSY;
}

static int serve_tree(struct broker *b, const struct broker_request *q)
{
    return has_room(b)
               ? started(b, rules_serve_tree(b->rules, q->path, q->format, q->argument != 0))
               : -EBUSY;
}

static int serve_usb(struct broker *b, const struct broker_request *q)
{
    return has_room(b) ? started(b, rules_serve_usb(b->rules, q->path)) : -EBUSY;
}

static int program_ended(struct broker *b, int32_t *status)
{
    if (b->program == 0) {
        return -1;
    }
    reap(b);
    if (!b->ended) {
        return 0;
    }
    b->program = 0;
    *status = b->status;
    return 1;
}

static int kill_program(struct broker *b)
{
    if (b->program && !b->ended) {
        kill(b->program, SIGKILL);
    }
    return 0;
}

/* `*fd`: what came, closed by the caller; the result may be one as well. */
static int answer(struct broker *b, const struct broker_request *q, int fd, int *give,
                  int32_t *value)
{
    unsigned picture = 0;

    switch ((enum broker_op)q->op) {
    case BROKER_OPEN_READ:
        *give = rules_open_read(b->rules, q->path);
        return *give < 0 ? *give : 0;
    case BROKER_OPEN_WRITE:
        *give = rules_open_write(b->rules, q->path);
        return *give < 0 ? *give : 0;
    case BROKER_START_KEEPER:
        *give = start_keeper(b, q, fd);
        return *give < 0 ? *give : 0;
    case BROKER_SERVE_TREE:
        *give = serve_tree(b, q);
        return *give < 0 ? *give : 0;
    case BROKER_SERVE_USB:
        *give = serve_usb(b, q);
        return *give < 0 ? *give : 0;
    case BROKER_PICTURE_BEGIN:
        *give = begin_picture(b, q->path, &picture);
        *value = (int32_t)picture;
        return *give < 0 ? *give : 0;
    case BROKER_PICTURE_END:
        return end_picture(b, q->picture, q->argument != 0);
    case BROKER_REMOVE_SOCKET:
        return rules_is_socket(b->rules, q->path)
                   ? files_remove_socket(q->path, (dev_t)q->device, (ino_t)q->inode)
                   : -EACCES;
    case BROKER_DROP_CACHE:
        return files_drop_cache(fd);
    case BROKER_EXECUTE:
        return execute(b, q->path, fd);
    case BROKER_PROGRAM_ENDED:
        return program_ended(b, value);
    case BROKER_KILL_PROGRAM:
        return kill_program(b);
    }
    return -ENOSYS;
}

static void close_others(int socket)
{
    if (socket > STDERR_FILENO + 1) {
        close_range(STDERR_FILENO + 1, (unsigned)socket - 1, 0);
    }
    close_range((unsigned)socket + 1, UINT_MAX, 0);
}

/* false: the daemon is gone, or is none. */
static bool serve_one(struct broker *b, int socket)
{
    static struct broker_request q;
    struct broker_reply reply = {.result = 0};
    int fd, give = -1;
    bool ok;

    if (one_fd_receive(socket, &q, sizeof(q), &fd, 0) != sizeof(q)) {
        return false;
    }
    q.path[sizeof(q.path) - 1] = q.format[sizeof(q.format) - 1] = '\0';
    reply.result = answer(b, &q, fd, &give, &reply.value);
    ok = one_fd_send(socket, &reply, sizeof(reply), give, 0) == sizeof(reply);
    if (fd >= 0) {
        close(fd);
    }
    if (give >= 0) {
        close(give);
    }
    return ok;
}

/* A descriptor that is readable when a child has ended; -1: that is seen when somebody asks. */
static int settle(int socket)
{
    sigset_t set;

    close_others(socket);
    prctl(PR_SET_NAME, "xendm-broker", 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); /* of what a program that crashes leaves behind */
    signal(SIGHUP, SIG_IGN);                   /* the daemon's end is ours, and by the socket */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void broker_serve(int socket, struct broker_rules *rules)
{
    struct broker b = {.rules = rules};
    struct pollfd pfd[] = {{.fd = socket, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
    struct signalfd_siginfo info;

    pfd[1].fd = settle(socket);
    memset(b.dirs, -1, sizeof(b.dirs));
    do {
        pfd[0].revents = pfd[1].revents = 0;
        if (poll(pfd, G_N_ELEMENTS(pfd), -1) > 0 && pfd[1].revents) {
            while (read(pfd[1].fd, &info, sizeof(info)) == sizeof(info)) {
            }
            reap(&b);
        }
    } while (!pfd[0].revents || serve_one(&b, socket));
    for (unsigned i = 0; i < FILES_PICTURES; i++) {
        end_picture(&b, i, false);
    }
    service_end();
    _exit(EXIT_SUCCESS);
}
