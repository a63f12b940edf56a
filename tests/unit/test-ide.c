/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The IDE channel and the ATA disk by PIO. DMA: test-ide-dma.c; CD: test-atapi.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ide-fixture.h"

static void setup(struct ide_test *t, gconstpointer data)
{
    (void)data;
    ide_test_new(t);
}

static void teardown(struct ide_test *t, gconstpointer data)
{
    (void)data;
    ide_test_free(t);
}

static unsigned word(const uint8_t *buf, unsigned n)
{
    return buf[2 * n] | buf[2 * n + 1] << 8;
}

static void text(const uint8_t *buf, unsigned first, unsigned words, char *out)
{
    for (unsigned i = 0; i < words; i++) {
        out[2 * i] = (char)buf[2 * (first + i) + 1];
        out[2 * i + 1] = (char)buf[2 * (first + i)];
    }
    out[2 * words] = 0;
    g_strchomp(out);
}

static void test_pci(struct ide_test *t, gconstpointer data)
{
    struct pci_bus *pci = t->m->pci;
    unsigned fn = PCI_DEVFN(1, 1);

    (void)data;
    g_assert_cmphex(pci_config_read(pci, fn, 0, 4), ==, 0x70108086);
    g_assert_cmphex(pci_config_read(pci, fn, 8, 4) >> 8, ==, 0x010180);
    g_assert_cmphex(pci_config_read(pci, fn, 0x40, 4), ==, 0x80008000);
    pci_config_write(pci, fn, 0x20, 0xffffffff, 4);
    g_assert_cmphex(pci_config_read(pci, fn, 0x20, 4), ==, 0xfffffff1);
    /* The decode bits switch a channel's ports. */
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    pci_config_write(pci, fn, 0x41, 0, 1);
    g_assert_cmphex(rd(t, STATUS), ==, 0xff);
    g_assert_cmphex(alt(t), ==, 0xff);
    t->channel = 1;
    g_assert_cmphex(rd(t, STATUS), ==, 0x00);
    t->channel = 0;
    pci_config_write(pci, fn, 0x41, 0x80, 1);
    g_assert_cmphex(alt(t), ==, 0x50);
    machine_reset(t->m, RESET_WAKEUP);
    g_assert_cmphex(alt(t), ==, 0x50);
    machine_reset(t->m, RESET_COLD);
    g_assert_cmphex(alt(t), ==, 0xff);
}

static void test_identify(struct ide_test *t, gconstpointer data)
{
    uint8_t buf[512], sum = 0;
    char s[64];

    (void)data;
    wr(t, DEVICE, 0xa0);
    wr(t, STATUS, 0xec);
    g_assert_true(irq_high(t));
    g_assert_cmphex(alt(t), ==, 0x58);
    g_assert_true(irq_high(t));
    g_assert_cmphex(rd(t, STATUS), ==, 0x58);
    g_assert_false(irq_high(t));
    pio_in(t, buf, 512, 2);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    g_assert_false(irq_high(t));
    g_assert_cmphex(word(buf, 0), ==, 0x0040);
    text(buf, 27, 20, s);
    g_assert_cmpstr(s, ==, "XENDM HARDDISK");
    text(buf, 10, 10, s);
    g_assert_cmpstr(s, ==, "XM00001");
    g_assert_cmpuint(word(buf, 1), ==, 8);
    g_assert_cmpuint(word(buf, 3), ==, 16);
    g_assert_cmpuint(word(buf, 6), ==, 63);
    g_assert_cmpuint(word(buf, 60) | word(buf, 61) << 16, ==, DISK_SECTORS);
    g_assert_cmpuint(word(buf, 100) | word(buf, 101) << 16, ==, DISK_SECTORS);
    g_assert_cmphex(word(buf, 59), ==, 0x110);
    g_assert_cmphex(word(buf, 63), ==, 0x0007);
    g_assert_cmphex(word(buf, 88), ==, 0x203f);
    g_assert_cmphex(word(buf, 85) & 0x20, ==, 0x20);
    for (unsigned i = 0; i < 512; i++) {
        sum += buf[i];
    }
    g_assert_cmphex(sum, ==, 0);

    /* Settings show. */
    wr(t, 1, 0x03);
    wr(t, COUNT, 0x22);
    wr(t, STATUS, 0xef);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    wr(t, COUNT, 8);
    wr(t, STATUS, 0xc6);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    wr(t, COUNT, 5);
    wr(t, STATUS, 0xc6);
    g_assert_cmphex(rd(t, STATUS), ==, 0x51);
    g_assert_cmphex(rd(t, ERRORS), ==, 0x04);
    wr(t, STATUS, 0xec);
    pio_in(t, buf, 512, 4);
    g_assert_cmphex(word(buf, 63), ==, 0x0407);
    g_assert_cmphex(word(buf, 88), ==, 0x003f);
    g_assert_cmphex(word(buf, 59), ==, 0x108);
}

static void test_read(struct ide_test *t, gconstpointer data)
{
    bool cached = GPOINTER_TO_INT(data);
    uint8_t buf[512];

    t->disk->cached = cached;
    command28(t, 0x20, 0, 100, 3);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmphex(cached ? alt(t) : settle(t), ==, 0x58);
        g_assert_true(irq_high(t));
        rd(t, STATUS);
        g_assert_false(irq_high(t));
        pio_in(t, buf, 512, i == 1 ? 4 : 2);
        g_assert_cmpmem(buf, 512, t->disk->data + (100 + i) * 512, 512);
    }
    g_assert_cmphex(alt(t), ==, 0x50);
    g_assert_false(irq_high(t));
    g_assert_cmpuint(t->disk->submitted[BLOCK_READ], ==, cached ? 0 : 1);
    g_assert_cmpuint(t->disk->now_reads, ==, cached ? 1 : 0);

    /* By single words, 48 bits, at the very end. */
    command48(t, 0x24, 0, DISK_SECTORS - 1, 1);
    settle(t);
    for (unsigned i = 0; i < 256; i++) {
        uint16_t w = (uint16_t)aspace_read(t->m->pio, 0x1f0, 2);

        memcpy(buf + 2 * i, &w, 2);
    }
    g_assert_cmpmem(buf, 512, t->disk->data + (DISK_SECTORS - 1) * 512, 512);
    /* Nothing more comes, and nothing moves. */
    g_assert_cmphex(aspace_read(t->m->pio, 0x1f0, 2), ==, 0);
    g_assert_cmphex(alt(t), ==, 0x50);
}

static void test_chs(struct ide_test *t, gconstpointer data)
{
    uint8_t buf[512];

    (void)data;
    /* 2/3/4 of 16 heads and 63 sectors. */
    wr(t, DEVICE, 0xa3);
    wr(t, COUNT, 1);
    wr(t, LBA_LOW, 4);
    wr(t, LBA_MID, 2);
    wr(t, LBA_HIGH, 0);
    wr(t, STATUS, 0x20);
    settle(t);
    pio_in(t, buf, 512, 2);
    g_assert_cmpmem(buf, 512, t->disk->data + ((2 * 16 + 3) * 63 + 3) * 512, 512);
    /* Another translation: 4 heads, 32 sectors. */
    wr(t, DEVICE, 0xa3);
    wr(t, COUNT, 32);
    wr(t, STATUS, 0x91);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    wr(t, DEVICE, 0xa3);
    wr(t, COUNT, 1);
    wr(t, STATUS, 0x20);
    settle(t);
    pio_in(t, buf, 512, 2);
    g_assert_cmpmem(buf, 512, t->disk->data + ((2 * 4 + 3) * 32 + 3) * 512, 512);
    /* Sector 0 and head 4 do not exist. */
    wr(t, LBA_LOW, 0);
    wr(t, STATUS, 0x20);
    g_assert_cmphex(rd(t, STATUS), ==, 0x51);
    g_assert_cmphex(rd(t, ERRORS), ==, 0x10);
    wr(t, LBA_LOW, 1);
    wr(t, DEVICE, 0xa4);
    wr(t, STATUS, 0x20);
    g_assert_cmphex(rd(t, ERRORS), ==, 0x10);
}

static void test_multiple(struct ide_test *t, gconstpointer data)
{
    static uint8_t buf[300 * 512];
    unsigned got = 0;

    (void)data;
    /* 300 sectors in blocks of 16, the last with 12; three reads of the image. */
    command48(t, 0x29, 0, 1000, 300);
    while (got < 300) {
        unsigned n = MIN(16u, 300 - got);

        g_assert_cmphex(settle(t), ==, 0x58);
        rd(t, STATUS);
        for (unsigned i = 0; i < n; i++) {
            g_assert_cmphex(alt(t), ==, 0x58);
            g_assert_false(irq_high(t));
            pio_in(t, buf + (got + i) * 512, 512, 4);
        }
        got += n;
    }
    g_assert_cmphex(alt(t), ==, 0x50);
    g_assert_cmpmem(buf, sizeof(buf), t->disk->data + 1000 * 512, sizeof(buf));
    g_assert_cmpstr(t->disk->log->str, ==, "R1000+128 R1128+128 R1256+44 ");

    /* Not after SET MULTIPLE 0. */
    wr(t, COUNT, 0);
    wr(t, STATUS, 0xc6);
    command28(t, 0xc4, 0, 0, 1);
    g_assert_cmphex(rd(t, STATUS), ==, 0x51);
    g_assert_cmphex(rd(t, ERRORS), ==, 0x04);
}

static void write_sectors(struct ide_test *t, uint8_t code, uint32_t lba, unsigned n,
                          unsigned block, const uint8_t *buf)
{
    unsigned sent = 0;

    command28(t, code, 0, lba, (uint8_t)n);
    g_assert_false(irq_high(t));
    while (sent < n) {
        unsigned now = MIN(block, n - sent);

        g_assert_cmphex(settle(t), ==, 0x58);
        g_assert_cmpint(irq_high(t), ==, sent > 0);
        rd(t, STATUS);
        pio_out(t, buf + sent * 512, now * 512, 2);
        sent += now;
    }
    settle(t);
}

static void test_write(struct ide_test *t, gconstpointer data)
{
    static uint8_t buf[200 * 512];

    (void)data;
    for (unsigned i = 0; i < sizeof(buf); i++) {
        buf[i] = (uint8_t)(i * 31 + 5);
    }
    write_sectors(t, 0x30, 7, 3, 1, buf);
    g_assert_true(irq_high(t));
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    g_assert_cmpmem(t->disk->data + 7 * 512, 3 * 512, buf, 3 * 512);
    write_sectors(t, 0xc5, 400, 200, 16, buf);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    g_assert_cmpmem(t->disk->data + 400 * 512, sizeof(buf), buf, sizeof(buf));
    g_assert_cmpstr(t->disk->log->str, ==, "W7+3 W400+128 W528+72 ");

    /* Without the write cache a flush comes before the end. */
    wr(t, 1, 0x82);
    wr(t, STATUS, 0xef);
    settle(t);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    g_string_truncate(t->disk->log, 0);
    t->disk->hold = true;
    command28(t, 0x30, 0, 1, 1);
    pio_out(t, buf, 512, 4);
    g_assert_true(fake_block_complete(t->disk, 0));
    g_assert_cmphex(alt(t), ==, 0xd0);
    g_assert_false(irq_high(t));
    g_assert_true(fake_block_complete(t->disk, 0));
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    g_assert_cmpstr(t->disk->log->str, ==, "W1+1 F ");

    command28(t, 0xe7, 0, 0, 0);
    g_assert_cmphex(alt(t), ==, 0xd0);
    g_assert_true(fake_block_complete(t->disk, 0));
    g_assert_true(irq_high(t));
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);

    /* A read-only image refuses. */
    t->disk->read_only = true;
    command28(t, 0x30, 0, 1, 1);
    g_assert_cmphex(rd(t, STATUS), ==, 0x51);
}

static uint64_t failed_lba48(struct ide_test *t)
{
    uint64_t lba = rd(t, LBA_LOW) | rd(t, LBA_MID) << 8 | rd(t, LBA_HIGH) << 16;

    control(t, 0x80);
    lba |= (uint64_t)rd(t, LBA_LOW) << 24 | (uint64_t)rd(t, LBA_MID) << 32;
    control(t, 0);
    return lba;
}

static void test_errors(struct ide_test *t, gconstpointer data)
{
    uint8_t buf[16 * 512];

    (void)data;
    /* Beyond the end. */
    command28(t, 0x20, 0, DISK_SECTORS - 1, 2);
    g_assert_true(irq_high(t));
    g_assert_cmphex(rd(t, STATUS), ==, 0x51);
    g_assert_cmphex(rd(t, ERRORS), ==, 0x10);
    command48(t, 0x25, 0, UINT64_C(0xffffffffffff), 0);
    g_assert_cmphex(rd(t, STATUS), ==, 0x51);
    g_assert_cmphex(rd(t, ERRORS), ==, 0x10);

    /* The sectors before the bad one are read, and it is named. */
    t->disk->fail[BLOCK_READ] = -EIO;
    t->disk->bad_sector = 2010;
    command48(t, 0x24, 0, 2000, 64);
    for (unsigned i = 0; i < 10; i++) {
        g_assert_cmphex(settle(t), ==, 0x58);
        pio_in(t, buf, 512, 2);
        g_assert_cmpmem(buf, 512, t->disk->data + (2000 + i) * 512, 512);
    }
    g_assert_cmphex(settle(t), ==, 0x51);
    g_assert_cmphex(rd(t, ERRORS), ==, 0x40);
    g_assert_cmpuint(failed_lba48(t), ==, 2010);
    g_assert_cmpuint(t->errors, ==, 1);
    g_assert_cmpstr(t->last_op, ==, "read");
    g_assert_cmpint(t->last_error, ==, -EIO);
    rd(t, STATUS);

    /* READ MULTIPLE keeps to its block size also then: 16 sectors, then the error in the second
     * block. */
    t->disk->bad_sector = 2020;
    command48(t, 0x29, 0, 2000, 64);
    g_assert_cmphex(settle(t), ==, 0x58);
    pio_in(t, buf, 16 * 512, 2);
    g_assert_cmpmem(buf, 16 * 512, t->disk->data + 2000 * 512, 16 * 512);
    g_assert_cmphex(settle(t), ==, 0x51);
    g_assert_cmpuint(failed_lba48(t), ==, 2020);
    rd(t, STATUS);

    /* A full host file. */
    t->disk->fail[BLOCK_WRITE] = -ENOSPC;
    t->disk->bad_sector = 3;
    memset(buf, 0xee, sizeof(buf));
    write_sectors(t, 0x30, 0, 8, 1, buf);
    g_assert_cmphex(rd(t, STATUS), ==, 0x71);
    g_assert_cmphex(rd(t, ERRORS), ==, 0x04);
    g_assert_cmpuint(rd(t, LBA_LOW), ==, 3);
    g_assert_cmpmem(t->disk->data, 3 * 512, buf, 3 * 512);
    g_assert_cmpint(t->last_error, ==, -ENOSPC);
    t->disk->fail[BLOCK_FLUSH] = -EIO;
    command28(t, 0xe7, 0, 0, 0);
    settle(t);
    g_assert_cmphex(rd(t, STATUS), ==, 0x51);
    g_assert_cmpstr(t->last_op, ==, "flush");

    /* Unknown commands, NOP, SMART, DEVICE RESET. */
    static const uint8_t unknown[] = {0x00, 0x08, 0xb0, 0xa1, 0xa0, 0xff, 0xf9, 0xf1};

    for (unsigned i = 0; i < sizeof(unknown); i++) {
        command28(t, unknown[i], 0, 0, 1);
        g_assert_true(irq_high(t));
        g_assert_cmphex(rd(t, STATUS), ==, 0x51);
        g_assert_cmphex(rd(t, ERRORS), ==, 0x04);
    }
}

static void test_plain_commands(struct ide_test *t, gconstpointer data)
{
    static const uint8_t fine[] = {0x10, 0x40, 0x70, 0x91, 0xe1, 0xe3, 0xe0, 0xe6, 0xea, 0x42};

    (void)data;
    for (unsigned i = 0; i < sizeof(fine); i++) {
        command28(t, fine[i], 0, 0, 1);
        settle(t);
        g_assert_true(irq_high(t));
        g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    }
    command28(t, 0xe0, 0, 0, 0);
    settle(t);
    command28(t, 0xe5, 0, 0, 0);
    g_assert_cmphex(rd(t, COUNT), ==, 0x00); /* standby */
    command28(t, 0x40, 0, 0, 1);
    command28(t, 0xe5, 0, 0, 0);
    g_assert_cmphex(rd(t, COUNT), ==, 0xff);
    command28(t, 0xf8, 0, 0, 0);
    g_assert_cmpuint(rd(t, LBA_LOW) | rd(t, LBA_MID) << 8, ==, DISK_SECTORS - 1);
    command48(t, 0x27, 0, 0, 0);
    g_assert_cmpuint(failed_lba48(t), ==, DISK_SECTORS - 1);
}

static void test_selection(struct ide_test *t, gconstpointer data)
{
    struct block *second = fake_block_new("ide-832", 1 << 20);
    uint8_t buf[512];

    (void)data;
    /* Drive 1 is absent: drive 0 answers, with a status of 0. */
    wr(t, DEVICE, 0xb0);
    g_assert_cmphex(rd(t, STATUS), ==, 0);
    g_assert_cmphex(alt(t), ==, 0);
    wr(t, STATUS, 0xec);
    g_assert_false(irq_high(t));
    /* An ATAPI drive 0 shows zeros. */
    t->channel = 1;
    wr(t, DEVICE, 0xb0);
    wr(t, COUNT, 0x55);
    g_assert_cmphex(rd(t, COUNT), ==, 0);
    g_assert_cmphex(rd(t, LBA_MID), ==, 0);
    t->channel = 0;

    ide_test_drive(t, &ide_hd_class, "ide-832", second, 0, 1);
    ide_test_reset(t);
    wr(t, DEVICE, 0xb0);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    /* Both take register writes. */
    wr(t, COUNT, 0x77);
    wr(t, DEVICE, 0xa0);
    g_assert_cmphex(rd(t, COUNT), ==, 0x77);
    /* An interrupt belongs to its drive. */
    wr(t, STATUS, 0xe5);
    g_assert_true(irq_high(t));
    wr(t, DEVICE, 0xb0);
    g_assert_false(irq_high(t));
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    wr(t, DEVICE, 0xa0);
    g_assert_true(irq_high(t));
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    /* While data waits, the registers are the command's. */
    wr(t, STATUS, 0xec);
    wr(t, COUNT, 0x12);
    wr(t, DEVICE, 0xb0);
    g_assert_cmphex(rd(t, COUNT), !=, 0x12);
    g_assert_cmphex(rd(t, DEVICE), ==, 0xa0);
    pio_in(t, buf, 512, 2);
    /* nIEN holds it back, but does not lose it. */
    control(t, 0x02);
    g_assert_false(irq_high(t));
    control(t, 0x00);
    g_assert_true(irq_high(t));
    rd(t, STATUS);
    command28(t, 0x20, 1, 5, 1);
    while (fake_block_complete(second, 0)) {
    }
    pio_in(t, buf, 512, 2);
    g_assert_cmpmem(buf, 512, second->data + 5 * 512, 512);
    g_assert_null(device_new(t->m, &ide_hd_class, "ide-832", NULL));

    /* The same place twice. */
    {
        GError *err = NULL;
        struct device *dev = device_new(t->m, &ide_hd_class, "again", NULL);
        struct block *third = fake_block_new("third", 512);

        device_set_backend(dev, "drive", block_backend(third));
        g_assert_cmpint(ide_test_plug(dev, "ide.0", &err), ==, -EBUSY);
        g_assert_nonnull(strstr(err->message, "ide-768"));
        g_clear_error(&err);
        device_free(dev);
        fake_block_free(third);
    }
    device_free(machine_find(t->m, "ide-832"));
    fake_block_free(second);
}

static void test_resets(struct ide_test *t, gconstpointer data)
{
    uint8_t buf[512];

    (void)data;
    t->disk->hold = true;
    /* In the middle of a read: the drive forgets it, and is busy until it is back. */
    command28(t, 0x20, 0, 0, 8);
    g_assert_cmphex(alt(t), ==, 0xd0);
    control(t, 0x04);
    g_assert_cmphex(alt(t), ==, 0x80);
    g_assert_cmpuint(t->disk->cancels, ==, 1);
    control(t, 0x00);
    g_assert_cmphex(alt(t), ==, 0x80);
    wr(t, STATUS, 0xec); /* ignored */
    control(t, 0x04);    /* again */
    control(t, 0x00);
    g_assert_cmpuint(block_in_flight(t->disk), ==, 1);
    g_assert_cmpuint(t->disk->cancels, ==, 1);
    g_assert_true(machine_busy(t->m));
    g_assert_true(fake_block_complete(t->disk, 0));
    g_assert_false(machine_busy(t->m));
    /* It comes back while the reset still lasts. */
    command28(t, 0x20, 0, 0, 8);
    control(t, 0x04);
    g_assert_true(fake_block_complete(t->disk, 0));
    g_assert_cmphex(alt(t), ==, 0x80);
    control(t, 0x00);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    g_assert_cmphex(rd(t, ERRORS), ==, 0x01);
    g_assert_cmphex(rd(t, COUNT), ==, 0x01);
    g_assert_cmphex(rd(t, LBA_LOW), ==, 0x01);
    g_assert_cmphex(rd(t, LBA_MID), ==, 0x00);
    g_assert_cmphex(rd(t, LBA_HIGH), ==, 0x00);
    g_assert_false(irq_high(t));
    t->channel = 1;
    control(t, 0x04);
    control(t, 0x00);
    g_assert_cmphex(rd(t, STATUS), ==, 0x00);
    g_assert_cmphex(rd(t, LBA_MID), ==, 0x14);
    g_assert_cmphex(rd(t, LBA_HIGH), ==, 0xeb);
    wr(t, STATUS, 0x90);
    g_assert_true(irq_high(t));
    g_assert_cmphex(rd(t, ERRORS), ==, 0x01);
    g_assert_cmphex(rd(t, LBA_HIGH), ==, 0xeb);
    t->channel = 0;

    /* In the middle of a DRQ block, and of a write. */
    t->disk->hold = false;
    command28(t, 0x20, 0, 0, 8);
    settle(t);
    pio_in(t, buf, 100, 2);
    control(t, 0x04);
    control(t, 0x00);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    command28(t, 0x30, 0, 0, 2);
    pio_out(t, buf, 512, 2);
    pio_out(t, buf, 100, 2);
    ide_test_reset(t);
    g_assert_cmpuint(t->disk->submitted[BLOCK_WRITE], ==, 0);
    command28(t, 0x20, 0, 9, 1);
    settle(t);
    pio_in(t, buf, 512, 2);
    g_assert_cmpmem(buf, 512, t->disk->data + 9 * 512, 512);

    /* A command while one is in progress is ignored. */
    command28(t, 0x20, 0, 10, 1);
    settle(t);
    wr(t, STATUS, 0xec);
    pio_in(t, buf, 512, 2);
    g_assert_cmpmem(buf, 512, t->disk->data + 10 * 512, 512);
}

/*
 * A disk whose partition table was written under some geometry, MiB long: what IDENTIFY says of it.
 */
static void test_geometry(struct ide_test *t, gconstpointer data)
{
    static const struct {
        unsigned mib, heads, sectors; /* of the partition's end */
        unsigned words[3];
    } disks[] = {
        {64, 16, 63, {130, 16, 63}},  {64, 16, 32, {256, 16, 32}}, {64, 15, 17, {514, 15, 17}},
        {64, 255, 63, {130, 16, 63}}, {64, 4, 17, {1927, 4, 17}},  {64, 1, 17, {130, 16, 63}},
        {64, 16, 0, {130, 16, 63}},   {1, 16, 63, {2, 16, 63}},    {0, 16, 32, {8, 16, 63}},
    };
    uint8_t id[512];

    (void)data;
    for (unsigned i = 0; i < G_N_ELEMENTS(disks); i++) {
        struct block *b = fake_block_new("ide-832", MAX(disks[i].mib, 4) << 20);
        struct device *dev;

        memset(b->data, 0, 512);
        b->data[446 + 5] = (uint8_t)(disks[i].heads - 1);
        b->data[446 + 6] = (uint8_t)(disks[i].sectors | 0x40);
        b->data[446 + 12] = 1;
        b->data[510] = disks[i].mib ? 0x55 : 0; /* no table */
        b->data[511] = 0xaa;
        if (disks[i].mib < 4) {
            b->size = disks[i].mib ? 2 * 16 * 63 * 512 : b->size;
        }
        dev = ide_test_drive(t, &ide_hd_class, "ide-832", b, 0, 1);
        ide_test_firmware(t);
        command28(t, 0xec, 1, 0, 0);
        g_assert_cmphex(settle(t), ==, 0x58);
        pio_in(t, id, sizeof(id), 2);
        g_assert_cmpuint(id[2] | id[3] << 8, ==, disks[i].words[0]);
        g_assert_cmpuint(id[6] | id[7] << 8, ==, disks[i].words[1]);
        g_assert_cmpuint(id[12] | id[13] << 8, ==, disks[i].words[2]);
        g_assert_cmpuint(id[108] | id[109] << 8, ==, disks[i].words[0]); /* the current one */
        device_free(dev);
        fake_block_free(b);
    }
}

/*
 * The first sector takes its time: the drive is busy until it is there, and then as after a reset.
 */
static void test_slow_start(struct ide_test *t, gconstpointer data)
{
    (void)data;
    ide_test_free(t);
    ide_test_build(t);
    t->disk->hold = true;
    machine_start(t->m);
    ide_test_firmware(t);
    g_assert_cmphex(alt(t), ==, 0x80);
    wr(t, STATUS, 0xec);
    control(t, 4);
    control(t, 0);
    g_assert_cmphex(alt(t), ==, 0x80);
    g_assert_cmpstr(t->disk->log->str, ==, "R0+1 ");
    g_assert_true(fake_block_complete(t->disk, 0));
    g_assert_cmphex(alt(t), ==, 0x50);
    g_assert_cmphex(rd(t, ERRORS), ==, 1);
    machine_stop(t->m);
    machine_start(t->m);
    g_assert_cmpuint(t->disk->submitted[BLOCK_READ], ==, 1); /* once */
}

static void test_unplug(struct ide_test *t, gconstpointer data)
{
    bool aux = GPOINTER_TO_INT(data);
    struct block *second = fake_block_new("ide-832", 1 << 20);

    ide_test_drive(t, &ide_hd_class, "ide-832", second, 0, 1);
    ide_test_reset(t);
    t->disk->hold = true;
    command28(t, 0x20, 0, 0, 8);
    second->hold = true;
    machine_request_unplug(t->m, aux ? UNPLUG_AUX_DISKS : UNPLUG_DISKS);
    /* Gone for the guest, whose vCPU waits until the image is flushed and closed. */
    g_assert_null(ide_drive_at(t->ide, 1));
    g_assert_true(machine_busy(t->m));
    g_assert_true(second->present);
    g_assert_cmpuint(t->unplugs, ==, 0);
    g_assert_nonnull(t->m->holds.by_this);
    g_assert_cmpuint(t->m->holds.held, ==, 1);
    fake_block_complete_all(second);
    if (!aux) {
        g_assert_cmpuint(t->m->holds.held, ==, 1); /* the other's read */
        fake_block_complete_all(t->disk);
    }
    g_assert_cmpuint(t->m->holds.held, ==, 0);
    g_assert_cmpuint(t->unplugs, ==, aux ? 1 : 2);
    g_assert_true(ide_drive_unplugged(machine_find(t->m, "ide-832")));
    g_assert_false(second->present); /* the host's file is closed */
    g_assert_nonnull(strchr(second->log->str, 'F'));
    g_assert_cmpint(ide_drive_at(t->ide, 0) != NULL, ==, aux);
    g_assert_null(ide_drive_at(t->ide, 1));
    g_assert_cmpint(t->disk->present, ==, aux);
    if (aux) {
        settle(t);
        g_assert_cmphex(rd(t, STATUS), ==, 0x58);
    } else {
        g_assert_cmpuint(block_in_flight(t->disk), ==, 0);
        g_assert_cmphex(rd(t, STATUS), ==, 0);
        wr(t, COUNT, 0x55);
        g_assert_cmphex(rd(t, COUNT), ==, 0);
        ide_test_reset(t);
        g_assert_cmphex(rd(t, STATUS), ==, 0);
    }
    /* The CD stays. */
    g_assert_true(ide_drive_at(t->ide, 2) == t->cd);
    t->channel = 1;
    wr(t, DEVICE, 0xa0);
    g_assert_cmphex(rd(t, LBA_MID), ==, 0x14);
    device_free(machine_find(t->m, "ide-832"));
    fake_block_free(second);
}

/* Saved in every stage of a PIO transfer, loaded elsewhere, and gone on with there. */
static void test_state(struct ide_test *t, gconstpointer data)
{
    struct ide_test other;
    uint8_t buf[8 * 512], got[8 * 512];

    (void)data;
    ide_test_new(&other);
    fake_state_round_trip(t->hd, other.hd);

    command48(t, 0x24, 0, 40, 8);
    settle(t);
    pio_in(t, got, 3 * 512 + 100, 2);
    fake_state_round_trip(t->hd, other.hd);
    fake_state_round_trip(t->ide, other.ide);
    g_assert_cmphex(alt(&other), ==, 0x58);
    pio_in(&other, got + 3 * 512 + 100, 5 * 512 - 100, 2);
    g_assert_cmpmem(got, sizeof(got), t->disk->data + 40 * 512, sizeof(got));
    g_assert_cmphex(alt(&other), ==, 0x50);
    pio_in(t, got, 5 * 512 - 100, 2);

    memset(buf, 0x5c, sizeof(buf));
    command28(t, 0x30, 0, 80, 8);
    pio_out(t, buf, 2 * 512 + 6, 2);
    fake_state_round_trip(t->hd, other.hd);
    pio_out(&other, buf, 6 * 512 - 6, 2);
    settle(&other);
    g_assert_cmpmem(other.disk->data + 80 * 512, sizeof(buf), buf, sizeof(buf));
    ide_test_free(&other);
}

/* Quiesced between the guest's last word and the write: the write is saved, not lost. */
static void test_quiesce(struct ide_test *t, gconstpointer data)
{
    struct ide_test other;
    uint8_t buf[512];

    (void)data;
    memset(buf, 0xa7, sizeof(buf));
    t->disk->hold = true;
    command48(t, 0x24, 0, 0, 200); /* two chunks */
    machine_stop(t->m);
    g_assert_true(machine_busy(t->m));
    fake_block_complete_all(t->disk);
    g_assert_false(machine_busy(t->m));
    g_assert_cmphex(alt(t), ==, 0x58);
    /* A busy write. */
    machine_start(t->m);
    control(t, 4);
    control(t, 0);
    command28(t, 0x30, 0, 3, 1);
    t->hd->class->quiesce(t->hd);
    pio_out(t, buf, 512, 2);
    g_assert_cmphex(alt(t), ==, 0xd0);
    g_assert_cmpuint(block_in_flight(t->disk), ==, 0);
    ide_test_new(&other);
    other.hd->class->quiesce(other.hd);
    fake_state_round_trip(t->hd, other.hd);
    other.hd->class->resume(other.hd);
    g_assert_cmphex(settle(&other), ==, 0x50);
    g_assert_cmpmem(other.disk->data + 3 * 512, 512, buf, 512);
    ide_test_free(&other);
    t->hd->class->resume(t->hd);
    settle(t);
}

/* Whatever the guest writes where: nothing breaks, and the drives work afterwards. */
static void test_fuzz(struct ide_test *t, gconstpointer data)
{
    static const uint8_t codes[] = {0xec, 0x20, 0x24, 0x29, 0x30, 0x34, 0x39, 0xc4, 0xc5,
                                    0xc6, 0xc8, 0x25, 0x35, 0xca, 0xa0, 0xa1, 0xe7, 0xef,
                                    0x06, 0x90, 0x91, 0x08, 0x70, 0x40, 0xe5};
    struct block *third = fake_block_new("ide-832", 1 << 20);
    GRand *r = g_rand_new_with_seed(20260101);
    struct block *blocks[3] = {t->disk, t->disc, third};
    static uint8_t junk[4096], buf[512];

    (void)data;
    ide_test_drive(t, &ide_hd_class, "ide-832", third, 0, 1);
    ide_test_reset(t);
    for (unsigned i = 0; i < sizeof(junk); i++) {
        junk[i] = (uint8_t)g_rand_int(r);
    }
    t->disk->fail[BLOCK_READ] = -EIO;
    t->disk->bad_sector = 77;
    /* A table with everything in it, also descriptors onto nothing and onto the table itself. */
    for (unsigned i = 0; i < 64; i++) {
        struct prd p = {g_rand_int(r) & 0x01ffffff, g_rand_int(r) & 0xfff};

        put_table(t, 0x10000 + 8 * i, &p, 1, g_rand_int_range(r, 0, 16) == 0);
    }
    for (unsigned i = 0; i < 200000; i++) {
        uint32_t x = g_rand_int(r);

        t->channel = x & 1;
        t->disk->cached = x & 2;
        switch (x >> 4 & 15) {
        case 0 ... 2:
            wr(t, x >> 8 & 7, x >> 16);
            break;
        case 3:
            wr(t, COUNT + (x >> 8) % 4, (x >> 16) & 3);
            break;
        case 4 ... 5:
            wr(t, STATUS, codes[(x >> 8) % sizeof(codes)]);
            break;
        case 6:
            pio_in(t, junk, (x >> 8) & 0xffc, x & 0x100000 ? 4 : 2);
            break;
        case 7:
            pio_out(t, junk, (x >> 8) & 0xffc, x & 0x100000 ? 4 : 2);
            break;
        case 8:
            aspace_write(t->m->pio, 0x1f0 - (t->channel << 7) + (x >> 8 & 7), g_rand_int(r),
                         1u << (x >> 20 & 3));
            break;
        case 9:
            aspace_read(t->m->pio, 0x1f0 - (t->channel << 7) + (x >> 8 & 7), 1u << (x >> 20 & 3));
            break;
        case 10:
            bm_wr(t, x >> 8 & 7, x & 0x10000 ? 0x10000 + (x >> 20 & 63) * 8 : g_rand_int(r),
                  1u << (x >> 12 & 3));
            break;
        case 11:
            bm_wr(t, 4, 0x10000 + (x >> 20 & 63) * 8, 4);
            bm_wr(t, 0, x >> 8 & 1, 1);
            break;
        case 12:
            if ((x >> 8 & 31) == 0) {
                control(t, x >> 16);
            } else {
                rd(t, x >> 8 & 7);
            }
            break;
        case 13 ... 14:
            fake_block_complete(blocks[(x >> 8) % 3], 0);
            break;
        case 15:
            if ((x >> 8 & 255) == 0) {
                machine_stop(t->m);
                for (unsigned b = 0; b < 3; b++) {
                    fake_block_complete_all(blocks[b]);
                }
                g_assert_false(machine_busy(t->m));
                g_assert_cmpuint(fake_guestmem_pinned(t->m->memory), ==, 0);
                machine_start(t->m);
            } else if ((x >> 8 & 255) == 1) {
                block_eject(t->disc);
            } else if ((x >> 8 & 255) == 2) {
                if (!t->disc->present) {
                    block_insert(t->disc, NULL, NULL, NULL);
                }
            }
            break;
        }
    }
    t->disk->fail[BLOCK_READ] = 0;
    t->disk->cached = false;
    t->channel = 0;
    control(t, 4);
    control(t, 0);
    bm_wr(t, 0, 0, 1);
    command28(t, 0x20, 0, 77, 1);
    g_assert_cmphex(settle(t), ==, 0x58);
    pio_in(t, buf, 512, 2);
    g_assert_cmpmem(buf, 512, t->disk->data + 77 * 512, 512);
    g_assert_cmpuint(fake_guestmem_pinned(t->m->memory), ==, 0);
    device_free(machine_find(t->m, "ide-832"));
    fake_block_free(third);
    g_rand_free(r);
}

#define ADD(name, data, fn) g_test_add("/ide/" name, struct ide_test, data, setup, fn, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("pci", NULL, test_pci);
    ADD("identify", NULL, test_identify);
    ADD("read/waiting", GINT_TO_POINTER(0), test_read);
    ADD("read/cached", GINT_TO_POINTER(1), test_read);
    ADD("chs", NULL, test_chs);
    ADD("multiple", NULL, test_multiple);
    ADD("write", NULL, test_write);
    ADD("errors", NULL, test_errors);
    ADD("plain-commands", NULL, test_plain_commands);
    ADD("selection", NULL, test_selection);
    ADD("resets", NULL, test_resets);
    ADD("geometry", NULL, test_geometry);
    ADD("slow-start", NULL, test_slow_start);
    ADD("unplug/all", GINT_TO_POINTER(0), test_unplug);
    ADD("unplug/aux", GINT_TO_POINTER(1), test_unplug);
    ADD("state", NULL, test_state);
    ADD("quiesce", NULL, test_quiesce);
    ADD("fuzz", NULL, test_fuzz);
    return g_test_run();
}
