/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The core of sound back ends: loudness, the number of channels, and the rate, which is changed by
 * straight lines between neighbouring samples; and the driver that is nobody.
 */
#include <string.h>

#include <xendm/backend-classes.h>
#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/recorder.h>
#include <xendm/tape.h>

#include "audio.h"

#define RATE_DEFAULT 48000u
#define PIECE 512u /* frames given to a driver at once */
#define FRACTION 32

struct audio_stream {
    struct audio *audio;
    const char *name;
    unsigned channels;
    bool record;
    bool beside; /* … the machine */
    uint32_t rate, gain[AUDIO_CHANNELS_MAX];
    uint64_t at;                      /* between `last` and the next frame, of 2^FRACTION */
    int16_t last[AUDIO_OUT_CHANNELS]; /* the frame before */
    int16_t piece[PIECE][AUDIO_OUT_CHANNELS];
    size_t in_piece;
};

static struct audio_stream *stream_new(struct audio *a, const char *name, unsigned channels,
                                       bool record)
{
    struct audio_stream *s = g_new0(struct audio_stream, 1);

    XENDM_ASSERT(channels >= 1 && channels <= AUDIO_CHANNELS_MAX);
    s->audio = a;
    s->name = name;
    s->channels = channels;
    s->record = record;
    s->rate = RATE_DEFAULT;
    s->gain[0] = s->gain[1] = AUDIO_GAIN_ONE;
    return s;
}

struct audio_stream *audio_play_new(struct audio *a, const char *name, unsigned channels)
{
    struct audio_stream *s = stream_new(a, name, channels, false);

    if (a && !a->heard) {
        a->heard = s;
    }
    return s;
}

struct audio_stream *audio_record_new(struct audio *a, const char *name, unsigned channels)
{
    return stream_new(a, name, channels, true);
}

void audio_close(struct audio_stream *s)
{
    if (s && s->audio && s->audio->heard == s) {
        s->audio->heard = NULL;
    }
    g_free(s);
}

void audio_beside_machine(struct audio_stream *s)
{
    s->beside = true;
}

void audio_set_rate(struct audio_stream *s, uint32_t rate)
{
    XENDM_ASSERT(rate >= AUDIO_RATE_MIN && rate <= AUDIO_RATE_MAX);
    s->rate = rate;
}

void audio_set_gain(struct audio_stream *s, uint32_t left, uint32_t right)
{
    XENDM_ASSERT(left <= AUDIO_GAIN_MAX && right <= AUDIO_GAIN_MAX);
    s->gain[0] = left;
    s->gain[1] = right;
}

static void give_piece(struct audio_stream *s)
{
    struct audio *a = s->audio;

    if (s->in_piece && a->driver->play(a, s->piece[0], s->in_piece) == 0) {
        a->played += s->in_piece;
    } else {
        a->lost += s->in_piece;
    }
    s->in_piece = 0;
}

static int16_t loud(int16_t sample, uint32_t gain)
{
    int64_t value = (int64_t)sample * gain / (int64_t)AUDIO_GAIN_ONE;

    return (int16_t)CLAMP(value, INT16_MIN, INT16_MAX);
}

static void put_frame(struct audio_stream *s, const int16_t frame[AUDIO_OUT_CHANNELS])
{
    memcpy(s->piece[s->in_piece], frame, sizeof(s->piece[0]));
    if (++s->in_piece == PIECE) {
        give_piece(s);
    }
}

/* All that lies between the frame before and this one, at the driver's rate. */
static void stretch(struct audio_stream *s, const int16_t frame[AUDIO_OUT_CHANNELS])
{
    const uint64_t one = UINT64_C(1) << FRACTION;
    uint64_t step = ((uint64_t)s->rate << FRACTION) / s->audio->rate;

    for (; s->at < one; s->at += step) {
        int16_t between[AUDIO_OUT_CHANNELS];

        for (unsigned c = 0; c < AUDIO_OUT_CHANNELS; c++) {
            int64_t way = (int64_t)frame[c] - s->last[c];

            between[c] = (int16_t)(s->last[c] + way * (int64_t)(s->at >> 16) / 65536);
        }
        put_frame(s, between);
    }
    s->at -= one;
    memcpy(s->last, frame, sizeof(s->last));
}

void audio_write(struct audio_stream *s, const int16_t *frames, size_t count)
{
    XENDM_ASSERT(!s->record);
    if (tape_on() && !s->beside) {
        tape_fact(TAPE_SOUND, s->name, (uint64_t[]){count}, (void *)(uintptr_t)frames,
                  count * s->channels * sizeof(*frames));
    }
    if (!s->audio || s->audio->heard != s) {
        return;
    }
    for (size_t i = 0; i < count; i++, frames += s->channels) {
        int16_t frame[AUDIO_OUT_CHANNELS] = {loud(frames[0], s->gain[0]),
                                             loud(frames[s->channels - 1], s->gain[1])};

        if (s->rate == s->audio->rate) {
            put_frame(s, frame);
        } else {
            stretch(s, frame);
        }
    }
    give_piece(s);
}

void audio_read(struct audio_stream *s, int16_t *frames, size_t count)
{
    XENDM_ASSERT(s->record);
    if (s->audio) {
        s->audio->recorded += count;
    }
    memset(frames, 0, count * s->channels * sizeof(*frames));
}

void audio_describe(const struct audio *a, struct facts *to)
{
    fact_text(to, "plays", "%s", a->heard ? a->heard->name : "nothing");
    fact_int(to, "frames played", (int64_t)a->played);
    fact_int(to, "frames lost", (int64_t)a->lost);
    fact_int(to, "frames of silence recorded", (int64_t)a->recorded);
}

/* ---- nobody ---- */

static int play_to_nobody(struct audio *a, const int16_t *frames, size_t count)
{
    return 0;
}

static const struct audio_driver none_driver = {.play = play_to_nobody};

static int none_open(struct backend *b, const struct handover *from, GError **err)
{
    struct audio *a = (struct audio *)b;

    a->driver = &none_driver;
    a->rate = RATE_DEFAULT;
    return 0;
}

static void none_close(struct backend *b)
{
}

static void none_describe(const struct backend *b, struct facts *to)
{
    audio_describe((const struct audio *)b, to);
}

const struct backend_class audio_none_class = {
    .kind = BACKEND_AUDIO,
    .driver = "none",
    .help = "nobody listens; the guest's card runs all the same",
    .size = sizeof(struct audio),
    .open = none_open,
    .close = none_close,
    .describe = none_describe,
};
