/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The small programs beside the daemon, which it starts before its sandbox closes. */
#ifndef XENDM_HELPER_H
#define XENDM_HELPER_H

/*
 * Where `name` is: as the environment's `variable` says; where it was installed; or, for a daemon
 * that runs where it was built, in `folder` there. g_free().
 */
char *helper_program(const char *variable, const char *folder, const char *name);

/*
 * Between fork and exec: signals as a program expects them, none blocked and all as they come.
 * Async-signal-safe.
 */
void helper_reset_signals(void);

#endif
