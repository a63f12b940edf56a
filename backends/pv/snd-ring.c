/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rings of a PV sound card: what front ends ask of a stream. Xen's io/sndif.h and io/ring.h.
 *
 * A request is copied once (XSA-155) and answered before the next is looked at. One that waits for
 * the stream's time (samples that have no room, samples that are not recorded yet) stays where it
 * is, and is read again then; so there is nothing in flight that a live update could lose.
 *
 * Of the shared buffer only the references are kept: samples are copied by Xen. A front end may
 * free it whenever it likes.
 */
#include <stdint.h>
#include <string.h>

#include <xen/xen.h>
#include <xen/errno.h>
#include <xen/grant_table.h>
#include <xen/io/sndif.h>

#include <xendm/log.h>
#include <xendm/turn.h>

#include "snd.h"

#define HEADER 64u  /* of the ring's page */
#define ENTRIES 32u /* of 64 octets; the largest power of two that fits behind it */
#define DIRECTORY_REFS (GRANT_PAGE_SIZE / sizeof(uint32_t) - 1)

#define WAITS 1 /* instead of a status: not now */

/* ---- the ring ---- */

struct header {
    uint32_t req_prod, req_event, rsp_prod, rsp_event;
};

static struct header *header(const struct snd_stream *s)
{
    return (struct header *)(void *)s->ring;
}

static uint8_t *entry(const struct snd_stream *s)
{
    return s->ring + HEADER + (s->done & (ENTRIES - 1)) * sizeof(struct xensnd_req);
}

/* Requests that were not answered. More than ENTRIES: nonsense. */
static uint32_t waiting(const struct snd_stream *s)
{
    return __atomic_load_n(&header(s)->req_prod, __ATOMIC_ACQUIRE) - s->done;
}

/* The front end rings when there is another. True: there is. */
static bool ask_for_next(struct snd_stream *s)
{
    __atomic_store_n(&header(s)->req_event, s->done + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return waiting(s) > 0;
}

/* What was answered since. */
static void show(struct snd_stream *s)
{
    uint32_t old = s->shown;

    if (s->done == old) {
        return;
    }
    s->shown = s->done;
    __atomic_store_n(&header(s)->rsp_prod, s->done, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (s->done - __atomic_load_n(&header(s)->rsp_event, __ATOMIC_RELAXED) < s->done - old) {
        pv_notify_channel(&s->card->dev, snd_channel(s));
    }
}

/* A front end that goes on with its rings has what was before us in them. */
bool snd_ring_begin(struct snd_stream *s, void *ring, void *events)
{
    s->ring = ring;
    s->events = events;
    s->done = s->shown = __atomic_load_n(&header(s)->rsp_prod, __ATOMIC_RELAXED);
    s->event_prod = __atomic_load_n(&s->events->in_prod, __ATOMIC_RELAXED);
    return waiting(s) <= ENTRIES;
}

/* ---- the shared buffer ---- */

/* As many pages of references as the buffer needs, however the front end has linked them. */
static int read_directory(struct snd_stream *s, uint32_t ref, uint32_t *refs, uint32_t count)
{
    for (uint32_t done = 0, n; done < count; done += n) {
        uint32_t page[1 + DIRECTORY_REFS];
        struct grant_copy part = {.ref = ref, .len = sizeof(page), .local = page};

        n = MIN(count - done, (uint32_t)DIRECTORY_REFS);
        if (ref == 0 || grants_copy(pv_host(&s->card->dev)->grants, &part, 1, false) < 0) {
            return -XEN_EFAULT;
        }
        memcpy(refs + done, page + 1, n * sizeof(refs[0]));
        ref = page[0];
    }
    return 0;
}

static int copy(struct snd_stream *s, uint32_t offset, uint32_t len, uint8_t *local, bool to_guest)
{
    while (len > 0) {
        struct grant_copy part[GRANTS_COPY_MAX];
        unsigned n = 0;

        for (; len > 0 && n < GRANTS_COPY_MAX; n++) {
            uint32_t at = offset % GRANT_PAGE_SIZE, some = MIN(len, GRANT_PAGE_SIZE - at);

            part[n] = (struct grant_copy){.ref = s->refs[offset / GRANT_PAGE_SIZE],
                                          .offset = (uint16_t)at,
                                          .len = (uint16_t)some,
                                          .local = local};
            offset += some;
            len -= some;
            local += some;
        }
        if (grants_copy(pv_host(&s->card->dev)->grants, part, n, to_guest) < 0) {
            return -XEN_EFAULT;
        }
    }
    return 0;
}

/* Between the shared buffer and so much of the FIFO, which may lie in two pieces. */
static int copy_fifo(struct snd_stream *s, uint32_t offset, uint32_t len, uint32_t at, bool out)
{
    uint32_t first = MIN(len, s->fifo_size - at);
    int rc = copy(s, offset, first, s->fifo + at, out);

    return rc ? rc : copy(s, offset + first, len - first, s->fifo, out);
}

static bool in_buffer(const struct snd_stream *s, const struct xensnd_rw_req *r)
{
    return s->open.buffer && r->offset <= s->open.buffer && r->length <= s->open.buffer - r->offset;
}

/* ---- requests ---- */

static const char *why_not(const struct snd_stream *s, const struct xensnd_open_req *r)
{
    const struct snd_limits *l = &s->limits;
    unsigned frame = r->pcm_channels * snd_format_size(r->pcm_format);

    return r->pcm_format > 63 || !(l->formats >> r->pcm_format & 1) ? "its format is none of ours"
           : !snd_rate_is_ours(l, r->pcm_rate)                      ? "its rate is none of ours"
           : r->pcm_channels < l->channels_min || r->pcm_channels > l->channels_max
               ? "it has more or fewer channels than it may"
           : r->buffer_sz < frame || r->buffer_sz > l->buffer ? "its buffer is too small or large"
                                                              : NULL;
}

/* One that is open is another one then: Linux does not close it when its parameters change. */
static int open_stream(struct snd_stream *s, const struct xensnd_open_req *r)
{
    const char *why = why_not(s, r);
    struct snd_params p = {r->pcm_format, r->pcm_channels, r->pcm_rate, r->buffer_sz, r->period_sz};
    g_autofree uint32_t *refs = NULL;
    int rc;

    snd_stream_close(s);
    if (why) {
        log_guest(LOG_BACKEND, "%s: %s: format %u, %u Hz, %u channels, buffer of %u bytes: %s",
                  pv_name(&s->card->dev), s->name, r->pcm_format, r->pcm_rate, r->pcm_channels,
                  r->buffer_sz, why);
        return -XEN_EINVAL;
    }
    refs = g_new(uint32_t, snd_pages(r->buffer_sz));
    rc = read_directory(s, r->gref_directory, refs, snd_pages(r->buffer_sz));
    if (rc == 0 && !snd_stream_open(s, &p, g_steal_pointer(&refs), -1)) {
        rc = -XEN_ENOMEM;
    }
    return rc;
}

static int close_stream(struct snd_stream *s)
{
    if (s->open.buffer) {
        snd_stream_run(s, false);
    }
    snd_stream_close(s);
    return 0;
}

/* Whether a request for samples can be done: 0, WAITS, or what is wrong with it. */
static int samples_ready(struct snd_stream *s, const struct xensnd_rw_req *r, bool capture)
{
    s->wanted = 0;
    if (capture != s->capture || !in_buffer(s, r) || r->length % s->frame != 0) {
        return -XEN_EINVAL;
    }
    if (r->length <= snd_stream_room(s)) {
        return 0;
    }
    s->wanted = s->running ? r->length : 0;
    return s->running ? WAITS : -XEN_EAGAIN; /* nothing would ever make it ready */
}

static int write_samples(struct snd_stream *s, const struct xensnd_rw_req *r)
{
    int rc = samples_ready(s, r, false);

    if (rc == 0 && r->length > 0) {
        uint32_t at = (s->fifo_at + s->fifo_used) % s->fifo_size;

        rc = copy_fifo(s, r->offset, r->length, at, false);
        s->fifo_used += rc == 0 ? r->length : 0;
        snd_stream_advance(s); /* what is late already */
    }
    return rc;
}

static int read_samples(struct snd_stream *s, const struct xensnd_rw_req *r)
{
    int rc = samples_ready(s, r, true);

    if (rc == 0 && r->length > 0) {
        rc = copy_fifo(s, r->offset, r->length, s->fifo_at, true);
        if (rc == 0) {
            s->fifo_at = (s->fifo_at + r->length) % s->fifo_size;
            s->fifo_used -= r->length;
        }
    }
    return rc;
}

static int set_volume(struct snd_stream *s, const struct xensnd_rw_req *r)
{
    int32_t volume[AUDIO_CHANNELS_MAX] = {0};
    uint32_t len = s->open.channels * (uint32_t)sizeof(volume[0]);
    int rc;

    if (!in_buffer(s, r) || r->length != len) {
        return -XEN_EINVAL;
    }
    if (s->capture) {
        return -XEN_EOPNOTSUPP;
    }
    rc = copy(s, r->offset, len, (uint8_t *)volume, false);
    for (unsigned i = 0; rc == 0 && i < s->open.channels; i++) {
        s->volume[i] = CLAMP(volume[i], SND_VOLUME_MIN, SND_VOLUME_MAX);
    }
    snd_stream_set_gain(s);
    return rc;
}

static int get_volume(struct snd_stream *s, const struct xensnd_rw_req *r)
{
    if (!in_buffer(s, r) || r->length != s->open.channels * sizeof(s->volume[0])) {
        return -XEN_EINVAL;
    }
    return copy(s, r->offset, r->length, (uint8_t *)s->volume, true);
}

/* The header draws an octet for each channel in four and calls it an octet: both are taken. */
static int mute(struct snd_stream *s, const struct xensnd_rw_req *r, bool on)
{
    uint8_t flags[4 * AUDIO_CHANNELS_MAX] = {0};
    uint32_t n = s->open.channels;
    int rc;

    if (!in_buffer(s, r) || (r->length != n && r->length != 4 * n)) {
        return -XEN_EINVAL;
    }
    if (s->capture) {
        return -XEN_EOPNOTSUPP;
    }
    rc = copy(s, r->offset, r->length, flags, false);
    for (unsigned i = 0; rc == 0 && i < n; i++) {
        if (flags[i * (r->length / n)]) {
            s->muted[i] = on;
        }
    }
    snd_stream_set_gain(s);
    return rc;
}

static int trigger(struct snd_stream *s, unsigned type)
{
    if (!s->open.buffer) {
        return -XEN_EINVAL;
    }
    switch (type) {
    case XENSND_OP_TRIGGER_START:
        snd_stream_begin(s);
        return 0;
    case XENSND_OP_TRIGGER_RESUME:
        snd_stream_run(s, true);
        return 0;
    case XENSND_OP_TRIGGER_PAUSE:
        snd_stream_run(s, false);
        return 0;
    case XENSND_OP_TRIGGER_STOP:
        snd_stream_stop(s);
        return 0;
    default:
        return -XEN_EINVAL;
    }
}

/* ---- which parameters there are ---- */

/* False: none is left. */
static bool narrow(uint32_t *min, uint32_t *max, uint64_t least, uint64_t most)
{
    *min = (uint32_t)MAX((uint64_t)*min, MIN(least, (uint64_t)UINT32_MAX));
    *max = (uint32_t)MIN((uint64_t)*max, most);
    return *min <= *max;
}

static bool narrow_rates(const struct snd_limits *l, struct xensnd_query_hw_param *q)
{
    uint32_t least = UINT32_MAX, most = 0;

    if (l->any_rate) {
        return narrow(&q->rates.min, &q->rates.max, AUDIO_RATE_MIN, AUDIO_RATE_MAX);
    }
    for (unsigned i = 0; i < l->rates; i++) {
        if (l->rate[i] >= q->rates.min && l->rate[i] <= q->rates.max) {
            least = MIN(least, l->rate[i]);
            most = MAX(most, l->rate[i]);
        }
    }
    return narrow(&q->rates.min, &q->rates.max, least, most);
}

/* Frames of the smallest kind that is left fit into a buffer most often. */
static bool narrow_sizes(const struct snd_limits *l, struct xensnd_query_hw_param *q)
{
    unsigned size = UINT8_MAX;

    for (unsigned format = 0; format < 64; format++) {
        if (q->formats >> format & 1) {
            size = MIN(size, snd_format_size(format));
        }
    }
    return narrow(&q->buffer.min, &q->buffer.max, 1, l->buffer / (size * q->channels.min)) &&
           narrow(&q->period.min, &q->period.max, 1, q->buffer.max);
}

static int query(const struct snd_stream *s, const struct xensnd_query_hw_param *asked,
                 struct xensnd_query_hw_param *answer)
{
    const struct snd_limits *l = &s->limits;
    struct xensnd_query_hw_param q = *asked;

    q.formats &= l->formats;
    if (!q.formats || !narrow_rates(l, &q) ||
        !narrow(&q.channels.min, &q.channels.max, l->channels_min, l->channels_max) ||
        !narrow_sizes(l, &q)) {
        return -XEN_EINVAL;
    }
    *answer = q;
    return 0;
}

/* ---- all of it ---- */

static int serve(struct snd_stream *s, const struct xensnd_req *r, struct xensnd_resp *answer)
{
    switch (r->operation) {
    case XENSND_OP_OPEN:
        return open_stream(s, &r->op.open);
    case XENSND_OP_CLOSE:
        return close_stream(s);
    case XENSND_OP_READ:
        return read_samples(s, &r->op.rw);
    case XENSND_OP_WRITE:
        return write_samples(s, &r->op.rw);
    case XENSND_OP_SET_VOLUME:
        return set_volume(s, &r->op.rw);
    case XENSND_OP_GET_VOLUME:
        return get_volume(s, &r->op.rw);
    case XENSND_OP_MUTE:
    case XENSND_OP_UNMUTE:
        return mute(s, &r->op.rw, r->operation == XENSND_OP_MUTE);
    case XENSND_OP_TRIGGER:
        return trigger(s, r->op.trigger.type);
    case XENSND_OP_HW_PARAM_QUERY:
        return query(s, &r->op.hw_param, &answer->resp.hw_param);
    default:
        return -XEN_EOPNOTSUPP;
    }
}

/* The next request. False: there is none that can be done now. */
static bool take(struct snd_stream *s)
{
    struct xensnd_req request;
    struct xensnd_resp answer = {0};
    uint32_t there = waiting(s);

    if (there > ENTRIES) {
        pv_fail(&s->card->dev, "the ring of %s has more requests than it has room for", s->name);
        return false;
    }
    if (there == 0) {
        return ask_for_next(s);
    }
    memcpy(&request, entry(s), sizeof(request));
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* from here on it is the copy */
    answer.id = request.id;
    answer.operation = request.operation;
    answer.status = serve(s, &request, &answer);
    if (answer.status == WAITS) {
        return false;
    }
    s->refused += answer.status < 0;
    memcpy(entry(s), &answer, sizeof(answer));
    s->done++;
    return true;
}

/* True: there may be more. */
static bool run_stream(struct snd_stream *s, bool *begun)
{
    bool more = false;

    for (unsigned taken = 0; s->ring && !pv_paused(&s->card->dev); taken++) {
        if (taken >= ENTRIES || (*begun && turn_is_used_up())) {
            more = true;
            break;
        }
        if (!take(s)) {
            break;
        }
        *begun = true;
    }
    if (s->ring) {
        show(s);
    }
    return more;
}

static void run_more(void *opaque)
{
    snd_run(opaque);
}

/* Who was first is last the next time. */
void snd_run(struct snd *c)
{
    static const struct later_kind kind = {.turn = "PV sound", .go_on = run_more};
    bool more = false, begun = false;
    unsigned first = c->next++;

    for (unsigned i = 0; i < c->streams; i++) {
        more = run_stream(&c->stream[(first + i) % c->streams], &begun) || more;
    }
    if (more) {
        later_ask(&c->more, &kind, c, NULL);
    }
}
