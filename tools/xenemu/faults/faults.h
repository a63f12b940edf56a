/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Faults that a test asked for; the host keeps them, whoever does the operation asks here. */
#ifndef XENEMU_FAULTS_H
#define XENEMU_FAULTS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Pseudo operations beside those of rpc.h: an event that gets lost on its way, requests to
 * xenstored (through the proxy) and disk I/O. */
#define XE_OP_EVENT UINT32_MAX
#define XE_OP_XS 10000u
#define XE_OP_DISK 11000u

#define FAULT_ANY UINT64_MAX
#define FAULT_FAILS UINT64_MAX

struct fault {
    uint32_t op;
    unsigned int after; /* calls that still succeed */
    unsigned int count; /* calls that then fail; UINT_MAX = all */
    int err;
    /* only requests that touch these; FAULT_ANY = any. Disks: sectors */
    uint64_t gfn, gfn_end;
    /* disks: not an error, but at most so many bytes; FAULT_FAILS = an error */
    uint64_t shorter;
    char drive[4]; /* disks: "hda" …; "" = any */
    uint32_t hits;
};

/* All take the list of `struct fault`. 0, or -errno if this call is to fail. */
int fault_call(GArray *faults, uint32_t op);
int fault_page(GArray *faults, uint32_t op, uint64_t gfn);
int fault_disk(GArray *faults, uint32_t op, const char *drive, uint64_t first, uint64_t last,
               bool cached, uint64_t *shorter);
/* Whether this event is to get lost. */
bool fault_event(GArray *faults);

#endif
