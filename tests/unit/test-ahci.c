/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The AHCI adapter: a disk on port 0, a CD drive on port 1, as a guest's driver uses them. */
#include <errno.h>
#include <string.h>

#include <xendm/ata.h>
#include <xendm/bus.h>
#include <xendm/bytes.h>
#include <xendm/classes.h>
#include <xendm/machine.h>
#include <xendm/pci.h>

#include "fake-block.h"
#include "fakes.h"

#define DISK_SECTORS 8192u
#define CD_BLOCKS 1024u

#define DEVFN PCI_DEVFN(5, 0)
#define ABAR UINT64_C(0xf0000000)
#define PAIR 0xc100u

#define CLB(port) (0x100000u + (port)*0x80000u)
#define FB(port) (CLB(port) + 0x400u)
#define TABLE(port, slot) (CLB(port) + 0x1000u + (slot)*0x400u)
#define DATA_AT(slot) (0x400000u + (slot)*0x10000u)

enum { P_CLB, P_FB = 8, P_IS = 0x10, P_IE = 0x14, P_CMD = 0x18, P_TFD = 0x20, P_SIG = 0x24 };
enum { P_SSTS = 0x28, P_SCTL = 0x2c, P_SERR = 0x30, P_SACT = 0x34, P_CI = 0x38 };

struct box {
    struct machine *m;
    struct device *hba, *hd, *cd;
    struct block *disk, *disc;
    unsigned unplugs, errors;
};

static void on_unplug(void *opaque, const char *id)
{
    ((struct box *)opaque)->unplugs++;
}

static void on_error(void *opaque, const char *id, const char *op, int error)
{
    ((struct box *)opaque)->errors++;
}

static const struct machine_events events = {.unplugged = on_unplug, .block_error = on_error};

static uint32_t rd(struct box *b, unsigned at)
{
    return (uint32_t)aspace_read(b->m->mmio, ABAR + at, 4);
}

static void wr(struct box *b, unsigned at, uint32_t value)
{
    aspace_write(b->m->mmio, ABAR + at, value, 4);
}

static uint32_t prd_(struct box *b, unsigned port, unsigned reg)
{
    return rd(b, 0x100 + port * 0x80 + reg);
}

static void pwr(struct box *b, unsigned port, unsigned reg, uint32_t value)
{
    wr(b, 0x100 + port * 0x80 + reg, value);
}

static uint8_t *mem(struct box *b, uint64_t gpa)
{
    return fake_guestmem_ptr(b->m->memory, gpa);
}

static struct device *add_drive(struct box *b, const struct device_class *class, const char *id,
                                struct block *block, const char *bus)
{
    GError *err = NULL;
    struct device *dev = device_new(b->m, class, id, &err);

    g_assert_no_error(err);
    device_set_backend(dev, "drive", block_backend(block));
    g_assert_cmpint(ata_bus_class.take(bus_find(b->m, &ata_bus_class, bus, &err), dev, &err), ==,
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
    b->disc = fake_block_new("disc", CD_BLOCKS * 2048u);
    b->disc->read_only = true;
    b->hba = fake_pci_device(b->m, &ahci_class, DEVFN, NULL);
    b->hd = add_drive(b, &ide_hd_class, "hd", b->disk, "ahci.0");
    b->cd = add_drive(b, &ide_cd_class, "cd", b->disc, "ahci.1");
    machine_complete(b->m);
}

static void start_port(struct box *b, unsigned port)
{
    pwr(b, port, P_CLB, CLB(port));
    pwr(b, port, P_CLB + 4, 0);
    pwr(b, port, P_FB, FB(port));
    pwr(b, port, P_FB + 4, 0);
    pwr(b, port, P_CMD, 0x02);
    pwr(b, port, P_CMD, 0x12);
    pwr(b, port, P_SERR, UINT32_MAX);
    pwr(b, port, P_IS, UINT32_MAX);
    pwr(b, port, P_IE, 0x7dc0007f);
    pwr(b, port, P_CMD, 0x13);
}

static void firmware(struct box *b)
{
    pci_config_write(b->m->pci, DEVFN, 0x20, PAIR, 4);
    pci_config_write(b->m->pci, DEVFN, 0x24, (uint32_t)ABAR, 4);
    pci_config_write(b->m->pci, DEVFN, 0x04, 0x0007, 2);
    wr(b, 4, 0x80000002);
    start_port(b, 0);
    start_port(b, 1);
    wr(b, 8, UINT32_MAX);
}

static void setup(struct box *b, gconstpointer data)
{
    build(b);
    machine_start(b->m);
    fake_block_complete_all(b->disk);
    g_string_truncate(b->disk->log, 0);
    firmware(b);
    b->disk->hold = b->disc->hold = true;
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

static bool line(struct box *b)
{
    return b->m->hv->intx_level[5][0];
}

static void settle(struct box *b)
{
    while (fake_block_complete(b->disk, 0) || fake_block_complete(b->disc, 0) ||
           g_main_context_iteration(NULL, FALSE)) {
    }
}

/* ---- commands ---- */

struct command {
    uint8_t code;
    uint16_t feature, count;
    uint64_t lba;
    uint32_t bytes; /* of the one descriptor; 0: none */
    uint8_t device;
};

static void put_prd(struct box *b, unsigned port, unsigned slot, unsigned i, uint64_t address,
                    uint32_t bytes)
{
    uint8_t *p = mem(b, TABLE(port, slot) + 0x80 + 16 * i);

    memset(p, 0, 16);
    store_le32(p, (uint32_t)address);
    store_le32(p + 4, (uint32_t)(address >> 32));
    store_le32(p + 12, bytes - 1);
}

static uint8_t *put_command(struct box *b, unsigned port, unsigned slot, const struct command *c)
{
    uint8_t *header = mem(b, CLB(port) + 32 * slot), *fis = mem(b, TABLE(port, slot));

    memset(header, 0, 32);
    memset(fis, 0, 0x80);
    store_le16(header, 5);
    store_le16(header + 2, c->bytes ? 1 : 0);
    store_le32(header + 8, TABLE(port, slot));
    if (c->bytes) {
        put_prd(b, port, slot, 0, DATA_AT(slot), c->bytes);
    }
    fis[0] = 0x27;
    fis[1] = 0x80;
    fis[2] = c->code;
    fis[3] = (uint8_t)c->feature;
    fis[11] = (uint8_t)(c->feature >> 8);
    for (unsigned i = 0; i < 3; i++) {
        fis[4 + i] = (uint8_t)(c->lba >> 8 * i);
        fis[8 + i] = (uint8_t)(c->lba >> 8 * (i + 3));
    }
    fis[7] = c->device ? c->device : 0x40;
    fis[12] = (uint8_t)c->count;
    fis[13] = (uint8_t)(c->count >> 8);
    return header;
}

static void issue(struct box *b, unsigned port, unsigned slot, const struct command *c)
{
    put_command(b, port, slot, c);
    pwr(b, port, P_CI, 1u << slot);
}

static void queue(struct box *b, unsigned slot, bool write, uint64_t lba, uint16_t sectors)
{
    put_command(b, 0, slot,
                &(struct command){.code = write ? 0x61 : 0x60,
                                  .feature = sectors,
                                  .lba = lba,
                                  .count = (uint16_t)(slot << 3),
                                  .bytes = sectors * 512u});
    pwr(b, 0, P_SACT, 1u << slot);
    pwr(b, 0, P_CI, 1u << slot);
}

/* Guest memory has what the medium has. */
static void assert_sectors(struct box *b, unsigned slot, uint64_t lba, unsigned sectors)
{
    g_assert_cmpmem(mem(b, DATA_AT(slot)), sectors * 512u, b->disk->data + lba * 512,
                    sectors * 512u);
}

/* ---- tests ---- */

static void test_probe(struct box *b, gconstpointer data)
{
    struct box c;

    g_assert_cmphex(pci_config_read(b->m->pci, DEVFN, 0, 4), ==, 0x29228086);
    g_assert_cmphex(pci_config_read(b->m->pci, DEVFN, 8, 4), ==, 0x01060102);
    g_assert_cmphex(pci_config_read(b->m->pci, DEVFN, 0x0c, 1), ==, 0); /* the chip has none */
    pci_config_write(b->m->pci, DEVFN, 0x92, 0xff, 1);
    g_assert_cmphex(pci_config_read(b->m->pci, DEVFN, 0x90, 4), ==, 0x003f0040);
    g_assert_cmphex(rd(b, 0x0c), ==, 0x3f);
    g_assert_cmphex(rd(b, 0x10), ==, 0x00010300);
    g_assert_cmphex(rd(b, 0) & 0x4000001f, ==, 0x40000005);
    g_assert_cmphex(prd_(b, 0, P_SIG), ==, 0x00000101);
    g_assert_cmphex(prd_(b, 1, P_SIG), ==, 0xeb140101);
    g_assert_cmphex(prd_(b, 0, P_SSTS), ==, 0x113);
    g_assert_cmphex(prd_(b, 2, P_SSTS), ==, 0);
    g_assert_cmphex(prd_(b, 0, P_TFD), ==, 0x150);
    g_assert_cmphex(mem(b, FB(0))[0x40], ==, 0x34);
    /* The same by index and data. */
    aspace_write(b->m->pio, PAIR + 0x10, 0x128, 4);
    g_assert_cmphex(aspace_read(b->m->pio, PAIR + 0x14, 4), ==, 0x113);
    /* Nobody has to spin the drives up: they are there after a reset, and say so. */
    g_assert_cmphex(rd(b, 0) & 1u << 27, ==, 0);
    build(&c);
    machine_start(c.m);
    pci_config_write(c.m->pci, DEVFN, 0x24, (uint32_t)ABAR, 4);
    pci_config_write(c.m->pci, DEVFN, 0x04, 0x0006, 2);
    g_assert_cmphex(prd_(&c, 0, P_SSTS), ==, 0x113);
    pwr(&c, 0, P_CMD, 0);
    g_assert_cmphex(prd_(&c, 0, P_CMD), ==, 0x06);
    g_assert_cmphex(prd_(&c, 2, P_SSTS), ==, 0);
    g_assert_cmphex(prd_(&c, 0, P_SERR), ==, 1u << 26);
    g_assert_cmphex(prd_(&c, 0, P_IS), ==, 1u << 6);
    pwr(&c, 0, P_SERR, 1u << 26);
    g_assert_cmphex(prd_(&c, 0, P_IS), ==, 0);
    end_box(&c);
}

static void test_identify(struct box *b, gconstpointer data)
{
    const uint8_t *page = mem(b, DATA_AT(0)), *fis = mem(b, FB(0) + 0x20);

    issue(b, 0, 0, &(struct command){.code = 0xec, .bytes = 512});
    g_assert_cmphex(prd_(b, 0, P_CI), ==, 0);
    g_assert_cmphex(prd_(b, 0, P_TFD), ==, 0x50);
    g_assert_cmphex(prd_(b, 0, P_IS), ==, 0x02);
    g_assert_true(line(b));
    g_assert_cmphex(rd(b, 8), ==, 1);
    g_assert_cmphex(fis[0], ==, 0x5f);
    g_assert_cmphex(fis[2], ==, 0x58);
    g_assert_cmphex(fis[15], ==, 0x50);
    g_assert_cmpuint(load_le16(fis + 16), ==, 512);
    g_assert_cmpuint(load_le32(mem(b, CLB(0) + 4)), ==, 512);
    g_assert_cmpuint(load_le16(page + 2 * 75), ==, 31);
    g_assert_cmphex(load_le16(page + 2 * 76), ==, 0x102);
    g_assert_cmpuint(load_le32(page + 2 * 60), ==, DISK_SECTORS);
    pwr(b, 0, P_IS, 2);
    g_assert_true(line(b)); /* the adapter's bit is still there */
    wr(b, 8, 1);
    g_assert_false(line(b));
}

static void test_dma(struct box *b, gconstpointer data)
{
    /* READ DMA EXT */
    issue(b, 0, 3, &(struct command){.code = 0x25, .lba = 100, .count = 8, .bytes = 4096});
    g_assert_cmphex(prd_(b, 0, P_CI), ==, 8);
    g_assert_cmphex(prd_(b, 0, P_TFD) & 0x80, ==, 0x80);
    g_assert_false(line(b));
    settle(b);
    g_assert_cmphex(prd_(b, 0, P_CI), ==, 0);
    g_assert_cmphex(prd_(b, 0, P_IS), ==, 1);
    g_assert_true(line(b));
    assert_sectors(b, 3, 100, 8);
    g_assert_cmpuint(load_le32(mem(b, CLB(0) + 32 * 3 + 4)), ==, 4096);
    g_assert_cmphex(mem(b, FB(0))[0x40], ==, 0x34);
    g_assert_cmphex(mem(b, FB(0))[0x42], ==, 0x50);
    /* WRITE DMA EXT by pieces that are no whole sectors */
    put_command(b, 0, 4, &(struct command){.code = 0x35, .lba = 200, .count = 2, .bytes = 1024});
    store_le16(mem(b, CLB(0) + 32 * 4 + 2), 3);
    put_prd(b, 0, 4, 0, DATA_AT(4), 2);
    put_prd(b, 0, 4, 1, DATA_AT(4) + 2, 700);
    put_prd(b, 0, 4, 2, DATA_AT(4) + 702, 322);
    for (unsigned i = 0; i < 1024; i++) {
        mem(b, DATA_AT(4))[i] = (uint8_t)(i * 3);
    }
    pwr(b, 0, P_CI, 1 << 4);
    settle(b);
    assert_sectors(b, 4, 200, 2);
    /* READ SECTORS by PIO, four of them */
    pwr(b, 0, P_IS, UINT32_MAX);
    issue(b, 0, 5, &(struct command){.code = 0x24, .lba = 60, .count = 4, .bytes = 2048});
    settle(b);
    assert_sectors(b, 5, 60, 4);
    g_assert_cmphex(prd_(b, 0, P_IS), ==, 2);
    /* … and WRITE SECTORS */
    issue(b, 0, 5, &(struct command){.code = 0x34, .lba = 300, .count = 4, .bytes = 2048});
    settle(b);
    assert_sectors(b, 5, 300, 4);
    g_assert_cmphex(prd_(b, 0, P_TFD), ==, 0x50);
    /* Several at once go one after the other, in turn. */
    for (unsigned slot = 8; slot < 12; slot++) {
        put_command(b, 0, slot,
                    &(struct command){.code = 0x25, .lba = slot, .count = 1, .bytes = 512});
    }
    pwr(b, 0, P_CI, 0xf00);
    settle(b);
    g_assert_cmphex(prd_(b, 0, P_CI), ==, 0);
    for (unsigned slot = 8; slot < 12; slot++) {
        assert_sectors(b, slot, slot, 1);
    }
}

/* SATA 2.6, 11.6: the drive says that it wants the next block, not that it wants the first. */
static void test_pio_write(struct box *b, gconstpointer data)
{
    for (unsigned n = 1; n <= 3; n++) {
        pwr(b, 0, P_IS, UINT32_MAX);
        issue(b, 0, 0,
              &(struct command){.code = 0x30, .lba = 40, .count = (uint16_t)n, .bytes = n * 512u});
        settle(b);
        g_assert_cmphex(prd_(b, 0, P_IS), ==, n > 1 ? 0x03 : 0x01);
        g_assert_cmphex(mem(b, FB(0) + 0x20)[1], ==, n > 1 ? 0x40 : 0);
        assert_sectors(b, 0, 40, n);
    }
}

static void test_queue(struct box *b, gconstpointer data)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        queue(b, slot, slot & 1, 64 + 8 * slot, 8);
    }
    g_assert_cmpuint(b->disk->pending.length, ==, 32);
    g_assert_cmphex(prd_(b, 0, P_CI), ==, 0);
    g_assert_cmphex(prd_(b, 0, P_SACT), ==, UINT32_MAX);
    for (unsigned left = 32; left-- > 0;) {
        g_assert_true(fake_block_complete(b->disk, left));
        g_assert_cmphex(prd_(b, 0, P_SACT), ==, (uint32_t)((UINT64_C(1) << left) - 1));
    }
    for (unsigned slot = 0; slot < 32; slot++) {
        assert_sectors(b, slot, 64 + 8 * slot, 8);
    }
    g_assert_cmphex(prd_(b, 0, P_IS), ==, 8);
    g_assert_cmphex(mem(b, FB(0))[0x58], ==, 0xa1);
    g_assert_cmphex(load_le32(mem(b, FB(0) + 0x5c)), ==, 1);
    /* FUA: a flush before it is told. */
    put_command(b, 0, 2,
                &(struct command){.code = 0x61,
                                  .feature = 1,
                                  .lba = 9,
                                  .count = 2 << 3,
                                  .bytes = 512,
                                  .device = 0xc0});
    pwr(b, 0, P_SACT, 4);
    pwr(b, 0, P_CI, 4);
    fake_block_complete(b->disk, 0);
    g_assert_cmphex(prd_(b, 0, P_SACT), ==, 4);
    g_assert_cmpuint(b->disk->submitted[BLOCK_FLUSH], ==, 1);
    fake_block_complete(b->disk, 0);
    g_assert_cmphex(prd_(b, 0, P_SACT), ==, 0);
}

static void restart(struct box *b, unsigned port)
{
    pwr(b, port, P_CMD, 0x12);
    g_assert_cmphex(prd_(b, port, P_CMD) & 0x8000, ==, 0);
    pwr(b, port, P_SERR, UINT32_MAX);
    pwr(b, port, P_IS, UINT32_MAX);
    pwr(b, port, P_CMD, 0x13);
}

static void test_queue_error(struct box *b, gconstpointer data)
{
    const uint8_t *page = mem(b, DATA_AT(0));
    uint8_t sum = 0;

    b->disk->fail[BLOCK_READ] = -EIO;
    b->disk->bad_sector = 500;
    queue(b, 1, false, 64, 8);
    queue(b, 2, false, 500, 8);
    queue(b, 3, false, 80, 8);
    g_assert_true(fake_block_complete(b->disk, 1));
    g_assert_cmphex(prd_(b, 0, P_IS) & 0x40000008, ==, 0x40000008);
    g_assert_cmphex(prd_(b, 0, P_TFD), ==, 0x4051);
    g_assert_cmphex(prd_(b, 0, P_SACT), ==, 0xe);
    g_assert_cmpuint(b->disk->cancels, ==, 2);
    pwr(b, 0, P_CMD, 0x12);
    g_assert_cmphex(prd_(b, 0, P_CMD) & 0x8000, ==, 0x8000); /* two are not back yet */
    settle(b);
    restart(b, 0);
    g_assert_cmphex(prd_(b, 0, P_SACT), ==, 0);
    queue(b, 4, false, 64, 8); /* not before the log was read */
    g_assert_cmphex(prd_(b, 0, P_TFD) & 0xff01, ==, 0x0401);
    restart(b, 0);
    issue(b, 0, 0, &(struct command){.code = 0x2f, .lba = 0x10, .count = 1, .bytes = 512});
    g_assert_cmphex(prd_(b, 0, P_TFD), ==, 0x50);
    g_assert_cmpuint(page[0], ==, 4);
    for (unsigned i = 0; i < 512; i++) {
        sum += page[i];
    }
    g_assert_cmphex(sum, ==, 0);
    queue(b, 4, false, 64, 8);
    settle(b);
    assert_sectors(b, 4, 64, 8);
    g_assert_cmpuint(b->errors, ==, 1);
}

static void test_errors(struct box *b, gconstpointer data)
{
    b->disk->fail[BLOCK_READ] = -EIO;
    b->disk->bad_sector = 500;
    put_command(b, 0, 1, &(struct command){.code = 0x25, .lba = 10, .count = 1, .bytes = 512});
    put_command(b, 0, 0, &(struct command){.code = 0x25, .lba = 500, .count = 1, .bytes = 512});
    pwr(b, 0, P_CI, 3);
    settle(b);
    g_assert_cmphex(prd_(b, 0, P_IS), ==, 0x40000001);
    g_assert_cmphex(prd_(b, 0, P_TFD), ==, 0x4051);
    g_assert_cmphex(prd_(b, 0, P_CI), ==, 2); /* the next waits until the port is started again */
    restart(b, 0);
    g_assert_cmphex(prd_(b, 0, P_CI), ==, 0);
    /* More data than descriptors. */
    issue(b, 0, 0, &(struct command){.code = 0x25, .lba = 10, .count = 8, .bytes = 512});
    settle(b);
    g_assert_cmphex(prd_(b, 0, P_IS) & 0x41000000, ==, 0x41000000);
    restart(b, 0);
    issue(b, 0, 0, &(struct command){.code = 0xec, .bytes = 100});
    g_assert_cmphex(prd_(b, 0, P_IS) & 0x41000000, ==, 0x41000000);
    restart(b, 0);
    /* Memory that is not there. */
    fake_guestmem_hole(b->m->memory, DATA_AT(0), 4096);
    queue(b, 0, false, 5, 1);
    g_assert_cmphex(prd_(b, 0, P_IS) & (1u << 29), ==, 1u << 29);
    fake_guestmem_fill(b->m->memory);
    restart(b, 0);
    /* No register FIS, no command list, no bus master. */
    put_command(b, 0, 0, &(struct command){.code = 0xec, .bytes = 512});
    mem(b, TABLE(0, 0))[0] = 0x34;
    pwr(b, 0, P_CI, 1);
    g_assert_cmphex(prd_(b, 0, P_IS) & (1u << 27), ==, 1u << 27);
    restart(b, 0);
    pwr(b, 0, P_CLB, 0xfffffc00);
    pwr(b, 0, P_CI, 1);
    g_assert_cmphex(prd_(b, 0, P_IS) & (1u << 29), ==, 1u << 29);
    pwr(b, 0, P_CLB, CLB(0));
    restart(b, 0);
    queue(b, 0, false, 5, 1);
    pci_config_write(b->m->pci, DEVFN, 0x04, 0x0003, 2);
    settle(b);
    pci_config_write(b->m->pci, DEVFN, 0x04, 0x0007, 2);
    restart(b, 0);
    b->disk->fail[BLOCK_READ] = 0;
    issue(b, 0, 0, &(struct command){.code = 0x25, .lba = 10, .count = 1, .bytes = 512});
    settle(b);
    assert_sectors(b, 0, 10, 1);
}

/* Everything in flight, then the reset: memory is the guest's when the bit says so, not before. */
static void test_adapter_reset(struct box *b, gconstpointer data)
{
    queue(b, 0, false, 64, 8);
    queue(b, 1, false, 80, 8);
    memset(mem(b, DATA_AT(0)), 0xee, 4096);
    wr(b, 4, 0x80000001);
    g_assert_cmphex(rd(b, 4), ==, 0x80000001);
    g_assert_cmphex(prd_(b, 0, P_SSTS), ==, 0x113);
    g_assert_cmphex(prd_(b, 0, P_CMD) & 3, ==, 2);
    start_port(b, 0);
    g_assert_cmphex(prd_(b, 0, P_SIG), ==, UINT32_MAX); /* not before they are back */
    settle(b);
    g_assert_cmphex(rd(b, 4), ==, 0x80000000);
    g_assert_cmphex(prd_(b, 0, P_SIG), ==, 0x101);
    wr(b, 4, 0x80000002);
    queue(b, 0, false, 64, 8);
    settle(b);
    assert_sectors(b, 0, 64, 8);
}

static void test_port_reset(struct box *b, gconstpointer data)
{
    issue(b, 0, 0, &(struct command){.code = 0x25, .lba = 10, .count = 8, .bytes = 4096});
    pwr(b, 0, P_CMD, 0x12);
    g_assert_cmphex(prd_(b, 0, P_CMD) & 0x8000, ==, 0x8000);
    g_assert_cmphex(prd_(b, 0, P_TFD) & 0x80, ==, 0x80);
    settle(b);
    g_assert_cmphex(prd_(b, 0, P_CMD) & 0x8000, ==, 0);
    pwr(b, 0, P_SCTL, 1);
    g_assert_cmphex(prd_(b, 0, P_SSTS), ==, 0);
    pwr(b, 0, P_SCTL, 0);
    g_assert_cmphex(prd_(b, 0, P_SSTS), ==, 0x113);
    g_assert_cmphex(prd_(b, 0, P_TFD), ==, 0x150);
    restart(b, 0);
    /* A software reset by two control FISes, while a command hangs. */
    issue(b, 0, 0, &(struct command){.code = 0x25, .lba = 10, .count = 8, .bytes = 4096});
    pwr(b, 0, P_CMD, 0x12);
    settle(b);
    pwr(b, 0, P_CMD, 0x1a); /* CLO */
    g_assert_cmphex(prd_(b, 0, P_TFD) & 0x88, ==, 0);
    pwr(b, 0, P_CMD, 0x13);
    for (unsigned i = 0; i < 2; i++) {
        put_command(b, 0, i, &(struct command){0});
        mem(b, TABLE(0, i))[1] = 0;
        mem(b, TABLE(0, i))[15] = i ? 0 : 4;
        pwr(b, 0, P_CI, 1u << i);
        g_assert_cmphex(prd_(b, 0, P_CI), ==, 0);
    }
    g_assert_cmphex(prd_(b, 0, P_TFD), ==, 0x150);
    issue(b, 0, 0, &(struct command){.code = 0x25, .lba = 10, .count = 8, .bytes = 4096});
    settle(b);
    assert_sectors(b, 0, 10, 8);
}

/* ---- ATAPI ---- */

static void packet(struct box *b, const uint8_t *cdb, bool dma, uint32_t bytes)
{
    put_command(b, 1, 0,
                &(struct command){.code = 0xa0, .feature = dma, .lba = 0xfffe00, .bytes = bytes});
    mem(b, CLB(1))[0] |= 0x20;
    memcpy(mem(b, TABLE(1, 0) + 0x40), cdb, 12);
    pwr(b, 1, P_IS, UINT32_MAX);
    pwr(b, 1, P_CI, 1);
    settle(b);
    g_assert_cmphex(prd_(b, 1, P_CI), ==, 0);
}

static void test_atapi(struct box *b, gconstpointer data)
{
    static const uint8_t inquiry[12] = {0x12, 0, 0, 0, 36}, none[12] = {0xff};
    static const uint8_t read[12] = {0x28, 0, 0, 0, 0, 5, 0, 0, 3};

    for (unsigned dma = 0; dma < 2; dma++) {
        memset(mem(b, DATA_AT(0)), 0, 3 * 2048);
        packet(b, inquiry, dma, 36);
        g_assert_cmpmem(mem(b, DATA_AT(0) + 8), 5, "XENDM", 5);
        memset(mem(b, FB(1)), 0, 0x60);
        packet(b, read, dma, 3 * 2048);
        g_assert_cmphex(prd_(b, 1, P_IS), ==, dma ? 0x01 : 0x03); /* the end has a FIS of its own */
        g_assert_cmphex(mem(b, FB(1) + 0x40)[0], ==, 0x34);
        g_assert_cmpmem(mem(b, DATA_AT(0)), 3 * 2048, b->disc->data + 5 * 2048, 3 * 2048);
        g_assert_cmphex(prd_(b, 1, P_TFD), ==, 0x50);
        g_assert_cmpuint(load_le32(mem(b, CLB(1) + 4)), ==, 3 * 2048);
    }
    /* The drive asked for the packet. */
    g_assert_cmphex(load_le32(mem(b, FB(1) + 0x20)) & 0xffffff, ==, 0x58005f);
    g_assert_cmphex(mem(b, FB(1) + 0x20)[15], ==, 0xd0);
    g_assert_cmpuint(load_le16(mem(b, FB(1) + 0x20 + 16)), ==, 12);
    packet(b, none, false, 36);
    g_assert_cmphex(prd_(b, 1, P_TFD), ==, 0x5041); /* ILLEGAL REQUEST */
    g_assert_cmphex(prd_(b, 1, P_IS), ==, 0x40000001);
}

/* ---- come and go ---- */

static void test_hotplug(struct box *b, gconstpointer data)
{
    struct device *dev;

    queue(b, 0, false, 64, 8);
    device_unplug(b->hd);
    g_assert_cmphex(prd_(b, 0, P_SSTS), ==, 0);
    g_assert_cmphex(prd_(b, 0, P_IS) & (1u << 22 | 1u << 6), ==, 1u << 22 | 1u << 6);
    g_assert_true(line(b));
    settle(b);
    while (b->unplugs == 0) {
        g_main_context_iteration(NULL, TRUE);
    }
    issue(b, 0, 0, &(struct command){.code = 0xec, .bytes = 512}); /* nobody answers */
    g_assert_cmphex(prd_(b, 0, P_CI), ==, 1);
    restart(b, 0);
    dev = add_drive(b, &ide_hd_class, "again", b->disk, "ahci.0");
    g_assert_true(dev->phase == DEVICE_RUNNING);
    settle(b);
    g_assert_cmphex(prd_(b, 0, P_SSTS), ==, 0x113);
    g_assert_cmphex(prd_(b, 0, P_IS) & (1u << 22 | 1u << 6), ==, 1u << 22 | 1u << 6);
    g_assert_cmphex(prd_(b, 0, P_SIG), ==, 0x101);
    queue(b, 0, false, 64, 8);
    settle(b);
    assert_sectors(b, 0, 64, 8);
}

/* The guest's PV drivers take the disk: no request of a queue is left behind. */
static void test_pv_unplug(struct box *b, gconstpointer data)
{
    queue(b, 0, true, 64, 8);
    queue(b, 1, true, 80, 8);
    machine_request_unplug(b->m, UNPLUG_DISKS);
    g_assert_true(block_present(b->disk));
    g_assert_cmpuint(b->unplugs, ==, 0);
    fake_block_complete(b->disk, 0);
    g_assert_cmpuint(b->unplugs, ==, 0);
    settle(b);
    g_assert_false(block_present(b->disk));
    g_assert_cmpuint(b->unplugs, ==, 1);
    g_assert_cmphex(prd_(b, 0, P_SSTS), ==, 0);
    b->disk->present = true;
}

static void test_msi(struct box *b, gconstpointer data)
{
    pci_config_write(b->m->pci, DEVFN, 0x84, 0xfee00000, 4);
    pci_config_write(b->m->pci, DEVFN, 0x8c, 0x41, 2);
    pci_config_write(b->m->pci, DEVFN, 0x82, 1, 2);
    queue(b, 0, false, 64, 8);
    settle(b);
    g_assert_false(line(b));
    g_assert_cmpuint(b->m->hv->msi_count, ==, 1);
    wr(b, 8, 1); /* the port still has it: it is told again */
    g_assert_cmpuint(b->m->hv->msi_count, ==, 2);
    pwr(b, 0, P_IS, UINT32_MAX);
    wr(b, 8, 1);
    g_assert_cmpuint(b->m->hv->msi_count, ==, 2);
}

/* ---- saved state ---- */

static void move(struct box *from, struct box *to)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    GError *err = NULL;

    machine_stop(from->m);
    while (machine_busy(from->m)) {
        g_assert_true(fake_block_complete(from->disk, 0) || fake_block_complete(from->disc, 0));
    }
    g_assert_cmpint(machine_save(from->m, out, &err), ==, 0);
    g_assert_no_error(err);
    memcpy(fake_guestmem_ptr(to->m->memory, 0), fake_guestmem_ptr(from->m->memory, 0), 16u << 20);
    g_assert_cmpint(machine_load(to->m, out->data, out->len, &err), ==, 0);
    g_assert_no_error(err);
    machine_start(to->m);
}

/* Moved after each completion, with queued commands, DMA and a packet under way. */
static void test_state(struct box *b, gconstpointer data)
{
    static const uint8_t read[12] = {0x28, 0, 0, 0, 0, 5, 0, 0, 64};
    struct box boxes[24];
    unsigned n = 0;

    for (unsigned slot = 0; slot < 6; slot++) {
        put_command(b, 0, slot,
                    &(struct command){.code = 0x60,
                                      .feature = 8,
                                      .lba = 100 + 8 * slot,
                                      .count = (uint16_t)(slot << 3),
                                      .bytes = 4096});
    }
    put_command(b, 0, 6,
                &(struct command){
                    .code = 0x60, .feature = 6000, .lba = 0, .count = 6 << 3, .bytes = 6000 * 512});
    pwr(b, 0, P_SACT, 0x7f);
    pwr(b, 0, P_CI, 0x7f);
    put_command(b, 1, 0,
                &(struct command){.code = 0xa0, .feature = 0, .lba = 0x080000, .bytes = 65536 * 2});
    memcpy(mem(b, TABLE(1, 0) + 0x40), read, 12);
    put_prd(b, 1, 0, 0, 0xa00000, 65536 * 2);
    pwr(b, 1, P_CI, 1);
    boxes[n] = *b;
    while ((prd_(&boxes[n], 0, P_SACT) || prd_(&boxes[n], 1, P_CI)) && n + 1 < 24) {
        fake_block_complete(boxes[n].disk, 0);
        build(&boxes[n + 1]);
        boxes[n + 1].disk->hold = boxes[n + 1].disc->hold = true;
        boxes[n].m->events_opaque = &boxes[n];
        move(&boxes[n], &boxes[n + 1]);
        n++;
    }
    settle(&boxes[n]);
    g_assert_cmpuint(n, >, 1);
    g_assert_cmphex(prd_(&boxes[n], 0, P_SACT), ==, 0);
    g_assert_cmphex(prd_(&boxes[n], 1, P_CI), ==, 0);
    for (unsigned slot = 0; slot < 6; slot++) {
        if (DATA_AT(slot) < DATA_AT(6)) {
            assert_sectors(&boxes[n], slot, 100 + 8 * slot, 8);
        }
    }
    assert_sectors(&boxes[n], 6, 0, 6000);
    g_assert_cmpmem(mem(&boxes[n], 0xa00000), 65536 * 2, boxes[n].disc->data + 5 * 2048, 65536 * 2);
    for (unsigned i = 1; i <= n; i++) {
        end_box(&boxes[i]);
    }
}

static void put_golden(struct box *b, unsigned slot)
{
    put_command(b, 0, slot,
                &(struct command){.code = 0x60,
                                  .feature = 3000,
                                  .lba = 100 * slot,
                                  .count = (uint16_t)(slot << 3),
                                  .bytes = 3000 * 512});
}

/*
 * tests/state/golden/ahci.state: two queued reads, of each of which the first MiB is done. With
 * XENDM_WRITE_GOLDEN in the environment it is made anew, there.
 */
static void test_golden(struct box *b, gconstpointer data)
{
    g_autofree char *file =
        g_test_build_filename(G_TEST_DIST, "tests", "state", "golden", "ahci.state", NULL);
    const char *write = g_getenv("XENDM_WRITE_GOLDEN");
    g_autofree char *bytes = NULL;
    GError *err = NULL;
    struct box c;
    gsize length;

    put_golden(b, 0);
    put_golden(b, 24);
    pwr(b, 0, P_SACT, 1u | 1u << 24);
    pwr(b, 0, P_CI, 1u | 1u << 24);
    machine_stop(b->m);
    while (machine_busy(b->m)) {
        g_assert_true(fake_block_complete(b->disk, 0));
    }
    if (write) {
        g_autoptr(GByteArray) out = g_byte_array_new();

        g_assert_cmpint(machine_save(b->m, out, &err), ==, 0);
        g_assert_true(g_file_set_contents(write, (const char *)out->data, (gssize)out->len, &err));
    }
    g_assert_true(g_file_get_contents(file, &bytes, &length, &err));
    build(&c);
    put_golden(&c, 0);
    put_golden(&c, 24);
    g_assert_cmpint(machine_load(c.m, bytes, length, &err), ==, 0);
    g_assert_no_error(err);
    machine_start(c.m);
    settle(&c);
    g_assert_cmphex(prd_(&c, 0, P_SACT), ==, 0);
    g_assert_cmphex(prd_(&c, 0, P_IS), ==, 8);
    for (unsigned slot = 0; slot < 32; slot += 24) {
        g_assert_cmpmem(mem(&c, DATA_AT(slot)) + 2048 * 512, 952 * 512,
                        c.disk->data + (100 * slot + 2048) * 512, 952 * 512);
        g_assert_cmphex(mem(&c, DATA_AT(slot))[0], ==, 0); /* what was done is not done again */
    }
    end_box(&c);
    machine_start(b->m);
}

/* Any value in any register, any bytes as commands: the adapter stays whole, and works after it. */
static void test_any(struct box *b, gconstpointer data)
{
    GRand *random = g_rand_new_with_seed(5);

    b->disk->hold = b->disc->hold = false;
    for (unsigned i = 0; i < 20000; i++) {
        unsigned port = (unsigned)g_rand_int_range(random, 0, 3);
        unsigned slot = (unsigned)g_rand_int_range(random, 0, 32);
        uint8_t *at = mem(b, CLB(port) + 32 * slot);

        switch (g_rand_int_range(random, 0, 5)) {
        case 0:
            wr(b, (unsigned)g_rand_int_range(random, 0, 0x140) * 4, g_rand_int(random));
            break;
        case 1:
            start_port(b, port);
            wr(b, 4, 0x80000002);
            break;
        case 2:
            put_command(b, port, slot,
                        &(struct command){.code = (uint8_t)g_rand_int(random),
                                          .feature = (uint16_t)g_rand_int_range(random, 0, 9),
                                          .count =
                                              (uint16_t)(g_rand_boolean(random) ? slot << 3 : 4),
                                          .lba = (uint64_t)g_rand_int_range(random, 0, 9000),
                                          .bytes =
                                              2u * (uint32_t)g_rand_int_range(random, 1, 9000)});
            for (unsigned k = 0; k < 12; k++) {
                mem(b, TABLE(port, slot) + 0x40)[k] = (uint8_t)g_rand_int_range(random, 0, 64);
            }
            pwr(b, port, P_SACT, 1u << slot);
            pwr(b, port, P_CI, 1u << slot);
            break;
        case 3:
            at[g_rand_int_range(random, 0, 16)] = (uint8_t)g_rand_int(random);
            pwr(b, port, P_CI, g_rand_int(random));
            break;
        default:
            g_main_context_iteration(NULL, FALSE);
            break;
        }
    }
    g_rand_free(random);
    settle(b);
    wr(b, 4, 0x80000001);
    settle(b);
    pci_config_write(b->m->pci, DEVFN, 0x04, 0x0007, 2);
    g_assert_cmphex(rd(b, 4), ==, 0x80000000);
    firmware(b);
    queue(b, 0, false, 64, 8);
    settle(b);
    g_assert_cmphex(prd_(b, 0, P_TFD), ==, 0x50);
    g_assert_cmphex(prd_(b, 0, P_SACT), ==, 0);
    assert_sectors(b, 0, 64, 8);
}

/* A hostile stream: refused, or harmless. */
static void test_hostile_state(struct box *b, gconstpointer data)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    GRand *random = g_rand_new_with_seed(3);
    unsigned loaded = 0;

    for (unsigned slot = 0; slot < 4; slot++) {
        queue(b, slot, false, 4096, 4000);
    }
    machine_stop(b->m);
    while (machine_busy(b->m)) {
        fake_block_complete(b->disk, 0);
    }
    g_assert_cmpint(machine_save(b->m, out, NULL), ==, 0);
    for (unsigned i = 0; i < 150; i++) {
        g_autofree uint8_t *copy = g_memdup2(out->data, out->len);
        struct box c;

        build(&c);
        copy[(unsigned)g_rand_int_range(random, 64, (gint)out->len)] ^=
            1u << g_rand_int_range(random, 0, 8);
        if (machine_load(c.m, copy, out->len, NULL) == 0) {
            loaded++;
            machine_start(c.m);
            settle(&c);
            machine_stop(c.m);
        }
        end_box(&c);
    }
    g_test_message("%u of 150 were taken", loaded);
    g_rand_free(random);
    machine_start(b->m);
    settle(b);
    g_assert_cmphex(prd_(b, 0, P_SACT), ==, 0);
}

#define ADD(name, fn) g_test_add("/ahci/" name, struct box, NULL, setup, fn, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("probe", test_probe);
    ADD("identify", test_identify);
    ADD("dma", test_dma);
    ADD("pio-write", test_pio_write);
    ADD("queue", test_queue);
    ADD("queue-error", test_queue_error);
    ADD("errors", test_errors);
    ADD("adapter-reset", test_adapter_reset);
    ADD("port-reset", test_port_reset);
    ADD("atapi", test_atapi);
    ADD("hotplug", test_hotplug);
    ADD("pv-unplug", test_pv_unplug);
    ADD("msi", test_msi);
    ADD("state", test_state);
    ADD("golden", test_golden);
    ADD("hostile-state", test_hostile_state);
    ADD("any", test_any);
    return g_test_run();
}
