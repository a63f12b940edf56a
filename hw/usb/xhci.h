/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xHCI, private: what the files of the controller share. Section numbers are those of the
 * Extensible Host Controller Interface specification, revision 1.1.
 */
#ifndef XENDM_HW_USB_XHCI_H
#define XENDM_HW_USB_XHCI_H

#include <xendm/bytes.h>
#include <xendm/clock.h>
#include <xendm/dma.h>
#include <xendm/later.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/regs.h>
#include <xendm/usb.h>

#define XHCI_SLOTS 64u
#define XHCI_INTERRUPTERS 16u
#define XHCI_PORTS_MAX 15u      /* of each protocol */
#define XHCI_ENDPOINTS 256u     /* of all slots together; more are a Resource Error */
#define XHCI_DCIS 32u           /* device context indices; 0 is the slot's */
#define XHCI_RING_SEGMENT 4096u /* entries of an event ring at most */

/* USBCMD (5.4.1), USBSTS (5.4.2) */
#define CMD_RUN 0x0001u
#define CMD_RESET 0x0002u
#define CMD_INTE 0x0004u
#define CMD_HSEE 0x0008u
#define CMD_SAVE 0x0100u
#define CMD_RESTORE 0x0200u
#define STS_HALTED 0x0001u
#define STS_HOST_ERROR 0x0004u
#define STS_EINT 0x0008u
#define STS_PORT_CHANGE 0x0010u
#define STS_RESTORE_ERROR 0x0400u
#define STS_CONTROLLER_ERROR 0x1000u

/* The words of an interrupter's register set (5.5.2) */
enum { IR_IMAN, IR_IMOD, IR_ERSTSZ, IR_RESERVED, IR_ERSTBA, IR_ERSTBA_HIGH, IR_ERDP, IR_ERDP_HIGH };
#define IR_WORDS 8u
#define IMAN_PENDING 1u
#define IMAN_ENABLE 2u
#define ERDP_BUSY 8u /* EHB */
#define ERDP_SEGMENT 7u

/* TRBs (6.4): the last word */
#define TRB_BYTES 16u
#define TRB_CYCLE 0x0001u
#define TRB_TOGGLE 0x0002u     /* of a link */
#define TRB_EVENT_DATA 0x0004u /* of a transfer event */
#define TRB_ISP 0x0004u
#define TRB_CHAIN 0x0010u
#define TRB_IOC 0x0020u
#define TRB_IMMEDIATE 0x0040u
#define TRB_BLOCK_EVENT 0x0200u
#define TRB_IN 0x10000u
#define TRB_TYPE(control) ((control) >> 10 & 63u)
#define TRB_LENGTH(status) ((status)&0x1ffffu)
#define TRB_INTERRUPTER(status) ((status) >> 22)
#define TRB_LENGTH_MAX 0x10000u

enum {
    TRB_NORMAL = 1,
    TRB_SETUP = 2,
    TRB_DATA = 3,
    TRB_STATUS = 4,
    TRB_LINK = 6,
    TRB_EVENT = 7, /* "event data" */
    TRB_NOOP = 8,
    TRB_ENABLE_SLOT = 9,
    TRB_DISABLE_SLOT,
    TRB_ADDRESS_DEVICE,
    TRB_CONFIGURE_ENDPOINT,
    TRB_EVALUATE_CONTEXT,
    TRB_RESET_ENDPOINT,
    TRB_STOP_ENDPOINT,
    TRB_SET_DEQUEUE,
    TRB_RESET_DEVICE,
    TRB_NOOP_COMMAND = 23,
    TRB_TRANSFER_EVENT = 32,
    TRB_COMMAND_EVENT = 33,
    TRB_PORT_EVENT = 34,
    TRB_CONTROLLER_EVENT = 37,
    TRB_NEC_EVENT = 48,
    TRB_NEC_FIRMWARE = 49,
};

/* Completion codes (6.4.5) */
enum {
    CC_SUCCESS = 1,
    CC_BABBLE = 3,
    CC_TRANSACTION_ERROR = 4,
    CC_TRB_ERROR = 5,
    CC_STALL = 6,
    CC_RESOURCE_ERROR = 7,
    CC_BANDWIDTH_ERROR = 8,
    CC_NO_SLOTS = 9,
    CC_SLOT_NOT_ENABLED = 11,
    CC_ENDPOINT_NOT_ENABLED = 12,
    CC_SHORT_PACKET = 13,
    CC_PARAMETER_ERROR = 17,
    CC_CONTEXT_STATE = 19,
    CC_RING_FULL = 21,
    CC_RING_STOPPED = 24,
    CC_STOPPED = 26,
};

/* Of slots (6.2.2) and endpoints (6.2.3) */
enum { SLOT_DISABLED, SLOT_DEFAULT, SLOT_ADDRESSED, SLOT_CONFIGURED };
enum { EP_DISABLED, EP_RUNNING, EP_HALTED, EP_STOPPED, EP_ERROR, EP_STATES };
/* An endpoint's type: one of these three, and IN. */
enum { EP_CONTROL = 4, EP_ISOCHRONOUS = 1, EP_BULK, EP_INTERRUPT };
#define EP_KIND(type) ((type)&3u)
#define EP_IN 4u
#define EP_TYPE_MAX 7u

/* One TRB as it was fetched, once. */
struct xhci_trb {
    uint64_t at; /* where it was */
    uint64_t parameter;
    uint32_t status, control;
};

struct xhci_ring {
    uint64_t dequeue;
    bool cycle;
};

struct xhci_endpoint {
    uint8_t slot; /* 0: free */
    uint8_t dci, state, type;
    uint16_t packet;  /* most bytes of one */
    uint8_t interval; /* 125 µs << it */
    struct xhci_ring ring;
    /* The transfer descriptor that is under way. */
    uint32_t done;  /* bytes of the TRB at ring.dequeue */
    uint32_t moved; /* bytes since it began, or since the last event data */
    uint32_t trbs;  /* of it that are behind us */
    bool in;        /* the data stage of a control endpoint */
    bool skipping;  /* a short packet ended it: to its last TRB */
    bool reported;  /* … and was told of */
    bool active;    /* its doorbell rang, and its ring was not found empty since */
    int64_t next;   /* an interrupt endpoint: not before */

    /* Not saved: a machine that goes on looks at all that are active. */
    bool ready;   /* there may be something to do now */
    bool delayed; /* there is, but not before `next` */
    bool waiting; /* the device said NAK */
};

struct xhci_slot {
    bool enabled;
    uint8_t state, port, address; /* port: of the controller, from 1; 0: none */
    uint32_t route;
    uint64_t context;             /* the output device context */
    uint16_t endpoint[XHCI_DCIS]; /* 1 + its place among all; 0: none. Follows from those */
};

/* What became of a segment table: read when the first event goes there. */
struct xhci_events {
    uint64_t start;
    uint32_t size, at; /* in TRBs; size 0: not read yet */
    bool cycle;
    bool told; /* that it is full */
    bool bad;  /* a table that is none; said once */
    bool owed; /* an interrupt, at the end of what is being done; not saved */
};

#define XHCI_REGS_LOW(R) \
    R(usbcmd, 0x40, 32, .rw = CMD_RUN | CMD_RESET | CMD_INTE | CMD_HSEE | CMD_SAVE | CMD_RESTORE, \
      .written = xhci_usbcmd_written) \
    R(usbsts, 0x44, 32, .w1c = STS_HOST_ERROR | STS_EINT | STS_PORT_CHANGE | STS_RESTORE_ERROR, \
      .hold = STS_HALTED | STS_CONTROLLER_ERROR, .reset = STS_HALTED) \
    R(pagesize, 0x48, 32, .reset = 1) \
    R(dnctrl, 0x54, 32, .rw = 0xffff)
#define XHCI_REGS_HIGH(R) \
    R(dcbaap, 0x70, 64, .rw = ~UINT64_C(63)) \
    R(config, 0x78, 32, .rw = 0xff, .max = XHCI_SLOTS)

struct xhci {
    struct pci_device pci;
    uint32_t p2, p3, slots, interrupters; /* properties */

    REG_FIELDS(XHCI_REGS_LOW)
    REG_FIELDS(XHCI_REGS_HIGH)
    uint32_t ir[XHCI_INTERRUPTERS * IR_WORDS];
    uint32_t portsc[2 * XHCI_PORTS_MAX]; /* USB 3 first */
    uint32_t portpmsc[2 * XHCI_PORTS_MAX];
    uint32_t port_events; /* a bit per port: its event is not written yet */
    struct xhci_ring commands;
    bool commands_run; /* CRR */
    bool stop_owed;    /* an event: they were stopped */
    int64_t started;   /* MFINDEX was 0 */
    struct xhci_events events[XHCI_INTERRUPTERS];
    struct xhci_slot slot[XHCI_SLOTS];
    struct xhci_endpoint endpoint[XHCI_ENDPOINTS];
    uint32_t endpoints; /* all that are used are among the first so many */

    bool stopped;        /* by quiesce */
    bool commands_ready; /* there may be one */
    bool blocked;        /* by an event ring that is full */
    unsigned turn;       /* the endpoint whose turn it is */
    int64_t window;      /* see xhci_run() */
    unsigned spent;
    struct vtimer timer;
    struct later more;

    struct usb_port port[XHCI_PORTS_MAX];
    struct usb_bus bus;
    uint64_t transfers, naks, errors, interrupts; /* totals, for describe */
};

static inline unsigned xhci_ports(const struct xhci *x)
{
    return x->p2 + x->p3;
}

static inline bool xhci_runs(const struct xhci *x)
{
    return !(x->usbsts & (STS_HALTED | STS_HOST_ERROR | STS_CONTROLLER_ERROR));
}

static inline int64_t xhci_now(const struct xhci *x)
{
    return vclock_now(x->pci.dev.machine->clock);
}

/* xhci.c */
/* Memory does not answer (-EPERM is no bus mastering, which is no error): the controller stops. */
void xhci_host_error(struct xhci *x, int rc, uint64_t at);
/* Guest memory, which true says was there. Whoever begins something looks at dma_blocked before. */
bool xhci_read(struct xhci *x, uint64_t at, void *to, size_t len);
bool xhci_write(struct xhci *x, uint64_t at, const void *from, size_t len);
/* Commands, then endpoints in their turns, until nothing is left or `budget` units were done. */
void xhci_run(struct xhci *x, unsigned budget);
void xhci_run_later(struct xhci *x);
void xhci_kick(struct xhci *x);         /* all that is active may go on */
void xhci_sources_stop(struct xhci *x); /* nothing goes on by itself any more */

/* xhci-registers.c */
extern const struct reg_block xhci_block;
void xhci_usbcmd_written(void *dev, unsigned index, uint64_t old, uint64_t value);
void xhci_reset_logic(struct xhci *x);
/* xhci-ports.c */
extern const struct usb_port_ops xhci_port_ops;
uint32_t xhci_port_read(const struct xhci *x, unsigned word);
void xhci_port_written(struct xhci *x, unsigned word, uint32_t value);
void xhci_ports_reset(struct xhci *x);
void xhci_ports_adopt(struct xhci *x);       /* after a load: what is in them is what we have */
bool xhci_ports_check(const struct xhci *x); /* values that there can be */
void xhci_post_port_events(struct xhci *x);  /* those that are owed, as far as there is room */
/* The device of a port of the controller (from 1) that takes part in traffic, or NULL. */
struct usb_device *xhci_port_device(struct xhci *x, unsigned port);

/* xhci-events.c */
/* Whether `count` more events have room; if not, the guest is told, and x->blocked is set. */
bool xhci_events_room(struct xhci *x, unsigned interrupter, unsigned count);
void xhci_event(struct xhci *x, unsigned interrupter, uint64_t parameter, uint32_t status,
                uint32_t control);
void xhci_signal(struct xhci *x); /* interrupts that are owed */
void xhci_update_interrupts(struct xhci *x);
void xhci_interrupter_written(struct xhci *x, unsigned word, uint32_t old, uint32_t value);
bool xhci_events_check(const struct xhci *x);

/* xhci-transfer.c */
enum xhci_fetched { XHCI_FETCHED, XHCI_EMPTY, XHCI_FAILED, XHCI_ENDLESS };
/* The next TRB that is no link; `r` is at it then, and goes on by xhci_advance(). */
enum xhci_fetched xhci_fetch(struct xhci *x, struct xhci_ring *r, struct xhci_trb *t);
static inline void xhci_advance(struct xhci_ring *r)
{
    r->dequeue += TRB_BYTES;
}
struct xhci_endpoint *xhci_endpoint(struct xhci *x, unsigned slot, unsigned dci); /* or NULL */
/* Whether an endpoint of that type may be there: 1 is the control endpoint, odd ones are IN. */
bool xhci_endpoint_may_be(unsigned type, unsigned dci);
void xhci_endpoint_unit(struct xhci *x, struct xhci_endpoint *e);
void xhci_endpoint_set_state(struct xhci *x, struct xhci_endpoint *e, unsigned state);
/* The descriptor that was under way is none any more. */
void xhci_endpoint_forget(struct xhci_endpoint *e);
/* What stops tells how far it was. False: there is no room for that event. */
bool xhci_endpoint_stop(struct xhci *x, struct xhci_endpoint *e);
void xhci_endpoint_doorbell(struct xhci *x, unsigned slot, uint32_t value);

/* xhci-commands.c */
/* False: there is none, or it has to wait. */
bool xhci_command_unit(struct xhci *x);
void xhci_commands_stop(struct xhci *x); /* an event of that is owed */
void xhci_post_stop_event(struct xhci *x);
void xhci_slots_reset(struct xhci *x);
/* The device of a slot, where its route leads and as it was addressed; NULL: none answers. */
struct usb_device *xhci_slot_device(struct xhci *x, const struct xhci_slot *s);

/* xhci-state.c */
extern const struct state_desc xhci_state;

#endif
