/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ide-cd: an ATAPI CD/DVD-ROM drive: the packet protocol, whose packets are SCSI commands
 * (xendm/scsi.h).
 *
 * Sources: ATA/ATAPI-6 (T13/1410D) 8.23-8.24, 9.8 (PACKET); SFF-8020i 2.6. Left out on purpose:
 * overlap and queueing.
 */
#include <errno.h>

#include "ata-internal.h"

/* Interrupt reason, in the count register. */
#define REASON_COMMAND 0x01 /* C/D */
#define REASON_TO_HOST 0x02 /* I/O */

#define PACKET_FEATURE_DMA 0x01
#define PACKET_FEATURE_OVERLAP 0x02

#define MEDIA_LIMIT_MAX 0xfffeu

static struct ata_cd *cd_of(struct ata_drive *d)
{
    return (struct ata_cd *)d;
}

/* ---- ends of a command ---- */

static void reason(struct ata_cd *cd, uint8_t why)
{
    cd->d.count[0] = (uint8_t)((cd->d.count[0] & ~7u) | why);
}

static void packet_ok(struct ata_cd *cd)
{
    reason(cd, REASON_COMMAND | REASON_TO_HOST);
    ata_drive_done(&cd->d);
}

static void check_condition(struct ata_cd *cd)
{
    uint8_t key = cd->scsi.sense_key;

    reason(cd, REASON_COMMAND | REASON_TO_HOST);
    ata_drive_fail(&cd->d, ATA_DRDY, (uint8_t)(key << 4 | (key == SENSE_ABORTED ? ATA_ABRT : 0)));
}

/* `length` bytes of the drive's buffer, to or from the guest. */
static void move_buffer(struct ata_cd *cd, bool write)
{
    if (cd->dma) {
        ata_drive_buffer_dma(&cd->d, cd->scsi.length, write);
    } else {
        ata_drive_buffer_pio(&cd->d, cd->scsi.length, write, true);
    }
}

static uint32_t cd_media_most(struct ata_drive *d)
{
    return (ATA_BUFFER / (cd_of(d)->scsi.raw ? CD_RAW : CD_BLOCK)) * CD_SECTORS_PER_BLOCK;
}

/* What was read becomes whole sectors, where these are wanted. */
static bool cd_media_read(struct ata_drive *d)
{
    struct ata_cd *cd = cd_of(d);
    uint32_t count = d->data_end / CD_BLOCK;

    if (!cd->scsi.raw) {
        return false;
    }
    cd_raw_expand(d->buffer, (uint32_t)(d->lba / CD_SECTORS_PER_BLOCK) - count, count);
    d->data_end = count * CD_RAW;
    if (cd->dma) {
        ata_drive_media_buffer_dma(d, d->data_end);
    }
    return cd->dma;
}

static void cd_finish(struct ata_drive *d)
{
    struct ata_cd *cd = cd_of(d);

    if (cd->scsi.raw && cd->dma && d->left) {
        ata_drive_media_next(d);
        return;
    }
    d->media = false;
    packet_ok(cd);
}

static void cd_fail(struct ata_drive *d, enum block_op op, int error)
{
    struct ata_cd *cd = cd_of(d);

    d->media = false;
    scsi_medium_failed(&cd->scsi, op, error);
    check_condition(cd);
}

/* The byte count limit rules: an odd limit counts as the even one below unless all fits; blocks of
 * the medium are kept whole. */
static uint32_t cd_drq_block(struct ata_drive *d)
{
    struct ata_cd *cd = cd_of(d);
    uint32_t here = d->data_end - d->pos, limit = MIN(cd->limit, MEDIA_LIMIT_MAX), n = here;
    uint32_t block = cd->scsi.raw ? CD_RAW : CD_BLOCK;

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

/* ---- packets ---- */

static void read_medium(struct ata_cd *cd)
{
    struct ata_drive *d = &cd->d;

    d->lba = cd->scsi.sector;
    d->left = cd->scsi.sectors;
    d->drq_sectors = CD_SECTORS_PER_BLOCK;
    d->write = false;
    if (cd->dma && !cd->scsi.raw) {
        ata_drive_media_dma(d);
    } else {
        ata_drive_media_pio(d);
    }
}

static void do_step(struct ata_cd *cd, enum scsi_step step)
{
    switch (step) {
    case SCSI_DONE:
        packet_ok(cd);
        break;
    case SCSI_FAILED:
        check_condition(cd);
        break;
    case SCSI_REPLY:
        move_buffer(cd, false);
        break;
    case SCSI_PARAMETERS:
        move_buffer(cd, true);
        break;
    case SCSI_READ:
        read_medium(cd);
        break;
    case SCSI_REFUSED:
    case SCSI_WRITE: /* what follows is no step of a CD drive */
    case SCSI_FLUSH:
    case SCSI_DISCARD:
        ata_drive_abort(&cd->d, ATA_ABRT);
        break;
    }
}

static void cd_buffer_in(struct ata_drive *d, uint32_t length)
{
    struct ata_cd *cd = cd_of(d);

    uint8_t packet[CD_PACKET];

    if (!cd->packet_wait) {
        do_step(cd, scsi_parameters(&cd->scsi, length));
        return;
    }
    cd->packet_wait = false;
    memcpy(packet, d->buffer, CD_PACKET);
    d->status = ATA_DRDY | ATA_BSY;
    do_step(cd, scsi_command(&cd->scsi, packet, CD_PACKET, cd->dma || cd->limit));
}

/* ---- ATA commands ---- */

static void set_signature(struct ata_drive *d)
{
    d->count[0] = d->lba_low[0] = 1;
    d->lba_mid[0] = 0x14;
    d->lba_high[0] = 0xeb;
}

static void cmd_packet(struct ata_cd *cd)
{
    struct ata_drive *d = &cd->d;

    if (d->feature[0] & PACKET_FEATURE_OVERLAP) {
        ata_drive_abort(d, ATA_ABRT);
        return;
    }
    cd->dma = d->feature[0] & PACKET_FEATURE_DMA;
    cd->limit = (uint32_t)d->lba_high[0] << 8 | d->lba_mid[0];
    cd->packet_wait = true;
    d->error = 0;
    ata_drive_buffer_pio(d, CD_PACKET, true, false);
}

static void cd_command(struct ata_drive *d, uint8_t code)
{
    struct ata_cd *cd = cd_of(d);

    cd->packet_wait = false;
    switch (code) {
    case 0xa0:
        cmd_packet(cd);
        break;
    case 0xa1: /* IDENTIFY PACKET DEVICE */
        cd->limit = MEDIA_LIMIT_MAX;
        atapi_identify(cd, d->buffer);
        ata_drive_buffer_pio(d, ATA_SECTOR, false, true);
        break;
    case 0xec: /* IDENTIFY DEVICE and READ SECTORS: "no, look at my signature" */
    case 0x20:
        set_signature(d);
        ata_drive_abort(d, ATA_ABRT);
        break;
    case 0xef: /* SET FEATURES: the transfer mode */
        if (d->feature[0] == 0x03) {
            cd->transfer_mode = d->count[0];
        } else if (d->feature[0] != 0x66 && d->feature[0] != 0xcc) {
            ata_drive_abort(d, ATA_ABRT);
            break;
        }
        ata_drive_done(d);
        break;
    case 0xe5: /* CHECK POWER MODE */
        d->count[0] = 0xff;
        ata_drive_done(d);
        break;
    case 0xe0: /* STANDBY / IDLE IMMEDIATE, SLEEP, FLUSH CACHE */
    case 0xe1:
    case 0xe6:
    case 0xe7:
        ata_drive_done(d);
        break;
    default:
        ata_drive_abort(d, ATA_ABRT);
        break;
    }
}

/* ---- tray ---- */

static struct scsi_target *target_of(struct device *dev)
{
    return &DEVICE_CAST(struct ata_cd, dev)->scsi;
}

static int not_removable(struct device *dev, GError **err)
{
    g_set_error(err, XENDM_ERROR, EINVAL, "Device '%s' is not removable", dev->id);
    return -EINVAL;
}

int ide_cd_ask_eject(struct device *dev, bool force, GError **err)
{
    return ide_drive_is_cd(dev) ? scsi_cd_ask_eject(target_of(dev), force, err)
                                : not_removable(dev, err);
}

int ide_cd_request_eject(struct device *dev, bool force, GError **err)
{
    return ide_drive_is_cd(dev) ? scsi_cd_request_eject(target_of(dev), force, err)
                                : not_removable(dev, err);
}

bool ide_cd_tray_open(const struct device *dev)
{
    return DEVICE_CAST(const struct ata_cd, dev)->scsi.tray_open;
}

bool ide_cd_tray_locked(const struct device *dev)
{
    return DEVICE_CAST(const struct ata_cd, dev)->scsi.tray_locked;
}

/* ---- life ---- */

static void cd_reset(struct ata_drive *d, bool hard)
{
    struct ata_cd *cd = cd_of(d);

    set_signature(d);
    d->status = 0; /* a packet device is not "ready" before its first command */
    cd->packet_wait = false;
    cd->dma = false;
    cd->limit = MEDIA_LIMIT_MAX;
    scsi_target_reset(&cd->scsi, hard);
    if (hard) {
        d->drq_sectors = CD_SECTORS_PER_BLOCK;
        cd->transfer_mode = 0x45; /* UDMA 5 */
    }
}

static const struct ata_drive_ops cd_ops = {
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
    struct ata_cd *cd = DEVICE_CAST(struct ata_cd, dev);
    int ret = ata_drive_realize(&cd->d, &cd_ops, err);

    if (ret == 0) {
        cd->d.packet = true;
        cd->scsi.type = &scsi_cd_type;
        cd->scsi.dev = dev;
        cd->scsi.block = cd->d.block;
        cd->scsi.model = cd->d.model;
        cd->scsi.firmware = cd->d.firmware;
        cd->scsi.serial = cd->d.serial;
        cd->scsi.buffer = cd->d.buffer;
        cd->scsi.atapi = true;
        scsi_target_init(&cd->scsi);
    }
    return ret;
}

static void ide_cd_reset(struct device *dev, enum reset_reason why)
{
    (void)why;
    ata_drive_reset(DEVICE_CAST(struct ata_drive, dev), true);
}

static void ide_cd_unrealize(struct device *dev)
{
    struct ata_cd *cd = DEVICE_CAST(struct ata_cd, dev);

    scsi_target_fini(&cd->scsi);
    ata_drive_unrealize(&cd->d);
}

static void ide_cd_describe(struct device *dev, struct facts *to)
{
    struct ata_cd *cd = DEVICE_CAST(struct ata_cd, dev);

    ata_drive_describe(&cd->d, to);
    scsi_target_describe(&cd->scsi, to);
}

static void ide_cd_pre_save(void *base)
{
    ata_drive_pre_save(base);
}

static bool ide_cd_check(const void *base, GError **err)
{
    const struct ata_cd *cd = base;

    if ((cd->d.media && cd->d.write) || cd->d.phase == ATA_DISCARD ||
        cd->d.phase == ATA_MEDIA_OUT || cd->d.phase == ATA_FLUSH ||
        (cd->packet_wait && cd->d.phase == ATA_PIO_OUT && cd->d.data_end != CD_PACKET)) {
        g_set_error(err, STATE_ERROR, EINVAL,
                    "a CD drive is in phase %u, media %d, write %d, data_end %u", cd->d.phase,
                    cd->d.media, cd->d.write, cd->d.data_end);
        return false;
    }
    return ata_drive_check_state(&cd->d, err);
}

static void ide_cd_post_load(void *base)
{
    ata_drive_post_load(base);
}

/* As the stream has them; they were here before there was a target of its own. */
#define TARGET_FIELD(n, t, ...) \
    { \
        .name = #n, .type = t, .offset = offsetof(struct ata_cd, scsi.n), __VA_ARGS__ \
    }

static const struct state_field cd_fields[] = {
    ATA_DRIVE_STATE,
    {.name = "packet",
     .type = STATE_BYTES,
     .offset = offsetof(struct ata_cd, scsi.cdb),
     .count = CD_PACKET},
    STATE_FIELD_BOOL(struct ata_cd, packet_wait),
    STATE_FIELD_BOOL(struct ata_cd, dma),
    TARGET_FIELD(raw, STATE_BOOL, .since = 2),
    STATE_FIELD_U32(struct ata_cd, limit, .max = 0xffff),
    TARGET_FIELD(sense_key, STATE_U8, .max = 15),
    TARGET_FIELD(asc, STATE_U8),
    TARGET_FIELD(ascq, STATE_U8),
    TARGET_FIELD(tray_open, STATE_BOOL),
    TARGET_FIELD(tray_locked, STATE_BOOL),
    TARGET_FIELD(changed, STATE_U8, .max = CD_SHOW_CHANGED),
    TARGET_FIELD(event_new, STATE_BOOL),
    TARGET_FIELD(event_eject, STATE_BOOL),
    STATE_FIELD_U8(struct ata_cd, transfer_mode),
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
    ATA_DRIVE_PROPERTIES("XENDM DVD-ROM"),
    {.name = NULL},
};

const struct device_class ide_cd_class = {
    .name = "ide-cd",
    .help = "ATAPI CD/DVD-ROM drive",
    .size = sizeof(struct ata_cd),
    .recorded = true,
    .properties = cd_properties,
    .state = &cd_state,
    .bus = &ata_bus_class,
    .hotplug = true,
    .realize = ide_cd_realize,
    .reset = ide_cd_reset,
    .quiesce = ata_drive_quiesce,
    .busy = ata_drive_busy,
    .resume = ata_drive_resume,
    .unrealize = ide_cd_unrealize,
    .describe = ide_cd_describe,
};
