/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parser of the -serial syntax. Options are recognised from the end of the text backwards, so that
 * a path may hold commas: what is no known option belongs to the path.
 */
#include <errno.h>
#include <string.h>

#include <xendm/error.h>

#include "spec.h"

struct option {
    const char *text;
    bool server, wait, nodelay, append; /* which field it is about */
    bool value;
};

static const struct option socket_options[] = {
    {"server", .server = true, .value = true},
    {"server=on", .server = true, .value = true},
    {"server=off", .server = true, .value = false},
    {"wait", .wait = true, .value = true},
    {"wait=on", .wait = true, .value = true},
    {"nowait", .wait = true, .value = false},
    {"wait=off", .wait = true, .value = false},
    {"nodelay", .nodelay = true, .value = true},
    {"nodelay=on", .nodelay = true, .value = true},
    {"nodelay=off", .nodelay = true, .value = false},
    {"delay=off", .nodelay = true, .value = true},
    {NULL},
};

static const struct option file_options[] = {
    {"append=on", .append = true, .value = true},
    {"append=off", .append = true, .value = false},
    {NULL},
};

/* Cuts known options off the end of `text`. */
static void take_options(struct chardev_spec *spec, char *text, const struct option *table)
{
    char *comma;

    while ((comma = strrchr(text, ','))) {
        const struct option *o = table;

        while (o->text && strcmp(o->text, comma + 1) != 0) {
            o++;
        }
        if (!o->text) {
            return;
        }
        if (o->server) {
            spec->server = o->value;
        }
        if (o->wait) {
            spec->wait = o->value;
        }
        if (o->nodelay) {
            spec->nodelay = o->value;
        }
        if (o->append) {
            spec->append = o->value;
        }
        *comma = '\0';
    }
}

static int bad(const char *label, const char *text, const char *why, GError **err)
{
    g_set_error(err, XENDM_ERROR, EINVAL, "%s: '%s': %s", label, text, why);
    return -EINVAL;
}

static int parse_path(struct chardev_spec *spec, const char *label, const char *text,
                      const char *rest, const struct option *options, GError **err)
{
    spec->path = g_strdup(rest);
    take_options(spec, spec->path, options);
    return spec->path[0] ? 0 : bad(label, text, "the path is missing", err);
}

static int parse_tcp(struct chardev_spec *spec, const char *label, const char *text,
                     const char *rest, GError **err)
{
    g_autofree char *copy = g_strdup(rest);
    char *colon;

    take_options(spec, copy, socket_options);
    if (strchr(copy, ',')) {
        return bad(label, text, "unknown option behind the port", err);
    }
    colon = strrchr(copy, ':');
    if (!colon || !colon[1]) {
        return bad(label, text, "the port is missing", err);
    }
    *colon = '\0';
    if (copy[0] == '[' && colon[-1] == ']') { /* [::1]:4000 */
        colon[-1] = '\0';
        spec->host = g_strdup(copy + 1);
    } else {
        spec->host = g_strdup(copy);
    }
    spec->port = g_strdup(colon + 1);
    return 0;
}

int chardev_spec_parse(struct chardev_spec *spec, const char *label, const char *text, GError **err)
{
    const char *rest;
    int rc;

    memset(spec, 0, sizeof(*spec));
    spec->wait = true; /* as QEMU: "server" alone waits for the first client */
    if (strcmp(text, "none") == 0) {
        spec->kind = CHARDEV_NONE;
        return 0;
    }
    if (strcmp(text, "null") == 0) {
        spec->kind = CHARDEV_NULL;
        return 0;
    }
    if (strcmp(text, "pty") == 0) {
        spec->kind = CHARDEV_PTY;
        return 0;
    }
    if (strcmp(text, "stdio") == 0) {
        spec->kind = CHARDEV_STDIO;
        return 0;
    }
    if (g_str_has_prefix(text, "/dev/")) {
        spec->kind = CHARDEV_PIPE; /* a tty or other device, both ways */
        rc = parse_path(spec, label, text, text, (const struct option[]){{NULL}}, err);
    } else if ((rest = text + 5, g_str_has_prefix(text, "file:"))) {
        spec->kind = CHARDEV_FILE;
        rc = parse_path(spec, label, text, rest, file_options, err);
    } else if (g_str_has_prefix(text, "pipe:")) {
        spec->kind = CHARDEV_PIPE;
        rc = parse_path(spec, label, text, rest, (const struct option[]){{NULL}}, err);
    } else if (g_str_has_prefix(text, "unix:")) {
        spec->kind = CHARDEV_UNIX;
        rc = parse_path(spec, label, text, rest, socket_options, err);
    } else if ((rest = text + 4, g_str_has_prefix(text, "tcp:"))) {
        spec->kind = CHARDEV_TCP;
        rc = parse_tcp(spec, label, text, rest, err);
    } else {
        rc = bad(label, text, "this kind of character back end is not implemented", err);
    }
    if (rc < 0) {
        chardev_spec_clear(spec);
    }
    return rc;
}

void chardev_spec_clear(struct chardev_spec *spec)
{
    g_free(spec->path);
    g_free(spec->host);
    g_free(spec->port);
    memset(spec, 0, sizeof(*spec));
}
