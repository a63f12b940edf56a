/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The broker: a process of ours that keeps its rights, because it reads nothing of the guest's. It
 * was forked before anything was opened, has nothing but its end of a socket, and does for the
 * daemon in its sandbox the few things that need a name. The daemon may be in the guest's hands: so
 * each request is judged by what the command line says (rules.c).
 *
 * One packet each way (xendm/one-fd.h), the daemon waits for the answer.
 */
#ifndef DM_SANDBOX_BROKER_H
#define DM_SANDBOX_BROKER_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include <xendm/machine-desc.h>

enum broker_op {
    BROKER_OPEN_READ,
    BROKER_PICTURE_BEGIN,
    BROKER_PICTURE_END, /* argument: whether it is complete; picture */
    BROKER_REMOVE_SOCKET,
    BROKER_DROP_CACHE,
    BROKER_EXECUTE, /* with the line */
    BROKER_PROGRAM_ENDED,
    BROKER_KILL_PROGRAM,
    BROKER_OPEN_WRITE,
    /* Of `format`, by name, or with its descriptor and no name. Argument: for reading only. */
    BROKER_START_KEEPER,
    BROKER_SERVE_TREE, /* `format`: the security model */
    BROKER_SERVE_USB,  /* path: where the device is */
};

struct broker_request {
    uint32_t op;
    uint32_t argument, picture;
    uint32_t reserved;
    uint64_t device, inode;
    char format[16];
    char path[PATH_MAX];
};

struct broker_reply {
    int32_t result; /* the function's, with a descriptor 0 */
    int32_t value;  /* picture, status */
};

/* ---- the process ---- */

struct broker_rules;
void broker_serve(int socket, struct broker_rules *rules) __attribute__((noreturn));

/* ---- rules.c ---- */

/* `locked_up`: to a user, a root or a domain, where the toolstack passes descriptors only. */
struct broker_rules *rules_new(const struct machine_desc *desc, bool locked_up,
                               const char *own_program);

/* A descriptor or -errno. */
int rules_open_read(const struct broker_rules *r, const char *path);
int rules_open_write(const struct broker_rules *r, const char *path);
/*
 * The socket of the keeper that was started, or -errno: of what has that name, or was passed (-1:
 * nothing was).
 */
int rules_start_keeper(const struct broker_rules *r, const char *driver, const char *file,
                       int passed, unsigned flags);
/* The socket of the server that was started for a directory, or -errno. */
int rules_serve_tree(const struct broker_rules *r, const char *path, const char *model,
                     bool read_only);
/* The socket of the process that was started for a USB device, or -errno. */
int rules_serve_usb(const struct broker_rules *r, const char *where);
/* `*dir`: the directory to make it in, to be closed; 0 or -errno. */
int rules_picture_place(const struct broker_rules *r, const char *path, int *dir);
bool rules_is_socket(const struct broker_rules *r, const char *path);
/* A descriptor of the program, which a script's interpreter inherits, or -errno. */
int rules_open_program(const struct broker_rules *r, const char *path);

/* ---- images.c ---- */

/* A PV disk of the domain has this image; `write`: to be written to. */
bool images_is_named(unsigned domid, const char *path, bool write);
/* … and `driver` serves it (xendm/image-name.h); `file` may be elsewhere. */
bool images_is_served(unsigned domid, const char *driver, const char *file, bool write);

/* A 9pfs device of the domain has this directory, by this security model. */
bool images_is_tree(unsigned domid, const char *path, const char *model);

/* A USB controller of the domain has this device in a port. */
bool images_is_usb(unsigned domid, const char *where);

/* ---- client.c ---- */

void broker_use(int socket);     /* for programs, from now on */
void broker_give_names_up(void); /* and for files.h */
bool broker_is_there(void);

/* ---- program.c ---- */

void program_set_command_line(int argc, char **argv);
/* Process id or -errno; `program` is closed. */
int program_start(int program, const char *path, int line);

#endif
