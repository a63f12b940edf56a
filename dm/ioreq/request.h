/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an ioreq means: from a slot or the buffered ring to the machine and back, without a
 * hypervisor call, so that unit tests can feed it anything. dm/ioreq/server.c owns the pages, the
 * event channels and the loop around it.
 *
 * The page is shared with Xen. Nobody else can write it in our configuration, but a request is
 * treated as if it came from an enemy: each is read once, into a local, and every field is checked.
 */
#ifndef DM_IOREQ_CORE_H
#define DM_IOREQ_CORE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include <xen/hvm/ioreq.h>

#include <xendm/clock.h>

#include "ioreq.h"

struct machine;

/* The host's time, for the budgets of a turn. */
static inline int64_t ioreq_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/*
 * Most repetitions that a request may have. Xen clips string instructions to 4096 repetitions
 * before anything else (hvmemul_virtual_to_linear) and then at the end of the page; what is longer
 * does not come from Xen, and is refused instead of being served for seconds.
 */
#define IOREQ_COUNT_MAX 4096u

/* A request that was begun: a string instruction between its turns, or a device holds (hold.h). */
struct ioreq_rest {
    struct ioreq r; /* as it was read; the slot is not looked at again */
    uint32_t done;  /* units */
    bool on;
    bool starves; /* the host cannot map its memory now: not before ioreq_core.retry_ns is over */
    const struct device *waits; /* who held in it; NULL: it waits for its turn only */
    uint64_t answer;            /* once all units are done */
    int64_t since;              /* ioreq_now_ns() of the latest turn that it was left in */
};

struct ioreq_core {
    struct machine *machine;
    struct ioreq *slot; /* one per vCPU */
    unsigned vcpus;
    struct buffered_iopage *ring; /* NULL: none */
    /* the machine stands still: answer nothing but INVALIDATE */
    bool hold;
    bool busy;               /* a request is being served */
    bool ring_left;          /* the last drain left items: their device is held, or time is up */
    bool waited;             /* a request was left for later since a device was held */
    int64_t deadline;        /* ioreq_now_ns() at which the turn of all is over; 0: none */
    unsigned next_vcpu;      /* where ioreq_core_poll() goes on */
    bool starving;           /* the string instruction that is served had to stop for that */
    int64_t starved_since;   /* since when no memory could be had; 0: it can */
    int64_t pause_ns;        /* before the next try */
    bool retry_wanted;       /* whoever owns the core calls ioreq_core_retry() after pause_ns */
    struct ioreq_rest *rest; /* one per vCPU; NULL until one was needed */
    void (*notify)(void *opaque, unsigned vcpu);
    void *opaque;
    struct ioreq_counters counters;
    uint8_t bounce[4096];
};

/*
 * Serves what is in the slot of `vcpu`, after everything that is in the ring, and notifies. False
 * when there was no request, or it has to wait.
 *
 * A string instruction whose units take long is left when the turn is over, and after a unit that
 * holds its device, so that a guest cannot keep the main loop with one instruction: true, but
 * nobody is notified; the next call for this vCPU goes on with it.
 */
bool ioreq_core_serve(struct ioreq_core *core, unsigned vcpu);

/*
 * The pause after the host could not map guest memory is over: strings that wait for that go on.
 * Nothing is lost meanwhile, neither what the guest sends nor what the device has; after some
 * seconds it is as if there were no memory.
 */
void ioreq_core_retry(struct ioreq_core *core);

/* Whether the turn is over: what is left is for the next. */
bool ioreq_core_late(const struct ioreq_core *core);

/*
 * A device was released: answers whose access waited for just that, also while the machine stands
 * still. True: there are requests to look at again.
 */
bool ioreq_core_released(struct ioreq_core *core);

/*
 * The machine stands still: of string instructions that were begun, what is left is written into
 * their slots as requests of their own. So nothing is lost when another program goes on.
 */
void ioreq_core_park(struct ioreq_core *core);

/* Frees what was allocated; the pages are the caller's. */
void ioreq_core_clear(struct ioreq_core *core);

/* Empties the ring, but not more than one ring's worth. Returns the number of items. */
unsigned ioreq_core_drain(struct ioreq_core *core);

/*
 * Looks at all slots once, from where it stopped last time, and at the ring, until the turn is
 * over. Returns how many requests (also parts of long string instructions) and items, ≤ max.
 */
unsigned ioreq_core_poll(struct ioreq_core *core, unsigned max);

#endif
