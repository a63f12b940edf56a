/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network back end "tap": an Ethernet interface of the host that we are the cable of. libxl names
 * it vif<domid>.<n>-emu and has its hotplug script put it into the bridge; it goes when the last
 * descriptor is closed.
 *
 * Sources: <linux/if_tun.h>, and "Universal TUN/TAP device driver" of Linux' documentation; the
 * header before each frame is virtio 1.2's (5.1.6) without the number of buffers.
 *
 * Left out: scripts of our own (script= may only be "no"), helpers that make bridges, several
 * queues, vhost.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <glib-unix.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>

#include <xendm/backend-classes.h>
#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/handover.h>
#include <xendm/log.h>
#include <xendm/turn.h>

#include "net.h"

#define FRAMES_A_TURN 64u
#define HOST_OFFLOADS (NET_CSUM | NET_TSO4 | NET_TSO6)

struct tap {
    struct net net;
    char *ifname, *bridge, *script, *downscript;
    uint32_t fd_number; /* fd=: opened by who started us */
    bool vnet_hdr_wanted;

    int fd;
    bool vnet_hdr;
    char name[IFNAMSIZ];
    unsigned reading, writable; /* GLib sources, 0: none */
    uint8_t buffer[sizeof(struct virtio_net_hdr) + NET_FRAME_MAX];
    size_t held; /* bytes in buffer that the device could not take */
};

static void header_of(struct virtio_net_hdr *h, const struct net_offload *o)
{
    memset(h, 0, sizeof(*h));
    if (!o) {
        return;
    }
    if (o->flags & NET_VALID) {
        h->flags = VIRTIO_NET_HDR_F_DATA_VALID;
    }
    if (o->flags & (NET_CSUM | NET_TSO4 | NET_TSO6)) {
        h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        h->csum_start = o->csum_start;
        h->csum_offset = o->csum_offset;
    }
    if (o->flags & (NET_TSO4 | NET_TSO6)) {
        h->gso_type = o->flags & NET_TSO4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
        h->gso_size = o->segment;
        h->hdr_len = o->header;
    }
}

static void offload_of(struct net_offload *o, const struct virtio_net_hdr *h)
{
    memset(o, 0, sizeof(*o));
    if (h->flags & VIRTIO_NET_HDR_F_DATA_VALID) {
        o->flags |= NET_VALID;
    }
    if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
        o->flags |= NET_CSUM;
        o->csum_start = h->csum_start;
        o->csum_offset = h->csum_offset;
    }
    switch (h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
        o->flags |= NET_TSO4;
        break;
    case VIRTIO_NET_HDR_GSO_TCPV6:
        o->flags |= NET_TSO6;
        break;
    }
    o->segment = h->gso_size;
    o->header = h->hdr_len;
}

static gboolean on_writable(gint fd, GIOCondition condition, gpointer opaque)
{
    struct tap *t = opaque;

    turn_of("net");
    t->writable = 0;
    net_writable(&t->net);
    return G_SOURCE_REMOVE;
}

static int tap_send(struct net *n, const struct iovec *iov, unsigned niov,
                    const struct net_offload *o)
{
    struct tap *t = (struct tap *)n;
    struct iovec with[NET_IOV_MAX + 1];
    struct virtio_net_hdr header;
    ssize_t done;

    if (t->vnet_hdr) {
        header_of(&header, o);
        with[0] = (struct iovec){&header, sizeof(header)};
        memcpy(with + 1, iov, niov * sizeof(*iov));
        iov = with;
        niov++;
    }
    do {
        done = writev(t->fd, iov, (int)niov);
    } while (done < 0 && errno == EINTR);
    if (done >= 0) {
        return 0;
    }
    if (errno == EAGAIN) {
        if (!t->writable) {
            t->writable = g_unix_fd_add(t->fd, G_IO_OUT, on_writable, t);
        }
        return -EAGAIN;
    }
    return -errno; /* EIO while the interface is down: as a cable that ends nowhere */
}

/* False: nothing there, or the device has no room. */
static bool receive_one(struct tap *t)
{
    size_t skip = t->vnet_hdr ? sizeof(struct virtio_net_hdr) : 0;
    struct net_offload o = {0};

    if (!net_can_deliver(&t->net)) {
        return false;
    }
    if (!t->held) {
        ssize_t got;
        do {
            got = read(t->fd, t->buffer, sizeof(t->buffer));
        } while (got < 0 && errno == EINTR);
        if (got < 0 || (size_t)got <= skip) {
            return false;
        }
        t->held = (size_t)got;
    }
    if (skip) {
        struct virtio_net_hdr h;
        memcpy(&h, t->buffer, sizeof(h));
        offload_of(&o, &h);
    }
    if (!net_deliver(&t->net, t->buffer + skip, t->held - skip, &o)) {
        return false;
    }
    t->held = 0;
    return true;
}

static gboolean on_readable(gint fd, GIOCondition condition, gpointer opaque)
{
    struct tap *t = opaque;

    turn_of("net");
    for (unsigned i = 0; i < FRAMES_A_TURN && !(i && turn_is_used_up()) && receive_one(t); i++) {
    }
    return t->reading ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static void tap_set_reading(struct net *n, bool on)
{
    struct tap *t = (struct tap *)n;

    if (on && !t->reading && t->fd >= 0) {
        t->reading = g_unix_fd_add(t->fd, G_IO_IN, on_readable, t);
    } else if (!on) {
        g_clear_handle_id(&t->reading, g_source_remove);
    }
}

/* What the kernel may leave undone in frames it gives us. */
static void tap_set_offloads(struct net *n, unsigned offloads)
{
    struct tap *t = (struct tap *)n;
    unsigned f = 0;

    if (!t->vnet_hdr) {
        return;
    }
    if (offloads & NET_CSUM) {
        f |= TUN_F_CSUM;
        f |= offloads & NET_TSO4 ? TUN_F_TSO4 : 0;
        f |= offloads & NET_TSO6 ? TUN_F_TSO6 : 0;
    }
    if (ioctl(t->fd, TUNSETOFFLOAD, f) < 0) {
        log_write(LOG_NET, XLOG_WARNING, "%s: offloads 0x%x are refused: %s", t->name, f,
                  g_strerror(errno));
    }
}

static const struct net_driver tap_driver = {
    .send = tap_send,
    .set_reading = tap_set_reading,
    .set_offloads = tap_set_offloads,
    .offloads = HOST_OFFLOADS,
};

static int refuse(const struct tap *t, GError **err, const char *what, const char *value, int error)
{
    g_set_error(err, XENDM_ERROR, error, "netdev %s: %s%s: %s", t->net.backend.id, what, value,
                g_strerror(error));
    return -error;
}

static int open_interface(struct tap *t, GError **err)
{
    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};

    if (t->vnet_hdr_wanted) {
        ifr.ifr_flags |= IFF_VNET_HDR;
    }
    if (t->ifname) {
        if (!t->ifname[0] || strlen(t->ifname) >= IFNAMSIZ || strchr(t->ifname, '/')) {
            return refuse(t, err, "no name of an interface: ifname=", t->ifname, EINVAL);
        }
        g_strlcpy(ifr.ifr_name, t->ifname, sizeof(ifr.ifr_name));
    }
    t->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (t->fd < 0) {
        return refuse(t, err, "cannot open ", "/dev/net/tun", errno);
    }
    if (ioctl(t->fd, TUNSETIFF, &ifr) < 0) {
        int error = errno;
        close(t->fd);
        return refuse(t, err, "cannot make the interface ifname=", t->ifname ? t->ifname : "",
                      error);
    }
    return 0;
}

/* The descriptor is a tap, whoever made it; what it can is asked, not believed. */
static int look_at(struct tap *t, GError **err)
{
    struct ifreq ifr = {0};
    int size = sizeof(struct virtio_net_hdr), error = 0;

    if (ioctl(t->fd, TUNGETIFF, &ifr) < 0) {
        error = errno;
    } else if (!(ifr.ifr_flags & IFF_TAP) || !(ifr.ifr_flags & IFF_NO_PI)) {
        error = EINVAL;
    }
    t->vnet_hdr = ifr.ifr_flags & IFF_VNET_HDR;
    if (!error && t->vnet_hdr && ioctl(t->fd, TUNSETVNETHDRSZ, &size) < 0) {
        error = errno;
    }
    if (error) {
        close(t->fd);
        return refuse(t, err, "not a tap interface", "", error);
    }
    g_strlcpy(t->name, ifr.ifr_name, sizeof(t->name));
    fcntl(t->fd, F_SETFL, fcntl(t->fd, F_GETFL) | O_NONBLOCK);
    fcntl(t->fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

static int no_script(const struct tap *t, const char *name, const char *value, GError **err)
{
    if (value && strcmp(value, "no") != 0) {
        g_set_error(err, XENDM_ERROR, EINVAL,
                    "netdev %s: %s=%s: scripts are the toolstack's; only \"no\" is known",
                    t->net.backend.id, name, value);
        return -EINVAL;
    }
    return 0;
}

static int tap_open(struct backend *b, const struct handover *from, GError **err)
{
    struct tap *t = (struct tap *)b;
    int error = 0;

    t->fd = -1;
    if (no_script(t, "script", t->script, err) < 0 ||
        no_script(t, "downscript", t->downscript, err) < 0) {
        if (!from && t->fd_number) {
            close((int)t->fd_number);
        }
        return -EINVAL;
    }
    if (from) {
        g_autofree char *group = backend_group(b);
        t->fd = handover_fd(from, group, "fd");
    } else if (t->fd_number) {
        t->fd = (int)t->fd_number;
    } else {
        error = open_interface(t, err);
    }
    if (!error) {
        error = look_at(t, err);
    }
    if (error) {
        return error;
    }
    net_init(&t->net, &tap_driver);
    if (!t->vnet_hdr) {
        t->net.send_offloads = 0;
    }
    return 0;
}

static void tap_close(struct backend *b)
{
    struct tap *t = (struct tap *)b;

    net_fini(&t->net);
    tap_set_reading(&t->net, false);
    g_clear_handle_id(&t->writable, g_source_remove);
    close(t->fd);
}

static void tap_hand_over(const struct backend *b, struct handover *to)
{
    g_autofree char *group = backend_group(b);

    handover_put_fd(to, group, "fd", ((const struct tap *)b)->fd);
}

static void tap_describe(const struct backend *b, struct facts *to)
{
    const struct tap *t = (const struct tap *)b;

    fact_text(to, "ifname", "%s", t->name);
    if (t->bridge) {
        fact_text(to, "bridge", "%s", t->bridge);
    }
    fact_bool(to, "offloads", t->vnet_hdr);
    net_describe(&t->net, to);
}

static const struct property tap_properties[] = {
    {"ifname", PROP_STRING, offsetof(struct tap, ifname), .help = "name of the interface"},
    {"fd", PROP_UINT32, offsetof(struct tap, fd_number), .min = 3, .max = 65535,
     .help = "a tap that is open already, instead of ifname"},
    {"br", PROP_STRING, offsetof(struct tap, bridge),
     .help = "for status only: the toolstack's script plugs it in"},
    {"script", PROP_STRING, offsetof(struct tap, script), .help = "only \"no\""},
    {"downscript", PROP_STRING, offsetof(struct tap, downscript), .help = "only \"no\""},
    {"vnet_hdr", PROP_BOOL, offsetof(struct tap, vnet_hdr_wanted), .def = "on",
     .help = "let the host do checksums and segments"},
    {NULL},
};

const struct backend_class backend_net_tap = {
    .kind = BACKEND_NET,
    .driver = "tap",
    .help = "an Ethernet interface of the host",
    .size = sizeof(struct tap),
    .properties = tap_properties,
    .open = tap_open,
    .close = tap_close,
    .activate = net_activate,
    .hand_over = tap_hand_over,
    .describe = tap_describe,
};
