/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon is put together and taken apart; see daemon.h. */
#include <string.h>

#include <xendm/backend.h>
#include <xendm/device.h>
#include <xendm/log.h>
#include <xendm/mapcache.h>
#include <xendm/turn.h>
#include <xendm/vnc.h>
#include <xendm/xenstore.h>

#include "daemon.h"
#include "ioreq/ioreq.h"
#include "loop.h"
#include "origin.h"
#include "sandbox/sandbox.h"
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

/* ---- what the toolstack and Xen tell us ---- */

void daemon_quit(struct daemon *d, const char *why)
{
    log_info(LOG_DM, "going away: %s", why);
    d->quitting = true;
    if (d->loop) {
        g_main_loop_quit(d->loop);
    }
}

static void toolstack_gone(void *opaque)
{
    daemon_quit(opaque, "our directory in xenstore or the domain is gone");
}

static void toolstack_command(void *opaque, const char *command)
{
    struct daemon *d = opaque;

    if (strcmp(command, "flush-cache") == 0) {
        guestmem_invalidate(d->memory);
    } else {
        log_warning(LOG_XENSTORE, "unknown command '%s'", command);
    }
}

static const struct xenstore_events xenstore_events = {.gone = toolstack_gone,
                                                       .command = toolstack_command};

/* ---- opening ---- */

static int open_xen(struct daemon *d, struct xen_domain_info *info, GError **err)
{
    d->xen = xen_handles_open(d->desc->domid, err);
    if (!d->xen || xen_domain_info(d->xen, d->desc, info, err) < 0) {
        return -1;
    }
    d->xenstore = xenstore_open(d->desc->domid, &xenstore_events, d, err);
    daemon_pv_open(d);
    return d->xenstore ? 0 : -1;
}

/* ---- building ---- */

static int build_machine(struct daemon *d, const struct xen_domain_info *info, GError **err)
{
    struct machine *m;

    d->clock = loop_clock_new(err);
    if (!d->clock) {
        return -1;
    }
    d->hv = xen_hypervisor_new(d->xen, origin_is_inherited(&d->origin));
    d->server = origin_open_server(&d->origin, d->hv, err);
    if (!d->server) {
        return -1;
    }
    d->memory = xen_guestmem_new(d->hv, NULL);
    m = d->machine = machine_new(d->hv, d->server, d->memory, d->clock);
    m->domid = d->desc->domid;
    m->vcpus = info->vcpus;
    m->vcpus_online = d->desc->vcpus_online;
    m->ram_low_end = info->ram_low_end;
    m->ram_high_end = info->ram_high_end;
    d->incoming = d->desc->incoming_fd >= 0;
    m->backends = d->backends;
    m->restored = origin_is_restored(&d->origin);
    if (board_build(m, d->desc, err) < 0) {
        return -1;
    }
    machine_complete(m);
    if (d->vnc) {
        vnc_attach(d->vnc, m->display, m->input);
    }
    d->ioreq = origin_open_ioreq(&d->origin, d->xen, m, err);
    if (!d->ioreq) {
        return -1;
    }
    ioreq_server_set_poll(d->ioreq, backend_poll_all);
    return 0;
}

static int drop_privileges(struct daemon *d, GError **err)
{
    if (d->desc->restrict_domid) {
        if (xen_restrict(d->xen, err) < 0) {
            return -1;
        }
        xenstore_restricted(d->xenstore);
    }
    return sandbox_enter(d->sandbox, origin_is_inherited(&d->origin), err);
}

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

/*
 * Who inherits everything opens nothing by name any more: it gives its rights up before it looks
 * at what is left to it.
 */
static int inherit(struct daemon *d, GError **err)
{
    return drop_privileges(d, err) < 0 || origin_receive(&d->origin, d->xen, err) < 0 ? -1 : 0;
}

static int open_vnc(struct daemon *d, GError **err)
{
    const struct vnc_config config = {.options = d->desc->vnc,
                                      .guest_name = d->desc->name,
                                      .keymap = d->desc->keymap};

    if (!d->desc->vnc) {
        return 0;
    }
    d->vnc = vnc_open(&config, d->origin.left, err);
    return d->vnc ? 0 : -1;
}

int daemon_start(struct daemon *d, const struct machine_desc *desc, GError **err)
{
    struct xen_domain_info info;

    d->desc = desc;
    d->loop = g_main_loop_new(NULL, FALSE);
    if (!origin_is_inherited(&d->origin)) { /* else it was asked for, and the filter is on */
        loop_ask_for_short_slices();
    }
    d->sandbox = sandbox_prepare(desc, err);
    prepare_backends(d);
    if (!d->sandbox || open_xen(d, &info, err) < 0 ||
        (origin_is_inherited(&d->origin) && inherit(d, err) < 0) || backends_open(d, err) < 0 ||
        open_vnc(d, err) < 0 || build_machine(d, &info, err) < 0 || daemon_pv_build(d, err) < 0) {
        return -1;
    }
    return 0;
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
    return 0;
}

int daemon_serve(struct daemon *d, GError **err)
{
    bool inherited = origin_is_inherited(&d->origin);

    if (!inherited) {
        daemon_pv_close_absent(d);
        if (drop_privileges(d, err) < 0) {
            return -1;
        }
    }
    /*
     * No guest data before this line: from here on the saved state is read, the guest's accesses
     * are served and its memory is looked at.
     */
    if (origin_load(&d->origin, d->machine, err) < 0) {
        return -1;
    }
    xen_hypervisor_serving(d->hv);
    if (inherited) {
        origin_take_over(d);
    } else if (serve_fresh(d, err) < 0) {
        return -1;
    }
    turn_start();
    g_main_loop_run(d->loop);
    return 0;
}

void daemon_let_go(struct daemon *d)
{
    d->machine->events = NULL;
    xen_hypervisor_let_go(d->hv);
    g_clear_pointer(&d->vnc, vnc_let_go);
    ioreq_server_leave(d->ioreq);
    daemon_pv_close(d);
    board_free(d->machine);
    machine_free(d->machine);
    mapcache_free(d->memory);
}

void daemon_end(struct daemon *d)
{
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
    daemon_pv_close(d);
    g_clear_pointer(&d->vnc, vnc_free);
    if (d->machine) {
        board_free(d->machine);
        machine_free(d->machine);
    }
    backends_close(d);
    if (d->memory) {
        mapcache_free(d->memory);
    }
    hv_server_free(d->server);
    if (d->hv) {
        xen_hypervisor_free(d->hv);
    }
    if (d->xenstore) {
        xenstore_close(d->xenstore);
    }
    if (d->xen) {
        xen_handles_close(d->xen);
    }
    g_clear_pointer(&d->loop, g_main_loop_unref);
}
