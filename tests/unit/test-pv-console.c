/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PV console: bytes both ways, what does not fit waits, whose it is, what a hostile front end
 * may write, and a live update. The other end is a socket pair's.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib.h>
#include <glib/gstdio.h>
#include <xen/xen.h>
#include <xen/io/console.h>

#include <xendm/backend-classes.h>
#include <xendm/backend.h>
#include <xendm/chardev.h>
#include <xendm/handover.h>

#include "fake-pv.h"

#define BACK "/local/domain/0/backend/console/7/1"
#define FRONT "/local/domain/7/device/console/1"
#define REF 9u
#define PORT 5u

const struct backend_class *const *backend_classes(void)
{
    static const struct backend_class *const classes[] = {&chardev_pty_class, &chardev_socket_class,
                                                          NULL};

    return classes;
}

struct world {
    struct pv_host host;
    struct pv_bus *bus;
    struct xencons_interface *ring;
    char *dir, *path;
    int client;
};

static void set(struct world *w, const char *path, const char *value)
{
    fake_xenstore_set(w->host.xs, path, "%s", value);
}

static void expect(struct world *w, const char *path, const char *value)
{
    g_assert_cmpstr(fake_xenstore_get(w->host.xs, path), ==, value);
}

static void add_channel(struct world *w, const char *driver, const char *id)
{
    bool is_socket = strcmp(driver, "socket") == 0;
    struct object_desc *o =
        object_desc_make(OBJECT_BACKEND, BACKEND_CHAR, driver, id, "path",
                         is_socket ? w->path : NULL, "server", is_socket ? "on" : NULL, "wait",
                         is_socket ? "off" : NULL, NULL);
    GError *err = NULL;

    backend_add(w->host.backends, o, NULL, &err);
    g_assert_no_error(err);
    object_desc_free(o);
}

/* As libxl does it. */
static void toolstack_adds(struct world *w, const char *output, const char *type)
{
    set(w, FRONT "/backend", BACK);
    set(w, FRONT "/type", type);
    set(w, FRONT "/output", output);
    set(w, FRONT "/tty", "");
    set(w, FRONT "/state", "1");
    set(w, BACK "/frontend", FRONT);
    set(w, BACK "/frontend-id", "7");
    set(w, BACK "/online", "1");
    set(w, BACK "/state", "1");
    fake_pv_settle();
}

static struct world *world_new(void)
{
    struct world *w = g_new0(struct world, 1);

    fake_pv_host_open(&w->host);
    w->client = -1;
    w->dir = g_dir_make_tmp("xendm-console-XXXXXX", NULL);
    w->path = g_build_filename(w->dir, "socket", NULL);
    add_channel(w, "socket", "libxl-channel1");
    w->bus = pv_bus_new(&w->host, pv_classes());
    g_assert_cmpint(pv_bus_start(w->bus, NULL), ==, 0);
    return w;
}

static void world_free(struct world *w)
{
    fake_xenstore_remove(w->host.xs, BACK);
    fake_pv_host_close(&w->host, w->bus);
    if (w->client >= 0) {
        close(w->client);
    }
    g_rmdir(w->dir);
    g_free(w->dir);
    g_free(w->path);
    g_free(w);
}

static void call(struct world *w)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    strcpy(addr.sun_path, w->path);
    w->client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(w->client, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    fake_pv_settle();
}

static void front_state(struct world *w, unsigned state)
{
    fake_xenstore_set(w->host.xs, FRONT "/state", "%u", state);
    fake_pv_settle();
}

static void front_prepares(struct world *w)
{
    w->ring = fake_grant(REF, false);
    fake_xenstore_set(w->host.xs, FRONT "/ring-ref", "%u", REF);
    fake_xenstore_set(w->host.xs, FRONT "/port", "%u", PORT);
}

static void front_connects(struct world *w)
{
    front_prepares(w);
    front_state(w, 3);
    expect(w, BACK "/state", "4");
    front_state(w, 4);
}

static void guest_writes(struct world *w, const char *text, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        w->ring->out[MASK_XENCONS_IDX(w->ring->out_prod + i, w->ring->out)] = text[i];
    }
    w->ring->out_prod += len;
    fake_evtchn_ring(PORT);
    fake_pv_settle();
}

static size_t host_reads(struct world *w, char *buf, size_t len)
{
    ssize_t n = recv(w->client, buf, len, MSG_DONTWAIT);

    return n > 0 ? (size_t)n : 0;
}

/* ---- what it is for ---- */

static void test_bytes(void)
{
    struct world *w = world_new();
    char buf[16] = "";

    toolstack_adds(w, "chardev:libxl-channel1", "ioemu");
    expect(w, BACK "/state", "2");
    expect(w, FRONT "/tty", "");
    front_connects(w);
    call(w);
    guest_writes(w, "hello", 5);
    g_assert_cmpuint(host_reads(w, buf, sizeof(buf)), ==, 5);
    g_assert_cmpstr(buf, ==, "hello");
    g_assert_cmpuint(w->ring->out_cons, ==, 5);
    g_assert_cmpuint(fake_evtchn_rung(PORT), ==, 1);
    g_assert_cmpint(send(w->client, "hi", 2, 0), ==, 2);
    fake_pv_settle();
    g_assert_cmpuint(w->ring->in_prod, ==, 2);
    g_assert_cmpmem(w->ring->in, 2, "hi", 2);
    g_assert_cmpuint(fake_evtchn_rung(PORT), ==, 1);
    world_free(w);
}

/* Nobody is there: as on a cable that is not plugged in. */
static void test_nobody(void)
{
    struct world *w = world_new();

    toolstack_adds(w, "chardev:libxl-channel1", "ioemu");
    front_connects(w);
    guest_writes(w, "lost", 4);
    g_assert_cmpuint(w->ring->out_cons, ==, 4);
    world_free(w);
}

/* More than the guest has room for waits with the host, more than the host takes with the guest. */
static void test_room(void)
{
    struct world *w = world_new();
    static char much[1 << 20];
    size_t sent = 0, got = 0;
    uint32_t before;

    toolstack_adds(w, "chardev:libxl-channel1", "ioemu");
    front_connects(w);
    call(w);
    g_assert_cmpint(send(w->client, much, 3000, 0), ==, 3000);
    fake_pv_settle();
    g_assert_cmpuint(w->ring->in_prod, ==, sizeof(w->ring->in));
    w->ring->in_cons = 1000;
    fake_evtchn_ring(PORT);
    fake_pv_settle();
    g_assert_cmpuint(w->ring->in_prod, ==, 1000 + sizeof(w->ring->in));
    do {
        before = w->ring->out_cons;
        guest_writes(w, much, 2048 - (w->ring->out_prod - w->ring->out_cons));
    } while (w->ring->out_cons != before);
    sent = w->ring->out_prod;
    while (got < sent) {
        size_t n = host_reads(w, much, sizeof(much));

        got += n;
        fake_pv_settle();
        g_assert_true(n > 0 || w->ring->out_cons == sent);
    }
    g_assert_cmpuint(got, ==, sent);
    world_free(w);
}

static void test_pty(void)
{
    struct world *w = world_new();
    struct backend *b;

    add_channel(w, "pty", "libxl-channel2");
    b = backend_find(w->host.backends, BACKEND_CHAR, "libxl-channel2");
    toolstack_adds(w, "chardev:libxl-channel2", "ioemu");
    expect(w, BACK "/state", "2");
    g_assert_cmpstr(fake_xenstore_get(w->host.xs, FRONT "/tty"), ==,
                    chardev_filename(chardev_of(b)) + strlen("pty:"));
    world_free(w);
}

/* The first console is xenconsoled's: not a key of it is touched. */
static void test_not_ours(void)
{
    struct world *w = world_new();

    toolstack_adds(w, "pty", "xenconsoled");
    front_prepares(w);
    front_state(w, 3);
    expect(w, BACK "/state", "1");
    expect(w, FRONT "/tty", "");
    world_free(w);
}

/* As libxl writes it for a channel on a pty; the command line's has its number. */
static void test_pty_output(void)
{
    struct world *w = world_new();

    toolstack_adds(w, "pty", "ioemu");
    expect(w, BACK "/state", "2");
    front_connects(w);
    expect(w, BACK "/state", "4");
    world_free(w);
}

static void test_no_end(void)
{
    static const char *const outputs[] = {"", "chardev:", "chardev:nobody", "file:/etc/passwd"};

    for (unsigned i = 0; i < G_N_ELEMENTS(outputs); i++) {
        struct world *w = world_new();

        toolstack_adds(w, outputs[i], "ioemu");
        expect(w, BACK "/state", "6");
        world_free(w);
    }
}

/* ---- states ---- */

static void test_reconnect(void)
{
    struct world *w = world_new();
    char buf[8] = "";

    toolstack_adds(w, "chardev:libxl-channel1", "ioemu");
    call(w);
    front_connects(w);
    front_state(w, 5);
    front_state(w, 6);
    expect(w, BACK "/state", "6");
    g_assert_cmpuint(fake_evtchn_bound(), ==, 0);
    front_state(w, 1);
    expect(w, BACK "/state", "2");
    front_connects(w);
    front_state(w, 1); /* a kexec, without a word */
    expect(w, BACK "/state", "2");
    front_connects(w);
    guest_writes(w, "again", 5);
    g_assert_cmpuint(host_reads(w, buf, sizeof(buf)), ==, 5);
    world_free(w);
}

/* Connected still when the toolstack takes it away, and when the domain is destroyed. */
static void test_removed(void)
{
    struct world *w = world_new();

    toolstack_adds(w, "chardev:libxl-channel1", "ioemu");
    front_connects(w);
    call(w);
    fake_xenstore_remove(w->host.xs, BACK);
    fake_pv_settle();
    g_assert_cmpuint(fake_evtchn_bound(), ==, 0);
    g_assert_cmpint(send(w->client, "x", 1, 0), ==, 1);
    fake_pv_settle();
    toolstack_adds(w, "chardev:libxl-channel1", "ioemu");
    front_connects(w);
    g_assert_cmpuint(w->ring->in_prod, ==, 1); /* what came meanwhile */
    world_free(w);
}

/* ---- a hostile front end ---- */

static void test_indices(void)
{
    struct world *w = world_new();

    toolstack_adds(w, "chardev:libxl-channel1", "ioemu");
    front_connects(w);
    call(w);
    w->ring->in_cons = 5; /* of bytes that were never there */
    g_assert_cmpint(send(w->client, "x", 1, 0), ==, 1);
    fake_evtchn_ring(PORT);
    fake_pv_settle();
    g_assert_cmpuint(w->ring->in_prod, ==, 0);
    w->ring->in_prod = 0x1234; /* ours is ours */
    w->ring->in_cons = 0;
    fake_evtchn_ring(PORT);
    fake_pv_settle();
    g_assert_cmpuint(w->ring->in_prod, ==, 1);
    w->ring->out_prod = 2049;
    fake_evtchn_ring(PORT);
    fake_pv_settle();
    expect(w, BACK "/state", "5"); /* served no more … */
    front_state(w, 1);
    expect(w, BACK "/state", "2"); /* … until it begins anew */
    world_free(w);
}

static void test_bad_keys(void)
{
    static const char *const bad[] = {"", "x", "-1", "4294967296", "77"};

    for (unsigned i = 0; i < 2 * G_N_ELEMENTS(bad); i++) {
        struct world *w = world_new();

        toolstack_adds(w, "chardev:libxl-channel1", "ioemu");
        front_prepares(w);
        set(w, i % 2 ? FRONT "/port" : FRONT "/ring-ref", bad[i / 2]);
        front_state(w, 3);
        expect(w, BACK "/state", "5");
        world_free(w);
    }
}

/* ---- stopped, and handed on ---- */

static void test_update(void)
{
    struct world *w = world_new();
    struct handover *h = handover_new();
    char buf[8] = "";

    toolstack_adds(w, "chardev:libxl-channel1", "ioemu");
    front_connects(w);
    call(w);
    guest_writes(w, "one", 3);
    pv_bus_pause(w->bus);
    guest_writes(w, "two", 3);
    g_assert_cmpint(send(w->client, "in", 2, 0), ==, 2);
    fake_pv_settle();
    g_assert_cmpuint(w->ring->in_prod, ==, 0);
    g_assert_cmpuint(w->ring->out_cons, ==, 3);
    pv_bus_hand_over(w->bus, h);
    pv_bus_free(w->bus);
    w->ring->out_cons = 99; /* ours is what counts */
    w->bus = fake_pv_take_over(&w->host, h);
    g_assert_cmpuint(host_reads(w, buf, sizeof(buf)), ==, 6);
    g_assert_cmpmem(buf, 6, "onetwo", 6);
    g_assert_cmpuint(w->ring->out_cons, ==, 6);
    g_assert_cmpuint(w->ring->in_prod, ==, 2);
    expect(w, BACK "/state", "4");
    handover_free(h);
    world_free(w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pv/console/bytes", test_bytes);
    g_test_add_func("/pv/console/nobody", test_nobody);
    g_test_add_func("/pv/console/room", test_room);
    g_test_add_func("/pv/console/pty", test_pty);
    g_test_add_func("/pv/console/not-ours", test_not_ours);
    g_test_add_func("/pv/console/pty-output", test_pty_output);
    g_test_add_func("/pv/console/no-end", test_no_end);
    g_test_add_func("/pv/console/reconnect", test_reconnect);
    g_test_add_func("/pv/console/removed", test_removed);
    g_test_add_func("/pv/console/indices", test_indices);
    g_test_add_func("/pv/console/bad-keys", test_bad_keys);
    g_test_add_func("/pv/console/update", test_update);
    return g_test_run();
}
