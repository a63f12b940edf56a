/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The IDE function of Intel's PIIX3 (8086:7010): two ATA channels in compatibility mode and their
 * bus masters.
 *
 * Sources: 82371FB/82371SB data sheet (290550), sections 2.3 (function 1 configuration), 2.7 (bus
 * master registers); SFF-8038i 1.0. Used by SeaBIOS, OVMF and every guest without PV drivers, until
 * it asks for its unplugging.
 *
 * Left out on purpose: native mode (the chip has none), the timings behind IDETIM and SIDETIM,
 * which are only kept. Unlike the chip the legacy ports do not need the I/O space bit of the
 * command register. Where a bus-master transfer meets an address without memory, the drive aborts
 * its command, so that the guest learns by an interrupt what SFF-8038i would leave to its time-out.
 */
#include <errno.h>

#include "ide-internal.h"

#define CONFIG_COMMAND 0x04
#define COMMAND_MASTER 0x04
#define CONFIG_IDETIM 0x40 /* word per channel; bit 15: decode the ports */
#define CONFIG_SIDETIM 0x44

/* Which ports, which interrupt. */
static const struct {
    uint16_t command, control;
    uint8_t irq;
    const char *command_name, *control_name;
} channel_info[2] = {
    {0x1f0, 0x3f6, 14, "ide0-command", "ide0-control"},
    {0x170, 0x376, 15, "ide1-command", "ide1-control"},
};

static struct ide_controller *controller(struct device *dev)
{
    return DEVICE_CAST(struct ide_controller, dev);
}

static void decode_update(struct ide_controller *c)
{
    memcpy(c->timing, c->pci.config + CONFIG_IDETIM, sizeof(c->timing));
    for (unsigned i = 0; i < 2; i++) {
        bool decoded = c->pci.config[CONFIG_IDETIM + 2 * i + 1] & 0x80;

        region_set_hidden(&c->channel[i].command_ports, !decoded);
        region_set_hidden(&c->channel[i].control_port, !decoded);
    }
}

static void piix3_ide_config_written(struct device *dev, unsigned reg, unsigned len, uint32_t old)
{
    struct ide_controller *c = controller(dev);

    if ((reg & ~3u) == CONFIG_IDETIM) {
        decode_update(c);
    }
    if ((reg & ~3u) == CONFIG_COMMAND && !(c->pci.config[CONFIG_COMMAND] & COMMAND_MASTER)) {
        ide_bm_master_off(&c->channel[0]);
        ide_bm_master_off(&c->channel[1]);
    }
}

static uint64_t bm_read(void *opaque, uint64_t offset, unsigned size)
{
    struct ide_controller *c = opaque;
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++) {
        unsigned at = (unsigned)offset + i;

        value |= (uint64_t)ide_bm_read(&c->channel[at >> 3 & 1], at & 7) << 8 * i;
    }
    return value;
}

/* From the last byte to the first, so that a wide write clears the status before it starts the
 * engine. */
static void bm_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct ide_controller *c = opaque;

    for (unsigned i = size; i-- > 0;) {
        unsigned at = (unsigned)offset + i;

        ide_bm_write(&c->channel[at >> 3 & 1], at & 7, (uint8_t)(value >> 8 * i));
    }
}

static const struct region_ops bm_ops = {
    .read = bm_read,
    .write = bm_write,
    .impl_min = 1,
    .impl_max = 4,
};

static void unrealize_channels(struct ide_controller *c)
{
    for (unsigned i = 0; i < 2; i++) {
        ata_host_fini(&c->channel[i].host);
    }
}

static int piix3_ide_realize(struct device *dev, GError **err)
{
    struct ide_controller *c = controller(dev);

    memset(c->pci.writable + CONFIG_IDETIM, 0xff, 4);
    c->pci.writable[CONFIG_SIDETIM] = 0xff;
    for (unsigned i = 0; i < 2; i++) {
        struct ide_channel *ch = &c->channel[i];
        int ret;

        ch->controller = c;
        ata_host_init(&ch->host, dev, g_strdup_printf("ide.%u", i), &ide_host_ops, 2);
        ch->host.first = 2 * i;
        device_connect_isa_irq(dev, &ch->irq, channel_info[i].irq);
        region_init(&ch->command_ports, channel_info[i].command_name, &ide_command_ops, ch, 8);
        ch->command_ports.payload = 1u << 0; /* the data port */
        region_init(&ch->control_port, channel_info[i].control_name, &ide_control_ops, ch, 1);
        ret = device_place_pio(dev, &ch->command_ports, channel_info[i].command, err);
        if (ret == 0) {
            ret = device_place_pio(dev, &ch->control_port, channel_info[i].control, err);
        }
        if (ret) {
            unrealize_channels(c);
            return ret;
        }
    }
    return 0;
}

static void piix3_ide_unrealize(struct device *dev)
{
    unrealize_channels(controller(dev));
}

static void piix3_ide_reset(struct device *dev, enum reset_reason why)
{
    struct ide_controller *c = controller(dev);

    for (unsigned i = 0; i < 2; i++) {
        for (unsigned unit = 0; unit < 2; unit++) {
            if (c->channel[i].host.drive[unit]) {
                ata_drive_cancel(c->channel[i].host.drive[unit]);
            }
        }
        ide_bm_reset(&c->channel[i]);
        ide_channel_reset(&c->channel[i]);
    }
    /* After S3 no firmware that we have enables the ports again, as a PC's would; so they stay. */
    if (why == RESET_WAKEUP) {
        memcpy(c->pci.config + CONFIG_IDETIM, c->timing, sizeof(c->timing));
    }
    decode_update(c);
}

static void piix3_ide_describe(struct device *dev, struct facts *to)
{
    static const char *const names[] = {"channel 0", "channel 1"};
    struct ide_controller *c = controller(dev);

    for (unsigned i = 0; i < 2; i++) {
        const struct ide_channel *ch = &c->channel[i];

        fact_group(to, names[i]);
        fact_bool(to, "decoded", !ch->command_ports.hidden);
        fact_int(to, "drive selected", ch->select);
        fact_hex(to, "control", ch->control);
        fact_text(to, "irq", "%s", ch->irq.level ? "high" : "low");
        fact_hex(to, "bus master command", ch->bm.command);
        fact_hex(to, "bus master status", ch->bm.status);
        fact_hex(to, "bus master table", ch->bm.table);
    }
}

#define CHANNEL_FIELD(n, t, f, ...) \
    { \
        .name = n, .type = t, .offset = offsetof(struct ide_channel, f), __VA_ARGS__ \
    }

static const struct state_field channel_fields[] = {
    STATE_FIELD_U8(struct ide_channel, select, .max = 1),
    STATE_FIELD_U8(struct ide_channel, control),
    STATE_FIELD_IRQ(struct ide_channel, irq),
    CHANNEL_FIELD("bm-command", STATE_U8, bm.command),
    CHANNEL_FIELD("bm-status", STATE_U8, bm.status),
    CHANNEL_FIELD("bm-table", STATE_U32, bm.table),
    CHANNEL_FIELD("prd-next", STATE_U32, bm.cursor.next),
    CHANNEL_FIELD("prd-address", STATE_U32, bm.cursor.address),
    CHANNEL_FIELD("prd-left", STATE_U32, bm.cursor.left, .max = 0x10000),
    CHANNEL_FIELD("prd-fetched", STATE_U32, bm.cursor.fetched),
    CHANNEL_FIELD("prd-last", STATE_BOOL, bm.cursor.last),
    STATE_FIELD_END,
};

static const struct state_desc channel_state = {.name = "channel",
                                                .version = 1,
                                                .fields = channel_fields};

static void piix3_ide_post_load(void *base)
{
    decode_update(base);
}

static const struct state_field controller_fields[] = {
    STATE_FIELD_STRUCT(struct ide_controller, channel, 2, &channel_state),
    STATE_FIELD_END,
};

static const struct state_desc controller_state = {
    .name = "piix3-ide",
    .version = 1,
    .fields = controller_fields,
    .post_load = piix3_ide_post_load,
};

static const struct pci_config_reg piix3_ide_config[] = {
    {0x06, 0x80}, /* fast back-to-back, medium DEVSEL# timing */
    {0x07, 0x02},
    {0},
};

static const struct pci_info piix3_ide_pci = {
    .vendor = 0x8086,
    .device = 0x7010,
    .subsystem_vendor = 0x1af4, /* QEMU's, so that a guest sees the same hardware */
    .subsystem = 0x1100,
    .class = 0x010180, /* IDE, bus master, both channels fixed to compatibility mode */
    .bar = {[4] = {.type = PCI_BAR_IO, .size = 16, .ops = &bm_ops, .name = "ide-bus-master"}},
    .config = piix3_ide_config,
    .config_written = piix3_ide_config_written,
};

const struct device_class piix3_ide_class = {
    .name = IDE_CONTROLLER_ID,
    .help = "PIIX3 bus-master IDE, two channels",
    .built_in = "every machine has one",
    .size = sizeof(struct ide_controller),
    .recorded = true,
    .state = &controller_state,
    .realize = piix3_ide_realize,
    .reset = piix3_ide_reset,
    .unrealize = piix3_ide_unrealize,
    .describe = piix3_ide_describe,
    .pci = &piix3_ide_pci,
};

struct device *ide_drive_at(struct device *dev, unsigned index)
{
    struct ata_drive *d =
        index < 4 ? controller(dev)->channel[index >> 1].host.drive[index & 1] : NULL;

    return d ? &d->dev : NULL;
}
