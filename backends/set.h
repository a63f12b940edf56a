/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between set.c and make.c. */
#ifndef BACKENDS_SET_H
#define BACKENDS_SET_H

#include <xendm/backend.h>

struct backend_set {
    GPtrArray *list; /* struct backend *, in order of making */
    bool inactive;   /* new ones are */
};

/* Frees one that is not open. */
void backend_destroy(struct backend *b);

#endif
