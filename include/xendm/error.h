/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors on configuration and control paths. Inside, functions return -errno. */
#ifndef XENDM_ERROR_H
#define XENDM_ERROR_H

#include <stdbool.h>

#include <glib.h>

#define XENDM_ERROR (xendm_error_quark())
GQuark xendm_error_quark(void); /* domain of all GErrors of ours; code is the positive errno */

/*
 * What the host lacks for a moment (memory, descriptors, a signal came): errno, of either sign. May
 * be otherwise next time, so it is tried again before it is told to a guest.
 */
bool error_is_of_the_moment(int error);

#endif
