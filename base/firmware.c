/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where firmware is; see xendm/firmware.h. */
#include <stdlib.h>
#include <string.h>

#include <glib.h>

#include <xendm/firmware.h>

const char *firmware_dirs(void)
{
    const char *dirs = getenv("XENDM_FIRMWARE_DIR");

    return dirs && *dirs ? dirs : XENDM_FIRMWARE_DIR;
}

char *firmware_find(const char *dirs, const char *name)
{
    g_auto(GStrv) list = g_strsplit(dirs, ":", -1);

    for (char **dir = list; *dir && !strchr(name, '/'); dir++) {
        g_autofree char *path = g_build_filename(*dir, name, NULL);

        if (**dir && g_file_test(path, G_FILE_TEST_EXISTS)) {
            return g_steal_pointer(&path);
        }
    }
    return *list && !strchr(name, '/') ? g_build_filename(*list, name, NULL) : g_strdup(name);
}
