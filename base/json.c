/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON in memory, and the builder; text is in json-text.c. */
#include <string.h>

#include <xendm/json.h>

#include "json-internal.h"

/* ---- objects and arrays ---- */

#define MANY 16u /* members: then they are found by an index */

struct member {
    char *name;
    JsonNode *node;
};

static void member_free(void *opaque)
{
    struct member *m = opaque;

    g_free(m->name);
    json_node_unref(m->node);
    g_free(m);
}

static void element_free(void *opaque)
{
    json_node_unref(opaque);
}

JsonObject *json_object_new(void)
{
    JsonObject *object = g_new0(JsonObject, 1);

    object->refs = 1;
    object->members = g_ptr_array_new_with_free_func(member_free);
    return object;
}

JsonObject *json_object_ref(JsonObject *object)
{
    object->refs++;
    return object;
}

void json_object_unref(JsonObject *object)
{
    if (object && --object->refs == 0) {
        g_clear_pointer(&object->index, g_hash_table_destroy);
        g_ptr_array_free(object->members, TRUE);
        g_free(object);
    }
}

static struct member *find(const JsonObject *object, const char *name)
{
    if (object && object->index) {
        return g_hash_table_lookup(object->index, name);
    }
    for (guint i = 0; object && i < object->members->len; i++) {
        struct member *m = g_ptr_array_index(object->members, i);

        if (strcmp(m->name, name) == 0) {
            return m;
        }
    }
    return NULL;
}

static void add(JsonObject *object, struct member *m)
{
    g_ptr_array_add(object->members, m);
    if (object->members->len == MANY) {
        object->index = g_hash_table_new(g_str_hash, g_str_equal);
        for (guint i = 0; i < MANY; i++) {
            struct member *one = g_ptr_array_index(object->members, i);

            g_hash_table_insert(object->index, one->name, one);
        }
    } else if (object->index) {
        g_hash_table_insert(object->index, m->name, m);
    }
}

void json_object_set_member(JsonObject *object, const char *name, JsonNode *node)
{
    struct member *m = find(object, name);

    if (!m) {
        m = g_new0(struct member, 1);
        m->name = g_strdup(name);
        add(object, m);
    }
    json_node_unref(m->node);
    m->node = node;
}

const char *json_object_at(const JsonObject *object, guint index, JsonNode **node)
{
    const struct member *m = g_ptr_array_index(object->members, index);

    *node = m->node;
    return m->name;
}

guint json_object_get_size(const JsonObject *object)
{
    return object ? object->members->len : 0;
}

JsonNode *json_object_get_member(const JsonObject *object, const char *name)
{
    const struct member *m = find(object, name);

    return m ? m->node : NULL;
}

bool json_object_has_member(const JsonObject *object, const char *name)
{
    return find(object, name) != NULL;
}

GList *json_object_get_members(const JsonObject *object)
{
    GList *names = NULL;

    for (guint i = json_object_get_size(object); i-- > 0;) {
        struct member *m = g_ptr_array_index(object->members, i);

        names = g_list_prepend(names, m->name);
    }
    return names;
}

gint64 json_object_get_int_member(const JsonObject *object, const char *name)
{
    return json_node_get_int(json_object_get_member(object, name));
}

const char *json_object_get_string_member(const JsonObject *object, const char *name)
{
    return json_node_get_string(json_object_get_member(object, name));
}

bool json_object_get_boolean_member(const JsonObject *object, const char *name)
{
    return json_node_get_boolean(json_object_get_member(object, name));
}

static JsonNode *text_node(const char *text)
{
    JsonNode *node = json_node_new(text ? JSON_NODE_VALUE : JSON_NODE_NULL);

    if (text) {
        json_node_set_string(node, text);
    }
    return node;
}

void json_object_set_string_member(JsonObject *object, const char *name, const char *text)
{
    json_object_set_member(object, name, text_node(text));
}

void json_object_set_boolean_member(JsonObject *object, const char *name, bool value)
{
    json_object_set_member(object, name, json_node_of_number(JSON_TYPE_BOOLEAN, value));
}

guint json_array_get_length(const JsonArray *array)
{
    return array ? array->elements->len : 0;
}

JsonNode *json_array_get_element(const JsonArray *array, guint index)
{
    return index < json_array_get_length(array) ? g_ptr_array_index(array->elements, index) : NULL;
}

/* ---- nodes ---- */

JsonNode *json_node_new(JsonNodeType type)
{
    JsonNode *node = g_new0(JsonNode, 1);

    node->refs = 1;
    node->type = type;
    if (type == JSON_NODE_OBJECT) {
        node->object = json_object_new();
    } else if (type == JSON_NODE_ARRAY) {
        node->array.elements = g_ptr_array_new_with_free_func(element_free);
    }
    return node;
}

JsonNode *json_node_of_object(JsonObject *object)
{
    JsonNode *node = json_node_new(JSON_NODE_OBJECT);

    json_object_unref(node->object);
    node->object = json_object_ref(object);
    return node;
}

JsonNode *json_node_ref(JsonNode *node)
{
    node->refs++;
    return node;
}

void json_node_unref(JsonNode *node)
{
    if (!node || --node->refs > 0) {
        return;
    }
    if (node->type == JSON_NODE_OBJECT) {
        json_object_unref(node->object);
    } else if (node->type == JSON_NODE_ARRAY) {
        g_ptr_array_free(node->array.elements, TRUE);
    }
    g_free(node->text);
    g_free(node);
}

JsonNodeType json_node_get_node_type(const JsonNode *node)
{
    return node ? node->type : JSON_NODE_NULL;
}

JsonValueType json_node_get_value_type(const JsonNode *node)
{
    return node ? node->value : JSON_TYPE_NONE;
}

JsonObject *json_node_get_object(const JsonNode *node)
{
    return node && node->type == JSON_NODE_OBJECT ? node->object : NULL;
}

JsonArray *json_node_get_array(const JsonNode *node)
{
    return node && node->type == JSON_NODE_ARRAY ? (JsonArray *)&node->array : NULL;
}

const char *json_node_get_string(const JsonNode *node)
{
    return json_node_get_value_type(node) == JSON_TYPE_STRING ? node->text : NULL;
}

gint64 json_node_get_int(const JsonNode *node)
{
    return json_node_get_value_type(node) == JSON_TYPE_INT ? node->number : 0;
}

bool json_node_get_boolean(const JsonNode *node)
{
    return json_node_get_value_type(node) == JSON_TYPE_BOOLEAN && node->number;
}

void json_node_set_string(JsonNode *node, const char *text)
{
    g_free(node->text);
    node->text = g_strdup(text);
    node->value = JSON_TYPE_STRING;
}

static bool objects_equal(const JsonObject *a, const JsonObject *b)
{
    for (guint i = 0; i < json_object_get_size(a); i++) {
        JsonNode *node;
        const char *name = json_object_at(a, i, &node);
        JsonNode *other = json_object_get_member(b, name);

        if (!other || !json_node_equal(node, other)) {
            return false;
        }
    }
    return json_object_get_size(a) == json_object_get_size(b);
}

static bool arrays_equal(const JsonArray *a, const JsonArray *b)
{
    guint n = json_array_get_length(a);
    bool same = n == json_array_get_length(b);

    for (guint i = 0; same && i < n; i++) {
        same = json_node_equal(json_array_get_element(a, i), json_array_get_element(b, i));
    }
    return same;
}

bool json_node_equal(const JsonNode *a, const JsonNode *b)
{
    if (a->type != b->type || a->value != b->value) {
        return false;
    }
    switch (a->type) {
    case JSON_NODE_OBJECT:
        return objects_equal(a->object, b->object);
    case JSON_NODE_ARRAY:
        return arrays_equal(&a->array, &b->array);
    default:
        return a->number == b->number && !(a->real < b->real) && !(a->real > b->real) &&
               g_strcmp0(a->text, b->text) == 0;
    }
}

/* ---- the builder ---- */

struct JsonBuilder {
    JsonNode *root;
    GPtrArray *open; /* JsonNode: what has begun and not ended, outermost first */
    char *name;
};

JsonBuilder *json_builder_new(void)
{
    JsonBuilder *b = g_new0(JsonBuilder, 1);

    b->open = g_ptr_array_new();
    return b;
}

void json_builder_unref(JsonBuilder *b)
{
    if (b) {
        json_node_unref(b->root);
        g_ptr_array_free(b->open, TRUE);
        g_free(b->name);
        g_free(b);
    }
}

void json_builder_add_value(JsonBuilder *b, JsonNode *node)
{
    JsonNode *in = b->open->len > 0 ? g_ptr_array_index(b->open, b->open->len - 1) : NULL;

    if (!in) {
        json_node_unref(b->root);
        b->root = node;
    } else if (in->type == JSON_NODE_ARRAY) {
        g_ptr_array_add(in->array.elements, node);
    } else {
        json_object_set_member(in->object, b->name ? b->name : "", node);
    }
    g_clear_pointer(&b->name, g_free);
}

static void begin(JsonBuilder *b, JsonNodeType type)
{
    JsonNode *node = json_node_new(type);

    json_builder_add_value(b, node);
    g_ptr_array_add(b->open, node);
}

static void end(JsonBuilder *b)
{
    g_ptr_array_set_size(b->open, (gint)b->open->len - 1);
}

void json_builder_begin_object(JsonBuilder *b)
{
    begin(b, JSON_NODE_OBJECT);
}

void json_builder_end_object(JsonBuilder *b)
{
    end(b);
}

void json_builder_begin_array(JsonBuilder *b)
{
    begin(b, JSON_NODE_ARRAY);
}

void json_builder_end_array(JsonBuilder *b)
{
    end(b);
}

void json_builder_set_member_name(JsonBuilder *b, const char *name)
{
    g_free(b->name);
    b->name = g_strdup(name);
}

JsonNode *json_node_of_number(JsonValueType type, gint64 value)
{
    JsonNode *node = json_node_new(JSON_NODE_VALUE);

    node->value = type;
    node->number = value;
    return node;
}

void json_builder_add_string_value(JsonBuilder *b, const char *text)
{
    json_builder_add_value(b, text_node(text));
}

void json_builder_add_int_value(JsonBuilder *b, gint64 value)
{
    json_builder_add_value(b, json_node_of_number(JSON_TYPE_INT, value));
}

void json_builder_add_boolean_value(JsonBuilder *b, bool value)
{
    json_builder_add_value(b, json_node_of_number(JSON_TYPE_BOOLEAN, value));
}

void json_builder_add_null_value(JsonBuilder *b)
{
    json_builder_add_value(b, json_node_new(JSON_NODE_NULL));
}

JsonNode *json_builder_get_root(JsonBuilder *b)
{
    return b->root ? json_node_ref(b->root) : NULL;
}
