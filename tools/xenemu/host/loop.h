/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host process: what Xen is to a device model. One lock (`big`) guards all state; it is never
 * held while a virtual CPU waits for an answer. Threads: the main one (epoll: library requests,
 * event channels, a watchdog) and one per client of the command socket, which plays the virtual CPU
 * it chose.
 */
#ifndef XENEMU_LOOP_H
#define XENEMU_LOOP_H

#include <glib.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct host;
struct domain;

struct source {
    int fd;
    void (*ready)(struct host *h, struct source *s, uint32_t events);
};

/* What is told to whoever looks at a domain from outside. */
enum host_event {
    EVENT_IRQ = 1,
    EVENT_MSI = 2,
    EVENT_EVTCHN = 4,
    EVENT_DOMAIN_GONE = 8, /* no text: nobody may point to it afterwards */
};

/* The way up, for those who serve the sockets. Both are called with `big` held. */
struct host_hooks {
    /* Somebody connected: a library, or else a client of the command socket of `dom` (or NULL). */
    void (*on_accept)(struct host *h, int fd, bool library, struct domain *dom);
    void (*on_event)(struct host *h, struct domain *d, enum host_event what, const char *fmt,
                     va_list ap);
};

struct host {
    const struct host_hooks *hooks;
    pthread_mutex_t big;
    pthread_cond_t idle; /* an access ended, or a line changed */
    int epfd;
    GPtrArray *conns;
    GHashTable *domains;     /* id → struct domain; 0 is dom0: ports only */
    GPtrArray *mappings;     /* struct mapping * */
    GHashTable *map_by_addr; /* key conn^addr → GSList of mappings */
    GPtrArray *sessions;
    GArray *faults;       /* struct fault */
    GHashTable *missing;  /* function → count */
    GHashTable *op_count; /* op → calls */
    GPtrArray *left;      /* strings "PID what": still held when a handle was closed */
    GPtrArray *graveyard; /* sources freed after the current turn */
    int64_t access_timeout_us;
    int64_t spin_ns; /* how long a waiting CPU looks before it sleeps; 0 as on Xen */
    bool quit;
    FILE *log;
    unsigned int listen_nr;
};

void host_log(struct host *h, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
void host_watch(struct host *h, struct source *s, uint32_t events);
void host_unwatch(struct host *h, struct source *s);
void host_rewatch(struct host *h, struct source *s, uint32_t events);
/* `fmt` may be NULL where the event has no text. */
void host_event(struct host *h, struct domain *d, enum host_event what, const char *fmt, ...)
    G_GNUC_PRINTF(4, 5);
int host_listen(struct host *h, const char *path, struct domain *dom);
struct host *host_new(const struct host_hooks *hooks);
void host_run(struct host *h);
int host_main(int argc, char **argv, const struct host_hooks *hooks);

#endif
