/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * benchdisk: the driver of a disk controller, repeated and timed in this process, with as many
 * register accesses for a request as Linux' drivers (ahci, nvme, sym53c8xx, virtio_blk,
 * virtio_scsi) need.
 *
 *     benchdisk ahci|nvme|lsi|virtio-blk|virtio-scsi read|write COUNT BYTES DEPTH BAR DEVICE
 *         rand|seq LIMIT
 *
 * COUNT requests of BYTES, DEPTH of them under way (AHCI has 32 at most). BAR: where the registers
 * are in memory, for the LSI its RAM 64 KiB behind them; DEVICE: its number on the bus, for its
 * line, which is waited for as a vCPU in HLT does. LIMIT: sectors of the disk.
 *
 * Sources: AHCI 1.3.1; NVM Express 1.4; LSI53C895A technical manual; OASIS virtio 1.2.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "../host/domain.h"
#include "bench.h"
#include "commands.h"
#include "qtest.h"
#include "words.h"

#define SECTOR 512u
#define DEPTH_MAX 64u
#define BYTES_MAX 65536u
#define TABLES UINT64_C(0x200000) /* guest addresses; the bench's guest has no other use */
#define DATA UINT64_C(0x400000)
#define PATIENCE_MS 5000

struct disk_bench;

struct disk {
    const char *name;
    uint32_t depth;
    void (*begin)(struct disk_bench *b);
    void (*give)(struct disk_bench *b, uint32_t slot, uint64_t lba);
    void (*kick)(struct disk_bench *b);      /* what was given since the last one */
    void (*interrupt)(struct disk_bench *b); /* the line is high: take what has ended */
};

struct disk_bench {
    struct cmd *c;
    struct domain *d;
    const struct disk *disk;
    bool write, sequential;
    uint64_t count, limit, next, seed, bar;
    uint32_t bytes, depth, device;
    uint8_t *tables;
    int64_t start[DEPTH_MAX];
    bool busy[DEPTH_MAX];
    uint32_t given;             /* slots, for AHCI as bits */
    uint32_t tail, head, phase; /* of queues */
    uint32_t queue;             /* of virtio */
    uint64_t begun, ended;
    uint32_t *ns;
    const char *why; /* NULL: all is well */
};

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint64_t reg(struct disk_bench *b, uint64_t at, unsigned size, bool write, uint64_t value)
{
    ioreq_t r = {.type = IOREQ_TYPE_COPY,
                 .addr = b->bar + at,
                 .size = size,
                 .count = 1,
                 .data = value,
                 .dir = write ? IOREQ_WRITE : IOREQ_READ,
                 .state = STATE_IOREQ_READY};
    const char *why = NULL;

    if (io_access(b->d, b->c->s->vcpu, &r, &why) == IO_FAIL && !b->why)
        b->why = why ? why : "an access failed";
    return r.data;
}

static void set(struct disk_bench *b, uint64_t at, unsigned size, uint64_t value)
{
    reg(b, at, size, true, value);
}

static uint32_t get(struct disk_bench *b, uint64_t at, unsigned size)
{
    return (uint32_t)reg(b, at, size, false, 0);
}

/* Until the register has the value under the mask. */
static void until(struct disk_bench *b, uint64_t at, uint32_t mask, uint32_t value)
{
    int64_t end = now_ns() + (int64_t)PATIENCE_MS * 1000000;

    while ((get(b, at, 4) & mask) != value && !b->why)
        if (now_ns() > end)
            b->why = "a register did not come to its value";
}

static void put32(struct disk_bench *b, uint64_t at, uint32_t value)
{
    *(volatile uint32_t *)(b->tables + at) = value;
}

static void put64(struct disk_bench *b, uint64_t at, uint64_t value)
{
    *(volatile uint64_t *)(b->tables + at) = value;
}

static uint64_t data_of(uint32_t slot)
{
    return DATA + (uint64_t)slot * BYTES_MAX;
}

static void ended(struct disk_bench *b, uint32_t slot)
{
    if (slot >= b->depth || !b->busy[slot]) {
        b->why = "an answer that nobody waits for";
        return;
    }
    b->busy[slot] = false;
    b->ns[b->ended++] = (uint32_t)MIN(now_ns() - b->start[slot], UINT32_MAX);
}

/* ---- AHCI: port 0, queued commands ---- */

#define AHCI_PORT 0x100u
#define AHCI_FISES 0x800u
#define AHCI_TABLE(slot) (0x1000u + (slot)*0x100u)

static void ahci_begin(struct disk_bench *b)
{
    set(b, 4, 4, 0x80000001);
    until(b, 4, 1, 0);
    set(b, 4, 4, 0x80000002);
    set(b, AHCI_PORT + 0x18, 4, 6);
    until(b, AHCI_PORT + 0x18, 0xc000, 0);
    set(b, AHCI_PORT, 4, TABLES);
    set(b, AHCI_PORT + 4, 4, 0);
    set(b, AHCI_PORT + 8, 4, TABLES + AHCI_FISES);
    set(b, AHCI_PORT + 12, 4, 0);
    set(b, AHCI_PORT + 0x18, 4, 0x16);
    set(b, AHCI_PORT + 0x30, 4, UINT32_MAX);
    set(b, AHCI_PORT + 0x10, 4, UINT32_MAX);
    set(b, 8, 4, UINT32_MAX);
    until(b, AHCI_PORT + 0x20, 0x88, 0);
    set(b, AHCI_PORT + 0x14, 4, 0x7dc0007f);
    set(b, AHCI_PORT + 0x18, 4, 0x17);
}

static void ahci_give(struct disk_bench *b, uint32_t slot, uint64_t lba)
{
    uint32_t t = AHCI_TABLE(slot), sectors = b->bytes / SECTOR;

    put32(b, 32u * slot, 0x10005 | (b->write ? 0x40 : 0));
    put32(b, 32u * slot + 4, 0);
    put64(b, 32u * slot + 8, TABLES + t);
    put32(b, t, 0x8027 | (b->write ? 0x61u : 0x60u) << 16 | (sectors & 0xff) << 24);
    put32(b, t + 4, (uint32_t)(lba & 0xffffff) | 0x40000000);
    put32(b, t + 8, (uint32_t)(lba >> 24) | sectors >> 8 << 24);
    put32(b, t + 12, slot << 3);
    put64(b, t + 0x80, data_of(slot));
    put32(b, t + 0x8c, b->bytes - 1);
    b->given |= 1u << slot;
}

static void ahci_kick(struct disk_bench *b)
{
    uint32_t slot;

    for (slot = 0; slot < b->depth; slot++)
        if (b->given & 1u << slot) {
            set(b, AHCI_PORT + 0x34, 4, 1u << slot);
            set(b, AHCI_PORT + 0x38, 4, 1u << slot);
        }
    b->given = 0;
}

static void ahci_interrupt(struct disk_bench *b)
{
    uint32_t is, active, slot;

    get(b, 8, 4);
    is = get(b, AHCI_PORT + 0x10, 4);
    set(b, AHCI_PORT + 0x10, 4, is);
    active = get(b, AHCI_PORT + 0x34, 4);
    for (slot = 0; slot < b->depth; slot++)
        if (b->busy[slot] && !(active & 1u << slot) && !(b->given & 1u << slot))
            ended(b, slot);
    if (is & 0x78000000)
        b->why = "the drive failed";
    set(b, 8, 4, 1);
}

/* ---- NVMe: one I/O queue ---- */

#define NVME_ADMIN_SQ 0x0000u
#define NVME_ADMIN_CQ 0x1000u
#define NVME_SQ 0x2000u
#define NVME_CQ 0x4000u
#define NVME_LISTS 0x8000u /* a page a slot would be too much: 256 bytes */
#define NVME_ENTRIES 128u

static void nvme_admin(struct disk_bench *b, uint32_t i, uint32_t op, uint64_t prp, uint32_t dw10,
                       uint32_t dw11)
{
    int64_t end = now_ns() + (int64_t)PATIENCE_MS * 1000000;
    uint64_t e = NVME_ADMIN_SQ + 64u * i;

    memset(b->tables + e, 0, 64);
    put32(b, e, op | i << 16);
    put64(b, e + 24, prp);
    put32(b, e + 40, dw10);
    put32(b, e + 44, dw11);
    set(b, 0x1000, 4, i + 1);
    while (!(*(volatile uint32_t *)(b->tables + NVME_ADMIN_CQ + 16u * i + 12) & 0x10000) && !b->why)
        if (now_ns() > end)
            b->why = "an admin command did not end";
    set(b, 0x1004, 4, i + 1);
}

static void nvme_begin(struct disk_bench *b)
{
    set(b, 0x14, 4, 0);
    until(b, 0x1c, 1, 0);
    memset(b->tables, 0, NVME_LISTS);
    set(b, 0x24, 4, 0x000f000f);
    set(b, 0x28, 4, TABLES + NVME_ADMIN_SQ);
    set(b, 0x2c, 4, 0);
    set(b, 0x30, 4, TABLES + NVME_ADMIN_CQ);
    set(b, 0x34, 4, 0);
    set(b, 0x14, 4, 0x00460001);
    until(b, 0x1c, 1, 1);
    nvme_admin(b, 0, 5, TABLES + NVME_CQ, (NVME_ENTRIES - 1) << 16 | 1, 3);
    nvme_admin(b, 1, 1, TABLES + NVME_SQ, (NVME_ENTRIES - 1) << 16 | 1, 0x10001);
    b->tail = b->head = 0;
    b->phase = 0x10000;
}

static void nvme_give(struct disk_bench *b, uint32_t slot, uint64_t lba)
{
    uint64_t e = NVME_SQ + 64u * b->tail, list = NVME_LISTS + 256u * slot;
    uint32_t pages = (b->bytes + 4095) / 4096, i;

    memset(b->tables + e, 0, 64);
    put32(b, e, (b->write ? 1 : 2) | slot << 16);
    put32(b, e + 4, 1);
    put64(b, e + 24, data_of(slot));
    if (pages == 2)
        put64(b, e + 32, data_of(slot) + 4096);
    else if (pages > 2) {
        for (i = 1; i < pages; i++)
            put64(b, list + 8u * (i - 1), data_of(slot) + 4096u * i);
        put64(b, e + 32, TABLES + list);
    }
    put64(b, e + 40, lba);
    put32(b, e + 48, b->bytes / SECTOR - 1);
    b->tail = (b->tail + 1) % NVME_ENTRIES;
}

static void nvme_kick(struct disk_bench *b)
{
    set(b, 0x1008, 4, b->tail);
}

static void nvme_interrupt(struct disk_bench *b)
{
    uint32_t before = b->head;

    for (;;) {
        volatile uint32_t *e = (volatile uint32_t *)(b->tables + NVME_CQ + 16u * b->head);
        uint32_t last = e[3];

        if ((last & 0x10000) != b->phase || b->why)
            break;
        if (last >> 17)
            b->why = "a command failed";
        else
            ended(b, last & 0xffff);
        b->head = (b->head + 1) % NVME_ENTRIES;
        if (b->head == 0)
            b->phase ^= 0x10000;
    }
    if (b->head != before)
        set(b, 0x100c, 4, b->head);
}

/* ---- LSI 53C895A: tagged commands, a script in its RAM, as Linux' ---- */

#define LSI_RAM 0x10000u
#define LSI_QUEUE 0x0000u /* entries of two words: the job, or LSI_IDLE; the next entry */
#define LSI_ENTRIES 128u
#define LSI_IDLE 1u
#define LSI_START 0x1000u /* where the script finds its next entry */
#define LSI_BASE 0x1004u  /* … and the jobs */
#define LSI_INPUT 0x1010u /* messages of the target */
#define LSI_JOBS 0x10000u /* 256 bytes each, by tag */

static const uint32_t lsi_script[][2] = {
#define MEM(at) (uint32_t)(TABLES + (at))
    [0] = {0x721a0000, 0},              /* CTEST2: SIGP is seen */
    [1] = {0xe1100004, MEM(LSI_START)}, /* DSA = the entry */
    [2] = {0xe15c0004, MEM(LSI_START)}, /* SCRATCHB, too */
    [3] = {0xf1340004, 4},              /* SCRATCHA = the next entry */
    [4] = {0xf1080001, 0},              /* SFBR = of the job: nobody's? */
    [5] = {0x808c0000 | LSI_IDLE, 8 * (26 - 6)},
    [6] = {0xe0340004, MEM(LSI_START)},
    [7] = {0xf1100004, 0},              /* DSA = the job */
    [8] = {0x47000000, 8 * (40 - 9)},   /* SELECT ATN; reselected: 40 */
    [9] = {0x1e000000, 0x10},           /* MESSAGE OUT */
    [10] = {0x1a000000, 0x18},          /* COMMAND */
    [11] = {0x878b0000, 8 * (18 - 12)}, /* MESSAGE IN: 18 */
    [12] = {0x838a0000, 8 * (16 - 13)}, /* STATUS: 16 */
    [13] = {0x818a0000, 8 * (36 - 14)}, /* DATA IN: 36 */
    [14] = {0x808a0000, 8 * (38 - 15)}, /* DATA OUT: 38 */
    [15] = {0x98080000, 0xbad},
    [16] = {0x1b000000, 0x28},           /* STATUS */
    [17] = {0x80880000, 0xffffc8},       /* 11 */
    [18] = {0x0f000001, MEM(LSI_INPUT)}, /* MESSAGE IN */
    [19] = {0x808c0000, 8 * (33 - 20)},  /* COMMAND COMPLETE: 33 */
    [20] = {0x808c0004, 8 * (23 - 21)},  /* DISCONNECT: 23 */
    [21] = {0x60000040, 0},              /* ACK */
    [22] = {0x80880000, 0xffffa0},       /* 11 */
    [23] = {0x60000040, 0},
    [24] = {0x48000000, 0},              /* WAIT DISCONNECT */
    [25] = {0x80880000, 0xffff30},       /* 0 */
    [26] = {0x54000000, 0xffff28},       /* WAIT RESELECT; SIGP: 0 */
    [27] = {0x0f000001, MEM(LSI_INPUT)}, /* IDENTIFY */
    [28] = {0x0f000002, MEM(LSI_INPUT)}, /* SIMPLE, the tag */
    [29] = {0xe1100004, MEM(LSI_BASE)},  /* DSA = the jobs, … */
    [30] = {0x72500000, 0},
    [31] = {0x6a110000, 0},        /* … that of the tag */
    [32] = {0x80880000, 0xffff50}, /* 11 */
    [33] = {0x60000040, 0},
    [34] = {0x98180000, 0},              /* INTERRUPT ON THE FLY */
    [35] = {0x80880000, 0xfffee0},       /* 0 */
    [36] = {0x19000000, 0x20},           /* DATA IN */
    [37] = {0x80880000, 0xffff28},       /* 11 */
    [38] = {0x18000000, 0x20},           /* DATA OUT */
    [39] = {0x80880000, 0xffff18},       /* 11 */
    [40] = {0xe05c0004, MEM(LSI_START)}, /* the entry is still to come */
    [41] = {0x80880000, 0xffff88},       /* 27 */
};

static volatile uint8_t *lsi_status(struct disk_bench *b, uint32_t slot)
{
    return b->tables + LSI_JOBS + 256u * slot + 0x80;
}

static void lsi_give(struct disk_bench *b, uint32_t slot, uint64_t lba)
{
    uint64_t job = LSI_JOBS + 256u * slot;
    uint8_t *m = b->tables + job;
    uint32_t sectors = b->bytes / SECTOR;

    put32(b, job, 0); /* id 0 */
    put32(b, job + 0x10, 3);
    put32(b, job + 0x14, (uint32_t)(TABLES + job + 0x40));
    put32(b, job + 0x18, 10);
    put32(b, job + 0x1c, (uint32_t)(TABLES + job + 0x50));
    put32(b, job + 0x20, b->bytes);
    put32(b, job + 0x24, (uint32_t)data_of(slot));
    put32(b, job + 0x28, 1);
    put32(b, job + 0x2c, (uint32_t)(TABLES + job + 0x80));
    m[0x40] = 0xc0;
    m[0x41] = 0x20;
    m[0x42] = (uint8_t)slot;
    memset(m + 0x50, 0, 10);
    m[0x50] = b->write ? 0x2a : 0x28;
    m[0x52] = (uint8_t)(lba >> 24);
    m[0x53] = (uint8_t)(lba >> 16);
    m[0x54] = (uint8_t)(lba >> 8);
    m[0x55] = (uint8_t)lba;
    m[0x57] = (uint8_t)(sectors >> 8);
    m[0x58] = (uint8_t)sectors;
    *lsi_status(b, slot) = 0xff;
    put32(b, LSI_QUEUE + 8u * ((b->tail + 1) % LSI_ENTRIES), LSI_IDLE);
    __sync_synchronize();
    put32(b, LSI_QUEUE + 8u * b->tail, (uint32_t)(TABLES + job));
    b->tail = (b->tail + 1) % LSI_ENTRIES;
}

static void lsi_kick(struct disk_bench *b)
{
    set(b, 0x14, 1, 0x20);
}

/* The reset is told by a unit attention: commands, until one succeeds. */
static void lsi_settle(struct disk_bench *b)
{
    int64_t end = now_ns() + (int64_t)PATIENCE_MS * 1000000;
    uint32_t i;

    for (i = 0; i < 8 && !b->why; i++) {
        lsi_give(b, 0, 0);
        lsi_kick(b);
        while (*lsi_status(b, 0) == 0xff && !b->why)
            if (now_ns() > end)
                b->why = "the first commands did not end";
        set(b, 0x14, 1, 0x04);
        if (*lsi_status(b, 0) == 0)
            return;
    }
    b->why = b->why ? b->why : "the disk is not ready";
}

static void lsi_begin(struct disk_bench *b)
{
    uint32_t i;

    set(b, 0x14, 1, 0x40);
    set(b, 0x14, 1, 0);
    set(b, 0x04, 1, 0x47);
    set(b, 0x40, 1, 0x8f);
    set(b, 0x41, 1, 0x04);
    set(b, 0x39, 1, 0x7d);
    for (i = 0; i < G_N_ELEMENTS(lsi_script); i++) {
        set(b, LSI_RAM + 8u * i, 4, lsi_script[i][0]);
        set(b, LSI_RAM + 8u * i + 4, 4, lsi_script[i][1]);
    }
    for (i = 0; i < LSI_ENTRIES; i++) {
        put32(b, LSI_QUEUE + 8u * i, LSI_IDLE);
        put32(b, LSI_QUEUE + 8u * i + 4,
              (uint32_t)TABLES + LSI_QUEUE + 8u * ((i + 1) % LSI_ENTRIES));
    }
    put32(b, LSI_START, (uint32_t)TABLES + LSI_QUEUE);
    put32(b, LSI_BASE, (uint32_t)TABLES + LSI_JOBS);
    b->tail = 0;
    set(b, 0x2c, 4, b->bar + LSI_RAM);
    lsi_settle(b);
}

static void lsi_interrupt(struct disk_bench *b)
{
    uint32_t istat = get(b, 0x14, 1), slot;

    if (istat & 3) {
        b->why = "the script has stopped";
        return;
    }
    set(b, 0x14, 1, (istat & 0x20) | 0x04);
    for (slot = 0; slot < b->depth; slot++) {
        uint8_t status = *lsi_status(b, slot);

        if (b->busy[slot] && status != 0xff) {
            if (status)
                b->why = "a command failed";
            ended(b, slot);
        }
    }
}

/* ---- virtio: one split ring with indirect descriptors and event index, as Linux' ---- */

#define VIRTIO_ENTRIES 64u
#define VIRTIO_RING 0x1000u
#define VIRTIO_DRIVER 0x2000u
#define VIRTIO_DEVICE 0x3000u
#define VIRTIO_USED_EVENT (VIRTIO_DRIVER + 4 + 2 * VIRTIO_ENTRIES)
#define VIRTIO_AVAIL_EVENT (VIRTIO_DEVICE + 4 + 8 * VIRTIO_ENTRIES)
#define VIRTIO_REQUESTS 0x4000u /* 256 bytes each: header, status */
#define VIRTIO_TABLES 0x8000u   /* 512 bytes each */
#define VIRTIO_REQUEST 256u
#define VIRTIO_STATUS 32u
#define SCSI_QUEUE 2u /* the first of commands */
#define SCSI_HEADER 51u
#define SCSI_ANSWER 64u
#define SCSI_ANSWER_BYTES 108u

static volatile uint16_t *virtio_half(struct disk_bench *b, uint64_t at)
{
    return (volatile uint16_t *)(b->tables + at);
}

static void virtio_start(struct disk_bench *b, uint32_t features, uint32_t queue)
{
    b->queue = queue;
    set(b, 0x14, 1, 0);
    until(b, 0x14, 0xff, 0);
    memset(b->tables, 0, 0x10000);
    set(b, 0x14, 1, 3);
    set(b, 0x08, 4, 0);
    set(b, 0x0c, 4, 0x30000000 | features); /* event index, indirect descriptors */
    set(b, 0x08, 4, 1);
    set(b, 0x0c, 4, 1);
    set(b, 0x14, 1, 11);
    set(b, 0x16, 2, queue);
    set(b, 0x18, 2, VIRTIO_ENTRIES);
    set(b, 0x20, 4, TABLES + VIRTIO_RING);
    set(b, 0x24, 4, 0);
    set(b, 0x28, 4, TABLES + VIRTIO_DRIVER);
    set(b, 0x2c, 4, 0);
    set(b, 0x30, 4, TABLES + VIRTIO_DEVICE);
    set(b, 0x34, 4, 0);
    set(b, 0x1c, 2, 1);
    set(b, 0x14, 1, 15);
    b->tail = b->head = b->given = 0;
}

static void virtio_begin(struct disk_bench *b)
{
    virtio_start(b, 0x200, 0); /* flush */
}

static void virtio_desc(struct disk_bench *b, uint64_t at, uint64_t gpa, uint32_t len,
                        uint32_t flags, uint32_t next)
{
    put64(b, at, gpa);
    put32(b, at + 8, len);
    put32(b, at + 12, flags | next << 16);
}

/* The table of `slot`, of `count` descriptors. */
static void virtio_put(struct disk_bench *b, uint32_t slot, uint32_t count)
{
    virtio_desc(b, VIRTIO_RING + 16u * slot, TABLES + VIRTIO_TABLES + 512u * slot, 16 * count, 4,
                0);
    *virtio_half(b, VIRTIO_DRIVER + 4 + 2 * (b->tail % VIRTIO_ENTRIES)) = (uint16_t)slot;
    b->tail++;
}

static void virtio_give(struct disk_bench *b, uint32_t slot, uint64_t lba)
{
    uint64_t r = VIRTIO_REQUESTS + VIRTIO_REQUEST * slot, table = VIRTIO_TABLES + 512u * slot;
    uint32_t i = 1, done = 0;

    put32(b, r, b->write);
    put64(b, r + 8, lba);
    put32(b, r + VIRTIO_STATUS, 0xff);
    virtio_desc(b, table, TABLES + r, 16, 1, 1);
    for (; done < b->bytes; i++, done += 4096)
        virtio_desc(b, table + 16u * i, data_of(slot) + done, MIN(b->bytes - done, 4096),
                    b->write ? 1 : 3, i + 1);
    virtio_desc(b, table + 16u * i, TABLES + r + VIRTIO_STATUS, 1, 2, 0);
    virtio_put(b, slot, i + 1);
}

static void virtio_kick(struct disk_bench *b)
{
    uint16_t before = (uint16_t)b->given, event;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    *virtio_half(b, VIRTIO_DRIVER + 2) = (uint16_t)b->tail;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    event = *virtio_half(b, VIRTIO_AVAIL_EVENT);
    b->given = b->tail;
    if ((uint16_t)(b->tail - event - 1) < (uint16_t)(b->tail - before))
        set(b, 0x3000 + 4 * b->queue, 2, b->queue);
}

static bool virtio_failed(struct disk_bench *b, uint32_t slot)
{
    const uint8_t *r = b->tables + VIRTIO_REQUESTS + VIRTIO_REQUEST * slot;

    return b->queue ? r[SCSI_ANSWER + 10] || r[SCSI_ANSWER + 11] : r[VIRTIO_STATUS];
}

static void virtio_interrupt(struct disk_bench *b)
{
    get(b, 0x1000, 1);
    do {
        while (*virtio_half(b, VIRTIO_DEVICE + 2) != (uint16_t)b->head && !b->why) {
            uint64_t at = VIRTIO_DEVICE + 4 + 8u * (b->head % VIRTIO_ENTRIES);
            uint32_t slot = *(volatile uint32_t *)(b->tables + at);

            if (slot < b->depth && virtio_failed(b, slot))
                b->why = "a request failed";
            else
                ended(b, slot);
            b->head++;
        }
        *virtio_half(b, VIRTIO_USED_EVENT) = (uint16_t)b->head;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    } while (*virtio_half(b, VIRTIO_DEVICE + 2) != (uint16_t)b->head && !b->why);
}

/* ---- virtio SCSI: the same with one request queue, unit 0:0 ---- */

static void scsi_put(struct disk_bench *b, uint32_t slot, uint8_t opcode, uint64_t lba,
                     uint32_t bytes)
{
    uint64_t r = VIRTIO_REQUESTS + VIRTIO_REQUEST * slot, table = VIRTIO_TABLES + 512u * slot;
    uint8_t *cdb = b->tables + r + 19;
    uint32_t i = 1, done = 0, count = bytes / SECTOR;

    memset(b->tables + r, 0, VIRTIO_REQUEST);
    b->tables[r] = 1;
    put64(b, r + 8, slot);
    cdb[0] = opcode;
    cdb[2] = (uint8_t)(lba >> 24);
    cdb[3] = (uint8_t)(lba >> 16);
    cdb[4] = (uint8_t)(lba >> 8);
    cdb[5] = (uint8_t)lba;
    cdb[7] = (uint8_t)(count >> 8);
    cdb[8] = (uint8_t)count;
    virtio_desc(b, table, TABLES + r, SCSI_HEADER, 1, 1);
    if (!b->write)
        virtio_desc(b, table + 16u * i++, TABLES + r + SCSI_ANSWER, SCSI_ANSWER_BYTES,
                    bytes ? 3 : 2, 2);
    for (; done < bytes; i++, done += 4096) {
        bool last = !b->write && done + 4096 >= bytes;

        virtio_desc(b, table + 16u * i, data_of(slot) + done, MIN(bytes - done, 4096),
                    (b->write ? 0 : 2) | (last ? 0 : 1), i + 1);
    }
    if (b->write)
        virtio_desc(b, table + 16u * i++, TABLES + r + SCSI_ANSWER, SCSI_ANSWER_BYTES, 2, 0);
    virtio_put(b, slot, i);
}

/* The first command after a reset is told of that. */
static void scsi_begin(struct disk_bench *b)
{
    int64_t end = now_ns() + PATIENCE_MS * INT64_C(1000000);

    virtio_start(b, 0, SCSI_QUEUE);
    scsi_put(b, 0, 0, 0, 0);
    virtio_kick(b);
    while (*virtio_half(b, VIRTIO_DEVICE + 2) != 1)
        if (now_ns() > end) {
            b->why = "the first command did not end in time";
            return;
        }
    b->head = 1;
    *virtio_half(b, VIRTIO_USED_EVENT) = 1;
    get(b, 0x1000, 1);
}

static void scsi_give(struct disk_bench *b, uint32_t slot, uint64_t lba)
{
    scsi_put(b, slot, b->write ? 0x2a : 0x28, lba, b->bytes);
}

static const struct disk disks[] = {
    {"ahci", 32, ahci_begin, ahci_give, ahci_kick, ahci_interrupt},
    {"nvme", DEPTH_MAX, nvme_begin, nvme_give, nvme_kick, nvme_interrupt},
    {"lsi", DEPTH_MAX, lsi_begin, lsi_give, lsi_kick, lsi_interrupt},
    {"virtio-blk", DEPTH_MAX, virtio_begin, virtio_give, virtio_kick, virtio_interrupt},
    {"virtio-scsi", DEPTH_MAX, scsi_begin, scsi_give, virtio_kick, virtio_interrupt},
};

/* ---- any of them ---- */

static uint64_t next_lba(struct disk_bench *b)
{
    uint64_t step = b->bytes / SECTOR, at = b->next;

    if (b->sequential) {
        b->next = at + 2 * step <= b->limit ? at + step : 0;
        return at;
    }
    b->seed = b->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (b->seed >> 33) % (b->limit / step) * step;
}

static void fill(struct disk_bench *b)
{
    uint32_t slot;
    bool any = false;

    for (slot = 0; slot < b->depth && b->begun < b->count; slot++)
        if (!b->busy[slot]) {
            b->busy[slot] = true;
            b->start[slot] = now_ns();
            b->disk->give(b, slot, next_lba(b));
            b->begun++;
            any = true;
        }
    if (any)
        b->disk->kick(b);
}

static void wait_line(struct disk_bench *b)
{
    struct host *h = b->d->host;
    uint64_t bit = UINT64_C(1) << irq_intx_gsi(b->device, 0);
    struct timespec end;
    int e = 0;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&h->big);
    while (!(b->d->gsi_level & bit) && !b->d->dying && e != ETIMEDOUT)
        e = pthread_cond_timedwait(&h->idle, &h->big, &end);
    pthread_mutex_unlock(&h->big);
    if (e == ETIMEDOUT)
        b->why = "the interrupt did not come in time";
}

static char *bench_run(struct disk_bench *b)
{
    int64_t start;

    b->disk->begin(b);
    start = now_ns();
    while (b->ended < b->count && !b->why) {
        fill(b);
        wait_line(b);
        if (!b->why)
            b->disk->interrupt(b);
    }
    start = now_ns() - start;
    if (b->why)
        return g_strdup_printf("FAIL after %" PRIu64 " requests: %s", b->ended, b->why);
    qsort(b->ns, b->count, sizeof(*b->ns), bench_compare);
    return g_strdup_printf("OK n=%" PRIu64 " total=%" PRId64 " p50=%u p99=%u", b->count, start,
                           b->ns[b->count / 2], b->ns[b->count * 99 / 100]);
}

static const struct disk *disk_find(const char *name)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(disks); i++)
        if (!strcmp(disks[i].name, name))
            return &disks[i];
    return NULL;
}

/* See the head of this file. */
char *cmd_benchdisk(struct cmd *c)
{
    struct disk_bench b = {.c = c,
                           .d = c->d,
                           .disk = disk_find(c->w[1]),
                           .write = !strcmp(c->w[2], "write"),
                           .count = c->a[3],
                           .bytes = (uint32_t)c->a[4],
                           .depth = (uint32_t)c->a[5],
                           .bar = c->a[6],
                           .device = (uint32_t)c->a[7],
                           .sequential = !strcmp(c->w[8], "seq"),
                           .limit = c->a[9],
                           .seed = 1};
    uint64_t left;
    char *out;

    b.tables = mem_ptr(b.d, TABLES, &left, NULL);
    if (!b.disk || !b.count || b.count > 10000000 || !b.bytes || b.bytes % SECTOR ||
        b.bytes > BYTES_MAX || !b.depth || b.depth > DEPTH_MAX || b.device > 31 ||
        b.limit < b.bytes / SECTOR || !b.tables ||
        left < DATA - TABLES + (uint64_t)DEPTH_MAX * BYTES_MAX)
        return fail("usage: benchdisk ahci|nvme|lsi|virtio-blk|virtio-scsi read|write COUNT BYTES "
                    "DEPTH BAR "
                    "DEVICE rand|seq LIMIT");
    b.depth = MIN(b.depth, b.disk->depth);
    b.ns = g_new(uint32_t, b.count + DEPTH_MAX);
    out = bench_run(&b);
    g_free(b.ns);
    return out;
}
