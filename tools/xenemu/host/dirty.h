/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Logs of written pages: the toolstack's, the display's, and what the device model said. */
#ifndef XENEMU_DIRTY_H
#define XENEMU_DIRTY_H

#include <stdbool.h>
#include <stdint.h>

struct domain;

struct dirty_log {
    uint64_t *bits; /* mapped without reservation */
    uint64_t nr;
    bool on;
};

void dirty_init(struct dirty_log *log, uint64_t nr); /* bits is NULL if there is no memory */
void dirty_free(struct dirty_log *log);
void dirty_set(struct dirty_log *log, uint64_t gfn, uint64_t nr);
void dirty_clear(struct dirty_log *log);
bool dirty_test(const struct dirty_log *log, uint64_t gfn);
void mem_mark_dirty(struct domain *d, uint64_t gfn, uint64_t nr);
int mem_track_vram(struct domain *d, uint64_t first, uint32_t nr, uint8_t *bitmap);
int mem_modified(struct domain *d, uint64_t pfn, uint64_t nr);

#endif
