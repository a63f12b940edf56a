/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network back end: Ethernet frames between a device of the guest (NIC, PV vif) and the host (tap,
 * socket pair). A frame is whole, begins with the destination address and has no FCS.
 *
 * Nothing here blocks or grows: what the host does not take now is refused with -EAGAIN, and the
 * device tries again when `sent` is called; what the device cannot take now stays in the host's own
 * queue, which drops as a switch would. Everything that is dropped is counted.
 *
 * Offloads: a device may hand over a frame whose checksum is still to be filled in, or a large one
 * that is to be cut into segments; what the host cannot do is done here (offload.c), so that a
 * device needs no second way.
 */
#ifndef XENDM_NET_H
#define XENDM_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include <glib.h>

#include <xendm/bytes.h>

#define NET_MAC_LEN 6u
#define NET_HEADER_LEN 14u   /* Ethernet: two addresses and the type */
#define NET_FRAME_MIN 60u    /* without FCS; shorter ones are padded by the sender */
#define NET_FRAME_MAX 65550u /* 64 KiB of IP and a header: with offloads; 1518 without */
#define NET_IOV_MAX 64u

struct net;

enum net_offload_flag {
    NET_CSUM = 1 << 0,  /* the Internet checksum from csum_start to the end goes to csum_offset */
    NET_TSO4 = 1 << 1,  /* TCP over IPv4, to be cut into segments of `segment` bytes of payload */
    NET_TSO6 = 1 << 2,  /* the same over IPv6 */
    NET_VALID = 1 << 3, /* received: the host answers for the checksums */
};

/* Of one frame; all zero: a plain frame, complete. */
struct net_offload {
    uint8_t flags;        /* enum net_offload_flag */
    uint16_t csum_start;  /* bytes from the start of the frame */
    uint16_t csum_offset; /* bytes from csum_start; the field holds the pseudo header's sum */
    uint16_t segment;     /* bytes of payload in each segment */
    uint16_t header;      /* bytes of headers that each segment begins with */
};

/*
 * A device without back end (`n` NULL) has a cable that ends nowhere: the functions for devices do
 * nothing, and the link is down.
 */

/* The device's side. Called from the main loop, never from inside net_send(). */
struct net_device {
    bool taped; /* of the machine: what goes over the cable is recorded (tape.h) */
    /* There is room for a frame of the largest size; while false nothing is received. */
    bool (*can_receive)(void *opaque);
    /*
     * One frame; the memory is valid inside. False: not taken (not its address, no buffer): it is
     * dropped and counted.
     */
    bool (*receive)(void *opaque, const uint8_t *frame, size_t len, const struct net_offload *o);
    void (*sent)(void *opaque);                  /* there is room again after -EAGAIN */
    void (*link_changed)(void *opaque, bool up); /* may be NULL */
};

/*
 * Connects the device; `offloads`: which of NET_CSUM, NET_TSO* it understands in frames that it
 * receives (it may use all in those it sends). Nothing is received before net_run(). `mac` is for
 * announcements and status; net_set_mac() when the guest changes it.
 */
void net_connect(struct net *n, const struct net_device *device, void *opaque,
                 const uint8_t mac[NET_MAC_LEN], unsigned offloads);
void net_disconnect(struct net *n);
/* The device's offloads change: its driver says what it understands. */
void net_set_offloads(struct net *n, unsigned offloads);
void net_set_mac(struct net *n, const uint8_t mac[NET_MAC_LEN]);

/*
 * The device runs or stands still (quiesce, resume): stopped it is not called. What it had no room
 * for before, it tries by itself when it runs again.
 */
void net_run(struct net *n, bool on);

/*
 * Sends a frame; the memory is the caller's again at once. 0: sent, or dropped as on a cable that
 * is not plugged in; -EAGAIN: no room now, `sent` follows; -EINVAL: shorter than a header, longer
 * than NET_FRAME_MAX, or `o` does not fit the frame.
 */
int net_send(struct net *n, const struct iovec *iov, unsigned niov, const struct net_offload *o);

/* can_receive() became true. */
void net_receive_again(struct net *n);

bool net_link(const struct net *n);
void net_set_link(struct net *n, bool up); /* QMP set_link */

/* Tells the switches where the guest is now, after it moved here: five RARP frames in a second. */
void net_announce(struct net *n);

/*
 * In a replay: an event of the tape's is done again. False: the card cannot, as the tape has it.
 */
struct tape_entry;
bool net_play(struct net *n, const struct tape_entry *e);

struct net_stats {
    uint64_t tx_frames, tx_bytes, tx_dropped;
    uint64_t rx_frames, rx_bytes, rx_dropped;
};
const struct net_stats *net_stats(const struct net *n);

/*
 * Host side of the core, for drivers (tap, socketpair). The driver's instance begins with struct
 * net; see backends/net/net.h.
 */

/* Parses "00:16:3e:01:02:03"; a multicast address is refused. */
bool net_mac_parse(const char *text, uint8_t mac[NET_MAC_LEN]);
/* 18 bytes with the NUL. */
void net_mac_format(const uint8_t mac[NET_MAC_LEN], char text[18]);

/*
 * CRC-32 of an address as NICs hash multicast addresses: IEEE 802.3, most significant bit first;
 * chips take the topmost or lowest bits.
 */
uint32_t net_mac_crc(const uint8_t mac[NET_MAC_LEN]);

/*
 * The Internet checksum (RFC 1071): net_sum()s of pieces of even length are added, the last may be
 * odd; what a header has is the complement of net_fold().
 */
static inline uint64_t net_sum(const uint8_t *p, size_t len)
{
    uint64_t sum = 0;

    for (; len >= 2; len -= 2, p += 2) {
        sum += load_be16(p);
    }
    return len ? sum + ((uint64_t)p[0] << 8) : sum;
}

static inline uint16_t net_fold(uint64_t sum)
{
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

/*
 * Headers of a frame (backends/net/headers.c), as far as its first bytes have them: what a guest or
 * a peer says of their lengths counts only if it lies within.
 */
#define NET_TAG_LEN 4u /* VLAN, behind the addresses */
#define NET_TYPE_IPV4 0x0800u
#define NET_TYPE_IPV6 0x86ddu
#define NET_TYPE_VLAN 0x8100u
#define NET_TCP 6u
#define NET_UDP 17u

static inline bool net_broadcast(const uint8_t *frame)
{
    static const uint8_t all[NET_MAC_LEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    return memcmp(frame, all, NET_MAC_LEN) == 0;
}

/* It has a VLAN tag of this type; the tag is the be16 at 14. */
static inline bool net_tagged(const uint8_t *frame, size_t len, uint16_t type)
{
    return len >= NET_HEADER_LEN + NET_TAG_LEN && load_be16(frame + 12) == type;
}

/* Puts one in; there is room for NET_TAG_LEN more bytes. Returns how many there are then. */
size_t net_put_tag(uint8_t *head, size_t len, uint16_t type, uint16_t tag);

/* Bytes from the start of the frame. */
struct net_headers {
    uint8_t version;      /* of IP: 4 or 6 */
    uint8_t protocol;     /* what IP says that it carries; of IPv6 perhaps an extension header */
    size_t ip, ip_end;    /* IP's header, with its options; without IPv6's extension headers */
    size_t transport;     /* TCP's or UDP's header directly behind it; 0: neither, or not there */
    uint16_t csum_offset; /* of its checksum, from `transport` */
    size_t payload;       /* behind it, with TCP's options; 0: it does not end in these bytes */
};

/* Behind at most one VLAN tag. False (and all zero): no IP, or its header does not end here. */
bool net_find_headers(const uint8_t *head, size_t len, struct net_headers *h);
/* Of TCP's or UDP's pseudo header, with `bytes` of header and payload. */
uint64_t net_pseudo_sum(const uint8_t *head, const struct net_headers *h, size_t bytes);
/* The checksum of the IPv4 header itself. */
void net_fill_ipv4_sum(uint8_t *head, const struct net_headers *h);

#endif
