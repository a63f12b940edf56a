/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Accesses whose answer comes later; see xendm/hold.h. */
#include <time.h>

#include <xendm/clock.h>
#include <xendm/device.h>
#include <xendm/hold.h>
#include <xendm/host-time.h>
#include <xendm/machine.h>
#include <xendm/recorder.h>
#include <xendm/tape.h>

#include "core.h"

#define FIRST_NS (200 * NS_PER_US) /* what an access may do of its work itself */
#define TURN_NS (NS_PER_MS / 2)    /* what a turn of the loop does of it */

void device_hold(struct device *dev)
{
    struct machine_holds *holds = &dev->machine->holds;

    if (dev->holds++ == 0) {
        holds->held++;
    }
    holds->by_this = dev;
}

static void none_left(struct device *dev)
{
    struct machine_holds *holds = &dev->machine->holds;

    dev->holds = 0;
    holds->held--;
    if (holds->by_this == dev) {
        holds->by_this = NULL;
    }
    if (holds->released) {
        holds->released(holds->opaque);
    }
}

void device_release(struct device *dev)
{
    XENDM_ASSERT(dev->holds > 0);
    if (dev->holds > 1) {
        dev->holds--;
    } else {
        none_left(dev);
    }
}

void device_release_all(struct device *dev)
{
    if (dev->holds > 0) {
        none_left(dev);
    }
}

bool device_is_held(const struct device *dev)
{
    return dev->holds > 0;
}

/* ---- work ---- */

/* Steps for about `ns`; whether there is more. */
static bool work(const struct device_work *w, int64_t ns)
{
    int64_t end = host_now_ns() + ns;

    while (w->step(w->opaque)) {
        if (tape_late(host_now_ns() >= end)) {
            return true;
        }
    }
    return false;
}

static void work_done(struct device_work *w)
{
    struct device *dev = w->dev;

    w->dev = NULL;
    device_release(dev);
}

static void work_later(struct device_work *w);

static void work_turn(void *opaque)
{
    struct device_work *w = opaque;

    if (work(w, TURN_NS)) {
        work_later(w);
    } else {
        work_done(w);
    }
}

static void work_later(struct device_work *w)
{
    static const struct later_kind kind = {.turn = "device work", .go_on = work_turn};

    later_ask(&w->later, &kind, w, w->dev->id);
}

void device_work_start(struct device_work *w, struct device *dev, bool (*step)(void *opaque),
                       void *opaque)
{
    XENDM_ASSERT(!w->dev);
    *w = (struct device_work){.step = step, .opaque = opaque};
    if (!work(w, FIRST_NS)) {
        return;
    }
    w->dev = dev;
    device_hold(dev);
    work_later(w);
}

void device_work_finish(struct device_work *w)
{
    if (!w->dev) {
        return;
    }
    while (w->step(w->opaque)) {
    }
    later_forget(&w->later);
    work_done(w);
}
