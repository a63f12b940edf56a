/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qusb: a PV USB host controller, with devices of the host in its ports. Xen's io/usbif.h; libxl's
 * keys (toolstack.md 3.4). The rings are in usb-ring.c, what has a device is xendm/usb-host.h's.
 *
 * A device is opened when the first front end connects, and kept until the toolstack takes it out
 * of its port: a front end that comes and goes gets it back reset. One that is gone (pulled out, or
 * its process has died) is opened again when the toolstack changes a port, or a front end connects.
 * A live update carries requests that are in flight.
 */
#include <errno.h>
#include <string.h>

#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/grants.h>
#include <xendm/handover.h>
#include <xendm/log.h>

#include "usb.h"

static struct vusb *vusb_of(struct pv_device *dev)
{
    return (struct vusb *)dev;
}

uint8_t vusb_speed(const struct vusb_port *port)
{
    static const uint8_t of[] = {
        [USB_LOW] = USBIF_SPEED_LOW, [USB_FULL] = USBIF_SPEED_FULL, [USB_HIGH] = USBIF_SPEED_HIGH};
    const struct usb_host_about *about = port->host ? usb_host_about(port->host) : NULL;

    if (!about || about->speed > USB_HIGH ||
        (about->speed == USB_HIGH && port->vusb->version < USB_VER_USB20)) {
        return USBIF_SPEED_NONE;
    }
    return of[about->speed];
}

/* ---- devices ---- */

static bool wants(void *opaque)
{
    struct vusb_port *port = opaque;

    return !pv_paused(&port->vusb->dev);
}

static void ready(void *opaque)
{
    struct vusb_port *port = opaque;

    if (vusb_speed(port) == USBIF_SPEED_NONE) {
        log_warning(LOG_BACKEND, "%s: the USB device %s is too fast for a controller of USB %s",
                    pv_name(&port->vusb->dev), port->where,
                    port->vusb->version < USB_VER_USB20 ? "1.1" : "2.0");
    }
    vusb_tell(port->vusb);
}

static void done(void *opaque, unsigned slot, enum usb_host_status status, uint32_t length)
{
    struct vusb_port *port = opaque;

    if (port->vusb->urbs.page) {
        vusb_done(port->vusb, port, slot, status, length);
    }
    usb_host_give(port->host, slot);
}

static void room(void *opaque)
{
    struct vusb_port *port = opaque;

    vusb_run(port->vusb);
}

static void gone(void *opaque)
{
    struct vusb_port *port = opaque;

    vusb_tell(port->vusb);
}

static const struct usb_host_user user = {
    .wants = wants, .ready = ready, .done = done, .room = room, .gone = gone};

/* Requests that it has end; whoever comes next is another device. */
static void close_port(struct vusb_port *port)
{
    struct vusb *v = port->vusb;

    if (!port->host) {
        return;
    }
    for (unsigned i = 0; i < VUSB_URBS; i++) {
        if (v->urb[i].used && v->urb[i].port == port->number - 1) {
            vusb_done(v, port, v->urb[i].slot, USB_HOST_GONE, 0);
        }
    }
    g_clear_pointer(&port->host, usb_host_free);
    port->replaced = port->told != USBIF_SPEED_NONE;
}

static void open_port(struct vusb_port *port)
{
    g_autoptr(GError) err = NULL;

    if (port->host && usb_host_is_gone(port->host)) {
        close_port(port);
    }
    if (port->host || !port->where || !port->where[0]) {
        return;
    }
    port->host =
        usb_host_where_is_valid(port->where) ? usb_host_new(port->where, &user, port, &err) : NULL;
    if (!port->host) {
        log_warning(LOG_BACKEND, "%s: port %u: %s", pv_name(&port->vusb->dev), port->number,
                    err ? err->message : "what is to be in it is no USB device");
    }
}

/* ---- keys ---- */

static void read_port(struct vusb *v, struct vusb_port *port)
{
    g_autofree char *key = g_strdup_printf("port/%u", port->number);
    char *where = pv_read(&v->dev, false, key);

    if (!where && errno != ENOENT) { /* not known now: as it was */
        return;
    }
    if (g_strcmp0(where ? where : "", port->where) != 0) {
        close_port(port);
        g_free(port->where);
        port->where = g_strdup(where ? where : "");
    }
    g_free(where);
}

/* What is in the ports, while there is somebody for whom. */
static void read_ports(struct vusb *v)
{
    for (unsigned i = 0; i < v->count; i++) {
        read_port(v, &v->ports[i]);
        if (v->urbs.page) {
            open_port(&v->ports[i]);
        }
    }
    vusb_tell(v);
}

static void vusb_changed(struct pv_device *dev, const char *key)
{
    struct vusb *v = vusb_of(dev);

    if (!g_str_has_prefix(key, "port")) {
        return;
    }
    if (pv_paused(dev)) {
        v->look = true;
    } else {
        read_ports(v);
    }
}

static void vusb_resumed(struct pv_device *dev)
{
    struct vusb *v = vusb_of(dev);

    for (unsigned i = 0; i < v->count; i++) {
        if (v->ports[i].host) {
            usb_host_go_on(v->ports[i].host);
        }
    }
    if (v->look) {
        v->look = false;
        read_ports(v);
    }
}

static void set_count(struct vusb *v, unsigned count)
{
    for (unsigned i = count; i < v->count; i++) {
        close_port(&v->ports[i]);
        g_clear_pointer(&v->ports[i].where, g_free);
    }
    for (unsigned i = v->count; i < count; i++) {
        v->ports[i] = (struct vusb_port){.vusb = v, .number = i + 1};
    }
    v->count = count;
}

static int vusb_offer(struct pv_device *dev, GError **err)
{
    struct vusb *v = vusb_of(dev);
    uint64_t count = 0, version = 0;

    if (pv_read_uint(dev, false, "num-ports", USBIF_MAX_PORTNR, &count) < 0 || count == 0 ||
        pv_read_uint(dev, false, "usb-ver", USB_VER_USB20, &version) < 0 || version == 0) {
        g_set_error(err, XENDM_ERROR, EINVAL,
                    "its num-ports is not 1 to %u, or its usb-ver not 1 or 2", USBIF_MAX_PORTNR);
        return -EINVAL;
    }
    set_count(v, (unsigned)count);
    v->version = (unsigned)version;
    return 0;
}

/* ---- the connection ---- */

static int vusb_connect(struct pv_device *dev, GError **err)
{
    uint32_t ref = 0, port = 0;
    int rc = pv_read_u32(dev, "urb-ring-ref", &ref, err);

    rc = rc ? rc : pv_read_u32(dev, "event-channel", &port, err);
    return rc ? rc : pv_attach(dev, &ref, 1, port, err);
}

static int begin(struct vusb *v, GError **err)
{
    uint32_t ref = 0;
    int rc = pv_read_u32(&v->dev, "conn-ring-ref", &ref, err);
    void *conns = rc < 0 ? NULL : pv_map_more(&v->dev, &ref, 1, err);

    if (!conns) {
        return rc < 0 ? rc : -EIO;
    }
    vusb_rings_set(v, v->dev.ring, conns);
    if (!vusb_rings_begin(v)) {
        vusb_rings_end(v);
        g_set_error(err, XENDM_ERROR, EINVAL,
                    "its rings have more requests than they have room for");
        return -EINVAL;
    }
    for (unsigned i = 0; i < v->count; i++) {
        struct vusb_port *port = &v->ports[i];

        port->told = USBIF_SPEED_NONE;
        port->replaced = false;
        port->address = 0;
    }
    read_ports(v);
    return 0;
}

/* ---- live update: requests in flight go with it ---- */

static void put_ring(const struct vusb_ring *r, struct handover *to, const char *group,
                     const char *name)
{
    const uint32_t at[] = {r->taken, r->answered};

    handover_put_bytes(to, group, name, at, sizeof(at));
}

/* What cannot be of a ring is taken for none. */
static bool take_ring(struct vusb_ring *r, const struct handover *from, const char *group,
                      const char *name)
{
    size_t len = 0;
    g_autofree uint8_t *bytes = handover_bytes(from, group, name, &len);
    uint32_t at[2];

    if (!bytes || len != sizeof(at)) {
        return false;
    }
    memcpy(at, bytes, sizeof(at));
    r->taken = at[0];
    r->answered = r->shown = at[1];
    return r->taken - r->answered <= r->entries;
}

static int resume(struct vusb *v, const struct handover *from, const char *group, GError **err)
{
    unsigned pages = 0;
    void *conns = pv_more(&v->dev, 0, &pages);
    size_t len = 0;
    g_autofree uint8_t *urbs = handover_bytes(from, group, "urbs", &len);

    if (!conns || pages != 1 || !urbs || len != sizeof(v->urb)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "what is left of its rings are none");
        return -EINVAL;
    }
    vusb_rings_set(v, v->dev.ring, conns);
    memcpy(v->urb, urbs, sizeof(v->urb));
    for (unsigned i = 0; i < VUSB_URBS; i++) {
        struct vusb_urb *u = &v->urb[i];

        u->used &= u->port < v->count && v->ports[u->port].host && u->slot < USB_HOST_SLOTS &&
                   u->nsegs <= USBIF_MAX_SEGMENTS_PER_REQUEST;
    }
    if (!take_ring(&v->urbs, from, group, "urb ring") ||
        !take_ring(&v->conns, from, group, "conn ring")) {
        vusb_rings_end(v);
        g_set_error(err, XENDM_ERROR, EINVAL, "what is left of its rings are none");
        return -EINVAL;
    }
    return 0;
}

static int vusb_attached(struct pv_device *dev, const struct handover *from, const char *group,
                         GError **err)
{
    struct vusb *v = vusb_of(dev);

    return from ? resume(v, from, group, err) : begin(v, err);
}

static char *port_group(const char *group, unsigned number)
{
    return g_strdup_printf("%s port %u", group, number);
}

static void vusb_hand_over(const struct pv_device *dev, struct handover *to, const char *group)
{
    const struct vusb *v = (const struct vusb *)dev;

    handover_put_int(to, group, "ports", v->count);
    handover_put_int(to, group, "version", v->version);
    for (unsigned i = 0; i < v->count; i++) {
        const struct vusb_port *p = &v->ports[i];
        g_autofree char *of_port = port_group(group, p->number);

        handover_put_text(to, of_port, "in it", p->where ? p->where : "");
        handover_put_int(to, of_port, "told", p->told);
        handover_put_int(to, of_port, "replaced", p->replaced);
        handover_put_int(to, of_port, "address", p->address);
        handover_put_int(to, of_port, "served", p->host && !usb_host_is_gone(p->host));
        if (p->host && !usb_host_is_gone(p->host)) {
            usb_host_hand_over(p->host, to, of_port);
        }
    }
    if (v->urbs.page) {
        put_ring(&v->urbs, to, group, "urb ring");
        put_ring(&v->conns, to, group, "conn ring");
        handover_put_bytes(to, group, "urbs", v->urb, sizeof(v->urb));
    }
}

static int take_over_port(struct vusb_port *p, const struct handover *from, const char *group,
                          GError **err)
{
    g_autofree char *of_port = port_group(group, p->number);

    p->where = handover_text(from, of_port, "in it");
    p->told = (uint8_t)CLAMP(handover_int(from, of_port, "told", 0), 0, USBIF_SPEED_HIGH);
    p->replaced = handover_int(from, of_port, "replaced", 0);
    p->address = (uint8_t)CLAMP(handover_int(from, of_port, "address", 0), 0, USB_ADDRESS_MAX);
    if (!handover_int(from, of_port, "served", 0)) {
        return 0;
    }
    p->host = usb_host_take_over(from, of_port, &user, p, err);
    return p->host ? 0 : -EIO;
}

static int vusb_take_over(struct pv_device *dev, const struct handover *from, const char *group,
                          GError **err)
{
    struct vusb *v = vusb_of(dev);
    int rc = 0;

    set_count(v, (unsigned)CLAMP(handover_int(from, group, "ports", 0), 0, USBIF_MAX_PORTNR));
    v->version = (unsigned)CLAMP(handover_int(from, group, "version", 0), 0, USB_VER_USB20);
    for (unsigned i = 0; rc == 0 && i < v->count; i++) {
        rc = take_over_port(&v->ports[i], from, group, err);
    }
    v->look = true; /* somebody may have changed a port meanwhile */
    return rc;
}

/* ---- the rest ---- */

static void vusb_event(struct pv_device *dev)
{
    struct vusb *v = vusb_of(dev);

    pv_unmask(dev); /* before the look at the rings: what comes behind it rings again */
    vusb_tell(v);
    vusb_run(v);
}

/*
 * Nobody waits for what is in flight: the guest was not told that any of it is done. While the bus
 * is paused it is this process alone that goes, and another may have the devices, in the middle of
 * it all.
 */
static void vusb_disconnect(struct pv_device *dev)
{
    struct vusb *v = vusb_of(dev);

    vusb_rings_end(v);
    for (unsigned i = 0; i < v->count; i++) {
        v->ports[i].told = USBIF_SPEED_NONE;
        v->ports[i].replaced = false;
        v->ports[i].address = 0;
        if (v->ports[i].host && !pv_paused(dev)) {
            usb_host_abandon(v->ports[i].host);
        }
    }
}

static void vusb_removed(struct pv_device *dev, bool was_taken_away)
{
    struct vusb *v = vusb_of(dev);

    set_count(v, 0);
}

static void describe_port(const struct vusb_port *port, struct facts *to)
{
    static const char *const speeds[] = {"low", "full", "high", "super"};
    const struct usb_host_about *about = port->host ? usb_host_about(port->host) : NULL;
    g_autofree char *key = g_strdup_printf("port %u", port->number);

    if (about) {
        fact_text(to, key, "%s, %04x:%04x, %s speed%s", port->where, about->vendor, about->product,
                  speeds[about->speed], port->told ? "" : ", not plugged");
    } else if (port->where && port->where[0]) {
        fact_text(to, key, "%s, %s", port->where,
                  port->host && !usb_host_is_gone(port->host) ? "being opened" : "not there");
    }
}

static void vusb_describe(const struct pv_device *dev, struct facts *to)
{
    const struct vusb *v = (const struct vusb *)dev;

    fact_int(to, "requests", (int64_t)v->requests);
    fact_int(to, "refused", (int64_t)v->refused);
    fact_int(to, "unlinks", (int64_t)v->unlinks);
    for (unsigned i = 0; i < v->count; i++) {
        describe_port(&v->ports[i], to);
    }
}

const struct pv_class pv_usb_class = {
    .kind = "qusb",
    .size = sizeof(struct vusb),
    .offer = vusb_offer,
    .connect = vusb_connect,
    .take_over = vusb_take_over,
    .attached = vusb_attached,
    .event = vusb_event,
    .changed = vusb_changed,
    .resumed = vusb_resumed,
    .disconnect = vusb_disconnect,
    .removed = vusb_removed,
    .hand_over = vusb_hand_over,
    .describe = vusb_describe,
};
