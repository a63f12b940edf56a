/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ioreq server: pages, event channels, and the loop that answers the guest's accesses. What a
 * request means is in ioreq-core.h.
 *
 * A machine that stands still (before the first cont, after stop) holds the guest's requests back:
 * the vCPU waits in Xen, and is served after resume. QEMU disables its server instead, and then
 * reads are all ones and writes are lost, should a vCPU still run. Nothing hangs on this under
 * libxl, which suspends the guest before it sends stop: no vCPU has a request then. Map cache
 * invalidations are answered always.
 */
#ifndef DM_IOREQ_H
#define DM_IOREQ_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

struct facts;
struct ioreq_server;
struct machine;
struct xen_handles;

/*
 * Maps the pages, binds the event channels, enables the server and serves from the default main
 * context; holding, until ioreq_server_resume(). It is the machine's server. The machine must be
 * complete: what the guest accesses from now on is not lost.
 */
struct ioreq_server *ioreq_server_open(const struct xen_handles *xen, struct machine *machine,
                                       GError **err);
void ioreq_server_close(struct ioreq_server *server);

/*
 * Live update: goes on with a server that is enabled and whose event channels are bound to a
 * descriptor that is inherited, and that ioreq_server_listen() takes, once. ports: local ports, of
 * the buffered ring first, then one per vCPU.
 */
struct ioreq_server *ioreq_server_adopt(const struct xen_handles *xen, struct machine *machine,
                                        const unsigned *ports, size_t count, GError **err);
void ioreq_server_listen(struct ioreq_server *server, const struct xen_handles *xen);
unsigned *ioreq_server_ports(const struct ioreq_server *server, size_t *count); /* g_free() */
/* Closes our side of it: the server and its event channels go on, another program has them. */
void ioreq_server_leave(struct ioreq_server *server);

/*
 * Before machine_stop(): serves what is there (posted writes are part of the guest's state), then
 * holds. After machine_start(): resume. Not from within a device's register access.
 */
void ioreq_server_pause(struct ioreq_server *server);
void ioreq_server_resume(struct ioreq_server *server);

/*
 * Something else that may have finished and is cheap to look at, such as disk I/O: asked before the
 * server waits and while it looks for the next request, so that a guest that polls for the end of a
 * transfer sees it without a turn of the main loop. True if it did something.
 */
void ioreq_server_set_poll(struct ioreq_server *server, bool (*poll)(void));

/* What requests there were; dm/ioreq/request.c counts. */
struct ioreq_counters {
    uint64_t pio_reads, pio_writes, mmio_reads, mmio_writes, config_reads, config_writes;
    /* requests with data in guest memory or repeated; their units */
    uint64_t strings, string_units;
    uint64_t string_turns;  /* times one of them was left because its time was up */
    uint64_t string_faults; /* parts of them whose memory was not there */
    uint64_t string_pauses; /* times one of them waited until the host could map its memory */
    uint64_t time_offsets, invalidates;
    uint64_t buffered, ring_resyncs;
    uint64_t bad;
    /* times a request was found while the machine stood still */
    uint64_t held;
    uint64_t delayed; /* accesses whose device held, so that the answer came later */
    uint64_t waited;  /* times a request was found whose device was held by another */
};

struct ioreq_server_counters {
    struct ioreq_counters requests;
    uint64_t wakes;      /* turns of the loop that an event started */
    uint64_t idle_wakes; /* … and that found nothing */
    uint64_t ports;      /* events taken; more than one a wake is a batch */
    uint64_t notifies;
    uint64_t spins, spin_hits; /* waits for another request, and how many of them got one */
    uint64_t full_turns;       /* turns that ended because others must have theirs */
    unsigned batch_max;        /* most requests in one turn */
};
void ioreq_server_counters(const struct ioreq_server *server, struct ioreq_server_counters *out);
/* For `info ioreq` and the status page. */
void ioreq_server_describe(const struct ioreq_server *server, struct facts *to);

#endif
