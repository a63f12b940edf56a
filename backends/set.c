/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The set of a process' back ends; see xendm/backend.h. Making one is in make.c. */
#include <errno.h>
#include <string.h>

#include <xendm/backend.h>
#include <xendm/device.h>
#include <xendm/error.h>
#include <xendm/recorder.h>

#include "set.h"

struct backend_set *backend_set_new(void)
{
    struct backend_set *set = g_new0(struct backend_set, 1);

    set->list = g_ptr_array_new();
    return set;
}

void backend_destroy(struct backend *b)
{
    if (b->stays) {
        return;
    }
    property_free_strings(b->class->properties, b);
    g_free(b->id);
    g_free(b);
}

static void close_one(struct backend_set *set, struct backend *b)
{
    g_ptr_array_remove(set->list, b);
    if (b->class->close) {
        b->class->close(b);
    }
    backend_destroy(b);
}

void backend_set_free(struct backend_set *set)
{
    if (!set) {
        return;
    }
    while (set->list->len > 0) {
        struct backend *b = g_ptr_array_index(set->list, set->list->len - 1);

        XENDM_ASSERT(!b->user);
        close_one(set, b);
    }
    g_ptr_array_free(set->list, TRUE);
    g_free(set);
}

void backend_set_put(struct backend_set *set, struct backend *b)
{
    g_ptr_array_add(set->list, b);
}

int backend_remove(struct backend_set *set, struct backend *b, GError **err)
{
    if (b->user) {
        g_set_error(err, XENDM_ERROR, EBUSY, "%s back end '%s' is used by device %s",
                    backend_kind_name(b->class->kind), b->id, b->user->id);
        return -EBUSY;
    }
    close_one(set, b);
    return 0;
}

struct backend *backend_find(const struct backend_set *set, enum backend_kind kind, const char *id)
{
    for (guint i = 0; i < set->list->len; i++) {
        struct backend *b = g_ptr_array_index(set->list, i);

        if (b->class->kind == kind && strcmp(b->id, id) == 0) {
            return b;
        }
    }
    return NULL;
}

void backend_foreach(const struct backend_set *set, void (*fn)(void *opaque, struct backend *b),
                     void *opaque)
{
    for (guint i = 0; i < set->list->len;) {
        struct backend *b = g_ptr_array_index(set->list, i);

        fn(opaque, b);
        if (i < set->list->len && g_ptr_array_index(set->list, i) == b) {
            i++;
        }
    }
}

unsigned backend_set_busy(const struct backend_set *set)
{
    unsigned count = 0;

    for (guint i = 0; i < set->list->len; i++) {
        const struct backend *b = g_ptr_array_index(set->list, i);

        count += b->class->busy ? b->class->busy(b) : 0;
    }
    return count;
}

void backend_set_hurry(struct backend_set *set, bool on)
{
    for (unsigned i = 0; i < set->list->len; i++) {
        struct backend *b = g_ptr_array_index(set->list, i);

        if (b->class->hurry) {
            b->class->hurry(b, on);
        }
    }
}

void backend_set_begin_inactive(struct backend_set *set)
{
    set->inactive = true;
}

int backend_set_activate(struct backend_set *set, GError **err)
{
    set->inactive = false;
    for (guint i = 0; i < set->list->len; i++) {
        struct backend *b = g_ptr_array_index(set->list, i);
        int rc = b->class->activate ? b->class->activate(b, err) : 0;

        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

void backend_set_inactivate(struct backend_set *set)
{
    for (guint i = 0; i < set->list->len; i++) {
        struct backend *b = g_ptr_array_index(set->list, i);

        if (b->class->inactivate) {
            b->class->inactivate(b);
        }
    }
}

void backend_set_hand_over(const struct backend_set *set, struct handover *to)
{
    for (guint i = 0; i < set->list->len; i++) {
        const struct backend *b = g_ptr_array_index(set->list, i);

        if (b->class->hand_over) {
            b->class->hand_over(b, to);
        }
    }
}

char *backend_group(const struct backend *b)
{
    return g_strdup_printf("%s %s", backend_kind_name(b->class->kind), b->id);
}
