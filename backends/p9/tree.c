/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tree.h"

#define TABLE_FIRST 256u

int open_beneath(int dir, const char *name, int flags, mode_t mode)
{
    struct open_how how = {
        .flags =
            (uint64_t)(unsigned)(flags | O_CLOEXEC | O_NOFOLLOW | (flags & O_PATH ? 0 : O_NOCTTY)),
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
    };
    long fd;

    do {
        fd = syscall(SYS_openat2, dir, name, &how, sizeof(how));
    } while (fd < 0 && (errno == EINTR || errno == EAGAIN)); /* a rename on the host meanwhile */
    return fd < 0 ? -errno : (int)fd;
}

bool node_name_is_good(const char *name)
{
    return name[0] && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strchr(name, '/');
}

/* ---- those that are open ---- */

static void unlist(struct tree *t, struct node *n)
{
    *(n->older ? &n->older->newer : &t->oldest) = n->newer;
    *(n->newer ? &n->newer->older : &t->newest) = n->older;
    n->older = n->newer = NULL;
}

static void list_newest(struct tree *t, struct node *n)
{
    n->older = t->newest;
    n->newer = NULL;
    *(t->newest ? &t->newest->newer : &t->oldest) = n;
    t->newest = n;
}

static void close_handle(struct tree *t, struct node *n)
{
    if (n->handle >= 0) {
        unlist(t, n);
        close(n->handle);
        n->handle = -1;
        t->open--;
    }
}

static void set_handle(struct tree *t, struct node *n, int fd)
{
    close_handle(t, n);
    while (t->open >= t->open_max) {
        close_handle(t, t->oldest);
    }
    n->handle = fd;
    t->open++;
    list_newest(t, n);
}

/* ---- the table ---- */

static size_t hash(const struct tree *t, const struct node *parent, const char *name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ (uintptr_t)parent; /* FNV-1a */

    for (; *name; name++) {
        h = (h ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
    }
    return (size_t)((h ^ h >> 32) & (t->table_size - 1));
}

static struct node **place(struct tree *t, const struct node *parent, const char *name)
{
    struct node **p = &t->table[hash(t, parent, name)];

    while (*p && ((*p)->parent != parent || strcmp((*p)->name, name) != 0)) {
        p = &(*p)->next;
    }
    return p;
}

static void table_take(struct tree *t, struct node *n)
{
    struct node **p = place(t, n->parent, n->name);

    if (n->there) {
        *p = n->next;
        n->next = NULL;
        n->there = false;
        t->count--;
    }
}

static void table_put(struct tree *t, struct node *n)
{
    struct node **p = place(t, n->parent, n->name);

    n->next = NULL;
    n->there = true;
    *p = n;
    t->count++;
}

/* Without memory it stays as it is: slow, and right. */
static void table_grow(struct tree *t)
{
    struct node **old = t->table;
    size_t size = t->table_size;
    struct node **table = t->count > size ? calloc(size * 2, sizeof(*table)) : NULL;

    if (!table) {
        return;
    }
    t->table = table;
    t->table_size = size * 2;
    t->count = 0;
    for (size_t i = 0; i < size; i++) {
        while (old[i]) {
            struct node *n = old[i];

            old[i] = n->next;
            table_put(t, n);
        }
    }
    free(old);
}

/* ---- nodes ---- */

bool tree_init(struct tree *t, int root, unsigned open_max)
{
    *t = (struct tree){.open_max = open_max, .table_size = TABLE_FIRST};
    t->table = calloc(TABLE_FIRST, sizeof(*t->table));
    t->root = calloc(1, sizeof(*t->root));
    if (!t->table || !t->root) {
        return false;
    }
    t->root->refs = 1;
    t->root->handle = root; /* not on the list: it stays open */
    return true;
}

struct node *node_ref(struct node *n)
{
    n->refs++;
    return n;
}

void node_unref(struct tree *t, struct node *n)
{
    while (n && --n->refs == 0) {
        struct node *parent = n->parent;

        table_take(t, n);
        close_handle(t, n);
        free(n->name);
        free(n);
        n = parent;
    }
}

static struct node *node_new(struct tree *t, struct node *parent, const char *name)
{
    struct node *n = calloc(1, sizeof(*n));
    char *copy = n ? strdup(name) : NULL;

    if (!copy) {
        free(n);
        return NULL;
    }
    n->name = copy;
    n->handle = -1;
    n->parent = node_ref(parent);
    n->refs = 1;
    table_grow(t);
    table_put(t, n);
    return n;
}

/* How far it is to one that is open; `*from`: that. 0: further than TREE_DEPTH_MAX. */
static unsigned steps_to_open(struct node *n, struct node **from)
{
    unsigned steps = 1;

    while (n->parent->handle < 0 && steps < TREE_DEPTH_MAX) {
        n = n->parent;
        steps++;
    }
    *from = n->parent;
    return n->parent->handle < 0 ? 0 : steps;
}

static struct node *above(struct node *n, unsigned steps)
{
    while (steps-- > 0) {
        n = n->parent;
    }
    return n;
}

int node_handle(struct tree *t, struct node *n)
{
    struct node *from;
    unsigned steps;

    if (n->handle >= 0) {
        if (n->parent) {
            unlist(t, n);
            list_newest(t, n);
        }
        return n->handle;
    }
    steps = steps_to_open(n, &from);
    if (steps == 0) {
        return -ENAMETOOLONG;
    }
    for (int dir = from->handle; steps > 0; steps--) {
        struct node *next = above(n, steps - 1);
        int fd = next->there ? open_beneath(dir, next->name, O_PATH, 0) : -ENOENT;

        if (fd < 0) {
            return fd;
        }
        set_handle(t, next, fd);
        dir = fd;
    }
    return n->handle;
}

static bool too_deep(const struct node *n)
{
    unsigned depth = 0;

    for (; n; n = n->parent) {
        depth++;
    }
    return depth >= TREE_DEPTH_MAX;
}

int node_find(struct tree *t, struct node *parent, const char *name, struct stat *st,
              struct node **found)
{
    int dir = node_handle(t, parent);
    int fd = dir < 0                    ? dir
             : !node_name_is_good(name) ? -ENOENT
             : strlen(name) > 255       ? -ENAMETOOLONG
                                        : open_beneath(dir, name, O_PATH, 0);
    struct node *n;

    if (fd < 0) {
        return fd;
    }
    if (too_deep(parent) || fstat(fd, st) < 0) {
        int e = too_deep(parent) ? ENAMETOOLONG : errno;

        close(fd);
        return -e;
    }
    n = *place(t, parent, name);
    n = n ? node_ref(n) : node_new(t, parent, name);
    if (!n) {
        close(fd);
        return -ENOMEM;
    }
    set_handle(t, n, fd);
    *found = n;
    return 0;
}

/* ---- what the guest does ---- */

void tree_hold(struct tree *t, struct node *parent, const char *name)
{
    struct node *n = *place(t, parent, name);

    if (n) {
        node_handle(t, n);
    }
}

void tree_removed(struct tree *t, struct node *parent, const char *name)
{
    struct node *n = *place(t, parent, name);

    if (n) {
        table_take(t, n);
    }
}

static bool is_below(const struct node *n, const struct node *top)
{
    while (n && n != top) {
        n = n->parent;
    }
    return n == top;
}

void tree_moved(struct tree *t, struct node *from, const char *name, struct node *to,
                const char *new_name)
{
    struct node *n = *place(t, from, name);
    char *copy;

    if (from == to && strcmp(name, new_name) == 0) {
        return;
    }
    tree_removed(t, to, new_name);
    if (!n) {
        return;
    }
    table_take(t, n);
    copy = strdup(new_name);
    /* Into itself: the host would not have, so what we know of the host is old. */
    if (!copy || is_below(to, n)) {
        free(copy);
        return;
    }
    free(n->name);
    n->name = copy;
    n->parent = node_ref(to);
    table_put(t, n);
    node_unref(t, from);
}
