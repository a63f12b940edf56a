/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio over PCI (4.1): capabilities and registers of virtio 1.x, the I/O registers that drivers
 * from before it know (4.1.4.10), MSI-X and the pin; features, status and resets (2.1, 2.2, 2.4).
 *
 * The layout is QEMU's, so that a guest that was installed there finds the same: legacy registers
 * in BAR 0, MSI-X in BAR 1, the rest in BAR 4. Left out: shared memory, notification data and
 * notification by I/O port, administration queues.
 *
 * A reset that meets requests at the host's holds the driver until they are back: one that does not
 * look again (all legacy drivers) would reuse memory that a disk still writes.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <xendm/facts.h>
#include <xendm/hold.h>

#include "virtio.h"

#define CONFIG_DEVICE_ID 0x02u /* of the PCI header */
#define CONFIG_REVISION 0x08u
#define CONFIG_SUBSYSTEM 0x2eu

#define COMMON 0x0000u
#define COMMON_BYTES 0x40u
#define ISR 0x1000u
#define DEVICE 0x2000u
#define NOTIFY 0x3000u
#define NOTIFY_EACH 4u
#define BAR_BYTES 0x4000u
#define MSIX_BYTES 0x1000u
#define MSIX_PENDING 0x800u
#define VECTORS_MAX (MSIX_PENDING / 16)

#define CAP_VENDOR 0x09u /* (4.1.4) */
#define CAP_COMMON 1u
#define CAP_NOTIFY 2u
#define CAP_ISR 3u
#define CAP_DEVICE 4u
#define CAP_WINDOW 5u
#define WINDOW_BAR 4u
#define WINDOW_OFFSET 8u
#define WINDOW_LENGTH 12u
#define WINDOW_DATA 16u

#define ISR_QUEUE 1u
#define ISR_CONFIG 2u

#define LEGACY_FEATURES VIRTIO_F_ANY_LAYOUT
#define LEGACY_PAGE 4096u

static inline struct virtq *selected(struct virtio *v)
{
    return v->queue_select < v->queues ? &v->vq[v->queue_select] : NULL;
}

static bool legacy_on(const struct virtio *v)
{
    return strcmp(v->disable_legacy, "on") != 0;
}

/* ---- features ---- */

uint64_t virtio_offered(const struct virtio *v)
{
    uint64_t f = v->type->features(v);

    f |= legacy_on(v) ? VIRTIO_F_ANY_LAYOUT : 0;
    f |= v->indirect ? VIRTIO_F_INDIRECT : 0;
    f |= v->event_index ? VIRTIO_F_EVENT_INDEX : 0;
    if (!v->disable_modern) {
        f |= VIRTIO_F_VERSION_1;
        f |= v->packed ? VIRTIO_F_PACKED : 0;
        f |= v->in_order ? VIRTIO_F_IN_ORDER : 0;
        f |= v->queue_reset ? VIRTIO_F_RING_RESET : 0;
    }
    return f;
}

static bool features_fit(const struct virtio *v)
{
    return virtio_modern(v) && !(v->driver_features & ~(virtio_offered(v) & ~LEGACY_FEATURES));
}

/* ---- interrupts ---- */

bool virtio_vector_fits(const struct virtio *v, uint16_t vector)
{
    return vector == VIRTIO_NO_VECTOR || vector < v->pci.msix_count;
}

static void interrupt(struct virtio *v, uint16_t vector, uint8_t cause)
{
    v->isr |= cause;
    if (!pci_msix_enabled(&v->pci)) {
        pci_intx_set(&v->pci, true);
    } else if (vector != VIRTIO_NO_VECTOR) {
        pci_msix_send(&v->pci, vector);
    }
}

void virtio_interrupt_queue(struct virtio *v, unsigned n)
{
    interrupt(v, v->vq[n].vector, ISR_QUEUE);
}

void virtio_config_changed(struct virtio *v)
{
    v->generation++;
    if (v->status & VIRTIO_DRIVER_OK) {
        interrupt(v, v->config_vector, ISR_CONFIG);
    }
}

static uint64_t isr_read(void *dev, unsigned index)
{
    struct virtio *v = dev;
    uint8_t isr = v->isr;

    v->isr = 0;
    pci_intx_set(&v->pci, false);
    return isr;
}

/* ---- resets ---- */

static void wait_for_host(struct virtio *v)
{
    if (v->dead && !v->settling) {
        v->settling = true;
        device_hold(&v->pci.dev);
    }
}

void virtio_settled(struct virtio *v)
{
    if (v->settling) {
        v->settling = false;
        if (device_is_held(&v->pci.dev)) {
            device_release(&v->pci.dev);
        }
    }
    virtio_run(v);
}

static void forget(struct virtio *v)
{
    virtio_sources_stop(v);
    v->type->forget(v, VIRTIO_QUEUES);
    for (unsigned n = 0; n < v->queues; n++) {
        virtq_clear(v, n);
    }
    v->driver_features = 0;
    v->status = v->isr = 0;
    v->broken = v->started = false;
    v->config_vector = VIRTIO_NO_VECTOR;
    pci_intx_set(&v->pci, false);
}

static void reset_by_driver(struct virtio *v)
{
    forget(v);
    virtio_show_selected(v);
    wait_for_host(v);
}

static void reset_queue(struct virtio *v, unsigned n)
{
    v->type->forget(v, n);
    virtq_clear(v, n);
    virtio_show_selected(v);
    wait_for_host(v);
}

static void status_write(struct virtio *v, uint8_t value)
{
    uint8_t old = v->status;

    if (value == 0) {
        reset_by_driver(v);
        return;
    }
    if ((value & VIRTIO_FEATURES_OK) && !(old & VIRTIO_FEATURES_OK) && !features_fit(v)) {
        log_guest(LOG_VIRTIO, "%s: features 0x%" PRIx64 " are not for this device", v->pci.dev.id,
                  v->driver_features);
        value &= (uint8_t)~VIRTIO_FEATURES_OK;
    }
    v->status = (uint8_t)((value & ~VIRTIO_NEEDS_RESET) | (old & VIRTIO_NEEDS_RESET));
    if ((value & VIRTIO_DRIVER_OK) && !(old & VIRTIO_DRIVER_OK)) {
        virtio_feed_all(v);
    }
}

/* ---- the common configuration (4.1.4.3) ---- */

static uint64_t device_feature_read(void *dev, unsigned index)
{
    const struct virtio *v = dev;
    uint64_t f = virtio_offered(v) & ~LEGACY_FEATURES;

    return v->device_feature_select > 1 ? 0 : f >> 32 * v->device_feature_select & UINT32_MAX;
}

static void driver_select_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    virtio_show_selected(dev);
}

/* Before they are used; what follows from them is told to the back end with the first chain. */
static void choose(struct virtio *v, uint64_t features)
{
    v->driver_features = features;
    v->started = false;
    if (v->type->chosen) {
        v->type->chosen(v);
    }
}

static void driver_feature_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct virtio *v = dev;
    unsigned shift = 32 * (v->driver_feature_select & 1);

    if (v->driver_feature_select <= 1 && !(v->status & VIRTIO_FEATURES_OK)) {
        choose(v, (v->driver_features & ~((uint64_t)UINT32_MAX << shift)) |
                      (uint64_t)v->driver_feature << shift);
    }
    virtio_show_selected(v);
}

static void config_vector_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct virtio *v = dev;

    if (!virtio_vector_fits(v, v->config_vector)) {
        v->config_vector = VIRTIO_NO_VECTOR;
    }
}

static uint64_t num_queues_read(void *dev, unsigned index)
{
    return ((struct virtio *)dev)->queues;
}

static uint64_t status_read(void *dev, unsigned index)
{
    return ((struct virtio *)dev)->status;
}

static void status_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    status_write(dev, (uint8_t)value);
}

static uint64_t generation_read(void *dev, unsigned index)
{
    return ((struct virtio *)dev)->generation;
}

/* The registers that show the selected queue, and the selected half of the features. */
void virtio_show_selected(struct virtio *v)
{
    const struct virtq *q = selected(v);

    v->queue_desc = q ? q->desc : 0;
    v->queue_driver = q ? q->driver : 0;
    v->queue_device = q ? q->device : 0;
    v->driver_feature = v->driver_feature_select > 1
                            ? 0
                            : (uint32_t)(v->driver_features >> 32 * v->driver_feature_select);
}

static void queue_select_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    virtio_show_selected(dev);
}

static uint64_t queue_size_read(void *dev, unsigned index)
{
    const struct virtq *q = selected(dev);

    return q ? q->size : 0;
}

static void queue_size_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct virtio *v = dev;
    struct virtq *q = selected(v);

    if (q && !q->enabled && value >= 1 && value <= v->queue_size) {
        q->size = (uint16_t)value;
    } else {
        log_guest(LOG_VIRTIO, "%s: size %u of queue %u", v->pci.dev.id, (unsigned)value,
                  v->queue_select);
    }
}

static uint64_t queue_vector_read(void *dev, unsigned index)
{
    const struct virtq *q = selected(dev);

    return q ? q->vector : VIRTIO_NO_VECTOR;
}

static void queue_vector_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct virtio *v = dev;
    struct virtq *q = selected(v);

    if (q) {
        q->vector = virtio_vector_fits(v, (uint16_t)value) ? (uint16_t)value : VIRTIO_NO_VECTOR;
    }
}

static uint64_t queue_enable_read(void *dev, unsigned index)
{
    const struct virtq *q = selected(dev);

    return q && q->enabled;
}

static void queue_enable_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct virtio *v = dev;
    struct virtq *q = selected(v);

    if (q && !q->enabled && value == 1) {
        virtq_enable(v, v->queue_select);
        if (v->status & VIRTIO_DRIVER_OK) { /* after a reset of this queue alone */
            virtio_feed_all(v);
        }
    }
}

static uint64_t notify_off_read(void *dev, unsigned index)
{
    const struct virtio *v = dev;

    return v->queue_select < v->queues ? v->queue_select : 0;
}

static void queue_address_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct virtio *v = dev;
    struct virtq *q = selected(v);

    if (q && !q->enabled) {
        q->desc = v->queue_desc;
        q->driver = v->queue_driver;
        q->device = v->queue_device;
    }
    virtio_show_selected(v);
}

static uint64_t queue_reset_read(void *dev, unsigned index)
{
    return 0; /* whoever wrote 1 waited */
}

static void queue_reset_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct virtio *v = dev;

    if (value == 1 && selected(v) && virtio_has(v, VIRTIO_F_RING_RESET)) {
        reset_queue(v, v->queue_select);
    }
}

/* ---- the device's own configuration (2.5) ---- */

static uint64_t config_byte(struct virtio *v, unsigned at)
{
    uint8_t config[VIRTIO_CONFIG_MAX] = {0};

    v->type->config(v, config);
    return at < v->type->config_bytes ? config[at] : 0;
}

static uint64_t device_read(void *dev, unsigned index)
{
    return config_byte(dev, index);
}

static void device_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct virtio *v = dev;

    if (v->type->config_written && index < v->type->config_bytes) {
        v->type->config_written(v, index, (uint8_t)value);
    }
}

static void notify_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    virtio_notify(dev, index);
}

#define REG_STRUCT struct virtio
static const struct reg registers[] = {
    VIRTIO_REGS_1(REG_ROW_) REG_PORT("device_feature", 0x04, 32, .read = device_feature_read),
    VIRTIO_REGS_2(REG_ROW_) REG_PORT("num_queues", 0x12, 16, .read = num_queues_read),
    REG_PORT("device_status", 0x14, 8, .read = status_read, .written = status_written),
    REG_PORT("config_generation", 0x15, 8, .read = generation_read),
    VIRTIO_REGS_3(REG_ROW_)
        REG_PORT("queue_size", 0x18, 16, .read = queue_size_read, .written = queue_size_written),
    REG_PORT("queue_msix_vector", 0x1a, 16, .read = queue_vector_read,
             .written = queue_vector_written),
    REG_PORT("queue_enable", 0x1c, 16, .read = queue_enable_read, .written = queue_enable_written),
    REG_PORT("queue_notify_off", 0x1e, 16, .read = notify_off_read),
    VIRTIO_REGS_4(REG_ROW_)
        REG_PORT("queue_reset", 0x3a, 16, .read = queue_reset_read, .written = queue_reset_written),
    REG_PORT("isr", ISR, 8, .read = isr_read),
    REG_PORT("config", DEVICE, 8, .count = VIRTIO_CONFIG_MAX, .read = device_read,
             .written = device_written),
    REG_PORT("notify", NOTIFY, 32, .count = VIRTIO_QUEUES, .written = notify_written),
    REG_END,
};

const struct reg_block virtio_block = {.name = "virtio",
                                       .regs = registers,
                                       .size = NOTIFY + NOTIFY_EACH * VIRTIO_QUEUES};

/* ---- legacy registers (4.1.4.10) ---- */

enum {
    OLD_DEVICE_FEATURES = 0x00,
    OLD_DRIVER_FEATURES = 0x04,
    OLD_QUEUE_PAGE = 0x08,
    OLD_QUEUE_SIZE = 0x0c,
    OLD_QUEUE_SELECT = 0x0e,
    OLD_QUEUE_NOTIFY = 0x10,
    OLD_STATUS = 0x12,
    OLD_ISR = 0x13,
    OLD_CONFIG_VECTOR = 0x14, /* while MSI-X is on; else the configuration begins here */
    OLD_QUEUE_VECTOR = 0x16,
    OLD_END = 0x18,
};

static unsigned old_config_at(const struct virtio *v)
{
    return pci_msix_enabled(&v->pci) ? OLD_END : OLD_CONFIG_VECTOR;
}

static uint32_t old_read_one(struct virtio *v, unsigned at)
{
    const struct virtq *q = selected(v);

    switch (at) {
    case OLD_DEVICE_FEATURES:
        return (uint32_t)virtio_offered(v);
    case OLD_DRIVER_FEATURES:
        return (uint32_t)v->driver_features;
    case OLD_QUEUE_PAGE:
        return q && q->enabled ? (uint32_t)(q->desc / LEGACY_PAGE) : 0;
    case OLD_QUEUE_SIZE:
        return q ? q->size : 0;
    case OLD_QUEUE_SELECT:
        return v->queue_select;
    case OLD_STATUS:
        return v->status;
    case OLD_ISR:
        return (uint32_t)isr_read(v, 0);
    case OLD_CONFIG_VECTOR:
        return v->config_vector;
    case OLD_QUEUE_VECTOR:
        return q ? q->vector : VIRTIO_NO_VECTOR;
    default:
        return 0;
    }
}

static uint64_t old_read(void *opaque, uint64_t offset, unsigned size)
{
    struct virtio *v = opaque;
    unsigned config = old_config_at(v);
    uint64_t value = 0;

    if (offset < config) {
        return old_read_one(v, (unsigned)offset);
    }
    for (unsigned i = 0; i < size; i++) {
        value |= config_byte(v, (unsigned)offset - config + i) << 8 * i;
    }
    return value;
}

/* The three parts of a legacy queue follow each other, the last at a page (2.7.2). */
static void old_queue_page(struct virtio *v, uint32_t page)
{
    struct virtq *q = selected(v);

    if (!q) {
        return;
    }
    if (q->enabled) {
        reset_queue(v, v->queue_select);
    }
    if (page) {
        q->desc = (uint64_t)page * LEGACY_PAGE;
        q->driver = q->desc + 16u * q->size;
        q->device = (q->driver + 4 + 2u * q->size + LEGACY_PAGE - 1) & ~(uint64_t)(LEGACY_PAGE - 1);
        virtq_enable(v, v->queue_select);
        virtio_show_selected(v);
    }
}

static void old_write_one(struct virtio *v, unsigned at, uint32_t value)
{
    switch (at) {
    case OLD_DRIVER_FEATURES:
        choose(v, value & virtio_offered(v) & UINT32_MAX);
        virtio_show_selected(v);
        break;
    case OLD_QUEUE_PAGE:
        old_queue_page(v, value);
        break;
    case OLD_QUEUE_SELECT:
        v->queue_select = (uint16_t)value;
        virtio_show_selected(v);
        break;
    case OLD_QUEUE_NOTIFY:
        virtio_notify(v, value & 0xffff);
        break;
    case OLD_STATUS:
        status_write(v, (uint8_t)value);
        break;
    case OLD_CONFIG_VECTOR:
        v->config_vector = (uint16_t)value;
        config_vector_written(v, 0, 0, value);
        break;
    case OLD_QUEUE_VECTOR:
        queue_vector_written(v, 0, 0, value & 0xffff);
        break;
    }
}

static void old_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct virtio *v = opaque;
    unsigned config = old_config_at(v);

    if (offset < config) {
        old_write_one(v, (unsigned)offset, (uint32_t)value);
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        device_written(v, (unsigned)offset - config + i, 0, value >> 8 * i & 0xff);
    }
}

const struct region_ops virtio_legacy_ops = {.read = old_read, .write = old_write, .impl_max = 4};

/* ---- the BAR seen through configuration space (4.1.4.9) ---- */

/* False: the driver has not said a part of the BAR that there is. */
static bool window_target(const struct virtio *v, uint32_t *offset, unsigned *len)
{
    const uint8_t *cap = &v->pci.config[v->window_cap];

    *offset = load_le32(cap + WINDOW_OFFSET);
    *len = load_le32(cap + WINDOW_LENGTH);
    return cap[WINDOW_BAR] == VIRTIO_BAR_MODERN && (*len == 1 || *len == 2 || *len == 4) &&
           *offset % *len == 0 && *offset <= BAR_BYTES - *len;
}

static bool touches_window(const struct virtio *v, unsigned reg)
{
    return v->window_cap && (reg & ~3u) == v->window_cap + WINDOW_DATA;
}

void virtio_config_read(struct device *dev, unsigned reg, unsigned len)
{
    struct virtio *v = DEVICE_CAST(struct virtio, dev);
    uint32_t offset;
    unsigned size;

    if (touches_window(v, reg) && window_target(v, &offset, &size)) {
        store_le32(&v->pci.config[v->window_cap + WINDOW_DATA],
                   (uint32_t)reg_ops.read(v->pci.bar[VIRTIO_BAR_MODERN].bank, offset, size));
    }
}

static void mastering_changed(struct virtio *v)
{
    if (v->pci.dev.dma_blocked) {
        if (v->type->blocked) {
            v->type->blocked(v);
        }
    } else if (!v->stopped) {
        if (v->type->restart) {
            v->type->restart(v);
        }
        virtio_feed_all(v);
    }
}

void virtio_config_written(struct device *dev, unsigned reg, unsigned len, uint32_t old)
{
    struct virtio *v = DEVICE_CAST(struct virtio, dev);
    uint32_t offset;
    unsigned size;

    if (touches_window(v, reg) && window_target(v, &offset, &size)) {
        reg_ops.write(v->pci.bar[VIRTIO_BAR_MODERN].bank, offset,
                      load_le32(&v->pci.config[v->window_cap + WINDOW_DATA]), size);
    } else if (v->blocked != dev->dma_blocked) {
        v->blocked = dev->dma_blocked;
        mastering_changed(v);
    }
}

/* ---- life ---- */

static uint8_t add_cap(struct virtio *v, uint8_t type, uint32_t offset, uint32_t length,
                       uint8_t bytes)
{
    uint8_t at = pci_cap_add(&v->pci, CAP_VENDOR, 0, bytes);
    uint8_t *cap = &v->pci.config[at];

    cap[2] = bytes;
    cap[3] = type;
    cap[4] = type == CAP_WINDOW ? 0 : VIRTIO_BAR_MODERN;
    store_le32(cap + 8, offset);
    store_le32(cap + 12, length);
    return at;
}

static void realize_modern(struct virtio *v)
{
    uint8_t *writable, at;

    pci_bar_set_size(&v->pci, VIRTIO_BAR_MODERN, BAR_BYTES);
    add_cap(v, CAP_COMMON, COMMON, COMMON_BYTES, 16);
    add_cap(v, CAP_ISR, ISR, 1, 16);
    if (v->type->config_bytes) {
        add_cap(v, CAP_DEVICE, DEVICE, v->type->config_bytes, 16);
    }
    at = add_cap(v, CAP_NOTIFY, NOTIFY, NOTIFY_EACH * v->queues, 20);
    store_le32(&v->pci.config[at + 16], NOTIFY_EACH);
    v->window_cap = add_cap(v, CAP_WINDOW, 0, 0, 20);
    writable = &v->pci.writable[v->window_cap];
    writable[WINDOW_BAR] = 0xff;
    memset(writable + WINDOW_OFFSET, 0xff, 12); /* offset, length, data */
}

static void realize_legacy(struct virtio *v)
{
    uint32_t bytes = 32;

    while (bytes < OLD_END + v->type->config_bytes) {
        bytes *= 2;
    }
    pci_bar_set_size(&v->pci, VIRTIO_BAR_LEGACY, bytes);
    store_le16(&v->pci.config[CONFIG_DEVICE_ID], v->type->transitional);
    v->pci.config[CONFIG_REVISION] = 0;
    store_le16(&v->pci.config[CONFIG_SUBSYSTEM], v->type->id);
}

static int check_properties(const struct virtio *v, GError **err)
{
    if (strcmp(v->disable_legacy, "on") && strcmp(v->disable_legacy, "off") &&
        strcmp(v->disable_legacy, "auto")) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: disable-legacy=%s is not on, off or auto",
                    v->pci.dev.id, v->disable_legacy);
        return -EINVAL;
    }
    if (!legacy_on(v) && v->disable_modern) {
        g_set_error(err, XENDM_ERROR, EINVAL,
                    "%s: with disable-legacy=on and disable-modern=on nothing is left",
                    v->pci.dev.id);
        return -EINVAL;
    }
    if (v->disable_modern && (v->packed || v->in_order)) {
        g_set_error(err, XENDM_ERROR, EINVAL,
                    "%s: packed=on and in_order=on are of virtio 1.x, not with disable-modern=on",
                    v->pci.dev.id);
        return -EINVAL;
    }
    if (v->vectors != UINT32_MAX && v->vectors > VECTORS_MAX) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: vectors=%u: at most %u", v->pci.dev.id,
                    v->vectors, VECTORS_MAX);
        return -EINVAL;
    }
    return 0;
}

int virtio_realize(struct virtio *v, const struct virtio_type *type, unsigned queues, GError **err)
{
    XENDM_ASSERT(queues >= 1 && queues <= VIRTIO_QUEUES && queues < VECTORS_MAX);
    XENDM_ASSERT(type->config_bytes <= VIRTIO_CONFIG_MAX);
    if (check_properties(v, err) < 0) {
        return -EINVAL;
    }
    v->type = type;
    v->queues = queues;
    v->queue_size = v->queue_size ? v->queue_size : type->queue_size;
    XENDM_ASSERT(v->queue_size <= VIRTIO_QUEUE_MAX && !(v->queue_size & (v->queue_size - 1)));
    if (legacy_on(v)) {
        realize_legacy(v);
    }
    if (v->vectors) {
        pci_bar_set_size(&v->pci, VIRTIO_BAR_MSIX, MSIX_BYTES);
        pci_cap_add_msix(&v->pci, 0, v->vectors == UINT32_MAX ? queues + 1 : v->vectors,
                         VIRTIO_BAR_MSIX, 0, MSIX_PENDING);
    }
    if (!v->disable_modern) {
        realize_modern(v);
    }
    v->blocked = true;
    return 0;
}

void virtio_unrealize(struct virtio *v)
{
    virtio_sources_stop(v);
    for (unsigned n = 0; n < v->queues; n++) {
        virtq_drop_windows(&v->vq[n]);
    }
}

/* The registers of the table, and the bus' part, are reset already. */
void virtio_reset(struct virtio *v)
{
    forget(v);
    if (v->settling) {
        v->settling = false;
        if (device_is_held(&v->pci.dev)) {
            device_release(&v->pci.dev);
        }
    }
    if (v->window_cap) {
        v->pci.config[v->window_cap + WINDOW_BAR] = 0;
        memset(&v->pci.config[v->window_cap + WINDOW_OFFSET], 0, 12);
    }
    v->generation = 0;
    v->blocked = v->pci.dev.dma_blocked;
}

void virtio_quiesce(struct virtio *v)
{
    v->stopped = true;
    virtio_sources_stop(v);
    virtq_signal_all(v);
}

void virtio_resume(struct virtio *v)
{
    virtio_forget_unsaved(v);
    v->stopped = false;
    v->blocked = v->pci.dev.dma_blocked;
    if (v->type->restart) {
        v->type->restart(v);
    }
    virtio_feed_all(v);
}

void virtio_describe(const struct virtio *v, struct facts *to)
{
    unsigned enabled = 0;

    for (unsigned n = 0; n < v->queues; n++) {
        enabled += v->vq[n].enabled;
    }
    fact_text(to, "driver", "%s",
              !(v->status & VIRTIO_DRIVER) ? "none"
              : virtio_modern(v)           ? "virtio 1"
                                           : "legacy");
    fact_hex(to, "features", v->driver_features);
    fact_hex(to, "offered", virtio_offered(v));
    fact_hex(to, "status", v->status);
    fact_bool(to, "needs reset", v->broken);
    fact_text(to, "rings", "%s", virtio_has(v, VIRTIO_F_PACKED) ? "packed" : "split");
    fact_int(to, "queues", v->queues);
    fact_int(to, "enabled", enabled);
}
