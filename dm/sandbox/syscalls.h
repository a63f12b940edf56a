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

/* Stands in the filters for our process id, which nobody has when they are made. */
#define SYSCALLS_OWN_PID 0x7eadf00du

/*
 * For all threads, irrevocable. What is not on the list answers ENOSYS; what only an intruder
 * calls ends the process. `locked`: where a broker does the rest (broker.h), or nobody: no new
 * processes, programs, sockets, no memory that becomes code, signals to ourselves only, and of
 * ioctl, fcntl and prctl what we use. Not locked, what a live update executes inherits it.
 * -errno and `err`: the kernel has no seccomp, or refuses. With SYSCALLS_FREE it does nothing.
 */
int syscalls_restrict(bool locked, GError **err);

/* Whether a filter is there already, ours or somebody's. */
bool syscalls_restricted(void);

#endif
