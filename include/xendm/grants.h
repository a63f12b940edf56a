/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages that the guest grants to our domain, by their reference: mapped (rings, which live long) or
 * copied (data). Implemented on libxengnttab in dm/xen; unit tests link tests/unit/fake-pv.c.
 *
 * The guest chooses the references and may take any of them back that is not mapped: each use may
 * fail. A page that is mapped is written by the guest at any time: what is read from it is copied
 * once, then checked.
 */
#ifndef XENDM_GRANTS_H
#define XENDM_GRANTS_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#define GRANT_PAGE_SIZE 4096u
#define GRANTS_MAP_MAX 256u    /* pages of one mapping */
#define GRANTS_TOTAL_MAX 4096u /* pages that are mapped of one domain */
#define GRANTS_COPY_MAX 256u   /* parts of one copy */

struct grants;

struct grants *grants_open(unsigned domid, GError **err);
/* Unmaps what is mapped still. NULL is allowed. */
void grants_close(struct grants *g);

/*
 * All of them in one piece of memory, in order, or none: NULL with -errno in `*error`. -EINVAL: too
 * many, -ENOSPC: more than GRANTS_TOTAL_MAX, others are Xen's.
 */
void *grants_map(struct grants *g, const uint32_t *refs, unsigned count, bool write, int *error);
void grants_unmap(struct grants *g, void *pages, unsigned count);
unsigned grants_mapped(const struct grants *g); /* pages */

/* A part of one page, copied by Xen: nothing is mapped. */
struct grant_copy {
    uint32_t ref;
    uint16_t offset, len; /* within the page */
    void *local;
    int error; /* afterwards: 0, or -errno */
};
/*
 * At most GRANTS_COPY_MAX, by one call of Xen's. 0 if all were copied, else -errno of the first
 * that was not; others may be, as each part's `error` says.
 */
int grants_copy(struct grants *g, struct grant_copy *parts, unsigned count, bool to_guest);

#endif
