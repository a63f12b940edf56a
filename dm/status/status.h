/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the daemon says of its parts: the same facts for `info` and for whoever keeps them. */
#ifndef DM_STATUS_H
#define DM_STATUS_H

#include <stdbool.h>

#include <xendm/machine-desc.h>

struct facts;
struct guestmem;
struct hypervisor;
struct ioreq_server;
struct pv_bus;

struct status_parts {
    enum machine_type type; /* which there are */
    const struct ioreq_server *ioreq;
    const struct hypervisor *hv;
    const struct guestmem *memory;
    const struct pv_bus *pv; /* NULL: PV devices are not served */
};

/* false: there is no such topic, or not the part. */
bool status_describe(const struct status_parts *parts, const char *topic, struct facts *to);

#endif
