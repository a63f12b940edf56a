/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A command under way: from its beginning to its reply, and whose turn it is. A call outlives its
 * client and its server; whoever has it ends it once.
 */
#include <string.h>

#include <xendm/recorder.h>

#include "internal.h"

/* Commands that change the run state come one after the other. */
static bool is_exclusive(const struct qmp_call *call)
{
    return call->command->exclusive ? call->command->exclusive(call->args)
                                    : call->command->flags & QMP_EXCLUSIVE;
}

void qmp_call_run(struct qmp_call *call)
{
    const struct qmp_call *before = call->qmp->exclusive;
    bool takes_back =
        before && before->command->flags & QMP_TAKEN_BACK && call->command->flags & QMP_TAKES_BACK;

    if (is_exclusive(call) && !takes_back) {
        if (before) {
            g_queue_push_tail(&call->qmp->waiting, call);
            return;
        }
        call->qmp->exclusive = call;
    }
    call->command->run(call, call->args);
}

struct qmp_call *qmp_call_new(struct qmp_client *client, const struct qmp_command *command,
                              const char *id, JsonObject *args)
{
    struct qmp_call *call = g_new0(struct qmp_call, 1);

    call->qmp = client->monitor->qmp;
    call->client = client;
    call->command = command;
    call->id = g_strdup(id);
    call->args = args ? json_object_ref(args) : json_object_new();
    call->qmp->calls = g_list_prepend(call->qmp->calls, call);
    client->call = call;
    return call;
}

uint64_t qmp_call_number(const char *id)
{
    return id ? (uint64_t)g_ascii_strtoll(id, NULL, 10) : 0;
}

/* ---- its end ---- */

/* The next of those that wait for their turn. */
static void run_waiting(struct qmp *qmp)
{
    struct qmp_call *next;

    while (!qmp->exclusive && (next = g_queue_pop_head(&qmp->waiting))) {
        qmp_call_run(next);
    }
}

/* Sends `message`, which it takes over, to whom it concerns; then the call is history. */
static void end_call(struct qmp_call *call, JsonNode *message, bool error)
{
    struct qmp_client *client = call->client;
    struct qmp *qmp = call->qmp;

    if (client) {
        g_autofree char *text = qmp_json_with_id(message, call->id);

        recorder_note(REC_QMP, client->number, qmp_call_number(call->id), error ? 2 : 1);
        client->call = NULL;
        qmp_client_send(client, text);
    }
    json_node_unref(message);
    if (qmp) {
        qmp->calls = g_list_remove(qmp->calls, call);
        if (qmp->exclusive == call) {
            qmp->exclusive = NULL;
        }
    }
    g_free(call->id);
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
    json_builder_end_object(b);
    end_call(call, json_builder_get_root(b), false);
}

void qmp_call_build(struct qmp_call *call, JsonBuilder *builder)
{
    JsonNode *root = json_builder_get_root(builder);

    json_builder_unref(builder);
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
        end_call(call, qmp_make_error(class, desc), true);
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
