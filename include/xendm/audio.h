/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sound: streams of samples between a device of the guest and a back end (a file, nobody).
 *
 * The device's clock paces all of it: a chip plays and records by its own timer, as fast as its
 * registers say. Nothing here waits or grows. What the host does not take at once is lost, as on a
 * loudspeaker that is not plugged in, and counted; what it does not have is silence.
 *
 * A frame is one sample of 16 bits, signed, for each channel. Chips that know other formats
 * convert.
 */
#ifndef XENDM_AUDIO_H
#define XENDM_AUDIO_H

#include <stddef.h>
#include <stdint.h>

#include <glib.h>

struct audio;

#define AUDIO_RATE_MIN 4000u
#define AUDIO_RATE_MAX 192000u
#define AUDIO_CHANNELS_MAX 2u
#define AUDIO_GAIN_ONE 65536u /* as it is */
#define AUDIO_GAIN_MAX (AUDIO_GAIN_ONE * 16)

struct audio_stream;

/*
 * A stream of the device's that plays, or records. `a` NULL: the device has no back end, nobody
 * hears it and it hears nobody. Of those that play on one back end the one that was opened first is
 * heard. Closed before the device goes.
 */
struct audio_stream *audio_play_new(struct audio *a, const char *name, unsigned channels);
struct audio_stream *audio_record_new(struct audio *a, const char *name, unsigned channels);
void audio_close(struct audio_stream *s); /* NULL is allowed */
/* It is no part of the machine: no recording has what it plays. */
void audio_beside_machine(struct audio_stream *s);

/* At first 48000; AUDIO_RATE_MIN … AUDIO_RATE_MAX. */
void audio_set_rate(struct audio_stream *s, uint32_t rate);
/* Of what is played; 0 … AUDIO_GAIN_MAX, at first AUDIO_GAIN_ONE. What is too loud is clipped. */
void audio_set_gain(struct audio_stream *s, uint32_t left, uint32_t right);

/* `count` frames; the memory is the caller's again at once. */
void audio_write(struct audio_stream *s, const int16_t *frames, size_t count);
void audio_read(struct audio_stream *s, int16_t *frames, size_t count);

#endif
