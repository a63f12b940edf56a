/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an instance is put together from, one function each way for each; see parts.h. */
#include <string.h>

#include <xendm/backend.h>
#include <xendm/device.h>
#include <xendm/display.h>
#include <xendm/handover.h>
#include <xendm/input.h>
#include <xendm/instance.h>
#include <xendm/log.h>
#include <xendm/mapcache.h>
#include <xendm/vnc.h>
#include <xendm/xenstore.h>

#include "daemon.h"
#include "ioreq/ioreq.h"
#include "loop.h"
#include "origin.h"
#include "parts.h"
#include "sandbox/sandbox.h"
#include "status/status.h"
#include "xen/xen.h"

/* ---- what the toolstack tells us ---- */

static void toolstack_gone(void *opaque)
{
    daemon_quit(opaque, "our directory in xenstore or the domain is gone");
}

static void toolstack_command(void *opaque, const char *command)
{
    struct daemon *d = opaque;

    if (strcmp(command, "flush-cache") == 0) {
        if (d->memory) {
            guestmem_invalidate(d->memory);
        }
    } else {
        log_warning(LOG_XENSTORE, "unknown command '%s'", command);
    }
}

static const struct xenstore_events xenstore_events = {.gone = toolstack_gone,
                                                       .command = toolstack_command};

/* ---- Xen and the toolstack ---- */

static int open_xen(struct daemon *d, GError **err)
{
    d->info = g_new0(struct xen_domain_info, 1);
    d->xen = xen_handles_open(d->desc->domid, err);
    return d->xen && xen_domain_info(d->xen, d->desc, d->info, err) == 0 ? 0 : -1;
}

static void close_xen(struct daemon *d)
{
    if (d->xen) {
        xen_handles_close(d->xen);
    }
    g_clear_pointer(&d->info, g_free);
}

static int open_xenstore(struct daemon *d, GError **err)
{
    d->xenstore = xenstore_open(d->desc->domid, &xenstore_events, d, err);
    return d->xenstore ? 0 : -1;
}

static void close_xenstore(struct daemon *d)
{
    if (d->xenstore) {
        xenstore_close(d->xenstore);
    }
}

int parts_drop_privileges(struct daemon *d, GError **err)
{
    if (d->desc->restrict_domid) {
        if (xen_restrict(d->xen, err) < 0) {
            return -1;
        }
        xenstore_restricted(d->xenstore);
    }
    return sandbox_enter(d->sandbox, origin_is_inherited(&d->origin), err);
}

/*
 * Who inherits everything opens nothing by name any more: it gives its rights up before it looks
 * at what is left to it.
 */
static int inherit(struct daemon *d, GError **err)
{
    if (!origin_is_inherited(&d->origin)) {
        return 0;
    }
    return parts_drop_privileges(d, err) < 0 || origin_receive(&d->origin, err) < 0 ? -1 : 0;
}

static int inherit_rest(struct daemon *d, GError **err)
{
    return origin_receive_rest(&d->origin, d->xen, d->ioreq, err);
}

/* The program before us has one that goes on. */
static int open_status(struct daemon *d, GError **err)
{
    d->status = origin_is_inherited(&d->origin)
                    ? status_adopt(handover_fd(d->origin.left, "status", "page"))
                    : status_open(d->desc->domid, d->desc->name);
    return 0;
}

static void close_status(struct daemon *d)
{
    status_close(d->status, d->quitting);
    d->status = NULL;
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

static void close_vnc(struct daemon *d)
{
    g_clear_pointer(&d->vnc, vnc_free);
}

/* ---- the seat ---- */

static int open_clock(struct daemon *d, GError **err)
{
    d->clock = loop_clock_new(err);
    return d->clock ? 0 : -1;
}

static int open_seat(struct daemon *d, GError **err)
{
    d->display = display_new();
    d->input = input_new();
    input_set_clock(d->input, d->clock);
    return 0;
}

static void close_seat(struct daemon *d)
{
    g_clear_pointer(&d->display, display_free);
    g_clear_pointer(&d->input, input_free);
}

/* ---- the machine ---- */

static int open_guest(struct daemon *d, GError **err)
{
    d->hv = xen_hypervisor_new(d->xen, origin_is_inherited(&d->origin));
    d->memory = xen_guestmem_new(d->hv, NULL);
    return 0;
}

static void close_guest(struct daemon *d)
{
    if (d->memory) {
        mapcache_free(d->memory);
    }
    if (d->hv) {
        xen_hypervisor_free(d->hv);
    }
}

static int open_server(struct daemon *d, GError **err)
{
    d->server = origin_open_server(&d->origin, d->hv, err);
    return d->server ? 0 : -1;
}

static void close_server(struct daemon *d)
{
    hv_server_free(d->server);
}

static int build_machine(struct daemon *d, GError **err)
{
    struct machine *m = d->machine = machine_new(d->hv, d->server, d->memory, d->clock);

    m->domid = d->desc->domid;
    m->vcpus = d->info->vcpus;
    m->vcpus_online = d->desc->vcpus_online;
    m->ram_low_end = d->info->ram_low_end;
    m->ram_high_end = d->info->ram_high_end;
    m->backends = d->backends;
    m->restored = origin_is_restored(&d->origin);
    m->inherited = origin_is_inherited(&d->origin);
    if (board_build(m, d->desc, err) < 0 ||
        (m->inherited && machine_plug_as_before(m, d->origin.left, err) < 0)) {
        return -1;
    }
    machine_complete(m);
    d->display = m->display;
    d->input = m->input;
    return 0;
}

static void close_machine(struct daemon *d)
{
    if (d->machine) {
        board_free(d->machine);
        machine_free(d->machine);
        d->display = NULL;
        d->input = NULL;
    }
}

static int open_ioreq(struct daemon *d, GError **err)
{
    d->ioreq = origin_open_ioreq(&d->origin, d->xen, d->machine, err);
    if (!d->ioreq) {
        return -1;
    }
    ioreq_server_set_poll(d->ioreq, backend_poll_all);
    return 0;
}

static int attach_vnc(struct daemon *d, GError **err)
{
    if (d->vnc) {
        vnc_attach(d->vnc, d->display, d->input);
    }
    return 0;
}

/*
 * Opened in this order, closed the other way round; each if the kind of instance has the part. Both
 * after a failure and when it is gone already, close() has nothing to do.
 */
static const struct part {
    enum instance_part of;
    int (*open)(struct daemon *d, GError **err);
    void (*close)(struct daemon *d);
} parts[] = {
    {INSTANCE_GUEST, open_xen, close_xen},
    {INSTANCE_DOMAIN, open_xenstore, close_xenstore},
    {INSTANCE_PRIMARY, daemon_pv_open, NULL},
    {INSTANCE_DOMAIN, inherit, NULL},
    {INSTANCE_PRIMARY, open_status, close_status},
    {INSTANCE_DOMAIN, open_clock, NULL},
    {INSTANCE_GUEST, open_guest, close_guest},
    {INSTANCE_ACCESSES, open_server, close_server},
    {INSTANCE_DOMAIN, backends_open, backends_close},
    {INSTANCE_DOMAIN, open_vnc, NULL},
    {INSTANCE_SEAT, open_seat, close_seat},
    {INSTANCE_MACHINE, build_machine, close_machine},
    {INSTANCE_DOMAIN, attach_vnc, close_vnc},
    {INSTANCE_ACCESSES, open_ioreq, NULL},
    {INSTANCE_DOMAIN, inherit_rest, NULL},
    {INSTANCE_PRIMARY, daemon_pv_build, daemon_pv_close},
};

int parts_open(struct daemon *d, GError **err)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
        if (instance_has(d->desc->type, parts[i].of) && parts[i].open(d, err) < 0) {
            return -1;
        }
    }
    return 0;
}

void parts_close(struct daemon *d)
{
    for (unsigned i = G_N_ELEMENTS(parts); i-- > 0;) {
        if (parts[i].close && instance_has(d->desc->type, parts[i].of)) {
            parts[i].close(d);
        }
    }
}

void parts_let_go(struct daemon *d)
{
    if (d->hv) {
        xen_hypervisor_let_go(d->hv);
    }
    g_clear_pointer(&d->vnc, vnc_let_go);
    if (d->ioreq) {
        ioreq_server_leave(d->ioreq);
    }
    daemon_pv_close(d);
    if (d->machine) {
        d->machine->events = NULL;
        board_free(d->machine);
        machine_free(d->machine);
    }
    if (d->memory) {
        mapcache_free(d->memory);
    }
}
