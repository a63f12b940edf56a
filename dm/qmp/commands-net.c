/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Networks in QMP and HMP: the cable, announcements, what the back ends say. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <xendm/backend.h>
#include <xendm/device.h>
#include <xendm/facts.h>
#include <xendm/net.h>

#include "config/config.h"
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

void hmp_announce_self(struct qmp_call *call, const char *arg)
{
    run_announce_self(call, call->args);
}

/* ---- back ends that come and go ---- */

/* A descriptor of the client's. One of ours, by its number, nobody may name. */
static bool take_fd(struct qmp_call *call, struct object_desc *o, int *fd, GError **err)
{
    const char *text = object_option(o, "fd");
    g_autofree char *number = NULL;

    if (!text) {
        return true;
    }
    if (!qmp_fdset_is_path(text)) {
        g_set_error(err, XENDM_ERROR, EINVAL,
                    "netdev_add: fd '%s': pass it with add-fd, and name it /dev/fdset/N", text);
        return false;
    }
    *fd = qmp_fdset_take(call->qmp, text, true, NULL, err);
    if (*fd < 0) {
        return false;
    }
    number = g_strdup_printf("%d", *fd);
    object_desc_set(o, "fd", number);
    return true;
}

/* Takes `o`, and answers. */
static void add_net(struct qmp_call *call, struct object_desc *o)
{
    struct backend_set *set = call->qmp->target->backends;
    GError *err = NULL;
    int fd = -1;

    if (!set) {
        g_set_error(&err, XENDM_ERROR, ENODEV, "there is no machine");
    } else if (!o->id) {
        g_set_error(&err, XENDM_ERROR, EINVAL, "Parameter 'id' is missing");
    } else if (backend_find(set, BACKEND_NET, o->id)) {
        g_set_error(&err, XENDM_ERROR, EEXIST, "Duplicate ID '%s' for netdev", o->id);
    } else if (take_fd(call, o, &fd, &err)) {
        if (backend_check(o, &err) == 0) {
            fd = -1; /* the back end's, open or not */
            backend_add(set, o, NULL, &err);
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    object_desc_free(o);
    qmp_call_finish(call, err);
}

static void run_netdev_add(struct qmp_call *call, JsonObject *args)
{
    struct object_desc *o = qmp_describe_object(call, args, "type",
                                                object_desc_new(OBJECT_BACKEND, BACKEND_NET,
                                                                qmp_arg_string(args, "type"),
                                                                qmp_arg_string(args, "id")));

    if (o) {
        add_net(call, o);
    }
}

void hmp_netdev_add(struct qmp_call *call, const char *arg)
{
    GError *err = NULL;
    struct object_desc *o =
        config_parse_object(OBJECT_BACKEND, BACKEND_NET, "netdev_add", "type", arg, &err);

    if (o) {
        add_net(call, o);
    } else {
        qmp_call_finish(call, err);
    }
}

static void remove_net(struct qmp_call *call, const char *id)
{
    struct backend_set *set = call->qmp->target->backends;
    struct backend *b = set ? backend_find(set, BACKEND_NET, id) : NULL;
    GError *err = NULL;

    if (!b) {
        qmp_call_fail(call, QMP_DEVICE_NOT_FOUND, "Device '%s' not found", id);
        return;
    }
    backend_remove(set, b, &err);
    qmp_call_finish(call, err);
}

static void run_netdev_del(struct qmp_call *call, JsonObject *args)
{
    remove_net(call, qmp_arg_string(args, "id"));
}

void hmp_netdev_del(struct qmp_call *call, const char *arg)
{
    remove_net(call, arg);
}

const struct qmp_command qmp_net_commands[] = {
    {"netdev_add",
     run_netdev_add,
     QMP_NEEDS_MACHINE | QMP_ANY_ARGS,
     {{"type", QMP_ARG_STRING}, {"id", QMP_ARG_STRING}}},
    {"netdev_del", run_netdev_del, QMP_NEEDS_MACHINE, {{"id", QMP_ARG_STRING}}},
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
