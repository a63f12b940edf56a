/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The only user of libxenctrl, which is not a stable library: what no stable library offers.
 * Everything here fails with
 * -EPERM (or the like) once the process is restricted, so it belongs before that.
 */
#ifndef DM_XEN_CTRL_H
#define DM_XEN_CTRL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xen_ctrl;

struct xen_ctrl *xen_ctrl_open(void); /* NULL with errno */
void xen_ctrl_close(struct xen_ctrl *ctrl);

struct xen_ctrl_info {
    bool dying;
    uint64_t pages, max_pages;
    unsigned vcpus; /* as many as it may have */
};
/* -ESRCH: there is no such domain. */
int xen_ctrl_info(struct xen_ctrl *ctrl, unsigned domid, struct xen_ctrl_info *info);

/*
 * Gives the domain single pages at gfn.. and returns how many it got; fewer than asked for, or
 * -errno when none.
 */
long xen_ctrl_populate(struct xen_ctrl *ctrl, unsigned domid, uint64_t gfn, size_t pages);
int xen_ctrl_depopulate(struct xen_ctrl *ctrl, unsigned domid, uint64_t gfn, size_t pages);
int xen_ctrl_set_max_pages(struct xen_ctrl *ctrl, unsigned domid, uint64_t pages);

/* HVM_PARAM_ACPI_S_STATE. */
int xen_ctrl_set_s_state(struct xen_ctrl *ctrl, unsigned domid, unsigned state);

#endif
