/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One look at xenstore by a process that watches nothing; see xendm/xenstore.h. */
#include <stdlib.h>

#include <xenstore.h>

#include <xendm/xenstore.h>

struct xenstore_look {
    struct xs_handle *handle;
};

struct xenstore_look *xenstore_look_new(void)
{
    struct xs_handle *handle = xs_open(0);
    struct xenstore_look *look;

    if (handle == NULL) {
        return NULL;
    }
    look = g_new0(struct xenstore_look, 1);
    look->handle = handle;
    return look;
}

void xenstore_look_free(struct xenstore_look *look)
{
    if (look) {
        xs_close(look->handle);
        g_free(look);
    }
}

char *xenstore_look_read(struct xenstore_look *look, const char *path)
{
    unsigned len = 0;
    char *value = xs_read(look->handle, XBT_NULL, path, &len);
    char *copy = value && len <= XENSTORE_VALUE_MAX ? g_strndup(value, len) : NULL;

    free(value);
    return copy;
}

char **xenstore_look_list(struct xenstore_look *look, const char *path)
{
    unsigned count = 0;
    char **names = xs_directory(look->handle, XBT_NULL, path, &count);
    GPtrArray *copy = g_ptr_array_new();

    for (unsigned i = 0; names && i < count; i++) {
        g_ptr_array_add(copy, g_strdup(names[i]));
    }
    g_ptr_array_add(copy, NULL);
    free(names);
    return (char **)g_ptr_array_free(copy, FALSE);
}
