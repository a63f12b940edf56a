/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block back end on a raw file or block device: checks, statistics, short transfers, media. The
 * bytes are moved by an engine (block-engine.h). Image formats other than raw are refused by name
 * here; they come with an image server.
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

#include <xendm/block.h>
#include <xendm/error.h>
#include <xendm/log.h>
#include <xendm/recorder.h>
#include <xendm/turn.h>

#include "engine.h"

#define SECTOR 512u
/* Zero-filling where the host cannot punch: each iovec entry names this buffer. */
#define ZERO_CHUNK 65536u
/* A transfer within memory (tmpfs) is done at once up to this size; copying it takes some 20 µs. */
#define COPY_MAX (256u << 10)
/* While a disk does not answer, we look up so often whether somebody wants us gone. */
#define LOOK_UP_MS 100

struct block {
    char *id;
    char *file;
    int fd; /* -1: no medium */
    bool read_only;
    uint64_t size; /* as the guest sees it, a multiple of SECTOR */
    uint64_t host_size;
    unsigned in_flight;
    bool in_memory; /* tmpfs: no device to wait for, and io_uring would hand it to a thread */
    bool no_punch, no_zero; /* the host said EOPNOTSUPP once */
    int flush_error;        /* see transfer_step() */
    const struct block_listener *listener;
    void *listener_opaque;
    struct block_stats stats;
};

/* One request on its way; freed when it is done. */
struct transfer {
    struct engine_job job; /* first: the engine gives it back */
    struct block *b;
    struct block_request *req;
    uint64_t done;     /* bytes moved so far */
    struct iovec *iov; /* own copy after a short transfer, or for zero-filling */
};

/*
 * Requests that never reach the engine (refused, nothing to do, or done already) still complete
 * from the main loop or block_poll(), not inside submit.
 */
static GQueue at_once = G_QUEUE_INIT;
static unsigned total_in_flight;

static const struct block_engine *engine;
static const uint8_t zeros[ZERO_CHUNK];

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

static void at_once_start(void)
{
    GSource *source = g_source_new(&at_once_funcs, sizeof(GSource));

    g_source_set_name(source, "block-at-once");
    g_source_set_can_recurse(source, TRUE);
    g_source_attach(source, NULL);
    g_source_unref(source);
}

static int engine_start(void)
{
    const char *want = getenv("XENDM_BLOCK_ENGINE");
    int err = -ENOSYS;

    if (engine) {
        return 0;
    }
    if (!want || strcmp(want, "io_uring") == 0) {
        err = block_engine_uring.start();
        if (err == 0) {
            engine = &block_engine_uring;
            at_once_start();
            return 0;
        }
        log_info(LOG_BLOCK, "io_uring is not available (%s): using threads", g_strerror(-err));
    } else if (strcmp(want, "threads") != 0) {
        log_warning(LOG_BLOCK, "XENDM_BLOCK_ENGINE=%s is unknown: using threads", want);
    }
    err = block_engine_threads.start();
    if (err == 0) {
        engine = &block_engine_threads;
        at_once_start();
    }
    return err;
}

const char *block_engine(void)
{
    return engine ? engine->name : "none";
}

bool block_poll(void)
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

static int open_medium(struct block *b, const struct block_options *o, GError **err)
{
    const char *format = o->format ? o->format : "raw";
    struct statfs fs;
    uint64_t size;
    int fd = o->fd;

    if (strcmp(format, "raw") != 0 && strcmp(format, "host_device") != 0) {
        g_set_error(err, XENDM_ERROR, ENOTSUP,
                    "drive %s: image format '%s' of '%s' is not implemented yet", b->id, format,
                    o->file ? o->file : "");
        return -ENOTSUP;
    }
    if (fd < 0) {
        if (check_kind(o->file, err) < 0) {
            return -EINVAL;
        }
        fd = open(o->file, (o->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
        if (fd < 0) {
            int e = errno;

            g_set_error(err, XENDM_ERROR, e, "drive %s: cannot open '%s'%s: %s", b->id, o->file,
                        o->read_only ? "" : " for writing", g_strerror(e));
            return -e;
        }
    } else if (!o->read_only && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR) {
        g_set_error(err, XENDM_ERROR, EACCES, "drive %s: descriptor %d is not open for writing",
                    b->id, fd);
        return -EACCES;
    }
    if (!o->read_only && device_read_only(fd)) {
        g_set_error(err, XENDM_ERROR, EROFS, "drive %s: '%s' is a read-only device", b->id,
                    o->file ? o->file : "");
        goto fail;
    }
    if (find_size(fd, o->file ? o->file : "", &size, err) < 0) {
        goto fail;
    }
    if (size == 0 || size > (uint64_t)INT64_MAX - SECTOR) {
        g_set_error(err, XENDM_ERROR, EINVAL,
                    "drive %s: '%s' holds %" G_GUINT64_FORMAT " bytes, which is no usable size",
                    b->id, o->file ? o->file : "", size);
        goto fail;
    }
    b->fd = fd;
    b->read_only = o->read_only;
    b->host_size = size;
    b->size = (size + SECTOR - 1) / SECTOR * SECTOR;
    g_free(b->file);
    b->file = g_strdup(o->file ? o->file : "");
    b->no_punch = b->no_zero = false;
    b->flush_error = o->lost < 0 ? o->lost : 0;
    b->in_memory = fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
    return 0;

fail:
    if (o->fd < 0) {
        close(fd);
    }
    return -EINVAL;
}

struct block *block_open(const struct block_options *options, GError **err)
{
    struct block *b;
    int e = engine_start();

    if (e < 0) {
        g_set_error(err, XENDM_ERROR, -e, "drive %s: no engine for disk I/O: %s", options->id,
                    g_strerror(-e));
        return NULL;
    }
    b = g_new0(struct block, 1);
    b->id = g_strdup(options->id);
    b->file = g_strdup("");
    b->fd = -1;
    b->read_only = options->read_only;
    if ((options->fd >= 0 || (options->file && options->file[0])) &&
        open_medium(b, options, err) < 0) {
        g_free(b->file);
        g_free(b->id);
        g_free(b);
        return NULL;
    }
    return b;
}

static void (*still_waiting)(void);

void block_set_waiting(void (*waiting)(void))
{
    still_waiting = waiting;
}

void block_drain(struct block *b)
{
    while (b->in_flight > 0) {
        if (!complete_at_once() && !engine->wait(LOOK_UP_MS) && still_waiting) {
            still_waiting();
        }
    }
}

static void drop_medium(struct block *b)
{
    block_drain(b);
    if (b->fd >= 0) {
        close(b->fd);
    }
    b->fd = -1;
    b->size = b->host_size = 0;
    g_free(b->file);
    b->file = g_strdup("");
}

void block_close(struct block *b)
{
    if (!b) {
        return;
    }
    drop_medium(b);
    g_free(b->file);
    g_free(b->id);
    g_free(b);
}

void block_eject(struct block *b)
{
    if (b->fd < 0) {
        return;
    }
    drop_medium(b);
    if (b->listener && b->listener->medium_changed) {
        b->listener->medium_changed(b->listener_opaque);
    }
}

int block_insert(struct block *b, const struct block_options *options, GError **err)
{
    if (b->fd >= 0) {
        g_set_error(err, XENDM_ERROR, EBUSY, "drive %s: there is a medium in it: '%s'", b->id,
                    b->file);
        return -EBUSY;
    }
    if (open_medium(b, options, err) < 0) {
        return -EINVAL;
    }
    if (b->listener && b->listener->medium_changed) {
        b->listener->medium_changed(b->listener_opaque);
    }
    return 0;
}

void block_set_listener(struct block *b, const struct block_listener *listener, void *opaque)
{
    b->listener = listener;
    b->listener_opaque = opaque;
}

/* ---- transfers ---- */

static void transfer_complete(struct transfer *t, int error)
{
    struct block_request *req = t->req;
    struct block *b = t->b;

    recorder_note(REC_BLOCK_DONE, (uint32_t)-error, req->offset, req->length);
    b->in_flight--;
    total_in_flight--;
    if (error) {
        b->stats.errors[req->op]++;
    } else {
        b->stats.ops[req->op]++;
        b->stats.bytes[req->op] += req->op == BLOCK_FLUSH ? 0 : req->length;
    }
    g_free(t->iov);
    g_free(t);
    req->done(req, error);
}

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
    t->job.op = ENGINE_WRITEV;
    t->job.offset = t->req->offset + t->done;
    t->job.iov = t->iov;
    t->job.niov = n;
    engine->submit(&t->job);
}

static void transfer_step(struct engine_job *job)
{
    struct transfer *t = (struct transfer *)job;
    struct block_request *req = t->req;
    ssize_t n = job->result;

    if (n == -EAGAIN || n == -EINTR) {
        engine->submit(job);
        return;
    }
    switch (req->op) {
    case BLOCK_FLUSH:
        /*
         * The host tells of lost writes once and then forgets them, and guests repeat a failed
         * flush. What is lost stays lost: no later flush of this medium succeeds.
         */
        if (n < 0 && t->b->flush_error == 0) {
            t->b->flush_error = (int)n;
            log_error(LOG_BLOCK, "%s: flushing '%s' failed: %s; acknowledged writes are lost",
                      t->b->id, t->b->file, g_strerror((int)-n));
        }
        transfer_complete(t, n < 0 ? (int)n : 0);
        return;
    case BLOCK_DISCARD:
        /* Discarding is advice: a host that cannot do it has kept the promise. */
        if (n == -EOPNOTSUPP || n == -ENOTTY) {
            t->b->no_punch = true;
            n = 0;
        }
        transfer_complete(t, n < 0 ? (int)n : 0);
        return;
    case BLOCK_ZERO:
        if (job->op == ENGINE_ZERO) {
            if (n == -EOPNOTSUPP || n == -ENOTTY) {
                t->b->no_zero = true;
                zero_by_writing(t);
                return;
            }
            transfer_complete(t, n < 0 ? (int)n : 0);
            return;
        }
        break;
    case BLOCK_READ:
    case BLOCK_WRITE:
        break;
    }
    if (n < 0) {
        transfer_complete(t, (int)n);
        return;
    }
    t->done += (uint64_t)n;
    if (t->done >= req->length) {
        transfer_complete(t, 0);
        return;
    }
    if (req->op == BLOCK_ZERO) {
        zero_by_writing(t);
        return;
    }
    if (n == 0 && req->op == BLOCK_WRITE) {
        transfer_complete(t, -ENOSPC);
        return;
    }

    unsigned left;
    struct iovec *tail = iov_tail(req->iov, req->niov, t->done, &left);

    if (n == 0) {
        /*
         * End of the image. Behind the last byte of an odd-sized image there are zeros; an image
         * that shrank under us has no data to give.
         */
        bool in_tail = req->offset + t->done >= t->b->host_size;

        if (in_tail) {
            iov_clear(tail, left);
        }
        g_free(tail);
        transfer_complete(t, in_tail ? 0 : -EIO);
        return;
    }
    g_free(t->iov);
    t->iov = tail;
    job->iov = tail;
    job->niov = left;
    job->offset = req->offset + t->done;
    engine->submit(job);
}

/* Only what is there now: a completion may submit the next request. */
static bool complete_at_once(void)
{
    guint n = g_queue_get_length(&at_once);
    struct transfer *t;

    for (guint i = 0; i < n && (t = g_queue_pop_head(&at_once)); i++) {
        if (t->job.result > 0) {
            transfer_step(&t->job);
        } else {
            transfer_complete(t, (int)t->job.result);
        }
    }
    return n > 0;
}

/* Moves the bytes now where that waits for nothing but memory. */
static bool copied(const struct block *b, struct engine_job *job)
{
    ssize_t n;

    if (!b->in_memory || job->length > COPY_MAX) {
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

static int check_request(const struct block *b, const struct block_request *req)
{
    uint64_t sum = 0;

    if (b->fd < 0) {
        return -ENOMEDIUM;
    }
    if (req->op != BLOCK_READ && req->op != BLOCK_FLUSH && b->read_only) {
        return -EROFS;
    }
    if (req->op == BLOCK_FLUSH) {
        return b->flush_error;
    }
    if (req->offset > b->size || req->length > b->size - req->offset) {
        return -EINVAL;
    }
    if (req->op == BLOCK_READ || req->op == BLOCK_WRITE) {
        if (req->niov > BLOCK_IOV_MAX) {
            return -EINVAL;
        }
        for (unsigned i = 0; i < req->niov; i++) {
            sum += req->iov[i].iov_len;
        }
        if (sum != req->length) {
            return -EINVAL;
        }
    }
    return 0;
}

void block_submit(struct block *b, struct block_request *req)
{
    struct transfer *t = g_new0(struct transfer, 1);
    int err = check_request(b, req);

    recorder_note(REC_BLOCK, req->op, req->offset, req->length);
    t->b = b;
    t->req = req;
    b->in_flight++;
    total_in_flight++;
    t->job.fd = b->fd;
    t->job.offset = req->offset;
    t->job.length = req->length;
    t->job.iov = req->iov;
    t->job.niov = req->niov;
    t->job.done = transfer_step;
    switch (req->op) {
    case BLOCK_READ:
        t->job.op = ENGINE_READV;
        break;
    case BLOCK_WRITE:
        t->job.op = ENGINE_WRITEV;
        break;
    case BLOCK_FLUSH:
        t->job.op = ENGINE_SYNC;
        break;
    case BLOCK_DISCARD:
        t->job.op = ENGINE_PUNCH;
        break;
    case BLOCK_ZERO:
        t->job.op = ENGINE_ZERO;
        break;
    default:
        err = -EINVAL;
    }
    if (err < 0 || (req->length == 0 && req->op != BLOCK_FLUSH) ||
        (req->op == BLOCK_FLUSH && b->read_only) || (req->op == BLOCK_DISCARD && b->no_punch)) {
        t->job.result = err;
        g_queue_push_tail(&at_once, t);
        return;
    }
    if (req->op == BLOCK_ZERO && b->no_zero) {
        zero_by_writing(t);
        return;
    }
    if (copied(b, &t->job)) {
        g_queue_push_tail(&at_once, t);
        return;
    }
    engine->submit(&t->job);
}

int block_read_now(struct block *b, uint64_t offset, void *buf, size_t length)
{
    struct iovec iov = {.iov_base = buf, .iov_len = length};
    ssize_t n;

    if (b->fd < 0) {
        return -ENOMEDIUM;
    }
    if (offset > b->size || length > b->size - offset) {
        return -EINVAL;
    }
    n = preadv2(b->fd, &iov, 1, (off_t)offset, b->in_memory ? 0 : RWF_NOWAIT);
    if (n != (ssize_t)length) {
        return -EAGAIN; /* also for errors: the submitted request reports them */
    }
    b->stats.ops[BLOCK_READ]++;
    b->stats.bytes[BLOCK_READ] += length;
    return 0;
}

/* ---- facts ---- */

unsigned block_in_flight(const struct block *b)
{
    return b->in_flight;
}

int block_fd(const struct block *b)
{
    return b->fd;
}

int block_lost(const struct block *b)
{
    return b->flush_error;
}

uint64_t block_size(const struct block *b)
{
    return b->size;
}

bool block_read_only(const struct block *b)
{
    return b->read_only;
}

bool block_present(const struct block *b)
{
    return b->fd >= 0;
}

const char *block_id(const struct block *b)
{
    return b->id;
}

const char *block_file(const struct block *b)
{
    return b->file;
}

const struct block_stats *block_stats(const struct block *b)
{
    return &b->stats;
}
