/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ISA side of a VGA card: ports 0x3B4..0x3DF without what is other cards' (Hercules, the
 * parallel port at 0x3BC), and the window at 0xA0000.
 */
#include "vga-core.h"

static const struct {
    uint16_t base, size;
} ranges[VGA_PORT_RANGES] = {{0x3b4, 2}, {0x3ba, 1}, {0x3c0, 16}, {0x3d4, 2}, {0x3da, 1}};

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
    struct vga_port_range *p = opaque;
    return p->isa->ops->port_read(p->isa->vga, p->base + (unsigned)offset);
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct vga_port_range *p = opaque;
    p->isa->ops->port_write(p->isa->vga, p->base + (unsigned)offset, (uint8_t)value);
}

static const struct region_ops ports_ops = {
    .read = ports_read,
    .write = ports_write,
    .impl_min = 1,
    .impl_max = 1,
};

static uint64_t window_read(void *opaque, uint64_t offset, unsigned size)
{
    struct vga_isa *isa = opaque;
    return isa->ops->window_read(isa->vga, (uint32_t)offset, size);
}

static void window_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct vga_isa *isa = opaque;
    isa->ops->window_write(isa->vga, (uint32_t)offset, value, size);
}

static const struct region_ops window_ops = {
    .read = window_read,
    .write = window_write,
    .impl_min = 1,
    .impl_max = 8,
};

uint64_t vga_ports_read(struct vga_isa *isa, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)isa->ops->port_read(isa->vga, 0x3c0 + (unsigned)offset + i) << 8 * i;
    }
    return value;
}

void vga_ports_write(struct vga_isa *isa, uint64_t offset, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        isa->ops->port_write(isa->vga, 0x3c0 + (unsigned)offset + i, (uint8_t)(value >> 8 * i));
    }
}

int vga_isa_place(struct vga_isa *isa, struct vga *v, const struct vga_isa_ops *ops,
                  struct device *dev, GError **err)
{
    int rc = 0;

    isa->vga = v;
    isa->ops = ops;
    for (unsigned i = 0; i < VGA_PORT_RANGES && rc == 0; i++) {
        struct vga_port_range *p = &isa->ports[i];
        p->isa = isa;
        p->base = ranges[i].base;
        region_init(&p->region, "vga-ports", &ports_ops, p, ranges[i].size);
        rc = device_place_pio(dev, &p->region, p->base, err);
    }
    region_init(&isa->window, "vga-window", &window_ops, isa, VGA_WINDOW_SIZE);
    isa->window.payload = REGION_ALL_PAYLOAD;
    return rc < 0 ? rc : device_place_mmio(dev, &isa->window, VGA_WINDOW_BASE, err);
}
