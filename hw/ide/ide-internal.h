/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to hw/ide.
 *
 *   piix3-ide.c    the PCI function, its bus-master registers
 *   bus-master.c   the PRD engine: descriptor table → mapped guest memory
 *   ide-channel.c  the cable: ports, drive selection, interrupt, software reset
 *   ide-drive.c    what both kinds of drive do: PIO blocks, media transfers, one block request
 *                  at a time
 *   ata-disk.c     ATA commands;  ata-identify.c: IDENTIFY DEVICE
 *   atapi-cd.c     the packet protocol, over a SCSI target
 */
#ifndef XENDM_IDE_INTERNAL_H
#define XENDM_IDE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <xendm/block.h>
#include <xendm/bytes.h>
#include <xendm/classes.h>
#include <xendm/dma.h>
#include <xendm/facts.h>
#include <xendm/ide.h>
#include <xendm/irq.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/recorder.h>
#include <xendm/scsi.h>
#include <xendm/turn.h>
#include <xendm/state.h>

#define IDE_SECTOR 512u
#define IDE_BUFFER 65536u /* bytes of a drive's own buffer: PIO data and command replies */
#define IDE_BUFFER_SECTORS (IDE_BUFFER / IDE_SECTOR)
#define IDE_DMA_CHUNK (1024u * 1024) /* bytes of one block request of a DMA command */
#define IDE_DMA_PIECES 256u          /* one 512-byte sector of 2-byte descriptors fits */

/* Status register. */
#define ATA_BSY 0x80
#define ATA_DRDY 0x40
#define ATA_DF 0x20
#define ATA_DSC 0x10
#define ATA_DRQ 0x08
#define ATA_ERR 0x01
#define ATA_READY (ATA_DRDY | ATA_DSC)

/* Error register. */
#define ATA_ICRC 0x80
#define ATA_UNC 0x40
#define ATA_IDNF 0x10
#define ATA_ABRT 0x04
#define ATA_DIAG_PASSED 0x01

/* Device register. */
#define ATA_DEVICE_LBA 0x40
#define ATA_DEVICE_DEV 0x10
#define ATA_DEVICE_OBSOLETE 0xa0 /* read as ones */

/* Device control register. */
#define ATA_CONTROL_NIEN 0x02
#define ATA_CONTROL_SRST 0x04
#define ATA_CONTROL_HOB 0x80

/* Bus-master command and status. */
#define BM_START 0x01
#define BM_TO_MEMORY 0x08
#define BM_ACTIVE 0x01
#define BM_ERROR 0x02
#define BM_INTERRUPT 0x04
#define BM_DRIVE_DMA 0x60

struct ide_channel;
struct ide_drive;

/* Where the engine is in the descriptor table. */
struct ide_bm_cursor {
    uint32_t next;          /* address of the descriptor to fetch next */
    uint32_t address, left; /* rest of the current one */
    uint32_t fetched;       /* descriptors so far */
    bool last;              /* the current one had the end-of-table bit */
};

struct ide_bm {
    uint8_t command, status;
    uint32_t table;
    struct ide_bm_cursor cursor;
    struct ide_bm_cursor chunk_start; /* to do a failed chunk again */
    struct ide_drive *client;         /* the drive that asks for DMA */
    bool stopping; /* the guest cleared Start while the host works on its memory */
    /* where the descriptor table or a buffer met the last error; for the log */
    uint32_t bad_address;
};

/* A chunk that is being put together, maybe over several turns of the loop. */
struct ide_gather {
    struct dma_list *list;
    uint32_t total, keep;       /* bytes in the list; of whole sectors */
    struct ide_bm_cursor whole; /* behind the last whole sector */
};

struct ide_channel {
    struct ide_controller *controller;
    unsigned number; /* 0 primary, 1 secondary */
    struct ide_drive *drive[2];
    uint8_t select; /* 0 or 1: bit DEV as last written */
    uint8_t control;
    struct irq irq;
    struct region command_ports, control_port;
    struct ide_bm bm;
};

struct ide_controller {
    struct pci_device pci;
    struct ide_channel channel[2];
    /* IDETIM of both, for S3: the bus' reset comes before ours */
    uint8_t timing[4];
};

/* What a drive is doing. Saved: do not renumber. */
enum ide_phase {
    IDE_IDLE = 0,
    IDE_PIO_IN = 1,    /* DRQ: the guest reads buffer[pos, drq_end) */
    IDE_PIO_OUT = 2,   /* DRQ: the guest writes it */
    IDE_MEDIA_IN = 3,  /* BSY: the next sectors of a PIO command are read into the buffer */
    IDE_MEDIA_OUT = 4, /* BSY: buffer[media_pos, data_end) is written */
    IDE_DMA = 5,       /* the bus master moves the data, when the guest has started it */
    IDE_FLUSH = 6,     /* BSY */
    IDE_DISCARD = 7,   /* BSY: ranges in buffer[pos, data_end) are discarded */
};

enum ide_unplug {
    UNPLUG_NO,
    UNPLUG_QUIET, /* what is in flight comes back first */
    UNPLUG_FLUSH,
};

struct ide_drive_ops {
    bool packet; /* ATAPI */
    void (*command)(struct ide_drive *d, uint8_t code);
    /* Signature and power-on or reset state; I/O was cancelled. `hard`: power was lost. */
    void (*reset)(struct ide_drive *d, bool hard);
    /* How many bytes from pos make the next DRQ block (1 .. data_end - pos); sets what registers
     * say of it. */
    uint32_t (*drq_block)(struct ide_drive *d);
    /* Most sectors to be read from the medium at once; NULL: the buffer full. */
    uint32_t (*media_most)(struct ide_drive *d);
    /* Sectors of the medium have come into buffer[0, data_end). True: it goes on itself. */
    bool (*media_read)(struct ide_drive *d);
    /* All data of the command was moved. */
    void (*finish)(struct ide_drive *d);
    /* A buffer of the guest's, that is not for the medium, has arrived in buffer[0, length). */
    void (*buffer_in)(struct ide_drive *d, uint32_t length);
    /* The host failed at sector d->lba. */
    void (*fail)(struct ide_drive *d, enum block_op op, int error);
    /* Next range of IDE_DISCARD: false when there are no more. */
    bool (*discard_next)(struct ide_drive *d, uint64_t *sector, uint32_t *count);
};

struct ide_drive {
    struct device dev;

    /* Properties. */
    struct block *block;
    struct block_queue *queue; /* NULL without block */
    uint32_t bus, unit;
    char *serial, *model, *firmware, *controller;

    const struct ide_drive_ops *ops;
    struct ide_channel *channel; /* NULL: not attached, or unplugged */
    bool unplugged;

    /* Registers as the guest wrote them: [0] last, [1] the value before (HOB). */
    uint8_t feature[2], count[2], lba_low[2], lba_mid[2], lba_high[2];
    uint8_t device, status, error;
    bool intrq; /* interrupt pending in the drive */

    /* The command in progress. */
    uint8_t phase;
    bool media; /* data comes from or goes to the medium, otherwise only the buffer */
    bool write;
    bool careful;         /* a chunk failed: go sector by sector to find out which */
    uint64_t lba;         /* next sector (of 512 bytes) to be moved from or to the medium */
    uint32_t left;        /* sectors not moved yet */
    uint32_t drq_sectors; /* of a DRQ block of the medium: 1 .. ATA_MULTIPLE_MAX, a power of two */
    uint32_t pos, drq_end, data_end; /* in buffer */
    uint32_t media_pos; /* in buffer: written by IDE_MEDIA_OUT, filled by IDE_MEDIA_IN if careful */
    uint8_t *buffer;    /* IDE_BUFFER */

    /* The one request at the back end. */
    struct block_request req;
    struct iovec iov;
    uint32_t chunk; /* sectors */
    bool in_flight, quiesced;
    struct dma_list *list; /* guest memory of a chunk of DMA … */
    bool gathering;        /* … that is being put together … */
    bool mapped;           /* … or in flight */
    struct ide_gather gather;
    guint slice_source; /* goes on with what was left when its time was over */

    /*
     * The command was ended (reset, unplugged) while its request was in flight. The drive is busy
     * until that is back, whatever its registers say already: then it has this status, and raises
     * an interrupt if it should have.
     */
    bool cancelling;
    uint8_t quiet_status;
    bool quiet_interrupt;
    void (*looked)(struct ide_drive *d, int error);
    uint8_t unplugging;    /* enum ide_unplug */
    struct device *holder; /* of the guest's access that unplugs us */

    /* The buffer in saved state. */
    void *saved;
    uint32_t saved_length;

    uint64_t commands, pio_sectors, dma_sectors; /* for describe() */
    uint32_t failures;                           /* of the host */
};

/* bus-master.c */
void ide_bm_reset(struct ide_channel *ch);
/* For a DMA command: false when the other drive of the channel has one. Until the release. */
bool ide_bm_claim(struct ide_channel *ch, struct ide_drive *d);
void ide_bm_release(struct ide_channel *ch, const struct ide_drive *d);
bool ide_bm_active(const struct ide_channel *ch, const struct ide_drive *d); /* may move data */
void ide_bm_stop(struct ide_channel *ch);  /* the engine stops where it is */
void ide_bm_error(struct ide_channel *ch); /* … and says so */
void ide_bm_interrupt(struct ide_channel *ch);
void ide_bm_idle(struct ide_channel *ch, const struct ide_drive *d); /* a chunk has ended */
void ide_bm_master_off(struct ide_channel *ch); /* in the function's command register */
void ide_bm_restore(struct ide_channel *ch, struct ide_drive *d);
uint8_t ide_bm_read(const struct ide_channel *ch, unsigned reg);
void ide_bm_write(struct ide_channel *ch, unsigned reg, uint8_t value);
/*
 * Puts guest memory for at most `want` bytes of sectors into the list: begin, then gather until it
 * does not return -EINPROGRESS: enough for this turn of the loop. Result: bytes, a multiple of
 * IDE_SECTOR; 0: the table ended first; or -errno. Only in the first case the list is to be ended.
 */
void ide_bm_begin(struct ide_channel *ch, struct ide_gather *g, struct dma_list *list,
                  enum dma_direction direction);
int64_t ide_bm_gather(struct ide_channel *ch, struct ide_gather *g, uint32_t want);
void ide_bm_rewind(struct ide_channel *ch); /* to where the last chunk began */
/*
 * Copies between `buf` and guest memory; bytes moved or -errno. Less than `len`: the table `ended`,
 * or it is enough for this turn.
 */
int64_t ide_bm_copy(struct ide_channel *ch, void *buf, uint32_t len, enum dma_direction direction,
                    bool *ended);
bool ide_bm_exhausted(const struct ide_bm *bm);

/* ide-channel.c */
extern const struct region_ops ide_command_ops, ide_control_ops;
void ide_channel_update_irq(struct ide_channel *ch);
void ide_channel_reset(struct ide_channel *ch);

/* ide-drive.c */
int ide_drive_realize(struct ide_drive *d, const struct ide_drive_ops *ops, GError **err);
void ide_drive_unrealize(struct ide_drive *d);
void ide_drive_reset(struct ide_drive *d, bool hard);
/* The command ends here; what it has in flight is called back. */
void ide_drive_cancel(struct ide_drive *d);
void ide_drive_hold_reset(struct ide_drive *d); /* busy, until ide_drive_reset() */
/* Calls back a chunk of DMA; true if that takes time. */
bool ide_drive_dma_back(struct ide_drive *d);
void ide_drive_unplug(struct ide_drive *d);
void ide_drive_quiesce(struct device *dev);
bool ide_drive_busy(struct device *dev);
void ide_drive_resume(struct device *dev);
void ide_drive_describe(struct ide_drive *d, struct facts *to);
uint64_t ide_drive_sectors(const struct ide_drive *d);

void ide_drive_raise(struct ide_drive *d);            /* interrupt */
void ide_drive_raise_when_quiet(struct ide_drive *d); /* … once the reset is over */
void ide_drive_done(struct ide_drive *d);             /* command ended well: ready, interrupt */
void ide_drive_abort(struct ide_drive *d, uint8_t error);
/* After lba, left, write were set. */
void ide_drive_media_pio(struct ide_drive *d);
void ide_drive_media_dma(struct ide_drive *d);
/* buffer[0, length) to or from the guest. */
void ide_drive_buffer_pio(struct ide_drive *d, uint32_t length, bool write, bool interrupt);
void ide_drive_buffer_dma(struct ide_drive *d, uint32_t length, bool write);
void ide_drive_media_next(struct ide_drive *d); /* reads on, into the buffer */
/* What was read, or became of it; then ops->finish, with `left` as it is. */
void ide_drive_media_buffer_dma(struct ide_drive *d, uint32_t length);
void ide_drive_flush(struct ide_drive *d); /* then ops->finish */
void ide_drive_discard(struct ide_drive *d,
                       uint32_t length); /* buffer[0, length); then ops->finish */
/*
 * Reads the first sector into the buffer before the first command: `done`, maybe inside; else the
 * drive is busy until then.
 */
void ide_drive_look(struct ide_drive *d, void (*done)(struct ide_drive *d, int error));
void ide_drive_step(struct ide_drive *d);                  /* goes on, if nothing is in flight */
void ide_drive_pio_done(struct ide_drive *d);              /* pos reached drq_end */
void ide_text(uint8_t *to, size_t size, const char *text); /* padded with spaces */

/* ata-disk.c, ata-identify.c */
#define ATA_MULTIPLE_MAX 16u
#define ATA_TRIM_BLOCKS 8u /* of 64 ranges each */

/* State: the fields of struct ide_drive, the first member of both kinds. */
#define IDE_DRIVE_STATE \
    STATE_FIELD_BOOL(struct ide_drive, unplugged), STATE_FIELD_BYTES(struct ide_drive, feature), \
        STATE_FIELD_BYTES(struct ide_drive, count), STATE_FIELD_BYTES(struct ide_drive, lba_low), \
        STATE_FIELD_BYTES(struct ide_drive, lba_mid), \
        STATE_FIELD_BYTES(struct ide_drive, lba_high), STATE_FIELD_U8(struct ide_drive, device), \
        STATE_FIELD_U8(struct ide_drive, status), STATE_FIELD_U8(struct ide_drive, error), \
        STATE_FIELD_BOOL(struct ide_drive, intrq), \
        STATE_FIELD_U8(struct ide_drive, phase, .max = IDE_DISCARD), \
        STATE_FIELD_BOOL(struct ide_drive, media), STATE_FIELD_BOOL(struct ide_drive, write), \
        STATE_FIELD_BOOL(struct ide_drive, careful), \
        STATE_FIELD_U64(struct ide_drive, lba, .max = UINT64_C(1) << 48), \
        STATE_FIELD_U32(struct ide_drive, left), \
        STATE_FIELD_U32(struct ide_drive, drq_sectors, .min = 1, .max = ATA_MULTIPLE_MAX), \
        STATE_FIELD_U32(struct ide_drive, pos, .max = IDE_BUFFER), \
        STATE_FIELD_U32(struct ide_drive, drq_end, .max = IDE_BUFFER), \
        STATE_FIELD_U32(struct ide_drive, data_end, .max = IDE_BUFFER), \
        STATE_FIELD_U32(struct ide_drive, media_pos, .max = IDE_BUFFER), \
    { \
        .name = "buffer", .type = STATE_VAR_BYTES, .offset = offsetof(struct ide_drive, saved), \
        .count = IDE_BUFFER, .length_offset = offsetof(struct ide_drive, saved_length) \
    }
void ide_drive_pre_save(struct ide_drive *d);
bool ide_drive_check_state(const struct ide_drive *d, GError **err);
void ide_drive_post_load(struct ide_drive *d);

#define IDE_DRIVE_PROPERTIES(model_name) \
    {.name = "drive", \
     .type = PROP_BACKEND, \
     .kind = BACKEND_BLOCK, \
     .offset = offsetof(struct ide_drive, block), \
     .help = "image"}, \
        {.name = "bus", \
         .type = PROP_UINT32, \
         .offset = offsetof(struct ide_drive, bus), \
         .max = 1, \
         .help = "channel"}, \
        {.name = "unit", \
         .type = PROP_UINT32, \
         .offset = offsetof(struct ide_drive, unit), \
         .max = 1, \
         .help = "0 master, 1 slave"}, \
        {.name = "serial", \
         .type = PROP_STRING, \
         .offset = offsetof(struct ide_drive, serial), \
         .help = "up to 20 characters; XM00001 … by place when not given"}, \
        {.name = "model", \
         .type = PROP_STRING, \
         .offset = offsetof(struct ide_drive, model), \
         .def = model_name, \
         .help = "up to 40 characters"}, \
        {.name = "ver", \
         .type = PROP_STRING, \
         .offset = offsetof(struct ide_drive, firmware), \
         .def = "1.0", \
         .help = "firmware revision, up to 8 characters"}, \
    { \
        .name = "controller", .type = PROP_STRING, \
        .offset = offsetof(struct ide_drive, controller), .def = IDE_CONTROLLER_ID, \
        .help = "id of the controller" \
    }

struct ide_disk {
    struct ide_drive d;
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

void ata_identify(const struct ide_disk *disk, uint8_t *buf);
/* ata-geometry.c. `sector`: the first one */
void ata_geometry_by_size(uint64_t sectors, struct ide_geometry *g);
void ata_geometry_by_table(const uint8_t *sector, uint64_t sectors, struct ide_geometry *g);
#define ATA_DEFAULT_HEADS 16u
#define ATA_DEFAULT_SECTORS 63u

/* atapi-cd.c */
#define CD_SECTORS_PER_BLOCK (CD_BLOCK / IDE_SECTOR)
#define CD_PACKET 12u

struct ide_cd {
    struct ide_drive d;
    struct scsi_target scsi;
    bool packet_wait; /* the guest is to write the packet */
    bool dma;         /* PACKET was given with the DMA bit */
    uint32_t limit;   /* byte count limit */
    uint8_t transfer_mode;
};

void atapi_identify(const struct ide_cd *cd, uint8_t *buf);

#endif
