/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to backends/p9: what a client has in hand, by the numbers that it chose. */
#ifndef BACKENDS_P9_FIDS_H
#define BACKENDS_P9_FIDS_H

#include <stdint.h>

#include "tree.h"

#define FIDS_MAX 131072u
#define XATTR_BYTES_MAX (16u << 20) /* of all fids that are attributes */
#define XATTR_MAX 65536u            /* of one: Linux' XATTR_SIZE_MAX and XATTR_LIST_MAX */

enum fid_kind {
    FID_NAME, /* not opened */
    FID_FILE,
    FID_DIR,
    FID_XATTR_READ,
    FID_XATTR_WRITE,
};

struct fid {
    struct fid *next; /* with the same hash */
    uint32_t number;
    enum fid_kind kind;
    struct node *node;
    int fd;       /* opened; -1 */
    uint32_t uid; /* who attached: makes what is made */
    struct {
        char *name;
        uint8_t *data;
        size_t size, done;
        int flags; /* of setxattr() */
    } xattr;
};

struct fids {
    struct fid **table;
    size_t table_size, count;
    unsigned open, open_max; /* descriptors */
    size_t xattr_bytes;
};

bool fids_init(struct fids *f, unsigned open_max);
struct fid *fids_find(const struct fids *f, uint32_t number);
/* 0, or -errno: the number is in use, or there are too many. */
int fids_add(struct fids *f, uint32_t number, struct node *node, uint32_t uid, struct fid **made);
void fids_remove(struct fids *f, struct tree *t, struct fid *fid);
void fids_remove_all(struct fids *f, struct tree *t);
/* `fd` is the fid's from here on; it has to have asked fids_may_open() before. */
int fids_may_open(const struct fids *f);
void fids_opened(struct fids *f, struct fid *fid, enum fid_kind kind, int fd);
/* Memory for an attribute of that size: 0, or -errno. */
int fids_xattr(struct fids *f, struct fid *fid, enum fid_kind kind, size_t size);

#endif
