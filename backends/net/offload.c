/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checksums and segmentation where the host does not do them. Sources: RFC 1071 (the sum), RFC 791
 * 3.1, RFC 8200 3, RFC 9293 3.1 (the fields that differ from segment to segment).
 *
 * The device's word is never taken: net_offload_fits() has looked at lengths and headers before
 * anything here runs, on the frame that is sent.
 */
#include <errno.h>
#include <string.h>

#include <xendm/bytes.h>

#include "net.h"

#define ETHER_IPV4 0x0800u
#define ETHER_IPV6 0x86ddu
#define ETHER_VLAN 0x8100u
#define IPPROTO_TCP_ 6u
#define IPV4_MIN 20u
#define IPV6_LEN 40u
#define TCP_MIN 20u
#define TCP_FIN 0x01u
#define TCP_PSH 0x08u
#define TCP_CWR 0x80u
/* Of one frame: a MSS of 48, the least that Linux uses, gives 1366 of 64 KiB. */
#define SEGMENTS_MAX 1400u

/* Offset of the IP header, behind at most one VLAN tag; *type is the protocol's. */
static size_t ip_offset(const uint8_t *head, size_t len, uint16_t *type)
{
    size_t at = NET_HEADER_LEN;

    *type = len >= at ? load_be16(head + 12) : 0;
    if (*type == ETHER_VLAN && len >= at + 4) {
        *type = load_be16(head + 16);
        at += 4;
    }
    return at;
}

/* Where TCP begins and the headers end, of a frame to be cut; 0: it is none. */
static size_t tso_headers(const uint8_t *head, size_t head_len, unsigned flags, size_t *ip,
                          size_t *tcp)
{
    uint16_t type;

    *ip = ip_offset(head, head_len, &type);
    if (flags & NET_TSO4) {
        if (type != ETHER_IPV4 || head_len < *ip + IPV4_MIN || head[*ip] >> 4 != 4 ||
            head[*ip + 9] != IPPROTO_TCP_) {
            return 0;
        }
        size_t ihl = (size_t)(head[*ip] & 15) * 4;
        if (ihl < IPV4_MIN) {
            return 0;
        }
        *tcp = *ip + ihl;
    } else {
        if (type != ETHER_IPV6 || head_len < *ip + IPV6_LEN || head[*ip] >> 4 != 6 ||
            head[*ip + 6] != IPPROTO_TCP_) {
            return 0;
        }
        *tcp = *ip + IPV6_LEN;
    }
    if (head_len < *tcp + TCP_MIN) {
        return 0;
    }
    size_t doff = (size_t)(head[*tcp + 12] >> 4) * 4;
    return doff < TCP_MIN || head_len < *tcp + doff ? 0 : *tcp + doff;
}

bool net_offload_fits(const struct net_offload *o, const uint8_t *head, size_t head_len, size_t len)
{
    size_t ip, tcp;

    if (o->flags & (NET_TSO4 | NET_TSO6)) {
        bool both = (o->flags & NET_TSO4) && (o->flags & NET_TSO6);
        size_t end = both ? 0 : tso_headers(head, head_len, o->flags, &ip, &tcp);
        return end && end == o->header && o->segment && end < len && o->csum_start == tcp &&
               o->csum_offset == 16 && (len - end) / o->segment < SEGMENTS_MAX;
    }
    return o->csum_start < len && (size_t)o->csum_start + o->csum_offset + 2 <= len;
}

int net_fill_csum(uint8_t *frame, size_t len, const struct net_offload *o)
{
    size_t field = (size_t)o->csum_start + o->csum_offset;

    if (o->csum_start >= len || field + 2 > len) {
        return -EINVAL;
    }
    uint16_t sum = (uint16_t)~net_fold(net_sum(frame + o->csum_start, len - o->csum_start));
    store_be16(frame + field,
               sum ? sum : 0xffff); /* UDP: 0 means none, and both are the same number */
    return 0;
}

/* TCP's sum over pseudo header and segment, in a frame that is complete but for it. */
static void finish_tcp(uint8_t *frame, size_t len, size_t ip, size_t tcp, bool v6)
{
    size_t bytes = len - tcp;
    uint64_t sum = v6 ? net_sum(frame + ip + 8, 32) : net_sum(frame + ip + 12, 8);

    store_be16(frame + tcp + 16, 0);
    sum += bytes + IPPROTO_TCP_ + net_sum(frame + tcp, bytes);
    store_be16(frame + tcp + 16, (uint16_t)~net_fold(sum));
}

static void finish_ip(uint8_t *frame, size_t len, size_t ip, unsigned number, bool v6)
{
    if (v6) {
        store_be16(frame + ip + 4, (uint32_t)(len - ip - IPV6_LEN));
        return;
    }
    size_t ihl = (size_t)(frame[ip] & 15) * 4;
    store_be16(frame + ip + 2, (uint32_t)(len - ip));
    store_be16(frame + ip + 4, load_be16(frame + ip + 4) + number);
    store_be16(frame + ip + 10, 0);
    store_be16(frame + ip + 10, (uint16_t)~net_fold(net_sum(frame + ip, ihl)));
}

int net_cut(const uint8_t *frame, size_t len, const struct net_offload *o,
            int (*out)(void *opaque, const uint8_t *frame, size_t len), void *opaque)
{
    size_t ip, tcp;
    size_t headers = tso_headers(frame, len, o->flags, &ip, &tcp);
    bool v6 = o->flags & NET_TSO6;

    if (!headers || headers >= len || !o->segment) {
        return -EINVAL;
    }
    g_autofree uint8_t *one = g_malloc(headers + o->segment);
    uint32_t sequence = load_be32(frame + tcp + 4);
    unsigned number = 0;
    for (size_t at = headers; at < len; at += o->segment, number++) {
        size_t n = MIN(o->segment, len - at);
        memcpy(one, frame, headers);
        memcpy(one + headers, frame + at, n);
        store_be32(one + tcp + 4, sequence + (uint32_t)(at - headers));
        if (at + n < len) {
            one[tcp + 13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
        }
        if (number) {
            one[tcp + 13] &= (uint8_t)~TCP_CWR;
        }
        finish_ip(one, headers + n, ip, number, v6);
        finish_tcp(one, headers + n, ip, tcp, v6);
        int error = out(opaque, one, headers + n);
        if (error) {
            return error;
        }
    }
    return 0;
}
