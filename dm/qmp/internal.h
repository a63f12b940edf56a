/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of QMP share: calls, commands, facts, HMP. The transport has a header of its own.
 */
#ifndef DM_QMP_INTERNAL_H
#define DM_QMP_INTERNAL_H

#include <xendm/json.h>

#include <xendm/handover.h>
#include <xendm/pci.h>
#include "qmp.h"
#include "transport.h"

/*
 * The version we claim decides which commands libxl uses (toolstack.md 2.2): 2.11 is the last step
 * that matters.
 */
#define QMP_VERSION_MAJOR 7
#define QMP_VERSION_MINOR 2
#define QMP_VERSION_MICRO 0

#define QMP_FDSET_FDS_MAX 64u       /* descriptors in all sets */
#define QMP_EVENTS_PER_SECOND 20u   /* of one kind that the guest can provoke */
#define HMP_OUTPUT_MAX (512u << 10) /* libxl takes 1 MiB a message, quoted */

struct block;
struct qmp_fdset;

struct qmp {
    const struct qmp_target *target;
    struct qmp_transport transport;

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
    QMP_EXCLUSIVE = 1 << 1,   /* see struct qmp_ops */
    QMP_NEEDS_GUEST = 1 << 3, /* see qmp_has_guest() */
    /* stop, and what may end it before it is done: cont, for it may wait for a disk for ever */
    QMP_TAKEN_BACK = 1 << 4,
    QMP_TAKES_BACK = 1 << 5,
    QMP_ANY_ARGS = 1 << 2, /* checks the rest of its arguments itself */
};

#define QMP_ARGS_MAX 6

/* Whether a domain is served, by a machine or by back ends alone. */
bool qmp_has_guest(const struct qmp *qmp);

struct qmp_command {
    const char *name;
    void (*run)(struct qmp_call *call, JsonObject *args); /* checked against `args` */
    unsigned flags;
    struct {
        const char *name;
        unsigned type;
    } args[QMP_ARGS_MAX + 1];
    /* for those that depend on their arguments; NULL: as QMP_EXCLUSIVE says */
    bool (*exclusive)(JsonObject *args);
};

extern const struct qmp_command qmp_commands[]; /* ends with name NULL */
extern const struct qmp_command qmp_device_commands[];
extern const struct qmp_command qmp_fdset_commands[];
extern const struct qmp_command qmp_seat_commands[];
extern const struct qmp_command qmp_vnc_commands[];
extern const struct qmp_command qmp_net_commands[];
extern const struct qmp_command qmp_block_commands[];
extern const struct qmp_command qmp_machine_commands[];

/* Of the topics and commands of HMP that stand beside their QMP kin. */
void hmp_info_vnc(struct qmp *qmp, GString *text, const char *arg);
void hmp_info_network(struct qmp *qmp, GString *text, const char *arg);
void hmp_info_mice(struct qmp *qmp, GString *text, const char *arg);
void hmp_info_blockstats(struct qmp *qmp, GString *text, const char *arg);
void hmp_info_block_jobs(struct qmp *qmp, GString *text, const char *arg);
void hmp_limits_line(GString *text, const struct block *block);
void hmp_set_link(struct qmp_call *call, const char *arg);
void hmp_announce_self(struct qmp_call *call, const char *arg);
void hmp_netdev_add(struct qmp_call *call, const char *arg);
void hmp_netdev_del(struct qmp_call *call, const char *arg);
void hmp_mouse_move(struct qmp_call *call, const char *arg);
void hmp_mouse_button(struct qmp_call *call, const char *arg);
void hmp_mouse_set(struct qmp_call *call, const char *arg);
void hmp_eject(struct qmp_call *call, const char *arg);
void hmp_change(struct qmp_call *call, const char *arg);
void hmp_device_add(struct qmp_call *call, const char *arg);
void hmp_device_del(struct qmp_call *call, const char *arg);
void hmp_block_resize(struct qmp_call *call, const char *arg);
void hmp_block_set_io_throttle(struct qmp_call *call, const char *arg);

/* elsewhere.c: why there is no such command or topic, and what there is; NULL: nobody knows it. */
const char *elsewhere_command(const char *name);
const char *elsewhere_topic(const char *topic);

struct qmp_call {
    struct qmp *qmp;           /* NULL: went away */
    struct qmp_client *client; /* NULL: went away */
    const struct qmp_command *command;
    char *id; /* JSON text, echoed as it came; NULL: none given */
    JsonObject *args;
    /* human-monitor-command: success is an empty string, an error is text */
    bool as_text;
};

/* dispatch.c */
extern const struct qmp_transport_ops qmp_dispatch_ops;
/* under way, not run */
struct qmp_call *qmp_revive(struct qmp_client *client, const char *name, const char *id);

/* call.c */
struct qmp_call *qmp_call_new(struct qmp_client *client, const struct qmp_command *command,
                              const char *id, JsonObject *args);
uint64_t qmp_call_number(const char *id);    /* for the recorder; 0: not a number */
void qmp_call_run(struct qmp_call *call);    /* now, or when it is its turn */
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

/* json-text.c: what a client wrote */
struct qmp_json {
    char *text;        /* for json_from_string(), with null as the id */
    char *id;          /* of the outer object, as text; NULL: none */
    unsigned members;  /* of the outer object, doubles counted */
    const char *wrong; /* NULL: nothing */
};
bool qmp_json_read(const char *text, gsize len, struct qmp_json *json);
void qmp_json_clear(struct qmp_json *json);
char *qmp_json_with_id(JsonNode *message, const char *id); /* text; id may be NULL */

/* json.c: arguments; the type was checked. */
const char *qmp_arg_string(JsonObject *args, const char *name); /* NULL: not given */
bool qmp_arg_bool(JsonObject *args, const char *name, bool def);

void qmp_build_string(JsonBuilder *b, const char *name, const char *text); /* any bytes */
void qmp_build_int(JsonBuilder *b, const char *name, gint64 value);
void qmp_build_bool(JsonBuilder *b, const char *name, bool value);
void qmp_build_version(JsonBuilder *b); /* an object: whose commands we speak, and who we are */
/* Answers with a list of nothing. */
void qmp_run_empty_list(struct qmp_call *call, JsonObject *args);

JsonNode *qmp_make_error(const char *class, const char *desc);
bool qmp_has_type(JsonNode *node, unsigned type);
/* NULL, or what is wrong with the arguments */
char *qmp_check_args(const struct qmp_command *command, JsonObject *args);

/* commands-life.c, for HMP too */
void qmp_run_system_wakeup(struct qmp_call *call, JsonObject *args);
void qmp_run_cont(struct qmp_call *call, JsonObject *args);
void qmp_run_stop(struct qmp_call *call, JsonObject *args);
void qmp_run_system_reset(struct qmp_call *call, JsonObject *args);
void qmp_run_system_powerdown(struct qmp_call *call, JsonObject *args);

/* commands-machine.c, for HMP too */
const char *qmp_uuid(struct qmp *qmp);
uint64_t qmp_memory_size(struct qmp *qmp);

/*
 * commands-devices.c: adds the arguments but `driver_key` and id to `o`. NULL: the call is
 * answered, and `o` is gone.
 */
struct object_desc *qmp_describe_object(struct qmp_call *call, JsonObject *args,
                                        const char *driver_key, struct object_desc *o);

/* commands-seat.c, for HMP too */
void qmp_screendump(struct qmp_call *call, const char *file, bool png);
void qmp_keys_failed(struct qmp_call *call, int error, const char *name);

/* facts.c */
const char *qmp_status_name(struct qmp *qmp);
bool qmp_status_running(struct qmp *qmp);
/* `used`: a device or monitor has it; `connected`: someone is at its other end. */
typedef void qmp_chardev_fn(void *opaque, const char *label, const char *filename, bool used,
                            bool connected);
void qmp_foreach_chardev(struct qmp *qmp, qmp_chardev_fn *fn, void *opaque);
typedef void qmp_pci_fn(void *opaque, struct pci_device *pci);
void qmp_foreach_pci(struct qmp *qmp, qmp_pci_fn *fn, void *opaque); /* there must be a machine */

struct drive_info {
    const char *id; /* of the back end */
    const char *qdev;
    struct block *block;
    struct device *device; /* who shows it to the guest; NULL: nobody */
    bool ide, cd;
    bool unplugged; /* by the guest */
};
typedef void qmp_drive_fn(void *opaque, const struct drive_info *drive);
void qmp_foreach_drive(struct qmp *qmp, qmp_drive_fn *fn, void *opaque);

/* commands-block.c */
bool qmp_find_drive(struct qmp *qmp, const char *name, struct drive_info *found);
/* Members of an object that is open. */
void qmp_build_medium(JsonBuilder *b, const struct drive_info *drive);
void qmp_build_node_name(JsonBuilder *b, const struct drive_info *drive);
void qmp_build_limits(JsonBuilder *b, const struct block *block);

/*
 * fdset.c: "/dev/fdset/N". Takes a descriptor of the set that is open for writing or reading, as
 * asked, and frees the set, which has served its purpose (libxl never removes them). *opaque_out:
 * what add-fd said of it, or NULL.
 */
bool qmp_fdset_is_path(const char *path);
int qmp_fdset_take(struct qmp *qmp, const char *path, bool write, char **opaque_out, GError **err);
void qmp_fdset_free_all(struct qmp *qmp);

/* for a live update */
void qmp_fdset_hand_over(struct qmp *qmp, struct handover *h);
void qmp_fdset_take_over(struct qmp *qmp, const struct handover *h);

/* hmp.c */
bool hmp_is_exclusive(const char *line);
void hmp_run(struct qmp_call *call, const char *line);
/* a line of output */
void hmp_out(GString *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void hmp_out_line(void *text, const char *line);
/* Cuts the first word off; the rest is without leading blanks. */
const char *hmp_split_word(char *line);
enum {
    HMP_MACHINE = 1 << 0,   /* needs one */
    HMP_GUEST = 1 << 3,     /* needs one that is served */
    HMP_EXCLUSIVE = 1 << 1, /* changes the run state: see struct qmp_ops */
    HMP_ARG = 1 << 2,       /* needs an argument */
};

/* info.c */
void hmp_info(struct qmp_call *call, const char *arg);

#endif
