/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The session: version, attach, walk, open, and which function does the rest. Nothing of a request
 * is believed: numbers of fids are looked up, names are names of one file, counts are held against
 * what is there. A request is copied before it is looked at; of a write the data is not, for it is
 * only passed on.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "session.h"

#define VERSION "9P2000.L"
#define MSIZE_MIN 4096u
#define NOFID UINT32_MAX
#define WALK_MAX 16u
#define READ_OVERHEAD 24u /* P9_IOHDRSZ: what a read or write has beside its data, and some */

/* Flags of Tlopen and Tlcreate are Linux' of most machines, in octal as there. */
#define DOTL_ACCESS 00000003u
#define DOTL_TRUNC 00001000u
#define DOTL_APPEND 00002000u
#define DOTL_DSYNC 00010000u
#define DOTL_DIRECTORY 00200000u
#define DOTL_SYNC 04000000u

struct session *session_new(int root, enum model model, unsigned files)
{
    struct session *s = calloc(1, sizeof(*s));
    struct stat st;

    if (!s || fstat(root, &st) < 0 || !tree_init(&s->tree, root, files / 2) ||
        !fids_init(&s->fids, files / 2)) {
        free(s);
        return NULL;
    }
    s->model = model;
    s->root_device = st.st_dev;
    s->root_inode = st.st_ino;
    return s;
}

void session_free(struct session *s)
{
    fids_remove_all(&s->fids, &s->tree);
    close(s->tree.root->handle);
    free(s->tree.root);
    free(s->tree.table);
    free(s->fids.table);
    free(s);
}

/* ---- what the others need ---- */

struct fid *request_fid(struct request *r)
{
    return fids_find(&r->s->fids, p9_u32(&r->in));
}

int fid_look(struct request *r, struct fid *fid)
{
    return fid->fd >= 0 ? fid->fd : node_handle(&r->s->tree, fid->node);
}

/* The file systems below the root have a number each; the client sees one file system. */
static uint64_t qid_path(struct session *s, const struct stat *st)
{
    unsigned i = 0;

    if (st->st_dev == s->root_device) {
        return st->st_ino;
    }
    while (i < s->ndevices && s->devices[i] != st->st_dev) {
        i++;
    }
    if (i == s->ndevices && i < sizeof(s->devices) / sizeof(s->devices[0])) {
        s->devices[s->ndevices++] = st->st_dev;
    }
    return (st->st_ino & (UINT64_MAX >> 8)) | (uint64_t)(MIN(i, 254) + 1) << 56;
}

int put_qid(struct request *r, const struct stat *st)
{
    p9_put_u8(&r->out, S_ISDIR(st->st_mode) ? 0x80 : S_ISLNK(st->st_mode) ? 0x02 : 0);
    p9_put_u32(&r->out, (uint32_t)st->st_mtime ^ (uint32_t)(st->st_size << 8));
    p9_put_u64(&r->out, qid_path(r->s, st));
    return 0;
}

uint32_t session_iounit(const struct session *s, const struct stat *st)
{
    uint32_t most = s->msize - READ_OVERHEAD;
    uint32_t unit = st->st_blksize > 0 && st->st_blksize <= most ? (uint32_t)st->st_blksize : 1;

    return most - most % unit;
}

/* ---- the session itself ---- */

static int do_version(struct request *r)
{
    struct session *s = r->s;
    uint32_t msize = p9_u32(&r->in);
    const char *version = p9_string(&r->in);
    bool known;

    if (r->in.bad) {
        return -EINVAL;
    }
    if (msize < MSIZE_MIN) {
        return -EMSGSIZE;
    }
    fids_remove_all(&s->fids, &s->tree);
    known = strcmp(version, VERSION) == 0;
    s->msize = known ? (uint32_t)MIN(msize, r->out.size) : 0;
    p9_put_u32(&r->out, (uint32_t)MIN(msize, r->out.size));
    version = known ? VERSION : "unknown";
    p9_put_string(&r->out, version, strlen(version));
    return 0;
}

/* fid[4] afid[4] uname[s] aname[s] n_uname[4]: there is one tree, whatever it is called. */
static int do_attach(struct request *r)
{
    uint32_t number = p9_u32(&r->in), afid = p9_u32(&r->in), uid;
    struct stat st;
    struct fid *fid;
    int rc;

    p9_string(&r->in);
    p9_string(&r->in);
    uid = p9_u32(&r->in);
    if (r->in.bad || afid != NOFID) {
        return -EINVAL;
    }
    rc = model_stat(r->s->model, r->s->tree.root->handle, &st);
    rc = rc ? rc : fids_add(&r->s->fids, number, r->s->tree.root, uid, &fid);
    return rc ? rc : put_qid(r, &st);
}

static int walk_one(struct request *r, struct node **at, const char *name, struct stat *st)
{
    struct node *next;
    int rc;

    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        next = node_ref(name[1] && (*at)->parent ? (*at)->parent : *at);
        rc = node_handle(&r->s->tree, next);
        rc = rc < 0 ? rc : model_stat(r->s->model, rc, st);
        if (rc < 0) {
            node_unref(&r->s->tree, next);
            return rc;
        }
    } else {
        rc = node_find(&r->s->tree, *at, name, st, &next);
        if (rc < 0) {
            return rc;
        }
        if (r->s->model == MODEL_MAPPED) {
            model_stat(r->s->model, next->handle, st);
        }
    }
    node_unref(&r->s->tree, *at);
    *at = next;
    return 0;
}

/* The new fid is there if all names were; else the answer says how many. */
static int walk_end(struct request *r, struct fid *fid, uint32_t number, struct node *at)
{
    struct fid *made;

    if (number != fid->number) {
        return fids_add(&r->s->fids, number, at, fid->uid, &made);
    }
    node_unref(&r->s->tree, fid->node);
    fid->node = node_ref(at);
    return 0;
}

static int do_walk(struct request *r)
{
    struct fid *fid = request_fid(r);
    uint32_t number = p9_u32(&r->in);
    uint16_t count = p9_u16(&r->in), done = 0;
    struct p9_out head = r->out;
    struct node *at;
    int rc = 0;

    if (!fid || r->in.bad || count > WALK_MAX) {
        return fid ? -EINVAL : -EBADF;
    }
    if (fid->kind != FID_NAME || (number != fid->number && fids_find(&r->s->fids, number))) {
        return -EBADF;
    }
    at = node_ref(fid->node);
    p9_put_u16(&r->out, 0);
    while (done < count && rc == 0) {
        struct stat st;
        const char *name = p9_string(&r->in);

        rc = r->in.bad ? -EINVAL : walk_one(r, &at, name, &st);
        if (rc == 0) {
            put_qid(r, &st);
            done++;
        }
    }
    if (done == count) {
        rc = walk_end(r, fid, number, at);
    }
    node_unref(&r->s->tree, at);
    p9_put_u16(&head, done);
    return done > 0 && done < count ? 0 : rc;
}

static int do_clunk(struct request *r)
{
    struct fid *fid = request_fid(r);
    int rc;

    if (!fid) {
        return -EBADF;
    }
    rc = fid->kind == FID_XATTR_WRITE ? xattr_commit(r, fid) : 0;
    fids_remove(&r->s->fids, &r->s->tree, fid);
    return rc;
}

/* ---- opening ---- */

int dotl_flags(uint32_t dotl)
{
    int flags = (int)(dotl & DOTL_ACCESS);

    flags |= dotl & DOTL_TRUNC ? O_TRUNC : 0;
    flags |= dotl & DOTL_APPEND ? O_APPEND : 0;
    flags |= (dotl & DOTL_SYNC) == DOTL_SYNC ? O_SYNC : dotl & DOTL_DSYNC ? O_DSYNC : 0;
    flags |= dotl & DOTL_DIRECTORY ? O_DIRECTORY : 0;
    return flags;
}

int open_handle(struct request *r, int handle, int flags, struct stat *st)
{
    int rc = model_stat(r->s->model, handle, st), fd;
    struct stat real;

    if (rc < 0) {
        return rc;
    }
    if (fstatat(handle, "", &real, AT_EMPTY_PATH) < 0) {
        return -errno;
    }
    if ((!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode)) ||
        (st->st_mode & S_IFMT) != (real.st_mode & S_IFMT)) {
        return S_ISLNK(st->st_mode) ? -ELOOP : -ENXIO;
    }
    rc = fids_may_open(&r->s->fids);
    fd = rc ? -1
            : open(fd_name(handle).text, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* the inode */
    return rc ? rc : fd < 0 ? -errno : fd;
}

static bool changes(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_TRUNC | O_CREAT));
}

static int do_lopen(struct request *r)
{
    struct fid *fid = request_fid(r);
    uint32_t flags = p9_u32(&r->in);
    struct stat st;
    int fd;

    if (!fid || r->in.bad) {
        return fid ? -EINVAL : -EBADF;
    }
    if (fid->kind != FID_NAME) {
        return -EBUSY;
    }
    if (r->s->read_only && changes(dotl_flags(flags))) {
        return -EROFS;
    }
    fd = node_handle(&r->s->tree, fid->node);
    fd = fd < 0 ? fd : open_handle(r, fd, dotl_flags(flags), &st);
    if (fd < 0) {
        return fd;
    }
    fids_opened(&r->s->fids, fid, S_ISDIR(st.st_mode) ? FID_DIR : FID_FILE, fd);
    put_qid(r, &st);
    p9_put_u32(&r->out, session_iounit(r->s, &st));
    return 0;
}

static int do_readlink(struct request *r)
{
    struct fid *fid = request_fid(r);
    char target[4096];
    long n = fid ? fid_look(r, fid) : -EBADF;

    n = n < 0 ? n : model_readlink(r->s->model, (int)n, target, sizeof(target));
    if (n < 0) {
        return (int)n;
    }
    p9_put_string(&r->out, target, (size_t)n);
    return 0;
}

/* ---- what is answered without doing anything ---- */

/* All requests before it are answered. */
static int do_flush(struct request *r)
{
    return 0;
}

static int do_auth(struct request *r)
{
    return -EOPNOTSUPP; /* nobody is asked who he is */
}

/* Locks are the guest's own affair: nobody else has the tree. */
static int do_lock(struct request *r)
{
    struct fid *fid = request_fid(r);

    if (!fid || fid->fd < 0) {
        return -EBADF;
    }
    p9_put_u8(&r->out, 0); /* P9_LOCK_SUCCESS */
    return 0;
}

/* type[1] start[8] length[8] proc_id[4] client_id[s]: nobody has it locked. */
static int do_getlock(struct request *r)
{
    struct fid *fid = request_fid(r);
    uint64_t start, length;
    uint32_t process;
    const char *client;

    p9_u8(&r->in);
    start = p9_u64(&r->in);
    length = p9_u64(&r->in);
    process = p9_u32(&r->in);
    client = p9_string(&r->in);
    if (!fid || fid->fd < 0 || r->in.bad) {
        return -EBADF;
    }
    p9_put_u8(&r->out, 2); /* P9_LOCK_TYPE_UNLCK */
    p9_put_u64(&r->out, start);
    p9_put_u64(&r->out, length);
    p9_put_u32(&r->out, process);
    p9_put_string(&r->out, client, strlen(client));
    return 0;
}

/* ---- one request ---- */

static int (*const handlers[256])(struct request *r) = {
    [P9_TVERSION] = do_version,     [P9_TAUTH] = do_auth,
    [P9_TATTACH] = do_attach,       [P9_TFLUSH] = do_flush,
    [P9_TWALK] = do_walk,           [P9_TCLUNK] = do_clunk,
    [P9_TREMOVE] = do_remove,       [P9_TREAD] = do_read,
    [P9_TWRITE] = do_write,         [P9_TSTATFS] = do_statfs,
    [P9_TLOPEN] = do_lopen,         [P9_TLCREATE] = do_lcreate,
    [P9_TSYMLINK] = do_symlink,     [P9_TMKNOD] = do_mknod,
    [P9_TRENAME] = do_rename,       [P9_TREADLINK] = do_readlink,
    [P9_TGETATTR] = do_getattr,     [P9_TSETATTR] = do_setattr,
    [P9_TXATTRWALK] = do_xattrwalk, [P9_TXATTRCREATE] = do_xattrcreate,
    [P9_TREADDIR] = do_readdir,     [P9_TFSYNC] = do_fsync,
    [P9_TLOCK] = do_lock,           [P9_TGETLOCK] = do_getlock,
    [P9_TLINK] = do_link,           [P9_TMKDIR] = do_mkdir,
    [P9_TRENAMEAT] = do_renameat,   [P9_TUNLINKAT] = do_unlinkat,
};

/* Of a directory that cannot be changed. A fid that is to be removed ends as it does otherwise. */
static int refuse_change(struct request *r, uint8_t type)
{
    switch (type) {
    case P9_TLCREATE:
    case P9_TSYMLINK:
    case P9_TMKNOD:
    case P9_TRENAME:
    case P9_TSETATTR:
    case P9_TXATTRCREATE:
    case P9_TLINK:
    case P9_TMKDIR:
    case P9_TRENAMEAT:
    case P9_TUNLINKAT:
    case P9_TWRITE:
        return -EROFS;
    case P9_TREMOVE:
        do_clunk(r);
        return -EROFS;
    default:
        return 0;
    }
}

static int handle(struct request *r, uint8_t type)
{
    int rc = r->s->read_only ? refuse_change(r, type) : 0;

    return rc ? rc : handlers[type](r);
}

#define WRITE_HEAD (P9_HEADER + 16u) /* fid, offset, count */

/* The copy that is looked at; a write's data stays where it is. False: that is no request. */
static bool copy_request(struct request *r, const uint8_t *message, size_t length, uint8_t type)
{
    size_t copied = type == P9_TWRITE ? MIN(length, WRITE_HEAD) : length;

    if (copied > sizeof(r->s->request)) {
        return false;
    }
    memcpy(r->s->request, message, copied);
    r->in = (struct p9_in){.at = r->s->request + P9_HEADER, .left = copied - P9_HEADER};
    r->data = message + copied;
    r->data_size = length - copied;
    return true;
}

size_t session_handle(struct session *s, uint8_t *message, size_t length, size_t limit)
{
    struct request r = {.s = s, .out = {.start = message, .at = P9_HEADER, .size = limit}};
    uint8_t type = length >= P9_HEADER ? message[4] : 0;
    uint16_t tag = 0xffff; /* NOTAG */
    int rc = -EINVAL;

    if (length >= P9_HEADER) {
        memcpy(&tag, message + 5, sizeof(tag));
    }
    if (s->msize && type != P9_TVERSION) {
        r.out.size = MIN(limit, s->msize);
    }
    if (length >= P9_HEADER && copy_request(&r, message, length, type)) {
        rc = !handlers[type]                        ? -EOPNOTSUPP
             : s->msize == 0 && type != P9_TVERSION ? -EINVAL
                                                    : handle(&r, type);
    }
    rc = rc == 0 && r.out.full ? -EMSGSIZE : rc;
    if (rc < 0) {
        r.out = (struct p9_out){.start = message, .at = P9_HEADER, .size = limit};
        p9_put_u32(&r.out, (uint32_t)-rc);
    }
    p9_put_header(&r.out, rc < 0 ? P9_RLERROR : type + 1, le16toh(tag));
    return r.out.at;
}
