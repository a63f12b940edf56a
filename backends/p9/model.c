/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "model.h"
#include "tree.h"

/* QEMU's, in its byte order, so that a directory may go from one to the other. */
#define XATTR_PREFIX "user.virtfs."
#define XATTR_ACL "system.posix_acl_"

int model_find(const char *name)
{
    static const struct {
        const char *name;
        enum model model;
    } models[] = {
        {"none", MODEL_NONE},
        {"passthrough", MODEL_PASSTHROUGH},
        {"mapped", MODEL_MAPPED},
        {"mapped-xattr", MODEL_MAPPED},
    };

    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        if (strcmp(models[i].name, name) == 0) {
            return models[i].model;
        }
    }
    return -1;
}

struct fd_name fd_name(int fd)
{
    struct fd_name n;

    snprintf(n.text, sizeof(n.text), "%d", fd);
    return n;
}

static int error_of(int rc)
{
    return rc < 0 ? -errno : 0;
}

/* ---- numbers in attributes ---- */

static bool get_number(int fd, const char *name, uint64_t *value, size_t bytes)
{
    uint64_t raw = 0;

    if (getxattr(fd_name(fd).text, name, &raw, bytes) != (ssize_t)bytes) {
        return false;
    }
    *value = le64toh(raw);
    return true;
}

static int set_number(int fd, const char *name, uint64_t value, size_t bytes)
{
    value = htole64(value);
    return error_of(setxattr(fd_name(fd).text, name, &value, bytes, 0));
}

static bool has_attributes(const struct stat *st)
{
    return S_ISREG(st->st_mode) || S_ISDIR(st->st_mode);
}

int model_stat(enum model m, int fd, struct stat *st)
{
    uint64_t value;

    if (fstatat(fd, "", st, AT_EMPTY_PATH) < 0) {
        return -errno;
    }
    if (m != MODEL_MAPPED || !has_attributes(st)) {
        return 0;
    }
    if (get_number(fd, XATTR_PREFIX "uid", &value, 4)) {
        st->st_uid = (uid_t)value;
    }
    if (get_number(fd, XATTR_PREFIX "gid", &value, 4)) {
        st->st_gid = (gid_t)value;
    }
    /* A directory is one on both sides. */
    if (get_number(fd, XATTR_PREFIX "mode", &value, 4) && S_ISDIR(value) == S_ISDIR(st->st_mode)) {
        st->st_mode = (mode_t)value;
        if ((S_ISCHR(value) || S_ISBLK(value)) && get_number(fd, XATTR_PREFIX "rdev", &value, 8)) {
            st->st_rdev = (dev_t)value;
        }
    }
    return 0;
}

/* ---- making ---- */

mode_t model_first_mode(bool directory)
{
    return directory ? 0700 : 0600;
}

static int settle_mapped(int fd, mode_t mode, uint32_t uid, uint32_t gid, dev_t rdev)
{
    int rc = set_number(fd, XATTR_PREFIX "uid", uid, 4);

    rc = rc ? rc : set_number(fd, XATTR_PREFIX "gid", gid, 4);
    rc = rc ? rc : set_number(fd, XATTR_PREFIX "mode", mode, 4);
    if (rc == 0 && (S_ISCHR(mode) || S_ISBLK(mode))) {
        rc = set_number(fd, XATTR_PREFIX "rdev", rdev, 8);
    }
    return rc;
}

int model_settle(enum model m, int fd, mode_t mode, uint32_t uid, uint32_t gid, dev_t rdev)
{
    int rc;

    if (m == MODEL_MAPPED) {
        return settle_mapped(fd, mode, uid, gid, rdev);
    }
    rc = error_of(fchownat(fd, "", uid, gid, AT_EMPTY_PATH));
    if (rc < 0 && m == MODEL_PASSTHROUGH) {
        return rc;
    }
    /* After the owner, which takes the bits of set-user-ID away. Links have no mode. */
    return S_ISLNK(mode) ? 0 : error_of(chmod(fd_name(fd).text, mode & 07777));
}

int model_chmod(enum model m, int fd, mode_t mode)
{
    struct stat st;
    int rc;

    if (m != MODEL_MAPPED) {
        return error_of(chmod(fd_name(fd).text, mode & 07777));
    }
    rc = model_stat(m, fd, &st);
    return rc ? rc : set_number(fd, XATTR_PREFIX "mode", (st.st_mode & S_IFMT) | (mode & 07777), 4);
}

int model_chown(enum model m, int fd, uint32_t uid, uint32_t gid)
{
    int rc = 0;

    if (m != MODEL_MAPPED) {
        rc = error_of(fchownat(fd, "", uid, gid, AT_EMPTY_PATH));
        return m == MODEL_NONE && rc == -EPERM ? 0 : rc;
    }
    if (uid != UINT32_MAX) {
        rc = set_number(fd, XATTR_PREFIX "uid", uid, 4);
    }
    if (rc == 0 && gid != UINT32_MAX) {
        rc = set_number(fd, XATTR_PREFIX "gid", gid, 4);
    }
    return rc;
}

static int mapped_file(int dir, const char *name, const char *content)
{
    int fd = open_beneath(dir, name, O_CREAT | O_EXCL | O_WRONLY, model_first_mode(false));
    size_t len = strlen(content);

    if (fd >= 0 && write(fd, content, len) != (ssize_t)len) {
        int e = errno ? errno : EIO;

        close(fd);
        unlinkat(dir, name, 0);
        return -e;
    }
    return fd;
}

int model_symlink(enum model m, int dir, const char *name, const char *target)
{
    if (m == MODEL_MAPPED) {
        return mapped_file(dir, name, target);
    }
    return symlinkat(target, dir, name) < 0 ? -errno : open_beneath(dir, name, O_PATH, 0);
}

int model_special(enum model m, int dir, const char *name, mode_t mode)
{
    if (m == MODEL_MAPPED || S_ISREG(mode)) {
        return mapped_file(dir, name, "");
    }
    if (!S_ISFIFO(mode) && !S_ISSOCK(mode)) {
        return -EPERM;
    }
    return mknodat(dir, name, (mode & S_IFMT) | model_first_mode(false), 0) < 0
               ? -errno
               : open_beneath(dir, name, O_PATH, 0);
}

/* A link that is a file on the host: what it has written in it. */
static long read_file(int fd, char *data, size_t size)
{
    int file = open(fd_name(fd).text, O_RDONLY | O_CLOEXEC);
    long n = file < 0 ? -errno : pread(file, data, size, 0);

    n = n < 0 && file >= 0 ? -errno : n;
    if (file >= 0) {
        close(file);
    }
    return n;
}

long model_readlink(enum model m, int fd, char *target, size_t size)
{
    struct stat st, real;
    long n = model_stat(m, fd, &st);

    if (n < 0 || !S_ISLNK(st.st_mode)) {
        return n < 0 ? n : -EINVAL;
    }
    if (fstatat(fd, "", &real, AT_EMPTY_PATH) == 0 && S_ISREG(real.st_mode)) {
        return read_file(fd, target, size);
    }
    n = readlinkat(fd, "", target, size);
    return n < 0 ? -errno : n;
}

/* ---- attributes ---- */

/* What the model keeps of a file is hidden; the guest's access lists are kept, not obeyed. */
const char *model_xattr_name(enum model m, const char *name, char *buf, size_t size)
{
    if (m != MODEL_MAPPED) {
        return name;
    }
    if (strncmp(name, XATTR_ACL, strlen(XATTR_ACL)) == 0) {
        snprintf(buf, size, XATTR_PREFIX "%s", name);
        return buf;
    }
    return strncmp(name, "user.", 5) == 0 && strncmp(name, XATTR_PREFIX, strlen(XATTR_PREFIX)) != 0
               ? name
               : NULL;
}

const char *model_xattr_shown(enum model m, const char *name)
{
    size_t skip = strlen(XATTR_PREFIX);

    if (m != MODEL_MAPPED) {
        return name;
    }
    if (strncmp(name, XATTR_PREFIX, skip) == 0) {
        return strncmp(name + skip, XATTR_ACL, strlen(XATTR_ACL)) == 0 ? name + skip : NULL;
    }
    return strncmp(name, "user.", 5) == 0 ? name : NULL;
}
