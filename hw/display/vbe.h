/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bochs VBE "dispi" registers: modes beyond the VGA for chips without registers of their own. */
#ifndef XENDM_VBE_H
#define XENDM_VBE_H

#include <xendm/hold.h>

#include "vga-core.h"

enum vbe_index {
    VBE_ID,
    VBE_XRES,
    VBE_YRES,
    VBE_BPP,
    VBE_ENABLE,
    VBE_BANK,
    VBE_VIRT_WIDTH,
    VBE_VIRT_HEIGHT,
    VBE_X_OFFSET,
    VBE_Y_OFFSET,
    VBE_MEMORY_64K,
    VBE_COUNT,
};

#define VBE_ENABLED 0x01u
#define VBE_GETCAPS 0x02u
#define VBE_BANK_32K 0x10u
#define VBE_8BIT_DAC 0x20u
#define VBE_LFB 0x40u
#define VBE_NOCLEARMEM 0x80u

struct vbe {
    struct vga *vga;
    struct device *dev;       /* whose registers these are */
    struct device_work clear; /* of [clear_at, clear_end) of VRAM, which a mode begins with */
    uint32_t clear_at, clear_end;
    uint16_t index;
    uint16_t id, xres, yres, bpp, enable, bank, virt_width, x_offset, y_offset;
    bool big_endian; /* the frame buffer's byte order, set through QEMU's extended registers */
};

void vbe_reset(struct vbe *vbe);
uint16_t vbe_read(struct vbe *vbe, unsigned index);
void vbe_write(struct vbe *vbe, unsigned index, uint16_t value);
bool vbe_mode(const struct vbe *vbe, struct vga_mode *m);
/* After a restore: makes the registers consistent whatever the stream said, and the VGA's derived
 * fields. */
void vbe_update(struct vbe *vbe);
extern const struct state_desc vbe_state;

#endif
