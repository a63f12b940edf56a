/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk requests of the machine's on the tape (xendm/tape.h). Those that others make, such as PV
 * back ends, do not come from inside of an event, and are nobody's business here.
 *
 * Bytes that go straight between the host and guest memory do not go through the machine: of such a
 * request there is only that it was made, and how it ended.
 */
#include <string.h>

#include <xendm/block.h>
#include <xendm/tape.h>

#include "internal.h"

struct taped {
    struct block_request *req;
    uint64_t number;
    bool own; /* its memory is the machine's own, in one piece */
};

static GArray *in_flight; /* struct taped; few */
static uint64_t last_number;

static struct taped *find(const struct block_request *req, uint64_t number)
{
    for (guint i = 0; in_flight && i < in_flight->len; i++) {
        struct taped *t = &g_array_index(in_flight, struct taped, i);

        if (req ? t->req == req : t->number == number) {
            return t;
        }
    }
    return NULL;
}

static void forget(const struct taped *t)
{
    g_array_remove_index_fast(in_flight, (guint)(t - &g_array_index(in_flight, struct taped, 0)));
}

void block_tape_begin(void)
{
    last_number = 0;
    if (in_flight) {
        g_array_set_size(in_flight, 0);
    }
}

void block_tape_submit(const struct block *b, struct block_request *req)
{
    bool transfer = req->op == BLOCK_READ || req->op == BLOCK_WRITE;
    struct taped t = {
        .req = req,
        .number = ++last_number,
        .own = transfer && req->niov == 1 && req->iov != tape_guest_iov &&
               req->length <= TAPE_DATA_MAX,
    };
    bool bytes = t.own && req->op == BLOCK_WRITE;

    if (!in_flight) {
        in_flight = g_array_new(FALSE, FALSE, sizeof(struct taped));
    }
    g_array_append_val(in_flight, t);
    tape_fact(TAPE_SUBMIT, block_id(b),
              (uint64_t[]){t.number, req->op, req->flags, req->offset, req->length},
              bytes ? req->iov[0].iov_base : NULL, bytes ? req->iov[0].iov_len : 0);
}

bool block_tape_has(const struct block_request *req)
{
    return find(req, 0) != NULL;
}

bool block_tape_done(const struct block_request *req, int error)
{
    const struct taped *t = find(req, 0);
    bool bytes = t && t->own && req->op == BLOCK_READ && error == 0;

    if (!t) {
        return false;
    }
    tape_begin_event(TAPE_BLOCK_DONE, NULL, (uint64_t[]){t->number, (uint64_t)-error},
                     bytes ? req->iov[0].iov_base : NULL, bytes ? req->iov[0].iov_len : 0);
    forget(t);
    return true;
}

struct block_request *block_tape_take(uint64_t number, const void *data, size_t len)
{
    const struct taped *t = find(NULL, number);
    struct block_request *req = t ? t->req : NULL;

    if (!t || (len > 0 && (!t->own || req->op != BLOCK_READ || len != req->iov[0].iov_len))) {
        return NULL;
    }
    if (len > 0 && data) {
        memcpy(req->iov[0].iov_base, data, len);
    } else if (len > 0) {
        memset(req->iov[0].iov_base, 0, len);
    }
    forget(t);
    return req;
}

enum { CAN_DISCARD = 1, CAN_ZERO = 2, ROTATIONAL = 4 };

const struct block_limits *block_tape_limits(const struct block *b, const struct block_limits *l)
{
    static struct block_limits were;
    uint64_t can = (l->can_discard ? CAN_DISCARD : 0) | (l->can_zero ? CAN_ZERO : 0) |
                   (l->rotational ? ROTATIONAL : 0);
    uint64_t n[] = {l->logical,     l->physical,      l->max_transfer,
                    l->max_discard, l->discard_align, can};

    tape_fact(TAPE_LIMITS, block_id(b), n, NULL, 0);
    were = (struct block_limits){
        .logical = MAX((uint32_t)n[0], BLOCK_SECTOR), /* a recording may say anything */
        .physical = MAX((uint32_t)n[1], BLOCK_SECTOR),
        .max_transfer = n[2],
        .max_discard = n[3],
        .discard_align = MAX((uint32_t)n[4], BLOCK_SECTOR),
        .can_discard = n[5] & CAN_DISCARD,
        .can_zero = n[5] & CAN_ZERO,
        .rotational = n[5] & ROTATIONAL,
    };
    return &were;
}
