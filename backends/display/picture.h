/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Image files of the screen: pixels are 0x00RRGGBB. Both return 0 or a positive errno. */
#ifndef XENDM_PICTURE_H
#define XENDM_PICTURE_H

#include <stdint.h>
#include <stdio.h>

int picture_write_png(FILE *out, const uint32_t *pixels, unsigned width, unsigned height);
int picture_write_ppm(FILE *out, const uint32_t *pixels, unsigned width, unsigned height);

#endif
