/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks of 512-byte blocks (SBC-2 chapter 5; SBC-3 5.28 for UNMAP and 6.5 for the pages that tell
 * of it). For USB storage and host adapters. Left out on purpose: formatting, defect lists, COMPARE
 * AND WRITE, WRITE SAME, protection information; none is advertised.
 *
 * The write cache is the host's page cache: with it on (the state after a reset) SYNCHRONIZE CACHE
 * or FUA is what makes data safe; with it off every write is followed by a flush.
 */
#include "scsi-internal.h"

#define TRANSFER_BEST (8u << 20) /* bytes of one command that are best, as page B0h says */
#define UNMAP_EXTENTS ((SCSI_BUFFER - 8) / 16)      /* that fit into a list */
#define UNMAP_SECTORS ((uint32_t)(INT32_MAX / 512)) /* of one list's extent, on any host */

#define CDB_FUA 0x08
#define CACHING_WCE 0x04

static enum scsi_step invalid_field(struct scsi_target *t)
{
    return scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_INVALID_FIELD);
}

static uint64_t load_be64(const uint8_t *p)
{
    return (uint64_t)load_be32(p) << 32 | load_be32(p + 4);
}

/* ---- extents ---- */

/* Address and count, by the group that the operation code belongs to (SPC-3 4.3.4.1). */
static void get_extent(const uint8_t *cdb, uint64_t *lba, uint32_t *count)
{
    switch (cdb[0] >> 5) {
    case 0:
        *lba = load_be32(cdb) & 0x1fffff;
        *count = cdb[4] ? cdb[4] : 256;
        break;
    case 4:
        *lba = load_be64(cdb + 2);
        *count = load_be32(cdb + 10);
        break;
    case 5:
        *lba = load_be32(cdb + 2);
        *count = load_be32(cdb + 6);
        break;
    default:
        *lba = load_be32(cdb + 2);
        *count = load_be16(cdb + 7);
        break;
    }
}

static bool extent_inside(const struct scsi_target *t, uint64_t lba, uint64_t count)
{
    uint64_t total = scsi_sectors(t);

    return lba <= total && count <= total - lba;
}

/* The command's extent; SCSI_DONE: it can be done. */
static enum scsi_step check_extent(struct scsi_target *t)
{
    get_extent(t->cdb, &t->sector, &t->sectors);
    return extent_inside(t, t->sector, t->sectors)
               ? SCSI_DONE
               : scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_OUT_OF_RANGE);
}

static bool has_fua(const struct scsi_target *t)
{
    return t->cdb[0] >> 5 != 0 && (t->cdb[1] & CDB_FUA);
}

static enum scsi_step disk_transfer(struct scsi_target *t, enum scsi_step step)
{
    if (check_extent(t) == SCSI_FAILED) {
        return SCSI_FAILED;
    }
    if (t->cdb[0] >> 5 != 0 && t->cdb[1] & 0xe0) {
        return invalid_field(t); /* protection information */
    }
    t->fua = has_fua(t);
    return t->sectors ? step : SCSI_DONE;
}

static enum scsi_step disk_read(struct scsi_target *t)
{
    return disk_transfer(t, SCSI_READ);
}

static enum scsi_step disk_write(struct scsi_target *t)
{
    if (block_read_only(t->block)) {
        return scsi_error(t, SENSE_DATA_PROTECT, ASC_WRITE_PROTECTED);
    }
    return disk_transfer(t, SCSI_WRITE);
}

/* Without a comparison (BYTCHK): the medium is as good as the host says when it is read. */
static enum scsi_step disk_verify(struct scsi_target *t)
{
    return t->cdb[1] & 0x06 ? invalid_field(t) : check_extent(t);
}

static enum scsi_step disk_synchronize(struct scsi_target *t)
{
    return check_extent(t) == SCSI_FAILED ? SCSI_FAILED : SCSI_FLUSH;
}

static enum scsi_step disk_start_stop(struct scsi_target *t)
{
    /* A disk that spins down has its cache written first; LOEJ moves nothing here. */
    return !(t->cdb[4] & 0xf1) ? SCSI_FLUSH : SCSI_DONE;
}

/* ---- capacity ---- */

static enum scsi_step disk_capacity10(struct scsi_target *t)
{
    uint64_t last = scsi_sectors(t) - 1;

    store_be32(t->buffer, (uint32_t)MIN(last, UINT32_MAX));
    store_be32(t->buffer + 4, SCSI_SECTOR);
    return scsi_reply(t, 8, 8);
}

static bool can_unmap(const struct scsi_target *t)
{
    return scsi_medium_ready(t) && !block_read_only(t->block) &&
           block_limits(t->block)->can_discard;
}

static uint8_t physical_exponent(const struct scsi_target *t)
{
    uint32_t physical = scsi_medium_ready(t) ? block_limits(t->block)->physical : 0;

    return physical > SCSI_SECTOR ? (uint8_t)(g_bit_storage(physical / SCSI_SECTOR) - 1) : 0;
}

static enum scsi_step disk_service_in16(struct scsi_target *t)
{
    uint64_t last = scsi_sectors(t) - 1;

    if ((t->cdb[1] & 0x1f) != 0x10) {
        return invalid_field(t); /* only READ CAPACITY (16) */
    }
    memset(t->buffer, 0, 32);
    store_be32(t->buffer, (uint32_t)(last >> 32));
    store_be32(t->buffer + 4, (uint32_t)last);
    store_be32(t->buffer + 8, SCSI_SECTOR);
    t->buffer[13] = physical_exponent(t);
    t->buffer[14] = can_unmap(t) ? 0x80 : 0;
    return scsi_reply(t, 32, load_be32(t->cdb + 10));
}

/* ---- mode pages ---- */

static uint8_t *mode_page(const struct scsi_target *t, uint8_t code, uint8_t *p, unsigned control)
{
    switch (code) {
    case 0x08: /* caching: WCE is what can be changed */
        p[0] = code;
        p[1] = 18;
        p[2] = control == 1 || control == 2 || t->write_cache ? CACHING_WCE : 0;
        return p + 20;
    case 0x0a: /* control */
        p[0] = code;
        p[1] = 10;
        return p + 12;
    default:
        return NULL;
    }
}

static uint8_t *block_descriptor(const struct scsi_target *t, uint8_t *p)
{
    uint64_t total = scsi_sectors(t);

    store_be32(p, (uint32_t)(total > 0xffffff ? 0 : total)); /* the density code is 0 */
    store_be32(p + 4, SCSI_SECTOR);
    return p + 8;
}

static enum scsi_step disk_mode_sense(struct scsi_target *t)
{
    bool six = t->cdb[0] == 0x1a, descriptor = !(t->cdb[1] & 0x08);
    uint8_t code = t->cdb[2] & 0x3f, *buf = t->buffer, *p = buf + (six ? 4 : 8);
    unsigned control = t->cdb[2] >> 6;
    uint8_t specific = (block_read_only(t->block) ? 0x80 : 0) | 0x10; /* WP, DPOFUA */

    if (control == 3) {
        return scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_NO_SAVED_PARAMETERS);
    }
    memset(buf, 0, 64);
    if (descriptor) {
        p = block_descriptor(t, p);
    }
    if (code == 0x3f) {
        p = mode_page(t, 0x0a, mode_page(t, 0x08, p, control), control);
    } else if (code) {
        p = mode_page(t, code, p, control);
        if (!p) {
            return invalid_field(t);
        }
    }
    if (six) {
        buf[0] = (uint8_t)(p - buf - 1);
        buf[2] = specific;
        buf[3] = descriptor ? 8 : 0;
        return scsi_reply(t, (uint32_t)(p - buf), t->cdb[4]);
    }
    store_be16(buf, (uint32_t)(p - buf - 2));
    buf[3] = specific;
    buf[7] = descriptor ? 8 : 0;
    return scsi_reply(t, (uint32_t)(p - buf), load_be16(t->cdb + 7));
}

static enum scsi_step disk_mode_select(struct scsi_target *t)
{
    t->length = t->cdb[0] == 0x15 ? t->cdb[4] : load_be16(t->cdb + 7);
    if (!(t->cdb[1] & 0x10) || (t->cdb[1] & 0x01)) {
        return invalid_field(t); /* pages as the standard has them; nothing is kept over a reset */
    }
    return t->length ? SCSI_PARAMETERS : SCSI_DONE;
}

/* The list has a header, block descriptors that change nothing, and pages. */
static enum scsi_step mode_parameters(struct scsi_target *t, uint32_t length)
{
    bool six = t->cdb[0] == 0x15;
    uint32_t at = six ? 4 : 8;
    bool cache = t->write_cache;

    if (length < at) {
        return scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_PARAMETER_LENGTH);
    }
    at += six ? t->buffer[3] : load_be16(t->buffer + 6);
    while (at + 2 <= length) {
        uint8_t code = t->buffer[at] & 0x3f;
        uint32_t size = t->buffer[at + 1];

        if (size > length - at - 2) {
            return scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_PARAMETER_LENGTH);
        }
        if (!(code == 0x08 && size == 18) && !(code == 0x0a && size == 10)) {
            return scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_INVALID_PARAMETER);
        }
        if (code == 0x08) {
            cache = t->buffer[at + 2] & CACHING_WCE;
        }
        at += 2 + size;
    }
    t->write_cache = cache;
    return cache ? SCSI_DONE : SCSI_FLUSH; /* what was cached until now becomes safe, too */
}

/* ---- UNMAP ---- */

static enum scsi_step disk_unmap(struct scsi_target *t)
{
    if (!can_unmap(t) || (t->cdb[1] & 0x01)) {
        return invalid_field(t);
    }
    t->length = load_be16(t->cdb + 7);
    return t->length ? SCSI_PARAMETERS : SCSI_DONE;
}

/* How many bytes of descriptors a list has that is `length` long. */
static uint32_t unmap_bytes(const struct scsi_target *t, uint32_t length)
{
    return length < 8 ? 0 : MIN(load_be16(t->buffer + 2), length - 8) & ~15u;
}

static enum scsi_step unmap_parameters(struct scsi_target *t, uint32_t length)
{
    uint32_t bytes = unmap_bytes(t, length);

    if (length < 8) {
        return scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_PARAMETER_LENGTH);
    }
    for (uint32_t at = 8; at < 8 + bytes; at += 16) {
        uint64_t lba = load_be64(t->buffer + at);
        uint32_t count = load_be32(t->buffer + at + 8);

        if (count > UNMAP_SECTORS) {
            return scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_INVALID_PARAMETER);
        }
        if (!extent_inside(t, lba, count)) {
            return scsi_error(t, SENSE_ILLEGAL_REQUEST, ASC_OUT_OF_RANGE);
        }
    }
    t->length = 8 + bytes;
    return bytes ? SCSI_DISCARD : SCSI_DONE;
}

/* They were checked; after a load, or with a smaller medium, they are looked at once more. */
bool scsi_discard_next(const struct scsi_target *t, const uint8_t *list, uint32_t length,
                       uint32_t *at, uint64_t *sector, uint32_t *sectors)
{
    for (*at = MAX(*at, 8); *at + 16 <= length; *at += 16) {
        *sector = load_be64(list + *at);
        *sectors = load_be32(list + *at + 8);
        if (*sectors && *sectors <= UNMAP_SECTORS && extent_inside(t, *sector, *sectors)) {
            *at += 16;
            return true;
        }
    }
    return false;
}

static enum scsi_step disk_parameters(struct scsi_target *t, uint32_t length)
{
    return t->cdb[0] == 0x42 ? unmap_parameters(t, length) : mode_parameters(t, length);
}

/* ---- vital product data ---- */

static const uint8_t disk_vpd_pages[] = {0xb0, 0xb1, 0xb2, 0};

static int disk_vpd(const struct scsi_target *t, uint8_t page, uint8_t *body)
{
    switch (page) {
    case 0xb0: /* block limits */
        store_be16(body + 2, 1u << physical_exponent(t));
        store_be32(body + 8, TRANSFER_BEST / SCSI_SECTOR);
        if (can_unmap(t)) {
            store_be32(body + 16, UNMAP_SECTORS);
            store_be32(body + 20, UNMAP_EXTENTS);
        }
        return 0x3c;
    case 0xb1: /* characteristics: 1 is "does not rotate" */
        store_be16(body, scsi_medium_ready(t) && block_limits(t->block)->rotational ? 7200 : 1);
        return 0x3c;
    case 0xb2: /* thin provisioning: UNMAP */
        body[1] = can_unmap(t) ? 0x80 : 0;
        return 4;
    default:
        return -1;
    }
}

/* ---- the type ---- */

static void disk_resized(void *opaque)
{
    struct scsi_target *t = opaque;

    t->attention = ASC_CAPACITY_CHANGED;
    scsi_news(t, ASC_CAPACITY_CHANGED);
}

static const struct block_listener disk_listener = {.resized = disk_resized};

static const struct scsi_opcode disk_opcodes[256] = {
    [0x00] = {scsi_ok, NEEDS_MEDIUM | NO_DATA}, /* TEST UNIT READY */
    [0x03] = {scsi_request_sense, ALLOW_ATTENTION},
    [0x08] = {disk_read, NEEDS_MEDIUM},
    [0x0a] = {disk_write, NEEDS_MEDIUM},
    [0x12] = {scsi_inquiry, ALLOW_ATTENTION},
    [0x15] = {disk_mode_select, NEEDS_MEDIUM},
    [0x1a] = {disk_mode_sense, NEEDS_MEDIUM},
    [0x1b] = {disk_start_stop, NO_DATA},
    [0x1e] = {scsi_ok, NO_DATA}, /* PREVENT ALLOW MEDIUM REMOVAL: nobody can */
    [0x25] = {disk_capacity10, NEEDS_MEDIUM},
    [0x28] = {disk_read, NEEDS_MEDIUM},
    [0x2a] = {disk_write, NEEDS_MEDIUM},
    [0x2e] = {disk_write, NEEDS_MEDIUM}, /* WRITE AND VERIFY */
    [0x2f] = {disk_verify, NEEDS_MEDIUM | NO_DATA},
    [0x35] = {disk_synchronize, NEEDS_MEDIUM | NO_DATA},
    [0x42] = {disk_unmap, NEEDS_MEDIUM},
    [0x55] = {disk_mode_select, NEEDS_MEDIUM},
    [0x5a] = {disk_mode_sense, NEEDS_MEDIUM},
    [0x88] = {disk_read, NEEDS_MEDIUM},
    [0x8a] = {disk_write, NEEDS_MEDIUM},
    [0x8f] = {disk_verify, NEEDS_MEDIUM | NO_DATA},
    [0x91] = {disk_synchronize, NEEDS_MEDIUM | NO_DATA},
    [0x9e] = {disk_service_in16, NEEDS_MEDIUM},
    [0xa0] = {scsi_report_luns, ALLOW_ATTENTION},
    [0xa8] = {disk_read, NEEDS_MEDIUM},
    [0xaa] = {disk_write, NEEDS_MEDIUM},
    [0xaf] = {disk_verify, NEEDS_MEDIUM | NO_DATA},
};

const struct scsi_type scsi_disk_type = {
    .type = 0x00,
    .opcodes = disk_opcodes,
    .listener = &disk_listener,
    .parameters = disk_parameters,
    .vpd = disk_vpd,
    .vpd_pages = disk_vpd_pages,
};
