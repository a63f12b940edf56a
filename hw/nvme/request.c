/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVMe: the life of a command between its fetch and its completion. The table of requests bounds
 * what a guest can have under way at once; see nvme.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "nvme.h"

#define FAILURES_LOGGED 16u /* all of these, then each time their number has doubled */

static bool is_io(uint16_t sqid)
{
    return sqid != 0 && sqid != NVME_INTERNAL;
}

/* One place is left for the administrator, and one for the controller's own. */
static bool may_take(const struct nvme *n, uint16_t sqid)
{
    return sqid == NVME_INTERNAL ? n->used < NVME_REQUESTS
           : sqid == 0           ? n->used < NVME_REQUESTS - 1
                                 : n->io_used < NVME_REQUESTS_IO;
}

struct nvme_request *nvme_request_new(struct nvme *n, uint16_t sqid)
{
    for (unsigned i = 0; may_take(n, sqid) && i < NVME_REQUESTS; i++) {
        struct nvme_request *r = n->request[i];

        if (!r) {
            r = n->request[i] = g_new0(struct nvme_request, 1);
            r->n = n;
        }
        if (!r->used) {
            r->used = true;
            r->sqid = sqid;
            n->used++;
            n->io_used += is_io(sqid);
            return r;
        }
    }
    return NULL;
}

void nvme_request_free(struct nvme_request *r)
{
    struct nvme_request empty = {.n = r->n, .list = r->list, .bounce = r->bounce};

    r->n->used--;
    r->n->io_used -= is_io(r->sqid);
    *r = empty;
}

void nvme_requests_destroy(struct nvme *n)
{
    for (unsigned i = 0; i < NVME_REQUESTS; i++) {
        if (n->request[i]) {
            dma_list_free(n->request[i]->list);
            g_free(n->request[i]->bounce);
            g_clear_pointer(&n->request[i], g_free);
        }
    }
    n->used = n->io_used = 0;
}

/* ---- begin ---- */

const struct nvme_command *nvme_command_of(uint16_t sqid, const uint8_t *sqe)
{
    const struct nvme_command *c = sqid == NVME_INTERNAL ? &nvme_shutdown_command
                                   : sqid == 0           ? &nvme_admin_commands[sqe[0]]
                                                         : &nvme_io_commands[sqe[0]];

    return c->name ? c : NULL;
}

static bool formats(const struct nvme_request *r)
{
    return r->sqid == 0 && r->sqe[0] == ADMIN_FORMAT;
}

static uint16_t find_command(struct nvme_request *r)
{
    r->command = nvme_command_of(r->sqid, r->sqe);
    if (!r->command) {
        return STATUS_INVALID_OPCODE;
    }
    if ((r->sqe[1] & 3) || r->sqe[1] >> 6 > PSDT_SGL_BOTH ||
        (r->sqid == 0 && r->sqe[1] >> 6 != PSDT_PRP)) {
        return STATUS_INVALID_FIELD; /* no fused operations; SGLs for I/O only */
    }
    r->ns = nvme_ns_find(r->n, nvme_nsid(r));
    if (r->ns && r->ns->formatting && (r->command->wants_ns || formats(r))) {
        return STATUS_FORMATTING;
    }
    return r->command->wants_ns && !r->ns ? STATUS_INVALID_NAMESPACE : STATUS_OK;
}

void nvme_request_begin(struct nvme_request *r)
{
    uint16_t status = find_command(r);

    if (status != STATUS_OK) {
        nvme_complete(r, status | STATUS_DNR);
    } else {
        r->command->run(r);
    }
}

/* Namespaces come and go: what was true when it began has to be asked again. */
void nvme_go_on(struct nvme_request *r)
{
    r->ns = nvme_ns_find(r->n, nvme_nsid(r));
    if (r->command->wants_ns && !r->ns) {
        nvme_complete(r, STATUS_INVALID_NAMESPACE | STATUS_DNR);
    } else {
        r->command->run(r);
    }
}

/* ---- pieces of I/O ---- */

static void piece_done(struct block_request *io, int error);

void nvme_submit(struct nvme_request *r, struct nvme_ns *ns, enum block_op op, unsigned flags,
                 uint64_t offset, uint64_t length, const struct iovec *iov, unsigned niov)
{
    r->ns = ns;
    r->piece = length;
    r->in_flight = true;
    r->cancelled = false;
    r->n->in_flight++;
    ns->in_flight++;
    r->io = (struct block_request){
        .op = op,
        .flags = flags,
        .offset = offset,
        .length = length,
        .iov = iov,
        .niov = niov,
        .done = piece_done,
        .opaque = r,
    };
    block_submit(ns->queue, &r->io);
}

void nvme_cancel(struct nvme_request *r)
{
    if (r->in_flight && !r->cancelled) {
        r->cancelled = true;
        block_cancel(r->ns->queue, &r->io);
    }
}

static uint16_t status_of(enum block_op op, int error)
{
    if (error == -ENOMEDIUM || error == -EBUSY) {
        return STATUS_NOT_READY;
    }
    if (error == -EROFS) {
        return STATUS_WRITE_PROTECTED;
    }
    if (error == -ENOSPC) {
        return STATUS_CAPACITY;
    }
    return op == BLOCK_READ ? STATUS_READ_ERROR : STATUS_WRITE_FAULT;
}

static void piece_failed(struct nvme_request *r, int error)
{
    static const char *const names[] = {
        [BLOCK_READ] = "read",       [BLOCK_WRITE] = "write", [BLOCK_FLUSH] = "flush",
        [BLOCK_DISCARD] = "discard", [BLOCK_ZERO] = "write",
    };
    struct nvme_ns *ns = r->ns;

    ns->failures++;
    if (ns->failures <= FAILURES_LOGGED || !(ns->failures & (ns->failures - 1))) {
        log_warning(LOG_NVME, "%s: namespace %u: %s at byte %" PRIu64 " failed: %s", ns->dev->id,
                    ns->nsid, names[r->io.op], r->io.offset, g_strerror(-error));
    }
    machine_event_block_error(r->n->pci.dev.machine, ns->dev->id, names[r->io.op], error);
    nvme_complete(r, status_of(r->io.op, error));
}

static bool is_being_deleted(const struct nvme_request *r)
{
    return r->sqid < NVME_QUEUES && r->n->sq[r->sqid].deleting;
}

/*
 * The host gave it back as we asked: because of a stop (then it waits, and begins again with this
 * piece), or because somebody wants it to end.
 */
static void piece_back(struct nvme_request *r)
{
    struct nvme *n = r->n;

    if (is_being_deleted(r)) {
        nvme_complete(r, STATUS_QUEUE_DELETED);
    } else if (r->aborting) {
        nvme_complete(r, STATUS_ABORTED);
    } else if (!r->ns->n) {
        nvme_complete(r, STATUS_INVALID_NAMESPACE);
    } else if (n->stopped) {
        return;
    } else if (n->pci.dev.dma_blocked) {
        nvme_complete(r, STATUS_DATA_TRANSFER);
    } else {
        nvme_go_on(r); /* resumed before it was here */
    }
}

static void piece_succeeded(struct nvme_request *r)
{
    uint16_t status = r->command->moved ? r->command->moved(r) : STATUS_OK;

    if (status != STATUS_OK) {
        nvme_complete(r, status);
        return;
    }
    if (r->io.op == BLOCK_FLUSH) {
        r->stage = r->next_stage;
    } else {
        r->done += r->piece;
    }
    if (!r->n->stopped) {
        nvme_go_on(r);
    } else if (is_being_deleted(r) || r->aborting) {
        piece_back(r); /* a stop leaves no command that waits for the end of another */
    }
}

static void piece_done(struct block_request *io, int error)
{
    struct nvme_request *r = io->opaque;
    struct nvme_ns *ns = r->ns;
    struct nvme *n = r->n;

    r->in_flight = false;
    n->in_flight--;
    ns->in_flight--;
    if (r->mapped) {
        r->mapped = false;
        dma_list_end(r->list, r->piece); /* a failed read may have changed memory, too */
    }
    if (r->dead) {
        n->dead--;
        nvme_request_free(r);
        nvme_settle(n);
        if (ns->unplug == NVME_WAITS) {
            nvme_ns_unplug(ns);
        }
    } else if (error == -ECANCELED && r->cancelled) {
        piece_back(r);
    } else if (error) {
        piece_failed(r, error);
    } else {
        piece_succeeded(r);
    }
}

/* ---- ends ---- */

/* `r` is off its queues; whoever waits for that is told. */
static void leave_queues(struct nvme_request *r)
{
    struct nvme *n = r->n;
    struct nvme_sq *sq = &n->sq[r->sqid];
    struct nvme_request *deleter;

    sq->outstanding--;
    n->cq[sq->cqid].outstanding--;
    nvme_request_free(r);
    if (sq->deleter && sq->outstanding == 0) {
        deleter = sq->deleter;
        sq->deleter = NULL;
        nvme_go_on(deleter);
    }
}

static bool try_post(struct nvme_request *r)
{
    struct nvme_sq *sq = &r->n->sq[r->sqid];

    if (!nvme_post(r->n, sq->cqid, r->sqid, nvme_cid(r), r->status, r->result)) {
        return false;
    }
    leave_queues(r);
    return true;
}

static void end(struct nvme_request *r)
{
    struct nvme *n = r->n;

    r->ended = true;
    if (try_post(r)) {
        return;
    }
    if (n->sq[r->sqid].deleting) {
        leave_queues(r); /* nobody waits for it */
    } else {
        n->cq[n->sq[r->sqid].cqid].waiting++;
    }
}

void nvme_complete(struct nvme_request *r, uint16_t status)
{
    struct nvme *n = r->n;
    struct nvme_request *aborter = r->aborter;

    if (r->sqid == NVME_INTERNAL) {
        nvme_request_free(r);
        nvme_shutdown_done(n);
        return;
    }
    if (status & ~STATUS_DNR) {
        nvme_note_error(r, status);
        if (formats(r) && r->ns && (status & ~STATUS_DNR) != STATUS_FORMATTING) {
            r->ns->formatting = false;
        }
    }
    r->status = status;
    r->aborter = NULL;
    end(r);
    if (aborter) {
        aborter->result = (status & ~STATUS_DNR) == STATUS_ABORTED ? 0 : 1;
        n->aborts--;
        nvme_complete(aborter, STATUS_OK);
    }
    if (n->hungry) {
        nvme_run_queues(n);
    }
}

void nvme_sq_drop_waiting(struct nvme *n, unsigned sqid)
{
    struct nvme_cq *cq = &n->cq[n->sq[sqid].cqid];

    for (unsigned i = 0; i < NVME_REQUESTS; i++) {
        struct nvme_request *r = n->request[i];

        if (r && r->used && r->ended && r->sqid == sqid) {
            cq->waiting--;
            leave_queues(r);
        }
    }
}

void nvme_post_waiting(struct nvme *n, unsigned cqid)
{
    for (unsigned i = 0; i < NVME_REQUESTS && n->cq[cqid].waiting > 0; i++) {
        struct nvme_request *r = n->request[i];

        if (r && r->used && r->ended && n->sq[r->sqid].cqid == cqid) {
            n->cq[cqid].waiting--;
            if (!try_post(r)) {
                n->cq[cqid].waiting++;
                return;
            }
        }
    }
}

/* ---- saved state: nothing is in flight ---- */

void nvme_requests_save(struct nvme *n)
{
    n->saved_count = 0;
    for (unsigned i = 0; i < NVME_REQUESTS; i++) {
        const struct nvme_request *r = n->request[i];
        struct nvme_saved *s = &n->saved[n->saved_count];

        if (!r || !r->used || r->dead) {
            continue;
        }
        XENDM_ASSERT(!r->in_flight);
        *s = (struct nvme_saved){.sqid = r->sqid,
                                 .done = r->done,
                                 .stage = r->stage,
                                 .ended = r->ended,
                                 .status = r->status,
                                 .result = r->result};
        memcpy(s->sqe, r->sqe, NVME_SQE);
        n->saved_count++;
    }
}

/* What was to be restarted begins with the resume. */
void nvme_requests_load(struct nvme *n)
{
    for (unsigned i = 0; i < n->saved_count; i++) {
        const struct nvme_saved *s = &n->saved[i];
        struct nvme_request *r = nvme_request_new(n, s->sqid);

        r->done = s->done;
        r->stage = s->stage;
        r->ended = s->ended;
        r->status = s->status;
        r->result = s->result;
        memcpy(r->sqe, s->sqe, NVME_SQE);
        r->command = nvme_command_of(r->sqid, r->sqe);
    }
}

static bool saved_one_check(const struct nvme *n, const struct nvme_saved *s)
{
    const struct nvme_command *c = nvme_command_of(s->sqid, s->sqe);

    if (s->sqid == NVME_INTERNAL) {
        return !s->ended;
    }
    return s->sqid < NVME_QUEUES && n->sq[s->sqid].exists && (s->ended || (c && !c->waits));
}

bool nvme_saved_check(const struct nvme *n, GError **err)
{
    unsigned io = 0, own = 0;

    for (unsigned i = 0; i < n->saved_count; i++) {
        const struct nvme_saved *s = &n->saved[i];

        io += is_io(s->sqid);
        own += s->sqid == NVME_INTERNAL;
        if (!saved_one_check(n, s)) {
            g_set_error(err, STATE_ERROR, EINVAL, "command 0x%02x of queue %u cannot be under way",
                        s->sqe[0], s->sqid);
            return false;
        }
    }
    if (io > NVME_REQUESTS_IO || own > 1 || n->saved_count - io - own > NVME_REQUESTS - 1) {
        g_set_error(err, STATE_ERROR, EINVAL, "%u commands of I/O queues and %u of its own", io,
                    own);
        return false;
    }
    return true;
}
