/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -kernel, -initrd, -append: direct boot of Linux. Written as back ends of kind blob and a device
 * fw_cfg, which has them.
 */
#include <xendm/backend.h>

#include "args.h"

/* The option ROM that starts the kernel; Debian: package qemu-system-data. */
#define BOOT_ROM "linuxboot_dma.bin"

static bool set_once(char **to, const char *value)
{
    g_free(*to);
    *to = g_strdup(value);
    return true;
}

bool kernel_kernel(struct args *a, const char *option, const char *value, GError **err)
{
    return set_once(&a->kernel, value);
}

bool kernel_initrd(struct args *a, const char *option, const char *value, GError **err)
{
    return set_once(&a->initrd, value);
}

bool kernel_append(struct args *a, const char *option, const char *value, GError **err)
{
    return set_once(&a->append, value);
}

static void add_file(struct args *a, struct object_desc *device, const char *id, const char *option,
                     const char *file, bool firmware)
{
    struct object_desc *o = object_desc_make(OBJECT_BACKEND, BACKEND_BLOB, "file", id, "file", file,
                                             "firmware", firmware ? "on" : NULL, NULL);

    args_add_backend(a, option, file, o);
    object_desc_set(device, id, id); /* the device's property has the same name */
}

bool kernel_link(struct args *a, GError **err)
{
    const char *alone = a->initrd ? "-initrd" : a->append ? "-append" : NULL;
    struct object_desc *device;

    if (!a->kernel) {
        return !alone || args_refuse(alone, a->initrd ? a->initrd : a->append,
                                     "only together with -kernel", err);
    }
    device = object_desc_make(OBJECT_DEVICE, 0, "fw_cfg", NULL, "append", a->append, NULL);
    add_file(a, device, "kernel", "-kernel", a->kernel, false);
    if (a->initrd) {
        add_file(a, device, "initrd", "-initrd", a->initrd, false);
    }
    add_file(a, device, "rom", "-kernel", BOOT_ROM, true);
    args_add_device(a, "-kernel", a->kernel, RANK_OTHER, device);
    return true;
}
