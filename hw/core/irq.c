/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupt lines; see xendm/irq.h. */
#include <stddef.h>
#include <string.h>

#include <xendm/irq.h>
#include <xendm/recorder.h>

void irq_line_init(struct irq_line *line, void (*set)(void *opaque, unsigned number, bool level),
                   void *opaque, unsigned number)
{
    memset(line, 0, sizeof(*line));
    line->set = set;
    line->opaque = opaque;
    line->number = number;
}

void irq_set(struct irq *irq, bool level)
{
    struct irq_line *line = irq->line;

    if (!line || irq->level == level) {
        return;
    }
    irq->level = level;
    if (level) {
        if (line->high++ > 0) {
            return;
        }
    } else {
        XENDM_ASSERT(line->high > 0);
        if (--line->high > 0) {
            return;
        }
    }
    line->changes++;
    line->set(line->opaque, line->number, level);
}

void irq_connect(struct irq *irq, struct irq_line *line)
{
    irq_set(irq, false);
    irq->line = line;
    irq->level = false;
}

void irq_pulse(struct irq *irq)
{
    irq_set(irq, true);
    irq_set(irq, false);
}

void irq_restore(struct irq *irq, bool level)
{
    if (!irq->line || irq->level == level) {
        return;
    }
    irq->level = level;
    if (level) {
        irq->line->high++;
    } else {
        XENDM_ASSERT(irq->line->high > 0);
        irq->line->high--;
    }
}
