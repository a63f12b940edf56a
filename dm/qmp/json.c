/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON as QMP's files need it: members of a reply that is being built, arguments of a command, the
 * error reply.
 */
#include "internal.h"

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

JsonNode *qmp_make_error(const char *class, const char *desc)
{
    g_autoptr(JsonBuilder) b = json_builder_new();

    json_builder_begin_object(b);
    json_builder_set_member_name(b, "error");
    json_builder_begin_object(b);
    qmp_build_string(b, "class", class);
    qmp_build_string(b, "desc", desc);
    json_builder_end_object(b);
    json_builder_end_object(b);
    return json_builder_get_root(b);
}

static const char *const type_names[] = {
    [QMP_ARG_STRING] = "a string",
    [QMP_ARG_INT] = "an integer",
    [QMP_ARG_BOOL] = "a boolean",
    [QMP_ARG_ANY] = "",
};

bool qmp_has_type(JsonNode *node, unsigned type)
{
    switch (type) {
    case QMP_ARG_STRING:
        return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == JSON_TYPE_STRING;
    case QMP_ARG_INT:
        return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == JSON_TYPE_INT;
    case QMP_ARG_BOOL:
        return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == JSON_TYPE_BOOLEAN;
    default:
        return true;
    }
}

/* NULL, or what is wrong with the arguments. */
char *qmp_check_args(const struct qmp_command *command, JsonObject *args)
{
    g_autoptr(GList) members = json_object_get_members(args);

    for (int i = 0; command->args[i].name; i++) {
        unsigned type = command->args[i].type & QMP_ARG_TYPE;
        JsonNode *node = json_object_get_member(args, command->args[i].name);

        if (!node && !(command->args[i].type & QMP_ARG_OPTIONAL)) {
            return g_strdup_printf("argument '%s' is missing", command->args[i].name);
        }
        if (node && !qmp_has_type(node, type)) {
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
