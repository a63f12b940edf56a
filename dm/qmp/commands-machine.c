/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP's questions about the machine as a whole, for tools that ask before they begin. Most answers
 * are the same for every guest under Xen.
 */
#include <string.h>

#include <xendm/backend.h>

#include "internal.h"

/* The toolstack does not tell it to the device model; QEMU says the same then. */
const char *qmp_uuid(struct qmp *qmp)
{
    return "00000000-0000-0000-0000-000000000000";
}

uint64_t qmp_memory_size(struct qmp *qmp)
{
    return qmp->target->desc->ram_bytes;
}

static JsonBuilder *begin_object(void)
{
    JsonBuilder *b = json_builder_new();

    json_builder_begin_object(b);
    return b;
}

static void end_object(struct qmp_call *call, JsonBuilder *b)
{
    json_builder_end_object(b);
    qmp_call_build(call, b);
}

void qmp_run_empty_list(struct qmp_call *call, JsonObject *args)
{
    JsonBuilder *b = json_builder_new();

    json_builder_begin_array(b);
    json_builder_end_array(b);
    qmp_call_build(call, b);
}

static void run_query_uuid(struct qmp_call *call, JsonObject *args)
{
    JsonBuilder *b = begin_object();

    qmp_build_string(b, "UUID", qmp_uuid(call->qmp));
    end_object(call, b);
}

static void run_query_target(struct qmp_call *call, JsonObject *args)
{
    JsonBuilder *b = begin_object();

    qmp_build_string(b, "arch", "x86_64");
    end_object(call, b);
}

static void run_query_current_machine(struct qmp_call *call, JsonObject *args)
{
    JsonBuilder *b = begin_object();

    qmp_build_bool(b, "wakeup-suspend-support", true);
    end_object(call, b);
}

static void run_query_machines(struct qmp_call *call, JsonObject *args)
{
    JsonBuilder *b = json_builder_new();

    json_builder_begin_array(b);
    json_builder_begin_object(b);
    qmp_build_string(b, "name", "xenfv");
    qmp_build_int(b, "cpu-max", 128);
    qmp_build_bool(b, "hotpluggable-cpus", true);
    qmp_build_bool(b, "numa-mem-supported", false);
    qmp_build_bool(b, "deprecated", false);
    json_builder_end_object(b);
    json_builder_end_array(b);
    qmp_call_build(call, b);
}

static void run_query_memory_size_summary(struct qmp_call *call, JsonObject *args)
{
    JsonBuilder *b = begin_object();

    qmp_build_int(b, "base-memory", (gint64)qmp_memory_size(call->qmp));
    qmp_build_int(b, "plugged-memory", 0);
    end_object(call, b);
}

/* None was begun here: it is the toolstack's. */
static void run_query_migrate(struct qmp_call *call, JsonObject *args)
{
    end_object(call, begin_object());
}

static void run_query_chardev_backends(struct qmp_call *call, JsonObject *args)
{
    JsonBuilder *b = json_builder_new();

    json_builder_begin_array(b);
    for (const struct backend_class *const *c = backend_classes(); *c; c++) {
        if ((*c)->kind == BACKEND_CHAR) {
            json_builder_begin_object(b);
            qmp_build_string(b, "name", (*c)->driver);
            json_builder_end_object(b);
        }
    }
    json_builder_end_array(b);
    qmp_call_build(call, b);
}

/* The class is QEMU's when the guest has no such device. */
static void run_balloon(struct qmp_call *call, JsonObject *args)
{
    qmp_call_fail(call, QMP_DEVICE_NOT_ACTIVE, "the guest's memory is Xen's: xl list, xl mem-set");
}

const struct qmp_command qmp_machine_commands[] = {
    {"balloon", run_balloon, 0, {{"value", QMP_ARG_INT}}},
    {"query-balloon", run_balloon},
    {"query-chardev-backends", run_query_chardev_backends},
    {"query-current-machine", run_query_current_machine},
    {"query-iothreads", qmp_run_empty_list},
    {"query-machines", run_query_machines},
    {"query-memory-devices", qmp_run_empty_list},
    {"query-memory-size-summary", run_query_memory_size_summary},
    {"query-migrate", run_query_migrate},
    {"query-target", run_query_target},
    {"query-uuid", run_query_uuid},
    {NULL},
};
