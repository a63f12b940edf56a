/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libxenevtchn.so.1. The descriptor handed out keeps the ABI of /dev/xen/evtchn: read() gives
 * pending ports as 4-byte numbers (many per read), a port that fired stays masked until it is
 * written back. A notify is one write() on the eventfd that came with the binding: what the other
 * end waits for.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xenevtchn.h>
#include "client.h"

struct xenevtchn_handle {
    struct xe_client client; /* must be first */
    int fd;                  /* the stream */
    pthread_mutex_t lock;    /* guards the table */
    int *port_fd;            /* by local port; -1 = not bound here */
    unsigned int nr_ports;
};

static int evtchn_bind(xenevtchn_handle *h, uint32_t op, uint64_t a0, uint64_t a1);

/*
 * The real library needs nothing but the descriptor for xenevtchn_fdopen(), so a device model calls
 * it behind a filter of system calls without socket(). Ours wants a connection: one that is going
 * to take over has one made with each xenevtchn_open(), while it still may.
 */
#define SPARES 4
static int spare[SPARES];
static unsigned int nr_spares;

static int takes_over(void)
{
    char line[65536];
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line));

    if (fd >= 0)
        close(fd);
    return n > 0 && memmem(line, (size_t)n, "--update-from", strlen("--update-from")) != NULL;
}

static int take_spare(struct xe_client *c)
{
    if (nr_spares == 0)
        return xe_client_init(c, "xenevtchn");
    memset(c, 0, sizeof(*c));
    pthread_mutex_init(&c->lock, NULL);
    c->fd = spare[--nr_spares];
    return 0;
}

static void make_spare(void)
{
    struct xe_client c;

    if (nr_spares < SPARES && takes_over() && xe_client_init(&c, "xenevtchn") == 0)
        spare[nr_spares++] = c.fd;
}

xenevtchn_handle *xenevtchn_open(struct xentoollog_logger *logger, unsigned int flags)
{
    struct xe_req req = {.magic = XE_MAGIC, .op = XE_OP_EVTCHN_OPEN};
    struct xenevtchn_handle *h = calloc(1, sizeof(*h));
    struct xe_rep rep;
    int saved;

    (void)logger;
    if (!h)
        return NULL;
    if (xe_client_init(&h->client, "xenevtchn") < 0)
        goto fail;
    pthread_mutex_init(&h->lock, NULL);
    if (xe_call(&h->client, &req, NULL, 0, &rep, NULL, 0, &h->fd) < 0 || h->fd < 0) {
        saved = errno;
        xe_client_fini(&h->client);
        errno = saved;
        goto fail;
    }
    make_spare();
    if (flags & 1) /* XENEVTCHN_NO_CLOEXEC */
        fcntl(h->fd, F_SETFD, 0);
    h->client.tc.restrict_callback = xe_restrict_rpc;
    xentoolcore__register_active_handle(&h->client.tc);
    return h;

fail:
    saved = errno;
    free(h);
    errno = saved;
    return NULL;
}

xenevtchn_handle *xenevtchn_fdopen(struct xentoollog_logger *logger, int fd,
                                   unsigned int open_flags)
{
    struct xenevtchn_handle *h;
    struct xe_rep rep = {.ret = 0};
    struct xe_req req = {.magic = XE_MAGIC, .op = XE_OP_EVTCHN_ADOPT};
    struct stat st;
    uint64_t count;
    int saved;

    (void)logger;
    if (open_flags) {
        errno = EINVAL;
        return NULL;
    }
    if (fstat(fd, &st) < 0)
        return NULL;
    h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    if (take_spare(&h->client) < 0) {
        free(h);
        return NULL;
    }
    pthread_mutex_init(&h->lock, NULL);
    req.a[0] = st.st_ino;
    if (xe_call(&h->client, &req, NULL, 0, &rep, NULL, 0, NULL) < 0)
        goto fail;
    count = rep.a[0];
    for (uint64_t i = 0; i < count; i++)
        if (evtchn_bind(h, XE_OP_EVTCHN_PORT, i, 0) < 0)
            goto fail;
    h->fd = fd;
    h->client.tc.restrict_callback = xe_restrict_rpc;
    xentoolcore__register_active_handle(&h->client.tc);
    return h;

fail:
    saved = errno;
    for (unsigned int i = 0; i < h->nr_ports; i++)
        if (h->port_fd[i] >= 0)
            close(h->port_fd[i]);
    free(h->port_fd);
    xe_client_fini(&h->client);
    free(h);
    errno = saved;
    return NULL;
}

int xenevtchn_close(xenevtchn_handle *h)
{
    unsigned int i;

    if (!h)
        return 0;
    xentoolcore__deregister_active_handle(&h->client.tc);
    for (i = 0; i < h->nr_ports; i++)
        if (h->port_fd[i] >= 0)
            close(h->port_fd[i]);
    free(h->port_fd);
    close(h->fd);
    xe_client_fini(&h->client);
    pthread_mutex_destroy(&h->lock);
    free(h);
    return 0;
}

int xenevtchn_fd(xenevtchn_handle *h)
{
    return h->fd;
}

int xenevtchn_restrict(xenevtchn_handle *h, domid_t domid)
{
    return xe_restrict_rpc(&h->client.tc, domid);
}

static int evtchn_bind(xenevtchn_handle *h, uint32_t op, uint64_t a0, uint64_t a1)
{
    struct xe_req req = {.magic = XE_MAGIC, .op = op, .a = {a0, a1}};
    struct xe_rep rep;
    unsigned int port;
    int fd;

    if (xe_call(&h->client, &req, NULL, 0, &rep, NULL, 0, &fd) < 0)
        return -1;
    port = (unsigned int)rep.a[0];
    pthread_mutex_lock(&h->lock);
    if (port >= h->nr_ports) {
        unsigned int i, n = port + 64;
        int *t = realloc(h->port_fd, n * sizeof(*t));

        if (!t) {
            pthread_mutex_unlock(&h->lock);
            close(fd);
            errno = ENOMEM;
            return -1;
        }
        for (i = h->nr_ports; i < n; i++)
            t[i] = -1;
        h->port_fd = t;
        h->nr_ports = n;
    }
    h->port_fd[port] = fd;
    pthread_mutex_unlock(&h->lock);
    return (int)port;
}

xenevtchn_port_or_error_t xenevtchn_bind_unbound_port(xenevtchn_handle *h, uint32_t domid)
{
    return evtchn_bind(h, XE_OP_EVTCHN_UNBOUND, domid, 0);
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *h, uint32_t domid,
                                                     evtchn_port_t remote_port)
{
    return evtchn_bind(h, XE_OP_EVTCHN_INTERDOMAIN, domid, remote_port);
}

xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle *h, unsigned int virq)
{
    return evtchn_bind(h, XE_OP_EVTCHN_VIRQ, virq, 0);
}

int xenevtchn_unbind(xenevtchn_handle *h, evtchn_port_t port)
{
    uint64_t a[1] = {port};
    int r = xe_simple(&h->client, XE_OP_EVTCHN_UNBIND, 0, a, 1);

    if (r < 0)
        return -1;
    pthread_mutex_lock(&h->lock);
    if (port < h->nr_ports && h->port_fd[port] >= 0) {
        close(h->port_fd[port]);
        h->port_fd[port] = -1;
    }
    pthread_mutex_unlock(&h->lock);
    return 0;
}

int xenevtchn_notify(xenevtchn_handle *h, evtchn_port_t port)
{
    static const uint64_t one = 1;
    int fd;

    pthread_mutex_lock(&h->lock);
    fd = port < h->nr_ports ? h->port_fd[port] : -1;
    pthread_mutex_unlock(&h->lock);
    if (fd < 0) {
        errno = ENOTCONN;
        return -1;
    }
    return write(fd, &one, sizeof(one)) == (ssize_t)sizeof(one) ? 0 : -1;
}

xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *h)
{
    evtchn_port_t port;
    ssize_t r = read(h->fd, &port, sizeof(port));

    if (r != (ssize_t)sizeof(port)) {
        if (r >= 0)
            errno = EIO;
        return -1;
    }
    return (int)port;
}

int xenevtchn_unmask(xenevtchn_handle *h, evtchn_port_t port)
{
    return write(h->fd, &port, sizeof(port)) == (ssize_t)sizeof(port) ? 0 : -1;
}
