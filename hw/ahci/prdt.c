/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptor tables (AHCI 1.3.1 section 4.2.3.3): entries of 16 bytes, address and byte count less
 * one in 22 bits, at most 65,535 of them. Each is fetched once and moves at least two bytes, and a
 * chunk holds AHCI_PIECES of them, so a walk is short; the copies of replies, which are not chunks,
 * are left after half a millisecond and gone on with in a later turn of the loop.
 *
 * Left out: the interrupt on completion of a descriptor (DPS), which no driver asks for.
 */
#include <errno.h>

#include "ahci.h"

#define ENTRY 16u
#define COUNT_MASK 0x3ffffeu

static void advance(struct ahci_prd *prd, uint32_t n)
{
    prd->address += n;
    prd->left -= n;
}

static bool descriptor(const uint8_t *entry, uint64_t *address, uint64_t *bytes)
{
    *address = (load_le32(entry) & ~UINT64_C(1)) | (uint64_t)load_le32(entry + 4) << 32;
    *bytes = (load_le32(entry + 12) & COUNT_MASK) + 2;
    return true;
}

/* 0, -ENODATA at the end of the table, or the DMA error. */
static int fill(struct ahci_port *p, struct ahci_prd *prd)
{
    uint64_t at = prd->table + (uint64_t)prd->next * ENTRY;
    uint8_t entry[ENTRY];
    uint64_t left;
    int error;

    if (prd->left) {
        return 0;
    }
    if (prd->next >= prd->count) {
        return -ENODATA;
    }
    if (prd->next % DMA_FORESEE_MAX == 0) {
        dma_foresee(&p->hba->pci.dev, at, prd->count - prd->next, ENTRY, descriptor);
    }
    error = dma_read(&p->hba->pci.dev, at, entry, sizeof(entry));
    if (error) {
        p->host.bad_address = at;
        return error;
    }
    prd->next++;
    descriptor(entry, &prd->address, &left);
    prd->left = (uint32_t)left;
    return 0;
}

/* `n` bytes of the current descriptor are in the list. */
static void took(struct ahci_port *p, struct ahci_prd *prd, uint32_t n)
{
    if ((p->gathered + n) / ATA_SECTOR > p->kept / ATA_SECTOR) {
        p->whole = *prd;
        p->kept = (p->gathered + n) / ATA_SECTOR * ATA_SECTOR;
        advance(&p->whole, p->kept - p->gathered);
    }
    advance(prd, n);
    p->gathered += n;
}

int64_t ahci_gather(struct ahci_port *p, struct ahci_prd *prd, struct dma_list *list, uint32_t want)
{
    struct ahci_prd start = *prd;
    int64_t n = 0;

    p->gathered = p->kept = 0;
    while (p->gathered < want && (n = fill(p, prd)) == 0) {
        n = dma_list_add(list, prd->address, MIN(prd->left, want - p->gathered));
        if (n <= 0) {
            p->host.bad_address = prd->address;
            break;
        }
        took(p, prd, (uint32_t)n);
    }
    if (p->kept == 0) {
        dma_list_end(list, 0);
        *prd = start;
        return n == -ENODATA ? 0 : n < 0 ? n : -ENOBUFS;
    }
    *prd = p->whole; /* the rest of a sector comes with the next chunk */
    return p->kept;
}

static int copy_next(struct ata_host *h, uint32_t want, uint64_t *address, uint32_t *length)
{
    struct ahci_port *p = (struct ahci_port *)h;
    int error = fill(p, &p->prd);

    if (error == 0) {
        *address = p->prd.address;
        *length = MIN(p->prd.left, want);
    }
    return error;
}

static void copied(struct ata_host *h, uint32_t n)
{
    advance(&((struct ahci_port *)h)->prd, n);
}

int64_t ahci_copy(struct ahci_port *p, void *buf, uint32_t len, enum dma_direction direction,
                  bool *ended)
{
    static const struct ata_pieces pieces = {copy_next, copied};

    return ata_host_copy(&p->host, &pieces, buf, len, direction, ended);
}
