/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A stream of a PV sound card: its time, its position, its samples, its events. Xen's io/sndif.h.
 *
 * The clock moves the position, as a card's does, whether or not there are samples: a front end
 * sees an underrun by that. What is written waits in a FIFO until its time has come; what comes
 * after its time is played at once, so that no delay stays. What is recorded goes the other way,
 * and the oldest is lost when nobody reads it. The FIFO is as large as the shared buffer.
 *
 * The position that an event tells is where the stream is when it is sent, a frame beyond the
 * period at least: Linux' front end takes a period to be over only when the position is past it.
 *
 * Back ends have 16 bits: what a format has beyond that is not heard.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/sndif.h>

#include <xendm/log.h>
#include <xendm/memory-file.h>
#include <xendm/turn.h>

#include "snd.h"

#define PIECE 512u /* frames converted at once */
#define SAMPLE_MAX 4u
#define TICK_MIN_US 2000
#define TICK_MAX_US 20000
#define LATE_MAX_US 100000 /* more of the host's pauses is no time of the stream */
#define HOUR_US (3600 * G_TIME_SPAN_SECOND)

/* ---- samples ---- */

/* How the formats lie in memory, by their numbers. 24 bits are the low three octets of four. */
static const struct format {
    uint8_t size, bits;
    bool big, unsigned_;
} formats[] = {
    [XENSND_PCM_FORMAT_S8] = {1, 8, false, false},
    [XENSND_PCM_FORMAT_U8] = {1, 8, false, true},
    [XENSND_PCM_FORMAT_S16_LE] = {2, 16, false, false},
    [XENSND_PCM_FORMAT_S16_BE] = {2, 16, true, false},
    [XENSND_PCM_FORMAT_U16_LE] = {2, 16, false, true},
    [XENSND_PCM_FORMAT_U16_BE] = {2, 16, true, true},
    [XENSND_PCM_FORMAT_S24_LE] = {4, 24, false, false},
    [XENSND_PCM_FORMAT_S24_BE] = {4, 24, true, false},
    [XENSND_PCM_FORMAT_U24_LE] = {4, 24, false, true},
    [XENSND_PCM_FORMAT_U24_BE] = {4, 24, true, true},
    [XENSND_PCM_FORMAT_S32_LE] = {4, 32, false, false},
    [XENSND_PCM_FORMAT_S32_BE] = {4, 32, true, false},
    [XENSND_PCM_FORMAT_U32_LE] = {4, 32, false, true},
    [XENSND_PCM_FORMAT_U32_BE] = {4, 32, true, true},
};

uint64_t snd_formats(void)
{
    return (UINT64_C(1) << G_N_ELEMENTS(formats)) - 1;
}

unsigned snd_format_size(unsigned format)
{
    return format < G_N_ELEMENTS(formats) ? formats[format].size : 0;
}

bool snd_rate_is_ours(const struct snd_limits *l, uint32_t rate)
{
    bool found = l->any_rate;

    for (unsigned i = 0; i < l->rates; i++) {
        found = found || l->rate[i] == rate;
    }
    return found && rate >= AUDIO_RATE_MIN && rate <= AUDIO_RATE_MAX;
}

static int16_t decode(const struct format *f, const uint8_t *at)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < f->size; i++) {
        value |= (uint32_t)at[f->big ? f->size - 1u - i : i] << 8 * i;
    }
    value <<= 32u - f->bits;
    value ^= f->unsigned_ ? 0x80000000u : 0;
    return (int16_t)(value >> 16);
}

/* Of 24 bits the fourth octet is the sign's. */
static void encode(const struct format *f, int16_t sample, uint8_t *at)
{
    uint32_t value = (uint32_t)(uint16_t)sample << 16;

    value ^= f->unsigned_ ? 0x80000000u : 0;
    value = f->unsigned_ ? value >> (32u - f->bits) : (uint32_t)((int32_t)value >> (32u - f->bits));
    for (unsigned i = 0; i < f->size; i++) {
        at[f->big ? f->size - 1u - i : i] = (uint8_t)(value >> 8 * i);
    }
}

/* ---- loudness ---- */

#define ATTENUATION_BITS 17
#define GAIN_24_DB 1038676u /* of 65536 */

/* In steps of 0.001 dB from 0, or from 24 dB. */
static uint32_t gain_of(int32_t volume)
{
    /* 10^(-2^n / 20000), of 2^31 */
    static const uint32_t factor[ATTENUATION_BITS] = {2147236424, 2146989229, 2146494923,
                                                      2145506653, 2143531478, 2139586582,
                                                      2131718556, 2116069198, 2085114294,
                                                      2024556334, 1908665685, 1696406257,
                                                      1340077346, 836237936,  325634091,
                                                      49377587,   1135350};
    uint64_t gain = (uint64_t)(volume > 0 ? GAIN_24_DB : AUDIO_GAIN_ONE) << 12;
    uint32_t less = (uint32_t)(volume > 0 ? SND_VOLUME_MAX - volume : -volume);

    for (unsigned i = 0; i < ATTENUATION_BITS; i++) {
        gain = less >> i & 1 ? gain * factor[i] >> 31 : gain;
    }
    return (uint32_t)((gain + 2048) >> 12);
}

void snd_stream_set_gain(struct snd_stream *s)
{
    uint32_t gain[AUDIO_CHANNELS_MAX];

    if (s->capture) {
        return;
    }
    for (unsigned i = 0; i < AUDIO_CHANNELS_MAX; i++) {
        unsigned c = MIN(i, s->open.channels - 1);

        gain[i] = s->muted[c] ? 0 : gain_of(s->volume[c]);
    }
    audio_set_gain(s->audio, gain[0], gain[1]);
}

/* ---- events ---- */

/* A front end that does not take them sees the next one's position. */
void snd_stream_put_event(struct snd_stream *s)
{
    struct xensnd_evt event = {.id = (uint16_t)s->event_prod, .type = XENSND_EVT_CUR_POS};
    uint32_t cons = __atomic_load_n(&s->events->in_cons, __ATOMIC_ACQUIRE);

    if (s->event_prod - cons >= XENSND_IN_RING_LEN) {
        s->events_lost++;
        return;
    }
    event.op.cur_pos.position = s->position;
    memcpy(&XENSND_IN_RING_REF(s->events, s->event_prod), &event, sizeof(event));
    s->event_prod++;
    __atomic_store_n(&s->events->in_prod, s->event_prod, __ATOMIC_RELEASE);
    pv_notify_channel(&s->card->dev, snd_channel(s) + 1);
}

static void next_event(struct snd_stream *s)
{
    s->event_at = s->position - s->position % s->open.period + s->open.period;
}

static void tell_position(struct snd_stream *s)
{
    if (s->open.period && s->position > s->event_at) {
        snd_stream_put_event(s);
        next_event(s);
    }
}

/* ---- the FIFO ---- */

uint32_t snd_stream_room(const struct snd_stream *s)
{
    return s->capture ? s->fifo_used : s->fifo_size - s->fifo_used;
}

static void drop(struct snd_stream *s, uint32_t octets)
{
    s->fifo_at = (s->fifo_at + octets) % s->fifo_size;
    s->fifo_used -= octets;
}

/* So many frames that lie in one piece. */
static uint32_t in_one_piece(const struct snd_stream *s, uint32_t at, uint32_t frames)
{
    return MIN(MIN(frames, PIECE), (s->fifo_size - at) / s->frame);
}

static void play_piece(struct snd_stream *s, uint32_t frames)
{
    const struct format *f = &formats[s->open.format];
    int16_t samples[PIECE * AUDIO_CHANNELS_MAX];

    for (uint32_t i = 0; i < frames * s->open.channels; i++) {
        samples[i] = decode(f, s->fifo + s->fifo_at + i * f->size);
    }
    audio_write(s->audio, samples, frames);
    drop(s, frames * s->frame);
    s->due -= frames;
    s->frames += frames;
}

static void play(struct snd_stream *s)
{
    bool begun = false;

    while (s->due && s->fifo_used && !(begun && turn_is_used_up())) {
        play_piece(s, in_one_piece(s, s->fifo_at, MIN(s->due, s->fifo_used / s->frame)));
        begun = true;
    }
}

static void record_piece(struct snd_stream *s, uint32_t at, uint32_t frames)
{
    const struct format *f = &formats[s->open.format];
    int16_t samples[PIECE * AUDIO_CHANNELS_MAX];

    audio_read(s->audio, samples, frames);
    for (uint32_t i = 0; i < frames * s->open.channels; i++) {
        encode(f, samples[i], s->fifo + at + i * f->size);
    }
    s->fifo_used += frames * s->frame;
    s->due -= frames;
    s->frames += frames;
}

static void record(struct snd_stream *s)
{
    bool begun = false;

    while (s->due && !(begun && turn_is_used_up())) {
        uint32_t at = (s->fifo_at + s->fifo_used) % s->fifo_size;
        uint32_t frames = in_one_piece(s, at, s->due);
        uint32_t octets = frames * s->frame, room = s->fifo_size - s->fifo_used;

        if (room < octets) {
            s->late += (octets - room) / s->frame;
            drop(s, octets - room);
        }
        record_piece(s, at, frames);
        begun = true;
    }
}

static void move_samples(struct snd_stream *s)
{
    uint32_t most = s->fifo_size / s->frame;

    if (s->capture) {
        record(s);
    } else {
        play(s);
    }
    if (s->due > most) { /* nobody will write so much that is late */
        s->late += s->due - most;
        s->due = most;
    }
}

/* ---- time ---- */

static uint32_t frames_passed(struct snd_stream *s)
{
    int64_t now = g_get_monotonic_time(), late;
    uint64_t passed;

    if (now - s->began >= HOUR_US) { /* so that the product below stays small */
        s->began += HOUR_US;
        s->clocked -= MIN(s->clocked, (uint64_t)s->open.rate * 3600);
    }
    passed = (uint64_t)MAX(now - s->began, 0) * s->open.rate / G_TIME_SPAN_SECOND;
    passed -= MIN(passed, s->clocked);
    late = (int64_t)(passed * G_TIME_SPAN_SECOND / s->open.rate);
    if (late > LATE_MAX_US) {
        s->began = now;
        s->clocked = 0;
        return (uint32_t)((uint64_t)LATE_MAX_US * s->open.rate / G_TIME_SPAN_SECOND);
    }
    s->clocked += passed;
    return (uint32_t)passed;
}

static gboolean ticked(gpointer opaque)
{
    struct snd_stream *s = opaque;

    turn_of("PV sound");
    s->timer = 0;
    if (!pv_paused(&s->card->dev)) { /* else the resume wakes it */
        snd_stream_advance(s);
        snd_run(s->card);
    }
    return G_SOURCE_REMOVE;
}

/* Until something is to be done: an event, samples, a request that waits. */
static int64_t until_next(const struct snd_stream *s)
{
    uint64_t octets = s->wanted ? s->wanted - MIN(s->wanted, snd_stream_room(s)) : UINT32_MAX;

    if (s->due && (s->capture || s->fifo_used)) { /* the turn was used up */
        return 0;
    }
    if (s->open.period) {
        octets = MIN(octets, s->event_at - MIN(s->event_at, s->position) + s->frame);
    }
    return (int64_t)((octets / s->frame + 1) * G_TIME_SPAN_SECOND / s->open.rate);
}

static void schedule(struct snd_stream *s)
{
    if (s->running && !s->timer) {
        s->timer =
            g_timeout_add((guint)((CLAMP(until_next(s), TICK_MIN_US, TICK_MAX_US) + 999) / 1000),
                          ticked, s);
    }
}

void snd_stream_advance(struct snd_stream *s)
{
    if (s->running) {
        uint32_t frames = frames_passed(s);

        s->position += (uint64_t)frames * s->frame;
        s->due += frames;
        move_samples(s);
        tell_position(s);
        schedule(s);
    }
}

void snd_stream_wake(struct snd_stream *s)
{
    if (s->running && !s->timer) {
        s->began = g_get_monotonic_time();
        s->clocked = 0;
        schedule(s);
    }
}

void snd_stream_run(struct snd_stream *s, bool on)
{
    snd_stream_advance(s);
    if (on == s->running) {
        return;
    }
    s->running = on;
    if (on) {
        snd_stream_wake(s);
    } else {
        g_clear_handle_id(&s->timer, g_source_remove);
    }
}

/* What was recorded before a stop can be read up to here. */
void snd_stream_begin(struct snd_stream *s)
{
    if (s->capture && !s->running) {
        s->fifo_at = s->fifo_used = 0;
    }
    snd_stream_run(s, true);
}

/*
 * The next start is at the buffer's beginning, so the position is a multiple of it. Linux' front
 * end goes on counting from the last event after an underrun, and is right again by this one.
 */
void snd_stream_stop(struct snd_stream *s)
{
    uint32_t beyond;

    snd_stream_run(s, false);
    beyond = (uint32_t)(s->position % s->open.buffer);
    s->due = s->wanted = 0;
    if (!s->capture) {
        s->fifo_at = s->fifo_used = 0;
    }
    if (beyond) {
        s->position += s->open.buffer - beyond;
    }
    if (s->open.period) {
        if (beyond) {
            snd_stream_put_event(s);
        }
        next_event(s);
    }
}

/* ---- opened and closed ---- */

bool snd_stream_open(struct snd_stream *s, const struct snd_params *p, uint32_t *refs, int fifo)
{
    unsigned frame = p->channels * snd_format_size(p->format);
    uint32_t size = p->buffer - p->buffer % frame;
    int fd = fifo >= 0 ? fifo : memory_file_new("xendm-sound", size, true);
    uint8_t *at = memory_file_map(fd, size);
    struct audio *end = s->card->end;

    if (!at) {
        log_guest(LOG_BACKEND, "%s: %s: no memory for its samples: %s", pv_name(&s->card->dev),
                  s->name, g_strerror(errno));
        g_free(refs);
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    s->open = *p;
    s->refs = refs;
    s->frame = frame;
    s->fifo = at;
    s->fifo_fd = fd;
    s->fifo_size = size;
    s->audio = s->capture ? audio_record_new(end, s->name, p->channels)
                          : audio_play_new(end, s->name, p->channels);
    audio_beside_machine(s->audio);
    audio_set_rate(s->audio, p->rate);
    if (p->period) {
        next_event(s);
    }
    return true;
}

void snd_stream_close(struct snd_stream *s)
{
    if (!s->open.buffer) {
        return;
    }
    s->running = false; /* as it stands: another process may have it already */
    g_clear_handle_id(&s->timer, g_source_remove);
    audio_close(s->audio);
    munmap(s->fifo, s->fifo_size);
    close(s->fifo_fd);
    s->fifo = NULL;
    g_clear_pointer(&s->refs, g_free);
    memset(&s->open, 0, sizeof(s->open));
    memset(s->volume, 0, sizeof(s->volume));
    memset(s->muted, 0, sizeof(s->muted));
    s->audio = NULL;
    s->frame = 0;
    s->began = 0;
    s->clocked = s->position = s->event_at = 0;
    s->due = s->wanted = s->fifo_size = s->fifo_at = s->fifo_used = 0;
}
