/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registers and interrupts (LSI53C895A technical manual, chapter 4; 2.2.16 for interrupts). */
#include "lsi.h"

/*
 * One unit of STIME1's general purpose timer. Drivers that measure the chip's clock by it (Linux'
 * and BSD's sym) take 2^n of these for 40 MHz.
 */
#define GENERAL_NS 108500

/* Those that do not stop the script, nor are told, while they are masked (2.2.16.3). */
#define MASKABLE0 (SIST0_CMP | SIST0_SEL | SIST0_RSL)
#define MASKABLE1 (SIST1_GEN | SIST1_HTH)

/* ---- interrupts ---- */

static bool scsi_pending(const struct lsi *s)
{
    return (s->sist0 & (s->sien0 | (uint8_t)~MASKABLE0)) ||
           (s->sist1 & (s->sien1 | (uint8_t)~MASKABLE1));
}

void lsi_update(struct lsi *s)
{
    bool wanted = (s->dstat & s->dien) || (s->sist0 & s->sien0) || (s->sist1 & s->sien1) ||
                  (s->istat0 & ISTAT0_INTF);

    pci_intx_set(&s->pci, wanted && !(s->istat1 & ISTAT1_SI) && !(s->dcntl & DCNTL_IRQD));
}

void lsi_scsi_interrupt(struct lsi *s, uint8_t sist0, uint8_t sist1)
{
    s->sist0 |= sist0;
    s->sist1 |= sist1;
    if ((sist0 & (s->sien0 | (uint8_t)~MASKABLE0)) || (sist1 & (s->sien1 | (uint8_t)~MASKABLE1))) {
        lsi_script_stop(s);
    }
    lsi_update(s);
}

void lsi_dma_interrupt(struct lsi *s, uint8_t dstat)
{
    s->dstat |= dstat;
    lsi_script_stop(s);
    lsi_update(s);
}

/* ---- registers that are read otherwise than they are kept ---- */

/* What was pending is not any more: a target that was held back by it may have the bus. */
static void told(struct lsi *s)
{
    lsi_update(s);
    lsi_bus_wanted(s);
}

uint64_t lsi_dstat_read(void *dev, unsigned index)
{
    struct lsi *s = dev;
    uint8_t value = s->dstat | DSTAT_DFE;

    s->dstat = 0;
    told(s);
    return value;
}

uint64_t lsi_sist0_read(void *dev, unsigned index)
{
    struct lsi *s = dev;
    uint8_t value = s->sist0;

    s->sist0 = 0;
    told(s);
    return value;
}

uint64_t lsi_sist1_read(void *dev, unsigned index)
{
    struct lsi *s = dev;
    uint8_t value = s->sist1;

    s->sist1 = 0;
    told(s);
    return value;
}

uint64_t lsi_sstat2_read(void *dev, unsigned index)
{
    return lsi_connected(dev) ? 0 : SSTAT2_LDSC;
}

uint64_t lsi_istat0_read(void *dev, unsigned index)
{
    const struct lsi *s = dev;

    return s->istat0 | (s->dstat ? ISTAT0_DIP : 0) | (scsi_pending(s) ? ISTAT0_SIP : 0) |
           (lsi_connected(s) ? ISTAT0_CON : 0);
}

uint64_t lsi_ctest2_read(void *dev, unsigned index)
{
    struct lsi *s = dev;
    uint8_t value =
        s->ctest2 | CTEST2_DACK | CTEST2_CM | (s->istat0 & ISTAT0_SIGP ? CTEST2_SIGP : 0);

    s->istat0 &= (uint8_t)~ISTAT0_SIGP;
    return value;
}

/* Some drivers look at the bus' data lines to see which message comes. */
uint64_t lsi_sbdl_read(void *dev, unsigned index)
{
    const struct lsi *s = dev;

    return lsi_phase(s) == PHASE_MESSAGE_IN && s->message_in_at < s->message_in_end
               ? s->message_in[s->message_in_at]
               : 0;
}

/* ---- writes ---- */

void lsi_scntl1_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct lsi *s = dev;

    if (!(s->scntl1 & SCNTL1_RST)) {
        s->sstat0 &= (uint8_t)~SSTAT0_RST;
    } else if (!(s->sstat0 & SSTAT0_RST)) {
        lsi_bus_reset(s);
        s->sstat0 |= SSTAT0_RST;
        lsi_scsi_interrupt(s, SIST0_RST, 0);
    }
}

/*
 * SRST is done when it was written and reads 0: SeaBIOS never takes it back. No target answers for
 * a command that the driver has forgotten with the chip's registers, so the bus is reset, too.
 */
void lsi_istat0_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct lsi *s = dev;

    if (value & ISTAT0_SRST) {
        lsi_script_stop(s);
        lsi_bus_reset(s);
        reg_bank_reset(s->pci.bar[LSI_BAR_MEMORY].bank, RESET_COLD);
        s->dsp = 0;
        s->carry = false;
        s->allegiance = 0;
        vtimer_disarm(&s->general);
        return;
    }
    if ((value & ISTAT0_ABRT) && !(old & ISTAT0_ABRT)) {
        lsi_dma_interrupt(s, DSTAT_ABRT);
    }
    if ((value & ISTAT0_SIGP) && s->waiting == WAIT_RESELECT) {
        s->waiting = WAIT_NOTHING;
        s->dsp = s->dnad;
        lsi_script_go(s);
    }
}

void lsi_dcntl_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    if (value & DCNTL_STD) {
        lsi_script_start(dev);
    }
}

void lsi_stime1_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct lsi *s = dev;

    if (s->stime1 & 0x0f) {
        vtimer_arm_in(&s->general, (int64_t)GENERAL_NS << (s->stime1 & 0x0f));
    } else {
        vtimer_disarm(&s->general);
    }
}

static uint64_t dsp_read(void *dev, unsigned index)
{
    return ((const struct lsi *)dev)->dsp >> 8 * index & 0xff;
}

/* The last byte starts the script, unless it is to be started by hand. */
static void dsp_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct lsi *s = dev;

    s->dsp = (s->dsp & ~(0xffu << 8 * index)) | (uint32_t)value << 8 * index;
    if (index == 3 && !(s->dmode & DMODE_MAN)) {
        lsi_script_start(s);
    }
}

static void changed(void *dev)
{
    lsi_update(dev);
}

#define REG_STRUCT struct lsi
static const struct reg registers[] = {
    LSI_REGS_LOW(REG_ROW_)
        REG_PORT("dsp", 0x2c, 8, .count = 4, .read = dsp_read, .written = dsp_written),
    LSI_REGS_HIGH(REG_ROW_) REG_ARRAY(struct lsi, scratch, 0x60, .rw = UINT32_MAX),
    LSI_REGS_SELECTORS(REG_ROW_) REG_END,
};

const struct reg_block lsi_block = {
    .name = "lsi",
    .regs = registers,
    .size = LSI_REGISTERS,
    .changed = changed,
};

/* ---- the same by I/O ports, and by the script ---- */

static struct reg_bank *bank_of(struct lsi *s)
{
    return s->pci.bar[LSI_BAR_MEMORY].bank;
}

static uint64_t io_read(void *opaque, uint64_t offset, unsigned size)
{
    return reg_ops.read(bank_of(opaque), offset, size);
}

static void io_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    reg_ops.write(bank_of(opaque), offset, value, size);
}

const struct region_ops lsi_io_ops = {
    .read = io_read,
    .write = io_write,
    .impl_min = 1,
    .impl_max = 4,
};

uint8_t lsi_register_read(struct lsi *s, unsigned at)
{
    return (uint8_t)reg_ops.read(bank_of(s), at, 1);
}

void lsi_register_write(struct lsi *s, unsigned at, uint8_t value)
{
    reg_ops.write(bank_of(s), at, value, 1);
}

/* ---- RAM for scripts ---- */

static uint64_t ram_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct lsi *s = opaque;
    uint64_t value = 0;

    memcpy(&value, s->ram + offset, size);
    return GUINT64_FROM_LE(value);
}

static void ram_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct lsi *s = opaque;

    value = GUINT64_TO_LE(value);
    memcpy(s->ram + offset, &value, size);
}

const struct region_ops lsi_ram_ops = {
    .read = ram_read,
    .write = ram_write,
    .impl_min = 1,
    .impl_max = 8,
};
