/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVMe: saved state. Commands that are under way are saved as their 64 bytes and
 * how far they are (nvme.h); what the guest has not been told of is done again after a restore.
 */
#include <errno.h>
#include <string.h>

#include "nvme.h"

#define REG_STRUCT struct nvme

#define SQ(kind, f, ...) STATE_FIELD_##kind(struct nvme_sq, f, __VA_ARGS__)
#define CQ(kind, f, ...) STATE_FIELD_##kind(struct nvme_cq, f, __VA_ARGS__)
#define SAVED(kind, f, ...) STATE_FIELD_##kind(struct nvme_saved, f, __VA_ARGS__)
#define EVENT(kind, f, ...) STATE_FIELD_##kind(struct nvme_event, f, __VA_ARGS__)
#define ERR(kind, f, ...) STATE_FIELD_##kind(struct nvme_error, f, __VA_ARGS__)
#define N(kind, f, ...) STATE_FIELD_##kind(struct nvme, f, __VA_ARGS__)

static const struct state_field sq_fields[] = {
    SQ(BOOL, exists),
    SQ(U8, priority, .max = 3),
    SQ(U16, cqid, .max = NVME_QUEUES - 1),
    SQ(U64, base),
    SQ(U32, entries, .max = NVME_ADMIN_ENTRIES_MAX),
    SQ(U32, head, .max = NVME_ADMIN_ENTRIES_MAX - 1),
    SQ(U32, tail, .max = NVME_ADMIN_ENTRIES_MAX - 1),
    STATE_FIELD_END,
};

static const struct state_field cq_fields[] = {
    CQ(BOOL, exists),
    CQ(BOOL, interrupts),
    CQ(BOOL, phase),
    CQ(U16, vector, .max = NVME_VECTORS - 1),
    CQ(U64, base),
    CQ(U32, entries, .max = NVME_ADMIN_ENTRIES_MAX),
    CQ(U32, head, .max = NVME_ADMIN_ENTRIES_MAX - 1),
    CQ(U32, tail, .max = NVME_ADMIN_ENTRIES_MAX - 1),
    STATE_FIELD_END,
};

static const struct state_field saved_fields[] = {
    SAVED(U16, sqid),   SAVED(BYTES, sqe),  SAVED(U64, done),   SAVED(U32, stage),
    SAVED(BOOL, ended), SAVED(U16, status), SAVED(U32, result), STATE_FIELD_END,
};

static const struct state_field event_fields[] = {
    EVENT(BOOL, pending), EVENT(BOOL, masked), EVENT(U8, info), EVENT(U8, page), STATE_FIELD_END,
};

static const struct state_field error_fields[] = {
    ERR(U64, count), ERR(U16, sqid), ERR(U16, cid),   ERR(U16, status),
    ERR(U64, lba),   ERR(U32, nsid), STATE_FIELD_END,
};

static const struct state_desc sq_state = {.name = "sq", .version = 1, .fields = sq_fields};
static const struct state_desc cq_state = {.name = "cq", .version = 1, .fields = cq_fields};
static const struct state_desc saved_state = {.name = "command",
                                              .version = 1,
                                              .fields = saved_fields};
static const struct state_desc event_state = {.name = "event",
                                              .version = 1,
                                              .fields = event_fields};
static const struct state_desc error_state = {.name = "error",
                                              .version = 1,
                                              .fields = error_fields};

static const struct state_field nvme_fields[] = {
    REG_STATE(NVME_REGS_LOW) REG_STATE(NVME_REGS_HIGH) N(U32, page_shift, .min = 12, .max = 16),
    STATE_FIELD_STRUCTS_VAR(struct nvme, sq, NVME_QUEUES, sqs, &sq_state),
    STATE_FIELD_STRUCTS_VAR(struct nvme, cq, NVME_QUEUES, cqs, &cq_state),
    STATE_FIELD_STRUCTS_VAR(struct nvme, saved, NVME_REQUESTS, saved_count, &saved_state),
    N(U64, shadow),
    N(U64, event_index),
    N(U32, features, .count = FEATURES),
    N(U32, temperature_under),
    N(BYTES, vector_cd),
    N(U64, timestamp),
    N(I64, timestamp_at, .max = INT64_MAX),
    N(BOOL, timestamp_set),
    N(U16, event_cid, .count = NVME_EVENT_REQUESTS),
    N(U32, event_requests, .max = NVME_EVENT_REQUESTS),
    STATE_FIELD_STRUCT(struct nvme, event, EVENT_TYPES, &event_state),
    STATE_FIELD_STRUCT(struct nvme, error, NVME_ERRORS, &error_state),
    N(U64, errors),
    N(BYTES, ns_changed),
    N(BOOL, unplugged),
    NVME_NS_STATE(struct nvme, own),
    STATE_FIELD_END,
};

/* ---- save ---- */

static void nvme_pre_save(void *base)
{
    struct nvme *n = base;

    n->sqs = n->cqs = 0;
    for (unsigned i = 0; i < NVME_QUEUES; i++) {
        n->sqs = n->sq[i].exists ? i + 1 : n->sqs;
        n->cqs = n->cq[i].exists ? i + 1 : n->cqs;
    }
    nvme_requests_save(n);
}

/* ---- load ---- */

static bool ring_fits(bool exists, unsigned id, uint32_t entries, uint32_t head, uint32_t tail)
{
    uint32_t most = id ? NVME_ENTRIES_MAX : NVME_ADMIN_ENTRIES_MAX;

    return !exists || (entries >= 2 && entries <= most && head < entries && tail < entries);
}

static bool queues_check(const struct nvme *n, GError **err)
{
    bool ready = n->csts & CSTS_RDY;
    uint32_t sqs = ready ? n->sqs : 0, cqs = ready ? n->cqs : 0;

    if (n->sqs != sqs || n->cqs != cqs || (ready && (!n->sq[0].exists || !n->cq[0].exists))) {
        g_set_error(err, STATE_ERROR, EINVAL, "CSTS 0x%x, and %u + %u queues", n->csts, n->sqs,
                    n->cqs);
        return false;
    }
    for (unsigned i = 0; i < NVME_QUEUES; i++) {
        const struct nvme_sq *sq = &n->sq[i];
        const struct nvme_cq *cq = &n->cq[i];

        if (!ring_fits(sq->exists, i, sq->entries, sq->head, sq->tail) ||
            !ring_fits(cq->exists, i, cq->entries, cq->head, cq->tail) ||
            (sq->exists && (!n->cq[sq->cqid].exists || !sq->cqid != !i))) {
            g_set_error(err, STATE_ERROR, EINVAL, "queue %u contradicts itself", i);
            return false;
        }
    }
    return true;
}

static bool nvme_check(const void *base, GError **err)
{
    const struct nvme *n = base;

    return queues_check(n, err) && nvme_saved_check(n, err) &&
           (n->own.shift == 0 || nvme_ns_fits(&n->own, err));
}

/* The images of one that the guest has unplugged may be gone. */
static bool nvme_fits(const void *scratch, const void *base, GError **err)
{
    const struct nvme *saved = scratch, *n = base;

    for (struct nvme_ns *ns = nvme_ns_next(n, 0); ns; ns = nvme_ns_next(n, ns->nsid)) {
        if (!saved->unplugged && !block_present(ns->block)) {
            g_set_error(err, STATE_ERROR, EINVAL, "there is no image for namespace %u", ns->nsid);
            return false;
        }
    }
    for (unsigned i = 0; i < saved->cqs; i++) {
        if (saved->cq[i].exists && saved->cq[i].vector >= n->vectors) {
            g_set_error(err, STATE_ERROR, EINVAL, "interrupt vector %u, and there are %u",
                        saved->cq[i].vector, n->vectors);
            return false;
        }
    }
    return true;
}

static void nvme_post_load(void *base)
{
    struct nvme *n = base;

    nvme_queues_adopt(n);
    for (struct nvme_ns *ns = nvme_ns_next(n, 0); n->unplugged && ns;
         ns = nvme_ns_next(n, ns->nsid)) {
        ns->unplug = NVME_UNPLUGGED;
        if (block_present(ns->block)) {
            block_eject(ns->block);
        }
    }
}

const struct state_desc nvme_state = {
    .name = "nvme",
    .version = 1,
    .fields = nvme_fields,
    .pre_save = nvme_pre_save,
    .check = nvme_check,
    .fits = nvme_fits,
    .post_load = nvme_post_load,
};
