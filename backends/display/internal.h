/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the display and its pictures. */
#ifndef DISPLAY_INTERNAL_H
#define DISPLAY_INTERNAL_H

#include <xendm/display.h>

bool display_is_watched(const struct display *d);
bool display_has_device(const struct display *d);

/* Pictures under way: one that ends leaves the list; all end with the display. */
struct screendump;
void display_add_dump(struct display *d, struct screendump *dump);
void display_remove_dump(struct display *d, struct screendump *dump);
void screendump_cancel(struct screendump *dump);

/* For tests: a turn's part ends after so many calls of display_pause(), whatever the time; 0: by
 * time again. */
void display_set_slice(struct display *d, unsigned pauses);
/* … and all that is left of a picture, now. */
void display_finish(struct display *d);

#endif
