/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon says of itself: a topic at a time for `info`, and all of it in the status page
 * (xendm/status.h) for those who cannot ask it.
 */
#ifndef DM_STATUS_H
#define DM_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include <xendm/machine-desc.h>
#include <xendm/machine.h>

struct backend_set;
struct facts;
struct guestmem;
struct hypervisor;
struct ioreq_server;
struct pv_bus;

/* ---- topics ---- */

struct status_parts {
    enum machine_type type;        /* which there are */
    const struct machine *machine; /* NULL: none */
    enum machine_state state;
    const char *doing; /* what is under way besides: "stop", "live update"; NULL: nothing */
    bool started;      /* it ran once */
    bool incoming;     /* it is, or was, received from elsewhere */
    bool saved;        /* since it was stopped: somebody has its state */
    struct backend_set *backends;
    const struct ioreq_server *ioreq;
    const struct hypervisor *hv;
    const struct guestmem *memory;
    const struct pv_bus *pv; /* NULL: PV devices are not served */
};

/* false: there is no such topic, or not the part. */
bool status_describe(const struct status_parts *parts, const char *topic, struct facts *to);

/* Machine, topics and every back end, a group each; those of PV devices are their own. */
void status_describe_all(const struct status_parts *parts, struct facts *to);

/* ---- the page ---- */

struct status;

/*
 * A new page, which needs names and rights. NULL, and a line in the log, when there can be none: a
 * guest is served without it. Pages that nobody needs any more are removed on the way.
 */
struct status *status_open(unsigned domid, const char *name);
/* The page of the program before us, which serves still; takes `fd` over. */
struct status *status_adopt(int fd);
int status_fd(const struct status *status); /* NULL: -1 */

/* From here on it is ours: the recorder and the turns go there, and what `collect` says. */
void status_serve(struct status *status, void (*collect)(void *opaque, struct facts *to),
                  void *opaque);

/*
 * Before each sleep of the loop: writes when it is time. Milliseconds until it wants to be asked
 * again, -1: not before something else happens.
 */
int status_refresh(struct status *status);

/* Ends our part. `finished`: the guest needs no device model any more. NULL is allowed. */
void status_close(struct status *status, bool finished);

#endif
