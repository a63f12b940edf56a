/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * IBM VGA: the window at 0xA0000..0xBFFFF, by way of the graphics controller.
 *
 * Sources: IBM PS/2 Video Subsystem Technical Reference ("Graphics controller", "Sequencer");
 * FreeVGA "Accessing the VGA display memory". Four planes are handled as one 32-bit word, plane 0
 * in the low byte (see vga-core.h for the layout).
 *
 * Left out: GR6's "chain odd/even" and misc's page bit, which only move odd/even pairs on adapters
 * with 64 KiB.
 */
#include <string.h>

#include <glib.h>

#include <xendm/tape.h>

#include "vga-core.h"

G_STATIC_ASSERT(G_BYTE_ORDER == G_LITTLE_ENDIAN);

void vga_vram_written(struct vga *v, uint32_t offset, uint32_t len)
{
    if (len == 0 || offset >= v->vram_size) {
        return;
    }
    uint32_t first = offset / GUEST_PAGE_SIZE;
    uint32_t last = (uint32_t)((MIN((uint64_t)offset + len, v->vram_size) - 1) / GUEST_PAGE_SIZE);
    for (uint32_t page = first; page <= last; page++) {
        v->own_dirty[page / 64] |= 1ull << page % 64;
    }
    devmem_modified(&v->mem, first, last - first + 1);
}

/*
 * In a recording: the guest writes its video memory without us, so that what is read of it for an
 * answer is news.
 */
void vga_vram_tape(struct vga *v, uint32_t offset, uint32_t len)
{
    tape_fact(TAPE_VIDEO_READ, NULL, (uint64_t[]){offset, len}, v->vram + offset, len);
}

/* Bits of a nibble spread to whole bytes: plane masks. */
static inline uint32_t spread_planes(unsigned nibble)
{
    static const uint32_t table[16] = {
        0x00000000, 0x000000ff, 0x0000ff00, 0x0000ffff, 0x00ff0000, 0x00ff00ff,
        0x00ffff00, 0x00ffffff, 0xff000000, 0xff0000ff, 0xff00ff00, 0xff00ffff,
        0xffff0000, 0xffff00ff, 0xffffff00, 0xffffffff,
    };
    return table[nibble & 15];
}

static inline uint32_t spread_byte(uint8_t byte)
{
    return byte * 0x01010101u;
}

/* The address inside display memory for a window offset; false when the memory map does not show
 * that part. */
static bool vga_window_map(const struct vga *v, uint32_t offset, uint32_t *address)
{
    switch (v->gr[GR_MISC] >> 2 & 3) {
    case 0:
        *address = offset;
        return offset < 0x20000;
    case 1:
        *address = offset + v->bank;
        return offset < 0x10000;
    case 2:
        *address = offset - 0x10000;
        return offset >= 0x10000 && offset < 0x18000;
    default:
        *address = offset - 0x18000;
        return offset >= 0x18000 && offset < 0x20000;
    }
}

/* Cells beyond VRAM do not exist; an IBM VGA's planes end at 64 KiB, but a bank may go further. */
static inline bool vga_cell_exists(const struct vga *v, uint32_t cell)
{
    return cell < v->vram_size / 4;
}

static inline uint32_t vga_cell_load(const struct vga *v, uint32_t cell)
{
    uint32_t value;
    memcpy(&value, v->vram + (size_t)cell * 4, 4);
    return value;
}

/* True when a write puts the host's byte into memory as it is: what text and mode 13h programs use.
 */
static inline bool vga_logic_is_plain(const struct vga *v)
{
    return (v->gr[GR_MODE] & 3) == 0 && (v->gr[GR_ROTATE] & 0x1f) == 0 &&
           v->gr[GR_BIT_MASK] == 0xff && (v->gr[GR_ENABLE_SET_RESET] & 15) == 0;
}

/* What the four planes' data paths give for a host byte, with latches and bit mask. */
static uint32_t vga_logic(const struct vga *v, uint8_t byte)
{
    const uint8_t *gr = v->gr;
    unsigned rotate = gr[GR_ROTATE] & 7;
    uint8_t rotated = (uint8_t)(byte >> rotate | byte << (8 - rotate));
    uint32_t set_reset = spread_planes(gr[GR_SET_RESET]);
    uint32_t data, mask = spread_byte(gr[GR_BIT_MASK]);

    switch (gr[GR_MODE] & 3) {
    case 0: {
        uint32_t enable = spread_planes(gr[GR_ENABLE_SET_RESET]);
        data = (spread_byte(rotated) & ~enable) | (set_reset & enable);
        break;
    }
    case 1:
        return v->latch;
    case 2:
        data = spread_planes(byte);
        break;
    default:
        mask &= spread_byte(rotated);
        data = set_reset;
        break;
    }
    switch (gr[GR_ROTATE] >> 3 & 3) {
    case 1:
        data &= v->latch;
        break;
    case 2:
        data |= v->latch;
        break;
    case 3:
        data ^= v->latch;
        break;
    default:
        break;
    }
    return (data & mask) | (v->latch & ~mask);
}

static void vga_byte_write(struct vga *v, uint32_t address, uint8_t byte)
{
    unsigned planes = v->sr[SR_MAP_MASK];
    uint32_t cell;

    if (v->sr[SR_MEMORY] & SR4_CHAIN4) {
        cell = address >> 2;
        planes &= 1u << (address & 3);
    } else if (!(v->sr[SR_MEMORY] & SR4_NO_ODD_EVEN)) {
        cell = address >> 1;
        planes &= 5u << (address & 1);
    } else {
        cell = address;
    }
    planes &= 15;
    if (planes == 0 || !vga_cell_exists(v, cell)) {
        return;
    }
    uint8_t *p = v->vram + (size_t)cell * 4;
    if ((planes & (planes - 1)) == 0 && vga_logic_is_plain(v)) {
        p[__builtin_ctz(planes)] = byte;
    } else {
        uint32_t keep = ~spread_planes(planes);
        uint32_t value = (vga_cell_load(v, cell) & keep) | (vga_logic(v, byte) & ~keep);
        memcpy(p, &value, 4);
    }
    vga_vram_written(v, cell * 4, 4);
}

static uint8_t vga_byte_read(struct vga *v, uint32_t address)
{
    unsigned plane;
    uint32_t cell;

    if (v->sr[SR_MEMORY] & SR4_CHAIN4) {
        cell = address >> 2;
        plane = address & 3;
    } else if (v->gr[GR_MODE] & GR5_ODD_EVEN) {
        cell = address >> 1;
        plane = (v->gr[GR_READ_MAP] & 2) | (address & 1);
    } else {
        cell = address;
        plane = v->gr[GR_READ_MAP] & 3;
    }
    if (!vga_cell_exists(v, cell)) {
        return 0xff;
    }
    if (tape_on()) {
        vga_vram_tape(v, cell * 4, 4);
    }
    v->latch = vga_cell_load(v, cell);
    if (!(v->gr[GR_MODE] & GR5_READ_COMPARE)) {
        return (uint8_t)(v->latch >> 8 * plane);
    }
    uint32_t differ =
        (v->latch ^ spread_planes(v->gr[GR_COMPARE])) & spread_planes(v->gr[GR_DONT_CARE]);
    differ |= differ >> 16;
    differ |= differ >> 8;
    return (uint8_t)~differ;
}

/* Linear bytes of a super-VGA mode; [address, address + size) is cut at the end of VRAM. */
static uint64_t vga_packed_read(struct vga *v, uint32_t address, unsigned size)
{
    uint64_t value = UINT64_MAX;
    if (address < v->vram_size) {
        if (tape_on()) {
            vga_vram_tape(v, address, MIN(size, v->vram_size - address));
        }
        memcpy(&value, v->vram + address, MIN(size, v->vram_size - address));
    }
    return value;
}

static void vga_packed_write(struct vga *v, uint32_t address, uint64_t value, unsigned size)
{
    if (address < v->vram_size) {
        size = MIN(size, v->vram_size - address);
        memcpy(v->vram + address, &value, size);
        vga_vram_written(v, address, size);
    }
}

uint64_t vga_window_read(struct vga *v, uint32_t offset, unsigned size)
{
    uint64_t value = 0;
    uint32_t address, last;

    if (v->packed && vga_window_map(v, offset, &address) &&
        vga_window_map(v, offset + size - 1, &last)) {
        return vga_packed_read(v, address, size);
    }
    for (unsigned i = 0; i < size; i++) {
        uint64_t byte = 0xff;
        if (vga_window_map(v, offset + i, &address)) {
            byte = v->packed ? vga_packed_read(v, address, 1) & 0xff : vga_byte_read(v, address);
        }
        value |= byte << 8 * i;
    }
    return value;
}

void vga_window_write(struct vga *v, uint32_t offset, uint64_t value, unsigned size)
{
    uint32_t address, last;

    if (v->packed && vga_window_map(v, offset, &address) &&
        vga_window_map(v, offset + size - 1, &last)) {
        vga_packed_write(v, address, value, size);
        return;
    }
    for (unsigned i = 0; i < size; i++, value >>= 8) {
        if (!vga_window_map(v, offset + i, &address)) {
            continue;
        }
        if (v->packed) {
            vga_packed_write(v, address, value & 0xff, 1);
        } else {
            vga_byte_write(v, address, (uint8_t)value);
        }
    }
}
