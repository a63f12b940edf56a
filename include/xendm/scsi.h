/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SCSI: a disk or a CD drive as a target, behind whatever carries its commands: the packets of
 * ATAPI, USB mass storage, a host adapter. Sources: SPC-3, SBC-2, MMC-3, SFF-8020i 2.6.
 *
 * Two layers, of which an initiator takes one.
 *
 * The target understands a command at once, without moving data or waiting: scsi_command() says
 * which step follows and leaves in the target, until the next command, what that is about. An
 * initiator with an engine of its own for media (ATAPI) does the step its way.
 *
 * The task does the steps for an initiator that has none. It keeps of its command what it needs, so
 * that one target may have many at a time. Data moves between the medium and memory that the
 * initiator names, in pieces of any length:
 *
 *   scsi_task_start → phase → (scsi_task_move → phase)* → SCSI_TASK_ENDED: status
 *
 * After each call the phase says what comes next. While it is SCSI_TASK_WORKING the host is at
 * work, and `changed` is called from the main loop when that is over; nothing is called from inside
 * scsi_task_*(). So there is no answer that comes twice, nor one that comes too early.
 */
#ifndef XENDM_SCSI_H
#define XENDM_SCSI_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include <xendm/block.h>
#include <xendm/bus.h>
#include <xendm/device.h>

#define SCSI_SECTOR 512u /* what steps are counted in, whatever a block of the target is */
#define SCSI_CDB_MAX 16u
#define SCSI_BUFFER 65536u /* bytes of a target's buffer: replies and parameters */
#define SCSI_SENSE 18u     /* bytes of fixed-format sense data */

#define CD_BLOCK 2048u
#define CD_RAW 2352u /* bytes of a sector with all that is around its data */

enum scsi_status {
    SCSI_GOOD = 0x00,
    SCSI_CHECK_CONDITION = 0x02,
    SCSI_TASK_ABORTED = 0x40,
};

/* Sense keys. */
#define SENSE_NOT_READY 0x02
#define SENSE_MEDIUM_ERROR 0x03
#define SENSE_HARDWARE_ERROR 0x04
#define SENSE_ILLEGAL_REQUEST 0x05
#define SENSE_UNIT_ATTENTION 0x06
#define SENSE_DATA_PROTECT 0x07
#define SENSE_ABORTED 0x0b

/* ---- target ---- */

/* Saved by tasks: do not renumber. */
enum scsi_step {
    SCSI_DONE = 0,       /* over, status GOOD */
    SCSI_FAILED = 1,     /* over, CHECK CONDITION: there is sense data */
    SCSI_REFUSED = 2,    /* it moves data, and the initiator said that it cannot */
    SCSI_REPLY = 3,      /* buffer[0, length) goes to the initiator */
    SCSI_PARAMETERS = 4, /* buffer[0, length) comes from it, then scsi_parameters() */
    SCSI_READ = 5,       /* [sector, sector + sectors) of the medium; `raw`: see cd_raw_expand() */
    SCSI_WRITE = 6,      /* the same, then SCSI_FLUSH unless `write_cache` and not `fua` */
    SCSI_FLUSH = 7,
    SCSI_DISCARD = 8, /* the extents of scsi_discard_next(), whose list is in the buffer */
};

enum cd_change {
    CD_SAME = 0,
    CD_SHOW_EMPTY = 1,   /* a medium came: first say that none is there … */
    CD_SHOW_CHANGED = 2, /* … then that it may have changed */
};

struct scsi_type; /* hw/scsi's */
extern const struct scsi_type scsi_disk_type, scsi_cd_type;

/* Part of a device, which saves its state: by STATE_SCSI_TARGET, or by fields of its own. */
struct scsi_target {
    const struct scsi_type *type;
    struct device *dev;
    struct block *block;                   /* NULL: never a medium */
    const char *model, *firmware, *serial; /* the device's properties */
    uint8_t *buffer;                       /* SCSI_BUFFER bytes of the device's; see below */
    bool atapi;                            /* INQUIRY says so, and there are no VPD pages */
    /* ASC << 8 | ASCQ of what has changed, and is told as unit attention, too. NULL: who cares. */
    void (*news)(struct scsi_target *t, uint16_t asc);
    /* The LUNs of REPORT LUNS, eight bytes each: how many bytes, at most `most`. NULL: LUN 0. */
    uint32_t (*luns)(const struct scsi_target *t, uint8_t *to, uint32_t most);

    uint8_t cdb[SCSI_CDB_MAX]; /* the command, zeros behind it */
    uint8_t sense_key, asc, ascq;
    uint16_t attention; /* ASC and ASCQ of a unit attention that is to be told; 0: none */
    bool write_cache;   /* disks; the host's page cache: on after a reset */
    bool tray_open, tray_locked;
    uint8_t changed; /* enum cd_change */
    bool event_new, event_eject;

    /* What the last step is about. */
    uint32_t length;
    uint64_t sector;
    uint32_t sectors;
    bool raw, fua;
};

/* After the fields up to `atapi` were set. Listens to the block. */
void scsi_target_init(struct scsi_target *t);
void scsi_target_fini(struct scsi_target *t);
/* `hard`: power was lost, too. The tray and the medium stay as they are. */
void scsi_target_reset(struct scsi_target *t, bool hard);
void scsi_target_describe(const struct scsi_target *t, struct facts *to);
extern const struct state_desc scsi_target_state;
#define STATE_SCSI_TARGET(st, f) STATE_FIELD_STRUCT(st, f, 1, &scsi_target_state)

/*
 * Begins a command. `can_move` false: the initiator has no way for data, and what could move some
 * is SCSI_REFUSED.
 */
enum scsi_step scsi_command(struct scsi_target *t, const uint8_t *cdb, unsigned length,
                            bool can_move);
/* The parameters have come into buffer[0, length). */
enum scsi_step scsi_parameters(struct scsi_target *t, uint32_t length);
/* The same for a logical unit that is not there, where `t` is another of its target's. */
enum scsi_step scsi_absent_command(struct scsi_target *t, uint32_t lun, const uint8_t *cdb,
                                   unsigned length);
/* Extents of SCSI_DISCARD from `*at` on, 0 at first, in its list. False: there are no more. */
bool scsi_discard_next(const struct scsi_target *t, const uint8_t *list, uint32_t length,
                       uint32_t *at, uint64_t *sector, uint32_t *sectors);
/* The host failed: sense data. -errno. Returns SCSI_FAILED. */
enum scsi_step scsi_medium_failed(struct scsi_target *t, enum block_op op, int error);
/* Sense data in fixed format, SCSI_SENSE bytes. */
void scsi_sense(const struct scsi_target *t, uint8_t *buf);

/* SCSI_READ with `raw`: `buffer` has the data of `count` blocks, and gets them whole. */
void cd_raw_expand(uint8_t *buffer, uint32_t block, uint32_t count);

/*
 * The toolstack wants to take out the medium of a CD drive; see ide.h, whose words these are.
 */
int scsi_cd_ask_eject(struct scsi_target *t, bool force, GError **err);
int scsi_cd_request_eject(struct scsi_target *t, bool force, GError **err);

/* ---- task ---- */

/* Saved: do not renumber. */
enum scsi_task_phase {
    SCSI_TASK_IDLE = 0,     /* none under way */
    SCSI_TASK_DATA_IN = 1,  /* `left` bytes for the initiator: scsi_task_move() */
    SCSI_TASK_DATA_OUT = 2, /* … from it */
    SCSI_TASK_WORKING = 3,  /* `changed` will be called */
    SCSI_TASK_ENDED = 4,    /* `status` is there; idle with the next start */
};

struct scsi_task {
    void (*changed)(void *opaque); /* the phase is another than SCSI_TASK_WORKING */
    void *opaque;
    struct scsi_target *target;
    struct block_queue *queue; /* NULL: no block */

    uint8_t phase, status, step;
    uint64_t left;  /* bytes that the command has still to move */
    uint32_t moved; /* bytes, by the last scsi_task_move() */
    /* Of the CHECK CONDITION that it ended with. */
    uint8_t sense_key, asc, ascq;

    /* Private from here on. */
    uint8_t cdb[SCSI_CDB_MAX];
    bool raw, fua;
    uint64_t sector;
    uint32_t sectors; /* not read, or not written, yet */
    uint32_t at;      /* in the reply, the parameters, the list of extents */
    /*
     * The reply, the parameters, the list; of the medium, what is no whole sector of the
     * initiator's memory, or not there as it is on the medium.
     */
    uint8_t *bounce; /* SCSI_BOUNCE bytes */
    uint32_t bounce_at, bounce_end;
    struct iovec *iov, *slice; /* of the move; of the request. BLOCK_IOV_MAX each */
    unsigned niov;
    uint32_t want;
    struct block_request req;
    struct iovec one;
    bool in_flight, bouncing, cancelled, quiesced, recalled;
    bool guests; /* the move's memory is a list's (dma.h), of which a recording has no bytes */
    uint32_t failures; /* of the host */
    uint32_t length;   /* of the reply, the parameters, the list */
    void *saved;       /* for the state: what is in the bounce */
    uint32_t saved_length;
};

#define SCSI_BOUNCE SCSI_BUFFER

void scsi_task_init(struct scsi_task *k, void (*changed)(void *opaque), void *opaque);
void scsi_task_fini(struct scsi_task *k); /* not busy */
/* Whose commands it does from now on; idle, or just loaded. `queue`: of the target's block. */
void scsi_task_use(struct scsi_task *k, struct scsi_target *target, struct block_queue *queue);

void scsi_task_start(struct scsi_task *k, const uint8_t *cdb, unsigned length);
/* The command is for a logical unit that the target does not have. */
void scsi_task_start_absent(struct scsi_task *k, uint32_t lun, const uint8_t *cdb, unsigned length);
/*
 * With several tasks of one target: the initiator learns now that this one has failed, so that its
 * sense data are the target's.
 */
void scsi_task_tell_sense(struct scsi_task *k);
/* The sense data go with the status: SCSI_SENSE bytes, which the target forgets. */
void scsi_task_take_sense(struct scsi_task *k, uint8_t *buf);
/*
 * Moves at most `length` bytes between the medium and the iovec of at most BLOCK_IOV_MAX elements,
 * whose array is copied and whose memory is in use until the phase is another than WORKING. `moved`
 * says how many it became: less than asked for when the command has no more, when it failed, or
 * when the machine stops. Only in a phase of data, and not between quiesce and resume. Memory of a
 * list of dma.h's is for whole sectors that go out: what the target looks at has to be a copy, so
 * that a recording has it.
 */
void scsi_task_move(struct scsi_task *k, const struct iovec *iov, unsigned niov, uint32_t length);
/* In a phase of data: the initiator moves no more; the command goes on to its end without. */
void scsi_task_cut(struct scsi_task *k);
/*
 * Ends the command: idle at once, or WORKING until its request is back (`changed`), and idle then.
 */
void scsi_task_cancel(struct scsi_task *k);

/* For the device's quiesce, busy, resume and save. */
void scsi_task_quiesce(struct scsi_task *k);
/*
 * After that: asks the host to give back what it works on, which is then begun again when resumed;
 * what cannot be begun again ends first.
 */
void scsi_task_recall(struct scsi_task *k);
bool scsi_task_busy(const struct scsi_task *k);
void scsi_task_resume(struct scsi_task *k);
extern const struct state_desc scsi_task_state;
#define STATE_SCSI_TASK(st, f) STATE_FIELD_STRUCT(st, f, 1, &scsi_task_state)

/* ---- units (scsi-hd, scsi-cd) on the bus of a host adapter ---- */

#define SCSI_IDS 256u
#define SCSI_LUNS 16384u /* as many as flat space addressing has (SAM-3 4.9.7) */
#define SCSI_ANY UINT32_MAX

struct scsi_host;

struct scsi_unit {
    struct device dev;
    /* Properties. */
    struct block *block;
    char *model, *firmware, *serial;
    uint32_t channel;
    uint32_t id, lun; /* SCSI_ANY: the first that is free, until it is on a bus */

    struct scsi_target target;
    struct block_queue *queue; /* for the tasks; NULL without block */
    struct scsi_host *host;    /* NULL: not on its bus, or gone */
    struct scsi_unit *next;    /* of the same target; by LUN */
    unsigned tasks;            /* kept by the host: those that it has not freed */
    uint32_t wanted;           /* the same: what its driver asked to be told of it; saved */
    bool unplugged;            /* by the guest's PV driver */

    struct block_request flush;
    bool flushing;
    struct device *holder; /* of the guest's access that unplugs it */
};

struct scsi_host_ops {
    /* `u` is gone: its tasks are to be cancelled. */
    void (*gone)(struct scsi_host *h, struct scsi_unit *u);
    /* `u` has come; something of it has changed (see the target's `news`). NULL: nothing to do. */
    void (*came)(struct scsi_host *h, struct scsi_unit *u);
    void (*news)(struct scsi_host *h, struct scsi_unit *u, uint16_t asc);
};

/* Embedded in an adapter; one bus, whose own id (SCSI_ANY: it has none) no unit has. */
struct scsi_host {
    struct bus bus;
    const struct scsi_host_ops *ops;
    struct device *controller;
    char *id; /* of the bus */
    uint32_t ids, luns, own_id;
    struct scsi_unit *unit[SCSI_IDS]; /* of each target, the one with the lowest LUN */
};

extern const struct bus_class scsi_bus_class;

/* In realize and unrealize of the adapter. */
void scsi_host_init(struct scsi_host *h, struct device *controller, uint32_t ids, uint32_t luns,
                    uint32_t own_id, const struct scsi_host_ops *ops);
void scsi_host_fini(struct scsi_host *h);
struct scsi_unit *scsi_host_unit(const struct scsi_host *h, uint32_t id, uint32_t lun);
/* A LUN as REPORT LUNS has it: eight bytes (SAM-3 4.9.5, 4.9.7). */
void scsi_lun_store(uint8_t *to, uint32_t lun);

#endif
