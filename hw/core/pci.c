/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI bus 0000:00 and the configuration header of its functions; see xendm/pci.h.
 *
 * PCI Local Bus 3.0: 6.1-6.2.3 (header type 0, command, status), 6.2.5 (base addresses, expansion
 * ROM), 2.2.6 (interrupt pins). Left out on purpose: bridges, types 1 and 2 headers, parity, VPD,
 * power management events.
 *
 * Decoding: after every write that may matter, what each BAR should decode is computed from the
 * header and compared with what is placed. A BAR that cannot be placed (another region is there,
 * the hypervisor takes no more ranges) stays undecoded, and is tried again whenever something else
 * moves away.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include <xendm/files.h>
#include <xendm/firmware.h>
#include <xendm/hypervisor.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/probe.h>
#include <xendm/recorder.h>
#include <xendm/turn.h>

#include "core.h"
#include "pci-regs.h"

#define SLOTS 32u
#define FUNCTIONS 8u
#define PINS 4u
#define ROM_SIZE_MAX (16u << 20)
#define FIRST_AUTO_SLOT 2u /* 0 is the host bridge, 1 the PIIX3's functions */

/* The bus' own part of a function. */
struct function {
    struct pci_device *pci;
    bool registered;                   /* the hypervisor forwards its configuration accesses */
    bool rom_loaded;                   /* pci->rom is ours to free */
    uint8_t power_on[PCI_CONFIG_SIZE]; /* config space as realize left it */
};

struct pci_bus {
    struct bus bus;
    struct machine *machine;
    const struct pci_hotplug *hotplug;
    void *hotplug_opaque;
    struct function *function[SLOTS * FUNCTIONS];
    struct irq_line intx[SLOTS][PINS];
};

/* ---- the bus ---- */

static void intx_changed(void *opaque, unsigned number, bool level)
{
    struct pci_bus *bus = opaque;

    recorder_note(REC_IRQ, level, number, 1);
    PROBE3(interrupt, 1, number, level);
    hv_pci_intx_set(bus->machine->hv, number / PINS, number % PINS, level);
}

struct pci_bus *pci_bus_new(struct machine *machine)
{
    struct pci_bus *bus = g_new0(struct pci_bus, 1);

    bus->machine = machine;
    bus_init(&bus->bus, &pci_bus_class, machine, NULL, "pci.0");
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        for (unsigned pin = 0; pin < PINS; pin++) {
            irq_line_init(&bus->intx[slot][pin], intx_changed, bus, slot * PINS + pin);
        }
    }
    return bus;
}

void pci_bus_free(struct pci_bus *bus)
{
    XENDM_ASSERT(!pci_device_next(bus, 0));
    bus_fini(&bus->bus);
    g_free(bus);
}

struct pci_device *pci_device_at(struct pci_bus *bus, unsigned devfn)
{
    return devfn < SLOTS * FUNCTIONS && bus->function[devfn] ? bus->function[devfn]->pci : NULL;
}

struct pci_device *pci_device_next(struct pci_bus *bus, unsigned devfn)
{
    for (; devfn < SLOTS * FUNCTIONS; devfn++) {
        if (bus->function[devfn]) {
            return bus->function[devfn]->pci;
        }
    }
    return NULL;
}

static bool slot_free(const struct pci_bus *bus, unsigned slot)
{
    for (unsigned f = 0; f < FUNCTIONS; f++) {
        if (bus->function[PCI_DEVFN(slot, f)]) {
            return false;
        }
    }
    return true;
}

/* The bus' part of an attached function; NULL for one that is not attached. */
static struct function *function_of(const struct pci_device *pci)
{
    struct function *fn = pci->dev.machine->pci->function[pci->devfn];

    return fn && fn->pci == pci ? fn : NULL;
}

int pci_device_attach(struct pci_bus *bus, struct pci_device *pci, int devfn, GError **err)
{
    XENDM_ASSERT(pci_device_is(&pci->dev) && pci->dev.phase == DEVICE_NEW && !function_of(pci));
    if (devfn == PCI_DEVFN_AUTO) {
        unsigned slot = FIRST_AUTO_SLOT;

        while (slot < SLOTS && !slot_free(bus, slot)) {
            slot++;
        }
        if (slot == SLOTS) {
            g_set_error(err, XENDM_ERROR, ENOSPC, "%s: no PCI slot is free", pci->dev.id);
            return -ENOSPC;
        }
        devfn = PCI_DEVFN(slot, 0);
    }
    if (devfn < 0 || (unsigned)devfn >= SLOTS * FUNCTIONS) {
        g_set_error(err, XENDM_ERROR, ERANGE, "%s: there is no PCI function %d", pci->dev.id,
                    devfn);
        return -ERANGE;
    }
    if (bus->function[devfn]) {
        g_set_error(err, XENDM_ERROR, EBUSY, "%s: PCI function %02x.%x is taken by %s", pci->dev.id,
                    PCI_SLOT(devfn), PCI_FUNCTION(devfn), bus->function[devfn]->pci->dev.id);
        return -EBUSY;
    }
    bus->function[devfn] = g_new0(struct function, 1);
    bus->function[devfn]->pci = pci;
    pci->devfn = (uint8_t)devfn;
    bus_add(&bus->bus, &pci->dev);
    return 0;
}

static int bus_take(struct bus *bus, struct device *dev, GError **err)
{
    struct pci_device *pci = (struct pci_device *)dev;
    int devfn = PCI_DEVFN_AUTO, rc;

    if (pci->addr && !pci_addr_parse(pci->addr, &devfn)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: property addr: \"%s\" is no slot[.function]",
                    dev->id, pci->addr);
        return -EINVAL;
    }
    rc = pci_device_attach((struct pci_bus *)bus, pci, devfn, err);
    if (rc == 0 && !pci->addr) {
        pci->addr = g_strdup_printf("%x.%x", PCI_SLOT(pci->devfn), PCI_FUNCTION(pci->devfn));
    }
    return rc;
}

void pci_set_hotplug(struct pci_bus *bus, const struct pci_hotplug *hotplug, void *opaque)
{
    bus->hotplug = hotplug;
    bus->hotplug_opaque = opaque;
}

/* A guest that runs, or did: one that was never started finds its devices when it boots. */
static const struct pci_hotplug *guest_hotplug(const struct pci_device *pci)
{
    struct machine *m = pci->dev.machine;

    return machine_private(m)->started ? m->pci->hotplug : NULL;
}

static int bus_request_unplug(struct device *dev, GError **err)
{
    struct pci_device *pci = (struct pci_device *)dev;
    const struct pci_hotplug *hotplug = guest_hotplug(pci);

    if (hotplug) {
        hotplug->request_unplug(dev->machine->pci->hotplug_opaque, pci);
    } else {
        device_unplug(dev);
    }
    return 0;
}

/* ---- base addresses ---- */

static inline unsigned bar_register(unsigned bar)
{
    return bar == PCI_BAR_ROM ? PCI_ROM_ADDRESS : PCI_BASE_ADDRESS + 4 * bar;
}

static inline const struct pci_bar_info *bar_info(const struct pci_device *pci, unsigned bar)
{
    return &pci->dev.class->pci->bar[bar];
}

static inline enum pci_bar_type bar_type(const struct pci_device *pci, unsigned bar)
{
    if (bar == PCI_BAR_ROM) {
        return pci->bar[bar].size ? PCI_BAR_MEM32 : PCI_BAR_NONE;
    }
    return pci->bar[bar].type;
}

static inline struct aspace *bar_space(const struct pci_device *pci, unsigned bar)
{
    return bar_type(pci, bar) == PCI_BAR_IO ? pci->dev.machine->pio : pci->dev.machine->mmio;
}

/* True for BARs whose accesses come to us: all but memory that the device itself gave the guest. */
static inline bool bar_has_region(const struct pci_device *pci, unsigned bar)
{
    return pci->bar[bar].region.ops != NULL;
}

static uint64_t rom_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct pci_device *pci = opaque;
    uint64_t value = 0;

    if (!pci->rom || offset > pci->bar[PCI_BAR_ROM].size - size) {
        return value_mask(size);
    }
    memcpy(&value, (const uint8_t *)pci->rom + offset, size);
    return GUINT64_FROM_LE(value);
}

static const struct region_ops rom_ops = {.read = rom_read, .impl_max = 8};

/* The region is as large as the BAR; what is behind the block reads 0, like its gaps. */
static void bar_add_registers(struct pci_device *pci, unsigned bar)
{
    const struct reg_block *block = bar_info(pci, bar)->regs;
    struct pci_bar *b = &pci->bar[bar];

    XENDM_ASSERT(block->size <= b->size && !b->bank);
    b->bank = g_new0(struct reg_bank, 1);
    reg_bank_init(b->bank, block, &pci->dev);
    region_init(&b->region, block->name, &reg_ops, b->bank, b->size);
}

void pci_bar_set_type(struct pci_device *pci, unsigned bar, enum pci_bar_type type,
                      bool prefetchable)
{
    static const uint8_t bits[] = {
        [PCI_BAR_IO] = PCI_BAR_SPACE_IO, [PCI_BAR_MEM32] = 0, [PCI_BAR_MEM64] = PCI_BAR_TYPE_64};
    bool prefetched = prefetchable && type != PCI_BAR_IO;

    XENDM_ASSERT(bar < PCI_BAR_COUNT && type != PCI_BAR_NONE && pci->dev.phase == DEVICE_NEW &&
                 pci->bar[bar].size == 0);
    XENDM_ASSERT(bar == 0 || pci->bar[bar - 1].type != PCI_BAR_MEM64);
    XENDM_ASSERT(type != PCI_BAR_MEM64 ||
                 (bar + 1 < PCI_BAR_COUNT && bar_info(pci, bar + 1)->type == PCI_BAR_NONE));
    pci->bar[bar].type = type;
    config_put32(pci->config, bar_register(bar),
                 bits[type] | (prefetched ? PCI_BAR_PREFETCHABLE : 0));
}

void pci_bar_set_size(struct pci_device *pci, unsigned bar, uint64_t size)
{
    enum pci_bar_type type;
    unsigned reg = bar_register(bar);
    uint64_t mask = ~(size - 1);
    const struct region_ops *ops;
    const char *name;

    XENDM_ASSERT(bar <= PCI_BAR_ROM && pci->dev.phase == DEVICE_NEW && size &&
                 (size & (size - 1)) == 0);
    pci->bar[bar].size = size;
    pci->bar[bar].address = PCI_BAR_UNMAPPED;
    type = bar_type(pci, bar);
    if (bar == PCI_BAR_ROM) {
        XENDM_ASSERT(size >= 2048 && size <= ROM_SIZE_MAX);
        ops = &rom_ops;
        name = "expansion ROM";
        mask |= PCI_ROM_ENABLE;
    } else {
        XENDM_ASSERT(type != PCI_BAR_NONE && size >= (type == PCI_BAR_IO ? 4 : 16));
        XENDM_ASSERT(type == PCI_BAR_MEM64 || size <= UINT64_C(1) << 31);
        ops = bar_info(pci, bar)->ops;
        name = bar_info(pci, bar)->name ? bar_info(pci, bar)->name : pci->dev.id;
    }
    config_put32(pci->writable, reg, (uint32_t)mask);
    if (type == PCI_BAR_MEM64) {
        config_put32(pci->writable, reg + 4, (uint32_t)(mask >> 32));
    }
    if (ops) {
        region_init(&pci->bar[bar].region, name, ops, pci, size);
    } else if (bar != PCI_BAR_ROM && bar_info(pci, bar)->regs) {
        bar_add_registers(pci, bar);
    }
}

/* At most a byte more than the largest; NULL with errno. Behind the sandbox line, too. */
static char *read_rom(const char *path, gsize *len)
{
    g_autofree char *contents = g_malloc(ROM_SIZE_MAX + 1);
    int fd = files_open_read(path);
    ssize_t n = 1;

    errno = fd < 0 ? -fd : 0;
    *len = 0;
    while (fd >= 0 && *len <= ROM_SIZE_MAX && n > 0) {
        n = read(fd, contents + *len, ROM_SIZE_MAX + 1 - *len);
        *len += n > 0 ? (gsize)n : 0;
    }
    if (fd >= 0) {
        int e = errno;

        close(fd);
        errno = e;
    }
    return fd < 0 || n < 0 ? NULL : g_steal_pointer(&contents);
}

int pci_rom_load(struct pci_device *pci, const char *file, GError **err)
{
    struct function *fn = function_of(pci);
    const char *dirs = pci->dev.machine->firmware_dirs;
    g_autofree char *contents = NULL, *path = NULL;
    uint64_t size = 2048;
    gsize len;

    XENDM_ASSERT(fn && !pci->rom && pci->dev.phase == DEVICE_NEW);
    if (!pci->rombar) {
        return 0;
    }
    path = firmware_find(dirs ? dirs : "", file);
    contents = read_rom(path, &len);
    if (!contents) {
        int e = errno;

        g_set_error(err, XENDM_ERROR, e, "%s: option ROM: cannot read '%s': %s", pci->dev.id, path,
                    files_why(e));
        return -ENOENT;
    }
    if (len == 0 || len > ROM_SIZE_MAX) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: option ROM %s has %zu bytes, not 1..%u",
                    pci->dev.id, file, (size_t)len, ROM_SIZE_MAX);
        return -EINVAL;
    }
    while (size < len) {
        size *= 2;
    }
    /* A copy and no mapping of the file: whoever shortens the file must not be able to kill us. */
    pci->rom = g_malloc0(size);
    memcpy(pci->rom, contents, len);
    fn->rom_loaded = true;
    pci_bar_set_size(pci, PCI_BAR_ROM, size);
    return 0;
}

/* Where `bar` is to be decoded by what the header says now, or PCI_BAR_UNMAPPED. */
static uint64_t bar_wanted(const struct pci_device *pci, unsigned bar)
{
    enum pci_bar_type type = bar_type(pci, bar);
    unsigned reg = bar_register(bar);
    uint64_t size = pci->bar[bar].size;
    uint16_t command = config_get16(pci->config, PCI_COMMAND);
    uint64_t address, last, limit;

    if (type == PCI_BAR_NONE || size == 0 || pci->powered_down || pci_power_state(pci) != 0) {
        return PCI_BAR_UNMAPPED;
    }
    if (!(command & (type == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY))) {
        return PCI_BAR_UNMAPPED;
    }
    address = config_get32(pci->config, reg);
    if (bar == PCI_BAR_ROM && !(address & PCI_ROM_ENABLE)) {
        return PCI_BAR_UNMAPPED;
    }
    if (type == PCI_BAR_MEM64) {
        address |= (uint64_t)config_get32(pci->config, reg + 4) << 32;
    }
    address &= ~(size - 1);
    last = address + (size - 1);
    /*
     * 0 is how a BAR leaves reset, and ends at the last address are how it looks while the guest
     * asks for its size: neither is meant to be decoded. The top of 4 GiB is the firmware's anyway.
     */
    limit = type == PCI_BAR_IO      ? 0xffff
            : type == PCI_BAR_MEM32 ? UINT32_MAX - UINT64_C(1)
                                    : (UINT64_C(1) << 48) - 1;
    return address == 0 || last < address || last > limit ? PCI_BAR_UNMAPPED : address;
}

static void bar_place(struct pci_device *pci, unsigned bar, uint64_t address, bool guest,
                      bool loading)
{
    g_autoptr(GError) err = NULL;
    int rc;

    if (!bar_has_region(pci, bar)) {
        pci->bar[bar].address = address;
        if (!loading && pci->dev.class->pci->moved) {
            pci->dev.class->pci->moved(&pci->dev, bar, address);
        }
        return;
    }
    pci->bar[bar].region.owner = &pci->dev;
    rc = region_place(bar_space(pci, bar), &pci->bar[bar].region, address, &err);
    if (rc == 0) {
        pci->bar[bar].address = address;
    } else if (!region_misplaced(rc)) {
        /* Not the guest's doing. The hypervisor's room has told the admin, at a bearable rate. */
        log_debug(LOG_PCI, "%s: BAR %u is not decoded: %s", pci->dev.id, bar, err->message);
    } else if (guest) {
        log_guest(LOG_PCI, "%s: BAR %u is not decoded: %s", pci->dev.id, bar, err->message);
    }
}

/* Makes one function's decoding what its header says. Returns whether something was taken away. */
static bool function_decode(struct pci_device *pci, bool guest, bool loading)
{
    uint64_t wanted[PCI_BAR_COUNT + 1];
    bool vacated = false;

    /* All that goes before all that comes, so that BARs can change places. */
    for (unsigned bar = 0; bar <= PCI_BAR_ROM; bar++) {
        struct pci_bar *b = &pci->bar[bar];

        wanted[bar] = bar_wanted(pci, bar);
        if (b->size == 0 || b->address == PCI_BAR_UNMAPPED || b->address == wanted[bar]) {
            continue;
        }
        vacated = true;
        if (bar_has_region(pci, bar)) {
            region_remove(&b->region);
            b->address = PCI_BAR_UNMAPPED;
        } else if (wanted[bar] == PCI_BAR_UNMAPPED) {
            bar_place(pci, bar, PCI_BAR_UNMAPPED, guest, loading);
        }
    }
    for (unsigned bar = 0; bar <= PCI_BAR_ROM; bar++) {
        if (wanted[bar] != PCI_BAR_UNMAPPED && pci->bar[bar].address != wanted[bar]) {
            bar_place(pci, bar, wanted[bar], guest, loading);
        }
    }
    return vacated;
}

/* `guest`: by a guest's access, so that what fails is the guest's mistake and logged. */
void pci_decode_update(struct pci_device *pci, bool guest)
{
    struct pci_bus *bus = pci->dev.machine->pci;

    if (!function_decode(pci, guest, false)) {
        return;
    }
    pci_foreach (other, bus) {
        if (other != pci && function_of(other)->registered) {
            function_decode(other, false, false);
        }
    }
}

/* ---- interrupts, power, bus mastering ---- */

unsigned pci_power_state(const struct pci_device *pci)
{
    return pci->cap_pm ? pci->config[pci->cap_pm + PCI_PM_CONTROL] & PCI_PM_STATE_MASK : 0;
}

/* Status bit 3 shows what the chip wants, the wire what it may. */
static bool intx_wire(struct pci_device *pci)
{
    if (pci->intx_asserted) {
        pci->config[PCI_STATUS] |= PCI_STATUS_INTX;
    } else {
        pci->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTX;
    }
    return pci->intx_asserted && !(config_get16(pci->config, PCI_COMMAND) & PCI_COMMAND_INTX_OFF) &&
           !pci_msi_enabled(pci) && !pci_msix_enabled(pci) && !pci->powered_down;
}

static void intx_update(struct pci_device *pci)
{
    irq_set(&pci->intx, intx_wire(pci));
}

void pci_intx_set(struct pci_device *pci, bool level)
{
    if (pci->intx_asserted != level) {
        pci->intx_asserted = level;
        intx_update(pci);
    }
}

static void master_update(struct pci_device *pci)
{
    pci->dev.dma_blocked = !(config_get16(pci->config, PCI_COMMAND) & PCI_COMMAND_MASTER) ||
                           pci->powered_down || pci_power_state(pci) != 0;
}

void pci_device_pull(struct pci_device *pci)
{
    if (pci->powered_down) {
        return;
    }
    pci->powered_down = true;
    master_update(pci);
    intx_update(pci);
    pci_decode_update(pci, false);
}

/* ---- configuration accesses ---- */

static bool touches(unsigned reg, unsigned len, unsigned first, unsigned size)
{
    return reg < first + size && first < reg + len;
}

/* Inside one dword of an existing function. */
static uint32_t function_read(struct pci_device *pci, unsigned reg, unsigned len)
{
    uint32_t value = 0;
    unsigned status = pci->cap_af + PCI_AF_STATUS;

    if (pci->dev.class->pci->config_read) {
        pci->dev.class->pci->config_read(&pci->dev, reg, len);
    }
    for (unsigned i = 0; i < len; i++) {
        value |= (uint32_t)pci->config[reg + i] << (8 * i);
    }
    /* What is so now is no state: it is not kept in `config`. */
    if (pci->cap_af && touches(reg, len, status, 1) && pci->dev.class->busy &&
        pci->dev.class->busy(&pci->dev)) {
        value |= (uint32_t)PCI_AF_PENDING << (8 * (status - reg));
    }
    return value;
}

static bool asks_for_reset(const struct pci_device *pci, unsigned reg, uint32_t value, unsigned len)
{
    unsigned control = pci->cap_af + PCI_AF_CONTROL;

    return pci->cap_af && touches(reg, len, control, 1) &&
           (value >> (8 * (control - reg)) & PCI_AF_INITIATE);
}

static void function_write(struct pci_device *pci, unsigned reg, uint32_t value, unsigned len)
{
    uint32_t old = config_get32(pci->config, reg & ~3u);
    unsigned power = pci_power_state(pci);

    if (asks_for_reset(pci, reg, value, len)) {
        log_debug(LOG_PCI, "%s: function level reset", pci->dev.id);
        pci_function_power_on(pci);
        device_reset(&pci->dev, RESET_DEVICE);
        return;
    }
    for (unsigned i = 0; i < len; i++) {
        uint8_t *byte = &pci->config[reg + i];
        uint8_t written = (uint8_t)(value >> (8 * i));
        uint8_t writable = pci->writable[reg + i];

        *byte = (uint8_t)((*byte & ~writable) | (written & writable));
        *byte &= (uint8_t) ~(written & pci->w1c[reg + i]);
    }
    if (pci->cap_pm && touches(reg, len, pci->cap_pm + PCI_PM_CONTROL, 1)) {
        uint8_t *control = &pci->config[pci->cap_pm + PCI_PM_CONTROL];
        unsigned wanted = *control & PCI_PM_STATE_MASK;

        /* D1 and D2 are not offered: such a write has no effect (PCI-PM 3.2.4). */
        if (wanted != 0 && wanted != PCI_PM_D3) {
            *control = (uint8_t)((*control & ~PCI_PM_STATE_MASK) | power);
        }
        master_update(pci);
        pci_decode_update(pci, true);
    }
    if (touches(reg, len, PCI_COMMAND, 2)) {
        master_update(pci);
        intx_update(pci);
        pci_decode_update(pci, true);
        pci_msix_control_written(pci);
    } else if (touches(reg, len, PCI_BASE_ADDRESS, 4 * PCI_BAR_COUNT) ||
               touches(reg, len, PCI_ROM_ADDRESS, 4)) {
        pci_decode_update(pci, true);
    }
    if (pci->cap_msi && touches(reg, len, pci->cap_msi + PCI_MSI_CONTROL, 2)) {
        intx_update(pci);
    }
    if (pci->cap_msix && touches(reg, len, pci->cap_msix + PCI_MSIX_CONTROL, 2)) {
        intx_update(pci);
        pci_msix_control_written(pci);
    }
    if (pci->dev.class->pci->config_written) {
        pci->dev.class->pci->config_written(&pci->dev, reg, len, old);
    }
}

/* How many of `len` bytes from `reg` are in its dword. */
static unsigned dword_part(unsigned reg, unsigned len)
{
    unsigned room = 4 - reg % 4;

    return len < room ? len : room;
}

static struct pci_device *responder(struct pci_bus *bus, unsigned devfn)
{
    struct pci_device *pci = pci_device_at(bus, devfn);

    return pci && pci->dev.phase != DEVICE_NEW && !pci->powered_down ? pci : NULL;
}

uint32_t pci_config_read(struct pci_bus *bus, unsigned devfn, unsigned reg, unsigned len)
{
    struct pci_device *pci = responder(bus, devfn);
    uint32_t value = (uint32_t)value_mask(len);

    turn_access_begin();
    for (unsigned done = 0, part; pci && done < len && reg + done < PCI_CONFIG_SIZE; done += part) {
        part = dword_part(reg + done, len - done);
        value &= ~((uint32_t)value_mask(part) << (8 * done));
        value |= function_read(pci, reg + done, part) << (8 * done);
    }
    turn_access_end();
    return value;
}

void pci_config_write(struct pci_bus *bus, unsigned devfn, unsigned reg, uint32_t value,
                      unsigned len)
{
    turn_access_begin();
    for (unsigned done = 0, part; done < len && reg + done < PCI_CONFIG_SIZE; done += part) {
        struct pci_device *pci = responder(bus, devfn); /* the first part may pull it out */

        part = dword_part(reg + done, len - done);
        if (pci) {
            function_write(pci, reg + done, value >> (8 * done), part);
        }
    }
    turn_access_end();
}

/* ---- capabilities ---- */

uint8_t pci_cap_add(struct pci_device *pci, uint8_t id, uint8_t offset, uint8_t size)
{
    unsigned at = offset ? offset : pci->cap_next;
    unsigned link = PCI_CAPABILITIES;

    XENDM_ASSERT(pci->dev.phase == DEVICE_NEW);
    XENDM_ASSERT(at >= 0x40 && at % 4 == 0 && size >= 2 && at + size <= PCI_CONFIG_SIZE);
    while (pci->config[link]) {
        link = pci->config[link] + 1u;
    }
    pci->config[link] = (uint8_t)at;
    pci->config[at] = id;
    pci->config[at + 1] = 0;
    pci->config[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
    if (at + size > pci->cap_next) {
        unsigned next = (at + size + 3u) & ~3u;

        pci->cap_next = next < PCI_CONFIG_SIZE ? (uint8_t)next : 0xfc;
    }
    return (uint8_t)at;
}

void pci_cap_add_pm(struct pci_device *pci, uint8_t offset)
{
    uint8_t at = pci_cap_add(pci, PCI_CAP_PM, offset, 8);

    pci->cap_pm = at;
    config_put16(pci->config, at + 2u, 3); /* version 1.2; no D1, D2, PME# */
    pci->config[at + PCI_PM_CONTROL] = PCI_PM_NO_SOFT_RESET;
    pci->writable[at + PCI_PM_CONTROL] = PCI_PM_STATE_MASK;
}

void pci_cap_add_af(struct pci_device *pci, uint8_t offset)
{
    uint8_t at = pci_cap_add(pci, PCI_CAP_AF, offset, PCI_AF_SIZE);

    pci->cap_af = at;
    pci->config[at + PCI_AF_LENGTH] = PCI_AF_SIZE;
    pci->config[at + PCI_AF_OFFERS] = PCI_AF_PENDING_FLR;
}

/* ---- life ---- */

/*
 * What was asked for has to be there. The default is there where its package is: a network card
 * works without.
 */
static int load_rom(struct pci_device *pci, GError **err)
{
    const char *file = pci->romfile ? pci->romfile : pci->dev.class->pci->rom;
    const char *dirs = pci->dev.machine->firmware_dirs;
    g_autoptr(GError) why = NULL;

    if (!file || !*file || (!pci->romfile && !dirs)) {
        return 0;
    }
    if (pci_rom_load(pci, file, &why) == 0) {
        return 0;
    }
    if (pci->romfile) {
        g_propagate_error(err, g_steal_pointer(&why));
        return -EINVAL;
    }
    log_info(LOG_PCI, "%s; it goes without", why->message);
    return 0;
}

static int function_prepare(struct device *dev, GError **err)
{
    struct pci_device *pci = (struct pci_device *)dev;
    const struct pci_info *info = pci->dev.class->pci;
    uint8_t *config = pci->config;

    memset(config, 0, sizeof(pci->config));
    memset(pci->writable, 0, sizeof(pci->writable));
    memset(pci->w1c, 0, sizeof(pci->w1c));
    config_put16(config, PCI_VENDOR, info->vendor);
    config_put16(config, PCI_DEVICE, info->device);
    config[PCI_REVISION] = info->revision;
    config[PCI_CLASS] = (uint8_t)info->class;
    config_put16(config, PCI_CLASS + 1, (uint16_t)(info->class >> 8));
    config[PCI_HEADER_TYPE] = info->multifunction ? PCI_HEADER_MULTIFUNCTION : 0;
    config_put16(config, PCI_SUBSYSTEM_VENDOR, info->subsystem_vendor);
    config_put16(config, PCI_SUBSYSTEM, info->subsystem);
    config[PCI_INTERRUPT_PIN] = info->intx_pin;

    config_put16(pci->writable, PCI_COMMAND,
                 PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
                     PCI_COMMAND_SERR | PCI_COMMAND_INTX_OFF);
    config_put16(pci->w1c, PCI_STATUS, PCI_STATUS_W1C);
    pci->writable[PCI_CACHE_LINE] = 0xff;
    pci->writable[PCI_LATENCY] = 0xf8;
    pci->writable[PCI_INTERRUPT_LINE] = 0xff;
    pci->cap_next = 0x40;

    for (const struct pci_config_reg *r = info->config; r && r->reg; r++) {
        config[r->reg] = r->reset;
        pci->writable[r->reg] |= r->writable;
        pci->w1c[r->reg] |= r->w1c;
    }

    memset(pci->bar, 0, sizeof(pci->bar));
    for (unsigned bar = 0; bar <= PCI_BAR_ROM; bar++) {
        pci->bar[bar].address = PCI_BAR_UNMAPPED;
    }
    for (unsigned bar = 0; bar < PCI_BAR_COUNT; bar++) {
        const struct pci_bar_info *b = &info->bar[bar];

        if (b->type == PCI_BAR_NONE) {
            continue;
        }
        pci_bar_set_type(pci, bar, b->type, b->prefetchable);
        if (b->size) {
            pci_bar_set_size(pci, bar, b->size);
        }
    }
    if (load_rom(pci, err) < 0) {
        return -EINVAL;
    }
    XENDM_ASSERT(info->intx_pin <= PINS);
    if (info->intx_pin) {
        irq_connect(&pci->intx,
                    &pci->dev.machine->pci->intx[PCI_SLOT(pci->devfn)][info->intx_pin - 1]);
    }
    pci->dev.dma_blocked = true;
    return 0;
}

static int function_on(struct device *dev, GError **err)
{
    struct pci_device *pci = (struct pci_device *)dev;
    struct function *fn = function_of(pci);
    int rc;

    for (unsigned bar = 0; bar < PCI_BAR_COUNT; bar++) {
        if (bar_type(pci, bar) != PCI_BAR_NONE && pci->bar[bar].size == 0) {
            config_put32(pci->config, bar_register(bar), 0); /* realize did without it */
        }
    }
    rc = hvs_pci_function_add(pci->dev.machine->server, pci->devfn);
    if (rc < 0) {
        g_set_error(err, XENDM_ERROR, -rc,
                    "%s: the hypervisor does not forward PCI function %02x.%x: %s", pci->dev.id,
                    PCI_SLOT(pci->devfn), PCI_FUNCTION(pci->devfn), g_strerror(-rc));
        return rc;
    }
    memcpy(fn->power_on, pci->config, sizeof(fn->power_on));
    fn->registered = true;
    master_update(pci);
    if (dev->class->hotplug && guest_hotplug(pci)) {
        guest_hotplug(pci)->plugged(dev->machine->pci->hotplug_opaque, pci);
    }
    return 0;
}

/* Removes regions without asking the device, which goes away. */
static void unplace(struct pci_device *pci)
{
    for (unsigned bar = 0; bar <= PCI_BAR_ROM; bar++) {
        region_remove(&pci->bar[bar].region);
        pci->bar[bar].address = PCI_BAR_UNMAPPED;
    }
}

static void function_off(struct device *dev)
{
    struct pci_device *pci = (struct pci_device *)dev;
    struct function *fn = function_of(pci);

    if (dev->phase == DEVICE_LEAVING) {
        pci_device_pull(pci); /* the interrupt goes down before the end */
    }
    unplace(pci);
    if (fn->registered) {
        fn->registered = false;
        hvs_pci_function_del(pci->dev.machine->server, pci->devfn);
    }
}

static void function_release(struct device *dev)
{
    struct pci_device *pci = (struct pci_device *)dev;
    struct function *fn = function_of(pci);

    pci->intx_asserted = false;
    irq_connect(&pci->intx, NULL);
    unplace(pci);
    if (fn->rom_loaded) {
        fn->rom_loaded = false;
        g_free(pci->rom);
        pci->rom = NULL;
    }
    for (unsigned bar = 0; bar <= PCI_BAR_ROM; bar++) {
        g_clear_pointer(&pci->bar[bar].bank, g_free);
    }
    g_clear_pointer(&pci->msix_table, g_free);
    g_clear_pointer(&pci->msix_pba, g_free);
    pci->msix_count = 0;
    pci->cap_pm = pci->cap_msi = pci->cap_msix = pci->cap_af = 0;
}

static void function_detach(struct device *dev)
{
    struct pci_device *pci = (struct pci_device *)dev;

    g_clear_pointer(&dev->machine->pci->function[pci->devfn], g_free);
    bus_remove(dev);
}

static void reset_capability(struct pci_device *pci, const struct function *fn, unsigned at,
                             unsigned size)
{
    for (unsigned i = at; at && i < at + size && i < PCI_CONFIG_SIZE; i++) {
        pci->config[i] = fn->power_on[i];
    }
}

void pci_function_power_on(struct pci_device *pci)
{
    pci->powered_down = false;
    memcpy(pci->config, function_of(pci)->power_on, sizeof(pci->config));
    pci_device_reset(pci);
}

void pci_device_reset(struct pci_device *pci)
{
    struct function *fn = function_of(pci);

    XENDM_ASSERT(fn && fn->registered);
    /*
     * The header and the capabilities that are ours. The chip's own registers are for its
     * class->reset, because some of them have to outlive S3: nobody runs firmware that would
     * program a chip set again (toolstack.md 4.8).
     */
    memcpy(pci->config, fn->power_on, PCI_HEADER_SIZE);
    reset_capability(pci, fn, pci->cap_pm, 8);
    reset_capability(pci, fn, pci->cap_msi, 14);
    reset_capability(pci, fn, pci->cap_msix, 12);
    pci->intx_asserted = false;
    pci_msi_reset(pci);
    master_update(pci);
    intx_update(pci);
    pci_decode_update(pci, false);
}

static void function_reset(struct device *dev, enum reset_reason why)
{
    pci_device_reset((struct pci_device *)dev);
}

static const struct property place[] = {
    {.name = "addr",
     .type = PROP_STRING,
     .offset = offsetof(struct pci_device, addr),
     .help = "slot or slot.function, hexadecimal; the first free slot when not given"},
    {.name = "romfile",
     .type = PROP_STRING,
     .offset = offsetof(struct pci_device, romfile),
     .help = "option ROM: a file, or its name in a directory of firmware; empty: none"},
    {.name = "rombar",
     .type = PROP_UINT32,
     .offset = offsetof(struct pci_device, rombar),
     .def = "1",
     .max = 1,
     .help = "0: no option ROM"},
    {.name = NULL},
};

const struct bus_class pci_bus_class = {
    .name = "PCI",
    .place = place,
    .hotplug = true,
    .take = bus_take,
    .prepare = function_prepare,
    .on = function_on,
    .off = function_off,
    .release = function_release,
    .leave = function_detach,
    .reset = function_reset,
    .request_unplug = bus_request_unplug,
};

/* ---- saved state ---- */

static bool state_fits_function(const void *scratch, const void *base, GError **err)
{
    static const uint8_t identity[] = {
        PCI_VENDOR,    PCI_VENDOR + 1, PCI_DEVICE,      PCI_DEVICE + 1,   PCI_CLASS,
        PCI_CLASS + 1, PCI_CLASS + 2,  PCI_HEADER_TYPE, PCI_CAPABILITIES, PCI_INTERRUPT_PIN,
    };
    const struct pci_device *saved = scratch;
    const struct pci_device *pci = base;

    for (unsigned i = 0; i < sizeof(identity); i++) {
        if (saved->config[identity[i]] != pci->config[identity[i]]) {
            g_set_error(err, STATE_ERROR, EINVAL,
                        "config: register 0x%02x is 0x%02x, not 0x%02x: another device",
                        identity[i], saved->config[identity[i]], pci->config[identity[i]]);
            return false;
        }
    }
    if (saved->msix_table_bytes != pci->msix_table_bytes ||
        saved->msix_pba_bytes != pci->msix_pba_bytes) {
        g_set_error(err, STATE_ERROR, EINVAL, "msix_table: %u and %u bytes, not %u and %u",
                    saved->msix_table_bytes, saved->msix_pba_bytes, pci->msix_table_bytes,
                    pci->msix_pba_bytes);
        return false;
    }
    return true;
}

static void state_loaded(void *base)
{
    struct pci_device *pci = base;
    const struct function *fn = function_of(pci);

    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
        uint8_t guest = pci->writable[i] | pci->w1c[i];

        pci->config[i] = (uint8_t)((pci->config[i] & guest) | (fn->power_on[i] & ~guest));
    }
    pci_msix_restored(pci);
    master_update(pci);
    function_decode(pci, true, true);
    irq_restore(&pci->intx, intx_wire(pci));
}

static const struct state_field pci_fields[] = {
    STATE_FIELD_BYTES(struct pci_device, config),
    STATE_FIELD_BOOL(struct pci_device, powered_down),
    STATE_FIELD_BOOL(struct pci_device, intx_asserted),
    {
        .name = "msix_table",
        .type = STATE_VAR_BYTES,
        .offset = offsetof(struct pci_device, msix_table),
        .count = 2048 * sizeof(struct msix_entry),
        .length_offset = offsetof(struct pci_device, msix_table_bytes),
    },
    {
        .name = "msix_pba",
        .type = STATE_VAR_BYTES,
        .offset = offsetof(struct pci_device, msix_pba),
        .count = 2048 / 8,
        .length_offset = offsetof(struct pci_device, msix_pba_bytes),
    },
    STATE_FIELD_END,
};

/* The MSI-X arrays go into the stream as they are in memory. */
G_STATIC_ASSERT(G_BYTE_ORDER == G_LITTLE_ENDIAN && sizeof(struct msix_entry) == 16);

const struct state_desc pci_state = {
    .name = "pci",
    .version = 1,
    .fields = pci_fields,
    .fits = state_fits_function,
    .post_load = state_loaded,
};
