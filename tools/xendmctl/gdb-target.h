/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that is debugged: its vCPUs' registers, breakpoints, stops. What gdb's protocol says of
 * them is in gdb.c, how gdb knows registers in gdb-registers.c.
 */
#ifndef XENDMCTL_GDB_TARGET_H
#define XENDMCTL_GDB_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu.h"

#define TARGET_VCPUS_MAX 128u

enum stop_reason {
    STOP_NONE,  /* it runs */
    STOP_ASKED, /* we paused it, or somebody else did */
    STOP_STEP,
    STOP_BREAKPOINT, /* by an instruction */
    STOP_HARDWARE,   /* by a debug register: execution */
    STOP_WATCH,      /* … or data */
    STOP_SHUTDOWN,   /* it is over; registers are there still */
    STOP_GONE,
};

/* As gdb numbers them in Z packets. */
enum break_kind { BREAK_SOFTWARE, BREAK_HARDWARE, BREAK_WRITE, BREAK_READ, BREAK_ACCESS };

struct target;

/* Stops the guest. NULL with errno: it cannot be. */
struct target *target_attach(uint32_t domid);
/* Why Xen does not stop it at breakpoints and behind steps, an errno; 0: it does. */
int target_deaf(const struct target *t);
/* Takes its breakpoints out, and lets it go on unless it was paused before. */
void target_detach(struct target *t);

unsigned target_vcpus(const struct target *t);
bool target_online(const struct target *t, unsigned vcpu);
/* While it stands. What is changed goes to Xen before it goes on. */
const struct hvm_hw_cpu *target_registers(const struct target *t, unsigned vcpu);
struct hvm_hw_cpu *target_change_registers(struct target *t, unsigned vcpu);

/* Memory, virtual as that vCPU sees it, or physical; without our breakpoints. */
size_t target_read(struct target *t, unsigned vcpu, bool physical, uint64_t address, void *to,
                   size_t size);
size_t target_write(struct target *t, unsigned vcpu, bool physical, uint64_t address,
                    const void *from, size_t size);

/*
 * 0 or -errno: -EFAULT: nothing is mapped there; -ENOSPC: no debug register is left; -ENOTSUP: Xen
 * does not stop this guest, neither here nor behind a step, because of target_deaf().
 */
int target_break(struct target *t, unsigned vcpu, enum break_kind kind, uint64_t address,
                 unsigned length);
int target_unbreak(struct target *t, enum break_kind kind, uint64_t address, unsigned length);

/* It goes on; `step`: that vCPU one instruction, negative: none. 0 or -errno. */
int target_go_on(struct target *t, int step);
/* Whether it has stopped by now, and which vCPU at what. */
enum stop_reason target_poll(struct target *t, unsigned *vcpu, uint64_t *address);
int target_interrupt(struct target *t);

#endif
