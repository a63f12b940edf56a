/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kinds of instances; see xendm/instance.h. */
#include <string.h>

#include <glib.h>

#include <xendm/instance.h>

#define SECONDARY (INSTANCE_DOMAIN | INSTANCE_GUEST | INSTANCE_MACHINE | INSTANCE_ACCESSES)
#define PC (SECONDARY | INSTANCE_CHIPSET | INSTANCE_PRIMARY)

/* No frame buffer: the head is the graphics card's. */
static const char *const beside_a_machine[] = {"qdisk", "vkbd", "console", "9pfs",
                                               "qnic",  "qusb", "vsnd",    NULL};
static const char *const all[] = {"qdisk", "vkbd", "console", "vfb", "9pfs",
                                  "qnic",  "qusb", "vsnd",    NULL};
static const char *const none[] = {NULL};

static const struct instance_kind kinds[] = {
    [MACHINE_XENFV] = {.name = "xenfv",
                       .help = "a PC with Xen's platform device",
                       .parts = PC,
                       .device = "xen-platform",
                       .pv = beside_a_machine},
    [MACHINE_PC] = {.name = "pc", .help = "a PC without it", .parts = PC, .pv = beside_a_machine},
    [MACHINE_XENPV] = {.name = "xenpv",
                       .help = "back ends alone, for PV and PVH guests and for domain 0",
                       .parts = INSTANCE_DOMAIN | INSTANCE_SEAT | INSTANCE_PRIMARY,
                       .pv = all,
                       .of_control_domain = true},
    [MACHINE_SECONDARY] = {.name = "secondary",
                           .help = "the PCI functions of -device, beside the domain's device model",
                           .parts = SECONDARY,
                           .pv = none},
    /* libxl 4.20 asks it what the command line offers, without a domain (toolstack.md 1.9). */
    [MACHINE_NONE] = {.name = "none", .help = "QMP alone", .pv = none},
};

const struct instance_kind *instance_kind(enum machine_type type)
{
    return &kinds[type];
}

const struct instance_kind *instance_kind_find(const char *name, enum machine_type *type)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            *type = (enum machine_type)i;
            return &kinds[i];
        }
    }
    return NULL;
}

bool instance_has(enum machine_type type, enum instance_part part)
{
    return (kinds[type].parts & part) != 0;
}

bool instance_serves(const struct instance_kind *kind, const char *pv)
{
    return g_strv_contains(kind->pv, pv);
}
