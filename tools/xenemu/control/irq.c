/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands: interrupt lines and messages. */
#include <inttypes.h>
#include <string.h>
#include "../host/domain.h"
#include "commands.h"
#include "qtest.h"
#include "words.h"

/* As irqstate, but levels and routes only: what does not depend on how often a line moved. */
char *cmd_lines(struct cmd *c)
{
    struct domain *d = c->d;

    return g_strdup_printf("OK gsi=0x%" PRIx64 " isa=0x%x route=%u,%u,%u,%u", d->gsi_level,
                           d->isa_level, d->link_route[0], d->link_route[1], d->link_route[2],
                           d->link_route[3]);
}

char *cmd_irqstate(struct cmd *c)
{
    struct domain *d = c->d;

    if (c->n > 1)
        return c->a[1] < XE_NR_GSI
                   ? g_strdup_printf("OK %u", (unsigned int)(d->gsi_level >> c->a[1] & 1))
                   : fail("no such line");
    return g_strdup_printf("OK gsi=0x%" PRIx64
                           " isa=0x%x intx=0x%x,0x%x,0x%x,0x%x route=%u,%u,%u,%u "
                           "calls=%" PRIu64 " unchanged=%" PRIu64,
                           d->gsi_level, d->isa_level, d->pci_intx[0], d->pci_intx[1],
                           d->pci_intx[2], d->pci_intx[3], d->link_route[0], d->link_route[1],
                           d->link_route[2], d->link_route[3], d->irq_ops, d->irq_ops_same);
}

char *cmd_intx(struct cmd *c)
{
    uint32_t bdf;
    unsigned int pin = (unsigned int)c->a[2];

    if (!parse_bdf(c->w[1], &bdf) || bdf > 255 || pin > 3)
        return fail("usage: intx DD.F PIN");
    return g_strdup_printf("OK %u gsi=%u", c->d->pci_intx[pin] >> (bdf >> 3) & 1,
                           irq_intx_gsi(bdf >> 3, pin));
}

char *cmd_msi(struct cmd *c)
{
    GString *t = g_string_new("OK");
    unsigned int i;

    g_string_append_printf(t, " total=%" PRIu64, c->d->msi_total);
    for (i = 0; i < c->d->msi->len; i++) {
        const struct msi_record *m = &g_array_index(c->d->msi, struct msi_record, i);

        g_string_append_printf(t, " 0x%" PRIx64 ":0x%x", m->addr, m->data);
    }
    g_array_set_size(c->d->msi, 0);
    return g_string_free(t, FALSE);
}

char *cmd_watch(struct cmd *c)
{
    unsigned int i;

    c->s->want = 0;
    for (i = 1; i < c->n; i++) {
        if (!strcmp(c->w[i], "irq"))
            c->s->want |= EVENT_IRQ;
        else if (!strcmp(c->w[i], "msi"))
            c->s->want |= EVENT_MSI;
        else if (!strcmp(c->w[i], "evtchn"))
            c->s->want |= EVENT_EVTCHN;
        else if (strcmp(c->w[i], "none"))
            return fail("usage: watch [irq] [msi] [evtchn] [none]");
    }
    return g_strdup("OK");
}
