/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Image locks, in QEMU's scheme (block/file-posix.c, docs/interop and the manual's "Disk image file
 * locking"), so that neither lets the other write an image that is in use.
 *
 * Four permissions matter here, each a bit. Whoever has permission n holds a shared lock on the
 * byte 100 + n of the image, whoever does not want others to have it holds one on 200 + n; then
 * each looks whether somebody holds the opposite byte. The locks are those of the open file
 * (F_OFD_*): they go where the descriptor goes, through an exec and a fork, and end with its last
 * copy. They are advice, and of one host: two hosts on one LUN do not see each other's.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <xendm/error.h>
#include <xendm/log.h>

#include "driver.h"

#define HAVE_BASE 100
#define DENY_BASE 200

enum {
    PERM_READ = 1 << 0, /* data that makes sense */
    PERM_WRITE = 1 << 1,
    PERM_RESIZE = 1 << 3,
    PERM_BITS = 5,
};

static int lock_byte(int fd, off_t at, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    int n;

    do {
        n = fcntl(fd, F_OFD_SETLK, &lock);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* Whether somebody else holds the byte. */
static bool byte_held(int fd, off_t at)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

void image_unlock(int fd)
{
    for (unsigned i = 0; i < PERM_BITS; i++) {
        lock_byte(fd, HAVE_BASE + (off_t)i, F_UNLCK);
        lock_byte(fd, DENY_BASE + (off_t)i, F_UNLCK);
    }
}

/* 0, or why the host has no such locks for this file. */
static int take(int fd, unsigned have, unsigned deny)
{
    for (unsigned i = 0; i < PERM_BITS; i++) {
        int e = have & 1u << i ? lock_byte(fd, HAVE_BASE + (off_t)i, F_RDLCK) : 0;

        if (e == 0 && deny & 1u << i) {
            e = lock_byte(fd, DENY_BASE + (off_t)i, F_RDLCK);
        }
        if (e < 0) {
            return e;
        }
    }
    return 0;
}

static const char *conflict(int fd, unsigned have, unsigned deny)
{
    for (unsigned i = 0; i < PERM_BITS; i++) {
        if (deny & 1u << i && byte_held(fd, HAVE_BASE + (off_t)i)) {
            return "another process has it open for writing";
        }
        if (have & 1u << i && byte_held(fd, DENY_BASE + (off_t)i)) {
            return i == 0 ? "another process uses it alone"
                          : "another process uses it and allows no other writer";
        }
    }
    return NULL;
}

int image_lock(int fd, bool write, const char *id, const char *file, GError **err)
{
    unsigned have = PERM_READ | (write ? PERM_WRITE : 0), deny = PERM_WRITE | PERM_RESIZE;
    int e = take(fd, have, deny);
    const char *who;

    if (e == -EAGAIN || e == -EACCES) {
        who = "another process holds it exclusively";
    } else if (e < 0) {
        log_info(LOG_BLOCK, "%s: '%s' cannot be locked on this host: %s", id, file, g_strerror(-e));
        return 0;
    } else {
        who = conflict(fd, have, deny);
    }
    if (!who) {
        return 0;
    }
    image_unlock(fd);
    g_set_error(err, XENDM_ERROR, EBUSY, "drive %s: cannot get the %s lock of '%s': %s", id,
                write ? "write" : "read", file, who);
    return -EBUSY;
}
