/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saved state: registers, script, bus, and each command with what its target has of its data. At a
 * save nothing is in flight; those that were aborted are gone by then.
 */
#include <errno.h>

#include "lsi.h"

static void request_pre_save(void *base)
{
    struct lsi_request *r = base;

    lsi_request_collect(r);
    g_free(r->saved);
    r->saved_length = r->used ? r->end - r->at : 0;
    r->saved = r->saved_length ? g_memdup2(r->buffer + r->at, r->saved_length) : NULL;
}

static bool request_check(const void *base, GError **err)
{
    const struct lsi_request *r = base;
    bool out = r->task.phase == SCSI_TASK_DATA_OUT;

    if (r->used && (r->id >= LSI_IDS || (r->tag > LSI_NO_TAG) || r->cdb_length > SCSI_CDB_MAX ||
                    (!r->started && (r->task.phase != SCSI_TASK_IDLE || r->saved_length)) ||
                    (r->started && r->task.phase == SCSI_TASK_IDLE) ||
                    (out && r->left > r->task.left - MIN(r->saved_length, r->task.left)))) {
        g_set_error(err, STATE_ERROR, EINVAL,
                    "a command for id %u, tag %u, phase %u, %" G_GUINT64_FORMAT
                    " of %" G_GUINT64_FORMAT " bytes left",
                    r->id, r->tag, r->task.phase, r->left, r->task.left);
        return false;
    }
    return true;
}

static void request_post_load(void *base)
{
    struct lsi_request *r = base;

    r->at = r->end = 0;
    if (r->used && r->saved_length) {
        r->buffer = r->buffer ? r->buffer : g_malloc(LSI_BUFFER);
        memcpy(r->buffer, r->saved, r->saved_length);
        r->end = r->saved_length;
    }
    g_clear_pointer(&r->saved, g_free);
    r->dead = r->moving = false;
}

static const struct state_field request_fields[] = {
    STATE_FIELD_BOOL(struct lsi_request, used),
    STATE_FIELD_BOOL(struct lsi_request, started),
    STATE_FIELD_BOOL(struct lsi_request, disconnected),
    STATE_FIELD_BOOL(struct lsi_request, may_disconnect),
    STATE_FIELD_BOOL(struct lsi_request, ordered),
    STATE_FIELD_BOOL(struct lsi_request, absent),
    STATE_FIELD_BOOL(struct lsi_request, moved),
    STATE_FIELD_U8(struct lsi_request, id, .max = LSI_IDS - 1),
    STATE_FIELD_U8(struct lsi_request, lun, .max = 7),
    STATE_FIELD_U16(struct lsi_request, tag, .max = LSI_NO_TAG),
    STATE_FIELD_U64(struct lsi_request, order),
    STATE_FIELD_BYTES(struct lsi_request, cdb),
    STATE_FIELD_U8(struct lsi_request, cdb_length, .max = SCSI_CDB_MAX),
    STATE_SCSI_TASK(struct lsi_request, task),
    STATE_FIELD_U64(struct lsi_request, left),
    {.name = "data",
     .type = STATE_VAR_BYTES,
     .offset = offsetof(struct lsi_request, saved),
     .count = LSI_BUFFER,
     .length_offset = offsetof(struct lsi_request, saved_length)},
    STATE_FIELD_END,
};

static const struct state_desc request_state = {
    .name = "request",
    .version = 1,
    .fields = request_fields,
    .pre_save = request_pre_save,
    .check = request_check,
    .post_load = request_post_load,
};

#define REG_STRUCT struct lsi
static const struct state_field lsi_fields[] = {
    REG_STATE(LSI_REGS_LOW) STATE_FIELD_U32(struct lsi, dsp),
    REG_STATE(LSI_REGS_HIGH) STATE_FIELD_U32(struct lsi, scratch, .count = 16),
    REG_STATE(LSI_REGS_SELECTORS) STATE_FIELD_BYTES(struct lsi, ram),
    STATE_FIELD_TIMER(struct lsi, general),
    STATE_FIELD_U8(struct lsi, waiting, .max = WAIT_ENDS - 1),
    STATE_FIELD_BOOL(struct lsi, carry),
    STATE_FIELD_BOOL(struct lsi, unanswered),
    STATE_FIELD_BOOL(struct lsi, in_move),
    STATE_FIELD_U32(struct lsi, copy_left, .max = DBC_BITS),
    STATE_FIELD_U64(struct lsi, copy_from),
    STATE_FIELD_U64(struct lsi, copy_to),
    STATE_FIELD_TIMER(struct lsi, slice),
    STATE_FIELD_U32(struct lsi, spinning, .max = 1000),
    STATE_FIELD_U8(struct lsi, id, .max = LSI_IDS - 1),
    STATE_FIELD_U8(struct lsi, lun, .max = 7),
    STATE_FIELD_U16(struct lsi, tag, .max = LSI_NO_TAG),
    STATE_FIELD_BOOL(struct lsi, ordered),
    STATE_FIELD_BOOL(struct lsi, may_disconnect),
    STATE_FIELD_U8(struct lsi, current),
    STATE_FIELD_U8(struct lsi, refused),
    STATE_FIELD_BYTES(struct lsi, message_out),
    STATE_FIELD_U8(struct lsi, message_out_length, .max = 7),
    STATE_FIELD_BYTES(struct lsi, message_in),
    STATE_FIELD_U8(struct lsi, message_in_at, .max = 8),
    STATE_FIELD_U8(struct lsi, message_in_end, .max = 8),
    STATE_FIELD_U8(struct lsi, after, .max = AFTER_ENDS - 1),
    STATE_FIELD_U16(struct lsi, allegiance),
    STATE_FIELD_STRUCTS_VAR(struct lsi, request, LSI_REQUESTS, saved_count, &request_state),
    STATE_FIELD_U64(struct lsi, order),
    STATE_FIELD_END,
};

static void lsi_pre_save(void *base)
{
    struct lsi *s = base;

    s->saved_count = 0;
    for (uint32_t i = 0; i < LSI_REQUESTS; i++) {
        s->saved_count = s->request[i].used ? i + 1 : s->saved_count;
    }
}

static bool lsi_check(const void *base, GError **err)
{
    const struct lsi *s = base;
    bool nobody = s->current == LSI_NONE;

    if ((!nobody && (s->current >= s->saved_count || !s->request[s->current].used ||
                     s->request[s->current].disconnected || !lsi_connected(s) ||
                     s->request[s->current].id != s->id)) ||
        s->message_in_at > s->message_in_end ||
        (s->in_move && (nobody || (s->dbc >> 24 & PHASE_BITS) > PHASE_DATA_IN))) {
        g_set_error(err, STATE_ERROR, EINVAL, "the bus is at id %u, command %u, message %u of %u",
                    s->id, s->current, s->message_in_at, s->message_in_end);
        return false;
    }
    return true;
}

/* What may be gone is what the guest has unplugged, whose commands went with it. */
static bool lsi_fits(const void *scratch, const void *base, GError **err)
{
    const struct lsi *saved = scratch, *s = base;

    for (uint32_t i = 0; i < saved->saved_count; i++) {
        if (saved->request[i].used && !s->host.unit[saved->request[i].id]) {
            g_set_error(err, STATE_ERROR, EINVAL, "a command for id %u, which is not there",
                        saved->request[i].id);
            return false;
        }
    }
    return true;
}

static void lsi_post_load(void *base)
{
    struct lsi *s = base;

    for (uint32_t i = 0; i < LSI_REQUESTS; i++) {
        struct lsi_request *r = &s->request[i];

        if (i >= s->saved_count) {
            r->used = false;
        }
        if (r->used) {
            r->unit = s->host.unit[r->id];
            r->unit->tasks++;
            scsi_task_use(&r->task, &r->unit->target, r->unit->queue);
        }
    }
    lsi_update(s);
}

const struct state_desc lsi_state = {
    .name = "lsi",
    .version = 1,
    .fields = lsi_fields,
    .pre_save = lsi_pre_save,
    .check = lsi_check,
    .fits = lsi_fits,
    .post_load = lsi_post_load,
};
