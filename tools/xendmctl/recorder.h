/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A flight recorder that is read: which entries are wanted, and what belongs together. */
#ifndef XENDMCTL_RECORDER_H
#define XENDMCTL_RECORDER_H

#include "page.h"

struct filter {
    const char *kind;   /* the beginning of its name; NULL: all */
    const char *device; /* or drive; NULL: all */
    uint64_t first, last;
    int vcpu;            /* -1: all */
    double older, newer; /* seconds ago */
    uint64_t newest;
    int (*print)(const struct page *page, const struct filter *f); /* an exit status */
    const char *count; /* by what; NULL: it is not counted */
    const char *other; /* the other side of a difference; NULL: there is none */
};

const struct recorder_entry *recorder_entry_at(const struct page *page, uint64_t i);
/* Those that are wanted, oldest first. */
GPtrArray *recorder_entries(const struct page *page, const struct filter *f);

/* Both g_free() or a constant. */
char *recorder_device(const struct page *page, const struct recorder_entry *e);
const char *recorder_operation(const struct recorder_entry *e); /* of a disk request */

struct recorder_request {
    const struct recorder_entry *begin, *end; /* NULL: no answer has come */
};
GArray *recorder_requests(const struct page *page, const struct filter *f);

/* Chrome's trace event format, which ui.perfetto.dev opens. */
int recorder_perfetto(const struct page *page, const struct filter *f);

#endif
