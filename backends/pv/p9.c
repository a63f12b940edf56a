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

#include <xendm/bytes.h>
#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/grants.h>
#include <xendm/handover.h>
#include <xendm/log.h>
#include <xendm/later.h>
#include <xendm/p9.h>
#include <xendm/turn.h>

#include "internal.h"

#define RINGS_MAX 4u
#define ORDER_MAX 8u /* pages of a ring, as a power of two; the protocol has 1 to 9 */
#define HEADER P9_MESSAGE_MIN

struct p9_ring {
    struct xen_9pfs_data_intf *page; /* NULL: not there */
    uint8_t *in, *out;               /* answers, requests */
    uint32_t size, order;            /* bytes of each */
    uint32_t out_cons, in_prod;      /* ours; what stands in the page is for the front end */
};

struct p9fs {
    struct pv_device dev;
    char *path, *model;
    struct p9_mount *mount; /* NULL: not offered yet */
    struct p9_ring rings[RINGS_MAX];
    unsigned nrings; /* 0: not connected */
    struct later more;
    struct slot {
        unsigned ring;
        uint32_t waits;   /* an answer of so many bytes, for room; 0: none does */
        uint64_t arrived; /* in this order */
    } slots[P9_SLOTS];
    uint64_t answers, waited;
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

static void go_on(void *opaque);

static void later(struct p9fs *p)
{
    static const struct later_kind kind = {.turn = "9pfs", .go_on = go_on};

    later_ask(&p->more, &kind, p, NULL);
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

static void answered(void *opaque, unsigned slot, uint32_t length)
{
    struct p9fs *p = opaque;
    struct slot *s = &p->slots[slot];

    if (first_waiting(p, s->ring) ||
        !answer_put(p, s->ring, p9_mount_memory(p->mount, slot), length)) {
        answer_waits(p, s, length);
    } else {
        p9_mount_give(p->mount, slot);
    }
}

static void room(void *opaque)
{
    later(opaque);
}

static const struct p9_mount_user user = {.answered = answered, .room = room};

/* There may be room by now. */
static void put_waiting(struct p9fs *p, unsigned ring)
{
    struct slot *s;

    while ((s = first_waiting(p, ring))) {
        unsigned slot = (unsigned)(s - p->slots);

        if (!answer_put(p, ring, p9_mount_memory(p->mount, slot), s->waits)) {
            return;
        }
        s->waits = 0;
        p9_mount_give(p->mount, slot);
    }
}

static void end_server(struct p9fs *p)
{
    if (p->mount) {
        p9_mount_end(p->mount);
    }
    memset(p->slots, 0, sizeof(p->slots));
}

/* ---- requests ---- */

static void consumed(struct p9fs *p, unsigned ring, uint32_t len, bool was_full)
{
    struct p9_ring *r = &p->rings[ring];

    r->out_cons += len;
    __atomic_store_n(&r->page->out_cons, r->out_cons, __ATOMIC_RELEASE);
    if (was_full) { /* somebody may wait for room; else the answer's event is enough */
        pv_notify_channel(&p->dev, ring);
    }
}

/* Instead of the server. False: there is no room for it now. */
static bool refuse(struct p9fs *p, unsigned ring, const uint8_t *header)
{
    uint8_t answer[P9_FAILURE_BYTES];

    p9_failure(answer, (uint16_t)(header[5] | header[6] << 8));
    if (!answer_put(p, ring, answer, sizeof(answer))) {
        return false;
    }
    p9_mount_refuse(p->mount, header, answer);
    return true;
}

/* One that is there whole. False: not now. */
static bool take(struct p9fs *p, unsigned ring, const uint8_t *header, uint32_t len, bool was_full)
{
    struct p9_ring *r = &p->rings[ring];
    int slot = p9_mount_take(p->mount, header);

    if (slot == -EBUSY || (slot < 0 && !refuse(p, ring, header))) {
        return false;
    }
    if (slot < 0) {
        consumed(p, ring, len, was_full);
        return true;
    }
    p->slots[slot] = (struct slot){.ring = ring};
    copy_out(r, p9_mount_memory(p->mount, (unsigned)slot), len);
    consumed(p, ring, len, was_full);
    p9_mount_send(p->mount, (unsigned)slot, len, r->size);
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
    len = load_le32(header);
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

static void go_on(void *opaque)
{
    run(opaque);
}

/* ---- the connection ---- */

static void set_tree(struct p9fs *p, char *path, char *model)
{
    struct p9_tree tree = {path, model, false};

    end_server(p);
    g_clear_pointer(&p->mount, p9_mount_free);
    g_free(p->path);
    g_free(p->model);
    p->path = path;
    p->model = model;
    p->mount = p9_mount_new(&tree, &user, p);
}

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
        set_tree(p, g_steal_pointer(&path), g_steal_pointer(&model));
    }
    if (!p9_mount_served(p->mount)) { /* what the last one had is of nobody any more */
        end_server(p);
    }
    if (p9_mount_start(p->mount, err) < 0) {
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

    return pv_read_u32(dev, numbered, value, err);
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
    later_forget(&p->more);
    if (p->mount && (p9_mount_in_flight(p->mount) > 0 || !p9_mount_served(p->mount))) {
        end_server(p);
    }
    for (unsigned i = 0; i < P9_SLOTS; i++) {
        if (p->slots[i].waits) {
            p->slots[i].waits = 0;
            p9_mount_give(p->mount, i);
        }
    }
}

static bool p9fs_busy(const struct pv_device *dev)
{
    const struct p9fs *p = (const struct p9fs *)dev;

    return p->mount && p9_mount_in_flight(p->mount) > 0;
}

static void p9fs_removed(struct pv_device *dev, bool gone)
{
    struct p9fs *p = p9fs_of(dev);

    later_forget(&p->more);
    p9_mount_free(p->mount);
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
    if (p->mount) {
        handover_put_text(to, group, "waiting", waiting);
        p9_mount_hand_over(p->mount, to, group);
    }
}

static int p9fs_take_over(struct pv_device *dev, const struct handover *from, const char *group,
                          GError **err)
{
    struct p9fs *p = p9fs_of(dev);
    g_autofree char *waiting = handover_text(from, group, "waiting");

    char *path = handover_text(from, group, "path");

    if (!path) {
        return 0;
    }
    set_tree(p, path, handover_text(from, group, "model"));
    if (handover_int(from, group, "served", 0)) {
        read_waiting(p, waiting);
    }
    return p9_mount_take_over(p->mount, from, group, err);
}

static void p9fs_describe(const struct pv_device *dev, struct facts *to)
{
    const struct p9fs *p = (const struct p9fs *)dev;

    if (p->mount) {
        p9_mount_describe(p->mount, to);
    }
    fact_int(to, "rings", p->nrings);
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
