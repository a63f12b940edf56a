/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include <xendm/facts.h>

#include "usb-fixture.h"

static struct fake_controller *fake_of(struct usb_port *port)
{
    return port->controller;
}

static void fake_attached(struct usb_port *port)
{
    fake_of(port)->attached++;
}

static void fake_detached(struct usb_port *port)
{
    g_assert_nonnull(port->device);
    fake_of(port)->detached++;
}

static void fake_wakeup(struct usb_port *port, uint8_t endpoint)
{
    fake_of(port)->wakeups++;
}

static const struct usb_port_ops fake_ops = {fake_attached, fake_detached, fake_wakeup};

static int fake_realize(struct device *dev, GError **err)
{
    struct fake_controller *c = DEVICE_CAST(struct fake_controller, dev);

    for (unsigned i = 0; i < FAKE_PORTS; i++) {
        c->port[i].ops = &fake_ops;
        c->port[i].controller = c;
        c->port[i].speeds = 1u << USB_FULL;
    }
    usb_bus_init(&c->bus, dev, c->port, FAKE_PORTS);
    return 0;
}

static void fake_unrealize(struct device *dev)
{
    usb_bus_fini(&DEVICE_CAST(struct fake_controller, dev)->bus);
}

const struct device_class fake_controller_class = {
    .name = "fake-controller",
    .size = sizeof(struct fake_controller),
    .realize = fake_realize,
    .unrealize = fake_unrealize,
};

struct machine *usb_machine_new(struct fake_controller **c)
{
    struct machine *m = fake_machine_new();

    m->input = input_new();
    if (c) {
        *c =
            DEVICE_CAST(struct fake_controller, fake_device(m, &fake_controller_class, NULL, NULL));
    }
    return m;
}

void usb_machine_free(struct machine *m)
{
    struct input *in = m->input;

    fake_machine_free(m);
    input_free(in);
}

struct usb_device *usb_try_plug(struct machine *m, const struct device_class *class, const char *id,
                                const char *port, GError **err)
{
    struct bus *bus = bus_find(m, &usb_bus_class, NULL, err);
    struct device *dev = device_new(m, class, id, err);

    g_assert_nonnull(bus);
    g_assert_nonnull(dev);
    if ((port && device_set(dev, "port", port, err) < 0) || usb_bus_class.take(bus, dev, err) < 0 ||
        device_realize(dev, err) < 0) {
        device_free(dev);
        return NULL;
    }
    device_reset(dev, RESET_COLD);
    return DEVICE_CAST(struct usb_device, dev);
}

struct usb_device *usb_plug(struct machine *m, const struct device_class *class, const char *id)
{
    g_autoptr(GError) err = NULL;
    struct usb_device *dev = usb_try_plug(m, class, id, NULL, &err);

    g_assert_no_error(err);
    return dev;
}

enum usb_status usb_token(struct usb_device *dev, enum usb_pid pid, unsigned endpoint, void *data,
                          size_t length, size_t *done)
{
    struct usb_packet p = {.pid = pid,
                           .endpoint = (uint8_t)endpoint,
                           .data = data,
                           .length = length};
    enum usb_status status = usb_handle(dev, &p);

    g_assert_cmpuint(p.done, <=, length);
    if (done) {
        *done = p.done;
    }
    return status;
}

enum usb_status usb_control(struct usb_device *dev, uint8_t type, uint8_t request, uint16_t value,
                            uint16_t index, void *data, uint16_t wlength, size_t *length)
{
    uint8_t setup[8] = {type,           request,
                        value & 0xff,   (uint8_t)(value >> 8),
                        index & 0xff,   (uint8_t)(index >> 8),
                        wlength & 0xff, (uint8_t)(wlength >> 8)};
    bool in = type & USB_DIR_IN && wlength;
    enum usb_status status = usb_token(dev, USB_SETUP, 0, setup, sizeof(setup), NULL);
    size_t at = 0, n = 8;

    while (status == USB_OK && at < wlength && n == 8) {
        size_t part = MIN(8u, wlength - at);

        status = usb_token(dev, in ? USB_IN : USB_OUT, 0, (char *)data + at, part, &n);
        at += status == USB_OK ? n : 0;
    }
    if (status == USB_OK) {
        status = usb_token(dev, in ? USB_OUT : USB_IN, 0, NULL, 0, &n);
    }
    if (length) {
        *length = at;
    }
    return status;
}

void usb_configure(struct usb_device *dev, uint8_t address)
{
    g_assert_cmpint(usb_control(dev, 0, 5, address, 0, NULL, 0, NULL), ==, USB_OK);
    g_assert_cmpint(usb_control(dev, 0, 9, 1, 0, NULL, 0, NULL), ==, USB_OK);
    g_assert_cmpuint(dev->address, ==, address);
}

int64_t device_fact(struct device *dev, const char *name)
{
    struct facts *f = facts_new();
    int64_t value;

    device_describe(dev, f);
    value = g_ascii_strtoll(facts_find(f, NULL, name), NULL, 10);
    facts_free(f);
    return value;
}
