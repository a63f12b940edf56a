/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options about the process and not about its machine: whom it serves, where its state comes from,
 * what it may, what it logs (toolstack.md 1.4, 1.9).
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <xendm/log.h>
#include <xendm/numbers.h>

#include "args.h"

#define DOMID_MAX 0x7fefu /* below Xen's DOMID_FIRST_RESERVED */

bool process_domid(struct args *a, const char *option, const char *value, GError **err)
{
    uint64_t domid;

    if (number_parse(value, 0, DOMID_MAX, &domid) < 0) {
        return args_refuse(option, value, "not a domain id (0 to 32751)", err);
    }
    a->desc->domid = (unsigned)domid;
    a->have_domid = true;
    return true;
}

bool process_name(struct args *a, const char *option, const char *value, GError **err)
{
    a->desc->name = g_strdup(value);
    return true;
}

bool process_stopped(struct args *a, const char *option, const char *value, GError **err)
{
    a->desc->start_stopped = true;
    return true;
}

bool process_incoming(struct args *a, const char *option, const char *value, GError **err)
{
    uint64_t fd;

    if (!g_str_has_prefix(value, "fd:") || number_parse(value + 3, 0, INT_MAX, &fd) < 0) {
        return args_refuse(option, value, "only fd:<number> is implemented", err);
    }
    a->desc->incoming_fd = (int)fd;
    return true;
}

bool process_replay(struct args *a, const char *option, const char *value, GError **err)
{
    g_auto(GStrv) parts = g_strsplit(value, ",", 2);
    uint64_t fd;

    if (!g_str_has_prefix(value, "fd:") || number_parse(parts[0] + 3, 0, INT_MAX, &fd) < 0 ||
        (parts[1] && strcmp(parts[1], "trap") != 0)) {
        return args_refuse(option, value, "only fd:<number>[,trap] is implemented", err);
    }
    a->desc->replay_fd = (int)fd;
    a->desc->replay_trap = parts[1] != NULL;
    return true;
}

bool process_restrict(struct args *a, const char *option, const char *value, GError **err)
{
    a->desc->restrict_domid = true;
    return true;
}

bool process_chroot(struct args *a, const char *option, const char *value, GError **err)
{
    if (value[0] != '/') {
        return args_refuse(option, value, "not an absolute path", err);
    }
    if (a->desc->chroot_dir) {
        return args_refuse(option, value, "the root directory is given twice", err);
    }
    a->desc->chroot_dir = g_strdup(value);
    return true;
}

bool process_user(struct args *a, const char *option, const char *value, GError **err)
{
    const char *colon = strchr(value, ':');
    g_autofree char *uid = colon ? g_strndup(value, colon - value) : NULL;
    uint64_t number;

    if (!*value || (colon && (number_parse(uid, 0, UINT32_MAX - 1, &number) < 0 ||
                              number_parse(colon + 1, 0, UINT32_MAX - 1, &number) < 0))) {
        return args_refuse(option, value, "neither a user's name nor uid:gid", err);
    }
    if (a->desc->run_as) {
        return args_refuse(option, value, "the user is given twice", err);
    }
    a->desc->run_as = g_strdup(value);
    return true;
}

bool process_run_with(struct args *a, const char *option, const char *value, GError **err)
{
    optlist_auto struct optlist *list = optlist_parse(option, value, NULL, NULL, err);
    const char *dir, *user;

    if (!list) {
        return false;
    }
    dir = optlist_take(list, "chroot");
    user = optlist_take(list, "user");
    if (!optlist_end(list, err)) {
        return false;
    }
    return (!dir || process_chroot(a, "-run-with chroot", dir, err)) &&
           (!user || process_user(a, "-run-with user", user, err));
}

bool process_sandbox(struct args *a, const char *option, const char *value, GError **err)
{
    if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0) {
        return args_refuse(option, value, "neither 'on' nor 'off'", err);
    }
    a->desc->sandbox = value[1] == 'n' ? SANDBOX_ON : SANDBOX_OFF;
    return true;
}

bool process_daemonize(struct args *a, const char *option, const char *value, GError **err)
{
    a->desc->daemonize = true;
    return true;
}

bool process_pid_file(struct args *a, const char *option, const char *value, GError **err)
{
    if (!*value) {
        return args_refuse(option, "''", "not a file name", err);
    }
    a->desc->pid_file = g_strdup(value);
    return true;
}

bool process_log(struct args *a, const char *option, const char *value, GError **err)
{
    g_auto(GStrv) settings = g_strsplit(value, ",", -1);

    for (char **setting = settings; *setting; setting++) {
        char *equals = strchr(*setting, '=');
        bool room = false, level = false;

        if (equals) {
            *equals = '\0';
            room = strcmp(*setting, "all") == 0;
            for (unsigned i = 0; i < LOG_SUBSYSTEM_COUNT; i++) {
                room = room || strcmp(*setting, log_subsystem_name(i)) == 0;
            }
            for (unsigned i = XLOG_ERROR; i <= XLOG_DEBUG; i++) {
                level = level || strcmp(equals + 1, log_level_name(i)) == 0;
            }
        }
        if (!room || !level) {
            return args_refuse(option, value,
                               "not of the form SUBSYSTEM=LEVEL[,SUBSYSTEM=LEVEL...]", err);
        }
    }
    a->desc->log_levels = g_strdup(value);
    return true;
}

bool process_dump(struct args *a, const char *option, const char *value, GError **err)
{
    a->desc->dump_machine = true;
    return true;
}
