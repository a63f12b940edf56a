/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `xenemu run`: what libxl does around one device model (toolstack.md 1.2 to 1.4, 1.7),
 * without root: host process, xenstored, xenstore nodes, argument vector, readiness, QMP, script,
 * the end.
 */
#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xenstore.h>
#include "control.h"
#include "device-model.h"
#include "environment.h"
#include "options.h"
#include "process.h"
#include "readiness.h"
#include "run.h"

#define HELPERS_END_MS 10000

struct run run;

volatile sig_atomic_t stop;

static void on_signal(int sig)
{
    stop = sig;
}

/* What a script asks of us on its line: "replace FILE". */
static void serve_script(int fd)
{
    char line[4096];
    ssize_t n = read(fd, line, sizeof(line) - 1);
    bool ok;

    if (n <= 0)
        return;
    line[n] = 0;
    g_strchomp(line);
    ok = g_str_has_prefix(line, "replace ") && replace_dm(line + strlen("replace "));
    if (write(fd, ok ? "OK\n" : "FAIL\n", ok ? 3 : 5) < 0)
        complain("script: %s", strerror(errno));
}

static int run_script(void)
{
    char *xds = g_strdup_printf("%s/xds.py", run.libdir), *arg_sock = opt.socket;
    int status = 1, line[2];
    pid_t pid;

    if (access(xds, R_OK)) {
        g_free(xds);
        xds = g_strdup_printf("%s/../xds.py", run.libdir);
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) < 0) {
        complain("socketpair: %s", strerror(errno));
        return 1;
    }
    pid = fork();
    if (!pid) {
        char *rundir = g_strdup_printf("%s", run.dir), *domid = g_strdup_printf("%d", opt.domid);
        char *run_fd = g_strdup_printf("%d", dup(line[1]));

        setenv("XENSTORED_RUNDIR", rundir, 1);
        setenv("XENEMU_QMP", run.qmp_path, 1);
        setenv("XENEMU_DOMID", domid, 1);
        setenv("XENEMU_RUN_FD", run_fd, 1);
        execlp("python3", "python3", xds, "--socket", arg_sock, "--dm", opt.dm, opt.script,
               (char *)NULL);
        complain("python3: %s", strerror(errno));
        _exit(127);
    }
    close(line[1]);
    while (!stop) {
        if (process_ended(pid, &status))
            break;
        if (run.dm && !dm_alive() && !process_ended(pid, &status)) {
            dm_died();
            g_usleep(300000); /* its accesses fail now; let it say where it was */
            kill(pid, SIGTERM);
            waitpid(pid, &status, 0);
            status = 1 << 8;
            break;
        }
        if (poll(&(struct pollfd){.fd = line[0], .events = POLLIN}, 1, 2) > 0)
            serve_script(line[0]);
    }
    if (stop) {
        kill(pid, SIGTERM);
        waitpid(pid, &status, 0);
    }
    close(line[0]);
    g_free(xds);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int wait_for_end(void)
{
    int64_t end = g_get_monotonic_time() + (int64_t)opt.timeout * G_USEC_PER_SEC;

    while (!stop) {
        if (run.dm && !dm_alive()) {
            dm_died();
            return 1;
        }
        if (opt.timeout && g_get_monotonic_time() > end)
            break;
        g_usleep(10000);
    }
    return 0;
}

/* toolstack.md 1.7: its directory goes first, then SIGHUP. */
static bool end_dm(void)
{
    char *path = g_strdup_printf("/local/domain/0/device-model/%d", opt.domid);
    bool ok = true;
    int i;

    if (run.xs)
        xs_rm(run.xs, XBT_NULL, path);
    g_free(path);
    if (run.dm <= 0)
        return true;
    if (dm_alive()) {
        kill(run.dm, SIGHUP);
        for (i = 0; i < 5000 && dm_alive(); i++)
            g_usleep(1000);
        if (dm_alive()) {
            ok = complain("the device model ignores SIGHUP for 5 s; killed");
            kill(run.dm, SIGKILL);
            waitpid(run.dm, &run.dm_status, 0);
            run.dm_dead = true;
        } else if (WIFSIGNALED(run.dm_status) ? WTERMSIG(run.dm_status) != SIGHUP
                                              : WEXITSTATUS(run.dm_status) != 0) {
            ok = dm_died();
        }
    }
    return ok;
}

static int report_leaks(void)
{
    char *n;
    int leaks;

    /* The kernel has closed its sockets; the host may need a moment to see that. */
    for (leaks = 0; leaks < 2000; leaks++) {
        n = ctl("handles %d", run.dm);
        if (!n || !atoi(n) || !run.dm)
            break;
        g_free(n);
        g_usleep(1000);
    }
    if (leaks < 2000)
        g_free(n);
    n = ctl("leaks %d", run.dm);
    leaks = n ? atoi(n) : 0;
    g_free(n);
    /*
     * Whatever stayed in the session of the device model is a process left behind. Its helpers see
     * its end by that of a socket, and may need a moment.
     */
    for (int i = 0; i < HELPERS_END_MS && run.dm > 0 && !kill(-run.dm, 0); i++)
        g_usleep(1000);
    if (run.dm > 0 && !kill(-run.dm, 0)) {
        printf("LEAK processes: process group %d still has members\n", run.dm);
        kill(-run.dm, SIGKILL);
        leaks++;
    }
    n = ctl("missing");
    if (n && *n)
        printf("missing functions: %s\n", n);
    g_free(n);
    return leaks;
}

static int run_ready(void)
{
    if (opt.script)
        return run_script();
    printf("socket %s\n", opt.socket);
    if (opt.verbose || opt.keep || opt.rundir)
        printf("directory %s\n", run.dir);
    fflush(stdout);
    return wait_for_end();
}

int tear_down(bool ready, int status)
{
    int leaks;

    if (run.ctl) {
        if (!end_dm())
            status = status ? status : 1;
        leaks = ready || opt.leaks ? report_leaks() : 0;
        if (leaks && opt.leaks && !status)
            status = 3;
        g_free(ctl("domain_destroy"));
    }
    if (run.xs) {
        xs_release_domain(run.xs, (unsigned int)opt.domid);
        xs_close(run.xs);
    }
    if (!opt.attach) {
        end_child(run.xenstored);
        end_child(run.host);
        if (run.own_dir && !opt.keep)
            remove_dir(run.dir);
        else if (run.dir)
            fprintf(stderr, "xenemu: directory %s\n", run.dir);
    }
    return status;
}

int run_main(int argc, char **argv)
{
    struct sigaction sa = {.sa_handler = on_signal};
    int status = 1;
    bool ready = false;

    if (!options_parse(argc, argv))
        return 2;
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (find_libdir() && set_up() && start_dm(run.extra, opt.incoming))
        ready = wait_ready();
    if (ready)
        status = run_ready();
    return tear_down(ready, status);
}
