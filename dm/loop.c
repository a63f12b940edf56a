/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Main loop glue; see loop.h. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <glib-unix.h>

#include <xendm/device.h>
#include <xendm/log.h>
#include <xendm/recorder.h>
#include <xendm/tape.h>
#include <xendm/turn.h>

#include "loop.h"
#include "tape/tape.h"

static const struct loop_handlers *signal_handlers;
static void *signal_opaque;
static int signal_fd = -1;
static int (*before_sleep)(void *opaque);
static void *before_sleep_opaque;

int loop_signal_fd(void)
{
    return signal_fd;
}

void loop_take_signals(void)
{
    struct signalfd_siginfo info;

    while (read(signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGUSR1) {
            signal_handlers->dump(signal_opaque);
        } else {
            signal_handlers->terminate(signal_opaque, strsignal((int)info.ssi_signo));
        }
    }
}

static gboolean signal_ready(gint fd, GIOCondition condition, gpointer opaque)
{
    turn_of("signal");
    loop_take_signals();
    return G_SOURCE_CONTINUE;
}

/* SA_RESETHAND: the second time, and on return, the signal does what it would have done without us.
 */
static void fatal_signal(int number)
{
    static const char text[] = "xendm: fatal signal\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);

    (void)ignored;
    recorder_last_words(STDERR_FILENO);
    recording_last_words();
    raise(number);
}

static const int end_signals[] = {SIGHUP, SIGTERM, SIGINT};

void loop_set_before_sleep(int (*ask)(void *opaque), void *opaque)
{
    before_sleep = ask;
    before_sleep_opaque = opaque;
}

/* Around GLib's poll(2): what is not in it is a turn. */
static gint watched_poll(GPollFD *fds, guint count, gint timeout)
{
    gint ready, longest = before_sleep ? before_sleep(before_sleep_opaque) : -1;

    if (longest >= 0 && (timeout < 0 || timeout > longest)) {
        timeout = longest;
    }
    turn_end();
    ready = g_poll(fds, count, timeout);
    turn_begin();
    return ready;
}

int loop_init(const struct loop_handlers *handlers, void *opaque, GError **err)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    struct sigaction action = {.sa_handler = fatal_signal,
                               .sa_flags = (int)SA_RESETHAND | SA_NODEFER};
    sigset_t set;

    signal_handlers = handlers;
    signal_opaque = opaque;
    g_main_context_set_poll_func(NULL, watched_poll);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a write beyond the file size limit is to fail with EFBIG */
    sigemptyset(&set);
    for (unsigned i = 0; i < G_N_ELEMENTS(end_signals); i++) {
        sigaddset(&set, end_signals[i]);
    }
    sigaddset(&set, SIGUSR1);
    for (int s = 1; s <= SIGTERM; s++) {
        if (sigismember(&set, s) == 1) {
            signal(s, SIG_DFL);
        }
    }
    if (sigprocmask(SIG_SETMASK, &set, NULL) < 0 ||
        (signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0) {
        g_set_error(err, XENDM_ERROR, errno, "cannot take signals: %s", g_strerror(errno));
        return -1;
    }
    g_unix_fd_add(signal_fd, G_IO_IN, signal_ready, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(fatal); i++) {
        sigaction(fatal[i], &action, NULL);
    }
    return 0;
}

/* ---- CPU time ---- */

/*
 * Linux 6.12 and later take a slice for ordinary threads, too, and let the one with the shorter
 * slice go first when it wakes up; its share stays what it was. Earlier ones ignore it. A nice
 * value would buy the same with a larger share: a guest that keeps us busy would then take from
 * dom0 what the toolstack needs, and a real-time class all of it.
 */
#define SLICE_NS (100 * NS_PER_US) /* the least there is */

void loop_ask_for_short_slices(void)
{
    /* struct sched_attr, which glibc has since 2.41 only and the kernel's headers clash with. */
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attr = {.size = sizeof(attr), .policy = SCHED_OTHER, .runtime = SLICE_NS};

    if (sched_getscheduler(0) != SCHED_OTHER) {
        return; /* the admin has an opinion */
    }
    errno = 0;
    attr.nice = getpriority(PRIO_PROCESS, 0); /* as it is */
    if (errno != 0 || syscall(SYS_sched_setattr, 0, &attr, 0) != 0) {
        log_info(LOG_DM, "no short slices of CPU time: %s", g_strerror(errno));
    }
}

/* ---- the virtual clock ---- */

struct clock_timer {
    int fd;
    struct vclock *clock;
};

static void clock_rearm(void *opaque, int64_t delay)
{
    struct clock_timer *t = opaque;
    struct itimerspec spec = {.it_value = {.tv_sec = 0, .tv_nsec = 0}};

    if (delay >= 0) {
        /* Zero would disarm; one nanosecond is "now". */
        delay = delay > 0 ? delay : 1;
        spec.it_value.tv_sec = delay / NS_PER_S;
        spec.it_value.tv_nsec = delay % NS_PER_S;
    }
    timerfd_settime(t->fd, 0, &spec, NULL);
}

static gboolean clock_ready(gint fd, GIOCondition condition, gpointer opaque)
{
    struct clock_timer *t = opaque;
    uint64_t expirations;

    turn_of("timers");
    if (read(fd, &expirations, sizeof(expirations)) == sizeof(expirations) && !tape_plays()) {
        tape_enter(TAPE_TIMERS, NULL, NULL, NULL, 0);
        vclock_run(t->clock);
        tape_leave();
    }
    return G_SOURCE_CONTINUE;
}

struct vclock *loop_clock_new(GError **err)
{
    static struct clock_timer timer;

    timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (timer.fd < 0) {
        g_set_error(err, XENDM_ERROR, errno, "cannot make a timer: %s", g_strerror(errno));
        return NULL;
    }
    timer.clock = vclock_new(clock_rearm, &timer);
    g_unix_fd_add(timer.fd, G_IO_IN, clock_ready, &timer);
    return timer.clock;
}
