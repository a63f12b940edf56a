/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine's saved state as a file: docs/state-format.md has what is in it. */
#ifndef DM_STATE_H
#define DM_STATE_H

#include <glib.h>

#include <xendm/machine.h>

/* The whole machine into a file, which is truncated first; stopped. NULL: an empty file. */
int state_file_save(struct machine *m, int fd, GError **err);
/* From where `fd` stands to its end; closes it. Behind the sandbox line only. */
int state_file_load(struct machine *m, int fd, GError **err);

#endif
