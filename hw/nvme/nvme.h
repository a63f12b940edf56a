/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to hw/nvme. How a command goes:
 *
 *   doorbell → fetch (queue.c: copied once into a request) → its `run` (io.c, admin.c) → a piece of
 *   block I/O → `run` again … → nvme_complete() → completion queue → interrupt
 *
 * `run` is called at the start, after each piece, and after a restart; it looks at the command and
 * at `done` and `stage`, checks all of it anew, and either completes the request or submits the
 * next piece. So a request can be called back from the host at any time, kept as 64 bytes and two
 * numbers, and begun again in another process: what was not completed, the guest knows nothing of.
 */
#ifndef HW_NVME_NVME_H
#define HW_NVME_NVME_H

#include <xendm/block.h>
#include <xendm/bus.h>
#include <xendm/bytes.h>
#include <xendm/dma.h>
#include <xendm/later.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/recorder.h>
#include <xendm/regs.h>

#include "spec.h"

#define NVME_IO_QUEUES 64u
#define NVME_QUEUES (NVME_IO_QUEUES + 1u)
#define NVME_VECTORS NVME_QUEUES
#define NVME_ENTRIES_MAX 2048u       /* of an I/O queue */
#define NVME_ADMIN_ENTRIES_MAX 4096u /* as AQA can say it */
#define NVME_SQE 64u
#define NVME_CQE 16u
#define NVME_NAMESPACES 256u
#define NVME_MDTS_MAX 7u /* pages of 4 KiB, as a power of two: 512 KiB */
#define NVME_EVENT_REQUESTS 4u
#define NVME_ABORTS 4u
#define NVME_ERRORS 4u /* entries of the error log */

/* Commands that were fetched and are not completed; the rest waits in the guest's queues. */
#define NVME_REQUESTS_IO 120u
#define NVME_REQUESTS 128u
#define NVME_INTERNAL 0xffffu /* in place of a queue's id: the controller's own request */

#define NVME_PIECES 136u        /* views that a request's list holds: 512 KiB in pages, and some */
#define NVME_BOUNCE (16u << 10) /* what COMPARE and VERIFY look at, at a time */

struct nvme;
struct nvme_request;

/* ---- namespaces (namespace.c) ---- */

struct nvme_ns {
    struct nvme *n;     /* NULL: not attached, or gone */
    struct device *dev; /* whose name it has in the log: the controller's, or its own */
    uint32_t nsid;
    struct block *block;
    struct block_queue *queue;
    uint32_t logical_block_size; /* property */
    char *uuid_text;             /* property; NULL: none */
    uint8_t uuid[16];
    uint8_t shift; /* of a logical block, as the guest may have formatted it: 9 or 12 */
    bool formatting;
    uint32_t in_flight;
    uint64_t failures; /* of the host */
    /* of the SMART log page */
    uint64_t reads, writes, bytes_read, bytes_written;
    struct block_request flush; /* before an unplugging */
    enum { NVME_PLUGGED, NVME_WAITS, NVME_FLUSHES, NVME_UNPLUGGED } unplug;
};

#define NVME_NS_STATE(st, f) \
    STATE_FIELD_U8(st, f.shift, .min = 9, .max = 12), STATE_FIELD_U64(st, f.reads), \
        STATE_FIELD_U64(st, f.writes), STATE_FIELD_U64(st, f.bytes_read), \
        STATE_FIELD_U64(st, f.bytes_written)

extern const struct bus_class nvme_bus_class;
int nvme_ns_open(struct nvme_ns *ns, struct device *dev, GError **err);
void nvme_ns_close(struct nvme_ns *ns);
void nvme_ns_attach(struct nvme_ns *ns, struct nvme *n, uint32_t nsid);
void nvme_ns_detach(struct nvme_ns *ns); /* its commands are called back */
void nvme_ns_reset(struct nvme_ns *ns);
bool nvme_ns_fits(const struct nvme_ns *saved, GError **err);
void nvme_ns_describe(const struct nvme_ns *ns, struct facts *to);
struct nvme_ns *nvme_ns_find(const struct nvme *n, uint32_t nsid);
struct nvme_ns *nvme_ns_next(const struct nvme *n, uint32_t after); /* by rising id; or NULL */
/* The guest's PV driver takes over: flushed and closed, then nvme_unplug_done(). */
void nvme_ns_unplug(struct nvme_ns *ns);

static inline uint64_t nvme_ns_blocks(const struct nvme_ns *ns)
{
    return ns->block ? block_size(ns->block) >> ns->shift : 0;
}

/* ---- queues (queue.c) ---- */

struct nvme_sq {
    bool exists, deleting;
    uint8_t priority;
    uint16_t cqid;
    uint64_t base;
    uint32_t entries, head, tail;
    struct dma_window *window; /* NULL: not yet used */
    bool hungry;               /* there may be something to fetch */
    unsigned outstanding;
    struct nvme_request *deleter; /* the command that waits for `outstanding` to be 0 */
};

struct nvme_cq {
    bool exists, interrupts, phase;
    uint16_t vector;
    uint64_t base;
    uint32_t entries, head, tail;
    struct dma_window *window;
    unsigned users;       /* submission queues */
    unsigned outstanding; /* commands that were fetched and have no entry yet */
    unsigned waiting;     /* … of them have ended, and there was no room */
    bool owed;            /* an interrupt */
};

/* What a piece of I/O is for. */
struct nvme_command {
    const char *name; /* NULL: no such command */
    void (*run)(struct nvme_request *r);
    /* After a piece that succeeded, before `done` counts it: a status ends the command. */
    uint16_t (*moved)(struct nvme_request *r);
    uint32_t effects; /* as the log page has it (5.14.1.5) */
    bool wants_ns;    /* NSID must be an active one */
    bool waits;       /* for another request: not restarted by a resume */
};

struct nvme_request {
    struct nvme *n;
    bool used;
    uint16_t sqid;
    uint8_t sqe[NVME_SQE];
    const struct nvme_command *command;
    struct nvme_ns *ns; /* of the piece in flight, or of the command */
    uint64_t done;      /* bytes, or ranges */
    uint32_t stage, next_stage;
    uint64_t piece; /* bytes of the one in flight */
    bool in_flight, mapped;
    bool dead;      /* its queue is gone: nobody wants to hear */
    bool cancelled; /* the host was asked for it */
    bool aborting;  /* the guest wants it back */
    bool ended;     /* waits for room in the completion queue */
    uint16_t status;
    uint32_t result;
    struct nvme_request *aborter; /* the command that waits for our end */
    struct dma_list *list;
    uint8_t *bounce;
    struct iovec iov;
    struct block_request io;
};

/* What is kept of one. */
struct nvme_saved {
    uint16_t sqid;
    uint8_t sqe[NVME_SQE];
    uint64_t done;
    uint32_t stage;
    bool ended;
    uint16_t status;
    uint32_t result;
};

struct nvme_event {
    bool pending, masked; /* masked until its log page is read */
    uint8_t info, page;
};

struct nvme_error {
    uint64_t count; /* of all errors, when it happened; 0: no entry */
    uint16_t sqid, cid, status;
    uint64_t lba;
    uint32_t nsid;
};

/* In two parts: INTMC, which is no field, lies between them. */
#define NVME_REGS_LOW(R) \
    R(cap, 0x00, 64, .reset = CAP_MQES | CAP_CQR | CAP_TO | CAP_CSS_NVM | CAP_MPSMAX) \
    R(vs, 0x08, 32, .reset = 0x00010400) \
    R(intms, 0x0c, 32, .hold = UINT32_MAX, .written = intms_written)
#define NVME_REGS_HIGH(R) \
    R(cc, 0x14, 32, .rw = CC_BITS, .written = cc_written) \
    R(csts, 0x1c, 32, .hold = CSTS_RDY | CSTS_CFS | CSTS_SHST) \
    R(aqa, 0x24, 32, .rw = 0x0fff0fff, .writable = is_off) \
    R(asq, 0x28, 64, .rw = ~UINT64_C(0xfff), .writable = is_off) \
    R(acq, 0x30, 64, .rw = ~UINT64_C(0xfff), .writable = is_off)

struct nvme {
    struct pci_device pci;
    /* properties */
    char *serial;
    uint32_t io_queues, vectors, mdts;
    struct nvme_ns own; /* of drive= */

    struct bus bus;
    struct nvme_ns *ns[NVME_NAMESPACES]; /* by NSID - 1 */
    REG_FIELDS(NVME_REGS_LOW)
    REG_FIELDS(NVME_REGS_HIGH)
    uint32_t page_shift; /* CC.MPS as it was when the controller was started */
    struct nvme_sq sq[NVME_QUEUES];
    struct nvme_cq cq[NVME_QUEUES];
    struct nvme_request *request[NVME_REQUESTS]; /* made when they are first needed */
    unsigned used;                               /* of them */
    unsigned io_used;                            /* … by I/O queues */
    unsigned in_flight, dead, aborts;
    unsigned hungry;      /* queues */
    unsigned turn;        /* the queue that is next */
    struct later more;    /* goes on fetching */
    struct later signals; /* sends the interrupts that are owed */
    bool stopped;
    bool resetting; /* called back what was in flight, and not all of it is here */

    /* shadow doorbells (5.7); 0: off */
    uint64_t shadow, event_index;
    struct dma_window *shadow_window, *event_window;

    uint32_t features[FEATURES]; /* those that are one number */
    uint32_t temperature_under;
    uint8_t vector_cd[NVME_VECTORS]; /* coalescing disabled */
    uint64_t timestamp;              /* ms, as the guest set it */
    int64_t timestamp_at;            /* ns of the virtual clock */
    bool timestamp_set;
    uint16_t event_cid[NVME_EVENT_REQUESTS];
    uint32_t event_requests;
    struct nvme_event event[EVENT_TYPES];
    struct nvme_error error[NVME_ERRORS];
    uint64_t errors;
    uint8_t ns_changed[NVME_NAMESPACES / 8];

    bool unplugged;
    struct device *holder; /* what waits for the unplugging */

    /* for the state */
    uint32_t sqs, cqs, saved_count;
    struct nvme_saved saved[NVME_REQUESTS];
};

bool nvme_runs(const struct nvme *n);
void nvme_doorbell(struct nvme *n, unsigned index, uint32_t value);
bool nvme_queue_start(struct nvme *n); /* the admin queues, from the registers */
void nvme_queues_stop(struct nvme *n); /* all; what was in flight is called back and dead */
void nvme_sq_remove(struct nvme *n, unsigned id);
void nvme_cq_remove(struct nvme *n, unsigned id);
void nvme_sq_cancel(struct nvme *n, unsigned id); /* the requests of one queue */
void nvme_ns_cancel(struct nvme *n, const struct nvme_ns *ns);
void nvme_all_cancel(struct nvme *n);
void nvme_run_queues(struct nvme *n); /* soon */
void nvme_restart(struct nvme *n);    /* what was called back by a stop */
void nvme_signal(struct nvme *n);     /* all interrupts that are owed, now */
void nvme_update_pin(struct nvme *n);
void nvme_fatal(struct nvme *n, const char *why, uint64_t address);
void nvme_shadow_drop(struct nvme *n);
void nvme_sources_stop(struct nvme *n);
void nvme_queues_adopt(struct nvme *n); /* after a load: what follows from the saved fields */

/* Requests (request.c). */
struct nvme_request *nvme_request_new(struct nvme *n, uint16_t sqid);
void nvme_request_free(struct nvme_request *r); /* the slot; its buffers stay for the next one */
void nvme_requests_destroy(struct nvme *n);
void nvme_request_begin(struct nvme_request *r); /* finds the command, and runs it */
void nvme_go_on(struct nvme_request *r);
const struct nvme_command *nvme_command_of(uint16_t sqid, const uint8_t *sqe);
/* One piece; iov NULL for those without data. */
void nvme_submit(struct nvme_request *r, struct nvme_ns *ns, enum block_op op, unsigned flags,
                 uint64_t offset, uint64_t length, const struct iovec *iov, unsigned niov);
void nvme_cancel(struct nvme_request *r);
void nvme_complete(struct nvme_request *r, uint16_t status);
void nvme_post_waiting(struct nvme *n, unsigned cqid);
void nvme_sq_drop_waiting(struct nvme *n, unsigned sqid);
bool nvme_post(struct nvme *n, unsigned cqid, unsigned sqid, uint16_t cid, uint16_t status,
               uint32_t result); /* false: no room */
void nvme_requests_save(struct nvme *n);
void nvme_requests_load(struct nvme *n);
bool nvme_saved_check(const struct nvme *saved, GError **err);

static inline uint32_t nvme_dw(const struct nvme_request *r, unsigned i)
{
    return load_le32(r->sqe + 4 * i);
}
static inline uint64_t nvme_qw(const struct nvme_request *r, unsigned i)
{
    return nvme_dw(r, i) | (uint64_t)nvme_dw(r, i + 1) << 32;
}
static inline uint16_t nvme_cid(const struct nvme_request *r)
{
    return load_le16(r->sqe + 2);
}
static inline uint32_t nvme_nsid(const struct nvme_request *r)
{
    return nvme_dw(r, 1);
}

/* The guest's data (data.c). */
/*
 * Maps [skip, skip + want) of a transfer of `total` bytes, or the beginning of that: how much, or a
 * status, negative.
 */
int64_t nvme_map(struct nvme_request *r, uint64_t skip, uint64_t want, uint64_t total,
                 enum dma_direction direction);
/* The whole of a small transfer, by copy; a status. */
uint16_t nvme_put(struct nvme_request *r, const void *buf, uint32_t len);
uint16_t nvme_get(struct nvme_request *r, void *buf, uint32_t len, uint64_t total);
static inline uint64_t nvme_transfer_max(const struct nvme *n)
{
    return UINT64_C(4096) << n->mdts;
}

/* Commands (io.c, admin.c, features.c, identify.c). */
extern const struct nvme_command nvme_io_commands[256], nvme_admin_commands[256];
extern const struct nvme_command nvme_shutdown_command;
void nvme_run_identify(struct nvme_request *r);
void nvme_run_log(struct nvme_request *r);
void nvme_run_get_features(struct nvme_request *r);
void nvme_run_set_features(struct nvme_request *r);
void nvme_run_format(struct nvme_request *r);
/* True: nothing left to flush, from namespace `stage` on. False: submitted. */
bool nvme_flush_all(struct nvme_request *r);
void nvme_features_reset(struct nvme *n);
unsigned nvme_temperature_warning(const struct nvme *n);
/* An event for the guest, when it asked for such ones; sends what is pending and may go. */
void nvme_event(struct nvme *n, enum event_type type, uint8_t info, uint8_t page);
void nvme_events_send(struct nvme *n);
void nvme_namespace_changed(struct nvme *n, uint32_t nsid);
void nvme_note_error(struct nvme_request *r, uint16_t status);

extern const struct state_desc nvme_state; /* state.c */

/* The controller (nvme.c). */
void nvme_settle(struct nvme *n); /* a request of the past is back */
void nvme_shutdown_done(struct nvme *n);
void nvme_unplug_done(struct nvme *n);

#endif
