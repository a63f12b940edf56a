/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checksums and segmentation where the host does not do them. Sources: RFC 1071 (the sum), RFC 791
 * 3.1, RFC 8200 3, RFC 9293 3.1 (the fields that differ from segment to segment). Where the headers
 * are, headers.c finds.
 *
 * The device's word is never taken: net_offload_fits() has looked at lengths and headers before
 * anything here runs, on the frame that is sent.
 */
#include <errno.h>
#include <string.h>

#include <xendm/bytes.h>

#include "net.h"

#define TCP_FIN 0x01u
#define TCP_PSH 0x08u
#define TCP_CWR 0x80u
/* Of one frame: a MSS of 48, the least that Linux uses, gives 1366 of 64 KiB. */
#define SEGMENTS_MAX 1400u

/* Headers of a frame to be cut: TCP over the IP that is asked for, all there. */
static bool tso_headers(const uint8_t *head, size_t head_len, unsigned flags, struct net_headers *h)
{
    return net_find_headers(head, head_len, h) && h->version == (flags & NET_TSO4 ? 4 : 6) &&
           h->protocol == NET_TCP && h->payload;
}

bool net_offload_fits(const struct net_offload *o, const uint8_t *head, size_t head_len, size_t len)
{
    struct net_headers h;

    if (o->flags & (NET_TSO4 | NET_TSO6)) {
        bool both = (o->flags & NET_TSO4) && (o->flags & NET_TSO6);
        return !both && tso_headers(head, head_len, o->flags, &h) && h.payload == o->header &&
               o->segment && h.payload < len && o->csum_start == h.transport &&
               o->csum_offset == h.csum_offset && (len - h.payload) / o->segment < SEGMENTS_MAX;
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

/* Lengths and sums of one segment, which is complete but for them. */
static void finish(uint8_t *frame, size_t len, const struct net_headers *h, unsigned number)
{
    size_t bytes = len - h->transport;
    uint8_t *ip = frame + h->ip, *sum = frame + h->transport + h->csum_offset;

    if (h->version == 6) {
        store_be16(ip + 4, (uint32_t)bytes);
    } else {
        store_be16(ip + 2, (uint32_t)(len - h->ip));
        store_be16(ip + 4, load_be16(ip + 4) + number);
        net_fill_ipv4_sum(frame, h);
    }
    store_be16(sum, 0);
    store_be16(sum, (uint16_t)~net_fold(net_pseudo_sum(frame, h, bytes) +
                                        net_sum(frame + h->transport, bytes)));
}

int net_cut(const uint8_t *frame, size_t len, const struct net_offload *o,
            int (*out)(void *opaque, const uint8_t *frame, size_t len), void *opaque)
{
    struct net_headers h;

    if (!tso_headers(frame, len, o->flags, &h) || h.payload >= len || !o->segment) {
        return -EINVAL;
    }
    size_t headers = h.payload, tcp = h.transport;
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
        finish(one, headers + n, &h, number);
        int error = out(opaque, one, headers + n);
        if (error) {
            return error;
        }
    }
    return 0;
}
