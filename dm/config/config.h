/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line. What it makes of itself is xendm/machine-desc.h; here is what QMP asks about
 * it.
 */
#ifndef DM_CONFIG_H
#define DM_CONFIG_H

/*
 * For query-command-line-options: options that take key=value lists, with their keys. Ends with
 * name NULL.
 */
struct cmdline_option_info {
    const char *name;        /* without dash */
    const char *const *keys; /* NULL-terminated */
};
extern const struct cmdline_option_info cmdline_option_infos[];

#endif
