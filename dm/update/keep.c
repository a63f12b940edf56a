/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper: what is left of the first process after a live update. The toolstack wrote its
 * process id down, sends its SIGHUP there and looks whether it is alive (toolstack.md 1.7), so it
 * stays for as long as the guest is served, and does nothing else: it maps and opens nothing of the
 * guest's, and reads from nobody but the kernel.
 *
 * Between the keeper and who serves is a pair of sockets that no third process has. Either end sees
 * the other's death as end of file, however it came.
 */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib-unix.h>

#include <xendm/turn.h>

#include "update.h"

#define KEEP_END 'e'    /* a signal that ends */
#define END_LOOKS 2000u /* a millisecond apart, at a process that is ending */
#define KEEP_DUMP 'd'   /* SIGUSR1 */

static void close_others(int one, int other)
{
    int low = MIN(one, other), high = MAX(one, other);

    if (low > STDERR_FILENO + 1) {
        close_range(STDERR_FILENO + 1, (unsigned)low - 1, 0);
    }
    if (high > low + 1) {
        close_range((unsigned)low + 1, (unsigned)high - 1, 0);
    }
    close_range((unsigned)high + 1, UINT_MAX, 0);
}

static void pass_on_signals(int keeper, int signal_fd, bool *ending)
{
    struct signalfd_siginfo info;

    while (read(signal_fd, &info, sizeof(info)) == sizeof(info)) {
        char word = info.ssi_signo == SIGUSR1 ? KEEP_DUMP : KEEP_END;

        if (word == KEEP_END && *ending) {
            _exit(EXIT_SUCCESS); /* it was told and does not end: our death is its end, too */
        }
        *ending |= word == KEEP_END;
        if (send(keeper, &word, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && word == KEEP_END) {
            _exit(EXIT_SUCCESS);
        }
    }
}

/* Its descriptors go before the process does, and the toolstack may look whether all are gone. */
static void await_children(void)
{
    for (unsigned i = 0; i < END_LOOKS && waitpid(-1, NULL, WNOHANG) == 0; i++) {
        g_usleep(1000);
    }
}

void update_keep(int keeper, int signal_fd, bool ending)
{
    struct pollfd pfd[] = {{.fd = keeper, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
    char word = KEEP_END;

    /*
     * Who serves is a grandchild, of the broker, which ends when it hears that we have closed its
     * socket: nobody else would see the other's end.
     */
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    signal(SIGCHLD, SIG_IGN);
    close_others(keeper, signal_fd);
    prctl(PR_SET_NAME, "xendm-keeper", 0, 0, 0);
    malloc_trim(0);
    if (ending) {
        send(keeper, &word, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    for (;;) {
        if (poll(pfd, G_N_ELEMENTS(pfd), -1) < 0) {
            continue;
        }
        if (pfd[1].revents) {
            pass_on_signals(keeper, signal_fd, &ending);
        }
        if (pfd[0].revents && recv(keeper, &word, 1, MSG_DONTWAIT) == 0) {
            await_children();
            _exit(EXIT_SUCCESS);
        }
    }
}

/* ---- the other end ---- */

struct watch {
    void (*end)(void *opaque, const char *why);
    void (*dump)(void *opaque);
    void *opaque;
};

static gboolean keeper_ready(gint fd, GIOCondition condition, gpointer opaque)
{
    const struct watch *w = opaque;
    char word;
    ssize_t n = recv(fd, &word, 1, MSG_DONTWAIT);

    turn_of("update");
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return G_SOURCE_CONTINUE;
    }
    if (n == 1 && word == KEEP_DUMP) {
        w->dump(w->opaque);
        return G_SOURCE_CONTINUE;
    }
    w->end(w->opaque, n == 1 ? "the process that the toolstack knows was told to"
                             : "the process that the toolstack knows is gone");
    return n == 1; /* else it would be ready for ever */
}

void update_watch(int keeper, void (*end)(void *opaque, const char *why),
                  void (*dump)(void *opaque), void *opaque)
{
    struct watch *w = g_new(struct watch, 1);

    *w = (struct watch){.end = end, .dump = dump, .opaque = opaque};
    g_unix_fd_add_full(G_PRIORITY_DEFAULT, keeper, G_IO_IN | G_IO_HUP | G_IO_ERR, keeper_ready, w,
                       g_free);
}
