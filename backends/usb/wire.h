/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon and the process that has a USB device (xendm-usb) say to each other: whole
 * messages on a socket, and data in memory that both have, in slots of USB_HOST_SLOT_SIZE bytes.
 * The first is HELLO, with that memory; the answer READY or FAILED. Neither trusts the other: the
 * daemon may be in a guest's hands, and the process in those of the device.
 */
#ifndef BACKENDS_USB_WIRE_H
#define BACKENDS_USB_WIRE_H

#include <stdint.h>

#include <xendm/usb-host.h>

#define USB_WIRE_MEMORY ((size_t)USB_HOST_SLOTS * USB_HOST_SLOT_SIZE)

enum usb_wire_what {
    /* to the process */
    USB_WIRE_HELLO = 0x55534231, /* length: of the memory */
    USB_WIRE_SUBMIT,             /* slot, type, endpoint, length, whole_packets, setup */
    USB_WIRE_CANCEL,             /* slot; DONE follows, if it has not come already */
    USB_WIRE_RESET,              /* of the device; RESET_DONE follows */
    /* of it */
    USB_WIRE_READY, /* speed, speeds, vendor, product */
    USB_WIRE_DONE,  /* slot, status, length: what was moved */
    USB_WIRE_RESET_DONE,
    USB_WIRE_FAILED, /* status: errno. It ends */
};

struct usb_wire {
    uint32_t what;
    uint32_t slot, length;
    uint32_t status; /* enum usb_host_status, or errno */
    uint8_t type, endpoint;
    uint8_t speed; /* enum usb_speed */
    uint8_t speeds;
    uint8_t whole_packets;
    uint8_t reserved[3];
    uint16_t vendor, product;
    uint8_t setup[8];
};

#endif
