/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ATA: drives (ide-hd, ide-cd), and what they are on: a cable of the PIIX3's, a port of an AHCI
 * adapter. Sources: ATA/ATAPI-6 (T13/1410D); ACS-2; Serial ATA 2.6 for what differs there.
 *
 * A drive has registers, executes one command at a time, and moves data by way of its host:
 *
 *   the host sets registers → ata_drive_command() → the drive is busy → …
 *     DRQ and phase PIO_IN, PIO_OUT: the host moves buffer[pos, drq_end), then ata_drive_pio_done()
 *     phase DMA: the drive asks the host for guest memory (gather, copy)
 *   … → neither BSY nor DRQ: over; ops->interrupt() was called, but for the last data of PIO_IN
 *
 * Commands that are queued (NCQ) are the host's to carry out, on the drive's block queue.
 */
#ifndef XENDM_ATA_H
#define XENDM_ATA_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include <xendm/block.h>
#include <xendm/bus.h>
#include <xendm/device.h>
#include <xendm/dma.h>
#include <xendm/later.h>

#define ATA_SECTOR 512u
#define ATA_BUFFER 65536u /* bytes of a drive's own buffer: PIO data and command replies */

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

struct ata_drive;
struct ata_host;
struct facts;

/* ---- hosts ---- */

/* Called by the drive. `error` -errno of dma.h; those after `interrupt` only in phase DMA. */
struct ata_host_ops {
    /* The drive interrupts: the command is over, or data of PIO is there or wanted. */
    void (*interrupt)(struct ata_host *h, struct ata_drive *d);
    /* `d` is gone, or no longer pending: the line follows. NULL: nothing. */
    void (*quiet)(struct ata_host *h);
    /* The engine is the drive's from here on: false when the other has it. Until the release. */
    bool (*claim)(struct ata_host *h, struct ata_drive *d);
    void (*release)(struct ata_host *h, const struct ata_drive *d);
    bool (*active)(const struct ata_host *h, const struct ata_drive *d); /* may move data */
    /* A chunk is over; it failed on the host's side. */
    void (*idle)(struct ata_host *h, const struct ata_drive *d);
    void (*stop)(struct ata_host *h);
    /* The guest's memory failed; the command is aborted after it. */
    void (*error)(struct ata_host *h, int error);
    /* The guest's list ended before the data. */
    void (*starved)(struct ata_host *h, struct ata_drive *d);
    /*
     * Puts guest memory for at most `want` bytes of sectors into the drive's list: begin, then
     * gather until it does not return -EINPROGRESS: enough for this turn of the loop. Result:
     * bytes, a multiple of ATA_SECTOR; 0: the guest's list ended first; or -errno. Only in the
     * first case the drive's is to be ended.
     */
    void (*begin)(struct ata_host *h, struct ata_drive *d, enum dma_direction direction);
    int64_t (*gather)(struct ata_host *h, struct ata_drive *d, uint32_t want);
    void (*rewind)(struct ata_host *h); /* to where the last chunk began */
    /*
     * Copies between `buf` and guest memory; bytes moved or -errno. Less than `len`: the guest's
     * list `ended`, or it is enough for this turn.
     */
    int64_t (*copy)(struct ata_host *h, void *buf, uint32_t len, enum dma_direction direction,
                    bool *ended);
    /* The state of `d` was loaded. */
    void (*restored)(struct ata_host *h, struct ata_drive *d);
    /* Serial ATA: a drive came, or is about to go. NULL: these are told nothing. */
    void (*attached)(struct ata_host *h);
    void (*detached)(struct ata_host *h);
    /* Serial ATA: fills the NCQ command error log (ACS-2 A.14), 512 bytes; NULL: no queue. */
    void (*queue_error)(struct ata_host *h, uint8_t *page);
};

/* First member of a channel, a port. */
struct ata_host {
    struct bus bus; /* "ide.0", "ahci0.3" */
    const struct ata_host_ops *ops;
    struct device *controller;
    struct ata_drive *drive[2];
    unsigned units; /* 1 or 2 */
    unsigned first; /* number of unit 0 among the controller's; 0 is the primary master */
    bool sata;
    char *id;
    uint64_t bad_address; /* where the engine met the last error; for the log */
};

extern const struct bus_class ata_bus_class;

/* ---- for hosts: a walk over the guest's list of memory ---- */

/* A walk that takes long is left after half a millisecond: zero it, and ask at each piece. */
struct ata_slice {
    unsigned steps;
    int64_t end; /* us; 0: the clock was not looked at yet */
};
bool ata_slice_over(struct ata_slice *slice);

/* How a host finds the pieces; which it keeps in itself. */
struct ata_pieces {
    /* At most `want` bytes in one piece: 0, -ENODATA at the end of the list, or the DMA error. */
    int (*next)(struct ata_host *h, uint32_t want, uint64_t *address, uint32_t *length);
    void (*took)(struct ata_host *h, uint32_t n);
};
/* What ata_host_ops' copy does. */
int64_t ata_host_copy(struct ata_host *h, const struct ata_pieces *pieces, void *buf, uint32_t len,
                      enum dma_direction direction, bool *ended);

/* In realize and unrealize of the controller. `id` is taken over. */
void ata_host_init(struct ata_host *h, struct device *controller, char *id,
                   const struct ata_host_ops *ops, unsigned units);
void ata_host_fini(struct ata_host *h);

/* ---- drives ---- */

/* What a drive is doing. Saved: do not renumber. */
enum ata_phase {
    ATA_IDLE = 0,
    ATA_PIO_IN = 1,    /* DRQ: the guest reads buffer[pos, drq_end) */
    ATA_PIO_OUT = 2,   /* DRQ: the guest writes it */
    ATA_MEDIA_IN = 3,  /* BSY: the next sectors of a PIO command are read into the buffer */
    ATA_MEDIA_OUT = 4, /* BSY: buffer[media_pos, data_end) is written */
    ATA_DMA = 5,       /* the bus master moves the data, when the guest has started it */
    ATA_FLUSH = 6,     /* BSY */
    ATA_DISCARD = 7,   /* BSY: ranges in buffer[pos, data_end) are discarded */
};

enum ata_unplug {
    UNPLUG_NO,
    UNPLUG_QUIET, /* what is in flight comes back first */
    UNPLUG_FLUSH,
};

/* First member of ide-hd and ide-cd. The host uses what is above "the command in progress". */
struct ata_drive {
    struct device dev;

    /* Properties. */
    struct block *block;
    struct block_queue *queue; /* NULL without block */
    uint32_t unit;
    char *serial, *model, *firmware;

    const struct ata_drive_ops *ops; /* hw/ata's */
    bool packet;                     /* ATAPI */
    struct ata_host *host;           /* NULL: not attached, or unplugged */
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
    uint32_t media_pos; /* in buffer: written by ATA_MEDIA_OUT, filled by ATA_MEDIA_IN if careful */
    uint8_t *buffer;    /* ATA_BUFFER */

    /* The one request at the back end. */
    struct block_request req;
    struct iovec iov;
    uint32_t chunk; /* sectors */
    bool in_flight, quiesced;
    struct dma_list *list; /* guest memory of a chunk of DMA … */
    bool gathering;        /* … that is being put together … */
    bool mapped;           /* … or in flight */
    struct later slice;    /* goes on with what was left when its time was over */

    /*
     * The command was ended (reset, unplugged) while its request was in flight. The drive is busy
     * until that is back, whatever its registers say already: then it has this status, and raises
     * an interrupt if it should have.
     */
    bool cancelling;
    uint8_t quiet_status;
    bool quiet_interrupt;
    void (*looked)(struct ata_drive *d, int error);
    unsigned queued;       /* the host's requests on our queue (NCQ) */
    uint8_t unplugging;    /* enum ata_unplug */
    struct device *holder; /* of the guest's access that unplugs us */

    /* The buffer in saved state. */
    void *saved;
    uint32_t saved_length;

    uint64_t commands, pio_sectors, dma_sectors; /* for describe() */
    uint32_t failures;                           /* of the host */
};

static inline struct ata_drive *ata_drive_of(struct device *dev)
{
    return DEVICE_CAST(struct ata_drive, dev);
}

void ata_drive_command(struct ata_drive *d, uint8_t code);
/* An error of the host's: ends the command with it. */
void ata_drive_abort(struct ata_drive *d, uint8_t error);
void ata_drive_pio_done(struct ata_drive *d); /* pos reached drq_end */
void ata_drive_step(struct ata_drive *d);     /* goes on, if nothing is in flight */
void ata_drive_reset(struct ata_drive *d, bool hard);
/* The command ends here; what it has in flight is called back. */
void ata_drive_cancel(struct ata_drive *d);
void ata_drive_hold_reset(struct ata_drive *d); /* busy, until ata_drive_reset() */
/* Calls back a chunk of DMA; true if that takes time. */
bool ata_drive_dma_back(struct ata_drive *d);
void ata_drive_raise_when_quiet(struct ata_drive *d); /* an interrupt, once the reset is over */
uint64_t ata_drive_sectors(const struct ata_drive *d);
bool ata_drive_caches(const struct ata_drive *d); /* writes are done before they are safe */
bool ata_drive_busy(struct device *dev);

#endif
