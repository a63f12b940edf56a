/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xendmctl recorder: a guest's flight recorder, without asking its daemon: its entries, its disk
 * requests, how many there were of what, what differs between two, and a trace for Perfetto.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "page.h"
#include "recorder.h"

static bool is_access(uint32_t kind)
{
    return kind <= REC_STRING;
}

static unsigned vcpu_of(const struct recorder_entry *e)
{
    return e->aux >> 8 & 0xffff;
}

static bool passes(const struct page *page, const struct filter *f, const struct recorder_entry *e)
{
    double ago = page_ago_us(page, e) / 1e6;

    if (e->kind >= RECORDER_KIND_COUNT || e->a < f->first || e->a > f->last ||
        (f->kind && !g_str_has_prefix(recorder_kind_name(e->kind), f->kind)) ||
        (f->vcpu >= 0 && !(is_access(e->kind) && (int)vcpu_of(e) == f->vcpu)) || ago < f->newer ||
        ago > f->older) {
        return false;
    }
    if (f->device) {
        g_autofree char *device = recorder_device(page, e);

        return strcmp(device, f->device) == 0;
    }
    return true;
}

/* ---- names ---- */

struct drive_name {
    uint32_t number;
    char *name; /* NULL: not found */
};

static void drive_name(void *opaque, const char *group, const char *id, JsonObject *facts)
{
    struct drive_name *d = opaque;

    if (json_object_get_int_member(facts, "number") == d->number) {
        g_free(d->name);
        d->name = page_clean(id);
    }
}

/* The device of an access, the drive of a disk request; "" of all others. */
char *recorder_device(const struct page *page, const struct recorder_entry *e)
{
    struct drive_name d = {e->aux >> RECORDER_DRIVE_SHIFT, NULL};

    if (e->kind != REC_BLOCK && e->kind != REC_BLOCK_DONE) {
        return page_device(page, e);
    }
    page_foreach(page, "block", drive_name, &d);
    return d.name ? d.name : g_strdup("");
}

const char *recorder_operation(const struct recorder_entry *e)
{
    static const char *const names[] = {"read", "write", "flush", "discard", "zero"};
    uint32_t op = e->aux & RECORDER_BLOCK_MASK;

    return op < G_N_ELEMENTS(names) ? names[op] : "?";
}

const struct recorder_entry *recorder_entry_at(const struct page *page, uint64_t i)
{
    return &page->raw.recorder.entry[i % RECORDER_SIZE];
}

/* ---- entries ---- */

static char *entry_text(const struct page *page, const struct recorder_entry *e)
{
    g_autofree char *device = recorder_device(page, e);
    GString *text = g_string_new(recorder_kind_name(e->kind));

    while (text->len < 10) {
        g_string_append_c(text, ' ');
    }
    if (is_access(e->kind)) {
        g_string_append_printf(text, " vCPU %u, %u bytes,", vcpu_of(e), e->aux & 0xff);
    } else if (e->kind == REC_BLOCK) {
        g_string_append_printf(text, " %s,", recorder_operation(e));
    } else if (e->kind == REC_BLOCK_DONE) {
        uint32_t error = e->aux & RECORDER_BLOCK_MASK;

        g_string_append_printf(text, " %s,", error ? g_strerror((int)error) : "done");
    } else {
        g_string_append_printf(text, " %" PRIu32 ",", e->aux & ~RECORDER_NO_VALUE);
    }
    g_string_append_printf(text, " at 0x%" PRIx64 ": ", e->a);
    if (e->aux & RECORDER_NO_VALUE && is_access(e->kind)) {
        g_string_append(text, "not kept");
    } else {
        g_string_append_printf(text, "0x%" PRIx64, e->b);
    }
    if (*device) {
        g_string_append_printf(text, "  %s", device);
    }
    return g_string_free(text, FALSE);
}

/* From the oldest that is to be shown. */
static uint64_t begin_at(const struct page *page, const struct filter *f)
{
    uint64_t i = page->raw.recorder.next, found = 0;

    while (i > page_recorder_first(page) && found < f->newest) {
        found += passes(page, f, recorder_entry_at(page, --i));
    }
    return i;
}

GPtrArray *recorder_entries(const struct page *page, const struct filter *f)
{
    GPtrArray *found = g_ptr_array_new();

    for (uint64_t i = begin_at(page, f); i < page->raw.recorder.next; i++) {
        const struct recorder_entry *e = recorder_entry_at(page, i);

        if (passes(page, f, e)) {
            g_ptr_array_add(found, (gpointer)(uintptr_t)e);
        }
    }
    return found;
}

static int print_entries(const struct page *page, const struct filter *f)
{
    g_autoptr(GPtrArray) entries = recorder_entries(page, f);

    for (guint i = 0; i < entries->len; i++) {
        const struct recorder_entry *e = g_ptr_array_index(entries, i);
        g_autofree char *text = entry_text(page, e);

        printf("%12.1f us  %s\n", -page_ago_us(page, e), text);
    }
    return 0;
}

/* ---- disk requests and their answers ---- */

GArray *recorder_requests(const struct page *page, const struct filter *f)
{
    GArray *requests = g_array_new(FALSE, FALSE, sizeof(struct recorder_request));

    for (uint64_t i = page_recorder_first(page); i < page->raw.recorder.next; i++) {
        const struct recorder_entry *e = recorder_entry_at(page, i);

        if (e->kind == REC_BLOCK && passes(page, f, e)) {
            struct recorder_request one = {e, NULL};

            g_array_append_val(requests, one);
        }
        for (guint k = 0; e->kind == REC_BLOCK_DONE && k < requests->len; k++) {
            struct recorder_request *r = &g_array_index(requests, struct recorder_request, k);

            if (!r->end && r->begin->a == e->a && r->begin->b == e->b &&
                r->begin->aux >> RECORDER_DRIVE_SHIFT == e->aux >> RECORDER_DRIVE_SHIFT) {
                r->end = e;
                break;
            }
        }
    }
    return requests;
}

static double took_us(const struct page *page, const struct recorder_request *r)
{
    return page_ago_us(page, r->begin) - (r->end ? page_ago_us(page, r->end) : 0);
}

static int print_requests(const struct page *page, const struct filter *f)
{
    g_autoptr(GArray) requests = recorder_requests(page, f);

    for (guint i = 0; i < requests->len; i++) {
        const struct recorder_request *r = &g_array_index(requests, struct recorder_request, i);
        g_autofree char *drive = recorder_device(page, r->begin);
        uint32_t error = r->end ? r->end->aux & RECORDER_BLOCK_MASK : 0;

        printf("%12.1f us  %-12s %-7s 0x%" PRIx64 ", %" PRIu64 " bytes: %s %.1f us\n",
               -page_ago_us(page, r->begin), drive, recorder_operation(r->begin), r->begin->a,
               r->begin->b,
               !r->end ? "no answer for"
               : error ? g_strerror((int)error)
                       : "done after",
               took_us(page, r));
    }
    return 0;
}

#define BUCKETS 24 /* of a power of two microseconds each */

static int print_latencies(const struct page *page, const struct filter *f)
{
    g_autoptr(GArray) requests = recorder_requests(page, f);
    unsigned count[BUCKETS] = {0}, open = 0, all = 0;

    for (guint i = 0; i < requests->len; i++) {
        const struct recorder_request *r = &g_array_index(requests, struct recorder_request, i);
        double us = took_us(page, r);
        unsigned n = 0;

        if (!r->end) {
            printf("offset 0x%" PRIx64 ", %" PRIu64 " bytes: no answer for %.1f ms\n", r->begin->a,
                   r->begin->b, us / 1000);
            open++;
            continue;
        }
        while (n < BUCKETS - 1 && us >= (double)(1u << n)) {
            n++;
        }
        count[n]++;
        all++;
    }
    for (unsigned n = 0; n < BUCKETS; n++) {
        if (count[n]) {
            printf("%10s %8u us: %6u  %.*s\n", n == BUCKETS - 1 ? "longer than" : "less than",
                   n == BUCKETS - 1 ? 1u << (n - 1) : 1u << n, count[n],
                   (int)(count[n] * 50 / all) + 1,
                   "##################################################"
                   "#");
        }
    }
    printf("%u requests with an answer, %u without\n", all, open);
    return 0;
}

/* ---- how many of what ---- */

static char *name_by(const struct page *page, const struct filter *f,
                     const struct recorder_entry *e)
{
    if (strcmp(f->count, "kind") == 0) {
        return g_strdup(recorder_kind_name(e->kind));
    }
    if (strcmp(f->count, "device") == 0) {
        return recorder_device(page, e);
    }
    if (strcmp(f->count, "vcpu") == 0) {
        return is_access(e->kind) ? g_strdup_printf("vCPU %u", vcpu_of(e)) : g_strdup("");
    }
    {
        g_autofree char *device = recorder_device(page, e);

        return g_strdup_printf("%-10s 0x%" PRIx64 "  %s", recorder_kind_name(e->kind), e->a,
                               device);
    }
}

static int by_count(const void *a, const void *b, void *counts)
{
    guint x = GPOINTER_TO_UINT(g_hash_table_lookup(counts, *(char *const *)a)),
          y = GPOINTER_TO_UINT(g_hash_table_lookup(counts, *(char *const *)b));

    return x != y ? (x < y ? 1 : -1) : strcmp(*(char *const *)a, *(char *const *)b);
}

static int print_counts(const struct page *page, const struct filter *f)
{
    g_autoptr(GPtrArray) entries = recorder_entries(page, f);
    g_autoptr(GHashTable) counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autofree char **names = NULL;
    guint n = 0;

    for (guint i = 0; i < entries->len; i++) {
        char *name = name_by(page, f, g_ptr_array_index(entries, i));
        guint before = GPOINTER_TO_UINT(g_hash_table_lookup(counts, name));

        g_hash_table_replace(counts, name, GUINT_TO_POINTER(before + 1));
    }
    names = (char **)g_hash_table_get_keys_as_array(counts, &n);
    g_qsort_with_data(names, (int)n, sizeof(*names), by_count, counts);
    for (guint i = 0; i < n; i++) {
        guint count = GPOINTER_TO_UINT(g_hash_table_lookup(counts, names[i]));

        printf("%8u  %5.1f %%  %s\n", count, count * 100.0 / entries->len,
               *names[i] ? names[i] : "(none)");
    }
    return 0;
}

/* ---- two of them ---- */

static bool same(const struct recorder_entry *x, const struct recorder_entry *y)
{
    return x->kind == y->kind && x->a == y->a && x->b == y->b && x->aux == y->aux;
}

struct sides {
    const struct page *page[2];
    GPtrArray *entries[2];
    guint equal; /* entries on both sides, not shown yet */
    bool differ;
};

static void flush_equal(struct sides *s)
{
    if (s->equal) {
        printf("  %u entries are the same\n", s->equal);
    }
    s->equal = 0;
}

static void one_side(struct sides *s, unsigned side, guint i)
{
    g_autofree char *text = entry_text(s->page[side], g_ptr_array_index(s->entries[side], i));

    flush_equal(s);
    s->differ = true;
    printf("%c %s\n", side ? '+' : '-', text);
}

/* The longest sequence that both have, entry by entry: a table of its lengths from each pair on. */
static void compare(struct sides *s)
{
    guint n = s->entries[0]->len, m = s->entries[1]->len, i = 0, k = 0;
    g_autofree uint16_t *length = g_new0(uint16_t, (gsize)(n + 1) * (m + 1));

#define LENGTH(i, k) length[(gsize)(i) * (m + 1) + (k)]
#define SAME(i, k) same(g_ptr_array_index(s->entries[0], i), g_ptr_array_index(s->entries[1], k))
    for (guint x = n; x-- > 0;) {
        for (guint y = m; y-- > 0;) {
            LENGTH(x, y) = SAME(x, y) ? (uint16_t)(LENGTH(x + 1, y + 1) + 1)
                                      : MAX(LENGTH(x + 1, y), LENGTH(x, y + 1));
        }
    }
    while (i < n || k < m) {
        if (i < n && k < m && SAME(i, k)) {
            s->equal++;
            i++;
            k++;
        } else if (k == m || (i < n && LENGTH(i + 1, k) >= LENGTH(i, k + 1))) {
            one_side(s, 0, i++);
        } else {
            one_side(s, 1, k++);
        }
    }
#undef SAME
#undef LENGTH
    flush_equal(s);
}

static struct page *open_page(const char *what)
{
    g_autoptr(GError) err = NULL;
    struct page *page = strchr(what, '/') ? page_read(what, &err) : page_of_guest(what);

    if (err) {
        fprintf(stderr, "xendmctl: %s\n", err->message);
    }
    return page;
}

static int print_difference(const struct page *page, const struct filter *f)
{
    g_autoptr(page_t) other = open_page(f->other);
    struct sides s = {{page, other}, {NULL, NULL}, 0, false};

    if (!other) {
        return 2;
    }
    s.entries[0] = recorder_entries(page, f);
    s.entries[1] = recorder_entries(other, f);
    compare(&s);
    g_ptr_array_unref(s.entries[0]);
    g_ptr_array_unref(s.entries[1]);
    return s.differ;
}

/* ---- the command ---- */

static bool number(const char *text, uint64_t *to)
{
    char *end;

    *to = g_ascii_strtoull(text, &end, 0);
    return g_ascii_isdigit(*text) && *end == '\0';
}

/* "0x1f0" or "0x1f0-0x1f7". */
static bool range(const char *text, uint64_t *first, uint64_t *last)
{
    g_auto(GStrv) ends = g_strsplit(text, "-", 2);

    return ends[0] && number(ends[0], first) && number(ends[1] ? ends[1] : ends[0], last) &&
           *first <= *last;
}

/* "5": the last five seconds; "10-5": from ten seconds ago until five seconds ago. */
static bool times(const char *text, double *older, double *newer)
{
    char *end;

    *older = g_ascii_strtod(text, &end);
    *newer = 0;
    if (end != text && *end == '-') {
        text = end + 1;
        *newer = g_ascii_strtod(text, &end);
    }
    return end != text && *end == '\0' && *newer >= 0 && *newer <= *older;
}

static bool count_by(const char *text)
{
    return strcmp(text, "kind") == 0 || strcmp(text, "device") == 0 ||
           strcmp(text, "address") == 0 || strcmp(text, "vcpu") == 0;
}

static bool option(struct filter *f, const char *name, const char *value)
{
    uint64_t n = 0;

    if (strcmp(name, "--kind") == 0) {
        f->kind = value;
    } else if (strcmp(name, "--device") == 0) {
        f->device = value;
    } else if (strcmp(name, "--address") == 0) {
        return range(value, &f->first, &f->last);
    } else if (strcmp(name, "--vcpu") == 0) {
        f->vcpu = number(value, &n) && n < 0xffff ? (int)n : -2;
        return f->vcpu >= 0;
    } else if (strcmp(name, "--ago") == 0) {
        return times(value, &f->older, &f->newer);
    } else if (strcmp(name, "--last") == 0) {
        return number(value, &f->newest);
    } else if (strcmp(name, "--count") == 0) {
        f->print = print_counts;
        f->count = value;
        return count_by(value);
    } else if (strcmp(name, "--diff") == 0) {
        f->print = print_difference;
        f->other = value;
    } else {
        return false;
    }
    return true;
}

static bool flag(struct filter *f, const char *name)
{
    static const struct {
        const char *name;
        int (*print)(const struct page *page, const struct filter *f);
    } flags[] = {
        {"--latencies", print_latencies},
        {"--requests", print_requests},
        {"--perfetto", recorder_perfetto},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (strcmp(flags[i].name, name) == 0) {
            f->print = flags[i].print;
            return true;
        }
    }
    return false;
}

int recorder_main(int argc, char **argv)
{
    struct filter f = {.last = UINT64_MAX,
                       .vcpu = -1,
                       .newest = UINT64_MAX,
                       .older = G_MAXDOUBLE,
                       .newer = -G_MAXDOUBLE,
                       .print = print_entries};
    g_autoptr(page_t) page = NULL;

    for (int i = 1; i < argc; i++) {
        if (flag(&f, argv[i])) {
            continue;
        }
        if (i + 1 >= argc || !option(&f, argv[i], argv[i + 1])) {
            fprintf(stderr, "xendmctl: '%s%s%s' is no filter\n", argv[i], i + 1 < argc ? " " : "",
                    i + 1 < argc ? argv[i + 1] : "");
            return -1;
        }
        i++;
    }
    if (argc < 1 || argv[0][0] == '-') {
        return -1;
    }
    page = open_page(argv[0]);
    return page ? f.print(page, &f) : f.other ? 2 : 1;
}
