/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU's registers, as far as those see them who look at a domain or debug it. Nothing of them
 * is used for accesses: whoever has the socket plays the CPU. A domain that is debugged executes a
 * little (no operation, jump to itself, breakpoint), so that steps and breakpoints can be tried.
 */
#ifndef XENEMU_CPU_H
#define XENEMU_CPU_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <xen/xen.h>
#include <xen/hvm/save.h>

struct cpu {
    struct hvm_hw_cpu regs;
    bool online, blocked, running;
    bool step;       /* it stops after the next instruction */
    bool held;       /* until the monitor has an answer */
    uint64_t time;   /* ns of CPU time; one that runs has more with each question */
    uint64_t wander; /* as far its instruction pointer goes with each question: it computes */
};

struct domain;

void cpu_init(struct cpu *cpu); /* a 64-bit kernel that is idle */

/* The register of that name, of `size` bytes; NULL: there is none. */
void *cpu_register(struct cpu *cpu, const char *name, unsigned int *size);
void cpu_foreach_register(struct cpu *cpu,
                          void (*fn)(void *opaque, const char *name, uint64_t value), void *opaque);

/* The domain's state as Xen saves it (xen/hvm/save.h): what is looked at, no more. */
void cpu_save_domain(struct domain *d, GByteArray *to);

/* The domain is debugged and goes on; it may be paused again when this returns. */
void cpu_run_debugged(struct domain *d);

#endif
