/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Standard VGA: PCI 1234:1111, a VGA with the Bochs VBE extensions, as Bochs and QEMU have it. Used
 * by SeaBIOS' and OVMF's drivers, Linux' bochs-drm, and every guest's plain VGA driver.
 *
 * Sources: QEMU's docs/specs/standard-vga.rst (BARs, MMIO layout); vga-*.c and vbe.c for the chip.
 *
 *   BAR 0  video memory (prefetchable), vgamem_mb rounded up to a power of two; the rest is empty
 *   BAR 2  4 KiB: EDID at 0, ports 0x3C0..0x3DF at 0x400, dispi registers at 0x500, extended
 *          registers at 0x600
 *   ROM    the VGA BIOS
 *
 * Video memory is made of guest pages of the domain's own (devmem.h), so that the guest writes it
 * without us.
 */
#include <string.h>

#include <xendm/classes.h>
#include <xendm/machine.h>
#include <xendm/pci.h>

#include "edid.h"
#include "vbe.h"
#include "vga-core.h"

#define VRAM_BAR 0
#define MMIO_BAR 2
#define MMIO_SIZE 0x1000u
#define MMIO_PORTS 0x400u /* 0x3C0..0x3DF */
#define MMIO_DISPI 0x500u
#define MMIO_EXTENDED 0x600u
#define EXTENDED_SIZE 8u
#define ORDER_BIG 0xbebebebeu
#define ORDER_LITTLE 0x1e1e1e1eu

struct std_vga {
    struct pci_device pci;
    struct vga vga;
    struct vbe vbe;

    uint32_t vgamem_mb; /* properties */
    char *romfile;

    struct vga_isa isa;
    struct region dispi;
    uint8_t edid[EDID_SIZE];
};

static struct std_vga *from_pci(struct device *dev)
{
    return DEVICE_CAST(struct std_vga, dev);
}

/* ---- registers ---- */

/* 0x1CE: index, 0x1CF and (for machines that want it aligned) 0x1D0: data. Words, each at its own
 * byte address. */
static uint64_t dispi_read(void *opaque, uint64_t offset, unsigned size)
{
    struct std_vga *s = opaque;
    uint16_t value = offset == 0 ? s->vbe.index : vbe_read(&s->vbe, s->vbe.index);
    return size == 1 ? value & 0xff : value;
}

static void dispi_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct std_vga *s = opaque;

    if (offset == 0) {
        s->vbe.index = (uint16_t)value;
    } else if (offset <= 2 && size == 2) {
        vbe_write(&s->vbe, s->vbe.index, (uint16_t)value);
    }
}

static const struct region_ops dispi_ops = {
    .read = dispi_read,
    .write = dispi_write,
    .impl_min = 1,
    .impl_max = 2,
};

static const struct vga_isa_ops isa_ops = {
    .port_read = vga_port_read,
    .port_write = vga_port_write,
    .window_read = vga_window_read,
    .window_write = vga_window_write,
};

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    struct std_vga *s = opaque;
    uint64_t value = 0;

    if (offset < EDID_SIZE) {
        memcpy(&value, s->edid + offset, MIN(size, EDID_SIZE - offset));
    } else if (offset >= MMIO_PORTS && offset + size <= MMIO_PORTS + 0x20) {
        value = vga_ports_read(&s->isa, offset - MMIO_PORTS, size);
    } else if (offset >= MMIO_DISPI && offset < MMIO_DISPI + 2 * VBE_COUNT) {
        unsigned index = (unsigned)(offset - MMIO_DISPI) / 2;
        value = vbe_read(&s->vbe, index) | (uint32_t)vbe_read(&s->vbe, index + 1) << 16;
        value >>= 8 * (offset & 1);
    } else if (offset >= MMIO_EXTENDED && offset < MMIO_EXTENDED + EXTENDED_SIZE) {
        uint32_t reg[2] = {EXTENDED_SIZE, s->vbe.big_endian ? ORDER_BIG : ORDER_LITTLE};
        memcpy(&value, (char *)reg + (offset - MMIO_EXTENDED),
               MIN(size, MMIO_EXTENDED + EXTENDED_SIZE - offset));
    }
    return value;
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct std_vga *s = opaque;

    if (offset >= MMIO_PORTS && offset + size <= MMIO_PORTS + 0x20) {
        vga_ports_write(&s->isa, offset - MMIO_PORTS, value, size);
    } else if (offset >= MMIO_DISPI && offset < MMIO_DISPI + 2 * VBE_COUNT && !(offset & 1) &&
               size >= 2) {
        unsigned index = (unsigned)(offset - MMIO_DISPI) / 2;
        vbe_write(&s->vbe, index, (uint16_t)value);
        if (size == 4) {
            vbe_write(&s->vbe, index + 1, (uint16_t)(value >> 16));
        }
    } else if (offset == MMIO_EXTENDED + 4 && size == 4) {
        if ((uint32_t)value == ORDER_BIG || (uint32_t)value == ORDER_LITTLE) {
            s->vbe.big_endian = (uint32_t)value == ORDER_BIG;
            s->vga.changed = true;
        }
    }
}

static const struct region_ops mmio_ops = {
    .read = mmio_read,
    .write = mmio_write,
    .impl_min = 1,
    .impl_max = 4,
};

static void std_vga_moved(struct device *dev, unsigned bar, uint64_t address)
{
    struct std_vga *s = from_pci(dev);

    if (bar == VRAM_BAR && address != PCI_BAR_UNMAPPED && s->vga.mem.mapped &&
        devmem_accepts(&s->vga.mem, address, s->vga.vram_size)) {
        devmem_move(&s->vga.mem, address);
    }
}

/* ---- device ---- */

static bool extension_mode(struct vga *v, struct vga_mode *m)
{
    return vbe_mode(&((struct std_vga *)((char *)v - offsetof(struct std_vga, vga)))->vbe, m);
}

static const struct vga_extension extension = {.mode = extension_mode};

static uint64_t power_of_two(uint64_t n)
{
    return n <= 1 ? 1 : 1ull << (64 - __builtin_clzll(n - 1));
}

/* hvmloader runs the ROM; without one the screen stays dark until a driver comes. */
static int load_rom(struct std_vga *s, GError **err)
{
    const struct machine *m = s->pci.dev.machine;
    const char *name = s->romfile ? s->romfile : m->firmware_dirs ? "vgabios-stdvga.bin" : "";

    return name[0] ? pci_rom_load(&s->pci, name, err) : 0;
}

static int std_vga_realize(struct device *dev, GError **err)
{
    struct std_vga *s = from_pci(dev);
    int rc;

    s->vga.extension = &extension;
    s->vbe.vga = &s->vga;
    s->vbe.dev = dev;
    edid_make(s->edid);
    region_init(&s->dispi, "vga-dispi", &dispi_ops, s, 4);
    pci_bar_set_size(&s->pci, VRAM_BAR, power_of_two(s->vgamem_mb << 20));
    rc = load_rom(s, err);
    if (rc == 0) {
        rc = vga_isa_place(&s->isa, &s->vga, &isa_ops, dev, err);
    }
    if (rc == 0) {
        rc = device_place_pio(dev, &s->dispi, 0x1ce, err);
    }
    if (rc == 0) {
        rc = vga_init(&s->vga, dev, s->vgamem_mb << 20, err);
    }
    if (rc < 0) {
        vga_free(&s->vga);
    }
    return rc;
}

/* Video memory keeps its contents and its place: a reset does not move DRAM. */
static void std_vga_reset(struct device *dev, enum reset_reason why)
{
    struct std_vga *s = from_pci(dev);

    devmem_settle(&s->vga.mem);
    vga_reset(&s->vga);
    vbe_reset(&s->vbe);
}

static void std_vga_unrealize(struct device *dev)
{
    struct std_vga *s = from_pci(dev);

    device_work_finish(&s->vbe.clear);
    vga_free(&s->vga);
}

static void std_vga_describe(struct device *dev, struct facts *to)
{
    vga_describe(&from_pci(dev)->vga, to);
}

/* ---- saved state ---- */

static void std_vga_pre_save(void *base)
{
    devmem_pre_save(&((struct std_vga *)base)->vga.mem);
}

static bool std_vga_fits(const void *scratch, const void *base, GError **err)
{
    return devmem_fits(&((const struct std_vga *)scratch)->vga.mem,
                       &((const struct std_vga *)base)->vga.mem, err);
}

static void std_vga_post_load(void *base)
{
    struct std_vga *s = base;

    devmem_post_load(&s->vga.mem, s->pci.bar[VRAM_BAR].address);
    vbe_update(&s->vbe);
}

static const struct state_field std_vga_fields[] = {
    STATE_FIELD_STRUCT(struct std_vga, vga, 1, &vga_state),
    STATE_FIELD_STRUCT(struct std_vga, vbe, 1, &vbe_state),
    DEVMEM_STATE_FIELDS(struct std_vga, vga.mem),
    STATE_FIELD_END,
};

static const struct state_desc std_vga_state = {
    .name = "std-vga",
    .version = 1,
    .fields = std_vga_fields,
    .pre_save = std_vga_pre_save,
    .fits = std_vga_fits,
    .post_load = std_vga_post_load,
};

static const struct property std_vga_properties[] = {
    {.name = "vgamem_mb",
     .type = PROP_UINT32,
     .offset = offsetof(struct std_vga, vgamem_mb),
     .def = "16",
     .min = VGA_VRAM_MIN >> 20,
     .max = VGA_VRAM_MAX >> 20,
     .help = "video memory in MiB"},
    {.name = "romfile",
     .type = PROP_STRING,
     .offset = offsetof(struct std_vga, romfile),
     .help =
         "VGA BIOS for the expansion ROM, of the firmware directory when it has no path; empty: "
         "none"},
    {.name = NULL},
};

static const struct pci_info std_vga_pci = {
    .vendor = 0x1234,
    .device = 0x1111,
    .subsystem_vendor = 0x1af4,
    .subsystem = 0x1100,
    .class = 0x030000,
    .revision = 2,
    .bar =
        {
            [VRAM_BAR] = {.type = PCI_BAR_MEM32, .prefetchable = true, .name = "vga-vram"},
            [MMIO_BAR] =
                {.type = PCI_BAR_MEM32, .size = MMIO_SIZE, .ops = &mmio_ops, .name = "vga-mmio"},
        },
    .moved = std_vga_moved,
};

const struct device_class std_vga_class = {
    .name = "VGA",
    .display = true,
    .help = "standard VGA with Bochs VBE extensions",
    .size = sizeof(struct std_vga),
    .recorded = true,
    .properties = std_vga_properties,
    .state = &std_vga_state,
    .realize = std_vga_realize,
    .reset = std_vga_reset,
    .unrealize = std_vga_unrealize,
    .describe = std_vga_describe,
    .pci = &std_vga_pci,
};
