/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands beyond qtest; docs/xenemu.1 lists them for users, the table is the truth. */
#include <pthread.h>
#include <string.h>
#include "../host/loop.h"
#include "commands.h"
#include "qtest.h"
#include "words.h"

static char *cmd_sleep(struct cmd *c)
{
    g_usleep((gulong)MIN(c->a[1], 60000) * 1000);
    return g_strdup("OK");
}

static char *cmd_timeout(struct cmd *c)
{
    c->s->host->access_timeout_us = (int64_t)c->a[1] * 1000;
    return g_strdup("OK");
}

static char *cmd_spin(struct cmd *c)
{
    c->s->host->spin_ns = (int64_t)MIN(c->a[1], 1000000) * 1000;
    return g_strdup("OK");
}

static char *cmd_echo(struct cmd *c)
{
    GString *t = g_string_new("OK");
    unsigned int i;

    for (i = 1; i < c->n; i++)
        g_string_append_printf(t, " %s", c->w[i]);
    return g_string_free(t, FALSE);
}

static char *cmd_quit(struct cmd *c)
{
    c->s->host->quit = true;
    return g_strdup("OK");
}

static char *cmd_help(struct cmd *c);

enum { WITH_DOMAIN = 1, LOCKED = 2 };

static const struct {
    const char *name;
    char *(*run)(struct cmd *c);
    unsigned int words; /* at least, with the command */
    unsigned int flags;
} commands[] = {
    {"domain_create", cmd_domain_create, 1, LOCKED},
    {"domain_destroy", cmd_domain_destroy, 1, LOCKED | WITH_DOMAIN},
    {"domain", cmd_domain, 2, LOCKED},
    {"domains", cmd_domains, 1, LOCKED},
    {"socket", cmd_socket, 2, LOCKED | WITH_DOMAIN},
    {"vcpu", cmd_vcpu, 2, LOCKED | WITH_DOMAIN},
    {"state", cmd_state, 1, LOCKED | WITH_DOMAIN},
    {"cpu", cmd_cpu, 1, LOCKED | WITH_DOMAIN},
    {"crash", cmd_crash, 2, LOCKED | WITH_DOMAIN},
    {"shutdown", cmd_shutdown, 2, LOCKED | WITH_DOMAIN},
    {"revive", cmd_revive, 1, LOCKED | WITH_DOMAIN},
    {"pause", cmd_pause, 1, LOCKED | WITH_DOMAIN},
    {"unpause", cmd_pause, 1, LOCKED | WITH_DOMAIN},
    {"ins", cmd_string, 5, WITH_DOMAIN},
    {"outs", cmd_string, 5, WITH_DOMAIN},
    {"movs_in", cmd_string, 5, WITH_DOMAIN},
    {"movs_out", cmd_string, 5, WITH_DOMAIN},
    {"pciread", cmd_pci, 4, WITH_DOMAIN},
    {"pciwrite", cmd_pci, 5, WITH_DOMAIN},
    {"bufwrite", cmd_bufwrite, 4, WITH_DOMAIN},
    {"invalidate", cmd_broadcast, 1, WITH_DOMAIN},
    {"timeoffset", cmd_broadcast, 2, WITH_DOMAIN},
    {"bench", cmd_bench, 4, WITH_DOMAIN},
    {"benchseq", cmd_benchseq, 4, WITH_DOMAIN},
    {"benchblk", cmd_benchblk, 11, WITH_DOMAIN},
    {"benchnic", cmd_benchnic, 9, WITH_DOMAIN},
    {"bench9p", cmd_bench9p, 8, WITH_DOMAIN},
    {"benchdisk", cmd_benchdisk, 10, WITH_DOMAIN},
    {"blit", cmd_blit, 7, LOCKED | WITH_DOMAIN},
    {"poll", cmd_poll, 6, WITH_DOMAIN},
    {"sum", cmd_sum, 3, LOCKED | WITH_DOMAIN},
    {"irqstate", cmd_irqstate, 1, LOCKED | WITH_DOMAIN},
    {"lines", cmd_lines, 1, LOCKED | WITH_DOMAIN},
    {"intx", cmd_intx, 3, LOCKED | WITH_DOMAIN},
    {"msi", cmd_msi, 1, LOCKED | WITH_DOMAIN},
    {"watch", cmd_watch, 1, LOCKED},
    {"xenparam", cmd_xenparam, 2, LOCKED | WITH_DOMAIN},
    {"populate", cmd_populate, 2, LOCKED | WITH_DOMAIN},
    {"balloon", cmd_balloon, 2, WITH_DOMAIN},
    {"memory", cmd_memory, 1, LOCKED | WITH_DOMAIN},
    {"setmaxmem", cmd_setmaxmem, 2, LOCKED | WITH_DOMAIN},
    {"dirty", cmd_dirty, 2, LOCKED | WITH_DOMAIN},
    {"grant", cmd_grant, 2, LOCKED | WITH_DOMAIN},
    {"evtchn", cmd_evtchn, 2, LOCKED},
    {"fault", cmd_fault, 1, LOCKED},
    {"diskcall", cmd_diskcall, 6, LOCKED},
    {"servers", cmd_servers, 1, LOCKED | WITH_DOMAIN},
    {"stats", cmd_stats, 1, LOCKED},
    {"missing", cmd_missing, 1, LOCKED},
    {"pt", cmd_pt, 1, LOCKED | WITH_DOMAIN},
    {"leaks", cmd_leaks, 1, LOCKED},
    {"xsproxy", cmd_xsproxy, 3, LOCKED},
    {"handles", cmd_handles, 2, LOCKED},
    {"sleep", cmd_sleep, 2, 0},
    {"timeout", cmd_timeout, 2, LOCKED},
    {"spin", cmd_spin, 2, LOCKED},
    {"echo", cmd_echo, 1, 0},
    {"quit", cmd_quit, 1, LOCKED},
    {"help", cmd_help, 1, 0},
};

static char *cmd_help(struct cmd *c)
{
    GString *t = g_string_new("OK");
    unsigned int i;

    (void)c;
    for (i = 0; i < G_N_ELEMENTS(commands); i++)
        g_string_append_printf(t, " %s", commands[i].name);
    return g_string_free(t, FALSE);
}

char *command_run(struct session *s, char **w, unsigned int n)
{
    struct cmd c = {.s = s, .d = s->dom, .w = w, .n = n};
    unsigned int i, k;
    char *out;

    for (i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(commands[i].name, w[0]))
            continue;
        if (n < commands[i].words)
            return fail("%s needs %u arguments", w[0], commands[i].words - 1);
        if (commands[i].flags & WITH_DOMAIN && !s->dom)
            return fail("no domain selected");
        for (k = 0; k < n && k < G_N_ELEMENTS(c.a); k++)
            if (!parse_u64(w[k], &c.a[k]))
                c.a[k] = 0;
        if (commands[i].flags & LOCKED)
            pthread_mutex_lock(&s->host->big);
        out = commands[i].run(&c);
        if (commands[i].flags & LOCKED)
            pthread_mutex_unlock(&s->host->big);
        return out;
    }
    return NULL;
}
