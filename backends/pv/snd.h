/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to backends/pv: a PV sound card. Keys are in snd.c, requests in snd-ring.c, a stream's
 * time and samples in snd-stream.c.
 */
#ifndef BACKENDS_PV_SND_H
#define BACKENDS_PV_SND_H

#include <xendm/audio.h>
#include <xendm/grants.h>
#include <xendm/later.h>

#include "internal.h"

#define SND_STREAMS_MAX 16u /* two pages and two channels each; PV_CHANNELS_MAX */
#define SND_BUFFER_MAX (4u << 20)
#define SND_RATES_MAX 32u
#define SND_VOLUME_MAX 24000 /* 0.001 dB: AUDIO_GAIN_MAX is a little more */
#define SND_VOLUME_MIN (-120000)

/* What the configuration of a stream leaves, of what we can. */
struct snd_limits {
    uint64_t formats; /* 1 << XENSND_PCM_FORMAT_… */
    bool any_rate;    /* AUDIO_RATE_MIN … AUDIO_RATE_MAX, else these: */
    unsigned rates;   /* how many */
    uint32_t rate[SND_RATES_MAX];
    uint32_t channels_min, channels_max;
    uint32_t buffer; /* octets */
};

/* What OPEN said. */
struct snd_params {
    unsigned format, channels;
    uint32_t rate, buffer, period; /* octets; period 0: no events */
};

struct snd_stream {
    struct snd *card;
    unsigned pcm, index; /* in the front end's directory */
    bool capture;
    char name[32];
    struct snd_limits limits;

    /* The ring; requests are answered in their order, so one index says how far it is. */
    uint8_t *ring;
    uint32_t done, shown;
    struct xensnd_event_page *events;
    uint32_t event_prod; /* ours; what stands in the page is for the front end */

    /* From here on: of an open stream, else zero. */
    struct snd_params open; /* .buffer 0: it is not open */
    uint32_t *refs;         /* of the shared buffer's pages */
    unsigned frame;         /* octets */
    struct audio_stream *audio;
    int32_t volume[AUDIO_CHANNELS_MAX]; /* 0.001 dB */
    bool muted[AUDIO_CHANNELS_MAX];

    bool running;
    int64_t began;     /* µs */
    uint64_t clocked;  /* frames since then */
    uint64_t position; /* octets since OPEN */
    uint64_t event_at; /* … beyond which the next event is due */
    uint32_t due;      /* frames whose time has come and that were not there */
    guint timer;       /* 0: none */
    uint32_t wanted;   /* octets of room, or of what is recorded, that a request waits for */

    /* Octets between the shared buffer and the back end, as the stream's format has them. */
    uint8_t *fifo;
    int fifo_fd; /* the same, for the program after us */
    uint32_t fifo_size, fifo_at, fifo_used;

    uint64_t frames, late, events_lost, refused; /* since the connection */
};

struct snd {
    struct pv_device dev;
    struct audio *end; /* NULL: nobody hears it */
    char *end_id;
    struct snd_stream stream[SND_STREAMS_MAX];
    unsigned streams, next;
    struct later more;
};

/* Of a buffer of so many octets, SND_BUFFER_MAX at most. */
static inline uint32_t snd_pages(uint32_t octets)
{
    return (octets + GRANT_PAGE_SIZE - 1) / GRANT_PAGE_SIZE;
}

/* Of its requests; that of its events is the next (pv_bind_more()). */
static inline unsigned snd_channel(const struct snd_stream *s)
{
    return 2 * (unsigned)(s - s->card->stream);
}

/* ---- snd-stream.c ---- */

uint64_t snd_formats(void); /* that are converted */
unsigned snd_format_size(unsigned format);
bool snd_rate_is_ours(const struct snd_limits *l, uint32_t rate);

/*
 * The parameters are ours. `fifo`: that of the program before us, or -1. Takes it and `refs`.
 * False: there is no memory.
 */
bool snd_stream_open(struct snd_stream *s, const struct snd_params *p, uint32_t *refs, int fifo);
void snd_stream_close(struct snd_stream *s); /* one that is not open: nothing */
void snd_stream_begin(struct snd_stream *s);
void snd_stream_run(struct snd_stream *s, bool on); /* on: goes on */
/* What is not played yet is forgotten, and the position goes to the buffer's beginning. */
void snd_stream_stop(struct snd_stream *s);
/* Does what time has made due; keeps the timer. */
void snd_stream_advance(struct snd_stream *s);
/* The machine stood still, or this is another process: time goes on from here. */
void snd_stream_wake(struct snd_stream *s);
void snd_stream_set_gain(struct snd_stream *s);
/* Octets that can be put into the FIFO, or taken out of it. */
uint32_t snd_stream_room(const struct snd_stream *s);
void snd_stream_put_event(struct snd_stream *s);

/* ---- snd-ring.c ---- */

/* From where the ring is. False: its indices are nonsense. */
bool snd_ring_begin(struct snd_stream *s, void *ring, void *events);
void snd_run(struct snd *c);

#endif
