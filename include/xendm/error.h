/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors on configuration and control paths. Inside, functions return -errno. */
#ifndef XENDM_ERROR_H
#define XENDM_ERROR_H

#include <glib.h>

#define XENDM_ERROR (xendm_error_quark())
GQuark xendm_error_quark(void); /* domain of all GErrors of ours; code is the positive errno */

#endif
