/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The xenstore client: one connection, watches dispatched to typed callbacks in the main loop.
 * Paths that do not start with '/' are below our own device-model directory,
 * /local/domain/<own domid>/device-model/<domid>.
 *
 * What others write there is garbage until checked: values are at most XENSTORE_VALUE_MAX bytes,
 * readers get a copy that ends in NUL, integers are read by xenstore_read_uint() only. A storm of
 * events costs one callback per turn and watch: events of the same watch and path are merged.
 */
#ifndef XENDM_XENSTORE_H
#define XENDM_XENSTORE_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#define XENSTORE_VALUE_MAX 4096u

struct xenstore;
struct xenstore_watch;

/* What the toolstack tells us. Each may be NULL. */
struct xenstore_events {
    /* our directory was removed, or the domain: go away */
    void (*gone)(void *opaque);
    /* $DM/command, e.g. "flush-cache" of xenpaging */
    void (*command)(void *opaque, const char *command);
};

struct xenstore *xenstore_open(unsigned domid, const struct xenstore_events *events, void *opaque,
                               GError **err);
void xenstore_close(struct xenstore *xs);

/* NULL with errno; the caller frees. */
char *xenstore_read(struct xenstore *xs, const char *path);
/* -EINVAL, -ERANGE, -errno */
int xenstore_read_uint(struct xenstore *xs, const char *path, uint64_t max, uint64_t *value);
int xenstore_write(struct xenstore *xs, const char *path, const char *value);
/*
 * Only while `directory` is there, else -ENOENT: what others removed stays removed, where a plain
 * write would make it anew. -EAGAIN: they change it all the time.
 */
int xenstore_write_in(struct xenstore *xs, const char *directory, const char *path,
                      const char *value);
/*
 * Does not wait for xenstored: for what a guest can cause. Of several values of a path the last one
 * is written; a failure is logged. -ENOBUFS: too many paths wait.
 */
int xenstore_write_later(struct xenstore *xs, const char *path, const char *value);
unsigned xenstore_own_domid(const struct xenstore *xs);      /* whose back ends we are; dom0: 0 */
char **xenstore_list(struct xenstore *xs, const char *path); /* g_strfreev(); NULL with errno */

/*
 * `changed` gets the path that changed (absolute); first called once soon after, as xenstored does.
 * NULL with errno.
 */
struct xenstore_watch *xenstore_watch(struct xenstore *xs, const char *path,
                                      void (*changed)(void *opaque, const char *path),
                                      void *opaque);
void xenstore_unwatch(struct xenstore_watch *watch);

/*
 * Live update: the domain, and our directory if `directory`, were there for the program before us.
 * Should they be gone by now, `gone` is called as if we had seen them go.
 */
bool xenstore_directory_seen(const struct xenstore *xs);
void xenstore_expect(struct xenstore *xs, bool directory);

/*
 * From here on somebody waits for us: no function waits for xenstored for longer than a second, and
 * then none until it has answered. What is read fails with EAGAIN meanwhile, what is written waits
 * in its order, and is not told to have failed. When it answers, each watch is called.
 */
void xenstore_serving(struct xenstore *xs);

/*
 * After the process is restricted the connection is dead: every function then fails with EPERM,
 * watches are silent.
 */
void xenstore_restricted(struct xenstore *xs);

/*
 * One look by a process that serves nobody and watches nothing: a connection of its own, for as
 * long as it takes. NULL: xenstored is not there. A value that cannot be read is NULL, a directory
 * empty; both are the caller's to free.
 */
struct xenstore_look;
struct xenstore_look *xenstore_look_new(void);
void xenstore_look_free(struct xenstore_look *look);
char *xenstore_look_read(struct xenstore_look *look, const char *path);
char **xenstore_look_list(struct xenstore_look *look, const char *path);

#endif
