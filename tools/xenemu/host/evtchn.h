/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event channels. */
#ifndef XENEMU_EVTCHN_H
#define XENEMU_EVTCHN_H

#include <stdbool.h>
#include <stdint.h>
#include "loop.h"

struct conn;

enum port_state { PORT_FREE, PORT_UNBOUND, PORT_INTERDOMAIN, PORT_VIRQ };

struct port {
    struct source src; /* fd = eventfd that the other end writes */
    struct domain *dom;
    uint32_t nr;
    enum port_state state;
    uint32_t remote_domid, remote_port;
    uint32_t virq;
    struct conn *user; /* the handle that owns it; NULL = the guest or Xen */
    bool xen;          /* consumer is an ioreq wait in this process */
    bool watched;
    bool masked, pending;
    int peer_efd; /* unbound: the eventfd that the later peer adopts */
    uint64_t events;
};

struct port *port_alloc(struct domain *d);
void port_free(struct port *p);
struct port *port_get(struct domain *d, uint32_t nr);
struct port *port_alloc_unbound(struct domain *d, uint32_t remote_domid);
int port_bind_interdomain(struct domain *d, uint32_t remote_domid, uint32_t remote_port,
                          struct port **out);
struct port *port_peer(struct port *p);
void port_notify_peer(struct port *p);
void port_deliver(struct port *p);
void port_set_user(struct port *p, struct conn *c);
/* Takes in what the handle has written. */
void evtchn_drain(struct host *h, struct conn *c);
/* The handle wrote numbers of ports to unmask. */
void evtchn_stream_ready(struct host *h, struct conn *c);

#endif
