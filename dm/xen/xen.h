/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Xen, as the daemon's main() sees it: the handles, the implementation of xendm/hypervisor.h on
 * them, and guest memory.
 *
 * Order: xen_handles_open → xen_domain_info → xen_hypervisor_new → hv_server_new (so that regions
 * can be registered) → xen_guestmem_new → machine, board → ioreq_server_open (dm/ioreq/ioreq.h;
 * enables) → xen_restrict. Ending is the reverse. xen_handles_close() comes last.
 *
 * No type of Xen's is named here: whoever includes this sees none of Xen's headers.
 */
#ifndef DM_XEN_HYPERVISOR_H
#define DM_XEN_HYPERVISOR_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include <xendm/hypervisor.h>
#include <xendm/mapcache.h>

struct hv_server;
struct machine_desc;
struct xendevicemodel_handle;
struct xenevtchn_handle;
struct xenforeignmemory_handle;

struct xen_handles;

struct xen_handles *xen_handles_open(unsigned domid, GError **err);
/* Live update: event channels by their descriptor, with its bindings, in place of our own. */
int xen_handles_take_events(struct xen_handles *xen, int fd, GError **err);
void xen_handles_close(struct xen_handles *xen);

/*
 * From here on no handle reaches another domain, and libxenctrl and xenstore are dead; tell
 * xenstore_restricted().
 */
int xen_restrict(struct xen_handles *xen, GError **err);

unsigned xen_domid(const struct xen_handles *xen);
int xen_evtchn_fd(const struct xen_handles *xen); /* with its bindings, for a live update */
/* For dm/ioreq, which includes the headers of the libraries. */
struct xendevicemodel_handle *xen_devicemodel(const struct xen_handles *xen);
struct xenforeignmemory_handle *xen_foreignmemory(const struct xen_handles *xen);
struct xenevtchn_handle *xen_evtchn(const struct xen_handles *xen);

/* What main() puts into struct machine. */
struct xen_domain_info {
    /* what Xen made, which is what the ioreq page and event channels go by */
    unsigned vcpus;
    uint64_t ram_low_end, ram_high_end;
};
int xen_domain_info(struct xen_handles *xen, const struct machine_desc *desc,
                    struct xen_domain_info *info, GError **err);

/* RAM as the toolstack lays it out: up to `below_4g` (0: 0xF0000000), the rest from 4 GiB. */
void xen_ram_layout(uint64_t ram_bytes, uint64_t below_4g, uint64_t *low_end, uint64_t *high_end);

/* `adopt`: the domain has a device model, whose work we go on with; see below. */
struct hypervisor *xen_hypervisor_new(struct xen_handles *xen, bool adopt);
void xen_hypervisor_free(struct hypervisor *hv); /* its servers go first */

/*
 * Live update. What is forwarded to a server is kept as a list. The successor adopts the servers:
 * until it serves nothing is changed in Xen, only noted, so that a machine can be built and thrown
 * away under a running guest. What Xen forwards is changed by the side that goes, which can take it
 * back: hand_on, with the successor's list; on failure it is what it was. Having let go, a side
 * tells Xen nothing any more, and destroys nothing.
 */
struct xen_range {
    enum { XEN_RANGE_PIO, XEN_RANGE_MMIO, XEN_RANGE_PCI } kind;
    uint64_t first, last; /* PCI: devfn, twice */
};
struct hv_server *xen_server_adopt(struct hypervisor *hv, unsigned id);
unsigned xen_server_id(const struct hv_server *s);
const struct xen_range *xen_server_ranges(const struct hv_server *s, size_t *count);
int xen_server_hand_on(struct hv_server *s, const struct xen_range *now, size_t len, GError **err);
void xen_server_take_back(struct hv_server *s, const struct xen_range *now, size_t len);
/* From here on Xen is told. */
void xen_hypervisor_adopted(struct hypervisor *hv);
void xen_hypervisor_let_go(struct hypervisor *hv);
/* The machine was built: from now on nobody else reports what Xen refuses. */
void xen_hypervisor_serving(struct hypervisor *hv);
bool xen_hypervisor_log_dirty(const struct hypervisor *hv);
/* QMP xen-set-global-dirty-log: whether what we write to guest memory is reported to Xen. */
void xen_hypervisor_set_log_dirty(struct hypervisor *hv, bool on);

struct xen_hypervisor_counters {
    uint64_t irq_calls, msi_calls, range_calls, modified_calls, failures, interrupt_failures;
};
void xen_hypervisor_counters(const struct hypervisor *hv, struct xen_hypervisor_counters *out);

/* Guest memory by foreign mappings. The end of it: mapcache_free(). */
struct guestmem *xen_guestmem_new(struct hypervisor *hv, const struct mapcache_limits *limits);

#endif
