/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The drive, between block.c (include/xendm/block.h) and drive.c, the back end. */
#ifndef BACKENDS_BLOCK_INTERNAL_H
#define BACKENDS_BLOCK_INTERNAL_H

#include <xendm/backend.h>

#include "driver.h"
#include "gate.h"

struct block {
    struct backend b;
    char *image;              /* property: the medium to begin with */
    bool read_only;           /* of the next medium */
    struct block_cache cache; /* properties */
    bool writeback;           /* property: not cache.through */
    struct block_medium *m;
    bool active;            /* of the next medium */
    bool kept, eject_waits; /* block_keep() */
    uint32_t number;        /* in the flight recorder: 16 bits */
    unsigned in_flight;
    int64_t progress;  /* CLOCK_MONOTONIC, ns: the last answer, or when the first was asked */
    GArray *listeners; /* struct listening */
    struct block_stats stats;
    struct block_gate gate;
    struct block_throttle limits; /* properties: to begin with */
    char *group;
    struct { /* a medium that is being opened; m NULL: there is none */
        struct block_medium *m;
        bool passed;   /* its descriptor was */
        int64_t until; /* monotonic µs: how long its lock is waited for */
        guint timer;   /* tries that again; 0: not now */
        void (*done)(void *opaque, GError *err);
        void *opaque;
    } coming;
    struct { /* waits for the medium's requests; done NULL: there is none */
        uint64_t size;
        void (*done)(void *opaque, GError *err);
        void *opaque;
    } resize;
};

int block_start(struct block *b, const struct block_options *options, GError **err);
void block_stop(struct block *b);

/*
 * tape.c; in a recording or a replay. block_tape_done() is true if an event began, and
 * block_tape_take() NULL if the recording has another request.
 */
void block_tape_submit(const struct block *b, struct block_request *req);
bool block_tape_has(const struct block_request *req);
bool block_tape_done(const struct block_request *req, int error);
struct block_request *block_tape_take(uint64_t number, const void *data, size_t len);
/* What they are, or in a replay were; valid until the next call. */
const struct block_limits *block_tape_limits(const struct block *b, const struct block_limits *l);

#endif
