/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ide-cd: an ATAPI CD/DVD-ROM drive. This file: the packet protocol, sense data, tray and medium;
 * atapi-data.c: the commands whose answer is a table.
 *
 * Sources: ATA/ATAPI-6 (T13/1410D) 8.23-8.24, 9.8 (PACKET); SFF-8020i 2.6; MMC-3. Used by firmware
 * to boot installers, by guests without PV drivers, and by all guests for medium changes. Left out
 * on purpose: audio, writing, overlap and queueing, asynchronous event notification.
 *
 * A change of the medium by the toolstack is shown in two steps, first "not present", then "may
 * have changed" (as QEMU does), because guests that only poll would otherwise miss an exchange that
 * happens between two of their polls.
 */
#include <errno.h>

#include "ide-internal.h"

/* Interrupt reason, in the count register. */
#define REASON_COMMAND 0x01 /* C/D */
#define REASON_TO_HOST 0x02 /* I/O */

#define PACKET_FEATURE_DMA 0x01
#define PACKET_FEATURE_OVERLAP 0x02

#define MEDIA_LIMIT_MAX 0xfffeu

static struct ide_cd *cd_of(struct ide_drive *d)
{
    return (struct ide_cd *)d;
}

uint32_t atapi_blocks(const struct ide_cd *cd)
{
    uint64_t n = ide_drive_sectors(&cd->d) / CD_SECTORS_PER_BLOCK;

    return (uint32_t)MIN(n, UINT32_MAX);
}

bool atapi_medium_ready(const struct ide_cd *cd)
{
    return !cd->tray_open && atapi_blocks(cd) > 0;
}

/* ---- ends of a command ---- */

static void reason(struct ide_cd *cd, uint8_t why)
{
    cd->d.count[0] = (uint8_t)((cd->d.count[0] & ~7u) | why);
}

void atapi_ok(struct ide_cd *cd)
{
    reason(cd, REASON_COMMAND | REASON_TO_HOST);
    ide_drive_done(&cd->d);
}

static void check_condition(struct ide_cd *cd)
{
    reason(cd, REASON_COMMAND | REASON_TO_HOST);
    ide_drive_abort(&cd->d, (uint8_t)(cd->sense_key << 4 |
                                      (cd->sense_key == SENSE_ABORTED ? ATA_ABRT : 0)));
    cd->d.status &= ~ATA_DSC;
}

void atapi_error(struct ide_cd *cd, uint8_t key, uint16_t asc)
{
    cd->sense_key = key;
    cd->asc = asc >> 8;
    cd->ascq = (uint8_t)asc;
    check_condition(cd);
}

void atapi_reply(struct ide_cd *cd, uint32_t length, uint32_t allocation)
{
    uint32_t n = MIN(length, allocation);

    if (n == 0) {
        atapi_ok(cd);
    } else if (cd->dma) {
        ide_drive_buffer_dma(&cd->d, n, false);
    } else {
        ide_drive_buffer_pio(&cd->d, n, false, true);
    }
}

static uint32_t cd_media_most(struct ide_drive *d)
{
    return (IDE_BUFFER / (cd_of(d)->raw ? CD_RAW : CD_BLOCK)) * CD_SECTORS_PER_BLOCK;
}

/* What was read becomes whole sectors, where these are wanted. */
static bool cd_media_read(struct ide_drive *d)
{
    struct ide_cd *cd = cd_of(d);
    uint32_t count = d->data_end / CD_BLOCK;

    if (!cd->raw) {
        return false;
    }
    cd_raw_expand(d->buffer, (uint32_t)(d->lba / CD_SECTORS_PER_BLOCK) - count, count);
    d->data_end = count * CD_RAW;
    if (cd->dma) {
        ide_drive_media_buffer_dma(d, d->data_end);
    }
    return cd->dma;
}

static void cd_finish(struct ide_drive *d)
{
    struct ide_cd *cd = cd_of(d);

    if (cd->raw && cd->dma && d->left) {
        ide_drive_media_next(d);
        return;
    }
    d->media = false;
    atapi_ok(cd_of(d));
}

static void cd_fail(struct ide_drive *d, enum block_op op, int error)
{
    struct ide_cd *cd = cd_of(d);

    (void)op;
    (void)error;
    d->media = false;
    if (atapi_medium_ready(cd)) {
        atapi_error(cd, SENSE_MEDIUM_ERROR, ASC_READ_ERROR);
    } else {
        atapi_error(cd, SENSE_NOT_READY, ASC_NO_MEDIUM);
    }
}

/* The byte count limit rules: an odd limit counts as the even one below unless all fits; blocks of
 * the medium are kept whole. */
static uint32_t cd_drq_block(struct ide_drive *d)
{
    struct ide_cd *cd = cd_of(d);
    uint32_t here = d->data_end - d->pos, limit = MIN(cd->limit, MEDIA_LIMIT_MAX), n = here;
    uint32_t block = cd->raw ? CD_RAW : CD_BLOCK;

    if (cd->packet_wait) {
        reason(cd, REASON_COMMAND);
        return here;
    }
    if (n > limit) {
        n = MAX(limit & ~1u, 2u);
        if (d->media && n > block) {
            n -= n % block;
        }
    }
    n = MIN(n, here);
    d->lba_mid[0] = (uint8_t)n;
    d->lba_high[0] = (uint8_t)(n >> 8);
    reason(cd, d->write ? 0 : REASON_TO_HOST);
    return n;
}

/* ---- packet commands ---- */

static void cmd_test_unit_ready(struct ide_cd *cd)
{
    atapi_ok(cd);
}

static void cmd_request_sense(struct ide_cd *cd)
{
    uint8_t *buf = cd->d.buffer;
    uint32_t allocation = cd->packet[4];

    memset(buf, 0, 18);
    buf[0] = 0x70;
    buf[2] = cd->sense_key;
    buf[7] = 10;
    buf[12] = cd->asc;
    buf[13] = cd->ascq;
    cd->sense_key = cd->asc = cd->ascq = 0;
    atapi_reply(cd, 18, allocation);
}

static void read_blocks(struct ide_cd *cd, uint32_t lba, uint32_t count)
{
    struct ide_drive *d = &cd->d;
    uint32_t total = atapi_blocks(cd);

    if (count == 0) {
        atapi_ok(cd);
        return;
    }
    if (lba >= total || count > total - lba || count > UINT32_MAX / CD_SECTORS_PER_BLOCK) {
        atapi_error(cd, SENSE_ILLEGAL_REQUEST, ASC_OUT_OF_RANGE);
        return;
    }
    d->lba = (uint64_t)lba * CD_SECTORS_PER_BLOCK;
    d->left = count * CD_SECTORS_PER_BLOCK;
    d->drq_sectors = CD_SECTORS_PER_BLOCK;
    d->write = false;
    if (cd->dma && !cd->raw) {
        ide_drive_media_dma(d);
    } else {
        ide_drive_media_pio(d);
    }
}

static void cmd_read10(struct ide_cd *cd)
{
    read_blocks(cd, ide_be32(cd->packet + 2), ide_be16(cd->packet + 7));
}

static void cmd_read12(struct ide_cd *cd)
{
    read_blocks(cd, ide_be32(cd->packet + 2), ide_be32(cd->packet + 6));
}

/* The 2048 bytes of data of sectors of mode 1, or all that is on the disc. */
static void cmd_read_cd(struct ide_cd *cd)
{
    const uint8_t *p = cd->packet;
    uint32_t count = (uint32_t)p[6] << 16 | ide_be16(p + 7);
    unsigned type = p[1] >> 2 & 7, what = p[9] & 0xf8;

    if (type == 1) {
        atapi_error(cd, SENSE_ILLEGAL_REQUEST, ASC_ILLEGAL_MODE);
    } else if ((p[10] & 7) || (what != 0 && what != 0x10 && what != 0xf8)) {
        atapi_error(cd, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
    } else {
        cd->raw = what == 0xf8;
        read_blocks(cd, ide_be32(p + 2), what ? count : 0);
    }
}

static void cmd_seek(struct ide_cd *cd)
{
    if (ide_be32(cd->packet + 2) >= atapi_blocks(cd)) {
        atapi_error(cd, SENSE_ILLEGAL_REQUEST, ASC_OUT_OF_RANGE);
    } else {
        atapi_ok(cd);
    }
}

static void cmd_prevent_allow(struct ide_cd *cd)
{
    cd->tray_locked = cd->packet[4] & 1;
    atapi_ok(cd);
}

static void tray_move(struct ide_cd *cd, bool open)
{
    if (cd->tray_open != open) {
        cd->tray_open = open;
        machine_event_tray(cd->d.dev.machine, cd->d.dev.id, open);
    }
}

static void cmd_start_stop(struct ide_cd *cd)
{
    bool start = cd->packet[4] & 1, load_eject = cd->packet[4] & 2;

    if (cd->packet[4] & 0xf0 || !load_eject) {
        atapi_ok(cd); /* power conditions and the motor */
        return;
    }
    if (!start && !cd->tray_open && cd->tray_locked) {
        atapi_error(cd, SENSE_ILLEGAL_REQUEST, ASC_REMOVAL_PREVENTED);
        return;
    }
    if (start && cd->tray_open && atapi_blocks(cd)) {
        cd->changed = CD_SHOW_CHANGED;
        cd->event_new = true;
    }
    tray_move(cd, !start);
    atapi_ok(cd);
}

static void cmd_mode_select(struct ide_cd *cd)
{
    uint32_t length = cd->packet[0] == 0x15 ? cd->packet[4] : ide_be16(cd->packet + 7);

    /* Accepted and forgotten: nothing in our pages can change. */
    if (length == 0) {
        atapi_ok(cd);
    } else if (cd->dma) {
        ide_drive_buffer_dma(&cd->d, length, true);
    } else {
        ide_drive_buffer_pio(&cd->d, length, true, true);
    }
}

enum {
    ALLOW_CHANGED = 1 << 0, /* runs, and says nothing of a changed medium (MMC-3 4.1.6) */
    NEEDS_MEDIUM = 1 << 1,
    NO_DATA = 1 << 2, /* a byte count limit of 0 is allowed */
};

static const struct packet_command {
    void (*run)(struct ide_cd *cd);
    unsigned flags;
} packet_commands[256] = {
    [0x00] = {cmd_test_unit_ready, NEEDS_MEDIUM | NO_DATA},
    [0x03] = {cmd_request_sense, ALLOW_CHANGED},
    [0x12] = {atapi_inquiry, ALLOW_CHANGED},
    [0x15] = {cmd_mode_select, 0},
    [0x1a] = {atapi_mode_sense, 0},
    [0x1b] = {cmd_start_stop, NO_DATA},
    [0x1e] = {cmd_prevent_allow, NO_DATA},
    [0x25] = {atapi_read_capacity, NEEDS_MEDIUM},
    [0x28] = {cmd_read10, NEEDS_MEDIUM},
    [0x2b] = {cmd_seek, NEEDS_MEDIUM | NO_DATA},
    [0x42] = {atapi_read_subchannel, NEEDS_MEDIUM},
    [0x43] = {atapi_read_toc, NEEDS_MEDIUM},
    [0x46] = {atapi_get_configuration, ALLOW_CHANGED},
    [0x4a] = {atapi_get_event_status, ALLOW_CHANGED},
    [0x51] = {atapi_read_disc_information, NEEDS_MEDIUM},
    [0x55] = {cmd_mode_select, 0},
    [0x5a] = {atapi_mode_sense, 0},
    [0xa8] = {cmd_read12, NEEDS_MEDIUM},
    [0xad] = {atapi_read_dvd_structure, NEEDS_MEDIUM},
    [0xbb] = {cmd_test_unit_ready, NO_DATA}, /* SET CD SPEED: any is fine */
    [0xbd] = {atapi_mechanism_status, 0},
    [0xbe] = {cmd_read_cd, NEEDS_MEDIUM},
};

/* True if the change was reported in place of the command. */
static bool report_change(struct ide_cd *cd)
{
    switch ((enum cd_change)cd->changed) {
    case CD_SHOW_EMPTY:
        cd->changed = CD_SHOW_CHANGED;
        atapi_error(cd, SENSE_NOT_READY, ASC_NO_MEDIUM);
        return true;
    case CD_SHOW_CHANGED:
        cd->changed = CD_SAME;
        atapi_error(cd, SENSE_UNIT_ATTENTION, ASC_MEDIUM_CHANGED);
        return true;
    case CD_SAME:
        break;
    }
    return false;
}

static void execute_packet(struct ide_cd *cd)
{
    const struct packet_command *c = &packet_commands[cd->packet[0]];

    cd->raw = false;
    if (cd->packet[0] != 0x03) {
        cd->sense_key = cd->asc = cd->ascq = 0;
    }
    if (!(c->flags & ALLOW_CHANGED) && atapi_medium_ready(cd) && report_change(cd)) {
        return;
    }
    if (!c->run) {
        log_debug(LOG_IDE, "%s: packet command 0x%02x is not supported", cd->d.dev.id,
                  cd->packet[0]);
        atapi_error(cd, SENSE_ILLEGAL_REQUEST, ASC_ILLEGAL_OPCODE);
        return;
    }
    if (!(c->flags & NO_DATA) && !cd->dma && cd->limit == 0) {
        ide_drive_abort(&cd->d, ATA_ABRT);
        return;
    }
    if ((c->flags & NEEDS_MEDIUM) && !atapi_medium_ready(cd)) {
        atapi_error(cd, SENSE_NOT_READY,
                    cd->tray_open ? ASC_NO_MEDIUM_TRAY_OPEN : ASC_NO_MEDIUM_TRAY_CLOSED);
        return;
    }
    c->run(cd);
}

static void cd_buffer_in(struct ide_drive *d, uint32_t length)
{
    struct ide_cd *cd = cd_of(d);

    if (!cd->packet_wait) {
        atapi_ok(cd); /* MODE SELECT's parameters */
        return;
    }
    cd->packet_wait = false;
    memcpy(cd->packet, d->buffer, MIN(length, CD_PACKET));
    d->status = ATA_DRDY | ATA_BSY;
    execute_packet(cd);
}

/* ---- ATA commands ---- */

static void set_signature(struct ide_drive *d)
{
    d->count[0] = d->lba_low[0] = 1;
    d->lba_mid[0] = 0x14;
    d->lba_high[0] = 0xeb;
}

static void cmd_packet(struct ide_cd *cd)
{
    struct ide_drive *d = &cd->d;

    if (d->feature[0] & PACKET_FEATURE_OVERLAP) {
        ide_drive_abort(d, ATA_ABRT);
        return;
    }
    cd->dma = d->feature[0] & PACKET_FEATURE_DMA;
    cd->limit = (uint32_t)d->lba_high[0] << 8 | d->lba_mid[0];
    cd->packet_wait = true;
    d->error = 0;
    ide_drive_buffer_pio(d, CD_PACKET, true, false);
}

static void cd_command(struct ide_drive *d, uint8_t code)
{
    struct ide_cd *cd = cd_of(d);

    cd->packet_wait = false;
    switch (code) {
    case 0xa0:
        cmd_packet(cd);
        break;
    case 0xa1: /* IDENTIFY PACKET DEVICE */
        cd->limit = MEDIA_LIMIT_MAX;
        atapi_identify(cd, d->buffer);
        ide_drive_buffer_pio(d, IDE_SECTOR, false, true);
        break;
    case 0xec: /* IDENTIFY DEVICE and READ SECTORS: "no, look at my signature" */
    case 0x20:
        set_signature(d);
        ide_drive_abort(d, ATA_ABRT);
        break;
    case 0xef: /* SET FEATURES: the transfer mode */
        if (d->feature[0] == 0x03) {
            cd->transfer_mode = d->count[0];
        } else if (d->feature[0] != 0x66 && d->feature[0] != 0xcc) {
            ide_drive_abort(d, ATA_ABRT);
            break;
        }
        ide_drive_done(d);
        break;
    case 0xe5: /* CHECK POWER MODE */
        d->count[0] = 0xff;
        ide_drive_done(d);
        break;
    case 0xe0: /* STANDBY / IDLE IMMEDIATE, SLEEP, FLUSH CACHE */
    case 0xe1:
    case 0xe6:
    case 0xe7:
        ide_drive_done(d);
        break;
    default:
        ide_drive_abort(d, ATA_ABRT);
        break;
    }
}

/* ---- medium and tray ---- */

static void cd_medium_changed(void *opaque)
{
    struct ide_cd *cd = opaque;

    tray_move(cd, true); /* nobody changes a disc through a closed tray */
    if (block_present(cd->d.block)) {
        cd->changed = CD_SHOW_EMPTY;
        cd->event_new = true;
        cd->event_eject = false;
        tray_move(cd, false);
    } else {
        cd->changed = CD_SAME;
    }
}

static const struct block_listener cd_listener = {.medium_changed = cd_medium_changed};

int ide_cd_ask_eject(struct device *dev, bool force, GError **err)
{
    struct ide_cd *cd = DEVICE_CAST(struct ide_cd, dev);

    if (!ide_drive_is_cd(dev)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "Device '%s' is not removable", dev->id);
        return -EINVAL;
    }
    if (cd->tray_locked && !cd->tray_open) {
        cd->event_eject = true;
        if (!force) {
            g_set_error(err, XENDM_ERROR, EBUSY,
                        "Device '%s' is locked and force was not specified, wait for tray to open "
                        "and try again",
                        dev->id);
            return -EBUSY;
        }
    }
    return 0;
}

int ide_cd_request_eject(struct device *dev, bool force, GError **err)
{
    int rc = ide_cd_ask_eject(dev, force, err);

    if (rc == 0) {
        tray_move(DEVICE_CAST(struct ide_cd, dev), true);
    }
    return rc;
}

bool ide_cd_tray_open(const struct device *dev)
{
    return DEVICE_CAST(const struct ide_cd, dev)->tray_open;
}

bool ide_cd_tray_locked(const struct device *dev)
{
    return DEVICE_CAST(const struct ide_cd, dev)->tray_locked;
}

/* ---- life ---- */

static void cd_reset(struct ide_drive *d, bool hard)
{
    struct ide_cd *cd = cd_of(d);

    set_signature(d);
    d->status = 0; /* a packet device is not "ready" before its first command */
    cd->packet_wait = false;
    cd->dma = false;
    cd->limit = MEDIA_LIMIT_MAX;
    cd->tray_locked = false;
    cd->sense_key = cd->asc = cd->ascq = 0; /* it told of a command that the reset has ended */
    if (hard) {
        d->drq_sectors = CD_SECTORS_PER_BLOCK;
        cd->changed = CD_SAME;
        cd->event_new = cd->event_eject = false;
        cd->transfer_mode = 0x45; /* UDMA 5 */
    }
}

static const struct ide_drive_ops cd_ops = {
    .packet = true,
    .listener = &cd_listener,
    .command = cd_command,
    .reset = cd_reset,
    .drq_block = cd_drq_block,
    .media_most = cd_media_most,
    .media_read = cd_media_read,
    .finish = cd_finish,
    .buffer_in = cd_buffer_in,
    .fail = cd_fail,
};

static int ide_cd_realize(struct device *dev, GError **err)
{
    struct ide_drive *d = DEVICE_CAST(struct ide_drive, dev);
    int ret = ide_drive_realize(d, &cd_ops, err);

    if (ret == 0 && d->block) {
        block_listen(d->block, &cd_listener, d);
    }
    return ret;
}

static void ide_cd_reset(struct device *dev, enum reset_reason why)
{
    (void)why;
    ide_drive_reset(DEVICE_CAST(struct ide_drive, dev), true);
}

static void ide_cd_unrealize(struct device *dev)
{
    ide_drive_unrealize(DEVICE_CAST(struct ide_drive, dev));
}

static void ide_cd_describe(struct device *dev, struct facts *to)
{
    struct ide_cd *cd = DEVICE_CAST(struct ide_cd, dev);

    ide_drive_describe(&cd->d, to);
    fact_text(to, "tray", "%s, %s", cd->tray_open ? "open" : "closed",
              cd->tray_locked ? "locked" : "unlocked");
    fact_bool(to, "medium present", ide_drive_sectors(&cd->d));
    fact_text(to, "sense", "%x/%02x/%02x", cd->sense_key, cd->asc, cd->ascq);
}

static void ide_cd_pre_save(void *base)
{
    ide_drive_pre_save(base);
}

static bool ide_cd_check(const void *base, GError **err)
{
    const struct ide_cd *cd = base;

    if ((cd->d.media && cd->d.write) || cd->d.phase == IDE_DISCARD ||
        cd->d.phase == IDE_MEDIA_OUT || cd->d.phase == IDE_FLUSH ||
        (cd->packet_wait && cd->d.phase == IDE_PIO_OUT && cd->d.data_end != CD_PACKET)) {
        g_set_error(err, STATE_ERROR, EINVAL,
                    "a CD drive is in phase %u, media %d, write %d, data_end %u", cd->d.phase,
                    cd->d.media, cd->d.write, cd->d.data_end);
        return false;
    }
    return ide_drive_check_state(&cd->d, err);
}

static void ide_cd_post_load(void *base)
{
    ide_drive_post_load(base);
}

static const struct state_field cd_fields[] = {
    IDE_DRIVE_STATE,
    STATE_FIELD_BYTES(struct ide_cd, packet),
    STATE_FIELD_BOOL(struct ide_cd, packet_wait),
    STATE_FIELD_BOOL(struct ide_cd, dma),
    STATE_FIELD_BOOL(struct ide_cd, raw, .since = 2),
    STATE_FIELD_U32(struct ide_cd, limit, .max = 0xffff),
    STATE_FIELD_U8(struct ide_cd, sense_key, .max = 15),
    STATE_FIELD_U8(struct ide_cd, asc),
    STATE_FIELD_U8(struct ide_cd, ascq),
    STATE_FIELD_BOOL(struct ide_cd, tray_open),
    STATE_FIELD_BOOL(struct ide_cd, tray_locked),
    STATE_FIELD_U8(struct ide_cd, changed, .max = CD_SHOW_CHANGED),
    STATE_FIELD_BOOL(struct ide_cd, event_new),
    STATE_FIELD_BOOL(struct ide_cd, event_eject),
    STATE_FIELD_U8(struct ide_cd, transfer_mode),
    STATE_FIELD_END,
};

static const struct state_desc cd_state = {
    .name = "ide-cd",
    .version = 2, /* 2: READ CD of whole sectors */
    .fields = cd_fields,
    .pre_save = ide_cd_pre_save,
    .check = ide_cd_check,
    .post_load = ide_cd_post_load,
};

static const struct property cd_properties[] = {
    IDE_DRIVE_PROPERTIES("XENDM DVD-ROM"),
    {.name = NULL},
};

const struct device_class ide_cd_class = {
    .name = "ide-cd",
    .help = "ATAPI CD/DVD-ROM drive",
    .size = sizeof(struct ide_cd),
    .properties = cd_properties,
    .state = &cd_state,
    .realize = ide_cd_realize,
    .reset = ide_cd_reset,
    .quiesce = ide_drive_quiesce,
    .busy = ide_drive_busy,
    .resume = ide_drive_resume,
    .unrealize = ide_cd_unrealize,
    .describe = ide_cd_describe,
};
