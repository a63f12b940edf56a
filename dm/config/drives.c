/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Drives, and the places of IDE drives (toolstack.md 1.4, rows 38-41). A -drive is a back end of
 * kind block; -drive if=ide is a back end and a device.
 */
#include <errno.h>
#include <string.h>

#include <xendm/backend.h>
#include <xendm/error.h>
#include <xendm/image-name.h>
#include <xendm/numbers.h>

#include "args.h"

#define IDE_BUSES 2
#define IDE_UNITS 2
#define IDE_PLACES (IDE_BUSES * IDE_UNITS)

/* ---- -drive ---- */

/* The four ways in which libxl writes a file name (toolstack.md 1.4, rows 38 to 41). */
static const struct optlist_form drive_forms[] = {
    {{"if=none", "readonly=on", "id=ide-"}, "file", {"format="}},
    {{NULL}, "file", {"id=scsi0-hd", "format=", "if=none", "readonly=", "cache=writeback"}},
    {{NULL}, "file", {"if=none", "id=ahcidisk-", "format=", "cache=writeback"}},
    {{NULL}, "file", {"if=ide", "index=", "media=disk", "format=", "cache=writeback"}},
    {.key = NULL},
};

/* The image of a -drive: what may be in it, and where it is. */
static struct object_desc *take_image(struct optlist *list, GError **err)
{
    const char *file = optlist_take(list, "file");
    const char *format = optlist_take(list, "format"), *driver;

    if (file && !*file) {
        file = NULL;
    }
    driver = image_driver(file, format);
    if (!driver) {
        optlist_refuse(list, "file", file, err, "format= is missing (formats are not guessed)");
        return NULL;
    }
    if (!backend_class_find(BACKEND_BLOCK, driver)) {
        optlist_refuse(list, "format", format, err, "this image format is not known");
        return NULL;
    }
    return object_desc_make(OBJECT_BACKEND, BACKEND_BLOCK, driver, optlist_take(list, "id"), "file",
                            file, NULL);
}

/* The names of limits before 1.7 and now; QEMU takes both. */
static const char *const old_limits[][2] = {
    {"iops", "iops-total"},
    {"iops_rd", "iops-read"},
    {"iops_wr", "iops-write"},
    {"bps", "bps-total"},
    {"bps_rd", "bps-read"},
    {"bps_wr", "bps-write"},
    {"iops_max", "iops-total-max"},
    {"iops_rd_max", "iops-read-max"},
    {"iops_wr_max", "iops-write-max"},
    {"bps_max", "bps-total-max"},
    {"bps_rd_max", "bps-read-max"},
    {"bps_wr_max", "bps-write-max"},
    {"iops_size", "iops-size"},
};

/* "throttling.iops-total=100" as it is: what may be behind it the driver knows. */
static void take_limits(struct optlist *list, struct object_desc *o)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(old_limits); i++) {
        g_autofree char *name = g_strconcat("throttling.", old_limits[i][1], NULL);
        const char *value = optlist_take(list, old_limits[i][0]);

        if (value) {
            object_desc_set(o, name, value);
        }
    }
    for (const struct property *p = backend_class_find(BACKEND_BLOCK, o->driver)->properties;
         p->name; p++) {
        const char *value =
            g_str_has_prefix(p->name, "throttling.") ? optlist_take(list, p->name) : NULL;

        if (value) {
            object_desc_set(o, p->name, value);
        }
    }
}

/* cache=WORD stands for three properties, which QEMU takes by themselves, too. */
static bool take_cache(struct optlist *list, struct object_desc *o, GError **err)
{
    static const char *const words[] = {"writeback",  "none",   "writethrough",
                                        "directsync", "unsafe", NULL};
    static const char *const names[] = {"cache.writeback", "cache.direct", "cache.no-flush"};
    static const char *const meaning[][G_N_ELEMENTS(names)] = {
        {NULL, NULL, NULL},  {NULL, "on", NULL}, {"off", NULL, NULL},
        {"off", "on", NULL}, {NULL, NULL, "on"},
    };
    unsigned word = 0;

    if (!optlist_take_word(list, "cache", words, &word, err)) {
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        const char *given = optlist_take(list, names[i]);
        const char *value = given ? given : meaning[word][i];

        if (value) {
            object_desc_set(o, names[i], value);
        }
    }
    return true;
}

/* Where an IDE drive goes, from index= or bus= and unit=; *place -1: anywhere. */
static bool take_place(struct optlist *list, const char *option, const char *value, int *place,
                       GError **err)
{
    uint64_t index = 0, bus = 0, unit = 0;
    bool has_index, has_bus, has_unit;

    if (!optlist_take_uint(list, "index", 0, IDE_PLACES - 1, &index, &has_index, err) ||
        !optlist_take_uint(list, "bus", 0, IDE_BUSES - 1, &bus, &has_bus, err) ||
        !optlist_take_uint(list, "unit", 0, IDE_UNITS - 1, &unit, &has_unit, err)) {
        return false;
    }
    if (has_index && (has_bus || has_unit)) {
        return args_refuse(option, value, "give either index= or bus= and unit=", err);
    }
    *place = has_index ? (int)index : has_bus || has_unit ? (int)(bus * IDE_UNITS + unit) : -1;
    return true;
}

bool drives_drive(struct args *a, const char *option, const char *value, GError **err)
{
    static const char *const interfaces[] = {"none", "ide", NULL};
    static const char *const media[] = {"disk", "cdrom", NULL};
    optlist_auto struct optlist *list = optlist_parse(option, value, NULL, drive_forms, err);
    unsigned interface = 1, medium = 0;
    bool read_only = false;
    struct device_arg *device;
    struct backend_arg *arg;
    struct object_desc *o;
    int place = -1;

    if (!list || !optlist_take_word(list, "if", interfaces, &interface, err) ||
        !optlist_take_word(list, "media", media, &medium, err) ||
        !optlist_take_bool(list, "readonly", &read_only, err) ||
        !optlist_take_bool(list, "read-only", &read_only, err) ||
        !take_place(list, option, value, &place, err) || !(o = take_image(list, err))) {
        return false;
    }
    arg = args_add_backend(a, "-drive", value, o);
    if (read_only) {
        object_desc_set(o, "read-only", "on");
    }
    take_limits(list, o);
    if (!take_cache(list, o, err) || !optlist_end(list, err)) {
        return false;
    }
    if (interface == 1) {
        device =
            args_add_device(a, "-drive", value, RANK_IDE,
                            object_desc_new(OBJECT_DEVICE, 0, medium ? "ide-cd" : "ide-hd", o->id));
        device->place = place;
        device->medium = arg;
        return true;
    }
    if (!o->id || place >= 0) {
        return args_refuse(option, value,
                           !o->id ? "if=none needs an id=" : "if=none has no place on a bus", err);
    }
    if (args_find_backend(a, BACKEND_BLOCK, o->id) != arg) {
        return args_refuse(option, value, "there are two drives with this id", err);
    }
    return true;
}

/* ---- the places ---- */

/* bus=ahci0.3: of a controller that is there by -device. */
static bool on_controller(const struct args *a, const char *bus)
{
    size_t length = strlen(bus) - strlen(strrchr(bus, '.') ? strrchr(bus, '.') : bus);

    for (guint i = 0; length && i < a->devices->len; i++) {
        const struct device_arg *arg = g_ptr_array_index(a->devices, i);
        const char *id = arg->object->id;

        if (id && strlen(id) == length && memcmp(id, bus, length) == 0) {
            return true;
        }
    }
    return false;
}

/* bus=ide.B and unit=U of a -device, in the words of the class. */
static bool device_place(const struct args *a, struct device_arg *arg, GError **err)
{
    const char *bus = object_option(arg->object, "bus");
    const char *unit = object_option(arg->object, "unit");
    uint64_t bus_number = 0, unit_number = 0;

    if (arg->medium || (!bus && !unit)) {
        return true;
    }
    if (bus && on_controller(a, bus)) {
        arg->elsewhere = true;
        return true;
    }
    if (bus && number_parse(bus + (g_str_has_prefix(bus, "ide.") ? 4 : 0), 0, IDE_BUSES - 1,
                            &bus_number) < 0) {
        g_set_error(err, XENDM_ERROR, EINVAL,
                    "-device %s: bus=%s: there is no such bus (ide.0 and ide.1 are there)",
                    arg->object->driver, bus);
        return false;
    }
    if (unit && number_parse(unit, 0, IDE_UNITS - 1, &unit_number) < 0) {
        g_set_error(err, XENDM_ERROR, EINVAL, "-device %s: unit=%s: must be 0 to %d",
                    arg->object->driver, unit, IDE_UNITS - 1);
        return false;
    }
    if (unit) {
        arg->place = (int)(bus_number * IDE_UNITS + unit_number);
    } else {
        arg->bus = (int)bus_number;
    }
    return true;
}

static bool place_taken(const struct args *a, int place)
{
    for (guint i = 0; i < a->devices->len; i++) {
        const struct device_arg *arg = g_ptr_array_index(a->devices, i);

        if (arg->rank == RANK_IDE && arg->place == place) {
            return true;
        }
    }
    return false;
}

static bool find_place(const struct args *a, struct device_arg *arg, GError **err)
{
    int first = arg->bus < 0 ? 0 : arg->bus * IDE_UNITS;
    int end = arg->bus < 0 ? IDE_PLACES : first + IDE_UNITS;
    int place = first;

    while (place < end && place_taken(a, place)) {
        place++;
    }
    if (place == end) {
        return args_refuse(arg->from.option, arg->from.value,
                           arg->bus < 0 ? "all four IDE drives are there already"
                                        : "both IDE drives of this bus are there already",
                           err);
    }
    arg->place = place;
    return true;
}

/* First those who said where, then those who said the bus, then the others. */
static bool place_all(struct args *a, GError **err)
{
    bool seen[IDE_PLACES] = {false};

    for (unsigned round = 0; round < 3; round++) {
        for (guint i = 0; i < a->devices->len; i++) {
            struct device_arg *arg = g_ptr_array_index(a->devices, i);

            if (arg->rank != RANK_IDE) {
                continue;
            }
            if (round == 0 && !device_place(a, arg, err)) {
                return false;
            }
            if (round == 0 && arg->place >= 0) {
                g_autofree char *why =
                    g_strdup_printf("there are two IDE drives with index %d", arg->place);

                if (seen[arg->place]) {
                    return args_refuse(arg->from.option, arg->from.value, why, err);
                }
                seen[arg->place] = true;
            }
            if (arg->place < 0 && !arg->elsewhere &&
                (round == 2 || (round == 1 && arg->bus >= 0)) && !find_place(a, arg, err)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- what is in them ---- */

/* The drive's back end: its own, the one it names, or for a CD drive that names none an empty one.
 */
static struct backend_arg *find_medium(struct args *a, struct device_arg *arg, bool cd,
                                       GError **err)
{
    const char *source = object_option(arg->object, "drive");
    struct backend_arg *medium = arg->medium;

    if (medium) {
        medium->object->id = medium->object->id ? medium->object->id : g_strdup(arg->object->id);
    } else if (source) {
        medium = args_find_backend(a, BACKEND_BLOCK, source);
        if (!medium || medium->used) {
            g_set_error(err, XENDM_ERROR, EINVAL, "-device %s: drive=%s: %s", arg->object->driver,
                        source,
                        medium ? "another device has this drive"
                               : "there is no -drive with this id");
            return NULL;
        }
    } else if (cd) {
        medium = args_add_backend(a, arg->from.option, arg->from.value,
                                  object_desc_new(OBJECT_BACKEND, BACKEND_BLOCK, "raw",
                                                  arg->object->id));
    } else {
        args_refuse(arg->from.option, arg->from.value, "a disk needs a file", err);
    }
    return medium;
}

static bool check_medium(const struct device_arg *arg, struct object_desc *medium, bool cd,
                         GError **err)
{
    if (cd) {
        object_desc_set(medium, "read-only", "on");
    } else if (!object_option(medium, "file")) {
        return args_refuse(arg->from.option, arg->from.value, "a disk needs a file", err);
    } else if (object_option(medium, "read-only")) {
        return args_refuse(arg->from.option, arg->from.value, "an IDE disk cannot be read-only",
                           err);
    }
    return true;
}

static bool link_drive(struct args *a, struct device_arg *arg, GError **err)
{
    struct object_desc *o = arg->object;
    bool cd = strcmp(o->driver, "ide-cd") == 0;
    unsigned place = arg->elsewhere ? 0 : (unsigned)arg->place;
    unsigned bus = place / IDE_UNITS, unit = place % IDE_UNITS;
    const char *source = object_option(o, "drive");
    struct backend_arg *medium;

    if (!o->id) { /* "ide0-hd0", as QEMU names it */
        o->id = source           ? g_strdup(source)
                : arg->elsewhere ? g_strdup(object_option(o, "bus"))
                                 : g_strdup_printf("ide%u-%s%u", bus, cd ? "cd" : "hd", unit);
    }
    medium = find_medium(a, arg, cd, err);
    if (!medium || !check_medium(arg, medium->object, cd, err)) {
        return false;
    }
    medium->used = true;
    object_desc_set(o, "drive", medium->object->id);
    if (!arg->elsewhere) {
        object_desc_set(o, "bus", bus ? "ide.1" : "ide.0");
        object_desc_set(o, "unit", unit ? "1" : "0");
    }
    return true;
}

bool drives_link(struct args *a, GError **err)
{
    guint given = a->devices->len;

    if (!place_all(a, err)) {
        return false;
    }
    for (guint i = 0; i < given; i++) {
        struct device_arg *arg = g_ptr_array_index(a->devices, i);

        if (arg->rank == RANK_IDE && !link_drive(a, arg, err)) {
            return false;
        }
    }
    return true;
}
