/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices, serial ports and monitors (toolstack.md 1.4, rows 3-6, 16). -serial's short
 * forms are taken apart here and nowhere else.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <xendm/backend.h>
#include <xendm/error.h>
#include <xendm/instance.h>
#include <xendm/numbers.h>

#include "args.h"

#define SERIALS_MAX 4

static struct object_desc *new_chardev(const char *driver, const char *id)
{
    return object_desc_new(OBJECT_BACKEND, BACKEND_CHAR, driver, id);
}

/* ---- -chardev ---- */

static const struct optlist_form chardev_forms[] = {
    {{"socket", "id="}, "path", {"server=on", "wait=off"}},
    {.key = NULL},
};

static void set_option(void *opaque, const char *key, const char *value)
{
    object_desc_set(opaque, key, value);
}

/* A socket that the toolstack opened and listens on: for monitors. */
static bool take_fd(struct optlist *list, int *fd, GError **err)
{
    const char *text = optlist_take(list, "fd");
    bool server = false, wait = true;
    uint64_t number;

    if (!text) {
        return true;
    }
    if (number_parse(text, 0, INT_MAX, &number) < 0) {
        return optlist_refuse(list, "fd", text, err, "not a file descriptor");
    }
    if (!optlist_take_bool(list, "server", &server, err) ||
        !optlist_take_bool(list, "wait", &wait, err)) {
        return false;
    }
    if (!server) {
        return optlist_refuse(list, "fd", text, err,
                              "only listening sockets (server=on) are implemented");
    }
    *fd = (int)number;
    return optlist_end(list, err);
}

bool chardevs_chardev(struct args *a, const char *option, const char *value, GError **err)
{
    optlist_auto struct optlist *list = optlist_parse(option, value, "backend", chardev_forms, err);
    const char *driver, *id;
    struct backend_arg *arg;
    int fd = -1;

    if (!list) {
        return false;
    }
    driver = optlist_take(list, "backend");
    id = optlist_take(list, "id");
    if (!driver) {
        return args_refuse(option, value, "the kind of character device must come first", err);
    }
    if (!id || !*id) {
        return args_refuse(option, value, "id= is missing", err);
    }
    if (args_find_backend(a, BACKEND_CHAR, id)) {
        return optlist_refuse(list, "id", id, err, "there are two character devices with this id");
    }
    if (!backend_class_find(BACKEND_CHAR, driver)) {
        return args_refuse(option, driver, "this kind of character device is not implemented yet",
                           err);
    }
    if (strcmp(driver, "socket") == 0 && !take_fd(list, &fd, err)) {
        return false;
    }
    arg = args_add_backend(a, "-chardev", value, new_chardev(driver, id));
    arg->monitor_fd = fd;
    optlist_take_rest(list, set_option, arg->object);
    return fd >= 0 || backend_check(arg->object, err) == 0 ? true
                                                           : args_refuse_because(&arg->from, err);
}

/* ---- -serial ---- */

/* Words behind a socket's address. */
static const struct {
    const char *word, *name, *value;
} socket_words[] = {
    {"server", "server", "on"},      {"server=on", "server", "on"},
    {"server=off", "server", "off"}, {"wait", "wait", "on"},
    {"wait=on", "wait", "on"},       {"nowait", "wait", "off"},
    {"wait=off", "wait", "off"},     {"nodelay", "nodelay", "on"},
    {"nodelay=on", "nodelay", "on"}, {"nodelay=off", "nodelay", "off"},
    {"delay=off", "nodelay", "on"},
};

/*
 * Cuts known words off the end of `text`: libxl does not escape, so that what is no known word
 * belongs to the path.
 */
static void take_words(struct object_desc *o, char *text)
{
    char *comma;

    while ((comma = strrchr(text, ','))) {
        size_t i = 0;

        while (i < G_N_ELEMENTS(socket_words) && strcmp(socket_words[i].word, comma + 1) != 0) {
            i++;
        }
        if (i == G_N_ELEMENTS(socket_words)) {
            return;
        }
        if (!object_option(o, socket_words[i].name)) { /* the last one counts */
            object_desc_set(o, socket_words[i].name, socket_words[i].value);
        }
        *comma = '\0';
    }
}

static struct object_desc *unix_chardev(const char *id, const char *rest)
{
    struct object_desc *o = new_chardev("socket", id);
    g_autofree char *path = g_strdup(rest);

    take_words(o, path);
    object_desc_set(o, "path", path);
    return o;
}

/* "host:port", "[::1]:port"; NULL with why. */
static struct object_desc *tcp_chardev(const char *id, const char *rest, const char **why)
{
    struct object_desc *o = new_chardev("socket", id);
    g_autofree char *text = g_strdup(rest);
    char *host = text, *colon;

    take_words(o, text);
    colon = strrchr(text, ':');
    *why = strchr(text, ',')     ? "unknown option behind the port"
           : !colon || !colon[1] ? "the port is missing"
                                 : NULL;
    if (*why) {
        object_desc_free(o);
        return NULL;
    }
    *colon = '\0';
    if (host[0] == '[' && colon > host + 1 && colon[-1] == ']') {
        colon[-1] = '\0';
        host++;
    }
    object_desc_set(o, "host", host);
    object_desc_set(o, "port", colon + 1);
    return o;
}

static struct object_desc *path_chardev(const char *driver, const char *id, const char *path)
{
    struct object_desc *o = new_chardev(driver, id);

    object_desc_set(o, "path", path);
    return o;
}

/* NULL with why: not understood. */
static struct object_desc *short_form(const char *text, const char *id, const char **why)
{
    static const char *const words[] = {"null", "pty", "stdio", NULL};

    if (g_strv_contains(words, text)) {
        return new_chardev(text, id);
    }
    if (g_str_has_prefix(text, "/dev/")) {
        return path_chardev("serial", id, text);
    }
    if (g_str_has_prefix(text, "file:")) {
        return path_chardev("file", id, text + strlen("file:"));
    }
    if (g_str_has_prefix(text, "pipe:")) {
        return path_chardev("pipe", id, text + strlen("pipe:"));
    }
    if (g_str_has_prefix(text, "unix:")) {
        return unix_chardev(id, text + strlen("unix:"));
    }
    if (g_str_has_prefix(text, "tcp:")) {
        return tcp_chardev(id, text + strlen("tcp:"), why);
    }
    *why = "this kind of character back end is not implemented";
    return NULL;
}

bool chardevs_serial(struct args *a, const char *option, const char *value, GError **err)
{
    unsigned index = a->serials++;
    g_autofree char *id = g_strdup_printf("serial%u", index);
    g_autofree char *number = g_strdup_printf("%u", index);
    const char *chardev = id, *why = NULL;
    struct object_desc *o;
    struct device_arg *arg;

    if (!*value) {
        return args_refuse(option, "''", "needs a character device", err);
    }
    if (index >= SERIALS_MAX) {
        return args_refuse(option, value, "there are only four serial ports", err);
    }
    if (strcmp(value, "none") == 0) {
        return true; /* no port in this place */
    }
    if (g_str_has_prefix(value, "chardev:")) {
        chardev = value + strlen("chardev:");
    } else {
        o = short_form(value, id, &why);
        if (!o) {
            return args_refuse(option, value, why, err);
        }
        args_add_backend(a, "-serial", value, o);
        if (backend_check(o, err) < 0) {
            g_prefix_error(err, "%s %s: ", option, value);
            return false;
        }
    }
    o = object_desc_make(OBJECT_DEVICE, 0, "isa-serial", id, "chardev", chardev, "index", number,
                         NULL);
    arg = args_add_device(a, "-serial", value, RANK_SERIAL, o);
    arg->place = (int)index;
    return true;
}

/* ---- -mon ---- */

bool chardevs_mon(struct args *a, const char *option, const char *value, GError **err)
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
        return args_refuse(option, value, "chardev= is missing", err);
    }
    if (!mode || strcmp(mode, "control") != 0) {
        return args_refuse(option, value, "only mode=control is implemented", err);
    }
    if (!optlist_take_bool(list, "pretty", &pretty, err)) {
        return false;
    }
    if (pretty) {
        return args_refuse(option, value, "pretty=on is not implemented", err);
    }
    g_ptr_array_add(a->monitors, g_strdup(id));
    return optlist_end(list, err);
}

static bool is_on(const struct object_desc *o, const char *name, bool def)
{
    const char *text = object_option(o, name);
    bool value = def;

    return (!text || bool_parse(text, &value) == 0) && value;
}

/* A UNIX socket on which clients come and go while we run. */
static bool can_be_monitor(const struct backend_arg *arg)
{
    const struct object_desc *o = arg->object;

    return arg->monitor_fd >= 0 || (strcmp(o->driver, "socket") == 0 && object_option(o, "path") &&
                                    is_on(o, "server", false) && !is_on(o, "wait", true));
}

static bool link_monitor(struct args *a, const char *id, GError **err)
{
    struct backend_arg *arg = args_find_backend(a, BACKEND_CHAR, id);
    struct monitor_desc *monitor;

    if (!arg) {
        return args_refuse("-mon chardev", id, "there is no -chardev with this id", err);
    }
    if (arg->used) {
        return args_refuse("-mon chardev", id, "two monitors on one character device", err);
    }
    if (!can_be_monitor(arg)) {
        return args_refuse("-mon chardev", id,
                           "not a UNIX socket with server=on,wait=off or a listening fd", err);
    }
    arg->used = true;
    monitor = g_new0(struct monitor_desc, 1);
    monitor->chardev_id = g_strdup(id);
    monitor->path = g_strdup(object_option(arg->object, "path"));
    monitor->fd = arg->monitor_fd;
    g_ptr_array_add(a->desc->monitors, monitor);
    return true;
}

/*
 * -serial /dev/null of those that start an instance without a machine: no port, so nothing to have
 * at its end.
 */
static void drop_serials_to_nowhere(struct args *a)
{
    static const char *const nowhere[] = {"null", "/dev/null", NULL};

    for (guint i = a->devices->len; i-- > 0;) {
        struct device_arg *arg = g_ptr_array_index(a->devices, i);
        struct backend_arg *end =
            args_find_backend(a, BACKEND_CHAR, object_option(arg->object, "chardev"));

        if (end && strcmp(end->from.option, "-serial") == 0 &&
            g_strv_contains(nowhere, end->from.value)) {
            g_ptr_array_remove(a->backends, end);
            g_ptr_array_remove_index(a->devices, i);
        }
    }
}

bool chardevs_link(struct args *a, GError **err)
{
    if (!instance_has(a->desc->type, INSTANCE_MACHINE)) {
        drop_serials_to_nowhere(a);
    }
    for (guint i = 0; i < a->monitors->len; i++) {
        if (!link_monitor(a, g_ptr_array_index(a->monitors, i), err)) {
            return false;
        }
    }
    for (guint i = 0; i < a->backends->len; i++) {
        struct backend_arg *arg = g_ptr_array_index(a->backends, i);

        if (arg->used) { /* QMP's, which makes its sockets itself */
            g_clear_pointer(&arg->object, object_desc_free);
        } else if (arg->monitor_fd >= 0) {
            return args_refuse("-chardev socket,fd=", arg->object->id,
                               "file descriptors are for monitors only", err);
        }
    }
    return true;
}
