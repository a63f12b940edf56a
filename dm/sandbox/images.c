/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images of PV disks, directories that a guest mounts, USB devices in ports: the toolstack names
 * them in xenstore, before a guest starts and while it runs (`xl block-attach`), and on no command
 * line. So the broker looks there itself.
 */
#include <string.h>

#include <xendm/image-name.h>
#include <xendm/usb-host.h>
#include <xendm/xenstore.h>

#include "broker.h"

static char *read_key(struct xenstore_look *look, const char *dir, const char *key)
{
    g_autofree char *path = g_strdup_printf("%s/%s", dir, key);

    return xenstore_look_read(look, path);
}

/* "aio:/path", "/path". */
static bool is_of(struct xenstore_look *look, const char *dir, const char *driver, const char *path,
                  bool write)
{
    g_autofree char *params = read_key(look, dir, "params");
    g_autofree char *mode = read_key(look, dir, "mode");
    g_autofree char *type = read_key(look, dir, "device-type");
    const char *file, *by = image_of_params(params, &file);

    if (!params || !file[0] || strcmp(file, path) != 0 || (driver && g_strcmp0(by, driver) != 0)) {
        return false;
    }
    return !write || (mode && mode[0] == 'w' && g_strcmp0(type, "cdrom") != 0);
}

struct wanted {
    const char *kind;  /* of back end */
    const char *first; /* driver or NULL: whatever its format is; security model */
    const char *path;
    bool write;
    bool (*is)(struct xenstore_look *look, const char *dir, const struct wanted *w);
};

static bool is_image(struct xenstore_look *look, const char *dir, const struct wanted *w)
{
    return is_of(look, dir, w->first, w->path, w->write);
}

static bool is_tree(struct xenstore_look *look, const char *dir, const struct wanted *w)
{
    g_autofree char *path = read_key(look, dir, "path");
    g_autofree char *model = read_key(look, dir, "security_model");

    return g_strcmp0(path, w->path) == 0 && g_strcmp0(model, w->first) == 0;
}

static bool is_usb(struct xenstore_look *look, const char *dir, const struct wanted *w)
{
    g_autofree char *ports = g_strdup_printf("%s/port", dir);
    g_auto(GStrv) names = xenstore_look_list(look, ports);
    bool found = false;

    for (char **name = names; name && *name && !found; name++) {
        g_autofree char *where = read_key(look, ports, *name);

        found = where && where[0] &&
                (strcmp(where, w->path) == 0 || usb_host_where_is_same(where, w->path));
    }
    return found;
}

static bool find_in(struct xenstore_look *look, const char *dir, const struct wanted *w)
{
    g_auto(GStrv) names = xenstore_look_list(look, dir);
    bool found = false;

    for (char **name = names; name && *name && !found; name++) {
        g_autofree char *device = g_strdup_printf("%s/%s", dir, *name);

        found = w->is(look, device, w);
    }
    return found;
}

/* `of_libxl`: a list of libxl's own, of devices that have no back end, or NULL. */
static bool find(unsigned domid, const struct wanted *w, const char *of_libxl)
{
    struct xenstore_look *look = xenstore_look_new();
    g_autofree char *own = look ? xenstore_look_read(look, "domid") : NULL;
    g_autofree char *backends =
        g_strdup_printf("/local/domain/%s/backend/%s/%u", own ? own : "0", w->kind, domid);
    g_autofree char *devices =
        g_strdup_printf("/libxl/%u/device/%s", domid, of_libxl ? of_libxl : "");
    bool found = look && (find_in(look, backends, w) || (of_libxl && find_in(look, devices, w)));

    xenstore_look_free(look);
    return found;
}

bool images_is_served(unsigned domid, const char *driver, const char *file, bool write)
{
    const struct wanted w = {"qdisk", driver, file, write, is_image};

    return find(domid, &w, NULL);
}

bool images_is_named(unsigned domid, const char *path, bool write)
{
    return path[0] == '/' && images_is_served(domid, NULL, path, write);
}

bool images_is_tree(unsigned domid, const char *path, const char *model)
{
    const struct wanted w = {"9pfs", model, path, true, is_tree};

    return path[0] == '/' && find(domid, &w, NULL);
}

bool images_is_usb(unsigned domid, const char *where)
{
    const struct wanted w = {"qusb", NULL, where, true, is_usb};

    /* Of controllers that we emulate there is no back end, but the same list. */
    return where[0] && find(domid, &w, "vusb");
}
