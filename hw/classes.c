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

static bool has_name(const struct device_class *class, const char *name)
{
    for (const char *const *alias = class->aliases; alias && *alias; alias++) {
        if (strcmp(*alias, name) == 0) {
            return true;
        }
    }
    return strcmp(class->name, name) == 0;
}

const struct device_class *device_class_find(const char *name)
{
    for (const struct device_class *const *c = classes; *c; c++) {
        if (has_name(*c, name)) {
            return *c;
        }
    }
    return NULL;
}
