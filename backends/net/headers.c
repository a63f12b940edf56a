/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Headers of a frame: where they are, their pseudo header, tags. Sources: IEEE 802.1Q (the tag),
 * RFC 791 3.1, RFC 8200 3, RFC 768, RFC 9293 3.1.
 *
 * All arithmetic on what a frame says of its own headers is here; who sent the frame is not
 * believed.
 */
#include <string.h>

#include <xendm/net.h>

#define IPV4_MIN 20u
#define IPV6_LEN 40u
#define TCP_MIN 20u
#define UDP_LEN 8u

/* The network's header, and where it ends. False: it is not IP, or not all there. */
static bool find_ip(const uint8_t *head, size_t len, struct net_headers *h, size_t *end)
{
    size_t ip = NET_HEADER_LEN + (net_tagged(head, len, NET_TYPE_VLAN) ? NET_TAG_LEN : 0);
    uint16_t type = len >= ip ? load_be16(head + ip - 2) : 0;

    if (type == NET_TYPE_IPV4 && len >= ip + IPV4_MIN && head[ip] >> 4 == 4) {
        h->version = 4;
        h->protocol = head[ip + 9];
        *end = ip + (size_t)(head[ip] & 15) * 4;
    } else if (type == NET_TYPE_IPV6 && len >= ip + IPV6_LEN && head[ip] >> 4 == 6) {
        h->version = 6;
        h->protocol = head[ip + 6];
        *end = ip + IPV6_LEN;
    }
    h->ip = ip;
    return h->version && *end >= ip + IPV4_MIN && *end <= len;
}

bool net_find_headers(const uint8_t *head, size_t len, struct net_headers *h)
{
    size_t end = 0;

    *h = (struct net_headers){0};
    if (!find_ip(head, len, h, &end)) {
        *h = (struct net_headers){0};
        return false;
    }
    h->ip_end = end;
    if (h->protocol == NET_TCP && len >= end + TCP_MIN) {
        size_t tcp = (size_t)(head[end + 12] >> 4) * 4;

        h->transport = end;
        h->csum_offset = 16;
        h->payload = tcp < TCP_MIN || len < end + tcp ? 0 : end + tcp;
    } else if (h->protocol == NET_UDP && len >= end + UDP_LEN) {
        h->transport = end;
        h->csum_offset = 6;
        h->payload = end + UDP_LEN;
    }
    return true;
}

uint64_t net_pseudo_sum(const uint8_t *head, const struct net_headers *h, size_t bytes)
{
    uint64_t addresses =
        h->version == 6 ? net_sum(head + h->ip + 8, 32) : net_sum(head + h->ip + 12, 8);

    return addresses + h->protocol + bytes;
}

void net_fill_ipv4_sum(uint8_t *head, const struct net_headers *h)
{
    uint8_t *field = head + h->ip + 10;

    store_be16(field, 0);
    store_be16(field, (uint16_t)~net_fold(net_sum(head + h->ip, h->ip_end - h->ip)));
}

size_t net_put_tag(uint8_t *head, size_t len, uint16_t type, uint16_t tag)
{
    memmove(head + 12 + NET_TAG_LEN, head + 12, len - 12);
    store_be16(head + 12, type);
    store_be16(head + 14, tag);
    return len + NET_TAG_LEN;
}
