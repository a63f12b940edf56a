/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xendmctl status, top, metrics: what the status pages say, for people and for programs. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "page.h"

/* ---- a line a guest ---- */

struct sums {
    int64_t accesses, read, written, packets;
};

static void add_drive(void *opaque, const char *group, const char *id, JsonObject *facts)
{
    struct sums *s = opaque;

    s->read += json_object_get_int_member(facts, "bytes read");
    s->written += json_object_get_int_member(facts, "bytes written");
}

static void add_net(void *opaque, const char *group, const char *id, JsonObject *facts)
{
    struct sums *s = opaque;

    s->packets += json_object_get_int_member(facts, "sent frames") +
                  json_object_get_int_member(facts, "received frames");
}

static struct sums sums_of(const struct page *page)
{
    static const char *const accesses[] = {"pio reads",   "pio writes",   "mmio reads",
                                           "mmio writes", "config reads", "config writes",
                                           "strings",     "buffered"};
    struct sums s = {0};

    for (unsigned i = 0; i < G_N_ELEMENTS(accesses); i++) {
        s.accesses += page_int(page, "ioreq", accesses[i]);
    }
    page_foreach(page, "block", add_drive, &s);
    page_foreach(page, "net", add_net, &s);
    return s;
}

/* What the process does right now. */
static char *doing(const struct page *page)
{
    g_autofree char *source = NULL;

    if (!page->served) {
        return g_strdup("gone, and did not say so");
    }
    if (page->raw.turn.begin == 0) {
        return g_strdup("sleeps");
    }
    source = page_clean(page->raw.turn.source);
    return g_strdup_printf("%.3f s in %s", page_age(page, page->raw.turn.begin), source);
}

static void line_head(void)
{
    printf("%5s %-20s %7s %-10s %10s %9s %9s %9s  %s\n", "ID", "NAME", "PID", "STATE", "ACCESSES",
           "READ MB", "WRITE MB", "FRAMES", "LOOP");
}

/* `per`: seconds that the differences are of; 0: totals. */
static void line(const struct page *page, const struct sums *before, double per)
{
    g_autofree char *name = page_clean(page->raw.name),
                    *state = page_text(page, "machine", "state"), *now = doing(page);
    struct sums s = sums_of(page);
    double d = per > 0 ? per : 1;

    printf("%5u %-20.20s %7d %-10.10s %10.0f %9.1f %9.1f %9.0f  %s\n", page->raw.domid, name,
           page->raw.pid, state, (double)(s.accesses - before->accesses) / d,
           (double)(s.read - before->read) / d / 1e6,
           (double)(s.written - before->written) / d / 1e6,
           (double)(s.packets - before->packets) / d, now);
}

static void list(void)
{
    static const struct sums none;
    g_autoptr(GPtrArray) pages = pages_read();

    line_head();
    for (guint i = 0; i < pages->len; i++) {
        line(g_ptr_array_index(pages, i), &none, 0);
    }
}

/* ---- a guest ---- */

static char *value_text(JsonNode *node)
{
    if (!JSON_NODE_HOLDS_VALUE(node)) {
        return g_strdup("?");
    }
    if (json_node_get_value_type(node) == JSON_TYPE_STRING) {
        return page_clean(json_node_get_string(node));
    }
    if (json_node_get_value_type(node) == JSON_TYPE_BOOLEAN) {
        return g_strdup(json_node_get_boolean(node) ? "yes" : "no");
    }
    return g_strdup_printf("%" PRId64, (int64_t)json_node_get_int(node));
}

/* What is 0 or empty says nothing to a person. */
static void show_group(JsonObject *facts)
{
    g_autoptr(GList) names = json_object_get_members(facts);

    for (const GList *l = names; l; l = l->next) {
        g_autofree char *name = page_clean(l->data),
                        *text = value_text(json_object_get_member(facts, l->data));

        if (*text && strcmp(text, "0") != 0) {
            printf("  %-36s %s\n", name, text);
        }
    }
}

static void show(const struct page *page)
{
    g_autoptr(GList) groups = json_object_get_members(json_node_get_object(page->facts));
    g_autofree char *name = page_clean(page->raw.name), *version = page_clean(page->raw.version),
                    *now = doing(page);

    printf("guest %u '%s', by xendm %s, process %d; loop: %s\n", page->raw.domid, name, version,
           page->raw.pid, now);
    if (page->raw.when) {
        printf("what follows is of %.1f s ago\n", page_age(page, (int64_t)page->raw.when));
    }
    for (const GList *l = groups; l; l = l->next) {
        g_autofree char *group = page_clean(l->data);

        if (page_group(page, l->data)) {
            printf("%s\n", group);
            show_group(page_group(page, l->data));
        }
    }
}

/* How long the turn lasts that is under way. */
static int64_t turn_ms(const struct page *page)
{
    return page->raw.turn.begin ? (int64_t)(page_age(page, page->raw.turn.begin) * 1000) : 0;
}

static void add_json(JsonBuilder *b, const struct page *page)
{
    g_autofree char *name = page_clean(page->raw.name), *version = page_clean(page->raw.version),
                    *source = page_clean(page->raw.turn.source);

    json_builder_begin_object(b);
    json_builder_set_member_name(b, "domid");
    json_builder_add_int_value(b, page->raw.domid);
    json_builder_set_member_name(b, "name");
    json_builder_add_string_value(b, name);
    json_builder_set_member_name(b, "pid");
    json_builder_add_int_value(b, page->raw.pid);
    json_builder_set_member_name(b, "version");
    json_builder_add_string_value(b, version);
    json_builder_set_member_name(b, "served");
    json_builder_add_boolean_value(b, page->served);
    json_builder_set_member_name(b, "turn-milliseconds");
    json_builder_add_int_value(b, turn_ms(page));
    json_builder_set_member_name(b, "turn-of");
    json_builder_add_string_value(b, source);
    json_builder_set_member_name(b, "facts");
    json_builder_add_value(b, json_node_ref(page->facts));
    json_builder_end_object(b);
}

static void print_json(GPtrArray *pages, const struct page *one)
{
    g_autoptr(JsonBuilder) b = json_builder_new();
    g_autoptr(JsonNode) root = NULL;
    g_autofree char *text = NULL;

    if (one) {
        add_json(b, one);
    } else {
        json_builder_begin_array(b);
        for (guint i = 0; i < pages->len; i++) {
            add_json(b, g_ptr_array_index(pages, i));
        }
        json_builder_end_array(b);
    }
    root = json_builder_get_root(b);
    text = json_to_string(root, TRUE);
    puts(text);
}

int status_main(int argc, char **argv)
{
    bool json = argc > 0 && strcmp(argv[argc - 1], "--json") == 0;
    const char *guest = argc - json > 0 ? argv[0] : NULL;
    g_autoptr(GPtrArray) pages = NULL;
    g_autoptr(page_t) page = NULL;

    if (argc - json > 1 || (guest && guest[0] == '-')) {
        return -1;
    }
    if (guest) {
        page = page_of_guest(guest);
        if (!page) {
            return 1;
        }
    } else {
        pages = pages_read();
    }
    if (json) {
        print_json(pages, page);
    } else if (page) {
        show(page);
    } else {
        list();
    }
    return 0;
}

/* ---- top ---- */

static const struct sums *sums_before(GPtrArray *before, const struct page *page,
                                      struct sums *space)
{
    *space = sums_of(page); /* a guest that is new has done nothing yet */
    for (guint i = 0; before && i < before->len; i++) {
        const struct page *old = g_ptr_array_index(before, i);

        if (old->raw.domid == page->raw.domid && old->raw.since == page->raw.since) {
            *space = sums_of(old);
        }
    }
    return space;
}

int top_main(int argc, char **argv)
{
    g_autoptr(GPtrArray) before = NULL;
    int64_t rounds = -1;
    bool clear = isatty(STDOUT_FILENO);

    if (argc == 2 && strcmp(argv[0], "-n") == 0) {
        rounds = g_ascii_strtoll(argv[1], NULL, 10);
    }
    if ((argc != 0 && rounds < 0) || rounds == 0) {
        return -1;
    }
    before = pages_read();
    for (; rounds != 0; rounds -= rounds > 0) {
        g_autoptr(GPtrArray) pages = NULL;
        int64_t began = g_get_monotonic_time();

        sleep(1);
        pages = pages_read();
        printf("%s", clear ? "\033[H\033[2J" : "");
        line_head();
        for (guint i = 0; i < pages->len; i++) {
            const struct page *page = g_ptr_array_index(pages, i);
            struct sums space;

            line(page, sums_before(before, page, &space),
                 (double)(g_get_monotonic_time() - began) / 1e6);
        }
        if (fflush(stdout) != 0) {
            return 1;
        }
        g_ptr_array_unref(before);
        before = g_steal_pointer(&pages);
    }
    return 0;
}

/* ---- metrics ---- */

/* "bytes read" of "block ide-768": xendm_block_bytes_read{…,id="ide-768"}. */
static char *metric_name(const char *kind, size_t length, const char *fact)
{
    char *name = g_strdup_printf("xendm_%.*s_%s", (int)length, kind, fact);

    for (char *p = name; *p; p++) {
        *p = g_ascii_isalnum(*p) ? g_ascii_tolower(*p) : '_';
    }
    return name;
}

/* As the text format has it: backslash, quote and line end escaped. */
static char *label(const char *text)
{
    g_autofree char *clean = page_clean(text);
    GString *out = g_string_new(NULL);

    for (const char *p = clean; *p; p++) {
        if (*p == '\\' || *p == '"') {
            g_string_append_c(out, '\\');
        }
        g_string_append_c(out, *p);
    }
    return g_string_free(out, FALSE);
}

static void add_metric(GTree *metrics, char *name, const char *labels, int64_t value)
{
    GString *lines = g_tree_lookup(metrics, name);

    if (!lines) {
        lines = g_string_new(NULL);
        g_tree_insert(metrics, g_strdup(name), lines);
    }
    g_string_append_printf(lines, "%s{%s} %" PRId64 "\n", name, labels, value);
    g_free(name);
}

static void add_group(GTree *metrics, const char *guest, const char *group, JsonObject *facts)
{
    g_autoptr(GList) names = json_object_get_members(facts);
    size_t kind = strcspn(group, " ");
    g_autofree char *id = label(group[kind] ? group + kind + 1 : "");
    g_autofree char *labels = *id ? g_strdup_printf("%s,id=\"%s\"", guest, id) : g_strdup(guest);

    for (const GList *l = names; l; l = l->next) {
        JsonNode *node = json_object_get_member(facts, l->data);

        if (JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == JSON_TYPE_INT) {
            add_metric(metrics, metric_name(group, kind, l->data), labels, json_node_get_int(node));
        } else if (JSON_NODE_HOLDS_VALUE(node) &&
                   json_node_get_value_type(node) == JSON_TYPE_BOOLEAN) {
            add_metric(metrics, metric_name(group, kind, l->data), labels,
                       json_node_get_boolean(node));
        }
    }
}

static void add_page(GTree *metrics, const struct page *page)
{
    g_autoptr(GList) groups = json_object_get_members(json_node_get_object(page->facts));
    g_autofree char *name = label(page->raw.name);
    g_autofree char *guest = g_strdup_printf("domid=\"%u\",name=\"%s\"", page->raw.domid, name);

    add_metric(metrics, g_strdup("xendm_served"), guest, page->served);
    add_metric(metrics, g_strdup("xendm_turn_milliseconds"), guest, turn_ms(page));
    for (const GList *l = groups; l; l = l->next) {
        if (page_group(page, l->data)) {
            add_group(metrics, guest, l->data, page_group(page, l->data));
        }
    }
}

static gboolean print_metric(gpointer name, gpointer lines, gpointer opaque)
{
    printf("# TYPE %s untyped\n%s", (char *)name, ((GString *)lines)->str);
    return FALSE;
}

static void free_lines(gpointer lines)
{
    g_string_free(lines, TRUE);
}

static int by_name(const void *a, const void *b, void *opaque)
{
    return strcmp(a, b);
}

int metrics_main(int argc, char **argv)
{
    g_autoptr(GPtrArray) pages = NULL;
    GTree *metrics;

    if (argc != 0) {
        return -1;
    }
    pages = pages_read();
    metrics = g_tree_new_full(by_name, NULL, g_free, free_lines);
    for (guint i = 0; i < pages->len; i++) {
        add_page(metrics, g_ptr_array_index(pages, i));
    }
    g_tree_foreach(metrics, print_metric, NULL);
    g_tree_destroy(metrics);
    return 0;
}
