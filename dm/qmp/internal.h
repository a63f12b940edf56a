/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of QMP share: qmp.c (transport), qmp-commands*.c, qmp-fdset.c, hmp.c. */
#ifndef DM_QMP_INTERNAL_H
#define DM_QMP_INTERNAL_H

#include <json-glib/json-glib.h>

#include <xendm/handover.h>
#include "qmp.h"

/*
 * The version we claim decides which commands libxl uses (toolstack.md 2.2): 2.11 is the last step
 * that matters.
 */
#define QMP_VERSION_MAJOR 7
#define QMP_VERSION_MINOR 2
#define QMP_VERSION_MICRO 0

#define QMP_COMMAND_MAX (64u << 10) /* bytes of one command */
#define QMP_DEPTH_MAX 32u           /* nesting of one command */
#define QMP_OUTPUT_HIGH (64u << 10) /* no more input is read while so much output waits */
#define QMP_EVENT_HIGH (256u << 10) /* events are dropped while so much output waits */
#define QMP_CLIENTS_MAX 16u         /* per monitor; others stay in the backlog */
#define QMP_CLIENT_FDS_MAX 8u       /* descriptors received and not yet used by add-fd */
#define QMP_FDSET_FDS_MAX 64u       /* descriptors in all sets */
#define QMP_EVENTS_PER_SECOND 20u   /* of one kind that the guest can provoke */
#define HMP_OUTPUT_MAX (512u << 10) /* libxl takes 1 MiB a message, quoted */

struct qmp_fdset;

/* A listening socket. */
struct qmp_monitor {
    struct qmp *qmp;
    char *id;
    int fd;
    guint source;       /* 0 while no more clients are taken */
    guint retry;        /* timer after a failed accept() */
    GPtrArray *clients; /* struct qmp_client * */
    bool quiet;         /* no events: xentop takes what it reads for one reply */
    char *path;         /* we made it: removed at the end if it is still ours */
    uint64_t device, inode;
};

struct qmp_client {
    struct qmp_monitor *monitor;
    unsigned number;
    int fd;
    GSource *source;
    gpointer tag; /* of the descriptor in the source */
    bool negotiated;
    bool eof;              /* it will send no more */
    bool broken;           /* to be closed as soon as nobody uses it */
    bool closing;          /* to be closed as soon as all is written */
    bool busy;             /* client_process() is at work */
    struct qmp_call *call; /* the command under way: no other is begun */

    GByteArray *in;
    struct {
        gsize at;    /* first byte of `in` that was not looked at */
        gsize start; /* of the document */
        unsigned depth;
        uint32_t brackets; /* bit n: level n was opened by '[' */
        bool string, escape;
        bool skip; /* garbage: to the end of the line */
        gsize skipped;
    } scan;

    GByteArray *out;
    gsize written; /* bytes of `out` that are gone */
    uint64_t events_dropped;

    int fds[QMP_CLIENT_FDS_MAX];
    unsigned nfds;
};

struct qmp {
    const struct qmp_target *target;
    GPtrArray *monitors;
    unsigned clients;     /* connected now, on all monitors */
    unsigned next_number; /* for the log and the recorder */

    GPtrArray *fdsets; /* struct qmp_fdset * */

    GList *calls;               /* every struct qmp_call there is */
    struct qmp_call *exclusive; /* the one under way */
    GQueue waiting;             /* struct qmp_call *: for their turn */
    /* after a live update: source that reads what clients had written */
    guint go_on;

    struct {
        gint64 second;
        unsigned sent;
    } rate[4];
};

enum {
    QMP_ARG_STRING = 1,
    QMP_ARG_INT,
    QMP_ARG_BOOL,
    QMP_ARG_ANY,
    QMP_ARG_TYPE = 0xf,
    QMP_ARG_OPTIONAL = 0x10,
};

enum {
    QMP_NEEDS_MACHINE = 1 << 0,
    QMP_EXCLUSIVE = 1 << 1, /* see struct qmp_ops */
    QMP_ANY_ARGS = 1 << 2,  /* checks the rest of its arguments itself */
};

#define QMP_ARGS_MAX 6

struct qmp_command {
    const char *name;
    void (*run)(struct qmp_call *call, JsonObject *args); /* checked against `args` */
    unsigned flags;
    struct {
        const char *name;
        unsigned type;
    } args[QMP_ARGS_MAX + 1];
};

extern const struct qmp_command qmp_commands[]; /* ends with name NULL */
extern const struct qmp_command qmp_device_commands[];
extern const struct qmp_command qmp_fdset_commands[];

struct qmp_call {
    struct qmp *qmp;           /* NULL: went away */
    struct qmp_client *client; /* NULL: went away */
    const struct qmp_command *command;
    JsonNode *id; /* NULL: none given */
    JsonObject *args;
    /* human-monitor-command: success is an empty string, an error is text */
    bool as_text;
};

/*
 * qmp.c, for qmp-handover.c: a client without a greeting, a monitor on a socket that another
 * process made.
 */
struct qmp_socket {
    int fd;
    char *path; /* NULL: the toolstack's */
    uint64_t device, inode;
};
struct qmp_client *qmp_client_new(struct qmp_monitor *monitor, int fd);
int qmp_monitor_new(struct qmp *qmp, const struct monitor_desc *desc,
                    const struct qmp_socket *inherited, GError **err);

/* qmp.c, for the dispatcher. */
void qmp_client_send(struct qmp_client *client, JsonNode *message);
/* its call ended: go on with what was read */
void qmp_client_resume(struct qmp_client *client);

/* qmp-dispatch.c: one document of a client. Leaves client->call set when the reply is still due. */
void qmp_dispatch(struct qmp_client *client, const char *text, gsize len);
void qmp_reject(struct qmp_client *client, const char *desc); /* error reply without a command */
/* under way, not run */
struct qmp_call *qmp_revive(struct qmp_client *client, const char *name, JsonNode *id);
void qmp_abandon(struct qmp_client *client); /* its call goes on without it */
void qmp_abandon_all(struct qmp *qmp);

/* Replies; each ends the call. */
/* takes it over; NULL: {} */
void qmp_call_return(struct qmp_call *call, JsonNode *result);
/* its root; unrefs the builder */
void qmp_call_build(struct qmp_call *call, JsonBuilder *builder);
void qmp_call_text(struct qmp_call *call, const char *text);
void qmp_call_fail(struct qmp_call *call, const char *class, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define QMP_GENERIC_ERROR "GenericError"
#define QMP_COMMAND_NOT_FOUND "CommandNotFound"
#define QMP_DEVICE_NOT_FOUND "DeviceNotFound"
#define QMP_DEVICE_NOT_ACTIVE "DeviceNotActive"

/* The oldest descriptor that came with the client's bytes, or -1. */
int qmp_client_take_fd(struct qmp_client *client);

/* Arguments; the type was checked. */
const char *qmp_arg_string(JsonObject *args, const char *name); /* NULL: not given */
bool qmp_arg_bool(JsonObject *args, const char *name, bool def);

void qmp_build_string(JsonBuilder *b, const char *name, const char *text); /* any bytes */
void qmp_build_int(JsonBuilder *b, const char *name, gint64 value);
void qmp_build_bool(JsonBuilder *b, const char *name, bool value);

const char *qmp_status_name(struct qmp *qmp);
bool qmp_status_running(struct qmp *qmp);
/* `used`: a device or monitor has it; `connected`: someone is at its other end. */
typedef void qmp_chardev_fn(void *opaque, const char *label, const char *filename, bool used,
                            bool connected);
void qmp_foreach_chardev(struct qmp *qmp, qmp_chardev_fn *fn, void *opaque);

/*
 * "/dev/fdset/N": takes a descriptor of the set that is open for writing or reading, as asked, and
 * frees the set, which has served its purpose (libxl never removes them). *opaque_out: what add-fd
 * said of it, or NULL.
 */
bool qmp_fdset_is_path(const char *path);
int qmp_fdset_take(struct qmp *qmp, const char *path, bool write, char **opaque_out, GError **err);
void qmp_fdset_free_all(struct qmp *qmp);

/* qmp-fdset.c, for a live update */
void qmp_fdset_hand_over(struct qmp *qmp, struct handover *h);
void qmp_fdset_take_over(struct qmp *qmp, const struct handover *h);

/* hmp.c */
bool hmp_is_exclusive(const char *line);
void hmp_run(struct qmp_call *call, const char *line);

/* qmp-commands-devices.c, for hmp.c */
struct drive_info {
    const struct drive_desc *desc;
    struct block *block;   /* NULL: never had a medium */
    struct device *device; /* NULL: no machine */
};
/*
 * The drive at `i` of the description; false when the guest unplugged it or i is beyond the last.
 */
bool qmp_drive_info(struct qmp *qmp, unsigned i, struct drive_info *info);

#endif
