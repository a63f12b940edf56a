/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands: what a device model has, did, and left behind. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "../host/domain.h"
#include "../host/handle.h"
#include "../rpc/operations.h"
#include "commands.h"
#include "qtest.h"
#include "words.h"

char *cmd_servers(struct cmd *c)
{
    static const char *const types[] = {"port", "mmio", "pci"};
    GString *t;
    unsigned int id, k, i;

    if (c->n > 1 && !strcmp(c->w[1], "destroy")) { /* what making the domain anew would do */
        for (id = 0; id < XE_MAX_SERVERS; id++)
            if (c->d->server[id])
                ioreq_destroy(c->d, id);
        return g_strdup("OK");
    }
    t = g_string_new("OK");
    for (id = 0; id < XE_MAX_SERVERS; id++) {
        struct server *s = c->d->server[id];

        if (!s)
            continue;
        g_string_append_printf(t, " server=%u:%s:sent=%" PRIu64 ":buffered=%" PRIu64, id,
                               s->enabled ? "enabled" : "disabled", s->sent, s->sent_buffered);
        for (k = 0; k < 3; k++)
            for (i = 0; i < s->ranges[k]->len; i++) {
                const struct range *r = &g_array_index(s->ranges[k], struct range, i);

                g_string_append_printf(t, " %s:0x%" PRIx64 "-0x%" PRIx64, types[k], r->start,
                                       r->end);
            }
    }
    return g_string_free(t, FALSE);
}

char *cmd_stats(struct cmd *c)
{
    GString *t = g_string_new("OK");
    GHashTableIter it;
    gpointer k, v;

    g_hash_table_iter_init(&it, c->s->host->op_count);
    while (g_hash_table_iter_next(&it, &k, &v))
        g_string_append_printf(t, " %s=%u", op_name(GPOINTER_TO_UINT(k)), GPOINTER_TO_UINT(v));
    return g_string_free(t, FALSE);
}

char *cmd_missing(struct cmd *c)
{
    GString *t = g_string_new("OK");
    GHashTableIter it;
    gpointer k;

    g_hash_table_iter_init(&it, c->s->host->missing);
    while (g_hash_table_iter_next(&it, &k, NULL))
        g_string_append_printf(t, " %s", (const char *)k);
    return g_string_free(t, FALSE);
}

char *cmd_pt(struct cmd *c)
{
    GString *t = g_string_new("OK");
    unsigned int i;

    for (i = 0; i < c->d->pt_log->len; i++)
        g_string_append_printf(t, " [%s]", (const char *)g_ptr_array_index(c->d->pt_log, i));
    g_ptr_array_set_size(c->d->pt_log, 0);
    return g_string_free(t, FALSE);
}

/* What process PID (0 = anyone) still holds or held when its handles closed; one LEAK line each. */
char *cmd_leaks(struct cmd *c)
{
    struct host *h = c->s->host;
    GString *t = g_string_new(NULL);
    unsigned int i, n = 0, k;

    for (i = 0; i < h->left->len; i++) {
        const char *l = g_ptr_array_index(h->left, i);

        if (c->a[1] && strtoull(l, NULL, 10) != c->a[1])
            continue;
        g_string_append_printf(t, "LEAK at exit: %s\n", strchr(l, ' ') + 1);
        n++;
    }
    for (i = 0; i < h->conns->len; i++) {
        const struct conn *x = g_ptr_array_index(h->conns, i);

        if (c->a[1] && x->pid == c->a[1]) {
            g_string_append_printf(t, "LEAK handle: %s of process %u is still open\n", x->lib,
                                   x->pid);
            n++;
        }
    }
    for (i = 0; c->d && i < XE_MAX_SERVERS; i++) {
        struct server *s = c->d->server[i];

        if (!s)
            continue;
        for (k = 0; k < 3; k++) {
            static const char *const types[] = {"port", "mmio", "pci"};

            if (s->ranges[k]->len) {
                g_string_append_printf(t, "LEAK ranges: %u %s ranges of server %u\n",
                                       s->ranges[k]->len, types[k], i);
                n++;
            }
        }
        g_string_append_printf(t, "LEAK ioreq server %u\n", i);
        n++;
    }
    g_string_append_printf(t, "OK %u", n);
    return g_string_free(t, FALSE);
}

/* Open library handles of process PID. */
char *cmd_handles(struct cmd *c)
{
    unsigned int i, n = 0;

    for (i = 0; i < c->s->host->conns->len; i++)
        n += ((struct conn *)g_ptr_array_index(c->s->host->conns, i))->pid == c->a[1];
    return g_strdup_printf("OK %u", n);
}
