/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVMe: admin commands (chapter 5) but for features and what is told (features.c, identify.c). */
#include <string.h>

#include "nvme.h"

#define FORMATS 2u /* as IDENTIFY lists them: 512 and 4096 bytes */
#define FORMAT_PIECE (UINT64_C(64) << 20)

static bool page_aligned(const struct nvme *n, uint64_t address)
{
    return !(address & ((UINT64_C(1) << n->page_shift) - 1));
}

static void refuse(struct nvme_request *r, uint16_t status)
{
    nvme_complete(r, status | STATUS_DNR);
}

/* ---- queues ---- */

static uint16_t check_create(const struct nvme_request *r, bool exists)
{
    const struct nvme *n = r->n;
    uint32_t id = nvme_dw(r, 10) & 0xffff, entries = (nvme_dw(r, 10) >> 16) + 1;

    if (id == 0 || id > n->io_queues || exists) {
        return STATUS_INVALID_QUEUE;
    }
    if (entries < 2 || entries > NVME_ENTRIES_MAX) {
        return STATUS_QUEUE_SIZE;
    }
    if (!page_aligned(n, nvme_qw(r, 6))) {
        return STATUS_PRP_OFFSET;
    }
    return nvme_dw(r, 11) & 1 ? STATUS_OK : STATUS_INVALID_FIELD; /* contiguous: CAP.CQR */
}

static void run_create_cq(struct nvme_request *r)
{
    struct nvme *n = r->n;
    uint32_t id = nvme_dw(r, 10) & 0xffff, vector = nvme_dw(r, 11) >> 16;
    uint16_t status = check_create(r, id < NVME_QUEUES && n->cq[id].exists);

    if (status == STATUS_OK && vector >= n->vectors) {
        status = STATUS_INTERRUPT_VECTOR;
    }
    if (status == STATUS_OK && !pci_msix_enabled(&n->pci) && vector) {
        status = STATUS_INTERRUPT_VECTOR;
    }
    if (status == STATUS_OK && CC_IOCQES(n->cc) != 4) {
        status = STATUS_QUEUE_SIZE;
    }
    if (status != STATUS_OK) {
        refuse(r, status);
        return;
    }
    n->cq[id] = (struct nvme_cq){.exists = true,
                                 .interrupts = nvme_dw(r, 11) & 2,
                                 .phase = true,
                                 .vector = (uint16_t)vector,
                                 .base = nvme_qw(r, 6),
                                 .entries = (nvme_dw(r, 10) >> 16) + 1};
    nvme_complete(r, STATUS_OK);
}

static void run_create_sq(struct nvme_request *r)
{
    struct nvme *n = r->n;
    uint32_t id = nvme_dw(r, 10) & 0xffff, cqid = nvme_dw(r, 11) >> 16;
    uint16_t status;

    if (cqid == 0 || cqid >= NVME_QUEUES || !n->cq[cqid].exists) {
        refuse(r, STATUS_INVALID_CQ);
        return;
    }
    status = check_create(r, id < NVME_QUEUES && n->sq[id].exists);
    if (status == STATUS_OK && CC_IOSQES(n->cc) != 6) {
        status = STATUS_QUEUE_SIZE;
    }
    if (status != STATUS_OK) {
        refuse(r, status);
        return;
    }
    n->sq[id] = (struct nvme_sq){.exists = true,
                                 .priority = nvme_dw(r, 11) >> 1 & 3,
                                 .cqid = (uint16_t)cqid,
                                 .base = nvme_qw(r, 6),
                                 .entries = (nvme_dw(r, 10) >> 16) + 1};
    n->cq[cqid].users++;
    nvme_complete(r, STATUS_OK);
}

/* Its commands are called back; the last of them runs this again. */
static void run_delete_sq(struct nvme_request *r)
{
    struct nvme *n = r->n;
    uint32_t id = nvme_dw(r, 10) & 0xffff;

    if (id == 0 || id >= NVME_QUEUES || !n->sq[id].exists || n->sq[id].deleter) {
        refuse(r, STATUS_INVALID_QUEUE);
        return;
    }
    n->sq[id].deleting = true;
    nvme_sq_drop_waiting(n, id);
    if (n->sq[id].outstanding > 0) {
        n->sq[id].deleter = r;
        nvme_sq_cancel(n, id);
        return;
    }
    nvme_sq_remove(n, id);
    nvme_complete(r, STATUS_OK);
}

static void run_delete_cq(struct nvme_request *r)
{
    struct nvme *n = r->n;
    uint32_t id = nvme_dw(r, 10) & 0xffff;

    if (id == 0 || id >= NVME_QUEUES || !n->cq[id].exists) {
        refuse(r, STATUS_INVALID_QUEUE);
    } else if (n->cq[id].users > 0) {
        refuse(r, STATUS_QUEUE_DELETION);
    } else {
        nvme_cq_remove(n, id);
        nvme_complete(r, STATUS_OK);
    }
}

/* ---- ABORT: completed after the command that it is about ---- */

static bool abort_event_request(struct nvme *n, uint16_t cid)
{
    for (unsigned i = 0; i < n->event_requests; i++) {
        if (n->event_cid[i] == cid && nvme_post(n, 0, 0, cid, STATUS_ABORTED, 0)) {
            n->event_cid[i] = n->event_cid[--n->event_requests];
            return true;
        }
    }
    return false;
}

static struct nvme_request *find_request(struct nvme *n, unsigned sqid, uint16_t cid)
{
    for (unsigned i = 0; i < NVME_REQUESTS; i++) {
        struct nvme_request *r = n->request[i];

        if (r && r->used && !r->dead && r->in_flight && r->sqid == sqid && nvme_cid(r) == cid) {
            return r;
        }
    }
    return NULL;
}

static void run_abort(struct nvme_request *r)
{
    struct nvme *n = r->n;
    uint32_t sqid = nvme_dw(r, 10) & 0xffff;
    uint16_t cid = (uint16_t)(nvme_dw(r, 10) >> 16);
    struct nvme_request *target;

    if (sqid >= NVME_QUEUES || !n->sq[sqid].exists) {
        r->result = 1;
        refuse(r, STATUS_INVALID_FIELD);
        return;
    }
    if (n->aborts >= NVME_ABORTS) {
        refuse(r, STATUS_ABORT_LIMIT);
        return;
    }
    target = find_request(n, sqid, cid);
    if (!target || target->aborter) {
        r->result = sqid == 0 && abort_event_request(n, cid) ? 0 : 1;
        nvme_complete(r, STATUS_OK);
        return;
    }
    n->aborts++;
    target->aborting = true;
    target->aborter = r;
    nvme_cancel(target);
}

/* ---- events ---- */

/* Needs no place among the requests: the command is its id. */
static void run_event_request(struct nvme_request *r)
{
    struct nvme *n = r->n;

    if (n->event_requests == NVME_EVENT_REQUESTS) {
        refuse(r, STATUS_EVENT_LIMIT);
        return;
    }
    n->event_cid[n->event_requests++] = nvme_cid(r);
    n->sq[0].outstanding--;
    n->cq[0].outstanding--;
    nvme_request_free(r);
    nvme_events_send(n);
}

void nvme_events_send(struct nvme *n)
{
    if (n->stopped) {
        return; /* with the resume */
    }
    for (unsigned type = 0; type < EVENT_TYPES; type++) {
        struct nvme_event *e = &n->event[type];
        uint32_t result = type | (uint32_t)e->info << 8 | (uint32_t)e->page << 16;

        if (!e->pending || e->masked || n->event_requests == 0) {
            continue;
        }
        if (!nvme_post(n, 0, 0, n->event_cid[0], STATUS_OK, result)) {
            return;
        }
        n->event_requests--;
        memmove(n->event_cid, n->event_cid + 1, n->event_requests * sizeof(n->event_cid[0]));
        e->pending = false;
        e->masked = true;
    }
}

/* One of a type: what is pending or was told already says enough. */
void nvme_event(struct nvme *n, enum event_type type, uint8_t info, uint8_t page)
{
    struct nvme_event *e = &n->event[type];

    if (!nvme_runs(n) || e->pending || e->masked) {
        return;
    }
    e->pending = true;
    e->info = info;
    e->page = page;
    nvme_events_send(n);
}

#define EVENTS_NAMESPACES (1u << 8)

void nvme_namespace_changed(struct nvme *n, uint32_t nsid)
{
    n->ns_changed[(nsid - 1) / 8] |= (uint8_t)(1u << (nsid - 1) % 8);
    if (n->features[FEATURE_EVENTS] & EVENTS_NAMESPACES) {
        nvme_event(n, EVENT_NOTICE, EVENT_NAMESPACES, PAGE_NAMESPACES);
    }
}

/* ---- DOORBELL BUFFER CONFIG ---- */

static void run_doorbell_buffer(struct nvme_request *r)
{
    struct nvme *n = r->n;
    uint64_t shadow = nvme_qw(r, 6), events = nvme_qw(r, 8);

    if (!shadow || !events || !page_aligned(n, shadow) || !page_aligned(n, events)) {
        refuse(r, STATUS_INVALID_FIELD);
        return;
    }
    nvme_shadow_drop(n);
    n->shadow = shadow;
    n->event_index = events;
    nvme_complete(r, STATUS_OK);
}

/* ---- FORMAT NVM: `stage` is the namespace before the one under way ---- */

static void format_end(struct nvme_ns *ns, uint32_t lbaf)
{
    ns->formatting = false;
    if (ns->shift != (lbaf ? 12 : 9)) {
        ns->shift = lbaf ? 12 : 9;
        nvme_namespace_changed(ns->n, ns->nsid);
    }
}

static uint16_t check_format(const struct nvme_request *r)
{
    uint32_t dw10 = nvme_dw(r, 10);

    if ((dw10 & 0xf) >= FORMATS) {
        return STATUS_INVALID_FORMAT;
    }
    /* No metadata, no protection, no erasure by key. */
    if ((dw10 >> 4 & 0x1f) || (dw10 >> 9 & 7) > 1) {
        return STATUS_INVALID_FIELD;
    }
    return r->ns || nvme_nsid(r) == NSID_ALL ? STATUS_OK : STATUS_INVALID_NAMESPACE;
}

static struct nvme_ns *format_next(struct nvme_request *r)
{
    if (nvme_nsid(r) == NSID_ALL) {
        return nvme_ns_next(r->n, r->stage);
    }
    return r->stage < r->ns->nsid ? r->ns : NULL;
}

/* Blocks are zero afterwards. Other commands meanwhile are told so. */
void nvme_run_format(struct nvme_request *r)
{
    uint16_t status = check_format(r);
    struct nvme_ns *ns;

    if (status != STATUS_OK) {
        refuse(r, status);
        return;
    }
    for (ns = format_next(r); ns; ns = format_next(r)) {
        uint64_t size = block_size(ns->block);

        if (block_read_only(ns->block)) {
            ns->formatting = false;
            refuse(r, STATUS_WRITE_PROTECTED);
            return;
        }
        if (r->done < size) {
            ns->formatting = true;
            nvme_submit(r, ns, BLOCK_ZERO, BLOCK_MAY_UNMAP, r->done,
                        MIN(size - r->done, FORMAT_PIECE), NULL, 0);
            return;
        }
        format_end(ns, nvme_dw(r, 10) & 0xf);
        r->stage = ns->nsid;
        r->done = 0;
    }
    nvme_complete(r, STATUS_OK);
}

/* ---- the controller's own: all that was written is safe ---- */

static void run_shutdown(struct nvme_request *r)
{
    if (nvme_flush_all(r)) {
        nvme_complete(r, STATUS_OK);
    }
}

const struct nvme_command nvme_shutdown_command = {.name = "shutdown", .run = run_shutdown};

/* Effects: supported; changes blocks, the namespaces there are; not beside other commands. */
#define PLAIN 0x1u
#define FORMATTING 0x00020003u

const struct nvme_command nvme_admin_commands[256] = {
    [ADMIN_DELETE_SQ] = {.name = "delete SQ",
                         .run = run_delete_sq,
                         .effects = PLAIN,
                         .waits = true},
    [ADMIN_CREATE_SQ] = {.name = "create SQ", .run = run_create_sq, .effects = PLAIN},
    [ADMIN_GET_LOG] = {.name = "get log page", .run = nvme_run_log, .effects = PLAIN},
    [ADMIN_DELETE_CQ] = {.name = "delete CQ", .run = run_delete_cq, .effects = PLAIN},
    [ADMIN_CREATE_CQ] = {.name = "create CQ", .run = run_create_cq, .effects = PLAIN},
    [ADMIN_IDENTIFY] = {.name = "identify", .run = nvme_run_identify, .effects = PLAIN},
    [ADMIN_ABORT] = {.name = "abort", .run = run_abort, .effects = PLAIN, .waits = true},
    [ADMIN_SET_FEATURES] = {.name = "set features", .run = nvme_run_set_features, .effects = PLAIN},
    [ADMIN_GET_FEATURES] = {.name = "get features", .run = nvme_run_get_features, .effects = PLAIN},
    [ADMIN_ASYNC_EVENT] = {.name = "asynchronous event request",
                           .run = run_event_request,
                           .effects = PLAIN},
    [ADMIN_DOORBELL_BUFFER] = {.name = "doorbell buffer config",
                               .run = run_doorbell_buffer,
                               .effects = PLAIN},
    [ADMIN_FORMAT] = {.name = "format NVM", .run = nvme_run_format, .effects = FORMATTING},
};
