/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work that goes on in the next turn; see xendm/later.h. */
#include <xendm/later.h>
#include <xendm/tape.h>
#include <xendm/turn.h>

/* In a replay it comes when the tape has it, and until then the source stays. */
static bool begins(const struct later *l)
{
    g_autofree char *both = NULL;

    if (!tape_on()) {
        return true;
    }
    both = l->kind->part ? g_strdup_printf("%s %s", l->id, l->kind->part) : NULL;
    return tape_begin_event(TAPE_GOES_ON, both ? both : l->id, NULL, NULL, 0);
}

static gboolean next_turn(gpointer opaque)
{
    struct later *l = opaque;
    bool machine = l->id != NULL;

    turn_of(l->kind->turn);
    if (machine && !begins(l)) {
        return G_SOURCE_CONTINUE;
    }
    l->source = 0;
    l->kind->go_on(l->opaque); /* which may be the end of `l` */
    if (machine) {
        tape_leave();
    }
    return G_SOURCE_REMOVE;
}

void later_ask(struct later *l, const struct later_kind *kind, void *opaque, const char *id)
{
    /* One that waits for its turn on the tape is always ready: it must not starve the others. */
    int priority = tape_plays() ? G_PRIORITY_DEFAULT : kind->priority;

    if (l->source) {
        return;
    }
    *l = (struct later){.kind = kind, .opaque = opaque, .id = id};
    l->source = g_idle_add_full(priority, next_turn, l, NULL);
}

void later_forget(struct later *l)
{
    g_clear_handle_id(&l->source, g_source_remove);
}
