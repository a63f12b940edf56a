/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands: domains, their state and parameters, and which virtual CPU a client plays. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "../host/domain-life.h"
#include "../host/domain.h"
#include "commands.h"
#include "qtest.h"
#include "words.h"

char *cmd_domain_create(struct cmd *c)
{
    const char *err, *name = key(c, "name");
    uint64_t mem = key_u64(c, "memory_kb", 128 * 1024);
    char tmp[32];
    struct domain *d;

    snprintf(tmp, sizeof(tmp), "d%" PRIu64, key_u64(c, "id", 1));
    d = domain_create(c->s->host, (uint32_t)key_u64(c, "id", 1), name ? name : tmp, mem,
                      key_u64(c, "video_kb", 0), key_u64(c, "mmio_start", 0xF0000000),
                      (unsigned int)key_u64(c, "vcpus", 1), &err);
    if (!d)
        return fail("%s", err);
    c->s->dom = d;
    c->s->vcpu = 0;
    return g_strdup_printf("OK %u", d->id);
}

char *cmd_domain_destroy(struct cmd *c)
{
    domain_destroy(c->d);
    virq_dom_exc(c->s->host);
    return g_strdup("OK");
}

char *cmd_domain(struct cmd *c)
{
    struct domain *d = domain_find(c->s->host, (uint32_t)c->a[1]);

    if (!d || !d->id)
        return fail("no such domain");
    c->s->dom = d;
    c->s->vcpu = 0;
    return g_strdup("OK");
}

char *cmd_domains(struct cmd *c)
{
    GString *t = g_string_new("OK");
    GHashTableIter it;
    gpointer v;

    g_hash_table_iter_init(&it, c->s->host->domains);
    while (g_hash_table_iter_next(&it, NULL, &v))
        if (((struct domain *)v)->id)
            g_string_append_printf(t, " %u", ((struct domain *)v)->id);
    return g_string_free(t, FALSE);
}

char *cmd_socket(struct cmd *c)
{
    return done(host_listen(c->s->host, c->w[1], c->d));
}

char *cmd_vcpu(struct cmd *c)
{
    if (c->a[1] >= c->d->nr_vcpus)
        return fail("no such vcpu");
    c->s->vcpu = (unsigned int)c->a[1];
    return g_strdup("OK");
}

char *cmd_state(struct cmd *c)
{
    static const char *const reasons[] = {"poweroff", "reboot",   "suspend",
                                          "crash",    "watchdog", "soft-reset"};
    struct domain *d = c->d;

    if (d->crashed)
        return g_strdup_printf("OK crashed %s", d->crash_why);
    if (d->shutdown)
        return g_strdup_printf("OK shutdown %s", d->shutdown_reason < G_N_ELEMENTS(reasons)
                                                     ? reasons[d->shutdown_reason]
                                                     : "?");
    if (d->params[HVM_PARAM_ACPI_S_STATE] == 3)
        return g_strdup("OK s3");
    return g_strdup(d->paused ? "OK paused" : "OK running");
}

char *cmd_crash(struct cmd *c)
{
    g_autofree char *why = g_strjoinv(" ", c->w + 1);

    domain_crash(c->d, "%s", why);
    virq_dom_exc(c->s->host);
    return g_strdup("OK");
}

char *cmd_shutdown(struct cmd *c)
{
    return done(domain_shutdown(c->d, (uint32_t)c->a[1]));
}

char *cmd_revive(struct cmd *c)
{
    c->d->shutdown = c->d->crashed = false;
    c->d->shutdown_reason = 0;
    g_clear_pointer(&c->d->crash_why, g_free);
    return g_strdup("OK");
}

char *cmd_pause(struct cmd *c)
{
    c->d->paused = !strcmp(c->w[0], "pause");
    return g_strdup("OK");
}

char *cmd_xenparam(struct cmd *c)
{
    uint64_t v;
    int r;

    if (c->n > 2)
        return done(param_set(c->d, (uint32_t)c->a[1], c->a[2]));
    r = param_get(c->d, (uint32_t)c->a[1], &v);
    return r ? done(r) : g_strdup_printf("OK 0x%" PRIx64, v);
}
