/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI: one bus (0000:00), conventional, 32 slots of 8 functions. The bus owns configuration space:
 * write masks, BAR sizing and moving, decoding by the command register, bus mastering, INTx,
 * capabilities (PM, MSI, MSI-X). A function is a const description plus its region ops; it sees
 * (offset in BAR, size).
 *
 * Sources: PCI Local Bus 3.0, chapters 6.1-6.2 (header), 6.7-6.8 (capabilities, MSI, MSI-X); PCI-PM
 * 1.2 chapter 3.
 */
#ifndef XENDM_PCI_H
#define XENDM_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include <xendm/aspace.h>
#include <xendm/bus.h>
#include <xendm/device.h>
#include <xendm/regs.h>

#define PCI_CONFIG_SIZE 256u
#define PCI_BAR_COUNT 6
#define PCI_BAR_ROM 6 /* index of the expansion ROM */

enum pci_bar_type {
    PCI_BAR_NONE,
    PCI_BAR_IO,
    PCI_BAR_MEM32,
    PCI_BAR_MEM64, /* takes the next index, too */
};

struct pci_bar_info {
    enum pci_bar_type type;
    bool prefetchable;
    /* power of two, ≥ 4 (I/O) or ≥ 16 (memory); 0: set in realize, or else the BAR is not there */
    uint32_t size;
    /* opaque is the device; NULL: memory the device owns, see `moved` */
    const struct region_ops *ops;
    const char *name;
    const struct reg_block *regs; /* in place of ops and name; its size is at most the BAR's */
};

/* A register in configuration space: reset value, bits the guest changes, clears by writing 1. */
struct pci_config_reg {
    uint8_t reg, reset, writable, w1c;
};

struct pci_info {
    uint16_t vendor, device;
    uint16_t subsystem_vendor, subsystem;
    uint32_t class; /* 24 bits: base class, sub-class, programming interface */
    uint8_t revision;
    const char *rom;    /* option ROM when it is there and none is given; NULL: none */
    uint8_t intx_pin;   /* 0 none, 1..4 = INTA#..INTD# */
    bool multifunction; /* function 0 of several */
    struct pci_bar_info bar[PCI_BAR_COUNT];
    /* The chip's own registers, and what its header has besides; ends with reg 0. May be NULL. */
    const struct pci_config_reg *config;

    /*
     * After the guest wrote `len` bytes at `reg` (always inside one dword), and the bus applied its
     * masks: for chips with registers of their own above 0x40. `old` is the dword's old value. May
     * be NULL.
     */
    void (*config_written)(struct device *dev, unsigned reg, unsigned len, uint32_t old);
    /*
     * Before a config read of `len` bytes at `reg`: refresh pci_device.config for registers that
     * change by themselves.
     */
    void (*config_read)(struct device *dev, unsigned reg, unsigned len);
    /*
     * A BAR without ops was mapped, moved (address ≠ old) or unmapped (PCI_BAR_UNMAPPED). Not
     * called when state is loaded: the device's own post_load finds the address in
     * pci_device.bar[].address.
     */
    void (*moved)(struct device *dev, unsigned bar, uint64_t address);
};

#define PCI_BAR_UNMAPPED UINT64_MAX

struct pci_bar {
    struct region region;
    enum pci_bar_type type; /* pci_bar_info's, or what realize chose */
    uint64_t size;
    uint64_t address;      /* where it is decoded now, or PCI_BAR_UNMAPPED */
    struct reg_bank *bank; /* of pci_bar_info.regs */
};

struct msix_entry {
    uint64_t address;
    uint32_t data;
    uint32_t control; /* bit 0: masked */
};

/* First member of every PCI function's instance structure. */
struct pci_device {
    struct device dev;
    uint8_t devfn;
    char *addr;      /* property: "1d", "1d.7", hexadecimal; NULL: the first free slot */
    char *romfile;   /* property: NULL: the default of pci_info */
    uint32_t rombar; /* property */
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t writable[PCI_CONFIG_SIZE]; /* bits the guest may change */
    uint8_t w1c[PCI_CONFIG_SIZE];      /* bits the guest clears by writing 1 */
    struct pci_bar bar[PCI_BAR_COUNT + 1];
    struct irq intx;
    bool intx_asserted; /* what the chip wants; INTx-disable may hold it back */
    uint8_t cap_pm, cap_msi, cap_msix, cap_af; /* offsets, 0 when absent */
    uint8_t cap_next;                          /* where the next capability goes */
    unsigned msix_count, msix_bar;
    uint32_t msix_table_offset, msix_pba_offset;
    struct msix_entry *msix_table;
    uint64_t *msix_pba;
    uint32_t msix_table_bytes, msix_pba_bytes;
    /* expansion ROM image, PCI_BAR_ROM size, read-only; may be mmap()ed */
    void *rom;
    bool powered_down; /* pulled by an unplug request: config reads are all ones */
};

#define PCI_DEVFN(slot, function) ((uint8_t)((slot) << 3 | (function)))
#define PCI_SLOT(devfn) ((devfn) >> 3)
#define PCI_FUNCTION(devfn) ((devfn)&7)

struct pci_bus;

extern const struct bus_class pci_bus_class;

/*
 * Who tells the guest that functions come and asks it to let them go (ACPI). NULL: nobody.
 */
struct pci_hotplug {
    void (*plugged)(void *opaque, struct pci_device *pci);
    void (*request_unplug)(void *opaque, struct pci_device *pci);
};
void pci_set_hotplug(struct pci_bus *bus, const struct pci_hotplug *hotplug, void *opaque);

struct pci_bus *pci_bus_new(struct machine *machine);
void pci_bus_free(struct pci_bus *bus);

/*
 * Configuration accesses of 1, 2 or 4 bytes at `reg` 0..255; one that crosses a dword is split as
 * the chip set would. Functions that do not exist read all ones.
 */
uint32_t pci_config_read(struct pci_bus *bus, unsigned devfn, unsigned reg, unsigned len);
void pci_config_write(struct pci_bus *bus, unsigned devfn, unsigned reg, uint32_t value,
                      unsigned len);

/* The function at devfn, or NULL; next one in order of devfn from `devfn` on, or NULL. */
struct pci_device *pci_device_at(struct pci_bus *bus, unsigned devfn);
struct pci_device *pci_device_next(struct pci_bus *bus, unsigned devfn);

/* For each function in order of devfn; the loop may take `pci` out, and plug others in. */
#define pci_foreach(pci, bus) \
    for (struct pci_device *pci = pci_device_next((bus), 0), *pci##_next_; \
         pci && (pci##_next_ = pci_device_next((bus), pci->devfn + 1u), true); pci = pci##_next_)

/*
 * Before device_realize(): where the function goes. PCI_DEVFN_AUTO takes the first free slot from 2
 * up, by the order of the calls, so that the same command line always gives the same slots. -EBUSY
 * names who has it.
 */
#define PCI_DEVFN_AUTO (-1)
/* "0x1d", "1d.7": hexadecimal with or without 0x, as in -device …,addr=. */
bool pci_addr_parse(const char *text, int *devfn);
int pci_device_attach(struct pci_bus *bus, struct pci_device *pci, int devfn, GError **err);

/*
 * In realize: gives BAR `bar` its size (when info says 0) and opaque; expansion ROM; capabilities.
 */
void pci_bar_set_size(struct pci_device *pci, unsigned bar, uint64_t size);
/*
 * Before its size: another type than the class's. Not PCI_BAR_NONE; behind PCI_BAR_MEM64 is none.
 */
void pci_bar_set_type(struct pci_device *pci, unsigned bar, enum pci_bar_type type,
                      bool prefetchable);
/* patches nothing; pads to a power of two; a name without path is in the firmware directory */
int pci_rom_load(struct pci_device *pci, const char *file, GError **err);
/* offset 0: next free */
uint8_t pci_cap_add(struct pci_device *pci, uint8_t id, uint8_t offset, uint8_t size);
void pci_cap_add_pm(struct pci_device *pci, uint8_t offset);
/*
 * Function level reset (ECN "Advanced Capabilities for Conventional PCI", 2006): the guest's write
 * is the bus' part of a cold reset and the class's RESET_DEVICE, which has to do with what is in
 * flight, as after the chip's own reset bit. While busy() transactions are said to be pending.
 */
void pci_cap_add_af(struct pci_device *pci, uint8_t offset);
void pci_cap_add_msi(struct pci_device *pci, uint8_t offset, unsigned vectors, bool address64);
void pci_cap_add_msix(struct pci_device *pci, uint8_t offset, unsigned vectors, unsigned bar,
                      uint32_t table, uint32_t pba);

/*
 * Interrupts. INTx honours command bit 10 and shows in status bit 3; MSI functions return false
 * when not enabled.
 */
void pci_intx_set(struct pci_device *pci, bool level);
bool pci_msi_enabled(const struct pci_device *pci);
bool pci_msi_send(struct pci_device *pci, unsigned vector);
bool pci_msix_enabled(const struct pci_device *pci);
bool pci_msix_send(struct pci_device *pci, unsigned vector); /* masked vectors become pending */

/*
 * Pulls a function out (unplug): its decoding stops and its config space reads all ones until
 * machine reset.
 */
void pci_device_pull(struct pci_device *pci);

/*
 * The bus' part of reset: the header (below 0x40) and the capabilities as realize left them. The
 * machine calls it before class->reset. The chip's own registers above 0x40 are as realize left
 * them after RESET_COLD; after the others they are untouched, and class->reset decides (over S3
 * many must stay: no firmware sets up the chip set again).
 */
void pci_device_reset(struct pci_device *pci);

/*
 * Section "pci" that every PCI function's saved state begins with: config space, MSI-X table.
 * Applied before the device's. Config bits that the guest can neither write nor clear are not taken
 * from the stream: a chip that changes such bits by itself saves what they follow from and sets
 * them in its post_load.
 */
extern const struct state_desc pci_state;

static inline bool pci_device_is(const struct device *dev)
{
    return dev->class->pci != NULL;
}

#endif
