/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The LSI 53C895A: a disk with id 0, a CD drive with id 2, and a script in the guest's memory as a
 * driver has it. tests/device/lsi.xds has the instructions one by one.
 */
#include <errno.h>
#include <string.h>

#include <xendm/bytes.h>
#include <xendm/classes.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/scsi.h>

#include "fake-block.h"
#include "fakes.h"

#define DEVFN PCI_DEVFN(5, 0)
#define REGS UINT64_C(0xf0000000)
#define RAM UINT64_C(0xf0010000)
#define SCRIPT 0x100000u
#define DISPATCH (SCRIPT + 0x28)
#define DSA(i) (0x110000u + (i)*0x100u)
#define TABLE_MESSAGE 0x40u
#define TABLE_CDB 0x60u
#define INPUT 0x120000u
#define STATUS_AT 0x120100u
#define DATA(i) (0x200000u + (i)*0x4000u)
#define DISK_SECTORS 8192u

enum { SCNTL1 = 1, SCID = 4, DSTAT = 0x0c, ISTAT = 0x14, ISTAT1, DSP = 0x2c, DSPS = 0x30 };
enum { DSA_AT = 0x10, SCRATCHA = 0x34, DIEN = 0x39, SIEN0 = 0x40, SIST0 = 0x42, SIST1 };
enum { SIGNALLED = 0x519, RESELECTED = 0x7e5, DONE = 1 };

struct box {
    struct machine *m;
    struct device *lsi, *hd, *cd;
    struct block *disk, *disc;
    unsigned unplugs;
};

static void on_unplug(void *opaque, const char *id)
{
    ((struct box *)opaque)->unplugs++;
}

static const struct machine_events events = {.unplugged = on_unplug};

static uint32_t rd(struct box *b, unsigned reg, unsigned size)
{
    return (uint32_t)aspace_read(b->m->mmio, REGS + reg, size);
}

static void wr(struct box *b, unsigned reg, uint32_t value, unsigned size)
{
    aspace_write(b->m->mmio, REGS + reg, value, size);
}

static uint8_t *mem(struct box *b, uint64_t gpa)
{
    return fake_guestmem_ptr(b->m->memory, gpa);
}

static struct device *add_unit(struct box *b, const struct device_class *class, const char *id,
                               struct block *block, const char *place)
{
    GError *err = NULL;
    struct device *dev = device_new(b->m, class, id, &err);

    g_assert_no_error(err);
    device_set_backend(dev, "drive", block_backend(block));
    device_set(dev, "scsi-id", place, &err);
    g_assert_no_error(err);
    g_assert_cmpint(scsi_bus_class.take(bus_find(b->m, &scsi_bus_class, NULL, &err), dev, &err), ==,
                    0);
    device_realize(dev, &err);
    g_assert_no_error(err);
    return dev;
}

static void build(struct box *b)
{
    memset(b, 0, sizeof(*b));
    b->m = fake_machine_new();
    b->m->events = &events;
    b->m->events_opaque = b;
    b->disk = fake_block_new("disk", DISK_SECTORS * 512u);
    b->disc = fake_block_new("disc", 1024u * 2048u);
    b->disc->read_only = true;
    b->lsi = fake_pci_device(b->m, &lsi_class, DEVFN, NULL);
    b->hd = add_unit(b, &scsi_hd_class, "hd", b->disk, "0");
    b->cd = add_unit(b, &scsi_cd_class, "cd", b->disc, "2");
    machine_complete(b->m);
    b->disk->hold = b->disc->hold = true;
}

static void map(struct box *b)
{
    pci_config_write(b->m->pci, DEVFN, 0x10, 0xc201, 4);
    pci_config_write(b->m->pci, DEVFN, 0x14, (uint32_t)REGS, 4);
    pci_config_write(b->m->pci, DEVFN, 0x18, (uint32_t)RAM, 4);
    pci_config_write(b->m->pci, DEVFN, 0x04, 0x0007, 2);
}

/* ---- the driver's script; its places are those of tests/device/lsi.xds ---- */

static void put(struct box *b, unsigned at, uint32_t first, uint32_t second)
{
    store_le32(mem(b, SCRIPT + at), first);
    store_le32(mem(b, SCRIPT + at + 4), second);
}

static void put_driver(struct box *b)
{
    static const uint32_t words[][3] = {
        {0x000, 0x43000000, SCRIPT + 0x200}, /* SELECT ATN */
        {0x008, 0x878b0000, 0x150},          /* JUMP, when MESSAGE IN, to 160 */
        {0x010, 0x1e000000, 0x10},           /* MESSAGE OUT */
        {0x018, 0x878b0000, 0x140},          /* JUMP, when MESSAGE IN, to 160 */
        {0x020, 0x1a000000, 0x18},           /* COMMAND */
        {0x028, 0x878b0000, 0x130},          /* dispatch: MESSAGE IN, to 160 */
        {0x030, 0x838a0000, 0xc8},           /* STATUS, to 100 */
        {0x038, 0x818a0000, 0x48},           /* DATA IN, to 88 */
        {0x040, 0x808a0000, 0x70},           /* DATA OUT, to b8 */
        {0x048, 0x98080000, 0xbad},
        {0x088, 0x19000000, 0x20},      /* DATA IN */
        {0x090, 0x80880000, 0xffff90},  /* JUMP to 28 */
        {0x0b8, 0x18000000, 0x20},      /* DATA OUT */
        {0x0c0, 0x80880000, 0xffff60},  /* JUMP to 28 */
        {0x100, 0x0b000001, STATUS_AT}, /* STATUS */
        {0x108, 0x80880000, 0xffff18},  /* JUMP to 28 */
        {0x160, 0x0f000001, INPUT},     /* MESSAGE IN */
        {0x168, 0x808c0000, 0x98},      /* COMMAND COMPLETE, to 208 */
        {0x170, 0x808c0004, 0x20},      /* DISCONNECT, to 198 */
        {0x178, 0x60000040, 0},         /* CLEAR ACK */
        {0x180, 0x80880000, 0xfffea0},  /* JUMP to 28 */
        {0x198, 0x60000040, 0},         /* CLEAR ACK */
        {0x1a0, 0x48000000, 0},         /* WAIT DISCONNECT */
        {0x1a8, 0x54000000, 0x30},      /* WAIT RESELECT, or SIGP: to 1e0 */
        {0x1b0, 0x0f000003, INPUT},     /* IDENTIFY, SIMPLE, tag */
        {0x1b8, 0x98080000, RESELECTED},
        {0x1e0, 0x721a0000, 0}, /* SFBR = CTEST2 */
        {0x1e8, 0x98080000, SIGNALLED},
        {0x200, 0x98080000, 0x5e1},
        {0x208, 0x60000040, 0}, /* CLEAR ACK */
        {0x210, 0x48000000, 0}, /* WAIT DISCONNECT */
        {0x218, 0x98080000, DONE},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
        put(b, words[i][0], words[i][1], words[i][2]);
    }
}

static void firmware(struct box *b)
{
    map(b);
    wr(b, SCID, 0x47, 1);
    wr(b, SIEN0, 0x8f, 1);
    wr(b, SIEN0 + 1, 0x04, 1);
    wr(b, DIEN, 0x7d, 1);
    put_driver(b);
    DEVICE_CAST(struct scsi_unit, b->hd)->target.attention = 0;
    DEVICE_CAST(struct scsi_unit, b->cd)->target.attention = 0;
}

static void setup(struct box *b, gconstpointer data)
{
    build(b);
    machine_start(b->m);
    firmware(b);
}

static void end_box(struct box *b)
{
    fake_block_complete_all(b->disk);
    fake_block_complete_all(b->disc);
    g_assert_cmpuint(fake_guestmem_pinned(b->m->memory), ==, 0);
    fake_machine_free(b->m);
    fake_block_free(b->disk);
    fake_block_free(b->disc);
}

static void teardown(struct box *b, gconstpointer data)
{
    end_box(b);
}

/* ---- commands ---- */

static void entry(struct box *b, unsigned i, unsigned at, uint32_t count, uint32_t address)
{
    store_le32(mem(b, DSA(i) + at), count);
    store_le32(mem(b, DSA(i) + at + 4), address);
}

static void prepare(struct box *b, unsigned i, unsigned id, const uint8_t *cdb, unsigned length,
                    uint32_t bytes)
{
    uint8_t *message = mem(b, DSA(i) + TABLE_MESSAGE);

    memset(mem(b, DSA(i)), 0, 0x100);
    store_le32(mem(b, DSA(i)), id << 16);
    message[0] = 0xc0;
    message[1] = 0x20;
    message[2] = (uint8_t)i;
    memcpy(mem(b, DSA(i) + TABLE_CDB), cdb, length);
    entry(b, i, 0x10, 3, DSA(i) + TABLE_MESSAGE);
    entry(b, i, 0x18, length, DSA(i) + TABLE_CDB);
    entry(b, i, 0x20, bytes, DATA(i));
}

static void prepare_rw(struct box *b, unsigned i, bool write, uint32_t lba, uint16_t sectors)
{
    uint8_t cdb[10] = {write ? 0x2a : 0x28};

    store_be32(cdb + 2, lba);
    store_be16(cdb + 7, sectors);
    prepare(b, i, 0, cdb, sizeof(cdb), sectors * 512u);
}

/* What the script says next; 0: it goes on, or waits. */
static uint32_t said(struct box *b)
{
    uint32_t what;

    if (!(rd(b, ISTAT, 1) & 3)) {
        return 0;
    }
    g_assert_cmphex(rd(b, SIST0, 2), ==, 0);
    g_assert_cmphex(rd(b, DSTAT, 1), ==, 0x84);
    what = rd(b, DSPS, 4);
    return what;
}

static void begin(struct box *b, unsigned i)
{
    wr(b, DSA_AT, DSA(i), 4);
    wr(b, DSP, SCRIPT, 4);
}

/* As `begin`, when the script may be waiting for a reselection. */
static void queue(struct box *b, unsigned i)
{
    if (rd(b, ISTAT1, 1) & 2) {
        wr(b, ISTAT, 0x20, 1);
        g_assert_cmphex(said(b), ==, SIGNALLED);
    }
    begin(b, i);
}

static void wait_for_target(struct box *b)
{
    wr(b, DSP, SCRIPT + 0x1a8, 4);
}

/* Takes the reselection that was told, up to its end; the tag. */
static unsigned finish(struct box *b)
{
    unsigned tag;

    g_assert_cmphex(said(b), ==, RESELECTED);
    g_assert_cmphex(mem(b, INPUT)[0], ==, 0x80);
    g_assert_cmphex(mem(b, INPUT)[1], ==, 0x20);
    tag = mem(b, INPUT)[2];
    wr(b, DSA_AT, DSA(tag), 4);
    mem(b, STATUS_AT)[0] = 0xee;
    wr(b, DSP, DISPATCH, 4);
    g_assert_cmphex(said(b), ==, DONE);
    return tag;
}

static void assert_sectors(struct box *b, unsigned i, uint32_t lba, unsigned sectors)
{
    g_assert_cmpmem(mem(b, DATA(i)), sectors * 512u, b->disk->data + lba * 512, sectors * 512u);
}

/* ---- tests ---- */

static void test_one(struct box *b, gconstpointer data)
{
    prepare_rw(b, 1, false, 100, 8);
    begin(b, 1);
    g_assert_cmphex(said(b), ==, 0);
    g_assert_cmphex(rd(b, SCNTL1, 1) & 0x10, ==, 0); /* disconnected */
    g_assert_cmpuint(b->disk->pending.length, ==, 1);
    fake_block_complete(b->disk, 0);
    g_assert_cmpuint(finish(b), ==, 1);
    g_assert_cmphex(mem(b, STATUS_AT)[0], ==, 0);
    assert_sectors(b, 1, 100, 8);
    g_assert_cmpuint(((struct scsi_unit *)b->hd)->tasks, ==, 0);
    /* What the host has in its cache needs no second connection. */
    b->disk->cached = true;
    prepare_rw(b, 2, false, 200, 8);
    begin(b, 2);
    g_assert_cmphex(said(b), ==, DONE);
    assert_sectors(b, 2, 200, 8);
}

static void test_queue(struct box *b, gconstpointer data)
{
    for (unsigned i = 0; i < 32; i++) {
        prepare_rw(b, i, i & 1, 64 + 8 * i, 8);
        memset(mem(b, DATA(i)), (int)i, 4096);
        queue(b, i);
        g_assert_cmphex(said(b), ==, 0);
    }
    g_assert_cmpuint(b->disk->pending.length, ==, 32);
    for (unsigned left = 32; left-- > 0;) {
        fake_block_complete(b->disk, left);
        g_assert_cmpuint(finish(b), ==, left);
        g_assert_cmphex(mem(b, STATUS_AT)[0], ==, 0);
        wait_for_target(b);
    }
    for (unsigned i = 0; i < 32; i++) {
        assert_sectors(b, i, 64 + 8 * i, 8);
    }
    /* More than there is room for: QUEUE FULL, and the others go on. */
    for (unsigned i = 0; i < 65; i++) {
        prepare_rw(b, i, false, i, 1);
        queue(b, i);
        g_assert_cmphex(said(b), ==, i < 64 ? 0 : DONE);
    }
    g_assert_cmphex(mem(b, STATUS_AT)[0], ==, 0x28);
    wait_for_target(b);
    for (unsigned i = 0; i < 64; i++) {
        fake_block_complete(b->disk, 0);
        finish(b);
        wait_for_target(b);
    }
}

static void test_order(struct box *b, gconstpointer data)
{
    for (unsigned i = 1; i <= 3; i++) {
        prepare_rw(b, i, false, i * 10, 1);
        mem(b, DSA(i) + TABLE_MESSAGE)[1] = i == 2 ? 0x22 : 0x20;
        queue(b, i);
    }
    g_assert_cmpuint(b->disk->pending.length, ==, 1); /* the second is an ordered one */
    fake_block_complete(b->disk, 0);
    g_assert_cmpuint(finish(b), ==, 1);
    wait_for_target(b);
    g_assert_cmpuint(b->disk->pending.length, ==, 1);
    fake_block_complete(b->disk, 0);
    g_assert_cmpuint(finish(b), ==, 2);
    wait_for_target(b);
    fake_block_complete(b->disk, 0);
    g_assert_cmpuint(finish(b), ==, 3);
}

static void sense(struct box *b, uint8_t *key, uint8_t *asc)
{
    static const uint8_t cdb[6] = {0x03, 0, 0, 0, 18};

    prepare(b, 40, 0, cdb, 6, 18);
    entry(b, 40, 0x10, 1, DSA(40) + TABLE_MESSAGE);
    begin(b, 40);
    g_assert_cmphex(said(b), ==, DONE);
    *key = mem(b, DATA(40))[2] & 15;
    *asc = mem(b, DATA(40))[12];
}

static void test_sense(struct box *b, gconstpointer data)
{
    uint8_t key, asc;

    b->disk->fail[BLOCK_READ] = -EIO;
    b->disk->bad_sector = 500;
    for (unsigned i = 1; i <= 2; i++) {
        prepare_rw(b, i, i == 2, 500, 1);
        queue(b, i);
    }
    b->disk->fail[BLOCK_WRITE] = -EROFS;
    fake_block_complete(b->disk, 0);
    fake_block_complete(b->disk, 0);
    finish(b);
    g_assert_cmphex(mem(b, STATUS_AT)[0], ==, 2);
    /* The other failure is not told before these sense data are. */
    wait_for_target(b);
    g_assert_cmphex(said(b), ==, 0);
    wr(b, ISTAT, 0x20, 1);
    g_assert_cmphex(said(b), ==, SIGNALLED);
    sense(b, &key, &asc);
    g_assert_cmphex(key, ==, SENSE_MEDIUM_ERROR);
    g_assert_cmphex(asc, ==, 0x11);
    wait_for_target(b);
    g_assert_cmpuint(finish(b), ==, 2);
    g_assert_cmphex(mem(b, STATUS_AT)[0], ==, 2);
    sense(b, &key, &asc);
    g_assert_cmphex(key, ==, SENSE_DATA_PROTECT);
}

/* What was aborted is written before what comes after it, or not at all. */
static void test_reset(struct box *b, gconstpointer data)
{
    prepare_rw(b, 1, true, 10, 8);
    queue(b, 1);
    prepare_rw(b, 2, false, 20, 8);
    queue(b, 2);
    wr(b, SCNTL1, 8, 1);
    g_assert_cmphex(rd(b, SIST0, 1), ==, 2);
    wr(b, SCNTL1, 0, 1);
    g_assert_cmpuint(b->disk->cancels, ==, 2);
    DEVICE_CAST(struct scsi_unit, b->hd)->target.attention = 0;
    prepare_rw(b, 3, false, 10, 8);
    begin(b, 3);
    g_assert_cmphex(said(b), ==, 0);
    g_assert_cmpuint(b->disk->pending.length, ==, 2); /* it waits */
    fake_block_complete(b->disk, 0);
    fake_block_complete(b->disk, 0);
    g_assert_cmpuint(b->disk->pending.length, ==, 1);
    fake_block_complete(b->disk, 0);
    g_assert_cmpuint(finish(b), ==, 3);
    assert_sectors(b, 3, 10, 8);
    /* ABORT TAG, while another of the disk's goes on */
    for (unsigned i = 4; i <= 5; i++) {
        prepare_rw(b, i, false, i, 1);
        queue(b, i);
    }
    wr(b, ISTAT, 0x20, 1);
    g_assert_cmphex(said(b), ==, SIGNALLED);
    mem(b, DSA(4) + TABLE_MESSAGE)[3] = 0x0d;
    entry(b, 4, 0x10, 4, DSA(4) + TABLE_MESSAGE);
    put(b, 0x18, 0x98080000, 0x77);
    begin(b, 4);
    g_assert_cmphex(said(b), ==, 0x77);
    g_assert_cmpuint(b->disk->cancels, ==, 3);
    put_driver(b);
    wait_for_target(b);
    fake_block_complete(b->disk, 0);
    g_assert_cmphex(said(b), ==, 0);
    fake_block_complete(b->disk, 0);
    g_assert_cmpuint(finish(b), ==, 5);
}

static void wait_quiet(struct box *b)
{
    machine_stop(b->m);
    fake_block_complete_all(b->disk);
    g_assert_false(machine_busy(b->m));
}

static void copy_memory(struct box *to, struct box *from)
{
    memcpy(mem(to, SCRIPT), mem(from, SCRIPT), 0x300000);
    memcpy(to->disk->data, from->disk->data, DISK_SECTORS * 512u);
}

/* Saved at a moment with commands at the disk, one that reads, one that writes, one that waits. */
static void test_moved(struct box *b, gconstpointer data)
{
    g_autoptr(GByteArray) state = g_byte_array_new();
    GError *err = NULL;
    struct box c;
    unsigned seen = 0;

    for (unsigned i = 1; i <= 3; i++) {
        prepare_rw(b, i, i == 2, 100 * i, 8);
        memset(mem(b, DATA(i)), 0x10 * (int)i, 4096);
        mem(b, DSA(i) + TABLE_MESSAGE)[1] = i == 3 ? 0x22 : 0x20;
        queue(b, i);
    }
    wait_quiet(b);
    g_assert_cmpint(machine_save(b->m, state, &err), ==, 0);
    build(&c);
    copy_memory(&c, b);
    g_assert_cmpint(machine_load(c.m, state->data, state->len, &err), ==, 0);
    g_assert_no_error(err);
    machine_start(c.m);
    for (unsigned i = 0; i < 3; i++) {
        while (!(rd(&c, ISTAT, 1) & 3) && fake_block_complete(c.disk, 0)) {
        }
        seen |= 1u << finish(&c);
        g_assert_cmphex(mem(&c, STATUS_AT)[0], ==, 0);
        wait_for_target(&c);
    }
    g_assert_cmphex(seen, ==, 0xe);
    assert_sectors(&c, 1, 100, 8);
    assert_sectors(&c, 2, 200, 8);
    assert_sectors(&c, 3, 300, 8);
    end_box(&c);
    /* This one goes on, too. */
    machine_start(b->m);
    g_assert_cmphex(said(b), ==, RESELECTED);
}

/* The disk leaves with commands under way, and while it has the bus. */
/* As QEMU names it, and as it was named before. */
static void test_bus_name(struct box *b, gconstpointer data)
{
    struct bus *bus = b->hd->bus;

    g_assert_cmpstr(bus->id, ==, "scsi.0");
    g_assert_true(bus_find(b->m, &scsi_bus_class, "scsi.0", NULL) == bus);
    g_assert_true(bus_find(b->m, &scsi_bus_class, b->lsi->id, NULL) == bus);
    g_assert_null(bus_find(b->m, &scsi_bus_class, "scsi.1", NULL));
}

static void test_unplug(struct box *b, gconstpointer data)
{
    prepare_rw(b, 1, false, 1, 8);
    queue(b, 1);
    device_unplug(b->hd);
    b->hd = NULL;
    while (g_main_context_iteration(NULL, FALSE)) {
    }
    g_assert_cmpuint(b->unplugs, ==, 0); /* the host has its request still */
    fake_block_complete_all(b->disk);
    while (b->unplugs == 0) {
        g_main_context_iteration(NULL, TRUE);
    }
    wr(b, ISTAT, 0x20, 1);
    g_assert_cmphex(said(b), ==, SIGNALLED);
    begin(b, 1);
    g_assert_cmphex(rd(b, SIST0, 2), ==, 0x400); /* nobody is there */
}

static void test_pv_unplug(struct box *b, gconstpointer data)
{
    prepare_rw(b, 1, true, 1, 8);
    queue(b, 1);
    machine_request_unplug(b->m, UNPLUG_DISKS);
    g_assert_true(device_is_held(b->hd));
    fake_block_complete_all(b->disk);
    g_assert_false(device_is_held(b->hd));
    g_assert_cmpuint(b->disk->submitted[BLOCK_FLUSH], ==, 1);
    g_assert_false(b->disk->present);
    g_assert_true(b->disc->present);
    g_assert_cmpuint(b->unplugs, ==, 1);
}

static void test_resize(struct box *b, gconstpointer data)
{
    static const uint8_t ready[6] = {0};
    uint8_t key, asc;

    b->disk->listener->resized(b->disk->listener_opaque);
    prepare(b, 1, 0, ready, 6, 0);
    begin(b, 1);
    g_assert_cmphex(said(b), ==, DONE);
    g_assert_cmphex(mem(b, STATUS_AT)[0], ==, 2);
    sense(b, &key, &asc);
    g_assert_cmphex(key, ==, SENSE_UNIT_ATTENTION);
    g_assert_cmphex(asc, ==, 0x2a);
}

/* ---- advisories ---- */

static void test_endless(struct box *b, gconstpointer data)
{
    int64_t before;

    put(b, 0x300, 0x80080000, SCRIPT + 0x300);
    wr(b, DSP, SCRIPT + 0x300, 4);
    g_assert_cmphex(rd(b, ISTAT1, 1) & 2, ==, 2); /* it runs, and we are here */
    before = vclock_now(b->m->clock);
    for (unsigned i = 0; i < 200; i++) {
        fake_clock_step(b->m, vclock_next_deadline(b->m->clock) - vclock_now(b->m->clock));
    }
    /* It gets less and less: most of these 200 slices are a millisecond apart. */
    g_assert_cmpint(vclock_now(b->m->clock) - before, >, 100 * NS_PER_MS);
    put(b, 0x300, 0x98080000, 5); /* what it waited for has changed */
    fake_clock_step(b->m, NS_PER_MS);
    g_assert_cmphex(said(b), ==, 5);
    /* A copy of 16 MiB, and zeros as far as the memory goes: the same. */
    put(b, 0x300, 0xc0ffffff, 0x200000);
    put(b, 0x308, 0x200000, 0);
    wr(b, DSP, SCRIPT + 0x300, 4);
    wr(b, ISTAT, 0x80, 1);
    g_assert_cmphex(rd(b, DSTAT, 1) & 0x30, !=, 0);
    wr(b, ISTAT, 0, 1);
    memset(mem(b, 0x400000), 0, 0x100000);
    wr(b, DSP, 0x400000, 4);
    g_assert_cmphex(rd(b, ISTAT1, 1) & 2, ==, 2);
}

/* Messages come as long as there are some, whatever the move asks for. */
static void test_message_in(struct box *b, gconstpointer data)
{
    prepare_rw(b, 1, false, 100, 8);
    put(b, 0x160, 0x0f000100, INPUT); /* 256 bytes of MESSAGE IN */
    memset(mem(b, INPUT), 0xaa, 256);
    begin(b, 1);
    g_assert_cmphex(rd(b, SIST0, 2) & 0x84, !=, 0);
    g_assert_cmphex(mem(b, INPUT)[0], ==, 4);
    g_assert_cmphex(mem(b, INPUT)[1], ==, 0xaa);
    /* Without a target there are none. */
    put(b, 0x300, 0x0f000008, INPUT);
    wr(b, DSP, SCRIPT + 0x300, 4);
    g_assert_cmphex(rd(b, SIST0, 1) & 4, ==, 4);
}

/* ABORT and RESET again and again in one MESSAGE OUT, of a command that is gone with the first. */
static void test_message_out(struct box *b, gconstpointer data)
{
    static const uint8_t aborts[] = {0x06, 0x0c, 0x0d, 0x0e};

    for (unsigned i = 0; i < G_N_ELEMENTS(aborts); i++) {
        prepare_rw(b, i, false, 100, 8);
        queue(b, i);
        memset(mem(b, DSA(i) + TABLE_MESSAGE) + 3, aborts[i], 16);
        entry(b, i, 0x10, 19, DSA(i) + TABLE_MESSAGE);
        queue(b, i);
        g_assert_cmphex(rd(b, SCNTL1, 1) & 0x10, ==, 0);
        g_assert_cmphex(rd(b, SIST0, 1), ==, 4);
        fake_block_complete_all(b->disk);
        g_assert_cmpuint(((struct scsi_unit *)b->hd)->tasks, ==, 0);
        DEVICE_CAST(struct scsi_unit, b->hd)->target.attention = 0;
    }
}

/*
 * Data in its own registers: a read from the disk writes ISTAT (a reset in the middle), DSP (a
 * start), SCNTL1 (a bus reset).
 */
static void test_own_registers(struct box *b, gconstpointer data)
{
    b->disk->cached = true;
    memset(b->disk->data + 512, 0xff, 1024);
    for (unsigned at = 0; at < 0x100; at += 4) {
        prepare_rw(b, 1, at & 4, 1, 1);
        entry(b, 1, 0x20, 0x100 - at, (uint32_t)REGS + at);
        begin(b, 1);
        rd(b, SIST0, 2);
        rd(b, DSTAT, 1);
        wr(b, ISTAT, 0x40, 1);
        firmware(b);
        fake_block_complete_all(b->disk);
    }
    /* The script itself there. */
    wr(b, DSP, (uint32_t)REGS, 4);
    wr(b, DSP, (uint32_t)REGS + 0x2c, 4);
    wr(b, ISTAT, 0x40, 1);
    g_assert_cmphex(rd(b, 0, 1), ==, 0xc0);
}

/* Whatever the script is, and whatever happens meanwhile. */
static void test_any(struct box *b, gconstpointer data)
{
    GRand *rand = g_rand_new_with_seed(7);

    log_set_level("all", "error");
    b->disk->hold = b->disc->hold = false;
    for (unsigned i = 0; i < 3000; i++) {
        for (unsigned n = 0; n < 4; n++) {
            unsigned at = 8 * (unsigned)g_rand_int_range(rand, 0, 68);

            put(b, at, g_rand_int(rand), g_rand_boolean(rand) ? g_rand_int(rand) : SCRIPT + at);
        }
        if (i % 8 == 0) {
            put_driver(b);
        }
        prepare_rw(b, i & 3, i & 4, (uint32_t)g_rand_int_range(rand, 0, DISK_SECTORS), 16);
        wr(b, (unsigned)g_rand_int_range(rand, 0, 256), g_rand_int(rand),
           1u << g_rand_int_range(rand, 0, 3));
        begin(b, i & 3);
        rd(b, (unsigned)g_rand_int_range(rand, 0, 256), 4);
        fake_clock_step(b->m, NS_PER_MS);
        while (g_main_context_iteration(NULL, FALSE)) {
        }
    }
    g_rand_free(rand);
    log_set_level("all", "warning");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/lsi/" name, struct box, NULL, setup, fn, teardown)
    ADD("one", test_one);
    ADD("queue", test_queue);
    ADD("order", test_order);
    ADD("sense", test_sense);
    ADD("reset", test_reset);
    ADD("moved", test_moved);
    ADD("bus-name", test_bus_name);
    ADD("unplug", test_unplug);
    ADD("pv-unplug", test_pv_unplug);
    ADD("resize", test_resize);
    ADD("cve-2019-12068-endless-script", test_endless);
    ADD("cve-2018-18849-message-in", test_message_in);
    ADD("cve-2022-0216-message-out", test_message_out);
    ADD("cve-2023-0330-own-registers", test_own_registers);
    ADD("any", test_any);
    return g_test_run();
}
