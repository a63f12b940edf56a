/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the emulated machine asks of the hypervisor, free of Xen's types. dm/ implements it on
 * libxendevicemodel; unit tests link tests/unit/fake-hypervisor.c. A failed call is logged here
 * (our or the host's fault, never the guest's), so functions whose callers could do nothing about
 * it return nothing.
 */
#ifndef XENDM_HYPERVISOR_H
#define XENDM_HYPERVISOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

struct hypervisor;

#define GUEST_PAGE_SHIFT 12
#define GUEST_PAGE_SIZE 4096u

/* Reasons of public/sched.h SHUTDOWN_* that a device model may raise (DMOP_remote_shutdown). */
enum hv_shutdown {
    HV_SHUTDOWN_POWEROFF = 0,
    HV_SHUTDOWN_REBOOT = 1,
    HV_SHUTDOWN_CRASH = 3,
    HV_SHUTDOWN_WATCHDOG = 4,
};

/*
 * Interrupts. `irq` 0..15; `device` 0..31 on bus 0, `pin` 0..3 = INTA..INTD; `link` 0..3, `isa_irq`
 * 0 = disabled.
 */
void hv_isa_irq_set(struct hypervisor *hv, unsigned irq, bool level);
void hv_pci_intx_set(struct hypervisor *hv, unsigned device, unsigned pin, bool level);
void hv_pci_link_route(struct hypervisor *hv, unsigned link, unsigned isa_irq);
void hv_msi_inject(struct hypervisor *hv, uint64_t address, uint32_t data);

/*
 * What is forwarded to us belongs to a server, of which a process and a domain may have more than
 * one: inclusive ranges of ports or guest-physical addresses, and PCI functions by devfn on bus 0.
 */
struct hv_server;
enum hv_space {
    HV_SPACE_PIO,
    HV_SPACE_MMIO,
};
struct hv_server *hv_server_new(struct hypervisor *hv, GError **err);
void hv_server_free(struct hv_server *s);
int hvs_range_add(struct hv_server *s, enum hv_space space, uint64_t first, uint64_t last);
void hvs_range_del(struct hv_server *s, enum hv_space space, uint64_t first, uint64_t last);
int hvs_pci_function_add(struct hv_server *s, unsigned devfn);
void hvs_pci_function_del(struct hv_server *s, unsigned devfn);

/*
 * The guest ends. May be called more than once; the first reason counts. -errno: it does not, Xen
 * refuses.
 */
int hv_shutdown(struct hypervisor *hv, enum hv_shutdown reason);

/*
 * HVM_PARAM_ACPI_S_STATE: 3 suspends every vCPU, 0 resumes. -EPERM once the process is restricted.
 */
int hv_acpi_s_state_set(struct hypervisor *hv, unsigned state);

/*
 * Guest pages that a device owns (video memory). Populate fails with -ENOMEM beyond the domain's
 * allowance (contract
 * 4.5). Relocate moves `pages` pages, keeps their contents, and fails half-way only with an error.
 * Log-dirty marking of pages that we wrote is a no-op while nobody migrates.
 */
int hv_memory_populate(struct hypervisor *hv, uint64_t gfn, size_t pages);
int hv_memory_relocate(struct hypervisor *hv, uint64_t from_gfn, uint64_t to_gfn, size_t pages);
void hv_memory_write_combine(struct hypervisor *hv, uint64_t gfn, size_t pages, bool on);
void hv_memory_modified(struct hypervisor *hv, uint64_t gfn, size_t pages);

/*
 * Which of `pages` pages from `gfn` the guest wrote since the last call; bit n of bitmap[n / 64] is
 * page n. The first call for a range reports all. pages = 0 ends the tracking. Any error means
 * "treat all as dirty".
 */
int hv_memory_dirty(struct hypervisor *hv, uint64_t gfn, size_t pages, uint64_t *bitmap);

/*
 * A mapping of device-owned guest pages that lives as long as the device: video memory. NULL with
 * errno set.
 */
void *hv_memory_map(struct hypervisor *hv, uint64_t gfn, size_t pages);
void hv_memory_unmap(struct hypervisor *hv, void *ptr, size_t pages);

#endif
