/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the display and its pictures. */
#ifndef DISPLAY_INTERNAL_H
#define DISPLAY_INTERNAL_H

#include <xendm/display.h>

/* The surface as it is, not drawn anew; NULL: none. */
const uint32_t *display_pixels(const struct display *d, unsigned *width, unsigned *height);
bool display_is_watched(const struct display *d);
bool display_has_device(const struct display *d);

/* Pictures under way: one that ends leaves the list; all end with the display. */
struct screendump;
void display_add_dump(struct display *d, struct screendump *dump);
void display_remove_dump(struct display *d, struct screendump *dump);
void screendump_cancel(struct screendump *dump);

#endif
