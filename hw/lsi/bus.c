/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SCSI bus, with the adapter as its one initiator (SPI-3; SCSI-2 chapters 6 and 7 for phases
 * and messages).
 *
 * A target that needs the host for its command disconnects, if the initiator allows it, and
 * reselects when it can go on; with data on the way, or without leave, it keeps the bus and sends
 * no REQ. The initiator wins arbitration, as its id is the highest.
 *
 * As QEMU's targets do, and as drivers rely on: every selection is followed by MESSAGE OUT, also
 * one without ATN (SeaBIOS); a command is as long as the block move that sends it; negotiations
 * are not answered, so that the bus stays asynchronous and eight bits wide, whose speed means
 * nothing here.
 */
#include <errno.h>

#include "lsi.h"

#define MESSAGE_COMPLETE 0x00
#define MESSAGE_EXTENDED 0x01
#define MESSAGE_SAVE_POINTERS 0x02
#define MESSAGE_DISCONNECT 0x04
#define MESSAGE_INITIATOR_ERROR 0x05
#define MESSAGE_ABORT 0x06
#define MESSAGE_REJECT 0x07
#define MESSAGE_NOP 0x08
#define MESSAGE_PARITY_ERROR 0x09
#define MESSAGE_TARGET_RESET 0x0c
#define MESSAGE_ABORT_TAG 0x0d
#define MESSAGE_CLEAR_QUEUE 0x0e
#define MESSAGE_UNIT_RESET 0x17
#define MESSAGE_SIMPLE 0x20
#define MESSAGE_HEAD 0x21
#define MESSAGE_ORDERED 0x22
#define MESSAGE_IDENTIFY 0x80
#define IDENTIFY_DISCONNECT 0x40
#define IDENTIFY_LUN 0x07

#define STATUS_BUSY 0x08
#define STATUS_QUEUE_FULL 0x28

/* ---- phases ---- */

void lsi_bus_phase(struct lsi *s, uint8_t phase, bool req)
{
    s->sstat1 = (uint8_t)((s->sstat1 & ~PHASE_BITS) | phase);
    s->sbcl = (uint8_t)((s->sbcl & ~(PHASE_BITS | SCL_REQ)) | phase | (req ? SCL_REQ : 0));
    if (req && s->waiting == WAIT_REQ) {
        s->waiting = WAIT_NOTHING;
    }
}

void lsi_bus_free(struct lsi *s)
{
    s->scntl1 &= (uint8_t)~SCNTL1_CON;
    s->sstat1 &= (uint8_t)~PHASE_BITS;
    s->sbcl = s->socl = 0;
    s->current = LSI_NONE;
    s->message_in_at = s->message_in_end = s->message_out_length = 0;
    if (s->waiting == WAIT_DISCONNECT) {
        s->waiting = WAIT_NOTHING;
    }
}

static void connect(struct lsi *s, unsigned id)
{
    s->id = (uint8_t)id;
    s->scntl1 |= SCNTL1_CON;
    s->sbcl = SCL_BSY;
    s->current = LSI_NONE;
    s->message_in_at = s->message_in_end = s->message_out_length = 0;
    s->after = AFTER_CONTINUE;
    s->spinning = 0;
}

static void send(struct lsi *s, uint8_t byte)
{
    if (s->message_in_end < sizeof(s->message_in)) {
        s->message_in[s->message_in_end++] = byte;
    }
}

static void begin_message_in(struct lsi *s, enum lsi_after after)
{
    s->after = after;
    lsi_bus_phase(s, PHASE_MESSAGE_IN, true);
}

static void disconnect(struct lsi *s, struct lsi_request *r)
{
    s->message_in_at = s->message_in_end = 0;
    if (r->moved) {
        send(s, MESSAGE_SAVE_POINTERS);
    }
    send(s, MESSAGE_DISCONNECT);
    begin_message_in(s, AFTER_DISCONNECT);
}

void lsi_bus_continue(struct lsi *s)
{
    static const uint8_t phases[] = {[LSI_DATA_IN] = PHASE_DATA_IN,
                                     [LSI_DATA_OUT] = PHASE_DATA_OUT,
                                     [LSI_STATUS] = PHASE_STATUS};
    struct lsi_request *r = lsi_current(s);
    enum lsi_answer answer;

    if (s->socl & SCL_ATN) {
        lsi_bus_phase(s, PHASE_MESSAGE_OUT, true);
        return;
    }
    if (!r) {
        lsi_bus_phase(s, s->refused ? PHASE_STATUS : PHASE_COMMAND, true);
        return;
    }
    answer = lsi_request_answer(r);
    if (answer != LSI_BUSY) {
        lsi_bus_phase(s, phases[answer], true);
    } else if (r->may_disconnect && !(r->moved && r->left > 0)) {
        disconnect(s, r);
    } else {
        /* The phase that is most likely, and no REQ. */
        lsi_bus_phase(s,
                      r->left == 0 ? PHASE_STATUS
                      : r->task.step == SCSI_WRITE || r->task.step == SCSI_PARAMETERS
                          ? PHASE_DATA_OUT
                          : PHASE_DATA_IN,
                      false);
    }
}

/* ---- selection ---- */

bool lsi_bus_select(struct lsi *s, unsigned id, bool atn)
{
    s->sstat0 |= SSTAT0_WOA;
    s->scntl1 &= (uint8_t)~SCNTL1_IARB;
    if (!s->host.unit[id]) {
        return false;
    }
    connect(s, id);
    s->lun = 0;
    s->tag = LSI_NO_TAG;
    s->ordered = s->may_disconnect = false;
    s->refused = 0;
    if (atn) {
        s->socl |= SCL_ATN;
        s->sbcl |= SCL_ATN;
    }
    lsi_bus_phase(s, PHASE_MESSAGE_OUT, true);
    return true;
}

/* SET ATN while connected: the target wants to hear what it is. */
void lsi_bus_attention(struct lsi *s)
{
    if (lsi_connected(s)) {
        s->message_in_at = s->message_in_end = 0;
        lsi_bus_phase(s, PHASE_MESSAGE_OUT, true);
    }
}

/* ---- messages of the initiator ---- */

static bool same_unit(const struct lsi_request *r, const struct lsi *s)
{
    return r->used && !r->dead && r->id == s->id && r->lun == s->lun;
}

/* Those of the unit that is selected; of its target, if `all`. */
static void abort_set(struct lsi *s, bool all)
{
    for (unsigned i = 0; i < LSI_REQUESTS; i++) {
        struct lsi_request *r = &s->request[i];

        if (same_unit(r, s) || (all && r->used && !r->dead && r->id == s->id)) {
            lsi_request_cancel(r);
        }
    }
}

static struct lsi_request *find_tag(struct lsi *s)
{
    for (unsigned i = 0; i < LSI_REQUESTS; i++) {
        if (same_unit(&s->request[i], s) && s->request[i].tag == s->tag) {
            return &s->request[i];
        }
    }
    return NULL;
}

static void abort_tag(struct lsi *s)
{
    struct lsi_request *r = lsi_current(s) ? lsi_current(s) : find_tag(s);

    if (r) {
        lsi_request_cancel(r);
    }
}

static void reset_target(struct lsi *s)
{
    abort_set(s, true);
    if (s->host.unit[s->id]) {
        scsi_target_reset(&s->host.unit[s->id]->target, false);
    }
    s->allegiance &= (uint16_t) ~(1u << s->id);
}

/* How long a message is that begins so; 0: that is not known yet. */
static unsigned message_length(const uint8_t *m, unsigned have)
{
    if (m[0] == MESSAGE_EXTENDED) {
        return have < 2 ? 0 : 2 + (m[1] ? m[1] : 256u);
    }
    return m[0] >= 0x20 && m[0] <= 0x2f ? 2 : 1;
}

static void reject(struct lsi *s, uint8_t message)
{
    log_guest(LOG_SCSI, "%s: message 0x%02x is not known", s->pci.dev.id, message);
    s->socl &= (uint8_t)~SCL_ATN;
    s->sbcl &= (uint8_t)~SCL_ATN;
    send(s, MESSAGE_REJECT);
    begin_message_in(s, AFTER_CONTINUE);
}

static void take_message(struct lsi *s, const uint8_t *m)
{
    if (m[0] & MESSAGE_IDENTIFY) {
        s->lun = m[0] & IDENTIFY_LUN;
        s->may_disconnect = m[0] & IDENTIFY_DISCONNECT;
        return;
    }
    switch (m[0]) {
    case MESSAGE_SIMPLE:
    case MESSAGE_HEAD:
    case MESSAGE_ORDERED:
        s->tag = m[1];
        s->ordered = m[0] == MESSAGE_ORDERED;
        break;
    case MESSAGE_ABORT:
    case MESSAGE_CLEAR_QUEUE:
        abort_set(s, false);
        lsi_bus_free(s);
        break;
    case MESSAGE_ABORT_TAG:
        abort_tag(s);
        lsi_bus_free(s);
        break;
    case MESSAGE_TARGET_RESET:
    case MESSAGE_UNIT_RESET:
        reset_target(s);
        lsi_bus_free(s);
        break;
    case MESSAGE_DISCONNECT: /* as after an error: the target lets the bus go */
        lsi_bus_free(s);
        break;
    case MESSAGE_EXTENDED: /* a negotiation */
    case MESSAGE_NOP:
    case MESSAGE_REJECT:
    case MESSAGE_INITIATOR_ERROR:
    case MESSAGE_PARITY_ERROR:
        break;
    default:
        reject(s, m[0]);
        break;
    }
}

/* Messages longer than is kept are negotiations that no target knows; their end is dropped. */
void lsi_bus_message(struct lsi *s, uint8_t byte)
{
    unsigned length;

    if (s->message_out_length < sizeof(s->message_out)) {
        s->message_out[s->message_out_length++] = byte;
    }
    length = message_length(s->message_out, s->message_out_length);
    if (length && s->message_out_length >= MIN(length, sizeof(s->message_out))) {
        uint8_t m[sizeof(s->message_out)];

        memcpy(m, s->message_out, sizeof(m));
        s->message_out_length = 0;
        take_message(s, m);
    }
}

/* ---- commands ---- */

/* Two commands with one tag: SCSI-2 7.5.2. */
static bool overlaps(struct lsi *s)
{
    if (!find_tag(s)) {
        return false;
    }
    log_guest(LOG_SCSI, "%s: id %u: two commands with tag %x", s->pci.dev.id, s->id, s->tag);
    abort_set(s, false);
    return true;
}

void lsi_bus_command(struct lsi *s, const uint8_t *cdb, unsigned length)
{
    struct scsi_unit *u = s->host.unit[s->id];
    struct lsi_request *r = u && !overlaps(s) ? lsi_request_new(s, u) : NULL;

    s->allegiance &= (uint16_t) ~(1u << s->id);
    if (!u) {
        lsi_bus_free(s);
        lsi_scsi_interrupt(s, SIST0_UDC, 0);
        return;
    }
    if (!r) {
        s->refused = s->tag == LSI_NO_TAG ? STATUS_BUSY : STATUS_QUEUE_FULL;
        lsi_bus_continue(s);
        return;
    }
    s->commands++;
    s->current = (uint8_t)(r - s->request);
    r->lun = s->lun;
    r->tag = s->tag;
    r->ordered = s->ordered;
    r->may_disconnect = s->may_disconnect;
    r->absent = s->lun != 0;
    memcpy(r->cdb, cdb, length);
    r->cdb_length = (uint8_t)length;
    lsi_request_start(r);
    lsi_bus_continue(s);
}

/* The byte of STATUS; COMMAND COMPLETE is next. */
uint8_t lsi_bus_status(struct lsi *s)
{
    struct lsi_request *r = lsi_current(s);
    uint8_t status = r ? r->task.status : s->refused;

    if (r && status == SCSI_CHECK_CONDITION) {
        scsi_task_tell_sense(&r->task);
        s->allegiance |= (uint16_t)(1u << s->id);
    }
    s->message_in_at = s->message_in_end = 0;
    send(s, MESSAGE_COMPLETE);
    begin_message_in(s, AFTER_COMPLETE);
    return status;
}

/* The last byte of MESSAGE IN was taken. */
void lsi_bus_message_taken(struct lsi *s)
{
    struct lsi_request *r = lsi_current(s);

    s->message_in_at = s->message_in_end = 0;
    switch ((enum lsi_after)s->after) {
    case AFTER_DISCONNECT:
        if (r) {
            r->disconnected = true;
            r->moved = false;
        }
        lsi_bus_free(s);
        break;
    case AFTER_COMPLETE:
        lsi_bus_free(s);
        if (r) {
            lsi_request_free(r);
        }
        break;
    case AFTER_CONTINUE:
    case AFTER_ENDS:
        lsi_bus_continue(s);
        break;
    }
}

/* ---- reselection ---- */

/*
 * Sense data are the unit's, and there are some that nobody has asked for: the next failure waits
 * (SCSI-2 7.6).
 */
static bool may_reselect(struct lsi *s, struct lsi_request *r)
{
    enum lsi_answer answer;

    if (!r->used || r->dead || !r->disconnected) {
        return false;
    }
    answer = lsi_request_answer(r);
    return answer != LSI_BUSY && !(answer == LSI_STATUS && (s->allegiance & 1u << r->id) &&
                                   r->task.status == SCSI_CHECK_CONDITION);
}

static void reselect(struct lsi *s, struct lsi_request *r)
{
    connect(s, r->id);
    s->current = (uint8_t)(r - s->request);
    s->lun = r->lun;
    s->tag = r->tag;
    r->disconnected = false;
    s->ssid = SSID_VAL | r->id;
    if (!(s->dcntl & DCNTL_COM)) {
        s->sfbr = (uint8_t)(1u << (r->id & 7));
    }
    send(s, MESSAGE_IDENTIFY | r->lun);
    if (r->tag != LSI_NO_TAG) {
        send(s, MESSAGE_SIMPLE);
        send(s, (uint8_t)r->tag);
    }
    begin_message_in(s, AFTER_CONTINUE);
}

bool lsi_bus_reselect(struct lsi *s)
{
    for (unsigned i = 0; i < LSI_REQUESTS; i++) {
        unsigned n = (s->turn + i) % LSI_REQUESTS;

        if (may_reselect(s, &s->request[n])) {
            s->turn = n + 1;
            reselect(s, &s->request[n]);
            return true;
        }
    }
    return false;
}

/* Drivers without a script that waits: the reselection interrupts. */
static bool by_interrupt(const struct lsi *s)
{
    return (s->sien0 & SIST0_RSL) && (s->scid & SCID_RRE) && !(s->istat1 & ISTAT1_SRUN) &&
           !s->dstat && !s->sist0 && !s->sist1;
}

void lsi_bus_wanted(struct lsi *s)
{
    if (s->stopped || s->executing || lsi_connected(s)) {
        return;
    }
    if (s->waiting == WAIT_RESELECT) {
        if (lsi_bus_reselect(s)) {
            s->waiting = WAIT_NOTHING;
            if (s->sien0 & SIST0_RSL) {
                lsi_scsi_interrupt(s, SIST0_RSL, 0);
            }
            lsi_script_go(s);
        }
    } else if (by_interrupt(s) && lsi_bus_reselect(s)) {
        lsi_scsi_interrupt(s, SIST0_RSL, 0);
    }
}

/* ---- resets ---- */

void lsi_bus_reset(struct lsi *s)
{
    for (unsigned i = 0; i < LSI_REQUESTS; i++) {
        if (s->request[i].used && !s->request[i].dead) {
            lsi_request_cancel(&s->request[i]);
        }
    }
    for (unsigned i = 0; i < LSI_IDS; i++) {
        if (s->host.unit[i]) {
            scsi_target_reset(&s->host.unit[i]->target, false);
        }
    }
    s->allegiance = 0;
    s->refused = 0;
    s->in_move = false;
    s->copy_left = 0;
    lsi_bus_free(s);
}
