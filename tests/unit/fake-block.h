/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A block back end in memory, in place of backends/block at link time. Requests wait until the test
 * (or an idle source) completes them; the bytes move at completion, as late as a
 * real device might.
 */
#ifndef XENDM_TEST_FAKE_BLOCK_H
#define XENDM_TEST_FAKE_BLOCK_H

#include <xendm/backend.h>
#include <xendm/block.h>

struct block {
    struct backend b;
    uint8_t *data;
    uint64_t size;
    bool present, read_only, kept, direct;
    GQueue pending; /* struct block_request *, oldest first */
    bool hold;      /* complete nothing by itself */
    bool cached;    /* block_read_now() works */
    guint source;
    int fail[BLOCK_ZERO + 1]; /* -errno for requests of this kind that touch bad_sector */
    uint64_t bad_sector;
    unsigned submitted[BLOCK_ZERO + 1], cancels, now_reads;
    bool cancel_works; /* else a request that is cancelled ends as it would */
    uint64_t largest;  /* bytes of the longest request */
    GString *log;      /* "R10+8 W4+1 F ": sector + count */
    struct block_limits limits;
    const struct block_listener *listener;
    void *listener_opaque;
};

/* Drives that a device opens itself: property file, read-only; of FAKE_BLOCK_SECTORS. */
#define FAKE_BLOCK_SECTORS 4096u
extern const struct backend_class fake_block_own_class;
extern unsigned fake_block_own_open;                /* how many are open */
extern bool fake_block_no_direct;                   /* their host cannot */
extern const struct block_limits fake_block_limits; /* of those; a drive that discards */

struct block_queue {
    struct block *b;
    void (*quiet)(void *opaque);
    void *quiet_opaque;
    unsigned in_flight;
};

struct block *
fake_block_new(const char *id,
               uint64_t size); /* each sector begins with its number, then a pattern */
void fake_block_free(struct block *b);
void fake_block_fill(struct block *b);
bool fake_block_complete(struct block *b,
                         unsigned index);      /* the index-th oldest; false if there is none */
void fake_block_complete_all(struct block *b); /* also those submitted meanwhile */

#endif
