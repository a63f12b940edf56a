/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What all targets do: how a command is begun, sense data, INQUIRY (SPC-3 6.4, 6.27, 7.6). Used by
 * every initiator. Left out: reservations, persistent reservations, log pages, descriptor sense.
 */
#include <errno.h>

#include <xendm/machine.h>

#include "scsi-internal.h"

#define OPCODE_REQUEST_SENSE 0x03
#define OPCODE_INQUIRY 0x12
#define OPCODE_REPORT_LUNS 0xa0
#define NO_UNIT 0x7f      /* peripheral qualifier and type of INQUIRY (SPC-3 6.4.2) */
#define NO_UNIT_ZERO 0x3f /* of LUN 0, which could be there: go on looking for others */
#define SPC_3 5
#define INQUIRY_LENGTH 36u
#define INQUIRY_CMDQUE 0x02 /* full task set management (SPC-3 6.4.2) */

void scsi_text(uint8_t *to, size_t size, const char *text)
{
    size_t n = text ? MIN(strlen(text), size) : 0;

    memset(to, ' ', size);
    if (n) {
        memcpy(to, text, n);
    }
}

uint64_t scsi_sectors(const struct scsi_target *t)
{
    return t->block && block_present(t->block) ? block_size(t->block) / SCSI_SECTOR : 0;
}

bool scsi_medium_ready(const struct scsi_target *t)
{
    uint64_t least = t->type == &scsi_cd_type ? CD_SECTORS_PER_BLOCK : 1;

    return !t->tray_open && scsi_sectors(t) >= least;
}

/* ---- ends ---- */

enum scsi_step scsi_ok(struct scsi_target *t)
{
    return SCSI_DONE;
}

enum scsi_step scsi_error(struct scsi_target *t, uint8_t key, uint16_t asc)
{
    t->sense_key = key;
    t->asc = asc >> 8;
    t->ascq = (uint8_t)asc;
    return SCSI_FAILED;
}

enum scsi_step scsi_reply(struct scsi_target *t, uint32_t length, uint32_t allocation)
{
    t->length = MIN(length, allocation);
    return t->length ? SCSI_REPLY : SCSI_DONE;
}

void scsi_sense(const struct scsi_target *t, uint8_t *buf)
{
    memset(buf, 0, SCSI_SENSE);
    buf[0] = 0x70;
    buf[2] = t->sense_key;
    buf[7] = SCSI_SENSE - 8;
    buf[12] = t->asc;
    buf[13] = t->ascq;
}

static void forget_sense(struct scsi_target *t)
{
    t->sense_key = t->asc = t->ascq = 0;
}

/* Who asks for it gets a unit attention that nobody was told of yet (SPC-3 6.27). */
enum scsi_step scsi_request_sense(struct scsi_target *t)
{
    if (t->sense_key == 0 && t->attention) {
        scsi_error(t, SENSE_UNIT_ATTENTION, t->attention);
        t->attention = 0;
    }
    scsi_sense(t, t->buffer);
    forget_sense(t);
    return scsi_reply(t, SCSI_SENSE, t->cdb[4]);
}

static enum scsi_step sense_of_failure(struct scsi_target *t, enum block_op op, int error)
{
    if (op == BLOCK_READ) {
        return scsi_error(t, SENSE_MEDIUM_ERROR, ASC_READ_ERROR);
    }
    if (error == -EROFS) {
        return scsi_error(t, SENSE_DATA_PROTECT, ASC_WRITE_PROTECTED);
    }
    return op == BLOCK_WRITE ? scsi_error(t, SENSE_MEDIUM_ERROR, ASC_WRITE_ERROR)
                             : scsi_error(t, SENSE_HARDWARE_ERROR, ASC_INTERNAL_FAILURE);
}

enum scsi_step scsi_medium_failed(struct scsi_target *t, enum block_op op, int error)
{
    if (!scsi_medium_ready(t)) {
        return scsi_error(t, SENSE_NOT_READY, ASC_NO_MEDIUM);
    }
    return sense_of_failure(t, op, error);
}

/* ---- a command's way ---- */

static enum scsi_step tell_attention(struct scsi_target *t)
{
    uint16_t asc = t->attention;

    if (asc) {
        t->attention = 0;
        return scsi_error(t, SENSE_UNIT_ATTENTION, asc);
    }
    return t->type->attention ? t->type->attention(t) : SCSI_DONE;
}

static void take_command(struct scsi_target *t, const uint8_t *cdb, unsigned length)
{
    memset(t->cdb, 0, sizeof(t->cdb));
    memcpy(t->cdb, cdb, MIN(length, SCSI_CDB_MAX));
    t->raw = t->fua = false;
    t->length = t->sectors = 0;
}

enum scsi_step scsi_command(struct scsi_target *t, const uint8_t *cdb, unsigned length,
                            bool can_move)
{
    const struct scsi_opcode *o;
    enum scsi_step step;

    take_command(t, cdb, length);
    o = &t->type->opcodes[t->cdb[0]];
    if (t->cdb[0] != OPCODE_REQUEST_SENSE) {
        forget_sense(t);
    }
    if (!(o->flags & ALLOW_ATTENTION) && tell_attention(t) != SCSI_DONE) {
        return SCSI_FAILED;
    }
    if (!o->run) {
        log_debug(LOG_SCSI, "%s: command 0x%02x is not supported", t->dev->id, t->cdb[0]);
        return scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_ILLEGAL_OPCODE);
    }
    if (!(o->flags & (NO_DATA | COUNTED)) && !can_move) {
        return SCSI_REFUSED;
    }
    if ((o->flags & NEEDS_MEDIUM) && !scsi_medium_ready(t)) {
        return scsi_error(t, SENSE_NOT_READY,
                          t->tray_open ? ASC_NO_MEDIUM_TRAY_OPEN : ASC_NO_MEDIUM_TRAY_CLOSED);
    }
    step = o->run(t);
    return step == SCSI_READ && !can_move ? SCSI_REFUSED : step;
}

void scsi_news(struct scsi_target *t, uint16_t asc)
{
    if (t->news) {
        t->news(t, asc);
    }
}

static void absent_sense(struct scsi_target *t)
{
    scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_NO_LOGICAL_UNIT);
}

/*
 * SPC-3 6.4.2, 6.27, 6.21: who asks whether the unit is there is told that it is not. The sense
 * data of the unit that is there stay, but for a failure, which whoever carries the command tells.
 */
enum scsi_step scsi_absent_command(struct scsi_target *t, uint32_t lun, const uint8_t *cdb,
                                   unsigned length)
{
    uint8_t key = t->sense_key, asc = t->asc, ascq = t->ascq;

    take_command(t, cdb, length);
    switch (t->cdb[0]) {
    case OPCODE_INQUIRY:
        memset(t->buffer, 0, INQUIRY_LENGTH);
        t->buffer[0] = lun ? NO_UNIT : NO_UNIT_ZERO;
        t->buffer[2] = SPC_3;
        t->buffer[3] = 2;
        t->buffer[4] = INQUIRY_LENGTH - 5;
        return scsi_reply(t, INQUIRY_LENGTH, load_be16(t->cdb + 3));
    case OPCODE_REQUEST_SENSE:
        absent_sense(t);
        scsi_sense(t, t->buffer);
        scsi_error(t, key, (uint16_t)(asc << 8 | ascq));
        return scsi_reply(t, SCSI_SENSE, t->cdb[4]);
    case OPCODE_REPORT_LUNS:
        return scsi_report_luns(t);
    default:
        absent_sense(t);
        return SCSI_FAILED;
    }
}

enum scsi_step scsi_parameters(struct scsi_target *t, uint32_t length)
{
    return t->type->parameters(t, MIN(length, SCSI_BUFFER));
}

/* ---- INQUIRY ---- */

static enum scsi_step invalid_field(struct scsi_target *t)
{
    return scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
}

/* The pages that every target has: the list of them, the serial number, who it is. */
static int common_page(const struct scsi_target *t, uint8_t page, uint8_t *body)
{
    size_t serial = t->serial ? MIN(strlen(t->serial), 36u) : 0;
    int n = 0;

    switch (page) {
    case 0x00:
        body[n++] = 0x00;
        body[n++] = 0x80;
        body[n++] = 0x83;
        for (const uint8_t *p = t->type->vpd_pages; p && *p; p++) {
            body[n++] = *p;
        }
        return n;
    case 0x80:
        scsi_text(body, serial, t->serial);
        return (int)serial;
    case 0x83: /* one designator: T10 vendor id and serial number, in ASCII, of the unit */
        body[0] = 0x02;
        body[1] = 0x01;
        body[3] = (uint8_t)(8 + serial);
        scsi_text(body + 4, 8, "XENDM");
        scsi_text(body + 12, serial, t->serial);
        return (int)(12 + serial);
    default:
        return t->type->vpd ? t->type->vpd(t, page, body) : -1;
    }
}

static enum scsi_step inquiry_page(struct scsi_target *t)
{
    uint8_t page = t->cdb[2];
    int n;

    memset(t->buffer, 0, 256);
    n = common_page(t, page, t->buffer + 4);
    if (n < 0) {
        return invalid_field(t);
    }
    t->buffer[0] = t->type->type;
    t->buffer[1] = page;
    store_be16(t->buffer + 2, (uint32_t)n);
    return scsi_reply(t, 4 + (uint32_t)n, load_be16(t->cdb + 3));
}

enum scsi_step scsi_inquiry(struct scsi_target *t)
{
    uint8_t *buf = t->buffer;
    uint32_t room = t->atapi ? t->cdb[4] : load_be16(t->cdb + 3);

    if ((t->cdb[1] & 3) == 1 && !t->atapi) {
        return inquiry_page(t);
    }
    memset(buf, 0, INQUIRY_LENGTH);
    if ((t->cdb[1] & 3) || t->cdb[2]) {
        return invalid_field(t);
    }
    buf[0] = t->type->type;
    buf[1] = t->type->removable ? 0x80 : 0;
    buf[2] = t->atapi ? 0 : SPC_3;
    buf[3] = t->atapi ? 0x21 : 2; /* ATAPI, SFF-8020i or MMC answers; else SPC's format */
    buf[4] = INQUIRY_LENGTH - 5;
    buf[7] = t->atapi ? 0 : INQUIRY_CMDQUE;
    scsi_text(buf + 8, 8, "XENDM");
    scsi_text(buf + 16, 16, t->model);
    scsi_text(buf + 32, 4, t->firmware);
    return scsi_reply(t, INQUIRY_LENGTH, room);
}

enum scsi_step scsi_report_luns(struct scsi_target *t)
{
    uint32_t n = 8;

    memset(t->buffer, 0, 16); /* one: 0 */
    if (t->luns) {
        n = t->luns(t, t->buffer + 8, SCSI_BUFFER - 8);
    }
    store_be32(t->buffer, n);
    return scsi_reply(t, 8 + n, load_be32(t->cdb + 6));
}

/* ---- life ---- */

void scsi_target_init(struct scsi_target *t)
{
    if (t->block && t->type->listener) {
        block_listen(t->block, t->type->listener, t);
    }
    scsi_target_reset(t, true);
}

void scsi_target_fini(struct scsi_target *t)
{
    if (t->block && t->type && t->type->listener) {
        block_unlisten(t->block, t->type->listener, t);
    }
}

void scsi_target_reset(struct scsi_target *t, bool hard)
{
    forget_sense(t); /* it told of a command that the reset has ended */
    t->tray_locked = false;
    t->attention = t->atapi ? 0 : ASC_POWER_ON;
    if (hard) {
        t->write_cache = true;
        t->changed = CD_SAME;
        t->event_new = t->event_eject = false;
    }
}

void scsi_target_describe(const struct scsi_target *t, struct facts *to)
{
    if (t->type->removable) {
        fact_text(to, "tray", "%s, %s", t->tray_open ? "open" : "closed",
                  t->tray_locked ? "locked" : "unlocked");
        fact_bool(to, "medium present", scsi_sectors(t));
    }
    fact_text(to, "sense", "%x/%02x/%02x", t->sense_key, t->asc, t->ascq);
}

static const struct state_field target_fields[] = {
    STATE_FIELD_BYTES(struct scsi_target, cdb),
    STATE_FIELD_U8(struct scsi_target, sense_key, .max = 15),
    STATE_FIELD_U8(struct scsi_target, asc),
    STATE_FIELD_U8(struct scsi_target, ascq),
    STATE_FIELD_U16(struct scsi_target, attention),
    STATE_FIELD_BOOL(struct scsi_target, write_cache),
    STATE_FIELD_BOOL(struct scsi_target, tray_open),
    STATE_FIELD_BOOL(struct scsi_target, tray_locked),
    STATE_FIELD_U8(struct scsi_target, changed, .max = CD_SHOW_CHANGED),
    STATE_FIELD_BOOL(struct scsi_target, event_new),
    STATE_FIELD_BOOL(struct scsi_target, event_eject),
    STATE_FIELD_BOOL(struct scsi_target, raw),
    STATE_FIELD_BOOL(struct scsi_target, fua),
    STATE_FIELD_END,
};

const struct state_desc scsi_target_state = {.name = "scsi-target",
                                             .version = 1,
                                             .fields = target_fields};
