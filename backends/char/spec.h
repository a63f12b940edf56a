/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text form of a character back end, taken apart. */
#ifndef BACKENDS_HOST_CHARDEV_SPEC_H
#define BACKENDS_HOST_CHARDEV_SPEC_H

#include <stdbool.h>

#include <glib.h>

enum chardev_kind {
    CHARDEV_NONE, /* no back end: the port has no chip behind it */
    CHARDEV_NULL,
    CHARDEV_PTY,
    CHARDEV_STDIO,
    CHARDEV_FILE,
    CHARDEV_PIPE,
    CHARDEV_UNIX,
    CHARDEV_TCP,
};

struct chardev_spec {
    enum chardev_kind kind;
    char *path;        /* FILE, PIPE, UNIX; may hold commas */
    char *host, *port; /* TCP */
    bool server, wait, nodelay, append;
};

int chardev_spec_parse(struct chardev_spec *spec, const char *label, const char *text,
                       GError **err);
void chardev_spec_clear(struct chardev_spec *spec);

#endif
