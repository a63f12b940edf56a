/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The core of network back ends: link, flow control, counters, announcements, driver or software.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <xendm/facts.h>
#include <xendm/iov.h>
#include <xendm/probe.h>
#include <xendm/tape.h>
#include <xendm/turn.h>

#include "net.h"

#define OFFLOADS (NET_CSUM | NET_TSO4 | NET_TSO6) /* that a frame may ask for */
#define ANNOUNCE_TIMES 5u
#define ANNOUNCE_GAP_MS 150u

void net_init(struct net *n, const struct net_driver *driver)
{
    n->driver = driver;
    n->send_offloads = driver->offloads;
    n->away = n->backend.inactive;
}

void net_fini(struct net *n)
{
    net_disconnect(n);
}

static bool wants_frames(const struct net *n)
{
    return n->device && n->running && !n->link_down && !n->starved;
}

void net_update_reading(struct net *n)
{
    n->driver->set_reading(n, wants_frames(n));
}

void net_connect(struct net *n, const struct net_device *device, void *opaque,
                 const uint8_t mac[NET_MAC_LEN], unsigned offloads)
{
    if (!n) {
        return;
    }
    n->device = device;
    n->opaque = opaque;
    n->offloads = offloads;
    n->running = n->starved = n->waiting = false;
    net_set_mac(n, mac);
    if (n->driver->set_offloads) {
        n->driver->set_offloads(n, offloads);
    }
}

void net_set_offloads(struct net *n, unsigned offloads)
{
    if (n && n->device && n->offloads != offloads) {
        n->offloads = offloads;
        if (n->driver->set_offloads) {
            n->driver->set_offloads(n, offloads);
        }
    }
}

static void stop_announcing(struct net *n)
{
    g_clear_handle_id(&n->announce_source, g_source_remove);
    n->announce_left = 0;
}

void net_disconnect(struct net *n)
{
    if (n) {
        stop_announcing(n);
    }
    if (n && n->device) {
        n->device = NULL;
        net_update_reading(n);
    }
}

void net_set_mac(struct net *n, const uint8_t mac[NET_MAC_LEN])
{
    if (!n) {
        return;
    }
    memcpy(n->mac, mac, NET_MAC_LEN);
}

void net_run(struct net *n, bool on)
{
    if (!n) {
        return;
    }
    n->running = on;
    n->starved = n->waiting = false;
    net_update_reading(n);
}

void net_receive_again(struct net *n)
{
    if (n && n->starved) {
        n->starved = false;
        net_update_reading(n);
    }
}

/* ---- to the card: events of a recording (xendm/tape.h) ---- */

static bool is_taped(const struct net *n)
{
    return tape_on() && n->device && n->device->taped;
}

static uint64_t checksum_of(const struct net_offload *o)
{
    return o->csum_start | (uint64_t)o->csum_offset << 16;
}

static bool has_room(struct net *n)
{
    bool room;

    if (!wants_frames(n)) {
        return false;
    }
    room = n->device->can_receive(n->opaque);
    if (is_taped(n)) {
        tape_fact(TAPE_NET_ROOM, NULL, (uint64_t[]){room}, NULL, 0);
    }
    if (!room) {
        n->starved = true;
        net_update_reading(n);
    }
    return room;
}

bool net_can_deliver(struct net *n)
{
    bool room;

    if (!wants_frames(n) || !is_taped(n)) {
        return has_room(n);
    }
    if (!tape_enter(TAPE_NET_ASK, n->backend.id, NULL, NULL, 0)) {
        return false;
    }
    room = has_room(n);
    tape_leave();
    return room;
}

static bool hand_in(struct net *n, const uint8_t *frame, size_t len, const struct net_offload *o)
{
    bool taken;

    if (!has_room(n)) {
        return false;
    }
    taken = n->device->receive(n->opaque, frame, len, o);
    if (is_taped(n)) {
        tape_fact(TAPE_NET_TAKEN, NULL, (uint64_t[]){taken}, NULL, 0);
    }
    if (taken) {
        PROBE2(net_receive, n, len);
        n->stats.rx_frames++;
        n->stats.rx_bytes += len;
    } else {
        n->stats.rx_dropped++;
    }
    return true;
}

bool net_deliver(struct net *n, const uint8_t *frame, size_t len, const struct net_offload *o)
{
    bool taken;

    if (len < NET_HEADER_LEN || len > NET_FRAME_MAX) {
        n->stats.rx_dropped++;
        return true;
    }
    if (!is_taped(n)) {
        return hand_in(n, frame, len, o);
    }
    if (!tape_enter(TAPE_NET_IN, n->backend.id,
                    (uint64_t[]){o->flags, checksum_of(o), o->segment, o->header}, frame, len)) {
        return false;
    }
    taken = hand_in(n, frame, len, o);
    tape_leave();
    return taken;
}

static void try_again(struct net *n)
{
    if (n->waiting && n->device && n->running) {
        n->waiting = false;
        n->device->sent(n->opaque);
    }
}

void net_writable(struct net *n)
{
    if (!n->waiting || !is_taped(n)) {
        try_again(n);
    } else if (tape_enter(TAPE_NET_SENT, n->backend.id, NULL, NULL, 0)) {
        try_again(n);
        tape_leave();
    }
}

static bool play_frame(struct net *n, const struct tape_entry *e)
{
    g_autofree uint8_t *frame = g_malloc0(e->len + 1);
    struct net_offload o = {
        .flags = (uint8_t)e->number[0],
        .csum_start = (uint16_t)e->number[1],
        .csum_offset = (uint16_t)(e->number[1] >> 16),
        .segment = (uint16_t)e->number[2],
        .header = (uint16_t)e->number[3],
    };

    if (e->len < NET_HEADER_LEN || e->len > NET_FRAME_MAX) {
        return false;
    }
    if (e->data) {
        memcpy(frame, e->data, e->len);
    }
    hand_in(n, frame, e->len, &o);
    return true;
}

bool net_play(struct net *n, const struct tape_entry *e)
{
    if (!is_taped(n)) {
        return false;
    }
    switch (e->kind) {
    case TAPE_NET_ASK:
        has_room(n);
        return true;
    case TAPE_NET_IN:
        return play_frame(n, e);
    case TAPE_NET_SENT:
        try_again(n);
        return true;
    default:
        net_set_link(n, e->number[0]);
        return true;
    }
}

/* ---- from the card ---- */

static int send_whole(void *opaque, const uint8_t *frame, size_t len)
{
    struct net *n = opaque;
    struct iovec iov = {(void *)frame, len};

    return n->driver->send(n, &iov, 1, NULL);
}

/*
 * What the host cannot do is done on a copy. Segments that no longer fit are lost: TCP sends them
 * again, and the device cannot go back into the middle of a frame.
 */
static int send_in_software(struct net *n, const struct iovec *iov, unsigned niov, size_t len,
                            const struct net_offload *o)
{
    g_autofree uint8_t *copy = g_malloc(len);
    int error;

    iov_get(iov, niov, 0, copy, len);
    if (!(o->flags & (NET_TSO4 | NET_TSO6))) {
        error = net_fill_csum(copy, len, o);
        return error ? error : send_whole(n, copy, len);
    }
    error = net_cut(copy, len, o, send_whole, n);
    return error == -EAGAIN ? 0 : error;
}

/* 0, also on a cable that is not plugged in, or an error. */
static int send_now(struct net *n, const struct iovec *iov, unsigned niov, size_t len,
                    const struct net_offload *o)
{
    if (n->link_down) {
        return -ENOLINK;
    }
    return o && (o->flags & OFFLOADS & ~n->send_offloads) ? send_in_software(n, iov, niov, len, o)
                                                          : n->driver->send(n, iov, niov, o);
}

/*
 * What the card made of the frame; what lies in guest memory still does not go through it. Returns
 * what became of it.
 */
static int tape_sent(const struct net *n, const struct iovec *iov, unsigned niov, size_t len,
                     const struct net_offload *o, int error)
{
    static const struct net_offload plain;
    const void *guests = tape_guest_iov && tape_guest_pieces ? tape_guest_iov[0].iov_base : NULL;
    unsigned own = 0;
    uint64_t number[] = {len, 0, 0, 0, 0, (uint64_t)-error};
    g_autofree uint8_t *made = NULL;
    size_t bytes;

    while (own < niov && iov[own].iov_base != guests) {
        own++;
    }
    o = o ? o : &plain;
    number[1] = o->flags;
    number[2] = checksum_of(o);
    number[3] = o->segment;
    number[4] = o->header;
    bytes = iov_bytes(iov, own);
    made = g_malloc(bytes + 1);
    iov_get(iov, own, 0, made, bytes);
    tape_fact(TAPE_NET_OUT, n->backend.id, number, made, bytes);
    return -(int)MIN(number[5], TAPE_ERRNO_MAX);
}

int net_send(struct net *n, const struct iovec *iov, unsigned niov, const struct net_offload *o)
{
    size_t len = iov_bytes(iov, niov);
    unsigned wanted = o ? o->flags & OFFLOADS : 0;
    uint8_t head[128];
    int error;

    if (len < NET_HEADER_LEN || len > NET_FRAME_MAX || niov > NET_IOV_MAX) {
        return -EINVAL;
    }
    if (!n) {
        return 0;
    }
    if (wanted && !net_offload_fits(o, head, iov_get(iov, niov, 0, head, sizeof(head)), len)) {
        return -EINVAL;
    }
    error = tape_plays() && is_taped(n) ? 0 : send_now(n, iov, niov, len, wanted ? o : NULL);
    if (is_taped(n)) {
        error = tape_sent(n, iov, niov, len, wanted ? o : NULL, error);
    }
    if (error == -EAGAIN) {
        n->waiting = true;
        return error;
    }
    if (error) {
        n->stats.tx_dropped++;
        return error == -EINVAL ? error : 0;
    }
    PROBE2(net_send, n, len);
    n->stats.tx_frames++;
    n->stats.tx_bytes += len;
    return 0;
}

bool net_link(const struct net *n)
{
    uint64_t up = n && !n->link_down;

    if (n && is_taped(n) && tape_inside()) {
        tape_fact(TAPE_NET_CABLE, n->backend.id, &up, NULL, 0);
    }
    return up;
}

static void link_set(struct net *n, bool up)
{
    n->link_down = !up;
    net_update_reading(n);
    if (n->device->link_changed) {
        n->device->link_changed(n->opaque, up);
    }
    try_again(n); /* without a link nothing holds frames back either: they are dropped */
}

void net_set_link(struct net *n, bool up)
{
    if (n->link_down != up) {
        return;
    }
    if (!n->device) {
        n->link_down = !up;
    } else if (!is_taped(n)) {
        link_set(n, up);
    } else if (tape_enter(TAPE_NET_LINK, n->backend.id, (uint64_t[]){up}, NULL, 0)) {
        link_set(n, up);
        tape_leave();
    }
}

/* RFC 903: a reverse request for our own address, which teaches bridges where it is. */
static void announce_frame(const struct net *n, uint8_t frame[NET_FRAME_MIN])
{
    static const uint8_t rarp[] = {0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3};

    memset(frame, 0, NET_FRAME_MIN);
    memset(frame, 0xff, NET_MAC_LEN);
    memcpy(frame + 6, n->mac, NET_MAC_LEN);
    memcpy(frame + 12, rarp, sizeof(rarp));
    memcpy(frame + 22, n->mac, NET_MAC_LEN);
    memcpy(frame + 32, n->mac, NET_MAC_LEN);
}

static gboolean announce(gpointer opaque)
{
    struct net *n = opaque;
    uint8_t frame[NET_FRAME_MIN];

    turn_of("net");
    if (!n->link_down) {
        announce_frame(n, frame);
        send_whole(n, frame, sizeof(frame));
    }
    if (--n->announce_left > 0) {
        return G_SOURCE_CONTINUE;
    }
    n->announce_source = 0;
    return G_SOURCE_REMOVE;
}

void net_announce(struct net *n)
{
    if (!n->device) {
        return;
    }
    stop_announcing(n);
    n->announce_left = ANNOUNCE_TIMES;
    if (announce(n)) {
        n->announce_source = g_timeout_add(ANNOUNCE_GAP_MS, announce, n);
    }
}

void net_describe(const struct net *n, struct facts *to)
{
    char mac[18];

    net_mac_format(n->mac, mac);
    fact_text(to, "mac", "%s", n->device ? mac : "none");
    fact_bool(to, "link", !n->link_down);
    fact_bool(to, "device has room", !n->starved);
    fact_bool(to, "host has room", !n->waiting);
    fact_group(to, "sent");
    fact_int(to, "frames", (int64_t)n->stats.tx_frames);
    fact_int(to, "bytes", (int64_t)n->stats.tx_bytes);
    fact_int(to, "dropped", (int64_t)n->stats.tx_dropped);
    fact_group(to, "received");
    fact_int(to, "frames", (int64_t)n->stats.rx_frames);
    fact_int(to, "bytes", (int64_t)n->stats.rx_bytes);
    fact_int(to, "dropped", (int64_t)n->stats.rx_dropped);
    fact_group(to, NULL);
}

int net_activate(struct backend *b, GError **err)
{
    struct net *n = (struct net *)b;

    if (n->away) {
        n->away = false;
        net_announce(n);
    }
    return 0;
}

const struct net_stats *net_stats(const struct net *n)
{
    return &n->stats;
}

bool net_mac_parse(const char *text, uint8_t mac[NET_MAC_LEN])
{
    unsigned v[NET_MAC_LEN];
    int end = 0;

    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &end) !=
            NET_MAC_LEN ||
        text[end] || (v[0] & 1)) {
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

uint32_t net_mac_crc(const uint8_t mac[NET_MAC_LEN])
{
    uint32_t crc = UINT32_MAX;

    for (unsigned i = 0; i < NET_MAC_LEN; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            uint32_t carry = (crc >> 31) ^ (mac[i] >> bit & 1);
            crc <<= 1;
            if (carry) {
                crc ^= 0x04c11db7;
            }
        }
    }
    return crc;
}
