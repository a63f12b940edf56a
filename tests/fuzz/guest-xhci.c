/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A driver of an xHCI controller: starts it with a slot for each of the first ports, queues
 * transfers and commands whose parts the input chooses among what means something, and reads
 * events, or pretends to.
 */
#include <xendm/bytes.h>
#include <xendm/guestmem.h>
#include <xendm/pci.h>

#include "guest.h"

#define DEVFN PCI_DEVFN(4, 0)
#define SLOTS 4u
#define DCIS 5u
#define TRBS 16u
#define DCBAA 0x1000u
#define TABLE 0x1800u
#define EVENTS 0x2000u
#define EVENTS_SIZE 32u
#define COMMANDS 0x3000u
#define INPUT 0x4000u
#define OUTPUT(slot) (0x5000u + 0x400u * (slot))
#define RING(slot, dci) (0x8000u + 0x100u * ((slot)*8u + (dci)))
#define DATA 0x20000u
#define PORT(n) (0x440u + 16u * (n)) /* from 0: USB 2 from 4 on */
#define CYCLE 1u
#define CHAIN 0x10u
#define IOC 0x20u
#define IDT 0x40u

static struct {
    unsigned at[SLOTS + 1][DCIS]; /* 0, 0: commands */
    bool inverted[SLOTS + 1][DCIS];
    unsigned event;
} driver;

static void reg(struct fuzz_guest *g, uint32_t offset, uint32_t value)
{
    uint64_t bar = guest_bar(g->m, DEVFN, 0);

    if (bar) {
        fuzz_steps++;
        aspace_write(g->m->mmio, bar + offset, value, 4);
        guest_settle(g);
    }
}

static void put32(struct fuzz_guest *g, uint64_t at, uint32_t value)
{
    uint8_t bytes[4];

    store_le32(bytes, value);
    guestmem_write(g->m->memory, at, bytes, sizeof(bytes));
}

static void put_trb(struct fuzz_guest *g, uint64_t at, uint64_t parameter, uint32_t status,
                    uint32_t control)
{
    uint8_t bytes[16];

    store_le64(bytes, parameter);
    store_le32(bytes + 8, status);
    store_le32(bytes + 12, control);
    guestmem_write(g->m->memory, at, bytes, sizeof(bytes));
}

static uint64_t base_of(unsigned slot, unsigned dci)
{
    return slot ? RING(slot, dci) : COMMANDS;
}

static void push(struct fuzz_guest *g, unsigned slot, unsigned dci, uint64_t parameter,
                 uint32_t status, uint32_t control)
{
    unsigned *at = &driver.at[slot][dci];
    bool *inverted = &driver.inverted[slot][dci];

    put_trb(g, base_of(slot, dci) + 16u * *at, parameter, status, control | !*inverted);
    if (++*at == TRBS - 1) {
        put_trb(g, base_of(slot, dci) + 16u * *at, base_of(slot, dci), 0,
                6u << 10 | 2 | (control & CHAIN) | !*inverted);
        *at = 0;
        *inverted = !*inverted;
    }
}

static void command(struct fuzz_guest *g, uint64_t parameter, unsigned type, unsigned slot,
                    unsigned dci)
{
    push(g, 0, 0, parameter, 0, type << 10 | dci << 16 | slot << 24);
    reg(g, 0x2000, 0);
}

static void put_input(struct fuzz_guest *g, uint32_t add, unsigned slot, uint32_t route)
{
    put32(g, INPUT, 0);
    put32(g, INPUT + 4, add);
    put32(g, INPUT + 32, route | 31u << 27);
    put32(g, INPUT + 36, (route ? 7 : slot + 4) << 16);
    for (unsigned dci = 1; dci < DCIS; dci++) {
        uint64_t at = INPUT + 32 * (dci + 1);
        unsigned type = dci == 1 ? 4 : dci & 1 ? (slot == 2 ? 6 : 7) : 2;

        put32(g, at, 3 << 16);
        put32(g, at + 4, 64u << 16 | type << 3);
        put32(g, at + 8, RING(slot, dci) | CYCLE);
        put32(g, at + 12, 0);
        driver.at[slot][dci] = 0;
        driver.inverted[slot][dci] = false;
    }
}

static void configure(struct fuzz_guest *g, unsigned slot)
{
    push(g, slot, 1, 0x0000000000010900, 8, 2u << 10 | IDT);
    push(g, slot, 1, 0, 0, 4u << 10 | IOC | 1u << 16);
    reg(g, 0x2000 + 4 * slot, 1);
}

/* Slots 1 to 3 are in their ports; 4 is behind the hub in the third, in its second port. */
void guest_xhci_start(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);

    memset(&driver, 0, sizeof(driver));
    reg(g, 0x40, 2);
    put32(g, TABLE, EVENTS);
    put32(g, TABLE + 8, how & 0x80 ? 16 : EVENTS_SIZE);
    reg(g, 0x78, 64);
    reg(g, 0x70, DCBAA);
    reg(g, 0x58, COMMANDS | CYCLE);
    reg(g, 0x1028, 1);
    reg(g, 0x1038, EVENTS);
    reg(g, 0x1030, TABLE);
    reg(g, 0x1020, 2);
    reg(g, 0x40, how & 0x40 ? 1 : 5);
    pci_config_write(g->m->pci, DEVFN, 0x72, how & 1, 2);
    pci_config_write(g->m->pci, DEVFN, 0x92, how & 2 ? 0x8000 : 0, 2);
    for (unsigned slot = 1; slot <= SLOTS; slot++) {
        put32(g, DCBAA + 8 * slot, OUTPUT(slot));
        command(g, 0, 9, 0, 0);
        if (slot == 4) { /* the hub resets its port */
            push(g, 3, 1, 0x0000000200040323, 8, 2u << 10 | IDT);
            push(g, 3, 1, 0, 0, 4u << 10 | 1u << 16);
            reg(g, 0x2000 + 4 * 3, 1);
        } else {
            reg(g, PORT(3 + slot), 0x210);
        }
        put_input(g, 3, slot, slot == 4 ? 2 : 0);
        command(g, INPUT, 11, slot, 0);
        put32(g, INPUT + 4, 0x1d);
        command(g, INPUT, 12, slot, 0);
        if (how & 4) {
            configure(g, slot);
        }
        reg(g, 0x1038, (EVENTS + 16 * 2 * slot) | 8);
    }
}

static uint64_t some_data(struct fuzz_guest *g)
{
    unsigned which = fuzz_u8(&g->in);

    return which < 220 ? DATA + which * 257 : guest_some_memory(g);
}

static uint64_t some_setup(struct fuzz_guest *g)
{
    static const uint64_t known[] = {
        0x0012000001000680,           0x00ff000002000680,           0x00ff040903020680,
        0x0000000000010900,           0x00ff000022000681,           0x000000000a000a21,
        0x0001000002000921,           0x0008000001000 << 4 | 0x1a1, 0x0000008100000102,
        0x0004000200000 << 4 | 0x0a3, 0x0000000200040323,           0x0000000200100123,
        0x000100000000fea1,           0x000000000000ff21,           0x0000000000010300,
        0x0000000000050500,
    };
    unsigned which = fuzz_u8(&g->in);

    return which < 200 ? known[which % G_N_ELEMENTS(known)] : fuzz_uint(&g->in, 8);
}

/* A command block of the stick's. */
static void put_cbw(struct fuzz_guest *g)
{
    static const uint8_t ops[] = {0x00, 0x03, 0x12, 0x25, 0x28, 0x28, 0x2a, 0x2a, 0x1a, 0x35};
    unsigned how = fuzz_u8(&g->in), count = how % 16;
    uint8_t cbw[31] = {0x55, 0x53, 0x42, 0x43, 1, 2, 3, 4};

    cbw[15] = ops[how % G_N_ELEMENTS(ops)];
    store_le32(cbw + 8, cbw[15] < 0x20 ? 18 : count * 512);
    cbw[12] = cbw[15] == 0x2a ? 0 : how & 0xe0 ? 0x80 : 0;
    cbw[14] = cbw[15] < 0x20 ? 6 : 10;
    cbw[cbw[15] < 0x20 ? 19 : 23] = cbw[15] < 0x20 ? 18 : (uint8_t)count;
    guestmem_write(g->m->memory, DATA, cbw, sizeof(cbw));
}

static uint32_t some_flags(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);

    return (how & 1 ? IOC : 0) | (how & 2 ? 4 : 0) | (how & 0x0c ? 0 : CHAIN) |
           (how >= 0xf0 ? IDT : 0) | (how & 0x30 ? 0 : 0x200);
}

static void queue_control(struct fuzz_guest *g, unsigned slot, unsigned how)
{
    uint64_t setup = some_setup(g);
    bool in = setup & 0x80 && !(how & 0x40);

    push(g, slot, 1, setup, how & 0x10 && how & 0x20 ? 7 : 8, 2u << 10 | IDT);
    if (how & 3) {
        push(g, slot, 1, some_data(g), fuzz_u8(&g->in),
             3u << 10 | some_flags(g) | (in ? 1u << 16 : 0));
    }
    if (how & 4) {
        push(g, slot, 1, some_data(g), fuzz_u8(&g->in), (how & 8 ? 1u : 7u) << 10 | some_flags(g));
    }
    push(g, slot, 1, 0, 0, 4u << 10 | IOC | (in ? 0 : 1u << 16));
}

static void queue_some(struct fuzz_guest *g, unsigned slot, unsigned dci)
{
    unsigned how = fuzz_u8(&g->in);
    static const uint8_t types[] = {1, 1, 1, 1, 1, 7, 8, 6};
    unsigned type = how >= 0xf0 ? how & 63 : types[how & 7];
    uint64_t where = type == 6 ? base_of(slot, dci) + 16 * (how >> 3 & 15) : some_data(g);
    uint32_t length = how & 0x40 ? (uint32_t)fuzz_uint(&g->in, 3) : fuzz_u8(&g->in);

    push(g, slot, dci, where, length, type << 10 | some_flags(g));
}

void guest_xhci(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in), slot = 1 + how % SLOTS, dci = 1 + (how >> 2) % (DCIS - 1);
    unsigned n = 1 + (how >> 4 & 3);

    if (slot == 2 && dci == 4 && how & 0x80) {
        put_cbw(g);
        push(g, 2, 4, DATA, 31, 1u << 10 | IOC);
        reg(g, 0x2008, 4);
        push(g, 2, 3, some_data(g), 4096, 1u << 10 | some_flags(g));
        push(g, 2, 3, DATA + 0x100, 13, 1u << 10 | IOC);
        dci = 3;
    } else {
        for (unsigned i = 0; i < n; i++) {
            if (dci == 1 && how & 0x40) {
                queue_control(g, slot, fuzz_u8(&g->in));
            } else {
                queue_some(g, slot, dci);
            }
        }
    }
    reg(g, 0x2000 + 4 * slot, dci);
}

void guest_xhci_command(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in), which = fuzz_u8(&g->in), slot = 1 + how % SLOTS;
    unsigned dci = 1 + (how >> 2) % (DCIS - 1);

    switch (which % 8) {
    case 0: /* what follows an error */
        command(g, 0, 14, slot, dci);
        command(g, base_of(slot, dci) + 16 * driver.at[slot][dci] + !driver.inverted[slot][dci], 16,
                slot, dci);
        break;
    case 1:
        command(g, 0, 15, slot, dci);
        break;
    case 2:
        put_input(g, fuzz_u8(&g->in), slot, how & 0x80 ? fuzz_u8(&g->in) : 0);
        put32(g, INPUT, how & 0x40 ? 0x1c : 0);
        command(g, INPUT, 11 + (how >> 4 & 3) % 3, slot, 0);
        break;
    case 3:
        reg(g, PORT(4 + slot % 3), (uint32_t)fuzz_uint(&g->in, 4));
        break;
    case 4:
        reg(g, PORT(3 + slot), 0x210);
        command(g, 0, 17, slot, 0);
        put_input(g, 3, slot, slot == 4 ? 2 : 0);
        command(g, INPUT, 11, slot, 0);
        put32(g, INPUT + 4, 0x1d);
        command(g, INPUT, 12, slot, 0);
        configure(g, slot);
        break;
    case 5:
        reg(g, 0x58, how & 4);
        break;
    default:
        command(g, fuzz_uint(&g->in, 4), which >> 3, fuzz_u8(&g->in) % 6, dci);
        break;
    }
}

/* Its events are read: so many, or it says so. */
void guest_xhci_events(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);

    driver.event = (driver.event + 1 + how % 8) % EVENTS_SIZE;
    reg(g, 0x1038, (EVENTS + 16 * driver.event) | (how & 0x80 ? 0 : 8));
    reg(g, 0x1020, how & 0x40 ? 2 : 3);
    if (how >= 0xf0) {
        reg(g, 0x1030, how & 1 ? TABLE : (uint32_t)guest_some_memory(g));
    }
}
