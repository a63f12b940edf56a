/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ioreq servers: their life, their pages and the ranges they claim. */
#ifndef XENEMU_IOREQ_SERVER_H
#define XENEMU_IOREQ_SERVER_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define XE_MAX_VCPUS 128u
#define XE_MAX_SERVERS 8u
#define XE_MAX_RANGES 256u

struct domain;
struct port;

struct range {
    uint64_t start, end;
};

struct ioreq_page {
    uint64_t mfn; /* 0 = none */
    uint64_t gfn; /* XE_INVALID_GFN unless mapped by gfn */
    uint8_t *va;
};

struct server {
    unsigned int id, refs;
    struct domain *dom;
    bool enabled, dead, atomic;
    int bufioreq_handling;
    GArray *ranges[3]; /* struct range, sorted */
    struct ioreq_page sync, buf;
    uint32_t buf_port;
    struct port *vport[XE_MAX_VCPUS];
    uint64_t sent, sent_buffered;
};

int ioreq_create(struct domain *d, int bufioreq, unsigned int *id);
int ioreq_destroy(struct domain *d, unsigned int id);
int ioreq_info(struct domain *d, unsigned int id, bool no_gfns, uint64_t out[3]);
int ioreq_map_range(struct domain *d, unsigned int id, unsigned int type, uint64_t start,
                    uint64_t end);
int ioreq_unmap_range(struct domain *d, unsigned int id, unsigned int type, uint64_t start,
                      uint64_t end);
int ioreq_set_state(struct domain *d, unsigned int id, bool enabled);
int ioreq_resource(struct domain *d, unsigned int id, uint64_t frame, uint64_t *mfn);
int ioreq_map_mem_type(struct domain *d, unsigned int id, uint32_t type, uint32_t flags);
void ioreq_put(struct server *s);
/* Whether one of the sorted ranges has all of start … end. */
bool range_contains(const GArray *a, uint64_t start, uint64_t end);

#endif
