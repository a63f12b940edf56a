/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names: what makes, moves and removes them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "session.h"

#define AT_REMOVEDIR_9P 0x200u /* Linux' AT_REMOVEDIR */

/* A directory and a name in it, both next in the request. */
struct entry {
    struct fid *dir;
    char *name;
    int handle; /* of the directory */
};

static struct entry read_entry(struct request *r)
{
    struct entry e = {.handle = -1};

    e.dir = request_fid(r);
    e.name = p9_string(&r->in);
    return e;
}

static int name_error(const char *name)
{
    return node_name_is_good(name) ? 0 : name[0] == '.' ? -EEXIST : -ENOENT;
}

static int open_entry(struct request *r, struct entry *e)
{
    int rc = !e->dir ? -EBADF : r->in.bad ? -EINVAL : name_error(e->name);

    e->handle = rc ? rc : node_handle(&r->s->tree, e->dir->node);
    return e->handle < 0 ? e->handle : 0;
}

/* ---- making ---- */

/* What was made gets its owner and mode; or it is not there. Closes it. */
static int settle(struct request *r, const struct entry *e, int fd, mode_t mode, uint32_t gid,
                  dev_t rdev)
{
    struct stat st;
    int rc = model_settle(r->s->model, fd, mode, e->dir->uid, gid, rdev);

    rc = rc ? rc : model_stat(r->s->model, fd, &st);
    close(fd);
    if (rc < 0) {
        unlinkat(e->handle, e->name, S_ISDIR(mode) ? AT_REMOVEDIR : 0);
        return rc;
    }
    return put_qid(r, &st);
}

int do_mkdir(struct request *r)
{
    struct entry e = read_entry(r);
    uint32_t mode = p9_u32(&r->in), gid = p9_u32(&r->in);
    int rc = open_entry(r, &e), fd;

    if (rc < 0) {
        return rc;
    }
    if (mkdirat(e.handle, e.name, model_first_mode(true)) < 0) {
        return -errno;
    }
    fd = open_beneath(e.handle, e.name, O_PATH | O_DIRECTORY, 0);
    return fd < 0 ? fd : settle(r, &e, fd, S_IFDIR | (mode & 07777), gid, 0);
}

int do_symlink(struct request *r)
{
    struct entry e = read_entry(r);
    const char *target = p9_string(&r->in);
    uint32_t gid = p9_u32(&r->in);
    int rc = open_entry(r, &e), fd;

    if (rc < 0) {
        return rc;
    }
    fd = model_symlink(r->s->model, e.handle, e.name, target);
    return fd < 0 ? fd : settle(r, &e, fd, S_IFLNK | 0777, gid, 0);
}

/* dfid[4] name[s] mode[4] major[4] minor[4] gid[4] */
int do_mknod(struct request *r)
{
    struct entry e = read_entry(r);
    uint32_t mode = p9_u32(&r->in), high = p9_u32(&r->in), low = p9_u32(&r->in);
    uint32_t gid = p9_u32(&r->in);
    int rc = open_entry(r, &e), fd;

    if (rc < 0) {
        return rc;
    }
    mode |= mode & S_IFMT ? 0 : S_IFREG;
    if (S_ISDIR(mode) || S_ISLNK(mode)) {
        return -EINVAL;
    }
    fd = model_special(r->s->model, e.handle, e.name, mode);
    return fd < 0 ? fd : settle(r, &e, fd, mode, gid, makedev(high, low));
}

int do_link(struct request *r)
{
    struct fid *dir = request_fid(r), *fid = request_fid(r);
    struct entry e = {.dir = dir, .name = p9_string(&r->in)};
    struct node *n = fid ? fid->node : NULL;
    int rc = fid ? open_entry(r, &e) : -EBADF, from;

    if (rc < 0) {
        return rc;
    }
    if (!n->parent || !n->there) {
        return n->parent ? -ENOENT : -EPERM;
    }
    from = node_handle(&r->s->tree, n->parent);
    if (from < 0) {
        return from;
    }
    return linkat(from, n->name, e.handle, e.name, 0) < 0 ? -errno : 0;
}

/* ---- making and opening ---- */

#define DOTL_EXCL 00000200u

/* *fd: of a new file; or -EEXIST. Its owner and mode are the guest's. */
static int create_new(struct request *r, const struct entry *e, int flags, uint32_t mode,
                      uint32_t gid)
{
    int fd = open_beneath(e->handle, e->name, flags | O_CREAT | O_EXCL | O_NONBLOCK,
                          model_first_mode(false));
    int rc =
        fd < 0 ? fd : model_settle(r->s->model, fd, S_IFREG | (mode & 07777), e->dir->uid, gid, 0);

    if (fd >= 0 && rc < 0) {
        close(fd);
        unlinkat(e->handle, e->name, 0);
    }
    return rc < 0 ? rc : fd;
}

/* fid[4] name[s] flags[4] mode[4] gid[4]: the fid is the file's afterwards. */
int do_lcreate(struct request *r)
{
    struct entry e = read_entry(r);
    uint32_t flags = p9_u32(&r->in), mode = p9_u32(&r->in), gid = p9_u32(&r->in);
    int rc = open_entry(r, &e), fd, how = dotl_flags(flags) & ~O_DIRECTORY;
    struct node *n = NULL;
    struct stat st;

    rc = rc ? rc : e.dir->kind != FID_NAME ? -EBUSY : fids_may_open(&r->s->fids);
    if (rc < 0) {
        return rc;
    }
    fd = create_new(r, &e, how, mode, gid);
    if (fd < 0 && (fd != -EEXIST || (flags & DOTL_EXCL))) {
        return fd;
    }
    rc = node_find(&r->s->tree, e.dir->node, e.name, &st, &n);
    if (rc == 0 && fd == -EEXIST) { /* what was there: as if it had been opened */
        fd = open_handle(r, n->handle, how, &st);
        rc = MIN(fd, 0);
    } else if (rc == 0) {
        rc = model_stat(r->s->model, fd, &st);
    }
    if (rc == 0 && S_ISDIR(st.st_mode)) {
        rc = -EISDIR;
    }
    if (rc < 0) {
        if (fd >= 0) {
            close(fd);
        }
        node_unref(&r->s->tree, n);
        return rc;
    }
    node_unref(&r->s->tree, e.dir->node);
    e.dir->node = n;
    fids_opened(&r->s->fids, e.dir, FID_FILE, fd);
    put_qid(r, &st);
    p9_put_u32(&r->out, session_iounit(r->s, &st));
    return 0;
}

/* ---- moving and removing ---- */

static int move(struct request *r, struct node *from, const char *name, struct entry *to)
{
    struct tree *t = &r->s->tree;
    int handle;

    tree_hold(t, to->dir->node, to->name);
    handle = node_handle(t, from);
    to->handle = node_handle(t, to->dir->node);
    if (handle < 0 || to->handle < 0) {
        return MIN(handle, to->handle);
    }
    if (renameat(handle, name, to->handle, to->name) < 0) {
        return -errno;
    }
    tree_moved(t, from, name, to->dir->node, to->name);
    return 0;
}

int do_renameat(struct request *r)
{
    struct entry from = read_entry(r), to = read_entry(r);
    int rc = open_entry(r, &from);

    rc = rc ? rc : open_entry(r, &to);
    return rc ? rc : move(r, from.dir->node, from.name, &to);
}

int do_rename(struct request *r)
{
    struct fid *fid = request_fid(r);
    struct entry to = read_entry(r);
    int rc = fid ? open_entry(r, &to) : -EBADF;

    if (rc < 0) {
        return rc;
    }
    if (!fid->node->parent || !fid->node->there) {
        return fid->node->parent ? -ENOENT : -EBUSY;
    }
    return move(r, fid->node->parent, fid->node->name, &to);
}

static int remove_name(struct request *r, struct node *dir, const char *name, int flags)
{
    int handle;

    tree_hold(&r->s->tree, dir, name);
    handle = node_handle(&r->s->tree, dir);
    if (handle < 0) {
        return handle;
    }
    if (unlinkat(handle, name, flags) < 0) {
        return -errno;
    }
    tree_removed(&r->s->tree, dir, name);
    return 0;
}

int do_unlinkat(struct request *r)
{
    struct entry e = read_entry(r);
    uint32_t flags = p9_u32(&r->in);
    int rc = open_entry(r, &e);

    if (rc < 0 || (flags & ~AT_REMOVEDIR_9P)) {
        return rc < 0 ? rc : -EINVAL;
    }
    return remove_name(r, e.dir->node, e.name, flags ? AT_REMOVEDIR : 0);
}

/* The fid is gone, whatever becomes of the file. */
int do_remove(struct request *r)
{
    struct fid *fid = request_fid(r);
    struct node *n = fid ? fid->node : NULL;
    struct stat st;
    int rc = n ? node_handle(&r->s->tree, n) : -EBADF;

    if (!n) {
        return rc;
    }
    rc = rc < 0                                    ? rc
         : !n->parent                              ? -EBUSY
         : !n->there                               ? -ENOENT
         : fstatat(rc, "", &st, AT_EMPTY_PATH) < 0 ? -errno
                                                   : 0;
    if (rc == 0) {
        rc = remove_name(r, n->parent, n->name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0);
    }
    fids_remove(&r->s->fids, &r->s->tree, fid);
    return rc;
}
