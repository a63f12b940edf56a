/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Live update: another program goes on in this process, under a running guest. docs/live-update.md
 * has the whole story and the manifest.
 *
 * In short: the machine is saved to memory while it stands still for a moment; a child process of
 * the new program builds itself a machine from that and says whether it could; then the machine
 * stands still again, is saved, and this process becomes the new program by exec, with the same
 * process id and with every descriptor that the guest or somebody else hangs on. Until the new
 * program says so to itself, it can turn back into the old one, by exec again.
 */
#ifndef DM_UPDATE_H
#define DM_UPDATE_H

#include <stdbool.h>

#include <glib.h>

struct daemon;
struct handover;
struct qmp;
struct qmp_call;

/* ---- the program that goes ---- */

/* QMP xendm-update: finishes `call` with an error, or not at all because the successor does. */
void update_start(struct daemon *d, struct qmp *qmp, const char *binary, struct qmp_call *call);

/* ---- the program that comes ---- */

/*
 * First thing in main(): NULL without error when the command line does not say --update-from. From
 * here to update_complete(), what goes wrong leads back to the old program.
 */
const struct handover *update_inherit(int argc, char **argv, GError **err);
/* Does not return when there is a way back, or when this is the child that only tries. */
void update_fail(const char *why);
/* The same from a signal handler. */
void update_crashed(void);

/*
 * All is built. A child that only tries says so and ends here. Else: from here on Xen is told, and
 * there is no way back; the machine goes on if it ran.
 */
int update_complete(struct daemon *d, GError **err);

#endif
