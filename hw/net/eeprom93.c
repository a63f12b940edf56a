/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Serial EEPROM behind a NIC; see eeprom93.h. A write takes no time here: DO says ready at once. */
#include "eeprom93.h"

#define OPCODE_BITS 2u
#define DATA_BITS 16u

enum opcode {
    OP_SPECIAL = 0, /* by the upper two address bits: EWDS, WRAL, ERAL, EWEN */
    OP_WRITE = 1,
    OP_READ = 2,
    OP_ERASE = 3,
};

void eeprom93_init(struct eeprom93 *e, uint16_t words)
{
    e->count = words;
    eeprom93_reset(e);
}

void eeprom93_reset(struct eeprom93 *e)
{
    e->selected = e->clock = e->write_enable = false;
    e->out = true;
    e->bits = e->left = 0;
    e->shift = 0;
    e->data = e->address = 0;
}

static unsigned address_bits(const struct eeprom93 *e)
{
    return e->count <= 64 ? 6 : 8; /* the 93C56 ignores the upper one of its eight */
}

static void erase_all(struct eeprom93 *e, uint16_t value)
{
    for (unsigned i = 0; e->write_enable && i < e->count; i++) {
        e->words[i] = value;
    }
}

static void store(struct eeprom93 *e, uint16_t value)
{
    if (e->write_enable) {
        e->words[e->address] = value;
    }
}

/* Opcode and address are in; reading begins with a dummy 0 on DO. */
static void decode(struct eeprom93 *e, unsigned opcode, unsigned address)
{
    e->address = (uint16_t)(address % e->count);
    switch (opcode) {
    case OP_READ:
        e->data = e->words[e->address];
        e->left = DATA_BITS;
        e->out = false;
        break;
    case OP_ERASE:
        store(e, 0xffff);
        break;
    case OP_SPECIAL:
        switch (address >> (address_bits(e) - 2)) {
        case 0:
            e->write_enable = false;
            break;
        case 2:
            erase_all(e, 0xffff);
            break;
        case 3:
            e->write_enable = true;
            break;
        }
        break;
    }
}

static bool takes_data(const struct eeprom93 *e, unsigned opcode, unsigned address)
{
    return opcode == OP_WRITE || (opcode == OP_SPECIAL && address >> (address_bits(e) - 2) == 1);
}

static void shift_in(struct eeprom93 *e, bool in)
{
    unsigned head = 1 + OPCODE_BITS + address_bits(e);

    if (e->bits == 0 && !in) {
        return; /* no start bit yet */
    }
    if (e->bits >= head + DATA_BITS) {
        return;
    }
    e->shift = e->shift << 1 | in;
    e->bits++;
    if (e->bits == head) {
        unsigned address = e->shift & ((1u << address_bits(e)) - 1);
        decode(e, e->shift >> address_bits(e) & 3, address);
    } else if (e->bits == head + DATA_BITS) {
        uint32_t instruction = e->shift >> DATA_BITS;
        unsigned opcode = instruction >> address_bits(e) & 3;
        unsigned address = instruction & ((1u << address_bits(e)) - 1);
        if (takes_data(e, opcode, address) && opcode == OP_WRITE) {
            store(e, (uint16_t)e->shift);
        } else if (takes_data(e, opcode, address)) {
            erase_all(e, (uint16_t)e->shift);
        }
    }
}

/* Sequential read: the next word follows without a new instruction. */
static void shift_out(struct eeprom93 *e)
{
    e->out = e->data & 0x8000;
    e->data = (uint16_t)(e->data << 1);
    if (--e->left == 0) {
        e->address = (uint16_t)((e->address + 1) % e->count);
        e->data = e->words[e->address];
        e->left = DATA_BITS;
    }
}

void eeprom93_pins(struct eeprom93 *e, bool select, bool clock, bool in)
{
    bool rising = clock && !e->clock;

    if (!select) {
        e->bits = e->left = 0;
        e->shift = 0;
        e->out = true;
    } else if (e->selected && rising) {
        if (e->left) {
            shift_out(e);
        } else {
            shift_in(e, in);
        }
    }
    e->selected = select;
    e->clock = clock;
}

bool eeprom93_fits(const struct eeprom93 *scratch, const struct eeprom93 *e, GError **err)
{
    if (scratch->count == e->count) {
        return true;
    }
    g_set_error(err, STATE_ERROR, 0, "an EEPROM of %u words, the chip has %u", scratch->count,
                e->count);
    return false;
}

static bool eeprom93_check(const void *base, GError **err)
{
    const struct eeprom93 *e = base;

    if (e->count == 64 || e->count == 128 || e->count == 256) {
        if (e->address < e->count) {
            return true;
        }
    }
    g_set_error(err, STATE_ERROR, 0, "EEPROM: address %u of %u words", e->address, e->count);
    return false;
}

static const struct state_field eeprom93_fields[] = {
    {.name = "words",
     .type = STATE_U16,
     .offset = offsetof(struct eeprom93, words),
     .count = EEPROM93_WORDS_MAX},
    STATE_FIELD_U16(struct eeprom93, count),
    STATE_FIELD_BOOL(struct eeprom93, selected),
    STATE_FIELD_BOOL(struct eeprom93, clock),
    STATE_FIELD_BOOL(struct eeprom93, out),
    STATE_FIELD_BOOL(struct eeprom93, write_enable),
    STATE_FIELD_U8(struct eeprom93, bits, .max = 1 + OPCODE_BITS + 8 + DATA_BITS),
    STATE_FIELD_U32(struct eeprom93, shift),
    STATE_FIELD_U16(struct eeprom93, data),
    STATE_FIELD_U8(struct eeprom93, left, .max = DATA_BITS),
    STATE_FIELD_U16(struct eeprom93, address),
    STATE_FIELD_END,
};

const struct state_desc eeprom93_state = {
    .name = "eeprom",
    .version = 1,
    .fields = eeprom93_fields,
    .check = eeprom93_check,
};
