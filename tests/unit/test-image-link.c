/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An image behind its keeper and a server, when what they and the host are asked for fails: each
 * call × errors × the first time, the second, three times, always. What fails for a moment is tried
 * again, and the guest notices nothing; what fails for good is the disk's error after so long; then
 * it works again. Nothing spins.
 */
#include <errno.h>
#include <string.h>

#include <glib.h>

#include "backends/block/image-wire.h"

#include "fake-nbd.h"

#define LENGTH 4096u
#define CALLS_MAX 120u /* of one kind, in the ten seconds that a request waits */

struct job {
    struct block_request req;
    struct iovec iov;
    uint8_t data[LENGTH];
    bool over;
    int error;
};

static void done(struct block_request *req, int error)
{
    struct job *j = req->opaque;

    g_assert_false(j->over);
    j->over = true;
    j->error = error;
}

/* Its error. Time passes while nothing happens. */
static int run(struct block_queue *q, enum block_op op, uint64_t offset)
{
    struct job j = {.iov = {j.data, LENGTH}};

    j.req = (struct block_request){.op = op,
                                   .offset = offset,
                                   .length = LENGTH,
                                   .iov = &j.iov,
                                   .niov = 1,
                                   .done = done,
                                   .opaque = &j};
    block_submit(q, &j.req);
    for (unsigned i = 0; !j.over; i++) {
        g_assert_cmpuint(i, <, 4000); /* 40 s */
        fake_nbd_settle(200);
        fake_nbd_time(10000);
    }
    for (unsigned i = 0; op == BLOCK_READ && !j.error && i < LENGTH; i++) {
        g_assert_cmphex(j.data[i], ==, fake_nbd_byte(offset + i));
    }
    return j.error;
}

static void plan(enum fake_nbd_call call, int error, unsigned from, unsigned until)
{
    fake_nbd.call = call;
    fake_nbd.error = error;
    fake_nbd.from = from;
    fake_nbd.until = until;
    fake_nbd.calls = 0;
}

/* The server hangs up, so that all is asked for anew. */
static void hang_up(void)
{
    fake_nbd_server_says('d');
    fake_nbd_settle(200);
    fake_nbd_time(2000000);
}

static const struct {
    const char *name;
    enum fake_nbd_call call;
    int errors[6];
    bool reported; /* an error of the server's that is the guest's at once */
} calls[] = {
    {"create", FAKE_NBD_CREATE, {ENOMEM}},
    {"name", FAKE_NBD_NAME, {ENOMEM}},
    {"connect", FAKE_NBD_CONNECT, {ENOMEM}},
    {"shake", FAKE_NBD_SHAKE, {ECONNRESET}},
    {"keeper", FAKE_NBD_KEEPER, {EAGAIN, ENOMEM, EMFILE, EINTR, ENOENT}},
    {"no-fd", FAKE_NBD_NO_FD, {EMFILE}},
    {"silence", FAKE_NBD_SILENCE, {EAGAIN}},
    {"send", FAKE_NBD_SEND, {EAGAIN, ENOBUFS, ENOMEM}},
    {"receive", FAKE_NBD_RECEIVE, {ENOMEM, ENOBUFS}},
    {"answer", FAKE_NBD_ANSWER, {ENOMEM, ESHUTDOWN, EAGAIN}},
    {"answer-for-good", FAKE_NBD_ANSWER, {EIO, ENOSPC, EINVAL}, true},
    {"command", FAKE_NBD_COMMAND, {EINVAL}, true},
};

static void test_call(gconstpointer opaque)
{
    unsigned which = GPOINTER_TO_UINT(opaque);
    static const unsigned when[][2] = {{1, 1}, {2, 2}, {1, 3}, {1, UINT32_MAX}};

    for (const int *error = calls[which].errors; *error; error++) {
        for (unsigned w = 0; w < G_N_ELEMENTS(when); w++) {
            struct block *b = fake_nbd_open(false);
            struct block_queue *q = block_queue_new(b);
            bool always = when[w][1] == UINT32_MAX;
            int first;

            g_assert_cmpint(run(q, BLOCK_READ, 0), ==, 0);
            hang_up();
            plan(calls[which].call, *error, when[w][0], when[w][1]);
            first = run(q, BLOCK_READ, 8192);
            if (calls[which].reported) {
                g_assert_cmpint(first, ==, when[w][0] == 1 ? -*error : 0);
            } else if (always) {
                g_assert_cmpint(first, <, 0);
            } else if (calls[which].call != FAKE_NBD_SILENCE) {
                g_assert_cmpint(first, ==, 0); /* a silent keeper is asked again after longer */
            }
            g_assert_cmpuint(fake_nbd.calls, <, CALLS_MAX);
            plan(0, 0, 0, 0); /* and then it works */
            fake_nbd_time(25000000);
            fake_nbd_settle(200);
            g_assert_cmpint(run(q, BLOCK_READ, 12288), ==, 0);
            g_assert_cmpint(run(q, BLOCK_WRITE, 12288), ==, 0);
            g_assert_cmpint(run(q, BLOCK_FLUSH, 0), ==, 0);
            block_queue_free(q);
            fake_nbd_close(b);
        }
    }
}

/* A server that ended out of order with writes that no flush covered: no flush succeeds. */
static void test_lost(void)
{
    struct block *b = fake_nbd_open(false);
    struct block_queue *q = block_queue_new(b);

    g_assert_cmpint(run(q, BLOCK_WRITE, 0), ==, 0);
    g_assert_cmpint(run(q, BLOCK_FLUSH, 0), ==, 0);
    fake_nbd_keeper_says(IMAGE_ENDED, fake_nbd.serial, EIO, false);
    fake_nbd_settle(200);
    fake_nbd_time(2000000);
    g_assert_cmpint(run(q, BLOCK_FLUSH, 0), ==, 0);
    g_assert_cmpint(run(q, BLOCK_WRITE, 0), ==, 0);
    fake_nbd_keeper_says(IMAGE_ENDED, fake_nbd.serial, EIO, false);
    fake_nbd_settle(200);
    fake_nbd_time(2000000);
    g_assert_cmpint(run(q, BLOCK_FLUSH, 0), ==, -EIO);
    g_assert_cmpint(run(q, BLOCK_READ, 0), ==, 0);
    block_queue_free(q);
    fake_nbd_close(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(calls); i++) {
        g_autofree char *path = g_strdup_printf("/image-link/%s", calls[i].name);

        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_call);
    }
    g_test_add_func("/image-link/lost", test_lost);
    return g_test_run();
}
