/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Live update: the side that goes. update-inherit.c is the side that comes; see update.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib-unix.h>
#include <linux/close_range.h>

#include <xendm/device.h>
#include <xendm/log.h>
#include <xendm/xenstore.h>

#include "daemon.h"
#include <xendm/handover.h>
#include <xendm/turn.h>
#include "qmp/qmp.h"
#include "update.h"
#include "xen/xen.h"

#define CHECK_SECONDS 30 /* then the child that tries is taken for hung */
#define REAP_US 200000   /* from the end of its pipe to the end of the child */
#define ANSWER_MAX 4096u /* bytes of what it says */
#define READY "ready\n"  /* … when it could */

struct update {
    struct daemon *d;
    struct qmp *qmp;
    struct qmp_call *call;
    char *binary;
    bool running; /* what the machine is to do again */
    bool going;   /* false: still the rehearsal */
    int64_t begin_us, held_us, check_us;
    int old_fd;    /* this program, for the way back */
    int stream_fd; /* the saved machine */

    pid_t child;
    int answer_fd;
    guint answer_source, timeout_source;
    GString *answer;
};

/* QMP lets one at a time through; a client that left is no reason for two. */
static struct update *under_way;

static void update_end(struct update *u, GError *err)
{
    struct qmp_call *call = u->call;

    if (err) {
        log_error(LOG_DM, "live update: %s; going on as before", err->message);
    }
    if (u->answer_source) {
        g_source_remove(u->answer_source);
    }
    if (u->timeout_source) {
        g_source_remove(u->timeout_source);
    }
    if (u->answer_fd >= 0) {
        close(u->answer_fd);
    }
    if (u->old_fd >= 0) {
        close(u->old_fd);
    }
    if (u->stream_fd >= 0) {
        close(u->stream_fd);
    }
    if (u->answer) {
        g_string_free(u->answer, TRUE);
    }
    g_free(u->binary);
    g_free(u);
    under_way = NULL;
    qmp_call_finish(call, err);
}

/* ---- the manifest ---- */

static struct handover *make_manifest(struct update *u, int answer_fd, GError **err)
{
    struct handover *h = handover_new();
    struct daemon *d = u->d;

    handover_put_int(h, "update", "check", !u->going);
    handover_put_fd(h, "update", "stream", u->stream_fd);
    handover_put_fd(h, "update", "answer", answer_fd);
    handover_put_text(h, "update", "binary", u->binary);
    handover_put_text(h, "update", "old-name", d->argv[0]);
    handover_put_int(h, "update", "begin-us", u->begin_us);
    handover_put_int(h, "update", "held-us", u->held_us);
    handover_put_int(h, "update", "check-pause-us", u->check_us);
    handover_put_int(h, "machine", "running", u->running);
    origin_hand_over(d, h);
    /* The event channels' descriptor has one owner: the rehearsal does without. */
    if (u->going) {
        handover_put_fd(h, "update", "old", u->old_fd);
        handover_put_fd(h, "xen", "evtchn", xen_evtchn_fd(d->xen));
    }
    if (qmp_hand_over(u->qmp, u->call, h, err) < 0) {
        handover_free(h);
        return NULL;
    }
    return h;
}

/* ---- becoming the other program ---- */

/* Our command line with another name and manifest. The strings are ours and the new one's. */
static GPtrArray *make_argv(const struct daemon *d, const char *name, int manifest_fd)
{
    GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);

    g_ptr_array_add(argv, g_strdup(name));
    for (int i = 1; i < d->argc; i++) {
        if (strcmp(d->argv[i], "--update-from") == 0) {
            i++;
            continue;
        }
        g_ptr_array_add(argv, g_strdup(d->argv[i]));
    }
    g_ptr_array_add(argv, g_strdup("--update-from"));
    g_ptr_array_add(argv, g_strdup_printf("%d", manifest_fd));
    g_ptr_array_add(argv, NULL);
    return argv;
}

/* In the child after fork(), and in ourselves: only what a signal handler may do. */
static void exec_binary(const char *binary, char **argv, const struct handover *h, int manifest_fd)
{
    /* Whoever opened something without close-on-exec: it ends here. */
    close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC);
    handover_set_inheritable(h, true);
    fcntl(manifest_fd, F_SETFD, 0);
    execv(binary, argv);
}

static int save_stream(struct update *u, GError **err)
{
    if (u->stream_fd >= 0) {
        close(u->stream_fd);
    }
    u->stream_fd = memfd_create("xendm-state", MFD_CLOEXEC);
    if (u->stream_fd < 0) {
        g_set_error(err, XENDM_ERROR, errno, "no memory file for the state: %s", g_strerror(errno));
        return -1;
    }
    if (daemon_save(u->d, u->stream_fd, err) < 0) {
        return -1;
    }
    lseek(u->stream_fd, 0, SEEK_SET); /* it is read from where it stands */
    return 0;
}

static void go_on(struct update *u)
{
    if (u->running) {
        daemon_go_on(u->d);
    }
}

/* The machine stands still. On success this does not return. */
static void become(struct update *u)
{
    g_autoptr(GPtrArray) argv = NULL;
    struct handover *h = NULL;
    GError *err = NULL;
    int manifest_fd = -1;

    if (save_stream(u, &err) == 0 && (h = make_manifest(u, -1, &err)) &&
        (manifest_fd = handover_write(h, &err)) >= 0) {
        argv = make_argv(u->d, u->binary, manifest_fd);
        log_info(LOG_DM, "live update: this process becomes %s", u->binary);
        exec_binary(u->binary, (char **)argv->pdata, h, manifest_fd);
        g_set_error(&err, XENDM_ERROR, errno, "cannot execute '%s': %s", u->binary,
                    g_strerror(errno));
        handover_set_inheritable(h, false);
    }
    if (manifest_fd >= 0) {
        close(manifest_fd);
    }
    handover_free(h);
    go_on(u);
    update_end(u, err);
}

/* ---- the rehearsal ---- */

static void stand_still(struct update *u);

/* What became of the child, in words; it does not survive this. */
static char *reap(struct update *u)
{
    int64_t deadline = g_get_monotonic_time() + REAP_US;
    bool killed = false;
    int status = 0;
    pid_t pid;

    while ((pid = waitpid(u->child, &status, WNOHANG)) == 0) {
        if (g_get_monotonic_time() > deadline && !killed) {
            kill(u->child, SIGKILL);
            killed = true;
        }
        g_usleep(1000);
    }
    u->child = 0;
    if (pid > 0 && WIFSIGNALED(status) && !killed) {
        return g_strdup_printf("it was killed by signal %d", WTERMSIG(status));
    }
    if (pid > 0 && WIFEXITED(status)) {
        return g_strdup_printf("it ended with status %d", WEXITSTATUS(status));
    }
    return g_strdup("it did not end");
}

static void check_done(struct update *u)
{
    g_autofree char *fate = reap(u);
    g_autofree char *said = NULL;
    GError *err = NULL;

    u->answer_source = 0;
    if (u->timeout_source) {
        g_source_remove(u->timeout_source);
        u->timeout_source = 0;
    }
    if (strcmp(u->answer->str, READY) == 0) {
        u->going = true;
        u->held_us = g_get_monotonic_time();
        stand_still(u);
        return;
    }
    said = g_strstrip(g_utf8_make_valid(u->answer->str, -1));
    if (said[0]) {
        g_set_error(&err, XENDM_ERROR, EINVAL, "'%s' refuses: %s", u->binary, said);
    } else {
        g_set_error(&err, XENDM_ERROR, EINVAL, "'%s' said nothing of a live update: %s", u->binary,
                    fate);
    }
    update_end(u, err);
}

static gboolean answer_ready(gint fd, GIOCondition condition, gpointer opaque)
{
    struct update *u = opaque;
    char buf[512];
    ssize_t n = read(fd, buf, sizeof(buf));

    turn_of("update");
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
        return G_SOURCE_CONTINUE;
    }
    if (n > 0) {
        if (u->answer->len < ANSWER_MAX) {
            g_string_append_len(u->answer, buf, n);
        }
        return G_SOURCE_CONTINUE;
    }
    check_done(u);
    return G_SOURCE_REMOVE;
}

static gboolean check_timeout(gpointer opaque)
{
    struct update *u = opaque;

    turn_of("update");
    u->timeout_source = 0;
    kill(u->child, SIGKILL);
    /* Its end ends the pipe, unless it has given that away. */
    g_source_remove(u->answer_source);
    check_done(u);
    return G_SOURCE_REMOVE;
}

static int start_child(struct update *u, GError **err)
{
    g_autoptr(GPtrArray) argv = NULL;
    struct handover *h = NULL;
    int pipe_fd[2] = {-1, -1}, manifest_fd = -1;

    if (!g_unix_open_pipe(pipe_fd, FD_CLOEXEC, err)) {
        return -1;
    }
    h = make_manifest(u, pipe_fd[1], err);
    if (h && (manifest_fd = handover_write(h, err)) >= 0) {
        argv = make_argv(u->d, u->binary, manifest_fd);
        u->child = fork();
        if (u->child == 0) {
            exec_binary(u->binary, (char **)argv->pdata, h, manifest_fd);
            _exit(127);
        }
        if (u->child < 0) {
            g_set_error(err, XENDM_ERROR, errno, "cannot fork: %s", g_strerror(errno));
        }
    }
    if (manifest_fd >= 0) {
        close(manifest_fd);
    }
    close(pipe_fd[1]);
    handover_free(h);
    if (u->child <= 0) {
        close(pipe_fd[0]);
        return -1;
    }
    u->answer = g_string_new(NULL);
    u->answer_fd = pipe_fd[0];
    g_unix_set_fd_nonblocking(u->answer_fd, TRUE, NULL);
    u->answer_source = g_unix_fd_add(u->answer_fd, G_IO_IN | G_IO_HUP | G_IO_ERR, answer_ready, u);
    u->timeout_source = g_timeout_add_seconds(CHECK_SECONDS, check_timeout, u);
    return 0;
}

/* The machine stands still: save it, let it go on, and see what the new program makes of it. */
static void rehearse(struct update *u)
{
    GError *err = NULL;
    int rc = save_stream(u, &err);

    if (rc == 0) {
        rc = start_child(u, &err);
    }
    go_on(u);
    u->check_us = g_get_monotonic_time() - u->held_us;
    if (rc < 0) {
        update_end(u, err);
    }
}

/* ---- beginning ---- */

static void standing_still(void *opaque)
{
    struct update *u = opaque;

    u->d->updating = false;
    if (u->going) {
        become(u);
    } else {
        rehearse(u);
    }
}

static void stand_still(struct update *u)
{
    u->running = u->d->machine->state != MACHINE_STOPPED;
    u->d->updating = true;
    daemon_stop(u->d, standing_still, u);
}

/* The program that is installed now where we came from; a package's new file has taken the name. */
static char *own_path(void)
{
    char *path = g_file_read_link("/proc/self/exe", NULL);

    if (path && g_str_has_suffix(path, " (deleted)")) {
        path[strlen(path) - strlen(" (deleted)")] = '\0';
    }
    return path;
}

static bool possible(const struct daemon *d, const char *binary, GError **err)
{
    const struct machine_desc *desc = d->desc;

    if (under_way) {
        g_set_error(err, XENDM_ERROR, EBUSY, "an update is under way");
        return false;
    }
    /* Xen's libraries open files by name; what was opened before is restricted for good. */
    if (desc->restrict_domid || desc->chroot_dir || desc->run_as) {
        g_set_error(err, XENDM_ERROR, EPERM,
                    "live update is not possible under dm_restrict: a process with -%s cannot open "
                    "what a new program needs",
                    desc->restrict_domid ? "xen-domid-restrict"
                    : desc->chroot_dir   ? "chroot"
                                         : "runas");
        return false;
    }
    if (!binary || binary[0] != '/') {
        g_set_error(err, XENDM_ERROR, EINVAL, "'%s' is no absolute path", binary ? binary : "");
        return false;
    }
    if (access(binary, X_OK) < 0) {
        g_set_error(err, XENDM_ERROR, errno, "cannot execute '%s': %s", binary, g_strerror(errno));
        return false;
    }
    return true;
}

void update_start(struct daemon *d, struct qmp *qmp, const char *binary, struct qmp_call *call)
{
    g_autofree char *path = binary ? g_strdup(binary) : own_path();
    GError *err = NULL;
    struct update *u;
    int old_fd;

    if (!possible(d, path, &err)) {
        qmp_call_finish(call, err);
        return;
    }
    old_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (old_fd < 0) {
        g_set_error(&err, XENDM_ERROR, errno, "cannot open /proc/self/exe: %s", g_strerror(errno));
        qmp_call_finish(call, err);
        return;
    }
    u = under_way = g_new0(struct update, 1);
    u->d = d;
    u->qmp = qmp;
    u->call = call;
    u->binary = g_steal_pointer(&path);
    u->old_fd = old_fd;
    u->stream_fd = u->answer_fd = -1;
    u->begin_us = u->held_us = g_get_monotonic_time();
    log_info(LOG_DM, "live update to %s: asking it first", u->binary);
    stand_still(u);
}
