/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Facts as lines and as JSON; see xendm/facts.h. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include <xendm/facts.h>

struct fact {
    char *name;
    char *text;  /* for people; NULL: a group begins, name NULL: none any more */
    bool quoted; /* JSON: `text` is a string, else `json` or `text` itself */
    char *json;
};

struct facts {
    GArray *list;   /* struct fact */
    bool nested;    /* groups are parts of names */
    char *subgroup; /* … this one */
};

static void fact_clear(void *p)
{
    struct fact *f = p;

    g_free(f->name);
    g_free(f->text);
    g_free(f->json);
}

struct facts *facts_new(void)
{
    struct facts *facts = g_new0(struct facts, 1);

    facts->list = g_array_new(FALSE, FALSE, sizeof(struct fact));
    g_array_set_clear_func(facts->list, fact_clear);
    return facts;
}

void facts_free(struct facts *facts)
{
    if (facts) {
        g_array_free(facts->list, TRUE);
        g_free(facts->subgroup);
        g_free(facts);
    }
}

static void add(struct facts *to, const char *name, char *text, bool quoted, char *json)
{
    struct fact f = {to->subgroup && text ? g_strdup_printf("%s %s", to->subgroup, name)
                                          : g_strdup(name),
                     text, quoted, json};

    g_array_append_val(to->list, f);
}

void fact_group(struct facts *to, const char *name)
{
    if (to->nested) {
        g_free(to->subgroup);
        to->subgroup = g_strdup(name);
    } else {
        add(to, name, NULL, false, NULL);
    }
}

void facts_nest(struct facts *to, const char *name)
{
    g_clear_pointer(&to->subgroup, g_free);
    add(to, name, NULL, false, NULL);
    to->nested = name != NULL;
}

void fact_text(struct facts *to, const char *name, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(to, name, g_strdup_vprintf(fmt, args), true, NULL);
    va_end(args);
}

void fact_int(struct facts *to, const char *name, int64_t value)
{
    add(to, name, g_strdup_printf("%" PRId64, value), false, NULL);
}

void fact_hex(struct facts *to, const char *name, uint64_t value)
{
    add(to, name, g_strdup_printf("0x%" PRIx64, value), false, g_strdup_printf("%" PRIu64, value));
}

void fact_bool(struct facts *to, const char *name, bool value)
{
    add(to, name, g_strdup(value ? "yes" : "no"), false, g_strdup(value ? "true" : "false"));
}

/* ---- for people ---- */

void facts_foreach_line(const struct facts *facts, void (*line)(void *opaque, const char *text),
                        void *opaque)
{
    bool inside = false;

    for (guint i = 0; i < facts->list->len; i++) {
        const struct fact *f = &g_array_index(facts->list, struct fact, i);
        g_autofree char *text = NULL;

        if (f->text) {
            text = g_strdup_printf("%s%s: %s", inside ? "  " : "", f->name, f->text);
        } else {
            inside = f->name != NULL;
            text = inside ? g_strdup_printf("%s:", f->name) : NULL;
        }
        if (text) {
            line(opaque, text);
        }
    }
}

const char *facts_find(const struct facts *facts, const char *group, const char *name)
{
    const char *now = NULL;

    for (guint i = 0; i < facts->list->len; i++) {
        const struct fact *f = &g_array_index(facts->list, struct fact, i);

        if (!f->text) {
            now = f->name;
        } else if (g_strcmp0(now, group) == 0 && strcmp(f->name, name) == 0) {
            return f->text;
        }
    }
    return NULL;
}

/* ---- JSON ---- */

static void append_string(GString *to, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);

    g_string_append_c(to, '"');
    for (const char *p = valid; *p; p++) {
        if (*p == '"' || *p == '\\') {
            g_string_append_c(to, '\\');
            g_string_append_c(to, *p);
        } else if ((unsigned char)*p < 0x20) {
            g_string_append_printf(to, "\\u%04x", (unsigned char)*p);
        } else {
            g_string_append_c(to, *p);
        }
    }
    g_string_append_c(to, '"');
}

char *facts_to_json(const struct facts *facts)
{
    GString *to = g_string_new("{");
    bool inside = false, first = true;

    for (guint i = 0; i < facts->list->len; i++) {
        const struct fact *f = &g_array_index(facts->list, struct fact, i);

        if (!f->text && inside) {
            g_string_append_c(to, '}');
            inside = false;
            first = false;
        }
        if (!f->text && !f->name) {
            continue;
        }
        if (!first) {
            g_string_append(to, ", ");
        }
        append_string(to, f->name);
        g_string_append(to, ": ");
        first = !f->text;
        if (!f->text) {
            g_string_append_c(to, '{');
            inside = true;
        } else if (f->quoted) {
            append_string(to, f->text);
        } else {
            g_string_append(to, f->json ? f->json : f->text);
        }
    }
    g_string_append(to, inside ? "}}" : "}");
    return g_string_free(to, FALSE);
}
