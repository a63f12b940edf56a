/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors in guest memory, as drivers of network cards and of the USB controller lay them out,
 * with fields of the input's choice; see guest.h.
 */
#include <string.h>

#include <xendm/input.h>
#include <xendm/net.h>
#include <xendm/pci.h>

#include "../unit/fake-net.h"
#include "../unit/fakes.h"
#include "guest.h"

#define RING 0x10000u /* below what fuzz-device clears between inputs */
#define RECEIVE_RING 0x12000u
#define FRAMES 0x14000u
#define NODES 0x15000u
#define NODES_COUNT 16u
#define PACKETS 0x16000u
#define BUFFERS 0x20000u

static const unsigned nic = PCI_DEVFN(4, 0), usb = PCI_DEVFN(1, 2);

static void put32(struct fuzz_guest *g, uint64_t at, const uint32_t *words, unsigned count)
{
    guestmem_write(g->m->memory, at, words, count * sizeof(*words));
}

static void mmio(struct fuzz_guest *g, uint64_t at, uint32_t value)
{
    fuzz_steps++;
    aspace_write(g->m->mmio, at, value, 4);
    guest_settle(g);
}

/* A buffer that is there, mostly. */
static uint32_t buffer(struct fuzz_guest *g)
{
    unsigned which = fuzz_u8(&g->in);

    return which < 200 ? BUFFERS + which * 256 : (uint32_t)guest_some_memory(g);
}

/* ---- network ---- */

/* Headers of IPv4 and TCP, so that what is asked of checksums and segments can be meant. */
static void put_headers(struct fuzz_guest *g)
{
    static const uint8_t packet[] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0,    0x16, 0x3e, 0, 0, 1, 8,  0,
        0x45, 0,    0x0f, 0,    0,    1,    0,    0,    64,   6, 0, 0, 10, 0,
        0,    1,    10,   0,    0,    2,    0,    80,   1,    0, 0, 0, 0,  1,
        0,    0,    0,    2,    0x50, 0x18, 0xff, 0xff, 0,    0, 0, 0,
    };

    guestmem_write(g->m->memory, BUFFERS, packet, sizeof(packet));
}

void guest_e1000(struct fuzz_guest *g)
{
    /* legacy, data, data with segmentation, contexts */
    static const uint32_t kinds[] = {0x0b000000, 0x01000000, 0x29100000, 0x2d100000, 0x20100000,
                                     0x24100000, 0x28000000, 0x2c000000, 0x2f000000, 0x69100000};
    uint64_t base = guest_bar(g->m, nic, 0);
    unsigned how = fuzz_u8(&g->in), n = 1 + fuzz_u8(&g->in) % 12;

    put_headers(g);
    for (unsigned i = 0; i < n; i++) {
        uint32_t kind = kinds[fuzz_u8(&g->in) % G_N_ELEMENTS(kinds)];
        uint32_t d[4] = {buffer(g), 0, kind | fuzz_u8(&g->in) << (how & 1 ? 6 : 0),
                         (uint32_t)fuzz_uint(&g->in, 4)};

        if (!(kind & 0x00100000) && kind & 0x20000000) { /* a context: where things are */
            d[0] = 14 | 24u << 8 | 33u << 16;
            d[1] = 34 | 50u << 8 | (uint32_t)fuzz_u8(&g->in) << 16;
            d[3] = fuzz_u8(&g->in) | 54u << 8 | (uint32_t)fuzz_u8(&g->in) << 16;
        } else if (fuzz_u8(&g->in) & 1) {
            d[0] = BUFFERS;
        }
        put32(g, RING + i * 16, d, 4);
        d[0] = buffer(g);
        d[2] = d[3] = 0;
        put32(g, RECEIVE_RING + i * 16, d, 4);
    }
    mmio(g, base + 0x3800, RING);
    mmio(g, base + 0x3804, 0);
    mmio(g, base + 0x3808, 0x100);
    mmio(g, base + 0x3810, how >> 4);
    mmio(g, base + 0x2800, RECEIVE_RING);
    mmio(g, base + 0x2808, 0x100);
    mmio(g, base + 0x2810, 0);
    mmio(g, base + 0x2818, n);
    mmio(g, base + 0x0100, 0x8002 | (uint32_t)fuzz_uint(&g->in, 3));
    mmio(g, base + 0x0400, 0x0000000a);
    mmio(g, base + 0x3818, n);
}

void guest_rtl8139(struct fuzz_guest *g)
{
    uint32_t io = (uint32_t)guest_bar(g->m, nic, 0);
    unsigned how = fuzz_u8(&g->in), n = 1 + fuzz_u8(&g->in) % 8;

    put_headers(g);
    g->out(g, io + 0x37, 0x0c, 1);
    g->out(g, io + 0x44, (uint32_t)fuzz_uint(&g->in, 2) | 0xf, 4);
    g->out(g, io + 0x40, (uint32_t)fuzz_uint(&g->in, 4), 4);
    if (how & 1) { /* the old way: four buffers, and a ring of bytes */
        g->out(g, io + 0x30, BUFFERS, 4);
        for (unsigned i = 0; i < n; i++) {
            g->out(g, io + 0x20 + (i & 3) * 4, buffer(g), 4);
            g->out(g, io + 0x10 + (i & 3) * 4, fuzz_uint(&g->in, 2) & 0x1fff, 4);
        }
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        uint32_t d[4] = {0x80000000 | (uint32_t)fuzz_u8(&g->in) << 24 |
                             fuzz_u8(&g->in) << (how & 2 ? 0 : 6),
                         (uint32_t)fuzz_uint(&g->in, 3), fuzz_u8(&g->in) & 1 ? BUFFERS : buffer(g),
                         0};

        d[0] |= (uint32_t)fuzz_u8(&g->in) << 16 | (i == n - 1 ? 0x40000000 : 0);
        put32(g, RING + i * 16, d, 4);
        d[0] = 0x80000000 | (i == n - 1 ? 0x40000000 : 0) | fuzz_u8(&g->in) << 4;
        put32(g, RECEIVE_RING + i * 16, d, 4);
    }
    g->out(g, io + 0xe0, 0x03 | (how & 0x60), 2);
    g->out(g, io + 0x20, RING, 4);
    g->out(g, io + 0x24, 0, 4);
    g->out(g, io + 0xe4, RECEIVE_RING, 4);
    g->out(g, io + 0xe8, 0, 4);
    g->out(g, io + 0xd9, 0x40, 1);
}

/* The cable: a frame comes, there is no room, there is room again, it is pulled out. */
void guest_cable(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);
    uint8_t frame[2048] = {0};
    size_t len = 14 + fuzz_uint(&g->in, 2) % (sizeof(frame) - 14);

    if (how >= 0xf0) {
        net_set_link(g->net, how & 1);
        return;
    }
    if (how >= 0xd0) {
        g->net->full = how & 1;
        fake_net_writable(g->net);
        return;
    }
    fuzz_bytes(&g->in, frame, 64);
    if (how & 1) {
        memset(frame, 0xff, 6);
    } else if (how & 2) {
        memcpy(frame, g->net->mac, 6);
    }
    if (how & 4) { /* with a tag */
        frame[12] = 0x81;
        frame[13] = 0;
    }
    fake_net_deliver(g->net, frame, len);
}

/* ---- USB ---- */

static uint32_t some_link(struct fuzz_guest *g)
{
    unsigned which = fuzz_u8(&g->in);

    if (which >= 0xf8) {
        return (uint32_t)fuzz_uint(&g->in, 4);
    }
    return (NODES + (which >> 3) % NODES_COUNT * 16) | (which & 7);
}

/* A SETUP packet, of those that drivers send or any. */
static uint32_t some_packet(struct fuzz_guest *g)
{
    static const uint8_t known[][8] = {
        {0x80, 6, 0, 1, 0, 0, 18, 0},      {0x80, 6, 0, 2, 0, 0, 0xff, 0},
        {0x80, 6, 2, 3, 9, 4, 0xff, 0},    {0x00, 5, 1, 0, 0, 0, 0, 0},
        {0x00, 9, 1, 0, 0, 0, 0, 0},       {0x21, 0x0a, 0, 0, 0, 0, 0, 0},
        {0x81, 6, 0, 0x22, 0, 0, 0xff, 0}, {0x21, 9, 0, 2, 0, 0, 1, 0},
        {0xa1, 1, 0, 1, 0, 0, 8, 0},       {0x02, 1, 0, 0, 0x81, 0, 0, 0},
        {0x80, 0, 0, 0, 0, 0, 2, 0},       {0x00, 3, 1, 0, 0, 0, 0, 0},
    };
    unsigned which = fuzz_u8(&g->in);
    uint8_t packet[8];

    if (which < 200) {
        memcpy(packet, known[which % G_N_ELEMENTS(known)], 8);
    } else {
        fuzz_bytes(&g->in, packet, 8);
    }
    guestmem_write(g->m->memory, PACKETS + which % 16 * 8, packet, 8);
    return PACKETS + which % 16 * 8;
}

static void put_node(struct fuzz_guest *g, unsigned n)
{
    static const uint8_t pids[] = {0x69, 0xe1, 0x2d, 0x69};
    unsigned how = fuzz_u8(&g->in);
    uint32_t pid = pids[how & 3];
    uint32_t length = pid == 0x2d && how & 4 ? 7 : fuzz_u8(&g->in) & 0x3f;
    uint32_t node[4] = {
        some_link(g),
        how & 0x80 ? some_link(g)
                   : 0x18800000u | (how & 0x40 ? (uint32_t)fuzz_u8(&g->in) << 24 : 0),
        pid | (how >> 3 & 1) << 8 | (how >> 4 & 1) << 15 | (how >> 5 & 1) << 19 | length << 21,
        pid == 0x2d ? some_packet(g) : buffer(g),
    };

    put32(g, NODES + n * 16, node, 4);
}

void guest_uhci(struct fuzz_guest *g)
{
    uint32_t io = (uint32_t)guest_bar(g->m, usb, 4);
    unsigned n = 1 + fuzz_u8(&g->in) % 8, how = fuzz_u8(&g->in);
    uint32_t list[64];

    for (unsigned i = 0; i < n; i++) {
        put_node(g, (how + i) % NODES_COUNT);
    }
    list[0] = some_link(g);
    list[1] = some_link(g);
    for (unsigned i = 2; i < G_N_ELEMENTS(list); i++) {
        list[i] = list[i & 1];
    }
    for (unsigned at = 0; at < 0x1000; at += sizeof(list)) {
        put32(g, FRAMES + at, list, G_N_ELEMENTS(list));
    }
    g->out(g, io + 0x08, FRAMES, 4);
    if (how & 0x40) {
        g->out(g, io + 0x10, 0x200, 2);
        g->out(g, io + 0x12, 0x200, 2);
    }
    g->out(g, io + 0x10, 0x0004, 2);
    g->out(g, io + 0x12, 0x0004, 2);
    g->out(g, io, how & 0x80 ? 0x00 : 0xc1, 2);
    fake_clock_step(g->m, (1 + (how & 3)) * NS_PER_MS);
}

/* Somebody moves the pointer and types. */
void guest_pointer(struct fuzz_guest *g)
{
    unsigned how = fuzz_u8(&g->in);

    if (how & 1) {
        input_absolute(g->m->input, (int)fuzz_uint(&g->in, 2) & 0x7fff, fuzz_u8(&g->in));
    } else {
        input_relative(g->m->input, (int8_t)fuzz_u8(&g->in), (int8_t)fuzz_u8(&g->in),
                       how & 2 ? 1 : 0);
    }
    input_sync(g->m->input);
}
