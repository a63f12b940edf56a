/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What libxl would have written. */
#ifndef XENEMU_LIBXL_H
#define XENEMU_LIBXL_H

#include <glib.h>
#include <stdbool.h>

int video_mb(void);
bool write_nodes(void);
GPtrArray *dm_arguments(int qmp_fd, int state_fd, char **extra);

#endif
