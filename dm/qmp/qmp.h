/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP, as dm's main sees it: the monitors of the command line, the commands of
 * toolstack.md 2, events.
 *
 *   static const struct qmp_ops ops = {...};
 *   static struct qmp_target target = {.desc = desc, .ops = &ops};
 *   struct qmp *qmp = qmp_new(&target);
 *   for each desc->monitors: qmp_listen(qmp, monitor, &err);  // sockets exist now, clients wait
 *   target.machine = …; target.display = …; …                 // before the main loop runs
 *   machine events → qmp_event_*();
 *   qmp_free(qmp);                                            // closes, removes its sockets
 *
 * Everything runs in the default main context. A client is hostile: input and output are bounded,
 * and a client that vanishes or does not read holds up nobody else.
 */
#ifndef DM_QMP_H
#define DM_QMP_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include <xendm/machine-desc.h>
#include <xendm/machine.h>

struct backend_set;
struct display;
struct facts;
struct input;
struct qmp;

/*
 * What query-status says. Contract 1.3: under dm_restrict libxl wants PRELAUNCH (fresh) or PAUSED
 * (restored, load done).
 */
enum qmp_status {
    QMP_STATUS_PRELAUNCH, /* -S, before the first cont */
    QMP_STATUS_INMIGRATE, /* -incoming, not loaded yet */
    QMP_STATUS_PAUSED,
    QMP_STATUS_RUNNING,
    QMP_STATUS_SUSPENDED, /* guest in S3 */
    QMP_STATUS_SHUTDOWN,
};

/*
 * A command whose reply is due. Whoever gets one must call qmp_call_finish() exactly once, at once
 * or later, from the main loop; it may be called from inside the op. It stays valid whatever
 * becomes of the client and of the struct qmp.
 */
struct qmp_call;
/* NULL: success; takes the error over */
void qmp_call_finish(struct qmp_call *call, GError *error);

/*
 * What the commands ask of main. Of cont, stop, save, system_reset and wake-up only one is under
 * way at a time: the next waits, on whatever connection, until the one before was finished. quit
 * and queries do not wait.
 */
struct qmp_ops {
    enum qmp_status (*status)(void *opaque);
    int (*cont)(void *opaque, GError **err); /* 0 also when it runs already */
    /* finish when no I/O is in flight; also when stopped already */
    void (*stop)(void *opaque, struct qmp_call *call);
    /*
     * Writes the whole state to `fd`, which is the op's to close; truncates it first (toolstack.md
     * 5.1, step 8).
     */
    void (*save)(void *opaque, int fd, bool live, struct qmp_call *call);
    /* also answered while stopped */
    int (*set_log_dirty)(void *opaque, bool enable, GError **err);
    /* ask the main loop to end; the reply is written already */
    void (*quit)(void *opaque);

    /* Optional. NULL: the command says that it is not implemented. */
    /*
     * Goes on as `binary` (NULL: the program that is installed now), which whoever is at the other
     * end of `socket` has started already (-1: nobody has; else the op's). Finishes with an error
     * only. docs/live-update.md.
     */
    void (*update)(void *opaque, const char *binary, int socket, struct qmp_call *call);
    /*
     * The machine into `fd`, which is the op's to close, up to `limit` bytes (0: as many as usual);
     * docs/recording.md.
     */
    void (*record)(void *opaque, int fd, uint64_t limit, struct qmp_call *call);
    void (*record_stop)(void *opaque);
    int (*system_powerdown)(void *opaque, GError **err);
    /* `info TOPIC` for what only the daemon knows: "ioreq", "mapcache" … false: no such topic. */
    bool (*describe)(void *opaque, const char *topic, struct facts *to);
};

/* Stays the caller's, and valid until qmp_free(); fields may be filled in later. */
struct qmp_target {
    const struct machine_desc *desc;
    const struct qmp_ops *ops;
    void *opaque;

    struct machine *machine;      /* NULL: none (yet); commands that need one fail */
    struct display *display;      /* NULL: there is none, or nothing to see */
    struct input *input;          /* NULL: none */
    struct backend_set *backends; /* NULL: none (yet) */
    struct vnc *vnc;              /* NULL: no VNC server */
};

struct qmp *qmp_new(const struct qmp_target *target);
void qmp_free(struct qmp *qmp);

/* Makes the socket at monitor->path, or takes over monitor->fd, and listens. */
int qmp_listen(struct qmp *qmp, const struct monitor_desc *monitor, GError **err);

/*
 * Live update: sockets, clients with what they wrote and have not read yet, sets of descriptors.
 * `call` is the command that asked for it; its reply is left to the successor, which gets it from
 * take_over() unless the client is gone.
 */
struct handover;
int qmp_hand_over(struct qmp *qmp, struct qmp_call *call, struct handover *h, GError **err);
int qmp_take_over(struct qmp *qmp, const struct handover *h, struct qmp_call **call, GError **err);
/* Ends an update's call: it went well. */
struct qmp_update_result {
    const char *binary;
    /* how long the guest's accesses waited: for the check, for the change */
    int64_t check_us, pause_us;
    int64_t total_us;
};
void qmp_call_updated(struct qmp_call *call, const struct qmp_update_result *result);

/*
 * Events, to every client that negotiated; none on the monitor of xentop (toolstack.md 2.3). Those
 * that a guest can provoke are rate-limited. `name` of qmp_event(): one without data: STOP, RESUME,
 * SUSPEND, WAKEUP, POWERDOWN.
 */
void qmp_event(struct qmp *qmp, const char *name);
/* "guest-shutdown", "host-signal" … */
void qmp_event_shutdown(struct qmp *qmp, bool by_guest, const char *reason);
/* "guest-reset", "host-qmp-system-reset" */
void qmp_event_reset(struct qmp *qmp, bool by_guest, const char *reason);
void qmp_event_tray_moved(struct qmp *qmp, const char *device_id, bool open);
/* error: -errno */
void qmp_event_block_error(struct qmp *qmp, const char *device_id, const char *op, int error);
void qmp_event_rtc_change(struct qmp *qmp, int64_t seconds);
void qmp_event_device_deleted(struct qmp *qmp, const char *device_id);
void qmp_event_recording_ended(struct qmp *qmp, const char *why, uint64_t bytes, uint64_t entries);
/* "VNC_CONNECTED", "VNC_INITIALIZED", "VNC_DISCONNECTED" */
struct vnc_client;
void qmp_event_vnc(struct qmp *qmp, const char *event, const struct vnc_client *client);

#endif
