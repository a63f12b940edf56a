/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to backends/p9: a server of 9P2000.L for one exported directory and one client. */
#ifndef BACKENDS_P9_SESSION_H
#define BACKENDS_P9_SESSION_H

#include <stddef.h>
#include <stdint.h>

#include <sys/param.h>

#include "codec.h"
#include "fids.h"
#include "model.h"
#include "tree.h"

#define SESSION_REQUEST_MAX 65536u /* but for the data of a write */

struct session {
    struct tree tree;
    struct fids fids;
    enum model model;
    bool read_only;
    dev_t root_device;
    ino_t root_inode;
    dev_t devices[255]; /* other file systems below, in the order in which they were met */
    unsigned ndevices;
    uint32_t msize; /* 0: no version was agreed on */
    uint8_t request[SESSION_REQUEST_MAX];
};

/*
 * `root`: the directory (O_PATH), the session's from here on. `files`: descriptors that it may have
 * open. The working directory has to be /proc/self/fd. NULL with errno.
 */
struct session *session_new(int root, enum model model, unsigned files);
void session_free(struct session *s);

/*
 * One request, of which the client may change each byte at any time; the answer, of at most `limit`
 * bytes, takes its place. Its length, at least P9_HEADER.
 */
size_t session_handle(struct session *s, uint8_t *message, size_t length, size_t limit);

/* ---- between the files of the session ---- */

struct request {
    struct session *s;
    struct p9_in in;
    struct p9_out out;
    const uint8_t *data; /* of a write: in the client's memory */
    size_t data_size;
};

/* The fid with the number that is next in the request, or NULL. */
struct fid *request_fid(struct request *r);
/* Its descriptor for looking at, or -errno. */
int fid_look(struct request *r, struct fid *fid);
int put_qid(struct request *r, const struct stat *st);
uint32_t session_iounit(const struct session *s, const struct stat *st);
/* open()'s, of Tlopen's and Tlcreate's. */
int dotl_flags(uint32_t dotl);
/* Opens what a handle shows: a file or a directory, and nothing else (CVE-2023-2861). */
int open_handle(struct request *r, int handle, int flags, struct stat *st);

/* Each: 0, and the answer is in `out`; or -errno. */
int do_getattr(struct request *r);
int do_setattr(struct request *r);
int do_statfs(struct request *r);
int do_readdir(struct request *r);
int do_read(struct request *r);
int do_write(struct request *r);
int do_fsync(struct request *r);
int do_xattrwalk(struct request *r);
int do_xattrcreate(struct request *r);
int do_lcreate(struct request *r);
int do_symlink(struct request *r);
int do_mknod(struct request *r);
int do_mkdir(struct request *r);
int do_link(struct request *r);
int do_rename(struct request *r);
int do_renameat(struct request *r);
int do_unlinkat(struct request *r);
int do_remove(struct request *r);

/* A fid that was an attribute to be written goes: now it is written. */
int xattr_commit(struct request *r, struct fid *fid);

#endif
