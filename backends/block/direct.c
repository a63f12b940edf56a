/* SPDX-License-Identifier: GPL-2.0-or-later */
/* O_DIRECT: see direct.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <xendm/iov.h>

#include "direct.h"

#define BLOCK_MAX 65536u
#define BLOCK_UNKNOWN 4096u     /* of file systems that do not tell: what all take */
#define COPY_BYTES (1u << 20)   /* of one copy */
#define COPIES_MAX 8u           /* of one medium */
#define MEMORY_ALIGN (4u << 10) /* of copies: what no host asks for more than */

/* A job of raw.c's, or the front of one, as the engine gets it. */
struct part {
    struct engine_job job; /* first: the engine gives it back */
    struct direct *d;
    struct engine_job *of;
    uint64_t from, to; /* whole blocks around it */
    size_t length;     /* bytes of the job that are in it */
    bool writes;
    bool mends;  /* reads first: there is something of others in its blocks */
    bool reads;  /* … and does so now */
    bool copies; /* or else it moves the job's own memory */
    bool started, cancelled;
    uint8_t *copy;
    size_t copied; /* bytes that were read into it */
    struct iovec iov;
    GList link; /* in waiting or under_way */
};

static uint64_t down(uint64_t n, uint32_t block)
{
    return n / block * block;
}

static uint64_t up(uint64_t n, uint32_t block)
{
    return down(n + block - 1, block);
}

/* ---- what the host takes ---- */

static bool is_alignment(uint32_t n)
{
    return n > 0 && n <= BLOCK_MAX && (n & (n - 1)) == 0;
}

static void guess(struct direct *d, int fd)
{
    struct stat st;
    int block = 0;

    d->block = BLOCK_UNKNOWN;
    if (fstat(fd, &st) == 0 && S_ISBLK(st.st_mode) && ioctl(fd, BLKSSZGET, &block) == 0 &&
        block > 0) {
        d->block = (uint32_t)block;
    }
    d->memory = d->block;
}

int direct_begin(struct direct *d, const struct block_engine *engine, int fd)
{
    int flags = fcntl(fd, F_GETFL);
    struct statx x;

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) < 0) {
        return -errno;
    }
    *d = (struct direct){.engine = engine, .waiting = G_QUEUE_INIT, .under_way = G_QUEUE_INIT};
    guess(d, fd);
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &x) == 0 && x.stx_mask & STATX_DIOALIGN) {
        d->block = x.stx_dio_offset_align; /* 0: not of this file */
        d->memory = x.stx_dio_mem_align;
    }
    return is_alignment(d->block) && is_alignment(d->memory) ? 0 : -EINVAL;
}

/* Each piece is whole blocks, too: so kernels before 6.18 have it. */
static bool fits(const struct direct *d, const struct engine_job *job)
{
    if (d->copies_all || job->offset % d->block) {
        return false;
    }
    for (unsigned i = 0; i < job->niov; i++) {
        if ((uintptr_t)job->iov[i].iov_base % d->memory || job->iov[i].iov_len % d->block) {
            return false;
        }
    }
    return true;
}

/* ---- parts ---- */

static bool overlap(const struct part *a, const struct part *b)
{
    return a->writes && b->writes && a->from < b->to && b->from < a->to;
}

static bool may_start(const struct part *p)
{
    const struct direct *d = p->d;

    if (p->copies && d->copies >= COPIES_MAX) {
        return false;
    }
    for (GList *l = d->under_way.head; l; l = l->next) {
        const struct part *other = l->data;

        if ((p->mends || other->mends) && overlap(p, other)) {
            return false;
        }
    }
    return true;
}

static void give(struct part *p)
{
    p->d->engine->submit(&p->job);
}

/* All of its blocks at once, behind what was read already. */
static void read_around(struct part *p)
{
    p->reads = true;
    p->iov = (struct iovec){p->copy + p->copied, p->to - p->from - p->copied};
    p->job.op = ENGINE_READV;
    p->job.offset = p->from + p->copied;
    give(p);
}

static void write_copy(struct part *p)
{
    iov_get(p->of->iov, p->of->niov, 0, p->copy + (p->of->offset - p->from), p->length);
    p->reads = false;
    p->iov = (struct iovec){p->copy, p->to - p->from};
    p->job.op = p->of->op;
    p->job.offset = p->from;
    give(p);
}

static void start(struct part *p)
{
    g_queue_unlink(&p->d->waiting, &p->link);
    g_queue_push_tail_link(&p->d->under_way, &p->link);
    p->started = true;
    if (!p->copies) {
        give(p);
        return;
    }
    p->d->copies++;
    p->copy = g_aligned_alloc(1, p->to - p->from, MEMORY_ALIGN);
    p->job.iov = &p->iov;
    p->job.niov = 1;
    if (p->writes && !p->mends) {
        write_copy(p);
    } else {
        read_around(p);
    }
}

static void run(struct direct *d)
{
    for (GList *l = d->waiting.head, *next; l; l = next) {
        next = l->next;
        if (may_start(l->data)) {
            start(l->data);
        }
    }
}

static void finish(struct part *p, ssize_t result)
{
    struct engine_job *of = p->of;

    g_queue_unlink(&p->d->under_way, &p->link);
    p->d->copies -= p->copies;
    g_aligned_free(p->copy);
    of->part = NULL;
    of->result = result;
    run(p->d);
    g_free(p);
    of->done(of); /* the medium may go with it */
}

/* Of `n` bytes from the part's first block on, those of the job. */
static size_t own_bytes(const struct part *p, size_t n)
{
    size_t skip = p->of->offset - p->from;

    return n > skip ? MIN(n - skip, p->length) : 0;
}

/* A read may have been cut short by something of the moment: it goes on where it was. */
static void read_ended(struct part *p, size_t n)
{
    p->copied += n;
    if (!p->writes) {
        size_t got = own_bytes(p, n);

        iov_put(p->of->iov, p->of->niov, 0, p->copy + (p->of->offset - p->from), got);
        finish(p, (ssize_t)got);
    } else if (n == 0) {
        finish(p, -EIO); /* the file has become shorter */
    } else if (p->cancelled) {
        finish(p, -ECANCELED);
    } else if (p->copied < p->to - p->from) {
        read_around(p);
    } else {
        write_copy(p);
    }
}

static void part_ended(struct engine_job *job)
{
    struct part *p = (struct part *)job;

    if (job->result < 0) {
        finish(p, job->result);
    } else if (p->reads) {
        read_ended(p, (size_t)job->result);
    } else if (p->copies) {
        finish(p, (ssize_t)own_bytes(p, (size_t)job->result));
    } else {
        finish(p, job->result);
    }
}

static void plan_copy(struct part *p)
{
    uint64_t end = MIN(p->of->offset + p->length, p->from + COPY_BYTES);

    p->copies = true;
    p->length = end - p->of->offset;
    p->to = up(end, p->d->block);
    p->mends = p->writes && (p->of->offset != p->from || end != p->to);
}

void direct_submit(struct direct *d, struct engine_job *job)
{
    bool moves =
        job->op == ENGINE_READV || job->op == ENGINE_WRITEV || job->op == ENGINE_WRITEV_SYNC;
    bool copies = moves && !fits(d, job);
    struct part *p;

    if (job->op == ENGINE_SYNC || (job->op == ENGINE_READV && !copies)) {
        d->engine->submit(job);
        return;
    }
    p = g_new0(struct part, 1);
    p->job = *job;
    p->job.done = part_ended;
    p->job.part = NULL;
    p->d = d;
    p->of = job;
    p->writes = job->op != ENGINE_READV;
    p->length = moves ? iov_bytes(job->iov, job->niov) : job->length;
    p->from = down(job->offset, d->block);
    p->to = up(job->offset + p->length, d->block);
    if (copies) {
        plan_copy(p);
    }
    p->link.data = p;
    job->part = p;
    g_queue_push_tail_link(&d->waiting, &p->link);
    if (may_start(p)) {
        start(p);
    }
}

bool direct_cancel(struct direct *d, struct engine_job *job)
{
    struct part *p = job->part;

    if (!p) {
        d->engine->cancel(job);
        return true;
    }
    if (p->started) {
        p->cancelled = true;
        d->engine->cancel(&p->job);
        return true;
    }
    g_queue_unlink(&d->waiting, &p->link);
    job->part = NULL;
    g_free(p);
    return false;
}
