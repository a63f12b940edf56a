/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i8042: the keyboard controller at 0x60 and 0x64, with a PS/2 keyboard (IRQ 1) and mouse (IRQ 12)
 * on it. For every guest.
 *
 * Sources: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and auxiliary device
 * controller"; A. Chapweske's PS/2 documents; what Linux' i8042 and SeaBIOS do with it.
 *
 * The input buffer is never full, and answers to commands are there at once. A byte of a key or of
 * movement comes BYTE_NS after the one before was read, as on the wire: until then port 0x60 keeps
 * what it had, for the second one of a chain of interrupt handlers. An interrupt line is high while
 * a byte for it waits, so each byte makes an edge. A disabled interface holds back keys and
 * movement but not answers to commands, because drivers send commands to disabled ports and expect
 * to be answered.
 *
 * Left out: the controller's RAM but the command byte, password, diagnostics; port 92 belongs to
 * the ISA bridge; the A20 gate is a bit that reads back and switches nothing (Xen has none for HVM
 * guests).
 */
#include <string.h>

#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/log.h>
#include <xendm/machine.h>

#include "ps2.h"

/* Status */
#define ST_OUTPUT_FULL 0x01
#define ST_SYSTEM 0x04
#define ST_COMMAND 0x08 /* the last write went to 0x64 */
#define ST_UNLOCKED 0x10
#define ST_AUX_FULL 0x20
/* Command byte */
#define CB_KBD_INT 0x01
#define CB_AUX_INT 0x02
#define CB_SYSTEM 0x04
#define CB_KBD_OFF 0x10
#define CB_AUX_OFF 0x20
#define CB_TRANSLATE 0x40
/* Output port */
#define OP_NO_RESET 0x01
#define OP_A20 0x02
#define OP_KBD_FULL 0x10
#define OP_AUX_FULL 0x20
#define OP_IDLE 0xcc /* the lines' idle state */

#define BYTE_NS NS_PER_MS /* 11 bits at 10 to 16.7 kHz */

struct i8042 {
    struct device dev;
    struct region data_region, command_region;
    struct irq kbd_irq, aux_irq;
    uint8_t mode; /* the command byte */
    uint8_t output_port;
    uint8_t command; /* whose argument is awaited at 0x60; 0: none, so the byte is the keyboard's */
    bool last_was_command;
    bool full, full_aux; /* output buffer */
    uint8_t data;
    bool typed;                            /* it is no answer: a key's byte or the mouse's */
    bool took_key;                         /* so that there is room for another */
    struct vtimer gap;                     /* while it runs, no such byte comes */
    bool breaking;                         /* translation saw the break prefix */
    struct ps2_queue answers, aux_answers; /* the controller's own; the latter as if by the mouse */
    struct ps2_keyboard keyboard;
    struct ps2_mouse mouse;
};

static bool i8042_take_keyboard(struct i8042 *s, uint8_t *byte)
{
    bool is_answer, answers_only = (s->mode & CB_KBD_OFF) || vtimer_armed(&s->gap);

    while (ps2_keyboard_take(&s->keyboard, answers_only, byte, &is_answer)) {
        s->typed = !is_answer;
        s->took_key |= !is_answer;
        if (!(s->mode & CB_TRANSLATE)) {
            s->breaking = false;
            return true;
        }
        if (is_answer) {
            *byte = ps2_translate(*byte);
            return true;
        }
        if (*byte == 0xf0) {
            s->breaking = true;
            continue; /* at most once: a prefix is followed by its code */
        }
        *byte = (uint8_t)(ps2_translate(*byte) | (s->breaking ? 0x80 : 0));
        s->breaking = false;
        return true;
    }
    return false;
}

static bool i8042_take_mouse(struct i8042 *s, uint8_t *byte)
{
    s->typed = s->mouse.reply.count == 0;
    return ps2_mouse_take(&s->mouse, (s->mode & CB_AUX_OFF) || vtimer_armed(&s->gap), byte);
}

/* Fills the output buffer if it is empty, by priority, and drives the interrupt lines. */
static void i8042_update(struct i8042 *s)
{
    if (!s->full) {
        s->full_aux = s->typed = false;
        if (ps2_queue_take(&s->answers, &s->data) || i8042_take_keyboard(s, &s->data)) {
            s->full = true;
        } else if (ps2_queue_take(&s->aux_answers, &s->data) || i8042_take_mouse(s, &s->data)) {
            s->full = s->full_aux = true;
        }
    }
    irq_set(&s->kbd_irq, s->full && !s->full_aux && (s->mode & CB_KBD_INT));
    irq_set(&s->aux_irq, s->full && s->full_aux && (s->mode & CB_AUX_INT));
    /* It may call us back; the buffer is full then. */
    if (s->took_key && s->keyboard.port.input) {
        s->took_key = false;
        input_key_ready(s->keyboard.port.input);
    }
}

static void i8042_gap_over(void *opaque)
{
    i8042_update(opaque);
}

static void i8042_ready(void *opaque)
{
    i8042_update(opaque);
}

static void i8042_answer(struct i8042 *s, uint8_t byte)
{
    ps2_queue_put(&s->answers, &byte, 1);
}

static uint8_t i8042_output_port(const struct i8042 *s)
{
    return (uint8_t)(s->output_port | (s->full && !s->full_aux ? OP_KBD_FULL : 0) |
                     (s->full && s->full_aux ? OP_AUX_FULL : 0));
}

static void i8042_set_output_port(struct i8042 *s, uint8_t value)
{
    s->output_port = value & ~(OP_KBD_FULL | OP_AUX_FULL);
    if (!(value & OP_NO_RESET)) {
        machine_request_reset(s->dev.machine);
    }
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    struct i8042 *s = opaque;
    uint8_t byte = s->data;

    if (s->full) {
        s->full = false;
        if (s->typed) {
            vtimer_arm_in(&s->gap, BYTE_NS);
        }
        irq_set(&s->kbd_irq, false);
        irq_set(&s->aux_irq, false);
        i8042_update(s);
    }
    return byte;
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct i8042 *s = opaque;
    uint8_t byte = (uint8_t)value, command = s->command;

    s->last_was_command = false;
    s->command = 0;
    switch (command) {
    case 0x60:
        s->mode = byte & 0x7f;
        break;
    case 0xd1:
        i8042_set_output_port(s, byte);
        break;
    case 0xd2:
        i8042_answer(s, byte);
        break;
    case 0xd3:
        ps2_queue_put(&s->aux_answers, &byte, 1);
        break;
    case 0xd4: /* sending to a device switches its interface on */
        s->mode &= ~CB_AUX_OFF;
        ps2_mouse_write(&s->mouse, byte);
        break;
    default:
        s->mode &= ~CB_KBD_OFF;
        ps2_keyboard_write(&s->keyboard, byte);
        s->took_key = true; /* it may have forgotten some */
        break;
    }
    i8042_update(s);
}

static uint64_t status_read(void *opaque, uint64_t offset, unsigned size)
{
    struct i8042 *s = opaque;
    uint8_t status = ST_UNLOCKED;

    if (s->full) {
        status |= ST_OUTPUT_FULL | (s->full_aux ? ST_AUX_FULL : 0);
    }
    if (s->mode & CB_SYSTEM) {
        status |= ST_SYSTEM;
    }
    if (s->last_was_command) {
        status |= ST_COMMAND;
    }
    return status;
}

static void command_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct i8042 *s = opaque;
    uint8_t command = (uint8_t)value;

    s->last_was_command = true;
    s->command = 0;
    switch (command) {
    case 0x20:
        i8042_answer(s, s->mode);
        break;
    case 0x60:
    case 0xd1:
    case 0xd2:
    case 0xd3:
    case 0xd4:
        s->command = command;
        break;
    case 0xa7:
        s->mode |= CB_AUX_OFF;
        break;
    case 0xa8:
        s->mode &= ~CB_AUX_OFF;
        break;
    case 0xa9:
    case 0xab: /* interface tests */
        i8042_answer(s, 0x00);
        break;
    case 0xaa: /* self test */
        s->mode |= CB_SYSTEM;
        i8042_answer(s, 0x55);
        break;
    case 0xad:
        s->mode |= CB_KBD_OFF;
        break;
    case 0xae:
        s->mode &= ~CB_KBD_OFF;
        break;
    case 0xc0: /* input port: keyboard not locked */
        i8042_answer(s, 0x80);
        break;
    case 0xd0:
        i8042_answer(s, i8042_output_port(s));
        break;
    case 0xdd:
        s->output_port &= ~OP_A20;
        break;
    case 0xdf:
        s->output_port |= OP_A20;
        break;
    case 0xf0 ... 0xff: /* pulses output port bits that are 0 in the command; bit 0 is the CPU's
                           reset */
        if (!(command & 1)) {
            machine_request_reset(s->dev.machine);
        }
        break;
    default:
        log_guest(LOG_INPUT, "i8042: unknown command 0x%02x", command);
        break;
    }
    i8042_update(s);
}

static const struct region_ops data_ops = {.read = data_read, .write = data_write, .impl_max = 1};
static const struct region_ops command_ops = {.read = status_read,
                                              .write = command_write,
                                              .impl_max = 1};

static int i8042_realize(struct device *dev, GError **err)
{
    struct i8042 *s = DEVICE_CAST(struct i8042, dev);
    struct input *input = dev->machine->input;
    struct ps2_port port = {.ready = i8042_ready, .opaque = s, .input = input};
    int rc;

    region_init(&s->data_region, "i8042-data", &data_ops, s, 1);
    s->data_region.payload = REGION_ALL_PAYLOAD;
    region_init(&s->command_region, "i8042-command", &command_ops, s, 1);
    rc = device_place_pio(dev, &s->data_region, 0x60, err);
    if (rc == 0) {
        rc = device_place_pio(dev, &s->command_region, 0x64, err);
    }
    if (rc < 0) {
        return rc;
    }
    device_connect_isa_irq(dev, &s->kbd_irq, 1);
    device_connect_isa_irq(dev, &s->aux_irq, 12);
    vtimer_init(&s->gap, dev->machine->clock, "i8042-byte", i8042_gap_over, s);
    s->keyboard.port = s->mouse.port = port;
    if (input) {
        input_attach(input, &ps2_keyboard_input, &s->keyboard);
        input_attach(input, &ps2_mouse_input, &s->mouse);
    }
    return 0;
}

static void i8042_unrealize(struct device *dev)
{
    struct i8042 *s = DEVICE_CAST(struct i8042, dev);

    vtimer_disarm(&s->gap);
    if (s->keyboard.port.input) {
        input_detach(s->keyboard.port.input, &ps2_mouse_input, &s->mouse);
        input_detach(s->keyboard.port.input, &ps2_keyboard_input, &s->keyboard);
    }
}

static void i8042_reset(struct device *dev, enum reset_reason why)
{
    struct i8042 *s = DEVICE_CAST(struct i8042, dev);

    s->mode = CB_KBD_INT | CB_AUX_INT;
    s->output_port = OP_NO_RESET | OP_A20 | OP_IDLE;
    s->command = 0;
    s->last_was_command = true;
    s->full = s->full_aux = s->breaking = s->typed = false;
    vtimer_disarm(&s->gap);
    s->data = 0;
    memset(&s->answers, 0, sizeof(s->answers));
    memset(&s->aux_answers, 0, sizeof(s->aux_answers));
    ps2_keyboard_reset(&s->keyboard);
    ps2_mouse_reset(&s->mouse);
    s->took_key = true;
    i8042_update(s);
}

/* Saved between two bytes of a key, it goes on with the next. */
static void i8042_resume(struct device *dev)
{
    i8042_update(DEVICE_CAST(struct i8042, dev));
}

static void i8042_pre_save(void *base)
{
    struct i8042 *s = base;

    if (s->keyboard.port.input && input_keys_held(s->keyboard.port.input)) {
        ps2_keyboard_release_all(&s->keyboard);
    }
}

static void i8042_describe(struct device *dev, struct facts *to)
{
    struct i8042 *s = DEVICE_CAST(struct i8042, dev);

    fact_hex(to, "command byte", s->mode);
    fact_text(to, "output buffer", "%s", !s->full ? "empty" : s->full_aux ? "mouse" : "keyboard");
    fact_group(to, "keyboard");
    fact_int(to, "scan code set", s->keyboard.set);
    fact_bool(to, "translated", s->mode & CB_TRANSLATE);
    fact_bool(to, "scanning", s->keyboard.scanning);
    fact_int(to, "LEDs", s->keyboard.leds);
    fact_int(to, "dropped", (int64_t)s->keyboard.dropped);
    fact_group(to, "mouse");
    fact_int(to, "type", s->mouse.type);
    fact_bool(to, "reporting", s->mouse.reporting);
    fact_bool(to, "remote mode", s->mouse.remote);
}

static const struct state_field i8042_fields[] = {
    STATE_FIELD_IRQ(struct i8042, kbd_irq),
    STATE_FIELD_IRQ(struct i8042, aux_irq),
    STATE_FIELD_U8(struct i8042, mode, .max = 0x7f),
    STATE_FIELD_U8(struct i8042, output_port),
    STATE_FIELD_U8(struct i8042, command),
    STATE_FIELD_BOOL(struct i8042, last_was_command),
    STATE_FIELD_BOOL(struct i8042, full),
    STATE_FIELD_BOOL(struct i8042, full_aux),
    STATE_FIELD_U8(struct i8042, data),
    STATE_FIELD_BOOL(struct i8042, breaking),
    STATE_FIELD_STRUCT(struct i8042, answers, 1, &ps2_queue_state),
    STATE_FIELD_STRUCT(struct i8042, aux_answers, 1, &ps2_queue_state),
    STATE_FIELD_STRUCT(struct i8042, keyboard, 1, &ps2_keyboard_state),
    STATE_FIELD_STRUCT(struct i8042, mouse, 1, &ps2_mouse_state),
    STATE_FIELD_END,
};

static const struct state_desc i8042_state = {
    .name = "i8042",
    .version = 1,
    .fields = i8042_fields,
    .pre_save = i8042_pre_save,
};

const struct device_class i8042_class = {
    .name = "i8042",
    .help = "keyboard controller with PS/2 keyboard and mouse",
    .built_in = "every machine has one",
    .size = sizeof(struct i8042),
    .recorded = true,
    .state = &i8042_state,
    .realize = i8042_realize,
    .reset = i8042_reset,
    .unrealize = i8042_unrealize,
    .resume = i8042_resume,
    .describe = i8042_describe,
};
