/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The small programs beside the daemon, which it starts before its sandbox closes. */
#ifndef XENDM_HELPER_H
#define XENDM_HELPER_H

/*
 * Where `name` is: as the environment's `variable` says; where it was installed; or, for a daemon
 * that runs where it was built, in `folder` there. g_free().
 */
char *helper_program(const char *variable, const char *folder, const char *name);

#include <glib.h>

/* Its descriptors: the socket to us, and one that it was passed. Others are closed. */
#define HELPER_FD_SOCKET 3
#define HELPER_FD_PASSED 4

/*
 * Starts `argv`, of which the first is a path, with our environment. `passed`: a descriptor for it,
 * which stays the caller's; -1: none. Our end of its socket, which is of whole messages
 * (SOCK_SEQPACKET), or -errno with `err`. Nobody has to wait for its end: the socket tells of that.
 */
int helper_start(char *const argv[], int passed, GError **err);

/*
 * Between fork and exec: signals as a program expects them, none blocked and all as they come.
 * Async-signal-safe.
 */
void helper_reset_signals(void);

#endif
