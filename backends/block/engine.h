/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How requests reach the host's kernel. Two engines: io_uring, and a thread pool where the kernel
 * refuses io_uring. An engine moves bytes; checks, statistics and short transfers are block.c's.
 */
#ifndef BACKENDS_HOST_BLOCK_ENGINE_H
#define BACKENDS_HOST_BLOCK_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum engine_op {
    ENGINE_READV,
    ENGINE_WRITEV,
    ENGINE_SYNC,  /* fdatasync */
    ENGINE_PUNCH, /* fallocate PUNCH_HOLE | KEEP_SIZE */
    ENGINE_ZERO,  /* fallocate ZERO_RANGE | KEEP_SIZE */
};

/* One operation on one descriptor; embedded in block.c's bookkeeping. `done` runs in the main loop
 * or in wait(). */
struct engine_job {
    enum engine_op op;
    int fd;
    uint64_t offset, length;
    const struct iovec *iov;
    unsigned niov;
    ssize_t result; /* bytes, or -errno */
    void (*done)(struct engine_job *job);
    struct engine_job *next; /* the engine's */
};

struct block_engine {
    const char *name;
    int (*start)(void); /* 0, or -errno when this kernel cannot */
    void (*submit)(struct engine_job *job);
    bool (*poll)(void); /* completes what is complete; true if anything was */
    /*
     * Blocks until something was completed or the time is over; something must be in flight. True
     * if anything was.
     */
    bool (*wait)(int timeout_ms);
};

extern const struct block_engine block_engine_uring;
extern const struct block_engine block_engine_threads;

#endif
