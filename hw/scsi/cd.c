/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CD and DVD drives: reading, the tray, the medium; cd-data.c has the commands whose answer is a
 * table.
 *
 * Sources: MMC-3; SFF-8020i 2.6 for what ATAPI drives do differently. Used by firmware to boot
 * installers, by guests without PV drivers, and by all guests for medium changes. Left out on
 * purpose: audio, writing, asynchronous event notification.
 *
 * A change of the medium by the toolstack is shown in two steps, first "not present", then "may
 * have changed" (as QEMU does), because guests that only poll would otherwise miss an exchange that
 * happens between two of their polls.
 */
#include <errno.h>

#include <xendm/machine.h>
#include <xendm/tape.h>

#include "scsi-internal.h"

uint32_t cd_blocks(const struct scsi_target *t)
{
    uint64_t n = scsi_sectors(t) / CD_SECTORS_PER_BLOCK;

    return (uint32_t)MIN(n, UINT32_MAX);
}

/* ---- reading ---- */

static enum scsi_step read_blocks(struct scsi_target *t, uint32_t lba, uint32_t count)
{
    uint32_t total = cd_blocks(t);

    if (count == 0) {
        return SCSI_DONE;
    }
    if (lba >= total || count > total - lba || count > UINT32_MAX / CD_SECTORS_PER_BLOCK) {
        return scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_OUT_OF_RANGE);
    }
    t->sector = (uint64_t)lba * CD_SECTORS_PER_BLOCK;
    t->sectors = count * CD_SECTORS_PER_BLOCK;
    return SCSI_READ;
}

static enum scsi_step cd_read10(struct scsi_target *t)
{
    return read_blocks(t, load_be32(t->cdb + 2), load_be16(t->cdb + 7));
}

static enum scsi_step cd_read12(struct scsi_target *t)
{
    return read_blocks(t, load_be32(t->cdb + 2), load_be32(t->cdb + 6));
}

/* The 2048 bytes of data of sectors of mode 1, or all that is on the disc. */
static enum scsi_step cd_read_cd(struct scsi_target *t)
{
    const uint8_t *p = t->cdb;
    uint32_t count = (uint32_t)p[6] << 16 | load_be16(p + 7);
    unsigned type = p[1] >> 2 & 7, what = p[9] & 0xf8;

    if (type == 1) {
        return scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_ILLEGAL_MODE);
    }
    if ((p[10] & 7) || (what != 0 && what != 0x10 && what != 0xf8)) {
        return scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
    }
    t->raw = what == 0xf8;
    return read_blocks(t, load_be32(p + 2), what ? count : 0);
}

static enum scsi_step cd_seek(struct scsi_target *t)
{
    if (load_be32(t->cdb + 2) >= cd_blocks(t)) {
        return scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_OUT_OF_RANGE);
    }
    return SCSI_DONE;
}

/* ---- tray ---- */

static enum scsi_step cd_prevent_allow(struct scsi_target *t)
{
    t->tray_locked = t->cdb[4] & 1;
    return SCSI_DONE;
}

static void tray_move(struct scsi_target *t, bool open)
{
    if (t->tray_open != open) {
        t->tray_open = open;
        machine_event_tray(t->dev->machine, t->dev->id, open);
    }
}

static enum scsi_step cd_start_stop(struct scsi_target *t)
{
    bool start = t->cdb[4] & 1, load_eject = t->cdb[4] & 2;

    if (t->cdb[4] & 0xf0 || !load_eject) {
        return SCSI_DONE; /* power conditions and the motor */
    }
    if (!start && !t->tray_open && t->tray_locked) {
        return scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_REMOVAL_PREVENTED);
    }
    if (start && t->tray_open && cd_blocks(t)) {
        t->changed = CD_SHOW_CHANGED;
        t->event_new = true;
    }
    tray_move(t, !start);
    return SCSI_DONE;
}

static enum scsi_step cd_mode_select(struct scsi_target *t)
{
    t->length = t->cdb[0] == 0x15 ? t->cdb[4] : load_be16(t->cdb + 7);
    return t->length ? SCSI_PARAMETERS : SCSI_DONE;
}

/* Accepted and forgotten: nothing in our pages can change. */
static enum scsi_step cd_parameters(struct scsi_target *t, uint32_t length)
{
    return SCSI_DONE;
}

/* Reports a change of the medium in place of the command. */
static enum scsi_step cd_attention(struct scsi_target *t)
{
    if (!scsi_medium_ready(t)) {
        return SCSI_DONE;
    }
    switch ((enum cd_change)t->changed) {
    case CD_SHOW_EMPTY:
        t->changed = CD_SHOW_CHANGED;
        return scsi_error(t, SENSE_NOT_READY, ASC_NO_MEDIUM);
    case CD_SHOW_CHANGED:
        t->changed = CD_SAME;
        return scsi_error(t, SENSE_UNIT_ATTENTION, ASC_MEDIUM_CHANGED);
    case CD_SAME:
        break;
    }
    return SCSI_DONE;
}

static void cd_medium_changed(void *opaque)
{
    struct scsi_target *t = opaque;

    tray_move(t, true); /* nobody changes a disc through a closed tray */
    if (block_present(t->block)) {
        t->changed = CD_SHOW_EMPTY;
        t->event_new = true;
        t->event_eject = false;
        tray_move(t, false);
    } else {
        t->changed = CD_SAME;
    }
    scsi_news(t, ASC_MEDIUM_CHANGED);
}

static const struct block_listener cd_listener = {.medium_changed = cd_medium_changed};

int scsi_cd_ask_eject(struct scsi_target *t, bool force, GError **err)
{
    if (t->type != &scsi_cd_type) {
        g_set_error(err, XENDM_ERROR, EINVAL, "Device '%s' is not removable", t->dev->id);
        return -EINVAL;
    }
    if (t->tray_locked && !t->tray_open) {
        tape_unrecorded("a locked medium is asked for");
        t->event_eject = true;
        if (!force) {
            g_set_error(err, XENDM_ERROR, EBUSY,
                        "Device '%s' is locked and force was not specified, wait for tray to open "
                        "and try again",
                        t->dev->id);
            return -EBUSY;
        }
    }
    return 0;
}

int scsi_cd_request_eject(struct scsi_target *t, bool force, GError **err)
{
    int rc = scsi_cd_ask_eject(t, force, err);

    if (rc == 0) {
        tray_move(t, true);
    }
    return rc;
}

/* ---- the type ---- */

static const struct scsi_opcode cd_opcodes[256] = {
    [0x00] = {scsi_ok, NEEDS_MEDIUM | NO_DATA}, /* TEST UNIT READY */
    [0x03] = {scsi_request_sense, ALLOW_ATTENTION},
    [0x12] = {scsi_inquiry, ALLOW_ATTENTION},
    [0x15] = {cd_mode_select, 0},
    [0x1a] = {cd_mode_sense, 0},
    [0x1b] = {cd_start_stop, NO_DATA},
    [0x1e] = {cd_prevent_allow, NO_DATA},
    [0x25] = {cd_read_capacity, NEEDS_MEDIUM},
    [0x28] = {cd_read10, NEEDS_MEDIUM | COUNTED},
    [0x2b] = {cd_seek, NEEDS_MEDIUM | NO_DATA},
    [0x42] = {cd_read_subchannel, NEEDS_MEDIUM},
    [0x43] = {cd_read_toc, NEEDS_MEDIUM},
    [0x46] = {cd_get_configuration, ALLOW_ATTENTION},
    [0x4a] = {cd_get_event_status, ALLOW_ATTENTION},
    [0x51] = {cd_read_disc_information, NEEDS_MEDIUM},
    [0x55] = {cd_mode_select, 0},
    [0x5a] = {cd_mode_sense, 0},
    [0xa0] = {scsi_report_luns, ALLOW_ATTENTION},
    [0xa8] = {cd_read12, NEEDS_MEDIUM | COUNTED},
    [0xad] = {cd_read_dvd_structure, NEEDS_MEDIUM},
    [0xbb] = {scsi_ok, NO_DATA}, /* SET CD SPEED: any is fine */
    [0xbd] = {cd_mechanism_status, 0},
    [0xbe] = {cd_read_cd, NEEDS_MEDIUM | COUNTED},
};

const struct scsi_type scsi_cd_type = {
    .type = 0x05,
    .removable = true,
    .opcodes = cd_opcodes,
    .listener = &cd_listener,
    .parameters = cd_parameters,
    .attention = cd_attention,
};
