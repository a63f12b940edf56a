/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The text of one command, before json_from_string() sees it: checked against the grammar that
 * QMP's specification has (JSON, and strings in single quotes too), and written anew in the one
 * form on which everybody agrees. An "id" never goes through numbers and strings of ours: it is cut
 * out as text and echoed as it was.
 *
 * Recursion is bounded by the scanner (QMP_DEPTH_MAX).
 */
#include <string.h>

#include "internal.h"

struct reader {
    const char *at, *end;
    GString *out;
    unsigned depth;
    bool exact; /* inside the id: nothing of ours may be lost */
    char *id;
    unsigned members; /* of the outer object */
    const char *wrong;
};

static bool wrong(struct reader *r, const char *why)
{
    r->wrong = why;
    return false;
}

static char peek(const struct reader *r)
{
    return r->at < r->end ? *r->at : '\0';
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && strchr(" \t\r\n", *r->at) && *r->at) {
        r->at++;
    }
}

/* The blanks, then `c`? */
static bool take(struct reader *r, char c)
{
    skip_blanks(r);
    if (peek(r) != c) {
        return false;
    }
    r->at++;
    return true;
}

/* ---- strings ---- */

static int read_hex(struct reader *r)
{
    int unit = 0;

    for (int i = 0; i < 4; i++) {
        int digit = g_ascii_xdigit_value(peek(r));

        if (digit < 0) {
            return -1;
        }
        unit = unit << 4 | digit;
        r->at++;
    }
    return unit;
}

/* Behind "\u". Half of a surrogate pair is no character. */
static bool read_unicode(struct reader *r)
{
    const char *begin = r->at - 2;
    int unit = read_hex(r), low;

    if (unit < 0) {
        return wrong(r, "\\u is followed by four hexadecimal digits");
    }
    if (unit >= 0xd800 && unit < 0xe000) {
        if (unit >= 0xdc00 || peek(r) != '\\' || r->end - r->at < 6 || r->at[1] != 'u') {
            return wrong(r, "half of a surrogate pair is no character");
        }
        r->at += 2;
        low = read_hex(r);
        if (low < 0xdc00 || low >= 0xe000) {
            return wrong(r, "half of a surrogate pair is no character");
        }
    }
    if (unit == 0 && !r->exact) {
        return wrong(r, "a string with a NUL in it is of no use");
    }
    g_string_append_len(r->out, begin, r->at - begin);
    return true;
}

static bool read_escape(struct reader *r)
{
    char c = peek(r);

    r->at++;
    switch (c) {
    case 'u':
        return read_unicode(r);
    case '\'':
        g_string_append_c(r->out, c);
        return true;
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        g_string_append_c(r->out, '\\');
        g_string_append_c(r->out, c);
        return true;
    default:
        return wrong(r, "there is no such escape in a string");
    }
}

static bool read_string(struct reader *r)
{
    char quote = *r->at++;

    g_string_append_c(r->out, '"');
    while (r->at < r->end && *r->at != quote) {
        char c = *r->at++;

        if (c == '\\') {
            if (!read_escape(r)) {
                return false;
            }
        } else if (c == '"') {
            g_string_append(r->out, "\\\"");
        } else {
            g_string_append_c(r->out, c);
        }
    }
    if (r->at == r->end) {
        return wrong(r, "a string has no end");
    }
    r->at++;
    g_string_append_c(r->out, '"');
    return true;
}

/* ---- numbers and words ---- */

static bool read_digits(struct reader *r)
{
    const char *begin = r->at;

    while (g_ascii_isdigit(peek(r))) {
        r->at++;
    }
    return r->at > begin;
}

/*
 * No argument takes a fraction or an integer beyond 64 bits: what is one stays no integer, and
 * cannot turn into another number on its way.
 */
static bool read_number(struct reader *r)
{
    const char *begin = r->at;
    g_autofree char *text = NULL;
    bool integer = true;
    gint64 value;

    if (peek(r) == '-') {
        r->at++;
    }
    if (peek(r) == '0') {
        r->at++;
    } else if (!read_digits(r)) {
        return wrong(r, "this is no number");
    }
    if (peek(r) == '.') {
        integer = false;
        r->at++;
        if (!read_digits(r)) {
            return wrong(r, "this is no number");
        }
    }
    if (peek(r) == 'e' || peek(r) == 'E') {
        integer = false;
        r->at++;
        if (peek(r) == '+' || peek(r) == '-') {
            r->at++;
        }
        if (!read_digits(r)) {
            return wrong(r, "this is no number");
        }
    }
    text = g_strndup(begin, (gsize)(r->at - begin));
    if (r->exact ||
        (integer && g_ascii_string_to_signed(text, 10, G_MININT64, G_MAXINT64, &value, NULL))) {
        g_string_append(r->out, text);
    } else {
        g_string_append(r->out, "0.5");
    }
    return true;
}

static bool read_word(struct reader *r)
{
    static const char *const words[] = {"true", "false", "null"};

    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        size_t len = strlen(words[i]);

        if ((size_t)(r->end - r->at) >= len && memcmp(r->at, words[i], len) == 0) {
            r->at += len;
            g_string_append(r->out, words[i]);
            return true;
        }
    }
    return wrong(r, "this is no JSON");
}

/* ---- values ---- */

static bool read_value(struct reader *r);

/* The value of the outer object's "id". */
static bool read_id(struct reader *r)
{
    gsize begin = r->out->len;

    if (r->id) {
        return wrong(r, "there are two ids");
    }
    r->exact = true;
    if (!read_value(r)) {
        return false;
    }
    r->exact = false;
    r->id = g_strdup(r->out->str + begin);
    g_string_truncate(r->out, begin);
    g_string_append(r->out, "null");
    return true;
}

static bool read_member(struct reader *r)
{
    gsize name = r->out->len;
    bool id;

    skip_blanks(r);
    if (peek(r) != '"' && peek(r) != '\'') {
        return wrong(r, "a member's name is a string");
    }
    if (!read_string(r)) {
        return false;
    }
    id = r->depth == 1 && strcmp(r->out->str + name, "\"id\"") == 0;
    if (!take(r, ':')) {
        return wrong(r, "a member's name is followed by a colon");
    }
    g_string_append_c(r->out, ':');
    r->members += r->depth == 1;
    return id ? read_id(r) : read_value(r);
}

/* Behind the opening bracket. */
static bool read_items(struct reader *r, char close, bool (*item)(struct reader *r))
{
    if (take(r, close)) {
        return true;
    }
    do {
        if (!item(r)) {
            return false;
        }
        if (take(r, close)) {
            return true;
        }
        g_string_append_c(r->out, ',');
    } while (take(r, ','));
    return wrong(r, "this is no JSON");
}

static bool read_compound(struct reader *r, char close, bool (*item)(struct reader *r))
{
    bool ok;

    if (r->depth == QMP_DEPTH_MAX) {
        return wrong(r, "nested too deeply");
    }
    g_string_append_c(r->out, *r->at++);
    r->depth++;
    ok = read_items(r, close, item);
    r->depth--;
    g_string_append_c(r->out, close);
    return ok;
}

static bool read_value(struct reader *r)
{
    skip_blanks(r);
    switch (peek(r)) {
    case '{':
        return read_compound(r, '}', read_member);
    case '[':
        return read_compound(r, ']', read_value);
    case '"':
    case '\'':
        return read_string(r);
    case '-':
    case '0' ... '9':
        return read_number(r);
    default:
        return read_word(r);
    }
}

bool qmp_json_read(const char *text, gsize len, struct qmp_json *json)
{
    struct reader r = {.at = text, .end = text + len, .out = g_string_sized_new(len)};

    if (!g_utf8_validate(text, (gssize)len, NULL)) {
        wrong(&r, "this is no UTF-8");
    } else if (read_value(&r)) {
        skip_blanks(&r);
        if (r.at != r.end) {
            wrong(&r, "this is no JSON");
        }
    }
    json->text = g_string_free(r.out, FALSE);
    json->id = r.id;
    json->members = r.members;
    json->wrong = r.wrong;
    return !r.wrong;
}

void qmp_json_clear(struct qmp_json *json)
{
    g_free(json->text);
    g_free(json->id);
}

/* `message`, an object with members, with an id as its last. */
char *qmp_json_with_id(JsonNode *message, const char *id)
{
    char *text = json_to_string(message, FALSE), *whole;

    if (!id) {
        return text;
    }
    text[strlen(text) - 1] = '\0';
    whole = g_strconcat(text, ",\"id\":", id, "}", NULL);
    g_free(text);
    return whole;
}
