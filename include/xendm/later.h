/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Work that goes on in the next turn of the main loop: a ring that is long, a list with many
 * pieces. Asked for as often as one likes, it is done once, and whoever goes away forgets it.
 *
 * Chips have no other sources of the loop (tests/rules/loop-sources.py): what they do in a later
 * turn is an event of a recording (tape.h) because it is asked for here, by the device's id.
 */
#ifndef XENDM_LATER_H
#define XENDM_LATER_H

#include <stdbool.h>

#include <glib.h>

struct later_kind {
    const char *turn; /* whose turn it is then (turn.h) */
    void (*go_on)(void *opaque);
    const char *part; /* which of a device's, if it has several; else NULL */
    int priority;     /* GLib's; 0 is that of accesses */
};

/* All zero: nothing is asked for. */
struct later {
    const struct later_kind *kind;
    void *opaque;
    const char *id;
    guint source;
};

/*
 * `id`: of the device, or of what part of it goes on; it stays as long as the work is asked for.
 * NULL: it is no part of the machine, and no recording's business.
 */
void later_ask(struct later *l, const struct later_kind *kind, void *opaque, const char *id);
void later_forget(struct later *l);
static inline bool later_is_asked(const struct later *l)
{
    return l->source != 0;
}

#endif
