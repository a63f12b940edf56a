/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See one-fd.h. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <xendm/one-fd.h>

union control {
    struct cmsghdr head;
    char space[CMSG_SPACE(sizeof(int))];
};

ssize_t one_fd_send(int socket, const void *data, size_t size, int fd, int flags)
{
    union control control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)),
                                      .cmsg_level = SOL_SOCKET,
                                      .cmsg_type = SCM_RIGHTS}};
    struct iovec iov = {.iov_base = (void *)data, .iov_len = size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (fd >= 0) {
        memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
    }
    do {
        n = sendmsg(socket, &msg, flags | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n;
}

ssize_t one_fd_receive(int socket, void *data, size_t size, int *fd, int flags)
{
    union control control;
    struct iovec iov = {.iov_base = data, .iov_len = size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    *fd = -1;
    do {
        /* Without the padding, which has room for a second one. */
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_LEN(sizeof(int));
        n = recvmsg(socket, &msg, flags | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n >= 0 && msg.msg_controllen >= CMSG_LEN(sizeof(int)) &&
        control.head.cmsg_level == SOL_SOCKET && control.head.cmsg_type == SCM_RIGHTS &&
        control.head.cmsg_len == CMSG_LEN(sizeof(int))) {
        memcpy(fd, CMSG_DATA(&control.head), sizeof(*fd));
    }
    if (*fd >= 0 && (msg.msg_flags & MSG_CTRUNC)) {
        close(*fd);
        *fd = -1;
    }
    return n;
}
