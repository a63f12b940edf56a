/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands about what a person in front of the machine sees and types. */
#include <errno.h>
#include <string.h>

#include <xendm/display.h>
#include <xendm/input.h>

#include "internal.h"

static void screendump_done(void *opaque, GError *err)
{
    qmp_call_finish(opaque, err);
}

void qmp_screendump(struct qmp_call *call, const char *file, bool png)
{
    struct machine *m = call->qmp->target->machine;

    if (!m->display) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "this machine has no display");
    } else {
        display_screendump(m->display, file, png, screendump_done, call);
    }
}

/* The one head has no id. */
static void run_screendump(struct qmp_call *call, JsonObject *args)
{
    const char *format = qmp_arg_string(args, "format");

    if (format && strcmp(format, "ppm") != 0 && strcmp(format, "png") != 0) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "screendump: the format is ppm or png, not '%s'",
                      format);
    } else {
        qmp_screendump(call, qmp_arg_string(args, "filename"),
                       format && strcmp(format, "png") == 0);
    }
}

/* ---- keys and pointer ---- */

void qmp_keys_failed(struct qmp_call *call, int error, const char *name)
{
    if (error == -ENOBUFS) {
        qmp_call_fail(call, QMP_GENERIC_ERROR,
                      "the guest does not read its keyboard: %u keys wait already",
                      INPUT_KEYS_WAITING_MAX);
    } else {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "there is no key '%s'", name);
    }
}

/* {"type":"qcode","data":"ctrl"}: the code, or 0 with the call answered. */
static unsigned key_value(struct qmp_call *call, JsonNode *node)
{
    JsonObject *key = node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
    JsonNode *type = key ? json_object_get_member(key, "type") : NULL;
    JsonNode *data = key ? json_object_get_member(key, "data") : NULL;
    unsigned code;

    if (!type || !qmp_has_type(type, QMP_ARG_STRING) ||
        strcmp(json_node_get_string(type), "qcode") != 0 || !data ||
        !qmp_has_type(data, QMP_ARG_STRING)) {
        qmp_call_fail(call, QMP_GENERIC_ERROR,
                      "a key is {'type':'qcode','data':'NAME'}; numbers are not implemented");
        return 0;
    }
    code = input_key_from_name(json_node_get_string(data));
    if (!code) {
        qmp_keys_failed(call, -EINVAL, json_node_get_string(data));
    }
    return code;
}

static void run_send_key(struct qmp_call *call, JsonObject *args)
{
    struct input *input = call->qmp->target->machine->input;
    JsonNode *keys = json_object_get_member(args, "keys");
    JsonNode *hold = json_object_get_member(args, "hold-time");
    gint64 ms = hold ? json_node_get_int(hold) : INPUT_HOLD_MS;
    unsigned codes[INPUT_COMBINATION_MAX], n;
    int rc;

    if (!input || !JSON_NODE_HOLDS_ARRAY(keys) ||
        !(n = json_array_get_length(json_node_get_array(keys))) || n > INPUT_COMBINATION_MAX ||
        ms < 0 || ms > INPUT_HOLD_MS_MAX) {
        qmp_call_fail(call, QMP_GENERIC_ERROR, "send-key: 1 to %u keys, held for at most %u ms",
                      INPUT_COMBINATION_MAX, INPUT_HOLD_MS_MAX);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        codes[i] = key_value(call, json_array_get_element(json_node_get_array(keys), i));
        if (!codes[i]) {
            return;
        }
    }
    rc = input_press_keys(input, codes, n, (unsigned)ms);
    if (rc < 0) {
        qmp_keys_failed(call, rc, "");
    } else {
        qmp_call_return(call, NULL);
    }
}

const struct qmp_command qmp_seat_commands[] = {
    {"send-key",
     run_send_key,
     QMP_NEEDS_MACHINE,
     {{"keys", QMP_ARG_ANY}, {"hold-time", QMP_ARG_INT | QMP_ARG_OPTIONAL}}},
    {"screendump",
     run_screendump,
     QMP_NEEDS_MACHINE,
     {{"filename", QMP_ARG_STRING}, {"format", QMP_ARG_STRING | QMP_ARG_OPTIONAL}}},
    {NULL},
};
