/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IBM VGA: the registers at 0x3B0..0x3DF.
 *
 * Sources: IBM PS/2 Video Subsystem Technical Reference (VGA function), FreeVGA's port reference.
 *
 * Left out on purpose: what has no picture to show (sync polarities, retrace interrupt, light pen,
 * overscan border, sequencer reset); misc output's "enable RAM" and 0x3C3 do not shut the window,
 * because Linux' bochs driver clears the former with a fixed value while it only means to unblank.
 */
#include <string.h>

#include <glib.h>

#include <xendm/machine.h>

#include "vga-core.h"

static const uint8_t sr_mask[8] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
static const uint8_t gr_mask[16] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
#define CR_LAST 0x18
#define CR_PROTECT 0x80 /* in CR11: CR0..CR7 are read-only */
#define CR_LATCH 0x22   /* undocumented, but in every VGA: the latch of the plane that is read */
#define CR_FLIP_FLOP 0x24

#define ST1_BLANK 0x01
#define ST1_RETRACE 0x08
#define LINE_NS 31778 /* 31.469 kHz, every VGA mode */

/*
 * Input status 1 follows the virtual clock at 31.5 kHz. A guest that polls may be scheduled away,
 * or take longer for one access than the retrace lasts; so a retrace nobody has seen is reported at
 * the first read after it.
 */
static uint8_t vga_status1(struct vga *v)
{
    uint64_t now = (uint64_t)MAX(vclock_now(v->clock), 0);
    uint64_t total = (v->cr[0x06] | (v->cr[0x07] & 0x01) << 8 | (v->cr[0x07] & 0x20) << 4) + 2u;
    uint64_t shown = (v->cr[0x12] | (v->cr[0x07] & 0x02) << 7 | (v->cr[0x07] & 0x40) << 3) + 1u;
    if (total < 100) { /* not programmed */
        total = 525;
    }
    if (shown >= total) {
        shown = total - total / 10;
    }
    uint64_t frame = now / (total * LINE_NS), in_frame = now % (total * LINE_NS);
    uint64_t line = in_frame / LINE_NS, in_line = in_frame % LINE_NS;

    if (line >= shown) {
        v->retrace_seen = frame + 1;
        return ST1_BLANK | ST1_RETRACE;
    }
    if (v->retrace_seen < frame) {
        v->retrace_seen = frame;
        return ST1_BLANK | ST1_RETRACE;
    }
    return in_line >= LINE_NS * 4 / 5 ? ST1_BLANK : 0;
}

static uint8_t vga_crtc_read(const struct vga *v)
{
    if (v->cr_index <= CR_LAST) {
        return v->cr[v->cr_index];
    }
    if (v->cr_index == CR_LATCH) {
        return (uint8_t)(v->latch >> 8 * (v->gr[GR_READ_MAP] & 3));
    }
    if (v->cr_index == CR_FLIP_FLOP) {
        return (uint8_t)(v->ar_data << 7);
    }
    return 0;
}

static void vga_crtc_write(struct vga *v, uint8_t value)
{
    unsigned i = v->cr_index;
    if (i > CR_LAST) {
        return;
    }
    if (i <= 7 && (v->cr[0x11] & CR_PROTECT)) {
        if (i == 7) { /* line compare's bit 8 stays writable */
            v->cr[7] = (v->cr[7] & ~0x10) | (value & 0x10);
        }
        return;
    }
    v->cr[i] = value;
}

static void vga_attribute_write(struct vga *v, uint8_t value)
{
    static const uint8_t mask[VGA_AR_COUNT] = {
        [0 ... 15] = 0x3f,  [AR_MODE] = 0xef,    [AR_OVERSCAN] = 0xff,
        [AR_PLANES] = 0x3f, [AR_PANNING] = 0x0f, [AR_COLOUR_SELECT] = 0x0f,
    };
    if (!v->ar_data) {
        v->ar_index = value & 0x3f;
    } else if ((v->ar_index & 0x1f) < VGA_AR_COUNT) {
        unsigned i = v->ar_index & 0x1f;
        v->ar[i] = value & mask[i];
    }
    v->ar_data = !v->ar_data;
}

static uint8_t vga_dac_read(struct vga *v)
{
    uint8_t value = v->dac[v->dac_read * 3 + v->dac_component];
    if (++v->dac_component == 3) {
        v->dac_component = 0;
        v->dac_read++;
    }
    return value;
}

static void vga_dac_write(struct vga *v, uint8_t value)
{
    v->dac_latch[v->dac_component] = v->dac_8bit ? value : value & 0x3f;
    if (++v->dac_component == 3) {
        memcpy(&v->dac[v->dac_write * 3], v->dac_latch, 3);
        v->dac_component = 0;
        v->dac_write++;
    }
}

/* The CRTC and status 1 answer at 3Bx or at 3Dx, as misc output bit 0 says. */
static bool vga_port_is_off(const struct vga *v, unsigned port)
{
    return (port & 0x3f0) == (v->misc & 1 ? 0x3b0u : 0x3d0u);
}

uint8_t vga_port_read(struct vga *v, unsigned port)
{
    if (vga_port_is_off(v, port)) {
        return 0xff;
    }
    switch (port) {
    case 0x3c0:
        return v->ar_index;
    case 0x3c1:
        return (v->ar_index & 0x1f) < VGA_AR_COUNT ? v->ar[v->ar_index & 0x1f] : 0;
    case 0x3c2: /* input status 0: no retrace interrupt, no sense */
        return 0;
    case 0x3c3:
        return 1;
    case 0x3c4:
        return v->sr_index;
    case 0x3c5:
        return v->sr[v->sr_index & 7];
    case 0x3c6:
        return v->dac_mask;
    case 0x3c7:
        return v->dac_reading ? 3 : 0;
    case 0x3c8:
        return v->dac_write;
    case 0x3c9:
        return vga_dac_read(v);
    case 0x3ca:
        return v->feature;
    case 0x3cc:
        return v->misc;
    case 0x3ce:
        return v->gr_index;
    case 0x3cf:
        return v->gr[v->gr_index & 15];
    case 0x3b4:
    case 0x3d4:
        return v->cr_index;
    case 0x3b5:
    case 0x3d5:
        return vga_crtc_read(v);
    case 0x3ba:
    case 0x3da:
        v->ar_data = false;
        return vga_status1(v);
    default:
        return 0;
    }
}

void vga_port_write(struct vga *v, unsigned port, uint8_t value)
{
    if (vga_port_is_off(v, port)) {
        return;
    }
    switch (port) {
    case 0x3c0:
        vga_attribute_write(v, value);
        break;
    case 0x3c2:
        v->misc = value & 0xef;
        break;
    case 0x3c4:
        v->sr_index = value & 7;
        return;
    case 0x3c5:
        v->sr[v->sr_index & 7] = value & sr_mask[v->sr_index & 7];
        break;
    case 0x3c6:
        v->dac_mask = value;
        break;
    case 0x3c7:
        v->dac_read = value;
        v->dac_component = 0;
        v->dac_reading = true;
        return;
    case 0x3c8:
        v->dac_write = value;
        v->dac_component = 0;
        v->dac_reading = false;
        return;
    case 0x3c9:
        vga_dac_write(v, value);
        break;
    case 0x3ce:
        v->gr_index = value & 15;
        return;
    case 0x3cf:
        v->gr[v->gr_index & 15] = value & gr_mask[v->gr_index & 15];
        break;
    case 0x3b4:
    case 0x3d4:
        v->cr_index = value & (VGA_CR_COUNT - 1);
        return;
    case 0x3b5:
    case 0x3d5:
        vga_crtc_write(v, value);
        break;
    case 0x3ba:
    case 0x3da:
        v->feature = value & 0x10;
        return;
    default:
        return;
    }
    v->changed = true;
}

/* All zero, as vgabios and Linux find it, but for the DAC's mask: nobody but DOS programs ever
 * writes that. */
void vga_reset(struct vga *v)
{
    v->misc = v->feature = 0;
    v->sr_index = v->gr_index = v->cr_index = v->ar_index = 0;
    memset(v->sr, 0, sizeof(v->sr));
    memset(v->gr, 0, sizeof(v->gr));
    memset(v->cr, 0, sizeof(v->cr));
    memset(v->ar, 0, sizeof(v->ar));
    memset(v->dac, 0, sizeof(v->dac));
    memset(v->dac_latch, 0, sizeof(v->dac_latch));
    v->ar_data = false;
    v->dac_mask = 0xff;
    v->dac_read = v->dac_write = v->dac_component = 0;
    v->dac_reading = false;
    v->latch = 0;
    v->retrace_seen = 0;
    v->dac_8bit = v->packed = false;
    v->bank = 0;
    v->changed = true;
}

static void vga_memory_changed(void *opaque)
{
    struct vga *v = opaque;
    v->vram = v->mem.ptr;
    v->changed = true;
}

int vga_init(struct vga *v, struct device *dev, uint32_t vram_size, GError **err)
{
    size_t words = (vram_size / GUEST_PAGE_SIZE + 63) / 64;

    v->clock = dev->machine->clock;
    v->vram_size = vram_size;
    v->own_dirty = g_new0(uint64_t, words);
    v->guest_dirty = g_new0(uint64_t, words);
    v->mem.changed = vga_memory_changed;
    v->mem.opaque = v;
    int rc = devmem_create(&v->mem, dev, vram_size, err);
    if (rc == 0 && dev->machine->display) {
        v->display = dev->machine->display;
        display_set_device(v->display, &vga_display_device, v);
    }
    return rc;
}

void vga_free(struct vga *v)
{
    if (v->display) {
        display_set_device(v->display, NULL, NULL);
        v->display = NULL;
    }
    devmem_free(&v->mem);
    g_clear_pointer(&v->own_dirty, g_free);
    g_clear_pointer(&v->guest_dirty, g_free);
    g_clear_pointer(&v->drawing, g_free);
}

static const struct state_field vga_fields[] = {
    STATE_FIELD_U8(struct vga, misc),
    STATE_FIELD_U8(struct vga, feature),
    STATE_FIELD_U8(struct vga, sr_index, .max = VGA_SR_COUNT - 1),
    STATE_FIELD_BYTES(struct vga, sr),
    STATE_FIELD_U8(struct vga, gr_index, .max = VGA_GR_COUNT - 1),
    STATE_FIELD_BYTES(struct vga, gr),
    STATE_FIELD_U8(struct vga, cr_index, .max = VGA_CR_COUNT - 1),
    STATE_FIELD_BYTES(struct vga, cr),
    STATE_FIELD_U8(struct vga, ar_index, .max = 0x3f),
    STATE_FIELD_BYTES(struct vga, ar),
    STATE_FIELD_BOOL(struct vga, ar_data),
    STATE_FIELD_U8(struct vga, dac_mask),
    STATE_FIELD_U8(struct vga, dac_read),
    STATE_FIELD_U8(struct vga, dac_write),
    STATE_FIELD_U8(struct vga, dac_component, .max = 2),
    STATE_FIELD_BOOL(struct vga, dac_reading),
    STATE_FIELD_BYTES(struct vga, dac_latch),
    STATE_FIELD_BYTES(struct vga, dac),
    STATE_FIELD_U32(struct vga, latch),
    STATE_FIELD_U64(struct vga, retrace_seen),
    STATE_FIELD_END,
};

const struct state_desc vga_state = {
    .name = "vga",
    .version = 1,
    .fields = vga_fields,
};
