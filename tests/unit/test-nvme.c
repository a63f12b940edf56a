/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVMe: the controller, its commands, and what a guest can do to it; test-nvme-state.c has the
 * rest. */
#include "nvme-fixture.h"

/* ---- controller ---- */

static void test_start(void)
{
    struct box b;

    box_new(&b);
    g_assert_cmphex(rd(&b, 0x00), ==, 0x0f0107ff);
    g_assert_cmphex(rd(&b, 0x04), ==, 0x00400020);
    g_assert_cmphex(rd(&b, 0x08), ==, 0x00010400);
    wr(&b, 0x14, 0x00460001); /* no queues yet */
    g_assert_cmphex(rd(&b, 0x1c), ==, 2);
    wr(&b, 0x14, 0);
    g_assert_cmphex(rd(&b, 0x1c), ==, 0);
    box_start(&b);
    wr(&b, 0x28, 0x5000); /* not while it runs */
    g_assert_cmphex(rd(&b, 0x28), ==, ASQ);
    wr(&b, 0x14, 0x00460000);
    g_assert_cmphex(rd(&b, 0x1c), ==, 0);
    box_start(&b);
    wr(&b, 0x14, 0x00464001); /* shutdown: flushes */
    g_assert_cmphex(rd(&b, 0x1c), ==, 5);
    settle(&b);
    g_assert_cmphex(rd(&b, 0x1c), ==, 9);
    g_assert_cmpuint(b.disk->submitted[BLOCK_FLUSH], ==, 1);
    wr(&b, 0x14, 0);
    g_assert_cmphex(rd(&b, 0x1c), ==, 0);
    box_free(&b);
}

static void test_bad_start(void)
{
    static const struct {
        uint32_t cc, aqa, asq;
    } bad[] = {
        {0x00460011, 0x000f000f, ASQ}, /* command set */
        {0x00460281, 0x000f000f, ASQ}, /* pages of 128 KiB */
        {0x00460801, 0x000f000f, ASQ}, /* arbitration */
        {0x00460001, 0x000f0000, ASQ}, /* a queue of one entry */
        {0x00460001, 0x000f000f, 0},
        {0x00460101, 0x000f000f, 0x11000}, /* not aligned to its pages of 16 KiB */
    };
    struct box b;

    box_new(&b);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        wr(&b, 0x24, bad[i].aqa);
        wr(&b, 0x28, bad[i].asq);
        wr(&b, 0x30, 0x20000);
        wr(&b, 0x14, bad[i].cc);
        g_assert_cmphex(rd(&b, 0x1c), ==, 2);
        wr(&b, 0x1000, 1);
        wr(&b, 0x14, 0);
        g_assert_cmphex(rd(&b, 0x1c), ==, 0);
    }
    box_free(&b);
}

static struct command identify(uint8_t cns, uint32_t nsid)
{
    return (struct command){.op = 0x06, .nsid = nsid, .prp1 = DATA, .dw10 = cns};
}

static void test_identify(void)
{
    struct box b;
    uint8_t uuid[16];

    box_new(&b);
    box_start(&b);
    g_assert_cmphex(command(&b, 0, identify(1, 0)), ==, 0);
    g_assert_cmphex(load_le16(mem(&b, DATA)), ==, 0x1b36);
    g_assert_cmpmem(mem(&b, DATA + 4), 4, "abc ", 4);
    g_assert_cmpuint(mem(&b, DATA)[77], ==, 7);
    g_assert_cmphex(mem(&b, DATA)[512], ==, 0x66);
    g_assert_cmphex(load_le16(mem(&b, DATA + 520)), ==, 0xcd);
    g_assert_cmphex(command(&b, 0, identify(0, 1)), ==, 0);
    g_assert_cmpuint(sector_at(&b, DATA), ==, SECTORS);
    g_assert_cmpuint(mem(&b, DATA)[130], ==, 9);
    g_assert_cmphex(command(&b, 0, identify(0, 2)), ==, 0);
    g_assert_cmpuint(sector_at(&b, DATA), ==, 0); /* not active: zeros */
    g_assert_cmphex(command(&b, 0, identify(2, 0)), ==, 0);
    g_assert_cmpuint(sector_at(&b, DATA), ==, 1);
    g_assert_cmphex(command(&b, 0, identify(2, 1)), ==, 0);
    g_assert_cmpuint(sector_at(&b, DATA), ==, 0);
    g_assert_cmphex(command(&b, 0, identify(3, 1)), ==, 0);
    memcpy(uuid, mem(&b, DATA + 4), 16);
    g_assert_cmphex(uuid[6] >> 4, ==, 5);
    g_assert_cmphex(command(&b, 0, identify(0, 0)), ==, 0x400b);
    g_assert_cmphex(command(&b, 0, identify(0, 257)), ==, 0x400b);
    g_assert_cmphex(command(&b, 0, identify(2, 0xffffffff)), ==, 0x400b);
    g_assert_cmphex(command(&b, 0, identify(3, 2)), ==, 0x400b);
    g_assert_cmphex(command(&b, 0, identify(0x7f, 1)), ==, 0x4002);
    box_free(&b);
}

/* ---- queues ---- */

static uint16_t create(struct box *b, uint8_t op, uint32_t dw10, uint32_t dw11, uint64_t base)
{
    return command(b, 0, (struct command){.op = op, .prp1 = base, .dw10 = dw10, .dw11 = dw11});
}

static void test_queues(void)
{
    struct box b;

    box_new(&b);
    box_start(&b);
    g_assert_cmphex(create(&b, 5, 15 << 16, 3, CQ1), ==, 0x4101);
    g_assert_cmphex(create(&b, 5, 15 << 16 | 65, 3, CQ1), ==, 0x4101);
    g_assert_cmphex(create(&b, 5, 15 << 16 | 0xffff, 3, CQ1), ==, 0x4101);
    g_assert_cmphex(create(&b, 5, 0 << 16 | 1, 3, CQ1), ==, 0x4102);
    g_assert_cmphex(create(&b, 5, 2048u << 16 | 1, 3, CQ1), ==, 0x4102);
    g_assert_cmphex(create(&b, 5, 15 << 16 | 1, 3, CQ1 + 8), ==, 0x4013);
    g_assert_cmphex(create(&b, 5, 15 << 16 | 1, 2, CQ1), ==, 0x4002);
    g_assert_cmphex(create(&b, 5, 15 << 16 | 1, 65u << 16 | 3, CQ1), ==, 0x4108);
    g_assert_cmphex(create(&b, 5, 15 << 16 | 1, 1u << 16 | 3, CQ1), ==, 0x4108); /* the pin */
    g_assert_cmphex(create(&b, 1, 15 << 16 | 1, 1 << 16 | 1, SQ1), ==, 0x4100);
    box_queues(&b);
    g_assert_cmphex(create(&b, 5, 15 << 16 | 1, 3, CQ1), ==, 0x4101);
    g_assert_cmphex(create(&b, 1, 15 << 16 | 1, 1 << 16 | 1, SQ1), ==, 0x4101);
    g_assert_cmphex(create(&b, 1, 15 << 16 | 2, 0 << 16 | 1, SQ1), ==, 0x4100);
    g_assert_cmphex(create(&b, 1, 15 << 16 | 2, 0xffffu << 16 | 1, SQ1), ==, 0x4100);
    g_assert_cmphex(create(&b, 4, 1, 0, 0), ==, 0x410c); /* a CQ in use */
    g_assert_cmphex(create(&b, 4, 0, 0, 0), ==, 0x4101);
    g_assert_cmphex(create(&b, 0, 0, 0, 0), ==, 0x4101);
    g_assert_cmphex(create(&b, 0, 1, 0, 0), ==, 0);
    g_assert_cmphex(create(&b, 0, 1, 0, 0), ==, 0x4101);
    g_assert_cmphex(create(&b, 4, 1, 0, 0), ==, 0);
    box_queues(&b);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 5, 1)), ==, 0);
    box_free(&b);
}

/* Rings in what is no memory, or is none any more. */
static void test_queue_without_memory(void)
{
    struct box b;

    box_new(&b);
    box_start(&b);
    g_assert_cmphex(create(&b, 5, 15 << 16 | 1, 3, 0x800000000), ==, 0);
    g_assert_cmphex(create(&b, 1, 15 << 16 | 1, 1 << 16 | 1, BAR), ==, 0);
    wr(&b, 0x1008, 1);
    settle(&b);
    g_assert_cmphex(rd(&b, 0x1c), ==, 3);
    wr(&b, 0x1008, 2);
    wr(&b, 0x14, 0);
    box_start(&b);
    g_assert_cmphex(create(&b, 5, 15 << 16 | 1, 3, 0x800000000), ==, 0);
    g_assert_cmphex(create(&b, 1, 15 << 16 | 1, 1 << 16 | 1, SQ1), ==, 0);
    issue(&b, 1, BLOCKS(2, 5, 1));
    settle(&b);
    g_assert_cmphex(rd(&b, 0x1c), ==, 3);
    wr(&b, 0x14, 0);
    g_assert_cmphex(rd(&b, 0x1c), ==, 0);
    box_free(&b);
}

static void test_doorbells(void)
{
    struct box b;

    box_new(&b);
    wr(&b, 0x1000, 1); /* before the start */
    box_start(&b);
    issue(&b, 0, (struct command){.op = 0x0c});
    wr(&b, 0x1000, ENTRIES);
    settle(&b);
    g_assert_cmphex(completion(&b, 0, NULL), ==, 0);
    g_assert_cmphex(b.result, ==, 0x00010100); /* error: value; the log page of errors */
    issue(&b, 0, (struct command){.op = 0x0c});
    wr(&b, 0x1008, 1); /* no such queue: masked, until the page is read */
    settle(&b);
    g_assert_cmphex(completion(&b, 0, NULL), ==, NO_COMPLETION);
    g_assert_cmphex(command(&b, 0, (struct command){.op = 2, .prp1 = DATA, .dw10 = 63 << 16 | 1}),
                    ==, 0);
    wr(&b, 0x1000 + 8 * 64 + 4, 7);
    settle(&b);
    g_assert_cmphex(completion(&b, 0, NULL), ==, 0);
    g_assert_cmphex(b.result, ==, 0x00010000);
    wr(&b, 0x1004, 0xffffffff);
    g_assert_cmphex(command(&b, 0, identify(1, 0)), ==, 0);
    box_free(&b);
}

/* More completions than the queue has room for: commands wait, and none is lost. */
static void test_full_queue(void)
{
    struct box b;
    unsigned done = 0;
    uint16_t cid;

    box_new(&b);
    box_start(&b);
    g_assert_cmphex(create(&b, 5, 3 << 16 | 1, 3, CQ1), ==, 0); /* 4 entries: room for 3 */
    g_assert_cmphex(create(&b, 1, (ENTRIES - 1) << 16 | 1, 1 << 16 | 1, SQ1), ==, 0);
    for (unsigned i = 0; i < 10; i++) {
        issue(&b, 1, BLOCKS(2, i, 1));
    }
    settle(&b);
    g_assert_cmpuint(b.disk->submitted[BLOCK_READ], ==, 3);
    while (done < 10) {
        const uint8_t *e = mem(&b, CQ1 + b.head[1] * 16);

        g_assert_cmpuint(load_le16(e + 14), ==, b.phase[1]);
        cid = load_le16(e + 12);
        g_assert_cmpuint(cid, ==, 3 + done);
        done++;
        b.head[1] = (b.head[1] + 1) % 4;
        b.phase[1] ^= b.head[1] == 0;
        wr(&b, 0x100c, b.head[1]);
        settle(&b);
    }
    g_assert_cmpuint(b.disk->submitted[BLOCK_READ], ==, 10);
    /* The head goes back while a command is under way: its completion waits. */
    b.disk->hold = true;
    issue(&b, 1, BLOCKS(2, 1, 1));
    wr(&b, 0x100c, (b.head[1] + 1) % 4);
    fake_block_complete_all(b.disk);
    settle(&b);
    wr(&b, 0x100c, b.head[1]);
    g_assert_cmpuint(load_le16(mem(&b, CQ1 + b.head[1] * 16 + 14)), ==, b.phase[1]);
    g_assert_cmphex(create(&b, 0, 1, 0, 0), ==, 0);
    box_free(&b);
}

/* ---- data ---- */

static void fill_list(struct box *b, uint64_t list, unsigned n, uint64_t first, int64_t step)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t page = first + (uint64_t)(i * step);

        memcpy(mem(b, list + 8 * i), &page, 8);
    }
}

static void put_entry(struct box *b, uint64_t at, uint64_t value)
{
    memcpy(mem(b, at), &value, 8);
}

static void test_prps(void)
{
    struct box b;

    box_new(&b);
    box_start(&b);
    box_queues(&b);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 100, 8)), ==, 0);
    g_assert_cmpuint(sector_at(&b, DATA + 7 * 512), ==, 107);
    /* an offset into the first page, and a second */
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 300, 8, .prp1 = DATA + 512, .prp2 = DATA + 0x3000)),
                    ==, 0);
    g_assert_cmpuint(sector_at(&b, DATA + 512), ==, 300);
    g_assert_cmpuint(sector_at(&b, DATA + 0x3000), ==, 307);
    /* a list; backwards, so that no two pages are contiguous */
    fill_list(&b, LIST, 127, DATA + 0x200000, -0x1000);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0, 1024, .prp2 = LIST)), ==, 0);
    g_assert_cmpuint(sector_at(&b, DATA), ==, 0);
    g_assert_cmpuint(sector_at(&b, DATA + 0x200000), ==, 8);
    g_assert_cmpuint(sector_at(&b, DATA + 0x200000 - 126 * 0x1000), ==, 127 * 8);
    /* a list that begins near the end of its page, and goes on in another */
    fill_list(&b, LIST + 0xff0, 1, DATA + 0x1000, 0);
    put_entry(&b, LIST + 0xff8, LIST + 0x2000);
    fill_list(&b, LIST + 0x2000, 6, DATA + 0x2000, 0x1000);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 500, 64, .prp2 = LIST + 0xff0)), ==, 0);
    for (unsigned i = 0; i < 64; i++) {
        g_assert_cmpuint(sector_at(&b, DATA + i * 512), ==, 500 + i);
    }
    memset(mem(&b, DATA), 0x5a, 4096);
    g_assert_cmphex(command(&b, 1, BLOCKS(1, 8, 8)), ==, 0);
    g_assert_cmphex(b.disk->data[8 * 512], ==, 0x5a);
    g_assert_cmphex(b.disk->data[16 * 512 - 1], ==, 0x5a);
    g_assert_cmpuint(b.disk->data[16 * 512], ==, 16);
    box_free(&b);
}

static void test_bad_prps(void)
{
    struct box b;

    box_new(&b);
    box_start(&b);
    box_queues(&b);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0, 1, .prp1 = DATA + 1)), ==, 0x4013);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0, 16, .prp2 = DATA + 8)), ==, 0x4013);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0, 64, .prp2 = LIST + 4)), ==, 0x4013);
    fill_list(&b, LIST, 8, DATA + 0x1010, 0x1000);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0, 64, .prp2 = LIST)), ==, 0x4013);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0, 1, .prp1 = 0x800000000)), ==, 0x4004);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0, 64, .prp2 = 0x800000000)), ==, 0x4004);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0, 8, .prp1 = UINT64_MAX - 0xfff)), ==, 0x4004);
    /* a list that goes on in the last of its own entries, for ever */
    put_entry(&b, LIST + 0xff8, LIST + 0xff8);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0, 64, .prp2 = LIST + 0xff8)), ==, 0x4013);
    put_entry(&b, LIST + 0xff8, LIST);
    fill_list(&b, LIST, 100, LIST, 0); /* its own data: a guest may */
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0, 64, .prp2 = LIST + 0xff8)), ==, 0);
    /* more than MDTS, beyond the end, a wrap */
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0, 1025)), ==, 0x4002);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, SECTORS - 7, 8)), ==, 0x4080);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0xffffffff, 8, .dw11 = 0xffffffff)), ==, 0x4080);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0, 1, .nsid = 2)), ==, 0x400b);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0, 1, .nsid = 0xffffffff)), ==, 0x400b);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0, 1, .flags = 1)), ==, 0x4002);
    g_assert_cmphex(command(&b, 1, BLOCKS(0x7f, 0, 1)), ==, 0x4001);
    g_assert_cmphex(command(&b, 0, (struct command){.op = 0x55}), ==, 0x4001);
    box_free(&b);
}

static unsigned capability(struct box *b, uint8_t id)
{
    unsigned at = pci_config_read(b->m->pci, DEVFN, 0x34, 1);

    while (at && pci_config_read(b->m->pci, DEVFN, at, 1) != id) {
        at = pci_config_read(b->m->pci, DEVFN, at + 1, 1);
    }
    return at;
}

/* A reset of the function with reads in flight: they end nowhere, and the next start waits. */
static void test_function_reset(void)
{
    struct box b;
    unsigned at;

    box_new(&b);
    box_start(&b);
    box_queues(&b);
    at = capability(&b, 0x13);
    g_assert_cmpuint(at, !=, 0);
    b.disk->hold = true;
    issue(&b, 1, BLOCKS(2, 0, 8));
    issue(&b, 1, BLOCKS(2, 8, 8));
    settle(&b);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, at + 5, 1), ==, 1);
    pci_config_write(b.m->pci, DEVFN, at + 4, 1, 1);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0x04, 2), ==, 0);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0x10, 4), ==, 4);
    pci_config_write(b.m->pci, DEVFN, 0x10, (uint32_t)BAR, 4);
    pci_config_write(b.m->pci, DEVFN, 0x04, 6, 2);
    g_assert_cmphex(rd(&b, 0x14), ==, 0);
    g_assert_cmphex(rd(&b, 0x1c), ==, 0);
    wr(&b, 0x14, 0x00460001);
    g_assert_cmphex(rd(&b, 0x1c), ==, 0); /* not before those are gone */
    b.disk->hold = false;
    fake_block_complete_all(b.disk);
    settle(&b);
    wr(&b, 0x14, 0);
    box_start(&b);
    box_queues(&b);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 16, 8)), ==, 0);
    g_assert_cmpuint(sector_at(&b, DATA), ==, 16);
    box_free(&b);
}

/* CVE-2021-3929: DMA to the controller's own registers, which would reset it in mid-flight. */
static void test_own_registers(void)
{
    struct box b;

    box_new(&b);
    box_start(&b);
    box_queues(&b);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0, 8, .prp1 = BAR)), ==, 0x4004);
    g_assert_cmphex(command(&b, 0, (struct command){.op = 6, .dw10 = 1, .prp1 = BAR}), ==, 0x0004);
    put_entry(&b, LIST, BAR);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0, 24, .prp2 = LIST)), ==, 0x4004);
    g_assert_cmphex(rd(&b, 0x1c), ==, 1);
    box_free(&b);
}

static void sgl(struct box *b, uint64_t at, uint64_t address, uint32_t length, uint8_t type)
{
    memset(mem(b, at), 0, 16);
    memcpy(mem(b, at), &address, 8);
    store_le32(mem(b, at + 8), length);
    mem(b, at)[15] = type;
}

#define SGL(lba, n, address, length, type, ...) \
    BLOCKS(2, lba, n, .flags = 0x40, .prp1 = (address), \
           .prp2 = (uint64_t)(length) | (uint64_t)(type) << 56, __VA_ARGS__)

static void test_sgls(void)
{
    struct box b;

    box_new(&b);
    box_start(&b);
    box_queues(&b);
    g_assert_cmphex(command(&b, 1, SGL(60, 8, DATA + 4, 4096, 0)), ==, 0);
    g_assert_cmpuint(sector_at(&b, DATA + 4 + 512), ==, 61);
    /* two segments, pieces that end in the middle of a sector, and one of nothing */
    sgl(&b, LIST, DATA, 700, 0);
    sgl(&b, LIST + 16, DATA, 0, 0);
    sgl(&b, LIST + 32, LIST + 0x100, 32, 0x30);
    sgl(&b, LIST + 0x100, DATA + 0x1000, 4, 0);
    sgl(&b, LIST + 0x110, DATA + 0x2000, 1024 - 704, 0);
    g_assert_cmphex(command(&b, 1, SGL(70, 2, LIST, 48, 0x20)), ==, 0);
    g_assert_cmpuint(sector_at(&b, DATA), ==, 70);
    g_assert_cmpuint(sector_at(&b, DATA + 512), ==, 71);
    g_assert_cmpmem(mem(&b, DATA + 0x1000), 4, b.disk->data + 70 * 512 + 700, 4);
    g_assert_cmpmem(mem(&b, DATA + 0x2000), 320, b.disk->data + 70 * 512 + 704, 320);
    /* so many pieces that it takes several rounds */
    for (unsigned i = 0; i < 512; i++) {
        sgl(&b, LIST + 16 * i, DATA + i * 1024, 512, 0);
    }
    g_assert_cmphex(command(&b, 1, SGL(1000, 512, LIST, 512 * 16, 0x30)), ==, 0);
    for (unsigned i = 0; i < 512; i++) {
        g_assert_cmpuint(sector_at(&b, DATA + i * 1024), ==, 1000 + i);
    }
    box_free(&b);
}

static void test_bad_sgls(void)
{
    struct box b;

    box_new(&b);
    box_start(&b);
    box_queues(&b);
    g_assert_cmphex(command(&b, 1, SGL(0, 8, DATA, 4092, 0)), ==, 0x400f);
    g_assert_cmphex(command(&b, 1, SGL(0, 8, DATA, 4100, 0)), ==, 0x400f);
    g_assert_cmphex(command(&b, 1, SGL(0, 8, DATA + 2, 4096, 0)), ==, 0x4016);
    g_assert_cmphex(command(&b, 1, SGL(0, 8, DATA, 4096, 0x10)), ==, 0x4011);
    g_assert_cmphex(command(&b, 1, SGL(0, 8, LIST, 0, 0x20)), ==, 0x400d);
    g_assert_cmphex(command(&b, 1, SGL(0, 8, LIST, 17, 0x20)), ==, 0x400d);
    g_assert_cmphex(command(&b, 1, SGL(0, 8, UINT64_MAX - 3, 4096, 0)), ==, 0x4004);
    g_assert_cmphex(command(&b, 1, SGL(0, 8, LIST, 0xfffffff0, 0x30)), ==, 0x400e);
    /* segments that lead in a circle */
    sgl(&b, LIST, LIST, 16, 0x20);
    g_assert_cmphex(command(&b, 1, SGL(0, 8, LIST, 16, 0x20)), ==, 0x400e);
    /* one behind the last, and one in the middle */
    g_assert_cmphex(command(&b, 1, SGL(0, 8, LIST, 16, 0x30)), ==, 0x400d);
    sgl(&b, LIST + 16, DATA, 4096, 0);
    g_assert_cmphex(command(&b, 1, SGL(0, 8, LIST, 32, 0x20)), ==, 0x400d);
    /* pieces of a dword: not even a sector in as many as there may be */
    for (unsigned i = 0; i < 1024; i++) {
        sgl(&b, LIST + 16 * i, DATA + i * 8, 4, 0);
    }
    g_assert_cmphex(command(&b, 1, SGL(0, 9, LIST, 1024 * 16, 0x30)), ==, 0x400f);
    g_assert_cmphex(command(&b, 1, SGL(0, 8, LIST, 1024 * 16, 0x30)), ==, 0);
    for (unsigned i = 0; i < 1024; i++) {
        sgl(&b, LIST + 16 * i, DATA, 0, 0);
    }
    g_assert_cmphex(command(&b, 1, SGL(0, 8, LIST, 1024 * 16, 0x30)), ==, 0x400f);
    g_assert_cmphex(command(&b, 0,
                            (struct command){.op = 6, .dw10 = 1, .prp1 = DATA, .flags = 0x40}),
                    ==, 0x4002);
    box_free(&b);
}

/* ---- the other commands ---- */

static void test_compare(void)
{
    struct box b;

    box_new(&b);
    box_start(&b);
    box_queues(&b);
    fill_list(&b, LIST, 16, DATA + 0x1000, 0x1000);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 64, 96, .prp2 = LIST)), ==, 0);
    g_assert_cmphex(command(&b, 1, BLOCKS(5, 64, 96, .prp2 = LIST)), ==, 0);
    mem(&b, DATA)[95 * 512 + 511] ^= 1;
    g_assert_cmphex(command(&b, 1, BLOCKS(5, 64, 96, .prp2 = LIST)), ==, 0x4285);
    g_assert_cmphex(command(&b, 1, BLOCKS(0x0c, 0, SECTORS)), ==, 0); /* VERIFY: no data */
    g_assert_cmphex(command(&b, 1, BLOCKS(0x0c, 1, SECTORS)), ==, 0x4080);
    b.disk->bad_sector = 777;
    b.disk->fail[BLOCK_READ] = -EIO;
    g_assert_cmphex(command(&b, 1, BLOCKS(0x0c, 0, SECTORS)), ==, 0x0281);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 777, 1)), ==, 0x0281);
    b.disk->fail[BLOCK_WRITE] = -ENOSPC;
    g_assert_cmphex(command(&b, 1, BLOCKS(1, 777, 1)), ==, 0x0081);
    b.disk->fail[BLOCK_WRITE] = -EIO;
    g_assert_cmphex(command(&b, 1, BLOCKS(1, 777, 1)), ==, 0x0280);
    b.disk->read_only = true;
    b.disk->fail[BLOCK_WRITE] = 0;
    g_assert_cmphex(command(&b, 1, BLOCKS(1, 777, 1)), ==, 0x0020);
    box_free(&b);
}

static void range(struct box *b, unsigned i, uint64_t lba, uint32_t blocks)
{
    memset(mem(b, DATA + 16 * i), 0, 16);
    store_le32(mem(b, DATA + 16 * i + 4), blocks);
    memcpy(mem(b, DATA + 16 * i + 8), &lba, 8);
}

static void test_zeroes_and_trim(void)
{
    struct box b;

    box_new(&b);
    box_start(&b);
    box_queues(&b);
    g_assert_cmphex(command(&b, 1, BLOCKS(8, 100, 10)), ==, 0);
    g_assert_cmpuint(b.disk->data[100 * 512] | b.disk->data[109 * 512], ==, 0);
    g_assert_cmpuint(b.disk->data[110 * 512], ==, 110);
    g_assert_cmpuint(b.disk->submitted[BLOCK_FLUSH], ==, 0);
    g_assert_cmphex(command(&b, 1, BLOCKS(8, 100, 10, .dw12 = 0x42000009)), ==, 0); /* FUA */
    g_assert_cmpuint(b.disk->submitted[BLOCK_FLUSH], ==, 1);
    g_assert_cmphex(command(&b, 1, BLOCKS(8, SECTORS, 1)), ==, 0x4080);
    range(&b, 0, 200, 3);
    range(&b, 1, 0, 0);
    range(&b, 2, 210, 1);
    g_string_truncate(b.disk->log, 0);
    g_assert_cmphex(command(&b, 1, BLOCKS(9, 2, 1, .dw11 = 4)), ==, 0);
    g_assert_cmpstr(b.disk->log->str, ==, "D200+3 D210+1 ");
    g_assert_cmphex(command(&b, 1, BLOCKS(9, 2, 1, .dw11 = 1)), ==, 0); /* a hint only */
    g_assert_cmpstr(b.disk->log->str, ==, "D200+3 D210+1 ");
    range(&b, 1, SECTORS - 1, 2); /* all are checked before any is done */
    g_assert_cmphex(command(&b, 1, BLOCKS(9, 2, 1, .dw11 = 4)), ==, 0x4080);
    g_assert_cmpstr(b.disk->log->str, ==, "D200+3 D210+1 ");
    range(&b, 1, UINT64_MAX, 2);
    g_assert_cmphex(command(&b, 1, BLOCKS(9, 2, 1, .dw11 = 4)), ==, 0x4080);
    b.disk->limits.max_discard = 1024;
    g_assert_cmphex(command(&b, 1, BLOCKS(9, 0, 1, .dw11 = 4)), ==, 0);
    g_assert_cmpstr(b.disk->log->str, ==, "D200+3 D210+1 D200+2 D202+1 ");
    b.disk->limits.max_discard = 0;
    g_assert_cmphex(command(&b, 1, BLOCKS(0, 0, 1)), ==, 0);
    g_assert_cmphex(command(&b, 1, BLOCKS(0, 0, 1, .nsid = 0xffffffff)), ==, 0);
    g_assert_cmpuint(b.disk->submitted[BLOCK_FLUSH], ==, 3);
    g_assert_cmphex(command(&b, 1, BLOCKS(0, 0, 1, .nsid = 7)), ==, 0x400b);
    box_free(&b);
}

static void test_format(void)
{
    struct box b;
    uint16_t format, read, got;

    box_new(&b);
    box_start(&b);
    box_queues(&b);
    g_assert_cmphex(command(&b, 0, (struct command){.op = 0x80, .nsid = 1, .dw10 = 2}), ==, 0x410a);
    g_assert_cmphex(command(&b, 0, (struct command){.op = 0x80, .nsid = 1, .dw10 = 2 << 9}), ==,
                    0x4002);
    g_assert_cmphex(command(&b, 0, (struct command){.op = 0x80, .nsid = 9}), ==, 0x400b);
    b.disk->hold = true;
    format = issue(&b, 0, (struct command){.op = 0x80, .nsid = 1, .dw10 = 1 << 9 | 1});
    read = issue(&b, 1, BLOCKS(2, 0, 1));
    settle(&b);
    g_assert_cmphex(completion(&b, 1, &got), ==, 0x4084);
    g_assert_cmpuint(got, ==, read);
    g_assert_cmphex(command(&b, 0, (struct command){.op = 0x80, .nsid = 1}), ==, 0x4084);
    fake_block_complete_all(b.disk);
    settle(&b);
    g_assert_cmphex(completion(&b, 0, &got), ==, 0);
    g_assert_cmpuint(got, ==, format);
    b.disk->hold = false;
    g_assert_cmphex(command(&b, 0, identify(0, 1)), ==, 0);
    g_assert_cmpuint(sector_at(&b, DATA), ==, SECTORS / 8);
    g_assert_cmpuint(mem(&b, DATA)[26], ==, 1);
    memset(mem(&b, DATA), 0xee, 4096);
    g_assert_cmphex(command(&b, 1, BLOCKS(1, SECTORS / 8 - 1, 1)), ==, 0);
    g_assert_cmphex(b.disk->data[SECTORS * 512 - 1], ==, 0xee);
    g_assert_cmphex(b.disk->data[SECTORS * 512 - 4097], ==, 0);
    b.disk->fail[BLOCK_ZERO] = -EIO;
    b.disk->bad_sector = 5;
    g_assert_cmphex(command(&b, 0, (struct command){.op = 0x80, .nsid = 1}), ==, 0x0280);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 0, 1)), ==, 0); /* usable again */
    box_free(&b);
}

static uint16_t feature(struct box *b, bool set, uint32_t dw10, uint32_t dw11)
{
    return command(b, 0,
                   (struct command){.op = set ? 9 : 10, .prp1 = DATA, .dw10 = dw10, .dw11 = dw11});
}

static void test_features(void)
{
    struct box b;

    box_new(&b);
    box_start(&b);
    g_assert_cmphex(feature(&b, true, 7, 3 << 16 | 3), ==, 0);
    g_assert_cmphex(b.result, ==, 63 << 16 | 63);
    g_assert_cmphex(feature(&b, true, 7, 0xffff), ==, 0x4002);
    g_assert_cmphex(feature(&b, false, 6, 0), ==, 0);
    g_assert_cmphex(b.result, ==, 1);
    g_assert_cmphex(feature(&b, true, 6, 0), ==, 0);
    g_assert_cmpuint(b.disk->submitted[BLOCK_FLUSH], ==, 1);
    g_assert_cmphex(feature(&b, false, 6, 0), ==, 0);
    g_assert_cmphex(b.result, ==, 0);
    g_assert_cmphex(feature(&b, false, 6 | 1 << 8, 0), ==, 0);
    g_assert_cmphex(b.result, ==, 1);
    g_assert_cmphex(feature(&b, false, 6 | 3 << 8, 0), ==, 0);
    g_assert_cmphex(b.result, ==, 4);
    g_assert_cmphex(feature(&b, true, 0x80000006, 1), ==, 0x410d);
    g_assert_cmphex(feature(&b, true, 0x7f, 1), ==, 0x4002);
    g_assert_cmphex(feature(&b, false, 0xff, 1), ==, 0x4002);
    g_assert_cmphex(feature(&b, true, 9, 65), ==, 0x4002);
    g_assert_cmphex(feature(&b, false, 9, 0xffff), ==, 0x4002);
    g_assert_cmphex(feature(&b, true, 9, 1 << 16 | 5), ==, 0);
    g_assert_cmphex(feature(&b, false, 9, 5), ==, 0);
    g_assert_cmphex(b.result, ==, 1 << 16 | 5);
    put_entry(&b, DATA, 1000);
    g_assert_cmphex(feature(&b, true, 0x0e, 0), ==, 0);
    fake_clock_step(b.m, 5 * NS_PER_MS);
    g_assert_cmphex(feature(&b, false, 0x0e, 0), ==, 0);
    g_assert_cmphex(sector_at(&b, DATA), ==, UINT64_C(2) << 48 | 1005);
    box_queues(&b);
    g_assert_cmphex(feature(&b, true, 7, 0), ==, 0x400c);
    /* A disk without write cache: every write is safe before it is done. */
    g_assert_cmphex(command(&b, 1, BLOCKS(8, 0, 1)), ==, 0);
    g_assert_cmpuint(b.disk->submitted[BLOCK_FLUSH], ==, 2);
    box_free(&b);
}

static uint16_t log_page(struct box *b, uint8_t id, uint32_t dwords, uint64_t offset)
{
    return command(b, 0,
                   (struct command){.op = 2,
                                    .prp1 = DATA,
                                    .dw10 = (dwords - 1) << 16 | id,
                                    .dw12 = (uint32_t)offset,
                                    .dw13 = (uint32_t)(offset >> 32)});
}

/* CVE-2021-3947: offsets behind the end of a page. */
static void test_logs(void)
{
    static const struct {
        uint8_t id;
        uint32_t size;
    } pages[] = {{1, 256}, {2, 512}, {3, 512}, {4, 4096}, {5, 4096}};
    struct box b;

    box_new(&b);
    box_start(&b);
    box_queues(&b);
    for (unsigned i = 0; i < G_N_ELEMENTS(pages); i++) {
        g_assert_cmphex(log_page(&b, pages[i].id, 1024, 0), ==, 0);
        g_assert_cmphex(log_page(&b, pages[i].id, 1024, pages[i].size - 4), ==, 0);
        g_assert_cmphex(log_page(&b, pages[i].id, 1024, pages[i].size), ==, 0x4002);
        g_assert_cmphex(log_page(&b, pages[i].id, 1024, UINT64_MAX - 3), ==, 0x4002);
        g_assert_cmphex(log_page(&b, pages[i].id, 1, 2), ==, 0x4002);
        memset(mem(&b, DATA), 0xee, 8192);
        g_assert_cmphex(log_page(&b, pages[i].id, 65536, 0), ==, 0);
        g_assert_cmphex(mem(&b, DATA)[pages[i].size], ==, 0xee); /* no more than there is */
    }
    g_assert_cmphex(log_page(&b, 0x70, 4, 0), ==, 0x4109);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, 7, SECTORS > 8 ? 8 : 1)), ==, 0);
    g_assert_cmphex(command(&b, 1, BLOCKS(2, SECTORS, 8)), ==, 0x4080);
    g_assert_cmphex(log_page(&b, 1, 64, 0), ==, 0);
    g_assert_cmpuint(load_le16(mem(&b, DATA + 8)), ==, 1); /* the queue */
    g_assert_cmphex(load_le16(mem(&b, DATA + 12)), ==, 0x4080 << 1 & 0xffff);
    g_assert_cmpuint(load_le32(mem(&b, DATA + 16)), ==, SECTORS);
    g_assert_cmphex(log_page(&b, 2, 128, 0), ==, 0);
    g_assert_cmpuint(sector_at(&b, DATA + 64), ==, 1);
    g_assert_cmpuint(sector_at(&b, DATA + 32), ==, 1);
    g_assert_cmphex(log_page(&b, 5, 1024, 0), ==, 0);
    g_assert_cmphex(load_le32(mem(&b, DATA + 1024 + 4)), ==, 3);
    box_free(&b);
}

static void test_events(void)
{
    struct box b;
    uint16_t first, got;

    box_new(&b);
    box_start(&b);
    first = issue(&b, 0, (struct command){.op = 0x0c});
    for (unsigned i = 0; i < 3; i++) {
        issue(&b, 0, (struct command){.op = 0x0c});
    }
    g_assert_cmphex(command(&b, 0, (struct command){.op = 0x0c}), ==, 0x4105);
    g_assert_cmphex(feature(&b, true, 0x0b, 0x102), ==, 0);
    b.disk->listener->resized(b.disk->listener_opaque);
    settle(&b);
    g_assert_cmphex(completion(&b, 0, &got), ==, 0);
    g_assert_cmpuint(got, ==, first);
    g_assert_cmphex(b.result, ==, 0x00040002);
    b.disk->listener->resized(b.disk->listener_opaque);
    settle(&b);
    g_assert_cmphex(completion(&b, 0, NULL), ==, NO_COMPLETION);
    g_assert_cmphex(log_page(&b, 4, 1024, 0), ==, 0);
    g_assert_cmpuint(load_le32(mem(&b, DATA)), ==, 1);
    g_assert_cmphex(log_page(&b, 4, 1024, 0), ==, 0);
    g_assert_cmpuint(load_le32(mem(&b, DATA)), ==, 0);
    /* A threshold below what it is: the event comes before the command's own end. */
    issue(&b, 0, (struct command){.op = 9, .dw10 = 4, .dw11 = 300});
    settle(&b);
    g_assert_cmphex(completion(&b, 0, &got), ==, 0);
    g_assert_cmphex(b.result, ==, 0x00020101);
    g_assert_cmpuint(got, ==, first + 1);
    g_assert_cmphex(completion(&b, 0, NULL), ==, 0);
    g_assert_cmphex(log_page(&b, 2, 1, 0), ==, 0);
    g_assert_cmphex(mem(&b, DATA)[0], ==, 2);
    box_free(&b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    log_set_level("all", "error");
    g_test_add_func("/nvme/start", test_start);
    g_test_add_func("/nvme/bad-start", test_bad_start);
    g_test_add_func("/nvme/identify", test_identify);
    g_test_add_func("/nvme/queues", test_queues);
    g_test_add_func("/nvme/queue-without-memory", test_queue_without_memory);
    g_test_add_func("/nvme/doorbells", test_doorbells);
    g_test_add_func("/nvme/full-queue", test_full_queue);
    g_test_add_func("/nvme/prps", test_prps);
    g_test_add_func("/nvme/bad-prps", test_bad_prps);
    g_test_add_func("/nvme/cve-2021-3929-own-registers", test_own_registers);
    g_test_add_func("/nvme/sgls", test_sgls);
    g_test_add_func("/nvme/bad-sgls", test_bad_sgls);
    g_test_add_func("/nvme/compare", test_compare);
    g_test_add_func("/nvme/zeroes-and-trim", test_zeroes_and_trim);
    g_test_add_func("/nvme/format", test_format);
    g_test_add_func("/nvme/features", test_features);
    g_test_add_func("/nvme/cve-2021-3947-logs", test_logs);
    g_test_add_func("/nvme/events", test_events);
    g_test_add_func("/nvme/function-reset", test_function_reset);
    return g_test_run();
}
