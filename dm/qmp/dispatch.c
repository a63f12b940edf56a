/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP: from a command's text to its handler.
 *
 * Arguments are checked against the command's table before its handler runs: unknown, missing and
 * mistyped ones are refused by name.
 */
#include <string.h>

#include <config.h>

#include <xendm/log.h>
#include <xendm/recorder.h>

#include "internal.h"

static const struct qmp_command dispatch_commands[];
static const struct qmp_command *const tables[] = {
    dispatch_commands,  qmp_commands,       qmp_device_commands,
    qmp_fdset_commands, qmp_seat_commands,  qmp_vnc_commands,
    qmp_net_commands,   qmp_block_commands, qmp_machine_commands,
};

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

static void run_query_commands(struct qmp_call *call, JsonObject *args)
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

static void run_capabilities(struct qmp_call *call, JsonObject *args)
{
    JsonNode *enable = json_object_get_member(args, "enable");

    /* The one there could be, "oob", is not offered. */
    if (enable && (!JSON_NODE_HOLDS_ARRAY(enable) ||
                   json_array_get_length(json_node_get_array(enable)) != 0)) {
        call->client->negotiated = false;
        qmp_call_fail(call, QMP_GENERIC_ERROR, "qmp_capabilities: no capability was offered");
        return;
    }
    qmp_call_return(call, NULL);
}

static const struct qmp_command dispatch_commands[] = {
    {"qmp_capabilities", run_capabilities, 0, {{"enable", QMP_ARG_ANY | QMP_ARG_OPTIONAL}}},
    {"query-commands", run_query_commands},
    {NULL},
};

/* ---- from the transport ---- */

void qmp_build_version(JsonBuilder *b)
{
    json_builder_begin_object(b);
    json_builder_set_member_name(b, "qemu");
    json_builder_begin_object(b);
    qmp_build_int(b, "micro", QMP_VERSION_MICRO);
    qmp_build_int(b, "minor", QMP_VERSION_MINOR);
    qmp_build_int(b, "major", QMP_VERSION_MAJOR);
    json_builder_end_object(b);
    qmp_build_string(b, "package", "xendm " VERSION);
    json_builder_end_object(b);
}

static JsonNode *make_greeting(void)
{
    g_autoptr(JsonBuilder) b = json_builder_new();

    json_builder_begin_object(b);
    json_builder_set_member_name(b, "QMP");
    json_builder_begin_object(b);
    json_builder_set_member_name(b, "version");
    qmp_build_version(b);
    json_builder_set_member_name(b, "capabilities");
    json_builder_begin_array(b);
    json_builder_end_array(b);
    json_builder_end_object(b);
    json_builder_end_object(b);
    return json_builder_get_root(b);
}

static void greet(struct qmp_client *client)
{
    g_autoptr(JsonNode) greeting = make_greeting();
    g_autofree char *text = json_to_string(greeting, FALSE);

    qmp_client_send(client, text);
}

static void reject_id(struct qmp_client *client, const char *desc, const char *id)
{
    g_autoptr(JsonNode) message = qmp_make_error(QMP_GENERIC_ERROR, desc);
    g_autofree char *text = qmp_json_with_id(message, id);

    qmp_client_send(client, text);
}

static void reject(struct qmp_client *client, const char *desc)
{
    reject_id(client, desc, NULL);
}

struct qmp_call *qmp_revive(struct qmp_client *client, const char *name, const char *id)
{
    const struct qmp_command *command = find_command(name);
    struct qmp_call *call = command ? qmp_call_new(client, command, id, NULL) : NULL;

    if (call && (command->flags & QMP_EXCLUSIVE)) {
        call->qmp->exclusive = call;
    }
    return call;
}

static void begin_call(struct qmp_client *client, const char *name, const char *id,
                       JsonObject *args)
{
    const struct qmp_command *command = find_command(name);
    struct qmp_call *call = qmp_call_new(client, command, id, args);
    bool negotiation = strcmp(name, "qmp_capabilities") == 0;
    g_autofree char *wrong = NULL;

    recorder_note(REC_QMP, client->number, qmp_call_number(id), 0);
    log_debug(LOG_QMP, "%s: client %u: %s", client->monitor->id, client->number, name);

    if (!client->negotiated && !negotiation) {
        qmp_call_fail(call, QMP_COMMAND_NOT_FOUND, "qmp_capabilities has to come first, not %s",
                      name);
    } else if (!command && elsewhere_command(name)) {
        qmp_call_fail(call, QMP_COMMAND_NOT_FOUND, "there is no command %s: %s", name,
                      elsewhere_command(name));
    } else if (!command || (client->negotiated && negotiation)) {
        qmp_call_fail(call, QMP_COMMAND_NOT_FOUND, "there is no command %s%s", name,
                      command ? " any more" : "");
    } else if ((wrong = qmp_check_args(command, call->args))) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "%s: %s", name, wrong);
    } else if (((command->flags & QMP_NEEDS_MACHINE) && !call->qmp->target->machine) ||
               ((command->flags & QMP_NEEDS_GUEST) && !qmp_has_guest(call->qmp))) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "%s: there is no machine", name);
    } else {
        if (negotiation) {
            client->negotiated = true;
        }
        qmp_call_run(call);
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
    if (!execute || !qmp_has_type(execute, QMP_ARG_STRING)) {
        return "'execute' must be a string";
    }
    arguments = json_object_get_member(*request, "arguments");
    if (arguments && !JSON_NODE_HOLDS_OBJECT(arguments)) {
        return "'arguments' must be an object";
    }
    return NULL;
}

/* A command in the one form that is left of it. */
static void dispatch_json(struct qmp_client *client, const struct qmp_json *json)
{
    g_autoptr(JsonNode) root = json_from_string(json->text, NULL);
    JsonObject *request = NULL;
    JsonNode *arguments;
    const char *wrong;

    if (!root) {
        reject_id(client, "this is no JSON", json->id);
        return;
    }
    wrong = check_request(root, &request);
    if (!wrong && json_object_get_size(request) != json->members) {
        wrong = "a member is there twice";
    }
    if (wrong) {
        reject_id(client, wrong, json->id);
        return;
    }
    arguments = json_object_get_member(request, "arguments");
    begin_call(client, json_object_get_string_member(request, "execute"), json->id,
               arguments ? json_node_get_object(arguments) : NULL);
}

static void dispatch(struct qmp_client *client, const char *text, gsize len)
{
    struct qmp_json json;

    if (qmp_json_read(text, len, &json)) {
        dispatch_json(client, &json);
    } else {
        reject_id(client, json.wrong, json.id);
    }
    qmp_json_clear(&json);
}

const struct qmp_transport_ops qmp_dispatch_ops = {
    .arrived = greet,
    .document = dispatch,
    .garbage = reject,
    .gone = qmp_abandon,
    .last_gone = qmp_fdset_free_all, /* descriptors that nobody can name any more */
};
