/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block back end: an image or device on the host, as an asynchronous array of bytes.
 *
 * Promises: a completed WRITE that was followed by a completed FLUSH is on stable storage. Requests
 * may complete in any order; a FLUSH covers the writes that were complete when it was submitted.
 * `error` is 0 or -errno of the host (-ENOSPC, -EIO, …); a short transfer is never reported as
 * success. Reads beyond the end of an image whose size is no multiple of 512 give zeros up to the
 * next multiple.
 */
#ifndef XENDM_BLOCK_H
#define XENDM_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <glib.h>

struct block;

enum block_op {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_FLUSH,
    BLOCK_DISCARD,
    BLOCK_ZERO,
};

struct block_request {
    enum block_op op;
    /* bytes; length is the sum of the iov's for READ and WRITE, ignored by FLUSH */
    uint64_t offset, length;
    struct iovec *iov; /* stays valid until done */
    unsigned niov;     /* at most BLOCK_IOV_MAX */
    /* Called once, from the main loop, never from inside block_submit(). `error` 0 or -errno. */
    void (*done)(struct block_request *req, int error);
    void *opaque;     /* the submitter's */
    void *backend[4]; /* the back end's; do not touch */
};

#define BLOCK_IOV_MAX 1024u

/*
 * Submits. A request outside the image, or a write to a read-only one, completes with -EINVAL /
 * -EROFS.
 */
void block_submit(struct block *b, struct block_request *req);

/*
 * Tries to read without waiting for a device (page cache). Returns 0 when all of it was read,
 * -EAGAIN when it would block or is not possible here: then submit. Any other error is the read's
 * result.
 */
int block_read_now(struct block *b, uint64_t offset, void *buf, size_t length);

/*
 * Completes what the host has finished, without waiting; true if there was something. For the loop
 * that spins on ioreqs.
 */
bool block_poll(void);

/*
 * Waits until nothing is in flight; the completions run inside. Blocks: for resets of a drive and
 * closing.
 */
void block_drain(struct block *b);
/*
 * Called about ten times a second while block_drain() waits in vain: a disk that hangs must not
 * make the process deaf.
 */
void block_set_waiting(void (*waiting)(void));
unsigned block_in_flight(const struct block *b);

uint64_t block_size(const struct block *b); /* bytes, rounded up to 512; 0 without medium */
bool block_read_only(const struct block *b);
bool block_present(const struct block *b);     /* a medium is there */
const char *block_id(const struct block *b);   /* drive id, e.g. "ide-5632" */
const char *block_file(const struct block *b); /* as given; "" when empty */

struct block_options {
    const char *id;
    const char *file; /* NULL or "": no medium yet (CD drives) */
    /* "raw", "host_device"; others are refused by name until an image server serves them */
    const char *format;
    bool read_only;
    int fd; /* ≥ 0: already open; block takes it over. -1: open `file` */
    /* with `fd`: what block_lost() said of it before the live update */
    int lost;
};
struct block *block_open(const struct block_options *options, GError **err);
void block_close(struct block *b);   /* drains first */
int block_fd(const struct block *b); /* to hand on in a live update; -1: no medium */

/*
 * 0, or -errno of the flush that failed: writes to this medium were lost, and no flush of it will
 * succeed.
 */
int block_lost(const struct block *b);

/* Medium change; drains first. After an eject the back end is there but not present. */
void block_eject(struct block *b);
int block_insert(struct block *b, const struct block_options *options, GError **err);

/* One listener: the drive that shows this back end to the guest. */
struct block_listener {
    void (*medium_changed)(void *opaque);
    void (*resized)(void *opaque);
};
void block_set_listener(struct block *b, const struct block_listener *listener, void *opaque);

struct block_stats {
    uint64_t ops[BLOCK_ZERO + 1], bytes[BLOCK_ZERO + 1], errors[BLOCK_ZERO + 1];
};
const struct block_stats *block_stats(const struct block *b);

/*
 * Which engine serves: "io_uring" or "threads". For status output and tests; XENDM_BLOCK_ENGINE in
 * the environment picks.
 */
const char *block_engine(void);

#endif
