/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to xendm-usb: the device, by libusb. */
#ifndef BACKENDS_USB_PASSED_H
#define BACKENDS_USB_PASSED_H

#include <stdbool.h>
#include <stdint.h>

#include "wire.h"

struct libusb_context;
struct usb_process;

/* `memory`: the slots. `done` for each request that was submitted, once. */
struct usb_process *passed_new(struct libusb_context *libusb, uint8_t *memory,
                               void (*done)(unsigned slot, enum usb_host_status status,
                                            uint32_t length));
/* Ours alone from here on: drivers of the host are detached. `*ready` is what to say; or errno. */
int passed_open(struct usb_process *p, int fd, struct usb_wire *ready);
/* As it was before. */
void passed_close(struct usb_process *p);
bool passed_is_gone(const struct usb_process *p);

/* False: nobody may say that. */
bool passed_submit(struct usb_process *p, const struct usb_wire *w);
bool passed_cancel(struct usb_process *p, unsigned slot);
void passed_reset(struct usb_process *p);

#endif
