/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "fids.h"

#define TABLE_FIRST 64u

bool fids_init(struct fids *f, unsigned open_max)
{
    *f = (struct fids){.table_size = TABLE_FIRST, .open_max = open_max};
    f->table = calloc(TABLE_FIRST, sizeof(*f->table));
    return f->table != NULL;
}

static struct fid **place(const struct fids *f, uint32_t number)
{
    struct fid **p = &f->table[(number * UINT32_C(0x9e3779b1) >> 8) & (f->table_size - 1)];

    while (*p && (*p)->number != number) {
        p = &(*p)->next;
    }
    return p;
}

struct fid *fids_find(const struct fids *f, uint32_t number)
{
    return *place(f, number);
}

static void grow(struct fids *f)
{
    struct fids old = *f;
    struct fid **table =
        f->count > f->table_size ? calloc(f->table_size * 4, sizeof(*table)) : NULL;

    if (!table) {
        return;
    }
    f->table = table;
    f->table_size *= 4;
    for (size_t i = 0; i < old.table_size; i++) {
        while (old.table[i]) {
            struct fid *fid = old.table[i];

            old.table[i] = fid->next;
            fid->next = NULL;
            *place(f, fid->number) = fid;
        }
    }
    free(old.table);
}

int fids_add(struct fids *f, uint32_t number, struct node *node, uint32_t uid, struct fid **made)
{
    struct fid *fid;

    if (number == UINT32_MAX || *place(f, number)) {
        return -EBADF;
    }
    if (f->count >= FIDS_MAX) {
        return -ENFILE;
    }
    grow(f);
    fid = calloc(1, sizeof(*fid));
    if (!fid) {
        return -ENOMEM;
    }
    fid->number = number;
    fid->node = node_ref(node);
    fid->fd = -1;
    fid->uid = uid;
    *place(f, number) = fid;
    f->count++;
    *made = fid;
    return 0;
}

void fids_remove(struct fids *f, struct tree *t, struct fid *fid)
{
    *place(f, fid->number) = fid->next;
    f->count--;
    if (fid->fd >= 0) {
        close(fid->fd);
        f->open--;
    }
    f->xattr_bytes -= fid->xattr.data ? fid->xattr.size : 0;
    free(fid->xattr.name);
    free(fid->xattr.data);
    node_unref(t, fid->node);
    free(fid);
}

void fids_remove_all(struct fids *f, struct tree *t)
{
    for (size_t i = 0; i < f->table_size; i++) {
        while (f->table[i]) {
            fids_remove(f, t, f->table[i]);
        }
    }
}

int fids_may_open(const struct fids *f)
{
    return f->open < f->open_max ? 0 : -ENFILE;
}

void fids_opened(struct fids *f, struct fid *fid, enum fid_kind kind, int fd)
{
    fid->kind = kind;
    fid->fd = fd;
    f->open++;
}

int fids_xattr(struct fids *f, struct fid *fid, enum fid_kind kind, size_t size)
{
    if (size > XATTR_MAX) {
        return -E2BIG;
    }
    if (f->xattr_bytes + size > XATTR_BYTES_MAX) {
        return -ENOSPC;
    }
    fid->xattr.data = calloc(1, size ? size : 1);
    if (!fid->xattr.data) {
        return -ENOMEM;
    }
    fid->xattr.size = size;
    fid->kind = kind;
    f->xattr_bytes += size;
    return 0;
}
