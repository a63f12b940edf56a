/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fake-net.h"

static bool last_taken;

struct net *fake_net_new(void)
{
    struct net *n = g_new0(struct net, 1);

    n->sent = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
    n->offload = g_array_new(FALSE, TRUE, sizeof(struct net_offload));
    return n;
}

void fake_net_free(struct net *n)
{
    g_assert_null(n->device);
    g_ptr_array_unref(n->sent);
    g_array_unref(n->offload);
    g_free(n);
}

bool fake_net_deliver(struct net *n, const void *frame, size_t len)
{
    static const struct net_offload none;
    uint8_t *copy;

    if (!n->device || !n->running || n->link_down || !n->device->can_receive(n->opaque)) {
        return false;
    }
    copy = g_memdup2(frame, len); /* so that the sanitizer sees a look beyond the end */
    last_taken = n->device->receive(n->opaque, copy, len, &none);
    g_free(copy);
    return true;
}

bool fake_net_taken(const struct net *n)
{
    return last_taken;
}

void fake_net_writable(struct net *n)
{
    n->full = false;
    if (n->refused && n->device && n->running) {
        n->refused = 0;
        n->device->sent(n->opaque);
    }
}

const uint8_t *fake_net_frame(const struct net *n, unsigned i, size_t *len)
{
    g_assert_cmpuint(i, <, n->sent->len);
    const GByteArray *f = g_ptr_array_index(n->sent, i);
    *len = f->len;
    return f->data;
}

/* ---- xendm/net.h ---- */

void net_connect(struct net *n, const struct net_device *device, void *opaque,
                 const uint8_t mac[NET_MAC_LEN], unsigned offloads)
{
    if (n) {
        g_assert_null(n->device);
        n->device = device;
        n->opaque = opaque;
        n->offloads = offloads;
        net_set_mac(n, mac);
    }
}

void net_disconnect(struct net *n)
{
    if (n) {
        n->device = NULL;
    }
}

void net_set_offloads(struct net *n, unsigned offloads)
{
    if (n) {
        n->offloads = offloads;
    }
}

void net_set_mac(struct net *n, const uint8_t mac[NET_MAC_LEN])
{
    if (n) {
        memcpy(n->mac, mac, NET_MAC_LEN);
    }
}

void net_run(struct net *n, bool on)
{
    if (n) {
        n->running = on;
    }
}

int net_send(struct net *n, const struct iovec *iov, unsigned niov, const struct net_offload *o)
{
    static const struct net_offload none;
    GByteArray *f;

    if (!n || n->link_down) {
        return 0;
    }
    if (n->full) {
        n->refused++;
        return -EAGAIN;
    }
    g_assert_cmpuint(niov, <=, NET_IOV_MAX);
    f = g_byte_array_new();
    for (unsigned i = 0; i < niov; i++) {
        g_byte_array_append(f, iov[i].iov_base, (guint)iov[i].iov_len);
    }
    g_assert_cmpuint(f->len, >=, NET_HEADER_LEN);
    g_assert_cmpuint(f->len, <=, NET_FRAME_MAX);
    g_ptr_array_add(n->sent, f);
    g_array_append_vals(n->offload, o ? o : &none, 1);
    return 0;
}

void net_receive_again(struct net *n)
{
    if (n) {
        n->receive_again++;
    }
}

bool net_link(const struct net *n)
{
    return n && !n->link_down;
}

void net_set_link(struct net *n, bool up)
{
    n->link_down = !up;
    if (n->device && n->device->link_changed) {
        n->device->link_changed(n->opaque, up);
    }
}

bool net_mac_parse(const char *text, uint8_t mac[NET_MAC_LEN])
{
    unsigned v[NET_MAC_LEN];
    int end = 0;

    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &end) !=
            NET_MAC_LEN ||
        text[end]) {
        return false;
    }
    for (unsigned i = 0; i < NET_MAC_LEN; i++) {
        mac[i] = (uint8_t)v[i];
    }
    return true;
}

void net_mac_format(const uint8_t mac[NET_MAC_LEN], char text[18])
{
    snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
             mac[5]);
}

/* Bit by bit, in the other order than the real one: a mistake in either shows. */
uint32_t net_mac_crc(const uint8_t mac[NET_MAC_LEN])
{
    uint32_t crc = UINT32_MAX, reversed = 0;

    for (unsigned i = 0; i < NET_MAC_LEN * 8; i++) {
        bool bit = (mac[i / 8] >> (i & 7) & 1) ^ (crc & 1);
        crc = crc >> 1 ^ (bit ? 0xedb88320u : 0);
    }
    for (unsigned i = 0; i < 32; i++) {
        reversed |= (crc >> i & 1) << (31 - i);
    }
    return reversed;
}
