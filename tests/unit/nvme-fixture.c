/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nvme-fixture.h"

static void open_machine(struct box *b)
{
    GError *err = NULL;

    b->m = fake_machine_new();
    b->dev = device_new(b->m, &nvme_class, "nvme0", &err);
    g_assert_no_error(err);
    device_set(b->dev, "serial", "abc", &err);
    device_set_backend(b->dev, "drive", &b->disk->b);
    pci_device_attach(b->m->pci, (struct pci_device *)b->dev, DEVFN, &err);
    device_realize(b->dev, &err);
    g_assert_no_error(err);
    machine_complete(b->m);
}

void box_new(struct box *b)
{
    *b = (struct box){.disk = fake_block_new("nvm", SECTORS * 512)};
    b->disk->limits.can_discard = true;
    open_machine(b);
    machine_start(b->m);
    pci_config_write(b->m->pci, DEVFN, 0x10, (uint32_t)BAR, 4);
    pci_config_write(b->m->pci, DEVFN, 0x14, 0, 4);
    pci_config_write(b->m->pci, DEVFN, 0x04, 6, 2);
}

uint32_t rd(struct box *b, unsigned reg)
{
    return (uint32_t)aspace_read(b->m->mmio, BAR + reg, 4);
}

void wr(struct box *b, unsigned reg, uint32_t value)
{
    aspace_write(b->m->mmio, BAR + reg, value, 4);
}

uint8_t *mem(struct box *b, uint64_t gpa)
{
    return fake_guestmem_ptr(b->m->memory, gpa);
}

void box_start(struct box *b)
{
    memset(mem(b, ASQ), 0, DATA - ASQ);
    memset(b->tail, 0, sizeof(b->tail));
    memset(b->head, 0, sizeof(b->head));
    b->phase[0] = b->phase[1] = b->phase[2] = true;
    wr(b, 0x24, (ENTRIES - 1) << 16 | (ENTRIES - 1));
    wr(b, 0x28, ASQ);
    wr(b, 0x2c, 0);
    wr(b, 0x30, ACQ);
    wr(b, 0x34, 0);
    wr(b, 0x14, 0x00460001);
    g_assert_cmphex(rd(b, 0x1c), ==, 1);
}

static uint64_t sq_base(unsigned q)
{
    return q ? SQ1 : ASQ;
}

static uint64_t cq_base(unsigned q)
{
    return q ? CQ1 : ACQ;
}

uint16_t issue(struct box *b, unsigned q, struct command c)
{
    uint8_t *e = mem(b, sq_base(q) + b->tail[q] * 64);
    uint16_t cid = ++b->cid;

    memset(e, 0, 64);
    e[0] = c.op;
    e[1] = c.flags;
    store_le16(e + 2, cid);
    store_le32(e + 4, c.nsid);
    memcpy(e + 24, &c.prp1, 8);
    memcpy(e + 32, &c.prp2, 8);
    store_le32(e + 40, c.dw10);
    store_le32(e + 44, c.dw11);
    store_le32(e + 48, c.dw12);
    store_le32(e + 52, c.dw13);
    b->tail[q] = (b->tail[q] + 1) % ENTRIES;
    wr(b, 0x1000 + 8 * q, b->tail[q]);
    return cid;
}

uint16_t completion(struct box *b, unsigned q, uint16_t *cid)
{
    const uint8_t *e = mem(b, cq_base(q) + b->head[q] * 16);
    uint16_t status = load_le16(e + 14);

    if ((status & 1) != b->phase[q]) {
        return NO_COMPLETION;
    }
    b->result = load_le32(e);
    b->head_seen = load_le16(e + 8);
    g_assert_cmpuint(load_le16(e + 10), ==, q);
    if (cid) {
        *cid = load_le16(e + 12);
    }
    b->head[q] = (b->head[q] + 1) % ENTRIES;
    b->phase[q] ^= b->head[q] == 0;
    wr(b, 0x1004 + 8 * q, b->head[q]);
    return status >> 1;
}

void settle(struct box *b)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

uint16_t command(struct box *b, unsigned q, struct command c)
{
    uint16_t cid = issue(b, q, c), got = 0, status;

    settle(b);
    status = completion(b, q, &got);
    g_assert_cmphex(status, !=, NO_COMPLETION);
    g_assert_cmpuint(got, ==, cid);
    return status;
}

void box_queues(struct box *b)
{
    g_assert_cmphex(command(b, 0,
                            (struct command){.op = 0x05,
                                             .prp1 = CQ1,
                                             .dw10 = (ENTRIES - 1) << 16 | 1,
                                             .dw11 = 3}),
                    ==, 0);
    g_assert_cmphex(command(b, 0,
                            (struct command){.op = 0x01,
                                             .prp1 = SQ1,
                                             .dw10 = (ENTRIES - 1) << 16 | 1,
                                             .dw11 = 1 << 16 | 1}),
                    ==, 0);
}

void box_free(struct box *b)
{
    fake_block_complete_all(b->disk);
    settle(b);
    fake_machine_free(b->m);
    fake_block_free(b->disk);
}

static void wait_stopped(struct box *b)
{
    machine_stop(b->m);
    fake_block_complete_all(b->disk);
    g_assert_false(machine_busy(b->m));
}

void box_move(struct box *b)
{
    g_autoptr(GByteArray) saved = g_byte_array_new(), again = g_byte_array_new();
    struct box old = *b;
    GError *err = NULL;

    wait_stopped(&old);
    machine_save(old.m, saved, &err);
    g_assert_no_error(err);
    b->disk = fake_block_new("nvm", SECTORS * 512);
    memcpy(b->disk->data, old.disk->data, SECTORS * 512);
    open_machine(b);
    memcpy(mem(b, 0), mem(&old, 0), 16u << 20);
    fake_machine_free(old.m);
    fake_block_free(old.disk);
    machine_load(b->m, saved->data, saved->len, &err);
    g_assert_no_error(err);
    machine_save(b->m, again, &err);
    g_assert_no_error(err);
    g_assert_cmpmem(again->data, again->len, saved->data, saved->len);
    machine_start(b->m);
}

uint64_t sector_at(struct box *b, uint64_t gpa)
{
    return load_le32(mem(b, gpa)) | (uint64_t)load_le32(mem(b, gpa) + 4) << 32;
}
