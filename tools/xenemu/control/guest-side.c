/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands: grants and event channels, the guest's side. */
#include <inttypes.h>
#include <string.h>
#include "../host/domain-life.h"
#include "../host/domain.h"
#include "commands.h"
#include "qtest.h"
#include "words.h"

char *cmd_grant(struct cmd *c)
{
    if (c->n == 4 || c->n == 5)
        if (!strcmp(c->w[1], "add"))
            return done(gnttab_add(c->d, (uint32_t)c->a[2], 0, c->a[3],
                                   c->n == 5 && !strcmp(c->w[4], "ro")));
    if (c->n == 3 && !strcmp(c->w[1], "remove"))
        return done(gnttab_remove(c->d, (uint32_t)c->a[2]));
    if (c->n == 2 && !strcmp(c->w[1], "list")) {
        GString *t = g_string_new("OK");
        GHashTableIter it;
        gpointer k, v;

        g_hash_table_iter_init(&it, c->d->grants);
        while (g_hash_table_iter_next(&it, &k, &v))
            g_string_append_printf(t, " %u:0x%" PRIx64 ":%u", GPOINTER_TO_UINT(k),
                                   ((struct grant *)v)->gfn, ((struct grant *)v)->in_use);
        return g_string_free(t, FALSE);
    }
    return fail("usage: grant add REF GFN [ro] | remove REF | list");
}

char *cmd_evtchn(struct cmd *c)
{
    const char *what = c->n > 1 ? c->w[1] : "";
    struct domain *d = !strcmp(what, "alloc0") ? domain_find(c->s->host, 0) : c->d;
    struct port *p;

    if (!d)
        return fail("no domain selected");
    if (!strcmp(what, "alloc") || !strcmp(what, "alloc0")) {
        p = port_alloc_unbound(d, 0);
        return p ? g_strdup_printf("OK %u", p->nr) : fail("no port left");
    }
    if (!strcmp(what, "list")) {
        GString *t = g_string_new("OK");
        unsigned int i;

        for (i = 1; i < d->ports->len; i++) {
            p = g_ptr_array_index(d->ports, i);
            if (p)
                g_string_append_printf(t, " %u:%s%s:%" PRIu64, p->nr,
                                       p->state == PORT_INTERDOMAIN ? "bound" : "unbound",
                                       p->xen ? ":xen" : "", p->events);
        }
        return g_string_free(t, FALSE);
    }
    p = c->n > 2 ? port_get(d, (uint32_t)c->a[2]) : NULL;
    if (!p)
        return fail("usage: evtchn alloc | list | send PORT | pending PORT | close PORT");
    if (!strcmp(what, "send")) {
        port_notify_peer(p);
        return g_strdup("OK");
    }
    if (!strcmp(what, "pending")) {
        bool was = p->pending;

        p->pending = false;
        return g_strdup_printf("OK %d %" PRIu64, was, p->events);
    }
    if (!strcmp(what, "close") && !p->xen) {
        port_free(p);
        return g_strdup("OK");
    }
    return fail("no such evtchn command");
}
