/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A driver of an LSI 53C895A: a script of instructions that mean something, chosen by the input,
 * around one that does a whole command, so that the targets are reached.
 */
#include <xendm/guestmem.h>
#include <xendm/pci.h>

#include "guest.h"

#define DEVFN PCI_DEVFN(5, 0)
#define SCRIPT 0x1000u
#define RANDOM_AT 0x1800u
#define TABLE 0x2000u
#define MESSAGE 0x2100u
#define COMMAND 0x2200u
#define INPUT 0x2300u
#define DATA 0x8000u

static void reg(struct fuzz_guest *g, uint32_t offset, uint64_t value, unsigned size)
{
    uint64_t bar = guest_bar(g->m, DEVFN, 1);

    if (bar) {
        aspace_write(g->m->mmio, bar + offset, value, size);
        guest_settle(g);
    }
}

static void word(struct fuzz_guest *g, uint32_t at, uint32_t value)
{
    guestmem_write(g->m->memory, at, &value, sizeof(value));
}

static void op(struct fuzz_guest *g, uint32_t at, uint32_t first, uint32_t second)
{
    word(g, at, first);
    word(g, at + 4, second);
}

/* Selects, and serves whatever phase the target comes to. */
void guest_lsi_start(struct fuzz_guest *g)
{
    static const uint32_t loop[][2] = {
        {0x878b0000, 0x58}, {0x838b0000, 0x38},     {0x818b0000, 0x18},     {0x808b0000, 0x20},
        {0x868b0000, 0x38}, {0x98080000, 0xbad},    {0x19000000, 0x20},     {0x80880000, 0xffffc0},
        {0x18000000, 0x20}, {0x80880000, 0xffffb0}, {0x0b000001, INPUT},    {0x80880000, 0xffffa0},
        {0x1e000000, 0x10}, {0x80880000, 0xffff90}, {0x0f000001, INPUT},    {0x808c0000, 0x18},
        {0x808c0004, 0x10}, {0x60000040, 0},        {0x80880000, 0xffff68}, {0x48000000, 0},
        {0x98080000, 1},    {0x48000000, 0},        {0x54000000, 0xffff48}, {0x80880000, 0xffff40},
    };
    unsigned how = fuzz_u8(&g->in);

    op(g, SCRIPT, 0x43000000, RANDOM_AT);
    op(g, SCRIPT + 8, 0x1e000000, 0x10);
    op(g, SCRIPT + 16, 0x1a000000, 0x18);
    for (unsigned i = 0; i < G_N_ELEMENTS(loop); i++) {
        op(g, SCRIPT + 24 + 8 * i, loop[i][0], loop[i][1]);
    }
    reg(g, 0x14, 0x40, 1);
    reg(g, 0x04, 0x47, 1);
    reg(g, 0x40, how & 1 ? 0x9f : 0x8f, 1);
    reg(g, 0x41, 0x04, 1);
    reg(g, 0x39, 0x7d, 1);
    reg(g, 0x56, how & 2 ? 0xc0 : 0, 1);
    reg(g, 0xc0, SCRIPT + 24, 4);
    reg(g, 0xc4, RANDOM_AT, 4);
}

void guest_lsi_command(struct fuzz_guest *g)
{
    static const uint8_t codes[] = {0x00, 0x03, 0x08, 0x0a, 0x12, 0x15, 0x1a, 0x1b, 0x25,
                                    0x28, 0x2a, 0x2e, 0x35, 0x42, 0x43, 0x55, 0x5a, 0x88,
                                    0x8a, 0x91, 0x9e, 0xa0, 0xa8, 0xaa, 0xbe};
    unsigned how = fuzz_u8(&g->in), tag = fuzz_u8(&g->in), code = fuzz_u8(&g->in);
    uint8_t cdb[16] = {codes[code % G_N_ELEMENTS(codes)]}, message[16];

    for (unsigned i = 1; i < sizeof(cdb); i++) {
        cdb[i] = i == 1 || (i > 5 && i != 8) ? fuzz_u8(&g->in) & 3 : fuzz_u8(&g->in) & (how | 0x1f);
    }
    memset(message, fuzz_u8(&g->in), sizeof(message));
    message[0] = (uint8_t)(0x80 | (how & 0x40) | (how & 0x80 ? code & 7 : 0));
    message[1] = (uint8_t)(0x20 + tag % 3);
    message[2] = tag >> 2 & 7;
    guestmem_write(g->m->memory, COMMAND, cdb, sizeof(cdb));
    guestmem_write(g->m->memory, MESSAGE, message, sizeof(message));
    word(g, TABLE, (how & 1 ? how & 6 : 0) << 16);
    word(g, TABLE + 0x10, how & 8 ? how % 17 : how & 0x10 ? 3 : 1);
    word(g, TABLE + 0x14, MESSAGE);
    word(g, TABLE + 0x18, how & 0x20 ? code % 17 : 10);
    word(g, TABLE + 0x1c, COMMAND);
    word(g, TABLE + 0x20, (uint32_t)fuzz_uint(&g->in, 2) * (how & 2 ? 512 : 1));
    word(g, TABLE + 0x24, how & 4 ? (uint32_t)guest_some_memory(g) : DATA);
    reg(g, 0x10, TABLE, 4);
    reg(g, 0x2c, SCRIPT, 4);
}

/* One instruction more of any kind, and maybe the script from there on. */
void guest_lsi_script(struct fuzz_guest *g)
{
    unsigned kind = fuzz_u8(&g->in), at = fuzz_u8(&g->in) % 64;
    uint32_t first = (uint32_t)fuzz_uint(&g->in, 3) | (uint32_t)kind << 24, second;

    switch (fuzz_u8(&g->in) % 6) {
    case 0:
        second = RANDOM_AT + 8 * (fuzz_u8(&g->in) % 64);
        break;
    case 1:
        second = (uint32_t)guest_bar(g->m, DEVFN, 1) + fuzz_u8(&g->in);
        break;
    case 2:
        second = (uint32_t)guest_bar(g->m, DEVFN, 2) + fuzz_u8(&g->in) * 32u;
        break;
    case 3:
        second = fuzz_u8(&g->in);
        break;
    case 4:
        second = SCRIPT + 24 + 8 * (fuzz_u8(&g->in) % 32);
        break;
    default:
        second = (uint32_t)guest_some_memory(g);
        break;
    }
    op(g, (at & 32 ? SCRIPT : RANDOM_AT) + 8 * at, first, second);
    if (kind & 1) {
        reg(g, 0x2c, RANDOM_AT + 8 * (kind >> 4), 4);
    }
}

void guest_lsi_interrupt(struct fuzz_guest *g)
{
    uint64_t bar = guest_bar(g->m, DEVFN, 1);
    unsigned how = fuzz_u8(&g->in);

    if (bar) {
        aspace_read(g->m->mmio, bar + 0x42, how & 1 ? 2 : 1);
        aspace_read(g->m->mmio, bar + 0x0c, 1);
        reg(g, 0x14, how & 0xf4, 1);
        if (how & 2) {
            reg(g, 0x2c, SCRIPT + 8 * (how >> 3), 4);
        }
    }
}
