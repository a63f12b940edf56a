/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to hw/usb: what tablet, mouse and keyboard are made of. */
#ifndef XENDM_HW_USB_HID_H
#define XENDM_HW_USB_HID_H

#include <xendm/clock.h>
#include <xendm/usb.h>

#define HID_EVENTS 64u
#define HID_KEYS 96u      /* waiting, each a press or a release */
#define HID_KEYS_SPARE 24 /* … of which only releases at the end take the last */
#define HID_DOWN 16u      /* keys that are down at once, modifiers aside */
#define HID_REPORT_MAX 8u

/* One report of a pointer to come. */
struct hid_event {
    int32_t x, y, wheel; /* absolute, or how far */
    uint8_t buttons;
    bool edge; /* other buttons than before: nothing may be merged into it */
};

struct hid_key {
    uint8_t usage;
    bool down;
};

struct usb_hid {
    struct usb_device usb;
    uint8_t idle; /* 4 ms each; 0: reports only what changes */
    uint8_t protocol;
    uint8_t leds;
    bool idle_due; /* the report is to be repeated */
    struct vtimer timer;
    bool attached; /* to the machine's input */

    struct hid_event event[HID_EVENTS];
    uint32_t events;
    struct hid_event last; /* as the guest knows it */
    uint8_t buttons;       /* as the viewers have them */

    struct hid_key key[HID_KEYS];
    uint32_t keys;
    uint8_t modifiers;
    uint8_t down[HID_DOWN]; /* in the order of pressing, as the guest knows it */
    uint32_t downs;
};

extern const struct usb_descriptors hid_tablet_descriptors, hid_mouse_descriptors,
    hid_keyboard_descriptors;
/* HID usage (page 7) of an evdev key code; 0: none. */
uint8_t hid_usage(unsigned code);

#endif
