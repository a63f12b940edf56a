/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block driver `raw`: a file or a block device of the host, byte for byte. The bytes are moved by
 * an engine (engine.h); here is what an engine does not know: transfers that are cut short, results
 * that are only of the moment, what a host cannot do, where an odd-sized image ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <xendm/error.h>
#include <xendm/file-size.h>
#include <xendm/files.h>
#include <xendm/log.h>
#include <xendm/turn.h>

#include "direct.h"
#include "driver.h"

/* Zero-filling where the host cannot punch: each iovec entry names this buffer. */
#define ZERO_CHUNK 65536u
/* A transfer within memory (tmpfs) is done at once up to this size; copying it takes some 20 µs. */
#define COPY_MAX (256u << 10)

struct raw {
    struct block_medium m; /* first */
    int fd;
    uint64_t host_size;
    bool in_memory; /* tmpfs: no device to wait for, and io_uring would hand it to a thread */
    bool no_punch, no_zero; /* the host said EOPNOTSUPP once */
    bool past_cache;        /* cache.direct */
    struct direct direct;
};

/* One request on its way; from a pool. */
struct transfer {
    struct engine_job job; /* first: the engine gives it back */
    struct raw *r;
    struct block_request *req;
    struct transfer *next; /* in the pool, or among those that are tried again */
    uint64_t done;         /* bytes moved so far */
    struct iovec *iov;     /* own copy after a short transfer, or for zero-filling */
    bool cancelled;
    bool faulted;                /* the host cannot pin its memory */
    unsigned retry_ms;           /* until the next try */
    int64_t first_try, next_try; /* monotonic µs; 0: none failed so far */
};

static const struct block_engine *engine;
static const uint8_t zeros[ZERO_CHUNK] __attribute__((aligned(4096)));
static struct transfer *pool;

/*
 * Requests that never reach the engine (nothing to do, or done already) still complete from the
 * main loop or block_poll(), not inside submit.
 */
static GQueue at_once = G_QUEUE_INIT;
static unsigned total_in_flight;

/* Those that the host refused for a moment. */
static struct transfer *again;
static guint again_source;

/* ---- the end of a transfer ---- */

static struct transfer *transfer_new(void)
{
    struct transfer *t = pool;

    if (!t) {
        return g_new0(struct transfer, 1);
    }
    pool = t->next;
    memset(t, 0, sizeof(*t));
    return t;
}

static void transfer_complete(struct transfer *t, int error)
{
    struct block_medium *m = &t->r->m;
    struct block_request *req = t->req;

    g_free(t->iov);
    t->iov = NULL;
    t->next = pool;
    pool = t;
    req->driver[0] = NULL;
    total_in_flight--;
    block_request_done(m, req, error);
}

/* To the host. */
static void give(struct transfer *t)
{
    if (t->r->past_cache) {
        direct_submit(&t->r->direct, &t->job);
    } else {
        engine->submit(&t->job);
    }
}

static bool complete_at_once(void);

static gboolean at_once_prepare(GSource *source, gint *timeout)
{
    *timeout = -1;
    return !g_queue_is_empty(&at_once);
}

static gboolean at_once_check(GSource *source)
{
    return !g_queue_is_empty(&at_once);
}

static gboolean at_once_dispatch(GSource *source, GSourceFunc fn, gpointer opaque)
{
    turn_of("disk");
    complete_at_once();
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs at_once_funcs = {
    .prepare = at_once_prepare,
    .check = at_once_check,
    .dispatch = at_once_dispatch,
};

/* ---- engine ---- */

static int engine_pick(void)
{
    const char *want = getenv("XENDM_BLOCK_ENGINE");
    int err;

    if (!want || strcmp(want, "io_uring") == 0) {
        err = block_engine_uring.start();
        if (err == 0) {
            engine = &block_engine_uring;
            return 0;
        }
        log_info(LOG_BLOCK, "io_uring is not available (%s): using threads", g_strerror(-err));
    } else if (strcmp(want, "threads") != 0) {
        log_warning(LOG_BLOCK, "XENDM_BLOCK_ENGINE=%s is unknown: using threads", want);
    }
    err = block_engine_threads.start();
    if (err == 0) {
        engine = &block_engine_threads;
    }
    return err;
}

static int engine_start(void)
{
    GSource *source;
    int err;

    if (engine) {
        return 0;
    }
    err = engine_pick();
    if (err == 0) {
        source = g_source_new(&at_once_funcs, sizeof(GSource));
        g_source_set_name(source, "block-at-once");
        g_source_set_can_recurse(source, TRUE);
        g_source_attach(source, NULL);
        g_source_unref(source);
    }
    return err;
}

void block_start_engine(void)
{
    engine_start(); /* whoever opens a drive is told what is wrong */
}

const char *block_engine(void)
{
    return engine ? engine->name : "none";
}

bool block_raw_poll(void)
{
    bool any = complete_at_once();

    return (total_in_flight > 0 && engine->poll()) || any;
}

/* ---- opening ---- */

static int find_size(int fd, const char *file, uint64_t *size, GError **err)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        int e = errno;

        g_set_error(err, XENDM_ERROR, e, "cannot examine '%s': %s", file, g_strerror(e));
        return -e;
    }
    if (S_ISREG(st.st_mode)) {
        *size = (uint64_t)st.st_size;
        return 0;
    }
    if (S_ISBLK(st.st_mode)) {
        if (ioctl(fd, BLKGETSIZE64, size) < 0) {
            int e = errno;

            g_set_error(err, XENDM_ERROR, e, "cannot find the size of '%s': %s", file,
                        g_strerror(e));
            return -e;
        }
        return 0;
    }
    g_set_error(err, XENDM_ERROR, EINVAL, "'%s' is neither a file nor a block device", file);
    return -EINVAL;
}

static int raw_resize(struct block_medium *m, GError **err)
{
    struct raw *r = (struct raw *)m;
    uint64_t size;
    int e = find_size(r->fd, m->file, &size, err);

    if (e < 0) {
        return e;
    }
    if (size == 0 || size > (uint64_t)INT64_MAX - BLOCK_SECTOR) {
        g_set_error(err, XENDM_ERROR, EINVAL,
                    "drive %s: '%s' holds %" G_GUINT64_FORMAT " bytes, which is no usable size",
                    block_id(m->drive), m->file, size);
        return -EINVAL;
    }
    if (r->past_cache && !m->read_only && size % r->direct.block) {
        g_set_error(err, XENDM_ERROR, EINVAL,
                    "drive %s: '%s' holds %" G_GUINT64_FORMAT
                    " bytes; past the host's page cache (cache.direct=on) it is written in blocks "
                    "of %u bytes, and its size must be so",
                    block_id(m->drive), m->file, size, r->direct.block);
        return -EINVAL;
    }
    r->host_size = size;
    m->size = (size + BLOCK_SECTOR - 1) / BLOCK_SECTOR * BLOCK_SECTOR;
    return 0;
}

/* A device has the size that it has; one that is larger than wanted is as good. */
static int raw_truncate(struct block_medium *m, uint64_t size, GError **err)
{
    struct raw *r = (struct raw *)m;
    struct stat st;

    if (fstat(r->fd, &st) == 0 && S_ISREG(st.st_mode)) {
        if (ftruncate(r->fd, (off_t)size) == 0) {
            return raw_resize(m, err);
        }
    } else {
        int e = raw_resize(m, err);

        if (e < 0 || size <= m->size) {
            return e;
        }
        errno = ENOSPC;
    }
    int e = errno;
    g_set_error(err, XENDM_ERROR, e, "'%s' cannot become %" G_GUINT64_FORMAT " bytes long: %s",
                m->file, size, e == ENOSPC ? "there is not so much of it" : g_strerror(e));
    return -e;
}

/*
 * Opening other things may have effects or wait, as for the writer of a FIFO. What cannot be
 * examined, open() explains.
 */
static int check_kind(const char *file, GError **err)
{
    struct stat st;

    if (stat(file, &st) < 0 || S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) {
        return 0;
    }
    g_set_error(err, XENDM_ERROR, EINVAL, "'%s' is neither a file nor a block device", file);
    return -EINVAL;
}

/* A block device that is set read-only can be opened for writing; only the writes then fail. */
static bool device_read_only(int fd)
{
    struct stat st;
    int read_only = 0;

    return fstat(fd, &st) == 0 && S_ISBLK(st.st_mode) && ioctl(fd, BLKROGET, &read_only) == 0 &&
           read_only;
}

static int open_file(const char *id, const struct block_options *o, GError **err)
{
    int fd = o->fd;

    if (fd >= 0) {
        if (o->read_only || (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR) {
            return fd;
        }
        g_set_error(err, XENDM_ERROR, EACCES, "drive %s: descriptor %d is not open for writing", id,
                    fd);
        return -EACCES;
    }
    if (check_kind(o->file, err) < 0) {
        return -EINVAL;
    }
    fd = o->read_only ? files_open_read(o->file) : files_open_write(o->file);
    if (fd < 0) {
        g_set_error(err, XENDM_ERROR, -fd, "drive %s: cannot open '%s'%s: %s", id, o->file,
                    o->read_only ? "" : " for writing", files_why(-fd));
    }
    return fd;
}

static void find_limits(struct raw *r)
{
    struct block_limits *l = &r->m.limits;
    unsigned int physical = 0;
    struct statfs fs;
    struct stat st;
    int logical = 0;

    *l = (struct block_limits){
        .logical = BLOCK_SECTOR,
        .physical = BLOCK_SECTOR,
        .discard_align = BLOCK_SECTOR,
        .can_discard = !r->m.read_only,
        .can_zero = !r->m.read_only,
    };
    if (fstat(r->fd, &st) == 0 && S_ISBLK(st.st_mode)) {
        unsigned short rotational = 0;

        /* Reads and writes go through the host's page cache and may be smaller; these may not. */
        if (ioctl(r->fd, BLKSSZGET, &logical) == 0 && logical > (int)BLOCK_SECTOR) {
            l->discard_align = (uint32_t)logical;
        }
        if (ioctl(r->fd, BLKPBSZGET, &physical) == 0 && physical > BLOCK_SECTOR) {
            l->physical = physical;
        }
        l->rotational = ioctl(r->fd, BLKROTATIONAL, &rotational) == 0 && rotational;
    }
    if (r->past_cache) {
        l->physical = MAX(l->physical, r->direct.block);
    }
    r->in_memory = !r->past_cache && fstatfs(r->fd, &fs) == 0 &&
                   (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

static struct block_medium *raw_open(struct block *drive, const struct block_options *o,
                                     GError **err)
{
    const char *id = block_id(drive);
    struct raw *r;
    int e = engine_start(), fd;

    if (e < 0) {
        g_set_error(err, XENDM_ERROR, -e, "drive %s: no engine for disk I/O: %s", id,
                    g_strerror(-e));
        return NULL;
    }
    fd = open_file(id, o, err);
    if (fd < 0) {
        return NULL;
    }
    r = g_new0(struct raw, 1);
    r->fd = fd;
    r->m.driver = &block_raw;
    r->m.drive = drive;
    r->m.file = g_strdup(o->file ? o->file : "");
    r->m.read_only = o->read_only;
    r->past_cache = block_cache(drive)->direct;
    if (!o->read_only && device_read_only(fd)) {
        g_set_error(err, XENDM_ERROR, EROFS, "drive %s: '%s' is a read-only device", id, r->m.file);
    } else if (r->past_cache && (e = direct_begin(&r->direct, engine, fd)) < 0) {
        g_set_error(err, XENDM_ERROR, ENOTSUP,
                    "drive %s: '%s' cannot be used past the host's page cache (cache.direct=on): "
                    "%s",
                    id, r->m.file,
                    e == -EINVAL ? "its file system does not have it" : g_strerror(-e));
    } else if (raw_resize(&r->m, err) == 0) {
        if (!o->read_only) {
            file_size_allow(r->m.size);
        }
        find_limits(r);
        return &r->m;
    }
    if (o->fd < 0) {
        close(fd);
    }
    g_free(r->m.file);
    g_free(r);
    return NULL;
}

static void raw_close(struct block_medium *m)
{
    struct raw *r = (struct raw *)m;

    if (!m->lent) {
        close(r->fd);
    }
    g_free(r);
}

/* ---- whose it is ---- */

static int raw_lock(struct block_medium *m, GError **err)
{
    return image_lock(((struct raw *)m)->fd, !m->read_only, block_id(m->drive), m->file, err);
}

static void raw_unlock(struct block_medium *m)
{
    image_unlock(((struct raw *)m)->fd);
}

/*
 * Another host wrote it since we looked. What is clean in our page cache goes; there is nothing
 * else, for nothing was written here. The first is thorough and for block devices of the
 * privileged, the second does for everybody. Failing that, the file is read from the cache, as it
 * is.
 */
static void raw_forget(struct block_medium *m)
{
    int fd = ((struct raw *)m)->fd, e;

    files_drop_cache(fd);
    e = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    if (e) {
        log_warning(LOG_BLOCK, "%s: the host's cache of '%s' cannot be dropped: %s",
                    block_id(m->drive), m->file, g_strerror(e));
    }
}

static int raw_fd(const struct block_medium *m)
{
    return ((const struct raw *)m)->fd;
}

/* ---- trying again ---- */

static bool of_the_moment(ssize_t n)
{
    return n < 0 && (n == -ECANCELED || error_is_of_the_moment((int)n));
}

static gboolean again_due(gpointer opaque);

static void again_arm(void)
{
    int64_t soonest = INT64_MAX, now = g_get_monotonic_time();

    for (struct transfer *t = again; t; t = t->next) {
        soonest = MIN(soonest, t->next_try);
    }
    if (again_source) {
        g_source_remove(again_source);
        again_source = 0;
    }
    if (again) {
        int64_t ms = MAX(soonest - now, 0) / 1000 + 1;

        again_source = g_timeout_add((guint)ms, again_due, NULL);
    }
}

static bool again_run(void)
{
    int64_t now = g_get_monotonic_time();
    struct transfer *list = again;
    bool any = false;

    again = NULL;
    while (list) {
        struct transfer *t = list;

        list = t->next;
        if (t->cancelled) {
            any = true;
            transfer_complete(t, -ECANCELED);
        } else if (t->next_try <= now) {
            any = true;
            give(t);
        } else {
            t->next = again;
            again = t;
        }
    }
    return any;
}

static gboolean again_due(gpointer opaque)
{
    turn_of("disk");
    again_source = 0;
    again_run();
    again_arm();
    return G_SOURCE_REMOVE;
}

/*
 * The host could not for a moment: no thread, no memory, a signal. Again, a little later each time;
 * false when that went on for too long, and the error is the drive's.
 */
static bool try_again(struct transfer *t)
{
    int64_t now = g_get_monotonic_time();

    if (!t->first_try) {
        t->first_try = now;
        t->retry_ms = ENGINE_RETRY_FIRST_MS;
        block_count_retry(&t->r->m);
    } else if (now - t->first_try > ENGINE_PATIENCE_US) {
        return false;
    }
    t->next_try = now + t->retry_ms * G_TIME_SPAN_MILLISECOND;
    t->retry_ms = MIN(t->retry_ms * 2, ENGINE_RETRY_MAX_MS);
    t->next = again;
    again = t;
    again_arm();
    return true;
}

bool block_raw_wait(int timeout_ms)
{
    bool any = complete_at_once() || again_run();

    again_arm();
    turn_waits();
    if (!any && !engine) {
        g_usleep((gulong)timeout_ms * 1000); /* there is no raw medium */
        return false;
    }
    return any || engine->wait(again ? MIN(timeout_ms, (int)ENGINE_RETRY_MAX_MS) : timeout_ms);
}

/* ---- transfers ---- */

/* The part of `iov` behind the first `skip` bytes. */
static struct iovec *iov_tail(const struct iovec *iov, unsigned niov, uint64_t skip,
                              unsigned *count)
{
    struct iovec *copy = g_new(struct iovec, niov);
    unsigned n = 0;

    for (unsigned i = 0; i < niov; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        copy[n].iov_base = (uint8_t *)iov[i].iov_base + skip;
        copy[n].iov_len = iov[i].iov_len - skip;
        skip = 0;
        n++;
    }
    *count = n;
    return copy;
}

static void iov_clear(const struct iovec *iov, unsigned niov)
{
    for (unsigned i = 0; i < niov; i++) {
        memset(iov[i].iov_base, 0, iov[i].iov_len);
    }
}

static void zero_by_writing(struct transfer *t)
{
    uint64_t left = t->req->length - t->done;
    unsigned n = 0;

    if (!t->iov) {
        t->iov = g_new(struct iovec, BLOCK_IOV_MAX);
    }
    while (left > 0 && n < BLOCK_IOV_MAX) {
        uint64_t chunk = left < ZERO_CHUNK ? left : ZERO_CHUNK;

        t->iov[n].iov_base = (void *)zeros;
        t->iov[n++].iov_len = chunk;
        left -= chunk;
    }
    t->job.op = t->req->flags & BLOCK_FUA ? ENGINE_WRITEV_SYNC : ENGINE_WRITEV;
    t->job.offset = t->req->offset + t->done;
    t->job.iov = t->iov;
    t->job.niov = n;
    give(t);
}

/* Nothing more can be read: 0 when that is as it should be. */
static int end_of_image(const struct transfer *t, const struct iovec *tail, unsigned left)
{
    /*
     * Behind the last byte of an odd-sized image there are zeros; an image that shrank under us has
     * no data to give.
     */
    if (t->req->offset + t->done < t->r->host_size) {
        return -EIO;
    }
    iov_clear(tail, left);
    return 0;
}

/* `n` bytes more were moved; goes on if that was not all. */
static void moved(struct transfer *t, size_t n)
{
    struct block_request *req = t->req;
    struct iovec *tail;
    unsigned left;

    t->done += n;
    t->first_try = 0;
    if (t->done >= req->length) {
        transfer_complete(t, 0);
        return;
    }
    if (t->cancelled) {
        transfer_complete(t, -ECANCELED);
        return;
    }
    if (req->op == BLOCK_ZERO) {
        if (n == 0) {
            transfer_complete(t, -ENOSPC);
        } else {
            zero_by_writing(t);
        }
        return;
    }
    if (n == 0 && req->op == BLOCK_WRITE) {
        transfer_complete(t, -ENOSPC);
        return;
    }
    tail = iov_tail(req->iov, req->niov, t->done, &left);
    if (n == 0) {
        int error = end_of_image(t, tail, left);

        g_free(tail);
        transfer_complete(t, error);
        return;
    }
    g_free(t->iov);
    t->iov = tail;
    t->job.iov = tail;
    t->job.niov = left;
    t->job.offset = req->offset + t->done;
    give(t);
}

static bool unsupported(ssize_t n)
{
    return n == -EOPNOTSUPP || n == -ENOTTY || n == -ENOSYS;
}

static void transfer_step(struct engine_job *job)
{
    struct transfer *t = (struct transfer *)job;
    ssize_t n = job->result;

    if (t->cancelled && n == -ECANCELED) {
        transfer_complete(t, -ECANCELED);
        return;
    }
    if (n == -EFAULT && t->r->past_cache && !t->faulted) {
        t->faulted = t->r->direct.copies_all = true;
        give(t);
        return;
    }
    if (of_the_moment(n)) {
        if (t->cancelled) {
            transfer_complete(t, -ECANCELED);
        } else if (!try_again(t)) {
            transfer_complete(t, n == -ECANCELED ? -EAGAIN : (int)n);
        }
        return;
    }
    switch (job->op) {
    case ENGINE_PUNCH:
        /* Discarding is advice: a host that cannot do it has kept the promise. */
        if (unsupported(n)) {
            t->r->no_punch = true;
            if (t->req->op == BLOCK_ZERO) {
                zero_by_writing(t);
                return;
            }
            n = 0;
        }
        break;
    case ENGINE_ZERO:
        if (unsupported(n)) {
            t->r->no_zero = true;
            zero_by_writing(t);
            return;
        }
        break;
    case ENGINE_SYNC:
        break;
    case ENGINE_READV:
    case ENGINE_WRITEV:
    case ENGINE_WRITEV_SYNC:
        if (n >= 0) {
            moved(t, (size_t)n);
            return;
        }
        break;
    }
    transfer_complete(t, n < 0 ? (int)n : 0);
}

/* Only what is there now: a completion may submit the next request. */
static bool complete_at_once(void)
{
    guint n = g_queue_get_length(&at_once);
    struct transfer *t;

    for (guint i = 0; i < n && (t = g_queue_pop_head(&at_once)); i++) {
        if (t->job.result != 0) {
            transfer_step(&t->job);
        } else {
            transfer_complete(t, 0);
        }
    }
    return n > 0;
}

/* Moves the bytes now where that waits for nothing but memory. */
static bool copied(const struct raw *r, struct engine_job *job)
{
    ssize_t n;

    if (!r->in_memory || job->length > COPY_MAX) {
        return false;
    }
    if (job->op == ENGINE_READV) {
        n = preadv(job->fd, job->iov, (int)job->niov, (off_t)job->offset);
    } else if (job->op == ENGINE_WRITEV) {
        n = pwritev(job->fd, job->iov, (int)job->niov, (off_t)job->offset);
    } else {
        return false;
    }
    job->result = n;
    return n > 0; /* else the engine finds out */
}

/* What of a discard the host can do: whole blocks. False: none of it. */
static bool discard_range(const struct raw *r, struct engine_job *job)
{
    uint64_t align = r->m.limits.discard_align, end = job->offset + job->length;
    uint64_t from = (job->offset + align - 1) / align * align;

    if (r->no_punch) {
        return false;
    }
    end = end / align * align;
    if (from >= end) {
        return false;
    }
    job->offset = from;
    job->length = end - from;
    return true;
}

static bool zero_aligned(const struct raw *r, const struct block_request *req)
{
    return !r->no_zero && (req->offset | req->length) % r->m.limits.discard_align == 0;
}

static void raw_submit(struct block_medium *m, struct block_request *req)
{
    static const enum engine_op ops[] = {
        [BLOCK_READ] = ENGINE_READV,    [BLOCK_WRITE] = ENGINE_WRITEV, [BLOCK_FLUSH] = ENGINE_SYNC,
        [BLOCK_DISCARD] = ENGINE_PUNCH, [BLOCK_ZERO] = ENGINE_ZERO,
    };
    struct raw *r = (struct raw *)m;
    struct transfer *t = transfer_new();
    bool nothing = req->op == BLOCK_FLUSH ? m->read_only : req->length == 0;

    t->r = r;
    t->req = req;
    req->driver[0] = t;
    total_in_flight++;
    t->job.op =
        req->op == BLOCK_WRITE && req->flags & BLOCK_FUA ? ENGINE_WRITEV_SYNC : ops[req->op];
    t->job.fd = r->fd;
    t->job.offset = req->offset;
    t->job.length = req->length;
    t->job.iov = req->iov;
    t->job.niov = req->niov;
    t->job.done = transfer_step;
    if (nothing || (req->op == BLOCK_DISCARD && !discard_range(r, &t->job))) {
        t->job.result = 0;
        g_queue_push_tail(&at_once, t);
    } else if (req->op == BLOCK_ZERO && (!zero_aligned(r, req) || req->flags & BLOCK_FUA)) {
        zero_by_writing(t);
    } else if (req->op == BLOCK_ZERO && req->flags & BLOCK_MAY_UNMAP && !r->no_punch) {
        t->job.op = ENGINE_PUNCH;
        give(t);
    } else if (copied(r, &t->job)) {
        g_queue_push_tail(&at_once, t);
    } else {
        give(t);
    }
}

static void raw_cancel(struct block_medium *m, struct block_request *req)
{
    struct transfer *t = req->driver[0];

    if (!t || t->cancelled) {
        return;
    }
    t->cancelled = true;
    t->next_try = 0;
    again_arm(); /* if it waits for another try it ends in the next turn of the loop */
    if (!t->r->past_cache) {
        engine->cancel(&t->job);
    } else if (!direct_cancel(&t->r->direct, &t->job)) {
        t->job.result = -ECANCELED;
        g_queue_push_tail(&at_once, t);
    }
}

static int raw_read_now(struct block_medium *m, uint64_t offset, void *buf, size_t length)
{
    struct raw *r = (struct raw *)m;
    struct iovec iov = {.iov_base = buf, .iov_len = length};
    ssize_t n;

    if (r->past_cache) {
        return -EAGAIN;
    }
    n = preadv2(r->fd, &iov, 1, (off_t)offset, r->in_memory ? 0 : RWF_NOWAIT);
    return n == (ssize_t)length ? 0
                                : -EAGAIN; /* also for errors: a submitted request reports them */
}

static const char *const formats[] = {"raw", "host_device", NULL};

const struct block_driver block_raw = {
    .name = "raw",
    .formats = formats,
    .open = raw_open,
    .close = raw_close,
    .submit = raw_submit,
    .cancel = raw_cancel,
    .read_now = raw_read_now,
    .resize = raw_resize,
    .truncate = raw_truncate,
    .lock = raw_lock,
    .unlock = raw_unlock,
    .forget = raw_forget,
    .fd = raw_fd,
};
