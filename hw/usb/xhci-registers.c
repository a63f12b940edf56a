/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xHCI: registers (5.3 to 5.6, 7). Those that are the same for each port or interrupter are
 * accessed as one row of words.
 */
#include <string.h>

#include "xhci.h"

#define PORTS 0x440u
#define PORT_WORDS 4u
#define RUNTIME 0x1000u
#define INTERRUPTERS 0x1020u
#define DOORBELLS 0x2000u
#define BLOCK_BYTES 0x3000u

#define EXTENDED 0x20u /* capabilities */
#define ACCESS_BUDGET 8u
#define MICROFRAME_NS 125000
#define MFINDEX_MASK 0x3fffu

/* CRCR (5.4.5) */
#define CRCR_CYCLE 0x1u
#define CRCR_STOP 0x2u
#define CRCR_ABORT 0x4u
#define CRCR_RUNNING 0x8u

/* ---- capabilities ---- */

/* "USB 2.0" and "USB 3.0": which ports are of which protocol (7.2). */
static uint32_t protocol(const struct xhci *x, unsigned word, unsigned major)
{
    unsigned first = major == 3 ? 1 : x->p3 + 1, count = major == 3 ? x->p3 : x->p2;

    switch (word) {
    case 0:
        return major << 24 | 2 | (major == 2 ? 4 << 8 : 0); /* the other one is behind it */
    case 1:
        return 0x20425355;
    case 2:
        return count << 8 | first;
    default:
        return 0;
    }
}

static uint64_t capability_read(void *dev, unsigned index)
{
    const struct xhci *x = dev;

    switch (index) {
    case 0: /* CAPLENGTH, HCIVERSION 1.0 */
        return 0x01000040;
    case 1:
        return xhci_ports(x) << 24 | x->interrupters << 8 | x->slots;
    case 2: /* one segment in an event ring, no scratch pad; 15 frames of isochronous schedule */
        return 0x0000000f;
    case 4: /* 64 bit addresses, contexts of 32 bytes */
        return EXTENDED / 4 << 16 | 1;
    case 5:
        return DOORBELLS;
    case 6:
        return RUNTIME;
    case 8 ... 11:
        return protocol(x, index - 8, 2);
    case 12 ... 15:
        return protocol(x, index - 12, 3);
    default:
        return 0;
    }
}

/* ---- operation ---- */

static void start(struct xhci *x)
{
    x->usbsts &= ~STS_HALTED;
    x->started = xhci_now(x);
    xhci_kick(x);
}

static void stop(struct xhci *x)
{
    x->usbsts |= STS_HALTED;
    x->commands_run = x->commands_ready = false;
    xhci_sources_stop(x);
}

void xhci_reset_logic(struct xhci *x)
{
    xhci_sources_stop(x);
    x->usbcmd = 0;
    x->usbsts = STS_HALTED;
    x->dnctrl = 0;
    x->dcbaap = 0;
    x->config = 0;
    memset(x->ir, 0, sizeof(x->ir));
    memset(x->events, 0, sizeof(x->events));
    x->commands = (struct xhci_ring){0};
    x->commands_run = x->commands_ready = x->stop_owed = x->blocked = false;
    x->started = 0;
    x->window = x->spent = 0;
    xhci_slots_reset(x);
    xhci_ports_reset(x);
    xhci_update_interrupts(x);
}

/* Nothing is kept over a save and restore, and the restore says so: a driver sets all up anew. */
void xhci_usbcmd_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct xhci *x = dev;

    if (x->usbcmd & CMD_RESET) {
        xhci_reset_logic(x);
        return;
    }
    if (x->usbcmd & CMD_SAVE) {
        x->usbsts &= ~STS_RESTORE_ERROR;
    }
    if (x->usbcmd & CMD_RESTORE) {
        x->usbsts |= STS_RESTORE_ERROR;
    }
    x->usbcmd &= ~(CMD_SAVE | CMD_RESTORE);
    if (x->usbsts & (STS_HOST_ERROR | STS_CONTROLLER_ERROR)) {
        x->usbcmd &= ~CMD_RUN; /* until it is reset */
    }
    if (x->usbcmd & CMD_RUN && x->usbsts & STS_HALTED) {
        start(x);
    } else if (!(x->usbcmd & CMD_RUN) && !(x->usbsts & STS_HALTED)) {
        stop(x);
    }
}

/* All but "running" reads 0. */
static uint64_t crcr_read(void *dev, unsigned index)
{
    const struct xhci *x = dev;

    return index == 0 && x->commands_run ? CRCR_RUNNING : 0;
}

static void crcr_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct xhci *x = dev;
    struct xhci_ring *r = &x->commands;

    if (index == 1) {
        if (!x->commands_run) {
            r->dequeue = (r->dequeue & UINT32_MAX) | value << 32;
        }
    } else if (!x->commands_run) {
        r->dequeue = (r->dequeue & ~(uint64_t)UINT32_MAX) | (value & 0xffffffc0);
        r->cycle = value & CRCR_CYCLE;
    } else if (value & (CRCR_STOP | CRCR_ABORT)) {
        xhci_commands_stop(x);
        xhci_run(x, ACCESS_BUDGET);
    }
}

/* ---- runtime ---- */

static uint64_t mfindex_read(void *dev, unsigned index)
{
    const struct xhci *x = dev;
    int64_t ns = xhci_now(x) - x->started;

    return xhci_runs(x) && ns > 0 ? (uint64_t)(ns / MICROFRAME_NS) & MFINDEX_MASK : 0;
}

static uint64_t interrupter_read(void *dev, unsigned index)
{
    const struct xhci *x = dev;

    return index / IR_WORDS < x->interrupters ? x->ir[index] : 0;
}

static void interrupter_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    xhci_interrupter_written(dev, index, (uint32_t)old, (uint32_t)value);
}

static uint64_t port_read(void *dev, unsigned index)
{
    return xhci_port_read(dev, index);
}

static void port_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    xhci_port_written(dev, index, (uint32_t)value);
}

static void doorbell_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct xhci *x = dev;

    if (!xhci_runs(x)) {
        log_guest(LOG_USB, "%s: doorbell %u of a controller that does not run", x->pci.dev.id,
                  index);
        return;
    }
    if (index > 0) {
        xhci_endpoint_doorbell(x, index, (uint32_t)value);
    } else if (value == 0) {
        x->commands_run = x->commands_ready = true;
    }
    xhci_run(x, ACCESS_BUDGET);
}

static void changed(void *dev)
{
    xhci_update_interrupts(dev);
}

#define REG_STRUCT struct xhci
static const struct reg registers[] = {
    REG_PORT("capabilities", 0x00, 32, .count = 16, .read = capability_read),
    XHCI_REGS_LOW(REG_ROW_)
        REG_PORT("crcr", 0x58, 32, .count = 2, .read = crcr_read, .written = crcr_written),
    XHCI_REGS_HIGH(REG_ROW_) REG_PORT("ports", PORTS, 32, .count = 2 * XHCI_PORTS_MAX * PORT_WORDS,
                                      .read = port_read, .written = port_written),
    REG_PORT("mfindex", RUNTIME, 32, .read = mfindex_read),
    REG_ARRAY(struct xhci, ir, INTERRUPTERS, .rw = UINT32_MAX, .read = interrupter_read,
              .written = interrupter_written),
    REG_PORT("doorbell", DOORBELLS, 32, .count = XHCI_SLOTS + 1, .written = doorbell_written),
    REG_END,
};

const struct reg_block xhci_block = {"xhci", registers, BLOCK_BYTES, changed};
