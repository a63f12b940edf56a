/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 9pfs: a directory of the host for the guest. Xen's docs/misc/9pfs.pandoc (version 1 of the
 * transport) and io/9pfs.h; libxl's keys (toolstack.md 3.4). What the messages say is the server's
 * affair (xendm/p9.h): here they are moved between rings and slots.
 *
 * A message is taken when it is there whole; its answer goes into the same ring, whole, when there
 * is room. Indices are ours, and what the front end says of its own is held against them. When the
 * server is gone, requests fail with EIO, those that it had among them, until the guest mounts
 * anew, for which another is started.
 *
 * A front end that goes on after xl restore finds a server that knows nothing of its files: Linux'
 * does not try (its resume is "unsupported").
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <xen/xen.h>
#include <xen/grant_table.h>
#include <xen/io/9pfs.h>

#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/grants.h>
#include <xendm/handover.h>
#include <xendm/log.h>
#include <xendm/p9.h>
#include <xendm/turn.h>

#include "internal.h"

#define RINGS_MAX 4u
#define ORDER_MAX 8u /* pages of a ring, as a power of two; the protocol has 1 to 9 */
#define HEADER P9_MESSAGE_MIN
#define TVERSION 100u /* Linux' net/9p/9p.h */
#define RLERROR 7u

struct p9_ring {
    struct xen_9pfs_data_intf *page; /* NULL: not there */
    uint8_t *in, *out;               /* answers, requests */
    uint32_t size, order;            /* bytes of each */
    uint32_t out_cons, in_prod;      /* ours; what stands in the page is for the front end */
};

struct p9fs {
    struct pv_device dev;
    char *path, *model;
    struct p9_link *link; /* NULL: there is no server now */
    struct p9_ring rings[RINGS_MAX];
    unsigned nrings; /* 0: not connected */
    guint more;      /* goes on in the next turn; 0: no */
    bool ended;      /* the server has: it is forgotten then */
    bool stalled;    /* a request waits for a slot */
    struct slot {
        unsigned ring;
        bool sent; /* the server has it */
        uint16_t tag;
        uint32_t waits;   /* an answer of so many bytes, for room; 0: none does */
        uint64_t arrived; /* in this order */
    } slots[P9_SLOTS];
    uint64_t requests, answers, failed, started, waited;
};

static struct p9fs *p9fs_of(struct pv_device *dev)
{
    return (struct p9fs *)dev;
}

/* ---- copying, over the end of a ring ---- */

static void copy_out(const struct p9_ring *r, void *to, uint32_t len)
{
    uint32_t at = r->out_cons & (r->size - 1), first = MIN(len, r->size - at);

    memcpy(to, r->out + at, first);
    memcpy((uint8_t *)to + first, r->out, len - first);
}

static void copy_in(struct p9_ring *r, const void *from, uint32_t len)
{
    uint32_t at = r->in_prod & (r->size - 1), first = MIN(len, r->size - at);

    memcpy(r->in + at, from, first);
    memcpy(r->in, (const uint8_t *)from + first, len - first);
}

/* The front end's index is its own affair: what is no room is none. */
static bool answer_put(struct p9fs *p, unsigned ring, const void *message, uint32_t len)
{
    struct p9_ring *r = &p->rings[ring];
    uint32_t used = r->in_prod - __atomic_load_n(&r->page->in_cons, __ATOMIC_ACQUIRE);

    if (used > r->size || r->size - used < len) {
        return false;
    }
    copy_in(r, message, len);
    r->in_prod += len;
    __atomic_store_n(&r->page->in_prod, r->in_prod, __ATOMIC_RELEASE);
    p->answers++;
    pv_notify_channel(&p->dev, ring);
    return true;
}

/* ---- answers ---- */

static gboolean go_on(gpointer opaque);

static void later(struct p9fs *p)
{
    if (!p->more) {
        p->more = g_idle_add_full(G_PRIORITY_DEFAULT, go_on, p, NULL);
    }
}

static struct slot *first_waiting(struct p9fs *p, unsigned ring)
{
    struct slot *found = NULL;

    for (unsigned i = 0; i < P9_SLOTS; i++) {
        struct slot *s = &p->slots[i];

        if (s->waits && s->ring == ring && (!found || s->arrived < found->arrived)) {
            found = s;
        }
    }
    return found;
}

static void answer_waits(struct p9fs *p, struct slot *s, uint32_t length)
{
    s->waits = length;
    s->arrived = ++p->waited;
}

static void slot_give(struct p9fs *p, unsigned slot)
{
    p9_slot_give(p->link, slot);
    if (p->stalled) {
        p->stalled = false;
        later(p);
    }
}

static void answered(void *opaque, unsigned slot, uint32_t length)
{
    struct p9fs *p = opaque;
    struct slot *s = &p->slots[slot];

    s->sent = false;
    if (first_waiting(p, s->ring) ||
        !answer_put(p, s->ring, p9_slot_memory(p->link, slot), length)) {
        answer_waits(p, s, length);
    } else {
        slot_give(p, slot);
    }
}

/* There may be room by now. */
static void put_waiting(struct p9fs *p, unsigned ring)
{
    struct slot *s;

    while ((s = first_waiting(p, ring))) {
        unsigned slot = (unsigned)(s - p->slots);

        if (!answer_put(p, ring, p9_slot_memory(p->link, slot), s->waits)) {
            return;
        }
        s->waits = 0;
        slot_give(p, slot);
    }
}

/* ---- the server ---- */

static uint32_t put_failure(uint8_t *to, uint16_t tag)
{
    const uint8_t answer[] = {11,  0, 0, 0, RLERROR, (uint8_t)tag, (uint8_t)(tag >> 8),
                              EIO, 0, 0, 0};

    memcpy(to, answer, sizeof(answer));
    return sizeof(answer);
}

/* From inside of the link, which is freed when the loop comes round and all answers are put. */
static void ended(void *opaque)
{
    struct p9fs *p = opaque;

    for (unsigned i = 0; i < P9_SLOTS; i++) {
        if (p->slots[i].sent) {
            p->failed++;
            answered(p, i, put_failure(p9_slot_memory(p->link, i), p->slots[i].tag));
        }
    }
    log_warning(LOG_BACKEND,
                "%s: the server of '%s' has ended: what is mounted fails until it is "
                "mounted anew",
                pv_name(&p->dev), p->path);
    p->ended = true;
    later(p);
}

static const struct p9_user user = {.answered = answered, .ended = ended};

static void end_server(struct p9fs *p)
{
    g_clear_pointer(&p->link, p9_link_free);
    memset(p->slots, 0, sizeof(p->slots));
    p->ended = p->stalled = false;
}

/* False: answers of the one that has ended wait for room. */
static bool forget_ended(struct p9fs *p)
{
    for (unsigned i = 0; p->ended && i < P9_SLOTS; i++) {
        if (p->slots[i].waits) {
            return false;
        }
    }
    if (p->ended) {
        end_server(p);
    }
    return true;
}

static int start_server(struct p9fs *p, GError **err)
{
    if (!p->link) {
        p->link = p9_link_new(p->path, p->model, &user, p, err);
        p->started += p->link != NULL;
    }
    return p->link ? 0 : -EIO;
}

/* ---- requests ---- */

static uint32_t u32_at(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* Instead of the server. False: there is no room for it now. */
static bool fail_request(struct p9fs *p, unsigned ring, uint16_t tag)
{
    uint8_t answer[16];

    return answer_put(p, ring, answer, put_failure(answer, tag));
}

static void consumed(struct p9fs *p, unsigned ring, uint32_t len, bool was_full)
{
    struct p9_ring *r = &p->rings[ring];

    r->out_cons += len;
    __atomic_store_n(&r->page->out_cons, r->out_cons, __ATOMIC_RELEASE);
    p->requests++;
    if (was_full) { /* somebody may wait for room; else the answer's event is enough */
        pv_notify_channel(&p->dev, ring);
    }
}

/* One that is there whole. False: not now. */
static bool take(struct p9fs *p, unsigned ring, const uint8_t *header, uint32_t len, bool was_full)
{
    struct p9_ring *r = &p->rings[ring];
    uint16_t tag = (uint16_t)(header[5] | header[6] << 8);
    int slot;

    if (!forget_ended(p)) {
        return false;
    }
    if (!p->link && (header[4] != TVERSION || start_server(p, NULL) < 0)) {
        if (!fail_request(p, ring, tag)) {
            return false;
        }
        p->failed++;
        consumed(p, ring, len, was_full);
        return true;
    }
    slot = p9_slot_take(p->link);
    if (slot < 0) {
        p->stalled = true;
        return false;
    }
    p->slots[slot] = (struct slot){.ring = ring, .tag = tag, .sent = true};
    copy_out(r, p9_slot_memory(p->link, (unsigned)slot), len);
    consumed(p, ring, len, was_full);
    p9_slot_send(p->link, (unsigned)slot, len, r->size);
    return true;
}

/* The next message of a ring. False: there is none that could be taken. */
static bool take_next(struct p9fs *p, unsigned ring)
{
    struct p9_ring *r = &p->rings[ring];
    uint32_t used = __atomic_load_n(&r->page->out_prod, __ATOMIC_ACQUIRE) - r->out_cons, len;
    uint8_t header[HEADER];

    if (used > r->size) {
        pv_fail(&p->dev, "its ring has more bytes than it has room for");
        return false;
    }
    if (used < HEADER) {
        return false;
    }
    copy_out(r, header, HEADER);
    len = u32_at(header);
    if (len < HEADER || len > MIN(r->size, P9_SLOT_SIZE)) {
        pv_fail(&p->dev, "a message of %u bytes", len);
        return false;
    }
    return used >= len && take(p, ring, header, len, used > r->size / 2);
}

/* A message of each ring in turn. */
static void run(struct p9fs *p)
{
    bool any = true;

    while (any && p->nrings > 0 && !pv_paused(&p->dev)) {
        any = false;
        for (unsigned i = 0; i < p->nrings; i++) {
            any |= take_next(p, i);
        }
        if (any && turn_is_used_up()) {
            later(p);
            return;
        }
    }
}

static gboolean go_on(gpointer opaque)
{
    struct p9fs *p = opaque;

    turn_of("9pfs");
    p->more = 0;
    forget_ended(p);
    run(p);
    return G_SOURCE_REMOVE;
}

/* ---- the connection ---- */

static int p9fs_offer(struct pv_device *dev, GError **err)
{
    struct p9fs *p = p9fs_of(dev);
    g_autofree char *path = pv_read(dev, false, "path");
    g_autofree char *model = pv_read(dev, false, "security_model");

    if (!path || !model) {
        g_set_error(err, XENDM_ERROR, ENOENT, "its %s is not there",
                    path ? "security_model" : "path");
        return -ENOENT;
    }
    if (g_strcmp0(path, p->path) != 0 || g_strcmp0(model, p->model) != 0) {
        end_server(p);
        g_free(p->path);
        g_free(p->model);
        p->path = g_steal_pointer(&path);
        p->model = g_steal_pointer(&model);
    }
    if (p->ended) { /* what it had is of nobody any more */
        end_server(p);
    }
    if (start_server(p, err) < 0) {
        return -EIO;
    }
    pv_write(dev, "versions", "1");
    pv_write(dev, "max-rings", "%u", RINGS_MAX);
    pv_write(dev, "max-ring-page-order", "%u", ORDER_MAX);
    return 0;
}

static int read_key(struct pv_device *dev, const char *key, unsigned number, uint32_t *value,
                    GError **err)
{
    g_autofree char *numbered = g_strdup_printf("%s%u", key, number);
    uint64_t read = 0;
    int rc = pv_read_uint(dev, true, numbered, UINT32_MAX, &read);

    if (rc < 0) {
        g_set_error(err, XENDM_ERROR, -rc, "its %s is no number: %s", numbered, g_strerror(-rc));
    }
    *value = (uint32_t)read;
    return rc;
}

static int read_version(struct pv_device *dev, uint64_t *rings, GError **err)
{
    g_autofree char *version = pv_read(dev, true, "version");

    if (g_strcmp0(version, "1") != 0) {
        g_set_error(err, XENDM_ERROR, ENOTSUP, "its version '%s' is not 1", version ? version : "");
        return -ENOTSUP;
    }
    if (pv_read_uint(dev, true, "num-rings", RINGS_MAX, rings) < 0 || *rings == 0) {
        g_set_error(err, XENDM_ERROR, EINVAL, "its num-rings is not 1 to %u", RINGS_MAX);
        return -EINVAL;
    }
    return 0;
}

static int p9fs_connect(struct pv_device *dev, GError **err)
{
    uint64_t rings = 0;
    uint32_t ref = 0, port = 0;
    int rc = read_version(dev, &rings, err);

    rc = rc ? rc : read_key(dev, "ring-ref", 0, &ref, err);
    rc = rc ? rc : read_key(dev, "event-channel-", 0, &port, err);
    return rc ? rc : pv_attach(dev, &ref, 1, port, err);
}

static void ring_set(struct p9_ring *r, void *page, uint8_t *data, uint32_t order)
{
    r->page = page;
    r->order = order;
    r->size = (uint32_t)XEN_FLEX_RING_SIZE(order);
    r->in = data;
    r->out = data + r->size;
}

/* The page says where the data is; it is read once. */
static int ring_map(struct p9fs *p, unsigned ring, void *page, GError **err)
{
    struct xen_9pfs_data_intf *intf = page;
    struct p9_ring *r = &p->rings[ring];
    uint32_t order = __atomic_load_n(&intf->ring_order, __ATOMIC_RELAXED);
    uint32_t refs[1u << ORDER_MAX];
    uint8_t *data;

    if (order < 1 || order > ORDER_MAX) {
        g_set_error(err, XENDM_ERROR, EINVAL, "its ring_order %u is not 1 to %u", order, ORDER_MAX);
        return -EINVAL;
    }
    memcpy(refs, intf->ref, sizeof(refs[0]) << order);
    data = pv_map_more(&p->dev, refs, 1u << order, err);
    if (!data) {
        return -EIO;
    }
    ring_set(r, page, data, order);
    /* A front end that has lived with another back end goes on where that was. */
    r->out_cons = __atomic_load_n(&intf->out_cons, __ATOMIC_RELAXED);
    r->in_prod = __atomic_load_n(&intf->in_prod, __ATOMIC_RELAXED);
    return 0;
}

static int ring_open(struct p9fs *p, unsigned ring, GError **err)
{
    uint32_t ref = 0, port = 0;
    void *page;
    int rc = read_key(&p->dev, "ring-ref", ring, &ref, err);

    rc = rc ? rc : read_key(&p->dev, "event-channel-", ring, &port, err);
    if (rc < 0) {
        return rc;
    }
    page = pv_map_more(&p->dev, &ref, 1, err);
    rc = page ? ring_map(p, ring, page, err) : -EIO;
    rc = rc ? rc : pv_bind_more(&p->dev, port, err);
    return MIN(rc, 0);
}

/* What was mapped, in its order: the data of ring 0; page and data of each that follows. */
static int rings_resume(struct p9fs *p, const struct handover *from, const char *group,
                        GError **err)
{
    int64_t rings = handover_int(from, group, "rings", 0);

    for (unsigned i = 0; i < CLAMP(rings, 0, RINGS_MAX); i++) {
        g_autofree char *out = g_strdup_printf("out %u", i), *in = g_strdup_printf("in %u", i);
        unsigned pages = 0, one = 1;
        void *page = i == 0 ? p->dev.ring : pv_more(&p->dev, 2 * i - 1, &one);
        uint8_t *data = pv_more(&p->dev, 2 * i, &pages);

        if (!page || one != 1 || pages < 2 || pages > 1u << ORDER_MAX || (pages & (pages - 1))) {
            g_set_error(err, XENDM_ERROR, EINVAL, "what is left of ring %u is none", i);
            return -EINVAL;
        }
        ring_set(&p->rings[i], page, data, (uint32_t)__builtin_ctz(pages));
        p->rings[i].out_cons = (uint32_t)handover_int(from, group, out, 0);
        p->rings[i].in_prod = (uint32_t)handover_int(from, group, in, 0);
        p->nrings++;
    }
    return 0;
}

static int p9fs_attached(struct pv_device *dev, const struct handover *from, const char *group,
                         GError **err)
{
    struct p9fs *p = p9fs_of(dev);
    uint64_t rings = 0;
    int rc;

    if (from) {
        return rings_resume(p, from, group, err);
    }
    rc = read_version(dev, &rings, err);
    rc = rc ? rc : ring_map(p, 0, dev->ring, err);
    for (unsigned i = 1; rc == 0 && i < rings; i++) {
        rc = ring_open(p, i, err);
    }
    p->nrings = rc == 0 ? (unsigned)rings : 0;
    return rc;
}

static void p9fs_event(struct pv_device *dev)
{
    struct p9fs *p = p9fs_of(dev);

    pv_unmask(dev); /* before the look at the rings: what comes behind it rings again */
    for (unsigned i = 0; i < p->nrings; i++) {
        put_waiting(p, i);
    }
    run(p);
}

/* Whoever goes does not want his answers; a server that is still at them is of no more use. */
static void p9fs_disconnect(struct pv_device *dev)
{
    struct p9fs *p = p9fs_of(dev);

    p->nrings = 0;
    g_clear_handle_id(&p->more, g_source_remove);
    if (p->link && p9_in_flight(p->link) > 0) {
        end_server(p);
    }
    for (unsigned i = 0; p->link && i < P9_SLOTS; i++) {
        if (p->slots[i].waits) {
            p->slots[i].waits = 0;
            p9_slot_give(p->link, i);
        }
    }
    p->stalled = false;
    if (p->ended) {
        end_server(p);
    }
}

static bool p9fs_busy(const struct pv_device *dev)
{
    const struct p9fs *p = (const struct p9fs *)dev;

    return p->link && p9_in_flight(p->link) > 0;
}

static void p9fs_removed(struct pv_device *dev, bool gone)
{
    struct p9fs *p = p9fs_of(dev);

    g_clear_handle_id(&p->more, g_source_remove);
    end_server(p);
    g_free(p->path);
    g_free(p->model);
}

/* ---- live update: the server goes on ---- */

/* "SLOT RING BYTES", in the order in which they wait. */
static char *list_waiting(const struct p9fs *p)
{
    GString *list = g_string_new(NULL);
    struct p9fs copy = *p;

    for (unsigned ring = 0; ring < p->nrings; ring++) {
        struct slot *s;

        while ((s = first_waiting(&copy, ring))) {
            g_string_append_printf(list, "%u %u %u\n", (unsigned)(s - copy.slots), ring, s->waits);
            s->waits = 0;
        }
    }
    return g_string_free(list, FALSE);
}

static void read_waiting(struct p9fs *p, const char *list)
{
    unsigned slot, ring, bytes;

    for (int n = 0; list && sscanf(list, "%u %u %u\n%n", &slot, &ring, &bytes, &n) == 3;
         list += n) {
        if (slot < P9_SLOTS && ring < RINGS_MAX && bytes <= P9_SLOT_SIZE) {
            p->slots[slot].ring = ring;
            answer_waits(p, &p->slots[slot], bytes);
        }
    }
}

static void p9fs_hand_over(const struct pv_device *dev, struct handover *to, const char *group)
{
    const struct p9fs *p = (const struct p9fs *)dev;
    g_autofree char *waiting = list_waiting(p);

    if (p->path) {
        handover_put_text(to, group, "path", p->path);
        handover_put_text(to, group, "model", p->model);
    }
    handover_put_int(to, group, "rings", p->nrings);
    for (unsigned i = 0; i < p->nrings; i++) {
        g_autofree char *out = g_strdup_printf("out %u", i), *in = g_strdup_printf("in %u", i);

        handover_put_int(to, group, out, p->rings[i].out_cons);
        handover_put_int(to, group, in, p->rings[i].in_prod);
    }
    if (p->link) {
        handover_put_int(to, group, "served", 1);
        handover_put_text(to, group, "waiting", waiting);
        p9_link_hand_over(p->link, to, group);
    }
}

static int p9fs_take_over(struct pv_device *dev, const struct handover *from, const char *group,
                          GError **err)
{
    struct p9fs *p = p9fs_of(dev);
    g_autofree char *waiting = handover_text(from, group, "waiting");

    p->path = handover_text(from, group, "path");
    p->model = handover_text(from, group, "model");
    if (!handover_int(from, group, "served", 0)) {
        return 0;
    }
    read_waiting(p, waiting);
    p->link = p9_link_take_over(from, group, &user, p, err);
    return p->link ? 0 : -EIO;
}

static void p9fs_describe(const struct pv_device *dev, struct facts *to)
{
    const struct p9fs *p = (const struct p9fs *)dev;

    fact_text(to, "path", "%s", p->path ? p->path : "");
    fact_text(to, "security model", "%s", p->model ? p->model : "");
    fact_int(to, "rings", p->nrings);
    fact_int(to, "requests", (int64_t)p->requests);
    fact_int(to, "in flight", p->link ? p9_in_flight(p->link) : 0);
    fact_int(to, "failed without a server", (int64_t)p->failed);
    fact_int(to, "servers started", (int64_t)p->started);
}

const struct pv_class pv_p9_class = {
    .kind = "9pfs",
    .size = sizeof(struct p9fs),
    .offer = p9fs_offer,
    .connect = p9fs_connect,
    .take_over = p9fs_take_over,
    .attached = p9fs_attached,
    .event = p9fs_event,
    .disconnect = p9fs_disconnect,
    .busy = p9fs_busy,
    .removed = p9fs_removed,
    .hand_over = p9fs_hand_over,
    .describe = p9fs_describe,
};
