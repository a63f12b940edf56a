/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to backends/pv: a PV network interface. Keys are in vif.c, rings in vif-ring.c. */
#ifndef BACKENDS_PV_VIF_H
#define BACKENDS_PV_VIF_H

#include <xendm/later.h>
#include <xendm/net.h>

#include "internal.h"

#define VIF_SLOTS_MAX 18u /* of a frame: XEN_NETIF_NR_SLOTS_MIN, which each side can count on */

/* Requests are answered in their order, so one index says how far a ring is. */
struct vif_ring {
    uint8_t *page;  /* NULL: not connected */
    unsigned entry; /* bytes */
    uint32_t done, shown;
};

/* A frame of the guest that has been read, and not been sent. */
struct vif_frame {
    uint32_t entries; /* of the ring, extra information included; 0: there is none */
    uint32_t extras;
    size_t len;
    struct net_offload offload;
    uint8_t bytes[NET_FRAME_MAX];
};

struct vif {
    struct pv_device dev;
    struct net *end; /* NULL: none, or not found */
    char *id;        /* of its back end */
    uint8_t mac[NET_MAC_LEN];
    unsigned offloads; /* what the front end takes of frames that it receives */
    bool gather;       /* … in more than one piece */
    struct vif_ring tx, rx;
    struct later more;
    struct vif_frame frame;
    uint64_t refused, dropped;
};

extern const struct net_device vif_net_device;

/* The rings that the core has mapped: from where they are, or from these indices. */
void vif_rings_set(struct vif *v, void *tx, void *rx);
/* False: indices are nonsense. */
bool vif_rings_begin(struct vif *v);
void vif_rings_end(struct vif *v);
void vif_run(struct vif *v);

#endif
