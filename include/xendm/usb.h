/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * USB: devices, the ports they are in, and the packets that controllers send them. Sources: USB 2.0
 * chapters 8 (packets, control transfers), 9 (device framework).
 *
 * A packet is answered at once. A device that has nothing says NAK, as on the wire, and calls
 * usb_wakeup() when it has; so nothing is ever in flight between controller and device, and there
 * is nothing to cancel, to wait for or to save. Who needs the host for an answer begins with it,
 * says NAK meanwhile, and hands it over when it is asked again.
 *
 * The core answers the standard requests from const descriptors; a device sees the requests of its
 * class, and its endpoints' data. One that has no descriptors (USB devices of the host) sees all
 * packets of endpoint 0, too, and comes onto the wire when it knows its speed.
 */
#ifndef XENDM_USB_H
#define XENDM_USB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include <xendm/bus.h>
#include <xendm/device.h>

#define USB_DIR_IN 0x80u
#define USB_CONTROL_MAX 1024u /* bytes of one control transfer; more is answered with STALL */
#define USB_ADDRESS_MAX 127u

enum usb_speed { USB_LOW, USB_FULL, USB_HIGH, USB_SUPER };
enum usb_pid { USB_OUT = 0xe1, USB_IN = 0x69, USB_SETUP = 0x2d };
enum usb_status {
    USB_OK,
    USB_NAK,
    USB_STALL,
    USB_BABBLE,   /* the device would send more than the host takes */
    USB_IO_ERROR, /* no answer */
};

/*
 * `data` is the controller's own memory, never the guest's. Of a bulk endpoint it may be several
 * packets at a time (xHCI: up to 4 KiB), all full but perhaps a transfer's last: IN, a device fills
 * as much of it as it has, and what is not a whole number of packets ends the transfer.
 */
struct usb_packet {
    enum usb_pid pid;
    uint8_t endpoint; /* 0..15; the direction is the pid's */
    uint8_t *data;
    size_t length; /* OUT, SETUP: how much there is; IN: how much the host takes */
    size_t done;
    /*
     * Bytes of the guest's transfer behind this packet, as its controller sees them now, or NULL:
     * it sees none, or hands over whole transfers, or as much of them as it can. Asked while the
     * packet is handled.
     */
    size_t (*behind)(const struct usb_packet *p);
    void *controller;
};

/* IN: appends what there is room for, OUT: takes what there is. Both say how much that was. */
size_t usb_packet_put(struct usb_packet *p, const void *bytes, size_t len);
size_t usb_packet_get(struct usb_packet *p, void *bytes, size_t len);

/* ---- devices ---- */

/* A descriptor that is not in the configuration, of an interface: HID report descriptors. */
struct usb_extra_descriptor {
    uint8_t type, interface;
    uint16_t length;
    const uint8_t *bytes;
};

/* All as they go over the wire; tests/unit/test-usb.c looks whether their lengths agree. */
struct usb_descriptors {
    const uint8_t *device;        /* 18 bytes */
    const uint8_t *configuration; /* the only one, with all that belongs to it (wTotalLength) */
    const uint8_t *bos;           /* NULL: none (below USB 2.1) */
    const struct usb_extra_descriptor *extra; /* ends with length 0; may be NULL */
    const char *const *strings;               /* [0] is string 1; ends with NULL; ASCII */
};

struct usb_setup {
    uint8_t type, request; /* bmRequestType, bRequest */
    uint16_t value, index, length;
};

struct usb_device;

/* In struct device_class. Functions that a device does not need are NULL. */
struct usb_class {
    enum usb_speed speed;                      /* of those with descriptors */
    const struct usb_descriptors *descriptors; /* NULL: `endpoint0`; usb_attach() puts it in */
    /* Control transfers, as packets. SET_ADDRESS is among them: usb_device's `address`. */
    enum usb_status (*endpoint0)(struct usb_device *dev, struct usb_packet *p);
    char *(*product)(const struct usb_device *dev); /* of those without descriptors: its name */
    /*
     * A request of its class or vendor. To the host: fills at most *length bytes of data and sets
     * *length; from it: *length bytes are there. USB_OK, or USB_STALL for what it does not know.
     */
    enum usb_status (*control)(struct usb_device *dev, const struct usb_setup *setup, uint8_t *data,
                               size_t *length);
    /*
     * IN or OUT of an endpoint that the configuration has and that is not halted; without
     * descriptors: of any but 0.
     */
    enum usb_status (*transfer)(struct usb_device *dev, struct usb_packet *p);
    /* The configuration was chosen (again), or lost by a reset: `dev->configuration`. */
    void (*configured)(struct usb_device *dev);
    /* Of a hub: its ports, and the device behind those that are enabled which has the address. */
    struct usb_port *(*ports)(struct usb_device *dev, unsigned *count);
    struct usb_device *(*behind)(struct usb_device *dev, unsigned address);
};

enum usb_stage {
    USB_STAGE_IDLE,
    USB_STAGE_DATA_IN, /* … then the host says OUT */
    USB_STAGE_DATA_OUT,
    USB_STAGE_STATUS_IN,
    USB_STAGE_STALLED, /* until the next SETUP */
    USB_STAGE_COUNT,
};

struct usb_port;

/* First member of every USB device's instance structure. */
struct usb_device {
    struct device dev;
    char *port_name;       /* property: "1", "2.3"; NULL: the first free one */
    struct usb_port *port; /* NULL: in none */
    bool attached;         /* the guest can see it there */
    enum usb_speed speed;  /* while it is attached */
    uint8_t address, configuration;
    bool remote_wakeup; /* the guest allows it */
    uint16_t halted[2]; /* bit per endpoint: OUT, IN */

    /* The control transfer that is under way. */
    uint8_t stage;    /* enum usb_stage */
    uint8_t setup[8]; /* as the guest sent it */
    uint8_t control[USB_CONTROL_MAX];
    uint32_t length, at; /* of `control`: all of it, and how far; at ≤ length ≤ USB_CONTROL_MAX */
};

/* For the state table of a device: STATE_USB_DEVICE(struct usb_hid, usb). */
extern const struct state_desc usb_device_state;
#define STATE_USB_DEVICE(st, f) STATE_FIELD_STRUCT(st, f, 1, &usb_device_state)

/*
 * Of those without descriptors: into the port, at the best of these speeds (bit per enum usb_speed)
 * that the port can. -EINVAL: at none. Out of it; the device stays where it is, and may come again.
 */
int usb_attach(struct usb_device *dev, unsigned speeds, GError **err);
void usb_detach(struct usb_device *dev);
const char *usb_speed_name(enum usb_speed speed); /* "full" */

/* In the device class' reset: as after power on. */
void usb_device_reset(struct usb_device *dev);
/* An endpoint (its address, with USB_DIR_IN) that said NAK has something now. */
void usb_wakeup(struct usb_device *dev, uint8_t endpoint);
void usb_device_describe(struct usb_device *dev, struct facts *to);
/* As the guest reads it; NULL: there is none. */
char *usb_device_string(const struct usb_device *dev, unsigned index);
/* "QEMU USB Tablet" */
char *usb_device_product(const struct usb_device *dev);
/* Where it is: "2.3" is port 3 of the hub in port 2; "0": nowhere. */
char *usb_device_path(const struct usb_device *dev);

/* ---- ports: of a controller ---- */

struct usb_port_ops {
    /* After the device is there, before it is gone. */
    void (*attached)(struct usb_port *port);
    void (*detached)(struct usb_port *port);
    void (*wakeup)(struct usb_port *port, uint8_t endpoint);
};

struct usb_port {
    const struct usb_port_ops *ops;
    void *controller;
    struct usb_device *hub;    /* NULL: a port of the controller */
    struct usb_device *device; /* NULL: empty. What the guest sees: usb_port_device() */
    unsigned number;           /* from 1 */
    unsigned speeds;           /* bit per enum usb_speed that it can */
};

struct usb_bus {
    struct bus bus;
    char *id;
    struct usb_port *ports;
    unsigned count;
};

extern const struct bus_class usb_bus_class;

/* In realize and unrealize of the controller. Devices that are still there go with it. */
void usb_bus_init(struct usb_bus *bus, struct device *controller, struct usb_port *ports,
                  unsigned count);
void usb_bus_fini(struct usb_bus *bus);

/* What is attached there; NULL: nothing. */
static inline struct usb_device *usb_port_device(const struct usb_port *port)
{
    return port->device && port->device->attached ? port->device : NULL;
}

/* The controller drives a reset: address 0, no configuration. */
void usb_port_reset(struct usb_port *port);

/* The device of an enabled port, or one behind it, that has the address. NULL: none. */
struct usb_device *usb_find_device(struct usb_device *dev, unsigned address);
/* Then: */
enum usb_status usb_handle(struct usb_device *dev, struct usb_packet *p);

/* For `info usb`: calls `each` for every device on every USB bus. */
void usb_foreach(struct machine *m, void (*each)(void *opaque, struct usb_device *dev),
                 void *opaque);

static inline bool usb_device_is(const struct device *dev)
{
    return dev->class->usb != NULL;
}

#endif
