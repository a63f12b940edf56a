/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives, devices, character devices and monitors of the command line (toolstack.md 1.4, rows 3-6,
 * 20, 38-41, 43).
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <xendm/device.h>

#include "config.h"
#include "optlist.h"

#define IDE_BUSES 2
#define IDE_UNITS 2
#define SERIALS_MAX 4

void cmdline_drive_arg_free(void *arg)
{
    struct drive_arg *drive = arg;

    g_free(drive->id);
    g_free(drive->file);
    g_free(drive->format);
    g_free(drive);
}

void cmdline_chardev_arg_free(void *arg)
{
    struct chardev_arg *chardev = arg;

    g_free(chardev->id);
    g_free(chardev->spec);
    g_free(chardev->path);
    g_free(chardev);
}

/* ---- drives ---- */

/* The four ways in which libxl writes a file name (toolstack.md 1.4, rows 38 to 41). */
static const struct optlist_form drive_forms[] = {
    {{"if=none", "readonly=on", "id=ide-"}, "file", {"format="}},
    {{NULL}, "file", {"id=scsi0-hd", "format=", "if=none", "readonly=", "cache=writeback"}},
    {{NULL}, "file", {"if=none", "id=ahcidisk-", "format=", "cache=writeback"}},
    {{NULL}, "file", {"if=ide", "index=", "media=disk", "format=", "cache=writeback"}},
    {.key = NULL},
};

static const char *const formats[] = {"raw", "host_device", NULL};

static bool index_taken(struct cmdline *c, unsigned index)
{
    for (guint i = 0; i < c->desc->drives->len; i++) {
        if (((struct drive_desc *)g_ptr_array_index(c->desc->drives, i))->index == index) {
            return true;
        }
    }
    return false;
}

static bool drive_id_taken(struct cmdline *c, const char *id)
{
    for (guint i = 0; i < c->desc->drives->len; i++) {
        if (strcmp(((struct drive_desc *)g_ptr_array_index(c->desc->drives, i))->id, id) == 0) {
            return true;
        }
    }
    return false;
}

/* Finds `index`'s or the first free place; an occupied or missing one is refused. */
static bool place_drive(struct cmdline *c, struct drive_desc *drive, const char *option,
                        const char *value, int index, GError **err)
{
    g_autofree char *why = NULL;

    if (index < 0) {
        for (index = 0; index < IDE_BUSES * IDE_UNITS && index_taken(c, index); index++) {
        }
        if (index == IDE_BUSES * IDE_UNITS) {
            return cmdline_refuse(option, value, "all four IDE drives are there already", err);
        }
    } else if (index_taken(c, index)) {
        why = g_strdup_printf("there are two IDE drives with index %d", index);
        return cmdline_refuse(option, value, why, err);
    }
    drive->index = index;
    if (!drive->id) {
        drive->id = g_strdup_printf("ide%u-%s%u", index / IDE_UNITS,
                                    drive->kind == DRIVE_IDE_CD ? "cd" : "hd", index % IDE_UNITS);
    }
    if (drive_id_taken(c, drive->id)) {
        why = g_strdup_printf("there are two drives with the id %s", drive->id);
        return cmdline_refuse(option, value, why, err);
    }
    return true;
}

static bool check_medium(struct drive_desc *drive, const char *option, const char *value,
                         GError **err)
{
    if (drive->kind == DRIVE_IDE_CD) {
        drive->read_only = true;
        return true;
    }
    if (!drive->file) {
        return cmdline_refuse(option, value, "a disk needs a file", err);
    }
    if (drive->read_only) {
        return cmdline_refuse(option, value, "an IDE disk cannot be read-only", err);
    }
    return true;
}

static void add_drive(struct cmdline *c, const struct drive_desc *drive)
{
    g_ptr_array_add(c->desc->drives, g_memdup2(drive, sizeof(*drive)));
}

static void clear_drive(struct drive_desc *drive)
{
    g_free(drive->id);
    g_free(drive->file);
    g_free(drive->format);
}

/* The image of a -drive: what may be in it, and where it is. */
static bool take_image(struct optlist *list, char **file_out, char **format_out, GError **err)
{
    const char *file = optlist_take(list, "file");
    const char *format = optlist_take(list, "format");

    if (file && !*file) {
        file = NULL;
    }
    if (file && (g_str_has_prefix(file, "nbd:") || g_str_has_prefix(file, "nbd+unix:"))) {
        return optlist_refuse(list, "file", file, err,
                              "network block devices are not implemented yet");
    }
    if (file && !format) {
        return optlist_refuse(list, "file", file, err,
                              "format= is missing (formats are not guessed)");
    }
    if (format && !g_strv_contains(formats, format)) {
        return optlist_refuse(list, "format", format, err,
                              "this image format is not implemented yet");
    }
    *file_out = g_strdup(file);
    *format_out = g_strdup(format);
    return true;
}

bool cmdline_drive(struct cmdline *c, const char *option, const char *value, GError **err)
{
    static const char *const interfaces[] = {"none", "ide", NULL};
    static const char *const media[] = {"disk", "cdrom", NULL};
    static const char *const caches[] = {"writeback", NULL};
    optlist_auto struct optlist *list = optlist_parse(option, value, NULL, drive_forms, err);
    struct drive_desc drive = {.kind = DRIVE_IDE_DISK};
    unsigned interface = 1, medium = 0, cache = 0;
    uint64_t index = 0, bus = 0, unit = 0;
    bool has_index, has_bus, has_unit;
    struct drive_arg *arg;

    if (!list || !optlist_take_word(list, "if", interfaces, &interface, err) ||
        !optlist_take_word(list, "media", media, &medium, err) ||
        !optlist_take_word(list, "cache", caches, &cache, err) ||
        !optlist_take_bool(list, "readonly", &drive.read_only, err) ||
        !optlist_take_bool(list, "read-only", &drive.read_only, err) ||
        !optlist_take_uint(list, "index", 0, IDE_BUSES * IDE_UNITS - 1, &index, &has_index, err) ||
        !optlist_take_uint(list, "bus", 0, IDE_BUSES - 1, &bus, &has_bus, err) ||
        !optlist_take_uint(list, "unit", 0, IDE_UNITS - 1, &unit, &has_unit, err) ||
        !take_image(list, &drive.file, &drive.format, err)) {
        clear_drive(&drive);
        return false;
    }
    drive.id = g_strdup(optlist_take(list, "id"));
    if (!optlist_end(list, err)) {
        clear_drive(&drive);
        return false;
    }
    if (interface == 1) {
        drive.kind = medium ? DRIVE_IDE_CD : DRIVE_IDE_DISK;
        if (has_bus || has_unit) {
            if (has_index) {
                clear_drive(&drive);
                return cmdline_refuse(option, value, "give either index= or bus= and unit=", err);
            }
            has_index = true;
            index = bus * IDE_UNITS + unit;
        }
        if (!check_medium(&drive, option, value, err) ||
            !place_drive(c, &drive, option, value, has_index ? (int)index : -1, err)) {
            clear_drive(&drive);
            return false;
        }
        add_drive(c, &drive);
        return true;
    }
    if (!drive.id || has_index || has_bus || has_unit) {
        bool no_id = !drive.id;

        clear_drive(&drive);
        return cmdline_refuse(option, value,
                              no_id ? "if=none needs an id=" : "if=none has no place on a bus",
                              err);
    }
    for (guint i = 0; i < c->drives->len; i++) {
        if (strcmp(((struct drive_arg *)g_ptr_array_index(c->drives, i))->id, drive.id) == 0) {
            clear_drive(&drive);
            return cmdline_refuse(option, value, "there are two drives with this id", err);
        }
    }
    arg = g_new0(struct drive_arg, 1);
    *arg =
        (struct drive_arg){drive.id, drive.file, drive.format, drive.read_only, medium == 1, false};
    g_ptr_array_add(c->drives, arg);
    return true;
}

/* ---- devices ---- */

static bool set_vga(struct cmdline *c, enum vga_type type, uint64_t mib, const char *option,
                    const char *value, GError **err)
{
    if (c->have_vga) {
        return cmdline_refuse(option, value, "there can be only one graphics card", err);
    }
    c->have_vga = true;
    c->desc->vga = type;
    c->desc->vga_memory_mib = mib;
    return true;
}

bool cmdline_vga(struct cmdline *c, const char *option, const char *value, GError **err)
{
    if (strcmp(value, "none") == 0) {
        return set_vga(c, VGA_NONE, 0, option, value, err);
    }
    if (strcmp(value, "std") == 0) {
        return set_vga(c, VGA_STD, 16, option, value, err);
    }
    if (strcmp(value, "cirrus") == 0) {
        return set_vga(c, VGA_CIRRUS, 8, option, value, err);
    }
    return cmdline_refuse(option, value, "this graphics card is not implemented yet", err);
}

static bool vga_device(struct cmdline *c, struct optlist *list, const char *option,
                       const char *value, GError **err)
{
    bool cirrus = g_str_has_prefix(value, "cirrus-vga");
    uint64_t mib = cirrus ? 8 : 16;

    optlist_take(list, "id");
    return optlist_take_uint(list, "vgamem_mb", 1, 512, &mib, NULL, err) &&
           optlist_end(list, err) &&
           set_vga(c, cirrus ? VGA_CIRRUS : VGA_STD, mib, option, value, err);
}

static struct drive_arg *find_drive_arg(struct cmdline *c, const char *id)
{
    for (guint i = 0; i < c->drives->len; i++) {
        struct drive_arg *arg = g_ptr_array_index(c->drives, i);

        if (strcmp(arg->id, id) == 0) {
            return arg;
        }
    }
    return NULL;
}

static bool ide_device(struct cmdline *c, struct optlist *list, const char *option,
                       const char *value, GError **err)
{
    const char *id = optlist_take(list, "id");
    const char *source = optlist_take(list, "drive");
    const char *bus = optlist_take(list, "bus");
    struct drive_desc drive = {.kind = g_str_has_prefix(value, "ide-cd") ? DRIVE_IDE_CD
                                                                         : DRIVE_IDE_DISK};
    struct drive_arg *arg = source ? find_drive_arg(c, source) : NULL;
    uint64_t unit = 0, bus_number = 0;
    bool has_unit;
    int index = -1;

    if (bus && (!g_str_has_prefix(bus, "ide.") ||
                optlist_number(bus + 4, 0, IDE_BUSES - 1, &bus_number) < 0)) {
        return optlist_refuse(list, "bus", bus, err,
                              "there is no such bus (ide.0 and ide.1 are there)");
    }
    if (!optlist_take_uint(list, "unit", 0, IDE_UNITS - 1, &unit, &has_unit, err) ||
        !optlist_end(list, err)) {
        return false;
    }
    if (source && !arg) {
        return optlist_refuse(list, "drive", source, err,
                              "there is no -drive with this id before it");
    }
    if (arg && arg->used) {
        return optlist_refuse(list, "drive", source, err, "another device has this drive");
    }
    if (bus || has_unit) {
        index = (int)(bus_number * IDE_UNITS + unit);
        if (!has_unit && index_taken(c, index)) {
            index++;
        }
    }
    drive.id = g_strdup(id ? id : source);
    if (arg) {
        arg->used = true;
        drive.file = g_strdup(arg->file);
        drive.format = g_strdup(arg->format);
        drive.read_only = arg->read_only;
    }
    if (!check_medium(&drive, option, value, err) ||
        !place_drive(c, &drive, option, value, index, err)) {
        clear_drive(&drive);
        return false;
    }
    add_drive(c, &drive);
    return true;
}

static bool pvdevice(struct cmdline *c, struct optlist *list, const char *option, const char *value,
                     GError **err)
{
    const char *id = optlist_take(list, "id");
    const char *text = optlist_take(list, "device-id");
    struct device_desc *device;
    uint64_t number;

    if (!optlist_end(list, err)) {
        return false;
    }
    if (text && optlist_number(text, 1, 0xffff, &number) < 0) {
        return optlist_refuse(list, "device-id", text, err, "must be a number of 16 bits");
    }
    device = g_new0(struct device_desc, 1);
    device->driver = g_strdup("xen-pvdevice");
    device->id = g_strdup(id);
    device->properties = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    if (text) {
        g_hash_table_insert(device->properties, g_strdup("device-id"), g_strdup(text));
    }
    g_ptr_array_add(c->desc->devices, device);
    return true;
}

static const struct {
    const char *driver;
    bool (*parse)(struct cmdline *c, struct optlist *list, const char *option, const char *value,
                  GError **err);
} drivers[] = {
    {"VGA", vga_device},    {"cirrus-vga", vga_device}, {"ide-cd", ide_device},
    {"ide-hd", ide_device}, {"xen-pvdevice", pvdevice},
};

bool cmdline_device(struct cmdline *c, const char *option, const char *value, GError **err)
{
    g_autofree char *driver = g_strndup(value, strcspn(value, ","));

    for (size_t i = 0; i < G_N_ELEMENTS(drivers); i++) {
        if (strcmp(drivers[i].driver, driver) == 0) {
            g_autofree char *who = g_strdup_printf("%s %s:", option, driver);
            optlist_auto struct optlist *list = optlist_parse(who, value, "driver", NULL, err);

            if (!list) {
                return false;
            }
            optlist_take(list, "driver");
            return drivers[i].parse(c, list, option, value, err);
        }
    }
    return cmdline_refuse(option, driver, "this device is not implemented yet", err);
}

/* ---- character devices and monitors ---- */

static const struct optlist_form chardev_forms[] = {
    {{"socket", "id="}, "path", {"server=on", "wait=off"}},
    {.key = NULL},
};

static bool socket_chardev(struct chardev_arg *arg, struct optlist *list, const char *option,
                           const char *value, GError **err)
{
    const char *path = optlist_take(list, "path");
    const char *host = optlist_take(list, "host");
    const char *port = optlist_take(list, "port");
    const char *fd = optlist_take(list, "fd");
    bool server = false, wait = true;
    uint64_t number;

    if (!optlist_take_bool(list, "server", &server, err) ||
        !optlist_take_bool(list, "wait", &wait, err)) {
        return false;
    }
    if ((path != NULL) + (fd != NULL) + (host || port) != 1) {
        return cmdline_refuse(option, value, "needs one of path=, fd=, or host= and port=", err);
    }
    if (fd) {
        if (optlist_number(fd, 0, INT_MAX, &number) < 0) {
            return optlist_refuse(list, "fd", fd, err, "not a file descriptor");
        }
        if (!server) {
            return optlist_refuse(list, "fd", fd, err,
                                  "only listening sockets (server=on) are implemented");
        }
        arg->fd = (int)number;
    } else if (path) {
        if (!*path) {
            return optlist_refuse(list, "path", path, err, "is empty");
        }
        if (server && !wait) {
            arg->path = g_strdup(path);
        }
        arg->spec = g_strdup_printf("unix:%s%s", path,
                                    !server ? ""
                                    : wait  ? ",server=on"
                                            : ",server=on,wait=off");
    } else {
        if (!port || !*port) {
            return cmdline_refuse(option, value, "port= is missing", err);
        }
        arg->spec = g_strdup_printf("tcp:%s:%s%s", host ? host : "", port,
                                    !server ? ""
                                    : wait  ? ",server=on"
                                            : ",server=on,wait=off");
    }
    return true;
}

static bool path_chardev(struct chardev_arg *arg, struct optlist *list, const char *kind,
                         const char *option, const char *value, GError **err)
{
    const char *path = optlist_take(list, "path");

    if (!path || !*path) {
        return cmdline_refuse(option, value, "path= is missing", err);
    }
    arg->spec = g_strdup_printf("%s:%s", kind, path);
    return true;
}

static struct chardev_arg *find_chardev(struct cmdline *c, const char *id)
{
    for (guint i = 0; i < c->chardevs->len; i++) {
        struct chardev_arg *arg = g_ptr_array_index(c->chardevs, i);

        if (strcmp(arg->id, id) == 0) {
            return arg;
        }
    }
    return NULL;
}

bool cmdline_chardev(struct cmdline *c, const char *option, const char *value, GError **err)
{
    optlist_auto struct optlist *list = optlist_parse(option, value, "backend", chardev_forms, err);
    struct chardev_arg *arg;
    const char *kind, *id;
    bool ok;

    if (!list) {
        return false;
    }
    kind = optlist_take(list, "backend");
    id = optlist_take(list, "id");
    if (!kind) {
        return cmdline_refuse(option, value, "the kind of character device must come first", err);
    }
    if (!id || !*id) {
        return cmdline_refuse(option, value, "id= is missing", err);
    }
    if (find_chardev(c, id)) {
        return optlist_refuse(list, "id", id, err, "there are two character devices with this id");
    }
    arg = g_new0(struct chardev_arg, 1);
    arg->id = g_strdup(id);
    arg->fd = -1;
    if (strcmp(kind, "socket") == 0) {
        ok = socket_chardev(arg, list, option, value, err);
    } else if (strcmp(kind, "file") == 0 || strcmp(kind, "pipe") == 0) {
        ok = path_chardev(arg, list, kind, option, value, err);
    } else if (strcmp(kind, "pty") == 0 || strcmp(kind, "null") == 0 ||
               strcmp(kind, "stdio") == 0) {
        arg->spec = g_strdup(kind);
        ok = true;
    } else {
        ok = cmdline_refuse(option, kind, "this kind of character device is not implemented yet",
                            err);
    }
    if (!ok || !optlist_end(list, err)) {
        cmdline_chardev_arg_free(arg);
        return false;
    }
    g_ptr_array_add(c->chardevs, arg);
    return true;
}

bool cmdline_mon(struct cmdline *c, const char *option, const char *value, GError **err)
{
    optlist_auto struct optlist *list = optlist_parse(option, value, "chardev", NULL, err);
    const char *id, *mode;
    bool pretty = false;

    if (!list) {
        return false;
    }
    id = optlist_take(list, "chardev");
    mode = optlist_take(list, "mode");
    if (!id) {
        return cmdline_refuse(option, value, "chardev= is missing", err);
    }
    if (!mode || strcmp(mode, "control") != 0) {
        return cmdline_refuse(option, value, "only mode=control is implemented", err);
    }
    if (!optlist_take_bool(list, "pretty", &pretty, err)) {
        return false;
    }
    if (pretty) {
        return cmdline_refuse(option, value, "pretty=on is not implemented", err);
    }
    g_ptr_array_add(c->monitors, g_strdup(id));
    return optlist_end(list, err);
}

/* ---- all read ---- */

static bool link_monitors(struct cmdline *c, GError **err)
{
    for (guint i = 0; i < c->monitors->len; i++) {
        const char *id = g_ptr_array_index(c->monitors, i);
        struct chardev_arg *arg = find_chardev(c, id);
        struct monitor_desc *monitor;

        if (!arg) {
            return cmdline_refuse("-mon chardev", id, "there is no -chardev with this id", err);
        }
        if (arg->monitor) {
            return cmdline_refuse("-mon chardev", id, "two monitors on one character device", err);
        }
        if (!arg->path && arg->fd < 0) {
            return cmdline_refuse("-mon chardev", id,
                                  "not a UNIX socket with server=on,wait=off or a listening fd",
                                  err);
        }
        arg->monitor = true;
        monitor = g_new0(struct monitor_desc, 1);
        monitor->chardev_id = g_strdup(id);
        monitor->path = g_strdup(arg->path);
        monitor->fd = arg->fd;
        g_ptr_array_add(c->desc->monitors, monitor);
    }
    for (guint i = 0; i < c->chardevs->len; i++) {
        struct chardev_arg *arg = g_ptr_array_index(c->chardevs, i);
        struct chardev_desc *chardev;

        if (arg->monitor) {
            continue;
        }
        if (!arg->spec) {
            return cmdline_refuse("-chardev socket,fd=", arg->id,
                                  "file descriptors are for monitors only", err);
        }
        chardev = g_new0(struct chardev_desc, 1);
        chardev->id = g_strdup(arg->id);
        chardev->spec = g_strdup(arg->spec);
        g_ptr_array_add(c->desc->chardevs, chardev);
    }
    return true;
}

static int by_index(const void *a, const void *b)
{
    const struct drive_desc *const *x = a, *const *y = b;

    return (int)(*x)->index - (int)(*y)->index;
}

bool cmdline_link(struct cmdline *c, GError **err)
{
    for (guint i = 0; i < c->drives->len; i++) {
        const struct drive_arg *arg = g_ptr_array_index(c->drives, i);

        if (!arg->used) {
            return cmdline_refuse("-drive id", arg->id, "no -device uses this drive", err);
        }
    }
    if (c->desc->serials->len > SERIALS_MAX) {
        return cmdline_refuse("-serial", g_ptr_array_index(c->desc->serials, SERIALS_MAX),
                              "there are only four serial ports", err);
    }
    g_ptr_array_sort(c->desc->drives, by_index);
    return link_monitors(c, err);
}
