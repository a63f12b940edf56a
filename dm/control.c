/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP's side of the daemon; see control.h, dm/qmp/qmp.h, dm/daemon.h. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <xendm/backend.h>
#include <xendm/device.h>
#include <xendm/instance.h>
#include <xendm/log.h>
#include <xendm/turn.h>
#include <xendm/vnc.h>
#include <xendm/xenstore.h>

#include "control.h"
#include "daemon.h"
#include "ioreq/ioreq.h"
#include "loop.h"
#include "qmp/qmp.h"
#include "sandbox/sandbox.h"
#include "status/status.h"
#include "tape/tape.h"
#include "update/update.h"
#include "xen/xen.h"

struct control {
    struct daemon *d;
    const struct machine_desc *desc;
    struct qmp_target target;
    struct qmp *qmp;

    GArray
        *forwarded; /* a live update: what Xen forwards now, for the one that comes; NULL: ours */

    /* The guest's clock: what it asked for last and what is in xenstore. */
    int64_t rtc_offset, rtc_stored;
    char *rtc_path;   /* NULL: there is none, or we may not */
    guint rtc_source; /* while it is too early to store again */
    guint vm_source;  /* until it is known where */
    bool rtc_failed;  /* logged */
    struct xenstore_watch *vm_watch;
};

/* ---- commands ---- */

static enum qmp_status op_status(void *opaque)
{
    const struct control *c = opaque;

    switch (daemon_state(c->d)) {
    case MACHINE_RUNNING:
        return QMP_STATUS_RUNNING;
    case MACHINE_SUSPENDED:
        return QMP_STATUS_SUSPENDED;
    case MACHINE_SHUTDOWN:
        return QMP_STATUS_SHUTDOWN;
    case MACHINE_BUILDING:
    case MACHINE_STOPPED:
        break;
    }
    return c->d->started || c->d->incoming ? QMP_STATUS_PAUSED : QMP_STATUS_PRELAUNCH;
}

static int op_cont(void *opaque, GError **err)
{
    struct control *c = opaque;

    if (!instance_has(c->desc->type, INSTANCE_DOMAIN)) {
        g_set_error(err, XENDM_ERROR, ENODEV, "there is no machine");
        return -ENODEV;
    }
    return daemon_continue(c->d, err);
}

static void stop_done(void *opaque, GError *err)
{
    qmp_call_finish(opaque, err);
}

static void op_stop(void *opaque, struct qmp_call *call)
{
    struct control *c = opaque;

    daemon_stop(c->d, stop_done, call);
}

static void op_save(void *opaque, int fd, bool live, struct qmp_call *call)
{
    struct control *c = opaque;
    GError *err = NULL;

    daemon_save(c->d, fd, &err);
    if (close(fd) < 0 && !err) {
        g_set_error(&err, XENDM_ERROR, errno, "cannot finish the state file: %s",
                    g_strerror(errno));
    }
    c->d->saved = !err;
    if (live && !err) {
        backend_set_inactivate(
            c->d->backends); /* a migration: the other side takes them, or we with cont */
    }
    qmp_call_finish(call, err);
}

static int op_set_log_dirty(void *opaque, bool enable, GError **err)
{
    struct control *c = opaque;

    if (c->d->hv) { /* else we write to nothing but what is granted to us, which Xen sees */
        xen_hypervisor_set_log_dirty(c->d->hv, enable);
    }
    return 0;
}

/* ---- live update ---- */

static void update_stand_still(void *opaque, void (*still)(void *arg), void *arg)
{
    struct control *c = opaque;

    daemon_stand_still(c->d, still, arg);
}

static void update_go_on(void *opaque)
{
    struct control *c = opaque;

    daemon_go_on(c->d);
}

static int update_save(void *opaque, int fd, GError **err)
{
    struct control *c = opaque;

    return daemon_save(c->d, fd, err);
}

static int update_hand_over(void *opaque, bool check, struct handover *h, GError **err)
{
    struct control *c = opaque;

    origin_hand_over(c->d, check, h);
    return qmp_hand_over(c->qmp, c->d->update_call, h, err);
}

static char *update_ranges(void *opaque)
{
    return origin_ranges(((struct control *)opaque)->d);
}

static int update_forward(void *opaque, const char *ranges, GError **err)
{
    struct control *c = opaque;
    g_autoptr(GArray) now = ranges ? origin_read_ranges(ranges, err) : NULL;
    int rc;

    if (!c->d->server) {
        return 0;
    }
    if (!ranges) {
        if (c->forwarded) {
            xen_server_take_back(c->d->server, (struct xen_range *)(void *)c->forwarded->data,
                                 c->forwarded->len);
            g_clear_pointer(&c->forwarded, g_array_unref);
        }
        return 0;
    }
    if (!now) {
        return -1;
    }
    rc = xen_server_hand_on(c->d->server, (struct xen_range *)(void *)now->data, now->len, err);
    if (rc == 0) {
        c->forwarded = g_steal_pointer(&now);
    }
    return rc;
}

static bool update_is_ending(void *opaque)
{
    struct control *c = opaque;

    loop_take_signals();
    return c->d->quitting;
}

static void update_let_go(void *opaque)
{
    struct control *c = opaque;

    daemon_let_go(c->d);
}

static void update_failed(void *opaque, GError *err)
{
    struct control *c = opaque;
    struct qmp_call *call = c->d->update_call;

    c->d->update = NULL;
    c->d->update_call = NULL;
    qmp_call_finish(call, err);
}

static const struct update_ops update_ops = {
    .stand_still = update_stand_still,
    .go_on = update_go_on,
    .save = update_save,
    .hand_over = update_hand_over,
    .ranges = update_ranges,
    .forward = update_forward,
    .is_ending = update_is_ending,
    .let_go = update_let_go,
    .failed = update_failed,
};

static void op_update(void *opaque, const char *binary, int socket, struct qmp_call *call)
{
    struct control *c = opaque;
    g_autofree char *path = g_strdup(binary ? binary : sandbox_own_program());
    struct update_request request = {
        .binary = path,
        .socket = socket,
        .signal_fd = loop_signal_fd(),
        .keeper = c->d->keeper > 0 ? c->d->keeper : -1,
    };
    GError *err = NULL;

    recording_stop("a live update begins");
    if (c->d->update) { /* of a client that has left: QMP alone would let two through */
        g_set_error(&err, XENDM_ERROR, EBUSY, "an update is under way");
    } else if (socket < 0 && path[0] != '/') {
        g_set_error(&err, XENDM_ERROR, EINVAL, "'%s' is no absolute path", path);
    } else {
        c->d->update = update_new(&update_ops, c, &request, &err);
    }
    if (err) {
        qmp_call_finish(call, err);
        return;
    }
    c->d->update_call = call;
    update_begin(c->d->update);
}

static void recording_begun(void *opaque, GError *err)
{
    qmp_call_finish(opaque, err);
}

static void op_record(void *opaque, int fd, uint64_t limit, struct qmp_call *call)
{
    struct control *c = opaque;

    const struct recording_source source = {
        .machine = c->d->machine,
        .argc = c->d->argc,
        .argv = c->d->argv,
        .stand_still = update_stand_still,
        .go_on = update_go_on,
        .opaque = c,
    };

    if (c->d->stopped || c->d->update) {
        close(fd);
        qmp_call_finish(call,
                        g_error_new(XENDM_ERROR, EBUSY, "a stop or a live update is on its way"));
        return;
    }
    recording_begin(&source, fd, limit ? limit : RECORDING_LIMIT_DEFAULT, recording_begun, call);
}

static void op_record_stop(void *opaque)
{
    recording_stop("it was stopped");
}

static void recording_ended(void *opaque, const struct recording_result *result)
{
    struct control *c = opaque;

    qmp_event_recording_ended(c->qmp, result->why, result->bytes, result->entries);
}

static void op_quit(void *opaque)
{
    struct control *c = opaque;

    daemon_quit(c->d, "quit was asked for by QMP");
}

/* ---- info topics ---- */

static bool op_describe(void *opaque, const char *topic, struct facts *to)
{
    const struct daemon *d = ((const struct control *)opaque)->d;
    const struct status_parts parts = daemon_status_parts(d);
    bool known = status_describe(&parts, topic, to);

    if (known && strcmp(topic, "loop") == 0) {
        turn_forget();
    }
    return known;
}

static const struct qmp_ops ops = {
    .status = op_status,
    .cont = op_cont,
    .stop = op_stop,
    .save = op_save,
    .set_log_dirty = op_set_log_dirty,
    .quit = op_quit,
    .update = op_update,
    .record = op_record,
    .record_stop = op_record_stop,
    .describe = op_describe,
};

/* ---- events ---- */

/* Known beforehand: in an access of the guest nothing may wait for xenstored. */
static void vm_changed(void *opaque, const char *key)
{
    struct control *c = opaque;
    g_autofree char *vm = xenstore_read(c->d->xenstore, key);

    if (!vm && errno != ENOENT && c->rtc_path) {
        return; /* not known now: the one from before is the best guess */
    }
    g_free(c->rtc_path);
    c->rtc_path = vm ? g_strdup_printf("%s/rtc/timeoffset", vm) : NULL;
}

static void watch_vm(struct control *c)
{
    g_autofree char *key = g_strdup_printf("/local/domain/%u/vm", c->desc->domid);

    g_clear_handle_id(&c->vm_source, g_source_remove);
    if (c->d->xenstore) {
        vm_changed(c, key);
        c->vm_watch = xenstore_watch(c->d->xenstore, key, vm_changed, c);
        if (!c->vm_watch) {
            log_warning(LOG_XENSTORE,
                        "cannot watch %s: %s; should it change, clock offsets are lost", key,
                        g_strerror(errno));
        }
    }
}

/*
 * The guest set its clock. By convention the toolstack keeps the offset in the VM's rtc/timeoffset,
 * so that the next start of this VM has it.
 *
 * xenstored is everybody's, and a guest may set its clock as often as it likes: the first is stored
 * at once, what follows within a second together. Restricted we cannot store it at all; that is
 * said once, until it went well again.
 */
static void rtc_store(struct control *c)
{
    g_autofree char *value = g_strdup_printf("%" G_GINT64_FORMAT, c->rtc_offset);
    bool failed;

    if (c->vm_source) {
        watch_vm(c);
    }
    failed = !c->rtc_path || xenstore_write_later(c->d->xenstore, c->rtc_path, value) < 0;

    c->rtc_stored = c->rtc_offset;
    if (failed && !c->rtc_failed) {
        log_warning(LOG_XENSTORE, "cannot store the guest's clock offset of %" G_GINT64_FORMAT " s",
                    c->rtc_offset);
    }
    c->rtc_failed = failed;
}

static gboolean rtc_again(gpointer opaque)
{
    struct control *c = opaque;

    turn_of("clock offset");
    if (c->rtc_offset == c->rtc_stored) {
        c->rtc_source = 0;
        return G_SOURCE_REMOVE;
    }
    rtc_store(c);
    return G_SOURCE_CONTINUE;
}

/* Before the machine or we go: nothing may be left to store. */
static void rtc_flush(struct control *c)
{
    if (c->rtc_source) {
        g_source_remove(c->rtc_source);
        c->rtc_source = 0;
        if (c->rtc_offset != c->rtc_stored) {
            rtc_store(c);
        }
    }
}

static void rtc_offset(void *opaque, int64_t seconds)
{
    struct control *c = opaque;

    c->rtc_offset = seconds;
    if (!c->rtc_source) {
        rtc_store(c);
        c->rtc_source = g_timeout_add_seconds(1, rtc_again, c);
    }
    qmp_event_rtc_change(c->qmp, seconds);
}

static void state_changed(void *opaque, enum machine_state now, enum machine_state before)
{
    struct control *c = opaque;

    if (now != MACHINE_RUNNING) {
        rtc_flush(c);
    }
    if (c->d->updating) {
        return;
    }
    switch (now) {
    case MACHINE_RUNNING:
        qmp_event(c->qmp, before == MACHINE_SUSPENDED ? "WAKEUP" : "RESUME");
        break;
    case MACHINE_STOPPED:
        if (before != MACHINE_BUILDING) {
            qmp_event(c->qmp, "STOP");
        }
        break;
    case MACHINE_SUSPENDED:
        qmp_event(c->qmp, "SUSPEND");
        break;
    case MACHINE_SHUTDOWN:
        qmp_event_shutdown(c->qmp, true, "guest-shutdown");
        break;
    case MACHINE_BUILDING:
        break;
    }
}

static void tray_moved(void *opaque, const char *device_id, bool open)
{
    struct control *c = opaque;

    qmp_event_tray_moved(c->qmp, device_id, open);
}

static void block_error(void *opaque, const char *device_id, const char *op, int error)
{
    struct control *c = opaque;

    qmp_event_block_error(c->qmp, device_id, op, error < 0 ? error : -error);
}

static void unplugged(void *opaque, const char *device_id)
{
    struct control *c = opaque;

    log_info(LOG_PLATFORM, "%s: unplugged", device_id);
    qmp_event_device_deleted(c->qmp, device_id);
}

static const struct machine_events machine_events = {
    .state_changed = state_changed,
    .rtc_offset = rtc_offset,
    .tray_moved = tray_moved,
    .block_error = block_error,
    .unplugged = unplugged,
};

/* ---- life ---- */

struct control *control_new(struct daemon *d, const struct machine_desc *desc, GError **err)
{
    struct control *c = g_new0(struct control, 1);

    c->d = d;
    c->desc = desc;
    c->target.desc = desc;
    c->target.ops = &ops;
    c->target.opaque = c;
    c->qmp = qmp_new(&c->target);
    if (origin_open_monitors(&d->origin, c->qmp, desc, &d->update_call, err) < 0) {
        if (!origin_is_inherited(&d->origin)) { /* else the sockets are not ours to close */
            control_free(c);
        }
        return NULL;
    }
    return c;
}

/* A guest waits for the end of a live update: then is time. */
static gboolean watch_vm_soon(gpointer opaque)
{
    struct control *c = opaque;

    turn_of("clock offset");
    c->vm_source = 0;
    watch_vm(c);
    return G_SOURCE_REMOVE;
}

/* ---- viewers ---- */

static void viewer_connected(void *opaque, const struct vnc_client *client)
{
    qmp_event_vnc(((struct control *)opaque)->qmp, "VNC_CONNECTED", client);
}

static void viewer_initialized(void *opaque, const struct vnc_client *client)
{
    qmp_event_vnc(((struct control *)opaque)->qmp, "VNC_INITIALIZED", client);
}

static void viewer_disconnected(void *opaque, const struct vnc_client *client)
{
    qmp_event_vnc(((struct control *)opaque)->qmp, "VNC_DISCONNECTED", client);
}

static const struct vnc_events vnc_events = {
    .connected = viewer_connected,
    .initialized = viewer_initialized,
    .disconnected = viewer_disconnected,
};

void control_attach(struct control *c)
{
    if (c->d->machine && !origin_is_inherited(&c->d->origin)) { /* whose clock the guest may set */
        watch_vm(c);
    } else if (c->d->machine) {
        c->vm_source = g_idle_add(watch_vm_soon, c);
    }
    c->target.machine = c->d->machine;
    c->target.display = c->d->display;
    c->target.input = c->d->input;
    c->target.backends = c->d->backends;
    c->target.vnc = c->d->vnc;
    if (c->d->vnc) {
        vnc_set_events(c->d->vnc, &vnc_events, c);
    }
    c->d->state_changed = state_changed;
    c->d->state_opaque = c;
    if (c->d->machine) {
        c->d->machine->events = &machine_events;
        c->d->machine->events_opaque = c;
        recording_set_listener(recording_ended, c);
    }
}

void control_free(struct control *c)
{
    if (!c) {
        return;
    }
    rtc_flush(c);
    c->d->state_changed = NULL;
    if (c->d->machine) {
        c->d->machine->events = NULL;
    }
    qmp_free(c->qmp);
    g_clear_handle_id(&c->vm_source, g_source_remove);
    xenstore_unwatch(c->vm_watch);
    g_free(c->rtc_path);
    g_free(c);
}
