/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands at their targets. A target has a buffer for each: what it read ahead of the bus, or took
 * from it and has not written yet. So a command needs the bus for as long as a copy takes, and
 * others have it while the host works.
 *
 * A command waits for those that were aborted and that the host still has, so that nothing of
 * theirs is written behind it; an ordered one waits for all before it, and all behind it for it.
 */
#include "lsi.h"

/* ---- begin and end ---- */

struct lsi_request *lsi_request_new(struct lsi *s, struct scsi_unit *u)
{
    for (unsigned i = 0; i < LSI_REQUESTS; i++) {
        struct lsi_request *r = &s->request[i];

        if (!r->used) {
            r->used = true;
            r->dead = r->started = r->disconnected = r->moved = r->moving = false;
            r->left = 0;
            r->at = r->end = 0;
            r->order = ++s->order;
            r->id = (uint8_t)u->id;
            r->unit = u;
            u->tasks++;
            return r;
        }
    }
    return NULL;
}

void lsi_request_free(struct lsi_request *r)
{
    r->used = r->dead = false;
    r->unit->tasks--;
    r->unit = NULL;
    lsi_requests_kick(r->lsi);
}

/* Nobody wants to hear of it any more; it is free when the host has given it back. */
void lsi_request_cancel(struct lsi_request *r)
{
    struct lsi *s = r->lsi;

    if (lsi_current(s) == r) {
        s->current = LSI_NONE;
    }
    r->dead = true;
    if (r->started) {
        scsi_task_cancel(&r->task);
    }
    if (!r->started || r->task.phase == SCSI_TASK_IDLE) {
        lsi_request_free(r);
    }
}

/* ---- order ---- */

static bool over(const struct lsi_request *r)
{
    return r->started && r->task.phase == SCSI_TASK_ENDED;
}

static bool must_wait_for(const struct lsi_request *r, const struct lsi_request *other)
{
    return other->used && other->unit == r->unit && other->order < r->order && !over(other) &&
           (other->dead || ((r->ordered || other->ordered) && !r->absent));
}

static bool may_start(const struct lsi_request *r)
{
    for (unsigned i = 0; i < LSI_REQUESTS; i++) {
        if (must_wait_for(r, &r->lsi->request[i])) {
            return false;
        }
    }
    return true;
}

static void start(struct lsi_request *r)
{
    r->started = true;
    scsi_task_use(&r->task, &r->unit->target, r->unit->queue);
    if (r->absent) {
        scsi_task_start_absent(&r->task, r->lun, r->cdb, r->cdb_length);
    } else {
        scsi_task_start(&r->task, r->cdb, r->cdb_length);
    }
    r->left = r->task.left;
}

void lsi_request_start(struct lsi_request *r)
{
    if (may_start(r)) {
        start(r);
    }
}

void lsi_requests_kick(struct lsi *s)
{
    for (unsigned i = 0; i < LSI_REQUESTS; i++) {
        struct lsi_request *r = &s->request[i];

        if (r->used && !r->dead && !r->started && !s->stopped && may_start(r)) {
            start(r);
        }
    }
}

/* ---- data ---- */

void lsi_request_collect(struct lsi_request *r)
{
    if (!r->moving) {
        return;
    }
    r->moving = false;
    if (r->task.step == SCSI_READ || r->task.step == SCSI_REPLY) {
        r->end += r->task.moved;
    } else {
        r->at += r->task.moved;
    }
    if (r->task.phase == SCSI_TASK_ENDED && r->task.status != SCSI_GOOD) {
        r->at = r->end =
            0; /* what was read before the failure is not sent, nor what came written */
        r->left = 0;
    }
}

static void move(struct lsi_request *r, uint32_t at, uint32_t length)
{
    const struct iovec iov = {r->buffer + at, length};

    r->moving = true;
    scsi_task_move(&r->task, &iov, 1, length);
    if (r->task.phase != SCSI_TASK_WORKING) {
        lsi_request_collect(r);
    }
}

static void need_buffer(struct lsi_request *r)
{
    if (!r->buffer) {
        r->buffer = g_malloc(LSI_BUFFER);
    }
}

static void fill(struct lsi_request *r)
{
    need_buffer(r);
    r->at = r->end = 0;
    move(r, 0, (uint32_t)MIN(r->task.left, LSI_BUFFER));
}

/* All that can come before the medium has had it is there. */
static bool is_full(const struct lsi_request *r)
{
    return r->end > r->at && (r->left == 0 || r->end == LSI_BUFFER);
}

void lsi_request_received(struct lsi_request *r)
{
    if (!is_full(r) || r->lsi->stopped) {
        return;
    }
    move(r, r->at, r->end - r->at);
    if (r->at == r->end) {
        r->at = r->end = 0;
    }
}

enum lsi_answer lsi_request_answer(struct lsi_request *r)
{
    bool stopped = r->lsi->stopped;

    if (!r->started || r->moving) {
        return LSI_BUSY;
    }
    if (r->task.phase == SCSI_TASK_DATA_IN && r->at == r->end && !stopped) {
        fill(r);
    } else if (r->task.phase == SCSI_TASK_DATA_OUT && !stopped) {
        need_buffer(r);
        lsi_request_received(r);
    }
    if (r->moving) {
        return LSI_BUSY;
    }
    switch ((enum scsi_task_phase)r->task.phase) {
    case SCSI_TASK_DATA_IN:
        return r->at < r->end ? LSI_DATA_IN : LSI_BUSY;
    case SCSI_TASK_DATA_OUT:
        return r->buffer && !is_full(r) && r->left > 0 ? LSI_DATA_OUT : LSI_BUSY;
    case SCSI_TASK_ENDED:
        return r->at < r->end ? LSI_DATA_IN : LSI_STATUS;
    case SCSI_TASK_WORKING:
    case SCSI_TASK_IDLE:
        break;
    }
    return LSI_BUSY;
}

/* ---- the host is done ---- */

void lsi_request_changed(void *opaque)
{
    struct lsi_request *r = opaque;
    struct lsi *s = r->lsi;

    if (r->dead) {
        lsi_request_free(r);
    } else {
        lsi_request_collect(r);
        if (r->at == r->end) {
            r->at = r->end = 0;
        }
        lsi_requests_kick(s);
    }
    if (s->stopped || s->executing) {
        return;
    }
    if (lsi_connected(s) && !lsi_req(s) && lsi_current(s)) {
        lsi_bus_continue(s);
        lsi_script_go(s);
    } else {
        lsi_bus_wanted(s);
    }
}
