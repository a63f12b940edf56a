/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where firmware is; see xendm/firmware.h. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>

#include <xendm/files.h>
#include <xendm/firmware.h>

const char *firmware_dirs(void)
{
    const char *dirs = getenv("XENDM_FIRMWARE_DIR");

    return dirs && *dirs ? dirs : XENDM_FIRMWARE_DIR;
}

static bool is_there(const char *path)
{
    int fd = files_open_read(path);

    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

char *firmware_find(const char *dirs, const char *name)
{
    g_auto(GStrv) list = g_strsplit(dirs, ":", -1);

    for (char **dir = list; *dir && !strchr(name, '/'); dir++) {
        g_autofree char *path = g_build_filename(*dir, name, NULL);

        if (**dir && is_there(path)) {
            return g_steal_pointer(&path);
        }
    }
    return *list && !strchr(name, '/') ? g_build_filename(*list, name, NULL) : g_strdup(name);
}
