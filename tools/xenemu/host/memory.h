/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory: which page of the memfd is which page of the guest, and of what type. */
#ifndef XENEMU_MEMORY_H
#define XENEMU_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#define XE_PAGE_SHIFT 12
#define XE_PAGE 4096u
#define XE_INVALID_GFN UINT64_MAX
/* Guest addresses end at 46 bits. */
#define XE_MAX_GFN (UINT64_C(1) << 34)

struct domain;

enum mem_type { MEM_RAM_RW, MEM_RAM_RO, MEM_MMIO_DM, MEM_IOREQ_SERVER };

/* Pages gfn … gfn+nr-1 lie at mfn … of the memfd. Sorted by gfn, no overlap; a gap is a hole. */
struct mem_run {
    uint64_t gfn, nr, mfn;
    enum mem_type type;
};

const struct mem_run *mem_lookup(const struct domain *d, uint64_t gfn);
/* Numbers of fresh pages, outside the domain's quota; 0 if there is no room. */
uint64_t mem_alloc_mfn(struct domain *d, uint64_t nr);
int mem_populate(struct domain *d, uint64_t gfn, unsigned int order);
int mem_remove(struct domain *d, uint64_t gfn, uint64_t nr, bool free_pages);
void mem_insert(struct domain *d, uint64_t gfn, uint64_t nr, uint64_t mfn, enum mem_type type);
int mem_relocate(struct domain *d, uint64_t nr, uint64_t src, uint64_t dst);
int mem_set_type(struct domain *d, enum mem_type type, uint64_t gfn, uint64_t nr);
uint8_t *mem_ptr(struct domain *d, uint64_t gpa, uint64_t *left, enum mem_type *type);
/* A mapping went away: pages that only it kept are freed. */
void mem_reap(struct domain *d);

#endif
