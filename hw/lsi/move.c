/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block moves (LSI53C895A technical manual, 5.3; 4.4 and 4.5 for the registers that tell of a phase
 * mismatch). How far one is stands in DBC and DNAD; IA, ESA, RBC, UA and SBC are what a script that
 * handles the mismatch goes on with.
 */
#include "lsi.h"

#define MOVE_INDIRECT (1u << 29)
#define MOVE_TABLE (1u << 28)
#define MESSAGE_MOST 64u /* bytes that a target takes in one MESSAGE OUT */

static uint32_t bytes_left(const struct lsi *s)
{
    return s->dbc & DBC_BITS;
}

static uint64_t address(const struct lsi *s)
{
    return (uint64_t)s->dnad64 << 32 | s->dnad;
}

static void advance(struct lsi *s, uint32_t n)
{
    s->dbc -= n; /* never into DCMD: n is at most what is left */
    s->sbc = (s->sbc + n) & DBC_BITS;
    s->dnad += n;
    s->rbc = (s->rbc & ~DBC_BITS) | bytes_left(s);
    s->ua = s->dnad;
}

/* Over, whether all was moved or not. The FIFO is empty, so these agree with DBC. */
static void finish(struct lsi *s)
{
    s->in_move = false;
    s->dfifo = (uint8_t)s->dbc;
    s->ctest5 = (uint8_t)((s->ctest5 & 0xfc) | (s->dbc >> 8 & 3));
}

/* The target has left the phase before all was moved. */
static void mismatch(struct lsi *s, uint8_t expected)
{
    bool data = expected == PHASE_DATA_IN || expected == PHASE_DATA_OUT;
    bool second;

    finish(s);
    if (!(s->ccntl0 & CCNTL0_ENPMJ) || (!data && !(s->ccntl0 & CCNTL0_ENNDJ))) {
        lsi_scsi_interrupt(s, SIST0_MA, 0);
        return;
    }
    second = s->ccntl0 & CCNTL0_PMJCTL ? expected & 1 : s->scntl2 & SCNTL2_WSR;
    s->dsp = second ? s->pmjad2 : s->pmjad1;
}

/* ---- the phases ---- */

/* As much as the target has, or has room for. False: it is not to go on at once. */
static bool move_part(struct lsi *s, struct lsi_request *r, bool in)
{
    uint32_t most = in                                        ? r->end - r->at
                    : r->left < (uint64_t)LSI_BUFFER - r->end ? (uint32_t)r->left
                                                              : LSI_BUFFER - r->end;
    uint32_t n = MIN(bytes_left(s), most);
    uint8_t *data = r->buffer + (in ? r->at : r->end);

    if (n == 0) {
        return false;
    }
    if (in ? !lsi_write(s, address(s), data, n) : !lsi_read(s, address(s), data, n)) {
        s->in_move = false;
        return false;
    }
    s->sfbr = data[0];
    s->csbc += n;
    s->spinning = 0;
    lsi_spend(s, n);
    advance(s, n);
    r->left -= MIN(n, r->left);
    r->moved = true;
    if (in) {
        r->at += n;
    } else {
        r->end += n;
        lsi_request_received(r);
    }
    return true;
}

void lsi_move_on(struct lsi *s)
{
    struct lsi_request *r = lsi_current(s);
    uint8_t expected = s->dbc >> 24 & PHASE_BITS;
    bool in = expected == PHASE_DATA_IN;
    enum lsi_answer answer;

    if (!r) {
        s->in_move = false;
        lsi_scsi_interrupt(s, SIST0_UDC, 0);
        return;
    }
    while (bytes_left(s) > 0) {
        if (s->budget <= 0) {
            return; /* more in the next slice */
        }
        answer = lsi_request_answer(r);
        if (answer == LSI_BUSY) {
            s->sbcl &= (uint8_t)~SCL_REQ;
            s->waiting = WAIT_REQ;
            return;
        }
        if (answer != (in ? LSI_DATA_IN : LSI_DATA_OUT)) {
            lsi_bus_continue(s);
            mismatch(s, expected);
            return;
        }
        if (!move_part(s, r, in)) {
            return;
        }
    }
    finish(s);
    lsi_bus_continue(s);
}

static void move_command(struct lsi *s)
{
    uint8_t cdb[SCSI_CDB_MAX] = {0};
    uint32_t n = MIN(bytes_left(s), SCSI_CDB_MAX);

    if (!lsi_read(s, address(s), cdb, n)) {
        return;
    }
    s->sfbr = cdb[0];
    advance(s, n);
    lsi_bus_command(s, cdb, n);
}

static void move_status(struct lsi *s)
{
    uint8_t status = lsi_bus_status(s);

    s->sfbr = status;
    if (lsi_write(s, address(s), &status, 1)) {
        advance(s, 1);
    }
}

static void move_message_in(struct lsi *s)
{
    uint32_t n = MIN(bytes_left(s), (uint32_t)(s->message_in_end - s->message_in_at));
    const uint8_t *bytes = s->message_in + s->message_in_at;

    if (n == 0) { /* of a state that was made up */
        lsi_bus_continue(s);
        return;
    }
    if (!lsi_write(s, address(s), bytes, n)) {
        return;
    }
    s->sfbr = bytes[0];
    s->sidl = bytes[n - 1]; /* Linux' script takes the tag from there */
    advance(s, n);
    s->message_in_at = (uint8_t)(s->message_in_at + n);
    if (s->message_in_at == s->message_in_end) {
        lsi_bus_message_taken(s);
    }
}

/* ATN goes with the last byte, and the target with it to its next phase. */
static void move_message_out(struct lsi *s)
{
    uint32_t n = MIN(bytes_left(s), MESSAGE_MOST), i;
    uint8_t bytes[MESSAGE_MOST];

    if (!lsi_read(s, address(s), bytes, n)) {
        return;
    }
    s->sfbr = bytes[n - 1];
    for (i = 0; i < n && lsi_connected(s) && lsi_phase(s) == PHASE_MESSAGE_OUT; i++) {
        lsi_bus_message(s, bytes[i]);
    }
    advance(s, i);
    s->socl &= (uint8_t)~SCL_ATN;
    s->sbcl &= (uint8_t)~SCL_ATN;
    if (lsi_connected(s) && lsi_phase(s) == PHASE_MESSAGE_OUT) {
        lsi_bus_continue(s);
    }
}

static void move(struct lsi *s, uint8_t phase)
{
    switch (phase) {
    case PHASE_DATA_OUT:
    case PHASE_DATA_IN:
        s->in_move = true;
        lsi_move_on(s);
        return;
    case PHASE_COMMAND:
        move_command(s);
        break;
    case PHASE_STATUS:
        move_status(s);
        break;
    case PHASE_MESSAGE_OUT:
        move_message_out(s);
        break;
    case PHASE_MESSAGE_IN:
        move_message_in(s);
        break;
    default:
        break;
    }
    finish(s);
    if ((s->istat1 & ISTAT1_SRUN) && bytes_left(s) > 0) {
        if (lsi_connected(s) && lsi_phase(s) != phase) {
            mismatch(s, phase);
        } else if (!lsi_connected(s)) {
            lsi_scsi_interrupt(s, SIST0_UDC, 0);
        }
    }
}

/* ---- where the data are ---- */

/* The upper half of an address in a table of 64-bit moves: which register has it (4.6, CCNTL1). */
static uint32_t selected(struct lsi *s, unsigned selector)
{
    const uint32_t selectors[] = {s->mmrs, s->mmws, s->sfs, s->drs, s->sbms, s->dbms};

    if (selector < G_N_ELEMENTS(s->scratch)) {
        return s->scratch[selector];
    }
    selector -= G_N_ELEMENTS(s->scratch);
    return selector < G_N_ELEMENTS(selectors) ? selectors[selector] : 0;
}

static bool table_move(struct lsi *s, uint32_t offset)
{
    bool wide = s->ccntl1 & CCNTL1_EN64TIBMV;
    uint8_t entry[8];

    s->esa = s->dsa + (((offset & DBC_BITS) ^ 0x800000) - 0x800000);
    if (!lsi_read(s, (uint64_t)s->drs << 32 | s->esa, entry, sizeof(entry))) {
        return false;
    }
    s->rbc = load_le32(entry);
    s->dnad = load_le32(entry + 4);
    s->dnad64 = !wide                        ? s->sbms
                : s->ccntl1 & CCNTL1_64TIMOD ? s->rbc >> 24
                                             : selected(s, s->rbc >> 24 & 0x1f);
    return true;
}

static bool find_data(struct lsi *s, uint32_t instruction, uint32_t second)
{
    uint8_t word[4];

    s->rbc = instruction;
    s->dnad = second;
    s->dnad64 = s->sbms;
    if (instruction & MOVE_INDIRECT) {
        if (!lsi_read(s, second, word, 4)) {
            return false;
        }
        s->dnad = load_le32(word);
    } else if (instruction & MOVE_TABLE) {
        return table_move(s, second);
    } else if (s->ccntl1 & CCNTL1_EN64DBMV) {
        if (!lsi_read(s, (uint64_t)s->sfs << 32 | s->dsp, word, 4)) {
            return false;
        }
        s->dsp += 4;
        s->dbms = s->dnad64 = load_le32(word);
    }
    return true;
}

void lsi_block_move(struct lsi *s, uint32_t instruction, uint32_t second, uint32_t at)
{
    uint8_t phase = instruction >> 24 & PHASE_BITS;

    if (!lsi_connected(s)) {
        lsi_scsi_interrupt(s, s->unanswered ? 0 : SIST0_UDC, s->unanswered ? SIST1_STO : 0);
        s->unanswered = false;
        lsi_script_stop(s);
        return;
    }
    if (!lsi_req(s)) {
        s->dsp = at; /* once more then */
        s->waiting = WAIT_REQ;
        return;
    }
    if (!find_data(s, instruction, second)) {
        return;
    }
    s->ia = at;
    s->dbc = (instruction & ~DBC_BITS) | (s->rbc & DBC_BITS);
    s->sbc = 0;
    s->ua = s->dnad;
    if (phase != lsi_phase(s)) {
        mismatch(s, phase);
    } else if (bytes_left(s) == 0) {
        lsi_dma_interrupt(s, DSTAT_IID);
    } else {
        move(s, phase);
    }
}
