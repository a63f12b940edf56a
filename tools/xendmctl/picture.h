/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pictures of a guest's screen: 8-bit RGB; what differs, what can be read, as text, as a film. */
#ifndef XENDMCTL_PICTURE_H
#define XENDMCTL_PICTURE_H

#include <stdint.h>
#include <stdio.h>

#include <glib.h>

typedef struct picture {
    unsigned width, height;
    uint8_t *pixels; /* three bytes each */
} picture_t;

/* PNG, from memory or a file. NULL with a text. */
picture_t *picture_of(const GByteArray *png, GError **err);
picture_t *picture_read(const char *path, GError **err);
void picture_free(picture_t *p);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(picture_t, picture_free)

struct rectangle {
    unsigned x, y, width, height;
};

/* Per cent of the pixels there that are not the same; 100 when one picture has no such place. */
double picture_difference(const picture_t *a, const picture_t *b, const struct rectangle *where);

/* Lines of characters, in the font of the VGA BIOS. g_free(); NULL: there is no such font here. */
char *picture_text(const picture_t *p);

/* For a terminal of so many columns: two rows of pixels a line, in 24-bit colours. */
void picture_show(const picture_t *p, unsigned columns, FILE *to);

/* An animated PNG of PNGs, each for so many milliseconds. NULL: there is none. */
GByteArray *picture_film(GPtrArray *frames, const GArray *milliseconds);

#endif
