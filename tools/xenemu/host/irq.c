/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupt lines as xen/arch/x86/hvm/irq.c keeps them: a PCI INTx raises its own GSI (16 …) and
 * one of four links; a link raises the ISA interrupt it is routed to; a line is high while anything
 * raises it.
 */
#include <errno.h>
#include <inttypes.h>
#include "domain.h"

unsigned int irq_intx_gsi(unsigned int dev, unsigned int pin)
{
    return ((dev * 4 + dev / 8 + pin) & 31) + 16;
}

static void gsi_add(struct domain *d, unsigned int gsi, int delta)
{
    uint64_t bit = UINT64_C(1) << gsi;
    bool level;

    d->gsi_count[gsi] = (uint8_t)(d->gsi_count[gsi] + delta);
    level = d->gsi_count[gsi] != 0;
    if (level == !!(d->gsi_level & bit))
        return;
    d->gsi_level ^= bit;
    pthread_cond_broadcast(&d->host->idle);
    host_event(d->host, d, EVENT_IRQ, "IRQ %s %u", level ? "raise" : "lower", gsi);
}

static unsigned int isa_gsi(unsigned int irq)
{
    return irq ? irq : 2;
}

int irq_set_intx(struct domain *d, unsigned int dev, unsigned int pin, unsigned int level)
{
    unsigned int link = (dev + pin) & 3;
    uint32_t bit = UINT32_C(1) << (dev & 31);

    if (dev > 31 || pin > 3 || level > 1)
        return -EINVAL;
    d->irq_ops++;
    if (!!(d->pci_intx[pin] & bit) == !!level) {
        d->irq_ops_same++;
        return 0;
    }
    d->pci_intx[pin] ^= bit;
    gsi_add(d, irq_intx_gsi(dev, pin), level ? 1 : -1);
    d->link_count[link] = (uint8_t)(d->link_count[link] + (level ? 1 : -1));
    if (d->link_count[link] == (level ? 1 : 0) && d->link_route[link])
        gsi_add(d, isa_gsi(d->link_route[link]), level ? 1 : -1);
    return 0;
}

int irq_set_isa(struct domain *d, unsigned int irq, unsigned int level)
{
    if (irq > 15 || level > 1)
        return -EINVAL;
    d->irq_ops++;
    if (!!(d->isa_level >> irq & 1) == !!level) {
        d->irq_ops_same++;
        return 0;
    }
    d->isa_level = (uint16_t)(d->isa_level ^ 1u << irq);
    gsi_add(d, isa_gsi(irq), level ? 1 : -1);
    return 0;
}

int irq_set_route(struct domain *d, unsigned int link, unsigned int irq)
{
    unsigned int old;

    if (link > 3 || irq > 15)
        return -EINVAL;
    old = d->link_route[link];
    d->link_route[link] = (uint8_t)irq;
    if (d->link_count[link] && old != irq) {
        if (old)
            gsi_add(d, isa_gsi(old), -1);
        if (irq)
            gsi_add(d, isa_gsi(irq), 1);
    }
    return 0;
}

int irq_inject_msi(struct domain *d, uint64_t addr, uint32_t data)
{
    struct msi_record m = {addr, data};

    if (addr >> 20 != 0xFEE)
        return -EINVAL;
    d->msi_total++;
    if (d->msi->len < 4096)
        g_array_append_val(d->msi, m);
    host_event(d->host, d, EVENT_MSI, "MSI 0x%" PRIx64 " 0x%x", addr, data);
    return 0;
}
