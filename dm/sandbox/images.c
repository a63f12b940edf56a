/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images of PV disks: the toolstack names them in xenstore, before a guest starts and while it
 * runs (`xl block-attach`), and on no command line. So the broker looks there itself.
 */
#include <string.h>

#include <xendm/image-name.h>
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

/* `driver` NULL: whatever its format is. */
static bool find(unsigned domid, const char *driver, const char *path, bool write)
{
    struct xenstore_look *look = xenstore_look_new();
    g_autofree char *own = look ? xenstore_look_read(look, "domid") : NULL;
    g_autofree char *dir =
        g_strdup_printf("/local/domain/%s/backend/qdisk/%u", own ? own : "0", domid);
    g_auto(GStrv) names = look ? xenstore_look_list(look, dir) : NULL;
    bool found = false;

    for (char **name = names; name && *name && !found; name++) {
        g_autofree char *device = g_strdup_printf("%s/%s", dir, *name);

        found = is_of(look, device, driver, path, write);
    }
    xenstore_look_free(look);
    return found;
}

bool images_is_named(unsigned domid, const char *path, bool write)
{
    return path[0] == '/' && find(domid, NULL, path, write);
}

bool images_is_served(unsigned domid, const char *driver, const char *file, bool write)
{
    return find(domid, driver, file, write);
}
