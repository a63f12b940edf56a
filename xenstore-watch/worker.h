/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests to xenstored, by a thread that may wait for the answers; see worker.c. */
#ifndef XENSTORE_WORKER_H
#define XENSTORE_WORKER_H

#include <stdbool.h>

struct xs_handle;
struct xenstore_worker;

enum xs_op {
    XS_OP_READ,       /* → text, length */
    XS_OP_LIST,       /* → list, length */
    XS_OP_WRITE,      /* path, value */
    XS_OP_WRITE_IN,   /* the same, while `directory` is there */
    XS_OP_WATCH,      /* path, value: the token */
    XS_OP_UNWATCH,    /* the same */
    XS_OP_INTRODUCED, /* domid: ok */
};

struct xs_job {
    enum xs_op op;
    char *path, *value, *directory; /* absolute */
    unsigned domid;

    /* The answer. */
    bool ok;
    int error; /* errno; 0 of a domain that is not introduced */
    char *text;
    char **list;
    unsigned length;

    /* the worker's */
    bool waited, done, owed;
    bool newest_counts; /* a later one takes its place */
};

struct xs_job *xs_job_new(enum xs_op op, const char *path, const char *value);
void xs_job_free(struct xs_job *job);

/* NULL with errno. The connection stays the caller's. */
struct xenstore_worker *xenstore_worker_new(struct xs_handle *handle);
/*
 * Waits for what is under way, but not for a xenstored that does not answer: false, and then the
 * connection may not be closed. NULL: no effect.
 */
bool xenstore_worker_free(struct xenstore_worker *w);
/*
 * Until this was called, jobs that are asked for are done at once, by the caller, who waits as long
 * as it takes. From then on nobody waits for longer than `ms` for xenstored to go on.
 */
void xenstore_worker_limit(struct xenstore_worker *w, unsigned ms);
/*
 * 0: it is done. Else there is no answer, and the job is the worker's: -EINPROGRESS, a write that
 * is done as soon as xenstored goes on; -EAGAIN, -ENOBUFS: it is not.
 */
int xenstore_worker_ask(struct xenstore_worker *w, struct xs_job *job);
/*
 * Nobody waits. A failure is logged. The job is the worker's. `newest_counts`: of several values of
 * a path the last one is written. 0, -EAGAIN (no thread), -ENOBUFS (too many wait).
 */
int xenstore_worker_put(struct xenstore_worker *w, struct xs_job *job);
/* Once for each time that xenstored was without an answer, when it has answered. */
bool xenstore_worker_recovered(struct xenstore_worker *w);

#endif
