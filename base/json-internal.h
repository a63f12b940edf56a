/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to json.c and json-text.c. */
#ifndef BASE_JSON_INTERNAL_H
#define BASE_JSON_INTERNAL_H

#include <xendm/json.h>

struct JsonArray {
    GPtrArray *elements; /* JsonNode */
};

struct JsonObject {
    unsigned refs;
    GPtrArray *members;
    GHashTable *index; /* name → member, once there are many; NULL: look */
};

struct JsonNode {
    unsigned refs;
    JsonNodeType type;
    JsonValueType value;
    JsonObject *object;
    JsonArray array;
    char *text;
    gint64 number; /* a boolean's, too */
    double real;
};

/* The member at this place: its name. */
const char *json_object_at(const JsonObject *object, guint index, JsonNode **node);
JsonNode *json_node_of_number(JsonValueType type, gint64 value);

#endif
