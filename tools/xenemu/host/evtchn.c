/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Event channels. A port that a process owns reaches it as a 4-byte number on the stream that
 * stands for /dev/xen/evtchn and stays masked until the process writes the number back; events
 * meanwhile merge into one. What the process notifies is an eventfd of the other end: an ioreq wait
 * reads it directly, any other end is served by the main loop.
 *
 * Unmask writes are read lazily, by whoever next wants to send on that stream, so that they cost no
 * wake-up of this process; only while an event is held back by a mask does the main loop watch for
 * them.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../faults/faults.h"
#include "domain-life.h"
#include "domain.h"
#include "handle.h"

#define MAX_PORTS 4096u

static void port_efd_ready(struct host *h, struct source *s, uint32_t events)
{
    struct port *p = (struct port *)((char *)s - offsetof(struct port, src));
    uint64_t v;

    (void)h, (void)events;
    if (read(s->fd, &v, sizeof(v)) == (ssize_t)sizeof(v))
        port_deliver(p);
}

struct port *port_get(struct domain *d, uint32_t nr)
{
    return nr && nr < d->ports->len ? g_ptr_array_index(d->ports, nr) : NULL;
}

struct port *port_alloc(struct domain *d)
{
    struct port *p;
    uint32_t nr;

    if (!d->ports->len)
        g_ptr_array_add(d->ports, NULL); /* port 0 is never valid */
    for (nr = 1; nr < d->ports->len; nr++)
        if (!g_ptr_array_index(d->ports, nr))
            break;
    if (nr >= MAX_PORTS)
        return NULL;
    p = g_new0(struct port, 1);
    p->dom = d;
    p->nr = nr;
    p->peer_efd = -1;
    p->src.fd = eventfd(0, EFD_CLOEXEC);
    p->src.ready = port_efd_ready;
    if (p->src.fd < 0) {
        g_free(p);
        return NULL;
    }
    if (nr == d->ports->len)
        g_ptr_array_add(d->ports, p);
    else
        g_ptr_array_index(d->ports, nr) = p;
    return p;
}

struct port *port_alloc_unbound(struct domain *d, uint32_t remote_domid)
{
    struct port *p = port_alloc(d);

    if (p) {
        p->state = PORT_UNBOUND;
        p->remote_domid = remote_domid;
    }
    return p;
}

struct port *port_peer(struct port *p)
{
    struct domain *rd;
    struct port *r;

    if (p->state != PORT_INTERDOMAIN)
        return NULL;
    rd = domain_find(p->dom->host, p->remote_domid);
    r = rd ? port_get(rd, p->remote_port) : NULL;
    if (!r || r->state != PORT_INTERDOMAIN || r->remote_domid != p->dom->id ||
        r->remote_port != p->nr)
        return NULL;
    return r;
}

/* Served by the main loop unless an ioreq wait reads the eventfd itself. */
static void port_watch(struct port *p)
{
    if (!p->xen && !p->watched) {
        p->watched = true;
        host_watch(p->dom->host, &p->src, EPOLLIN);
    }
}

static void port_unwatch(struct port *p)
{
    if (p->watched) {
        p->watched = false;
        host_unwatch(p->dom->host, &p->src);
    }
}

void port_set_user(struct port *p, struct conn *c)
{
    p->user = c;
    g_ptr_array_add(c->ports, p);
}

void port_free(struct port *p)
{
    struct port *r = port_peer(p);

    if (r) {
        /* The other end stays, unbound, as when a domain closes its port. */
        r->state = PORT_UNBOUND;
        r->remote_domid = p->dom->id;
        r->remote_port = 0;
        if (r->xen && !p->dom->host->quit) {
            struct domain *rd = r->dom;
            unsigned int i;

            for (i = 0; i < XE_MAX_SERVERS; i++) {
                struct server *s = rd->server[i];
                unsigned int v;

                for (v = 0; s && v < rd->nr_vcpus; v++)
                    if (s->vport[v] == r && rd->vcpu[v].waiting == s)
                        ioreq_abort_waiters(rd, s, "the device model closed the event channel");
            }
        }
    }
    port_unwatch(p);
    if (p->user)
        g_ptr_array_remove_fast(p->user->ports, p);
    g_ptr_array_index(p->dom->ports, p->nr) = NULL;
    close(p->src.fd);
    p->src.fd = -1;
    if (p->peer_efd >= 0)
        close(p->peer_efd);
    g_ptr_array_add(p->dom->host->graveyard, p);
}

int port_bind_interdomain(struct domain *d, uint32_t remote_domid, uint32_t remote_port,
                          struct port **out)
{
    struct domain *rd = domain_find(d->host, remote_domid);
    struct port *r, *p;

    if (!rd)
        return -ESRCH;
    r = port_get(rd, remote_port);
    if (!r || r->state != PORT_UNBOUND || r->remote_domid != d->id)
        return -EINVAL;
    p = port_alloc(d);
    if (!p)
        return -ENOSPC;
    if (r->peer_efd >= 0) { /* the other end already notifies this descriptor */
        close(p->src.fd);
        p->src.fd = r->peer_efd;
        r->peer_efd = -1;
    }
    p->state = r->state = PORT_INTERDOMAIN;
    p->remote_domid = remote_domid;
    p->remote_port = remote_port;
    r->remote_port = p->nr;
    port_watch(p);
    port_watch(r);
    *out = p;
    return 0;
}

void port_notify_peer(struct port *p)
{
    struct port *r = port_peer(p);
    uint64_t one = 1;

    if (!r)
        return;
    if (r->xen) {
        if (write(r->src.fd, &one, sizeof(one)) < 0)
            host_log(p->dom->host, "eventfd: %s", strerror(errno));
    } else {
        port_deliver(r);
    }
}

static void evtchn_arm(struct host *h, struct conn *c)
{
    if (!c->stream_armed) {
        c->stream_armed = true;
        host_rewatch(h, &c->stream_src, EPOLLIN | EPOLLONESHOT);
    }
}

static void port_send(struct port *p)
{
    uint32_t nr = p->nr;

    p->masked = true;
    p->pending = false;
    if (send(p->user->stream, &nr, sizeof(nr), MSG_DONTWAIT | MSG_NOSIGNAL) !=
            (ssize_t)sizeof(nr) &&
        errno != EPIPE)
        host_log(p->dom->host, "d%u port %u: event lost: %s", p->dom->id, nr, strerror(errno));
}

void evtchn_drain(struct host *h, struct conn *c)
{
    struct domain *dom0 = domain_find(h, 0);
    uint8_t buf[1024];
    ssize_t n;

    while ((n = recv(c->stream, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
        ssize_t i;

        for (i = 0; i < n; i++) {
            uint32_t nr;
            struct port *p;

            c->partial[c->partial_len++] = buf[i];
            if (c->partial_len < 4)
                continue;
            c->partial_len = 0;
            memcpy(&nr, c->partial, 4);
            p = port_get(dom0, nr);
            if (!p || p->user != c || !p->masked)
                continue;
            p->masked = false;
            if (p->pending)
                port_send(p);
        }
    }
}

void evtchn_stream_ready(struct host *h, struct conn *c)
{
    unsigned int i;

    c->stream_armed = false;
    evtchn_drain(h, c);
    for (i = 0; i < c->ports->len; i++)
        if (((struct port *)g_ptr_array_index(c->ports, i))->pending) {
            evtchn_arm(h, c);
            break;
        }
}

void port_deliver(struct port *p)
{
    struct host *h = p->dom->host;

    p->events++;
    if (p == p->dom->monitor.port) {
        monitor_answered(p->dom);
        return;
    }
    if (!p->user) {
        p->pending = true;
        pthread_cond_broadcast(&h->idle);
        if (p->dom->id)
            host_event(h, p->dom, EVENT_EVTCHN, "EVTCHN %u", p->nr);
        return;
    }
    if (fault_event(h->faults))
        return;
    if (p->masked)
        evtchn_drain(h, p->user);
    if (p->masked) {
        p->pending = true;
        evtchn_arm(h, p->user);
        return;
    }
    port_send(p);
}
