/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's side of sound back ends: what a driver offers, and has of the core. */
#ifndef BACKENDS_AUDIO_AUDIO_H
#define BACKENDS_AUDIO_AUDIO_H

#include <xendm/audio.h>
#include <xendm/backend.h>

#define AUDIO_OUT_CHANNELS 2u /* what drivers are given, whatever the stream has */

struct audio_driver {
    /* Frames of two channels at audio.rate. 0, or the host's error: they are lost. */
    int (*play)(struct audio *a, const int16_t *frames, size_t count);
};

/* First member of every driver's instance. */
struct audio {
    struct backend backend;
    const struct audio_driver *driver;
    uint32_t rate; /* that play() wants */
    struct audio_stream *heard;
    uint64_t played, lost, recorded; /* frames */
};

void audio_describe(const struct audio *a, struct facts *to);

#endif
