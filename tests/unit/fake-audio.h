/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An ear of the test's own in the place of backends/audio: what a card plays is kept. */
#ifndef TESTS_FAKE_AUDIO_H
#define TESTS_FAKE_AUDIO_H

#include <xendm/audio.h>
#include <xendm/backend.h>

struct audio {
    struct backend backend;
    unsigned open, beside; /* streams: open, ever said to be beside the machine */
    GArray *heard;         /* int16_t: as they were written, before gain and rate */
    uint32_t rate;         /* of what plays */
    uint32_t gain[2];
    int16_t next; /* what is recorded: 1, 2, 3 … */
};

struct audio *fake_audio_new(void);
void fake_audio_free(struct audio *a); /* asserts that the device has gone */

#endif
