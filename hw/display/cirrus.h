/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CL-GD5446: what its files share. */
#ifndef XENDM_CIRRUS_H
#define XENDM_CIRRUS_H

#include <xendm/hold.h>
#include <xendm/pci.h>

#include "vga-core.h"

#define CIRRUS_VRAM (4u << 20) /* all that the chip addresses */
#define CIRRUS_MASK (CIRRUS_VRAM - 1)

/* Registers beyond the VGA's. */
#define SR_UNLOCK 0x06
#define SR_MODE 0x07
#define SR_DRAM 0x0f
#define SR_CURSOR_X 0x10
#define SR_CURSOR_Y 0x11
#define SR_CURSOR 0x12
#define SR_CURSOR_PATTERN 0x13
#define SR_SCRATCH_3 0x15
#define SR_CONFIG 0x17
#define SR_MCLK 0x1f
#define SR7_EXTENDED 0x01
#define SR12_SHOW 0x01
#define SR12_PALETTE 0x02 /* the DAC's ports reach the cursor's colours */
#define SR12_LARGE 0x04
#define SR17_MMIO 0x04        /* BitBLT registers in memory: at 0xB8000 … */
#define SR17_MMIO_LINEAR 0x40 /* … or in the last 256 bytes of the frame buffer */

#define GR_BANK_0 0x09
#define GR_BANK_1 0x0a
#define GR_EXTENSIONS 0x0b
#define GRB_DUAL 0x01
#define GRB_BY_8 0x02
#define GRB_WRITE_MODES 0x04 /* 4 and 5 */
#define GRB_BY_16 0x10       /* with GRB_WRITE_MODES */
#define GRB_16K 0x20

#define GR_BLT_WIDTH 0x20
#define GR_BLT_HEIGHT 0x22
#define GR_BLT_DST_PITCH 0x24
#define GR_BLT_SRC_PITCH 0x26
#define GR_BLT_DST 0x28
#define GR_BLT_SRC 0x2c
#define GR_BLT_CLIP 0x2f
#define GR_BLT_MODE 0x30
#define GR_BLT_STATUS 0x31
#define GR_BLT_ROP 0x32
#define GR_BLT_EXT 0x33
#define GR_BLT_KEY 0x34
#define GR_LAST 0x39

#define CIRRUS_ROW_MAX 0x2000u /* bytes of a blit's row: 13 bits */

/* A rectangle in video memory: see cirrus_rect_row(). */
struct cirrus_rect {
    uint32_t at;    /* first byte, or, when it goes up, the last byte of the last row */
    uint32_t pitch; /* bytes */
    uint32_t width; /* bytes, 1 .. CIRRUS_ROW_MAX */
    bool up;
};

/* What the registers said when it was started: they may be written meanwhile. */
struct cirrus_blit {
    uint8_t mode, rop, ext, clip;
    uint8_t pixel; /* bytes */
    uint16_t key;  /* transparent colour */
    uint32_t fg, bg;
    uint32_t width, rows; /* rows: left */
    uint32_t done;        /* rows */
    uint32_t dst, dst_pitch, src, src_pitch;
    uint32_t wanted; /* bytes a row, or of a pattern, that the CPU gives; 0: not its turn */
    uint32_t got;
    uint8_t data[CIRRUS_ROW_MAX]; /* of those; a pattern stays here */
};

struct cirrus {
    struct pci_device pci;
    struct vga vga;
    struct vga_isa isa;
    uint32_t vgamem_mb; /* properties */
    char *romfile;

    uint8_t sr_index, gr_index, cr_index; /* as written: the VGA's keep the low bits */
    uint8_t gr0, gr1;                     /* all 8 bits, colours of blits and write modes */
    uint8_t dac_unlock;                   /* reads of 3C6 since something else */
    uint8_t hidden_dac;
    uint8_t cursor_x_low, cursor_y_low; /* 3 bits, out of the index */
    uint8_t cursor_palette[16 * 3];

    struct region linear;   /* the frame buffer while it is trapped */
    struct region aperture; /* the rest of BAR 0 */
    bool trapped;
    unsigned strays; /* accesses to the trapped frame buffer that no blit waited for */

    struct cirrus_blit blit;
    struct device_work work; /* rows of it */
    uint64_t blits, blit_rows, traps;

    uint8_t cursor_seen[1024]; /* what the viewers were told */
    uint32_t cursor_colours[2];
    uint8_t cursor_attribute;
    int cursor_x, cursor_y;
    bool cursor_visible;
};

/* The chip around its VGA. */
static inline struct cirrus *cirrus_of(struct vga *v)
{
    return (struct cirrus *)((char *)v - offsetof(struct cirrus, vga));
}

/* cirrus-registers.c */
uint8_t cirrus_port_read(struct vga *v, unsigned port);
void cirrus_port_write(struct vga *v, unsigned port, uint8_t value);
uint8_t cirrus_blt_read(struct cirrus *s, unsigned offset); /* the BitBLT block in memory */
void cirrus_blt_write(struct cirrus *s, unsigned offset, uint8_t value);
void cirrus_registers_reset(struct cirrus *s);
bool cirrus_mode(struct vga *v, struct vga_mode *m);

/* cirrus-memory.c */
uint64_t cirrus_window_read(struct vga *v, uint32_t offset, unsigned size);
void cirrus_window_write(struct vga *v, uint32_t offset, uint64_t value, unsigned size);
extern const struct region_ops cirrus_linear_ops, cirrus_aperture_ops;
/* Whether the registers want accesses of the frame buffer to be more than memory. */
bool cirrus_wants_trap(const struct cirrus *s);

/* cirrus.c: after anything that cirrus_wants_trap() looks at. */
void cirrus_settle(struct cirrus *s);
void cirrus_untrap(struct cirrus *s); /* when it is not wanted any more */

/* cirrus-blit.c */
void cirrus_blit_start(struct cirrus *s);
void cirrus_blit_abort(struct cirrus *s);
void cirrus_blit_data(struct cirrus *s, uint64_t value, unsigned size);
static inline bool cirrus_blit_waits(const struct cirrus *s)
{
    return s->blit.wanted > 0;
}
extern const struct state_desc cirrus_blit_state;

/* cirrus-cursor.c */
void cirrus_cursor_looked(struct vga *v);
void cirrus_cursor_reset(struct cirrus *s);

#endif
