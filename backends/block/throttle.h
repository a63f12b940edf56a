/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How fast a drive may be: leaky buckets, by numbers and times that the caller gives. gate.c holds
 * the requests.
 */
#ifndef BACKENDS_BLOCK_THROTTLE_H
#define BACKENDS_BLOCK_THROTTLE_H

#include <xendm/block.h>

/* One of each rate. What was let through runs in and drains away at the rate. */
struct throttle_bucket {
    double level;       /* drains at avg */
    double burst_level; /* drains at max: how fast a burst may be */
};

struct throttle {
    struct block_throttle limits;
    struct throttle_bucket bucket[BLOCK_RATES];
    int64_t drained_ns; /* when the levels were so */
};

/* Empty buckets. */
void throttle_init(struct throttle *t, const struct block_throttle *limits, int64_t now_ns);
/* ns until the next request of this direction may go; 0: now. */
int64_t throttle_wait(struct throttle *t, bool write, int64_t now_ns);
/* One goes. */
void throttle_account(struct throttle *t, bool write, uint64_t bytes);

#endif
