/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of virtual CPUs, from the access to the answer. */
#ifndef XENEMU_IOREQ_REQUEST_H
#define XENEMU_IOREQ_REQUEST_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <xen/xen.h>
#include <xen/hvm/ioreq.h>
#include "cpu.h"

struct host;
struct domain;
struct server;

struct vcpu {
    unsigned int id;
    pthread_mutex_t lock; /* one access at a time; taken before big */
    struct server *waiting;
    int64_t wait_since; /* µs, monotonic */
    bool abort_wait;
    const char *abort_why;
    bool event_pending;
    struct cpu cpu;
};

enum io_result { IO_OK, IO_NOBODY, IO_FAIL };

/*
 * Carry out one request as the CPU would: Xen's own devices first, then the server that claims it,
 * else all ones. On IO_FAIL `why` says in one line what Xen would have said. Called without `big`.
 */
enum io_result io_access(struct domain *d, unsigned int vcpu, ioreq_t *req, const char **why);
enum io_result io_buffered(struct domain *d, ioreq_t *req);
enum io_result io_broadcast(struct domain *d, unsigned int vcpu, uint8_t type, uint64_t data,
                            const char **why);
/* Lets the CPUs go that wait for this server (NULL: for any). */
void ioreq_abort_waiters(struct domain *d, const struct server *s, const char *why);
void ioreq_watchdog(struct host *h);

#endif
