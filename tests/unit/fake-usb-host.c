/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See fake-usb-host.h. What is cancelled ends when the test answers next, as with a real one. */
#include <errno.h>
#include <string.h>

#include <xendm/handover.h>

#include "fake-usb-host.h"

struct usb_host {
    const struct usb_host_user *user;
    void *opaque;
    struct usb_host_about about;
    bool ready, ended, starved;
    uint32_t taken, sent, cancelled, abandoned, length[USB_HOST_SLOTS];
    unsigned resets;
    uint8_t *memory;
};

bool fake_usb_refuses, fake_usb_late;
enum usb_speed fake_usb_speed = USB_FULL;
unsigned fake_usb_speeds, fake_usb_hosts, fake_usb_submitted, fake_usb_slot;
struct usb_host_request fake_usb_request;
static struct usb_host *the_host;

bool usb_host_where_is_valid(const char *where)
{
    return (where[0] >= '0' && where[0] <= '9') || g_str_has_prefix(where, "id:");
}

static gboolean becomes_ready(gpointer opaque)
{
    fake_usb_ready();
    return G_SOURCE_REMOVE;
}

struct usb_host *usb_host_new(const char *where, const struct usb_host_user *user, void *opaque,
                              GError **err)
{
    struct usb_host *h = fake_usb_refuses ? NULL : g_new0(struct usb_host, 1);

    if (!h) {
        g_set_error(err, G_FILE_ERROR, G_FILE_ERROR_NOENT, "there is no %s", where);
        return NULL;
    }
    h->user = user;
    h->opaque = opaque;
    h->about = (struct usb_host_about){fake_usb_speed, fake_usb_speeds | 1u << fake_usb_speed,
                                       0x1234, 0x5678};
    h->memory = g_malloc0((size_t)USB_HOST_SLOTS * USB_HOST_SLOT_SIZE);
    fake_usb_hosts++;
    the_host = h;
    if (!fake_usb_late) {
        g_idle_add(becomes_ready, NULL);
    }
    return h;
}

void usb_host_free(struct usb_host *h)
{
    if (h) {
        the_host = the_host == h ? NULL : the_host;
        fake_usb_hosts--;
        g_free(h->memory);
        g_free(h);
    }
}

void usb_host_go_on(struct usb_host *h)
{
}

void fake_usb_ready(void)
{
    struct usb_host *h = the_host;

    if (h && !h->ready && !h->ended && h->user->wants(h->opaque)) {
        h->ready = true;
        h->user->ready(h->opaque);
    }
}

const struct usb_host_about *usb_host_about(const struct usb_host *h)
{
    return h->ready ? &h->about : NULL;
}

bool usb_host_is_gone(const struct usb_host *h)
{
    return h->ended;
}

int usb_host_take(struct usb_host *h)
{
    if (!h->ready) {
        return -ENODEV;
    }
    for (int i = 0; i < (int)USB_HOST_SLOTS; i++) {
        if (!(h->taken >> i & 1)) {
            h->taken |= 1u << i;
            return i;
        }
    }
    h->starved = true;
    return -EBUSY;
}

void usb_host_give(struct usb_host *h, unsigned slot)
{
    g_assert_true(h->taken >> slot & 1);
    g_assert_false(h->sent >> slot & 1);
    h->taken &= ~(1u << slot);
    if (h->starved) {
        h->starved = false;
        h->user->room(h->opaque);
    }
}

uint8_t *usb_host_memory(struct usb_host *h, unsigned slot)
{
    g_assert_cmpuint(slot, <, USB_HOST_SLOTS);
    return h->memory + (size_t)slot * USB_HOST_SLOT_SIZE;
}

void usb_host_submit(struct usb_host *h, unsigned slot, const struct usb_host_request *request)
{
    g_assert_true(h->taken >> slot & 1);
    g_assert_false(h->sent >> slot & 1);
    g_assert_cmpuint(request->length, <=, USB_HOST_SLOT_SIZE);
    g_assert_cmpuint(request->type, <, USB_HOST_TYPES);
    h->sent |= 1u << slot;
    h->length[slot] = request->length;
    fake_usb_submitted++;
    fake_usb_request = *request;
    fake_usb_slot = slot;
}

void usb_host_cancel(struct usb_host *h, unsigned slot)
{
    g_assert_cmpuint(slot, <, USB_HOST_SLOTS);
    h->cancelled |= h->sent & 1u << slot;
}

void usb_host_abandon(struct usb_host *h)
{
    h->starved = false;
    h->cancelled = h->abandoned = h->taken = h->sent;
    h->resets++;
}

/* ---- live update: here the same object goes on ---- */

void usb_host_hand_over(const struct usb_host *h, struct handover *to, const char *group)
{
    handover_put_int(to, group, "ready", h->ready);
    handover_put_int(to, group, "taken", h->taken);
    handover_put_int(to, group, "sent", h->sent);
    handover_put_bytes(to, group, "lengths", h->length, sizeof(h->length));
}

struct usb_host *usb_host_take_over(const struct handover *from, const char *group,
                                    const struct usb_host_user *user, void *opaque, GError **err)
{
    bool was = fake_usb_late;
    struct usb_host *h;
    size_t len = 0;
    g_autofree uint8_t *lengths = handover_bytes(from, group, "lengths", &len);

    fake_usb_late = true;
    h = usb_host_new("0", user, opaque, err);
    fake_usb_late = was;
    h->ready = handover_int(from, group, "ready", 0);
    h->taken = (uint32_t)handover_int(from, group, "taken", 0);
    h->sent = (uint32_t)handover_int(from, group, "sent", 0);
    memcpy(h->length, lengths, MIN(len, sizeof(h->length)));
    return h;
}

/* ---- the device ---- */

bool fake_usb_answer(unsigned which, enum usb_host_status status, uint32_t length)
{
    struct usb_host *h = the_host;

    for (unsigned i = 0; h && h->user->wants(h->opaque) && i < USB_HOST_SLOTS; i++) {
        unsigned slot = (i + which) % USB_HOST_SLOTS;
        uint32_t bit = 1u << slot;

        if (!(h->sent & bit)) {
            continue;
        }
        h->sent &= ~bit;
        if (h->cancelled & bit) {
            status = USB_HOST_CANCELLED;
            length = 0;
        }
        h->cancelled &= ~bit;
        if (h->abandoned & bit) {
            h->abandoned &= ~bit;
            usb_host_give(h, slot);
        } else {
            h->user->done(h->opaque, slot, status, MIN(length, h->length[slot]));
        }
        return true;
    }
    return false;
}

uint8_t *fake_usb_memory(void)
{
    return usb_host_memory(the_host, fake_usb_slot);
}

unsigned fake_usb_in_flight(void)
{
    return the_host ? (unsigned)__builtin_popcount(the_host->sent & ~the_host->cancelled) : 0;
}

unsigned fake_usb_resets(void)
{
    return the_host ? the_host->resets : 0;
}

void fake_usb_end(void)
{
    struct usb_host *h = the_host;

    if (!h || h->ended || !h->user->wants(h->opaque)) {
        return;
    }
    h->ended = true;
    h->ready = false;
    for (unsigned i = 0; i < USB_HOST_SLOTS; i++) {
        if (h->sent >> i & 1) {
            bool orphan = h->abandoned >> i & 1;

            h->sent &= ~(1u << i);
            if (orphan) {
                usb_host_give(h, i);
            } else {
                h->user->done(h->opaque, i, USB_HOST_GONE, 0);
            }
        }
    }
    h->user->gone(h->opaque);
}
