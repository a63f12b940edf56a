/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xenemu: an emulated Xen environment for device models. See docs/xenemu.1. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "control/qtest.h"
#include "host/loop.h"
#include "rpc/connections.h"
#include "run/environment.h"
#include "run/replay.h"
#include "run/run.h"

static const char usage[] =
    "usage: xenemu run [options] [-- device model arguments]\n"
    "       xenemu replay [options] FILE\n"
    "       xenemu host --library-socket PATH --socket PATH\n"
    "       xenemu ctl SOCKET COMMAND...\n"
    "       xenemu where\n"
    "\n"
    "  run   start a device model as libxl would, drive it, report what it leaves behind\n"
    "  host  the process that stands for the hypervisor; run starts one by itself\n"
    "  replay  give a device model what a recording has, and compare\n"
    "  ctl   send one line to a command socket and print the answer\n"
    "  where tell which Xen this is built for, and which xenstored and libraries run would use\n"
    "\n"
    "xenemu run --help and xenemu host --help list the options; see xenemu(1).\n";

static void on_accept(struct host *h, int fd, bool library, struct domain *dom)
{
    if (library)
        conn_new(h, fd);
    else
        session_new(h, fd, dom);
}

static const struct host_hooks hooks = {on_accept, session_event};

/* One command, one answer; asynchronous lines are printed, too. */
static int ctl_main(int argc, char **argv)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd, i, status = 1;
    char *line = NULL;
    size_t cap = 0;
    FILE *f;

    if (argc < 3 || strlen(argv[1]) >= sizeof(sa.sun_path)) {
        fputs(usage, stderr);
        return 2;
    }
    strcpy(sa.sun_path, argv[1]);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
        fprintf(stderr, "xenemu ctl: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    f = fdopen(fd, "r+");
    for (i = 2; i < argc; i++)
        fprintf(f, "%s%s", i > 2 ? " " : "", argv[i]);
    fputc('\n', f);
    fflush(f);
    while (getline(&line, &cap, f) > 0) {
        fputs(line, stdout);
        if (!strncmp(line, "OK", 2) || !strncmp(line, "FAIL", 4)) {
            status = line[0] != 'O';
            break;
        }
    }
    free(line);
    fclose(f);
    return status;
}

/*
 * For a build with sanitizers: one run and it ends, so what is allocated once is not given back.
 * Leaks of the device model are what matters here, and the host counts those.
 */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

int main(int argc, char **argv)
{
    const char *cmd = argc > 1 ? argv[1] : "";

    if (!strcmp(cmd, "run"))
        return run_main(argc - 1, argv + 1);
    if (!strcmp(cmd, "replay"))
        return replay_main(argc - 1, argv + 1);
    if (!strcmp(cmd, "host"))
        return host_main(argc - 1, argv + 1, &hooks);
    if (!strcmp(cmd, "where"))
        return where_main();
    if (!strcmp(cmd, "ctl"))
        return ctl_main(argc - 1, argv + 1);
    if (!strcmp(cmd, "--help") || !strcmp(cmd, "-h") || !strcmp(cmd, "help")) {
        fputs(usage, stdout);
        return 0;
    }
    fputs(usage, stderr);
    return 2;
}
