/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libxendevicemodel.so.1: every dm_op is one request, numbered as in xen/hvm/dm_op.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xendevicemodel.h>
#include "client.h"

struct xendevicemodel_handle {
    struct xe_client client; /* must be first */
};

#define DM(h, domid, nr, ...) dm_op((h), (domid), (nr), (const uint64_t[6]){__VA_ARGS__})

static int dm_op(xendevicemodel_handle *h, domid_t domid, unsigned int nr, const uint64_t a[6])
{
    return xe_simple(&h->client, XE_OP_DM + nr, domid, a, 6);
}

xendevicemodel_handle *xendevicemodel_open(struct xentoollog_logger *logger,
                                           unsigned int open_flags)
{
    (void)logger, (void)open_flags;
    return xe_client_open(sizeof(struct xendevicemodel_handle), "xendevicemodel", xe_restrict_rpc);
}

int xendevicemodel_close(xendevicemodel_handle *h)
{
    return xe_client_close((struct xe_client *)h);
}

int xendevicemodel_restrict(xendevicemodel_handle *h, domid_t domid)
{
    return xe_restrict_rpc(&h->client.tc, domid);
}

int xendevicemodel_create_ioreq_server(xendevicemodel_handle *h, domid_t domid, int handle_bufioreq,
                                       ioservid_t *id)
{
    struct xe_req req = {.magic = XE_MAGIC,
                         .op = XE_OP_DM + XEN_DMOP_create_ioreq_server,
                         .domid = domid,
                         .a = {(uint64_t)handle_bufioreq}};
    struct xe_rep rep;

    if (xe_call(&h->client, &req, NULL, 0, &rep, NULL, 0, NULL) < 0)
        return -1;
    *id = (ioservid_t)rep.a[0];
    return 0;
}

int xendevicemodel_get_ioreq_server_info(xendevicemodel_handle *h, domid_t domid, ioservid_t id,
                                         xen_pfn_t *ioreq_gfn, xen_pfn_t *bufioreq_gfn,
                                         evtchn_port_t *bufioreq_port)
{
    struct xe_req req = {.magic = XE_MAGIC,
                         .op = XE_OP_DM + XEN_DMOP_get_ioreq_server_info,
                         .domid = domid,
                         .a = {id, !ioreq_gfn && !bufioreq_gfn ? XEN_DMOP_no_gfns : 0}};
    struct xe_rep rep;

    if (xe_call(&h->client, &req, NULL, 0, &rep, NULL, 0, NULL) < 0)
        return -1;
    if (ioreq_gfn)
        *ioreq_gfn = rep.a[0];
    if (bufioreq_gfn)
        *bufioreq_gfn = rep.a[1];
    if (bufioreq_port)
        *bufioreq_port = (evtchn_port_t)rep.a[2];
    return 0;
}

int xendevicemodel_map_io_range_to_ioreq_server(xendevicemodel_handle *h, domid_t domid,
                                                ioservid_t id, int is_mmio, uint64_t start,
                                                uint64_t end)
{
    return DM(h, domid, XEN_DMOP_map_io_range_to_ioreq_server, id, is_mmio ? 1 : 0, start, end);
}

int xendevicemodel_unmap_io_range_from_ioreq_server(xendevicemodel_handle *h, domid_t domid,
                                                    ioservid_t id, int is_mmio, uint64_t start,
                                                    uint64_t end)
{
    return DM(h, domid, XEN_DMOP_unmap_io_range_from_ioreq_server, id, is_mmio ? 1 : 0, start, end);
}

int xendevicemodel_map_mem_type_to_ioreq_server(xendevicemodel_handle *h, domid_t domid,
                                                ioservid_t id, uint16_t type, uint32_t flags)
{
    return DM(h, domid, XEN_DMOP_map_mem_type_to_ioreq_server, id, type, flags);
}

static uint64_t dm_sbdf(uint16_t segment, uint8_t bus, uint8_t device, uint8_t function)
{
    return XEN_DMOP_PCI_SBDF((uint64_t)segment, bus, device, function);
}

int xendevicemodel_map_pcidev_to_ioreq_server(xendevicemodel_handle *h, domid_t domid,
                                              ioservid_t id, uint16_t segment, uint8_t bus,
                                              uint8_t device, uint8_t function)
{
    uint64_t sbdf = dm_sbdf(segment, bus, device, function);

    if (device > 0x1f || function > 7) {
        errno = EINVAL;
        return -1;
    }
    return DM(h, domid, XEN_DMOP_map_io_range_to_ioreq_server, id, 2, sbdf, sbdf);
}

int xendevicemodel_unmap_pcidev_from_ioreq_server(xendevicemodel_handle *h, domid_t domid,
                                                  ioservid_t id, uint16_t segment, uint8_t bus,
                                                  uint8_t device, uint8_t function)
{
    uint64_t sbdf = dm_sbdf(segment, bus, device, function);

    if (device > 0x1f || function > 7) {
        errno = EINVAL;
        return -1;
    }
    return DM(h, domid, XEN_DMOP_unmap_io_range_from_ioreq_server, id, 2, sbdf, sbdf);
}

int xendevicemodel_destroy_ioreq_server(xendevicemodel_handle *h, domid_t domid, ioservid_t id)
{
    return DM(h, domid, XEN_DMOP_destroy_ioreq_server, id);
}

int xendevicemodel_set_ioreq_server_state(xendevicemodel_handle *h, domid_t domid, ioservid_t id,
                                          int enabled)
{
    return DM(h, domid, XEN_DMOP_set_ioreq_server_state, id, !!enabled);
}

int xendevicemodel_set_pci_intx_level(xendevicemodel_handle *h, domid_t domid, uint16_t segment,
                                      uint8_t bus, uint8_t device, uint8_t intx, unsigned int level)
{
    return DM(h, domid, XEN_DMOP_set_pci_intx_level, segment, bus, device, intx, level);
}

int xendevicemodel_set_isa_irq_level(xendevicemodel_handle *h, domid_t domid, uint8_t irq,
                                     unsigned int level)
{
    return DM(h, domid, XEN_DMOP_set_isa_irq_level, irq, level);
}

int xendevicemodel_set_irq_level(xendevicemodel_handle *h, domid_t domid, unsigned int irq,
                                 unsigned int level)
{
    (void)h, (void)domid, (void)irq, (void)level;
    errno = EOPNOTSUPP; /* Arm only; what x86 Xen answers */
    return -1;
}

int xendevicemodel_set_pci_link_route(xendevicemodel_handle *h, domid_t domid, uint8_t link,
                                      uint8_t irq)
{
    return DM(h, domid, XEN_DMOP_set_pci_link_route, link, irq);
}

int xendevicemodel_inject_msi(xendevicemodel_handle *h, domid_t domid, uint64_t msi_addr,
                              uint32_t msi_data)
{
    return DM(h, domid, XEN_DMOP_inject_msi, msi_addr, msi_data);
}

int xendevicemodel_track_dirty_vram(xendevicemodel_handle *h, domid_t domid, uint64_t first_pfn,
                                    uint32_t nr, unsigned long *dirty_bitmap)
{
    struct xe_req req = {.magic = XE_MAGIC,
                         .op = XE_OP_DM + XEN_DMOP_track_dirty_vram,
                         .domid = domid,
                         .n = nr,
                         .a = {first_pfn}};
    struct xe_rep rep;

    return xe_call(&h->client, &req, NULL, 0, &rep, dirty_bitmap,
                   dirty_bitmap ? ((size_t)nr + 7) / 8 : 0, NULL) < 0
               ? -1
               : 0;
}

int xendevicemodel_modified_memory_bulk(xendevicemodel_handle *h, domid_t domid,
                                        struct xen_dm_op_modified_memory_extent extents[],
                                        uint32_t nr)
{
    enum { BATCH = XE_PAYLOAD_MAX / sizeof(struct xe_extent) };
    struct xe_extent *x;
    uint32_t done, i;
    int r = 0;

    x = calloc(nr < BATCH ? (nr ? nr : 1) : BATCH, sizeof(*x));
    if (!x)
        return -1;
    for (done = 0; done < nr && !r;) {
        uint32_t n = nr - done < BATCH ? nr - done : BATCH;
        struct xe_req req = {.magic = XE_MAGIC,
                             .op = XE_OP_DM + XEN_DMOP_modified_memory,
                             .domid = domid,
                             .n = n};
        struct xe_rep rep;

        for (i = 0; i < n; i++) {
            x[i].pfn = extents[done + i].first_pfn;
            x[i].nr = extents[done + i].nr;
        }
        if (xe_call(&h->client, &req, x, n * sizeof(*x), &rep, NULL, 0, NULL) < 0)
            r = -1;
        done += n;
    }
    i = (uint32_t)errno;
    free(x);
    errno = (int)i;
    return r;
}

int xendevicemodel_modified_memory(xendevicemodel_handle *h, domid_t domid, uint64_t first_pfn,
                                   uint32_t nr)
{
    struct xen_dm_op_modified_memory_extent e = {.first_pfn = first_pfn, .nr = nr};

    return xendevicemodel_modified_memory_bulk(h, domid, &e, 1);
}

int xendevicemodel_set_mem_type(xendevicemodel_handle *h, domid_t domid, hvmmem_type_t mem_type,
                                uint64_t first_pfn, uint32_t nr)
{
    return DM(h, domid, XEN_DMOP_set_mem_type, (uint64_t)mem_type, first_pfn, nr);
}

int xendevicemodel_inject_event(xendevicemodel_handle *h, domid_t domid, int vcpu, uint8_t vector,
                                uint8_t type, uint32_t error_code, uint8_t insn_len, uint64_t extra)
{
    return DM(h, domid, XEN_DMOP_inject_event, (uint64_t)vcpu, vector, type, error_code, insn_len,
              extra);
}

int xendevicemodel_shutdown(xendevicemodel_handle *h, domid_t domid, unsigned int reason)
{
    return DM(h, domid, XEN_DMOP_remote_shutdown, reason);
}

int xendevicemodel_relocate_memory(xendevicemodel_handle *h, domid_t domid, uint32_t size,
                                   uint64_t src_gfn, uint64_t dst_gfn)
{
    return DM(h, domid, XEN_DMOP_relocate_memory, size, src_gfn, dst_gfn);
}

int xendevicemodel_pin_memory_cacheattr(xendevicemodel_handle *h, domid_t domid, uint64_t start,
                                        uint64_t end, uint32_t type)
{
    return DM(h, domid, XEN_DMOP_pin_memory_cacheattr, start, end, type);
}

int xendevicemodel_nr_vcpus(xendevicemodel_handle *h, domid_t domid, unsigned int *vcpus)
{
    struct xe_req req = {.magic = XE_MAGIC, .op = XE_OP_DM + XEN_DMOP_nr_vcpus, .domid = domid};
    struct xe_rep rep;

    if (xe_call(&h->client, &req, NULL, 0, &rep, NULL, 0, NULL) < 0)
        return -1;
    *vcpus = (unsigned int)rep.a[0];
    return 0;
}
