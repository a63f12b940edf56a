/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio block device (5.2): PCI 1af4:1001, or 1af4:1042 without the legacy registers. Linux,
 * SeaBIOS, OVMF, GRUB, the BSDs and (with the virtio drivers) Windows know it.
 *
 * Several queues, flush, discard, write zeroes, the write cache's switch, resize. Left out: SCSI
 * commands (legacy), lifetime, secure erase, zones; none of them is offered.
 *
 * READ and WRITE go straight between the back end and guest memory, at most a MiB at a time. A
 * request is kept as its header, its pieces, and how far it is; what the driver was not told of can
 * be begun again, after a stop, in another process, on another host.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <xendm/block.h>
#include <xendm/classes.h>
#include <xendm/facts.h>

#include "virtio.h"

#define REQUESTS 128u /* taken and not given back; the rest waits in the guest's queues */
/* Of these requests together: 24 each (64 KiB in pages are 18), beside the longest there can be. */
#define PIECES_MAX 4096u
#define VIEWS 136u /* that a request's list holds: 512 KiB in pages, and some */
#define TRANSFER_MAX (1u << 20)
#define QUEUES_MAX 64u
#define SECTOR 512u
#define HEADER 16u
#define RANGE 16u /* of DISCARD and WRITE ZEROES */
#define SERIAL 20u
#define RANGE_SECTORS_MAX 0x3fffffu /* as QEMU's: 2 GiB */

/* Features (5.2.3). */
#define F_SEG_MAX VIRTIO_F(2)
#define F_GEOMETRY VIRTIO_F(4)
#define F_RO VIRTIO_F(5)
#define F_BLK_SIZE VIRTIO_F(6)
#define F_FLUSH VIRTIO_F(9)
#define F_TOPOLOGY VIRTIO_F(10)
#define F_CONFIG_WCE VIRTIO_F(11)
#define F_MQ VIRTIO_F(12)
#define F_DISCARD VIRTIO_F(13)
#define F_WRITE_ZEROES VIRTIO_F(14)

#define CONFIG_BYTES 60u /* (5.2.4) up to write_zeroes_may_unmap, and its padding */
#define CONFIG_WCE 32u

/* Requests (5.2.6). */
#define T_IN 0u
#define T_OUT 1u
#define T_FLUSH 4u
#define T_FLUSH_OUT 5u
#define T_GET_ID 8u
#define T_DISCARD 11u
#define T_WRITE_ZEROES 13u
#define T_BARRIER 0x80000000u /* legacy; a hint that was never offered */
#define RANGE_UNMAP 1u

enum status { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };

struct virtio_blk;

struct request {
    struct virtio_blk *b;
    bool used;
    uint16_t queue;
    struct virtio_chain chain; /* its pieces are the request's own */
    unsigned room;             /* for pieces */
    uint8_t head[HEADER + RANGE];
    uint64_t done;  /* bytes */
    uint64_t piece; /* of the one in flight */
    bool in_flight, mapped;
    bool dead;      /* the driver that made it is gone */
    bool cancelled; /* the host was asked for it */
    bool flushed;
    bool ended; /* waits until it may be given back */
    uint8_t status;
    struct dma_list *list;
    struct block_request io;
};

/* What is kept of one; its pieces follow those of the one before. */
struct saved {
    uint16_t queue, id, slots, turn, out, in;
    uint8_t head[HEADER + RANGE];
    uint64_t done;
    bool flushed, ended;
    uint8_t status;
};

struct virtio_blk {
    struct virtio virtio; /* first */
    /* properties */
    struct block *block;
    char *serial;
    uint32_t num_queues, logical_block_size, max_discard, max_zeroes;
    bool config_wce, discard, write_zeroes;

    struct block_queue *queue;
    bool wce;                          /* the write cache, as the driver switched it */
    struct request *request[REQUESTS]; /* made when they are first needed */
    unsigned used, in_flight, pieces;
    uint32_t failures; /* of the host */
    uint64_t reads, writes, bytes_read, bytes_written;

    /* for the state */
    uint32_t saved_count, saved_pieces;
    struct saved saved[REQUESTS];
    struct virtio_piece saved_piece[PIECES_MAX];
};

static inline struct virtio_blk *blk_of(const struct virtio *v)
{
    return (struct virtio_blk *)v;
}

static inline uint64_t sectors(const struct virtio_blk *b)
{
    return block_size(b->block) / SECTOR;
}

/* (5.2.5, 5.2.6.2): without a flush no driver can make a cache safe. */
static bool writes_back(const struct virtio_blk *b)
{
    return virtio_has(&b->virtio, F_CONFIG_WCE) ? b->wce : virtio_has(&b->virtio, F_FLUSH);
}

/* ---- the table of requests ---- */

static struct request *request_new(struct virtio_blk *b)
{
    if (b->used == REQUESTS || b->pieces + VIRTIO_PIECES > PIECES_MAX) {
        return NULL;
    }
    for (unsigned i = 0; i < REQUESTS; i++) {
        struct request *r = b->request[i];

        if (!r) {
            r = b->request[i] = g_new0(struct request, 1);
            r->b = b;
        }
        if (!r->used) {
            r->used = true;
            b->used++;
            return r;
        }
    }
    return NULL;
}

static void request_free(struct request *r)
{
    struct request empty = {.b = r->b, .list = r->list, .room = r->room};

    empty.chain.piece = r->chain.piece;
    r->b->used--;
    r->b->pieces -= r->chain.out + r->chain.in;
    *r = empty;
}

static void request_take_chain(struct request *r, uint16_t queue, const struct virtio_chain *c)
{
    virtio_chain_keep(&r->chain, &r->room, c);
    r->queue = queue;
    r->b->pieces += c->out + c->in;
}

static void requests_destroy(struct virtio_blk *b)
{
    for (unsigned i = 0; i < REQUESTS; i++) {
        if (b->request[i]) {
            dma_list_free(b->request[i]->list);
            g_free(b->request[i]->chain.piece);
            g_clear_pointer(&b->request[i], g_free);
        }
    }
    b->used = b->pieces = 0;
}

/* ---- ends ---- */

/* False: it has to wait for the one before it, or for bus mastering. */
static bool give_back(struct request *r)
{
    struct virtio *v = &r->b->virtio;
    struct virtq *q = &v->vq[r->queue];
    uint32_t written = (uint32_t)MIN(r->chain.in_bytes, UINT32_MAX);

    if (!virtq_may_push(v, r->queue, &r->chain)) {
        return false;
    }
    if (virtio_write(v, &r->chain, r->chain.in_bytes - 1, &r->status, 1) < 0) {
        virtio_broken(v, r->queue, "a status is in no memory");
    }
    virtq_push(v, r->queue, &r->chain, written);
    virtq_signal(v, r->queue, virtio_in_flight(q) > 0);
    request_free(r);
    return true;
}

/* In order one end may make others possible. */
static void give_back_all(struct virtio_blk *b)
{
    bool again = true;

    while (again) {
        again = false;
        for (unsigned i = 0; i < REQUESTS; i++) {
            struct request *r = b->request[i];

            if (r && r->used && r->ended && !r->dead && give_back(r)) {
                again = virtio_has(&b->virtio, VIRTIO_F_IN_ORDER);
            }
        }
    }
}

static void complete(struct request *r, enum status status)
{
    struct virtio_blk *b = r->b;

    r->ended = true;
    r->status = (uint8_t)status;
    if (give_back(r) && virtio_has(&b->virtio, VIRTIO_F_IN_ORDER)) {
        give_back_all(b);
    }
    virtio_run(&b->virtio);
}

/* ---- pieces of I/O ---- */

static void run(struct request *r);

static void piece_failed(struct request *r, int error)
{
    static const char *const names[] = {
        [BLOCK_READ] = "read",       [BLOCK_WRITE] = "write", [BLOCK_FLUSH] = "flush",
        [BLOCK_DISCARD] = "discard", [BLOCK_ZERO] = "write",
    };
    struct device *dev = &r->b->virtio.pci.dev;

    if (log_is_news(&r->b->failures)) {
        log_warning(LOG_VIRTIO, "%s: %s at byte %" PRIu64 " failed: %s", dev->id, names[r->io.op],
                    r->io.offset, g_strerror(-error));
    }
    machine_event_block_error(dev->machine, dev->id, names[r->io.op], error);
    complete(r, S_IOERR);
}

static void piece_done(struct block_request *io, int error)
{
    struct request *r = io->opaque;
    struct virtio_blk *b = r->b;
    struct virtio *v = &b->virtio;

    r->in_flight = false;
    b->in_flight--;
    if (r->mapped) {
        r->mapped = false;
        dma_list_end(r->list, r->piece); /* a failed read may have changed memory, too */
    }
    if (r->dead) {
        request_free(r);
        if (--v->dead == 0) {
            virtio_settled(v);
        }
    } else if (error && !(error == -ECANCELED && r->cancelled)) {
        piece_failed(r, error);
    } else {
        if (!error && io->op == BLOCK_FLUSH) {
            r->flushed = true;
        } else if (!error) {
            r->done += r->piece;
        }
        if (!v->stopped) {
            run(r);
        }
    }
}

static void submit(struct request *r, enum block_op op, unsigned flags, uint64_t offset,
                   uint64_t length, const struct iovec *iov, unsigned niov)
{
    r->piece = length;
    r->in_flight = true;
    r->cancelled = false;
    r->b->in_flight++;
    r->io = (struct block_request){
        .op = op,
        .flags = flags,
        .offset = offset,
        .length = length,
        .iov = iov,
        .niov = niov,
        .done = piece_done,
        .opaque = r,
    };
    block_submit(r->b->queue, &r->io);
}

static void cancel(struct request *r)
{
    if (r->in_flight && !r->cancelled) {
        r->cancelled = true;
        block_cancel(r->b->queue, &r->io);
    }
}

static void cancel_all(struct virtio_blk *b)
{
    for (unsigned i = 0; i < REQUESTS; i++) {
        if (b->request[i] && b->request[i]->used) {
            cancel(b->request[i]);
        }
    }
}

/* ---- requests: called at the start, after each piece, and after a stop ---- */

static bool extent_fits(const struct virtio_blk *b, uint64_t sector, uint64_t bytes)
{
    uint64_t all = sectors(b);

    return sector <= all && bytes / SECTOR <= all - sector && bytes % b->logical_block_size == 0 &&
           sector % (b->logical_block_size / SECTOR) == 0;
}

static void run_transfer(struct request *r, bool write)
{
    struct virtio_blk *b = r->b;
    uint64_t sector = load_le64(r->head + 8);
    uint64_t skip = write ? HEADER : 0;
    uint64_t total = write ? r->chain.out_bytes - HEADER : r->chain.in_bytes - 1;
    enum dma_direction direction = write ? DMA_TO_DEVICE : DMA_FROM_DEVICE;
    struct iovec *iov;
    unsigned count;
    int64_t n;

    if (!extent_fits(b, sector, total)) {
        log_guest(LOG_VIRTIO, "%s: %" PRIu64 " bytes at sector %" PRIu64 " of %" PRIu64,
                  b->virtio.pci.dev.id, total, sector, sectors(b));
        complete(r, S_IOERR);
        return;
    }
    if (r->done >= total) {
        *(write ? &b->writes : &b->reads) += 1;
        *(write ? &b->bytes_written : &b->bytes_read) += total;
        complete(r, S_OK);
        return;
    }
    if (!r->list) {
        r->list = dma_list_new(&b->virtio.pci.dev, VIEWS);
    }
    dma_list_begin(r->list, direction);
    n = virtio_map(&b->virtio, &r->chain, r->list, direction, skip + r->done,
                   MIN(total - r->done, TRANSFER_MAX));
    if (n < b->logical_block_size) { /* no memory, or not even a block in so many pieces */
        dma_list_end(r->list, 0);
        complete(r, S_IOERR);
        return;
    }
    n -= n % b->logical_block_size;
    iov = dma_list_iov(r->list, 0, (size_t)n, &count);
    r->mapped = true;
    submit(r, write ? BLOCK_WRITE : BLOCK_READ, write && !writes_back(b) ? BLOCK_FUA : 0,
           sector * SECTOR + r->done, (uint64_t)n, iov, count);
}

static void run_flush(struct request *r)
{
    if (r->flushed) {
        complete(r, S_OK);
    } else {
        submit(r, BLOCK_FLUSH, 0, 0, 0, NULL, 0);
    }
}

static void run_get_id(struct request *r)
{
    char id[SERIAL] = {0};
    size_t room = (size_t)MIN(r->chain.in_bytes - 1, SERIAL);

    if (r->b->serial) {
        memcpy(id, r->b->serial, MIN(strlen(r->b->serial), SERIAL));
    }
    complete(r, virtio_write(&r->b->virtio, &r->chain, 0, id, room) < 0 ? S_IOERR : S_OK);
}

/* DISCARD and WRITE ZEROES: one range, as the configuration says. */
static void run_range(struct request *r, bool zeroes)
{
    struct virtio_blk *b = r->b;
    const struct block_limits *limits = block_limits(b->block);
    uint64_t sector = load_le64(r->head + HEADER);
    uint32_t count = load_le32(r->head + HEADER + 8), flags = load_le32(r->head + HEADER + 12);
    uint64_t total = (uint64_t)count * SECTOR, left, most;

    if (!(zeroes ? b->write_zeroes : b->discard) || (flags & ~(zeroes ? RANGE_UNMAP : 0)) ||
        r->chain.out_bytes != HEADER + RANGE) {
        complete(r, S_UNSUPP);
        return;
    }
    if (count > (zeroes ? b->max_zeroes : b->max_discard) || !extent_fits(b, sector, total)) {
        complete(r, S_IOERR);
        return;
    }
    left = total - MIN(r->done, total);
    if (left == 0 && zeroes && !writes_back(b) && !r->flushed) {
        submit(r, BLOCK_FLUSH, 0, 0, 0, NULL, 0);
    } else if (left == 0 || (!zeroes && !limits->can_discard && !block_read_only(b->block))) {
        complete(r, S_OK); /* a discard is advice, which may be ignored */
    } else if (zeroes) {
        submit(r, BLOCK_ZERO, flags & RANGE_UNMAP ? BLOCK_MAY_UNMAP : 0, sector * SECTOR + r->done,
               left, NULL, 0);
    } else {
        most = limits->max_discard - limits->max_discard % b->logical_block_size;
        submit(r, BLOCK_DISCARD, 0, sector * SECTOR + r->done, most ? MIN(most, left) : left, NULL,
               0);
    }
}

static void run(struct request *r)
{
    uint32_t type = load_le32(r->head) & ~T_BARRIER;
    bool changes = type == T_OUT || type == T_DISCARD || type == T_WRITE_ZEROES;

    if (r->b->virtio.pci.dev.dma_blocked) {
        return; /* goes on when the guest allows it again */
    }
    if (changes && block_read_only(r->b->block)) {
        complete(r, S_IOERR);
        return;
    }
    switch (type) {
    case T_IN:
    case T_OUT:
        run_transfer(r, type == T_OUT);
        break;
    case T_FLUSH:
    case T_FLUSH_OUT:
        run_flush(r);
        break;
    case T_GET_ID:
        run_get_id(r);
        break;
    case T_DISCARD:
    case T_WRITE_ZEROES:
        run_range(r, type == T_WRITE_ZEROES);
        break;
    default:
        complete(r, S_UNSUPP);
    }
}

/* Roughly what it costs to begin it: 64 pieces, or 64 KiB, as much as one that is small. */
static int price(const struct virtio_chain *c)
{
    uint64_t bytes = MIN(c->out_bytes + c->in_bytes, TRANSFER_MAX);

    return 1 + (int)(bytes >> 16) + (c->out + c->in) / 64;
}

static int blk_serve(struct virtio *v, unsigned n)
{
    struct virtio_blk *b = blk_of(v);
    struct request *r = request_new(b);
    struct virtio_chain c;
    size_t head;
    int cost;

    if (!r) {
        return VIRTIO_NO_ROOM;
    }
    if (!virtq_pop(v, n, &c)) {
        request_free(r);
        return VIRTIO_NOTHING;
    }
    request_take_chain(r, (uint16_t)n, &c);
    if (c.out_bytes < HEADER || c.in_bytes < 1) {
        virtio_broken(v, n, "a request without header or status");
        request_free(r);
        return VIRTIO_NOTHING;
    }
    cost = price(&c);
    head = (size_t)MIN(c.out_bytes, HEADER);
    if (virtio_read(v, &r->chain, 0, r->head, head) < 0) {
        complete(r, S_IOERR);
        return cost;
    }
    switch (load_le32(r->head)) {
    case T_DISCARD:
    case T_WRITE_ZEROES:
        if (c.out_bytes >= HEADER + RANGE &&
            virtio_read(v, &r->chain, HEADER, r->head + HEADER, RANGE) < 0) {
            complete(r, S_IOERR);
            return cost;
        }
    }
    run(r);
    return cost;
}

/* ---- resets, stops ---- */

static void blk_forget(struct virtio *v, unsigned n)
{
    struct virtio_blk *b = blk_of(v);

    for (unsigned i = 0; i < REQUESTS; i++) {
        struct request *r = b->request[i];

        if (!r || !r->used || r->dead || (n != VIRTIO_QUEUES && r->queue != n)) {
            continue;
        }
        if (r->in_flight) {
            r->dead = true;
            v->dead++;
            cancel(r);
        } else {
            request_free(r);
        }
    }
    if (n == VIRTIO_QUEUES) {
        b->wce = true;
    }
}

static void blk_restart(struct virtio *v)
{
    struct virtio_blk *b = blk_of(v);

    give_back_all(b);
    for (unsigned i = 0; i < REQUESTS; i++) {
        struct request *r = b->request[i];

        if (r && r->used && !r->in_flight && !r->ended && !r->dead) {
            run(r);
        }
    }
}

static void blk_blocked(struct virtio *v)
{
    cancel_all(blk_of(v));
}

/* ---- configuration (5.2.4) ---- */

static uint64_t blk_features(const struct virtio *v)
{
    const struct virtio_blk *b = blk_of(v);
    uint64_t f = F_SEG_MAX | F_GEOMETRY | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY;

    f |= block_read_only(b->block) ? F_RO : 0;
    f |= b->config_wce ? F_CONFIG_WCE : 0;
    f |= v->queues > 1 ? F_MQ : 0;
    f |= b->discard ? F_DISCARD : 0;
    f |= b->write_zeroes ? F_WRITE_ZEROES : 0;
    return f;
}

static void blk_config(const struct virtio *v, uint8_t *to)
{
    const struct virtio_blk *b = blk_of(v);
    const struct block_limits *limits = block_limits(b->block);
    uint32_t align = MAX(limits->discard_align, b->logical_block_size) / SECTOR;
    unsigned exponent = 0;

    while (b->logical_block_size << (exponent + 1) <= limits->physical && exponent < 8) {
        exponent++;
    }
    store_le64(to, sectors(b));
    store_le32(to + 12, v->queue_size - 2); /* seg_max: header and status need one each */
    store_le16(to + 16, (uint32_t)MIN(sectors(b) / (16 * 63), 16383));
    to[18] = 16;
    to[19] = 63;
    store_le32(to + 20, b->logical_block_size);
    to[24] = (uint8_t)exponent;
    to[CONFIG_WCE] = b->wce;
    store_le16(to + 34, v->queues);
    if (b->discard) {
        store_le32(to + 36, b->max_discard);
        store_le32(to + 40, 1); /* ranges in a request */
        store_le32(to + 44, align);
    }
    if (b->write_zeroes) {
        store_le32(to + 48, b->max_zeroes);
        store_le32(to + 52, 1);
        to[56] = 1; /* may unmap */
    }
}

static void blk_config_written(struct virtio *v, unsigned at, uint8_t value)
{
    if (at == CONFIG_WCE && virtio_has(v, F_CONFIG_WCE)) {
        blk_of(v)->wce = value & 1;
    }
}

static const struct virtio_type type = {
    .name = "block",
    .id = 2,
    .transitional = 0x1001,
    .config_bytes = CONFIG_BYTES,
    .features = blk_features,
    .config = blk_config,
    .config_written = blk_config_written,
    .serve = blk_serve,
    .forget = blk_forget,
    .restart = blk_restart,
    .blocked = blk_blocked,
};

/* ---- life ---- */

static void drive_changed(void *opaque)
{
    virtio_config_changed(opaque);
}

static const struct block_listener listener = {.medium_changed = drive_changed,
                                               .resized = drive_changed};

static int blk_check(const struct virtio_blk *b, GError **err)
{
    const char *id = b->virtio.pci.dev.id;

    if (!b->block || (!block_present(b->block) && !b->virtio.pci.dev.machine->restored)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: needs a drive with an image", id);
    } else if (b->logical_block_size != 512 && b->logical_block_size != 4096) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: logical_block_size=%u is not 512 or 4096", id,
                    b->logical_block_size);
    } else if (b->serial && strlen(b->serial) > SERIAL) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: serial=%s is longer than %u characters", id,
                    b->serial, SERIAL);
    } else {
        return 0;
    }
    return -EINVAL;
}

static int blk_realize(struct device *dev, GError **err)
{
    struct virtio_blk *b = DEVICE_CAST(struct virtio_blk, dev);
    unsigned queues = b->num_queues ? b->num_queues : MIN(dev->machine->vcpus, QUEUES_MAX);

    if (blk_check(b, err) < 0 || virtio_realize(&b->virtio, &type, MAX(queues, 1), err) < 0) {
        return -EINVAL;
    }
    b->queue = block_queue_new(b->block);
    block_listen(b->block, &listener, b);
    return 0;
}

static void blk_unrealize(struct device *dev)
{
    struct virtio_blk *b = DEVICE_CAST(struct virtio_blk, dev);

    XENDM_ASSERT(b->in_flight == 0); /* whoever frees a device waits until it is not busy */
    virtio_unrealize(&b->virtio);
    requests_destroy(b);
    block_unlisten(b->block, &listener, b);
    block_queue_free(b->queue);
}

static void blk_reset(struct device *dev, enum reset_reason why)
{
    struct virtio_blk *b = DEVICE_CAST(struct virtio_blk, dev);

    virtio_reset(&b->virtio);
    if (why == RESET_COLD) {
        b->reads = b->writes = b->bytes_read = b->bytes_written = 0;
    }
}

static void blk_quiesce(struct device *dev)
{
    struct virtio_blk *b = DEVICE_CAST(struct virtio_blk, dev);

    virtio_quiesce(&b->virtio);
    cancel_all(b);
}

static bool blk_busy(struct device *dev)
{
    return DEVICE_CAST(struct virtio_blk, dev)->in_flight > 0;
}

static void blk_resume(struct device *dev)
{
    virtio_resume(&DEVICE_CAST(struct virtio_blk, dev)->virtio);
}

static void blk_describe(struct device *dev, struct facts *to)
{
    const struct virtio_blk *b = DEVICE_CAST(struct virtio_blk, dev);

    virtio_describe(&b->virtio, to);
    fact_text(to, "drive", "%s", block_id(b->block));
    fact_int(to, "sectors", (int64_t)sectors(b));
    fact_bool(to, "write cache", writes_back(b));
    fact_int(to, "requests", b->used);
    fact_int(to, "in flight", b->in_flight);
    fact_int(to, "reads", (int64_t)b->reads);
    fact_int(to, "writes", (int64_t)b->writes);
    fact_int(to, "failures", b->failures);
}

static const struct property properties[] = {
    {.name = "drive",
     .type = PROP_BACKEND,
     .offset = offsetof(struct virtio_blk, block),
     .kind = BACKEND_BLOCK,
     .required = true,
     .help = "whose blocks it has"},
    {.name = "serial",
     .type = PROP_STRING,
     .offset = offsetof(struct virtio_blk, serial),
     .help = "serial number, at most 20 characters"},
    {.name = "num-queues",
     .type = PROP_UINT32,
     .offset = offsetof(struct virtio_blk, num_queues),
     .max = QUEUES_MAX,
     .help = "queues; 0: one for each vCPU"},
    {.name = "queue-size",
     .type = PROP_UINT32,
     .offset = offsetof(struct virtio, queue_size),
     .def = "256",
     .min = 4,
     .max = VIRTIO_QUEUE_MAX,
     .power_of_two = true,
     .help = "entries of a queue"},
    {.name = "logical_block_size",
     .type = PROP_UINT32,
     .offset = offsetof(struct virtio_blk, logical_block_size),
     .def = "512",
     .help = "512 or 4096 bytes"},
    {.name = "config-wce",
     .type = PROP_BOOL,
     .offset = offsetof(struct virtio_blk, config_wce),
     .def = "on",
     .help = "the guest may switch the write cache"},
    {.name = "discard",
     .type = PROP_BOOL,
     .offset = offsetof(struct virtio_blk, discard),
     .def = "on",
     .help = "offer to discard blocks"},
    {.name = "write-zeroes",
     .type = PROP_BOOL,
     .offset = offsetof(struct virtio_blk, write_zeroes),
     .def = "on",
     .help = "offer to write zeroes"},
    {.name = "max-discard-sectors",
     .type = PROP_UINT32,
     .offset = offsetof(struct virtio_blk, max_discard),
     .def = "0x3fffff",
     .min = 1,
     .max = RANGE_SECTORS_MAX,
     .help = "sectors of one request"},
    {.name = "max-write-zeroes-sectors",
     .type = PROP_UINT32,
     .offset = offsetof(struct virtio_blk, max_zeroes),
     .def = "0x3fffff",
     .min = 1,
     .max = RANGE_SECTORS_MAX,
     .help = "sectors of one request"},
    VIRTIO_PROPERTIES,
    {.name = NULL},
};

/* ---- saved state ---- */

#define SAVED(kind, f, ...) STATE_FIELD_##kind(struct saved, f, __VA_ARGS__)
#define B(kind, f, ...) STATE_FIELD_##kind(struct virtio_blk, f, __VA_ARGS__)

static const struct state_field saved_fields[] = {
    SAVED(U16, queue, .max = QUEUES_MAX - 1),
    SAVED(U16, id),
    SAVED(U16, slots, .max = VIRTIO_QUEUE_MAX),
    SAVED(U16, turn),
    SAVED(U16, out, .max = VIRTIO_PIECES),
    SAVED(U16, in, .min = 1, .max = VIRTIO_PIECES),
    SAVED(BYTES, head),
    SAVED(U64, done),
    SAVED(BOOL, flushed),
    SAVED(BOOL, ended),
    SAVED(U8, status, .max = S_UNSUPP),
    STATE_FIELD_END,
};

static const struct state_desc saved_state = {.name = "request",
                                              .version = 1,
                                              .fields = saved_fields};

static const struct state_field fields[] = {
    VIRTIO_STATE(struct virtio_blk),
    B(BOOL, wce),
    STATE_FIELD_STRUCTS_VAR(struct virtio_blk, saved, REQUESTS, saved_count, &saved_state),
    STATE_FIELD_STRUCTS_VAR(struct virtio_blk, saved_piece, PIECES_MAX, saved_pieces,
                            &virtio_piece_state),
    B(U64, reads),
    B(U64, writes),
    B(U64, bytes_read),
    B(U64, bytes_written),
    STATE_FIELD_END,
};

static void blk_pre_save(void *base)
{
    struct virtio_blk *b = base;

    b->saved_count = b->saved_pieces = 0;
    for (unsigned i = 0; i < REQUESTS; i++) {
        const struct request *r = b->request[i];
        const struct virtio_chain *c = r ? &r->chain : NULL;
        struct saved *s = &b->saved[b->saved_count];

        if (!r || !r->used || r->dead) {
            continue;
        }
        XENDM_ASSERT(!r->in_flight);
        *s = (struct saved){.queue = r->queue,
                            .id = c->id,
                            .slots = c->slots,
                            .turn = c->turn,
                            .out = c->out,
                            .in = c->in,
                            .done = r->done,
                            .flushed = r->flushed,
                            .ended = r->ended,
                            .status = r->status};
        memcpy(s->head, r->head, sizeof(s->head));
        memcpy(&b->saved_piece[b->saved_pieces], c->piece, (c->out + c->in) * sizeof(*c->piece));
        b->saved_pieces += c->out + c->in;
        b->saved_count++;
    }
}

static bool blk_check_state(const void *base, GError **err)
{
    const struct virtio_blk *b = base;
    uint32_t pieces = 0;

    for (unsigned i = 0; i < b->saved_count; i++) {
        const struct saved *s = &b->saved[i];
        unsigned count = s->out + s->in;

        if (count > VIRTIO_PIECES || count > b->saved_pieces - pieces ||
            s->queue >= b->virtio.queues || s->done % SECTOR ||
            virtio_pieces_bytes(b->saved_piece + pieces, s->out) < HEADER) {
            g_set_error(err, STATE_ERROR, EINVAL, "request %u of queue %u cannot be under way", i,
                        s->queue);
            return false;
        }
        pieces += count;
    }
    if (pieces != b->saved_pieces) {
        g_set_error(err, STATE_ERROR, EINVAL, "%u pieces, and %u of requests", b->saved_pieces,
                    pieces);
        return false;
    }
    return true;
}

/* What was to be begun again begins with the resume. */
static void blk_post_load(void *base)
{
    struct virtio_blk *b = base;
    unsigned pieces = 0;

    requests_destroy(b);
    for (unsigned i = 0; i < b->saved_count; i++) {
        const struct saved *s = &b->saved[i];
        struct virtio_piece *p = b->saved_piece + pieces;
        struct virtio_chain c = {.id = s->id,
                                 .slots = s->slots,
                                 .turn = s->turn,
                                 .out = s->out,
                                 .in = s->in,
                                 .out_bytes = virtio_pieces_bytes(p, s->out),
                                 .in_bytes = virtio_pieces_bytes(p + s->out, s->in),
                                 .piece = p};
        struct request *r = b->request[i] = g_new0(struct request, 1);

        r->b = b;
        r->used = true;
        b->used++;
        request_take_chain(r, s->queue, &c);
        memcpy(r->head, s->head, sizeof(r->head));
        r->done = s->done;
        r->flushed = s->flushed;
        r->ended = s->ended;
        r->status = s->status;
        pieces += s->out + s->in;
    }
}

static const struct state_desc state = {
    .name = "virtio-blk",
    .version = 1,
    .fields = fields,
    .pre_save = blk_pre_save,
    .check = blk_check_state,
    .post_load = blk_post_load,
};

static const struct pci_info pci = VIRTIO_PCI_INFO(0x010000, 2);

static const char *const aliases[] = {"virtio-blk", NULL};

const struct device_class virtio_blk_class = {
    .name = "virtio-blk-pci",
    .aliases = aliases,
    .help = "virtio disk",
    .size = sizeof(struct virtio_blk),
    .properties = properties,
    .state = &state,
    .recorded = true,
    .hotplug = true,
    .realize = blk_realize,
    .reset = blk_reset,
    .quiesce = blk_quiesce,
    .busy = blk_busy,
    .resume = blk_resume,
    .unrealize = blk_unrealize,
    .describe = blk_describe,
    .pci = &pci,
};
