/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bus-master transfers of the ATA disk: tables good and bad, stopping, errors, saved state. */
#include <errno.h>
#include <string.h>

#include "ide-fixture.h"

#define TABLE 0x8000u
#define BUFFER 0x100000u

static void setup(struct ide_test *t, gconstpointer data)
{
    (void)data;
    ide_test_new(t);
}

static void teardown(struct ide_test *t, gconstpointer data)
{
    (void)data;
    g_assert_cmpuint(fake_guestmem_pinned(t->m->memory), ==, 0);
    ide_test_free(t);
}

static void same(struct ide_test *t, uint64_t gpa, uint64_t lba, unsigned sectors)
{
    g_assert_cmpmem(mem(t, gpa), sectors * 512, t->disk->data + lba * 512, sectors * 512);
}

static void test_registers(struct ide_test *t, gconstpointer data)
{
    (void)data;
    bm_wr(t, 4, 0x12345677, 4);
    g_assert_cmphex(bm_rd(t, 4, 4), ==, 0x12345674);
    bm_wr(t, 5, 0xab, 1);
    g_assert_cmphex(bm_rd(t, 4, 4), ==, 0x1234ab74);
    bm_wr(t, 6, 0xcdef, 2);
    g_assert_cmphex(bm_rd(t, 4, 4), ==, 0xcdefab74);
    bm_wr(t, 2, 0xff, 1);
    g_assert_cmphex(bm_rd(t, 2, 1), ==, 0x60);
    bm_wr(t, 0, 0xff, 1);
    g_assert_cmphex(bm_rd(t, 0, 1), ==, 0x09);
    g_assert_cmphex(bm_rd(t, 2, 1), ==, 0x61);
    bm_wr(t, 0, 0, 1);
    g_assert_cmphex(bm_rd(t, 2, 1), ==, 0x60);
    t->channel = 1;
    g_assert_cmphex(bm_rd(t, 2, 1), ==, 0);
}

static void test_read_write(struct ide_test *t, gconstpointer data)
{
    const struct prd one = {BUFFER, 8 * 512};
    uint8_t *p = mem(t, BUFFER);

    (void)data;
    put_table(t, TABLE, &one, 1, true);
    command28(t, 0xc8, 0, 50, 8);
    g_assert_cmphex(alt(t), ==, 0x58); /* waits for the engine */
    bm_start(t, TABLE, true);
    g_assert_cmphex(bm_rd(t, 2, 1), ==, 0x61);
    g_assert_cmphex(alt(t), ==, 0xd0);
    g_assert_cmphex(bm_finish(t), ==, 0x64);
    g_assert_true(irq_high(t));
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    same(t, BUFFER, 50, 8);
    g_assert_cmpstr(t->disk->log->str, ==, "R50+8 ");
    g_assert_cmpuint(fake_guestmem_dirty_bytes(t->m->memory), ==, 8 * 512);

    /* The engine first, the command after; a write; 48 bits. */
    for (unsigned i = 0; i < 8 * 512; i++) {
        p[i] = (uint8_t)(i * 3 + 1);
    }
    bm_start(t, TABLE, false);
    command48(t, 0x35, 0, 900, 8);
    g_assert_cmphex(bm_finish(t), ==, 0x64);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    same(t, BUFFER, 900, 8);
    g_assert_cmpuint(fake_guestmem_dirty_bytes(t->m->memory), ==, 8 * 512);

    /* nIEN keeps line and status bit down. */
    control(t, 2);
    bm_start(t, TABLE, true);
    command28(t, 0xc8, 0, 0, 8);
    settle(t);
    g_assert_false(irq_high(t));
    g_assert_cmphex(bm_rd(t, 2, 1), ==, 0x60);
}

static void test_scattered(struct ide_test *t, gconstpointer data)
{
    /* Odd pieces of even length, out of order, over a page, beside a whole 64 KiB. */
    static const struct prd list[] = {
        {0x201ffe, 6}, {0x300003, 1022}, {0x210000, 0}, {0x250000, 508}, {0x260000, 512}};
    static uint8_t got[65536 + 2048];
    size_t at = 0;

    (void)data;
    put_table(t, TABLE, list, G_N_ELEMENTS(list), true);
    bm_start(t, TABLE, true);
    command48(t, 0x25, 0, 33, 132);
    g_assert_cmphex(bm_finish(t), ==, 0x64);
    for (unsigned i = 0; i < G_N_ELEMENTS(list); i++) {
        size_t n = list[i].bytes ? list[i].bytes : 65536;

        memcpy(got + at, mem(t, list[i].address & ~1u), n);
        at += n;
    }
    g_assert_cmpuint(at, ==, sizeof(got));
    g_assert_cmpmem(got, sizeof(got), t->disk->data + 33 * 512, sizeof(got));

    /* Two bytes a descriptor: 4 sectors are 1024 of them. */
    for (unsigned i = 0; i < 1024; i++) {
        struct prd p = {BUFFER + 4 * i, 2};

        put_table(t, TABLE + 8 * i, &p, 1, i == 1023);
    }
    bm_start(t, TABLE, true);
    command28(t, 0xc8, 0, 5, 4);
    g_assert_cmphex(bm_finish(t), ==, 0x64);
    for (unsigned i = 0; i < 1024; i++) {
        g_assert_cmpmem(mem(t, BUFFER + 4 * i), 2, t->disk->data + 5 * 512 + 2 * i, 2);
    }
}

static void test_large(struct ide_test *t, gconstpointer data)
{
    struct prd p;

    (void)data;
    /* 4 MiB in 64 KiB pieces; no request is longer than a chunk. */
    for (unsigned i = 0; i < 64; i++) {
        p = (struct prd){BUFFER + i * 65536, 0};
        put_table(t, TABLE + 8 * i, &p, 1, i == 63);
    }
    bm_start(t, TABLE, true);
    command48(t, 0x25, 0, 0, 8192);
    g_assert_cmphex(bm_finish(t), ==, 0x64);
    same(t, BUFFER, 0, 8192);
    g_assert_cmpuint(t->disk->largest, <=, 1 << 20);
}

static void test_table_length(struct ide_test *t, gconstpointer data)
{
    static const struct prd list[] = {{BUFFER, 1024}, {BUFFER + 0x1000, 1024}};

    (void)data;
    /* Longer than the transfer: interrupt, still active. */
    put_table(t, TABLE, list, 2, true);
    bm_start(t, TABLE, true);
    command28(t, 0xc8, 0, 1, 3);
    g_assert_cmphex(bm_finish(t), ==, 0x65);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    same(t, BUFFER, 1, 2);
    same(t, BUFFER + 0x1000, 3, 1);

    /* Shorter: no interrupt, not active; a new table lets it go on. */
    bm_start(t, TABLE, true);
    command28(t, 0xc8, 0, 100, 6);
    g_assert_cmphex(settle(t), ==, 0x58);
    g_assert_false(irq_high(t));
    g_assert_cmphex(bm_rd(t, 2, 1), ==, 0x60);
    same(t, BUFFER + 0x1000, 102, 2);
    bm_wr(t, 0, 0, 1);
    bm_start(t, TABLE, true);
    g_assert_cmphex(bm_finish(t), ==, 0x65);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    same(t, BUFFER, 104, 2);

    /* Or a reset ends it. */
    bm_start(t, TABLE, true);
    command28(t, 0xc8, 0, 100, 6);
    settle(t);
    control(t, 4);
    control(t, 0);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
}

static void test_no_end(struct ide_test *t, gconstpointer data)
{
    (void)data;
    /* A table without an end wraps in its 64 KiB, and stops after one round. */
    for (unsigned i = 0; i < 8192; i++) {
        struct prd p = {BUFFER + (i % 1024) * 2, 2};

        put_table(t, 0x20000 + 8 * i, &p, 1, false);
    }
    bm_start(t, 0x28000, true);
    command48(t, 0x25, 0, 0, 64);
    g_assert_cmphex(settle(t), ==, 0x58);
    g_assert_cmphex(bm_rd(t, 2, 1), ==, 0x60);
    g_assert_false(irq_high(t));
}

static void test_bad_memory(struct ide_test *t, gconstpointer data)
{
    static const struct prd lists[][2] = {
        {{BUFFER, 512}, {0xf0000000, 512}},  /* no memory there */
        {{BUFFER, 512}, {0x00600000, 512}},  /* ballooned out */
        {{BUFFER, 512}, {0xfffffe00, 1024}}, /* at the end of the address space */
    };

    (void)data;
    fake_guestmem_hole(t->m->memory, 0x00600000, 0x1000);
    for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++) {
        put_table(t, TABLE, lists[i], 2, true);
        bm_start(t, TABLE, true);
        command28(t, 0xc8, 0, 10, 2);
        settle(t);
        g_assert_true(irq_high(t));
        g_assert_cmphex(bm_finish(t), ==, 0x66);
        g_assert_cmphex(rd(t, STATUS), ==, 0x51);
        same(t, BUFFER, 10, 1);
    }
    /* The table itself is nowhere. */
    bm_start(t, 0xe0000000, true);
    command28(t, 0xc8, 0, 10, 2);
    g_assert_cmphex(bm_finish(t), ==, 0x66);
    g_assert_cmphex(rd(t, STATUS), ==, 0x51);
    /* The function may not. */
    put_table(t, TABLE, lists[0], 1, true);
    pci_config_write(t->m->pci, PCI_DEVFN(1, 1), 0x04, 0x0001, 2);
    bm_start(t, TABLE, true);
    command28(t, 0xc8, 0, 10, 1);
    g_assert_cmphex(bm_finish(t), ==, 0x66);
    g_assert_cmphex(rd(t, STATUS), ==, 0x51);
    pci_config_write(t->m->pci, PCI_DEVFN(1, 1), 0x04, 0x0005, 2);
    bm_start(t, TABLE, true);
    command28(t, 0xc8, 0, 10, 1);
    g_assert_cmphex(bm_finish(t), ==, 0x64);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
}

static void test_stop(struct ide_test *t, gconstpointer data)
{
    const struct prd one = {BUFFER, 8 * 512};
    uint8_t zeros[8 * 512] = {0};

    (void)data;
    put_table(t, TABLE, &one, 1, true);
    t->disk->hold = true;
    /* Stopped with a request in flight: engine and drive say that memory is not the guest's yet. */
    bm_start(t, TABLE, true);
    command28(t, 0xc8, 0, 50, 8);
    g_assert_cmpuint(block_in_flight(t->disk), ==, 1);
    g_assert_cmpuint(fake_guestmem_pinned(t->m->memory), >, 0);
    bm_wr(t, 0, 0, 1);
    g_assert_cmpuint(t->disk->cancels, ==, 1);
    g_assert_cmphex(bm_rd(t, 2, 1) & 1, ==, 1);
    g_assert_cmphex(alt(t), ==, 0xd0);
    fake_block_complete_all(t->disk);
    g_assert_cmpuint(block_in_flight(t->disk), ==, 0);
    g_assert_cmpuint(fake_guestmem_pinned(t->m->memory), ==, 0);
    g_assert_cmphex(bm_rd(t, 2, 1) & 1, ==, 0);
    control(t, 4);
    control(t, 0);

    /* Called back in time: nothing was moved, and a start does it all. */
    t->disk->cancel_works = true;
    memset(mem(t, BUFFER), 0, sizeof(zeros));
    for (unsigned i = 0; i < 2; i++) {
        bm_start(t, TABLE, true);
        command28(t, 0xc8, 0, 50, 8);
        if (i == 0) {
            bm_wr(t, 0, 0, 1);
        } else {
            /* No bus master any more: the function's command register. */
            pci_config_write(t->m->pci, PCI_DEVFN(1, 1), 0x04, 0x0001, 2);
        }
        fake_block_complete_all(t->disk);
        g_assert_cmpmem(mem(t, BUFFER), sizeof(zeros), zeros, sizeof(zeros));
        if (i == 0) {
            g_assert_cmphex(alt(t), ==, 0x58);
            bm_start(t, TABLE, true);
            fake_block_complete_all(t->disk);
            same(t, BUFFER, 50, 8);
            g_assert_cmphex(rd(t, STATUS), ==, 0x50);
            memset(mem(t, BUFFER), 0, sizeof(zeros));
        } else {
            g_assert_cmphex(rd(t, STATUS), ==, 0x51);
            g_assert_cmphex(bm_rd(t, 2, 1) & 3, ==, 2);
            pci_config_write(t->m->pci, PCI_DEVFN(1, 1), 0x04, 0x0005, 2);
        }
        bm_wr(t, 0, 0, 1);
    }
    t->disk->cancel_works = false;
    bm_wr(t, 2, 6, 1);

    /* A soft reset, and a machine reset, likewise. */
    for (unsigned i = 0; i < 2; i++) {
        bm_start(t, TABLE, true);
        command28(t, 0xc8, 0, 50, 8);
        g_assert_cmpuint(block_in_flight(t->disk), ==, 1);
        if (i) {
            ide_test_reset(t);
        } else {
            control(t, 4);
            control(t, 0);
        }
        g_assert_cmphex(alt(t), ==, 0x80);
        g_assert_cmpuint(fake_guestmem_pinned(t->m->memory), >, 0);
        fake_block_complete_all(t->disk);
        g_assert_cmphex(alt(t), ==, 0x50);
        g_assert_cmpuint(fake_guestmem_pinned(t->m->memory), ==, 0);
        bm_wr(t, 0, 0, 1);
    }
}

static void test_media_error(struct ide_test *t, gconstpointer data)
{
    const struct prd list[] = {{BUFFER, 1000}, {BUFFER + 0x2000, 32 * 512 - 1000}};
    uint8_t *p = mem(t, BUFFER);

    (void)data;
    put_table(t, TABLE, list, 2, true);
    t->disk->fail[BLOCK_READ] = t->disk->fail[BLOCK_WRITE] = -EIO;
    t->disk->bad_sector = 217;
    bm_start(t, TABLE, true);
    command28(t, 0xc8, 0, 200, 32);
    g_assert_cmphex(bm_finish(t), ==, 0x64);
    g_assert_cmphex(rd(t, STATUS), ==, 0x51);
    g_assert_cmphex(rd(t, ERRORS), ==, 0x40);
    g_assert_cmpuint(rd(t, LBA_LOW), ==, 217);
    g_assert_cmpuint(t->errors, ==, 1);
    /* What came before the bad sector is there. */
    g_assert_cmpmem(p, 1000, t->disk->data + 200 * 512, 1000);
    g_assert_cmpmem(p + 0x2000, 17 * 512 - 1000, t->disk->data + 200 * 512 + 1000, 17 * 512 - 1000);

    memset(p, 0x99, 0x8000);
    bm_start(t, TABLE, false);
    command28(t, 0xca, 0, 200, 32);
    g_assert_cmphex(bm_finish(t), ==, 0x64);
    g_assert_cmphex(rd(t, STATUS), ==, 0x51);
    g_assert_cmphex(rd(t, ERRORS), ==, 0x04);
    g_assert_cmpuint(rd(t, LBA_LOW), ==, 217);
    g_assert_cmphex(t->disk->data[216 * 512 + 511], ==, 0x99);
    g_assert_cmphex(t->disk->data[217 * 512], !=, 0x99);
    g_assert_cmpstr(t->last_op, ==, "write");
}

static void test_trim(struct ide_test *t, gconstpointer data)
{
    const struct prd one = {BUFFER, 512};
    uint64_t *range = mem(t, BUFFER);

    (void)data;
    put_table(t, TABLE, &one, 1, true);
    memset(range, 0, 512);
    range[0] = 100 | UINT64_C(8) << 48;
    range[2] = 4000 | UINT64_C(1) << 48;
    wr(t, 1, 1);
    bm_start(t, TABLE, false);
    command48(t, 0x06, 0, 0, 1);
    g_assert_cmphex(bm_finish(t), ==, 0x64);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    g_assert_cmpstr(t->disk->log->str, ==, "D100+8 D4000+1 ");
    /* One range off the disk: none is done. */
    range[1] = (DISK_SECTORS - 1) | UINT64_C(2) << 48;
    wr(t, 1, 1);
    bm_start(t, TABLE, false);
    command48(t, 0x06, 0, 0, 1);
    g_assert_cmphex(bm_finish(t), ==, 0x64);
    g_assert_cmphex(rd(t, STATUS), ==, 0x51);
    g_assert_cmphex(rd(t, ERRORS), ==, 0x04);
    g_assert_cmpuint(t->disk->submitted[BLOCK_DISCARD], ==, 2);
    /* The engine is active as long as the command is. */
    range[1] = 0;
    t->disk->hold = true;
    wr(t, 1, 1);
    bm_start(t, TABLE, false);
    command48(t, 0x06, 0, 0, 1);
    g_assert_cmphex(bm_rd(t, 2, 1) & 5, ==, 1);
    fake_block_complete(t->disk, 0);
    g_assert_cmphex(bm_rd(t, 2, 1) & 5, ==, 1);
    fake_block_complete(t->disk, 0);
    g_assert_cmphex(bm_rd(t, 2, 1) & 5, ==, 4);
    t->disk->hold = false;
    g_assert_cmphex(bm_finish(t), ==, 0x64);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    wr(t, 1, 0);
    command48(t, 0x06, 0, 0, 1);
    g_assert_cmphex(rd(t, STATUS), ==, 0x51);
}

/* While one drive waits for the channel's engine, the other cannot be addressed (ATA-6 7.1). */
static void test_two_clients(struct ide_test *t, gconstpointer data)
{
    struct block *second = fake_block_new("ide-832", 1 << 20);
    const struct prd one = {BUFFER, 512};

    (void)data;
    put_table(t, TABLE, &one, 1, true);
    ide_test_drive(t, &ide_hd_class, "ide-832", second, 0, 1);
    ide_test_reset(t);
    command28(t, 0xc8, 0, 10, 1);
    command28(t, 0xc8, 1, 20, 1);
    g_assert_cmphex(alt(t), ==, 0x58);
    g_assert_cmphex(rd(t, DEVICE), ==, 0xe0);
    wr(t, DEVICE, 0xe0);
    bm_start(t, TABLE, true);
    g_assert_cmphex(bm_finish(t), ==, 0x64);
    same(t, BUFFER, 10, 1);
    device_free(machine_find(t->m, "ide-832"));
    fake_block_free(second);
}

/* Stopped between two chunks: the second machine does the rest. */
static void test_state(struct ide_test *t, gconstpointer data)
{
    struct ide_test other;
    struct prd p;

    (void)data;
    for (unsigned i = 0; i < 64; i++) {
        p = (struct prd){BUFFER + i * 65536, 0};
        put_table(t, TABLE + 8 * i, &p, 1, i == 63);
    }
    t->disk->hold = true;
    bm_start(t, TABLE, true);
    command48(t, 0x25, 0, 0, 8192);
    g_assert_true(fake_block_complete(t->disk, 0));
    machine_stop(t->m);
    g_assert_true(machine_busy(t->m));
    g_assert_true(fake_block_complete(t->disk, 0));
    g_assert_false(machine_busy(t->m));
    g_assert_cmpuint(block_in_flight(t->disk), ==, 0);
    g_assert_cmpuint(fake_guestmem_pinned(t->m->memory), ==, 0);

    ide_test_new(&other);
    machine_stop(other.m);
    fake_state_round_trip(t->ide, other.ide);
    fake_state_round_trip(t->hd, other.hd);
    memcpy(mem(&other, 0), mem(t, 0), 8 << 20);
    machine_start(other.m);
    g_assert_cmphex(bm_finish(&other), ==, 0x64);
    g_assert_true(irq_high(&other));
    same(&other, BUFFER, 0, 8192);
    g_assert_cmpuint(other.disk->submitted[BLOCK_READ], <, t->disk->submitted[BLOCK_READ] + 3);
    ide_test_free(&other);
    machine_start(t->m);
    t->disk->hold = false;
    settle(t);
    same(t, BUFFER, 0, 8192);
}

#define ADD(name, fn) g_test_add("/ide-dma/" name, struct ide_test, NULL, setup, fn, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("registers", test_registers);
    ADD("read-write", test_read_write);
    ADD("scattered", test_scattered);
    ADD("large", test_large);
    ADD("table-length", test_table_length);
    ADD("no-end", test_no_end);
    ADD("bad-memory", test_bad_memory);
    ADD("stop", test_stop);
    ADD("media-error", test_media_error);
    ADD("trim", test_trim);
    ADD("two-clients", test_two_clients);
    ADD("state", test_state);
    return g_test_run();
}
