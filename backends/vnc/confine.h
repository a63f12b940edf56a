/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BACKENDS_VNC_CONFINE_H
#define BACKENDS_VNC_CONFINE_H

#include <stdbool.h>

/*
 * No new privileges, no new network connections, no core dumps, another user than root, and nothing
 * but reading, writing and memory. Of what is not possible here, the rest. False: without the
 * filter of system calls; it must not serve then.
 */
bool confine_server(void);

#endif
