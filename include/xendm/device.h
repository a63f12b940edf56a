/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices: what a chip must offer to be part of the machine, and the order in which the core calls
 * it.
 *
 * A class is one `static const struct device_class` listed in xendm/classes.h. An instance embeds
 * `struct device` (or `struct pci_device`, whose first member it is) as its first member; the core
 * allocates class->size zeroed bytes.
 *
 *   device_new → properties → realize → [ reset → (accesses, quiesce → save → resume | load)* ]* →
 *   unrealize → free
 *
 * realize describes regions, BARs, interrupt pins and timers, and must not touch guest memory.
 * After it comes reset(COLD). Between quiesce and resume the device starts no DMA, changes no guest
 * memory and completes what is in flight (the core waits until busy() is false). The core asserts
 * this order.
 */
#ifndef XENDM_DEVICE_H
#define XENDM_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include <xendm/error.h>
#include <xendm/irq.h>
#include <xendm/property.h>
#include <xendm/state.h>

struct bus;
struct bus_class;
struct device;
struct facts;
struct handover;
struct machine;
struct object_desc;
struct usb_class;

enum reset_reason {
    RESET_COLD,   /* power on, or the guest asked for a reset of the whole machine */
    RESET_WAKEUP, /* S3 wake-up: devices lost power, memory kept its contents */
    RESET_DEVICE, /* this device alone (its own reset bit, PCI function reset) */
};

/*
 * What the guest's PV drivers ask to be pulled out (docs/misc/hvm-emulated-unplug.pandoc of Xen).
 */
enum unplug {
    UNPLUG_DISKS = 1 << 0, /* all IDE and SCSI disks, no CD drives */
    UNPLUG_NICS = 1 << 1,
    UNPLUG_AUX_DISKS = 1 << 2, /* IDE disks but the primary master */
    UNPLUG_NVME = 1 << 3,
};

struct device_class {
    const char *name;           /* as in -device, status output and saved state */
    const char *const *aliases; /* other names, ends with NULL; may be NULL */
    const char *help;
    const char *built_in;              /* why -device cannot make one; NULL: it can */
    bool display;                      /* draws on the machine's screen, of which there is one */
    size_t size;                       /* of the instance structure */
    const struct property *properties; /* ends with name NULL; may be NULL */
    const struct state_desc *state;    /* NULL: nothing to save, which must be true */
    const struct bus_class *bus;       /* what it plugs into, see bus.h; NULL: nothing, or PCI */
    bool hotplug;                      /* may come and go while the machine runs */
    const char *unmigratable;          /* why its state cannot be saved; machine_save() says it */
    /* All that it is told comes by contracts that a recording has everything of (tape.h). */
    bool recorded;

    int (*realize)(struct device *dev, GError **err);
    void (*reset)(struct device *dev, enum reset_reason why);
    void (*quiesce)(struct device *dev);
    bool (*busy)(struct device *dev); /* still has I/O in flight; NULL: never */
    void (*resume)(struct device *dev);
    /*
     * A property changed at run time (medium, link state …); the new value is stored after success.
     */
    int (*change)(struct device *dev, const char *property, const char *value, GError **err);
    void (*unplug)(struct device *dev, unsigned what); /* mask of enum unplug */
    void (*unrealize)(struct device *dev);
    /*
     * Live update: what of the host's it has and its state has not, requests in flight with it. It
     * is quiesced, and gives nothing away. The other side: realized, before its state is loaded;
     * whatever goes on in the host does. realize() knows by machine->inherited. NULL: nothing.
     */
    void (*hand_over)(const struct device *dev, struct handover *to, const char *group);
    int (*take_over)(struct device *dev, const struct handover *from, const char *group,
                     GError **err);
    /* What it says of itself, for `info device` and the status file. NULL: nothing. */
    void (*describe)(struct device *dev, struct facts *to);

    /* PCI functions only: see pci.h. */
    const struct pci_info *pci;
    /* USB devices only: see usb.h. Their `bus` is usb_bus_class. */
    const struct usb_class *usb;
};

enum device_phase {
    DEVICE_NEW,
    DEVICE_REALIZED,
    DEVICE_RUNNING,
    DEVICE_QUIESCED,
    DEVICE_LEAVING, /* unplugged; freed when it is not busy any more */
};

struct device {
    const struct device_class *class;
    struct machine *machine;
    char *id; /* unique: from the command line, or "<class>" / "<class>.<n>" */
    enum device_phase phase;
    struct bus *bus;             /* that it is on, or NULL */
    bool dma_blocked;            /* PCI: bus master off. Kept by the bus */
    unsigned holds;              /* hold.h */
    struct object_desc *plugged; /* what it was made of while the machine ran; NULL: it was not */
    GPtrArray *owned;            /* regions placed through device_*; removed at unrealize */
    GPtrArray *banks;            /* struct reg_bank *, see regs.h */
};

#define DEVICE_CAST(type, dev) ((type *)(dev)) /* the instance embeds struct device first */

/* Class by name, or NULL. The table is made by hw/classes.c. */
const struct device_class *device_class_find(const char *name);
const struct device_class *const *device_classes(void); /* NULL-terminated */

/*
 * Makes an instance and sets its properties to their defaults. `id` NULL: made from the class name.
 * The machine owns it. NULL with `err` when the id is taken.
 */
struct device *device_new(struct machine *machine, const struct device_class *class, const char *id,
                          GError **err);
/*
 * Sets a property from text; -ENOENT unknown, -EINVAL unreadable or out of range, naming device,
 * property and value.
 */
int device_set(struct device *dev, const char *property, const char *value, GError **err);
struct backend;
/* PROP_BACKEND; the text of device_set() is an id in the machine's set. NULL: none. */
void device_set_backend(struct device *dev, const char *property, struct backend *b);
int device_realize(struct device *dev, GError **err);
void device_free(struct device *dev); /* unrealizes if needed and leaves the machine */
/* Its registers by table, then class->reset. Of a PCI function the bus resets its part before. */
void device_reset(struct device *dev, enum reset_reason why);
/* What its class says of it, and its registers by table. */
void device_describe(struct device *dev, struct facts *to);

/* Places a fixed (ISA) region for the life of the device. Errors name both owners on overlap. */
struct region;
int device_place_pio(struct device *dev, struct region *r, uint16_t port, GError **err);
int device_place_mmio(struct device *dev, struct region *r, uint64_t address, GError **err);

/* Connects to ISA interrupt 0..15 of the machine. */
void device_connect_isa_irq(struct device *dev, struct irq *irq, unsigned number);

#endif
