/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A USB device of the host for a guest (backends/usb): requests go to a process of its own, which
 * has the device's descriptor and libusb, and nothing else. Whoever carries them from a guest (a
 * ring of Xen's, a controller) puts the data into a slot, and finds it there afterwards.
 *
 * Nothing here waits: a device that never answers holds its own requests. What a device says is
 * data. When the process or the device goes, requests end, and the device is gone.
 *
 * Left out: isochronous transfers, streams, and devices that are hubs.
 */
#ifndef XENDM_USB_HOST_H
#define XENDM_USB_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include <xendm/usb.h>

struct handover;
struct usb_host;

#define USB_HOST_SLOTS 16u
#define USB_HOST_SLOT_SIZE (64u << 10) /* bytes: usbif's buffer_length has 16 bits */
#define USB_HOST_PACKET_MAX 1024u      /* bytes of a bulk packet, at any speed */
#define USB_HOST_WHERE_MAX 64u         /* characters of where a device is, with the NUL */

/* BULK is for interrupt endpoints, too: who has packets alone cannot tell. */
enum usb_host_type { USB_HOST_CONTROL, USB_HOST_BULK, USB_HOST_INTERRUPT, USB_HOST_TYPES };

enum usb_host_status {
    USB_HOST_OK, /* also when it is shorter than was asked for */
    USB_HOST_STALL,
    USB_HOST_BABBLE,
    USB_HOST_IO_ERROR,
    USB_HOST_CANCELLED,
    USB_HOST_GONE,
    USB_HOST_STATUSES,
};

struct usb_host_request {
    enum usb_host_type type;
    uint8_t endpoint;   /* with USB_DIR_IN, but for type CONTROL: that is 0, and `setup` says it */
    uint32_t length;    /* of the data; CONTROL: wLength */
    bool whole_packets; /* BULK: more, up to a packet's end; there is room for one in the slot */
    /*
     * CONTROL. SET_CONFIGURATION, SET_INTERFACE and CLEAR_FEATURE of a halt go the host's way, so
     * that it knows; SET_ADDRESS is for who has the bus, and refused here.
     */
    uint8_t setup[8];
};

struct usb_host_user {
    /* Whether it is to be called now; else nothing is read until usb_host_go_on(). */
    bool (*wants)(void *opaque);
    /* The device is there: usb_host_about(). */
    void (*ready)(void *opaque);
    /* The slot stays the user's until it is given. `length`: bytes that were moved. */
    void (*done)(void *opaque, unsigned slot, enum usb_host_status status, uint32_t length);
    /* A slot that was abandoned is free again. */
    void (*room)(void *opaque);
    /* Behind the last done(): the device, or its process. Nothing can be submitted any more. */
    void (*gone)(void *opaque);
};

/* Of the device, as it says. */
struct usb_host_about {
    enum usb_speed speed;
    unsigned speeds; /* at which it could work, as it is configured: bit per enum usb_speed */
    uint16_t vendor, product;
};

/*
 * "1-2", "3-1.5": a bus id of sysfs; "3:7": bus and address; "id:1234:5678": the first one that is
 * of that vendor and product.
 */
bool usb_host_where_is_valid(const char *where);

/*
 * Begins to open it. NULL with `err`: it is not there, or its process cannot be started. What fails
 * behind that is gone().
 */
struct usb_host *usb_host_new(const char *where, const struct usb_host_user *user, void *opaque,
                              GError **err);
/* The host has its device back, unless another process has it, too (live update). NULL allowed. */
void usb_host_free(struct usb_host *h);
/* wants() may have another answer. */
void usb_host_go_on(struct usb_host *h);

const struct usb_host_about *usb_host_about(const struct usb_host *h); /* NULL: not ready, gone */

bool usb_host_is_gone(const struct usb_host *h);

/* A slot; -EBUSY: not now, room() follows; -ENODEV: the device is not ready, or gone. */
int usb_host_take(struct usb_host *h);
void usb_host_give(struct usb_host *h, unsigned slot);
uint8_t *usb_host_memory(struct usb_host *h, unsigned slot);
/* done() follows; never from within. `length` is at most USB_HOST_SLOT_SIZE. */
void usb_host_submit(struct usb_host *h, unsigned slot, const struct usb_host_request *request);
/* done() still follows. Of what was not submitted: nothing happens. */
void usb_host_cancel(struct usb_host *h, unsigned slot);
/*
 * Nobody waits for any of it any more: all is cancelled, slots become free by themselves, and the
 * device is reset, for the next driver.
 */
void usb_host_abandon(struct usb_host *h);

/* Live update, requests in flight and all; the process stays. Not while wants() is true. */
void usb_host_hand_over(const struct usb_host *h, struct handover *to, const char *group);
struct usb_host *usb_host_take_over(const struct handover *from, const char *group,
                                    const struct usb_host_user *user, void *opaque, GError **err);

/* ---- its process ---- */

/*
 * The process that has the device: its socket, or -errno. Where names are given up, by
 * files_serve_usb().
 */
int usb_host_start(const char *where, GError **err);
/* Whether both are one device, which is there. */
bool usb_host_where_is_same(const char *one, const char *other);

#endif
