/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVMe: what is under way when something else comes: resets, aborts, moves, unplugging, noise. */
#include "nvme-fixture.h"

#define IDENTIFY ((struct command){.op = 6, .dw10 = 1, .prp1 = DATA + 0x80000})

static void start(struct box *b)
{
    box_new(b);
    box_start(b);
    box_queues(b);
}

static struct command admin(uint8_t op, uint32_t dw10)
{
    return (struct command){.op = op, .dw10 = dw10, .prp1 = DATA};
}

/* ---- resets ---- */

/* CVE-2020-25743's kind: a reset in the middle. Ready again when the host gave everything back. */
static void test_reset(void)
{
    struct box b;

    start(&b);
    b.disk->hold = true;
    issue(&b, 1, BLOCKS(2, 0, 8));
    issue(&b, 1, BLOCKS(2, 8, 8, .prp1 = DATA + 0x1000));
    wr(&b, 0x14, 0x00460000);
    g_assert_cmphex(rd(&b, 0x1c), ==, 1);
    wr(&b, 0x1008, 5); /* there are no queues */
    wr(&b, 0x14, 0x00460001);
    fake_block_complete(b.disk, 0);
    g_assert_cmphex(rd(&b, 0x1c), ==, 1);
    fake_block_complete(b.disk, 0);
    g_assert_cmphex(rd(&b, 0x1c), ==, 1); /* started again at once */
    g_assert_cmphex(load_le16(mem(&b, CQ1 + 14)), ==, 0);
    wr(&b, 0x14, 0);
    g_assert_cmphex(rd(&b, 0x1c), ==, 0);
    box_start(&b);
    box_queues(&b);
    /* the machine's reset */
    issue(&b, 1, BLOCKS(2, 0, 8));
    machine_reset(b.m, RESET_COLD);
    fake_block_complete_all(b.disk);
    pci_config_write(b.m->pci, DEVFN, 0x10, (uint32_t)BAR, 4);
    pci_config_write(b.m->pci, DEVFN, 0x04, 6, 2);
    g_assert_cmphex(rd(&b, 0x1c), ==, 0);
    box_start(&b);
    box_queues(&b);
    b.disk->hold = false;
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0, 8)), ==, 0);
    box_free(&b);
}

static void test_shutdown_in_flight(void)
{
    struct box b;

    start(&b);
    b.disk->hold = true;
    wr(&b, 0x14, 0x00464001);
    g_assert_cmphex(rd(&b, 0x1c), ==, 5);
    wr(&b, 0x14, 0);
    g_assert_cmphex(rd(&b, 0x1c), ==, 1);
    fake_block_complete_all(b.disk);
    g_assert_cmphex(rd(&b, 0x1c), ==, 0);
    box_free(&b);
}

/* ---- one command is taken back ---- */

static void test_abort(void)
{
    struct box b;
    uint16_t target, abort, got;

    start(&b);
    b.disk->hold = b.disk->cancel_works = true;
    target = issue(&b, 1, BLOCKS(2, 0, 8));
    abort = issue(&b, 0, admin(8, (uint32_t)target << 16 | 1));
    settle(&b);
    g_assert_cmphex(completion(&b, 0, NULL), ==, NO_COMPLETION);
    fake_block_complete_all(b.disk);
    g_assert_cmphex(completion(&b, 1, &got), ==, 0x0007);
    g_assert_cmpuint(got, ==, target);
    g_assert_cmphex(completion(&b, 0, &got), ==, 0);
    g_assert_cmpuint(got, ==, abort);
    g_assert_cmpuint(b.result, ==, 0);
    /* The host was done with it already. */
    b.disk->cancel_works = false;
    target = issue(&b, 1, BLOCKS(2, 0, 8));
    issue(&b, 0, admin(8, (uint32_t)target << 16 | 1));
    fake_block_complete_all(b.disk);
    g_assert_cmphex(completion(&b, 1, NULL), ==, 0);
    g_assert_cmphex(completion(&b, 0, NULL), ==, 0);
    g_assert_cmpuint(b.result, ==, 1);
    g_assert_cmphex(command(&b, 0, admin(8, 0x12340001)), ==, 0); /* no such command */
    g_assert_cmpuint(b.result, ==, 1);
    g_assert_cmphex(command(&b, 0, admin(8, 0x12340009)), ==, 0x4002); /* no such queue */
    target = issue(&b, 0, admin(0x0c, 0));
    issue(&b, 0, admin(8, (uint32_t)target << 16));
    g_assert_cmphex(completion(&b, 0, &got), ==, 0x0007);
    g_assert_cmpuint(got, ==, target);
    g_assert_cmphex(completion(&b, 0, NULL), ==, 0);
    g_assert_cmpuint(b.result, ==, 0);
    box_free(&b);
}

static void test_abort_limit(void)
{
    struct box b;
    uint16_t target[5];

    start(&b);
    b.disk->hold = true;
    for (unsigned i = 0; i < 5; i++) {
        target[i] = issue(&b, 1, BLOCKS(2, i, 1));
    }
    for (unsigned i = 0; i < 4; i++) {
        issue(&b, 0, admin(8, (uint32_t)target[i] << 16 | 1));
    }
    g_assert_cmphex(command(&b, 0, admin(8, (uint32_t)target[4] << 16 | 1)), ==, 0x4103);
    fake_block_complete_all(b.disk);
    for (unsigned i = 0; i < 4; i++) {
        g_assert_cmphex(completion(&b, 0, NULL), ==, 0);
    }
    box_free(&b);
}

static void test_delete_queue(void)
{
    struct box b;
    uint16_t cid, got;

    start(&b);
    b.disk->hold = b.disk->cancel_works = true;
    for (unsigned i = 0; i < 3; i++) {
        issue(&b, 1, BLOCKS(2, i, 1));
    }
    cid = issue(&b, 0, admin(0, 1));
    settle(&b);
    g_assert_cmphex(completion(&b, 0, NULL), ==, NO_COMPLETION);
    wr(&b, 0x1008, 9); /* nothing more is fetched */
    g_assert_cmphex(command(&b, 0, IDENTIFY), ==, 0);
    g_assert_cmphex(command(&b, 0, admin(0, 1)), ==, 0x4101);
    g_assert_cmphex(command(&b, 0, admin(4, 1)), ==, 0x410c);
    fake_block_complete_all(b.disk);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmphex(completion(&b, 1, NULL), ==, 0x0008);
    }
    g_assert_cmphex(completion(&b, 0, &got), ==, 0);
    g_assert_cmpuint(got, ==, cid);
    g_assert_cmpuint(b.disk->submitted[BLOCK_READ], ==, 3);
    g_assert_cmphex(command(&b, 0, admin(4, 1)), ==, 0);
    box_queues(&b);
    box_free(&b);
}

/* ---- moves ---- */

static void test_move(void)
{
    struct box b;
    uint16_t read, write, got;

    start(&b);
    issue(&b, 0, admin(0x0c, 0));
    b.disk->hold = b.disk->cancel_works = true;
    memset(mem(&b, DATA + 0x10000), 0x77, 4096);
    read = issue(&b, 1, BLOCKS(2, 40, 8));
    write = issue(&b, 1, BLOCKS(1, 80, 8, .prp1 = DATA + 0x10000));
    g_assert_cmpuint(b.disk->pending.length, ==, 2);
    box_move(&b); /* the host gave both back: they begin again there */
    g_assert_cmpuint(b.disk->submitted[BLOCK_READ], ==, 1);
    g_assert_cmpuint(b.disk->submitted[BLOCK_WRITE], ==, 1);
    g_assert_cmphex(completion(&b, 1, NULL), ==, NO_COMPLETION);
    settle(&b);
    g_assert_cmphex(completion(&b, 1, &got), ==, 0);
    g_assert_cmpuint(got, ==, read);
    g_assert_cmphex(completion(&b, 1, &got), ==, 0);
    g_assert_cmpuint(got, ==, write);
    g_assert_cmpuint(sector_at(&b, DATA), ==, 40);
    g_assert_cmphex(b.disk->data[80 * 512], ==, 0x77);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 81, 1)), ==, 0);
    g_assert_cmphex(sector_at(&b, DATA), ==, 0x7777777777777777);
    box_free(&b);
}

/* What the host had done when it was asked: a piece of a long command, or all of a short one. */
static void test_move_half_done(void)
{
    struct box b;

    start(&b);
    b.disk->hold = true;
    issue(&b, 1, BLOCKS(2, 40, 8));
    issue(&b, 1, BLOCKS(0x0c, 0, 96)); /* VERIFY: three pieces */
    box_move(&b);
    g_assert_cmphex(completion(&b, 1, NULL), ==, 0);
    g_assert_cmpstr(b.disk->log->str, ==, "R32+32 ");
    settle(&b);
    g_assert_cmpstr(b.disk->log->str, ==, "R32+32 R64+32 ");
    g_assert_cmphex(completion(&b, 1, NULL), ==, 0);
    box_free(&b);
}

/* A format, a shutdown, a trim; commands that nobody has fetched; a queue that is full. */
static void test_move_others(void)
{
    struct box b;

    start(&b);
    b.disk->hold = b.disk->cancel_works = true;
    issue(&b, 0, (struct command){.op = 0x80, .nsid = 1, .dw10 = 1});
    wr(&b, 0x14, 0x00464001);
    g_assert_cmphex(rd(&b, 0x1c), ==, 5);
    box_move(&b);
    g_assert_cmphex(rd(&b, 0x1c), ==, 5);
    settle(&b);
    g_assert_cmphex(rd(&b, 0x1c), ==, 9);
    g_assert_cmphex(completion(&b, 0, NULL), ==, 0);
    g_assert_cmphex(b.disk->data[0] | b.disk->data[SECTORS * 512 - 1], ==, 0);
    box_move(&b); /* blocks of 4096 bytes now */
    g_assert_cmphex(command(&b, 0, (struct command){.op = 6, .nsid = 1, .prp1 = DATA}), ==, 0);
    g_assert_cmpuint(sector_at(&b, DATA), ==, SECTORS / 8);
    box_free(&b);

    start(&b);
    b.disk->hold = true;
    issue(&b, 1, BLOCKS(2, 1, 1));
    wr(&b, 0x100c, 1); /* its queue is full, as the head says */
    box_move(&b);
    g_assert_cmphex(load_le16(mem(&b, CQ1 + 14)), ==, 0);
    box_move(&b);
    wr(&b, 0x100c, 0);
    g_assert_cmphex(completion(&b, 1, NULL), ==, 0);
    box_free(&b);
}

static void test_stop_and_go(void)
{
    struct box b;

    start(&b);
    b.disk->hold = b.disk->cancel_works = true;
    issue(&b, 1, BLOCKS(2, 40, 8));
    machine_stop(b.m);
    g_assert_true(machine_busy(b.m));
    machine_start(b.m); /* before the host gave it back */
    fake_block_complete_all(b.disk);
    g_assert_cmphex(completion(&b, 1, NULL), ==, 0);
    g_assert_cmpuint(b.disk->submitted[BLOCK_READ], ==, 2);
    issue(&b, 1, BLOCKS(2, 41, 8));
    machine_stop(b.m);
    fake_block_complete_all(b.disk);
    g_assert_false(machine_busy(b.m));
    g_assert_cmphex(completion(&b, 1, NULL), ==, NO_COMPLETION);
    machine_start(b.m);
    fake_block_complete_all(b.disk);
    g_assert_cmphex(completion(&b, 1, NULL), ==, 0);
    box_free(&b);
}

/* What waits for the end of another command is not left by a stop: it could not be saved. */
static void test_stop_and_wait(void)
{
    struct box b;
    uint16_t target;

    start(&b);
    b.disk->hold = true; /* the host does it all the same */
    target = issue(&b, 1, BLOCKS(2, 40, 8));
    issue(&b, 0, admin(8, (uint32_t)target << 16 | 1));
    machine_stop(b.m);
    fake_block_complete_all(b.disk);
    g_assert_false(machine_busy(b.m));
    g_assert_cmphex(completion(&b, 1, NULL), ==, 0x0007);
    g_assert_cmphex(completion(&b, 0, NULL), ==, 0);
    g_assert_cmpuint(b.result, ==, 0);
    box_move(&b);
    issue(&b, 1, BLOCKS(2, 40, 8));
    issue(&b, 0, admin(0, 1)); /* delete the queue */
    machine_stop(b.m);
    fake_block_complete_all(b.disk);
    g_assert_false(machine_busy(b.m));
    box_move(&b);
    g_assert_cmphex(completion(&b, 0, NULL), ==, 0);
    box_free(&b);
}

static void test_hostile_state(void)
{
    static const char *const fields[] = {"entries",    "head",           "tail",
                                         "cqid",       "vector",         "sqid",
                                         "page_shift", "event_requests", "csts"};
    g_autoptr(GByteArray) saved = g_byte_array_new();
    struct box b, into;
    unsigned refused = 0;

    start(&b);
    b.disk->hold = b.disk->cancel_works = true;
    issue(&b, 1, BLOCKS(2, 40, 8));
    machine_stop(b.m);
    fake_block_complete_all(b.disk);
    state_save(&nvme_class.state[0], b.dev, saved);
    box_new(&into);
    machine_stop(into.m);
    for (unsigned f = 0; f < G_N_ELEMENTS(fields); f++) {
        size_t len = strlen(fields[f]);

        for (guint at = 0; at + len + 16 < saved->len; at++) {
            g_autofree uint8_t *copy = g_memdup2(saved->data, saved->len);
            struct state_plan *plan;

            if (memcmp(copy + at, fields[f], len) != 0) {
                continue;
            }
            for (unsigned i = 0; i < 12; i++) {
                copy[at + len + i] = 0xff;
            }
            plan = state_parse_sized(nvme_class.state, nvme_class.size, copy, saved->len, NULL);
            refused += !plan;
            state_plan_free(plan);
        }
    }
    g_assert_cmpuint(refused, >, 10);
    box_free(&into);
    box_free(&b);
}

/* ---- bus mastering, interrupts ---- */

static void test_bus_master(void)
{
    struct box b;

    start(&b);
    b.disk->hold = b.disk->cancel_works = true;
    issue(&b, 1, BLOCKS(2, 40, 8));
    pci_config_write(b.m->pci, DEVFN, 0x04, 2, 2);
    g_assert_cmpuint(b.disk->cancels, ==, 1);
    fake_block_complete_all(b.disk);
    g_assert_cmphex(rd(&b, 0x1c), ==, 3);
    box_free(&b);
}

static void test_pin(void)
{
    struct box b;

    start(&b);
    g_assert_false(b.m->hv->intx_level[4][0]);
    issue(&b, 1, BLOCKS(2, 40, 8));
    settle(&b);
    g_assert_true(b.m->hv->intx_level[4][0]);
    wr(&b, 0x0c, 1);
    g_assert_cmphex(rd(&b, 0x10), ==, 1);
    g_assert_false(b.m->hv->intx_level[4][0]);
    wr(&b, 0x10, 1);
    g_assert_true(b.m->hv->intx_level[4][0]);
    box_move(&b); /* the line is Xen's, who has kept it */
    g_assert_true(((struct pci_device *)b.dev)->intx_asserted);
    g_assert_cmphex(completion(&b, 1, NULL), ==, 0);
    g_assert_false(((struct pci_device *)b.dev)->intx_asserted);
    box_free(&b);
}

static void test_msix(void)
{
    struct box b;

    box_new(&b);
    pci_config_write(b.m->pci, DEVFN, 0x42, 0x8000, 2);
    for (unsigned v = 0; v < 3; v++) {
        aspace_write(b.m->mmio, BAR + 0x2000 + 16 * v, 0xfee00000 + (v << 12), 8);
        aspace_write(b.m->mmio, BAR + 0x2008 + 16 * v, 0x40 + v, 8);
    }
    box_start(&b);
    g_assert_cmphex(command(&b, 0,
                            (struct command){.op = 5,
                                             .prp1 = CQ1,
                                             .dw10 = (ENTRIES - 1) << 16 | 1,
                                             .dw11 = 2 << 16 | 3}),
                    ==, 0);
    g_assert_cmphex(b.m->hv->msi_data, ==, 0x40);
    g_assert_cmphex(command(&b, 0,
                            (struct command){.op = 1,
                                             .prp1 = SQ1,
                                             .dw10 = (ENTRIES - 1) << 16 | 1,
                                             .dw11 = 1 << 16 | 1}),
                    ==, 0);
    b.m->hv->msi_count = 0;
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 1, 1)), ==, 0);
    g_assert_cmphex(b.m->hv->msi_data, ==, 0x42);
    g_assert_cmpuint(b.m->hv->msi_count, ==, 1);
    /* Many at once: one message for those that end together, none for each. */
    b.disk->hold = true;
    for (unsigned i = 0; i < 8; i++) {
        issue(&b, 1, BLOCKS(2, i, 1));
    }
    fake_block_complete_all(b.disk);
    settle(&b);
    g_assert_cmpuint(b.m->hv->msi_count, ==, 2);
    /* One that is owed at a stop is not lost. */
    issue(&b, 1, BLOCKS(2, 1, 1));
    issue(&b, 1, BLOCKS(2, 2, 1));
    fake_block_complete(b.disk, 0);
    g_assert_cmpuint(b.m->hv->msi_count, ==, 2);
    machine_stop(b.m);
    g_assert_cmpuint(b.m->hv->msi_count, ==, 3);
    machine_start(b.m);
    box_free(&b);
}

/* ---- doorbells in memory ---- */

#define SHADOW 0x30000u
#define EVENTS 0x31000u

static void put_command(struct box *b, struct command c)
{
    unsigned doorbell = b->tail[1];

    issue(b, 1, c); /* rings: taken back by what follows */
    g_assert_cmpuint(b->tail[1], ==, (doorbell + 1) % ENTRIES);
}

static void test_shadow(void)
{
    struct box b;

    start(&b);
    g_assert_cmphex(command(&b, 0,
                            (struct command){.op = 0x7c, .prp1 = SHADOW, .prp2 = EVENTS + 8}),
                    ==, 0x4002);
    g_assert_cmphex(command(&b, 0, (struct command){.op = 0x7c, .prp1 = SHADOW, .prp2 = EVENTS}),
                    ==, 0);
    store_le32(mem(&b, SHADOW + 8), 1);
    put_command(&b, BLOCKS(2, 9, 1));
    settle(&b);
    g_assert_cmphex(completion(&b, 1, NULL), ==, 0);
    g_assert_cmpuint(load_le32(mem(&b, EVENTS + 8)), ==, 1); /* ring for the next one */
    /* Two are in memory; the guest rings for the first alone. */
    store_le32(mem(&b, SHADOW + 8), 3);
    memcpy(mem(&b, SQ1 + 2 * 64), mem(&b, SQ1), 64);
    put_command(&b, BLOCKS(2, 10, 1));
    settle(&b);
    g_assert_cmphex(completion(&b, 1, NULL), ==, 0);
    g_assert_cmphex(completion(&b, 1, NULL), ==, 0);
    g_assert_cmpuint(load_le32(mem(&b, EVENTS + 8)), ==, 3);
    box_move(&b);
    b.tail[1] = 3;
    store_le32(mem(&b, SHADOW + 8), 4);
    put_command(&b, BLOCKS(2, 11, 1));
    settle(&b);
    g_assert_cmphex(completion(&b, 1, NULL), ==, 0);
    g_assert_cmpuint(load_le32(mem(&b, EVENTS + 8)), ==, 4);
    /* Nonsense is not taken, and a page that goes away is no page. */
    store_le32(mem(&b, SHADOW + 8), 0xffffffff);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 11, 1)), ==, 0);
    fake_guestmem_hole(b.m->memory, SHADOW, 0x2000);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 11, 1)), ==, 0);
    fake_guestmem_fill(b.m->memory);
    wr(&b, 0x14, 0);
    box_start(&b);
    box_queues(&b);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 11, 1)), ==, 0);
    box_free(&b);
}

/* ---- namespaces ---- */

static struct device *add_namespace(struct box *b, struct block *disk, uint32_t nsid)
{
    g_autofree char *number = g_strdup_printf("%u", nsid);
    GError *err = NULL;
    struct device *dev = device_new(b->m, &nvme_ns_class, NULL, &err);

    g_assert_no_error(err);
    device_set(dev, "nsid", number, &err);
    device_set_backend(dev, "drive", &disk->b);
    g_assert_no_error(err);
    if (nvme_ns_class.bus->take(bus_find(b->m, nvme_ns_class.bus, "nvme0", NULL), dev, &err) < 0 ||
        device_realize(dev, &err) < 0) {
        g_error_free(err);
        device_free(dev);
        return NULL;
    }
    return dev;
}

static void test_namespaces(void)
{
    struct block *second = fake_block_new("second", 1024 * 512);
    struct device *ns;
    struct box b;

    start(&b);
    g_assert_null(add_namespace(&b, second, 1));
    ns = add_namespace(&b, second, 0);
    g_assert_nonnull(ns);
    device_reset(ns, RESET_COLD);
    g_assert_cmphex(command(&b, 0, (struct command){.op = 6, .dw10 = 2, .prp1 = DATA}), ==, 0);
    g_assert_cmphex(sector_at(&b, DATA), ==, UINT64_C(2) << 32 | 1);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 1023, 1, .nsid = 2)), ==, 0);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 1024, 1, .nsid = 2)), ==, 0x4080);
    g_assert_cmphex(command(&b, 1, BLOCKS(0, 0, 1, .nsid = 0xffffffff)), ==, 0);
    g_assert_cmpuint(second->submitted[BLOCK_FLUSH] + b.disk->submitted[BLOCK_FLUSH], ==, 2);
    /* It goes while it works. */
    second->hold = second->cancel_works = true;
    issue(&b, 1, BLOCKS(2, 7, 1, .nsid = 2));
    device_unplug(ns);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 7, 1)), ==, 0);
    fake_block_complete_all(second);
    g_assert_cmphex(completion(&b, 1, NULL), ==, 0x000b);
    settle(&b);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 7, 1, .nsid = 2)), ==, 0x400b);
    box_free(&b);
    fake_block_free(second);
}

/* ---- unplugging ---- */

static void test_pv_unplug(void)
{
    struct box b;

    start(&b);
    b.disk->hold = b.disk->cancel_works = true;
    issue(&b, 1, BLOCKS(1, 7, 1));
    machine_request_unplug(b.m, UNPLUG_DISKS);
    g_assert_cmphex(rd(&b, 0x1c), ==, 1);
    machine_request_unplug(b.m, UNPLUG_NVME);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0, 4), ==, 0xffffffff);
    g_assert_true(b.m->holds.held > 0);
    fake_block_complete(b.disk, 0);
    g_assert_true(b.disk->present);
    fake_block_complete(b.disk, 0); /* the flush */
    g_assert_false(b.disk->present);
    g_assert_cmpuint(b.m->holds.held, ==, 0);
    machine_request_unplug(b.m, UNPLUG_NVME);
    box_move(&b);
    g_assert_false(b.disk->present);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0, 4), ==, 0xffffffff);
    box_free(&b);
}

static void test_unplug(void)
{
    struct box b;

    for (unsigned i = 0; i < 100; i++) {
        start(&b);
        b.disk->hold = b.disk->cancel_works = i & 1;
        issue(&b, 1, BLOCKS(2, 7, 1));
        device_unplug(b.dev);
        settle(&b);
        fake_block_complete_all(b.disk);
        settle(&b);
        g_assert_null(machine_find(b.m, "nvme0"));
        box_free(&b);
    }
}

/* ---- noise ---- */

static void random_command(struct box *b, GRand *rand)
{
    static const uint8_t ops[2][12] = {{0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 0x7c, 0x80},
                                       {0, 1, 2, 5, 8, 9, 12, 1, 2, 1, 2, 4}};
    unsigned q = g_rand_boolean(rand);
    struct command c = {.op = ops[q][g_rand_int_range(rand, 0, 12)],
                        .nsid = g_rand_boolean(rand) ? 1 : g_rand_int(rand),
                        .prp1 = g_rand_int(rand) & 0x1ffffc,
                        .prp2 = g_rand_int(rand) & 0x1ffff8,
                        .dw10 = g_rand_int(rand) & 0xf00ff,
                        .dw11 = g_rand_int(rand) & 0x3000f,
                        .dw12 = g_rand_int(rand) & 0xff,
                        .flags = g_rand_int_range(rand, 0, 20) ? 0 : 0x40};

    if (g_rand_boolean(rand)) {
        c.prp1 &= ~UINT64_C(0xfff);
        c.prp2 &= ~UINT64_C(0xfff);
    }
    if (q == 1 && g_rand_boolean(rand)) {
        c.dw11 = 0;
    }
    issue(b, q, c);
}

static void noise_step(struct box *b, GRand *rand)
{
    switch (g_rand_int_range(rand, 0, 16)) {
    case 0:
        wr(b, (uint32_t)g_rand_int_range(rand, 0, 0x1208) & ~3u, g_rand_int(rand));
        break;
    case 1:
        wr(b, 0x1000 + 4 * (uint32_t)g_rand_int_range(rand, 0, 6),
           (uint32_t)g_rand_int_range(rand, 0, 20));
        break;
    case 2:
        memcpy(mem(b, g_rand_int(rand) & 0x1ffff8), &(uint64_t){g_rand_int(rand) & 0x1fffff}, 8);
        break;
    case 3:
    case 4:
        fake_block_complete(b->disk, g_rand_int(rand) % MAX(b->disk->pending.length, 1));
        break;
    case 5:
        settle(b);
        break;
    case 6:
        b->disk->cancel_works = g_rand_boolean(rand);
        b->disk->fail[g_rand_int_range(rand, 0, 5)] = g_rand_boolean(rand) ? -EIO : 0;
        b->disk->bad_sector = (uint64_t)g_rand_int_range(rand, 0, SECTORS);
        break;
    default:
        random_command(b, rand);
    }
    for (unsigned q = 0; q < 2; q++) { /* as far as the queues are where they were */
        while (completion(b, q, NULL) != NO_COMPLETION && g_rand_int_range(rand, 0, 8)) {
        }
    }
}

static void test_noise(void)
{
    GRand *rand = g_rand_new_with_seed(4);
    struct box b;

    start(&b);
    for (unsigned i = 0; i < 20000; i++) {
        b.disk->hold = true;
        if (i % 500 == 499) {
            box_move(&b);
        } else if (i % 50 == 0) {
            wr(&b, 0x14, 0);
            fake_block_complete_all(b.disk);
            box_start(&b);
            memset(b.disk->fail, 0, sizeof(b.disk->fail));
            box_queues(&b);
        }
        noise_step(&b, rand);
    }
    g_rand_free(rand);
    box_free(&b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    log_set_level("all", "error");
    g_test_add_func("/nvme-state/reset", test_reset);
    g_test_add_func("/nvme-state/shutdown-in-flight", test_shutdown_in_flight);
    g_test_add_func("/nvme-state/abort", test_abort);
    g_test_add_func("/nvme-state/abort-limit", test_abort_limit);
    g_test_add_func("/nvme-state/delete-queue", test_delete_queue);
    g_test_add_func("/nvme-state/move", test_move);
    g_test_add_func("/nvme-state/move-half-done", test_move_half_done);
    g_test_add_func("/nvme-state/move-others", test_move_others);
    g_test_add_func("/nvme-state/stop-and-go", test_stop_and_go);
    g_test_add_func("/nvme-state/stop-and-wait", test_stop_and_wait);
    g_test_add_func("/nvme-state/hostile", test_hostile_state);
    g_test_add_func("/nvme-state/bus-master", test_bus_master);
    g_test_add_func("/nvme-state/pin", test_pin);
    g_test_add_func("/nvme-state/msix", test_msix);
    g_test_add_func("/nvme-state/shadow-doorbells", test_shadow);
    g_test_add_func("/nvme-state/namespaces", test_namespaces);
    g_test_add_func("/nvme-state/pv-unplug", test_pv_unplug);
    g_test_add_func("/nvme-state/unplug", test_unplug);
    g_test_add_func("/nvme-state/noise", test_noise);
    return g_test_run();
}
