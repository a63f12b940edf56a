/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where this machine comes from: from nothing (fresh), from a saved state (-incoming), or from the
 * program before us that served it until now (inherited, docs/live-update.md). Whoever opens
 * something asks here, and so does not ask where from. What is handed on to a successor is written
 * by the same file that reads it.
 */
#ifndef DM_ORIGIN_H
#define DM_ORIGIN_H

#include <stdbool.h>

#include <glib.h>

struct arrival;
struct backend;
struct backend_set;
struct daemon;
struct handover;
struct hypervisor;
struct ioreq_server;
struct machine;
struct machine_desc;
struct object_desc;
struct qmp;
struct qmp_call;
struct hv_server;
struct xen_handles;

struct origin {
    int incoming_fd;             /* of the saved state; -1: it does not come from one */
    struct arrival *arrival;     /* of a program that is to take another's place, until it does */
    const struct handover *left; /* what that one leaves to us, until then */
    bool inherited;
};

/* The arrival was set before, by what main() found. */
void origin_init(struct origin *o, const struct machine_desc *desc);

/* The guest's memory is there already, video memory included. */
bool origin_is_restored(const struct origin *o);
bool origin_is_inherited(const struct origin *o);

/* Behind the sandbox line: what the program before us leaves; maybe only what can be built from. */
int origin_receive(struct origin *o, GError **err);
/* That is built. What the program before us leaves in the end, event channels included. */
int origin_receive_rest(struct origin *o, struct xen_handles *xen, struct ioreq_server *ioreq,
                        GError **err);

struct hv_server *origin_open_server(const struct origin *o, struct hypervisor *hv, GError **err);
/* Into the set, as described or as the program before us left it. */
struct backend *origin_open_backend(const struct origin *o, struct backend_set *set,
                                    const struct object_desc *desc, GError **err);
struct ioreq_server *origin_open_ioreq(const struct origin *o, const struct xen_handles *xen,
                                       struct machine *m, GError **err);
/* `call`: the command that waits for a live update, or NULL. */
int origin_open_monitors(const struct origin *o, struct qmp *qmp, const struct machine_desc *desc,
                         struct qmp_call **call, GError **err);

/* The machine's saved state, if it has one. */
int origin_load(const struct origin *o, struct machine *m, GError **err);

/*
 * All is built and loaded. The program before us lets us serve: from here on Xen is told, and the
 * machine goes on if it ran. Or it does not, and this process ends here.
 */
void origin_take_over(struct daemon *d);

/* What the successor's functions above read; QMP writes its own part. */
void origin_hand_over(const struct daemon *d, bool check, struct handover *h);

/* What Xen forwards to us, as text: how two programs talk of it. Read: struct xen_range. */
char *origin_ranges(const struct daemon *d);
GArray *origin_read_ranges(const char *text, GError **err);

#endif
