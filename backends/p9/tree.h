/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to backends/p9: the files that fids name, as the guest came to them: a node for each name
 * in a directory. A node is found on the host by its parent, one name at a time, and by nothing
 * that a link or ".." could lead astray; what was found is kept open (O_PATH), as long as there is
 * room.
 *
 * The host may change what is there at any time. Then a node that is open is what it was, and else
 * what its name leads to now; never something outside.
 */
#ifndef BACKENDS_P9_TREE_H
#define BACKENDS_P9_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#define TREE_DEPTH_MAX 1024u

struct node {
    struct node *parent; /* NULL: the root */
    char *name;
    unsigned refs;              /* fids, and nodes below */
    int handle;                 /* O_PATH; -1: not open */
    bool there;                 /* its name leads to it; else it was removed or replaced */
    struct node *next;          /* with the same hash */
    struct node *older, *newer; /* among those that are open */
};

struct tree {
    struct node *root;
    struct node **table;
    size_t table_size, count;
    struct node *oldest, *newest;
    unsigned open, open_max;
};

/* `root`: a directory (O_PATH), the tree's from here on. False: there is no memory. */
bool tree_init(struct tree *t, int root, unsigned open_max);

struct node *node_ref(struct node *n);
void node_unref(struct tree *t, struct node *n);
/* Its O_PATH descriptor, good until another one is asked for twice, or -errno. */
int node_handle(struct tree *t, struct node *n);
/*
 * What `name` in `parent` is on the host, now: 0 and a reference, or -errno. No "..", and nothing
 * with a slash.
 */
int node_find(struct tree *t, struct node *parent, const char *name, struct stat *st,
              struct node **found);
/* A name of one file in a directory, "." and ".." not among them. */
bool node_name_is_good(const char *name);

/* The guest did that, and the host agreed. */
void tree_removed(struct tree *t, struct node *parent, const char *name);
void tree_moved(struct tree *t, struct node *from, const char *name, struct node *to,
                const char *new_name);
/* Before one of these: what the name leads to stays open, if a fid has it. */
void tree_hold(struct tree *t, struct node *parent, const char *name);

/* openat2() of one name below a directory: never a link, never out. */
int open_beneath(int dir, const char *name, int flags, mode_t mode);

#endif
