/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The small NBD client, and servers that say what they should not. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <xendm/bytes.h>

#include "backends/block/nbd-api.h"

static const struct nbd_api *const api = &nbd_plain;

struct bench {
    struct nbd_handle *h;
    int server;
};

struct answer {
    bool done;
    int error;
};

static int answered(void *opaque, int *error)
{
    struct answer *a = opaque;

    g_assert_false(a->done);
    *a = (struct answer){true, *error};
    return 1;
}

static struct bench bench_new(void)
{
    struct bench b = {.h = api->create()};
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), ==, 0);
    g_assert_cmpint(api->set_export_name(b.h, "e"), ==, 0);
    g_assert_true(api->aio_is_created(b.h));
    g_assert_cmpint(api->aio_connect_socket(b.h, pair[0]), ==, 0);
    b.server = pair[1];
    return b;
}

static void bench_free(struct bench *b)
{
    api->close(b->h);
    close(b->server);
}

/* The server says this, and is heard to its end or until it is no server any more. */
static void say(struct bench *b, const void *bytes, size_t len)
{
    g_assert_cmpint(write(b->server, bytes, len), ==, (ssize_t)len);
    for (size_t i = 0; i < 2 * len + 8 && api->aio_get_direction(b->h); i++) {
        api->aio_notify_read(b->h);
    }
}

static const uint8_t greeting[] = {'N', 'B', 'D', 'M', 'A', 'G', 'I', 'C', 'I',
                                   'H', 'A', 'V', 'E', 'O', 'P', 'T', 0,   3};
static const uint8_t export[] = {0, 0, 0, 0, 0, 0x10, 0, 0, 0x01, 0x03};

static void agree(struct bench *b)
{
    static const uint8_t want[] = {0,   0, 0, 3, 'I', 'H', 'A', 'V', 'E', 'O', 'P',
                                   'T', 0, 0, 0, 1,   0,   0,   0,   1,   'e'};
    uint8_t got[64];

    say(b, greeting, sizeof(greeting));
    g_assert_cmpint(read(b->server, got, sizeof(got)), ==, sizeof(want));
    g_assert_cmpmem(got, sizeof(want), want, sizeof(want));
    g_assert_true(api->aio_is_connecting(b->h));
    say(b, export, sizeof(export));
    g_assert_true(api->aio_is_ready(b->h));
    g_assert_cmpint(api->get_size(b->h), ==, 1 << 20);
    g_assert_true(api->can_multi_conn(b->h));
    g_assert_true(api->is_read_only(b->h));
}

static void reply(struct bench *b, uint32_t error, uint64_t cookie, const void *data, size_t len)
{
    uint8_t bytes[16 + 512];

    store_be32(bytes, 0x67446698);
    store_be32(bytes + 4, error);
    store_be32(bytes + 8, (uint32_t)(cookie >> 32));
    store_be32(bytes + 12, (uint32_t)cookie);
    memcpy(bytes + 16, data, len);
    say(b, bytes, 16 + len);
}

static void test_read(void)
{
    struct bench b = bench_new();
    struct answer a[3] = {{0}};
    uint8_t buf[3][16], got[128];
    int64_t cookie[3];

    agree(&b);
    for (unsigned i = 0; i < 3; i++) {
        cookie[i] = api->aio_pread(b.h, buf[i], 16, 0x100 * (i + 1),
                                   (nbd_completion_callback){answered, &a[i], NULL}, 0);
        g_assert_cmpint(cookie[i], >, 0);
    }
    g_assert_cmpint(read(b.server, got, sizeof(got)), ==, 3 * 28);
    g_assert_cmphex(load_be32(got + 28), ==, 0x25609513);
    g_assert_cmphex(load_be32(got + 28 + 20), ==, 0x200);
    g_assert_cmpuint(load_be32(got + 28 + 24), ==, 16);
    reply(&b, 0, (uint64_t)cookie[2], "fedcba9876543210", 16); /* in any order */
    reply(&b, 5, (uint64_t)cookie[0], "", 0);
    reply(&b, 99, (uint64_t)cookie[1], "", 0);
    g_assert_true(a[0].done && a[1].done && a[2].done);
    g_assert_cmpint(a[0].error, ==, EIO);
    g_assert_cmpint(a[1].error, ==, EIO); /* one that NBD has not */
    g_assert_cmpint(a[2].error, ==, 0);
    g_assert_cmpmem(buf[2], 16, "fedcba9876543210", 16);
    g_assert_cmpint(api->aio_pwrite(b.h, buf[0], 16, 0, (nbd_completion_callback){0}, 0), ==, -1);
    g_assert_cmpint(api->aio_pread(b.h, buf[0], 64 << 20, 0, (nbd_completion_callback){0}, 0), ==,
                    -1);
    api->aio_disconnect(b.h, 0);
    g_assert_cmpint(read(b.server, got, sizeof(got)), ==, 28);
    g_assert_cmpuint(got[7], ==, 2);
    bench_free(&b);
}

static void test_wrong(void)
{
    static const char *const greetings[] = {"NBDMAGIX", "NBDMAGICIHAVEOPX", "GET / HTTP/1.1\r\n"};
    uint8_t other[sizeof(greeting)];

    for (size_t i = 0; i < G_N_ELEMENTS(greetings); i++) {
        struct bench b = bench_new();

        memcpy(other, greeting, sizeof(other));
        memcpy(other, greetings[i], strlen(greetings[i]));
        say(&b, other, sizeof(other));
        g_assert_cmpuint(api->aio_get_direction(b.h), ==, 0); /* it is over */
        g_assert_cmpstr(api->get_error(), !=, "");
        bench_free(&b);
    }
    for (unsigned wrong = 0; wrong < 2; wrong++) { /* another's answer; one that nobody asked for */
        struct bench b = bench_new();
        struct answer a = {0};
        uint8_t buf[16];
        int64_t cookie;

        agree(&b);
        cookie = api->aio_pread(b.h, buf, 16, 0, (nbd_completion_callback){answered, &a, NULL}, 0);
        if (wrong) {
            reply(&b, 0, (uint64_t)cookie, "0123456789abcdef", 16);
        }
        reply(&b, 0, (uint64_t)cookie + !wrong, "0123456789abcdef", 16);
        g_assert_false(api->aio_is_ready(b.h));
        g_assert_true(a.done == (wrong == 1));
        bench_free(&b);
    }
}

static void test_noise(void)
{
    GRand *rand = g_rand_new_with_seed(1);

    for (unsigned round = 0; round < 2000; round++) {
        struct bench b = bench_new();
        struct answer a = {0};
        uint8_t buf[64], bytes[64];

        if (round & 1) {
            agree(&b);
            api->aio_pread(b.h, buf, sizeof(buf), 0, (nbd_completion_callback){answered, &a, NULL},
                           0);
        }
        for (unsigned n = 0; n < 4; n++) {
            for (size_t i = 0; i < sizeof(bytes); i++) {
                bytes[i] = (uint8_t)g_rand_int(rand);
            }
            memcpy(bytes, greeting, (size_t)g_rand_int_range(rand, 0, sizeof(greeting) + 1));
            say(&b, bytes, (size_t)g_rand_int_range(rand, 1, sizeof(bytes)));
        }
        bench_free(&b);
    }
    g_rand_free(rand);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nbd-plain/read", test_read);
    g_test_add_func("/nbd-plain/wrong", test_wrong);
    g_test_add_func("/nbd-plain/noise", test_noise);
    return g_test_run();
}
