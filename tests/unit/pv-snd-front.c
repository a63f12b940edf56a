/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include <xendm/backend.h>
#include <xendm/bytes.h>

#include "pv-snd-front.h"

/* ---- the clock ---- */

gint64 now_us = 5000000;

gint64 g_get_monotonic_time(void)
{
    return now_us;
}

/* ---- the ear ---- */

static int ear_open(struct backend *b, const struct handover *from, GError **err)
{
    ((struct audio *)b)->heard = g_array_new(FALSE, FALSE, sizeof(int16_t));
    return 0;
}

static void ear_close(struct backend *b)
{
    struct audio *a = (struct audio *)b;

    g_assert_cmpuint(a->open, ==, 0);
    g_array_unref(a->heard);
}

static const struct backend_class ear_class = {.kind = BACKEND_AUDIO,
                                               .driver = "ear",
                                               .size = sizeof(struct audio),
                                               .open = ear_open,
                                               .close = ear_close};

const struct backend_class *const *backend_classes(void)
{
    static const struct backend_class *const classes[] = {&ear_class, NULL};

    return classes;
}

/* ---- the world ---- */

void set(struct world *w, const char *path, const char *value)
{
    fake_xenstore_set(w->host.xs, path, "%s", value);
}

void set_front(struct world *w, const char *key, const char *value)
{
    g_autofree char *path = g_strconcat(FRONT "/", key, NULL);

    set(w, path, value);
}

void expect(struct world *w, const char *path, const char *value)
{
    g_assert_cmpstr(fake_xenstore_get(w->host.xs, path), ==, value);
}

struct audio *add_ear(struct world *w, const char *id)
{
    struct object_desc *o = object_desc_make(OBJECT_BACKEND, BACKEND_AUDIO, "ear", id, NULL);
    GError *err = NULL;
    struct backend *b = backend_add(w->host.backends, o, NULL, &err);

    g_assert_no_error(err);
    object_desc_free(o);
    return (struct audio *)b;
}

void toolstack_adds(struct world *w)
{
    set(w, FRONT "/backend", BACK);
    set(w, FRONT "/state", "1");
    set_front(w, "0/0/type", "p");
    set_front(w, "0/0/unique-id", "0");
    set(w, BACK "/frontend", FRONT);
    set(w, BACK "/frontend-id", "7");
    set(w, BACK "/online", "1");
    set(w, BACK "/state", "1");
    fake_pv_settle();
}

void front_state(struct world *w, const char *state)
{
    now_us += G_TIME_SPAN_SECOND; /* states are not looked at as often as one likes */
    set(w, FRONT "/state", state);
    fake_pv_settle();
}

void publish(struct world *w, unsigned n, const char *stream)
{
    static const char *const keys[] = {"ring-ref", "evt-ring-ref", "event-channel",
                                       "evt-event-channel"};
    const unsigned values[] = {RING(n), EVENTS(n), PORT(n), PORT(n) + 1};
    uint32_t *ring = fake_grant(RING(n), false);

    ring[1] = ring[3] = 1; /* req_event, rsp_event */
    fake_grant(EVENTS(n), false);
    w->prod[n] = w->seen[n] = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        g_autofree char *path = g_strdup_printf(FRONT "/%s/%s", stream, keys[i]);

        fake_xenstore_set(w->host.xs, path, "%u", values[i]);
    }
}

/* The directory of the buffer, and its pages. */
void prepare_buffer(void)
{
    uint32_t *page = fake_grant(DIRECTORY, false);

    for (uint32_t i = 0; i < PAGES; i++) {
        fake_grant(DATA + i, false);
        page[1 + i] = DATA + i;
    }
}

void front_connects(struct world *w)
{
    publish(w, 0, "0/0");
    prepare_buffer();
    front_state(w, "3");
    expect(w, BACK "/state", "4");
    front_state(w, "4");
}

struct world *world_of(const char *ear)
{
    struct world *w = g_new0(struct world, 1);

    fake_pv_host_open(&w->host);
    w->ear = ear ? add_ear(w, ear) : NULL;
    w->bus = pv_bus_new(&w->host, pv_classes());
    g_assert_cmpint(pv_bus_start(w->bus, NULL), ==, 0);
    toolstack_adds(w);
    expect(w, BACK "/state", "2");
    expect(w, BACK "/versions", "2");
    return w;
}

struct world *world_new(void)
{
    return world_of("vsnd0");
}

void world_free(struct world *w)
{
    if (w->ear) {
        g_assert_cmpuint(w->ear->beside, >=, w->ear->open);
    }
    fake_xenstore_remove(w->host.xs, BACK);
    fake_pv_host_close(&w->host, w->bus);
    g_free(w);
}

/* ---- the front end ---- */

uint32_t *index_of(unsigned n, unsigned which)
{
    return (uint32_t *)fake_grant_page(RING(n)) + which; /* req_prod, req_event, rsp_prod, … */
}

void put(struct world *w, unsigned n, struct xensnd_req r)
{
    r.id = w->id++;
    memcpy((uint8_t *)fake_grant_page(RING(n)) + 64 + w->prod[n]++ % 32 * 64, &r, sizeof(r));
    *index_of(n, 0) = w->prod[n];
}

void ring_bell(unsigned n)
{
    fake_evtchn_ring(PORT(n));
    fake_pv_settle();
}

/* Of the request before last, when `back` is 1. */
struct xensnd_resp answer(struct world *w, unsigned n, uint32_t back)
{
    struct xensnd_resp a;

    g_assert_cmpuint(*index_of(n, 2), >=, w->prod[n] - back);
    memcpy(&a, (uint8_t *)fake_grant_page(RING(n)) + 64 + (w->prod[n] - 1 - back) % 32 * 64,
           sizeof(a));
    g_assert_cmpuint(a.id, ==, (uint16_t)(w->id - 1 - back));
    return a;
}

struct xensnd_resp ask_for(struct world *w, unsigned n, struct xensnd_req r)
{
    struct xensnd_resp a;

    put(w, n, r);
    ring_bell(n);
    a = answer(w, n, 0);
    g_assert_cmpuint(a.operation, ==, r.operation);
    return a;
}

int ask(struct world *w, unsigned n, struct xensnd_req r)
{
    return ask_for(w, n, r).status;
}

struct xensnd_req open_req(unsigned format, unsigned channels, uint32_t rate, uint32_t buffer,
                           uint32_t period)
{
    struct xensnd_req r = {.operation = XENSND_OP_OPEN};

    r.op.open = (struct xensnd_open_req){.pcm_rate = rate,
                                         .pcm_format = (uint8_t)format,
                                         .pcm_channels = (uint8_t)channels,
                                         .buffer_sz = buffer,
                                         .gref_directory = DIRECTORY,
                                         .period_sz = period};
    return r;
}

struct xensnd_req rw(unsigned operation, uint32_t offset, uint32_t length)
{
    struct xensnd_req r = {.operation = (uint8_t)operation};

    r.op.rw = (struct xensnd_rw_req){offset, length};
    return r;
}

struct xensnd_req trigger(unsigned type)
{
    struct xensnd_req r = {.operation = XENSND_OP_TRIGGER};

    r.op.trigger.type = (uint8_t)type;
    return r;
}

uint8_t *buffer(void)
{
    return fake_grant_page(DATA);
}

void pass(double ms)
{
    now_us += (gint64)(ms * 1000);
    ring_bell(0);
}

/* The next event's position. */
uint64_t event(struct world *w, unsigned n)
{
    const struct xensnd_event_page *page = fake_grant_page(EVENTS(n));
    struct xensnd_evt e;

    g_assert_cmpuint(page->in_prod, >, w->seen[n]);
    memcpy(&e, &XENSND_IN_RING_REF(page, w->seen[n]), sizeof(e));
    g_assert_cmpuint(e.id, ==, (uint16_t)w->seen[n]++);
    g_assert_cmpuint(e.type, ==, XENSND_EVT_CUR_POS);
    return e.op.cur_pos.position;
}

bool no_event(struct world *w, unsigned n)
{
    return ((const struct xensnd_event_page *)fake_grant_page(EVENTS(n)))->in_prod == w->seen[n];
}

void heard(struct world *w, unsigned samples, int16_t first)
{
    g_assert_cmpuint(w->ear->heard->len, ==, samples);
    for (unsigned i = 0; i < samples; i++) {
        g_assert_cmpint(g_array_index(w->ear->heard, int16_t, i), ==, (int16_t)(first + i));
    }
}

void ramp(unsigned offset, unsigned samples, int16_t first)
{
    for (unsigned i = 0; i < samples; i++) {
        store_le16(buffer() + offset + 2 * i, (uint16_t)(first + i));
    }
}
