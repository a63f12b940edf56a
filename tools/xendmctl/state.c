/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xendmctl state show, diff, extract. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "stream.h"

static struct stream *load(const char *path)
{
    GError *err = NULL;
    GByteArray *bytes = stream_read(path, &err);
    struct stream *s = NULL;

    if (bytes) {
        s = stream_decode(bytes->data, bytes->len, &err);
        if (!s) {
            g_prefix_error(&err, "%s: ", path);
        }
        g_byte_array_unref(bytes);
    }
    if (!s) {
        fprintf(stderr, "xendmctl: %s\n", err->message);
        g_error_free(err);
    }
    return s;
}

/* ---- show ---- */

static void json_string(FILE *f, const char *text)
{
    fputc('"', f);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\') {
            fprintf(f, "\\%c", *p);
        } else if (*p < 0x20 || *p > 0x7e) {
            fprintf(f, "\\u%04x", *p);
        } else {
            fputc(*p, f);
        }
    }
    fputc('"', f);
}

static void show_node(const struct node *n, int indent)
{
    static const char brackets[][2] = {
        [NODE_VALUES] = {'[', ']'}, [NODE_PAYLOAD] = {'{', '}'}, [NODE_STRUCTS] = {'[', ']'}};

    if (n->kind == NODE_VALUE) {
        fputs(n->value, stdout);
        return;
    }
    if (n->kind == NODE_STRUCTS && n->children->len == 1) {
        show_node(g_ptr_array_index(n->children, 0),
                  indent); /* a structure, not an array of them */
        return;
    }
    putchar(brackets[n->kind][0]);
    for (guint i = 0; i < n->children->len; i++) {
        const struct node *child = g_ptr_array_index(n->children, i);

        if (n->kind == NODE_VALUES) {
            fputs(i ? ", " : "", stdout);
        } else {
            printf("%s\n%*s", i ? "," : "", indent + 2, "");
        }
        if (child->name) {
            json_string(stdout, child->name);
            fputs(": ", stdout);
        }
        show_node(child, indent + 2);
    }
    if (n->kind != NODE_VALUES) {
        printf("\n%*s", indent, "");
    }
    putchar(brackets[n->kind][1]);
}

static void show_text(const char *text)
{
    char **lines = g_strsplit(text, "\n", -1);

    fputs("  \"machine\": [", stdout);
    for (unsigned i = 0, n = 0; lines[i]; i++) {
        if (lines[i][0]) {
            fputs(n++ ? ",\n    " : "\n    ", stdout);
            json_string(stdout, lines[i]);
        }
    }
    fputs("\n  ],\n", stdout);
    g_strfreev(lines);
}

int state_show(int argc, char **argv)
{
    struct stream *s;

    if (argc != 1) {
        return -1;
    }
    s = load(argv[0]);
    if (!s) {
        return 1;
    }
    printf("{\n  \"format\": %u,\n  \"bytes\": %zu,\n", s->format, s->size);
    show_text(s->text);
    if (s->hash) {
        printf("  \"machine-sha256\": \"%s\",\n", s->hash);
    }
    fputs("  \"records\": [", stdout);
    for (guint i = 0; i < s->records->len; i++) {
        const struct record *r = g_ptr_array_index(s->records, i);

        fputs(i ? ",\n    {\"device\": " : "\n    {\"device\": ", stdout);
        json_string(stdout, r->device);
        fputs(", \"section\": ", stdout);
        json_string(stdout, r->section);
        printf(", \"version\": %u, \"fields\": ", r->payload->version);
        show_node(r->payload, 4);
        putchar('}');
    }
    fputs("\n  ]\n}\n", stdout);
    stream_free(s);
    return 0;
}

/* ---- diff ---- */

/* path -> value, and the paths in order */
struct flat {
    GHashTable *values;
    GPtrArray *paths;
};

static void flat_add(struct flat *f, const char *path, const char *value)
{
    char *key = g_strdup(path);

    if (!g_hash_table_insert(f->values, key, g_strdup(value))) {
        return; /* twice in a stream: the loader would refuse it, the last one is shown */
    }
    g_ptr_array_add(f->paths, key);
}

static void flatten(struct flat *f, const struct node *n, const char *path)
{
    char *inner;

    if (n->kind == NODE_VALUE) {
        flat_add(f, path, n->value);
        return;
    }
    if (n->kind == NODE_PAYLOAD) {
        char *version = g_strdup_printf("%u", n->version);

        inner = g_strdup_printf("%s (version)", path);
        flat_add(f, inner, version);
        g_free(inner);
        g_free(version);
    }
    for (guint i = 0; i < n->children->len; i++) {
        const struct node *child = g_ptr_array_index(n->children, i);

        inner = child->name ? g_strdup_printf("%s.%s", path, child->name)
                : n->kind == NODE_STRUCTS && n->children->len == 1
                    ? g_strdup(path)
                    : g_strdup_printf("%s[%u]", path, i);
        flatten(f, child, inner);
        g_free(inner);
    }
}

static struct flat flat_new(const struct stream *s)
{
    struct flat f = {
        .values = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free),
        .paths = g_ptr_array_new(),
    };

    for (guint i = 0; i < s->records->len; i++) {
        const struct record *r = g_ptr_array_index(s->records, i);
        char *path = g_strdup_printf("%s:%s", r->device[0] ? r->device : "machine", r->section);

        flatten(&f, r->payload, path);
        g_free(path);
    }
    return f;
}

static void flat_free(struct flat *f)
{
    g_ptr_array_unref(f->paths);
    g_hash_table_unref(f->values);
}

/* Of long byte strings only the neighbourhood of the first difference. */
static void print_change(const char *path, const char *a, const char *b)
{
    size_t same = 0, la = strlen(a), lb = strlen(b);

    if (la <= 80 && lb <= 80) {
        printf("%s: %s -> %s\n", path, a, b);
        return;
    }
    while (a[same] && a[same] == b[same]) {
        same++;
    }
    same = same ? (same - 1) & ~(size_t)1 : 0; /* behind the quotation mark, whole bytes */
    printf("%s: from byte %zu: %.32s... -> %.32s... (%zu and %zu bytes)\n", path, same / 2,
           a + 1 + MIN(same, la - 1), b + 1 + MIN(same, lb - 1), la / 2 - 1, lb / 2 - 1);
}

int state_diff(int argc, char **argv)
{
    struct stream *a, *b;
    struct flat fa, fb;
    unsigned changes = 0;

    if (argc != 2) {
        return -1;
    }
    a = load(argv[0]);
    b = a ? load(argv[1]) : NULL;
    if (!a || !b) {
        stream_free(a);
        return 2;
    }
    fa = flat_new(a);
    fb = flat_new(b);
    for (guint i = 0; i < fa.paths->len; i++) {
        const char *path = g_ptr_array_index(fa.paths, i),
                   *va = g_hash_table_lookup(fa.values, path),
                   *vb = g_hash_table_lookup(fb.values, path);

        if (!vb) {
            printf("%s: %.60s -> (not there)\n", path, va);
            changes++;
        } else if (strcmp(va, vb) != 0) {
            print_change(path, va, vb);
            changes++;
        }
    }
    for (guint i = 0; i < fb.paths->len; i++) {
        const char *path = g_ptr_array_index(fb.paths, i);

        if (!g_hash_table_contains(fa.values, path)) {
            printf("%s: (not there) -> %.60s\n", path,
                   (const char *)g_hash_table_lookup(fb.values, path));
            changes++;
        }
    }
    flat_free(&fa);
    flat_free(&fb);
    stream_free(a);
    stream_free(b);
    return changes ? 1 : 0;
}

/* ---- extract ---- */

int state_extract(int argc, char **argv)
{
    GError *err = NULL;
    GByteArray *bytes;
    bool ok;

    if (argc != 2) {
        return -1;
    }
    bytes = stream_read(argv[0], &err);
    ok = bytes && g_file_set_contents(argv[1], (const char *)bytes->data, bytes->len, &err);
    if (!ok) {
        fprintf(stderr, "xendmctl: %s\n", err->message);
        g_error_free(err);
    }
    if (bytes) {
        g_byte_array_unref(bytes);
    }
    return ok ? 0 : 1;
}
