/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's end of the process that has a USB device; see xendm/usb-host.h and wire.h. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib-unix.h>

#include <xendm/error.h>
#include <xendm/file-size.h>
#include <xendm/files.h>
#include <xendm/handover.h>
#include <xendm/log.h>
#include <xendm/memory-file.h>
#include <xendm/one-fd.h>
#include <xendm/turn.h>

#include "wire.h"

#define TURN_MESSAGES 64u

struct usb_host {
    char *where;
    const struct usb_host_user *user;
    void *opaque;
    int socket, memory_fd;
    uint8_t *memory;
    GSource *watch; /* NULL: nothing is read now */
    bool ready, ended;
    bool resetting, reset_again;                /* RESET_DONE is to come; then another one is due */
    bool starved;                               /* somebody waits for a slot */
    uint32_t taken, sent, cancelled, abandoned; /* slots, by bit; sent and abandoned are taken */
    uint32_t length[USB_HOST_SLOTS];
    struct usb_host_about about;
};

#define BIT(slot) (UINT32_C(1) << (slot))

/* By us, or by who may open the device still when we may not any more. */
static int start_or_ask(const char *where, GError **err)
{
    int fd = files_serve_usb(where);

    if (fd == -ENOSYS) {
        return usb_host_start(where, err);
    }
    if (fd < 0) {
        g_set_error(err, XENDM_ERROR, -fd, "the USB device %s: %s", where, files_why(-fd));
    }
    return fd;
}

/* ---- messages ---- */

static void unwatch(struct usb_host *h)
{
    if (h->watch) {
        g_source_destroy(h->watch);
        g_clear_pointer(&h->watch, g_source_unref);
    }
}

/* What is on its way is bounded, so there is room. If there is none, that is no such process. */
static void send_to(struct usb_host *h, const struct usb_wire *w)
{
    if (!h->ended && send(h->socket, w, sizeof(*w), MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof(*w)) {
        log_debug(LOG_BACKEND, "USB device %s: %s", h->where, g_strerror(errno));
        shutdown(h->socket, SHUT_RDWR); /* which is heard of in the loop */
    }
}

static void free_slot(struct usb_host *h, unsigned slot)
{
    h->taken &= ~BIT(slot);
    if (h->starved) {
        h->starved = false;
        h->user->room(h->opaque);
    }
}

static void finish(struct usb_host *h, unsigned slot, enum usb_host_status status, uint32_t length)
{
    bool orphan = h->abandoned & BIT(slot);

    h->sent &= ~BIT(slot);
    h->cancelled &= ~BIT(slot);
    h->abandoned &= ~BIT(slot);
    if (orphan) {
        free_slot(h, slot);
    } else {
        h->user->done(h->opaque, slot, status, length);
    }
}

static void end(struct usb_host *h, const char *why)
{
    unwatch(h);
    if (h->ended) {
        return;
    }
    log_warning(LOG_BACKEND, "USB device %s is gone: %s", h->where, why);
    h->ended = true;
    h->ready = h->resetting = false;
    for (unsigned i = 0; i < USB_HOST_SLOTS; i++) {
        if (h->sent & BIT(i)) {
            finish(h, i, USB_HOST_GONE, 0);
        }
    }
    h->user->gone(h->opaque);
}

static bool is_ready(struct usb_host *h, const struct usb_wire *w)
{
    if (h->ready || w->speed > USB_SUPER) {
        return false;
    }
    h->about = (struct usb_host_about){.speed = (enum usb_speed)w->speed,
                                       .speeds = w->speeds | 1u << w->speed,
                                       .vendor = w->vendor,
                                       .product = w->product};
    h->ready = true;
    log_info(LOG_BACKEND, "USB device %s is %04x:%04x", h->where, w->vendor, w->product);
    h->user->ready(h->opaque);
    return true;
}

static bool is_done(struct usb_host *h, const struct usb_wire *w)
{
    if (w->slot >= USB_HOST_SLOTS || !(h->sent & BIT(w->slot)) || w->status >= USB_HOST_STATUSES ||
        w->length > h->length[w->slot]) {
        return false;
    }
    finish(h, w->slot, (enum usb_host_status)w->status, w->length);
    return true;
}

static void reset(struct usb_host *h);

static bool is_reset(struct usb_host *h)
{
    bool was = h->resetting;

    h->resetting = false;
    if (h->reset_again) {
        h->reset_again = false;
        reset(h);
    }
    return was;
}

/* False: that is no such process. */
static bool handle(struct usb_host *h, const struct usb_wire *w)
{
    switch (w->what) {
    case USB_WIRE_READY:
        return is_ready(h, w);
    case USB_WIRE_DONE:
        return h->ready && is_done(h, w);
    case USB_WIRE_RESET_DONE:
        return is_reset(h);
    case USB_WIRE_FAILED:
        end(h, g_strerror((int)MIN(w->status, 4095u)));
        return true;
    default:
        return false;
    }
}

/* The user may free nothing of it from within. */
static gboolean readable(gint fd, GIOCondition condition, gpointer opaque)
{
    struct usb_host *h = opaque;

    turn_of("USB device");
    for (unsigned i = 0; i < TURN_MESSAGES && h->watch; i++) {
        struct usb_wire w;
        ssize_t n;

        if (!h->user->wants(h->opaque)) {
            unwatch(h);
            return G_SOURCE_REMOVE;
        }
        n = recv(h->socket, &w, sizeof(w), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            break;
        }
        if (n != sizeof(w) || !handle(h, &w)) {
            end(h, n == 0 || (n < 0 && errno == ECONNRESET) ? "its process has ended"
                                                            : "its process lies");
        }
        if (turn_is_used_up()) {
            break;
        }
    }
    return G_SOURCE_CONTINUE;
}

void usb_host_go_on(struct usb_host *h)
{
    if (!h->watch && !h->ended) {
        h->watch = g_unix_fd_source_new(h->socket, G_IO_IN | G_IO_HUP | G_IO_ERR);
        g_source_set_callback(h->watch, G_SOURCE_FUNC(readable), h, NULL);
        g_source_attach(h->watch, NULL);
    }
}

/* ---- life ---- */

static struct usb_host *host_new(const char *where, int socket, int memory,
                                 const struct usb_host_user *user, void *opaque, GError **err)
{
    struct usb_host *h = g_new0(struct usb_host, 1);

    h->where = g_strdup(where);
    h->user = user;
    h->opaque = opaque;
    h->socket = socket;
    h->memory_fd = memory;
    h->memory = memory_file_map(memory, USB_WIRE_MEMORY);
    if (socket < 0 || !h->memory) {
        int e = errno ? errno : EIO;

        g_set_error(err, XENDM_ERROR, e, "there is no memory to share with its process: %s",
                    g_strerror(e));
        usb_host_free(h);
        return NULL;
    }
    usb_host_go_on(h);
    return h;
}

struct usb_host *usb_host_new(const char *where, const struct usb_host_user *user, void *opaque,
                              GError **err)
{
    const struct usb_wire hello = {.what = USB_WIRE_HELLO, .length = (uint32_t)USB_WIRE_MEMORY};
    int socket = start_or_ask(where, err);
    int memory;
    struct usb_host *h;

    file_size_allow(USB_WIRE_MEMORY); /* with dm_restrict less is left than the slots have */
    memory = socket < 0 ? -1 : memory_file_new("xendm-usb", USB_WIRE_MEMORY, true);
    h = socket < 0 ? NULL : host_new(where, socket, memory, user, opaque, err);
    if (h && one_fd_send(socket, &hello, sizeof(hello), h->memory_fd, 0) != sizeof(hello)) {
        g_set_error(err, XENDM_ERROR, EPIPE, "the process for the USB device %s has ended", where);
        g_clear_pointer(&h, usb_host_free);
    }
    return h;
}

void usb_host_free(struct usb_host *h)
{
    if (!h) {
        return;
    }
    unwatch(h);
    if (h->memory) {
        munmap(h->memory, USB_WIRE_MEMORY);
    }
    if (h->memory_fd >= 0) {
        close(h->memory_fd);
    }
    if (h->socket >= 0) {
        close(h->socket);
    }
    g_free(h->where);
    g_free(h);
}

const struct usb_host_about *usb_host_about(const struct usb_host *h)
{
    return h->ready ? &h->about : NULL;
}

bool usb_host_is_gone(const struct usb_host *h)
{
    return h->ended;
}

/* ---- requests ---- */

int usb_host_take(struct usb_host *h)
{
    uint32_t free_ones = ~h->taken & (BIT(USB_HOST_SLOTS) - 1);
    int slot = !h->ready ? -ENODEV : !free_ones ? -EBUSY : __builtin_ctz(free_ones);

    h->starved |= slot == -EBUSY;
    h->taken |= slot < 0 ? 0 : BIT(slot);
    return slot;
}

void usb_host_give(struct usb_host *h, unsigned slot)
{
    free_slot(h, slot);
}

uint8_t *usb_host_memory(struct usb_host *h, unsigned slot)
{
    return h->memory + (size_t)slot * USB_HOST_SLOT_SIZE;
}

void usb_host_submit(struct usb_host *h, unsigned slot, const struct usb_host_request *request)
{
    struct usb_wire w = {.what = USB_WIRE_SUBMIT,
                         .slot = slot,
                         .length = request->length,
                         .type = (uint8_t)request->type,
                         .endpoint = request->endpoint,
                         .whole_packets = request->whole_packets};

    memcpy(w.setup, request->setup, sizeof(w.setup));
    h->sent |= BIT(slot);
    h->length[slot] = request->length + (request->whole_packets ? USB_HOST_PACKET_MAX : 0);
    send_to(h, &w);
}

void usb_host_cancel(struct usb_host *h, unsigned slot)
{
    const struct usb_wire w = {.what = USB_WIRE_CANCEL, .slot = slot};

    if (h->sent & ~h->cancelled & BIT(slot)) { /* once each, so that the socket has room */
        h->cancelled |= BIT(slot);
        send_to(h, &w);
    }
}

static void reset(struct usb_host *h)
{
    const struct usb_wire w = {.what = USB_WIRE_RESET};

    if (h->resetting) {
        h->reset_again = true;
        return;
    }
    h->resetting = true;
    send_to(h, &w);
}

void usb_host_abandon(struct usb_host *h)
{
    h->starved = false;
    for (unsigned i = 0; i < USB_HOST_SLOTS; i++) {
        usb_host_cancel(h, i);
    }
    h->abandoned = h->sent;
    h->taken = h->sent;
    if (h->ready) {
        reset(h);
    }
}

/* ---- live update ---- */

void usb_host_hand_over(const struct usb_host *h, struct handover *to, const char *group)
{
    handover_put_text(to, group, "where", h->where);
    handover_put_fd(to, group, "process", h->ended ? -1 : h->socket);
    handover_put_fd(to, group, "slots", h->memory_fd);
    handover_put_int(to, group, "ready", h->ready);
    handover_put_int(to, group, "resetting", h->resetting | h->reset_again << 1);
    handover_put_int(to, group, "speed", h->about.speed);
    handover_put_int(to, group, "speeds", h->about.speeds);
    handover_put_int(to, group, "vendor", h->about.vendor);
    handover_put_int(to, group, "product", h->about.product);
    handover_put_int(to, group, "taken", h->taken);
    handover_put_int(to, group, "sent", h->sent);
    handover_put_int(to, group, "cancelled", h->cancelled);
    handover_put_int(to, group, "abandoned", h->abandoned);
    handover_put_bytes(to, group, "lengths", h->length, sizeof(h->length));
}

static void take_numbers(struct usb_host *h, const struct handover *from, const char *group)
{
    int64_t resetting = handover_int(from, group, "resetting", 0);
    size_t len = 0;
    g_autofree uint8_t *lengths = handover_bytes(from, group, "lengths", &len);

    h->ready = handover_int(from, group, "ready", 0);
    h->resetting = resetting & 1;
    h->reset_again = resetting & 2;
    h->about.speed =
        (enum usb_speed)CLAMP(handover_int(from, group, "speed", USB_FULL), USB_LOW, USB_SUPER);
    h->about.speeds = (uint8_t)handover_int(from, group, "speeds", 0) | 1u << h->about.speed;
    h->about.vendor = (uint16_t)handover_int(from, group, "vendor", 0);
    h->about.product = (uint16_t)handover_int(from, group, "product", 0);
    h->taken = (uint32_t)handover_int(from, group, "taken", 0) & (BIT(USB_HOST_SLOTS) - 1);
    h->sent = (uint32_t)handover_int(from, group, "sent", 0) & h->taken;
    h->cancelled = (uint32_t)handover_int(from, group, "cancelled", 0) & h->sent;
    h->abandoned = (uint32_t)handover_int(from, group, "abandoned", 0) & h->sent;
    if (lengths && len == sizeof(h->length)) {
        memcpy(h->length, lengths, len);
    }
}

struct usb_host *usb_host_take_over(const struct handover *from, const char *group,
                                    const struct usb_host_user *user, void *opaque, GError **err)
{
    g_autofree char *where = handover_text(from, group, "where");
    int socket = handover_fd(from, group, "process");
    struct usb_host *h =
        host_new(where ? where : "", socket, handover_fd(from, group, "slots"), user, opaque, err);

    if (h) {
        take_numbers(h, from, group);
    }
    return h;
}
