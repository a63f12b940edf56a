/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `xenemu run`: what libxl does around one device model (toolstack.md 1.2 to 1.4, 1.7),
 * without root: host process, xenstored, xenstore nodes, argument vector, readiness, QMP, script,
 * the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xenstore.h>
#include "../host/host.h"
#include "run.h"

#ifndef XENEMU_PKGLIBDIR
#define XENEMU_PKGLIBDIR "/usr/lib/xendm/xenemu"
#endif
#define XENSTORED "/usr/lib/xen-4.17/bin/xenstored"

struct run_options opt = {
    .memory = 512,
    .vcpus = 1,
    .domid = 1,
    .start_timeout = 60,
    .access_timeout = 10000,
};

struct run run;

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
    stop = sig;
}

bool complain(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fputs("xenemu: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return false;
}

/* ---- command socket ---- */

static int connect_unix(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || strlen(path) >= sizeof(sa.sun_path))
        return -1;
    strcpy(sa.sun_path, path);
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

char *ctl(const char *fmt, ...)
{
    char *line = NULL, *out = NULL, *cmd;
    size_t cap = 0;
    ssize_t n;
    va_list ap;

    va_start(ap, fmt);
    cmd = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    fprintf(run.ctl, "%s\n", cmd);
    fflush(run.ctl);
    while ((n = getline(&line, &cap, run.ctl)) > 0) {
        g_strchomp(line);
        if (!strncmp(line, "OK", 2)) {
            out = g_strdup(line[2] ? line + 3 : "");
            break;
        }
        if (!strncmp(line, "FAIL", 4)) {
            complain("%s: %s", cmd, line + 5);
            break;
        }
        if (!strncmp(line, "LEAK", 4))
            printf("%s\n", line);
    }
    if (n <= 0)
        complain("%s: the host process is gone", cmd);
    free(line);
    g_free(cmd);
    return out;
}

/* ---- processes ---- */

struct child {
    char **argv;
    char **env; /* "NAME=value" to set; "NAME" to remove */
    const char *log;
    bool session;
    int watched; /* socket for disk_faults_child(); 0: none */
};

static pid_t spawn(const struct child *c)
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
    if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(126);
    if (in > 2)
        close(in);
    if (out > 2)
        close(out);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, c->session ? SIG_DFL : SIG_IGN);
    if (c->watched > 0)
        disk_faults_child(c->watched);
    for (i = 0; c->env && c->env[i]; i++) {
        if (strchr(c->env[i], '='))
            putenv(c->env[i]);
        else
            unsetenv(c->env[i]);
    }
    execvp(c->argv[0], c->argv);
    fprintf(stderr, "%s: %s\n", c->argv[0], strerror(errno));
    _exit(127);
}

static void print_log_end(const char *path, unsigned int lines)
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

static bool process_ended(pid_t pid, int *status)
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

static bool dm_alive(void)
{
    if (!run.dm_dead && process_ended(run.dm, &run.dm_status))
        run.dm_dead = true;
    return !run.dm_dead;
}

static bool dm_died(void)
{
    char *how = status_text(run.dm_status);

    complain("the device model %s", how);
    g_free(how);
    print_log_end(run.log, 20);
    return false;
}

static bool wait_connect(const char *path, pid_t pid, const char *who)
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

/* ---- environment ---- */

static bool find_libdir(void)
{
    const char *env = getenv("XENEMU_LIBDIR");
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    char *try[3] = {NULL}, *probe;
    unsigned int i;

    if (n > 0) {
        exe[n] = 0;
        char *dirname = g_path_get_dirname(exe);

        try[1] = g_build_filename(dirname, "lib", NULL);
        g_free(dirname);
    }
    try[0] = g_strdup(env);
    try[2] = g_strdup(XENEMU_PKGLIBDIR);
    for (i = env ? 0 : 1; i < (env ? 1u : 3u) && !run.libdir; i++) {
        if (!try[i])
            continue;
        probe = g_build_filename(try[i], "libxenctrl.so.4.17", NULL);
        if (!access(probe, R_OK))
            run.libdir = realpath(try[i], NULL);
        g_free(probe);
    }
    for (i = 0; i < 3; i++)
        g_free(try[i]);
    return run.libdir ? true : complain("the drop-in libraries are not found; set XENEMU_LIBDIR");
}

static char *library_path(void)
{
    const char *old = getenv("LD_LIBRARY_PATH");

    return old && *old ? g_strdup_printf("LD_LIBRARY_PATH=%s:%s", run.libdir, old)
                       : g_strdup_printf("LD_LIBRARY_PATH=%s", run.libdir);
}

static bool start_host(void)
{
    char *log = g_strdup_printf("%s/host.log", run.dir);
    char *timeout = g_strdup_printf("%d", opt.access_timeout);
    char *argv[] = {(char *)"/proc/self/exe",    (char *)"host",
                    (char *)"--library-socket",  run.lib_sock,
                    (char *)"--socket",          run.cmd_sock,
                    (char *)"--access-timeout",  timeout,
                    (char *)"--die-with-parent", NULL};
    struct child c = {.argv = argv, .log = log};
    bool ok;

    run.host = spawn(&c);
    ok = run.host > 0 && wait_connect(run.cmd_sock, run.host, "host");
    g_free(log);
    g_free(timeout);
    return ok;
}

static bool open_ctl(void)
{
    int fd = connect_unix(run.cmd_sock);

    run.ctl = fd < 0 ? NULL : fdopen(fd, "r+");
    return run.ctl ? true : complain("%s: %s", run.cmd_sock, strerror(errno));
}

static bool start_xenstored(void)
{
    const char *bin = opt.xenstored ? opt.xenstored : getenv("XENEMU_XENSTORED");
    char *port = ctl("evtchn alloc0"), *sock = g_strdup_printf("%s/socket", run.dir);
    char *log = g_strdup_printf("%s/xenstored.log", run.dir);
    bool ok = false;

    if (!bin)
        bin = XENSTORED;
    if (access(bin, X_OK)) {
        complain("%s: %s (package xen-utils-4.17, or --xenstored)", bin, strerror(errno));
    } else if (port) {
        char *argv[] = {(char *)(uintptr_t)bin, (char *)"-N", (char *)"--internal-db=on", NULL};
        char *env[] = {
            library_path(),
            g_strdup_printf("LD_PRELOAD=%s/libxenemu-xsd.so", run.libdir),
            g_strdup_printf(XE_ENV_SOCKET "=%s", run.lib_sock),
            g_strdup_printf("XENEMU_XSD_PORT=%s", port),
            g_strdup_printf("XENSTORED_RUNDIR=%s", run.dir),
            g_strdup_printf("XENSTORED_ROOTDIR=%s", run.dir),
            (char *)"XENSTORED_PATH",
            NULL,
        };
        struct child c = {.argv = argv, .env = env, .log = log};

        run.xenstored = spawn(&c);
        ok = run.xenstored > 0 && wait_connect(sock, run.xenstored, "xenstored");
    }
    g_free(port);
    g_free(sock);
    g_free(log);
    return ok;
}

static bool listen_qmp(int *fd)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    *fd = socket(AF_UNIX, SOCK_STREAM, 0); /* inherited on purpose, as from libxl */
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", run.qmp_path);
    if (*fd < 0 || bind(*fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(*fd, 1) < 0)
        return complain("%s: %s", run.qmp_path, strerror(errno));
    return true;
}

/* `incoming`: file with the state of an earlier device model of this domain, or NULL. */
static bool start_dm(char **extra, const char *incoming)
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
    if (opt.restrict_dm) {
        char *root = g_strdup_printf("%s/qemu-root-%d", run.dir, opt.domid);

        mkdir(root, 0);
        g_free(root);
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

/* ---- readiness and QMP ---- */

/* Next CR LF terminated message, or NULL; libxl accepts nothing else as an end. */
static char *qmp_message(int fd, int timeout_ms)
{
    int64_t end = g_get_monotonic_time() + (int64_t)timeout_ms * 1000;
    GString *t = g_string_new(NULL);

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char c;

        if (t->len >= 2 && !memcmp(t->str + t->len - 2, "\r\n", 2))
            return g_string_free(t, FALSE);
        if (g_get_monotonic_time() > end || poll(&p, 1, 100) < 0 || t->len > 1 << 20)
            break;
        if (p.revents && read(fd, &c, 1) != 1)
            break;
        if (p.revents)
            g_string_append_c(t, c);
    }
    g_string_free(t, TRUE);
    return NULL;
}

static char *qmp_command(int fd, const char *cmd, unsigned int id)
{
    char *text = g_strdup_printf("{\"execute\":\"%s\",\"id\":%u}\r\n", cmd, id), *m;
    char *want = g_strdup_printf("%u", id);
    bool sent = write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    g_free(text);
    while (sent && (m = qmp_message(fd, 10000))) {
        if (strstr(m, "\"return\"") && strstr(m, want)) {
            g_free(want);
            return m;
        }
        if (strstr(m, "\"error\"")) {
            complain("QMP %s: %s", cmd, g_strchomp(m));
            g_free(m);
            g_free(want);
            return NULL;
        }
        g_free(m); /* an event */
    }
    g_free(want);
    complain("QMP %s: no answer", cmd);
    return NULL;
}

/* One connection as libxl makes it; `expect` must be in the reply of the last command. */
static bool qmp_session(const char *const *cmds, const char *expect)
{
    int fd = connect_unix(run.qmp_path), i;
    unsigned int id = 0x786c7100;
    bool ok = false;
    char *m, *last = NULL;

    if (fd < 0)
        return complain("QMP %s: %s", run.qmp_path, strerror(errno));
    m = qmp_message(fd, 10000);
    if (!m || !strstr(m, "\"QMP\"") || !strstr(m, "\"major\"")) {
        complain("QMP: no greeting that ends with CR LF");
        goto out;
    }
    g_free(m);
    m = qmp_command(fd, "qmp_capabilities", id++);
    for (i = 0; m && cmds[i]; i++) {
        g_free(m);
        m = qmp_command(fd, cmds[i], id++);
        if (m && opt.verbose)
            printf("QMP %s: %s", cmds[i], m);
    }
    last = m;
    ok = m && (!expect || strstr(m, expect));
    if (m && !ok)
        complain("QMP %s: expected %s in %s", cmds[i - 1], expect, g_strchomp(m));
    m = NULL;
out:
    g_free(m);
    g_free(last);
    close(fd);
    return ok;
}

static bool wait_running(void)
{
    char *path = g_strdup_printf("/local/domain/0/device-model/%d/state", opt.domid);
    int64_t end = g_get_monotonic_time() + (int64_t)opt.start_timeout * G_USEC_PER_SEC;
    bool ok = false;

    xs_watch(run.xs, path, "state");
    while (!stop && !ok) {
        struct pollfd p = {.fd = xs_fileno(run.xs), .events = POLLIN};
        unsigned int len;
        char **v, *state;

        if (run.dm && !dm_alive()) {
            dm_died();
            break;
        }
        if (g_get_monotonic_time() > end) {
            complain("the device model did not write 'running' to %s in %d s", path,
                     opt.start_timeout);
            print_log_end(run.log, 20);
            break;
        }
        if (poll(&p, 1, 50) <= 0)
            continue;
        while ((v = xs_check_watch(run.xs)))
            free(v);
        state = xs_read(run.xs, XBT_NULL, path, &len);
        ok = state && !strcmp(state, "running");
        free(state);
    }
    xs_unwatch(run.xs, path, "state");
    g_free(path);
    return ok;
}

static bool wait_ready(void)
{
    static const char *const status[] = {"query-status", NULL};
    static const char *const cont[] = {"cont", NULL};
    static const char *const post[] = {"query-chardev", "query-vnc", NULL};
    bool ok;

    if (opt.restrict_dm) /* readiness is the answer on the socket that was there first */
        ok = qmp_session(status, opt.incoming ? "paused" : "prelaunch");
    else
        ok = wait_running();
    if (ok)
        printf("ready after %.1f ms\n", (double)(g_get_monotonic_time() - run.exec_time) / 1000.0);
    if (ok && opt.qmp_check)
        ok = qmp_session(post, "\"enabled\"");
    if (ok && (opt.qmp_check || opt.restrict_dm || opt.incoming))
        ok = qmp_session(cont, NULL);
    if (ok)
        g_free(ctl("unpause"));
    fflush(stdout);
    return ok;
}

/* ---- the run ---- */

/*
 * A saved domain's device model goes, and another one takes over where it was. In the place of a
 * domain that is made anew, so what the old one does to Xen when it ends must not count: it is
 * killed. The new one stays paused.
 */
static bool replace_dm(const char *state)
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
    /* Whatever stayed in the session of the device model is a process left behind. */
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

static void end_child(pid_t pid)
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

static void remove_dir(const char *dir)
{
    GDir *d = g_dir_open(dir, 0, NULL);
    const char *n;

    while (d && (n = g_dir_read_name(d))) {
        char *p = g_build_filename(dir, n, NULL);

        if (g_file_test(p, G_FILE_TEST_IS_DIR) && !g_file_test(p, G_FILE_TEST_IS_SYMLINK))
            remove_dir(p);
        else
            unlink(p);
        g_free(p);
    }
    if (d)
        g_dir_close(d);
    rmdir(dir);
}

static bool set_up(void)
{
    unsigned int i;
    char *out;

    if (opt.attach) {
        run.dir = realpath(opt.attach, NULL);
        if (!run.dir)
            return complain("%s: %s", opt.attach, strerror(errno));
    } else if (opt.rundir) {
        if (mkdir(opt.rundir, 0700) < 0 && errno != EEXIST)
            return complain("%s: %s", opt.rundir, strerror(errno));
        run.dir = realpath(opt.rundir, NULL);
    } else {
        run.dir = g_strdup("/tmp/xenemu-XXXXXX");
        if (!mkdtemp(run.dir))
            return complain("%s: %s", run.dir, strerror(errno));
        run.own_dir = true;
    }
    run.lib_sock = g_strdup_printf("%s/xen", run.dir);
    run.cmd_sock = g_strdup_printf("%s/cmd", run.dir);
    run.qmp_path = g_strdup_printf("%s/qmp-libxl-%d", run.dir, opt.domid);
    run.log = opt.log ? g_strdup(opt.log) : g_strdup_printf("%s/dm-%d.log", run.dir, opt.domid);
    if (!opt.socket)
        opt.socket = g_strdup_printf("%s/qtest-%d", run.dir, opt.domid);
    if (strlen(opt.socket) > 100 || strlen(run.qmp_path) > 90)
        return complain("the socket paths are too long; use --rundir");
    setenv("XENSTORED_RUNDIR", run.dir, 1);
    setenv("XENSTORED_ROOTDIR", run.dir, 1);
    unsetenv("XENSTORED_PATH");
    if (!opt.attach && !start_host())
        return false;
    if (!open_ctl() || (!opt.attach && !start_xenstored()))
        return false;
    run.xs = xs_open(0);
    if (!run.xs)
        return complain("xenstore: %s", strerror(errno));
    out = ctl("domain_create id=%d name=%s memory_kb=%d video_kb=%d vcpus=%d mmio_start=0x%" PRIx64,
              opt.domid, opt.name, opt.memory * 1024, video_mb() * 1024, opt.vcpus,
              opt.mmio_hole ? (UINT64_C(1) << 32) - ((uint64_t)opt.mmio_hole << 20)
                            : UINT64_C(0xF0000000));
    if (!out)
        return false;
    g_free(out);
    g_free(ctl("pause"));
    for (i = 0; opt.populate && opt.populate[i]; i++) {
        char *spaced = g_strdelimit(g_strdup(opt.populate[i]), "+", ' ');

        out = ctl("populate %s", spaced);
        g_free(spaced);
        if (!out)
            return false;
        g_free(out);
    }
    if (!write_nodes())
        return false;
    if (opt.xs_faults) {
        char *front = g_strdup_printf("%s/xs-dm", run.dir);

        mkdir(front, 0700);
        out = ctl("xsproxy %s/socket %s/socket", run.dir, front);
        g_free(front);
        if (!out)
            return false;
        g_free(out);
    }
    for (i = 0; opt.faults && opt.faults[i]; i++) {
        char *spaced = g_strdelimit(g_strdup(opt.faults[i]), ",", ' ');

        out = ctl("fault %s", spaced);
        g_free(spaced);
        if (!out)
            return false;
        g_free(out);
    }
    out = ctl("socket %s", opt.socket);
    g_free(out);
    return out != NULL;
}

static bool check_options(int argc, char **argv, GError *error)
{
    if (error)
        return complain("%s", error->message);
    if (argc > 1)
        return complain("unexpected argument %s (device model arguments go after --)", argv[1]);
    if (!opt.dm)
        opt.dm = g_strdup("/usr/libexec/xen-qemu-system-i386");
    if (!opt.gdb && access(opt.dm, X_OK))
        return complain("%s: %s", opt.dm, strerror(errno));
    if (!opt.vga)
        opt.vga = g_strdup("cirrus");
    if (strcmp(opt.vga, "cirrus") && strcmp(opt.vga, "stdvga") && strcmp(opt.vga, "none"))
        return complain("--vga takes cirrus, stdvga or none");
    if (!opt.name)
        opt.name = g_strdup_printf("xenemu%d", opt.domid);
    if (opt.memory < 16 || opt.vcpus < 1 || opt.vcpus > (int)XE_MAX_VCPUS || opt.domid < 1 ||
        opt.domid >= 0x7ff0)
        return complain("memory, vcpus or domid out of range");
    return true;
}

int run_main(int argc, char **argv)
{
    const GOptionEntry entries[] = {
        {"dm", 0, 0, G_OPTION_ARG_FILENAME, &opt.dm,
         "Device model (default /usr/libexec/xen-qemu-system-i386)", "PATH"},
        {"memory", 'm', 0, G_OPTION_ARG_INT, &opt.memory, "Guest memory, video included (512)",
         "MB"},
        {"vcpus", 0, 0, G_OPTION_ARG_INT, &opt.vcpus, "Virtual CPUs (1)", "N"},
        {"domid", 0, 0, G_OPTION_ARG_INT, &opt.domid, "Domain id (1)", "N"},
        {"name", 0, 0, G_OPTION_ARG_STRING, &opt.name, "Guest name", "NAME"},
        {"disk", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &opt.disks, "IDE disk (hda, hdb, …)", "FILE"},
        {"cdrom", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &opt.cdroms,
         "CD-ROM (hdc, hdd); empty string = empty drive", "FILE"},
        {"vga", 0, 0, G_OPTION_ARG_STRING, &opt.vga, "cirrus (default), stdvga or none", "TYPE"},
        {"serial", 0, 0, G_OPTION_ARG_STRING_ARRAY, &opt.serials, "Serial port, e.g. pty, null",
         "DEV"},
        {"device", 0, 0, G_OPTION_ARG_STRING_ARRAY, &opt.devices, "A further -device", "DEV"},
        {"boot", 0, 0, G_OPTION_ARG_STRING, &opt.boot, "Boot order (cda)", "ORDER"},
        {"mmio-hole", 0, 0, G_OPTION_ARG_INT, &opt.mmio_hole, "Size of the hole below 4 GiB", "MB"},
        {"no-platform-device", 0, 0, G_OPTION_ARG_NONE, &opt.no_platform,
         "As xen_platform_pci=0: -machine pc,accel=xen", NULL},
        {"restrict", 0, 0, G_OPTION_ARG_NONE, &opt.restrict_dm, "As dm_restrict=1", NULL},
        {"socket", 0, 0, G_OPTION_ARG_FILENAME, &opt.socket, "Where to offer the qtest socket",
         "PATH"},
        {"script", 0, 0, G_OPTION_ARG_FILENAME, &opt.script, "Run a device script, then end",
         "FILE"},
        {"timeout", 0, 0, G_OPTION_ARG_INT, &opt.timeout,
         "End after so many seconds (default: on a signal)", "S"},
        {"start-timeout", 0, 0, G_OPTION_ARG_INT, &opt.start_timeout, "Wait for readiness (60)",
         "S"},
        {"access-timeout", 0, 0, G_OPTION_ARG_INT, &opt.access_timeout,
         "How long a guest access may take (10000)", "MS"},
        {"qmp-check", 0, 0, G_OPTION_ARG_NONE, &opt.qmp_check,
         "Do libxl's QMP exchange after the start", NULL},
        {"leaks", 0, 0, G_OPTION_ARG_NONE, &opt.leaks, "Fail if something is left behind", NULL},
        {"fault", 0, 0, G_OPTION_ARG_STRING_ARRAY, &opt.faults,
         "Make a call fail: OP[,nth=N][,count=C|all][,errno=E][,…]; xenemu(1)", "SPEC"},
        {"xs-faults", 0, 0, G_OPTION_ARG_NONE, &opt.xs_faults,
         "Put a proxy before xenstored, so that xs-* faults work", NULL},
        {"disk-faults", 0, 0, G_OPTION_ARG_NONE, &opt.disk_faults,
         "Look at disk I/O, so that disk-* faults work", NULL},
        {"xenstore", 0, 0, G_OPTION_ARG_STRING_ARRAY, &opt.sets, "Write a node before the start",
         "PATH=VALUE"},
        {"xenstored", 0, 0, G_OPTION_ARG_FILENAME, &opt.xenstored, "xenstored to use", "PATH"},
        {"rundir", 0, 0, G_OPTION_ARG_FILENAME, &opt.rundir, "Directory for sockets and logs",
         "DIR"},
        {"attach", 0, 0, G_OPTION_ARG_FILENAME, &opt.attach,
         "One more domain on the host of another run's directory", "DIR"},
        {"log", 0, 0, G_OPTION_ARG_FILENAME, &opt.log, "Log of the device model", "FILE"},
        {"keep", 0, 0, G_OPTION_ARG_NONE, &opt.keep, "Keep the directory", NULL},
        {"incoming", 0, 0, G_OPTION_ARG_FILENAME, &opt.incoming,
         "Start from a saved state, as libxl does for a restore", "FILE"},
        {"populate", 0, 0, G_OPTION_ARG_STRING_ARRAY, &opt.populate,
         "Pages that the domain has beside its RAM, as a restored one has its video memory",
         "GFN[+N]"},
        {"wait-dm", 0, 0, G_OPTION_ARG_NONE, &opt.gdb,
         "Print the command line and let the user start the device model", NULL},
        {"print", 0, 0, G_OPTION_ARG_NONE, &opt.print, "Print argument vector and environment",
         NULL},
        {"verbose", 'v', 0, G_OPTION_ARG_NONE, &opt.verbose, "Say more", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    GOptionContext *oc = g_option_context_new("[-- device model arguments]");
    struct sigaction sa = {.sa_handler = on_signal};
    GError *error = NULL;
    char **extra = NULL;
    int i, status = 1, leaks;
    bool ready = false;

    /* Everything after -- belongs to the device model. */
    for (i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--")) {
            extra = argv + i + 1;
            argc = i;
            argv = g_memdup2(argv, ((gsize)argc + 1) * sizeof(*argv));
            argv[argc] = NULL;
            break;
        }
    g_option_context_add_main_entries(oc, entries, NULL);
    g_option_context_set_summary(oc,
                                 "Starts a device model as libxl would, with no hypervisor and no "
                                 "root, and offers a qtest\nsocket in place of its CPU.");
    g_option_context_parse(oc, &argc, &argv, &error);
    if (!check_options(argc, argv, error))
        return 2;
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    opt.print = opt.print || opt.gdb;
    run.extra = extra;
    if (find_libdir() && set_up() && start_dm(extra, opt.incoming))
        ready = wait_ready();
    if (ready) {
        if (!opt.script) {
            printf("socket %s\n", opt.socket);
            if (opt.verbose || opt.keep || opt.rundir)
                printf("directory %s\n", run.dir);
            fflush(stdout);
        }
        status = opt.script ? run_script() : wait_for_end();
    }
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
