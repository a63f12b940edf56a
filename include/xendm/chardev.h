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

struct chardev;

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
};

/*
 * `spec` is QEMU's -serial / -chardev syntax as libxl and users write it: "pty", "null", "none"
 * (gives NULL without error), "stdio", "file:PATH", "pipe:PATH",
 * "unix:PATH[,server=on|off][,wait=off]" (also ",server,nowait"), "tcp:HOST:PORT[,server…]",
 * "telnet:" is refused. `label` is what query-chardev shows ("serial0").
 */
struct chardev *chardev_open(const char *label, const char *spec, GError **err);
void chardev_close(struct chardev *cd);

/*
 * Live update: what a back end holds of the host, for the program that goes on with it: the same
 * pty, the same connection. chardev_adopt() takes the descriptors over, with `spec` as it was;
 * chardev_handles() gives nothing away.
 */
struct chardev_handles {
    int in_fd, out_fd, listen_fd; /* -1: none; in and out may be the same */
    const char *filename;         /* of a pty: which one; owned by the chardev */
    uint64_t device, inode;       /* of the socket that was made for it */
};
void chardev_handles(const struct chardev *cd, struct chardev_handles *out);
struct chardev *chardev_adopt(const char *label, const char *spec,
                              const struct chardev_handles *handles, GError **err);

void chardev_set_frontend(struct chardev *cd, const struct chardev_frontend *frontend,
                          void *opaque);

/* Takes what it can of `len` bytes and says how many; less than len: `writable` will be called. */
size_t chardev_write(struct chardev *cd, const uint8_t *buf, size_t len);

/* The device can take bytes again after can_receive() said 0. */
void chardev_accept_input(struct chardev *cd);

const char *chardev_label(const struct chardev *cd);
/* "pty:/dev/pts/3", "file:…", "unix:…,server=on", "null" … */
const char *chardev_filename(const struct chardev *cd);
bool chardev_connected(const struct chardev *cd);

struct chardev_stats {
    uint64_t bytes_in, bytes_out, dropped;
};
const struct chardev_stats *chardev_stats(const struct chardev *cd);

#endif
