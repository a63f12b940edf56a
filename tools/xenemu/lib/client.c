/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One socket per library handle, as one descriptor per handle on Xen: it survives chroot, setuid
 * and namespaces, and a restriction bites where it does on Xen. Plain libc: these objects are
 * linked into libraries that any process may load.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "client.h"

static int client_connect(void)
{
    const char *path = getenv(XE_ENV_SOCKET);
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd, size = 1 << 20;

    if (!path || strlen(path) >= sizeof(sa.sun_path)) {
        /* The same errno as a machine without /dev/xen/privcmd. */
        errno = ENOENT;
        return -1;
    }
    strcpy(sa.sun_path, path);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
        int saved = errno;

        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static int client_send(int fd, const struct xe_req *req, const void *pay, size_t paylen)
{
    struct iovec iov[2] = {
        {.iov_base = (void *)(uintptr_t)req, .iov_len = sizeof(*req)},
        {.iov_base = (void *)(uintptr_t)pay, .iov_len = paylen},
    };
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = paylen ? 2 : 1};
    ssize_t r;

    do {
        r = sendmsg(fd, &msg, MSG_NOSIGNAL);
    } while (r < 0 && errno == EINTR);
    if (r < 0) {
        /* A handle that was replaced by /dev/null answers as the real one: no such ioctl. */
        if (errno == ENOTSOCK)
            errno = ENOTTY;
        return -1;
    }
    return 0;
}

static int client_receive(int fd, struct xe_rep *rep, void *rpay, size_t rmax, int *rfd)
{
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov[2] = {
        {.iov_base = rep, .iov_len = sizeof(*rep)},
        {.iov_base = rpay, .iov_len = rmax},
    };
    struct msghdr msg = {
        .msg_iov = iov,
        .msg_iovlen = rmax ? 2 : 1,
        .msg_control = control.buf,
        .msg_controllen = sizeof(control.buf),
    };
    struct cmsghdr *cm;
    ssize_t r;
    int got = -1;

    do {
        r = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    } while (r < 0 && errno == EINTR);
    if (r < (ssize_t)sizeof(*rep)) {
        if (r >= 0)
            errno = ENODEV; /* the host process is gone */
        return -1;
    }
    cm = CMSG_FIRSTHDR(&msg);
    if (cm && cm->cmsg_level == SOL_SOCKET && cm->cmsg_type == SCM_RIGHTS)
        memcpy(&got, CMSG_DATA(cm), sizeof(got));
    if (rfd)
        *rfd = got;
    else if (got >= 0)
        close(got);
    return 0;
}

int xe_call(struct xe_client *c, const struct xe_req *req, const void *pay, size_t paylen,
            struct xe_rep *rep, void *rpay, size_t rmax, int *fd)
{
    int r;

    if (fd)
        *fd = -1;
    pthread_mutex_lock(&c->lock);
    r = client_send(c->fd, req, pay, paylen);
    if (!r)
        r = client_receive(c->fd, rep, rpay, rmax, fd);
    pthread_mutex_unlock(&c->lock);
    if (r < 0)
        return -1;
    if (rep->ret < 0) {
        errno = -rep->ret;
        return -1;
    }
    return rep->ret;
}

int xe_send_oneway(struct xe_client *c, const struct xe_req *req, const void *pay, size_t paylen)
{
    int r;

    pthread_mutex_lock(&c->lock);
    r = client_send(c->fd, req, pay, paylen);
    pthread_mutex_unlock(&c->lock);
    return r;
}

int xe_simple(struct xe_client *c, uint32_t op, uint32_t domid, const uint64_t *args,
              unsigned int n)
{
    struct xe_req req = {.magic = XE_MAGIC, .op = op, .domid = domid};
    struct xe_rep rep;
    unsigned int i;

    for (i = 0; i < n && i < 6; i++)
        req.a[i] = args[i];
    return xe_call(c, &req, NULL, 0, &rep, NULL, 0, NULL);
}

int xe_client_init(struct xe_client *c, const char *lib)
{
    struct xe_req req = {.magic = XE_MAGIC, .op = XE_OP_HELLO};
    struct xe_rep rep;
    int saved;

    memset(c, 0, sizeof(*c));
    pthread_mutex_init(&c->lock, NULL);
    c->fd = client_connect();
    if (c->fd < 0)
        return -1;
    req.a[0] = (uint64_t)getpid();
    if (xe_call(c, &req, lib, strlen(lib), &rep, NULL, 0, NULL) < 0) {
        saved = errno;
        close(c->fd);
        errno = saved;
        return -1;
    }
    return 0;
}

void xe_client_fini(struct xe_client *c)
{
    struct xe_memfd *m, *next;

    for (m = c->memfds; m; m = next) {
        next = m->next;
        close(m->fd);
        free(m);
    }
    close(c->fd);
    pthread_mutex_destroy(&c->lock);
}

void *xe_client_open(size_t size, const char *lib,
                     int (*restrict_callback)(struct xe_active_handle *ah, uint16_t domid))
{
    struct xe_client *c = calloc(1, size);
    int saved;

    if (!c)
        return NULL;
    if (xe_client_init(c, lib) < 0) {
        saved = errno;
        free(c);
        errno = saved;
        return NULL;
    }
    c->tc.restrict_callback = restrict_callback;
    xentoolcore__register_active_handle(&c->tc);
    return c;
}

int xe_client_close(struct xe_client *c)
{
    if (!c)
        return 0;
    xentoolcore__deregister_active_handle(&c->tc);
    xe_client_fini(c);
    free(c);
    return 0;
}

int xe_memfd_get(struct xe_client *c, uint32_t domid)
{
    struct xe_req req = {.magic = XE_MAGIC, .op = XE_OP_DOMAIN_MEMFD, .domid = domid};
    struct xe_memfd *m;
    struct xe_rep rep;
    int fd;

    pthread_mutex_lock(&c->lock);
    for (m = c->memfds; m; m = m->next)
        if (m->domid == domid)
            break;
    pthread_mutex_unlock(&c->lock);
    if (m)
        return m->fd;
    if (xe_call(c, &req, NULL, 0, &rep, NULL, 0, &fd) < 0)
        return -1;
    m = malloc(sizeof(*m));
    if (!m) {
        close(fd);
        errno = ENOMEM;
        return -1;
    }
    m->domid = domid;
    m->fd = fd;
    pthread_mutex_lock(&c->lock);
    m->next = c->memfds;
    c->memfds = m;
    pthread_mutex_unlock(&c->lock);
    return fd;
}

int xe_restrict_rpc(struct xe_active_handle *ah, uint16_t domid)
{
    return xe_simple((struct xe_client *)ah, XE_OP_RESTRICT, domid, NULL, 0);
}

int xe_restrict_null(struct xe_active_handle *ah, uint16_t domid)
{
    (void)domid;
    return xentoolcore__restrict_by_dup2_null(((struct xe_client *)ah)->fd);
}

int xe_map_runs(struct xe_client *c, char *addr, int prot, const struct xe_run *runs,
                unsigned int n)
{
    unsigned int i;

    for (i = 0; i < n; i++) {
        const struct xe_run *r = &runs[i];
        int fd;

        if (r->err)
            continue;
        fd = xe_memfd_get(c, r->domid);
        if (fd < 0)
            return -1;
        if (mmap(addr + ((size_t)r->index << 12), (size_t)r->count << 12, prot,
                 MAP_SHARED | MAP_FIXED, fd, (off_t)r->off) == MAP_FAILED)
            return -1;
    }
    return 0;
}

/*
 * A function that only fails is worth one line, said where its user looks (the log of the device
 * model) and where the tests look (the host's list of missing functions).
 */
void xe_log_missing(const char *function)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const char *seen[64];
    struct xe_req req = {.magic = XE_MAGIC, .op = XE_OP_LOG};
    unsigned int i;
    int fd;

    pthread_mutex_lock(&lock);
    for (i = 0; i < 64 && seen[i]; i++)
        if (seen[i] == function)
            break;
    if (i < 64 && !seen[i]) {
        seen[i] = function;
        fprintf(stderr, "xenemu: %s is not implemented (ENOSYS)\n", function);
        fd = client_connect();
        if (fd >= 0) {
            client_send(fd, &req, function, strlen(function));
            close(fd);
        }
    }
    pthread_mutex_unlock(&lock);
    errno = ENOSYS;
}
