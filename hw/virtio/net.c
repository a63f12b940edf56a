/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio network card (5.1): PCI 1af4:1000, or 1af4:1041 without the legacy registers. Linux, iPXE,
 * OVMF, the BSDs and (with the virtio drivers) Windows know it; libxl's model=virtio-net.
 *
 * Checksums and segments of TCP are left to the host, in both directions if the driver likes that;
 * mergeable buffers; filters of addresses and VLANs. Left out: several pairs of queues (the back
 * end has one), UDP segmentation, announcements by the guest (net_announce() does it for all
 * cards), RSS, notification coalescing.
 *
 * A frame that needs more buffers than the guest has given is dropped, as a card does when its ring
 * runs dry; while there is none at all, frames wait with the host.
 */
#include <errno.h>
#include <string.h>

#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/net.h>

#include "virtio.h"

enum { RX, TX, CONTROL, QUEUES };

#define F_CSUM VIRTIO_F(0)
#define F_GUEST_CSUM VIRTIO_F(1)
#define F_GUEST_OFFLOADS VIRTIO_F(2)
#define F_MAC VIRTIO_F(5)
#define F_GUEST_TSO4 VIRTIO_F(7)
#define F_GUEST_TSO6 VIRTIO_F(8)
#define F_HOST_TSO4 VIRTIO_F(11)
#define F_HOST_TSO6 VIRTIO_F(12)
#define F_MERGE VIRTIO_F(15)
#define F_STATUS VIRTIO_F(16)
#define F_CONTROL VIRTIO_F(17)
#define F_CONTROL_RX VIRTIO_F(18)
#define F_CONTROL_VLAN VIRTIO_F(19)
#define F_CONTROL_RX_EXTRA VIRTIO_F(20)
#define F_CONTROL_MAC VIRTIO_F(23)
#define GUEST_OFFLOADS (F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6)

#define CONFIG_BYTES 8u /* (5.1.4) up to the status */
#define LINK_UP 1u

/* The header before each frame (5.1.6). */
#define HEADER 12u
#define HEADER_OLD 10u /* legacy, without mergeable buffers */
#define H_NEEDS_CSUM 1u
#define H_VALID 2u
#define GSO_NONE 0u
#define GSO_TCPV4 1u
#define GSO_TCPV6 4u

#define HEAD_MAX 256u            /* of a frame, copied: what offloads are held against */
#define VIEWS (NET_IOV_MAX - 2u) /* pieces of a frame that go to the host as they are */
#define BUFFERS_MAX 64u          /* that one frame may take: 64 KiB in pages of a KiB */
#define MAC_TABLE 64u
#define CONTROL_MAX 1024u /* bytes of a command: two tables, and some */

enum { CLASS_RX = 0, CLASS_MAC = 1, CLASS_VLAN = 2, CLASS_OFFLOADS = 5 };
enum { RX_MODES = 6 }; /* promiscuous, all multicast, all unicast, no multi-, uni-, broadcast */
enum { MODE_PROMISC, MODE_ALL_MULTI, MODE_ALL_UNI, MODE_NO_MULTI, MODE_NO_UNI, MODE_NO_BROAD };
enum { ACK_OK = 0, ACK_ERROR = 1 };

struct virtio_net {
    struct virtio virtio; /* first */
    char *mac_text;       /* property */
    struct net *net;

    uint8_t mac[NET_MAC_LEN];  /* as the guest set it */
    uint8_t card[NET_MAC_LEN]; /* as the command line did */
    bool mode[RX_MODES];
    uint32_t unicast, multicast;       /* addresses in the table, in this order */
    bool unicast_over, multicast_over; /* there were more: all are taken */
    uint8_t table[MAC_TABLE * NET_MAC_LEN];
    uint8_t vlans[4096 / 8];
    uint64_t offloads; /* GUEST_OFFLOADS that are switched on */
    bool waiting;      /* for the host's room */
    struct dma_list *list;
    uint8_t control[CONTROL_MAX];
};

static inline struct virtio_net *net_of(const struct virtio *v)
{
    return (struct virtio_net *)v;
}

static size_t header_bytes(const struct virtio *v)
{
    return virtio_modern(v) || virtio_has(v, F_MERGE) ? HEADER : HEADER_OLD;
}

/* ---- what the driver takes ---- */

static void tell_offloads(struct virtio_net *s)
{
    unsigned o = 0;

    o |= s->offloads & F_GUEST_CSUM ? NET_CSUM : 0;
    o |= s->offloads & F_GUEST_TSO4 ? NET_TSO4 : 0;
    o |= s->offloads & F_GUEST_TSO6 ? NET_TSO6 : 0;
    net_set_offloads(s->net, o & NET_CSUM ? o : 0);
}

static void net_started(struct virtio *v)
{
    struct virtio_net *s = net_of(v);

    tell_offloads(s);
    net_receive_again(s->net);
}

/* ---- transmitting ---- */

/* How long the headers of a frame that is to be cut are; 0: there is no TCP where it says. */
static uint16_t tcp_header_end(const uint8_t *head, size_t len, unsigned tcp)
{
    struct net_headers h;

    return net_find_headers(head, len, &h) && h.protocol == NET_TCP && h.transport == tcp
               ? (uint16_t)h.payload
               : 0;
}

/* False: asks for what was not negotiated, or cannot be; the frame is not sent. */
static bool read_header(const struct virtio *v, const uint8_t *h, const uint8_t *head,
                        size_t head_len, struct net_offload *o)
{
    unsigned gso = h[1];

    if ((h[0] & H_NEEDS_CSUM) && virtio_has(v, F_CSUM)) {
        o->flags = NET_CSUM;
        o->csum_start = load_le16(h + 6);
        o->csum_offset = load_le16(h + 8);
    }
    if (gso == GSO_NONE) {
        return true;
    }
    if (!(o->flags & NET_CSUM) || (gso != GSO_TCPV4 && gso != GSO_TCPV6) ||
        !virtio_has(v, gso == GSO_TCPV4 ? F_HOST_TSO4 : F_HOST_TSO6)) {
        return false;
    }
    o->flags |= gso == GSO_TCPV4 ? NET_TSO4 : NET_TSO6;
    o->segment = load_le16(h + 4);
    o->header = tcp_header_end(head, head_len, o->csum_start); /* hdr_len is only a hint */
    return o->header && o->segment;
}

/* 0: sent, or never to be; -EAGAIN: no room. */
static int send_pieces(struct virtio_net *s, const struct virtio_chain *c, size_t skip, size_t len,
                       const uint8_t *h)
{
    struct iovec with[NET_IOV_MAX], *iov;
    struct net_offload o = {0};
    uint8_t head[HEAD_MAX];
    size_t head_len = MIN(len, HEAD_MAX);
    g_autofree uint8_t *copy = NULL;
    unsigned niov = 0;
    int error = 0;

    if (virtio_read_content(&s->virtio, c, skip, head, head_len, DMA_HEADERS) < 0 ||
        !read_header(&s->virtio, h, head, head_len, &o)) {
        return 0;
    }
    with[0] = (struct iovec){head, head_len};
    dma_list_begin(s->list, DMA_TO_DEVICE);
    if (len > head_len && virtio_map(&s->virtio, c, s->list, DMA_TO_DEVICE, skip + head_len,
                                     len - head_len) == (int64_t)(len - head_len)) {
        iov = dma_list_iov(s->list, 0, len - head_len, &niov);
        memcpy(with + 1, iov, niov * sizeof(*iov));
    } else if (len > head_len) { /* in more pieces than the host takes */
        copy = g_malloc(len - head_len);
        error =
            virtio_read_content(&s->virtio, c, skip + head_len, copy, len - head_len, DMA_PAYLOAD);
        with[1] = (struct iovec){copy, len - head_len};
        niov = 1;
    }
    if (error == 0) {
        error = net_send(s->net, with, niov + 1, o.flags ? &o : NULL);
    }
    dma_list_end(s->list, error == 0 ? len - head_len : 0);
    return error == -EAGAIN ? error : 0;
}

static int serve_tx(struct virtio_net *s)
{
    struct virtio *v = &s->virtio;
    size_t header = header_bytes(v);
    uint8_t h[HEADER] = {0};
    struct virtio_chain c;
    int error = 0;

    if (s->waiting) {
        return VIRTIO_NO_ROOM;
    }
    if (!virtq_pop(v, TX, &c)) {
        return VIRTIO_NOTHING;
    }
    if (c.out_bytes < header || c.in) {
        virtio_broken(v, TX, "a frame without header, or to be written");
        return VIRTIO_NOTHING;
    }
    if (c.out_bytes - header <= NET_FRAME_MAX && c.out_bytes - header >= NET_HEADER_LEN &&
        virtio_read(v, &c, 0, h, header) == 0) {
        error = send_pieces(s, &c, header, (size_t)c.out_bytes - header, h);
    }
    if (error == -EAGAIN) {
        virtq_unpop(v, TX, &c);
        s->waiting = true;
        return VIRTIO_NO_ROOM;
    }
    virtq_push(v, TX, &c, 0);
    virtq_signal(v, TX, true);
    return 1 + (int)(MIN(c.out_bytes, NET_FRAME_MAX) >> 13) + c.out / 32;
}

/* ---- receiving ---- */

static bool in_table(const struct virtio_net *s, const uint8_t *mac, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        if (memcmp(s->table + i * NET_MAC_LEN, mac, NET_MAC_LEN) == 0) {
            return true;
        }
    }
    return false;
}

static bool wanted(const struct virtio_net *s, const uint8_t *frame, size_t len)
{
    if (s->mode[MODE_PROMISC]) {
        return true;
    }
    if (virtio_has(&s->virtio, F_CONTROL_VLAN) && net_tagged(frame, len, NET_TYPE_VLAN)) {
        unsigned id = load_be16(frame + 14) & 0xfff;

        if (!(s->vlans[id / 8] >> id % 8 & 1)) {
            return false;
        }
    }
    if (net_broadcast(frame)) {
        return !s->mode[MODE_NO_BROAD];
    }
    if (frame[0] & 1) {
        return !s->mode[MODE_NO_MULTI] && (s->mode[MODE_ALL_MULTI] || s->multicast_over ||
                                           in_table(s, frame, s->unicast, s->multicast));
    }
    return !s->mode[MODE_NO_UNI] &&
           (s->mode[MODE_ALL_UNI] || s->unicast_over || memcmp(frame, s->mac, NET_MAC_LEN) == 0 ||
            in_table(s, frame, 0, s->unicast));
}

static bool write_header(const struct virtio_net *s, const struct net_offload *o, uint8_t *h)
{
    unsigned wants = o->flags & (NET_CSUM | NET_TSO4 | NET_TSO6), can = 0;

    can |= s->offloads & F_GUEST_CSUM ? NET_CSUM : 0;
    can |= s->offloads & F_GUEST_TSO4 ? NET_TSO4 : 0;
    can |= s->offloads & F_GUEST_TSO6 ? NET_TSO6 : 0;
    if (wants & ~can) {
        return false; /* from before the driver said what it takes */
    }
    if (wants & NET_CSUM) {
        h[0] = H_NEEDS_CSUM;
        store_le16(h + 6, o->csum_start);
        store_le16(h + 8, o->csum_offset);
    } else if ((o->flags & NET_VALID) && (s->offloads & F_GUEST_CSUM)) {
        h[0] = H_VALID;
    }
    if (wants & (NET_TSO4 | NET_TSO6)) {
        h[1] = wants & NET_TSO4 ? GSO_TCPV4 : GSO_TCPV6;
        store_le16(h + 2, o->header);
        store_le16(h + 4, o->segment);
    }
    return true;
}

/* A buffer that part of a frame is in; it is given back when all of the frame is. */
struct taken {
    struct virtio_chain chain; /* its pieces are gone */
    uint32_t written;
};

/* The number of buffers goes into the header that is in the first of them. */
static int patch_count(struct virtio_net *s, const struct virtio_piece *p, unsigned count)
{
    uint8_t number[2];

    store_le16(number, count);
    for (unsigned i = 0; i < 2; i++) {
        int error = dma_write(&s->virtio.pci.dev, p[i].gpa, number + i, 1);

        if (error) {
            return error;
        }
    }
    return 0;
}

/* Fills buffers; how many, or 0: there are not enough, or one is in no memory (`*error`). */
static unsigned fill_buffers(struct virtio_net *s, const uint8_t *h, const uint8_t *frame,
                             size_t len, struct taken *t, int *error)
{
    struct virtio *v = &s->virtio;
    size_t header = header_bytes(v), done = 0;
    unsigned most = virtio_has(v, F_MERGE) ? BUFFERS_MAX : 1, n = 0;
    struct virtio_piece where[2];

    while (n < most && (n == 0 || done < len) && virtq_pop(v, RX, &t[n].chain)) {
        struct virtio_chain *c = &t[n].chain;
        size_t skip = n == 0 ? header : 0, part;

        n++;
        if (c->out || c->in_bytes <= skip) {
            virtio_broken(v, RX, "a buffer that is not to be written, or too small");
            *error = -EINVAL;
            return 0;
        }
        part = (size_t)MIN(len - done, c->in_bytes - skip);
        if (skip) {
            *error = virtio_write(v, c, 0, h, header);
            for (unsigned i = 0; i < 2 && header == HEADER; i++) {
                where[i].gpa = virtio_in_at(c, HEADER - 2 + i);
            }
        }
        if (!*error) {
            *error = virtio_write(v, c, skip, frame + done, part);
        }
        if (*error) {
            virtio_broken(v, RX, "a buffer is in no memory");
            return 0;
        }
        done += part;
        t[n - 1].written = (uint32_t)(skip + part);
    }
    if (done < len) {
        while (n > 0) {
            virtq_unpop(v, RX, &t[--n].chain);
        }
        return 0;
    }
    *error = header == HEADER ? patch_count(s, where, n) : 0;
    return n;
}

static bool net_can_receive(void *opaque)
{
    struct virtio *v = opaque;

    return virtq_ready(v, RX);
}

static bool net_receive(void *opaque, const uint8_t *frame, size_t len, const struct net_offload *o)
{
    struct virtio_net *s = opaque;
    struct taken t[BUFFERS_MAX];
    uint8_t h[HEADER] = {0};
    int error = 0;
    unsigned n;

    if (!wanted(s, frame, len) || !write_header(s, o, h)) {
        return false;
    }
    n = fill_buffers(s, h, frame, len, t, &error);
    for (unsigned i = 0; i < n; i++) {
        virtq_push(&s->virtio, RX, &t[i].chain, t[i].written);
    }
    if (n > 0) {
        virtq_signal(&s->virtio, RX, true);
    }
    return n > 0 && error == 0;
}

static void net_sent(void *opaque)
{
    struct virtio_net *s = opaque;

    s->waiting = false;
    virtio_run(&s->virtio);
}

static void net_link_changed(void *opaque, bool up)
{
    virtio_config_changed(opaque);
}

static const struct net_device device = {
    .taped = true,
    .can_receive = net_can_receive,
    .receive = net_receive,
    .sent = net_sent,
    .link_changed = net_link_changed,
};

/* ---- commands (5.1.6.5) ---- */

/* One of the two tables; the bytes it takes, 0: it does not fit the command. */
static size_t take_table(struct virtio_net *s, const uint8_t *p, size_t len, uint32_t first,
                         uint32_t *count, bool *over)
{
    uint32_t n = len >= 4 ? load_le32(p) : UINT32_MAX;

    if (n > (CONTROL_MAX - 4) / NET_MAC_LEN || 4 + n * (size_t)NET_MAC_LEN > len) {
        return 0;
    }
    *over = n > MAC_TABLE - first;
    *count = *over ? 0 : n;
    memcpy(s->table + first * NET_MAC_LEN, p + 4, *count * (size_t)NET_MAC_LEN);
    return 4 + n * (size_t)NET_MAC_LEN;
}

static bool set_tables(struct virtio_net *s, const uint8_t *p, size_t len)
{
    size_t used = take_table(s, p, len, 0, &s->unicast, &s->unicast_over);
    size_t more =
        used ? take_table(s, p + used, len - used, s->unicast, &s->multicast, &s->multicast_over)
             : 0;

    if (!more || used + more != len) { /* half of it may be there: take too much, not too little */
        s->unicast = s->multicast = 0;
        s->unicast_over = s->multicast_over = true;
        return false;
    }
    return true;
}

static bool set_mac(struct virtio_net *s, const uint8_t *p, size_t len)
{
    if (len != NET_MAC_LEN || !virtio_has(&s->virtio, F_CONTROL_MAC)) {
        return false;
    }
    memcpy(s->mac, p, NET_MAC_LEN);
    net_set_mac(s->net, s->mac);
    return true;
}

static bool set_vlan(struct virtio_net *s, bool on, const uint8_t *p, size_t len)
{
    unsigned id = len == 2 ? load_le16(p) : 4096;

    if (id >= 4096 || !virtio_has(&s->virtio, F_CONTROL_VLAN)) {
        return false;
    }
    s->vlans[id / 8] = (uint8_t)((s->vlans[id / 8] & ~(1u << id % 8)) | (unsigned)on << id % 8);
    return true;
}

static bool set_offloads(struct virtio_net *s, const uint8_t *p, size_t len)
{
    uint64_t wants = len == 8 ? load_le64(p) : UINT64_MAX;

    if ((wants & ~(s->virtio.driver_features & GUEST_OFFLOADS)) ||
        !virtio_has(&s->virtio, F_GUEST_OFFLOADS)) {
        return false;
    }
    s->offloads = wants;
    tell_offloads(s);
    return true;
}

static bool set_mode(struct virtio_net *s, unsigned mode, const uint8_t *p, size_t len)
{
    if (len != 1 || mode >= RX_MODES ||
        !virtio_has(&s->virtio, mode <= MODE_ALL_MULTI ? F_CONTROL_RX : F_CONTROL_RX_EXTRA)) {
        return false;
    }
    s->mode[mode] = p[0] != 0;
    return true;
}

static bool command(struct virtio_net *s, const uint8_t *p, size_t len)
{
    unsigned class = p[0], what = p[1];

    p += 2;
    len -= 2;
    switch (class) {
    case CLASS_RX:
        return set_mode(s, what, p, len);
    case CLASS_MAC:
        return what == 0 ? set_tables(s, p, len) : what == 1 && set_mac(s, p, len);
    case CLASS_VLAN:
        return what <= 1 && set_vlan(s, what == 0, p, len);
    case CLASS_OFFLOADS:
        return what == 0 && set_offloads(s, p, len);
    default:
        return false;
    }
}

static int serve_control(struct virtio_net *s)
{
    struct virtio *v = &s->virtio;
    struct virtio_chain c;
    uint8_t ack = ACK_ERROR;

    if (!virtq_pop(v, CONTROL, &c)) {
        return VIRTIO_NOTHING;
    }
    if (c.out_bytes < 2 || c.in_bytes < 1) {
        virtio_broken(v, CONTROL, "a command without header or answer");
        return VIRTIO_NOTHING;
    }
    if (c.out_bytes <= CONTROL_MAX && virtio_read(v, &c, 0, s->control, (size_t)c.out_bytes) == 0 &&
        command(s, s->control, (size_t)c.out_bytes)) {
        ack = ACK_OK;
    }
    if (virtio_write(v, &c, c.in_bytes - 1, &ack, 1) < 0) {
        virtio_broken(v, CONTROL, "an answer is in no memory");
    }
    virtq_push(v, CONTROL, &c, 1);
    virtq_signal(v, CONTROL, false);
    return 2;
}

/* ---- both ---- */

static int net_serve(struct virtio *v, unsigned n)
{
    struct virtio_net *s = net_of(v);

    switch (n) {
    case RX:
        if (virtq_ready(v, RX)) {
            net_receive_again(s->net);
        }
        return VIRTIO_NOTHING;
    case TX:
        return serve_tx(s);
    default:
        return serve_control(s);
    }
}

static void net_forget(struct virtio *v, unsigned n)
{
    struct virtio_net *s = net_of(v);

    if (n != VIRTIO_QUEUES) {
        return; /* nothing of a queue is kept between two frames */
    }
    memset(s->mode, 0, sizeof(s->mode));
    s->mode[MODE_PROMISC] = true;
    s->unicast = s->multicast = 0;
    s->unicast_over = s->multicast_over = false;
    memset(s->vlans, 0, sizeof(s->vlans));
    memcpy(s->mac, s->card, NET_MAC_LEN);
    net_set_mac(s->net, s->mac);
    s->offloads = 0;
    s->waiting = false;
    tell_offloads(s);
}

static void net_chosen(struct virtio *v)
{
    net_of(v)->offloads = v->driver_features & GUEST_OFFLOADS;
}

static uint64_t net_features(const struct virtio *v)
{
    return F_CSUM | F_GUEST_CSUM | F_GUEST_OFFLOADS | F_MAC | F_GUEST_TSO4 | F_GUEST_TSO6 |
           F_HOST_TSO4 | F_HOST_TSO6 | F_MERGE | F_STATUS | F_CONTROL | F_CONTROL_RX |
           F_CONTROL_VLAN | F_CONTROL_RX_EXTRA | F_CONTROL_MAC;
}

static void net_config(const struct virtio *v, uint8_t *to)
{
    const struct virtio_net *s = net_of(v);

    memcpy(to, s->mac, NET_MAC_LEN);
    store_le16(to + 6, net_link(s->net) ? LINK_UP : 0);
}

/* Drivers from before virtio 1.0 set the address here. */
static void net_config_written(struct virtio *v, unsigned at, uint8_t value)
{
    struct virtio_net *s = net_of(v);

    if (at < NET_MAC_LEN && !virtio_modern(v)) {
        s->mac[at] = value;
        net_set_mac(s->net, s->mac);
    }
}

static const struct virtio_type type = {
    .name = "network",
    .id = 1,
    .transitional = 0x1000,
    .config_bytes = CONFIG_BYTES,
    .queue_size = 256,
    .features = net_features,
    .chosen = net_chosen,
    .config = net_config,
    .config_written = net_config_written,
    .started = net_started,
    .serve = net_serve,
    .forget = net_forget,
};

/* ---- life ---- */

static int net_realize(struct device *dev, GError **err)
{
    struct virtio_net *s = DEVICE_CAST(struct virtio_net, dev);

    if (!net_mac_parse(s->mac_text, s->card)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: mac=%s is not the address of a card", dev->id,
                    s->mac_text);
        return -EINVAL;
    }
    if (virtio_realize(&s->virtio, &type, QUEUES, err) < 0) {
        return -EINVAL;
    }
    memcpy(s->mac, s->card, NET_MAC_LEN);
    s->list = dma_list_new(dev, VIEWS);
    net_connect(s->net, &device, s, s->mac, 0);
    return 0;
}

static void net_unrealize(struct device *dev)
{
    struct virtio_net *s = DEVICE_CAST(struct virtio_net, dev);

    virtio_unrealize(&s->virtio);
    net_disconnect(s->net);
    dma_list_free(s->list);
}

static void net_reset(struct device *dev, enum reset_reason why)
{
    virtio_reset(&DEVICE_CAST(struct virtio_net, dev)->virtio);
}

static void net_quiesce(struct device *dev)
{
    struct virtio_net *s = DEVICE_CAST(struct virtio_net, dev);

    net_run(s->net, false);
    virtio_quiesce(&s->virtio);
}

static void net_resume(struct device *dev)
{
    struct virtio_net *s = DEVICE_CAST(struct virtio_net, dev);

    s->waiting = false;
    tell_offloads(s);
    net_run(s->net, true);
    virtio_resume(&s->virtio);
}

static void net_unplug(struct device *dev, unsigned what)
{
    struct virtio_net *s = DEVICE_CAST(struct virtio_net, dev);

    if (what & UNPLUG_NICS) {
        net_reset(dev, RESET_DEVICE);
        pci_device_pull(&s->virtio.pci);
        machine_event_unplugged(dev->machine, dev->id);
    }
}

static void net_describe_device(struct device *dev, struct facts *to)
{
    const struct virtio_net *s = DEVICE_CAST(struct virtio_net, dev);
    char mac[18];

    virtio_describe(&s->virtio, to);
    net_mac_format(s->mac, mac);
    fact_text(to, "mac", "%s", mac);
    fact_bool(to, "promiscuous", s->mode[MODE_PROMISC]);
    fact_int(to, "unicast filters", s->unicast);
    fact_int(to, "multicast filters", s->multicast);
    fact_hex(to, "receive offloads", s->offloads);
}

static const struct property properties[] = {
    {.name = "mac",
     .type = PROP_STRING,
     .offset = offsetof(struct virtio_net, mac_text),
     .def = "52:54:00:12:34:56",
     .help = "the card's address"},
    {.name = "netdev",
     .type = PROP_BACKEND,
     .offset = offsetof(struct virtio_net, net),
     .kind = BACKEND_NET,
     .help = "where the cable goes; without: nowhere"},
    VIRTIO_PROPERTIES,
    {.name = NULL},
};

/* ---- saved state ---- */

#define S(kind, f, ...) STATE_FIELD_##kind(struct virtio_net, f, __VA_ARGS__)

static const struct state_field fields[] = {
    VIRTIO_STATE(struct virtio_net),
    S(BYTES, mac),
    S(BOOL, mode, .count = RX_MODES),
    S(U32, unicast, .max = MAC_TABLE),
    S(U32, multicast, .max = MAC_TABLE),
    S(BOOL, unicast_over),
    S(BOOL, multicast_over),
    S(BYTES, table),
    S(BYTES, vlans),
    S(U64, offloads),
    STATE_FIELD_END,
};

static bool net_check(const void *base, GError **err)
{
    const struct virtio_net *s = base;

    if (s->unicast + s->multicast > MAC_TABLE || (s->offloads & ~GUEST_OFFLOADS)) {
        g_set_error(err, STATE_ERROR, EINVAL, "%u and %u addresses, offloads 0x%x", s->unicast,
                    s->multicast, (unsigned)s->offloads);
        return false;
    }
    return true;
}

static void net_post_load(void *base)
{
    struct virtio_net *s = base;

    net_set_mac(s->net, s->mac);
}

static const struct state_desc state = {
    .name = "virtio-net",
    .version = 1,
    .fields = fields,
    .check = net_check,
    .post_load = net_post_load,
};

/* efi-virtio.rom is for BIOS and UEFI; Debian: package ipxe-qemu. */
static const struct pci_info pci = VIRTIO_PCI_INFO(0x020000, 1, .rom = "efi-virtio.rom");

static const char *const aliases[] = {"virtio-net", NULL};

const struct device_class virtio_net_class = {
    .name = "virtio-net-pci",
    .aliases = aliases,
    .help = "virtio network card",
    .size = sizeof(struct virtio_net),
    .properties = properties,
    .state = &state,
    .recorded = true,
    .hotplug = true,
    .realize = net_realize,
    .reset = net_reset,
    .quiesce = net_quiesce,
    .resume = net_resume,
    .unplug = net_unplug,
    .unrealize = net_unrealize,
    .describe = net_describe_device,
    .pci = &pci,
};
