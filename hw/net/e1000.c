/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel 82540EM Gigabit Ethernet: PCI 8086:100e, "e1000". Linux' e1000, FreeBSD's em, Windows' own
 * driver and iPXE use it.
 *
 * Sources: Intel's "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual",
 * 317453 revision 4.0; section numbers are its.
 *
 * Left out, as no driver of the guests here needs it: wake-up and power states, flash memory, flow
 * control, TBI, packet buffer diagnostics (registers read as they were written), receive checksums
 * (a frame says that they were not looked at, IXSM). Frames go at the host's speed.
 *
 * Interrupts are throttled as ITR says: the first at once, the next not before its interval is
 * over. The delays of RADV and TADV count in the same way, since a delay of the first interrupt
 * would cost a guest time and save it nothing that ITR does not.
 */
#include <errno.h>
#include <string.h>

#include <xendm/backend.h>
#include <xendm/classes.h>
#include <xendm/machine.h>

#include "e1000.h"

#define IO_BYTES 64u
#define RAH_AV 0x80000000u
#define RESET_PBA 0x00100030u /* 48 KiB receive, 16 KiB transmit */
#define RESET_LEDCTL 0x00000602u
#define VET_RESET 0x8100u

/* ---- interrupts ---- */

static int64_t throttle_ns(const struct e1000 *s, uint32_t causes)
{
    int64_t ns = (int64_t)(s->itr & 0xffff) * 256;

    if (s->tx_delayed && (causes & (E1000_INT_TXDW | E1000_INT_TXQE)) && s->tidv) {
        ns = MAX(ns, (int64_t)(s->tadv & 0xffff) * 1024);
    }
    if ((s->rdtr & 0xffff) && (causes & E1000_INT_RXT0)) {
        ns = MAX(ns, (int64_t)(s->radv & 0xffff) * 1024);
    }
    return ns;
}

static void update_irq(struct e1000 *s)
{
    uint32_t pending = s->icr & s->ims;
    int64_t ns;

    if (pending && !s->pci.intx_asserted) {
        if (vtimer_armed(&s->throttle)) {
            return; /* when it fires */
        }
        ns = throttle_ns(s, pending);
        s->tx_delayed = false;
        if (ns) {
            vtimer_arm_in(&s->throttle, ns);
        }
    }
    pci_intx_set(&s->pci, pending);
}

static void throttle_fires(void *opaque)
{
    update_irq(opaque);
}

void e1000_raise(struct e1000 *s, uint32_t causes)
{
    s->icr |= causes;
    update_irq(s);
}

/* 13.4.17: reading clears all. */
static uint64_t icr_read(void *dev, unsigned index)
{
    struct e1000 *s = dev;
    uint32_t icr = s->icr;

    s->icr = 0;
    update_irq(s);
    return icr;
}

static void icr_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    update_irq(dev);
}

static void ics_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    e1000_raise(dev, (uint32_t)value & E1000_INT_ALL);
}

static uint64_t ims_read(void *dev, unsigned index)
{
    return ((struct e1000 *)dev)->ims;
}

static void ims_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct e1000 *s = dev;

    s->ims |= (uint32_t)value & E1000_INT_ALL;
    update_irq(s);
}

static void imc_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct e1000 *s = dev;

    s->ims &= ~(uint32_t)value;
    update_irq(s);
}

/* ---- statistics: reading clears; the upper half of a pair clears both ---- */

static bool is_upper_half(unsigned i)
{
    return i == E1000_STAT_GORC + 1 || i == E1000_STAT_GOTC + 1 || i == E1000_STAT_TOR + 1 ||
           i == E1000_STAT_TOT + 1;
}

static bool is_lower_half(unsigned i)
{
    return is_upper_half(i + 1);
}

static uint64_t stat_read(void *dev, unsigned index)
{
    struct e1000 *s = dev;
    uint32_t v = s->stats[index];

    if (!is_lower_half(index)) {
        s->stats[index] = 0;
    }
    if (is_upper_half(index)) {
        s->stats[index - 1] = 0;
    }
    return v;
}

void e1000_count64(struct e1000 *s, unsigned stat, uint64_t n)
{
    uint64_t v = (uint64_t)s->stats[stat + 1] << 32 | s->stats[stat];

    v = v > UINT64_MAX - n ? UINT64_MAX : v + n;
    s->stats[stat] = (uint32_t)v;
    s->stats[stat + 1] = (uint32_t)(v >> 32);
}

void e1000_count_length(struct e1000 *s, unsigned stat, size_t len)
{
    static const uint16_t limit[] = {64, 127, 255, 511, 1023};
    unsigned class = 0;

    while (class < G_N_ELEMENTS(limit) && len + 4 > limit[class]) {
        class ++;
    }
    e1000_count(s, stat + class);
}

/* ---- control ---- */

static void load_address(struct e1000 *s)
{
    const uint16_t *w = s->eeprom.words;

    s->ra[0] = w[0] | (uint32_t)w[1] << 16;
    s->ra[1] = w[2] | RAH_AV;
}

static void tell_address(struct e1000 *s)
{
    uint8_t mac[NET_MAC_LEN];

    for (unsigned i = 0; i < NET_MAC_LEN; i++) {
        mac[i] = (uint8_t)(s->ra[i / 4] >> i % 4 * 8);
    }
    net_set_mac(s->net, mac);
}

/* Not storage: a reset loads the first from the EEPROM. */
static uint64_t ra_read(void *dev, unsigned index)
{
    return ((struct e1000 *)dev)->ra[index];
}

static void ra_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct e1000 *s = dev;

    s->ra[index] = (uint32_t)value;
    if (index < 2) {
        tell_address(s);
    }
}

/* CTRL.RST (14.1): all but the PHY and the EEPROM. */
static void mac_reset(struct e1000 *s)
{
    e1000_transmit_stop(s);
    vtimer_disarm(&s->throttle);
    for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
        if (s->pci.bar[i].bank) {
            reg_bank_reset(s->pci.bar[i].bank, RESET_DEVICE);
        }
    }
    memset(&s->plain, 0, sizeof(s->plain));
    memset(&s->cutting, 0, sizeof(s->cutting));
    s->tx_waiting = s->tx_delayed = false;
    eeprom93_reset(&s->eeprom);
    memset(s->ra, 0, sizeof(s->ra));
    load_address(s);
    tell_address(s);
    net_receive_again(s->net);
    update_irq(s);
}

static void ctrl_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct e1000 *s = dev;

    if (value & E1000_CTRL_RST) {
        mac_reset(s);
    } else if (value & E1000_CTRL_PHY_RST) {
        e1000_phy_reset(s);
    }
}

static uint64_t status_read(void *dev, unsigned index)
{
    return E1000_STATUS_FIXED | (net_link(((struct e1000 *)dev)->net) ? E1000_STATUS_LU : 0);
}

/* ---- rings ---- */

static void rctl_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    net_receive_again(((struct e1000 *)dev)->net);
}

static void tdt_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    e1000_transmit(dev);
}

/* 13.4.29: a delayed interrupt now. */
static void rdtr_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct e1000 *s = dev;

    if (value & 0x80000000u) {
        vtimer_disarm(&s->throttle);
        update_irq(s);
    }
}

static uint64_t zero_read(void *dev, unsigned index)
{
    return 0;
}

/* ---- registers (13.2) ---- */

#define R(f, off, ...) REG(struct e1000, f, off, __VA_ARGS__)
#define RS(f, off, ...) REG_ARRAY(struct e1000, f, off, __VA_ARGS__)
#define ALL UINT32_MAX

static const struct reg registers[] = {
    R(ctrl, 0x0000, .rw = 0x7fffffff & ~E1000_CTRL_RST, .reset = 0x00140241,
      .written = ctrl_written),
    REG_PORT("status", 0x0008, 32, .read = status_read),
    R(eecd, 0x0010, .rw = 0x77, .read = e1000_eecd_read, .written = e1000_eecd_written),
    R(eerd, 0x0014, .rw = 0xff01, .hold = ALL, .written = e1000_eerd_written),
    R(ctrl_ext, 0x0018, .rw = 0x00f0ffff & ~0x3000u),
    REG_PORT("fla", 0x001c, 32, .read = zero_read),
    R(mdic, 0x0020, .rw = 0x2fffffff, .hold = 0xf0000000, .written = e1000_mdic_written),
    R(fcal, 0x0028, .rw = ALL, .reset = 0x00c28001),
    R(fcah, 0x002c, .rw = 0xffff, .reset = 0x0100),
    R(fct, 0x0030, .rw = 0xffff, .reset = 0x8808),
    R(vet, 0x0038, .rw = 0xffff, .reset = VET_RESET),
    R(icr, 0x00c0, .w1c = E1000_INT_ALL, .read = icr_read, .written = icr_written),
    R(itr, 0x00c4, .rw = 0xffff),
    REG_PORT("ics", 0x00c8, 32, .read = zero_read, .written = ics_written),
    R(ims, 0x00d0, .hold = E1000_INT_ALL, .written = ims_written),
    REG_PORT("imc", 0x00d8, 32, .read = ims_read, .written = imc_written),
    R(rctl, 0x0100, .rw = 0x06dfb3fe, .written = rctl_written),
    R(fcttv, 0x0170, .rw = 0xffff),
    R(txcw, 0x0178, .rw = ALL),
    R(rxcw, 0x0180),
    R(tctl, 0x0400, .rw = 0x01fffffa, .written = tdt_written),
    R(tipg, 0x0410, .rw = 0x3fffffff, .reset = 0x00602008),
    R(ait, 0x0458, .rw = 0xffff),
    R(ledctl, 0x0e00, .rw = 0xcfcfcfcf, .reset = 0x07061302),
    R(pba, 0x1000, .rw = 0xffff, .reset = RESET_PBA),
    R(fcrtl, 0x2160, .rw = 0x8000fff8),
    R(fcrth, 0x2168, .rw = 0xfff8),
    R(rdbal, 0x2800, .rw = 0xfffffff0, .written = rctl_written),
    R(rdbah, 0x2804, .rw = ALL),
    R(rdlen, 0x2808, .rw = 0xfff80, .written = rctl_written),
    R(rdh, 0x2810, .rw = 0xffff, .written = rctl_written),
    R(rdt, 0x2818, .rw = 0xffff, .written = rctl_written),
    R(rdtr, 0x2820, .rw = 0xffff, .written = rdtr_written),
    R(rxdctl, 0x2828, .rw = 0x013f3f3f, .reset = 0x00010000),
    R(radv, 0x282c, .rw = 0xffff),
    R(rsrpd, 0x2c00, .rw = 0xfff),
    R(tdbal, 0x3800, .rw = 0xfffffff0),
    R(tdbah, 0x3804, .rw = ALL),
    R(tdlen, 0x3808, .rw = 0xfff80),
    R(tdh, 0x3810, .rw = 0xffff),
    R(tdt, 0x3818, .rw = 0xffff, .written = tdt_written),
    R(tidv, 0x3820, .rw = 0xffff),
    R(txdctl, 0x3828, .rw = 0xff3f3f3f),
    R(tadv, 0x382c, .rw = 0xffff),
    R(tspmt, 0x3830, .rw = ALL, .reset = 0x01000400),
    RS(stats, 0x4000, .hold = ALL, .read = stat_read),
    R(rxcsum, 0x5000, .rw = 0x7ff),
    RS(mta, 0x5200, .rw = ALL),
    REG_PORT("ra", 0x5400, 32, .count = 32, .read = ra_read, .written = ra_written),
    RS(vfta, 0x5600, .rw = ALL),
    R(wuc, 0x5800, .rw = 0xf),
    R(wufc, 0x5808, .rw = 0xf80ff),
    R(wus, 0x5810, .w1c = ALL),
    R(manc, 0x5820, .rw = ALL),
    REG_END,
};

static const struct reg_block block = {.name = "e1000",
                                       .regs = registers,
                                       .size = E1000_MMIO_BYTES};

/* 13.1: the same registers by index and data, for those who cannot reach memory. */
static uint64_t io_read(void *opaque, uint64_t offset, unsigned size)
{
    struct e1000 *s = opaque;

    if (offset == 0) {
        return s->ioaddr;
    }
    return offset == 4 && s->ioaddr < E1000_MMIO_BYTES
               ? reg_ops.read(s->pci.bar[0].bank, s->ioaddr & ~3u, 4)
               : 0;
}

static void io_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct e1000 *s = opaque;

    if (offset == 0) {
        s->ioaddr = (uint32_t)value;
    } else if (offset == 4 && s->ioaddr < E1000_MMIO_BYTES) {
        reg_ops.write(s->pci.bar[0].bank, s->ioaddr & ~3u, value, 4);
    }
}

static const struct region_ops io_ops = {.read = io_read,
                                         .write = io_write,
                                         .impl_min = 4,
                                         .impl_max = 4};

/* ---- life ---- */

static int e1000_realize(struct device *dev, GError **err)
{
    struct e1000 *s = DEVICE_CAST(struct e1000, dev);

    if (!net_mac_parse(s->mac_text, s->mac)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: mac=%s is not the address of a card", dev->id,
                    s->mac_text);
        return -EINVAL;
    }
    vtimer_init(&s->throttle, dev->machine->clock, "e1000", throttle_fires, s);
    s->list = dma_list_new(dev, NET_IOV_MAX - 2);
    e1000_eeprom_fill(s);
    net_connect(s->net, &e1000_net, s, s->mac, 0);
    return 0;
}

static void e1000_unrealize(struct device *dev)
{
    struct e1000 *s = DEVICE_CAST(struct e1000, dev);

    e1000_transmit_stop(s);
    vtimer_disarm(&s->throttle);
    net_disconnect(s->net);
    dma_list_free(s->list);
}

static void e1000_reset(struct device *dev, enum reset_reason why)
{
    struct e1000 *s = DEVICE_CAST(struct e1000, dev);

    s->ioaddr = 0;
    e1000_phy_reset(s);
    mac_reset(s);
}

static void e1000_quiesce(struct device *dev)
{
    struct e1000 *s = DEVICE_CAST(struct e1000, dev);

    e1000_transmit_stop(s);
    net_run(s->net, false);
}

static void e1000_resume(struct device *dev)
{
    struct e1000 *s = DEVICE_CAST(struct e1000, dev);

    net_run(s->net, true);
    if (s->tdh != s->tdt) {
        e1000_transmit(s);
    }
}

static void e1000_unplug(struct device *dev, unsigned what)
{
    struct e1000 *s = DEVICE_CAST(struct e1000, dev);

    if (what & UNPLUG_NICS) {
        e1000_reset(dev, RESET_DEVICE);
        pci_device_pull(&s->pci);
        machine_event_unplugged(dev->machine, dev->id);
    }
}

static const struct property e1000_properties[] = {
    {.name = "mac",
     .type = PROP_STRING,
     .offset = offsetof(struct e1000, mac_text),
     .def = "52:54:00:12:34:56",
     .help = "the card's address"},
    {.name = "netdev",
     .type = PROP_BACKEND,
     .offset = offsetof(struct e1000, net),
     .kind = BACKEND_NET,
     .help = "where the cable goes; without: nowhere"},
    {.name = NULL},
};

#define U32(f) STATE_FIELD_U32(struct e1000, f)

static const struct state_field e1000_fields[] = {
    U32(ctrl),
    U32(eecd),
    U32(eerd),
    U32(ctrl_ext),
    U32(mdic),
    U32(fcal),
    U32(fcah),
    U32(fct),
    U32(vet),
    U32(icr),
    U32(itr),
    U32(ims),
    U32(rctl),
    U32(fcttv),
    U32(txcw),
    U32(tctl),
    U32(tipg),
    U32(ait),
    U32(ledctl),
    U32(pba),
    U32(fcrtl),
    U32(fcrth),
    U32(rdbal),
    U32(rdbah),
    U32(rdlen),
    U32(rdh),
    U32(rdt),
    U32(rdtr),
    U32(rxdctl),
    U32(radv),
    U32(rsrpd),
    U32(tdbal),
    U32(tdbah),
    U32(tdlen),
    U32(tdh),
    U32(tdt),
    U32(tidv),
    U32(txdctl),
    U32(tadv),
    U32(tspmt),
    U32(rxcsum),
    U32(wuc),
    U32(wufc),
    U32(wus),
    U32(manc),
    U32(ioaddr),
    STATE_FIELD_U32(struct e1000, stats, .count = E1000_STATS),
    STATE_FIELD_U32(struct e1000, mta, .count = 128),
    STATE_FIELD_U32(struct e1000, ra, .count = 32),
    STATE_FIELD_U32(struct e1000, vfta, .count = 128),
    STATE_FIELD_U16(struct e1000, phy, .count = E1000_PHY_REGS),
    STATE_FIELD_STRUCT(struct e1000, eeprom, 1, &eeprom93_state),
    STATE_FIELD_STRUCT(struct e1000, plain, 1, &e1000_context_state),
    STATE_FIELD_STRUCT(struct e1000, cutting, 1, &e1000_context_state),
    STATE_FIELD_BOOL(struct e1000, tx_delayed),
    STATE_FIELD_TIMER(struct e1000, throttle),
    STATE_FIELD_END,
};

static bool e1000_fits(const void *scratch, const void *base, GError **err)
{
    return eeprom93_fits(&((const struct e1000 *)scratch)->eeprom,
                         &((const struct e1000 *)base)->eeprom, err);
}

static void e1000_post_load(void *base)
{
    struct e1000 *s = base;

    tell_address(s);
    e1000_phy_link(s); /* this host's cable */
}

static const struct state_desc e1000_state = {
    .name = "e1000",
    .version = 1,
    .fields = e1000_fields,
    .fits = e1000_fits,
    .post_load = e1000_post_load,
};

static const struct pci_info e1000_pci = {
    .vendor = 0x8086,
    .device = 0x100e,
    .subsystem_vendor = 0x1af4, /* as guests that were installed under QEMU know it */
    .subsystem = 0x1100,
    .class = 0x020000,
    .revision = 3,
    .rom = "efi-e1000.rom", /* for BIOS and UEFI; Debian: package ipxe-qemu */
    .intx_pin = 1,
    .bar =
        {
            [0] = {.type = PCI_BAR_MEM32, .size = E1000_MMIO_BYTES, .regs = &block},
            [1] = {.type = PCI_BAR_IO, .size = IO_BYTES, .ops = &io_ops, .name = "e1000-io"},
        },
};

const struct device_class e1000_class = {
    .name = "e1000",
    .help = "Intel 82540EM Gigabit Ethernet",
    .size = sizeof(struct e1000),
    .properties = e1000_properties,
    .state = &e1000_state,
    .recorded = true,
    .realize = e1000_realize,
    .unrealize = e1000_unrealize,
    .reset = e1000_reset,
    .quiesce = e1000_quiesce,
    .resume = e1000_resume,
    .unplug = e1000_unplug,
    .hotplug = true,
    .pci = &e1000_pci,
};
