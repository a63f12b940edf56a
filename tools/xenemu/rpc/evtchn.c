/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations on event channels, and the stream that stands for /dev/xen/evtchn. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "../host/domain-life.h"
#include "../host/evtchn.h"
#include "../host/handle.h"
#include "connections.h"
#include "operations.h"

/* The process wrote to its stream, or the last process that had it closed it. */
static void stream_ready(struct host *h, struct source *s, uint32_t events)
{
    struct conn *c = (struct conn *)((char *)s - offsetof(struct conn, stream_src));

    if (!(events & (EPOLLHUP | EPOLLERR)))
        evtchn_stream_ready(h, c);
    else if (c->orphan)
        conn_close(h, c);
}

int op_evtchn_open(struct call *k)
{
    struct stat st;
    int sv[2];

    if (k->c->stream >= 0)
        return -EBUSY;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        return -errno;
    k->c->stream = sv[0];
    k->c->stream_inode = fstat(sv[1], &st) == 0 ? st.st_ino : 0;
    k->c->stream_src.fd = sv[0];
    k->c->stream_src.ready = stream_ready;
    host_watch(k->h, &k->c->stream_src, EPOLLONESHOT);
    k->fd = sv[1];
    return 0;
}

static int evtchn_allowed(struct call *k, uint32_t domid)
{
    if (k->c->stream < 0)
        return -EINVAL;
    return k->c->restrict_domid >= 0 && k->c->restrict_domid != domid ? -EACCES : 0;
}

int op_evtchn_unbound(struct call *k)
{
    int r = evtchn_allowed(k, (uint32_t)k->req->a[0]);
    struct port *p;

    if (r)
        return r;
    p = port_alloc_unbound(domain_find(k->h, 0), (uint32_t)k->req->a[0]);
    if (!p)
        return -ENOSPC;
    p->peer_efd = eventfd(0, EFD_CLOEXEC);
    if (p->peer_efd < 0) {
        port_free(p);
        return -EMFILE;
    }
    port_set_user(p, k->c);
    k->rep.a[0] = p->nr;
    k->fd = p->peer_efd;
    return 0;
}

int op_evtchn_interdomain(struct call *k)
{
    int r = evtchn_allowed(k, (uint32_t)k->req->a[0]);
    struct port *p;

    if (!r)
        r = port_bind_interdomain(domain_find(k->h, 0), (uint32_t)k->req->a[0],
                                  (uint32_t)k->req->a[1], &p);
    if (r)
        return r;
    port_set_user(p, k->c);
    k->rep.a[0] = p->nr;
    k->fd = port_peer(p)->src.fd;
    port_deliver(p); /* Xen marks a fresh binding pending, so that no early event is lost */
    return 0;
}

int op_evtchn_virq(struct call *k)
{
    struct port *p;

    if (k->c->stream < 0)
        return -EINVAL;
    if (k->c->restrict_domid >= 0)
        return -EACCES;
    p = port_alloc(domain_find(k->h, 0));
    if (!p)
        return -ENOSPC;
    p->state = PORT_VIRQ;
    p->virq = (uint32_t)k->req->a[0];
    port_set_user(p, k->c);
    k->rep.a[0] = p->nr;
    k->fd = p->src.fd;
    return 0;
}

int op_evtchn_unbind(struct call *k)
{
    struct port *p = port_get(domain_find(k->h, 0), (uint32_t)k->req->a[0]);

    if (!p || p->user != k->c)
        return -ENOTCONN;
    port_free(p);
    return 0;
}

int op_evtchn_notify(struct call *k)
{
    struct port *p = port_get(domain_find(k->h, 0), (uint32_t)k->req->a[0]);

    if (!p || p->user != k->c)
        return -ENOTCONN;
    port_notify_peer(p);
    return 0;
}

/*
 * xenevtchn_fdopen() in a process that inherited the descriptor: on Xen the bindings are the open
 * file's, here they move from the connection that had them.
 */
int op_evtchn_adopt(struct call *k)
{
    struct conn *old = NULL, *c = k->c;
    unsigned int i;

    if (c->stream >= 0)
        return -EBUSY;
    for (i = 0; i < k->h->conns->len && !old; i++) {
        struct conn *o = g_ptr_array_index(k->h->conns, i);

        if (o->stream >= 0 && o->stream_inode == k->req->a[0])
            old = o;
    }
    if (!old || !k->req->a[0])
        return -EBADF;
    host_unwatch(k->h, &old->stream_src);
    c->stream = c->stream_src.fd = old->stream;
    c->stream_inode = old->stream_inode;
    c->stream_src.ready = stream_ready;
    c->restrict_domid = old->restrict_domid;
    memcpy(c->partial, old->partial, sizeof(c->partial));
    c->partial_len = old->partial_len;
    old->stream = old->stream_src.fd = -1;
    while (old->ports->len) {
        struct port *p = g_ptr_array_steal_index(old->ports, 0);

        port_set_user(p, c);
    }
    host_watch(k->h, &c->stream_src, EPOLLIN | EPOLLONESHOT); /* what was held back is looked at */
    c->stream_armed = true;
    if (old->orphan)
        conn_close(k->h, old);
    k->rep.a[0] = c->ports->len;
    return 0;
}

int op_evtchn_port(struct call *k)
{
    struct port *p, *peer;

    if (k->req->a[0] >= k->c->ports->len)
        return -ENOENT;
    p = g_ptr_array_index(k->c->ports, k->req->a[0]);
    peer = port_peer(p);
    k->rep.a[0] = p->nr;
    k->fd = p->state == PORT_VIRQ ? p->src.fd : peer ? peer->src.fd : p->peer_efd;
    return 0;
}
