/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images of PV disks: the toolstack names them in xenstore, before a guest starts and while it
 * runs (`xl block-attach`), and on no command line. So the broker looks there itself.
 */
#include <string.h>

#include <xendm/xenstore.h>

#include "broker.h"

static char *read_key(struct xenstore_look *look, const char *dir, const char *key)
{
    g_autofree char *path = g_strdup_printf("%s/%s", dir, key);

    return xenstore_look_read(look, path);
}

/* "aio:/path", "/path". */
static bool is_of(struct xenstore_look *look, const char *dir, const char *path, bool write)
{
    g_autofree char *params = read_key(look, dir, "params");
    g_autofree char *mode = read_key(look, dir, "mode");
    g_autofree char *type = read_key(look, dir, "device-type");
    const char *colon = params && params[0] != '/' ? strchr(params, ':') : NULL;

    if (!params || strcmp(colon ? colon + 1 : params, path) != 0) {
        return false;
    }
    return !write || (mode && mode[0] == 'w' && g_strcmp0(type, "cdrom") != 0);
}

bool images_is_named(unsigned domid, const char *path, bool write)
{
    struct xenstore_look *look = path[0] == '/' ? xenstore_look_new() : NULL;
    g_autofree char *own = look ? xenstore_look_read(look, "domid") : NULL;
    g_autofree char *dir =
        g_strdup_printf("/local/domain/%s/backend/qdisk/%u", own ? own : "0", domid);
    g_auto(GStrv) names = look ? xenstore_look_list(look, dir) : NULL;
    bool found = false;

    for (char **name = names; name && *name && !found; name++) {
        g_autofree char *device = g_strdup_printf("%s/%s", dir, *name);

        found = is_of(look, device, path, write);
    }
    xenstore_look_free(look);
    return found;
}
