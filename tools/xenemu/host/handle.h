/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A library's handle as Xen knows it: whose it is, what it owns. Mappings and event channels belong
 * to one; rpc/connections.c makes and ends them.
 */
#ifndef XENEMU_HANDLE_H
#define XENEMU_HANDLE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include "loop.h"

struct conn {
    struct source src; /* must be first */
    char *lib;
    uint32_t pid;
    int64_t restrict_domid; /* -1 = unrestricted */
    bool is_dm;
    int stream;            /* evtchn: our end */
    uint64_t stream_inode; /* of the process's end: names it to whoever inherits it */
    bool orphan; /* the handle is closed, but the stream is open: somebody may inherit it */
    struct source stream_src;
    bool stream_armed;
    uint8_t partial[4];
    unsigned int partial_len;
    GPtrArray *ports; /* struct port *, owned by this handle */
    uint64_t calls;
};

#endif
