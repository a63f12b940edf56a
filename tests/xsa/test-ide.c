/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Advisories about IDE disks and ATAPI drives, each tried on ours: Xen's by XSA number, QEMU's own
 * by CVE or by the number of its ticket. docs/security.md has the table of all. What happened to
 * QEMU is said once, above each test; under the sanitizers an access out of bounds ends the test.
 */
#include <string.h>

#include "../unit/ide-fixture.h"

#define TABLE 0x9000u
#define BUFFER 0x20000u
#define SECTOR 512u
#define STATUS_BSY 0x80u
#define STATUS_DRQ 0x08u
#define STATUS_ERR 0x01u
#define SRST 0x04u

static void setup(struct ide_test *t, gconstpointer data)
{
    ide_test_new(t);
}

static void teardown(struct ide_test *t, gconstpointer data)
{
    fake_block_complete_all(t->disk);
    fake_block_complete_all(t->disc);
    ide_test_free(t);
}

static void packet(struct ide_test *t, const uint8_t *bytes, uint16_t limit)
{
    wr(t, DEVICE, 0xa0);
    wr(t, ERRORS, 0);
    wr(t, LBA_MID, (uint8_t)limit);
    wr(t, LBA_HIGH, (uint8_t)(limit >> 8));
    wr(t, STATUS, 0xa0);
    pio_out(t, bytes, 12, 2);
}

/* The disk still answers, with the right bytes. */
static void assert_alive(struct ide_test *t)
{
    uint8_t sector[SECTOR];

    t->channel = 0;
    control(t, SRST);
    control(t, 0);
    settle(t);
    command28(t, 0x20, 0, 7, 1);
    g_assert_cmphex(settle(t) & (STATUS_DRQ | STATUS_ERR), ==, STATUS_DRQ);
    pio_in(t, sector, sizeof(sector), 2);
    g_assert_cmpmem(sector, sizeof(sector), t->disk->data + 7 * SECTOR, SECTOR);
}

/*
 * XSA-138, CVE-2015-5154: the end of a PIO transfer was not enforced when an ATAPI command ended by
 * another way, and the guest went on over the end of the buffer through the data port.
 */
static void test_138(struct ide_test *t, gconstpointer data)
{
    static const uint8_t inquiry[12] = {0x12, 0, 0, 0, 96},
                         select[12] = {0x55, 0x10, 0, 0, 0, 0, 0, 0, 8};
    static uint8_t buf[70000];

    t->channel = 1;
    packet(t, inquiry, 36);
    settle(t);
    pio_in(t, buf, 2, 2);
    for (unsigned width = 1; width <= 4; width *= 2) {
        memset(buf, 0xee, sizeof(buf));
        pio_in(t, buf, sizeof(buf) & ~3u, width);
        pio_out(t, buf, sizeof(buf) & ~3u, width);
    }
    g_assert_false(alt(t) & STATUS_DRQ);
    packet(t, select, 8);
    settle(t);
    memset(buf, 0xff, sizeof(buf));
    pio_out(t, buf, sizeof(buf) & ~3u, 4);
    settle(t);
    wr(t, STATUS, 0x08);
    pio_in(t, buf, sizeof(buf) & ~3u, 4);
    assert_alive(t);
}

/* XSA-139, CVE-2015-5166: a disk unplugged while it was unplugged already was freed twice. */
static void test_139(struct ide_test *t, gconstpointer data)
{
    t->disk->hold = true;
    command28(t, 0x20, 0, 0, 8);
    for (unsigned i = 0; i < 3; i++) {
        machine_request_unplug(t->m, UNPLUG_DISKS);
    }
    fake_block_complete_all(t->disk);
    machine_request_unplug(t->m, UNPLUG_DISKS | UNPLUG_AUX_DISKS);
    g_assert_cmpuint(t->unplugs, ==, 1);
    g_assert_null(ide_drive_at(t->ide, 0));
    command28(t, 0x20, 0, 0, 1);
    g_assert_false(rd(t, STATUS) & STATUS_DRQ);
}

/* XSA-142, CVE-2015-7311: a disk that the configuration says is read-only could be written. */
static void test_142(struct ide_test *t, gconstpointer data)
{
    g_autofree uint8_t *before = g_memdup2(t->disk->data, t->disk->size);
    static uint8_t ones[8 * SECTOR];
    const struct prd prd[] = {{BUFFER, sizeof(ones)}};

    t->disk->read_only = true;
    memset(ones, 0xff, sizeof(ones));
    command28(t, 0x30, 0, 1, 1);
    settle(t);
    pio_out(t, ones, SECTOR, 2);
    settle(t);
    memset(mem(t, BUFFER), 0xff, sizeof(ones));
    put_table(t, TABLE, prd, 1, true);
    command28(t, 0xca, 0, 2, 8);
    bm_start(t, TABLE, false);
    bm_finish(t);
    g_assert_true(alt(t) & STATUS_ERR);
    g_assert_cmpmem(before, t->disk->size, t->disk->data, t->disk->size);
}

/*
 * CVE-2014-2894: SMART EXECUTE OFFLINE IMMEDIATE indexed a log with what the guest had put into the
 * sector register. SMART is not offered here.
 */
static void test_smart(struct ide_test *t, gconstpointer data)
{
    for (unsigned feature = 0; feature < 256; feature++) {
        for (unsigned n = 0; n < 256; n += 51) {
            wr(t, ERRORS, (uint8_t)feature);
            command28(t, 0xb0, 0, 0xc24f00 | n, (uint8_t)n);
            g_assert_true(settle(t) & STATUS_ERR);
        }
    }
    assert_alive(t);
}

/* CVE-2015-6855: commands of disks, sent to a CD drive, divided by its number of heads, zero. */
static void test_disk_command_to_cd(struct ide_test *t, gconstpointer data)
{
    t->channel = 1;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned code = 0; code < 256; code++) {
            command28(t, (uint8_t)code, 0, 0x123456, 3);
            settle(t);
            wr(t, DEVICE, 0xa0); /* by cylinder and head */
            wr(t, STATUS, (uint8_t)code);
            settle(t);
            wr(t, STATUS, 0x08);
            settle(t);
        }
        block_eject(t->disc);
    }
    assert_alive(t);
}

/* QEMU ticket 2399: a geometry without heads, then a transfer by cylinder and head: division. */
static void test_no_heads(struct ide_test *t, gconstpointer data)
{
    uint8_t sector[SECTOR];

    for (unsigned heads = 0; heads < 16; heads++) {
        for (unsigned sectors = 0; sectors < 3; sectors++) {
            wr(t, DEVICE, (uint8_t)(0xa0 | heads));
            wr(t, COUNT, (uint8_t)sectors);
            wr(t, STATUS, 0x91);
            settle(t);
            wr(t, DEVICE, 0xa0);
            wr(t, COUNT, 2);
            wr(t, LBA_LOW, 1);
            wr(t, LBA_MID, 0);
            wr(t, LBA_HIGH, 0);
            wr(t, STATUS, 0x20);
            settle(t);
            pio_in(t, sector, sizeof(sector), 2);
            control(t, SRST);
            control(t, 0);
            settle(t);
        }
    }
    assert_alive(t);
}

/* CVE-2019-20175, QEMU ticket 57: a descriptor table shorter than a sector: an assertion. */
static void test_short_table(struct ide_test *t, gconstpointer data)
{
    for (unsigned bytes = 2; bytes < 1200; bytes += 94) {
        const struct prd prd[] = {{BUFFER, bytes}};

        put_table(t, TABLE, prd, 1, true);
        for (unsigned code = 0; code < 3; code++) {
            command28(t, code == 0 ? 0xc8 : code == 1 ? 0xca : 0x06, 0, 1, 4);
            bm_start(t, TABLE, code == 0);
            fake_block_complete_all(t->disk);
            bm_wr(t, 0, 0, 1);
            control(t, SRST);
            control(t, 0);
            settle(t);
        }
    }
    assert_alive(t);
}

/*
 * CVE-2020-25743, and QEMU ticket 4052: a reset of the channel while DMA is in flight for a drive
 * whose neighbour has no back end.
 */
static void test_reset_without_neighbour(struct ide_test *t, gconstpointer data)
{
    const struct prd prd[] = {{BUFFER, 4096}};
    struct block *slave = fake_block_new("ide-832", 1 << 20);
    struct device *dev = ide_test_drive(t, &ide_hd_class, "ide-832", slave, 1, 1);

    t->channel = 1;
    slave->hold = t->disc->hold = true;
    block_eject(t->disc);
    put_table(t, TABLE, prd, 1, true);
    for (unsigned i = 0; i < 3; i++) {
        wr(t, ERRORS, 1); /* TRIM */
        command28(t, i == 0 ? 0xc8 : i == 1 ? 0xca : 0x06, 1, 0, 8);
        bm_start(t, TABLE, i == 0);
        control(t, SRST);
        control(t, 0);
        fake_block_complete_all(slave);
        settle(t);
        bm_wr(t, 0, 0, 1);
    }
    wr(t, DEVICE, 0xb0);
    g_assert_false(alt(t) & (STATUS_BSY | STATUS_DRQ | STATUS_ERR));
    machine_stop(t->m);
    device_free(dev);
    fake_block_free(slave);
    machine_start(t->m);
    assert_alive(t);
}

/*
 * CVE-2020-29443: READ CD with a block address of -1 read before the buffer; the transfer after it
 * used an address of before.
 */
static void test_cd_address(struct ide_test *t, gconstpointer data)
{
    static const uint8_t commands[] = {0x28, 0xa8, 0xbe, 0x2b, 0x43, 0xb9};
    static const uint32_t addresses[] = {UINT32_MAX,    INT32_MAX, 0x80000000,
                                         CD_BLOCKS - 1, CD_BLOCKS, 0xfffffff0};
    static uint8_t buf[65536];

    t->channel = 1;
    for (unsigned i = 0; i < sizeof(commands) * G_N_ELEMENTS(addresses); i++) {
        uint32_t at = addresses[i / sizeof(commands)];
        uint8_t bytes[12] = {commands[i % sizeof(commands)],
                             0,
                             (uint8_t)(at >> 24),
                             (uint8_t)(at >> 16),
                             (uint8_t)(at >> 8),
                             (uint8_t)at,
                             0xff,
                             0xff,
                             0xff,
                             0xf8};

        packet(t, bytes, 0xfffe);
        settle(t);
        pio_in(t, buf, sizeof(buf), 4);
        settle(t);
        wr(t, STATUS, 0x08);
        settle(t);
    }
    assert_alive(t);
}

/*
 * CVE-2023-5088: a reset in the middle of a transfer left the request under way, with the registers
 * as the reset had set them: the rest of it went to sector 0, over the boot record.
 */
static void test_reset_overwrites(struct ide_test *t, gconstpointer data)
{
    const struct prd prd[] = {{BUFFER, 32 * SECTOR}, {BUFFER + 32 * SECTOR, 32 * SECTOR}};
    g_autofree uint8_t *before = g_memdup2(t->disk->data, 100 * SECTOR);

    t->disk->hold = true;
    memset(mem(t, BUFFER), 0xff, 64 * SECTOR);
    put_table(t, TABLE, prd, 2, true);
    for (unsigned i = 0; i < 4; i++) {
        command48(t, i & 1 ? 0x35 : 0xca, 0, 1000, 64);
        bm_start(t, TABLE, false);
        if (i & 2) {
            fake_block_complete(t->disk, 0);
        }
        control(t, SRST);
        control(t, 0);
        fake_block_complete_all(t->disk);
        settle(t);
        bm_wr(t, 0, 0, 1);
    }
    g_assert_cmpmem(before, 100 * SECTOR, t->disk->data, 100 * SECTOR);
    assert_alive(t);
}

/*
 * CVE-2021-3750, CVE-2021-3929 and others of that kind: DMA of a device that reaches its own
 * registers, and so itself again in the middle of what it does.
 */
static void test_dma_to_registers(struct ide_test *t, gconstpointer data)
{
    struct device *vga =
        fake_pci_device(t->m, &std_vga_class, PCI_DEVFN(3, 0), "vgamem_mb=1", NULL);
    const struct prd prd[] = {{0xf3000000, 4096}, {0xa0000, 4096}};

    pci_config_write(t->m->pci, PCI_DEVFN(3, 0), 0x18, 0xf3000000, 4);
    pci_config_write(t->m->pci, PCI_DEVFN(3, 0), 0x04, 7, 2);
    for (unsigned i = 0; i < 2; i++) {
        put_table(t, TABLE, prd + i, 1, true);
        command28(t, 0xc8, 0, 0, 8);
        bm_start(t, TABLE, true);
        fake_block_complete_all(t->disk);
        bm_wr(t, 0, 0, 1);
        g_assert_cmphex(aspace_read(t->m->pio, 0x1ce, 2), ==, 0);
        control(t, SRST);
        control(t, 0);
        settle(t);
    }
    bm_start(t, 0xf3000000, true); /* the table itself, too */
    command28(t, 0xc8, 0, 0, 8);
    fake_block_complete_all(t->disk);
    bm_wr(t, 0, 0, 1);
    assert_alive(t);
    machine_stop(t->m);
    device_free(vga);
    machine_start(t->m);
}

#define ADD(name, fn) g_test_add("/xsa/" name, struct ide_test, NULL, setup, fn, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("138-atapi-overflow", test_138);
    ADD("139-unplug-twice", test_139);
    ADD("142-read-only", test_142);
    ADD("cve-2014-2894-smart", test_smart);
    ADD("cve-2015-6855-disk-command-to-cd", test_disk_command_to_cd);
    ADD("qemu-2399-no-heads", test_no_heads);
    ADD("cve-2019-20175-short-table", test_short_table);
    ADD("cve-2020-25743-reset-without-neighbour", test_reset_without_neighbour);
    ADD("cve-2020-29443-cd-address", test_cd_address);
    ADD("cve-2023-5088-reset-overwrites", test_reset_overwrites);
    ADD("cve-2021-3750-dma-to-registers", test_dma_to_registers);
    return g_test_run();
}
