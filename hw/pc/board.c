/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The board: builds a machine from its description. The same devices in the same slots as QEMU's
 * xenfv machine, so that a guest moved from one to the other sees no new hardware:
 *
 *   00:00.0 i440fx   00:01.0 piix3   00:01.1 piix3-ide   00:01.3 piix4-pm (with ACPI)
 * and on the ISA side DMA controllers, CMOS, keyboard controller. Then the description's devices in
 * its order, PCI functions in the next free slot: xen-platform is 00:02.0, VGA 00:03.0. Order of
 * creation is order of reset and of saved state. A secondary has the description's devices alone.
 *
 * Sources: QEMU's hw/i386/pc_piix.c and pc.c for the order and the CMOS contents; SeaBIOS (boot.c,
 * block.c) and hvmloader for who reads which CMOS byte.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <xendm/acpi.h>
#include <xendm/backend.h>
#include <xendm/block.h>
#include <xendm/bus.h>
#include <xendm/classes.h>
#include <xendm/display.h>
#include <xendm/firmware.h>
#include <xendm/ide.h>
#include <xendm/input.h>
#include <xendm/log.h>
#include <xendm/machine-desc.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/tape.h>

#include "cmos.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* CMOS bytes (IBM AT technical reference; the upper ones by Bochs' and SeaBIOS' convention). */
enum {
    CMOS_FLOPPIES = 0x10,
    CMOS_DISK_TYPES = 0x12, /* high nibble: first disk; 0xf: see 0x19 */
    CMOS_EQUIPMENT = 0x14,
    CMOS_BASE_KIB = 0x15,     /* 16 bits */
    CMOS_EXTENDED_KIB = 0x17, /* 16 bits, from 1 MiB */
    CMOS_DISK_TYPE = 0x19,    /* first, second disk; 47: geometry below */
    CMOS_GEOMETRY = 0x1b,     /* first disk; second at 0x24 */
    CMOS_EXTENDED_KIB_POST = 0x30,
    CMOS_CENTURY = 0x32,
    CMOS_ABOVE_16M = 0x34, /* 16 bits, units of 64 KiB */
    CMOS_CENTURY_PS2 = 0x37,
    CMOS_BOOT_3 = 0x38,      /* high nibble: third boot device; bit 0: no floppy signature check */
    CMOS_TRANSLATION = 0x39, /* two bits a drive: enum ide_translation */
    CMOS_BOOT_1_2 = 0x3d,    /* low nibble first, high nibble second */
    CMOS_ABOVE_4G = 0x5b,    /* 24 bits, units of 64 KiB */
    CMOS_VCPUS = 0x5f,       /* started by firmware, minus one */
};

#define EQUIPMENT_FPU 0x02
#define EQUIPMENT_MOUSE 0x04
#define GEOMETRY_SIZE 9
#define BOOT_DEVICES 3
#define IDE_DRIVES 4

struct board {
    struct device *cmos, *pm, *ide;
    uint8_t disk_types, translation; /* as in CMOS RAM */
    struct display *display;         /* ours to free; NULL when the caller brought one */
    struct input *input;
};

/* ---- making devices ---- */

/* Takes `dev` over: it is realized, or gone with NULL and `err`. devfn matters to PCI only. */
static struct device *finish(struct device *dev, int devfn, GError **err)
{
    if (pci_device_is(dev) &&
        pci_device_attach(dev->machine->pci, (struct pci_device *)dev, devfn, err) < 0) {
        device_free(dev);
        return NULL;
    }
    if (device_realize(dev, err) < 0) {
        device_free(dev);
        return NULL;
    }
    return dev;
}

static struct device *make(struct machine *m, const struct device_class *class, int devfn,
                           GError **err)
{
    struct device *dev = device_new(m, class, NULL, err);

    return dev ? finish(dev, devfn, err) : NULL;
}

static int make_object(struct machine *m, const struct object_desc *o, GError **err)
{
    const struct device_class *class = device_class_find(o->driver);

    if (!class) {
        g_set_error(err, XENDM_ERROR, ENOENT, "-device %s: there is no such device", o->driver);
        return -ENOENT;
    }
    if (strcmp(class->name, o->driver) != 0) {
        log_info(LOG_PC, "%s: the guest gets %s", o->driver, class->help);
    }
    return device_plug(m, o, err) ? 0 : -EINVAL;
}

static bool wants_display(const struct machine_desc *desc)
{
    for (guint i = 0; i < desc->objects->len; i++) {
        const struct object_desc *o = g_ptr_array_index(desc->objects, i);
        const struct device_class *class =
            o->what == OBJECT_DEVICE ? device_class_find(o->driver) : NULL;

        if (class && class->display) {
            return true;
        }
    }
    return false;
}

/* ---- CMOS ---- */

static void cmos_set_le(struct device *cmos, unsigned index, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        cmos_set(cmos, index + i, value >> i * 8 & 0xff);
    }
}

static void fill_memory(struct machine *m, struct device *cmos)
{
    uint64_t low = m->ram_low_end;
    uint64_t extended = low > MIB ? (low - MIB) / KIB : 0;
    uint64_t above_16m = low > 16 * MIB ? (low - 16 * MIB) / (64 * KIB) : 0;
    uint64_t above_4g = m->ram_high_end > 4 * GIB ? (m->ram_high_end - 4 * GIB) / (64 * KIB) : 0;

    cmos_set_le(cmos, CMOS_BASE_KIB, MIN(low / KIB, 640), 2);
    cmos_set_le(cmos, CMOS_EXTENDED_KIB, MIN(extended, 0xffff), 2);
    cmos_set_le(cmos, CMOS_EXTENDED_KIB_POST, MIN(extended, 0xffff), 2);
    cmos_set_le(cmos, CMOS_ABOVE_16M, MIN(above_16m, 0xffff), 2);
    cmos_set_le(cmos, CMOS_ABOVE_4G, MIN(above_4g, 0xffffff), 3);
}

/* Letters as in -boot order=; an unknown one is refused, as QEMU does. */
static int fill_boot_order(struct device *cmos, const char *order, GError **err)
{
    static const char letters[] = "acdn"; /* 1 floppy, 2 disk, 3 CD-ROM, 4 network */
    uint8_t code[BOOT_DEVICES] = {0};

    for (unsigned i = 0; order && order[i]; i++) {
        const char *at = strchr(letters, order[i]);

        if (!at || i >= BOOT_DEVICES) {
            g_set_error(err, XENDM_ERROR, EINVAL, "-boot order=%s: %s", order,
                        at ? "more than three devices" : "letters are a, c, d and n");
            return -EINVAL;
        }
        code[i] = (uint8_t)(at - letters + 1);
    }
    cmos_set(cmos, CMOS_BOOT_1_2, (uint8_t)(code[1] << 4 | code[0]));
    cmos_set(cmos, CMOS_BOOT_3, (uint8_t)(code[2] << 4));
    return 0;
}

/*
 * Geometry and translation of a disk, for the BIOS. Known by size alone at first: no guest data is
 * looked at before the process is restricted.
 */
static void fill_disk(void *opaque, struct device *hd, const struct ide_geometry *g)
{
    struct machine *m = opaque;
    struct board *b = m->board;
    unsigned index = 0;

    while (index < 4 && ide_drive_at(b->ide, index) != hd) {
        index++;
    }
    if (index == 4) {
        return;
    }
    b->translation = (uint8_t)((b->translation & ~(3u << index * 2)) | g->translation << index * 2);
    cmos_set(b->cmos, CMOS_TRANSLATION, b->translation);
    if (index < 2) {
        unsigned at = CMOS_GEOMETRY + index * GEOMETRY_SIZE;

        b->disk_types |= index == 0 ? 0xf0 : 0x0f;
        cmos_set(b->cmos, CMOS_DISK_TYPES, b->disk_types);
        cmos_set(b->cmos, CMOS_DISK_TYPE + index, 47);
        cmos_set_le(b->cmos, at, g->cylinders, 2);
        cmos_set(b->cmos, at + 2, (uint8_t)g->heads);
        cmos_set_le(b->cmos, at + 3, 0xffff, 2);               /* no write precompensation */
        cmos_set(b->cmos, at + 5, g->heads > 8 ? 0xc8 : 0xc0); /* no retries, more than 8 heads */
        cmos_set_le(b->cmos, at + 6, g->cylinders, 2);         /* landing zone */
        cmos_set(b->cmos, at + 8, (uint8_t)g->sectors);
    }
}

static int fill_cmos(struct machine *m, const struct machine_desc *desc, struct board *b,
                     GError **err)
{
    struct device *cmos = b->cmos;
    time_t now = time(NULL);
    struct tm tm = {.tm_year = 100};
    uint8_t century;

    fill_memory(m, cmos);
    cmos_set(cmos, CMOS_EQUIPMENT, EQUIPMENT_FPU | EQUIPMENT_MOUSE);
    cmos_set(cmos, CMOS_VCPUS, (uint8_t)(MAX(MIN(m->vcpus_online, 256), 1) - 1));
    gmtime_r(&now, &tm);
    century = (uint8_t)((tm.tm_year + 1900) / 100 % 100);
    century = (uint8_t)(century / 10 << 4 | century % 10);
    cmos_set(cmos, CMOS_CENTURY, century);
    cmos_set(cmos, CMOS_CENTURY_PS2, century);
    cmos_set(cmos, CMOS_DISK_TYPES, 0);
    cmos_set(cmos, CMOS_TRANSLATION, 0);
    for (unsigned i = 0; i < IDE_DRIVES; i++) {
        struct device *drive = ide_drive_at(b->ide, i);

        if (drive && !ide_drive_is_cd(drive)) {
            ide_hd_watch_geometry(drive, fill_disk, m);
        }
    }
    return fill_boot_order(cmos, desc->boot_order, err);
}

/* ---- the whole ---- */

static int make_chipset(struct machine *m, struct board *b, const struct machine_desc *desc,
                        GError **err)
{
    if (!make(m, &i440fx_class, PCI_DEVFN(0, 0), err) ||
        !make(m, &piix3_class, PCI_DEVFN(1, 0), err)) {
        return -EINVAL;
    }
    b->ide = make(m, &piix3_ide_class, PCI_DEVFN(1, 1), err);
    if (!b->ide) {
        return -EINVAL;
    }
    if (desc->acpi) {
        b->pm = make(m, &piix4_pm_class, PCI_DEVFN(1, 3), err);
        if (!b->pm) {
            return -EINVAL;
        }
    }
    b->cmos = make(m, &cmos_class, 0, err);
    if (!b->cmos || !make(m, &i8257_class, 0, err) || !make(m, &i8042_class, 0, err)) {
        return -EINVAL;
    }
    return 0;
}

static int build(struct machine *m, struct board *b, const struct machine_desc *desc, GError **err)
{
    bool secondary = desc->type == MACHINE_SECONDARY;
    int rc = secondary ? 0 : make_chipset(m, b, desc, err);

    for (guint i = 0; rc == 0 && i < desc->objects->len; i++) {
        const struct object_desc *o = g_ptr_array_index(desc->objects, i);

        rc = o->what == OBJECT_DEVICE ? make_object(m, o, err) : 0;
    }
    return rc == 0 && !secondary ? fill_cmos(m, desc, b, err) : rc;
}

int board_build(struct machine *m, const struct machine_desc *desc, GError **err)
{
    struct board *b;
    int rc;

    if (desc->type == MACHINE_XENPV || desc->type == MACHINE_NONE) {
        return 0; /* no emulated hardware */
    }
    b = g_new0(struct board, 1);
    m->board = b;
    m->firmware_dirs = firmware_dirs();
    if (!m->input) {
        m->input = b->input = input_new();
        input_set_clock(m->input, m->clock);
    }
    if (!m->display && wants_display(desc)) {
        m->display = b->display = display_new();
    }
    rc = build(m, b, desc, err);
    if (rc < 0) {
        board_free(m);
    }
    return rc;
}

void board_free(struct machine *m)
{
    struct board *b = m->board;

    if (!b) {
        return;
    }
    while (m->devices->len > 0) {
        device_free(g_ptr_array_index(m->devices, m->devices->len - 1));
    }
    if (b->display) {
        display_free(b->display);
        m->display = NULL;
    }
    if (b->input) {
        input_free(b->input);
        m->input = NULL;
    }
    m->board = NULL;
    g_free(b);
}

bool board_vcpu_is_online(struct machine *m, unsigned vcpu)
{
    struct board *b = m->board;

    return b && b->pm ? acpi_vcpu_is_online(b->pm, vcpu) : vcpu < m->vcpus_online;
}

int board_vcpu_online(struct machine *m, unsigned vcpu)
{
    struct board *b = m->board;

    if (vcpu >= m->vcpus || vcpu >= ACPI_VCPU_MAX) {
        return -EINVAL;
    }
    if (board_vcpu_is_online(m, vcpu)) {
        return 0;
    }
    tape_unrecorded("a vCPU comes");
    if (!b || !b->pm) {
        return -EINVAL; /* without ACPI the guest cannot be told */
    }
    acpi_vcpu_online(b->pm, vcpu);
    return 0;
}

struct device *board_drive(struct machine *m, const char *id)
{
    struct board *b = m->board;
    struct device *dev;

    if (!b) {
        return NULL;
    }
    dev = machine_find(m, id);
    if (dev && (dev->class == &ide_hd_class || dev->class == &ide_cd_class)) {
        return dev;
    }
    if (b->ide && id[0] >= '0' && id[0] <= '3' && id[1] == '\0') {
        return ide_drive_at(b->ide, (unsigned)(id[0] - '0'));
    }
    return NULL;
}
