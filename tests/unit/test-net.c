/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network back ends: core, offloads, the socket driver over a socket pair, and the tap driver in a
 * network namespace of the test's own, with a packet socket as the bridge.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <xendm/backend-classes.h>
#include <xendm/net.h>
#include <xendm/object.h>
#include <xendm/tape.h>

#include "backends/net/net.h"

/* The table of this program. */
const struct backend_class *const *backend_classes(void)
{
    static const struct backend_class *const classes[] = {&backend_net_socket, &backend_net_tap,
                                                          NULL};
    return classes;
}

static const uint8_t mac[NET_MAC_LEN] = {0x00, 0x16, 0x3e, 1, 2, 3};

struct nic {
    struct net *net;
    bool full, refuse;
    unsigned received, sent, link_changes;
    uint8_t frame[NET_FRAME_MAX];
    size_t len;
};

static bool can_receive(void *opaque)
{
    return !((struct nic *)opaque)->full;
}

static bool receive(void *opaque, const uint8_t *frame, size_t len, const struct net_offload *o)
{
    struct nic *nic = opaque;

    if (nic->refuse) {
        return false;
    }
    memcpy(nic->frame, frame, len);
    nic->len = len;
    nic->received++;
    return true;
}

static void sent(void *opaque)
{
    ((struct nic *)opaque)->sent++;
}

static void link_changed(void *opaque, bool up)
{
    ((struct nic *)opaque)->link_changes++;
}

static const struct net_device nic_device = {
    .can_receive = can_receive,
    .receive = receive,
    .sent = sent,
    .link_changed = link_changed,
};

struct wire {
    struct backend_set *set;
    struct nic nic;
    int peer;
};

static struct net *add(struct wire *w, const char *driver, const char *name, const char *value)
{
    struct object_desc *desc = object_desc_new(OBJECT_BACKEND, BACKEND_NET, driver, "net0");
    g_autoptr(GError) err = NULL;
    struct backend *b;

    object_desc_set(desc, name, value);
    w->set = backend_set_new();
    b = backend_add(w->set, desc, NULL, &err);
    object_desc_free(desc);
    g_assert_no_error(err);
    w->nic.net = (struct net *)b;
    net_connect(w->nic.net, &nic_device, &w->nic, mac, 0);
    return w->nic.net;
}

static void wire_up(struct wire *w)
{
    int pair[2];
    g_autofree char *number = NULL;

    memset(w, 0, sizeof(*w));
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), ==, 0);
    w->peer = pair[1];
    number = g_strdup_printf("%d", pair[0]);
    net_run(add(w, "socket", "fd", number), true);
}

static void wire_down(struct wire *w)
{
    net_disconnect(w->nic.net);
    backend_set_free(w->set);
    if (w->peer >= 0) {
        close(w->peer);
    }
}

static void peer_sends(struct wire *w, const uint8_t *frame, uint32_t len)
{
    uint32_t prefix = htonl(len);

    g_assert_cmpint(write(w->peer, &prefix, 4), ==, 4);
    g_assert_cmpint(write(w->peer, frame, len), ==, len);
}

/* The next frame at the peer, or 0. */
static size_t peer_gets(struct wire *w, uint8_t *frame)
{
    uint32_t prefix;

    if (read(w->peer, &prefix, 4) != 4) {
        return 0;
    }
    g_assert_cmpint(read(w->peer, frame, ntohl(prefix)), ==, ntohl(prefix));
    return ntohl(prefix);
}

static void run(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

static int send_one(struct wire *w, const uint8_t *frame, size_t len, const struct net_offload *o)
{
    struct iovec iov[2] = {{(void *)frame, 7}, {(void *)(frame + 7), len - 7}};

    return net_send(w->nic.net, iov, 2, o);
}

static void test_both_ways(void)
{
    struct wire w;
    uint8_t frame[100], got[NET_FRAME_MAX];

    wire_up(&w);
    for (unsigned i = 0; i < sizeof(frame); i++) {
        frame[i] = (uint8_t)i;
    }
    g_assert_cmpint(send_one(&w, frame, sizeof(frame), NULL), ==, 0);
    g_assert_cmpmem(got, peer_gets(&w, got), frame, sizeof(frame));
    peer_sends(&w, frame, 90);
    run();
    g_assert_cmpuint(w.nic.received, ==, 1);
    g_assert_cmpmem(w.nic.frame, w.nic.len, frame, 90);
    w.nic.refuse = true;
    peer_sends(&w, frame, 90);
    peer_sends(&w, frame, 5); /* shorter than a header */
    run();
    g_assert_cmpuint(net_stats(w.nic.net)->rx_frames, ==, 1);
    g_assert_cmpuint(net_stats(w.nic.net)->rx_dropped, ==, 2);
    g_assert_cmpuint(net_stats(w.nic.net)->tx_bytes, ==, 100);
    wire_down(&w);
}

/* What the device cannot take stays with the host, in order; stopped it is not called. */
static void test_flow(void)
{
    struct wire w;
    uint8_t frame[64] = {0};

    wire_up(&w);
    w.nic.full = true;
    for (frame[0] = 2; frame[0] < 10; frame[0] += 2) {
        peer_sends(&w, frame, sizeof(frame));
    }
    run();
    g_assert_cmpuint(w.nic.received, ==, 0);
    w.nic.full = false;
    run();
    g_assert_cmpuint(w.nic.received, ==, 0); /* nobody said that there is room */
    net_run(w.nic.net, false);
    net_receive_again(w.nic.net);
    run();
    g_assert_cmpuint(w.nic.received, ==, 0);
    net_run(w.nic.net, true);
    run();
    g_assert_cmpuint(w.nic.received, ==, 4);
    g_assert_cmpuint(w.nic.frame[0], ==, 8);
    g_assert_cmpuint(net_stats(w.nic.net)->rx_dropped, ==, 0);
    wire_down(&w);
}

/*
 * A host that takes nothing: -EAGAIN, once again `sent` when it does; nothing is lost or doubled.
 */
static void test_backpressure(void)
{
    struct wire w;
    uint8_t frame[1500] = {0}, got[NET_FRAME_MAX];
    uint32_t out = 0, in = 0, value;

    wire_up(&w);
    for (;;) {
        memcpy(frame + 20, &out, 4);
        if (send_one(&w, frame, sizeof(frame), NULL) == -EAGAIN) {
            break;
        }
        out++;
        g_assert_cmpuint(out, <, 100000);
    }
    g_assert_cmpuint(w.nic.sent, ==, 0);
    while (peer_gets(&w, got) == sizeof(frame)) {
        memcpy(&value, got + 20, 4);
        g_assert_cmpuint(value, ==, in);
        in++;
        run();
    }
    g_assert_cmpuint(w.nic.sent, ==, 1);
    g_assert_cmpuint(in, ==, out);
    wire_down(&w);
}

/* ---- a recording ---- */

static int64_t tape_now(void *opaque)
{
    return 1;
}

static void tape_freeze(void *opaque, int64_t at)
{
}

static void tape_thaw(void *opaque)
{
}

static void tape_lost(void *opaque, const char *what)
{
    g_string_append(opaque, what);
    tape_stop_recording("lost");
}

/* What entries there are, one letter each. */
static char *kinds_of(const GByteArray *out)
{
    GString *s = g_string_new(NULL);
    struct tape_entry e;
    uint64_t time = 0;
    int64_t n;

    for (size_t at = 0; (n = tape_decode(out->data + at, out->len - at, &e, &time)) > 0;) {
        g_string_append_c(s, e.kind == TAPE_NET_ASK     ? 'a'
                             : e.kind == TAPE_NET_ROOM  ? e.number[0] ? 'R' : 'r'
                             : e.kind == TAPE_NET_IN    ? 'i'
                             : e.kind == TAPE_NET_TAKEN ? e.number[0] ? 'T' : 't'
                             : e.kind == TAPE_NET_LINK  ? 'l'
                                                        : '?');
        at += (size_t)n;
    }
    return g_string_free(s, FALSE);
}

/*
 * What a card of the machine is told is an event, with its answer; what it sends, a fact, which
 * nobody's event is around here.
 */
static void test_recording(void)
{
    static struct net_device taped;
    g_autoptr(GString) what = g_string_new(NULL);
    g_autoptr(GByteArray) out = g_byte_array_new();
    struct tape_recorder to = {
        .clock = {.now = tape_now, .freeze = tape_freeze, .thaw = tape_thaw},
        .out = out,
        .grown = tape_thaw,
        .lost = tape_lost,
        .opaque = what,
    };
    uint8_t frame[100] = {1};
    g_autofree char *kinds = NULL;
    struct wire w;

    wire_up(&w);
    taped = nic_device;
    taped.taped = true;
    net_connect(w.nic.net, &taped, &w.nic, mac, 0);
    net_run(w.nic.net, true);
    tape_record(&to);
    peer_sends(&w, frame, sizeof(frame));
    run();
    w.nic.refuse = true;
    peer_sends(&w, frame, sizeof(frame));
    run();
    net_set_link(w.nic.net, false);
    kinds = kinds_of(out);
    g_assert_cmpuint(w.nic.received, ==, 1);
    g_assert_true(g_str_has_prefix(kinds, "aRiRT"));
    g_assert_nonnull(strstr(kinds, "aRiRt"));
    g_assert_true(g_str_has_suffix(kinds, "l"));
    net_set_link(w.nic.net, true);
    g_assert_cmpuint(what->len, ==, 0);
    g_assert_cmpint(send_one(&w, frame, sizeof(frame), NULL), ==, 0);
    g_assert_true(g_str_has_prefix(what->str, "net-out net0 length 0x64"));
    g_assert_true(tape_mode == TAPE_OFF);
    wire_down(&w);
}

static void test_link(void)
{
    struct wire w;
    uint8_t frame[64] = {0}, got[NET_FRAME_MAX];

    wire_up(&w);
    net_set_link(w.nic.net, false);
    net_set_link(w.nic.net, false);
    g_assert_cmpuint(w.nic.link_changes, ==, 1);
    g_assert_cmpint(send_one(&w, frame, sizeof(frame), NULL), ==, 0);
    g_assert_cmpuint(peer_gets(&w, got), ==, 0);
    g_assert_cmpuint(net_stats(w.nic.net)->tx_dropped, ==, 1);
    peer_sends(&w, frame, sizeof(frame));
    run();
    g_assert_cmpuint(w.nic.received, ==, 0);
    net_set_link(w.nic.net, true);
    run();
    g_assert_true(net_link(w.nic.net) && w.nic.received == 1 && w.nic.link_changes == 2);
    wire_down(&w);
}

static void test_peer_leaves(void)
{
    struct wire w;
    uint8_t frame[64] = {0};
    uint32_t nonsense = 0xffffffff;

    wire_up(&w);
    close(w.peer);
    w.peer = -1;
    run();
    g_assert_cmpint(send_one(&w, frame, sizeof(frame), NULL), ==, 0);
    g_assert_cmpuint(net_stats(w.nic.net)->tx_dropped, ==, 1);
    wire_down(&w);

    wire_up(&w); /* one that sends no frames is hung up on */
    g_assert_cmpint(write(w.peer, &nonsense, 4), ==, 4);
    run();
    g_assert_cmpint(read(w.peer, frame, 1), ==, 0);
    wire_down(&w);
}

static void test_announce(void)
{
    struct wire w;
    uint8_t got[NET_FRAME_MAX];
    unsigned frames = 0;

    wire_up(&w);
    net_announce(w.nic.net);
    while (frames < 5) {
        size_t len = peer_gets(&w, got);
        if (len) {
            frames++;
            g_assert_cmpuint(len, ==, NET_FRAME_MIN);
            g_assert_cmpmem(got + 6, 6, mac, 6);
            g_assert_cmpmem(got + 12, 2, "\x80\x35", 2);
            g_assert_cmpmem(got + 22, 6, mac, 6);
        } else {
            g_main_context_iteration(NULL, TRUE);
        }
    }
    run();
    g_assert_cmpuint(peer_gets(&w, got), ==, 0);
    net_announce(w.nic.net);
    wire_down(&w); /* with announcements left */
}

/* A guest that comes from another host is announced once, when it goes on here. */
static void test_arrival(void)
{
    struct wire w;
    uint8_t got[NET_FRAME_MAX];

    wire_up(&w);
    g_assert_cmpint(backend_set_activate(w.set, NULL), ==, 0);
    g_assert_cmpuint(peer_gets(&w, got), ==, 0); /* it was always here */
    w.nic.net->away = true;
    g_assert_cmpint(backend_set_activate(w.set, NULL), ==, 0);
    g_assert_cmpuint(peer_gets(&w, got), ==, NET_FRAME_MIN);
    g_assert_cmpint(backend_set_activate(w.set, NULL), ==, 0);
    g_assert_cmpuint(peer_gets(&w, got), ==, 0);
    wire_down(&w);
}

/* ---- offloads ---- */

/* Ethernet, IPv4 of 20 bytes, TCP of 20, payload of 0, 1, 2 … */
static size_t tcp_frame(uint8_t *f, size_t payload, bool v6)
{
    size_t ip = 14, tcp = ip + (v6 ? 40 : 20), len = tcp + 20 + payload;

    memset(f, 0, tcp + 20);
    f[0] = 2, f[6] = 4;
    f[12] = v6 ? 0x86 : 0x08, f[13] = v6 ? 0xdd : 0;
    if (v6) {
        f[ip] = 0x60;
        f[ip + 6] = 6;
        memset(f + ip + 8, 0x20, 32);
    } else {
        f[ip] = 0x45;
        f[ip + 2] = (uint8_t)((len - ip) >> 8), f[ip + 3] = (uint8_t)(len - ip);
        f[ip + 5] = 77; /* identification */
        f[ip + 8] = 64;
        f[ip + 9] = 6;
        memcpy(f + ip + 12, "\x0a\x00\x00\x01\x0a\x00\x00\x02", 8);
    }
    f[tcp + 4] = 0xff, f[tcp + 5] = 0xff, f[tcp + 6] = 0xff; /* sequence: about to wrap */
    f[tcp + 12] = 0x50;
    f[tcp + 13] = 0x80 | 0x10 | 0x08 | 0x01; /* CWR ACK PSH FIN */
    for (size_t i = 0; i < payload; i++) {
        f[tcp + 20 + i] = (uint8_t)(i * 7);
    }
    return len;
}

static uint16_t sum(const uint8_t *p, size_t len, uint32_t s)
{
    for (size_t i = 0; i < len; i++) {
        s += i & 1 ? p[i] : (uint32_t)p[i] << 8;
    }
    while (s >> 16) {
        s = (s & 0xffff) + (s >> 16);
    }
    return (uint16_t)s;
}

/* All sums of a received TCP frame are right. */
static void check_sums(const uint8_t *f, size_t len, bool v6)
{
    size_t ip = 14, tcp = ip + (v6 ? 40 : 20);
    uint32_t pseudo = v6 ? sum(f + ip + 8, 32, 0) : sum(f + ip + 12, 8, 0);

    if (v6) {
        g_assert_cmpuint(f[ip + 4] << 8 | f[ip + 5], ==, len - tcp);
    } else {
        g_assert_cmphex(sum(f + ip, 20, 0), ==, 0xffff);
        g_assert_cmpuint(f[ip + 2] << 8 | f[ip + 3], ==, len - ip);
    }
    g_assert_cmphex(sum(f + tcp, len - tcp, pseudo + 6 + (uint32_t)(len - tcp)), ==, 0xffff);
}

static void test_checksum(void)
{
    struct wire w;
    uint8_t frame[200], got[NET_FRAME_MAX];
    size_t len = tcp_frame(frame, 33, false);
    struct net_offload o = {.flags = NET_CSUM, .csum_start = 34, .csum_offset = 16};
    uint16_t pseudo = sum(frame + 26, 8, 6 + 20 + 33);

    wire_up(&w);
    uint16_t ip_sum = (uint16_t)~sum(frame + 14, 20, 0);
    frame[24] = (uint8_t)(ip_sum >> 8), frame[25] = (uint8_t)ip_sum;
    frame[50] = (uint8_t)(pseudo >> 8), frame[51] = (uint8_t)pseudo;
    g_assert_cmpint(send_one(&w, frame, len, &o), ==, 0);
    g_assert_cmpuint(peer_gets(&w, got), ==, len);
    check_sums(got, len, false);
    /* places outside of the frame are the guest's mistake */
    o.csum_start = (uint16_t)len;
    g_assert_cmpint(send_one(&w, frame, len, &o), ==, -EINVAL);
    o.csum_start = (uint16_t)(len - 3);
    o.csum_offset = 2;
    g_assert_cmpint(send_one(&w, frame, len, &o), ==, -EINVAL);
    o.csum_offset = UINT16_MAX;
    g_assert_cmpint(send_one(&w, frame, len, &o), ==, -EINVAL);
    g_assert_cmpuint(peer_gets(&w, got), ==, 0);
    wire_down(&w);
}

struct cut {
    unsigned count;
    size_t payload;
    bool v6;
    size_t total;
};

static int one_segment(void *opaque, const uint8_t *f, size_t len)
{
    struct cut *c = opaque;
    size_t tcp = 14 + (c->v6 ? 40 : 20);
    uint32_t sequence = (uint32_t)f[tcp + 4] << 24 | (uint32_t)f[tcp + 5] << 16 |
                        (uint32_t)f[tcp + 6] << 8 | f[tcp + 7];
    size_t n = len - tcp - 20;
    bool last = c->payload + n == c->total;

    check_sums(f, len, c->v6);
    g_assert_cmphex(sequence, ==, (uint32_t)(0xffffff00u + c->payload));
    for (size_t i = 0; i < n; i++) {
        g_assert_cmphex(f[tcp + 20 + i], ==, (uint8_t)((c->payload + i) * 7));
    }
    g_assert_cmphex(f[tcp + 13], ==, (last ? 0x19 : 0x10) | (c->count ? 0 : 0x80));
    if (!c->v6) {
        g_assert_cmpuint(f[14 + 4] << 8 | f[14 + 5], ==, 77 + c->count);
    }
    c->count++;
    c->payload += n;
    return 0;
}

static void cut(bool v6, size_t payload, uint16_t segment)
{
    g_autofree uint8_t *frame = g_malloc(NET_FRAME_MAX);
    size_t len = tcp_frame(frame, payload, v6);
    struct cut c = {.v6 = v6, .total = payload};
    struct net_offload o = {.flags = v6 ? NET_TSO6 : NET_TSO4,
                            .csum_start = v6 ? 54 : 34,
                            .csum_offset = 16,
                            .segment = segment,
                            .header = v6 ? 74 : 54};

    g_assert_true(net_offload_fits(&o, frame, 128, len));
    g_assert_cmpint(net_cut(frame, len, &o, one_segment, &c), ==, 0);
    g_assert_cmpuint(c.payload, ==, payload);
    g_assert_cmpuint(c.count, ==, (payload + segment - 1) / segment);
}

static void test_segments(void)
{
    cut(false, 60000, 1448);
    cut(false, 1448, 1448);
    cut(false, 1449, 1448);
    cut(true, 50001, 1428);
    cut(false, 60000, 48);
}

/* A device's word about segments is held against the frame. */
static void test_segments_hostile(void)
{
    g_autofree uint8_t *f = g_malloc(NET_FRAME_MAX);
    size_t len = tcp_frame(f, 3000, false);
    const struct net_offload good = {
        .flags = NET_TSO4, .csum_start = 34, .csum_offset = 16, .segment = 1000, .header = 54};
    struct net_offload o = good;

    g_assert_true(net_offload_fits(&o, f, 128, len));
    o.segment = 0;
    g_assert_false(net_offload_fits(&o, f, 128, len));
    o = good, o.segment = 1; /* three thousand frames for one */
    g_assert_false(net_offload_fits(&o, f, 128, len));
    o = good, o.header = 53;
    g_assert_false(net_offload_fits(&o, f, 128, len));
    o = good, o.flags |= NET_TSO6;
    g_assert_false(net_offload_fits(&o, f, 128, len));
    o = good, o.flags = NET_TSO6;
    g_assert_false(net_offload_fits(&o, f, 128, len));
    o = good, o.csum_start = 33;
    g_assert_false(net_offload_fits(&o, f, 128, len));
    g_assert_false(net_offload_fits(&good, f, 128, 54)); /* no payload */
    g_assert_false(net_offload_fits(&good, f, 40, len)); /* headers end in the middle */
    f[14] = 0x44;
    g_assert_false(net_offload_fits(&good, f, 128, len));
    f[14] = 0x45, f[46] = 0x40;
    g_assert_false(net_offload_fits(&good, f, 128, len));
    f[46] = 0xf0; /* TCP's header is longer than the copy */
    g_assert_false(net_offload_fits(&good, f, 80, len));
    f[46] = 0x50, f[23] = 17;
    g_assert_false(net_offload_fits(&good, f, 128, len));
}

/* ---- headers ---- */

/* Found in each part of a frame, or not, without a look beyond it (the sanitizer sees one). */
static void find(const uint8_t *frame, size_t len, struct net_headers *h)
{
    g_autofree uint8_t *part = g_memdup2(frame, len);

    net_find_headers(part, len, h);
}

static void check_truncated(const uint8_t *f, size_t ip, size_t ip_end, size_t l4, size_t payload)
{
    struct net_headers h;

    for (size_t len = 0; len <= payload + 3; len++) {
        find(f, len, &h);
        g_assert_cmpuint(h.version, ==, len < ip_end ? 0 : f[ip] >> 4);
        g_assert_cmpuint(h.ip, ==, len < ip_end ? 0 : ip);
        g_assert_cmpuint(h.ip_end, ==, len < ip_end ? 0 : ip_end);
        g_assert_cmpuint(h.transport, ==, len < ip_end + l4 ? 0 : ip_end);
        g_assert_cmpuint(h.payload, ==, len < payload ? 0 : payload);
    }
}

/* IPv4 with `options` words, or IPv6, behind a tag or not; 16 bytes of TCP's options. */
static void check_headers(bool v6, bool tag, unsigned options)
{
    size_t ip = tag ? 18 : 14, end = ip + (v6 ? 40 : 20 + options * 4);
    uint8_t f[160];
    struct net_headers h;

    memset(f, 0x11, sizeof(f));
    store_be16(f + 12, 0x8100);
    store_be16(f + ip - 2, v6 ? 0x86dd : 0x0800);
    f[ip] = v6 ? 0x60 : (uint8_t)(0x45 + options);
    f[ip + (v6 ? 6 : 9)] = 6;
    f[end + 12] = 0x90;
    check_truncated(f, ip, end, 20, end + 36);
    find(f, sizeof(f), &h);
    g_assert_cmpuint(h.csum_offset, ==, 16);
    uint64_t addresses = sum(f + ip + (v6 ? 8 : 12), v6 ? 32 : 8, 0);
    g_assert_cmphex(net_fold(net_pseudo_sum(f, &h, 100)), ==, net_fold(addresses + 6 + 100));
    f[end + 12] = 0x40; /* shorter than TCP's header is */
    find(f, sizeof(f), &h);
    g_assert_true(h.transport == end && h.payload == 0);
    f[ip + (v6 ? 6 : 9)] = 17;
    check_truncated(f, ip, end, 8, end + 8);
    find(f, sizeof(f), &h);
    g_assert_cmpuint(h.csum_offset, ==, 6);
    f[ip + (v6 ? 6 : 9)] = v6 ? 60 : 1; /* an extension header: not looked behind; ICMP */
    find(f, sizeof(f), &h);
    g_assert_true(h.version && h.protocol == (v6 ? 60 : 1) && !h.transport && !h.payload);
    f[ip] = v6 ? 0x45 : 0x65; /* not what the type says */
    find(f, sizeof(f), &h);
    g_assert_true(!h.version && !h.ip && !h.transport);
}

static void test_headers(void)
{
    uint8_t f[64] = {[12] = 8, [14] = 0x44, [23] = 6}; /* IPv4 that is shorter than its header */
    struct net_headers h;

    for (unsigned tag = 0; tag < 2; tag++) {
        check_headers(false, tag, 0);
        check_headers(false, tag, 10);
        check_headers(true, tag, 0);
    }
    g_assert_false(net_find_headers(f, sizeof(f), &h));
    store_be16(f + 12, 0x8100); /* one tag, not two */
    store_be16(f + 16, 0x8100);
    store_be16(f + 20, 0x0800);
    g_assert_false(net_find_headers(f, sizeof(f), &h));
    store_be16(f + 12, 0x0806);
    g_assert_false(net_find_headers(f, sizeof(f), &h));
}

static void test_tag(void)
{
    uint8_t f[20] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 7, 7, 7, 7, 7, 7, 8, 6, 1, 2};

    g_assert_true(net_broadcast(f) && !net_broadcast(f + 1));
    g_assert_false(net_tagged(f, sizeof(f), 0x8100));
    g_assert_cmpuint(net_put_tag(f, 16, 0x8100, 0xa123), ==, 20);
    g_assert_cmpmem(f + 11, 9, "\7\x81\0\xa1\x23\x8\x6\1\2", 9);
    g_assert_true(net_tagged(f, 18, 0x8100) && !net_tagged(f, 17, 0x8100));
    g_assert_false(net_tagged(f, 18, 0x88a8));
}

static void test_mac(void)
{
    uint8_t m[NET_MAC_LEN];
    char text[18];

    g_assert_true(net_mac_parse("00:16:3e:Aa:0b:ff", m));
    net_mac_format(m, text);
    g_assert_cmpstr(text, ==, "00:16:3e:aa:0b:ff");
    g_assert_false(net_mac_parse("01:16:3e:aa:0b:ff", m)); /* multicast */
    g_assert_false(net_mac_parse("00:16:3e:aa:0b", m));
    g_assert_false(net_mac_parse("00:16:3e:aa:0b:ff:1", m));
    g_assert_false(net_mac_parse("", m));
    /* 01:00:5e:00:00:01: the usual example of drivers' hash tables (upper six bits: 31) */
    g_assert_cmphex(net_mac_crc((const uint8_t[]){1, 0, 0x5e, 0, 0, 1}) >> 26, ==, 31);
}

/* ---- tap ---- */

static int packet_socket(const char *ifname)
{
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(0x0003)};
    struct ifreq ifr = {0};
    int fd = socket(AF_PACKET, SOCK_RAW, htons(0x0003));

    g_assert_cmpint(fd, >=, 0);
    g_strlcpy(ifr.ifr_name, ifname, sizeof(ifr.ifr_name));
    g_assert_cmpint(ioctl(fd, SIOCGIFFLAGS, &ifr), ==, 0);
    ifr.ifr_flags |= IFF_UP;
    g_assert_cmpint(ioctl(fd, SIOCSIFFLAGS, &ifr), ==, 0);
    to.sll_ifindex = (int)if_nametoindex(ifname);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&to, sizeof(to)), ==, 0);
    return fd;
}

/* Frames that are not the kernel's own talk on a new interface. */
static size_t next_frame(int fd, uint8_t *frame)
{
    ssize_t n;

    do {
        n = recv(fd, frame, NET_FRAME_MAX, MSG_DONTWAIT);
    } while (n >= 14 && (frame[12] != 0x88 || frame[13] != 0xb5));
    return n < 0 ? 0 : (size_t)n;
}

static void test_tap(void)
{
    struct wire w = {.peer = -1};
    uint8_t frame[100] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5, 1, 2, 3}, got[70000];

    if (access("/dev/net/tun", R_OK | W_OK) < 0 || unshare(CLONE_NEWNET) < 0) {
        g_test_skip("no /dev/net/tun, or no network namespace to be had");
        return;
    }
    add(&w, "tap", "ifname", "vif9.0-emu");
    w.peer = packet_socket("vif9.0-emu");
    net_run(w.nic.net, true);
    g_assert_cmpint(send_one(&w, frame, sizeof(frame), NULL), ==, 0);
    g_assert_cmpmem(got, next_frame(w.peer, got), frame, sizeof(frame));
    g_assert_cmpint(send(w.peer, frame, sizeof(frame), 0), ==, sizeof(frame));
    while (w.nic.received == 0 || w.nic.frame[12] != 0x88) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpmem(w.nic.frame, w.nic.len, frame, sizeof(frame));
    wire_down(&w);
    g_assert_cmpuint(if_nametoindex("vif9.0-emu"), ==, 0); /* it went with its descriptor */
}

static void refused(const char *driver, const char *name, const char *value, const char *says)
{
    struct backend_set *set = backend_set_new();
    struct object_desc *desc = object_desc_new(OBJECT_BACKEND, BACKEND_NET, driver, "net0");
    g_autoptr(GError) err = NULL;

    object_desc_set(desc, name, value);
    g_assert_null(backend_add(set, desc, NULL, &err));
    g_assert_nonnull(strstr(err->message, says));
    object_desc_free(desc);
    backend_set_free(set);
}

static void test_refused(void)
{
    refused("tap", "script", "/etc/qemu-ifup", "script=/etc/qemu-ifup");
    refused("tap", "ifname", "far-too-long-for-linux", "far-too-long-for-linux");
    refused("tap", "fd", "0", "fd");
    refused("socket", "connect", "nohost", "nohost");
    refused("socket", "fd", "70000", "fd");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/net/both-ways", test_both_ways);
    g_test_add_func("/net/flow", test_flow);
    g_test_add_func("/net/backpressure", test_backpressure);
    g_test_add_func("/net/link", test_link);
    g_test_add_func("/net/recording", test_recording);
    g_test_add_func("/net/peer-leaves", test_peer_leaves);
    g_test_add_func("/net/announce", test_announce);
    g_test_add_func("/net/arrival", test_arrival);
    g_test_add_func("/net/checksum", test_checksum);
    g_test_add_func("/net/segments", test_segments);
    g_test_add_func("/net/segments-hostile", test_segments_hostile);
    g_test_add_func("/net/headers", test_headers);
    g_test_add_func("/net/tag", test_tag);
    g_test_add_func("/net/mac", test_mac);
    g_test_add_func("/net/refused", test_refused);
    g_test_add_func("/net/tap", test_tap); /* last: it changes the process' network */
    return g_test_run();
}
