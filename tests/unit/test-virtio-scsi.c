/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio SCSI host adapter: a disk with id 0, CD drives as other units; queue 0 is for control, 1
 * for events, 2 and 3 for commands. tests/device/virtio-scsi.xds has commands one by one.
 */
#include <errno.h>

#include <xendm/bus.h>
#include <xendm/scsi.h>

#include "virtio-fixture.h"

#define SLOT(n) (HEADERS + (n) % 64 * 0x100u)
#define ANSWER 0x40u
#define F_HOTPLUG 2u
#define F_CHANGE 4u
#define Q_CONTROL 0u
#define Q_EVENTS 1u
#define Q 2u

enum { OK, OVERRUN, ABORTED, BAD_TARGET, RESET, TRANSPORT_FAILURE = 6, FAILURE = 9 };
enum { COMPLETE = 0, SUCCEEDED = 10, REJECTED, INCORRECT_LUN };
enum { ABORT_TASK, ABORT_TASK_SET, CLEAR_ACA, CLEAR_TASK_SET, NEXUS_RESET, UNIT_RESET, QUERY_TASK };

static struct block *disc; /* of the CD drive with id 2; NULL: it is empty */
static struct device *hd, *cd;

static struct device *add_unit(struct box *b, const struct device_class *class, const char *id,
                               struct block *block, const char *at, const char *lun)
{
    GError *err = NULL;
    struct device *dev = device_new(b->m, class, id, &err);

    g_assert_no_error(err);
    if (block) {
        device_set_backend(dev, "drive", block_backend(block));
    }
    device_set(dev, "scsi-id", at, &err);
    device_set(dev, "lun", lun, &err);
    g_assert_no_error(err);
    g_assert_cmpint(scsi_bus_class.take(bus_find(b->m, &scsi_bus_class, NULL, &err), dev, &err), ==,
                    0);
    device_realize(dev, &err);
    g_assert_no_error(err);
    return dev;
}

static void populate(struct box *b)
{
    hd = add_unit(b, &scsi_hd_class, "hd", b->disk, "0", "0");
    cd = add_unit(b, &scsi_cd_class, "cd", disc, "2", "0");
    add_unit(b, &scsi_cd_class, "far", NULL, "255", "16383");
    add_unit(b, &scsi_cd_class, "c1", NULL, "3", "300");
    add_unit(b, &scsi_cd_class, "c2", NULL, "3", "7");
}

static void quiet(struct box *b)
{
    DEVICE_CAST(struct scsi_unit, hd)->target.attention = 0;
    DEVICE_CAST(struct scsi_unit, cd)->target.attention = 0;
}

static void vscsi_new(struct box *b)
{
    static const char *const settings[] = {"packed=on", "num_queues=2", NULL};

    *b = (struct box){.populate = populate};
    box_new(b, &virtio_scsi_class, settings);
}

static void begin(struct box *b, uint64_t features)
{
    start(b, features, 4);
    quiet(b);
}

/* ---- commands ---- */

static void address(uint8_t *to, unsigned id, unsigned lun)
{
    memset(to, 0, 8);
    to[0] = 1;
    to[1] = (uint8_t)id;
    to[2] = lun < 256 ? 0 : (uint8_t)(0x40 | lun >> 8);
    to[3] = (uint8_t)lun;
}

static uint8_t *answer(struct box *b)
{
    return mem(b, SLOT(b->slot) + ANSWER);
}

/* Its tag is its slot. */
static uint16_t give(struct box *b, unsigned q, unsigned id, unsigned lun, const uint8_t *cdb,
                     uint64_t data, uint32_t len, bool in)
{
    uint64_t at = SLOT(++b->slot);
    struct buffer bufs[3] = {{at, 51, false}};
    unsigned count = 1;
    uint16_t got;

    memset(mem(b, at), 0, 0x100);
    memset(mem(b, at) + ANSWER, 0xee, 108);
    address(mem(b, at), id, lun);
    store_le64(mem(b, at) + 8, b->slot);
    memcpy(mem(b, at) + 19, cdb, 16);
    if (len && !in) {
        bufs[count++] = (struct buffer){data, len, false};
    }
    bufs[count++] = (struct buffer){at + ANSWER, 108, true};
    if (len && in) {
        bufs[count++] = (struct buffer){data, len, true};
    }
    got = put(b, q, bufs, count, b->features & F_INDIRECT);
    kick(b, q);
    return got;
}

static uint16_t transfer(struct box *b, unsigned q, bool write, uint32_t sector, uint64_t data,
                         uint32_t count)
{
    uint8_t cdb[16] = {write ? 0x2a : 0x28};

    store_be32(cdb + 2, sector);
    store_be16(cdb + 7, count);
    return give(b, q, 0, 0, cdb, data, count * 512, !write);
}

/* Its response, and its status in bits 8 and up. */
static unsigned result(struct box *b)
{
    return answer(b)[11] | (unsigned)answer(b)[10] << 8;
}

static unsigned finish(struct box *b, unsigned q)
{
    uint32_t len;

    settle(b);
    g_assert_true(used(b, q, NULL, &len));
    return result(b);
}

static unsigned command(struct box *b, unsigned id, unsigned lun, const uint8_t *cdb, uint32_t len)
{
    give(b, Q, id, lun, cdb, DATA, len, true);
    return finish(b, Q);
}

static uint32_t sense(struct box *b)
{
    return (uint32_t)answer(b)[12 + 2] << 16 | (uint32_t)answer(b)[12 + 12] << 8 |
           answer(b)[12 + 13];
}

static unsigned inquiry(struct box *b, unsigned id, unsigned lun)
{
    static const uint8_t cdb[16] = {0x12, 0, 0, 0, 36};
    unsigned got = command(b, id, lun, cdb, 36);

    return got == OK ? mem(b, DATA)[0] : 0x1000 | got;
}

/* A write of two sectors: 149 pieces of three bytes each, and what is left. */
static void fill_small(struct box *b)
{
    uint8_t *table = mem(b, TABLES + 0x4000), *d = table;

    for (unsigned i = 0; i < 152; i++, d += 16) {
        uint64_t at = i == 0 ? SLOT(60) : i == 151 ? SLOT(60) + ANSWER : DATA + 0x8000 + i * 0x1000;
        uint32_t len = i == 0 ? 51 : i == 151 ? 108 : i == 150 ? 1024 - 149 * 3 : 3;

        if (i > 0 && i < 151) {
            memset(mem(b, at), i == 150 ? 0x77 : (int)i - 1, len);
        }
        store_le64(d, at);
        store_le32(d + 8, len);
        store_le16(d + 12, i == 151 ? WRITE : NEXT);
        store_le16(d + 14, i + 1);
    }
    desc(b, Q, b->q[Q].next % ENTRIES, TABLES + 0x4000, 152 * 16, INDIRECT, 0);
    avail(b, Q, b->q[Q].next++ % ENTRIES);
}

static void test_commands(void)
{
    static const uint8_t ready[16] = {0}, capacity[16] = {0x25}, unknown[16] = {0xff};
    struct box b;
    uint32_t len;

    vscsi_new(&b);
    start(&b, F_INDIRECT, 4);
    g_assert_cmphex(command(&b, 0, 0, ready, 0), ==, OK | 0x200); /* power on */
    g_assert_cmphex(sense(&b), ==, 0x062900);
    g_assert_cmpuint(load_le32(answer(&b)), ==, 18);
    quiet(&b);
    g_assert_cmphex(command(&b, 0, 0, ready, 0), ==, OK);
    g_assert_cmpuint(load_le32(answer(&b)), ==, 0);
    g_assert_cmphex(command(&b, 0, 0, capacity, 8), ==, OK);
    g_assert_cmphex(load_be32(mem(&b, DATA)), ==, SECTORS - 1);
    g_assert_cmphex(command(&b, 0, 0, capacity, 100), ==, OK);
    g_assert_cmpuint(load_le32(answer(&b) + 4), ==, 92); /* residual */
    g_assert_cmphex(command(&b, 0, 0, unknown, 0), ==, OK | 0x200);
    g_assert_cmphex(sense(&b), ==, 0x052000);
    transfer(&b, Q, false, 5, DATA, 8);
    settle(&b);
    g_assert_true(used(&b, Q, NULL, &len));
    g_assert_cmpuint(len, ==, 108 + 4096);
    g_assert_cmphex(result(&b), ==, OK);
    g_assert_cmpuint(sector_at(&b, DATA + 7 * 512), ==, 12);
    memset(mem(&b, DATA), 0x5a, 1024);
    transfer(&b, Q + 1, true, 9, DATA, 2);
    g_assert_cmphex(finish(&b, Q + 1), ==, OK);
    g_assert_cmphex(b.disk->data[10 * 512 + 511], ==, 0x5a);
    /* in odd pieces, sectors are put together */
    {
        uint8_t cdb[16] = {0x28, 0, 0, 0, 0, 20, 0, 0, 2};
        struct buffer bufs[] = {{SLOT(60), 51, false},
                                {SLOT(60) + ANSWER, 108, true},
                                {DATA, 100, true},
                                {DATA + 0x1001, 700, true},
                                {DATA + 0x3000, 224, true}};

        b.slot = 60;
        memset(mem(&b, SLOT(60)), 0, 0x100);
        address(mem(&b, SLOT(60)), 0, 0);
        memcpy(mem(&b, SLOT(60)) + 19, cdb, 16);
        put(&b, Q, bufs, 5, true);
        kick(&b, Q);
        g_assert_cmphex(finish(&b, Q), ==, OK);
        g_assert_cmpuint(sector_at(&b, DATA), ==, 20);
        g_assert_cmpmem(mem(&b, DATA + 0x1001 + 412), 288, b.disk->data + 21 * 512, 288);
        /* 150 pieces are more than are mapped at a time, and their first 136 no sector */
        cdb[0] = 0x2a;
        cdb[5] = 30;
        memcpy(mem(&b, SLOT(60)) + 19, cdb, 16);
        fill_small(&b);
        kick(&b, Q);
        g_assert_cmphex(finish(&b, Q), ==, OK);
        for (unsigned i = 0; i < 149; i++) {
            g_assert_cmphex(b.disk->data[30 * 512 + i * 3], ==, i);
        }
        g_assert_cmphex(b.disk->data[32 * 512 - 1], ==, 0x77);
    }
    box_free(&b);
}

static void test_addresses(void)
{
    static const uint8_t luns[16] = {0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64};
    struct box b;
    uint64_t at;

    vscsi_new(&b);
    begin(&b, 0);
    g_assert_cmphex(inquiry(&b, 0, 0), ==, 0x00);
    g_assert_cmphex(inquiry(&b, 2, 0), ==, 0x05);
    g_assert_cmphex(inquiry(&b, 3, 7), ==, 0x05);
    g_assert_cmphex(inquiry(&b, 3, 300), ==, 0x05);
    g_assert_cmphex(inquiry(&b, 255, 16383), ==, 0x05);
    g_assert_cmphex(inquiry(&b, 3, 8), ==, 0x7f);
    g_assert_cmphex(inquiry(&b, 3, 0), ==, 0x3f);
    g_assert_cmphex(mem(&b, DATA)[2], ==, 5);
    g_assert_cmphex(inquiry(&b, 1, 0), ==, 0x1000 | BAD_TARGET);
    g_assert_cmphex(command(&b, 3, 0, luns, 64), ==, OK);
    g_assert_cmphex(load_be32(mem(&b, DATA)), ==, 16);
    g_assert_cmphex(load_be16(mem(&b, DATA) + 8), ==, 7);
    g_assert_cmphex(load_be16(mem(&b, DATA) + 16), ==, 0x4000 | 300);
    /* the well-known unit has all */
    for (unsigned first = 0; first < 256; first++) {
        at = SLOT(b.slot + 1);
        memset(mem(&b, at), 0, 0x100);
        give(&b, Q, 0, 0, luns, DATA, 64, true);
        mem(&b, at)[0] = (uint8_t)first; /* too late for that one */
        settle(&b);
        while (used(&b, Q, NULL, &(uint32_t){0})) {
        }
        {
            struct buffer bufs[] = {{at, 51, false}, {at + ANSWER, 108, true}, {DATA, 64, true}};

            mem(&b, at)[1] = first == 0xc1;
            put(&b, Q, bufs, 3, false);
            kick(&b, Q);
            g_assert_cmphex(finish(&b, Q), ==, first == 1 || first == 0xc1 ? OK : BAD_TARGET);
        }
        if (first == 0xc1) {
            g_assert_cmphex(load_be32(mem(&b, DATA)), ==, 40);
            g_assert_cmphex(load_be32(mem(&b, DATA) + 8), ==, 0x01000000);
            g_assert_cmphex(load_be32(mem(&b, DATA) + 40), ==, 0x01ff7fff);
        }
    }
    box_free(&b);
}

/* Where a unit goes that does not say all; -1: nowhere. */
static int place(struct box *b, const char *bus, const char *id, const char *lun,
                 const char *channel)
{
    static unsigned n;
    g_autofree char *name = g_strdup_printf("u%u", n++);
    struct device *dev = device_new(b->m, &scsi_cd_class, name, NULL);
    struct bus *to = bus_find(b->m, &scsi_bus_class, bus, NULL);
    struct scsi_unit *u = DEVICE_CAST(struct scsi_unit, dev);

    if (id) {
        device_set(dev, "scsi-id", id, NULL);
    }
    if (lun) {
        device_set(dev, "lun", lun, NULL);
    }
    if (channel) {
        device_set(dev, "channel", channel, NULL);
    }
    if (to->class->take(to, dev, NULL) < 0) {
        device_free(dev);
        return -1;
    }
    device_realize(dev, NULL);
    return (int)(u->id << 16 | u->lun);
}

static void test_places(void)
{
    struct box b;
    struct device *lsi;

    vscsi_new(&b);
    g_assert_cmphex(place(&b, NULL, NULL, NULL, NULL), ==, 1 << 16);
    g_assert_cmphex(place(&b, NULL, NULL, NULL, "0"), ==, 3 << 16); /* which has other LUNs */
    g_assert_cmphex(place(&b, NULL, "0", NULL, NULL), ==, 1);
    g_assert_cmphex(place(&b, NULL, "0", NULL, NULL), ==, 2);
    g_assert_cmphex(place(&b, NULL, NULL, "7", NULL), ==, 7);
    g_assert_cmphex(place(&b, NULL, "0", "7", NULL), ==, -1);
    g_assert_cmphex(place(&b, NULL, "256", NULL, NULL), ==, -1);
    g_assert_cmphex(place(&b, NULL, "9", "16384", NULL), ==, -1);
    g_assert_cmphex(place(&b, NULL, NULL, NULL, "1"), ==, -1);
    /* on the adapter that came last, if it is not said otherwise */
    lsi = fake_pci_device(b.m, &lsi_class, PCI_DEVFN(5, 0), NULL);
    g_assert_cmphex(place(&b, NULL, NULL, NULL, NULL), ==, 0);
    g_assert_cmphex(place(&b, NULL, "0", NULL, NULL), ==, -1);
    g_assert_cmphex(place(&b, NULL, "7", NULL, NULL), ==, -1);
    g_assert_cmphex(place(&b, NULL, "1", "1", NULL), ==, -1);
    g_assert_cmphex(place(&b, lsi->id, "15", "0", NULL), ==, 15 << 16);
    g_assert_cmphex(place(&b, "virtio0.0", "15", "5", NULL), ==, 15 << 16 | 5);
    box_free(&b);
}

/* ---- mistakes ---- */

static void test_bad_requests(void)
{
    static const uint8_t capacity[16] = {0x25};
    static const struct {
        unsigned q, out, in;
    } bad[] = {{Q, 50, 108}, {Q, 51, 107}, {Q_CONTROL, 3, 8}, {Q_CONTROL, 23, 8}};
    uint8_t cdb[16] = {0x28, 0, 0, 0, 0, 0, 0, 0, 8};
    struct box b;

    log_set_level("all", "error");
    vscsi_new(&b);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct buffer bufs[] = {{SLOT(0), bad[i].out, false}, {SLOT(0) + ANSWER, bad[i].in, true}};

        begin(&b, 0);
        memset(mem(&b, SLOT(0)), 0, 0x100);
        put(&b, bad[i].q, bufs, 2, false);
        kick(&b, bad[i].q);
        g_assert_cmphex(STATUS(&b), ==, 0x4f);
        kick(&b, bad[i].q);
    }
    begin(&b, 0);
    g_assert_cmphex(command(&b, 0, 0, cdb, 4095), ==, OVERRUN);
    g_assert_cmpuint(load_le32(answer(&b) + 4), ==, 4095);
    g_assert_cmpuint(b.disk->pending.length, ==, 0);
    cdb[0] = 0x2a;
    g_assert_cmphex(command(&b, 0, 0, cdb, 4096), ==, OVERRUN); /* the other way */
    g_assert_cmphex(command(&b, 0, 0, capacity, 0), ==, OVERRUN);
    /* both ways were not offered */
    {
        struct buffer bufs[] = {{SLOT(0), 51, false},
                                {DATA, 512, false},
                                {SLOT(0) + ANSWER, 108, true},
                                {DATA, 512, true}};

        b.slot = 0;
        address(mem(&b, SLOT(0)), 0, 0);
        put(&b, Q, bufs, 4, false);
        kick(&b, Q);
        g_assert_cmphex(finish(&b, Q), ==, FAILURE);
    }
    cdb[0] = 0x28;
    give(&b, Q, 0, 0, cdb, NO_MEMORY, 4096, true);
    g_assert_cmphex(finish(&b, Q), ==, FAILURE);
    g_assert_cmphex(STATUS(&b), ==, 0x0f);
    g_assert_cmpuint(DEVICE_CAST(struct scsi_unit, hd)->tasks, ==, 0);
    box_free(&b);
}

/* Sizes that the driver says, and that count from then on. */
static void test_sizes(void)
{
    struct box b;
    struct buffer bufs[] = {{SLOT(0), 19 + 6, false}, {SLOT(0) + ANSWER, 12 + 8, true}};
    uint32_t len;

    log_set_level("all", "error");
    vscsi_new(&b);
    begin(&b, 0);
    g_assert_cmpuint(rd(&b, 0x2000, 4), ==, 2);
    g_assert_cmpuint(rd(&b, 0x2004, 4), ==, 254);
    g_assert_cmpuint(rd(&b, 0x2014, 4), ==, 96);
    g_assert_cmpuint(rd(&b, 0x2018, 4), ==, 32);
    g_assert_cmphex(rd(&b, 0x201c, 4), ==, 255u << 16);
    g_assert_cmphex(rd(&b, 0x2020, 4), ==, 16383);
    wr(&b, 0x2014, 8, 4);
    wr(&b, 0x2018, 6, 4);
    g_assert_cmpuint(rd(&b, 0x2014, 4), ==, 8);
    memset(mem(&b, SLOT(0)), 0, 0x100);
    memset(answer(&b), 0xee, 0x40);
    address(mem(&b, SLOT(0)), 0, 0);
    mem(&b, SLOT(0))[19] = 0xff;
    put(&b, Q, bufs, 2, false);
    kick(&b, Q);
    settle(&b);
    g_assert_true(used(&b, Q, NULL, &len));
    g_assert_cmpuint(len, ==, 20);
    g_assert_cmphex(result(&b), ==, 0x200);
    g_assert_cmpuint(load_le32(answer(&b)), ==, 8);
    g_assert_cmphex(answer(&b)[20], ==, 0xee);
    wr(&b, 0x2014, 0x10000, 4);
    g_assert_cmphex(STATUS(&b), ==, 0x4f);
    begin(&b, 0);
    g_assert_cmpuint(rd(&b, 0x2014, 4), ==, 96);
    wr(&b, 0x2018, 256, 4);
    g_assert_cmphex(STATUS(&b), ==, 0x4f);
    box_free(&b);
}

/* All opcodes, in CDBs of any size. */
static void test_cdb_sizes(void)
{
    struct box b;

    log_set_level("all", "error");
    vscsi_new(&b);
    begin(&b, 0);
    for (unsigned size = 0; size < 256; size += size < 18 ? 1 : 79) {
        wr(&b, 0x2018, size, 4);
        for (unsigned opcode = 0; opcode < 256; opcode++) {
            struct buffer bufs[] = {{SLOT(0), 19 + size, false}, {SLOT(0) + 0x200, 108, true}};
            uint32_t len;

            memset(mem(&b, SLOT(0)), 0xff, 0x300);
            address(mem(&b, SLOT(0)), opcode & 1 ? 2 : 0, 0);
            mem(&b, SLOT(0))[19] = (uint8_t)opcode;
            put(&b, Q, bufs, 2, false);
            kick(&b, Q);
            settle(&b);
            g_assert_true(used(&b, Q, NULL, &len));
            g_assert_cmphex(mem(&b, SLOT(0))[0x200 + 11], <=, OVERRUN);
        }
    }
    g_assert_cmphex(STATUS(&b), ==, 0x0f);
    box_free(&b);
}

static void populate_many(struct box *b)
{
    populate(b);
    for (unsigned lun = 1; lun < 600; lun++) {
        g_autofree char *id = g_strdup_printf("many%u", lun), *at = g_strdup_printf("%u", lun);

        add_unit(b, &scsi_cd_class, id, NULL, "0", at);
    }
}

/* More units than a small buffer, or 256 entries, have room for. */
static void test_report_luns(void)
{
    static const char *const settings[] = {"num_queues=2", NULL};
    struct box b = {.populate = populate_many};
    uint8_t cdb[16] = {0xa0};

    box_new(&b, &virtio_scsi_class, settings);
    begin(&b, 0);
    store_be32(cdb + 6, 24);
    memset(mem(&b, DATA), 0xee, 8192);
    g_assert_cmphex(command(&b, 0, 0, cdb, 24), ==, OK);
    g_assert_cmphex(load_be32(mem(&b, DATA)), ==, 600 * 8);
    g_assert_cmphex(mem(&b, DATA)[24], ==, 0xee);
    store_be32(cdb + 6, 8192);
    g_assert_cmphex(command(&b, 0, 0, cdb, 8192), ==, OK);
    g_assert_cmphex(load_be16(mem(&b, DATA) + 8 + 255 * 8), ==, 255);
    g_assert_cmphex(load_be16(mem(&b, DATA) + 8 + 599 * 8), ==, 0x4000 | 599);
    g_assert_cmphex(mem(&b, DATA)[8 + 600 * 8], ==, 0xee);
    box_free(&b);
}

static void test_host_errors(void)
{
    struct box b;

    log_set_level("all", "error");
    vscsi_new(&b);
    begin(&b, 0);
    b.disk->fail[BLOCK_READ] = -EIO;
    b.disk->bad_sector = 7;
    transfer(&b, Q, false, 0, DATA, 16);
    g_assert_cmphex(finish(&b, Q), ==, OK | 0x200);
    g_assert_cmphex(sense(&b), ==, 0x031100);
    transfer(&b, Q, false, 8, DATA, 16);
    g_assert_cmphex(finish(&b, Q), ==, OK);
    box_free(&b);
}

/* ---- task management ---- */

static unsigned manage_at(struct box *b, unsigned id, unsigned lun, uint32_t what, uint64_t tag)
{
    uint64_t at = SLOT(63);
    struct buffer bufs[] = {{at, 24, false}, {at + ANSWER, 1, true}};

    memset(mem(b, at), 0, 0x100);
    store_le32(mem(b, at) + 4, what);
    address(mem(b, at) + 8, id, lun);
    store_le64(mem(b, at) + 16, tag);
    mem(b, at)[ANSWER] = 0xee;
    put(b, Q_CONTROL, bufs, 2, false);
    kick(b, Q_CONTROL);
    return mem(b, at)[ANSWER];
}

static unsigned manage(struct box *b, uint32_t what, uint64_t tag)
{
    return manage_at(b, 0, 0, what, tag);
}

static void test_management(void)
{
    static const uint8_t responses[] = {ABORTED, ABORTED, 0, ABORTED, RESET, RESET};
    struct box b;
    uint32_t len;

    vscsi_new(&b);
    for (unsigned way = 0; way < 2; way++) {
        for (unsigned what = ABORT_TASK; what <= UNIT_RESET; what++) {
            if (what == CLEAR_ACA) {
                continue;
            }
            begin(&b, 0);
            b.slot = 0;
            b.disk->hold = true;
            b.disk->cancel_works = way;
            transfer(&b, Q, false, 5, DATA, 1);
            g_assert_cmphex(manage(&b, QUERY_TASK, 1), ==, SUCCEEDED);
            g_assert_cmphex(manage(&b, QUERY_TASK, 2), ==, COMPLETE);
            g_assert_cmphex(manage(&b, QUERY_TASK + 1, 0), ==, SUCCEEDED);
            g_assert_cmphex(manage(&b, what, 1), ==, 0xee); /* the host has it */
            g_assert_false(used(&b, Q, NULL, &len));
            fake_block_complete_all(b.disk);
            settle(&b);
            g_assert_true(used(&b, Q, NULL, &len));
            g_assert_cmphex(result(&b), ==, responses[what]);
            g_assert_cmphex(mem(&b, SLOT(63))[ANSWER], ==, COMPLETE);
            g_assert_cmphex(manage(&b, QUERY_TASK + 1, 0), ==, COMPLETE);
            g_assert_cmphex(manage(&b, what, 1), ==, COMPLETE);
            b.disk->hold = false;
        }
    }
    begin(&b, 0);
    g_assert_cmphex(manage(&b, CLEAR_ACA, 0), ==, REJECTED);
    g_assert_cmphex(manage(&b, 99, 0), ==, REJECTED);
    g_assert_cmphex(manage_at(&b, 9, 0, ABORT_TASK_SET, 0), ==, BAD_TARGET);
    g_assert_cmphex(manage_at(&b, 0, 1, ABORT_TASK_SET, 0), ==, INCORRECT_LUN);
    /* two managers of one command; the driver takes back the queue of the first */
    start(&b, F_RESET, 4);
    quiet(&b);
    b.disk->hold = true;
    transfer(&b, Q, false, 5, DATA, 1);
    manage(&b, UNIT_RESET, 0);
    manage(&b, ABORT_TASK_SET, 0);
    wr(&b, 0x16, Q_CONTROL, 2);
    wr(&b, 0x3a, 1, 2);
    g_assert_false(device_is_held(b.dev));
    fake_block_complete_all(b.disk);
    settle(&b);
    g_assert_true(used(&b, Q, NULL, &len));
    g_assert_cmphex(result(&b), ==, RESET);
    b.disk->hold = false;
    box_free(&b);
}

/* ---- resets, moves ---- */

static void test_reset(void)
{
    struct box b;
    uint32_t len;

    vscsi_new(&b);
    begin(&b, F_RESET);
    b.disk->hold = true;
    transfer(&b, Q, false, 5, DATA, 1);
    transfer(&b, Q + 1, false, 6, DATA + 512, 1);
    wr(&b, 0x16, Q + 1, 2);
    wr(&b, 0x3a, 1, 2);
    g_assert_true(device_is_held(b.dev));
    fake_block_complete_all(b.disk);
    g_assert_false(device_is_held(b.dev));
    settle(&b);
    g_assert_true(used(&b, Q, NULL, &len));
    g_assert_false(used(&b, Q + 1, NULL, &len));

    begin(&b, 0);
    transfer(&b, Q, true, 5, DATA, 1);
    wr(&b, 0x14, 0, 1); /* held until the host gave everything back */
    g_assert_true(device_is_held(b.dev));
    fake_block_complete_all(b.disk);
    g_assert_false(device_is_held(b.dev));
    begin(&b, 0);
    settle(&b);
    g_assert_false(used(&b, Q, NULL, &len));

    transfer(&b, Q, false, 5, DATA, 1);
    machine_reset(b.m, RESET_COLD);
    box_place(&b);
    begin(&b, 0);
    transfer(&b, Q, false, 9, DATA + 4096, 1);
    b.disk->hold = false;
    fake_block_complete_all(b.disk);
    g_assert_cmphex(finish(&b, Q), ==, OK);
    g_assert_cmpuint(sector_at(&b, DATA + 4096), ==, 9);

    start_legacy(&b, 0, 4);
    quiet(&b);
    b.disk->hold = true;
    out(&b, 0x12, 0, 1);
    g_assert_false(device_is_held(b.dev));
    b.disk->hold = false;
    box_free(&b);
}

/* Bus mastering goes and comes back: what was on its way is begun again. */
static void test_bus_master(void)
{
    struct box b;
    uint32_t len;

    for (unsigned way = 0; way < 2; way++) {
        vscsi_new(&b);
        begin(&b, 0);
        b.disk->hold = true;
        b.disk->cancel_works = way;
        transfer(&b, Q, false, 5, DATA, 8);
        pci_config_write(b.m->pci, DEVFN, 0x04, 3, 2);
        fake_block_complete_all(b.disk);
        settle(&b);
        pci_config_write(b.m->pci, DEVFN, 0x04, 7, 2);
        b.disk->hold = false;
        fake_block_complete_all(b.disk);
        settle(&b);
        g_assert_true(used(&b, Q, NULL, &len));
        g_assert_cmphex(result(&b), ==, OK);
        g_assert_cmpuint(sector_at(&b, DATA + 7 * 512), ==, 12);
        box_free(&b);
    }
}

/* Called back by a stop, begun again elsewhere; or ended during it. */
static void test_move(void)
{
    static const uint64_t kinds[] = {F_INDIRECT, F_PACKED, F_PACKED | F_INDIRECT};

    for (unsigned i = 0; i < G_N_ELEMENTS(kinds) * 2; i++) {
        static const uint8_t flush[16] = {0x35};
        uint16_t id[4], got = 0;
        unsigned slot[4];
        struct box b;
        uint32_t len;

        vscsi_new(&b);
        begin(&b, kinds[i / 2]);
        b.disk->hold = true;
        b.disk->cancel_works = i & 1;
        for (unsigned r = 0; r < 4; r++) {
            id[r] = r == 3 ? give(&b, Q, 0, 0, flush, 0, 0, false)
                           : transfer(&b, Q, r == 1, 5 + r * 8, DATA + r * 4096, 8);
            slot[r] = b.slot;
        }
        memset(mem(&b, DATA + 4096), 0x77, 4096);
        box_move(&b);
        b.disk->hold = false;
        settle(&b);
        for (unsigned r = 0; r < 4; r++) {
            unsigned which = 0;

            g_assert_true(used(&b, Q, &got, &len));
            while (which < 4 && id[which] != got) {
                which++;
            }
            g_assert_cmpuint(which, <, 4);
            id[which] = 0xffff;
            b.slot = slot[which];
            g_assert_cmphex(result(&b), ==, OK);
        }
        g_assert_false(used(&b, Q, &got, &len));
        g_assert_cmpuint(sector_at(&b, DATA), ==, 5);
        g_assert_cmphex(b.disk->data[20 * 512 + 511], ==, 0x77);
        g_assert_cmpuint(sector_at(&b, DATA + 2 * 4096), ==, 21);
        box_free(&b);
    }
}

static void test_hostile_state(void)
{
    static const char *const fields[] = {"request", "saved_piece", "chain.out", "task",
                                         "head_in", "answer",      "done",      "lun"};
    g_autoptr(GByteArray) saved = g_byte_array_new();
    GRand *rand = g_rand_new_with_seed(3);
    unsigned taken = 0;
    struct box b;

    log_set_level("all", "error");
    vscsi_new(&b);
    begin(&b, F_INDIRECT);
    b.disk->hold = b.disk->cancel_works = true;
    transfer(&b, Q, false, 5, DATA, 1);
    transfer(&b, Q + 1, true, 6, DATA, 8);
    machine_stop(b.m);
    fake_block_complete_all(b.disk);
    g_assert_cmpint(machine_save(b.m, saved, NULL), ==, 0);
    for (unsigned i = 0; i < 1500; i++) {
        g_autoptr(GByteArray) bad = g_byte_array_new();
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
        const char *field = fields[i % G_N_ELEMENTS(fields)];
        guint body = saved->len - 40; /* the end: type, length, checksum */
        gsize size = 32;
        uint8_t *name;

        g_byte_array_append(bad, saved->data, saved->len);
        name = memmem(bad->data, body, field, strlen(field));
        g_assert_nonnull(name);
        for (unsigned n = 0; n < 1 + i % 3; n++) {
            guint at = (guint)g_rand_int_range(rand, 0, (int)body);

            if (i % 2) {
                at = (guint)(name - bad->data) + (guint)g_rand_int_range(rand, 0, 40);
            }
            bad->data[MIN(at, body - 1)] = (uint8_t)g_rand_int(rand);
        }
        g_checksum_update(sum, bad->data, body);
        g_checksum_get_digest(sum, bad->data + body + 8, &size);
        if (box_load(&b, bad)) {
            g_autoptr(GByteArray) again = g_byte_array_new();

            taken++;
            machine_start(b.m);
            settle(&b);
            machine_stop(b.m);
            fake_block_complete_all(b.disk);
            settle(&b);
            g_assert_cmpint(machine_save(b.m, again, NULL), ==, 0);
        }
    }
    g_assert_cmpuint(taken, >, 100);
    g_rand_free(rand);
    g_assert_true(box_load(&b, saved));
    b.disk->hold = false;
    machine_start(b.m);
    box_free(&b);
}

/* ---- events ---- */

static void give_event(struct box *b, unsigned n)
{
    struct buffer buf = {SLOT(40 + n), 16, true};

    memset(mem(b, SLOT(40 + n)), 0xee, 16);
    put(b, Q_EVENTS, &buf, 1, false);
    kick(b, Q_EVENTS);
}

/* The event in buffer `n`: what, reason, and the address. */
static void expect_event(struct box *b, unsigned n, uint32_t what, uint32_t where, uint32_t reason)
{
    const uint8_t *e = mem(b, SLOT(40 + n));
    uint32_t len = 0;

    settle(b);
    g_assert_true(used(b, Q_EVENTS, NULL, &len));
    g_assert_cmpuint(len, ==, 16);
    g_assert_cmphex(load_le32(e), ==, what);
    g_assert_cmphex(load_be32(e + 4), ==, where);
    g_assert_cmphex(load_le32(e + 12), ==, reason);
}

static void test_events(void)
{
    struct box b;
    struct device *more;
    uint32_t len;

    vscsi_new(&b);
    begin(&b, F_HOTPLUG | F_CHANGE);
    give_event(&b, 0);
    give_event(&b, 1);
    g_assert_false(used(&b, Q_EVENTS, NULL, &len));
    more = add_unit(&b, &scsi_cd_class, "more", NULL, "4", "300");
    expect_event(&b, 0, 1, 0x0104412c, 1);
    b.disk->size -= 512;
    b.disk->listener->resized(b.disk->listener_opaque);
    expect_event(&b, 1, 3, 0x01000000, 0x092a);
    device_unplug(more); /* nobody hears it */
    settle(&b);
    g_assert_false(used(&b, Q_EVENTS, NULL, &len));
    box_move(&b);
    give_event(&b, 2);
    expect_event(&b, 2, 0x80000000, 0, 0);
    give_event(&b, 3);
    g_assert_false(used(&b, Q_EVENTS, NULL, &len));
    begin(&b, 0); /* a driver that does not want to know */
    give_event(&b, 0);
    b.disk->listener->resized(b.disk->listener_opaque);
    settle(&b);
    g_assert_false(used(&b, Q_EVENTS, NULL, &len));
    box_free(&b);
}

static unsigned subscribe(struct box *b, uint32_t type, unsigned id, uint32_t wanted)
{
    uint64_t at = SLOT(62);
    struct buffer bufs[] = {{at, 16, false}, {at + ANSWER, 5, true}};

    memset(mem(b, at), 0, 0x100);
    store_le32(mem(b, at), type);
    address(mem(b, at) + 4, id, 0);
    store_le32(mem(b, at) + 12, wanted);
    put(b, Q_CONTROL, bufs, 2, false);
    kick(b, Q_CONTROL);
    return load_le32(mem(b, at) + ANSWER) << 8 | mem(b, at)[ANSWER + 4];
}

static void test_medium(void)
{
    struct box b;
    uint32_t len;

    disc = fake_block_new("disc", 1024 * 2048);
    disc->read_only = true;
    vscsi_new(&b);
    begin(&b, F_HOTPLUG | F_CHANGE);
    give_event(&b, 0);
    g_assert_cmphex(subscribe(&b, 1, 2, 0x7e), ==, 16 << 8);
    g_assert_cmphex(subscribe(&b, 1, 0, 0x7e), ==, 0);
    g_assert_cmphex(subscribe(&b, 1, 9, 0x7e), ==, BAD_TARGET);
    disc->listener->medium_changed(disc->listener_opaque);
    g_assert_false(used(&b, Q_EVENTS, NULL, &len));
    g_assert_cmphex(subscribe(&b, 2, 2, 16), ==, 16 << 8);
    disc->listener->medium_changed(disc->listener_opaque);
    expect_event(&b, 0, 2, 0x01020000, 16);
    g_assert_cmphex(subscribe(&b, 2, 2, 0), ==, 0);
    give_event(&b, 1);
    disc->listener->medium_changed(disc->listener_opaque);
    g_assert_false(used(&b, Q_EVENTS, NULL, &len));
    box_free(&b);
    g_clear_pointer(&disc, fake_block_free);
}

/* A unit goes with a command at the host's; the guest's PV driver takes the disk away. */
static void test_unplug(void)
{
    struct box b;

    vscsi_new(&b);
    begin(&b, F_HOTPLUG);
    b.disk->hold = true;
    give_event(&b, 0);
    transfer(&b, Q, false, 5, DATA, 1);
    g_assert_cmpuint(DEVICE_CAST(struct scsi_unit, hd)->tasks, ==, 1);
    device_unplug(hd);
    expect_event(&b, 0, 1, 0x01000000, 2);
    settle(&b);
    fake_block_complete_all(b.disk);
    g_assert_cmphex(finish(&b, Q), ==, TRANSPORT_FAILURE);
    transfer(&b, Q, false, 5, DATA, 1);
    g_assert_cmphex(finish(&b, Q), ==, BAD_TARGET);
    b.disk->hold = false;
    box_free(&b);

    /* the adapter itself */
    vscsi_new(&b);
    begin(&b, F_HOTPLUG);
    b.disk->hold = true;
    transfer(&b, Q, false, 5, DATA, 1);
    device_unplug(b.dev);
    settle(&b);
    g_assert_cmpuint(b.disk->pending.length, ==, 1);
    fake_block_complete_all(b.disk);
    while (machine_find(b.m, "hd")) {
        g_main_context_iteration(NULL, TRUE); /* freed some time */
    }
    b.disk->hold = false;
    box_free(&b);
}

/* ---- bounds ---- */

static void test_full(void)
{
    static const char *const deep[] = {"num_queues=1", NULL};
    struct box b = {.populate = populate};
    uint8_t *head;

    box_new(&b, &virtio_scsi_class, deep);
    negotiate(&b, F_V1);
    for (unsigned q = 0; q < 3; q++) {
        queue_up(&b, q, 256, true);
    }
    wr(&b, 0x14, 0x0f, 1);
    quiet(&b);
    b.disk->hold = true;
    head = mem(&b, SLOT(0));
    memset(head, 0, 0x100);
    head[0] = 1;
    head[19] = 0x28;
    head[19 + 8] = 1;
    desc(&b, Q, 0, SLOT(0), 51, NEXT, 1);
    desc(&b, Q, 1, SLOT(0) + ANSWER, 108, NEXT | WRITE, 2);
    desc(&b, Q, 2, DATA, 512, WRITE, 0);
    store_le16(mem(&b, DRIVER(Q) + 2), 256); /* the same one, 256 times */
    kick(&b, Q);
    settle(&b);
    g_assert_cmpuint(b.disk->pending.length, ==, 128);
    b.disk->hold = false;
    fake_block_complete_all(b.disk);
    settle(&b);
    g_assert_cmpuint(load_le16(mem(&b, DEVICE(Q) + 2)), ==, 256);
    box_free(&b);
}

/* Data that the host's page cache has: no turn takes all of them. */
static void test_cached(void)
{
    struct box b;
    unsigned turns = 0;
    uint32_t len;

    vscsi_new(&b);
    begin(&b, F_INDIRECT);
    b.disk->cached = true;
    transfer(&b, Q, false, 0, DATA, 4096);
    g_assert_false(used(&b, Q, NULL, &len));
    while (!used(&b, Q, NULL, &len)) {
        turns++;
        g_main_context_iteration(NULL, FALSE);
        g_assert_cmpuint(turns, <, 100);
    }
    g_assert_cmpuint(turns, >=, 1);
    g_assert_cmphex(result(&b), ==, OK);
    g_assert_cmpuint(sector_at(&b, DATA + 4095 * 512), ==, 4095);
    box_free(&b);
}

static void test_noise(void)
{
    static const char *const everything[] = {"packed=on", "in_order=on", "num_queues=4", NULL};
    struct box b = {.populate = populate};
    GRand *rand = g_rand_new_with_seed(1);

    log_set_level("all", "error");
    box_new(&b, &virtio_scsi_class, everything);
    b.disk->hold = true;
    for (unsigned i = 0; i < 60000; i++) {
        uint8_t cdb[16] = {0x28};

        if (i % 500 == 0 && !device_is_held(b.dev)) {
            start(&b, i & 512 ? F_INDIRECT | F_EVENT : F_PACKED | F_INDIRECT | F_IN_ORDER, 6);
            b.disk->cancel_works = i & 1024;
        }
        if (g_rand_int(rand) % 64 == 0) {
            store_le32(mem(&b, RING((unsigned)g_rand_int_range(rand, 0, 6)) +
                                   (unsigned)g_rand_int_range(rand, 0, 0x900) * 4),
                       g_rand_int(rand) & 0x8087);
        }
        if (!device_is_held(b.dev)) {
            unsigned what = (unsigned)g_rand_int_range(rand, 0, 10);

            if (what == 0) {
                wr(&b, (unsigned)g_rand_int_range(rand, 0, 0x40), g_rand_int(rand), 4);
            } else if (what < 6) {
                cdb[0] = (uint8_t)(g_rand_boolean(rand) ? 0x28 : 0x2a);
                cdb[5] = (uint8_t)g_rand_int(rand);
                cdb[8] = (uint8_t)(g_rand_int(rand) % 9);
                give(&b, what, g_rand_int(rand) % 4, 0, cdb, DATA, cdb[8] * 512u, cdb[0] == 0x28);
            } else if (what == 6) {
                manage(&b, g_rand_int(rand) % 9, b.slot - g_rand_int(rand) % 4);
            } else {
                kick(&b, what % 6);
            }
        }
        if (g_rand_int(rand) % 4 == 0) {
            fake_block_complete(b.disk, g_rand_int(rand) % 3);
            settle(&b);
        }
    }
    fake_block_complete_all(b.disk);
    g_rand_free(rand);
    b.disk->hold = false;
    begin(&b, F_INDIRECT);
    transfer(&b, Q, false, 5, DATA, 1);
    g_assert_cmphex(finish(&b, Q), ==, OK);
    box_free(&b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-scsi/commands", test_commands);
    g_test_add_func("/virtio-scsi/addresses", test_addresses);
    g_test_add_func("/virtio-scsi/places", test_places);
    g_test_add_func("/virtio-scsi/bad-requests", test_bad_requests);
    g_test_add_func("/virtio-scsi/sizes", test_sizes);
    g_test_add_func("/virtio-scsi/cve-2015-5158-cdb-sizes", test_cdb_sizes);
    g_test_add_func("/virtio-scsi/cve-2013-4344-report-luns", test_report_luns);
    g_test_add_func("/virtio-scsi/host-errors", test_host_errors);
    g_test_add_func("/virtio-scsi/management", test_management);
    g_test_add_func("/virtio-scsi/reset", test_reset);
    g_test_add_func("/virtio-scsi/bus-master", test_bus_master);
    g_test_add_func("/virtio-scsi/move", test_move);
    g_test_add_func("/virtio-scsi/hostile-state", test_hostile_state);
    g_test_add_func("/virtio-scsi/events", test_events);
    g_test_add_func("/virtio-scsi/medium", test_medium);
    g_test_add_func("/virtio-scsi/unplug", test_unplug);
    g_test_add_func("/virtio-scsi/full", test_full);
    g_test_add_func("/virtio-scsi/cached", test_cached);
    g_test_add_func("/virtio-scsi/noise", test_noise);
    return g_test_run();
}
