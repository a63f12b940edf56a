/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to hw/ahci.
 *
 *   ahci.c    the PCI function, its registers, interrupts, saved state
 *   port.c    a port: its commands one after the other, received FISes, resets, hot-plug
 *   queue.c   queued commands (NCQ)
 *   prdt.c    the descriptor table of a command → mapped guest memory
 */
#ifndef XENDM_AHCI_H
#define XENDM_AHCI_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <xendm/ata.h>
#include <xendm/bytes.h>
#include <xendm/classes.h>
#include <xendm/dma.h>
#include <xendm/facts.h>
#include <xendm/later.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/regs.h>
#include <xendm/state.h>
#include <xendm/turn.h>

#define AHCI_PORTS 6u
#define AHCI_SLOTS 32u
#define AHCI_NO_SLOT 0xffu
#define AHCI_CHUNK (1024u * 1024)
#define AHCI_PIECES 256u /* one sector of descriptors of two bytes fits */

/* PxCMD */
#define CMD_ST (1u << 0)
#define CMD_SUD (1u << 1)
#define CMD_POD (1u << 2)
#define CMD_CLO (1u << 3)
#define CMD_FRE (1u << 4)
#define CMD_CCS_SHIFT 8
#define CMD_CCS (31u << CMD_CCS_SHIFT)
#define CMD_FR (1u << 14)
#define CMD_CR (1u << 15)
#define CMD_ATAPI (1u << 24)
#define CMD_DLAE (1u << 25)
#define CMD_ICC (15u << 28)

/* PxIS, PxIE */
#define PORT_DHRS (1u << 0) /* register FIS */
#define PORT_PSS (1u << 1)  /* PIO Setup FIS */
#define PORT_SDBS (1u << 3) /* Set Device Bits FIS */
#define PORT_PCS (1u << 6)  /* port changed: SERR.X */
#define PORT_PRCS (1u << 22)
#define PORT_OFS (1u << 24)  /* more data than descriptors */
#define PORT_IFS (1u << 27)  /* interface error, fatal */
#define PORT_HBFS (1u << 29) /* guest memory */
#define PORT_TFES (1u << 30) /* the drive said ERR */
#define PORT_INTERRUPTS 0xfdc000ffu

#define SERR_N (1u << 16) /* PhyRdy changed */
#define SERR_X (1u << 26) /* a device was exchanged */

#define TFD_NONE 0x7fu
#define SSTS_PRESENT 0x113u /* communication, generation 1, active */

struct ahci;

/* Where a command is in its descriptor table. */
struct ahci_prd {
    uint64_t table;
    uint32_t count, next; /* descriptors */
    uint64_t address;
    uint32_t left; /* of the current one */
};

/* A queued command. */
struct ahci_queued {
    uint32_t slot;
    uint64_t lba;
    uint32_t left; /* sectors */
    bool write, fua, flushing;
    struct ahci_prd prd;
};

struct ahci_slot {
    struct ahci_port *port;
    struct ata_drive *drive; /* whose request it is */
    struct ahci_queued q;
    bool active;    /* there is such a command */
    bool in_flight; /* its request is */
    bool dropped;   /* … but the command is no more */
    uint32_t chunk; /* sectors */
    struct ahci_prd chunk_start;
    struct dma_list *list; /* made with the first command */
    struct block_request req;
};

struct ahci_port {
    struct ata_host host;
    struct ahci *hba;
    unsigned number;

    /* Registers. */
    uint32_t clb, clbu, fb, fbu, is, ie, cmd, tfd, sig, ssts, sctl, serr, sact, ci;

    bool halted;            /* by an error, until ST is cleared */
    bool signature_pending; /* a register FIS is to come, when the drive is quiet */
    bool detected;          /* the link is up, or comes up with that FIS */
    uint8_t control;        /* device control of the last control FIS */

    /* The command that is not queued. */
    uint8_t slot; /* or AHCI_NO_SLOT */
    bool packet_sent, pio_in;
    struct ahci_prd prd, chunk_start;
    uint32_t moved; /* bytes */

    struct ahci_slot queue[AHCI_SLOTS];
    unsigned in_flight; /* of the queue */
    bool queue_failed;  /* until the log was read */
    uint8_t log_tag, log_status, log_error;
    uint64_t log_lba;
    uint16_t log_count;

    uint32_t gathered, kept; /* bytes of the chunk in the list: all, whole sectors */
    struct ahci_prd whole;   /* behind the last whole sector */
    bool pumping, again;
    struct later later; /* goes on with what was too much for one turn */

    /* Saved: those that are active. */
    struct ahci_queued saved[AHCI_SLOTS];
    uint32_t saved_count;
};

struct ahci {
    struct pci_device pci;
    uint32_t cap, ghc, is, pi, version;
    uint32_t index; /* of the index-data pair */
    struct ahci_port port[AHCI_PORTS];
    bool resetting; /* GHC.HR, until nothing is in flight */
    bool quiesced;
};

/* ahci.c */
void ahci_port_interrupt(struct ahci_port *p, uint32_t bits);
void ahci_quiet(struct ahci *s); /* a port has become quiet */

/* port.c */
extern const struct ata_host_ops ahci_host_ops;
void ahci_port_reset(struct ahci_port *p); /* registers and drive: HBA reset, power on */
void ahci_port_command(struct ahci_port *p, uint32_t old);
void ahci_port_control(struct ahci_port *p, uint32_t old);
void ahci_port_issue(struct ahci_port *p, uint32_t slots);
void ahci_port_go(struct ahci_port *p); /* goes on with whatever there is */
void ahci_port_master_off(struct ahci_port *p);
bool ahci_port_quiet(const struct ahci_port *p); /* nothing of its past is in flight */
bool ahci_post_fis(struct ahci_port *p, unsigned at, const uint8_t *fis, size_t len);
void ahci_halt(struct ahci_port *p, uint32_t interrupt);
static inline struct ata_drive *ahci_drive(const struct ahci_port *p)
{
    return p->host.drive[0];
}

/* queue.c */
void ahci_queue_issue(struct ahci_port *p, unsigned slot, const uint8_t *fis,
                      const struct ahci_prd *prd);
void ahci_queue_step(struct ahci_port *p); /* goes on with all that are not in flight */
void ahci_queue_drop(struct ahci_port *p); /* all are called back and forgotten */
void ahci_queue_call_back(struct ahci_port *p);
void ahci_queue_log(struct ahci_port *p, uint8_t *page);

/* prdt.c */
/*
 * Begins a chunk and puts all of it together: the result is that of ata_host_ops.gather(), but for
 * -EINPROGRESS, since a chunk has AHCI_PIECES at most.
 */
int64_t ahci_gather(struct ahci_port *p, struct ahci_prd *prd, struct dma_list *list,
                    uint32_t want);
int64_t ahci_copy(struct ahci_port *p, void *buf, uint32_t len, enum dma_direction direction,
                  bool *ended);

#endif
