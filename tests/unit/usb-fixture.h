/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of USB share: a controller of four ports that is only ports, control transfers. */
#ifndef XENDM_TEST_USB_FIXTURE_H
#define XENDM_TEST_USB_FIXTURE_H

#include <xendm/input.h>
#include <xendm/usb.h>

#include "fakes.h"

#define FAKE_PORTS 4u

struct fake_controller {
    struct device dev;
    struct usb_bus bus;
    struct usb_port port[FAKE_PORTS];
    unsigned attached, detached, wakeups;
};

extern const struct device_class fake_controller_class;

/* A machine with a controller and an input; usb_machine_free() ends both. */
struct machine *usb_machine_new(struct fake_controller **c);
void usb_machine_free(struct machine *m);

/* Plugs a device in; `port` NULL: the first free one. NULL with `err`. */
struct usb_device *usb_try_plug(struct machine *m, const struct device_class *class, const char *id,
                                const char *port, GError **err);
struct usb_device *usb_plug(struct machine *m, const struct device_class *class, const char *id);

int64_t device_fact(struct device *dev, const char *name); /* a number of device_describe()'s */

/* One token. Returns the status; *done what was moved. */
enum usb_status usb_token(struct usb_device *dev, enum usb_pid pid, unsigned endpoint, void *data,
                          size_t length, size_t *done);
/*
 * A whole control transfer with data of at most wLength bytes, in packets of 8; `*length` is what
 * came. The status of the first stage that was not USB_OK.
 */
enum usb_status usb_control(struct usb_device *dev, uint8_t type, uint8_t request, uint16_t value,
                            uint16_t index, void *data, uint16_t wlength, size_t *length);
/* SET_ADDRESS, SET_CONFIGURATION 1 */
void usb_configure(struct usb_device *dev, uint8_t address);

#endif
