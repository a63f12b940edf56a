/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into a program: calls of the C library's that fail as the file FAIL_FILE says, at any
 * time: "NUMBER CALL ERRNO FROM UNTIL", the calls of that kind counted from when NUMBER changed.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define FILE_SIZE 64

static const char *volatile plan;

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("FAIL_FILE");
    int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    void *at = fd >= 0 ? mmap(NULL, FILE_SIZE, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

    plan = at == MAP_FAILED ? NULL : at;
    if (fd >= 0) {
        close(fd);
    }
    unsetenv("LD_PRELOAD"); /* what it starts is not meant */
}

static int fails(const char *call)
{
    static int last, calls;
    int number, error, from, until;
    char which[16];

    if (!plan || sscanf(plan, "%d %15s %d %d %d", &number, which, &error, &from, &until) != 5 ||
        strcmp(which, call) != 0) {
        return 0;
    }
    calls = number == last ? calls + 1 : 1;
    last = number;
    if (calls < from || calls > until) {
        return 0;
    }
    errno = error;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

pid_t fork(void)
{
    return fails("fork") ? -1 : REAL(fork)();
}

int pipe2(int pair[2], int flags)
{
    return fails("pipe2") ? -1 : REAL(pipe2)(pair, flags);
}

char *mkdtemp(char *template)
{
    return fails("mkdtemp") ? NULL : REAL(mkdtemp)(template);
}

int socket(int domain, int type, int protocol)
{
    return fails("socket") ? -1 : REAL(socket)(domain, type, protocol);
}

int bind(int fd, const struct sockaddr *address, socklen_t len)
{
    return fails("bind") ? -1 : REAL(bind)(fd, address, len);
}

int listen(int fd, int backlog)
{
    return fails("listen") ? -1 : REAL(listen)(fd, backlog);
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
    return fails("connect") ? -1 : REAL(connect)(fd, address, len);
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    return fails("send") ? -1 : REAL(send)(fd, data, size, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    return fails("sendmsg") ? -1 : REAL(sendmsg)(fd, msg, flags);
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
    return fails("recv") ? -1 : REAL(recv)(fd, data, size, flags);
}

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
    return fails("ppoll") ? -1 : REAL(ppoll)(fds, count, timeout, mask);
}
