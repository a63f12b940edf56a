/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the two sides of a live update say to each other, a packet each. docs/live-update.md. */
#ifndef DM_UPDATE_LINE_H
#define DM_UPDATE_LINE_H

#include <stdbool.h>

#include <glib.h>

#define LINE_MAX_BYTES 65536 /* of a packet */

/* By the one that comes. */
#define LINE_HELLO "hello"
#define LINE_HELLO_EARLY "hello early" /* if it may build from an early manifest */
#define LINE_BUILT "built"             /* … and that it did */
#define LINE_READY "ready "            /* and the ranges that it wants, as in the manifest */
#define LINE_SERVING "serving"
#define LINE_NO "no " /* and why */
/* By the one that goes. */
#define LINE_GO "go"

bool line_say(int line, const char *text);
/* Waits; NULL: nobody is there any more. g_free(). */
char *line_hear(int line);

/* A descriptor. `early`: an early manifest may follow; who knows of none does not see that. */
bool line_send_fd(int line, int fd, bool early);
int line_receive_fd(int line, bool *early, GError **err);

#endif
