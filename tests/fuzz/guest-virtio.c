/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A driver of virtio devices: starts one with features of the input's choice, puts chains into its
 * rings that are right, mostly, and notifies. What the chains say suits disks, network cards and
 * consoles alike: a few bytes of the input's.
 */
#include <xendm/guestmem.h>
#include <xendm/pci.h>

#include "guest.h"

#define DEVFN PCI_DEVFN(4, 0)
#define ENTRIES 16u
#define QUEUES 6u
#define RING(q) (0x1000u + 0x3000u * (q))
#define DRIVER(q) (RING(q) + 0x1000u)
#define DEVICE(q) (RING(q) + 0x2000u)
#define TABLES 0x14000u
#define BUFFERS 0x17000u

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

static struct {
    bool packed, indirect, legacy;
    unsigned entries;
    struct {
        uint16_t avail;
        bool wrap;
    } q[QUEUES];
} driver;

static void reg(struct fuzz_guest *g, uint32_t offset, uint64_t value, unsigned size)
{
    uint64_t bar = guest_bar(g->m, DEVFN, 4);

    if (bar) {
        aspace_write(g->m->mmio, bar + offset, value, size);
        guest_settle(g);
    }
}

static uint32_t offered(struct fuzz_guest *g, unsigned half)
{
    uint64_t bar = guest_bar(g->m, DEVFN, 4);

    reg(g, 0x00, half, 4);
    return bar ? (uint32_t)aspace_read(g->m->mmio, bar + 4, 4) : 0;
}

static void notify(struct fuzz_guest *g, unsigned q)
{
    uint32_t io = (uint32_t)guest_bar(g->m, DEVFN, 0);

    if (driver.legacy && io) {
        g->out(g, io + 0x10, q, 2);
    } else {
        reg(g, 0x3000 + 4 * q, q, 2);
    }
}

static void start_legacy(struct fuzz_guest *g, uint32_t io, uint32_t features)
{
    g->out(g, io + 0x12, 0, 1);
    g->out(g, io + 0x12, 3, 1);
    g->out(g, io + 0x04, features, 4);
    for (unsigned q = 0; q < QUEUES; q++) {
        g->out(g, io + 0x0e, q, 2);
        g->out(g, io + 0x08, RING(q) >> 12, 4);
    }
    g->out(g, io + 0x12, 7, 1);
}

void guest_virtio_start(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);
    uint32_t low = offered(g, 0), high = offered(g, 1), io = (uint32_t)guest_bar(g->m, DEVFN, 0);

    memset(&driver, 0, sizeof(driver));
    low &= how & 1 ? UINT32_MAX : (uint32_t)fuzz_uint(&g->in, 4);
    high &= ~(how & 2 ? 4u : 0u) & ~(how & 4 ? 8u : 0u);
    driver.legacy = (how & 0xe0) == 0xe0 && io;
    driver.packed = high & 4 && !driver.legacy;
    driver.indirect = low >> 28 & 1;
    driver.entries = driver.legacy ? 256 : ENTRIES;
    for (unsigned q = 0; q < QUEUES; q++) {
        static const uint8_t zeros[0x3000];

        driver.q[q].wrap = true;
        guestmem_write(g->m->memory, RING(q), zeros, sizeof(zeros));
    }
    if (driver.legacy) {
        start_legacy(g, io, low);
        return;
    }
    reg(g, 0x14, 0, 1);
    reg(g, 0x14, 3, 1);
    reg(g, 0x08, 0, 4);
    reg(g, 0x0c, low, 4);
    reg(g, 0x08, 1, 4);
    reg(g, 0x0c, high, 4);
    reg(g, 0x14, 11, 1);
    reg(g, 0x10, 0, 2);
    for (unsigned q = 0; q < QUEUES; q++) {
        reg(g, 0x16, q, 2);
        reg(g, 0x18, how & 8 && !driver.packed ? 8 : ENTRIES, 2);
        reg(g, 0x1a, q, 2);
        reg(g, 0x20, RING(q), 8);
        reg(g, 0x28, DRIVER(q), 8);
        reg(g, 0x30, how & 0x10 ? guest_some_memory(g) : DEVICE(q), 8);
        reg(g, 0x1c, 1, 2);
    }
    reg(g, 0x14, 15, 1);
}

static void set_desc(struct fuzz_guest *g, uint64_t at, uint64_t gpa, uint32_t len, uint16_t a,
                     uint16_t b)
{
    struct {
        uint64_t gpa;
        uint32_t len;
        uint16_t a, b;
    } d = {gpa, len, a, b};

    guestmem_write(g->m->memory, at, &d, sizeof(d));
}

struct piece {
    uint64_t gpa;
    uint32_t len;
    uint16_t flags;
};

static void put(struct fuzz_guest *g, unsigned q, const struct piece *p, unsigned count, bool table)
{
    unsigned n = driver.q[q].avail, size = driver.entries ? driver.entries : ENTRIES;
    uint64_t tables = TABLES + n % 8 * 256;

    for (unsigned i = 0; i < count; i++) {
        uint16_t flags = p[i].flags | (i + 1 < count ? NEXT : 0);

        if (table) {
            set_desc(g, tables + i * 16, p[i].gpa, p[i].len, driver.packed ? 0 : flags,
                     driver.packed ? p[i].flags : (uint16_t)(i + 1));
        } else if (driver.packed) {
            struct {
                bool wrap;
                uint16_t at;
            } s = {driver.q[q].wrap, driver.q[q].avail};

            set_desc(g, RING(q) + s.at * 16u, p[i].gpa, p[i].len, (uint16_t)n,
                     flags | (s.wrap ? 0x80 : 0x8000));
            driver.q[q].avail = (uint16_t)((s.at + 1) % size);
            driver.q[q].wrap ^= driver.q[q].avail == 0;
        } else {
            set_desc(g, RING(q) + (n * 4 + i) % size * 16, p[i].gpa, p[i].len, flags,
                     (uint16_t)((n * 4 + i + 1) % size));
        }
    }
    if (table && driver.packed) {
        set_desc(g, RING(q) + n * 16, tables, 16 * count, (uint16_t)n,
                 INDIRECT | (driver.q[q].wrap ? 0x80 : 0x8000));
        driver.q[q].avail = (uint16_t)((n + 1) % size);
        driver.q[q].wrap ^= driver.q[q].avail == 0;
    } else if (table) {
        set_desc(g, RING(q) + n * 4 % size * 16, tables, 16 * count, INDIRECT, 0);
    }
    if (!driver.packed) {
        uint16_t head = (uint16_t)(n * 4 % size), index = ++driver.q[q].avail;

        guestmem_write(g->m->memory, DRIVER(q) + 4 + 2 * (n % size), &head, 2);
        guestmem_write(g->m->memory, DRIVER(q) + 2, &index, 2);
    }
}

/* A chain: something to read, something to write, of lengths that devices have. */
void guest_virtio(struct fuzz_guest *g)
{
    static const uint8_t types[] = {0, 1, 0, 1, 4, 8, 11, 13, 2, 0x80};
    static const uint16_t lengths[] = {1, 12, 16, 20, 512, 1024, 1526, 4096};
    unsigned how = fuzz_u8(&g->in), what = fuzz_u8(&g->in), q = how % QUEUES;
    uint64_t at = BUFFERS + (what & 15) * 512;
    bool reads = what & 1;
    uint8_t head[64] = {0};
    struct piece p[8] = {{at, 16, 0}};
    unsigned count = 1, more = how >> 5 & 3;

    fuzz_bytes(&g->in, head, 32);
    if (how & 0x10) { /* a disk's request, mostly within the disk */
        memset(head + 1, 0, 15);
        head[0] = types[head[0] % sizeof(types)];
        head[8] = fuzz_u8(&g->in);
        memset(head + 18, 0, 14);
        reads = head[0] == 0 || head[0] == 8;
    }
    guestmem_write(g->m->memory, at, head, sizeof(head));
    for (unsigned i = 0; i < more; i++) {
        uint32_t len = lengths[fuzz_u8(&g->in) % G_N_ELEMENTS(lengths)];

        p[count++] = (struct piece){at + 16 + (i ? 4096 : 0), len, reads ? WRITE : 0};
    }
    p[count++] = (struct piece){at + 256, what & 2 ? 1526 : 1, WRITE};
    if ((what & 0xf0) == 0xf0) { /* something of it is wrong */
        struct piece *bad = &p[fuzz_u8(&g->in) % count];

        bad->gpa = what & 4 ? guest_some_memory(g) : bad->gpa;
        bad->len = what & 8 ? (uint32_t)fuzz_uint(&g->in, 4) : bad->len;
        bad->flags ^= (uint16_t)(fuzz_u8(&g->in) & 6);
    }
    if (what & 1 && what & 0x40) {
        put(g, q, p + 1, count - 1, driver.indirect && how & 0x80);
    } else {
        put(g, q, p, count, driver.indirect && how & 0x80);
    }
    notify(g, q);
}

/* A message about a port, buffers for those that come, bytes of a port, room for its host's. */
void guest_virtio_console(struct fuzz_guest *g)
{
    static const uint16_t events[] = {0, 3, 3, 6, 6, 6, 7, 1};
    unsigned how = fuzz_u8(&g->in), q = how % 8;
    uint64_t at = BUFFERS + (how >> 3 & 15) * 512;
    struct {
        uint32_t id;
        uint16_t event, value;
    } message = {fuzz_u8(&g->in) % 4, events[how >> 3 & 7], !(how & 0x80)};
    struct piece p = {at, q == 3 ? 8 : 1 + fuzz_u8(&g->in), q % 2 ? 0 : WRITE};

    if (q == 3) {
        guestmem_write(g->m->memory, at, &message, sizeof(message));
    }
    q = MIN(q, QUEUES - 1u);
    put(g, q, &p, 1, driver.indirect && how & 0x40);
    notify(g, q);
}

/* A message of 9P, whole mostly, and room for its answer. */
void guest_virtio_p9(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);
    uint64_t at = BUFFERS + (how & 15) * 512;
    uint32_t len = 7u + fuzz_u8(&g->in) % 64;
    uint8_t head[7] = {(uint8_t)len, 0, 0, 0, how & 0x10 ? 100 : fuzz_u8(&g->in), (uint8_t)how, 0};
    struct piece p[] = {{at, 5, 0},
                        {at + 5, len - 5 + (how & 0x20 ? 3 : 0), 0},
                        {at + 256, 3, WRITE},
                        {at + 260, 4 + fuzz_u8(&g->in), WRITE}};

    guestmem_write(g->m->memory, at, head, sizeof(head));
    put(g, 0, p, G_N_ELEMENTS(p), driver.indirect && how & 0x40);
    notify(g, 0);
}

static void scsi_address(struct fuzz_guest *g, uint8_t *to, unsigned how)
{
    to[0] = 1;
    to[1] = how & 1 ? 2 : 0;
    to[3] = how & 1;
    if ((how & 0xe) == 0xe) { /* another, maybe none */
        to[0] = how & 0x10 ? 0xc1 : 1;
        to[1] = how & 0x20 ? 1 : to[1];
        to[2] = fuzz_u8(&g->in);
        to[3] = fuzz_u8(&g->in);
    }
}

/* A command, its data of the length that it says, mostly. */
void guest_virtio_scsi(struct fuzz_guest *g)
{
    static const uint8_t opcodes[] = {0x28, 0x2a, 0x28, 0x2a, 0x28, 0x2a, 0x35, 0x12,
                                      0x25, 0xa0, 0x1a, 0x15, 0x42, 0x03, 0x00, 0xbe};
    static const uint16_t lengths[] = {512, 1024, 2048, 4096, 100, 36, 8, 4};
    unsigned how = fuzz_u8(&g->in), what = fuzz_u8(&g->in), q = 2 + (how >> 6);
    uint64_t at = BUFFERS + (what & 15) * 512;
    uint8_t head[51] = {0}, *cdb = head + 19;
    uint32_t len = lengths[what >> 5];
    struct piece p[4] = {{at, 51, 0}};
    unsigned count = 1;
    bool out;

    scsi_address(g, head, how);
    head[8] = (uint8_t)what;
    cdb[0] = opcodes[fuzz_u8(&g->in) % sizeof(opcodes)];
    out = cdb[0] == 0x2a || cdb[0] == 0x15 || cdb[0] == 0x42;
    cdb[5] = fuzz_u8(&g->in);
    cdb[8] = (uint8_t)(len / 512);
    cdb[4] = cdb[0] < 0x20 ? (uint8_t)len : 0;
    cdb[9] = cdb[0] == 0xa0 ? (uint8_t)len : 0;
    cdb[1] = cdb[0] == 0xbe ? 0 : (uint8_t)(how & 0x08);
    if ((what & 0x10) && (how & 0x30) == 0x30) {
        fuzz_bytes(&g->in, cdb, 12);
    }
    guestmem_write(g->m->memory, at, head, sizeof(head));
    if (out) {
        p[count++] = (struct piece){at + 192, len, 0};
    }
    p[count++] = (struct piece){at + 64, 108, WRITE};
    if (!out && len != 4) {
        p[count++] = (struct piece){at + 192, len, WRITE};
    }
    if ((what & 0xf0) == 0xf0) { /* something of it is wrong */
        struct piece *bad = &p[fuzz_u8(&g->in) % count];

        bad->gpa = how & 2 ? guest_some_memory(g) : bad->gpa;
        bad->len = how & 4 ? fuzz_u8(&g->in) : bad->len;
    }
    put(g, q, p, count, driver.indirect && how & 0x80);
    notify(g, q);
}

/* Task management, asynchronous notification, buffers for events, sizes. */
void guest_virtio_scsi_control(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in), what = fuzz_u8(&g->in), q = how & 1;
    uint64_t at = BUFFERS + (what & 15) * 512;
    uint8_t head[24] = {0};
    struct piece p[] = {{at, 24, 0}, {at + 64, 16, WRITE}};

    if ((how & 0xfe) == 0xfe) {
        reg(g, 0x2014 + (what & 4), fuzz_uint(&g->in, 2), 2);
        return;
    }
    if (how & 2) { /* about a medium, or who knows what */
        head[0] = 1 + (what >> 4 & 1) + (what == 0xff);
        scsi_address(g, head + 4, how >> 2);
        head[12] = 0x10;
    } else {
        head[4] = (uint8_t)(what >> 4);
        scsi_address(g, head + 8, how >> 2);
        head[16] = fuzz_u8(&g->in);
    }
    guestmem_write(g->m->memory, at, head, sizeof(head));
    put(g, q, q ? p + 1 : p, q ? 1 : 2, driver.indirect && how & 0x80);
    notify(g, q);
}

/* Words of rings that drivers do not write so: indices, events, flags. */
void guest_virtio_ring(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in), q = how % QUEUES;
    uint16_t value = (uint16_t)fuzz_uint(&g->in, how & 0x80 ? 2 : 1);
    uint64_t part = how & 0x20 ? DRIVER(q) : how & 0x40 ? DEVICE(q) : RING(q);

    guestmem_write(g->m->memory, part + fuzz_u8(&g->in) % 64 * 2, &value, 2);
    if (how & 0x10) {
        notify(g, q);
    }
}

void guest_virtio_reset(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);

    if (how & 1) {
        reg(g, 0x16, how >> 1 & 7, 2);
        reg(g, 0x3a, 1, 2);
        reg(g, 0x1c, 1, 2);
    } else if (how & 2) {
        pci_config_write(g->m->pci, DEVFN, 0x04, how & 4 ? 7 : 3, 2);
        guest_settle(g);
    } else if ((how & 0x18) == 0) {
        reg(g, 0x14, 0, 1);
    }
}
