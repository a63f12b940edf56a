/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Back ends: what stands on the host's side of a device. A drive's image, a byte stream, a network
 * interface; later sound and USB devices of the host.
 *
 * A driver is one `static const struct backend_class`, listed in backend-classes.h. An instance
 * embeds `struct backend` as its first member. Every back end of a process is in one set, in the
 * order of making; command line, QMP, live update, status and the end of the process go through the
 * set and know no kind. A device gets its back end as a property (PROP_BACKEND).
 *
 *   backend_add → (a device takes it: `user`) → … → the device is freed → backend_remove
 */
#ifndef XENDM_BACKEND_H
#define XENDM_BACKEND_H

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

#include <xendm/object.h>
#include <xendm/property.h>

struct backend;
struct device;
struct facts;
struct handover;

struct backend_class {
    enum backend_kind kind;
    const char *driver; /* as in -chardev, -netdev … */
    const char *help;
    size_t size; /* of the instance */
    /* Ends with name NULL; may be NULL. Strings in it are freed with the instance. */
    const struct property *properties;

    /*
     * What open() needs and the sandbox forbids, for one that is handed over: then open() comes
     * behind the sandbox line. NULL: nothing.
     */
    void (*prepare)(void);
    /* Properties are set: do they agree with each other? Opens nothing. NULL: always. */
    int (*check)(const struct backend *b, GError **err);
    /*
     * `from` NULL: open it on the host. Else the program before this one left
     * it there, under backend_group(): descriptors and all. After a failure nothing of it is open,
     * and close() is not called.
     */
    int (*open)(struct backend *b, const struct handover *from, GError **err);
    void (*close)(struct backend *b);
    /* Requests in flight: a stop, a save and the end of the process wait for them. NULL: none. */
    unsigned (*busy)(const struct backend *b);
    /*
     * A cheap look at what has completed, for the loop that spins on ioreqs; true: something was
     * done. Once for all instances. NULL: nothing to look at.
     */
    bool (*poll)(void);
    /* A stop waits for what is in flight: what it holds back on purpose goes now. NULL: nothing. */
    void (*hurry)(struct backend *b, bool on);
    /*
     * Whose it is, in a migration. One that was made inactive (struct backend) touches nothing of
     * what it names before activate(); after inactivate() the other side may have it. Both have no
     * effect when it is so already. NULL: it belongs to one host only.
     */
    int (*activate)(struct backend *b, GError **err);
    void (*inactivate)(struct backend *b);
    /* For a live update, under backend_group(). It gives nothing away. NULL: nothing to hand on. */
    void (*hand_over)(const struct backend *b, struct handover *to);
    void (*describe)(const struct backend *b, struct facts *to); /* NULL: nothing to say */
};

struct backend {
    const struct backend_class *class;
    char *id;
    struct device *user; /* NULL: free. Kept by PROP_BACKEND */
    bool inactive;       /* at open(): to be opened without touching what it names */
    bool stays;          /* at the end of close(): something writes to its memory still; keep it */
};

#define BACKEND_ID_MAX 255u

/* In order of the table, NULL-terminated; backends/classes.c, or a test's own. */
const struct backend_class *const *backend_classes(void);
/* NULL: there is none. */
const struct backend_class *backend_class_find(enum backend_kind kind, const char *driver);
/* Asks each driver once. */
bool backend_poll_all(void);

/*
 * Would backend_add() understand this? Driver, id, the names and texts of the options. Nothing is
 * opened.
 */
int backend_check(const struct object_desc *desc, GError **err);

/* Before the sandbox: what the driver needs there. */
void backend_prepare(const struct object_desc *desc);

struct backend_set;
struct backend_set *backend_set_new(void);
/* Closes what is left, the last made first; nobody may use them any more. */
void backend_set_free(struct backend_set *set);

/* Makes one as described and opens it, or takes it over from `from`. NULL with `err`. */
struct backend *backend_add(struct backend_set *set, const struct object_desc *desc,
                            const struct handover *from, GError **err);
/* Closes and frees it. -EBUSY names the device that uses it. */
int backend_remove(struct backend_set *set, struct backend *b, GError **err);
/* One that somebody else made and opened: the set's from here on. */
void backend_set_put(struct backend_set *set, struct backend *b);
struct backend *backend_find(const struct backend_set *set, enum backend_kind kind, const char *id);
/* In order of making. `fn` may remove the one it is called with. */
void backend_foreach(const struct backend_set *set, void (*fn)(void *opaque, struct backend *b),
                     void *opaque);
/* Requests in flight, of all of them. */
unsigned backend_set_busy(const struct backend_set *set);
/* From a stop to what goes on after it. */
void backend_set_hurry(struct backend_set *set, bool on);

/* Migration: those that are made from here on are inactive. */
void backend_set_begin_inactive(struct backend_set *set);
int backend_set_activate(struct backend_set *set, GError **err);
void backend_set_inactivate(struct backend_set *set);

/* Live update. */
void backend_set_hand_over(const struct backend_set *set, struct handover *to);
/* Where a back end's things are in the manifest: "char serial0". The caller's to free. */
char *backend_group(const struct backend *b);

#endif
