/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtio network card: frames both ways, offloads, filters, moves, what a guest can do to it. */
#include <errno.h>

#include "fake-net.h"
#include "virtio-fixture.h"

#define CSUM (1u << 0)
#define GUEST_CSUM (1u << 1)
#define GUEST_OFFLOADS (1u << 2)
#define GUEST_TSO4 (1u << 7)
#define HOST_TSO4 (1u << 11)
#define MERGE (1u << 15)
#define CONTROL (1u << 17)
#define CONTROL_ALL (CONTROL | 0x5u << 18 | 1u << 23) /* RX, RX_EXTRA, MAC_ADDR */
#define CONTROL_VLAN (1u << 19)

static const char *const plain[] = {"mac=00:16:3e:01:02:03", "packed=on", NULL};
static const uint8_t card[6] = {0x00, 0x16, 0x3e, 1, 2, 3};
static struct net *cable; /* of the newest machine */
static GPtrArray *cables; /* of all: one that moved has another */

static void connect_cable(struct box *b, struct device *dev)
{
    cable = fake_net_new();
    g_ptr_array_add(cables, cable);
    device_set_backend(dev, "netdev", &cable->backend);
}

static void free_cable(gpointer n)
{
    fake_net_free(n);
}

static void net_new(struct box *b)
{
    cables = g_ptr_array_new_with_free_func(free_cable);
    b->connect = connect_cable;
    b->populate = NULL;
    box_new(b, &virtio_net_class, plain);
}

static void net_end(struct box *b)
{
    box_free(b);
    g_ptr_array_unref(cables);
}

static void make_frame(uint8_t *f, size_t len, const uint8_t *to)
{
    memset(f, 0x33, len);
    memcpy(f, to, 6);
    memcpy(f + 6, card, 6);
    f[12] = 8;
    f[13] = 0;
}

/* Buffers for the card to write: `count` of `len` bytes each, from DATA on. */
static void give(struct box *b, unsigned count, uint32_t len)
{
    for (unsigned i = 0; i < count; i++) {
        struct buffer buf = {DATA + i * 8192, len, true};

        put(b, 0, &buf, 1, false);
    }
    kick(b, 0);
}

static void send(struct box *b, const uint8_t *header, const uint8_t *frame, uint32_t len)
{
    struct buffer bufs[2] = {{HEADERS, 12, false}, {HEADERS + 64, len, false}};

    memcpy(mem(b, HEADERS), header, 12);
    memcpy(mem(b, HEADERS + 64), frame, len);
    put(b, 1, bufs, 2, b->features & F_INDIRECT);
    kick(b, 1);
    settle(b);
}

static void test_send(void)
{
    static const uint8_t none[12];
    static const uint64_t kinds[] = {0, F_INDIRECT, F_PACKED, F_PACKED | F_INDIRECT | F_EVENT};
    uint8_t frame[1514];
    struct box b;
    uint32_t len;
    size_t got;

    for (unsigned k = 0; k < G_N_ELEMENTS(kinds); k++) {
        net_new(&b);
        start(&b, kinds[k], 2);
        for (unsigned i = 0; i < 40; i++) {
            make_frame(frame, 60 + i * 36, card);
            send(&b, none, frame, 60 + i * 36);
            g_assert_true(used(&b, 1, NULL, &len));
            g_assert_cmpuint(len, ==, 0);
            g_assert_cmpmem(fake_net_frame(cable, i, &got), got, frame, 60 + i * 36);
        }
        net_end(&b);
    }
}

/* No room with the host: the frame waits, and is sent when there is, also after a move. */
static void test_no_room(void)
{
    static const uint8_t none[12];
    uint8_t frame[60];
    struct box b;
    uint32_t len;

    net_new(&b);
    start(&b, 0, 2);
    make_frame(frame, 60, card);
    cable->full = true;
    send(&b, none, frame, 60);
    send(&b, none, frame, 60);
    g_assert_false(used(&b, 1, NULL, &len));
    fake_net_writable(cable);
    settle(&b);
    g_assert_true(used(&b, 1, NULL, &len));
    g_assert_true(used(&b, 1, NULL, &len));
    g_assert_cmpuint(cable->sent->len, ==, 2);
    cable->full = true;
    send(&b, none, frame, 60);
    box_move(&b);
    settle(&b);
    g_assert_true(used(&b, 1, NULL, &len));
    g_assert_cmpuint(cable->sent->len, ==, 1);
    net_end(&b);
}

/* 5.1.6.2: a checksum to be filled in, segments to be cut; hdr_len is only a hint. */
static void test_send_offloads(void)
{
    uint8_t frame[4000], header[12] = {1, 0, 0, 0, 0, 0, 34, 0, 16, 0};
    const struct net_offload *o;
    struct box b;

    net_new(&b);
    start(&b, CSUM | HOST_TSO4, 2);
    make_frame(frame, sizeof(frame), card);
    frame[14] = 0x45;
    frame[23] = 6;
    frame[46] = 0x80; /* TCP, 32 bytes of header */
    send(&b, header, frame, 1000);
    o = &g_array_index(cable->offload, struct net_offload, 0);
    g_assert_cmphex(o->flags, ==, NET_CSUM);
    g_assert_cmpuint(o->csum_start, ==, 34);
    g_assert_cmpuint(o->csum_offset, ==, 16);
    header[1] = 1;
    store_le16(header + 2, 500); /* hdr_len */
    store_le16(header + 4, 1400);
    send(&b, header, frame, 4000);
    o = &g_array_index(cable->offload, struct net_offload, 1);
    g_assert_cmphex(o->flags, ==, NET_CSUM | NET_TSO4);
    g_assert_cmpuint(o->header, ==, 66);
    g_assert_cmpuint(o->segment, ==, 1400);
    header[1] = 4; /* not negotiated */
    send(&b, header, frame, 4000);
    header[1] = 3; /* UDP: not offered */
    send(&b, header, frame, 4000);
    header[1] = 1;
    header[0] = 0; /* segments without checksum */
    send(&b, header, frame, 4000);
    header[0] = 1;
    store_le16(header + 6, 3999); /* headers beyond the frame */
    send(&b, header, frame, 4000);
    store_le16(header + 6, 34);
    store_le16(header + 4, 0);
    send(&b, header, frame, 4000);
    g_assert_cmpuint(cable->sent->len, ==, 2);
    g_assert_cmphex(STATUS(&b), ==, 0x0f);
    net_end(&b);
}

static void test_receive(void)
{
    static const uint64_t kinds[] = {0, F_INDIRECT | F_EVENT, F_PACKED};
    uint8_t frame[1514];
    struct box b;
    uint32_t len;

    for (unsigned k = 0; k < G_N_ELEMENTS(kinds); k++) {
        net_new(&b);
        start(&b, kinds[k], 2);
        make_frame(frame, sizeof(frame), card);
        g_assert_false(fake_net_deliver(cable, frame, 60)); /* no buffers: it waits */
        give(&b, 3, 1526);
        g_assert_true(fake_net_deliver(cable, frame, 60) && fake_net_taken(cable));
        g_assert_true(fake_net_deliver(cable, frame, 1514) && fake_net_taken(cable));
        settle(&b);
        g_assert_true(used(&b, 0, NULL, &len));
        g_assert_cmpuint(len, ==, 72);
        g_assert_cmpuint(load_le16(mem(&b, DATA + 10)), ==, 1);
        g_assert_cmpmem(mem(&b, DATA + 12), 60, frame, 60);
        g_assert_true(used(&b, 0, NULL, &len));
        g_assert_cmpuint(len, ==, 1526);
        g_assert_cmpmem(mem(&b, DATA + 8192 + 12), 1514, frame, 1514);
        box_move(&b);
        g_assert_true(fake_net_deliver(cable, frame, 60) && fake_net_taken(cable));
        g_assert_false(fake_net_deliver(cable, frame, 60));
        give(&b, 1, 64); /* too small for it: dropped, and the buffer stays */
        g_assert_true(fake_net_deliver(cable, frame, 1514));
        g_assert_false(fake_net_taken(cable));
        g_assert_true(fake_net_deliver(cable, frame, 52) && fake_net_taken(cable));
        net_end(&b);
    }
}

/* 5.1.6.4: a frame over several buffers, and one for which there are not enough. */
static void test_merge(void)
{
    static const uint64_t kinds[] = {0, F_PACKED};
    g_autofree uint8_t *frame = g_malloc(5000);
    struct box b;
    uint32_t len;

    for (unsigned k = 0; k < G_N_ELEMENTS(kinds); k++) {
        net_new(&b);
        start(&b, MERGE | kinds[k], 2);
        make_frame(frame, 5000, card);
        for (unsigned i = 14; i < 5000; i++) {
            frame[i] = (uint8_t)(i * 7 + i / 256);
        }
        give(&b, 4, 1024);
        g_assert_true(fake_net_deliver(cable, frame, 5000));
        g_assert_false(fake_net_taken(cable)); /* 4096 - 12 */
        settle(&b);
        g_assert_false(used(&b, 0, NULL, &len));
        g_assert_true(fake_net_deliver(cable, frame, 2500) && fake_net_taken(cable));
        settle(&b);
        g_assert_cmpuint(load_le16(mem(&b, DATA + 10)), ==, 3);
        for (unsigned i = 0, at = 0; i < 3; i++) {
            unsigned skip = i ? 0 : 12, part = MIN(1024 - skip, 2500 - at);

            g_assert_true(used(&b, 0, NULL, &len));
            g_assert_cmpuint(len, ==, part + skip);
            g_assert_cmpmem(mem(&b, DATA + i * 8192 + skip), part, frame + at, part);
            at += part;
        }
        g_assert_true(fake_net_deliver(cable, frame, 1000) && fake_net_taken(cable));
        g_assert_false(fake_net_deliver(cable, frame, 60));
        net_end(&b);
    }
}

static bool deliver(const uint8_t *frame, size_t len, const struct net_offload *o)
{
    return cable->device->can_receive(cable->opaque) &&
           cable->device->receive(cable->opaque, frame, len, o);
}

static uint8_t command(struct box *b, uint8_t class, uint8_t what, const void *data, uint32_t len)
{
    struct buffer bufs[3] = {{HEADERS, 2, false},
                             {HEADERS + 64, len, false},
                             {HEADERS + 16, 1, true}};
    uint32_t written;

    mem(b, HEADERS)[0] = class;
    mem(b, HEADERS)[1] = what;
    mem(b, HEADERS)[16] = 0xee;
    memcpy(mem(b, HEADERS + 64), data, len);
    put(b, 2, bufs, 3, false);
    kick(b, 2);
    settle(b);
    g_assert_true(used(b, 2, NULL, &written));
    return mem(b, HEADERS)[16];
}

/* What the host may leave undone is what the driver says it takes, at every time. */
static void test_receive_offloads(void)
{
    struct net_offload o = {.flags = NET_CSUM, .csum_start = 34, .csum_offset = 16};
    uint8_t frame[3000], wants[8] = {0};
    struct box b;

    net_new(&b);
    make_frame(frame, sizeof(frame), card);
    start(&b, 0, 3);
    g_assert_cmphex(cable->offloads, ==, 0);
    give(&b, 4, 4000);
    g_assert_false(deliver(frame, 60, &o)); /* it was not asked for */
    start(&b, GUEST_CSUM | GUEST_TSO4 | GUEST_OFFLOADS | CONTROL_ALL, 3);
    g_assert_cmphex(cable->offloads, ==, NET_CSUM | NET_TSO4);
    give(&b, 4, 4000);
    g_assert_true(deliver(frame, 60, &o));
    g_assert_cmphex(mem(&b, DATA)[0], ==, 1);
    g_assert_cmpuint(load_le16(mem(&b, DATA + 6)), ==, 34);
    g_assert_cmpuint(load_le16(mem(&b, DATA + 8)), ==, 16);
    o.flags |= NET_TSO4;
    o.segment = 1400;
    o.header = 54;
    g_assert_true(deliver(frame, 3000, &o));
    g_assert_cmphex(mem(&b, DATA + 8192)[1], ==, 1);
    g_assert_cmpuint(load_le16(mem(&b, DATA + 8192 + 4)), ==, 1400);
    g_assert_cmphex(command(&b, 5, 0, wants, 8), ==, 0); /* nothing any more */
    g_assert_cmphex(cable->offloads, ==, 0);
    g_assert_false(deliver(frame, 60, &o));
    wants[0] = 2;
    g_assert_cmphex(command(&b, 5, 0, wants, 8), ==, 0);
    box_move(&b);
    g_assert_cmphex(cable->offloads, ==, NET_CSUM);
    wants[1] = 1; /* TSO6 was not negotiated */
    g_assert_cmphex(command(&b, 5, 0, wants, 8), ==, 1);
    wr(&b, 0x14, 0, 1);
    g_assert_cmphex(cable->offloads, ==, 0);
    net_end(&b);
}

static bool takes(const uint8_t *to, unsigned vlan)
{
    static const struct net_offload none;
    uint8_t frame[64];

    make_frame(frame, sizeof(frame), to);
    if (vlan) {
        store_be16(frame + 12, 0x8100);
        store_be16(frame + 14, vlan);
    }
    return deliver(frame, sizeof(frame), &none);
}

static void test_filters(void)
{
    static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t multi[6] = {0x33, 0x33, 0, 0, 0, 1}, other[6] = {2, 0, 0, 0, 0, 9};
    static const uint8_t off = 0, on = 1;
    uint8_t tables[20] = {1, 0, 0, 0, 2, 0, 0, 0, 0, 9, 1, 0, 0, 0, 0x33, 0x33, 0, 0, 0, 1};
    static const uint8_t lies[4] = {0xff, 0xff, 0xff, 0xff};
    g_autofree uint8_t *many = g_malloc0(8 + 100 * 6);
    struct box b;

    net_new(&b);
    start(&b, CONTROL_ALL | CONTROL_VLAN, 3);
    give(&b, 12, 256);
    g_assert_true(takes(other, 0)); /* promiscuous, until it is told otherwise */
    g_assert_cmphex(command(&b, 0, 0, &off, 1), ==, 0);
    g_assert_false(takes(other, 0));
    g_assert_false(takes(multi, 0));
    g_assert_true(takes(card, 0));
    g_assert_true(takes(all, 0));
    g_assert_cmphex(command(&b, 1, 0, tables, 20), ==, 0);
    g_assert_true(takes(other, 0));
    g_assert_true(takes(multi, 0));
    g_assert_false(takes(card, 5));
    g_assert_cmphex(command(&b, 2, 0, "\5\0", 2), ==, 0);
    box_move(&b);
    g_assert_true(takes(card, 5));
    g_assert_false(takes(card, 6));
    g_assert_cmphex(command(&b, 2, 1, "\5\0", 2), ==, 0);
    g_assert_false(takes(card, 5));
    g_assert_cmphex(command(&b, 2, 0, "\0\20", 2), ==, 1); /* 4096 */
    g_assert_cmphex(command(&b, 0, 5, &on, 1), ==, 0);
    g_assert_false(takes(all, 0));
    g_assert_cmphex(command(&b, 1, 1, other, 6), ==, 0);
    g_assert_cmpmem(cable->mac, 6, other, 6);
    g_assert_cmphex(rd(&b, 0x2000, 4), ==, 2);
    /* what cannot be */
    g_assert_cmphex(command(&b, 1, 0, tables, 19), ==, 1);
    g_assert_cmphex(command(&b, 1, 0, lies, 4), ==, 1);
    g_assert_cmphex(command(&b, 0, 6, &on, 1), ==, 1);
    g_assert_cmphex(command(&b, 9, 0, &on, 1), ==, 1);
    g_assert_cmphex(command(&b, 0, 0, tables, 2), ==, 1);
    store_le32(many, 100); /* more than the table has: all are taken */
    g_assert_cmphex(command(&b, 1, 0, many, 8 + 600), ==, 0);
    g_assert_true(takes(card, 0));
    net_end(&b);
}

static void test_link(void)
{
    struct box b;
    uint8_t frame[60];

    net_new(&b);
    start(&b, 1u << 16, 2);
    make_frame(frame, 60, card);
    g_assert_cmphex(rd(&b, 0x2006, 2), ==, 1);
    net_set_link(cable, false);
    g_assert_cmphex(rd(&b, 0x2006, 2), ==, 0);
    g_assert_cmphex(rd(&b, 0x1000, 1), ==, 2); /* the configuration has changed */
    net_end(&b);
}

static void test_unplug(void)
{
    struct box b;

    net_new(&b);
    start(&b, 0, 2);
    machine_request_unplug(b.m, UNPLUG_DISKS);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0, 4), ==, 0x10001af4);
    machine_request_unplug(b.m, UNPLUG_NICS);
    g_assert_cmphex(pci_config_read(b.m->pci, DEVFN, 0, 4), ==, 0xffffffff);
    net_end(&b);
}

static void test_legacy(void)
{
    uint8_t frame[60];
    struct box b;
    size_t len;

    net_new(&b);
    out(&b, 0x14, 0x02, 1); /* the address is written here */
    g_assert_cmphex(cable->mac[0], ==, 2);
    start_legacy(&b, 0, 2);
    make_frame(frame, 60, card);
    memset(mem(&b, HEADERS), 0, 10);
    memcpy(mem(&b, HEADERS + 10), frame, 60); /* a header of ten bytes */
    desc(&b, 1, 0, HEADERS, 70, 0, 0);
    store_le16(mem(&b, RING(1) + 4096 + 2), 1);
    out(&b, 0x10, 1, 2);
    g_assert_cmpmem(fake_net_frame(cable, 0, &len), len, frame, 60);
    desc(&b, 0, 0, DATA, 1524, WRITE, 0);
    store_le16(mem(&b, RING(0) + 4096 + 2), 1);
    out(&b, 0x10, 0, 2);
    g_assert_true(fake_net_deliver(cable, frame, 60) && fake_net_taken(cable));
    g_assert_cmpmem(mem(&b, DATA + 10), 60, frame, 60);
    net_end(&b);
}

/*
 * CVE-2021-3748: mergeable buffers of which a later one is in no memory. CVE-2022-26353: what was
 * taken is lost. CVE-2015-7295: frames longer than the buffers. CVE-2014-0150: tables that lie.
 */
static void test_hostile(void)
{
    static const uint8_t none[12];
    uint8_t frame[3000];
    struct box b;

    log_set_level("all", "error");
    make_frame(frame, sizeof(frame), card);
    for (unsigned i = 0; i < 8; i++) {
        struct buffer bufs[3] = {{DATA, 1024, true}, {NO_MEMORY, 1024, true}, {BAR, 1024, true}};
        unsigned q = i < 5 ? 0 : i < 7 ? 1 : 2;

        net_new(&b);
        start(&b, MERGE | CONTROL_ALL, 3);
        if (i == 0) {
            put(&b, 0, bufs, 1, false);
            put(&b, 0, bufs + 1, 1, false);
        } else if (i == 1) {
            put(&b, 0, bufs + 2, 1, false);
        } else if (i == 2) {
            bufs[0].len = 12;
            put(&b, 0, bufs, 1, false);
        } else if (i == 3) {
            bufs[0].write = false;
            put(&b, 0, bufs, 2, false);
        } else if (i == 4) {
            bufs[0].len = 1;
            bufs[1] = (struct buffer){NO_MEMORY, 11, true};
            put(&b, 0, bufs, 2, false);
        } else if (i == 5) {
            bufs[0] = (struct buffer){HEADERS, 11, false};
            put(&b, 1, bufs, 1, false);
        } else if (i == 6) {
            put(&b, 1, bufs, 1, false);
        } else {
            bufs[0] = (struct buffer){HEADERS, 1, false};
            put(&b, 2, bufs, 1, false);
        }
        kick(&b, q);
        if (q == 0) {
            g_assert_true(fake_net_deliver(cable, frame, 2000));
            g_assert_false(fake_net_taken(cable));
        }
        settle(&b);
        g_assert_cmphex(STATUS(&b), ==, 0x0f | BROKEN);
        g_assert_false(fake_net_deliver(cable, frame, 60));
        start(&b, 0, 3);
        send(&b, none, frame, 60);
        g_assert_cmpuint(cable->sent->len, ==, 1);
        net_end(&b);
    }
}

/* Frames of no length, of more than there may be, in memory that is none: nobody sends them. */
static void test_bad_frames(void)
{
    static const uint8_t none[12];
    struct buffer bufs[2] = {{HEADERS, 12, false}, {DATA, 0, false}};
    uint8_t frame[60];
    struct box b;
    uint32_t len;

    net_new(&b);
    start(&b, 0, 2);
    put(&b, 1, bufs, 1, false); /* a header alone */
    bufs[1].len = 13;
    put(&b, 1, bufs, 2, false);
    bufs[1].len = 70000;
    put(&b, 1, bufs, 2, false);
    bufs[1] = (struct buffer){NO_MEMORY, 60, false};
    put(&b, 1, bufs, 2, false);
    bufs[1] = (struct buffer){DATA, UINT32_MAX, false};
    put(&b, 1, bufs, 2, false);
    kick(&b, 1);
    settle(&b);
    for (unsigned i = 0; i < 5; i++) {
        g_assert_true(used(&b, 1, NULL, &len));
    }
    g_assert_cmpuint(cable->sent->len, ==, 0);
    make_frame(frame, 60, card);
    send(&b, none, frame, 60);
    g_assert_cmpuint(cable->sent->len, ==, 1);
    g_assert_cmphex(STATUS(&b), ==, 0x0f);
    net_end(&b);
}

/* A frame in more pieces than the host takes at once. */
static void test_many_pieces(void)
{
    struct buffer bufs[101] = {{HEADERS, 12, false}};
    uint8_t frame[1000];
    struct box b;
    size_t len;

    net_new(&b);
    start(&b, F_INDIRECT, 2);
    wr(&b, 0x14, 0, 1);
    negotiate(&b, F_V1);
    queue_up(&b, 1, 256, true);
    wr(&b, 0x14, 0x0f, 1);
    make_frame(frame, sizeof(frame), card);
    memset(mem(&b, HEADERS), 0, 12);
    for (unsigned i = 1; i <= 100; i++) {
        bufs[i] = (struct buffer){DATA + i * 4096, 10, false};
        memcpy(mem(&b, bufs[i].gpa), frame + (i - 1) * 10, 10);
    }
    for (unsigned i = 0; i <= 100; i++) {
        desc(&b, 1, i, bufs[i].gpa, bufs[i].len, i < 100 ? NEXT : 0, i + 1);
    }
    store_le16(mem(&b, DRIVER(1) + 2), 1);
    kick(&b, 1);
    settle(&b);
    g_assert_cmpmem(fake_net_frame(cable, 0, &len), len, frame, 1000);
    net_end(&b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio-net/send", test_send);
    g_test_add_func("/virtio-net/no-room", test_no_room);
    g_test_add_func("/virtio-net/send-offloads", test_send_offloads);
    g_test_add_func("/virtio-net/receive", test_receive);
    g_test_add_func("/virtio-net/merge", test_merge);
    g_test_add_func("/virtio-net/receive-offloads", test_receive_offloads);
    g_test_add_func("/virtio-net/filters", test_filters);
    g_test_add_func("/virtio-net/link", test_link);
    g_test_add_func("/virtio-net/unplug", test_unplug);
    g_test_add_func("/virtio-net/legacy", test_legacy);
    g_test_add_func("/virtio-net/hostile", test_hostile);
    g_test_add_func("/virtio-net/bad-frames", test_bad_frames);
    g_test_add_func("/virtio-net/many-pieces", test_many_pieces);
    return g_test_run();
}
