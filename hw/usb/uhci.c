/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * UHCI: the USB function of Intel's PIIX3 (8086:7020), two ports, full and low speed.
 *
 * Sources: Universal Host Controller Interface Design Guide 1.1 (chapter 2 registers, 3 data
 * structures, 3.4 the walk); 82371SB data sheet (290550), 2.5 (configuration), 2.8 (I/O registers).
 * Used by `usb=1`, `usbdevice=`: SeaBIOS, OVMF, Linux' uhci-hcd, Windows.
 *
 * Left out on purpose: single step (SWDBG is kept), keyboard emulation by SMI (LEGSUP is kept; the
 * interrupt goes to PIRQD whatever it says, as with QEMU), isochronous data (no device has any;
 * such a descriptor ends after one try), line status, the bandwidth of low speed.
 *
 * Frames are counted from the clock, and walked each millisecond only while there is something to
 * do. Most of the time there is a tablet that says NAK a thousand times a second: after some frames
 * like that the schedule is looked at ten times a second, until the device has something, the
 * guest writes a register, or reads the frame number. What a guest puts into the schedule
 * meanwhile, begins that much later, and then goes at full speed.
 */
#include <errno.h>
#include <string.h>

#include <xendm/classes.h>
#include <xendm/clock.h>
#include <xendm/dma.h>
#include <xendm/facts.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/regs.h>
#include <xendm/usb.h>

#define PORTS 2u
#define BAR_BYTES 32u

/* USBCMD */
#define CMD_RUN 0x0001u
#define CMD_HCRESET 0x0002u
#define CMD_GRESET 0x0004u
#define CMD_EGSM 0x0008u /* global suspend */
#define CMD_FGR 0x0010u  /* global resume */
#define CMD_WRITABLE 0x00ffu
/* USBSTS */
#define STS_INT 0x0001u
#define STS_ERROR 0x0002u
#define STS_RESUME 0x0004u
#define STS_HOST_ERROR 0x0008u
#define STS_PROCESS_ERROR 0x0010u
#define STS_HALTED 0x0020u
/* USBINTR */
#define INTR_ERROR 0x0001u
#define INTR_RESUME 0x0002u
#define INTR_COMPLETE 0x0004u
#define INTR_SHORT 0x0008u
/* PORTSC */
#define PORT_CONNECTED 0x0001u
#define PORT_CONNECT_CHANGE 0x0002u
#define PORT_ENABLED 0x0004u
#define PORT_ENABLE_CHANGE 0x0008u
#define PORT_RESUME 0x0040u
#define PORT_ONE 0x0080u /* always: how drivers count ports */
#define PORT_LOW_SPEED 0x0100u
#define PORT_RESET 0x0200u
#define PORT_SUSPENDED 0x1000u
#define NO_PORT 0xff7fu

/* Links (3.1), queue heads and transfer descriptors (3.2, 3.3) */
#define LINK_END 0x1u
#define LINK_QUEUE 0x2u
#define LINK_DEPTH 0x4u
#define LINK_ADDRESS 0xfffffff0u
#define TD_ACTUAL 0x000007ffu
#define TD_STATUS 0x00ff0000u
#define TD_TIMEOUT 0x00040000u
#define TD_NAK 0x00080000u
#define TD_BABBLE 0x00100000u
#define TD_STALLED 0x00400000u
#define TD_ACTIVE 0x00800000u
#define TD_IOC 0x01000000u
#define TD_ISOCHRONOUS 0x02000000u
#define TD_ERRORS_SHIFT 27
#define TD_ERRORS 0x18000000u
#define TD_SHORT 0x20000000u
#define TD_WHOM 0x0007ffffu /* PID, address, endpoint */
#define TD_BYTES_MAX 1280u  /* 0x4ff + 1: more is a consistency check that fails */
#define FULL_PACKET 64u     /* of a bulk endpoint */

#define FRAME_NS NS_PER_MS
#define FRAMES 1024u
#define FRNUM_MASK 0x7ffu
#define FRAME_BYTES 1280u  /* of data that a frame has room for */
#define FRAME_FETCHES 256u /* descriptors: no driver has so many in one frame */
#define BEHIND_MAX 64u     /* descriptors of one transfer that are looked at */
#define QUICK_FRAMES 64u   /* walked one by one after the last that did something */
#define WAKE_FRAMES 256u   /* … after a device had something: it may be polled that seldom */
#define SLOW_FRAMES 97u    /* no factor of 1024, so that every entry's turn comes */

/* Why STS_INT is set: two enable bits for one status bit. */
#define CAUSE_COMPLETE 1u
#define CAUSE_SHORT 2u

#define UHCI_REGS(R) \
    R(cmd, 0x00, 16, .rw = CMD_WRITABLE, .written = cmd_written) \
    R(sts, 0x02, 16, .w1c = 0x1f, .hold = STS_HALTED, .reset = STS_HALTED, .written = sts_written) \
    R(intr, 0x04, 16, .rw = 0x0f) \
    R(frnum, 0x06, 16, .rw = FRNUM_MASK, .writable = is_halted, .read = frnum_read) \
    R(flbase, 0x08, 32, .rw = 0xfffff000) \
    R(sofmod, 0x0c, 8, .rw = 0x7f, .reset = 0x40)

struct uhci {
    struct pci_device pci;
    REG_FIELDS(UHCI_REGS)
    uint16_t portsc[PORTS];
    uint8_t cause;
    int64_t started; /* when it was at frame `frnum`; while it runs */
    int64_t walked;  /* when a frame was walked last */
    uint32_t quick;  /* frames that are walked though nothing happens */
    struct vtimer timer;

    struct usb_port port[PORTS];
    struct usb_bus bus;
    uint64_t frames, transfers, naks, errors; /* totals, for describe */
};

static struct uhci *uhci_of(struct device *dev)
{
    return DEVICE_CAST(struct uhci, dev);
}

/* ---- interrupts ---- */

static void update_irq(struct uhci *u)
{
    bool level = (u->cause & CAUSE_COMPLETE && u->intr & INTR_COMPLETE) ||
                 (u->cause & CAUSE_SHORT && u->intr & INTR_SHORT) ||
                 (u->sts & STS_ERROR && u->intr & INTR_ERROR) ||
                 (u->sts & STS_RESUME && u->intr & INTR_RESUME) ||
                 u->sts & (STS_HOST_ERROR | STS_PROCESS_ERROR);

    pci_intx_set(&u->pci, level);
}

static void changed(void *dev)
{
    update_irq(dev);
}

static void sts_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    if (value & STS_INT) {
        ((struct uhci *)dev)->cause = 0;
    }
}

/* ---- frames ---- */

static int64_t now(const struct uhci *u)
{
    return vclock_now(u->pci.dev.machine->clock);
}

static bool is_halted(void *dev)
{
    return ((struct uhci *)dev)->sts & STS_HALTED;
}

/* Frames since it was started. */
static uint64_t frames_passed(const struct uhci *u)
{
    int64_t ns = now(u) - u->started;

    return u->sts & STS_HALTED || ns < 0 ? 0 : (uint64_t)ns / FRAME_NS;
}

static uint16_t frame_number(const struct uhci *u)
{
    return (uint16_t)((u->frnum + frames_passed(u)) & FRNUM_MASK);
}

/* Frames are walked; in suspend they are not, though the controller runs. */
static bool works(const struct uhci *u)
{
    return u->cmd & CMD_RUN && !(u->sts & STS_HALTED) &&
           !(u->cmd & (CMD_GRESET | CMD_EGSM | CMD_FGR)) && u->pci.dev.phase != DEVICE_LEAVING;
}

static void arm(struct uhci *u)
{
    uint64_t next = frames_passed(u) + (u->quick ? 1 : SLOW_FRAMES);

    if (!works(u)) {
        vtimer_disarm(&u->timer);
        return;
    }
    vtimer_arm(&u->timer, u->started + (int64_t)next * FRAME_NS);
}

static void be_quick(struct uhci *u, uint32_t frames)
{
    u->quick = MAX(u->quick, frames);
    arm(u);
}

static void halt(struct uhci *u)
{
    u->frnum = frame_number(u);
    u->sts |= STS_HALTED;
    u->cmd &= (uint16_t)~CMD_RUN;
    vtimer_disarm(&u->timer);
}

/* ---- the walk ---- */

struct walk {
    struct uhci *u;
    unsigned fetches, bytes;
    uint32_t queue[FRAME_FETCHES]; /* heads that were met since something was done */
    unsigned queues;
    unsigned cause;
    bool moved;  /* something was done since `queues` was emptied */
    bool worked; /* the next frame may have something to do, too */
    bool stop;
};

/* The controller stops, and the guest is told why. */
static void fail(struct walk *w, unsigned status, const char *what, uint32_t at)
{
    log_guest(LOG_USB, "%s: %s at 0x%x: the controller stops", w->u->pci.dev.id, what, at);
    halt(w->u);
    w->u->sts |= (uint16_t)status;
    w->u->errors++;
    w->stop = true;
}

/*
 * Guest memory, both ways. Without bus mastering the frame is over: the chip waits for the bus.
 */
static bool fetched(struct walk *w, int rc, uint32_t at)
{
    if (rc == -EPERM) {
        w->stop = true;
    } else if (rc < 0) {
        fail(w, STS_HOST_ERROR, "memory does not answer", at);
    }
    return rc == 0;
}

static bool fetch(struct walk *w, uint32_t at, uint32_t *words, unsigned n)
{
    uint32_t raw[4];
    bool ok = fetched(w, dma_read(&w->u->pci.dev, at, raw, n * sizeof(*raw)), at);

    for (unsigned i = 0; ok && i < n; i++) {
        words[i] = GUINT32_FROM_LE(raw[i]);
    }
    return ok;
}

static bool store(struct walk *w, uint32_t at, uint32_t word)
{
    uint32_t raw = GUINT32_TO_LE(word);

    return fetched(w, dma_write(&w->u->pci.dev, at, &raw, sizeof(raw)), at);
}

static struct usb_device *find_device(struct uhci *u, unsigned address)
{
    for (unsigned i = 0; i < PORTS; i++) {
        struct usb_device *dev = usb_port_device(&u->port[i]);

        if (dev && (u->portsc[i] & (PORT_CONNECTED | PORT_ENABLED | PORT_RESET | PORT_SUSPENDED)) ==
                       (PORT_CONNECTED | PORT_ENABLED)) {
            dev = usb_find_device(dev, address);
            if (dev) {
                return dev;
            }
        }
    }
    return NULL;
}

/* No answer: tried again in the next frame until the error counter says no; 0 is no counter. */
static uint32_t count_error(struct walk *w, uint32_t ctrl)
{
    unsigned left = (ctrl & TD_ERRORS) >> TD_ERRORS_SHIFT;

    if (ctrl & TD_ISOCHRONOUS) {
        return (ctrl & ~TD_ACTIVE) | TD_TIMEOUT;
    }
    w->worked |= left > 0;
    if (left == 1) {
        ctrl = (ctrl & ~TD_ACTIVE) | TD_STALLED;
    }
    ctrl &= ~TD_ERRORS;
    return ctrl | TD_TIMEOUT | (left ? left - 1 : 0) << TD_ERRORS_SHIFT;
}

/* The descriptor's second word after `status` (3.2.2). */
static uint32_t completed(struct walk *w, uint32_t ctrl, enum usb_status status, size_t done)
{
    ctrl &= ~((TD_STATUS & ~TD_ACTIVE) | TD_ACTUAL);
    ctrl |= (uint32_t)(done - 1) & TD_ACTUAL;
    switch (status) {
    case USB_OK:
        return ctrl & ~TD_ACTIVE;
    case USB_NAK:
        w->u->naks++;
        return ctrl | TD_NAK;
    case USB_STALL:
        return (ctrl & ~TD_ACTIVE) | TD_STALLED;
    case USB_BABBLE:
        w->stop = true; /* of this frame */
        return (ctrl & ~TD_ACTIVE) | TD_STALLED | TD_BABBLE;
    default:
        return count_error(w, ctrl);
    }
}

/* ---- what is behind a packet ---- */

struct behind {
    struct uhci *u;
    uint32_t link, ctrl, token;
};

/*
 * Drivers look for short packets but in the last one of a transfer, and want an interrupt of that;
 * firmware does neither. Behind it may be the next transfer's.
 */
static bool ends_transfer(uint32_t ctrl, uint32_t token)
{
    return ctrl & TD_IOC || ((token & 0xff) == USB_IN && !(ctrl & TD_SHORT));
}

static size_t bytes_behind(const struct usb_packet *p)
{
    const struct behind *b = p->controller;
    uint32_t link = b->link, ctrl = b->ctrl;
    size_t bytes = 0;

    for (unsigned i = 0; i < BEHIND_MAX && !ends_transfer(ctrl, b->token); i++) {
        uint32_t raw[4], token;

        if (link & (LINK_END | LINK_QUEUE) ||
            dma_read(&b->u->pci.dev, link & LINK_ADDRESS, raw, sizeof(raw)) < 0) {
            break;
        }
        ctrl = GUINT32_FROM_LE(raw[1]);
        token = GUINT32_FROM_LE(raw[2]);
        if (!(ctrl & TD_ACTIVE) || (token ^ b->token) & TD_WHOM) {
            break;
        }
        bytes += ((token >> 21) + 1) & TD_ACTUAL;
        link = GUINT32_FROM_LE(raw[0]);
    }
    return bytes;
}

/* One transaction: false when the walk is over; *ctrl and *done are what became of it. */
static bool transact(struct walk *w, uint32_t at, const uint32_t td[4], uint32_t *ctrl,
                     size_t *done, enum usb_status *status)
{
    uint32_t token = td[2], buffer = td[3];
    struct behind behind = {w->u, td[0], *ctrl, token};
    uint8_t data[TD_BYTES_MAX];
    struct usb_packet p = {.pid = token & 0xff,
                           .endpoint = token >> 15 & 15,
                           .data = data,
                           .length = ((token >> 21) + 1) & TD_ACTUAL,
                           .behind = bytes_behind,
                           .controller = &behind};
    bool is_in = p.pid == USB_IN;
    struct usb_device *dev = find_device(w->u, token >> 8 & 0x7f);
    /* Full packets are what is stored; commands are shorter. */
    enum dma_content what = p.endpoint > 0 && p.length == FULL_PACKET ? DMA_PAYLOAD : DMA_ANYTHING;

    if ((p.pid != USB_IN && p.pid != USB_OUT && p.pid != USB_SETUP) || p.length > sizeof(data)) {
        fail(w, STS_PROCESS_ERROR, "a descriptor of neither IN, OUT nor SETUP, or too long", at);
        return false;
    }
    if (!is_in && p.length > 0 &&
        !fetched(w, dma_read_content(&w->u->pci.dev, buffer, data, p.length, what), buffer)) {
        return false;
    }
    *status = dev ? usb_handle(dev, &p) : USB_IO_ERROR;
    *done = *status == USB_OK ? p.done : 0;
    if (is_in && *done > 0 && !fetched(w, dma_write(&w->u->pci.dev, buffer, data, *done), buffer)) {
        return false;
    }
    *ctrl = completed(w, *ctrl, *status, *done);
    if (*status == USB_OK && is_in && *done < p.length && *ctrl & TD_SHORT) {
        w->cause |= CAUSE_SHORT; /* taken back when this is no queue */
    }
    w->bytes += (unsigned)*done;
    return true;
}

enum td_result { TD_NEXT, TD_DONE };

/* Runs the descriptor at `at` if it is active. TD_DONE: the queue goes on to its link. */
static enum td_result run_td(struct walk *w, uint32_t at, const uint32_t td[4], bool queued)
{
    uint32_t ctrl = td[1];
    unsigned cause = w->cause;
    enum usb_status status;
    bool is_short;
    size_t done;

    if (!(ctrl & TD_ACTIVE)) {
        /* An interrupt at the end of the frame all the same: how drivers ask for one. */
        w->cause |= ctrl & TD_IOC ? CAUSE_COMPLETE : 0;
        w->worked |= ctrl & TD_IOC;
        return TD_NEXT;
    }
    if (!transact(w, at, td, &ctrl, &done, &status) || (ctrl != td[1] && !store(w, at + 4, ctrl))) {
        return TD_NEXT;
    }
    is_short = queued && w->cause & ~cause & CAUSE_SHORT;
    w->cause = cause | (is_short ? CAUSE_SHORT : 0);
    if (ctrl & TD_ACTIVE) {
        return TD_NEXT;
    }
    w->worked = w->moved = true;
    w->u->transfers++;
    w->cause |= ctrl & TD_IOC ? CAUSE_COMPLETE : 0;
    if (status != USB_OK) {
        w->u->errors++;
        w->u->sts |= STS_ERROR;
        return ctrl & TD_ISOCHRONOUS ? TD_DONE : TD_NEXT;
    }
    return is_short ? TD_NEXT : TD_DONE;
}

/*
 * Whether to go into this queue head. Drivers make rings of them, so that what is left of a frame
 * is used; one round without any transaction ends the frame.
 */
static bool enter_queue(struct walk *w, uint32_t at)
{
    for (unsigned i = 0; i < w->queues; i++) {
        if (w->queue[i] != at) {
            continue;
        }
        if (!w->moved) {
            return false;
        }
        w->moved = false;
        w->queues = 0;
    }
    w->queue[w->queues++] = at; /* at most one a fetch */
    return true;
}

static void walk_list(struct walk *w, uint32_t link)
{
    uint32_t head = 0, next = 0; /* the queue that we are in */
    bool queued = false;

    while (!(link & LINK_END) && !w->stop && w->bytes < FRAME_BYTES &&
           w->fetches++ < FRAME_FETCHES) {
        uint32_t at = link & LINK_ADDRESS, word[4];

        if (link & LINK_QUEUE) {
            if (!enter_queue(w, at) || !fetch(w, at, word, 2)) {
                break;
            }
            queued = !(word[1] & LINK_END);
            head = at;
            next = word[0];
            link = queued ? word[1] : word[0];
        } else if (!fetch(w, at, word, 4)) {
            break;
        } else if (run_td(w, at, word, queued) == TD_NEXT) {
            link = queued ? next : word[0];
            queued = false;
        } else {
            link = word[0];
            if (queued && !w->stop) {
                store(w, head + 4, link);
                if (link & LINK_END || !(link & LINK_DEPTH)) {
                    link = next;
                    queued = false;
                }
            }
        }
    }
}

static void walk_frame(struct uhci *u)
{
    struct walk w = {.u = u};
    uint32_t link;

    u->frames++;
    u->walked = now(u);
    if (fetch(&w, u->flbase + (frame_number(u) % FRAMES) * 4u, &link, 1)) {
        walk_list(&w, link);
    }
    if (w.cause) {
        u->cause |= (uint8_t)w.cause;
        u->sts |= STS_INT;
    }
    u->quick = w.worked ? MAX(u->quick, QUICK_FRAMES) : u->quick - (u->quick > 0);
    update_irq(u);
}

static void frame_fires(void *opaque)
{
    struct uhci *u = opaque;

    if (works(u)) {
        walk_frame(u);
    }
    arm(u);
}

/* ---- registers ---- */

/*
 * Who asks for the time in a quiet moment may wait for what it put into the schedule: we are awake
 * anyway.
 */
static uint64_t frnum_read(void *dev, unsigned index)
{
    struct uhci *u = dev;

    if (works(u) && !u->quick && now(u) - u->walked >= FRAME_NS) {
        walk_frame(u);
        arm(u);
    }
    return frame_number(u);
}

static void set_change(struct uhci *u, unsigned i, unsigned bits)
{
    u->portsc[i] |= (uint16_t)bits;
    if (u->cmd & CMD_EGSM) {
        u->cmd |= CMD_FGR;
        u->sts |= STS_RESUME;
        update_irq(u);
    }
}

static void plug(struct uhci *u, unsigned i)
{
    bool slow = u->port[i].device->speed == USB_LOW;

    u->portsc[i] &= (uint16_t)~PORT_LOW_SPEED;
    set_change(u, i, PORT_CONNECTED | PORT_CONNECT_CHANGE | (slow ? PORT_LOW_SPEED : 0));
}

/* A reset of the chip's logic: ports as after power on, so that devices are found anew. */
static void reset_ports(struct uhci *u)
{
    for (unsigned i = 0; i < PORTS; i++) {
        u->portsc[i] = PORT_ONE;
        if (usb_port_device(&u->port[i])) {
            usb_port_reset(&u->port[i]);
            plug(u, i);
        }
    }
}

static void reset_logic(struct uhci *u)
{
    vtimer_disarm(&u->timer);
    u->cmd = u->intr = u->frnum = 0;
    u->sts = STS_HALTED;
    u->flbase = 0;
    u->sofmod = 0x40;
    u->cause = 0;
    u->quick = 0;
    u->started = u->walked = 0;
    reset_ports(u);
}

static void cmd_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct uhci *u = dev;
    uint16_t cmd = u->cmd;

    if (cmd & (CMD_HCRESET | CMD_GRESET)) {
        if (cmd & CMD_HCRESET || !(old & CMD_GRESET)) {
            reset_logic(u);
        }
        u->cmd = cmd & CMD_HCRESET ? 0 : CMD_GRESET; /* HCRESET is done; the other one is held */
        return;
    }
    if (cmd & CMD_RUN && u->sts & STS_HALTED) {
        u->started = now(u);
        u->sts &= (uint16_t)~STS_HALTED;
    } else if (!(cmd & CMD_RUN) && !(u->sts & STS_HALTED)) {
        halt(u);
    }
    be_quick(u, QUICK_FRAMES);
}

static void port_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct uhci *u = dev;
    uint16_t *port = &u->portsc[index];

    if (*port & PORT_RESET) {
        *port &= (uint16_t) ~(PORT_ENABLED | PORT_SUSPENDED | PORT_RESUME);
        if (!(old & PORT_RESET)) {
            usb_port_reset(&u->port[index]);
        }
    }
    if (!(*port & PORT_CONNECTED)) {
        *port &= (uint16_t)~PORT_ENABLED;
    }
    if (old & PORT_RESUME && !(*port & PORT_RESUME)) {
        *port &= (uint16_t)~PORT_SUSPENDED;
    }
    be_quick(u, QUICK_FRAMES);
}

static uint64_t no_port(void *dev, unsigned index)
{
    return NO_PORT;
}

#define REG_STRUCT struct uhci
static const struct reg uhci_regs[] = {
    UHCI_REGS(REG_ROW_) REG_ARRAY(struct uhci, portsc, 0x10,
                                  .rw = PORT_ENABLED | PORT_RESUME | PORT_RESET | PORT_SUSPENDED,
                                  .w1c = PORT_CONNECT_CHANGE | PORT_ENABLE_CHANGE,
                                  .hold = PORT_CONNECTED | PORT_LOW_SPEED, .reset = PORT_ONE,
                                  .written = port_written),
    REG_PORT("no port", 0x14, 16, .count = 6, .read = no_port),
    REG_END,
};
static const struct reg_block uhci_block = {"uhci", uhci_regs, BAR_BYTES, changed};

/* ---- ports ---- */

static void port_attached(struct usb_port *port)
{
    plug(port->controller, port->number - 1);
}

static void port_detached(struct usb_port *port)
{
    struct uhci *u = port->controller;
    unsigned i = port->number - 1;

    if (u->portsc[i] & PORT_CONNECTED) {
        unsigned enabled = u->portsc[i] & PORT_ENABLED;

        u->portsc[i] &= (uint16_t) ~(PORT_CONNECTED | PORT_ENABLED | PORT_LOW_SPEED |
                                     PORT_SUSPENDED | PORT_RESUME);
        set_change(u, i, PORT_CONNECT_CHANGE | (enabled ? PORT_ENABLE_CHANGE : 0));
    }
}

static void port_wakeup(struct usb_port *port, uint8_t endpoint)
{
    struct uhci *u = port->controller;
    unsigned i = port->number - 1;
    bool asleep = u->portsc[i] & PORT_SUSPENDED;

    if (port->device->remote_wakeup && (asleep || u->cmd & CMD_EGSM)) {
        if (asleep) {
            u->portsc[i] |= PORT_RESUME;
        }
        u->sts |= STS_RESUME;
        set_change(u, i, 0);
        update_irq(u);
    }
    if (works(u)) {
        be_quick(u, WAKE_FRAMES);
    }
}

static const struct usb_port_ops port_ops = {
    .attached = port_attached,
    .detached = port_detached,
    .wakeup = port_wakeup,
};

/* ---- life ---- */

static int uhci_realize(struct device *dev, GError **err)
{
    struct uhci *u = uhci_of(dev);

    vtimer_init(&u->timer, dev->machine->clock, "uhci", frame_fires, u);
    for (unsigned i = 0; i < PORTS; i++) {
        u->port[i].ops = &port_ops;
        u->port[i].controller = u;
        u->port[i].speeds = 1u << USB_LOW | 1u << USB_FULL;
        u->portsc[i] = PORT_ONE;
    }
    usb_bus_init(&u->bus, dev, u->port, PORTS);
    return 0;
}

static void uhci_unrealize(struct device *dev)
{
    struct uhci *u = uhci_of(dev);

    vtimer_disarm(&u->timer);
    usb_bus_fini(&u->bus);
}

static void uhci_reset(struct device *dev, enum reset_reason why)
{
    reset_logic(uhci_of(dev));
    update_irq(uhci_of(dev));
}

static void uhci_describe(struct device *dev, struct facts *to)
{
    struct uhci *u = uhci_of(dev);

    fact_text(to, "state", "%s",
              !works(u)  ? "stopped or suspended"
              : u->quick ? "every frame"
                         : "quiet: every 97th frame");
    fact_int(to, "frame", frame_number(u));
    fact_int(to, "frames walked", (int64_t)u->frames);
    fact_int(to, "transfers", (int64_t)u->transfers);
    fact_int(to, "naks", (int64_t)u->naks);
    fact_int(to, "errors", (int64_t)u->errors);
    for (unsigned i = 0; i < PORTS; i++) {
        g_autofree char *name = g_strdup_printf("port %u", i + 1);

        fact_text(to, name, "%s", u->port[i].device ? u->port[i].device->dev.id : "empty");
    }
}

/* ---- saved state ---- */

static bool uhci_check(const void *base, GError **err)
{
    const struct uhci *u = base;

    if (vtimer_armed(&u->timer) && u->sts & STS_HALTED) {
        g_set_error(err, XENDM_ERROR, EINVAL, "frames are walked though the controller is halted");
        return false;
    }
    return true;
}

/* What is in the ports is what we have, whatever was there. */
static void uhci_post_load(void *base)
{
    struct uhci *u = base;

    for (unsigned i = 0; i < PORTS; i++) {
        bool connected = u->portsc[i] & PORT_CONNECTED;

        if (connected && !usb_port_device(&u->port[i])) {
            u->portsc[i] &= (uint16_t) ~(PORT_CONNECTED | PORT_ENABLED | PORT_LOW_SPEED);
            u->portsc[i] |= PORT_CONNECT_CHANGE;
        } else if (!connected && usb_port_device(&u->port[i])) {
            plug(u, i);
        }
    }
}

static const struct state_field uhci_fields[] = {
    REG_STATE(UHCI_REGS){.name = "portsc",
                         .type = STATE_U16,
                         .offset = offsetof(struct uhci, portsc),
                         .count = PORTS},
    STATE_FIELD_U8(struct uhci, cause, .max = CAUSE_COMPLETE | CAUSE_SHORT),
    STATE_FIELD_I64(struct uhci, started, .max = INT64_MAX),
    STATE_FIELD_I64(struct uhci, walked, .max = INT64_MAX),
    STATE_FIELD_U32(struct uhci, quick, .max = WAKE_FRAMES),
    STATE_FIELD_TIMER(struct uhci, timer),
    STATE_FIELD_END,
};

static const struct state_desc uhci_state = {
    .name = "uhci",
    .version = 1,
    .fields = uhci_fields,
    .check = uhci_check,
    .post_load = uhci_post_load,
};

/* LEGSUP as data sheet 2.5.14; the release number: USB 1.0. */
static const struct pci_config_reg uhci_config[] = {
    {0x60, .reset = 0x10},
    {0xc0, .reset = 0x00, .writable = 0xbf},
    {0xc1, .reset = 0x20, .writable = 0x20, .w1c = 0x8f},
    {0},
};

static const struct pci_info uhci_pci = {
    .vendor = 0x8086,
    .device = 0x7020,
    .subsystem_vendor = 0x1af4, /* QEMU's, so that a guest sees the same hardware */
    .subsystem = 0x1100,
    .class = 0x0c0300,
    .revision = 0x01,
    .intx_pin = 4,
    .bar = {[4] = {.type = PCI_BAR_IO, .size = BAR_BYTES, .regs = &uhci_block}},
    .config = uhci_config,
};

const struct device_class usb_uhci_class = {
    .name = "piix3-usb-uhci",
    .help = "PIIX3 USB host controller, two ports",
    .size = sizeof(struct uhci),
    .hotplug = true,
    .state = &uhci_state,
    .recorded = true,
    .realize = uhci_realize,
    .reset = uhci_reset,
    .unrealize = uhci_unrealize,
    .describe = uhci_describe,
    .pci = &uhci_pci,
};
