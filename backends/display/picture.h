/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Image files, row by row. */
#ifndef DISPLAY_PICTURE_H
#define DISPLAY_PICTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct picture;

/* PNG, or binary PPM. `out` stays the caller's. NULL: *error is an errno. */
struct picture *picture_begin(FILE *out, bool png, unsigned width, unsigned height, int *error);
/* 0 or an errno; after an error only picture_end() may follow. */
int picture_row(struct picture *p, const uint32_t *pixels);
/* Frees it; `complete`: all rows were written. 0 or an errno. */
int picture_end(struct picture *p, bool complete);

#endif
