/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Networks in QMP and HMP: the cable, announcements, what the back ends say. */
#include <string.h>

#include <xendm/backend.h>
#include <xendm/device.h>
#include <xendm/facts.h>
#include <xendm/net.h>

#include "internal.h"

/* By the name of the back end, or of the card that uses it. */
struct search {
    const char *name;
    struct net *found;
};

static void look(void *opaque, struct backend *b)
{
    struct search *s = opaque;

    if (b->class->kind == BACKEND_NET &&
        (strcmp(b->id, s->name) == 0 || (b->user && strcmp(b->user->id, s->name) == 0))) {
        s->found = (struct net *)b;
    }
}

static void set_link(struct qmp_call *call, const char *name, bool up)
{
    const struct qmp_target *t = call->qmp->target;
    struct search s = {.name = name};

    if (t->backends) {
        backend_foreach(t->backends, look, &s);
    }
    if (!s.found) {
        qmp_call_fail(call, QMP_DEVICE_NOT_FOUND, "there is no network card or back end '%s'",
                      name);
        return;
    }
    net_set_link(s.found, up);
    qmp_call_finish(call, NULL);
}

static void run_set_link(struct qmp_call *call, JsonObject *args)
{
    set_link(call, qmp_arg_string(args, "name"), qmp_arg_bool(args, "up", true));
}

void hmp_set_link(struct qmp_call *call, const char *arg)
{
    g_auto(GStrv) words = g_strsplit(arg, " ", 2);
    bool on = words[0] && words[1] && strcmp(words[1], "on") == 0;

    if (!words[0] || !words[1] || (!on && strcmp(words[1], "off") != 0)) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "set_link NAME on|off");
        return;
    }
    set_link(call, words[0], on);
}

static void announce(void *opaque, struct backend *b)
{
    if (b->class->kind == BACKEND_NET) {
        net_announce((struct net *)b);
    }
}

static void run_announce_self(struct qmp_call *call, JsonObject *args)
{
    if (call->qmp->target->backends) {
        backend_foreach(call->qmp->target->backends, announce, NULL);
    }
    qmp_call_finish(call, NULL);
}

const struct qmp_command qmp_net_commands[] = {
    {"announce-self", run_announce_self, QMP_ANY_ARGS},
    {"set_link", run_set_link, 0, {{"name", QMP_ARG_STRING}, {"up", QMP_ARG_BOOL}}},
    {NULL},
};

/* ---- HMP ---- */

static void show(void *opaque, struct backend *b)
{
    GString *text = opaque;
    struct facts *facts;

    if (b->class->kind != BACKEND_NET) {
        return;
    }
    hmp_out(text, "%s (%s) for %s:", b->id, b->class->driver, b->user ? b->user->id : "nobody");
    facts = facts_new();
    b->class->describe(b, facts);
    facts_foreach_line(facts, hmp_out_line, text);
    facts_free(facts);
}

void hmp_info_network(struct qmp *qmp, GString *text, const char *arg)
{
    if (qmp->target->backends) {
        backend_foreach(qmp->target->backends, show, text);
    }
}
