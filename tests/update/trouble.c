/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into a program that passed the rehearsal of a live update: makes it crash or hang when
 * it takes the event channels over, which is done in earnest only. XENDM_TROUBLE: "crash", "hang".
 * The program that comes back after it is spared, since the environment is cleaned first.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct xenevtchn_handle;
struct xentoollog_logger;

struct xenevtchn_handle *xenevtchn_fdopen(struct xentoollog_logger *logger, int fd, unsigned flags);
unsigned alarm(unsigned seconds);

static char kind;

static void __attribute__((constructor)) begin(void)
{
    const char *text = getenv("XENDM_TROUBLE");

    kind = text ? text[0] : '\0';
    unsetenv("LD_PRELOAD");
    unsetenv("XENDM_TROUBLE");
}

/* Nobody wants to wait as long as the real thing does. */
unsigned alarm(unsigned seconds)
{
    return ualarm(seconds ? 500000 : 0, 0) / 1000000;
}

struct xenevtchn_handle *xenevtchn_fdopen(struct xentoollog_logger *logger, int fd, unsigned flags)
{
    (void)logger, (void)fd, (void)flags;
    if (kind == 'c') {
        abort();
    }
    for (;;) {
        pause();
    }
}
