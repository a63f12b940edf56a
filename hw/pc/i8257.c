/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two Intel 8237A ISA DMA controllers of the 82371SB and their page registers: channels 0-3 at
 * 0x00-0x0F, 4-7 at 0xC0-0xDF (registers two ports apart), page registers at 0x81-0x8F.
 *
 * Sources: 8237A data sheet (231466), "Register description" and "Software commands"; 82371SB data
 * sheet 2.5.1 and table 5 (page registers; the unassigned ones are plain storage, as on the chip).
 *
 * Left out on purpose: transfers. No device in this machine asks for ISA DMA (there is no floppy
 * controller and no ISA sound card), so DREQ never rises, no address ever counts, and
 * memory-to-memory, which the PC does not wire up, has nothing to do. The registers are complete,
 * so that firmware and drivers that program or probe them read what they wrote. Port 0x80 is not
 * claimed: Xen lets it through to the hardware. 0x88 reads back 0, not hvmloader's battery
 * signature 0x1F.
 *
 * Users: SeaBIOS and OSes initialise them (command, cascade mode of channel 4, masks).
 */
#include <string.h>

#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/machine.h>

struct dma_channel {
    uint16_t base_address, base_count;
    uint16_t address, count; /* current; equal to base until something transfers */
    uint8_t mode;            /* bits 7:2 of the mode register */
};

struct dma_controller {
    struct dma_channel channel[4];
    uint8_t command, mask, request; /* bit n: channel n */
    bool high_byte;                 /* first/last flip-flop */
    uint8_t temporary;
};

struct i8257 {
    struct device dev;
    struct region low, high, page_ports;
    struct dma_controller controller[2];
    uint8_t page[16]; /* by port & 15; [0] is port 0x80's and never used */
};

enum {
    REG_COMMAND = 8, /* read: status */
    REG_REQUEST = 9,
    REG_MASK_BIT = 10,
    REG_MODE = 11,
    REG_CLEAR_FLIP_FLOP = 12,
    REG_MASTER_CLEAR = 13, /* read: temporary */
    REG_CLEAR_MASK = 14,
    REG_MASK_ALL = 15,
};

static void controller_clear(struct dma_controller *c)
{
    c->command = 0;
    c->request = 0;
    c->temporary = 0;
    c->mask = 0x0f;
    c->high_byte = false;
}

static uint8_t controller_read(struct dma_controller *c, unsigned reg)
{
    if (reg < REG_COMMAND) {
        const struct dma_channel *ch = &c->channel[reg / 2];
        uint16_t value = reg & 1 ? ch->count : ch->address;
        uint8_t byte = c->high_byte ? value >> 8 : value & 0xff;

        c->high_byte = !c->high_byte;
        return byte;
    }
    switch (reg) {
    case REG_COMMAND:
        return c->request << 4 & 0xf0; /* pending; no channel ever reaches terminal count */
    case REG_MASTER_CLEAR:
        return c->temporary;
    case REG_MASK_ALL:
        return 0xf0 | c->mask; /* 82371SB: readable here */
    default:
        return 0xff;
    }
}

static void write_half(uint16_t *value, bool high, uint8_t byte)
{
    *value =
        high ? (uint16_t)((*value & 0x00ff) | byte << 8) : (uint16_t)((*value & 0xff00) | byte);
}

static void controller_write(struct dma_controller *c, unsigned reg, uint8_t value)
{
    unsigned n = value & 3;

    if (reg < REG_COMMAND) {
        struct dma_channel *ch = &c->channel[reg / 2];

        write_half(reg & 1 ? &ch->base_count : &ch->base_address, c->high_byte, value);
        write_half(reg & 1 ? &ch->count : &ch->address, c->high_byte, value);
        c->high_byte = !c->high_byte;
        return;
    }
    switch (reg) {
    case REG_COMMAND:
        c->command = value;
        break;
    case REG_REQUEST:
        c->request = value & 4 ? c->request | 1u << n : c->request & ~(1u << n);
        break;
    case REG_MASK_BIT:
        c->mask = value & 4 ? c->mask | 1u << n : c->mask & ~(1u << n);
        break;
    case REG_MODE:
        c->channel[n].mode = value & 0xfc;
        break;
    case REG_CLEAR_FLIP_FLOP:
        c->high_byte = false;
        break;
    case REG_MASTER_CLEAR:
        controller_clear(c);
        break;
    case REG_CLEAR_MASK:
        c->mask = 0;
        break;
    case REG_MASK_ALL:
        c->mask = value & 0x0f;
        break;
    }
}

static uint64_t low_read(void *opaque, uint64_t offset, unsigned size)
{
    struct i8257 *s = opaque;

    return controller_read(&s->controller[0], offset & 15);
}

static void low_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct i8257 *s = opaque;

    controller_write(&s->controller[0], offset & 15, (uint8_t)value);
}

/* The second controller's A0 is the bus' A1: every register appears at two ports. */
static uint64_t high_read(void *opaque, uint64_t offset, unsigned size)
{
    struct i8257 *s = opaque;

    return controller_read(&s->controller[1], offset >> 1 & 15);
}

static void high_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct i8257 *s = opaque;

    controller_write(&s->controller[1], offset >> 1 & 15, (uint8_t)value);
}

static uint64_t page_read(void *opaque, uint64_t offset, unsigned size)
{
    struct i8257 *s = opaque;

    return s->page[(offset + 1) & 15];
}

static void page_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct i8257 *s = opaque;

    s->page[(offset + 1) & 15] = (uint8_t)value;
}

static const struct region_ops low_ops = {.read = low_read, .write = low_write, .impl_max = 1};
static const struct region_ops high_ops = {.read = high_read, .write = high_write, .impl_max = 1};
static const struct region_ops page_ops = {.read = page_read, .write = page_write, .impl_max = 1};

static int i8257_realize(struct device *dev, GError **err)
{
    struct i8257 *s = DEVICE_CAST(struct i8257, dev);
    int ret;

    region_init(&s->low, "dma-low", &low_ops, s, 16);
    region_init(&s->high, "dma-high", &high_ops, s, 32);
    region_init(&s->page_ports, "dma-page", &page_ops, s, 15);
    ret = device_place_pio(dev, &s->low, 0x00, err);
    if (ret == 0) {
        ret = device_place_pio(dev, &s->page_ports, 0x81, err);
    }
    if (ret == 0) {
        ret = device_place_pio(dev, &s->high, 0xc0, err);
    }
    return ret;
}

static void i8257_reset(struct device *dev, enum reset_reason why)
{
    struct i8257 *s = DEVICE_CAST(struct i8257, dev);

    memset(s->controller, 0, sizeof(s->controller));
    memset(s->page, 0, sizeof(s->page));
    controller_clear(&s->controller[0]);
    controller_clear(&s->controller[1]);
}

static void i8257_describe(struct device *dev, struct facts *to)
{
    static const char *const names[] = {"channels 0-3", "channels 4-7"};
    struct i8257 *s = DEVICE_CAST(struct i8257, dev);

    for (unsigned i = 0; i < 2; i++) {
        fact_group(to, names[i]);
        fact_hex(to, "command", s->controller[i].command);
        fact_hex(to, "mask", s->controller[i].mask);
        fact_hex(to, "request", s->controller[i].request);
    }
}

static const struct state_desc channel_state = {
    .name = "channel",
    .version = 1,
    .fields =
        (const struct state_field[]){
            STATE_FIELD_U16(struct dma_channel, base_address),
            STATE_FIELD_U16(struct dma_channel, base_count),
            STATE_FIELD_U16(struct dma_channel, address),
            STATE_FIELD_U16(struct dma_channel, count),
            STATE_FIELD_U8(struct dma_channel, mode),
            STATE_FIELD_END,
        },
};

static const struct state_desc controller_state = {
    .name = "controller",
    .version = 1,
    .fields =
        (const struct state_field[]){
            STATE_FIELD_STRUCT(struct dma_controller, channel, 4, &channel_state),
            STATE_FIELD_U8(struct dma_controller, command),
            STATE_FIELD_U8(struct dma_controller, mask, .min = 0, .max = 15),
            STATE_FIELD_U8(struct dma_controller, request, .min = 0, .max = 15),
            STATE_FIELD_BOOL(struct dma_controller, high_byte),
            STATE_FIELD_U8(struct dma_controller, temporary),
            STATE_FIELD_END,
        },
};

static const struct state_desc i8257_state = {
    .name = "i8257",
    .version = 1,
    .fields =
        (const struct state_field[]){
            STATE_FIELD_STRUCT(struct i8257, controller, 2, &controller_state),
            STATE_FIELD_BYTES(struct i8257, page),
            STATE_FIELD_END,
        },
};

const struct device_class i8257_class = {
    .name = "i8257",
    .help = "ISA DMA controllers (registers only)",
    .built_in = "every machine has one",
    .size = sizeof(struct i8257),
    .recorded = true,
    .state = &i8257_state,
    .realize = i8257_realize,
    .reset = i8257_reset,
    .describe = i8257_describe,
};
