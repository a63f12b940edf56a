/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registers by table; see xendm/regs.h. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <xendm/facts.h>
#include <xendm/log.h>
#include <xendm/recorder.h>
#include <xendm/regs.h>

#include "core.h"

#define ACCESS_MAX 8u

static inline unsigned reg_count(const struct reg *r)
{
    return r->count ? r->count : 1;
}

static inline unsigned reg_stride(const struct reg *r)
{
    return r->stride ? r->stride : r->width;
}

/* First byte behind the last of the row. */
static inline uint64_t reg_end(const struct reg *r)
{
    return r->offset + (uint64_t)(reg_count(r) - 1) * reg_stride(r) + r->width;
}

/* What may be other than after a reset. */
static inline uint64_t reg_alive(const struct reg *r)
{
    return r->rw | r->w1c | r->hold;
}

/* ---- the fields ---- */

static uint64_t load(const void *place, unsigned width)
{
    switch (width) {
    case 1:
        return *(const uint8_t *)place;
    case 2:
        return *(const uint16_t *)place;
    case 4:
        return *(const uint32_t *)place;
    default:
        return *(const uint64_t *)place;
    }
}

static void store(void *place, unsigned width, uint64_t value)
{
    switch (width) {
    case 1:
        *(uint8_t *)place = (uint8_t)value;
        break;
    case 2:
        *(uint16_t *)place = (uint16_t)value;
        break;
    case 4:
        *(uint32_t *)place = (uint32_t)value;
        break;
    default:
        *(uint64_t *)place = value;
    }
}

static inline size_t field_at(const struct reg *r, unsigned index)
{
    return r->at + (size_t)index * r->width;
}

uint64_t reg_value(const struct reg *r, const void *dev, unsigned index)
{
    return r->at == REG_NO_FIELD ? 0 : load((const char *)dev + field_at(r, index), r->width);
}

static void set_value(const struct reg *r, void *dev, unsigned index, uint64_t value)
{
    store((char *)dev + field_at(r, index), r->width, value);
}

/* ---- accesses ---- */

/* The first row that ends behind `offset`; the one of name NULL when there is none. */
static const struct reg *row_at(const struct reg_bank *bank, uint64_t offset)
{
    unsigned low = 0, high = bank->count;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        if (reg_end(&bank->block->regs[middle]) <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return &bank->block->regs[low];
}

/* A register and the bytes of it that an access touches. */
struct part {
    const struct reg *reg;
    unsigned index;
    unsigned first, len; /* bytes of the register */
    unsigned at;         /* byte of the access where they are */
};

/* The part at or behind byte `done` of the access; false: no more registers are touched. */
static bool next_part(const struct reg_bank *bank, uint64_t offset, unsigned size, unsigned done,
                      struct part *p)
{
    uint64_t byte = offset + done, start;
    const struct reg *r = row_at(bank, byte);

    if (!r->name) {
        return false;
    }
    p->reg = r;
    p->index = byte <= r->offset ? 0 : (unsigned)((byte - r->offset) / reg_stride(r));
    start = r->offset + (uint64_t)p->index * reg_stride(r);
    if (byte >= start + r->width) { /* in the gap behind one of several */
        p->index++;
        start += reg_stride(r);
    }
    p->first = byte > start ? (unsigned)(byte - start) : 0;
    if (start + p->first >= offset + size) {
        return false;
    }
    p->at = (unsigned)(start + p->first - offset);
    p->len = MIN(r->width - p->first, size - p->at);
    return true;
}

static uint64_t bank_read(void *opaque, uint64_t offset, unsigned size)
{
    struct reg_bank *bank = opaque;
    uint64_t value = 0;
    struct part p;

    for (unsigned done = 0; done < size && next_part(bank, offset, size, done, &p);
         done = p.at + p.len) {
        uint64_t whole =
            p.reg->read ? p.reg->read(bank->dev, p.index) : reg_value(p.reg, bank->dev, p.index);

        value |= (whole >> 8 * p.first & value_mask(p.len)) << 8 * p.at;
    }
    return value;
}

static bool in_range(const struct reg *r, uint64_t value)
{
    return (!r->min && !r->max) || (value >= r->min && value <= r->max);
}

/* `lanes`: the bits of the bytes that are written. */
static void reg_write(struct reg_bank *bank, const struct reg *r, unsigned index, uint64_t value,
                      uint64_t lanes)
{
    uint64_t old = reg_value(r, bank->dev, index), now;

    if (r->writable && !r->writable(bank->dev)) {
        return;
    }
    now = ((old & ~(r->rw & lanes)) | (value & r->rw & lanes)) & ~(value & r->w1c & lanes);
    if (!in_range(r, now)) {
        log_guest(LOG_CORE, "%s: %s: %s: 0x%" PRIx64 " is not in 0x%" PRIx64 "..0x%" PRIx64,
                  bank->dev->id, bank->block->name, r->name, now, r->min, r->max);
        return;
    }
    if (r->at != REG_NO_FIELD) {
        set_value(r, bank->dev, index, now);
    }
    if (r->written) {
        r->written(bank->dev, index, old, value & lanes);
    }
}

static void bank_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct reg_bank *bank = opaque;
    struct part p;

    for (unsigned done = 0; done < size && next_part(bank, offset, size, done, &p);
         done = p.at + p.len) {
        uint64_t lanes = value_mask(p.len) << 8 * p.first;

        reg_write(bank, p.reg, p.index, value >> 8 * p.at << 8 * p.first & lanes, lanes);
    }
    if (bank->block->changed) {
        bank->block->changed(bank->dev);
    }
}

const struct region_ops reg_ops = {
    .read = bank_read,
    .write = bank_write,
    .impl_min = 1,
    .impl_max = ACCESS_MAX,
};

/* ---- life ---- */

static void row_assert(const struct reg_block *block, const struct reg *r)
{
    uint64_t all = value_mask(r->width);

    XENDM_ASSERT(r->width == 1 || r->width == 2 || r->width == 4 || r->width == 8);
    XENDM_ASSERT(reg_stride(r) >= r->width && reg_end(r) <= block->size);
    XENDM_ASSERT(r == block->regs || reg_end(r - 1) <= r->offset);
    XENDM_ASSERT(!((r->reset | r->rw | r->w1c | r->hold | r->wakeup) & ~all));
    XENDM_ASSERT(!(r->rw & r->w1c) && (in_range(r, r->reset) || r->at == REG_NO_FIELD));
    /* Without a field there is nothing to keep; only hooks. */
    XENDM_ASSERT(r->at != REG_NO_FIELD || !(reg_alive(r) | r->reset | r->wakeup));
}

void reg_bank_init(struct reg_bank *bank, const struct reg_block *block, struct device *dev)
{
    XENDM_ASSERT(dev->phase == DEVICE_NEW);
    memset(bank, 0, sizeof(*bank));
    bank->block = block;
    bank->dev = dev;
    while (block->regs[bank->count].name) {
        row_assert(block, &block->regs[bank->count++]);
    }
    region_init(&bank->region, block->name, &reg_ops, bank, block->size);
    g_ptr_array_add(dev->banks, bank);
}

void reg_bank_reset(struct reg_bank *bank, enum reset_reason why)
{
    for (const struct reg *r = bank->block->regs; r->name; r++) {
        uint64_t keep = why == RESET_WAKEUP ? r->wakeup : 0;

        for (unsigned i = 0; r->at != REG_NO_FIELD && i < reg_count(r); i++) {
            uint64_t old = reg_value(r, bank->dev, i);

            set_value(r, bank->dev, i, (old & keep) | (r->reset & ~keep));
        }
    }
}

void reg_bank_describe(const struct reg_bank *bank, struct facts *to)
{
    fact_group(to, bank->block->name);
    for (const struct reg *r = bank->block->regs; r->name; r++) {
        g_autoptr(GString) s = g_string_new(NULL);

        for (unsigned i = 0; r->at != REG_NO_FIELD && i < reg_count(r); i++) {
            g_string_append_printf(s, "%s0x%0*" PRIx64, i ? " " : "", r->width * 2,
                                   reg_value(r, bank->dev, i));
        }
        if (s->len) {
            fact_text(to, r->name, "%s", s->str);
        }
    }
}

/* ---- saved state ---- */

static bool value_possible(const struct reg *r, uint64_t value)
{
    return !((value ^ r->reset) & ~reg_alive(r)) && in_range(r, value);
}

bool reg_bank_fits(const struct reg_bank *bank, const struct state_plan *plan, GError **err)
{
    for (const struct reg *r = bank->block->regs; r->name; r++) {
        for (unsigned i = 0; r->at != REG_NO_FIELD && i < reg_count(r); i++) {
            const void *place = state_plan_value(plan, field_at(r, i));

            if (place && !value_possible(r, load(place, r->width))) {
                g_set_error(err, STATE_ERROR, EINVAL, "%s: register %s cannot be 0x%" PRIx64,
                            bank->block->name, r->name, load(place, r->width));
                return false;
            }
        }
    }
    return true;
}
