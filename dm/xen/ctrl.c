/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See dm/xen/ctrl.h. */
#include <errno.h>

#include <glib.h>

#include <xenctrl.h>
#include <xen/hvm/params.h>

#include "ctrl.h"

#define PAGE_KIB 4u
#define BATCH 1024u /* frames a call */

struct xen_ctrl {
    xc_interface *xc;
};

struct xen_ctrl *xen_ctrl_open(void)
{
    xc_interface *xc = xc_interface_open(NULL, NULL, 0);
    struct xen_ctrl *ctrl;

    if (xc == NULL) {
        return NULL;
    }
    ctrl = g_new0(struct xen_ctrl, 1);
    ctrl->xc = xc;
    return ctrl;
}

void xen_ctrl_close(struct xen_ctrl *ctrl)
{
    if (ctrl != NULL) {
        xc_interface_close(ctrl->xc);
        g_free(ctrl);
    }
}

int xen_ctrl_info(struct xen_ctrl *ctrl, unsigned domid, struct xen_ctrl_info *info)
{
    xc_domaininfo_t dom;
    int n = xc_domain_getinfolist(ctrl->xc, domid, 1, &dom);

    if (n < 0) {
        return -errno;
    }
    if (n == 0 || dom.domain != domid) {
        return -ESRCH;
    }
    info->dying = (dom.flags & XEN_DOMINF_dying) != 0;
    info->pages = dom.tot_pages;
    info->max_pages = dom.max_pages;
    info->vcpus = dom.max_vcpu_id == XEN_INVALID_MAX_VCPU_ID ? 0 : dom.max_vcpu_id + 1;
    return 0;
}

long xen_ctrl_populate(struct xen_ctrl *ctrl, unsigned domid, uint64_t gfn, size_t pages)
{
    g_autofree xen_pfn_t *frames = g_new(xen_pfn_t, MIN(pages, BATCH));
    size_t done = 0;

    while (done < pages) {
        size_t n = MIN(pages - done, BATCH);
        int got;

        for (size_t i = 0; i < n; i++) {
            frames[i] = gfn + done + i;
        }
        errno = ENOMEM; /* nothing was given, and the call itself worked */
        got = xc_domain_populate_physmap(ctrl->xc, domid, n, 0, 0, frames);
        if (got > 0) {
            done += (size_t)got;
        }
        if (got < 0 || (size_t)got < n) {
            return done > 0 ? (long)done : -errno;
        }
    }
    return (long)done;
}

int xen_ctrl_depopulate(struct xen_ctrl *ctrl, unsigned domid, uint64_t gfn, size_t pages)
{
    g_autofree xen_pfn_t *frames = g_new(xen_pfn_t, MIN(pages, BATCH));

    for (size_t done = 0; done < pages;) {
        size_t n = MIN(pages - done, BATCH);

        for (size_t i = 0; i < n; i++) {
            frames[i] = gfn + done + i;
        }
        if (xc_domain_decrease_reservation_exact(ctrl->xc, domid, n, 0, frames) != 0) {
            return -errno;
        }
        done += n;
    }
    return 0;
}

int xen_ctrl_set_max_pages(struct xen_ctrl *ctrl, unsigned domid, uint64_t pages)
{
    return xc_domain_setmaxmem(ctrl->xc, domid, pages * PAGE_KIB) == 0 ? 0 : -errno;
}

int xen_ctrl_set_s_state(struct xen_ctrl *ctrl, unsigned domid, unsigned state)
{
    return xc_hvm_param_set(ctrl->xc, domid, HVM_PARAM_ACPI_S_STATE, state) == 0 ? 0 : -errno;
}
