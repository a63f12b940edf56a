/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * As a service of the host: -daemonize and -pidfile, as xencommons starts domain 0's instance.
 * Whoever started us waits until we serve, and learns by our exit status whether we do.
 */
#ifndef DM_SERVICE_H
#define DM_SERVICE_H

#include <glib.h>

#include <xendm/machine-desc.h>

struct handover;

/*
 * While this is one thread that has opened nothing. With -daemonize it returns in a child of a
 * session of its own, and the process that was started stays until service_ready(), or the child's
 * end, whose status it then has. The file with our process id is made, and locked for as long as we
 * live: -EBUSY, another has it.
 */
int service_begin(const struct machine_desc *desc, GError **err);
/*
 * In the background standard input and output lead nowhere; so do errors and the log, but into a
 * file or systemd's journal. What goes wrong before we serve is said to who started us.
 */
void service_say(const char *text);
int service_ready(GError **err); /* we serve */
/* The file goes, if it is still ours. In the process that keeps the right to do so: the broker. */
void service_end(void);

/* Live update: the lock stays. The process whose id is in the file stays, too. */
void service_hand_over(struct handover *to);
void service_take_over(const struct handover *from);

#endif
