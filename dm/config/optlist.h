/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Option values of the form "word,key=value,key=value…".
 *
 * Two readings. The forms in which libxl writes free text (toolstack.md 1.4) are recognised by
 * their fixed keys before and behind that text; it is then taken as it is, commas and all, because
 * libxl never escapes. Anything else is read as QEMU reads it: commas separate, and two commas
 * stand for one.
 */
#ifndef DM_OPTLIST_H
#define DM_OPTLIST_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

struct optlist;

/*
 * A form of libxl's: the pieces in `head`, then `key` with free text, then the pieces in `tail`. A
 * piece ending in '=' or '-' matches as a prefix, any other must be the same.
 */
#define OPTLIST_PIECES 5
struct optlist_form {
    const char *head[OPTLIST_PIECES + 1];
    const char *key;
    const char *tail[OPTLIST_PIECES + 1];
};

/*
 * `option` with its dash is for messages. `implied` is the key of a first piece without '='; NULL:
 * there is none. `forms` ends with key NULL and may be NULL. Fails on duplicate keys and on pieces
 * without '='.
 */
struct optlist *optlist_parse(const char *option, const char *text, const char *implied,
                              const struct optlist_form *forms, GError **err);
void optlist_free(struct optlist *list);

static inline void optlist_cleanup(struct optlist **list)
{
    optlist_free(*list);
}
#define optlist_auto __attribute__((cleanup(optlist_cleanup)))

/*
 * Take a key: it then counts as understood. NULL / `def` when it is not there. The text belongs to
 * the list. Numbers are decimal or 0x…; on/off also as yes/no and true/false.
 */
const char *optlist_take(struct optlist *list, const char *key);
bool optlist_take_uint(struct optlist *list, const char *key, uint64_t min, uint64_t max,
                       uint64_t *value, bool *given, GError **err);
bool optlist_take_bool(struct optlist *list, const char *key, bool *value, GError **err);
/* One of a NULL-terminated list of words; *index is left alone when the key is not there. */
bool optlist_take_word(struct optlist *list, const char *key, const char *const *words,
                       unsigned *index, GError **err);
/* Calls `fn` for what was not taken, which then counts as taken. */
void optlist_take_rest(struct optlist *list,
                       void (*fn)(void *opaque, const char *key, const char *value), void *opaque);

/* Whatever nobody took is refused by name. */
bool optlist_end(struct optlist *list, GError **err);

/* Sets `err` to "<option> <key>=<value>: <why>". Always false. */
bool optlist_refuse(struct optlist *list, const char *key, const char *value, GError **err,
                    const char *why);

#endif
