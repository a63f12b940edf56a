/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libusb-1.0, as far as xendm-usb calls it, without USB: the device is a test's (tests/kit/usb.py),
 * at the other end of the socket that XENDM_FAKE_USB names, and each call is a message to it. Which
 * device it is says the file that stands for the one of usbfs. Behind the filter of system calls
 * this sends and receives, nothing else.
 */
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <libusb.h>

#define DATA_MAX (65536 + 64)
#define TRANSFERS 64

/* As in tests/kit/usb.py. */
enum {
    WRAP,
    CLAIM,
    RELEASE,
    DETACH,
    ATTACH,
    ACTIVE,
    SET_CONFIGURATION,
    GET_CONFIGURATION,
    SET_INTERFACE,
    CLEAR_HALT,
    RESET,
    SUBMIT,
    CANCEL,
    ANSWER,
    DONE,
};

struct message {
    int32_t kind, a, b, c, length;
    uint8_t data[DATA_MAX];
};
#define HEADER (5 * sizeof(int32_t))

static int sock = -1;
static int speed;
static uint8_t descriptors[4096];
static int descriptors_length;
static struct libusb_transfer *transfers[TRANSFERS];
/* What came while something else was waited for. */
static struct message *waiting[TRANSFERS];
static unsigned waiting_count;

static void send_message(int kind, int a, int b, int c, const void *data, int length)
{
    static struct message m;

    m.kind = kind;
    m.a = a;
    m.b = b;
    m.c = c;
    m.length = length;
    if (length) {
        memcpy(m.data, data, (size_t)length);
    }
    if (send(sock, &m, HEADER + (size_t)length, MSG_NOSIGNAL) < 0) {
        return;
    }
}

/* The answer to a call; an end of the socket is the end of the device. */
static int call(int kind, int a, int b, const void *data, int length, struct message *answer)
{
    static struct message m;
    struct message *to = answer ? answer : &m;

    send_message(kind, a, b, 0, data, length);
    while (recv(sock, to, sizeof(*to), 0) > 0) {
        if (to->kind == ANSWER) {
            return to->a;
        }
        if (waiting_count < TRANSFERS) {
            waiting[waiting_count] = malloc(sizeof(*to));
            memcpy(waiting[waiting_count++], to, sizeof(*to));
        }
    }
    return LIBUSB_ERROR_NO_DEVICE;
}

int libusb_set_option(libusb_context *ctx, enum libusb_option option, ...)
{
    (void)ctx;
    return option == LIBUSB_OPTION_NO_DEVICE_DISCOVERY ? 0 : LIBUSB_ERROR_NOT_SUPPORTED;
}

int libusb_init(libusb_context **ctx)
{
    const char *path = getenv("XENDM_FAKE_USB");
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    strncpy(addr.sun_path, path ? path : "", sizeof(addr.sun_path) - 1);
    *ctx = (libusb_context *)&sock;
    return connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? LIBUSB_ERROR_OTHER : 0;
}

int libusb_wrap_sys_device(libusb_context *ctx, intptr_t fd, libusb_device_handle **handle)
{
    static struct message m;
    char name[64] = "";
    ssize_t n = read((int)fd, name, sizeof(name));
    int rc = n < 0 ? LIBUSB_ERROR_IO : call(WRAP, 0, 0, name, (int)n, &m);

    (void)ctx;
    speed = m.b;
    descriptors_length = rc == 0 && m.length <= (int)sizeof(descriptors) ? m.length : 0;
    memcpy(descriptors, m.data, (size_t)descriptors_length);
    *handle = (libusb_device_handle *)&sock;
    return rc;
}

libusb_device *libusb_get_device(libusb_device_handle *handle)
{
    return (libusb_device *)handle;
}

int libusb_get_device_descriptor(libusb_device *dev, struct libusb_device_descriptor *d)
{
    (void)dev;
    if (descriptors_length < 18) {
        return LIBUSB_ERROR_IO;
    }
    memcpy(d, descriptors, 18); /* on a machine of that byte order */
    return 0;
}

int libusb_get_device_speed(libusb_device *dev)
{
    (void)dev;
    return speed;
}

/* Interfaces, their numbers and endpoints; nothing more is asked for. */
int libusb_get_active_config_descriptor(libusb_device *dev,
                                        struct libusb_config_descriptor **config)
{
    struct libusb_config_descriptor *c = calloc(1, sizeof(*c));
    struct libusb_interface *list = calloc(32, sizeof(*list));
    struct libusb_interface_descriptor *last = NULL;

    (void)dev;
    for (int at = 18; at + 7 <= descriptors_length && descriptors[at]; at += descriptors[at]) {
        if (descriptors[at + 1] == LIBUSB_DT_INTERFACE && descriptors[at + 3] == 0 &&
            c->bNumInterfaces < 32) {
            struct libusb_interface_descriptor *i = calloc(1, sizeof(*i));

            i->bInterfaceNumber = descriptors[at + 2];
            list[c->bNumInterfaces].altsetting = i;
            list[c->bNumInterfaces++].num_altsetting = 1;
            i->endpoint = calloc(32, sizeof(*i->endpoint));
            last = i;
        } else if (descriptors[at + 1] == LIBUSB_DT_ENDPOINT && last && last->bNumEndpoints < 32) {
            struct libusb_endpoint_descriptor *e =
                (struct libusb_endpoint_descriptor *)&last->endpoint[last->bNumEndpoints++];

            e->bEndpointAddress = descriptors[at + 2];
            e->bmAttributes = descriptors[at + 3];
            e->wMaxPacketSize = (uint16_t)(descriptors[at + 4] | descriptors[at + 5] << 8);
        }
    }
    c->interface = list;
    *config = c;
    return 0;
}

void libusb_free_config_descriptor(struct libusb_config_descriptor *config)
{
    for (int i = 0; config && i < config->bNumInterfaces; i++) {
        free((void *)config->interface[i].altsetting->endpoint);
        free((void *)config->interface[i].altsetting);
    }
    if (config) {
        free((void *)config->interface);
        free(config);
    }
}

int libusb_kernel_driver_active(libusb_device_handle *h, int interface)
{
    (void)h;
    return call(ACTIVE, interface, 0, NULL, 0, NULL);
}

int libusb_detach_kernel_driver(libusb_device_handle *h, int interface)
{
    (void)h;
    return call(DETACH, interface, 0, NULL, 0, NULL);
}

int libusb_attach_kernel_driver(libusb_device_handle *h, int interface)
{
    (void)h;
    return call(ATTACH, interface, 0, NULL, 0, NULL);
}

int libusb_claim_interface(libusb_device_handle *h, int interface)
{
    (void)h;
    return call(CLAIM, interface, 0, NULL, 0, NULL);
}

int libusb_release_interface(libusb_device_handle *h, int interface)
{
    (void)h;
    return call(RELEASE, interface, 0, NULL, 0, NULL);
}

int libusb_set_configuration(libusb_device_handle *h, int value)
{
    (void)h;
    return call(SET_CONFIGURATION, value, 0, NULL, 0, NULL);
}

int libusb_get_configuration(libusb_device_handle *h, int *value)
{
    static struct message m;
    int rc = call(GET_CONFIGURATION, 0, 0, NULL, 0, &m);

    (void)h;
    *value = m.b;
    return rc;
}

int libusb_set_interface_alt_setting(libusb_device_handle *h, int interface, int alternate)
{
    (void)h;
    return call(SET_INTERFACE, interface, alternate, NULL, 0, NULL);
}

int libusb_clear_halt(libusb_device_handle *h, unsigned char endpoint)
{
    (void)h;
    return call(CLEAR_HALT, endpoint, 0, NULL, 0, NULL);
}

int libusb_reset_device(libusb_device_handle *h)
{
    (void)h;
    return call(RESET, 0, 0, NULL, 0, NULL);
}

/* ---- transfers ---- */

struct libusb_transfer *libusb_alloc_transfer(int packets)
{
    return calloc(1, sizeof(struct libusb_transfer) +
                         (size_t)packets * sizeof(struct libusb_iso_packet_descriptor));
}

int libusb_submit_transfer(struct libusb_transfer *t)
{
    int id = 0;

    while (id < TRANSFERS && transfers[id]) {
        id++;
    }
    if (id == TRANSFERS) {
        return LIBUSB_ERROR_NO_MEM;
    }
    transfers[id] = t;
    send_message(SUBMIT, id, t->type, t->endpoint, t->buffer, t->length);
    return 0;
}

int libusb_cancel_transfer(struct libusb_transfer *t)
{
    for (int id = 0; id < TRANSFERS; id++) {
        if (transfers[id] == t) {
            send_message(CANCEL, id, 0, 0, NULL, 0);
            return 0;
        }
    }
    return LIBUSB_ERROR_NOT_FOUND;
}

/* a: which; b: status; c: bytes, which may be a lie; data: what comes in. */
static void done(const struct message *m)
{
    struct libusb_transfer *t = m->a >= 0 && m->a < TRANSFERS ? transfers[m->a] : NULL;
    int skip = t && t->type == LIBUSB_TRANSFER_TYPE_CONTROL ? (int)LIBUSB_CONTROL_SETUP_SIZE : 0;

    if (!t) {
        return;
    }
    transfers[m->a] = NULL;
    t->status = (enum libusb_transfer_status)m->b;
    t->actual_length = m->c;
    if (m->length > 0 && m->length <= t->length - skip) {
        memcpy(t->buffer + skip, m->data, (size_t)m->length);
    }
    t->callback(t);
}

int libusb_handle_events_timeout_completed(libusb_context *ctx, struct timeval *tv, int *completed)
{
    static struct message m;

    (void)ctx;
    (void)tv;
    (void)completed;
    for (unsigned i = 0; i < waiting_count; i++) {
        done(waiting[i]);
        free(waiting[i]);
    }
    waiting_count = 0;
    while (recv(sock, &m, sizeof(m), MSG_DONTWAIT) > 0) {
        done(&m);
    }
    return 0;
}

const struct libusb_pollfd **libusb_get_pollfds(libusb_context *ctx)
{
    static struct libusb_pollfd fd;
    static const struct libusb_pollfd *list[2];

    (void)ctx;
    fd.fd = sock;
    fd.events = waiting_count ? POLLIN | POLLOUT : POLLIN; /* what waits is not to wait longer */
    list[0] = &fd;
    return list;
}

void libusb_free_pollfds(const struct libusb_pollfd **fds)
{
    (void)fds;
}
