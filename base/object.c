/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptions of devices and back ends; see xendm/object.h. */
#include <stdarg.h>
#include <string.h>

#include <xendm/object.h>

static const char *const kind_names[BACKEND_KIND_COUNT] = {
    [BACKEND_BLOCK] = "block", [BACKEND_CHAR] = "char",         [BACKEND_NET] = "net",
    [BACKEND_AUDIO] = "audio", [BACKEND_USB_HOST] = "usb-host", [BACKEND_BLOB] = "blob",
    [BACKEND_FSDEV] = "fsdev",
};

const char *backend_kind_name(enum backend_kind kind)
{
    return kind_names[kind];
}

static void option_clear(void *p)
{
    struct option_desc *option = p;

    g_free(option->name);
    g_free(option->value);
}

struct object_desc *object_desc_new(enum object_what what, enum backend_kind kind,
                                    const char *driver, const char *id)
{
    struct object_desc *o = g_new0(struct object_desc, 1);

    o->what = what;
    o->kind = kind;
    o->driver = g_strdup(driver);
    o->id = g_strdup(id);
    o->options = g_array_new(FALSE, FALSE, sizeof(struct option_desc));
    g_array_set_clear_func(o->options, option_clear);
    return o;
}

struct object_desc *object_desc_make(enum object_what what, enum backend_kind kind,
                                     const char *driver, const char *id, ...)
{
    struct object_desc *o = object_desc_new(what, kind, driver, id);
    const char *name, *value;
    va_list args;

    va_start(args, id);
    while ((name = va_arg(args, const char *))) {
        value = va_arg(args, const char *);
        if (value) {
            object_desc_set(o, name, value);
        }
    }
    va_end(args);
    return o;
}

struct object_desc *object_desc_copy(const struct object_desc *o)
{
    struct object_desc *copy = object_desc_new(o->what, o->kind, o->driver, o->id);

    for (guint i = 0; i < o->options->len; i++) {
        const struct option_desc *option = &g_array_index(o->options, struct option_desc, i);

        object_desc_set(copy, option->name, option->value);
    }
    return copy;
}

void object_desc_free(struct object_desc *o)
{
    if (o) {
        g_array_free(o->options, TRUE);
        g_free(o->driver);
        g_free(o->id);
        g_free(o);
    }
}

static struct option_desc *find(const struct object_desc *o, const char *name)
{
    for (guint i = 0; i < o->options->len; i++) {
        struct option_desc *option = &g_array_index(o->options, struct option_desc, i);

        if (strcmp(option->name, name) == 0) {
            return option;
        }
    }
    return NULL;
}

void object_desc_set(struct object_desc *o, const char *name, const char *value)
{
    struct option_desc *old = find(o, name);

    if (old) {
        g_free(old->value);
        old->value = g_strdup(value);
    } else {
        struct option_desc option = {g_strdup(name), g_strdup(value)};

        g_array_append_val(o->options, option);
    }
}

const char *object_option(const struct object_desc *o, const char *name)
{
    const struct option_desc *option = find(o, name);

    return option ? option->value : NULL;
}
