/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PV bus and the PV keyboard: states in every order that a front end may take, what a hostile
 * one may write, and a live update. The test is the guest and the toolstack.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>
#include <linux/input-event-codes.h>
#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/kbdif.h>

#include <xendm/backend.h>
#include <xendm/facts.h>
#include <xendm/handover.h>
#include <xendm/input.h>

#include "fake-pv.h"

#define BACK "/local/domain/0/backend/vkbd/7/0"
#define FRONT "/local/domain/7/device/vkbd/0"
#define REF 9u
#define PORT 5u

const struct backend_class *const *backend_classes(void)
{
    static const struct backend_class *const classes[] = {NULL};

    return classes;
}

struct world {
    struct pv_host host;
    struct pv_bus *bus;
    struct xenkbd_page *page;
    uint32_t cons;
    GString *ps2;
};

/* The keyboard that was there before. */
static void ps2_key(void *opaque, unsigned code, bool down)
{
    g_string_append_printf(((struct world *)opaque)->ps2, "%s%u ", down ? "+" : "-", code);
}

static void ps2_relative(void *opaque, int dx, int dy, int wheel)
{
    g_string_append_printf(((struct world *)opaque)->ps2, "rel(%d,%d) ", dx, dy);
}

static const struct input_device ps2 = {.name = "PS/2", .key = ps2_key, .relative = ps2_relative};

static void set(struct world *w, const char *path, const char *value)
{
    fake_xenstore_set(w->host.xs, path, "%s", value);
}

static void expect(struct world *w, const char *path, const char *value)
{
    g_assert_cmpstr(fake_xenstore_get(w->host.xs, path), ==, value);
}

/* As libxl does it. */
static void toolstack_adds(struct world *w)
{
    set(w, FRONT "/backend", BACK);
    set(w, FRONT "/backend-id", "0");
    set(w, FRONT "/state", "1");
    set(w, BACK "/frontend", FRONT);
    set(w, BACK "/frontend-id", "7");
    set(w, BACK "/online", "1");
    set(w, BACK "/state", "1");
}

static void front_state(struct world *w, unsigned state)
{
    fake_xenstore_set(w->host.xs, FRONT "/state", "%u", state);
    fake_pv_settle();
}

static void bus_new(struct world *w)
{
    w->bus = pv_bus_new(&w->host, pv_classes());
}

static struct world *world_new(void)
{
    struct world *w = g_new0(struct world, 1);

    fake_pv_host_open(&w->host);
    w->ps2 = g_string_new(NULL);
    input_attach(w->host.input, &ps2, w);
    toolstack_adds(w);
    bus_new(w);
    g_assert_cmpint(pv_bus_start(w->bus, NULL), ==, 0);
    fake_pv_settle();
    return w;
}

static void world_free(struct world *w)
{
    fake_xenstore_remove(w->host.xs, BACK);
    fake_pv_host_close(&w->host, w->bus);
    g_string_free(w->ps2, TRUE);
    g_free(w);
}

/* The front end's side of a connection, up to its state. */
static void front_prepares(struct world *w, bool absolute)
{
    w->page = fake_grant(REF, false);
    w->cons = 0;
    fake_xenstore_set(w->host.xs, FRONT "/page-gref", "%u", REF);
    fake_xenstore_set(w->host.xs, FRONT "/event-channel", "%u", PORT);
    if (absolute) {
        set(w, FRONT "/request-abs-pointer", "1");
    }
}

static void front_connects(struct world *w, bool absolute)
{
    front_prepares(w, absolute);
    front_state(w, 3);
    expect(w, BACK "/state", "4");
    front_state(w, 4);
}

static void expect_ps2(struct world *w, const char *text)
{
    g_assert_cmpstr(w->ps2->str, ==, text);
    g_string_truncate(w->ps2, 0);
}

static const union xenkbd_in_event *next(struct world *w)
{
    g_assert_cmpuint(w->cons, !=, w->page->in_prod);
    return &XENKBD_IN_RING_REF(w->page, w->cons++);
}

static void expect_key(struct world *w, unsigned code, unsigned pressed)
{
    const union xenkbd_in_event *e = next(w);

    g_assert_cmpuint(e->type, ==, XENKBD_TYPE_KEY);
    g_assert_cmpuint(e->key.keycode, ==, code);
    g_assert_cmpuint(e->key.pressed, ==, pressed);
}

static void expect_position(struct world *w, int x, int y, int z)
{
    const union xenkbd_in_event *e = next(w);

    g_assert_cmpuint(e->type, ==, XENKBD_TYPE_POS);
    g_assert_cmpint(e->pos.abs_x, ==, x);
    g_assert_cmpint(e->pos.abs_y, ==, y);
    g_assert_cmpint(e->pos.rel_z, ==, z);
}

static void expect_nothing(struct world *w)
{
    g_assert_cmpuint(w->cons, ==, w->page->in_prod);
}

static void read_all(struct world *w)
{
    w->cons = w->page->in_cons = w->page->in_prod;
}

static unsigned devices(struct world *w)
{
    struct facts *facts = facts_new();
    unsigned count;

    pv_bus_describe(w->bus, facts);
    count = (unsigned)strtoul(facts_find(facts, NULL, "devices"), NULL, 10);
    facts_free(facts);
    return count;
}

/* ---- what it is for ---- */

static void test_keys(void)
{
    struct world *w = world_new();

    expect(w, BACK "/state", "2");
    expect(w, BACK "/feature-abs-pointer", "1");
    expect(w, BACK "/feature-raw-pointer", "1");
    expect(w, BACK "/width", "32768");
    input_key(w->host.input, KEY_A, true);
    input_key(w->host.input, KEY_A, false);
    expect_ps2(w, "+30 -30 ");
    front_connects(w, false);
    g_assert_cmpuint(fake_evtchn_rung(PORT), ==, 0); /* nothing to say, nobody is woken */
    input_key(w->host.input, KEY_B, true);
    input_key(w->host.input, KEY_B, false);
    expect_ps2(w, "");
    expect_key(w, KEY_B, 1);
    expect_key(w, KEY_B, 0);
    g_assert_cmpuint(fake_evtchn_rung(PORT), ==, 2);
    world_free(w);
}

static void test_relative(void)
{
    struct world *w = world_new();
    const union xenkbd_in_event *e;

    front_connects(w, false);
    g_assert_false(input_is_absolute(w->host.input));
    input_relative(w->host.input, 3, -4, 1);
    input_button(w->host.input, BTN_LEFT, true);
    input_sync(w->host.input);
    e = next(w);
    g_assert_cmpuint(e->type, ==, XENKBD_TYPE_MOTION);
    g_assert_cmpint(e->motion.rel_x, ==, 3);
    g_assert_cmpint(e->motion.rel_y, ==, -4);
    g_assert_cmpint(e->motion.rel_z, ==, -1);
    expect_key(w, BTN_LEFT, 1);
    g_assert_cmpuint(fake_evtchn_rung(PORT), ==, 1);
    world_free(w);
}

static void test_absolute(void)
{
    struct world *w = world_new();

    front_connects(w, true);
    g_assert_true(input_is_absolute(w->host.input));
    input_absolute(w->host.input, INPUT_ABS_MAX, 77);
    input_relative(w->host.input, 0, 0, -1);
    input_button(w->host.input, BTN_RIGHT, true);
    input_sync(w->host.input);
    expect_position(w, INPUT_ABS_MAX, 77, 1);
    expect_key(w, BTN_RIGHT, 1);
    expect_nothing(w);
    input_absolute(w->host.input, INPUT_ABS_MAX, 77); /* it did not move */
    input_sync(w->host.input);
    expect_nothing(w);
    world_free(w);
}

/* With `width` and `height` of the toolstack's, unless the front end wants raw positions. */
static void test_scaled(void)
{
    for (unsigned raw = 0; raw < 2; raw++) {
        struct world *w = world_new();

        set(w, BACK "/width", "800");
        set(w, BACK "/height", "600");
        if (raw) {
            set(w, FRONT "/request-raw-pointer", "1");
        }
        front_connects(w, true);
        input_absolute(w->host.input, INPUT_ABS_MAX, INPUT_ABS_MAX);
        input_sync(w->host.input);
        expect_position(w, raw ? INPUT_ABS_MAX : 799, raw ? INPUT_ABS_MAX : 599, 0);
        world_free(w);
    }
}

/* None of a burst is lost: what has no room waits until the front end says that it has read. */
static void test_room(void)
{
    struct world *w = world_new();

    front_connects(w, false);
    for (unsigned i = 0; i < 100; i++) {
        input_key(w->host.input, KEY_C, i % 2 == 0);
    }
    g_assert_cmpuint(w->page->in_prod, ==, XENKBD_IN_RING_LEN);
    g_assert_cmpuint(input_keys_waiting(w->host.input), ==, 100 - XENKBD_IN_RING_LEN);
    read_all(w);
    g_assert_true(fake_evtchn_ring(PORT));
    fake_pv_settle();
    g_assert_cmpuint(w->page->in_prod, ==, 100);
    g_assert_cmpuint(input_keys_waiting(w->host.input), ==, 0);
    world_free(w);
}

/* The indices in the page are the guest's: neither is believed. */
static void test_lying_indices(void)
{
    struct world *w = world_new();

    front_connects(w, false);
    w->page->in_cons = 1; /* ahead of us */
    input_button(w->host.input, BTN_LEFT, true);
    g_assert_cmpuint(w->page->in_prod, ==, 0);
    w->page->in_cons = 0;
    w->page->in_prod = 0x80000000u;
    input_button(w->host.input, BTN_LEFT, false);
    g_assert_cmpuint(w->page->in_prod, ==, 1);
    w->page->in_cons = UINT32_MAX - 1000;
    input_relative(w->host.input, 1, 1, 0);
    g_assert_cmpuint(w->page->in_prod, ==, 1);
    world_free(w);
}

/* ---- the bus ---- */

static void test_reconnect(void)
{
    struct world *w = world_new();

    for (unsigned i = 0; i < 3; i++) {
        front_connects(w, i == 1);
        front_state(w, 5);
        expect(w, BACK "/state", "5");
        g_assert_cmpuint(grants_mapped(w->host.grants), ==, 1); /* it may use it still */
        front_state(w, 6);
        expect(w, BACK "/state", "6");
        g_assert_cmpuint(grants_mapped(w->host.grants), ==, 0);
        g_assert_cmpuint(fake_evtchn_bound(), ==, 0);
        input_key(w->host.input, KEY_A, true);
        input_key(w->host.input, KEY_A, false);
        expect_ps2(w, "+30 -30 ");
        front_state(w, 1);
        expect(w, BACK "/state", "2");
        fake_xenstore_remove(w->host.xs, FRONT "/request-abs-pointer");
    }
    world_free(w);
}

/* A kexec says nothing before it begins anew. */
static void test_kexec(void)
{
    struct world *w = world_new();

    front_connects(w, false);
    front_state(w, 1);
    expect(w, BACK "/state", "2");
    g_assert_cmpuint(fake_evtchn_bound(), ==, 0);
    front_connects(w, false);
    world_free(w);
}

/* After a suspend front ends connect without having seen that we wait. */
static void test_hasty(void)
{
    struct world *w = world_new();

    fake_xenstore_remove(w->host.xs, BACK);
    fake_pv_settle();
    front_prepares(w, false);
    set(w, BACK "/frontend", FRONT);
    set(w, BACK "/frontend-id", "7");
    set(w, BACK "/online", "1");
    set(w, FRONT "/state", "3");
    set(w, BACK "/state", "1");
    fake_pv_settle();
    expect(w, BACK "/state", "4");
    world_free(w);
}

static void test_removal(void)
{
    struct world *w = world_new();

    /* With a front end that plays along … */
    front_connects(w, false);
    set(w, BACK "/online", "0");
    set(w, BACK "/state", "5");
    fake_pv_settle();
    expect(w, BACK "/state", "5");
    front_state(w, 5);
    front_state(w, 6);
    expect(w, BACK "/state", "6");
    front_state(w, 1); /* too late */
    expect(w, BACK "/state", "6");
    fake_xenstore_remove(w->host.xs, BACK);
    fake_pv_settle();
    g_assert_cmpuint(devices(w), ==, 0);

    /* … without one … */
    toolstack_adds(w);
    fake_pv_settle();
    expect(w, BACK "/state", "2");
    set(w, BACK "/online", "0");
    set(w, BACK "/state", "5");
    fake_pv_settle();
    expect(w, BACK "/state", "6");

    /* … and by force. */
    fake_xenstore_remove(w->host.xs, BACK);
    toolstack_adds(w);
    fake_pv_settle();
    front_connects(w, false);
    fake_xenstore_remove(w->host.xs, BACK);
    fake_pv_settle();
    g_assert_cmpuint(devices(w), ==, 0);
    g_assert_cmpuint(fake_evtchn_bound(), ==, 0);
    world_free(w);
}

/* The front end's directory may go before ours does. */
static void test_front_gone(void)
{
    struct world *w = world_new();

    front_connects(w, false);
    fake_xenstore_remove(w->host.xs, FRONT);
    fake_pv_settle();
    expect(w, BACK "/state", "6");
    g_assert_cmpuint(grants_mapped(w->host.grants), ==, 0);
    world_free(w);
}

/* What xenstored does not tell changes nothing. */
static void test_xenstored_silent(void)
{
    struct world *w = world_new();

    front_connects(w, false);
    fake_xenstore_fail = EIO;
    set(w, FRONT "/state", "4");
    set(w, BACK "/online", "1");
    fake_pv_settle();
    g_assert_cmpuint(fake_evtchn_bound(), ==, 1);
    fake_xenstore_fail = 0;
    expect(w, BACK "/state", "4");
    world_free(w);
}

static void test_garbage(void)
{
    static const char *const garbage[] = {"", "-1", "4294967296", "9x", "99999", "\x01\xff"};
    static const char *const keys[] = {FRONT "/page-gref", FRONT "/event-channel"};

    for (unsigned k = 0; k < G_N_ELEMENTS(keys); k++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(garbage); i++) {
            struct world *w = world_new();

            front_prepares(w, false);
            set(w, keys[k], garbage[i]);
            front_state(w, 3);
            expect(w, BACK "/state", "5");
            g_assert_cmpuint(grants_mapped(w->host.grants), ==, 0);
            front_state(w, 1);
            expect(w, BACK "/state", "2");
            front_connects(w, false);
            world_free(w);
        }
    }
}

static void test_garbage_states(void)
{
    static const char *const garbage[] = {"", "7", "-4", "18446744073709551616", "four"};

    for (unsigned i = 0; i < G_N_ELEMENTS(garbage); i++) {
        struct world *w = world_new();

        front_connects(w, false);
        set(w, FRONT "/state", garbage[i]);
        fake_pv_settle();
        expect(w, BACK "/state", "6"); /* it is not there any more */
        world_free(w);
    }
}

static void test_refused(void)
{
    struct world *w = world_new();

    front_prepares(w, false);
    fake_grant_end(REF);
    front_state(w, 3);
    expect(w, BACK "/state", "5");
    front_state(w, 1);
    fake_grant(REF, true); /* for reading only */
    front_state(w, 3);
    expect(w, BACK "/state", "5");
    front_state(w, 1);
    front_prepares(w, false);
    fake_evtchn_fail = -ENOSPC;
    front_state(w, 3);
    expect(w, BACK "/state", "5");
    g_assert_cmpuint(grants_mapped(w->host.grants), ==, 0);
    world_free(w);
}

/* A device whose front end is not the domain we serve is not ours to serve. */
static void test_foreign(void)
{
    struct world *w = world_new();

    fake_xenstore_remove(w->host.xs, BACK);
    fake_pv_settle();
    set(w, BACK "/frontend-id", "8");
    toolstack_adds(w);
    set(w, BACK "/frontend-id", "8");
    fake_pv_settle();
    front_prepares(w, false);
    front_state(w, 3);
    expect(w, BACK "/state", "1");
    world_free(w);
}

/* What the toolstack removed, whatever we were about to write there, is not there again. */
static void test_removed_unseen(void)
{
    struct world *w = world_new();

    fake_xenstore_remove(w->host.xs, BACK);
    fake_pv_settle();
    pv_bus_pause(w->bus);
    toolstack_adds(w);
    front_prepares(w, false);
    front_state(w, 3);
    pv_bus_resume(w->bus); /* writes our keys; the watch on the front end fires first */
    fake_xenstore_remove(w->host.xs, BACK);
    fake_pv_settle();
    expect(w, BACK "/state", "");
    g_assert_null(xenstore_list(w->host.xs, BACK));
    g_assert_cmpuint(fake_evtchn_bound(), ==, 0);
    world_free(w);
}

/* One goes and another comes while nothing is served: that one is served. */
static void test_followed(void)
{
    struct world *w = world_new();

    front_connects(w, false);
    pv_bus_pause(w->bus);
    fake_xenstore_remove(w->host.xs, BACK);
    fake_pv_settle();
    toolstack_adds(w);
    fake_pv_settle();
    pv_bus_resume(w->bus);
    fake_pv_settle();
    front_connects(w, false);
    world_free(w);
}

/* However often a front end turns, xenstore is asked a bounded number of times. */
static void test_flips(void)
{
    struct world *w = world_new();

    front_prepares(w, false);
    fake_xenstore_reads = 0;
    for (unsigned i = 0; i < 5000; i++) {
        front_state(w, i % 2 ? 1 : 3);
    }
    g_assert_cmpuint(fake_xenstore_reads, <, 5000);
    world_free(w);
}

static void test_facts(void)
{
    struct world *w = world_new();
    struct facts *facts = facts_new();

    front_connects(w, true);
    pv_bus_describe(w->bus, facts);
    g_assert_cmpstr(facts_find(facts, "vkbd 0", "state"), ==, "connected");
    g_assert_cmpstr(facts_find(facts, "vkbd 0", "pointer"), ==, "absolute");
    facts_free(facts);
    world_free(w);
}

/* ---- live update ---- */

static void test_live_update(void)
{
    struct world *w = world_new();
    struct handover *h = handover_new();
    struct pv_bus *old = w->bus;

    front_connects(w, true);
    input_key(w->host.input, KEY_D, true);
    pv_bus_pause(w->bus);
    g_assert_false(pv_bus_busy(w->bus));
    g_assert_false(fake_evtchn_ring(PORT)); /* the guest goes on */
    pv_bus_hand_over(w->bus, h);
    pv_bus_free(old);
    g_assert_cmpuint(fake_evtchn_bound(), ==, 1);
    w->bus = fake_pv_take_over(&w->host, h);
    expect(w, BACK "/state", "4");
    input_key(w->host.input, KEY_D, false);
    expect_key(w, KEY_D, 1);
    expect_key(w, KEY_D, 0);
    expect_nothing(w);
    g_assert_true(input_is_absolute(w->host.input));
    handover_free(h);
    world_free(w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pv/kbd/keys", test_keys);
    g_test_add_func("/pv/kbd/relative", test_relative);
    g_test_add_func("/pv/kbd/absolute", test_absolute);
    g_test_add_func("/pv/kbd/scaled", test_scaled);
    g_test_add_func("/pv/kbd/room", test_room);
    g_test_add_func("/pv/kbd/lying-indices", test_lying_indices);
    g_test_add_func("/pv/bus/reconnect", test_reconnect);
    g_test_add_func("/pv/bus/kexec", test_kexec);
    g_test_add_func("/pv/bus/hasty", test_hasty);
    g_test_add_func("/pv/bus/removal", test_removal);
    g_test_add_func("/pv/bus/front-gone", test_front_gone);
    g_test_add_func("/pv/bus/xenstored-silent", test_xenstored_silent);
    g_test_add_func("/pv/bus/garbage", test_garbage);
    g_test_add_func("/pv/bus/garbage-states", test_garbage_states);
    g_test_add_func("/pv/bus/refused", test_refused);
    g_test_add_func("/pv/bus/foreign", test_foreign);
    g_test_add_func("/pv/bus/removed-unseen", test_removed_unseen);
    g_test_add_func("/pv/bus/followed", test_followed);
    g_test_add_func("/pv/bus/flips", test_flips);
    g_test_add_func("/pv/bus/facts", test_facts);
    g_test_add_func("/pv/kbd/live-update", test_live_update);
    return g_test_run();
}
