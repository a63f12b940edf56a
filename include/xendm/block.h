/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block back end: a drive of the host's, as an asynchronous array of bytes. A drive (struct block)
 * may have a medium in it; media come from drivers (backends/block/driver.h): raw files and
 * devices, and what an NBD server or the image server serves.
 *
 * Promises: a completed WRITE that was followed by a completed FLUSH, or had BLOCK_FUA, is on
 * stable storage. Requests may complete in any order; a FLUSH covers the writes that were complete
 * when it was submitted. `error` is 0 or -errno of the host (-ENOSPC, -EIO, …); a short transfer is
 * never reported as success, and what the host refuses for a moment (no thread, no memory, a
 * signal) is tried again before it is reported. Reads beyond the end of an image whose size is no
 * multiple of 512 give zeros up to the next multiple.
 *
 * Nobody waits: a disk of the host may hang for minutes. Whoever wants a request back asks for it
 * (block_cancel) and is called when it is (done, block_quiesce); until then its memory is in use. A
 * medium that is taken out while it has requests stays open until the last of them is over.
 */
#ifndef XENDM_BLOCK_H
#define XENDM_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <glib.h>

struct backend;
struct block; /* embeds struct backend, of kind BACKEND_BLOCK */

static inline struct block *block_of(struct backend *b)
{
    return (struct block *)b;
}
static inline struct backend *block_backend(struct block *b)
{
    return (struct backend *)b;
}

enum block_op {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_FLUSH,
    BLOCK_DISCARD,
    BLOCK_ZERO,
};

enum {
    BLOCK_FUA = 1 << 0,       /* WRITE, ZERO: on stable storage when done */
    BLOCK_MAY_UNMAP = 1 << 1, /* ZERO: the space may be given back */
    BLOCK_SURELY = 1 << 2,    /* FLUSH: also of a drive that does none for its guest */
};

/* What the host's page cache is used for, in the words of QEMU's -drive. */
struct block_cache {
    bool direct;   /* cache.direct=on: not at all (O_DIRECT) */
    bool through;  /* cache.writeback=off: every write is on stable storage when it is done */
    bool no_flush; /* cache.no-flush=on: a guest's flushes do nothing */
};

struct block_limits {
    uint32_t logical, physical; /* bytes a block of the host's; 512 and more */
    uint64_t max_transfer;      /* bytes of one READ or WRITE; 0: no limit */
    uint64_t max_discard;       /* bytes of one DISCARD; 0: no limit */
    uint32_t discard_align;     /* bytes; what is not aligned is left as it is */
    bool can_discard, can_zero, rotational;
};

struct block_request {
    enum block_op op;
    unsigned flags;
    /* bytes; length is the sum of the iov's for READ and WRITE, ignored by FLUSH */
    uint64_t offset, length;
    const struct iovec *iov; /* stays valid until done */
    unsigned niov;           /* at most BLOCK_IOV_MAX */
    /* Called once, from the main loop, never from inside block_submit(). `error` 0 or -errno. */
    void (*done)(struct block_request *req, int error);
    void *opaque;    /* the submitter's */
    void *driver[4]; /* the back end's; do not touch */
};

#define BLOCK_IOV_MAX 1024u

/*
 * Recording and replay (tape.h). block_tape_begin(): with nothing in flight. In a replay no request
 * of the machine's gets to a medium, and block_play_done() is what ends it: with the bytes that
 * were read, NULL for zeros. False: there is no such request.
 */
void block_tape_begin(void);
bool block_play_done(uint64_t number, int error, const void *data, size_t len);

/*
 * One per submission queue of a device; completions of different queues know nothing of each other.
 */
struct block_queue;
struct block_queue *block_queue_new(struct block *b);
void block_queue_free(struct block_queue *q); /* NULL is allowed; nothing may be in flight */

/*
 * Submits. A request outside the image, or a write to a read-only one, completes with -EINVAL /
 * -EROFS, and while there is no medium all do with -ENOMEDIUM.
 */
void block_submit(struct block_queue *q, struct block_request *req);

/*
 * done() follows: with -ECANCELED, or with what had happened already; soon if the host can take it
 * back, else when the host is done with it. The memory is the caller's again only then.
 */
void block_cancel(struct block_queue *q, struct block_request *req);

/*
 * Calls back when nothing of `q` is in flight; maybe inside. One at a time: a device that is being
 * reset stays busy meanwhile. quiet == NULL forgets the one that waits.
 */
void block_quiesce(struct block_queue *q, void (*quiet)(void *opaque), void *opaque);

/*
 * Tries to read without waiting for a device (page cache). Returns 0 when all of it was read,
 * -EAGAIN when it would block or is not possible here: then submit. Any other error is the read's
 * result.
 */
int block_read_now(struct block_queue *q, uint64_t offset, void *buf, size_t length);

/*
 * Completes what the host has finished, without waiting; true if there was something. For the loop
 * that spins on ioreqs.
 */
bool block_poll(void);

unsigned block_in_flight(const struct block *b); /* of media that were taken out, too */

uint64_t block_size(const struct block *b); /* bytes, rounded up to 512; 0 without medium */
const struct block_limits *block_limits(const struct block *b);
bool block_read_only(const struct block *b);
bool block_present(const struct block *b);       /* a medium is there */
const char *block_id(const struct block *b);     /* drive id, e.g. "ide-5632" */
const char *block_file(const struct block *b);   /* as given; "" when empty */
const char *block_format(const struct block *b); /* of the medium: "raw"; "" when empty */
const struct block_cache *block_cache(const struct block *b);

struct block_options {
    const char *id;
    const char *file; /* NULL or "": no medium yet (CD drives) */
    /* "raw", "host_device"; "nbd"; "qcow2", "vpc", "qed", "vmdk", "remote" by the image server */
    const char *format;
    bool read_only;
    struct block_cache cache; /* with block_open(): of the drive's media, this and later ones */
    int fd;                   /* ≥ 0: already open; block takes it over. -1: open `file` */
    /* with `fd`, of the drive before the live update: what block_lost() said; size and name */
    int lost;
    uint64_t size;
    const char *export_name;
    /*
     * The image is somebody else's still (-incoming): nothing of it is read or locked before
     * block_activate().
     */
    bool inactive;
    bool patient; /* with block_insert(): who has its lock may be on the way out, for a second */
};
struct block *block_open(const struct block_options *options, GError **err);
/*
 * Frees the drive. What is in flight still is waited for, but not long: then it is given up, with
 * the memory it uses (the guest was not told that it is done).
 */
void block_close(struct block *b);
int block_fd(const struct block *b); /* to hand on in a live update; -1: no medium */

/*
 * 0, or -errno of the flush that failed: writes to this medium were lost, and no flush of it will
 * succeed.
 */
int block_lost(const struct block *b);

/*
 * Whose the image is, in a migration. block_inactivate(): the other side may take it; our locks are
 * given back, and requests fail with -EBUSY. block_activate(): it is ours (again): locks, forgets
 * what the host had cached of it, looks at the size anew. Both have no effect when it is so
 * already.
 */
int block_activate(struct block *b, GError **err);
void block_inactivate(struct block *b);
bool block_active(const struct block *b);

/*
 * Medium change. After an eject the back end is there but not present; requests in flight end as
 * they do. block_insert() opens the new medium first, for which a server may have to start or to
 * answer: `done` is called once, maybe inside, with an error that is its to free. After one the old
 * medium stays, and options->fd the caller's. One at a time; an eject, another owner and the end of
 * the drive end it (ECANCELED).
 */
void block_eject(struct block *b);
/*
 * While it is kept an eject waits: a PV disk has the medium of the emulated one that its guest
 * unplugs.
 */
void block_keep(struct block *b, bool keep);
void block_insert(struct block *b, const struct block_options *options,
                  void (*done)(void *opaque, GError *err), void *opaque);

/* Whoever shows this back end to a guest; several may listen. */
struct block_listener {
    void (*medium_changed)(void *opaque);
    void (*resized)(void *opaque);
};
void block_listen(struct block *b, const struct block_listener *listener, void *opaque);
void block_unlisten(struct block *b, const struct block_listener *listener, void *opaque);

/*
 * Makes the medium `size` bytes long. It grows at once; before it shrinks, what is in flight ends,
 * and what comes meanwhile waits. A device of the host, and what a server has, is only looked at
 * again: it has the size already, or the call fails. `done` is called once, maybe inside; the
 * listeners before it.
 */
void block_resize(struct block *b, uint64_t size, void (*done)(void *opaque, GError *err),
                  void *opaque);

/*
 * Limits, as of QEMU's -drive throttling.*: requests above them wait their turn, without waking
 * anybody while none waits. Drives of one group share one set. Flushes and discards are free.
 */
enum block_rate_kind {
    BLOCK_BPS_TOTAL,
    BLOCK_BPS_READ,
    BLOCK_BPS_WRITE,
    BLOCK_IOPS_TOTAL,
    BLOCK_IOPS_READ,
    BLOCK_IOPS_WRITE,
    BLOCK_RATES
};
const char *block_rate_name(enum block_rate_kind kind); /* "bps-total" */

struct block_rate {
    uint64_t avg;    /* bytes or requests a second; 0: no limit */
    uint64_t max;    /* … in a burst; 0: none */
    uint64_t length; /* seconds that a burst may last; 0 is 1 */
};
struct block_throttle {
    struct block_rate rate[BLOCK_RATES];
    uint64_t op_size; /* what is longer counts as several requests; 0: never */
};
bool block_throttle_any(const struct block_throttle *t);
int block_throttle_check(const struct block_throttle *t, GError **err);
/* `group` NULL: its own. No limits: it is in none. */
int block_set_throttle(struct block *b, const struct block_throttle *t, const char *group,
                       GError **err);
const struct block_throttle *block_throttle(const struct block *b); /* NULL: no limits */
const char *block_throttle_group(const struct block *b);            /* NULL: in none */

struct block_stats {
    uint64_t ops[BLOCK_ZERO + 1], bytes[BLOCK_ZERO + 1], errors[BLOCK_ZERO + 1];
    uint64_t retries; /* requests that the host refused for a moment */
    uint64_t held;    /* that had to wait: limits, a resize */
};
const struct block_stats *block_stats(const struct block *b);

/*
 * Which engine serves: "io_uring" or "threads". For status output and tests; XENDM_BLOCK_ENGINE in
 * the environment picks.
 */
const char *block_engine(void);

/*
 * For whoever starts keepers for a daemon that cannot (files_start_keeper()): one that serves the
 * open file `image` for reading. Its socket, or -errno.
 */
int block_keeper_for(const char *format, int image);

/*
 * Starts the keeper of what `driver` serves (backends/block/keeper.c): its socket, or -errno. For
 * who may start programs, on behalf of a process that may not (files_start_keeper()). `flags` are
 * FILES_KEEPER_….
 */
int block_start_keeper(const char *driver, const char *file, unsigned flags, GError **err);

/* Chooses and starts the engine, else the first drive does: for who opens drives in a sandbox. */
void block_start_engine(void);

#endif
