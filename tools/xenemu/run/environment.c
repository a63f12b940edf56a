/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is there before the device model starts: libraries, host process, xenstored, the domain. */
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xenstore.h>
#include "../rpc/rpc.h"
#include "control.h"
#include "environment.h"
#include "libxl.h"
#include "process.h"
#include "run.h"

#ifndef XENEMU_PKGLIBDIR
#define XENEMU_PKGLIBDIR "/usr/lib/xendm/xenemu"
#endif

/* Where distributions and Xen's own installation put it; it must be of the drop-ins' version. */
const char *find_xenstored(void)
{
    static const char *const places[] = {
        "/usr/lib/xen-" XEN_VERSION "/bin/xenstored",
        "/usr/libexec/xen-" XEN_VERSION "/bin/xenstored",
        "/usr/lib/xen/bin/xenstored",
        "/usr/libexec/xen/bin/xenstored",
        "/usr/local/sbin/xenstored",
        "/usr/sbin/xenstored",
    };
    const char *asked = opt.xenstored ? opt.xenstored : getenv("XENEMU_XENSTORED");
    unsigned int i;

    if (asked)
        return asked;
    for (i = 0; i < G_N_ELEMENTS(places); i++)
        if (!access(places[i], X_OK))
            return places[i];
    return places[0];
}

bool find_libdir(void)
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
        probe = g_build_filename(try[i], "libxenctrl.so." XEN_VERSION, NULL);
        if (!access(probe, R_OK))
            run.libdir = realpath(try[i], NULL);
        g_free(probe);
    }
    for (i = 0; i < 3; i++)
        g_free(try[i]);
    return run.libdir ? true : complain("the drop-in libraries are not found; set XENEMU_LIBDIR");
}

char *library_path(void)
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

static bool start_xenstored(void)
{
    const char *bin = find_xenstored();
    char *port = ctl("evtchn alloc0"), *sock = g_strdup_printf("%s/socket", run.dir);
    char *log = g_strdup_printf("%s/xenstored.log", run.dir);
    bool ok = false;

    if (access(bin, X_OK)) {
        complain("%s: %s (package xen-utils-" XEN_VERSION ", or --xenstored)", bin,
                 strerror(errno));
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

void remove_dir(const char *dir)
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

bool set_up(void)
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
    setenv("XENDM_STATUS_DIR", run.dir, 1);
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

int where_main(void)
{
    bool found = find_libdir();

    printf("xen %s\nxenctrl libxenctrl.so.%s\nxenstored %s\n", XEN_VERSION, XEN_VERSION,
           find_xenstored());
    if (found)
        printf("libraries %s\n", run.libdir);
    return found ? 0 : 1;
}
