/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to backends/p9: whose files are, and what mode they have, by security_model as QEMU has
 * it (-fsdev local).
 *
 *   none, passthrough   the guest's owners and modes are the host's; `none` goes on where the host
 *                       does not let us give files away
 *   mapped-xattr        they are attributes (user.virtfs.*) of files that are ours; links and
 *                       special files are regular ones
 *
 * No model makes device nodes on the host. All functions take descriptors, which may be O_PATH, and
 * go by their names in /proc/self/fd, the working directory: no name of a file is looked up again.
 */
#ifndef BACKENDS_P9_MODEL_H
#define BACKENDS_P9_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

enum model {
    MODEL_NONE,
    MODEL_PASSTHROUGH,
    MODEL_MAPPED,
};

/* -1: there is no such. */
int model_find(const char *name);

/* The name of a descriptor in /proc/self/fd. */
struct fd_name {
    char text[16];
};
struct fd_name fd_name(int fd);

/* As the guest sees it. */
int model_stat(enum model m, int fd, struct stat *st);
/* What was made: with its mode, kind included, and owner. `rdev`: of special files. */
int model_settle(enum model m, int fd, mode_t mode, uint32_t uid, uint32_t gid, dev_t rdev);
int model_chmod(enum model m, int fd, mode_t mode);
/* UINT32_MAX: stays. */
int model_chown(enum model m, int fd, uint32_t uid, uint32_t gid);
/* The mode with which open() and mkdir() make what model_settle() gets then. */
mode_t model_first_mode(bool directory);

/* In `dir`. The descriptor (O_PATH) of what was made, or -errno; whoever settles it may fail. */
int model_symlink(enum model m, int dir, const char *name, const char *target);
int model_special(enum model m, int dir, const char *name, mode_t mode);
/* Bytes, without NUL, or -errno. */
long model_readlink(enum model m, int fd, char *target, size_t size);

/* The attribute as it is called on the host, or NULL: the guest has no such. */
const char *model_xattr_name(enum model m, const char *name, char *buf, size_t size);
/* One of the host's list as the guest calls it, or NULL. */
const char *model_xattr_shown(enum model m, const char *name);

#endif
