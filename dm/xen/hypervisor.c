/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xendm/hypervisor.h on libxendevicemodel and libxenforeignmemory. Contract sections 4.2 to 4.7.
 *
 * Video memory: populated once, at a frame number that nobody uses, and moved to wherever the guest
 * puts the BAR. What is mapped into this process are machine frames, of which Xen keeps a reference
 * for as long as the mapping lives; moving a page changes only which guest frame number names it.
 * So the mapping made before a relocation is the same memory after it.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define __XEN_TOOLS__ 1 /* HVM_IOREQSRV_BUFIOREQ_* are for tools only */
#include "ctrl.h"
#include "xen.h"

#include <xen/hvm/dm_op.h>
#include <xen/sched.h>
#include <xentoolcore.h>

#include <xendm/device.h>
#include <xendm/log.h>
#include <xendm/machine-desc.h>

#define GIB_4 (UINT64_C(4) << 30)
/* HVM_BELOW_4G_MMIO_START of hvmloader and libxc */
#define MMIO_START_DEFAULT UINT64_C(0xf0000000)
#define DIRTY_TRACK_PAGES_MAX (UINT64_C(1) << 18) /* track_dirty_vram takes 1 GiB */
#define VCPU_FALLBACK 1u
#define SLACK_PAGES 256u /* libxl__arch_extra_memory() */

_Static_assert((int)HV_SHUTDOWN_POWEROFF == SHUTDOWN_poweroff &&
                   (int)HV_SHUTDOWN_REBOOT == SHUTDOWN_reboot &&
                   (int)HV_SHUTDOWN_CRASH == SHUTDOWN_crash &&
                   (int)HV_SHUTDOWN_WATCHDOG == SHUTDOWN_watchdog,
               "reasons are passed through");

struct hypervisor {
    struct xen_handles *xen;
    bool log_dirty;
    bool shut_down;
    bool adopting;      /* until the commit of a live update: Xen is not told */
    bool serving;       /* the start, in which callers report failures, is over */
    GArray *ranges;     /* struct xen_range: what is forwarded to us */
    uint64_t dirty_gfn; /* what track_dirty_vram tracks now */
    size_t dirty_pages;
    struct xen_hypervisor_counters counters;
};

/* ---- handles ---- */

static void set_open_error(GError **err, const char *what)
{
    int e = errno;

    g_set_error(err, XENDM_ERROR, e,
                "cannot open %s: %s: is this dom0 (or a domain with the same rights), "
                "and are the Xen modules (xen-privcmd, xen-evtchn) loaded?",
                what, g_strerror(e));
}

struct xen_handles *xen_handles_open(unsigned domid, int evtchn_fd, GError **err)
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
    xen->evtchn = evtchn_fd >= 0 ? xenevtchn_fdopen(NULL, evtchn_fd, 0) : xenevtchn_open(NULL, 0);
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

/* ---- life ---- */

static struct hypervisor *hypervisor_new(struct xen_handles *xen)
{
    struct hypervisor *hv = g_new0(struct hypervisor, 1);

    hv->xen = xen;
    hv->ranges = g_array_new(FALSE, FALSE, sizeof(struct xen_range));
    return hv;
}

struct hypervisor *xen_hypervisor_new(struct xen_handles *xen, bool serve, GError **err)
{
    if (serve) {
        int r = xendevicemodel_create_ioreq_server(xen->dmod, (domid_t)xen->domid,
                                                   HVM_IOREQSRV_BUFIOREQ_ATOMIC, &xen->server);

        if (r != 0 && errno == EINVAL) {
            /*
             * Older than 4.5. The pointers then run freely, which our way of advancing suits as
             * well.
             */
            r = xendevicemodel_create_ioreq_server(xen->dmod, (domid_t)xen->domid,
                                                   HVM_IOREQSRV_BUFIOREQ_LEGACY, &xen->server);
        }
        if (r != 0) {
            int e = errno;

            g_set_error(err, XENDM_ERROR, e, "cannot create an ioreq server for domain %u: %s%s",
                        xen->domid, g_strerror(e),
                        e == ENOSPC                      ? " (Xen allows eight a domain)"
                        : e == EOPNOTSUPP || e == EINVAL ? " (is it an HVM guest?)"
                                                         : "");
            return NULL;
        }
        xen->server_made = true;
        xen->server_buffered = true;
    }
    return hypervisor_new(xen);
}

struct hypervisor *xen_hypervisor_adopt(struct xen_handles *xen, unsigned server)
{
    struct hypervisor *hv = hypervisor_new(xen);

    xen->server = (ioservid_t)server;
    xen->server_made = true;
    xen->server_buffered = true;
    hv->adopting = true;
    return hv;
}

void xen_hypervisor_free(struct hypervisor *hv)
{
    struct xen_handles *xen;

    if (hv == NULL) {
        return;
    }
    xen = hv->xen;
    if (xen->server_made && !hv->adopting) {
        /* When the domain is gone so is the server: nothing to say about that. */
        xendevicemodel_destroy_ioreq_server(xen->dmod, (domid_t)xen->domid, xen->server);
        xen->server_made = false;
    }
    g_array_free(hv->ranges, TRUE);
    g_free(hv);
}

bool xen_hypervisor_log_dirty(const struct hypervisor *hv)
{
    return hv->log_dirty;
}

void xen_hypervisor_set_log_dirty(struct hypervisor *hv, bool on)
{
    hv->log_dirty = on;
}

void xen_hypervisor_counters(const struct hypervisor *hv, struct xen_hypervisor_counters *out)
{
    *out = hv->counters;
}

/*
 * The host failed us. A guest can trigger such calls at will, and a dying domain makes them all
 * fail, so after the first few only each power of two of failures is shown.
 */
static int failed(struct hypervisor *hv, const char *what, uint64_t a, uint64_t b)
{
    int e = errno;
    uint64_t n = ++hv->counters.failures;

    if (n <= 16 || (n & (n - 1)) == 0) {
        log_error(LOG_DM, "Xen refused to %s (%#llx, %#llx): %s (failure %llu)", what,
                  (unsigned long long)a, (unsigned long long)b, strerror(e), (unsigned long long)n);
    }
    return -e;
}

/* The same where the caller says it, too: a start that fails is to be explained in one line. */
static int refused(struct hypervisor *hv, const char *what, uint64_t a, uint64_t b)
{
    int e = errno;

    if (hv->serving) {
        return failed(hv, what, a, b);
    }
    hv->counters.failures++;
    return -e;
}

void xen_hypervisor_serving(struct hypervisor *hv)
{
    hv->serving = true;
}

static domid_t domid(const struct hypervisor *hv)
{
    return (domid_t)hv->xen->domid;
}

/* ---- interrupts ---- */

void hv_isa_irq_set(struct hypervisor *hv, unsigned irq, bool level)
{
    if (hv->adopting) {
        return;
    }
    hv->counters.irq_calls++;
    if (xendevicemodel_set_isa_irq_level(hv->xen->dmod, domid(hv), (uint8_t)irq, level) != 0) {
        failed(hv, "set an ISA interrupt level", irq, level);
    }
}

void hv_pci_intx_set(struct hypervisor *hv, unsigned device, unsigned pin, bool level)
{
    if (hv->adopting) {
        return;
    }
    hv->counters.irq_calls++;
    if (xendevicemodel_set_pci_intx_level(hv->xen->dmod, domid(hv), 0, 0, (uint8_t)device,
                                          (uint8_t)pin, level) != 0) {
        failed(hv, "set a PCI interrupt level", device << 2 | pin, level);
    }
}

void hv_pci_link_route(struct hypervisor *hv, unsigned link, unsigned isa_irq)
{
    if (!hv->adopting && xendevicemodel_set_pci_link_route(hv->xen->dmod, domid(hv), (uint8_t)link,
                                                           (uint8_t)isa_irq) != 0) {
        failed(hv, "route a PCI link", link, isa_irq);
    }
}

void hv_msi_inject(struct hypervisor *hv, uint64_t address, uint32_t data)
{
    if (hv->adopting) {
        return;
    }
    hv->counters.msi_calls++;
    if (xendevicemodel_inject_msi(hv->xen->dmod, domid(hv), address, data) != 0) {
        failed(hv, "inject an MSI", address, data);
    }
}

/* ---- what is forwarded ---- */

/* The calls themselves; 0 or -1 with errno. */
static int forward(struct hypervisor *hv, const struct xen_range *r, bool on)
{
    struct xen_handles *xen = hv->xen;
    int mmio = r->kind == XEN_RANGE_MMIO;
    uint8_t device = (uint8_t)(r->first >> 3), function = (uint8_t)(r->first & 7);

    if (r->kind == XEN_RANGE_PCI) {
        return on ? xendevicemodel_map_pcidev_to_ioreq_server(xen->dmod, domid(hv), xen->server, 0,
                                                              0, device, function)
                  : xendevicemodel_unmap_pcidev_from_ioreq_server(xen->dmod, domid(hv), xen->server,
                                                                  0, 0, device, function);
    }
    hv->counters.range_calls++;
    return on ? xendevicemodel_map_io_range_to_ioreq_server(xen->dmod, domid(hv), xen->server, mmio,
                                                            r->first, r->last)
              : xendevicemodel_unmap_io_range_from_ioreq_server(xen->dmod, domid(hv), xen->server,
                                                                mmio, r->first, r->last);
}

/* Index in `ranges` (of `count`), or count. */
static size_t range_find(const struct xen_range *ranges, size_t count, const struct xen_range *r)
{
    size_t i = 0;

    while (i < count && (ranges[i].kind != r->kind || ranges[i].first != r->first ||
                         ranges[i].last != r->last)) {
        i++;
    }
    return i;
}

static int range_add(struct hypervisor *hv, struct xen_range r, const char *what)
{
    if (!hv->xen->server_made) {
        return -ENODEV;
    }
    if (!hv->adopting && forward(hv, &r, true) != 0) {
        return refused(hv, what, r.first, r.last);
    }
    g_array_append_val(hv->ranges, r);
    return 0;
}

static void range_del(struct hypervisor *hv, struct xen_range r, const char *what)
{
    size_t i = range_find((struct xen_range *)hv->ranges->data, hv->ranges->len, &r);

    if (i < hv->ranges->len) {
        g_array_remove_index_fast(hv->ranges, (guint)i);
    }
    if (hv->xen->server_made && !hv->adopting && forward(hv, &r, false) != 0) {
        failed(hv, what, r.first, r.last);
    }
}

int hv_range_add(struct hypervisor *hv, enum hv_space space, uint64_t first, uint64_t last)
{
    bool mmio = space == HV_SPACE_MMIO;

    return range_add(hv, (struct xen_range){mmio ? XEN_RANGE_MMIO : XEN_RANGE_PIO, first, last},
                     mmio ? "forward a memory range" : "forward a port range");
}

void hv_range_del(struct hypervisor *hv, enum hv_space space, uint64_t first, uint64_t last)
{
    bool mmio = space == HV_SPACE_MMIO;

    range_del(hv, (struct xen_range){mmio ? XEN_RANGE_MMIO : XEN_RANGE_PIO, first, last},
              mmio ? "stop forwarding a memory range" : "stop forwarding a port range");
}

int hv_pci_function_add(struct hypervisor *hv, unsigned devfn)
{
    return range_add(hv, (struct xen_range){XEN_RANGE_PCI, devfn, devfn}, "forward a PCI function");
}

void hv_pci_function_del(struct hypervisor *hv, unsigned devfn)
{
    range_del(hv, (struct xen_range){XEN_RANGE_PCI, devfn, devfn},
              "stop forwarding a PCI function");
}

/* ---- live update ---- */

const struct xen_range *xen_hypervisor_ranges(const struct hypervisor *hv, size_t *count)
{
    *count = hv->ranges->len;
    return (const struct xen_range *)hv->ranges->data;
}

int xen_hypervisor_commit(struct hypervisor *hv, const struct xen_range *before, size_t count,
                          GError **err)
{
    const struct xen_range *now = (const struct xen_range *)hv->ranges->data;
    size_t len = hv->ranges->len;

    for (size_t i = 0; i < len; i++) {
        int e;

        if (range_find(before, count, &now[i]) < count || forward(hv, &now[i], true) == 0) {
            continue;
        }
        e = errno;
        if (e == EEXIST) {
            continue;
        }
        while (i-- > 0) {
            if (range_find(before, count, &now[i]) == count) {
                forward(hv, &now[i], false);
            }
        }
        g_set_error(err, XENDM_ERROR, e, "Xen refuses to forward what the new program serves: %s",
                    g_strerror(e));
        return -e;
    }
    for (size_t i = 0; i < count; i++) {
        if (range_find(now, len, &before[i]) == len && forward(hv, &before[i], false) != 0) {
            failed(hv, "stop forwarding what the new program does not serve", before[i].first,
                   before[i].last);
        }
    }
    hv->adopting = false;
    return 0;
}

/* ---- the guest's end and sleep ---- */

int hv_shutdown(struct hypervisor *hv, enum hv_shutdown reason)
{
    if (hv->shut_down || hv->adopting) {
        return 0;
    }
    if (xendevicemodel_shutdown(hv->xen->dmod, domid(hv), reason) != 0) {
        return failed(hv, "shut the domain down", reason, 0);
    }
    hv->shut_down = true;
    return 0;
}

int hv_acpi_s_state_set(struct hypervisor *hv, unsigned state)
{
    int err;

    if (hv->adopting) {
        return -EBUSY;
    }
    if (hv->xen->restricted) {
        /* the caller says so, once: the guest may ask as often as it likes */
        return -EPERM;
    }
    err = xen_ctrl_set_s_state(hv->xen->ctrl, hv->xen->domid, state);
    if (err < 0) {
        errno = -err;
        failed(hv, "set the ACPI sleep state", state, 0);
    }
    return err;
}

/* ---- memory that a device owns ---- */

/*
 * Video memory is part of what the toolstack allows the domain (videoram= plus 1 MiB, contract
 * 4.5). A configuration may exceed that; then we raise the limit by what is missing, leave the 1
 * MiB that hvmloader needs for its tables, and say so.
 */
static int raise_limit(struct hypervisor *hv, size_t missing)
{
    struct xen_ctrl_info info;
    int err = xen_ctrl_info(hv->xen->ctrl, hv->xen->domid, &info);
    uint64_t limit;

    if (err < 0) {
        return err;
    }
    if (info.pages + missing <= info.max_pages) {
        return -ENOMEM; /* the limit is not what stopped us: the host is out of memory */
    }
    limit = info.pages + missing + SLACK_PAGES;
    err = xen_ctrl_set_max_pages(hv->xen->ctrl, hv->xen->domid, limit);
    if (err == 0) {
        log_info(LOG_DM, "raised the domain's memory limit by %llu KiB for video memory",
                 (unsigned long long)(limit - info.max_pages) * 4);
    }
    return err;
}

int hv_memory_populate(struct hypervisor *hv, uint64_t gfn, size_t pages)
{
    size_t done = 0;
    long got;
    int err;

    if (hv->adopting) {
        return -EBUSY;
    }
    if (hv->xen->restricted) {
        return -EPERM;
    }
    got = xen_ctrl_populate(hv->xen->ctrl, hv->xen->domid, gfn, pages);
    if (got > 0) {
        done = (size_t)got;
    }
    err = got < 0 ? (int)got : -ENOMEM;
    if (done < pages && err == -ENOMEM) {
        err = raise_limit(hv, pages - done);
        if (err == 0) {
            got = xen_ctrl_populate(hv->xen->ctrl, hv->xen->domid, gfn + done, pages - done);
            done += got > 0 ? (size_t)got : 0;
            err = got < 0 ? (int)got : -ENOMEM;
        }
    }
    if (done == pages) {
        return 0;
    }
    if (done > 0) {
        xen_ctrl_depopulate(hv->xen->ctrl, hv->xen->domid, gfn, done);
    }
    errno = -err;
    return refused(hv, "give the domain memory", gfn, pages);
}

int hv_memory_relocate(struct hypervisor *hv, uint64_t from_gfn, uint64_t to_gfn, size_t pages)
{
    if (pages > UINT32_MAX) {
        return -EINVAL;
    }
    if (hv->adopting) {
        return -EBUSY;
    }
    if (xendevicemodel_relocate_memory(hv->xen->dmod, domid(hv), (uint32_t)pages, from_gfn,
                                       to_gfn) != 0) {
        return failed(hv, "move memory of the domain", from_gfn, to_gfn);
    }
    return 0;
}

void hv_memory_write_combine(struct hypervisor *hv, uint64_t gfn, size_t pages, bool on)
{
    /* Both ends are included; deleting needs the same two. */
    if (pages > 0 && !hv->adopting &&
        xendevicemodel_pin_memory_cacheattr(hv->xen->dmod, domid(hv), gfn, gfn + pages - 1,
                                            on ? XEN_DMOP_MEM_CACHEATTR_WC
                                               : XEN_DMOP_DELETE_MEM_CACHEATTR) != 0) {
        failed(hv, "set the caching of memory", gfn, pages);
    }
}

static int modified(struct hypervisor *hv, uint64_t gfn, size_t pages)
{
    return xendevicemodel_modified_memory(hv->xen->dmod, domid(hv), gfn,
                                          (uint32_t)MIN(pages, UINT32_MAX));
}

void hv_memory_modified(struct hypervisor *hv, uint64_t gfn, size_t pages)
{
    if (__builtin_expect(!hv->log_dirty || hv->adopting, 1)) {
        return;
    }
    hv->counters.modified_calls++;
    if (modified(hv, gfn, pages) == 0) {
        return;
    }
    if (errno == EINVAL && pages > 1) {
        /*
         * An extent that ends with the very last frame of the guest is refused as a whole: the rest
         * of it, then that.
         */
        hv->counters.modified_calls += 2;
        if (modified(hv, gfn, pages - 1) != 0) {
            failed(hv, "mark memory as modified", gfn, pages - 1);
        }
        gfn += pages - 1;
        pages = 1;
        if (modified(hv, gfn, pages) == 0) {
            return;
        }
    }
    if (errno != EINVAL) {
        failed(hv, "mark memory as modified", gfn, pages);
    }
}

int hv_memory_dirty(struct hypervisor *hv, uint64_t gfn, size_t pages, uint64_t *bitmap)
{
    size_t words = (pages + 63) / 64;
    bool first = hv->dirty_pages == 0 || hv->dirty_gfn != gfn || hv->dirty_pages != pages;
    int err = 0;

    if (pages == 0) {
        if (hv->dirty_pages != 0 && xendevicemodel_track_dirty_vram(hv->xen->dmod, domid(hv),
                                                                    hv->dirty_gfn, 0, NULL) != 0) {
            log_debug(LOG_DM, "ending dirty tracking: %s", strerror(errno));
        }
        hv->dirty_pages = 0;
        return 0;
    }
    _Static_assert(sizeof(unsigned long) == sizeof(uint64_t), "Xen's bitmap is of longs");
    memset(bitmap, 0, words * sizeof(*bitmap));
    if (pages > DIRTY_TRACK_PAGES_MAX || hv->adopting) {
        err = -EINVAL;
    } else if (xendevicemodel_track_dirty_vram(hv->xen->dmod, domid(hv), gfn, (uint32_t)pages,
                                               (unsigned long *)bitmap) != 0) {
        /*
         * Usual while the toolstack's log-dirty mode is on (migration), and on the first call with
         * shadow paging.
         */
        err = errno == ENODATA ? 0 : -errno;
        first = true;
    }
    hv->dirty_gfn = gfn;
    hv->dirty_pages = err == 0 ? pages : 0;
    if (err < 0 || first) {
        memset(bitmap, 0xff, words * sizeof(*bitmap));
    }
    if (pages % 64 != 0) {
        bitmap[words - 1] &= (UINT64_C(1) << pages % 64) - 1;
    }
    return err;
}

/* ---- mappings ---- */

static void *map_frames(struct hypervisor *hv, uint64_t gfn, size_t pages, int *errs)
{
    enum { SMALL = 64 };
    xen_pfn_t small[SMALL] = {0};
    xen_pfn_t *frames = pages <= SMALL ? small : g_try_new(xen_pfn_t, pages);
    void *ptr;
    int e;

    if (frames == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    for (size_t i = 0; i < pages; i++) {
        frames[i] = gfn + i;
    }
    ptr = xenforeignmemory_map(hv->xen->fmem, hv->xen->domid, PROT_READ | PROT_WRITE, pages, frames,
                               errs);
    e = errno;
    if (frames != small) {
        g_free(frames);
    }
    errno = e;
    return ptr;
}

void *hv_memory_map(struct hypervisor *hv, uint64_t gfn, size_t pages)
{
    void *ptr = map_frames(hv, gfn, pages, NULL);

    if (ptr == NULL) {
        int e = errno;

        refused(hv, "map memory of the domain", gfn, pages);
        errno = e;
    }
    return ptr;
}

void hv_memory_unmap(struct hypervisor *hv, void *ptr, size_t pages)
{
    if (ptr != NULL && xenforeignmemory_unmap(hv->xen->fmem, ptr, pages) != 0) {
        failed(hv, "unmap memory of the domain", (uintptr_t)ptr, pages);
    }
}

static void *cache_map(void *opaque, uint64_t gfn, unsigned pages, int *errs)
{
    void *ptr = map_frames(opaque, gfn, pages, errs);

    /* Holes are the guest's doing, and errors of single frames: no log line. */
    if (ptr == NULL) {
        int e = errno;

        failed(opaque, "map memory of the domain", gfn, pages);
        errno = e;
    }
    return ptr;
}

static void cache_unmap(void *opaque, void *ptr, unsigned pages)
{
    hv_memory_unmap(opaque, ptr, pages);
}

static void cache_modified(void *opaque, uint64_t gfn, unsigned pages)
{
    hv_memory_modified(opaque, gfn, pages);
}

struct guestmem *xen_guestmem_new(struct hypervisor *hv, const struct mapcache_limits *limits)
{
    static const struct mapcache_ops ops = {cache_map, cache_unmap, cache_modified};
    static const struct mapcache_limits defaults = {.idle_seconds = 10};

    return mapcache_new(&ops, hv, limits != NULL ? limits : &defaults);
}
