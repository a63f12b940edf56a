/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Live update: the side that goes; see update.h.
 *
 * Two steps. The rehearsal: the machine stands still for as long as its state takes to be saved,
 * and goes on while the twin of the new program builds itself one from it, and the new program one
 * without state. The change: the machine stands still, and until the new program serves or has
 * failed, nothing else happens in this process: no client is read, no console, no event of the
 * guest's. What was handed on stays true.
 *
 * What the new program has built stands on what was handed on early. Should anything of that be
 * otherwise by the time of the change (a medium, a connection), it is started once more, and builds
 * in the change.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib-unix.h>

#include <xendm/error.h>
#include <xendm/handover.h>
#include <xendm/log.h>
#include <xendm/turn.h>

#include "line.h"
#include "sandbox/sandbox.h"
#include "update.h"

#define TRY_SECONDS 10          /* for the rehearsal */
#define STILL_SECONDS 5         /* for I/O in flight to end */
#define BUILD_MS 5000           /* for the new program to build, while the guest waits */
#define SERVE_MS 2000           /* for it to answer the word to go */
#define REAP_MS 10              /* between two looks whether it has ended */
#define REAP_KILL_LOOKS 20u     /* then it is killed … */
#define REAP_GIVE_UP_LOOKS 200u /* … and not waited for any more */

struct update {
    const struct update_ops *ops;
    void *opaque;
    char *binary;
    int signal_fd;
    int keeper;
    int64_t begin_us, held_us, check_us;

    int line;      /* to the new program */
    int twin_line; /* to its twin, while that tries */
    bool ours;     /* we started it, and have not heard of its end */
    bool plain;    /* it builds in the change */
    bool early;    /* it builds before */
    bool built;    /* … and has */
    char *digest;  /* of what it built from */
    bool still;    /* the machine stands still, or is about to */
    bool greeted;  /* it is there and waits for what is left to it */
    bool tried;    /* its twin could */
    guint line_source, twin_source, timeout_source;

    bool during_change;
    char *refusal; /* what it said; NULL: nothing */
    unsigned looks;
};

static void drop_source(guint *source)
{
    if (*source) {
        g_source_remove(*source);
        *source = 0;
    }
}

static void drop_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static void update_free(struct update *u)
{
    drop_source(&u->line_source);
    drop_source(&u->twin_source);
    drop_source(&u->timeout_source);
    drop_fd(&u->line);
    drop_fd(&u->twin_line);
    g_free(u->digest);
    g_free(u->refusal);
    g_free(u->binary);
    g_free(u);
}

static void go_on(struct update *u)
{
    if (u->still) {
        u->still = false;
        u->ops->go_on(u->opaque);
    }
}

/* ---- a program that did not make it ---- */

static void say_failed(struct update *u, const char *fate)
{
    void (*failed)(void *, GError *) = u->ops->failed;
    const char *how = u->during_change ? "could not take over" : "refuses";
    void *opaque = u->opaque;
    GError *err = NULL;

    if (u->refusal) {
        g_set_error(&err, XENDM_ERROR, EINVAL, "'%s' %s: %s", u->binary, how, u->refusal);
    } else {
        g_set_error(&err, XENDM_ERROR, EINVAL, "'%s' %s: %s", u->binary,
                    u->during_change ? how : "said nothing of a live update", fate);
    }
    log_error(LOG_DM, "live update: %s; going on as before", err->message);
    update_free(u);
    failed(opaque, err);
}

static gboolean look_for_end(gpointer opaque)
{
    struct update *u = opaque;
    g_autofree char *fate = NULL;
    int status = 0;
    int ended = u->ours ? sandbox_program_ended(&status) : -1;

    turn_of("update");
    if (ended == 0 && u->looks++ < REAP_GIVE_UP_LOOKS) {
        if (u->looks == REAP_KILL_LOOKS) {
            sandbox_kill_program();
        }
        return G_SOURCE_CONTINUE;
    }
    if (ended <= 0 || u->looks >= REAP_KILL_LOOKS) {
        fate = g_strdup("it did not answer");
    } else if (WIFSIGNALED(status)) {
        fate = g_strdup_printf("it was killed by signal %d", WTERMSIG(status));
    } else {
        fate = g_strdup_printf("it ended with status %d", WEXITSTATUS(status));
    }
    u->ours = false;
    u->timeout_source = 0;
    say_failed(u, fate);
    return G_SOURCE_REMOVE;
}

/* The guest is served again at once; how the other ended is found out beside that. */
static void fail(struct update *u, const char *refusal)
{
    drop_source(&u->line_source);
    drop_source(&u->twin_source);
    drop_source(&u->timeout_source);
    drop_fd(&u->twin_line);
    drop_fd(&u->line); /* whoever waits for us, ends */
    go_on(u);
    u->refusal = refusal ? g_strstrip(g_utf8_make_valid(refusal, -1)) : NULL;
    u->timeout_source = g_timeout_add(REAP_MS, look_for_end, u);
}

static void fail_with(struct update *u, GError *err)
{
    fail(u, err->message);
    g_error_free(err);
}

static gboolean took_too_long(gpointer opaque)
{
    struct update *u = opaque;

    turn_of("update");
    u->timeout_source = 0;
    fail_with(u, g_error_new(XENDM_ERROR, ETIMEDOUT, "%s",
                             u->still
                                 ? "a disk does not answer, so that the machine cannot stand still"
                                 : "it did not answer"));
    return G_SOURCE_REMOVE;
}

void update_cancel(struct update *u)
{
    if (!u) {
        return;
    }
    if (u->ours) {
        int status;

        sandbox_kill_program();
        sandbox_program_ended(&status);
    }
    update_free(u);
}

/* ---- starting it ---- */

/* Two pairs: one to the new program, one to its twin, whose end travels over the first. */
static int open_lines(struct update *u, int given, GError **err)
{
    int pair[2] = {-1, -1}, twin[2] = {-1, -1}, rc = 0;

    if (given < 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        g_set_error(err, XENDM_ERROR, errno, "no sockets for it: %s", g_strerror(errno));
        return -1;
    }
    u->line = given >= 0 ? given : pair[0];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, twin) < 0 ||
        !line_send_fd(u->line, twin[1], !u->plain)) {
        g_set_error(err, XENDM_ERROR, errno, "cannot send it a socket: %s", g_strerror(errno));
        rc = -1;
    }
    u->twin_line = twin[0];
    drop_fd(&twin[1]);
    if (rc == 0 && given < 0) {
        rc = sandbox_execute(u->binary, pair[1], err);
        u->ours = rc == 0;
    }
    drop_fd(&pair[1]);
    return rc;
}

/* ---- what it gets ---- */

static int save(struct update *u, GError **err)
{
    int fd = memfd_create("xendm-state", MFD_CLOEXEC);

    if (fd < 0) {
        g_set_error(err, XENDM_ERROR, errno, "no memory file for the state: %s", g_strerror(errno));
        return -1;
    }
    if (u->ops->save(u->opaque, fd, err) < 0) {
        close(fd);
        return -1;
    }
    lseek(fd, 0, SEEK_SET); /* it is read from where it stands */
    return fd;
}

/* What of it may be otherwise in the end than when it was handed on early. */
static const char *const not_early[] = {"manifest", "update",  "machine", "xen",
                                        "xenstore", "monitor", "client",  "fdset",
                                        "pv",       "device",  NULL};

/* `keeper`: its end of that pair; -1 for the twin. NULL with err. */
static struct handover *put_together(struct update *u, bool check, int keeper, int stream,
                                     GError **err)
{
    g_autofree char *ranges = u->ops->ranges(u->opaque);
    struct handover *h = handover_new();

    handover_put_fd(h, "update", "stream", stream);
    handover_put_fd(h, "update", "keeper", keeper);
    handover_put_fd(h, "update", "stdin", STDIN_FILENO);
    handover_put_fd(h, "update", "stdout", STDOUT_FILENO);
    handover_put_fd(h, "update", "stderr", STDERR_FILENO);
    handover_put_text(h, "update", "binary", u->binary);
    handover_put_text(h, "update", "ranges", ranges);
    handover_put_int(h, "update", "begin-us", u->begin_us);
    handover_put_int(h, "update", "held-us", u->held_us);
    handover_put_int(h, "update", "check-pause-us", u->check_us);
    if (u->ops->hand_over(u->opaque, check, h, err) < 0) {
        g_clear_pointer(&h, handover_free);
    }
    return h;
}

/* To the twin, and to the new one if it builds early. The guest goes on: to be woken takes time. */
static int hand_over_early(struct update *u, struct handover *h, GError **err)
{
    int rc = handover_send(h, u->twin_line, err);

    if (rc == 0 && u->early) {
        u->digest = handover_digest(h, not_early);
        handover_put_int(h, "update", "early", 1);
        rc = handover_send(h, u->line, err);
    }
    return rc;
}

/* ---- the change ---- */

/*
 * What it says within so long. NULL: nothing, and why. Nothing but signals is looked at meanwhile.
 * Nor these once it was told to go: then they are for whoever serves in the end, us or it.
 */
static char *await(struct update *u, int ms, bool signals, GError **err)
{
    struct pollfd pfd[] = {{.fd = u->line, .events = POLLIN},
                           {.fd = signals ? u->signal_fd : -1, .events = POLLIN}};
    int64_t deadline = g_get_monotonic_time() + (int64_t)ms * 1000;
    char *said;

    while (!pfd[0].revents) {
        int64_t left = deadline - g_get_monotonic_time();

        if (left <= 0 ||
            (poll(pfd, G_N_ELEMENTS(pfd), (int)(left / 1000 + 1)) < 0 && errno != EINTR)) {
            g_set_error(err, XENDM_ERROR, ETIMEDOUT, "it hangs");
            return NULL;
        }
        if (pfd[1].revents && u->ops->is_ending(u->opaque)) {
            g_set_error(err, XENDM_ERROR, EINTR, "this process ends");
            return NULL;
        }
    }
    said = line_hear(u->line);
    if (!said) {
        g_set_error(err, XENDM_ERROR, EPIPE, "it crashed");
    } else if (g_str_has_prefix(said, LINE_NO)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s", said + strlen(LINE_NO));
        g_clear_pointer(&said, g_free);
    }
    return said;
}

/*
 * What it says, or has said just now: once we have waited in vain it cannot say any more that it
 * serves, and then does not. So whatever it is, it is that for good.
 */
static char *await_for_good(struct update *u, int ms, bool signals, GError **err)
{
    char *said = await(u, ms, signals, err);

    if (!said) {
        shutdown(u->line, SHUT_RDWR);
        said = line_hear(u->line);
        if (g_strcmp0(said, LINE_SERVING) != 0) {
            g_clear_pointer(&said, g_free);
        }
    }
    return said;
}

/* Whether it serves, once it was told to go. */
static bool serves(struct update *u, GError **err)
{
    g_autofree char *said = NULL;

    if (line_say(u->line, LINE_GO)) {
        said = await_for_good(u, SERVE_MS, false, err);
    } else {
        g_set_error(err, XENDM_ERROR, EPIPE, "it crashed");
    }
    return g_strcmp0(said, LINE_SERVING) == 0;
}

/* The other serves. `ending`: it came between us and a signal that we have heard. */
static void leave(struct update *u, int keeper, bool ending) __attribute__((noreturn));
static void leave(struct update *u, int keeper, bool ending)
{
    int signal_fd = u->signal_fd;

    if (u->keeper >= 0 && ending) {
        sandbox_kill_program();
    }
    if (u->keeper >= 0) {
        _exit(EXIT_SUCCESS); /* the first process is somebody else already */
    }
    u->ops->let_go(u->opaque);
    update_keep(keeper, signal_fd, ending);
}

/* It is in what it has said whether it serves already, wants to be told to, or cannot. */
static void take_word(struct update *u, int keeper, GError **err)
{
    g_autofree char *said = await_for_good(u, BUILD_MS, true, err);

    if (g_strcmp0(said, LINE_SERVING) == 0) {
        leave(u, keeper, *err && (*err)->code == EINTR);
    }
    if (!said) {
        return;
    }
    if (!g_str_has_prefix(said, LINE_READY)) {
        g_set_error(err, XENDM_ERROR, EPROTO, "it said '%s'", said);
    } else if (u->ops->forward(u->opaque, said + strlen(LINE_READY), err) == 0) {
        if (serves(u, err)) {
            leave(u, keeper, false);
        }
        u->ops->forward(u->opaque, NULL, NULL);
    }
}

static void begin_anew(struct update *u);

static void change(struct update *u)
{
    int keepers[2] = {-1, -1}, stream = -1;
    struct handover *h = NULL;
    GError *err = NULL;
    bool same = true;

    u->during_change = true;
    if (u->keeper < 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, keepers) < 0) {
        g_set_error(&err, XENDM_ERROR, errno, "no sockets for it: %s", g_strerror(errno));
    } else if ((stream = save(u, &err)) >= 0) {
        h = put_together(u, false, u->keeper >= 0 ? u->keeper : keepers[1], stream, &err);
    }
    if (h && u->early) {
        g_autofree char *digest = handover_digest(h, not_early);

        same = strcmp(digest, u->digest) == 0;
    }
    if (h && same && handover_send(h, u->line, &err) == 0) {
        log_info(LOG_DM, "live update: %s takes over", u->binary);
        take_word(u, keepers[0], &err);
    }
    handover_free(h);
    drop_fd(&stream);
    drop_fd(&keepers[0]);
    drop_fd(&keepers[1]);
    if (same) {
        fail_with(u, err ? err : g_error_new(XENDM_ERROR, EPROTO, "it did not take over"));
    } else {
        begin_anew(u);
    }
}

/* ---- the rehearsal ---- */

static void stand_still(struct update *u, void (*still)(void *))
{
    u->still = true;
    u->held_us = g_get_monotonic_time();
    drop_source(&u->timeout_source);
    u->timeout_source = g_timeout_add_seconds(STILL_SECONDS, took_too_long, u);
    u->ops->stand_still(u->opaque, still, u);
}

static void still_for_change(void *opaque)
{
    struct update *u = opaque;

    drop_source(&u->timeout_source);
    change(u);
}

static void go_if_ready(struct update *u)
{
    if (u->tried && (u->built || !u->early)) {
        drop_source(&u->line_source);
        stand_still(u, still_for_change);
    }
}

static void still_for_rehearsal(void *opaque);

static gboolean line_ready(gint fd, GIOCondition condition, gpointer opaque)
{
    struct update *u = opaque;
    g_autofree char *said = line_hear(fd);
    bool early = g_strcmp0(said, LINE_HELLO_EARLY) == 0;

    turn_of("update");
    if (!u->greeted && (early || g_strcmp0(said, LINE_HELLO) == 0)) {
        u->greeted = true;
        u->early = early && !u->plain;
        stand_still(u, still_for_rehearsal);
        return G_SOURCE_CONTINUE;
    }
    if (u->early && !u->built && g_strcmp0(said, LINE_BUILT) == 0) {
        u->built = true;
        go_if_ready(u);
        return u->line_source != 0;
    }
    u->line_source = 0;
    fail(u, said && g_str_has_prefix(said, LINE_NO) ? said + strlen(LINE_NO) : NULL);
    return G_SOURCE_REMOVE;
}

static gboolean twin_ready(gint fd, GIOCondition condition, gpointer opaque)
{
    struct update *u = opaque;
    g_autofree char *said = line_hear(fd);

    turn_of("update");
    if (g_strcmp0(said, LINE_HELLO) == 0) {
        return G_SOURCE_CONTINUE;
    }
    u->twin_source = 0;
    if (said && g_str_has_prefix(said, LINE_READY)) {
        u->tried = true;
        drop_fd(&u->twin_line);
        go_if_ready(u);
    } else {
        fail(u, said && g_str_has_prefix(said, LINE_NO) ? said + strlen(LINE_NO) : NULL);
    }
    return G_SOURCE_REMOVE;
}

/* It has ended before it got anything: what it said before that, if it did. */
static void fail_early(struct update *u)
{
    char *said;

    while ((said = line_hear(u->twin_line)) && !g_str_has_prefix(said, LINE_NO)) {
        g_free(said);
    }
    fail(u, said ? said + strlen(LINE_NO) : NULL);
    g_free(said);
}

static void still_for_rehearsal(void *opaque)
{
    struct update *u = opaque;
    struct handover *h = NULL;
    GError *err = NULL;
    int stream, rc = -1;

    drop_source(&u->timeout_source);
    stream = save(u, &err);
    if (stream >= 0) {
        h = put_together(u, true, -1, stream, &err);
    }
    go_on(u);
    u->check_us += g_get_monotonic_time() - u->held_us;
    if (h) {
        rc = hand_over_early(u, h, &err);
    }
    handover_free(h);
    drop_fd(&stream);
    if (rc < 0) {
        if (g_error_matches(err, XENDM_ERROR, EPIPE)) {
            g_error_free(err);
            fail_early(u);
        } else {
            fail_with(u, err);
        }
        return;
    }
    u->twin_source = g_unix_fd_add(u->twin_line, G_IO_IN | G_IO_HUP | G_IO_ERR, twin_ready, u);
    u->timeout_source = g_timeout_add_seconds(TRY_SECONDS, took_too_long, u);
}

/* ---- once more ---- */

static gboolean start_again(gpointer opaque)
{
    struct update *u = opaque;
    int status = 0, ended = sandbox_program_ended(&status);
    GError *err = NULL;

    turn_of("update");
    if (ended == 0 && u->looks++ < REAP_GIVE_UP_LOOKS) {
        return G_SOURCE_CONTINUE;
    }
    u->timeout_source = 0;
    u->looks = 0;
    u->ours = false;
    if (open_lines(u, -1, &err) < 0) {
        fail_with(u, err);
    } else {
        update_begin(u);
    }
    return G_SOURCE_REMOVE;
}

/* Something is not what it was when it was handed on early. The guest is served meanwhile. */
static void begin_anew(struct update *u)
{
    log_info(LOG_DM, "live update: what %s has built from has changed: once more", u->binary);
    u->plain = true;
    u->early = u->built = u->greeted = u->tried = u->during_change = false;
    g_clear_pointer(&u->digest, g_free);
    drop_fd(&u->line);
    go_on(u);
    sandbox_kill_program();
    u->timeout_source = g_timeout_add(REAP_MS, start_again, u);
}

struct update *update_new(const struct update_ops *ops, void *opaque,
                          const struct update_request *r, GError **err)
{
    struct update *u = g_new0(struct update, 1);

    u->ops = ops;
    u->opaque = opaque;
    u->binary = g_strdup(r->binary);
    u->signal_fd = r->signal_fd;
    u->keeper = r->keeper;
    u->plain = r->socket >= 0; /* somebody else started it: it cannot be started again */
    u->line = u->twin_line = -1;
    u->begin_us = g_get_monotonic_time();
    if (open_lines(u, r->socket, err) < 0) {
        update_cancel(u);
        return NULL;
    }
    log_info(LOG_DM, "live update to %s: asking it first", u->binary);
    return u;
}

void update_begin(struct update *u)
{
    u->line_source = g_unix_fd_add(u->line, G_IO_IN | G_IO_HUP | G_IO_ERR, line_ready, u);
    u->timeout_source = g_timeout_add_seconds(TRY_SECONDS, took_too_long, u);
}
