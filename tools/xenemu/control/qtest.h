/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clients of the command socket: each a session that plays one virtual CPU. */
#ifndef XENEMU_QTEST_H
#define XENEMU_QTEST_H

#include <glib.h>
#include <pthread.h>
#include <stdarg.h>
#include "../host/loop.h"

struct session {
    struct host *host;
    struct domain *dom;
    unsigned int vcpu;
    unsigned int want; /* enum host_event: asynchronous lines */
    int fd;
    pthread_mutex_t out_lock;
    GString *pending; /* asynchronous lines not yet sent */
};

void session_new(struct host *h, int fd, struct domain *dom);
/* Called with big held: never blocks on a client, the lines go out with the next write to it. */
void session_event(struct host *h, struct domain *d, enum host_event what, const char *fmt,
                   va_list ap) G_GNUC_PRINTF(4, 0);

#endif
