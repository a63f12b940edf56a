/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virtio-fixture.h"

static void open_machine(struct box *b)
{
    GError *err = NULL;

    b->m = fake_machine_new();
    b->m->vcpus = 1;
    b->dev = device_new(b->m, b->class, "virtio0", &err);
    g_assert_no_error(err);
    for (unsigned i = 0; b->settings && b->settings[i]; i++) {
        g_auto(GStrv) pair = g_strsplit(b->settings[i], "=", 2);

        device_set(b->dev, pair[0], pair[1], &err);
        g_assert_no_error(err);
    }
    if (b->class == &virtio_blk_class) {
        device_set_backend(b->dev, "drive", &b->disk->b);
    }
    if (b->connect) {
        b->connect(b, b->dev);
    }
    pci_device_attach(b->m->pci, (struct pci_device *)b->dev, DEVFN, &err);
    device_realize(b->dev, &err);
    g_assert_no_error(err);
    if (b->populate) {
        b->populate(b);
    }
    machine_complete(b->m);
}

void box_place(struct box *b)
{
    pci_config_write(b->m->pci, DEVFN, 0x10, PORT, 4);
    pci_config_write(b->m->pci, DEVFN, 0x14, (uint32_t)MSIX_BAR, 4);
    pci_config_write(b->m->pci, DEVFN, 0x20, (uint32_t)BAR, 4);
    pci_config_write(b->m->pci, DEVFN, 0x24, 0, 4);
    pci_config_write(b->m->pci, DEVFN, 0x04, 7, 2);
}

void box_new(struct box *b, const struct device_class *class, const char *const *settings)
{
    *b = (struct box){.class = class,
                      .settings = settings,
                      .connect = b->connect,
                      .populate = b->populate};
    b->disk = fake_block_new("disk", SECTORS * 512);
    b->disk->limits.can_discard = true;
    open_machine(b);
    machine_start(b->m);
    box_place(b);
}

void box_free(struct box *b)
{
    fake_block_complete_all(b->disk);
    settle(b);
    fake_machine_free(b->m);
    fake_block_free(b->disk);
}

void box_move(struct box *b)
{
    g_autoptr(GByteArray) saved = g_byte_array_new(), again = g_byte_array_new();
    struct box old = *b;
    GError *err = NULL;

    machine_stop(old.m);
    fake_block_complete_all(old.disk);
    g_assert_false(machine_busy(old.m));
    machine_save(old.m, saved, &err);
    g_assert_no_error(err);
    b->disk = fake_block_new("disk", SECTORS * 512);
    b->disk->limits = old.disk->limits;
    b->disk->cancel_works = old.disk->cancel_works;
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

bool box_load(struct box *b, const GByteArray *state)
{
    fake_machine_free(b->m);
    open_machine(b);
    return machine_load(b->m, state->data, state->len, NULL) == 0;
}

uint64_t rd(struct box *b, unsigned reg, unsigned size)
{
    return aspace_read(b->m->mmio, BAR + reg, size);
}

void wr(struct box *b, unsigned reg, uint64_t value, unsigned size)
{
    aspace_write(b->m->mmio, BAR + reg, value, size);
}

uint32_t in(struct box *b, unsigned port, unsigned size)
{
    return (uint32_t)aspace_read(b->m->pio, PORT + port, size);
}

void out(struct box *b, unsigned port, uint32_t value, unsigned size)
{
    aspace_write(b->m->pio, PORT + port, value, size);
}

uint8_t *mem(struct box *b, uint64_t gpa)
{
    return fake_guestmem_ptr(b->m->memory, gpa);
}

void settle(struct box *b)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

uint64_t offered(struct box *b)
{
    uint64_t low;

    wr(b, 0x00, 0, 4);
    low = rd(b, 0x04, 4);
    wr(b, 0x00, 1, 4);
    return low | rd(b, 0x04, 4) << 32;
}

static void forget(struct box *b)
{
    memset(mem(b, RING(0)), 0, DATA - RING(0));
    for (unsigned q = 0; q < QUEUES; q++) {
        b->q[q] = (struct driver_queue){.avail_wrap = true, .used_wrap = true};
    }
}

void negotiate(struct box *b, uint64_t features)
{
    wr(b, 0x14, 0, 1);
    g_assert_cmphex(STATUS(b), ==, 0);
    forget(b);
    b->features = features;
    wr(b, 0x14, 1, 1);
    wr(b, 0x14, 3, 1);
    for (unsigned half = 0; half < 2; half++) {
        wr(b, 0x08, half, 4);
        wr(b, 0x0c, features >> 32 * half & UINT32_MAX, 4);
    }
    wr(b, 0x14, 0x0b, 1);
    g_assert_cmphex(STATUS(b), ==, 0x0b);
}

void queue_up(struct box *b, unsigned q, unsigned entries, bool enable)
{
    wr(b, 0x16, q, 2);
    wr(b, 0x18, entries, 2);
    wr(b, 0x1a, q + 1, 2);
    wr(b, 0x20, RING(q), 8);
    wr(b, 0x28, DRIVER(q), 4);
    wr(b, 0x2c, 0, 4);
    wr(b, 0x30, DEVICE(q), 8);
    if (enable) {
        wr(b, 0x1c, 1, 2);
    }
}

void start(struct box *b, uint64_t features, unsigned queues)
{
    negotiate(b, features | F_V1);
    for (unsigned q = 0; q < queues; q++) {
        queue_up(b, q, ENTRIES, true);
    }
    wr(b, 0x14, 0x0f, 1);
    g_assert_cmphex(STATUS(b), ==, 0x0f);
}

/* A legacy queue's parts follow each other: with ENTRIES entries as they lie here. */
G_STATIC_ASSERT(DEVICE(0) == RING(0) + 0x2000);
void start_legacy(struct box *b, uint32_t features, unsigned queues)
{
    out(b, 0x12, 0, 1);
    forget(b);
    b->features = features;
    out(b, 0x12, 1, 1);
    out(b, 0x12, 3, 1);
    out(b, 0x04, features, 4);
    for (unsigned q = 0; q < queues; q++) {
        out(b, 0x0e, q, 2);
        g_assert_cmpuint(in(b, 0x0c, 2), ==, 256);
        g_assert_cmpuint(in(b, 0x08, 4), ==, 0);
        out(b, 0x08, RING(q) >> 12, 4);
        g_assert_cmpuint(in(b, 0x08, 4), ==, RING(q) >> 12);
    }
    out(b, 0x12, 7, 1);
}

/* ---- split rings ---- */

static void fill(uint8_t *d, uint64_t gpa, uint32_t len)
{
    store_le64(d, gpa);
    store_le32(d + 8, len);
}

void desc(struct box *b, unsigned q, unsigned at, uint64_t gpa, uint32_t len, unsigned flags,
          unsigned next)
{
    uint8_t *d = mem(b, RING(q) + at * 16);

    fill(d, gpa, len);
    store_le16(d + 12, flags);
    store_le16(d + 14, next);
}

void avail(struct box *b, unsigned q, uint16_t head)
{
    struct driver_queue *dq = &b->q[q];

    store_le16(mem(b, DRIVER(q) + 4 + 2 * (dq->avail % ENTRIES)), head);
    store_le16(mem(b, DRIVER(q) + 2), ++dq->avail);
}

static uint16_t put_split(struct box *b, unsigned q, const struct buffer *bufs, unsigned count,
                          bool table)
{
    struct driver_queue *dq = &b->q[q];
    uint16_t head = dq->next % ENTRIES;

    for (unsigned i = 0; i < count; i++) {
        unsigned flags = (bufs[i].write ? WRITE : 0) | (i + 1 < count ? NEXT : 0);

        if (table) {
            uint8_t *d = mem(b, TABLES + head * 256 + i * 16);

            fill(d, bufs[i].gpa, bufs[i].len);
            store_le16(d + 12, flags);
            store_le16(d + 14, i + 1);
        } else {
            desc(b, q, (head + i) % ENTRIES, bufs[i].gpa, bufs[i].len, flags,
                 (head + i + 1) % ENTRIES);
        }
    }
    if (table) {
        desc(b, q, head, TABLES + head * 256, 16 * count, INDIRECT, 0);
    }
    dq->next += (uint16_t)(table ? 1 : count);
    avail(b, q, head);
    return head;
}

/* ---- packed rings ---- */

static void put_slot(struct box *b, unsigned q, uint64_t gpa, uint32_t len, uint16_t id,
                     unsigned flags)
{
    struct driver_queue *dq = &b->q[q];
    uint8_t *d = mem(b, RING(q) + dq->avail * 16);

    fill(d, gpa, len);
    store_le16(d + 12, id);
    store_le16(d + 14, flags | (dq->avail_wrap ? 0x80 : 0x8000));
    if (++dq->avail == ENTRIES) {
        dq->avail = 0;
        dq->avail_wrap = !dq->avail_wrap;
    }
}

static uint16_t put_packed(struct box *b, unsigned q, const struct buffer *bufs, unsigned count,
                           bool table)
{
    struct driver_queue *dq = &b->q[q];
    uint16_t id = (uint16_t)(dq->next % ENTRIES << 8 | count);

    for (unsigned i = 0; i < count; i++) {
        unsigned flags = bufs[i].write ? WRITE : 0;

        if (table) {
            uint8_t *d = mem(b, TABLES + dq->next % ENTRIES * 256 + i * 16);

            fill(d, bufs[i].gpa, bufs[i].len);
            store_le16(d + 14, flags);
        } else {
            put_slot(b, q, bufs[i].gpa, bufs[i].len, id, flags | (i + 1 < count ? NEXT : 0));
        }
    }
    if (table) {
        id = (uint16_t)(dq->next % ENTRIES << 8 | 1);
        put_slot(b, q, TABLES + dq->next % ENTRIES * 256, 16 * count, id, INDIRECT);
    }
    dq->next++;
    return id;
}

uint16_t put(struct box *b, unsigned q, const struct buffer *bufs, unsigned count, bool table)
{
    return b->features & F_PACKED ? put_packed(b, q, bufs, count, table)
                                  : put_split(b, q, bufs, count, table);
}

void kick(struct box *b, unsigned q)
{
    if (b->features & F_V1) {
        wr(b, 0x3000 + 4 * q, q, 2);
    } else {
        out(b, 0x10, q, 2);
    }
}

bool used(struct box *b, unsigned q, uint16_t *id, uint32_t *len)
{
    struct driver_queue *dq = &b->q[q];
    const uint8_t *e;
    uint16_t got;

    if (b->features & F_PACKED) {
        unsigned flags;

        e = mem(b, RING(q) + dq->used * 16);
        flags = load_le16(e + 14);
        if (!!(flags & 0x80) != dq->used_wrap || !!(flags & 0x8000) != dq->used_wrap) {
            return false;
        }
        got = load_le16(e + 12);
        *len = load_le32(e + 8);
        dq->used += got & 0xff; /* our ids say how many slots they took */
        if (dq->used >= ENTRIES) {
            dq->used -= ENTRIES;
            dq->used_wrap = !dq->used_wrap;
        }
    } else {
        if (load_le16(mem(b, DEVICE(q) + 2)) == dq->used) {
            return false;
        }
        e = mem(b, DEVICE(q) + 4 + 8 * (dq->used % ENTRIES));
        got = (uint16_t)load_le32(e);
        *len = load_le32(e + 4);
        dq->used++;
    }
    if (id) {
        *id = got;
    }
    return true;
}

/* ---- a disk's requests ---- */

static uint64_t header_at(unsigned slot)
{
    return HEADERS + slot % 64 * BLK_SIZE_REQUEST;
}

uint16_t blk(struct box *b, unsigned q, uint32_t type, uint64_t sector, uint64_t data, uint32_t len)
{
    uint64_t at = header_at(++b->slot);
    struct buffer bufs[3] = {{at, 16, false}};
    unsigned count = 1;
    bool reads = type != 1 && type != 11 && type != 13;
    uint16_t id;

    store_le32(mem(b, at), type);
    store_le32(mem(b, at) + 4, 0);
    store_le64(mem(b, at) + 8, sector);
    mem(b, at)[32] = 0xee;
    if (len) {
        bufs[count++] = (struct buffer){data, len, reads};
    }
    bufs[count++] = (struct buffer){at + 32, 1, true};
    id = put(b, q, bufs, count, b->features & F_INDIRECT);
    kick(b, q);
    return id;
}

uint8_t blk_status(struct box *b)
{
    return mem(b, header_at(b->slot))[32];
}

uint8_t blk_do(struct box *b, uint32_t type, uint64_t sector, uint64_t data, uint32_t len)
{
    uint16_t id = blk(b, 0, type, sector, data, len), got = 0;
    uint32_t written = 0;

    settle(b);
    g_assert_true(used(b, 0, &got, &written));
    g_assert_cmphex(got, ==, id);
    g_assert_cmpuint(written, ==, type != 1 && type != 11 && type != 13 ? len + 1 : 1);
    return blk_status(b);
}

uint64_t sector_at(struct box *b, uint64_t gpa)
{
    return load_le64(mem(b, gpa));
}
