/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of device classes. Apart from hw/core, so that a test can link one device without all
 * others.
 */
#include <string.h>

#include <xendm/classes.h>

static const struct device_class *const classes[] = {
#define X(c) &c,
    DEVICE_CLASSES(X)
#undef X
        NULL,
};

const struct device_class *const *device_classes(void)
{
    return classes;
}

const struct device_class *device_class_find(const char *name)
{
    for (const struct device_class *const *c = classes; *c; c++) {
        if (strcmp((*c)->name, name) == 0) {
            return *c;
        }
    }
    return NULL;
}
