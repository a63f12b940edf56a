/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A cable of the test's own in the place of backends/net: what a NIC sends is kept, finished. */
#ifndef TESTS_FAKE_NET_H
#define TESTS_FAKE_NET_H

#include <xendm/backend.h>
#include <xendm/net.h>

struct net {
    struct backend backend;
    const struct net_device *device;
    void *opaque;
    uint8_t mac[NET_MAC_LEN];
    unsigned offloads;
    bool running, link_down;
    bool full;        /* net_send() says -EAGAIN */
    unsigned refused; /* how often it did */
    unsigned receive_again;
    GPtrArray *sent; /* GByteArray *: the frames as the cable saw them, before offloads */
    GArray *offload; /* struct net_offload of each */
};

struct net *fake_net_new(void);
void fake_net_free(struct net *n); /* asserts that the device has gone */
/* As the core would: only while it runs and can receive. False: it stays with the host. */
bool fake_net_deliver(struct net *n, const void *frame, size_t len);
bool fake_net_taken(const struct net *n); /* the last one delivered was not dropped */
/* Room again: calls `sent` if the device waits. */
void fake_net_writable(struct net *n);
const uint8_t *fake_net_frame(const struct net *n, unsigned i, size_t *len);

#endif
