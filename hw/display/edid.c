/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One EDID 1.3 block (VESA E-EDID Standard, chapter 3): a digital monitor that prefers 1024x768 at
 * 60 Hz, which is what guests without a user's choice get.
 */
#include <string.h>

#include "edid.h"

/* clang-format off */
static const uint8_t edid_base[EDID_SIZE] = {
    0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00,
    0x60, 0x8d,                         /* manufacturer "XDM" */
    0x11, 0x11, 0x01, 0x00, 0x00, 0x00, /* product 1111, serial number 1 */
    1, 2024 - 1990, 1, 3,               /* week, year, EDID 1.3 */
    /* digital; 27 x 20 cm; gamma 2.2; RGB, first timing is preferred */
    0x80, 27, 20, 120, 0x0a,
    0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54,     /* sRGB */
    0x21, 0x08, 0x00,                   /* 640x480, 800x600, 1024x768, all at 60 Hz */
    /* 1280x1024, 1280x960, 1280x800, 1440x900 */
    0x81, 0x80, 0x81, 0x40, 0x81, 0x00, 0x95, 0x00,
    0xa9, 0x40, 0xb3, 0x00, 0xd1, 0xc0, 0x01, 0x01,     /* 1600x1200, 1680x1050, 1920x1080 */
    /* 1024x768: 65 MHz, blanking 320 and 38, sync 24+136 and 3+6, both negative */
    0x64, 0x19, 0x00, 0x40, 0x41, 0x00, 0x26, 0x30, 24, 136, 0x36, 0x00,
    0x0e, 0xcb, 0x10, 0, 0, 0x18,
    0, 0, 0, 0xfd, 0, 50, 75, 30, 90, 18, 0, '\n', ' ', ' ', ' ', ' ', ' ', ' ',
    0, 0, 0, 0xfc, 0, 'x', 'e', 'n', 'd', 'm', '\n', ' ', ' ', ' ', ' ', ' ', ' ', ' ',
    0, 0, 0, 0x10, 0,
};
/* clang-format on */

void edid_make(uint8_t block[EDID_SIZE])
{
    uint8_t sum = 0;

    memcpy(block, edid_base, EDID_SIZE);
    for (unsigned i = 0; i < EDID_SIZE - 1; i++) {
        sum += block[i];
    }
    block[EDID_SIZE - 1] = (uint8_t)-sum;
}
