/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP commands about the process and the machine's life; those about its devices are in
 * commands-devices.c.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <config.h>

#include <xendm/chardev.h>
#include <xendm/device.h>

#include "config/config.h"
#include "internal.h"

/*
 * Ends the call with what an op said; an op that fails without a word is no reason to claim
 * success.
 */
static void finish(struct qmp_call *call, int rc, GError *err)
{
    if (rc < 0 && !err) {
        err = g_error_new_literal(XENDM_ERROR, -rc, g_strerror(-rc));
    }
    qmp_call_finish(call, err);
}

/* ---- queries ---- */

static void run_query_status(struct qmp_call *call, JsonObject *args)
{
    JsonBuilder *b = json_builder_new();

    json_builder_begin_object(b);
    qmp_build_string(b, "status", qmp_status_name(call->qmp));
    qmp_build_bool(b, "singlestep", false);
    qmp_build_bool(b, "running", qmp_status_running(call->qmp));
    json_builder_end_object(b);
    qmp_call_build(call, b);
}

static void run_query_version(struct qmp_call *call, JsonObject *args)
{
    JsonBuilder *b = json_builder_new();

    qmp_build_version(b);
    qmp_call_build(call, b);
}

/* For tools that ask before anything else: the vCPUs are not KVM's. */
static void run_query_kvm(struct qmp_call *call, JsonObject *args)
{
    JsonBuilder *b = json_builder_new();

    json_builder_begin_object(b);
    qmp_build_bool(b, "enabled", false);
    qmp_build_bool(b, "present", false);
    json_builder_end_object(b);
    qmp_call_build(call, b);
}

static void run_query_name(struct qmp_call *call, JsonObject *args)
{
    JsonBuilder *b = json_builder_new();

    json_builder_begin_object(b);
    if (call->qmp->target->desc->name) {
        qmp_build_string(b, "name", call->qmp->target->desc->name);
    }
    json_builder_end_object(b);
    qmp_call_build(call, b);
}

static void add_chardev(void *opaque, const char *label, const char *filename, bool used,
                        bool connected)
{
    JsonBuilder *b = opaque;

    json_builder_begin_object(b);
    qmp_build_bool(b, "frontend-open", used);
    qmp_build_string(b, "filename", filename);
    qmp_build_string(b, "label", label);
    json_builder_end_object(b);
}

static void run_query_chardev(struct qmp_call *call, JsonObject *args)
{
    JsonBuilder *b = json_builder_new();

    json_builder_begin_array(b);
    qmp_foreach_chardev(call->qmp, add_chardev, b);
    json_builder_end_array(b);
    qmp_call_build(call, b);
}

static void run_query_command_line_options(struct qmp_call *call, JsonObject *args)
{
    const char *only = qmp_arg_string(args, "option");
    JsonBuilder *b = json_builder_new();
    bool found = false;

    json_builder_begin_array(b);
    for (const struct cmdline_option_info *o = cmdline_option_infos; o->name; o++) {
        if (only && strcmp(only, o->name) != 0) {
            continue;
        }
        found = true;
        json_builder_begin_object(b);
        qmp_build_string(b, "option", o->name);
        json_builder_set_member_name(b, "parameters");
        json_builder_begin_array(b);
        for (const char *const *key = o->keys; *key; key++) {
            json_builder_begin_object(b);
            qmp_build_string(b, "name", *key);
            qmp_build_string(b, "type", "string");
            json_builder_end_object(b);
        }
        json_builder_end_array(b);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
    if (only && !found) {
        json_builder_unref(b);
        qmp_call_fail(call, QMP_GENERIC_ERROR, "there is no option '%s' with parameters", only);
        return;
    }
    qmp_call_build(call, b);
}

/* ---- life ---- */

void qmp_run_cont(struct qmp_call *call, JsonObject *args)
{
    GError *err = NULL;
    int rc = call->qmp->target->ops->cont(call->qmp->target->opaque, &err);

    finish(call, rc, err);
}

void qmp_run_stop(struct qmp_call *call, JsonObject *args)
{
    call->qmp->target->ops->stop(call->qmp->target->opaque, call);
}

static void run_quit(struct qmp_call *call, JsonObject *args)
{
    const struct qmp_target *t = call->qmp->target;

    qmp_call_return(call, NULL);
    t->ops->quit(t->opaque);
}

/* The socket's mode says the same, but a socket can be handed on, or its mode changed. */
static bool may_run_programs(const struct qmp_client *client)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

static void run_update(struct qmp_call *call, JsonObject *args)
{
    const struct qmp_target *t = call->qmp->target;
    g_autofree char *binary = g_strdup(qmp_arg_string(args, "binary"));
    const char *socket = qmp_arg_string(args, "socket");
    GError *err = NULL;
    int fd = -1;

    if (!t->ops->update) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "xendm-update: not implemented");
        return;
    }
    if (!may_run_programs(call->client)) {
        qmp_call_fail(call, QMP_GENERIC_ERROR,
                      "xendm-update: only for root and the user of this process");
        return;
    }
    if (socket) {
        fd = qmp_fdset_take(call->qmp, socket, true, NULL, &err);
        if (fd < 0) {
            qmp_call_finish(call, err);
            return;
        }
    }
    t->ops->update(t->opaque, binary, fd, call);
}

static void run_record(struct qmp_call *call, JsonObject *args)
{
    const struct qmp_target *t = call->qmp->target;
    JsonNode *limit = json_object_get_member(args, "limit");
    gint64 bytes = limit ? json_node_get_int(limit) : 0;
    GError *err = NULL;
    int fd;

    if (!t->ops->record) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "xendm-record: not implemented");
        return;
    }
    if (limit && bytes <= 0) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "xendm-record: limit %" G_GINT64_FORMAT, bytes);
        return;
    }
    fd = qmp_fdset_take(call->qmp, qmp_arg_string(args, "file"), true, NULL, &err);
    if (fd < 0) {
        qmp_call_finish(call, err);
        return;
    }
    t->ops->record(t->opaque, fd, (uint64_t)bytes, call);
}

static void run_record_stop(struct qmp_call *call, JsonObject *args)
{
    const struct qmp_target *t = call->qmp->target;

    if (t->ops->record_stop) {
        t->ops->record_stop(t->opaque);
    }
    qmp_call_return(call, NULL);
}

void qmp_run_system_reset(struct qmp_call *call, JsonObject *args)
{
    struct qmp *qmp = call->qmp;

    machine_request_reset(qmp->target->machine);
    qmp_event_reset(qmp, false, "host-qmp-system-reset");
    qmp_call_finish(call, NULL);
}

void qmp_run_system_powerdown(struct qmp_call *call, JsonObject *args)
{
    const struct qmp_target *t = call->qmp->target;
    GError *err = NULL;
    int rc;

    if (!t->ops->system_powerdown) {
        qmp_call_fail(call, QMP_GENERIC_ERROR,
                      "the power button is Xen's: use xl trigger <domain> power");
        return;
    }
    rc = t->ops->system_powerdown(t->opaque, &err);
    finish(call, rc, err);
}

void qmp_run_system_wakeup(struct qmp_call *call, JsonObject *args)
{
    GError *err = NULL;
    int rc = machine_wakeup(call->qmp->target->machine, &err);

    finish(call, rc, err);
}

static void run_log_dirty(struct qmp_call *call, JsonObject *args)
{
    const struct qmp_target *t = call->qmp->target;
    GError *err = NULL;
    int rc = t->ops->set_log_dirty(t->opaque, qmp_arg_bool(args, "enable", false), &err);

    finish(call, rc, err);
}

static void run_save(struct qmp_call *call, JsonObject *args)
{
    const struct qmp_target *t = call->qmp->target;
    const char *file = qmp_arg_string(args, "filename");
    GError *err = NULL;
    int fd;

    /* Only what the toolstack opened itself: we name no files for others. */
    if (!qmp_fdset_is_path(file)) {
        qmp_call_fail(call, QMP_GENERIC_ERROR,
                      "xen-save-devices-state: '%s': only /dev/fdset/N is implemented", file);
        return;
    }
    fd = qmp_fdset_take(call->qmp, file, true, NULL, &err);
    if (fd < 0) {
        qmp_call_finish(call, err);
        return;
    }
    t->ops->save(t->opaque, fd, qmp_arg_bool(args, "live", true), call);
}

static void run_human_monitor_command(struct qmp_call *call, JsonObject *args)
{
    g_autofree char *line = g_strdup(qmp_arg_string(args, "command-line"));

    call->as_text = true;
    hmp_run(call, line);
}

static bool human_is_exclusive(JsonObject *args)
{
    return hmp_is_exclusive(qmp_arg_string(args, "command-line"));
}

const struct qmp_command qmp_commands[] = {
    {"query-status", run_query_status},
    {"query-version", run_query_version},
    {"query-kvm", run_query_kvm},
    {"query-name", run_query_name},
    {"query-chardev", run_query_chardev},
    {"query-command-line-options",
     run_query_command_line_options,
     0,
     {{"option", QMP_ARG_STRING | QMP_ARG_OPTIONAL}}},
    {"cont", qmp_run_cont, QMP_NEEDS_GUEST | QMP_EXCLUSIVE | QMP_TAKES_BACK},
    {"stop", qmp_run_stop, QMP_NEEDS_GUEST | QMP_EXCLUSIVE | QMP_TAKEN_BACK},
    {"quit", run_quit},
    {"system_reset", qmp_run_system_reset, QMP_NEEDS_MACHINE | QMP_EXCLUSIVE},
    {"system_powerdown", qmp_run_system_powerdown, QMP_NEEDS_MACHINE},
    {"system_wakeup", qmp_run_system_wakeup, QMP_NEEDS_MACHINE | QMP_EXCLUSIVE},
    {"xen-set-global-dirty-log", run_log_dirty, QMP_NEEDS_GUEST, {{"enable", QMP_ARG_BOOL}}},
    {"xen-save-devices-state",
     run_save,
     QMP_NEEDS_GUEST | QMP_EXCLUSIVE,
     {{"filename", QMP_ARG_STRING}, {"live", QMP_ARG_BOOL | QMP_ARG_OPTIONAL}}},
    {"xendm-update",
     run_update,
     QMP_NEEDS_GUEST | QMP_EXCLUSIVE,
     {{"binary", QMP_ARG_STRING | QMP_ARG_OPTIONAL},
      {"socket", QMP_ARG_STRING | QMP_ARG_OPTIONAL}}},
    {"xendm-record",
     run_record,
     QMP_NEEDS_MACHINE | QMP_EXCLUSIVE,
     {{"file", QMP_ARG_STRING}, {"limit", QMP_ARG_INT | QMP_ARG_OPTIONAL}}},
    {"xendm-record-stop", run_record_stop},
    {"human-monitor-command",
     run_human_monitor_command,
     0,
     {{"command-line", QMP_ARG_STRING}, {"cpu-index", QMP_ARG_INT | QMP_ARG_OPTIONAL}},
     human_is_exclusive},
    {NULL},
};
