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
#include <xendm/turn.h>

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
        bool late = host_now_ns() >= end;

        if (tape_on() ? tape_late(late) : late) {
            return true;
        }
    }
    return false;
}

static void work_done(struct device_work *w)
{
    struct device *dev = w->dev;

    w->dev = NULL;
    w->source = 0;
    device_release(dev);
}

static gboolean work_turn(gpointer opaque)
{
    struct device_work *w = opaque;
    bool taped = tape_on(), more;

    turn_of("device work");
    if (taped && !tape_goes_on(w->dev->id)) {
        return G_SOURCE_CONTINUE;
    }
    more = work(w, TURN_NS);
    if (!more) {
        work_done(w);
    }
    if (taped) {
        tape_end_event();
    }
    return more ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
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
    w->source = g_idle_add_full(G_PRIORITY_DEFAULT, work_turn, w, NULL);
}

void device_work_finish(struct device_work *w)
{
    if (!w->dev) {
        return;
    }
    while (w->step(w->opaque)) {
    }
    g_source_remove(w->source);
    work_done(w);
}
