/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON's text: RFC 8259, read strictly; written on one line, or pretty, two blanks a level. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <xendm/error.h>
#include <xendm/json.h>

#include "json-internal.h"

/* ---- reading ---- */

struct reader {
    const char *at;
    unsigned depth;
    const char *wrong;
};

static JsonNode *read_value(struct reader *r);

static void skip_blanks(struct reader *r)
{
    r->at += strspn(r->at, " \t\r\n");
}

static bool take(struct reader *r, const char *word)
{
    size_t len = strlen(word);

    skip_blanks(r);
    if (strncmp(r->at, word, len) != 0) {
        return false;
    }
    r->at += len;
    return true;
}

static void *fail(struct reader *r, const char *why)
{
    r->wrong = r->wrong ? r->wrong : why;
    return NULL;
}

static int read_unit(struct reader *r)
{
    int unit = 0;

    for (int i = 0; i < 4; i++, r->at++) {
        int digit = g_ascii_xdigit_value(*r->at);

        if (digit < 0) {
            return -1;
        }
        unit = unit << 4 | digit;
    }
    return unit;
}

/* Behind "\u"; two of them for what is beyond 0xffff. A NUL has no place in a C string. */
static bool read_escaped_unit(struct reader *r, GString *out)
{
    int high = read_unit(r), low;

    if (high >= 0xd800 && high < 0xdc00 && r->at[0] == '\\' && r->at[1] == 'u') {
        r->at += 2;
        low = read_unit(r);
        if (low < 0xdc00 || low > 0xdfff) {
            return false;
        }
        high = 0x10000 + ((high - 0xd800) << 10 | (low - 0xdc00));
    }
    if (high <= 0 || (high >= 0xd800 && high < 0xe000)) {
        return false;
    }
    g_string_append_unichar(out, (gunichar)high);
    return true;
}

static bool read_escape(struct reader *r, GString *out)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *found = *r->at ? strchr(names, *r->at) : NULL;

    if (*r->at == 'u') {
        r->at++;
        return read_escaped_unit(r, out);
    }
    if (!found) {
        return false;
    }
    g_string_append_c(out, values[found - names]);
    r->at++;
    return true;
}

/* NULL: it is none. */
static char *read_string(struct reader *r)
{
    GString *out;

    if (!take(r, "\"")) {
        return fail(r, "a string is missing");
    }
    out = g_string_new(NULL);
    while (*r->at != '"') {
        if ((guchar)*r->at < 0x20) { /* the end of the text, too */
            fail(r, "a string does not end");
            break;
        }
        if (*r->at != '\\') {
            g_string_append_c(out, *r->at++);
            continue;
        }
        r->at++;
        if (!read_escape(r, out)) {
            fail(r, "an escape in a string is none");
            break;
        }
    }
    if (!r->wrong && !g_utf8_validate(out->str, (gssize)out->len, NULL)) {
        fail(r, "a string is not UTF-8");
    }
    r->at += !r->wrong;
    return g_string_free(out, r->wrong != NULL);
}

static size_t digits(const char *p)
{
    return strspn(p, "0123456789");
}

/* Length of a number by the grammar; `whole`: it has neither point nor exponent. 0: it is none. */
static size_t number_length(const char *p, bool *whole)
{
    const char *at = p + (*p == '-');
    size_t n = digits(at);

    *whole = true;
    if (n == 0 || (at[0] == '0' && n > 1)) {
        return 0;
    }
    at += n;
    if (*at == '.') {
        n = digits(++at);
        at += n;
        *whole = false;
    }
    if (n > 0 && (*at == 'e' || *at == 'E')) {
        at++;
        at += *at == '+' || *at == '-';
        n = digits(at);
        at += n;
        *whole = false;
    }
    return n > 0 ? (size_t)(at - p) : 0;
}

static JsonNode *read_number(struct reader *r)
{
    bool whole;
    size_t len = number_length(r->at, &whole);
    gint64 value;
    JsonNode *node;

    if (len == 0) {
        return fail(r, "a value is missing");
    }
    errno = 0;
    value = g_ascii_strtoll(r->at, NULL, 10);
    node = json_node_of_number(JSON_TYPE_INT, value);
    if (!whole || errno == ERANGE) {
        node->value = JSON_TYPE_DOUBLE;
        node->number = 0;
        node->real = g_ascii_strtod(r->at, NULL);
    }
    r->at += len;
    return node;
}

static JsonNode *read_array(struct reader *r)
{
    JsonNode *node = json_node_new(JSON_NODE_ARRAY);

    if (take(r, "]")) {
        return node;
    }
    do {
        JsonNode *element = read_value(r);

        if (element) {
            g_ptr_array_add(node->array.elements, element);
        }
    } while (!r->wrong && take(r, ","));
    if (r->wrong || !take(r, "]")) {
        json_node_unref(node);
        return fail(r, "an array does not end");
    }
    return node;
}

static bool read_member(struct reader *r, JsonObject *object)
{
    g_autofree char *name = read_string(r);
    JsonNode *node;

    if (!name || !take(r, ":")) {
        fail(r, "a member has no value");
        return false;
    }
    node = read_value(r);
    if (node) {
        json_object_set_member(object, name, node);
    }
    return node != NULL;
}

static JsonNode *read_object(struct reader *r)
{
    JsonNode *node = json_node_new(JSON_NODE_OBJECT);

    if (take(r, "}")) {
        return node;
    }
    while (read_member(r, node->object) && take(r, ",")) {
    }
    if (r->wrong || !take(r, "}")) {
        json_node_unref(node);
        return fail(r, "an object does not end");
    }
    return node;
}

static JsonNode *read_container(struct reader *r, JsonNode *(*read)(struct reader *r))
{
    JsonNode *node;

    if (r->depth == JSON_DEPTH_MAX) {
        return fail(r, "it is too deep");
    }
    r->depth++;
    node = read(r);
    r->depth--;
    return node;
}

static JsonNode *read_text(struct reader *r)
{
    g_autofree char *text = read_string(r);
    JsonNode *node = text ? json_node_new(JSON_NODE_VALUE) : NULL;

    if (node) {
        json_node_set_string(node, text);
    }
    return node;
}

static JsonNode *read_value(struct reader *r)
{
    if (take(r, "{")) {
        return read_container(r, read_object);
    }
    if (take(r, "[")) {
        return read_container(r, read_array);
    }
    if (take(r, "true")) {
        return json_node_of_number(JSON_TYPE_BOOLEAN, 1);
    }
    if (take(r, "false")) {
        return json_node_of_number(JSON_TYPE_BOOLEAN, 0);
    }
    if (take(r, "null")) {
        return json_node_new(JSON_NODE_NULL);
    }
    return *r->at == '"' ? read_text(r) : read_number(r);
}

JsonNode *json_from_string(const char *text, GError **err)
{
    struct reader r = {.at = text};
    JsonNode *node = read_value(&r);

    skip_blanks(&r);
    if (node && *r.at) {
        json_node_unref(node);
        node = fail(&r, "something follows it");
    }
    if (!node) {
        g_set_error(err, XENDM_ERROR, EINVAL, "no JSON: %s, at byte %zu", r.wrong,
                    (size_t)(r.at - text));
    }
    return node;
}

/* ---- writing ---- */

static void write_string(GString *out, const char *text)
{
    static const char plain[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";

    g_string_append_c(out, '"');
    for (; *text; text++) {
        const char *found = strchr(plain, *text);

        if (found) {
            g_string_append_printf(out, "\\%c", names[found - plain]);
        } else if ((guchar)*text < 0x20 || *text == 0x7f) {
            g_string_append_printf(out, "\\u%04x", (guchar)*text);
        } else {
            g_string_append_c(out, *text);
        }
    }
    g_string_append_c(out, '"');
}

static void write_scalar(GString *out, const JsonNode *node)
{
    char number[G_ASCII_DTOSTR_BUF_SIZE];

    switch (node->value) {
    case JSON_TYPE_STRING:
        write_string(out, node->text);
        break;
    case JSON_TYPE_INT:
        g_string_append_printf(out, "%" G_GINT64_FORMAT, node->number);
        break;
    case JSON_TYPE_DOUBLE:
        g_string_append(out, g_ascii_dtostr(number, sizeof(number), node->real));
        break;
    case JSON_TYPE_BOOLEAN:
        g_string_append(out, node->number ? "true" : "false");
        break;
    case JSON_TYPE_NONE:
        g_string_append(out, "null");
        break;
    }
}

static void new_line(GString *out, bool pretty, unsigned level)
{
    if (pretty) {
        g_string_append_printf(out, "\n%*s", (int)(2 * level), "");
    }
}

/* Its depth is that of what was built or read, which is bounded. */
static void write_node(GString *out, const JsonNode *node, bool pretty, unsigned level)
{
    bool object = node->type == JSON_NODE_OBJECT;
    guint n;

    if (!object && node->type != JSON_NODE_ARRAY) {
        write_scalar(out, node);
        return;
    }
    n = object ? json_object_get_size(node->object) : json_array_get_length(&node->array);
    g_string_append_c(out, object ? '{' : '[');
    for (guint i = 0; i < n; i++) {
        JsonNode *child = object ? NULL : json_array_get_element(&node->array, i);

        g_string_append(out, i > 0 ? "," : "");
        new_line(out, pretty, level + 1);
        if (object) {
            write_string(out, json_object_at(node->object, i, &child));
            g_string_append(out, pretty ? " : " : ":");
        }
        write_node(out, child, pretty, level + 1);
    }
    if (n > 0) {
        new_line(out, pretty, level);
    }
    g_string_append_c(out, object ? '}' : ']');
}

char *json_to_string(const JsonNode *node, bool pretty)
{
    GString *out = g_string_new(NULL);

    write_node(out, node, pretty, 0);
    return g_string_free(out, FALSE);
}
