/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a vCPU's registers mean: its mode, where it executes, what is at a virtual address. */
#ifndef XENDMCTL_CPU_H
#define XENDMCTL_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xen.h"

enum cpu_mode { CPU_REAL, CPU_V86, CPU_16, CPU_32, CPU_64 };

enum cpu_mode cpu_mode(const struct hvm_hw_cpu *regs);
const char *cpu_mode_name(enum cpu_mode mode);
unsigned cpu_bits(enum cpu_mode mode);
unsigned cpu_level(const struct hvm_hw_cpu *regs); /* of privilege: 0 the kernel, 3 a program */

/* Linear address of the next instruction. */
uint64_t cpu_instruction(const struct hvm_hw_cpu *regs);

/* By the guest's page tables, for a kernel; false: nothing is there. */
bool cpu_translate(struct xen *x, const struct hvm_hw_cpu *regs, uint64_t linear, uint64_t *to);
/* Bytes at a linear address; how many, from the first one, there were. */
size_t cpu_read(struct xen *x, const struct hvm_hw_cpu *regs, uint64_t linear, void *to,
                size_t size);
size_t cpu_write(struct xen *x, const struct hvm_hw_cpu *regs, uint64_t linear, const void *from,
                 size_t size);

#endif
