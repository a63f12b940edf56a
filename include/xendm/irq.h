/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupt lines. A line is a wire with any number of sources; it is high while any source is. The
 * hypervisor is called only when the wire's level changes: Xen keeps one bit per line, shared with
 * its own sources (toolstack.md 4.7), so writing a level again is not harmless.
 */
#ifndef XENDM_IRQ_H
#define XENDM_IRQ_H

#include <stdbool.h>
#include <stdint.h>

struct irq_line {
    void (*set)(void *opaque, unsigned number, bool level);
    void *opaque;
    unsigned number;  /* meaning is the setter's */
    unsigned high;    /* how many sources are high */
    uint64_t changes; /* level changes so far */
};

/*
 * One device's connection to a line; zero-initialised means "not connected", and setting it has no
 * effect.
 */
struct irq {
    struct irq_line *line;
    bool level;
};

void irq_line_init(struct irq_line *line, void (*set)(void *opaque, unsigned number, bool level),
                   void *opaque, unsigned number);
/* low; a connected source is taken off its old line first */
void irq_connect(struct irq *irq, struct irq_line *line);
void irq_set(struct irq *irq, bool level);
/* high, then low: an edge for the 8259 */
void irq_pulse(struct irq *irq);

static inline bool irq_line_level(const struct irq_line *line)
{
    return line->high != 0;
}

/*
 * After a restore: Xen's saved state already has the lines' levels, so devices restore `level` by
 * this, which counts the source without a hypervisor call.
 */
void irq_restore(struct irq *irq, bool level);

#endif
