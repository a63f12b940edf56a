/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between a drive and its medium: requests that have to wait, because the drive has limits, or
 * because its medium is about to shrink.
 */
#ifndef BACKENDS_BLOCK_GATE_H
#define BACKENDS_BLOCK_GATE_H

#include "throttle.h"

/* Drives that share their limits. */
struct throttle_group;

/* In struct block. */
struct block_gate {
    struct throttle_group *group; /* NULL: no limits */
    GQueue held[2];               /* struct block_request *: reads; the others */
    bool shut;                    /* nothing passes */
    bool hurry;                   /* limits do not count: a stop waits */
};

struct block_gate *block_gate_of(struct block *b); /* block.c */
/* block.c: it goes to the medium now, or is refused. */
void block_pass(struct block *b, struct block_request *req);
/* block.c: it ends with the error, from the loop. */
void block_refuse(struct block_request *req, int error);

/* The request was taken: it passes later. */
bool gate_hold(struct block *b, struct block_request *req);
/* False: it is not here. */
bool gate_take_back(struct block *b, struct block_request *req);
/* All that is held ends with the error. */
void gate_refuse_all(struct block *b, int error);
void gate_shut(struct block *b);
void gate_open(struct block *b);
void gate_hurry(struct block *b, bool on);
/* Reads that would be answered at once have to be counted first. */
bool gate_is_free(struct block *b);

/* `limits` NULL: none. */
void gate_set_limits(struct block *b, const struct block_throttle *limits, const char *group);
const struct block_throttle *gate_limits(const struct block_gate *g);
const char *gate_group(const struct block_gate *g);

#endif
