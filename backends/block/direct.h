/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Past the page cache (O_DIRECT), between raw.c and the engine: the host takes whole blocks only,
 * from memory that is aligned and that it can pin. What is otherwise goes through a copy; a write
 * of less than a block first reads what is around it, and nothing else is written there meanwhile.
 */
#ifndef BACKENDS_BLOCK_DIRECT_H
#define BACKENDS_BLOCK_DIRECT_H

#include <glib.h>

#include "engine.h"

struct direct {
    const struct block_engine *engine;
    uint32_t block;  /* bytes: of offsets and lengths */
    uint32_t memory; /* bytes: of addresses */
    /* struct part; those that wait for others, in order, and those that the engine has */
    GQueue waiting, under_way;
    unsigned copies; /* under way */
    bool copies_all; /* the memory cannot be pinned: guest pages that Xen mapped (-EFAULT) */
};

/* Makes the descriptor so, and finds what the host takes. 0, or -errno: it cannot be so here. */
int direct_begin(struct direct *d, const struct block_engine *engine, int fd);

/*
 * As engine->submit(). What is moved in one go may be less than was asked for, as for any job. Who
 * is told -EFAULT sets `copies_all` and tries again.
 */
void direct_submit(struct direct *d, struct engine_job *job);

/* As engine->cancel(). False: it was never given to the engine, and ends with its caller. */
bool direct_cancel(struct direct *d, struct engine_job *job);

#endif
