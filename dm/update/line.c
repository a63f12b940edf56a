/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See line.h. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <xendm/error.h>
#include <xendm/one-fd.h>

#include "line.h"

bool line_say(int line, const char *text)
{
    ssize_t n;

    do {
        n = send(line, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)strlen(text);
}

char *line_hear(int line)
{
    g_autofree char *text = g_malloc(LINE_MAX_BYTES + 1);
    ssize_t n;

    do {
        n = recv(line, text, LINE_MAX_BYTES, 0);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        return NULL;
    }
    text[n] = '\0';
    return g_strdup(text);
}

bool line_send_fd(int line, int fd)
{
    return one_fd_send(line, "line", 4, fd, MSG_DONTWAIT) == 4;
}

int line_receive_fd(int line, GError **err)
{
    char text[4];
    int fd;

    if (one_fd_receive(line, text, sizeof(text), &fd, 0) > 0 && fd >= 0) {
        return fd;
    }
    g_set_error(err, XENDM_ERROR, EPROTO, "--update-from: whoever is there does not update");
    return -1;
}
