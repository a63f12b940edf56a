/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to hw/ata.
 *
 *   host.c       the bus: who is where
 *   drive.c      what both kinds of drive do: PIO blocks, media transfers, one block request at a
 *                time
 *   life.c       their coming and going, saved state
 *   disk.c       ATA commands;  identify.c: IDENTIFY DEVICE;  geometry.c: cylinders and heads
 *   atapi.c      the packet protocol, over a SCSI target
 */
#ifndef XENDM_ATA_INTERNAL_H
#define XENDM_ATA_INTERNAL_H

#include <string.h>

#include <xendm/ata.h>
#include <xendm/bytes.h>
#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/ide.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/recorder.h>
#include <xendm/scsi.h>
#include <xendm/state.h>
#include <xendm/turn.h>

#define ATA_BUFFER_SECTORS (ATA_BUFFER / ATA_SECTOR)
#define ATA_DMA_CHUNK (1024u * 1024) /* bytes of one block request of a DMA command */
#define ATA_DMA_PIECES 256u          /* one 512-byte sector of 2-byte descriptors fits */

struct ata_drive_ops {
    void (*command)(struct ata_drive *d, uint8_t code);
    /* Signature and power-on or reset state; I/O was cancelled. `hard`: power was lost. */
    void (*reset)(struct ata_drive *d, bool hard);
    /* How many bytes from pos make the next DRQ block (1 .. data_end - pos); sets what registers
     * say of it. */
    uint32_t (*drq_block)(struct ata_drive *d);
    /* Most sectors to be read from the medium at once; NULL: the buffer full. */
    uint32_t (*media_most)(struct ata_drive *d);
    /* Sectors of the medium have come into buffer[0, data_end). True: it goes on itself. */
    bool (*media_read)(struct ata_drive *d);
    /* All data of the command was moved. */
    void (*finish)(struct ata_drive *d);
    /* A buffer of the guest's, that is not for the medium, has arrived in buffer[0, length). */
    void (*buffer_in)(struct ata_drive *d, uint32_t length);
    /* The host failed at sector d->lba. */
    void (*fail)(struct ata_drive *d, enum block_op op, int error);
    /* Next range of ATA_DISCARD: false when there are no more. */
    bool (*discard_next)(struct ata_drive *d, uint64_t *sector, uint32_t *count);
};

/* drive.c */
int ata_drive_realize(struct ata_drive *d, const struct ata_drive_ops *ops, GError **err);
void ata_drive_unrealize(struct ata_drive *d);
void ata_drive_submit(struct ata_drive *d, enum block_op op, uint64_t sector, uint32_t sectors,
                      const struct iovec *iov, unsigned niov);

/* life.c */
void ata_drive_unplug(struct ata_drive *d);
void ata_drive_off(struct ata_drive *d); /* no access arrives any more */
void ata_drive_quiesce(struct device *dev);
void ata_drive_resume(struct device *dev);
void ata_drive_describe(struct ata_drive *d, struct facts *to);

void ata_drive_raise(struct ata_drive *d); /* interrupt */
void ata_drive_done(struct ata_drive *d);  /* command ended well: ready, interrupt */
void ata_drive_fail(struct ata_drive *d, uint8_t status, uint8_t error);
/* After lba, left, write were set. */
void ata_drive_media_pio(struct ata_drive *d);
void ata_drive_media_dma(struct ata_drive *d);
/* buffer[0, length) to or from the guest. */
void ata_drive_buffer_pio(struct ata_drive *d, uint32_t length, bool write, bool interrupt);
void ata_drive_buffer_dma(struct ata_drive *d, uint32_t length, bool write);
void ata_drive_media_next(struct ata_drive *d); /* reads on, into the buffer */
/* What was read, or became of it; then ops->finish, with `left` as it is. */
void ata_drive_media_buffer_dma(struct ata_drive *d, uint32_t length);
void ata_drive_flush(struct ata_drive *d); /* then ops->finish */
void ata_drive_discard(struct ata_drive *d,
                       uint32_t length); /* buffer[0, length); then ops->finish */
/*
 * Reads the first sector into the buffer before the first command: `done`, maybe inside; else the
 * drive is busy until then.
 */
void ata_drive_look(struct ata_drive *d, void (*done)(struct ata_drive *d, int error));
void ata_text(uint8_t *to, size_t size, const char *text); /* padded with spaces */

/* disk.c, identify.c */
#define ATA_MULTIPLE_MAX 16u
#define ATA_TRIM_BLOCKS 8u /* of 64 ranges each */

/* State: the fields of struct ata_drive, the first member of both kinds. */
#define ATA_DRIVE_STATE \
    STATE_FIELD_BOOL(struct ata_drive, unplugged), STATE_FIELD_BYTES(struct ata_drive, feature), \
        STATE_FIELD_BYTES(struct ata_drive, count), STATE_FIELD_BYTES(struct ata_drive, lba_low), \
        STATE_FIELD_BYTES(struct ata_drive, lba_mid), \
        STATE_FIELD_BYTES(struct ata_drive, lba_high), STATE_FIELD_U8(struct ata_drive, device), \
        STATE_FIELD_U8(struct ata_drive, status), STATE_FIELD_U8(struct ata_drive, error), \
        STATE_FIELD_BOOL(struct ata_drive, intrq), \
        STATE_FIELD_U8(struct ata_drive, phase, .max = ATA_DISCARD), \
        STATE_FIELD_BOOL(struct ata_drive, media), STATE_FIELD_BOOL(struct ata_drive, write), \
        STATE_FIELD_BOOL(struct ata_drive, careful), \
        STATE_FIELD_U64(struct ata_drive, lba, .max = UINT64_C(1) << 48), \
        STATE_FIELD_U32(struct ata_drive, left), \
        STATE_FIELD_U32(struct ata_drive, drq_sectors, .min = 1, .max = ATA_MULTIPLE_MAX), \
        STATE_FIELD_U32(struct ata_drive, pos, .max = ATA_BUFFER), \
        STATE_FIELD_U32(struct ata_drive, drq_end, .max = ATA_BUFFER), \
        STATE_FIELD_U32(struct ata_drive, data_end, .max = ATA_BUFFER), \
        STATE_FIELD_U32(struct ata_drive, media_pos, .max = ATA_BUFFER), \
    { \
        .name = "buffer", .type = STATE_VAR_BYTES, .offset = offsetof(struct ata_drive, saved), \
        .count = ATA_BUFFER, .length_offset = offsetof(struct ata_drive, saved_length) \
    }
void ata_drive_pre_save(struct ata_drive *d);
bool ata_drive_check_state(const struct ata_drive *d, GError **err);
void ata_drive_post_load(struct ata_drive *d);

#define ATA_DRIVE_PROPERTIES(model_name) \
    {.name = "drive", \
     .type = PROP_BACKEND, \
     .kind = BACKEND_BLOCK, \
     .offset = offsetof(struct ata_drive, block), \
     .help = "image"}, \
        {.name = "serial", \
         .type = PROP_STRING, \
         .offset = offsetof(struct ata_drive, serial), \
         .help = "up to 20 characters; XM00001 … by place when not given"}, \
        {.name = "model", \
         .type = PROP_STRING, \
         .offset = offsetof(struct ata_drive, model), \
         .def = model_name, \
         .help = "up to 40 characters"}, \
    { \
        .name = "ver", .type = PROP_STRING, .offset = offsetof(struct ata_drive, firmware), \
        .def = "1.0", .help = "firmware revision, up to 8 characters" \
    }

struct ata_disk {
    struct ata_drive d;
    uint8_t command;                    /* the one in progress */
    bool lba48;                         /* its address is of the 48-bit form */
    uint32_t cylinders, heads, sectors; /* current translation */
    struct ide_geometry geometry;       /* after a reset */
    bool looked;                        /* for it, in the partition table */
    void (*geometry_known)(void *opaque, struct device *dev, const struct ide_geometry *g);
    void *geometry_opaque;
    uint8_t multiple; /* sectors; 0: READ/WRITE MULTIPLE are refused */
    bool write_cache, look_ahead, standby;
    uint8_t transfer_mode; /* as SET FEATURES 03h was given */
};

void ata_identify(const struct ata_disk *disk, uint8_t *buf);
/* ata-geometry.c. `sector`: the first one */
void ata_geometry_by_size(uint64_t sectors, struct ide_geometry *g);
void ata_geometry_by_table(const uint8_t *sector, uint64_t sectors, struct ide_geometry *g);
#define ATA_DEFAULT_HEADS 16u
#define ATA_DEFAULT_SECTORS 63u

/* atapi-cd.c */
#define CD_SECTORS_PER_BLOCK (CD_BLOCK / ATA_SECTOR)
#define CD_PACKET 12u

struct ata_cd {
    struct ata_drive d;
    struct scsi_target scsi;
    bool packet_wait; /* the guest is to write the packet */
    bool dma;         /* PACKET was given with the DMA bit */
    uint32_t limit;   /* byte count limit */
    uint8_t transfer_mode;
};

void atapi_identify(const struct ata_cd *cd, uint8_t *buf);

#endif
