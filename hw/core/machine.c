/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine and its life; see xendm/machine.h. */
#include <errno.h>
#include <string.h>

#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/probe.h>
#include <xendm/recorder.h>

#include "core.h"

#define MMIO_ADDRESS_BITS 48

static int pio_add(void *opaque, uint64_t first, uint64_t last)
{
    return hvs_range_add(opaque, HV_SPACE_PIO, first, last);
}

static void pio_del(void *opaque, uint64_t first, uint64_t last)
{
    hvs_range_del(opaque, HV_SPACE_PIO, first, last);
}

static int mmio_add(void *opaque, uint64_t first, uint64_t last)
{
    return hvs_range_add(opaque, HV_SPACE_MMIO, first, last);
}

static void mmio_del(void *opaque, uint64_t first, uint64_t last)
{
    hvs_range_del(opaque, HV_SPACE_MMIO, first, last);
}

static const struct aspace_listener pio_listener = {.range_add = pio_add, .range_del = pio_del};
static const struct aspace_listener mmio_listener = {.range_add = mmio_add, .range_del = mmio_del};

static void isa_irq_changed(void *opaque, unsigned number, bool level)
{
    struct machine *m = opaque;

    recorder_note(REC_IRQ, level, number, 0);
    PROBE3(interrupt, 0, number, level);
    hv_isa_irq_set(m->hv, number, level);
}

struct machine *machine_new(struct hypervisor *hv, struct hv_server *server,
                            struct guestmem *memory, struct vclock *clock)
{
    struct machine_private *p = g_new0(struct machine_private, 1);
    struct machine *m = &p->m;

    m->hv = hv;
    m->server = server;
    m->memory = memory;
    m->clock = clock;
    m->state = MACHINE_BUILDING;
    p->after_start = MACHINE_RUNNING;
    m->pio = aspace_new("pio", 16);
    aspace_set_listener(m->pio, &pio_listener, server);
    m->mmio = aspace_new("mmio", MMIO_ADDRESS_BITS);
    aspace_set_listener(m->mmio, &mmio_listener, server);
    for (unsigned i = 0; i < G_N_ELEMENTS(m->isa_irq); i++) {
        irq_line_init(&m->isa_irq[i], isa_irq_changed, m, i);
    }
    m->devices = g_ptr_array_new();
    p->windows = g_ptr_array_new();
    p->buses = g_ptr_array_new();
    p->leaving = g_ptr_array_new();
    if (memory) {
        guestmem_set_listener(memory, dma_windows_unmap, m);
    }
    m->pci = pci_bus_new(m);
    return m;
}

void machine_free(struct machine *m)
{
    struct machine_private *p = machine_private(m);

    if (p->leaving_source) {
        g_source_remove(p->leaving_source);
    }
    device_free_leaving(m);
    while (m->devices->len > 0) {
        device_free(g_ptr_array_index(m->devices, m->devices->len - 1));
    }
    g_ptr_array_free(m->devices, TRUE);
    g_ptr_array_free(p->windows, TRUE);
    g_ptr_array_free(p->leaving, TRUE);
    if (m->memory) {
        guestmem_set_listener(m->memory, NULL, NULL);
    }
    pci_bus_free(m->pci);
    g_ptr_array_free(p->buses, TRUE);
    aspace_free(m->mmio);
    aspace_free(m->pio);
    g_free(machine_private(m));
}

struct device *machine_find(struct machine *m, const char *id)
{
    for (unsigned i = 0; i < m->devices->len; i++) {
        struct device *dev = g_ptr_array_index(m->devices, i);

        if (strcmp(dev->id, id) == 0) {
            return dev;
        }
    }
    return NULL;
}

static inline struct device *device_at(struct machine *m, unsigned i)
{
    return g_ptr_array_index(m->devices, i);
}

static void set_state(struct machine *m, enum machine_state now)
{
    enum machine_state before = m->state;

    if (now == before) {
        return;
    }
    m->state = now;
    recorder_note(REC_LIFE, 0, now, before);
    PROBE2(state, now, before);
    if (m->events && m->events->state_changed) {
        m->events->state_changed(m->events_opaque, now, before);
    }
}

/* ---- reset, start, stop ---- */

void machine_reset(struct machine *m, enum reset_reason why)
{
    recorder_note(REC_RESET, 0, why, 0);
    /* The bus first, for all: from here on nobody masters it or has an interrupt pending. */
    for (unsigned i = 0; i < m->devices->len; i++) {
        struct device *dev = device_at(m, i);

        if (pci_device_is(dev)) {
            /* What PV drivers had unplugged stays out over S3: they still use the disks behind it.
             */
            if (why == RESET_COLD) {
                pci_function_power_on((struct pci_device *)dev);
            } else {
                pci_device_reset((struct pci_device *)dev);
            }
        }
    }
    for (unsigned i = 0; i < m->devices->len; i++) {
        device_reset(device_at(m, i), why);
    }
}

void machine_complete(struct machine *m)
{
    XENDM_ASSERT(m->state == MACHINE_BUILDING);
    for (unsigned i = 0; i < m->devices->len; i++) {
        XENDM_ASSERT(device_at(m, i)->phase == DEVICE_REALIZED);
    }
    machine_reset(m, RESET_COLD);
    set_state(m, MACHINE_STOPPED);
}

void machine_start(struct machine *m)
{
    struct machine_private *p = machine_private(m);

    XENDM_ASSERT(m->state != MACHINE_BUILDING);
    if (m->state != MACHINE_STOPPED) {
        return;
    }
    p->started = true;
    for (unsigned i = 0; i < m->devices->len; i++) {
        device_resume(device_at(m, i));
    }
    if (p->after_start == MACHINE_RUNNING) {
        vclock_start(m->clock);
    }
    set_state(m, p->after_start);
}

void machine_stop(struct machine *m)
{
    XENDM_ASSERT(m->state != MACHINE_BUILDING);
    if (m->state == MACHINE_STOPPED) {
        return;
    }
    machine_private(m)->after_start = m->state;
    vclock_stop(m->clock);
    for (unsigned i = m->devices->len; i-- > 0;) {
        device_quiesce(device_at(m, i));
    }
    set_state(m, MACHINE_STOPPED);
    dma_windows_flush(m);
}

bool machine_busy(struct machine *m)
{
    if (m->holds.held > 0) {
        return true;
    }
    for (unsigned i = 0; i < m->devices->len; i++) {
        struct device *dev = device_at(m, i);

        if (dev->phase != DEVICE_NEW && dev->class->busy && dev->class->busy(dev)) {
            return true;
        }
    }
    return device_leaving_busy(m);
}

/* ---- what the guest asks for ---- */

/* What the guest is in, stopped or not: an access that was in flight may still arrive after a stop.
 */
static enum machine_state guest_state(struct machine *m)
{
    return m->state == MACHINE_STOPPED ? machine_private(m)->after_start : m->state;
}

/* The guest went from running into `now`, or back. */
static void enter(struct machine *m, enum machine_state now)
{
    if (m->state == MACHINE_STOPPED) {
        machine_private(m)->after_start = now;
        return;
    }
    if (now == MACHINE_RUNNING) {
        vclock_start(m->clock);
    } else {
        vclock_stop(m->clock);
    }
    set_state(m, now);
}

static void request_shutdown(struct machine *m, enum hv_shutdown reason)
{
    if (guest_state(m) == MACHINE_SHUTDOWN || m->state == MACHINE_BUILDING) {
        return;
    }
    if (hv_shutdown(m->hv, reason) < 0) {
        return; /* told by the hypervisor's room; the guest runs on, and may try again */
    }
    log_info(LOG_CORE, "%s",
             reason == HV_SHUTDOWN_REBOOT     ? "the guest resets itself"
             : reason == HV_SHUTDOWN_WATCHDOG ? "the guest ends by its watchdog"
                                              : "the guest powers off");
    enter(m, MACHINE_SHUTDOWN);
}

void machine_request_reset(struct machine *m)
{
    request_shutdown(m, HV_SHUTDOWN_REBOOT);
}

void machine_request_poweroff(struct machine *m)
{
    request_shutdown(m, HV_SHUTDOWN_POWEROFF);
}

void machine_request_watchdog(struct machine *m)
{
    request_shutdown(m, HV_SHUTDOWN_WATCHDOG);
}

void machine_request_suspend(struct machine *m)
{
    int rc;

    if (guest_state(m) != MACHINE_RUNNING) {
        return;
    }
    rc = hv_acpi_s_state_set(m->hv, 3);
    if (rc < 0) {
        /*
         * After the restriction to one domain, HVM parameters are out of reach (toolstack.md 4.8).
         * Said once, because the guest may ask as often as it likes.
         */
        if (!machine_private(m)->suspend_refused) {
            machine_private(m)->suspend_refused = true;
            log_error(
                LOG_CORE,
                "the guest asks for S3, which the hypervisor refuses us (%s): it stays running",
                g_strerror(-rc));
        }
        return;
    }
    log_provoked(LOG_CORE, XLOG_INFO, "the guest suspends to RAM");
    enter(m, MACHINE_SUSPENDED);
}

int machine_wakeup(struct machine *m, GError **err)
{
    int rc;

    if (m->state != MACHINE_SUSPENDED) {
        g_set_error(err, XENDM_ERROR, EINVAL, "Unable to wake up: guest is not in suspended state");
        return -EINVAL;
    }
    tape_unrecorded("the machine is woken up");
    machine_reset(m, RESET_WAKEUP);
    rc = hv_acpi_s_state_set(m->hv, 0);
    if (rc < 0) {
        g_set_error(err, XENDM_ERROR, -rc, "the hypervisor refuses to wake up the guest: %s",
                    g_strerror(-rc));
        return rc;
    }
    log_provoked(LOG_CORE, XLOG_INFO, "the guest wakes up");
    enter(m, MACHINE_RUNNING);
    return 0;
}

void machine_request_unplug(struct machine *m, unsigned what)
{
    struct machine_private *p = machine_private(m);
    g_autoptr(GPtrArray) all = NULL;

    if (what & ~p->unplugged) {
        p->unplugged |= what;
        log_info(LOG_CORE, "the guest's PV drivers unplug emulated devices:%s%s%s%s",
                 what & UNPLUG_DISKS ? " disks" : "", what & UNPLUG_NICS ? " nics" : "",
                 what & UNPLUG_AUX_DISKS ? " aux-disks" : "", what & UNPLUG_NVME ? " nvme" : "");
    }
    /* A copy: a class may take its device out, or others. */
    all = g_ptr_array_copy(m->devices, NULL, NULL);
    for (unsigned i = 0; i < all->len; i++) {
        struct device *dev = g_ptr_array_index(all, i);

        if (dev->phase != DEVICE_NEW && dev->phase != DEVICE_LEAVING && dev->class->unplug) {
            dev->class->unplug(dev, what);
        }
    }
}

/* ---- events ---- */

void machine_event_tray(struct machine *m, const char *device_id, bool open)
{
    if (m->events && m->events->tray_moved) {
        m->events->tray_moved(m->events_opaque, device_id, open);
    }
}

void machine_event_block_error(struct machine *m, const char *device_id, const char *op, int error)
{
    if (m->events && m->events->block_error) {
        m->events->block_error(m->events_opaque, device_id, op, error);
    }
}

void machine_event_unplugged(struct machine *m, const char *device_id)
{
    if (m->events && m->events->unplugged) {
        m->events->unplugged(m->events_opaque, device_id);
    }
}
