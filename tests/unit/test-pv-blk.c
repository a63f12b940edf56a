/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qdisk: what a front end may ask, by number of the advisory where there is one, what becomes of it
 * when the disk does not answer, and a live update. The test is the guest and the toolstack.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <glib.h>
#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/blkif.h>

#include <xendm/backend.h>
#include <xendm/handover.h>
#include <xendm/input.h>

#include "fake-block.h"
#include "fake-pv.h"

#define BACK "/local/domain/0/backend/qdisk/7/5632"
#define FRONT "/local/domain/7/device/vbd/5632"
#define RING 100u /* its first reference */
#define PORT 6u
#define DATA 1u /* references of data pages */
#define SECTORS 4096u

const struct backend_class *const *backend_classes(void)
{
    static const struct backend_class *const classes[] = {&fake_block_own_class, NULL};

    return classes;
}

/* ---- the world ---- */

struct world {
    struct pv_host host;
    struct pv_bus *bus;
    struct block *drive; /* the emulated one */
    uint32_t prod, cons;
    unsigned entry, id_at, sector_at, segments_at, pages;
    uint32_t entries;
};

static void set(struct world *w, const char *path, const char *value)
{
    fake_xenstore_set(w->host.xs, path, "%s", value);
}

static void expect(struct world *w, const char *path, const char *value)
{
    g_assert_cmpstr(fake_xenstore_get(w->host.xs, path), ==, value);
}

static void front_state(struct world *w, unsigned state)
{
    fake_xenstore_set(w->host.xs, FRONT "/state", "%u", state);
    fake_pv_settle();
}

static void toolstack_adds(struct world *w, const char *type, const char *mode, const char *params)
{
    set(w, FRONT "/state", "1");
    set(w, BACK "/frontend", FRONT);
    set(w, BACK "/frontend-id", "7");
    set(w, BACK "/device-type", type);
    set(w, BACK "/mode", mode);
    set(w, BACK "/params", params);
    set(w, BACK "/online", "1");
    set(w, BACK "/state", "1");
    fake_pv_settle();
}

static void bus_new(struct world *w)
{
    w->bus = pv_bus_new(&w->host, pv_classes());
}

static struct world *world_empty(void)
{
    struct world *w = g_new0(struct world, 1);

    fake_pv_host_open(&w->host);
    w->drive = fake_block_new("ide-5632", SECTORS * 512);
    w->drive->limits = fake_block_limits;
    backend_set_put(w->host.backends, block_backend(w->drive));
    bus_new(w);
    g_assert_cmpint(pv_bus_start(w->bus, NULL), ==, 0);
    fake_pv_settle();
    return w;
}

static void world_free(struct world *w)
{
    fake_xenstore_remove(w->host.xs, BACK);
    fake_pv_host_close(&w->host, w->bus);
    g_assert_cmpuint(fake_block_own_open, ==, 0);
    fake_grant_copying = NULL;
    g_free(w);
}

static void front_prepares(struct world *w, bool small, unsigned order)
{
    w->pages = 1u << order;
    w->entry = small ? 108 : 112;
    w->id_at = small ? 4 : 8;
    w->sector_at = small ? 12 : 16;
    w->segments_at = small ? 20 : 24;
    w->entries = 32u * w->pages;
    w->prod = w->cons = 0;
    for (unsigned i = 0; i < w->pages; i++) {
        g_autofree char *key = g_strdup_printf(FRONT "/ring-ref%u", i);

        fake_grant(RING + i, false);
        fake_xenstore_set(w->host.xs, order ? key : FRONT "/ring-ref", "%u", RING + i);
    }
    if (order) {
        fake_xenstore_set(w->host.xs, FRONT "/ring-page-order", "%u", order);
    }
    ((uint32_t *)fake_grant_page(RING))[1] = 1;
    ((uint32_t *)fake_grant_page(RING))[3] = 1;
    set(w, FRONT "/protocol", small ? "x86_32-abi" : "x86_64-abi");
    fake_xenstore_set(w->host.xs, FRONT "/event-channel", "%u", PORT);
}

static struct world *world_new(bool small, unsigned order)
{
    struct world *w = world_empty();

    toolstack_adds(w, "disk", "w", "aio:fake.img");
    expect(w, BACK "/state", "2");
    front_prepares(w, small, order);
    front_state(w, 3);
    expect(w, BACK "/state", "4");
    return w;
}

/* ---- the front end ---- */

static uint32_t *header(void)
{
    return fake_grant_page(RING);
}

static uint8_t *entry(struct world *w, uint32_t index)
{
    return (uint8_t *)fake_grant_page(RING) + 64 + (index & (w->entries - 1)) * w->entry;
}

static uint8_t *request(struct world *w, uint8_t op, uint64_t id, uint64_t sector)
{
    uint8_t *e = entry(w, w->prod++);

    memset(e, 0, w->entry);
    e[0] = op;
    memcpy(e + w->id_at, &id, 8);
    memcpy(e + w->sector_at, &sector, 8);
    return e;
}

static void segment(uint8_t *at, uint32_t ref, uint8_t first, uint8_t last)
{
    memset(at, 0xee, 8);
    memcpy(at, &ref, 4);
    at[4] = first;
    at[5] = last;
}

static void add_segment(struct world *w, uint8_t *e, uint32_t ref, uint8_t first, uint8_t last)
{
    segment(e + w->segments_at + 8 * e[1]++, ref, first, last);
}

static void push(struct world *w)
{
    header()[0] = w->prod;
    fake_evtchn_ring(PORT);
    fake_pv_settle();
}

static void expect_answer(struct world *w, uint64_t id, uint8_t op, int status)
{
    const uint8_t *e = entry(w, w->cons);
    uint64_t got;
    int16_t s;

    g_assert_cmpuint(header()[2], !=, w->cons++);
    memcpy(&got, e, 8);
    memcpy(&s, e + 10, 2);
    g_assert_cmphex(got, ==, id);
    g_assert_cmpuint(e[8], ==, op);
    g_assert_cmpint(s, ==, status);
}

static void expect_silence(struct world *w)
{
    g_assert_cmpuint(header()[2], ==, w->cons);
}

/* Sector n begins with its number. */
static uint64_t sector_in(uint32_t ref, unsigned place)
{
    uint64_t n;

    memcpy(&n, (uint8_t *)fake_grant_page(ref) + place * 512, 8);
    return n;
}

static void one(struct world *w, uint8_t op, uint64_t sector, uint8_t first, uint8_t last,
                int status)
{
    add_segment(w, request(w, op, 77, sector), DATA, first, last);
    push(w);
    expect_answer(w, 77, op, status);
}

/* ---- what it is for ---- */

static void test_read_write(gconstpointer small)
{
    for (unsigned order = 0; order <= 4; order += 2) {
        struct world *w = world_new(small != NULL, order);
        uint8_t *page = fake_grant(DATA, false);
        uint8_t *e;

        fake_grant(DATA + 1, false);
        for (unsigned i = 0; i < w->entries + 5; i++) { /* around the ring, and on */
            e = request(w, BLKIF_OP_READ, i, 40 + i % 100);
            add_segment(w, e, DATA, 2, 3);
            add_segment(w, e, DATA + 1, 0, 7);
            push(w);
            expect_answer(w, i, BLKIF_OP_READ, BLKIF_RSP_OKAY);
            g_assert_cmpuint(sector_in(DATA, 2), ==, 40 + i % 100);
            g_assert_cmpuint(sector_in(DATA, 3), ==, 41 + i % 100);
            g_assert_cmpuint(sector_in(DATA + 1, 7), ==, 49 + i % 100);
            g_assert_cmpuint(sector_in(DATA, 1), ==, 0);
        }
        memset(page, 0x5a, 4096);
        one(w, BLKIF_OP_WRITE, 8, 0, 7, BLKIF_RSP_OKAY);
        g_assert_cmphex(w->drive->data[8 * 512], ==, 0x5a);
        g_assert_cmphex(w->drive->data[16 * 512 - 1], ==, 0x5a);
        g_assert_cmpuint(w->drive->data[16 * 512], ==, 16);
        world_free(w);
    }
}

/* What comes or ends together is copied by one call and answered with one event. */
static void test_together(void)
{
    struct world *w = world_new(false, 0);

    for (unsigned i = 0; i < 8; i++) {
        memset(fake_grant(DATA + i, i == 5), (int)i, 4096);
        add_segment(w, request(w, i % 2 ? BLKIF_OP_READ : BLKIF_OP_WRITE, i, 8 * i), DATA + i, 0,
                    7);
    }
    w->drive->hold = true;
    fake_grant_copies = 0;
    push(w);
    g_assert_cmpuint(fake_grant_copies, ==, 1);
    g_assert_cmpuint(w->drive->submitted[BLOCK_WRITE], ==, 4);
    g_assert_cmpuint(w->drive->submitted[BLOCK_READ], ==, 4);
    fake_evtchn_rung(PORT);
    fake_block_complete_all(w->drive);
    g_assert_cmpuint(fake_grant_copies, ==, 2);
    g_assert_cmpuint(fake_evtchn_rung(PORT), ==, 1);
    for (unsigned i = 1; i < 8; i += 2) { /* as the disk has them: reads were asked for first */
        expect_answer(w, i, BLKIF_OP_READ, i == 5 ? BLKIF_RSP_ERROR : BLKIF_RSP_OKAY);
        g_assert_cmpuint(sector_in(DATA + i, 7), ==, i == 5 ? 0x0505050505050505 : 8 * i + 7);
    }
    for (unsigned i = 0; i < 8; i += 2) {
        expect_answer(w, i, BLKIF_OP_WRITE, BLKIF_RSP_OKAY);
        g_assert_cmphex(w->drive->data[8 * i * 512 + 511], ==, i);
    }
    world_free(w);
}

/* One that is stuck does not keep the others from being answered. */
static void test_one_stays(void)
{
    struct world *w = world_new(false, 0);

    fake_grant(DATA, false);
    w->drive->hold = true;
    for (unsigned i = 0; i < 3; i++) {
        add_segment(w, request(w, BLKIF_OP_READ, i, 8 * i), DATA, 0, 7);
    }
    push(w);
    fake_block_complete(w->drive, 2);
    fake_block_complete(w->drive, 0);
    fake_pv_settle();
    expect_answer(w, 2, BLKIF_OP_READ, BLKIF_RSP_OKAY);
    expect_answer(w, 0, BLKIF_OP_READ, BLKIF_RSP_OKAY);
    fake_block_complete(w->drive, 0);
    expect_answer(w, 1, BLKIF_OP_READ, BLKIF_RSP_OKAY);
    world_free(w);
}

static void test_keys(void)
{
    struct world *w = world_new(false, 0);

    expect(w, BACK "/sectors", "4096");
    expect(w, BACK "/sector-size", "512");
    expect(w, BACK "/physical-sector-size", "4096");
    expect(w, BACK "/info", "0");
    expect(w, BACK "/feature-flush-cache", "1");
    expect(w, BACK "/feature-discard", "1");
    expect(w, BACK "/max-ring-page-order", "4");
    expect(w, BACK "/feature-max-indirect-segments", "256");
    g_assert_cmpuint(fake_block_own_open, ==, 0); /* it is the emulated drive's image */
    world_free(w);
}

static void test_flush(void)
{
    struct world *w = world_new(false, 0);

    fake_grant(DATA, false);
    request(w, BLKIF_OP_FLUSH_DISKCACHE, 1, 0);
    push(w);
    expect_answer(w, 1, BLKIF_OP_FLUSH_DISKCACHE, BLKIF_RSP_OKAY);
    g_assert_cmpuint(w->drive->submitted[BLOCK_FLUSH], ==, 1);
    one(w, BLKIF_OP_WRITE_BARRIER, 3, 0, 0, BLKIF_RSP_OKAY);
    g_assert_cmpuint(w->drive->submitted[BLOCK_FLUSH], >=, 2);
    g_assert_cmpuint(w->drive->submitted[BLOCK_WRITE], ==, 1);
    w->drive->fail[BLOCK_FLUSH] = -EIO;
    one(w, BLKIF_OP_WRITE_BARRIER, 3, 0, 0, BLKIF_RSP_ERROR);
    g_assert_cmpuint(w->drive->submitted[BLOCK_WRITE], ==, 1);
    world_free(w);
}

static void discard(struct world *w, uint8_t flag, uint64_t sector, uint64_t count, int status)
{
    uint8_t *e = request(w, BLKIF_OP_DISCARD, 5, sector);

    e[1] = flag;
    memcpy(e + 24, &count, 8);
    push(w);
    expect_answer(w, 5, BLKIF_OP_DISCARD, status);
}

static void test_discard(void)
{
    struct world *w = world_new(false, 0);

    discard(w, 0, 10, 4, BLKIF_RSP_OKAY);
    g_assert_cmpuint(w->drive->data[10 * 512], ==, 0);
    g_assert_cmpuint(w->drive->data[14 * 512], ==, 14);
    discard(w, BLKIF_DISCARD_SECURE, 10, 4, BLKIF_RSP_EOPNOTSUPP);
    discard(w, 0, SECTORS - 1, 2, BLKIF_RSP_ERROR);
    discard(w, 0, UINT64_MAX, 2, BLKIF_RSP_ERROR);
    discard(w, 0, 2, UINT64_MAX, BLKIF_RSP_ERROR);
    discard(w, 0, 2, 0, BLKIF_RSP_ERROR);
    world_free(w);
}

static uint8_t *indirect(struct world *w, uint8_t op, uint16_t count, uint64_t sector, uint32_t ref)
{
    uint8_t *e = request(w, BLKIF_OP_INDIRECT, 9, sector);

    e[1] = op;
    memcpy(e + 2, &count, 2);
    memcpy(e + 28, &ref, 4);
    return e;
}

static void test_indirect(void)
{
    struct world *w = world_new(false, 0);
    uint8_t *descriptors = fake_grant(300, true);

    for (unsigned i = 0; i < 256; i++) {
        fake_grant(DATA + 310 + i, false);
        segment(descriptors + 8 * i, DATA + 310 + i, 0, 7);
    }
    indirect(w, BLKIF_OP_READ, 256, 64, 300);
    push(w);
    expect_answer(w, 9, BLKIF_OP_READ, BLKIF_RSP_OKAY); /* as Linux wants it */
    g_assert_cmpuint(sector_in(DATA + 310 + 255, 7), ==, 64 + 2047);
    indirect(w, BLKIF_OP_READ, 257, 64, 300); /* more than was offered */
    push(w);
    expect_answer(w, 9, BLKIF_OP_READ, BLKIF_RSP_ERROR);
    indirect(w, BLKIF_OP_READ, 65535, 64, 300);
    push(w);
    expect_answer(w, 9, BLKIF_OP_READ, BLKIF_RSP_ERROR);
    indirect(w, BLKIF_OP_READ, 0, 64, 300);
    push(w);
    expect_answer(w, 9, BLKIF_OP_READ, BLKIF_RSP_ERROR);
    indirect(w, BLKIF_OP_DISCARD, 1, 64, 300);
    push(w);
    expect_answer(w, 9, BLKIF_OP_DISCARD, BLKIF_RSP_ERROR);
    indirect(w, BLKIF_OP_READ, 1, 64, 599); /* descriptors that are not granted */
    push(w);
    expect_answer(w, 9, BLKIF_OP_READ, BLKIF_RSP_ERROR);
    world_free(w);
}

/* ---- what a hostile one asks ---- */

static void test_bounds(void)
{
    static const struct {
        uint64_t sector;
        uint8_t first, last;
    } bad[] = {{SECTORS, 0, 0},
               {SECTORS - 7, 0, 7},
               {UINT64_MAX, 0, 0},
               {UINT64_MAX / 512, 0, 7},
               {0, 3, 2},
               {0, 0, 8},
               {0, 255, 255},
               {0, 7, 0},
               {(uint64_t)1 << 55, 0, 0}};
    struct world *w = world_new(false, 0);
    uint8_t *e;

    fake_grant(DATA, false);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        one(w, BLKIF_OP_READ, bad[i].sector, bad[i].first, bad[i].last, BLKIF_RSP_ERROR);
        one(w, BLKIF_OP_WRITE, bad[i].sector, bad[i].first, bad[i].last, BLKIF_RSP_ERROR);
    }
    one(w, BLKIF_OP_READ, SECTORS - 8, 0, 7, BLKIF_RSP_OKAY);
    for (unsigned count = 0; count < 256; count += count == 0 ? 12 : 61) {
        e = request(w, BLKIF_OP_READ, 3, 0);
        e[1] = (uint8_t)count;
        push(w);
        expect_answer(w, 3, BLKIF_OP_READ, BLKIF_RSP_ERROR);
    }
    request(w, 200, 4, 0);
    push(w);
    expect_answer(w, 4, 200, BLKIF_RSP_EOPNOTSUPP);
    g_assert_cmpuint(w->drive->submitted[BLOCK_WRITE], ==, 0);
    world_free(w);
}

static void test_read_only(void)
{
    struct world *w = world_empty();

    toolstack_adds(w, "disk", "r", "aio:fake.img");
    expect(w, BACK "/info", "4");
    expect(w, BACK "/feature-discard", "");
    front_prepares(w, false, 0);
    front_state(w, 3);
    fake_grant(DATA, false);
    one(w, BLKIF_OP_WRITE, 8, 0, 7, BLKIF_RSP_ERROR);
    discard(w, 0, 10, 4, BLKIF_RSP_ERROR);
    one(w, BLKIF_OP_READ, 8, 0, 7, BLKIF_RSP_OKAY);
    world_free(w);
}

/* Grants that are not there, go away while the disk works, or may only be read. */
static void test_grants(void)
{
    struct world *w = world_new(false, 0);

    fake_grant_end(DATA);
    one(w, BLKIF_OP_WRITE, 8, 0, 7, BLKIF_RSP_ERROR);
    one(w, BLKIF_OP_READ, 8, 0, 7, BLKIF_RSP_ERROR);
    fake_grant(DATA, true);
    one(w, BLKIF_OP_WRITE, 8, 0, 7, BLKIF_RSP_OKAY);
    one(w, BLKIF_OP_READ, 8, 0, 7, BLKIF_RSP_ERROR);
    fake_grant(DATA, false);
    w->drive->hold = true;
    add_segment(w, request(w, BLKIF_OP_READ, 1, 0), DATA, 0, 0);
    push(w);
    expect_silence(w);
    fake_grant_end(DATA);
    fake_block_complete(w->drive, 0);
    expect_answer(w, 1, BLKIF_OP_READ, BLKIF_RSP_ERROR);
    world_free(w);
}

static struct world *racing;

/* The guest's other vCPU, while descriptors or data are on their way. */
static void change_requests(void)
{
    memset(entry(racing, racing->prod - 1), 0xff, racing->entry);
    memset(fake_grant_page(300), 0xff, 4096);
}

/* XSA-155: what was checked is what is done. */
static void test_xsa_155(void)
{
    struct world *w = world_new(false, 0);

    racing = w;
    fake_grant(DATA, false);
    memset(fake_grant_page(DATA), 0x77, 4096);
    fake_grant_copying = change_requests;
    one(w, BLKIF_OP_WRITE, 8, 0, 7, BLKIF_RSP_OKAY);
    g_assert_cmphex(w->drive->data[8 * 512], ==, 0x77);
    fake_grant_copying = NULL;
    segment(fake_grant(300, false), DATA, 0, 7);
    indirect(w, BLKIF_OP_READ, 1, 16, 300);
    w->drive->hold = true;
    push(w);
    change_requests();
    fake_block_complete(w->drive, 0);
    expect_answer(w, 9, BLKIF_OP_READ, BLKIF_RSP_OKAY);
    g_assert_cmpuint(sector_in(DATA, 0), ==, 16);
    world_free(w);
}

/* XSA-216: nothing of ours is in an answer. */
static void test_xsa_216(void)
{
    struct world *w = world_new(false, 0);
    const uint8_t *e = entry(w, 0);

    fake_grant(DATA, false);
    one(w, BLKIF_OP_READ, 8, 0, 7, BLKIF_RSP_OKAY);
    g_assert_cmpuint(e[9], ==, 0);
    for (unsigned i = 12; i < 16; i++) {
        g_assert_cmpuint(e[i], ==, 0);
    }
    world_free(w);
}

static void test_lying_producer(void)
{
    static const uint32_t lies[] = {33, 1000, 0x80000000u, UINT32_MAX};

    for (unsigned i = 0; i < G_N_ELEMENTS(lies); i++) {
        struct world *w = world_new(false, 0);

        w->prod = lies[i];
        push(w);
        expect(w, BACK "/state", "5");
        g_assert_cmpuint(fake_evtchn_bound(), ==, 0);
        g_assert_cmpuint(w->drive->submitted[BLOCK_READ], ==, 0);
        front_state(w, 6);
        front_state(w, 1);
        expect(w, BACK "/state", "2");
        front_prepares(w, false, 0);
        front_state(w, 3);
        fake_grant(DATA, false);
        one(w, BLKIF_OP_READ, 8, 0, 7, BLKIF_RSP_OKAY);
        world_free(w);
    }
}

/* Indices of the back end's in the page are for the front end: we do not go by them. */
static void test_lying_indices(void)
{
    struct world *w = world_new(false, 0);

    fake_grant(DATA, false);
    one(w, BLKIF_OP_READ, 8, 0, 7, BLKIF_RSP_OKAY);
    header()[2] = 0xdead;
    add_segment(w, request(w, BLKIF_OP_READ, 2, 9), DATA, 0, 0);
    push(w);
    g_assert_cmpuint(header()[2], ==, 2);
    world_free(w);
}

/* A ring that was nonsense before we came is no ring. */
static void test_nonsense_ring(void)
{
    struct world *w = world_empty();

    toolstack_adds(w, "disk", "w", "aio:fake.img");
    front_prepares(w, false, 0);
    header()[0] = 1234;
    front_state(w, 3);
    expect(w, BACK "/state", "5");
    front_state(w, 1);
    front_prepares(w, false, 0);
    set(w, FRONT "/ring-page-order", "5");
    front_state(w, 3);
    expect(w, BACK "/state", "5");
    front_state(w, 1);
    set(w, FRONT "/ring-page-order", "0");
    set(w, FRONT "/protocol", "sparc");
    front_state(w, 3);
    expect(w, BACK "/state", "5");
    world_free(w);
}

/* What is in flight is bounded: the ring waits, and goes on. */
static void test_memory(void)
{
    struct world *w = world_new(false, 2);
    uint8_t *descriptors = fake_grant(300, true);
    unsigned answers = 0;

    fake_grant(DATA, false);
    for (unsigned i = 0; i < 256; i++) {
        segment(descriptors + 8 * i, DATA, 0, 7);
    }
    w->drive->hold = true;
    for (unsigned i = 0; i < 100; i++) {
        indirect(w, BLKIF_OP_READ, 256, 0, 300);
    }
    push(w);
    g_assert_cmpuint(w->drive->submitted[BLOCK_READ], ==, 16);
    while (fake_block_complete(w->drive, 0)) {
        fake_pv_settle();
        answers++;
    }
    g_assert_cmpuint(answers, ==, 100);
    g_assert_cmpuint(header()[2], ==, 100);
    world_free(w);
}

/* ---- the disk does not answer ---- */

static void test_closing_in_flight(void)
{
    struct world *w = world_new(false, 0);

    fake_grant(DATA, false);
    w->drive->hold = true;
    add_segment(w, request(w, BLKIF_OP_WRITE, 1, 0), DATA, 0, 0);
    push(w);
    g_assert_true(pv_bus_busy(w->bus));
    front_state(w, 6);
    g_assert_cmpstr(fake_xenstore_get(w->host.xs, BACK "/state"), !=, "6"); /* it may write yet */
    g_assert_cmpuint(grants_mapped(w->host.grants), ==, 0); /* but not to the guest */
    fake_block_complete(w->drive, 0);
    fake_pv_settle();
    g_assert_false(pv_bus_busy(w->bus));
    expect(w, BACK "/state", "6");
    front_state(w, 1);
    expect(w, BACK "/state", "2");
    world_free(w);
}

static void test_removed_in_flight(void)
{
    struct world *w = world_new(false, 0);

    fake_grant(DATA, false);
    w->drive->hold = true;
    add_segment(w, request(w, BLKIF_OP_READ, 1, 0), DATA, 0, 0);
    push(w);
    fake_xenstore_remove(w->host.xs, BACK);
    fake_pv_settle();
    toolstack_adds(w, "disk", "w", "aio:fake.img"); /* another in its place */
    expect(w, BACK "/state", "1");
    fake_block_complete(w->drive, 0);
    fake_pv_settle();
    expect(w, BACK "/state", "2");
    world_free(w);
}

static void test_errors(void)
{
    struct world *w = world_new(false, 0);

    fake_grant(DATA, false);
    w->drive->bad_sector = 8;
    w->drive->fail[BLOCK_READ] = -EIO;
    w->drive->fail[BLOCK_WRITE] = -ENOSPC;
    one(w, BLKIF_OP_READ, 8, 0, 7, BLKIF_RSP_ERROR);
    one(w, BLKIF_OP_WRITE, 8, 0, 7, BLKIF_RSP_ERROR);
    one(w, BLKIF_OP_READ, 16, 0, 7, BLKIF_RSP_OKAY);
    world_free(w);
}

/* ---- media ---- */

/* The CD drive is the emulated one by its number, whatever is in it; a change is told. */
static void test_cd(void)
{
    struct world *w = world_empty();

    block_eject(w->drive);
    toolstack_adds(w, "cdrom", "r", "");
    expect(w, BACK "/state", "2");
    expect(w, BACK "/sectors", "0");
    expect(w, BACK "/info", "7");
    g_assert_cmpuint(fake_block_own_open, ==, 0);
    front_prepares(w, false, 0);
    front_state(w, 3);
    expect(w, BACK "/state", "4");
    fake_grant(DATA, false);
    one(w, BLKIF_OP_READ, 0, 0, 0, BLKIF_RSP_ERROR);
    block_insert(w->drive, &(struct block_options){.file = "fake.img", .fd = -1}, NULL, NULL);
    fake_pv_settle();
    g_assert_cmpstr(fake_xenstore_get(w->host.xs, BACK "/sectors"), !=, "0");
    expect(w, BACK "/state", "4");
    one(w, BLKIF_OP_READ, 0, 0, 0, BLKIF_RSP_OKAY);
    one(w, BLKIF_OP_WRITE, 0, 0, 0, BLKIF_RSP_ERROR);
    world_free(w);
}

/* Without an emulated twin it opens the image itself, and gives it back with the device. */
static void test_own(void)
{
    struct world *w = world_empty();

    toolstack_adds(w, "disk", "w", "aio:/other.img");
    expect(w, BACK "/state", "2");
    g_assert_cmpuint(fake_block_own_open, ==, 1);
    g_assert_nonnull(backend_find(w->host.backends, BACKEND_BLOCK, "qdisk-5632"));
    fake_xenstore_remove(w->host.xs, BACK);
    fake_pv_settle();
    g_assert_cmpuint(fake_block_own_open, ==, 0);
    toolstack_adds(w, "disk", "w", "qcow2:/other.img");
    expect(w, BACK "/state", "6");
    set(w, BACK "/params", "aio:/other.img");
    fake_pv_settle();
    expect(w, BACK "/state", "2");
    world_free(w);
}

/* direct-io-safe is leave to go past the page cache, not a wish: else by it. */
static void test_direct(void)
{
    for (unsigned able = 0; able < 2; able++) {
        struct world *w = world_empty();
        struct backend *own;

        fake_block_no_direct = !able;
        set(w, BACK "/direct-io-safe", "1");
        toolstack_adds(w, "disk", "w", "aio:/other.img");
        expect(w, BACK "/state", "2");
        g_assert_cmpuint(fake_block_own_open, ==, 1);
        own = backend_find(w->host.backends, BACKEND_BLOCK, "qdisk-5632");
        g_assert_cmpint(block_of(own)->direct, ==, able);
        world_free(w);
    }
}

/* ---- live update ---- */

static void test_live_update(gconstpointer own)
{
    struct world *w = world_empty();
    struct handover *h = handover_new();
    struct block *drive = w->drive;

    toolstack_adds(w, "disk", "w", own ? "aio:/other.img" : "aio:fake.img");
    front_prepares(w, true, 1);
    front_state(w, 3);
    if (own) {
        drive = block_of(backend_find(w->host.backends, BACKEND_BLOCK, "qdisk-5632"));
    }
    fake_grant(DATA, false);
    one(w, BLKIF_OP_READ, 8, 0, 7, BLKIF_RSP_OKAY);
    drive->hold = true;
    add_segment(w, request(w, BLKIF_OP_READ, 2, 24), DATA, 0, 0);
    push(w);
    pv_bus_pause(w->bus);
    add_segment(w, request(w, BLKIF_OP_READ, 3, 25), DATA, 1, 1); /* the guest goes on */
    push(w);
    expect_silence(w);
    g_assert_true(pv_bus_busy(w->bus));
    fake_block_complete(drive, 0);
    expect_answer(w, 2, BLKIF_OP_READ, BLKIF_RSP_OKAY);
    g_assert_false(pv_bus_busy(w->bus));
    pv_bus_hand_over(w->bus, h);
    pv_bus_free(w->bus);
    if (own) { /* another process has a set of its own */
        backend_remove(w->host.backends, block_backend(drive), NULL);
    }
    bus_new(w);
    pv_bus_pause(w->bus);
    g_assert_cmpint(pv_bus_take_over(w->bus, h, NULL), ==, 0);
    g_assert_cmpint(pv_bus_start(w->bus, NULL), ==, 0);
    w->drive->hold = false;
    pv_bus_resume(w->bus);
    fake_pv_settle();
    expect(w, BACK "/state", "4");
    expect_answer(w, 3, BLKIF_OP_READ, own ? BLKIF_RSP_ERROR : BLKIF_RSP_OKAY); /* own: no medium */
    expect_silence(w);
    g_assert_cmpuint(fake_block_own_open, ==, own != NULL);
    handover_free(h);
    world_free(w);
}

/* ---- what the host cannot for a moment ---- */

#define TRIES_MAX 60u /* of one kind of call, in the two seconds that a request waits */

static void await_state(struct world *w, const char *state)
{
    while (strcmp(fake_xenstore_get(w->host.xs, BACK "/state"), state) != 0) {
        g_main_context_iteration(NULL, TRUE);
    }
    fake_pv_settle();
}

static void await_answers(struct world *w, unsigned count)
{
    while (header()[2] - w->cons < count) {
        g_main_context_iteration(NULL, TRUE);
    }
}

static void plan(enum fake_pv_call call, int error, unsigned from, unsigned until)
{
    fake_pv_fault =
        (struct fake_pv_fault){.call = call, .error = error, .from = from, .until = until};
}

/* A write, an indirect read, a flush. */
static void ask_all(struct world *w)
{
    static const uint32_t descriptors = DATA + 2;
    uint8_t *e;

    add_segment(w, request(w, BLKIF_OP_WRITE, 1, 8), DATA, 0, 7);
    e = request(w, BLKIF_OP_INDIRECT, 2, 64);
    e[1] = BLKIF_OP_READ;
    e[2] = 1;
    memcpy(e + 28, &descriptors, sizeof(descriptors));
    segment(fake_grant_page(descriptors), DATA + 1, 0, 7);
    request(w, BLKIF_OP_FLUSH_DISKCACHE, 3, 0);
    push(w);
    await_answers(w, 3);
}

static void connected(struct world *w)
{
    toolstack_adds(w, "disk", "w", "aio:fake.img");
    await_state(w, "2");
    front_prepares(w, false, 0);
    for (unsigned i = 0; i < 3; i++) {
        fake_grant(DATA + i, false);
    }
    front_state(w, 3);
    await_state(w, "4");
}

/* Each call × errors × the first time, the second, three times: the front end notices nothing. */
static void test_moments(void)
{
    static const int errors[] = {EAGAIN, ENOMEM, EINTR, EMFILE};
    static const unsigned when[][2] = {{1, 1}, {2, 2}, {1, 3}};

    for (enum fake_pv_call call = FAKE_PV_MAP; call <= FAKE_PV_WATCH; call++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(errors) * G_N_ELEMENTS(when); i++) {
            const unsigned *range = when[i % G_N_ELEMENTS(when)];
            struct world *w = world_empty();
            unsigned answers[4] = {0};

            plan(call, errors[i / G_N_ELEMENTS(when)], range[0], range[1]);
            connected(w);
            ask_all(w);
            for (unsigned n = 0; n < 3; n++) {
                const uint8_t *a = entry(w, w->cons + n);

                g_assert_cmpuint(a[0], <=, 3);
                answers[a[0]]++;
                g_assert_cmpint(a[10] | a[11], ==, 0);
            }
            g_assert_cmpuint(answers[1] + answers[2] + answers[3], ==, 3);
            g_assert_cmpuint(sector_in(DATA + 1, 7), ==, 71);
            g_assert_cmpuint(fake_pv_fault.calls, <, TRIES_MAX);
            plan(0, 0, 0, 0);
            world_free(w);
        }
    }
}

/* … and always: it is the disk's error after so long, then at once, until something goes well. */
static void test_no_end(void)
{
    struct world *w = world_new(false, 0);
    gint64 start = g_get_monotonic_time();

    for (unsigned i = 0; i < 3; i++) {
        fake_grant(DATA + i, false);
    }
    plan(FAKE_PV_COPY, ENOMEM, 1, UINT32_MAX);
    add_segment(w, request(w, BLKIF_OP_READ, 1, 8), DATA, 0, 7);
    push(w);
    await_answers(w, 1);
    expect_answer(w, 1, BLKIF_OP_READ, BLKIF_RSP_ERROR);
    g_assert_cmpint(g_get_monotonic_time() - start, >, G_USEC_PER_SEC);
    g_assert_cmpuint(fake_pv_fault.calls, <, TRIES_MAX);
    one(w, BLKIF_OP_WRITE, 8, 0, 7, BLKIF_RSP_ERROR);
    plan(0, 0, 0, 0);
    one(w, BLKIF_OP_WRITE, 8, 0, 7, BLKIF_RSP_OKAY);
    plan(FAKE_PV_COPY, EAGAIN, 1, 2);
    add_segment(w, request(w, BLKIF_OP_READ, 2, 8), DATA, 0, 7);
    push(w);
    await_answers(w, 1);
    expect_answer(w, 2, BLKIF_OP_READ, BLKIF_RSP_OKAY);
    plan(FAKE_PV_COPY, EFAULT, 1, 1); /* not of the moment */
    one(w, BLKIF_OP_READ, 8, 0, 7, BLKIF_RSP_ERROR);
    plan(0, 0, 0, 0);
    world_free(w);
}

/* A disk that goes while its requests are tried again. */
static void test_gone_in_a_moment(void)
{
    struct world *w = world_new(false, 0);

    fake_grant(DATA, false);
    plan(FAKE_PV_COPY, ENOMEM, 1, UINT32_MAX);
    add_segment(w, request(w, BLKIF_OP_READ, 1, 8), DATA, 0, 7);
    add_segment(w, request(w, BLKIF_OP_WRITE, 2, 8), DATA, 0, 7);
    push(w);
    expect_silence(w);
    front_state(w, 6);
    plan(0, 0, 0, 0);
    expect(w, BACK "/state", "6");
    world_free(w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/pv/blk/read-write", NULL, test_read_write);
    g_test_add_data_func("/pv/blk/read-write-32", "", test_read_write);
    g_test_add_func("/pv/blk/together", test_together);
    g_test_add_func("/pv/blk/one-stays", test_one_stays);
    g_test_add_func("/pv/blk/keys", test_keys);
    g_test_add_func("/pv/blk/flush", test_flush);
    g_test_add_func("/pv/blk/discard", test_discard);
    g_test_add_func("/pv/blk/indirect", test_indirect);
    g_test_add_func("/pv/blk/bounds", test_bounds);
    g_test_add_func("/pv/blk/read-only", test_read_only);
    g_test_add_func("/pv/blk/grants", test_grants);
    g_test_add_func("/pv/blk/xsa-155", test_xsa_155);
    g_test_add_func("/pv/blk/xsa-216", test_xsa_216);
    g_test_add_func("/pv/blk/lying-producer", test_lying_producer);
    g_test_add_func("/pv/blk/lying-indices", test_lying_indices);
    g_test_add_func("/pv/blk/nonsense-ring", test_nonsense_ring);
    g_test_add_func("/pv/blk/memory", test_memory);
    g_test_add_func("/pv/blk/closing-in-flight", test_closing_in_flight);
    g_test_add_func("/pv/blk/removed-in-flight", test_removed_in_flight);
    g_test_add_func("/pv/blk/errors", test_errors);
    g_test_add_func("/pv/blk/moments", test_moments);
    g_test_add_func("/pv/blk/no-end", test_no_end);
    g_test_add_func("/pv/blk/gone-in-a-moment", test_gone_in_a_moment);
    g_test_add_func("/pv/blk/cd", test_cd);
    g_test_add_func("/pv/blk/own", test_own);
    g_test_add_func("/pv/blk/direct", test_direct);
    g_test_add_data_func("/pv/blk/live-update", NULL, test_live_update);
    g_test_add_data_func("/pv/blk/live-update-own", "", test_live_update);
    return g_test_run();
}
