/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CL-GD5446: the CPU's ways into video memory. The window at 0xA0000 has two banks of 32 KiB (or
 * one of 64), the BitBLT registers at 0xB8000 and, as long as the VGA's own modes are on, is the
 * VGA's. The frame buffer in BAR 0 is the guest's own memory, and comes here only while it is
 * trapped: a blit waits for data, or addresses or write modes are not plain.
 *
 * Source: CL-GD5446 Technical Reference Manual, "Host access to display memory", GR9..GRB, SR17,
 * "Extended write modes".
 */
#include <string.h>

#include <xendm/tape.h>

#include "cirrus.h"

#define BLT_BLOCK 0x18000u /* of the window: 0xB8000 */
#define BLT_BLOCK_SIZE 0x100u
#define BANK_SIZE 0x8000u
#define APERTURE_BLIT (0x1000000u - CIRRUS_VRAM) /* 16 MiB into BAR 0 */
#define APERTURE_BLIT_SIZE 0x400000u
#define STRAYS_MAX 64 /* after so many the frame buffer goes back to the guest */

static unsigned cirrus_shift(const struct cirrus *s)
{
    uint8_t grb = s->vga.gr[GR_EXTENSIONS];

    if ((grb & (GRB_BY_16 | GRB_WRITE_MODES)) == (GRB_BY_16 | GRB_WRITE_MODES)) {
        return 4;
    }
    return grb & GRB_BY_8 ? 3 : 0;
}

/* Write modes 4 and 5: a byte is 8 pixels, ones in GR1's colour, zeros in GR0's or left alone. */
static bool cirrus_expands(const struct cirrus *s)
{
    unsigned mode = s->vga.gr[GR_MODE] & 7;

    return (mode == 4 || mode == 5) && (s->vga.gr[GR_EXTENSIONS] & GRB_WRITE_MODES);
}

static bool cirrus_linear_mmio(const struct cirrus *s)
{
    return (s->vga.sr[SR_CONFIG] & (SR17_MMIO | SR17_MMIO_LINEAR)) ==
           (SR17_MMIO | SR17_MMIO_LINEAR);
}

bool cirrus_wants_trap(const struct cirrus *s)
{
    return cirrus_blit_waits(s) || cirrus_shift(s) || cirrus_expands(s) || cirrus_linear_mmio(s);
}

/* ---- one byte ---- */

static void cirrus_expand_write(struct cirrus *s, uint32_t address, uint8_t bits)
{
    struct vga *v = &s->vga;
    unsigned pixel = cirrus_shift(s) == 4 ? 2 : 1;
    bool both = (v->gr[GR_MODE] & 7) == 5;
    const uint8_t fg[2] = {s->gr1, v->gr[0x11]}, bg[2] = {s->gr0, v->gr[0x10]};

    address &= CIRRUS_MASK & ~(8 * pixel - 1);
    for (unsigned i = 0; i < 8; i++, bits = (uint8_t)(bits << 1)) {
        if ((bits & 0x80) || both) {
            memcpy(v->vram + address + i * pixel, bits & 0x80 ? fg : bg, pixel);
        }
    }
    vga_vram_written(v, address, 8 * pixel);
}

static void cirrus_byte_write(struct cirrus *s, uint32_t address, uint8_t value)
{
    address = address << cirrus_shift(s) & CIRRUS_MASK;
    if (cirrus_expands(s)) {
        cirrus_expand_write(s, address, value);
    } else {
        s->vga.vram[address] = value;
        vga_vram_written(&s->vga, address, 1);
    }
}

static uint8_t cirrus_byte_read(struct cirrus *s, uint32_t address)
{
    address = address << cirrus_shift(s) & CIRRUS_MASK;
    if (tape_on()) {
        vga_vram_tape(&s->vga, address, 1);
    }
    return s->vga.vram[address];
}

/* ---- the window ---- */

/* The address in video memory; false beyond its end. */
static bool cirrus_bank(const struct cirrus *s, uint32_t offset, uint32_t *address)
{
    const uint8_t *gr = s->vga.gr;
    unsigned bank = offset / BANK_SIZE;
    bool dual = gr[GR_EXTENSIONS] & GRB_DUAL;
    unsigned shift = gr[GR_EXTENSIONS] & GRB_16K ? 14 : 12;

    *address = (uint32_t)gr[dual && bank ? GR_BANK_1 : GR_BANK_0] << shift;
    *address += dual ? offset % BANK_SIZE : offset;
    return *address < CIRRUS_VRAM;
}

static bool cirrus_is_vga(const struct vga *v)
{
    return !(v->sr[SR_MODE] & SR7_EXTENDED);
}

static bool cirrus_is_blt_block(const struct cirrus *s, uint32_t offset)
{
    return offset - BLT_BLOCK < BLT_BLOCK_SIZE &&
           (s->vga.sr[SR_CONFIG] & (SR17_MMIO | SR17_MMIO_LINEAR)) == SR17_MMIO;
}

/* All of the access is plain memory, in one piece. */
static bool cirrus_window_plain(const struct cirrus *s, uint32_t offset, unsigned size,
                                uint32_t *address)
{
    return (offset | (offset + size - 1)) < 2 * BANK_SIZE &&
           offset / BANK_SIZE == (offset + size - 1) / BANK_SIZE && cirrus_shift(s) == 0 &&
           !cirrus_expands(s) && cirrus_bank(s, offset, address) && *address + size <= CIRRUS_VRAM;
}

uint64_t cirrus_window_read(struct vga *v, uint32_t offset, unsigned size)
{
    struct cirrus *s = cirrus_of(v);
    uint64_t value = 0;
    uint32_t address;

    if (cirrus_is_vga(v)) {
        return vga_window_read(v, offset, size);
    }
    if (cirrus_window_plain(s, offset, size, &address)) {
        if (tape_on()) {
            vga_vram_tape(v, address, size);
        }
        memcpy(&value, v->vram + address, size);
        return value;
    }
    for (unsigned i = 0; i < size; i++) {
        uint64_t byte = 0xff;
        if (cirrus_is_blt_block(s, offset + i)) {
            byte = cirrus_blt_read(s, offset + i - BLT_BLOCK);
        } else if (offset + i < 2 * BANK_SIZE && cirrus_bank(s, offset + i, &address)) {
            byte = cirrus_byte_read(s, address);
        }
        value |= byte << 8 * i;
    }
    return value;
}

void cirrus_window_write(struct vga *v, uint32_t offset, uint64_t value, unsigned size)
{
    struct cirrus *s = cirrus_of(v);
    uint32_t address;

    if (cirrus_is_vga(v)) {
        vga_window_write(v, offset, value, size);
        return;
    }
    if (cirrus_blit_waits(s) && offset < 2 * BANK_SIZE) {
        cirrus_blit_data(s, value, size);
        return;
    }
    if (cirrus_window_plain(s, offset, size, &address)) {
        memcpy(v->vram + address, &value, size);
        vga_vram_written(v, address, size);
        return;
    }
    for (unsigned i = 0; i < size; i++, value >>= 8) {
        if (cirrus_is_blt_block(s, offset + i)) {
            cirrus_blt_write(s, offset + i - BLT_BLOCK, (uint8_t)value);
        } else if (offset + i < 2 * BANK_SIZE && cirrus_bank(s, offset + i, &address)) {
            cirrus_byte_write(s, address, (uint8_t)value);
        }
    }
}

/* ---- the frame buffer, while it is trapped ---- */

static bool cirrus_is_linear_block(const struct cirrus *s, uint32_t offset)
{
    return cirrus_linear_mmio(s) && offset >= CIRRUS_VRAM - BLT_BLOCK_SIZE;
}

/*
 * One blit from the CPU is often followed by the next one, so that the pages do not go back at
 * once: moving a thousand of them costs as much as some hundred accesses.
 */
static void cirrus_stray(struct cirrus *s)
{
    if (s->trapped && !cirrus_wants_trap(s) && ++s->strays > STRAYS_MAX) {
        cirrus_untrap(s);
    }
}

static uint64_t linear_read(void *opaque, uint64_t offset, unsigned size)
{
    struct cirrus *s = opaque;
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++) {
        uint32_t at = (uint32_t)offset + i;
        uint64_t byte =
            cirrus_is_linear_block(s, at) ? cirrus_blt_read(s, at & 0xff) : cirrus_byte_read(s, at);
        value |= byte << 8 * i;
    }
    cirrus_stray(s);
    return value;
}

static void linear_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct cirrus *s = opaque;
    uint32_t at = (uint32_t)offset;

    if (cirrus_blit_waits(s) && !cirrus_is_linear_block(s, at)) {
        cirrus_blit_data(s, value, size);
        return;
    }
    for (unsigned i = 0; i < size; i++, value >>= 8) {
        if (cirrus_is_linear_block(s, at + i)) {
            cirrus_blt_write(s, (at + i) & 0xff, (uint8_t)value);
        } else {
            cirrus_byte_write(s, at + i, (uint8_t)value);
        }
    }
    cirrus_stray(s);
}

const struct region_ops cirrus_linear_ops = {
    .read = linear_read,
    .write = linear_write,
    .impl_min = 1,
    .impl_max = 8,
};

/* Behind it in BAR 0: from 16 MiB on the blits' data, nothing else. */
static void aperture_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct cirrus *s = opaque;

    if (offset >= APERTURE_BLIT && offset < APERTURE_BLIT + APERTURE_BLIT_SIZE) {
        cirrus_blit_data(s, value, size);
    }
}

const struct region_ops cirrus_aperture_ops = {
    .write = aperture_write,
    .impl_min = 1,
    .impl_max = 8,
};
