/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Grant tables. */
#ifndef XENEMU_GNTTAB_H
#define XENEMU_GNTTAB_H

#include <stdbool.h>
#include <stdint.h>

struct host;
struct domain;
struct mapping;

struct grant {
    uint32_t domid; /* who may map */
    uint64_t gfn;
    bool readonly;
    unsigned int in_use;
};

int gnttab_add(struct domain *d, uint32_t ref, uint32_t domid, uint64_t gfn, bool readonly);
int gnttab_remove(struct domain *d, uint32_t ref);
struct grant *gnttab_get(struct domain *d, uint32_t ref, bool write, int16_t *status);
void gnttab_unmapped(struct host *h, struct mapping *m);

#endif
