/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How gdb knows a vCPU's registers: names, order, sizes; the description that it is told. */
#ifndef XENDMCTL_GDB_H
#define XENDMCTL_GDB_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "cpu.h"

#define GDB_REGISTER_MAX 16u /* bytes */

/* Of 16, 32 or 64 bits; XML. g_free(). */
char *gdb_description(unsigned bits);

/* Its bytes, as gdb has them; 0: there is no register of that number. */
unsigned gdb_register(unsigned bits, unsigned number, const struct hvm_hw_cpu *regs,
                      uint8_t value[GDB_REGISTER_MAX]);
/* False: it cannot be changed. The size is that of the register. */
bool gdb_set_register(unsigned bits, unsigned number, struct hvm_hw_cpu *regs,
                      const uint8_t *value);

#endif
