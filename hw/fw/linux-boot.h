/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A kernel of Linux, put into fw_cfg for the boot ROM. */
#ifndef HW_FW_LINUX_BOOT_H
#define HW_FW_LINUX_BOOT_H

#include <stdint.h>

#include <glib.h>

struct blob;
struct device;

struct linux_boot {
    struct blob *kernel, *initrd, *rom; /* initrd, rom: or NULL */
    const char *append;
    uint64_t ram_end; /* of the guest's memory below 4 GiB */
};

/* -EINVAL with `err`, which names the file and what is wrong with it. */
int linux_boot_add(struct device *fw_cfg, const struct linux_boot *boot, GError **err);

#endif
