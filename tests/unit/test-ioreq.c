/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ioreqs without Xen: what a slot or the ring says becomes an access, whatever it says; nothing is
 * read twice; order, string instructions in both directions, hostile values, a page that changes
 * meanwhile.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>

#include <xendm/aspace.h>
#include <xendm/log.h>
#include <xendm/machine.h>

#include "../../dm/ioreq/request.h"
#include "fakes.h"

#define VCPUS 4u
#define PORT 0x1f0u
#define BLOCK_PORT 0x200u
#define MMIO_BASE UINT64_C(0xf0000000)
#define MMIO_SIZE 0x10000u
#define EPORT 0x11223300u
#define RING IOREQ_BUFFER_SLOT_NUM

/*
 * A machine with a port that counts, a port with block forms, and memory-mapped bytes; and the two
 * shared pages.
 */
struct rig {
    struct machine *m;
    struct ioreq_core core;
    struct ioreq *slot;
    struct buffered_iopage *ring;
    struct region port, block_port, mmio;
    uint8_t bytes[MMIO_SIZE];
    uint32_t next; /* what the ports read next, and then +1 */
    GArray *log;   /* struct note: writes, in order */
    unsigned notified[VCPUS];
    unsigned looks;     /* releases after which there was something to look at */
    size_t block_units; /* served by the block forms */
    size_t block_limit;
    void (*inside)(struct rig *r); /* called in every access */
};

struct note {
    bool mmio;
    uint64_t offset, value;
    unsigned size;
};

static void note(struct rig *r, bool mmio, uint64_t offset, uint64_t value, unsigned size)
{
    struct note n = {mmio, offset, value, size};

    g_array_append_val(r->log, n);
    if (r->inside != NULL) {
        r->inside(r);
    }
}

static struct note *noted(struct rig *r, unsigned i)
{
    g_assert_cmpuint(i, <, r->log->len);
    return &g_array_index(r->log, struct note, i);
}

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    struct rig *r = opaque;

    if (r->inside != NULL) {
        r->inside(r);
    }
    return r->next++ | UINT64_C(0xdead) << 48; /* bits above the size are nobody's */
}

static void port_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    note(opaque, false, offset, value, size);
}

static size_t port_read_block(void *opaque, uint64_t offset, void *buf, unsigned size, size_t count)
{
    struct rig *r = opaque;
    size_t n = MIN(count, r->block_limit);

    for (size_t i = 0; i < n; i++) {
        uint32_t v = r->next++;

        memcpy((uint8_t *)buf + i * size, &v, size);
    }
    r->block_units += n;
    return n;
}

static size_t port_write_block(void *opaque, uint64_t offset, const void *buf, unsigned size,
                               size_t count)
{
    struct rig *r = opaque;
    size_t n = MIN(count, r->block_limit);

    for (size_t i = 0; i < n; i++) {
        uint64_t v = 0;

        memcpy(&v, (const uint8_t *)buf + i * size, size);
        note(r, false, offset, v, size);
    }
    r->block_units += n;
    return n;
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    struct rig *r = opaque;
    uint64_t v = 0;

    g_assert_cmpuint(offset + size, <=, MMIO_SIZE);
    memcpy(&v, r->bytes + offset, size);
    return v;
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct rig *r = opaque;

    g_assert_cmpuint(offset + size, <=, MMIO_SIZE);
    memcpy(r->bytes + offset, &value, size);
    note(r, true, offset, value, size);
}

static const struct region_ops port_ops = {.read = port_read, .write = port_write, .impl_max = 4};
static const struct region_ops block_ops = {
    .read = port_read,
    .write = port_write,
    .read_block = port_read_block,
    .write_block = port_write_block,
    .impl_max = 4,
};
static const struct region_ops mmio_ops = {.read = mmio_read, .write = mmio_write, .impl_max = 8};

static void on_notify(void *opaque, unsigned vcpu)
{
    struct rig *r = opaque;

    g_assert_cmpuint(vcpu, <, VCPUS);
    r->notified[vcpu]++;
}

static void *page_new(void)
{
    void *page = aligned_alloc(4096, 4096);

    g_assert_nonnull(page);
    return memset(page, 0, 4096);
}

static struct rig *rig_new(void)
{
    struct rig *r = g_new0(struct rig, 1);

    r->m = fake_machine_new();
    r->slot = page_new();
    r->ring = page_new();
    r->log = g_array_new(FALSE, FALSE, sizeof(struct note));
    r->block_limit = SIZE_MAX;
    r->core.machine = r->m;
    r->core.slot = r->slot;
    r->core.ring = r->ring;
    r->core.vcpus = VCPUS;
    r->core.notify = on_notify;
    r->core.opaque = r;
    region_init(&r->port, "port", &port_ops, r, 8);
    region_init(&r->block_port, "block port", &block_ops, r, 4);
    region_init(&r->mmio, "memory", &mmio_ops, r, MMIO_SIZE);
    g_assert_cmpint(region_place(r->m->pio, &r->port, PORT, NULL), ==, 0);
    g_assert_cmpint(region_place(r->m->pio, &r->block_port, BLOCK_PORT, NULL), ==, 0);
    g_assert_cmpint(region_place(r->m->mmio, &r->mmio, MMIO_BASE, NULL), ==, 0);
    for (unsigned i = 0; i < VCPUS; i++) {
        r->slot[i].vp_eport = EPORT + i;
    }
    return r;
}

static void rig_free(struct rig *r)
{
    g_assert_cmpuint(fake_guestmem_pinned(r->m->memory), ==, 0);
    region_remove(&r->port);
    region_remove(&r->block_port);
    region_remove(&r->mmio);
    r->m->holds.released = NULL;
    fake_machine_free(r->m);
    ioreq_core_clear(&r->core);
    free(r->slot);
    free(r->ring);
    g_array_free(r->log, TRUE);
    g_free(r);
}

static struct ioreq request(unsigned type, unsigned dir, uint64_t addr, unsigned size,
                            uint64_t data)
{
    return (struct ioreq){
        .type = (uint8_t)type,
        .dir = (uint8_t)(dir & 1),
        .addr = addr,
        .size = size,
        .count = 1,
        .data = data,
        .state = STATE_IOREQ_READY,
    };
}

/* As Xen would: fills the slot, lets it be served, takes the answer. */
static uint64_t ask(struct rig *r, unsigned vcpu, struct ioreq req)
{
    unsigned before = r->notified[vcpu];
    uint64_t data;

    req.vp_eport = EPORT + vcpu;
    r->slot[vcpu] = req;
    do { /* a long string instruction may need several turns */
        g_assert_true(ioreq_core_serve(&r->core, vcpu));
    } while (req.count > 64 && r->notified[vcpu] == before);
    g_assert_cmpuint(r->notified[vcpu], ==, before + 1);
    g_assert_cmpuint(r->slot[vcpu].state, ==, STATE_IORESP_READY);
    /* Xen drops requests of a slot whose port was changed. */
    g_assert_cmpuint(r->slot[vcpu].vp_eport, ==, EPORT + vcpu);
    g_assert_cmpuint(r->slot[vcpu].count, ==, req.count);
    g_assert_cmpuint(r->slot[vcpu].addr, ==, req.addr);
    data = r->slot[vcpu].data;
    g_assert_false(ioreq_core_serve(&r->core, vcpu));
    r->slot[vcpu].state = STATE_IOREQ_NONE;
    g_assert_false(ioreq_core_serve(&r->core, vcpu));
    return data;
}

static void test_simple(void)
{
    struct rig *r = rig_new();

    r->next = 0x55;
    g_assert_cmphex(ask(r, 0, request(IOREQ_TYPE_PIO, IOREQ_READ, PORT, 1, 0)), ==, 0x55);
    g_assert_cmphex(ask(r, 1, request(IOREQ_TYPE_PIO, IOREQ_READ, PORT + 2, 2, ~0ull)), ==, 0x56);
    g_assert_cmphex(ask(r, 3, request(IOREQ_TYPE_PIO, IOREQ_READ, PORT, 4, 0)), ==, 0x57);
    ask(r, 2, request(IOREQ_TYPE_PIO, IOREQ_WRITE, PORT + 7, 1, UINT64_C(0xffffffffffffff12)));
    g_assert_cmphex(noted(r, 0)->value, ==, 0x12);
    g_assert_cmpuint(noted(r, 0)->offset, ==, 7);
    g_assert_cmpuint(noted(r, 0)->size, ==, 1);
    ask(r, 0,
        request(IOREQ_TYPE_COPY, IOREQ_WRITE, MMIO_BASE + 0x100, 8, UINT64_C(0x1122334455667788)));
    g_assert_cmphex(ask(r, 0, request(IOREQ_TYPE_COPY, IOREQ_READ, MMIO_BASE + 0x100, 8, 0)), ==,
                    UINT64_C(0x1122334455667788));
    g_assert_cmphex(ask(r, 0, request(IOREQ_TYPE_COPY, IOREQ_READ, MMIO_BASE + 0x102, 2, 0)), ==,
                    0x5566);

    /* Nobody there. */
    g_assert_cmphex(ask(r, 0, request(IOREQ_TYPE_PIO, IOREQ_READ, 0x5e, 2, 0)), ==, 0xffff);
    g_assert_cmphex(ask(r, 0, request(IOREQ_TYPE_PIO, IOREQ_READ, 0xffff, 1, 0)), ==, 0xff);
    g_assert_cmphex(ask(r, 0, request(IOREQ_TYPE_COPY, IOREQ_READ, MMIO_BASE - 8, 4, 0)), ==,
                    0xffffffff);
    g_assert_cmphex(ask(r, 0, request(IOREQ_TYPE_COPY, IOREQ_READ, UINT64_MAX - 7, 8, 0)), ==,
                    UINT64_MAX);
    g_assert_cmphex(ask(r, 0,
                        request(IOREQ_TYPE_PCI_CONFIG, IOREQ_READ, UINT64_C(0x1f) << 32 | 2, 2, 0)),
                    ==, 0xffff);
    g_assert_cmphex(ask(r, 0,
                        request(IOREQ_TYPE_PCI_CONFIG, IOREQ_READ, UINT64_C(0x10000) << 32, 4, 0)),
                    ==, 0xffffffff);
    g_assert_cmphex(ask(r, 0, request(IOREQ_TYPE_PCI_CONFIG, IOREQ_READ, 0xfff, 1, 0)), ==, 0xff);
    g_assert_cmphex(ask(r, 0, request(IOREQ_TYPE_PCI_CONFIG, IOREQ_READ, UINT32_MAX, 4, 0)), ==,
                    0xffffffff);
    ask(r, 0, request(IOREQ_TYPE_PCI_CONFIG, IOREQ_WRITE, 0xfe, 4, 1));
    g_assert_cmpuint(r->core.counters.bad, ==, 0);
    g_assert_cmpuint(r->core.counters.pio_reads, ==, 5);
    g_assert_cmpuint(r->core.counters.config_reads, ==, 4);
    rig_free(r);
}

static void test_senseless(void)
{
    static const struct {
        uint8_t type;
        uint64_t addr;
        uint32_t size, count;
        uint8_t ptr, df;
        uint64_t data;
    } bad[] = {
        {IOREQ_TYPE_PIO, PORT, 0, 1, 0, 0, 0},
        {IOREQ_TYPE_PIO, PORT, 3, 1, 0, 0, 0},
        {IOREQ_TYPE_PIO, PORT, 8, 1, 0, 0, 0},
        {IOREQ_TYPE_PIO, PORT, 0x80000001, 1, 0, 0, 0},
        {IOREQ_TYPE_PIO, PORT, UINT32_MAX, 1, 1, 0, 0},
        {IOREQ_TYPE_PIO, PORT, 1, 0, 0, 0, 0},
        {IOREQ_TYPE_PIO, PORT, 1, 2, 0, 0, 0},
        {IOREQ_TYPE_PIO, 0xffff, 2, 1, 0, 0, 0},
        {IOREQ_TYPE_PIO, 0x10000 + PORT, 1, 1, 0, 0, 0},
        {IOREQ_TYPE_PIO, UINT64_MAX, 1, 1, 0, 0, 0},
        {IOREQ_TYPE_PIO, PORT, 1, UINT32_MAX, 1, 0, 0},
        {IOREQ_TYPE_PIO, PORT, 1, IOREQ_COUNT_MAX + 1, 1, 0, 0},
        {IOREQ_TYPE_PIO, PORT, 4, 2, 1, 0, UINT64_MAX - 6},
        {IOREQ_TYPE_PIO, PORT, 4, 2, 1, 1, 3},
        {IOREQ_TYPE_COPY, MMIO_BASE, 0, 1, 0, 0, 0},
        {IOREQ_TYPE_COPY, MMIO_BASE, 16, 1, 0, 0, 0},
        {IOREQ_TYPE_COPY, MMIO_BASE, 6, 1, 0, 0, 0},
        {IOREQ_TYPE_COPY, MMIO_BASE, 4, 0, 0, 0, 0},
        {IOREQ_TYPE_COPY, MMIO_BASE, 4, UINT32_MAX, 0, 0, 0},
        {IOREQ_TYPE_COPY, MMIO_BASE, 4, UINT32_MAX, 1, 0, 0},
        {IOREQ_TYPE_COPY, UINT64_MAX, 2, 1, 0, 0, 0},
        {IOREQ_TYPE_COPY, UINT64_MAX - 7, 8, 2, 0, 0, 0},
        {IOREQ_TYPE_COPY, 4, 4, 3, 0, 1, 0},
        {IOREQ_TYPE_PCI_CONFIG, 0, 8, 1, 0, 0, 0},
        {IOREQ_TYPE_PCI_CONFIG, 0, 4, 3, 0, 0, 0},
        {IOREQ_TYPE_PCI_CONFIG, 0, 0, 1, 0, 0, 0},
        {3, PORT, 1, 1, 0, 0, 0},
        {6, PORT, 1, 1, 0, 0, 0},
        {9, PORT, 1, 1, 0, 0, 0},
        {255, PORT, 1, 1, 0, 0, 0},
    };
    struct rig *r = rig_new();

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        for (unsigned dir = 0; dir < 2; dir++) {
            struct ioreq req = request(bad[i].type, dir, bad[i].addr, bad[i].size, bad[i].data);

            req.count = bad[i].count;
            req.data_is_ptr = bad[i].ptr;
            req.df = bad[i].df;
            g_assert_cmphex(ask(r, i % VCPUS, req), ==, UINT64_MAX);
            g_assert_cmpuint(r->core.counters.bad, ==, 2 * i + dir + 1);
        }
    }
    g_assert_cmpuint(r->log->len, ==, 0);
    g_assert_cmpuint(r->next, ==, 0);

    /* States that Xen does not know. */
    for (unsigned state = STATE_IORESP_READY + 1; state < 16; state++) {
        r->slot[1] = request(IOREQ_TYPE_PIO, IOREQ_WRITE, PORT, 1, 0);
        r->slot[1].vp_eport = EPORT + 1;
        r->slot[1].state = (uint8_t)(state & 15);
        g_assert_true(ioreq_core_serve(&r->core, 1));
        g_assert_cmpuint(r->slot[1].state, ==, STATE_IOREQ_NONE);
        g_assert_cmpuint(r->slot[1].vp_eport, ==, EPORT + 1);
        g_assert_cmphex(r->slot[1].data, ==, UINT64_MAX);
    }
    g_assert_cmpuint(r->log->len, ==, 0);
    /* … and in which there is nothing to do. */
    r->slot[1].state = STATE_IOREQ_INPROCESS;
    g_assert_false(ioreq_core_serve(&r->core, 1));
    g_assert_cmpuint(ioreq_core_poll(&r->core, 100), ==, 0);
    rig_free(r);
}

/* ---- string instructions ---- */

static uint8_t *mem(struct rig *r, uint64_t gpa)
{
    return fake_guestmem_ptr(r->m->memory, gpa);
}

static struct ioreq string_request(unsigned type, unsigned dir, uint64_t addr, unsigned size,
                                   uint32_t count, uint64_t data, bool df)
{
    struct ioreq req = request(type, dir, addr, size, data);

    req.count = count;
    req.data_is_ptr = 1;
    req.df = df;
    return req;
}

static void expect_units(struct rig *r, uint64_t first_gpa, int64_t step, unsigned size,
                         uint32_t count, uint32_t first)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t v = 0, want = first + i;

        memcpy(&v, mem(r, first_gpa + (uint64_t)(step * (int64_t)i)), size);
        g_assert_cmphex(v, ==, size == 4 ? want : want & ((1u << size * 8) - 1));
    }
}

static void test_string_in(void)
{
    static const uint32_t ports[] = {PORT, BLOCK_PORT};
    struct rig *r = rig_new();

    for (unsigned p = 0; p < 2; p++) {
        for (unsigned size = 1; size <= 4; size *= 2) {
            uint64_t gpa = 0x5ff0 + p; /* across pages, once not aligned */
            uint32_t count = 1000;

            memset(mem(r, 0x5000), 0xcc, 0x3000);
            r->next = 1;
            ask(r, 0,
                string_request(IOREQ_TYPE_PIO, IOREQ_READ, ports[p], size, count, gpa, false));
            expect_units(r, gpa, size, size, count, 1);
            g_assert_cmphex(*mem(r, gpa - 1), ==, 0xcc);
            g_assert_cmphex(*mem(r, gpa + (uint64_t)size * count), ==, 0xcc);
            g_assert_cmpuint(r->next, ==, count + 1);

            memset(mem(r, 0x5000), 0xcc, 0x3000);
            gpa = 0x7f00 + p;
            r->next = 1;
            ask(r, 0, string_request(IOREQ_TYPE_PIO, IOREQ_READ, ports[p], size, count, gpa, true));
            expect_units(r, gpa, -(int64_t)size, size, count, 1);
            g_assert_cmphex(*mem(r, gpa + size), ==, 0xcc);
            g_assert_cmphex(*mem(r, gpa - (uint64_t)size * (count - 1) - 1), ==, 0xcc);
        }
    }
    g_assert_cmpuint(r->block_units, ==, 6 * 1000);

    /* Block forms may serve a part only. */
    r->block_limit = 3;
    r->next = 100;
    ask(r, 0, string_request(IOREQ_TYPE_PIO, IOREQ_READ, BLOCK_PORT, 2, 256, 0x6000, false));
    expect_units(r, 0x6000, 2, 2, 256, 100);

    /* The most that Xen sends, larger than the bounce buffer; one unit; nobody at the port. */
    r->next = 0;
    ask(r, 0, string_request(IOREQ_TYPE_PIO, IOREQ_READ, PORT, 4, IOREQ_COUNT_MAX, 0x20000, false));
    expect_units(r, 0x20000, 4, 4, IOREQ_COUNT_MAX, 0);
    r->next = 0;
    ask(r, 0, string_request(IOREQ_TYPE_PIO, IOREQ_READ, PORT, 4, IOREQ_COUNT_MAX, 0x40000, true));
    expect_units(r, 0x40000, -4, 4, IOREQ_COUNT_MAX, 0);
    r->next = 7;
    ask(r, 0, string_request(IOREQ_TYPE_PIO, IOREQ_READ, PORT, 2, 1, 0x8fff, true));
    expect_units(r, 0x8fff, 2, 2, 1, 7);
    memset(mem(r, 0x6000), 0, 16);
    ask(r, 0, string_request(IOREQ_TYPE_PIO, IOREQ_READ, 0x5e, 2, 8, 0x6000, false));
    for (unsigned i = 0; i < 16; i++) {
        g_assert_cmphex(mem(r, 0x6000)[i], ==, 0xff);
    }
    g_assert_cmpuint(r->core.counters.string_faults, ==, 0);
    g_assert_cmpuint(r->core.counters.bad, ==, 0);
    rig_free(r);
}

/* Where memory is missing the device still gives its data, and what is there gets it. */
static void test_string_holes(void)
{
    struct rig *r = rig_new();

    fake_guestmem_hole(r->m->memory, 0x6000, 0x1000);
    r->next = 0;
    ask(r, 0, string_request(IOREQ_TYPE_PIO, IOREQ_READ, PORT, 2, 4096, 0x5000, false));
    g_assert_cmpuint(r->next, ==, 4096);
    expect_units(r, 0x5000, 2, 2, 2048, 0);
    g_assert_cmpuint(r->core.counters.string_faults, >=, 1); /* one for each turn it took */

    r->next = 0;
    ask(r, 0, string_request(IOREQ_TYPE_PIO, IOREQ_READ, PORT, 4, 2048, 0x5800, false));
    g_assert_cmpuint(r->next, ==, 2048);
    expect_units(r, 0x7000, 4, 4, 512, 512 + 1024);

    /* A unit that lies half in the hole. */
    r->next = 0;
    ask(r, 0, string_request(IOREQ_TYPE_PIO, IOREQ_READ, PORT, 4, 3, 0x5ffa, false));
    g_assert_cmpuint(r->next, ==, 3);

    /* Far away from all memory, in both directions. */
    ask(r, 0, string_request(IOREQ_TYPE_PIO, IOREQ_READ, PORT, 4, 16, UINT64_C(1) << 50, true));
    ask(r, 0, string_request(IOREQ_TYPE_PIO, IOREQ_WRITE, PORT, 4, 2, UINT64_C(1) << 50, false));
    g_assert_cmphex(noted(r, 0)->value, ==, 0xffffffff);
    g_assert_cmphex(noted(r, 1)->value, ==, 0xffffffff);
    ask(r, 0, string_request(IOREQ_TYPE_COPY, IOREQ_READ, MMIO_BASE, 8, 2, 0x6000, false));
    g_assert_cmpuint(r->core.counters.bad, ==, 0);
    rig_free(r);
}

static void test_string_out(void)
{
    struct rig *r = rig_new();

    for (unsigned i = 0; i < 0x2000; i++) {
        mem(r, 0x5000)[i] = (uint8_t)(i * 31 + i / 256);
    }
    for (unsigned df = 0; df < 2; df++) {
        for (unsigned p = 0; p < 2; p++) {
            uint64_t gpa = df ? 0x6100 : 0x5f00;

            g_array_set_size(r->log, 0);
            ask(r, 0,
                string_request(IOREQ_TYPE_PIO, IOREQ_WRITE, p ? BLOCK_PORT : PORT, 2, 300, gpa,
                               df));
            g_assert_cmpuint(r->log->len, ==, 300);
            for (unsigned i = 0; i < 300; i++) {
                uint16_t want;

                memcpy(&want, mem(r, df ? gpa - 2 * i : gpa + 2 * i), 2);
                g_assert_cmphex(noted(r, i)->value, ==, want);
            }
        }
    }
    rig_free(r);
}

/*
 * The host cannot map the memory, now: the instruction waits, nothing of it is lost or invented,
 * the others go on, and at a stop it is what it was. Not for ever.
 */
static void test_string_starves(void)
{
    static const int errors[] = {ENOMEM, EAGAIN, EIO};
    struct rig *r = rig_new();

    for (unsigned i = 0; i < G_N_ELEMENTS(errors); i++) {
        for (unsigned how = 0; how < 12; how++) {
            bool in = how & 1, df = how & 2;
            uint64_t at = how / 4 == 0 ? PORT : how / 4 == 1 ? BLOCK_PORT : MMIO_BASE + 0x100;
            struct ioreq req = string_request(how / 4 == 2 ? IOREQ_TYPE_COPY : IOREQ_TYPE_PIO,
                                              in ? IOREQ_READ : IOREQ_WRITE, at, 2, 20, 0x5800, df);
            unsigned before = r->notified[0];

            g_array_set_size(r->log, 0);
            r->next = 7;
            req.vp_eport = EPORT;
            r->slot[0] = req;
            fake_guestmem_fail(r->m->memory, errors[i]);
            g_assert_true(ioreq_core_serve(&r->core, 0));
            g_assert_true(r->core.retry_wanted);
            g_assert_false(ioreq_core_serve(&r->core, 0)); /* it does not spin */
            g_assert_false(ioreq_core_serve(&r->core, 0));
            g_assert_cmpuint(r->notified[0], ==, before);
            g_assert_cmpuint(r->log->len, ==, 0);
            g_assert_cmpuint(r->next, ==, 7); /* the device was asked for nothing */
            ask(r, 1, request(IOREQ_TYPE_PIO, IOREQ_READ, PORT, 1, 0));
            r->next = 7;
            if (i == 1) { /* a stop, and another program */
                r->core.hold = true;
                ioreq_core_park(&r->core);
                g_assert_cmpuint(r->slot[0].state, ==, STATE_IOREQ_READY);
                g_assert_cmpuint(r->slot[0].count, ==, 20);
                r->core.hold = false;
            }
            fake_guestmem_fail(r->m->memory, 0);
            ioreq_core_retry(&r->core);
            g_assert_true(ioreq_core_serve(&r->core, 0));
            g_assert_cmpuint(r->notified[0], ==, before + 1);
            g_assert_cmpuint(r->core.counters.string_faults, ==, 0);
            if (!in && how / 4 < 2) {
                g_assert_cmpuint(r->log->len, ==, 20);
            } else if (in && how / 4 < 2) {
                g_assert_cmpuint(r->next, ==, 27);
            }
            r->slot[0].state = STATE_IOREQ_NONE;
        }
    }
    /* After a while it is as if there were no memory. */
    fake_guestmem_fail(r->m->memory, ENOMEM);
    r->slot[0] = string_request(IOREQ_TYPE_PIO, IOREQ_WRITE, PORT, 2, 2, 0x5800, false);
    g_array_set_size(r->log, 0);
    g_assert_true(ioreq_core_serve(&r->core, 0));
    r->core.starved_since -= 6 * NS_PER_S;
    ioreq_core_retry(&r->core);
    g_assert_true(ioreq_core_serve(&r->core, 0));
    g_assert_cmphex(noted(r, 1)->value, ==, 0xffff);
    g_assert_cmpuint(r->core.counters.string_faults, ==, 1);
    rig_free(r);
}

static void slowly(struct rig *r)
{
    g_usleep(200);
}

/* Serves `vcpu` until it is answered; how often the instruction was left and taken up again. */
static unsigned serve_in_turns(struct rig *r, unsigned vcpu)
{
    unsigned before = r->notified[vcpu], turns = 0;

    while (r->notified[vcpu] == before) {
        g_assert_true(ioreq_core_serve(&r->core, vcpu));
        turns++;
        if (r->notified[vcpu] == before) {
            /* Another vCPU's turn; and nothing while the machine stands still. */
            ask(r, 3, request(IOREQ_TYPE_PIO, IOREQ_WRITE, PORT + 7, 1, 0xee));
            r->core.hold = true;
            g_assert_false(ioreq_core_serve(&r->core, vcpu));
            r->core.hold = false;
        }
    }
    g_assert_cmpuint(r->slot[vcpu].state, ==, STATE_IORESP_READY);
    g_assert_cmpuint(r->slot[vcpu].vp_eport, ==, EPORT + vcpu);
    r->slot[vcpu].state = STATE_IOREQ_NONE;
    g_assert_false(ioreq_core_serve(&r->core, vcpu));
    return turns;
}

/*
 * A string of 200 units of which each takes 200 µs gets its turns, and every unit is done once and
 * in order.
 */
static void test_string_turns(void)
{
    enum { N = 200 };
    uint16_t in[N], out[N];

    for (unsigned how = 0; how < 8; how++) {
        struct rig *r = rig_new();
        bool read = how & 1, down = how & 2, mmio = how & 4;
        struct ioreq req =
            request(mmio ? IOREQ_TYPE_COPY : IOREQ_TYPE_PIO, read ? IOREQ_READ : IOREQ_WRITE,
                    mmio ? MMIO_BASE + 0x1000 : PORT, 2, 0x20000);
        unsigned units = 0;

        req.count = N;
        req.data_is_ptr = 1;
        req.df = down;
        req.vp_eport = EPORT + 1;
        for (unsigned i = 0; i < N; i++) {
            out[i] = (uint16_t)(0x4000 + i);
        }
        if (!read) {
            guestmem_write(r->m->memory, down ? 0x20000 - (N - 1) * 2 : 0x20000, out, sizeof(out));
        }
        r->inside = slowly;
        r->slot[1] = req;
        if (mmio && read) {
            for (unsigned i = 0; i < N; i++) {
                memcpy(r->bytes + (down ? 0x1000 - 2 * i : 0x1000 + 2 * i),
                       &(uint16_t){(uint16_t)i}, 2);
            }
        }
        if (mmio && read) {
            serve_in_turns(r, 1); /* reads of the rig's memory are quick */
        } else {
            g_assert_cmpuint(serve_in_turns(r, 1), >, 3);
            g_assert_cmpuint(r->core.counters.string_turns, >, 1);
        }
        if (read) {
            guestmem_read(r->m->memory, down ? 0x20000 - (N - 1) * 2 : 0x20000, in, sizeof(in));
            for (unsigned i = 0; i < N; i++) {
                g_assert_cmpuint(in[down ? N - 1 - i : i], ==, i);
            }
        }
        for (unsigned i = 0; i < r->log->len; i++) {
            if (noted(r, i)->value != 0xee) {
                g_assert_cmphex(noted(r, i)->value, ==, out[down ? N - 1 - units : units]);
                g_assert_cmphex(noted(r, i)->offset, ==,
                                !mmio  ? 0
                                : down ? 0x1000 - 2 * units
                                       : 0x1000 + 2 * units);
                units++;
            }
        }
        g_assert_cmpuint(units, ==, read ? 0 : N);
        rig_free(r);
    }

    /*
     * The machine stops in the middle: what is left is in the slot, and whoever comes then, perhaps
     * another program, does just that.
     */
    struct rig *r = rig_new();
    struct ioreq req = request(IOREQ_TYPE_COPY, IOREQ_WRITE, MMIO_BASE, 4, 7);

    req.count = 100;
    req.vp_eport = EPORT;
    r->inside = slowly;
    r->slot[0] = req;
    g_assert_true(ioreq_core_serve(&r->core, 0));
    g_assert_cmpuint(r->notified[0], ==, 0);
    r->core.hold = true;
    ioreq_core_park(&r->core);
    g_assert_cmpuint(r->slot[0].state, ==, STATE_IOREQ_READY);
    g_assert_cmpuint(r->slot[0].count, ==, 100 - r->log->len);
    ioreq_core_clear(&r->core);
    r->core.hold = false;
    r->inside = NULL;
    g_assert_cmpuint(ioreq_core_poll(&r->core, UINT32_MAX), ==, 1);
    g_assert_cmpuint(r->notified[0], ==, 1);
    g_assert_cmpuint(r->log->len, ==, 100);
    for (unsigned i = 0; i < 100; i++) {
        g_assert_cmphex(noted(r, i)->offset, ==, 4 * i);
    }
    rig_free(r);
}

static void test_string_mmio(void)
{
    struct rig *r = rig_new();
    struct ioreq req;

    for (unsigned i = 0; i < MMIO_SIZE; i++) {
        r->bytes[i] = (uint8_t)(i * 13 + i / 256);
    }
    /* REP MOVS from the device, up and down: both addresses step. */
    ask(r, 0,
        string_request(IOREQ_TYPE_COPY, IOREQ_READ, MMIO_BASE + 0xff0, 4, 512, 0x5ff8, false));
    g_assert_cmpint(memcmp(mem(r, 0x5ff8), r->bytes + 0xff0, 2048), ==, 0);
    ask(r, 0,
        string_request(IOREQ_TYPE_COPY, IOREQ_READ, MMIO_BASE + 0x4000, 8, 512, 0xa000, true));
    for (unsigned i = 0; i < 512; i++) {
        g_assert_cmpint(memcmp(mem(r, 0xa000 - 8 * i), r->bytes + 0x4000 - 8 * i, 8), ==, 0);
    }
    /* … and to it. */
    for (unsigned i = 0; i < 4096; i++) {
        mem(r, 0x9000)[i] = (uint8_t)(i ^ 0x5a);
    }
    ask(r, 0,
        string_request(IOREQ_TYPE_COPY, IOREQ_WRITE, MMIO_BASE + 0x2000, 1, 4096, 0x9000, false));
    g_assert_cmpint(memcmp(mem(r, 0x9000), r->bytes + 0x2000, 4096), ==, 0);
    g_array_set_size(r->log, 0);
    ask(r, 0, string_request(IOREQ_TYPE_COPY, IOREQ_WRITE, MMIO_BASE + 0x3ffc, 4, 2, 0x9ffc, true));
    g_assert_cmphex(noted(r, 0)->offset, ==, 0x3ffc);
    g_assert_cmphex(noted(r, 1)->offset, ==, 0x3ff8);
    g_assert_cmpint(memcmp(r->bytes + 0x3ff8, mem(r, 0x9ff8), 8), ==, 0);

    /* REP STOS: the value is in the request. */
    g_array_set_size(r->log, 0);
    req = request(IOREQ_TYPE_COPY, IOREQ_WRITE, MMIO_BASE + 0x800, 2, 0xabcd);
    req.count = 3;
    req.df = 1;
    ask(r, 0, req);
    g_assert_cmpuint(r->log->len, ==, 3);
    g_assert_cmphex(noted(r, 2)->offset, ==, 0x7fc);
    g_assert_cmphex(noted(r, 2)->value, ==, 0xabcd);

    /* Off the device's end: the rest is nobody's. */
    ask(r, 0,
        string_request(IOREQ_TYPE_COPY, IOREQ_READ, MMIO_BASE + MMIO_SIZE - 4, 4, 2, 0x5000,
                       false));
    g_assert_cmpint(memcmp(mem(r, 0x5000), r->bytes + MMIO_SIZE - 4, 4), ==, 0);
    g_assert_cmphex(*(uint32_t *)mem(r, 0x5004), ==, 0xffffffff);

    /* REP INSD from 0xCFC becomes one of these. */
    ask(r, 0,
        string_request(IOREQ_TYPE_PCI_CONFIG, IOREQ_READ, UINT64_C(0x50) << 32, 4, 3, 0x5000,
                       false));
    g_assert_cmphex(*(uint32_t *)mem(r, 0x5008), ==, 0xffffffff);
    g_assert_cmpuint(r->core.counters.bad, ==, 0);
    rig_free(r);
}

/* ---- a page that changes while we work ---- */

static void scribble(struct rig *r)
{
    r->slot[0].addr = UINT64_MAX;
    r->slot[0].size = 77;
    r->slot[0].count = UINT32_MAX;
    r->slot[0].data = 0x1234;
    r->slot[0].type = 99;
    r->slot[0].df = 1;
    /* Nested service, as a device that ran the main loop would cause. */
    g_assert_false(ioreq_core_serve(&r->core, 1));
    g_assert_cmpuint(ioreq_core_drain(&r->core), ==, 0);
}

static void test_read_once(void)
{
    struct rig *r = rig_new();
    struct ioreq req = string_request(IOREQ_TYPE_PIO, IOREQ_READ, PORT, 2, 64, 0x5000, false);

    r->slot[1] = request(IOREQ_TYPE_PIO, IOREQ_WRITE, PORT, 1, 9);
    r->inside = scribble;
    r->slot[0] = req;
    g_assert_true(ioreq_core_serve(&r->core, 0));
    expect_units(r, 0x5000, 2, 2, 64, 0);
    g_assert_cmpuint(r->slot[0].state, ==, STATE_IORESP_READY);
    g_assert_cmpuint(r->core.counters.bad, ==, 0);
    r->inside = NULL;
    g_assert_cmpuint(ioreq_core_poll(&r->core, 10), ==, 1);
    g_assert_cmpuint(noted(r, 0)->value, ==, 9);
    rig_free(r);
}

struct attacker {
    struct rig *r;
    atomic_bool stop;
};

static void *attack(void *opaque)
{
    struct attacker *a = opaque;
    uint64_t *slot = (uint64_t *)a->r->slot, *ring = (uint64_t *)a->r->ring;
    uint64_t x = 88172645463325252;

    while (!atomic_load(&a->stop)) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        __atomic_store_n(&slot[x % (VCPUS * 4)], x * 0x9e3779b97f4a7c15, __ATOMIC_RELAXED);
        __atomic_store_n((uint8_t *)slot + 30 + x / 16 % VCPUS * 32,
                         STATE_IOREQ_READY | (x >> 32 & 0xf0), __ATOMIC_RELAXED);
        __atomic_store_n(&ring[x >> 40 & 511], x, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void test_concurrent(void)
{
    struct attacker a = {.r = rig_new()};
    pthread_t thread;

    g_assert_cmpint(pthread_create(&thread, NULL, attack, &a), ==, 0);
    for (unsigned i = 0; i < 20000; i++) {
        ioreq_core_poll(&a.r->core, 100);
    }
    atomic_store(&a.stop, true);
    pthread_join(thread, NULL);
    rig_free(a.r);
}

/* Random requests whose fields are each plausible now and then. */
static void test_random(void)
{
    static const uint64_t addrs[] = {PORT, BLOCK_PORT, MMIO_BASE,      MMIO_BASE + 0xffc,
                                     0,    0xa0000,    UINT64_MAX - 3, 0xfffe};
    static const uint64_t datas[] = {
        0, 0x5000, 0x5ffe, UINT64_C(0xffffff), UINT64_C(0x100000000), UINT64_MAX, 1};
    static const uint32_t counts[] = {0, 1, 1, 1, 2, 512, 4096, 4097, UINT32_MAX};
    static const uint32_t sizes[] = {0, 1, 2, 3, 4, 8, 16, UINT32_MAX};
    static const uint8_t types[] = {0, 1, 2, 7, 8, 3, 255};
    struct rig *r = rig_new();

    for (unsigned i = 0; i < 20000; i++) {
        struct ioreq req = {
            .addr = addrs[g_test_rand_int_range(0, G_N_ELEMENTS(addrs))],
            .data = datas[g_test_rand_int_range(0, G_N_ELEMENTS(datas))],
            .count = counts[g_test_rand_int_range(0, G_N_ELEMENTS(counts))],
            .size = sizes[g_test_rand_int_range(0, G_N_ELEMENTS(sizes))],
            .type = types[g_test_rand_int_range(0, G_N_ELEMENTS(types))],
            .dir = g_test_rand_bit() & 1,
            .df = g_test_rand_bit() & 1,
            .data_is_ptr = g_test_rand_bit() & 1,
            .state = STATE_IOREQ_READY,
        };

        ask(r, i % VCPUS, req);
        g_array_set_size(r->log, 0);
    }
    rig_free(r);
}

/* ---- the ring ---- */

static void post(struct rig *r, unsigned type, uint32_t addr, unsigned size_code, uint64_t data)
{
    struct buf_ioreq item = {.type = (uint8_t)type,
                             .size = size_code & 3,
                             .addr = addr & 0xfffff,
                             .data = (uint32_t)data};
    uint32_t write = r->ring->write_pointer;

    r->ring->buf_ioreq[write % RING] = item;
    if (size_code == 3) {
        item.data = (uint32_t)(data >> 32);
        r->ring->buf_ioreq[(write + 1) % RING] = item;
    }
    r->ring->write_pointer = write + (size_code == 3 ? 2 : 1);
}

static void test_ring_order(void)
{
    struct rig *r = rig_new();

    region_remove(&r->mmio);
    g_assert_cmpint(region_place(r->m->mmio, &r->mmio, 0xa0000, NULL), ==, 0);
    for (unsigned i = 0; i < 5; i++) {
        post(r, IOREQ_TYPE_COPY, 0xa0000 + i * 8, i % 4, UINT64_C(0x0102030405060700) + i);
    }
    post(r, IOREQ_TYPE_PIO, PORT, 1, 0x1234);
    ask(r, 2, request(IOREQ_TYPE_PIO, IOREQ_WRITE, PORT + 1, 1, 0x77));
    g_assert_cmpuint(r->log->len, ==, 7);
    g_assert_cmphex(noted(r, 0)->value, ==, 0x00);
    g_assert_cmphex(noted(r, 1)->value, ==, 0x0701);
    g_assert_cmphex(noted(r, 2)->value, ==, 0x05060702);
    g_assert_cmphex(noted(r, 3)->value, ==, UINT64_C(0x0102030405060703));
    g_assert_cmphex(noted(r, 4)->offset, ==, 32);
    g_assert_cmphex(noted(r, 5)->value, ==, 0x1234);
    g_assert_cmphex(noted(r, 6)->value, ==, 0x77);
    g_assert_cmpuint(r->ring->read_pointer, ==, r->ring->write_pointer);
    rig_free(r);
}

static int64_t set_seconds;

static void on_rtc_offset(void *opaque, int64_t seconds)
{
    set_seconds = seconds;
}

static void test_ring_items(void)
{
    static const struct machine_events events = {.rtc_offset = on_rtc_offset};
    struct rig *r = rig_new();

    r->m->events = &events;
    post(r, IOREQ_TYPE_TIMEOFFSET, 0, 3, (uint64_t)-3600);
    g_assert_cmpuint(ioreq_core_drain(&r->core), ==, 1);
    g_assert_cmpint(set_seconds, ==, -3600);
    ask(r, 0, request(IOREQ_TYPE_TIMEOFFSET, IOREQ_WRITE, 0, 8, 7200));
    g_assert_cmpint(set_seconds, ==, 7200);
    r->m->events = NULL;
    ask(r, 0, request(IOREQ_TYPE_TIMEOFFSET, IOREQ_WRITE, 0, 8, 1));

    /* Reads, unknown types, ports that do not exist, sizes a port does not have. */
    post(r, IOREQ_TYPE_PIO, PORT, 0, 1);
    r->ring->buf_ioreq[(r->ring->write_pointer - 1) % RING].dir = IOREQ_READ;
    post(r, 99, PORT, 0, 1);
    post(r, IOREQ_TYPE_PCI_CONFIG, 0, 0, 1);
    post(r, IOREQ_TYPE_PIO, 0xfffff, 0, 1);
    post(r, IOREQ_TYPE_PIO, PORT, 3, 1);
    g_assert_cmpuint(ioreq_core_drain(&r->core), ==, 5);
    g_assert_cmpuint(r->core.counters.bad, ==, 5);

    /* Half of a two-slot item. */
    post(r, IOREQ_TYPE_TIMEOFFSET, 0, 3, 5);
    r->ring->write_pointer--;
    g_assert_cmpuint(ioreq_core_drain(&r->core), ==, 1);
    g_assert_cmpuint(r->core.counters.bad, ==, 6);
    g_assert_cmpuint(r->ring->read_pointer, ==, r->ring->write_pointer);
    g_assert_cmpuint(r->log->len, ==, 0);

    /* No ring at all. */
    r->core.ring = NULL;
    g_assert_cmpuint(ioreq_core_drain(&r->core), ==, 0);
    rig_free(r);
}

static void test_ring_pointers(void)
{
    static const uint32_t garbage[][2] = {
        {0, 512}, {1, 0}, {5, 0x80000000}, {UINT32_MAX, 600}, {600, 20}};
    struct rig *r = rig_new();
    uint32_t posted = 0;

    /* Full, empty, and round and round, as in mode 1: pointers run freely. */
    for (unsigned round = 0; round < 20; round++) {
        unsigned n = round == 3 ? RING : 100 + round;

        g_array_set_size(r->log, 0);
        for (unsigned i = 0; i < n; i++) {
            post(r, IOREQ_TYPE_PIO, PORT, 2, posted++);
        }
        g_assert_cmpuint(ioreq_core_drain(&r->core), ==, n);
        g_assert_cmpuint(noted(r, 0)->value, ==, posted - n);
        g_assert_cmpuint(noted(r, n - 1)->value, ==, posted - 1);
    }
    g_assert_cmpuint(r->ring->read_pointer, ==, posted);

    for (unsigned i = 0; i < G_N_ELEMENTS(garbage); i++) {
        g_array_set_size(r->log, 0);
        r->ring->read_pointer = garbage[i][0];
        r->ring->write_pointer = garbage[i][1];
        g_assert_cmpuint(ioreq_core_drain(&r->core), ==, 1);
        g_assert_cmpuint(r->ring->read_pointer, ==, garbage[i][1]);
        g_assert_cmpuint(r->core.counters.ring_resyncs, ==, i + 1);
        g_assert_cmpuint(r->log->len, ==, 0);
        /* … and goes on working. */
        post(r, IOREQ_TYPE_PIO, PORT, 2, 4711);
        g_assert_cmpuint(ioreq_core_drain(&r->core), ==, 1);
        g_assert_cmpuint(noted(r, 0)->value, ==, 4711);
    }
    rig_free(r);
}

/*
 * Xen's part of mode 2, between any two items: both pointers are lowered by multiples of the ring's
 * size.
 */
static void canonicalise(struct rig *r)
{
    uint64_t old = __atomic_load_n((uint64_t *)r->ring, __ATOMIC_ACQUIRE);
    uint32_t n = (uint32_t)old / RING * RING;
    uint64_t new = (uint64_t)((uint32_t)(old >> 32) - n) << 32 | ((uint32_t)old - n);

    __atomic_store_n((uint64_t *)r->ring, new, __ATOMIC_RELEASE);
}

static void test_ring_atomic(void)
{
    struct rig *r = rig_new();
    uint32_t posted = 0, seen = 0;

    r->inside = canonicalise;
    for (unsigned round = 0; round < 50; round++) {
        g_array_set_size(r->log, 0);
        for (unsigned i = 0; i < 200; i++) {
            post(r, IOREQ_TYPE_PIO, PORT, 2, posted++);
        }
        canonicalise(r);
        ioreq_core_drain(&r->core);
        g_assert_cmpuint(r->log->len, ==, 200);
        for (unsigned i = 0; i < 200; i++) {
            g_assert_cmpuint(noted(r, i)->value, ==, seen++);
        }
    }
    g_assert_cmpuint(r->ring->read_pointer, <, 2 * RING);
    g_assert_cmpuint(r->core.counters.ring_resyncs, ==, 0);
    rig_free(r);
}

/* A guest that posts at least as fast as we drain does not keep us. */
static void post_more(struct rig *r)
{
    post(r, IOREQ_TYPE_PIO, PORT, 0, 1);
}

static void test_ring_flood(void)
{
    struct rig *r = rig_new();

    r->inside = post_more;
    post(r, IOREQ_TYPE_PIO, PORT, 0, 1);
    g_assert_cmpuint(ioreq_core_drain(&r->core), ==, RING);
    r->slot[3] = request(IOREQ_TYPE_PIO, IOREQ_WRITE, PORT + 2, 1, 5);
    g_assert_true(ioreq_core_serve(&r->core, 3));
    rig_free(r);
}

/* ---- life ---- */

static void test_hold(void)
{
    struct rig *r = rig_new();

    r->core.hold = true;
    post(r, IOREQ_TYPE_PIO, PORT, 0, 1);
    r->slot[0] = request(IOREQ_TYPE_PIO, IOREQ_WRITE, PORT, 1, 2);
    r->slot[1] = request(IOREQ_TYPE_INVALIDATE, IOREQ_WRITE, 0, 4, ~0ull);
    g_assert_cmpuint(ioreq_core_poll(&r->core, 100), ==, 1);
    g_assert_cmpuint(r->slot[0].state, ==, STATE_IOREQ_READY);
    g_assert_cmpuint(r->slot[1].state, ==, STATE_IORESP_READY);
    g_assert_cmpuint(r->log->len, ==, 0);
    g_assert_cmpuint(r->core.counters.invalidates, ==, 1);
    g_assert_cmpuint(r->core.counters.held, ==, 1);
    r->core.hold = false;
    g_assert_cmpuint(ioreq_core_poll(&r->core, 100), ==, 2);
    g_assert_cmpuint(noted(r, 0)->value, ==, 1);
    g_assert_cmpuint(noted(r, 1)->value, ==, 2);
    rig_free(r);
}

/* ---- a device that holds ---- */

#define SLOW_PORT 0x300u

struct slow {
    struct device dev;
    struct region region;
    GArray *writes;
    unsigned steps; /* of the work that writing 0x80.. begins */
    struct device_work work;
    bool hold; /* the next write holds */
};

static bool slow_step(void *opaque)
{
    struct slow *s = opaque;

    g_usleep(300);
    return --s->steps > 0;
}

static void slow_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct slow *s = opaque;

    g_assert_false(device_is_held(&s->dev)); /* never in the middle of what it does */
    g_array_append_val(s->writes, value);
    if (value & 0x80) {
        s->steps = value & 0x7f;
        device_work_start(&s->work, &s->dev, slow_step, s);
    }
    if (s->hold) {
        s->hold = false;
        device_hold(&s->dev);
    }
}

static uint64_t slow_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct slow *s = opaque;

    g_assert_false(device_is_held(&s->dev));
    return s->writes->len;
}

static const struct region_ops slow_ops = {.read = slow_read, .write = slow_write};

static int slow_realize(struct device *dev, GError **err)
{
    struct slow *s = DEVICE_CAST(struct slow, dev);

    s->writes = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    region_init(&s->region, "slow", &slow_ops, s, 4);
    return device_place_pio(dev, &s->region, SLOW_PORT, err);
}

static void slow_reset(struct device *dev, enum reset_reason why)
{
    device_work_finish(&DEVICE_CAST(struct slow, dev)->work);
}

static void slow_unrealize(struct device *dev)
{
    struct slow *s = DEVICE_CAST(struct slow, dev);

    device_work_finish(&s->work);
    g_array_free(s->writes, TRUE);
}

static const struct device_class slow_class = {
    .name = "slow",
    .size = sizeof(struct slow),
    .realize = slow_realize,
    .reset = slow_reset,
    .unrealize = slow_unrealize,
};

static void on_released(void *opaque)
{
    struct rig *r = opaque;

    r->looks += ioreq_core_released(&r->core);
}

static struct slow *slow_new(struct rig *r)
{
    r->m->holds.released = on_released;
    r->m->holds.opaque = r;
    return DEVICE_CAST(struct slow, fake_device(r->m, &slow_class, "slow", NULL));
}

static uint64_t slow_wrote(const struct slow *s, unsigned i)
{
    g_assert_cmpuint(i, <, s->writes->len);
    return g_array_index(s->writes, uint64_t, i);
}

/* Its answer comes later, who wants the same device waits untouched, and all others are served. */
static void test_device_holds(void)
{
    struct rig *r = rig_new();
    struct slow *s = slow_new(r);

    s->hold = true;
    r->slot[0] = request(IOREQ_TYPE_PIO, IOREQ_WRITE, SLOW_PORT, 1, 1);
    r->slot[1] = request(IOREQ_TYPE_PIO, IOREQ_READ, SLOW_PORT, 1, 0);
    r->slot[2] = request(IOREQ_TYPE_PIO, IOREQ_READ, SLOW_PORT - 2, 4, 0); /* its end is there */
    r->slot[3] = request(IOREQ_TYPE_PIO, IOREQ_WRITE, PORT, 1, 2);
    g_assert_cmpuint(ioreq_core_poll(&r->core, 100), ==, 2);
    g_assert_cmpuint(r->notified[0] + r->notified[1] + r->notified[2], ==, 0);
    g_assert_cmpuint(r->notified[3], ==, 1);
    g_assert_true(machine_busy(r->m));
    g_assert_cmpuint(ioreq_core_poll(&r->core, 100), ==, 0); /* and nothing is done twice */
    g_assert_cmpuint(s->writes->len, ==, 1);

    /* What is posted for it keeps its place, and so does what comes behind. */
    post(r, IOREQ_TYPE_PIO, PORT, 0, 3);
    post(r, IOREQ_TYPE_PIO, SLOW_PORT, 0, 4);
    post(r, IOREQ_TYPE_PIO, PORT, 0, 5);
    r->slot[3] = request(IOREQ_TYPE_PIO, IOREQ_WRITE, PORT, 1, 6);
    g_assert_cmpuint(ioreq_core_poll(&r->core, 100), ==, 1);
    g_assert_cmpuint(r->log->len, ==, 2);
    g_assert_cmpuint(noted(r, 1)->value, ==, 3);

    device_release(&s->dev);
    g_assert_cmpuint(r->looks, ==, 1);
    g_assert_cmpuint(r->notified[0], ==, 1);
    g_assert_false(machine_busy(r->m));
    g_assert_cmpuint(ioreq_core_poll(&r->core, 100), ==, 2 + 3);
    g_assert_cmpuint(slow_wrote(s, 1), ==, 4);
    g_assert_cmpuint(noted(r, 2)->value, ==, 5);
    g_assert_cmpuint(noted(r, 3)->value, ==, 6);
    g_assert_cmphex(r->slot[1].data, ==, 2);
    for (unsigned i = 0; i < VCPUS; i++) {
        g_assert_cmpuint(r->slot[i].state, ==, STATE_IORESP_READY);
    }
    rig_free(r);
}

/* Each unit may hold; what a stop finds begun goes on afterwards, each unit once. */
static void test_string_holds(void)
{
    uint8_t values[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct rig *r = rig_new();
    struct slow *s = slow_new(r);
    struct ioreq req = request(IOREQ_TYPE_PIO, IOREQ_WRITE, SLOW_PORT, 1, 0x3000);

    guestmem_write(r->m->memory, 0x3000, values, sizeof(values));
    req.count = sizeof(values);
    req.data_is_ptr = 1;
    r->slot[0] = req;
    s->hold = true;
    g_assert_true(ioreq_core_serve(&r->core, 0));
    g_assert_cmpuint(s->writes->len, ==, 1);
    g_assert_false(ioreq_core_serve(&r->core, 0));
    s->hold = true;
    device_release(&s->dev);
    g_assert_cmpuint(r->notified[0], ==, 0);
    g_assert_true(ioreq_core_serve(&r->core, 0));
    g_assert_cmpuint(s->writes->len, ==, 2);

    r->core.hold = true;
    ioreq_core_park(&r->core); /* too early: the device holds */
    g_assert_cmpuint(r->slot[0].count, ==, 8);
    device_release(&s->dev);
    g_assert_cmpuint(r->slot[0].count, ==, 6);
    g_assert_cmphex(r->slot[0].data, ==, 0x3002);
    g_assert_false(ioreq_core_serve(&r->core, 0));
    r->core.hold = false;
    g_assert_true(ioreq_core_serve(&r->core, 0));
    g_assert_cmpuint(r->notified[0], ==, 1);
    for (unsigned i = 0; i < sizeof(values); i++) {
        g_assert_cmpuint(slow_wrote(s, i), ==, values[i]);
    }
    g_assert_cmpuint(s->writes->len, ==, sizeof(values));
    rig_free(r);
}

/* The device goes while an access waits for it: the vCPU does not stay behind. */
static void test_holder_goes(void)
{
    struct rig *r = rig_new();
    struct slow *s = slow_new(r);

    s->hold = true;
    r->slot[0] = request(IOREQ_TYPE_PIO, IOREQ_WRITE, SLOW_PORT, 1, 1);
    r->slot[1] = request(IOREQ_TYPE_PIO, IOREQ_READ, SLOW_PORT, 1, 0);
    g_assert_cmpuint(ioreq_core_poll(&r->core, 100), ==, 1);
    device_free(&s->dev);
    g_assert_cmpuint(r->notified[0], ==, 1);
    g_assert_cmpuint(ioreq_core_poll(&r->core, 100), ==, 1);
    g_assert_cmphex(r->slot[1].data & 0xff, ==, 0xff);
    rig_free(r);
}

/* Small work is part of the access; large work is the main loop's, and a reset ends it. */
static void test_device_work(void)
{
    struct rig *r = rig_new();
    struct slow *s = slow_new(r);
    unsigned turns = 0;

    ask(r, 0, request(IOREQ_TYPE_PIO, IOREQ_WRITE, SLOW_PORT, 1, 0x81));
    r->slot[0] = request(IOREQ_TYPE_PIO, IOREQ_WRITE, SLOW_PORT, 1, 0x80 + 20);
    g_assert_true(ioreq_core_serve(&r->core, 0));
    g_assert_cmpuint(s->steps, ==, 19);
    while (r->notified[0] == 1) {
        g_main_context_iteration(NULL, TRUE);
        turns++;
    }
    g_assert_cmpuint(turns, >=, 9); /* 300 us a step, half a millisecond a turn */
    g_assert_cmpuint(s->steps, ==, 0);

    r->slot[0] = request(IOREQ_TYPE_PIO, IOREQ_WRITE, SLOW_PORT, 1, 0x80 + 20);
    g_assert_true(ioreq_core_serve(&r->core, 0));
    slow_class.reset(&s->dev, RESET_COLD);
    g_assert_cmpuint(s->steps, ==, 0);
    g_assert_cmpuint(r->notified[0], ==, 3);
    g_assert_false(g_main_context_iteration(NULL, FALSE));
    rig_free(r);
}

/* A turn belongs to all: when its time is over, those that were not served are the next ones. */
static void test_turn_is_everybodys(void)
{
    struct rig *r = rig_new();

    r->inside = slowly;
    for (unsigned i = 0; i < VCPUS; i++) {
        r->slot[i] = request(IOREQ_TYPE_PIO, IOREQ_WRITE, PORT, 1, i);
    }
    r->core.deadline = 1; /* long ago */
    g_assert_cmpuint(ioreq_core_poll(&r->core, 100), ==, 2);
    g_assert_cmpuint(ioreq_core_poll(&r->core, 100), ==, 2);
    for (unsigned i = 0; i < VCPUS; i++) {
        g_assert_cmpuint(r->notified[i], ==, 1);
    }

    struct ioreq req = request(IOREQ_TYPE_PIO, IOREQ_WRITE, PORT, 1, 0x3000);

    req.count = 20;
    req.data_is_ptr = 1;
    r->slot[0] = req;
    for (unsigned i = 1; i <= 20; i++) {
        g_assert_true(ioreq_core_serve(&r->core, 0));
        g_assert_cmpuint(r->log->len, ==, VCPUS + i); /* slow units: one a turn that is over */
    }
    g_assert_cmpuint(r->notified[0], ==, 2);
    rig_free(r);
}

/* No vCPU is forgotten when the budget is smaller than the work. */
static void test_budget(void)
{
    struct rig *r = rig_new();

    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < VCPUS; i++) {
            r->slot[i] = request(IOREQ_TYPE_PIO, IOREQ_WRITE, PORT, 1, i);
        }
        g_assert_cmpuint(ioreq_core_poll(&r->core, 1), ==, 1);
    }
    for (unsigned i = 0; i < VCPUS; i++) {
        g_assert_cmpuint(r->notified[i], >=, 10 / VCPUS);
    }
    rig_free(r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    log_set_level("ioreq", "error");
    g_test_add_func("/ioreq/simple", test_simple);
    g_test_add_func("/ioreq/senseless", test_senseless);
    g_test_add_func("/ioreq/string-in", test_string_in);
    g_test_add_func("/ioreq/string-holes", test_string_holes);
    g_test_add_func("/ioreq/string-out", test_string_out);
    g_test_add_func("/ioreq/string-starves", test_string_starves);
    g_test_add_func("/ioreq/string-mmio", test_string_mmio);
    g_test_add_func("/ioreq/string-turns", test_string_turns);
    g_test_add_func("/ioreq/read-once", test_read_once);
    g_test_add_func("/ioreq/concurrent", test_concurrent);
    g_test_add_func("/ioreq/random", test_random);
    g_test_add_func("/ioreq/ring-order", test_ring_order);
    g_test_add_func("/ioreq/ring-items", test_ring_items);
    g_test_add_func("/ioreq/ring-pointers", test_ring_pointers);
    g_test_add_func("/ioreq/ring-atomic", test_ring_atomic);
    g_test_add_func("/ioreq/ring-flood", test_ring_flood);
    g_test_add_func("/ioreq/hold", test_hold);
    g_test_add_func("/ioreq/device-holds", test_device_holds);
    g_test_add_func("/ioreq/string-holds", test_string_holds);
    g_test_add_func("/ioreq/holder-goes", test_holder_goes);
    g_test_add_func("/ioreq/device-work", test_device_work);
    g_test_add_func("/ioreq/turn", test_turn_is_everybodys);
    g_test_add_func("/ioreq/budget", test_budget);
    return g_test_run();
}
