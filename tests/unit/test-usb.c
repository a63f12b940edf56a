/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The USB core, its bus, and tablet, mouse and keyboard on it. */
#include <errno.h>
#include <string.h>

#include <linux/input-event-codes.h>

#include <xendm/classes.h>
#include <xendm/log.h>

#include "usb-fixture.h"

#define IN_ENDPOINT 1u

static const struct device_class *const devices[] = {&usb_tablet_class, &usb_mouse_class,
                                                     &usb_kbd_class};

static unsigned le16(const uint8_t *p)
{
    return p[0] | p[1] << 8;
}

/* ---- descriptors ---- */

/* Lengths that agree with each other: the core walks them without looking. */
static void test_descriptors(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(devices); i++) {
        const struct usb_descriptors *d = devices[i]->usb->descriptors;
        const uint8_t *p = d->configuration, *end = p + le16(p + 2);
        unsigned interfaces = 0, endpoints = 0, wanted = 0, strings = 0;

        g_assert_cmpuint(d->device[0], ==, 18);
        g_assert_cmpuint(d->device[1], ==, 1);
        g_assert_cmpuint(d->device[17], ==, 1);
        while (d->strings[strings]) {
            g_assert_cmpuint(strlen(d->strings[strings]), <, 100);
            strings++;
        }
        for (unsigned at = 14; at <= 16; at++) {
            g_assert_cmpuint(d->device[at], <=, strings);
        }
        for (; p < end; p += p[0]) {
            g_assert_cmpuint(p[0], >=, 2);
            g_assert_true(p + p[0] <= end);
            interfaces += p[1] == 4;
            wanted += p[1] == 4 ? p[4] : 0;
            endpoints += p[1] == 5;
            if (p[1] == 0x21) {
                g_assert_cmpuint(le16(p + 7), ==, d->extra->length);
            }
        }
        g_assert_true(p == end);
        g_assert_cmpuint(interfaces, ==, d->configuration[4]);
        g_assert_cmpuint(endpoints, ==, wanted);
    }
}

static void test_enumeration(void)
{
    struct fake_controller *c;
    struct machine *m = usb_machine_new(&c);
    struct usb_device *dev = usb_plug(m, &usb_tablet_class, NULL);
    uint8_t data[256];
    size_t n;

    g_assert_cmpuint(c->attached, ==, 1);
    /* as drivers begin: 8 bytes, for the size of endpoint 0 */
    g_assert_cmpint(usb_control(dev, 0x80, 6, 0x100, 0, data, 8, &n), ==, USB_OK);
    g_assert_cmpuint(n, ==, 8);
    g_assert_cmpuint(data[7], ==, 8);
    g_assert_cmpint(usb_control(dev, 0x80, 6, 0x100, 0, data, 64, &n), ==, USB_OK);
    g_assert_cmpuint(n, ==, 18);
    g_assert_cmphex(le16(data + 8), ==, 0x0627);
    g_assert_cmphex(le16(data + 10), ==, 0x0001);
    g_assert_cmpint(usb_control(dev, 0, 5, 5, 0, NULL, 0, NULL), ==, USB_OK);
    g_assert_cmpuint(dev->address, ==, 5);
    g_assert_cmpint(usb_control(dev, 0x80, 6, 0x200, 0, data, 255, &n), ==, USB_OK);
    g_assert_cmpuint(n, ==, 34);
    g_assert_cmpint(usb_control(dev, 0x80, 6, 0x301, 0, NULL, 0, &n), ==, USB_OK);
    g_assert_cmpint(usb_control(dev, 0x80, 6, 0x303, 0x409, data, 255, &n), ==, USB_OK);
    g_assert_cmpuint(n, ==, 2 + 2 * strlen("QEMU USB Tablet"));
    g_assert_cmpint(data[2 + 2 * 5], ==, 'U');
    g_assert_cmpint(usb_control(dev, 0x80, 6, 0x300, 0, data, 255, &n), ==, USB_OK);
    g_assert_cmpuint(n, ==, 4);
    g_assert_cmpint(usb_control(dev, 0x80, 8, 0, 0, data, 1, &n), ==, USB_OK);
    g_assert_cmpuint(data[0], ==, 0);
    g_assert_cmpint(usb_control(dev, 0, 9, 1, 0, NULL, 0, NULL), ==, USB_OK);
    g_assert_cmpint(usb_control(dev, 0x80, 8, 0, 0, data, 1, &n), ==, USB_OK);
    g_assert_cmpuint(data[0], ==, 1);
    g_assert_cmpint(usb_control(dev, 0x81, 6, 0x2200, 0, data, 255, &n), ==, USB_OK);
    g_assert_cmpuint(n, ==, 74);
    g_assert_cmpint(usb_control(dev, 0x81, 6, 0x2100, 0, data, 255, &n), ==, USB_OK);
    g_assert_cmpuint(n, ==, 9);
    usb_port_reset(dev->port);
    g_assert_cmpuint(dev->address, ==, 0);
    g_assert_cmpuint(dev->configuration, ==, 0);
    usb_machine_free(m);
}

/* What is refused, by a table: bmRequestType, bRequest, wValue, wIndex, wLength. */
static void test_refused(void)
{
    static const struct {
        uint8_t type, request;
        uint16_t value, index, length;
    } bad[] = {
        {0x80, 6, 0x0101, 0, 18},    /* a second device descriptor */
        {0x80, 6, 0x0201, 0, 18},    /* a second configuration */
        {0x80, 6, 0x0600, 0, 10},    /* qualifier */
        {0x80, 6, 0x0f00, 0, 5},     /* BOS of a 2.0 device */
        {0x80, 6, 0x030c, 0, 255},   /* no such string */
        {0x80, 6, 0x03ff, 0, 255},   /* … */
        {0x80, 6, 0xff00, 0, 255},   /* no such descriptor */
        {0x81, 6, 0x2200, 1, 255},   /* of an interface that is not there */
        {0x81, 6, 0x2201, 0, 255},   /* a second one */
        {0x81, 6, 0x2300, 0, 255},   /* physical descriptors */
        {0x81, 6, 0x0400, 0, 255},   /* interface descriptors come with the configuration */
        {0x81, 6, 0x2200, 0x100, 9}, /* … 256 */
        {0x81, 10, 0, 1, 1},         {0x01, 11, 1, 0, 0}, /* alternate setting 1 */
        {0x82, 0, 0, 0x82, 2},       {0x82, 0, 0, 0x8181, 2},
        {0x02, 3, 0, 0x02, 0},       {0x02, 3, 1, 0x81, 0}, /* no such feature */
        {0x00, 3, 2, 0, 0},                                 /* test mode */
        {0x00, 5, 128, 0, 0},        {0x00, 9, 2, 0, 0},
        {0x00, 9, 0x101, 0, 0},      {0x00, 7, 0x100, 0, 18}, /* SET_DESCRIPTOR */
        {0x83, 0, 0, 0, 2},                                   /* recipient "other" */
        {0xc0, 1, 0, 4, 16},                                  /* vendor */
        {0xa1, 1, 0x300, 0, 8},                               /* feature report */
        {0x21, 9, 0x200, 0, 1},                               /* an output report for a tablet */
        {0x21, 11, 2, 0, 0},                                  /* protocol 2 */
        {0x21, 10, 0, 1, 0},                                  /* interface 1 */
        {0x22, 10, 0, 0, 0},                                  /* endpoint */
    };
    struct machine *m = usb_machine_new(&(struct fake_controller *){NULL});
    struct usb_device *dev = usb_plug(m, &usb_tablet_class, NULL);
    uint8_t data[256] = {0};

    usb_configure(dev, 3);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_test_message("row %u", i);
        g_assert_cmpint(usb_control(dev, bad[i].type, bad[i].request, bad[i].value, bad[i].index,
                                    data, bad[i].length, NULL),
                        ==, USB_STALL);
        /* … until the next SETUP */
        g_assert_cmpint(usb_token(dev, USB_IN, 0, data, 8, NULL), ==, USB_STALL);
        g_assert_cmpint(usb_token(dev, USB_OUT, 0, data, 8, NULL), ==, USB_STALL);
    }
    g_assert_cmpint(usb_control(dev, 0x80, 0, 0, 0, data, 2, NULL), ==, USB_OK);
    g_assert_cmpuint(dev->configuration, ==, 1);
    g_assert_cmpuint(dev->address, ==, 3);
    usb_machine_free(m);
}

static void test_features(void)
{
    struct machine *m = usb_machine_new(&(struct fake_controller *){NULL});
    struct usb_device *dev = usb_plug(m, &usb_mouse_class, NULL);
    uint8_t data[8];

    usb_configure(dev, 3);
    g_assert_cmpint(usb_control(dev, 0, 3, 1, 0, NULL, 0, NULL), ==, USB_OK);
    usb_control(dev, 0x80, 0, 0, 0, data, 2, NULL);
    g_assert_cmpuint(data[0], ==, 2);
    g_assert_cmpint(usb_control(dev, 0, 1, 1, 0, NULL, 0, NULL), ==, USB_OK);
    g_assert_false(dev->remote_wakeup);

    g_assert_cmpint(usb_token(dev, USB_IN, 1, data, 8, NULL), ==, USB_NAK);
    g_assert_cmpint(usb_control(dev, 2, 3, 0, 0x81, NULL, 0, NULL), ==, USB_OK);
    g_assert_cmpint(usb_token(dev, USB_IN, 1, data, 8, NULL), ==, USB_STALL);
    usb_control(dev, 0x82, 0, 0, 0x81, data, 2, NULL);
    g_assert_cmpuint(data[0], ==, 1);
    g_assert_cmpint(usb_control(dev, 2, 1, 0, 0x81, NULL, 0, NULL), ==, USB_OK);
    g_assert_cmpint(usb_token(dev, USB_IN, 1, data, 8, NULL), ==, USB_NAK);
    usb_machine_free(m);
}

/* ---- lengths ---- */

/*
 * XSA-335, CVE-2020-14364: a SETUP with a length above the buffer is refused, but the length was
 * stored; an IN or OUT after it read and wrote beyond. Here with each length, each direction, and
 * tokens of any size after it.
 */
static void test_xsa_335(void)
{
    struct machine *m = usb_machine_new(&(struct fake_controller *){NULL});
    struct usb_device *dev = usb_plug(m, &usb_tablet_class, NULL);
    uint8_t data[2048];

    usb_configure(dev, 3);
    for (unsigned length = 0; length <= 0xffff; length += length < 2000 ? 1 : 997) {
        for (unsigned type = 0; type < 256; type += 0x40 / 2) {
            uint8_t setup[8] = {(uint8_t)type,         9, 0, 0, 0, 0, length & 0xff,
                                (uint8_t)(length >> 8)};

            g_assert_cmpint(usb_token(dev, USB_SETUP, 0, setup, 8, NULL), ==, USB_OK);
            g_assert_cmpuint(dev->length, <=, USB_CONTROL_MAX);
            for (unsigned i = 0; i < 4; i++) {
                usb_token(dev, i & 1 ? USB_OUT : USB_IN, 0, data, i & 2 ? 2047 : 1023, NULL);
                g_assert_cmpuint(dev->at, <=, dev->length);
            }
        }
    }
    usb_machine_free(m);
}

/* A SETUP of another length than 8 is no SETUP; one in the middle of a transfer ends that. */
static void test_setup(void)
{
    static const uint8_t get[8] = {0x80, 6, 0, 1, 0, 0, 18, 0};
    struct machine *m = usb_machine_new(&(struct fake_controller *){NULL});
    struct usb_device *dev = usb_plug(m, &usb_tablet_class, NULL);
    uint8_t data[64];
    size_t n;

    memcpy(data, get, 8);
    g_assert_cmpint(usb_token(dev, USB_SETUP, 0, data, 7, NULL), ==, USB_IO_ERROR);
    g_assert_cmpint(usb_token(dev, USB_IN, 0, data, 8, NULL), ==, USB_STALL);
    for (unsigned i = 0; i < 3; i++) {
        memcpy(data, get, 8);
        g_assert_cmpint(usb_token(dev, USB_SETUP, 0, data, 8, NULL), ==, USB_OK);
        g_assert_cmpint(usb_token(dev, USB_IN, 0, data, 8, &n), ==, USB_OK);
        g_assert_cmpuint(data[0], ==, 18);
    }
    g_assert_cmpint(usb_token(dev, USB_IN, 0, data, 64, &n), ==, USB_OK);
    g_assert_cmpuint(n, ==, 10);
    g_assert_cmpint(usb_token(dev, USB_IN, 0, data, 64, &n), ==, USB_OK);
    g_assert_cmpuint(n, ==, 0);
    g_assert_cmpint(usb_token(dev, USB_SETUP, 1, data, 8, &n), ==, USB_IO_ERROR);
    /* nothing is configured: the endpoint is not there */
    g_assert_cmpint(usb_token(dev, USB_IN, 1, data, 8, &n), ==, USB_STALL);
    usb_machine_free(m);
}

/* More data than wLength said (CVE-2010-0297 was a copy by the host's length). */
static void test_out_overrun(void)
{
    uint8_t setup[8] = {0x21, 9, 0, 2, 0, 0, 4, 0}, data[1024] = {0};
    struct machine *m = usb_machine_new(&(struct fake_controller *){NULL});
    struct usb_device *dev = usb_plug(m, &usb_kbd_class, NULL);

    usb_configure(dev, 3);
    usb_token(dev, USB_SETUP, 0, setup, 8, NULL);
    g_assert_cmpint(usb_token(dev, USB_OUT, 0, data, 3, NULL), ==, USB_OK);
    g_assert_cmpint(usb_token(dev, USB_OUT, 0, data, 2, NULL), ==, USB_STALL);
    g_assert_cmpint(usb_token(dev, USB_IN, 0, data, 0, NULL), ==, USB_STALL);
    usb_machine_free(m);
}

/* ---- the bus ---- */

static void test_ports(void)
{
    struct fake_controller *c;
    struct machine *m = usb_machine_new(&c);
    g_autoptr(GError) err = NULL;
    struct usb_device *dev = usb_try_plug(m, &usb_tablet_class, "t", "3", &err);

    g_assert_no_error(err);
    g_assert_true(c->port[2].device == dev);
    g_assert_null(usb_try_plug(m, &usb_kbd_class, "k", "3", &err));
    g_assert_nonnull(strstr(err->message, "taken by t"));
    g_clear_error(&err);
    g_assert_null(usb_try_plug(m, &usb_kbd_class, "k", "5", &err));
    g_assert_nonnull(strstr(err->message, "ports 1 to 4"));
    g_clear_error(&err);
    for (unsigned i = 0; i < 3; i++) {
        usb_plug(m, &usb_mouse_class, NULL);
    }
    g_assert_null(usb_try_plug(m, &usb_kbd_class, "k", NULL, &err));
    g_assert_nonnull(strstr(err->message, "are taken"));
    g_assert_cmpuint(c->attached, ==, 4);
    device_unplug(&dev->dev);
    g_assert_cmpuint(c->detached, ==, 1);
    g_assert_null(c->port[2].device);
    usb_plug(m, &usb_kbd_class, "k");
    g_assert_nonnull(c->port[2].device);
    usb_machine_free(m);
}

/* With the controller goes what is in it, whoever is freed first. */
static void test_controller_goes(void)
{
    struct fake_controller *c;
    struct machine *m = usb_machine_new(&c);
    struct usb_device *dev = usb_plug(m, &usb_tablet_class, NULL);

    usb_configure(dev, 1);
    g_assert_true(input_is_absolute(m->input));
    device_unplug(&c->dev);
    while (m->devices->len > 0) {
        g_main_context_iteration(NULL, TRUE);
    }
    while (input_is_absolute(m->input)) {
        g_main_context_iteration(NULL, TRUE);
    }
    usb_machine_free(m);
}

/* ---- tablet, mouse ---- */

static size_t poll(struct usb_device *dev, uint8_t *report)
{
    size_t n = 0;

    memset(report, 0xee, 8);
    return usb_token(dev, USB_IN, IN_ENDPOINT, report, 8, &n) == USB_OK ? n : 0;
}

static void test_tablet(void)
{
    struct fake_controller *c;
    struct machine *m = usb_machine_new(&c);
    struct usb_device *dev = usb_plug(m, &usb_tablet_class, NULL);
    uint8_t r[8];

    g_assert_false(input_is_absolute(m->input)); /* not before the guest wants it */
    usb_configure(dev, 1);
    g_assert_true(input_is_absolute(m->input));
    g_assert_cmpuint(poll(dev, r), ==, 0);
    for (int i = 0; i < 500; i++) { /* added up: one report */
        input_absolute(m->input, i, 0x7fff - i);
    }
    input_sync(m->input);
    g_assert_cmpuint(c->wakeups, ==, 1);
    input_relative(m->input, 0, 0, 2);
    g_assert_cmpuint(poll(dev, r), ==, 6);
    g_assert_cmpuint(le16(r + 1), ==, 499);
    g_assert_cmpuint(le16(r + 3), ==, 0x7fff - 499);
    g_assert_cmpuint(r[5], ==, 2);
    g_assert_cmpuint(poll(dev, r), ==, 0);

    /* a click at one place, then a movement: the release stays where it was */
    input_button(m->input, BTN_LEFT, true);
    input_button(m->input, BTN_LEFT, false);
    input_absolute(m->input, 5, 6);
    input_sync(m->input);
    g_assert_cmpuint(poll(dev, r), ==, 6);
    g_assert_cmpuint(r[0], ==, 1);
    g_assert_cmpuint(r[5], ==, 0); /* the wheel was said */
    g_assert_cmpuint(poll(dev, r), ==, 6);
    g_assert_cmpuint(r[0], ==, 0);
    g_assert_cmpuint(le16(r + 1), ==, 499);
    g_assert_cmpuint(poll(dev, r), ==, 6);
    g_assert_cmpuint(le16(r + 1), ==, 5);
    g_assert_cmpuint(poll(dev, r), ==, 0);
    usb_port_reset(dev->port);
    g_assert_false(input_is_absolute(m->input));
    usb_machine_free(m);
}

static void test_mouse(void)
{
    struct machine *m = usb_machine_new(&(struct fake_controller *){NULL});
    struct usb_device *dev = usb_plug(m, &usb_mouse_class, NULL);
    int x = 0, reports = 0;
    uint8_t r[8];

    usb_configure(dev, 1);
    input_relative(m->input, 300, -5, -1);
    input_sync(m->input);
    while (poll(dev, r) == 4) {
        x += (int8_t)r[1];
        g_assert_cmpint((int8_t)r[3], ==, reports ? 0 : -1);
        reports++;
    }
    g_assert_cmpint(x, ==, 300);
    g_assert_cmpint(reports, ==, 3);
    usb_control(dev, 0x21, 11, 0, 0, NULL, 0, NULL); /* boot protocol */
    input_button(m->input, BTN_RIGHT, true);
    input_sync(m->input);
    g_assert_cmpuint(poll(dev, r), ==, 3);
    g_assert_cmpuint(r[0], ==, 2);
    usb_machine_free(m);
}

/* Whatever a viewer does while the guest does not look: bounded, and the last state arrives. */
static void test_flood(void)
{
    struct machine *m = usb_machine_new(&(struct fake_controller *){NULL});
    struct usb_device *dev = usb_plug(m, &usb_tablet_class, NULL);
    unsigned reports = 0, last = 0, buttons = 0;
    uint8_t r[8];

    usb_configure(dev, 1);
    for (int i = 0; i < 10001; i++) {
        input_button(m->input, BTN_LEFT, !(i & 1));
        input_absolute(m->input, i, i);
        input_relative(m->input, 0, 0, INT32_MAX);
        input_sync(m->input);
    }
    while (poll(dev, r)) {
        reports++;
        last = le16(r + 1);
        buttons = r[0];
        g_assert_cmpuint(reports, <, 100000);
    }
    g_assert_cmpuint(last, ==, 10000);
    g_assert_cmpuint(buttons, ==, 1);
    usb_machine_free(m);
}

/* ---- keyboard ---- */

static void test_keyboard(void)
{
    static const unsigned keys[] = {KEY_A, KEY_B, KEY_C, KEY_D, KEY_E, KEY_F, KEY_G};
    struct machine *m = usb_machine_new(&(struct fake_controller *){NULL});
    struct usb_device *dev = usb_plug(m, &usb_kbd_class, NULL);
    uint8_t r[8], leds = 0x03;

    usb_configure(dev, 1);
    input_key(m->input, KEY_LEFTSHIFT, true);
    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        input_key(m->input, keys[i], true);
    }
    g_assert_cmpuint(poll(dev, r), ==, 8);
    g_assert_cmphex(r[0], ==, 0x02);
    for (unsigned i = 0; i < 6; i++) {
        g_assert_cmpuint(poll(dev, r), ==, 8);
        g_assert_cmphex(r[2 + i], ==, 0x04 + i);
    }
    g_assert_cmpuint(poll(dev, r), ==, 8);
    g_assert_cmphex(r[2], ==, 0x01); /* seven: roll-over */
    g_assert_cmphex(r[7], ==, 0x01);
    input_key(m->input, KEY_A, false);
    poll(dev, r);
    g_assert_cmphex(r[2], ==, 0x05);
    g_assert_cmphex(r[7], ==, 0x0a);
    g_assert_cmpuint(poll(dev, r), ==, 0);

    g_assert_cmpint(usb_control(dev, 0x21, 9, 0x200, 0, &leds, 1, NULL), ==, USB_OK);
    g_assert_cmpuint(input_leds(m->input), ==, 0x06); /* num and caps */
    usb_machine_free(m);
}

/* A burst longer than the queue: all of it, in order, however late the guest asks. */
static void test_burst(void)
{
    struct machine *m = usb_machine_new(&(struct fake_controller *){NULL});
    struct usb_device *dev = usb_plug(m, &usb_kbd_class, NULL);
    uint8_t r[8];

    usb_configure(dev, 1);
    for (unsigned i = 0; i < 400; i++) {
        input_key(m->input, KEY_1 + i % 10, true);
        input_key(m->input, KEY_1 + i % 10, false);
    }
    for (unsigned i = 0; i < 400; i++) {
        g_assert_cmpuint(poll(dev, r), ==, 8);
        g_assert_cmphex(r[2], ==, 0x1e + i % 10);
        g_assert_cmpuint(poll(dev, r), ==, 8);
        g_assert_cmphex(r[2], ==, 0);
    }
    g_assert_cmpuint(poll(dev, r), ==, 0);
    usb_machine_free(m);
}

static void test_idle(void)
{
    struct fake_controller *c;
    struct machine *m = usb_machine_new(&c);
    struct usb_device *dev = usb_plug(m, &usb_kbd_class, NULL);
    uint8_t r[8];
    unsigned wakeups;

    usb_configure(dev, 1);
    g_assert_cmpint(usb_control(dev, 0x21, 10, 5 << 8, 0, NULL, 0, NULL), ==, USB_OK);
    fake_clock_step(m, 19 * NS_PER_MS);
    g_assert_cmpuint(poll(dev, r), ==, 0);
    wakeups = c->wakeups;
    fake_clock_step(m, NS_PER_MS);
    g_assert_cmpuint(c->wakeups, ==, wakeups + 1);
    g_assert_cmpuint(poll(dev, r), ==, 8);
    g_assert_cmpuint(poll(dev, r), ==, 0);
    usb_control(dev, 0x21, 10, 0, 0, NULL, 0, NULL);
    fake_clock_step(m, NS_PER_S);
    g_assert_cmpuint(poll(dev, r), ==, 0);
    usb_machine_free(m);
}

/* ---- saved state ---- */

/* In the middle of a control transfer, with reports waiting. */
static void test_state(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(devices); i++) {
        struct machine *m = usb_machine_new(&(struct fake_controller *){NULL});
        struct machine *n = usb_machine_new(&(struct fake_controller *){NULL});
        struct usb_device *dev = usb_plug(m, devices[i], "d"), *into = usb_plug(n, devices[i], "d");
        uint8_t setup[8] = {0x80, 6, 0, 2, 0, 0, 34, 0}, a[64], b[64];
        size_t na, nb;

        usb_configure(dev, 9);
        input_key(m->input, KEY_A, true);
        input_key(m->input, KEY_A, false);
        input_relative(m->input, 1000, -3, 1);
        input_button(m->input, BTN_LEFT, true);
        input_sync(m->input);
        usb_control(dev, 0x21, 10, 7 << 8, 0, NULL, 0, NULL);
        usb_token(dev, USB_SETUP, 0, setup, 8, NULL);
        usb_token(dev, USB_IN, 0, a, 8, NULL);
        fake_state_round_trip(&dev->dev, &into->dev);
        g_assert_cmpuint(into->address, ==, 9);
        g_assert_cmpint(usb_token(into, USB_IN, 0, b, 64, &nb), ==, USB_OK);
        usb_token(dev, USB_IN, 0, a, 64, &na);
        g_assert_cmpuint(na, ==, 26);
        g_assert_cmpmem(a, na, b, nb);
        while ((na = poll(dev, a)) > 0) {
            nb = poll(into, b);
            g_assert_cmpmem(a, na, b, nb);
        }
        g_assert_cmpuint(poll(into, b), ==, 0);
        usb_machine_free(m);
        usb_machine_free(n);
    }
}

/*
 * Streams whose control transfer is longer than the buffer, or at a place behind its end
 * (CVE-2013-4541, CVE-2014-3461): refused before anything is changed.
 */
static void test_hostile_state(void)
{
    static const struct {
        uint32_t length, at;
        uint8_t address, configuration, stage;
    } bad[] = {
        {USB_CONTROL_MAX + 1, 0, 1, 1, USB_STAGE_DATA_IN},
        {UINT32_MAX, UINT32_MAX, 1, 1, USB_STAGE_DATA_OUT},
        {8, 9, 1, 1, USB_STAGE_DATA_IN},
        {8, UINT32_MAX, 1, 1, USB_STAGE_DATA_OUT},
        {8, 0, 128, 1, USB_STAGE_IDLE},
        {8, 0, 1, 2, USB_STAGE_IDLE},
        {8, 0, 1, 1, USB_STAGE_COUNT},
    };
    struct machine *m = usb_machine_new(&(struct fake_controller *){NULL});
    struct machine *n = usb_machine_new(&(struct fake_controller *){NULL});
    struct usb_device *dev = usb_plug(m, &usb_kbd_class, "d"),
                      *into = usb_plug(n, &usb_kbd_class, "d");
    const struct device_class *class = dev->dev.class;

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GByteArray) saved = g_byte_array_new();
        g_autoptr(GError) err = NULL;
        struct state_plan *plan;

        dev->length = bad[i].length;
        dev->at = bad[i].at;
        dev->address = bad[i].address;
        dev->configuration = bad[i].configuration;
        dev->stage = bad[i].stage;
        state_save(class->state, dev, saved);
        plan = state_parse_sized(class->state, class->size, saved->data, saved->len, &err);
        g_assert_false(plan && state_fits(plan, into, &err));
        g_assert_nonnull(err);
        state_plan_free(plan);
    }
    usb_machine_free(m);
    usb_machine_free(n);
}

static void test_noise(void)
{
    GRand *rand = g_rand_new_with_seed(1);
    struct machine *m = usb_machine_new(&(struct fake_controller *){NULL});
    struct usb_device *dev[G_N_ELEMENTS(devices)];
    uint8_t data[2048];

    log_set_level("all", "error");
    for (unsigned i = 0; i < G_N_ELEMENTS(devices); i++) {
        dev[i] = usb_plug(m, devices[i], NULL);
    }
    for (unsigned i = 0; i < 60000; i++) {
        static const enum usb_pid pids[] = {USB_SETUP, USB_IN, USB_OUT};
        struct usb_device *d = dev[g_rand_int_range(rand, 0, G_N_ELEMENTS(devices))];
        uint8_t setup[8] = {(uint8_t)(g_rand_int(rand) & 0xe3), (uint8_t)(g_rand_int(rand) & 0xf)};

        for (unsigned b = 2; b < 8; b++) {
            setup[b] = g_rand_boolean(rand) ? 0 : (uint8_t)g_rand_int(rand);
        }
        memcpy(data, setup, sizeof(setup));
        usb_token(d, pids[g_rand_int_range(rand, 0, 3)], (unsigned)g_rand_int_range(rand, 0, 3),
                  data, (size_t)(g_rand_boolean(rand) ? 8 : g_rand_int_range(rand, 0, 2048)), NULL);
        input_key(m->input, (unsigned)g_rand_int_range(rand, 0, 400), g_rand_boolean(rand));
        input_absolute(m->input, (int)g_rand_int(rand), (int)g_rand_int(rand));
        input_relative(m->input, (int)g_rand_int(rand), (int)g_rand_int(rand),
                       (int)g_rand_int(rand));
        input_button(m->input, BTN_LEFT + (unsigned)g_rand_int_range(rand, 0, 5),
                     g_rand_boolean(rand));
        fake_clock_step(m, g_rand_int_range(rand, 0, 3000000));
    }
    g_rand_free(rand);
    usb_machine_free(m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/usb/descriptors", test_descriptors);
    g_test_add_func("/usb/enumeration", test_enumeration);
    g_test_add_func("/usb/refused", test_refused);
    g_test_add_func("/usb/features", test_features);
    g_test_add_func("/usb/xsa-335", test_xsa_335);
    g_test_add_func("/usb/setup", test_setup);
    g_test_add_func("/usb/out-overrun", test_out_overrun);
    g_test_add_func("/usb/ports", test_ports);
    g_test_add_func("/usb/controller-goes", test_controller_goes);
    g_test_add_func("/usb/tablet", test_tablet);
    g_test_add_func("/usb/mouse", test_mouse);
    g_test_add_func("/usb/flood", test_flood);
    g_test_add_func("/usb/keyboard", test_keyboard);
    g_test_add_func("/usb/burst", test_burst);
    g_test_add_func("/usb/idle", test_idle);
    g_test_add_func("/usb/state", test_state);
    g_test_add_func("/usb/hostile-state", test_hostile_state);
    g_test_add_func("/usb/noise", test_noise);
    return g_test_run();
}
