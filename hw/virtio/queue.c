/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtqueues: split (2.7) and packed (2.8), with indirect descriptors, event index and in-order
 * use; and when they are served.
 *
 * Bounds: an access that notifies takes some chains, the rest later turns of the loop, each queue
 * in its turn. An available index more than the queue's size ahead, a link or a table beyond its
 * bounds, a table in a table, a loop: the device is broken. Loops end since a chain of descriptors
 * has at most as many as the queue, and a table at most VIRTIO_PIECES.
 *
 * While chains are left for later the driver is asked not to notify. Interrupts: at once for a
 * queue that has nothing else under way, so that one request at a time is quick; else together for
 * all that ends in this turn.
 */
#include <errno.h>
#include <string.h>

#include <xendm/tape.h>
#include <xendm/turn.h>

#include "virtio.h"

#define ACCESS_BUDGET 8u /* chains in an access that notifies; a costly one counts as several */
#define TURN_BUDGET 48u

#define DESCRIPTOR 16u
#define DESC_NEXT 0x1u
#define DESC_WRITE 0x2u
#define DESC_INDIRECT 0x4u
#define DESC_AVAIL 0x80u  /* packed */
#define DESC_USED 0x8000u /* packed */

#define RING_FLAGS 0u /* of the driver's and the device's part of a split ring (2.7.6, 2.7.8) */
#define RING_INDEX 2u
#define RING_ENTRIES 4u
#define USED_ENTRY 8u

#define EVENTS_ENABLE 0u /* packed (2.8.14) */
#define EVENTS_DISABLE 1u
#define EVENTS_DESC 2u
#define EVENTS_BYTES 4u

void virtio_broken(struct virtio *v, unsigned n, const char *why)
{
    if (v->broken) {
        return;
    }
    v->broken = true;
    log_guest(LOG_VIRTIO, "%s: queue %u: %s: the device wants a reset", v->pci.dev.id, n, why);
    if (virtio_modern(v)) {
        v->status |= VIRTIO_NEEDS_RESET;
        virtio_config_changed(v);
    }
}

bool virtio_runs(const struct virtio *v, const struct virtq *q)
{
    /* Drivers from before virtio 1.0 use their queues before they say DRIVER_OK (3.1.2). */
    unsigned wanted = virtio_modern(v) ? VIRTIO_DRIVER_OK : VIRTIO_DRIVER | VIRTIO_DRIVER_OK;

    return q->enabled && !v->broken && (v->status & wanted);
}

static void set_hungry(struct virtio *v, struct virtq *q, bool hungry)
{
    if (q->hungry != hungry) {
        q->hungry = hungry;
        v->hungry += hungry ? 1u : -1u;
    }
}

/* ---- rings in guest memory ---- */

/* While bus mastering is off nothing is read, and that is nobody's mistake. */
static void ring_failed(struct virtio *v, unsigned n, int error)
{
    if (error != -EPERM) {
        virtio_broken(v, n, "a ring is in no memory");
    }
}

static struct dma_window *window(struct virtio *v, unsigned n, struct dma_window **w, uint64_t base,
                                 size_t bytes, bool write)
{
    int error = 0;

    if (!*w) {
        *w = dma_window_new(&v->pci.dev, base, bytes, write, &error);
        if (!*w) {
            ring_failed(v, n, error);
        }
    }
    return *w;
}

static inline size_t event_bytes(const struct virtio *v)
{
    return virtio_has(v, VIRTIO_F_EVENT_INDEX) ? 2 : 0;
}

static bool rings(struct virtio *v, unsigned n)
{
    struct virtq *q = &v->vq[n];
    bool packed = virtio_has(v, VIRTIO_F_PACKED);
    size_t driver = packed ? EVENTS_BYTES : RING_ENTRIES + 2u * q->size + event_bytes(v);
    size_t device = packed ? EVENTS_BYTES : RING_ENTRIES + USED_ENTRY * q->size + event_bytes(v);

    return window(v, n, &q->desc_window, q->desc, DESCRIPTOR * (size_t)q->size, packed) &&
           window(v, n, &q->driver_window, q->driver, driver, false) &&
           window(v, n, &q->device_window, q->device, device, true);
}

void virtq_drop_windows(struct virtq *q)
{
    dma_window_free(q->desc_window);
    dma_window_free(q->driver_window);
    dma_window_free(q->device_window);
    q->desc_window = q->driver_window = q->device_window = NULL;
}

void virtq_clear(struct virtio *v, unsigned n)
{
    struct virtq *q = &v->vq[n];

    set_hungry(v, q, false);
    virtq_drop_windows(q);
    *q = (struct virtq){
        .size = (uint16_t)v->queue_size,
        .vector = VIRTIO_NO_VECTOR,
        .avail_wrap = true,
        .used_wrap = true,
    };
}

void virtq_enable(struct virtio *v, unsigned n)
{
    struct virtq *q = &v->vq[n];

    if (!virtio_has(v, VIRTIO_F_PACKED) && (q->size & (q->size - 1))) {
        virtio_broken(v, n, "the size is no power of two");
        return;
    }
    virtq_drop_windows(q);
    q->enabled = true;
}

/* ---- chains ---- */

static bool add_piece(struct virtio *v, unsigned n, struct virtio_chain *c, const uint8_t *d,
                      unsigned flags)
{
    uint32_t len = load_le32(d + 8);

    if (len == 0 || c->out + c->in == VIRTIO_PIECES) {
        virtio_broken(v, n, len ? "too many descriptors" : "an empty buffer");
        return false;
    }
    c->piece[c->out + c->in] = (struct virtio_piece){load_le64(d), len};
    if (flags & DESC_WRITE) {
        c->in++;
        c->in_bytes += len;
    } else if (c->in) {
        virtio_broken(v, n, "a buffer to be read is behind one to be written");
        return false;
    } else {
        c->out++;
        c->out_bytes += len;
    }
    return true;
}

static bool fetch_table(struct virtio *v, unsigned n, uint64_t at, uint32_t bytes)
{
    int error;

    if (bytes == 0 || bytes % DESCRIPTOR || bytes > sizeof(v->table)) {
        virtio_broken(v, n, "the size of an indirect table");
        return false;
    }
    error = dma_read_content(&v->pci.dev, at, v->table, bytes, DMA_STRUCTURE);
    if (error) {
        ring_failed(v, n, error);
    }
    return error == 0;
}

static bool indirect_allowed(struct virtio *v, unsigned n, unsigned flags)
{
    if (!virtio_has(v, VIRTIO_F_INDIRECT) || (flags & DESC_NEXT)) {
        virtio_broken(v, n, "an indirect table where none may be");
        return false;
    }
    return true;
}

static bool split_table(struct virtio *v, unsigned n, struct virtio_chain *c, const uint8_t *d)
{
    uint32_t count = load_le32(d + 8) / DESCRIPTOR, at = 0;

    if (!fetch_table(v, n, load_le64(d), load_le32(d + 8))) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *e = v->table + at * DESCRIPTOR;
        unsigned flags = load_le16(e + 12);

        if (flags & DESC_INDIRECT) {
            virtio_broken(v, n, "an indirect table in an indirect table");
            return false;
        }
        if (!add_piece(v, n, c, e, flags)) {
            return false;
        }
        if (!(flags & DESC_NEXT)) {
            return true;
        }
        at = load_le16(e + 14);
        if (at >= count) {
            break;
        }
    }
    virtio_broken(v, n, "an indirect table's links");
    return false;
}

static bool split_chain(struct virtio *v, unsigned n, struct virtio_chain *c)
{
    struct virtq *q = &v->vq[n];
    uint8_t d[DESCRIPTOR];
    uint32_t at = c->id;

    for (unsigned i = 0; i < q->size && at < q->size; i++) {
        int error = dma_window_read(q->desc_window, at * DESCRIPTOR, d, sizeof(d));
        unsigned flags = load_le16(d + 12);

        if (error) {
            ring_failed(v, n, error);
            return false;
        }
        if (flags & DESC_INDIRECT) {
            return indirect_allowed(v, n, flags) && split_table(v, n, c, d);
        }
        if (!add_piece(v, n, c, d, flags)) {
            return false;
        }
        if (!(flags & DESC_NEXT)) {
            return true;
        }
        at = load_le16(d + 14);
    }
    virtio_broken(v, n, "descriptors are linked beyond the queue, or in a loop");
    return false;
}

static bool packed_table(struct virtio *v, unsigned n, struct virtio_chain *c, const uint8_t *d)
{
    uint32_t count = load_le32(d + 8) / DESCRIPTOR;

    if (!fetch_table(v, n, load_le64(d), load_le32(d + 8))) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *e = v->table + i * DESCRIPTOR;
        unsigned flags = load_le16(e + 14);

        if (flags & DESC_INDIRECT) {
            virtio_broken(v, n, "an indirect table in an indirect table");
            return false;
        }
        if (!add_piece(v, n, c, e, flags)) {
            return false;
        }
    }
    return true;
}

/* The first descriptor's flags were read before, with the ring's order; they count. */
static bool packed_chain(struct virtio *v, unsigned n, struct virtio_chain *c, unsigned flags)
{
    struct virtq *q = &v->vq[n];
    uint8_t d[DESCRIPTOR];
    uint32_t at = q->avail;

    for (c->slots = 1; c->slots <= q->size; c->slots++) {
        int error = dma_window_read(q->desc_window, at * DESCRIPTOR, d, sizeof(d));

        if (error) {
            ring_failed(v, n, error);
            return false;
        }
        if (c->slots > 1) {
            flags = load_le16(d + 14);
        }
        c->id = load_le16(d + 12);
        if (flags & DESC_INDIRECT) {
            if (c->slots > 1) {
                virtio_broken(v, n, "an indirect table behind other descriptors");
                return false;
            }
            return indirect_allowed(v, n, flags) && packed_table(v, n, c, d);
        }
        if (!add_piece(v, n, c, d, flags)) {
            return false;
        }
        if (!(flags & DESC_NEXT)) {
            return true;
        }
        at = (at + 1) % q->size;
    }
    virtio_broken(v, n, "a chain longer than the queue");
    return false;
}

/* ---- what is available ---- */

/* Whether there is a chain; its head or first flags in `*first`. */
static bool split_look(struct virtio *v, unsigned n, unsigned *first)
{
    struct virtq *q = &v->vq[n];
    uint16_t index = dma_window_load16(q->driver_window, RING_INDEX), ahead;
    int error = dma_window_error(q->driver_window);

    if (error) {
        ring_failed(v, n, error);
        return false;
    }
    ahead = (uint16_t)(index - q->avail);
    if (ahead > q->size) {
        virtio_broken(v, n, "more chains are available than there can be");
        return false;
    }
    if (ahead == 0) {
        return false;
    }
    *first = dma_window_load16(q->driver_window, RING_ENTRIES + 2u * (q->avail % q->size));
    if (*first >= q->size) {
        virtio_broken(v, n, "a head beyond the queue");
        return false;
    }
    return true;
}

static bool packed_look(struct virtio *v, unsigned n, unsigned *first)
{
    struct virtq *q = &v->vq[n];
    unsigned flags = dma_window_load16(q->desc_window, q->avail * DESCRIPTOR + 14);
    int error = dma_window_error(q->desc_window);

    if (error) {
        ring_failed(v, n, error);
        return false;
    }
    *first = flags;
    return !!(flags & DESC_AVAIL) == q->avail_wrap && !!(flags & DESC_USED) != q->avail_wrap;
}

static bool look(struct virtio *v, unsigned n, unsigned *first)
{
    return virtio_has(v, VIRTIO_F_PACKED) ? packed_look(v, n, first) : split_look(v, n, first);
}

/* ---- whether the driver notifies (2.7.10, 2.8.14) ---- */

static void split_ask(struct virtio *v, struct virtq *q, bool on)
{
    if (virtio_has(v, VIRTIO_F_EVENT_INDEX)) {
        if (on) {
            dma_window_store16(q->device_window, RING_ENTRIES + USED_ENTRY * (size_t)q->size,
                               q->avail);
        }
    } else if (on == q->quiet) {
        dma_window_store16(q->device_window, RING_FLAGS, !on);
    }
}

static void packed_ask(struct virtio *v, struct virtq *q, bool on)
{
    if (on && virtio_has(v, VIRTIO_F_EVENT_INDEX)) {
        dma_window_store16(q->device_window, 0,
                           (uint16_t)(q->avail | (unsigned)q->avail_wrap << 15));
        dma_window_store16(q->device_window, 2, EVENTS_DESC);
    } else if (on == q->quiet) {
        dma_window_store16(q->device_window, 2, on ? EVENTS_ENABLE : EVENTS_DISABLE);
    }
}

static void ask(struct virtio *v, unsigned n, bool on)
{
    struct virtq *q = &v->vq[n];

    if (!q->device_window) {
        return;
    }
    if (virtio_has(v, VIRTIO_F_PACKED)) {
        packed_ask(v, q, on);
    } else {
        split_ask(v, q, on);
    }
    q->quiet = !on;
}

/* ---- taking and giving back ---- */

static void advance(const struct virtq *q, uint16_t *at, bool *wrap, unsigned slots)
{
    unsigned to = *at + slots;

    if (to >= q->size) {
        to -= q->size;
        *wrap = !*wrap;
    }
    *at = (uint16_t)to;
}

/* One look more after the driver was asked to notify: it may have been too early for that. */
static bool available(struct virtio *v, unsigned n, unsigned *first)
{
    if (v->stopped || v->dead || !virtio_runs(v, &v->vq[n]) || !rings(v, n)) {
        return false;
    }
    if (look(v, n, first)) {
        return true;
    }
    if (v->broken) {
        return false;
    }
    ask(v, n, true);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return look(v, n, first);
}

bool virtq_ready(struct virtio *v, unsigned n)
{
    unsigned first;

    return available(v, n, &first);
}

bool virtq_pop(struct virtio *v, unsigned n, struct virtio_chain *c)
{
    struct virtq *q = &v->vq[n];
    bool packed = virtio_has(v, VIRTIO_F_PACKED);
    unsigned first;

    if (!available(v, n, &first)) {
        return false;
    }
    *c = (struct virtio_chain){.piece = v->piece, .turn = q->taken};
    if (packed) {
        if (!packed_chain(v, n, c, first)) {
            return false;
        }
        advance(q, &q->avail, &q->avail_wrap, c->slots);
    } else {
        c->id = (uint16_t)first;
        if (!split_chain(v, n, c)) {
            return false;
        }
        q->avail++;
    }
    q->taken++;
    return true;
}

void virtq_unpop(struct virtio *v, unsigned n, const struct virtio_chain *c)
{
    struct virtq *q = &v->vq[n];

    q->taken--;
    if (!virtio_has(v, VIRTIO_F_PACKED)) {
        q->avail--;
    } else if (q->avail >= c->slots) {
        q->avail -= c->slots;
    } else {
        q->avail += q->size - c->slots;
        q->avail_wrap = !q->avail_wrap;
    }
}

static int split_put(struct virtq *q, const struct virtio_chain *c, uint32_t written)
{
    uint8_t entry[USED_ENTRY];
    int error;

    store_le32(entry, c->id);
    store_le32(entry + 4, written);
    error =
        dma_window_write(q->device_window, RING_ENTRIES + USED_ENTRY * (size_t)(q->used % q->size),
                         entry, sizeof(entry));
    if (error == 0) {
        q->used++;
        dma_window_store16(q->device_window, RING_INDEX, q->used);
        error = dma_window_error(q->device_window);
    }
    return error;
}

static int packed_put(struct virtq *q, const struct virtio_chain *c, uint32_t written)
{
    size_t at = q->used * (size_t)DESCRIPTOR;
    unsigned flags = q->used_wrap ? DESC_AVAIL | DESC_USED : 0;
    bool wrap = q->used_wrap;
    uint8_t entry[6];
    int error;

    store_le32(entry, written);
    store_le16(entry + 4, c->id);
    error = dma_window_write(q->desc_window, at + 8, entry, sizeof(entry));
    if (error == 0) {
        dma_window_store16(q->desc_window, at + 14, (uint16_t)(flags | (written ? DESC_WRITE : 0)));
        error = dma_window_error(q->desc_window);
        advance(q, &q->used, &q->used_wrap, c->slots);
        q->signalled_valid &= wrap == q->used_wrap;
    }
    return error;
}

void virtq_push(struct virtio *v, unsigned n, const struct virtio_chain *c, uint32_t written)
{
    struct virtq *q = &v->vq[n];
    int error;

    q->given++;
    if (!virtio_runs(v, q) || !rings(v, n)) {
        return;
    }
    error = virtio_has(v, VIRTIO_F_PACKED) ? packed_put(q, c, written) : split_put(q, c, written);
    if (error) {
        ring_failed(v, n, error);
    }
}

/* ---- interrupts (2.7.7, 2.8.14) ---- */

static bool passed(uint16_t event, uint16_t now, uint16_t before)
{
    return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

static bool split_wanted(struct virtio *v, struct virtq *q, bool known, uint16_t before)
{
    if (!virtio_has(v, VIRTIO_F_EVENT_INDEX)) {
        return !(dma_window_load16(q->driver_window, RING_FLAGS) & 1);
    }
    return !known || passed(dma_window_load16(q->driver_window, RING_ENTRIES + 2u * q->size),
                            q->used, before);
}

static bool packed_wanted(struct virtio *v, struct virtq *q, bool known, uint16_t before)
{
    uint32_t events = dma_window_load32(q->driver_window, 0);
    unsigned flags = events >> 16 & 3;
    unsigned at = events & 0x7fff;

    if (flags != EVENTS_DESC || !virtio_has(v, VIRTIO_F_EVENT_INDEX)) {
        return flags != EVENTS_DISABLE;
    }
    if ((events >> 15 & 1) != q->used_wrap) {
        at -= q->size;
    }
    return !known || passed((uint16_t)at, q->used, before);
}

static bool interrupt_wanted(struct virtio *v, unsigned n)
{
    struct virtq *q = &v->vq[n];
    bool known = q->signalled_valid, wanted;
    uint16_t before = q->signalled;

    if (!virtio_runs(v, q) || !rings(v, n)) {
        return false;
    }
    q->signalled = q->used;
    q->signalled_valid = true;
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* what was given back before what the driver wants */
    wanted = virtio_has(v, VIRTIO_F_PACKED) ? packed_wanted(v, q, known, before)
                                            : split_wanted(v, q, known, before);
    return wanted || dma_window_error(q->driver_window);
}

static void signal_now(struct virtio *v, unsigned n)
{
    v->vq[n].owed = false;
    if (interrupt_wanted(v, n)) {
        virtio_interrupt_queue(v, n);
    }
}

void virtq_signal_all(struct virtio *v)
{
    for (unsigned n = 0; n < v->queues; n++) {
        if (v->vq[n].owed) {
            signal_now(v, n);
        }
    }
}

static void signal_all(void *opaque)
{
    virtq_signal_all(opaque);
}

static void signal_later(struct virtio *v)
{
    static const struct later_kind kind = {.turn = "virtio interrupts",
                                           .go_on = signal_all,
                                           .part = "interrupts",
                                           .priority = G_PRIORITY_HIGH};

    later_ask(&v->signals, &kind, v, v->pci.dev.id);
}

void virtq_signal(struct virtio *v, unsigned n, bool others)
{
    if (!others || v->stopped) {
        signal_now(v, n);
    } else if (!v->vq[n].owed) {
        v->vq[n].owed = true;
        signal_later(v);
    }
}

/* ---- serving ---- */

/* Returns what is left of the budget. */
static unsigned serve(struct virtio *v, unsigned n, unsigned budget, bool *blocked)
{
    struct virtq *q = &v->vq[n];
    int cost = 1;

    while (budget > 0 && q->hungry && (cost = v->type->serve(v, n)) > 0) {
        budget -= MIN(budget, (unsigned)cost);
    }
    if (cost == VIRTIO_NOTHING && !v->dead) {
        set_hungry(v, q, false);
    } else if (q->hungry && virtio_runs(v, q)) {
        ask(v, n, false); /* it is looked at anyway */
    }
    *blocked = cost == VIRTIO_NO_ROOM || cost == VIRTIO_NOTHING;
    return budget;
}

/* Each queue in its turn: some chains, then the next. True: there is more. */
static bool run_all(struct virtio *v, unsigned budget)
{
    unsigned idle = 0;

    for (bool begun = false; v->hungry > 0 && idle < v->queues; begun = true) {
        unsigned n = v->turn, part = MIN(budget, 4);
        bool blocked = true;

        if (budget == 0 || (begun && tape_late(turn_is_used_up()))) {
            return true;
        }
        v->turn = (v->turn + 1) % v->queues;
        if (v->vq[n].hungry) {
            budget -= part - serve(v, n, part, &blocked);
        }
        idle = blocked ? idle + 1 : 0;
    }
    return false;
}

static void run_more(void *opaque)
{
    struct virtio *v = opaque;

    if (run_all(v, TURN_BUDGET)) {
        virtio_run(v);
    }
}

void virtio_run(struct virtio *v)
{
    static const struct later_kind kind = {.turn = "virtio", .go_on = run_more};

    if (v->hungry && !v->stopped) {
        later_ask(&v->more, &kind, v, v->pci.dev.id);
    }
}

void virtio_sources_stop(struct virtio *v)
{
    later_forget(&v->more);
    later_forget(&v->signals);
}

static void start(struct virtio *v)
{
    if (!v->started) {
        v->started = true;
        if (v->type->started) {
            v->type->started(v);
        }
    }
}

void virtio_notify(struct virtio *v, unsigned n)
{
    bool blocked = false;

    if (n >= v->queues || !virtio_runs(v, &v->vq[n])) {
        log_guest(LOG_VIRTIO, "%s: notification of queue %u, which is not in use", v->pci.dev.id,
                  n);
        return;
    }
    start(v);
    set_hungry(v, &v->vq[n], true);
    if (serve(v, n, ACCESS_BUDGET, &blocked) == 0) {
        virtio_run(v);
    }
}

void virtio_feed(struct virtio *v, unsigned n)
{
    if (virtio_runs(v, &v->vq[n])) {
        start(v);
        set_hungry(v, &v->vq[n], true);
        virtio_run(v);
    }
}

/*
 * After a load, and before every resume: one that goes on does what one that was restored does, so
 * that a recording replays (xendm/tape.h).
 */
void virtio_forget_unsaved(struct virtio *v)
{
    virtio_sources_stop(v);
    for (unsigned n = 0; n < v->queues; n++) {
        struct virtq *q = &v->vq[n];

        virtq_drop_windows(q);
        q->signalled_valid = q->hungry = q->owed = false;
        q->quiet = true; /* maybe: the next ask() writes */
    }
    v->hungry = v->turn = 0;
    v->started = false;
}

/* The driver is ready, the machine was resumed. */
void virtio_feed_all(struct virtio *v)
{
    for (unsigned n = 0; n < v->queues; n++) {
        virtio_feed(v, n);
    }
    virtio_run(v);
}

/* ---- what chains name ---- */

/* Calls `step` for each part of [skip, skip + len) of one side; the bytes that were reached. */
struct span {
    const struct virtio_piece *piece;
    unsigned count;
    uint64_t skip; /* in the first */
};

static struct span span_at(const struct virtio_chain *c, bool in, uint64_t skip)
{
    struct span s = {c->piece + (in ? c->out : 0), in ? c->in : c->out, skip};

    while (s.count > 0 && s.skip >= s.piece->len) {
        s.skip -= s.piece->len;
        s.piece++;
        s.count--;
    }
    return s;
}

/* The next contiguous part, at most `most` bytes; 0: the end. */
static uint32_t span_next(struct span *s, uint64_t most, uint64_t *gpa)
{
    uint32_t len;

    if (s->count == 0 || most == 0) {
        return 0;
    }
    *gpa = s->piece->gpa + s->skip;
    len = (uint32_t)MIN(s->piece->len - s->skip, most);
    s->skip += len;
    if (s->skip == s->piece->len) {
        s->piece++;
        s->count--;
        s->skip = 0;
    }
    return len;
}

int virtio_read(struct virtio *v, const struct virtio_chain *c, uint64_t skip, void *buf,
                size_t len)
{
    return virtio_read_content(v, c, skip, buf, len, DMA_STRUCTURE);
}

int virtio_read_content(struct virtio *v, const struct virtio_chain *c, uint64_t skip, void *buf,
                        size_t len, enum dma_content what)
{
    struct span s = span_at(c, false, skip);
    uint8_t *to = buf;
    int error = 0;

    while (len > 0 && error == 0) {
        uint64_t gpa = 0;
        uint32_t part = span_next(&s, len, &gpa);

        if (part == 0) {
            return -EINVAL;
        }
        error = dma_read_content(&v->pci.dev, gpa, to, part, what);
        what = what == DMA_HEADERS ? DMA_ANYTHING : what; /* the beginning was the first piece's */
        to += part;
        len -= part;
    }
    return error;
}

int virtio_write(struct virtio *v, const struct virtio_chain *c, uint64_t skip, const void *buf,
                 size_t len)
{
    struct span s = span_at(c, true, skip);
    const uint8_t *from = buf;
    int error = 0;

    while (len > 0 && error == 0) {
        uint64_t gpa = 0;
        uint32_t part = span_next(&s, len, &gpa);

        if (part == 0) {
            return -EINVAL;
        }
        error = dma_write(&v->pci.dev, gpa, from, part);
        from += part;
        len -= part;
    }
    return error;
}

bool virtq_may_push(const struct virtio *v, unsigned n, const struct virtio_chain *c)
{
    return !v->pci.dev.dma_blocked &&
           (!virtio_has(v, VIRTIO_F_IN_ORDER) || c->turn == v->vq[n].given);
}

void virtio_chain_keep(struct virtio_chain *kept, unsigned *room, const struct virtio_chain *c)
{
    unsigned count = c->out + c->in;
    struct virtio_piece *own = kept->piece;

    if (*room < count) {
        own = g_renew(struct virtio_piece, own, count);
        *room = count;
    }
    memcpy(own, c->piece, count * sizeof(*own));
    *kept = *c;
    kept->piece = own;
}

uint64_t virtio_pieces_bytes(const struct virtio_piece *p, unsigned count)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < count; i++) {
        bytes += p[i].len;
    }
    return bytes;
}

uint64_t virtio_in_at(const struct virtio_chain *c, uint64_t skip)
{
    struct span s = span_at(c, true, skip);

    XENDM_ASSERT(s.count > 0);
    return s.piece->gpa + s.skip;
}

static bool piece_at(const uint8_t *entry, uint64_t *gpa, uint64_t *len)
{
    const struct virtio_piece *piece = (const void *)entry;

    *gpa = piece->gpa;
    *len = piece->len;
    return true;
}

int64_t virtio_map(struct virtio *v, const struct virtio_chain *c, struct dma_list *l,
                   enum dma_direction direction, uint64_t skip, uint64_t len)
{
    struct span s = span_at(c, direction == DMA_FROM_DEVICE, skip);
    int64_t taken = 0;
    uint64_t gpa = 0;
    uint32_t part;

    for (unsigned i = 0;; i++) {
        int64_t got;

        if (i % DMA_FORESEE_MAX == 0) {
            dma_foresee_fetched(&v->pci.dev, (const uint8_t *)s.piece, s.count, sizeof(*s.piece),
                                piece_at);
        }
        part = span_next(&s, len - (uint64_t)taken, &gpa);
        if (part == 0) {
            break;
        }
        got = dma_list_add(l, gpa, part);
        if (got < 0) {
            return got;
        }
        taken += got;
        if (got < part) {
            break;
        }
    }
    return taken;
}
