/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qnic: a PV network interface that the device model serves, where the kernel has no netback. Xen's
 * io/netif.h. libxl writes `vif`, the kernel's, for every interface; this one is of who writes
 * backend/qnic himself, as for QEMU. Its other end is the network back end of the command line with
 * the id qnicN (device_model_args: -netdev tap,id=qnic0,…).
 *
 * The rings are in vif-ring.c.
 */
#include <errno.h>
#include <string.h>

#include <xendm/backend.h>
#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/handover.h>

#include "vif.h"

static struct vif *vif_of(struct pv_device *dev)
{
    return (struct vif *)dev;
}

static int find_end(struct vif *v, const char *id, GError **err)
{
    struct backend *b = backend_find(pv_host(&v->dev)->backends, BACKEND_NET, id);

    if (!b || b->user) {
        g_set_error(err, XENDM_ERROR, b ? EBUSY : ENOENT, "the network back end '%s' %s", id,
                    b ? "has another device" : "is not there (-netdev tap,id=…)");
        return b ? -EBUSY : -ENOENT;
    }
    g_free(v->id);
    v->id = g_strdup(id);
    v->end = (struct net *)b; /* which begins with it */
    return 0;
}

static int read_mac(struct vif *v, GError **err)
{
    g_autofree char *text = pv_read(&v->dev, false, "mac");

    if (!text || !net_mac_parse(text, v->mac)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "its mac '%s' is none", text ? text : "");
        return -EINVAL;
    }
    return 0;
}

static int vif_offer(struct pv_device *dev, GError **err)
{
    static const char *const features[] = {"feature-rx-copy", "feature-sg", "feature-gso-tcpv4",
                                           "feature-gso-tcpv6", "feature-ipv6-csum-offload"};
    struct vif *v = vif_of(dev);
    g_autofree char *id = g_strdup_printf("qnic%u", dev->devid);
    int rc = find_end(v, id, err);

    rc = rc ? rc : read_mac(v, err);
    for (unsigned i = 0; rc == 0 && i < G_N_ELEMENTS(features); i++) {
        pv_write(dev, features[i], "1");
    }
    return rc;
}

/* The contract of back ends has one flag for checksums of both kinds of IP. */
static unsigned read_offloads(struct pv_device *dev, bool gather)
{
    bool checksums = !pv_read_flag(dev, true, "feature-no-csum-offload") &&
                     pv_read_flag(dev, true, "feature-ipv6-csum-offload");
    unsigned tso = (pv_read_flag(dev, true, "feature-gso-tcpv4") ? NET_TSO4 : 0) |
                   (pv_read_flag(dev, true, "feature-gso-tcpv6") ? NET_TSO6 : 0);

    return checksums ? NET_CSUM | (gather ? tso : 0) : 0;
}

static int vif_connect(struct pv_device *dev, GError **err)
{
    struct vif *v = vif_of(dev);
    uint32_t tx = 0, port = 0;
    int rc = pv_read_u32(dev, "tx-ring-ref", &tx, err);

    if (rc == 0 && !pv_read_flag(dev, true, "request-rx-copy")) {
        g_set_error(err, XENDM_ERROR, ENOTSUP, "it wants pages flipped (no request-rx-copy)");
        return -ENOTSUP;
    }
    rc = rc ? rc : pv_read_u32(dev, "event-channel", &port, err);
    v->gather = pv_read_flag(dev, true, "feature-sg");
    v->offloads = read_offloads(dev, v->gather);
    return rc ? rc : pv_attach(dev, &tx, 1, port, err);
}

static int begin(struct vif *v, GError **err)
{
    uint32_t ref = 0;
    int rc = pv_read_u32(&v->dev, "rx-ring-ref", &ref, err);
    void *rx = rc ? NULL : pv_map_more(&v->dev, &ref, 1, err);

    if (!rx) {
        return rc ? rc : -EIO;
    }
    vif_rings_set(v, v->dev.ring, rx);
    if (!vif_rings_begin(v)) {
        vif_rings_end(v);
        g_set_error(err, XENDM_ERROR, EIO, "its rings have more requests than they have room for");
        return -EIO;
    }
    return 0;
}

static int resume(struct vif *v, const struct handover *from, const char *group, GError **err)
{
    unsigned pages = 0;
    void *rx = pv_more(&v->dev, 0, &pages);

    if (pages != 1 || !v->end) {
        g_set_error(err, XENDM_ERROR, EINVAL, "what is left of it is no network interface");
        return -EINVAL;
    }
    vif_rings_set(v, v->dev.ring, rx);
    v->tx.done = v->tx.shown = (uint32_t)handover_int(from, group, "tx", 0);
    v->rx.done = v->rx.shown = (uint32_t)handover_int(from, group, "rx", 0);
    v->gather = handover_int(from, group, "gather", 0);
    v->offloads =
        (unsigned)handover_int(from, group, "offloads", 0) & (NET_CSUM | NET_TSO4 | NET_TSO6);
    return 0;
}

static int vif_attached(struct pv_device *dev, const struct handover *from, const char *group,
                        GError **err)
{
    struct vif *v = vif_of(dev);
    int rc = from ? resume(v, from, group, err) : begin(v, err);

    if (rc == 0) {
        net_connect(v->end, &vif_net_device, v, v->mac, v->offloads);
        net_run(v->end, true);
    }
    return rc;
}

static void vif_event(struct pv_device *dev)
{
    struct vif *v = vif_of(dev);

    pv_unmask(dev); /* before the look at the rings: what comes behind it rings again */
    net_receive_again(v->end);
    vif_run(v);
}

static void vif_disconnect(struct pv_device *dev)
{
    struct vif *v = vif_of(dev);

    vif_rings_end(v);
    net_disconnect(v->end);
}

static void vif_removed(struct pv_device *dev, bool gone)
{
    g_clear_pointer(&vif_of(dev)->id, g_free);
}

/* ---- live update ---- */

static void vif_hand_over(const struct pv_device *dev, struct handover *to, const char *group)
{
    const struct vif *v = (const struct vif *)dev;

    if (!v->end) {
        return;
    }
    handover_put_text(to, group, "net", v->id);
    handover_put_bytes(to, group, "mac", v->mac, sizeof(v->mac));
    handover_put_int(to, group, "gather", v->gather);
    handover_put_int(to, group, "offloads", v->offloads);
    handover_put_int(to, group, "tx", v->tx.done);
    handover_put_int(to, group, "rx", v->rx.done);
}

static int vif_take_over(struct pv_device *dev, const struct handover *from, const char *group,
                         GError **err)
{
    struct vif *v = vif_of(dev);
    g_autofree char *id = handover_text(from, group, "net");
    size_t len = 0;
    g_autofree uint8_t *mac = handover_bytes(from, group, "mac", &len);

    if (mac && len == sizeof(v->mac)) {
        memcpy(v->mac, mac, len);
    }
    return id ? find_end(v, id, err) : 0;
}

static void vif_describe(const struct pv_device *dev, struct facts *to)
{
    const struct vif *v = (const struct vif *)dev;

    fact_text(to, "network back end", "%s", v->id ? v->id : "");
    fact_bool(to, "gathers", v->gather);
    fact_hex(to, "offloads", v->offloads);
    fact_int(to, "refused", (int64_t)v->refused);
    fact_int(to, "dropped", (int64_t)v->dropped);
    fact_bool(to, "waits for the host", v->frame.entries != 0);
}

const struct pv_class pv_vif_class = {
    .kind = "qnic",
    .size = sizeof(struct vif),
    .offer = vif_offer,
    .connect = vif_connect,
    .take_over = vif_take_over,
    .attached = vif_attached,
    .event = vif_event,
    .disconnect = vif_disconnect,
    .removed = vif_removed,
    .hand_over = vif_hand_over,
    .describe = vif_describe,
};
