/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the connections and the operations: one call, the table, the handlers by file. */
#ifndef XENEMU_OPERATIONS_H
#define XENEMU_OPERATIONS_H

#include <stddef.h>
#include <stdint.h>
#include "rpc.h"

struct host;
struct domain;
struct conn;

struct call {
    struct host *h;
    struct conn *c;
    const struct xe_req *req;
    const uint8_t *pay;
    size_t paylen;
    struct xe_rep rep;
    uint8_t *out; /* XE_PAYLOAD_MAX bytes */
    size_t outlen;
    int fd; /* sent along; not closed */
    struct domain *d;
};

enum { NEED_DOMAIN = 1, PRIVILEGED = 2, ONE_WAY = 4, DM_OP = 8 };

struct operation {
    uint32_t op;
    const char *name;
    int (*run)(struct call *k);
    unsigned int flags;
};

const struct operation *operation_find(uint32_t op);
const char *op_name(uint32_t op);
uint32_t op_by_name(const char *name);
char *op_names(void); /* an answer */

/* One more record of the reply, or the last one made longer. */
struct xe_run *call_add_run(struct call *k, uint32_t index, uint32_t count, uint64_t off, int err,
                            uint32_t domid);

/* domain.c */
int op_hello(struct call *k);
int op_restrict(struct call *k);
int op_log(struct call *k);
int op_memfd(struct call *k);
int op_domain_info(struct call *k);
int op_shutdown(struct call *k);
int op_pause(struct call *k);
int op_param_set(struct call *k);
int op_param_get(struct call *k);
int op_pt(struct call *k);

/* vcpu.c */
int op_hvm_context(struct call *k);
int op_vcpu_info(struct call *k);
int op_vcpu_get(struct call *k);
int op_vcpu_set(struct call *k);
int op_debugging(struct call *k);
int op_step(struct call *k);
int op_monitor(struct call *k);
int op_monitor_want(struct call *k);
int op_console(struct call *k);

/* memory.c */
int op_map(struct call *k);
int op_unmap(struct call *k);
int op_resource(struct call *k);
int op_resource_size(struct call *k);
int op_populate(struct call *k);
int op_decrease(struct call *k);
int op_add_to_physmap(struct call *k);
int op_remove_from_physmap(struct call *k);
int op_setmaxmem(struct call *k);
int op_max_gpfn(struct call *k);
int op_logdirty(struct call *k);

/* grants.c */
int op_gnt_map(struct call *k);
int op_gnt_unmap(struct call *k);
int op_gnt_notify(struct call *k);
int op_gnt_copy(struct call *k);

/* evtchn.c */
int op_evtchn_open(struct call *k);
int op_evtchn_unbound(struct call *k);
int op_evtchn_interdomain(struct call *k);
int op_evtchn_virq(struct call *k);
int op_evtchn_unbind(struct call *k);
int op_evtchn_notify(struct call *k);
int op_evtchn_adopt(struct call *k);
int op_evtchn_port(struct call *k);

/* dm-op.c */
int dm_create(struct call *k);
int dm_info(struct call *k);
int dm_map_range(struct call *k);
int dm_unmap_range(struct call *k);
int dm_state(struct call *k);
int dm_destroy(struct call *k);
int dm_track_vram(struct call *k);
int dm_intx(struct call *k);
int dm_isa(struct call *k);
int dm_route(struct call *k);
int dm_modified(struct call *k);
int dm_mem_type(struct call *k);
int dm_event(struct call *k);
int dm_msi(struct call *k);
int dm_map_type(struct call *k);
int dm_shutdown(struct call *k);
int dm_relocate(struct call *k);
int dm_pin(struct call *k);
int dm_nr_vcpus(struct call *k);

#endif
