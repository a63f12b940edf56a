/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line: what its two files share, and what QMP and main.c ask of it. */
#ifndef DM_CMDLINE_H
#define DM_CMDLINE_H

#include <stdbool.h>

#include <glib.h>

#include <xendm/machine-desc.h>

#include "optlist.h"

/*
 * For query-command-line-options: options that take key=value lists, with their keys. Ends with
 * name NULL.
 */
struct cmdline_option_info {
    const char *name;        /* without dash */
    const char *const *keys; /* NULL-terminated */
};
extern const struct cmdline_option_info cmdline_option_infos[];

/* ---- between machine-desc.c, cmdline.c and cmdline-devices.c ---- */

struct machine_desc *machine_desc_new(void); /* with the defaults */

/* A -drive if=none that waits for its -device. */
struct drive_arg {
    char *id, *file, *format;
    bool read_only, cdrom, used;
};

struct chardev_arg {
    char *id, *spec; /* spec NULL: only good for a monitor (fd=N) */
    char *path;      /* listening UNIX socket, else NULL */
    int fd;          /* listening socket, else -1 */
    bool monitor;    /* taken by -mon */
};

struct cmdline {
    struct machine_desc *desc;
    GPtrArray *drives;   /* struct drive_arg * */
    GPtrArray *chardevs; /* struct chardev_arg * */
    GPtrArray *monitors; /* char *: chardev ids */
    bool have_domid, have_machine, have_ram, have_vga;
};

bool cmdline_drive(struct cmdline *c, const char *option, const char *value, GError **err);
bool cmdline_device(struct cmdline *c, const char *option, const char *value, GError **err);
bool cmdline_chardev(struct cmdline *c, const char *option, const char *value, GError **err);
bool cmdline_mon(struct cmdline *c, const char *option, const char *value, GError **err);
bool cmdline_vga(struct cmdline *c, const char *option, const char *value, GError **err);
/* When all was read: links drives, devices, chardevs and monitors. */
bool cmdline_link(struct cmdline *c, GError **err);
void cmdline_drive_arg_free(void *arg);
void cmdline_chardev_arg_free(void *arg);

/* Sets "<option> <value>: <why>"; false. */
bool cmdline_refuse(const char *option, const char *value, const char *why, GError **err);

#endif
