/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making back ends by their classes' tables; see xendm/backend.h. */
#include <errno.h>
#include <string.h>

#include <xendm/error.h>
#include <xendm/recorder.h>

#include "set.h"

const struct backend_class *backend_class_find(enum backend_kind kind, const char *driver)
{
    for (const struct backend_class *const *c = backend_classes(); *c; c++) {
        if ((*c)->kind == kind && strcmp((*c)->driver, driver) == 0) {
            return *c;
        }
    }
    return NULL;
}

bool backend_poll_all(void)
{
    const struct backend_class *const *classes = backend_classes();
    bool done = false;

    for (unsigned i = 0; classes[i]; i++) {
        unsigned before = 0;

        while (before < i && classes[before]->poll != classes[i]->poll) {
            before++;
        }
        if (classes[i]->poll && before == i) { /* drivers may share it */
            done |= classes[i]->poll();
        }
    }
    return done;
}

static const struct backend_class *find_class(const struct object_desc *desc, GError **err)
{
    const struct backend_class *class = backend_class_find(desc->kind, desc->driver);

    if (!class) {
        g_set_error(err, XENDM_ERROR, ENOENT, "there is no %s back end '%s'",
                    backend_kind_name(desc->kind), desc->driver);
    } else if (desc->id && (!desc->id[0] || strlen(desc->id) > BACKEND_ID_MAX)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "the id \"%s\" is empty or longer than %u bytes",
                    desc->id, BACKEND_ID_MAX);
        return NULL;
    }
    return class;
}

void backend_prepare(const struct object_desc *desc)
{
    const struct backend_class *class = backend_class_find(desc->kind, desc->driver);

    if (class && class->prepare) {
        class->prepare();
    }
}

/* An instance with its properties, not open, without an id. */
static struct backend *make(const struct object_desc *desc, GError **err)
{
    const struct backend_class *class = find_class(desc, err);
    struct backend *b;

    if (!class || property_check(class->properties, desc, NULL, NULL, err) < 0) {
        return NULL;
    }
    XENDM_ASSERT(class->size >= sizeof(struct backend));
    b = g_malloc0(class->size);
    b->class = class;
    property_set_defaults(class->properties, b);
    for (guint i = 0; i < desc->options->len; i++) {
        const struct option_desc *o = &g_array_index(desc->options, struct option_desc, i);

        property_set(property_find(class->properties, o->name), b, o->value, NULL);
    }
    if (class->check && class->check(b, err) < 0) {
        backend_destroy(b);
        return NULL;
    }
    return b;
}

int backend_check(const struct object_desc *desc, GError **err)
{
    struct backend *b = make(desc, err);

    if (!b) {
        return -EINVAL;
    }
    backend_destroy(b);
    return 0;
}

static char *free_id(const struct backend_set *set, enum backend_kind kind, const char *driver)
{
    char *id = g_strdup(driver);

    for (unsigned n = 1; backend_find(set, kind, id); n++) {
        g_free(id);
        id = g_strdup_printf("%s.%u", driver, n);
    }
    return id;
}

struct backend *backend_add(struct backend_set *set, const struct object_desc *desc,
                            const struct handover *from, GError **err)
{
    struct backend *b;

    if (desc->id && backend_find(set, desc->kind, desc->id)) {
        g_set_error(err, XENDM_ERROR, EEXIST, "there are two %s back ends with the id %s",
                    backend_kind_name(desc->kind), desc->id);
        return NULL;
    }
    b = make(desc, err);
    if (!b) {
        g_prefix_error(err, "%s: ", desc->id ? desc->id : desc->driver);
        return NULL;
    }
    b->id = desc->id ? g_strdup(desc->id) : free_id(set, desc->kind, desc->driver);
    b->inactive = set->inactive;
    if (b->class->open && b->class->open(b, from, err) < 0) {
        backend_destroy(b);
        return NULL;
    }
    backend_set_put(set, b);
    return b;
}
