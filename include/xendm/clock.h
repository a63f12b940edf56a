/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtual clock and timers. The clock counts nanoseconds while the guest runs and stands still
 * while it is stopped, so no timer fires into a stopped machine, and after a restore the clock goes
 * on where it was saved.
 *
 * One descriptor drives all timers; a process whose guest armed none does not wake up.
 */
#ifndef XENDM_CLOCK_H
#define XENDM_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct vclock;

struct vtimer {
    struct vclock *clock;
    void (*fire)(void *opaque);
    void *opaque;
    const char *name; /* static string, for status output */
    int64_t deadline; /* ns on the virtual clock; VTIMER_OFF when not armed */
    unsigned index;   /* place in the clock's heap while armed */
    uint64_t order;   /* of arming: equal deadlines fire in it */
};

#define VTIMER_OFF INT64_MIN
#define NS_PER_US 1000LL
#define NS_PER_MS 1000000LL
#define NS_PER_S 1000000000LL

/*
 * A clock that stands at 0. `rearm(opaque, delay)` is how it asks for a wake-up: delay in ns of
 * host time, -1 for none; the owner then calls vclock_run(). Tests pass their own; the daemon's
 * drives a timerfd. With `rearm` NULL the clock does not look at host time: it moves by
 * vclock_set() alone, which is then allowed while it runs.
 */
struct vclock *vclock_new(void (*rearm)(void *opaque, int64_t delay_ns), void *opaque);
void vclock_free(struct vclock *clock);

/* ns since the machine was made, without the time it was stopped */
int64_t vclock_now(const struct vclock *clock);
void vclock_start(struct vclock *clock);
void vclock_stop(struct vclock *clock);
bool vclock_running(const struct vclock *clock);
void vclock_set(struct vclock *clock, int64_t now); /* restore and tests; only while stopped */
int64_t vclock_next_deadline(const struct vclock *clock); /* VTIMER_OFF if nothing is armed */

/* From here on it is `now`, until it thaws: then what it is without. For recordings (tape.h). */
void vclock_freeze(struct vclock *clock, int64_t now);
void vclock_thaw(struct vclock *clock);

/*
 * Fires what is due, in order of deadline; a timer armed for the past by a callback fires in the
 * next call.
 */
void vclock_run(struct vclock *clock);

void vtimer_init(struct vtimer *timer, struct vclock *clock, const char *name,
                 void (*fire)(void *opaque), void *opaque);
void vtimer_arm(struct vtimer *timer, int64_t deadline); /* absolute; re-arming moves it */
void vtimer_arm_in(struct vtimer *timer, int64_t delay); /* from now; negative counts as 0 */
void vtimer_disarm(struct vtimer *timer);                /* no effect when not armed */

static inline bool vtimer_armed(const struct vtimer *timer)
{
    return timer->deadline != VTIMER_OFF;
}

#endif
