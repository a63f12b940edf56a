/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cirrus Logic CL-GD5446: PCI 1013:00b8, libxl's default adapter. Used by SeaBIOS' vgabios-cirrus,
 * GRUB, Linux' cirrus and cirrusfb, X's cirrus driver, Windows 2000 to 7.
 *
 * Source: Cirrus Logic CL-GD5446 Technical Reference Manual; see cirrus-*.c for its parts. BARs as
 * guests of QEMU know them:
 *
 *   BAR 0  32 MiB: the frame buffer (4 MiB, prefetchable), at 16 MiB what blits from the CPU read
 *   BAR 1  4 KiB: ports 0x3C0..0x3DF at 0, BitBLT registers at 0x100
 *   ROM    the VGA BIOS
 *
 * The chip addresses 4 MiB, whatever vgamem_mb says; more is not asked of the domain.
 *
 * The frame buffer is made of guest pages (devmem.h), which the guest writes without us. But a
 * blit from the CPU takes its data from writes anywhere in the frame buffer, and the extended
 * write modes change what a write means. While such a thing is on the frame buffer is trapped: its
 * pages stand aside, within BAR 0, where nobody else can be.
 *
 * Left out: byte-swapped apertures, the video overlay, I/O BARs.
 */
#include <string.h>

#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/log.h>
#include <xendm/machine.h>

#include "cirrus.h"

#define VRAM_BAR 0
#define MMIO_BAR 1
#define VRAM_BAR_SIZE (32u << 20)
#define ASIDE (8u << 20) /* in BAR 0, for the pages of a trapped frame buffer */
#define MMIO_SIZE 0x1000u
#define MMIO_PORTS_SIZE 0x20u
#define MMIO_BLT 0x100u

static struct cirrus *from_pci(struct device *dev)
{
    return DEVICE_CAST(struct cirrus, dev);
}

/* ---- BAR 1 ---- */

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    struct cirrus *s = opaque;

    if (offset < MMIO_PORTS_SIZE) {
        return vga_ports_read(&s->isa, offset, 1);
    }
    return offset >= MMIO_BLT ? cirrus_blt_read(s, (unsigned)offset - MMIO_BLT) : 0;
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct cirrus *s = opaque;

    if (offset < MMIO_PORTS_SIZE) {
        vga_ports_write(&s->isa, offset, value, 1);
    } else if (offset >= MMIO_BLT) {
        cirrus_blt_write(s, (unsigned)offset - MMIO_BLT, (uint8_t)value);
    }
}

static const struct region_ops mmio_ops = {
    .read = mmio_read,
    .write = mmio_write,
    .impl_min = 1,
    .impl_max = 1,
};

/* ---- BAR 0 ---- */

static void region_put(struct cirrus *s, struct region *r, uint64_t base)
{
    g_autoptr(GError) err = NULL;

    if (r->space && r->base == base) {
        return;
    }
    region_remove(r);
    if (region_place(s->pci.dev.machine->mmio, r, base, &err) < 0) {
        log_guest(LOG_DISPLAY, "%s: a part of BAR 0 is not decoded: %s", s->pci.dev.id,
                  err->message);
    }
}

/* Pages and regions to where BAR 0 and the trap want them. */
static void cirrus_place(struct cirrus *s)
{
    uint64_t bar = s->pci.bar[VRAM_BAR].address;

    if (bar == PCI_BAR_UNMAPPED || !s->vga.mem.mapped ||
        !devmem_accepts(&s->vga.mem, bar, VRAM_BAR_SIZE)) {
        region_remove(&s->linear);
        region_remove(&s->aperture);
        return;
    }
    region_put(s, &s->aperture, bar + CIRRUS_VRAM);
    if (s->trapped) {
        region_put(s, &s->linear, bar);
    } else {
        region_remove(&s->linear);
    }
    devmem_move(&s->vga.mem, s->trapped ? bar + ASIDE : bar);
}

void cirrus_settle(struct cirrus *s)
{
    if (!cirrus_wants_trap(s)) {
        return; /* gone back to when enough accesses say that it is worth while */
    }
    s->strays = 0;
    if (!s->trapped) {
        s->trapped = true;
        s->traps++;
        cirrus_place(s);
    }
}

void cirrus_untrap(struct cirrus *s)
{
    s->trapped = false;
    s->strays = 0;
    cirrus_place(s);
}

static void cirrus_moved(struct device *dev, unsigned bar, uint64_t address)
{
    if (bar == VRAM_BAR) {
        cirrus_place(from_pci(dev));
    }
}

/* ---- device ---- */

static const struct vga_extension extension = {
    .mode = cirrus_mode,
    .looked = cirrus_cursor_looked,
};

static const struct vga_isa_ops isa_ops = {
    .port_read = cirrus_port_read,
    .port_write = cirrus_port_write,
    .window_read = cirrus_window_read,
    .window_write = cirrus_window_write,
};

static void cirrus_regions(struct cirrus *s)
{
    region_init(&s->linear, "cirrus-linear", &cirrus_linear_ops, s, CIRRUS_VRAM);
    region_init(&s->aperture, "cirrus-aperture", &cirrus_aperture_ops, s,
                VRAM_BAR_SIZE - CIRRUS_VRAM);
    s->linear.owner = s->aperture.owner = &s->pci.dev;
    s->linear.payload = s->aperture.payload = REGION_ALL_PAYLOAD;
}

/* hvmloader runs the ROM; without one the screen stays dark until a driver comes. */
static int load_rom(struct cirrus *s, GError **err)
{
    const struct machine *m = s->pci.dev.machine;
    const char *name = s->romfile ? s->romfile : m->firmware_dirs ? "vgabios-cirrus.bin" : "";

    return name[0] ? pci_rom_load(&s->pci, name, err) : 0;
}

static int cirrus_realize(struct device *dev, GError **err)
{
    struct cirrus *s = from_pci(dev);

    s->vga.extension = &extension;
    cirrus_regions(s);
    int rc = load_rom(s, err);
    if (rc == 0) {
        rc = vga_isa_place(&s->isa, &s->vga, &isa_ops, dev, err);
    }
    if (rc == 0) {
        rc = vga_init(&s->vga, dev, CIRRUS_VRAM, err);
    }
    if (rc < 0) {
        vga_free(&s->vga);
    }
    return rc;
}

/* Video memory keeps its contents and its place: a reset does not move DRAM. */
static void cirrus_reset(struct device *dev, enum reset_reason why)
{
    struct cirrus *s = from_pci(dev);

    cirrus_blit_abort(s);
    devmem_settle(&s->vga.mem);
    cirrus_registers_reset(s);
    cirrus_cursor_reset(s);
    cirrus_untrap(s);
}

static void cirrus_unrealize(struct device *dev)
{
    struct cirrus *s = from_pci(dev);

    cirrus_blit_abort(s);
    region_remove(&s->linear);
    region_remove(&s->aperture);
    vga_free(&s->vga);
}

static void cirrus_describe(struct device *dev, struct facts *to)
{
    struct cirrus *s = from_pci(dev);

    vga_describe(&s->vga, to);
    fact_int(to, "blits", (int64_t)s->blits);
    fact_int(to, "rows of blits", (int64_t)s->blit_rows);
    fact_text(to, "frame buffer", "%s", s->trapped ? "trapped" : "the guest's");
    fact_int(to, "times trapped", (int64_t)s->traps);
}

/* ---- saved state ---- */

static void cirrus_pre_save(void *base)
{
    devmem_pre_save(&((struct cirrus *)base)->vga.mem);
}

static bool cirrus_fits(const void *scratch, const void *base, GError **err)
{
    return devmem_fits(&((const struct cirrus *)scratch)->vga.mem,
                       &((const struct cirrus *)base)->vga.mem, err);
}

static void cirrus_post_load(void *base)
{
    struct cirrus *s = base;
    uint64_t bar = s->pci.bar[VRAM_BAR].address;

    devmem_post_load(&s->vga.mem, bar);
    s->vga.gr[GR_SET_RESET] = s->gr0 & 15;
    s->vga.gr[GR_ENABLE_SET_RESET] = s->gr1 & 15;
    s->strays = 0;
    s->trapped |= cirrus_wants_trap(s);
    if (!cirrus_blit_waits(s)) {
        cirrus_blit_abort(s); /* nothing is busy */
    }
    cirrus_cursor_reset(s);
    if (bar != PCI_BAR_UNMAPPED) {
        cirrus_place(s);
        devmem_settle(&s->vga.mem);
    }
}

static bool blit_needed(const void *base)
{
    return cirrus_blit_waits(base);
}

static const struct state_field blit_section_fields[] = {
    STATE_FIELD_STRUCT(struct cirrus, blit, 1, &cirrus_blit_state),
    STATE_FIELD_END,
};

static const struct state_desc blit_section = {
    .name = "blit",
    .version = 1,
    .fields = blit_section_fields,
    .needed = blit_needed,
};

static const struct state_field cirrus_fields[] = {
    STATE_FIELD_STRUCT(struct cirrus, vga, 1, &vga_state),
    DEVMEM_STATE_FIELDS(struct cirrus, vga.mem),
    STATE_FIELD_U8(struct cirrus, sr_index),
    STATE_FIELD_U8(struct cirrus, gr_index),
    STATE_FIELD_U8(struct cirrus, cr_index),
    STATE_FIELD_U8(struct cirrus, gr0),
    STATE_FIELD_U8(struct cirrus, gr1),
    STATE_FIELD_U8(struct cirrus, dac_unlock, .min = 0, .max = 4),
    STATE_FIELD_U8(struct cirrus, hidden_dac),
    STATE_FIELD_U8(struct cirrus, cursor_x_low, .min = 0, .max = 7),
    STATE_FIELD_U8(struct cirrus, cursor_y_low, .min = 0, .max = 7),
    STATE_FIELD_BYTES(struct cirrus, cursor_palette),
    STATE_FIELD_BOOL(struct cirrus, trapped),
    STATE_FIELD_END,
};

static const struct state_desc cirrus_state = {
    .name = "cirrus-vga",
    .version = 1,
    .fields = cirrus_fields,
    .pre_save = cirrus_pre_save,
    .fits = cirrus_fits,
    .post_load = cirrus_post_load,
    .sections = (const struct state_desc *const[]){&blit_section, NULL},
};

static const struct property cirrus_properties[] = {
    {.name = "vgamem_mb",
     .type = PROP_UINT32,
     .offset = offsetof(struct cirrus, vgamem_mb),
     .def = "4",
     .min = CIRRUS_VRAM >> 20,
     .max = VGA_VRAM_MAX >> 20,
     .help = "video memory in MiB, of which the chip uses 4"},
    {.name = "romfile",
     .type = PROP_STRING,
     .offset = offsetof(struct cirrus, romfile),
     .help =
         "VGA BIOS for the expansion ROM, of the firmware directory when it has no path; empty: "
         "none"},
    {.name = NULL},
};

static const struct pci_info cirrus_pci = {
    .vendor = 0x1013,
    .device = 0x00b8,
    .subsystem_vendor = 0x1af4,
    .subsystem = 0x1100,
    .class = 0x030000,
    .bar =
        {
            [VRAM_BAR] = {.type = PCI_BAR_MEM32,
                          .prefetchable = true,
                          .size = VRAM_BAR_SIZE,
                          .name = "cirrus-vram"},
            [MMIO_BAR] =
                {.type = PCI_BAR_MEM32, .size = MMIO_SIZE, .ops = &mmio_ops, .name = "cirrus-mmio"},
        },
    .moved = cirrus_moved,
};

const struct device_class cirrus_vga_class = {
    .name = "cirrus-vga",
    .display = true,
    .help = "Cirrus Logic CL-GD5446",
    .size = sizeof(struct cirrus),
    .recorded = true,
    .properties = cirrus_properties,
    .state = &cirrus_state,
    .realize = cirrus_realize,
    .reset = cirrus_reset,
    .unrealize = cirrus_unrealize,
    .describe = cirrus_describe,
    .pci = &cirrus_pci,
};
