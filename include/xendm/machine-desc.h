/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Machine description: the command line, parsed. Everything that shapes the process and its machine
 * is here, and `xendm --dump-machine` prints it as JSON. dm/config/options.c fills it, the board
 * and dm/ read it; nobody parses twice.
 *
 * Text is as the toolstack wrote it: libxl does not escape, so file names, guest names and
 * passwords may hold commas.
 */
#ifndef XENDM_MACHINE_DESC_H
#define XENDM_MACHINE_DESC_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include <xendm/object.h>

/* What each is made of: xendm/instance.h. */
enum machine_type {
    MACHINE_XENFV, /* i440FX with the Xen platform device */
    /* the same without it ("-machine pc,accel=xen": xen_platform_pci=0) */
    MACHINE_PC,
    MACHINE_XENPV,     /* back ends only, for PV and PVH guests */
    MACHINE_SECONDARY, /* PCI functions only, beside another device model of the same domain */
    MACHINE_NONE,      /* libxl's probe run (4.20+): QMP only */
};

struct monitor_desc {
    char *chardev_id;
    char *path; /* socket to create, or NULL with fd */
    int fd;     /* already listening socket, or -1 */
};

enum sandbox_choice {
    SANDBOX_DEFAULT, /* on, if the kernel can */
    SANDBOX_ON,
    SANDBOX_OFF,
};

struct machine_desc {
    enum machine_type type;
    unsigned domid;
    char *name;
    uint64_t ram_bytes;        /* -m */
    uint64_t max_ram_below_4g; /* 0: not given */
    unsigned vcpus;            /* maximum */
    unsigned vcpus_online;
    bool acpi;
    char *boot_order; /* "cda" … */

    char *vnc; /* the -vnc argument, or NULL */
    char *keymap;

    /*
     * struct object_desc *: every back end, in order of the command line, then every device in the
     * order in which the board makes them. -vga, -serial and -drive if=ide are written as objects
     * by dm/config; nobody behind it knows the short forms.
     */
    GPtrArray *objects;
    GPtrArray *monitors; /* struct monitor_desc * */

    bool start_stopped; /* -S */
    int incoming_fd;    /* -incoming fd:N; -1 */

    bool restrict_domid;         /* -xen-domid-restrict */
    enum sandbox_choice sandbox; /* -sandbox */
    char *chroot_dir;
    char *run_as;   /* "name" or "uid:gid" */
    bool daemonize; /* -daemonize: to the background once it serves */
    char *pid_file; /* -pidfile, or NULL */

    /* Our own options. */
    char *log_levels; /* --log SUBSYSTEM=LEVEL[,…] */
    int replay_fd;    /* --replay fd:N[,trap]; -1 */
    bool replay_trap;
    bool dump_machine; /* --dump-machine */
};

/*
 * NULL with `err`, whose message names option and value. --help and --version are answered here:
 * *done is set and NULL returned without an error.
 */
struct machine_desc *machine_desc_parse(int argc, char **argv, bool *done, GError **err);
void machine_desc_free(struct machine_desc *desc);
char *machine_desc_to_json(const struct machine_desc *desc);

#endif
