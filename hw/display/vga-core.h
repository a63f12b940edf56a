/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The IBM VGA, without bus: registers, the window at 0xA0000, and pictures made of both. Chips with
 * a VGA inside (standard VGA with Bochs VBE, Cirrus) embed `struct vga`, give it memory, route
 * ports and window to it and add their own modes through `struct vga_extension`.
 *
 * Memory is kept as super-VGAs keep it: byte n of plane p is vram[4 * n + p]; such a group of four
 * is a "cell" here. Chain-4 addresses are then linear, and odd/even pairs are packed into
 * consecutive cells. The CRTC's word and doubleword addressing undoes just that spreading, so the
 * renderer does not need it.
 */
#ifndef XENDM_VGA_CORE_H
#define XENDM_VGA_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xendm/aspace.h>
#include <xendm/clock.h>
#include <xendm/devmem.h>
#include <xendm/display.h>
#include <xendm/state.h>

#define VGA_LEGACY_SIZE 0x40000u /* what an IBM VGA has: 4 planes of 64 KiB */
#define VGA_WINDOW_BASE 0xa0000u
#define VGA_WINDOW_SIZE 0x20000u
#define VGA_VRAM_MIN (1u << 20)
#define VGA_VRAM_MAX DEVMEM_MAX

/* Sequencer */
#define SR_CLOCKING 1
#define SR_MAP_MASK 2
#define SR_CHAR_MAP 3
#define SR_MEMORY 4
#define SR1_8DOT 0x01
#define SR1_HALF_CLOCK 0x08
#define SR1_SCREEN_OFF 0x20
#define SR4_NO_ODD_EVEN 0x04
#define SR4_CHAIN4 0x08
/* Graphics controller */
#define GR_SET_RESET 0
#define GR_ENABLE_SET_RESET 1
#define GR_COMPARE 2
#define GR_ROTATE 3
#define GR_READ_MAP 4
#define GR_MODE 5
#define GR_MISC 6
#define GR_DONT_CARE 7
#define GR_BIT_MASK 8
#define GR5_READ_COMPARE 0x08
#define GR5_ODD_EVEN 0x10
#define GR5_SHIFT_CGA 0x20
#define GR5_SHIFT_256 0x40
#define GR6_GRAPHICS 0x01
/* Attribute controller */
#define AR_MODE 0x10
#define AR_OVERSCAN 0x11
#define AR_PLANES 0x12
#define AR_PANNING 0x13
#define AR_COLOUR_SELECT 0x14
#define AR_INDEX_SCREEN_ON 0x20 /* in the index register: palette address source */
#define AR10_LINE_GRAPHICS 0x04
#define AR10_BLINK 0x08
#define AR10_PANNING_COMPAT 0x20
#define AR10_PALETTE_54 0x80

#define VGA_CR_COUNT 0x40
#define VGA_SR_COUNT 0x40
#define VGA_GR_COUNT 0x40
#define VGA_AR_COUNT 0x15

struct vga;
struct vga_drawing;

/* A picture that does not follow from the CRTC. `start` and `pitch` need not be sane: the renderer
 * checks each row. */
struct vga_mode {
    unsigned width, height;
    unsigned bpp;   /* 4 (planar), 8, 15, 16, 24, 32 */
    uint64_t start; /* first byte; for 4 bpp the first cell */
    uint32_t pitch; /* bytes a row; for 4 bpp cells a row */
    unsigned pan;   /* 4 bpp: pixels to skip in the first cell, 0..7 */
    bool big_endian;
};

struct vga_extension {
    /* True with `m` filled when a mode of the extension is on. */
    bool (*mode)(struct vga *v, struct vga_mode *m);
    /* Somebody looks: before each picture (hardware cursor). May be NULL. */
    void (*looked)(struct vga *v);
};

struct vga {
    struct vclock *clock;
    struct display *display;               /* may be NULL */
    const struct vga_extension *extension; /* may be NULL */
    struct devmem mem;
    uint8_t *vram;      /* mem.ptr */
    uint32_t vram_size; /* a multiple of 1 MiB */

    uint8_t misc;    /* 3C2 */
    uint8_t feature; /* 3DA write */
    uint8_t sr_index, sr[VGA_SR_COUNT];
    uint8_t gr_index, gr[VGA_GR_COUNT];
    uint8_t cr_index, cr[VGA_CR_COUNT];
    uint8_t ar_index, ar[VGA_AR_COUNT];
    bool ar_data; /* flip-flop: the next write to 3C0 is data */
    uint8_t dac_mask, dac_read, dac_write, dac_component;
    bool dac_reading;     /* last index went to 3C7 */
    uint8_t dac_latch[3]; /* components of an entry until the third one comes */
    uint8_t dac[256 * 3];
    uint32_t latch;        /* four planes, plane 0 in the low byte */
    uint64_t retrace_seen; /* next frame whose retrace was not yet reported in 3DA */

    /* Set by the extension; derived, not saved. */
    bool dac_8bit;
    bool packed;   /* window is linear bytes, no planes and no logic */
    uint32_t bank; /* added to addresses in the 64 KiB window at 0xA0000 */

    /* Drawing. */
    bool changed;         /* a register that may shape the picture was written since the last one */
    uint32_t track_first; /* page of VRAM that bit 0 of guest_dirty is of */
    uint64_t *own_dirty;  /* pages written by us since the last picture was begun */
    uint64_t *guest_dirty;       /* of the picture under way: those, and what the hypervisor says */
    struct vga_drawing *drawing; /* vga-render.c's; only while somebody looks */
    unsigned width, height;      /* of the last picture */
    unsigned blink_phase;
    uint64_t pictures, rows_drawn; /* counters */
};

/* Takes the machine's display, makes the video memory. vga_free() also after a failure. */
int vga_init(struct vga *v, struct device *dev, uint32_t vram_size, GError **err);
void vga_free(struct vga *v);
void vga_reset(struct vga *v);
extern const struct state_desc vga_state;

/* Ports 0x3B0..0x3DF, one byte. */
uint8_t vga_port_read(struct vga *v, unsigned port);
void vga_port_write(struct vga *v, unsigned port, uint8_t value);

/* The window: offset from 0xA0000, any size from 1 to 8; bytes are served in rising order. */
uint64_t vga_window_read(struct vga *v, uint32_t offset, unsigned size);
void vga_window_write(struct vga *v, uint32_t offset, uint64_t value, unsigned size);

/* For whoever changes VRAM here: redraw these bytes, and tell a migration. Both ends are clamped.
 */
void vga_vram_written(struct vga *v, uint32_t offset, uint32_t len);
/* Before what is read of video memory goes to the guest; in a recording only. */
void vga_vram_tape(struct vga *v, uint32_t offset, uint32_t len);

/* The ISA side of a card: ports and window, whose handlers may be the chip's own. */
struct vga_isa_ops {
    uint8_t (*port_read)(struct vga *v, unsigned port);
    void (*port_write)(struct vga *v, unsigned port, uint8_t value);
    uint64_t (*window_read)(struct vga *v, uint32_t offset, unsigned size);
    void (*window_write)(struct vga *v, uint32_t offset, uint64_t value, unsigned size);
};
#define VGA_PORT_RANGES 5
struct vga_isa {
    struct vga *vga;
    const struct vga_isa_ops *ops;
    struct vga_port_range {
        struct vga_isa *isa;
        unsigned base;
        struct region region;
    } ports[VGA_PORT_RANGES];
    struct region window;
};
/* In realize. */
int vga_isa_place(struct vga_isa *isa, struct vga *v, const struct vga_isa_ops *ops,
                  struct device *dev, GError **err);
/* VGA ports at `offset` from 0x3C0 of a memory BAR: index before data, so that one word sets an
 * indexed register. */
uint64_t vga_ports_read(struct vga_isa *isa, uint64_t offset, unsigned size);
void vga_ports_write(struct vga_isa *isa, uint64_t offset, uint64_t value, unsigned size);

extern const struct display_device vga_display_device; /* opaque: struct vga */
uint32_t vga_dac_colour(const struct vga *v, unsigned index);
void vga_describe(struct vga *v, struct facts *to);

/* vga-scan.c, for vga-render.c: what the registers ask for, decoded and clamped. */
enum vga_kind {
    VGA_TEXT,
    VGA_PLANAR, /* 4 planes, 1 bit each */
    VGA_CGA,    /* 2-bit pixels, packed in even and odd planes */
    VGA_256,
};

struct vga_scan {
    enum vga_kind kind;
    unsigned width, height; /* in dots and scan lines */
    unsigned columns;       /* cells a line */
    unsigned dots;          /* dots a cell, before doubling */
    bool double_dots;
    bool double_lines;
    unsigned max_scan; /* last scan line of a row */
    unsigned first_scan;
    uint32_t start, pitch; /* in cells */
    uint32_t cell_mask;
    unsigned pan;          /* dots */
    unsigned line_compare; /* UINT_MAX: no split */
    bool pan_stops_at_split;
    bool cursor_on, blink_on;
    uint32_t colours[256]; /* dot value → pixel */
};

void vga_scan_setup(struct vga *v, const struct vga_mode *m, struct vga_scan *s);
/* Where scan line y comes from: equal `cell`, `scan` and `pan` mean an equal line. */
struct vga_line {
    uint32_t cell;
    unsigned scan, pan;
};
struct vga_line vga_scan_line(const struct vga_scan *s, unsigned y);
void vga_scan_draw(const struct vga *v, const struct vga_scan *s, struct vga_line line,
                   uint32_t *row);
unsigned vga_blink_phase(const struct vga *v);

#endif
