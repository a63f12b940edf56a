/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of the drop-in libraries: one table from operation to handler, and the names of all. */
#include <glib.h>
#include <string.h>
#include <stdint.h>
#include <xen/xen.h>
#include <xen/hvm/dm_op.h>
#include "../faults/faults.h"
#include "operations.h"

static const struct operation operations[] = {
    {XE_OP_HELLO, "hello", op_hello, 0},
    {XE_OP_RESTRICT, "restrict", op_restrict, 0},
    {XE_OP_LOG, "log", op_log, ONE_WAY},
    {XE_OP_DOMAIN_MEMFD, "memfd", op_memfd, NEED_DOMAIN},
    {XE_OP_DOMAIN_INFO, "domain-info", op_domain_info, PRIVILEGED},
    {XE_OP_MAP, "map", op_map, NEED_DOMAIN},
    {XE_OP_UNMAP, "unmap", op_unmap, ONE_WAY},
    {XE_OP_RESOURCE, "resource", op_resource, NEED_DOMAIN},
    {XE_OP_RESOURCE_SIZE, "resource-size", op_resource_size, NEED_DOMAIN},
    {XE_OP_GNT_MAP, "grant-map", op_gnt_map, 0},
    {XE_OP_GNT_UNMAP, "grant-unmap", op_gnt_unmap, 0},
    {XE_OP_GNT_NOTIFY, "grant-notify", op_gnt_notify, 0},
    {XE_OP_GNT_COPY, "grant-copy", op_gnt_copy, 0},
    {XE_OP_EVTCHN_OPEN, "evtchn-open", op_evtchn_open, 0},
    {XE_OP_EVTCHN_UNBOUND, "evtchn-unbound", op_evtchn_unbound, 0},
    {XE_OP_EVTCHN_INTERDOMAIN, "evtchn-bind", op_evtchn_interdomain, 0},
    {XE_OP_EVTCHN_VIRQ, "evtchn-virq", op_evtchn_virq, 0},
    {XE_OP_EVTCHN_UNBIND, "evtchn-unbind", op_evtchn_unbind, 0},
    {XE_OP_EVTCHN_NOTIFY, "evtchn-notify", op_evtchn_notify, 0},
    {XE_OP_EVTCHN_ADOPT, "evtchn-adopt", op_evtchn_adopt, 0},
    {XE_OP_EVTCHN_PORT, "evtchn-port", op_evtchn_port, 0},
    {XE_OP_POPULATE, "populate", op_populate, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_DECREASE, "decrease", op_decrease, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_ADD_TO_PHYSMAP, "add-to-physmap", op_add_to_physmap, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_REMOVE_FROM_PHYSMAP, "remove-from-physmap", op_remove_from_physmap,
     NEED_DOMAIN | PRIVILEGED},
    {XE_OP_SETMAXMEM, "setmaxmem", op_setmaxmem, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_MAX_GPFN, "max-gpfn", op_max_gpfn, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_SHUTDOWN, "shutdown", op_shutdown, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_PAUSE, "pause", op_pause, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_PARAM_SET, "param-set", op_param_set, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_PARAM_GET, "param-get", op_param_get, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_LOGDIRTY, "logdirty", op_logdirty, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_HVM_CONTEXT, "hvm-context", op_hvm_context, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_VCPU_INFO, "vcpu-info", op_vcpu_info, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_VCPU_GET, "vcpu-get", op_vcpu_get, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_VCPU_SET, "vcpu-set", op_vcpu_set, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_DEBUGGING, "debugging", op_debugging, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_STEP, "single-step", op_step, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_MONITOR, "monitor", op_monitor, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_MONITOR_WANT, "monitor-want", op_monitor_want, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_CONSOLE, "console", op_console, PRIVILEGED},
    {XE_OP_PT, "passthrough", op_pt, NEED_DOMAIN | PRIVILEGED},
    {XE_OP_DM + XEN_DMOP_create_ioreq_server, "create-ioreq-server", dm_create, DM_OP},
    {XE_OP_DM + XEN_DMOP_get_ioreq_server_info, "get-ioreq-server-info", dm_info, DM_OP},
    {XE_OP_DM + XEN_DMOP_map_io_range_to_ioreq_server, "map-io-range", dm_map_range, DM_OP},
    {XE_OP_DM + XEN_DMOP_unmap_io_range_from_ioreq_server, "unmap-io-range", dm_unmap_range, DM_OP},
    {XE_OP_DM + XEN_DMOP_set_ioreq_server_state, "set-ioreq-server-state", dm_state, DM_OP},
    {XE_OP_DM + XEN_DMOP_destroy_ioreq_server, "destroy-ioreq-server", dm_destroy, DM_OP},
    {XE_OP_DM + XEN_DMOP_track_dirty_vram, "track-dirty-vram", dm_track_vram, DM_OP},
    {XE_OP_DM + XEN_DMOP_set_pci_intx_level, "set-pci-intx-level", dm_intx, DM_OP},
    {XE_OP_DM + XEN_DMOP_set_isa_irq_level, "set-isa-irq-level", dm_isa, DM_OP},
    {XE_OP_DM + XEN_DMOP_set_pci_link_route, "set-pci-link-route", dm_route, DM_OP},
    {XE_OP_DM + XEN_DMOP_modified_memory, "modified-memory", dm_modified, DM_OP},
    {XE_OP_DM + XEN_DMOP_set_mem_type, "set-mem-type", dm_mem_type, DM_OP},
    {XE_OP_DM + XEN_DMOP_inject_event, "inject-event", dm_event, DM_OP},
    {XE_OP_DM + XEN_DMOP_inject_msi, "inject-msi", dm_msi, DM_OP},
    {XE_OP_DM + XEN_DMOP_map_mem_type_to_ioreq_server, "map-mem-type", dm_map_type, DM_OP},
    {XE_OP_DM + XEN_DMOP_remote_shutdown, "remote-shutdown", dm_shutdown, DM_OP},
    {XE_OP_DM + XEN_DMOP_relocate_memory, "relocate-memory", dm_relocate, DM_OP},
    {XE_OP_DM + XEN_DMOP_pin_memory_cacheattr, "pin-memory-cacheattr", dm_pin, DM_OP},
    {XE_OP_DM + XEN_DMOP_nr_vcpus, "nr-vcpus", dm_nr_vcpus, DM_OP},
};

/* By number in xs_wire.h. */
static const char *const xs_names[] = {
    "xs-control",
    "xs-directory",
    "xs-read",
    "xs-get-perms",
    "xs-watch",
    "xs-unwatch",
    "xs-transaction-start",
    "xs-transaction-end",
    "xs-introduce",
    "xs-release",
    "xs-get-domain-path",
    "xs-write",
    "xs-mkdir",
    "xs-rm",
    "xs-set-perms",
};

/* System calls of the device model on the files of its drives; xenemu run asks (faults/disk.c). */
static const char *const disk_names[] = {"disk-read", "disk-write", "disk-flush", "disk-discard"};

const char *op_name(uint32_t op)
{
    unsigned int i;

    if (op >= XE_OP_XS && op - XE_OP_XS < G_N_ELEMENTS(xs_names))
        return xs_names[op - XE_OP_XS];
    if (op >= XE_OP_DISK && op - XE_OP_DISK < G_N_ELEMENTS(disk_names))
        return disk_names[op - XE_OP_DISK];
    if (op == XE_OP_EVENT)
        return "event";
    for (i = 0; i < G_N_ELEMENTS(operations); i++)
        if (operations[i].op == op)
            return operations[i].name;
    return "?";
}

/* HELLO and LOG are xenemu's own; a notify goes by the stream of event channels. */
static bool can_fail(const struct operation *o)
{
    return o->op != XE_OP_HELLO && o->op != XE_OP_EVTCHN_NOTIFY && !(o->flags & ONE_WAY);
}

char *op_names(void)
{
    GString *t = g_string_new("OK event");
    unsigned int i;

    for (i = 0; i < G_N_ELEMENTS(operations); i++)
        if (can_fail(&operations[i]))
            g_string_append_printf(t, " %s", operations[i].name);
    for (i = 0; i < G_N_ELEMENTS(xs_names); i++)
        g_string_append_printf(t, " %s", xs_names[i]);
    for (i = 0; i < G_N_ELEMENTS(disk_names); i++)
        g_string_append_printf(t, " %s", disk_names[i]);
    return g_string_free(t, FALSE);
}

uint32_t op_by_name(const char *name)
{
    unsigned int i;

    if (!strcmp(name, "event"))
        return XE_OP_EVENT;
    for (i = 0; i < G_N_ELEMENTS(xs_names); i++)
        if (!strcmp(xs_names[i], name))
            return XE_OP_XS + i;
    for (i = 0; i < G_N_ELEMENTS(disk_names); i++)
        if (!strcmp(disk_names[i], name))
            return XE_OP_DISK + i;
    for (i = 0; i < G_N_ELEMENTS(operations); i++)
        if (!strcmp(operations[i].name, name) && can_fail(&operations[i]))
            return operations[i].op;
    return 0;
}

const struct operation *operation_find(uint32_t op)
{
    unsigned int i;

    for (i = 0; i < G_N_ELEMENTS(operations); i++)
        if (operations[i].op == op)
            return &operations[i];
    return NULL;
}
