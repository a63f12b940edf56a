/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What needs no xenstored: paths, numbers, tokens, the merging of events. */
#ifndef XENSTORE_WATCH_LOGIC_H
#define XENSTORE_WATCH_LOGIC_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#define XENSTORE_PATH_MAX 3072u /* XENSTORE_ABS_PATH_MAX */

/* Decimal digits only, no sign, no blanks: -EINVAL; above `max`: -ERANGE. */
int xenstore_parse_uint(const char *text, uint64_t max, uint64_t *value);

/*
 * `path` below `base` unless it starts with '/' or '@'; NULL with errno EINVAL when it is empty or
 * too long.
 */
char *xenstore_absolute(const char *base, const char *path);

/*
 * Tokens name watches by serial number, so that a late event of a removed watch finds nobody. 0:
 * not one of ours.
 */
#define XENSTORE_TOKEN_SIZE 16
void xenstore_token_print(char token[XENSTORE_TOKEN_SIZE], uint32_t serial);
uint32_t xenstore_token_parse(const char *token);

/* Events that wait for their callback, each (watch, path) at most once. */
struct xenstore_event {
    uint32_t serial;
    char path[];
};
struct xenstore_queue;
struct xenstore_queue *xenstore_queue_new(unsigned max);
void xenstore_queue_free(struct xenstore_queue *q);
/* False when it was there already, or is too long to be a path. */
bool xenstore_queue_add(struct xenstore_queue *q, uint32_t serial, const char *path);
bool xenstore_queue_full(const struct xenstore_queue *q);
bool xenstore_queue_empty(const struct xenstore_queue *q);
/* oldest, or NULL; g_free() */
struct xenstore_event *xenstore_queue_take(struct xenstore_queue *q);

#endif
