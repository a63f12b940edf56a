/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 82540EM: PHY and EEPROM. The PHY is Marvell's 88E1011 (manual 13.4.4, 11; IEEE 802.3 clause 22
 * for registers 0 to 15): it has negotiated 1000 Mbit whenever somebody looks. The EEPROM is a
 * 93C46 of 64 words (5.6), by pins (EECD) or by the chip's own reading (EERD).
 */
#include <string.h>

#include "e1000.h"

#define MDIC_DATA 0x0000ffffu
#define MDIC_REG(v) ((v) >> 16 & 31u)
#define MDIC_PHY(v) ((v) >> 21 & 31u)
#define MDIC_WRITE 0x04000000u
#define MDIC_READ 0x08000000u
#define MDIC_READY 0x10000000u
#define MDIC_INTERRUPT 0x20000000u
#define MDIC_ERROR 0x40000000u

#define EECD_SK 0x01u
#define EECD_CS 0x02u
#define EECD_DI 0x04u
#define EECD_DO 0x08u
#define EECD_REQ 0x40u
#define EECD_GNT 0x80u
#define EECD_PRES 0x100u
#define EECD_SIZE 0x200u

#define EERD_START 0x01u
#define EERD_DONE 0x10u

#define EEPROM_WORDS 64u
#define EEPROM_CHECKSUM_AT 0x3fu
#define EEPROM_CHECKSUM 0xbabau

enum {
    PHY_CONTROL = 0,
    PHY_STATUS = 1,
    PHY_ID1 = 2,
    PHY_ID2 = 3,
    PHY_ADVERTISE = 4,
    PHY_PARTNER = 5,
    PHY_EXPANSION = 6,
    PHY_1000_CONTROL = 9,
    PHY_1000_STATUS = 10,
    PHY_EXTENDED = 15,
    M88_CONTROL = 16,
    M88_STATUS = 17,
    M88_EXT_CONTROL = 20,
};

#define CONTROL_RESET 0x8000u
#define CONTROL_RESTART 0x0200u
#define STATUS_LINK 0x0004u
#define STATUS_DONE 0x0020u
#define M88_STATUS_LINK 0x0400u

static const struct {
    uint16_t reset, writable;
} phy_registers[E1000_PHY_REGS] = {
    [PHY_CONTROL] = {0x1140, 0xfdff}, /* negotiates, full duplex, 1000 */
    [PHY_STATUS] = {0x7949, 0},       /* what it can; link and done come and go */
    [PHY_ID1] = {0x0141, 0},          /* Marvell */
    [PHY_ID2] = {0x0c20, 0},          /* 88E1011 */
    [PHY_ADVERTISE] = {0x0de1, 0xafff},
    [PHY_PARTNER] = {0x01e0, 0},
    [PHY_EXPANSION] = {0x0000, 0},
    [PHY_1000_CONTROL] = {0x0e00, 0xff00},
    [PHY_1000_STATUS] = {0x3c00, 0},
    [PHY_EXTENDED] = {0x3000, 0},
    [M88_CONTROL] = {0x0360, 0xffff},
    [M88_STATUS] = {0xac00, 0}, /* 1000 Mbit, full duplex, resolved, link */
    [M88_EXT_CONTROL] = {0x0d60, 0xffff},
    [29] = {0, 0xffff}, /* page and value of vendor registers: storage */
    [30] = {0, 0xffff},
};

void e1000_phy_link(struct e1000 *s)
{
    if (net_link(s->net)) {
        s->phy[PHY_STATUS] |= STATUS_LINK | STATUS_DONE;
        s->phy[PHY_PARTNER] |= 0x4000;
        s->phy[M88_STATUS] |= M88_STATUS_LINK;
    } else {
        s->phy[PHY_STATUS] &= (uint16_t) ~(STATUS_LINK | STATUS_DONE);
        s->phy[PHY_PARTNER] &= (uint16_t)~0x4000u;
        s->phy[M88_STATUS] &= (uint16_t)~M88_STATUS_LINK;
    }
}

void e1000_phy_reset(struct e1000 *s)
{
    for (unsigned i = 0; i < E1000_PHY_REGS; i++) {
        s->phy[i] = phy_registers[i].reset;
    }
    e1000_phy_link(s);
}

static void phy_write(struct e1000 *s, unsigned reg, uint16_t value)
{
    uint16_t writable = phy_registers[reg].writable;

    if (reg == PHY_CONTROL && (value & CONTROL_RESET)) {
        e1000_phy_reset(s);
        return;
    }
    s->phy[reg] = (uint16_t)((s->phy[reg] & ~writable) | (value & writable));
    if (reg == PHY_CONTROL && (value & CONTROL_RESTART)) {
        s->phy[reg] &= (uint16_t)~CONTROL_RESTART; /* done at once */
        e1000_phy_link(s);
        e1000_raise(s, E1000_INT_LSC);
    }
}

void e1000_mdic_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct e1000 *s = dev;
    uint32_t v = s->mdic & ~(MDIC_READY | MDIC_ERROR);
    unsigned reg = MDIC_REG(v);
    bool known = phy_registers[reg].reset || phy_registers[reg].writable || reg == PHY_EXPANSION;

    if (MDIC_PHY(v) != 1) {
        v |= MDIC_ERROR; /* nobody at that address */
    } else if (v & MDIC_READ) {
        v = (v & ~MDIC_DATA) | (known ? s->phy[reg] : 0);
    } else if (v & MDIC_WRITE) {
        phy_write(s, reg, (uint16_t)v);
    }
    s->mdic = v | MDIC_READY;
    if (v & MDIC_INTERRUPT) {
        e1000_raise(s, E1000_INT_MDAC);
    }
}

/* ---- EEPROM ---- */

/* Table 5-1; the checksum makes the sum of the first 64 words 0xBABA (5.6.36). */
void e1000_eeprom_fill(struct e1000 *s)
{
    static const uint16_t rest[] = {
        [0x03] = 0x0000, [0x04] = 0xffff, [0x08] = 0x3000, [0x09] = 0x1000, [0x0a] = 0x6403,
        [0x0f] = 0x3040, [0x10] = 0x0008, [0x11] = 0x2000, [0x12] = 0x7e14, [0x13] = 0x0048,
        [0x14] = 0x1000, [0x15] = 0x00d8, [0x17] = 0x2700, [0x18] = 0x6cc9, [0x19] = 0x3150,
        [0x1a] = 0x0722, [0x1b] = 0x040b, [0x1c] = 0x0984, [0x1e] = 0xc000, [0x1f] = 0x0706,
        [0x20] = 0x1008, [0x22] = 0x0f04, [0x23] = 0x7fff, [0x24] = 0x4d01,
    };
    const struct pci_info *pci = s->pci.dev.class->pci;
    uint16_t *w = s->eeprom.words, sum = 0;

    eeprom93_init(&s->eeprom, EEPROM_WORDS);
    memset(w, 0xff, EEPROM_WORDS * sizeof(*w));
    memcpy(w, rest, sizeof(rest));
    for (unsigned i = 0; i < NET_MAC_LEN; i += 2) {
        w[i / 2] = (uint16_t)(s->mac[i] | s->mac[i + 1] << 8);
    }
    w[0x0b] = pci->subsystem;
    w[0x0c] = pci->subsystem_vendor;
    w[0x0d] = pci->device;
    w[0x0e] = pci->vendor;
    for (unsigned i = 0; i < EEPROM_CHECKSUM_AT; i++) {
        sum = (uint16_t)(sum + w[i]);
    }
    w[EEPROM_CHECKSUM_AT] = (uint16_t)(EEPROM_CHECKSUM - sum);
}

void e1000_eecd_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct e1000 *s = dev;

    eeprom93_pins(&s->eeprom, s->eecd & EECD_CS, s->eecd & EECD_SK, s->eecd & EECD_DI);
}

/* Whoever asks for the pins has them at once. */
uint64_t e1000_eecd_read(void *dev, unsigned index)
{
    const struct e1000 *s = dev;

    return s->eecd | EECD_PRES | (s->eecd & EECD_REQ ? EECD_GNT : 0) |
           (s->eeprom.out ? EECD_DO : 0);
}

void e1000_eerd_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct e1000 *s = dev;
    unsigned address = s->eerd >> 8 & 0xff;

    if (!(s->eerd & EERD_START)) {
        s->eerd &= 0xff00u;
        return;
    }
    uint32_t word = address < s->eeprom.count ? s->eeprom.words[address] : 0;
    s->eerd = (s->eerd & 0xff00u) | EERD_DONE | word << 16;
}
