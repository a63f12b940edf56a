/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character back end: a byte stream between a device of the guest (UART, console) and the host:
 * pty, file, pipe, stdio, null, unix and tcp sockets.
 *
 * Never blocks: what the host side does not take is held back (the device asks again when
 * `writable` is called) or, for ptys and sockets without a reader, dropped, as an unplugged cable
 * would.
 */
#ifndef XENDM_CHARDEV_H
#define XENDM_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

struct backend;
struct chardev; /* embeds struct backend, of kind BACKEND_CHAR */

enum chardev_event {
    CHARDEV_OPENED, /* someone is at the other end (carrier) */
    CHARDEV_CLOSED,
    CHARDEV_BREAK,
};

/* The device's side. Called from the main loop. */
struct chardev_frontend {
    /* how many bytes the device can take now */
    size_t (*can_receive)(void *opaque);
    /* at most can_receive() bytes */
    void (*receive)(void *opaque, const uint8_t *buf, size_t len);
    void (*event)(void *opaque, enum chardev_event event); /* may be NULL */
    /* room again after a short write; may be NULL */
    void (*writable)(void *opaque);
    bool taped; /* it is of the machine: a recording (tape.h) has what it is told */
    bool looks; /* can_receive() looks into guest memory */
};

void chardev_set_frontend(struct chardev *cd, const struct chardev_frontend *frontend,
                          void *opaque);

bool chardev_has_frontend(const struct chardev *cd); /* somebody has it */

/* Takes what it can of `len` bytes and says how many; less than len: `writable` will be called. */
size_t chardev_write(struct chardev *cd, const uint8_t *buf, size_t len);

/* The device can take bytes again after can_receive() said 0. */
void chardev_accept_input(struct chardev *cd);

/*
 * A replay (tape.h): what came from the host. Then nothing else does. False: the device cannot take
 * it.
 */
bool chardev_play_input(struct chardev *cd, const uint8_t *buf, size_t len);
void chardev_play_event(struct chardev *cd, enum chardev_event event);
void chardev_play_room(struct chardev *cd);
void chardev_play_ask(struct chardev *cd);

static inline struct chardev *chardev_of(struct backend *b)
{
    return (struct chardev *)b;
}
static inline struct backend *chardev_backend(struct chardev *cd)
{
    return (struct backend *)cd;
}

/* What query-chardev shows: the back end's id ("serial0"). */
const char *chardev_label(const struct chardev *cd);
/* "pty:/dev/pts/3", "file:…", "unix:…,server=on", "null" … */
const char *chardev_filename(const struct chardev *cd);
bool chardev_connected(const struct chardev *cd);

/* Of a terminal: its columns and rows, both above 0; false: it has none, or they are not known. */
bool chardev_size(const struct chardev *cd, uint16_t *cols, uint16_t *rows);

struct chardev_stats {
    uint64_t bytes_in, bytes_out, dropped;
};
const struct chardev_stats *chardev_stats(const struct chardev *cd);

#endif
