/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of xenemu run. */
#ifndef XENEMU_OPTIONS_H
#define XENEMU_OPTIONS_H

#include <stdbool.h>

/* Fills `opt` and `run.extra`; false with the mistake told. */
bool options_parse(int argc, char **argv);

#endif
