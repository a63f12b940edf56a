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
 * Video memory is made of guest pages of the domain's own, so that the guest writes it without us.
 * They are populated right behind low RAM if that is below 2 GiB, which is as far as hvmloader's
 * BARs reach down; else at 4 GiB above the end of guest RAM: hvmloader grows high RAM by at most 2
 * GiB (what it takes out of the hole below 4 GiB), and maps large 64-bit BARs there only after this
 * device's BAR. Low is better, since a domain's save and migration look at every frame number up to
 * the highest that was ever used. When BAR 0 is mapped the pages move to it, and stay where they
 * were last when it is unmapped. A domain that is restored has the pages already.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/log.h>
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

/* Where a BAR may be: not in the firmware's low memory, not in the pages hvmloader, the toolstack
 * and the APICs use. */
#define BAR_FIRST (16ull << 20)
#define BAR_END 0xfc000000ull

#define VRAM_LOW_END (2ull << 30)
#define VRAM_GAP (4ull << 30)
#define MOVE_STEP 64u /* pages */

struct std_vga;

struct port_range {
    struct std_vga *vga;
    unsigned base;
    struct region region;
};

static const struct {
    uint16_t base, size;
} ports[] = {{0x3b4, 2}, {0x3ba, 1}, {0x3c0, 16}, {0x3d4, 2}, {0x3da, 1}};

/* State is loaded all or nothing: what may fail is done before anything is changed. */
struct taken {
    void *vram;
};

struct std_vga {
    struct pci_device pci;
    struct vga vga;
    struct vbe vbe;

    uint32_t vgamem_mb; /* properties */
    char *romfile;

    struct port_range port[G_N_ELEMENTS(ports)];
    struct region dispi, window;
    uint8_t edid[EDID_SIZE];
    bool write_combining; /* set for the pages where they are now */
    bool mapped;          /* vga.vram is the guest's memory, not a stand-in of ours */
    struct taken *taken;  /* a mapping between fits() and post_load() */
    uint32_t pages;
    struct device_work move; /* of the pages to gfn move_to; so many are there */
    uint64_t move_to;
    uint32_t move_at;
    uint64_t refused; /* BAR addresses we did not move to */
    uint64_t stuck;   /* … and that the hypervisor did not move it to */

    uint64_t saved_gfn; /* in saved state */
    uint32_t saved_pages;
};

static struct std_vga *from_pci(struct device *dev)
{
    return DEVICE_CAST(struct std_vga, dev);
}

/* ---- registers ---- */

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
    struct port_range *p = opaque;
    return vga_port_read(&p->vga->vga, p->base + (unsigned)offset);
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct port_range *p = opaque;
    vga_port_write(&p->vga->vga, p->base + (unsigned)offset, (uint8_t)value);
}

static const struct region_ops ports_ops = {
    .read = ports_read,
    .write = ports_write,
    .impl_min = 1,
    .impl_max = 1,
};

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

static uint64_t window_read(void *opaque, uint64_t offset, unsigned size)
{
    struct std_vga *s = opaque;
    return vga_window_read(&s->vga, (uint32_t)offset, size);
}

static void window_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct std_vga *s = opaque;
    vga_window_write(&s->vga, (uint32_t)offset, value, size);
}

static const struct region_ops window_ops = {
    .read = window_read,
    .write = window_write,
    .impl_min = 1,
    .impl_max = 8,
};

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    struct std_vga *s = opaque;
    uint64_t value = 0;

    if (offset < EDID_SIZE) {
        memcpy(&value, s->edid + offset, MIN(size, EDID_SIZE - offset));
    } else if (offset >= MMIO_PORTS && offset + size <= MMIO_PORTS + 0x20) {
        for (unsigned i = 0; i < size; i++) {
            value |= (uint64_t)vga_port_read(&s->vga, 0x3c0 + (unsigned)(offset - MMIO_PORTS) + i)
                     << 8 * i;
        }
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
        for (unsigned i = 0; i < size;
             i++) { /* index before data, so that one word sets an indexed register */
            vga_port_write(&s->vga, 0x3c0 + (unsigned)(offset - MMIO_PORTS) + i,
                           (uint8_t)(value >> 8 * i));
        }
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

/* ---- video memory ---- */

static void vram_unmap(struct std_vga *s)
{
    if (s->mapped) {
        hv_memory_unmap(s->vga.hv, s->vga.vram, s->pages);
    } else if (s->vga.vram) {
        munmap(s->vga.vram, s->vga.vram_size);
    }
    s->vga.vram = NULL;
    s->mapped = false;
}

static void taken_drop(const struct std_vga *s)
{
    if (s->taken->vram) {
        hv_memory_unmap(s->vga.hv, s->taken->vram, s->pages);
        s->taken->vram = NULL;
    }
}

/* Memory of ours, so that there is always something to draw from: before a restore. */
static bool vram_stand_in(struct std_vga *s)
{
    void *p = mmap(NULL, s->vga.vram_size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    s->vga.vram = p == MAP_FAILED ? NULL : p;
    return s->vga.vram != NULL;
}

static int vram_create(struct std_vga *s, GError **err)
{
    struct machine *m = s->pci.dev.machine;

    if (s->pci.dev.machine->restored) {
        if (!vram_stand_in(s)) {
            g_set_error(err, XENDM_ERROR, ENOMEM,
                        "%s: no address space for %" PRIu32 " MiB of video memory", s->pci.dev.id,
                        s->vgamem_mb);
            return -ENOMEM;
        }
        return 0;
    }
    uint64_t at = MAX(m->ram_high_end, 4ull << 30) + VRAM_GAP;
    if (m->ram_low_end >= BAR_FIRST && m->ram_low_end + s->vga.vram_size <= VRAM_LOW_END) {
        at = m->ram_low_end;
    }
    uint64_t gfn = at >> GUEST_PAGE_SHIFT;
    int rc = hv_memory_populate(s->vga.hv, gfn, s->pages);
    if (rc < 0) {
        g_set_error(err, XENDM_ERROR, -rc,
                    "%s: the domain cannot have %" PRIu32 " MiB of video memory: %s", s->pci.dev.id,
                    s->vgamem_mb, g_strerror(-rc));
        return rc;
    }
    s->vga.vram_gfn = gfn;
    s->vga.vram = hv_memory_map(s->vga.hv, gfn, s->pages);
    if (!s->vga.vram) {
        rc = errno ? -errno : -ENOMEM;
        g_set_error(err, XENDM_ERROR, -rc, "%s: cannot map the video memory: %s", s->pci.dev.id,
                    g_strerror(-rc));
        return rc;
    }
    s->mapped = true;
    return 0;
}

/* Their caching and our tracking follow the pages. */
static void vram_arrived(struct std_vga *s, uint64_t gfn)
{
    struct vga *v = &s->vga;

    vga_tracking_stop(v); /* somebody may have looked meanwhile */
    if (s->write_combining) {
        hv_memory_write_combine(v->hv, v->vram_gfn, s->pages, false);
    }
    hv_memory_write_combine(v->hv, gfn, s->pages, true);
    s->write_combining = true;
    log_debug(LOG_DISPLAY, "%s: video memory moved from gfn 0x%" PRIx64 " to 0x%" PRIx64,
              s->pci.dev.id, v->vram_gfn, gfn);
    v->vram_gfn = gfn;
}

/*
 * A guest can have this as often as it likes: it gives back a page of video memory and moves the
 * BAR. What was moved goes back.
 */
static void vram_stays(struct std_vga *s, int rc)
{
    uint64_t from = s->vga.vram_gfn;

    s->stuck++;
    log_guest(LOG_DISPLAY,
              "%s: video memory stays at gfn 0x%" PRIx64 ": cannot move it to 0x%" PRIx64 ": %s",
              s->pci.dev.id, from, s->move_to, g_strerror(-rc));
    while (s->move_at > 0) {
        s->move_at -= MOVE_STEP;
        hv_memory_relocate(s->vga.hv, s->move_to + s->move_at, from + s->move_at, MOVE_STEP);
        guestmem_invalidate(s->pci.dev.machine->memory);
    }
}

/* Some pages more, of which each costs the hypervisor a microsecond or two. */
static bool vram_move_step(void *opaque)
{
    struct std_vga *s = opaque;
    uint32_t pages = MIN(s->pages - s->move_at, MOVE_STEP);
    int rc =
        hv_memory_relocate(s->vga.hv, s->vga.vram_gfn + s->move_at, s->move_to + s->move_at, pages);

    /* What was mapped of the old place shows the pages that left, even if only some of them did. */
    guestmem_invalidate(s->pci.dev.machine->memory);
    if (rc < 0) {
        vram_stays(s, rc);
        return false;
    }
    s->move_at += pages;
    if (s->move_at < s->pages) {
        return true;
    }
    vram_arrived(s, s->move_to);
    return false;
}

/* The pages keep their contents and our mapping; on failure everything stays as it was. */
static void vram_move(struct std_vga *s, uint64_t gfn)
{
    vga_tracking_stop(&s->vga);
    s->move_to = gfn;
    s->move_at = 0;
    device_work_start(&s->move, &s->pci.dev, vram_move_step, s);
}

static void std_vga_moved(struct device *dev, unsigned bar, uint64_t address)
{
    struct std_vga *s = from_pci(dev);

    if (bar != VRAM_BAR || address == PCI_BAR_UNMAPPED || !s->mapped) {
        return;
    }
    device_work_finish(&s->move); /* no access comes between, but a reset of the bus may */
    if (address >> GUEST_PAGE_SHIFT == s->vga.vram_gfn) {
        return;
    }
    /* A guest that sizes the BAR without switching decoding off lands here, too. */
    if (address < BAR_FIRST || address + s->vga.vram_size > BAR_END) {
        s->refused++;
        log_guest(LOG_DISPLAY, "%s: video memory is not moved to 0x%" PRIx64, dev->id, address);
        return;
    }
    vram_move(s, address >> GUEST_PAGE_SHIFT);
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

static int std_vga_place(struct std_vga *s, GError **err)
{
    struct device *dev = &s->pci.dev;
    int rc = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(ports) && rc == 0; i++) {
        s->port[i].vga = s;
        s->port[i].base = ports[i].base;
        region_init(&s->port[i].region, "vga-ports", &ports_ops, &s->port[i], ports[i].size);
        rc = device_place_pio(dev, &s->port[i].region, ports[i].base, err);
    }
    region_init(&s->dispi, "vga-dispi", &dispi_ops, s, 4);
    region_init(&s->window, "vga-window", &window_ops, s, VGA_WINDOW_SIZE);
    s->window.payload = REGION_ALL_PAYLOAD;
    if (rc == 0) {
        rc = device_place_pio(dev, &s->dispi, 0x1ce, err);
    }
    if (rc == 0) {
        rc = device_place_mmio(dev, &s->window, VGA_WINDOW_BASE, err);
    }
    return rc;
}

/* hvmloader runs the ROM; without one the screen stays dark until a driver comes. */
static int load_rom(struct std_vga *s, GError **err)
{
    const struct machine *m = s->pci.dev.machine;
    const char *name = s->romfile ? s->romfile : m->firmware_dir ? "vgabios-stdvga.bin" : "";

    return name[0] ? pci_rom_load(&s->pci, name, err) : 0;
}

static int std_vga_realize(struct device *dev, GError **err)
{
    struct std_vga *s = from_pci(dev);
    struct machine *m = dev->machine;
    int rc;

    vga_init(&s->vga, s->vgamem_mb << 20);
    s->vga.hv = m->hv;
    s->vga.clock = m->clock;
    s->vga.extension = &extension;
    s->vbe.vga = &s->vga;
    s->vbe.dev = dev;
    s->pages = s->vga.vram_size / GUEST_PAGE_SIZE;
    edid_make(s->edid);

    pci_bar_set_size(&s->pci, VRAM_BAR, power_of_two(s->vga.vram_size));
    rc = load_rom(s, err);
    if (rc == 0) {
        rc = std_vga_place(s, err);
    }
    if (rc == 0) {
        rc = vram_create(s, err);
    }
    if (rc < 0) {
        vga_free(&s->vga);
        return rc;
    }
    s->taken = g_new0(struct taken, 1);
    if (m->display) {
        s->vga.display = m->display;
        display_set_device(m->display, &vga_display_device, &s->vga);
    }
    return 0;
}

/* Video memory keeps its contents and its place: a reset does not move DRAM. */
static void std_vga_reset(struct device *dev, enum reset_reason why)
{
    struct std_vga *s = from_pci(dev);

    device_work_finish(&s->move);
    vga_reset(&s->vga);
    vbe_reset(&s->vbe);
}

static void std_vga_unrealize(struct device *dev)
{
    struct std_vga *s = from_pci(dev);

    device_work_finish(&s->move);
    device_work_finish(&s->vbe.clear);
    if (s->vga.display) {
        display_set_device(s->vga.display, NULL, NULL);
    }
    if (s->vga.vram) {
        vga_tracking_stop(&s->vga);
    }
    taken_drop(s);
    g_free(s->taken);
    s->taken = NULL;
    vram_unmap(s);
    vga_free(&s->vga);
}

static void std_vga_describe(struct device *dev, struct facts *to)
{
    struct std_vga *s = from_pci(dev);
    char mode[80];

    vga_mode_describe(&s->vga, mode, sizeof(mode));
    fact_text(to, "mode", "%s", mode);
    fact_text(to, "memory", "%" PRIu32 " MiB at 0x%" PRIx64 "%s", s->vgamem_mb,
              s->vga.vram_gfn << GUEST_PAGE_SHIFT, s->mapped ? "" : ", not mapped");
    fact_int(to, "pictures", (int64_t)s->vga.pictures);
    fact_int(to, "rows drawn", (int64_t)s->vga.rows_drawn);
    fact_bool(to, "dirty tracking", s->vga.tracking);
    if (s->refused || s->stuck) {
        fact_int(to, "impossible BAR addresses refused", (int64_t)s->refused);
        fact_int(to, "moves failed", (int64_t)s->stuck);
    }
}

/* ---- saved state: the video memory itself is guest memory and travels with it ---- */

static void std_vga_pre_save(void *base)
{
    struct std_vga *s = base;
    s->saved_gfn = s->vga.vram_gfn;
    s->saved_pages = s->pages;
}

static bool std_vga_fits(const void *scratch, const void *base, GError **err)
{
    const struct std_vga *saved = scratch, *s = base;

    if (saved->saved_pages != s->pages) {
        g_set_error(err, STATE_ERROR, EINVAL,
                    "video memory has %" PRIu32 " pages here, %" PRIu32 " in the saved state",
                    s->pages, saved->saved_pages);
        return false;
    }
    /* Without its memory the adapter would lose what the guest has drawn, and what it draws. */
    if (!s->mapped) {
        taken_drop(s);
        s->taken->vram = hv_memory_map(s->vga.hv, saved->saved_gfn, s->pages);
        if (!s->taken->vram) {
            g_set_error(err, STATE_ERROR, errno ? errno : ENOMEM,
                        "cannot map the video memory at gfn 0x%" PRIx64 ": %s", saved->saved_gfn,
                        g_strerror(errno ? errno : ENOMEM));
            return false;
        }
    }
    return true;
}

static void std_vga_post_load(void *base)
{
    struct std_vga *s = base;
    struct vga *v = &s->vga;

    vga_tracking_stop(v);
    if (s->mapped) {
        if (s->saved_gfn != v->vram_gfn) { /* loaded into a machine that made its own */
            vram_move(s, s->saved_gfn);
            device_work_finish(&s->move);
        }
    } else {
        vram_unmap(s);
        v->vram = s->taken->vram;
        s->taken->vram = NULL;
        s->mapped = true;
        v->vram_gfn = s->saved_gfn;
        uint64_t bar = s->pci.bar[VRAM_BAR].address;
        if (bar != PCI_BAR_UNMAPPED && bar >> GUEST_PAGE_SHIFT == v->vram_gfn) {
            hv_memory_write_combine(v->hv, v->vram_gfn, s->pages,
                                    true); /* Xen does not save that */
            s->write_combining = true;
        }
    }
    vbe_update(&s->vbe);
}

#define GFN_MAX \
    ((1ull << 36) - \
     (VGA_VRAM_MAX >> GUEST_PAGE_SHIFT)) /* 48 bits of address, and room for the pages */

static const struct state_field std_vga_fields[] = {
    STATE_FIELD_STRUCT(struct std_vga, vga, 1, &vga_state),
    STATE_FIELD_STRUCT(struct std_vga, vbe, 1, &vbe_state),
    STATE_FIELD_U64(struct std_vga, saved_gfn, .min = 1, .max = GFN_MAX),
    STATE_FIELD_U32(struct std_vga, saved_pages, .min = 1, .max = VGA_VRAM_MAX >> GUEST_PAGE_SHIFT),
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
    .aliases = (const char *const[]){"cirrus-vga", NULL}, /* stands in for it until it is there */
    .display = true,
    .help = "standard VGA with Bochs VBE extensions",
    .size = sizeof(struct std_vga),
    .properties = std_vga_properties,
    .state = &std_vga_state,
    .realize = std_vga_realize,
    .reset = std_vga_reset,
    .unrealize = std_vga_unrealize,
    .describe = std_vga_describe,
    .pci = &std_vga_pci,
};
