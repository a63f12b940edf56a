/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xendmctl recorder: a guest's flight recorder, without asking its daemon. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "page.h"

struct filter {
    const char *kind; /* the beginning of its name; NULL: all */
    uint64_t first, last;
    int vcpu; /* -1: all */
    uint64_t newest;
    bool latencies;
};

static bool is_access(uint32_t kind)
{
    return kind <= REC_STRING;
}

static bool passes(const struct filter *f, const struct recorder_entry *e)
{
    if (e->kind >= RECORDER_KIND_COUNT) {
        return false;
    }
    return (!f->kind || g_str_has_prefix(recorder_kind_name(e->kind), f->kind)) &&
           e->a >= f->first && e->a <= f->last &&
           (f->vcpu < 0 || (is_access(e->kind) && (int)((e->aux >> 8) & 0xffff) == f->vcpu));
}

/* ---- entries ---- */

static const struct recorder_entry *entry(const struct page *page, uint64_t i)
{
    return &page->raw.recorder.entry[i % RECORDER_SIZE];
}

static void print_entry(const struct page *page, const struct recorder_entry *e)
{
    printf("%12.1f us  %-10s", -page_ago_us(page, e), recorder_kind_name(e->kind));
    if (is_access(e->kind)) {
        printf(" vCPU %u, %u bytes,", (e->aux >> 8) & 0xffff, e->aux & 0xff);
    } else {
        printf(" %" PRIu32 ",", e->aux & ~RECORDER_NO_VALUE);
    }
    printf(" at 0x%" PRIx64 ":", e->a);
    if (e->aux & RECORDER_NO_VALUE) {
        printf(" not kept\n");
    } else {
        printf(" 0x%" PRIx64 "\n", e->b);
    }
}

/* From the oldest that is to be shown. */
static uint64_t begin_at(const struct page *page, const struct filter *f)
{
    uint64_t i = page->raw.recorder.next, found = 0;

    while (i > page_recorder_first(page) && found < f->newest) {
        found += passes(f, entry(page, --i));
    }
    return i;
}

static void print_entries(const struct page *page, const struct filter *f)
{
    for (uint64_t i = begin_at(page, f); i < page->raw.recorder.next; i++) {
        if (passes(f, entry(page, i))) {
            print_entry(page, entry(page, i));
        }
    }
}

/* ---- latencies of disk requests ---- */

#define BUCKETS 24 /* of a power of two microseconds each */

/* The entry after `i` that ends it; NULL: it has not come. */
static const struct recorder_entry *completion(const struct page *page, uint64_t i)
{
    const struct recorder_entry *begin = entry(page, i);

    for (uint64_t k = i + 1; k < page->raw.recorder.next; k++) {
        const struct recorder_entry *e = entry(page, k);

        if (e->kind == REC_BLOCK_DONE && e->a == begin->a && e->b == begin->b) {
            return e;
        }
    }
    return NULL;
}

static void print_latencies(const struct page *page, const struct filter *f)
{
    unsigned count[BUCKETS] = {0}, open = 0, all = 0;

    for (uint64_t i = page_recorder_first(page); i < page->raw.recorder.next; i++) {
        const struct recorder_entry *e = entry(page, i), *end;
        double us;
        unsigned n = 0;

        if (e->kind != REC_BLOCK || e->a < f->first || e->a > f->last) {
            continue;
        }
        end = completion(page, i);
        if (!end) {
            printf("offset 0x%" PRIx64 ", %" PRIu64 " bytes: no answer for %.1f ms\n", e->a, e->b,
                   page_ago_us(page, e) / 1000);
            open++;
            continue;
        }
        us = page_ago_us(page, e) - page_ago_us(page, end);
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

static bool option(struct filter *f, const char *name, const char *value)
{
    uint64_t n = 0;

    if (strcmp(name, "--kind") == 0) {
        f->kind = value;
    } else if (strcmp(name, "--address") == 0) {
        return range(value, &f->first, &f->last);
    } else if (strcmp(name, "--vcpu") == 0) {
        f->vcpu = number(value, &n) && n < 0xffff ? (int)n : -2;
        return f->vcpu >= 0;
    } else if (strcmp(name, "--last") == 0) {
        return number(value, &f->newest);
    } else {
        return false;
    }
    return true;
}

int recorder_main(int argc, char **argv)
{
    struct filter f = {.last = UINT64_MAX, .vcpu = -1, .newest = UINT64_MAX};
    g_autoptr(GError) err = NULL;
    g_autoptr(page_t) page = NULL;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--latencies") == 0) {
            f.latencies = true;
        } else if (i + 1 >= argc || !option(&f, argv[i], argv[i + 1])) {
            fprintf(stderr, "xendmctl: '%s%s%s' is no filter\n", argv[i], i + 1 < argc ? " " : "",
                    i + 1 < argc ? argv[i + 1] : "");
            return -1;
        } else {
            i++;
        }
    }
    if (argc < 1 || argv[0][0] == '-') {
        return -1;
    }
    page = strchr(argv[0], '/') ? page_read(argv[0], &err) : page_of_guest(argv[0]);
    if (!page) {
        if (err) {
            fprintf(stderr, "xendmctl: %s\n", err->message);
        }
        return 1;
    }
    if (f.latencies) {
        print_latencies(page, &f);
    } else {
        print_entries(page, &f);
    }
    return 0;
}
