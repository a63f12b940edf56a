/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Message signalled interrupts: PCI Local Bus 3.0, 6.8.1 (MSI) and 6.8.2 (MSI-X). Left out: MSI's
 * per-vector masking.
 *
 * A message is a memory write by the function, so none leaves while it may not master the bus:
 * MSI-X vectors stay pending then, MSI messages are lost.
 */
#include <string.h>

#include <xendm/hypervisor.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/probe.h>
#include <xendm/recorder.h>

#include "core.h"
#include "pci-regs.h"

#define MSIX_VECTORS_MAX 2048u
#define MSIX_ENTRY_SIZE 16u
#define MSIX_ENTRY_MASKED 1u

static void message(struct pci_device *pci, uint64_t address, uint32_t data)
{
    recorder_note(REC_MSI, 0, address, data);
    PROBE2(msi, address, data);
    hv_msi_inject(pci->dev.machine->hv, address, data);
}

/* ---- MSI ---- */

void pci_cap_add_msi(struct pci_device *pci, uint8_t offset, unsigned vectors, bool address64)
{
    uint8_t at = pci_cap_add(pci, PCI_CAP_MSI, offset, address64 ? 14 : 10);
    uint16_t control = address64 ? PCI_MSI_64 : 0;
    unsigned log2 = 0;

    XENDM_ASSERT(vectors >= 1 && vectors <= 32 && (vectors & (vectors - 1)) == 0);
    while (1u << log2 < vectors) {
        log2++;
    }
    pci->cap_msi = at;
    config_put16(pci->config, at + PCI_MSI_CONTROL,
                 (uint16_t)(control | log2 << PCI_MSI_CAPABLE_SHIFT));
    config_put16(pci->writable, at + PCI_MSI_CONTROL, PCI_MSI_ENABLE | PCI_MSI_ALLOCATED);
    config_put32(pci->writable, at + PCI_MSI_ADDRESS, ~3u);
    if (address64) {
        config_put32(pci->writable, at + 8u, UINT32_MAX);
        config_put16(pci->writable, at + 12u, UINT16_MAX);
    } else {
        config_put16(pci->writable, at + 8u, UINT16_MAX);
    }
}

bool pci_msi_enabled(const struct pci_device *pci)
{
    return pci->cap_msi &&
           (config_get16(pci->config, pci->cap_msi + PCI_MSI_CONTROL) & PCI_MSI_ENABLE);
}

bool pci_msi_send(struct pci_device *pci, unsigned vector)
{
    const uint8_t *cap = &pci->config[pci->cap_msi];
    unsigned capable, allocated;
    uint64_t address;
    uint32_t data;
    uint16_t control;

    if (!pci_msi_enabled(pci)) {
        return false;
    }
    if (pci->dev.dma_blocked) {
        return true;
    }
    control = config_get16(cap, PCI_MSI_CONTROL);
    address = config_get32(cap, PCI_MSI_ADDRESS);
    if (control & PCI_MSI_64) {
        address |= (uint64_t)config_get32(cap, 8) << 32;
        data = config_get16(cap, 12);
    } else {
        data = config_get16(cap, 8);
    }
    /* The guest may give fewer vectors than the chip has, which then share. More than it has means
     * all. */
    capable = control >> PCI_MSI_CAPABLE_SHIFT & 7;
    allocated = (control & PCI_MSI_ALLOCATED) >> PCI_MSI_ALLOCATED_SHIFT;
    if (allocated > capable) {
        allocated = capable;
    }
    data = (data & ~((1u << allocated) - 1)) | (vector & ((1u << allocated) - 1));
    message(pci, address, data);
    return true;
}

/* ---- MSI-X ---- */

void pci_cap_add_msix(struct pci_device *pci, uint8_t offset, unsigned vectors, unsigned bar,
                      uint32_t table, uint32_t pba)
{
    uint8_t at = pci_cap_add(pci, PCI_CAP_MSIX, offset, 12);
    uint64_t pba_bytes = (vectors + 63) / 64 * 8;
    struct pci_bar *b = &pci->bar[bar];

    XENDM_ASSERT(vectors >= 1 && vectors <= MSIX_VECTORS_MAX && bar < PCI_BAR_COUNT &&
                 !pci->msix_table);
    XENDM_ASSERT(b->size && b->type != PCI_BAR_IO);
    XENDM_ASSERT(table % 8 == 0 && pba % 8 == 0);
    XENDM_ASSERT(table + (uint64_t)vectors * MSIX_ENTRY_SIZE <= b->size &&
                 pba + pba_bytes <= b->size);
    XENDM_ASSERT(table + (uint64_t)vectors * MSIX_ENTRY_SIZE <= pba || pba + pba_bytes <= table);
    pci->cap_msix = at;
    config_put16(pci->config, at + PCI_MSIX_CONTROL, (uint16_t)(vectors - 1));
    config_put16(pci->writable, at + PCI_MSIX_CONTROL, PCI_MSIX_ENABLE | PCI_MSIX_MASK_ALL);
    config_put32(pci->config, at + 4u, table | bar);
    config_put32(pci->config, at + 8u, pba | bar);
    pci->msix_count = vectors;
    pci->msix_bar = bar;
    pci->msix_table_offset = table;
    pci->msix_pba_offset = pba;
    pci->msix_table_bytes = vectors * MSIX_ENTRY_SIZE;
    pci->msix_pba_bytes = (uint32_t)pba_bytes;
    pci->msix_table = g_malloc0(pci->msix_table_bytes);
    pci->msix_pba = g_malloc0(pci->msix_pba_bytes);
    /* The table is part of the BAR: our ops take it out and pass on the rest. */
    region_init(&b->region, b->region.name ? b->region.name : pci->dev.id, &pci_msix_ops, pci,
                b->size);
    pci_msi_reset(pci);
}

bool pci_msix_enabled(const struct pci_device *pci)
{
    return pci->cap_msix &&
           (config_get16(pci->config, pci->cap_msix + PCI_MSIX_CONTROL) & PCI_MSIX_ENABLE);
}

/*
 * A guest that takes its messages as events of the hypervisor's (Linux on Xen) says so by vector 0
 * and the number of the event in the destination. It masks the event then, and leaves the table's
 * mask bits as they are, which is set.
 */
static bool is_event(const struct msix_entry *e)
{
    return (e->address & 0xfff00000) == 0xfee00000 && (e->data & 0xff) == 0;
}

static bool vector_open(const struct pci_device *pci, unsigned vector)
{
    const struct msix_entry *e = &pci->msix_table[vector];
    uint16_t control = config_get16(pci->config, pci->cap_msix + PCI_MSIX_CONTROL);

    return (control & PCI_MSIX_ENABLE) && !pci->dev.dma_blocked &&
           (is_event(e) || !((control & PCI_MSIX_MASK_ALL) || (e->control & MSIX_ENTRY_MASKED)));
}

static void deliver_pending(struct pci_device *pci, unsigned vector)
{
    uint64_t bit = UINT64_C(1) << vector % 64;

    if ((pci->msix_pba[vector / 64] & bit) && vector_open(pci, vector)) {
        pci->msix_pba[vector / 64] &= ~bit;
        message(pci, pci->msix_table[vector].address, pci->msix_table[vector].data);
    }
}

bool pci_msix_send(struct pci_device *pci, unsigned vector)
{
    if (!pci_msix_enabled(pci) || vector >= pci->msix_count) {
        return false;
    }
    pci->msix_pba[vector / 64] |= UINT64_C(1) << vector % 64;
    deliver_pending(pci, vector);
    return true;
}

/* Enable, mask-all or bus mastering changed: what became open is sent. */
void pci_msix_control_written(struct pci_device *pci)
{
    for (unsigned i = 0; i < pci->msix_count; i++) {
        deliver_pending(pci, i);
    }
}

void pci_msi_reset(struct pci_device *pci)
{
    for (unsigned i = 0; i < pci->msix_count; i++) {
        pci->msix_table[i] = (struct msix_entry){.control = MSIX_ENTRY_MASKED};
    }
    if (pci->msix_pba) {
        memset(pci->msix_pba, 0, pci->msix_pba_bytes);
    }
}

void pci_msix_restored(struct pci_device *pci)
{
    for (unsigned i = 0; i < pci->msix_count; i++) {
        pci->msix_table[i].address &= ~UINT64_C(3);
        pci->msix_table[i].control &= MSIX_ENTRY_MASKED;
    }
    if (pci->msix_count % 64) {
        pci->msix_pba[pci->msix_count / 64] &= (UINT64_C(1) << pci->msix_count % 64) - 1;
    }
}

/* ---- the BAR that holds table and pending bits ---- */

static uint32_t table_read32(const struct pci_device *pci, unsigned at)
{
    const struct msix_entry *e = &pci->msix_table[at / MSIX_ENTRY_SIZE];

    switch (at % MSIX_ENTRY_SIZE / 4) {
    case 0:
        return (uint32_t)e->address;
    case 1:
        return (uint32_t)(e->address >> 32);
    case 2:
        return e->data;
    default:
        return e->control;
    }
}

static void table_write32(struct pci_device *pci, unsigned at, uint32_t value)
{
    struct msix_entry *e = &pci->msix_table[at / MSIX_ENTRY_SIZE];

    switch (at % MSIX_ENTRY_SIZE / 4) {
    case 0:
        e->address = (e->address & ~(uint64_t)UINT32_MAX) | (value & ~3u);
        break;
    case 1:
        e->address = (e->address & UINT32_MAX) | (uint64_t)value << 32;
        break;
    case 2:
        e->data = value;
        break;
    default:
        e->control = value & MSIX_ENTRY_MASKED;
        deliver_pending(pci, at / MSIX_ENTRY_SIZE);
        break;
    }
}

enum part {
    PART_DEVICE,
    PART_TABLE,
    PART_PBA,
    PART_BAD, /* not a whole, aligned dword or qword of one of the two (6.8.2: undefined) */
};

static enum part part_at(const struct pci_device *pci, uint64_t offset, unsigned size, unsigned *at)
{
    uint64_t table = pci->msix_table_offset, pba = pci->msix_pba_offset;
    bool in_table = offset < table + pci->msix_table_bytes && table < offset + size;
    bool in_pba = offset < pba + pci->msix_pba_bytes && pba < offset + size;
    uint64_t start = in_table ? table : pba;

    if (!in_table && !in_pba) {
        return PART_DEVICE;
    }
    if (size < 4 || offset % size != 0 || offset < start ||
        offset + size > start + (in_table ? pci->msix_table_bytes : pci->msix_pba_bytes)) {
        log_guest(LOG_PCI, "%s: %u bytes at 0x%llx of BAR %u are no dword of the MSI-X table",
                  pci->dev.id, size, (unsigned long long)offset, pci->msix_bar);
        return PART_BAD;
    }
    *at = (unsigned)(offset - start);
    return in_table ? PART_TABLE : PART_PBA;
}

/* The device's own part of the BAR: its ops, or its registers by table. */
static const struct region_ops *device_part(struct pci_device *pci, void **opaque)
{
    struct reg_bank *bank = pci->bar[pci->msix_bar].bank;

    *opaque = bank ? (void *)bank : pci;
    return bank ? &reg_ops : pci->dev.class->pci->bar[pci->msix_bar].ops;
}

static uint64_t msix_bar_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_device *pci = opaque;
    void *device;
    const struct region_ops *ops = device_part(pci, &device);
    uint64_t value;
    unsigned at = 0;

    switch (part_at(pci, offset, size, &at)) {
    case PART_TABLE:
        value = table_read32(pci, at);
        return size == 8 ? value | (uint64_t)table_read32(pci, at + 4) << 32 : value;
    case PART_PBA:
        return pci->msix_pba[at / 8] >> 8 * (at % 8) & value_mask(size);
    case PART_DEVICE:
        if (ops && region_ops_allow(ops, offset, size)) {
            return region_ops_read(ops, device, offset, size);
        }
        return UINT64_MAX;
    default:
        return UINT64_MAX;
    }
}

static void msix_bar_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pci_device *pci = opaque;
    void *device;
    const struct region_ops *ops = device_part(pci, &device);
    unsigned at = 0;

    switch (part_at(pci, offset, size, &at)) {
    case PART_TABLE:
        table_write32(pci, at, (uint32_t)value);
        if (size == 8) {
            table_write32(pci, at + 4, (uint32_t)(value >> 32));
        }
        break;
    case PART_DEVICE:
        if (ops && region_ops_allow(ops, offset, size)) {
            region_ops_write(ops, device, offset, value, size);
        }
        break;
    default:
        break; /* pending bits are read-only */
    }
}

const struct region_ops pci_msix_ops = {
    .read = msix_bar_read,
    .write = msix_bar_write,
    .impl_max = 8,
};
