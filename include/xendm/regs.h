/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers by table. A chip whose registers are mostly storage describes each in one row: where it
 * is, which bits the guest may change or clear, what it is after a reset, and what happens besides.
 * From the table come: accesses of any width and alignment, write-1-to-clear, reset, the limits of
 * saved state, the names in the log and in `info device`, and a test that walks them all
 * (tests/unit/test-regs.c).
 *
 * Not for FIFOs, index/data pairs and task files: those are better off with region_ops of their
 * own. Below about six registers rows of REG() for a structure that is written by hand are the
 * better form; for more, one list makes the structure's fields, the rows and the state table:
 *
 *   #define TALLY_REGS(R) \
 *       R(status, 0x04, 32, .w1c = STATUS_DONE, .hold = STATUS_BUSY) \
 *       R(address, 0x10, 64, .rw = UINT64_MAX, .writable = tally_idle)
 *   struct tally { struct pci_device pci; REG_FIELDS(TALLY_REGS) };
 *   #define REG_STRUCT struct tally
 *   static const struct reg tally_regs[] = {REG_ROWS(TALLY_REGS)};
 *   static const struct state_field fields[] = {REG_STATE(TALLY_REGS) STATE_FIELD_END};
 */
#ifndef XENDM_REGS_H
#define XENDM_REGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include <xendm/aspace.h>
#include <xendm/device.h>
#include <xendm/state.h>

#define REG_NO_FIELD SIZE_MAX

struct reg {
    const char *name;
    uint32_t offset; /* in the region */
    uint8_t width;   /* bytes: 1, 2, 4, 8 */
    uint16_t count;  /* so many of them, one behind the other, here and there; 0: one */
    uint16_t stride; /* bytes from one to the next in the region; 0: width */
    size_t at;       /* the field in the instance, or REG_NO_FIELD: hooks only */
    uint64_t reset;
    /* What the guest may change, and clear by writing 1. All other bits it cannot touch. */
    uint64_t rw, w1c;
    uint64_t hold;     /* bits that the chip changes by itself, besides those above */
    uint64_t min, max; /* a value outside is refused as the guest's mistake; both 0: none */
    uint64_t wakeup;   /* bits that keep their value over RESET_WAKEUP */
    /* False: the write has no effect now (busy, locked). NULL: always. */
    bool (*writable)(void *dev);
    /* What is read, in place of the field: for what changes by itself or by being read. */
    uint64_t (*read)(void *dev, unsigned index);
    /* After the masks. `value`: the bits that were written, zero in bytes that were not. */
    void (*written)(void *dev, unsigned index, uint64_t old, uint64_t value);
};

struct reg_block {
    const char *name;           /* of the region */
    const struct reg *regs;     /* by rising offset, no overlap; ends with name NULL */
    uint32_t size;              /* of the region; what no register covers reads 0 */
    void (*changed)(void *dev); /* after each write to the block: interrupts follow */
};

/* An instance's registers. As a BAR: pci_bar_info.regs. Else: place `region`. */
struct reg_bank {
    const struct reg_block *block;
    struct device *dev;
    unsigned count; /* rows */
    struct region region;
};

extern const struct region_ops reg_ops; /* opaque: the bank */

/*
 * In realize. The core then resets the bank before class->reset, refuses saved state that the
 * registers could not have (fields of the class's own state table), and forgets it at unrealize.
 */
void reg_bank_init(struct reg_bank *bank, const struct reg_block *block, struct device *dev);
void reg_bank_reset(struct reg_bank *bank, enum reset_reason why);
/* The field of register `index` of the row, as the chip has it; 0 without one. */
uint64_t reg_value(const struct reg *r, const void *dev, unsigned index);

/* Whether the values of a parsed state are such as the chip could have. */
bool reg_bank_fits(const struct reg_bank *bank, const struct state_plan *plan, GError **err);

/* A group of facts: each register that has a field. */
void reg_bank_describe(const struct reg_bank *bank, struct facts *to);

/* A row for a field that the structure has already, of several equal ones, or of none. */
#define REG(st, f, off, ...) \
    { \
        .name = #f, .offset = (off), .width = sizeof(((st *)0)->f), .at = offsetof(st, f), \
        __VA_ARGS__ \
    }
#define REG_ARRAY(st, f, off, ...) \
    { \
        .name = #f, .offset = (off), .width = sizeof(((st *)0)->f[0]), \
        .count = G_N_ELEMENTS(((st *)0)->f), .at = offsetof(st, f), __VA_ARGS__ \
    }
#define REG_PORT(n, off, bits, ...) \
    { \
        .name = (n), .offset = (off), .width = (bits) / 8, .at = REG_NO_FIELD, __VA_ARGS__ \
    }
#define REG_END \
    { \
        .name = NULL \
    }

/* Of a list of R(field, offset, bits, ...). REG_ROWS and REG_STATE want REG_STRUCT. */
#define REG_FIELD_(f, off, bits, ...) uint##bits##_t f;
#define REG_FIELDS(LIST) LIST(REG_FIELD_)
#define REG_ROW_(f, off, bits, ...) REG(REG_STRUCT, f, off, __VA_ARGS__),
#define REG_ROWS(LIST) LIST(REG_ROW_) REG_END
#define REG_STATE_(f, off, bits, ...) \
    {.name = #f, .type = STATE_U##bits, .offset = offsetof(REG_STRUCT, f)},
#define REG_STATE(LIST) LIST(REG_STATE_)

#endif
