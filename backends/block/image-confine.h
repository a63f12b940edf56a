/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BACKENDS_BLOCK_IMAGE_CONFINE_H
#define BACKENDS_BLOCK_IMAGE_CONFINE_H

#include <stdbool.h>

/* What the keeper gives up. `network_only`: it opens no files. */
void image_confine_keeper(bool network_only);

/* What the image server gives up before it begins. `file` NULL: there is none on this host. */
void image_confine_server(const char *file, bool writable, bool network);

/*
 * The same for one that is told by somebody who may be in a guest's hands: it reads the open file
 * and its own program, nothing else, and writes nothing.
 */
void image_confine_server_of(int image);

#endif
