/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connections to Xen, and what it says of the domain; see dm/xen/xen.h. */
#include <errno.h>

#include <xentoolcore.h>

#include <xendm/error.h>
#include <xendm/log.h>
#include <xendm/machine-desc.h>

#include "ctrl.h"
#include "internal.h"

#define GIB_4 (UINT64_C(4) << 30)
/* HVM_BELOW_4G_MMIO_START of hvmloader and libxc */
#define MMIO_START_DEFAULT UINT64_C(0xf0000000)
#define VCPU_FALLBACK 1u

/* ---- handles ---- */

static void set_open_error(GError **err, const char *what)
{
    int e = errno;

    g_set_error(err, XENDM_ERROR, e,
                "cannot open %s: %s: is this dom0 (or a domain with the same rights), "
                "and are the Xen modules (xen-privcmd, xen-evtchn) loaded?",
                what, g_strerror(e));
}

struct xen_handles *xen_handles_open(unsigned domid, GError **err)
{
    struct xen_handles *xen = g_new0(struct xen_handles, 1);

    xen->domid = domid;
    xen->dmod = xendevicemodel_open(NULL, 0);
    if (xen->dmod == NULL) {
        set_open_error(err, "the device model interface (/dev/xen/privcmd)");
        goto fail;
    }
    xen->fmem = xenforeignmemory_open(NULL, 0);
    if (xen->fmem == NULL) {
        set_open_error(err, "the guest memory interface (/dev/xen/privcmd)");
        goto fail;
    }
    xen->evtchn = xenevtchn_open(NULL, 0);
    if (xen->evtchn == NULL) {
        set_open_error(err, "event channels (/dev/xen/evtchn)");
        goto fail;
    }
    xen->ctrl = xen_ctrl_open();
    if (xen->ctrl == NULL) {
        set_open_error(err, "the control interface (/dev/xen/privcmd)");
        goto fail;
    }
    return xen;

fail:
    xen_handles_close(xen);
    return NULL;
}

int xen_handles_take_events(struct xen_handles *xen, int fd, GError **err)
{
    xenevtchn_handle *taken = xenevtchn_fdopen(NULL, fd, 0);

    if (taken == NULL) {
        int e = errno;

        g_set_error(err, XENDM_ERROR, e, "cannot take over the event channels: %s", g_strerror(e));
        return -e;
    }
    xenevtchn_close(xen->evtchn);
    xen->evtchn = taken;
    return 0;
}

void xen_handles_close(struct xen_handles *xen)
{
    if (xen == NULL) {
        return;
    }
    xen_ctrl_close(xen->ctrl);
    if (xen->evtchn != NULL) {
        xenevtchn_close(xen->evtchn);
    }
    if (xen->fmem != NULL) {
        xenforeignmemory_close(xen->fmem);
    }
    if (xen->dmod != NULL) {
        xendevicemodel_close(xen->dmod);
    }
    g_free(xen);
}

int xen_restrict(struct xen_handles *xen, GError **err)
{
    if (xentoolcore_restrict_all((domid_t)xen->domid) != 0) {
        int e = errno;

        g_set_error(err, XENDM_ERROR, e, "cannot restrict the Xen handles to domain %u: %s%s",
                    xen->domid, g_strerror(e),
                    e == ENOTTY || e == EOPNOTSUPP ? " (the kernel is too old for dm_restrict)"
                                                   : "");
        return -e;
    }
    xen->restricted = true;
    return 0;
}

unsigned xen_domid(const struct xen_handles *xen)
{
    return xen->domid;
}

struct xendevicemodel_handle *xen_devicemodel(const struct xen_handles *xen)
{
    return xen->dmod;
}

struct xenforeignmemory_handle *xen_foreignmemory(const struct xen_handles *xen)
{
    return xen->fmem;
}

struct xenevtchn_handle *xen_evtchn(const struct xen_handles *xen)
{
    return xen->evtchn;
}

int xen_evtchn_fd(const struct xen_handles *xen)
{
    return xenevtchn_fd(xen->evtchn);
}

/* ---- the domain ---- */

void xen_ram_layout(uint64_t ram_bytes, uint64_t below_4g, uint64_t *low_end, uint64_t *high_end)
{
    uint64_t limit = below_4g != 0 && below_4g < GIB_4 ? below_4g : MMIO_START_DEFAULT;

    *low_end = ram_bytes < limit ? ram_bytes : limit;
    *high_end = GIB_4 + (ram_bytes - *low_end);
}

int xen_domain_info(struct xen_handles *xen, const struct machine_desc *desc,
                    struct xen_domain_info *info, GError **err)
{
    struct xen_ctrl_info ctrl;
    int e = xen_ctrl_info(xen->ctrl, xen->domid, &ctrl);

    if (e < 0) {
        g_set_error(err, XENDM_ERROR, -e, "cannot look up domain %u: %s", xen->domid,
                    e == -ESRCH ? "there is no such domain" : g_strerror(-e));
        return e;
    }
    /* nr_vcpus is the stable way, but only for HVM guests and since 4.14. */
    if (xendevicemodel_nr_vcpus(xen->dmod, (domid_t)xen->domid, &info->vcpus) != 0 ||
        info->vcpus == 0) {
        info->vcpus = ctrl.vcpus != 0 ? ctrl.vcpus : desc->vcpus != 0 ? desc->vcpus : VCPU_FALLBACK;
    }
    if (desc->vcpus != 0 && info->vcpus != desc->vcpus) {
        log_warning(LOG_DM, "the command line says %u vCPUs, Xen %u: going by Xen", desc->vcpus,
                    info->vcpus);
    }
    xen_ram_layout(desc->ram_bytes, desc->max_ram_below_4g, &info->ram_low_end,
                   &info->ram_high_end);
    return 0;
}
