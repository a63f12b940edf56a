/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ATAPI drive: packet protocol, commands, tray and medium changes. */
#include <errno.h>
#include <string.h>

#include "ide-fixture.h"

#define TABLE 0x8000u
#define BUFFER 0x100000u

static void setup(struct ide_test *t, gconstpointer data)
{
    (void)data;
    ide_test_new(t);
    t->channel = 1;
}

static void teardown(struct ide_test *t, gconstpointer data)
{
    (void)data;
    g_assert_cmpuint(fake_guestmem_pinned(t->m->memory), ==, 0);
    ide_test_free(t);
}

static unsigned be16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static unsigned be32(const uint8_t *p)
{
    return be16(p) << 16 | be16(p + 2);
}

static void send_packet(struct ide_test *t, const uint8_t packet[12], unsigned limit, bool dma)
{
    wr(t, DEVICE, 0xa0);
    wr(t, 1, dma);
    wr(t, LBA_MID, (uint8_t)limit);
    wr(t, LBA_HIGH, (uint8_t)(limit >> 8));
    wr(t, STATUS, 0xa0);
    g_assert_cmphex(alt(t), ==, 0x58);
    g_assert_cmphex(rd(t, COUNT) & 3, ==, 1); /* command to drive */
    g_assert_false(irq_high(t));
    pio_out(t, packet, 12, 2);
}

/* Runs a packet that returns data by PIO; the number of bytes, or -1 when it ended with an error.
 */
static int run(struct ide_test *t, const uint8_t packet[12], unsigned limit, uint8_t *out,
               unsigned *blocks)
{
    int got = 0;

    *blocks = 0;
    send_packet(t, packet, limit, false);
    for (;;) {
        uint8_t status = settle(t);
        unsigned n;

        g_assert_true(irq_high(t));
        g_assert_cmphex(rd(t, STATUS), ==, status);
        g_assert_false(irq_high(t));
        if (!(status & 0x08)) {
            g_assert_cmphex(rd(t, COUNT) & 3, ==, 3);
            return status & 1 ? -1 : got;
        }
        g_assert_cmphex(rd(t, COUNT) & 3, ==, 2);
        n = rd(t, LBA_MID) | (unsigned)rd(t, LBA_HIGH) << 8;
        g_assert_cmpuint(n, >, 0);
        for (unsigned i = 0; i < n / 2; i++) {
            uint16_t w = (uint16_t)aspace_read(t->m->pio, 0x170, 2);

            memcpy(out + got + 2 * i, &w, 2);
        }
        if (n & 1) {
            out[got + n - 1] = (uint8_t)aspace_read(t->m->pio, 0x170, 2);
        }
        got += (int)n;
        ++*blocks;
    }
}

static int simple(struct ide_test *t, const uint8_t packet[12], uint8_t *out)
{
    unsigned blocks;

    return run(t, packet, 0xfffe, out, &blocks);
}

#define PACKET(...) ((const uint8_t[12]){__VA_ARGS__})

/* Sense key and ASC/ASCQ of the last error. */
static unsigned sense(struct ide_test *t)
{
    uint8_t buf[32];

    g_assert_cmpint(simple(t, PACKET(0x03, 0, 0, 0, 18), buf), ==, 18);
    g_assert_cmphex(buf[0], ==, 0x70);
    return (unsigned)(buf[2] & 15) << 16 | be16(buf + 12);
}

static int ready(struct ide_test *t)
{
    uint8_t buf[8];

    return simple(t, PACKET(0x00), buf);
}

static void test_identify(struct ide_test *t, gconstpointer data)
{
    uint8_t buf[512];

    (void)data;
    g_assert_cmphex(rd(t, STATUS), ==, 0);
    g_assert_cmphex(rd(t, LBA_MID), ==, 0x14);
    g_assert_cmphex(rd(t, LBA_HIGH), ==, 0xeb);
    wr(t, STATUS, 0xec);
    g_assert_cmphex(rd(t, STATUS), ==, 0x51);
    g_assert_cmphex(rd(t, ERRORS), ==, 0x04);
    g_assert_cmphex(rd(t, LBA_HIGH), ==, 0xeb);
    wr(t, STATUS, 0xa1);
    g_assert_cmphex(rd(t, STATUS), ==, 0x58);
    pio_in(t, buf, 512, 2);
    g_assert_cmphex(buf[0] | buf[1] << 8, ==, 0x85c0);
    g_assert_cmpmem(buf + 54, 14, "EXDN MVD-DOR M", 14);
    g_assert_cmphex(alt(t) & 0x89, ==, 0);
    /* DEVICE RESET works while busy with something. */
    wr(t, STATUS, 0xa0);
    g_assert_cmphex(alt(t), ==, 0x58);
    wr(t, STATUS, 0x08);
    g_assert_cmphex(rd(t, STATUS), ==, 0);
    g_assert_cmphex(rd(t, LBA_MID), ==, 0x14);
    g_assert_false(irq_high(t));
}

static void test_read(struct ide_test *t, gconstpointer data)
{
    static const struct {
        unsigned limit, blocks;
    } limits[] = {{2048, 70}, {0xffff, 5}, {0xfffe, 5}, {2049, 70}, {4096, 35},
                  {4095, 70}, {8191, 24},  {1, 71680},  {510, 350}};
    static uint8_t buf[70 * 2048];
    unsigned blocks;

    for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++) {
        t->disc->cached = GPOINTER_TO_INT(data);
        memset(buf, 0, sizeof(buf));
        g_assert_cmpint(run(t, PACKET(0x28, 0, 0, 0, 0, 20, 0, 0, 70), limits[i].limit, buf,
                            &blocks),
                        ==, sizeof(buf));
        g_assert_cmpmem(buf, sizeof(buf), t->disc->data + 20 * 2048, sizeof(buf));
        if (limits[i].limit % 2048 == 0) {
            g_assert_cmpuint(blocks, ==, limits[i].blocks);
        }
        g_assert_cmpuint(blocks, <=, limits[i].limit == 510 ? 400 : limits[i].blocks);
    }
    /* READ(12), READ CD, nothing at all. */
    g_assert_cmpint(simple(t, PACKET(0xa8, 0, 0, 0, 3, 255, 0, 0, 0, 1), buf), ==, 2048);
    g_assert_cmpmem(buf, 2048, t->disc->data + 1023 * 2048, 2048);
    g_assert_cmpint(simple(t, PACKET(0xbe, 0, 0, 0, 0, 9, 0, 0, 2, 0x10), buf), ==, 4096);
    g_assert_cmpmem(buf, 4096, t->disc->data + 9 * 2048, 4096);
    g_assert_cmpint(simple(t, PACKET(0x28), buf), ==, 0);
    g_assert_cmpint(simple(t, PACKET(0xbe, 0, 0, 0, 0, 9, 0, 0, 2, 0x78), buf), ==, -1);
    g_assert_cmphex(sense(t), ==, 0x052400);
    /* Beyond the end, by one and by all. */
    g_assert_cmpint(simple(t, PACKET(0x28, 0, 0, 0, 3, 255, 0, 0, 2), buf), ==, -1);
    g_assert_cmphex(rd(t, ERRORS) >> 4, ==, 5);
    g_assert_cmphex(sense(t), ==, 0x052100);
    g_assert_cmphex(sense(t), ==, 0);
    g_assert_cmpint(simple(t, PACKET(0xa8, 0, 255, 255, 255, 255, 255, 255, 255, 255), buf), ==,
                    -1);
    g_assert_cmphex(sense(t), ==, 0x052100);
    /* A limit of 0 is a mistake where there is data, and fine elsewhere. */
    send_packet(t, PACKET(0x12, 0, 0, 0, 36), 0, false);
    g_assert_cmphex(rd(t, STATUS), ==, 0x51);
    g_assert_cmphex(rd(t, ERRORS), ==, 0x04);
    send_packet(t, PACKET(0x28, 0, 0, 0, 0, 9, 0, 0, 1), 0, false);
    g_assert_cmphex(rd(t, STATUS), ==, 0x51);
    g_assert_cmphex(rd(t, ERRORS), ==, 0x04);
    g_assert_cmpint(run(t, PACKET(0x00), 0, buf, &blocks), ==, 0);
    g_assert_cmpint(run(t, PACKET(0xbe), 0, buf, &blocks), ==, 0);
    g_assert_cmpint(run(t, PACKET(0x28, 0, 0, 0, 0, 9), 0, buf, &blocks), ==, 0);
}

static void test_read_dma(struct ide_test *t, gconstpointer data)
{
    const struct prd list[] = {{BUFFER, 0x7002}, {0x200000, 0}, {0x300000, 0}};
    size_t len = 70 * 2048, first = 0x7002;

    (void)data;
    put_table(t, TABLE, list, 3, true);
    send_packet(t, PACKET(0x28, 0, 0, 0, 0, 20, 0, 0, 70), 0, true);
    g_assert_cmphex(settle(t), ==, 0x58);
    bm_start(t, TABLE, true);
    g_assert_cmphex(bm_finish(t), ==, 0x65);
    g_assert_true(irq_high(t));
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    g_assert_cmphex(rd(t, COUNT) & 3, ==, 3);
    g_assert_cmpmem(mem(t, BUFFER), first, t->disc->data + 20 * 2048, first);
    g_assert_cmpmem(mem(t, 0x200000), 65536, t->disc->data + 20 * 2048 + first, 65536);
    g_assert_cmpmem(mem(t, 0x300000), len - first - 65536,
                    t->disc->data + 20 * 2048 + first + 65536, len - first - 65536);
    g_assert_cmpstr(t->disc->log->str, ==, "R80+280 ");

    /* Replies come by DMA, too: no more than they are. */
    memset(mem(t, BUFFER), 0xcc, 64);
    send_packet(t, PACKET(0x12, 0, 0, 0, 36), 0, true);
    bm_start(t, TABLE, true);
    g_assert_cmphex(bm_finish(t), ==, 0x65);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    g_assert_cmpmem((uint8_t *)mem(t, BUFFER) + 8, 8, "XENDM   ", 8);
    g_assert_cmphex(((uint8_t *)mem(t, BUFFER))[36], ==, 0xcc);

    /* A bad block, half way. */
    t->disc->fail[BLOCK_READ] = -EIO;
    t->disc->bad_sector = 21 * 4;
    send_packet(t, PACKET(0x28, 0, 0, 0, 0, 20, 0, 0, 70), 0, true);
    bm_start(t, TABLE, true);
    settle(t);
    g_assert_cmphex(bm_finish(t), ==, 0x64);
    g_assert_cmphex(rd(t, STATUS), ==, 0x41);
    g_assert_cmphex(sense(t), ==, 0x031100);
    g_assert_cmpuint(t->errors, ==, 1);
}

static uint8_t doubled(uint8_t x)
{
    return (uint8_t)(x << 1 ^ (x & 0x80 ? 0x1d : 0));
}

/* Both sums over a codeword of ECMA-130's are zero. */
static void assert_codeword(const uint8_t *sector, unsigned at, unsigned step, unsigned size,
                            unsigned length, unsigned parity, unsigned apart)
{
    uint8_t sum = 0, weighted = 0;

    for (unsigned i = 0; i < length + 2; i++) {
        uint8_t x = i < length ? sector[12 + (at + i * step) % size]
                               : sector[parity + (i - length) * apart];

        sum ^= x;
        weighted = doubled(weighted) ^ x;
    }
    g_assert_cmphex(sum, ==, 0);
    g_assert_cmphex(weighted, ==, 0);
}

static void assert_raw(struct ide_test *t, const uint8_t *sector, unsigned block)
{
    static const uint8_t sync[12] = {0,    0xff, 0xff, 0xff, 0xff, 0xff,
                                     0xff, 0xff, 0xff, 0xff, 0xff, 0};
    unsigned frame = block + 150;
    uint32_t edc = 0;

    g_assert_cmpmem(sector, 12, sync, 12);
    g_assert_cmpuint((sector[12] >> 4) * 10u + (sector[12] & 15), ==, frame / 4500);
    g_assert_cmpuint((sector[13] >> 4) * 10u + (sector[13] & 15), ==, frame / 75 % 60);
    g_assert_cmpuint((sector[14] >> 4) * 10u + (sector[14] & 15), ==, frame % 75);
    g_assert_cmpuint(sector[15], ==, 1);
    g_assert_cmpmem(sector + 16, 2048, t->disc->data + block * 2048, 2048);
    /* The check of what includes its checksum is zero. */
    for (unsigned i = 0; i < 2068 * 8; i++) {
        edc = (edc ^ (sector[i / 8] >> i % 8 & 1)) >> 1 ^
              ((edc ^ (sector[i / 8] >> i % 8)) & 1 ? 0xd8018001u : 0);
    }
    g_assert_cmphex(edc, ==, 0);
    for (unsigned v = 0; v < 86; v++) {
        assert_codeword(sector, (v >> 1) * 2 + (v & 1), 86, 86 * 24, 24, 2076 + v, 86);
    }
    for (unsigned v = 0; v < 52; v++) {
        assert_codeword(sector, (v >> 1) * 86 + (v & 1), 88, 52 * 43, 43, 2248 + v, 52);
    }
}

/*
 * READ CD of all that is on the disc, more than the buffer holds: by PIO, by DMA, beside a bad
 * block.
 */
static void test_raw(struct ide_test *t, gconstpointer data)
{
    const struct prd list[] = {{0x200000, 0}, {0x300000, 60 * 2352 - 65536 - 65536}, {0x400000, 0}};
    g_autofree uint8_t *buf = g_malloc(60 * 2352);
    struct prd order[3] = {list[0], list[2], list[1]};

    (void)data;
    g_assert_cmpint(simple(t, PACKET(0xbe, 0, 0, 0, 3, 200, 0, 0, 55, 0xf8), buf), ==, 55 * 2352);
    for (unsigned i = 0; i < 55; i++) {
        assert_raw(t, buf + i * 2352, 968 + i);
    }
    put_table(t, TABLE, order, 3, true);
    send_packet(t, PACKET(0xbe, 0, 0, 0, 0, 9, 0, 0, 60, 0xf8), 0, true);
    bm_start(t, TABLE, true);
    g_assert_cmphex(bm_finish(t), ==, 0x64);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
    memcpy(buf, mem(t, 0x200000), 65536);
    memcpy(buf + 65536, mem(t, 0x400000), 65536);
    memcpy(buf + 131072, mem(t, 0x300000), 60 * 2352 - 131072);
    for (unsigned i = 0; i < 60; i++) {
        assert_raw(t, buf + i * 2352, 9 + i);
    }
    t->disc->fail[BLOCK_READ] = -EIO;
    t->disc->bad_sector = 12 * 4 + 1;
    g_assert_cmpint(simple(t, PACKET(0xbe, 0, 0, 0, 0, 9, 0, 0, 5, 0xf8), buf), ==, -1);
    g_assert_cmphex(sense(t), ==, 0x031100);
    assert_raw(t, buf + 2 * 2352, 11);
    t->disc->fail[BLOCK_READ] = 0;
    g_assert_cmpint(simple(t, PACKET(0x28, 0, 0, 0, 0, 5, 0, 0, 1), buf), ==, 2048);
}

static void test_tables(struct ide_test *t, gconstpointer data)
{
    uint8_t buf[4096];
    unsigned blocks;

    (void)data;
    g_assert_cmpint(simple(t, PACKET(0x12, 0, 0, 0, 255), buf), ==, 36);
    g_assert_cmphex(buf[0], ==, 5);
    g_assert_cmphex(buf[1], ==, 0x80);
    g_assert_cmpmem(buf + 16, 16, "XENDM DVD-ROM   ", 16);
    g_assert_cmpint(run(t, PACKET(0x12, 0, 0, 0, 5), 0xfffe, buf, &blocks), ==, 5);
    g_assert_cmpint(run(t, PACKET(0x12, 0, 0, 0, 36), 7, buf, &blocks), ==, 36);
    g_assert_cmpuint(blocks, ==, 6);
    g_assert_cmpint(simple(t, PACKET(0x12, 1, 0x80, 0, 255), buf), ==, -1);
    g_assert_cmphex(sense(t), ==, 0x052400);

    g_assert_cmpint(simple(t, PACKET(0x25), buf), ==, 8);
    g_assert_cmpuint(be32(buf), ==, CD_BLOCKS - 1);
    g_assert_cmpuint(be32(buf + 4), ==, 2048);

    /* TOC: by blocks, by MSF, from the lead-out on, sessions, raw. */
    g_assert_cmpint(simple(t, PACKET(0x43, 0, 0, 0, 0, 0, 0, 1, 0), buf), ==, 20);
    g_assert_cmpuint(be16(buf), ==, 18);
    g_assert_cmphex(buf[5], ==, 0x14);
    g_assert_cmphex(buf[6], ==, 1);
    g_assert_cmphex(buf[14], ==, 0xaa);
    g_assert_cmpuint(be32(buf + 16), ==, CD_BLOCKS);
    g_assert_cmpint(simple(t, PACKET(0x43, 2, 0, 0, 0, 0, 0, 1, 0), buf), ==, 20);
    g_assert_cmphex(be32(buf + 8), ==, 0x000200);
    g_assert_cmphex(be32(buf + 16), ==, 15u << 8 | 49u); /* 1174 frames are 0:15:49 */
    g_assert_cmpint(simple(t, PACKET(0x43, 0, 0, 0, 0, 0, 0xaa, 1, 0), buf), ==, 12);
    g_assert_cmpint(simple(t, PACKET(0x43, 0, 0, 0, 0, 0, 2, 1, 0), buf), ==, -1);
    g_assert_cmpint(simple(t, PACKET(0x43, 0, 0, 0, 0, 0, 0, 1, 0, 0x40), buf), ==, 12);
    g_assert_cmpint(simple(t, PACKET(0x43, 0, 1, 0, 0, 0, 0, 1, 0), buf), ==, 12);
    g_assert_cmpint(simple(t, PACKET(0x43, 0, 2, 0, 0, 0, 0, 1, 0), buf), ==, 48);
    g_assert_cmphex(buf[7], ==, 0xa0);
    g_assert_cmpint(simple(t, PACKET(0x43, 0, 0, 0, 0, 0, 0, 0, 4), buf), ==, 4);

    g_assert_cmpint(simple(t, PACKET(0x51, 0, 0, 0, 0, 0, 0, 1, 0), buf), ==, 34);
    g_assert_cmphex(buf[2], ==, 0x0e);

    /* Features: all, current, one. */
    g_assert_cmpint(simple(t, PACKET(0x46, 0, 0, 0, 0, 0, 0, 1, 0), buf), ==, 68);
    g_assert_cmpuint(be32(buf), ==, 64);
    g_assert_cmphex(be16(buf + 6), ==, 0x0008);
    g_assert_cmpint(simple(t, PACKET(0x46, 1, 0, 0, 0, 0, 0, 1, 0), buf), ==, 64);
    g_assert_cmpint(simple(t, PACKET(0x46, 2, 0, 3, 0, 0, 0, 1, 0), buf), ==, 16);
    g_assert_cmphex(be16(buf + 8), ==, 3);
    g_assert_cmphex(buf[12], ==, 0x29);

    /* Mode pages. */
    g_assert_cmpint(simple(t, PACKET(0x5a, 0, 0x2a, 0, 0, 0, 0, 1, 0), buf), ==, 30);
    g_assert_cmpuint(be16(buf), ==, 28);
    g_assert_cmphex(buf[8], ==, 0x2a);
    g_assert_cmpint(simple(t, PACKET(0x1a, 0, 0x01, 0, 255), buf), ==, 12);
    g_assert_cmphex(buf[4], ==, 0x01);
    g_assert_cmphex(buf[7], ==, 5);
    g_assert_cmpint(simple(t, PACKET(0x5a, 0, 0x3f, 0, 0, 0, 0, 1, 0), buf), ==,
                    8 + 8 + 8 + 16 + 22);
    g_assert_cmpint(simple(t, PACKET(0x5a, 0, 0x11, 0, 0, 0, 0, 1, 0), buf), ==, -1);
    g_assert_cmpint(simple(t, PACKET(0x5a, 0, 0xea, 0, 0, 0, 0, 1, 0), buf), ==, -1);
    g_assert_cmphex(sense(t), ==, 0x053900);

    g_assert_cmpint(simple(t, PACKET(0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8), buf), ==, 8);
    g_assert_cmpint(simple(t, PACKET(0x42, 0, 0x40, 1, 0, 0, 0, 0, 16), buf), ==, 16);
    g_assert_cmpint(simple(t, PACKET(0xad, 0, 0, 0, 0, 0, 0, 0, 8, 4), buf), ==, -1);
    g_assert_cmphex(sense(t), ==, 0x053000);
    g_assert_cmpint(simple(t, PACKET(0xad, 0, 0, 0, 0, 0, 0, 0xff, 1, 0), buf), ==, 16);
    g_assert_cmpint(simple(t, PACKET(0xbb), buf), ==, 0);
    g_assert_cmpint(simple(t, PACKET(0x2b), buf), ==, 0);

    /* Not ours. */
    for (unsigned op = 0xc0; op < 0x100; op++) {
        g_assert_cmpint(simple(t, PACKET((uint8_t)op), buf), ==, -1);
        g_assert_cmphex(sense(t), ==, 0x052000);
    }

    /* MODE SELECT takes its parameters. */
    send_packet(t, PACKET(0x55, 0x10, 0, 0, 0, 0, 0, 0, 16), 0xfffe, false);
    g_assert_cmphex(rd(t, STATUS), ==, 0x58);
    g_assert_cmphex(rd(t, COUNT) & 3, ==, 0);
    pio_out(t, buf, 16, 2);
    g_assert_cmphex(rd(t, STATUS), ==, 0x50);
}

static void get_event(struct ide_test *t, unsigned *code, unsigned *state)
{
    uint8_t buf[8];

    g_assert_cmpint(simple(t, PACKET(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), buf), ==, 8);
    g_assert_cmpuint(be16(buf), ==, 6);
    g_assert_cmphex(buf[2], ==, 4);
    *code = buf[4];
    *state = buf[5];
}

static void test_change(struct ide_test *t, gconstpointer data)
{
    unsigned code, state;
    uint8_t buf[2048];

    (void)data;
    g_assert_cmpint(ready(t), ==, 0);
    /* The toolstack takes the disc out. */
    g_assert_cmpint(ide_cd_request_eject(t->cd, false, NULL), ==, 0);
    block_eject(t->disc);
    g_assert_cmpuint(t->trays, ==, 1);
    g_assert_true(t->tray_open);
    g_assert_cmpint(ready(t), ==, -1);
    g_assert_cmphex(sense(t), ==, 0x023a02);
    g_assert_cmpint(simple(t, PACKET(0x28, 0, 0, 0, 0, 0, 0, 0, 1), buf), ==, -1);
    g_assert_cmphex(sense(t), ==, 0x023a02);
    get_event(t, &code, &state);
    g_assert_cmphex(code, ==, 0);
    g_assert_cmphex(state, ==, 1);
    /* And puts another in: first "none", then "changed", then ready; the event comes once. */
    block_insert(t->disc, NULL, NULL, NULL);
    g_assert_cmpuint(t->trays, ==, 2);
    g_assert_false(t->tray_open);
    g_assert_cmpint(ready(t), ==, -1);
    g_assert_cmphex(sense(t), ==, 0x023a00);
    g_assert_cmpint(simple(t, PACKET(0x25), buf), ==, -1);
    g_assert_cmphex(rd(t, ERRORS) >> 4, ==, 6);
    g_assert_cmphex(sense(t), ==, 0x062800);
    g_assert_cmpint(ready(t), ==, 0);
    get_event(t, &code, &state);
    g_assert_cmphex(code, ==, 2);
    g_assert_cmphex(state, ==, 2);
    get_event(t, &code, &state);
    g_assert_cmphex(code, ==, 0);
    g_assert_cmpint(simple(t, PACKET(0x4a, 1, 0, 0, 0x02, 0, 0, 0, 8), buf), ==, 4);
    g_assert_cmphex(buf[2], ==, 0x80);
    g_assert_cmpint(simple(t, PACKET(0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8), buf), ==, -1);
}

static void test_tray(struct ide_test *t, gconstpointer data)
{
    unsigned code, state;
    uint8_t buf[64];
    GError *err = NULL;

    (void)data;
    /* Locked: neither the guest nor, without force, the toolstack opens it; the guest is asked. */
    g_assert_cmpint(simple(t, PACKET(0x1e, 0, 0, 0, 1), buf), ==, 0);
    g_assert_true(ide_cd_tray_locked(t->cd));
    g_assert_cmpint(simple(t, PACKET(0x1b, 0, 0, 0, 2), buf), ==, -1);
    g_assert_cmphex(sense(t), ==, 0x055302);
    g_assert_cmpint(ide_cd_request_eject(t->cd, false, &err), ==, -EBUSY);
    g_assert_nonnull(strstr(err->message, "ide-5632"));
    g_clear_error(&err);
    g_assert_cmpint(ide_cd_request_eject(t->hd, false, &err), ==, -EINVAL);
    g_clear_error(&err);
    get_event(t, &code, &state);
    g_assert_cmphex(code, ==, 1);
    g_assert_cmphex(state, ==, 2);
    get_event(t, &code, &state);
    g_assert_cmphex(code, ==, 0);
    g_assert_cmpint(simple(t, PACKET(0x1e, 0, 0, 0, 0), buf), ==, 0);
    g_assert_cmpint(simple(t, PACKET(0x1b, 0, 0, 0, 2), buf), ==, 0);
    g_assert_true(ide_cd_tray_open(t->cd));
    g_assert_true(t->tray_open);
    g_assert_cmpint(ready(t), ==, -1);
    g_assert_cmphex(sense(t), ==, 0x023a02);
    /* Loaded again with the disc that is in it. */
    g_assert_cmpint(simple(t, PACKET(0x1b, 0, 0, 0, 3), buf), ==, 0);
    g_assert_false(t->tray_open);
    g_assert_cmpint(ready(t), ==, -1);
    g_assert_cmphex(sense(t), ==, 0x062800);
    g_assert_cmpint(ready(t), ==, 0);
    g_assert_cmpint(simple(t, PACKET(0x1e, 0, 0, 0, 1), buf), ==, 0);
    g_assert_cmpint(ide_cd_request_eject(t->cd, true, NULL), ==, 0);
    g_assert_true(ide_cd_tray_open(t->cd));
}

static void test_state(struct ide_test *t, gconstpointer data)
{
    struct ide_test other;
    static uint8_t buf[40 * 2048];

    (void)data;
    ide_test_new(&other);
    other.channel = 1;
    fake_state_round_trip(t->cd, other.cd);
    /* In the packet. */
    wr(t, DEVICE, 0xa0);
    wr(t, 1, 0);
    wr(t, LBA_MID, 0);
    wr(t, LBA_HIGH, 8);
    wr(t, STATUS, 0xa0);
    pio_out(t, PACKET(0x28, 0, 0, 0, 0, 7), 6, 2);
    fake_state_round_trip(t->cd, other.cd);
    pio_out(&other, PACKET(0, 0, 40), 6, 2);
    g_assert_cmphex(settle(&other), ==, 0x58);
    pio_in(&other, buf, 2048, 2);
    /* In the data, back to the first. */
    pio_in(&other, buf + 2048, 2000, 2);
    wr(t, STATUS, 0x08);
    fake_state_round_trip(other.cd, t->cd);
    for (size_t at = 4048; at < sizeof(buf); at += 2048) {
        settle(t);
        pio_in(t, buf + at, at == 4048 ? 48 : 2048, 2);
        at -= at == 4048 ? 2000 : 0;
    }
    g_assert_cmpmem(buf, sizeof(buf), t->disc->data + 7 * 2048, sizeof(buf));
    g_assert_cmphex(settle(t), ==, 0x50);
    g_assert_cmphex(rd(t, COUNT) & 3, ==, 3);
    /* A change that the guest has not heard of yet. */
    block_eject(t->disc);
    block_insert(t->disc, NULL, NULL, NULL);
    fake_state_round_trip(t->cd, other.cd);
    control(&other, 4);
    control(&other, 0);
    g_assert_cmpint(ready(&other), ==, -1);
    g_assert_cmphex(sense(&other), ==, 0x023a00);
    ide_test_free(&other);
}

/* A drive without any medium, ever. */
static void test_empty(struct ide_test *t, gconstpointer data)
{
    struct device *cd = ide_test_drive(t, &ide_cd_class, "empty", NULL, 1, 1);
    uint8_t buf[64];

    (void)data;
    ide_test_reset(t);
    wr(t, DEVICE, 0xb0);
    g_assert_cmphex(rd(t, LBA_HIGH), ==, 0xeb);
    wr(t, LBA_HIGH, 8);
    wr(t, STATUS, 0xa0);
    pio_out(t, PACKET(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 12, 2);
    g_assert_cmphex(rd(t, STATUS), ==, 0x41);
    g_assert_cmphex(rd(t, ERRORS) >> 4, ==, 2);
    device_free(cd);
    g_assert_cmpint(simple(t, PACKET(0x25), buf), ==, 8);
}

/* Every opcode with random parameters. */
static void test_fuzz(struct ide_test *t, gconstpointer data)
{
    const struct prd list[] = {{BUFFER, 0x7002}, {0x200000, 0}, {0xf0000000, 64}};
    GRand *r = g_rand_new_with_seed(7);
    static uint8_t buf[65536];

    (void)data;
    put_table(t, TABLE, list, 3, true);
    for (unsigned i = 0; i < 60000; i++) {
        uint8_t packet[12];
        bool dma = g_rand_int(r) & 1;

        for (unsigned k = 0; k < 12; k++) {
            packet[k] = g_rand_int(r) & 3 ? (uint8_t)(g_rand_int(r) & 7) : (uint8_t)g_rand_int(r);
        }
        packet[0] = (uint8_t)i;
        if (packet[0] == 0x1b) {
            packet[4] &= ~2;
        }
        t->disc->cached = g_rand_int(r) & 1;
        wr(t, STATUS, 0x08);
        send_packet(t, packet, g_rand_int(r) & 0xffff, dma);
        if (dma) {
            bm_start(t, TABLE, true);
        }
        settle(t);
        for (unsigned k = 0; k < 4 && (alt(t) & 8); k++) {
            pio_in(t, buf, g_rand_int(r) & 0xfffc, 4);
            settle(t);
        }
        bm_wr(t, 0, 0, 1);
    }
    wr(t, STATUS, 0x08);
    g_assert_cmpint(simple(t, PACKET(0x1e), buf), ==, 0);
    g_assert_cmpint(simple(t, PACKET(0x28, 0, 0, 0, 0, 1, 0, 0, 1), buf), ==, 2048);
    g_assert_cmpmem(buf, 2048, t->disc->data + 2048, 2048);
    g_rand_free(r);
}

#define ADD(name, data, fn) g_test_add("/atapi/" name, struct ide_test, data, setup, fn, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("identify", NULL, test_identify);
    ADD("read/waiting", GINT_TO_POINTER(0), test_read);
    ADD("read/cached", GINT_TO_POINTER(1), test_read);
    ADD("read/dma", NULL, test_read_dma);
    ADD("read/raw", NULL, test_raw);
    ADD("tables", NULL, test_tables);
    ADD("change", NULL, test_change);
    ADD("tray", NULL, test_tray);
    ADD("state", NULL, test_state);
    ADD("empty", NULL, test_empty);
    ADD("fuzz", NULL, test_fuzz);
    return g_test_run();
}
