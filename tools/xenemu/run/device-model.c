/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The start of the device model, and another one in its place. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xenstore.h>
#include "../faults/disk.h"
#include "../rpc/rpc.h"
#include "control.h"
#include "device-model.h"
#include "environment.h"
#include "libxl.h"
#include "process.h"
#include "readiness.h"
#include "run.h"

static bool listen_qmp(int *fd)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    *fd = socket(AF_UNIX, SOCK_STREAM, 0); /* inherited on purpose, as from libxl */
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", run.qmp_path);
    if (*fd < 0 || bind(*fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(*fd, 1) < 0)
        return complain("%s: %s", run.qmp_path, strerror(errno));
    return true;
}

/*
 * toolstack.md 1.9: from 4.20 on libxl starts the device model once before, with no machine, and
 * asks it whether -run-with is the way to change root and user.
 */
static bool probe_run_with(void)
{
    char *env[] = {library_path(), g_strdup_printf(XE_ENV_SOCKET "=%s", run.lib_sock), NULL};
    struct child c = {.env = env, .log = run.log, .session = true};
    char chardev[80];
    char *argv[] = {opt.dm,
                    (char *)"-S",
                    (char *)"-no-user-config",
                    (char *)"-nodefaults",
                    (char *)"-nographic",
                    (char *)"-machine",
                    (char *)"none,accel=xen",
                    (char *)"-chardev",
                    chardev,
                    (char *)"-mon",
                    (char *)"chardev=libxl-cmd,mode=control",
                    NULL};
    bool found = false;
    pid_t pid;
    int fd;

    if (strverscmp(XEN_VERSION, "4.20") < 0 || !listen_qmp(&fd))
        return false;
    snprintf(chardev, sizeof(chardev), "socket,id=libxl-cmd,fd=%d,server=on,wait=off", fd);
    c.argv = argv;
    pid = spawn(&c);
    close(fd);
    if (pid > 0) {
        found = qmp_tells("query-command-line-options", "run-with");
        end_child(pid);
    }
    unlink(run.qmp_path);
    g_free(env[0]);
    g_free(env[1]);
    return found;
}

char **dm_environment(void)
{
    char *env[] = {
        library_path(),
        g_strdup_printf(XE_ENV_SOCKET "=%s", run.lib_sock),
        g_strdup_printf("XENSTORED_RUNDIR=%s%s", run.dir, opt.xs_faults ? "/xs-dm" : ""),
        g_strdup_printf("XENSTORED_ROOTDIR=%s", run.dir),
        g_strdup_printf("XEN_DOMAIN_ID=%d", opt.domid),
        g_strdup("XEN_QEMU_CONSOLE_LIMIT=1048576"),
        g_strdup("XENSTORED_PATH"),
        NULL,
    };

    return g_memdup2(env, sizeof(env));
}

/* `incoming`: file with the state of an earlier device model of this domain, or NULL. */
bool start_dm(char **extra, const char *incoming)
{
    char **env = dm_environment();
    struct child c = {.env = env, .log = run.log, .session = true};
    int pair[2] = {-1, -1};
    bool watched = true;
    GPtrArray *a;
    int qmp_fd = -1, state_fd = -1;
    unsigned int i;

    if (incoming) {
        state_fd = open(incoming, O_RDONLY); /* inherited on purpose, as from libxl */
        if (state_fd < 0)
            return complain("%s: %s", incoming, strerror(errno));
    }
    c.restricted = opt.restrict_dm;
    if (opt.restrict_dm) {
        char *root = g_strdup_printf("%s/qemu-root-%d", run.dir, opt.domid);

        mkdir(root, 0);
        g_free(root);
        run.run_with = probe_run_with();
        if (!listen_qmp(&qmp_fd))
            return false;
    }
    a = dm_arguments(qmp_fd, state_fd, extra);
    c.argv = (char **)a->pdata;
    if (opt.verbose || opt.print)
        for (i = 0; c.argv[i]; i++)
            printf("%s%s", c.argv[i], c.argv[i + 1] ? " " : "\n");
    if (opt.print) {
        for (i = 0; env[i]; i++)
            if (strchr(env[i], '='))
                printf("%s\n", env[i]);
        fflush(stdout);
    }
    run.exec_time = g_get_monotonic_time();
    if (opt.gdb) {
        char *pid_path = g_strdup_printf("%s/dm.pid", run.dir);

        printf(
            "start the device model yourself (or under gdb) with the line above; its pid goes to\n"
            "%s: echo $PID > %s\n",
            pid_path, pid_path);
        fflush(stdout);
        while (!stop && access(pid_path, R_OK))
            g_usleep(100000);
        g_free(pid_path);
        run.dm = 0;
    } else {
        if (opt.disk_faults && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0)
            c.watched = pair[1];
        run.dm = spawn(&c);
    }
    run.dm_dead = false;
    if (pair[0] >= 0) {
        int fd = connect_unix(run.cmd_sock);

        close(pair[1]);
        watched = disk_faults_watch(pair[0], fd >= 0 ? fdopen(fd, "r+") : NULL);
        close(pair[0]);
    }
    if (qmp_fd >= 0)
        close(qmp_fd);
    if (state_fd >= 0)
        close(state_fd);
    return !stop && watched;
}

/*
 * A saved domain's device model goes, and another one takes over where it was. In the place of a
 * domain that is made anew, so what the old one does to Xen when it ends must not count: it is
 * killed. The new one stays paused.
 */
bool replace_dm(const char *state)
{
    char *node = g_strdup_printf("/local/domain/0/device-model/%d/state", opt.domid);
    static const char *const status[] = {"query-status", NULL};
    bool ok;

    kill(run.dm, SIGKILL);
    waitpid(run.dm, &run.dm_status, 0);
    g_free(ctl("servers destroy"));
    xs_rm(run.xs, XBT_NULL, node);
    g_free(node);
    unlink(run.qmp_path);
    ok = start_dm(run.extra, state) && (opt.restrict_dm || wait_running());
    return ok && qmp_session(status, "\"paused\"");
}
