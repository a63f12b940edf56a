/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xHCI: the root hub (4.19, 5.4.8 to 5.4.11). */
#include "xhci.h"

/* PORTSC */
#define PORT_CONNECTED 0x00000001u
#define PORT_ENABLED 0x00000002u
#define PORT_RESET 0x00000010u
#define PORT_LINK(state) ((state) << 5)
#define PORT_LINK_MASK 0x000001e0u
#define PORT_POWER 0x00000200u
#define PORT_SPEED_MASK 0x00003c00u
#define PORT_LINK_STROBE 0x00010000u
#define PORT_CONNECT_CHANGE 0x00020000u
#define PORT_ENABLE_CHANGE 0x00040000u
#define PORT_WARM_CHANGE 0x00080000u
#define PORT_RESET_CHANGE 0x00200000u
#define PORT_LINK_CHANGE 0x00400000u
#define PORT_CHANGES 0x00fe0000u
#define PORT_WAKE 0x0e000000u
#define PORT_WARM_RESET 0x80000000u
#define PORT_BITS \
    (PORT_CONNECTED | PORT_ENABLED | PORT_LINK_MASK | PORT_POWER | PORT_SPEED_MASK | \
     PORT_CHANGES | PORT_WAKE)

enum { LINK_U0 = 0, LINK_U3 = 3, LINK_DETECT = 5, LINK_POLLING = 7, LINK_RESUME = 15 };

/* Protocol speed ids (7.2.2.1.1), of PORTSC and slot contexts */
static const uint8_t speed_id[] = {[USB_LOW] = 2, [USB_FULL] = 1, [USB_HIGH] = 3, [USB_SUPER] = 4};

static bool is_usb3(const struct xhci *x, unsigned i)
{
    return i < x->p3;
}

static struct usb_port *connector(struct xhci *x, unsigned i)
{
    return &x->port[is_usb3(x, i) ? i : i - x->p3];
}

/* Where a device of that connector shows. */
static unsigned index_of(const struct xhci *x, const struct usb_port *port)
{
    unsigned i = port->number - 1;

    return port->device->speed == USB_SUPER ? i : x->p3 + i;
}

static struct usb_device *device_at(struct xhci *x, unsigned i)
{
    struct usb_port *port = connector(x, i);
    struct usb_device *dev = usb_port_device(port);

    return dev && index_of(x, port) == i ? dev : NULL;
}

struct usb_device *xhci_port_device(struct xhci *x, unsigned port)
{
    unsigned i = port - 1;
    struct usb_device *dev = i < xhci_ports(x) ? device_at(x, i) : NULL;

    return dev && x->portsc[i] & PORT_ENABLED && (x->portsc[i] & PORT_LINK_MASK) == 0 ? dev : NULL;
}

static unsigned link_of(const struct xhci *x, unsigned i)
{
    return (x->portsc[i] & PORT_LINK_MASK) >> 5;
}

static void set_link(struct xhci *x, unsigned i, unsigned state)
{
    x->portsc[i] = (x->portsc[i] & ~PORT_LINK_MASK) | PORT_LINK(state);
}

/* ---- changes ---- */

/* An event for a bit that was not set yet (4.19.2), as long as the controller runs. */
static void set_change(struct xhci *x, unsigned i, uint32_t bits)
{
    bool news = bits & ~x->portsc[i];

    x->portsc[i] |= bits;
    if (news && xhci_runs(x)) {
        x->port_events |= 1u << i;
        xhci_run_later(x);
    }
}

void xhci_post_port_events(struct xhci *x)
{
    for (unsigned i = 0; x->port_events && i < xhci_ports(x); i++) {
        if (x->port_events >> i & 1) {
            if (!xhci_events_room(x, 0, 1)) {
                return;
            }
            x->port_events &= ~(1u << i);
            x->usbsts |= STS_PORT_CHANGE;
            xhci_event(x, 0, (uint64_t)(i + 1) << 24, CC_SUCCESS << 24, TRB_PORT_EVENT << 10);
        }
    }
}

static void connect_port(struct xhci *x, unsigned i)
{
    bool super = is_usb3(x, i); /* trains its link by itself, and is there */

    x->portsc[i] = (x->portsc[i] & ~(PORT_SPEED_MASK | PORT_ENABLED)) | PORT_CONNECTED |
                   (uint32_t)speed_id[device_at(x, i)->speed] << 10 | (super ? PORT_ENABLED : 0);
    set_link(x, i, super ? LINK_U0 : LINK_POLLING);
    set_change(x, i, PORT_CONNECT_CHANGE);
}

static void disconnect_port(struct xhci *x, unsigned i)
{
    x->portsc[i] &= ~(PORT_CONNECTED | PORT_ENABLED | PORT_SPEED_MASK);
    set_link(x, i, LINK_DETECT);
    set_change(x, i, PORT_CONNECT_CHANGE);
}

void xhci_ports_reset(struct xhci *x)
{
    x->port_events = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(x->portsc); i++) {
        x->portpmsc[i] = 0;
        x->portsc[i] = i < xhci_ports(x) ? PORT_POWER | PORT_LINK(LINK_DETECT) : 0;
        if (i < xhci_ports(x) && device_at(x, i)) {
            usb_port_reset(connector(x, i));
            connect_port(x, i);
        }
    }
}

void xhci_ports_adopt(struct xhci *x)
{
    for (unsigned i = 0; i < xhci_ports(x); i++) {
        bool connected = x->portsc[i] & PORT_CONNECTED;

        if (connected && !device_at(x, i)) {
            disconnect_port(x, i);
        } else if (!connected && device_at(x, i)) {
            connect_port(x, i);
        }
    }
}

bool xhci_ports_check(const struct xhci *x)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(x->portsc); i++) {
        if (x->portsc[i] & ~PORT_BITS ||
            (x->portsc[i] & PORT_ENABLED && !(x->portsc[i] & PORT_CONNECTED))) {
            return false;
        }
    }
    return !(x->port_events >> G_N_ELEMENTS(x->portsc));
}

/* ---- registers ---- */

static void reset_port(struct xhci *x, unsigned i, bool warm)
{
    if (!device_at(x, i)) {
        return;
    }
    usb_port_reset(connector(x, i));
    x->portsc[i] |= PORT_ENABLED;
    set_link(x, i, LINK_U0);
    set_change(x, i, PORT_RESET_CHANGE | (warm && is_usb3(x, i) ? PORT_WARM_CHANGE : 0));
}

static void write_link(struct xhci *x, unsigned i, unsigned state)
{
    unsigned old = link_of(x, i);

    if (!(x->portsc[i] & PORT_ENABLED) || state == old) {
        return;
    }
    if (state == LINK_U0) {
        set_link(x, i, state);
        set_change(x, i, PORT_LINK_CHANGE);
        xhci_kick(x); /* what its endpoints have may go on */
    } else if (state == LINK_U3 || (state == LINK_RESUME && old == LINK_U3)) {
        set_link(x, i, state);
    }
}

uint32_t xhci_port_read(const struct xhci *x, unsigned word)
{
    unsigned i = word / 4;

    if (i >= xhci_ports(x)) {
        return 0;
    }
    return word % 4 == 0 ? x->portsc[i] : word % 4 == 1 ? x->portpmsc[i] : 0;
}

void xhci_port_written(struct xhci *x, unsigned word, uint32_t value)
{
    unsigned i = word / 4;

    if (i >= xhci_ports(x)) {
        return;
    }
    if (word % 4 == 1) {
        x->portpmsc[i] = value & (is_usb3(x, i) ? 0x0001ffff : 0xf001fff8);
        return;
    }
    if (word % 4 != 0) {
        return;
    }
    if (value & PORT_RESET || (value & PORT_WARM_RESET && is_usb3(x, i))) {
        reset_port(x, i, value & PORT_WARM_RESET);
        return;
    }
    x->portsc[i] &= ~(value & PORT_CHANGES);
    x->portsc[i] = (x->portsc[i] & ~PORT_WAKE) | (value & PORT_WAKE);
    if (value & PORT_ENABLED && x->portsc[i] & PORT_ENABLED) { /* writing 1 disables */
        x->portsc[i] &= ~PORT_ENABLED;
        set_link(x, i, is_usb3(x, i) ? LINK_DETECT : LINK_POLLING);
    } else if (value & PORT_LINK_STROBE) {
        write_link(x, i, (value & PORT_LINK_MASK) >> 5);
    }
}

/* ---- what happens in them ---- */

static void port_attached(struct usb_port *port)
{
    struct xhci *x = port->controller;

    connect_port(x, index_of(x, port));
}

static void port_detached(struct usb_port *port)
{
    struct xhci *x = port->controller;
    unsigned i = index_of(x, port);

    if (x->portsc[i] & PORT_CONNECTED) {
        disconnect_port(x, i);
        xhci_kick(x); /* who waited for it gets no answer now */
    }
}

static void wake_port(struct xhci *x, unsigned i, const struct usb_device *dev)
{
    if (link_of(x, i) == LINK_U3 && dev->remote_wakeup) {
        set_link(x, i, LINK_RESUME);
        set_change(x, i, PORT_LINK_CHANGE);
    }
}

static void port_wakeup(struct usb_port *port, uint8_t endpoint)
{
    struct xhci *x = port->controller;
    unsigned i = index_of(x, port), number = endpoint & 15u;
    unsigned dci = number ? 2 * number + !!(endpoint & USB_DIR_IN) : 1;
    bool any = false;

    wake_port(x, i, port->device);
    for (unsigned n = 0; n < x->endpoints; n++) {
        struct xhci_endpoint *e = &x->endpoint[n];

        if (e->slot && e->waiting && e->dci == dci && x->slot[e->slot - 1].port == i + 1) {
            e->waiting = false;
            e->ready = any = true;
        }
    }
    if (any) {
        xhci_run_later(x);
    }
}

const struct usb_port_ops xhci_port_ops = {
    .attached = port_attached,
    .detached = port_detached,
    .wakeup = port_wakeup,
};
