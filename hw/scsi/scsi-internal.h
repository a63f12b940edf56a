/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to hw/scsi.
 *
 *   target.c   what all targets do: a command's way, sense data, INQUIRY
 *   cd.c       CD drives: reading, tray, medium; cd-data.c: commands whose answer is a table;
 *              cd-raw.c: the whole of a sector
 *   disk.c     disks
 *   task.c     moves a command's data, for initiators that do not do it themselves
 *   unit.c     scsi-hd and scsi-cd, and the bus they are on
 */
#ifndef XENDM_SCSI_INTERNAL_H
#define XENDM_SCSI_INTERNAL_H

#include <string.h>

#include <xendm/bytes.h>
#include <xendm/facts.h>
#include <xendm/log.h>
#include <xendm/scsi.h>

/* ASC << 8 | ASCQ */
#define ASC_WRITE_ERROR 0x0c00
#define ASC_READ_ERROR 0x1100
#define ASC_PARAMETER_LENGTH 0x1a00
#define ASC_ILLEGAL_OPCODE 0x2000
#define ASC_OUT_OF_RANGE 0x2100
#define ASC_INVALID_FIELD 0x2400
#define ASC_NO_LOGICAL_UNIT 0x2500
#define ASC_INVALID_PARAMETER 0x2600
#define ASC_WRITE_PROTECTED 0x2700
#define ASC_MEDIUM_CHANGED 0x2800
#define ASC_POWER_ON 0x2900
#define ASC_CAPACITY_CHANGED 0x2a09
#define ASC_INCOMPATIBLE_MEDIUM 0x3000
#define ASC_NO_SAVED_PARAMETERS 0x3900
#define ASC_NO_MEDIUM 0x3a00
#define ASC_NO_MEDIUM_TRAY_CLOSED 0x3a01
#define ASC_NO_MEDIUM_TRAY_OPEN 0x3a02
#define ASC_INTERNAL_FAILURE 0x4400
#define ASC_REMOVAL_PREVENTED 0x5302
#define ASC_ILLEGAL_MODE 0x6400

enum {
    ALLOW_ATTENTION = 1 << 0, /* runs, and says nothing of a changed medium (MMC-3 4.1.6) */
    NEEDS_MEDIUM = 1 << 1,
    NO_DATA = 1 << 2, /* never moves data */
    COUNTED = 1 << 3, /* reads as much as it says, which may be nothing */
};

struct scsi_opcode {
    enum scsi_step (*run)(struct scsi_target *t);
    unsigned flags;
};

struct scsi_type {
    uint8_t type; /* as in INQUIRY */
    bool removable;
    const struct scsi_opcode *opcodes; /* 256 */
    const struct block_listener *listener;
    enum scsi_step (*parameters)(struct scsi_target *t, uint32_t length);
    /* What it has to say before any other command; SCSI_DONE: nothing. */
    enum scsi_step (*attention)(struct scsi_target *t);
    void (*reset)(struct scsi_target *t, bool hard);
    /* Of vital product data `page`: bytes behind its header; -1: there is no such page. */
    int (*vpd)(const struct scsi_target *t, uint8_t page, uint8_t *body);
    const uint8_t *vpd_pages; /* the list of them; ends with 0 */
};

/* target.c */
enum scsi_step scsi_error(struct scsi_target *t, uint8_t key, uint16_t asc);
/* From t->buffer; what there is room for. */
enum scsi_step scsi_reply(struct scsi_target *t, uint32_t length, uint32_t allocation);
uint64_t scsi_sectors(const struct scsi_target *t);
bool scsi_medium_ready(const struct scsi_target *t);
void scsi_text(uint8_t *to, size_t size, const char *text); /* padded with spaces */
void scsi_news(struct scsi_target *t, uint16_t asc);
enum scsi_step scsi_ok(struct scsi_target *t);
enum scsi_step scsi_request_sense(struct scsi_target *t);
enum scsi_step scsi_inquiry(struct scsi_target *t);
enum scsi_step scsi_report_luns(struct scsi_target *t);

/* cd-data.c, cd-raw.c */
#define CD_SECTORS_PER_BLOCK (CD_BLOCK / SCSI_SECTOR)
#define CD_MSF_OFFSET 150u    /* frames before the first block */
#define CD_MAX_BLOCKS 360000u /* 80 minutes; larger media are DVDs */
uint32_t cd_blocks(const struct scsi_target *t);
void cd_raw_sector(uint8_t *sector, uint32_t block); /* has the data in its place */
enum scsi_step cd_read_capacity(struct scsi_target *t);
enum scsi_step cd_read_toc(struct scsi_target *t);
enum scsi_step cd_read_subchannel(struct scsi_target *t);
enum scsi_step cd_read_disc_information(struct scsi_target *t);
enum scsi_step cd_read_dvd_structure(struct scsi_target *t);
enum scsi_step cd_get_configuration(struct scsi_target *t);
enum scsi_step cd_get_event_status(struct scsi_target *t);
enum scsi_step cd_mode_sense(struct scsi_target *t);
enum scsi_step cd_mechanism_status(struct scsi_target *t);

#endif
