/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to hw/core. */
#ifndef XENDM_HW_CORE_H
#define XENDM_HW_CORE_H

#include <xendm/aspace.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/tape.h>

/* All ones of `size` bytes (1..8). */
static inline uint64_t value_mask(unsigned size)
{
    return size >= 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
}

/* aspace.c: one access through `ops`, split or widened to what it implements; for regions that
 * delegate to others. */
bool region_ops_allow(const struct region_ops *ops, uint64_t offset, unsigned size);
uint64_t region_ops_read(const struct region_ops *ops, void *opaque, uint64_t offset,
                         unsigned size);
void region_ops_write(const struct region_ops *ops, void *opaque, uint64_t offset, uint64_t value,
                      unsigned size);

/* What instances of `class` plug into; NULL: nothing. */
static inline const struct bus_class *bus_class_of(const struct device_class *class)
{
    return class->bus ? class->bus : class->pci ? &pci_bus_class : NULL;
}

/* pci.c */
void pci_function_power_on(struct pci_device *pci); /* the bus' part of RESET_COLD */
void pci_decode_update(struct pci_device *pci, bool guest);

/* pci-msi.c */
extern const struct region_ops pci_msix_ops; /* wraps the ops of the BAR that holds the table */
void pci_msi_reset(struct pci_device *pci);
void pci_msix_control_written(struct pci_device *pci);
void pci_msix_restored(struct pci_device *pci);

/* dma.c */
int dma_check(struct device *dev, uint64_t gpa, size_t len);
int dma_note(struct device *dev, enum dma_direction direction, uint64_t gpa, size_t len, int rc);
int dma_tape(enum tape_kind kind, uint64_t gpa, void *buf, size_t len, int rc);

/* dma-window.c: what the machine tells the windows, and whether a device still has one. */
void dma_windows_unmap(void *machine); /* guest memory changed */
void dma_windows_flush(struct machine *m);
bool dma_window_exists(const struct device *dev);

/* device.c */
void device_quiesce(struct device *dev);
void device_resume(struct device *dev);
void device_free_leaving(struct machine *m);
bool device_leaving_busy(struct machine *m);

/* hold.c: the device goes */
void device_release_all(struct device *dev);

/* state.c: asserts that a table makes sense. */
void state_desc_assert(const struct state_desc *desc);
/* What is to go to `offset` of the structure, or NULL when the stream does not say. */
const void *state_plan_value(const struct state_plan *plan, size_t offset);

/* machine.c: what is true of every machine but nobody's business outside. */
struct machine_private {
    struct machine m;               /* first */
    enum machine_state after_start; /* while STOPPED: what machine_start() goes to */
    bool started;                   /* ran once: no state is loaded any more */
    bool suspend_refused;           /* logged */
    unsigned unplugged;             /* what was logged of machine_request_unplug() */
    GPtrArray *windows;             /* struct dma_window * of all devices */
    GPtrArray *buses;               /* struct bus * */
    GPtrArray *leaving;             /* struct device * in DEVICE_LEAVING */
    guint leaving_source;           /* looks whether they can be freed */
};

static inline struct machine_private *machine_private(struct machine *m)
{
    return (struct machine_private *)m;
}

#endif
