/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CL-GD5446: registers by port and in memory, and the mode that they ask for.
 *
 * Source: Cirrus Logic CL-GD5446 Technical Reference Manual, chapters on extension, video
 * configuration and BitBLT registers.
 *
 * Left out: clocks (a picture has no dot clock here), the signature generator, EEPROM and DDC pins,
 * the video overlay (CR3x). SR6 reads back as locked or unlocked but does not lock: no driver
 * relies on that, and those of QEMU's guests were never locked out.
 */
#include <string.h>

#include <glib.h>

#include "cirrus.h"

#define ID_GD5446 0xb8 /* CR27: 0x2E << 2 */
#define UNLOCK_KEY 0x12
#define UNLOCK_BITS 0x17
#define LOCKED 0x0f
#define HIDDEN_DAC_READS 4
#define SR17_STRAPS 0x38 /* bus type: read-only */
#define SR17_BUS_PCI 0x20
#define BLT_AUTOSTART 0x80

/* ---- sequencer ---- */

static uint8_t cirrus_sr_read(const struct cirrus *s)
{
    unsigned i = s->sr_index;

    if ((i & 0x1e) == SR_CURSOR_X) { /* the upper bits of the index are the cursor's lower ones */
        return s->vga.sr[i & 0x1f];
    }
    return i < 0x20 ? s->vga.sr[i] : 0xff;
}

static void cirrus_cursor_place(struct cirrus *s, uint8_t value)
{
    s->vga.sr[s->sr_index & 0x1f] = value;
    if (s->sr_index & 1) {
        s->cursor_y_low = s->sr_index >> 5;
    } else {
        s->cursor_x_low = s->sr_index >> 5;
    }
}

static void cirrus_sr_write(struct cirrus *s, uint8_t value)
{
    unsigned i = s->sr_index;

    if ((i & 0x1e) == SR_CURSOR_X) {
        cirrus_cursor_place(s, value);
        return;
    }
    if (i <= SR_MEMORY) {
        vga_port_write(&s->vga, 0x3c5, value);
        return;
    }
    if (i >= 0x20) {
        return;
    }
    if (i == SR_UNLOCK) {
        value = (value & UNLOCK_BITS) == UNLOCK_KEY ? UNLOCK_KEY : LOCKED;
    } else if (i == SR_CONFIG) {
        value = (s->vga.sr[i] & SR17_STRAPS) | (value & ~SR17_STRAPS);
    }
    s->vga.sr[i] = value;
    s->vga.changed = true;
    cirrus_settle(s);
}

/* ---- graphics controller ---- */

static uint8_t cirrus_gr_read(const struct cirrus *s, unsigned i)
{
    if (i == GR_SET_RESET || i == GR_ENABLE_SET_RESET) {
        return i == GR_SET_RESET ? s->gr0 : s->gr1;
    }
    return i <= GR_LAST ? s->vga.gr[i] : 0xff;
}

/* Bits that exist; registers 9 and up. */
static const uint8_t gr_mask[GR_LAST + 1] = {
    [GR_BANK_0] = 0xff,        [GR_BANK_1] = 0xff,
    [GR_EXTENSIONS] = 0xff,    [0x10 ... 0x15] = 0xff,
    [GR_BLT_WIDTH] = 0xff,     [GR_BLT_WIDTH + 1] = 0x1f,
    [GR_BLT_HEIGHT] = 0xff,    [GR_BLT_HEIGHT + 1] = 0x1f,
    [GR_BLT_DST_PITCH] = 0xff, [GR_BLT_DST_PITCH + 1] = 0x1f,
    [GR_BLT_SRC_PITCH] = 0xff, [GR_BLT_SRC_PITCH + 1] = 0x1f,
    [GR_BLT_DST] = 0xff,       [GR_BLT_DST + 1] = 0xff,
    [GR_BLT_DST + 2] = 0x3f,   [GR_BLT_SRC] = 0xff,
    [GR_BLT_SRC + 1] = 0xff,   [GR_BLT_SRC + 2] = 0x3f,
    [GR_BLT_CLIP] = 0xff,      [GR_BLT_MODE] = 0xff,
    [GR_BLT_ROP] = 0xff,       [GR_BLT_EXT] = 0xff,
    [GR_BLT_KEY] = 0xff,       [GR_BLT_KEY + 1] = 0xff,
    [0x38 ... 0x39] = 0xff,
};

#define BLT_BUSY 0x01
#define BLT_START 0x02
#define BLT_RESET 0x04
#define BLT_FIFO 0x10

static void cirrus_blt_control(struct cirrus *s, uint8_t value)
{
    uint8_t *reg = &s->vga.gr[GR_BLT_STATUS], old = *reg;

    *reg = (value & ~(BLT_BUSY | BLT_FIFO)) | (old & (BLT_BUSY | BLT_FIFO));
    if ((value | old) & BLT_RESET) {
        cirrus_blit_abort(s);
    } else if (!(old & BLT_START) && (value & BLT_START)) {
        cirrus_blit_start(s);
    }
}

static void cirrus_gr_write(struct cirrus *s, unsigned i, uint8_t value)
{
    struct vga *v = &s->vga;

    if (i > GR_LAST) {
        return;
    }
    if (i == GR_BLT_STATUS) {
        cirrus_blt_control(s, value);
        return;
    }
    if (i == GR_MODE) { /* one write mode bit more than the VGA has */
        v->gr[i] = value & 0x7f;
    } else if (i <= GR_BIT_MASK) {
        v->gr_index = (uint8_t)i;
        vga_port_write(v, 0x3cf, value);
        if (i == GR_SET_RESET) {
            s->gr0 = value;
        } else if (i == GR_ENABLE_SET_RESET) {
            s->gr1 = value;
        }
        return;
    } else {
        v->gr[i] = value & gr_mask[i];
    }
    if (i == GR_BLT_DST + 2 && (v->gr[GR_BLT_STATUS] & BLT_AUTOSTART)) {
        cirrus_blit_start(s);
    } else if (i == GR_MODE || i == GR_EXTENSIONS) {
        v->changed = true;
        cirrus_settle(s);
    }
}

/* The same registers as bytes in memory: "Memory-mapped I/O". 0: none there. */
static const uint8_t blt_register[0x41] = {
    [0x01] = 0x10,       [0x02] = 0x12,          [0x03] = 0x14,           [0x04] = 0x01,
    [0x05] = 0x11,       [0x06] = 0x13,          [0x07] = 0x15,           [0x08] = 0x20,
    [0x09] = 0x21,       [0x0a] = 0x22,          [0x0b] = 0x23,           [0x0c] = 0x24,
    [0x0d] = 0x25,       [0x0e] = 0x26,          [0x0f] = 0x27,           [0x10] = 0x28,
    [0x11] = 0x29,       [0x12] = 0x2a,          [0x14] = 0x2c,           [0x15] = 0x2d,
    [0x16] = 0x2e,       [0x17] = GR_BLT_CLIP,   [0x18] = GR_BLT_MODE,    [0x1a] = GR_BLT_ROP,
    [0x1b] = GR_BLT_EXT, [0x1c] = GR_BLT_KEY,    [0x1d] = GR_BLT_KEY + 1, [0x20] = 0x38,
    [0x21] = 0x39,       [0x40] = GR_BLT_STATUS,
};

uint8_t cirrus_blt_read(struct cirrus *s, unsigned offset)
{
    if (offset == 0) {
        return cirrus_gr_read(s, 0);
    }
    unsigned i = offset < sizeof(blt_register) ? blt_register[offset] : 0;
    return i ? cirrus_gr_read(s, i) : 0xff;
}

void cirrus_blt_write(struct cirrus *s, unsigned offset, uint8_t value)
{
    unsigned i = offset < sizeof(blt_register) ? blt_register[offset] : 0;

    if (i || offset == 0) {
        cirrus_gr_write(s, i, value);
    }
}

/* ---- CRTC ---- */

static bool cirrus_cr_is_own(unsigned i)
{
    return i >= 0x19 && i <= 0x1d;
}

static uint8_t cirrus_cr_read(struct cirrus *s, unsigned port)
{
    switch (s->cr_index) {
    case 0x00 ... 0x18:
    case 0x22: /* latch */
    case 0x24: /* attribute flip-flop */
        return vga_port_read(&s->vga, port);
    case 0x19 ... 0x1d:
        return s->vga.cr[s->cr_index];
    case 0x25: /* part status */
        return 0;
    case 0x26:
        return s->vga.ar_index;
    case 0x27:
        return ID_GD5446;
    default:
        return 0xff;
    }
}

static void cirrus_cr_write(struct cirrus *s, unsigned port, uint8_t value)
{
    if (cirrus_cr_is_own(s->cr_index)) {
        s->vga.cr[s->cr_index] = value;
        s->vga.changed = true;
    } else if (s->cr_index < 0x19) {
        vga_port_write(&s->vga, port, value);
    }
}

/* ---- DAC ---- */

/* After four reads of the pixel mask the next access reaches the hidden register. */
static uint8_t cirrus_mask_read(struct cirrus *s)
{
    if (s->dac_unlock == HIDDEN_DAC_READS) {
        s->dac_unlock = 0;
        return s->hidden_dac;
    }
    s->dac_unlock++;
    return s->vga.dac_mask;
}

static void cirrus_mask_write(struct cirrus *s, uint8_t value)
{
    if (s->dac_unlock == HIDDEN_DAC_READS) {
        s->hidden_dac = value;
        s->vga.changed = true;
    } else {
        vga_port_write(&s->vga, 0x3c6, value);
    }
    s->dac_unlock = 0;
}

static uint8_t cirrus_palette_read(struct cirrus *s)
{
    struct vga *v = &s->vga;
    unsigned at = (v->dac_read & 15) * 3u + v->dac_component;
    uint8_t normal = vga_port_read(v, 0x3c9); /* counts */

    return v->sr[SR_CURSOR] & SR12_PALETTE ? s->cursor_palette[at] : normal;
}

static void cirrus_palette_write(struct cirrus *s, uint8_t value)
{
    struct vga *v = &s->vga;

    if (!(v->sr[SR_CURSOR] & SR12_PALETTE)) {
        vga_port_write(v, 0x3c9, value);
        return;
    }
    v->dac_latch[v->dac_component] = value & 0x3f;
    if (++v->dac_component == 3) {
        memcpy(&s->cursor_palette[(v->dac_write & 15) * 3], v->dac_latch, 3);
        v->dac_component = 0;
        v->dac_write++;
    }
}

/* ---- ports ---- */

/* The CRTC answers at 3Bx or at 3Dx, as misc output bit 0 says. */
static bool cirrus_crtc_is_at(const struct cirrus *s, unsigned port)
{
    return (port & 0x3f0) == (s->vga.misc & 1 ? 0x3d0u : 0x3b0u);
}

uint8_t cirrus_port_read(struct vga *v, unsigned port)
{
    struct cirrus *s = cirrus_of(v);

    if (port != 0x3c6) {
        s->dac_unlock = 0;
    }
    switch (port) {
    case 0x3c4:
        return s->sr_index;
    case 0x3c5:
        return cirrus_sr_read(s);
    case 0x3c6:
        return cirrus_mask_read(s);
    case 0x3c9:
        return cirrus_palette_read(s);
    case 0x3ce:
        return s->gr_index;
    case 0x3cf:
        return cirrus_gr_read(s, s->gr_index);
    case 0x3b4:
    case 0x3d4:
        return cirrus_crtc_is_at(s, port) ? s->cr_index : 0xff;
    case 0x3b5:
    case 0x3d5:
        return cirrus_crtc_is_at(s, port) ? cirrus_cr_read(s, port) : 0xff;
    default:
        return vga_port_read(v, port);
    }
}

void cirrus_port_write(struct vga *v, unsigned port, uint8_t value)
{
    struct cirrus *s = cirrus_of(v);

    if (port != 0x3c6) {
        s->dac_unlock = 0;
    }
    switch (port) {
    case 0x3c4:
        s->sr_index = value;
        break;
    case 0x3c5:
        cirrus_sr_write(s, value);
        return;
    case 0x3c6:
        cirrus_mask_write(s, value);
        return;
    case 0x3c9:
        cirrus_palette_write(s, value);
        return;
    case 0x3ce:
        s->gr_index = value;
        break;
    case 0x3cf:
        cirrus_gr_write(s, s->gr_index, value);
        return;
    case 0x3b4:
    case 0x3d4:
        if (cirrus_crtc_is_at(s, port)) {
            s->cr_index = value;
        }
        break;
    case 0x3b5:
    case 0x3d5:
        if (cirrus_crtc_is_at(s, port)) {
            cirrus_cr_write(s, port, value);
        }
        return;
    default:
        break;
    }
    vga_port_write(v, port, value);
}

/* ---- the mode ---- */

static unsigned cirrus_bpp(const struct cirrus *s)
{
    switch (s->vga.sr[SR_MODE] >> 1 & 7) {
    case 1: /* doubled clock */
    case 3:
        return (s->hidden_dac & 15) == 1 ? 16 : 15;
    case 2:
        return 24;
    case 4:
        return 32;
    default:
        return 8;
    }
}

bool cirrus_mode(struct vga *v, struct vga_mode *m)
{
    const struct cirrus *s = cirrus_of(v);
    const uint8_t *cr = v->cr;

    if (!(v->sr[SR_MODE] & SR7_EXTENDED) || !(v->gr[GR_MISC] & GR6_GRAPHICS)) {
        return false;
    }
    m->width = (cr[0x01] + 1u) * 8;
    m->height = (cr[0x12] | (cr[0x07] & 0x02u) << 7 | (cr[0x07] & 0x40u) << 3) + 1;
    if (cr[0x1a] & 0x01) { /* interlaced: all its lines */
        m->height *= 2;
    }
    m->bpp = cirrus_bpp(s);
    m->pitch = (cr[0x13] | (cr[0x1b] & 0x10u) << 4) * 8;
    m->start = (cr[0x0c] << 8 | cr[0x0d] | (cr[0x1b] & 0x01u) << 16 | (cr[0x1b] & 0x0cu) << 15 |
                (cr[0x1d] & 0x80u) << 12) *
               4ull;
    return true;
}

/* As the chip comes out of reset, with 4 MiB of DRAM behind it; what of it the drivers read. */
void cirrus_registers_reset(struct cirrus *s)
{
    struct vga *v = &s->vga;

    vga_reset(v);
    s->sr_index = s->gr_index = s->cr_index = 0;
    s->gr0 = s->gr1 = 0;
    s->dac_unlock = s->hidden_dac = 0;
    s->cursor_x_low = s->cursor_y_low = 0;
    memset(s->cursor_palette, 0, sizeof(s->cursor_palette));
    v->sr[SR_UNLOCK] = LOCKED;
    v->sr[SR_DRAM] = 0x98;      /* 64 bits wide, bank switch: 4 MiB */
    v->sr[SR_SCRATCH_3] = 0x04; /* the BIOS' word for 4 MiB */
    v->sr[SR_CONFIG] = SR17_BUS_PCI;
    v->sr[SR_MCLK] = 0x2d;
    v->gr[0x18] = 0x0f;
}
