/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text of -vnc, read; and the sockets it asks for. */
#ifndef BACKENDS_VNC_OPTIONS_H
#define BACKENDS_VNC_OPTIONS_H

#include <stdbool.h>

#include <glib.h>

enum vnc_share {
    VNC_SHARE_ALLOW_EXCLUSIVE, /* who wants to be alone drives the others out */
    VNC_SHARE_FORCE_SHARED,    /* who wants to be alone is refused */
    VNC_SHARE_IGNORE,          /* all share, whatever they want */
};

struct vnc_options {
    char *host;           /* "": all addresses */
    char *unix_path;      /* NULL: TCP */
    unsigned display, to; /* the first free one of these; ports from 5900 */
    bool password;
    bool ipv4, ipv6; /* both: either */
    enum vnc_share share;
    bool websocket;
    unsigned websocket_port; /* 0: 5700 + display */
};

int vnc_options_parse(const char *text, struct vnc_options *o, GError **err);
void vnc_options_clear(struct vnc_options *o);

#define VNC_LISTENERS_MAX 8u

struct vnc_listener {
    int fd;
    bool websocket;
};
/*
 * Opens them all, or none: returns how many, or -errno. o->display is then the one that was free.
 */
int vnc_listen(struct vnc_options *o, struct vnc_listener listeners[VNC_LISTENERS_MAX],
               GError **err);

#endif
