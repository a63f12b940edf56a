/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine description's life and its JSON form; see xendm/machine-desc.h. dm/config/options.c
 * fills it.
 */
#include <string.h>

#include <json-glib/json-glib.h>

#include <xendm/machine-desc.h>

#include "config.h"

static const char *const machine_type_names[] = {
    [MACHINE_XENFV] = "xenfv",
    [MACHINE_PC] = "pc",
    [MACHINE_XENPV] = "xenpv",
    [MACHINE_NONE] = "none",
};

static const char *const sandbox_names[] = {
    [SANDBOX_DEFAULT] = "default",
    [SANDBOX_ON] = "on",
    [SANDBOX_OFF] = "off",
};

static const char *const vga_type_names[] = {
    [VGA_NONE] = "none",
    [VGA_STD] = "std",
    [VGA_CIRRUS] = "cirrus",
};

static const char *const drive_kind_names[] = {
    [DRIVE_IDE_DISK] = "ide-hd",
    [DRIVE_IDE_CD] = "ide-cd",
};

const char *machine_type_name(enum machine_type type)
{
    return machine_type_names[type];
}

const char *vga_type_name(enum vga_type type)
{
    return vga_type_names[type];
}

static void drive_free(void *p)
{
    struct drive_desc *drive = p;

    g_free(drive->id);
    g_free(drive->file);
    g_free(drive->format);
    g_free(drive);
}

static void chardev_free(void *p)
{
    struct chardev_desc *chardev = p;

    g_free(chardev->id);
    g_free(chardev->spec);
    g_free(chardev);
}

static void monitor_free(void *p)
{
    struct monitor_desc *monitor = p;

    g_free(monitor->chardev_id);
    g_free(monitor->path);
    g_free(monitor);
}

static void device_free_desc(void *p)
{
    struct device_desc *device = p;

    g_free(device->driver);
    g_free(device->id);
    g_hash_table_unref(device->properties);
    g_free(device);
}

struct machine_desc *machine_desc_new(void)
{
    struct machine_desc *desc = g_new0(struct machine_desc, 1);

    desc->vcpus = desc->vcpus_online = 1;
    desc->acpi = true;
    desc->incoming_fd = -1;
    desc->drives = g_ptr_array_new_with_free_func(drive_free);
    desc->chardevs = g_ptr_array_new_with_free_func(chardev_free);
    desc->serials = g_ptr_array_new_with_free_func(g_free);
    desc->monitors = g_ptr_array_new_with_free_func(monitor_free);
    desc->devices = g_ptr_array_new_with_free_func(device_free_desc);
    return desc;
}

void machine_desc_free(struct machine_desc *desc)
{
    if (!desc) {
        return;
    }
    g_ptr_array_free(desc->drives, TRUE);
    g_ptr_array_free(desc->chardevs, TRUE);
    g_ptr_array_free(desc->serials, TRUE);
    g_ptr_array_free(desc->monitors, TRUE);
    g_ptr_array_free(desc->devices, TRUE);
    g_free(desc->name);
    g_free(desc->boot_order);
    g_free(desc->vnc);
    g_free(desc->keymap);
    g_free(desc->chroot_dir);
    g_free(desc->run_as);
    g_free(desc->log_levels);
    g_free(desc);
}

/* JSON is UTF-8; a file name need not be. What is not shows as U+FFFD here, and only here. */
static void add_string(JsonBuilder *b, const char *name, const char *value)
{
    json_builder_set_member_name(b, name);
    if (value) {
        g_autofree char *utf8 = g_utf8_make_valid(value, -1);
        json_builder_add_string_value(b, utf8);
    } else {
        json_builder_add_null_value(b);
    }
}

static void add_int(JsonBuilder *b, const char *name, uint64_t value)
{
    json_builder_set_member_name(b, name);
    json_builder_add_int_value(b, (gint64)value);
}

static void add_bool(JsonBuilder *b, const char *name, bool value)
{
    json_builder_set_member_name(b, name);
    json_builder_add_boolean_value(b, value);
}

static void add_drives(JsonBuilder *b, const struct machine_desc *desc)
{
    json_builder_set_member_name(b, "drives");
    json_builder_begin_array(b);
    for (guint i = 0; i < desc->drives->len; i++) {
        const struct drive_desc *drive = g_ptr_array_index(desc->drives, i);

        json_builder_begin_object(b);
        add_string(b, "kind", drive_kind_names[drive->kind]);
        add_string(b, "id", drive->id);
        add_int(b, "index", drive->index);
        add_string(b, "file", drive->file);
        add_string(b, "format", drive->format);
        add_bool(b, "read-only", drive->read_only);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
}

static void add_chardevs(JsonBuilder *b, const struct machine_desc *desc)
{
    json_builder_set_member_name(b, "serials");
    json_builder_begin_array(b);
    for (guint i = 0; i < desc->serials->len; i++) {
        g_autofree char *utf8 = g_utf8_make_valid(g_ptr_array_index(desc->serials, i), -1);
        json_builder_add_string_value(b, utf8);
    }
    json_builder_end_array(b);
    json_builder_set_member_name(b, "chardevs");
    json_builder_begin_array(b);
    for (guint i = 0; i < desc->chardevs->len; i++) {
        const struct chardev_desc *chardev = g_ptr_array_index(desc->chardevs, i);

        json_builder_begin_object(b);
        add_string(b, "id", chardev->id);
        add_string(b, "spec", chardev->spec);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
    json_builder_set_member_name(b, "monitors");
    json_builder_begin_array(b);
    for (guint i = 0; i < desc->monitors->len; i++) {
        const struct monitor_desc *monitor = g_ptr_array_index(desc->monitors, i);

        json_builder_begin_object(b);
        add_string(b, "chardev", monitor->chardev_id);
        add_string(b, "path", monitor->path);
        json_builder_set_member_name(b, "fd");
        json_builder_add_int_value(b, monitor->fd);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
}

static void add_devices(JsonBuilder *b, const struct machine_desc *desc)
{
    json_builder_set_member_name(b, "devices");
    json_builder_begin_array(b);
    for (guint i = 0; i < desc->devices->len; i++) {
        const struct device_desc *device = g_ptr_array_index(desc->devices, i);
        GList *keys = g_list_sort(g_hash_table_get_keys(device->properties), (GCompareFunc)strcmp);

        json_builder_begin_object(b);
        add_string(b, "driver", device->driver);
        add_string(b, "id", device->id);
        json_builder_set_member_name(b, "properties");
        json_builder_begin_object(b);
        for (GList *key = keys; key; key = key->next) {
            add_string(b, key->data, g_hash_table_lookup(device->properties, key->data));
        }
        json_builder_end_object(b);
        json_builder_end_object(b);
        g_list_free(keys);
    }
    json_builder_end_array(b);
}

char *machine_desc_to_json(const struct machine_desc *desc)
{
    g_autoptr(JsonBuilder) b = json_builder_new();
    g_autoptr(JsonNode) root = NULL;

    json_builder_begin_object(b);
    add_string(b, "machine", machine_type_name(desc->type));
    add_int(b, "domid", desc->domid);
    add_string(b, "name", desc->name);
    add_bool(b, "attach", desc->attach);
    add_int(b, "ram-bytes", desc->ram_bytes);
    add_int(b, "max-ram-below-4g", desc->max_ram_below_4g);
    add_int(b, "vcpus", desc->vcpus);
    add_int(b, "vcpus-online", desc->vcpus_online);
    add_bool(b, "acpi", desc->acpi);
    add_string(b, "boot-order", desc->boot_order);
    add_string(b, "vga", vga_type_name(desc->vga));
    add_int(b, "vga-memory-mib", desc->vga_memory_mib);
    add_string(b, "vnc", desc->vnc);
    add_string(b, "keymap", desc->keymap);
    add_drives(b, desc);
    add_chardevs(b, desc);
    add_devices(b, desc);
    add_bool(b, "start-stopped", desc->start_stopped);
    add_bool(b, "no-shutdown", desc->no_shutdown);
    json_builder_set_member_name(b, "incoming-fd");
    json_builder_add_int_value(b, desc->incoming_fd);
    add_bool(b, "restrict-domid", desc->restrict_domid);
    add_string(b, "chroot", desc->chroot_dir);
    add_string(b, "run-as", desc->run_as);
    add_string(b, "sandbox", sandbox_names[desc->sandbox]);
    add_string(b, "log-levels", desc->log_levels);
    json_builder_end_object(b);
    root = json_builder_get_root(b);
    return json_to_string(root, TRUE);
}
