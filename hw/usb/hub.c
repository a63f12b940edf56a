/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * USB hub of eight ports, for more devices than a controller has ports.
 *
 * Source: USB 1.1, chapter 11.16 (requests, status and change bits, the hub descriptor). Ids, texts
 * and descriptors are those of QEMU's hub.
 *
 * Left out: over-current, indicators, port power that is really gone (the devices keep what they
 * have; a port without power shows none).
 */
#include <errno.h>
#include <string.h>

#include <xendm/bytes.h>
#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/usb.h>

#include "usb-internal.h"

#define HUB_PORTS 8u
#define ENDPOINT (USB_DIR_IN | 1u)
#define USB_DT_HUB 0x29
#define LE16(v) (uint8_t)((v)&0xff), (uint8_t)((v) >> 8)

/* wPortStatus */
#define PORT_CONNECTION 0x0001u
#define PORT_ENABLE 0x0002u
#define PORT_SUSPEND 0x0004u
#define PORT_RESET 0x0010u
#define PORT_POWER 0x0100u
#define PORT_LOW_SPEED 0x0200u
#define PORT_STATUS_BITS \
    (PORT_CONNECTION | PORT_ENABLE | PORT_SUSPEND | PORT_RESET | PORT_POWER | PORT_LOW_SPEED)
/* wPortChange: the same places. */
#define PORT_CHANGE_BITS 0x001fu

enum {
    FEATURE_ENABLE = 1,
    FEATURE_SUSPEND = 2,
    FEATURE_RESET = 4,
    FEATURE_POWER = 8,
    FEATURE_C_CONNECTION = 16,
    FEATURE_C_RESET = 20,
};

struct usb_hub {
    struct usb_device usb;
    struct usb_port port[HUB_PORTS];
    uint16_t status[HUB_PORTS], change[HUB_PORTS];
};

static const char *const strings[] = {"QEMU", "QEMU USB Hub", "314159", NULL};

/* clang-format off */
static const uint8_t device_descriptor[] = {
    18, USB_DT_DEVICE, LE16(0x0110), 9, 0, 0, 8,
    LE16(0x0409), LE16(0x55aa), LE16(0x0101), 1, 2, 3, 1,
};
static const uint8_t configuration[] = {
    9, USB_DT_CONFIGURATION, LE16(25), 1, 1, 0, 0xe0, 0, /* powers itself, wakes up */
    9, USB_DT_INTERFACE, 0, 0, 1, 9, 0, 0, 0,
    7, USB_DT_ENDPOINT, ENDPOINT, 3, LE16(2), 255,
};
/* Each port has power of its own, none has over-current protection; nothing is built in. */
static const uint8_t hub_descriptor[] = {10, USB_DT_HUB, HUB_PORTS, LE16(0x000a), 1, 0, 0, 0, 0xff};
/* clang-format on */

static const struct usb_descriptors descriptors = {
    .device = device_descriptor,
    .configuration = configuration,
    .strings = strings,
};

static struct usb_hub *hub_of(struct usb_device *dev)
{
    return (struct usb_hub *)dev;
}

static void changed(struct usb_hub *h, unsigned i, unsigned bits)
{
    h->change[i] |= (uint16_t)bits;
    usb_wakeup(&h->usb, ENDPOINT);
}

static bool has_device(const struct usb_hub *h, unsigned i)
{
    return usb_port_device(&h->port[i]) != NULL;
}

static void connect_port(struct usb_hub *h, unsigned i)
{
    bool slow = h->port[i].device->speed == USB_LOW;

    h->status[i] = (uint16_t)((h->status[i] & ~PORT_LOW_SPEED) | PORT_CONNECTION |
                              (slow ? PORT_LOW_SPEED : 0));
    changed(h, i, PORT_CONNECTION);
}

/* ---- its ports ---- */

static void port_attached(struct usb_port *port)
{
    struct usb_hub *h = port->controller;

    if (h->status[port->number - 1] & PORT_POWER) {
        connect_port(h, port->number - 1);
    }
}

static void port_detached(struct usb_port *port)
{
    struct usb_hub *h = port->controller;
    unsigned i = port->number - 1;

    if (h->status[i] & PORT_CONNECTION) {
        unsigned enabled = h->status[i] & PORT_ENABLE;

        h->status[i] &= PORT_POWER;
        changed(h, i, PORT_CONNECTION | enabled);
    }
}

/* Up to the controller, which looks whether anybody is asleep. */
static void port_wakeup(struct usb_port *port, uint8_t endpoint)
{
    struct usb_hub *h = port->controller;
    unsigned i = port->number - 1;

    if (h->status[i] & PORT_SUSPEND && port->device->remote_wakeup) {
        h->status[i] &= (uint16_t)~PORT_SUSPEND;
        changed(h, i, PORT_SUSPEND);
    }
    usb_wakeup(&h->usb, endpoint);
}

static const struct usb_port_ops port_ops = {
    .attached = port_attached,
    .detached = port_detached,
    .wakeup = port_wakeup,
};

static struct usb_port *hub_ports(struct usb_device *dev, unsigned *count)
{
    *count = HUB_PORTS;
    return hub_of(dev)->port;
}

static struct usb_device *hub_behind(struct usb_device *dev, unsigned address)
{
    struct usb_hub *h = hub_of(dev);

    for (unsigned i = 0; i < HUB_PORTS; i++) {
        struct usb_device *found = NULL;

        if (has_device(h, i) &&
            (h->status[i] & (PORT_ENABLE | PORT_SUSPEND | PORT_RESET)) == PORT_ENABLE) {
            found = usb_find_device(h->port[i].device, address);
        }
        if (found) {
            return found;
        }
    }
    return NULL;
}

/* ---- requests ---- */

static bool set_feature(struct usb_hub *h, unsigned i, unsigned feature)
{
    switch (feature) {
    case FEATURE_SUSPEND:
        h->status[i] |= h->status[i] & PORT_ENABLE ? PORT_SUSPEND : 0;
        return true;
    case FEATURE_RESET:
        if (has_device(h, i) && h->status[i] & PORT_CONNECTION) {
            unsigned enabled = ~h->status[i] & PORT_ENABLE; /* a change to QEMU's hub, too */

            usb_port_reset(&h->port[i]);
            h->status[i] = (uint16_t)((h->status[i] & ~PORT_SUSPEND) | PORT_ENABLE);
            changed(h, i, PORT_RESET | enabled);
        }
        return true;
    case FEATURE_POWER:
        if (!(h->status[i] & PORT_POWER)) {
            h->status[i] |= PORT_POWER;
            if (has_device(h, i)) {
                connect_port(h, i);
            }
        }
        return true;
    default:
        return false;
    }
}

static bool clear_feature(struct usb_hub *h, unsigned i, unsigned feature)
{
    switch (feature) {
    case FEATURE_ENABLE:
        h->status[i] &= (uint16_t)~PORT_ENABLE;
        return true;
    case FEATURE_SUSPEND:
        if (h->status[i] & PORT_SUSPEND) {
            h->status[i] &= (uint16_t)~PORT_SUSPEND;
            changed(h, i, PORT_SUSPEND);
        }
        return true;
    case FEATURE_POWER:
        h->status[i] = 0;
        h->change[i] = 0;
        return true;
    default:
        if (feature < FEATURE_C_CONNECTION || feature > FEATURE_C_RESET) {
            return false;
        }
        h->change[i] &= (uint16_t) ~(1u << (feature - FEATURE_C_CONNECTION));
        return true;
    }
}

static enum usb_status put_reply(uint8_t *data, size_t *length, const uint8_t *bytes, size_t n)
{
    *length = MIN(*length, n);
    memcpy(data, bytes, *length);
    return USB_OK;
}

static enum usb_status hub_control(struct usb_device *dev, const struct usb_setup *s, uint8_t *data,
                                   size_t *length)
{
    struct usb_hub *h = hub_of(dev);
    unsigned i = s->index - 1u; /* a port; of the hub itself: beyond all */
    uint8_t status[4] = {0};
    bool ok = false;

    switch (s->type << 8 | s->request) {
    case 0xa000 | USB_REQ_GET_DESCRIPTOR:
        return s->value >> 8 != USB_DT_HUB && s->value
                   ? USB_STALL
                   : put_reply(data, length, hub_descriptor, sizeof(hub_descriptor));
    case 0xa000 | USB_REQ_GET_STATUS: /* local power is good */
        return put_reply(data, length, status, sizeof(status));
    case 0x2000 | USB_REQ_SET_FEATURE:
    case 0x2000 | USB_REQ_CLEAR_FEATURE: /* what the hub itself has changed: nothing */
        return s->value <= 1 ? USB_OK : USB_STALL;
    case 0xa300 | USB_REQ_GET_STATUS:
        if (i < HUB_PORTS) {
            store_le16(status, h->status[i]);
            store_le16(status + 2, h->change[i]);
            return put_reply(data, length, status, sizeof(status));
        }
        return USB_STALL;
    case 0x2300 | USB_REQ_SET_FEATURE:
        ok = i < HUB_PORTS && set_feature(h, i, s->value);
        break;
    case 0x2300 | USB_REQ_CLEAR_FEATURE:
        ok = i < HUB_PORTS && clear_feature(h, i, s->value);
        break;
    default:
        break;
    }
    return ok ? USB_OK : USB_STALL;
}

/* The status change endpoint: a bit for each port that has changed; bit 0 is the hub's. */
static enum usb_status hub_transfer(struct usb_device *dev, struct usb_packet *p)
{
    const struct usb_hub *h = hub_of(dev);
    uint8_t bytes[2];
    unsigned bits = 0;

    for (unsigned i = 0; i < HUB_PORTS; i++) {
        bits |= h->change[i] ? 2u << i : 0;
    }
    if (p->pid != USB_IN) {
        return USB_STALL;
    }
    if (!bits) {
        return USB_NAK;
    }
    store_le16(bytes, bits);
    if (p->length == 0) {
        return USB_BABBLE;
    }
    usb_packet_put(p, bytes, sizeof(bytes)); /* FreeBSD asks for one byte */
    return USB_OK;
}

/* Lost by a reset: what is in the ports is found anew. */
static void hub_configured(struct usb_device *dev)
{
    struct usb_hub *h = hub_of(dev);

    if (dev->configuration) {
        return;
    }
    for (unsigned i = 0; i < HUB_PORTS; i++) {
        h->status[i] = PORT_POWER;
        h->change[i] = 0;
        if (has_device(h, i)) {
            connect_port(h, i);
        }
    }
}

/* ---- life ---- */

static int hub_realize(struct device *dev, GError **err)
{
    struct usb_hub *h = DEVICE_CAST(struct usb_hub, dev);

    for (unsigned i = 0; i < HUB_PORTS; i++) {
        h->port[i].ops = &port_ops;
        h->port[i].controller = h;
        h->port[i].hub = &h->usb;
        h->port[i].number = i + 1;
        h->port[i].speeds = 1u << USB_LOW | 1u << USB_FULL;
    }
    return 0;
}

static void hub_reset(struct device *dev, enum reset_reason why)
{
    usb_device_reset(DEVICE_CAST(struct usb_device, dev));
}

static void hub_describe(struct device *dev, struct facts *to)
{
    const struct usb_hub *h = DEVICE_CAST(struct usb_hub, dev);

    usb_device_describe(DEVICE_CAST(struct usb_device, dev), to);
    for (unsigned i = 0; i < HUB_PORTS; i++) {
        g_autofree char *name = g_strdup_printf("port %u", i + 1);

        fact_text(to, name, "%s, status %04x, change %04x",
                  h->port[i].device ? h->port[i].device->dev.id : "empty", h->status[i],
                  h->change[i]);
    }
}

/* ---- saved state ---- */

/* What is in the ports is what we have, whatever was there. */
static void hub_post_load(void *base)
{
    struct usb_hub *h = base;

    for (unsigned i = 0; i < HUB_PORTS; i++) {
        bool connected = h->status[i] & PORT_CONNECTION;

        if (connected && !has_device(h, i)) {
            h->status[i] &= PORT_POWER;
            h->change[i] |= PORT_CONNECTION;
        } else if (!connected && has_device(h, i) && h->status[i] & PORT_POWER) {
            h->status[i] |= PORT_CONNECTION;
            h->change[i] |= PORT_CONNECTION;
        }
    }
}

static bool hub_check(const void *base, GError **err)
{
    const struct usb_hub *h = base;

    for (unsigned i = 0; i < HUB_PORTS; i++) {
        if (h->status[i] & ~PORT_STATUS_BITS || h->change[i] & ~PORT_CHANGE_BITS ||
            (h->status[i] & PORT_ENABLE && !(h->status[i] & PORT_CONNECTION))) {
            g_set_error(err, XENDM_ERROR, EINVAL, "port %u: status %04x, change %04x", i + 1,
                        h->status[i], h->change[i]);
            return false;
        }
    }
    return true;
}

static const struct state_field hub_fields[] = {
    STATE_USB_DEVICE(struct usb_hub, usb),
    {.name = "status",
     .type = STATE_U16,
     .offset = offsetof(struct usb_hub, status),
     .count = HUB_PORTS},
    {.name = "change",
     .type = STATE_U16,
     .offset = offsetof(struct usb_hub, change),
     .count = HUB_PORTS},
    STATE_FIELD_END,
};

static const struct state_desc hub_state = {
    .name = "usb-hub",
    .version = 1,
    .fields = hub_fields,
    .check = hub_check,
    .post_load = hub_post_load,
};

const struct device_class usb_hub_class = {
    .name = "usb-hub",
    .help = "hub of eight ports",
    .size = sizeof(struct usb_hub),
    .state = &hub_state,
    .recorded = true,
    .bus = &usb_bus_class,
    .hotplug = true,
    .realize = hub_realize,
    .reset = hub_reset,
    .describe = hub_describe,
    .usb =
        &(const struct usb_class){
            .speed = USB_FULL,
            .descriptors = &descriptors,
            .control = hub_control,
            .transfer = hub_transfer,
            .configured = hub_configured,
            .ports = hub_ports,
            .behind = hub_behind,
        },
};
