/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP: from a command's text to its handler and back, whose turn it is, and events.
 *
 * Arguments are checked against the command's table before its handler runs: unknown, missing and
 * mistyped ones are refused by name.
 */
#include <errno.h>
#include <string.h>

#include <xendm/log.h>
#include <xendm/recorder.h>

#include "internal.h"

static const struct qmp_command *const tables[] = {qmp_commands, qmp_device_commands,
                                                   qmp_fdset_commands};

/* ---- building blocks ---- */

void qmp_build_string(JsonBuilder *b, const char *name, const char *text)
{
    g_autofree char *utf8 = g_utf8_make_valid(text, -1);

    if (name) {
        json_builder_set_member_name(b, name);
    }
    json_builder_add_string_value(b, utf8);
}

void qmp_build_int(JsonBuilder *b, const char *name, gint64 value)
{
    json_builder_set_member_name(b, name);
    json_builder_add_int_value(b, value);
}

void qmp_build_bool(JsonBuilder *b, const char *name, bool value)
{
    json_builder_set_member_name(b, name);
    json_builder_add_boolean_value(b, value);
}

const char *qmp_arg_string(JsonObject *args, const char *name)
{
    return json_object_has_member(args, name) ? json_object_get_string_member(args, name) : NULL;
}

bool qmp_arg_bool(JsonObject *args, const char *name, bool def)
{
    return json_object_has_member(args, name) ? json_object_get_boolean_member(args, name) : def;
}

/* ---- replies ---- */

static JsonNode *make_error(JsonNode *id, const char *class, const char *desc)
{
    g_autoptr(JsonBuilder) b = json_builder_new();

    json_builder_begin_object(b);
    if (id) {
        json_builder_set_member_name(b, "id");
        json_builder_add_value(b, json_node_copy(id));
    }
    json_builder_set_member_name(b, "error");
    json_builder_begin_object(b);
    qmp_build_string(b, "class", class);
    qmp_build_string(b, "desc", desc);
    json_builder_end_object(b);
    json_builder_end_object(b);
    return json_builder_get_root(b);
}

void qmp_reject(struct qmp_client *client, const char *desc)
{
    g_autoptr(JsonNode) message = make_error(NULL, QMP_GENERIC_ERROR, desc);

    qmp_client_send(client, message);
}

static void run_call(struct qmp_call *call);

/* The next of those that wait for their turn. */
static void run_waiting(struct qmp *qmp)
{
    struct qmp_call *next;

    while (!qmp->exclusive && (next = g_queue_pop_head(&qmp->waiting))) {
        run_call(next);
    }
}

/* Sends `message`, which it takes over, to whom it concerns; then the call is history. */
static void end_call(struct qmp_call *call, JsonNode *message, bool error)
{
    struct qmp_client *client = call->client;
    struct qmp *qmp = call->qmp;

    if (client) {
        recorder_note(REC_QMP, client->number,
                      call->id && JSON_NODE_HOLDS_VALUE(call->id)
                          ? (uint64_t)json_node_get_int(call->id)
                          : 0,
                      error ? 2 : 1);
        client->call = NULL;
        qmp_client_send(client, message);
    }
    json_node_unref(message);
    if (qmp) {
        qmp->calls = g_list_remove(qmp->calls, call);
        if (qmp->exclusive == call) {
            qmp->exclusive = NULL;
        }
    }
    if (call->id) {
        json_node_unref(call->id);
    }
    json_object_unref(call->args);
    g_free(call);
    /* Those who waited come first: a client with many commands in a row does not keep the turn. */
    if (qmp) {
        run_waiting(qmp);
    }
    if (client) {
        qmp_client_resume(client);
    }
}

void qmp_call_return(struct qmp_call *call, JsonNode *result)
{
    g_autoptr(JsonBuilder) b = json_builder_new();

    json_builder_begin_object(b);
    json_builder_set_member_name(b, "return");
    if (result) {
        json_builder_add_value(b, result);
    } else {
        json_builder_begin_object(b);
        json_builder_end_object(b);
    }
    if (call->id) {
        json_builder_set_member_name(b, "id");
        json_builder_add_value(b, json_node_copy(call->id));
    }
    json_builder_end_object(b);
    end_call(call, json_builder_get_root(b), false);
}

void qmp_call_build(struct qmp_call *call, JsonBuilder *builder)
{
    JsonNode *root = json_builder_get_root(builder);

    g_object_unref(builder);
    qmp_call_return(call, root);
}

void qmp_call_text(struct qmp_call *call, const char *text)
{
    g_autofree char *utf8 = g_utf8_make_valid(text, -1);
    JsonNode *node = json_node_new(JSON_NODE_VALUE);

    json_node_set_string(node, utf8);
    qmp_call_return(call, node);
}

static void call_fail(struct qmp_call *call, const char *class, const char *desc)
{
    if (call->as_text) {
        g_autofree char *text = g_strdup_printf("Error: %s\r\n", desc);

        qmp_call_text(call, text);
    } else {
        end_call(call, make_error(call->id, class, desc), true);
    }
}

void qmp_call_fail(struct qmp_call *call, const char *class, const char *fmt, ...)
{
    g_autofree char *desc = NULL;
    va_list ap;

    va_start(ap, fmt);
    desc = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    call_fail(call, class, desc);
}

void qmp_call_finish(struct qmp_call *call, GError *error)
{
    if (error) {
        call_fail(call, QMP_GENERIC_ERROR, error->message);
        g_error_free(error);
    } else if (call->as_text) {
        qmp_call_text(call, "");
    } else {
        qmp_call_return(call, NULL);
    }
}

/* ---- clients and servers that go away with calls under way ---- */

void qmp_abandon(struct qmp_client *client)
{
    struct qmp_call *call = client->call;
    struct qmp *qmp = client->monitor->qmp;

    if (!call) {
        return;
    }
    client->call = NULL;
    call->client = NULL;
    if (g_queue_remove(&qmp->waiting, call)) {
        qmp_call_return(call, NULL); /* nobody has it: this frees it */
    }
}

void qmp_abandon_all(struct qmp *qmp)
{
    /* The clients are gone, and with them what waited; what is left is in the hands of an op. */
    for (GList *l = qmp->calls; l; l = l->next) {
        struct qmp_call *call = l->data;

        call->qmp = NULL;
        call->client = NULL;
    }
    g_list_free(qmp->calls);
    qmp->calls = NULL;
    qmp->exclusive = NULL;
}

/* ---- commands ---- */

static const struct qmp_command *find_command(const char *name)
{
    for (size_t t = 0; t < G_N_ELEMENTS(tables); t++) {
        for (const struct qmp_command *c = tables[t]; c->name; c++) {
            if (strcmp(c->name, name) == 0) {
                return c;
            }
        }
    }
    return NULL;
}

static void add_command_name(JsonBuilder *b, const char *name)
{
    json_builder_begin_object(b);
    qmp_build_string(b, "name", name);
    json_builder_end_object(b);
}

static void query_commands(struct qmp_call *call)
{
    JsonBuilder *b = json_builder_new();

    json_builder_begin_array(b);
    for (size_t t = 0; t < G_N_ELEMENTS(tables); t++) {
        for (const struct qmp_command *c = tables[t]; c->name; c++) {
            add_command_name(b, c->name);
        }
    }
    json_builder_end_array(b);
    qmp_call_build(call, b);
}

static const char *const type_names[] = {
    [QMP_ARG_STRING] = "a string",
    [QMP_ARG_INT] = "an integer",
    [QMP_ARG_BOOL] = "a boolean",
    [QMP_ARG_ANY] = "",
};

static bool has_type(JsonNode *node, unsigned type)
{
    switch (type) {
    case QMP_ARG_STRING:
        return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING;
    case QMP_ARG_INT:
        return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_INT64;
    case QMP_ARG_BOOL:
        return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_BOOLEAN;
    default:
        return true;
    }
}

/* NULL, or what is wrong with the arguments. */
static char *check_args(const struct qmp_command *command, JsonObject *args)
{
    g_autoptr(GList) members = json_object_get_members(args);

    for (int i = 0; command->args[i].name; i++) {
        unsigned type = command->args[i].type & QMP_ARG_TYPE;
        JsonNode *node = json_object_get_member(args, command->args[i].name);

        if (!node && !(command->args[i].type & QMP_ARG_OPTIONAL)) {
            return g_strdup_printf("argument '%s' is missing", command->args[i].name);
        }
        if (node && !has_type(node, type)) {
            return g_strdup_printf("argument '%s' must be %s", command->args[i].name,
                                   type_names[type]);
        }
    }
    for (GList *l = members; l && !(command->flags & QMP_ANY_ARGS); l = l->next) {
        int i = 0;

        while (command->args[i].name && strcmp(command->args[i].name, l->data) != 0) {
            i++;
        }
        if (!command->args[i].name) {
            return g_strdup_printf("there is no argument '%s'", (const char *)l->data);
        }
    }
    return NULL;
}

static bool is_exclusive(const struct qmp_call *call)
{
    if (strcmp(call->command->name, "human-monitor-command") == 0) {
        return hmp_is_exclusive(qmp_arg_string(call->args, "command-line"));
    }
    return call->command->flags & QMP_EXCLUSIVE;
}

static void run_call(struct qmp_call *call)
{
    if (is_exclusive(call)) {
        if (call->qmp->exclusive) {
            g_queue_push_tail(&call->qmp->waiting, call);
            return;
        }
        call->qmp->exclusive = call;
    }
    if (call->command->run) {
        call->command->run(call, call->args);
    } else {
        query_commands(call);
    }
}

static struct qmp_call *call_new(struct qmp_client *client, const struct qmp_command *command,
                                 JsonNode *id, JsonObject *args)
{
    struct qmp_call *call = g_new0(struct qmp_call, 1);

    call->qmp = client->monitor->qmp;
    call->client = client;
    call->command = command;
    call->id = id ? json_node_copy(id) : NULL;
    call->args = args ? json_object_ref(args) : json_object_new();
    call->qmp->calls = g_list_prepend(call->qmp->calls, call);
    client->call = call;
    return call;
}

struct qmp_call *qmp_revive(struct qmp_client *client, const char *name, JsonNode *id)
{
    const struct qmp_command *command = find_command(name);
    struct qmp_call *call = command ? call_new(client, command, id, NULL) : NULL;

    if (call && (command->flags & QMP_EXCLUSIVE)) {
        call->qmp->exclusive = call;
    }
    return call;
}

static void begin_call(struct qmp_client *client, const char *name, JsonNode *id, JsonObject *args)
{
    const struct qmp_command *command = find_command(name);
    struct qmp_call *call = call_new(client, command, id, args);
    bool negotiation = strcmp(name, "qmp_capabilities") == 0;
    g_autofree char *wrong = NULL;

    recorder_note(REC_QMP, client->number,
                  id && JSON_NODE_HOLDS_VALUE(id) ? (uint64_t)json_node_get_int(id) : 0, 0);
    log_debug(LOG_QMP, "%s: client %u: %s", client->monitor->id, client->number, name);

    if (!client->negotiated && !negotiation) {
        qmp_call_fail(call, QMP_COMMAND_NOT_FOUND, "qmp_capabilities has to come first, not %s",
                      name);
    } else if (!command || (client->negotiated && negotiation)) {
        qmp_call_fail(call, QMP_COMMAND_NOT_FOUND, "there is no command %s%s", name,
                      command ? " any more" : "");
    } else if ((wrong = check_args(command, call->args))) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "%s: %s", name, wrong);
    } else if ((command->flags & QMP_NEEDS_MACHINE) && !call->qmp->target->machine) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "%s: there is no machine", name);
    } else {
        if (negotiation) {
            client->negotiated = true;
        }
        run_call(call);
    }
}

/* NULL, or what is wrong with the outer object. */
static const char *check_request(JsonNode *root, JsonObject **request)
{
    g_autoptr(GList) members = NULL;
    JsonNode *execute, *arguments;

    if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
        return "a command must be an object";
    }
    *request = json_node_get_object(root);
    members = json_object_get_members(*request);
    for (GList *l = members; l; l = l->next) {
        if (strcmp(l->data, "execute") != 0 && strcmp(l->data, "arguments") != 0 &&
            strcmp(l->data, "id") != 0) {
            return strcmp(l->data, "exec-oob") == 0
                       ? "out-of-band execution is not implemented"
                       : "a command has the members execute, arguments and id only";
        }
    }
    execute = json_object_get_member(*request, "execute");
    if (!execute || !has_type(execute, QMP_ARG_STRING)) {
        return "'execute' must be a string";
    }
    arguments = json_object_get_member(*request, "arguments");
    if (arguments && !JSON_NODE_HOLDS_OBJECT(arguments)) {
        return "'arguments' must be an object";
    }
    return NULL;
}

void qmp_dispatch(struct qmp_client *client, const char *text, gsize len)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    JsonObject *request = NULL;
    JsonNode *root, *id, *arguments;
    const char *wrong;

    /* json-glib takes the length as signed, and recurses: both are bounded by the scanner. */
    if (!g_utf8_validate(text, (gssize)len, NULL) ||
        !json_parser_load_from_data(parser, text, (gssize)len, NULL)) {
        qmp_reject(client, "this is no JSON");
        return;
    }
    root = json_parser_get_root(parser);
    wrong = check_request(root, &request);
    id = request ? json_object_get_member(request, "id") : NULL;
    if (wrong) {
        g_autoptr(JsonNode) message = make_error(id, QMP_GENERIC_ERROR, wrong);

        qmp_client_send(client, message);
        return;
    }
    arguments = json_object_get_member(request, "arguments");
    begin_call(client, json_object_get_string_member(request, "execute"), id,
               arguments ? json_node_get_object(arguments) : NULL);
}

/* ---- events ---- */

enum {
    RATE_TRAY,
    RATE_BLOCK,
    RATE_RTC,
    RATE_DELETED,
};
G_STATIC_ASSERT(RATE_DELETED < G_N_ELEMENTS(((struct qmp *)0)->rate));

/* For what a guest can provoke. */
static bool rate_allows(struct qmp *qmp, unsigned kind)
{
    gint64 second = g_get_monotonic_time() / G_USEC_PER_SEC;

    if (qmp->rate[kind].second != second) {
        qmp->rate[kind].second = second;
        qmp->rate[kind].sent = 0;
    }
    return qmp->rate[kind].sent++ < QMP_EVENTS_PER_SECOND;
}

/* An event's builder, open where its data go; end_event() sends and frees it. */
static JsonBuilder *begin_event(const char *name, bool data)
{
    JsonBuilder *b = json_builder_new();
    gint64 now = g_get_real_time();

    json_builder_begin_object(b);
    json_builder_set_member_name(b, "timestamp");
    json_builder_begin_object(b);
    qmp_build_int(b, "seconds", now / G_USEC_PER_SEC);
    qmp_build_int(b, "microseconds", now % G_USEC_PER_SEC);
    json_builder_end_object(b);
    qmp_build_string(b, "event", name);
    if (data) {
        json_builder_set_member_name(b, "data");
        json_builder_begin_object(b);
    }
    return b;
}

static void end_event(struct qmp *qmp, JsonBuilder *b, bool data)
{
    g_autoptr(JsonNode) message = NULL;

    if (data) {
        json_builder_end_object(b);
    }
    json_builder_end_object(b);
    message = json_builder_get_root(b);
    g_object_unref(b);
    for (guint m = 0; m < qmp->monitors->len; m++) {
        struct qmp_monitor *monitor = g_ptr_array_index(qmp->monitors, m);

        for (guint i = 0; i < monitor->clients->len && !monitor->quiet; i++) {
            struct qmp_client *client = g_ptr_array_index(monitor->clients, i);

            if (!client->negotiated || client->closing) {
                continue;
            }
            if (client->out->len - client->written >= QMP_EVENT_HIGH) {
                client->events_dropped++;
            } else {
                qmp_client_send(client, message);
            }
        }
    }
}

void qmp_event(struct qmp *qmp, const char *name)
{
    end_event(qmp, begin_event(name, false), false);
}

static void event_with_reason(struct qmp *qmp, const char *name, bool by_guest, const char *reason)
{
    JsonBuilder *b = begin_event(name, true);

    qmp_build_bool(b, "guest", by_guest);
    qmp_build_string(b, "reason", reason);
    end_event(qmp, b, true);
}

void qmp_event_shutdown(struct qmp *qmp, bool by_guest, const char *reason)
{
    event_with_reason(qmp, "SHUTDOWN", by_guest, reason);
}

void qmp_event_reset(struct qmp *qmp, bool by_guest, const char *reason)
{
    event_with_reason(qmp, "RESET", by_guest, reason);
}

void qmp_event_tray_moved(struct qmp *qmp, const char *device_id, bool open)
{
    JsonBuilder *b;

    if (rate_allows(qmp, RATE_TRAY)) {
        b = begin_event("DEVICE_TRAY_MOVED", true);
        qmp_build_string(b, "device", device_id);
        qmp_build_bool(b, "tray-open", open);
        qmp_build_string(b, "id", device_id);
        end_event(qmp, b, true);
    }
}

void qmp_event_block_error(struct qmp *qmp, const char *device_id, const char *op, int error)
{
    JsonBuilder *b;

    if (rate_allows(qmp, RATE_BLOCK)) {
        b = begin_event("BLOCK_IO_ERROR", true);
        qmp_build_string(b, "device", device_id);
        qmp_build_string(b, "operation", strcmp(op, "read") == 0 ? "read" : "write");
        qmp_build_string(b, "action", "report");
        qmp_build_bool(b, "nospace", error == -ENOSPC);
        qmp_build_string(b, "reason", g_strerror(-error));
        end_event(qmp, b, true);
    }
}

void qmp_event_rtc_change(struct qmp *qmp, int64_t seconds)
{
    JsonBuilder *b;

    if (rate_allows(qmp, RATE_RTC)) {
        b = begin_event("RTC_CHANGE", true);
        qmp_build_int(b, "offset", seconds);
        end_event(qmp, b, true);
    }
}

void qmp_event_device_deleted(struct qmp *qmp, const char *device_id)
{
    JsonBuilder *b;

    if (rate_allows(qmp, RATE_DELETED)) {
        b = begin_event("DEVICE_DELETED", true);
        qmp_build_string(b, "device", device_id);
        end_event(qmp, b, true);
    }
}
