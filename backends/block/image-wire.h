/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon and the keeper of one medium (xendm-image) say to each other, over a socket of
 * whole messages. The keeper was told on its command line what the medium is, before the daemon
 * gave up its privileges; all that it can be asked for later is another connection to it.
 */
#ifndef BACKENDS_BLOCK_IMAGE_WIRE_H
#define BACKENDS_BLOCK_IMAGE_WIRE_H

#include <stdint.h>

#define IMAGE_TEXT 480

enum image_kind {
    /* To the keeper: a connection, to a new server. The one before is ended. */
    IMAGE_CONNECT = 1,
    IMAGE_LOOK, /* … that reads only, and takes no lock */
    IMAGE_STOP, /* ends the server */
    /* From the keeper, with the serial of what it answers. */
    IMAGE_CONNECTED_NBD,   /* with a descriptor, */
    IMAGE_CONNECTED_VHOST, /* … on which the server speaks this */
    IMAGE_FAILED,
    IMAGE_STOPPED,
    IMAGE_ENDED, /* the server that was started for `serial` did, by itself or as asked */
};

struct image_message {
    uint32_t kind, serial;
    int32_t error;         /* FAILED: errno. ENDED: 0 when it was in good order */
    char text[IMAGE_TEXT]; /* FAILED, ENDED: what there is to say, NUL-terminated */
};

#endif
