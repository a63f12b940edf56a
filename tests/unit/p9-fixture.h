/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A session of 9P on a directory of its own, with something beside it that nobody may reach. */
#ifndef XENDM_TEST_P9_FIXTURE_H
#define XENDM_TEST_P9_FIXTURE_H

#include <glib.h>

#include "backends/p9/session.h"

#define P9_MSIZE 65536u

struct p9_test {
    char *dir; /* with "tree", which is exported, and "outside" with "secret" */
    char *tree;
    struct session *s;
    uint8_t message[P9_MSIZE];
    size_t length; /* of a request that is being made, then of its answer */
};

void p9_test_open(struct p9_test *t, const char *model);
void p9_test_close(struct p9_test *t);

/* A file of the host: "tree/x". */
char *p9_path(struct p9_test *t, const char *name);
void p9_host_file(struct p9_test *t, const char *name, const char *content);
char *p9_host_content(struct p9_test *t, const char *name);

/*
 * A request by letters: b, w, d, q for integers of 1, 2, 4, 8 bytes, s for a string, with its
 * arguments (uint32_t; uint64_t for q). 0, or the errno of the answer.
 */
int p9_ask(struct p9_test *t, unsigned type, const char *form, ...);
/* The answer from its body on. */
const uint8_t *p9_answer(const struct p9_test *t);

/* Version, and fid 1 as the root. */
void p9_begin(struct p9_test *t);
int p9_walk(struct p9_test *t, uint32_t fid, uint32_t new, const char *name);

#endif
