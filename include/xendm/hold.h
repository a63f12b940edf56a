/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The answer of this access comes later.
 *
 * A register write may ask for more than an access may take (the main loop's millisecond belongs to
 * all accesses together): 16 MiB to clear, 4096 pages to move, a disk to wait for. Its handler then
 * holds the device. The vCPU stays in its instruction, as it would on a slow bus, so that the guest
 * never sees the effect half done, even where it looks without us (its own video memory). Until the
 * release no other access reaches this device's regions or its configuration space either: those
 * wait too, and the device is never entered in the middle of what it does. All others are served.
 *
 * Rules:
 *   - Hold only from a handler of an access, or while one is held already. What a handler returned
 *     is the answer: reads that hold have to know it.
 *   - An access that the bus splits (two registers in one 8-byte write) arrives whole: the pieces
 *     behind the one that held come at once. A string instruction goes on after the release.
 *   - A device that holds is busy: machine_stop() is followed by waiting until it released.
 *     So it must release by itself, whatever the guest does, stopped or not.
 *   - reset, unrealize: device_work_finish() or device_release() first.
 */
#ifndef XENDM_HOLD_H
#define XENDM_HOLD_H

#include <stdbool.h>

#include <xendm/later.h>

struct device;
struct machine;

/* They count: as many releases as holds. The last release answers who waited. */
void device_hold(struct device *dev);
void device_release(struct device *dev);
bool device_is_held(const struct device *dev);

/*
 * Work in small steps (some ten µs each), which holds the device for as long as there is more. Its
 * first steps are done at once, and most often that is all; the rest gets a part of each turn of
 * the main loop.
 */
struct device_work {
    struct device *dev;         /* NULL: nothing under way */
    bool (*step)(void *opaque); /* true: there is more */
    void *opaque;
    struct later later;
};

/* Nothing of `w` may be under way. */
void device_work_start(struct device_work *w, struct device *dev, bool (*step)(void *opaque),
                       void *opaque);
/* All that is left, now. No effect when nothing is under way. */
void device_work_finish(struct device_work *w);
static inline bool device_work_on(const struct device_work *w)
{
    return w->dev != NULL;
}

/* For who serves accesses (dm/ioreq). */
struct machine_holds {
    unsigned held;          /* devices; 0 almost always */
    struct device *by_this; /* who held in the access that is being served; cleared before it */
    void (*released)(void *opaque); /* a device was released, or is gone */
    void *opaque;
};

#endif
