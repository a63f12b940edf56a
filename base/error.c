/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <xendm/error.h>

GQuark xendm_error_quark(void)
{
    return g_quark_from_static_string("xendm-error-quark");
}
