/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether a call fails that a test wants to fail, and how. */
#include <errno.h>
#include <string.h>
#include "faults.h"

static int fault_take(struct fault *f)
{
    if (f->after) {
        f->after--;
        return 0;
    }
    if (!f->count)
        return 0;
    if (f->count != UINT32_MAX)
        f->count--;
    f->hits++;
    return -f->err;
}

int fault_page(GArray *faults, uint32_t op, uint64_t gfn)
{
    unsigned int i;
    int r = 0;

    for (i = 0; !r && i < faults->len; i++) {
        struct fault *f = &g_array_index(faults, struct fault, i);

        if (f->op == op && f->gfn != FAULT_ANY && gfn >= f->gfn && gfn <= f->gfn_end)
            r = fault_take(f);
    }
    return r;
}

int fault_call(GArray *faults, uint32_t op)
{
    unsigned int i;
    int r = 0;

    for (i = 0; !r && i < faults->len; i++) {
        struct fault *f = &g_array_index(faults, struct fault, i);

        if (f->op == op && f->gfn == FAULT_ANY)
            r = fault_take(f);
    }
    return r;
}

/*
 * A system call on a drive's file, which touches the sectors first … last. 0: none of it fails;
 * < 0: it fails so; 1: it moves at most *shorter bytes. A read that takes only what is in the cache
 * (`cached`) finds nothing there if it would fail: the read that follows fails in its place.
 */
int fault_disk(GArray *faults, uint32_t op, const char *drive, uint64_t first, uint64_t last,
               bool cached, uint64_t *shorter)
{
    unsigned int i;

    for (i = 0; i < faults->len; i++) {
        struct fault *f = &g_array_index(faults, struct fault, i);
        int r;

        if (f->op != op || (f->drive[0] && strcmp(f->drive, drive)) ||
            (f->gfn != FAULT_ANY && (last < f->gfn || first > f->gfn_end)))
            continue;
        if (cached && !f->after && f->count)
            return -EAGAIN;
        r = fault_take(f);
        if (r && f->shorter == FAULT_FAILS)
            return r;
        *shorter = f->shorter;
        if (r)
            return 1;
    }
    return 0;
}

bool fault_event(GArray *faults)
{
    unsigned int i;

    for (i = 0; i < faults->len; i++) {
        struct fault *f = &g_array_index(faults, struct fault, i);

        if (f->op == XE_OP_EVENT && fault_take(f))
            return true;
    }
    return false;
}
