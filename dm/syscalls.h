/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The system calls that are left to us once everything is open: seccomp(2). docs/security.md. */
#ifndef DM_SYSCALLS_H
#define DM_SYSCALLS_H

#include <stdbool.h>

#include <glib.h>

/*
 * For all threads, irrevocable, and inherited by what a live update executes. What is not on the list answers ENOSYS; what
 * only an intruder calls ends the process. `locked`: after a restriction to the domain, another user or another root,
 * which rule out a live update: no new processes, programs, sockets, and no memory that becomes code.
 * -errno and `err`: the kernel has no seccomp, or refuses. 0 where the build has sanitizers, which need more.
 */
int syscalls_restrict(bool locked, GError **err);

/* Whether a filter is there already, ours or somebody's. */
bool syscalls_restricted(void);

#endif
