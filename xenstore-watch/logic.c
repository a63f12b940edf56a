/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See logic.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "logic.h"

#define TOKEN_PREFIX "xendm:"

int xenstore_parse_uint(const char *text, uint64_t max, uint64_t *value)
{
    uint64_t n = 0;

    if (*text == '\0') {
        return -EINVAL;
    }
    for (const char *p = text; *p != '\0'; p++) {
        if (*p < '0' || *p > '9') {
            return -EINVAL;
        }
    }
    for (const char *p = text; *p != '\0'; p++) {
        if (__builtin_mul_overflow(n, UINT64_C(10), &n) ||
            __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n)) {
            return -ERANGE;
        }
    }
    if (n > max) {
        return -ERANGE;
    }
    *value = n;
    return 0;
}

char *xenstore_absolute(const char *base, const char *path)
{
    char *full;

    if (*path == '\0') {
        errno = EINVAL;
        return NULL;
    }
    full = *path == '/' || *path == '@' ? g_strdup(path) : g_strconcat(base, "/", path, NULL);
    if (strlen(full) > XENSTORE_PATH_MAX) {
        g_free(full);
        errno = EINVAL;
        return NULL;
    }
    return full;
}

void xenstore_token_print(char token[XENSTORE_TOKEN_SIZE], uint32_t serial)
{
    snprintf(token, XENSTORE_TOKEN_SIZE, TOKEN_PREFIX "%x", serial);
}

uint32_t xenstore_token_parse(const char *token)
{
    uint32_t serial = 0;
    const char *p = token + strlen(TOKEN_PREFIX);

    if (strncmp(token, TOKEN_PREFIX, strlen(TOKEN_PREFIX)) != 0 || *p == '\0' || *p == '0' ||
        strlen(p) > 8) {
        return 0;
    }
    for (; *p != '\0'; p++) {
        if (!g_ascii_isxdigit(*p)) {
            return 0;
        }
        serial = serial << 4 | (uint32_t)g_ascii_xdigit_value(*p);
    }
    return serial;
}

struct xenstore_queue {
    GQueue order;
    GHashTable *set; /* the same events */
    unsigned max;
};

static guint event_hash(gconstpointer key)
{
    const struct xenstore_event *e = key;

    return g_str_hash(e->path) ^ e->serial * 2654435761u;
}

static gboolean event_equal(gconstpointer a, gconstpointer b)
{
    const struct xenstore_event *x = a, *y = b;

    return x->serial == y->serial && strcmp(x->path, y->path) == 0;
}

struct xenstore_queue *xenstore_queue_new(unsigned max)
{
    struct xenstore_queue *q = g_new0(struct xenstore_queue, 1);

    g_queue_init(&q->order);
    q->set = g_hash_table_new(event_hash, event_equal);
    q->max = max;
    return q;
}

void xenstore_queue_free(struct xenstore_queue *q)
{
    g_hash_table_destroy(q->set);
    g_queue_clear_full(&q->order, g_free);
    g_free(q);
}

bool xenstore_queue_add(struct xenstore_queue *q, uint32_t serial, const char *path)
{
    size_t len = strlen(path);
    struct xenstore_event *e;

    if (len > XENSTORE_PATH_MAX || xenstore_queue_full(q)) {
        return false;
    }
    e = g_malloc(sizeof(*e) + len + 1);
    e->serial = serial;
    memcpy(e->path, path, len + 1);
    if (g_hash_table_contains(q->set, e)) {
        g_free(e);
        return false;
    }
    g_hash_table_add(q->set, e);
    g_queue_push_tail(&q->order, e);
    return true;
}

bool xenstore_queue_full(const struct xenstore_queue *q)
{
    return q->order.length >= q->max;
}

bool xenstore_queue_empty(const struct xenstore_queue *q)
{
    return q->order.length == 0;
}

struct xenstore_event *xenstore_queue_take(struct xenstore_queue *q)
{
    struct xenstore_event *e = g_queue_pop_head(&q->order);

    if (e != NULL) {
        g_hash_table_remove(q->set, e);
    }
    return e;
}
