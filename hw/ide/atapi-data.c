/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ATAPI commands that return a table: inquiry, capacity, TOC, features, events, mode pages (MMC-3
 * chapters 5 and 6, SFF-8020i for what MMC-3 calls legacy). The medium is always one session with
 * one data track.
 *
 * Each builds its answer in the drive's buffer, which is far larger than any of them, and hands it
 * to atapi_reply() with the length that the guest has room for.
 */
#include "ide-internal.h"

#define TRACK_DATA 0x14 /* ADR 1 (position), control 4 (data, no copy) */
#define TRACK_LEAD_OUT 0xaa
#define MSF_LAST (256u * 60 * 75 - 1) /* 255:59:74 */

#define PROFILE_CD_ROM 0x0008
#define PROFILE_DVD_ROM 0x0010

static uint8_t *begin(struct ide_cd *cd, size_t zeros)
{
    memset(cd->d.buffer, 0, zeros);
    return cd->d.buffer;
}

static void invalid_field(struct ide_cd *cd)
{
    atapi_error(cd, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
}

static bool is_dvd(const struct ide_cd *cd)
{
    return atapi_blocks(cd) > CD_MAX_BLOCKS;
}

void atapi_inquiry(struct ide_cd *cd)
{
    uint8_t *buf = begin(cd, 36);

    if ((cd->packet[1] & 3) || cd->packet[2]) {
        invalid_field(cd); /* no vital product data */
        return;
    }
    buf[0] = 0x05; /* CD/DVD */
    buf[1] = 0x80; /* removable */
    buf[3] = 0x21; /* ATAPI, SFF-8020i or MMC answers */
    buf[4] = 36 - 5;
    ide_text(buf + 8, 8, "XENDM");
    ide_text(buf + 16, 16, cd->d.model);
    ide_text(buf + 32, 4, cd->d.firmware);
    atapi_reply(cd, 36, cd->packet[4]);
}

void atapi_read_capacity(struct ide_cd *cd)
{
    uint8_t *buf = begin(cd, 8);

    ide_put_be32(buf, atapi_blocks(cd) - 1);
    ide_put_be32(buf + 4, CD_BLOCK);
    atapi_reply(cd, 8, 8);
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
        ide_put_be32(buf, block);
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

void atapi_read_toc(struct ide_cd *cd)
{
    uint8_t *buf = begin(cd, 64), *end = buf + 4, lead_out[4];
    bool msf = cd->packet[1] & 2;
    /* SFF-8020i has the format in the last byte, MMC in the third. */
    unsigned format = cd->packet[2] & 0x0f ? cd->packet[2] & 0x0f : cd->packet[9] >> 6;
    uint8_t start = cd->packet[6];
    uint32_t total = atapi_blocks(cd);

    buf[2] = buf[3] = 1; /* first and last track or session */
    switch (format) {
    case 0:
        if (start > 1 && start != TRACK_LEAD_OUT) {
            invalid_field(cd);
            return;
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
            invalid_field(cd);
            return;
        }
        put_address(lead_out, total, true);
        end = put_raw(end, 0xa0, 1, 0, 0);
        end = put_raw(end, 0xa1, 1, 0, 0);
        end = put_raw(end, 0xa2, lead_out[1], lead_out[2], lead_out[3]);
        end = put_raw(end, 1, 0, 2, 0);
        break;
    default:
        invalid_field(cd);
        return;
    }
    ide_put_be16(buf, (uint16_t)(end - buf - 2));
    atapi_reply(cd, (uint32_t)(end - buf), ide_be16(cd->packet + 7));
}

void atapi_read_subchannel(struct ide_cd *cd)
{
    uint8_t *buf = begin(cd, 24);
    uint32_t length = 4;

    buf[1] = 0x15; /* no audio status */
    if (cd->packet[2] & 0x40) {
        switch (cd->packet[3]) {
        case 1: /* position: the start of track 1 */
            length = 16;
            buf[5] = TRACK_DATA;
            buf[6] = buf[7] = 1;
            put_address(buf + 8, 0, cd->packet[1] & 2);
            break;
        case 2: /* media catalogue number, ISRC: none */
        case 3:
            length = 24;
            break;
        default:
            invalid_field(cd);
            return;
        }
        buf[4] = cd->packet[3];
        ide_put_be16(buf + 2, (uint16_t)(length - 4));
    }
    atapi_reply(cd, length, ide_be16(cd->packet + 7));
}

void atapi_read_disc_information(struct ide_cd *cd)
{
    uint8_t *buf = begin(cd, 34);

    if (cd->packet[1] & 7) {
        invalid_field(cd);
        return;
    }
    ide_put_be16(buf, 32);
    buf[2] = 0x0e; /* last session complete, disc finalised */
    buf[3] = buf[4] = buf[5] = buf[6] = 1;
    buf[7] = 0x20; /* unrestricted use */
    atapi_reply(cd, 34, ide_be16(cd->packet + 7));
}

void atapi_read_dvd_structure(struct ide_cd *cd)
{
    uint8_t *buf = begin(cd, 2052);
    uint32_t length, first = 0x30000;

    if (cd->packet[1] & 0x0f) {
        invalid_field(cd); /* not a DVD structure */
        return;
    }
    if (!is_dvd(cd) && cd->packet[7] != 0xff) {
        atapi_error(cd, SENSE_ILLEGAL_REQUEST, ASC_INCOMPATIBLE_MEDIUM);
        return;
    }
    switch (cd->packet[7]) {
    case 0x00: /* physical: DVD-ROM, 120 mm, one layer */
        if (cd->packet[6]) {
            invalid_field(cd);
            return;
        }
        length = 2052;
        buf[4] = 0x01;
        buf[5] = 0x0f;
        buf[6] = 0x01;
        ide_put_be32(buf + 8, first);
        ide_put_be32(buf + 12, first + atapi_blocks(cd) - 1);
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
            ide_put_be16(buf + length + 2, structure[i].length);
            length += 4;
        }
        break;
    default:
        invalid_field(cd);
        return;
    }
    ide_put_be16(buf, (uint16_t)(length - 2));
    atapi_reply(cd, length, ide_be16(cd->packet + 8));
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

static bool feature_current(const struct ide_cd *cd, enum feature_current when)
{
    switch (when) {
    case ALWAYS:
        return true;
    case WITH_MEDIUM:
        return atapi_medium_ready(cd);
    case WITH_CD:
        return atapi_medium_ready(cd) && !is_dvd(cd);
    case WITH_DVD:
        return atapi_medium_ready(cd) && is_dvd(cd);
    }
    return false;
}

void atapi_get_configuration(struct ide_cd *cd)
{
    uint8_t *buf = begin(cd, 128), *p = buf + 8;
    unsigned how = cd->packet[1] & 3; /* 0 all, 1 the current ones, 2 one only */
    uint32_t start = ide_be16(cd->packet + 2);
    bool cd_now = feature_current(cd, WITH_CD), dvd_now = feature_current(cd, WITH_DVD);

    if (how == 3) {
        invalid_field(cd);
        return;
    }
    ide_put_be16(buf + 6, dvd_now ? PROFILE_DVD_ROM : cd_now ? PROFILE_CD_ROM : 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(features); i++) {
        const struct feature *f = &features[i];
        bool current = feature_current(cd, f->current);

        if (how == 2 ? f->code != start : f->code < start || (how == 1 && !current)) {
            continue;
        }
        ide_put_be16(p, f->code);
        p[2] = f->flags | current;
        p[3] = f->length;
        memcpy(p + 4, f->data, f->length);
        if (f->code == 0) {
            p[6] = dvd_now;
            p[10] = cd_now;
        }
        p += 4 + f->length;
    }
    ide_put_be32(buf, (uint32_t)(p - buf - 4));
    atapi_reply(cd, (uint32_t)(p - buf), ide_be16(cd->packet + 7));
}

/* ---- GET EVENT STATUS NOTIFICATION ---- */

#define EVENT_CLASS_MEDIA 4
#define MEDIA_NO_CHANGE 0
#define MEDIA_EJECT_REQUEST 1
#define MEDIA_NEW 2
#define MEDIA_TRAY_OPEN 0x01
#define MEDIA_PRESENT 0x02

void atapi_get_event_status(struct ide_cd *cd)
{
    uint8_t *buf = begin(cd, 8);

    if (!(cd->packet[1] & 1)) {
        invalid_field(cd); /* only polled */
        return;
    }
    buf[3] = 1 << EVENT_CLASS_MEDIA;
    if (!(cd->packet[4] & 1 << EVENT_CLASS_MEDIA)) {
        ide_put_be16(buf, 2);
        buf[2] = 0x80; /* no event available */
        atapi_reply(cd, 4, ide_be16(cd->packet + 7));
        return;
    }
    ide_put_be16(buf, 6);
    buf[2] = EVENT_CLASS_MEDIA;
    buf[4] = MEDIA_NO_CHANGE;
    if (cd->tray_open) {
        buf[5] = MEDIA_TRAY_OPEN;
    } else {
        buf[5] = atapi_medium_ready(cd) ? MEDIA_PRESENT : 0;
        /* An event is told once, if the guest has room for it. */
        if (ide_be16(cd->packet + 7) > 4) {
            if (cd->event_new) {
                buf[4] = MEDIA_NEW;
                cd->event_new = false;
            } else if (cd->event_eject) {
                buf[4] = MEDIA_EJECT_REQUEST;
                cd->event_eject = false;
            }
        }
    }
    atapi_reply(cd, 8, ide_be16(cd->packet + 7));
}

/* ---- MODE SENSE ---- */

static uint8_t *put_page(uint8_t *p, uint8_t code, uint8_t length)
{
    p[0] = code;
    p[1] = length;
    return p + 2 + length;
}

static uint8_t *mode_page(const struct ide_cd *cd, uint8_t code, uint8_t *p, bool values)
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
            ide_put_be16(p + 4, 60);
            ide_put_be16(p + 6, 75);
        }
        return end;
    case 0x0e: /* audio: silent ports */
        return put_page(p, code, 14);
    case 0x2a: /* capabilities */
        end = put_page(p, code, 20);
        if (values) {
            p[2] = 0x3b; /* reads CD-R, CD-RW, method 2, DVD-ROM, DVD-R, DVD-RAM */
            p[4] = 0x70; /* mode 2 forms 1 and 2, multi-session */
            p[6] = 0x29 | (cd->tray_locked ? 0x02 : 0); /* tray, eject, lock */
            ide_put_be16(p + 8, 706);                   /* kB/s: 4x */
            ide_put_be16(p + 12, 512);                  /* KiB of buffer */
            ide_put_be16(p + 14, 706);
        }
        return end;
    default:
        return NULL;
    }
}

void atapi_mode_sense(struct ide_cd *cd)
{
    static const uint8_t pages[] = {0x01, 0x0d, 0x0e, 0x2a};
    bool six = cd->packet[0] == 0x1a;
    uint8_t *buf = begin(cd, 128), *p = buf + (six ? 4 : 8);
    unsigned control = cd->packet[2] >> 6;
    uint8_t code = cd->packet[2] & 0x3f;
    /* SFF-8020i: 0x70 door closed, no disc; 0x71 door open; 0x01 data CD, 120 mm */
    uint8_t type = cd->tray_open ? 0x71 : atapi_medium_ready(cd) ? 0x01 : 0x70;

    if (control == 3) {
        atapi_error(cd, SENSE_ILLEGAL_REQUEST, ASC_NO_SAVED_PARAMETERS);
        return;
    }
    if (code == 0x3f) {
        for (unsigned i = 0; i < sizeof(pages); i++) {
            p = mode_page(cd, pages[i], p, control != 1);
        }
    } else {
        p = mode_page(cd, code, p,
                      control != 1); /* control 1: what could be changed, which is nothing */
        if (!p) {
            invalid_field(cd);
            return;
        }
    }
    if (six) {
        buf[0] = (uint8_t)(p - buf - 1);
        buf[1] = type;
        atapi_reply(cd, (uint32_t)(p - buf), cd->packet[4]);
    } else {
        ide_put_be16(buf, (uint16_t)(p - buf - 2));
        buf[2] = type;
        atapi_reply(cd, (uint32_t)(p - buf), ide_be16(cd->packet + 7));
    }
}

void atapi_mechanism_status(struct ide_cd *cd)
{
    uint8_t *buf = begin(cd, 8);

    buf[1] = cd->tray_open ? 0x10 : 0;
    buf[5] = 1; /* one slot, no table of them */
    atapi_reply(cd, 8, ide_be16(cd->packet + 8));
}
