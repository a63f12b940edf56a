/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVMe: submission and completion queues (4.1), doorbells in registers and in memory (5.7), and
 * interrupts (7.5).
 *
 * A command is fetched only when its completion queue has room for what was fetched before it, so
 * that a guest which reads no completions keeps its commands, and none of our memory. A completion
 * may still meet a full queue, when the guest moves its head backwards: then it waits.
 *
 * In the access that rings a doorbell some commands are begun, the rest in later turns of the loop.
 * Interrupts: at once for a queue that has nothing else under way, so that one command at a time is
 * quick; else together for all that ends in this turn.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <xendm/turn.h>

#include "nvme.h"

#define ACCESS_BUDGET 8u /* commands in an access to a doorbell; 64 KiB of data count as one */
#define TURN_BUDGET 48u
#define SHADOW_BYTES 4096u

void nvme_fatal(struct nvme *n, const char *why, uint64_t address)
{
    if (!(n->csts & CSTS_CFS)) {
        n->csts |= CSTS_CFS;
        log_guest(LOG_NVME, "%s: %s at 0x%" PRIx64 ": the controller gives up", n->pci.dev.id, why,
                  address);
    }
}

bool nvme_runs(const struct nvme *n)
{
    return !n->resetting && (n->csts & (CSTS_RDY | CSTS_CFS)) == CSTS_RDY;
}

static void set_hungry(struct nvme *n, struct nvme_sq *sq, bool hungry)
{
    if (sq->hungry != hungry) {
        sq->hungry = hungry;
        n->hungry += hungry ? 1u : -1u;
    }
}

/* ---- rings in guest memory ---- */

static struct dma_window *window(struct nvme *n, struct dma_window **w, uint64_t base, size_t bytes,
                                 bool write)
{
    int error = 0;

    if (!*w) {
        *w = dma_window_new(&n->pci.dev, base, bytes, write, &error);
    }
    return *w;
}

static struct dma_window *sq_window(struct nvme *n, struct nvme_sq *sq)
{
    return window(n, &sq->window, sq->base, (size_t)sq->entries * NVME_SQE, false);
}

static struct dma_window *cq_window(struct nvme *n, struct nvme_cq *cq)
{
    return window(n, &cq->window, cq->base, (size_t)cq->entries * NVME_CQE, true);
}

/* ---- shadow doorbells: not of the admin queues, whose drivers use the registers ---- */

void nvme_shadow_drop(struct nvme *n)
{
    dma_window_free(n->shadow_window);
    dma_window_free(n->event_window);
    n->shadow_window = n->event_window = NULL;
}

static bool shadows(struct nvme *n, unsigned id)
{
    return n->shadow && id > 0 && window(n, &n->shadow_window, n->shadow, SHADOW_BYTES, false) &&
           window(n, &n->event_window, n->event_index, SHADOW_BYTES, true);
}

/* Takes what the guest says there, if it can be. `at`: of the doorbell. */
static void shadow_read(struct nvme *n, uint32_t *index, uint32_t entries, size_t at)
{
    uint32_t value = dma_window_load32(n->shadow_window, at);

    if (value < entries) {
        *index = value;
    } else {
        nvme_event(n, EVENT_ERROR, EVENT_BAD_DOORBELL_VALUE, PAGE_ERRORS);
    }
}

/* Reads the index, asks to be rung when it moves on, and looks whether it did meanwhile. */
static void shadow_follow(struct nvme *n, uint32_t *index, uint32_t entries, size_t at)
{
    shadow_read(n, index, entries, at);
    dma_window_store32(n->event_window, at, *index);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    shadow_read(n, index, entries, at);
}

static void sq_follow(struct nvme *n, unsigned id)
{
    if (shadows(n, id)) {
        shadow_follow(n, &n->sq[id].tail, n->sq[id].entries, 8 * id);
    }
}

static void cq_follow(struct nvme *n, unsigned id)
{
    if (shadows(n, id)) {
        shadow_follow(n, &n->cq[id].head, n->cq[id].entries, 8 * id + 4);
    }
}

/* ---- interrupts ---- */

void nvme_update_pin(struct nvme *n)
{
    bool level = false;

    for (unsigned i = 0; i < NVME_QUEUES && !level && !pci_msix_enabled(&n->pci); i++) {
        const struct nvme_cq *cq = &n->cq[i];

        level = cq->exists && cq->interrupts && cq->head != cq->tail &&
                !(cq->vector < 32 && (n->intms >> cq->vector & 1));
    }
    pci_intx_set(&n->pci, level);
}

void nvme_signal(struct nvme *n)
{
    for (unsigned i = 0; i < NVME_QUEUES; i++) {
        struct nvme_cq *cq = &n->cq[i];

        if (cq->owed) {
            cq->owed = false;
            pci_msix_send(&n->pci, cq->vector);
        }
    }
}

static void signal_now(void *opaque)
{
    nvme_signal(opaque);
}

static void signal_later(struct nvme *n)
{
    static const struct later_kind kind = {.turn = "NVMe interrupts",
                                           .go_on = signal_now,
                                           .part = "interrupts",
                                           .priority = G_PRIORITY_HIGH};

    later_ask(&n->signals, &kind, n, n->pci.dev.id);
}

/* `others`: more will end for this queue soon. */
static void cq_interrupt(struct nvme *n, unsigned id, bool others)
{
    struct nvme_cq *cq = &n->cq[id];

    if (!cq->interrupts) {
        return;
    }
    if (!pci_msix_enabled(&n->pci)) {
        cq_follow(n, id); /* a level: we have to hear of the head */
        nvme_update_pin(n);
    } else if (!others || n->stopped) {
        cq->owed = false;
        pci_msix_send(&n->pci, cq->vector);
    } else if (!cq->owed) {
        cq->owed = true;
        signal_later(n);
    }
}

/* ---- completions ---- */

static uint32_t cq_room(const struct nvme_cq *cq)
{
    return (cq->head + cq->entries - cq->tail - 1) % cq->entries;
}

static bool cq_write(struct nvme *n, struct nvme_cq *cq, const uint8_t *entry)
{
    struct dma_window *w = cq_window(n, cq);
    size_t at = (size_t)cq->tail * NVME_CQE;

    /* The phase is in the last word, which is written last. */
    if (!w || dma_window_write(w, at, entry, 12) < 0) {
        return false;
    }
    dma_window_store32(w, at + 12, load_le32(entry + 12));
    return dma_window_error(w) == 0;
}

bool nvme_post(struct nvme *n, unsigned cqid, unsigned sqid, uint16_t cid, uint16_t status,
               uint32_t result)
{
    struct nvme_cq *cq = &n->cq[cqid];
    uint8_t entry[NVME_CQE] = {0};

    if (!nvme_runs(n)) {
        return true; /* nobody reads it any more */
    }
    if (cq_room(cq) == 0) {
        cq_follow(n, cqid);
    }
    if (cq_room(cq) == 0) {
        return false;
    }
    store_le32(entry, result);
    store_le16(entry + 8, n->sq[sqid].head);
    store_le16(entry + 10, sqid);
    store_le16(entry + 12, cid);
    store_le16(entry + 14, (uint32_t)status << 1 | cq->phase);
    if (!cq_write(n, cq, entry)) {
        nvme_fatal(n, "completions cannot be written", cq->base);
        return true;
    }
    if (++cq->tail == cq->entries) {
        cq->tail = 0;
        cq->phase = !cq->phase;
    }
    cq_interrupt(n, cqid, cq->outstanding > 1 + cq->waiting);
    return true;
}

/* ---- fetching ---- */

enum fetched { NOTHING, NO_ROOM, A_COMMAND };

static bool cq_has_room(struct nvme *n, unsigned cqid)
{
    struct nvme_cq *cq = &n->cq[cqid];

    if (cq_room(cq) <= cq->outstanding) {
        cq_follow(n, cqid);
    }
    return cq_room(cq) > cq->outstanding;
}

static bool sq_empty(struct nvme *n, unsigned id)
{
    struct nvme_sq *sq = &n->sq[id];

    if (sq->head == sq->tail) {
        sq_follow(n, id);
    }
    return sq->head == sq->tail;
}

/* Roughly what it costs to begin it. */
static unsigned price(const struct nvme *n, const struct nvme_request *r)
{
    bool moves = r->sqid && (r->sqe[0] == IO_READ || r->sqe[0] == IO_WRITE);
    const struct nvme_ns *ns = moves ? nvme_ns_find(n, nvme_nsid(r)) : NULL;
    uint64_t bytes = ns ? ((uint64_t)(nvme_dw(r, 12) & 0xffff) + 1) << ns->shift : 0;

    return 1 + (unsigned)(MIN(bytes, nvme_transfer_max(n)) >> 16);
}

static enum fetched fetch_one(struct nvme *n, unsigned id, unsigned *cost)
{
    struct nvme_sq *sq = &n->sq[id];
    struct nvme_request *r;
    struct dma_window *w;

    if (!nvme_runs(n) || n->stopped || !sq->exists || sq->deleting || sq_empty(n, id)) {
        return NOTHING;
    }
    r = cq_has_room(n, sq->cqid) ? nvme_request_new(n, (uint16_t)id) : NULL;
    if (!r) {
        return NO_ROOM;
    }
    w = sq_window(n, sq);
    if (!w || dma_window_read(w, (size_t)sq->head * NVME_SQE, r->sqe, NVME_SQE) < 0) {
        nvme_request_free(r);
        nvme_fatal(n, "commands cannot be read", sq->base);
        return NOTHING;
    }
    sq->head = (sq->head + 1) % sq->entries;
    sq->outstanding++;
    n->cq[sq->cqid].outstanding++;
    *cost = price(n, r);
    nvme_request_begin(r);
    return A_COMMAND;
}

/* Returns what is left of the budget. */
static unsigned fetch(struct nvme *n, unsigned id, unsigned budget, bool *blocked)
{
    unsigned cost = 0;
    enum fetched got = A_COMMAND;

    while (budget > 0 && (got = fetch_one(n, id, &cost)) == A_COMMAND) {
        budget -= MIN(budget, cost);
    }
    if (got == NOTHING) {
        set_hungry(n, &n->sq[id], false);
    }
    *blocked = got == NO_ROOM;
    return budget;
}

/* Each queue in its turn: four commands, then the next. */
static bool run_all(struct nvme *n, unsigned budget)
{
    unsigned idle = 0;

    while (budget > 0 && n->hungry > 0 && idle < NVME_QUEUES) {
        unsigned id = n->turn, part = MIN(budget, 4);
        bool blocked = true;

        n->turn = (n->turn + 1) % NVME_QUEUES;
        if (n->sq[id].hungry) {
            budget -= part - fetch(n, id, part, &blocked);
        }
        idle = blocked ? idle + 1 : 0;
    }
    return budget == 0 && n->hungry > 0;
}

static void run_more(void *opaque)
{
    struct nvme *n = opaque;

    if (run_all(n, TURN_BUDGET)) {
        nvme_run_queues(n);
    }
}

void nvme_run_queues(struct nvme *n)
{
    static const struct later_kind kind = {.turn = "NVMe", .go_on = run_more};

    if (!n->stopped) {
        later_ask(&n->more, &kind, n, n->pci.dev.id);
    }
}

void nvme_sources_stop(struct nvme *n)
{
    later_forget(&n->more);
    later_forget(&n->signals);
}

/* ---- doorbells ---- */

static void sq_doorbell(struct nvme *n, unsigned id, uint32_t value)
{
    struct nvme_sq *sq = &n->sq[id];
    bool blocked = false;

    if (value >= sq->entries) {
        log_guest(LOG_NVME, "%s: tail %u of queue %u of %u entries", n->pci.dev.id, value, id,
                  sq->entries);
        nvme_event(n, EVENT_ERROR, EVENT_BAD_DOORBELL_VALUE, PAGE_ERRORS);
        return;
    }
    sq->tail = value;
    set_hungry(n, sq, true);
    if (fetch(n, id, ACCESS_BUDGET, &blocked) == 0 && sq->hungry) {
        nvme_run_queues(n);
    }
}

static void cq_doorbell(struct nvme *n, unsigned id, uint32_t value)
{
    struct nvme_cq *cq = &n->cq[id];

    if (value >= cq->entries) {
        log_guest(LOG_NVME, "%s: head %u of queue %u of %u entries", n->pci.dev.id, value, id,
                  cq->entries);
        nvme_event(n, EVENT_ERROR, EVENT_BAD_DOORBELL_VALUE, PAGE_ERRORS);
        return;
    }
    cq->head = value;
    nvme_post_waiting(n, id);
    if (id == 0) {
        nvme_events_send(n);
    }
    nvme_update_pin(n);
    if (n->hungry) {
        nvme_run_queues(n);
    }
}

void nvme_doorbell(struct nvme *n, unsigned index, uint32_t value)
{
    unsigned id = index / 2;
    bool exists = index & 1 ? n->cq[id].exists : n->sq[id].exists;

    if (!nvme_runs(n)) {
        log_guest(LOG_NVME, "%s: doorbell of a controller that does not run", n->pci.dev.id);
    } else if (!exists) {
        log_guest(LOG_NVME, "%s: doorbell of queue %u, which there is not", n->pci.dev.id, id);
        nvme_event(n, EVENT_ERROR, EVENT_BAD_DOORBELL, PAGE_ERRORS);
    } else if (index & 1) {
        cq_doorbell(n, id, value);
    } else {
        sq_doorbell(n, id, value);
    }
}

/* ---- queues come and go ---- */

void nvme_sq_remove(struct nvme *n, unsigned id)
{
    struct nvme_sq *sq = &n->sq[id];

    if (sq->exists) {
        n->cq[sq->cqid].users--;
    }
    set_hungry(n, sq, false);
    dma_window_free(sq->window);
    memset(sq, 0, sizeof(*sq));
}

void nvme_cq_remove(struct nvme *n, unsigned id)
{
    dma_window_free(n->cq[id].window);
    memset(&n->cq[id], 0, sizeof(n->cq[id]));
    nvme_update_pin(n);
}

bool nvme_queue_start(struct nvme *n)
{
    uint32_t sqs = (n->aqa & 0xfff) + 1, cqs = (n->aqa >> 16 & 0xfff) + 1;

    if (sqs < 2 || cqs < 2) {
        return false;
    }
    n->cq[0] = (struct nvme_cq){.exists = true,
                                .interrupts = true,
                                .phase = true,
                                .base = n->acq,
                                .entries = cqs,
                                .users = 1};
    n->sq[0] = (struct nvme_sq){.exists = true, .base = n->asq, .entries = sqs};
    return true;
}

static void request_kill(struct nvme *n, struct nvme_request *r)
{
    if (r->in_flight) {
        r->dead = true;
        n->dead++;
        nvme_cancel(r);
    } else {
        nvme_request_free(r);
    }
}

void nvme_queues_stop(struct nvme *n)
{
    nvme_sources_stop(n);
    for (unsigned i = 0; i < NVME_REQUESTS; i++) {
        if (n->request[i] && n->request[i]->used && !n->request[i]->dead) {
            request_kill(n, n->request[i]);
        }
    }
    n->aborts = 0;
    for (unsigned i = 0; i < NVME_QUEUES; i++) {
        nvme_sq_remove(n, i);
    }
    for (unsigned i = 0; i < NVME_QUEUES; i++) {
        dma_window_free(n->cq[i].window);
        memset(&n->cq[i], 0, sizeof(n->cq[i]));
    }
    nvme_update_pin(n);
}

static void cancel_some(struct nvme *n, unsigned sqid, const struct nvme_ns *ns)
{
    for (unsigned i = 0; i < NVME_REQUESTS; i++) {
        struct nvme_request *r = n->request[i];

        if (r && r->used && r->in_flight && (sqid == NVME_QUEUES || r->sqid == sqid) &&
            (!ns || r->ns == ns)) {
            nvme_cancel(r);
        }
    }
}

void nvme_sq_cancel(struct nvme *n, unsigned id)
{
    cancel_some(n, id, NULL);
}

void nvme_ns_cancel(struct nvme *n, const struct nvme_ns *ns)
{
    cancel_some(n, NVME_QUEUES, ns);
}

void nvme_all_cancel(struct nvme *n)
{
    cancel_some(n, NVME_QUEUES, NULL);
}

void nvme_restart(struct nvme *n)
{
    for (unsigned i = 0; i < NVME_REQUESTS; i++) {
        struct nvme_request *r = n->request[i];

        if (r && r->used && !r->in_flight && !r->ended && !r->dead && !r->command->waits) {
            nvme_go_on(r);
        }
    }
    for (unsigned i = 0; i < NVME_QUEUES; i++) {
        if (n->cq[i].exists) {
            nvme_post_waiting(n, i);
        }
        if (n->sq[i].exists) {
            set_hungry(n, &n->sq[i], true);
        }
    }
    nvme_events_send(n);
    if (n->hungry) {
        nvme_run_queues(n);
    }
}

/* `exists`, ring and indices are the saved ones; nothing else is. */
static void adopt_rings(struct nvme *n)
{
    for (unsigned i = 0; i < NVME_QUEUES; i++) {
        struct nvme_sq *sq = &n->sq[i];
        struct nvme_cq *cq = &n->cq[i];

        dma_window_free(sq->window);
        dma_window_free(cq->window);
        if (i >= n->sqs) {
            sq->exists = false;
        }
        if (i >= n->cqs) {
            cq->exists = false;
        }
        sq->window = cq->window = NULL;
        sq->hungry = sq->deleting = cq->owed = false;
        sq->deleter = NULL;
        sq->outstanding = cq->outstanding = cq->waiting = cq->users = 0;
    }
    n->hungry = 0;
}

void nvme_queues_adopt(struct nvme *n)
{
    nvme_sources_stop(n);
    nvme_shadow_drop(n);
    adopt_rings(n);
    nvme_requests_destroy(n);
    nvme_requests_load(n);
    for (unsigned i = 0; i < NVME_QUEUES; i++) {
        if (n->sq[i].exists) {
            n->cq[n->sq[i].cqid].users++;
        }
    }
    for (unsigned i = 0; i < NVME_REQUESTS; i++) {
        const struct nvme_request *r = n->request[i];

        if (r && r->used && r->sqid != NVME_INTERNAL) {
            struct nvme_cq *cq = &n->cq[n->sq[r->sqid].cqid];

            n->sq[r->sqid].outstanding++;
            cq->outstanding++;
            cq->waiting += r->ended;
        }
    }
}
