/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VNC in QMP and HMP: where it listens, who looks, the password. Names and shapes are QEMU's. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include <xendm/numbers.h>
#include <xendm/vnc.h>

#include "internal.h"

static const char *auth_name(const struct vnc *v)
{
    return vnc_has_auth(v) ? "vnc" : "none";
}

static void build_client(void *opaque, const struct vnc_client *c)
{
    JsonBuilder *b = opaque;

    json_builder_begin_object(b);
    qmp_build_string(b, "host", c->host);
    qmp_build_string(b, "service", c->service);
    qmp_build_string(b, "family", c->family);
    qmp_build_bool(b, "websocket", c->websocket);
    json_builder_end_object(b);
}

static void build_clients(JsonBuilder *b, const struct vnc *v)
{
    json_builder_set_member_name(b, "clients");
    json_builder_begin_array(b);
    vnc_foreach_client(v, build_client, b);
    json_builder_end_array(b);
}

static void build_address(JsonBuilder *b, const struct vnc *v, unsigned i)
{
    struct vnc_address a;

    vnc_address(v, i, &a);
    qmp_build_string(b, "host", a.host);
    qmp_build_string(b, "service", a.service);
    qmp_build_string(b, "family", a.family);
    qmp_build_bool(b, "websocket", a.websocket);
}

static void run_query_vnc(struct qmp_call *call, JsonObject *args)
{
    const struct vnc *v = call->qmp->target->vnc;
    JsonBuilder *b = json_builder_new();

    json_builder_begin_object(b);
    qmp_build_bool(b, "enabled", v != NULL);
    if (v) {
        struct vnc_address a;
        vnc_address(v, 0, &a);
        qmp_build_string(b, "host", a.host);
        qmp_build_string(b, "service", a.service);
        qmp_build_string(b, "family", a.family);
        qmp_build_string(b, "auth", auth_name(v));
        build_clients(b, v);
    }
    json_builder_end_object(b);
    qmp_call_build(call, b);
}

static void run_query_vnc_servers(struct qmp_call *call, JsonObject *args)
{
    const struct vnc *v = call->qmp->target->vnc;
    JsonBuilder *b = json_builder_new();

    json_builder_begin_array(b);
    if (v) {
        json_builder_begin_object(b);
        qmp_build_string(b, "id", "default");
        qmp_build_string(b, "auth", auth_name(v));
        json_builder_set_member_name(b, "server");
        json_builder_begin_array(b);
        for (unsigned i = 0; i < vnc_addresses(v); i++) {
            json_builder_begin_object(b);
            build_address(b, v, i);
            qmp_build_string(b, "auth", auth_name(v));
            json_builder_end_object(b);
        }
        json_builder_end_array(b);
        build_clients(b, v);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
    qmp_call_build(call, b);
}

/* ---- password ---- */

static struct vnc *vnc_or_fail(struct qmp_call *call)
{
    struct vnc *v = call->qmp->target->vnc;

    if (!v) {
        qmp_call_fail(call, QMP_DEVICE_NOT_ACTIVE, "%s: there is no VNC server",
                      call->command->name);
    }
    return v;
}

static void set_password(struct qmp_call *call, const char *password)
{
    struct vnc *v = vnc_or_fail(call);
    GError *err = NULL;

    if (v) {
        vnc_set_password(v, password, &err);
        qmp_call_finish(call, err);
    }
}

static void run_change_vnc_password(struct qmp_call *call, JsonObject *args)
{
    set_password(call, qmp_arg_string(args, "password"));
}

static bool is_vnc(struct qmp_call *call, JsonObject *args)
{
    const char *protocol = qmp_arg_string(args, "protocol");
    const char *display = qmp_arg_string(args, "display");

    if (strcmp(protocol, "vnc") != 0) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "protocol '%s' is not served, only vnc is",
                      protocol);
        return false;
    }
    if (display && strcmp(display, "default") != 0) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "there is no display '%s', only default", display);
        return false;
    }
    return true;
}

static void run_set_password(struct qmp_call *call, JsonObject *args)
{
    const char *connected = qmp_arg_string(args, "connected");

    if (!is_vnc(call, args)) {
        return;
    }
    if (connected && strcmp(connected, "keep") != 0) {
        qmp_call_fail(call, QMP_GENERIC_ERROR,
                      "connected '%s': of VNC viewers that are there only keep is possible",
                      connected);
        return;
    }
    set_password(call, qmp_arg_string(args, "password"));
}

/* "now", "never", "+SECONDS", or seconds since 1970. */
static bool read_time(const char *text, int64_t *when)
{
    uint64_t n;

    if (strcmp(text, "now") == 0) {
        *when = 0;
    } else if (strcmp(text, "never") == 0) {
        *when = VNC_NEVER;
    } else if (number_parse(text + (text[0] == '+'), 0, INT32_MAX, &n) == 0) {
        *when = (int64_t)n + (text[0] == '+' ? (int64_t)time(NULL) : 0);
    } else {
        return false;
    }
    return true;
}

static void run_expire_password(struct qmp_call *call, JsonObject *args)
{
    const char *text = qmp_arg_string(args, "time");
    struct vnc *v;
    int64_t when;

    if (!is_vnc(call, args) || !(v = vnc_or_fail(call))) {
        return;
    }
    if (!read_time(text, &when)) {
        qmp_call_fail(call, QMP_GENERIC_ERROR,
                      "time '%s' is not now, never, +SECONDS or seconds since 1970", text);
        return;
    }
    vnc_expire_password(v, when);
    qmp_call_finish(call, NULL);
}

const struct qmp_command qmp_vnc_commands[] = {
    {"query-vnc", run_query_vnc},
    {"query-vnc-servers", run_query_vnc_servers},
    {"change-vnc-password", run_change_vnc_password, 0, {{"password", QMP_ARG_STRING}}},
    {"set_password",
     run_set_password,
     0,
     {{"protocol", QMP_ARG_STRING},
      {"password", QMP_ARG_STRING},
      {"connected", QMP_ARG_STRING | QMP_ARG_OPTIONAL},
      {"display", QMP_ARG_STRING | QMP_ARG_OPTIONAL}}},
    {"expire_password",
     run_expire_password,
     0,
     {{"protocol", QMP_ARG_STRING},
      {"time", QMP_ARG_STRING},
      {"display", QMP_ARG_STRING | QMP_ARG_OPTIONAL}}},
    {NULL},
};

/* ---- HMP ---- */

static void show_client(void *opaque, const struct vnc_client *c)
{
    hmp_out(opaque, "  Client: %s:%s (%s)%s", c->host, c->service, c->family,
            c->initialized ? "" : ", at the password");
}

void hmp_info_vnc(struct qmp *qmp, GString *text, const char *arg)
{
    const struct vnc *v = qmp->target->vnc;

    if (!v) {
        hmp_out(text, "None");
        return;
    }
    hmp_out(text, "default:");
    for (unsigned i = 0; i < vnc_addresses(v); i++) {
        struct vnc_address a;
        vnc_address(v, i, &a);
        hmp_out(text, "  Server: %s:%s (%s)%s", a.host, a.service, a.family,
                a.websocket ? " (websocket)" : "");
    }
    hmp_out(text, "  Auth: %s", auth_name(v));
    vnc_foreach_client(v, show_client, text);
}
