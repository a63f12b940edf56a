/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The start of the device model. */
#ifndef XENEMU_DEVICE_MODEL_H
#define XENEMU_DEVICE_MODEL_H

#include <stdbool.h>

/* `incoming`: file with the state of an earlier device model of this domain, or NULL. */
bool start_dm(char **extra, const char *incoming);
/* What it is started with in its environment, as struct child wants it. */
char **dm_environment(void);
bool replace_dm(const char *state);

#endif
