/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Live update: the side that comes; see update.h.
 *
 * Until it says "serving" it has done nothing that the program before it could not go on from: Xen
 * was told nothing, no event was read, nobody answered. So whatever goes wrong, it ends; and should
 * it hang, it is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xendm/error.h>
#include <xendm/handover.h>
#include <xendm/log.h>

#include "line.h"
#include "update.h"

struct arrival {
    int line; /* to the program before us */
    bool twin;
    bool early;  /* may be told to build before the other one stands still */
    pid_t child; /* the twin, seen from us */
    struct handover *left;
};

/* Whoever started us may have left things open: only the line is ours. */
static void close_inherited(int line)
{
    if (line > STDERR_FILENO + 1) {
        close_range(STDERR_FILENO + 1, (unsigned)line - 1, 0);
    }
    close_range((unsigned)line + 1, UINT_MAX, 0);
}

static int find_line(int argc, char **argv, GError **err)
{
    const char *option = NULL;
    struct stat st;
    char *end;
    long fd;

    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--update-from") == 0) {
            option = argv[i + 1];
        }
    }
    if (!option) {
        return -1;
    }
    errno = 0;
    fd = strtol(option, &end, 10);
    if (end == option || *end || errno || fd <= STDERR_FILENO || fd > INT_MAX ||
        fstat((int)fd, &st) < 0 || !S_ISSOCK(st.st_mode) ||
        fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0) {
        g_set_error(err, XENDM_ERROR, EBADF, "--update-from %s: not a socket", option);
        return -1;
    }
    return (int)fd;
}

/* We do not outlive who started us before we serve. */
static void die_with_parent(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
}

/* The twin's line comes over ours. Forked before anything is opened, it shares nothing with us. */
static bool fork_twin(struct arrival *a, GError **err)
{
    int line = line_receive_fd(a->line, &a->early, err);
    pid_t child;

    if (line < 0) {
        return false;
    }
    signal(SIGCHLD, SIG_IGN); /* nobody has to wait for it */
    child = fork();
    if (child < 0) {
        g_set_error(err, XENDM_ERROR, errno, "cannot fork: %s", g_strerror(errno));
        close(line);
        return false;
    }
    if (child > 0) {
        a->child = child;
        close(line);
        return true;
    }
    die_with_parent();
    close(a->line);
    a->line = line;
    a->twin = true;
    a->early = false;
    return true;
}

struct arrival *update_arrive(int argc, char **argv, GError **err)
{
    const char *slash = strrchr(argv[0], '/');
    int line = find_line(argc, argv, err);
    struct arrival *a;

    if (line < 0) {
        return NULL;
    }
    die_with_parent();
    close_inherited(line);
    prctl(PR_SET_NAME, slash ? slash + 1 : argv[0], 0, 0, 0); /* exec leaves a number for a name */
    a = g_new0(struct arrival, 1);
    a->line = line;
    if (!fork_twin(a, err)) {
        g_free(a);
        return NULL;
    }
    log_set_level("all", "error"); /* the guest is served by somebody else */
    return a;
}

/* Without serving: the twin, should it still be there, does not stay behind. */
static void give_up(struct arrival *a) __attribute__((noreturn));
static void give_up(struct arrival *a)
{
    if (a->child) {
        kill(a->child, SIGKILL);
        waitpid(a->child, NULL, 0);
    }
    _exit(EXIT_FAILURE);
}

void update_refuse(struct arrival *a, const char *why)
{
    g_autofree char *text = g_strconcat(LINE_NO, why, NULL);

    line_say(a->line, text);
    give_up(a);
}

bool update_is_twin(const struct arrival *a)
{
    return a->twin;
}

static void adopt_stdio(const struct handover *h)
{
    static const char *const names[] = {"stdin", "stdout", "stderr"};

    for (int i = 0; i < (int)G_N_ELEMENTS(names); i++) {
        int fd = handover_fd(h, "update", names[i]);

        if (fd >= 0) {
            dup2(fd, i);
            close(fd);
        }
    }
}

const struct handover *update_receive(struct arrival *a, GError **err)
{
    die_with_parent(); /* a change of user took it away */
    if (!line_say(a->line, a->early ? LINE_HELLO_EARLY : LINE_HELLO)) {
        give_up(a);
    }
    a->left = handover_receive(a->line, err);
    a->early = a->left && handover_int(a->left, "update", "early", 0);
    if (a->left && !a->early) {
        adopt_stdio(a->left);
    }
    return a->left;
}

const struct handover *update_receive_rest(struct arrival *a, GError **err)
{
    if (!a->early) {
        return a->left;
    }
    a->early = false;
    if (!line_say(a->line, LINE_BUILT)) {
        give_up(a);
    }
    handover_free(a->left);
    a->left = handover_receive(a->line, err);
    if (a->left) {
        adopt_stdio(a->left);
    }
    return a->left;
}

/* Xen forwards already what we want: nobody has anything to do before we serve. */
static bool may_serve(const struct arrival *a, const char *ranges)
{
    g_autofree char *forwarded = handover_text(a->left, "update", "ranges");

    return g_strcmp0(forwarded, ranges) == 0;
}

static void await_word(struct arrival *a, const char *ranges)
{
    g_autofree char *ready = g_strconcat(LINE_READY, ranges, NULL);
    g_autofree char *word = NULL;

    if (!a->twin && may_serve(a, ranges)) {
        return;
    }
    if (!line_say(a->line, ready) || a->twin) {
        _exit(EXIT_SUCCESS);
    }
    word = line_hear(a->line);
    if (!word || strcmp(word, LINE_GO) != 0) {
        give_up(a);
    }
}

int update_take_over(struct arrival *a, const char *ranges)
{
    await_word(a, ranges);
    signal(SIGCHLD, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
    if (!line_say(a->line, LINE_SERVING)) {
        give_up(a); /* it did not wait for us */
    }
    return handover_fd(a->left, "update", "keeper");
}

void update_end(struct arrival *a, struct update_result *result)
{
    int64_t now = g_get_monotonic_time();

    log_set_level("all", "info");
    *result = (struct update_result){
        .binary = handover_text(a->left, "update", "binary"),
        .check_us = handover_int(a->left, "update", "check-pause-us", 0),
        .pause_us = now - handover_int(a->left, "update", "held-us", now),
        .total_us = now - handover_int(a->left, "update", "begin-us", now),
    };
    close(a->line);
    handover_free(a->left);
    g_free(a);
}
