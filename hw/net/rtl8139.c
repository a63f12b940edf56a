/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RTL8139: Fast Ethernet, PCI 10ec:8139 revision 0x20, which is the C+: libxl's default NIC. Linux
 * uses 8139cp for it, Windows, the BSDs and iPXE drivers that know one mode or both.
 *
 * Sources: Realtek's RTL8139C(L) data sheet (registers: chapter 6; reception ring: 6.1; EEPROM:
 * 6.3), RTL8139C+ data sheet and programming guide (descriptors, offloads, tally dump).
 *
 * Left out, as no driver needs it here: Wake on LAN and power states, early receive and transmit
 * interrupts, the second EEPROM register set, CardBus, PHY registers beyond autonegotiation (which
 * is done before anybody looks: 100 Mbit, full duplex). Frames go at the host's speed.
 *
 * What differs from QEMU on purpose: writing RCR does not empty the receive ring unless its length
 * changes (the data sheet says nothing of the sort, and drivers change filters while they receive);
 * C+ mode is on while one of its engines is, not for ever after a write to 0xe0.
 */
#include <errno.h>
#include <string.h>

#include <xendm/backend.h>
#include <xendm/classes.h>
#include <xendm/machine.h>
#include <xendm/regs.h>

#include "rtl8139.h"

#define BAR_BYTES 256u
#define HWVERID 0x74800000u /* in TCR: RTL8139C+ */
#define CLOCK_MHZ 33
#define EEPROM_WORDS 64u

#define CFG9346_MODE 0xc0u
#define CFG9346_AUTOLOAD 0x40u
#define CFG9346_PROGRAM 0x80u
#define CFG9346_CONFIG 0xc0u
#define CFG9346_EECS 0x08u
#define CFG9346_EESK 0x04u
#define CFG9346_EEDI 0x02u

#define MSR_LINKB 0x04u /* the link is down */
#define MSR_READ 0xd0u
#define BMSR_READ 0x7809u /* what it can; extended registers */
#define BMSR_DONE 0x0020u
#define BMSR_LINK 0x0004u
#define TPPOLL_HIGH 0x80u
#define TPPOLL_NORMAL 0x40u
#define TPPOLL_SWINT 0x01u
#define DTCCR_DUMP 0x08u
#define TSD_WRITABLE 0x003f3fffu
#define CONFIG1_RESET 0x0cu
#define CONFIG3_RESET 0x01u

/* ---- interrupts ---- */

static void update_irq(struct rtl8139 *s)
{
    pci_intx_set(&s->pci, s->isr & s->imr);
}

void rtl8139_raise(struct rtl8139 *s, unsigned bits)
{
    s->isr |= (uint16_t)bits;
    update_irq(s);
}

static void changed(void *dev)
{
    update_irq(dev);
}

static void imr_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    net_receive_again(((struct rtl8139 *)dev)->net); /* whether a full ring is told of */
}

/* ---- timer: counts PCI clocks since it was written ---- */

static int64_t clocks_to_ns(uint64_t clocks)
{
    return (int64_t)(clocks * 1000 / CLOCK_MHZ);
}

static uint64_t clocks_now(const struct rtl8139 *s)
{
    int64_t ns = vclock_now(s->pci.dev.machine->clock) - s->timer_base;

    return ns < 0 ? 0 : (uint64_t)ns * CLOCK_MHZ / 1000;
}

/* When the count comes to the limit; it wraps after 2^32. A limit of 0 is none. */
static void arm_timer(struct rtl8139 *s)
{
    if (!s->timer_limit) {
        vtimer_disarm(&s->timer);
        return;
    }
    uint64_t now = clocks_now(s), at = (now & ~(uint64_t)UINT32_MAX) + s->timer_limit;
    if (at <= now) {
        at += UINT64_C(1) << 32;
    }
    vtimer_arm(&s->timer, s->timer_base + clocks_to_ns(at) + 1);
}

static void timer_fires(void *opaque)
{
    struct rtl8139 *s = opaque;

    rtl8139_raise(s, RTL_INT_TIMEOUT);
    arm_timer(s);
}

static uint64_t timer_read(void *dev, unsigned index)
{
    return (uint32_t)clocks_now(dev);
}

static void timer_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct rtl8139 *s = dev;

    s->timer_base = vclock_now(s->pci.dev.machine->clock);
    arm_timer(s);
}

static void timer_limit_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    arm_timer(dev);
}

/* ---- EEPROM, configuration ---- */

static void load_mac(struct rtl8139 *s)
{
    for (unsigned i = 0; i < NET_MAC_LEN; i++) {
        s->idr[i] = (uint8_t)(s->eeprom.words[7 + i / 2] >> (i & 1) * 8);
    }
    net_set_mac(s->net, s->idr);
}

/* Data sheet 6.3: identification, PCI ids, address at word 7. */
static void fill_eeprom(struct rtl8139 *s)
{
    uint16_t *w = s->eeprom.words;

    w[0] = 0x8129;
    w[1] = s->pci.dev.class->pci->vendor;
    w[2] = s->pci.dev.class->pci->device;
    w[3] = s->pci.dev.class->pci->subsystem_vendor;
    w[4] = s->pci.dev.class->pci->subsystem;
    for (unsigned i = 0; i < NET_MAC_LEN; i += 2) {
        w[7 + i / 2] = (uint16_t)(s->mac[i] | s->mac[i + 1] << 8);
    }
}

static uint64_t cfg9346_read(void *dev, unsigned index)
{
    const struct rtl8139 *s = dev;
    bool program = (s->cfg9346 & CFG9346_MODE) == CFG9346_PROGRAM;

    return s->cfg9346 | (program && s->eeprom.out);
}

static void cfg9346_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct rtl8139 *s = dev;
    unsigned mode = s->cfg9346 & CFG9346_MODE;

    if (mode == CFG9346_PROGRAM) {
        eeprom93_pins(&s->eeprom, s->cfg9346 & CFG9346_EECS, s->cfg9346 & CFG9346_EESK,
                      s->cfg9346 & CFG9346_EEDI);
        return;
    }
    eeprom93_pins(&s->eeprom, false, false, false);
    if (mode == CFG9346_AUTOLOAD) {
        load_mac(s);
        s->cfg9346 = 0;
    }
}

static bool config_writable(void *dev)
{
    return (((struct rtl8139 *)dev)->cfg9346 & CFG9346_MODE) == CFG9346_CONFIG;
}

/* Not storage: a reset loads it from the EEPROM. */
static uint64_t idr_read(void *dev, unsigned index)
{
    return ((struct rtl8139 *)dev)->idr[index];
}

static void idr_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct rtl8139 *s = dev;

    s->idr[index] = (uint8_t)value;
    net_set_mac(s->net, s->idr);
}

/* ---- command ---- */

static void empty_ring(struct rtl8139 *s)
{
    s->capr = s->cbr = 0;
}

/* CR bit RST, data sheet 6.5: address, filter, EEPROM and PCI configuration stay. */
static void soft_reset(struct rtl8139 *s)
{
    rtl8139_transmit_stop(s);
    for (unsigned i = 0; i < RTL_SLOTS; i++) {
        s->tsd[i] = RTL_TSD_OWN;
        s->tsad[i] = 0;
    }
    s->rbstart = 0;
    s->cr = 0;
    s->imr = s->isr = 0;
    s->tcr = s->rcr = 0;
    s->missed = 0;
    s->cpcr = 0;
    s->rdsar_low = s->rdsar_high = 0;
    s->slot = s->rx_next = s->tx_next = s->tx_high_next = 0;
    s->tx_waiting = false;
    s->timer_limit = 0;
    s->timer_base = vclock_now(s->pci.dev.machine->clock);
    vtimer_disarm(&s->timer);
    empty_ring(s);
    net_receive_again(s->net);
    update_irq(s);
}

static uint64_t cr_read(void *dev, unsigned index)
{
    const struct rtl8139 *s = dev;

    return s->cr | (rtl8139_ring_empty(s) ? RTL_CR_BUFE : 0);
}

static void cr_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct rtl8139 *s = dev;
    uint8_t risen = (uint8_t)(s->cr & ~old);

    if (s->cr & RTL_CR_RST) {
        soft_reset(s);
        return;
    }
    if (risen & RTL_CR_RE) {
        s->rx_next = 0;
    }
    if (risen & RTL_CR_TE) {
        s->tx_next = s->tx_high_next = 0;
    }
    net_receive_again(s->net);
    if (risen & RTL_CR_TE) {
        rtl8139_transmit(s);
    }
}

static void rcr_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct rtl8139 *s = dev;

    if ((old ^ s->rcr) >> 11 & 3) {
        empty_ring(s);
    }
    net_receive_again(s->net);
}

static uint64_t tcr_read(void *dev, unsigned index)
{
    return ((struct rtl8139 *)dev)->tcr | HWVERID;
}

static void tcr_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    ((struct rtl8139 *)dev)->tcr &= ~RTL_TCR_CLRABT; /* nothing was aborted */
}

static uint64_t capr_read(void *dev, unsigned index)
{
    return (uint16_t)(((struct rtl8139 *)dev)->capr - RTL_RXBUF_TAIL);
}

static void capr_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    rtl8139_capr_written(dev, (uint16_t)value);
}

static void missed_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    ((struct rtl8139 *)dev)->missed = 0;
}

/* ---- transmit slots, and what C+ mode makes of their registers ---- */

static uint8_t *put(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        *p++ = (uint8_t)(v >> i * 8);
    }
    return p;
}

static void dump_tally(struct rtl8139 *s)
{
    const struct rtl_tally *t = &s->tally;
    uint64_t at = ((uint64_t)s->tsd[1] << 32 | s->tsd[0]) & ~(uint64_t)0x3f;
    uint8_t b[64], *p = b;

    p = put(p, t->tx_ok, 8);
    p = put(p, t->rx_ok, 8);
    p = put(p, t->tx_error, 8);
    p = put(p, t->rx_error, 4);
    p = put(p, t->missed, 2);
    p = put(p, t->align, 2);
    p = put(p, t->one_collision, 4);
    p = put(p, t->collisions, 4);
    p = put(p, t->rx_unicast, 8);
    p = put(p, t->rx_broadcast, 8);
    p = put(p, t->rx_multicast, 4);
    p = put(p, t->tx_abort, 2);
    p = put(p, t->tx_underrun, 2);
    if (dma_write(&s->pci.dev, at, b, (size_t)(p - b)) < 0) {
        rtl8139_raise(s, RTL_INT_SERR);
    }
    s->tsd[0] &= ~DTCCR_DUMP;
}

static void tsd_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct rtl8139 *s = dev;

    if (s->cpcr & (RTL_CP_TX | RTL_CP_RX)) {
        if (index == 0 && (s->tsd[0] & DTCCR_DUMP)) {
            dump_tally(s);
        }
        return;
    }
    s->tsd[index] &= TSD_WRITABLE;
    rtl8139_transmit(s);
}

/* Data sheet 6.16: the state of all slots in one word. */
static uint64_t tsad_summary(void *dev, unsigned index)
{
    const struct rtl8139 *s = dev;
    unsigned v = 0;

    for (unsigned i = 0; i < RTL_SLOTS; i++) {
        v |= s->tsd[i] & RTL_TSD_OWN ? 0x0001u << i : 0;
        v |= s->tsd[i] & RTL_TSD_TABT ? 0x0010u << i : 0;
        v |= s->tsd[i] & RTL_TSD_TUN ? 0x0100u << i : 0;
        v |= s->tsd[i] & RTL_TSD_TOK ? 0x1000u << i : 0;
    }
    return v;
}

static void tppoll_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct rtl8139 *s = dev;

    if (value & TPPOLL_SWINT) {
        rtl8139_raise(s, RTL_INT_SWINT);
    }
    if ((value & (TPPOLL_HIGH | TPPOLL_NORMAL)) && (s->cpcr & RTL_CP_TX)) {
        rtl8139_transmit(s);
    }
}

/* ---- the cable ---- */

static uint64_t msr_read(void *dev, unsigned index)
{
    return MSR_READ | (net_link(((struct rtl8139 *)dev)->net) ? 0 : MSR_LINKB);
}

static uint64_t bmsr_read(void *dev, unsigned index)
{
    return BMSR_READ | (net_link(((struct rtl8139 *)dev)->net) ? BMSR_LINK | BMSR_DONE : 0);
}

static uint64_t partner_read(void *dev, unsigned index)
{
    return net_link(((struct rtl8139 *)dev)->net) ? 0x05e1 : 0; /* all of 10 and 100 Mbit */
}

static uint64_t expansion_read(void *dev, unsigned index)
{
    return net_link(((struct rtl8139 *)dev)->net) ? 0x0001 : 0; /* it negotiates, too */
}

static uint64_t revision_read(void *dev, unsigned index)
{
    return ((struct rtl8139 *)dev)->pci.dev.class->pci->revision;
}

static uint64_t zero_read(void *dev, unsigned index)
{
    return 0;
}

/* ---- registers ---- */

#define R(f, off, ...) REG(struct rtl8139, f, off, __VA_ARGS__)
#define RS(f, off, ...) REG_ARRAY(struct rtl8139, f, off, __VA_ARGS__)

static const struct reg registers[] = {
    REG_PORT("idr", 0x00, 8, .count = NET_MAC_LEN, .read = idr_read, .written = idr_written),
    RS(mar, 0x08, .rw = 0xff),
    RS(tsd, 0x10, .rw = UINT32_MAX, .reset = RTL_TSD_OWN, .written = tsd_written),
    RS(tsad, 0x20, .rw = UINT32_MAX),
    R(rbstart, 0x30, .rw = UINT32_MAX),
    REG_PORT("erbcr", 0x34, 16, .read = zero_read),
    REG_PORT("ersr", 0x36, 8, .read = zero_read),
    R(cr, 0x37, .rw = RTL_CR_RST | RTL_CR_RE | RTL_CR_TE, .read = cr_read, .written = cr_written),
    REG_PORT("capr", 0x38, 16, .read = capr_read, .written = capr_written),
    R(cbr, 0x3a, .hold = 0xffff),
    R(imr, 0x3c, .rw = RTL_INT_ALL, .written = imr_written),
    R(isr, 0x3e, .w1c = RTL_INT_ALL),
    R(tcr, 0x40, .rw = RTL_TCR_RW, .read = tcr_read, .written = tcr_written),
    R(rcr, 0x44, .rw = 0x0f03ffbf, .written = rcr_written),
    REG_PORT("tctr", 0x48, 32, .read = timer_read, .written = timer_written),
    R(missed, 0x4c, .hold = 0xffffff, .written = missed_written),
    R(cfg9346, 0x50, .rw = 0xce, .read = cfg9346_read, .written = cfg9346_written),
    R(config0, 0x51),
    R(config1, 0x52, .rw = 0xf3, .reset = CONFIG1_RESET, .writable = config_writable),
    R(timer_limit, 0x54, .rw = UINT32_MAX, .written = timer_limit_written),
    REG_PORT("msr", 0x58, 8, .read = msr_read),
    R(config3, 0x59, .rw = 0x70, .reset = CONFIG3_RESET, .writable = config_writable),
    R(config4, 0x5a, .rw = 0xf5, .writable = config_writable),
    REG_PORT("mulint", 0x5c, 16, .read = zero_read),
    REG_PORT("revision", 0x5e, 8, .read = revision_read),
    REG_PORT("tsad summary", 0x60, 16, .read = tsad_summary),
    R(bmcr, 0x62, .rw = 0x0200, .reset = 0x1100),
    REG_PORT("bmsr", 0x64, 16, .read = bmsr_read),
    R(anar, 0x66, .rw = 0x3de0, .reset = 0x05e1),
    REG_PORT("anlpar", 0x68, 16, .read = partner_read),
    REG_PORT("aner", 0x6a, 16, .read = expansion_read),
    R(config5, 0xd8, .rw = 0x7f),
    REG_PORT("tppoll", 0xd9, 8, .read = zero_read, .written = tppoll_written),
    R(cpcr, 0xe0, .rw = RTL_CP_RW),
    REG_PORT("mitigate", 0xe2, 16, .read = zero_read),
    R(rdsar_low, 0xe4, .rw = UINT32_MAX),
    R(rdsar_high, 0xe8, .rw = UINT32_MAX),
    R(etthr, 0xec, .rw = 0x3f),
    REG_END,
};

static const struct reg_block block = {"rtl8139", registers, BAR_BYTES, changed};

/* ---- life ---- */

static int rtl8139_realize(struct device *dev, GError **err)
{
    struct rtl8139 *s = DEVICE_CAST(struct rtl8139, dev);

    if (!net_mac_parse(s->mac_text, s->mac)) {
        g_set_error(err, XENDM_ERROR, EINVAL, "%s: mac=%s is not the address of a card", dev->id,
                    s->mac_text);
        return -EINVAL;
    }
    vtimer_init(&s->timer, dev->machine->clock, "rtl8139", timer_fires, s);
    s->list = dma_list_new(dev, NET_IOV_MAX / 2);
    eeprom93_init(&s->eeprom, EEPROM_WORDS);
    fill_eeprom(s);
    net_connect(s->net, &rtl8139_net, s, s->mac, 0);
    return 0;
}

static void rtl8139_unrealize(struct device *dev)
{
    struct rtl8139 *s = DEVICE_CAST(struct rtl8139, dev);

    rtl8139_transmit_stop(s);
    vtimer_disarm(&s->timer);
    net_disconnect(s->net);
    dma_list_free(s->list);
}

static void rtl8139_reset(struct device *dev, enum reset_reason why)
{
    struct rtl8139 *s = DEVICE_CAST(struct rtl8139, dev);

    soft_reset(s);
    memset(s->mar, 0, sizeof(s->mar));
    memset(&s->tally, 0, sizeof(s->tally));
    eeprom93_reset(&s->eeprom);
    load_mac(s);
}

static void rtl8139_quiesce(struct device *dev)
{
    struct rtl8139 *s = DEVICE_CAST(struct rtl8139, dev);

    rtl8139_transmit_stop(s);
    net_run(s->net, false);
}

static void rtl8139_resume(struct device *dev)
{
    struct rtl8139 *s = DEVICE_CAST(struct rtl8139, dev);

    net_run(s->net, true);
    rtl8139_transmit(s);
}

static void rtl8139_unplug(struct device *dev, unsigned what)
{
    struct rtl8139 *s = DEVICE_CAST(struct rtl8139, dev);

    if (what & UNPLUG_NICS) {
        soft_reset(s);
        pci_device_pull(&s->pci);
        machine_event_unplugged(dev->machine, dev->id);
    }
}

static const struct property rtl8139_properties[] = {
    {.name = "mac",
     .type = PROP_STRING,
     .offset = offsetof(struct rtl8139, mac_text),
     .def = "52:54:00:12:34:56",
     .help = "the card's address"},
    {.name = "netdev",
     .type = PROP_BACKEND,
     .offset = offsetof(struct rtl8139, net),
     .kind = BACKEND_NET,
     .help = "where the cable goes; without: nowhere"},
    {.name = NULL},
};

#define T(type, f) STATE_FIELD_##type(struct rtl8139, tally.f)

static const struct state_field rtl8139_fields[] = {
    STATE_FIELD_BYTES(struct rtl8139, idr),
    STATE_FIELD_BYTES(struct rtl8139, mar),
    STATE_FIELD_U32(struct rtl8139, tsd, .count = RTL_SLOTS),
    STATE_FIELD_U32(struct rtl8139, tsad, .count = RTL_SLOTS),
    STATE_FIELD_U32(struct rtl8139, rbstart),
    STATE_FIELD_U8(struct rtl8139, cr),
    STATE_FIELD_U16(struct rtl8139, capr),
    STATE_FIELD_U16(struct rtl8139, cbr),
    STATE_FIELD_U16(struct rtl8139, imr),
    STATE_FIELD_U16(struct rtl8139, isr),
    STATE_FIELD_U32(struct rtl8139, tcr),
    STATE_FIELD_U32(struct rtl8139, rcr),
    STATE_FIELD_U32(struct rtl8139, missed),
    STATE_FIELD_U8(struct rtl8139, cfg9346),
    STATE_FIELD_U8(struct rtl8139, config1),
    STATE_FIELD_U8(struct rtl8139, config3),
    STATE_FIELD_U8(struct rtl8139, config4),
    STATE_FIELD_U8(struct rtl8139, config5),
    STATE_FIELD_U32(struct rtl8139, timer_limit),
    STATE_FIELD_I64(struct rtl8139, timer_base),
    STATE_FIELD_U16(struct rtl8139, bmcr),
    STATE_FIELD_U16(struct rtl8139, anar),
    STATE_FIELD_U16(struct rtl8139, cpcr),
    STATE_FIELD_U32(struct rtl8139, rdsar_low),
    STATE_FIELD_U32(struct rtl8139, rdsar_high),
    STATE_FIELD_U8(struct rtl8139, etthr),
    STATE_FIELD_U32(struct rtl8139, slot, .max = RTL_SLOTS - 1),
    STATE_FIELD_U32(struct rtl8139, rx_next, .max = 63),
    STATE_FIELD_U32(struct rtl8139, tx_next, .max = 63),
    STATE_FIELD_U32(struct rtl8139, tx_high_next, .max = 63),
    STATE_FIELD_STRUCT(struct rtl8139, eeprom, 1, &eeprom93_state),
    STATE_FIELD_TIMER(struct rtl8139, timer),
    T(U64, tx_ok),
    T(U64, rx_ok),
    T(U64, tx_error),
    T(U32, rx_error),
    T(U16, missed),
    T(U64, rx_unicast),
    T(U64, rx_broadcast),
    T(U32, rx_multicast),
    STATE_FIELD_END,
};

static bool rtl8139_check(const void *base, GError **err)
{
    const struct rtl8139 *s = base;

    if (s->capr < rtl8139_ring_bytes(s) && s->cbr < rtl8139_ring_bytes(s) && !(s->cbr & 3)) {
        return true;
    }
    g_set_error(err, STATE_ERROR, 0, "capr %u, cbr %u: not in a ring of %u bytes", s->capr, s->cbr,
                rtl8139_ring_bytes(s));
    return false;
}

static bool rtl8139_fits(const void *scratch, const void *base, GError **err)
{
    return eeprom93_fits(&((const struct rtl8139 *)scratch)->eeprom,
                         &((const struct rtl8139 *)base)->eeprom, err);
}

static void rtl8139_post_load(void *base)
{
    struct rtl8139 *s = base;

    net_set_mac(s->net, s->idr);
    update_irq(s);
}

static const struct state_desc rtl8139_state = {
    .name = "rtl8139",
    .version = 1,
    .fields = rtl8139_fields,
    .check = rtl8139_check,
    .fits = rtl8139_fits,
    .post_load = rtl8139_post_load,
};

static const struct pci_info rtl8139_pci = {
    .vendor = 0x10ec,
    .device = 0x8139,
    .subsystem_vendor = 0x1af4, /* as guests that were installed under QEMU know it */
    .subsystem = 0x1100,
    .class = 0x020000,
    .revision = 0x20,
    .rom = "efi-rtl8139.rom", /* for BIOS and UEFI; Debian: package ipxe-qemu */
    .intx_pin = 1,
    .bar =
        {
            [0] = {.type = PCI_BAR_IO, .size = BAR_BYTES, .regs = &block},
            [1] = {.type = PCI_BAR_MEM32, .size = BAR_BYTES, .regs = &block},
        },
};

const struct device_class rtl8139_class = {
    .name = "rtl8139",
    .help = "Realtek RTL8139C+ Fast Ethernet",
    .size = sizeof(struct rtl8139),
    .properties = rtl8139_properties,
    .state = &rtl8139_state,
    .recorded = true,
    .realize = rtl8139_realize,
    .unrealize = rtl8139_unrealize,
    .reset = rtl8139_reset,
    .quiesce = rtl8139_quiesce,
    .resume = rtl8139_resume,
    .unplug = rtl8139_unplug,
    .hotplug = true,
    .pci = &rtl8139_pci,
};
