/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flight recorder. Everything recorder_dump() calls is async-signal-safe: it formats by hand and
 * writes with write(2), because it runs in fatal signal handlers too.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <xendm/host-time.h>
#include <xendm/recorder.h>

static struct recorder own;
struct recorder *recorder = &own;
bool recorder_payload;
static char kept_in[64]; /* "": nowhere */

static const char *const kind_names[RECORDER_KIND_COUNT] = {
#define X(e, n) [REC_##e] = n,
    RECORDER_KINDS(X)
#undef X
};

uint64_t recorder_time_slow(void);
uint64_t recorder_time_slow(void)
{
    return (uint64_t)host_now_ns();
}

const char *recorder_kind_name(uint32_t kind)
{
    return kind < RECORDER_KIND_COUNT ? kind_names[kind] : "?";
}

void recorder_set_payload(bool on)
{
    if (recorder_payload && !on) {
        memset(recorder->entry, 0, sizeof(recorder->entry));
        recorder->next = 0;
    }
    recorder_payload = on;
}

void recorder_init(void)
{
    recorder->start_count = recorder_time();
    recorder->start_ns = (uint64_t)host_now_ns();
}

void recorder_use(struct recorder *where, const char *file)
{
    snprintf(kept_in, sizeof(kept_in), "%s", file ? file : "");
    if (where) {
        memcpy(where, recorder, sizeof(*where));
        recorder = where;
    } else {
        recorder = &own;
        memset(&own, 0, sizeof(own));
        recorder_init();
    }
}

struct line {
    char text[160];
    size_t len;
};

static void line_text(struct line *l, const char *s)
{
    while (*s && l->len < sizeof(l->text)) {
        l->text[l->len++] = *s++;
    }
}

static void line_number(struct line *l, uint64_t v, unsigned base, unsigned width)
{
    char digits[24];
    unsigned n = 0;

    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    for (unsigned i = n; i < width; i++) {
        line_text(l, base == 10 ? " " : "0");
    }
    while (n > 0 && l->len < sizeof(l->text)) {
        l->text[l->len++] = digits[--n];
    }
}

static void line_end(struct line *l, int fd)
{
    if (l->len == sizeof(l->text)) {
        l->len--;
    }
    l->text[l->len++] = '\n';
    for (size_t done = 0; done < l->len;) {
        ssize_t n = write(fd, l->text + done, l->len - done);

        if (n < 0 && errno != EINTR) {
            break;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    l->len = 0;
}

static void dump_entry(int fd, const struct recorder_entry *e, uint64_t now, double ns_per_count)
{
    struct line l = {.len = 0};
    uint64_t ago = e->when <= now ? (uint64_t)((double)(now - e->when) * ns_per_count / 1000) : 0;

    line_text(&l, "  -");
    line_number(&l, ago, 10, 10);
    line_text(&l, " us  ");
    line_text(&l, recorder_kind_name(e->kind));
    line_text(&l, " a=0x");
    line_number(&l, e->a, 16, 1);
    if (e->aux & RECORDER_NO_VALUE) {
        line_text(&l, " b=-");
    } else {
        line_text(&l, " b=0x");
        line_number(&l, e->b, 16, 1);
    }
    line_text(&l, " aux=0x");
    line_number(&l, e->aux & ~RECORDER_NO_VALUE, 16, 1);
    line_end(&l, fd);
}

void recorder_dump(int fd, unsigned max)
{
    uint64_t end = recorder->next;
    uint64_t count = end < RECORDER_SIZE ? end : RECORDER_SIZE;
    uint64_t now = recorder_time();
    uint64_t counted = now - recorder->start_count;
    double ns_per_count =
        counted > 0 ? (double)((uint64_t)host_now_ns() - recorder->start_ns) / (double)counted : 1;
    struct line l = {.len = 0};

    if (max > 0 && count > max) {
        count = max;
    }
    line_text(&l, "flight recorder: ");
    line_number(&l, count, 10, 1);
    line_text(&l, " of ");
    line_number(&l, end, 10, 1);
    line_text(&l, " entries, oldest first");
    line_end(&l, fd);
    for (uint64_t i = end - count; i < end; i++) {
        dump_entry(fd, &recorder->entry[i % RECORDER_SIZE], now, ns_per_count);
    }
}

#define LAST_ENTRIES 32

void recorder_last_words(int fd)
{
    struct line l = {.len = 0};

    if (kept_in[0] == '\0') {
        recorder_dump(fd, 0);
        return;
    }
    line_text(&l, "the flight recorder is kept: xendmctl recorder ");
    line_text(&l, kept_in);
    line_end(&l, fd);
    recorder_dump(fd, LAST_ENTRIES);
}

void recorder_assert_failed(const char *what, const char *file, int line)
{
    struct line l = {.len = 0};

    line_text(&l, "xendm: bug: ");
    line_text(&l, file);
    line_text(&l, ":");
    line_number(&l, (unsigned)line, 10, 1);
    line_text(&l, ": ");
    line_text(&l, what);
    line_end(&l, STDERR_FILENO);
    /* The abort handler of dm/ dumps the recorder; without one (tests) the message is what there
     * is. */
    abort();
}
