/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's side of network back ends: what a driver (tap, socket) offers and asks of the core. */
#ifndef BACKENDS_NET_NET_H
#define BACKENDS_NET_NET_H

#include <xendm/backend.h>
#include <xendm/net.h>

struct net_driver {
    /* One whole frame. 0, -EAGAIN (then net_writable() follows), or the host's error: dropped. */
    int (*send)(struct net *n, const struct iovec *iov, unsigned niov, const struct net_offload *o);
    /* Look for frames, or leave them where they are. */
    void (*set_reading)(struct net *n, bool on);
    /* The device will take frames with these offloads; NULL: the driver never has any. */
    void (*set_offloads)(struct net *n, unsigned offloads);
    unsigned offloads; /* what send() does by itself; the rest comes to it done */
};

/* First member of every driver's instance. */
struct net {
    struct backend backend;
    const struct net_driver *driver;
    unsigned send_offloads; /* of driver->offloads, what this instance really can */

    const struct net_device *device;
    void *opaque;
    uint8_t mac[NET_MAC_LEN];
    unsigned offloads; /* the device's */
    bool running;      /* the device's, by net_run() */
    bool link_down;
    bool starved; /* the device could not receive, or was told so: nothing is read */
    bool waiting; /* the device was told -EAGAIN */
    bool away;    /* the guest is still on the host that it comes from */
    unsigned announce_left;
    unsigned announce_source;
    struct net_stats stats;
};

/* For the driver's open and close. */
void net_init(struct net *n, const struct net_driver *driver);
void net_fini(struct net *n);
/* backend_class.activate: the guest has come, and the switches learn of it. */
int net_activate(struct backend *b, GError **err);

/*
 * The driver has a frame: true if the device could take it (taken or dropped), false: keep it, and
 * look again after set_reading(true). `o` with offloads only as set_offloads() said.
 */
bool net_deliver(struct net *n, const uint8_t *frame, size_t len, const struct net_offload *o);
bool net_can_deliver(struct net *n);
void net_writable(struct net *n);
void net_update_reading(struct net *n); /* the driver can read now: set_reading() says whether to */
void net_describe(const struct net *n, struct facts *to);

/*
 * Offloads in software. `frame` is whole and writable. net_fill_csum(): -EINVAL if the places are
 * not in the frame. net_cut(): calls `out` for each segment, finished.
 */
int net_fill_csum(uint8_t *frame, size_t len, const struct net_offload *o);
int net_cut(const uint8_t *frame, size_t len, const struct net_offload *o,
            int (*out)(void *opaque, const uint8_t *frame, size_t len), void *opaque);
/* `o` as a hostile device wrote it fits a frame of `len` bytes that begins with `head`. */
bool net_offload_fits(const struct net_offload *o, const uint8_t *head, size_t head_len,
                      size_t len);

#endif
