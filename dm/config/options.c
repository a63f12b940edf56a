/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line, as libxl writes it (toolstack.md 1.4, 1.9), into a machine
 * description.
 *
 * Every option that libxl can write is in the table below: parsed, accepted without effect, or
 * refused with what is missing. Values are read as in optlist.h; names, -serial and -vnc are taken
 * verbatim. docs/xendm.8 is the user's side of this.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <config.h>

#include <xendm/error.h>
#include <xendm/instance.h>
#include <xendm/numbers.h>

#include <xendm/vnc.h>

#include "args.h"
#include "config.h"

#define VCPUS_MAX 128u              /* Xen's HVM_MAX_VCPUS */
#define RAM_MAX (UINT64_C(1) << 44) /* 16 TiB, Xen's limit for one domain */
#define BOOT_DEVICES_MAX 3          /* the CMOS has room for three (bytes 0x3d, 0x38) */
#define MESSAGE_VALUE_MAX 200       /* bytes of a value that a message shows */

/* ---- options with an effect ---- */

static bool parse_machine(struct args *a, const char *option, const char *value, GError **err)
{
    optlist_auto struct optlist *list = optlist_parse(option, value, "type", NULL, err);
    const char *type, *accel, *below;
    bool vmdesc = true, igd = false;

    if (!list) {
        return false;
    }
    type = optlist_take(list, "type");
    accel = optlist_take(list, "accel");
    below = optlist_take(list, "max-ram-below-4g");
    if (!type) {
        return args_refuse(option, value, "the type of machine is missing", err);
    }
    if (!instance_kind_find(type, &a->desc->type)) {
        return args_refuse(option, type, "there is no such machine (xenfv, pc, xenpv, none)", err);
    }
    if (accel && strcmp(accel, "xen") != 0) {
        return optlist_refuse(list, "accel", accel, err, "xendm works under Xen only");
    }
    if (below && number_parse_size(below, 1, UINT64_C(1) << 32, &a->desc->max_ram_below_4g) < 0) {
        return optlist_refuse(list, "max-ram-below-4g", below, err,
                              "must be 1 to 4294967296 bytes");
    }
    if (!optlist_take_bool(list, "suppress-vmdesc", &vmdesc, err) ||
        !optlist_take_bool(list, "igd-passthru", &igd, err)) {
        return false;
    }
    if (igd) {
        return optlist_refuse(list, "igd-passthru", "on", err,
                              "graphics passthrough is not implemented yet");
    }
    a->have_machine = true;
    return optlist_end(list, err);
}

static bool parse_memory(struct args *a, const char *option, const char *value, GError **err)
{
    optlist_auto struct optlist *list = optlist_parse(option, value, "size", NULL, err);
    const char *size;

    if (!list) {
        return false;
    }
    size = optlist_take(list, "size");
    if (!size || number_parse_size(size, 1 << 20, RAM_MAX, &a->desc->ram_bytes) < 0) {
        return args_refuse(option, value, "not an amount of memory (MiB, up to 16 TiB)", err);
    }
    a->have_ram = true;
    return optlist_end(list, err);
}

static bool parse_smp(struct args *a, const char *option, const char *value, GError **err)
{
    optlist_auto struct optlist *list = optlist_parse(option, value, "cpus", NULL, err);
    uint64_t cpus = 1, max = 0;
    bool has_cpus, has_max;

    if (!list || !optlist_take_uint(list, "cpus", 1, VCPUS_MAX, &cpus, &has_cpus, err) ||
        !optlist_take_uint(list, "maxcpus", 1, VCPUS_MAX, &max, &has_max, err) ||
        !optlist_end(list, err)) {
        return false;
    }
    if (!has_max) {
        max = cpus;
    }
    if (!has_cpus) {
        cpus = max;
    }
    if (cpus > max) {
        return args_refuse(option, value, "more vCPUs online than maxcpus", err);
    }
    a->desc->vcpus = (unsigned)max;
    a->desc->vcpus_online = (unsigned)cpus;
    return true;
}

static bool parse_boot(struct args *a, const char *option, const char *value, GError **err)
{
    static const char letters[] = "acdn";
    optlist_auto struct optlist *list = optlist_parse(option, value, "order", NULL, err);
    const char *order;

    if (!list) {
        return false;
    }
    order = optlist_take(list, "order");
    if (!order || !*order) {
        return args_refuse(option, value, "order= is missing", err);
    }
    for (const char *p = order; *p; p++) {
        if (!strchr(letters, *p)) {
            return args_refuse(option, value, "boot devices are a, c, d and n", err);
        }
        if (strchr(p + 1, *p)) {
            return args_refuse(option, value, "a boot device is named twice", err);
        }
    }
    if (strlen(order) > BOOT_DEVICES_MAX) {
        return args_refuse(option, value, "at most three boot devices", err);
    }
    a->desc->boot_order = g_strdup(order);
    return optlist_end(list, err);
}

static bool parse_vnc(struct args *a, const char *option, const char *value, GError **err)
{
    if (strcmp(value, "none") == 0) {
        return true;
    }
    if (vnc_check(&(struct vnc_config){.options = value}, err) < 0) {
        return false;
    }
    a->desc->vnc = g_strdup(value);
    return true;
}

static bool parse_display(struct args *a, const char *option, const char *value, GError **err)
{
    return strcmp(value, "none") == 0
               ? true
               : args_refuse(option, value, "this display is not implemented", err);
}

static bool parse_keymap(struct args *a, const char *option, const char *value, GError **err)
{
    a->desc->keymap = g_strdup(value);
    return true;
}

static bool parse_net(struct args *a, const char *option, const char *value, GError **err)
{
    return strcmp(value, "none") == 0
               ? true
               : args_refuse(option, value, "network is not implemented yet", err);
}

static bool parse_null_device(struct args *a, const char *option, const char *value, GError **err)
{
    if (strcmp(value, "none") == 0 || strcmp(value, "null") == 0 ||
        strcmp(value, "/dev/null") == 0) {
        return true;
    }
    return args_refuse(option, value, "only none and /dev/null are implemented", err);
}

static bool parse_no_acpi(struct args *a, const char *option, const char *value, GError **err)
{
    a->desc->acpi = false;
    return true;
}

static bool accept(struct args *a, const char *option, const char *value, GError **err)
{
    return true;
}

/* ---- the table ---- */

enum {
    ARG = 1 << 0,  /* takes a value */
    ONCE = 1 << 1, /* may be given once */
    OWN = 1 << 2,  /* ours, with two dashes */
};

struct option {
    const char *name;
    unsigned flags;
    option_fn *parse;
    const char *help; /* for --help; or, with `parse` NULL, why the option is refused */
};

static const struct option options[] = {
    {"xen-domid", ARG | ONCE, process_domid, "N: serve this domain"},
    {"name", ARG | ONCE, process_name, "NAME: the guest's name"},
    {"machine", ARG | ONCE, parse_machine,
     "xenfv|pc|xenpv|none[,max-ram-below-4g=BYTES][,suppress-vmdesc=on|off]"},
    {"m", ARG | ONCE, parse_memory, "MIB: guest memory"},
    {"smp", ARG | ONCE, parse_smp, "ONLINE[,maxcpus=MAX]: vCPUs"},
    {"boot", ARG | ONCE, parse_boot, "order=LETTERS: a floppy, c disk, d CD, n network"},
    {"kernel", ARG | ONCE, kernel_kernel, "FILE: boot this kernel of Linux (bzImage) directly"},
    {"initrd", ARG | ONCE, kernel_initrd, "FILE: its initial RAM disk"},
    {"append", ARG | ONCE, kernel_append, "TEXT: its command line"},
    {"drive", ARG, drives_drive,
     "file=F,if=ide,index=N,media=disk|cdrom,format=raw|host_device or if=none,id=ID,…"},
    {"device", ARG, devices_device,
     "DRIVER[,id=ID][,PROPERTY=VALUE…]: help lists the drivers, DRIVER,help its properties"},
    {"vga", ARG, devices_vga, "std|cirrus|none"},
    {"serial", ARG, chardevs_serial,
     "pty|file:F|unix:F|tcp:H:P|chardev:ID|…: a serial port, up to four"},
    {"chardev", ARG, chardevs_chardev, "socket|pty|file|pipe|serial|null|stdio,id=ID,…"},
    {"fsdev", ARG, devices_fsdev,
     "local,id=ID,path=DIR,security_model=M,…: a directory for virtio-9p-pci"},
    {"netdev", ARG, devices_netdev, "DRIVER,id=ID,…: a network back end; help lists them"},
    {"usb", 0, devices_usb, "the USB controller of the PIIX3"},
    {"usbdevice", ARG, devices_usbdevice, "tablet|mouse|keyboard|host:…: on it"},
    {"audiodev", ARG, devices_audiodev, "DRIVER,id=ID,…: a sound back end; help lists them"},
    {"mon", ARG, chardevs_mon, "chardev=ID,mode=control: a QMP monitor"},
    {"no-acpi", ONCE, parse_no_acpi, "no ACPI"},
    {"vnc", ARG | ONCE, parse_vnc, "HOST:DISPLAY[,…]|none"},
    {"k", ARG | ONCE, parse_keymap, "KEYMAP (no effect)"},
    {"display", ARG, parse_display, "none"},
    {"net", ARG, parse_net, "none"},
    {"S", ONCE, process_stopped, "do not start before QMP cont"},
    {"no-shutdown", ONCE, accept, "(no effect: xendm always stays after the guest powered off)"},
    {"incoming", ARG | ONCE, process_incoming, "fd:N: restore from this file"},
    {"xen-domid-restrict", ONCE, process_restrict, "give up all rights over other domains"},
    {"chroot", ARG | ONCE, process_chroot, "DIR: root directory once everything is open"},
    {"runas", ARG | ONCE, process_user, "USER|UID:GID: user once everything is open"},
    {"run-with", ARG, process_run_with, "chroot=DIR,user=USER: the same"},
    {"daemonize", ONCE, process_daemonize, "go to the background once it serves"},
    {"pidfile", ARG | ONCE, process_pid_file, "FILE: holds our process id, and is locked"},
    {"sandbox", ARG | ONCE, process_sandbox,
     "on|off: a list of permitted system calls (on where the kernel can)"},
    {"nodefaults", 0, accept, "(no effect: there are no defaults)"},
    {"no-user-config", 0, accept, "(no effect: there is no configuration file)"},
    {"nographic", 0, accept, "(no effect)"},
    {"xen-attach", 0, accept, "(no effect: the domain is always there before us)"},
    {"monitor", ARG, parse_null_device, "none|/dev/null (no effect)"},
    {"parallel", ARG, parse_null_device, "none|/dev/null (no effect)"},

    {"log", ARG | ONCE | OWN, process_log,
     "SUBSYSTEM=LEVEL[,…]: error, warning, info, debug; subsystem all"},
    {"replay", ARG | ONCE | OWN, process_replay,
     "fd:N[,trap]: play a recording (docs/recording.md); not for people"},
    {"update-from", ARG | ONCE | OWN, accept,
     "FD: of a live update (docs/live-update.md); not for people"},
    {"dump-machine", OWN, process_dump, "print what was understood as JSON and exit"},
    {"help", OWN, NULL, "print this and exit"},
    {"version", OWN, NULL, "print the version and exit"},

    {"spice", ARG, NULL, "SPICE is not implemented"},
    {"soundhw", ARG, NULL, "sound is not implemented yet"},
    {"nic", ARG, NULL, "network is not implemented yet"},
    {"object", ARG, NULL, "not implemented (COLO)"},
};

static const char *const machine_keys[] = {
    "type", "accel", "max-ram-below-4g", "suppress-vmdesc", "igd-passthru", NULL};
static const char *const memory_keys[] = {"size", NULL};
static const char *const smp_keys[] = {"cpus", "maxcpus", NULL};
static const char *const boot_keys[] = {"order", NULL};
static const char *const drive_keys[] = {"file",  "format", "if",       "index", "bus", "unit",
                                         "media", "id",     "readonly", "cache", NULL};
static const char *const chardev_keys[] = {"backend", "id",   "path",   "host",    "port", "fd",
                                           "server",  "wait", "append", "nodelay", NULL};
static const char *const mon_keys[] = {"chardev", "mode", "pretty", NULL};
static const char *const run_with_keys[] = {"chroot", "user", NULL};

const struct cmdline_option_info cmdline_option_infos[] = {
    {"machine", machine_keys}, {"m", memory_keys},          {"smp-opts", smp_keys},
    {"boot-opts", boot_keys},  {"drive", drive_keys},       {"chardev", chardev_keys},
    {"mon", mon_keys},         {"run-with", run_with_keys}, {NULL},
};

static void print_help(void)
{
    printf("xendm %s: device model of a Xen HVM guest; started by xl through "
           "device_model_override=\n\n"
           "Options, as libxl writes them (xendm(8) has the details):\n",
           VERSION);
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        const struct option *o = &options[i];

        if (o->parse || (o->flags & OWN)) {
            printf("  %s%-20s %s\n", o->flags & OWN ? "--" : " -", o->name, o->help);
        }
    }
    printf("\nRecognised, but refused because it is not implemented:\n ");
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        if (!options[i].parse && !(options[i].flags & OWN)) {
            printf(" -%s", options[i].name);
        }
    }
    printf("\n");
}

/*
 * Two dashes are as good as one, as with QEMU; -M is -machine, -h is --help. `value` is set for
 * --name=value.
 */
static const struct option *find_option(const char *arg, const char **value)
{
    const char *name = arg + 1 + (arg[1] == '-');
    size_t len = strcspn(name, "=");

    *value = name[len] ? name + len + 1 : NULL;
    if (strcmp(name, "M") == 0) {
        name = "machine";
        len = strlen(name);
    } else if (strcmp(name, "h") == 0) {
        name = "help";
        len = strlen(name);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        const struct option *o = &options[i];

        if (strlen(o->name) == len && memcmp(o->name, name, len) == 0 &&
            (!*value || (o->flags & (OWN | ARG)) == (OWN | ARG))) {
            return o;
        }
    }
    return NULL;
}

static bool parse_all(struct args *a, int argc, char **argv, bool *done, GError **err)
{
    bool seen[G_N_ELEMENTS(options)] = {false};

    for (int i = 1; i < argc; i++) {
        const char *value = NULL;
        const struct option *o;

        if (argv[i][0] != '-' || !argv[i][1]) {
            return args_refuse("argument", argv[i], "not an option", err);
        }
        o = find_option(argv[i], &value);
        if (!o) {
            g_set_error(err, XENDM_ERROR, EINVAL, "%s: unknown option", argv[i]);
            return false;
        }
        if ((o->flags & ARG) && !value) {
            if (++i == argc) {
                g_set_error(err, XENDM_ERROR, EINVAL, "%s: needs a value", argv[i - 1]);
                return false;
            }
            value = argv[i];
        }
        if (!o->parse && (o->flags & OWN)) {
            if (strcmp(o->name, "help") == 0) {
                print_help();
            } else {
                printf("xendm %s\n", VERSION);
            }
            *done = true;
            return false;
        }
        g_autofree char *option = g_strdup_printf("%s%s", o->flags & OWN ? "--" : "-", o->name);
        if (!o->parse) {
            /* No more than the first piece: a SPICE value may hold a password. */
            g_autofree char *first = value ? g_strndup(value, strcspn(value, ",")) : NULL;

            g_set_error(err, XENDM_ERROR, EINVAL, "%s%s%s: %s", option, first ? " " : "",
                        first ? first : "", o->help);
            return false;
        }
        if ((o->flags & ONCE) && seen[o - options]) {
            g_set_error(err, XENDM_ERROR, EINVAL, "%s%s%s: given twice", option, value ? " " : "",
                        value ? value : "");
            return false;
        }
        seen[o - options] = true;
        if (!o->parse(a, option, value, err)) {
            return false;
        }
        if (a->answered) {
            *done = true;
            return false;
        }
    }
    return true;
}

static bool check_complete(struct args *a, GError **err)
{
    const struct instance_kind *kind = instance_kind(a->desc->type);
    bool machine = kind->parts & INSTANCE_MACHINE;
    const char *missing = NULL;

    if (!a->have_machine) {
        missing = "-machine";
    } else if ((kind->parts & INSTANCE_DOMAIN) && !a->have_domid) {
        missing = "-xen-domid";
    } else if (machine && !a->have_ram) {
        missing = "-m";
    }
    if (missing) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: missing (see xendm --help)", missing);
        return false;
    }
    if ((kind->parts & INSTANCE_DOMAIN) && a->desc->domid == 0 && !kind->of_control_domain) {
        return args_refuse("-xen-domid", "0", "domain 0 has no device model", err);
    }
    if (a->desc->restrict_domid && !machine) {
        return args_refuse("-machine", kind->name,
                           "back ends need rights that -xen-domid-restrict gives up", err);
    }
    if (a->desc->replay_fd >= 0 && a->desc->incoming_fd < 0) {
        return args_refuse("--replay", "fd", "the state in front of it comes by -incoming", err);
    }
    if (a->desc->incoming_fd >= 0 && !machine) {
        return args_refuse("-machine", kind->name, "there is no state to restore", err);
    }
    return true;
}

/*
 * One line, whatever is in the values; a long one keeps its begin and its end, where the reason is.
 */
static void make_one_line(GError *err)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (const char *p = err->message; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            g_string_append_printf(text, "\\x%02x", (unsigned char)*p);
        } else {
            g_string_append_c(text, *p);
        }
    }
    if (text->len > 2 * MESSAGE_VALUE_MAX) {
        g_string_erase(text, MESSAGE_VALUE_MAX, text->len - 2 * MESSAGE_VALUE_MAX);
        g_string_insert(text, MESSAGE_VALUE_MAX, "...");
    }
    g_free(err->message);
    err->message = g_strdup(text->str);
}

struct machine_desc *machine_desc_parse(int argc, char **argv, bool *done, GError **err)
{
    struct args a;
    GError *error = NULL;

    *done = false;
    args_init(&a);
    if (!parse_all(&a, argc, argv, done, &error) || !check_complete(&a, &error) ||
        !args_link(&a, &error)) {
        g_clear_pointer(&a.desc, machine_desc_free);
        if (error) {
            make_one_line(error);
            g_propagate_error(err, error);
        }
    }
    args_clear(&a);
    return a.desc;
}
