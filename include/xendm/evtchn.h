/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Event channels between front ends in the guest and us. They have a connection to Xen of their
 * own: however often a front end rings, ioreqs come by another one, and take turns with these in
 * the main loop. Implemented on libxenevtchn in dm/xen; unit tests link tests/unit/fake-pv.c.
 *
 * A port that rang is masked until evtchn_unmask(): further rings are one, which comes after it. So
 * whoever is not done with the work of a ring is not rung again.
 */
#ifndef XENDM_EVTCHN_H
#define XENDM_EVTCHN_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#define EVTCHN_PORTS_MAX 1024u

struct evtchn;

/* `fd`: the connection of the program before us, with its bindings (live update); -1: a new one. */
struct evtchn *evtchn_open(unsigned domid, int fd, GError **err);
/* Bindings end, unless another process has the connection, too. NULL is allowed. */
void evtchn_close(struct evtchn *e);
int evtchn_fd(const struct evtchn *e);

/* To the guest's port `remote`. Our port, or -errno. `rang` is called from the main loop. */
int evtchn_bind(struct evtchn *e, uint32_t remote, void (*rang)(void *opaque), void *opaque);
/* One of ours that is bound already, in a connection that was taken over; it may be masked. */
int evtchn_adopt(struct evtchn *e, unsigned port, void (*rang)(void *opaque), void *opaque);
void evtchn_unbind(struct evtchn *e, unsigned port);

void evtchn_notify(struct evtchn *e, unsigned port);
void evtchn_unmask(struct evtchn *e, unsigned port);

/* Nobody is called while it is paused; what rings meanwhile is told after it. */
void evtchn_pause(struct evtchn *e, bool paused);

#endif
