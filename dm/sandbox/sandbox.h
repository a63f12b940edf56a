/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dropping privileges: the one line of start-up behind which guest data is touched.
 * docs/security.md. */
#ifndef DM_SANDBOX_H
#define DM_SANDBOX_H

#include <stdbool.h>

#include <glib.h>

#include <xendm/machine-desc.h>

/*
 * First thing in main(): closes what whoever started us left open, but for standard streams and
 * what the command line names.
 */
void sandbox_close_inherited(int argc, char **argv);

/*
 * Next, while this is one thread that has opened nothing: starts the broker and leaves the
 * namespaces that nothing is needed of. What the kernel refuses is left out, and said at info.
 */
void sandbox_begin(const struct machine_desc *desc, int argc, char **argv);
/* The process ends: so does the broker. */
void sandbox_end(void);
/* The same at once, with whatever is open and under way; waits a moment for our helpers only. */
void sandbox_end_as_it_is(void) __attribute__((noreturn));

/* Looks up names while files can still be read; fails on unknown users and uid 0. */
struct sandbox;
struct sandbox *sandbox_prepare(const struct machine_desc *desc, GError **err);

/* Irrevocable. In order: no new privileges, root, groups, user, capabilities. What was asked for
 * and failed is an error. Last, the system calls are restricted (syscalls.h); `updated`: the
 * program before us may have done that, and filters add up. */
int sandbox_enter(struct sandbox *sandbox, bool updated, GError **err);

/* ---- the program that a live update starts, one at a time; by the broker if there is one ---- */

/* The file that has the name by which we were started. */
const char *sandbox_own_program(void);

/*
 * `path` with our command line and --update-from LINE. By descriptor, so that it is one file from
 * here on, whatever becomes of its name.
 */
int sandbox_execute(const char *path, int line, GError **err);
/* As waitpid() without waiting: 0 it runs, 1 it ended with *status, -1 there is none. */
int sandbox_program_ended(int *status);
void sandbox_kill_program(void);

#endif
