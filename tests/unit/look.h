/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A picture, at once, for tests that do not want to wait for the main loop. */
#ifndef XENDM_TEST_LOOK_H
#define XENDM_TEST_LOOK_H

#include "../../backends/display/internal.h"

/*
 * What the screen shows. Without another viewer the surface goes with this one: what is returned
 * says then only whether there was a picture.
 */
static inline const uint32_t *look_at(struct display *d, bool full, unsigned *width,
                                      unsigned *height)
{
    static const struct display_viewer nobody = {.drawn = NULL};
    struct display_watch *w = display_watch(d, &nobody, NULL);

    display_refresh(w, full);
    display_finish(d);
    const uint32_t *pixels = display_pixels(d, width, height);
    display_unwatch(w);
    return pixels;
}

#endif
