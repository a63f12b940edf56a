/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PV back ends that live in the device model: what the toolstack leaves to it below
 * /local/domain/<ours>/backend/<kind>/<domid> (toolstack.md 3.4). The core (backends/pv/bus.c)
 * finds them, goes through the states of xenbus with each front end, and keeps its ring and its
 * event channel; a class knows one kind's keys and its ring.
 *
 *   offer → (the front end's keys are there) connect → event … → disconnect → (not busy) offer …
 *
 * A front end is a program of the guest: it may take the states in any order, at any rate, and
 * write anything into its keys and ring at any time.
 */
#ifndef XENDM_PV_H
#define XENDM_PV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

struct backend_set;
struct display;
struct evtchn;
struct facts;
struct foreign;
struct grants;
struct handover;
struct input;
struct pv_bus;
struct pv_device;
struct xenstore;

/* XenbusState of xen/io/xenbus.h. */
enum pv_state {
    PV_UNKNOWN, /* the key is not there */
    PV_INITIALISING,
    PV_INIT_WAIT,
    PV_INITIALISED,
    PV_CONNECTED,
    PV_CLOSING,
    PV_CLOSED,
};

#define PV_RING_PAGES_MAX 16u

struct pv_class {
    const char *kind; /* of the directory: "qdisk", "vkbd" */
    size_t size;      /* of the instance, which begins with struct pv_device */
    /* The toolstack waits for our offer before it lets the guest run. False: it does not. */
    bool early;

    /* Whether it is one of ours, by the front end's keys; else it is left alone. NULL: all are. */
    bool (*ours)(struct pv_device *dev);
    /*
     * Writes our keys, for the front end to see. -EINPROGRESS: not yet, pv_offer_again() follows.
     * NULL: there are none. An error of the moment (xendm/error.h) is tried again.
     */
    int (*offer)(struct pv_device *dev, GError **err);
    /* Reads the front end's keys and calls pv_attach(). What is of the moment is tried again. */
    int (*connect)(struct pv_device *dev, GError **err);
    /*
     * Live update, before attached(); also of a device that is not connected: what hand_over() put.
     * NULL: nothing but the ring.
     */
    int (*take_over)(struct pv_device *dev, const struct handover *from, const char *group,
                     GError **err);
    /* The ring is attached: by connect(), or by the program before us (`from`, under `group`). */
    int (*attached)(struct pv_device *dev, const struct handover *from, const char *group,
                    GError **err);
    /* Its event channel rang, or may have. pv_unmask() when the ring is empty. */
    void (*event)(struct pv_device *dev);
    /* A key of ours changed, by the toolstack or by us. NULL: nothing to do. */
    void (*changed)(struct pv_device *dev, const char *key);
    /* The bus goes on after a pause, whether it is connected or not. NULL: nothing to do. */
    void (*resumed)(struct pv_device *dev);
    /*
     * The ring goes away: not to be touched after this. What is in flight may end later: pv_idle()
     * then.
     */
    void (*disconnect)(struct pv_device *dev);
    bool (*busy)(const struct pv_device *dev); /* NULL: never */
    /*
     * It is not connected, and not busy. `gone`: the device is; else the process stops serving it,
     * and what it took stays open. NULL: nothing to do.
     */
    void (*removed)(struct pv_device *dev, bool gone);
    /* For a live update; nothing is in flight. NULL: nothing. */
    void (*hand_over)(const struct pv_device *dev, struct handover *to, const char *group);
    void (*describe)(const struct pv_device *dev, struct facts *to); /* NULL: nothing */
};

struct pv_device {
    const struct pv_class *class;
    struct pv_bus *bus;
    unsigned devid;
    enum pv_state state; /* ours, as we wrote it last */
    void *ring;          /* NULL: not connected */
    unsigned ring_pages;
    struct pv_link *link; /* the core's */
};

/* What the bus works with, and its classes too; all of it outlives the bus. */
struct pv_host {
    unsigned domid;
    struct xenstore *xs;
    struct grants *grants;
    struct foreign *foreign; /* NULL: what knows no grants is not served */
    struct evtchn *events;
    struct backend_set *backends;
    struct display *display; /* NULL: no head that a PV device could draw */
    struct input *input;
};

/* `classes`: NULL-terminated; pv_classes() has those of xendm. */
struct pv_bus *pv_bus_new(const struct pv_host *host, const struct pv_class *const *classes);
const struct pv_class *const *pv_classes(void);
/*
 * Nothing is written to xenstore, and ports stay bound: the domain is gone, or another process goes
 * on with it. Nothing may be in flight. NULL is allowed.
 */
void pv_bus_free(struct pv_bus *bus);

/*
 * Live update, on a bus that is paused and not started: those that were connected are so again,
 * with nothing lost or done twice. On failure the bus is of no use, and the program before us goes
 * on.
 */
int pv_bus_take_over(struct pv_bus *bus, const struct handover *from, GError **err);
/* Looks for devices and serves them from here on, asynchronously. A second call does nothing. */
int pv_bus_start(struct pv_bus *bus, GError **err);
/* Before that, on a bus that is paused: those of early classes are offered, and nothing else. */
int pv_bus_start_early(struct pv_bus *bus, GError **err);

/* Paused, nothing new is begun. Nested calls are one. */
void pv_bus_pause(struct pv_bus *bus);
void pv_bus_resume(struct pv_bus *bus);
bool pv_bus_busy(const struct pv_bus *bus); /* something is in flight */
/* Paused and not busy. */
void pv_bus_hand_over(const struct pv_bus *bus, struct handover *to);
void pv_bus_describe(const struct pv_bus *bus, struct facts *to);

/* ---- for classes ---- */

const struct pv_host *pv_host(const struct pv_device *dev);
/* Keys of the front end's directory, or of ours. NULL with errno; the caller frees. */
char *pv_read(struct pv_device *dev, bool front, const char *key);
/* -EINVAL, -ERANGE, -ENOENT, … */
int pv_read_uint(struct pv_device *dev, bool front, const char *key, uint64_t max, uint64_t *value);
/* What the front end must have written: a reference, a port. */
int pv_read_u32(struct pv_device *dev, const char *key, uint32_t *value, GError **err);
bool pv_read_flag(struct pv_device *dev, bool front, const char *key); /* not there: false */
int pv_write(struct pv_device *dev, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Into the front end's directory: the little that is for the toolstack there. */
int pv_write_front(struct pv_device *dev, const char *key, const char *value);
/* What made offer() fail may be over: tries it again. */
void pv_offer_again(struct pv_device *dev);

/* Maps the ring and binds the event channel. */
int pv_attach(struct pv_device *dev, const uint32_t *refs, unsigned count, uint32_t port,
              GError **err);
/* The same with a ring of one page, by its frame number: protocols that know no grants. */
int pv_attach_frame(struct pv_device *dev, uint64_t frame, uint32_t port, GError **err);

/*
 * For protocols of several rings, from attached() on: further pages of the front end's, in one
 * piece, and further event channels, which call event(), too. They go when the ring does. After a
 * live update they are there before attached(), under the numbers that they had: 0, 1, … in the
 * order of mapping; 1, 2, … of binding, the ring's own channel being 0.
 */
#define PV_MORE_MAPS_MAX 32u
#define PV_CHANNELS_MAX 32u
void *pv_map_more(struct pv_device *dev, const uint32_t *refs, unsigned count, GError **err);
void *pv_more(const struct pv_device *dev, unsigned number, unsigned *pages); /* NULL: not there */
int pv_bind_more(struct pv_device *dev, uint32_t port, GError **err);
void pv_notify_channel(struct pv_device *dev, unsigned number);

void pv_notify(struct pv_device *dev);
void pv_unmask(struct pv_device *dev); /* all channels */
bool pv_paused(const struct pv_device *dev);
/* Our state once more: front ends look at our keys again (a disk's size). */
void pv_say_again(struct pv_device *dev);
/* busy() became false after disconnect(). */
void pv_idle(struct pv_device *dev);
/* The front end breaks the protocol: it is served no more until it begins anew. */
void pv_fail(struct pv_device *dev, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* For messages and ids: "qdisk 832". */
const char *pv_name(const struct pv_device *dev);

#endif
