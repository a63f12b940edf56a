/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupt lines and messages. */
#ifndef XENEMU_IRQ_H
#define XENEMU_IRQ_H

#include <stdint.h>

#define XE_NR_GSI 48u
#define XE_MAX_LINKS 4u

struct domain;

struct msi_record {
    uint64_t addr;
    uint32_t data;
};

int irq_set_intx(struct domain *d, unsigned int dev, unsigned int pin, unsigned int level);
int irq_set_isa(struct domain *d, unsigned int irq, unsigned int level);
int irq_set_route(struct domain *d, unsigned int link, unsigned int irq);
int irq_inject_msi(struct domain *d, uint64_t addr, uint32_t data);
unsigned int irq_intx_gsi(unsigned int dev, unsigned int pin);

#endif
