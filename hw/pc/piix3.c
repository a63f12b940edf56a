/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel 82371SB (PIIX3) function 0: PCI-to-ISA bridge, 8086:7000 at 00:01.0, with the PIRQ routing
 * registers and port 0x92.
 *
 * Source: 82371SB data sheet (290550), chapter 2.2 (configuration registers), 2.5.4 (port 92h).
 *
 * Elsewhere: the interrupt controllers, ELCR, timer, port 0x61 and the RTC clock are Xen's
 * (toolstack.md 4.4); CMOS RAM is cmos.c, the DMA controllers i8257.c, reset control 0xCF9
 * i440fx.c, APM ports 0xB2/0xB3 hw/acpi, IDE function 1 hw/ide.
 * Left out on purpose: A20 (Xen has no such gate: the bit reads back what was written), chip
 * selects and ISA timing (kept as written), the SMI registers' effect (no SMM), MBIRQ/MBDMA (no
 * motherboard devices behind them).
 *
 * Users: hvmloader insists on 8086:7000 here and writes the routes 5, 10, 11, 5; ACPI link devices
 * read and write them.
 */
#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>

#define REG_PIRQRCA 0x60
#define PIRQ_DISABLED 0x80
#define PIRQ_MASK 0x8f

#define PORT92_RESET 0x01 /* 0 to 1: reset the CPU */
#define PORT92_A20 0x02

struct piix3 {
    struct pci_device pci;
    struct region port92;
    uint8_t sysctl;   /* port 0x92 */
    uint8_t route[4]; /* what the hypervisor was told last; 0 = disabled */
};

static const struct pci_config_reg registers[] = {
    {0x07, 0x02},       /* medium DEVSEL# timing */
    {0x4c, 0x4d, 0xff}, /* IORT */
    {0x4e, 0x03, 0xff}, /* XBCS */
    {0x4f, 0x00, 0x01},
    {0x60, PIRQ_DISABLED, PIRQ_MASK},
    {0x61, PIRQ_DISABLED, PIRQ_MASK},
    {0x62, PIRQ_DISABLED, PIRQ_MASK},
    {0x63, PIRQ_DISABLED, PIRQ_MASK},
    {0x69, 0x02, 0xfe}, /* TOM */
    {0x6a, 0x00, 0x50}, /* MSTAT */
    {0x6b, 0x00, 0x80},
    {0x70, 0x80, 0xaf}, /* MBIRQ0 */
    {0x76, 0x0c, 0x8f}, /* MBDMA0, 1 */
    {0x77, 0x0c, 0x8f},
    {0x78, 0x02, 0xff}, /* PCSC */
    {0x79, 0x00, 0xff},
    {0x80, 0x00, 0x7f}, /* APICBASE */
    {0x82, 0x00, 0x0f}, /* DLC */
    {0xa0, 0x08, 0x1f}, /* SMICNTL */
    {0xa2, 0x00, 0xff}, /* SMIEN */
    {0xa3, 0x00, 0x01},
    {0xa4, 0x00, 0xff}, /* SEE */
    {0xa5, 0x00, 0xff},
    {0xa6, 0x00, 0xff},
    {0xa7, 0x00, 0xff},
    {0xa8, 0x0f, 0xff}, /* FTMR */
    {0xac, 0x00, 0xff}, /* CTLTMR */
    {0xae, 0x00, 0xff}, /* CTHTMR */
    {0},
};

/* A route that does not change is not told again: each is a hypercall. */
static void update_routes(struct piix3 *s)
{
    for (unsigned link = 0; link < 4; link++) {
        uint8_t reg = s->pci.config[REG_PIRQRCA + link];
        uint8_t route = reg & PIRQ_DISABLED ? 0 : reg & 0x0f;

        if (route != s->route[link]) {
            s->route[link] = route;
            hv_pci_link_route(s->pci.dev.machine->hv, link, route);
        }
    }
}

static void piix3_config_written(struct device *dev, unsigned reg, unsigned len, uint32_t old)
{
    struct piix3 *s = DEVICE_CAST(struct piix3, dev);

    if ((reg & ~3u) == REG_PIRQRCA) {
        update_routes(s);
    }
}

static uint64_t port92_read(void *opaque, uint64_t offset, unsigned size)
{
    struct piix3 *s = opaque;

    return s->sysctl;
}

static void port92_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct piix3 *s = opaque;
    bool reset = (value & PORT92_RESET) && !(s->sysctl & PORT92_RESET);

    s->sysctl = value & (PORT92_RESET | PORT92_A20);
    if (reset) {
        machine_request_reset(s->pci.dev.machine);
    }
}

static const struct region_ops port92_ops = {
    .read = port92_read,
    .write = port92_write,
    .impl_max = 1,
};

static int piix3_realize(struct device *dev, GError **err)
{
    struct piix3 *s = DEVICE_CAST(struct piix3, dev);

    region_init(&s->port92, "port92", &port92_ops, s, 1);
    return device_place_pio(dev, &s->port92, 0x92, err);
}

static void piix3_reset(struct device *dev, enum reset_reason why)
{
    struct piix3 *s = DEVICE_CAST(struct piix3, dev);

    s->sysctl = 0;
    /* At wake-up the routes stay, in the registers as in Xen: hvmloader does not run then. */
    update_routes(s);
}

/* The routes themselves are part of Xen's saved context. */
static void piix3_post_load(void *base)
{
    struct piix3 *s = base;

    for (unsigned link = 0; link < 4; link++) {
        uint8_t reg = s->pci.config[REG_PIRQRCA + link];

        s->route[link] = reg & PIRQ_DISABLED ? 0 : reg & 0x0f;
    }
}

static void piix3_describe(struct device *dev, struct facts *to)
{
    struct piix3 *s = DEVICE_CAST(struct piix3, dev);

    fact_text(to, "PIRQ A-D routed to", "%u, %u, %u, %u (0: disabled)", s->route[0], s->route[1],
              s->route[2], s->route[3]);
    fact_hex(to, "port 0x92", s->sysctl);
}

static const struct state_desc piix3_state = {
    .name = "piix3",
    .version = 1,
    .fields =
        (const struct state_field[]){
            STATE_FIELD_U8(struct piix3, sysctl, .min = 0, .max = PORT92_RESET | PORT92_A20),
            STATE_FIELD_END,
        },
    .post_load = piix3_post_load,
};

static const struct pci_info piix3_pci = {
    .vendor = 0x8086,
    .device = 0x7000,
    .subsystem_vendor = 0x1af4, /* QEMU's, so that a guest sees the same hardware */
    .subsystem = 0x1100,
    .class = 0x060100,
    .multifunction = true,
    .config = registers,
    .config_written = piix3_config_written,
};

const struct device_class piix3_class = {
    .name = "piix3",
    .help = "Intel 82371SB ISA bridge",
    .built_in = "every machine has one",
    .size = sizeof(struct piix3),
    .recorded = true,
    .state = &piix3_state,
    .realize = piix3_realize,
    .reset = piix3_reset,
    .describe = piix3_describe,
    .pci = &piix3_pci,
};
