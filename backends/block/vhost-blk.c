/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The image server's own protocol, behind the calls of libnbd: vhost-user-blk. Requests and data
 * are in memory that both have, so that a request costs a third of what it costs over a socket, and
 * no library is needed, which the sandbox could not load any more.
 *
 * Sources: QEMU's docs/interop/vhost-user.rst; virtio 1.2, 2.7 (split virtqueues) and 5.2 (block
 * device); linux/virtio_ring.h and linux/virtio_blk.h.
 *
 * The server is not trusted. The memory cannot be cut short (sealed). Of what it writes there we
 * read each index, number and status once, and answer nothing that was not asked. Its signals come
 * over sockets, not eventfds: those are shared with their flags, and whoever makes one wait makes
 * us wait. Anything unexpected ends the connection, and whoever has it asks for another.
 */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <xendm/bytes.h>
#include <xendm/memory-file.h>
#include <xendm/one-fd.h>

#include "nbd-api.h"

/* Numbers of vhost-user.rst, "Front-end message types" and "Protocol features". */
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
#define FEATURE_PROTOCOL BIT(30)          /* VHOST_USER_F_PROTOCOL_FEATURES */
#define PROTOCOL_NEEDED (BIT(3) | BIT(9)) /* REPLY_ACK, CONFIG */
#define FEATURES_NEEDED (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) | FEATURE_PROTOCOL)
#define FEATURES_KNOWN \
    (FEATURES_NEEDED | BIT(VIRTIO_BLK_F_RO) | BIT(VIRTIO_BLK_F_FLUSH) | \
     BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES))

#define VERSION 1u /* of the flags of a message */
#define IS_REPLY 4u
#define WANTS_REPLY 8u

struct message_head {
    uint32_t request, flags, size; /* bytes behind it */
};

struct vring_addr { /* "A vring address description" */
    uint32_t index, flags;
    uint64_t descriptors, used, available, log;
};

struct memory_table { /* "Memory regions description", of one */
    uint32_t regions, padding;
    uint64_t guest_address, size, user_address, offset;
};

struct config { /* "Virtio device config space" */
    uint32_t offset, size, flags;
    uint8_t bytes[sizeof(struct virtio_blk_config)];
};

#define BODY_MAX 256u
/* virtio 1.2, 5.2.4: up to max_write_zeroes_seg, which is all that is read of it. */
#define CONFIG_BYTES 60u

/* The memory: ring, heads of requests, data. A request has three descriptors. */
#define RING_SIZE 256u
#define HEADS (RING_SIZE / 3)
#define HEADS_AT 16384u
#define DATA_AT 65536u
#define PAGE 4096u
#define PAGES 1024u

G_STATIC_ASSERT(DATA_AT + PAGES * PAGE <= VHOST_BLK_MEMORY);

struct head {
    struct virtio_blk_outhdr out;
    struct virtio_blk_discard_write_zeroes range;
    uint8_t status;
} __attribute__((aligned(64)));

G_STATIC_ASSERT(sizeof(struct head) * HEADS <= DATA_AT - HEADS_AT);

struct command {
    bool busy;
    nbd_completion_callback done;
};

struct nbd_handle {
    enum { CREATED, FEATURES, PROTOCOL, CONFIG, ENABLING, READY, DEAD } state;
    int socket, events; /* epoll's */
    int kick, call;     /* our ends */
    uint64_t features;
    uint64_t sectors;
    uint32_t range_max; /* sectors */

    struct message_head in;
    uint8_t body[BODY_MAX];
    size_t got; /* of head and body */

    uint8_t *memory;
    size_t pages;
    struct vring ring;
    struct head *heads;
    uint16_t made, seen; /* requests, in the ring's own count */
    struct command commands[HEADS];
    uint8_t free[HEADS];
    unsigned free_count;
    uint64_t taken[PAGES / 64]; /* a bit a page */
};

static const char *why = "";

static int dead(struct nbd_handle *h, const char *reason)
{
    h->state = DEAD;
    why = reason;
    return -1;
}

static const char *vhost_get_error(void)
{
    return why;
}

static struct nbd_handle *vhost_create(void)
{
    struct nbd_handle *h = g_new0(struct nbd_handle, 1);

    h->socket = h->events = h->kick = h->call = -1;
    for (unsigned i = 0; i < HEADS; i++) {
        h->free[h->free_count++] = (uint8_t)(HEADS - 1 - i);
    }
    return h;
}

static void vhost_close(struct nbd_handle *h)
{
    const int fds[] = {h->socket, h->events, h->kick, h->call};

    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    if (h->memory) {
        munmap(h->memory, DATA_AT + h->pages * PAGE);
    }
    g_free(h);
}

/* There is one export, and nothing to be said at the end: the keeper ends the server. */
static int vhost_set_export_name(struct nbd_handle *h, const char *name)
{
    return 0;
}

static int vhost_aio_disconnect(struct nbd_handle *h, uint32_t flags)
{
    return 0;
}

/* ---- messages ---- */

static int say(struct nbd_handle *h, uint32_t request, uint32_t flags, const void *body,
               uint32_t size, int fd)
{
    struct {
        struct message_head head;
        uint8_t body[BODY_MAX];
    } m = {.head = {request, VERSION | flags, size}};
    ssize_t whole = (ssize_t)(sizeof(m.head) + size);

    if (size > 0) {
        memcpy(m.body, body, size);
    }
    /* A few hundred bytes in all: they have room in the socket, or it is none. */
    return one_fd_send(h->socket, &m, (size_t)whole, fd, MSG_DONTWAIT) == whole
               ? 0
               : dead(h, "its server does not listen");
}

static int say_number(struct nbd_handle *h, uint32_t request, uint64_t number)
{
    return say(h, request, 0, &number, sizeof(number), -1);
}

static int say_ring(struct nbd_handle *h, uint32_t request, uint32_t flags, uint32_t number)
{
    const uint32_t state[2] = {0, number}; /* index, and what it is about */

    return say(h, request, flags, state, sizeof(state), -1);
}

/* One end stays here. The other end's flags are not ours. */
static int say_socket(struct nbd_handle *h, uint32_t request, int *ours)
{
    const uint64_t index = 0;
    int pair[2], rc;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return dead(h, g_strerror(errno));
    }
    *ours = pair[0];
    rc = say(h, request, 0, &index, sizeof(index), pair[1]);
    close(pair[1]);
    return rc;
}

/* ---- the memory ---- */

/* As much as the limit for files leaves of it, which memory files have, too. */
static int make_memory(struct nbd_handle *h)
{
    size_t pages = PAGES;
    int fd;
    void *p;

    while ((fd = memory_file_new("xendm-image", DATA_AT + pages * PAGE, true)) < 0 && pages > 1) {
        pages /= 2;
    }
    p = memory_file_map(fd, DATA_AT + pages * PAGE);
    if (!p) {
        int e = errno;

        if (fd >= 0) {
            close(fd);
        }
        dead(h, g_strerror(e));
        return -1;
    }
    h->memory = p;
    h->pages = pages;
    h->heads = (struct head *)(h->memory + HEADS_AT);
    vring_init(&h->ring, RING_SIZE, p, PAGE);
    return fd;
}

static unsigned run_of_free(const struct nbd_handle *h, unsigned from, unsigned most)
{
    unsigned n = 0;

    while (n < most && from + n < h->pages && !(h->taken[(from + n) / 64] & BIT((from + n) % 64))) {
        n++;
    }
    return n;
}

static void mark(struct nbd_handle *h, unsigned from, unsigned count, bool taken)
{
    for (unsigned i = from; i < from + count; i++) {
        if (taken) {
            h->taken[i / 64] |= BIT(i % 64);
        } else {
            h->taken[i / 64] &= ~BIT(i % 64);
        }
    }
}

/* The lowest there are, so that few are touched when few are needed. */
static void *vhost_take(struct nbd_handle *h, size_t count)
{
    unsigned want = (unsigned)((count + PAGE - 1) / PAGE);

    for (unsigned from = 0; h->free_count > 0 && from + want <= h->pages;) {
        unsigned n = ~h->taken[from / 64] == 0 ? 0 : run_of_free(h, from, want);

        if (n == want) {
            mark(h, from, want, true);
            return h->memory + DATA_AT + (size_t)from * PAGE;
        }
        from += n == 0 && ~h->taken[from / 64] == 0 ? 64 - from % 64 : n + 1;
    }
    return NULL;
}

static void vhost_give(struct nbd_handle *h, void *buf, size_t count)
{
    size_t at = (size_t)((uint8_t *)buf - h->memory) - DATA_AT;

    mark(h, (unsigned)(at / PAGE), (unsigned)((count + PAGE - 1) / PAGE), false);
}

/* ---- the handshake ---- */

static uint64_t number_of(const struct nbd_handle *h)
{
    uint64_t v = 0;

    memcpy(&v, h->body, MIN(h->in.size, sizeof(v)));
    return v;
}

static int take_features(struct nbd_handle *h)
{
    h->features = number_of(h) & FEATURES_KNOWN;
    if ((h->features & FEATURES_NEEDED) != FEATURES_NEEDED) {
        return dead(h, "its server speaks another language");
    }
    h->state = PROTOCOL;
    return say(h, GET_PROTOCOL_FEATURES, 0, NULL, 0, -1);
}

static int take_protocol(struct nbd_handle *h)
{
    const struct config config = {.size = CONFIG_BYTES};
    uint32_t size = (uint32_t)offsetof(struct config, bytes) + CONFIG_BYTES;

    if ((number_of(h) & PROTOCOL_NEEDED) != PROTOCOL_NEEDED) {
        return dead(h, "its server speaks an older language");
    }
    h->state = CONFIG;
    return say_number(h, SET_PROTOCOL_FEATURES, PROTOCOL_NEEDED) < 0 ||
                   say(h, SET_OWNER, 0, NULL, 0, -1) < 0 ||
                   say_number(h, SET_FEATURES, h->features) < 0 ||
                   say(h, GET_CONFIG, 0, &config, size, -1) < 0
               ? -1
               : 0;
}

static int say_memory(struct nbd_handle *h)
{
    int fd = make_memory(h), rc;
    const struct memory_table table = {.regions = 1,
                                       .size = DATA_AT + h->pages * PAGE,
                                       .user_address = (uintptr_t)h->memory};

    if (fd < 0) {
        return -1;
    }
    rc = say(h, SET_MEM_TABLE, 0, &table, sizeof(table), fd);
    close(fd);
    return rc;
}

static int watch_also(struct nbd_handle *h, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data = {.fd = fd}};

    return epoll_ctl(h->events, EPOLL_CTL_ADD, fd, &e) == 0 ? 0 : dead(h, g_strerror(errno));
}

static int take_config(struct nbd_handle *h)
{
    struct virtio_blk_config c = {0};

    if (h->in.size < offsetof(struct config, bytes) + CONFIG_BYTES) {
        return dead(h, "its server does not say what the image is");
    }
    memcpy(&c, h->body + offsetof(struct config, bytes), CONFIG_BYTES);
    h->sectors = c.capacity;
    h->range_max = MIN(c.max_discard_sectors, c.max_write_zeroes_sectors);
    h->state = ENABLING;
    if (say_memory(h) < 0) {
        return -1;
    }
    const struct vring_addr ring = {.descriptors = (uintptr_t)h->ring.desc,
                                    .used = (uintptr_t)h->ring.used,
                                    .available = (uintptr_t)h->ring.avail};

    return say_ring(h, SET_VRING_NUM, 0, RING_SIZE) < 0 || say_ring(h, SET_VRING_BASE, 0, 0) < 0 ||
                   say(h, SET_VRING_ADDR, 0, &ring, sizeof(ring), -1) < 0 ||
                   say_socket(h, SET_VRING_CALL, &h->call) < 0 || watch_also(h, h->call) < 0 ||
                   say_socket(h, SET_VRING_KICK, &h->kick) < 0 ||
                   say_ring(h, SET_VRING_ENABLE, WANTS_REPLY, 1) < 0
               ? -1
               : 0;
}

static int take_enabled(struct nbd_handle *h)
{
    if (number_of(h) != 0) {
        return dead(h, "its server refuses the memory");
    }
    h->state = READY;
    return 0;
}

static int take_message(struct nbd_handle *h)
{
    static const struct {
        uint32_t request;
        int (*take)(struct nbd_handle *h);
    } steps[] = {[FEATURES] = {GET_FEATURES, take_features},
                 [PROTOCOL] = {GET_PROTOCOL_FEATURES, take_protocol},
                 [CONFIG] = {GET_CONFIG, take_config},
                 [ENABLING] = {SET_VRING_ENABLE, take_enabled}};

    if (h->state < FEATURES || h->state > ENABLING || h->in.request != steps[h->state].request ||
        (h->in.flags & 3) != VERSION || !(h->in.flags & IS_REPLY)) {
        return dead(h, "its server answers what was not asked");
    }
    return steps[h->state].take(h);
}

static int hear_message(struct nbd_handle *h)
{
    bool in_head = h->got < sizeof(h->in);
    size_t want = in_head ? sizeof(h->in) - h->got : sizeof(h->in) + h->in.size - h->got;
    uint8_t *to = in_head ? (uint8_t *)&h->in + h->got : h->body + h->got - sizeof(h->in);
    ssize_t n = want == 0 ? 0 : recv(h->socket, to, want, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    if (n <= 0 && want > 0) {
        return dead(h, n < 0 ? g_strerror(errno) : "its server hung up");
    }
    h->got += (size_t)n;
    if (h->got >= sizeof(h->in) && h->in.size > sizeof(h->body)) {
        return dead(h, "its server says too much");
    }
    if (h->got < sizeof(h->in) || h->got < sizeof(h->in) + h->in.size) {
        return 0;
    }
    h->got = 0;
    return take_message(h);
}

static int vhost_aio_connect_socket(struct nbd_handle *h, int sock)
{
    h->socket = sock;
    h->events = epoll_create1(EPOLL_CLOEXEC);
    h->state = FEATURES;
    if (h->events < 0) {
        return dead(h, g_strerror(errno));
    }
    return watch_also(h, sock) < 0 ? -1 : say(h, GET_FEATURES, 0, NULL, 0, -1);
}

/* ---- the ring ---- */

static void kick(struct nbd_handle *h)
{
    const uint64_t one = 1; /* as an eventfd wants it */
    uint16_t wanted;

    /* The index is out before it is asked whether anybody waits for it (virtio 1.2, 2.7.13.4.1). */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    wanted = *(volatile uint16_t *)&vring_avail_event(&h->ring);
    if (vring_need_event(wanted, h->made, (uint16_t)(h->made - 1))) {
        send(h->kick, &one, sizeof(one), MSG_DONTWAIT | MSG_NOSIGNAL); /* full: it was told */
    }
}

static uint64_t address(const struct nbd_handle *h, const void *p)
{
    return (uint64_t)((const uint8_t *)p - h->memory);
}

/* `count` bytes at `buf`, of the memory, which the device reads or writes; 0: none. */
static int64_t submit(struct nbd_handle *h, uint32_t type, uint64_t sector, const void *buf,
                      size_t count, bool device_writes, nbd_completion_callback done)
{
    unsigned i, at;
    struct head *head;
    struct vring_desc *d;

    if (h->state != READY || h->free_count == 0) {
        return -1;
    }
    i = h->free[--h->free_count];
    at = i * 3;
    head = &h->heads[i];
    d = &h->ring.desc[at];
    head->out = (struct virtio_blk_outhdr){.type = type, .sector = sector};
    head->status = UINT8_MAX;
    h->commands[i] = (struct command){true, done};
    d[0] = (struct vring_desc){address(h, &head->out), sizeof(head->out), VRING_DESC_F_NEXT,
                               (uint16_t)(at + (count ? 1 : 2))};
    d[1] = (struct vring_desc){address(h, count ? buf : h->memory), (uint32_t)count,
                               VRING_DESC_F_NEXT | (device_writes ? VRING_DESC_F_WRITE : 0),
                               (uint16_t)(at + 2)};
    d[2] = (struct vring_desc){address(h, &head->status), 1, VRING_DESC_F_WRITE, 0};
    h->ring.avail->ring[h->made % RING_SIZE] = (uint16_t)at;
    h->made++;
    __atomic_store_n(&h->ring.avail->idx, h->made, __ATOMIC_RELEASE);
    kick(h);
    return (int64_t)i + 1;
}

static int64_t submit_range(struct nbd_handle *h, uint32_t type, uint32_t flags, uint64_t count,
                            uint64_t offset, nbd_completion_callback done)
{
    struct head *head;

    if (h->state != READY || h->free_count == 0) {
        return -1;
    }
    head = &h->heads[h->free[h->free_count - 1]]; /* which submit() takes */
    head->range = (struct virtio_blk_discard_write_zeroes){.sector = offset / 512,
                                                           .num_sectors = (uint32_t)(count / 512),
                                                           .flags = flags};
    return submit(h, type, 0, &head->range, sizeof(head->range), false, done);
}

static int error_of(uint8_t status)
{
    return status == VIRTIO_BLK_S_OK ? 0 : status == VIRTIO_BLK_S_UNSUPP ? ENOTSUP : EIO;
}

/* What was answered, until there is no more and we are told of the next. */
static int drain(struct nbd_handle *h)
{
    for (;;) {
        uint16_t index = __atomic_load_n(&h->ring.used->idx, __ATOMIC_ACQUIRE);

        if ((uint16_t)(index - h->seen) > HEADS - h->free_count) {
            return dead(h, "its server answers what was not asked");
        }
        if (index == h->seen) {
            if (vring_used_event(&h->ring) == h->seen) {
                return 0;
            }
            vring_used_event(&h->ring) = h->seen; /* and look again: it may have come before */
            __atomic_thread_fence(__ATOMIC_SEQ_CST);
            continue;
        }
        while (h->seen != index) {
            uint32_t id = *(volatile uint32_t *)&h->ring.used->ring[h->seen++ % RING_SIZE].id;
            struct command *c = &h->commands[id / 3 < HEADS ? id / 3 : 0];
            int error;

            if (id % 3 != 0 || id / 3 >= HEADS || !c->busy) {
                return dead(h, "its server answers what was not asked");
            }
            error = error_of(*(volatile uint8_t *)&h->heads[id / 3].status);
            c->busy = false;
            h->free[h->free_count++] = (uint8_t)(id / 3);
            c->done.callback(c->done.user_data, &error);
        }
    }
}

static int hear_call(struct nbd_handle *h)
{
    uint8_t signals[512];
    ssize_t n = recv(h->call, signals, sizeof(signals), MSG_DONTWAIT);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        return dead(h, "its server hung up");
    }
    return 0;
}

static int vhost_aio_notify_read(struct nbd_handle *h)
{
    struct epoll_event events[2];
    int n = epoll_wait(h->events, events, 2, 0);

    for (int i = 0; i < n && h->state != DEAD; i++) {
        if (events[i].data.fd == h->socket) {
            hear_message(h);
        } else {
            hear_call(h);
        }
    }
    if (h->state == READY) {
        drain(h);
    }
    return h->state == DEAD ? -1 : 0;
}

/* ---- what is asked ---- */

static int vhost_aio_get_fd(struct nbd_handle *h)
{
    return h->events;
}

static unsigned vhost_aio_get_direction(struct nbd_handle *h)
{
    return h->state == CREATED || h->state == DEAD ? 0 : LIBNBD_AIO_DIRECTION_READ;
}

static int vhost_aio_notify_write(struct nbd_handle *h)
{
    return 0;
}

static int vhost_aio_is_connecting(struct nbd_handle *h)
{
    return h->state >= FEATURES && h->state <= ENABLING;
}

static int vhost_aio_is_created(struct nbd_handle *h)
{
    return h->state == CREATED;
}

static int vhost_aio_is_ready(struct nbd_handle *h)
{
    return h->state == READY;
}

static int vhost_aio_is_processing(struct nbd_handle *h)
{
    return false;
}

static int64_t vhost_aio_pread(struct nbd_handle *h, void *buf, size_t count, uint64_t offset,
                               nbd_completion_callback done, uint32_t flags)
{
    return submit(h, VIRTIO_BLK_T_IN, offset / 512, buf, count, true, done);
}

static int64_t vhost_aio_pwrite(struct nbd_handle *h, const void *buf, size_t count,
                                uint64_t offset, nbd_completion_callback done, uint32_t flags)
{
    return submit(h, VIRTIO_BLK_T_OUT, offset / 512, buf, count, false, done);
}

static int64_t vhost_aio_flush(struct nbd_handle *h, nbd_completion_callback done, uint32_t flags)
{
    return submit(h, VIRTIO_BLK_T_FLUSH, 0, NULL, 0, false, done);
}

static int64_t vhost_aio_trim(struct nbd_handle *h, uint64_t count, uint64_t offset,
                              nbd_completion_callback done, uint32_t flags)
{
    return submit_range(h, VIRTIO_BLK_T_DISCARD, 0, count, offset, done);
}

static int64_t vhost_aio_zero(struct nbd_handle *h, uint64_t count, uint64_t offset,
                              nbd_completion_callback done, uint32_t flags)
{
    uint32_t unmap = flags & LIBNBD_CMD_FLAG_NO_HOLE ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;

    return submit_range(h, VIRTIO_BLK_T_WRITE_ZEROES, unmap, count, offset, done);
}

static bool vhost_is_full(struct nbd_handle *h)
{
    return h->free_count == 0;
}

static uint32_t vhost_range_max(struct nbd_handle *h)
{
    return MIN(h->range_max, UINT32_MAX / 512) * 512;
}

static int64_t vhost_get_size(struct nbd_handle *h)
{
    return h->sectors <= INT64_MAX / 512 ? (int64_t)h->sectors * 512 : -1;
}

static int64_t vhost_get_block_size(struct nbd_handle *h, int type)
{
    return type == LIBNBD_SIZE_MAXIMUM ? (int64_t)(h->pages * PAGE / 4) : 1;
}

static bool has(const struct nbd_handle *h, unsigned feature)
{
    return h->features & BIT(feature);
}

static int vhost_is_read_only(struct nbd_handle *h)
{
    return has(h, VIRTIO_BLK_F_RO);
}

static int vhost_can_flush(struct nbd_handle *h)
{
    return has(h, VIRTIO_BLK_F_FLUSH);
}

static int vhost_can_trim(struct nbd_handle *h)
{
    return has(h, VIRTIO_BLK_F_DISCARD) && h->range_max > 0;
}

static int vhost_can_zero(struct nbd_handle *h)
{
    return has(h, VIRTIO_BLK_F_WRITE_ZEROES) && h->range_max > 0;
}

/* One server, one cache: what was acknowledged is there for the next connection. */
static int vhost_can_multi_conn(struct nbd_handle *h)
{
    return true;
}

static int vhost_cannot(struct nbd_handle *h)
{
    return false;
}

#define vhost_can_fua vhost_cannot
#define vhost_is_rotational vhost_cannot

const struct nbd_api vhost_blk = {
#define X(call) .call = vhost_##call,
    NBD_CALLS(X)
#undef X
        .take = vhost_take,
    .give = vhost_give,
    .is_full = vhost_is_full,
    .range_max = vhost_range_max,
};
