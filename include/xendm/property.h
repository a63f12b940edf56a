/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Properties: what can be said of a device or a back end by name and text, in a table of its class.
 * The same table serves -device, -drive, -chardev and their kin, QMP, and `-device CLASS,help`.
 * Whoever owns the table owns the meaning of the text: nobody in front of it reads it.
 */
#ifndef XENDM_PROPERTY_H
#define XENDM_PROPERTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

/* Kinds of back ends: the host's side of a device. Ids are unique within a kind. */
enum backend_kind {
    BACKEND_BLOCK,
    BACKEND_CHAR,
    BACKEND_NET,
    BACKEND_AUDIO,
    BACKEND_USB_HOST,
    BACKEND_BLOB,  /* blob.h */
    BACKEND_FSDEV, /* p9.h */
    BACKEND_KIND_COUNT
};

enum property_type {
    PROP_BOOL,   /* bool; "on"/"off", also yes/no and true/false */
    PROP_UINT32, /* uint32_t; decimal or 0x… */
    PROP_UINT64,
    PROP_STRING, /* char *, g_strdup'd; NULL allowed */
    /*
     * struct backend *, which is also the struct block *, struct chardev * … that embeds it; the
     * text is the id of a back end of `kind` that no other device has
     */
    PROP_BACKEND,
};

struct property {
    const char *name; /* as on the command line */
    enum property_type type;
    size_t offset;
    const char *def;        /* textual default; NULL: zero */
    uint64_t min, max;      /* numbers; both 0: no limit */
    enum backend_kind kind; /* PROP_BACKEND */
    bool required;          /* has to be given */
    bool power_of_two;      /* numbers */
    const char *help;
};

struct object_desc;

/* In a table that ends with name NULL, or is NULL. */
const struct property *property_find(const struct property *table, const char *name);

/*
 * Reads `text` and stores it in the structure at `base`; NULL: only checks it. 0, or -EINVAL with a
 * message that names property and value. A back end is only checked: who knows the set stores it.
 */
int property_set(const struct property *p, void *base, const char *text, GError **err);

/*
 * Whether a table understands the options of an object: names, texts, what is required. For the
 * options that the table lacks `other` is asked, which may be NULL: 1 understood, 0 unknown, -1
 * with `err`.
 */
int property_check(const struct property *table, const struct object_desc *desc,
                   int (*other)(const void *opaque, const char *name, const char *value,
                                GError **err),
                   const void *opaque, GError **err);

/* On zeroed memory: the defaults of a whole table. */
void property_set_defaults(const struct property *table, void *base);
void property_free_strings(const struct property *table, void *base);

/* One line a property for people: "  vgamem_mb=NUMBER  MiB of video memory (default 16)". */
void property_help(const struct property *table, GString *to);

#endif
