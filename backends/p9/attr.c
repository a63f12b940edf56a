/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known of a file, and what changes that: attributes, small and extended. */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "session.h"

#define GETATTR_BASIC UINT64_C(0x7ff) /* P9_STATS_BASIC: no birth time, generation, version */
#define V9FS_MAGIC 0x01021997u        /* linux/magic.h */

/* Of Tsetattr. */
#define ATTR_MODE 0x001u
#define ATTR_UID 0x002u
#define ATTR_GID 0x004u
#define ATTR_SIZE 0x008u
#define ATTR_ATIME 0x010u
#define ATTR_MTIME 0x020u
#define ATTR_CTIME 0x040u
#define ATTR_ATIME_SET 0x080u
#define ATTR_MTIME_SET 0x100u

static void put_time(struct request *r, const struct timespec *t)
{
    p9_put_u64(&r->out, (uint64_t)t->tv_sec);
    p9_put_u64(&r->out, (uint64_t)t->tv_nsec);
}

int do_getattr(struct request *r)
{
    struct fid *fid = request_fid(r);
    struct stat st;
    int rc = fid ? fid_look(r, fid) : -EBADF;

    rc = rc < 0 ? rc : model_stat(r->s->model, rc, &st);
    if (rc < 0) {
        return rc;
    }
    p9_put_u64(&r->out, GETATTR_BASIC);
    put_qid(r, &st);
    p9_put_u32(&r->out, st.st_mode);
    p9_put_u32(&r->out, st.st_uid);
    p9_put_u32(&r->out, st.st_gid);
    p9_put_u64(&r->out, st.st_nlink);
    p9_put_u64(&r->out, st.st_rdev);
    p9_put_u64(&r->out, (uint64_t)st.st_size);
    p9_put_u64(&r->out, session_iounit(r->s, &st));
    p9_put_u64(&r->out, (uint64_t)st.st_blocks);
    put_time(r, &st.st_atim);
    put_time(r, &st.st_mtim);
    put_time(r, &st.st_ctim);
    for (unsigned i = 0; i < 4; i++) { /* birth time, generation, version */
        p9_put_u64(&r->out, 0);
    }
    return 0;
}

struct wanted {
    uint32_t valid, mode, uid, gid;
    uint64_t size;
    struct timespec times[2];
};

static struct timespec time_of(struct request *r, uint32_t valid, uint32_t change, uint32_t set)
{
    struct timespec t;

    t.tv_sec = (time_t)p9_u64(&r->in);
    t.tv_nsec = (long)p9_u64(&r->in);
    if (!(valid & change)) {
        t.tv_nsec = UTIME_OMIT;
    } else if (!(valid & set)) {
        t.tv_nsec = UTIME_NOW;
    } else if (t.tv_nsec < 0 || t.tv_nsec >= 1000000000) {
        r->in.bad = true;
    }
    return t;
}

static void read_wanted(struct request *r, struct wanted *w)
{
    w->valid = p9_u32(&r->in);
    w->mode = p9_u32(&r->in);
    w->uid = p9_u32(&r->in);
    w->gid = p9_u32(&r->in);
    w->size = p9_u64(&r->in);
    w->times[0] = time_of(r, w->valid, ATTR_ATIME, ATTR_ATIME_SET);
    w->times[1] = time_of(r, w->valid, ATTR_MTIME, ATTR_MTIME_SET);
}

static int set_owner(enum model m, int fd, const struct wanted *w)
{
    uint32_t uid = w->valid & ATTR_UID ? w->uid : UINT32_MAX;
    uint32_t gid = w->valid & ATTR_GID ? w->gid : UINT32_MAX;

    /* A change of nothing but the time of change is one, too. */
    if (uid == UINT32_MAX && gid == UINT32_MAX &&
        (w->valid & (ATTR_CTIME | ATTR_SIZE | ATTR_MODE | ATTR_ATIME | ATTR_MTIME)) != ATTR_CTIME) {
        return 0;
    }
    return model_chown(m, fd, uid, gid);
}

int do_setattr(struct request *r)
{
    struct fid *fid = request_fid(r);
    struct wanted w;
    int fd, rc = 0;

    read_wanted(r, &w);
    if (!fid || r->in.bad) {
        return fid ? -EINVAL : -EBADF;
    }
    fd = fid_look(r, fid);
    if (fd < 0) {
        return fd;
    }
    if (w.valid & ATTR_MODE) {
        rc = model_chmod(r->s->model, fd, w.mode);
    }
    if (rc == 0 && (w.valid & (ATTR_ATIME | ATTR_MTIME))) {
        rc = utimensat(AT_FDCWD, fd_name(fd).text, w.times, 0) < 0 ? -errno : 0;
    }
    rc = rc ? rc : set_owner(r->s->model, fd, &w);
    if (rc == 0 && (w.valid & ATTR_SIZE)) {
        rc = w.size > INT64_MAX                              ? -EFBIG
             : truncate(fd_name(fd).text, (off_t)w.size) < 0 ? -errno
                                                             : 0;
    }
    return rc;
}

int do_statfs(struct request *r)
{
    struct fid *fid = request_fid(r);
    struct statfs fs;
    int fd = fid ? fid_look(r, fid) : -EBADF;

    if (fd < 0) {
        return fd;
    }
    if (fstatfs(fd, &fs) < 0) {
        return -errno;
    }
    p9_put_u32(&r->out, V9FS_MAGIC);
    p9_put_u32(&r->out, (uint32_t)fs.f_bsize);
    p9_put_u64(&r->out, fs.f_blocks);
    p9_put_u64(&r->out, fs.f_bfree);
    p9_put_u64(&r->out, fs.f_bavail);
    p9_put_u64(&r->out, fs.f_files);
    p9_put_u64(&r->out, fs.f_ffree);
    p9_put_u64(&r->out,
               (uint32_t)fs.f_fsid.__val[0] | (uint64_t)(uint32_t)fs.f_fsid.__val[1] << 32);
    p9_put_u32(&r->out, (uint32_t)fs.f_namelen);
    return 0;
}

/* ---- extended attributes ---- */

/* What the guest may see of the host's list, in place. */
static size_t filter_list(enum model m, char *list, size_t size)
{
    size_t kept = 0;

    for (size_t at = 0; at < size;) {
        size_t len = strnlen(list + at, size - at);
        const char *shown = at + len < size ? model_xattr_shown(m, list + at) : NULL;

        if (shown) {
            size_t n = strlen(shown) + 1;

            memmove(list + kept, shown, n);
            kept += n;
        }
        at += len + 1;
    }
    return kept;
}

/* Of an attribute, or, with an empty name, of the list. Bytes, or -errno. */
static long read_xattr(struct request *r, int fd, const char *name, void *data, size_t size)
{
    char buf[XATTR_NAME_MAX + 64];
    const char *there = name[0] ? model_xattr_name(r->s->model, name, buf, sizeof(buf)) : "";
    long n;

    if (!there) {
        return -ENODATA;
    }
    n = there[0] ? getxattr(fd_name(fd).text, there, data, size)
                 : listxattr(fd_name(fd).text, data, size);
    if (n < 0) {
        return -errno;
    }
    return there[0] ? n : (long)filter_list(r->s->model, data, (size_t)n);
}

int do_xattrwalk(struct request *r)
{
    static uint8_t data[XATTR_MAX];
    struct fid *fid = request_fid(r), *made;
    uint32_t number = p9_u32(&r->in);
    const char *name = p9_string(&r->in);
    long n;
    int rc;

    if (!fid || r->in.bad || number == fid->number) {
        return fid ? -EINVAL : -EBADF;
    }
    n = fid_look(r, fid);
    n = n < 0 ? n : read_xattr(r, (int)n, name, data, sizeof(data));
    if (n < 0) {
        return (int)n;
    }
    rc = fids_add(&r->s->fids, number, fid->node, fid->uid, &made);
    if (rc < 0) {
        return rc;
    }
    rc = fids_xattr(&r->s->fids, made, FID_XATTR_READ, (size_t)n);
    if (rc < 0) {
        fids_remove(&r->s->fids, &r->s->tree, made);
        return rc;
    }
    memcpy(made->xattr.data, data, (size_t)n);
    p9_put_u64(&r->out, (uint64_t)n);
    return 0;
}

/* fid[4] name[s] attr_size[8] flags[4]: what is written to the fid is set when it is clunked. */
int do_xattrcreate(struct request *r)
{
    struct fid *fid = request_fid(r);
    const char *name = p9_string(&r->in);
    uint64_t size = p9_u64(&r->in);
    uint32_t flags = p9_u32(&r->in);
    char *copy;
    int rc;

    if (!fid || r->in.bad || (flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE))) {
        return fid ? -EINVAL : -EBADF;
    }
    if (fid->kind != FID_NAME || size > XATTR_MAX) {
        return fid->kind != FID_NAME ? -EBUSY : -E2BIG;
    }
    copy = strdup(name);
    rc = copy ? fids_xattr(&r->s->fids, fid, FID_XATTR_WRITE, (size_t)size) : -ENOMEM;
    if (rc < 0) {
        free(copy);
        return rc;
    }
    fid->xattr.name = copy;
    fid->xattr.flags = (int)flags;
    return 0;
}

int xattr_commit(struct request *r, struct fid *fid)
{
    char buf[XATTR_NAME_MAX + 64];
    const char *name = model_xattr_name(r->s->model, fid->xattr.name, buf, sizeof(buf));
    int fd = node_handle(&r->s->tree, fid->node), rc;

    if (fd < 0 || !name) {
        return fd < 0 ? fd : -EACCES;
    }
    if (fid->xattr.done < fid->xattr.size) {
        return -EINVAL; /* not all of it was written */
    }
    rc = fid->xattr.size == 0 && fid->xattr.flags == 0
             ? removexattr(fd_name(fd).text, name)
             : setxattr(fd_name(fd).text, name, fid->xattr.data, fid->xattr.size, fid->xattr.flags);
    return rc < 0 ? -errno : 0;
}
