/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One command line in words, and what an answer is made of. */
#ifndef XENEMU_WORDS_H
#define XENEMU_WORDS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct session;
struct domain;

struct cmd {
    struct session *s;
    struct domain *d;
    char **w; /* w[0] is the command */
    unsigned int n;
    uint64_t a[16]; /* numbers among the words, by position; 0 if not a number */
};

/* Answers; freed by who sends them. */
char *fail(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
char *done(int r); /* OK, or the error -r */
/* The value of NAME=VALUE among the words, or NULL. */
const char *key(struct cmd *c, const char *name);
uint64_t key_u64(struct cmd *c, const char *name, uint64_t def);
bool parse_u64(const char *s, uint64_t *out);
bool parse_bdf(const char *t, uint32_t *bdf);

#endif
