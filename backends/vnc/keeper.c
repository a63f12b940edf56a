/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xendm-vnc: waits for viewers, and starts a server process for each. It reads nothing from the
 * network, and sleeps while nobody comes. Started by xendm, with the descriptors of wire.h:
 *
 *   xendm-vnc NUMBER-OF-LISTENERS MASK-OF-WEBSOCKETS
 *
 * It ends when xendm's end of the socket does, and the servers with it. An
 * address whose viewers fail at the password waits for twice as long each time.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <xendm/confine.h>
#include <xendm/one-fd.h>

#include "wire.h"

#define LISTENERS_MAX 8u
#define PENALTIES 64u
#define PENALTY_MAX 64 /* seconds */

struct server {
    pid_t pid; /* 0: free */
    uint8_t address[16];
};

/* An address that failed. The oldest makes room. */
struct penalty {
    uint8_t address[16];
    int seconds;
    int64_t until; /* of now() */
};

static struct server servers[VNC_VIEWERS_MAX];
static struct penalty penalties[PENALTIES];
static unsigned listeners, websockets;

/* Milliseconds: by whole seconds a second's wait could be over at once. */
static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static struct penalty *penalty_of(const uint8_t address[16])
{
    for (unsigned i = 0; i < PENALTIES; i++) {
        if (penalties[i].seconds && memcmp(penalties[i].address, address, 16) == 0) {
            return &penalties[i];
        }
    }
    return NULL;
}

static void punish(const uint8_t address[16])
{
    struct penalty *p = penalty_of(address);

    if (!p) {
        p = &penalties[0];
        for (unsigned i = 1; i < PENALTIES; i++) {
            p = penalties[i].until < p->until ? &penalties[i] : p;
        }
        memcpy(p->address, address, 16);
        p->seconds = 0;
    }
    p->seconds = p->seconds ? p->seconds * 2 : 1;
    p->seconds = p->seconds > PENALTY_MAX ? PENALTY_MAX : p->seconds;
    p->until = now() + p->seconds * INT64_C(1000);
}

static void forgive(const uint8_t address[16])
{
    struct penalty *p = penalty_of(address);

    if (p) {
        memset(p, 0, sizeof(*p));
    }
}

static void reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (unsigned i = 0; i < VNC_VIEWERS_MAX; i++) {
            if (servers[i].pid != pid) {
                continue;
            }
            servers[i].pid = 0;
            if (WIFEXITED(status) && WEXITSTATUS(status) == VNC_EXIT_AUTH) {
                punish(servers[i].address);
            } else if (WIFEXITED(status) && WEXITSTATUS(status) == VNC_EXIT_OK) {
                forgive(servers[i].address);
            }
        }
    }
}

/* Numeric names; and the address alone, as sixteen bytes, IPv4 mapped into IPv6. */
static void name_peer(const struct sockaddr_storage *a, struct vnc_message *m, uint8_t address[16])
{
    memset(address, 0, 16);
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)a;
        address[10] = address[11] = 0xff;
        memcpy(address + 12, &in->sin_addr, 4);
        inet_ntop(AF_INET, &in->sin_addr, m->viewer.host, sizeof(m->viewer.host));
        snprintf(m->viewer.service, sizeof(m->viewer.service), "%u", ntohs(in->sin_port));
        m->viewer.family = 4;
    } else if (a->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)a;
        memcpy(address, &in6->sin6_addr, 16);
        inet_ntop(AF_INET6, &in6->sin6_addr, m->viewer.host, sizeof(m->viewer.host));
        snprintf(m->viewer.service, sizeof(m->viewer.service), "%u", ntohs(in6->sin6_port));
        m->viewer.family = 6;
    }
}

/* The server's own end goes to it, the other to the daemon. */
static bool introduce(const struct vnc_message *m, int fd)
{
    return one_fd_send(VNC_FD_DAEMON, m, VNC_SIZE(viewer), fd, 0) >= 0;
}

static void run_server(int daemon, int viewer)
{
    char *const argv[] = {"xendm-vnc-server", NULL};
    char *const envp[] = {"LC_ALL=C.UTF-8", NULL};
    int program = fcntl(VNC_FD_PROGRAM, F_DUPFD_CLOEXEC, VNC_FD_LISTENER);

    /* Neither `daemon` nor `viewer` has a number of these: the keeper's own have them. */
    if (program < 0 || dup2(daemon, VNC_FD_DAEMON) < 0 || dup2(viewer, VNC_FD_PROGRAM) < 0) {
        _exit(1);
    }
    close_range(VNC_FD_LISTENER, (unsigned)program - 1, 0); /* there is a listener */
    close_range((unsigned)program + 1, ~0U, 0);
    signal(SIGCHLD, SIG_DFL);
    fexecve(program, argv, envp);
    _exit(1);
}

static void serve(struct server *s, int viewer, const struct sockaddr_storage *a, bool websocket)
{
    struct vnc_message m = {.kind = VNC_VIEWER};
    int pair[2];

    m.viewer.websocket = websocket;
    name_peer(a, &m, s->address);
    const struct penalty *p = penalty_of(s->address);
    if ((p && now() < p->until) ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        return;
    }
    s->pid = fork();
    if (s->pid == 0) {
        run_server(pair[1], viewer);
    }
    if (s->pid < 0 || !introduce(&m, pair[0])) {
        s->pid = s->pid < 0 ? 0 : s->pid; /* the server hears the end of its socket */
    }
    close(pair[0]);
    close(pair[1]);
}

static struct server *free_place(void)
{
    for (unsigned i = 0; i < VNC_VIEWERS_MAX; i++) {
        if (!servers[i].pid) {
            return &servers[i];
        }
    }
    return NULL;
}

/* What failed would fail again at once. */
static void pause_unless_harmless(void)
{
    const struct timespec moment = {.tv_nsec = 200000000};

    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        nanosleep(&moment, NULL);
    }
}

static void welcome(unsigned listener)
{
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof(a);
    int viewer =
        accept4((int)(VNC_FD_LISTENER + listener), (struct sockaddr *)&a, &len, SOCK_CLOEXEC);
    struct server *place = free_place();

    if (viewer < 0) {
        pause_unless_harmless(); /* no descriptors: the listener stays readable */
        return;
    }
    if (place) {
        serve(place, viewer, &a, websockets >> listener & 1);
    }
    close(viewer);
}

/* Xendm has gone, or wants no more viewers. */
static void end_servers(void)
{
    for (unsigned i = 0; i < VNC_VIEWERS_MAX; i++) {
        if (servers[i].pid) {
            kill(servers[i].pid, SIGKILL);
            waitpid(servers[i].pid, NULL, 0);
        }
    }
}

static void wake(int signal)
{
}

/* Its servers need the libraries' files until they are running: it keeps those in sight. */
static void confine(void)
{
    confine_begin(false);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    confine_no_root();
}

int main(int argc, char **argv)
{
    struct pollfd polled[1 + LISTENERS_MAX];
    struct sigaction child = {.sa_handler = wake};
    sigset_t block, open;

    listeners = argc == 3 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    websockets = argc == 3 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    if (listeners < 1 || listeners > LISTENERS_MAX) {
        fprintf(stderr, "xendm-vnc is started by xendm, for -vnc\n");
        return 1;
    }
    sigemptyset(&block);
    sigaddset(&block, SIGCHLD);
    sigprocmask(SIG_BLOCK, &block, &open);
    sigaction(SIGCHLD, &child, NULL);
    signal(SIGHUP, SIG_IGN); /* libxl's, to xendm: our end comes by the socket */
    signal(SIGINT, SIG_IGN);
    confine();

    polled[0] = (struct pollfd){.fd = VNC_FD_DAEMON};
    for (unsigned i = 0; i < listeners; i++) {
        polled[1 + i] = (struct pollfd){(int)(VNC_FD_LISTENER + i), POLLIN, 0};
    }
    for (;;) {
        int n = ppoll(polled, 1 + listeners, NULL, &open); /* SIGCHLD comes in here alone */
        if (n < 0) {
            pause_unless_harmless();
            reap();
            continue;
        }
        reap();
        if (polled[0].revents) {
            end_servers();
            return 0;
        }
        for (unsigned i = 0; i < listeners; i++) {
            if (polled[1 + i].revents) {
                welcome(i);
            }
        }
    }
}
