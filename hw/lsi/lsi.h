/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to hw/lsi.
 *
 *   lsi.c        the PCI function and its life
 *   registers.c  registers and interrupts
 *   script.c     the SCRIPTS processor
 *   move.c       its block moves: what crosses the SCSI bus
 *   bus.c        the SCSI bus: selection, phases, messages, reselection
 *   request.c    commands at their targets, and the data that these hold
 *   state.c      saved state
 *
 * The script runs until it waits for the bus, stops, or has had its slice; whoever changes what it
 * may wait for calls lsi_script_go(). It is never entered twice: what happens inside one of its
 * instructions is seen by its loop.
 */
#ifndef HW_LSI_LSI_H
#define HW_LSI_LSI_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <xendm/bytes.h>
#include <xendm/clock.h>
#include <xendm/dma.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/recorder.h>
#include <xendm/regs.h>
#include <xendm/scsi.h>

#define LSI_REGISTERS 0x100u
#define LSI_RAM 8192u
#define LSI_BAR_IO 0
#define LSI_BAR_MEMORY 1
#define LSI_BAR_RAM 2

/* Commands that targets have taken and not finished; the next is told QUEUE FULL. */
#define LSI_REQUESTS 64u
#define LSI_NONE 0xffu
#define LSI_BUFFER (128u << 10) /* bytes of a command's data that a target holds */
#define LSI_NO_TAG 0x100u
#define LSI_OWN_ID 7u /* after a reset */
#define LSI_IDS 16u

/* ---- register bits (LSI53C895A technical manual, chapter 4) ---- */

#define SCNTL1_IARB 0x02
#define SCNTL1_RST 0x08
#define SCNTL1_CON 0x10
#define SCNTL2_WSR 0x01
#define SCID_RRE 0x40
#define SCL_ATN 0x08 /* SOCL and SBCL */
#define SCL_BSY 0x20
#define SCL_ACK 0x40
#define SCL_REQ 0x80
#define SSID_VAL 0x80
#define DSTAT_IID 0x01
#define DSTAT_SIR 0x04
#define DSTAT_SSI 0x08
#define DSTAT_ABRT 0x10
#define DSTAT_BF 0x20
#define DSTAT_DFE 0x80
#define SSTAT0_RST 0x02
#define SSTAT0_WOA 0x04
#define SSTAT2_LDSC 0x02
#define ISTAT0_DIP 0x01
#define ISTAT0_SIP 0x02
#define ISTAT0_INTF 0x04
#define ISTAT0_CON 0x08
#define ISTAT0_SEM 0x10
#define ISTAT0_SIGP 0x20
#define ISTAT0_SRST 0x40
#define ISTAT0_ABRT 0x80
#define ISTAT1_SI 0x01
#define ISTAT1_SRUN 0x02
#define CTEST2_DACK 0x01
#define CTEST2_PCICIE 0x08
#define CTEST2_CM 0x10
#define CTEST2_SIGP 0x40
#define DMODE_MAN 0x01
#define DMODE_DIOM 0x10
#define DMODE_SIOM 0x20
#define DCNTL_COM 0x01
#define DCNTL_IRQD 0x02
#define DCNTL_STD 0x04
#define DCNTL_SSM 0x10
#define DCNTL_PFF 0x40
#define SIST0_RST 0x02
#define SIST0_UDC 0x04
#define SIST0_RSL 0x10
#define SIST0_SEL 0x20
#define SIST0_CMP 0x40
#define SIST0_MA 0x80
#define SIST1_HTH 0x01
#define SIST1_GEN 0x02
#define SIST1_STO 0x04
#define CCNTL0_ENNDJ 0x20
#define CCNTL0_PMJCTL 0x40
#define CCNTL0_ENPMJ 0x80
#define CCNTL1_EN64DBMV 0x01
#define CCNTL1_EN64TIBMV 0x02
#define CCNTL1_64TIMOD 0x04

#define DBC_BITS 0xffffffu /* of the register, whose highest byte is DCMD */

/* Phases, as the lines MSG, C/D and I/O say them. */
enum {
    PHASE_DATA_OUT = 0,
    PHASE_DATA_IN = 1,
    PHASE_COMMAND = 2,
    PHASE_STATUS = 3,
    PHASE_MESSAGE_OUT = 6,
    PHASE_MESSAGE_IN = 7,
    PHASE_BITS = 7,
};

/* DSP lies between the two lists: which of its bytes is written matters. */
#define LSI_REGS_LOW(R) \
    R(scntl0, 0x00, 8, .reset = 0xc0, .rw = 0xff) \
    R(scntl1, 0x01, 8, .rw = 0xee, .hold = SCNTL1_CON, .written = lsi_scntl1_written) \
    R(scntl2, 0x02, 8, .rw = 0xf6, .w1c = 0x09) \
    R(scntl3, 0x03, 8, .rw = 0xff) \
    R(scid, 0x04, 8, .reset = LSI_OWN_ID, .rw = 0x6f) \
    R(sxfer, 0x05, 8, .rw = 0xff) \
    R(sdid, 0x06, 8, .rw = 0x0f) \
    R(gpreg, 0x07, 8, .reset = 0x7f) \
    R(sfbr, 0x08, 8, .rw = 0xff) \
    R(socl, 0x09, 8, .rw = 0xff) \
    R(ssid, 0x0a, 8, .hold = 0x8f) \
    R(sbcl, 0x0b, 8, .hold = 0xff) \
    R(dstat, 0x0c, 8, .hold = 0x7d, .read = lsi_dstat_read) \
    R(sstat0, 0x0d, 8, .hold = 0xff) \
    R(sstat1, 0x0e, 8, .hold = 0xff) \
    R(sstat2, 0x0f, 8, .read = lsi_sstat2_read) \
    R(dsa, 0x10, 32, .rw = UINT32_MAX) \
    R(istat0, 0x14, 8, .rw = ISTAT0_ABRT | ISTAT0_SIGP | ISTAT0_SEM, .w1c = ISTAT0_INTF, \
      .read = lsi_istat0_read, .written = lsi_istat0_written) \
    R(istat1, 0x15, 8, .rw = ISTAT1_SI, .hold = ISTAT1_SRUN) \
    R(mbox0, 0x16, 8, .rw = 0xff) \
    R(mbox1, 0x17, 8, .rw = 0xff) \
    R(ctest0, 0x18, 8, .reset = 0xff) \
    R(ctest2, 0x1a, 8, .rw = CTEST2_PCICIE, .read = lsi_ctest2_read) \
    R(ctest3, 0x1b, 8, .rw = 0x03) \
    R(temp, 0x1c, 32, .rw = UINT32_MAX) \
    R(dfifo, 0x20, 8, .hold = 0xff) \
    R(ctest4, 0x21, 8, .rw = 0xff) \
    R(ctest5, 0x22, 8, .rw = 0xff) \
    R(dbc, 0x24, 32, .reset = 0x40000000, .rw = UINT32_MAX) \
    R(dnad, 0x28, 32, .rw = UINT32_MAX)
#define LSI_REGS_HIGH(R) \
    R(dsps, 0x30, 32, .rw = UINT32_MAX) \
    R(scratcha, 0x34, 32, .rw = UINT32_MAX) \
    R(dmode, 0x38, 8, .rw = 0xff) \
    R(dien, 0x39, 8, .rw = 0x7d) \
    R(sbr, 0x3a, 8, .rw = 0xff) \
    R(dcntl, 0x3b, 8, .rw = 0xff & ~(DCNTL_STD | DCNTL_PFF), .written = lsi_dcntl_written) \
    R(adder, 0x3c, 32, .hold = UINT32_MAX) \
    R(sien0, 0x40, 8, .rw = 0xff) \
    R(sien1, 0x41, 8, .rw = 0x17) \
    R(sist0, 0x42, 8, .hold = 0xff, .read = lsi_sist0_read) \
    R(sist1, 0x43, 8, .hold = 0x17, .read = lsi_sist1_read) \
    R(slpar, 0x44, 8, .rw = 0xff) \
    R(macntl, 0x46, 8, .reset = 0x0f) \
    R(gpcntl, 0x47, 8, .reset = 0x0f) \
    R(stime0, 0x48, 8, .rw = 0xff) \
    R(stime1, 0x49, 8, .rw = 0x7f, .written = lsi_stime1_written) \
    R(respid0, 0x4a, 8, .reset = 0x80, .rw = 0xff) \
    R(respid1, 0x4b, 8, .rw = 0xff) \
    R(stest1, 0x4d, 8, .rw = 0xff) \
    R(stest2, 0x4e, 8, .rw = 0xff) \
    R(stest3, 0x4f, 8, .rw = 0xff) \
    R(sidl, 0x50, 8, .hold = 0xff) \
    R(stest4, 0x52, 8, .reset = 0xe0) \
    R(sodl, 0x54, 16, .rw = 0xffff) \
    R(ccntl0, 0x56, 8, .rw = 0xff) \
    R(ccntl1, 0x57, 8, .rw = 0xff) \
    R(sbdl, 0x58, 8, .read = lsi_sbdl_read) \
    R(scratchb, 0x5c, 32, .rw = UINT32_MAX)
#define LSI_REGS_SELECTORS(R) \
    R(mmrs, 0xa0, 32, .rw = UINT32_MAX) \
    R(mmws, 0xa4, 32, .rw = UINT32_MAX) \
    R(sfs, 0xa8, 32, .rw = UINT32_MAX) \
    R(drs, 0xac, 32, .rw = UINT32_MAX) \
    R(sbms, 0xb0, 32, .rw = UINT32_MAX) \
    R(dbms, 0xb4, 32, .rw = UINT32_MAX) \
    R(dnad64, 0xb8, 32, .rw = UINT32_MAX) \
    R(pmjad1, 0xc0, 32, .rw = UINT32_MAX) \
    R(pmjad2, 0xc4, 32, .rw = UINT32_MAX) \
    R(rbc, 0xc8, 32, .rw = UINT32_MAX) \
    R(ua, 0xcc, 32, .rw = UINT32_MAX) \
    R(esa, 0xd0, 32, .rw = UINT32_MAX) \
    R(ia, 0xd4, 32, .rw = UINT32_MAX) \
    R(sbc, 0xd8, 32, .rw = 0xffffff) \
    R(csbc, 0xdc, 32, .rw = UINT32_MAX)

/* ---- commands ---- */

struct lsi;

/* What a target does next with a command that it is connected for. */
enum lsi_answer {
    LSI_BUSY, /* nothing yet */
    LSI_DATA_IN,
    LSI_DATA_OUT,
    LSI_STATUS,
};

struct lsi_request {
    struct lsi *lsi;
    bool used;
    bool dead;    /* nobody wants to hear of it: waits for the host */
    bool started; /* else it waits for others of its target */
    bool disconnected;
    bool may_disconnect;
    bool ordered, absent;
    uint8_t id, lun;
    uint16_t tag;
    uint64_t order; /* of arrival */
    uint8_t cdb[SCSI_CDB_MAX], cdb_length;
    struct scsi_unit *unit;
    struct scsi_task task;

    uint64_t left;    /* bytes that have still to cross the bus */
    bool moved;       /* some have since the initiator's pointers were saved */
    uint8_t *buffer;  /* LSI_BUFFER bytes, made with the first data */
    uint32_t at, end; /* in it: what is to be sent; what came, and is not written */
    bool moving;      /* between the buffer and the medium */

    uint8_t *saved; /* for the state: buffer[at, end) */
    uint32_t saved_length;
};

/* What is behind the last byte of MESSAGE IN. Saved: do not renumber. */
enum lsi_after { AFTER_CONTINUE = 0, AFTER_DISCONNECT = 1, AFTER_COMPLETE = 2, AFTER_ENDS };

/* What the script waits for. Saved: do not renumber. */
enum lsi_wait {
    WAIT_NOTHING = 0,
    WAIT_RESELECT = 1,
    WAIT_DISCONNECT = 2,
    WAIT_REQ = 3, /* the target's next byte */
    WAIT_ENDS
};

struct lsi {
    struct pci_device pci;
    struct scsi_host host;
    REG_FIELDS(LSI_REGS_LOW)
    uint32_t dsp;
    REG_FIELDS(LSI_REGS_HIGH)
    uint32_t scratch[16]; /* C to R */
    REG_FIELDS(LSI_REGS_SELECTORS)
    uint8_t ram[LSI_RAM];
    struct vtimer general; /* of STIME1 */

    /* The SCRIPTS processor. */
    uint8_t waiting;
    bool carry;
    bool unanswered;    /* a selection; told when the script wants the bus */
    bool in_move;       /* a block move that is not over: DBC, DNAD */
    uint32_t copy_left; /* … memory move: bytes, */
    uint64_t copy_from, copy_to;
    struct vtimer slice; /* its next one */
    uint32_t spinning;   /* slices in which nothing moved */
    bool executing, stopped;
    int budget; /* instructions left of the slice; bytes that are moved count, too */

    /* The bus; connected: SCNTL1_CON, the phase in SSTAT1, REQ in SBCL. */
    uint8_t id; /* of the target */
    uint8_t lun;
    uint16_t tag;
    bool ordered, may_disconnect;
    uint8_t current; /* request, or LSI_NONE: its command has not come */
    uint8_t refused; /* a status without a request, for STATUS */
    uint8_t message_out[8], message_out_length;
    uint8_t message_in[8], message_in_at, message_in_end;
    uint8_t after;
    uint16_t allegiance; /* ids whose initiator was told CHECK CONDITION and sent no command yet */

    struct lsi_request request[LSI_REQUESTS];
    uint64_t order;
    unsigned turn; /* of reselection */
    uint32_t saved_count;
    uint64_t commands, instructions; /* for people */
};

static inline bool lsi_connected(const struct lsi *s)
{
    return s->scntl1 & SCNTL1_CON;
}
static inline uint8_t lsi_phase(const struct lsi *s)
{
    return s->sstat1 & PHASE_BITS;
}
static inline bool lsi_req(const struct lsi *s)
{
    return s->sbcl & SCL_REQ;
}
static inline struct lsi_request *lsi_current(struct lsi *s)
{
    return s->current == LSI_NONE ? NULL : &s->request[s->current];
}

/* registers.c */
extern const struct reg_block lsi_block;
extern const struct region_ops lsi_io_ops, lsi_ram_ops;
uint64_t lsi_dstat_read(void *dev, unsigned index);
uint64_t lsi_sstat2_read(void *dev, unsigned index);
uint64_t lsi_istat0_read(void *dev, unsigned index);
uint64_t lsi_ctest2_read(void *dev, unsigned index);
uint64_t lsi_sist0_read(void *dev, unsigned index);
uint64_t lsi_sist1_read(void *dev, unsigned index);
uint64_t lsi_sbdl_read(void *dev, unsigned index);
void lsi_scntl1_written(void *dev, unsigned index, uint64_t old, uint64_t value);
void lsi_istat0_written(void *dev, unsigned index, uint64_t old, uint64_t value);
void lsi_dcntl_written(void *dev, unsigned index, uint64_t old, uint64_t value);
void lsi_stime1_written(void *dev, unsigned index, uint64_t old, uint64_t value);
uint8_t lsi_register_read(struct lsi *s, unsigned at);
void lsi_register_write(struct lsi *s, unsigned at, uint8_t value);
void lsi_update(struct lsi *s); /* the interrupt pin */
/* The script stops, if the interrupt is fatal or enabled. */
void lsi_scsi_interrupt(struct lsi *s, uint8_t sist0, uint8_t sist1);
void lsi_dma_interrupt(struct lsi *s, uint8_t dstat);

/* script.c */
void lsi_script_start(struct lsi *s); /* at DSP */
void lsi_script_stop(struct lsi *s);
void lsi_script_go(struct lsi *s); /* if it may */
void lsi_script_slice(void *opaque);
/* Bytes of a move against the slice: a page is some 16 instructions. */
static inline void lsi_spend(struct lsi *s, uint32_t bytes)
{
    s->budget -= (int)(bytes / 256);
}
/* Its memory: guest memory, its own RAM, its own registers. False: the bus fault was told. */
bool lsi_read(struct lsi *s, uint64_t address, void *buf, uint32_t len);
bool lsi_write(struct lsi *s, uint64_t address, const void *buf, uint32_t len);

/* move.c */
void lsi_block_move(struct lsi *s, uint32_t instruction, uint32_t second, uint32_t at);
void lsi_move_on(struct lsi *s); /* one that is not over */

/* bus.c */
bool lsi_bus_select(struct lsi *s, unsigned id, bool atn); /* false: nobody is there */
void lsi_bus_free(struct lsi *s);
bool lsi_bus_reselect(struct lsi *s); /* false: nobody wants it */
/* The next phase of the target that is connected. */
void lsi_bus_continue(struct lsi *s);
void lsi_bus_message(struct lsi *s, uint8_t byte);
void lsi_bus_message_taken(struct lsi *s);
void lsi_bus_command(struct lsi *s, const uint8_t *cdb, unsigned length);
uint8_t lsi_bus_status(struct lsi *s);
void lsi_bus_attention(struct lsi *s);
void lsi_bus_reset(struct lsi *s);
void lsi_bus_wanted(struct lsi *s); /* by a target, maybe */
void lsi_bus_phase(struct lsi *s, uint8_t phase, bool req);

/* request.c */
struct lsi_request *lsi_request_new(struct lsi *s, struct scsi_unit *u); /* NULL: too many */
void lsi_request_start(struct lsi_request *r);
enum lsi_answer lsi_request_answer(struct lsi_request *r); /* gets data, if it needs some */
void lsi_request_received(struct lsi_request *r);          /* more is in the buffer */
void lsi_request_free(struct lsi_request *r);
void lsi_request_cancel(struct lsi_request *r);
void lsi_request_changed(void *opaque);
void lsi_request_collect(struct lsi_request *r);
void lsi_requests_kick(struct lsi *s); /* those that wait for others */

extern const struct state_desc lsi_state; /* state.c */

#endif
