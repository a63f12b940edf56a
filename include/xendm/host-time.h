/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's clocks in nanoseconds. What the guest's time is, clock.h says. */
#ifndef XENDM_HOST_TIME_H
#define XENDM_HOST_TIME_H

#include <stdint.h>
#include <time.h>

static inline int64_t host_clock_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Since some moment of the past; stands still while the host sleeps. */
static inline int64_t host_now_ns(void)
{
    return host_clock_ns(CLOCK_MONOTONIC);
}

#endif
