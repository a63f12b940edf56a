/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to xendm-p9: what the server gives up before it reads its first message. */
#ifndef BACKENDS_P9_CONFINE_H
#define BACKENDS_P9_CONFINE_H

#include <stdbool.h>

/*
 * The exported directory becomes all that has a name, and /proc/self/fd the working directory.
 * `owners`: it may give files away. False: not even the least could be done.
 */
bool confine(int root, bool owners);

#endif
