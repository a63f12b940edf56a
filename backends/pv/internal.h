/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to backends/pv: the bus and what it keeps of a device. */
#ifndef BACKENDS_PV_INTERNAL_H
#define BACKENDS_PV_INTERNAL_H

#include <xendm/pv.h>

struct pv_bus {
    struct pv_host host;
    const struct pv_class *const *classes;
    GPtrArray *watches; /* struct pv_kind * */
    GPtrArray *devices; /* struct pv_device * */
    bool started, paused;
};

struct pv_kind {
    struct pv_bus *bus;
    const struct pv_class *class;
    char *path; /* /local/domain/<ours>/backend/<kind>/<domid> */
    struct xenstore_watch *watch;
    guint timer; /* looks at the directories again; 0: none */
    unsigned tries;
};

/* Pages beside the ring's. */
struct pv_map {
    void *at;
    unsigned count;
    uint32_t *refs;
};

/* What the core keeps of a device. */
struct pv_link {
    char *name;                   /* "qdisk 832" */
    char *path;                   /* our directory */
    char *front;                  /* the front end's, "" while it is not known */
    struct xenstore_watch *watch; /* on the front end's state */
    uint32_t refs[PV_RING_PAGES_MAX];
    uint64_t frame; /* of the ring, instead of a reference */
    bool by_frame;
    struct pv_map maps[PV_MORE_MAPS_MAX];
    unsigned nmaps;
    int ports[PV_CHANNELS_MAX]; /* of ours */
    unsigned nports;
    bool draining;     /* it was disconnected and is busy still */
    bool look;         /* when the bus goes on */
    bool failed;       /* until the front end begins anew */
    bool refused;      /* offering it failed: until somebody begins anew */
    bool leaving;      /* its directory is gone; freed when it is not busy */
    bool followed;     /* … and there is one again */
    unsigned looks;    /* since `window` began, see LOOKS_MAX */
    int64_t window;    /* µs */
    guint timer;       /* looks again; 0: none */
    int64_t first_try; /* of what failed for a moment, µs; 0: nothing did */
    unsigned pause_ms; /* until the next try */
    int write_error;   /* of our keys, since it was cleared */
    bool unsaid;       /* our state is not in xenstore */
    unsigned connections;
};

extern const struct pv_class pv_kbd_class, pv_blk_class, pv_console_class, pv_fb_class, pv_p9_class,
    pv_usb_class, pv_vif_class, pv_snd_class;

/* ---- device.c ---- */

struct pv_device *pv_device_new(struct pv_bus *bus, const struct pv_class *class, unsigned devid,
                                const char *path);
void pv_device_free(struct pv_device *dev);
/* Something of it or of its front end changed: now, or soon when that is too often. */
void pv_device_look(struct pv_device *dev);
/* Its directory is gone: it is freed, now or when it is not busy. */
void pv_device_leave(struct pv_device *dev);
int pv_device_take_over(struct pv_device *dev, const struct handover *from, const char *group,
                        GError **err);
void pv_device_hand_over(const struct pv_device *dev, struct handover *to, const char *group);
void pv_device_describe(const struct pv_device *dev, struct facts *to);
bool pv_device_busy(const struct pv_device *dev);
void pv_device_resume(struct pv_device *dev);

/* ---- bus.c ---- */

void pv_bus_forget(struct pv_bus *bus, struct pv_device *dev);
/* At all directories of a kind, in a turn of its own. */
void pv_bus_look_later(struct pv_bus *bus, const struct pv_class *class);

#endif
