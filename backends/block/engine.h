/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How requests reach the host's kernel. Two engines: io_uring, and a thread pool where the kernel
 * refuses io_uring. An engine moves bytes; retries and short transfers are raw.c's.
 */
#ifndef BACKENDS_BLOCK_ENGINE_H
#define BACKENDS_BLOCK_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum engine_op {
    ENGINE_READV,
    ENGINE_WRITEV,
    ENGINE_WRITEV_SYNC, /* O_DSYNC for this one */
    ENGINE_SYNC,        /* fdatasync */
    ENGINE_PUNCH,       /* fallocate PUNCH_HOLE | KEEP_SIZE */
    ENGINE_ZERO,        /* fallocate ZERO_RANGE | KEEP_SIZE */
};

/* Where a job is; the engine's. */
enum engine_place {
    ENGINE_NOWHERE,
    ENGINE_WAITING, /* in a list of the engine's */
    ENGINE_GIVEN,   /* to the kernel */
};

/* One operation on one descriptor; embedded in raw.c's bookkeeping. `done` runs in the main loop,
 * never in submit(). */
struct engine_job {
    enum engine_op op;
    int fd;
    uint64_t offset, length;
    const struct iovec *iov;
    unsigned niov;
    ssize_t result; /* bytes, or -errno */
    void (*done)(struct engine_job *job);
    /* the engine's */
    struct engine_job *next;
    enum engine_place place;
    void *entry;
    struct part *part; /* direct.c's */
};

/*
 * Results of the moment, which may be otherwise next time: -EAGAIN, -EINTR, -ENOMEM, -ECANCELED (a
 * ring whose kernel thread could not be made). The engine does not try again, its caller does.
 */
struct block_engine {
    const char *name;
    int (*start)(void); /* 0, or -errno when this kernel cannot */
    void (*submit)(struct engine_job *job);
    /* Takes it back if that is possible: it ends with -ECANCELED. Else it ends as it does. */
    void (*cancel)(struct engine_job *job);
    bool (*poll)(void); /* completes what is complete; true if anything was */
    /* Blocks until something was completed or the time is over. True if anything was. */
    bool (*wait)(int timeout_ms);
};

extern const struct block_engine block_engine_uring;
extern const struct block_engine block_engine_threads;

/* raw.c */
bool block_raw_poll(void);
bool block_raw_wait(int timeout_ms);

/* What is repeated while the host lacks something: first soon, then ever more rarely. */
#define ENGINE_RETRY_FIRST_MS 1u
#define ENGINE_RETRY_MAX_MS 100u
#ifndef ENGINE_PATIENCE_US
#define ENGINE_PATIENCE_US (10 * G_TIME_SPAN_SECOND) /* then it is reported as the drive's error */
#endif

#endif
