/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Status pages (xendm/status.h), read by whoever asks. What is in them is a stranger's word: copied
 * once, checked, and made harmless before it is shown.
 */
#ifndef XENDMCTL_PAGE_H
#define XENDMCTL_PAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <xendm/json.h>
#include <xendm/status.h>

typedef struct page page_t;
struct page {
    struct status_page raw; /* a copy; its texts end with a NUL */
    JsonNode *facts;        /* an object; never NULL */
    bool served;            /* somebody holds its lock */
    int64_t modified;       /* CLOCK_REALTIME, s */
    int64_t read_at;        /* CLOCK_MONOTONIC, ns */
    uint64_t read_count;    /* the time stamp counter then */
};

/* NULL with a text when it is none. */
struct page *page_read(const char *path, GError **err);
void page_free(struct page *page);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(page_t, page_free)

/* Of every guest that is served, by domain id; of those, too, that are not any more but did not say
 * so. */
GPtrArray *pages_read(void);
/* By domain id or name. NULL: there is none, which was said. */
struct page *page_of_guest(const char *guest);

/* NULL: there is no such group. */
JsonObject *page_group(const struct page *page, const char *group);
/* 0 (yes is 1) and "" when it is not there, or something else. Free the text. */
int64_t page_int(const struct page *page, const char *group, const char *name);
char *page_text(const struct page *page, const char *group, const char *name);

/* Each group whose name is KIND and something, with what follows the blank. */
void page_foreach(const struct page *page, const char *kind,
                  void (*fn)(void *opaque, const char *group, const char *id, JsonObject *facts),
                  void *opaque);

/* Seconds since then; `since` is of CLOCK_MONOTONIC, ns. */
double page_age(const struct page *page, int64_t since);

/* The oldest of the recorder's entries that is kept; how long ago one was noted. */
uint64_t page_recorder_first(const struct page *page);
double page_ago_us(const struct page *page, const struct recorder_entry *e);

/* The device that an access went to; "": not known. g_free(). */
char *page_device(const struct page *page, const struct recorder_entry *access);

/* Printable: control characters and what is no UTF-8 are replaced. Free it. */
char *page_clean(const char *text);

/* ---- commands: the words behind them; an exit status, -1: wrong usage ---- */

int status_main(int argc, char **argv);
int top_main(int argc, char **argv);
int metrics_main(int argc, char **argv);
int recorder_main(int argc, char **argv);
int why_main(int argc, char **argv);
int gdb_main(int argc, char **argv);

#endif
