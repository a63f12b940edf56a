/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>

#include <xendm/error.h>

GQuark xendm_error_quark(void)
{
    return g_quark_from_static_string("xendm-error-quark");
}

bool error_is_of_the_moment(int error)
{
    static const int known[] = {EAGAIN, EINTR, ENOMEM, ENOBUFS, EMFILE, ENFILE};

    for (unsigned i = 0; i < G_N_ELEMENTS(known); i++) {
        if (abs(error) == known[i]) {
            return true;
        }
    }
    return false;
}
