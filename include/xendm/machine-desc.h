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

enum machine_type {
    MACHINE_XENFV, /* i440FX with the Xen platform device */
    /* the same without it ("-machine pc,accel=xen": xen_platform_pci=0) */
    MACHINE_PC,
    MACHINE_XENPV, /* back ends only, for PV and PVH guests */
    MACHINE_NONE,  /* libxl's probe run (4.20+): QMP only */
};

enum vga_type {
    VGA_NONE,
    VGA_STD,
    VGA_CIRRUS,
};

enum drive_kind {
    DRIVE_IDE_DISK,
    DRIVE_IDE_CD,
};

struct drive_desc {
    enum drive_kind kind;
    /* "ide-5632", or "ide<bus>-hd<unit>" for -drive if=ide, as QEMU names it */
    char *id;
    char *file;     /* NULL: empty CD drive */
    char *format;   /* "raw", "host_device" */
    unsigned index; /* 0..3: bus * 2 + unit */
    bool read_only;
};

struct chardev_desc {
    char *id;
    char *spec; /* in chardev_open()'s syntax */
};

struct monitor_desc {
    char *chardev_id;
    char *path; /* socket to create, or NULL with fd */
    int fd;     /* already listening socket, or -1 */
};

struct device_desc { /* -device that is neither a drive, nor VGA */
    char *driver;
    char *id;               /* NULL when not given */
    GHashTable *properties; /* char * → char * */
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
    bool attach;               /* -xen-attach */
    uint64_t ram_bytes;        /* -m */
    uint64_t max_ram_below_4g; /* 0: not given */
    unsigned vcpus;            /* maximum */
    unsigned vcpus_online;
    bool acpi;
    char *boot_order; /* "cda" … */

    enum vga_type vga;
    unsigned vga_memory_mib;
    char *vnc; /* the -vnc argument, or NULL */
    char *keymap;

    GPtrArray *drives;   /* struct drive_desc *, by index */
    GPtrArray *chardevs; /* struct chardev_desc * without the monitors' */
    GPtrArray *serials;  /* char *: -serial arguments in order, at most 4 */
    GPtrArray *monitors; /* struct monitor_desc * */
    GPtrArray *devices;  /* struct device_desc * */

    bool start_stopped; /* -S */
    /* -no-shutdown: stay after the guest's poweroff (always, under libxl) */
    bool no_shutdown;
    int incoming_fd; /* -incoming fd:N; -1 */

    bool restrict_domid;         /* -xen-domid-restrict */
    enum sandbox_choice sandbox; /* -sandbox */
    char *chroot_dir;
    char *run_as; /* "name" or "uid:gid" */

    /* Our own options. */
    char *log_levels;  /* --log SUBSYSTEM=LEVEL[,…] */
    bool dump_machine; /* --dump-machine */
};

/*
 * NULL with `err`, whose message names option and value. --help and --version are answered here:
 * *done is set and NULL returned without an error.
 */
struct machine_desc *machine_desc_parse(int argc, char **argv, bool *done, GError **err);
void machine_desc_free(struct machine_desc *desc);
char *machine_desc_to_json(const struct machine_desc *desc);

const char *machine_type_name(enum machine_type type);
const char *vga_type_name(enum vga_type type);

#endif
