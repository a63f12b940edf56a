/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Decoder of saved state; see stream.h and docs/state-format.md. */
#include <inttypes.h>
#include <string.h>

#include "stream.h"

#define DEPTH_MAX 16
#define DIGEST_SIZE 32
#define TIMER_OFF INT64_MIN

enum {
    RECORD_END = 0,
    RECORD_SECTION = 1,
    RECORD_DESCRIPTION = 2,
    RECORD_OPTIONAL = 0x80000000u,
};

struct reader {
    const uint8_t *data;
    size_t left;
};

void *stream_refuse(GError **err, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_propagate_error(err, g_error_new_valist(STREAM_ERROR, 1, fmt, ap));
    va_end(ap);
    return NULL;
}

static bool take(struct reader *r, size_t n, const uint8_t **bytes)
{
    if (r->left < n) {
        return false;
    }
    *bytes = r->data;
    r->data += n;
    r->left -= n;
    return true;
}

static uint64_t number(const uint8_t *p, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, p, size);
    return GUINT64_FROM_LE(value);
}

static bool take32(struct reader *r, uint32_t *value)
{
    const uint8_t *p;

    if (!take(r, 4, &p)) {
        return false;
    }
    *value = (uint32_t)number(p, 4);
    return true;
}

/* A counted, printable name, to be freed; NULL when it is none. */
static char *take_name(struct reader *r)
{
    const uint8_t *len, *p;

    if (!take(r, 1, &len) || !take(r, *len, &p)) {
        return NULL;
    }
    for (unsigned i = 0; i < *len; i++) {
        if (p[i] < 0x20 || p[i] > 0x7e) {
            return NULL;
        }
    }
    return g_strndup((const char *)p, *len);
}

/* ---- the tree ---- */

static void node_free(gpointer data)
{
    struct node *n = data;

    if (n) {
        g_free(n->name);
        g_free(n->value);
        if (n->children) {
            g_ptr_array_unref(n->children);
        }
        g_free(n);
    }
}

static struct node *node_new(enum node_kind kind, const char *name)
{
    struct node *n = g_new0(struct node, 1);

    n->kind = kind;
    n->name = g_strdup(name);
    n->children = kind == NODE_VALUE ? NULL : g_ptr_array_new_with_free_func(node_free);
    return n;
}

static struct node *node_value(const char *name, char *value)
{
    struct node *n = node_new(NODE_VALUE, name);

    n->value = value;
    return n;
}

static char *hex(const uint8_t *p, size_t len)
{
    GString *s = g_string_new("\"");

    for (size_t i = 0; i < len; i++) {
        g_string_append_printf(s, "%02x", p[i]);
    }
    g_string_append_c(s, '"');
    return g_string_free(s, FALSE);
}

static const struct {
    unsigned size;
    enum { UNSIGNED, SIGNED, TRUTH, TIMER } what;
} numbers[] = {
    [1] = {1, UNSIGNED}, [2] = {2, UNSIGNED}, [3] = {4, UNSIGNED},
    [4] = {8, UNSIGNED}, [5] = {4, SIGNED},   [6] = {8, SIGNED},
    [7] = {1, TRUTH},    [9] = {8, TIMER},    [10] = {1, UNSIGNED},
};

enum { WIRE_BYTES = 8, WIRE_STRUCT = 11, WIRE_SECTION = 12, WIRE_OPTIONAL = 0x80 };

static char *number_text(unsigned type, const uint8_t *p)
{
    uint64_t v = number(p, numbers[type].size);

    switch (numbers[type].what) {
    case TRUTH:
        return v > 1 ? g_strdup_printf("%" PRIu64, v) : g_strdup(v ? "true" : "false");
    case TIMER:
        if ((int64_t)v == TIMER_OFF) {
            return g_strdup("null");
        }
        return g_strdup_printf("%" PRId64, (int64_t)v);
    case SIGNED:
        return g_strdup_printf("%" PRId64,
                               numbers[type].size == 4 ? (int64_t)(int32_t)v : (int64_t)v);
    default:
        return g_strdup_printf("%" PRIu64, v);
    }
}

static struct node *decode_payload(const char *name, struct reader r, unsigned depth, GError **err);

static struct node *decode_structs(const char *name, struct reader r, unsigned depth, GError **err)
{
    struct node *n = node_new(NODE_STRUCTS, name);
    uint32_t count, len;
    const uint8_t *p;

    if (!take32(&r, &count)) {
        goto cut;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct node *element;

        if (!take32(&r, &len) || !take(&r, len, &p)) {
            goto cut;
        }
        element = decode_payload(NULL, (struct reader){.data = p, .left = len}, depth + 1, err);
        if (!element) {
            node_free(n);
            return NULL;
        }
        g_ptr_array_add(n->children, element);
    }
    if (r.left == 0) {
        return n;
    }
cut:
    node_free(n);
    return stream_refuse(err, "field %s: its structures do not fill it", name);
}

static struct node *decode_field(unsigned type, const char *name, struct reader r, unsigned depth,
                                 GError **err)
{
    struct node *n;

    type &= ~(unsigned)WIRE_OPTIONAL;
    if (type == WIRE_SECTION) {
        return decode_payload(name, r, depth + 1, err);
    }
    if (type == WIRE_STRUCT) {
        return decode_structs(name, r, depth, err);
    }
    if (type == WIRE_BYTES) {
        return node_value(name, hex(r.data, r.left));
    }
    if (type >= G_N_ELEMENTS(numbers) || numbers[type].size == 0) {
        return stream_refuse(err, "field %s has the unknown type %u", name, type);
    }
    if (r.left == 0 || r.left % numbers[type].size != 0) {
        return stream_refuse(err, "field %s of type %u has %zu bytes", name, type, r.left);
    }
    if (r.left == numbers[type].size) {
        return node_value(name, number_text(type, r.data));
    }
    n = node_new(NODE_VALUES, name);
    for (size_t at = 0; at < r.left; at += numbers[type].size) {
        g_ptr_array_add(n->children, node_value(NULL, number_text(type, r.data + at)));
    }
    return n;
}

static struct node *decode_payload(const char *name, struct reader r, unsigned depth, GError **err)
{
    struct node *n;
    uint32_t len;

    if (depth > DEPTH_MAX) {
        return stream_refuse(err, "structures are nested deeper than %u", DEPTH_MAX);
    }
    n = node_new(NODE_PAYLOAD, name);
    if (!take32(&r, &n->version)) {
        goto cut;
    }
    while (r.left > 0) {
        const uint8_t *type, *p;
        char *field_name;
        struct node *field;

        if (!take(&r, 1, &type) || !(field_name = take_name(&r))) {
            goto cut;
        }
        if (!take32(&r, &len) || !take(&r, len, &p)) {
            stream_refuse(err, "field %s is cut short", field_name);
            g_free(field_name);
            node_free(n);
            return NULL;
        }
        field =
            decode_field(*type, field_name, (struct reader){.data = p, .left = len}, depth, err);
        g_free(field_name);
        if (!field) {
            node_free(n);
            return NULL;
        }
        g_ptr_array_add(n->children, field);
    }
    return n;

cut:
    node_free(n);
    return stream_refuse(err, "a field is cut short or has no readable name");
}

/* ---- the frame ---- */

static void record_free(gpointer data)
{
    struct record *r = data;

    g_free(r->device);
    g_free(r->section);
    node_free(r->payload);
    g_free(r);
}

void stream_free(struct stream *s)
{
    if (s) {
        g_free(s->text);
        g_free(s->hash);
        g_ptr_array_unref(s->records);
        g_free(s);
    }
}

static bool decode_section(struct stream *s, struct reader r, size_t at, GError **err)
{
    struct record *record = g_new0(struct record, 1);

    g_ptr_array_add(s->records, record);
    record->device = take_name(&r);
    record->section = record->device ? take_name(&r) : NULL;
    if (!record->section) {
        stream_refuse(err, "the record at byte %zu has no readable name", at);
        return false;
    }
    record->payload = decode_payload(NULL, r, 0, err);
    if (!record->payload) {
        g_prefix_error(err, "record %s of %s: ", record->section,
                       record->device[0] ? record->device : "the machine");
    }
    return record->payload != NULL;
}

static bool checksum_is(const uint8_t *data, size_t len, const uint8_t *wanted)
{
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    uint8_t got[DIGEST_SIZE];
    gsize size = sizeof(got);

    g_checksum_update(sum, data, (gssize)len);
    g_checksum_get_digest(sum, got, &size);
    g_checksum_free(sum);
    return memcmp(got, wanted, DIGEST_SIZE) == 0;
}

/* The hash covers the description's lines after the first, which names the program. */
static bool decode_description(struct stream *s, const uint8_t *hash, size_t len, GError **err)
{
    const char *end = memchr(s->text, '\n', s->text_len);
    const uint8_t *lines = (const uint8_t *)(end ? end + 1 : "");
    size_t left = end ? s->text_len - (size_t)(end + 1 - s->text) : 0;

    if (len != DIGEST_SIZE || !checksum_is(lines, left, hash)) {
        stream_refuse(err, "the machine's description does not match its hash");
        return false;
    }
    g_free(s->hash);
    s->hash = g_compute_checksum_for_data(G_CHECKSUM_SHA256, lines, left);
    return true;
}

static bool decode_records(struct stream *s, const uint8_t *data, struct reader *r, GError **err)
{
    for (;;) {
        size_t at = (size_t)(r->data - data);
        uint32_t type, len;
        const uint8_t *p;

        if (!take32(r, &type) || !take32(r, &len) || !take(r, len, &p)) {
            stream_refuse(err, "the record at byte %zu is cut short", at);
            return false;
        }
        if (type == RECORD_END) {
            if (len != DIGEST_SIZE || !checksum_is(data, at, p)) {
                stream_refuse(err, "the checksum is wrong");
            } else if (r->left > 0) {
                stream_refuse(err, "%zu bytes follow the end", r->left);
            } else {
                return true;
            }
            return false;
        }
        if ((type & ~RECORD_OPTIONAL) == RECORD_SECTION) {
            if (!decode_section(s, (struct reader){.data = p, .left = len}, at, err)) {
                return false;
            }
        } else if ((type & ~RECORD_OPTIONAL) == RECORD_DESCRIPTION) {
            if (!decode_description(s, p, len, err)) {
                return false;
            }
        } else if (!(type & RECORD_OPTIONAL)) {
            stream_refuse(err, "the record at byte %zu has the unknown type %u", at, type);
            return false;
        }
    }
}

struct stream *stream_decode(const uint8_t *data, size_t len, GError **err)
{
    struct reader r = {.data = data, .left = len};
    struct stream *s;
    uint32_t mark, text_len;
    const uint8_t *p;

    if (!take(&r, 8, &p) || memcmp(p, "XENDMSAV", 8) != 0) {
        return stream_refuse(err, "not a state saved by xendm: it does not begin with XENDMSAV");
    }
    s = g_new0(struct stream, 1);
    s->size = len;
    s->records = g_ptr_array_new_with_free_func(record_free);
    if (!take32(&r, &s->format) || !take32(&r, &mark) || !take32(&r, &text_len)) {
        stream_refuse(err, "the preamble is cut short");
    } else if (s->format != 1) {
        stream_refuse(err, "format version %u is not known, only 1", s->format);
    } else if (mark != 0x01020304) {
        stream_refuse(err, "the byte order mark is 0x%08x", mark);
    } else if (!take(&r, text_len, &p)) {
        stream_refuse(err, "the machine's description is cut short");
    } else {
        s->text = g_malloc0((gsize)text_len + 1);
        memcpy(s->text, p, text_len);
        s->text_len = text_len;
        if (decode_records(s, data, &r, err)) {
            return s;
        }
    }
    stream_free(s);
    return NULL;
}
