/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Past the page cache, on an engine that is as strict as a disk of 4096-byte blocks and ends its
 * jobs in any order: whatever is asked for, the bytes are those of a model, and what two writers of
 * one block write stays.
 */
#include <errno.h>
#include <string.h>

#include <glib.h>

#include <xendm/iov.h>

#include "block/direct.h"

#define BLOCK 4096u
#define MEMORY 512u
#define DISK (64u * BLOCK)

static struct {
    uint8_t bytes[DISK];
    GPtrArray *jobs;
    unsigned most; /* at a time */
    unsigned moves;
    bool pins; /* or else it takes copies only: its own memory is what direct.c allocated */
    bool short_reads;
    const uint8_t *guest, *guest_end; /* what it cannot pin */
} disk;

static bool is_guest(const struct engine_job *job)
{
    for (unsigned i = 0; i < job->niov; i++) {
        const uint8_t *p = job->iov[i].iov_base;

        if (p >= disk.guest && p < disk.guest_end) {
            return true;
        }
    }
    return false;
}

static void disk_submit(struct engine_job *job)
{
    g_ptr_array_add(disk.jobs, job);
    disk.most = MAX(disk.most, disk.jobs->len);
}

static void disk_cancel(struct engine_job *job)
{
    job->entry = job; /* it ends so, if it is still here */
}

static size_t bytes_of(const struct engine_job *job)
{
    size_t sum = 0;

    for (unsigned i = 0; i < job->niov; i++) {
        g_assert_cmpuint((uintptr_t)job->iov[i].iov_base % MEMORY, ==, 0);
        g_assert_cmpuint(job->iov[i].iov_len % BLOCK, ==, 0);
        sum += job->iov[i].iov_len;
    }
    return sum;
}

/* The bytes are moved when it ends, so that jobs under way at once are really so. */
static ssize_t perform(struct engine_job *job)
{
    size_t n;

    if (job->op == ENGINE_SYNC) {
        return 0;
    }
    if (job->op == ENGINE_PUNCH) {
        memset(disk.bytes + job->offset, 0, job->length);
        return 0;
    }
    g_assert_cmpuint(job->offset % BLOCK, ==, 0);
    n = bytes_of(job);
    g_assert_cmpuint(job->offset, <=, DISK);
    n = MIN(n, DISK - job->offset);
    if (!disk.pins && is_guest(job)) {
        return -EFAULT;
    }
    disk.moves++;
    if (job->op == ENGINE_READV) {
        n = disk.short_reads ? MIN(n, BLOCK) : n;
        return (ssize_t)iov_put(job->iov, job->niov, 0, disk.bytes + job->offset, n);
    }
    return (ssize_t)iov_get(job->iov, job->niov, 0, disk.bytes + job->offset, n);
}

/* One of those that are under way. False: there is none. */
static bool disk_ends_one(void)
{
    struct engine_job *job;

    if (disk.jobs->len == 0) {
        return false;
    }
    job = g_ptr_array_steal_index_fast(disk.jobs,
                                       (guint)g_test_rand_int_range(0, (gint)disk.jobs->len));
    job->result = job->entry ? -ECANCELED : perform(job);
    job->entry = NULL;
    job->done(job);
    return true;
}

static const struct block_engine engine = {
    .name = "strict",
    .submit = disk_submit,
    .cancel = disk_cancel,
};

/* ---- who asks ---- */

struct asked {
    struct engine_job job; /* first */
    struct iovec iov[3];
    struct direct *d;
    uint8_t *memory;
    uint64_t from, at;
    size_t whole;
    size_t length, done;
    bool faulted;
    ssize_t ended; /* 1: not yet */
};

static void go_on(struct asked *a)
{
    static struct iovec rest[3];
    size_t skip = a->done;
    unsigned n = 0;

    for (unsigned i = 0; i < 3; i++) {
        size_t cut = MIN(skip, a->iov[i].iov_len);

        skip -= cut;
        a->iov[i].iov_base = (uint8_t *)a->iov[i].iov_base + cut;
        a->iov[i].iov_len -= cut;
        if (a->iov[i].iov_len > 0) {
            rest[n++] = a->iov[i];
        }
    }
    memcpy(a->iov, rest, sizeof(rest));
    for (unsigned i = n; i < 3; i++) {
        a->iov[i].iov_len = 0;
    }
    a->at += a->done;
    a->length -= a->done;
    a->done = 0;
    a->job.offset = a->at;
    a->job.niov = n;
    direct_submit(a->d, &a->job);
}

static void asked_ended(struct engine_job *job)
{
    struct asked *a = (struct asked *)job;

    if (job->result == -EFAULT && !a->faulted) {
        a->faulted = a->d->copies_all = true;
        go_on(a);
    } else if (job->result > 0 && (size_t)job->result < a->length) {
        a->done = (size_t)job->result;
        go_on(a);
    } else {
        a->ended = job->result < 0 ? job->result : 0;
    }
}

/* In pieces of any size. */
static struct asked *ask(struct direct *d, enum engine_op op, uint64_t at, uint8_t *memory,
                         size_t length)
{
    struct asked *a = g_new0(struct asked, 1);
    size_t first = (size_t)g_test_rand_int_range(0, (gint)length + 1);
    size_t second = (size_t)g_test_rand_int_range(0, (gint)(length - first) + 1);

    if (g_test_rand_bit()) {
        first = second = 0;
    }
    a->d = d;
    a->memory = memory;
    a->from = a->at = at;
    a->whole = length;
    a->length = length;
    a->ended = 1;
    a->iov[0] = (struct iovec){memory, first};
    a->iov[1] = (struct iovec){memory + first, second};
    a->iov[2] = (struct iovec){memory + first + second, length - first - second};
    a->job = (struct engine_job){
        .op = op, .iov = a->iov, .niov = 3, .offset = at, .length = length, .done = asked_ended};
    direct_submit(d, &a->job);
    return a;
}

static void disk_set_up(struct direct *d)
{
    *d = (struct direct){.engine = &engine, .block = BLOCK, .memory = MEMORY};
    memset(&disk, 0, sizeof(disk));
    disk.jobs = g_ptr_array_new();
    disk.pins = true;
}

static void disk_tear_down(struct direct *d)
{
    g_assert_true(g_queue_is_empty(&d->waiting));
    g_assert_true(g_queue_is_empty(&d->under_way));
    g_assert_cmpuint(d->copies, ==, 0);
    g_assert_cmpuint(disk.jobs->len, ==, 0);
    g_ptr_array_free(disk.jobs, TRUE);
}

/* ---- the tests ---- */

/* What fits goes as it is; the rest by as few copies as need be. */
static void test_fits(void)
{
    struct direct d;
    uint8_t *memory = g_aligned_alloc0(1, 4 * BLOCK, BLOCK);
    struct asked *a;

    disk_set_up(&d);
    memset(memory, 1, 4 * BLOCK);
    a = g_new0(struct asked, 1);
    *a = (struct asked){.d = &d, .length = 2 * BLOCK, .iov[0] = {memory, 2 * BLOCK}, .ended = 1};
    a->job = (struct engine_job){
        .op = ENGINE_WRITEV, .iov = a->iov, .niov = 1, .offset = BLOCK, .done = asked_ended};
    direct_submit(&d, &a->job);
    g_assert_cmpuint(d.copies, ==, 0);
    g_assert_true(disk_ends_one());
    g_assert_cmpint(a->ended, ==, 0);
    g_assert_cmpuint(disk.moves, ==, 1);
    g_assert_cmpint(disk.bytes[BLOCK - 1] + disk.bytes[BLOCK] * 2, ==, 2);

    a->iov[0] = (struct iovec){memory + 2, BLOCK}; /* memory that is not aligned */
    a->length = BLOCK;
    direct_submit(&d, &a->job);
    g_assert_cmpuint(d.copies, ==, 1);
    g_assert_true(disk_ends_one());
    g_assert_cmpuint(disk.moves, ==, 2);

    a->iov[0] = (struct iovec){memory, 512}; /* part of a block: it is read first */
    a->length = 512;
    a->job.offset = 8 * BLOCK + 512;
    direct_submit(&d, &a->job);
    g_assert_true(disk_ends_one());
    g_assert_true(disk_ends_one());
    g_assert_cmpuint(disk.moves, ==, 4);
    g_assert_cmpint(disk.bytes[8 * BLOCK + 511], ==, 0);
    g_assert_cmpint(disk.bytes[8 * BLOCK + 512], ==, 1);
    g_assert_cmpint(disk.bytes[8 * BLOCK + 1024], ==, 0);
    disk_tear_down(&d);
    g_aligned_free(memory);
    g_free(a);
}

/* Eight writers of a block each have an eighth of it. */
static void test_neighbours(void)
{
    struct direct d;
    uint8_t memory[8][512];
    struct asked *a[8];

    disk_set_up(&d);
    disk.short_reads = true;
    for (unsigned i = 0; i < 8; i++) {
        memset(memory[i], (int)i + 1, 512);
        a[i] = ask(&d, ENGINE_WRITEV, BLOCK + i * 512, memory[i], 512);
    }
    g_assert_cmpuint(disk.most, ==, 1);
    while (disk_ends_one()) {
    }
    for (unsigned i = 0; i < 8; i++) {
        g_assert_cmpint(a[i]->ended, ==, 0);
        g_assert_cmpmem(disk.bytes + BLOCK + i * 512, 512, memory[i], 512);
        g_free(a[i]);
    }
    disk_tear_down(&d);
}

/* Random requests, many at once, none of which overlap: held to a model. */
static void check_random(bool pins)
{
    enum { SLICES = 32, SLICE = DISK / SLICES };
    static uint8_t model[DISK], guest[SLICES * (SLICE + MEMORY)] __attribute__((aligned(MEMORY)));
    struct direct d;
    struct asked *a[SLICES] = {NULL};
    unsigned ended = 0, begun = 0;

    disk_set_up(&d);
    disk.pins = pins;
    disk.guest = guest;
    disk.guest_end = guest + sizeof(guest);
    memset(model, 0, sizeof(model));
    while (ended < 3000) {
        unsigned slice = (unsigned)g_test_rand_int_range(0, SLICES);

        if (!a[slice] && begun < 3000) {
            unsigned sectors = SLICE / 512, first = (unsigned)g_test_rand_int_range(0, sectors);
            unsigned count = (unsigned)g_test_rand_int_range(1, (gint)(sectors - first) + 1);
            uint64_t at;
            uint8_t *memory = guest + slice * (SLICE + MEMORY);
            bool write = g_test_rand_bit();

            if (g_test_rand_bit()) { /* as it should be */
                first = 0;
                count = sectors;
            } else {
                memory += 2 * (unsigned)g_test_rand_int_range(0, 32);
            }
            at = slice * SLICE + first * 512;
            for (unsigned i = 0; write && i < count * 512; i++) {
                model[at + i] = memory[i] = (uint8_t)g_test_rand_int();
            }
            a[slice] = ask(&d, write ? ENGINE_WRITEV : ENGINE_READV, at, memory, count * 512);
            begun++;
        } else {
            disk_ends_one();
        }
        for (unsigned i = 0; i < SLICES; i++) {
            if (a[i] && a[i]->ended <= 0) {
                struct asked *done = a[i];

                g_assert_cmpint(done->ended, ==, 0);
                if (done->job.op == ENGINE_READV) {
                    g_assert_cmpmem(done->memory, done->whole, model + done->from, done->whole);
                }
                ended++;
                a[i] = NULL;
                g_free(done);
            }
        }
    }
    g_assert_cmpmem(disk.bytes, DISK, model, DISK);
    g_assert_cmpint(d.copies_all, ==, !pins);
    disk_tear_down(&d);
}

static void test_random(void)
{
    check_random(true);
}

static void test_guest_memory(void)
{
    check_random(false);
}

/* Behind the last whole block there may be some bytes: of CD images. */
static void test_end(void)
{
    struct direct d;
    uint8_t memory[1024];
    struct asked *a;

    disk_set_up(&d);
    a = ask(&d, ENGINE_READV, DISK - 512, memory, 1024);
    while (a->ended == 1 && disk_ends_one()) {
    }
    g_assert_cmpint(a->ended, ==, 0);
    g_assert_cmpint(a->job.result, ==, 0); /* nothing more came */
    g_assert_cmpuint(a->at, ==, DISK);
    g_free(a);
    disk_tear_down(&d);
}

/* What waits for another is taken back; what the disk has ends as the disk has it. */
static void test_cancel(void)
{
    struct direct d;
    uint8_t memory[512] = {1};
    struct asked *first, *second;

    disk_set_up(&d);
    first = ask(&d, ENGINE_WRITEV, 0, memory, 512);
    second = ask(&d, ENGINE_WRITEV, 512, memory, 512);
    g_assert_false(direct_cancel(&d, &second->job));
    g_assert_true(direct_cancel(&d, &first->job));
    g_assert_true(disk_ends_one());
    g_assert_cmpint(first->ended, ==, -ECANCELED);
    g_assert_cmpint(second->ended, ==, 1);
    g_assert_cmpint(disk.bytes[0], ==, 0);
    g_free(first);
    g_free(second);

    first = ask(&d, ENGINE_WRITEV, 0, memory, 512); /* … between its read and its write */
    g_assert_true(disk_ends_one());
    g_assert_true(direct_cancel(&d, &first->job));
    g_assert_true(disk_ends_one());
    g_assert_cmpint(first->ended, ==, -ECANCELED);
    g_free(first);
    disk_tear_down(&d);
}

/* A hole is not punched while a write nearby is between its read and its write. */
static void test_punch(void)
{
    struct direct d;
    uint8_t memory[512];
    struct asked *write, *punch;

    disk_set_up(&d);
    memset(disk.bytes, 2, sizeof(disk.bytes));
    memset(memory, 1, sizeof(memory));
    write = ask(&d, ENGINE_WRITEV, 512, memory, 512);
    punch = ask(&d, ENGINE_PUNCH, 1024, memory, 512);
    while (disk_ends_one()) {
    }
    g_assert_cmpint(write->ended + punch->ended, ==, 0);
    g_assert_cmpint(disk.bytes[0], ==, 2);
    g_assert_cmpint(disk.bytes[512], ==, 1);
    g_assert_cmpint(disk.bytes[1024], ==, 0);
    g_assert_cmpint(disk.bytes[1536], ==, 2);
    g_free(write);
    g_free(punch);
    disk_tear_down(&d);
}

/* However much is asked for, so many copies there are. */
static void test_bound(void)
{
    struct direct d;
    static uint8_t memory[64][514];
    struct asked *a[64];

    disk_set_up(&d);
    for (unsigned i = 0; i < 64; i++) {
        a[i] = ask(&d, ENGINE_READV, i * BLOCK, memory[i] + 1, 512);
    }
    g_assert_cmpuint(disk.most, <=, 8);
    while (disk_ends_one()) {
    }
    g_assert_cmpuint(disk.most, ==, 8);
    for (unsigned i = 0; i < 64; i++) {
        g_assert_cmpint(a[i]->ended, ==, 0);
        g_free(a[i]);
    }
    disk_tear_down(&d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/direct/fits", test_fits);
    g_test_add_func("/direct/neighbours", test_neighbours);
    g_test_add_func("/direct/random", test_random);
    g_test_add_func("/direct/guest-memory", test_guest_memory);
    g_test_add_func("/direct/end", test_end);
    g_test_add_func("/direct/cancel", test_cancel);
    g_test_add_func("/direct/punch", test_punch);
    g_test_add_func("/direct/bound", test_bound);
    return g_test_run();
}
