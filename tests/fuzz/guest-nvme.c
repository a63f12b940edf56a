/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A driver of an NVMe controller: starts it with an I/O queue or two, issues commands whose parts
 * the input chooses among what means something, and reads completions, or pretends to.
 */
#include <xendm/guestmem.h>
#include <xendm/pci.h>

#include "guest.h"

#define DEVFN PCI_DEVFN(4, 0)
#define ENTRIES 8u
#define QUEUES 3u
#define SQ(q) (0x1000u + 0x2000u * (q))
#define CQ(q) (0x2000u + 0x2000u * (q))
#define LIST 0x9000u
#define DATA 0xa000u

static struct {
    uint32_t tail[QUEUES];
} driver;

static void reg(struct fuzz_guest *g, uint32_t offset, uint64_t value, unsigned size)
{
    uint64_t bar = guest_bar(g->m, DEVFN, 0);

    if (bar) {
        fuzz_steps++;
        aspace_write(g->m->mmio, bar + offset, value, size);
        guest_settle(g);
    }
}

static void put(struct fuzz_guest *g, unsigned q, const uint8_t *sqe)
{
    guestmem_write(g->m->memory, SQ(q) + driver.tail[q] * 64, sqe, 64);
    driver.tail[q] = (driver.tail[q] + 1) % ENTRIES;
    reg(g, 0x1000 + 8 * q, driver.tail[q], 4);
}

static void set32(uint8_t *sqe, unsigned dw, uint32_t value)
{
    memcpy(sqe + 4 * dw, &value, 4);
}

static void create(struct fuzz_guest *g, uint8_t op, unsigned q, uint32_t base, uint32_t dw11)
{
    uint8_t sqe[64] = {op};

    set32(sqe, 6, base);
    set32(sqe, 10, (ENTRIES - 1) << 16 | q);
    set32(sqe, 11, dw11);
    put(g, 0, sqe);
}

void guest_nvme_start(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);

    memset(&driver, 0, sizeof(driver));
    reg(g, 0x14, 0, 4);
    pci_config_write(g->m->pci, DEVFN, 0x42, how & 1 ? 0x8000 : 0, 2);
    for (unsigned v = 0; how & 1 && v < QUEUES; v++) {
        reg(g, 0x2000 + 16 * v, 0xfee00000, 8);
        reg(g, 0x2008 + 16 * v, 0x31 + v, 8);
    }
    reg(g, 0x24, (ENTRIES - 1) << 16 | (ENTRIES - 1), 4);
    reg(g, 0x28, SQ(0), 8);
    reg(g, 0x30, CQ(0), 8);
    reg(g, 0x14, 0x00460001, 4);
    for (unsigned q = 1; q < QUEUES; q++) {
        create(g, 5, q, CQ(q), (how & 1 ? q << 16 : 0) | 3);
        create(g, 1, q, SQ(q), (how & 2 ? 1 : q) << 16 | 1);
    }
    reg(g, 0x1004, driver.tail[0], 4);
}

/* Where the data is: pages, a list, SGLs, nonsense. */
static void data(struct fuzz_guest *g, uint8_t *sqe)
{
    unsigned how = fuzz_u8(&g->in);
    uint64_t prp1 = how & 1 ? guest_some_memory(g) : DATA, prp2 = how & 2 ? LIST : DATA + 0x1000;

    if (how & 4) {
        prp2 = guest_some_memory(g);
    }
    if (how & 8) {
        prp1 = LIST;
        prp2 = (uint64_t)(fuzz_u8(&g->in) * 16u) | (how & 16 ? 0x2ull : 0x3ull) << 60;
        sqe[1] = 0x40;
    }
    memcpy(sqe + 24, &prp1, 8);
    memcpy(sqe + 32, &prp2, 8);
    for (unsigned i = 0; (how & 2 || how & 8) && i < 8; i++) {
        uint64_t entry[2] = {DATA + (uint64_t)fuzz_u8(&g->in) * 512,
                             how & 32 ? (uint64_t)fuzz_u8(&g->in) * 128 : 0x1000};

        entry[1] |= i == 7 && how & 64 ? 0x3ull << 60 : 0;
        guestmem_write(g->m->memory, LIST + 16 * i, entry, 16);
    }
}

void guest_nvme(struct fuzz_guest *g)
{
    static const uint8_t ops[2][16] = {{0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 0x7c, 0x80, 2, 6, 8, 12},
                                       {0, 1, 2, 5, 8, 9, 12, 1, 2, 1, 2, 5, 9, 2, 1, 0}};
    unsigned how = fuzz_u8(&g->in), q = how % QUEUES;
    uint8_t sqe[64] = {ops[q > 0][how >> 4]};

    sqe[2] = fuzz_u8(&g->in) & 7; /* few ids, so that ABORT finds some */
    set32(sqe, 1, how & 4 ? fuzz_u8(&g->in) & 3 : 1);
    data(g, sqe);
    set32(sqe, 10, (uint32_t)fuzz_uint(&g->in, 2) & (q ? 0x1ff : 0xffff));
    set32(sqe, 11, q && sqe[0] != 9 ? 0 : (uint32_t)fuzz_uint(&g->in, 3) & 0x3000f);
    set32(sqe, 12, fuzz_u8(&g->in) % (how & 8 ? 255 : 16));
    if (q == 0 && how & 8) { /* of what there is */
        set32(sqe, 10, fuzz_u8(&g->in) % 16 + ((uint32_t)fuzz_u8(&g->in) % 8 << 16));
    }
    put(g, q, sqe);
}

void guest_nvme_doorbell(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);

    reg(g, 0x1000 + 4 * (how & 7), how >> 3 & (how & 0x80 ? 15 : 7), 4);
    if (how & 0x40) { /* in memory, too */
        uint32_t value = fuzz_u8(&g->in) % 9;

        guestmem_write(g->m->memory, DATA + 4 * (how & 7), &value, 4);
    }
}
