/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Debug exceptions of a domain, told by Xen's monitor (xen/vm_event.h) instead of to the guest: for
 * a debugger on a Xen without CONFIG_GDBSX. A vCPU that met one stands until it is answered. A
 * domain has one monitor; another program that looks at it has it, too.
 *
 * A breakpoint is the instruction INT1, a debug exception of its own kind: Xen has it on VT-x and
 * SVM, at the instruction, and guests, who use INT3 for much, keep that. (QEMU's emulated SVM does
 * not give INT3 to Xen at all.)
 */
#ifndef XENDMCTL_MONITOR_H
#define XENDMCTL_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

#define MONITOR_BREAKPOINT 0xf1u /* INT1, also called ICEBP */

struct monitor;

struct monitor_event {
    unsigned vcpu;
    bool breakpoint;  /* INT1, at which it stands; else another debug exception, or a step */
    uint64_t address; /* guest-physical, of the instruction pointer */
    /* As the guest would have got it, and Xen's own. */
    uint8_t type;
    uint32_t length, reason, flags;
    uint64_t pending;
};

/* NULL with errno; -EBUSY: there is one, or one that was killed left the domain so. */
struct monitor *monitor_open(uint32_t domid);
/* All that is told by now must have been answered: what is not, the guest gets. */
void monitor_close(struct monitor *m);

/* The next one that is told; false: none is, now. Never waits. */
bool monitor_next(struct monitor *m, struct monitor_event *to);
/* Its vCPU goes on, by its registers as they are then. */
void monitor_answer(struct monitor *m, const struct monitor_event *e);
/* The same, and the guest gets it: it was its own. */
void monitor_pass(struct monitor *m, const struct monitor_event *e);

#endif
