/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into the program that a live update starts: trouble at a given moment of its way.
 * XENDM_TROUBLE is WHO:WHEN:WHAT.
 *   WHO   twin: the process that only tries; new: the one that is to serve
 *   WHEN  main: before main(); open: when it opens Xen; build: when it maps the ioreq pages;
 *         events: when it takes the event channels; go: when it was told to go (both: new only)
 *   WHAT  crash, hang, exit
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

struct handle;

struct handle *xendevicemodel_open(void *logger, unsigned flags);
struct handle *xenevtchn_fdopen(void *logger, int fd, unsigned flags);
struct handle *xenforeignmemory_map_resource(struct handle *fmem, int domid, unsigned type,
                                             unsigned id, unsigned long frame, unsigned long frames,
                                             void **address, int prot, int flags);

static char who[8], when[8], what[8];
static int is_twin;

static void trouble(const char *now)
{
    if (strcmp(now, when) != 0 || strcmp(who, is_twin ? "twin" : "new") != 0) {
        return;
    }
    if (what[0] == 'c') {
        abort();
    }
    if (what[0] == 'e') {
        _exit(0);
    }
    for (;;) {
        pause();
    }
}

static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static const char *take_word(const char *from, char *to, size_t size)
{
    size_t n = strcspn(from, ":");

    if (n < size) {
        memcpy(to, from, n);
    }
    return from[n] ? from + n + 1 : from + n;
}

static void __attribute__((constructor)) begin(void)
{
    const char *text = getenv("XENDM_TROUBLE");

    if (text) {
        text = take_word(text, who, sizeof(who));
        text = take_word(text, when, sizeof(when));
        take_word(text, what, sizeof(what));
    }
    unsetenv("LD_PRELOAD");
    unsetenv("XENDM_TROUBLE");
    trouble("main");
}

pid_t fork(void)
{
    pid_t child = ((pid_t(*)(void))real("fork"))();

    is_twin |= child == 0;
    return child;
}

struct handle *xendevicemodel_open(void *logger, unsigned flags)
{
    trouble("open");
    return ((struct handle * (*)(void *, unsigned)) real("xendevicemodel_open"))(logger, flags);
}

struct handle *xenevtchn_fdopen(void *logger, int fd, unsigned flags)
{
    trouble("events");
    return ((struct handle * (*)(void *, int, unsigned)) real("xenevtchn_fdopen"))(logger, fd,
                                                                                   flags);
}

struct handle *xenforeignmemory_map_resource(struct handle *fmem, int domid, unsigned type,
                                             unsigned id, unsigned long frame, unsigned long frames,
                                             void **address, int prot, int flags)
{
    trouble("build");
    return ((struct handle * (*)(struct handle *, int, unsigned, unsigned, unsigned long,
                                 unsigned long, void **, int, int))
                real("xenforeignmemory_map_resource"))(fmem, domid, type, id, frame, frames,
                                                       address, prot, flags);
}

/* A process that is told to go first takes back that it dies with who started it. */
int prctl(int option, ...)
{
    unsigned long a[4];
    va_list list;

    va_start(list, option);
    for (int i = 0; i < 4; i++) {
        a[i] = va_arg(list, unsigned long);
    }
    va_end(list);
    if (option == PR_SET_PDEATHSIG && a[0] == 0) {
        trouble("go");
    }
    return ((int (*)(int, ...))real("prctl"))(option, a[0], a[1], a[2], a[3]);
}
