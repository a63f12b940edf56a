/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recordings of guests (docs/recording.md): made, shown, and without the guest's data. */
#ifndef XENDMCTL_RECORD_H
#define XENDMCTL_RECORD_H

#include <glib.h>

#include <xendm/tape.h>

/* Each gets the arguments behind its words; -1: wrong usage. */
int record_main(int argc, char **argv);
int record_show(int argc, char **argv);
int record_scrub(int argc, char **argv);

/* ---- record-file.c: a recording that is read ---- */

typedef struct {
    GByteArray *all;
    const char *texts; /* "name=value", each with a NUL */
    size_t texts_len;
    const uint8_t *state;
    size_t state_len;
    size_t entries; /* offset */

    size_t at; /* of the entry that is next */
    uint64_t time, number;
} record_t;

enum record_next {
    RECORD_ENTRY,
    RECORD_OVER, /* no more */
    RECORD_CUT,  /* the last one is not whole */
    RECORD_DAMAGED,
};

/* NULL: `err` names the file. */
record_t *record_open(const char *path, GError **err);
void record_free(record_t *f);
enum record_next record_next(record_t *f, struct tape_entry *e);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(record_t, record_free)

#endif
