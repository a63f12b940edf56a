/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to the 82540EM (files e1000*.c): registers and state.
 *
 *   e1000.c       registers, interrupts and their throttling, the PCI function
 *   e1000-phy.c   the M88E1011 PHY behind MDIC, EEPROM behind EECD and EERD
 *   e1000-rx.c    filters, the receive ring
 *   e1000-tx.c    the transmit ring, contexts, offloads
 *
 * Section numbers are of Intel's "PCI/PCI-X Family of Gigabit Ethernet Controllers Software
 * Developer's Manual", 317453 revision 4.0.
 */
#ifndef HW_NET_E1000_H
#define HW_NET_E1000_H

#include <xendm/clock.h>
#include <xendm/dma.h>
#include <xendm/later.h>
#include <xendm/net.h>
#include <xendm/pci.h>
#include <xendm/regs.h>

#include "eeprom93.h"

#define E1000_MMIO_BYTES 0x20000u

/* CTRL (13.4.1), STATUS (13.4.2). */
#define E1000_CTRL_SLU 0x00000040u
#define E1000_CTRL_RST 0x04000000u
#define E1000_CTRL_VME 0x40000000u
#define E1000_CTRL_PHY_RST 0x80000000u
#define E1000_STATUS_LU 0x00000002u
#define E1000_STATUS_FIXED 0x00000381u /* full duplex, 1000 Mbit, as negotiated */

/* Interrupt causes (13.4.17). */
#define E1000_INT_TXDW 0x0001u
#define E1000_INT_TXQE 0x0002u
#define E1000_INT_LSC 0x0004u
#define E1000_INT_RXDMT0 0x0010u
#define E1000_INT_RXO 0x0040u
#define E1000_INT_RXT0 0x0080u
#define E1000_INT_MDAC 0x0200u
#define E1000_INT_ALL 0x0001ffffu

/* RCTL (13.4.22). */
#define E1000_RCTL_EN 0x00000002u
#define E1000_RCTL_SBP 0x00000004u
#define E1000_RCTL_UPE 0x00000008u
#define E1000_RCTL_MPE 0x00000010u
#define E1000_RCTL_LPE 0x00000020u
#define E1000_RCTL_LBM 0x000000c0u
#define E1000_RCTL_BAM 0x00008000u
#define E1000_RCTL_VFE 0x00040000u
#define E1000_RCTL_BSEX 0x02000000u
#define E1000_RCTL_SECRC 0x04000000u

/* TCTL (13.4.33). */
#define E1000_TCTL_EN 0x00000002u
#define E1000_TCTL_PSP 0x00000008u

/* Statistics (13.7): index into stats[], the offset from 0x4000 divided by four. */
enum {
    E1000_STAT_RLEC = 0x40 / 4,
    E1000_STAT_MPC = 0x10 / 4,
    E1000_STAT_PRC64 = 0x5c / 4, /* and five more classes of length */
    E1000_STAT_GPRC = 0x74 / 4,
    E1000_STAT_BPRC = 0x78 / 4,
    E1000_STAT_MPRC = 0x7c / 4,
    E1000_STAT_GPTC = 0x80 / 4,
    E1000_STAT_GORC = 0x88 / 4, /* 64 bits */
    E1000_STAT_GOTC = 0x90 / 4, /* 64 bits */
    E1000_STAT_RUC = 0xa4 / 4,
    E1000_STAT_ROC = 0xac / 4,
    E1000_STAT_TOR = 0xc0 / 4, /* 64 bits */
    E1000_STAT_TOT = 0xc8 / 4, /* 64 bits */
    E1000_STAT_TPR = 0xd0 / 4,
    E1000_STAT_TPT = 0xd4 / 4,
    E1000_STAT_PTC64 = 0xd8 / 4, /* and five more classes of length */
    E1000_STAT_MPTC = 0xf0 / 4,
    E1000_STAT_BPTC = 0xf4 / 4,
    E1000_STAT_TSCTC = 0xf8 / 4,
    E1000_STATS = 0x40,
};

#define E1000_PHY_REGS 32u

/* A transmit context (3.3.6): where headers are, and how to cut. */
struct e1000_context {
    uint8_t ipcss, ipcso, tucss, tucso;
    uint16_t ipcse, tucse;
    uint32_t paylen;
    uint16_t mss;
    uint8_t hdrlen;
    uint8_t command; /* TUCMD */
};

/*
 * Registers that are storage, in the order of the manual's table (13.2); those with effects have
 * them in e1000.c's rows.
 */
struct e1000 {
    struct pci_device pci;
    struct net *net;
    char *mac_text;
    uint8_t mac[NET_MAC_LEN];

    uint32_t ctrl, eecd, eerd, ctrl_ext, mdic, fcal, fcah, fct, vet;
    uint32_t icr, itr, ims;
    uint32_t rctl, fcttv, txcw, rxcw, tctl, tipg, ait, ledctl, pba, fcrtl, fcrth;
    uint32_t rdbal, rdbah, rdlen, rdh, rdt, rdtr, rxdctl, radv, rsrpd;
    uint32_t tdbal, tdbah, tdlen, tdh, tdt, tidv, txdctl, tadv, tspmt;
    uint32_t stats[E1000_STATS];
    uint32_t rxcsum;
    uint32_t mta[128], ra[32], vfta[128];
    uint32_t wuc, wufc, wus, manc;
    uint32_t ioaddr;

    uint16_t phy[E1000_PHY_REGS];
    struct eeprom93 eeprom;

    struct e1000_context plain, cutting; /* for checksums; for frames to be cut */
    bool tx_waiting;                     /* frames are left, the host had no room */
    bool tx_delayed;                     /* a descriptor with IDE was done */

    struct vtimer throttle;
    struct dma_list *list;
    struct later tx_later; /* goes on with a long transmit ring */
};

void e1000_raise(struct e1000 *s, uint32_t causes);
void e1000_count64(struct e1000 *s, unsigned stat, uint64_t n);
/* A frame of `len` bytes, FCS not counted, into the six classes from `stat` on. */
void e1000_count_length(struct e1000 *s, unsigned stat, size_t len);
static inline void e1000_count(struct e1000 *s, unsigned stat)
{
    s->stats[stat] += s->stats[stat] != UINT32_MAX; /* sticks at the end (13.7) */
}

static inline bool e1000_loops_back(const struct e1000 *s)
{
    return (s->rctl & E1000_RCTL_LBM) || (s->phy[0] & 0x4000);
}

/* e1000-phy.c */
void e1000_phy_reset(struct e1000 *s);
void e1000_phy_link(struct e1000 *s);
void e1000_mdic_written(void *dev, unsigned index, uint64_t old, uint64_t value);
void e1000_eeprom_fill(struct e1000 *s);
void e1000_eecd_written(void *dev, unsigned index, uint64_t old, uint64_t value);
uint64_t e1000_eecd_read(void *dev, unsigned index);
void e1000_eerd_written(void *dev, unsigned index, uint64_t old, uint64_t value);

/* e1000-rx.c */
extern const struct net_device e1000_net;
bool e1000_receive(struct e1000 *s, const uint8_t *frame, size_t len);

/* e1000-tx.c: sends what the guest has filled, a bounded number of frames; the rest later. */
void e1000_transmit(struct e1000 *s);
void e1000_transmit_stop(struct e1000 *s);
extern const struct state_desc e1000_context_state;

#endif
