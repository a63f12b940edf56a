/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a process is for its domain: an instance of one of the kinds that -machine names. A kind is
 * a line of a table (dm/config/instances.c): what the daemon puts together for it, and which PV
 * back ends it serves. Whoever opens, stops, saves or describes something asks for the part, never
 * for the kind.
 */
#ifndef XENDM_INSTANCE_H
#define XENDM_INSTANCE_H

#include <stdbool.h>

#include <xendm/machine-desc.h>

/* In the order in which they are opened; each may need those before it. */
enum instance_part {
    INSTANCE_DOMAIN = 1 << 0, /* a domain: xenstore, and a sandbox. Else there is QMP alone */
    INSTANCE_GUEST = 1 << 1,  /* the guest's memory, interrupts and virtual CPUs */
    INSTANCE_SEAT =
        1 << 2, /* a screen and keys of the instance's own; else they are the machine's */
    INSTANCE_MACHINE = 1 << 3,  /* emulated hardware: clock, address spaces, devices */
    INSTANCE_ACCESSES = 1 << 4, /* an ioreq server: Xen forwards the guest's accesses */
    INSTANCE_CHIPSET = 1 << 5,  /* the board's own chips, and what hangs on them */
    /* The domain's device model: the toolstack hears of it in xenstore, tools by the domid. */
    INSTANCE_PRIMARY = 1 << 6,
};

struct instance_kind {
    const char *name;
    const char *help;
    unsigned parts;         /* enum instance_part */
    const char *device;     /* that it has without being asked; NULL: none */
    const char *const *pv;  /* PV back ends by their directories, NULL-terminated */
    bool of_control_domain; /* domain 0 may be the one */
};

const struct instance_kind *instance_kind(enum machine_type type);
/* By -machine; NULL: there is none. */
const struct instance_kind *instance_kind_find(const char *name, enum machine_type *type);
bool instance_has(enum machine_type type, enum instance_part part);
bool instance_serves(const struct instance_kind *kind, const char *pv);

#endif
