/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors of tablet, mouse and keyboard, and the usages of keys. Sources: HID 1.11 (6.2), HID
 * Usage Tables 1.12 (chapter 10). Ids, texts and layouts are those of QEMU's devices, so that a
 * guest that knows those finds nothing new.
 */
#include <linux/input-event-codes.h>

#include "hid.h"
#include "usb-internal.h"

#define LE16(v) (uint8_t)((v)&0xff), (uint8_t)((v) >> 8)

/*
 * USB 2.0 at full speed, endpoint 0 of 8 bytes, 0627:0001. The strings are those of all three, of
 * which each has its own product, serial number and configuration.
 */
static const char *const strings[] = {
    "QEMU",
    "QEMU USB Mouse",
    "QEMU USB Tablet",
    "QEMU USB Keyboard",
    "42",
    "HID Mouse",
    "HID Tablet",
    "HID Keyboard",
    "42",
    "42",
    "42",
    NULL,
};
enum { STRING_MOUSE = 2, STRING_TABLET, STRING_KEYBOARD };
#define STRING_CONFIGURATION 4 /* so many behind the product's */
#define STRING_SERIAL 7

#define DEVICE(product) \
    { \
        18, USB_DT_DEVICE, LE16(0x0200), 0, 0, 0, 8, LE16(0x0627), LE16(0x0001), LE16(0), 1, \
            (product), (product) + STRING_SERIAL, 1 \
    }
static const uint8_t tablet_device[] = DEVICE(STRING_TABLET);
static const uint8_t mouse_device[] = DEVICE(STRING_MOUSE);
static const uint8_t keyboard_device[] = DEVICE(STRING_KEYBOARD);

/* One configuration, one interface, one interrupt endpoint, asked each 10 ms. */
#define CONFIGURATION(product, subclass, protocol, hid_version, report, packet) \
    { \
        9, USB_DT_CONFIGURATION, LE16(34), 1, 1, (product) + STRING_CONFIGURATION, 0xa0, \
            50, /* wakes up, 100 mA */ \
            9, USB_DT_INTERFACE, 0, 0, 1, 3, (subclass), (protocol), 0, 9, USB_DT_HID, \
            LE16(hid_version), 0, 1, USB_DT_REPORT, LE16(report), 7, USB_DT_ENDPOINT, 0x81, 3, \
            LE16(packet), 10, \
    }

/* Items of report descriptors, HID 1.11, 6.2.2. */
#define USAGE_PAGE(n) 0x05, (n)
#define USAGE(n) 0x09, (n)
#define USAGE_MIN(n) 0x19, (n)
#define USAGE_MAX(n) 0x29, (n)
#define LOGICAL_MIN(n) 0x15, (n)
#define LOGICAL_MAX(n) 0x25, (n)
#define LOGICAL_MAX16(n) 0x26, LE16(n)
#define PHYSICAL_MIN(n) 0x35, (n)
#define PHYSICAL_MAX(n) 0x45, (n)
#define PHYSICAL_MAX16(n) 0x46, LE16(n)
#define REPORT_SIZE(n) 0x75, (n)
#define REPORT_COUNT(n) 0x95, (n)
#define INPUT(n) 0x81, (n)
#define OUTPUT(n) 0x91, (n)
#define COLLECTION(n) 0xa1, (n)
#define END_COLLECTION 0xc0
#define CONSTANT 0x01
#define ABSOLUTE 0x02
#define RELATIVE 0x06
#define ARRAY 0x00
#define PAGE_DESKTOP 0x01
#define PAGE_KEYS 0x07
#define PAGE_LEDS 0x08
#define PAGE_BUTTONS 0x09

/* clang-format off */
#define BUTTONS(n) \
    USAGE_PAGE(PAGE_BUTTONS), USAGE_MIN(1), USAGE_MAX(n), LOGICAL_MIN(0), LOGICAL_MAX(1), \
    REPORT_COUNT(n), REPORT_SIZE(1), INPUT(ABSOLUTE), \
    REPORT_COUNT(1), REPORT_SIZE(8 - (n)), INPUT(CONSTANT)

static const uint8_t tablet_report[] = {
    USAGE_PAGE(PAGE_DESKTOP), USAGE(2), COLLECTION(1),
        USAGE(1), COLLECTION(0),
            BUTTONS(3),
            USAGE_PAGE(PAGE_DESKTOP), USAGE(0x30), USAGE(0x31), /* X, Y */
            LOGICAL_MIN(0), LOGICAL_MAX16(0x7fff), PHYSICAL_MIN(0), PHYSICAL_MAX16(0x7fff),
            REPORT_SIZE(16), REPORT_COUNT(2), INPUT(ABSOLUTE),
            USAGE_PAGE(PAGE_DESKTOP), USAGE(0x38), /* wheel */
            LOGICAL_MIN(0x81), LOGICAL_MAX(0x7f), PHYSICAL_MIN(0), PHYSICAL_MAX(0),
            REPORT_SIZE(8), REPORT_COUNT(1), INPUT(RELATIVE),
        END_COLLECTION,
    END_COLLECTION,
};

static const uint8_t mouse_report[] = {
    USAGE_PAGE(PAGE_DESKTOP), USAGE(2), COLLECTION(1),
        USAGE(1), COLLECTION(0),
            BUTTONS(3),
            USAGE_PAGE(PAGE_DESKTOP), USAGE(0x30), USAGE(0x31), USAGE(0x38),
            LOGICAL_MIN(0x81), LOGICAL_MAX(0x7f), REPORT_SIZE(8), REPORT_COUNT(3), INPUT(RELATIVE),
        END_COLLECTION,
    END_COLLECTION,
};

static const uint8_t keyboard_report[] = {
    USAGE_PAGE(PAGE_DESKTOP), USAGE(6), COLLECTION(1),
        REPORT_SIZE(1), REPORT_COUNT(8), USAGE_PAGE(PAGE_KEYS), USAGE_MIN(0xe0), USAGE_MAX(0xe7),
        LOGICAL_MIN(0), LOGICAL_MAX(1), INPUT(ABSOLUTE),
        REPORT_COUNT(1), REPORT_SIZE(8), INPUT(CONSTANT),
        REPORT_COUNT(5), REPORT_SIZE(1), USAGE_PAGE(PAGE_LEDS), USAGE_MIN(1), USAGE_MAX(5),
        OUTPUT(ABSOLUTE), REPORT_COUNT(1), REPORT_SIZE(3), OUTPUT(CONSTANT),
        REPORT_COUNT(6), REPORT_SIZE(8), LOGICAL_MIN(0), LOGICAL_MAX(0xff),
        USAGE_PAGE(PAGE_KEYS), USAGE_MIN(0), USAGE_MAX(0xff), INPUT(ARRAY),
    END_COLLECTION,
};

static const uint8_t tablet_configuration[] =
    CONFIGURATION(STRING_TABLET, 0, 0, 0x0001, sizeof(tablet_report), 8);
static const uint8_t mouse_configuration[] =
    CONFIGURATION(STRING_MOUSE, 1, 2, 0x0001, sizeof(mouse_report), 4);
static const uint8_t keyboard_configuration[] =
    CONFIGURATION(STRING_KEYBOARD, 1, 1, 0x0111, sizeof(keyboard_report), 8);
/* clang-format on */

#define DESCRIPTORS(name) \
    const struct usb_descriptors hid_##name##_descriptors = { \
        .device = name##_device, \
        .configuration = name##_configuration, \
        .extra = (const struct usb_extra_descriptor[]){{USB_DT_REPORT, 0, sizeof(name##_report), \
                                                        name##_report}, \
                                                       {.length = 0}}, \
        .strings = strings, \
    }

DESCRIPTORS(tablet);
DESCRIPTORS(mouse);
DESCRIPTORS(keyboard);

/* ---- keys ---- */

static const uint8_t usages[] = {
    [KEY_A] = 0x04,          [KEY_B] = 0x05,
    [KEY_C] = 0x06,          [KEY_D] = 0x07,
    [KEY_E] = 0x08,          [KEY_F] = 0x09,
    [KEY_G] = 0x0a,          [KEY_H] = 0x0b,
    [KEY_I] = 0x0c,          [KEY_J] = 0x0d,
    [KEY_K] = 0x0e,          [KEY_L] = 0x0f,
    [KEY_M] = 0x10,          [KEY_N] = 0x11,
    [KEY_O] = 0x12,          [KEY_P] = 0x13,
    [KEY_Q] = 0x14,          [KEY_R] = 0x15,
    [KEY_S] = 0x16,          [KEY_T] = 0x17,
    [KEY_U] = 0x18,          [KEY_V] = 0x19,
    [KEY_W] = 0x1a,          [KEY_X] = 0x1b,
    [KEY_Y] = 0x1c,          [KEY_Z] = 0x1d,
    [KEY_1] = 0x1e,          [KEY_2] = 0x1f,
    [KEY_3] = 0x20,          [KEY_4] = 0x21,
    [KEY_5] = 0x22,          [KEY_6] = 0x23,
    [KEY_7] = 0x24,          [KEY_8] = 0x25,
    [KEY_9] = 0x26,          [KEY_0] = 0x27,
    [KEY_ENTER] = 0x28,      [KEY_ESC] = 0x29,
    [KEY_BACKSPACE] = 0x2a,  [KEY_TAB] = 0x2b,
    [KEY_SPACE] = 0x2c,      [KEY_MINUS] = 0x2d,
    [KEY_EQUAL] = 0x2e,      [KEY_LEFTBRACE] = 0x2f,
    [KEY_RIGHTBRACE] = 0x30, [KEY_BACKSLASH] = 0x31,
    [KEY_SEMICOLON] = 0x33,  [KEY_APOSTROPHE] = 0x34,
    [KEY_GRAVE] = 0x35,      [KEY_COMMA] = 0x36,
    [KEY_DOT] = 0x37,        [KEY_SLASH] = 0x38,
    [KEY_CAPSLOCK] = 0x39,   [KEY_F1] = 0x3a,
    [KEY_F2] = 0x3b,         [KEY_F3] = 0x3c,
    [KEY_F4] = 0x3d,         [KEY_F5] = 0x3e,
    [KEY_F6] = 0x3f,         [KEY_F7] = 0x40,
    [KEY_F8] = 0x41,         [KEY_F9] = 0x42,
    [KEY_F10] = 0x43,        [KEY_F11] = 0x44,
    [KEY_F12] = 0x45,        [KEY_SYSRQ] = 0x46,
    [KEY_SCROLLLOCK] = 0x47, [KEY_PAUSE] = 0x48,
    [KEY_INSERT] = 0x49,     [KEY_HOME] = 0x4a,
    [KEY_PAGEUP] = 0x4b,     [KEY_DELETE] = 0x4c,
    [KEY_END] = 0x4d,        [KEY_PAGEDOWN] = 0x4e,
    [KEY_RIGHT] = 0x4f,      [KEY_LEFT] = 0x50,
    [KEY_DOWN] = 0x51,       [KEY_UP] = 0x52,
    [KEY_NUMLOCK] = 0x53,    [KEY_KPSLASH] = 0x54,
    [KEY_KPASTERISK] = 0x55, [KEY_KPMINUS] = 0x56,
    [KEY_KPPLUS] = 0x57,     [KEY_KPENTER] = 0x58,
    [KEY_KP1] = 0x59,        [KEY_KP2] = 0x5a,
    [KEY_KP3] = 0x5b,        [KEY_KP4] = 0x5c,
    [KEY_KP5] = 0x5d,        [KEY_KP6] = 0x5e,
    [KEY_KP7] = 0x5f,        [KEY_KP8] = 0x60,
    [KEY_KP9] = 0x61,        [KEY_KP0] = 0x62,
    [KEY_KPDOT] = 0x63,      [KEY_102ND] = 0x64,
    [KEY_COMPOSE] = 0x65,    [KEY_POWER] = 0x66,
    [KEY_KPEQUAL] = 0x67,    [KEY_F13] = 0x68,
    [KEY_F14] = 0x69,        [KEY_F15] = 0x6a,
    [KEY_F16] = 0x6b,        [KEY_F17] = 0x6c,
    [KEY_F18] = 0x6d,        [KEY_F19] = 0x6e,
    [KEY_F20] = 0x6f,        [KEY_F21] = 0x70,
    [KEY_F22] = 0x71,        [KEY_F23] = 0x72,
    [KEY_F24] = 0x73,        [KEY_OPEN] = 0x74,
    [KEY_HELP] = 0x75,       [KEY_PROPS] = 0x76,
    [KEY_FRONT] = 0x77,      [KEY_STOP] = 0x78,
    [KEY_AGAIN] = 0x79,      [KEY_UNDO] = 0x7a,
    [KEY_CUT] = 0x7b,        [KEY_COPY] = 0x7c,
    [KEY_PASTE] = 0x7d,      [KEY_FIND] = 0x7e,
    [KEY_MUTE] = 0x7f,       [KEY_VOLUMEUP] = 0x80,
    [KEY_VOLUMEDOWN] = 0x81, [KEY_KPCOMMA] = 0x85,
    [KEY_RO] = 0x87,         [KEY_KATAKANAHIRAGANA] = 0x88,
    [KEY_YEN] = 0x89,        [KEY_HENKAN] = 0x8a,
    [KEY_MUHENKAN] = 0x8b,   [KEY_KPJPCOMMA] = 0x8c,
    [KEY_HANGEUL] = 0x90,    [KEY_HANJA] = 0x91,
    [KEY_LEFTCTRL] = 0xe0,   [KEY_LEFTSHIFT] = 0xe1,
    [KEY_LEFTALT] = 0xe2,    [KEY_LEFTMETA] = 0xe3,
    [KEY_RIGHTCTRL] = 0xe4,  [KEY_RIGHTSHIFT] = 0xe5,
    [KEY_RIGHTALT] = 0xe6,   [KEY_RIGHTMETA] = 0xe7,
};

uint8_t hid_usage(unsigned code)
{
    return code < sizeof(usages) ? usages[code] : 0;
}
