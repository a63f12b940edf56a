/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVMe controller: PCI 1b36:0010, as QEMU's, "nvme". SeaBIOS, OVMF, GRUB, Linux, FreeBSD, Windows
 * have drivers for it.
 *
 * Source: NVM Express base specification, revision 1.4; section numbers are its. Up to 64 pairs of
 * I/O queues, PRPs and SGLs, MSI-X and the pin, several namespaces, shadow doorbells.
 *
 * Left out: controller memory buffer, persistent memory region, boot partitions, metadata and
 * protection information, reservations, fused operations, sanitize, self-tests, firmware
 * downloads, namespace management, directives, zones, SR-IOV; none of them is advertised. MSI
 * without X: no driver of today needs it.
 *
 * A controller that is reset while the host works for it is ready for the next start when the
 * host has given back everything; CSTS.RDY says so. Nobody waits for that but the guest.
 */
#include <errno.h>
#include <string.h>

#include <xendm/backend.h>
#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/hold.h>

#include "nvme.h"

#define BAR_BYTES 0x4000u
#define MSIX_TABLE 0x2000u
#define MSIX_PENDING 0x3000u
#define DOORBELLS 0x1000u

/* ---- start and end (3.1.5, 7.3, 7.6) ---- */

static bool settings_fit(const struct nvme *n)
{
    uint64_t page = UINT64_C(4096) << CC_MPS(n->cc);

    return CC_CSS(n->cc) == 0 && CC_MPS(n->cc) <= 4 && CC_AMS(n->cc) == 0 && n->asq && n->acq &&
           !((n->asq | n->acq) & (page - 1));
}

static void try_start(struct nvme *n)
{
    if (!(n->cc & CC_EN) || (n->csts & (CSTS_RDY | CSTS_CFS)) || n->dead || n->stopped) {
        return;
    }
    if (!settings_fit(n) || !nvme_queue_start(n)) {
        nvme_fatal(n, "CC, AQA, ASQ or ACQ do not fit", n->asq);
        return;
    }
    n->page_shift = 12 + CC_MPS(n->cc);
    n->csts |= CSTS_RDY;
}

static void forget(struct nvme *n)
{
    nvme_queues_stop(n);
    nvme_shadow_drop(n);
    n->shadow = n->event_index = 0;
    n->page_shift = 12;
    nvme_features_reset(n);
    n->event_requests = 0;
    memset(n->event, 0, sizeof(n->event));
    memset(n->ns_changed, 0, sizeof(n->ns_changed));
    for (struct nvme_ns *ns = nvme_ns_next(n, 0); ns; ns = nvme_ns_next(n, ns->nsid)) {
        ns->formatting = false;
    }
}

static void controller_reset(struct nvme *n)
{
    forget(n);
    n->intms = 0;
    n->resetting = n->dead > 0;
    n->csts = n->resetting ? CSTS_RDY : 0;
}

void nvme_settle(struct nvme *n)
{
    if (n->dead > 0) {
        return;
    }
    if (n->resetting) {
        n->resetting = false;
        n->csts &= ~CSTS_RDY;
    }
    try_start(n);
}

static void shutdown_begin(struct nvme *n)
{
    struct nvme_request *r = n->csts & CSTS_SHST ? NULL : nvme_request_new(n, NVME_INTERNAL);

    if (r) {
        n->csts |= CSTS_SHST_BUSY;
        r->command = &nvme_shutdown_command;
        nvme_go_on(r);
    }
}

void nvme_shutdown_done(struct nvme *n)
{
    if ((n->csts & CSTS_SHST) == CSTS_SHST_BUSY) {
        n->csts = (n->csts & ~CSTS_SHST) | CSTS_SHST_DONE;
    }
}

/* ---- registers ---- */

static bool is_off(void *dev)
{
    return !(((struct nvme *)dev)->cc & CC_EN);
}

static void cc_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct nvme *n = dev;

    if (!(n->cc & CC_EN) && (old & CC_EN)) {
        controller_reset(n);
    } else if ((n->cc & CC_EN) && !(old & CC_EN)) {
        try_start(n);
    }
    if (CC_SHN(n->cc) && !CC_SHN(old)) {
        shutdown_begin(n);
    } else if (!CC_SHN(n->cc) && (n->csts & CSTS_SHST) == CSTS_SHST_DONE) {
        n->csts &= ~CSTS_SHST;
    }
}

static void intms_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct nvme *n = dev;

    n->intms |= (uint32_t)value;
    nvme_update_pin(n);
}

static uint64_t intmc_read(void *dev, unsigned index)
{
    return ((struct nvme *)dev)->intms;
}

static void intmc_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct nvme *n = dev;

    n->intms &= ~(uint32_t)value;
    nvme_update_pin(n);
}

static void doorbell_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    nvme_doorbell(dev, index, (uint32_t)value);
}

#define REG_STRUCT struct nvme
static const struct reg registers[] = {
    NVME_REGS_LOW(REG_ROW_)
        REG_PORT("intmc", 0x10, 32, .read = intmc_read, .written = intmc_written),
    NVME_REGS_HIGH(REG_ROW_)
        REG_PORT("doorbell", DOORBELLS, 32, .count = 2 * NVME_QUEUES, .written = doorbell_written),
    REG_END,
};

static const struct reg_block block = {.name = "nvme",
                                       .regs = registers,
                                       .size = DOORBELLS + 8 * NVME_QUEUES};

/* Bus mastering may be off: nothing of the guest's memory is used any more. */
static void config_written(struct device *dev, unsigned reg, unsigned len, uint32_t old)
{
    struct nvme *n = DEVICE_CAST(struct nvme, dev);

    if (dev->dma_blocked) {
        nvme_all_cancel(n);
    }
    nvme_update_pin(n); /* it or MSI-X */
}

/* ---- life ---- */

static int nvme_realize(struct device *dev, GError **err)
{
    struct nvme *n = DEVICE_CAST(struct nvme, dev);

    if (!n->serial) {
        n->serial = g_strdup(dev->id);
    }
    if (n->own.block && nvme_ns_open(&n->own, dev, err) < 0) {
        return -EINVAL;
    }
    bus_init(&n->bus, &nvme_bus_class, dev->machine, dev, dev->id);
    if (n->own.block) {
        nvme_ns_attach(&n->own, n, 1);
    }
    pci_cap_add_msix(&n->pci, 0x40, n->vectors, 0, MSIX_TABLE, MSIX_PENDING);
    pci_cap_add_pm(&n->pci, 0x60);
    pci_cap_add_af(&n->pci, 0x68); /* NVMe 1.4, 7.3.2: a function level reset is one of three */
    return 0;
}

static void release_holder(struct nvme *n)
{
    if (n->holder && device_is_held(n->holder)) {
        device_release(n->holder);
    }
    n->holder = NULL;
}

static void bus_empty(struct nvme *n)
{
    while (n->bus.devices->len > 0) {
        struct device *dev = g_ptr_array_index(n->bus.devices, n->bus.devices->len - 1);

        nvme_bus_class.off(dev);
        bus_remove(dev);
        device_unplug(dev);
    }
    bus_fini(&n->bus);
}

static void nvme_unrealize(struct device *dev)
{
    struct nvme *n = DEVICE_CAST(struct nvme, dev);

    forget(n);
    release_holder(n);
    XENDM_ASSERT(n->in_flight == 0); /* whoever frees a device waits until it is not busy */
    bus_empty(n);
    nvme_ns_close(&n->own);
    nvme_requests_destroy(n);
}

static void nvme_reset(struct device *dev, enum reset_reason why)
{
    struct nvme *n = DEVICE_CAST(struct nvme, dev);

    forget(n);
    n->resetting = false; /* the registers are reset already: the next start waits instead */
    if (why == RESET_COLD) {
        n->unplugged = false;
        n->timestamp_set = false;
        n->timestamp = 0;
        n->timestamp_at = 0;
        n->errors = 0;
        memset(n->error, 0, sizeof(n->error));
        nvme_ns_reset(&n->own);
    }
}

static void nvme_quiesce(struct device *dev)
{
    struct nvme *n = DEVICE_CAST(struct nvme, dev);

    n->stopped = true;
    nvme_sources_stop(n);
    nvme_all_cancel(n);
    nvme_signal(n);
}

static bool nvme_busy(struct device *dev)
{
    const struct nvme *n = DEVICE_CAST(struct nvme, dev);

    return n->in_flight > 0 || n->own.in_flight > 0;
}

static void nvme_resume(struct device *dev)
{
    struct nvme *n = DEVICE_CAST(struct nvme, dev);

    n->stopped = false;
    n->turn = 0; /* as in one that was restored (xendm/tape.h) */
    nvme_settle(n);
    nvme_restart(n);
}

/* The vCPU that asked waits, since its PV driver reads the disks next, and nobody else. */
static void nvme_unplug(struct device *dev, unsigned what)
{
    struct nvme *n = DEVICE_CAST(struct nvme, dev);

    if (!(what & UNPLUG_NVME) || n->unplugged) {
        return;
    }
    controller_reset(n);
    n->unplugged = true;
    n->holder = dev->machine->holds.by_this ? dev->machine->holds.by_this : dev;
    device_hold(n->holder);
    pci_device_pull(&n->pci);
    for (struct nvme_ns *ns = nvme_ns_next(n, 0); ns; ns = nvme_ns_next(n, ns->nsid)) {
        nvme_ns_unplug(ns);
    }
    nvme_unplug_done(n);
}

void nvme_unplug_done(struct nvme *n)
{
    for (struct nvme_ns *ns = nvme_ns_next(n, 0); ns; ns = nvme_ns_next(n, ns->nsid)) {
        if (ns->unplug != NVME_UNPLUGGED) {
            return;
        }
    }
    if (n->holder) {
        log_info(LOG_NVME, "%s: unplugged by the guest", n->pci.dev.id);
        machine_event_unplugged(n->pci.dev.machine, n->pci.dev.id);
        release_holder(n);
    }
}

static void nvme_describe(struct device *dev, struct facts *to)
{
    const struct nvme *n = DEVICE_CAST(struct nvme, dev);
    unsigned queues = 0;

    for (unsigned i = 0; i < NVME_QUEUES; i++) {
        queues += n->sq[i].exists;
    }
    fact_text(to, "serial", "%s", n->serial);
    fact_int(to, "queues", queues);
    fact_int(to, "commands", n->used);
    fact_int(to, "in flight", n->in_flight);
    fact_int(to, "errors", (int64_t)n->errors);
    fact_bool(to, "shadow doorbells", n->shadow);
    if (n->own.block) {
        fact_group(to, "namespace");
        nvme_ns_describe(&n->own, to);
    }
}

static const struct property properties[] = {
    {.name = "drive",
     .type = PROP_BACKEND,
     .offset = offsetof(struct nvme, own.block),
     .kind = BACKEND_BLOCK,
     .help = "its first namespace; without: those of -device nvme-ns"},
    {.name = "serial",
     .type = PROP_STRING,
     .offset = offsetof(struct nvme, serial),
     .help = "serial number; without: the device's id"},
    {.name = "max_ioqpairs",
     .type = PROP_UINT32,
     .offset = offsetof(struct nvme, io_queues),
     .def = "64",
     .min = 1,
     .max = NVME_IO_QUEUES,
     .help = "pairs of I/O queues"},
    {.name = "msix_qsize",
     .type = PROP_UINT32,
     .offset = offsetof(struct nvme, vectors),
     .def = "65",
     .min = 1,
     .max = NVME_VECTORS,
     .help = "MSI-X vectors"},
    {.name = "mdts",
     .type = PROP_UINT32,
     .offset = offsetof(struct nvme, mdts),
     .def = "7",
     .min = 1,
     .max = NVME_MDTS_MAX,
     .help = "largest transfer: 4 KiB << mdts"},
    {.name = "logical_block_size",
     .type = PROP_UINT32,
     .offset = offsetof(struct nvme, own.logical_block_size),
     .def = "512",
     .help = "512 or 4096 bytes"},
    {.name = "uuid",
     .type = PROP_STRING,
     .offset = offsetof(struct nvme, own.uuid_text),
     .help = "of its first namespace; without: one that follows from the serial number"},
    {.name = NULL},
};

static const struct pci_info pci = {
    .vendor = 0x1b36,
    .device = 0x0010,
    .subsystem_vendor = 0x1af4, /* as guests that were installed under QEMU know it */
    .subsystem = 0x1100,
    .class = 0x010802,
    .revision = 2,
    .intx_pin = 1,
    .bar = {[0] = {.type = PCI_BAR_MEM64, .size = BAR_BYTES, .regs = &block}},
    .config_written = config_written,
};

const struct device_class nvme_class = {
    .name = "nvme",
    .help = "NVM Express 1.4 controller",
    .size = sizeof(struct nvme),
    .properties = properties,
    .state = &nvme_state,
    .recorded = true,
    .hotplug = true,
    .realize = nvme_realize,
    .reset = nvme_reset,
    .quiesce = nvme_quiesce,
    .busy = nvme_busy,
    .resume = nvme_resume,
    .unplug = nvme_unplug,
    .unrealize = nvme_unrealize,
    .describe = nvme_describe,
    .pci = &pci,
};
