/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands of a CD drive that return a table: capacity, TOC, features, events, mode pages (MMC-3
 * chapters 5 and 6, SFF-8020i for what MMC-3 calls legacy). The medium is always one session with
 * one data track.
 *
 * Each builds its answer in the target's buffer, which is far larger than any of them, and hands it
 * to scsi_reply() with the length that the guest has room for.
 */
#include <xendm/bytes.h>

#include "scsi-internal.h"

#define TRACK_DATA 0x14 /* ADR 1 (position), control 4 (data, no copy) */
#define TRACK_LEAD_OUT 0xaa
#define MSF_LAST (256u * 60 * 75 - 1) /* 255:59:74 */

#define PROFILE_CD_ROM 0x0008
#define PROFILE_DVD_ROM 0x0010

static uint8_t *begin(struct scsi_target *t, size_t zeros)
{
    memset(t->buffer, 0, zeros);
    return t->buffer;
}

static enum scsi_step invalid_field(struct scsi_target *t)
{
    return scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
}

static bool is_dvd(const struct scsi_target *t)
{
    return cd_blocks(t) > CD_MAX_BLOCKS;
}

enum scsi_step cd_read_capacity(struct scsi_target *t)
{
    uint8_t *buf = begin(t, 8);

    store_be32(buf, cd_blocks(t) - 1);
    store_be32(buf + 4, CD_BLOCK);
    return scsi_reply(t, 8, 8);
}

/* ---- READ TOC ---- */

static void put_address(uint8_t *buf, uint32_t block, bool msf)
{
    if (msf) {
        /* A DVD may be longer than such an address can say: then it is the last there is. */
        uint32_t frame = (uint32_t)MIN((uint64_t)block + CD_MSF_OFFSET, MSF_LAST);

        buf[0] = 0;
        buf[1] = (uint8_t)(frame / 75 / 60);
        buf[2] = frame / 75 % 60;
        buf[3] = frame % 75;
    } else {
        store_be32(buf, block);
    }
}

static uint8_t *put_track(uint8_t *p, uint8_t track, uint32_t block, bool msf)
{
    p[1] = TRACK_DATA;
    p[2] = track;
    put_address(p + 4, block, msf);
    return p + 8;
}

/* Entries of the raw TOC; the first three have points instead of tracks. */
static uint8_t *put_raw(uint8_t *p, uint8_t point, uint8_t minute, uint8_t second, uint8_t frame)
{
    p[0] = 1; /* session */
    p[1] = TRACK_DATA;
    p[3] = point;
    p[8] = minute;
    p[9] = second;
    p[10] = frame;
    return p + 11;
}

enum scsi_step cd_read_toc(struct scsi_target *t)
{
    uint8_t *buf = begin(t, 64), *end = buf + 4, lead_out[4];
    bool msf = t->cdb[1] & 2;
    /* SFF-8020i has the format in the last byte, MMC in the third. */
    unsigned format = t->cdb[2] & 0x0f ? t->cdb[2] & 0x0f : t->cdb[9] >> 6;
    uint8_t start = t->cdb[6];
    uint32_t total = cd_blocks(t);

    buf[2] = buf[3] = 1; /* first and last track or session */
    switch (format) {
    case 0:
        if (start > 1 && start != TRACK_LEAD_OUT) {
            return invalid_field(t);
        }
        if (start <= 1) {
            end = put_track(end, 1, 0, msf);
        }
        end = put_track(end, TRACK_LEAD_OUT, total, msf);
        break;
    case 1:
        end = put_track(end, 1, 0, msf);
        break;
    case 2:
        if (start > 1) {
            return invalid_field(t);
        }
        put_address(lead_out, total, true);
        end = put_raw(end, 0xa0, 1, 0, 0);
        end = put_raw(end, 0xa1, 1, 0, 0);
        end = put_raw(end, 0xa2, lead_out[1], lead_out[2], lead_out[3]);
        end = put_raw(end, 1, 0, 2, 0);
        break;
    default:
        return invalid_field(t);
    }
    store_be16(buf, (uint16_t)(end - buf - 2));
    return scsi_reply(t, (uint32_t)(end - buf), load_be16(t->cdb + 7));
}

enum scsi_step cd_read_subchannel(struct scsi_target *t)
{
    uint8_t *buf = begin(t, 24);
    uint32_t length = 4;

    buf[1] = 0x15; /* no audio status */
    if (t->cdb[2] & 0x40) {
        switch (t->cdb[3]) {
        case 1: /* position: the start of track 1 */
            length = 16;
            buf[5] = TRACK_DATA;
            buf[6] = buf[7] = 1;
            put_address(buf + 8, 0, t->cdb[1] & 2);
            break;
        case 2: /* media catalogue number, ISRC: none */
        case 3:
            length = 24;
            break;
        default:
            return invalid_field(t);
        }
        buf[4] = t->cdb[3];
        store_be16(buf + 2, (uint16_t)(length - 4));
    }
    return scsi_reply(t, length, load_be16(t->cdb + 7));
}

enum scsi_step cd_read_disc_information(struct scsi_target *t)
{
    uint8_t *buf = begin(t, 34);

    if (t->cdb[1] & 7) {
        return invalid_field(t);
    }
    store_be16(buf, 32);
    buf[2] = 0x0e; /* last session complete, disc finalised */
    buf[3] = buf[4] = buf[5] = buf[6] = 1;
    buf[7] = 0x20; /* unrestricted use */
    return scsi_reply(t, 34, load_be16(t->cdb + 7));
}

enum scsi_step cd_read_dvd_structure(struct scsi_target *t)
{
    uint8_t *buf = begin(t, 2052);
    uint32_t length, first = 0x30000;

    if (t->cdb[1] & 0x0f) {
        return invalid_field(t); /* not a DVD structure */
    }
    if (!is_dvd(t) && t->cdb[7] != 0xff) {
        return scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_INCOMPATIBLE_MEDIUM);
    }
    switch (t->cdb[7]) {
    case 0x00: /* physical: DVD-ROM, 120 mm, one layer */
        if (t->cdb[6]) {
            return invalid_field(t);
        }
        length = 2052;
        buf[4] = 0x01;
        buf[5] = 0x0f;
        buf[6] = 0x01;
        store_be32(buf + 8, first);
        store_be32(buf + 12, first + cd_blocks(t) - 1);
        break;
    case 0x01: /* copyright: none */
        length = 8;
        break;
    case 0x04: /* manufacturer: says nothing */
        length = 2052;
        break;
    case 0xff: /* the list of these */
        length = 4;
        for (unsigned i = 0; i < 3; i++) {
            static const struct {
                uint8_t format;
                uint16_t length;
            } structure[3] = {{0x00, 2052}, {0x01, 8}, {0x04, 2052}};

            buf[length] = structure[i].format;
            buf[length + 1] = 0x40; /* readable */
            store_be16(buf + length + 2, structure[i].length);
            length += 4;
        }
        break;
    default:
        return invalid_field(t);
    }
    store_be16(buf, (uint16_t)(length - 2));
    return scsi_reply(t, length, load_be16(t->cdb + 8));
}

/* ---- GET CONFIGURATION ---- */

enum feature_current {
    ALWAYS,
    WITH_MEDIUM,
    WITH_CD,
    WITH_DVD,
};

static const struct feature {
    uint16_t code;
    uint8_t flags; /* version << 2 | persistent << 1 */
    uint8_t length;
    enum feature_current current;
    uint8_t data[8];
} features[] = {
    {0x0000,
     0x02,
     8,
     ALWAYS,
     {0x00, 0x10, 0, 0, 0x00, 0x08, 0, 0}},     /* profiles; "current" bits are filled in */
    {0x0001, 0x02, 4, ALWAYS, {0, 0, 0, 2}},    /* core, on ATAPI */
    {0x0002, 0x02, 4, ALWAYS, {0}},             /* morphing: events are polled */
    {0x0003, 0x02, 4, ALWAYS, {0x29, 0, 0, 0}}, /* removable: tray, eject, lock */
    {0x0010, 0x00, 8, WITH_MEDIUM, {0, 0, CD_BLOCK >> 8, 0, 0, 1, 0, 0}}, /* random readable */
    {0x001d, 0x00, 0, WITH_CD, {0}},                                      /* multi-read */
    {0x001e, 0x00, 0, WITH_CD, {0}},                                      /* CD read */
    {0x001f, 0x00, 0, WITH_DVD, {0}},                                     /* DVD read */
};

static bool feature_current(const struct scsi_target *t, enum feature_current when)
{
    switch (when) {
    case ALWAYS:
        return true;
    case WITH_MEDIUM:
        return scsi_medium_ready(t);
    case WITH_CD:
        return scsi_medium_ready(t) && !is_dvd(t);
    case WITH_DVD:
        return scsi_medium_ready(t) && is_dvd(t);
    }
    return false;
}

enum scsi_step cd_get_configuration(struct scsi_target *t)
{
    uint8_t *buf = begin(t, 128), *p = buf + 8;
    unsigned how = t->cdb[1] & 3; /* 0 all, 1 the current ones, 2 one only */
    uint32_t start = load_be16(t->cdb + 2);
    bool cd_now = feature_current(t, WITH_CD), dvd_now = feature_current(t, WITH_DVD);

    if (how == 3) {
        return invalid_field(t);
    }
    store_be16(buf + 6, dvd_now ? PROFILE_DVD_ROM : cd_now ? PROFILE_CD_ROM : 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(features); i++) {
        const struct feature *f = &features[i];
        bool current = feature_current(t, f->current);

        if (how == 2 ? f->code != start : f->code < start || (how == 1 && !current)) {
            continue;
        }
        store_be16(p, f->code);
        p[2] = f->flags | current;
        p[3] = f->length;
        memcpy(p + 4, f->data, f->length);
        if (f->code == 0) {
            p[6] = dvd_now;
            p[10] = cd_now;
        }
        p += 4 + f->length;
    }
    store_be32(buf, (uint32_t)(p - buf - 4));
    return scsi_reply(t, (uint32_t)(p - buf), load_be16(t->cdb + 7));
}

/* ---- GET EVENT STATUS NOTIFICATION ---- */

#define EVENT_CLASS_MEDIA 4
#define MEDIA_NO_CHANGE 0
#define MEDIA_EJECT_REQUEST 1
#define MEDIA_NEW 2
#define MEDIA_TRAY_OPEN 0x01
#define MEDIA_PRESENT 0x02

enum scsi_step cd_get_event_status(struct scsi_target *t)
{
    uint8_t *buf = begin(t, 8);

    if (!(t->cdb[1] & 1)) {
        return invalid_field(t); /* only polled */
    }
    buf[3] = 1 << EVENT_CLASS_MEDIA;
    if (!(t->cdb[4] & 1 << EVENT_CLASS_MEDIA)) {
        store_be16(buf, 2);
        buf[2] = 0x80; /* no event available */
        return scsi_reply(t, 4, load_be16(t->cdb + 7));
    }
    store_be16(buf, 6);
    buf[2] = EVENT_CLASS_MEDIA;
    buf[4] = MEDIA_NO_CHANGE;
    if (t->tray_open) {
        buf[5] = MEDIA_TRAY_OPEN;
    } else {
        buf[5] = scsi_medium_ready(t) ? MEDIA_PRESENT : 0;
        /* An event is told once, if the guest has room for it. */
        if (load_be16(t->cdb + 7) > 4) {
            if (t->event_new) {
                buf[4] = MEDIA_NEW;
                t->event_new = false;
            } else if (t->event_eject) {
                buf[4] = MEDIA_EJECT_REQUEST;
                t->event_eject = false;
            }
        }
    }
    return scsi_reply(t, 8, load_be16(t->cdb + 7));
}

/* ---- MODE SENSE ---- */

static uint8_t *put_page(uint8_t *p, uint8_t code, uint8_t length)
{
    p[0] = code;
    p[1] = length;
    return p + 2 + length;
}

static uint8_t *mode_page(const struct scsi_target *t, uint8_t code, uint8_t *p, bool values)
{
    uint8_t *end;

    switch (code) {
    case 0x01: /* error recovery: 5 retries */
        end = put_page(p, code, 6);
        if (values) {
            p[3] = 5;
        }
        return end;
    case 0x0d: /* CD: 60 seconds of 75 frames */
        end = put_page(p, code, 6);
        if (values) {
            store_be16(p + 4, 60);
            store_be16(p + 6, 75);
        }
        return end;
    case 0x0e: /* audio: silent ports */
        return put_page(p, code, 14);
    case 0x2a: /* capabilities */
        end = put_page(p, code, 20);
        if (values) {
            p[2] = 0x3b; /* reads CD-R, CD-RW, method 2, DVD-ROM, DVD-R, DVD-RAM */
            p[4] = 0x70; /* mode 2 forms 1 and 2, multi-session */
            p[6] = 0x29 | (t->tray_locked ? 0x02 : 0); /* tray, eject, lock */
            store_be16(p + 8, 706);                    /* kB/s: 4x */
            store_be16(p + 12, 512);                   /* KiB of buffer */
            store_be16(p + 14, 706);
        }
        return end;
    default:
        return NULL;
    }
}

enum scsi_step cd_mode_sense(struct scsi_target *t)
{
    static const uint8_t pages[] = {0x01, 0x0d, 0x0e, 0x2a};
    bool six = t->cdb[0] == 0x1a;
    uint8_t *buf = begin(t, 128), *p = buf + (six ? 4 : 8);
    unsigned control = t->cdb[2] >> 6;
    uint8_t code = t->cdb[2] & 0x3f;
    /* SFF-8020i: 0x70 door closed, no disc; 0x71 door open; 0x01 data CD, 120 mm */
    uint8_t type = t->tray_open ? 0x71 : scsi_medium_ready(t) ? 0x01 : 0x70;

    if (control == 3) {
        return scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_NO_SAVED_PARAMETERS);
    }
    if (code == 0x3f) {
        for (unsigned i = 0; i < sizeof(pages); i++) {
            p = mode_page(t, pages[i], p, control != 1);
        }
    } else {
        p = mode_page(t, code, p,
                      control != 1); /* control 1: what could be changed, which is nothing */
        if (!p) {
            return invalid_field(t);
        }
    }
    if (six) {
        buf[0] = (uint8_t)(p - buf - 1);
        buf[1] = type;
        return scsi_reply(t, (uint32_t)(p - buf), t->cdb[4]);
    } else {
        store_be16(buf, (uint16_t)(p - buf - 2));
        buf[2] = type;
        return scsi_reply(t, (uint32_t)(p - buf), load_be16(t->cdb + 7));
    }
}

enum scsi_step cd_mechanism_status(struct scsi_target *t)
{
    uint8_t *buf = begin(t, 8);

    buf[1] = t->tray_open ? 0x10 : 0;
    buf[5] = 1; /* one slot, no table of them */
    return scsi_reply(t, 8, load_be16(t->cdb + 8));
}
