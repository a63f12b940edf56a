/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client of the image server, and servers that do and say what they should not. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xendm/one-fd.h>

#include "backends/block/nbd-api.h"

static const struct nbd_api *const api = &vhost_blk;

/* vhost-user.rst: what a front end says, in this order. */
enum {
    GET_FEATURES = 1,
    SET_FEATURES = 2,
    SET_OWNER = 3,
    SET_MEM_TABLE = 5,
    SET_VRING_NUM = 8,
    SET_VRING_ADDR = 9,
    SET_VRING_BASE = 10,
    SET_VRING_KICK = 12,
    SET_VRING_CALL = 13,
    GET_PROTOCOL_FEATURES = 15,
    SET_PROTOCOL_FEATURES = 16,
    SET_VRING_ENABLE = 18,
    GET_CONFIG = 24,
};

#define BIT(n) (UINT64_C(1) << (n))
#define FEATURES \
    (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(30) | BIT(VIRTIO_BLK_F_FLUSH) | \
     BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES) | BIT(50))
#define SECTORS 2048u

struct message {
    uint32_t request, flags, size;
    union {
        uint64_t number;
        uint32_t words[16];
        uint64_t longs[32];
        uint8_t bytes[256];
    } body;
} __attribute__((packed));

#define HEAD 12u

struct bench {
    struct nbd_handle *h;
    int server;
    uint8_t *memory;
    size_t size;
    uint64_t base; /* what the front end calls `memory` */
    int fd, kick, call;
    unsigned ring_size;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t seen;
};

struct answer {
    unsigned times;
    int error;
};

static int answered(void *opaque, int *error)
{
    struct answer *a = opaque;

    a->times++;
    a->error = *error;
    return 1;
}

static nbd_completion_callback to(struct answer *a)
{
    return (nbd_completion_callback){.callback = answered, .user_data = a};
}

static struct bench bench_new(void)
{
    struct bench b = {.h = api->create(), .fd = -1, .kick = -1, .call = -1};
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    g_assert_true(api->aio_is_created(b.h));
    g_assert_cmpint(api->aio_connect_socket(b.h, pair[0]), ==, 0);
    b.server = pair[1];
    return b;
}

static void bench_free(struct bench *b)
{
    const int fds[] = {b->server, b->fd, b->kick, b->call};

    api->close(b->h);
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    if (b->memory) {
        munmap(b->memory, b->size);
    }
}

static struct message hear(struct bench *b, uint32_t request, int *fd)
{
    struct message m = {0};
    int came = -1;

    g_assert_cmpint(one_fd_receive(b->server, &m, HEAD, &came, 0), ==, HEAD);
    g_assert_cmpuint(m.request, ==, request);
    g_assert_cmpuint(m.flags & 7, ==, 1);
    g_assert_cmpuint(m.size, <=, sizeof(m.body));
    if (m.size) {
        g_assert_cmpint(recv(b->server, &m.body, m.size, MSG_WAITALL), ==, (ssize_t)m.size);
    }
    g_assert_true((came >= 0) == (fd != NULL));
    if (fd) {
        *fd = came;
    }
    return m;
}

/* Until the client has heard it, in as many turns as it wants, or is none any more. */
static void say(struct bench *b, const void *bytes, size_t size)
{
    g_assert_cmpint(write(b->server, bytes, size), ==, (ssize_t)size);
    for (size_t i = 0; i < size + 8 && api->aio_get_direction(b->h); i++) {
        api->aio_notify_read(b->h);
    }
}

static void reply(struct bench *b, uint32_t request, const void *body, uint32_t size)
{
    struct message m = {.request = request, .flags = 1 | 4, .size = size};

    memcpy(&m.body, body, size);
    say(b, &m, HEAD + size);
}

static void reply_number(struct bench *b, uint32_t request, uint64_t number)
{
    reply(b, request, &number, sizeof(number));
}

static void reply_config(struct bench *b, uint64_t sectors)
{
    struct virtio_blk_config c = {.capacity = sectors,
                                  .max_discard_sectors = 32768,
                                  .max_write_zeroes_sectors = 16384};
    uint8_t body[12 + 60] = {0};

    memcpy(body + 12, &c, 60);
    reply(b, GET_CONFIG, body, sizeof(body));
}

static void take_memory(struct bench *b)
{
    struct message m = hear(b, SET_MEM_TABLE, &b->fd);
    struct stat st;

    g_assert_cmpuint(m.body.words[0], ==, 1);
    b->size = m.body.longs[2];
    b->base = m.body.longs[3];
    g_assert_cmpint(fstat(b->fd, &st), ==, 0);
    g_assert_cmpuint((uint64_t)st.st_size, ==, b->size);
    b->memory = mmap(NULL, b->size, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
    g_assert_true(b->memory != MAP_FAILED);
    g_assert_cmpint(ftruncate(b->fd, 0), ==, -1); /* it would be the client's end */
    g_assert_cmpint(errno, ==, EPERM);
}

static void take_ring(struct bench *b)
{
    struct message m;

    b->ring_size = hear(b, SET_VRING_NUM, NULL).body.words[1];
    g_assert_cmpuint(hear(b, SET_VRING_BASE, NULL).body.words[1], ==, 0);
    m = hear(b, SET_VRING_ADDR, NULL);
    b->desc = (struct vring_desc *)(b->memory + (m.body.longs[1] - b->base));
    b->used = (struct vring_used *)(b->memory + (m.body.longs[2] - b->base));
    b->avail = (struct vring_avail *)(b->memory + (m.body.longs[3] - b->base));
    hear(b, SET_VRING_CALL, &b->call);
    hear(b, SET_VRING_KICK, &b->kick);
    g_assert_cmpuint(hear(b, SET_VRING_ENABLE, NULL).flags, ==, 1 | 8);
}

static struct bench bench_ready(void)
{
    struct bench b = bench_new();

    hear(&b, GET_FEATURES, NULL);
    reply_number(&b, GET_FEATURES, FEATURES);
    hear(&b, GET_PROTOCOL_FEATURES, NULL);
    reply_number(&b, GET_PROTOCOL_FEATURES, UINT64_MAX);
    g_assert_cmpuint(hear(&b, SET_PROTOCOL_FEATURES, NULL).body.number, ==, BIT(3) | BIT(9));
    hear(&b, SET_OWNER, NULL);
    g_assert_cmpuint(hear(&b, SET_FEATURES, NULL).body.number, ==, FEATURES & ~BIT(50));
    hear(&b, GET_CONFIG, NULL);
    reply_config(&b, SECTORS);
    take_memory(&b);
    take_ring(&b);
    g_assert_true(api->aio_is_connecting(b.h));
    reply_number(&b, SET_VRING_ENABLE, 0);
    g_assert_true(api->aio_is_ready(b.h));
    return b;
}

/* ---- the server's side of the ring ---- */

struct request {
    unsigned id;
    const struct virtio_blk_outhdr *out;
    uint8_t *data;
    uint32_t size;
    bool device_writes;
    uint8_t *status;
};

static struct request next_request(struct bench *b)
{
    struct request r;
    const struct vring_desc *d;

    g_assert_cmpuint(b->avail->idx, !=, b->seen);
    r.id = b->avail->ring[b->seen++ % b->ring_size];
    d = &b->desc[r.id];
    r.out = (const void *)(b->memory + d->addr);
    g_assert_cmpuint(d->len, ==, 16);
    d = &b->desc[d->next];
    r.data = NULL;
    if (d->flags & VRING_DESC_F_NEXT) {
        r.data = b->memory + d->addr;
        r.size = d->len;
        r.device_writes = d->flags & VRING_DESC_F_WRITE;
        d = &b->desc[d->next];
    }
    g_assert_cmpuint(d->len, ==, 1);
    r.status = b->memory + d->addr;
    return r;
}

static void put_used(struct bench *b, unsigned id)
{
    b->used->ring[b->used->idx % b->ring_size].id = id;
    __atomic_store_n(&b->used->idx, (uint16_t)(b->used->idx + 1), __ATOMIC_RELEASE);
}

static void finish(struct bench *b, const struct request *r, uint8_t status)
{
    const uint64_t one = 1;

    *r->status = status;
    put_used(b, r->id);
    g_assert_cmpint(write(b->call, &one, sizeof(one)), ==, sizeof(one));
    api->aio_notify_read(b->h);
}

static bool kicked(struct bench *b)
{
    uint64_t n;

    return recv(b->kick, &n, sizeof(n), MSG_DONTWAIT) == sizeof(n);
}

static void test_requests(void)
{
    struct bench b = bench_ready();
    struct answer a = {0}, other = {0};
    uint8_t *data = api->take(b.h, 8192), *second;
    struct request r, late;

    g_assert_cmpint(api->get_size(b.h), ==, SECTORS * 512);
    g_assert_cmpuint(api->range_max(b.h), ==, 16384 * 512);
    g_assert_true(api->can_flush(b.h) && api->can_trim(b.h) && api->can_zero(b.h));
    g_assert_false(api->can_fua(b.h) || api->is_read_only(b.h));

    g_assert_cmpint(api->aio_pread(b.h, data, 8192, 4096, to(&a), 0), >, 0);
    g_assert_true(kicked(&b));
    late = next_request(&b);
    g_assert_cmpuint(late.out->type, ==, VIRTIO_BLK_T_IN);
    g_assert_cmpuint(late.out->sector, ==, 8);
    g_assert_true(late.size == 8192 && late.device_writes);

    second = api->take(b.h, 512);
    memset(second, 0x5a, 512);
    g_assert_cmpint(api->aio_pwrite(b.h, second, 512, 512, to(&other), 0), >, 0);
    g_assert_false(kicked(&b)); /* who does not say that he sleeps is not woken */
    r = next_request(&b);
    g_assert_cmpuint(r.out->type, ==, VIRTIO_BLK_T_OUT);
    g_assert_false(r.device_writes);
    g_assert_true(r.size == 512 && r.data[511] == 0x5a && r.data != late.data);
    finish(&b, &r, VIRTIO_BLK_S_OK); /* in another order */
    g_assert_true(other.times == 1 && other.error == 0 && a.times == 0);
    memset(late.data, 0xa5, 8192);
    finish(&b, &late, VIRTIO_BLK_S_OK);
    g_assert_true(a.times == 1 && a.error == 0 && data[8191] == 0xa5);
    api->give(b.h, data, 8192);
    api->give(b.h, second, 512);
    g_assert_true(api->take(b.h, 512) == data); /* the lowest */

    g_assert_cmpint(api->aio_flush(b.h, to(&a), 0), >, 0);
    r = next_request(&b);
    g_assert_true(r.out->type == VIRTIO_BLK_T_FLUSH && !r.data);
    finish(&b, &r, VIRTIO_BLK_S_IOERR);
    g_assert_cmpint(a.error, ==, EIO);
    g_assert_cmpint(api->aio_trim(b.h, 65536, 1024, to(&a), 0), >, 0);
    r = next_request(&b);
    const struct virtio_blk_discard_write_zeroes *range = (const void *)r.data;
    g_assert_true(r.out->type == VIRTIO_BLK_T_DISCARD && r.size == sizeof(*range));
    g_assert_true(range->sector == 2 && range->num_sectors == 128 && range->flags == 0);
    finish(&b, &r, VIRTIO_BLK_S_UNSUPP);
    g_assert_cmpint(a.error, ==, ENOTSUP);
    g_assert_cmpint(api->aio_zero(b.h, 512, 0, to(&a), 0), >, 0);
    r = next_request(&b);
    range = (const void *)r.data;
    g_assert_true(r.out->type == VIRTIO_BLK_T_WRITE_ZEROES && range->flags == 1);
    finish(&b, &r, VIRTIO_BLK_S_OK);
    g_assert_cmpuint(a.times, ==, 4);
    bench_free(&b);
}

/* More than the ring takes, round and round. */
static void test_full(void)
{
    struct bench b = bench_ready();
    struct answer a = {0};
    unsigned most = 0;

    for (; !api->is_full(b.h); most++) {
        g_assert_cmpint(api->aio_flush(b.h, to(&a), 0), >, 0);
    }
    g_assert_cmpuint(most, >=, 64);
    g_assert_cmpint(api->aio_flush(b.h, to(&a), 0), ==, -1);
    g_assert_null(api->take(b.h, 512));
    for (unsigned i = 0; i < 100000; i++) {
        struct request r = next_request(&b);

        finish(&b, &r, VIRTIO_BLK_S_OK);
        g_assert_cmpuint(a.times, ==, i + 1);
        g_assert_cmpint(api->aio_flush(b.h, to(&a), 0), >, 0);
        kicked(&b);
    }
    bench_free(&b);
}

static void test_memory(void)
{
    struct bench b = bench_ready();
    int64_t most = api->get_block_size(b.h, LIBNBD_SIZE_MAXIMUM);
    GPtrArray *all = g_ptr_array_new();
    void *p;

    while ((p = api->take(b.h, (size_t)most))) {
        g_ptr_array_add(all, p);
    }
    g_assert_cmpuint(all->len, ==, 4);
    g_assert_null(api->take(b.h, 1));
    api->give(b.h, all->pdata[2], (size_t)most);
    p = api->take(b.h, 4097); /* two pages of it: what is left is too short */
    g_assert_true(p == all->pdata[2]);
    g_assert_null(api->take(b.h, (size_t)most));
    g_assert_nonnull(api->take(b.h, (size_t)most - 8192));
    g_assert_null(api->take(b.h, 1));
    g_ptr_array_free(all, TRUE);
    bench_free(&b);
}

static void is_dead(struct bench *b)
{
    api->aio_notify_read(b->h);
    g_assert_false(api->aio_is_ready(b->h) || api->aio_is_connecting(b->h));
    g_assert_cmpuint(api->aio_get_direction(b->h), ==, 0);
    g_assert_cmpint(api->aio_flush(b->h, to(NULL), 0), ==, -1);
    bench_free(b);
}

static void test_lies_in_the_ring(void)
{
    static const unsigned ids[] = {1, 3, 255, 256, 300, 65535, UINT32_MAX};
    struct answer a = {0};

    for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++) { /* of nothing that was asked */
        struct bench b = bench_ready();

        api->aio_flush(b.h, to(&a), 0);
        put_used(&b, ids[i] + (ids[i] == next_request(&b).id ? 3 : 0));
        is_dead(&b);
    }
    g_assert_cmpuint(a.times, ==, 0);
    for (unsigned i = 0; i < 3; i++) {
        struct bench b = bench_ready();
        struct request r;

        api->aio_flush(b.h, to(&a), 0);
        api->aio_flush(b.h, to(&a), 0);
        r = next_request(&b);
        *r.status = VIRTIO_BLK_S_OK;
        if (i == 0) { /* the same twice */
            put_used(&b, r.id);
            put_used(&b, r.id);
        } else { /* more than there are; fewer than none */
            b.used->idx = i == 1 ? 3 : UINT16_MAX;
        }
        is_dead(&b);
    }
    g_assert_cmpuint(a.times, ==, 1);
}

static void test_lies_in_words(void)
{
    for (unsigned i = 0; i < 8; i++) {
        struct bench b = bench_new();
        struct message m = {GET_FEATURES, 1 | 4, 8, {FEATURES}};

        m.request = i == 0 ? GET_CONFIG : m.request;
        m.flags = i == 1 ? 1 : i == 2 ? 2 | 4 : m.flags;
        m.size = i == 3 ? 257 : i == 4 ? UINT32_MAX : i == 5 ? 4 : m.size;
        m.body.number = i == 6 ? 0 : m.body.number;
        say(&b, &m, HEAD + MIN(m.size, 8));
        if (i == 7) {
            close(b.server);
            b.server = -1;
        }
        is_dead(&b);
    }
    struct bench b = bench_new(); /* a reply of half a configuration */
    reply_number(&b, GET_FEATURES, FEATURES);
    reply_number(&b, GET_PROTOCOL_FEATURES, UINT64_MAX);
    reply_number(&b, GET_CONFIG, SECTORS);
    is_dead(&b);
    b = bench_new();
    reply_number(&b, GET_FEATURES, FEATURES);
    reply_number(&b, GET_PROTOCOL_FEATURES, BIT(3));
    is_dead(&b);
    b = bench_new(); /* it will not have the memory */
    reply_number(&b, GET_FEATURES, FEATURES);
    reply_number(&b, GET_PROTOCOL_FEATURES, UINT64_MAX);
    reply_config(&b, UINT64_MAX);
    g_assert_cmpint(api->get_size(b.h), ==, -1);
    reply_number(&b, SET_VRING_ENABLE, 1);
    is_dead(&b);
    b = bench_ready(); /* words when there is nothing to be said */
    reply_number(&b, GET_FEATURES, FEATURES);
    is_dead(&b);
    b = bench_ready();
    close(b.call);
    b.call = -1;
    is_dead(&b);
}

static void test_noise(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);

    for (unsigned i = 0; i < 2000; i++) {
        struct bench b = i % 2 ? bench_ready() : bench_new();
        struct answer a = {0};
        uint32_t noise[16];

        for (unsigned n = 0; n < 8; n++) {
            for (unsigned k = 0; k < G_N_ELEMENTS(noise); k++) {
                noise[k] = g_rand_int(rand) >> (g_rand_int(rand) & 31);
            }
            api->aio_flush(b.h, to(&a), 0);
            if (i % 2) {
                memcpy((uint8_t *)b.used + g_rand_int_range(rand, 0, 64), noise, sizeof(noise));
                api->aio_notify_read(b.h);
            } else if (api->aio_get_direction(b.h)) {
                say(&b, noise, sizeof(noise));
            }
        }
        g_assert_cmpuint(a.times, <=, 8);
        bench_free(&b);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vhost-blk/requests", test_requests);
    g_test_add_func("/vhost-blk/full", test_full);
    g_test_add_func("/vhost-blk/memory", test_memory);
    g_test_add_func("/vhost-blk/ring", test_lies_in_the_ring);
    g_test_add_func("/vhost-blk/words", test_lies_in_words);
    g_test_add_func("/vhost-blk/noise", test_noise);
    return g_test_run();
}
