/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An ATA channel: the command block (8 ports), the control port, two drives on the cable.
 *
 * Sources: ATA/ATAPI-6 (T13/1410D) chapters 7 (registers), 9.1-9.3 (resets), 9.16 (one drive
 * alone). Both drives take every register write, the selected one answers. Drive 0 answers for a
 * missing drive 1: a disk with its own registers but a status of 0, an ATAPI drive with zeros. An
 * empty channel, or drive 0 missing beside a drive 1, reads zeros, as QEMU's does, which guests
 * take for "nothing here" at once.
 */
#include "ide-internal.h"

enum ata_register {
    REG_DATA,
    REG_ERROR, /* write: features */
    REG_COUNT,
    REG_LBA_LOW,
    REG_LBA_MID,
    REG_LBA_HIGH,
    REG_DEVICE,
    REG_STATUS, /* write: command */
};

#define ATA_CMD_DEVICE_RESET 0x08
#define ATA_CMD_DIAGNOSTIC 0x90

static struct ata_drive *selected(const struct ide_channel *ch)
{
    return ch->host.drive[ch->select];
}

/* The INTRQ line: the selected drive drives it, unless nIEN is set. */
void ide_channel_update_irq(struct ide_channel *ch)
{
    const struct ata_drive *d = selected(ch);

    irq_set(&ch->irq, d && d->intrq && !(ch->control & ATA_CONTROL_NIEN));
}

void ide_channel_interrupt(struct ata_host *h, struct ata_drive *d)
{
    struct ide_channel *ch = (struct ide_channel *)h;

    ide_channel_update_irq(ch);
    if (ch->irq.level) {
        ide_bm_interrupt(ch);
    }
}

void ide_channel_quiet(struct ata_host *h)
{
    ide_channel_update_irq((struct ide_channel *)h);
}

void ide_channel_reset(struct ide_channel *ch)
{
    ch->select = 0;
    ch->control = 0;
    irq_set(&ch->irq, false);
}

/* ---- data port ---- */

static uint32_t data_read(struct ide_channel *ch, unsigned size)
{
    struct ata_drive *d = selected(ch);
    uint32_t value = 0;

    if (!d || d->phase != ATA_PIO_IN || size < 2) {
        return 0;
    }
    /* A last word that is not wholly there (ATAPI, odd lengths) is filled with zeros. */
    for (unsigned i = 0; i < size && d->pos < d->drq_end; i++) {
        value |= (uint32_t)d->buffer[d->pos++] << 8 * i;
    }
    if (d->pos == d->drq_end) {
        ata_drive_pio_done(d);
    }
    return value;
}

static void data_write(struct ide_channel *ch, uint32_t value, unsigned size)
{
    struct ata_drive *d = selected(ch);

    if (!d || d->phase != ATA_PIO_OUT || size < 2) {
        return;
    }
    for (unsigned i = 0; i < size && d->pos < d->drq_end; i++) {
        d->buffer[d->pos++] = (uint8_t)(value >> 8 * i);
    }
    if (d->pos == d->drq_end) {
        ata_drive_pio_done(d);
    }
}

/* How many of `count` units the drive's DRQ block has whole. */
static size_t data_run(const struct ata_drive *d, enum ata_phase phase, unsigned size, size_t count)
{
    return d && d->phase == phase && size >= 2 ? MIN((d->drq_end - d->pos) / size, count) : 0;
}

static size_t command_read_block(void *opaque, uint64_t offset, void *buf, unsigned size,
                                 size_t count)
{
    struct ata_drive *d = selected(opaque);
    size_t done = 0, run;

    while (offset == REG_DATA && (run = data_run(d, ATA_PIO_IN, size, count - done)) > 0) {
        memcpy((uint8_t *)buf + done * size, d->buffer + d->pos, run * size);
        d->pos += (uint32_t)(run * size);
        done += run;
        if (d->pos == d->drq_end) {
            ata_drive_pio_done(d);
        }
    }
    return done;
}

static size_t command_write_block(void *opaque, uint64_t offset, const void *buf, unsigned size,
                                  size_t count)
{
    struct ata_drive *d = selected(opaque);
    size_t done = 0, run;

    while (offset == REG_DATA && (run = data_run(d, ATA_PIO_OUT, size, count - done)) > 0) {
        memcpy(d->buffer + d->pos, (const uint8_t *)buf + done * size, run * size);
        d->pos += (uint32_t)(run * size);
        done += run;
        if (d->pos == d->drq_end) {
            ata_drive_pio_done(d);
        }
    }
    return done;
}

/* ---- registers ---- */

/* The drive that answers reads, and whether it does so for a missing drive 1. */
static const struct ata_drive *responder(const struct ide_channel *ch, bool *shadow)
{
    const struct ata_drive *d = selected(ch);

    *shadow = false;
    if (!d && ch->select == 1 && ch->host.drive[0] && !ch->host.drive[0]->packet) {
        *shadow = true;
        return ch->host.drive[0];
    }
    return d;
}

static uint8_t register_read(struct ide_channel *ch, unsigned reg)
{
    unsigned hob = ch->control & ATA_CONTROL_HOB ? 1 : 0;
    const struct ata_drive *d;
    bool shadow;

    d = responder(ch, &shadow);
    if (!d) {
        return 0;
    }
    switch ((enum ata_register)reg) {
    case REG_ERROR:
        return shadow ? 0 : hob ? d->feature[1] : d->error;
    case REG_COUNT:
        return d->count[hob];
    case REG_LBA_LOW:
        return d->lba_low[hob];
    case REG_LBA_MID:
        return d->lba_mid[hob];
    case REG_LBA_HIGH:
        return d->lba_high[hob];
    case REG_DEVICE:
        return d->device;
    case REG_STATUS:
        if (shadow) {
            return 0;
        }
        if (d->intrq) {
            selected(ch)->intrq = false;
            ide_channel_update_irq(ch);
        }
        return d->status;
    case REG_DATA:
        break;
    }
    return 0;
}

static void latch(uint8_t *fifo, uint8_t value)
{
    fifo[1] = fifo[0];
    fifo[0] = value;
}

/* EXECUTE DEVICE DIAGNOSTIC: for both drives; drive 0 answers, also for a drive 1 that is not
 * there. */
static void diagnostic(struct ide_channel *ch)
{
    for (unsigned i = 0; i < 2; i++) {
        if (ch->host.drive[i]) {
            ata_drive_reset(ch->host.drive[i], false);
        }
    }
    ch->select = 0;
    if (ch->host.drive[0]) {
        ata_drive_raise_when_quiet(ch->host.drive[0]);
        ide_channel_update_irq(ch);
    } else {
        ide_channel_update_irq(ch);
    }
}

static void command_write(struct ide_channel *ch, uint8_t code)
{
    struct ata_drive *d = selected(ch);

    if (code == ATA_CMD_DIAGNOSTIC) {
        if (d && !(d->status & (ATA_BSY | ATA_DRQ))) {
            diagnostic(ch);
        }
        return;
    }
    if (!d) {
        return;
    }
    if (code == ATA_CMD_DEVICE_RESET && d->packet) {
        ata_drive_reset(d, false);
        ide_channel_update_irq(ch);
        return;
    }
    if (d->status & (ATA_BSY | ATA_DRQ)) {
        log_guest(LOG_IDE, "%s: command 0x%02x while another is in progress", d->dev.id, code);
        return;
    }
    d->intrq = false;
    ide_channel_update_irq(ch);
    ata_drive_command(d, code);
}

static void register_write(struct ide_channel *ch, unsigned reg, uint8_t value)
{
    const struct ata_drive *active = selected(ch);

    if (reg != REG_STATUS && active && active->status & (ATA_BSY | ATA_DRQ)) {
        return; /* not allowed (ATA-6 7.1): a command's parameters stay */
    }
    ch->control &= ~ATA_CONTROL_HOB;
    if (reg == REG_STATUS) {
        command_write(ch, value);
        return;
    }
    if (reg == REG_DEVICE) {
        ch->select = value & ATA_DEVICE_DEV ? 1 : 0;
    }
    for (unsigned i = 0; i < 2; i++) {
        struct ata_drive *d = ch->host.drive[i];

        if (!d) {
            continue;
        }
        if (reg == REG_DEVICE) {
            d->device = value | ATA_DEVICE_OBSOLETE;
        }
        if (d->status & ATA_BSY) {
            continue; /* its registers are the drive's own now */
        }
        switch ((enum ata_register)reg) {
        case REG_ERROR:
            latch(d->feature, value);
            break;
        case REG_COUNT:
            latch(d->count, value);
            break;
        case REG_LBA_LOW:
            latch(d->lba_low, value);
            break;
        case REG_LBA_MID:
            latch(d->lba_mid, value);
            break;
        case REG_LBA_HIGH:
            latch(d->lba_high, value);
            break;
        case REG_DEVICE:
        case REG_STATUS:
        case REG_DATA:
            break;
        }
    }
    if (reg == REG_DEVICE) {
        ide_channel_update_irq(ch);
    }
}

static uint64_t command_ports_read(void *opaque, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    if (offset == REG_DATA) {
        return data_read(opaque, size);
    }
    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)register_read(opaque, (unsigned)offset + i) << 8 * i;
    }
    return value;
}

static void command_ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    if (offset == REG_DATA) {
        data_write(opaque, (uint32_t)value, size);
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        register_write(opaque, (unsigned)offset + i, (uint8_t)(value >> 8 * i));
    }
}

const struct region_ops ide_command_ops = {
    .read = command_ports_read,
    .write = command_ports_write,
    .read_block = command_read_block,
    .write_block = command_write_block,
    .impl_min = 1,
    .impl_max = 4,
};

/* ---- control port ---- */

static uint64_t control_port_read(void *opaque, uint64_t offset, unsigned size)
{
    struct ide_channel *ch = opaque;
    const struct ata_drive *d = selected(ch);

    (void)offset;
    (void)size;
    return d ? d->status : 0;
}

static void control_port_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct ide_channel *ch = opaque;
    uint8_t was = ch->control;

    (void)offset;
    (void)size;
    ch->control = (uint8_t)value;
    if (~was & value & ATA_CONTROL_SRST) {
        ch->select = 0;
        for (unsigned i = 0; i < 2; i++) {
            if (ch->host.drive[i]) {
                ata_drive_hold_reset(ch->host.drive[i]);
            }
        }
    } else if (was & ~value & ATA_CONTROL_SRST) {
        for (unsigned i = 0; i < 2; i++) {
            if (ch->host.drive[i]) {
                ata_drive_reset(ch->host.drive[i], false);
            }
        }
    }
    ide_channel_update_irq(ch);
}

const struct region_ops ide_control_ops = {
    .read = control_port_read,
    .write = control_port_write,
    .impl_min = 1,
    .impl_max = 1,
};
