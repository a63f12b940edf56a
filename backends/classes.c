/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of back end drivers. Apart from the set, so that a test can link one driver without all
 * others.
 */
#include <xendm/backend-classes.h>

static const struct backend_class *const classes[] = {
#define X(c) &c,
    BACKEND_CLASSES(X)
#undef X
        NULL,
};

const struct backend_class *const *backend_classes(void)
{
    return classes;
}
