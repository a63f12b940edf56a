/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A domain: its state, its HVM parameters, and the devices that Xen itself emulates for it. */
#ifndef XENEMU_DOMAIN_H
#define XENEMU_DOMAIN_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <xen/xen.h>
#include <xen/hvm/ioreq.h>
#include <xen/hvm/params.h>
#include "dirty.h"
#include "evtchn.h"
#include "gnttab.h"
#include "ioreq-request.h"
#include "ioreq-server.h"
#include "irq.h"
#include "loop.h"
#include "mappings.h"
#include "memory.h"
#include "monitor.h"

#define XE_MAX_PARAMS 64u

struct xen_devices;

struct domain {
    struct host *host;
    uint32_t id;
    uint8_t uuid[16];
    char *name;
    unsigned int inflight; /* accesses in progress */

    int memfd;
    uint8_t *mem;
    uint64_t mem_pages; /* size of the memfd and of `mem` */
    uint64_t next_mfn;
    GArray *runs;    /* struct mem_run */
    GArray *zombies; /* freed while mapped: counted until unmapped */
    uint64_t tot_pages, max_pages, max_gfn;
    struct dirty_log log, modified, vram;
    uint64_t vram_first, vram_nr;
    bool vram_fresh;
    GArray *pinned; /* struct mem_run: type = memory type */

    uint64_t params[XE_MAX_PARAMS];
    uint64_t ioreq_gfn_mask, legacy_gfn_mask;

    unsigned int nr_vcpus;
    struct vcpu *vcpu;
    struct server *server[XE_MAX_SERVERS];
    struct server *mem_server; /* owner of MEM_IOREQ_SERVER pages */
    uint32_t mem_server_flags;

    GPtrArray *ports;   /* struct port *, index = number */
    GHashTable *grants; /* ref → struct grant */

    uint32_t pci_intx[4]; /* bit per device, by pin */
    uint16_t isa_level;
    uint8_t link_route[XE_MAX_LINKS], link_count[XE_MAX_LINKS];
    uint8_t gsi_count[XE_NR_GSI];
    uint64_t gsi_level; /* bit per line, what the IO-APIC sees */
    uint64_t irq_ops, irq_ops_same;
    GArray *msi; /* struct msi_record, at most 4096 */
    uint64_t msi_total;
    GPtrArray *pt_log; /* strings */

    uint32_t cf8;
    struct xen_devices *xen;

    bool paused, shutdown, crashed;
    uint32_t shutdown_reason;
    char *crash_why;
    bool dying;
    bool debugged;
    struct monitor monitor;
};

struct xen_devices *xen_devices_new(void);
uint8_t xen_pic_mask(const struct domain *d, unsigned int pic);
void xen_ioapic(const struct domain *d, struct hvm_hw_vioapic *to);
void xen_lapic(const struct domain *d, struct hvm_hw_lapic_regs *to);
bool xen_intercept(struct domain *d, const ioreq_t *req);
uint64_t xen_read(struct domain *d, const ioreq_t *req, uint64_t addr);
void xen_write(struct domain *d, const ioreq_t *req, uint64_t addr, uint64_t data);
int param_set(struct domain *d, uint32_t index, uint64_t value);
int param_get(struct domain *d, uint32_t index, uint64_t *value);

#endif
