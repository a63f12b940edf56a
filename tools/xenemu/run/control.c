/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command socket of the host process. */
#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "control.h"
#include "run.h"

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

int connect_unix(const char *path)
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

bool open_ctl(void)
{
    int fd = connect_unix(run.cmd_sock);

    run.ctl = fd < 0 ? NULL : fdopen(fd, "r+");
    return run.ctl ? true : complain("%s: %s", run.cmd_sock, strerror(errno));
}
