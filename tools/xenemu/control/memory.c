/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands: guest memory as Xen has it. */
#include <inttypes.h>
#include <string.h>
#include "../host/domain.h"
#include "commands.h"
#include "qtest.h"
#include "words.h"

char *cmd_populate(struct cmd *c)
{
    uint64_t i, n = c->n > 2 ? c->a[2] : 1;
    int r = 0;

    for (i = 0; i < n && !r; i++)
        r = mem_populate(c->d, c->a[1] + i, 0);
    return done(r);
}

/* The guest gives pages away; Xen then tells every device model to drop its mappings. */
char *cmd_balloon(struct cmd *c)
{
    uint64_t n = c->n > 2 ? c->a[2] : 1;
    bool quiet = c->n > 3 && !strcmp(c->w[3], "quiet");
    const char *why = NULL;
    int removed;

    pthread_mutex_lock(&c->s->host->big);
    removed = mem_remove(c->d, c->a[1], n, true);
    pthread_mutex_unlock(&c->s->host->big);
    if (!quiet &&
        io_broadcast(c->d, c->s->vcpu, IOREQ_TYPE_INVALIDATE, UINT64_MAX, &why) == IO_FAIL)
        return fail("%s", why);
    return g_strdup_printf("OK %d", removed);
}

char *cmd_memory(struct cmd *c)
{
    static const char *const types[] = {"rw", "ro", "mmio", "ioreq"};
    GString *t = g_string_new(NULL);
    unsigned int i;

    g_string_append_printf(t, "OK pages=%" PRIu64 " max=%" PRIu64 " gone=%u", c->d->tot_pages,
                           c->d->max_pages, c->d->zombies->len);
    for (i = 0; i < c->d->runs->len; i++) {
        const struct mem_run *r = &g_array_index(c->d->runs, struct mem_run, i);

        g_string_append_printf(t, " 0x%" PRIx64 "+0x%" PRIx64 ":%s", r->gfn, r->nr, types[r->type]);
    }
    for (i = 0; i < c->d->pinned->len; i++) {
        const struct mem_run *r = &g_array_index(c->d->pinned, struct mem_run, i);

        g_string_append_printf(t, " pin:0x%" PRIx64 "+0x%" PRIx64 ":%" PRIu64, r->gfn, r->nr,
                               r->mfn);
    }
    return g_string_free(t, FALSE);
}

/* blit TO PITCH FROM PITCH BYTES ROWS: the guest's CPU copies a rectangle, as in video memory. */
char *cmd_blit(struct cmd *c)
{
    uint64_t to = c->a[1], from = c->a[3], bytes = c->a[5], row;

    for (row = 0; row < c->a[6]; row++, to += c->a[2], from += c->a[4]) {
        uint64_t left_to, left_from;
        uint8_t *t = mem_ptr(c->d, to, &left_to, NULL);
        const uint8_t *f = mem_ptr(c->d, from, &left_from, NULL);

        if (!t || !f || left_to < bytes || left_from < bytes || !bytes)
            return fail("row %" PRIu64 " is not in memory", row);
        memmove(t, f, bytes);
        mem_mark_dirty(c->d, to >> XE_PAGE_SHIFT,
                       ((to + bytes - 1) >> XE_PAGE_SHIFT) - (to >> XE_PAGE_SHIFT) + 1);
    }
    return g_strdup("OK");
}

char *cmd_setmaxmem(struct cmd *c)
{
    c->d->max_pages = c->a[1] >> 2;
    return g_strdup("OK");
}

static void append_dirty(GString *t, struct dirty_log *log, uint64_t max_gfn)
{
    uint64_t i, start = UINT64_MAX;

    for (i = 0; i <= max_gfn + 1; i++) {
        bool dirty = i <= max_gfn && dirty_test(log, i);

        if (!dirty && start == UINT64_MAX && i < log->nr && !log->bits[i / 64]) {
            i |= 63; /* nothing in this word */
            continue;
        }
        if (dirty && start == UINT64_MAX)
            start = i;
        if (!dirty && start != UINT64_MAX) {
            g_string_append_printf(t, " 0x%" PRIx64 "+0x%" PRIx64, start, i - start);
            start = UINT64_MAX;
        }
    }
    dirty_clear(log);
}

char *cmd_dirty(struct cmd *c)
{
    const char *what = c->n > 1 ? c->w[1] : "";
    GString *t;

    if (!strcmp(what, "on") || !strcmp(what, "off")) {
        c->d->log.on = what[1] == 'n';
        dirty_clear(&c->d->log);
        c->d->vram_nr = 0;
        return g_strdup("OK");
    }
    if (strcmp(what, "query") && strcmp(what, "modified"))
        return fail("usage: dirty on|off|query|modified");
    t = g_string_new("OK");
    append_dirty(t, what[0] == 'q' ? &c->d->log : &c->d->modified, c->d->max_gfn);
    return g_string_free(t, FALSE);
}
