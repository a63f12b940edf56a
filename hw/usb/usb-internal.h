/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to hw/usb: names of USB 2.0, tables 9-2 to 9-6, and of HID 1.11, chapter 7. */
#ifndef XENDM_HW_USB_INTERNAL_H
#define XENDM_HW_USB_INTERNAL_H

#include <xendm/usb.h>

#define USB_STRING_MAX 126u /* characters: a descriptor has at most 255 bytes */

enum {
    USB_DT_DEVICE = 1,
    USB_DT_CONFIGURATION,
    USB_DT_STRING,
    USB_DT_INTERFACE,
    USB_DT_ENDPOINT,
    USB_DT_QUALIFIER,
    USB_DT_OTHER_SPEED,
    USB_DT_BOS = 15,
    USB_DT_HID = 0x21,
    USB_DT_REPORT = 0x22,
};

/* bmRequestType */
#define USB_TYPE_MASK 0x60u
#define USB_TYPE_STANDARD 0x00u
#define USB_TYPE_CLASS 0x20u
enum { USB_RECIPIENT_DEVICE, USB_RECIPIENT_INTERFACE, USB_RECIPIENT_ENDPOINT };

enum {
    USB_REQ_GET_STATUS = 0,
    USB_REQ_CLEAR_FEATURE = 1,
    USB_REQ_SET_FEATURE = 3,
    USB_REQ_SET_ADDRESS = 5,
    USB_REQ_GET_DESCRIPTOR = 6,
    USB_REQ_SET_DESCRIPTOR = 7,
    USB_REQ_GET_CONFIGURATION = 8,
    USB_REQ_SET_CONFIGURATION = 9,
    USB_REQ_GET_INTERFACE = 10,
    USB_REQ_SET_INTERFACE = 11,
};

enum { USB_FEATURE_ENDPOINT_HALT, USB_FEATURE_REMOTE_WAKEUP };

struct usb_setup usb_setup_parse(const uint8_t *b); /* the 8 bytes of a SETUP packet */

#endif
