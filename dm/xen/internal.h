/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to dm/xen: what the handles and the hypervisor are made of. */
#ifndef DM_XEN_INTERNAL_H
#define DM_XEN_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define __XEN_TOOLS__ 1 /* HVM_IOREQSRV_BUFIOREQ_* are for tools only */
#include <xendevicemodel.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>

#include "xen.h"

struct xen_ctrl;

struct xen_handles {
    unsigned domid;
    xendevicemodel_handle *dmod;
    xenforeignmemory_handle *fmem;
    xenevtchn_handle *evtchn;
    struct xen_ctrl *ctrl;
    bool restricted;
};

struct hypervisor {
    struct xen_handles *xen;
    bool log_dirty;
    bool shut_down;
    bool adopting;      /* until the commit of a live update: Xen is not told */
    bool serving;       /* the start, in which callers report failures, is over */
    uint64_t dirty_gfn; /* what track_dirty_vram tracks now */
    size_t dirty_pages;
    struct xen_hypervisor_counters counters;
};

static inline domid_t domid(const struct hypervisor *hv)
{
    return (domid_t)hv->xen->domid;
}

/* A call failed, errno says how: counted, logged, -errno. */
int hv_failed(struct hypervisor *hv, const char *what, uint64_t a, uint64_t b);
/* The same where the caller says it, too: a start that fails is to be explained in one line. */
int hv_refused(struct hypervisor *hv, const char *what, uint64_t a, uint64_t b);

#endif
