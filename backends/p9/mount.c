/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest mounts: a server, which may end, and begin anew when the guest does. Whoever carries
 * the messages sees slots; see xendm/p9.h.
 */
#include <errno.h>
#include <string.h>

#include <xendm/bytes.h>
#include <xendm/facts.h>
#include <xendm/handover.h>
#include <xendm/log.h>
#include <xendm/p9.h>
#include <xendm/tape.h>

#define RLERROR 7u /* Linux' net/9p/9p.h */

struct p9_mount {
    struct p9_tree tree;
    const struct p9_mount_user *user;
    void *opaque;
    struct p9_link *link; /* NULL: there is no server now */
    bool ended;           /* it is of the past, and answers of it are still to be taken */
    bool starved;         /* somebody waits for a slot */
    uint32_t taken, sent; /* slots, by bit */
    uint16_t tag[P9_SLOTS];
    uint64_t requests, failed, started;
    char *name;      /* on the tape; NULL: it is not the machine's */
    uint8_t *played; /* a replay's slots */
};

struct p9_mount *p9_mount_new(const struct p9_tree *tree, const struct p9_mount_user *user,
                              void *opaque)
{
    struct p9_mount *m = g_new0(struct p9_mount, 1);

    m->tree.path = g_strdup(tree->path);
    m->tree.model = g_strdup(tree->model);
    m->tree.read_only = tree->read_only;
    p9_mount_set_user(m, user, opaque);
    return m;
}

void p9_mount_free(struct p9_mount *m)
{
    if (m) {
        p9_mount_end(m);
        g_free(m->tree.path);
        g_free(m->tree.model);
        g_free(m->name);
        g_free(m->played);
        g_free(m);
    }
}

void p9_mount_set_user(struct p9_mount *m, const struct p9_mount_user *user, void *opaque)
{
    m->user = user;
    m->opaque = opaque;
}

void p9_mount_record(struct p9_mount *m, const char *name)
{
    m->name = g_strdup(name);
}

static bool is_taped(const struct p9_mount *m)
{
    return tape_on() && m->name;
}

static bool is_played(const struct p9_mount *m)
{
    return tape_plays() && m->name;
}

uint32_t p9_failure(uint8_t *to, uint16_t tag)
{
    store_le32(to, P9_FAILURE_BYTES);
    to[4] = RLERROR;
    store_le16(to + 5, tag);
    store_le32(to + 7, EIO);
    return P9_FAILURE_BYTES;
}

/* ---- the server ---- */

static void deliver(struct p9_mount *m, unsigned slot, uint32_t length)
{
    m->sent &= ~(UINT32_C(1) << slot);
    if (m->user) {
        m->user->answered(m->opaque, slot, length);
    } else {
        p9_mount_give(m, slot);
    }
}

static void answered(void *opaque, unsigned slot, uint32_t length)
{
    struct p9_mount *m = opaque;

    if (!m->name) {
        deliver(m, slot, length);
    } else if (tape_enter(TAPE_P9_DONE, m->name, (uint64_t[]){slot, length},
                          p9_mount_memory(m, slot), length)) {
        deliver(m, slot, length);
        tape_leave();
    }
}

/* From inside of the link, which is freed when nothing of it is needed and a request comes. */
static void ended(void *opaque)
{
    struct p9_mount *m = opaque;

    log_warning(LOG_BACKEND,
                "9P: the server of '%s' has ended: what is mounted fails until it is mounted anew",
                m->tree.path);
    m->ended = true;
    for (unsigned i = 0; i < P9_SLOTS; i++) {
        if (m->sent >> i & 1) {
            m->failed++;
            answered(m, i, p9_failure(p9_slot_memory(m->link, i), m->tag[i]));
        }
    }
}

static const struct p9_user link_user = {.answered = answered, .ended = ended};

void p9_mount_end(struct p9_mount *m)
{
    g_clear_pointer(&m->link, p9_link_free);
    m->taken = m->sent = 0;
    m->ended = m->starved = false;
}

int p9_mount_start(struct p9_mount *m, GError **err)
{
    if (m->ended && !m->taken) { /* what it had is of nobody any more */
        p9_mount_end(m);
    }
    if (!m->link) {
        m->link = p9_link_new(&m->tree, &link_user, m, err);
        m->started += m->link != NULL;
    }
    return m->link ? 0 : -EIO;
}

bool p9_mount_served(const struct p9_mount *m)
{
    return m->link && !m->ended;
}

/* ---- requests ---- */

static int take_now(struct p9_mount *m, const uint8_t *header)
{
    if (m->ended && m->taken) {
        return -EBUSY;
    }
    if (m->ended) {
        p9_mount_end(m);
    }
    if (!m->link && (header[4] != P9_VERSION || p9_mount_start(m, NULL) < 0)) {
        return -EIO;
    }
    return p9_slot_take(m->link);
}

/* The same, or what it was. */
static int take_taped(struct p9_mount *m, const uint8_t *header)
{
    uint64_t n = tape_plays() ? 0 : (uint64_t)(int64_t)take_now(m, header);

    tape_fact(TAPE_P9_TAKE, m->name, &n, NULL, 0);
    if ((int64_t)n >= (int64_t)P9_SLOTS || (int64_t)n < -(int64_t)TAPE_ERRNO_MAX ||
        ((int64_t)n >= 0 && tape_plays() && (m->taken >> n & 1))) {
        tape_cannot("there is no such slot for a message");
    }
    return (int)n;
}

int p9_mount_take(struct p9_mount *m, const uint8_t *header)
{
    int slot = is_taped(m) ? take_taped(m, header) : take_now(m, header);

    m->starved = m->starved || slot == -EBUSY;
    if (slot < 0) {
        return slot;
    }
    m->requests++;
    m->taken |= UINT32_C(1) << slot;
    m->tag[slot] = load_le16(header + 5);
    return slot;
}

uint32_t p9_mount_refuse(struct p9_mount *m, const uint8_t *header, uint8_t *answer)
{
    m->requests++;
    m->failed++;
    return p9_failure(answer, load_le16(header + 5));
}

void p9_mount_send(struct p9_mount *m, unsigned slot, uint32_t length, uint32_t limit)
{
    m->sent |= UINT32_C(1) << slot;
    if (is_taped(m)) {
        tape_fact(TAPE_P9_SEND, m->name, (uint64_t[]){slot, length, limit},
                  p9_mount_memory(m, slot), length);
    }
    if (!is_played(m)) {
        p9_slot_send(m->link, slot, length, limit);
    }
}

void p9_mount_give(struct p9_mount *m, unsigned slot)
{
    m->taken &= ~(UINT32_C(1) << slot);
    if (!is_played(m)) {
        p9_slot_give(m->link, slot);
    }
    if (m->starved && m->user) {
        m->starved = false;
        m->user->room(m->opaque);
    }
}

bool p9_mount_holds(const struct p9_mount *m, unsigned slot)
{
    return m->taken >> slot & 1;
}

uint8_t *p9_mount_memory(struct p9_mount *m, unsigned slot)
{
    if (!is_played(m)) {
        return p9_slot_memory(m->link, slot);
    }
    if (!m->played) {
        m->played = g_malloc0((size_t)P9_SLOTS * P9_SLOT_SIZE);
    }
    return m->played + (size_t)slot * P9_SLOT_SIZE;
}

bool p9_mount_play(struct p9_mount *m, const struct tape_entry *e)
{
    uint64_t slot = e->number[0];
    uint8_t *memory;

    if (slot >= P9_SLOTS || !(m->sent >> slot & 1) || e->len > P9_SLOT_SIZE ||
        e->number[1] != e->len) {
        return false;
    }
    memory = p9_mount_memory(m, (unsigned)slot);
    memset(memory, 0, e->len);
    if (e->data) {
        memcpy(memory, e->data, e->len);
    }
    deliver(m, (unsigned)slot, (uint32_t)e->len);
    return true;
}

unsigned p9_mount_in_flight(const struct p9_mount *m)
{
    return (unsigned)__builtin_popcount(m->sent);
}

/* ---- live update: the server goes on ---- */

void p9_mount_hand_over(const struct p9_mount *m, struct handover *to, const char *group)
{
    handover_put_int(to, group, "served", m->link != NULL);
    if (m->link) {
        p9_link_hand_over(m->link, to, group);
    }
}

int p9_mount_take_over(struct p9_mount *m, const struct handover *from, const char *group,
                       GError **err)
{
    if (!handover_int(from, group, "served", 0)) {
        return 0;
    }
    m->link = p9_link_take_over(from, group, &link_user, m, err);
    m->taken = m->link ? p9_slots_taken(m->link) : 0;
    return m->link ? 0 : -EIO;
}

void p9_mount_describe(const struct p9_mount *m, struct facts *to)
{
    fact_text(to, "path", "%s", m->tree.path);
    fact_text(to, "security model", "%s", m->tree.model);
    fact_bool(to, "read only", m->tree.read_only);
    fact_int(to, "requests", (int64_t)m->requests);
    fact_int(to, "in flight", p9_mount_in_flight(m));
    fact_int(to, "failed without a server", (int64_t)m->failed);
    fact_int(to, "servers started", (int64_t)m->started);
}
