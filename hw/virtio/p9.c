/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio 9P transport (the device id is VIRTIO's, the rest is Linux' net/9p/trans_virtio.c and
 * uapi/linux/virtio_9p.h): PCI 1af4:1009, or 1af4:1049 without the legacy registers. A chain has a
 * message to be read and room for its answer. What they say is the server's affair (xendm/p9.h):
 * here they are copied between chains and slots.
 *
 * A reset forgets what the server still works on; its answers come and are dropped. It does not see
 * the guest's memory, so nobody has to wait for it.
 *
 * Saved for another host, the machine finds a server there that knows nothing of its files: as with
 * 9pfs the guest has to mount anew. A live update leaves the server, with its open files, as it is.
 */
#include <errno.h>
#include <string.h>

#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/p9.h>

#include "virtio.h"

#define F_MOUNT_TAG VIRTIO_F(0)

#define TAG_MAX 31u /* QEMU's */
#define CONFIG_BYTES (2u + TAG_MAX)
#define PIECES_MAX (P9_SLOTS * VIRTIO_PIECES)

/* That the server has, or whose answer waits for bus mastering. By its slot. */
struct request {
    bool used;
    bool dead; /* of a driver of the past */
    uint16_t tag;
    uint32_t length;             /* of the answer that waits; 0: none does */
    struct virtio_chain chain;   /* without the part that the device reads */
    struct virtio_piece *pieces; /* its */
};

struct saved {
    uint8_t slot;
    uint16_t tag, id, slots, turn, in;
    uint32_t length;
};

struct virtio_p9 {
    struct virtio virtio; /* first */
    /* properties */
    struct p9_share *share;
    char *tag;

    struct p9_mount *mount;
    bool waits; /* for a slot */
    struct request request[P9_SLOTS];
    uint64_t requests;

    uint32_t saved_count, saved_pieces;
    struct saved saved[P9_SLOTS];
    struct virtio_piece saved_piece[PIECES_MAX];
};

static inline struct virtio_p9 *p9_of(const struct virtio *v)
{
    return (struct virtio_p9 *)v;
}

/* ---- answers ---- */

/* Its slot is the next one's. */
static void request_end(struct virtio_p9 *p, unsigned slot)
{
    struct request *r = &p->request[slot];

    g_free(r->pieces);
    *r = (struct request){0};
    if (p9_mount_holds(p->mount, slot)) {
        p9_mount_give(p->mount, slot);
    }
}

/* The answer goes into the chain. -EPERM: not now. */
static int answer_put(struct virtio_p9 *p, const struct virtio_chain *c, const uint8_t *answer,
                      uint32_t length)
{
    struct virtio *v = &p->virtio;
    int error = length > c->in_bytes ? -EMSGSIZE : virtio_write(v, c, 0, answer, length);

    if (error == -EPERM) {
        return error;
    }
    if (error) {
        virtio_broken(v, 0,
                      error == -EMSGSIZE ? "an answer has no room" : "no memory for an answer");
    }
    virtq_push(v, 0, c, length);
    virtq_signal(v, 0, p9_mount_in_flight(p->mount) > 0);
    return 0;
}

/* A server of the past, on another host, took the answer with it. */
static void answer(struct virtio_p9 *p, unsigned slot)
{
    struct request *r = &p->request[slot];
    uint8_t failure[P9_FAILURE_BYTES];
    int error;

    if (p9_mount_holds(p->mount, slot)) {
        error = answer_put(p, &r->chain, p9_mount_memory(p->mount, slot), r->length);
    } else {
        error = answer_put(p, &r->chain, failure, p9_failure(failure, r->tag));
    }
    if (error != -EPERM) {
        request_end(p, slot);
    }
}

static void on_answered(void *opaque, unsigned slot, uint32_t length)
{
    struct virtio_p9 *p = opaque;
    struct request *r = &p->request[slot];

    if (!r->used || r->dead) {
        request_end(p, slot);
        return;
    }
    r->length = length;
    answer(p, slot);
}

static void on_room(void *opaque)
{
    struct virtio_p9 *p = opaque;

    p->waits = false;
    virtio_run(&p->virtio);
}

static const struct p9_mount_user user = {.answered = on_answered, .room = on_room};

/* ---- requests ---- */

/* How long the message is, from its header; 0: it is none, and the device is broken. */
static uint32_t message_length(struct virtio_p9 *p, const struct virtio_chain *c, uint8_t *header)
{
    struct virtio *v = &p->virtio;
    uint32_t length;

    if (c->out_bytes < P9_MESSAGE_MIN || c->in_bytes < P9_MESSAGE_MIN) {
        virtio_broken(v, 0, "a message, or the room for its answer, is too short");
        return 0;
    }
    if (virtio_read(v, c, 0, header, P9_MESSAGE_MIN) < 0) {
        virtio_broken(v, 0, "a message is in no memory");
        return 0;
    }
    length = load_le32(header);
    if (length < P9_MESSAGE_MIN || length > MIN(c->out_bytes, P9_SLOT_SIZE)) {
        virtio_broken(v, 0, "a message's length");
        return 0;
    }
    return length;
}

static bool send(struct virtio_p9 *p, const struct virtio_chain *c, unsigned slot, uint32_t length,
                 const uint8_t *header)
{
    struct request *r = &p->request[slot];
    bool version = header[4] == P9_VERSION; /* its limit is what the two agree on */

    if (virtio_read_content(&p->virtio, c, 0, p9_mount_memory(p->mount, slot), length,
                            DMA_PAYLOAD) < 0) {
        virtio_broken(&p->virtio, 0, "a message is in no memory");
        p9_mount_give(p->mount, slot);
        return false;
    }
    *r = (struct request){.used = true, .tag = load_le16(header + 5), .chain = *c};
    r->pieces = g_memdup2(c->piece + c->out, c->in * sizeof(*c->piece));
    r->chain.piece = r->pieces;
    r->chain.out = 0;
    p->requests++;
    p9_mount_send(p->mount, slot, length,
                  version ? P9_SLOT_SIZE : (uint32_t)MIN(c->in_bytes, P9_SLOT_SIZE));
    return true;
}

static int p9_serve(struct virtio *v, unsigned n)
{
    struct virtio_p9 *p = p9_of(v);
    uint8_t header[P9_MESSAGE_MIN], failure[P9_FAILURE_BYTES];
    struct virtio_chain c;
    uint32_t length;
    int slot;

    if (p->waits) {
        return VIRTIO_NO_ROOM;
    }
    if (!virtq_pop(v, n, &c)) {
        return VIRTIO_NOTHING;
    }
    length = message_length(p, &c, header);
    if (length == 0) {
        return VIRTIO_NOTHING;
    }
    slot = p9_mount_take(p->mount, header);
    if (slot == -EBUSY) {
        virtq_unpop(v, n, &c);
        p->waits = true;
        return VIRTIO_NO_ROOM;
    }
    if (slot < 0) {
        p->requests++;
        answer_put(p, &c, failure, p9_mount_refuse(p->mount, header, failure));
        return 1;
    }
    if (!send(p, &c, (unsigned)slot, length, header)) {
        return VIRTIO_NOTHING;
    }
    return 1 + (int)(length >> 14) + (c.out + c.in) / 64;
}

/* ---- resets ---- */

static void p9_forget(struct virtio *v, unsigned n)
{
    struct virtio_p9 *p = p9_of(v);

    for (unsigned i = 0; i < P9_SLOTS; i++) {
        if (p->request[i].used && p->request[i].length == 0) {
            p->request[i].dead = true;
        } else if (p->request[i].used) {
            request_end(p, i);
        }
    }
    p->waits = false;
}

static void p9_restart(struct virtio *v)
{
    struct virtio_p9 *p = p9_of(v);

    for (unsigned i = 0; i < P9_SLOTS; i++) {
        if (p->request[i].used && p->request[i].length && !p->request[i].dead) {
            answer(p, i);
        }
    }
}

static uint64_t p9_features(const struct virtio *v)
{
    return F_MOUNT_TAG;
}

static void p9_config(const struct virtio *v, uint8_t *to)
{
    const char *tag = p9_of(v)->tag;

    store_le16(to, (uint32_t)strlen(tag));
    memcpy(to + 2, tag, strlen(tag));
}

static const struct virtio_type type = {
    .name = "9P",
    .id = 9,
    .transitional = 0x1009,
    .config_bytes = CONFIG_BYTES,
    .queue_size = 128,
    .features = p9_features,
    .config = p9_config,
    .serve = p9_serve,
    .forget = p9_forget,
    .restart = p9_restart,
};

/* ---- life ---- */

static int p9_realize(struct device *dev, GError **err)
{
    struct virtio_p9 *p = DEVICE_CAST(struct virtio_p9, dev);

    if (!p->share) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: needs an fsdev", dev->id);
        return -EINVAL;
    }
    if (!p->tag || !p->tag[0] || strlen(p->tag) > TAG_MAX) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: mount_tag=%s: 1 to %u bytes", dev->id,
                    p->tag ? p->tag : "", TAG_MAX);
        return -EINVAL;
    }
    if (virtio_realize(&p->virtio, &type, 1, err) < 0) {
        return -EINVAL;
    }
    p->mount = p9_share_mount(p->share);
    p9_mount_set_user(p->mount, &user, p);
    return 0;
}

static void requests_destroy(struct virtio_p9 *p)
{
    for (unsigned i = 0; i < P9_SLOTS; i++) {
        g_free(p->request[i].pieces);
        p->request[i] = (struct request){0};
    }
}

static void p9_unrealize(struct device *dev)
{
    struct virtio_p9 *p = DEVICE_CAST(struct virtio_p9, dev);

    virtio_unrealize(&p->virtio);
    p9_mount_set_user(p->mount, NULL, NULL);
    for (unsigned i = 0; i < P9_SLOTS; i++) {
        if (p->request[i].used && p->request[i].length) {
            request_end(p, i);
        }
    }
    requests_destroy(p);
}

static void p9_reset(struct device *dev, enum reset_reason why)
{
    struct virtio_p9 *p = DEVICE_CAST(struct virtio_p9, dev);

    virtio_reset(&p->virtio);
    if (why == RESET_COLD) {
        p->requests = 0;
    }
}

static void p9_quiesce(struct device *dev)
{
    virtio_quiesce(&DEVICE_CAST(struct virtio_p9, dev)->virtio);
}

static bool p9_busy(struct device *dev)
{
    return p9_mount_in_flight(DEVICE_CAST(struct virtio_p9, dev)->mount) > 0;
}

static void p9_resume(struct device *dev)
{
    struct virtio_p9 *p = DEVICE_CAST(struct virtio_p9, dev);

    p->waits = false;
    virtio_resume(&p->virtio);
}

static void p9_describe(struct device *dev, struct facts *to)
{
    const struct virtio_p9 *p = DEVICE_CAST(struct virtio_p9, dev);
    unsigned used = 0;

    for (unsigned i = 0; i < P9_SLOTS; i++) {
        used += p->request[i].used;
    }
    virtio_describe(&p->virtio, to);
    fact_text(to, "mount tag", "%s", p->tag);
    fact_int(to, "under way", used);
    fact_int(to, "requests", (int64_t)p->requests);
}

static const struct property properties[] = {
    {.name = "fsdev",
     .type = PROP_BACKEND,
     .offset = offsetof(struct virtio_p9, share),
     .kind = BACKEND_FSDEV,
     .required = true,
     .help = "the directory"},
    {.name = "mount_tag",
     .type = PROP_STRING,
     .offset = offsetof(struct virtio_p9, tag),
     .required = true,
     .help = "the name by which the guest mounts it"},
    VIRTIO_PROPERTIES,
    {.name = NULL},
};

/* ---- saved state ---- */

#define SAVED(kind, f, ...) STATE_FIELD_##kind(struct saved, f, __VA_ARGS__)
#define P(kind, f, ...) STATE_FIELD_##kind(struct virtio_p9, f, __VA_ARGS__)

static const struct state_field saved_fields[] = {
    SAVED(U8, slot, .max = P9_SLOTS - 1),
    SAVED(U16, tag),
    SAVED(U16, id),
    SAVED(U16, slots, .max = VIRTIO_QUEUE_MAX),
    SAVED(U16, turn),
    SAVED(U16, in, .min = 1, .max = VIRTIO_PIECES),
    SAVED(U32, length, .min = P9_MESSAGE_MIN, .max = P9_SLOT_SIZE),
    STATE_FIELD_END,
};

static const struct state_desc saved_state = {.name = "answer",
                                              .version = 1,
                                              .fields = saved_fields};

static const struct state_field fields[] = {
    VIRTIO_STATE(struct virtio_p9),
    STATE_FIELD_STRUCTS_VAR(struct virtio_p9, saved, P9_SLOTS, saved_count, &saved_state),
    STATE_FIELD_STRUCTS_VAR(struct virtio_p9, saved_piece, PIECES_MAX, saved_pieces,
                            &virtio_piece_state),
    P(U64, requests),
    STATE_FIELD_END,
};

/* What the server had came back before the machine was saved; what could not be given is here. */
static void p9_pre_save(void *base)
{
    struct virtio_p9 *p = base;

    p->saved_count = p->saved_pieces = 0;
    for (unsigned i = 0; i < P9_SLOTS; i++) {
        const struct request *r = &p->request[i];

        if (!r->used || r->dead || !r->length) {
            continue;
        }
        p->saved[p->saved_count++] = (struct saved){.slot = (uint8_t)i,
                                                    .tag = r->tag,
                                                    .id = r->chain.id,
                                                    .slots = r->chain.slots,
                                                    .turn = r->chain.turn,
                                                    .in = r->chain.in,
                                                    .length = r->length};
        memcpy(&p->saved_piece[p->saved_pieces], r->pieces, r->chain.in * sizeof(*r->pieces));
        p->saved_pieces += r->chain.in;
    }
}

static bool p9_check(const void *base, GError **err)
{
    const struct virtio_p9 *p = base;
    uint32_t pieces = 0, seen = 0;

    for (unsigned i = 0; i < p->saved_count; i++) {
        pieces += p->saved[i].in;
        if (seen >> p->saved[i].slot & 1) {
            g_set_error(err, STATE_ERROR, EINVAL, "two answers are in slot %u", p->saved[i].slot);
            return false;
        }
        seen |= UINT32_C(1) << p->saved[i].slot;
    }
    if (pieces != p->saved_pieces) {
        g_set_error(err, STATE_ERROR, EINVAL, "%u pieces, and %u of answers", p->saved_pieces,
                    pieces);
        return false;
    }
    return true;
}

static void p9_post_load(void *base)
{
    struct virtio_p9 *p = base;
    const struct virtio_piece *piece = p->saved_piece;

    requests_destroy(p);
    for (unsigned i = 0; i < p->saved_count; i++) {
        const struct saved *s = &p->saved[i];
        struct request *r = &p->request[s->slot];

        *r = (struct request){.used = true, .tag = s->tag, .length = s->length};
        r->pieces = g_memdup2(piece, s->in * sizeof(*piece));
        r->chain = (struct virtio_chain){
            .id = s->id, .slots = s->slots, .turn = s->turn, .in = s->in, .piece = r->pieces};
        for (unsigned k = 0; k < s->in; k++) {
            r->chain.in_bytes += piece[k].len;
        }
        piece += s->in;
    }
    for (unsigned i = 0; i < P9_SLOTS; i++) {
        if (!p->request[i].used && p9_mount_holds(p->mount, i)) {
            p9_mount_give(p->mount, i);
        }
    }
}

static const struct state_desc state = {
    .name = "virtio-9p",
    .version = 1,
    .fields = fields,
    .pre_save = p9_pre_save,
    .check = p9_check,
    .post_load = p9_post_load,
};

static const struct pci_info pci = VIRTIO_PCI_INFO(0x000200, 9);

static const char *const aliases[] = {"virtio-9p", NULL};

const struct device_class virtio_9p_class = {
    .name = "virtio-9p-pci",
    .aliases = aliases,
    .help = "a directory of the host, by virtio",
    .size = sizeof(struct virtio_p9),
    .properties = properties,
    .state = &state,
    .hotplug = true,
    .recorded = true,
    .realize = p9_realize,
    .reset = p9_reset,
    .quiesce = p9_quiesce,
    .busy = p9_busy,
    .resume = p9_resume,
    .unrealize = p9_unrealize,
    .describe = p9_describe,
    .pci = &pci,
};
