/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests that wait for their turn; see gate.h. A group has one timer, which runs only while
 * somebody waits. Among the drives of a group it goes round, one request each.
 */
#include <string.h>

#include <xendm/clock.h>
#include <xendm/turn.h>

#include "gate.h"

struct throttle_group {
    char *name;
    struct throttle t;
    GPtrArray *members; /* struct block * */
    unsigned next[2];   /* whose turn it is */
    GSource *timer;
};

static GPtrArray *groups; /* struct throttle_group * */

static int64_t now_ns(void)
{
    return g_get_monotonic_time() * NS_PER_US;
}

static bool is_write(const struct block_request *req)
{
    return req->op != BLOCK_READ;
}

static bool counts(const struct block_request *req)
{
    return req->op == BLOCK_READ || req->op == BLOCK_WRITE || req->op == BLOCK_ZERO;
}

/* The next member that has something for the direction; NULL: none. */
static struct block *next_member(struct throttle_group *g, bool write)
{
    for (unsigned n = 0; n < g->members->len; n++) {
        unsigned i = (g->next[write] + n) % g->members->len;
        struct block *b = g_ptr_array_index(g->members, i);
        struct block_gate *gate = block_gate_of(b);

        if (!gate->shut && !g_queue_is_empty(&gate->held[write])) {
            g->next[write] = i + 1;
            return b;
        }
    }
    return NULL;
}

/* What may go in one direction goes. ns until the next; -1: nobody waits. */
static int64_t run_direction(struct throttle_group *g, bool write)
{
    struct block *b;

    while ((b = next_member(g, write))) {
        struct block_gate *gate = block_gate_of(b);
        struct block_request *req = g_queue_peek_head(&gate->held[write]);

        if (counts(req) && !gate->hurry) {
            int64_t wait = throttle_wait(&g->t, write, now_ns());

            if (wait > 0) {
                g->next[write]--; /* it stays its turn */
                return wait;
            }
            throttle_account(&g->t, write, req->length);
        }
        g_queue_pop_head(&gate->held[write]);
        block_pass(b, req);
    }
    return -1;
}

static void group_run(struct throttle_group *g)
{
    int64_t reads = run_direction(g, false), writes = run_direction(g, true);
    int64_t wait = reads < 0 ? writes : writes < 0 ? reads : MIN(reads, writes);

    g_source_set_ready_time(g->timer,
                            wait < 0 ? -1
                                     : g_get_monotonic_time() + (wait + NS_PER_US - 1) / NS_PER_US);
}

struct timer_source {
    GSource source;
    struct throttle_group *group;
};

static gboolean timer_dispatch(GSource *source, GSourceFunc fn, gpointer opaque)
{
    turn_of("disk limits");
    group_run(((struct timer_source *)source)->group);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs timer_funcs = {.dispatch = timer_dispatch};

/* ---- groups ---- */

static struct throttle_group *group_find(const char *name)
{
    for (unsigned i = 0; groups && i < groups->len; i++) {
        struct throttle_group *g = g_ptr_array_index(groups, i);

        if (strcmp(g->name, name) == 0) {
            return g;
        }
    }
    return NULL;
}

static struct throttle_group *group_new(const char *name)
{
    struct throttle_group *g = g_new0(struct throttle_group, 1);

    g->name = g_strdup(name);
    g->members = g_ptr_array_new();
    g->timer = g_source_new(&timer_funcs, sizeof(struct timer_source));
    ((struct timer_source *)g->timer)->group = g;
    g_source_set_name(g->timer, "block-limits");
    g_source_set_can_recurse(g->timer, TRUE);
    g_source_attach(g->timer, NULL);
    if (!groups) {
        groups = g_ptr_array_new();
    }
    g_ptr_array_add(groups, g);
    return g;
}

static void group_leave(struct block *b)
{
    struct throttle_group *g = block_gate_of(b)->group;

    block_gate_of(b)->group = NULL;
    g_ptr_array_remove(g->members, b);
    if (g->members->len > 0) {
        group_run(g);
        return;
    }
    g_source_destroy(g->timer);
    g_source_unref(g->timer);
    g_ptr_array_remove(groups, g);
    if (groups->len == 0) {
        g_clear_pointer(&groups, g_ptr_array_unref);
    }
    g_ptr_array_unref(g->members);
    g_free(g->name);
    g_free(g);
}

/* ---- a drive ---- */

static void pass_all(struct block *b)
{
    struct block_gate *gate = block_gate_of(b);

    for (unsigned dir = 0; dir < 2 && !gate->shut; dir++) {
        for (guint n = g_queue_get_length(&gate->held[dir]); n > 0; n--) {
            block_pass(b, g_queue_pop_head(&gate->held[dir]));
        }
    }
}

static void run(struct block *b)
{
    struct throttle_group *g = block_gate_of(b)->group;

    if (g) {
        group_run(g);
    } else {
        pass_all(b);
    }
}

static bool somebody_waits(const struct throttle_group *g, bool write)
{
    for (unsigned i = 0; i < g->members->len; i++) {
        if (!g_queue_is_empty(&block_gate_of(g_ptr_array_index(g->members, i))->held[write])) {
            return true;
        }
    }
    return false;
}

static bool may_go(struct block *b, const struct block_request *req)
{
    const struct block_gate *gate = block_gate_of(b);
    struct throttle_group *g = gate->group;

    if (!g || gate->hurry || !counts(req)) {
        return true;
    }
    if (somebody_waits(g, is_write(req)) || throttle_wait(&g->t, is_write(req), now_ns()) > 0) {
        return false;
    }
    throttle_account(&g->t, is_write(req), req->length);
    return true;
}

bool gate_hold(struct block *b, struct block_request *req)
{
    struct block_gate *gate = block_gate_of(b);

    if (!gate->shut && may_go(b, req)) {
        return false;
    }
    g_queue_push_tail(&gate->held[is_write(req)], req);
    if (gate->group && !gate->shut) {
        group_run(gate->group);
    }
    return true;
}

bool gate_take_back(struct block *b, struct block_request *req)
{
    return g_queue_remove(&block_gate_of(b)->held[is_write(req)], req);
}

void gate_refuse_all(struct block *b, int error)
{
    struct block_gate *gate = block_gate_of(b);

    for (unsigned dir = 0; dir < 2; dir++) {
        struct block_request *req;

        while ((req = g_queue_pop_head(&gate->held[dir]))) {
            block_refuse(req, error);
        }
    }
}

void gate_shut(struct block *b)
{
    block_gate_of(b)->shut = true;
}

void gate_open(struct block *b)
{
    block_gate_of(b)->shut = false;
    run(b);
}

void gate_hurry(struct block *b, bool on)
{
    block_gate_of(b)->hurry = on;
    if (on) {
        run(b);
    }
}

bool gate_is_free(struct block *b)
{
    return !block_gate_of(b)->shut && !block_gate_of(b)->group;
}

void gate_set_limits(struct block *b, const struct block_throttle *limits, const char *group)
{
    struct block_gate *gate = block_gate_of(b);
    const char *name = group ? group : gate->group ? gate->group->name : block_id(b);
    struct throttle_group *g = limits ? group_find(name) : NULL;

    if (limits && !g) {
        g = group_new(name);
    }
    if (gate->group != g) {
        if (g) {
            g_ptr_array_add(g->members, b);
        }
        if (gate->group) {
            group_leave(b);
        }
        gate->group = g;
    }
    if (g) {
        throttle_init(&g->t, limits, now_ns());
    }
    run(b);
}

const struct block_throttle *gate_limits(const struct block_gate *g)
{
    return g->group ? &g->group->t.limits : NULL;
}

const char *gate_group(const struct block_gate *g)
{
    return g->group ? g->group->name : NULL;
}
