/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What stands for USB devices of the host, at link time: the test is the device. */
#ifndef XENDM_TEST_FAKE_USB_HOST_H
#define XENDM_TEST_FAKE_USB_HOST_H

#include <stdbool.h>

#include <xendm/usb-host.h>

extern bool fake_usb_refuses;         /* nothing is opened */
extern bool fake_usb_late;            /* devices are ready when the test says so */
extern enum usb_speed fake_usb_speed; /* of the next one */
extern unsigned fake_usb_speeds;      /* others that it can, by bit */
extern unsigned fake_usb_hosts;       /* that there are */
extern unsigned fake_usb_submitted;   /* requests, ever */

/* The newest is there. */
void fake_usb_ready(void);
/* One of the requests that the newest has, chosen by `which`, ends so. False: it has none. */
bool fake_usb_answer(unsigned which, enum usb_host_status status, uint32_t length);
/* The last request, and its slot. */
extern struct usb_host_request fake_usb_request;
extern unsigned fake_usb_slot;
uint8_t *fake_usb_memory(void);    /* of that slot */
unsigned fake_usb_in_flight(void); /* of the newest; but for those that were cancelled */
unsigned fake_usb_resets(void);
/* It is gone. */
void fake_usb_end(void);

#endif
