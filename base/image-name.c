/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See image-name.h. Names with these beginnings are taken for such by QEMU, too. Needs the C
 * library alone: the keeper of an image has it, too.
 */
#include <string.h>

#include <xendm/image-name.h>

static const char *const nbd[] = {"nbd:", "nbd+unix:", "nbd+tcp:", NULL};
static const char *const remote[] = {"rbd:", "iscsi:", "http:", "https:", "ssh:", NULL};
/* Where an image of a format may be, though nobody writes so of a raw one. */
static const char *const others[] = {"ftp:", "ftps:", "nfs:", "gluster", NULL};

static bool begins(const char *file, const char *const *beginnings)
{
    while (*beginnings && strncmp(file, *beginnings, strlen(*beginnings)) != 0) {
        beginnings++;
    }
    return *beginnings;
}

bool image_is_elsewhere(const char *file)
{
    return begins(file, nbd) || begins(file, remote) || begins(file, others);
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
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        if (strncmp(params, formats[i][0], (size_t)(colon - params)) == 0 &&
            formats[i][0][colon - params] == '\0') {
            return image_driver(*file, formats[i][1]);
        }
    }
    return NULL;
}
