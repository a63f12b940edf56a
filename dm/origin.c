/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where this machine comes from; see origin.h. The names of the values: docs/live-update.md. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <xendm/backend.h>
#include <xendm/error.h>
#include <xendm/handover.h>
#include <xendm/log.h>
#include <xendm/vnc.h>
#include <xendm/recorder.h>
#include <xendm/xenstore.h>

#include "daemon.h"
#include "ioreq/ioreq.h"
#include "origin.h"
#include "qmp/qmp.h"
#include "service/service.h"
#include "state/state.h"
#include "status/status.h"
#include "update/update.h"
#include "xen/xen.h"

#define RANGES_MAX 65536u
#define PORTS_MAX 4096u

void origin_init(struct origin *o, const struct machine_desc *desc)
{
    o->inherited = o->arrival != NULL;
    o->incoming_fd = o->inherited ? -1 : desc->incoming_fd;
}

bool origin_is_restored(const struct origin *o)
{
    return o->inherited || o->incoming_fd >= 0;
}

bool origin_is_inherited(const struct origin *o)
{
    return o->inherited;
}

/* ---- Xen ---- */

int origin_receive(struct origin *o, GError **err)
{
    o->left = update_receive(o->arrival, err);
    return o->left ? 0 : -1;
}

int origin_receive_rest(struct origin *o, struct xen_handles *xen, struct ioreq_server *ioreq,
                        GError **err)
{
    int events;

    if (!o->arrival) {
        return 0;
    }
    o->left = update_receive_rest(o->arrival, err);
    if (!o->left) {
        return -1;
    }
    service_take_over(o->left);
    events = xen ? handover_fd(o->left, "xen", "evtchn") : -1;
    if (events >= 0 && xen_handles_take_events(xen, events, err) < 0) {
        return -1;
    }
    if (ioreq) {
        ioreq_server_listen(ioreq, xen);
    }
    return 0;
}

struct hv_server *origin_open_server(const struct origin *o, struct hypervisor *hv, GError **err)
{
    return o->left ? xen_server_adopt(hv, (unsigned)handover_int(o->left, "xen", "server", 0))
                   : hv_server_new(hv, err);
}

static GArray *read_ports(const struct handover *left)
{
    GArray *ports = g_array_new(FALSE, FALSE, sizeof(unsigned));
    g_autofree char *text = handover_text(left, "xen", "ports");
    char *at = text ? text : (char *)"";
    char *end;

    while (ports->len < PORTS_MAX) {
        unsigned long port = strtoul(at, &end, 10);
        unsigned value = port > UINT_MAX ? UINT_MAX : (unsigned)port;

        if (end == at) {
            break;
        }
        g_array_append_val(ports, value);
        at = end;
    }
    return ports;
}

struct ioreq_server *origin_open_ioreq(const struct origin *o, const struct xen_handles *xen,
                                       struct machine *m, GError **err)
{
    g_autoptr(GArray) ports = NULL;

    if (!o->left) {
        return ioreq_server_open(xen, m, err);
    }
    ports = read_ports(o->left);
    return ioreq_server_adopt(xen, m, (unsigned *)(void *)ports->data, ports->len, err);
}

GArray *origin_read_ranges(const char *text, GError **err)
{
    GArray *ranges = g_array_new(FALSE, FALSE, sizeof(struct xen_range));
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (char **line = lines; *line && **line; line++) {
        struct xen_range r;
        int kind;

        if (sscanf(*line, "%d %" SCNx64 " %" SCNx64, &kind, &r.first, &r.last) != 3 ||
            kind < XEN_RANGE_PIO || kind > XEN_RANGE_PCI || ranges->len == RANGES_MAX) {
            g_set_error(err, XENDM_ERROR, EINVAL, "live update: range '%s'", *line);
            g_array_free(ranges, TRUE);
            return NULL;
        }
        r.kind = kind;
        g_array_append_val(ranges, r);
    }
    return ranges;
}

char *origin_ranges(const struct daemon *d)
{
    GString *text = g_string_new(NULL);
    size_t count = 0;
    const struct xen_range *range = d->server ? xen_server_ranges(d->server, &count) : NULL;

    for (size_t i = 0; i < count; i++) {
        g_string_append_printf(text, "%d %" PRIx64 " %" PRIx64 "\n", (int)range[i].kind,
                               range[i].first, range[i].last);
    }
    return g_string_free(text, FALSE);
}

static void put_xen(const struct daemon *d, bool check, struct handover *h)
{
    g_autoptr(GString) text = g_string_new(NULL);
    size_t nports = 0;
    g_autofree unsigned *port = ioreq_server_ports(d->ioreq, &nports);

    for (size_t i = 0; i < nports; i++) {
        g_string_append_printf(text, "%u ", port[i]);
    }
    handover_put_text(h, "xen", "ports", text->str);
    handover_put_int(h, "xen", "server", xen_server_id(d->server));
    handover_put_int(h, "xen", "log-dirty", xen_hypervisor_log_dirty(d->hv));
    if (!check) { /* it has one owner */
        handover_put_fd(h, "xen", "evtchn", xen_evtchn_fd(d->xen));
    }
}

/* ---- back ends ---- */

struct backend *origin_open_backend(const struct origin *o, struct backend_set *set,
                                    const struct object_desc *desc, GError **err)
{
    return backend_add(set, desc, o->left, err);
}

int origin_open_monitors(const struct origin *o, struct qmp *qmp, const struct machine_desc *desc,
                         struct qmp_call **call, GError **err)
{
    if (o->left) {
        return qmp_take_over(qmp, o->left, call, err);
    }
    for (unsigned i = 0; i < desc->monitors->len; i++) {
        if (qmp_listen(qmp, g_ptr_array_index(desc->monitors, i), err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- the machine ---- */

int origin_load(const struct origin *o, struct machine *m, GError **err)
{
    int fd = o->left ? handover_fd(o->left, "update", "stream") : o->incoming_fd;

    if (!origin_is_restored(o) || !m) {
        return 0;
    }
    if (o->left && machine_take_over(m, o->left, err) < 0) {
        close(fd);
        return -1;
    }
    return state_file_load(m, fd, err);
}

static void report(struct daemon *d, const struct update_result *r)
{
    struct qmp_update_result result = {
        .binary = r->binary ? r->binary : "",
        .check_us = r->check_us,
        .pause_us = r->pause_us,
        .total_us = r->total_us,
    };

    log_info(LOG_DM, "live update to %s: done, the guest waited %" PRId64 " + %" PRId64 " us",
             result.binary, result.check_us, result.pause_us);
    if (d->update_call) {
        qmp_call_updated(d->update_call, &result);
        d->update_call = NULL;
    }
}

static void keeper_dump(void *opaque)
{
    recorder_dump(STDERR_FILENO, 0);
}

static void keeper_end(void *opaque, const char *why)
{
    daemon_quit(opaque, why);
}

void origin_take_over(struct daemon *d)
{
    const struct handover *left = d->origin.left;
    g_autofree char *ranges = origin_ranges(d);
    struct update_result result;
    bool log_dirty, seen;

    d->started = handover_int(left, "machine", "started", 1);
    d->ready = handover_int(left, "machine", "ready", 1);
    d->incoming = handover_int(left, "machine", "incoming", 0);
    d->was_running = handover_int(left, "machine", "running", 0);
    log_dirty = handover_int(left, "xen", "log-dirty", 0);
    seen = handover_int(left, "xenstore", "directory-seen", 0);
    d->keeper = update_take_over(d->origin.arrival, ranges);
    if (d->hv) {
        xen_hypervisor_adopted(d->hv);
        xen_hypervisor_set_log_dirty(d->hv, log_dirty);
    }
    daemon_go_on(d);
    update_end(d->origin.arrival, &result);
    d->origin.arrival = NULL;
    d->origin.left = NULL;
    daemon_set_log_levels(d->desc);
    xenstore_expect(d->xenstore, seen);
    update_watch(d->keeper, keeper_end, keeper_dump, d);
    report(d, &result);
    g_free(result.binary);
}

void origin_hand_over(const struct daemon *d, bool check, struct handover *h)
{
    handover_put_int(h, "machine", "running", d->was_running);
    handover_put_int(h, "machine", "started", d->started);
    handover_put_int(h, "machine", "incoming", d->incoming);
    handover_put_int(h, "machine", "ready", d->ready);
    handover_put_int(h, "xenstore", "directory-seen", xenstore_directory_seen(d->xenstore));
    if (d->hv) {
        put_xen(d, check, h);
    }
    service_hand_over(h);
    handover_put_fd(h, "status", "page", status_fd(d->status));
    backend_set_hand_over(d->backends, h);
    if (d->machine) {
        machine_hand_over_plan(d->machine, h);
        if (!check) { /* it has one owner */
            machine_hand_over(d->machine, h);
        }
    }
    daemon_pv_hand_over(d, check, h);
    if (d->vnc) {
        vnc_hand_over(d->vnc, h);
    }
}
