/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A saved state as a tree, decoded by docs/state-format.md alone: no device's table is needed, so a
 * stream of any version and of any machine can be looked at. The file is nobody's friend: every
 * length is checked, and nothing is printed that is not printable.
 */
#ifndef XENDMCTL_STREAM_H
#define XENDMCTL_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <glib.h>

enum node_kind {
    NODE_VALUES, /* children without names, each one value; or one value alone */
    NODE_VALUE,
    NODE_PAYLOAD, /* version and named fields */
    NODE_STRUCTS, /* an array of payloads */
};

struct node {
    enum node_kind kind;
    char *name;          /* NULL: an element of an array */
    char *value;         /* NODE_VALUE: JSON text */
    uint32_t version;    /* NODE_PAYLOAD */
    GPtrArray *children; /* struct node *; NULL for NODE_VALUE */
};

struct record {
    char *device, *section; /* device "" is the machine itself */
    struct node *payload;
};

struct stream {
    uint32_t format;
    char *text; /* the machine, for people */
    size_t text_len;
    char *hash;         /* of its devices, in hex; NULL: none in the stream */
    GPtrArray *records; /* struct record * */
    size_t size;
};

/* NULL with one line in `err`. */
struct stream *stream_decode(const uint8_t *data, size_t len, GError **err);
void stream_free(struct stream *s);

/*
 * The bytes of FILE that are the device model's: the whole, or the emulator's record when xl save
 * (or libxl) wrote it.
 */
GByteArray *stream_read(const char *path, GError **err);

#define STREAM_ERROR g_quark_from_static_string("xendmctl-stream")
G_GNUC_PRINTF(2, 3) void *stream_refuse(GError **err, const char *fmt, ...); /* NULL */

/* What follows the words; the exit status, or -1: wrong usage. */
int state_show(int argc, char **argv);
int state_diff(int argc, char **argv);
int state_extract(int argc, char **argv);

#endif
