/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When the device model is ready. */
#ifndef XENEMU_READINESS_H
#define XENEMU_READINESS_H

#include <stdbool.h>

bool wait_ready(void);
bool wait_running(void);
bool qmp_tells(const char *cmd, const char *text);
/* One connection as libxl makes it; `expect` must be in the reply of the last command. */
bool qmp_session(const char *const *cmds, const char *expect);

#endif
