/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to xendm-vnc-server, the process of one viewer.
 *
 *   server.c        messages to and from xendm, the picture, the loop
 *   server-input.c  keys and pointer, and the extensions that concern them
 */
#ifndef BACKENDS_VNC_SERVER_H
#define BACKENDS_VNC_SERVER_H

#include <rfb/rfb.h>
#include <rfb/rfbregion.h>

#include "keymap.h"
#include "wire.h"

struct server {
    rfbScreenInfoPtr screen;
    rfbClientPtr client;
    struct keymap *keymap;
    struct vnc_message start; /* what xendm said first */
    uint8_t *pixels;          /* the surface, read-only; NULL: none yet */
    size_t bytes;

    bool ready;  /* xendm knows that the viewer is past its password */
    bool shared; /* it would share */
    bool failed_auth;
    bool drawing;        /* a REFRESH is under way */
    bool sent;           /* … and something was sent meanwhile */
    sraRegionPtr damage; /* what it has changed so far */
    bool fresh;          /* one has just ended: what is sent now is what the guest shows */
    int64_t next_frame;  /* ms, CLOCK_MONOTONIC */
    unsigned pause;      /* ms between frames: longer while nothing changes */

    bool absolute;    /* the guest's pointer */
    bool relative_ok; /* the viewer can send movements (pseudo encoding -257) */
    int last_x, last_y;
    bool last_known;
    uint32_t buttons;
    bool shift, altgr; /* as the viewer holds them */
};

extern struct server server;

void server_tell(const struct vnc_message *m, size_t size);
void server_hurry(void); /* something was done that will be seen */

void input_init(void);
void input_set_absolute(bool absolute);

#endif
