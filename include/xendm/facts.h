/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Facts: what a device, a back end or a part of the process says of itself, once; rendered as lines
 * for `info device`, as JSON for QMP and the status file, and read by tests.
 *
 * A fact is a name and a value. Names are short and in small letters ("ring base", "vectors used");
 * within a group each name is used once.
 */
#ifndef XENDM_FACTS_H
#define XENDM_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

struct facts;

/* What follows belongs to the group `name` ("master", "queue 3"); NULL: to no group. */
void fact_group(struct facts *to, const char *name);
/*
 * What follows, groups and all, belongs to the group `name`: fact "frames" of group "sent" is its
 * fact "sent frames". NULL: that ends. For who puts together what others say.
 */
void facts_nest(struct facts *to, const char *name);
void fact_text(struct facts *to, const char *name, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
void fact_int(struct facts *to, const char *name, int64_t value);
void fact_hex(struct facts *to, const char *name, uint64_t value); /* an address, a register */
void fact_bool(struct facts *to, const char *name, bool value);

/* For those who ask. */
struct facts *facts_new(void);
void facts_free(struct facts *facts);
/* "name: value", or "group:" and its facts indented by two; no newline at the end of a line. */
void facts_foreach_line(const struct facts *facts, void (*line)(void *opaque, const char *text),
                        void *opaque);
/* An object with a member a fact, and a group's facts as an object; valid UTF-8 whatever they say.
 */
char *facts_to_json(const struct facts *facts);
/* The value as text, or NULL. `group` NULL: of no group. */
const char *facts_find(const struct facts *facts, const char *group, const char *name);

#endif
