/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tasks: the data of one command, between the medium and the initiator's memory; see xendm/scsi.h.
 *
 * Whole sectors go straight between the host's file and the initiator's memory, in requests of up
 * to 1 MiB, one at a time. What is less than a sector there, and a CD's whole sectors, go by way of
 * a buffer of the task's own.
 *
 * Between quiesce and resume nothing is begun. A move that is under way then ends early, as the
 * initiator's memory cannot be saved; what is left of the command can.
 */
#include <errno.h>
#include <inttypes.h>

#include <xendm/iov.h>
#include <xendm/machine.h>
#include <xendm/recorder.h>
#include <xendm/tape.h>

#include "scsi-internal.h"

#define CHUNK_MAX (1u << 20)
#define AT_ONCE_MAX (128u << 10) /* bytes that a turn may copy out of the host's page cache */
#define RAW_BLOCKS (SCSI_BOUNCE / CD_RAW)

static void run(struct scsi_task *k);

/* ---- the initiator's memory ---- */

/* Copies between `buf` and the move's memory from `moved` on. */
static void copy(struct scsi_task *k, uint8_t *buf, uint32_t len, bool to_initiator)
{
    if (to_initiator) {
        iov_put(k->iov, k->niov, k->moved, buf, len);
    } else {
        iov_get(k->iov, k->niov, k->moved, buf, len);
    }
}

/* The next at most `len` bytes of the move as k->slice: whole sectors only. */
static uint32_t make_slice(struct scsi_task *k, uint32_t len, unsigned *count)
{
    uint32_t skip = k->moved, total = 0, extra;
    unsigned n = 0;

    for (unsigned i = 0; i < k->niov && total < len; i++) {
        size_t size = k->iov[i].iov_len;

        if (skip >= size) {
            skip -= (uint32_t)size;
            continue;
        }
        size = MIN(size - skip, len - total);
        k->slice[n++] = (struct iovec){(uint8_t *)k->iov[i].iov_base + skip, size};
        total += (uint32_t)size;
        skip = 0;
    }
    for (extra = total % SCSI_SECTOR; extra > 0 && extra >= k->slice[n - 1].iov_len; n--) {
        extra -= (uint32_t)k->slice[n - 1].iov_len;
    }
    if (extra > 0) {
        k->slice[n - 1].iov_len -= extra;
    }
    *count = n;
    return total - total % SCSI_SECTOR;
}

static void count_moved(struct scsi_task *k, uint32_t n)
{
    k->moved += n;
    k->left -= MIN(n, k->left);
}

/* ---- ends ---- */

static void end(struct scsi_task *k, uint8_t status)
{
    k->phase = SCSI_TASK_ENDED;
    k->status = status;
    if (status == SCSI_CHECK_CONDITION) {
        k->sense_key = k->target->sense_key;
        k->asc = k->target->asc;
        k->ascq = k->target->ascq;
    }
    k->niov = 0;
    k->bounce_at = k->bounce_end = 0;
}

static void failed(struct scsi_task *k, enum block_op op, int error)
{
    static const char *const name[] = {
        [BLOCK_READ] = "read",       [BLOCK_WRITE] = "write", [BLOCK_FLUSH] = "flush",
        [BLOCK_DISCARD] = "discard", [BLOCK_ZERO] = "write",
    };
    struct device *dev = k->target->dev;

    if (log_is_news(&k->failures)) {
        log_warning(LOG_SCSI, "%s: %s at sector %" PRIu64 " failed: %s", dev->id, name[op],
                    k->sector, g_strerror(-error));
    }
    machine_event_block_error(dev->machine, dev->id, name[op], error);
    scsi_medium_failed(k->target, op, error);
    end(k, SCSI_CHECK_CONDITION);
}

static void begin_step(struct scsi_task *k, enum scsi_step step)
{
    const struct scsi_target *t = k->target;

    k->step = step;
    k->at = 0;
    k->length = t->length;
    k->sector = t->sector;
    k->sectors = t->sectors;
    k->raw = t->raw;
    k->fua = t->fua;
    k->bounce_at = k->bounce_end = 0;
    switch (step) {
    case SCSI_DONE:
        end(k, SCSI_GOOD);
        break;
    case SCSI_FAILED:
    case SCSI_REFUSED:
        end(k, SCSI_CHECK_CONDITION);
        break;
    case SCSI_REPLY:
        memcpy(k->bounce, t->buffer, t->length);
        k->phase = SCSI_TASK_DATA_IN;
        k->left = t->length;
        break;
    case SCSI_PARAMETERS:
        k->phase = SCSI_TASK_DATA_OUT;
        k->left = t->length;
        break;
    case SCSI_READ:
        k->phase = SCSI_TASK_DATA_IN;
        k->left = k->raw ? (uint64_t)(t->sectors / CD_SECTORS_PER_BLOCK) * CD_RAW
                         : (uint64_t)t->sectors * SCSI_SECTOR;
        break;
    case SCSI_WRITE:
        k->phase = SCSI_TASK_DATA_OUT;
        k->left = (uint64_t)t->sectors * SCSI_SECTOR;
        break;
    case SCSI_DISCARD:
        memcpy(k->bounce, t->buffer, t->length);
        /* fall through */
    case SCSI_FLUSH:
        k->phase = SCSI_TASK_WORKING;
        k->left = 0;
        run(k);
        break;
    }
}

/* ---- requests ---- */

static void request_done(struct block_request *req, int error);

static void submit(struct scsi_task *k, enum block_op op, uint64_t sector, uint32_t sectors,
                   const struct iovec *iov, unsigned niov)
{
    const struct iovec *before = tape_guest_iov;

    if (!k->queue) {
        failed(k, op, -ENOMEDIUM); /* restored from a machine that had a medium */
        return;
    }
    k->phase = SCSI_TASK_WORKING;
    k->in_flight = true;
    k->recalled = false;
    k->req = (struct block_request){
        .op = op,
        .offset = sector * SCSI_SECTOR,
        .length = (uint64_t)sectors * SCSI_SECTOR,
        .iov = iov,
        .niov = niov,
        .done = request_done,
        .opaque = k,
    };
    tape_guest_iov = k->guests && iov == k->slice ? iov : before;
    block_submit(k->queue, &k->req);
    tape_guest_iov = before;
}

static void submit_bounce(struct scsi_task *k, enum block_op op, uint32_t sectors)
{
    k->bouncing = true;
    k->one = (struct iovec){k->bounce, (size_t)sectors * SCSI_SECTOR};
    submit(k, op, k->sector, sectors, &k->one, 1);
}

static void sectors_done(struct scsi_task *k, uint32_t n)
{
    k->sector += n;
    k->sectors -= n;
}

/* ---- reading ---- */

static void bounce_filled(struct scsi_task *k, uint32_t sectors)
{
    k->bounce_at = 0;
    k->bounce_end = sectors * SCSI_SECTOR;
    if (k->raw) {
        uint32_t blocks = sectors / CD_SECTORS_PER_BLOCK;

        cd_raw_expand(k->bounce, (uint32_t)(k->sector / CD_SECTORS_PER_BLOCK), blocks);
        k->bounce_end = blocks * CD_RAW;
    }
    sectors_done(k, sectors);
}

/* True: it is full; else a request is under way, or the task has ended. */
static bool fill_bounce(struct scsi_task *k)
{
    uint32_t n = k->raw ? MIN(k->sectors / CD_SECTORS_PER_BLOCK, RAW_BLOCKS) * CD_SECTORS_PER_BLOCK
                        : MIN(k->sectors, SCSI_BOUNCE / SCSI_SECTOR);
    int error;

    if (n == 0) {
        failed(k, BLOCK_READ, -EINVAL); /* only a saved state can promise more than there is */
        return false;
    }
    error = k->queue ? block_read_now(k->queue, k->sector * SCSI_SECTOR, k->bounce,
                                      (size_t)n * SCSI_SECTOR)
                     : -EAGAIN;
    if (error == 0) {
        bounce_filled(k, n);
        return true;
    }
    submit_bounce(k, BLOCK_READ, n); /* also after an error: it is told in one place */
    return false;
}

static void from_bounce(struct scsi_task *k)
{
    uint32_t n = MIN(k->want - k->moved, k->bounce_end - k->bounce_at);

    copy(k, k->bounce + k->bounce_at, n, true);
    k->bounce_at += n;
    count_moved(k, n);
}

enum moving { MOVED_NONE, MOVED, MOVING };

/* What the host has in its page cache need not go round by the engine. */
static bool read_at_once(struct scsi_task *k, uint32_t n, unsigned count)
{
    return n <= AT_ONCE_MAX && count == 1 && k->queue &&
           block_read_now(k->queue, k->sector * SCSI_SECTOR, k->slice[0].iov_base, n) == 0;
}

/* Whole sectors, straight. */
static enum moving move_direct(struct scsi_task *k, enum block_op op)
{
    uint64_t most = MIN((uint64_t)k->sectors * SCSI_SECTOR, CHUNK_MAX);
    unsigned count;
    uint32_t n = make_slice(k, (uint32_t)MIN(k->want - k->moved, most), &count);

    if (n == 0) {
        return MOVED_NONE;
    }
    if (op == BLOCK_READ && read_at_once(k, n, count)) {
        sectors_done(k, n / SCSI_SECTOR);
        count_moved(k, n);
        return MOVED;
    }
    k->bouncing = false;
    submit(k, op, k->sector, n / SCSI_SECTOR, k->slice, count);
    return MOVING;
}

static void run_read(struct scsi_task *k)
{
    while (k->moved < k->want) {
        enum moving direct;

        if (k->bounce_at < k->bounce_end) {
            from_bounce(k);
            continue;
        }
        direct = k->raw ? MOVED_NONE : move_direct(k, BLOCK_READ);
        if (direct == MOVING || (direct == MOVED_NONE && !fill_bounce(k))) {
            return;
        }
    }
    if (k->left == 0) {
        end(k, SCSI_GOOD);
    } else {
        k->phase = SCSI_TASK_DATA_IN;
    }
}

/* ---- writing ---- */

static void written(struct scsi_task *k)
{
    if (k->target->write_cache && !k->fua) {
        end(k, SCSI_GOOD);
    } else {
        k->step = SCSI_FLUSH;
        k->phase = SCSI_TASK_WORKING;
        run(k);
    }
}

static void run_write(struct scsi_task *k)
{
    while (k->moved < k->want) {
        uint32_t n;

        if (k->bounce_end == 0 && move_direct(k, BLOCK_WRITE) == MOVING) {
            return;
        }
        n = MIN(k->want - k->moved, SCSI_SECTOR - k->bounce_end);
        copy(k, k->bounce + k->bounce_end, n, false);
        k->bounce_end += n;
        count_moved(k, n);
        if (k->bounce_end == SCSI_SECTOR) {
            if (k->sectors == 0) {
                failed(k, BLOCK_WRITE, -EINVAL);
            } else {
                submit_bounce(k, BLOCK_WRITE, 1);
            }
            return;
        }
    }
    if (k->left == 0) {
        written(k);
    } else {
        k->phase = SCSI_TASK_DATA_OUT;
    }
}

/* ---- replies, parameters, flush, discard ---- */

/* The parameters of the command are there, as far as they came. */
static void take_parameters(struct scsi_task *k, uint32_t length)
{
    struct scsi_target *t = k->target;

    memcpy(t->cdb, k->cdb, sizeof(t->cdb));
    memcpy(t->buffer, k->bounce, length);
    begin_step(k, scsi_parameters(t, length));
}

static void run_buffer(struct scsi_task *k, bool reply)
{
    uint32_t n = MIN(k->want - k->moved, k->length - k->at);

    copy(k, k->bounce + k->at, n, reply);
    k->at += n;
    count_moved(k, n);
    if (k->left == 0 && reply) {
        end(k, SCSI_GOOD);
    } else if (k->left == 0) {
        take_parameters(k, k->length);
    }
}

static void run_discard(struct scsi_task *k)
{
    uint64_t sector;
    uint32_t sectors;

    if (!scsi_discard_next(k->target, k->bounce, k->length, &k->at, &sector, &sectors)) {
        end(k, SCSI_GOOD);
        return;
    }
    k->sector = sector;
    submit(k, BLOCK_DISCARD, sector, sectors, NULL, 0);
}

/* Goes on with the step, as far as that is possible now. */
static void run(struct scsi_task *k)
{
    if (k->quiesced) {
        return;
    }
    switch ((enum scsi_step)k->step) {
    case SCSI_REPLY:
        run_buffer(k, true);
        break;
    case SCSI_PARAMETERS:
        run_buffer(k, false);
        break;
    case SCSI_READ:
        run_read(k);
        break;
    case SCSI_WRITE:
        run_write(k);
        break;
    case SCSI_FLUSH:
        if (!k->queue || !block_present(k->target->block)) {
            end(k, SCSI_GOOD); /* there is nothing to write */
        } else {
            submit(k, BLOCK_FLUSH, 0, 0, NULL, 0);
        }
        break;
    case SCSI_DISCARD:
        run_discard(k);
        break;
    case SCSI_DONE:
    case SCSI_FAILED:
    case SCSI_REFUSED:
        break;
    }
}

/* A request ended well. */
static void account(struct scsi_task *k)
{
    uint32_t n = (uint32_t)(k->req.length / SCSI_SECTOR);

    switch (k->req.op) {
    case BLOCK_READ:
        if (k->bouncing) {
            bounce_filled(k, n);
        } else {
            sectors_done(k, n);
            count_moved(k, (uint32_t)k->req.length);
        }
        break;
    case BLOCK_WRITE:
        sectors_done(k, n);
        if (k->bouncing) {
            k->bounce_end = 0;
        } else {
            count_moved(k, (uint32_t)k->req.length);
        }
        break;
    case BLOCK_FLUSH:
        end(k, SCSI_GOOD);
        break;
    case BLOCK_DISCARD:
    case BLOCK_ZERO:
        break;
    }
}

static void go_on(struct scsi_task *k)
{
    if (k->quiesced && (k->step == SCSI_READ || k->step == SCSI_WRITE)) {
        k->want = k->moved; /* the move ends here */
        if (k->left == 0 && k->step == SCSI_WRITE) {
            k->step = SCSI_FLUSH; /* when it is resumed; safe, if not always asked for */
        } else if (k->left == 0) {
            end(k, SCSI_GOOD);
        } else {
            k->phase = k->step == SCSI_READ ? SCSI_TASK_DATA_IN : SCSI_TASK_DATA_OUT;
        }
    } else {
        run(k);
    }
}

/* Called back, and not done: the move ends here, and what moved nothing yet waits for a resume. */
static void given_back(struct scsi_task *k)
{
    if (k->step == SCSI_READ || k->step == SCSI_WRITE) {
        k->want = k->moved;
        k->phase = k->step == SCSI_READ ? SCSI_TASK_DATA_IN : SCSI_TASK_DATA_OUT;
    } else {
        run(k);
    }
}

static void request_done(struct block_request *req, int error)
{
    struct scsi_task *k = req->opaque;

    k->in_flight = false;
    if (k->cancelled) {
        k->cancelled = false;
        k->phase = SCSI_TASK_IDLE;
        k->changed(k->opaque);
        return;
    }
    if (error == -ECANCELED && k->recalled) {
        given_back(k);
    } else if (error && !(req->op == BLOCK_DISCARD && error == -EOPNOTSUPP)) {
        failed(k, req->op, error);
    } else {
        account(k);
        if (k->phase == SCSI_TASK_WORKING) {
            go_on(k);
        }
    }
    if (k->phase != SCSI_TASK_WORKING) {
        k->changed(k->opaque);
    }
}

/* ---- the contract ---- */

void scsi_task_init(struct scsi_task *k, void (*changed)(void *opaque), void *opaque)
{
    *k = (struct scsi_task){.changed = changed, .opaque = opaque};
    k->quiesced = true; /* until the first resume */
}

void scsi_task_fini(struct scsi_task *k)
{
    XENDM_ASSERT(!k->in_flight); /* whoever frees a device waits until it is not busy */
    g_free(k->bounce);
    g_free(k->iov);
    g_free(k->slice);
    g_free(k->saved);
    *k = (struct scsi_task){0};
}

void scsi_task_use(struct scsi_task *k, struct scsi_target *target, struct block_queue *queue)
{
    XENDM_ASSERT(!k->in_flight);
    k->target = target;
    k->queue = queue;
}

/* Of the many that an adapter can have most are never used. */
static void need_memory(struct scsi_task *k)
{
    if (!k->bounce) {
        k->bounce = g_malloc(SCSI_BOUNCE);
        k->iov = g_new(struct iovec, BLOCK_IOV_MAX);
        k->slice = g_new(struct iovec, BLOCK_IOV_MAX);
    }
}

static void prepare(struct scsi_task *k)
{
    need_memory(k);
    XENDM_ASSERT(k->phase == SCSI_TASK_IDLE || k->phase == SCSI_TASK_ENDED);
    k->moved = k->want = 0;
    k->niov = 0;
    k->sense_key = k->asc = k->ascq = 0;
}

static void begin(struct scsi_task *k, enum scsi_step step)
{
    memcpy(k->cdb, k->target->cdb, sizeof(k->cdb));
    begin_step(k, step);
}

void scsi_task_start(struct scsi_task *k, const uint8_t *cdb, unsigned length)
{
    prepare(k);
    begin(k, scsi_command(k->target, cdb, length, true));
}

void scsi_task_start_absent(struct scsi_task *k, uint32_t lun, const uint8_t *cdb, unsigned length)
{
    prepare(k);
    begin(k, scsi_absent_command(k->target, lun, cdb, length));
}

void scsi_task_tell_sense(struct scsi_task *k)
{
    if (k->status == SCSI_CHECK_CONDITION) {
        scsi_error(k->target, k->sense_key, (uint16_t)(k->asc << 8 | k->ascq));
    }
}

void scsi_task_take_sense(struct scsi_task *k, uint8_t *buf)
{
    scsi_task_tell_sense(k);
    scsi_sense(k->target, buf);
    scsi_error(k->target, 0, 0);
}

void scsi_task_move(struct scsi_task *k, const struct iovec *iov, unsigned niov, uint32_t length)
{
    XENDM_ASSERT(k->phase == SCSI_TASK_DATA_IN || k->phase == SCSI_TASK_DATA_OUT);
    k->guests = iov == tape_guest_iov;
    k->niov = MIN(niov, BLOCK_IOV_MAX);
    memcpy(k->iov, iov, k->niov * sizeof(*iov));
    k->moved = 0;
    k->want = 0;
    for (unsigned i = 0; i < k->niov && k->want < length; i++) {
        k->want += (uint32_t)MIN(iov[i].iov_len, length - k->want);
    }
    k->want = (uint32_t)MIN(k->want, k->left);
    if (k->want) {
        run(k);
    }
}

void scsi_task_cut(struct scsi_task *k)
{
    XENDM_ASSERT(k->phase == SCSI_TASK_DATA_IN || k->phase == SCSI_TASK_DATA_OUT);
    k->moved = k->want = 0;
    switch ((enum scsi_step)k->step) {
    case SCSI_PARAMETERS:
        take_parameters(k, k->at);
        break;
    case SCSI_WRITE:
        written(k);
        break;
    default:
        end(k, SCSI_GOOD);
        break;
    }
}

void scsi_task_cancel(struct scsi_task *k)
{
    if (!k->in_flight) {
        end(k, SCSI_TASK_ABORTED);
        k->phase = SCSI_TASK_IDLE;
    } else if (!k->cancelled) {
        k->cancelled = true;
        if (!k->recalled) {
            block_cancel(k->queue, &k->req);
        }
    }
}

void scsi_task_quiesce(struct scsi_task *k)
{
    k->quiesced = true;
}

/* A sector that came in pieces is nowhere but in the bounce, and an extent in no position. */
void scsi_task_recall(struct scsi_task *k)
{
    XENDM_ASSERT(k->quiesced);
    if (k->in_flight && !k->cancelled && !k->recalled && k->step != SCSI_DISCARD &&
        !(k->step == SCSI_WRITE && k->bouncing)) {
        k->recalled = true;
        block_cancel(k->queue, &k->req);
    }
}

bool scsi_task_busy(const struct scsi_task *k)
{
    return k->in_flight;
}

void scsi_task_resume(struct scsi_task *k)
{
    k->quiesced = false;
    if (k->phase == SCSI_TASK_WORKING && !k->in_flight) {
        run(k);
        if (k->phase != SCSI_TASK_WORKING) {
            k->changed(k->opaque);
        }
    }
}

/* ---- saved state ---- */

static bool uses_bounce(const struct scsi_task *k)
{
    return k->step == SCSI_READ || k->step == SCSI_WRITE;
}

static bool under_way(const struct scsi_task *k)
{
    return k->phase != SCSI_TASK_IDLE && k->phase != SCSI_TASK_ENDED;
}

static uint32_t bytes_to_save(const struct scsi_task *k)
{
    if (!under_way(k) || k->step == SCSI_FLUSH) {
        return 0;
    }
    return uses_bounce(k) ? k->bounce_end : k->length;
}

static void task_pre_save(void *base)
{
    struct scsi_task *k = base;

    g_free(k->saved);
    k->saved_length = bytes_to_save(k);
    k->saved = g_memdup2(k->bounce, k->saved_length);
}

static bool positions_fit(const struct scsi_task *k)
{
    switch ((enum scsi_step)k->step) {
    case SCSI_REPLY:
    case SCSI_PARAMETERS:
        return k->at < k->length && k->left == k->length - k->at;
    case SCSI_READ:
        return k->bounce_at <= k->bounce_end && k->left > 0;
    case SCSI_WRITE:
        return k->bounce_at == 0 && k->bounce_end < SCSI_SECTOR && k->left > 0;
    case SCSI_DISCARD:
        return k->at <= k->length;
    case SCSI_FLUSH:
        return true;
    case SCSI_DONE:
    case SCSI_FAILED:
    case SCSI_REFUSED:
        break;
    }
    return false;
}

static bool task_check(const void *base, GError **err)
{
    const struct scsi_task *k = base;
    static const uint16_t steps[] = {
        [SCSI_TASK_IDLE] = 0x1ff,
        [SCSI_TASK_DATA_IN] = 1 << SCSI_REPLY | 1 << SCSI_READ,
        [SCSI_TASK_DATA_OUT] = 1 << SCSI_PARAMETERS | 1 << SCSI_WRITE,
        [SCSI_TASK_WORKING] = 1 << SCSI_FLUSH | 1 << SCSI_DISCARD,
        [SCSI_TASK_ENDED] = 0x1ff,
    };

    if (!(steps[k->phase] & 1u << k->step) || (under_way(k) && !positions_fit(k)) ||
        k->saved_length != bytes_to_save(k)) {
        g_set_error(err, STATE_ERROR, EINVAL,
                    "a SCSI task is in phase %u, step %u, at %u of %u, left %" PRIu64, k->phase,
                    k->step, k->at, k->length, k->left);
        return false;
    }
    return true;
}

static void task_post_load(void *base)
{
    struct scsi_task *k = base;

    if (under_way(k)) {
        need_memory(k);
    }
    if (k->saved_length) {
        memcpy(k->bounce, k->saved, k->saved_length);
    }
    g_clear_pointer(&k->saved, g_free);
    k->moved = k->want = 0;
    k->niov = 0;
}

static const struct state_field task_fields[] = {
    STATE_FIELD_U8(struct scsi_task, phase, .max = SCSI_TASK_ENDED),
    STATE_FIELD_U8(struct scsi_task, status),
    STATE_FIELD_U8(struct scsi_task, step, .max = SCSI_DISCARD),
    STATE_FIELD_U8(struct scsi_task, sense_key, .since = 2, .max = 15),
    STATE_FIELD_U8(struct scsi_task, asc, .since = 2),
    STATE_FIELD_U8(struct scsi_task, ascq, .since = 2),
    STATE_FIELD_BYTES(struct scsi_task, cdb, .since = 2),
    STATE_FIELD_BOOL(struct scsi_task, raw, .since = 2),
    STATE_FIELD_BOOL(struct scsi_task, fua, .since = 2),
    STATE_FIELD_U64(struct scsi_task, left),
    STATE_FIELD_U64(struct scsi_task, sector, .max = UINT64_C(1) << 54),
    STATE_FIELD_U32(struct scsi_task, sectors),
    STATE_FIELD_U32(struct scsi_task, at, .max = SCSI_BUFFER),
    STATE_FIELD_U32(struct scsi_task, length, .max = SCSI_BUFFER),
    STATE_FIELD_U32(struct scsi_task, bounce_at, .max = SCSI_BOUNCE),
    STATE_FIELD_U32(struct scsi_task, bounce_end, .max = SCSI_BOUNCE),
    {.name = "data",
     .type = STATE_VAR_BYTES,
     .offset = offsetof(struct scsi_task, saved),
     .count = SCSI_BUFFER,
     .length_offset = offsetof(struct scsi_task, saved_length)},
    STATE_FIELD_END,
};

const struct state_desc scsi_task_state = {
    .name = "scsi-task",
    .version = 2, /* 2: what one of several of a target needs */
    .fields = task_fields,
    .pre_save = task_pre_save,
    .check = task_check,
    .post_load = task_post_load,
};
