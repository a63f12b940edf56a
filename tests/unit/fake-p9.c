/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See fake-p9.h. */
#include <string.h>

#include <xendm/p9.h>

#include "fake-p9.h"

struct p9_link {
    const struct p9_user *user;
    void *opaque;
    uint32_t taken, sent, limit[P9_SLOTS];
    bool ended;
    uint8_t *memory;
};

bool fake_p9_refuses;
unsigned fake_p9_links;
static struct p9_link *the_link;

struct p9_link *p9_link_new(const struct p9_tree *tree, const struct p9_user *user, void *opaque,
                            GError **err)
{
    struct p9_link *l = fake_p9_refuses ? NULL : g_new0(struct p9_link, 1);

    if (!l) {
        g_set_error(err, G_FILE_ERROR, G_FILE_ERROR_NOENT, "there is no '%s'", tree->path);
        return NULL;
    }
    l->user = user;
    l->opaque = opaque;
    l->memory = g_malloc((size_t)P9_SLOTS * P9_SLOT_SIZE);
    fake_p9_links++;
    return the_link = l;
}

void p9_link_free(struct p9_link *l)
{
    if (l) {
        the_link = the_link == l ? NULL : the_link;
        fake_p9_links--;
        g_free(l->memory);
        g_free(l);
    }
}

int p9_slot_take(struct p9_link *l)
{
    for (int i = 0; i < (int)P9_SLOTS; i++) {
        if (!l->ended && !(l->taken >> i & 1)) {
            l->taken |= 1u << i;
            return i;
        }
    }
    return -1;
}

void p9_slot_give(struct p9_link *l, unsigned slot)
{
    g_assert_true(l->taken >> slot & 1);
    g_assert_false(l->sent >> slot & 1);
    l->taken &= ~(1u << slot);
}

uint8_t *p9_slot_memory(struct p9_link *l, unsigned slot)
{
    g_assert_cmpuint(slot, <, P9_SLOTS);
    return l->memory + (size_t)slot * P9_SLOT_SIZE;
}

void p9_slot_send(struct p9_link *l, unsigned slot, uint32_t length, uint32_t limit)
{
    g_assert_true(l->taken >> slot & 1);
    g_assert_cmpuint(length, <=, P9_SLOT_SIZE);
    l->sent |= 1u << slot;
    l->limit[slot] = CLAMP(limit, P9_LIMIT_MIN, P9_SLOT_SIZE);
}

uint32_t p9_slots_taken(const struct p9_link *l)
{
    return l->taken;
}

void p9_link_hand_over(const struct p9_link *l, struct handover *to, const char *group)
{
    g_assert_cmpuint(l->sent, ==, 0);
}

struct p9_link *p9_link_take_over(const struct handover *from, const char *group,
                                  const struct p9_user *user, void *opaque, GError **err)
{
    const struct p9_tree tree = {(char *)"", (char *)"", false};
    struct p9_link *l = p9_link_new(&tree, user, opaque, err);

    l->taken = UINT16_MAX; /* whatever was in them */
    return l;
}

bool fake_p9_answer(unsigned which, uint32_t length)
{
    struct p9_link *l = the_link;

    for (unsigned i = 0; l && i < P9_SLOTS; i++) {
        unsigned slot = (i + which) % P9_SLOTS;

        if (l->sent >> slot & 1) {
            l->sent &= ~(1u << slot);
            l->user->answered(l->opaque, slot, CLAMP(length, P9_MESSAGE_MIN, l->limit[slot]));
            return true;
        }
    }
    return false;
}

void fake_p9_end(void)
{
    if (the_link && !the_link->ended) {
        the_link->ended = true;
        the_link->sent = 0;
        the_link->user->ended(the_link->opaque);
    }
}
