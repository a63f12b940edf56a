/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The system calls that are left to us once everything is open: seccomp(2). docs/security.md. */
#ifndef DM_SYSCALLS_H
#define DM_SYSCALLS_H

#include <stdbool.h>

#include <glib.h>

/* Sanitizers need more than the filters give, so a build with them has none. */
#if defined(__SANITIZE_ADDRESS__)
#define SYSCALLS_FREE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SYSCALLS_FREE 1
#endif
#endif

/*
 * For all threads, irrevocable, and inherited by what a live update executes. What is not on the
 * list answers ENOSYS; what only an intruder calls ends the process. `locked`: after a restriction
 * to the domain, another user or another root, which rule out a live update: no new processes,
 * programs, sockets, and no memory that becomes code.
 * -errno and `err`: the kernel has no seccomp, or refuses. With SYSCALLS_FREE it does nothing.
 */
int syscalls_restrict(bool locked, GError **err);

/* Whether a filter is there already, ours or somebody's. */
bool syscalls_restricted(void);

#endif
