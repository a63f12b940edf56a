/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command socket of the host process. */
#ifndef XENEMU_RUN_CONTROL_H
#define XENEMU_RUN_CONTROL_H

#include <glib.h>
#include <stdbool.h>

bool complain(const char *fmt, ...) G_GNUC_PRINTF(1, 2); /* says it, returns false */
/* A connected descriptor, or -1. */
int connect_unix(const char *path);
bool open_ctl(void);
/* Answer without "OK ", or NULL with the failure told; lines before it are printed. */
char *ctl(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

#endif
