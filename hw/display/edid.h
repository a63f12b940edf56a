/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor that the emulated graphics devices say is plugged in. */
#ifndef XENDM_EDID_H
#define XENDM_EDID_H

#include <stdint.h>

#define EDID_SIZE 128

void edid_make(uint8_t block[EDID_SIZE]);

#endif
