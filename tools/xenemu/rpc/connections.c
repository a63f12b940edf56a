/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections of the drop-in libraries: a request comes, is allowed or not, and is answered. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../faults/faults.h"
#include "../host/domain-life.h"
#include "../host/domain.h"
#include "../host/handle.h"
#include "connections.h"
#include "operations.h"

static int call_run(struct call *k, const struct operation *o)
{
    const struct xe_req *req = k->req;
    int64_t only = k->c->restrict_domid;
    int r;

    if (o->flags & PRIVILEGED && only >= 0)
        return -EPERM;
    if (o->flags & (NEED_DOMAIN | DM_OP)) {
        if (only >= 0 && only != req->domid)
            return -EACCES;
        k->d = req->domid ? domain_find(k->h, req->domid) : NULL;
        if (!k->d || k->d->dying)
            return -ESRCH;
    }
    if (o->flags & DM_OP)
        k->c->is_dm = true;
    r = fault_call(k->h->faults, o->op);
    return r ? r : o->run(k);
}

static void conn_reply(struct call *k)
{
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.buf = {0}};
    struct iovec iov[2] = {
        {.iov_base = &k->rep, .iov_len = sizeof(k->rep)},
        {.iov_base = k->out, .iov_len = k->outlen},
    };
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = k->outlen ? 2 : 1};

    if (k->fd >= 0) {
        struct cmsghdr *cm;

        msg.msg_control = control.buf;
        msg.msg_controllen = sizeof(control.buf);
        cm = CMSG_FIRSTHDR(&msg);
        cm->cmsg_level = SOL_SOCKET;
        cm->cmsg_type = SCM_RIGHTS;
        cm->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cm), &k->fd, sizeof(int));
    }
    if (sendmsg(k->c->src.fd, &msg, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
        host_log(k->h, "reply to %s: %s", k->c->lib, strerror(errno));
}

static void conn_ready(struct host *h, struct source *s, uint32_t events)
{
    static uint8_t in[sizeof(struct xe_req) + XE_PAYLOAD_MAX + 64] __attribute__((aligned(16)));
    static uint8_t out[XE_PAYLOAD_MAX + 64] __attribute__((aligned(16)));
    struct conn *c = (struct conn *)s;
    const struct operation *o = NULL;
    struct xe_req req;
    ssize_t n = recv(s->fd, in, sizeof(in), MSG_DONTWAIT);
    struct call k = {.h = h, .c = c, .req = &req, .fd = -1, .out = out};

    if (n < 0 && (errno == EAGAIN || errno == EINTR) && !(events & (EPOLLHUP | EPOLLERR)))
        return;
    if (n < (ssize_t)sizeof(req)) {
        conn_close(h, c);
        return;
    }
    memcpy(&req, in, sizeof(req));
    k.pay = in + sizeof(req);
    k.paylen = (size_t)n - sizeof(req);
    c->calls++;
    if (req.magic == XE_MAGIC)
        o = operation_find(req.op);
    g_hash_table_insert(
        h->op_count, GUINT_TO_POINTER(req.op),
        GUINT_TO_POINTER(
            GPOINTER_TO_UINT(g_hash_table_lookup(h->op_count, GUINT_TO_POINTER(req.op))) + 1));
    k.rep.ret = o ? call_run(&k, o) : -ENOSYS;
    if (o && o->flags & ONE_WAY)
        return;
    if (k.rep.ret < 0) {
        /* What was mapped so far stays for the unmap that the library sends; nothing goes out. */
        k.rep.n = 0;
        k.outlen = 0;
        k.fd = -1;
    }
    conn_reply(&k);
    if (req.op == XE_OP_EVTCHN_OPEN && k.fd >= 0)
        close(k.fd);
}

void conn_new(struct host *h, int fd)
{
    struct conn *c = g_new0(struct conn, 1);
    int size = 1 << 20;

    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    c->src.fd = fd;
    c->src.ready = conn_ready;
    c->lib = g_strdup("?");
    c->restrict_domid = -1;
    c->stream = -1;
    c->stream_src.fd = -1;
    c->ports = g_ptr_array_new();
    g_ptr_array_add(h->conns, c);
    host_watch(h, &c->src, EPOLLIN);
}

static bool stream_is_open(const struct conn *c)
{
    struct pollfd p = {.fd = c->stream};

    return c->stream >= 0 && poll(&p, 1, 0) >= 0 && !(p.revents & (POLLHUP | POLLERR));
}

static void conn_close_handle(struct host *h, struct conn *c)
{
    mapping_drop_conn(h, c);
    host_unwatch(h, &c->src);
    close(c->src.fd);
    c->src.fd = -1;
}

void conn_close(struct host *h, struct conn *c)
{
    if (!c->orphan && stream_is_open(c)) {
        conn_close_handle(h, c);
        c->orphan = true;
        host_rewatch(h, &c->stream_src, EPOLLIN | EPOLLONESHOT);
        c->stream_armed = true;
        return;
    }
    if (c->ports->len && h->left->len < 4096)
        g_ptr_array_add(h->left,
                        g_strdup_printf("%u %s: %u event channels", c->pid, c->lib, c->ports->len));
    while (c->ports->len)
        port_free(g_ptr_array_index(c->ports, 0));
    if (c->src.fd >= 0)
        conn_close_handle(h, c);
    if (c->stream >= 0) {
        host_unwatch(h, &c->stream_src);
        close(c->stream);
        c->stream = c->stream_src.fd = -1;
    }
    g_ptr_array_remove_fast(h->conns, c);
    g_ptr_array_free(c->ports, TRUE);
    g_free(c->lib);
    g_ptr_array_add(h->graveyard, c);
}
