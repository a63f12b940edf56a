/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every driver of a back end there is. A new one adds one line here; backends/classes.c makes the
 * table of it, in this order.
 */
#ifndef XENDM_BACKEND_CLASSES_H
#define XENDM_BACKEND_CLASSES_H

#include <xendm/backend.h>

#define BACKEND_CLASSES(X) \
    X(backend_net_socket) \
    X(backend_net_tap)

#define X(c) extern const struct backend_class c;
BACKEND_CLASSES(X)
#undef X

#endif
