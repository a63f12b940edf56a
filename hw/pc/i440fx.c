/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel 82441FX PMC (i440FX host bridge), 8086:1237 at 00:00.0, and the configuration mechanism at
 * ports 0xCF8-0xCFF.
 *
 * Sources: 82441FX data sheet (290549), chapter 3.1 (CONFADD, CONFDATA) and 3.2 (configuration
 * registers); for 0xCF9 the reset control register of the 82371SB data sheet (290550), 2.5.6, which
 * lies inside CONFADD's dword and is therefore decoded here: CONFADD answers to dword accesses
 * only, so the byte at 0xCF9 reaches the ISA bridge.
 *
 * Under Xen the configuration cycles arrive as requests of their own and never come through these
 * ports (toolstack.md 4.3): Xen keeps its own copy of CONFADD and forwards its writes, so the copy
 * here only answers reads and serves unit tests.
 *
 * Left out on purpose: what the PAM and SMRAM registers do to the address map. Xen owns it,
 * 0xC0000-0xFFFFF is always RAM, and there is no SMM; the registers keep what firmware writes. No
 * DRAM timing or error registers act.
 *
 * Users: hvmloader, SeaBIOS and OVMF look at the ids; Linux probes mechanism #1; ACPI reset and
 * Linux reboot=pci use 0xCF9.
 */
#include <string.h>

#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>

#define CONFADD_ENABLE 0x80000000u

#define REG_DRAMT 0x58
#define REG_PAM0 0x59
#define REG_DRB0 0x60
#define REG_SMRAM 0x72

#define SMRAM_BASE_SEG 0x07 /* read-only 010: 0xA0000 */
#define SMRAM_LOCK 0x10
#define SMRAM_OPEN 0x40
#define SMRAM_WRITABLE 0x78

#define RCR_PORT 1    /* 0xCF9 - 0xCF8 */
#define RCR_HARD 0x02 /* reset type: hard */
#define RCR_GO 0x04   /* 0 to 1: reset the CPU */

struct i440fx {
    struct pci_device pci;
    struct region address_port, data_port;
    uint32_t confadd;
    uint8_t rcr;
};

/* Registers above 0x40: value after reset and bits that software may change (data sheet table 3).
 */
static const struct pci_config_reg registers[] = {
    {0x50, 0x00, 0xf7}, /* PMCCFG */
    {0x51, 0x00, 0xff},
    {0x52, 0x00, 0x7f}, /* DETURBO */
    {0x53, 0x80, 0xf8}, /* DBC */
    {0x54, 0x00, 0x06}, /* AXC */
    {0x55, 0x00, 0xff}, /* DRT */
    {0x56, 0x00, 0xff},
    {0x57, 0x01, 0x7f}, /* DRAMC */
    {REG_DRAMT, 0x10, 0xff},
    {REG_PAM0, 0x00, 0xf0},
    {0x5a, 0x00, 0xff}, /* PAM1 */
    {0x5b, 0x00, 0xff},
    {0x5c, 0x00, 0xff},
    {0x5d, 0x00, 0xff},
    {0x5e, 0x00, 0xff},
    {0x5f, 0x00, 0xff},
    {REG_DRB0, 0x01, 0xff},
    {0x61, 0x01, 0xff},
    {0x62, 0x01, 0xff},
    {0x63, 0x01, 0xff},
    {0x64, 0x01, 0xff},
    {0x65, 0x01, 0xff},
    {0x66, 0x01, 0xff},
    {0x67, 0x01, 0xff},
    {0x68, 0x00, 0xc0}, /* FDHC */
    {0x70, 0x00, 0xf8}, /* MTT */
    {0x71, 0x10, 0x1f}, /* CLT */
    {REG_SMRAM, 0x02, SMRAM_WRITABLE},
    {0x90, 0x00, 0x9b}, /* ERRCMD */
    {0x93, 0x00, 0x0e}, /* TRC */
    {0},
};

static uint64_t address_read(void *opaque, uint64_t offset, unsigned size)
{
    struct i440fx *s = opaque;

    if (offset == 0 && size == 4) {
        return s->confadd;
    }
    if (offset == RCR_PORT && size == 1) {
        return s->rcr;
    }
    /* Not CONFADD: an ISA cycle that nobody claims. Linux tells mechanism #2 from #1 by this. */
    return ~0ull;
}

static void address_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct i440fx *s = opaque;

    if (offset == 0 && size == 4) {
        s->confadd = (uint32_t)value & 0x80fffffc;
    } else if (offset == RCR_PORT && size == 1) {
        bool go = (value & RCR_GO) && !(s->rcr & RCR_GO);

        s->rcr = value & (RCR_HARD | RCR_GO);
        if (go) {
            s->rcr &= ~RCR_GO;
            machine_request_reset(s->pci.dev.machine);
        }
    }
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    struct i440fx *s = opaque;

    if (!(s->confadd & CONFADD_ENABLE) || (s->confadd >> 16 & 0xff) != 0) {
        return ~0ull;
    }
    return pci_config_read(s->pci.dev.machine->pci, s->confadd >> 8 & 0xff,
                           (s->confadd & 0xfc) + (unsigned)offset, size);
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct i440fx *s = opaque;

    if ((s->confadd & CONFADD_ENABLE) && (s->confadd >> 16 & 0xff) == 0) {
        pci_config_write(s->pci.dev.machine->pci, s->confadd >> 8 & 0xff,
                         (s->confadd & 0xfc) + (unsigned)offset, (uint32_t)value, size);
    }
}

static const struct region_ops address_ops = {
    .read = address_read,
    .write = address_write,
};

static const struct region_ops data_ops = {
    .read = data_read,
    .write = data_write,
};

static void i440fx_config_written(struct device *dev, unsigned reg, unsigned len, uint32_t old)
{
    struct i440fx *s = DEVICE_CAST(struct i440fx, dev);
    uint8_t before = old >> (REG_SMRAM & 3) * 8 & 0xff;
    uint8_t *smram = &s->pci.config[REG_SMRAM];

    if (reg <= REG_SMRAM && reg + len > REG_SMRAM) {
        if (before & SMRAM_LOCK) {
            /* Locked until reset: D_OPEN stays clear, and so does the way back. */
            *smram = (*smram & ~(SMRAM_OPEN | SMRAM_LOCK)) | SMRAM_LOCK;
        } else if (*smram & SMRAM_LOCK) {
            *smram &= ~SMRAM_OPEN;
        }
    }
}

static int i440fx_realize(struct device *dev, GError **err)
{
    struct i440fx *s = DEVICE_CAST(struct i440fx, dev);
    int ret;

    region_init(&s->address_port, "pci-config-address", &address_ops, s, 4);
    region_init(&s->data_port, "pci-config-data", &data_ops, s, 4);
    ret = device_place_pio(dev, &s->address_port, 0xcf8, err);
    if (ret == 0) {
        ret = device_place_pio(dev, &s->data_port, 0xcfc, err);
    }
    return ret;
}

static void i440fx_reset(struct device *dev, enum reset_reason why)
{
    struct i440fx *s = DEVICE_CAST(struct i440fx, dev);

    s->confadd = 0;
    s->rcr = 0;
    /* At wake-up the registers above 0x40 stay: under Xen no firmware would program them again. */
}

static void i440fx_describe(struct device *dev, struct facts *to)
{
    struct i440fx *s = DEVICE_CAST(struct i440fx, dev);

    fact_hex(to, "CONFADD", s->confadd);
    fact_hex(to, "reset control", s->rcr);
    fact_hex(to, "SMRAM", s->pci.config[REG_SMRAM]);
}

static const struct state_desc i440fx_state = {
    .name = "i440fx",
    .version = 1,
    .fields =
        (const struct state_field[]){
            STATE_FIELD_U32(struct i440fx, confadd),
            STATE_FIELD_U8(struct i440fx, rcr, .min = 0, .max = RCR_HARD | RCR_GO),
            STATE_FIELD_END,
        },
};

static const struct pci_info i440fx_pci = {
    .vendor = 0x8086,
    .device = 0x1237,
    .subsystem_vendor = 0x1af4, /* QEMU's, so that a guest sees the same hardware */
    .subsystem = 0x1100,
    .class = 0x060000,
    .revision = 2,
    .config = registers,
    .config_written = i440fx_config_written,
};

const struct device_class i440fx_class = {
    .name = "i440fx",
    .help = "Intel 82441FX host bridge",
    .built_in = "every machine has one",
    .size = sizeof(struct i440fx),
    .recorded = true,
    .state = &i440fx_state,
    .realize = i440fx_realize,
    .reset = i440fx_reset,
    .describe = i440fx_describe,
    .pci = &i440fx_pci,
};
