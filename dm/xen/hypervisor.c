/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xendm/hypervisor.h on libxendevicemodel: interrupts, the guest's end and sleep. Memory is in
 * memory.c, what is forwarded to us in server.c. docs/toolstack.md has what Xen asks.
 */
#include <errno.h>
#include <string.h>

#include <xendm/error.h>
#include <xendm/log.h>
#include <xendm/tape.h>

#include "ctrl.h"
#include "internal.h"

#include <xen/sched.h>

_Static_assert((int)HV_SHUTDOWN_POWEROFF == SHUTDOWN_poweroff &&
                   (int)HV_SHUTDOWN_REBOOT == SHUTDOWN_reboot &&
                   (int)HV_SHUTDOWN_CRASH == SHUTDOWN_crash &&
                   (int)HV_SHUTDOWN_WATCHDOG == SHUTDOWN_watchdog,
               "reasons are passed through");

/* ---- life ---- */

struct hypervisor *xen_hypervisor_new(struct xen_handles *xen, bool adopt)
{
    struct hypervisor *hv = g_new0(struct hypervisor, 1);

    hv->xen = xen;
    hv->adopting = adopt;
    return hv;
}

void xen_hypervisor_adopted(struct hypervisor *hv)
{
    hv->adopting = false;
}

void xen_hypervisor_let_go(struct hypervisor *hv)
{
    hv->adopting = true;
}

void xen_hypervisor_free(struct hypervisor *hv)
{
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
int hv_failed(struct hypervisor *hv, const char *what, uint64_t a, uint64_t b)
{
    int e = errno;
    uint64_t n = ++hv->counters.failures;

    if (n <= 16 || (n & (n - 1)) == 0) {
        log_error(LOG_DM, "Xen refused to %s (%#llx, %#llx): %s (failure %llu)", what,
                  (unsigned long long)a, (unsigned long long)b, strerror(e), (unsigned long long)n);
    }
    return -e;
}

int hv_refused(struct hypervisor *hv, const char *what, uint64_t a, uint64_t b)
{
    int e = errno;

    if (hv->serving) {
        return hv_failed(hv, what, a, b);
    }
    hv->counters.failures++;
    return -e;
}

void xen_hypervisor_serving(struct hypervisor *hv)
{
    hv->serving = true;
}

/* ---- interrupts ---- */

static void interrupt_lost(struct hypervisor *hv, const char *what, uint64_t a, uint64_t b)
{
    hv->counters.interrupt_failures++;
    hv_failed(hv, what, a, b);
}

void hv_isa_irq_set(struct hypervisor *hv, unsigned irq, bool level)
{
    if (hv->adopting) {
        return;
    }
    if (tape_on()) {
        tape_fact(TAPE_IRQ, NULL, (uint64_t[]){irq, level}, NULL, 0);
    }
    hv->counters.irq_calls++;
    if (xendevicemodel_set_isa_irq_level(hv->xen->dmod, domid(hv), (uint8_t)irq, level) != 0) {
        interrupt_lost(hv, "set an ISA interrupt level", irq, level);
    }
}

void hv_pci_intx_set(struct hypervisor *hv, unsigned device, unsigned pin, bool level)
{
    if (hv->adopting) {
        return;
    }
    if (tape_on()) {
        tape_fact(TAPE_INTX, NULL, (uint64_t[]){device, pin, level}, NULL, 0);
    }
    hv->counters.irq_calls++;
    if (xendevicemodel_set_pci_intx_level(hv->xen->dmod, domid(hv), 0, 0, (uint8_t)device,
                                          (uint8_t)pin, level) != 0) {
        interrupt_lost(hv, "set a PCI interrupt level", device << 2 | pin, level);
    }
}

void hv_pci_link_route(struct hypervisor *hv, unsigned link, unsigned isa_irq)
{
    if (tape_on()) {
        tape_fact(TAPE_LINK, NULL, (uint64_t[]){link, isa_irq}, NULL, 0);
    }
    if (!hv->adopting && xendevicemodel_set_pci_link_route(hv->xen->dmod, domid(hv), (uint8_t)link,
                                                           (uint8_t)isa_irq) != 0) {
        hv_failed(hv, "route a PCI link", link, isa_irq);
    }
}

void hv_msi_inject(struct hypervisor *hv, uint64_t address, uint32_t data)
{
    if (hv->adopting) {
        return;
    }
    if (tape_on()) {
        tape_fact(TAPE_MSI, NULL, (uint64_t[]){address, data}, NULL, 0);
    }
    hv->counters.msi_calls++;
    if (xendevicemodel_inject_msi(hv->xen->dmod, domid(hv), address, data) != 0) {
        interrupt_lost(hv, "inject an MSI", address, data);
    }
}

/* ---- the guest's end and sleep ---- */

int hv_shutdown(struct hypervisor *hv, enum hv_shutdown reason)
{
    if (tape_on()) {
        tape_fact(TAPE_SHUTDOWN, NULL, (uint64_t[]){reason}, NULL, 0);
    }
    if (hv->shut_down || hv->adopting) {
        return 0;
    }
    if (xendevicemodel_shutdown(hv->xen->dmod, domid(hv), reason) != 0) {
        return hv_failed(hv, "shut the domain down", reason, 0);
    }
    hv->shut_down = true;
    return 0;
}

static int set_s_state(struct hypervisor *hv, unsigned state)
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
        hv_failed(hv, "set the ACPI sleep state", state, 0);
    }
    return err;
}

int hv_acpi_s_state_set(struct hypervisor *hv, unsigned state)
{
    int err = set_s_state(hv, state);
    uint64_t n[] = {state, (uint64_t)-err};

    if (tape_on()) {
        tape_fact(TAPE_SLEEP, NULL, n, NULL, 0);
    }
    return -(int)MIN(n[1], TAPE_ERRNO_MAX);
}
