/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to backends/pv: a PV USB host controller. */
#ifndef BACKENDS_PV_USB_H
#define BACKENDS_PV_USB_H

#include <stdbool.h>
#include <stdint.h>

#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/usbif.h>

#include <xendm/later.h>
#include <xendm/usb-host.h>

#include "internal.h"

#define VUSB_URBS 16u /* entries of the urb ring, so as many may be in flight */

struct vusb;

struct vusb_port {
    struct vusb *vusb;
    unsigned number;       /* from 1 */
    char *where;           /* as the toolstack says; "": nothing */
    struct usb_host *host; /* NULL: none, or it could not be opened */
    uint8_t told;          /* USBIF_SPEED_*: what the front end knows */
    bool replaced;         /* that was of another device */
    uint8_t address;       /* as the guest set it */
};

/* A request that a device has. */
struct vusb_urb {
    bool used, unlinked;
    bool in;
    uint8_t port, slot;
    uint16_t id, nsegs;
    uint32_t length;
    struct usbif_request_segment seg[USBIF_MAX_SEGMENTS_PER_REQUEST];
};

struct vusb_ring {
    uint8_t *page; /* NULL: not connected */
    uint32_t entry, entries;
    uint32_t taken, answered, shown; /* ours: requests; responses, and those that are seen */
};

struct vusb {
    struct pv_device dev;
    struct vusb_port ports[USBIF_MAX_PORTNR];
    unsigned count, version; /* of ports; enum usb_spec_version */
    bool look;               /* at the ports, when the bus goes on */
    struct vusb_ring urbs, conns;
    struct vusb_urb urb[VUSB_URBS];
    struct later more;
    uint64_t requests, refused, unlinks;
};

/* ---- usb-ring.c ---- */

/* The rings that the core has mapped: at what a front end's page says, or at these indices. */
void vusb_rings_set(struct vusb *v, void *urbs, void *conns);
/* False: indices are nonsense. */
bool vusb_rings_begin(struct vusb *v);
void vusb_rings_end(struct vusb *v);
void vusb_run(struct vusb *v);
/* Plugs and unplugs of which the front end was not told, as far as it has room for them. */
void vusb_tell(struct vusb *v);
void vusb_done(struct vusb *v, struct vusb_port *port, unsigned slot, enum usb_host_status status,
               uint32_t length);

/* USBIF_SPEED_*, of what is in the port. */
uint8_t vusb_speed(const struct vusb_port *port);

#endif
