/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fake-audio.h"

struct audio_stream {
    struct audio *audio;
    unsigned channels;
    bool record;
};

struct audio *fake_audio_new(void)
{
    struct audio *a = g_new0(struct audio, 1);

    a->heard = g_array_new(FALSE, FALSE, sizeof(int16_t));
    return a;
}

void fake_audio_free(struct audio *a)
{
    g_assert_cmpuint(a->open, ==, 0);
    g_array_unref(a->heard);
    g_free(a);
}

static struct audio_stream *stream_new(struct audio *a, unsigned channels, bool record)
{
    struct audio_stream *s = g_new0(struct audio_stream, 1);

    s->audio = a;
    s->channels = channels;
    s->record = record;
    if (a) {
        a->open++;
    }
    return s;
}

struct audio_stream *audio_play_new(struct audio *a, const char *name, unsigned channels)
{
    return stream_new(a, channels, false);
}

struct audio_stream *audio_record_new(struct audio *a, const char *name, unsigned channels)
{
    return stream_new(a, channels, true);
}

void audio_beside_machine(struct audio_stream *s)
{
    if (s->audio) {
        s->audio->beside++;
    }
}

void audio_close(struct audio_stream *s)
{
    if (s->audio) {
        s->audio->open--;
    }
    g_free(s);
}

void audio_set_rate(struct audio_stream *s, uint32_t rate)
{
    g_assert_cmpuint(rate, >=, AUDIO_RATE_MIN);
    g_assert_cmpuint(rate, <=, AUDIO_RATE_MAX);
    if (s->audio && !s->record) {
        s->audio->rate = rate;
    }
}

void audio_set_gain(struct audio_stream *s, uint32_t left, uint32_t right)
{
    g_assert_cmpuint(left, <=, AUDIO_GAIN_MAX);
    g_assert_cmpuint(right, <=, AUDIO_GAIN_MAX);
    if (s->audio) {
        s->audio->gain[0] = left;
        s->audio->gain[1] = right;
    }
}

void audio_write(struct audio_stream *s, const int16_t *frames, size_t count)
{
    g_assert_false(s->record);
    if (s->audio) {
        g_array_append_vals(s->audio->heard, frames, (guint)(count * s->channels));
    }
}

void audio_read(struct audio_stream *s, int16_t *frames, size_t count)
{
    g_assert_true(s->record);
    for (size_t i = 0; i < count * s->channels; i++) {
        frames[i] = s->audio ? ++s->audio->next : 0;
    }
}
