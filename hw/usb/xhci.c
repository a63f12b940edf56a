/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xHCI: the USB 3 controller of `usbversion=3`, with the ids of NEC's (1033:0194, as QEMU's
 * "nec-usb-xhci"), and with those of QEMU's own (1b36:000d). Firmware and systems of today have a
 * driver for every xHCI.
 *
 * Source: Extensible Host Controller Interface specification 1.1; section numbers are its. What it
 * leaves to the chip (ports of USB 3 first, where registers are) is as with QEMU's. A connector is
 * a port of each protocol; low, full and high speed show in the USB 2 one.
 *
 * Left out on purpose, and not advertised or refused as the specification says: isochronous
 * endpoints (a Bandwidth Error when they are configured), streams, MFINDEX wrap events, segment
 * tables of more than one segment, save and restore of the controller's state (drivers set it up
 * anew, as it says), the bandwidth of ports, power switching, debug capability. Event interrupts
 * are not throttled by IMOD: one comes when the guest has handled the one before (EHB).
 *
 * Endpoints whose device says NAK are asked again when it calls usb_wakeup(), and not before, so an
 * idle guest costs nothing. Interrupt endpoints are asked no more often than their interval says: a
 * hub has something until its driver, which asks at once, comes round to clearing it.
 */
#include <errno.h>
#include <string.h>

#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/tape.h>
#include <xendm/turn.h>

#include "xhci.h"

#define BAR_BYTES 0x4000u
#define MSIX_TABLE 0x3000u
#define MSIX_PENDING 0x3800u

/* Units: a command, or a transaction of some KiB. A loop of them costs a part of a processor. */
#define TURN_BUDGET 48u
#define WINDOW_BUDGET 512u
#define WINDOW_NS NS_PER_MS

/* ---- guest memory ---- */

void xhci_host_error(struct xhci *x, int rc, uint64_t at)
{
    if (rc == -EPERM || !xhci_runs(x)) {
        return;
    }
    log_guest(LOG_USB, "%s: memory does not answer at 0x%llx: the controller stops", x->pci.dev.id,
              (unsigned long long)at);
    x->usbsts |= STS_HOST_ERROR | STS_HALTED;
    x->usbcmd &= ~CMD_RUN;
    x->commands_run = false;
    x->errors++;
    xhci_sources_stop(x);
}

bool xhci_read(struct xhci *x, uint64_t at, void *to, size_t len)
{
    int rc = dma_read_content(&x->pci.dev, at, to, len, DMA_STRUCTURE);

    if (rc < 0) {
        xhci_host_error(x, rc, at);
    }
    return rc == 0;
}

bool xhci_write(struct xhci *x, uint64_t at, const void *from, size_t len)
{
    int rc = dma_write(&x->pci.dev, at, from, len);

    if (rc < 0) {
        xhci_host_error(x, rc, at);
    }
    return rc == 0;
}

/* ---- what is to be done ---- */

static bool works(const struct xhci *x)
{
    return xhci_runs(x) && !x->stopped && !x->pci.dev.dma_blocked &&
           x->pci.dev.phase != DEVICE_LEAVING;
}

static bool is_early(const struct xhci_endpoint *e, int64_t now)
{
    return e->delayed && now < e->next;
}

/* The next endpoint in turn that may have something to do, and whose time has come. */
static struct xhci_endpoint *next_ready(struct xhci *x, int64_t now)
{
    for (unsigned i = 0; i < x->endpoints; i++) {
        struct xhci_endpoint *e = &x->endpoint[(x->turn + i) % x->endpoints];

        if (e->ready && !is_early(e, now)) {
            return e;
        }
    }
    return NULL;
}

/* When something that is ready may go on without anything else happening. */
static void arm(struct xhci *x, bool paced, int64_t now)
{
    int64_t when = paced ? x->window + WINDOW_NS : VTIMER_OFF;

    for (unsigned i = 0; i < x->endpoints && !x->blocked; i++) {
        const struct xhci_endpoint *e = &x->endpoint[i];

        if (e->ready && is_early(e, now) && (when == VTIMER_OFF || e->next < when)) {
            when = e->next;
        }
    }
    if (when == VTIMER_OFF) {
        vtimer_disarm(&x->timer);
    } else {
        vtimer_arm(&x->timer, when);
    }
}

static bool one_unit(struct xhci *x, int64_t now)
{
    struct xhci_endpoint *e;

    if (x->commands_ready && xhci_command_unit(x)) {
        return true;
    }
    e = works(x) && !x->blocked ? next_ready(x, now) : NULL;
    if (!e) {
        return false;
    }
    x->turn = (unsigned)(e - x->endpoint) + 1;
    xhci_endpoint_unit(x, e);
    return true;
}

/*
 * A ring that has no end would keep us busy without a guest's doing anything: so there is a budget
 * for each millisecond, far above what drivers need.
 */
void xhci_run(struct xhci *x, unsigned budget)
{
    int64_t now = xhci_now(x);
    bool more = true;
    unsigned n = 0;

    if (!works(x)) {
        return;
    }
    if (now < x->window || now - x->window >= WINDOW_NS) {
        x->window = now;
        x->spent = 0;
    }
    xhci_post_stop_event(x);
    xhci_post_port_events(x);
    budget = MIN(budget, WINDOW_BUDGET - x->spent);
    while (works(x) && !x->blocked && n < budget && (more = one_unit(x, now))) {
        n++;
        if (n % 8 == 0 && tape_late(turn_is_used_up())) {
            break;
        }
    }
    x->spent += n;
    xhci_signal(x);
    more = more && works(x) && !x->blocked && (x->commands_ready || next_ready(x, now));
    if (more && x->spent < WINDOW_BUDGET) {
        xhci_run_later(x);
    }
    if (works(x)) {
        arm(x, more && x->spent >= WINDOW_BUDGET, now);
    }
}

static void run_more(void *opaque)
{
    xhci_run(opaque, TURN_BUDGET);
}

void xhci_run_later(struct xhci *x)
{
    static const struct later_kind kind = {.turn = "xHCI", .go_on = run_more};

    if (works(x)) {
        later_ask(&x->more, &kind, x, x->pci.dev.id);
    }
}

void xhci_kick(struct xhci *x)
{
    for (unsigned i = 0; i < x->endpoints; i++) {
        struct xhci_endpoint *e = &x->endpoint[i];

        e->waiting = false;
        e->ready = e->slot && e->active && e->state == EP_RUNNING;
    }
    x->commands_ready = x->commands_run;
    x->blocked = false;
    xhci_run_later(x);
}

void xhci_sources_stop(struct xhci *x)
{
    later_forget(&x->more);
    vtimer_disarm(&x->timer);
}

/* ---- life ---- */

/* Bus mastering may be on again; INTx may be MSI now. */
static void config_written(struct device *dev, unsigned reg, unsigned len, uint32_t old)
{
    struct xhci *x = DEVICE_CAST(struct xhci, dev);

    if (reg / 4 == 1 && !dev->dma_blocked) {
        xhci_kick(x);
    }
    xhci_update_interrupts(x);
}

static int xhci_realize(struct device *dev, GError **err)
{
    struct xhci *x = DEVICE_CAST(struct xhci, dev);

    vtimer_init(&x->timer, dev->machine->clock, "xhci", run_more, x);
    for (unsigned i = 0; i < MAX(x->p2, x->p3); i++) {
        x->port[i].ops = &xhci_port_ops;
        x->port[i].controller = x;
        x->port[i].speeds = (i < x->p2 ? 1u << USB_LOW | 1u << USB_FULL | 1u << USB_HIGH : 0) |
                            (i < x->p3 ? 1u << USB_SUPER : 0);
    }
    usb_bus_init(&x->bus, dev, x->port, MAX(x->p2, x->p3));
    pci_cap_add_msix(&x->pci, 0x90, x->interrupters, 0, MSIX_TABLE, MSIX_PENDING);
    pci_cap_add_msi(&x->pci, 0x70, XHCI_INTERRUPTERS, true);
    return 0;
}

static void xhci_unrealize(struct device *dev)
{
    struct xhci *x = DEVICE_CAST(struct xhci, dev);

    x->stopped = true;
    xhci_sources_stop(x);
    usb_bus_fini(&x->bus);
    xhci_sources_stop(x);
}

/* The registers are reset already. */
static void xhci_reset(struct device *dev, enum reset_reason why)
{
    xhci_reset_logic(DEVICE_CAST(struct xhci, dev));
}

static void xhci_quiesce(struct device *dev)
{
    struct xhci *x = DEVICE_CAST(struct xhci, dev);

    x->stopped = true;
    xhci_sources_stop(x);
}

static void xhci_resume(struct device *dev)
{
    struct xhci *x = DEVICE_CAST(struct xhci, dev);

    x->stopped = false;
    x->turn = 0; /* as in one that was restored (xendm/tape.h) */
    x->window = x->spent = 0;
    if (xhci_runs(x)) {
        xhci_kick(x);
    }
}

static void xhci_describe(struct device *dev, struct facts *to)
{
    const struct xhci *x = DEVICE_CAST(struct xhci, dev);
    unsigned slots = 0, endpoints = 0, waiting = 0;

    for (unsigned i = 0; i < XHCI_SLOTS; i++) {
        slots += x->slot[i].enabled;
    }
    for (unsigned i = 0; i < x->endpoints; i++) {
        endpoints += x->endpoint[i].slot != 0;
        waiting += x->endpoint[i].waiting;
    }
    fact_text(to, "state", "%s",
              xhci_runs(x) ? x->blocked ? "event ring full" : "runs" : "stopped");
    fact_int(to, "slots", slots);
    fact_int(to, "endpoints", endpoints);
    fact_int(to, "endpoints that wait", waiting);
    fact_int(to, "transfers", (int64_t)x->transfers);
    fact_int(to, "naks", (int64_t)x->naks);
    fact_int(to, "errors", (int64_t)x->errors);
    fact_int(to, "interrupts", (int64_t)x->interrupts);
    for (unsigned i = 0; i < x->bus.count; i++) {
        g_autofree char *name = g_strdup_printf("port %u", i + 1);

        fact_text(to, name, "%s", x->port[i].device ? x->port[i].device->dev.id : "empty");
    }
}

static const struct property properties[] = {
    {.name = "p2",
     .type = PROP_UINT32,
     .offset = offsetof(struct xhci, p2),
     .def = "4",
     .min = 1,
     .max = XHCI_PORTS_MAX,
     .help = "USB 2 ports"},
    {.name = "p3",
     .type = PROP_UINT32,
     .offset = offsetof(struct xhci, p3),
     .def = "4",
     .min = 1,
     .max = XHCI_PORTS_MAX,
     .help = "USB 3 ports"},
    {.name = "slots",
     .type = PROP_UINT32,
     .offset = offsetof(struct xhci, slots),
     .def = "64",
     .min = 1,
     .max = XHCI_SLOTS,
     .help = "devices at a time"},
    {.name = "intrs",
     .type = PROP_UINT32,
     .offset = offsetof(struct xhci, interrupters),
     .def = "16",
     .min = 1,
     .max = XHCI_INTERRUPTERS,
     .help = "interrupters"},
    {.name = NULL},
};

/* The release number, of USB 3.0 (5.2.3), and what QEMU's has there. */
static const struct pci_config_reg config[] = {
    {0x0c, .reset = 0x10, .writable = 0xff},
    {0x60, .reset = 0x30},
    {0},
};

#define XHCI_PCI(v, d, r) \
    { \
        .vendor = (v), .device = (d), .subsystem_vendor = 0x1af4, .subsystem = 0x1100, \
        .class = 0x0c0330, .revision = (r), .intx_pin = 1, \
        .bar = {[0] = {.type = PCI_BAR_MEM64, .size = BAR_BYTES, .regs = &xhci_block}}, \
        .config = config, .config_written = config_written, \
    }

#define XHCI_CLASS(symbol, text, description, ...) \
    const struct device_class symbol = { \
        .name = text, \
        .help = description, \
        .size = sizeof(struct xhci), \
        .properties = properties, \
        .state = &xhci_state, \
        .recorded = true, \
        .hotplug = true, \
        .realize = xhci_realize, \
        .reset = xhci_reset, \
        .unrealize = xhci_unrealize, \
        .quiesce = xhci_quiesce, \
        .resume = xhci_resume, \
        .describe = xhci_describe, \
        .pci = &(const struct pci_info)XHCI_PCI(__VA_ARGS__), \
    }

XHCI_CLASS(nec_xhci_class, "nec-usb-xhci", "USB 3 host controller (NEC's ids)", 0x1033, 0x0194, 3);
XHCI_CLASS(qemu_xhci_class, "qemu-xhci", "USB 3 host controller (QEMU's ids)", 0x1b36, 0x000d, 1);
