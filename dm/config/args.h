/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of this room share: the command line while it is read. Options are read in their
 * order into args; args_link() then puts together what names each other, and writes the objects of
 * the machine description.
 */
#ifndef DM_CONFIG_ARGS_H
#define DM_CONFIG_ARGS_H

#include <stdbool.h>

#include <glib.h>

#include <xendm/machine-desc.h>

#include "optlist.h"

/* Who gave an object, for messages: "-device" and its value. */
struct arg_source {
    const char *option; /* a literal */
    char *value;
};

struct backend_arg {
    struct arg_source from;
    struct object_desc *object; /* NULL: moved into the description, or a monitor's */
    bool used;                  /* by a device or a monitor */
    int monitor_fd;             /* -chardev socket,fd=N: listening already; else -1 */
};

/* In this order they are made, and within it in order of the command line. */
enum device_rank {
    RANK_SERIAL,
    RANK_PLATFORM, /* PCI slot 2 */
    RANK_DISPLAY,  /* slot 3, as with QEMU */
    RANK_USB,      /* the controller of -usb: before what is on it */
    RANK_OTHER,
    RANK_IDE,
};

struct device_arg {
    struct arg_source from;
    struct object_desc *object; /* NULL: moved into the description */
    enum device_rank rank;
    bool elsewhere;             /* a drive, on another controller's bus */
    int place;                  /* IDE: bus * 2 + unit, serial: index; -1: any */
    int bus;                    /* IDE: bus that any unit of will do; -1: any */
    struct backend_arg *medium; /* -drive if=ide: its own */
};

struct args {
    struct machine_desc *desc;
    GPtrArray *backends; /* struct backend_arg * */
    GPtrArray *devices;  /* struct device_arg * */
    GPtrArray *monitors; /* char *: chardev ids */
    char *kernel, *initrd, *append;
    unsigned serials; /* -serial so far */
    bool have_domid, have_machine, have_ram, have_display, have_usb;
    bool answered; /* help was printed: nothing is to be started */
};

void args_init(struct args *a);
void args_clear(struct args *a);

/* Sets "<option> <value>: <why>"; false. */
bool args_refuse(const char *option, const char *value, const char *why, GError **err);
/* The same with what is in *err already as the reason. */
bool args_refuse_because(const struct arg_source *from, GError **err);

/* Take the object over. */
struct backend_arg *args_add_backend(struct args *a, const char *option, const char *value,
                                     struct object_desc *object);
struct device_arg *args_add_device(struct args *a, const char *option, const char *value,
                                   enum device_rank rank, struct object_desc *object);
struct backend_arg *args_find_backend(struct args *a, enum backend_kind kind, const char *id);

/* Everything was read: the objects, checked by their classes' tables. */
bool args_link(struct args *a, GError **err);

/* What a line of the table of options calls. */
typedef bool option_fn(struct args *a, const char *option, const char *value, GError **err);

/* process.c */
option_fn process_domid, process_name, process_stopped, process_incoming, process_restrict,
    process_chroot, process_user, process_run_with, process_sandbox, process_daemonize,
    process_pid_file, process_log, process_dump, process_replay;
/* drives.c */
option_fn drives_drive;
bool drives_link(struct args *a, GError **err);
/* devices.c */
option_fn devices_device, devices_vga, devices_netdev, devices_fsdev, devices_audiodev, devices_usb,
    devices_usbdevice;
bool devices_check(struct args *a, GError **err);
bool devices_add_hub(struct args *a, GError **err);
bool devices_link(struct args *a, GError **err);
/* chardevs.c */
option_fn chardevs_chardev, chardevs_serial, chardevs_mon;
bool chardevs_link(struct args *a, GError **err);
/* kernel.c */
option_fn kernel_kernel, kernel_initrd, kernel_append;
bool kernel_link(struct args *a, GError **err);

/* machine-desc.c */
struct machine_desc *machine_desc_new(void); /* with the defaults */

#endif
