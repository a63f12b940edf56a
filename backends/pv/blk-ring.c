/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qdisk's ring: requests of the front end to the block layer, and the answers. Xen's io/blkif.h and
 * io/ring.h.
 *
 * The ring is shared, and the guest writes to it at any time (XSA-155): an entry is copied once and
 * only the copy is looked at; the same goes for the descriptors of indirect requests. Indices are
 * ours, and what the front end says of its own is held against them. Answers are whole structures
 * without what was in memory before (XSA-216).
 *
 * Data is copied by Xen between pages that the guest granted and buffers of ours, so a grant that
 * goes away is an error of one request, and what is written to the disk was not changed after it
 * was looked at. What comes or ends in one turn is copied by one call, and answered with one event.
 * What is in flight is bounded by MEMORY_MAX and by the ring's size.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/blkif.h>

#include <xendm/error.h>
#include <xendm/grants.h>
#include <xendm/log.h>
#include <xendm/turn.h>

#include "blk.h"

#define MEMORY_MAX (16u << 20) /* bytes of one device's buffers */
/* What is taken from the ring in one turn of the loop; copying a MiB takes some 100 µs. */
#define TURN_REQUESTS 64u
#define TURN_BYTES (2u << 20)
/* What the host cannot for a moment is tried again for so long; then it is the disk's error. */
#define AGAIN_FIRST_MS 1u
#define AGAIN_MAX_MS 100u
#define PATIENCE_US (2 * G_TIME_SPAN_SECOND)
#define ENTRY_MAX 112u
#define RING_HEADER 64u
#define SECTORS_PER_PAGE (GRANT_PAGE_SIZE / BLK_SECTOR)

static const struct blk_protocol protocols[] = {
    {.name = "x86_64-abi",
     .entry = 112,
     .id = 8,
     .sector = 16,
     .segments = 24,
     .indirect_refs = 28,
     .discard_sectors = 24,
     .response = 16},
    {.name = "x86_32-abi",
     .entry = 108,
     .id = 4,
     .sector = 12,
     .segments = 20,
     .indirect_refs = 24,
     .discard_sectors = 20,
     .response = 12},
};

/* One segment, in a request or in a page of descriptors. */
#define SEGMENT_BYTES 8u

struct request {
    struct request *next; /* in its batch */
    struct blk *b;
    int error;
    bool uncopied;     /* … is of a copy */
    int64_t first_try; /* of a copy that failed for a moment, µs; 0: none did */
    unsigned connection;
    uint64_t id;
    uint8_t op; /* as it is answered */
    enum { FLUSH_FIRST, TRANSFER } stage;
    enum block_op then; /* what TRANSFER does */
    struct block_request io;
    struct iovec iov;
    uint8_t *buffer;
    size_t memory;
    unsigned nparts;
    struct grant_copy part[];
};

/* ---- the shared page ---- */

struct header {
    uint32_t req_prod, req_event, rsp_prod, rsp_event;
};

static struct header *header(const struct blk *b)
{
    return (struct header *)b->ring;
}

static uint8_t *entry(const struct blk *b, uint32_t index)
{
    return b->ring + RING_HEADER + (size_t)(index & (b->entries - 1)) * b->protocol->entry;
}

const struct blk_protocol *blk_protocol_find(const char *name)
{
    for (unsigned i = 0; name && i < G_N_ELEMENTS(protocols); i++) {
        if (strcmp(protocols[i].name, name) == 0) {
            return &protocols[i];
        }
    }
    return name ? NULL : &protocols[0];
}

static void ring_set(struct blk *b)
{
    uint32_t fit = (b->dev.ring_pages * GRANT_PAGE_SIZE - RING_HEADER) / b->protocol->entry;

    b->ring = b->dev.ring;
    b->entries = 1u << (31 - __builtin_clz(fit));
    b->stalled = b->impatient = false;
    b->again_ms = AGAIN_FIRST_MS;
    b->stuck_since = 0;
}

void blk_ring_resume_at(struct blk *b, uint32_t index)
{
    ring_set(b);
    b->req_cons = b->rsp_prod = b->rsp_seen = index;
}

/* A front end that goes on with its ring has answers of the back end before us in it. */
int blk_ring_begin(struct blk *b)
{
    uint32_t prod;

    ring_set(b);
    blk_ring_resume_at(b, __atomic_load_n(&header(b)->rsp_prod, __ATOMIC_RELAXED));
    prod = __atomic_load_n(&header(b)->req_prod, __ATOMIC_RELAXED);
    if (prod - b->rsp_prod > b->entries) {
        b->ring = NULL;
        return -EIO;
    }
    return 0;
}

/* The front end sees it with answers_show(). */
static void answer(struct blk *b, uint64_t id, uint8_t op, int status)
{
    uint8_t response[16] = {0};
    int16_t short_status = (int16_t)status;

    memcpy(response, &id, sizeof(id));
    response[8] = op;
    memcpy(response + 10, &short_status, sizeof(short_status));
    memcpy(entry(b, b->rsp_prod++), response, b->protocol->response);
}

static void answers_show(struct blk *b)
{
    uint32_t old = b->rsp_seen;
    uint32_t event;

    if (!b->ring || old == b->rsp_prod) {
        return;
    }
    b->rsp_seen = b->rsp_prod;
    __atomic_store_n(&header(b)->rsp_prod, b->rsp_prod, __ATOMIC_RELEASE);
    __atomic_thread_fence(
        __ATOMIC_SEQ_CST); /* the answer is seen before we look who wants to know */
    event = __atomic_load_n(&header(b)->rsp_event, __ATOMIC_RELAXED);
    if (b->rsp_prod - event < b->rsp_prod - old) {
        pv_notify(&b->dev);
    }
}

/* ---- requests ---- */

static struct request *request_new(struct blk *b, uint64_t id, uint8_t op, unsigned parts)
{
    struct request *r =
        g_malloc0(sizeof(struct request) + (size_t)parts * sizeof(struct grant_copy));

    r->b = b;
    r->connection = b->connection;
    r->id = id;
    r->op = op;
    r->nparts = parts;
    r->stage = TRANSFER;
    return r;
}

static void request_free(struct request *r)
{
    free(r->buffer);
    g_free(r);
}

static int status_of(int error)
{
    return error == 0                                  ? BLKIF_RSP_OKAY
           : error == -EOPNOTSUPP || error == -ENOTSUP ? BLKIF_RSP_EOPNOTSUPP
                                                       : BLKIF_RSP_ERROR;
}

/* ---- batches ---- */

static void batch_add(struct batch *batch, struct request *r, bool copies)
{
    r->next = NULL;
    if (batch->last) {
        batch->last->next = r;
    } else {
        batch->first = r;
    }
    batch->last = r;
    batch->count++;
    batch->parts += copies ? r->nparts : 0;
}

static struct batch batch_take(struct batch *batch)
{
    struct batch all = *batch;

    *batch = (struct batch){0};
    return all;
}

static void copy_these(struct blk *b, struct request **of, struct grant_copy *part, unsigned count,
                       bool to_guest)
{
    grants_copy(pv_host(&b->dev)->grants, part, count, to_guest);
    for (unsigned i = 0; i < count; i++) {
        if (!of[i]->error && part[i].error) {
            of[i]->error = part[i].error;
            of[i]->uncopied = true;
        }
        b->impatient = b->impatient && part[i].error;
    }
}

static bool copies(const struct request *r, bool to_guest)
{
    return !r->error && r->then == (to_guest ? BLOCK_READ : BLOCK_WRITE);
}

/* As few calls as hold all parts; a request whose data could not be copied has `error`. */
static void batch_copy(struct blk *b, struct request *first, bool to_guest)
{
    struct grant_copy part[GRANTS_COPY_MAX];
    struct request *of[GRANTS_COPY_MAX];
    unsigned count = 0;

    for (struct request *r = first; r; r = r->next) {
        if (count > 0 && copies(r, to_guest) && count + r->nparts > GRANTS_COPY_MAX) {
            copy_these(b, of, part, count, to_guest);
            count = 0;
        }
        for (unsigned i = 0; copies(r, to_guest) && i < r->nparts; i++) {
            of[count] = r;
            part[count++] = r->part[i];
        }
    }
    if (count > 0) {
        copy_these(b, of, part, count, to_guest);
    }
}

static void submit(struct request *r);

/* ---- what the host cannot for a moment ---- */

static gboolean run_again(gpointer opaque);

static void again_later(struct blk *b)
{
    if (!b->again) {
        b->again = g_timeout_add(b->again_ms, run_again, b);
        b->again_ms = MIN(b->again_ms * 2, AGAIN_MAX_MS);
    }
}

/* Whether there is to be another try, which is arranged. `since`: of the first. */
static bool again(struct blk *b, int error, int64_t *since)
{
    int64_t now = g_get_monotonic_time();

    if (!error_is_of_the_moment(error) || b->impatient) {
        return false;
    }
    *since = *since ? *since : now;
    if (now - *since > PATIENCE_US) {
        b->impatient = true;
        return false;
    }
    again_later(b);
    return true;
}

static bool copy_again(struct request *r, struct batch *batch)
{
    if (!r->uncopied || !again(r->b, r->error, &r->first_try)) {
        return false;
    }
    r->error = 0;
    r->uncopied = false;
    batch_add(batch, r, true);
    return true;
}

/* Its answer is in the ring, or nobody waits for one. */
static void request_end(struct request *r)
{
    r->b->in_flight--;
    r->b->memory -= r->memory;
    request_free(r);
}

static void batch_drop(struct batch *batch)
{
    struct batch all = batch_take(batch);

    while (all.first) {
        struct request *r = all.first;

        all.first = r->next;
        request_end(r);
    }
}

void blk_ring_end(struct blk *b)
{
    b->ring = NULL;
    b->connection++;
    later_forget(&b->more);
    later_forget(&b->finishing);
    g_clear_handle_id(&b->again, g_source_remove);
    batch_drop(&b->writes);
    batch_drop(&b->ended);
}

/* Answers what has ended. */
static void finish(struct blk *b)
{
    struct batch all = batch_take(&b->ended);

    later_forget(&b->finishing);
    batch_copy(b, all.first, true);
    while (all.first) {
        struct request *r = all.first;

        all.first = r->next;
        if (copy_again(r, &b->ended)) {
            continue;
        }
        b->errors += r->error != 0;
        answer(b, r->id, r->op, status_of(r->error));
        request_end(r);
    }
    answers_show(b);
    if (b->stalled) {
        b->stalled = false;
        blk_ring_run(b);
    }
}

static void finish_now(void *opaque)
{
    finish(opaque);
}

static void finish_later(struct blk *b)
{
    static const struct later_kind kind = {.turn = "PV disk",
                                           .go_on = finish_now,
                                           .priority = G_PRIORITY_HIGH};

    later_ask(&b->finishing, &kind, b, NULL);
}

/* More may end in this turn: they are answered together, when no more can come, or at its end. */
static void done(struct block_request *io, int error)
{
    struct request *r = io->opaque;
    struct blk *b = r->b;

    if (!b->ring || r->connection != b->connection) {
        request_end(r);
        if (!b->ring && b->in_flight == 0) {
            pv_idle(&b->dev);
        }
        return;
    }
    if (!error && r->stage == FLUSH_FIRST) {
        r->stage = TRANSFER;
        submit(r);
        return;
    }
    r->error = error;
    batch_add(&b->ended, r, copies(r, true));
    if (b->ended.count == b->in_flight || b->ended.parts >= GRANTS_COPY_MAX) {
        finish(b);
    } else {
        finish_later(b);
    }
}

/* The data of what is to be written is fetched, and the disk has it to do. */
static void writes_begin(struct blk *b)
{
    struct batch all = batch_take(&b->writes);

    batch_copy(b, all.first, false);
    while (all.first) {
        struct request *r = all.first;

        all.first = r->next;
        if (!r->error) {
            submit(r);
            continue;
        }
        if (copy_again(r, &b->writes)) {
            continue;
        }
        b->refused++;
        answer(b, r->id, r->op, status_of(r->error));
        request_end(r);
    }
}

static void submit(struct request *r)
{
    r->io.op = r->stage == FLUSH_FIRST ? BLOCK_FLUSH : r->then;
    r->io.done = done;
    r->io.opaque = r;
    r->io.iov = r->iov.iov_len ? &r->iov : NULL;
    r->io.niov = r->iov.iov_len ? 1 : 0;
    block_submit(r->b->queue, &r->io);
}

/* Whole, and within the disk: no sum of it overflows. */
static bool inside(const struct blk *b, uint64_t sector, uint64_t count)
{
    uint64_t all = block_size(b->drive) / BLK_SECTOR;

    return count <= all && sector <= all - count;
}

static int may_write(const struct blk *b)
{
    return b->read_only || block_read_only(b->drive) ? -EROFS : 0;
}

/* From descriptors that only we see: which part of which page. Sectors, or -EINVAL. */
static int read_segments(struct request *r, const uint8_t *segments)
{
    unsigned sectors = 0;

    for (unsigned i = 0; i < r->nparts; i++) {
        const uint8_t *s = segments + i * SEGMENT_BYTES;
        struct grant_copy *part = &r->part[i];
        unsigned first = s[4], last = s[5];

        if (first > last || last >= SECTORS_PER_PAGE) {
            return -EINVAL;
        }
        memcpy(&part->ref, s, sizeof(part->ref));
        part->offset = (uint16_t)(first * BLK_SECTOR);
        part->len = (uint16_t)((last - first + 1) * BLK_SECTOR);
        sectors += last - first + 1;
    }
    return (int)sectors;
}

static int give_buffer(struct request *r, size_t bytes)
{
    size_t at = 0;

    r->buffer = aligned_alloc(GRANT_PAGE_SIZE, (bytes + GRANT_PAGE_SIZE - 1) & -GRANT_PAGE_SIZE);
    if (!r->buffer) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < r->nparts; i++) {
        r->part[i].local = r->buffer + at;
        at += r->part[i].len;
    }
    r->memory = bytes;
    r->iov = (struct iovec){.iov_base = r->buffer, .iov_len = bytes};
    return 0;
}

/* READ and WRITE, plain or indirect, and what flushes with data. */
static int begin_transfer(struct request *r, uint64_t sector, const uint8_t *segments, bool write)
{
    struct blk *b = r->b;
    int sectors = read_segments(r, segments);
    int rc;

    if (sectors <= 0 || !inside(b, sector, (uint64_t)sectors)) {
        return -EINVAL;
    }
    rc = write ? may_write(b) : 0;
    if (rc == 0) {
        rc = give_buffer(r, (size_t)sectors * BLK_SECTOR);
    }
    if (rc < 0) {
        return rc;
    }
    r->then = write ? BLOCK_WRITE : BLOCK_READ;
    r->io.offset = sector * BLK_SECTOR;
    r->io.length = r->memory;
    return 0;
}

static int begin_discard(struct request *r, uint8_t flag, uint64_t sector, uint64_t count)
{
    struct blk *b = r->b;
    int rc = may_write(b);

    if (rc < 0) {
        return rc;
    }
    if ((flag & BLKIF_DISCARD_SECURE) || !block_limits(b->drive)->can_discard) {
        return -EOPNOTSUPP;
    }
    if (count == 0 || !inside(b, sector, count)) {
        return -EINVAL;
    }
    r->then = BLOCK_DISCARD;
    r->io.offset = sector * BLK_SECTOR;
    r->io.length = count * BLK_SECTOR;
    return 0;
}

static uint64_t u64_at(const uint8_t *entry, unsigned offset)
{
    uint64_t v;

    memcpy(&v, entry + offset, sizeof(v));
    return v;
}

/* False: it is to be taken from the ring once more, later. */
static bool begun(struct request *r, int rc)
{
    struct blk *b = r->b;

    if (rc < 0 && again(b, rc, &b->stuck_since)) {
        request_free(r);
        return false;
    }
    b->stuck_since = 0;
    if (rc < 0) {
        b->refused++;
        answer(b, r->id, r->op, status_of(rc));
        request_free(r);
        return true;
    }
    b->in_flight++;
    b->memory += r->memory;
    if (r->then != BLOCK_WRITE) {
        submit(r);
        return true;
    }
    batch_add(&b->writes, r, true);
    if (b->writes.parts >= GRANTS_COPY_MAX) {
        writes_begin(b);
    }
    return true;
}

static bool take_indirect(struct blk *b, const uint8_t *e)
{
    const struct blk_protocol *p = b->protocol;
    uint8_t segments[BLK_INDIRECT_MAX * SEGMENT_BYTES];
    uint8_t op = e[1];
    uint16_t count;
    struct grant_copy descriptors = {.local = segments};
    struct request *r;
    int rc;

    memcpy(&count, e + 2, sizeof(count));
    /* Linux wants to be answered with the operation inside. */
    r = request_new(b, u64_at(e, p->id), op, count <= BLK_INDIRECT_MAX ? count : 0);
    if ((op != BLKIF_OP_READ && op != BLKIF_OP_WRITE) || r->nparts == 0) {
        return begun(r, -EINVAL);
    }
    memcpy(&descriptors.ref, e + p->indirect_refs, sizeof(descriptors.ref));
    descriptors.len = (uint16_t)(r->nparts * SEGMENT_BYTES);
    rc = grants_copy(pv_host(&b->dev)->grants, &descriptors, 1, false);
    return begun(r, rc < 0
                        ? rc
                        : begin_transfer(r, u64_at(e, p->sector), segments, op == BLKIF_OP_WRITE));
}

static bool take_plain(struct blk *b, const uint8_t *e)
{
    const struct blk_protocol *p = b->protocol;
    uint8_t op = e[0], count = e[1];
    bool flush = op == BLKIF_OP_FLUSH_DISKCACHE || op == BLKIF_OP_WRITE_BARRIER;
    struct request *r =
        request_new(b, u64_at(e, p->id), op, count <= BLKIF_MAX_SEGMENTS_PER_REQUEST ? count : 0);

    if (r->nparts != count) {
        return begun(r, -EINVAL);
    }
    if (flush && count == 0) {
        r->then = BLOCK_FLUSH;
        return begun(r, 0);
    }
    r->stage = flush ? FLUSH_FIRST : TRANSFER;
    r->io.flags = op == BLKIF_OP_WRITE_BARRIER ? BLOCK_FUA : 0;
    return begun(r, begin_transfer(r, u64_at(e, p->sector), e + p->segments, op != BLKIF_OP_READ));
}

/* False: not now. */
static bool take(struct blk *b, const uint8_t *e)
{
    const struct blk_protocol *p = b->protocol;
    struct request *r;

    if (e[0] != BLKIF_OP_READ && e[0] != BLKIF_OP_WRITE && e[0] != BLKIF_OP_INDIRECT) {
        writes_begin(b); /* those go first */
    }
    switch (e[0]) {
    case BLKIF_OP_READ:
    case BLKIF_OP_WRITE:
    case BLKIF_OP_WRITE_BARRIER:
    case BLKIF_OP_FLUSH_DISKCACHE:
        return take_plain(b, e);
    case BLKIF_OP_INDIRECT:
        return take_indirect(b, e);
    case BLKIF_OP_DISCARD:
        r = request_new(b, u64_at(e, p->id), e[0], 0);
        return begun(r,
                     begin_discard(r, e[1], u64_at(e, p->sector), u64_at(e, p->discard_sectors)));
    default:
        return begun(request_new(b, u64_at(e, p->id), e[0], 0), -EOPNOTSUPP);
    }
}

/* ---- the ring's turn ---- */

static void run_more(void *opaque)
{
    blk_ring_run(opaque);
}

static const struct later_kind more = {.turn = "PV disk", .go_on = run_more};

/* How many are there to take; wakes us for the next one if none is. -EIO: more than can be. */
static int waiting(struct blk *b)
{
    struct header *h = header(b);

    for (unsigned look = 0; look < 2; look++) {
        uint32_t count = __atomic_load_n(&h->req_prod, __ATOMIC_ACQUIRE) - b->req_cons;

        if (count > b->entries - (b->req_cons - b->rsp_prod)) {
            return -EIO;
        }
        if (count > 0) {
            return (int)count;
        }
        __atomic_store_n(&h->req_event, b->req_cons + 1, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
    return 0;
}

static void take_waiting(struct blk *b)
{
    uint8_t copy[ENTRY_MAX];
    size_t before = b->memory;
    int count;

    for (unsigned taken = 0; b->ring && !pv_paused(&b->dev); taken++) {
        if (b->memory >= MEMORY_MAX) {
            b->stalled = true;
            return;
        }
        if (taken >= TURN_REQUESTS || b->memory - before >= TURN_BYTES ||
            (taken && turn_is_used_up())) {
            later_ask(&b->more, &more, b, NULL);
            return;
        }
        count = waiting(b);
        if (count < 0) {
            pv_fail(&b->dev, "its ring has more requests than it has room for");
            return;
        }
        if (count == 0) {
            pv_unmask(&b->dev);
            return;
        }
        memcpy(copy, entry(b, b->req_cons++), b->protocol->entry);
        __atomic_signal_fence(__ATOMIC_SEQ_CST); /* from here on it is the copy */
        if (!take(b, copy)) {
            b->req_cons--;
            return;
        }
        b->requests++;
        b->again_ms = AGAIN_FIRST_MS;
    }
}

void blk_ring_run(struct blk *b)
{
    take_waiting(b);
    writes_begin(b);
    answers_show(b);
}

static gboolean run_again(gpointer opaque)
{
    struct blk *b = opaque;

    turn_of("PV disk");
    b->again = 0;
    finish(b);
    blk_ring_run(b);
    return G_SOURCE_REMOVE;
}
