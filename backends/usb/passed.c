/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device, by libusb 1.0 (its API documentation: asynchronous device I/O, device handling) and
 * USB 2.0 chapter 9 for the requests that the host has to know of.
 *
 * Whatever the device answers is bytes for the guest; what is read of it here are the descriptors
 * that libusb parses, and of these the class, the ids and which interfaces there are.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <libusb.h>

#include <xendm/bytes.h>

#include "passed.h"

#define INTERFACES_MAX 32 /* libusb's */
#define FULL_PACKET 64    /* bytes of an interrupt endpoint's packet at full speed */
#define SETUP_BYTES LIBUSB_CONTROL_SETUP_SIZE

struct slot {
    struct usb_process *p;
    struct libusb_transfer *transfer;
    uint8_t *control; /* setup and data of a control transfer, since the slot has only the data */
    bool busy;        /* submitted */
};

struct usb_process {
    struct libusb_context *libusb;
    struct libusb_device_handle *handle;
    uint8_t *memory;
    void (*done)(unsigned slot, enum usb_host_status status, uint32_t length);
    bool gone;
    int original;               /* configuration */
    uint16_t packet[2][16];     /* of its endpoints, OUT and IN: bytes of one; 0: there is none */
    uint16_t interrupts[2];     /* by bit: which of them are interrupt endpoints */
    bool isochronous;           /* one is */
    uint32_t claimed, detached; /* interfaces, by bit */
    struct slot slots[USB_HOST_SLOTS];
};

static uint8_t *slot_memory(struct usb_process *p, unsigned slot)
{
    return p->memory + (size_t)slot * USB_HOST_SLOT_SIZE;
}

static unsigned slot_number(const struct slot *s)
{
    return (unsigned)(s - s->p->slots);
}

static enum usb_host_status error_status(struct usb_process *p, int rc)
{
    switch (rc) {
    case LIBUSB_ERROR_NO_DEVICE:
        p->gone = true;
        return USB_HOST_GONE;
    case LIBUSB_ERROR_PIPE:
        return USB_HOST_STALL;
    case LIBUSB_ERROR_OVERFLOW:
        return USB_HOST_BABBLE;
    default:
        return rc < 0 ? USB_HOST_IO_ERROR : USB_HOST_OK;
    }
}

/* ---- interfaces ---- */

static void release_all(struct usb_process *p)
{
    for (int i = 0; i < INTERFACES_MAX; i++) {
        if (p->claimed >> i & 1) {
            libusb_release_interface(p->handle, i);
        }
    }
    p->claimed = 0;
}

/* A driver of the host's is sent away, and remembered. */
static int claim(struct usb_process *p, int interface)
{
    int rc;

    if (interface >= INTERFACES_MAX) {
        return 0; /* libusb knows none such */
    }
    if (libusb_kernel_driver_active(p->handle, interface) == 1 &&
        libusb_detach_kernel_driver(p->handle, interface) == 0) {
        p->detached |= UINT32_C(1) << interface;
    }
    rc = libusb_claim_interface(p->handle, interface);
    p->claimed |= rc == 0 ? UINT32_C(1) << interface : 0;
    return rc;
}

static void note_endpoint(struct usb_process *p, const struct libusb_endpoint_descriptor *e)
{
    unsigned in = e->bEndpointAddress >> 7, number = e->bEndpointAddress & 15;
    uint16_t size = e->wMaxPacketSize & 0x7ff;

    /* The largest of its alternate settings. */
    p->packet[in][number] = size > p->packet[in][number] ? size : p->packet[in][number];
    if ((e->bmAttributes & 3) == LIBUSB_TRANSFER_TYPE_INTERRUPT) {
        p->interrupts[in] |= (uint16_t)(1u << number);
    }
    p->isochronous |= (e->bmAttributes & 3) == LIBUSB_TRANSFER_TYPE_ISOCHRONOUS;
}

static void note_endpoints(struct usb_process *p, const struct libusb_config_descriptor *c)
{
    memset(p->packet, 0, sizeof(p->packet));
    p->interrupts[0] = p->interrupts[1] = 0;
    p->isochronous = false;
    for (int i = 0; c && i < c->bNumInterfaces; i++) {
        for (int k = 0; k < c->interface[i].num_altsetting; k++) {
            const struct libusb_interface_descriptor *alt = &c->interface[i].altsetting[k];

            for (int n = 0; n < alt->bNumEndpoints; n++) {
                note_endpoint(p, &alt->endpoint[n]);
            }
        }
    }
}

/* Of the configuration that is active; one that has none has no interfaces. */
static int claim_all(struct usb_process *p)
{
    struct libusb_config_descriptor *c = NULL;
    int rc = libusb_get_active_config_descriptor(libusb_get_device(p->handle), &c);

    note_endpoints(p, rc == 0 ? c : NULL);
    if (rc == LIBUSB_ERROR_NOT_FOUND) {
        return 0;
    }
    for (int i = 0; rc == 0 && i < c->bNumInterfaces; i++) {
        if (c->interface[i].num_altsetting > 0) {
            rc = claim(p, c->interface[i].altsetting[0].bInterfaceNumber);
        }
    }
    libusb_free_config_descriptor(c);
    return rc;
}

/* 0: unconfigured, which libusb says as -1. With the one that is set, it begins anew. */
static int set_configuration(struct usb_process *p, int value)
{
    int rc, again;

    release_all(p);
    rc = libusb_set_configuration(p->handle, value ? value : -1);
    again = claim_all(p);
    return rc ? rc : again;
}

/* ---- life ---- */

struct usb_process *passed_new(struct libusb_context *libusb, uint8_t *memory,
                               void (*done)(unsigned slot, enum usb_host_status status,
                                            uint32_t length))
{
    struct usb_process *p = calloc(1, sizeof(*p));

    for (unsigned i = 0; p && i < USB_HOST_SLOTS; i++) {
        p->slots[i].p = p;
    }
    if (p) {
        p->libusb = libusb;
        p->memory = memory;
        p->done = done;
    }
    return p;
}

static int speed_of(struct libusb_device *device, uint8_t *speed)
{
    switch (libusb_get_device_speed(device)) {
    case LIBUSB_SPEED_LOW:
        *speed = USB_LOW;
        return 0;
    case LIBUSB_SPEED_FULL:
        *speed = USB_FULL;
        return 0;
    case LIBUSB_SPEED_HIGH:
        *speed = USB_HIGH;
        return 0;
    case LIBUSB_SPEED_SUPER:
    case LIBUSB_SPEED_SUPER_PLUS:
        *speed = USB_SUPER;
        return 0;
    default:
        return ENOTSUP;
    }
}

/*
 * Behind a slower bus bulk packets are smaller, which nobody notices; those of interrupts are as
 * they are.
 */
static uint8_t speeds_of(const struct usb_process *p, uint8_t speed)
{
    unsigned speeds = 1u << speed;
    bool small = true;

    for (unsigned i = 0; i < 32; i++) {
        if (p->interrupts[i / 16] >> i % 16 & 1) {
            small &= p->packet[i / 16][i % 16] <= FULL_PACKET;
        }
    }
    if (speed >= USB_HIGH && !p->isochronous) {
        speeds |= 1u << USB_HIGH | (small ? 1u << USB_FULL : 0);
    }
    return (uint8_t)speeds;
}

static int look_at(struct usb_process *p, struct usb_wire *ready)
{
    struct libusb_device *device = libusb_get_device(p->handle);
    struct libusb_device_descriptor d = {0};

    if (libusb_get_device_descriptor(device, &d) < 0 ||
        libusb_get_configuration(p->handle, &p->original) < 0) {
        return EIO;
    }
    ready->vendor = d.idVendor;
    ready->product = d.idProduct;
    return d.bDeviceClass == LIBUSB_CLASS_HUB ? ENOTSUP : speed_of(device, &ready->speed);
}

int passed_open(struct usb_process *p, int fd, struct usb_wire *ready)
{
    int rc;

    if (libusb_wrap_sys_device(p->libusb, fd, &p->handle) < 0) {
        return ENODEV;
    }
    for (unsigned i = 0; i < USB_HOST_SLOTS; i++) {
        p->slots[i].transfer = libusb_alloc_transfer(0);
        if (!p->slots[i].transfer) {
            return ENOMEM;
        }
    }
    rc = look_at(p, ready);
    if (rc == 0 && claim_all(p) < 0) {
        rc = EBUSY;
    }
    ready->speeds = speeds_of(p, ready->speed);
    /* What its last driver left in it is nobody's business. */
    return rc == 0 && libusb_reset_device(p->handle) < 0 ? ENODEV : rc;
}

void passed_close(struct usb_process *p)
{
    int now = p->original;

    if (!p->handle) {
        return;
    }
    if (!p->gone && libusb_reset_device(p->handle) == 0 &&
        libusb_get_configuration(p->handle, &now) == 0 && now != p->original) {
        set_configuration(p, p->original);
    }
    release_all(p);
    for (int i = 0; i < INTERFACES_MAX; i++) {
        if (p->detached >> i & 1) {
            libusb_attach_kernel_driver(p->handle, i);
        }
    }
    /* The handle stays: transfers that are under way would outlive it. The process does not. */
}

bool passed_is_gone(const struct usb_process *p)
{
    return p->gone;
}

/* ---- requests ---- */

static enum usb_host_status transfer_status(struct usb_process *p, enum libusb_transfer_status s)
{
    switch (s) {
    case LIBUSB_TRANSFER_COMPLETED:
        return USB_HOST_OK;
    case LIBUSB_TRANSFER_CANCELLED:
        return USB_HOST_CANCELLED;
    case LIBUSB_TRANSFER_STALL:
        return USB_HOST_STALL;
    case LIBUSB_TRANSFER_OVERFLOW:
        return USB_HOST_BABBLE;
    case LIBUSB_TRANSFER_NO_DEVICE:
        p->gone = true;
        return USB_HOST_GONE;
    default:
        return USB_HOST_IO_ERROR;
    }
}

static void LIBUSB_CALL completed(struct libusb_transfer *t)
{
    struct slot *s = t->user_data;
    uint32_t length = t->actual_length < 0 ? 0 : (uint32_t)t->actual_length;

    s->busy = false;
    if (s->control) {
        if (s->control[0] & LIBUSB_ENDPOINT_IN && length <= USB_HOST_SLOT_SIZE) {
            memcpy(slot_memory(s->p, slot_number(s)), s->control + SETUP_BYTES, length);
        }
        free(s->control);
        s->control = NULL;
    }
    s->p->done(slot_number(s), transfer_status(s->p, t->status), length);
}

/* Those of which the host has to know. False: it is an ordinary one. */
static bool is_of_host(struct usb_process *p, const uint8_t *setup, int *rc)
{
    unsigned value = load_le16(setup + 2), index = load_le16(setup + 4);

    switch (setup[0] << 8 | setup[1]) {
    case LIBUSB_RECIPIENT_DEVICE << 8 | LIBUSB_REQUEST_SET_CONFIGURATION:
        *rc = set_configuration(p, (int)(value & 0xff));
        return true;
    case LIBUSB_RECIPIENT_INTERFACE << 8 | LIBUSB_REQUEST_SET_INTERFACE:
        *rc = libusb_set_interface_alt_setting(p->handle, (int)index, (int)value);
        return true;
    case LIBUSB_RECIPIENT_ENDPOINT << 8 | LIBUSB_REQUEST_CLEAR_FEATURE:
        *rc = value == 0 ? libusb_clear_halt(p->handle, (unsigned char)index) : 0;
        return value == 0;
    case LIBUSB_RECIPIENT_DEVICE << 8 | LIBUSB_REQUEST_SET_ADDRESS:
        *rc = LIBUSB_ERROR_PIPE;
        return true;
    default:
        return false;
    }
}

static int submit_control(struct slot *s, const struct usb_wire *w)
{
    s->control = malloc(SETUP_BYTES + (size_t)w->length);
    if (!s->control) {
        return LIBUSB_ERROR_NO_MEM;
    }
    memcpy(s->control, w->setup, SETUP_BYTES);
    memcpy(s->control + SETUP_BYTES, slot_memory(s->p, w->slot), w->length);
    libusb_fill_control_transfer(s->transfer, s->p->handle, s->control, completed, s, 0);
    return libusb_submit_transfer(s->transfer);
}

static int submit_data(struct slot *s, const struct usb_wire *w)
{
    const struct usb_process *p = s->p;
    unsigned in = w->endpoint >> 7, number = w->endpoint & 15;
    uint8_t *data = slot_memory(s->p, w->slot);
    int length = (int)w->length;

    if (w->whole_packets && p->packet[in][number] && !(p->interrupts[in] >> number & 1)) {
        length += p->packet[in][number] - 1;
        length -= length % p->packet[in][number];
    }
    if (w->type == USB_HOST_BULK && !(p->interrupts[in] >> number & 1)) {
        libusb_fill_bulk_transfer(s->transfer, p->handle, w->endpoint, data, length, completed, s,
                                  0);
    } else {
        libusb_fill_interrupt_transfer(s->transfer, p->handle, w->endpoint, data, length, completed,
                                       s, 0);
    }
    return libusb_submit_transfer(s->transfer);
}

static bool is_request(const struct usb_process *p, const struct usb_wire *w)
{
    return w->slot < USB_HOST_SLOTS && !p->slots[w->slot].busy &&
           w->length <= USB_HOST_SLOT_SIZE - (w->whole_packets ? USB_HOST_PACKET_MAX : 0) &&
           w->type < USB_HOST_TYPES &&
           (w->type != USB_HOST_CONTROL || load_le16(w->setup + 6) == w->length);
}

bool passed_submit(struct usb_process *p, const struct usb_wire *w)
{
    struct slot *s;
    int rc = 0;

    if (!is_request(p, w)) {
        return false;
    }
    s = &p->slots[w->slot];
    if (w->type == USB_HOST_CONTROL && is_of_host(p, w->setup, &rc)) {
        p->done(w->slot, error_status(p, rc), 0);
        return true;
    }
    rc = w->type == USB_HOST_CONTROL ? submit_control(s, w) : submit_data(s, w);
    s->busy = rc == 0;
    if (rc < 0) {
        free(s->control);
        s->control = NULL;
        p->done(w->slot, error_status(p, rc), 0);
    }
    return true;
}

bool passed_cancel(struct usb_process *p, unsigned slot)
{
    if (slot >= USB_HOST_SLOTS) {
        return false;
    }
    if (p->slots[slot].busy) { /* else its answer is on the way already */
        libusb_cancel_transfer(p->slots[slot].transfer);
    }
    return true;
}

void passed_reset(struct usb_process *p)
{
    int now = p->original;

    if (libusb_reset_device(p->handle) < 0) {
        p->gone = true; /* it is another one now, for libusb and for us */
    } else if (libusb_get_configuration(p->handle, &now) == 0 && now != p->original) {
        set_configuration(p, p->original);
    }
}
