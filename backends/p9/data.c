/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is in files, directories and attributes. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "session.h"

#define DIRENT_FIXED (P9_QID + 8u + 1u + 2u) /* of an answer's entry, beside its name */

/* As getdents64() has it. */
struct host_entry {
    uint64_t inode;
    int64_t next;
    uint16_t length;
    uint8_t type;
    char name[];
};

/* ---- reading and writing ---- */

static long read_memory(const struct fid *fid, uint64_t offset, uint8_t *to, size_t count)
{
    size_t n = offset < fid->xattr.size ? MIN(count, fid->xattr.size - (size_t)offset) : 0;

    memcpy(to, fid->xattr.data + (n ? offset : 0), n);
    return (long)n;
}

int do_read(struct request *r)
{
    struct fid *fid = request_fid(r);
    uint64_t offset = p9_u64(&r->in);
    uint32_t count = p9_u32(&r->in);
    struct p9_out head = r->out;
    size_t room = r->out.size - r->out.at - sizeof(count);
    uint8_t *to;
    long n;

    if (!fid || r->in.bad || offset > INT64_MAX) {
        return fid ? -EINVAL : -EBADF;
    }
    if (fid->kind != FID_FILE && fid->kind != FID_XATTR_READ) {
        return fid->kind == FID_DIR ? -EISDIR : -EBADF;
    }
    count = (uint32_t)MIN(count, room);
    p9_put_u32(&r->out, 0);
    to = p9_put_room(&r->out, count);
    n = !to                     ? -EMSGSIZE
        : fid->kind == FID_FILE ? pread(fid->fd, to, count, (off_t)offset)
                                : read_memory(fid, offset, to, count);
    if (n < 0) {
        return to ? -errno : -EMSGSIZE;
    }
    p9_put_u32(&head, (uint32_t)n);
    r->out.at = head.at + (size_t)n;
    return 0;
}

/* An attribute is written from its start to its end, in pieces of any size. */
static long write_memory(struct fid *fid, uint64_t offset, const uint8_t *from, size_t count)
{
    if (offset > fid->xattr.size || count > fid->xattr.size - offset) {
        errno = ENOSPC;
        return -1;
    }
    memcpy(fid->xattr.data + offset, from, count);
    fid->xattr.done = offset == fid->xattr.done ? (size_t)offset + count : fid->xattr.done;
    return (long)count;
}

int do_write(struct request *r)
{
    struct fid *fid = request_fid(r);
    uint64_t offset = p9_u64(&r->in);
    uint32_t count = p9_u32(&r->in);
    long n;

    if (!fid || r->in.bad || offset > INT64_MAX || count > r->data_size) {
        return fid ? -EINVAL : -EBADF;
    }
    if (fid->kind != FID_FILE && fid->kind != FID_XATTR_WRITE) {
        return -EBADF;
    }
    n = fid->kind == FID_FILE ? pwrite(fid->fd, r->data, count, (off_t)offset)
                              : write_memory(fid, offset, r->data, count);
    if (n < 0) {
        return -errno;
    }
    p9_put_u32(&r->out, (uint32_t)n);
    return 0;
}

int do_fsync(struct request *r)
{
    struct fid *fid = request_fid(r);
    uint32_t data_only = p9_u32(&r->in);

    if (!fid || fid->fd < 0) {
        return -EBADF;
    }
    return (data_only ? fdatasync(fid->fd) : fsync(fid->fd)) < 0 ? -errno : 0;
}

/* ---- directories ---- */

/* The type is the host's, but for a model in which a file may be something else. */
static uint8_t shown_type(const struct session *s, const struct host_entry *e)
{
    return s->model == MODEL_MAPPED && e->type == DT_REG ? DT_UNKNOWN : e->type;
}

static bool put_entry(struct request *r, const struct fid *fid, const struct host_entry *e,
                      size_t most)
{
    struct session *s = r->s;
    size_t len = strlen(e->name);
    bool outside = fid->node == s->tree.root && strcmp(e->name, "..") == 0;

    if (r->out.at + DIRENT_FIXED + len > most) {
        return false;
    }
    p9_put_u8(&r->out, e->type == DT_DIR ? 0x80 : e->type == DT_LNK ? 0x02 : 0);
    p9_put_u32(&r->out, 0);
    p9_put_u64(&r->out, outside ? s->root_inode : e->inode);
    p9_put_u64(&r->out, (uint64_t)e->next);
    p9_put_u8(&r->out, shown_type(s, e));
    p9_put_string(&r->out, e->name, len);
    return true;
}

/* As many as fit; 0: the end of the directory. */
static int put_entries(struct request *r, const struct fid *fid, size_t most)
{
    static uint8_t buf[32768] __attribute__((aligned(8)));
    bool any = false;
    long n;

    while ((n = syscall(SYS_getdents64, fid->fd, buf, sizeof(buf))) > 0) {
        for (long at = 0; at < n;) {
            const struct host_entry *e = (const void *)(buf + at);

            if (!put_entry(r, fid, e, most)) {
                return any ? 0 : -EINVAL; /* as getdents(): not even one */
            }
            any = true;
            at += e->length;
        }
    }
    return n < 0 ? -errno : 0;
}

int do_readdir(struct request *r)
{
    struct fid *fid = request_fid(r);
    uint64_t offset = p9_u64(&r->in);
    uint32_t count = p9_u32(&r->in);
    struct p9_out head = r->out;
    size_t first, most;
    int rc;

    if (!fid || r->in.bad || fid->kind != FID_DIR) {
        return fid && r->in.bad ? -EINVAL : -EBADF;
    }
    p9_put_u32(&r->out, 0);
    first = r->out.at;
    most = MIN(r->out.size, first + count);
    if (lseek(fid->fd, (off_t)offset, SEEK_SET) < 0) {
        return -errno;
    }
    rc = put_entries(r, fid, most);
    p9_put_u32(&head, (uint32_t)(r->out.at - first));
    return rc;
}
