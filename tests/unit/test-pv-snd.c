/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PV sound card: what is played and recorded, to the sample and in its time, what a hostile
 * front end may ask for, and a live update.
 */
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib.h>
#include <xen/errno.h>

#include <xendm/backend.h>
#include <xendm/bytes.h>
#include <xendm/facts.h>
#include <xendm/handover.h>

#include "pv-snd-front.h"

static void test_play(void)
{
    struct world *w = world_new();

    front_connects(w);
    g_assert_cmpint(ask(w, 0, ORDINARY), ==, 0);
    g_assert_cmpuint(w->ear->rate, ==, 48000);
    ramp(0, 2048, 0);
    g_assert_cmpint(ask(w, 0, WRITE(0, 4096)), ==, 0);
    pass(100);
    heard(w, 0, 0); /* it was not started */
    g_assert_cmpint(ask(w, 0, START), ==, 0);
    pass(5);
    heard(w, 480, 0);
    g_assert_true(no_event(w, 0));
    pass(1);
    g_assert_cmpuint(event(w, 0), ==, 288 * 4);
    pass(14.5);
    g_assert_cmpuint(event(w, 0), ==, 984 * 4);
    g_assert_true(no_event(w, 0));
    ramp(0, 1900, 2048);
    g_assert_cmpint(ask(w, 0, WRITE(0, 3800)), ==, 0);
    pass(19);
    heard(w, 2 * (984 + 912), 0);
    g_assert_cmpint(ask(w, 0, CLOSE), ==, 0);
    g_assert_cmpuint(w->ear->open, ==, 0);
    world_free(w);
}

/* The period's end itself is no event: Linux' front end wants to be told of more than a period. */
static void test_period(void)
{
    struct world *w = world_new();

    front_connects(w);
    g_assert_cmpint(ask(w, 0, open_req(XENSND_PCM_FORMAT_S8, 1, 8000, 4096, 80)), ==, 0);
    g_assert_cmpint(ask(w, 0, START), ==, 0);
    pass(10);
    g_assert_true(no_event(w, 0));
    pass(.2);
    g_assert_cmpuint(event(w, 0), ==, 81);
    pass(35);
    g_assert_cmpuint(event(w, 0), ==, 361);
    pass(4);
    g_assert_true(no_event(w, 0));
    /* Without a period there are none. */
    g_assert_cmpint(ask(w, 0, open_req(XENSND_PCM_FORMAT_S8, 1, 8000, 4096, 0)), ==, 0);
    g_assert_cmpint(ask(w, 0, START), ==, 0);
    pass(90);
    g_assert_cmpint(ask(w, 0, STOP), ==, 0);
    g_assert_true(no_event(w, 0));
    world_free(w);
}

/* The position goes on without samples; those that come too late are heard at once. */
static void test_underrun(void)
{
    struct world *w = world_new();

    front_connects(w);
    g_assert_cmpint(ask(w, 0, ORDINARY), ==, 0);
    g_assert_cmpint(ask(w, 0, START), ==, 0);
    pass(10);
    g_assert_cmpuint(event(w, 0), ==, 480 * 4);
    ramp(0, 2048, 0);
    g_assert_cmpint(ask(w, 0, WRITE(0, 4096)), ==, 0);
    heard(w, 960, 0);
    pass(1);
    heard(w, 1056, 0);
    pass(90); /* more than the buffer: it is not played as a burst later */
    g_assert_cmpint(ask(w, 0, WRITE(0, 4096)), ==, 0);
    g_assert_cmpuint(w->ear->heard->len, ==, 4096);
    pass(1);
    g_assert_cmpuint(w->ear->heard->len, ==, 4096);
    world_free(w);
}

static void test_waits(void)
{
    struct world *w = world_new();

    front_connects(w);
    g_assert_cmpint(ask(w, 0, ORDINARY), ==, 0);
    ramp(0, 2048, 0);
    g_assert_cmpint(ask(w, 0, WRITE(0, 4096)), ==, 0);
    g_assert_cmpint(ask(w, 0, WRITE(0, 4)), ==, -XEN_EAGAIN); /* it would wait for ever */
    g_assert_cmpint(ask(w, 0, START), ==, 0);
    ramp(0, 200, 2048);
    put(w, 0, WRITE(0, 400));
    put(w, 0, trigger(XENSND_OP_TRIGGER_PAUSE));
    pass(2);
    g_assert_cmpuint(*index_of(0, 2), ==, w->prod[0] - 2);
    pass(.1);
    g_assert_cmpint(answer(w, 0, 1).status, ==, 0);
    g_assert_cmpint(answer(w, 0, 0).status, ==, 0);
    pass(50);
    heard(w, 200, 0);
    g_assert_cmpint(ask(w, 0, trigger(XENSND_OP_TRIGGER_RESUME)), ==, 0);
    pass(60);
    heard(w, 2248, 0);
    world_free(w);
}

static void test_triggers(void)
{
    struct world *w = world_new();

    front_connects(w);
    g_assert_cmpint(ask(w, 0, START), ==, -XEN_EINVAL); /* it is not open */
    g_assert_cmpint(ask(w, 0, ORDINARY), ==, 0);
    g_assert_cmpint(ask(w, 0, trigger(4)), ==, -XEN_EINVAL);
    ramp(0, 2048, 0);
    g_assert_cmpint(ask(w, 0, WRITE(0, 4096)), ==, 0);
    g_assert_cmpint(ask(w, 0, START), ==, 0);
    g_assert_cmpint(ask(w, 0, START), ==, 0);
    pass(6);
    g_assert_cmpuint(event(w, 0), ==, 288 * 4);
    g_assert_cmpint(ask(w, 0, trigger(XENSND_OP_TRIGGER_PAUSE)), ==, 0);
    pass(1000);
    heard(w, 576, 0);
    g_assert_cmpint(ask(w, 0, trigger(XENSND_OP_TRIGGER_RESUME)), ==, 0);
    pass(5);
    heard(w, 1056, 0);
    g_assert_cmpuint(event(w, 0), ==, 528 * 4);
    /* After a stop the buffer begins anew, and what was in it is not heard. */
    g_assert_cmpint(ask(w, 0, STOP), ==, 0);
    g_assert_cmpuint(event(w, 0), ==, 4096);
    ramp(0, 100, 1056);
    g_assert_cmpint(ask(w, 0, WRITE(0, 200)), ==, 0);
    g_assert_cmpint(ask(w, 0, START), ==, 0);
    pass(5.5);
    heard(w, 1156, 0);
    g_assert_cmpuint(event(w, 0), ==, 4096 + 264 * 4);
    world_free(w);
}

/* The loop has nothing to wait for when no stream runs. */
static void test_sleeps(void)
{
    struct world *w = world_new();
    GPollFD fds[16];
    gint priority, timeout;

    front_connects(w);
    g_assert_cmpint(ask(w, 0, ORDINARY), ==, 0);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_true(g_main_context_acquire(g_main_context_default()));
        g_main_context_prepare(g_main_context_default(), &priority);
        g_main_context_query(g_main_context_default(), G_MAXINT, &timeout, fds, G_N_ELEMENTS(fds));
        g_main_context_release(g_main_context_default());
        if (i == 1) {
            g_assert_cmpint(timeout, >, 0);
            g_assert_cmpint(timeout, <=, 20);
        } else {
            g_assert_cmpint(timeout, ==, -1);
        }
        g_assert_cmpint(ask(w, 0, i == 0 ? START : STOP), ==, 0);
    }
    world_free(w);
}

/* The most negative, the middle and one more, of each format; a frame of two. */
static const struct {
    unsigned format, size;
    uint8_t octets[8]; /* 0x8000, 0x0123 */
} samples[] = {
    {XENSND_PCM_FORMAT_S8, 1, {0x80, 0x01}},
    {XENSND_PCM_FORMAT_U8, 1, {0x00, 0x81}},
    {XENSND_PCM_FORMAT_S16_LE, 2, {0x00, 0x80, 0x23, 0x01}},
    {XENSND_PCM_FORMAT_S16_BE, 2, {0x80, 0x00, 0x01, 0x23}},
    {XENSND_PCM_FORMAT_U16_LE, 2, {0x00, 0x00, 0x23, 0x81}},
    {XENSND_PCM_FORMAT_U16_BE, 2, {0x00, 0x00, 0x81, 0x23}},
    {XENSND_PCM_FORMAT_S24_LE, 4, {0x00, 0x00, 0x80, 0xff, 0x00, 0x23, 0x01, 0x00}},
    {XENSND_PCM_FORMAT_S24_BE, 4, {0xff, 0x80, 0x00, 0x00, 0x00, 0x01, 0x23, 0x00}},
    {XENSND_PCM_FORMAT_U24_LE, 4, {0x00, 0x00, 0x00, 0x00, 0x00, 0x23, 0x81, 0x00}},
    {XENSND_PCM_FORMAT_U24_BE, 4, {0x00, 0x00, 0x00, 0x00, 0x00, 0x81, 0x23, 0x00}},
    {XENSND_PCM_FORMAT_S32_LE, 4, {0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x23, 0x01}},
    {XENSND_PCM_FORMAT_S32_BE, 4, {0x80, 0x00, 0x00, 0x00, 0x01, 0x23, 0x00, 0x00}},
    {XENSND_PCM_FORMAT_U32_LE, 4, {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x23, 0x81}},
    {XENSND_PCM_FORMAT_U32_BE, 4, {0x00, 0x00, 0x00, 0x00, 0x81, 0x23, 0x00, 0x00}},
};

static void test_formats(void)
{
    struct world *w = world_new();

    set_front(w, "0/1/type", "c");
    publish(w, 1, "0/1");
    front_connects(w);
    for (unsigned i = 0; i < G_N_ELEMENTS(samples); i++) {
        unsigned size = samples[i].size;
        int16_t low = size == 1 ? 0x100 : 0x123;

        g_array_set_size(w->ear->heard, 0);
        memcpy(buffer(), samples[i].octets, 2 * size);
        g_assert_cmpint(ask(w, 0, open_req(samples[i].format, 2, 48000, 4096, 0)), ==, 0);
        g_assert_cmpint(ask(w, 0, WRITE(0, 2 * size)), ==, 0);
        g_assert_cmpint(ask(w, 0, START), ==, 0);
        pass(1);
        g_assert_cmpuint(w->ear->heard->len, ==, 2);
        g_assert_cmpint(g_array_index(w->ear->heard, int16_t, 0), ==, INT16_MIN);
        g_assert_cmpint(g_array_index(w->ear->heard, int16_t, 1), ==, low);
        g_assert_cmpint(ask(w, 0, CLOSE), ==, 0);
        /* The other way: the ear's next two. */
        g_assert_cmpint(ask(w, 1, open_req(samples[i].format, 1, 4000, 4096, 0)), ==, 0);
        for (unsigned n = 0; n < 2; n++) {
            w->ear->next = n == 0 ? INT16_MAX : 0x122;
            g_assert_cmpint(ask(w, 1, START), ==, 0);
            pass(.25);
            g_assert_cmpint(ask(w, 1, READ(size * n, size)), ==, 0);
            g_assert_cmpint(ask(w, 1, STOP), ==, 0);
        }
        g_assert_cmpmem(buffer(), 2 * size, samples[i].octets, 2 * size);
    }
    for (unsigned format = XENSND_PCM_FORMAT_F32_LE; format < 256; format++) {
        g_assert_cmpint(ask(w, 0, open_req(format, 2, 48000, 4096, 0)), ==, -XEN_EINVAL);
    }
    world_free(w);
}

static void test_capture(void)
{
    struct world *w = world_new();

    set_front(w, "0/0/type", "c");
    front_connects(w);
    g_assert_cmpint(ask(w, 0, ORDINARY), ==, 0);
    g_assert_cmpint(ask(w, 0, WRITE(0, 400)), ==, -XEN_EINVAL);
    g_assert_cmpint(ask(w, 0, READ(0, 400)), ==, -XEN_EAGAIN);
    g_assert_cmpint(ask(w, 0, START), ==, 0);
    put(w, 0, READ(100, 400));
    pass(2);
    g_assert_cmpuint(*index_of(0, 2), ==, w->prod[0] - 1);
    pass(1);
    g_assert_cmpint(answer(w, 0, 0).status, ==, 0);
    for (unsigned i = 0; i < 200; i++) {
        g_assert_cmpint((int16_t)load_le16(buffer() + 100 + 2 * i), ==, (int16_t)(1 + i));
    }
    pass(4);
    g_assert_cmpuint(event(w, 0), ==, 336 * 4);
    pass(43); /* 2400 frames: the oldest are lost */
    g_assert_cmpint(ask(w, 0, READ(0, 4096)), ==, 0);
    g_assert_cmpint((int16_t)load_le16(buffer()), ==, (int16_t)(2 * (2400 - 1024) + 1));
    /* What was recorded before a stop can be read, and is forgotten by the next start. */
    pass(1);
    g_assert_cmpint(ask(w, 0, STOP), ==, 0);
    g_assert_cmpint(ask(w, 0, READ(0, 96)), ==, 0);
    g_assert_cmpint((int16_t)load_le16(buffer()), ==, (int16_t)(2 * 2400 + 1));
    g_assert_cmpint(ask(w, 0, START), ==, 0);
    pass(1);
    g_assert_cmpint(ask(w, 0, READ(0, 4)), ==, 0);
    g_assert_cmpint((int16_t)load_le16(buffer()), ==, (int16_t)(2 * 2448 + 1));
    g_assert_cmpint(ask(w, 0, rw(XENSND_OP_SET_VOLUME, 0, 8)), ==, -XEN_EOPNOTSUPP);
    g_assert_cmpint(ask(w, 0, rw(XENSND_OP_MUTE, 0, 2)), ==, -XEN_EOPNOTSUPP);
    world_free(w);
}

static void test_volume(void)
{
    static const struct {
        int32_t volume;
        uint32_t least, most;
    } levels[] = {{0, 65536, 65536},    {-6000, 32844, 32848},     {6000, 130750, 130770},
                  {-20000, 6553, 6554}, {24000, 1038670, 1038680}, {INT32_MAX, 1038670, 1038680},
                  {INT32_MIN, 0, 1}};
    struct world *w = world_new();

    front_connects(w);
    g_assert_cmpint(ask(w, 0, rw(XENSND_OP_SET_VOLUME, 0, 8)), ==, -XEN_EINVAL);
    g_assert_cmpint(ask(w, 0, ORDINARY), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(levels); i++) {
        store_le32(buffer() + 4092, 0);
        store_le32(buffer() + 4096, (uint32_t)levels[i].volume);
        g_assert_cmpint(ask(w, 0, open_req(2, 2, 48000, 8192, 0)), ==, 0);
        g_assert_cmpint(ask(w, 0, rw(XENSND_OP_SET_VOLUME, 4092, 8)), ==, 0);
        g_assert_cmpuint(w->ear->gain[0], ==, AUDIO_GAIN_ONE);
        g_assert_cmpuint(w->ear->gain[1], >=, levels[i].least);
        g_assert_cmpuint(w->ear->gain[1], <=, levels[i].most);
        g_assert_cmpint(ask(w, 0, rw(XENSND_OP_GET_VOLUME, 100, 8)), ==, 0);
        g_assert_cmpint((int32_t)load_le32(buffer() + 104), ==,
                        CLAMP(levels[i].volume, -120000, 24000));
    }
    memcpy(buffer(), (uint8_t[]){0, 0, 0, 0, 1, 0, 0, 0}, 8);
    g_assert_cmpint(ask(w, 0, ORDINARY), ==, 0);
    g_assert_cmpint(ask(w, 0, rw(XENSND_OP_MUTE, 0, 8)), ==, 0);
    g_assert_true(w->ear->gain[0] == AUDIO_GAIN_ONE && w->ear->gain[1] == 0);
    memcpy(buffer(), (uint8_t[]){1, 1}, 2);
    g_assert_cmpint(ask(w, 0, rw(XENSND_OP_UNMUTE, 0, 2)), ==, 0);
    g_assert_true(w->ear->gain[0] == AUDIO_GAIN_ONE && w->ear->gain[1] == AUDIO_GAIN_ONE);
    g_assert_cmpint(ask(w, 0, rw(XENSND_OP_MUTE, 0, 3)), ==, -XEN_EINVAL);
    g_assert_cmpint(ask(w, 0, rw(XENSND_OP_MUTE, 4095, 2)), ==, -XEN_EINVAL);
    world_free(w);
}

static struct xensnd_req any_query(void)
{
    struct xensnd_req r = {.operation = XENSND_OP_HW_PARAM_QUERY};

    r.op.hw_param = (struct xensnd_query_hw_param){
        UINT64_MAX, {0, UINT32_MAX}, {0, UINT32_MAX}, {0, UINT32_MAX}, {0, UINT32_MAX}};
    return r;
}

static void test_query(void)
{
    struct world *w = world_new();
    struct xensnd_req r = any_query();
    struct xensnd_query_hw_param a;

    set_front(w, "sample-rates", "8000,48000,44100,1,4294967295,x");
    set_front(w, "0/sample-formats", "s16_le,float_le,u8");
    set_front(w, "0/0/channels-max", "6");
    set_front(w, "0/0/buffer-size", "8192");
    front_connects(w);
    a = ask_for(w, 0, r).resp.hw_param;
    g_assert_cmphex(a.formats, ==, 1 << XENSND_PCM_FORMAT_S16_LE | 1 << XENSND_PCM_FORMAT_U8);
    g_assert_true(a.rates.min == 8000 && a.rates.max == 48000);
    g_assert_true(a.channels.min == 1 && a.channels.max == 2);
    g_assert_true(a.buffer.min == 1 && a.buffer.max == 8192);
    g_assert_true(a.period.min == 1 && a.period.max == 8192);
    r.op.hw_param.formats = 1 << XENSND_PCM_FORMAT_S16_LE;
    r.op.hw_param.channels.min = 2;
    r.op.hw_param.rates.min = 10000;
    r.op.hw_param.rates.max = 47000;
    r.op.hw_param.period.min = 100;
    a = ask_for(w, 0, r).resp.hw_param;
    g_assert_true(a.rates.min == 44100 && a.rates.max == 44100);
    g_assert_true(a.buffer.max == 2048 && a.period.min == 100 && a.period.max == 2048);
    r.op.hw_param.rates.min = 45000;
    g_assert_cmpint(ask(w, 0, r), ==, -XEN_EINVAL);
    r = any_query();
    r.op.hw_param.formats = 1 << XENSND_PCM_FORMAT_F32_LE;
    g_assert_cmpint(ask(w, 0, r), ==, -XEN_EINVAL);
    r = any_query();
    r.op.hw_param.channels.min = 3;
    g_assert_cmpint(ask(w, 0, r), ==, -XEN_EINVAL);
    r = any_query();
    r.op.hw_param.buffer.min = 8193;
    g_assert_cmpint(ask(w, 0, r), ==, -XEN_EINVAL);
    /* And so says OPEN. */
    g_assert_cmpint(ask(w, 0, open_req(1, 2, 44100, 8192, 0)), ==, 0);
    g_assert_cmpint(ask(w, 0, open_req(1, 2, 44101, 8192, 0)), ==, -XEN_EINVAL);
    g_assert_cmpint(ask(w, 0, open_req(0, 2, 44100, 8192, 0)), ==, -XEN_EINVAL);
    g_assert_cmpint(ask(w, 0, open_req(1, 3, 44100, 8192, 0)), ==, -XEN_EINVAL);
    g_assert_cmpint(ask(w, 0, open_req(1, 0, 44100, 8192, 0)), ==, -XEN_EINVAL);
    g_assert_cmpint(ask(w, 0, open_req(1, 2, 44100, 8193, 0)), ==, -XEN_EINVAL);
    world_free(w);
}

/* Streams of two PCM devices, each with its own rings; those of one are not the other's. */
static void test_streams(void)
{
    struct world *w = world_new();

    set_front(w, "0/1/type", "c");
    set_front(w, "1/0/type", "p");
    set_front(w, "1/0/sample-rates", "96000");
    publish(w, 1, "0/1");
    publish(w, 2, "1/0");
    front_connects(w);
    g_assert_cmpuint(fake_evtchn_bound(), ==, 6);
    g_assert_cmpint(ask(w, 2, ORDINARY), ==, -XEN_EINVAL);
    g_assert_cmpint(ask(w, 2, open_req(2, 2, 96000, 4096, 0)), ==, 0);
    g_assert_cmpint(ask(w, 1, ORDINARY), ==, 0);
    g_assert_cmpint(ask(w, 0, START), ==, -XEN_EINVAL);
    g_assert_cmpint(ask(w, 1, START), ==, 0);
    fake_evtchn_rung(PORT(0) + 1);
    fake_evtchn_rung(PORT(1) + 1);
    pass(6);
    g_assert_cmpuint(event(w, 1), ==, 288 * 4);
    g_assert_true(fake_evtchn_rung(PORT(1) + 1) == 1 && fake_evtchn_rung(PORT(0) + 1) == 0);
    /* Many requests at once, of all. */
    for (unsigned i = 0; i < 32; i++) {
        for (unsigned n = 0; n < 3; n++) {
            put(w, n, any_query());
        }
    }
    ring_bell(2);
    for (unsigned n = 0; n < 3; n++) {
        g_assert_cmpuint(*index_of(n, 2), ==, w->prod[n]);
    }
    world_free(w);
}

static void fails_to_connect(struct world *w)
{
    front_state(w, "3");
    expect(w, BACK "/state", "5");
    g_assert_cmpuint(fake_evtchn_bound(), ==, 0);
    g_assert_cmpuint(grants_mapped(w->host.grants), ==, 0);
    front_state(w, "6");
    front_state(w, "1");
    expect(w, BACK "/state", "2");
}

static void test_cards(void)
{
    struct world *w = world_new();

    front_connects(w);
    front_state(w, "6");
    front_state(w, "1");
    set_front(w, "0/0/type", "x");
    fails_to_connect(w);
    fake_xenstore_remove(w->host.xs, FRONT "/0/0/type");
    fails_to_connect(w);
    for (unsigned i = 0; i < 17; i++) {
        g_autofree char *type = g_strdup_printf("%u/%u/type", i / 8, i % 8);

        set_front(w, type, "p");
    }
    fails_to_connect(w);
    fake_xenstore_remove(w->host.xs, FRONT "/0/1/type");
    fake_xenstore_remove(w->host.xs, FRONT "/1");
    fake_xenstore_remove(w->host.xs, FRONT "/2");
    set_front(w, "0/0/evt-ring-ref", "599"); /* which nobody has granted */
    fails_to_connect(w);
    set_front(w, "0/0/evt-event-channel", "x");
    fails_to_connect(w);
    front_connects(w);
    g_assert_cmpint(ask(w, 0, ORDINARY), ==, 0);
    world_free(w);
}

/* What is not so, and what is not there. */
static void test_hostile(void)
{
    struct world *w = world_new();
    uint32_t *page = fake_grant_page(DIRECTORY);
    struct xensnd_req r;

    front_connects(w);
    static const struct {
        uint32_t offset, length;
    } bad[] = {{0, 4100},       {4096, 4},           {4097, 0}, {UINT32_MAX, 4},
               {4, UINT32_MAX}, {UINT32_MAX - 3, 8}, {0, 3},    {4092, 8}};
    for (unsigned op = 0; op < 256; op++) { /* of a stream that is not open */
        int status = ask(w, 0, rw(op, 0, 0));

        g_assert_true(status < 0 || op == XENSND_OP_CLOSE);
    }
    g_assert_cmpint(ask(w, 0, ORDINARY), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        for (unsigned op = XENSND_OP_READ; op <= XENSND_OP_UNMUTE; op++) {
            g_assert_cmpint(ask(w, 0, rw(op, bad[i].offset, bad[i].length)), ==, -XEN_EINVAL);
        }
    }
    g_assert_cmpint(ask(w, 0, rw(200, 0, 0)), ==, -XEN_EOPNOTSUPP);
    fake_grant_end(DATA);
    g_assert_cmpint(ask(w, 0, WRITE(0, 400)), ==, -XEN_EFAULT);
    g_assert_cmpint(ask(w, 0, rw(XENSND_OP_GET_VOLUME, 0, 8)), ==, -XEN_EFAULT);
    g_assert_cmpint(ask(w, 0, START), ==, 0);
    pass(10);
    heard(w, 0, 0);
    /* Directories: a reference that is none, a page that names itself, one too few. */
    r = ORDINARY;
    r.op.open.gref_directory = 0;
    g_assert_cmpint(ask(w, 0, r), ==, -XEN_EFAULT);
    r.op.open.gref_directory = 599;
    g_assert_cmpint(ask(w, 0, r), ==, -XEN_EFAULT);
    g_assert_cmpuint(w->ear->open, ==, 0);
    r = ORDINARY;
    r.op.open.buffer_sz = 4 << 20;
    page[0] = 0;
    g_assert_cmpint(ask(w, 0, r), ==, -XEN_EFAULT);
    page[0] = DIRECTORY;
    g_assert_cmpint(ask(w, 0, r), ==, 0);
    r.op.open.buffer_sz++;
    g_assert_cmpint(ask(w, 0, r), ==, -XEN_EINVAL);
    r.op.open.buffer_sz = UINT32_MAX;
    g_assert_cmpint(ask(w, 0, r), ==, -XEN_EINVAL);
    r.op.open.buffer_sz = 3;
    g_assert_cmpint(ask(w, 0, r), ==, -XEN_EINVAL);
    expect(w, BACK "/state", "4");
    *index_of(0, 0) = w->prod[0] + 33;
    ring_bell(0);
    expect(w, BACK "/state", "5");
    world_free(w);
}

/* The other CPU changes the request and the directory while Xen copies. */
static struct world *racing;

static void race(void)
{
    uint8_t *slot = (uint8_t *)fake_grant_page(RING(0)) + 64 + (racing->prod[0] - 1) % 32 * 64;

    memset(slot + 8, 0xff, 56);
    ((uint32_t *)fake_grant_page(DIRECTORY))[0] = 0;
}

static void test_double_fetch(void)
{
    struct world *w = racing = world_new();

    front_connects(w);
    fake_grant_copying = race;
    ramp(0, 2048, 0);
    g_assert_cmpint(ask(w, 0, ORDINARY), ==, 0);
    g_assert_cmpint(ask(w, 0, WRITE(0, 4096)), ==, 0);
    g_assert_cmpint(ask(w, 0, WRITE(0, 4)), ==, -XEN_EAGAIN); /* the buffer is as it was opened */
    fake_grant_copying = NULL;
    g_assert_cmpint(ask(w, 0, START), ==, 0);
    pass(25);
    heard(w, 2048, 0);
    world_free(w);
}

/* Answers have nothing of ours in them. */
static void test_answers(void)
{
    struct world *w = world_new();
    struct xensnd_resp a;

    front_connects(w);
    for (unsigned op = 0; op < 12; op++) {
        struct xensnd_req r = ORDINARY;

        r.operation = (uint8_t)op;
        a = ask_for(w, 0, r);
        if (op != XENSND_OP_HW_PARAM_QUERY) {
            static const uint8_t nothing[56];

            g_assert_cmpmem(a.resp.reserved1, 56, nothing, 56);
        }
        g_assert_cmpuint(a.reserved, ==, 0);
    }
    world_free(w);
}

/* Events of a front end that does not take them, or says that it took what is to come. */
static void test_event_page(void)
{
    struct world *w = world_new();
    struct xensnd_event_page *page;

    front_connects(w);
    page = fake_grant_page(EVENTS(0));
    g_assert_cmpint(ask(w, 0, open_req(0, 1, 8000, 4096, 8)), ==, 0);
    g_assert_cmpint(ask(w, 0, START), ==, 0);
    for (unsigned i = 0; i < 100; i++) {
        pass(5);
    }
    g_assert_cmpuint(page->in_prod, ==, XENSND_IN_RING_LEN);
    page->in_cons = page->in_prod;
    w->seen[0] = page->in_prod;
    pass(5);
    g_assert_cmpuint(event(w, 0), ==, 101 * 40);
    page->in_cons = page->in_prod + 5;
    pass(5);
    g_assert_true(no_event(w, 0));
    page->in_prod = 7; /* which is ours */
    page->in_cons = w->seen[0];
    pass(5);
    g_assert_cmpuint(event(w, 0), ==, 103 * 40);
    world_free(w);
}

/* What is left goes over a socket, as descriptors do. */
static void update(struct world *w)
{
    struct handover *left = handover_new(), *got;
    GError *err = NULL;
    int pair[2];

    pv_bus_pause(w->bus);
    pass(.1);
    pv_bus_hand_over(w->bus, left);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), ==, 0);
    g_assert_cmpint(handover_send(left, pair[0], &err), ==, 0);
    pv_bus_free(w->bus);
    got = handover_receive(pair[1], &err);
    g_assert_no_error(err);
    w->bus = fake_pv_take_over(&w->host, got);
    handover_free(left);
    handover_free(got);
    close(pair[0]);
    close(pair[1]);
}

/* Each time with a request that waits, samples, loudness and a position. */
static void test_update(void)
{
    struct world *w = world_new();

    set_front(w, "0/1/type", "c");
    publish(w, 1, "0/1");
    front_connects(w);
    g_assert_cmpint(ask(w, 0, ORDINARY), ==, 0);
    memcpy(buffer(), (uint8_t[]){0, 1}, 2);
    g_assert_cmpint(ask(w, 0, rw(XENSND_OP_MUTE, 0, 2)), ==, 0);
    ramp(0, 2048, 0);
    g_assert_cmpint(ask(w, 0, WRITE(0, 4096)), ==, 0);
    g_assert_cmpint(ask(w, 1, ORDINARY), ==, 0);
    g_assert_cmpint(ask(w, 0, START), ==, 0);
    g_assert_cmpint(ask(w, 1, START), ==, 0);
    pass(4); /* 192 frames */
    ramp(0, 1000, 2048);
    put(w, 0, WRITE(0, 2000));
    pass(0);
    g_assert_cmpuint(*index_of(0, 2), ==, w->prod[0] - 1);
    for (unsigned i = 0; i < 3; i++) {
        update(w);
    }
    g_assert_cmpuint(w->ear->gain[1], ==, 0);
    g_assert_cmpuint(w->ear->gain[0], ==, AUDIO_GAIN_ONE);
    heard(w, 384, 0);
    pass(7);
    g_assert_cmpuint(event(w, 0), ==, 528 * 4);
    g_assert_cmpint(answer(w, 0, 0).status, ==, 0);
    pass(50);
    heard(w, 3048, 0);
    g_assert_cmpint(ask(w, 1, READ(0, 4)), ==, 0);
    g_assert_cmpint((int16_t)load_le16(buffer()), !=, 0);
    update(w);
    g_assert_cmpint(ask(w, 0, CLOSE), ==, 0);
    g_assert_cmpint(ask(w, 0, open_req(2, 2, 48000, 8192, 0)), ==, 0);
    world_free(w);
}

/* Paused, time stands still. */
static void test_pause(void)
{
    struct world *w = world_new();

    front_connects(w);
    g_assert_cmpint(ask(w, 0, ORDINARY), ==, 0);
    ramp(0, 2048, 0);
    g_assert_cmpint(ask(w, 0, WRITE(0, 4096)), ==, 0);
    g_assert_cmpint(ask(w, 0, START), ==, 0);
    pass(1);
    pv_bus_pause(w->bus);
    for (unsigned i = 0; i < 20; i++) {
        pass(10);
        g_usleep(2000);
    }
    heard(w, 96, 0);
    pv_bus_resume(w->bus);
    fake_pv_settle();
    pass(1);
    heard(w, 192, 0);
    world_free(w);
}

/* libxl waits for the offer before anything runs; there is no more than that then. */
static void test_early(void)
{
    struct world *w = g_new0(struct world, 1);

    fake_pv_host_open(&w->host);
    w->ear = add_ear(w, "vsnd0");
    w->bus = pv_bus_new(&w->host, pv_classes());
    pv_bus_pause(w->bus);
    set(w, "/local/domain/0/backend/vkbd/7/0/frontend", "/local/domain/7/device/vkbd/0");
    set(w, "/local/domain/0/backend/vkbd/7/0/frontend-id", "7");
    set(w, "/local/domain/0/backend/vkbd/7/0/state", "1");
    set(w, "/local/domain/7/device/vkbd/0/state", "1");
    g_assert_cmpint(pv_bus_start_early(w->bus, NULL), ==, 0);
    toolstack_adds(w);
    expect(w, BACK "/state", "2");
    expect(w, "/local/domain/0/backend/vkbd/7/0/state", "1");
    publish(w, 0, "0/0");
    prepare_buffer();
    front_state(w, "3");
    expect(w, BACK "/state", "2");
    pv_bus_resume(w->bus);
    g_assert_cmpint(pv_bus_start(w->bus, NULL), ==, 0);
    g_assert_cmpint(pv_bus_start_early(w->bus, NULL), ==, 0);
    fake_pv_settle();
    expect(w, BACK "/state", "4");
    expect(w, "/local/domain/0/backend/vkbd/7/0/state", "2");
    g_assert_cmpint(ask(w, 0, ORDINARY), ==, 0);
    fake_xenstore_remove(w->host.xs, "/local/domain/0/backend/vkbd/7/0");
    world_free(w);
}

static unsigned opened(const char *ears, bool used)
{
    struct world *w = g_new0(struct world, 1);
    g_auto(GStrv) ids = g_strsplit(ears, " ", 0);
    struct audio *first = NULL;
    unsigned open;

    fake_pv_host_open(&w->host);
    for (char **id = ids; *id && **id; id++) {
        struct audio *a = add_ear(w, *id);

        first = first ? first : a;
    }
    if (used) {
        first->backend.user = (struct device *)w;
    }
    w->bus = pv_bus_new(&w->host, pv_classes());
    g_assert_cmpint(pv_bus_start(w->bus, NULL), ==, 0);
    toolstack_adds(w);
    front_connects(w);
    g_assert_cmpint(ask(w, 0, ORDINARY), ==, 0);
    ramp(0, 2048, 0);
    g_assert_cmpint(ask(w, 0, WRITE(0, 4096)), ==, 0);
    g_assert_cmpint(ask(w, 0, START), ==, 0);
    pass(6);
    g_assert_cmpuint(event(w, 0), ==, 288 * 4); /* heard or not */
    open = first ? first->open : 0;
    if (used) {
        first->backend.user = NULL;
    }
    world_free(w);
    return open;
}

/* Which of the audio back ends it is. */
static void test_ends(void)
{
    g_assert_cmpuint(opened("", false), ==, 0);
    g_assert_cmpuint(opened("vsnd0", false), ==, 1);
    g_assert_cmpuint(opened("vsnd0 other", false), ==, 1);
    g_assert_cmpuint(opened("other", false), ==, 1);
    g_assert_cmpuint(opened("other", true), ==, 0);
    g_assert_cmpuint(opened("other vsnd0", false), ==, 0);
    g_assert_cmpuint(opened("other another", false), ==, 0);
}

/* It comes and goes while it plays; what it had is given back. */
static void test_reconnect(void)
{
    struct world *w = world_new();

    for (unsigned i = 0; i < 5; i++) {
        front_connects(w);
        g_assert_cmpint(ask(w, 0, ORDINARY), ==, 0);
        g_assert_cmpint(ask(w, 0, START), ==, 0);
        pass(6);
        front_state(w, i % 2 ? "1" : "6");
        g_assert_cmpuint(w->ear->open, ==, 0);
        g_assert_cmpuint(grants_mapped(w->host.grants), ==, 0);
        front_state(w, "1");
        expect(w, BACK "/state", "2");
    }
    front_connects(w);
    g_assert_cmpint(ask(w, 0, ORDINARY), ==, 0);
    g_assert_cmpint(ask(w, 0, START), ==, 0);
    world_free(w); /* the domain goes in the middle */
}

static void test_describe(void)
{
    struct world *w = world_new();
    struct facts *f = facts_new();
    g_autofree char *text = NULL;

    front_connects(w);
    g_assert_cmpint(ask(w, 0, ORDINARY), ==, 0);
    g_assert_cmpint(ask(w, 0, START), ==, 0);
    pass(6);
    pv_bus_describe(w->bus, f);
    text = facts_to_json(f);
    g_assert_nonnull(strstr(text, "vsnd0"));
    g_assert_nonnull(strstr(text, "runs, s16_le, 48000 Hz, 2 channels, buffer 4096, period 1024"));
    facts_free(f);
    world_free(w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pv/snd/play", test_play);
    g_test_add_func("/pv/snd/period", test_period);
    g_test_add_func("/pv/snd/underrun", test_underrun);
    g_test_add_func("/pv/snd/waits", test_waits);
    g_test_add_func("/pv/snd/triggers", test_triggers);
    g_test_add_func("/pv/snd/sleeps", test_sleeps);
    g_test_add_func("/pv/snd/formats", test_formats);
    g_test_add_func("/pv/snd/capture", test_capture);
    g_test_add_func("/pv/snd/volume", test_volume);
    g_test_add_func("/pv/snd/query", test_query);
    g_test_add_func("/pv/snd/streams", test_streams);
    g_test_add_func("/pv/snd/cards", test_cards);
    g_test_add_func("/pv/snd/hostile", test_hostile);
    g_test_add_func("/pv/snd/xsa-155", test_double_fetch);
    g_test_add_func("/pv/snd/xsa-216", test_answers);
    g_test_add_func("/pv/snd/event-page", test_event_page);
    g_test_add_func("/pv/snd/live-update", test_update);
    g_test_add_func("/pv/snd/pause", test_pause);
    g_test_add_func("/pv/snd/early", test_early);
    g_test_add_func("/pv/snd/ends", test_ends);
    g_test_add_func("/pv/snd/reconnect", test_reconnect);
    g_test_add_func("/pv/snd/describe", test_describe);
    return g_test_run();
}
