/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio: registers, features, rings of both kinds, interrupts, and what a guest can do to them;
 * with the block device, which is the simplest that has all of it.
 */
#include "virtio-fixture.h"

#define FLUSH 4u

static const char *const plain[] = {"serial=abc", NULL};
static const char *const all[] = {"serial=abc", "packed=on", "in_order=on", "num-queues=4", NULL};

static void blk_new(struct box *b, const char *const *settings)
{
    b->connect = NULL;
    b->populate = NULL;
    box_new(b, &virtio_blk_class, settings);
}

/* ---- the function ---- */

static uint8_t find_cap(struct box *b, uint8_t type)
{
    uint8_t at = (uint8_t)pci_config_read(b->m->pci, DEVFN, 0x34, 1);

    while (at && !(pci_config_read(b->m->pci, DEVFN, at, 1) == 9 &&
                   pci_config_read(b->m->pci, DEVFN, at + 3u, 1) == type)) {
        at = (uint8_t)pci_config_read(b->m->pci, DEVFN, at + 1u, 1);
    }
    return at;
}

static void test_identity(void)
{
    static const char *const modern[] = {"disable-legacy=on", NULL};
    static const char *const legacy[] = {"disable-modern=on", "vectors=0", NULL};
    struct box b;

    blk_new(&b, plain);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0, 4), ==, 0x10011af4);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 8, 4), ==, 0x01000000);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0x2c, 4), ==, 0x00021af4);
    for (uint8_t type = 1; type <= 5; type++) {
        g_assert_cmphex(find_cap(&b, type), !=, 0);
    }
    box_free(&b);
    blk_new(&b, modern);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0, 4), ==, 0x10421af4);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 8, 1), ==, 1);
    pci_config_write(b.m->pci, DEVFN, 0x10, 0xffffffff, 4);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0x10, 4), ==, 0); /* no such BAR */
    g_assert_cmphex(offered(&b) & (1u << 27), ==, 0);
    start(&b, 0, 1);
    g_assert_cmphex(blk_do(&b, 0, 5, DATA, 512), ==, 0);
    box_free(&b);
    blk_new(&b, legacy);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0, 4), ==, 0x10011af4);
    g_assert_cmphex(find_cap(&b, 1), ==, 0);
    start_legacy(&b, 0, 1);
    box_free(&b);
}

static void refused(const char *name, const char *value, const char *name2, const char *value2)
{
    struct block *disk = fake_block_new("disk", 512);
    struct machine *m = fake_machine_new();
    struct device *dev = device_new(m, &virtio_blk_class, "v", NULL);
    GError *err = NULL;
    int rc = device_set(dev, name, value, &err);

    if (rc == 0 && name2) {
        rc = device_set(dev, name2, value2, &err);
    }
    if (rc == 0) {
        device_set_backend(dev, "drive", &disk->b);
        pci_device_attach(m->pci, (struct pci_device *)dev, DEVFN, NULL);
        rc = device_realize(dev, &err);
    }
    g_assert_cmpint(rc, <, 0);
    g_assert_nonnull(strstr(err->message, name));
    g_error_free(err);
    device_free(dev);
    fake_machine_free(m);
    fake_block_free(disk);
}

static void test_properties(void)
{
    refused("disable-legacy", "maybe", NULL, NULL);
    refused("disable-legacy", "on", "disable-modern", "on");
    refused("packed", "on", "disable-modern", "on");
    refused("vectors", "129", NULL, NULL);
    refused("queue-size", "100", NULL, NULL);
    refused("queue-size", "2048", NULL, NULL);
    refused("num-queues", "65", NULL, NULL);
    refused("logical_block_size", "1000", NULL, NULL);
    refused("serial", "123456789012345678901", NULL, NULL);
}

static void test_registers(void)
{
    struct box b;

    blk_new(&b, plain);
    g_assert_cmphex(rd(&b, 0x10, 2), ==, 0xffff);
    g_assert_cmphex(rd(&b, 0x12, 2), ==, 1);
    g_assert_cmphex(rd(&b, 0x18, 2), ==, 256);
    g_assert_cmphex(rd(&b, 0x1e, 2), ==, 0);
    wr(&b, 0x10, 1, 2);
    g_assert_cmphex(rd(&b, 0x10, 2), ==, 1);
    wr(&b, 0x10, 2, 2); /* no such vector */
    g_assert_cmphex(rd(&b, 0x10, 2), ==, 0xffff);
    wr(&b, 0x18, 0, 2); /* sizes that cannot be */
    wr(&b, 0x18, 257, 2);
    wr(&b, 0x18, 0xffff, 2);
    g_assert_cmphex(rd(&b, 0x18, 2), ==, 256);
    wr(&b, 0x20, 0x123456789abcdef0, 8);
    g_assert_cmphex(rd(&b, 0x24, 4), ==, 0x12345678);
    wr(&b, 0x16, 7, 2); /* no such queue */
    g_assert_cmphex(rd(&b, 0x18, 2), ==, 0);
    g_assert_cmphex(rd(&b, 0x20, 8), ==, 0);
    wr(&b, 0x20, 0x1000, 8);
    wr(&b, 0x1c, 1, 2);
    g_assert_cmphex(rd(&b, 0x1c, 2), ==, 0);
    wr(&b, 0x16, 0, 2);
    g_assert_cmphex(rd(&b, 0x20, 8), ==, 0x123456789abcdef0);
    wr(&b, 0x14, 0, 1);
    g_assert_cmphex(rd(&b, 0x20, 8), ==, 0);
    g_assert_cmphex(rd(&b, 0x2000, 8), ==, SECTORS);
    g_assert_cmphex(rd(&b, 0x2040, 4), ==, 0);
    box_free(&b);
}

static void test_features(void)
{
    struct box b;

    blk_new(&b, plain);
    g_assert_cmphex(offered(&b), ==, UINT64_C(0x0000010130006e54));
    box_free(&b);
}

/* ---- rings ---- */

static void rings(uint64_t features)
{
    struct box b;

    blk_new(&b, all);
    start(&b, features, 2);
    for (unsigned i = 0; i < 3 * ENTRIES + 5; i++) {
        g_assert_cmphex(blk_do(&b, 0, i, DATA, 1024), ==, 0);
        g_assert_cmpuint(sector_at(&b, DATA), ==, i);
        g_assert_cmpuint(sector_at(&b, DATA + 512), ==, i + 1);
    }
    /* moved in the middle */
    box_move(&b);
    for (unsigned i = 0; i < ENTRIES + 3; i++) {
        g_assert_cmphex(blk_do(&b, 0, i, DATA, 512), ==, 0);
        g_assert_cmpuint(sector_at(&b, DATA), ==, i);
    }
    g_assert_cmphex(STATUS(&b), ==, 0x0f);
    box_free(&b);
}

static void test_split(void)
{
    rings(0);
    rings(F_INDIRECT);
    rings(F_INDIRECT | F_EVENT);
    rings(F_INDIRECT | F_EVENT | F_IN_ORDER | F_RESET);
}

static void test_packed(void)
{
    rings(F_PACKED);
    rings(F_PACKED | F_INDIRECT);
    rings(F_PACKED | F_INDIRECT | F_EVENT);
    rings(F_PACKED | F_EVENT | F_IN_ORDER);
}

/* 2.6.1: with IN_ORDER they come back as they came, whatever the host does; else as it does it. */
static void test_order(void)
{
    static const uint64_t kinds[] = {F_INDIRECT, F_INDIRECT | F_IN_ORDER,
                                     F_INDIRECT | F_IN_ORDER | F_PACKED};

    for (unsigned k = 0; k < G_N_ELEMENTS(kinds); k++) {
        uint16_t id[3], got = 0;
        uint32_t len;
        struct box b;

        blk_new(&b, all);
        start(&b, kinds[k], 1);
        b.disk->hold = true;
        for (unsigned i = 0; i < 3; i++) {
            id[i] = blk(&b, 0, 0, i, DATA + i * 512, 512);
        }
        g_assert_true(fake_block_complete(b.disk, 2));
        settle(&b);
        g_assert_true(used(&b, 0, &got, &len) == !(kinds[k] & F_IN_ORDER));
        g_assert_true((kinds[k] & F_IN_ORDER) || got == id[2]);
        box_move(&b);
        for (unsigned i = 0; i < 3 && (kinds[k] & F_IN_ORDER); i++) {
            settle(&b);
            g_assert_true(used(&b, 0, &got, &len));
            g_assert_cmphex(got, ==, id[i]);
        }
        box_free(&b);
    }
}

/* ---- legacy ---- */

static void test_legacy(void)
{
    struct box b;
    uint8_t *used_ring;

    blk_new(&b, plain);
    g_assert_cmphex(in(&b, 0, 4), ==, 0x38006e54);
    start_legacy(&b, 0, 1);
    g_assert_cmphex(in(&b, 0x14, 4), ==, SECTORS); /* no MSI-X: the configuration is here */
    /* 256 entries: descriptors, then 516 bytes at the next page, then the used ring at another. */
    desc(&b, 0, 0, HEADERS, 16, NEXT, 1);
    desc(&b, 0, 1, DATA, 512, NEXT | WRITE, 2);
    desc(&b, 0, 2, HEADERS + 32, 1, WRITE, 0);
    memset(mem(&b, HEADERS), 0, 33);
    mem(&b, HEADERS)[8] = 9;
    store_le16(mem(&b, RING(0) + 4096 + 4), 0);
    store_le16(mem(&b, RING(0) + 4096 + 2), 1);
    out(&b, 0x10, 0, 2);
    settle(&b);
    used_ring = mem(&b, RING(0) + 8192);
    g_assert_cmpuint(load_le16(used_ring + 2), ==, 1);
    g_assert_cmpuint(load_le32(used_ring + 8), ==, 513);
    g_assert_cmpuint(sector_at(&b, DATA), ==, 9);
    g_assert_true(b.m->hv->intx_level[4][0]);
    g_assert_cmphex(in(&b, 0x13, 1), ==, 1); /* reading clears */
    g_assert_false(b.m->hv->intx_level[4][0]);
    g_assert_cmphex(in(&b, 0x13, 1), ==, 0);
    out(&b, 0x08, 0, 4); /* the queue alone */
    g_assert_cmphex(in(&b, 0x08, 4), ==, 0);
    out(&b, 0x10, 0, 2);
    out(&b, 0x12, 0, 1);
    g_assert_cmphex(in(&b, 0x12, 1), ==, 0);
    box_free(&b);
}

/* Linux before 3.18 reads the partition table before it says DRIVER_OK. */
static void test_legacy_early(void)
{
    struct box b;

    blk_new(&b, plain);
    start_legacy(&b, 0, 1);
    out(&b, 0x12, 3, 1);
    desc(&b, 0, 0, HEADERS, 16, NEXT, 1);
    desc(&b, 0, 1, HEADERS + 32, 1, WRITE, 0);
    store_le32(mem(&b, HEADERS), FLUSH);
    store_le16(mem(&b, RING(0) + 4096 + 2), 1);
    out(&b, 0x10, 0, 2);
    settle(&b);
    g_assert_cmpuint(load_le16(mem(&b, RING(0) + 8192 + 2)), ==, 1);
    box_free(&b);
}

/* ---- interrupts ---- */

static void msix(struct box *b)
{
    uint8_t cap = (uint8_t)pci_config_read(b->m->pci, DEVFN, 0x34, 1);

    while (pci_config_read(b->m->pci, DEVFN, cap, 1) != 0x11) {
        cap = (uint8_t)pci_config_read(b->m->pci, DEVFN, cap + 1u, 1);
    }
    pci_config_write(b->m->pci, DEVFN, cap + 2u, 0x8000, 2);
    for (unsigned v = 0; v < 2; v++) {
        aspace_write(b->m->mmio, MSIX_BAR + 16 * v, 0xfee00000, 8);
        aspace_write(b->m->mmio, MSIX_BAR + 16 * v + 8, 0x4030 + v, 8);
    }
}

static void test_msix(void)
{
    struct box b;
    unsigned before;

    blk_new(&b, plain);
    msix(&b);
    start(&b, 0, 1);
    wr(&b, 0x10, 0, 2);
    g_assert_cmphex(blk_do(&b, 0, 5, DATA, 512), ==, 0);
    g_assert_cmphex(b.m->hv->msi_data, ==, 0x4031);
    before = b.m->hv->msi_count;
    store_le16(mem(&b, DRIVER(0)), 1); /* no interrupts, please */
    g_assert_cmphex(blk_do(&b, 0, 6, DATA, 512), ==, 0);
    g_assert_cmpuint(b.m->hv->msi_count, ==, before);
    g_assert_cmphex(in(&b, 0x14, 2), ==, 0); /* legacy registers show the vectors now */
    g_assert_cmphex(in(&b, 0x16, 2), ==, 1);
    g_assert_cmphex(in(&b, 0x18, 4), ==, SECTORS);
    b.disk->size += 512 * 8;
    b.disk->listener->resized(b.disk->listener_opaque);
    g_assert_cmphex(b.m->hv->msi_data, ==, 0x4030);
    g_assert_cmphex(rd(&b, 0x2000, 8), ==, SECTORS + 8);
    g_assert_cmphex(rd(&b, 0x15, 1), ==, 1);
    b.disk->size -= 512 * 8;
    box_free(&b);
}

/* 2.7.7.2, 2.8.14: one when the event is passed, and none besides. */
static void test_events(void)
{
    struct box b;
    unsigned before;
    uint32_t len;

    blk_new(&b, all);
    msix(&b);
    start(&b, F_EVENT, 1);
    wr(&b, 0x16, 0, 2);
    wr(&b, 0x1a, 1, 2);
    store_le16(mem(&b, DRIVER(0) + 4 + 2 * ENTRIES), 0);
    blk_do(&b, 0, 5, DATA, 512); /* the first one is not known to be unwanted */
    before = b.m->hv->msi_count;
    store_le16(mem(&b, DRIVER(0) + 4 + 2 * ENTRIES), 3);
    blk_do(&b, 0, 5, DATA, 512);
    blk_do(&b, 0, 5, DATA, 512);
    g_assert_cmpuint(b.m->hv->msi_count, ==, before);
    blk_do(&b, 0, 5, DATA, 512);
    g_assert_cmpuint(b.m->hv->msi_count, ==, before + 1);
    /* the device wants to hear of what comes next, and of nothing before */
    g_assert_cmpuint(load_le16(mem(&b, DEVICE(0) + 4 + 8 * ENTRIES)), ==, b.q[0].avail);

    start(&b, F_EVENT | F_PACKED, 1);
    g_assert_cmphex(rd(&b, 0x1a, 2), ==, 1);
    store_le32(mem(&b, DRIVER(0)), 1 << 16); /* disabled */
    before = b.m->hv->msi_count;
    blk_do(&b, 0, 5, DATA, 512);
    g_assert_cmpuint(b.m->hv->msi_count, ==, before);
    store_le32(mem(&b, DRIVER(0)), 2 << 16 | 0x8000 | 6); /* when slot 6 is used */
    blk_do(&b, 0, 5, DATA, 512);
    g_assert_cmpuint(b.m->hv->msi_count, ==, before);
    blk_do(&b, 0, 5, DATA, 512);
    g_assert_cmpuint(b.m->hv->msi_count, ==, before + 1);
    g_assert_cmphex(load_le32(mem(&b, DEVICE(0))), ==, 2 << 16 | 0x8000 | 9);
    g_assert_false(used(&b, 0, NULL, &len));
    box_free(&b);
}

/* ---- the window in configuration space ---- */

static void test_window(void)
{
    struct box b;
    uint8_t cap;

    blk_new(&b, plain);
    cap = find_cap(&b, 5);
    pci_config_write(b.m->pci, DEVFN, cap + 4u, 4, 1);
    pci_config_write(b.m->pci, DEVFN, cap + 8u, 0x2000, 4);
    pci_config_write(b.m->pci, DEVFN, cap + 12u, 4, 4);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, cap + 16u, 4), ==, SECTORS);
    pci_config_write(b.m->pci, DEVFN, cap + 8u, 0x14, 4);
    pci_config_write(b.m->pci, DEVFN, cap + 12u, 1, 4);
    pci_config_write(b.m->pci, DEVFN, cap + 16u, 3, 1);
    g_assert_cmphex(rd(&b, 0x14, 1), ==, 3);
    for (unsigned i = 0; i < 6; i++) { /* what is no part of the BAR */
        static const uint32_t bad[][3] = {{4, 0x3fff, 4}, {4, 0x4000, 1}, {4, 0xfffffffe, 2},
                                          {4, 0, 8},      {3, 0, 4},      {4, 0, 0}};
        pci_config_write(b.m->pci, DEVFN, cap + 4u, bad[i][0], 1);
        pci_config_write(b.m->pci, DEVFN, cap + 8u, bad[i][1], 4);
        pci_config_write(b.m->pci, DEVFN, cap + 12u, bad[i][2], 4);
        pci_config_write(b.m->pci, DEVFN, cap + 16u, 0, 4);
        pci_config_read(b.m->pci, DEVFN, cap + 16u, 4);
    }
    g_assert_cmphex(rd(&b, 0x14, 1), ==, 3);
    box_free(&b);
}

/* ---- what contradicts itself ---- */

static void make_loop(struct box *b)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        desc(b, 0, i, DATA, 16, NEXT, (i + 1) % ENTRIES);
    }
    avail(b, 0, 0);
}

static void make_self_link(struct box *b)
{
    desc(b, 0, 0, DATA, 16, NEXT, 0);
    avail(b, 0, 0);
}

static void make_link_beyond(struct box *b)
{
    desc(b, 0, 0, DATA, 16, NEXT, ENTRIES);
    avail(b, 0, 0);
}

static void make_head_beyond(struct box *b)
{
    avail(b, 0, ENTRIES);
}

static void make_index_beyond(struct box *b)
{
    store_le16(mem(b, DRIVER(0) + 2), ENTRIES + 1);
}

static void make_index_back(struct box *b)
{
    store_le16(mem(b, DRIVER(0) + 2), 0xffff);
}

static void make_empty(struct box *b)
{
    desc(b, 0, 0, DATA, 0, WRITE, 0);
    avail(b, 0, 0);
}

static void make_wrong_order(struct box *b)
{
    desc(b, 0, 0, DATA, 16, WRITE | NEXT, 1);
    desc(b, 0, 1, DATA, 16, 0, 0);
    avail(b, 0, 0);
}

static void make_no_header(struct box *b)
{
    desc(b, 0, 0, DATA, 15, NEXT, 1);
    desc(b, 0, 1, DATA, 1, WRITE, 0);
    avail(b, 0, 0);
}

static void make_no_status(struct box *b)
{
    desc(b, 0, 0, DATA, 512, 0, 0);
    avail(b, 0, 0);
}

static void make_status_nowhere(struct box *b)
{
    desc(b, 0, 0, DATA, 16, NEXT, 1);
    desc(b, 0, 1, NO_MEMORY, 1, WRITE, 0);
    avail(b, 0, 0);
}

static void make_table(struct box *b, uint64_t at, uint32_t len, unsigned flags)
{
    desc(b, 0, 0, at, len, INDIRECT | flags, 1);
    avail(b, 0, 0);
}

static void make_table_in_table(struct box *b)
{
    memset(mem(b, TABLES), 0, 64);
    store_le64(mem(b, TABLES), TABLES);
    store_le32(mem(b, TABLES) + 8, 16);
    store_le16(mem(b, TABLES) + 12, INDIRECT);
    make_table(b, TABLES, 16, 0);
}

static void make_table_loop(struct box *b)
{
    for (unsigned i = 0; i < 4; i++) {
        store_le64(mem(b, TABLES + 16 * i), DATA);
        store_le32(mem(b, TABLES + 16 * i) + 8, 16);
        store_le16(mem(b, TABLES + 16 * i) + 12, NEXT);
        store_le16(mem(b, TABLES + 16 * i) + 14, (i + 1) % 4);
    }
    make_table(b, TABLES, 64, 0);
}

static void make_table_link_beyond(struct box *b)
{
    make_table_loop(b);
    store_le16(mem(b, TABLES) + 14, 4);
}

static void make_table_and_next(struct box *b)
{
    make_table(b, TABLES, 16, NEXT);
}

static void make_table_odd(struct box *b)
{
    make_table(b, TABLES, 17, 0);
}

static void make_table_empty(struct box *b)
{
    make_table(b, TABLES, 0, 0);
}

static void make_table_huge(struct box *b)
{
    make_table(b, TABLES, 0xfffffff0, 0);
}

static void make_table_nowhere(struct box *b)
{
    make_table(b, NO_MEMORY, 64, 0);
}

static void make_table_of_registers(struct box *b)
{
    make_table(b, BAR, 64, 0);
}

static void test_broken(void)
{
    static void (*const ways[])(struct box *) = {
        make_loop,         make_self_link,         make_link_beyond,    make_head_beyond,
        make_index_beyond, make_index_back,        make_empty,          make_wrong_order,
        make_no_header,    make_no_status,         make_status_nowhere, make_table_in_table,
        make_table_loop,   make_table_link_beyond, make_table_and_next, make_table_odd,
        make_table_empty,  make_table_huge,        make_table_nowhere,  make_table_of_registers,
    };
    struct box b;

    log_set_level("all", "error");
    for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++) {
        blk_new(&b, plain);
        start(&b, F_INDIRECT, 1);
        ways[i](&b);
        kick(&b, 0);
        settle(&b);
        g_assert_cmphex(STATUS(&b), ==, 0x0f | BROKEN);
        kick(&b, 0); /* nothing more is read */
        wr(&b, 0x14, 0x0f, 1);
        g_assert_cmphex(STATUS(&b), ==, 0x0f | BROKEN);
        box_move(&b);
        g_assert_cmphex(STATUS(&b), ==, 0x0f | BROKEN);
        start(&b, F_INDIRECT, 1);
        g_assert_cmphex(blk_do(&b, 0, 5, DATA, 512), ==, 0);
        box_free(&b);
    }
}

static void slot(struct box *b, unsigned at, uint64_t gpa, uint32_t len, unsigned flags)
{
    uint8_t *d = mem(b, RING(0) + at * 16);

    store_le64(d, gpa);
    store_le32(d + 8, len);
    store_le16(d + 12, 1);
    store_le16(d + 14, flags | 0x80);
}

static void test_broken_packed(void)
{
    struct box b;

    log_set_level("all", "error");
    for (unsigned i = 0; i < 5; i++) {
        blk_new(&b, all);
        start(&b, F_INDIRECT | F_PACKED, 1);
        for (unsigned at = 0; at < ENTRIES; at++) {
            slot(&b, at, DATA, 16, i == 0 ? NEXT : 0); /* 0: a chain without end */
        }
        if (i == 1) {
            slot(&b, 0, TABLES, 24, INDIRECT);
        } else if (i == 2) {
            slot(&b, 0, DATA, 16, NEXT);
            slot(&b, 1, TABLES, 16, INDIRECT);
        } else if (i == 3) {
            store_le16(mem(&b, TABLES) + 14, INDIRECT);
            slot(&b, 0, TABLES, 16, INDIRECT);
        } else if (i == 4) {
            slot(&b, 0, DATA, 16, WRITE | NEXT);
        }
        kick(&b, 0);
        settle(&b);
        g_assert_cmphex(STATUS(&b), ==, 0x0f | BROKEN);
        start(&b, F_INDIRECT | F_PACKED, 1);
        g_assert_cmphex(blk_do(&b, 0, 5, DATA, 512), ==, 0);
        box_free(&b);
    }
}

/* Rings in no memory, in the device's own registers, at the end of the address space. */
static void test_rings_nowhere(void)
{
    static const uint64_t places[] = {NO_MEMORY, BAR, BAR + 0x3000, UINT64_MAX, UINT64_MAX - 4095,
                                      0xfffff,   0};
    struct box b;

    log_set_level("all", "error");
    for (unsigned i = 0; i < G_N_ELEMENTS(places) * 3; i++) {
        blk_new(&b, all);
        negotiate(&b, F_V1 | (i & 1 ? F_PACKED : 0));
        queue_up(&b, 0, ENTRIES, false);
        wr(&b, 0x20 + 8 * (i % 3), places[i / 3], 8);
        wr(&b, 0x1c, 1, 2);
        wr(&b, 0x14, 0x0f, 1);
        kick(&b, 0);
        settle(&b);
        if (i / 3 < 5) {
            g_assert_cmphex(STATUS(&b), ==, 0x0f | BROKEN);
        }
        start(&b, 0, 1);
        g_assert_cmphex(blk_do(&b, 0, 5, DATA, 512), ==, 0);
        box_free(&b);
    }
}

static void test_sizes(void)
{
    struct box b;

    log_set_level("all", "error");
    blk_new(&b, all);
    negotiate(&b, F_V1);
    queue_up(&b, 0, 3, true); /* a split ring's is a power of two */
    g_assert_cmphex(rd(&b, 0x1c, 2), ==, 0);
    g_assert_cmphex(STATUS(&b), ==, 0x0b | BROKEN);
    start(&b, 0, 1);
    wr(&b, 0x16, 0, 2);
    wr(&b, 0x18, 8, 2); /* not any more */
    g_assert_cmphex(rd(&b, 0x18, 2), ==, ENTRIES);
    wr(&b, 0x20, 0, 8);
    g_assert_cmphex(rd(&b, 0x20, 8), ==, RING(0));
    g_assert_cmphex(blk_do(&b, 0, 5, DATA, 512), ==, 0);
    box_free(&b);
}

/* Features that are not offered, and changes of heart. */
static void test_bad_features(void)
{
    struct box b;

    log_set_level("all", "error");
    blk_new(&b, plain);
    for (unsigned bit = 0; bit < 64; bit++) {
        bool fits = offered(&b) >> bit & 1;

        wr(&b, 0x14, 0, 1);
        wr(&b, 0x14, 3, 1);
        wr(&b, 0x08, 0, 4);
        wr(&b, 0x0c, bit < 32 ? 1u << bit : 0, 4);
        wr(&b, 0x08, 1, 4);
        wr(&b, 0x0c, 1 | (bit < 32 ? 0 : 1u << (bit - 32)), 4);
        wr(&b, 0x14, 0x0b, 1);
        g_assert_cmphex(STATUS(&b), ==, fits ? 0x0b : 0x03);
    }
    start(&b, 0, 1);
    wr(&b, 0x08, 0, 4);
    wr(&b, 0x0c, F_INDIRECT, 4); /* too late */
    g_assert_cmphex(rd(&b, 0x0c, 4), ==, 0);
    make_table(&b, TABLES, 16, 0); /* and so there are no tables */
    kick(&b, 0);
    settle(&b);
    g_assert_cmphex(STATUS(&b), ==, 0x0f | BROKEN);
    box_free(&b);
}

/* A storm: each notification does a bounded part, and everything is done in the end. */
static void test_storm(void)
{
    struct box b;
    unsigned done = 0, slots = 0;
    uint32_t len;

    blk_new(&b, plain);
    start(&b, F_INDIRECT, 1);
    for (unsigned i = 0; i < ENTRIES; i++) {
        struct buffer bufs[2] = {{HEADERS + i * 64, 16, false}, {HEADERS + i * 64 + 32, 1, true}};

        store_le32(mem(&b, HEADERS + i * 64), 99); /* unsupported: ends at once */
        put(&b, 0, bufs, 2, true);
    }
    kick(&b, 0);
    while (used(&b, 0, NULL, &len)) {
        slots++;
    }
    g_assert_cmpuint(slots, ==, 8);
    g_assert_cmphex(load_le16(mem(&b, DEVICE(0))), ==, 1); /* no more notifications, please */
    settle(&b);
    while (used(&b, 0, NULL, &len)) {
        done++;
    }
    g_assert_cmpuint(slots + done, ==, ENTRIES);
    g_assert_cmphex(load_le16(mem(&b, DEVICE(0))), ==, 0);
    for (unsigned i = 0; i < 10000; i++) {
        kick(&b, 0);
        wr(&b, 0x3000 + 4 * (i % 80), i, 4);
    }
    g_assert_cmphex(blk_do(&b, 0, 5, DATA, 512), ==, 0);
    box_free(&b);
}

/* Nothing is read or written while the guest forbids it, and nothing is lost. */
static void test_bus_master(void)
{
    struct box b;
    uint16_t id, got = 0;
    uint32_t len;

    blk_new(&b, plain);
    start(&b, F_INDIRECT, 1);
    b.disk->hold = b.disk->cancel_works = true;
    id = blk(&b, 0, 0, 5, DATA, 512);
    pci_config_write(b.m->pci, DEVFN, 0x04, 3, 2);
    g_assert_cmpuint(b.disk->cancels, ==, 1);
    fake_block_complete_all(b.disk);
    kick(&b, 0);
    settle(&b);
    g_assert_cmphex(STATUS(&b), ==, 0x0f);
    g_assert_false(used(&b, 0, &got, &len));
    b.disk->hold = false;
    pci_config_write(b.m->pci, DEVFN, 0x04, 7, 2);
    settle(&b);
    g_assert_true(used(&b, 0, &got, &len));
    g_assert_cmphex(got, ==, id);
    g_assert_cmpuint(sector_at(&b, DATA), ==, 5);
    box_free(&b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio/identity", test_identity);
    g_test_add_func("/virtio/properties", test_properties);
    g_test_add_func("/virtio/registers", test_registers);
    g_test_add_func("/virtio/features", test_features);
    g_test_add_func("/virtio/split", test_split);
    g_test_add_func("/virtio/packed", test_packed);
    g_test_add_func("/virtio/order", test_order);
    g_test_add_func("/virtio/legacy", test_legacy);
    g_test_add_func("/virtio/legacy-early", test_legacy_early);
    g_test_add_func("/virtio/msix", test_msix);
    g_test_add_func("/virtio/events", test_events);
    g_test_add_func("/virtio/window", test_window);
    g_test_add_func("/virtio/broken", test_broken);
    g_test_add_func("/virtio/broken-packed", test_broken_packed);
    g_test_add_func("/virtio/rings-nowhere", test_rings_nowhere);
    g_test_add_func("/virtio/sizes", test_sizes);
    g_test_add_func("/virtio/bad-features", test_bad_features);
    g_test_add_func("/virtio/storm", test_storm);
    g_test_add_func("/virtio/bus-master", test_bus_master);
    return g_test_run();
}
