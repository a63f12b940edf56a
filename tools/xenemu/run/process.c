/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes of a run: how they start, whether they live, how they ended. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../faults/disk.h"
#include "control.h"
#include "process.h"
#include "run.h"

/*
 * libxl__local_dm_preexec_restrict() in libxl_linux.c: what is refused (we may not be root) is left
 * out, as nothing else is checked here. Root may raise hard limits again, but for root in a
 * container that has no CAP_SYS_RESOURCE: there they stay, as no Xen host is one.
 */
static void restrict_as_libxl_does(void)
{
    static const struct {
        int what;
        rlim_t most;
    } limits[] = {{RLIMIT_FSIZE, 256 * 1024},
                  {RLIMIT_CORE, 0},
                  {RLIMIT_MSGQUEUE, 0},
                  {RLIMIT_LOCKS, 0},
                  {RLIMIT_MEMLOCK, 0}};
    bool hard = prctl(PR_CAPBSET_READ, CAP_SYS_RESOURCE, 0, 0, 0) == 1;

    unshare(CLONE_NEWNS | CLONE_NEWIPC);
    for (size_t i = 0; i < G_N_ELEMENTS(limits); i++) {
        struct rlimit r = {0};

        getrlimit(limits[i].what, &r);
        r.rlim_cur = limits[i].most;
        r.rlim_max = hard ? limits[i].most : r.rlim_max;
        setrlimit(limits[i].what, &r);
    }
}

pid_t spawn(const struct child *c)
{
    pid_t pid = fork();
    int in, out, i;

    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (c->session)
        setsid();
    in = open("/dev/null", O_RDONLY);
    out = open(c->log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (in < 0 || out < 0 ||
        (!c->terminal && (dup2(in, 0) < 0 || dup2(out, 2) < 0 || (!c->tells && dup2(out, 1) < 0))))
        _exit(126);
    if (in > 2)
        close(in);
    if (out > 2)
        close(out);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, c->session || c->terminal ? SIG_DFL : SIG_IGN);
    if (c->watched > 0)
        disk_faults_child(c->watched);
    for (i = 0; c->env && c->env[i]; i++) {
        if (strchr(c->env[i], '='))
            putenv(c->env[i]);
        else
            unsetenv(c->env[i]);
    }
    if (c->restricted)
        restrict_as_libxl_does();
    execvp(c->argv[0], c->argv);
    fprintf(stderr, "%s: %s\n", c->argv[0], strerror(errno));
    _exit(127);
}

void print_log_end(const char *path, unsigned int lines)
{
    char *text = NULL, **all;
    unsigned int n, i;

    if (!g_file_get_contents(path, &text, NULL, NULL) || !*text) {
        g_free(text);
        return;
    }
    all = g_strsplit(g_strchomp(text), "\n", 0);
    n = g_strv_length(all);
    fprintf(stderr, "--- end of %s\n", path);
    for (i = n > lines ? n - lines : 0; i < n; i++)
        fprintf(stderr, "    %s\n", all[i]);
    g_strfreev(all);
    g_free(text);
}

bool process_ended(pid_t pid, int *status)
{
    return pid > 0 && waitpid(pid, status, WNOHANG) == pid;
}

static char *status_text(int status)
{
    if (WIFSIGNALED(status))
        return g_strdup_printf("killed by signal %d (%s)", WTERMSIG(status),
                               strsignal(WTERMSIG(status)));
    return g_strdup_printf("exited with status %d", WEXITSTATUS(status));
}

bool dm_alive(void)
{
    if (!run.dm_dead && process_ended(run.dm, &run.dm_status))
        run.dm_dead = true;
    return !run.dm_dead;
}

bool dm_died(void)
{
    char *how = status_text(run.dm_status);

    complain("the device model %s", how);
    g_free(how);
    print_log_end(run.log, 20);
    return false;
}

bool wait_connect(const char *path, pid_t pid, const char *who)
{
    int i, fd, status;

    for (i = 0; i < 5000; i++) {
        fd = connect_unix(path);
        if (fd >= 0) {
            close(fd);
            return true;
        }
        if (process_ended(pid, &status)) {
            char *how = status_text(status), *log = g_strdup_printf("%s/%s.log", run.dir, who);

            complain("%s %s", who, how);
            print_log_end(log, 10);
            g_free(how);
            g_free(log);
            return false;
        }
        g_usleep(1000);
    }
    return complain("%s does not listen on %s", who, path);
}

void end_child(pid_t pid)
{
    int i;

    if (pid <= 0)
        return;
    kill(pid, SIGTERM);
    for (i = 0; i < 1000; i++) {
        if (waitpid(pid, NULL, WNOHANG))
            return;
        g_usleep(1000);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
