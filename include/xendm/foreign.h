/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages of the guest's by their frame numbers, for protocols from before there were grants (vfb):
 * what Xen lets a domain map that has rights over the other. Implemented on libxenforeignmemory in
 * dm/xen; unit tests link tests/unit/fake-pv.c.
 *
 * The guest chooses the numbers, so that each mapping may fail. What is mapped stays that memory,
 * and the guest writes to it at any time.
 */
#ifndef XENDM_FOREIGN_H
#define XENDM_FOREIGN_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#define FOREIGN_PAGE_SIZE 4096u
#define FOREIGN_PAGES_MAX 16384u /* of one mapping: 64 MiB */

struct foreign;

struct foreign *foreign_open(unsigned domid, GError **err);
void foreign_close(struct foreign *f); /* NULL is allowed */

/* All of them in one piece of memory, in order, or none: NULL with -errno in `*error`. */
void *foreign_map(struct foreign *f, const uint64_t *frames, unsigned count, bool write,
                  int *error);
void foreign_unmap(struct foreign *f, void *pages, unsigned count);

#endif
