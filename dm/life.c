/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running and stopping; see daemon.h. */
#include <errno.h>

#include <xendm/backend.h>
#include <xendm/block.h>
#include <xendm/clock.h>
#include <xendm/error.h>
#include <xendm/instance.h>
#include <xendm/log.h>
#include <xendm/tape.h>
#include <xendm/turn.h>
#include <xendm/xenstore.h>

#include "daemon.h"
#include "ioreq/ioreq.h"
#include "state/state.h"

/* ---- whatever there is of it ---- */

enum machine_state daemon_state(const struct daemon *d)
{
    return d->machine ? d->machine->state : d->state;
}

static void set_state(struct daemon *d, enum machine_state now)
{
    enum machine_state before = d->state;

    d->state = now;
    if (d->state_changed && now != before) {
        d->state_changed(d->state_opaque, now, before);
    }
}

/* Events of a recording (xendm/tape.h). */
static void start_machine(struct machine *m)
{
    bool starts = m->state == MACHINE_STOPPED;

    if (starts) {
        tape_enter(TAPE_START, NULL, NULL, NULL, 0);
    }
    machine_start(m);
    if (starts) {
        tape_leave();
    }
}

static void stop_machine(struct machine *m)
{
    bool stops = m->state != MACHINE_STOPPED;

    if (stops) {
        tape_enter(TAPE_STOP, NULL, NULL, NULL, 0);
    }
    machine_stop(m);
    if (stops) {
        tape_leave();
    }
}

static void start(struct daemon *d)
{
    if (d->machine) {
        start_machine(d->machine);
    } else {
        if (d->clock) { /* keys are held by it */
            vclock_start(d->clock);
        }
        set_state(d, MACHINE_RUNNING);
    }
}

static void serve(struct daemon *d)
{
    if (d->ioreq) {
        ioreq_server_resume(d->ioreq);
    }
    daemon_pv_run(d);
}

/* Nothing new is begun; what is under way ends in the loop. */
static void stop(struct daemon *d)
{
    if (d->ioreq) {
        ioreq_server_pause(d->ioreq);
    }
    daemon_pv_pause(d);
    if (d->machine) {
        stop_machine(d->machine);
    } else {
        if (d->clock) {
            vclock_stop(d->clock);
        }
        set_state(d, MACHINE_STOPPED);
    }
}

static bool busy(const struct daemon *d)
{
    return (d->machine && machine_busy(d->machine)) || daemon_pv_busy(d);
}

/* ---- the toolstack ---- */

/*
 * Under -S libxl takes query-status for the answer, and confirmation by xenstore on top of it would
 * meet a busy connection (toolstack.md 1.3): so nothing is written before the first cont.
 * Restricted, it cannot be written at all.
 */
int daemon_tell_running(struct daemon *d, GError **err)
{
    int rc;

    if (d->ready || d->desc->restrict_domid || !instance_has(d->desc->type, INSTANCE_PRIMARY)) {
        return 0;
    }
    rc = xenstore_write(d->xenstore, "state", "running");
    if (rc < 0) {
        g_set_error(err, XENDM_ERROR, -rc, "cannot write our state 'running' to xenstore: %s",
                    g_strerror(-rc));
        return rc;
    }
    d->ready = true;
    return 0;
}

void daemon_go_on(struct daemon *d)
{
    if (d->stop_source) {
        g_source_remove(d->stop_source);
        d->stop_source = 0;
        d->stopped = NULL;
    }
    backend_set_hurry(d->backends, false);
    if (d->was_running) {
        d->updating = true;
        start(d);
        d->updating = false;
        serve(d);
    }
}

/* Nobody waits for the stop any more; whoever has asked for it is told with `err`. */
static void stop_end(struct daemon *d, GError *err)
{
    void (*stopped)(void *, GError *) = d->stopped;

    if (d->stop_source) {
        g_source_remove(d->stop_source);
        d->stop_source = 0;
    }
    if (d->flush) {
        backends_flush_forget(d->flush);
        d->flush = NULL;
    }
    d->stopped = NULL;
    stopped(d->stopped_opaque, err);
}

/*
 * Before its first command a disk reads its partition table, which most often takes some 100 µs:
 * then firmware need not see it busy.
 */
#define LOOK_US 4000

static void run(struct daemon *d)
{
    int64_t end = g_get_monotonic_time() + LOOK_US;

    backend_set_hurry(d->backends, false);
    start(d);
    while (!d->started && d->machine && machine_busy(d->machine) && g_get_monotonic_time() < end) {
        turn_waits();
        if (!block_poll()) {
            g_usleep(50);
        }
    }
    serve(d);
}

int daemon_continue(struct daemon *d, GError **err)
{
    if (d->stopped && !d->stop_flushes) {
        g_set_error(err, XENDM_ERROR, EBUSY, "a live update is on its way");
        return -EBUSY;
    }
    d->saved = false;
    if (daemon_state(d) == MACHINE_STOPPED) {
        int rc = backend_set_activate(d->backends, err);

        if (rc < 0) {
            return rc;
        }
        run(d);
    }
    if (!d->started) {
        g_autoptr(GError) untold = NULL;

        d->started = true;
        if (daemon_tell_running(d, &untold) < 0) { /* whoever said cont has its answer by QMP */
            log_error(LOG_XENSTORE, "%s", untold->message);
        }
    }
    if (d->stopped) {
        stop_end(d, g_error_new(XENDM_ERROR, ECANCELED, "cont has taken the stop back"));
    }
    return 0;
}

/*
 * A stop waits for I/O in flight, which completes in the loop: each turn we look again. Then the
 * disks are flushed. Nothing is polled, for completions wake the loop; and nothing blocks, for a
 * disk may hang.
 */
struct stop_source {
    GSource source;
    struct daemon *d;
};

static gboolean stop_prepare(GSource *source, gint *timeout)
{
    const struct daemon *d = ((struct stop_source *)source)->d;

    *timeout = -1;
    return !busy(d);
}

/*
 * The disks are flushed. If one could not be, another host would read what is not there, and the
 * toolstack would not know: the guest stays here, and goes on.
 */
static void stop_flushed(void *opaque, GError *err)
{
    struct daemon *d = opaque;

    d->flush = NULL;
    if (err && d->stop_ran) {
        run(d);
    }
    stop_end(d, err);
}

static gboolean stop_dispatch(GSource *source, GSourceFunc callback, gpointer opaque)
{
    struct daemon *d = ((struct stop_source *)source)->d;

    turn_of("stop");
    d->stop_source = 0;
    if (d->stop_flushes) {
        d->flush = backends_flush(d, stop_flushed, d);
    } else {
        stop_end(d, NULL);
    }
    return G_SOURCE_REMOVE;
}

static GSourceFuncs stop_funcs = {.prepare = stop_prepare, .dispatch = stop_dispatch};

static void stop_begin(struct daemon *d, bool flush, void (*stopped)(void *opaque, GError *err),
                       void *opaque)
{
    GSource *source;

    if (d->stopped) {
        stopped(opaque, g_error_new(XENDM_ERROR, EBUSY, "a stop is on its way"));
        return;
    }
    d->stop_flushes = flush;
    d->stop_ran = daemon_state(d) != MACHINE_STOPPED;
    d->stopped = stopped;
    d->stopped_opaque = opaque;
    if (d->stop_ran) {
        stop(d);
    }
    backend_set_hurry(d->backends, true);
    source = g_source_new(&stop_funcs, sizeof(struct stop_source));
    ((struct stop_source *)source)->d = d;
    d->stop_source = g_source_attach(source, NULL);
    g_source_unref(source);
}

void daemon_stop(struct daemon *d, void (*stopped)(void *opaque, GError *err), void *opaque)
{
    stop_begin(d, true, stopped, opaque);
}

static void stood_still(void *opaque, GError *err)
{
    struct daemon *d = opaque;

    if (err) {
        /* Commands that change the run state come one after the other: this cannot be. */
        log_error(LOG_DM, "live update: %s", err->message);
        g_error_free(err);
        return;
    }
    d->still(d->still_opaque);
}

void daemon_stand_still(struct daemon *d, void (*still)(void *opaque), void *opaque)
{
    d->still = still;
    d->still_opaque = opaque;
    d->was_running = daemon_state(d) != MACHINE_STOPPED;
    d->updating = true;
    stop_begin(d, false, stood_still, d);
    d->updating = false;
}

int daemon_save(struct daemon *d, int fd, GError **err)
{
    if (daemon_state(d) != MACHINE_STOPPED || d->stop_source ||
        (d->machine && machine_busy(d->machine))) {
        g_set_error(err, XENDM_ERROR, EBUSY, "the machine runs: stop it first");
        return -EBUSY;
    }
    return state_file_save(d->machine, fd, err);
}
