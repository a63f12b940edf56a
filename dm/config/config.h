/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line. What it makes of itself is xendm/machine-desc.h; here is what QMP asks about
 * it.
 */
#ifndef DM_CONFIG_H
#define DM_CONFIG_H

#include <xendm/object.h>

/*
 * For query-command-line-options: options that take key=value lists, with their keys. Ends with
 * name NULL.
 */
struct cmdline_option_info {
    const char *name;        /* without dash */
    const char *const *keys; /* NULL-terminated */
};
extern const struct cmdline_option_info cmdline_option_infos[];

/*
 * "DRIVER,id=ID,NAME=VALUE…", as behind -device or -netdev, for HMP's device_add and netdev_add:
 * `option` is the word in messages, `driver_key` what QEMU calls the driver. Nothing is checked but
 * the form.
 */
struct object_desc *config_parse_object(enum object_what what, enum backend_kind kind,
                                        const char *option, const char *driver_key,
                                        const char *text, GError **err);

#endif
