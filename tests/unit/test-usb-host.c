/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hw/usb/host.c: the guest's packets; the device of the host is the test (fake-usb-host.h). */
#include <string.h>

#include <xendm/classes.h>
#include <xendm/handover.h>
#include <xendm/log.h>
#include <xendm/machine.h>

#include "fake-usb-host.h"
#include "usb-fixture.h"

#define WHOLE 65536u

static struct fake_controller *controller;

/* The only one here. */
const struct device_class *device_class_find(const char *name)
{
    return strcmp(name, usb_host_class.name) == 0 ? &usb_host_class : NULL;
}

static struct usb_device *host(struct machine *m, unsigned speeds)
{
    struct object_desc *o =
        object_desc_make(OBJECT_DEVICE, 0, "usb-host", "h", "hostbus", "1", "hostaddr", "2", NULL);
    g_autoptr(GError) err = NULL;
    struct device *dev;

    for (unsigned i = 0; i < FAKE_PORTS; i++) {
        controller->port[i].speeds = speeds;
    }
    dev = device_plug(m, o, &err);
    g_assert_no_error(err);
    object_desc_free(o);
    machine_complete(m);
    machine_start(m);
    fake_usb_ready();
    return DEVICE_CAST(struct usb_device, dev);
}

static struct machine *new_machine(enum usb_speed speed, unsigned others, unsigned port,
                                   struct usb_device **dev)
{
    struct machine *m = usb_machine_new(&controller);

    fake_usb_late = true;
    fake_usb_speed = speed;
    fake_usb_speeds = others;
    *dev = host(m, port);
    return m;
}

static void settle(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

static void end(struct machine *m)
{
    settle();
    usb_machine_free(m);
    g_assert_cmpuint(fake_usb_hosts, ==, 0);
}

static size_t behind(const struct usb_packet *p)
{
    return *(const size_t *)p->controller;
}

static enum usb_status token(struct usb_device *dev, enum usb_pid pid, unsigned endpoint,
                             void *data, size_t length, size_t more, size_t *done)
{
    struct usb_packet p = {.pid = pid,
                           .endpoint = (uint8_t)endpoint,
                           .data = data,
                           .length = length,
                           .behind = behind,
                           .controller = &more};
    enum usb_status status = usb_handle(dev, &p);

    g_assert_cmpuint(p.done, <=, length);
    if (done) {
        *done = p.done;
    }
    return status;
}

static void send_setup(struct usb_device *dev, uint8_t type, uint8_t request, uint16_t value,
                       uint16_t index, uint16_t length)
{
    uint8_t setup[8] = {type,          request,
                        value & 0xff,  (uint8_t)(value >> 8),
                        index & 0xff,  (uint8_t)(index >> 8),
                        length & 0xff, (uint8_t)(length >> 8)};

    g_assert_cmpint(token(dev, USB_SETUP, 0, setup, 8, false, NULL), ==, USB_OK);
}

/* ---- control ---- */

static void test_control(void)
{
    struct usb_device *dev;
    struct machine *m = new_machine(USB_FULL, 0, 1u << USB_FULL, &dev);
    static uint8_t data[WHOLE];
    size_t done;

    g_assert_true(dev->attached);
    g_assert_cmpuint(controller->attached, ==, 1);
    send_setup(dev, 0x80, 6, 0x200, 0, 5000); /* more than devices of ours may have */
    g_assert_cmpuint(fake_usb_request.length, ==, 5000);
    g_assert_cmpint(token(dev, USB_IN, 0, data, 64, false, NULL), ==, USB_NAK);
    memset(fake_usb_memory(), 7, 5000);
    fake_usb_answer(0, USB_HOST_OK, 4500);
    g_assert_cmpuint(controller->wakeups, ==, 1);
    g_assert_cmpint(token(dev, USB_IN, 0, data, 64, false, &done), ==, USB_OK);
    g_assert_cmpuint(done, ==, 64);
    g_assert_cmpint(token(dev, USB_IN, 0, data, 8000, false, &done), ==, USB_OK);
    g_assert_cmpuint(done, ==, 4500 - 64);
    g_assert_cmpint(token(dev, USB_IN, 0, data, 64, false, &done), ==, USB_OK);
    g_assert_cmpuint(done, ==, 0);
    g_assert_cmpint(token(dev, USB_OUT, 0, NULL, 0, false, NULL), ==, USB_OK);
    /* The address is ours alone. */
    send_setup(dev, 0, 5, 9, 0, 0);
    g_assert_cmpuint(fake_usb_submitted, ==, 1);
    g_assert_cmpint(token(dev, USB_IN, 0, NULL, 0, false, NULL), ==, USB_OK);
    g_assert_cmpuint(dev->address, ==, 9);
    send_setup(dev, 0, 5, 200, 0, 0);
    g_assert_cmpint(token(dev, USB_IN, 0, NULL, 0, false, NULL), ==, USB_STALL);
    /* Out, in two packets. */
    send_setup(dev, 0x40, 1, 0, 0, 100);
    g_assert_cmpint(token(dev, USB_OUT, 0, data, 64, false, NULL), ==, USB_OK);
    g_assert_cmpint(token(dev, USB_OUT, 0, data, 36, false, NULL), ==, USB_OK);
    g_assert_cmpint(token(dev, USB_IN, 0, NULL, 0, false, NULL), ==, USB_NAK);
    fake_usb_answer(0, USB_HOST_STALL, 0);
    g_assert_cmpint(token(dev, USB_IN, 0, NULL, 0, false, NULL), ==, USB_STALL);
    send_setup(dev, 0x40, 1, 0, 0, 10);
    g_assert_cmpint(token(dev, USB_OUT, 0, data, 11, false, NULL), ==, USB_STALL);
    /* One that the guest gave up does not answer for the next one. */
    send_setup(dev, 0xc0, 1, 0, 0, 8);
    send_setup(dev, 0, 9, 1, 0, 0);
    fake_usb_answer(0, USB_HOST_OK, 8);
    g_assert_cmpint(token(dev, USB_IN, 0, NULL, 0, false, NULL), ==, USB_NAK);
    fake_usb_answer(0, USB_HOST_OK, 0);
    g_assert_cmpint(token(dev, USB_IN, 0, NULL, 0, false, NULL), ==, USB_OK);
    g_assert_cmpuint(dev->configuration, ==, 1);
    end(m);
}

/* ---- packets ---- */

static void test_in(void)
{
    struct usb_device *dev;
    struct machine *m = new_machine(USB_FULL, 0, 1u << USB_FULL, &dev);
    uint8_t data[64];
    size_t done;

    fake_usb_submitted = 0;
    g_assert_cmpint(token(dev, USB_IN, 1, data, 64, false, NULL), ==, USB_NAK);
    g_assert_cmpuint(fake_usb_request.length, ==, 64);
    g_assert_cmpint(token(dev, USB_IN, 1, data, 64, false, NULL), ==, USB_NAK);
    g_assert_cmpuint(fake_usb_submitted, ==, 1);
    memcpy(fake_usb_memory(), "hello", 5);
    fake_usb_answer(0, USB_HOST_OK, 5);
    g_assert_cmpint(token(dev, USB_IN, 1, data, 64, false, &done), ==, USB_OK);
    g_assert_cmpuint(done, ==, 5);
    g_assert_cmpint(memcmp(data, "hello", 5), ==, 0);
    /* A guest that wants more has it asked for at once. */
    g_assert_cmpint(token(dev, USB_IN, 1, data, 64, 136, NULL), ==, USB_NAK);
    g_assert_cmpuint(fake_usb_request.length, ==, 200);
    fake_usb_answer(0, USB_HOST_OK, 200);
    for (unsigned left = 200; left > 0; left -= (unsigned)done) {
        g_assert_cmpint(token(dev, USB_IN, 1, data, MIN(left, 64u), left - MIN(left, 64u), &done),
                        ==, USB_OK);
        g_assert_cmpuint(done, ==, MIN(left, 64u));
    }
    /* Full packets, of which the device has no more: the guest hears of the end. */
    g_assert_cmpint(token(dev, USB_IN, 1, data, 64, 136, NULL), ==, USB_NAK);
    fake_usb_answer(0, USB_HOST_OK, 64);
    g_assert_cmpint(token(dev, USB_IN, 1, data, 64, 136, &done), ==, USB_OK);
    g_assert_cmpuint(done, ==, 64);
    g_assert_cmpint(token(dev, USB_IN, 1, data, 64, 72, &done), ==, USB_OK);
    g_assert_cmpuint(done, ==, 0);
    /* More than it wants: as on the wire. */
    g_assert_cmpint(token(dev, USB_IN, 1, data, 8, false, NULL), ==, USB_NAK);
    fake_usb_answer(0, USB_HOST_BABBLE, 8);
    g_assert_cmpint(token(dev, USB_IN, 1, data, 8, false, NULL), ==, USB_OK);
    g_assert_cmpint(token(dev, USB_IN, 1, data, 8, false, NULL), ==, USB_BABBLE);
    g_assert_cmpuint(fake_usb_in_flight(), ==, 0);
    /* Data, then a stall. */
    g_assert_cmpint(token(dev, USB_IN, 1, data, 64, false, NULL), ==, USB_NAK);
    fake_usb_answer(0, USB_HOST_STALL, 10);
    g_assert_cmpint(token(dev, USB_IN, 1, data, 64, false, &done), ==, USB_OK);
    g_assert_cmpuint(done, ==, 10);
    g_assert_cmpint(token(dev, USB_IN, 1, data, 64, false, NULL), ==, USB_STALL);
    end(m);
}

static void test_out(void)
{
    struct usb_device *dev;
    struct machine *m = new_machine(USB_FULL, 0, 1u << USB_FULL, &dev);
    uint8_t data[64] = "abc";
    size_t done;

    fake_usb_submitted = 0;
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmpint(token(dev, USB_OUT, 2, data, 64, true, &done), ==, USB_OK);
        g_assert_cmpuint(done, ==, 64);
    }
    g_assert_cmpuint(fake_usb_submitted, ==, 0);
    g_assert_cmpint(token(dev, USB_OUT, 2, data, 31, false, NULL), ==, USB_NAK);
    g_assert_cmpuint(fake_usb_request.length, ==, 3 * 64 + 31);
    g_assert_cmpint(token(dev, USB_OUT, 2, data, 31, false, NULL), ==, USB_NAK);
    fake_usb_answer(0, USB_HOST_OK, 3 * 64 + 31);
    g_assert_cmpint(token(dev, USB_OUT, 2, data, 31, false, &done), ==, USB_OK);
    g_assert_cmpuint(done, ==, 31);
    /* Another one than the one that was begun has no part in its answer. */
    g_assert_cmpint(token(dev, USB_OUT, 2, data, 31, false, NULL), ==, USB_NAK);
    data[0] = 'x';
    g_assert_cmpint(token(dev, USB_OUT, 2, data, 31, false, NULL), ==, USB_NAK);
    g_assert_cmpuint(fake_usb_in_flight(), ==, 0);
    fake_usb_answer(0, USB_HOST_OK, 31);
    g_assert_cmpint(token(dev, USB_OUT, 2, data, 31, false, NULL), ==, USB_NAK);
    g_assert_cmpint(fake_usb_memory()[0], ==, 'x');
    fake_usb_answer(0, USB_HOST_STALL, 0);
    g_assert_cmpint(token(dev, USB_OUT, 2, data, 31, false, NULL), ==, USB_STALL);
    /* Nobody says that there is no more. */
    fake_usb_submitted = 0;
    g_assert_cmpint(token(dev, USB_OUT, 2, data, 64, true, NULL), ==, USB_OK);
    fake_clock_step(m, NS_PER_S);
    g_assert_cmpuint(fake_usb_submitted, ==, 1);
    end(m);
}

/* ---- speeds ---- */

static void test_slower(void)
{
    static const uint8_t configuration[] = {9, 2, 32, 0,    1, 1,    0, 0x80, 50, 9,    4,
                                            0, 0, 2,  0xff, 0, 0,    0, 7,    5,  0x81, 2,
                                            0, 2, 0,  7,    5, 0x82, 3, 8,    0,  7};
    struct usb_device *dev;
    struct machine *m = new_machine(USB_HIGH, 1u << USB_FULL, 1u << USB_FULL, &dev);
    uint8_t data[64];
    size_t done;

    g_assert_true(dev->attached);
    g_assert_cmpint(dev->speed, ==, USB_FULL);
    send_setup(dev, 0x80, 6, 0x200, 0, 64);
    memcpy(fake_usb_memory(), configuration, sizeof(configuration));
    fake_usb_answer(0, USB_HOST_OK, sizeof(configuration));
    g_assert_cmpint(token(dev, USB_IN, 0, data, 64, false, &done), ==, USB_OK);
    g_assert_cmpuint(data[22] | data[23] << 8, ==, 64);
    g_assert_cmpuint(data[31], ==, 8); /* 64 microframes */
    send_setup(dev, 0x80, 6, 0x600, 0, 10);
    g_assert_cmpint(token(dev, USB_IN, 0, data, 10, false, NULL), ==, USB_STALL);
    /* 128 bytes are a short packet for the device: said to a guest that wants more, alone. */
    for (unsigned more = 0; more < 2; more++) {
        g_assert_cmpint(token(dev, USB_IN, 1, data, 64, more ? 448 : 64, NULL), ==, USB_NAK);
        g_assert_true(fake_usb_request.whole_packets);
        fake_usb_answer(0, USB_HOST_OK, 128);
        g_assert_cmpint(token(dev, USB_IN, 1, data, 64, more ? 448 : 64, &done), ==, USB_OK);
        g_assert_cmpint(token(dev, USB_IN, 1, data, 64, more ? 384 : 0, &done), ==, USB_OK);
        g_assert_cmpuint(done, ==, 64);
        g_assert_cmpint(token(dev, USB_IN, 1, data, 64, false, &done), ==, more ? USB_OK : USB_NAK);
        g_assert_cmpuint(done, ==, 0);
        if (!more) {
            fake_usb_answer(0, USB_HOST_OK, 0);
            g_assert_cmpint(token(dev, USB_IN, 1, data, 64, false, &done), ==, USB_OK);
        }
    }
    end(m);
}

static void test_too_fast(void)
{
    struct usb_device *dev;
    struct machine *m = new_machine(USB_HIGH, 0, 1u << USB_FULL, &dev);

    g_assert_false(dev->attached);
    settle();
    g_assert_cmpuint(fake_usb_hosts, ==, 0);
    device_unplug(&dev->dev);
    end(m);
}

/* As xHCI has them. */
static void test_whole(void)
{
    struct usb_device *dev;
    struct machine *m = new_machine(USB_HIGH, 1u << USB_FULL, 15, &dev);
    static uint8_t data[WHOLE];
    size_t done;

    g_assert_cmpint(dev->speed, ==, USB_HIGH);
    memset(data, 9, WHOLE);
    g_assert_cmpint(token(dev, USB_OUT, 2, data, WHOLE, false, NULL), ==, USB_NAK);
    g_assert_cmpuint(fake_usb_request.length, ==, WHOLE);
    fake_usb_answer(0, USB_HOST_OK, WHOLE);
    g_assert_cmpint(token(dev, USB_OUT, 2, data, WHOLE, false, &done), ==, USB_OK);
    g_assert_cmpuint(done, ==, WHOLE);
    g_assert_cmpint(token(dev, USB_IN, 1, data, WHOLE, false, NULL), ==, USB_NAK);
    g_assert_false(fake_usb_request.whole_packets);
    g_assert_cmpuint(fake_usb_request.length, ==, WHOLE);
    fake_usb_answer(0, USB_HOST_OK, 1000);
    g_assert_cmpint(token(dev, USB_IN, 1, data, WHOLE, false, &done), ==, USB_OK);
    g_assert_cmpuint(done, ==, 1000);
    g_assert_cmpint(token(dev, USB_IN, 1, data, 13, false, NULL), ==, USB_NAK);
    g_assert_cmpuint(fake_usb_request.length, ==, 13);
    end(m);
}

/* ---- resets, ends, a live update ---- */

static void test_reset(void)
{
    struct usb_device *dev;
    struct machine *m = new_machine(USB_FULL, 0, 1u << USB_FULL, &dev);
    uint8_t data[64];

    usb_port_reset(dev->port);
    g_assert_cmpuint(fake_usb_resets(), ==, 0); /* it was reset when it was opened */
    for (unsigned i = 1; i < 16; i++) {         /* more than there are slots */
        g_assert_cmpint(token(dev, USB_IN, i, data, 64, true, NULL), ==, USB_NAK);
    }
    send_setup(dev, 0x80, 6, 0x100, 0, 18); /* there is one for these, always */
    g_assert_cmpuint(fake_usb_request.type, ==, USB_HOST_CONTROL);
    usb_port_reset(dev->port);
    g_assert_cmpuint(fake_usb_resets(), ==, 1);
    g_assert_cmpuint(fake_usb_in_flight(), ==, 0);
    while (fake_usb_answer(0, USB_HOST_OK, 5)) {
    }
    g_assert_cmpint(token(dev, USB_IN, 1, data, 64, false, NULL), ==, USB_NAK);
    fake_usb_end();
    g_assert_false(dev->attached);
    g_assert_cmpint(token(dev, USB_IN, 1, data, 64, false, NULL), !=, USB_OK);
    end(m);
}

static void test_update(void)
{
    struct handover *h = handover_new();
    struct usb_device *dev, *other;
    struct machine *m = new_machine(USB_FULL, 0, 1u << USB_FULL, &dev), *n;
    g_autoptr(GError) err = NULL;
    struct object_desc *o;
    uint8_t data[64];
    size_t done;

    g_assert_cmpint(token(dev, USB_OUT, 2, data, 64, true, NULL), ==, USB_OK);
    g_assert_cmpint(token(dev, USB_IN, 1, data, 64, false, NULL), ==, USB_NAK);
    machine_hand_over(m, h);
    n = usb_machine_new(&controller);
    controller->port[0].speeds = 1u << USB_FULL;
    n->inherited = true;
    o = object_desc_make(OBJECT_DEVICE, 0, "usb-host", "h", "hostbus", "1", "hostaddr", "2", NULL);
    other = DEVICE_CAST(struct usb_device, device_plug(n, o, &err));
    g_assert_no_error(err);
    object_desc_free(o);
    machine_complete(n);
    g_assert_cmpuint(fake_usb_hosts, ==, 1);
    machine_take_over(n, h, &err);
    g_assert_no_error(err);
    g_assert_true(other->attached);
    machine_start(n);
    memcpy(fake_usb_memory(), "hello", 5);
    fake_usb_answer(1, USB_HOST_OK, 5);
    g_assert_cmpint(token(other, USB_IN, 1, data, 64, false, &done), ==, USB_OK);
    g_assert_cmpuint(done, ==, 5);
    handover_free(h);
    usb_machine_free(m);
    end(n);
}

static void test_noise(void)
{
    static const enum usb_pid pids[] = {USB_IN, USB_OUT, USB_SETUP, USB_IN};
    GRand *rand = g_rand_new_with_seed(7);
    static uint8_t data[WHOLE];

    log_set_level("all", "error");
    for (unsigned round = 0; round < 4; round++) {
        struct usb_device *dev;
        struct machine *m = new_machine(round & 1 ? USB_HIGH : USB_FULL, 1u << USB_FULL,
                                        round & 2 ? 15 : 1u << USB_FULL, &dev);

        for (unsigned i = 0; i < 30000; i++) {
            unsigned r = g_rand_int(rand);
            size_t length =
                r & 1 ? g_rand_int_range(rand, 0, 65) : g_rand_int_range(rand, 0, WHOLE);

            data[0] = (uint8_t[]){0, 0x80, 2, 0x40, 1, 0xc0}[r % 6];
            data[1] = (uint8_t)(r >> 8 & 15);
            data[6] = (uint8_t)(r >> 16);
            data[7] = r >> 24 & 1;
            if (r % 7 == 0) {
                memset(fake_usb_memory(), (int)(r >> 8), 64);
                fake_usb_answer(r >> 4, (enum usb_host_status)(r >> 12 & 3), r >> 20);
            } else {
                token(dev, pids[r >> 3 & 3], r >> 12 & 3, data, length, r & 16, NULL);
            }
            if (r % 601 == 0) {
                usb_port_reset(dev->port);
            }
            if (r % 13 == 0) {
                settle();
                fake_clock_step(m, NS_PER_MS);
            }
        }
        end(m);
    }
    g_rand_free(rand);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/usb-host/control", test_control);
    g_test_add_func("/usb-host/in", test_in);
    g_test_add_func("/usb-host/out", test_out);
    g_test_add_func("/usb-host/slower", test_slower);
    g_test_add_func("/usb-host/too-fast", test_too_fast);
    g_test_add_func("/usb-host/whole", test_whole);
    g_test_add_func("/usb-host/reset", test_reset);
    g_test_add_func("/usb-host/update", test_update);
    g_test_add_func("/usb-host/noise", test_noise);
    return g_test_run();
}
