/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "xhci-fixture.h"

uint32_t rd(struct bench *b, unsigned reg)
{
    return (uint32_t)aspace_read(b->m->mmio, BAR + reg, 4);
}

void wr(struct bench *b, unsigned reg, uint32_t value)
{
    aspace_write(b->m->mmio, BAR + reg, value, 4);
}

uint8_t *mem(struct bench *b, uint64_t at)
{
    return fake_guestmem_ptr(b->m->memory, at);
}

void settle(struct bench *b)
{
    for (unsigned i = 0; i < 10000 && g_main_context_iteration(NULL, FALSE); i++) {
    }
}

/* ---- rings ---- */

void put_trb(struct bench *b, uint64_t at, uint64_t parameter, uint32_t status, uint32_t control)
{
    uint8_t *p = mem(b, at);

    store_le64(p, parameter);
    store_le32(p + 8, status);
    store_le32(p + 12, control);
}

void ring_reset(struct bench *b, unsigned slot, unsigned dci)
{
    memset(mem(b, RING(slot, dci)), 0, RING_TRBS * 16);
    b->at[slot][dci] = 0;
    b->cycle[slot][dci] = false;
}

uint64_t push(struct bench *b, unsigned slot, unsigned dci, uint64_t parameter, uint32_t status,
              uint32_t ctrl)
{
    unsigned *at = &b->at[slot][dci];
    bool *inverted = &b->cycle[slot][dci];
    uint64_t where = RING(slot, dci) + 16u * *at;

    put_trb(b, where, parameter, status, ctrl | !*inverted);
    if (++*at == RING_TRBS - 1) {
        put_trb(b, RING(slot, dci) + 16u * *at, RING(slot, dci), 0,
                TYPE(LINK) | TOGGLE | (ctrl & CHAIN) | !*inverted);
        *at = 0;
        *inverted = !*inverted;
    }
    return where;
}

void ring(struct bench *b, unsigned slot, unsigned dci)
{
    wr(b, DOORBELL(slot), dci);
    settle(b);
}

bool peek_event(struct bench *b, struct event *e)
{
    const uint8_t *p = mem(b, EVENTS + 16u * b->event_at);

    e->parameter = load_le64(p);
    e->status = load_le32(p + 8);
    e->control = load_le32(p + 12);
    return (e->control & CYCLE) == b->event_cycle;
}

bool next_event(struct bench *b, struct event *e)
{
    if (!peek_event(b, e)) {
        return false;
    }
    if (++b->event_at == b->size) {
        b->event_at = 0;
        b->event_cycle = !b->event_cycle;
    }
    wr(b, ERDP, (EVENTS + 16u * b->event_at) | 8);
    settle(b);
    return true;
}

struct event want_event(struct bench *b, unsigned type, unsigned code)
{
    struct event e;

    settle(b);
    g_assert_true(next_event(b, &e));
    g_assert_cmpuint(EVENT_TYPE(e), ==, type);
    g_assert_cmpuint(CODE(e), ==, code);
    return e;
}

void no_event(struct bench *b)
{
    struct event e;

    settle(b);
    g_assert_false(peek_event(b, &e));
}

/* ---- commands ---- */

struct event command_event(struct bench *b, uint64_t parameter, uint32_t ctrl)
{
    uint64_t at = push(b, 0, 0, parameter, 0, ctrl);
    struct event e;

    wr(b, DOORBELL(0), 0);
    settle(b);
    g_assert_true(next_event(b, &e));
    g_assert_cmpuint(EVENT_TYPE(e), ==, 33);
    g_assert_cmphex(e.parameter, ==, at);
    return e;
}

unsigned command(struct bench *b, uint64_t parameter, uint32_t ctrl)
{
    return CODE(command_event(b, parameter, ctrl));
}

void put_input(struct bench *b, uint32_t drop, uint32_t add, unsigned port, uint32_t route)
{
    uint8_t *p = mem(b, INPUT);

    memset(p, 0, 33 * 32);
    store_le32(p, drop);
    store_le32(p + 4, add);
    store_le32(p + 32, route | 1u << 20 | 31u << 27);
    store_le32(p + 36, port << 16);
}

void put_endpoint(struct bench *b, unsigned slot, unsigned dci, unsigned type, unsigned packet,
                  unsigned interval)
{
    uint8_t *p = mem(b, INPUT + 32u * (dci + 1));

    store_le32(p, interval << 16);
    store_le32(p + 4, packet << 16 | type << 3 | 3 << 1);
    store_le64(p + 8, RING(slot, dci) | 1);
    ring_reset(b, slot, dci);
}

unsigned output_state(struct bench *b, unsigned slot, unsigned dci)
{
    const uint8_t *p = mem(b, OUTPUT(slot) + 32u * dci);

    return dci ? load_le32(p) & 7 : load_le32(p + 12) >> 27;
}

void reset_port(struct bench *b, unsigned port)
{
    struct event e;

    wr(b, PORTSC(port), 0x210);
    e = want_event(b, 34, 1);
    g_assert_cmpuint(e.parameter, ==, (uint64_t)port << 24);
    g_assert_cmphex(rd(b, PORTSC(port)) & 0x2001ff, ==, 0x200003);
    wr(b, PORTSC(port), 0x00fe0200);
    g_assert_cmphex(rd(b, PORTSC(port)) & 0x00fe0003, ==, 3);
}

unsigned attach_device(struct bench *b, unsigned port, uint32_t route)
{
    struct event e;
    unsigned slot;

    if (!route) {
        reset_port(b, port);
    }
    e = command_event(b, 0, TYPE(ENABLE));
    g_assert_cmpuint(CODE(e), ==, 1);
    slot = e.control >> 24;
    store_le64(mem(b, DCBAA + 8 * slot), OUTPUT(slot));
    put_input(b, 0, 3, port, route);
    put_endpoint(b, slot, 1, 4, 8, 0);
    g_assert_cmpuint(command(b, INPUT, TYPE(ADDRESS) | FOR(slot, 0)), ==, 1);
    g_assert_cmpuint(output_state(b, slot, 0), ==, 2);
    g_assert_cmpuint(output_state(b, slot, 1), ==, 1);
    return slot;
}

unsigned control(struct bench *b, unsigned slot, uint8_t type, uint8_t request, uint16_t value,
                 uint16_t index, uint64_t data, uint16_t length)
{
    uint64_t setup = type | (uint64_t)request << 8 | (uint64_t)value << 16 | (uint64_t)index << 32 |
                     (uint64_t)length << 48;
    bool in = type & 0x80 && length;
    struct event e;

    push(b, slot, 1, setup, 8, TYPE(SETUP) | IDT | (length ? (in ? 3u : 2u) << 16 : 0));
    if (length) {
        push(b, slot, 1, data, length, TYPE(STAGE_DATA) | ISP | (in ? IN : 0));
    }
    push(b, slot, 1, 0, 0, TYPE(STAGE_STATUS) | IOC | (in ? 0 : IN));
    ring(b, slot, 1);
    do {
        g_assert_true(next_event(b, &e));
        g_assert_cmpuint(EVENT_TYPE(e), ==, 32);
        g_assert_cmphex(e.control >> 16, ==, slot << 8 | 1);
    } while (CODE(e) == 13);
    return CODE(e);
}

unsigned attach_hid(struct bench *b, unsigned port, uint32_t route)
{
    unsigned slot = attach_device(b, port, route);

    put_input(b, 0, 1 | 1u << 3, port, route);
    put_endpoint(b, slot, 3, 7, 8, 6);
    g_assert_cmpuint(command(b, INPUT, TYPE(CONFIGURE) | FOR(slot, 0)), ==, 1);
    g_assert_cmpuint(output_state(b, slot, 0), ==, 3);
    g_assert_cmpuint(control(b, slot, 0, 9, 1, 0, 0, 0), ==, 1);
    return slot;
}

/* Its unit attention is gone, too. */
unsigned attach_stick(struct bench *b)
{
    unsigned slot = attach_device(b, FIRST2 + 1, 0);

    put_input(b, 0, 1 | 1u << 3 | 1u << 4, FIRST2 + 1, 0);
    put_endpoint(b, slot, 3, 6, 64, 0);
    put_endpoint(b, slot, 4, 2, 64, 0);
    g_assert_cmpuint(command(b, INPUT, TYPE(CONFIGURE) | FOR(slot, 0)), ==, 1);
    g_assert_cmpuint(control(b, slot, 0, 9, 1, 0, 0, 0), ==, 1);
    put_cbw(b, DATA, 18, true, 3, 0, 18);
    push(b, slot, 4, DATA, 31, TYPE(NORMAL));
    ring(b, slot, 4);
    push(b, slot, 3, DATA + 64, 18, TYPE(NORMAL));
    push(b, slot, 3, DATA + 128, 13, TYPE(NORMAL) | IOC);
    ring(b, slot, 3);
    want_event(b, 32, 1);
    return slot;
}

void put_cbw(struct bench *b, uint64_t at, uint32_t length, bool in, uint8_t op, uint32_t lba,
             uint16_t count)
{
    uint8_t *p = mem(b, at);

    memset(p, 0, 31);
    store_le32(p, 0x43425355);
    store_le32(p + 4, 99);
    store_le32(p + 8, length);
    p[12] = in ? 0x80 : 0;
    p[14] = op < 0x20 ? 6 : 10;
    p[15] = op;
    if (op < 0x20) {
        p[19] = (uint8_t)count;
    } else {
        store_be32(p + 17, lba);
        store_be16(p + 22, count);
    }
}

/* ---- life ---- */

static struct usb_device *plug(struct machine *m, const struct device_class *class, const char *id,
                               const char *port, struct block *block)
{
    g_autoptr(GError) err = NULL;
    struct bus *bus = bus_find(m, &usb_bus_class, NULL, &err);
    struct device *dev = device_new(m, class, id, &err);

    g_assert_no_error(err);
    g_assert_cmpint(device_set(dev, "port", port, &err), ==, 0);
    if (block) {
        device_set_backend(dev, "drive", block_backend(block));
    }
    g_assert_cmpint(usb_bus_class.take(bus, dev, &err), ==, 0);
    g_assert_cmpint(device_realize(dev, &err), ==, 0);
    g_assert_no_error(err);
    device_reset(dev, RESET_COLD);
    if (class->resume) {
        class->resume(dev);
    }
    return DEVICE_CAST(struct usb_device, dev);
}

struct bench bench_bare(void)
{
    struct bench b = {.m = usb_machine_new(NULL), .block = fake_block_new("stick", 4096 * 512)};

    b.block->limits = (struct block_limits){.logical = 512, .physical = 512};
    b.hc = fake_pci_device(b.m, &nec_xhci_class, DEVFN, NULL);
    pci_config_write(b.m->pci, DEVFN, 0x10, (uint32_t)BAR, 4);
    pci_config_write(b.m->pci, DEVFN, 0x04, 0x0006, 2);
    b.tablet = plug(b.m, &usb_tablet_class, "tablet", "1", NULL);
    b.stick = plug(b.m, &usb_storage_class, "stick", "2", b.block);
    b.hub = plug(b.m, &usb_hub_class, "hub", "3", NULL);
    b.mouse = plug(b.m, &usb_mouse_class, "mouse", "3.2", NULL);
    return b;
}

void bench_start(struct bench *b, unsigned event_trbs)
{
    b->size = event_trbs;
    b->event_at = 0;
    b->event_cycle = true;
    memset(mem(b, EVENTS), 0, 16 * event_trbs);
    store_le64(mem(b, ERST), EVENTS);
    store_le64(mem(b, ERST + 8), event_trbs);
    wr(b, USBCMD, 2);
    ring_reset(b, 0, 0);
    wr(b, CONFIG, 64);
    wr(b, DCBAAP, DCBAA);
    wr(b, CRCR, RING(0, 0) | 1);
    wr(b, CRCR + 4, 0);
    wr(b, ERSTSZ, 1);
    wr(b, ERDP, EVENTS);
    wr(b, ERSTBA, ERST);
    wr(b, IMAN, 2);
    wr(b, USBCMD, 5);
}

struct bench bench_new(void)
{
    struct bench b = bench_bare();

    bench_start(&b, 256);
    return b;
}

void bench_free(struct bench *b)
{
    usb_machine_free(b->m);
    fake_block_free(b->block);
}
