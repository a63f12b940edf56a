/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Xen's monitor of a domain, as far as a debugger has it: xen/vm_event.h. */
#ifndef XENEMU_MONITOR_H
#define XENEMU_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

struct domain;
struct port;

struct monitor {
    struct port *port; /* NULL: there is none */
    uint64_t gfn;      /* of its ring */
    bool wanted[32];   /* by VM_EVENT_REASON_* */
    uint32_t produced, consumed;
};

/* 0 or -errno. */
int monitor_enable(struct domain *d);
void monitor_disable(struct domain *d);
/*
 * Tells it, if it wants that, that a vCPU met something, of a HVMOP_TRAP_*; it stands until that is
 * answered.
 */
void monitor_tell(struct domain *d, unsigned int vcpu, uint32_t reason, uint8_t type);
/* The other end has notified us: takes its answers, and vCPUs go on. */
void monitor_answered(struct domain *d);

#endif
