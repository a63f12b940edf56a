/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line while it is read; see args.h. */
#include <errno.h>
#include <string.h>

#include <xendm/backend.h>
#include <xendm/error.h>

#include "args.h"

bool args_refuse(const char *option, const char *value, const char *why, GError **err)
{
    g_set_error(err, XENDM_ERROR, EINVAL, "%s %s: %s", option, value, why);
    return false;
}

bool args_refuse_because(const struct arg_source *from, GError **err)
{
    g_prefix_error(err, "%s %s: ", from->option, from->value);
    return false;
}

static void backend_arg_free(void *p)
{
    struct backend_arg *arg = p;

    object_desc_free(arg->object);
    g_free(arg->from.value);
    g_free(arg);
}

static void device_arg_free(void *p)
{
    struct device_arg *arg = p;

    object_desc_free(arg->object);
    g_free(arg->from.value);
    g_free(arg);
}

void args_init(struct args *a)
{
    *a = (struct args){
        .desc = machine_desc_new(),
        .backends = g_ptr_array_new_with_free_func(backend_arg_free),
        .devices = g_ptr_array_new_with_free_func(device_arg_free),
        .monitors = g_ptr_array_new_with_free_func(g_free),
    };
}

void args_clear(struct args *a)
{
    g_ptr_array_free(a->backends, TRUE);
    g_ptr_array_free(a->devices, TRUE);
    g_ptr_array_free(a->monitors, TRUE);
    g_free(a->kernel);
    g_free(a->initrd);
    g_free(a->append);
}

struct backend_arg *args_add_backend(struct args *a, const char *option, const char *value,
                                     struct object_desc *object)
{
    struct backend_arg *arg = g_new0(struct backend_arg, 1);

    arg->from.option = option;
    arg->from.value = g_strdup(value);
    arg->object = object;
    arg->monitor_fd = -1;
    g_ptr_array_add(a->backends, arg);
    return arg;
}

struct device_arg *args_add_device(struct args *a, const char *option, const char *value,
                                   enum device_rank rank, struct object_desc *object)
{
    struct device_arg *arg = g_new0(struct device_arg, 1);

    arg->from.option = option;
    arg->from.value = g_strdup(value);
    arg->object = object;
    arg->rank = rank;
    arg->place = arg->bus = -1;
    g_ptr_array_add(a->devices, arg);
    return arg;
}

struct backend_arg *args_find_backend(struct args *a, enum backend_kind kind, const char *id)
{
    for (guint i = 0; i < a->backends->len; i++) {
        struct backend_arg *arg = g_ptr_array_index(a->backends, i);

        if (arg->object && arg->object->kind == kind && g_strcmp0(arg->object->id, id) == 0) {
            return arg;
        }
    }
    return NULL;
}

static bool link_backends(struct args *a, GError **err)
{
    for (guint i = 0; i < a->backends->len; i++) {
        struct backend_arg *arg = g_ptr_array_index(a->backends, i);

        if (!arg->object) {
            continue;
        }
        if (backend_check(arg->object, err) < 0) {
            return args_refuse_because(&arg->from, err);
        }
        if (args_find_backend(a, arg->object->kind, arg->object->id) != arg) {
            return args_refuse(arg->from.option, arg->from.value, "this id is taken", err);
        }
    }
    for (guint i = 0; i < a->backends->len; i++) {
        struct backend_arg *arg = g_ptr_array_index(a->backends, i);

        if (arg->object) {
            g_ptr_array_add(a->desc->objects, g_steal_pointer(&arg->object));
        }
    }
    return true;
}

static int by_rank(const void *x, const void *y)
{
    const struct device_arg *a = *(struct device_arg *const *)x;
    const struct device_arg *b = *(struct device_arg *const *)y;

    if (a->rank != b->rank) {
        return (int)a->rank - (int)b->rank;
    }
    return a->place - b->place; /* g_ptr_array_sort() is stable: others keep their order */
}

static void move_devices(struct args *a)
{
    g_ptr_array_sort(a->devices, by_rank);
    for (guint i = 0; i < a->devices->len; i++) {
        struct device_arg *arg = g_ptr_array_index(a->devices, i);

        g_ptr_array_add(a->desc->objects, g_steal_pointer(&arg->object));
    }
}

bool args_link(struct args *a, GError **err)
{
    if (!chardevs_link(a, err) || !devices_add_hub(a, err) || !devices_check(a, err) ||
        !drives_link(a, err) || !kernel_link(a, err) || !devices_link(a, err) ||
        !link_backends(a, err)) {
        return false;
    }
    move_devices(a);
    return true;
}
