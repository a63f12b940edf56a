/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Properties; see xendm/property.h. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <xendm/error.h>
#include <xendm/numbers.h>
#include <xendm/object.h>
#include <xendm/property.h>
#include <xendm/recorder.h>

const struct property *property_find(const struct property *table, const char *name)
{
    for (const struct property *p = table; p && p->name; p++) {
        if (strcmp(p->name, name) == 0) {
            return p;
        }
    }
    return NULL;
}

static int refuse(const struct property *p, const char *text, const char *why, GError **err)
{
    g_set_error(err, XENDM_ERROR, EINVAL, "property %s: \"%s\" %s", p->name, text, why);
    return -EINVAL;
}

static int set_number(const struct property *p, void *place, const char *text, GError **err)
{
    uint64_t type_max = p->type == PROP_UINT32 ? UINT32_MAX : UINT64_MAX;
    uint64_t max = p->min || p->max ? MIN(p->max, type_max) : type_max;
    uint64_t number;

    switch (number_parse(text, p->min, max, &number)) {
    case 0:
        break;
    case -ERANGE:
        g_set_error(err, XENDM_ERROR, EINVAL, "property %s: %s is not in %" PRIu64 "..%" PRIu64,
                    p->name, text, p->min, max);
        return -EINVAL;
    default:
        return refuse(p, text, "is no number", err);
    }
    if (p->power_of_two && (number & (number - 1))) {
        return refuse(p, text, "is no power of two", err);
    }
    if (place && p->type == PROP_UINT32) {
        *(uint32_t *)place = (uint32_t)number;
    } else if (place) {
        *(uint64_t *)place = number;
    }
    return 0;
}

int property_set(const struct property *p, void *base, const char *text, GError **err)
{
    void *place = base ? (char *)base + p->offset : NULL;
    bool flag;

    switch (p->type) {
    case PROP_BOOL:
        if (bool_parse(text, &flag) < 0) {
            return refuse(p, text, "is neither on nor off", err);
        }
        if (place) {
            *(bool *)place = flag;
        }
        return 0;
    case PROP_UINT32:
    case PROP_UINT64:
        return set_number(p, place, text, err);
    case PROP_STRING:
        if (place) {
            g_free(*(char **)place);
            *(char **)place = g_strdup(text);
        }
        return 0;
    case PROP_BACKEND:
        return text[0] ? 0 : refuse(p, text, "is no id of a back end", err);
    }
    return -EINVAL;
}

int property_check(const struct property *table, const struct object_desc *desc,
                   int (*other)(const void *opaque, const char *name, const char *value,
                                GError **err),
                   const void *opaque, GError **err)
{
    for (guint i = 0; i < desc->options->len; i++) {
        const struct option_desc *o = &g_array_index(desc->options, struct option_desc, i);
        const struct property *p = property_find(table, o->name);
        int rc = p       ? property_set(p, NULL, o->value, err)
                 : other ? other(opaque, o->name, o->value, err)
                         : 0;

        if (rc < 0) {
            return -EINVAL;
        }
        if (!p && rc == 0) {
            g_set_error(err, XENDM_ERROR, ENOENT, "%s has no property %s (value \"%s\")",
                        desc->driver, o->name, o->value);
            return -ENOENT;
        }
    }
    for (const struct property *p = table; p && p->name; p++) {
        if (p->required && !object_option(desc, p->name)) {
            g_set_error(err, XENDM_ERROR, EINVAL, "%s= is missing", p->name);
            return -EINVAL;
        }
    }
    return 0;
}

void property_set_defaults(const struct property *table, void *base)
{
    for (const struct property *p = table; p && p->name; p++) {
        if (p->def) {
            int rc = property_set(p, base, p->def, NULL);

            XENDM_ASSERT(rc == 0);
        }
    }
}

void property_free_strings(const struct property *table, void *base)
{
    for (const struct property *p = table; p && p->name; p++) {
        if (p->type == PROP_STRING) {
            char **place = (void *)((char *)base + p->offset);

            g_clear_pointer(place, g_free);
        }
    }
}

static const char *type_word(const struct property *p)
{
    switch (p->type) {
    case PROP_BOOL:
        return "on|off";
    case PROP_UINT32:
    case PROP_UINT64:
        return "NUMBER";
    case PROP_STRING:
        return "TEXT";
    case PROP_BACKEND:
        break;
    }
    return "ID";
}

void property_help(const struct property *table, GString *to)
{
    for (const struct property *p = table; p && p->name; p++) {
        g_autofree char *left = g_strdup_printf("%s=%s", p->name, type_word(p));

        g_string_append_printf(to, "  %-22s %s", left, p->help ? p->help : "");
        if (p->type == PROP_BACKEND) {
            g_string_append_printf(to, " (id of a %s back end)", backend_kind_name(p->kind));
        }
        if (p->max) {
            g_string_append_printf(to, " (%" PRIu64 " to %" PRIu64 ")", p->min, p->max);
        }
        if (p->power_of_two) {
            g_string_append(to, " (a power of two)");
        }
        if (p->required) {
            g_string_append(to, " (required)");
        }
        if (p->def) {
            g_string_append_printf(to, " (default %s)", p->def);
        }
        g_string_append_c(to, '\n');
    }
}
