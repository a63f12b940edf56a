/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is opened, made and removed by name while a guest is served. Behind the sandbox line a
 * process sees no names any more: then somebody else does it (dm/sandbox/broker.c) and says no to
 * what nobody may ask for. Before that, and in programs without a sandbox, it is done here.
 *
 * All return -errno; -EACCES may be the broker's word, files_why() has the text.
 */
#ifndef XENDM_FILES_H
#define XENDM_FILES_H

#include <stdbool.h>
#include <sys/types.h>

/* Pictures that are written at the same time. */
#define FILES_PICTURES 8u

/* For reading: a medium, an option ROM. A descriptor. Nothing but files and block devices. */
int files_open_read(const char *path);
/* For reading and writing: a disk's image. */
int files_open_write(const char *path);

/*
 * The keeper of an image server or of connections to an NBD server (backends/block/keeper.c): its
 * socket. By name, or, with `file` NULL, of the open file `image`, for reading, which stays the
 * caller's. What is not a PV disk of the domain's is served for reading, and the image alone: not
 * what its metadata may name. -ENOSYS: nobody starts it for us.
 */
int files_start_keeper(const char *driver, const char *file, int image, unsigned flags);
enum {
    FILES_KEEPER_READS = 1 << 0,  /* and does not write */
    FILES_KEEPER_DIRECT = 1 << 1, /* past the host's page cache */
};

/*
 * The socket of a server for a directory (xendm/p9.h), by a security model. -ENOSYS: nobody does it
 * for us.
 */
int files_serve_tree(const char *path, const char *model, bool read_only);

/* The socket of the process that has a USB device (xendm/usb-host.h). -ENOSYS: as above. */
int files_serve_usb(const char *where);

/*
 * A picture: written beside `path`, and put there when it is complete. What is there and no regular
 * file stays as it is: -EEXIST. A descriptor, and `*picture` for files_picture_end().
 */
int files_picture_begin(const char *path, unsigned *picture);
int files_picture_end(unsigned picture, bool complete);

/* A socket that we made, if its name still leads to it: a successor may have put its own there. */
int files_remove_socket(const char *path, dev_t device, ino_t inode);

/* A block device's pages in the host's cache: dropped. */
int files_drop_cache(int fd);

/* The text for an error of these. */
const char *files_why(int error);

struct files_ops {
    int (*open_read)(const char *path);
    int (*open_write)(const char *path);
    int (*start_keeper)(const char *driver, const char *file, int image, unsigned flags);
    int (*serve_tree)(const char *path, const char *model, bool read_only);
    int (*serve_usb)(const char *where);
    int (*picture_begin)(const char *path, unsigned *picture);
    int (*picture_end)(unsigned picture, bool complete);
    int (*remove_socket)(const char *path, dev_t device, ino_t inode);
    int (*drop_cache)(int fd);
};

/* From now on by those. */
void files_set_ops(const struct files_ops *ops);

#endif
