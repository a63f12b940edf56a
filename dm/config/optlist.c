/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Option values of the form "word,key=value,…"; see optlist.h. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <xendm/error.h>
#include <xendm/numbers.h>

#include "config.h"
#include "optlist.h"

struct item {
    char *key, *value;
    bool taken;
};

struct optlist {
    const char *option;
    GPtrArray *items;
};

static void item_free(void *p)
{
    struct item *item = p;

    g_free(item->key);
    g_free(item->value);
    g_free(item);
}

void optlist_free(struct optlist *list)
{
    if (list) {
        g_ptr_array_free(list->items, TRUE);
        g_free(list);
    }
}

static struct item *find(struct optlist *list, const char *key)
{
    for (guint i = 0; i < list->items->len; i++) {
        struct item *item = g_ptr_array_index(list->items, i);

        if (strcmp(item->key, key) == 0) {
            return item;
        }
    }
    return NULL;
}

static bool add(struct optlist *list, char *key, char *value, GError **err)
{
    struct item *item;

    if (find(list, key)) {
        optlist_refuse(list, key, value, err, "given twice");
        g_free(key);
        g_free(value);
        return false;
    }
    item = g_new0(struct item, 1);
    item->key = key;
    item->value = value;
    g_ptr_array_add(list->items, item);
    return true;
}

/* `len` bytes at `piece` against an entry of a form. */
static bool piece_matches(const char *piece, size_t len, const char *want)
{
    size_t n = strlen(want);
    bool prefix = want[n - 1] == '=' || want[n - 1] == '-';

    return (prefix ? len > n : len == n) && memcmp(piece, want, n) == 0;
}

/* Adds "key=value", or a bare word under `implied`. */
static bool add_piece(struct optlist *list, const char *piece, size_t len, const char *implied,
                      GError **err)
{
    const char *equals = memchr(piece, '=', len);

    if (!equals) {
        return add(list, g_strdup(implied), g_strndup(piece, len), err);
    }
    return add(list, g_strndup(piece, equals - piece),
               g_strndup(equals + 1, piece + len - equals - 1), err);
}

/* 1: it is this form and was added; 0: it is another; -1: error. */
static int try_form(struct optlist *list, const char *text, const char *implied,
                    const struct optlist_form *form, GError **err)
{
    const char *head[OPTLIST_PIECES], *tail[OPTLIST_PIECES];
    size_t head_len[OPTLIST_PIECES], tail_len[OPTLIST_PIECES];
    const char *at = text, *end = text + strlen(text);
    size_t key_len = strlen(form->key);
    int nhead = 0, ntail = 0;

    for (; form->head[nhead]; nhead++) {
        const char *comma = strchr(at, ',');

        if (!comma || !piece_matches(at, comma - at, form->head[nhead])) {
            return 0;
        }
        head[nhead] = at;
        head_len[nhead] = comma - at;
        at = comma + 1;
    }
    if (strncmp(at, form->key, key_len) != 0 || at[key_len] != '=') {
        return 0;
    }
    at += key_len + 1;
    while (form->tail[ntail]) {
        ntail++;
    }
    for (int i = ntail; i-- > 0;) {
        const char *comma = memrchr(at, ',', end - at);

        if (!comma || !piece_matches(comma + 1, end - comma - 1, form->tail[i])) {
            return 0;
        }
        tail[i] = comma + 1;
        tail_len[i] = end - comma - 1;
        end = comma;
    }
    for (int i = 0; i < nhead; i++) {
        if (!add_piece(list, head[i], head_len[i], implied, err)) {
            return -1;
        }
    }
    if (!add(list, g_strdup(form->key), g_strndup(at, end - at), err)) {
        return -1;
    }
    for (int i = 0; i < ntail; i++) {
        if (!add_piece(list, tail[i], tail_len[i], implied, err)) {
            return -1;
        }
    }
    return 1;
}

/* QEMU's reading. */
static bool split(struct optlist *list, const char *text, const char *implied, GError **err)
{
    bool first = true;

    while (*text || first) {
        g_autoptr(GString) piece = g_string_new(NULL);

        while (*text && !(text[0] == ',' && text[1] != ',')) {
            text += text[0] == ','; /* the second of two */
            g_string_append_c(piece, *text++);
        }
        if (*text == ',') {
            text++;
        }
        if (!strchr(piece->str, '=') && !(first && implied && piece->len)) {
            g_set_error(err, XENDM_ERROR, EINVAL, "%s: '%s' is not of the form key=value",
                        list->option, piece->str);
            return false;
        }
        if (!add_piece(list, piece->str, piece->len, implied, err)) {
            return false;
        }
        first = false;
    }
    return true;
}

struct optlist *optlist_parse(const char *option, const char *text, const char *implied,
                              const struct optlist_form *forms, GError **err)
{
    struct optlist *list = g_new0(struct optlist, 1);
    int rc = 0;

    list->option = option;
    list->items = g_ptr_array_new_with_free_func(item_free);
    for (; forms && forms->key && rc == 0; forms++) {
        rc = try_form(list, text, implied, forms, err);
    }
    if (rc == 0 && !split(list, text, implied, err)) {
        rc = -1;
    }
    if (rc < 0) {
        optlist_free(list);
        return NULL;
    }
    return list;
}

const char *optlist_take(struct optlist *list, const char *key)
{
    struct item *item = find(list, key);

    if (!item) {
        return NULL;
    }
    item->taken = true;
    return item->value;
}

bool optlist_take_uint(struct optlist *list, const char *key, uint64_t min, uint64_t max,
                       uint64_t *value, bool *given, GError **err)
{
    const char *text = optlist_take(list, key);

    if (given) {
        *given = text != NULL;
    }
    switch (text ? number_parse(text, min, max, value) : 0) {
    case 0:
        return true;
    case -ERANGE: {
        g_autofree char *why = g_strdup_printf("must be %" PRIu64 " to %" PRIu64, min, max);
        return optlist_refuse(list, key, text, err, why);
    }
    default:
        return optlist_refuse(list, key, text, err, "not a number");
    }
}

bool optlist_take_bool(struct optlist *list, const char *key, bool *value, GError **err)
{
    static const char *const words[] = {"off", "on", "no", "yes", "false", "true", NULL};
    unsigned index = *value;

    if (!optlist_take_word(list, key, words, &index, err)) {
        return false;
    }
    *value = index & 1;
    return true;
}

bool optlist_take_word(struct optlist *list, const char *key, const char *const *words,
                       unsigned *index, GError **err)
{
    const char *text = optlist_take(list, key);

    if (!text) {
        return true;
    }
    for (unsigned i = 0; words[i]; i++) {
        if (strcmp(words[i], text) == 0) {
            *index = i;
            return true;
        }
    }
    return optlist_refuse(list, key, text, err, "this value is not implemented");
}

void optlist_take_rest(struct optlist *list,
                       void (*fn)(void *opaque, const char *key, const char *value), void *opaque)
{
    for (guint i = 0; i < list->items->len; i++) {
        struct item *item = g_ptr_array_index(list->items, i);

        if (!item->taken) {
            item->taken = true;
            fn(opaque, item->key, item->value);
        }
    }
}

bool optlist_end(struct optlist *list, GError **err)
{
    for (guint i = 0; i < list->items->len; i++) {
        struct item *item = g_ptr_array_index(list->items, i);

        if (!item->taken) {
            return optlist_refuse(list, item->key, item->value, err, "not implemented");
        }
    }
    return true;
}

bool optlist_refuse(struct optlist *list, const char *key, const char *value, GError **err,
                    const char *why)
{
    g_set_error(err, XENDM_ERROR, EINVAL, "%s %s=%s: %s", list->option, key, value, why);
    return false;
}

static void add_option(void *opaque, const char *key, const char *value)
{
    object_desc_set(opaque, key, value);
}

struct object_desc *config_parse_object(enum object_what what, enum backend_kind kind,
                                        const char *option, const char *driver_key,
                                        const char *text, GError **err)
{
    optlist_auto struct optlist *list = optlist_parse(option, text, driver_key, NULL, err);
    const char *driver = list ? optlist_take(list, driver_key) : NULL;
    struct object_desc *o;

    if (!driver) {
        if (list) {
            g_set_error(err, XENDM_ERROR, EINVAL, "%s: %s= is missing", option, driver_key);
        }
        return NULL;
    }
    o = object_desc_new(what, kind, driver, optlist_take(list, "id"));
    optlist_take_rest(list, add_option, o);
    return o;
}
