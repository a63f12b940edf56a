/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PV network interface: frames both ways, in pieces, with offloads, what a hostile front end
 * may write, and a live update. The other end is a socket pair's.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib.h>
#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/netif.h>

#include <xendm/backend-classes.h>
#include <xendm/backend.h>
#include <xendm/bytes.h>
#include <xendm/handover.h>
#include <xendm/net.h>

#include "fake-pv.h"

#define BACK "/local/domain/0/backend/qnic/7/0"
#define FRONT "/local/domain/7/device/vif/0"
#define TX_REF 1u
#define RX_REF 2u
#define DATA_REF 10u
#define PORT 5u

const struct backend_class *const *backend_classes(void)
{
    static const struct backend_class *const classes[] = {&backend_net_socket, NULL};

    return classes;
}

struct world {
    struct pv_host host;
    struct pv_bus *bus;
    uint8_t *tx, *rx;
    int cable; /* the other end: frames behind their length, in network order */
    uint32_t tx_prod, rx_prod;
};

static void set(struct world *w, const char *path, const char *value)
{
    fake_xenstore_set(w->host.xs, path, "%s", value);
}

static void expect(struct world *w, const char *path, const char *value)
{
    g_assert_cmpstr(fake_xenstore_get(w->host.xs, path), ==, value);
}

static void add_cable(struct world *w)
{
    int pair[2], size = 1 << 20;
    char number[16];
    struct object_desc *o;
    GError *err = NULL;

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    w->cable = pair[1];
    g_snprintf(number, sizeof(number), "%d", pair[0]);
    o = object_desc_make(OBJECT_BACKEND, BACKEND_NET, "socket", "qnic0", "fd", number, NULL);
    backend_add(w->host.backends, o, NULL, &err);
    g_assert_no_error(err);
    object_desc_free(o);
}

static void toolstack_adds(struct world *w)
{
    set(w, FRONT "/backend", BACK);
    set(w, FRONT "/state", "1");
    set(w, BACK "/frontend", FRONT);
    set(w, BACK "/frontend-id", "7");
    set(w, BACK "/mac", "00:16:3e:01:02:03");
    set(w, BACK "/online", "1");
    set(w, BACK "/state", "1");
    fake_pv_settle();
}

static void front_state(struct world *w, const char *state)
{
    set(w, FRONT "/state", state);
    fake_pv_settle();
}

static void front_connects(struct world *w)
{
    static const char *const features[] = {"request-rx-copy", "feature-sg", "feature-gso-tcpv4",
                                           "feature-gso-tcpv6", "feature-ipv6-csum-offload"};

    w->tx = fake_grant(TX_REF, false);
    w->rx = fake_grant(RX_REF, false);
    w->tx_prod = w->rx_prod = 0;
    for (uint32_t i = 0; i < 64; i++) {
        fake_grant(DATA_REF + i, false);
    }
    fake_xenstore_set(w->host.xs, FRONT "/tx-ring-ref", "%u", TX_REF);
    fake_xenstore_set(w->host.xs, FRONT "/rx-ring-ref", "%u", RX_REF);
    fake_xenstore_set(w->host.xs, FRONT "/event-channel", "%u", PORT);
    for (unsigned i = 0; i < G_N_ELEMENTS(features); i++) {
        g_autofree char *path = g_strdup_printf(FRONT "/%s", features[i]);

        set(w, path, "1");
    }
    front_state(w, "3");
    expect(w, BACK "/state", "4");
    front_state(w, "4");
}

static struct world *world_new(void)
{
    struct world *w = g_new0(struct world, 1);

    fake_pv_host_open(&w->host);
    add_cable(w);
    w->bus = pv_bus_new(&w->host, pv_classes());
    g_assert_cmpint(pv_bus_start(w->bus, NULL), ==, 0);
    toolstack_adds(w);
    expect(w, BACK "/state", "2");
    expect(w, BACK "/feature-sg", "1");
    return w;
}

static void world_free(struct world *w)
{
    fake_xenstore_remove(w->host.xs, BACK);
    fake_pv_host_close(&w->host, w->bus);
    close(w->cable);
    g_free(w);
}

/* ---- the guest's side ---- */

static uint32_t *index_of(uint8_t *page, unsigned n)
{
    return (uint32_t *)(void *)page + n; /* req_prod, req_event, rsp_prod, rsp_event */
}

static void put_tx(struct world *w, const void *entry)
{
    memcpy(w->tx + 64 + (w->tx_prod++ % 256) * 12, entry, 12);
}

static void put_request(struct world *w, uint32_t ref, uint16_t offset, uint16_t size,
                        uint16_t flags)
{
    struct netif_tx_request r = {
        .gref = ref, .offset = offset, .size = size, .flags = flags, .id = (uint16_t)w->tx_prod};

    put_tx(w, &r);
}

static void push_tx(struct world *w)
{
    *index_of(w->tx, 0) = w->tx_prod;
    fake_evtchn_ring(PORT);
    fake_pv_settle();
}

static int tx_status(struct world *w, uint32_t n)
{
    struct netif_tx_response r;

    g_assert_cmpuint(*index_of(w->tx, 2), >, n);
    memcpy(&r, w->tx + 64 + (n % 256) * 12, sizeof(r));
    g_assert_true(r.status == NETIF_RSP_NULL || r.id == n);
    return r.status;
}

/* Pages for what is received. */
static void give(struct world *w, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct netif_rx_request r = {.id = (uint16_t)w->rx_prod,
                                     .gref = DATA_REF + 20 + w->rx_prod % 40};

        memcpy(w->rx + 64 + (w->rx_prod++ % 256) * 8, &r, sizeof(r));
    }
    *index_of(w->rx, 0) = w->rx_prod;
    fake_evtchn_ring(PORT);
    fake_pv_settle();
}

static struct netif_rx_response rx_response(struct world *w, uint32_t n)
{
    struct netif_rx_response r;

    g_assert_cmpuint(*index_of(w->rx, 2), >, n);
    memcpy(&r, w->rx + 64 + (n % 256) * 8, sizeof(r));
    return r;
}

/* ---- the network's side ---- */

static size_t host_reads(struct world *w, uint8_t *frame, size_t size)
{
    uint8_t length[4];

    fake_pv_settle();
    if (recv(w->cable, length, 4, MSG_DONTWAIT) != 4) {
        return 0;
    }
    g_assert_cmpuint(load_be32(length), <=, size);
    g_assert_cmpint(recv(w->cable, frame, load_be32(length), MSG_DONTWAIT | MSG_WAITALL), ==,
                    load_be32(length));
    return load_be32(length);
}

static void host_sends(struct world *w, const uint8_t *frame, size_t len)
{
    uint8_t length[4];

    store_be32(length, (uint32_t)len);
    g_assert_cmpint(send(w->cable, length, 4, MSG_DONTWAIT), ==, 4);
    g_assert_cmpint(send(w->cable, frame, len, MSG_DONTWAIT), ==, (ssize_t)len);
    fake_pv_settle();
}

/* IPv4 and TCP, without checksums. */
static void make_tcp(uint8_t *f, size_t len)
{
    memset(f, 0, len);
    memset(f, 0x22, 12);
    store_be16(f + 12, 0x0800);
    f[14] = 0x45;
    store_be16(f + 16, (uint16_t)(len - 14));
    f[22] = 64;
    f[23] = 6;
    store_be32(f + 26, 0x0a000001);
    store_be32(f + 30, 0x0a000002);
    f[46] = 0x50;
    for (size_t i = 54; i < len; i++) {
        f[i] = (uint8_t)(i * 7);
    }
}

static bool tcp_is_right(const uint8_t *f, size_t len)
{
    return net_fold(net_sum(f + 26, 8) + 6 + (len - 34) + net_sum(f + 34, len - 34)) == 0xffff;
}

/* ---- tests ---- */

static void test_frames(void)
{
    struct world *w = world_new();
    uint8_t frame[2048], got[2048];

    front_connects(w);
    for (unsigned i = 0; i < sizeof(frame); i++) {
        frame[i] = (uint8_t)(i * 3);
    }
    memcpy((uint8_t *)fake_grant_page(DATA_REF) + 100, frame, 1000);
    put_request(w, DATA_REF, 100, 1000, 0);
    push_tx(w);
    g_assert_cmpuint(host_reads(w, got, sizeof(got)), ==, 1000);
    g_assert_cmpmem(got, 1000, frame, 1000);
    g_assert_cmpint(tx_status(w, 0), ==, NETIF_RSP_OKAY);
    g_assert_cmpuint(fake_evtchn_rung(PORT), ==, 0); /* it did not ask for it: rsp_event is 0 */

    frame[0] = 0;
    host_sends(w, frame, 1500); /* nothing was given: it waits with the host */
    g_assert_cmpuint(*index_of(w->rx, 2), ==, 0);
    give(w, 20);
    g_assert_cmpint(rx_response(w, 0).status, ==, 1500);
    g_assert_cmpint(rx_response(w, 0).flags, ==, 0);
    g_assert_cmpmem(fake_grant_page(DATA_REF + 20), 1500, frame, 1500);
    world_free(w);
}

static void test_pieces(void)
{
    struct world *w = world_new();
    uint8_t got[9000];

    front_connects(w);
    memset(fake_grant_page(DATA_REF), 1, 4096);
    memset(fake_grant_page(DATA_REF + 1), 2, 4096);
    memset(fake_grant_page(DATA_REF + 2), 3, 4096);
    put_request(w, DATA_REF, 0, 8000, NETTXF_more_data);
    put_request(w, DATA_REF + 1, 96, 4000, NETTXF_more_data);
    put_request(w, DATA_REF + 2, 0, 1000, 0);
    push_tx(w);
    g_assert_cmpuint(host_reads(w, got, sizeof(got)), ==, 8000);
    g_assert_true(got[2999] == 1 && got[3000] == 2 && got[6999] == 2 && got[7000] == 3);
    for (uint32_t i = 0; i < 3; i++) {
        g_assert_cmpint(tx_status(w, i), ==, NETIF_RSP_OKAY);
    }
    world_free(w);
}

static void test_checksum(void)
{
    struct world *w = world_new();
    uint8_t *f, got[2048];

    front_connects(w);
    f = fake_grant_page(DATA_REF);
    make_tcp(f, 1001);
    put_request(w, DATA_REF, 0, 1001, NETTXF_csum_blank | NETTXF_data_validated);
    push_tx(w);
    g_assert_cmpuint(host_reads(w, got, sizeof(got)), ==, 1001);
    g_assert_true(tcp_is_right(got, 1001));
    /* One that has no place for a checksum. */
    memset(f, 0x22, 100);
    put_request(w, DATA_REF, 0, 100, NETTXF_csum_blank);
    push_tx(w);
    g_assert_cmpint(tx_status(w, 1), ==, NETIF_RSP_ERROR);
    g_assert_cmpuint(host_reads(w, got, sizeof(got)), ==, 0);
    world_free(w);
}

static void put_gso(struct world *w, uint16_t segment)
{
    uint8_t raw[12] = {0};
    struct netif_extra_info extra = {.type = XEN_NETIF_EXTRA_TYPE_GSO};

    extra.u.gso.size = segment;
    extra.u.gso.type = XEN_NETIF_GSO_TYPE_TCPV4;
    memcpy(raw, &extra, sizeof(extra));
    put_tx(w, raw);
}

static void test_segments(void)
{
    struct world *w = world_new();
    uint8_t got[2048];
    size_t n, payload = 0;

    front_connects(w);
    make_tcp(fake_grant_page(DATA_REF), 4054);
    put_request(w, DATA_REF, 0, 4054, NETTXF_csum_blank | NETTXF_extra_info);
    put_gso(w, 1000);
    push_tx(w);
    while ((n = host_reads(w, got, sizeof(got)))) {
        g_assert_cmpuint(n, <=, 1054);
        g_assert_true(tcp_is_right(got, n));
        payload += n - 54;
    }
    g_assert_cmpuint(payload, ==, 4000);
    g_assert_cmpint(tx_status(w, 0), ==, NETIF_RSP_OKAY);
    g_assert_cmpint(tx_status(w, 1), ==, NETIF_RSP_NULL);
    /* Segments of nothing; headers that are none. */
    put_request(w, DATA_REF, 0, 4054, NETTXF_csum_blank | NETTXF_extra_info);
    put_gso(w, 0);
    memset(fake_grant_page(DATA_REF + 1), 0, 4096);
    put_request(w, DATA_REF + 1, 0, 4054, NETTXF_csum_blank | NETTXF_extra_info);
    put_gso(w, 1000);
    push_tx(w);
    g_assert_cmpint(tx_status(w, 2), ==, NETIF_RSP_ERROR);
    g_assert_cmpint(tx_status(w, 4), ==, NETIF_RSP_ERROR);
    g_assert_cmpuint(host_reads(w, got, sizeof(got)), ==, 0);
    world_free(w);
}

/* Frames that are none: sizes, places, references, pieces without end. XSA-39 has the kind. */
static void test_hostile(void)
{
    static const struct {
        uint32_t ref;
        uint16_t offset, size, flags;
    } bad[] = {
        {DATA_REF, 0, 0, 0},      {DATA_REF, 0, 13, 0},    {DATA_REF, 4000, 97, 0},
        {DATA_REF, 65535, 60, 0}, {DATA_REF, 0, 65535, 0}, {9999, 0, 60, 0},
    };
    struct world *w = world_new();
    uint8_t got[2048];

    front_connects(w);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        put_request(w, bad[i].ref, bad[i].offset, bad[i].size, bad[i].flags);
    }
    for (unsigned i = 0; i < 40; i++) { /* more pieces than any frame has */
        put_request(w, DATA_REF, 0, i ? 10 : 1000, i < 39 ? NETTXF_more_data : 0);
    }
    put_request(w, DATA_REF, 0, 50, NETTXF_more_data); /* pieces larger than the whole */
    put_request(w, DATA_REF, 0, 100, 0);
    push_tx(w);
    for (uint32_t i = 0; i < w->tx_prod; i++) {
        g_assert_cmpint(tx_status(w, i), ==, NETIF_RSP_ERROR);
    }
    g_assert_cmpuint(host_reads(w, got, sizeof(got)), ==, 0);
    expect(w, BACK "/state", "4");
    put_request(w, DATA_REF, 0, 100, NETTXF_more_data);
    push_tx(w);
    expect(w, BACK "/state", "5"); /* a frame without its end */
    front_state(w, "6");
    front_state(w, "1");
    front_connects(w);
    *index_of(w->tx, 0) = 1000;
    fake_evtchn_ring(PORT);
    fake_pv_settle();
    expect(w, BACK "/state", "5");
    world_free(w);
}

/* A page that is not there, or not to be written. */
static void test_no_page(void)
{
    struct world *w = world_new();
    uint8_t frame[100] = {0};

    front_connects(w);
    fake_grant_end(DATA_REF + 20);
    give(w, 20);
    host_sends(w, frame, sizeof(frame));
    g_assert_cmpint(rx_response(w, 0).status, ==, NETIF_RSP_ERROR);
    host_sends(w, frame, sizeof(frame));
    g_assert_cmpint(rx_response(w, 1).status, ==, 100);
    world_free(w);
}

static void test_update(void)
{
    struct world *w = world_new();
    struct handover *left = handover_new();
    uint8_t frame[100] = {0}, got[2048];

    front_connects(w);
    give(w, 30);
    host_sends(w, frame, sizeof(frame));
    pv_bus_pause(w->bus);
    memset(fake_grant_page(DATA_REF), 9, 64);
    put_request(w, DATA_REF, 0, 64, 0);
    push_tx(w);
    g_assert_cmpuint(host_reads(w, got, sizeof(got)), ==, 0);
    pv_bus_hand_over(w->bus, left);
    pv_bus_free(w->bus);
    w->bus = fake_pv_take_over(&w->host, left);
    handover_free(left);
    g_assert_cmpuint(host_reads(w, got, sizeof(got)), ==, 64);
    host_sends(w, frame, sizeof(frame));
    g_assert_cmpint(rx_response(w, 1).status, ==, 100);
    world_free(w);
}

static void test_refused(void)
{
    struct world *w = world_new();

    fake_xenstore_set(w->host.xs, FRONT "/tx-ring-ref", "%u", TX_REF);
    front_state(w, "3"); /* no request-rx-copy */
    expect(w, BACK "/state", "5");
    world_free(w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pv/vif/frames", test_frames);
    g_test_add_func("/pv/vif/pieces", test_pieces);
    g_test_add_func("/pv/vif/checksum", test_checksum);
    g_test_add_func("/pv/vif/segments", test_segments);
    g_test_add_func("/pv/vif/xsa-39", test_hostile);
    g_test_add_func("/pv/vif/no-page", test_no_page);
    g_test_add_func("/pv/vif/live-update", test_update);
    g_test_add_func("/pv/vif/refused", test_refused);
    return g_test_run();
}
