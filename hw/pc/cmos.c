/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CMOS RAM behind ports 0x70/0x71, bytes 14-127 of the MC146818's (data sheet DS12885/MC146818A,
 * "RAM").
 *
 * The clock itself, registers 0-13, is Xen's: it swallows a write to 0x70 that selects one of them
 * and every access to 0x71 that follows, and forwards the rest (toolstack.md 4.4). So an index
 * below 14 is never seen here on Xen; in unit tests those registers read all ones. As on the chip,
 * 0x70 is write-only (its bit 7, the NMI mask, goes nowhere).
 *
 * The contents survive every reset, as the battery keeps them (but see CMOS_SHUTDOWN_STATUS), and a
 * change by the guest lasts as long as the process.
 *
 * Users: hvmloader writes the memory sizes; SeaBIOS reads boot order (0x38, 0x3D) and disk
 * translation (0x39); Linux and ACPI read the century (0x32); DOS-age software the rest. The board
 * fills it: hw/pc/board.c.
 */
#include <string.h>

#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/machine.h>

#include "cmos.h"

#define CMOS_SIZE 128u
#define CMOS_CLOCK 14u       /* below: the clock's registers */
#define CMOS_INDEX_NONE 0x0d /* power-on: some register of the clock's */

/*
 * After a reset the BIOS looks here for why it runs. No chip writes it at S3 wake-up; real boards
 * find out by the power management status. SeaBIOS takes this value for it (src/resume.c), and QEMU
 * sets it, too; anything else makes it reboot.
 */
#define CMOS_SHUTDOWN_STATUS 0x0f
#define SHUTDOWN_S3_RESUME 0xfe

struct cmos {
    struct device dev;
    struct region ports;
    uint8_t index;
    uint8_t ram[CMOS_SIZE];
};

static uint64_t cmos_read(void *opaque, uint64_t offset, unsigned size)
{
    struct cmos *s = opaque;

    if (offset == 0 || s->index < CMOS_CLOCK) {
        return 0xff;
    }
    return s->ram[s->index % CMOS_SIZE];
}

static void cmos_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct cmos *s = opaque;

    if (offset == 0) {
        s->index = value & (CMOS_SIZE - 1);
    } else if (s->index >= CMOS_CLOCK) {
        s->ram[s->index % CMOS_SIZE] = (uint8_t)value;
    }
}

static const struct region_ops cmos_ops = {
    .read = cmos_read,
    .write = cmos_write,
    .impl_max = 1,
};

void cmos_set(struct device *dev, unsigned index, uint8_t value)
{
    struct cmos *s = DEVICE_CAST(struct cmos, dev);

    if (index >= CMOS_CLOCK && index < CMOS_SIZE) {
        s->ram[index] = value;
    }
}

static int cmos_realize(struct device *dev, GError **err)
{
    struct cmos *s = DEVICE_CAST(struct cmos, dev);

    region_init(&s->ports, "cmos", &cmos_ops, s, 2);
    return device_place_pio(dev, &s->ports, 0x70, err);
}

static void cmos_reset(struct device *dev, enum reset_reason why)
{
    struct cmos *s = DEVICE_CAST(struct cmos, dev);

    s->index = CMOS_INDEX_NONE;
    if (why == RESET_WAKEUP) {
        s->ram[CMOS_SHUTDOWN_STATUS] = SHUTDOWN_S3_RESUME;
    }
}

static void cmos_describe(struct device *dev, struct facts *to)
{
    struct cmos *s = DEVICE_CAST(struct cmos, dev);

    fact_hex(to, "index", s->index);
    fact_text(to, "boot order", "0x3d=%02x 0x38=%02x", s->ram[0x3d], s->ram[0x38]);
    fact_hex(to, "translation", s->ram[0x39]);
}

static const struct state_desc cmos_state = {
    .name = "cmos",
    .version = 1,
    .fields =
        (const struct state_field[]){
            STATE_FIELD_U8(struct cmos, index, .min = 0, .max = CMOS_SIZE - 1),
            STATE_FIELD_BYTES(struct cmos, ram),
            STATE_FIELD_END,
        },
};

const struct device_class cmos_class = {
    .name = "cmos",
    .help = "CMOS RAM",
    .built_in = "every machine has one",
    .size = sizeof(struct cmos),
    .recorded = true,
    .state = &cmos_state,
    .realize = cmos_realize,
    .reset = cmos_reset,
    .describe = cmos_describe,
};
