/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bochs VBE extensions ("dispi"), versions 0xB0C0..0xB0C5.
 *
 * Sources: the VBE DISPI interface description of Bochs' LGPL VGA BIOS; its users: SeaBIOS'
 * vgasrc/bochsvga.c, Linux' drivers/gpu/drm bochs, OVMF's QemuVideoDxe.
 *
 * There is no way to refuse a value, so registers are brought to the nearest possible ones while a
 * mode is on: the picture, at its offset, lies inside VRAM, and with 4 bits a pixel widths are
 * whole cells of 8. With the mode off everything is stored as written. QEMU rounds every width down
 * to a multiple of 8, which makes a crooked picture of 1366.
 */
#include <string.h>

#include <glib.h>

#include "vbe.h"

#define ID_FIRST 0xb0c0
#define ID_LAST 0xb0c5
#define CLEAR_STEP (256u << 10)

static unsigned vbe_bits(const struct vbe *vbe)
{
    return vbe->bpp == 15 ? 16 : vbe->bpp;
}

static uint32_t vbe_pitch(const struct vbe *vbe)
{
    return vbe->virt_width * vbe_bits(vbe) / 8u;
}

static bool vbe_bpp_is_known(unsigned bpp)
{
    return bpp == 4 || bpp == 8 || bpp == 15 || bpp == 16 || bpp == 24 || bpp == 32;
}

/* Pixels fit: xres ≤ 4096 at 4 bytes are 16 KiB a line, and VRAM is at least 1 MiB. */
static void vbe_make_possible(struct vbe *vbe)
{
    uint32_t vram = vbe->vga->vram_size;

    if (!vbe_bpp_is_known(vbe->bpp)) {
        vbe->bpp = 8;
    }
    unsigned cell = vbe->bpp == 4 ? 8 : 1;
    vbe->xres = (uint16_t)CLAMP(vbe->xres & ~(cell - 1), 8, DISPLAY_WIDTH_MAX);
    vbe->virt_width = (uint16_t)MAX(vbe->virt_width & ~(cell - 1), vbe->xres);

    uint32_t lines = vram / vbe_pitch(vbe);
    vbe->yres = (uint16_t)CLAMP(vbe->yres, 1u, MIN(lines, DISPLAY_HEIGHT_MAX));
    vbe->x_offset = (uint16_t)MIN(vbe->x_offset, vbe->virt_width - vbe->xres);
    vbe->y_offset = (uint16_t)MIN(vbe->y_offset, lines - vbe->yres);
}

void vbe_update(struct vbe *vbe)
{
    struct vga *v = vbe->vga;
    bool on = vbe->enable & VBE_ENABLED;

    if (on) {
        vbe_make_possible(vbe);
    }
    v->dac_8bit = vbe->enable & VBE_8BIT_DAC;
    v->packed = on && vbe->bpp >= 8;
    v->bank = on ? (uint32_t)vbe->bank << (vbe->enable & VBE_BANK_32K ? 15 : 16) : 0;
    v->changed = true;
}

/*
 * Brings the VGA's memory path to what the mode's banked window needs. The CRTC is left as it is:
 * drivers that care program it, and the picture does not depend on it.
 */
static void vbe_set_window(struct vbe *vbe)
{
    struct vga *v = vbe->vga;

    v->gr[GR_MISC] = (v->gr[GR_MISC] & ~0x0c) | 0x04 | GR6_GRAPHICS;
    v->sr[SR_MAP_MASK] |= 0x0f;
    v->gr[GR_MODE] &= 0x0f;
    if (vbe->bpp == 4) {
        v->sr[SR_MEMORY] = (v->sr[SR_MEMORY] & ~SR4_CHAIN4) | SR4_NO_ODD_EVEN;
    } else {
        v->sr[SR_MEMORY] |= SR4_CHAIN4 | SR4_NO_ODD_EVEN;
        v->gr[GR_MODE] |= GR5_SHIFT_256;
    }
}

/*
 * Up to 16 MiB, or 512 with as much memory: in steps, which the access waits for. The guest reads
 * its memory without us, so that it must be clear when the vCPU goes on.
 */
static bool vbe_clear_step(void *opaque)
{
    struct vbe *vbe = opaque;
    uint32_t len = MIN(vbe->clear_end - vbe->clear_at, CLEAR_STEP);

    memset(vbe->vga->vram + vbe->clear_at, 0, len);
    vga_vram_written(vbe->vga, vbe->clear_at, len);
    vbe->clear_at += len;
    return vbe->clear_at < vbe->clear_end;
}

static void vbe_clear(struct vbe *vbe, uint32_t len)
{
    device_work_finish(&vbe->clear);
    vbe->clear_at = 0;
    vbe->clear_end = len;
    device_work_start(&vbe->clear, vbe->dev, vbe_clear_step, vbe);
}

static void vbe_enable(struct vbe *vbe, uint16_t value)
{
    bool was_on = vbe->enable & VBE_ENABLED, on = value & VBE_ENABLED;

    vbe->enable = value & (VBE_ENABLED | VBE_GETCAPS | VBE_BANK_32K | VBE_8BIT_DAC | VBE_LFB |
                           VBE_NOCLEARMEM);
    if (on && !was_on) {
        vbe->virt_width = vbe->x_offset = vbe->y_offset = 0;
        vbe_make_possible(vbe);
        vbe_set_window(vbe);
        if (!(value & VBE_NOCLEARMEM)) {
            vbe_clear(vbe, vbe->yres * vbe_pitch(vbe));
        }
    } else if (!on) {
        vbe->bank = 0;
    }
}

uint16_t vbe_read(struct vbe *vbe, unsigned index)
{
    bool caps = vbe->enable & VBE_GETCAPS;

    switch (index) {
    case VBE_ID:
        return vbe->id;
    case VBE_XRES:
        return caps ? DISPLAY_WIDTH_MAX : vbe->xres;
    case VBE_YRES:
        return caps ? DISPLAY_HEIGHT_MAX : vbe->yres;
    case VBE_BPP:
        return caps ? 32 : vbe->bpp;
    case VBE_ENABLE:
        return vbe->enable;
    case VBE_BANK:
        return vbe->bank;
    case VBE_VIRT_WIDTH:
        return vbe->virt_width;
    case VBE_VIRT_HEIGHT:
        if (vbe->enable & VBE_ENABLED) {
            return (uint16_t)MIN(vbe->vga->vram_size / vbe_pitch(vbe), UINT16_MAX);
        }
        return vbe->yres;
    case VBE_X_OFFSET:
        return vbe->x_offset;
    case VBE_Y_OFFSET:
        return vbe->y_offset;
    case VBE_MEMORY_64K:
        return (uint16_t)(vbe->vga->vram_size >> 16);
    default:
        return 0;
    }
}

void vbe_write(struct vbe *vbe, unsigned index, uint16_t value)
{
    switch (index) {
    case VBE_ID:
        if (value >= ID_FIRST && value <= ID_LAST) {
            vbe->id = value;
        }
        return;
    case VBE_XRES:
        vbe->xres = value;
        break;
    case VBE_YRES:
        vbe->yres = value;
        break;
    case VBE_BPP:
        vbe->bpp = value == 0 ? 8 : value;
        break;
    case VBE_ENABLE:
        vbe_enable(vbe, value);
        break;
    case VBE_BANK:
        vbe->bank = value; /* the window checks each address */
        break;
    case VBE_VIRT_WIDTH:
        vbe->virt_width = value;
        break;
    case VBE_X_OFFSET:
        vbe->x_offset = value;
        break;
    case VBE_Y_OFFSET:
        vbe->y_offset = value;
        break;
    default: /* VIRT_HEIGHT follows from the others */
        return;
    }
    vbe_update(vbe);
}

bool vbe_mode(const struct vbe *vbe, struct vga_mode *m)
{
    if (!(vbe->enable & VBE_ENABLED) || !(vbe->vga->gr[GR_MISC] & GR6_GRAPHICS)) {
        return false;
    }
    m->width = vbe->xres;
    m->height = vbe->yres;
    m->bpp = vbe->bpp;
    m->big_endian = vbe->big_endian;
    if (vbe->bpp == 4) {
        m->pitch = vbe->virt_width / 8u;
        m->start = vbe->y_offset * (uint64_t)m->pitch + vbe->x_offset / 8u;
        m->pan = vbe->x_offset & 7;
    } else {
        m->pitch = vbe_pitch(vbe);
        m->start = vbe->y_offset * (uint64_t)m->pitch + vbe->x_offset * vbe_bits(vbe) / 8u;
    }
    return true;
}

void vbe_reset(struct vbe *vbe)
{
    device_work_finish(&vbe->clear);
    vbe->index = 0;
    vbe->id = ID_LAST;
    vbe->xres = vbe->yres = vbe->enable = vbe->bank = vbe->virt_width = vbe->x_offset =
        vbe->y_offset = 0;
    vbe->bpp = 0;
    vbe->big_endian = false;
    vbe_update(vbe);
}

static const struct state_field vbe_fields[] = {
    STATE_FIELD_U16(struct vbe, index),
    STATE_FIELD_U16(struct vbe, id, .min = ID_FIRST, .max = ID_LAST),
    STATE_FIELD_U16(struct vbe, xres),
    STATE_FIELD_U16(struct vbe, yres),
    STATE_FIELD_U16(struct vbe, bpp),
    STATE_FIELD_U16(struct vbe, enable, .max = 0xff),
    STATE_FIELD_U16(struct vbe, bank),
    STATE_FIELD_U16(struct vbe, virt_width),
    STATE_FIELD_U16(struct vbe, x_offset),
    STATE_FIELD_U16(struct vbe, y_offset),
    STATE_FIELD_BOOL(struct vbe, big_endian),
    STATE_FIELD_END,
};

const struct state_desc vbe_state = {
    .name = "vbe",
    .version = 1,
    .fields = vbe_fields,
};
