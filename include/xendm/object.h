/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device or back end as somebody described it: driver, id, and options as text, in the order in
 * which they were given. The class named by `driver` reads them by its table (property.h).
 */
#ifndef XENDM_OBJECT_H
#define XENDM_OBJECT_H

#include <glib.h>

#include <xendm/property.h>

enum object_what {
    OBJECT_DEVICE,
    OBJECT_BACKEND,
};

struct option_desc {
    char *name, *value;
};

struct object_desc {
    enum object_what what;
    enum backend_kind kind; /* OBJECT_BACKEND */
    char *driver;           /* class name: "ide-hd", "rtl8139"; "raw", "pty", "tap" */
    char *id;               /* NULL: made from the driver */
    GArray *options;        /* struct option_desc */
};

struct object_desc *object_desc_new(enum object_what what, enum backend_kind kind,
                                    const char *driver, const char *id);
/* The same with options: name, value, …, NULL. A value that is NULL leaves the option out. */
struct object_desc *object_desc_make(enum object_what what, enum backend_kind kind,
                                     const char *driver, const char *id,
                                     ...) G_GNUC_NULL_TERMINATED;
struct object_desc *object_desc_copy(const struct object_desc *o);
void object_desc_free(struct object_desc *o); /* NULL: nothing */

/* Sets an option; a second value for the same name takes the first one's place. */
void object_desc_set(struct object_desc *o, const char *name, const char *value);
/* NULL when it was not given. */
const char *object_option(const struct object_desc *o, const char *name);

const char *backend_kind_name(enum backend_kind kind); /* "block", "char" … */

#endif
