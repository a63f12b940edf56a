/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long turns take; see xendm/turn.h.
 *
 * CPU time is a system call, which a wake-up for one access should not pay. So wall time is what is
 * looked at, and only a turn that is long by that is looked at by CPU time as well: what the thread
 * used since the last reading. Readings are renewed whenever turns have added up to SLACK_NS, which
 * bounds what of earlier turns may be counted in.
 */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <xendm/host-time.h>
#include <xendm/recorder.h>
#include <xendm/turn.h>

#define LONG_NS 1000000 /* a turn that is worth a look */
#define SLACK_NS 250000
#define SHARE_NS 1000000 /* of wall time: a quarter of the limit, for the last unit may be long */

static struct {
    struct turn_counters counters;
    int64_t start, since; /* of the turn, of its present source */
    int64_t cpu, unread;  /* the last reading; wall time of turns since then */
    const char *source, *largest;
    int64_t largest_ns;
    struct turn_now *published;
} t;

static void source_ends(int64_t now)
{
    if (now - t.since > t.largest_ns) {
        t.largest_ns = now - t.since;
        t.largest = t.source;
    }
    t.since = now;
}

void turn_of(const char *source)
{
    if (t.source) {
        source_ends(host_clock_ns(CLOCK_MONOTONIC));
    }
    t.source = source;
    if (t.published) {
        strncpy(t.published->source, source, sizeof(t.published->source) - 1);
    }
}

void turn_publish(struct turn_now *now)
{
    t.published = now;
}

unsigned turn_accesses;

void turn_waits(void)
{
#ifdef __SANITIZE_ADDRESS__
    XENDM_ASSERT(turn_accesses == 0);
#endif
}

void turn_begin(void)
{
    if (t.unread >= SLACK_NS) {
        t.cpu = host_clock_ns(CLOCK_THREAD_CPUTIME_ID);
        t.unread = 0;
    }
    t.start = t.since = host_clock_ns(CLOCK_MONOTONIC);
    t.source = t.largest = NULL;
    t.largest_ns = 0;
    if (t.published) {
        t.published->begin = t.start;
    }
}

static void keep(struct turn_longest *longest, int64_t cpu, int64_t wall)
{
    if (cpu > longest->cpu_ns) {
        *longest = (struct turn_longest){t.largest ? t.largest : "nobody", cpu, wall};
    }
}

static void was_long(int64_t wall)
{
    int64_t cpu = host_clock_ns(CLOCK_THREAD_CPUTIME_ID), used = cpu - t.cpu;

    t.cpu = cpu;
    t.unread = 0;
    used = used < wall ? used : wall;
    t.counters.above_1ms += used > LONG_NS;
    t.counters.above_5ms += used > TURN_LIMIT_NS;
    keep(&t.counters.longest, used, wall);
    keep(&t.counters.recent, used, wall);
}

bool turn_is_used_up(void)
{
    return t.start != 0 && host_clock_ns(CLOCK_MONOTONIC) - t.start >= SHARE_NS;
}

void turn_end(void)
{
    int64_t now, wall;

    if (t.start == 0) {
        return; /* the first call: what was before is the start */
    }
    if (t.published) {
        t.published->begin = 0;
    }
    now = host_clock_ns(CLOCK_MONOTONIC);
    wall = now - t.start;
    t.counters.turns++;
    if (wall <= LONG_NS) {
        t.unread += wall;
        return;
    }
    source_ends(now);
    was_long(wall);
}

const struct turn_counters *turn_counters(void)
{
    return &t.counters;
}

void turn_start(void)
{
    t.counters = (struct turn_counters){0};
    t.start = 0;
}

void turn_forget(void)
{
    t.counters.recent = (struct turn_longest){0};
}
