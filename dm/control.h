/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between QMP and the daemon: what the monitors ask is done, what happens in the machine is told.
 */
#ifndef DM_CONTROL_H
#define DM_CONTROL_H

#include <glib.h>

struct control;
struct daemon;
struct machine_desc;

/* Makes the monitors' sockets: clients may connect from here on, and are answered once the main
 * loop runs. */
struct control *control_new(struct daemon *d, const struct machine_desc *desc, GError **err);

/* The daemon was built: commands reach its machine, its events reach the clients. */
void control_attach(struct control *c);
void control_free(struct control *c);

#endif
