/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio SCSI host: commands (5.6.6.1) and task management (5.6.6.2).
 *
 * Data go straight between a chain's memory and the target's task, at most a MiB at a time. A
 * command is kept as its pieces, its task, and how far its data are; between two moves it can be
 * saved. Task management is answered when the host has given back all that it ended. All task
 * attributes are taken for SIMPLE, as 5.6.6.1 allows.
 *
 * An answer is made when its request ends, and written when the chain is given back: in order, if
 * the driver wants that, and not while the device may not write.
 */
#include <errno.h>
#include <string.h>

#include <xendm/tape.h>
#include <xendm/turn.h>

#include "scsi.h"

#define VIEWS 136u /* that a request's list holds: 512 KiB in pages, and some */
#define TRANSFER_MAX (1u << 20)
#define CD_TRANSFER_MAX (128u << 10) /* whole sectors are computed */
#define COPY_MAX (64u << 10)
#define TURN_MAX (1u << 20) /* bytes that a turn copies without waiting */

#define PADDING_MAX 4096u

#define LUN_TARGET 0x01u /* first byte of an address */
#define LUN_WELL_KNOWN 0xc1u
#define LUN_FLAT 0x40u
#define REPORT_LUNS 0xa0u
#define INQUIRY 0x12u

/* Control requests. */
#define T_TMF 0u
#define T_AN_QUERY 1u
#define T_AN_SUBSCRIBE 2u
#define TMF_BYTES 24u
#define AN_BYTES 16u
#define AN_ANSWER 5u
enum {
    TMF_ABORT_TASK = 0,
    TMF_ABORT_TASK_SET = 1,
    TMF_CLEAR_ACA = 2,
    TMF_CLEAR_TASK_SET = 3,
    TMF_I_T_NEXUS_RESET = 4,
    TMF_LOGICAL_UNIT_RESET = 5,
    TMF_QUERY_TASK = 6,
    TMF_QUERY_TASK_SET = 7,
};

/* ---- the table of requests ---- */

static struct vscsi_request *request_new(struct virtio_scsi *s)
{
    if (s->used == VSCSI_REQUESTS || s->pieces + VIRTIO_PIECES > VSCSI_PIECES) {
        return NULL;
    }
    for (unsigned i = 0; i < VSCSI_REQUESTS; i++) {
        struct vscsi_request *r = &s->request[i];

        if (!r->used) {
            r->used = true;
            r->drop = VSCSI_NO_RESPONSE;
            s->used++;
            return r;
        }
    }
    return NULL;
}

static void request_clear(struct vscsi_request *r)
{
    r->used = r->dead = r->ended = r->mapped = false;
    r->drop = VSCSI_NO_RESPONSE;
    r->chain.out = r->chain.in = 0;
    r->id = r->lun = 0;
    r->tag = r->done = 0;
    r->head_out = r->head_in = 0;
    r->by = NULL;
    r->waits = 0;
    memset(r->answer, 0, sizeof(r->answer));
    r->answer_length = 0;
}

static void request_free(struct vscsi_request *r)
{
    XENDM_ASSERT(!r->unit);
    r->s->used--;
    r->s->pieces -= r->chain.out + r->chain.in;
    request_clear(r);
}

static void take_chain(struct vscsi_request *r, unsigned queue, const struct virtio_chain *c)
{
    virtio_chain_keep(&r->chain, &r->room, c);
    r->queue = (uint16_t)queue;
    r->s->pieces += c->out + c->in;
}

/* A chain that was just popped, as a request; NULL: `*why` says what serve() answers. */
static struct vscsi_request *take(struct virtio_scsi *s, unsigned n, int *why)
{
    struct vscsi_request *r = request_new(s);
    struct virtio_chain c;

    if (!r) {
        *why = VIRTIO_NO_ROOM;
        return NULL;
    }
    if (!virtq_pop(&s->virtio, n, &c)) {
        request_free(r);
        *why = VIRTIO_NOTHING;
        return NULL;
    }
    take_chain(r, n, &c);
    return r;
}

static int contradiction(struct vscsi_request *r, const char *what)
{
    virtio_broken(&r->s->virtio, r->queue, what);
    request_free(r);
    return VIRTIO_NOTHING;
}

static bool is_command(const struct vscsi_request *r)
{
    return r->queue >= VSCSI_FIXED;
}

static uint64_t data_in(const struct vscsi_request *r)
{
    return r->chain.in_bytes - r->head_in;
}

static uint64_t data_out(const struct vscsi_request *r)
{
    return r->chain.out_bytes - r->head_out;
}

/* ---- ends ---- */

/* False: it has to wait for the one before it, or for bus mastering. */
static bool give_back(struct vscsi_request *r)
{
    struct virtio *v = &r->s->virtio;
    struct virtq *q = &v->vq[r->queue];
    uint64_t written = is_command(r) ? r->head_in + (data_in(r) ? r->done : 0) : r->answer_length;

    if (!virtq_may_push(v, r->queue, &r->chain)) {
        return false;
    }
    if (virtio_write(v, &r->chain, 0, r->answer, r->answer_length) < 0) {
        virtio_broken(v, r->queue, "an answer is in no memory");
    }
    virtq_push(v, r->queue, &r->chain, (uint32_t)MIN(written, UINT32_MAX));
    virtq_signal(v, r->queue, virtio_in_flight(q) > 0);
    request_free(r);
    return true;
}

/* In order one end may make others possible. */
static void give_back_all(struct virtio_scsi *s)
{
    bool again = true;

    while (again) {
        again = false;
        for (unsigned i = 0; i < VSCSI_REQUESTS; i++) {
            struct vscsi_request *r = &s->request[i];

            if (r->used && r->ended && !r->dead && give_back(r)) {
                again = virtio_has(&s->virtio, VIRTIO_F_IN_ORDER);
            }
        }
    }
}

static void answered(struct vscsi_request *r)
{
    struct virtio_scsi *s = r->s;

    r->ended = true;
    if (give_back(r) && virtio_has(&s->virtio, VIRTIO_F_IN_ORDER)) {
        give_back_all(s);
    }
    virtio_run(&s->virtio);
}

static void leave_unit(struct vscsi_request *r)
{
    if (r->unit) {
        r->unit->tasks--;
        r->unit = NULL;
        r->task.phase = SCSI_TASK_IDLE;
    }
}

static void waits_less(struct vscsi_request *manager)
{
    if (manager && --manager->waits == 0) {
        answered(manager);
    }
}

/* The command is over; what waits for that is answered behind it. */
static void end(struct vscsi_request *r, enum vscsi_response response, uint8_t status)
{
    struct vscsi_request *manager = r->by;
    uint64_t all = data_in(r) + data_out(r), residual = all - MIN(r->done, all);
    uint64_t room = r->head_in - VSCSI_ANSWER;

    if (r->unit && response == VSCSI_OK && status == SCSI_CHECK_CONDITION) {
        uint8_t sense[SCSI_SENSE];
        size_t length = (size_t)MIN(room, SCSI_SENSE);

        scsi_task_take_sense(&r->task, sense);
        memcpy(r->answer + VSCSI_ANSWER, sense, length);
        store_le32(r->answer, (uint32_t)length);
        r->answer_length = (uint8_t)length;
    }
    store_le32(r->answer + 4, (uint32_t)MIN(residual, UINT32_MAX));
    r->answer[10] = status;
    r->answer[11] = (uint8_t)response;
    r->answer_length = (uint8_t)(r->answer_length + VSCSI_ANSWER);
    r->by = NULL;
    leave_unit(r);
    answered(r);
    waits_less(manager);
}

/* ---- data ---- */

static void unmap(struct vscsi_request *r)
{
    if (r->mapped) {
        r->mapped = false;
        r->done += r->task.moved;
        *(data_in(r) ? &r->s->bytes_read : &r->s->bytes_written) += r->task.moved;
        dma_list_end(r->list, r->map_bytes); /* a failed read may have changed memory, too */
        g_clear_pointer(&r->copy, g_free);
    }
}

/* Nobody wants the task's end any more. True: it is over now. */
static bool stop_task(struct vscsi_request *r)
{
    if (!r->unit) {
        return true;
    }
    scsi_task_cancel(&r->task);
    if (r->task.phase != SCSI_TASK_IDLE) {
        return false;
    }
    unmap(r);
    return true;
}

static void cancel(struct vscsi_request *r, enum vscsi_response response)
{
    if (r->drop == VSCSI_NO_RESPONSE) {
        r->drop = (uint8_t)response;
        if (stop_task(r)) {
            end(r, response, 0);
        }
    }
}

/* What the target looks at, or puts together, is a copy of the guest's memory. */
static bool needs_copy(const struct vscsi_request *r, int64_t n)
{
    return r->task.step == SCSI_PARAMETERS || r->done % SCSI_SECTOR || n < SCSI_SECTOR;
}

static bool move_copy(struct vscsi_request *r, uint32_t n)
{
    struct iovec iov = {r->copy = g_malloc(n), n};

    if (dma_list_get(r->list, 0, r->copy, n) < 0) {
        g_clear_pointer(&r->copy, g_free);
        dma_list_end(r->list, 0);
        return false;
    }
    r->mapped = true;
    r->map_bytes = n;
    scsi_task_move(&r->task, &iov, 1, n);
    if (r->task.phase != SCSI_TASK_WORKING) {
        unmap(r);
    }
    return true;
}

/* One move; false: there is no memory. */
static bool move(struct vscsi_request *r, bool in)
{
    struct virtio *v = &r->s->virtio;
    enum dma_direction direction = in ? DMA_FROM_DEVICE : DMA_TO_DEVICE;
    bool cd = r->unit->target.type == &scsi_cd_type;
    uint64_t skip = in ? r->head_in : r->head_out;
    struct iovec *iov;
    unsigned count;
    int64_t n;

    if (!r->list) {
        r->list = dma_list_new(&v->pci.dev, VIEWS);
    }
    dma_list_begin(r->list, direction);
    n = virtio_map(v, &r->chain, r->list, direction, skip + r->done,
                   MIN(r->task.left, cd ? CD_TRANSFER_MAX : TRANSFER_MAX));
    if (n <= 0) {
        dma_list_end(r->list, 0);
        return false;
    }
    if (!in && needs_copy(r, n)) {
        return move_copy(r, (uint32_t)MIN(n, COPY_MAX));
    }
    n -= in ? 0 : n % SCSI_SECTOR;
    iov = dma_list_iov(r->list, 0, (size_t)n, &count);
    r->mapped = true;
    r->map_bytes = (size_t)n;
    scsi_task_move(&r->task, iov, count, (uint32_t)n);
    if (r->task.phase != SCSI_TASK_WORKING) {
        unmap(r);
    }
    return true;
}

static bool may_go(const struct virtio_scsi *s)
{
    return !s->virtio.stopped && !s->virtio.pci.dev.dma_blocked;
}

static bool has_data(const struct vscsi_request *r)
{
    return r->task.phase == SCSI_TASK_DATA_IN || r->task.phase == SCSI_TASK_DATA_OUT;
}

static void go_on(void *opaque);

static void ask_for_more(struct virtio_scsi *s)
{
    static const struct later_kind kind = {.turn = "virtio-scsi",
                                           .go_on = go_on,
                                           .part = "commands"};

    later_ask(&s->more, &kind, s, s->virtio.pci.dev.id);
}

/* As far as it goes in this turn. */
static void run(struct vscsi_request *r)
{
    if (has_data(r) && may_go(r->s) && !move(r, r->task.phase == SCSI_TASK_DATA_IN)) {
        if (r->s->virtio.pci.dev.dma_blocked) {
            return;
        }
        cancel(r, VSCSI_FAILURE);
        return;
    }
    if (r->task.phase == SCSI_TASK_ENDED) {
        end(r, VSCSI_OK, r->task.status);
    } else if (has_data(r) && may_go(r->s)) {
        ask_for_more(r->s);
    }
}

static void go_on(void *opaque)
{
    struct virtio_scsi *s = opaque;
    uint64_t before = s->bytes_read + s->bytes_written;

    for (unsigned i = 0; i < VSCSI_REQUESTS; i++) {
        struct vscsi_request *r = &s->request[(s->turn + i) % VSCSI_REQUESTS];

        if (s->bytes_read + s->bytes_written - before >= TURN_MAX ||
            (i > 0 && tape_late(turn_is_used_up()))) {
            s->turn = (s->turn + i) % VSCSI_REQUESTS;
            ask_for_more(s);
            return;
        }
        if (r->used && r->unit && has_data(r)) {
            run(r);
        }
    }
}

static void task_changed(void *opaque)
{
    struct vscsi_request *r = opaque;
    struct virtio *v = &r->s->virtio;

    unmap(r);
    if (r->dead) {
        leave_unit(r);
        request_free(r);
        if (--v->dead == 0) {
            virtio_settled(v);
        }
    } else if (r->drop != VSCSI_NO_RESPONSE) {
        end(r, (enum vscsi_response)r->drop, 0);
    } else {
        run(r);
    }
}

/* ---- commands ---- */

/* What an address names (5.6.6.1). False: no unit, and no target. */
static bool parse_lun(const uint8_t *a, uint32_t *id, uint32_t *lun)
{
    *id = a[1];
    *lun = (a[2] << 8 | a[3]) & (SCSI_LUNS - 1);
    return a[0] == LUN_TARGET && (a[2] == 0 || (a[2] & 0xc0) == LUN_FLAT);
}

/* The unit, or any other of its target: then the unit is absent. NULL: no target. */
static struct scsi_unit *find(struct virtio_scsi *s, const uint8_t *a, uint32_t *id, uint32_t *lun)
{
    struct scsi_unit *u;

    if (!parse_lun(a, id, lun)) {
        return NULL;
    }
    u = scsi_host_unit(&s->host, *id, *lun);
    return u ? u : s->host.unit[*id];
}

static void sense_illegal(struct vscsi_request *r, uint8_t asc)
{
    uint8_t *sense = r->answer + VSCSI_ANSWER;
    uint32_t room = MIN(r->head_in - VSCSI_ANSWER, SCSI_SENSE);

    memset(sense, 0, SCSI_SENSE);
    sense[0] = 0x70;
    sense[2] = SENSE_ILLEGAL_REQUEST;
    sense[7] = SCSI_SENSE - 8;
    sense[12] = asc;
    store_le32(r->answer, room);
    r->answer_length = (uint8_t)room;
    end(r, VSCSI_OK, SCSI_CHECK_CONDITION);
}

/* All units, by the addresses that the driver says (SPC-3 6.21, 5.6.6.1). */
static uint32_t all_units(const struct virtio_scsi *s, uint8_t *to, uint32_t most)
{
    uint32_t n = 8;

    for (unsigned id = 0; id < SCSI_IDS; id++) {
        for (const struct scsi_unit *u = s->host.unit[id]; u && n + 8 <= most; u = u->next) {
            uint8_t lun[8];

            scsi_lun_store(lun, u->lun);
            memset(to + n, 0, 8);
            to[n] = LUN_TARGET;
            to[n + 1] = (uint8_t)id;
            to[n + 2] = lun[0];
            to[n + 3] = lun[1];
            n += 8;
        }
    }
    memset(to, 0, 8);
    store_be32(to, n - 8);
    return n;
}

/* The REPORT LUNS well-known logical unit: INQUIRY and REPORT LUNS (SPC-3 8). */
static void well_known(struct vscsi_request *r, const uint8_t *cdb)
{
    g_autofree uint8_t *buf = g_malloc0(SCSI_BUFFER);
    uint32_t n, asked;

    if (cdb[0] == REPORT_LUNS && cdb[2] <= 2) {
        n = all_units(r->s, buf, SCSI_BUFFER);
        asked = load_be32(cdb + 6);
    } else if (cdb[0] == INQUIRY && !(cdb[1] & 3) && !cdb[2]) {
        n = 36;
        asked = load_be16(cdb + 3);
        buf[0] = 0x1e; /* well-known logical unit */
        buf[2] = 5;    /* SPC-3 */
        buf[3] = 2;
        buf[4] = 31;
        memcpy(buf + 8, "XENDM   REPORT LUNS         ", 28);
    } else {
        sense_illegal(r, cdb[0] == REPORT_LUNS || cdb[0] == INQUIRY ? 0x24 : 0x20);
        return;
    }
    n = MIN(n, asked);
    if (n > data_in(r)) {
        end(r, VSCSI_OVERRUN, 0);
    } else if (virtio_write(&r->s->virtio, &r->chain, r->head_in, buf, n) < 0) {
        end(r, VSCSI_FAILURE, 0);
    } else {
        r->done = n;
        end(r, VSCSI_OK, SCSI_GOOD);
    }
}

/* The CDB wants to move more than there is room for, or the other way. */
static bool overruns(const struct vscsi_request *r)
{
    return (r->task.phase == SCSI_TASK_DATA_IN && r->task.left > data_in(r)) ||
           (r->task.phase == SCSI_TASK_DATA_OUT && r->task.left > data_out(r));
}

static void begin(struct vscsi_request *r, const uint8_t *head, unsigned cdb_length)
{
    const uint8_t *cdb = head + VSCSI_REQUEST;
    struct scsi_unit *u = find(r->s, head, &r->id, &r->lun);

    r->tag = load_le64(head + 8);
    r->s->commands++;
    if (data_in(r) && data_out(r)) {
        end(r, VSCSI_FAILURE, 0); /* INOUT was not offered */
    } else if (head[0] == LUN_WELL_KNOWN && head[1] == LUN_TARGET) {
        well_known(r, cdb);
    } else if (!u) {
        end(r, VSCSI_BAD_TARGET, 0);
    } else {
        r->unit = u;
        u->tasks++;
        scsi_task_use(&r->task, &u->target, u->queue);
        scsi_task_resume(&r->task); /* a task that was not used yet stands still */
        if (u->lun == r->lun) {
            scsi_task_start(&r->task, cdb, cdb_length);
        } else {
            scsi_task_start_absent(&r->task, r->lun, cdb, cdb_length);
        }
        if (overruns(r)) {
            cancel(r, VSCSI_OVERRUN);
        } else {
            run(r);
        }
    }
}

/* Roughly what it costs to begin it: 64 pieces, or 64 KiB, as much as one that is small. */
static int price(const struct virtio_chain *c)
{
    uint64_t bytes = MIN(c->out_bytes + c->in_bytes, TRANSFER_MAX);

    return 1 + (int)(bytes >> 16) + (c->out + c->in) / 64;
}

/*
 * Firmware from before virtio 1.0 has padding behind header and answer: without ANY_LAYOUT data
 * begin with the next buffer, as with QEMU.
 */
static void skip_padding(struct vscsi_request *r)
{
    const struct virtio *v = &r->s->virtio;
    const struct virtio_piece *out = r->chain.piece, *in = out + r->chain.out;

    if (virtio_modern(v) || virtio_has(v, VIRTIO_F_ANY_LAYOUT)) {
        return;
    }
    if (r->chain.out && out->len <= PADDING_MAX) {
        r->head_out = MAX(r->head_out, out->len);
    }
    if (r->chain.in && in->len <= PADDING_MAX) {
        r->head_in = MAX(r->head_in, in->len);
    }
}

int vscsi_serve_request(struct virtio_scsi *s, unsigned n)
{
    uint8_t head[VSCSI_REQUEST + SCSI_CDB_MAX] = {0};
    unsigned cdb_length = MIN(s->cdb_size, SCSI_CDB_MAX);
    struct vscsi_request *r;
    int cost = 0;

    r = take(s, n, &cost);
    if (!r) {
        return cost;
    }
    r->head_out = VSCSI_REQUEST + s->cdb_size;
    r->head_in = VSCSI_ANSWER + s->sense_size;
    if (r->chain.out_bytes < r->head_out || r->chain.in_bytes < r->head_in) {
        return contradiction(r, "a command without header or room for its answer");
    }
    skip_padding(r);
    cost = price(&r->chain);
    if (virtio_read(&s->virtio, &r->chain, 0, head, VSCSI_REQUEST + cdb_length) < 0) {
        end(r, VSCSI_FAILURE, 0);
    } else {
        begin(r, head, cdb_length);
    }
    return cost;
}

void vscsi_drop_unit(struct virtio_scsi *s, const struct scsi_unit *u)
{
    for (unsigned i = 0; i < VSCSI_REQUESTS; i++) {
        struct vscsi_request *r = &s->request[i];

        if (r->used && !r->dead && r->unit == u) {
            cancel(r, VSCSI_TRANSPORT_FAILURE);
        }
    }
}

/* ---- task management ---- */

static bool concerns(const struct vscsi_request *r, uint32_t id, uint32_t lun)
{
    return r->used && r->unit && !r->dead && r->drop == VSCSI_NO_RESPONSE && r->id == id &&
           r->lun == lun;
}

/* The manager waits for those that are being cancelled already, too. */
static void drop_for(struct vscsi_request *manager, struct vscsi_request *r,
                     enum vscsi_response response)
{
    if (!r->by) {
        r->by = manager;
        manager->waits++;
    }
    cancel(r, response);
}

static void drop_all(struct vscsi_request *manager, uint32_t id, uint32_t lun,
                     enum vscsi_response response)
{
    for (unsigned i = 0; i < VSCSI_REQUESTS; i++) {
        struct vscsi_request *r = &manager->s->request[i];

        if (r->used && r->unit && !r->dead && r->id == id && r->lun == lun) {
            drop_for(manager, r, response);
        }
    }
}

static enum vscsi_response one_task(struct vscsi_request *manager, uint64_t tag, bool query)
{
    struct virtio_scsi *s = manager->s;

    for (unsigned i = 0; i < VSCSI_REQUESTS; i++) {
        struct vscsi_request *r = &s->request[i];

        if (concerns(r, manager->id, manager->lun) && r->tag == tag) {
            if (query) {
                return VSCSI_FUNCTION_SUCCEEDED;
            }
            drop_for(manager, r, VSCSI_ABORTED);
            break;
        }
    }
    return VSCSI_FUNCTION_COMPLETE;
}

static enum vscsi_response query_set(const struct vscsi_request *manager)
{
    for (unsigned i = 0; i < VSCSI_REQUESTS; i++) {
        if (concerns(&manager->s->request[i], manager->id, manager->lun)) {
            return VSCSI_FUNCTION_SUCCEEDED;
        }
    }
    return VSCSI_FUNCTION_COMPLETE;
}

static void reset_unit(struct vscsi_request *manager, struct scsi_unit *u)
{
    drop_all(manager, u->id, u->lun, VSCSI_RESET);
    scsi_target_reset(&u->target, false);
}

static enum vscsi_response manage_unit(struct vscsi_request *r, struct scsi_unit *u, uint32_t what,
                                       uint64_t tag)
{
    if (u->lun != r->lun) {
        return VSCSI_INCORRECT_LUN;
    }
    switch (what) {
    case TMF_ABORT_TASK:
    case TMF_QUERY_TASK:
        return one_task(r, tag, what == TMF_QUERY_TASK);
    case TMF_QUERY_TASK_SET:
        return query_set(r);
    case TMF_LOGICAL_UNIT_RESET:
        reset_unit(r, u);
        break;
    default: /* ABORT TASK SET, CLEAR TASK SET: there is one nexus */
        drop_all(r, r->id, r->lun, VSCSI_ABORTED);
        break;
    }
    return VSCSI_FUNCTION_COMPLETE;
}

static enum vscsi_response manage(struct vscsi_request *r, const uint8_t *head)
{
    uint32_t what = load_le32(head + 4);
    struct scsi_unit *u = find(r->s, head + 8, &r->id, &r->lun);

    r->s->managements++;
    if (what == TMF_CLEAR_ACA || what > TMF_QUERY_TASK_SET) {
        return VSCSI_FUNCTION_REJECTED;
    }
    if (!u) {
        return VSCSI_BAD_TARGET;
    }
    if (what == TMF_I_T_NEXUS_RESET) {
        for (u = r->s->host.unit[r->id]; u; u = u->next) {
            reset_unit(r, u);
        }
        return VSCSI_FUNCTION_COMPLETE;
    }
    return manage_unit(r, u, what, load_le64(head + 16));
}

/* Which of what is asked for the unit tells, and is to tell from now on (5.6.6.2). */
static void notify(struct vscsi_request *r, const uint8_t *head, bool subscribe)
{
    struct scsi_unit *u = find(r->s, head + 4, &r->id, &r->lun);
    uint32_t knows = u && u->target.type == &scsi_cd_type ? VSCSI_ASYNC_MEDIA : 0;
    uint32_t is = load_le32(head + 12) & knows;

    if (!u) {
        r->answer[4] = VSCSI_BAD_TARGET;
        return;
    }
    if (u->lun != r->lun) {
        r->answer[4] = VSCSI_INCORRECT_LUN;
        return;
    }
    if (subscribe) {
        u->wanted = is;
    }
    store_le32(r->answer, is);
    r->answer[4] = VSCSI_OK;
}

/* `waits` counts this call, too, so that what ends inside does not answer. */
static int serve_management(struct vscsi_request *r)
{
    uint8_t head[TMF_BYTES];

    if (r->chain.out_bytes < TMF_BYTES || r->chain.in_bytes < 1) {
        return contradiction(r, "a task management request of the wrong size");
    }
    r->answer_length = 1;
    r->waits = 1;
    r->answer[0] = virtio_read(&r->s->virtio, &r->chain, 0, head, TMF_BYTES) < 0
                       ? VSCSI_FAILURE
                       : (uint8_t)manage(r, head);
    waits_less(r);
    return 1;
}

static int serve_notification(struct vscsi_request *r, bool subscribe)
{
    uint8_t head[AN_BYTES];

    if (r->chain.out_bytes < AN_BYTES || r->chain.in_bytes < AN_ANSWER) {
        return contradiction(r, "an asynchronous notification request of the wrong size");
    }
    r->answer_length = AN_ANSWER;
    if (virtio_read(&r->s->virtio, &r->chain, 0, head, AN_BYTES) < 0) {
        r->answer[4] = VSCSI_FAILURE;
    } else {
        notify(r, head, subscribe);
    }
    answered(r);
    return 1;
}

int vscsi_serve_control(struct virtio_scsi *s)
{
    struct vscsi_request *r;
    uint8_t type[4];
    int why = 0;

    r = take(s, VSCSI_CONTROL, &why);
    if (!r) {
        return why;
    }
    if (r->chain.out_bytes < sizeof(type)) {
        return contradiction(r, "a control request without type");
    }
    if (virtio_read(&s->virtio, &r->chain, 0, type, sizeof(type)) < 0) {
        return contradiction(r, "a control request is in no memory");
    }
    switch (load_le32(type)) {
    case T_TMF:
        return serve_management(r);
    case T_AN_QUERY:
    case T_AN_SUBSCRIBE:
        return serve_notification(r, load_le32(type) == T_AN_SUBSCRIBE);
    default:
        log_guest(LOG_VIRTIO, "%s: control request %u is not known", s->virtio.pci.dev.id,
                  load_le32(type));
        answered(r);
        return 1;
    }
}

/* ---- resets, stops ---- */

static void forget_manager(struct vscsi_request *manager)
{
    for (unsigned i = 0; manager->waits && i < VSCSI_REQUESTS; i++) {
        if (manager->s->request[i].by == manager) {
            manager->s->request[i].by = NULL;
        }
    }
}

/* A command of another queue goes on, and who manages it with it. */
static void forget(struct vscsi_request *r)
{
    struct vscsi_request *manager = r->by;

    forget_manager(r);
    if (stop_task(r)) {
        leave_unit(r);
        request_free(r);
    } else {
        r->dead = true;
        r->by = NULL;
        r->s->virtio.dead++;
    }
    waits_less(manager);
}

void vscsi_forget(struct virtio_scsi *s, unsigned n)
{
    for (unsigned i = 0; i < VSCSI_REQUESTS; i++) {
        struct vscsi_request *r = &s->request[i];

        if (r->used && !r->dead && !is_command(r) && (n == VIRTIO_QUEUES || n == r->queue)) {
            forget(r); /* first: what would wait for the others */
        }
    }
    for (unsigned i = 0; i < VSCSI_REQUESTS; i++) {
        struct vscsi_request *r = &s->request[i];

        if (r->used && !r->dead && is_command(r) && (n == VIRTIO_QUEUES || n == r->queue)) {
            forget(r);
        }
    }
    if (n == VIRTIO_QUEUES) {
        later_forget(&s->more);
        s->turn = 0;
    }
}

void vscsi_requests_stop(struct virtio_scsi *s)
{
    later_forget(&s->more);
    s->turn = 0;
    for (unsigned i = 0; i < VSCSI_REQUESTS; i++) {
        scsi_task_quiesce(&s->request[i].task);
        scsi_task_recall(&s->request[i].task);
    }
}

void vscsi_requests_go(struct virtio_scsi *s)
{
    give_back_all(s);
    for (unsigned i = 0; i < VSCSI_REQUESTS && may_go(s); i++) {
        struct vscsi_request *r = &s->request[i];

        scsi_task_resume(&r->task);
        if (r->used && r->unit && has_data(r)) {
            ask_for_more(s);
        }
    }
}

bool vscsi_requests_busy(const struct virtio_scsi *s)
{
    for (unsigned i = 0; i < VSCSI_REQUESTS; i++) {
        if (scsi_task_busy(&s->request[i].task)) {
            return true;
        }
    }
    return false;
}

void vscsi_requests_init(struct virtio_scsi *s)
{
    for (unsigned i = 0; i < VSCSI_REQUESTS; i++) {
        s->request[i].s = s;
        scsi_task_init(&s->request[i].task, task_changed, &s->request[i]);
    }
}

void vscsi_requests_fini(struct virtio_scsi *s)
{
    later_forget(&s->more);
    for (unsigned i = 0; i < VSCSI_REQUESTS; i++) {
        scsi_task_fini(&s->request[i].task);
        dma_list_free(s->request[i].list);
        g_free(s->request[i].chain.piece);
        g_free(s->request[i].copy);
    }
}

/* ---- saved state ---- */

#define R(kind, f, ...) STATE_FIELD_##kind(struct vscsi_request, f, __VA_ARGS__)

static const struct state_field fields[] = {
    R(BOOL, used),
    R(BOOL, ended),
    R(U16, queue, .max = VIRTIO_QUEUES - 1),
    R(U16, chain.id),
    R(U16, chain.slots, .max = VIRTIO_QUEUE_MAX),
    R(U16, chain.turn),
    R(U16, chain.out, .max = VIRTIO_PIECES),
    R(U16, chain.in, .max = VIRTIO_PIECES),
    R(U32, id, .max = SCSI_IDS - 1),
    R(U32, lun, .max = SCSI_LUNS - 1),
    R(U64, tag),
    R(U32, head_out, .max = PADDING_MAX),
    R(U32, head_in, .max = VSCSI_ANSWER + 65535),
    R(U64, done),
    STATE_SCSI_TASK(struct vscsi_request, task),
    R(BYTES, answer),
    R(U8, answer_length, .max = VSCSI_ANSWER + SCSI_SENSE),
    STATE_FIELD_END,
};

const struct state_desc vscsi_request_state = {.name = "request", .version = 1, .fields = fields};

void vscsi_pre_save(void *base)
{
    struct virtio_scsi *s = base;

    s->saved_count = s->saved_pieces = 0;
    for (uint32_t i = 0; i < VSCSI_REQUESTS; i++) {
        struct vscsi_request *r = &s->request[i];
        unsigned count = r->chain.out + r->chain.in;

        if (!r->used) {
            continue;
        }
        unmap(r); /* what was written, and is to be flushed when that may be */
        XENDM_ASSERT(!r->dead && r->drop == VSCSI_NO_RESPONSE);
        memcpy(&s->saved_piece[s->saved_pieces], r->chain.piece, count * sizeof(*r->chain.piece));
        s->saved_pieces += count;
        s->saved_count = i + 1;
    }
}

/* Its pieces are `p`. */
static bool request_fits(const struct virtio_scsi *s, const struct vscsi_request *r,
                         const struct virtio_piece *p)
{
    uint64_t out = virtio_pieces_bytes(p, r->chain.out),
             in = virtio_pieces_bytes(p + r->chain.out, r->chain.in);
    uint8_t phase = r->task.phase;

    if (r->queue >= s->virtio.queues || r->queue == VSCSI_EVENTS || in < r->answer_length) {
        return false;
    }
    if (r->ended) {
        return r->head_out <= out && r->head_in <= in;
    }
    if (!is_command(r) || r->head_out < VSCSI_REQUEST || r->head_in < VSCSI_ANSWER ||
        r->head_out > out || r->head_in > in || (out > r->head_out && in > r->head_in) ||
        r->answer_length) {
        return false;
    }
    out -= r->head_out;
    in -= r->head_in;
    switch ((enum scsi_task_phase)phase) {
    case SCSI_TASK_DATA_IN:
        return r->done <= in && r->task.left <= in - r->done;
    case SCSI_TASK_DATA_OUT:
        return r->done <= out && r->task.left <= out - r->done;
    case SCSI_TASK_WORKING:
        return true;
    case SCSI_TASK_IDLE:
    case SCSI_TASK_ENDED:
        break;
    }
    return false;
}

bool vscsi_check(const void *base, GError **err)
{
    const struct virtio_scsi *s = base;
    uint32_t pieces = 0;

    for (uint32_t i = 0; i < s->saved_count; i++) {
        const struct vscsi_request *r = &s->request[i];
        unsigned count = r->chain.out + r->chain.in;

        if ((!r->used || r->ended) && r->task.phase != SCSI_TASK_IDLE) {
            g_set_error(err, STATE_ERROR, EINVAL, "request %u has ended, and its task has not", i);
            return false;
        }
        if (!r->used) {
            continue;
        }
        if (count > VIRTIO_PIECES || count > s->saved_pieces - pieces ||
            !request_fits(s, r, s->saved_piece + pieces)) {
            g_set_error(err, STATE_ERROR, EINVAL, "request %u of queue %u cannot be under way", i,
                        r->queue);
            return false;
        }
        pieces += count;
    }
    if (pieces != s->saved_pieces) {
        g_set_error(err, STATE_ERROR, EINVAL, "%u pieces, and %u of requests", s->saved_pieces,
                    pieces);
        return false;
    }
    return true;
}

/* What may be gone is what the guest has unplugged, whose commands went with it. */
bool vscsi_fits(const void *scratch, const void *base, GError **err)
{
    const struct virtio_scsi *saved = scratch, *s = base;

    for (uint32_t i = 0; i < saved->saved_count; i++) {
        const struct vscsi_request *r = &saved->request[i];

        if (r->used && !r->ended && !s->host.unit[r->id]) {
            g_set_error(err, STATE_ERROR, EINVAL, "a command for id %u, which is not there", r->id);
            return false;
        }
    }
    return true;
}

static void load_request(struct virtio_scsi *s, struct vscsi_request *r,
                         const struct virtio_piece *p)
{
    struct virtio_chain c = r->chain;

    c.piece = (struct virtio_piece *)p;
    c.out_bytes = virtio_pieces_bytes(p, c.out);
    c.in_bytes = virtio_pieces_bytes(p + c.out, c.in);
    s->used++;
    take_chain(r, r->queue, &c);
    if (!r->ended) {
        struct scsi_unit *u = scsi_host_unit(&s->host, r->id, r->lun);

        r->unit = u ? u : s->host.unit[r->id];
        r->unit->tasks++;
        scsi_task_use(&r->task, &r->unit->target, r->unit->queue);
    }
}

/* What was under way goes on with the resume. */
void vscsi_post_load(void *base)
{
    struct virtio_scsi *s = base;
    uint32_t pieces = 0;

    s->used = s->pieces = s->turn = 0;
    for (uint32_t i = 0; i < VSCSI_REQUESTS; i++) {
        struct vscsi_request *r = &s->request[i];

        leave_unit(r);
        r->dead = r->mapped = false;
        r->drop = VSCSI_NO_RESPONSE;
        r->by = NULL;
        r->waits = 0;
        if (i >= s->saved_count || !r->used) {
            request_clear(r);
            r->task.phase = SCSI_TASK_IDLE;
        } else {
            load_request(s, r, s->saved_piece + pieces);
            pieces += r->chain.out + r->chain.in;
        }
    }
}
