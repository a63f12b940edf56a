/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon: what main() puts together from the machine description, and its life. What there is
 * of it is said by its kind (xendm/instance.h). Order of start-up (docs/security.md): parse, open
 * everything, build the machine, create and enable the ioreq server, drop privileges, say that we
 * are running, serve.
 */
#ifndef DM_DAEMON_H
#define DM_DAEMON_H

#include <stdbool.h>

#include <glib.h>

#include <xendm/machine-desc.h>
#include <xendm/machine.h>

#include "origin.h"

struct backend_set;
struct display;
struct evtchn;
struct foreign;
struct grants;
struct guestmem;
struct handover;
struct input;
struct pv_bus;
struct pv_class;
struct qmp_call;
struct update;
struct ioreq_server;
struct sandbox;
struct status;
struct status_parts;
struct xen_domain_info;
struct xen_handles;
struct xenstore;

struct daemon {
    const struct machine_desc *desc;
    struct origin origin;
    struct xen_handles *xen;
    struct hypervisor *hv;
    struct hv_server *server;
    struct guestmem *memory;
    struct xenstore *xenstore;
    struct vclock *clock;
    struct machine *machine; /* NULL, as others here: this kind of instance has none */
    struct ioreq_server *ioreq;
    struct sandbox *sandbox;
    struct status *status; /* NULL: there is no page */
    struct xen_domain_info *info;
    struct display *display; /* the one head: the machine's, or the instance's own; NULL: none */
    struct input *input;
    enum machine_state state; /* without a machine: the instance's */
    struct vnc *vnc;          /* NULL: none asked for */
    struct backend_set *backends;
    struct pv_bus *pv; /* NULL: PV devices are not served */
    const struct pv_class **pv_served;
    struct grants *grants;
    struct foreign *foreign;
    struct evtchn *pv_events;
    GMainLoop *loop;
    int argc; /* as main() got them */
    char **argv;
    bool ready;    /* "running" was written */
    bool started;  /* cont was done at least once */
    bool saved;    /* since it was stopped, for a save or a migration */
    bool incoming; /* restored from a saved state, here or before a live update */
    bool quitting; /* daemon_quit() was called */

    /* Live update, dm/update/update.h. */
    struct update *update;        /* under way; NULL: none */
    struct qmp_call *update_call; /* the command that waits for it, or NULL */
    bool was_running;             /* before it stood still for one */
    bool updating;                /* a stop or start that is nobody's business */
    int keeper;                   /* where the process stands that the toolstack knows; 0: here */

    /* A stop on its way: called once the last I/O is done and the disks are flushed. */
    void (*stopped)(void *opaque, GError *err);
    void *stopped_opaque;
    guint stop_source;
    struct flush *flush; /* … that is what it waits for */
    bool stop_flushes;   /* else it is for a live update, whose successor has the same page cache */
    void (*still)(void *opaque); /* … and this is told */
    void *still_opaque;
    void (*state_changed)(void *opaque, enum machine_state now, enum machine_state before);
    void *state_opaque; /* told without a machine, whose events are that */
    bool stop_ran;      /* the machine ran before: what a stop that fails goes back to */
};

/*
 * Opens and builds everything; nothing of the guest is touched yet. After a failure daemon_end()
 * cleans up all the same.
 */
int daemon_start(struct daemon *d, const struct machine_desc *desc, GError **err);

/* Drops privileges, says that we are ready, and serves until daemon_quit(). */
int daemon_serve(struct daemon *d, GError **err);
void daemon_end(struct daemon *d);

/* Another program serves: unmaps what we mapped, and tells nobody. Not to be served again. */
void daemon_let_go(struct daemon *d);

void daemon_set_log_levels(const struct machine_desc *desc);

/* Ends the main loop soon. */
void daemon_quit(struct daemon *d, const char *why);

/* What there is to say of it, for dm/status. */
struct status_parts daemon_status_parts(const struct daemon *d);

/* ---- life.c ---- */

/* Of the machine; without one the instance's, which is STOPPED or RUNNING. */
enum machine_state daemon_state(const struct daemon *d);

/*
 * QMP cont: the machine runs; the first time, the toolstack is told. No effect when it runs. The
 * images become ours where they were not (-incoming, or saved for a migration), and a stop on its
 * way is taken back.
 */
int daemon_continue(struct daemon *d, GError **err);

/*
 * For a live update: a stop that is nobody's business, and its end, which also takes back one that
 * is still waiting for I/O. They leave a machine that was stopped as it is.
 */
void daemon_stand_still(struct daemon *d, void (*still)(void *opaque), void *opaque);
void daemon_go_on(struct daemon *d);

/*
 * QMP stop: `stopped` is called, maybe inside, when no I/O is in flight any more and what was
 * written is on stable storage. With `err`, which is its to free: it did not come to that, and the
 * machine runs on.
 */
void daemon_stop(struct daemon *d, void (*stopped)(void *opaque, GError *err), void *opaque);

/* "running" in xenstore, unless it is there or cannot be written. */
int daemon_tell_running(struct daemon *d, GError **err);

/* The whole machine into a file. Only while stopped. */
int daemon_save(struct daemon *d, int fd, GError **err);

/* ---- backends.c ---- */

int backends_open(struct daemon *d, GError **err);
/* Waits a moment for I/O on its way to the host; ends the process when it does not come back. */
void backends_await_io(struct daemon *d);
void backends_close(struct daemon *d);
/* All images that are written: `done` is called, maybe inside; `err` is its to free. */
struct flush *backends_flush(struct daemon *d, void (*done)(void *opaque, GError *err),
                             void *opaque);
/* Nobody waits for it any more. */
void backends_flush_forget(struct flush *f);
/*
 * The connections to Xen, with the rights of the start. Without them there are no PV back ends: an
 * instance that is nothing else fails.
 */
int daemon_pv_open(struct daemon *d, GError **err);
/* The bus, on a machine that is built; in a live update with what is left to it. Paused. */
int daemon_pv_build(struct daemon *d, GError **err);
void daemon_pv_hand_over(const struct daemon *d, bool check, struct handover *to);
/* With the machine: nothing new is begun while it is paused, and a stop waits while it is busy. */
void daemon_pv_offer_early(struct daemon *d);
void daemon_pv_run(struct daemon *d);
void daemon_pv_pause(struct daemon *d);
bool daemon_pv_busy(const struct daemon *d);
void daemon_pv_close(struct daemon *d);
/* Which kinds those are, in xenstore. */
void daemon_pv_tell_served(struct daemon *d);
/* Those that the toolstack left to us and that we do not serve. */
void daemon_pv_close_absent(struct daemon *d);

#endif
