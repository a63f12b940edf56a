/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to the daemon's part of VNC.
 *
 *   vnc.c      sockets, keeper, password, who may stay; what xendm/vnc.h offers
 *   viewer.c   one viewer: its server's messages, the picture for it
 */
#ifndef BACKENDS_VNC_VNC_H
#define BACKENDS_VNC_VNC_H

#include <sys/types.h>

#include <xendm/display.h>
#include <xendm/input.h>
#include <xendm/vnc.h>

#include "options.h"
#include "wire.h"

struct vnc_viewer {
    struct vnc *vnc;
    struct vnc_client client;
    int fd; /* to its server */
    unsigned source;
    struct display_watch *watch; /* NULL: it has not asked for a picture yet */
    bool exclusive;              /* wanted to be alone */
    bool gone;                   /* to be freed when nobody is inside */
    bool resized;                /* the server does not know the surface yet */
    unsigned pictures;           /* display_pictures() at the last DONE */
    bool stale;                  /* a message got lost: the next picture is a whole one */
    struct vnc_message damage;   /* gathered while the device draws */
    uint32_t buttons;
    uint8_t keys[96]; /* pressed by this viewer: released when it goes */
};

struct vnc {
    struct vnc_options options;
    char *name, *keymap;
    struct vnc_listener listeners[VNC_LISTENERS_MAX];
    unsigned listener_count;
    int keeper_fd;
    pid_t keeper;
    dev_t device; /* of the socket that we made, with unix: */
    ino_t inode;
    unsigned source;
    GPtrArray *viewers; /* struct vnc_viewer * */
    struct display *display;
    struct input *input;
    bool has_password;
    char password[VNC_PASSWORD_MAX + 1];
    int64_t expires;
    const struct vnc_events *events;
    void *events_opaque;
};

extern const struct input_viewer vnc_input_viewer;

/* Takes the descriptor. */
struct vnc_viewer *viewer_new(struct vnc *v, int fd, const struct vnc_client *client);
void viewer_free(struct vnc_viewer *w);
/* The server ends, and with it the viewer; freed when the loop comes round. */
void viewer_drop(struct vnc_viewer *w);
/* Past password and hello: others may have to go, or this one. By vnc.c. */
void vnc_viewer_ready(struct vnc *v, struct vnc_viewer *w, bool shared);
void vnc_viewer_gone(struct vnc *v, struct vnc_viewer *w);
/* Whether nobody gets in now: the password is not set, or over. */
bool vnc_refuses(const struct vnc *v);

#endif
