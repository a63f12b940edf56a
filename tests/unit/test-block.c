/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The raw block back end on real files, with whichever engine XENDM_BLOCK_ENGINE names. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include <xendm/block.h>
#include <xendm/error.h>

struct wait {
    struct block_request req;
    bool done;
    bool submitting;
    int error;
};

static void request_done(struct block_request *req, int error)
{
    struct wait *w = req->opaque;

    g_assert_false(w->submitting); /* never from inside block_submit() */
    g_assert_false(w->done);       /* once */
    w->done = true;
    w->error = error;
}

/* One queue is enough here, of the drive that was opened last. */
static struct block_queue *q;

static struct block *attach(struct block *b)
{
    q = block_queue_new(b);
    return b;
}

static void shut(struct block *b)
{
    block_queue_free(q);
    block_close(b);
}

static void start(struct block *b, struct wait *w, enum block_op op, uint64_t offset,
                  struct iovec *iov, unsigned niov)
{
    memset(w, 0, sizeof(*w));
    w->req = (struct block_request){
        .op = op, .offset = offset, .iov = iov, .niov = niov, .done = request_done, .opaque = w};
    for (unsigned i = 0; i < niov; i++) {
        w->req.length += iov[i].iov_len;
    }
    w->submitting = true;
    block_submit(q, &w->req);
    w->submitting = false;
}

static int finish(struct wait *w)
{
    while (!w->done) {
        g_main_context_iteration(NULL, TRUE);
    }
    return w->error;
}

static int transfer(struct block *b, enum block_op op, uint64_t offset, void *buf, size_t len)
{
    struct iovec iov = {.iov_base = buf, .iov_len = len};
    struct wait w;

    start(b, &w, op, offset, &iov, 1);
    return finish(&w);
}

static char *make_file(uint64_t size)
{
    char *name = NULL;
    int fd = g_file_open_tmp("xendm-block-XXXXXX", &name, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
    close(fd);
    return name;
}

static struct block *open_file(const char *file, bool read_only)
{
    GError *err = NULL;
    struct block *b = block_open(
        &(struct block_options){.id = "d", .file = file, .read_only = read_only, .fd = -1}, &err);

    g_assert_no_error(err);
    g_assert_nonnull(b);
    return attach(b);
}

static void test_read_write(void)
{
    g_autofree char *file = make_file(1 << 20);
    struct block *b = open_file(file, false);
    uint8_t out[8192], in[8192];
    struct iovec iov[3] = {{out, 512}, {out + 512, 3584}, {out + 4096, 4096}};
    struct wait w;

    for (unsigned i = 0; i < sizeof(out); i++) {
        out[i] = (uint8_t)(i * 7 + i / 256);
    }
    g_assert_cmpuint(block_size(b), ==, 1 << 20);
    start(b, &w, BLOCK_WRITE, 5120, iov, 3);
    g_assert_cmpuint(block_in_flight(b), ==, 1);
    g_assert_cmpint(finish(&w), ==, 0);
    g_assert_cmpint(transfer(b, BLOCK_FLUSH, 0, NULL, 0), ==, 0);
    g_assert_cmpint(transfer(b, BLOCK_READ, 5120, in, sizeof(in)), ==, 0);
    g_assert_cmpmem(in, sizeof(in), out, sizeof(out));

    int now = block_read_now(q, 5120 + 512, in, 512);

    if (now == 0) {
        g_assert_cmpmem(in, 512, out + 512, 512);
    } else {
        g_assert_cmpint(now, ==, -EAGAIN);
    }
    g_assert_cmpuint(block_stats(b)->bytes[BLOCK_WRITE], ==, sizeof(out));
    g_assert_cmpuint(block_stats(b)->ops[BLOCK_FLUSH], ==, 1);
    shut(b);
    g_unlink(file);
}

/* Whether the page cache has anything of the file. */
static bool is_cached(const char *file, size_t size)
{
    g_autofree unsigned char *there = g_malloc((size + 4095) / 4096);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    void *p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    bool any = false;

    g_assert_true(p != MAP_FAILED);
    g_assert_cmpint(mincore(p, size, there), ==, 0);
    for (size_t i = 0; i < (size + 4095) / 4096; i++) {
        any |= there[i] & 1;
    }
    munmap(p, size);
    close(fd);
    return any;
}

/* cache.direct=on: whatever its memory and its length, a request is done past the page cache. */
static void test_direct(void)
{
    enum { SIZE = 1 << 20 };
    static uint8_t out[SIZE + 512], in[SIZE + 512];
    g_autofree char *file = make_file(SIZE);
    g_autoptr(GError) err = NULL;
    struct block_options options = {.id = "d", .file = file, .cache = {.direct = true}, .fd = -1};
    struct block *b = block_open(&options, &err);
    uint8_t *odd_out = out + 2, *odd_in = in + 6;
    struct statfs fs;

    if (!b) {
        g_assert_error(err, XENDM_ERROR, ENOTSUP);
        g_assert_nonnull(strstr(err->message, "cannot be used past the host's page cache"));
        g_test_skip("the file system here has no O_DIRECT");
        g_unlink(file);
        return;
    }
    attach(b);
    for (unsigned i = 0; i < sizeof(out); i++) {
        out[i] = (uint8_t)(i * 7 + i / 256);
    }
    g_assert_cmpint(transfer(b, BLOCK_WRITE, 0, odd_out, SIZE), ==, 0);
    g_assert_cmpint(transfer(b, BLOCK_WRITE, 512, odd_out + 512, 512), ==, 0);
    g_assert_cmpint(transfer(b, BLOCK_FLUSH, 0, NULL, 0), ==, 0);
    g_assert_cmpint(transfer(b, BLOCK_READ, 0, odd_in, SIZE), ==, 0);
    g_assert_cmpmem(odd_in, SIZE, odd_out, SIZE);
    g_assert_cmpint(transfer(b, BLOCK_READ, 512 * 9, in, 512 * 3), ==, 0);
    g_assert_cmpmem(in, 512 * 3, odd_out + 512 * 9, 512 * 3);
    g_assert_cmpint(block_read_now(q, 0, in, 512), ==, -EAGAIN);
    if (statfs(file, &fs) == 0 && fs.f_type != TMPFS_MAGIC) { /* which is nothing else */
        g_assert_false(is_cached(file, SIZE));
    }
    g_assert_cmpint(transfer(b, BLOCK_ZERO, 0, NULL, 0), ==, 0);
    shut(b);
    g_unlink(file);
}

static void test_refusals(void)
{
    g_autofree char *file = make_file(4096);
    struct block *b = open_file(file, true);
    uint8_t buf[4096] = {0};

    g_assert_cmpint(transfer(b, BLOCK_WRITE, 0, buf, 512), ==, -EROFS);
    g_assert_cmpint(transfer(b, BLOCK_READ, 4096, buf, 512), ==, -EINVAL);
    g_assert_cmpint(transfer(b, BLOCK_READ, UINT64_MAX - 511, buf, 512), ==, -EINVAL);
    g_assert_cmpint(transfer(b, BLOCK_READ, 4096 - 512, buf, 1024), ==, -EINVAL);
    g_assert_cmpint(transfer(b, BLOCK_READ, 0, buf, 4096), ==, 0);
    block_eject(b);
    g_assert_false(block_present(b));
    g_assert_cmpint(transfer(b, BLOCK_READ, 0, buf, 512), ==, -ENOMEDIUM);
    g_assert_cmpint(block_read_now(q, 0, buf, 512), ==, -ENOMEDIUM);
    shut(b);
    g_unlink(file);
}

/*
 * The tail of an image whose size is no multiple of 512 reads as zeros; an image that shrank gives
 * an error.
 */
static void test_odd_sizes(void)
{
    g_autofree char *file = make_file(1000);
    struct block *b = open_file(file, false);
    uint8_t buf[1024];

    g_assert_cmpuint(block_size(b), ==, 1024);
    memset(buf, 0xaa, sizeof(buf));
    g_assert_cmpint(transfer(b, BLOCK_READ, 0, buf, sizeof(buf)), ==, 0);
    for (unsigned i = 0; i < sizeof(buf); i++) {
        g_assert_cmpuint(buf[i], ==, 0);
    }
    g_assert_cmpint(truncate(file, 100), ==, 0);
    g_assert_cmpint(transfer(b, BLOCK_READ, 0, buf, sizeof(buf)), ==, -EIO);
    shut(b);
    g_unlink(file);
}

static void test_zero_discard(void)
{
    g_autofree char *file = make_file(1 << 20);
    struct block *b = open_file(file, false);
    g_autofree uint8_t *buf = g_malloc(1 << 20);
    struct wait w;

    memset(buf, 0x5a, 1 << 20);
    g_assert_cmpint(transfer(b, BLOCK_WRITE, 0, buf, 1 << 20), ==, 0);
    start(b, &w, BLOCK_ZERO, 0, NULL, 0);
    g_assert_cmpint(finish(&w), ==, 0); /* nothing to do */
    memset(&w, 0, sizeof(w));
    w.req = (struct block_request){
        .op = BLOCK_ZERO, .offset = 1000, .length = 200000, .done = request_done, .opaque = &w};
    block_submit(q, &w.req);
    g_assert_cmpint(finish(&w), ==, 0);
    memset(&w, 0, sizeof(w));
    w.req = (struct block_request){
        .op = BLOCK_DISCARD, .offset = 524288, .length = 4096, .done = request_done, .opaque = &w};
    block_submit(q, &w.req);
    g_assert_cmpint(finish(&w), ==, 0);
    g_assert_cmpint(transfer(b, BLOCK_READ, 0, buf, 1 << 20), ==, 0);
    g_assert_cmpuint(buf[999], ==, 0x5a);
    g_assert_cmpuint(buf[1000], ==, 0);
    g_assert_cmpuint(buf[200999], ==, 0);
    g_assert_cmpuint(buf[201000], ==, 0x5a);
    g_assert_cmpuint(buf[524287], ==, 0x5a);
    shut(b);
    g_unlink(file);
}

static void on_quiet(void *opaque)
{
    *(bool *)opaque = true;
}

/*
 * More requests at once than the ring has entries, then silence; every one
 * completes, each once.
 */
static void test_many_and_drain(void)
{
    enum { COUNT = 600 };
    g_autofree char *file = make_file(COUNT * 4096);
    struct block *b = open_file(file, false);
    g_autofree struct wait *w = g_new0(struct wait, COUNT);
    g_autofree uint8_t *buf = g_malloc(COUNT * 4096);
    g_autofree uint8_t *back = g_malloc(COUNT * 4096);
    g_autofree struct iovec *iov = g_new0(struct iovec, COUNT);

    for (unsigned i = 0; i < COUNT; i++) {
        memset(buf + i * 4096, (int)(i % 251), 4096);
        iov[i] = (struct iovec){buf + i * 4096, 4096};
        start(b, &w[i], BLOCK_WRITE, i * 4096, &iov[i], 1);
    }
    struct wait refused;
    bool silence = false;

    start(b, &refused, BLOCK_READ, UINT64_C(1) << 40, &iov[0], 1);
    block_quiesce(q, on_quiet, &silence);
    g_assert_false(silence);
    while (!silence) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpuint(block_in_flight(b), ==, 0);
    for (unsigned i = 0; i < COUNT; i++) {
        g_assert_true(w[i].done);
        g_assert_cmpint(w[i].error, ==, 0);
    }
    g_assert_true(refused.done);
    g_assert_cmpint(refused.error, ==, -EINVAL);
    g_assert_cmpint(transfer(b, BLOCK_READ, 0, back, COUNT * 4096), ==, 0);
    g_assert_cmpmem(back, COUNT * 4096, buf, COUNT * 4096);
    shut(b);
    g_unlink(file);
}

static void expect_error(struct block_options o, const char *part)
{
    GError *err = NULL;

    g_assert_null(block_open(&o, &err));
    g_assert_nonnull(err);
    g_assert_nonnull(strstr(err->message, part));
    g_error_free(err);
}

static void test_open_errors(void)
{
    g_autofree char *empty = make_file(0);

    expect_error((struct block_options){.id = "ide0-hd0", .file = "/nonexistent/x,y.img", .fd = -1},
                 "/nonexistent/x,y.img");
    expect_error((struct block_options){.id = "ide0-hd0", .file = "/nonexistent/x,y.img", .fd = -1},
                 "ide0-hd0");
    expect_error((struct block_options){.id = "d", .file = empty, .fd = -1}, "no usable size");
    expect_error((struct block_options){.id = "d", .file = "/tmp", .read_only = true, .fd = -1},
                 "neither a file");
    {
        g_autofree char *fifo = g_strdup_printf("%s/block-fifo-%d", g_get_tmp_dir(), (int)getpid());

        /* nobody writes: opening it would wait for ever */
        g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
        expect_error((struct block_options){.id = "d", .file = fifo, .read_only = true, .fd = -1},
                     "neither a file");
        unlink(fifo);
    }
    expect_error((struct block_options){.id = "d", .file = empty, .format = "bochs", .fd = -1},
                 "bochs");
    expect_error((struct block_options){.id = "d", .file = "", .fd = open("/dev/null", O_RDONLY)},
                 "not open for writing");
    g_unlink(empty);
}

static unsigned changes;

static void medium_changed(void *opaque)
{
    changes++;
}

struct inserting {
    bool done;
    GError *err;
};

static void inserted(void *opaque, GError *err)
{
    struct inserting *i = opaque;

    g_assert_false(i->done);
    *i = (struct inserting){true, err};
}

/* A raw file's is over at once. */
static bool insert(struct block *b, const struct block_options *o)
{
    struct inserting i = {false, NULL};
    bool good;

    block_insert(b, o, inserted, &i);
    g_assert_true(i.done);
    good = !i.err;
    g_clear_error(&i.err);
    return good;
}

static void test_media(void)
{
    static const struct block_listener listener = {.medium_changed = medium_changed};
    g_autofree char *file = make_file(2048 * 10);
    GError *err = NULL;
    struct block *b =
        block_open(&(struct block_options){.id = "ide-5632", .read_only = true, .fd = -1}, &err);
    struct block_options o = {.id = "ide-5632", .file = file, .read_only = true, .fd = -1};

    g_assert_no_error(err);
    g_assert_false(block_present(b));
    g_assert_cmpuint(block_size(b), ==, 0);
    attach(b);
    block_listen(b, &listener, NULL);
    g_assert_true(insert(b, &o));
    g_assert_cmpstr(block_file(b), ==, file);
    g_assert_cmpstr(block_format(b), ==, "raw");
    /* What cannot be opened leaves the old one in. */
    o.file = "/nonexistent/disc.iso";
    g_assert_false(insert(b, &o));
    g_assert_cmpstr(block_file(b), ==, file);
    o.file = file;
    block_eject(b);
    block_eject(b);
    g_assert_cmpstr(block_file(b), ==, "");
    o.fd = open(file, O_RDONLY);
    g_assert_true(insert(b, &o));
    g_assert_cmpuint(block_size(b), ==, 20480);
    g_assert_cmpuint(changes, ==, 3);
    /* In place of it: one change. */
    o.fd = -1;
    g_assert_true(insert(b, &o));
    g_assert_cmpuint(changes, ==, 4);
    block_unlisten(b, &listener, NULL);
    block_eject(b);
    g_assert_cmpuint(changes, ==, 4);
    shut(b);
    g_unlink(file);
}

/*
 * A write that the host cannot store is reported, not acknowledged: /dev/full has no size, so a
 * tiny tmpfs-like limit.
 */
static void test_no_space(void)
{
    g_autofree char *file = make_file(1 << 20);
    struct block *b;
    uint8_t buf[4096] = {1};
    int fd = open(file, O_RDWR);
    struct wait w;
    struct iovec iov = {buf, sizeof(buf)};

    /*
     * A sealed or full host file cannot be had without mounts; a descriptor made unwritable behind
     * our back can.
     */
    b = open_file(file, false);
    g_assert_cmpint(transfer(b, BLOCK_WRITE, 0, buf, sizeof(buf)), ==, 0);
    close(fd);
    fd = open("/dev/full", O_RDWR);
    g_assert_cmpint(fd, >=, 0);
    /* Every descriptor above stderr that names our file becomes /dev/full. */
    for (int i = 3; i < 64; i++) {
        struct stat a, c;

        if (i != fd && fstat(i, &a) == 0 && stat(file, &c) == 0 && a.st_ino == c.st_ino &&
            a.st_dev == c.st_dev) {
            g_assert_cmpint(dup2(fd, i), ==, i);
        }
    }
    start(b, &w, BLOCK_WRITE, 0, &iov, 1);
    g_assert_cmpint(finish(&w), ==, -ENOSPC);
    g_assert_cmpuint(block_stats(b)->errors[BLOCK_WRITE], ==, 1);
    /* A flush that failed once does not succeed when it is repeated. */
    g_assert_cmpint(transfer(b, BLOCK_FLUSH, 0, NULL, 0), ==, -EINVAL);
    g_assert_cmpint(transfer(b, BLOCK_FLUSH, 0, NULL, 0), ==, -EINVAL);
    g_assert_cmpuint(block_stats(b)->errors[BLOCK_FLUSH], ==, 2);
    shut(b);
    close(fd);
    g_unlink(file);
}

/*
 * A read that hangs: in the place of the C library's, for the
 * engine with threads. (io_uring's hang in the kernel.)
 */
static int hang;
static int hanging;

ssize_t preadv(int fd, const struct iovec *iov, int niov, off_t offset)
{
    ssize_t sum = 0;

    while (g_atomic_int_get(&hang)) {
        g_atomic_int_set(&hanging, 1);
        g_usleep(1000);
    }
    for (int i = 0; i < niov; i++) {
        ssize_t n = pread(fd, iov[i].iov_base, iov[i].iov_len, offset + sum);

        if (n <= 0) {
            return sum > 0 ? sum : n;
        }
        sum += n;
        if ((size_t)n < iov[i].iov_len) {
            break;
        }
    }
    return sum;
}

/* While a disk does not answer nobody waits: it is taken out, and comes back when it does. */
static void test_hang(void)
{
    g_autofree char *file = make_file(1 << 20);
    struct block *b = open_file(file, false);
    /* so much is given to the engine, wherever the file is */
    g_autofree char *buf = g_malloc(1 << 19);
    struct iovec iov = {buf, 1 << 19};
    bool silence = false;
    struct wait w, flush;
    int fd;

    if (strcmp(block_engine(), "threads") != 0) {
        g_test_skip("only for the engine with threads");
    } else {
        g_atomic_int_set(&hang, 1);
        fd = block_fd(b);
        start(b, &w, BLOCK_READ, 0, &iov, 1);
        while (!g_atomic_int_get(&hanging)) {
            g_usleep(1000);
        }
        block_cancel(q, &w.req);
        block_quiesce(q, on_quiet, &silence);
        start(b, &flush, BLOCK_FLUSH, 0, NULL, 0);
        g_assert_cmpint(finish(&flush), ==, 0);
        block_eject(b);
        g_assert_false(block_present(b));
        g_assert_cmpuint(block_in_flight(b), ==, 1);
        g_assert_false(w.done || silence);
        g_assert_cmpint(fcntl(fd, F_GETFD), >=, 0);
        g_atomic_int_set(&hang, 0);
        g_assert_cmpint(finish(&w), ==, 0); /* it was too late to take it back */
        g_assert_true(silence);
        g_assert_cmpint(fcntl(fd, F_GETFD), <, 0);
    }
    shut(b);
    g_unlink(file);
}

/*
 * A write that the host cuts short and then refuses: what was possible is done, the rest is an
 * error, once for each.
 */
static void test_file_limit(void)
{
    g_autofree char *file = make_file(1 << 20);
    struct block *b = open_file(file, false);
    g_autofree uint8_t *buf = g_malloc(16384);
    struct rlimit before, limit;
    uint8_t back[16384];
    struct iovec iov[2] = {{buf, 3000}, {buf + 3000, 13384}};
    struct wait w;

    memset(buf, 0x6b, 16384);
    signal(SIGXFSZ, SIG_IGN); /* as the daemon does */
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &before), ==, 0);
    limit = before;
    limit.rlim_cur = 10000;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    start(b, &w, BLOCK_WRITE, 4096, iov, 2);
    g_assert_cmpint(finish(&w), ==, -EFBIG);
    g_assert_cmpint(transfer(b, BLOCK_WRITE, 65536, buf, 512), ==, -EFBIG);
    g_assert_cmpint(transfer(b, BLOCK_WRITE, 0, buf, 512), ==, 0);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &before), ==, 0);
    g_assert_cmpuint(block_stats(b)->errors[BLOCK_WRITE], ==, 2);
    g_assert_cmpuint(block_stats(b)->bytes[BLOCK_WRITE], ==, 512);
    g_assert_cmpint(transfer(b, BLOCK_READ, 4096, back, sizeof(back)), ==, 0);
    g_assert_cmpuint(back[0], ==, 0x6b);
    g_assert_cmpuint(back[10000 - 4096 - 1], ==, 0x6b);
    g_assert_cmpuint(back[10000 - 4096], ==, 0);
    start(b, &w, BLOCK_WRITE, 4096, iov, 2);
    g_assert_cmpint(finish(&w), ==, 0);
    g_assert_cmpint(transfer(b, BLOCK_FLUSH, 0, NULL, 0), ==, 0);
    g_assert_cmpint(block_lost(b), ==, 0);
    shut(b);
    g_unlink(file);
}

/* What was lost before a live update is lost after it. */
static void test_lost(void)
{
    g_autofree char *file = make_file(4096);
    GError *err = NULL;
    struct block_options o = {.id = "d", .file = file, .fd = open(file, O_RDWR), .lost = -EIO};
    struct block *b = attach(block_open(&o, &err));
    uint8_t buf[512] = {0};

    g_assert_no_error(err);
    g_assert_cmpint(block_lost(b), ==, -EIO);
    g_assert_cmpint(transfer(b, BLOCK_WRITE, 0, buf, 512), ==, 0);
    g_assert_cmpint(transfer(b, BLOCK_FLUSH, 0, NULL, 0), ==, -EIO);
    block_eject(b);
    o.fd = -1;
    o.lost = 0;
    g_assert_true(insert(b, &o));
    g_assert_cmpint(transfer(b, BLOCK_FLUSH, 0, NULL, 0), ==, 0);
    shut(b);
    g_unlink(file);
}

static void let_go(int fd)
{
    struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

    g_assert_cmpint(fcntl(fd, F_OFD_SETLK, &all), ==, 0);
}

/* Who is patient gets an image from whoever is on the way out; nobody waits for it but the loop. */
static void test_insert_locked(void)
{
    g_autofree char *file = make_file(1 << 20);
    int other = open(file, O_RDWR);
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    GError *err = NULL;
    struct block *b = block_open(&(struct block_options){.id = "d", .fd = -1}, &err);
    struct block_options o = {.id = "d", .file = file, .fd = -1};
    struct inserting i = {false, NULL}, second = {false, NULL};

    g_assert_no_error(err);
    attach(b);
    g_assert_cmpint(fcntl(other, F_OFD_SETLK, &all), ==, 0);
    g_assert_false(insert(b, &o));
    o.patient = true;
    block_insert(b, &o, inserted, &i);
    g_assert_false(i.done);
    block_insert(b, &o, inserted, &second); /* one at a time */
    g_assert_error(second.err, XENDM_ERROR, EBUSY);
    g_clear_error(&second.err);
    g_assert_false(block_present(b));
    let_go(other);
    while (!i.done) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_no_error(i.err);
    g_assert_cmpuint(block_size(b), ==, 1 << 20);
    block_eject(b);
    g_assert_cmpint(fcntl(other, F_OFD_SETLK, &all), ==, 0);
    for (unsigned how = 0; how < 2; how++) { /* taken back; not to be had in a second */
        i = (struct inserting){false, NULL};
        block_insert(b, &o, inserted, &i);
        if (how == 0) {
            block_eject(b);
            g_assert_error(i.err, XENDM_ERROR, ECANCELED);
        }
        while (!i.done) {
            g_main_context_iteration(NULL, TRUE);
        }
        g_assert_nonnull(i.err);
        g_clear_error(&i.err);
        g_assert_false(block_present(b));
    }
    i = (struct inserting){false, NULL};
    block_insert(b, &o, inserted, &i);
    shut(b); /* … and the end of the drive */
    g_assert_error(i.err, XENDM_ERROR, ECANCELED);
    g_clear_error(&i.err);
    close(other);
    g_unlink(file);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/read-write", test_read_write);
    g_test_add_func("/block/direct", test_direct);
    g_test_add_func("/block/refusals", test_refusals);
    g_test_add_func("/block/odd-sizes", test_odd_sizes);
    g_test_add_func("/block/zero-discard", test_zero_discard);
    g_test_add_func("/block/many-and-drain", test_many_and_drain);
    g_test_add_func("/block/open-errors", test_open_errors);
    g_test_add_func("/block/media", test_media);
    g_test_add_func("/block/insert-locked", test_insert_locked);
    g_test_add_func("/block/hang", test_hang);
    g_test_add_func("/block/no-space", test_no_space);
    g_test_add_func("/block/file-limit", test_file_limit);
    g_test_add_func("/block/lost", test_lost);
    return g_test_run();
}
