/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PV USB host controller: requests in pieces, plugs and unplugs, unlinking, what a hostile
 * front end may write, and a live update. The device is the test's.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <glib.h>
#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/usbif.h>

#include <xendm/backend-classes.h>
#include <xendm/backend.h>
#include <xendm/bytes.h>
#include <xendm/handover.h>

#include "fake-pv.h"
#include "fake-usb-host.h"

#define BACK "/local/domain/0/backend/qusb/7/0"
#define FRONT "/local/domain/7/device/vusb/0"
#define URB_REF 1u
#define CONN_REF 2u
#define DATA_REF 10u
#define PORT 5u
#define BULK_OUT (3u << 30 | 2u << 15 | 1u)
#define BULK_IN (BULK_OUT | USBIF_PIPE_DIR)
#define CONTROL (2u << 30 | 1u)

const struct backend_class *const *backend_classes(void)
{
    static const struct backend_class *const classes[] = {NULL};

    return classes;
}

struct world {
    struct pv_host host;
    struct pv_bus *bus;
    uint8_t *urbs, *conns;
    uint32_t urb_prod, conn_prod, urb_seen, conn_seen;
};

static void set(struct world *w, const char *path, const char *value)
{
    fake_xenstore_set(w->host.xs, path, "%s", value);
    fake_pv_settle();
}

static void expect(struct world *w, const char *path, const char *value)
{
    g_assert_cmpstr(fake_xenstore_get(w->host.xs, path), ==, value);
}

static uint32_t *index_of(uint8_t *page, unsigned n)
{
    return (uint32_t *)(void *)page + n; /* req_prod, req_event, rsp_prod, rsp_event */
}

static void ring(void)
{
    fake_evtchn_ring(PORT);
    fake_pv_settle();
}

static void offer_events(struct world *w, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const uint16_t id[2] = {(uint16_t)w->conn_prod, 0};

        memcpy(w->conns + 64 + (w->conn_prod++ % 512) * 4, id, sizeof(id));
    }
    *index_of(w->conns, 0) = w->conn_prod;
    ring();
}

static void front_connects(struct world *w)
{
    w->urbs = fake_grant(URB_REF, false);
    w->conns = fake_grant(CONN_REF, false);
    memset(w->urbs, 0, 4096);
    memset(w->conns, 0, 4096);
    w->urb_prod = w->conn_prod = w->urb_seen = w->conn_seen = 0;
    for (uint32_t i = 0; i < 32; i++) {
        fake_grant(DATA_REF + i, false);
    }
    fake_xenstore_set(w->host.xs, FRONT "/urb-ring-ref", "%u", URB_REF);
    fake_xenstore_set(w->host.xs, FRONT "/conn-ring-ref", "%u", CONN_REF);
    fake_xenstore_set(w->host.xs, FRONT "/event-channel", "%u", PORT);
    set(w, FRONT "/state", "4");
    expect(w, BACK "/state", "4");
}

static struct world *world_new(const char *where)
{
    struct world *w = g_new0(struct world, 1);

    fake_pv_host_open(&w->host);
    w->bus = pv_bus_new(&w->host, pv_classes());
    g_assert_cmpint(pv_bus_start(w->bus, NULL), ==, 0);
    set(w, FRONT "/state", "1");
    set(w, BACK "/frontend", FRONT);
    set(w, BACK "/frontend-id", "7");
    set(w, BACK "/usb-ver", "2");
    set(w, BACK "/num-ports", "2");
    set(w, BACK "/port/1", where);
    set(w, BACK "/port/2", "");
    set(w, BACK "/online", "1");
    set(w, BACK "/state", "1");
    expect(w, BACK "/state", "2");
    g_assert_cmpuint(fake_usb_hosts, ==, 0); /* nobody is there for it */
    return w;
}

static void world_free(struct world *w)
{
    fake_xenstore_remove(w->host.xs, BACK);
    fake_pv_host_close(&w->host, w->bus);
    g_assert_cmpuint(fake_usb_hosts, ==, 0);
    g_free(w);
}

static void expect_event(struct world *w, unsigned port, unsigned speed)
{
    struct usbif_conn_response r;

    g_assert_cmpuint(*index_of(w->conns, 2), >, w->conn_seen);
    memcpy(&r, w->conns + 64 + (w->conn_seen % 512) * 4, sizeof(r));
    g_assert_cmpuint(r.id, ==, w->conn_seen++);
    g_assert_cmpuint(r.portnum, ==, port);
    g_assert_cmpuint(r.speed, ==, speed);
}

static void expect_no_event(struct world *w)
{
    g_assert_cmpuint(*index_of(w->conns, 2), ==, w->conn_seen);
}

static struct world *world_with_device(void)
{
    struct world *w = world_new("1-2");

    front_connects(w);
    offer_events(w, 8);
    expect_event(w, 1, USBIF_SPEED_FULL);
    return w;
}

/* Of whole pages from DATA_REF on. */
static struct usbif_urb_request request(uint16_t id, uint32_t pipe, unsigned length)
{
    struct usbif_urb_request r = {.id = id, .pipe = pipe, .buffer_length = (uint16_t)length};

    for (unsigned at = 0; at < length; at += 4096) {
        r.seg[r.nr_buffer_segs++] =
            (struct usbif_request_segment){DATA_REF + at / 4096, 0,
                                           (uint16_t)MIN(length - at, 4096u)};
    }
    return r;
}

static void put(struct world *w, const struct usbif_urb_request *r)
{
    memcpy(w->urbs + 64 + (w->urb_prod++ % 16) * 148, r, sizeof(*r));
    *index_of(w->urbs, 0) = w->urb_prod;
}

static void send(struct world *w, struct usbif_urb_request r)
{
    put(w, &r);
    ring();
}

static void expect_answer(struct world *w, uint16_t id, int status, int length)
{
    struct usbif_urb_response r;

    g_assert_cmpuint(*index_of(w->urbs, 2), >, w->urb_seen);
    memcpy(&r, w->urbs + 64 + (w->urb_seen++ % 16) * 148, sizeof(r));
    g_assert_cmpuint(r.id, ==, id);
    g_assert_cmpint(r.status, ==, status);
    g_assert_cmpint(r.actual_length, ==, length);
}

static void expect_no_answer(struct world *w)
{
    g_assert_cmpuint(*index_of(w->urbs, 2), ==, w->urb_seen);
}

static struct usbif_urb_request unlinking(uint16_t id, uint16_t which)
{
    struct usbif_urb_request r = request(id, USBIF_PIPE_UNLINK | 1, 0);

    r.u.unlink.unlink_id = which;
    return r;
}

/* ---- tests ---- */

static void test_requests(void)
{
    struct world *w = world_with_device();
    struct usbif_urb_request r = request(1, BULK_OUT, 5000);

    memset(fake_grant_page(DATA_REF), 1, 4096);
    memset(fake_grant_page(DATA_REF + 1), 2, 4096);
    send(w, r);
    g_assert_cmpuint(fake_usb_request.length, ==, 5000);
    g_assert_cmpuint(fake_usb_request.endpoint, ==, 2);
    g_assert_true(fake_usb_memory()[4095] == 1 && fake_usb_memory()[4999] == 2);
    expect_no_answer(w);
    fake_usb_answer(0, USB_HOST_OK, 5000);
    expect_answer(w, 1, USBIF_STATUS_OK, 5000);

    r = request(2, BULK_IN, 5000);
    r.seg[0].offset = 96;
    r.seg[0].length = 4000;
    r.seg[1].length = 1000;
    send(w, r);
    memset(fake_usb_memory(), 3, 4500);
    fake_usb_answer(0, USB_HOST_OK, 4500); /* short */
    expect_answer(w, 2, USBIF_STATUS_OK, 4500);
    g_assert_true(((uint8_t *)fake_grant_page(DATA_REF))[95] == 1);
    g_assert_true(((uint8_t *)fake_grant_page(DATA_REF))[96] == 3);
    g_assert_true(((uint8_t *)fake_grant_page(DATA_REF + 1))[499] == 3);
    g_assert_true(((uint8_t *)fake_grant_page(DATA_REF + 1))[500] == 2);

    r = request(3, CONTROL | USBIF_PIPE_DIR, 255);
    store_le16(r.u.ctrl + 6, 18);
    r.u.ctrl[0] = 0x80;
    r.u.ctrl[1] = 6;
    send(w, r);
    g_assert_cmpuint(fake_usb_request.length, ==, 18);
    fake_usb_answer(0, USB_HOST_STALL, 0);
    expect_answer(w, 3, USBIF_STATUS_STALL, 0);
    world_free(w);
}

static void test_address(void)
{
    struct world *w = world_with_device();
    struct usbif_urb_request r = request(1, CONTROL, 0);

    r.u.ctrl[1] = 5;
    r.u.ctrl[2] = 9;
    send(w, r);
    expect_answer(w, 1, USBIF_STATUS_OK, 0);
    send(w, request(2, BULK_IN | 9 << 8, 64));
    expect_no_answer(w);
    send(w, request(3, BULK_IN | 8 << 8, 64));
    expect_answer(w, 3, USBIF_STATUS_NODEV, 0);
    send(w, request(4, (BULK_IN & ~31u) | 9 << 8 | 2, 64)); /* by its address, in any port */
    expect_no_answer(w);
    send(w, request(5, BULK_IN + 1, 64)); /* a port that is empty */
    expect_answer(w, 5, USBIF_STATUS_NODEV, 0);
    world_free(w);
}

static void test_plugs(void)
{
    struct world *w = world_new("");

    front_connects(w);
    offer_events(w, 1);
    expect_no_event(w);
    set(w, BACK "/port/2", "1-3");
    expect_event(w, 2, USBIF_SPEED_FULL);
    fake_usb_speed = USB_HIGH;
    set(w, BACK "/port/2", "1-4"); /* another one; there is no room for the word */
    expect_no_event(w);
    send(w, request(1, BULK_OUT + 1, 4)); /* it is meant for the one before */
    expect_answer(w, 1, USBIF_STATUS_NODEV, 0);
    offer_events(w, 3);
    expect_event(w, 2, USBIF_SPEED_NONE);
    expect_event(w, 2, USBIF_SPEED_HIGH);
    fake_usb_end();
    expect_event(w, 2, USBIF_SPEED_NONE);
    set(w, BACK "/port/2", "");
    offer_events(w, 3);
    expect_no_event(w);
    fake_usb_speed = USB_FULL;
    set(w, BACK "/port/1", "none");
    fake_usb_refuses = true;
    set(w, BACK "/port/1", "1-9");
    fake_usb_refuses = false;
    expect_no_event(w);
    world_free(w);
}

static void test_unlink(void)
{
    struct world *w = world_with_device();

    for (uint16_t i = 1; i <= 4; i++) {
        send(w, request(i, BULK_IN, 64));
    }
    send(w, unlinking(10, 3));
    expect_answer(w, 10, USBIF_STATUS_OK, 0);
    send(w, unlinking(11, 3));
    expect_answer(w, 11, USBIF_STATUS_OK, 0);
    send(w, unlinking(12, 99));
    expect_answer(w, 12, USBIF_STATUS_OK, 0);
    g_assert_cmpuint(fake_usb_in_flight(), ==, 3);
    fake_usb_answer(2, USB_HOST_OK, 64);
    expect_answer(w, 3, USBIF_STATUS_SHUTDOWN, 0);
    world_free(w);
}

static void test_hostile(void)
{
    struct world *w = world_with_device();
    struct usbif_urb_request r = request(1, BULK_OUT, 100);
    unsigned submitted = fake_usb_submitted;

    r.nr_buffer_segs = 17;
    send(w, r);
    expect_answer(w, 1, USBIF_STATUS_INVAL, 0);
    r.nr_buffer_segs = 1;
    r.seg[0].length = 99;
    send(w, r);
    expect_answer(w, 1, USBIF_STATUS_INVAL, 0);
    r.seg[0] = (struct usbif_request_segment){DATA_REF, 4000, 100};
    send(w, r);
    expect_answer(w, 1, USBIF_STATUS_INVAL, 0);
    r.seg[0] = (struct usbif_request_segment){DATA_REF, 65535, 65535};
    send(w, r);
    expect_answer(w, 1, USBIF_STATUS_INVAL, 0);
    r.seg[0] = (struct usbif_request_segment){599, 0, 100}; /* not granted */
    send(w, r);
    expect_answer(w, 1, USBIF_STATUS_IOERROR, 0);
    send(w, request(2, BULK_OUT & 0x3fffffff, 100)); /* isochronous */
    expect_answer(w, 2, USBIF_STATUS_INVAL, 0);
    r = request(3, CONTROL, 10);
    store_le16(r.u.ctrl + 6, 11);
    send(w, r);
    expect_answer(w, 3, USBIF_STATUS_INVAL, 0);
    g_assert_cmpuint(fake_usb_submitted, ==, submitted);
    send(w, request(4, BULK_IN, 100));
    fake_grant_end(DATA_REF);
    fake_usb_answer(0, USB_HOST_OK, 100);
    expect_answer(w, 4, USBIF_STATUS_IOERROR, 0);
    world_free(w);
}

/* What was taken has no answer yet: then the ring has less room than its size. */
static void test_indices(void)
{
    static const uint32_t more[] = {17, 5, 0x80000000, 0xffffffff};
    struct world *w = world_with_device();

    for (unsigned n = 0; n < G_N_ELEMENTS(more); n++) {
        for (uint16_t i = 0; i < 12; i++) {
            send(w, request(i, BULK_IN, 64));
        }
        *index_of(w->urbs, 0) = w->urb_prod + more[n];
        ring();
        expect(w, BACK "/state", "5");
        while (fake_usb_answer(0, USB_HOST_OK, 64)) {
        }
        set(w, FRONT "/state", "6");
        expect(w, BACK "/state", "6");
        set(w, FRONT "/state", "1");
        front_connects(w);
        offer_events(w, 8);
        expect_event(w, 1, USBIF_SPEED_FULL);
    }
    *index_of(w->conns, 0) = w->conn_prod + 600;
    ring();
    expect(w, BACK "/state", "5");
    world_free(w);
}

static struct world *racing;

static void other_cpu(void)
{
    memset(racing->urbs + 64, 0xff, 16 * 148);
}

/* The entry is copied once: what the guest writes there while it is worked on does not count. */
static void test_xsa_155(void)
{
    struct world *w = world_with_device();

    racing = w;
    fake_grant_copying = other_cpu;
    send(w, request(7, BULK_OUT, 5000));
    fake_grant_copying = NULL;
    g_assert_cmpuint(fake_usb_request.length, ==, 5000);
    g_assert_cmpuint(fake_usb_request.type, ==, USB_HOST_BULK);
    fake_usb_answer(0, USB_HOST_OK, 5000);
    expect_answer(w, 7, USBIF_STATUS_OK, 5000);
    world_free(w);
}

static void test_disconnect(void)
{
    struct world *w = world_with_device();

    for (uint16_t i = 0; i < 16; i++) {
        send(w, request(i, BULK_IN, 64));
    }
    set(w, FRONT "/state", "6");
    expect(w, BACK "/state", "6");
    g_assert_cmpuint(fake_usb_resets(), ==, 1);
    set(w, FRONT "/state", "1");
    front_connects(w);
    offer_events(w, 4);
    expect_event(w, 1, USBIF_SPEED_FULL);
    send(w, request(1, BULK_IN, 64)); /* all slots are those of the one before still */
    expect_no_answer(w);
    g_assert_cmpuint(fake_usb_in_flight(), ==, 0);
    memset(fake_grant_page(DATA_REF), 9, 64);
    fake_usb_answer(0, USB_HOST_OK, 64);
    g_assert_true(((uint8_t *)fake_grant_page(DATA_REF))[0] == 9);
    g_assert_cmpuint(fake_usb_in_flight(), ==, 1);
    expect_no_answer(w);
    g_assert_cmpuint(fake_usb_hosts, ==, 1);
    world_free(w);
}

static void test_update(void)
{
    struct world *w = world_with_device();
    struct handover *left = handover_new();

    send(w, request(1, BULK_IN, 64));
    send(w, request(2, BULK_OUT, 64));
    pv_bus_pause(w->bus);
    g_assert_false(fake_usb_answer(0, USB_HOST_OK, 64)); /* nobody listens */
    send(w, request(3, BULK_IN, 64));
    set(w, BACK "/port/2", "1-5");
    g_assert_false(pv_bus_busy(w->bus));
    pv_bus_hand_over(w->bus, left);
    pv_bus_free(w->bus);
    w->bus = fake_pv_take_over(&w->host, left);
    handover_free(left);
    fake_pv_settle();
    expect_event(w, 2, USBIF_SPEED_FULL);
    set(w, BACK "/port/2", ""); /* the other one is the newest again */
    expect_event(w, 2, USBIF_SPEED_NONE);
    expect_no_answer(w);
    world_free(w);
}

/* Answers go where the program before wanted them. */
static void test_update_answers(void)
{
    struct world *w = world_with_device();
    struct handover *left = handover_new();

    send(w, request(1, BULK_IN, 64));
    send(w, request(2, BULK_IN, 64));
    pv_bus_pause(w->bus);
    pv_bus_hand_over(w->bus, left);
    pv_bus_free(w->bus);
    w->bus = fake_pv_take_over(&w->host, left);
    handover_free(left);
    fake_usb_slot = 1;
    memset(fake_usb_memory(), 5, 64);
    fake_usb_answer(1, USB_HOST_OK, 64);
    expect_answer(w, 2, USBIF_STATUS_OK, 64);
    g_assert_true(((uint8_t *)fake_grant_page(DATA_REF))[63] == 5);
    fake_usb_answer(0, USB_HOST_OK, 10);
    expect_answer(w, 1, USBIF_STATUS_OK, 10);
    expect_no_event(w);
    world_free(w);
}

static void test_refused(void)
{
    struct world *w = world_new("1-2");

    set(w, FRONT "/state", "6");
    set(w, BACK "/num-ports", "32");
    set(w, BACK "/state", "1");
    set(w, FRONT "/state", "1");
    expect(w, BACK "/state", "6");
    set(w, BACK "/num-ports", "31");
    set(w, BACK "/usb-ver", "3");
    set(w, BACK "/state", "1");
    expect(w, BACK "/state", "6");
    world_free(w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pv/usb/requests", test_requests);
    g_test_add_func("/pv/usb/address", test_address);
    g_test_add_func("/pv/usb/plugs", test_plugs);
    g_test_add_func("/pv/usb/unlink", test_unlink);
    g_test_add_func("/pv/usb/hostile", test_hostile);
    g_test_add_func("/pv/usb/indices", test_indices);
    g_test_add_func("/pv/usb/xsa-155", test_xsa_155);
    g_test_add_func("/pv/usb/disconnect", test_disconnect);
    g_test_add_func("/pv/usb/live-update", test_update);
    g_test_add_func("/pv/usb/live-update-answers", test_update_answers);
    g_test_add_func("/pv/usb/refused", test_refused);
    return g_test_run();
}
