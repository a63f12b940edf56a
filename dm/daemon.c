/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon is put together and taken apart; see daemon.h. */
#include <string.h>

#include <xendm/backend.h>
#include <xendm/instance.h>
#include <xendm/log.h>
#include <xendm/turn.h>
#include <xendm/xenstore.h>

#include "daemon.h"
#include "ioreq/ioreq.h"
#include "loop.h"
#include "origin.h"
#include "parts.h"
#include "sandbox/sandbox.h"
#include "service/service.h"
#include "status/status.h"
#include "tape/tape.h"
#include "update/update.h"
#include "xen/xen.h"

/* "SUBSYSTEM=LEVEL[,SUBSYSTEM=LEVEL…]", checked by the command line already. */
void daemon_set_log_levels(const struct machine_desc *desc)
{
    g_auto(GStrv) parts = g_strsplit(desc->log_levels ? desc->log_levels : "", ",", -1);

    for (char **p = parts; *p; p++) {
        char *equals = strchr(*p, '=');

        if (equals) {
            *equals = '\0';
            log_set_level(*p, equals + 1);
        }
    }
}

void daemon_quit(struct daemon *d, const char *why)
{
    log_info(LOG_DM, "going away: %s", why);
    d->quitting = true;
    if (d->loop) {
        g_main_loop_quit(d->loop);
    }
}

/* ---- what we say of ourselves ---- */

struct status_parts daemon_status_parts(const struct daemon *d)
{
    return (struct status_parts){
        .type = d->desc->type,
        .machine = d->machine,
        .state = daemon_state(d),
        .doing = d->stopped  ? "stop"
                 : d->update ? "live update"
                             : NULL,
        .started = d->started,
        .incoming = d->incoming,
        .saved = d->saved,
        .backends = d->backends,
        .ioreq = d->ioreq,
        .hv = d->hv,
        .memory = d->memory,
        .pv = d->pv,
    };
}

static void collect(void *opaque, struct facts *to)
{
    const struct status_parts parts = daemon_status_parts(opaque);

    status_describe_all(&parts, to);
}

static int refresh(void *opaque)
{
    return status_refresh(((struct daemon *)opaque)->status);
}

/* ---- life ---- */

/* What of back ends needs a name or a call that is forbidden later, for media that come later. */
static void prepare_backends(const struct daemon *d)
{
    for (guint i = 0; i < d->desc->objects->len; i++) {
        const struct object_desc *o = g_ptr_array_index(d->desc->objects, i);

        if (o->what == OBJECT_BACKEND) {
            backend_prepare(o);
        }
    }
}

int daemon_start(struct daemon *d, const struct machine_desc *desc, GError **err)
{
    d->desc = desc;
    d->state = MACHINE_STOPPED;
    d->incoming = desc->incoming_fd >= 0;
    d->loop = g_main_loop_new(NULL, FALSE);
    d->sandbox = sandbox_prepare(desc, err);
    prepare_backends(d);
    return d->sandbox ? parts_open(d, err) : -1;
}

static int serve_fresh(struct daemon *d, GError **err)
{
    /* The toolstack waits for it, for a minute: better to say at once that nothing comes. */
    if (!d->desc->start_stopped && daemon_tell_running(d, err) < 0) {
        return -1;
    }
    if (!d->desc->start_stopped && d->desc->incoming_fd < 0 && daemon_continue(d, err) < 0) {
        return -1;
    }
    log_info(LOG_DM, "domain %u '%s': ready", d->desc->domid, d->desc->name ? d->desc->name : "");
    return service_ready(err);
}

/*
 * No guest data before this line: from here on the saved state is read, the guest's accesses are
 * served and its memory is looked at.
 */
static int serve_domain(struct daemon *d, GError **err)
{
    if (origin_load(&d->origin, d->machine, err) < 0) {
        return -1;
    }
    if (d->hv) {
        xen_hypervisor_serving(d->hv);
    }
    if (origin_is_inherited(&d->origin)) {
        origin_take_over(d);
        return 0;
    }
    if (d->desc->replay_fd >= 0) {
        return replay_begin(d->machine, d->desc->replay_fd, d->desc->replay_trap, err);
    }
    return serve_fresh(d, err);
}

int daemon_serve(struct daemon *d, GError **err)
{
    if (instance_has(d->desc->type, INSTANCE_DOMAIN)) {
        if (!origin_is_inherited(&d->origin)) {
            if (instance_has(d->desc->type, INSTANCE_PRIMARY)) {
                daemon_pv_tell_served(d);
                daemon_pv_close_absent(d);
            }
            if (parts_drop_privileges(d, err) < 0) {
                return -1;
            }
        }
        if (serve_domain(d, err) < 0) {
            return -1;
        }
        daemon_pv_offer_early(d);
    }
    turn_start();
    status_serve(d->status, collect, d);
    loop_set_before_sleep(refresh, d);
    if (d->xenstore) {
        xenstore_serving(d->xenstore);
    }
    g_main_loop_run(d->loop);
    return 0;
}

void daemon_let_go(struct daemon *d)
{
    loop_set_before_sleep(NULL, NULL);
    recording_close("a live update");
    status_close(d->status, false);
    d->status = NULL;
    parts_let_go(d);
}

/* Nobody is served any more, and nothing is in flight. */
static void come_to_rest(struct daemon *d)
{
    recording_close("xendm ends");
    g_clear_pointer(&d->update, update_cancel);
    if (d->stop_source) {
        g_source_remove(d->stop_source);
        d->stop_source = 0;
    }
    if (d->flush) {
        backends_flush_forget(d->flush);
    }
    if (d->ioreq) {
        ioreq_server_close(d->ioreq);
        d->ioreq = NULL;
    }
    daemon_pv_pause(d);
    backends_await_io(d);
}

void daemon_end(struct daemon *d)
{
    loop_set_before_sleep(NULL, NULL);
    come_to_rest(d);
    parts_close(d);
    g_clear_pointer(&d->loop, g_main_loop_unref);
}
