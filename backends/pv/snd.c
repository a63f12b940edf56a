/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vsnd: a PV sound card, vsnd= of xl.cfg. Xen's io/sndif.h, version 2 of its protocol.
 *
 * The card's parts and what each may do are in the front end's directory: PCM devices 0, 1, … and
 * in them streams 0, 1, …, each of which inherits from what is around it. A stream has a ring for
 * requests, a page for events, and an event channel for each. How many pages and channels a card
 * has is SND_STREAMS_MAX.
 *
 * It is heard where the audio back end vsndN is, or the only one that there is if no sound card has
 * it; else by nobody. Of streams on one back end the one that was opened first is heard.
 *
 * Left out: more than two channels, formats that are no whole numbers of 8 to 32 bits, the loudness
 * of what is recorded.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/sndif.h>

#include <xendm/backend.h>
#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/handover.h>
#include <xendm/log.h>
#include <xendm/numbers.h>

#include "snd.h"

#define PCMS_MAX 32u /* of Linux, SNDRV_PCM_DEVICES */

/* By their numbers. */
static const char *const format_names[] = {
    XENSND_PCM_FORMAT_S8_STR,     XENSND_PCM_FORMAT_U8_STR,     XENSND_PCM_FORMAT_S16_LE_STR,
    XENSND_PCM_FORMAT_S16_BE_STR, XENSND_PCM_FORMAT_U16_LE_STR, XENSND_PCM_FORMAT_U16_BE_STR,
    XENSND_PCM_FORMAT_S24_LE_STR, XENSND_PCM_FORMAT_S24_BE_STR, XENSND_PCM_FORMAT_U24_LE_STR,
    XENSND_PCM_FORMAT_U24_BE_STR, XENSND_PCM_FORMAT_S32_LE_STR, XENSND_PCM_FORMAT_S32_BE_STR,
    XENSND_PCM_FORMAT_U32_LE_STR, XENSND_PCM_FORMAT_U32_BE_STR};

static struct snd *snd_of(struct pv_device *dev)
{
    return (struct snd *)dev;
}

/* ---- who hears it ---- */

struct only {
    struct backend *b;
    unsigned count;
};

static void count_audio(void *opaque, struct backend *b)
{
    struct only *only = opaque;

    if (b->class->kind == BACKEND_AUDIO) {
        only->b = b;
        only->count++;
    }
}

static void set_end(struct snd *c, struct backend *b)
{
    g_free(c->end_id);
    c->end_id = b ? g_strdup(b->id) : NULL;
    c->end = (struct audio *)b; /* which begins with it */
}

static void find_end(struct snd *c)
{
    struct backend_set *set = pv_host(&c->dev)->backends;
    g_autofree char *id = g_strdup_printf("vsnd%u", c->dev.devid);
    struct backend *b = backend_find(set, BACKEND_AUDIO, id);
    struct only only = {0};

    backend_foreach(set, count_audio, &only);
    if (!b && only.count == 1 && !only.b->user) {
        b = only.b;
    }
    if (!b) {
        log_info(LOG_BACKEND, "%s: nobody hears it (-audiodev …,id=%s)", pv_name(&c->dev), id);
    }
    set_end(c, b);
}

static int snd_offer(struct pv_device *dev, GError **err)
{
    find_end(snd_of(dev));
    pv_write(dev, XENSND_FIELD_BE_VERSIONS, "%d", XENSND_PROTOCOL_VERSION);
    return 0;
}

/* ---- what the front end's directory says ---- */

static void read_rates(struct snd_limits *l, const char *text)
{
    g_auto(GStrv) words = g_strsplit(text, XENSND_LIST_SEPARATOR, SND_RATES_MAX + 1);
    uint64_t rate;

    l->any_rate = false;
    l->rates = 0;
    for (char **word = words; *word && l->rates < SND_RATES_MAX; word++) {
        if (number_parse(g_strstrip(*word), AUDIO_RATE_MIN, AUDIO_RATE_MAX, &rate) == 0) {
            l->rate[l->rates++] = (uint32_t)rate;
        }
    }
}

static void read_formats(struct snd_limits *l, const char *text)
{
    g_auto(GStrv) words = g_strsplit(text, XENSND_LIST_SEPARATOR, 64);

    l->formats = 0;
    for (char **word = words; *word; word++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(format_names); i++) {
            if (g_ascii_strcasecmp(g_strstrip(*word), format_names[i]) == 0) {
                l->formats |= UINT64_C(1) << i;
            }
        }
    }
}

static char *read_below(struct pv_device *dev, const char *dir, const char *name)
{
    g_autofree char *key = g_strconcat(dir, name, NULL);

    return pv_read(dev, true, key);
}

static void read_number(struct pv_device *dev, const char *dir, const char *name, uint32_t *value)
{
    g_autofree char *key = g_strconcat(dir, name, NULL);
    uint64_t number;

    if (pv_read_uint(dev, true, key, UINT32_MAX, &number) == 0 && number > 0) {
        *value = (uint32_t)number;
    }
}

/* What a directory says changes what is around it. */
static void read_limits(struct pv_device *dev, const char *dir, struct snd_limits *l)
{
    g_autofree char *rates = read_below(dev, dir, XENSND_FIELD_SAMPLE_RATES);
    g_autofree char *formats = read_below(dev, dir, XENSND_FIELD_SAMPLE_FORMATS);

    if (rates) {
        read_rates(l, rates);
    }
    if (formats) {
        read_formats(l, formats);
    }
    read_number(dev, dir, XENSND_FIELD_CHANNELS_MIN, &l->channels_min);
    read_number(dev, dir, XENSND_FIELD_CHANNELS_MAX, &l->channels_max);
    read_number(dev, dir, XENSND_FIELD_BUFFER_SIZE, &l->buffer);
}

static struct snd_limits ours(void)
{
    return (struct snd_limits){.formats = snd_formats(),
                               .any_rate = true,
                               .channels_min = 1,
                               .channels_max = AUDIO_CHANNELS_MAX,
                               .buffer = SND_BUFFER_MAX};
}

/* No more than we can. */
static void cut_limits(struct snd_limits *l)
{
    l->formats &= snd_formats();
    l->rates = MIN(l->rates, SND_RATES_MAX);
    l->channels_min = MAX(l->channels_min, 1u);
    l->channels_max = MIN(l->channels_max, AUDIO_CHANNELS_MAX);
    l->buffer = MIN(l->buffer, SND_BUFFER_MAX);
}

/* A stream that can never be opened is said to be one; the others are served. */
static void say_what_is_missing(struct snd_stream *s)
{
    const struct snd_limits *l = &s->limits;
    const char *what = !l->formats                         ? "sample format"
                       : !l->any_rate && !l->rates         ? "sample rate"
                       : l->channels_min > l->channels_max ? "number of channels"
                                                           : NULL;

    if (what) {
        log_guest(LOG_BACKEND, "%s: %s: no %s of its configuration is supported",
                  pv_name(&s->card->dev), s->name, what);
    }
}

static void name_stream(struct snd_stream *s)
{
    g_snprintf(s->name, sizeof(s->name), "%s stream %u/%u", s->capture ? "capture" : "playback",
               s->pcm, s->index);
}

/* 0: there is no such stream. */
static int read_stream(struct snd *c, unsigned pcm, unsigned index, const struct snd_limits *around,
                       GError **err)
{
    g_autofree char *dir = g_strdup_printf("%u/%u/", pcm, index);
    g_autofree char *type = read_below(&c->dev, dir, XENSND_FIELD_TYPE);
    bool capture = g_strcmp0(type, XENSND_STREAM_TYPE_CAPTURE) == 0;
    struct snd_stream *s = &c->stream[c->streams];

    if (!type) {
        return 0;
    }
    if (c->streams == SND_STREAMS_MAX || (!capture && strcmp(type, XENSND_STREAM_TYPE_PLAYBACK))) {
        int e = c->streams == SND_STREAMS_MAX ? ENOSPC : EINVAL;

        g_set_error(err, XENDM_ERROR, e,
                    e == ENOSPC ? "it has more than %u streams"
                                : "the type of stream %u is unknown",
                    e == ENOSPC ? SND_STREAMS_MAX : c->streams);
        return -e;
    }
    *s = (struct snd_stream){.card = c, .pcm = pcm, .index = index, .capture = capture};
    s->limits = *around;
    read_limits(&c->dev, dir, &s->limits);
    cut_limits(&s->limits);
    name_stream(s);
    say_what_is_missing(s);
    c->streams++;
    return 1;
}

/* The number of its streams. */
static int read_pcm(struct snd *c, unsigned pcm, struct snd_limits limits, GError **err)
{
    g_autofree char *dir = g_strdup_printf("%u/", pcm);
    int rc = 1;
    unsigned n = 0;

    read_limits(&c->dev, dir, &limits);
    for (; rc == 1; n += rc == 1) {
        rc = read_stream(c, pcm, n, &limits, err);
    }
    return rc < 0 ? rc : (int)n;
}

static int read_card(struct snd *c, GError **err)
{
    struct snd_limits limits = ours();
    int rc = 1;

    c->streams = 0;
    read_limits(&c->dev, "", &limits);
    for (unsigned pcm = 0; pcm < PCMS_MAX && rc > 0; pcm++) {
        rc = read_pcm(c, pcm, limits, err);
    }
    if (rc >= 0 && c->streams == 0) {
        g_set_error(err, XENDM_ERROR, ENOENT, "it has no streams");
        return -ENOENT;
    }
    return MIN(rc, 0);
}

/* ---- the connection ---- */

static int read_ref(struct snd_stream *s, const char *name, uint32_t *value, GError **err)
{
    g_autofree char *key = g_strdup_printf("%u/%u/%s", s->pcm, s->index, name);

    return pv_read_u32(&s->card->dev, key, value, err);
}

static int snd_connect(struct pv_device *dev, GError **err)
{
    struct snd *c = snd_of(dev);
    uint32_t ref = 0, port = 0;
    int rc = read_card(c, err);

    rc = rc ? rc : read_ref(&c->stream[0], XENSND_FIELD_RING_REF, &ref, err);
    rc = rc ? rc : read_ref(&c->stream[0], XENSND_FIELD_EVT_CHNL, &port, err);
    rc = rc ? rc : pv_attach(dev, &ref, 1, port, err);
    if (rc < 0) {
        c->streams = 0;
    }
    return rc;
}

/* A page and a channel; the first stream's ring is the device's. */
static void *attach_more(struct snd_stream *s, const char *page, const char *channel, GError **err)
{
    struct pv_device *dev = &s->card->dev;
    uint32_t ref = 0, port = 0;
    void *at = NULL;

    if (read_ref(s, page, &ref, err) == 0 && read_ref(s, channel, &port, err) == 0) {
        at = pv_map_more(dev, &ref, 1, err);
    }
    return at && pv_bind_more(dev, port, err) >= 0 ? at : NULL;
}

static int attach_stream(struct snd_stream *s, void *ring, GError **err)
{
    void *events;

    ring = ring ? ring : attach_more(s, XENSND_FIELD_RING_REF, XENSND_FIELD_EVT_CHNL, err);
    events =
        ring ? attach_more(s, XENSND_FIELD_EVT_RING_REF, XENSND_FIELD_EVT_EVT_CHNL, err) : NULL;
    if (!events) {
        return -EIO;
    }
    if (!snd_ring_begin(s, ring, events)) {
        g_set_error(err, XENDM_ERROR, EIO, "a ring has more requests than it has room for");
        return -EIO;
    }
    return 0;
}

static void forget(struct snd *c)
{
    later_forget(&c->more);
    for (unsigned i = 0; i < c->streams; i++) {
        snd_stream_close(&c->stream[i]);
        c->stream[i].ring = NULL;
        c->stream[i].events = NULL;
    }
    c->streams = 0;
}

static int take_streams(struct snd *c, const struct handover *from, const char *group,
                        GError **err);

static int snd_attached(struct pv_device *dev, const struct handover *from, const char *group,
                        GError **err)
{
    struct snd *c = snd_of(dev);
    int rc = from ? take_streams(c, from, group, err) : 0;

    for (unsigned i = 0; !from && rc == 0 && i < c->streams; i++) {
        rc = attach_stream(&c->stream[i], i == 0 ? dev->ring : NULL, err);
    }
    if (rc < 0) {
        forget(c);
    }
    return rc;
}

/* Time does not stand still for a front end that rings. */
static void snd_event(struct pv_device *dev)
{
    struct snd *c = snd_of(dev);

    pv_unmask(dev); /* before the look at the rings: what comes behind it rings again */
    for (unsigned i = 0; !pv_paused(dev) && i < c->streams; i++) {
        snd_stream_wake(&c->stream[i]);
        snd_stream_advance(&c->stream[i]);
    }
    snd_run(c);
}

static void snd_disconnect(struct pv_device *dev)
{
    forget(snd_of(dev));
}

static void snd_removed(struct pv_device *dev, bool gone)
{
    set_end(snd_of(dev), NULL);
}

/* ---- live update ---- */

/* Numbers of a stream, by their names in the manifest. */
struct number {
    const char *name;
    size_t at, size;
};
#define NUMBER(name, field) \
    { \
        name, offsetof(struct snd_stream, field), sizeof(((struct snd_stream *)NULL)->field) \
    }

static const struct number always[] = {
    NUMBER("pcm", pcm),
    NUMBER("index", index),
    NUMBER("capture", capture),
    NUMBER("formats", limits.formats),
    NUMBER("any-rate", limits.any_rate),
    NUMBER("rates", limits.rates),
    NUMBER("channels-min", limits.channels_min),
    NUMBER("channels-max", limits.channels_max),
    NUMBER("buffer-max", limits.buffer),
    NUMBER("done", done),
    NUMBER("event-prod", event_prod),
};

static const struct number when_open[] = {
    NUMBER("format", open.format),
    NUMBER("channels", open.channels),
    NUMBER("rate", open.rate),
    NUMBER("buffer", open.buffer),
    NUMBER("period", open.period),
    NUMBER("volume-0", volume[0]),
    NUMBER("volume-1", volume[1]),
    NUMBER("muted-0", muted[0]),
    NUMBER("muted-1", muted[1]),
    NUMBER("running", running),
    NUMBER("position", position),
    NUMBER("event-at", event_at),
    NUMBER("due", due),
    NUMBER("fifo-at", fifo_at),
    NUMBER("fifo-used", fifo_used),
};

static void put_numbers(const struct snd_stream *s, struct handover *to, const char *group,
                        unsigned n, const struct number *numbers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        g_autofree char *key = g_strdup_printf("stream %u %s", n, numbers[i].name);
        uint64_t value = 0;

        memcpy(&value, (const uint8_t *)s + numbers[i].at, numbers[i].size);
        handover_put_int(to, group, key, (int64_t)value);
    }
}

static void put_bytes(struct handover *to, const char *group, unsigned n, const char *name,
                      const void *bytes, size_t len)
{
    g_autofree char *key = g_strdup_printf("stream %u %s", n, name);

    handover_put_bytes(to, group, key, bytes, len);
}

/* Samples are not copied: a guest could make the update's pause as long as it has some. */
static void put_open(const struct snd_stream *s, struct handover *to, const char *group, unsigned n)
{
    g_autofree char *key = g_strdup_printf("stream %u", n);

    handover_put_fd(to, group, key, s->fifo_fd);
    put_bytes(to, group, n, "refs", s->refs, snd_pages(s->open.buffer) * sizeof(s->refs[0]));
    put_numbers(s, to, group, n, when_open, G_N_ELEMENTS(when_open));
}

static void put_stream(const struct snd_stream *s, struct handover *to, const char *group,
                       unsigned n)
{
    put_numbers(s, to, group, n, always, G_N_ELEMENTS(always));
    put_bytes(to, group, n, "rate-list", s->limits.rate,
              s->limits.rates * sizeof(s->limits.rate[0]));
    if (s->open.buffer) {
        put_open(s, to, group, n);
    }
}

static void snd_hand_over(const struct pv_device *dev, struct handover *to, const char *group)
{
    const struct snd *c = (const struct snd *)dev;

    if (c->end) {
        handover_put_text(to, group, "audio", c->end_id);
    }
    handover_put_int(to, group, "streams", c->streams);
    for (unsigned i = 0; i < c->streams; i++) {
        put_stream(&c->stream[i], to, group, i);
    }
}

/* One of before us that has no name is heard by nobody. */
static int snd_take_over(struct pv_device *dev, const struct handover *from, const char *group,
                         GError **err)
{
    g_autofree char *id = handover_text(from, group, "audio");

    set_end(snd_of(dev), id ? backend_find(pv_host(dev)->backends, BACKEND_AUDIO, id) : NULL);
    return 0;
}

/* A bool takes whatever is there as one. */
static void take_numbers(struct snd_stream *s, const struct handover *from, const char *group,
                         unsigned n, const struct number *numbers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        g_autofree char *key = g_strdup_printf("stream %u %s", n, numbers[i].name);
        uint64_t value = (uint64_t)handover_int(from, group, key, 0);

        value = numbers[i].size == sizeof(bool) ? value != 0 : value;
        memcpy((uint8_t *)s + numbers[i].at, &value, numbers[i].size);
    }
}

static uint8_t *get_bytes(const struct handover *from, const char *group, unsigned n,
                          const char *name, size_t *len)
{
    g_autofree char *key = g_strdup_printf("stream %u %s", n, name);

    *len = 0;
    return handover_bytes(from, group, key, len);
}

/* As a request to open it would have to be, and its FIFO is there. */
static bool is_open_right(const struct snd_stream *s, size_t refs, int fd)
{
    const struct snd_params *p = &s->open;
    unsigned frame =
        p->channels <= AUDIO_CHANNELS_MAX ? p->channels * snd_format_size(p->format) : 0;
    uint32_t size = frame ? p->buffer - p->buffer % frame : 0;
    struct stat st;

    return frame > 0 && p->rate >= AUDIO_RATE_MIN && p->rate <= AUDIO_RATE_MAX && size > 0 &&
           p->buffer <= SND_BUFFER_MAX && refs == snd_pages(p->buffer) * sizeof(uint32_t) &&
           s->fifo_at < size && s->fifo_at % frame == 0 && s->fifo_used <= size &&
           s->fifo_used % frame == 0 && fd >= 0 && fstat(fd, &st) == 0 && st.st_size >= size;
}

static void take_state(struct snd_stream *s, const struct snd_stream *was)
{
    for (unsigned i = 0; i < AUDIO_CHANNELS_MAX; i++) {
        s->volume[i] = CLAMP(was->volume[i], SND_VOLUME_MIN, SND_VOLUME_MAX);
        s->muted[i] = was->muted[i];
    }
    snd_stream_set_gain(s);
    s->position = was->position;
    s->event_at = was->event_at;
    s->due = MIN(was->due, s->fifo_size / s->frame);
    s->fifo_at = was->fifo_at;
    s->fifo_used = was->fifo_used;
    s->running = was->running; /* woken by the resume */
}

/* It was open when there are references. */
static bool take_open(struct snd_stream *s, const struct handover *from, const char *group,
                      unsigned n)
{
    size_t len = 0;
    g_autofree uint8_t *refs = get_bytes(from, group, n, "refs", &len);
    g_autofree char *key = g_strdup_printf("stream %u", n);
    struct snd_stream was = {0};
    int fd = refs ? handover_fd(from, group, key) : -1;

    if (!refs) {
        return true;
    }
    take_numbers(&was, from, group, n, when_open, G_N_ELEMENTS(when_open));
    if (!is_open_right(&was, len, fd)) {
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    if (!snd_stream_open(s, &was.open, (uint32_t *)(void *)g_steal_pointer(&refs), fd)) {
        return false;
    }
    take_state(s, &was);
    return true;
}

static bool take_stream(struct snd *c, const struct handover *from, const char *group, unsigned n)
{
    struct snd_stream *s = &c->stream[n];
    size_t len = 0;
    g_autofree uint8_t *rates = get_bytes(from, group, n, "rate-list", &len);
    struct snd_stream was = {0};
    unsigned pages = 0;

    take_numbers(&was, from, group, n, always, G_N_ELEMENTS(always));
    *s = was;
    s->card = c;
    cut_limits(&s->limits);
    if (s->limits.rates && (!rates || len != s->limits.rates * sizeof(s->limits.rate[0]))) {
        return false;
    }
    memcpy(s->limits.rate, rates ? rates : (const uint8_t *)"",
           s->limits.rates * sizeof(s->limits.rate[0]));
    name_stream(s);
    s->shown = s->done;
    s->ring = n == 0 ? c->dev.ring : pv_more(&c->dev, 2 * n - 1, &pages);
    s->events = pv_more(&c->dev, 2 * n, &pages);
    return s->ring && s->events && take_open(s, from, group, n);
}

static int take_streams(struct snd *c, const struct handover *from, const char *group, GError **err)
{
    unsigned streams = (unsigned)CLAMP(handover_int(from, group, "streams", 0), 0, SND_STREAMS_MAX);

    for (unsigned i = 0; i < streams; i++) {
        c->streams = i + 1;
        if (!take_stream(c, from, group, i)) {
            g_set_error(err, XENDM_ERROR, EINVAL, "what is left of it is no sound card");
            return -EINVAL;
        }
    }
    return 0;
}

/* ---- what is said of it ---- */

static void describe_stream(const struct snd_stream *s, struct facts *to)
{
    const struct snd_params *p = &s->open;

    if (!p->buffer) {
        fact_text(to, s->name, "closed");
        return;
    }
    fact_text(to, s->name,
              "%s, %s, %u Hz, %u channel%s, buffer %u, period %u, at %" G_GUINT64_FORMAT,
              s->running ? "runs" : "stands", format_names[p->format], p->rate, p->channels,
              p->channels == 1 ? "" : "s", p->buffer, p->period, s->position);
}

static void snd_describe(const struct pv_device *dev, struct facts *to)
{
    const struct snd *c = (const struct snd *)dev;
    uint64_t frames = 0, late = 0, lost = 0, refused = 0;

    fact_text(to, "audio back end", "%s", c->end_id ? c->end_id : "");
    for (unsigned i = 0; i < c->streams; i++) {
        const struct snd_stream *s = &c->stream[i];

        describe_stream(s, to);
        frames += s->frames;
        late += s->late;
        lost += s->events_lost;
        refused += s->refused;
    }
    fact_int(to, "frames", (int64_t)frames);
    fact_int(to, "frames that came too late", (int64_t)late);
    fact_int(to, "events without room", (int64_t)lost);
    fact_int(to, "refused", (int64_t)refused);
}

const struct pv_class pv_snd_class = {
    .kind = "vsnd",
    .size = sizeof(struct snd),
    .early = true,
    .offer = snd_offer,
    .connect = snd_connect,
    .take_over = snd_take_over,
    .attached = snd_attached,
    .event = snd_event,
    .disconnect = snd_disconnect,
    .removed = snd_removed,
    .hand_over = snd_hand_over,
    .describe = snd_describe,
};
