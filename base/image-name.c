/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See image-name.h. Names with these beginnings are taken for such by QEMU, too. */
#include <stdbool.h>
#include <string.h>

#include <glib.h>

#include <xendm/image-name.h>

static const char *const nbd[] = {"nbd:", "nbd+unix:", "nbd+tcp:", NULL};
static const char *const remote[] = {"rbd:", "iscsi:", "http:", "https:", "ssh:", NULL};

static bool begins(const char *file, const char *const *beginnings)
{
    while (*beginnings && !g_str_has_prefix(file, *beginnings)) {
        beginnings++;
    }
    return *beginnings;
}

const char *image_driver(const char *file, const char *format)
{
    if (file && (!format || strcmp(format, "raw") == 0)) {
        if (begins(file, nbd)) {
            return "nbd";
        }
        if (format && begins(file, remote)) {
            return "remote";
        }
    }
    return file || format ? format : "raw";
}

const char *image_of_params(const char *params, const char **file)
{
    /* What libxl calls them in xenstore, and QEMU's block drivers. */
    static const char *const formats[][2] = {
        {"aio", "raw"}, {"raw", "raw"}, {"qcow2", "qcow2"}, {"vhd", "vpc"}, {"qed", "qed"}};
    const char *colon = params ? strchr(params, ':') : NULL;

    *file = colon ? colon + 1 : params ? params : "";
    if (!colon) {
        return "raw";
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++) {
        if (strncmp(params, formats[i][0], (size_t)(colon - params)) == 0 &&
            formats[i][0][colon - params] == '\0') {
            return image_driver(*file, formats[i][1]);
        }
    }
    return NULL;
}
