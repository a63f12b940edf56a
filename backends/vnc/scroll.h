/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of a changed picture the viewer has already, some rows higher or lower: text that scrolled.
 * Part of xendm-vnc-server.
 */
#ifndef BACKENDS_VNC_SCROLL_H
#define BACKENDS_VNC_SCROLL_H

#include <stdbool.h>
#include <stdint.h>

#include <rfb/rfb.h>
#include <rfb/rfbregion.h>

/* Nothing is known of what the viewer has. */
void scroll_forget(void);

/*
 * The picture (32 bits a pixel, rows without gaps) changed inside `damage`. Returns the distance of
 * a move: the rows that become `copy` are now what was so many rows above them (negative: below);
 * 0: there is none, and `copy` stays empty. What is moved, and rows that did not change, are taken
 * out of `damage`. `certain`: before this change the viewer had, or was to get, what the last call
 * saw; else it is only remembered what there is now.
 */
int scroll_find(const uint8_t *pixels, unsigned width, unsigned height, bool certain,
                sraRegionPtr damage, sraRegionPtr copy);

#endif
