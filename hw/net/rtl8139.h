/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to the RTL8139 (files rtl8139*.c): registers and state.
 *
 *   rtl8139.c      registers, interrupts, EEPROM, timer, the PCI function
 *   rtl8139-rx.c   who a frame is for; the ring of bytes, the ring of descriptors
 *   rtl8139-tx.c   the four transmit slots, the rings of descriptors with their offloads
 */
#ifndef HW_NET_RTL8139_H
#define HW_NET_RTL8139_H

#include <xendm/clock.h>
#include <xendm/dma.h>
#include <xendm/later.h>
#include <xendm/net.h>
#include <xendm/pci.h>

#include "eeprom93.h"

#define RTL_SLOTS 4u

/* Command register (0x37). */
#define RTL_CR_BUFE 0x01u /* the receive ring is empty */
#define RTL_CR_TE 0x04u
#define RTL_CR_RE 0x08u
#define RTL_CR_RST 0x10u

/* Interrupts: mask 0x3c, status 0x3e. */
#define RTL_INT_ROK 0x0001u
#define RTL_INT_RER 0x0002u
#define RTL_INT_TOK 0x0004u
#define RTL_INT_TER 0x0008u
#define RTL_INT_RXOVW 0x0010u /* ring full; C+: no descriptor */
#define RTL_INT_LINK 0x0020u  /* and packet underrun */
#define RTL_INT_FOVW 0x0040u
#define RTL_INT_TDU 0x0080u /* C+: no transmit descriptor */
#define RTL_INT_SWINT 0x0100u
#define RTL_INT_TIMEOUT 0x4000u
#define RTL_INT_SERR 0x8000u /* master abort */
#define RTL_INT_ALL 0xc1ffu

/* Transmit status of a slot (0x10…0x1c). */
#define RTL_TSD_SIZE 0x1fffu
#define RTL_TSD_OWN 0x2000u /* the host's again */
#define RTL_TSD_TUN 0x4000u
#define RTL_TSD_TOK 0x8000u
#define RTL_TSD_TABT 0x40000000u

/* Transmit configuration (0x40). */
#define RTL_TCR_CLRABT 0x01u
#define RTL_TCR_LBK 0x60000u   /* both bits: loopback */
#define RTL_TCR_RW 0x030607f1u /* IFG, loopback, CRC, burst, retries */

/* Receive configuration (0x44). */
#define RTL_RCR_AAP 0x01u
#define RTL_RCR_APM 0x02u
#define RTL_RCR_AM 0x04u
#define RTL_RCR_AB 0x08u
#define RTL_RCR_WRAP 0x80u

/* C+ command (0xe0). */
#define RTL_CP_TX 0x0001u
#define RTL_CP_RX 0x0002u
#define RTL_CP_RXCSUM 0x0020u
#define RTL_CP_RXVLAN 0x0040u
#define RTL_CP_RW 0x007bu

#define RTL_RXBUF_TAIL 16u /* CAPR runs so far behind: data sheet 5.7 */

/* What the statistics dump writes, in its order (C+ programming guide, "dump tally"). */
struct rtl_tally {
    uint64_t tx_ok, rx_ok, tx_error;
    uint32_t rx_error;
    uint16_t missed, align;
    uint32_t one_collision, collisions;
    uint64_t rx_unicast, rx_broadcast;
    uint32_t rx_multicast;
    uint16_t tx_abort, tx_underrun;
};

struct rtl8139 {
    struct pci_device pci;
    struct net *net;
    char *mac_text;
    uint8_t mac[NET_MAC_LEN]; /* the card's; the guest may set another in idr */

    uint8_t idr[6], mar[8];
    uint32_t tsd[RTL_SLOTS], tsad[RTL_SLOTS]; /* in C+ mode: dump address; ring addresses */
    uint32_t rbstart;
    uint8_t cr;
    uint16_t capr; /* what the guest has read, without the tail of 16 */
    uint16_t cbr;  /* where the next frame goes */
    uint16_t imr, isr;
    uint32_t tcr, rcr;
    uint32_t missed;
    uint8_t cfg9346, config0, config1, config3, config4, config5;
    uint32_t timer_limit;
    int64_t timer_base; /* when the timer's count was 0, on the virtual clock */
    uint16_t bmcr, anar;
    uint16_t cpcr;
    uint32_t rdsar_low, rdsar_high;
    uint8_t etthr;

    uint32_t slot;                           /* next of the four */
    uint32_t rx_next, tx_next, tx_high_next; /* C+: descriptor in the ring */
    bool tx_waiting;                         /* frames are left, the host had no room */
    struct eeprom93 eeprom;
    struct rtl_tally tally;

    struct vtimer timer;
    struct dma_list *list;
    struct later tx_later; /* goes on with a long transmit ring */
};

void rtl8139_raise(struct rtl8139 *s, unsigned bits);
static inline bool rtl8139_rx_plus(const struct rtl8139 *s)
{
    return s->cpcr & RTL_CP_RX;
}

static inline uint32_t rtl8139_ring_bytes(const struct rtl8139 *s)
{
    return 8192u << (s->rcr >> 11 & 3);
}

static inline bool rtl8139_ring_empty(const struct rtl8139 *s)
{
    return s->cbr == s->capr;
}

extern const struct net_device rtl8139_net;
void rtl8139_capr_written(struct rtl8139 *s, uint16_t capr);
bool rtl8139_receive(struct rtl8139 *s, const uint8_t *frame, size_t len);

/* Sends what the guest has filled, a bounded number of frames; the rest in later turns. */
void rtl8139_transmit(struct rtl8139 *s);
void rtl8139_transmit_stop(struct rtl8139 *s);

#endif
