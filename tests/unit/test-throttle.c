/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits of drives, and other sizes: the buckets by numbers, then drives whose requests have to
 * wait. Where nothing may move while the test looks, one byte a second is the limit.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include <xendm/backend.h>
#include <xendm/clock.h>
#include <xendm/handover.h>

#include "backends/block/throttle.h"

/* ---- buckets ---- */

#define SECOND NS_PER_S

static void test_average(void)
{
    struct throttle t;

    throttle_init(&t, &(struct block_throttle){.rate[BLOCK_IOPS_TOTAL] = {.avg = 10}}, 0);
    for (unsigned i = 0; i < 2; i++) { /* a tenth of a second at once */
        g_assert_cmpint(throttle_wait(&t, i, 0), ==, 0);
        throttle_account(&t, i, 4096);
    }
    g_assert_cmpint(throttle_wait(&t, false, 0), ==, SECOND / 10);
    g_assert_cmpint(throttle_wait(&t, true, SECOND / 20), ==, SECOND / 20);
    g_assert_cmpint(throttle_wait(&t, true, SECOND / 10), ==, 0);
    /* A minute of it: what was let through is the rate. */
    unsigned passed = 0;
    for (int64_t now = SECOND; now < 61 * SECOND; now += NS_PER_MS) {
        while (throttle_wait(&t, true, now) == 0) {
            throttle_account(&t, true, 1);
            passed++;
        }
    }
    g_assert_cmpuint(passed, >=, 600);
    g_assert_cmpuint(passed, <=, 603);
}

static void test_directions(void)
{
    struct throttle t;

    throttle_init(&t,
                  &(struct block_throttle){.rate[BLOCK_BPS_READ] = {.avg = 1000},
                                           .rate[BLOCK_IOPS_WRITE] = {.avg = 1}},
                  0);
    throttle_account(&t, false, 1100);
    g_assert_cmpint(throttle_wait(&t, false, 0), ==, SECOND);
    g_assert_cmpint(throttle_wait(&t, true, 0), ==, 0);
    throttle_account(&t, true, 1 << 20);
    g_assert_cmpint(throttle_wait(&t, true, 0), ==, SECOND * 9 / 10);
    g_assert_cmpint(throttle_wait(&t, false, SECOND), ==, 0);
}

static void test_burst(void)
{
    struct throttle t;
    unsigned passed = 0;

    throttle_init(&t,
                  &(struct block_throttle){
                      .rate[BLOCK_IOPS_TOTAL] = {.avg = 10, .max = 100, .length = 5}},
                  0);
    for (int64_t now = 0; now < 20 * SECOND; now += NS_PER_MS) {
        while (throttle_wait(&t, true, now) == 0) {
            throttle_account(&t, true, 1);
            passed++;
        }
        if (now == 2 * SECOND) {
            g_assert_cmpuint(passed, >=, 200); /* at the burst's rate */
            g_assert_cmpuint(passed, <=, 215);
        }
    }
    g_assert_cmpuint(passed, >=, 695); /* 500 of the burst, then as the average allows */
    g_assert_cmpuint(passed, <=, 705);
}

static void test_op_size(void)
{
    struct throttle t;

    throttle_init(&t,
                  &(struct block_throttle){.rate[BLOCK_IOPS_TOTAL] = {.avg = 10}, .op_size = 4096},
                  0);
    throttle_account(&t, false, 512);
    g_assert_cmpint(throttle_wait(&t, false, 0), ==, 0);
    throttle_account(&t, false, 40960);
    g_assert_cmpint(throttle_wait(&t, false, 0), ==, SECOND);
}

static void test_check(void)
{
    static const struct {
        struct block_throttle t;
        const char *wrong;
    } cases[] = {
        {{.rate[BLOCK_BPS_TOTAL] = {1, 0, 0}}, NULL},
        {{.rate[BLOCK_BPS_READ] = {1, 2, 3}, .rate[BLOCK_BPS_WRITE] = {1, 0, 0}}, NULL},
        {{.rate[BLOCK_BPS_READ] = {1, 0, 0}, .rate[BLOCK_IOPS_TOTAL] = {1, 0, 0}}, NULL},
        {{.rate[BLOCK_BPS_TOTAL] = {1, 0, 0}, .rate[BLOCK_BPS_READ] = {1, 0, 0}}, "both"},
        {{.rate[BLOCK_IOPS_TOTAL] = {1, 0, 0}, .rate[BLOCK_IOPS_WRITE] = {1, 0, 0}}, "both"},
        {{.rate[BLOCK_IOPS_TOTAL] = {100, 50, 0}}, "lower"},
        {{.rate[BLOCK_IOPS_TOTAL] = {0, 50, 0}}, "need"},
        {{.rate[BLOCK_IOPS_TOTAL] = {1, 0, 5}}, "without"},
        {{.rate[BLOCK_BPS_TOTAL] = {UINT64_MAX, 0, 0}}, "at most"},
        {{.rate[BLOCK_BPS_TOTAL] = {1, UINT64_C(100000000000000), 11}}, "too long"},
        {{.rate[BLOCK_BPS_TOTAL] = {1, 1, UINT64_C(1) << 32}}, "too long"},
        {{.rate[BLOCK_BPS_TOTAL] = {1, 0, 0}, .op_size = 1}, "requires"},
        {{.op_size = 1}, "requires"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) err = NULL;

        g_assert_cmpint(block_throttle_check(&cases[i].t, &err), ==, cases[i].wrong ? -EINVAL : 0);
        g_assert_true(!cases[i].wrong == !err);
        g_assert_true(!err || strstr(err->message, cases[i].wrong));
    }
}

/* ---- drives ---- */

struct wait {
    struct block_request req;
    uint8_t buf[4096];
    struct iovec iov;
    bool done;
    int error;
};

static void request_done(struct block_request *req, int error)
{
    struct wait *w = req->opaque;

    g_assert_false(w->done);
    w->done = true;
    w->error = error;
}

static void start(struct block_queue *q, struct wait *w, enum block_op op, uint64_t offset)
{
    memset(w, 0, sizeof(*w));
    w->iov = (struct iovec){w->buf, sizeof(w->buf)};
    w->req = (struct block_request){
        .op = op, .offset = offset, .done = request_done, .opaque = w, .length = sizeof(w->buf)};
    if (op == BLOCK_READ || op == BLOCK_WRITE) {
        w->req.iov = &w->iov;
        w->req.niov = 1;
    }
    block_submit(q, &w->req);
}

static int finish(struct wait *w)
{
    while (!w->done) {
        g_main_context_iteration(NULL, TRUE);
    }
    return w->error;
}

/* Whatever is on its way arrives; what waits for limits stays. */
static void settle(struct block_queue *q)
{
    struct wait w;

    start(q, &w, BLOCK_FLUSH, 0);
    g_assert_cmpint(finish(&w), ==, 0);
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

static char *make_file(uint64_t size)
{
    char *name = NULL;
    int fd = g_file_open_tmp("xendm-throttle-XXXXXX", &name, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
    close(fd);
    return name;
}

static struct block *add_drive(struct backend_set *set, const char *id, const char *file,
                               const struct handover *from)
{
    struct object_desc *o = object_desc_make(OBJECT_BACKEND, BACKEND_BLOCK, "raw", id, "file", file,
                                             "throttling.bps-total", "1", NULL);
    GError *err = NULL;
    struct backend *b = backend_add(set, o, from, &err);

    g_assert_no_error(err);
    object_desc_free(o);
    return block_of(b);
}

static const struct block_throttle no_limits, slow = {.rate[BLOCK_BPS_TOTAL] = {.avg = 1}};

static void limit(struct block *b, const struct block_throttle *t, const char *group)
{
    g_assert_cmpint(block_set_throttle(b, t, group, NULL), ==, 0);
}

static void test_held(void)
{
    struct backend_set *set = backend_set_new();
    g_autofree char *file = make_file(1 << 20);
    struct block *b = add_drive(set, "d", file, NULL);
    struct block_queue *q = block_queue_new(b);
    uint8_t now[512];
    struct wait w[4];

    for (unsigned i = 0; i < 4; i++) {
        start(q, &w[i], i & 1 ? BLOCK_WRITE : BLOCK_READ, 4096 * i);
    }
    g_assert_cmpint(finish(&w[0]), ==, 0);
    settle(q);
    g_assert_false(w[1].done || w[2].done || w[3].done);
    g_assert_cmpuint(block_stats(b)->held, ==, 3);
    g_assert_cmpuint(block_in_flight(b), ==, 3);
    g_assert_cmpint(block_read_now(q, 0, now, sizeof(now)), ==, -EAGAIN);
    block_cancel(q, &w[3].req);
    g_assert_cmpint(finish(&w[3]), ==, -ECANCELED);
    backend_set_hurry(set, true); /* a stop */
    g_assert_cmpint(finish(&w[1]), ==, 0);
    g_assert_cmpint(finish(&w[2]), ==, 0);
    start(q, &w[0], BLOCK_READ, 0);
    g_assert_cmpint(finish(&w[0]), ==, 0);
    g_assert_cmpuint(backend_set_busy(set), ==, 0);
    backend_set_hurry(set, false);
    start(q, &w[0], BLOCK_ZERO, 0);
    start(q, &w[1], BLOCK_DISCARD, 0); /* goes behind it, and costs nothing */
    start(q, &w[2], BLOCK_READ, 1 << 20);
    g_assert_cmpint(finish(&w[2]), ==, -EINVAL); /* what is wrong does not wait */
    settle(q);
    g_assert_false(w[0].done);
    limit(b, &no_limits, NULL);
    g_assert_null(block_throttle(b));
    finish(&w[0]);
    finish(&w[1]);
    limit(b, &slow, NULL);
    start(q, &w[0], BLOCK_READ, 0); /* an empty bucket takes one */
    start(q, &w[1], BLOCK_READ, 0);
    finish(&w[0]);
    block_eject(b);
    g_assert_cmpint(finish(&w[1]), ==, -ENOMEDIUM);
    block_queue_free(q);
    backend_set_free(set);
    g_unlink(file);
}

static void test_group(void)
{
    struct backend_set *set = backend_set_new();
    g_autofree char *file1 = make_file(1 << 20), *file2 = make_file(1 << 20);
    struct block *b1 = add_drive(set, "d1", file1, NULL), *b2 = add_drive(set, "d2", file2, NULL);
    struct block_queue *q1 = block_queue_new(b1), *q2 = block_queue_new(b2);
    struct wait w[3];

    g_assert_cmpstr(block_throttle_group(b1), ==, "d1");
    limit(b1, &slow, "g");
    limit(b2, &slow, "g");
    start(q1, &w[0], BLOCK_READ, 0);
    start(q2, &w[1], BLOCK_READ, 0);
    start(q1, &w[2], BLOCK_READ, 0);
    g_assert_cmpint(finish(&w[0]), ==, 0);
    settle(q2);
    g_assert_false(w[1].done || w[2].done); /* the other's request counts */
    limit(b2, &no_limits, NULL);
    g_assert_cmpint(finish(&w[1]), ==, 0);
    settle(q1);
    g_assert_false(w[2].done);
    limit(b1, &(struct block_throttle){.rate[BLOCK_IOPS_READ] = {.avg = 1000}}, NULL);
    g_assert_cmpint(finish(&w[2]), ==, 0);
    g_assert_cmpstr(block_throttle_group(b1), ==, "g"); /* it stays in its group */
    block_queue_free(q1);
    block_queue_free(q2);
    backend_set_free(set);
    g_unlink(file1);
    g_unlink(file2);
}

/* More than the bucket takes at once: the timer lets the rest through, and then it is still. */
static void test_timer(void)
{
    enum { COUNT = 300 };
    struct backend_set *set = backend_set_new();
    g_autofree char *file = make_file(1 << 20);
    struct block *b = add_drive(set, "d", file, NULL);
    struct block_queue *q = block_queue_new(b);
    struct wait *w = g_new(struct wait, COUNT);

    for (unsigned i = 0; i < COUNT; i++) {
        start(q, &w[i], i % 3 ? BLOCK_READ : BLOCK_WRITE, 0);
    }
    limit(b, &(struct block_throttle){.rate[BLOCK_IOPS_TOTAL] = {.avg = 2000}}, NULL);
    for (unsigned i = 0; i < COUNT; i++) {
        g_assert_cmpint(finish(&w[i]), ==, 0);
    }
    g_assert_cmpuint(block_stats(b)->held, ==, COUNT - 1);
    g_assert_cmpuint(block_in_flight(b), ==, 0);
    while (g_main_context_iteration(NULL, FALSE)) {
    }
    g_assert_false(g_main_context_pending(NULL));
    g_free(w);
    block_queue_free(q);
    backend_set_free(set);
    g_unlink(file);
}

static void test_handover(void)
{
    struct backend_set *before = backend_set_new(), *after = backend_set_new();
    g_autofree char *file = make_file(1 << 20);
    struct block *b = add_drive(before, "d", file, NULL);
    const struct block_throttle *t;
    struct handover *h = handover_new(), *got;
    GError *err = NULL;
    int pair[2];

    limit(b, &(struct block_throttle){.rate[BLOCK_IOPS_READ] = {7, 70, 2}, .op_size = 512}, "g");
    backend_set_hand_over(before, h);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), ==, 0);
    g_assert_cmpint(handover_send(h, pair[0], &err), ==, 0);
    got = handover_receive(pair[1], &err);
    g_assert_no_error(err);
    block_inactivate(b);
    b = add_drive(after, "d", file, got);
    t = block_throttle(b);
    g_assert_nonnull(t);
    g_assert_cmpuint(t->rate[BLOCK_BPS_TOTAL].avg, ==, 0); /* not what the options say */
    g_assert_cmpuint(t->rate[BLOCK_IOPS_READ].max, ==, 70);
    g_assert_cmpuint(t->rate[BLOCK_IOPS_READ].length, ==, 2);
    g_assert_cmpuint(t->op_size, ==, 512);
    g_assert_cmpstr(block_throttle_group(b), ==, "g");
    handover_free(h);
    handover_free(got);
    close(pair[0]);
    close(pair[1]);
    backend_set_free(before);
    backend_set_free(after);
    g_unlink(file);
}

/* ---- size ---- */

static unsigned told;

static void on_resized(void *opaque)
{
    told++;
}

static const struct block_listener listener = {.resized = on_resized};

struct answer {
    bool done;
    GError *err;
};

static void on_done(void *opaque, GError *err)
{
    struct answer *a = opaque;

    g_assert_false(a->done);
    a->done = true;
    a->err = err;
}

static void assert_refused(struct block *b, uint64_t size, const char *part)
{
    struct answer a = {0};

    block_resize(b, size, on_done, &a);
    g_assert_true(a.done);
    g_assert_nonnull(a.err);
    g_assert_nonnull(strstr(a.err->message, part));
    g_clear_error(&a.err);
}

static struct block *open_drive(const char *file, bool read_only)
{
    GError *err = NULL;
    struct block *b = block_open(
        &(struct block_options){.id = "d", .file = file, .read_only = read_only, .fd = -1}, &err);

    g_assert_no_error(err);
    return b;
}

static void test_size(void)
{
    g_autofree char *file = make_file(1 << 20);
    struct block *b = open_drive(file, false);
    struct block_queue *q = block_queue_new(b);
    struct answer a = {0}, second = {0};
    struct wait w[3];
    struct stat st;

    told = 0;
    block_listen(b, &listener, NULL);
    block_resize(b, 2 << 20, on_done, &a);
    g_assert_true(a.done && !a.err);
    g_assert_cmpuint(block_size(b), ==, 2 << 20);
    g_assert_cmpuint(told, ==, 1);
    /* It shrinks when what is on its way there has arrived; else that would make it grow again. */
    a = (struct answer){0};
    start(q, &w[0], BLOCK_WRITE, (2 << 20) - 4096);
    block_resize(b, 512 << 10, on_done, &a);
    g_assert_false(a.done);
    block_resize(b, 4096, on_done, &second);
    g_assert_true(second.done && second.err);
    g_clear_error(&second.err);
    start(q, &w[1], BLOCK_WRITE, (2 << 20) - 4096); /* waits, and is outside then */
    start(q, &w[2], BLOCK_READ, 0);
    g_assert_cmpint(finish(&w[0]), ==, 0);
    g_assert_true(a.done && !a.err);
    g_assert_cmpint(finish(&w[1]), ==, -EINVAL);
    g_assert_cmpint(finish(&w[2]), ==, 0);
    g_assert_cmpuint(told, ==, 2);
    g_assert_cmpint(g_stat(file, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 512 << 10);
    /* An odd size is rounded up for the guest. */
    a = (struct answer){0};
    block_resize(b, 1000, on_done, &a);
    g_assert_true(a.done && !a.err);
    g_assert_cmpuint(block_size(b), ==, 1024);
    assert_refused(b, 0, "no bytes");
    assert_refused(b, UINT64_MAX, "so large");
    /* Taken out while it waits. */
    a = (struct answer){0};
    start(q, &w[0], BLOCK_READ, 0);
    w[0].req.length = w[0].iov.iov_len;
    finish(&w[0]);
    block_eject(b);
    assert_refused(b, 4096, "no medium");
    block_unlisten(b, &listener, NULL);
    block_queue_free(q);
    block_close(b);
    b = open_drive(file, true);
    assert_refused(b, 4096, "read-only");
    block_close(b);
    g_unlink(file);
}

static void test_taken_out(void)
{
    g_autofree char *file = make_file(1 << 20);
    struct block *b = open_drive(file, false);
    struct block_queue *q = block_queue_new(b);
    struct answer a = {0};
    struct wait w[2];

    start(q, &w[0], BLOCK_READ, 0);
    block_resize(b, 4096, on_done, &a);
    start(q, &w[1], BLOCK_READ, 0);
    block_eject(b);
    g_assert_true(a.done);
    g_assert_nonnull(strstr(a.err->message, "taken out"));
    g_clear_error(&a.err);
    g_assert_cmpint(finish(&w[0]), ==, 0);
    g_assert_cmpint(finish(&w[1]), ==, -ENOMEDIUM);
    block_queue_free(q);
    block_close(b);
    g_unlink(file);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/throttle/average", test_average);
    g_test_add_func("/throttle/directions", test_directions);
    g_test_add_func("/throttle/burst", test_burst);
    g_test_add_func("/throttle/op-size", test_op_size);
    g_test_add_func("/throttle/check", test_check);
    g_test_add_func("/throttle/held", test_held);
    g_test_add_func("/throttle/group", test_group);
    g_test_add_func("/throttle/timer", test_timer);
    g_test_add_func("/throttle/handover", test_handover);
    g_test_add_func("/resize/size", test_size);
    g_test_add_func("/resize/taken-out", test_taken_out);
    return g_test_run();
}
