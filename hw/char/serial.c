/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NS PC16550D UART as COM1-COM4: 0x3F8/irq 4, 0x2F8/irq 3, 0x3E8/irq 4, 0x2E8/irq 3.
 *
 * Source: PC16550D data sheet (TL/C/8652), chapters 8.1-8.8 (registers), 8.10 (FIFO interrupt
 * mode), 8.11 (FIFO polled mode).
 *
 * Differences from the chip, on purpose:
 *  - No baud rate: a character is sent as soon as the other end takes it. The divisor only sets how
 *    long the receiver FIFO waits before the character timeout interrupt.
 *  - While the THRE interrupt is enabled, characters stay in the transmitter FIFO until it is full,
 *    or the driver looks at LSR or IIR, or the main loop comes round: one write to the host and one
 *    interrupt for a batch instead of one each. Polled drivers see every character sent at once.
 *  - OUT2 does not gate the interrupt, as in chip sets with built-in UARTs.
 *  - Received characters wait in the back end; overruns exist in loopback mode only.
 *  - A break that is sent (LCR bit 6) and the line settings are not passed on: the back ends have
 *    no wire for them. Parity and framing errors do not happen.
 *  - DCD, DSR and CTS are always on, so that closing a terminal is not a hang-up to the guest; with
 *    carrier=on DCD and DSR follow the other end.
 *
 * Users: hvmloader probes IER; SeaBIOS, GRUB, Linux 8250, Windows serial.sys.
 */
#include <errno.h>
#include <string.h>

#include <xendm/chardev.h>
#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/machine.h>

#define FIFO_SIZE 16u
#define CLOCK_HZ 1843200

enum {
    REG_DATA = 0, /* RBR / THR; DLL with DLAB */
    REG_IER = 1,  /* DLM with DLAB */
    REG_IIR = 2,  /* write: FCR */
    REG_LCR = 3,
    REG_MCR = 4,
    REG_LSR = 5,
    REG_MSR = 6,
    REG_SCR = 7,
};

#define IER_RDI 0x01
#define IER_THRI 0x02
#define IER_RLSI 0x04
#define IER_MSI 0x08

#define IIR_NONE 0x01
#define IIR_MSI 0x00
#define IIR_THRI 0x02
#define IIR_RDI 0x04
#define IIR_RLSI 0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFOS 0xc0

#define FCR_ENABLE 0x01
#define FCR_CLEAR_RX 0x02
#define FCR_CLEAR_TX 0x04
#define FCR_KEPT 0xc9 /* enable, DMA mode, trigger */

#define LCR_STOP 0x04
#define LCR_PARITY 0x08
#define LCR_DLAB 0x80

#define MCR_DTR 0x01
#define MCR_RTS 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_WRITABLE 0x1f

#define LSR_DR 0x01
#define LSR_OE 0x02
#define LSR_BI 0x10
#define LSR_CHAR_ERRORS 0x1c /* PE, FE, BI: belong to a character */
#define LSR_ERRORS (LSR_OE | LSR_CHAR_ERRORS)
#define LSR_THRE 0x20
#define LSR_TEMT 0x40
#define LSR_FIFO_ERROR 0x80

#define MSR_DCTS 0x01
#define MSR_TERI 0x04
#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI 0x40
#define MSR_DCD 0x80

struct isa_serial {
    struct device dev;
    struct region ports;
    struct irq irq;
    struct vtimer rx_timeout; /* armed while characters wait below the trigger level */
    struct vtimer tx_timer;   /* armed for now while a batch is collected */

    uint32_t index;
    struct chardev *chardev;
    bool carrier;

    uint8_t ier, fcr, lcr, mcr, scr;
    uint8_t lsr_errors; /* OE and the errors of the character on top, until LSR is read */
    uint8_t msr;
    uint16_t divisor;
    uint8_t rx[FIFO_SIZE];
    uint8_t rx_flags[FIFO_SIZE]; /* LSR error bits that came with the character */
    uint8_t rx_head, rx_count;
    uint8_t last_rx; /* what RBR reads when it is empty */
    uint8_t tx[FIFO_SIZE];
    uint8_t tx_count;
    bool thre_pending; /* THRE interrupt not yet seen in IIR */
    bool timeout_pending;
    bool wait_writable; /* the host took less than we had */
};

static const struct {
    uint16_t port;
    uint8_t irq;
} places[4] = {{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}};

static unsigned fifo_size(const struct isa_serial *s)
{
    return s->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static unsigned rx_trigger(const struct isa_serial *s)
{
    static const uint8_t level[4] = {1, 4, 8, 14};

    return s->fcr & FCR_ENABLE ? level[s->fcr >> 6] : 1;
}

/* Four character times (data sheet 8.10). */
static int64_t rx_timeout_ns(const struct isa_serial *s)
{
    unsigned bits =
        1 + 5 + (s->lcr & 3) + (s->lcr & LCR_PARITY ? 1 : 0) + (s->lcr & LCR_STOP ? 2 : 1);
    unsigned divisor = s->divisor ? s->divisor : 1;

    return NS_PER_S * 4 * bits * 16 * divisor / CLOCK_HZ;
}

/* The interrupt of highest priority that is enabled and pending. */
static uint8_t interrupt_id(const struct isa_serial *s)
{
    if ((s->ier & IER_RLSI) && s->lsr_errors) {
        return IIR_RLSI;
    }
    if ((s->ier & IER_RDI) && s->rx_count >= rx_trigger(s)) {
        return IIR_RDI;
    }
    if ((s->ier & IER_RDI) && s->timeout_pending) {
        return IIR_TIMEOUT;
    }
    if ((s->ier & IER_THRI) && s->thre_pending) {
        return IIR_THRI;
    }
    if ((s->ier & IER_MSI) && (s->msr & 0x0f)) {
        return IIR_MSI;
    }
    return IIR_NONE;
}

static void update_irq(struct isa_serial *s)
{
    irq_set(&s->irq, interrupt_id(s) != IIR_NONE);
}

/* ---- receiver ---- */

/* After the FIFO, the trigger level or IER changed. `restart`: a character came or went. */
static void update_rx_timeout(struct isa_serial *s, bool restart)
{
    bool wanted = (s->fcr & FCR_ENABLE) && (s->ier & IER_RDI) && s->rx_count > 0 &&
                  s->rx_count < rx_trigger(s) && !s->timeout_pending;

    if (!wanted) {
        vtimer_disarm(&s->rx_timeout);
    } else if (restart || !vtimer_armed(&s->rx_timeout)) {
        vtimer_arm_in(&s->rx_timeout, rx_timeout_ns(s));
    }
}

static void rx_timeout_fire(void *opaque)
{
    struct isa_serial *s = opaque;

    s->timeout_pending = s->rx_count > 0;
    update_irq(s);
}

/* The errors of the character on top show in LSR. */
static void rx_reveal(struct isa_serial *s)
{
    if (s->rx_count > 0) {
        s->lsr_errors |= s->rx_flags[s->rx_head];
        s->rx_flags[s->rx_head] = 0;
    }
}

static void rx_put(struct isa_serial *s, uint8_t byte, uint8_t flags)
{
    unsigned size = fifo_size(s);
    unsigned at;

    if (s->rx_count >= size) {
        s->lsr_errors |= LSR_OE;
        if (size > 1) {
            return; /* the FIFO keeps what it has, the character is lost */
        }
        s->rx_count = 0; /* without FIFO the new one replaces the old */
    }
    at = (s->rx_head + s->rx_count) % FIFO_SIZE;
    s->rx[at] = byte;
    s->rx_flags[at] = flags;
    s->rx_count++;
    if (s->rx_count == 1) {
        rx_reveal(s);
    }
}

static uint8_t rx_get(struct isa_serial *s)
{
    bool was_full = s->rx_count == fifo_size(s);

    if (s->rx_count > 0) {
        s->last_rx = s->rx[s->rx_head];
        s->rx_head = (s->rx_head + 1) % FIFO_SIZE;
        s->rx_count--;
        rx_reveal(s);
    }
    s->timeout_pending = false;
    update_rx_timeout(s, true);
    update_irq(s);
    if (was_full && s->chardev) {
        chardev_accept_input(s->chardev);
    }
    return s->last_rx;
}

static void rx_clear(struct isa_serial *s)
{
    s->rx_head = 0;
    s->rx_count = 0;
    memset(s->rx_flags, 0, sizeof(s->rx_flags));
    s->timeout_pending = false;
}

static size_t serial_can_receive(void *opaque)
{
    struct isa_serial *s = opaque;

    if (s->dev.phase != DEVICE_RUNNING || (s->mcr & MCR_LOOP)) {
        return 0;
    }
    return fifo_size(s) - MIN(s->rx_count, fifo_size(s));
}

static void serial_receive(void *opaque, const uint8_t *buf, size_t len)
{
    struct isa_serial *s = opaque;

    size_t room = serial_can_receive(s);

    len = MIN(len, room);
    for (size_t i = 0; i < len; i++) {
        rx_put(s, buf[i], 0);
    }
    update_rx_timeout(s, true);
    update_irq(s);
}

/* ---- transmitter ---- */

static uint8_t line_status(const struct isa_serial *s)
{
    uint8_t lsr = s->lsr_errors;

    if (s->rx_count > 0) {
        lsr |= LSR_DR;
    }
    if (s->tx_count == 0) {
        lsr |= LSR_THRE | LSR_TEMT;
    }
    if (s->fcr & FCR_ENABLE) {
        lsr |= s->lsr_errors & LSR_CHAR_ERRORS ? LSR_FIFO_ERROR : 0;
        for (unsigned i = 0; i < s->rx_count; i++) {
            if (s->rx_flags[(s->rx_head + i) % FIFO_SIZE]) {
                lsr |= LSR_FIFO_ERROR;
            }
        }
    }
    return lsr;
}

/* Gives the host what it takes. An empty FIFO is what the THRE interrupt tells. */
static void tx_flush(struct isa_serial *s)
{
    size_t sent;

    vtimer_disarm(&s->tx_timer);
    if (s->tx_count == 0) {
        return;
    }
    if (s->mcr & MCR_LOOP) {
        for (unsigned i = 0; i < s->tx_count; i++) {
            rx_put(s, s->tx[i], 0);
        }
        sent = s->tx_count;
        update_rx_timeout(s, true);
    } else {
        sent = s->chardev ? chardev_write(s->chardev, s->tx, s->tx_count) : s->tx_count;
        sent = MIN(sent, s->tx_count);
    }
    s->tx_count -= (uint8_t)sent;
    s->wait_writable = s->tx_count > 0;
    if (s->tx_count > 0) {
        memmove(s->tx, s->tx + sent, s->tx_count);
        return;
    }
    s->thre_pending = true;
    update_irq(s);
}

static void tx_fire(void *opaque)
{
    tx_flush(opaque);
}

static void serial_writable(void *opaque)
{
    struct isa_serial *s = opaque;

    s->wait_writable = false;
    if (s->dev.phase == DEVICE_RUNNING) {
        tx_flush(s);
    }
}

/* The driver looks: what is collected goes out now. Not while the host is known to take nothing. */
static void tx_settle(struct isa_serial *s)
{
    if (s->tx_count > 0 && !s->wait_writable) {
        tx_flush(s);
    }
}

static void tx_put(struct isa_serial *s, uint8_t byte)
{
    if (s->thre_pending) {
        s->thre_pending = false;
        update_irq(s);
    }
    if (s->tx_count < fifo_size(s)) {
        s->tx[s->tx_count++] = byte;
    } else {
        s->tx[s->tx_count - 1] = byte; /* the driver did not wait for THRE: overwritten */
    }
    if (s->wait_writable) {
        return;
    }
    if ((s->ier & IER_THRI) && s->tx_count < fifo_size(s)) {
        if (!vtimer_armed(&s->tx_timer)) {
            vtimer_arm_in(&s->tx_timer, 0);
        }
    } else {
        tx_flush(s);
    }
}

/* ---- modem ---- */

static uint8_t modem_lines(const struct isa_serial *s)
{
    uint8_t lines = MSR_CTS | MSR_DSR | MSR_DCD;

    if (s->mcr & MCR_LOOP) {
        lines = (s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
                (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0);
    } else if (s->carrier && !(s->chardev && chardev_connected(s->chardev))) {
        lines = MSR_CTS;
    }
    return lines;
}

static void update_modem(struct isa_serial *s)
{
    uint8_t lines = modem_lines(s);
    uint8_t changed = (s->msr ^ lines) & 0xf0;
    uint8_t delta = changed >> 4;

    if (lines & MSR_RI) {
        delta &= ~MSR_TERI; /* only the trailing edge of RI is told */
    }
    s->msr = lines | (s->msr & 0x0f) | delta;
    update_irq(s);
}

static void serial_event(void *opaque, enum chardev_event event)
{
    struct isa_serial *s = opaque;

    if (s->dev.phase != DEVICE_RUNNING) {
        return; /* a break is lost; the lines are looked at again by resume */
    }
    if (event == CHARDEV_BREAK) {
        if (!(s->mcr & MCR_LOOP)) {
            rx_put(s, 0, LSR_BI);
            update_rx_timeout(s, true);
            update_irq(s);
        }
    } else {
        update_modem(s);
    }
}

/* ---- registers ---- */

static void write_fcr(struct isa_serial *s, uint8_t value)
{
    bool cleared = false;

    if ((value ^ s->fcr) & FCR_ENABLE) {
        value |= FCR_CLEAR_RX | FCR_CLEAR_TX;
    }
    s->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0; /* without bit 0 the others are void */
    if (value & FCR_CLEAR_RX) {
        rx_clear(s);
        cleared = true;
    }
    if ((value & FCR_CLEAR_TX) && s->tx_count > 0) {
        /*
         * What the driver wrote and real hardware would be shifting out by now is sent; only what
         * the host does not take is dropped.
         */
        tx_settle(s);
        if (s->tx_count > 0) {
            s->tx_count = 0;
            s->wait_writable = false;
            s->thre_pending = true;
        }
        vtimer_disarm(&s->tx_timer);
    }
    update_rx_timeout(s, false);
    update_irq(s);
    if (cleared && s->chardev) {
        chardev_accept_input(s->chardev);
    }
}

static void write_ier(struct isa_serial *s, uint8_t value)
{
    uint8_t on = value & ~s->ier;

    s->ier = value & 0x0f;
    if (!(s->ier & IER_THRI)) {
        tx_settle(s); /* nobody waits for the interrupt any more */
        s->thre_pending = false;
    } else if ((on & IER_THRI) && s->tx_count == 0) {
        s->thre_pending = true;
    }
    update_rx_timeout(s, false);
    update_irq(s);
}

static void write_mcr(struct isa_serial *s, uint8_t value)
{
    bool was_loop = s->mcr & MCR_LOOP;

    tx_settle(s); /* what was written before the switch goes where it was meant to */
    s->mcr = value & MCR_WRITABLE;
    update_modem(s);
    if (was_loop && !(s->mcr & MCR_LOOP) && s->chardev) {
        chardev_accept_input(s->chardev);
    }
}

static uint64_t serial_read(void *opaque, uint64_t offset, unsigned size)
{
    struct isa_serial *s = opaque;
    uint8_t value;

    switch (offset & 7) {
    case REG_DATA:
        return s->lcr & LCR_DLAB ? s->divisor & 0xff : rx_get(s);
    case REG_IER:
        return s->lcr & LCR_DLAB ? s->divisor >> 8 : s->ier;
    case REG_IIR:
        tx_settle(s);
        value = interrupt_id(s);
        if (value == IIR_THRI) {
            s->thre_pending = false;
            update_irq(s);
        }
        return value | (s->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
    case REG_LCR:
        return s->lcr;
    case REG_MCR:
        return s->mcr;
    case REG_LSR:
        tx_settle(s);
        value = line_status(s);
        if (s->lsr_errors) {
            s->lsr_errors = 0;
            update_irq(s);
        }
        return value;
    case REG_MSR:
        value = s->msr;
        if (s->msr & 0x0f) {
            s->msr &= 0xf0;
            update_irq(s);
        }
        return value;
    default:
        return s->scr;
    }
}

static void serial_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct isa_serial *s = opaque;
    uint8_t byte = (uint8_t)value;

    switch (offset & 7) {
    case REG_DATA:
        if (s->lcr & LCR_DLAB) {
            s->divisor = (s->divisor & 0xff00) | byte;
        } else {
            tx_put(s, byte);
        }
        break;
    case REG_IER:
        if (s->lcr & LCR_DLAB) {
            s->divisor = (uint16_t)((s->divisor & 0x00ff) | byte << 8);
        } else {
            write_ier(s, byte);
        }
        break;
    case REG_IIR:
        write_fcr(s, byte);
        break;
    case REG_LCR:
        s->lcr = byte;
        break;
    case REG_MCR:
        write_mcr(s, byte);
        break;
    case REG_SCR:
        s->scr = byte;
        break;
    default:
        break; /* LSR and MSR: factory test only */
    }
}

static const struct region_ops serial_ops = {
    .read = serial_read,
    .write = serial_write,
    .impl_max = 1,
};

static const struct chardev_frontend serial_frontend = {
    .can_receive = serial_can_receive,
    .receive = serial_receive,
    .event = serial_event,
    .writable = serial_writable,
    .taped = true,
};

/* ---- life ---- */

static int serial_realize(struct device *dev, GError **err)
{
    struct isa_serial *s = DEVICE_CAST(struct isa_serial, dev);
    int ret;

    if (s->index >= G_N_ELEMENTS(places)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: there is no serial port %u", dev->id, s->index);
        return -EINVAL;
    }
    region_init(&s->ports, "serial", &serial_ops, s, 8);
    s->ports.payload = 1u << 0; /* RBR, THR */
    ret = device_place_pio(dev, &s->ports, places[s->index].port, err);
    if (ret < 0) {
        return ret;
    }
    vtimer_init(&s->rx_timeout, dev->machine->clock, "serial-rx-timeout", rx_timeout_fire, s);
    vtimer_init(&s->tx_timer, dev->machine->clock, "serial-tx", tx_fire, s);
    device_connect_isa_irq(dev, &s->irq, places[s->index].irq);
    s->divisor = 12; /* 9600 baud; not touched by reset */
    s->msr = modem_lines(s);
    if (s->chardev) {
        chardev_set_frontend(s->chardev, &serial_frontend, s);
    }
    return 0;
}

static void serial_unrealize(struct device *dev)
{
    struct isa_serial *s = DEVICE_CAST(struct isa_serial, dev);

    vtimer_disarm(&s->rx_timeout);
    vtimer_disarm(&s->tx_timer);
    irq_set(&s->irq, false);
    if (s->chardev) {
        chardev_set_frontend(s->chardev, NULL, NULL);
    }
}

static void serial_reset(struct device *dev, enum reset_reason why)
{
    struct isa_serial *s = DEVICE_CAST(struct isa_serial, dev);

    tx_settle(s); /* the last words before a reset matter most */
    vtimer_disarm(&s->rx_timeout);
    vtimer_disarm(&s->tx_timer);
    s->ier = s->fcr = s->lcr = s->mcr = s->scr = 0;
    s->lsr_errors = 0;
    s->msr = modem_lines(s);
    rx_clear(s);
    s->last_rx = 0;
    s->tx_count = 0;
    s->thre_pending = false;
    s->wait_writable = false;
    update_irq(s);
    if (s->chardev) {
        chardev_accept_input(s->chardev);
    }
}

static bool serial_check(const void *base, GError **err)
{
    const struct isa_serial *s = base;

    for (unsigned i = 0; i < FIFO_SIZE; i++) {
        if (s->rx_flags[i] & ~LSR_CHAR_ERRORS) {
            g_set_error(err, STATE_ERROR, EINVAL, "error flags 0x%02x of a received character",
                        s->rx_flags[i]);
            return false;
        }
    }
    if (!(s->fcr & FCR_ENABLE) && (s->rx_count > 1 || s->tx_count > 1)) {
        g_set_error(err, STATE_ERROR, EINVAL,
                    "%u received and %u sent characters, but the FIFOs are off", s->rx_count,
                    s->tx_count);
        return false;
    }
    return true;
}

static void serial_post_load(void *base)
{
    struct isa_serial *s = base;

    /* The other end is a new one, which may take what the old one did not. */
    s->wait_writable = false;
    if (s->tx_count > 0) {
        vtimer_arm_in(&s->tx_timer, 0);
    }
}

static void serial_resume(struct device *dev)
{
    struct isa_serial *s = DEVICE_CAST(struct isa_serial, dev);

    update_modem(s);
    tx_settle(s);
    if (s->chardev) {
        chardev_accept_input(s->chardev);
    }
}

static void serial_describe(struct device *dev, struct facts *to)
{
    struct isa_serial *s = DEVICE_CAST(struct isa_serial, dev);

    fact_text(to, "place", "COM%u at 0x%x, irq %u", s->index + 1, places[s->index].port,
              places[s->index].irq);
    fact_text(to, "connected to", "%s", s->chardev ? chardev_filename(s->chardev) : "nothing");
    fact_int(to, "baud", CLOCK_HZ / 16 / (s->divisor ? s->divisor : 1));
    fact_bool(to, "FIFOs", s->fcr & FCR_ENABLE);
    fact_hex(to, "IER", s->ier);
    fact_hex(to, "IIR", interrupt_id(s));
    fact_hex(to, "LSR", line_status(s));
    fact_hex(to, "MCR", s->mcr);
    fact_hex(to, "MSR", s->msr);
    fact_int(to, "waiting for the guest", s->rx_count);
    fact_int(to, "waiting for the host", s->tx_count);
}

static const struct property serial_properties[] = {
    {.name = "index",
     .type = PROP_UINT32,
     .offset = offsetof(struct isa_serial, index),
     .min = 0,
     .max = 3,
     .help = "0..3 for COM1..COM4"},
    {.name = "chardev",
     .type = PROP_BACKEND,
     .kind = BACKEND_CHAR,
     .offset = offsetof(struct isa_serial, chardev),
     .help = "where the line goes"},
    {.name = "carrier",
     .type = PROP_BOOL,
     .offset = offsetof(struct isa_serial, carrier),
     .def = "off",
     .help = "DCD and DSR tell whether someone is at the other end"},
    {.name = NULL},
};

static const struct state_desc serial_state = {
    .name = "isa-serial",
    .version = 1,
    .fields =
        (const struct state_field[]){
            STATE_FIELD_IRQ(struct isa_serial, irq),
            STATE_FIELD_TIMER(struct isa_serial, rx_timeout),
            STATE_FIELD_U8(struct isa_serial, ier, .min = 0, .max = 0x0f),
            STATE_FIELD_U8(struct isa_serial, fcr),
            STATE_FIELD_U8(struct isa_serial, lcr),
            STATE_FIELD_U8(struct isa_serial, mcr, .min = 0, .max = MCR_WRITABLE),
            STATE_FIELD_U8(struct isa_serial, scr),
            STATE_FIELD_U8(struct isa_serial, lsr_errors, .min = 0, .max = LSR_ERRORS),
            STATE_FIELD_U8(struct isa_serial, msr),
            STATE_FIELD_U16(struct isa_serial, divisor),
            STATE_FIELD_BYTES(struct isa_serial, rx),
            STATE_FIELD_BYTES(struct isa_serial, rx_flags),
            STATE_FIELD_U8(struct isa_serial, rx_head, .min = 0, .max = FIFO_SIZE - 1),
            STATE_FIELD_U8(struct isa_serial, rx_count, .min = 0, .max = FIFO_SIZE),
            STATE_FIELD_U8(struct isa_serial, last_rx),
            STATE_FIELD_BYTES(struct isa_serial, tx),
            STATE_FIELD_U8(struct isa_serial, tx_count, .min = 0, .max = FIFO_SIZE),
            STATE_FIELD_BOOL(struct isa_serial, thre_pending),
            STATE_FIELD_BOOL(struct isa_serial, timeout_pending),
            STATE_FIELD_END,
        },
    .check = serial_check,
    .post_load = serial_post_load,
};

const struct device_class isa_serial_class = {
    .name = "isa-serial",
    .help = "16550A serial port",
    .size = sizeof(struct isa_serial),
    .recorded = true,
    .properties = serial_properties,
    .state = &serial_state,
    .realize = serial_realize,
    .reset = serial_reset,
    .resume = serial_resume,
    .unrealize = serial_unrealize,
    .describe = serial_describe,
};
