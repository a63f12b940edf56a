/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What serves an image, from the words that the toolstack has for it. */
#ifndef XENDM_IMAGE_NAME_H
#define XENDM_IMAGE_NAME_H

#include <stdbool.h>

/*
 * The block driver for a name and QEMU's word for its format, or NULL: that word is missing. Bytes
 * that are not in a file of this host, "nbd:…" or "https:…", are of the format raw.
 */
const char *image_driver(const char *file, const char *format);

/* Whether QEMU takes a name for that of something that is in no file of this host. */
bool image_is_elsewhere(const char *file);

/*
 * libxl's key `params` of a qdisk, "qcow2:/path" (toolstack.md 3.4): the driver, and in `*file` the
 * name, "" for a drive without medium. NULL: nobody serves the format.
 */
const char *image_of_params(const char *params, const char **file);

#endif
