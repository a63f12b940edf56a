/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xendm-usb: has one USB device of the host for one guest. Started by xendm or its broker, with the
 * socket as descriptor 3 and the device, which usbfs opened, as 4:
 *
 *   xendm-usb WHERE
 *
 * It ends when xendm's end of the socket does, or the device; the host has its device back then.
 * One that does not answer a request of the device framework (a configuration) holds the others,
 * which are of the same device.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <libusb.h>

#include <xendm/helper.h>
#include <xendm/one-fd.h>

#include "confine.h"
#include "passed.h"

#define FDS_MAX 16u

static bool say(const struct usb_wire *w)
{
    return send(HELPER_FD_SOCKET, w, sizeof(*w), MSG_NOSIGNAL) == sizeof(*w);
}

static void done(unsigned slot, enum usb_host_status status, uint32_t length)
{
    const struct usb_wire w = {.what = USB_WIRE_DONE,
                               .slot = slot,
                               .status = status,
                               .length = length};

    say(&w); /* who does not hear it has ended, which the loop sees */
}

static int fail(int error)
{
    const struct usb_wire w = {.what = USB_WIRE_FAILED, .status = (uint32_t)error};

    say(&w);
    return 1;
}

/* The memory that both have; NULL: it is not what was agreed on. */
static uint8_t *receive_memory(void)
{
    struct usb_wire hello;
    struct stat st;
    int fd = -1;
    void *at = MAP_FAILED;

    if (one_fd_receive(HELPER_FD_SOCKET, &hello, sizeof(hello), &fd, 0) == sizeof(hello) &&
        fd >= 0 && hello.what == USB_WIRE_HELLO && hello.length == USB_WIRE_MEMORY &&
        fstat(fd, &st) == 0 && st.st_size == (off_t)USB_WIRE_MEMORY) {
        at = mmap(NULL, USB_WIRE_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (fd >= 0) {
        close(fd);
    }
    return at == MAP_FAILED ? NULL : at;
}

/* libusb looks for no devices: there is the one that we have. */
static struct libusb_context *start_libusb(void)
{
    struct libusb_context *context = NULL;

    libusb_set_option(NULL, LIBUSB_OPTION_NO_DEVICE_DISCOVERY);
    return libusb_init(&context) == 0 ? context : NULL;
}

/* ---- the loop ---- */

static bool obey(struct usb_process *p, const struct usb_wire *w)
{
    const struct usb_wire reset_done = {.what = USB_WIRE_RESET_DONE};

    switch (w->what) {
    case USB_WIRE_SUBMIT:
        return passed_submit(p, w);
    case USB_WIRE_CANCEL:
        return passed_cancel(p, w->slot);
    case USB_WIRE_RESET:
        passed_reset(p);
        return say(&reset_done);
    default:
        return false;
    }
}

/* 1: go on; 0: xendm has gone; -1: it says what nobody may. */
static int listen_to(struct usb_process *p)
{
    struct usb_wire w;
    ssize_t n = recv(HELPER_FD_SOCKET, &w, sizeof(w), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 1;
    }
    return n <= 0 ? 0 : n == sizeof(w) && obey(p, &w) ? 1 : -1;
}

static nfds_t gather(struct libusb_context *libusb, struct pollfd *fds)
{
    const struct libusb_pollfd **list = libusb_get_pollfds(libusb);
    nfds_t n = 1;

    fds[0] = (struct pollfd){.fd = HELPER_FD_SOCKET, .events = POLLIN};
    for (unsigned i = 0; list && list[i] && n < FDS_MAX; i++) {
        fds[n++] = (struct pollfd){.fd = list[i]->fd, .events = list[i]->events};
    }
    libusb_free_pollfds(list);
    return n;
}

/* What libusb waits for. False: the device is not there any more. */
static bool let_libusb(struct libusb_context *libusb, const struct pollfd *fds, nfds_t n)
{
    struct timeval now = {0};
    bool any = false, there = true;

    for (nfds_t i = 1; i < n; i++) {
        any |= fds[i].revents != 0;
        there &= !(fds[i].revents & (POLLHUP | POLLNVAL));
    }
    if (any) {
        libusb_handle_events_timeout_completed(libusb, &now, NULL);
    }
    return there;
}

static int serve(struct libusb_context *libusb, struct usb_process *p)
{
    for (;;) {
        struct pollfd fds[FDS_MAX];
        nfds_t n = gather(libusb, fds);
        int more = 1;

        if (poll(fds, n, -1) < 0 && errno != EINTR) {
            return fail(errno);
        }
        if (!let_libusb(libusb, fds, n) || passed_is_gone(p)) {
            return fail(ENODEV);
        }
        if (fds[0].revents) {
            more = listen_to(p);
        }
        if (more <= 0) {
            passed_close(p);
            return more;
        }
    }
}

int main(int argc, char **argv)
{
    struct usb_wire ready = {.what = USB_WIRE_READY};
    struct libusb_context *libusb;
    struct usb_process *p;
    uint8_t *memory;
    int rc;

    if (argc != 2) {
        fprintf(stderr, "xendm-usb is started by xendm, for USB devices of the host\n");
        return 1;
    }
    signal(SIGHUP, SIG_IGN); /* libxl's, to xendm: our end comes by the socket */
    signal(SIGINT, SIG_IGN);
    memory = receive_memory();
    libusb = memory ? start_libusb() : NULL;
    p = libusb ? passed_new(libusb, memory, done) : NULL;
    if (!p || !confine_to_device()) {
        _exit(fail(EPERM));
    }
    rc = passed_open(p, HELPER_FD_PASSED, &ready);
    if (rc == 0 && say(&ready)) {
        _exit(serve(libusb, p) ? 1 : 0);
    }
    passed_close(p);
    _exit(rc ? fail(rc) : 1);
}
