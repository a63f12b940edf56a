/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine description's life and its JSON form; see xendm/machine-desc.h. dm/config/options.c
 * fills it.
 */
#include <string.h>

#include <xendm/json.h>

#include <xendm/instance.h>
#include <xendm/machine-desc.h>

#include "args.h"

static const char *const sandbox_names[] = {
    [SANDBOX_DEFAULT] = "default",
    [SANDBOX_ON] = "on",
    [SANDBOX_OFF] = "off",
};

static void monitor_free(void *p)
{
    struct monitor_desc *monitor = p;

    g_free(monitor->chardev_id);
    g_free(monitor->path);
    g_free(monitor);
}

static void object_free(void *p)
{
    object_desc_free(p);
}

struct machine_desc *machine_desc_new(void)
{
    struct machine_desc *desc = g_new0(struct machine_desc, 1);

    desc->vcpus = desc->vcpus_online = 1;
    desc->acpi = true;
    desc->incoming_fd = desc->replay_fd = -1;
    desc->objects = g_ptr_array_new_with_free_func(object_free);
    desc->monitors = g_ptr_array_new_with_free_func(monitor_free);
    return desc;
}

void machine_desc_free(struct machine_desc *desc)
{
    if (!desc) {
        return;
    }
    g_ptr_array_free(desc->objects, TRUE);
    g_ptr_array_free(desc->monitors, TRUE);
    g_free(desc->name);
    g_free(desc->boot_order);
    g_free(desc->vnc);
    g_free(desc->keymap);
    g_free(desc->chroot_dir);
    g_free(desc->run_as);
    g_free(desc->pid_file);
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

static void add_options(JsonBuilder *b, const struct object_desc *o)
{
    json_builder_set_member_name(b, "options");
    json_builder_begin_object(b);
    for (guint i = 0; i < o->options->len; i++) {
        const struct option_desc *option = &g_array_index(o->options, struct option_desc, i);

        add_string(b, option->name, option->value);
    }
    json_builder_end_object(b);
}

static void add_objects(JsonBuilder *b, const struct machine_desc *desc, enum object_what what)
{
    json_builder_set_member_name(b, what == OBJECT_DEVICE ? "devices" : "backends");
    json_builder_begin_array(b);
    for (guint i = 0; i < desc->objects->len; i++) {
        const struct object_desc *o = g_ptr_array_index(desc->objects, i);

        if (o->what != what) {
            continue;
        }
        json_builder_begin_object(b);
        if (what == OBJECT_BACKEND) {
            add_string(b, "kind", backend_kind_name(o->kind));
        }
        add_string(b, "driver", o->driver);
        add_string(b, "id", o->id);
        add_options(b, o);
        json_builder_end_object(b);
    }
    json_builder_end_array(b);
}

static void add_monitors(JsonBuilder *b, const struct machine_desc *desc)
{
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

char *machine_desc_to_json(const struct machine_desc *desc)
{
    g_autoptr(JsonBuilder) b = json_builder_new();
    g_autoptr(JsonNode) root = NULL;

    json_builder_begin_object(b);
    add_string(b, "machine", instance_kind(desc->type)->name);
    add_int(b, "domid", desc->domid);
    add_string(b, "name", desc->name);
    add_int(b, "ram-bytes", desc->ram_bytes);
    add_int(b, "max-ram-below-4g", desc->max_ram_below_4g);
    add_int(b, "vcpus", desc->vcpus);
    add_int(b, "vcpus-online", desc->vcpus_online);
    add_bool(b, "acpi", desc->acpi);
    add_string(b, "boot-order", desc->boot_order);
    add_string(b, "vnc", desc->vnc);
    add_string(b, "keymap", desc->keymap);
    add_objects(b, desc, OBJECT_BACKEND);
    add_objects(b, desc, OBJECT_DEVICE);
    add_monitors(b, desc);
    add_bool(b, "start-stopped", desc->start_stopped);
    json_builder_set_member_name(b, "incoming-fd");
    json_builder_add_int_value(b, desc->incoming_fd);
    json_builder_set_member_name(b, "replay-fd");
    json_builder_add_int_value(b, desc->replay_fd);
    add_bool(b, "restrict-domid", desc->restrict_domid);
    add_string(b, "chroot", desc->chroot_dir);
    add_string(b, "run-as", desc->run_as);
    add_bool(b, "daemonize", desc->daemonize);
    add_string(b, "pid-file", desc->pid_file);
    add_string(b, "sandbox", sandbox_names[desc->sandbox]);
    add_string(b, "log-levels", desc->log_levels);
    json_builder_end_object(b);
    root = json_builder_get_root(b);
    return json_to_string(root, TRUE);
}
