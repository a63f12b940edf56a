/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's main loop: GLib's default context, the virtual clock on a timerfd, signals on a
 * signalfd. */
#ifndef DM_LOOP_H
#define DM_LOOP_H

#include <glib.h>

#include <xendm/clock.h>

struct loop_handlers {
    void (*terminate)(void *opaque, const char *signal_name); /* SIGHUP, SIGTERM, SIGINT */
    void (*dump)(void *opaque);                               /* SIGUSR1 */
};

/*
 * Blocks the signals the loop takes and installs handlers for fatal ones, which write the flight
 * recorder to stderr. SIGHUP may be inherited as ignored (toolstack.md 1.2): it is taken all the
 * same.
 */
int loop_init(const struct loop_handlers *handlers, void *opaque, GError **err);

/* Readable when a signal waits; and takes what waits, as the main loop would. */
int loop_signal_fd(void);
void loop_take_signals(void);

/* Asked before each sleep of the loop, in the turn that ends: the longest time to sleep, in
 * milliseconds; -1: until something happens. NULL: nobody. */
void loop_set_before_sleep(int (*before_sleep)(void *opaque), void *opaque);

/*
 * Asks the kernel for short slices of CPU time: not more of it, but sooner, so that a guest's
 * access does not wait until somebody else has had his three milliseconds. Before the system call
 * filter; by each program, for the one of a live update is the broker's child.
 */
void loop_ask_for_short_slices(void);

/* The clock every timer of the machine lives on. */
struct vclock *loop_clock_new(GError **err);

#endif
