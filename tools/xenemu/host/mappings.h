/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mappings of guest memory that processes hold. */
#ifndef XENEMU_MAPPINGS_H
#define XENEMU_MAPPINGS_H

#include <stdbool.h>
#include <stdint.h>

struct host;
struct domain;
struct conn;

enum map_kind { MAP_FOREIGN, MAP_GRANT, MAP_RESOURCE };

/* A mapping that some process holds; counted as a leak when it is there at the end. */
struct mapping {
    struct conn *conn;
    struct domain *dom;
    uint64_t addr, pages, mfn, gfn;
    enum map_kind kind;
    unsigned int index; /* in host->mappings */
    uint32_t ref;
    bool writable;
    uint8_t notify; /* grant: 1 = clear byte, 2 = send event */
    uint16_t notify_offset;
    uint32_t notify_port;
};

struct mapping *mapping_add(struct host *h, struct conn *c, struct domain *d, uint64_t addr,
                            uint64_t pages, uint64_t mfn, uint64_t gfn, enum map_kind kind);
void mapping_remove(struct host *h, struct conn *c, uint64_t addr, uint64_t pages,
                    enum map_kind kind);
void mapping_drop_conn(struct host *h, struct conn *c);
void mapping_drop_domain(struct host *h, struct domain *d);

#endif
