/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include <xendm/error.h>

#include "fake-block.h"

void fake_block_fill(struct block *b)
{
    static uint8_t pattern[512 + 251];

    for (unsigned i = 0; i < sizeof(pattern); i++) {
        pattern[i] = (uint8_t)(i * 13 + (i >> 3));
    }
    for (uint64_t s = 0; s < b->size / 512; s++) {
        memcpy(b->data + s * 512, pattern + s % 251, 512);
        memcpy(b->data + s * 512, &s, sizeof(s));
    }
}

static void fake_block_close(struct backend *backend)
{
    struct block *b = (struct block *)backend;

    fake_block_complete_all(b);
    if (b->source) {
        g_source_remove(b->source);
    }
    g_string_free(b->log, TRUE);
    g_free(b->data);
}

/* A set may own it, too: backend_set_put(). */
static const struct backend_class fake_block_class = {.kind = BACKEND_BLOCK,
                                                      .driver = "fake",
                                                      .size = sizeof(struct block),
                                                      .close = fake_block_close};

struct block *fake_block_new(const char *id, uint64_t size)
{
    struct block *b = g_new0(struct block, 1);

    b->b.class = &fake_block_class;
    b->b.id = g_strdup(id);
    b->size = size;
    b->present = size > 0;
    b->data = g_malloc0(size + 1);
    b->bad_sector = UINT64_MAX;
    b->log = g_string_new(NULL);
    g_queue_init(&b->pending);
    fake_block_fill(b);
    return b;
}

void fake_block_free(struct block *b)
{
    fake_block_close(&b->b);
    g_free(b->b.id);
    g_free(b);
}

static int check(struct block *b, enum block_op op, uint64_t offset, uint64_t length)
{
    if (op == BLOCK_FLUSH) {
        return b->fail[op];
    }
    if (!b->present || offset > b->size || length > b->size - offset) {
        return -EINVAL;
    }
    if (op != BLOCK_READ && b->read_only) {
        return -EROFS;
    }
    if (b->fail[op] && b->bad_sector * 512 < offset + length &&
        (b->bad_sector + 1) * 512 > offset) {
        return b->fail[op];
    }
    return 0;
}

static void end(struct block_request *req, int error)
{
    struct block_queue *q = req->driver[3];

    q->in_flight--;
    req->done(req, error);
    if (q->in_flight == 0 && q->quiet) {
        void (*quiet)(void *) = q->quiet;

        q->quiet = NULL;
        quiet(q->quiet_opaque);
    }
}

bool fake_block_complete(struct block *b, unsigned index)
{
    struct block_request *req = g_queue_pop_nth(&b->pending, index);
    uint8_t *at;
    int error;

    if (!req) {
        return false;
    }
    error = req->driver[0] ? -ECANCELED : check(b, req->op, req->offset, req->length);
    at = b->data + req->offset;
    if (error == 0 && (req->op == BLOCK_READ || req->op == BLOCK_WRITE)) {
        uint64_t sum = 0;

        for (unsigned i = 0; i < req->niov; i++) {
            if (req->op == BLOCK_READ) {
                memcpy(req->iov[i].iov_base, at + sum, req->iov[i].iov_len);
            } else {
                memcpy(at + sum, req->iov[i].iov_base, req->iov[i].iov_len);
            }
            sum += req->iov[i].iov_len;
        }
        g_assert_cmpuint(sum, ==, req->length);
    } else if (error == 0 && req->op != BLOCK_FLUSH) {
        memset(at, 0, req->length);
    }
    end(req, error);
    return true;
}

void fake_block_complete_all(struct block *b)
{
    while (fake_block_complete(b, 0)) {
    }
}

static gboolean idle(gpointer opaque)
{
    struct block *b = opaque;

    b->source = 0;
    fake_block_complete_all(b);
    return G_SOURCE_REMOVE;
}

struct block_queue *block_queue_new(struct block *b)
{
    struct block_queue *q = g_new0(struct block_queue, 1);

    q->b = b;
    return q;
}

void block_queue_free(struct block_queue *q)
{
    g_assert_true(!q || q->in_flight == 0);
    g_free(q);
}

void block_quiesce(struct block_queue *q, void (*quiet)(void *opaque), void *opaque)
{
    q->quiet = quiet;
    q->quiet_opaque = opaque;
    if (quiet && q->in_flight == 0) {
        q->quiet = NULL;
        quiet(opaque);
    }
}

void block_cancel(struct block_queue *q, struct block_request *req)
{
    struct block *b = q->b;

    b->cancels++;
    if (b->cancel_works) {
        g_assert_true(g_queue_remove(&b->pending, req));
        req->driver[0] = b; /* ends with the others, as cancelled */
        g_queue_push_tail(&b->pending, req);
        if (!b->hold && !b->source) {
            b->source = g_idle_add(idle, b);
        }
    }
}

void block_submit(struct block_queue *q, struct block_request *req)
{
    static const char letter[] = "RWFDZ";
    struct block *b = q->b;

    g_assert_cmpuint(req->niov, <=, BLOCK_IOV_MAX);
    req->driver[0] = NULL;
    req->driver[3] = q;
    q->in_flight++;
    b->submitted[req->op]++;
    b->largest = MAX(b->largest, req->length);
    if (req->op == BLOCK_FLUSH) {
        g_string_append(b->log, "F ");
    } else {
        g_assert_cmpuint(req->offset % 512, ==, 0);
        g_assert_cmpuint(req->length % 512, ==, 0);
        g_string_append_printf(b->log, "%c%" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT " ",
                               letter[req->op], (guint64)req->offset / 512,
                               (guint64)req->length / 512);
    }
    if (b->log->len > 1 << 16) {
        g_string_truncate(b->log, 0);
    }
    g_queue_push_tail(&b->pending, req);
    if (!b->hold && !b->source) {
        b->source = g_idle_add(idle, b);
    }
}

int block_read_now(struct block_queue *q, uint64_t offset, void *buf, size_t length)
{
    struct block *b = q->b;
    int error;

    if (!b->cached) {
        return -EAGAIN;
    }
    error = check(b, BLOCK_READ, offset, length);
    if (error == 0) {
        memcpy(buf, b->data + offset, length);
        b->now_reads++;
    }
    return error;
}

unsigned block_in_flight(const struct block *b)
{
    return b->pending.length;
}

uint64_t block_size(const struct block *b)
{
    return b->present ? b->size : 0;
}

const struct block_limits *block_limits(const struct block *b)
{
    return &b->limits;
}

bool block_read_only(const struct block *b)
{
    return b->read_only;
}

bool block_present(const struct block *b)
{
    return b->present;
}

const char *block_id(const struct block *b)
{
    return b->b.id;
}

const char *block_file(const struct block *b)
{
    return b->present ? "fake.img" : "";
}

static void changed(struct block *b)
{
    if (b->listener && b->listener->medium_changed) {
        b->listener->medium_changed(b->listener_opaque);
    }
}

void block_keep(struct block *b, bool keep)
{
    b->kept = keep;
}

void block_eject(struct block *b)
{
    if (b->present && !b->kept) {
        b->present = false;
        changed(b);
    }
}

bool fake_block_no_direct;

void block_insert(struct block *b, const struct block_options *options,
                  void (*done)(void *opaque, GError *err), void *opaque)
{
    if (b->direct && fake_block_no_direct) {
        done(opaque, g_error_new(XENDM_ERROR, ENOTSUP, "not past the page cache"));
        return;
    }
    b->present = true;
    changed(b);
    if (done) {
        done(opaque, NULL);
    }
}

void block_listen(struct block *b, const struct block_listener *listener, void *opaque)
{
    g_assert_null(b->listener);
    b->listener = listener;
    b->listener_opaque = opaque;
}

void block_unlisten(struct block *b, const struct block_listener *listener, void *opaque)
{
    g_assert_true(b->listener == listener && b->listener_opaque == opaque);
    b->listener = NULL;
}

/* ---- drives that belong to a device alone ---- */

struct own {
    struct block b;
    char *file;
    bool read_only;
};
unsigned fake_block_own_open;
const struct block_limits fake_block_limits = {.logical = 512,
                                               .physical = 4096,
                                               .can_discard = true};

static int open_own(struct backend *backend, const struct handover *from, GError **err)
{
    struct own *o = (struct own *)backend;

    o->b.size = FAKE_BLOCK_SECTORS * 512;
    o->b.limits = fake_block_limits;
    o->b.present = o->file != NULL;
    o->b.read_only = o->read_only;
    o->b.data = g_malloc0(o->b.size + 1);
    o->b.bad_sector = UINT64_MAX;
    o->b.log = g_string_new(NULL);
    g_queue_init(&o->b.pending);
    fake_block_own_open++;
    return 0;
}

static void close_own(struct backend *backend)
{
    fake_block_close(backend);
    fake_block_own_open--;
}

static const struct property own_properties[] = {
    {.name = "file", .type = PROP_STRING, .offset = offsetof(struct own, file)},
    {.name = "read-only", .type = PROP_BOOL, .offset = offsetof(struct own, read_only)},
    {.name = "cache.direct", .type = PROP_BOOL, .offset = offsetof(struct own, b.direct)},
    {.name = NULL},
};

const struct backend_class fake_block_own_class = {.kind = BACKEND_BLOCK,
                                                   .driver = "raw",
                                                   .size = sizeof(struct own),
                                                   .properties = own_properties,
                                                   .open = open_own,
                                                   .close = close_own};
