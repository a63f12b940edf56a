/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVMe: the commands of I/O queues (NVM command set, chapter 6). All in logical blocks of the
 * namespace; metadata and protection information are left out (formats have none), and so are
 * fused operations, reservations and WRITE UNCORRECTABLE.
 *
 * READ and WRITE go straight between the back end and guest memory. COMPARE and VERIFY read into a
 * buffer of ours, 16 KiB at a time.
 */
#include <string.h>

#include "nvme.h"

#define DW12_FUA 0x40000000u
#define DW12_DEALLOCATE 0x02000000u
#define DSM_DEALLOCATE 0x4u
#define DSM_RANGE 16u
#define DSM_RANGES 256u

struct extent {
    uint64_t offset, length; /* bytes */
};

static uint16_t extent_check(const struct nvme_ns *ns, uint64_t lba, uint64_t blocks)
{
    uint64_t all = nvme_ns_blocks(ns);

    return lba > all || blocks > all - lba ? STATUS_LBA_RANGE | STATUS_DNR : STATUS_OK;
}

/* Of READ, WRITE and their like; `most`: bytes, 0 for any. */
static uint16_t get_extent(const struct nvme_request *r, uint64_t most, struct extent *e)
{
    uint64_t lba = nvme_qw(r, 10), blocks = (nvme_dw(r, 12) & 0xffff) + UINT64_C(1);

    if (most && blocks << r->ns->shift > most) {
        return STATUS_INVALID_FIELD | STATUS_DNR;
    }
    *e = (struct extent){lba << r->ns->shift, blocks << r->ns->shift};
    return extent_check(r->ns, lba, blocks);
}

static bool write_through(const struct nvme_request *r)
{
    return !(r->n->features[FEATURE_WRITE_CACHE] & 1) || (nvme_dw(r, 12) & DW12_FUA);
}

/* ---- READ, WRITE ---- */

static void count_transfer(struct nvme_request *r, bool write, uint64_t bytes)
{
    if (write) {
        r->ns->writes++;
        r->ns->bytes_written += bytes;
    } else {
        r->ns->reads++;
        r->ns->bytes_read += bytes;
    }
    nvme_complete(r, STATUS_OK);
}

static void run_transfer(struct nvme_request *r)
{
    bool write = r->sqe[0] == IO_WRITE;
    struct extent e;
    uint16_t status = get_extent(r, nvme_transfer_max(r->n), &e);
    uint64_t block = UINT64_C(1) << r->ns->shift;
    struct iovec *iov;
    unsigned count;
    int64_t n;

    if (status != STATUS_OK) {
        nvme_complete(r, status);
        return;
    }
    if (r->done >= e.length) {
        count_transfer(r, write, e.length);
        return;
    }
    n = nvme_map(r, r->done, e.length - r->done, e.length, write ? DMA_TO_DEVICE : DMA_FROM_DEVICE);
    if (n >= 0 && (uint64_t)n < block) {
        dma_list_end(r->list, 0);
        n = -STATUS_SGL_COUNT; /* not even one block in so many pieces */
    }
    if (n < 0) {
        nvme_complete(r, (uint16_t)-n | STATUS_DNR);
        return;
    }
    n &= ~(int64_t)(block - 1);
    iov = dma_list_iov(r->list, 0, (size_t)n, &count);
    r->mapped = true;
    nvme_submit(r, r->ns, write ? BLOCK_WRITE : BLOCK_READ,
                write && write_through(r) ? BLOCK_FUA : 0, e.offset + r->done, (uint64_t)n, iov,
                count);
}

/* ---- FLUSH ---- */

bool nvme_flush_all(struct nvme_request *r)
{
    struct nvme_ns *ns = nvme_ns_next(r->n, r->stage);

    if (!ns) {
        return true;
    }
    r->next_stage = ns->nsid;
    nvme_submit(r, ns, BLOCK_FLUSH, 0, 0, 0, NULL, 0);
    return false;
}

static void run_flush(struct nvme_request *r)
{
    if (nvme_nsid(r) == NSID_ALL) {
        if (nvme_flush_all(r)) {
            nvme_complete(r, STATUS_OK);
        }
    } else if (!r->ns) {
        nvme_complete(r, STATUS_INVALID_NAMESPACE | STATUS_DNR);
    } else if (r->stage) {
        nvme_complete(r, STATUS_OK);
    } else {
        r->next_stage = 1;
        nvme_submit(r, r->ns, BLOCK_FLUSH, 0, 0, 0, NULL, 0);
    }
}

/* ---- COMPARE, VERIFY ---- */

static void read_piece(struct nvme_request *r, const struct extent *e)
{
    uint64_t n = MIN(e->length - r->done, (uint64_t)NVME_BOUNCE);

    if (!r->bounce) {
        r->bounce = g_malloc(NVME_BOUNCE);
    }
    r->iov = (struct iovec){r->bounce, n};
    nvme_submit(r, r->ns, BLOCK_READ, 0, e->offset + r->done, n, &r->iov, 1);
}

static void run_looking(struct nvme_request *r)
{
    struct extent e;
    uint16_t status = get_extent(r, r->sqe[0] == IO_COMPARE ? nvme_transfer_max(r->n) : 0, &e);

    if (status != STATUS_OK) {
        nvme_complete(r, status);
    } else if (r->done >= e.length) {
        nvme_complete(r, STATUS_OK);
    } else {
        read_piece(r, &e);
    }
}

static uint16_t compare_moved(struct nvme_request *r)
{
    uint64_t total = ((nvme_dw(r, 12) & 0xffff) + UINT64_C(1)) << r->ns->shift;
    uint8_t guest[NVME_BOUNCE];
    uint16_t status = nvme_get(r, guest, (uint32_t)r->piece, total);

    if (status != STATUS_OK) {
        return status | STATUS_DNR;
    }
    return memcmp(guest, r->bounce, r->piece) == 0 ? STATUS_OK : STATUS_COMPARE | STATUS_DNR;
}

/* ---- WRITE ZEROES ---- */

static void run_zeroes(struct nvme_request *r)
{
    bool unmap = nvme_dw(r, 12) & DW12_DEALLOCATE;
    struct extent e;
    uint16_t status = get_extent(r, 0, &e);

    if (status != STATUS_OK) {
        nvme_complete(r, status);
    } else if (r->done < e.length) {
        nvme_submit(r, r->ns, BLOCK_ZERO, unmap ? BLOCK_MAY_UNMAP : 0, e.offset + r->done,
                    e.length - r->done, NULL, 0);
    } else if (r->stage == 0 && write_through(r)) {
        r->next_stage = 1;
        nvme_submit(r, r->ns, BLOCK_FLUSH, 0, 0, 0, NULL, 0);
    } else {
        nvme_complete(r, STATUS_OK);
    }
}

/* ---- DATASET MANAGEMENT: `stage` counts ranges, `done` the bytes of the one under way ---- */

/* The host may not discard more than so much at once. */
static uint64_t discard_piece(const struct nvme_ns *ns, uint64_t left)
{
    const struct block_limits *limits = block_limits(ns->block);
    uint64_t most = limits->max_discard >> ns->shift << ns->shift;

    return most ? MIN(left, most) : left;
}

static uint16_t ranges_check(const struct nvme_request *r, const uint8_t *ranges, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *d = ranges + i * DSM_RANGE;
        uint64_t lba = load_le32(d + 8) | (uint64_t)load_le32(d + 12) << 32;
        uint16_t status = extent_check(r->ns, lba, load_le32(d + 4));

        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

/* The next piece. False: all are done. */
static bool discard_next(struct nvme_request *r, const uint8_t *ranges, uint32_t count)
{
    for (; r->stage < count; r->stage++, r->done = 0) {
        const uint8_t *d = ranges + r->stage * DSM_RANGE;
        uint64_t lba = load_le32(d + 8) | (uint64_t)load_le32(d + 12) << 32;
        uint64_t length = (uint64_t)load_le32(d + 4) << r->ns->shift;

        if (r->done < length) {
            nvme_submit(r, r->ns, BLOCK_DISCARD, 0, (lba << r->ns->shift) + r->done,
                        discard_piece(r->ns, length - r->done), NULL, 0);
            return true;
        }
    }
    return false;
}

static void run_data_set(struct nvme_request *r)
{
    uint32_t count = (nvme_dw(r, 10) & 0xff) + 1;
    uint8_t ranges[DSM_RANGES * DSM_RANGE];
    uint64_t done = r->done;
    uint16_t status;

    r->done = 0; /* where the list begins, for nvme_get() */
    status = nvme_get(r, ranges, count * DSM_RANGE, count * DSM_RANGE);
    r->done = done;
    if (status == STATUS_OK) {
        status = ranges_check(r, ranges, count);
    }
    if (status != STATUS_OK) {
        nvme_complete(r, status | STATUS_DNR);
    } else if (!(nvme_dw(r, 11) & DSM_DEALLOCATE) || !block_limits(r->ns->block)->can_discard) {
        nvme_complete(r, STATUS_OK); /* advice, which may be ignored */
    } else if (block_read_only(r->ns->block)) {
        nvme_complete(r, STATUS_WRITE_PROTECTED | STATUS_DNR);
    } else if (!discard_next(r, ranges, count)) {
        nvme_complete(r, STATUS_OK);
    }
}

/* Effects: supported; changes the content of blocks. */
#define PLAIN 0x1u
#define CHANGES 0x3u

const struct nvme_command nvme_io_commands[256] = {
    [IO_FLUSH] = {.name = "flush", .run = run_flush, .effects = PLAIN},
    [IO_WRITE] = {.name = "write", .run = run_transfer, .effects = CHANGES, .wants_ns = true},
    [IO_READ] = {.name = "read", .run = run_transfer, .effects = PLAIN, .wants_ns = true},
    [IO_COMPARE] = {.name = "compare",
                    .run = run_looking,
                    .moved = compare_moved,
                    .effects = PLAIN,
                    .wants_ns = true},
    [IO_WRITE_ZEROES] = {.name = "write zeroes",
                         .run = run_zeroes,
                         .effects = CHANGES,
                         .wants_ns = true},
    [IO_DATA_SET] = {.name = "dataset management",
                     .run = run_data_set,
                     .effects = CHANGES,
                     .wants_ns = true},
    [IO_VERIFY] = {.name = "verify", .run = run_looking, .effects = PLAIN, .wants_ns = true},
};
