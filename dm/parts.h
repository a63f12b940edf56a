/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an instance is put together from: a table of parts, of which each kind of instance
 * (xendm/instance.h) takes those that it needs, in one order.
 */
#ifndef DM_PARTS_H
#define DM_PARTS_H

#include <glib.h>

struct daemon;

/* After a failure parts_close() cleans up all the same. */
int parts_open(struct daemon *d, GError **err);
/* In the reverse order; nothing may be in flight. */
void parts_close(struct daemon *d);
/* Another program goes on: unmaps what was mapped and tells nobody. */
void parts_let_go(struct daemon *d);

/* The line behind which guest data is touched (docs/security.md). */
int parts_drop_privileges(struct daemon *d, GError **err);

#endif
