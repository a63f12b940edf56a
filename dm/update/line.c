/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See line.h. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <xendm/error.h>

#include "line.h"

union one_fd {
    struct cmsghdr head;
    char space[CMSG_SPACE(sizeof(int))];
};

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
    union one_fd control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)),
                                     .cmsg_level = SOL_SOCKET,
                                     .cmsg_type = SCM_RIGHTS}};
    struct iovec iov = {.iov_base = (char[]){"line"}, .iov_len = 4};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};

    memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
    return sendmsg(line, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == 4;
}

int line_receive_fd(int line, GError **err)
{
    union one_fd control;
    char text[4];
    struct iovec iov = {.iov_base = text, .iov_len = sizeof(text)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    int fd = -1;
    ssize_t n;

    do {
        n = recvmsg(line, &msg, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n > 0 && msg.msg_controllen >= sizeof(control.head) &&
        control.head.cmsg_type == SCM_RIGHTS && control.head.cmsg_len == CMSG_LEN(sizeof(int))) {
        memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
        return fd;
    }
    g_set_error(err, XENDM_ERROR, EPROTO, "--update-from: whoever is there does not update");
    return -1;
}
