/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What keeper and server give up; of what is not possible here, the rest. */
#ifndef BACKENDS_VNC_CONFINE_H
#define BACKENDS_VNC_CONFINE_H

#include <stdbool.h>

/*
 * No new privileges, no new network connections, no core dumps, another user than root. The keeper
 * may still start the server's program; the server may read, write, and use memory.
 */
void confine_keeper(void);
bool confine_server(void); /* false: without the filter of system calls; it must not serve then */

#endif
