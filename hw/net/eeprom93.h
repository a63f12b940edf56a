/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 93C46, 93C56, 93C66: serial EEPROMs of 16-bit words behind the pins of a NIC. The driver moves
 * the pins; a word is shifted in and out with the most significant bit first.
 *
 * Source: Microchip 93XX46/56/66 data sheets, "Instruction set" (x16 organisation).
 */
#ifndef HW_NET_EEPROM93_H
#define HW_NET_EEPROM93_H

#include <stdbool.h>
#include <stdint.h>

#include <xendm/state.h>

#define EEPROM93_WORDS_MAX 256u

struct eeprom93 {
    uint16_t words[EEPROM93_WORDS_MAX];
    uint16_t count; /* 64, 128 or 256: a constant of the chip's */
    bool selected, clock;
    bool out;          /* the DO pin */
    bool write_enable; /* EWEN was given */
    uint8_t bits;      /* of the instruction, from the start bit on; 0: waits for it */
    uint32_t shift;    /* what came in */
    uint16_t data;     /* what goes out */
    uint8_t left;      /* bits of data that are still to go */
    uint16_t address;
};

extern const struct state_desc eeprom93_state;

void eeprom93_init(struct eeprom93 *e, uint16_t words);
void eeprom93_reset(struct eeprom93 *e); /* the pins and the shift register; words stay */
void eeprom93_pins(struct eeprom93 *e, bool select, bool clock, bool in);
/* For `fits` of the owner's state: the stream's EEPROM is as large as the chip's. */
bool eeprom93_fits(const struct eeprom93 *scratch, const struct eeprom93 *e, GError **err);

#endif
