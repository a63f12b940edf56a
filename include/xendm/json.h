/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON in memory, its text, and a builder: what QMP and the machine description need of it. Names
 * and meaning are json-glib's, of which this is the small part that is used: the library alone drew
 * in nine others (gobject, gio, mount, …), whose loading was a third of a start.
 *
 * The reader wants strict JSON (RFC 8259) and goes JSON_DEPTH_MAX levels deep. An integer is an
 * int64; one that is too large for it, or has a point or an exponent, is a double. Of two members
 * of one name the last counts. Objects keep their order.
 */
#ifndef XENDM_JSON_H
#define XENDM_JSON_H

#include <stdbool.h>

#include <glib.h>

#define JSON_DEPTH_MAX 1024u

typedef enum { JSON_NODE_OBJECT, JSON_NODE_ARRAY, JSON_NODE_VALUE, JSON_NODE_NULL } JsonNodeType;
typedef enum {
    JSON_TYPE_NONE, /* no value */
    JSON_TYPE_STRING,
    JSON_TYPE_INT,
    JSON_TYPE_DOUBLE,
    JSON_TYPE_BOOLEAN
} JsonValueType;

typedef struct JsonNode JsonNode;
typedef struct JsonObject JsonObject;
typedef struct JsonArray JsonArray;
typedef struct JsonBuilder JsonBuilder;

/* ---- nodes: counted, and not changed once others have them ---- */

JsonNode *json_node_new(JsonNodeType type);
JsonNode *json_node_of_object(JsonObject *object); /* a reference of its own */
JsonNode *json_node_ref(JsonNode *node);
void json_node_unref(JsonNode *node); /* NULL is allowed */
JsonNodeType json_node_get_node_type(const JsonNode *node);
JsonValueType json_node_get_value_type(const JsonNode *node);
bool json_node_equal(const JsonNode *a, const JsonNode *b);

#define JSON_NODE_HOLDS_OBJECT(node) (json_node_get_node_type(node) == JSON_NODE_OBJECT)
#define JSON_NODE_HOLDS_ARRAY(node) (json_node_get_node_type(node) == JSON_NODE_ARRAY)
#define JSON_NODE_HOLDS_VALUE(node) (json_node_get_node_type(node) == JSON_NODE_VALUE)

/* NULL, 0 or false of a node that is something else. */
JsonObject *json_node_get_object(const JsonNode *node);
JsonArray *json_node_get_array(const JsonNode *node);
const char *json_node_get_string(const JsonNode *node);
gint64 json_node_get_int(const JsonNode *node);
bool json_node_get_boolean(const JsonNode *node);
void json_node_set_string(JsonNode *node, const char *text);

JsonObject *json_object_new(void);
JsonObject *json_object_ref(JsonObject *object);
void json_object_unref(JsonObject *object); /* NULL is allowed */
guint json_object_get_size(const JsonObject *object);
JsonNode *json_object_get_member(const JsonObject *object, const char *name); /* or NULL */
bool json_object_has_member(const JsonObject *object, const char *name);
/* Names, in order; the list is the caller's, they are not. */
GList *json_object_get_members(const JsonObject *object);
gint64 json_object_get_int_member(const JsonObject *object, const char *name);
const char *json_object_get_string_member(const JsonObject *object, const char *name);
bool json_object_get_boolean_member(const JsonObject *object, const char *name);

/* Instead of another of this name; NULL is a null. */
void json_object_set_member(JsonObject *object, const char *name, JsonNode *node); /* takes it */
void json_object_set_string_member(JsonObject *object, const char *name, const char *text);
void json_object_set_boolean_member(JsonObject *object, const char *name, bool value);

guint json_array_get_length(const JsonArray *array);
JsonNode *json_array_get_element(const JsonArray *array, guint index); /* or NULL */

/* ---- text ---- */

/* One document; NULL with `err`. */
JsonNode *json_from_string(const char *text, GError **err);
char *json_to_string(const JsonNode *node, bool pretty);

/* ---- a document, piece by piece ---- */

JsonBuilder *json_builder_new(void);
void json_builder_unref(JsonBuilder *b); /* NULL is allowed */
void json_builder_begin_object(JsonBuilder *b);
void json_builder_end_object(JsonBuilder *b);
void json_builder_begin_array(JsonBuilder *b);
void json_builder_end_array(JsonBuilder *b);
void json_builder_set_member_name(JsonBuilder *b, const char *name); /* of what comes next */
void json_builder_add_string_value(JsonBuilder *b, const char *text);
void json_builder_add_int_value(JsonBuilder *b, gint64 value);
void json_builder_add_boolean_value(JsonBuilder *b, bool value);
void json_builder_add_null_value(JsonBuilder *b);
void json_builder_add_value(JsonBuilder *b, JsonNode *node); /* takes it over */
JsonNode *json_builder_get_root(JsonBuilder *b);             /* a reference */

G_DEFINE_AUTOPTR_CLEANUP_FUNC(JsonNode, json_node_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JsonObject, json_object_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JsonBuilder, json_builder_unref)

#endif
