/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtual clock and timers; see xendm/clock.h. A binary heap ordered by (deadline, order of
 * arming).
 *
 * What a callback arms for the past waits in `deferred` until the run is over, so that one call of
 * vclock_run() always ends.
 */
#include <string.h>
#include <time.h>

#include <glib.h>

#include <xendm/clock.h>
#include <xendm/host-time.h>
#include <xendm/recorder.h>

#define DEFERRED 0x80000000u /* in vtimer.index: it is an index into deferred[] */

struct timer_array {
    struct vtimer **timer;
    unsigned count, capacity;
};

struct vclock {
    void (*rearm)(void *opaque, int64_t delay_ns);
    void *opaque;
    bool running, frozen;
    int64_t base; /* the clock when it was last started or set */
    int64_t host; /* host time then */
    int64_t frozen_at;
    int64_t asked; /* deadline that rearm() was last called for; VTIMER_OFF for none */
    uint64_t order;
    struct timer_array heap, deferred;
    bool in_run;
    int64_t run_now; /* while in_run: what counts as the past */
};

struct vclock *vclock_new(void (*rearm)(void *opaque, int64_t delay_ns), void *opaque)
{
    struct vclock *clock = g_new0(struct vclock, 1);

    clock->rearm = rearm;
    clock->opaque = opaque;
    clock->asked = VTIMER_OFF;
    return clock;
}

void vclock_free(struct vclock *clock)
{
    /* An armed timer would be a device that forgot to disarm it in unrealize. */
    XENDM_ASSERT(clock->heap.count == 0 && clock->deferred.count == 0);
    g_free(clock->heap.timer);
    g_free(clock->deferred.timer);
    g_free(clock);
}

int64_t vclock_now(const struct vclock *clock)
{
    int64_t now;

    if (!clock->running || !clock->rearm || clock->frozen) {
        return clock->frozen ? clock->frozen_at : clock->base;
    }
    if (__builtin_add_overflow(clock->base, host_now_ns() - clock->host, &now)) {
        return INT64_MAX;
    }
    return now;
}

void vclock_freeze(struct vclock *clock, int64_t now)
{
    clock->frozen = true;
    clock->frozen_at = now;
}

void vclock_thaw(struct vclock *clock)
{
    clock->frozen = false;
}

bool vclock_running(const struct vclock *clock)
{
    return clock->running;
}

int64_t vclock_next_deadline(const struct vclock *clock)
{
    int64_t next = clock->heap.count ? clock->heap.timer[0]->deadline : VTIMER_OFF;

    for (unsigned i = 0; i < clock->deferred.count; i++) {
        if (next == VTIMER_OFF || clock->deferred.timer[i]->deadline < next) {
            next = clock->deferred.timer[i]->deadline;
        }
    }
    return next;
}

/* Asks the owner for the wake-up that is needed now, if that is another one than before or that one
 * is `spent`. */
static void update_wakeup(struct vclock *clock, bool spent)
{
    int64_t next = clock->running && !clock->in_run ? vclock_next_deadline(clock) : VTIMER_OFF;
    int64_t now, delay;

    if (clock->in_run || (next == clock->asked && !spent)) {
        return;
    }
    clock->asked = next;
    if (!clock->rearm) {
        return;
    }
    if (next == VTIMER_OFF) {
        clock->rearm(clock->opaque, -1);
        return;
    }
    now = vclock_now(clock);
    if (next <= now) {
        delay = 0;
    } else if (__builtin_sub_overflow(next, now, &delay)) {
        delay = INT64_MAX;
    }
    clock->rearm(clock->opaque, delay);
}

void vclock_start(struct vclock *clock)
{
    if (clock->running) {
        return;
    }
    clock->running = true;
    clock->host = host_now_ns();
    update_wakeup(clock, false);
}

void vclock_stop(struct vclock *clock)
{
    if (!clock->running) {
        return;
    }
    clock->base = vclock_now(clock);
    clock->running = false;
    update_wakeup(clock, false);
}

void vclock_set(struct vclock *clock, int64_t now)
{
    XENDM_ASSERT(!clock->running || !clock->rearm);
    clock->base = now;
}

/* ---- the heap ---- */

static bool earlier(const struct vtimer *a, const struct vtimer *b)
{
    return a->deadline < b->deadline || (a->deadline == b->deadline && a->order < b->order);
}

static void heap_put(struct timer_array *heap, unsigned at, struct vtimer *timer)
{
    heap->timer[at] = timer;
    timer->index = at;
}

static void heap_up(struct timer_array *heap, unsigned at)
{
    struct vtimer *timer = heap->timer[at];

    while (at > 0 && earlier(timer, heap->timer[(at - 1) / 2])) {
        heap_put(heap, at, heap->timer[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_put(heap, at, timer);
}

static void heap_down(struct timer_array *heap, unsigned at)
{
    struct vtimer *timer = heap->timer[at];

    for (;;) {
        unsigned child = 2 * at + 1;

        if (child >= heap->count) {
            break;
        }
        if (child + 1 < heap->count && earlier(heap->timer[child + 1], heap->timer[child])) {
            child++;
        }
        if (!earlier(heap->timer[child], timer)) {
            break;
        }
        heap_put(heap, at, heap->timer[child]);
        at = child;
    }
    heap_put(heap, at, timer);
}

static void array_append(struct timer_array *array, struct vtimer *timer)
{
    if (array->count == array->capacity) {
        array->capacity = array->capacity ? array->capacity * 2 : 16;
        array->timer = g_renew(struct vtimer *, array->timer, array->capacity);
    }
    array->timer[array->count++] = timer;
}

static void heap_add(struct timer_array *heap, struct vtimer *timer)
{
    array_append(heap, timer);
    heap_up(heap, heap->count - 1);
}

/* Takes the timer out of whichever array it is in. */
static void take_out(struct vclock *clock, struct vtimer *timer)
{
    unsigned at = timer->index;
    struct vtimer *last;

    if (at & DEFERRED) {
        at &= ~DEFERRED;
        XENDM_ASSERT(at < clock->deferred.count && clock->deferred.timer[at] == timer);
        memmove(&clock->deferred.timer[at], &clock->deferred.timer[at + 1],
                (clock->deferred.count - at - 1) * sizeof(struct vtimer *));
        clock->deferred.count--;
        for (; at < clock->deferred.count; at++) {
            clock->deferred.timer[at]->index = at | DEFERRED;
        }
    } else {
        XENDM_ASSERT(at < clock->heap.count && clock->heap.timer[at] == timer);
        last = clock->heap.timer[--clock->heap.count];
        if (last != timer) {
            heap_put(&clock->heap, at, last);
            heap_down(&clock->heap, at);
            heap_up(&clock->heap, last->index);
        }
    }
    timer->deadline = VTIMER_OFF;
}

/* ---- timers ---- */

void vtimer_init(struct vtimer *timer, struct vclock *clock, const char *name,
                 void (*fire)(void *opaque), void *opaque)
{
    memset(timer, 0, sizeof(*timer));
    timer->clock = clock;
    timer->name = name;
    timer->fire = fire;
    timer->opaque = opaque;
    timer->deadline = VTIMER_OFF;
}

void vtimer_arm(struct vtimer *timer, int64_t deadline)
{
    struct vclock *clock = timer->clock;

    XENDM_ASSERT(clock);
    if (timer->deadline != VTIMER_OFF) {
        take_out(clock, timer);
    }
    timer->deadline = deadline == VTIMER_OFF ? VTIMER_OFF + 1 : deadline;
    timer->order = clock->order++;
    if (clock->in_run && timer->deadline <= clock->run_now) {
        timer->index = clock->deferred.count | DEFERRED;
        array_append(&clock->deferred, timer);
    } else {
        heap_add(&clock->heap, timer);
    }
    update_wakeup(clock, false);
}

void vtimer_arm_in(struct vtimer *timer, int64_t delay)
{
    int64_t deadline;

    if (__builtin_add_overflow(vclock_now(timer->clock), delay > 0 ? delay : 0, &deadline)) {
        deadline = INT64_MAX;
    }
    vtimer_arm(timer, deadline);
}

void vtimer_disarm(struct vtimer *timer)
{
    if (timer->deadline != VTIMER_OFF && timer->clock) {
        take_out(timer->clock, timer);
        update_wakeup(timer->clock, false);
    }
}

void vclock_run(struct vclock *clock)
{
    if (!clock->running || clock->in_run) {
        return;
    }
    clock->in_run = true;
    clock->run_now = vclock_now(clock);
    /* A callback may stop the clock; then the rest stays armed. */
    while (clock->running && clock->heap.count > 0 &&
           clock->heap.timer[0]->deadline <= clock->run_now) {
        struct vtimer *timer = clock->heap.timer[0];

        take_out(clock, timer);
        timer->fire(timer->opaque);
    }
    for (unsigned i = 0; i < clock->deferred.count; i++) {
        heap_add(&clock->heap, clock->deferred.timer[i]);
    }
    clock->deferred.count = 0;
    clock->in_run = false;
    update_wakeup(clock, true);
}
