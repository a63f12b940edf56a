/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is there before the device model starts. */
#ifndef XENEMU_ENVIRONMENT_H
#define XENEMU_ENVIRONMENT_H

#include <stdbool.h>

bool find_libdir(void);
const char *find_xenstored(void);
/* xenemu where: which Xen this is built for, and what a run would use. */
int where_main(void);
char *library_path(void); /* LD_LIBRARY_PATH=... */
bool set_up(void);
void remove_dir(const char *dir);

#endif
