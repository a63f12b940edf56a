/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Live update: the side that comes; see update.h.
 *
 * Until update_complete() nothing was done that the program before us could not undo by being
 * there: Xen was not told anything, no event was read, no client answered. So whatever goes wrong,
 * a signal included, ends in an exec of that program, which reads the same manifest.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <xendm/device.h>
#include <xendm/log.h>
#include <xendm/xenstore.h>

#include "daemon.h"
#include <xendm/handover.h>
#include "qmp/qmp.h"
#include "update.h"
#include "xen/xen.h"

#define PATIENCE_SECONDS 20u /* so long a program may take to take over */

static struct handover *heritage;
static bool checking;
static int answer_fd = -1;

/* The way back: made in advance, because a signal handler may have to go it. */
static volatile sig_atomic_t can_go_back;
static int old_fd = -1, back_manifest_fd = -1;
static char **back_argv;

/* ---- the way back ---- */

static int write_back_manifest(const char *why, GError **err)
{
    int fd;

    handover_put_text(heritage, "update", "failure", why);
    fd = handover_write(heritage, err);
    handover_remove(heritage, "update", "failure");
    return fd;
}

/* Only what a signal handler may do. Returns if there is no way back. */
static void go_back(void)
{
    extern char **environ;

    if (!can_go_back) {
        return;
    }
    can_go_back = 0; /* the second time it ends */
    alarm(0);
    handover_set_inheritable(heritage, true);
    fcntl(old_fd, F_SETFD, FD_CLOEXEC);
    fcntl(back_manifest_fd, F_SETFD, 0);
    fexecve(old_fd, back_argv, environ);
}

void update_crashed(void)
{
    go_back();
}

static void took_too_long(int number)
{
    go_back();
}

void update_fail(const char *why)
{
    if (!heritage) {
        return;
    }
    if (checking) {
        ssize_t ignored = write(answer_fd, why, strlen(why));

        (void)ignored;
        _exit(EXIT_FAILURE);
    }
    if (can_go_back) {
        int fd = write_back_manifest(why, NULL);

        log_error(LOG_DM, "live update: %s; going back to the program before", why);
        if (fd >= 0 && dup3(fd, back_manifest_fd, O_CLOEXEC) < 0) {
            log_error(LOG_DM, "live update: cannot hand the reason on: %s", g_strerror(errno));
        }
        go_back();
        log_error(LOG_DM, "live update: cannot go back: %s", g_strerror(errno));
    }
}

static int prepare_way_back(int argc, char **argv, const char *option, GError **err)
{
    struct sigaction action = {.sa_handler = took_too_long};
    g_autofree char *name = handover_text(heritage, "update", "old-name");
    GPtrArray *back = g_ptr_array_new();

    old_fd = handover_fd(heritage, "update", "old");
    if (old_fd < 0) {
        return 0; /* we are the old one, or only try */
    }
    handover_remove(heritage, "update", "fd-old"); /* who goes back has nowhere to go back to */
    back_manifest_fd = write_back_manifest("the new program crashed or hung", err);
    if (back_manifest_fd < 0) {
        return -1;
    }
    g_ptr_array_add(back, g_strdup(name ? name : argv[0]));
    for (int i = 1; i < argc; i++) {
        g_ptr_array_add(back, argv[i] == option ? g_strdup_printf("%d", back_manifest_fd)
                                                : g_strdup(argv[i]));
    }
    g_ptr_array_add(back, NULL);
    back_argv = (char **)g_ptr_array_free(back, FALSE);
    can_go_back = 1;
    sigaction(SIGALRM, &action, NULL);
    alarm(PATIENCE_SECONDS);
    return 0;
}

const struct handover *update_inherit(int argc, char **argv, GError **err)
{
    const char *option = NULL;
    char *end;
    long fd;

    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--update-from") == 0) {
            option = argv[i + 1];
        }
    }
    if (!option) {
        return NULL;
    }
    errno = 0;
    fd = strtol(option, &end, 10);
    if (end == option || *end || errno || fd <= STDERR_FILENO || fd > INT_MAX ||
        fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0) {
        g_set_error(err, XENDM_ERROR, EBADF, "--update-from %s: not a descriptor", option);
        return NULL;
    }
    heritage = handover_read((int)fd, err);
    if (!heritage) {
        return NULL;
    }
    close((int)fd);
    checking = handover_int(heritage, "update", "check", 0);
    answer_fd = handover_fd(heritage, "update", "answer");
    if (checking && answer_fd < 0) {
        g_set_error(err, XENDM_ERROR, EINVAL, "update manifest: nobody to answer to");
        return NULL;
    }
    if (checking) {
        log_set_level("all", "error"); /* the guest is served by somebody else */
    } else {
        /* exec of a descriptor leaves its number for a name. */
        const char *slash = strrchr(argv[0], '/');

        prctl(PR_SET_NAME, slash ? slash + 1 : argv[0], 0, 0, 0);
    }
    return prepare_way_back(argc, argv, option, err) < 0 ? NULL : heritage;
}

/* ---- the end of it ---- */

static void report(struct daemon *d)
{
    g_autofree char *failure = handover_text(heritage, "update", "failure");
    g_autofree char *binary = handover_text(heritage, "update", "binary");
    int64_t now = g_get_monotonic_time();
    struct qmp_update_result result = {
        .binary = binary ? binary : "",
        .check_us = handover_int(heritage, "update", "check-pause-us", 0),
        .pause_us = now - handover_int(heritage, "update", "held-us", now),
        .total_us = now - handover_int(heritage, "update", "begin-us", now),
    };

    if (failure) {
        log_error(LOG_DM, "live update to %s failed: %s; going on as before", result.binary,
                  failure);
        if (d->update_call) {
            qmp_call_finish(d->update_call,
                            g_error_new(XENDM_ERROR, EINVAL, "'%s' could not take over: %s",
                                        result.binary, failure));
        }
    } else {
        log_info(LOG_DM, "live update to %s: done, the guest waited %" PRId64 " + %" PRId64 " us",
                 result.binary, result.check_us, result.pause_us);
        if (d->update_call) {
            qmp_call_updated(d->update_call, &result);
        }
    }
    d->update_call = NULL;
}

int update_complete(struct daemon *d, GError **err)
{
    g_autoptr(GArray) before = origin_ranges(&d->origin, err);

    if (!before) {
        return -1;
    }
    if (checking) {
        _exit(write(answer_fd, "ready\n", 6) == 6 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    if (xen_server_commit(d->server, (const struct xen_range *)(void *)before->data, before->len,
                          err) < 0) {
        return -1;
    }
    xen_hypervisor_adopted(d->hv);
    alarm(0);
    can_go_back = 0;
    if (old_fd >= 0) {
        close(old_fd);
        close(back_manifest_fd);
    }
    xen_hypervisor_set_log_dirty(d->hv, handover_int(heritage, "xen", "log-dirty", 0));
    xenstore_expect(d->xenstore, handover_int(heritage, "xenstore", "directory-seen", 0));
    d->started = handover_int(heritage, "machine", "started", 1);
    d->ready = handover_int(heritage, "machine", "ready", 1);
    d->incoming = handover_int(heritage, "machine", "incoming", 0);
    if (handover_int(heritage, "machine", "running", 0)) {
        daemon_go_on(d);
    }
    report(d);
    handover_free(heritage);
    heritage = NULL;
    d->origin.left = NULL;
    return 0;
}
