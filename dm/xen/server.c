/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An ioreq server: what Xen forwards to us. Of the eight that a domain may have, a process may make
 * more than one; each serves with pages and event channels of its own (dm/ioreq).
 */
#include <errno.h>

#include <xendm/error.h>
#include <xendm/log.h>

#include "internal.h"

#include <xen/hvm/dm_op.h>

struct hv_server {
    struct hypervisor *hv;
    ioservid_t id;
    GArray *ranges; /* struct xen_range: what is forwarded to us */
};

static struct hv_server *server_init(struct hv_server *s)
{
    s->ranges = g_array_new(FALSE, FALSE, sizeof(struct xen_range));
    return s;
}

struct hv_server *hv_server_new(struct hypervisor *hv, GError **err)
{
    struct hv_server *s = g_new0(struct hv_server, 1);
    const struct xen_handles *xen = hv->xen;
    int r;

    s->hv = hv;
    r = xendevicemodel_create_ioreq_server(xen->dmod, (domid_t)xen->domid,
                                           HVM_IOREQSRV_BUFIOREQ_ATOMIC, &s->id);

    if (r != 0 && errno == EINVAL) {
        /*
         * Older than 4.5. The pointers then run freely, which our way of advancing suits as
         * well.
         */
        r = xendevicemodel_create_ioreq_server(xen->dmod, (domid_t)xen->domid,
                                               HVM_IOREQSRV_BUFIOREQ_LEGACY, &s->id);
    }
    if (r != 0) {
        int e = errno;

        g_set_error(err, XENDM_ERROR, e, "cannot create an ioreq server for domain %u: %s%s",
                    xen->domid, g_strerror(e),
                    e == ENOSPC                      ? " (Xen allows eight a domain)"
                    : e == EOPNOTSUPP || e == EINVAL ? " (is it an HVM guest?)"
                                                     : "");
        g_free(s);
        return NULL;
    }
    return server_init(s);
}

struct hv_server *xen_server_adopt(struct hypervisor *hv, unsigned id)
{
    struct hv_server *s = g_new0(struct hv_server, 1);

    s->hv = hv;
    s->id = (ioservid_t)id;
    return server_init(s);
}

unsigned xen_server_id(const struct hv_server *s)
{
    return s->id;
}

void hv_server_free(struct hv_server *s)
{
    const struct hypervisor *hv;

    if (s == NULL) {
        return;
    }
    hv = s->hv;
    if (!hv->adopting) {
        /* When the domain is gone so is the server: nothing to say about that. */
        xendevicemodel_destroy_ioreq_server(hv->xen->dmod, domid(hv), s->id);
    }
    g_array_free(s->ranges, TRUE);
    g_free(s);
}

/* ---- what is forwarded ---- */

/* The calls themselves; 0 or -1 with errno. */
static int forward(struct hv_server *s, const struct xen_range *r, bool on)
{
    struct hypervisor *hv = s->hv;
    struct xen_handles *xen = hv->xen;
    int mmio = r->kind == XEN_RANGE_MMIO;
    uint8_t device = (uint8_t)(r->first >> 3), function = (uint8_t)(r->first & 7);

    if (r->kind == XEN_RANGE_PCI) {
        return on ? xendevicemodel_map_pcidev_to_ioreq_server(xen->dmod, domid(hv), s->id, 0, 0,
                                                              device, function)
                  : xendevicemodel_unmap_pcidev_from_ioreq_server(xen->dmod, domid(hv), s->id, 0, 0,
                                                                  device, function);
    }
    hv->counters.range_calls++;
    return on ? xendevicemodel_map_io_range_to_ioreq_server(xen->dmod, domid(hv), s->id, mmio,
                                                            r->first, r->last)
              : xendevicemodel_unmap_io_range_from_ioreq_server(xen->dmod, domid(hv), s->id, mmio,
                                                                r->first, r->last);
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

static int range_add(struct hv_server *s, struct xen_range r, const char *what)
{
    if (!s->hv->adopting && forward(s, &r, true) != 0) {
        return hv_refused(s->hv, what, r.first, r.last);
    }
    g_array_append_val(s->ranges, r);
    return 0;
}

static void range_del(struct hv_server *s, struct xen_range r, const char *what)
{
    size_t i = range_find((struct xen_range *)s->ranges->data, s->ranges->len, &r);

    if (i < s->ranges->len) {
        g_array_remove_index_fast(s->ranges, (guint)i);
    }
    if (!s->hv->adopting && forward(s, &r, false) != 0) {
        hv_failed(s->hv, what, r.first, r.last);
    }
}

int hvs_range_add(struct hv_server *s, enum hv_space space, uint64_t first, uint64_t last)
{
    bool mmio = space == HV_SPACE_MMIO;

    return range_add(s, (struct xen_range){mmio ? XEN_RANGE_MMIO : XEN_RANGE_PIO, first, last},
                     mmio ? "forward a memory range" : "forward a port range");
}

void hvs_range_del(struct hv_server *s, enum hv_space space, uint64_t first, uint64_t last)
{
    bool mmio = space == HV_SPACE_MMIO;

    range_del(s, (struct xen_range){mmio ? XEN_RANGE_MMIO : XEN_RANGE_PIO, first, last},
              mmio ? "stop forwarding a memory range" : "stop forwarding a port range");
}

int hvs_pci_function_add(struct hv_server *s, unsigned devfn)
{
    return range_add(s, (struct xen_range){XEN_RANGE_PCI, devfn, devfn}, "forward a PCI function");
}

void hvs_pci_function_del(struct hv_server *s, unsigned devfn)
{
    range_del(s, (struct xen_range){XEN_RANGE_PCI, devfn, devfn}, "stop forwarding a PCI function");
}

/* ---- live update ---- */

const struct xen_range *xen_server_ranges(const struct hv_server *s, size_t *count)
{
    *count = s->ranges->len;
    return (const struct xen_range *)s->ranges->data;
}

int xen_server_hand_on(struct hv_server *s, const struct xen_range *now, size_t len, GError **err)
{
    const struct xen_range *before = (const struct xen_range *)s->ranges->data;
    size_t count = s->ranges->len;

    for (size_t i = 0; i < len; i++) {
        int e;

        if (range_find(before, count, &now[i]) < count || forward(s, &now[i], true) == 0) {
            continue;
        }
        e = errno;
        if (e == EEXIST) {
            continue;
        }
        while (i-- > 0) {
            if (range_find(before, count, &now[i]) == count) {
                forward(s, &now[i], false);
            }
        }
        g_set_error(err, XENDM_ERROR, e, "Xen refuses to forward what the new program serves: %s",
                    g_strerror(e));
        return -e;
    }
    for (size_t i = 0; i < count; i++) {
        if (range_find(now, len, &before[i]) == len && forward(s, &before[i], false) != 0) {
            hv_failed(s->hv, "stop forwarding what the new program does not serve", before[i].first,
                      before[i].last);
        }
    }
    return 0;
}

void xen_server_take_back(struct hv_server *s, const struct xen_range *now, size_t len)
{
    const struct xen_range *ours = (const struct xen_range *)s->ranges->data;
    size_t count = s->ranges->len;

    for (size_t i = 0; i < count; i++) {
        if (range_find(now, len, &ours[i]) == len && forward(s, &ours[i], true) != 0 &&
            errno != EEXIST) {
            hv_failed(s->hv, "forward again what we serve", ours[i].first, ours[i].last);
        }
    }
    for (size_t i = 0; i < len; i++) {
        if (range_find(ours, count, &now[i]) == count && forward(s, &now[i], false) != 0) {
            hv_failed(s->hv, "stop forwarding what the new program served", now[i].first,
                      now[i].last);
        }
    }
}
