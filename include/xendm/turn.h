/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Turns of the main loop: from the return of poll(2) to the next call. All sources that are ready
 * share one, and while it lasts nobody else is served, so that its length is what a hostile guest
 * or client can make everybody wait. Measured always: the longest ones, in CPU time, and whose they
 * were.
 *
 * Every callback of the loop begins with turn_of(); tests/rules/loop-sources.py looks. The price is
 * a reading of the clock that is no system call.
 */
#ifndef XENDM_TURN_H
#define XENDM_TURN_H

#include <stdbool.h>
#include <stdint.h>

/* From here on the turn is `source`'s, a string constant. */
void turn_of(const char *source);

/* From here on they count: there is a guest that waits. */
void turn_start(void);

/*
 * A guest's access is served between these two, by a device that comes back at once or holds it
 * (hold.h). Whoever waits for something outside of this process says turn_waits() before
 * (tests/rules/may-wait.py looks), of which a build with sanitizers dies inside an access.
 */
extern unsigned turn_accesses;
static inline void turn_access_begin(void)
{
    turn_accesses++;
}
static inline void turn_access_end(void)
{
    turn_accesses--;
}
void turn_waits(void);

/* The turn that is under way, for who looks from outside; `source` is cut if need be. */
struct turn_now {
    int64_t begin; /* CLOCK_MONOTONIC, ns; 0: the loop sleeps */
    char source[32];
};
/* From now on it is kept there; NULL: nowhere. */
void turn_publish(struct turn_now *now);

/* By the loop around poll(2). */
void turn_begin(void);
void turn_end(void);

#define TURN_LIMIT_NS 5000000 /* what is too long whatever the guest does */

/*
 * Whether this turn is old enough that work which can wait goes on in the next one: a ring's next
 * frame or request. Everybody does one unit before asking, so that all get on. False outside of the
 * loop.
 */
bool turn_is_used_up(void);

struct turn_longest {
    const char *source; /* who had the largest part of it; NULL: there was no long one */
    int64_t cpu_ns;     /* of the whole turn. A quarter of a millisecond may belong to others */
    int64_t wall_ns;
};

struct turn_counters {
    uint64_t turns;
    uint64_t above_1ms, above_5ms; /* of CPU time */
    struct turn_longest longest;   /* since the start */
    struct turn_longest recent;    /* … and since turn_forget() */
};
const struct turn_counters *turn_counters(void);
void turn_forget(void);

#endif
