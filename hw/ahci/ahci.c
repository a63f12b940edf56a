/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ahci: the SATA function of Intel's ICH9 (8086:2922) in AHCI mode, six ports, 32 command slots
 * each.
 *
 * Sources: Serial ATA AHCI 1.3.1; ICH9 data sheet (316972) chapter 15 for configuration space and
 * the index-data pair. Used by SeaBIOS, OVMF and every guest with hdtype="ahci".
 *
 * There: NCQ, command list override, hot-plug of drives, ATAPI, MSI. Left out, and not advertised:
 * staggered spin-up (as in QEMU's: Linux looks for drives on one port after the other where it is),
 * port multipliers (so FIS-based switching, too), command completion coalescing, enclosure
 * management, mechanical presence switches, link power management, legacy mode.
 */
#include <errno.h>

#include "ahci.h"

#define BAR_INDEX 4
#define BAR_MEMORY 5
#define MEMORY_BYTES 0x1000u
#define INDEX_AT 0x10u
#define DATA_AT 0x14u
#define CONFIG_COMMAND 0x04u
#define COMMAND_MASTER 0x04u

#define CAP_SCLO (1u << 24)
#define CAP_SNCQ (1u << 30)
#define CAP_S64A (1u << 31)
#define CAP_SAM (1u << 18)
#define CAP_ISS_GEN1 (1u << 20)
#define CAP_VALUE \
    (CAP_S64A | CAP_SNCQ | CAP_SCLO | CAP_ISS_GEN1 | CAP_SAM | (AHCI_SLOTS - 1) << 8 | \
     (AHCI_PORTS - 1))
#define GHC_HR 0x1u
#define GHC_IE 0x2u
#define GHC_AE 0x80000000u
#define ALL_PORTS ((1u << AHCI_PORTS) - 1)

static struct ahci *ahci_of(struct device *dev)
{
    return DEVICE_CAST(struct ahci, dev);
}

/* ---- interrupts ---- */

static void update_line(struct ahci *s)
{
    pci_intx_set(&s->pci, s->is && (s->ghc & GHC_IE) && !pci_msi_enabled(&s->pci));
}

/* There is something new, or something left. */
static void message(struct ahci *s)
{
    if (s->is && (s->ghc & GHC_IE)) {
        pci_msi_send(&s->pci, 0);
    }
}

static void collect(struct ahci *s)
{
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        if (s->port[i].is & s->port[i].ie) {
            s->is |= 1u << i;
        }
    }
}

void ahci_port_interrupt(struct ahci_port *p, uint32_t bits)
{
    p->is |= bits;
    if (p->is & p->ie) {
        p->hba->is |= 1u << p->number;
        update_line(p->hba);
        message(p->hba);
    }
}

/* After a write. */
static void changed(void *dev)
{
    struct ahci *s = dev;
    uint32_t before = s->is;

    collect(s);
    update_line(s);
    if (s->is & ~before) {
        message(s);
    }
}

static void is_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct ahci *s = dev;

    collect(s); /* what a port still has comes back */
    message(s);
}

/* ---- the adapter's reset ---- */

void ahci_quiet(struct ahci *s)
{
    if (!s->resetting) {
        return;
    }
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        if (!ahci_port_quiet(&s->port[i])) {
            return;
        }
    }
    s->resetting = false;
    s->ghc = GHC_AE;
}

static void reset_ports(struct ahci *s)
{
    s->is = 0;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        ahci_port_reset(&s->port[i]);
    }
}

static void ghc_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct ahci *s = dev;

    if ((value & GHC_HR) && !s->resetting) {
        reset_ports(s);
        s->ghc = GHC_AE | GHC_HR;
        s->resetting = true;
        ahci_quiet(s);
    }
    message(s);
}

/* ---- the ports' registers ---- */

static void command_written(struct ahci_port *p, uint64_t old, uint64_t value)
{
    if ((value & CMD_CLO) && !(p->cmd & CMD_ST)) {
        p->tfd &= ~(uint32_t)(ATA_BSY | ATA_DRQ);
    }
    ahci_port_command(p, (uint32_t)old);
}

static void error_written(struct ahci_port *p, uint64_t old, uint64_t value)
{
    p->is &= ~((p->serr & SERR_X ? 0 : PORT_PCS) | (p->serr & SERR_N ? 0 : PORT_PRCS));
}

static void control_written(struct ahci_port *p, uint64_t old, uint64_t value)
{
    ahci_port_control(p, (uint32_t)old);
}

static void active_written(struct ahci_port *p, uint64_t old, uint64_t value)
{
    if (p->cmd & CMD_ST) {
        p->sact |= (uint32_t)value;
    }
}

static void issue_written(struct ahci_port *p, uint64_t old, uint64_t value)
{
    ahci_port_issue(p, (uint32_t)value);
}

/* A hook knows the device, not the row: one for each port. */
#define HOOK(name, n) \
    static void name##_##n(void *dev, unsigned index, uint64_t old, uint64_t value) \
    { \
        name(&((struct ahci *)dev)->port[n], old, value); \
    }
#define HOOKS(n) \
    HOOK(command_written, n) \
    HOOK(error_written, n) \
    HOOK(control_written, n) \
    HOOK(active_written, n) \
    HOOK(issue_written, n)
HOOKS(0)
HOOKS(1)
HOOKS(2)
HOOKS(3)
HOOKS(4)
HOOKS(5)

#define P(n, f, off, ...) REG(struct ahci, port[n].f, 0x100 + 0x80 * (n) + (off), __VA_ARGS__)
#define PORT(n) \
    P(n, clb, 0x00, .rw = 0xfffffc00), P(n, clbu, 0x04, .rw = UINT32_MAX), \
        P(n, fb, 0x08, .rw = 0xffffff00), P(n, fbu, 0x0c, .rw = UINT32_MAX), \
        P(n, is, 0x10, .w1c = PORT_INTERRUPTS & ~(PORT_PCS | PORT_PRCS), \
          .hold = PORT_PCS | PORT_PRCS), \
        P(n, ie, 0x14, .rw = PORT_INTERRUPTS), \
        P(n, cmd, 0x18, .reset = CMD_POD | CMD_SUD, \
          .rw = CMD_ST | CMD_FRE | CMD_ATAPI | CMD_DLAE | CMD_ICC, \
          .hold = CMD_SUD | CMD_CCS | CMD_FR | CMD_CR, .written = command_written_##n), \
        P(n, tfd, 0x20, .reset = TFD_NONE, .hold = 0xffff), \
        P(n, sig, 0x24, .reset = UINT32_MAX, .hold = UINT32_MAX), P(n, ssts, 0x28, .hold = 0xfff), \
        P(n, sctl, 0x2c, .rw = 0xfff, .written = control_written_##n), \
        P(n, serr, 0x30, .w1c = UINT32_MAX, .written = error_written_##n), \
        P(n, sact, 0x34, .hold = UINT32_MAX, .written = active_written_##n), \
        P(n, ci, 0x38, .hold = UINT32_MAX, .written = issue_written_##n)

/* clang-format off */
static const struct reg_block ahci_block = {
    .name = "ahci",
    .size = MEMORY_BYTES,
    .changed = changed,
    .regs = (const struct reg[]){
        REG(struct ahci, cap, 0x00, .reset = CAP_VALUE),
        REG(struct ahci, ghc, 0x04, .reset = GHC_AE, .rw = GHC_IE, .hold = GHC_HR,
            .written = ghc_written),
        REG(struct ahci, is, 0x08, .w1c = ALL_PORTS, .written = is_written),
        REG(struct ahci, pi, 0x0c, .reset = ALL_PORTS),
        REG(struct ahci, version, 0x10, .reset = 0x00010300),
        PORT(0), PORT(1), PORT(2), PORT(3), PORT(4), PORT(5), REG_END},
};
/* clang-format on */

/* ---- index and data: the same registers by I/O ports ---- */

static uint64_t pair_read(void *opaque, uint64_t offset, unsigned size)
{
    struct ahci *s = opaque;

    if (offset == INDEX_AT) {
        return s->index;
    }
    return offset == DATA_AT ? reg_ops.read(s->pci.bar[BAR_MEMORY].bank, s->index, 4) : 0;
}

static void pair_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct ahci *s = opaque;

    if (offset == INDEX_AT) {
        s->index = (uint32_t)value & (MEMORY_BYTES - 4);
    } else if (offset == DATA_AT) {
        reg_ops.write(s->pci.bar[BAR_MEMORY].bank, s->index, value, 4);
    }
}

static const struct region_ops pair_ops = {
    .read = pair_read,
    .write = pair_write,
    .impl_min = 4,
    .impl_max = 4,
};

/* ---- life ---- */

static void ahci_config_written(struct device *dev, unsigned reg, unsigned len, uint32_t old)
{
    struct ahci *s = ahci_of(dev);

    update_line(s); /* MSI may be on or off */
    if ((reg & ~3u) == CONFIG_COMMAND && !(s->pci.config[CONFIG_COMMAND] & COMMAND_MASTER)) {
        for (unsigned i = 0; i < AHCI_PORTS; i++) {
            ahci_port_master_off(&s->port[i]);
        }
    }
}

static void sata_capability(struct pci_device *pci)
{
    uint8_t at = pci_cap_add(pci, 0x12, 0xa8, 8);

    pci->config[at + 2] = 0x10; /* 1.0 */
    store_le32(pci->config + at + 4, (BAR_INDEX + 4) | (INDEX_AT / 4) << 4);
}

static int ahci_realize(struct device *dev, GError **err)
{
    struct ahci *s = ahci_of(dev);

    sata_capability(&s->pci);
    pci_cap_add_msi(&s->pci, 0x80, 1, true);
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        struct ahci_port *p = &s->port[i];

        p->hba = s;
        p->number = i;
        p->slot = AHCI_NO_SLOT;
        for (unsigned slot = 0; slot < AHCI_SLOTS; slot++) {
            p->queue[slot].port = p;
        }
        ata_host_init(&p->host, dev, g_strdup_printf("%s.%u", dev->id, i), &ahci_host_ops, 1);
        p->host.first = i;
        p->host.sata = true;
    }
    return 0;
}

static void ahci_unrealize(struct device *dev)
{
    struct ahci *s = ahci_of(dev);

    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        later_forget(&s->port[i].later);
        ata_host_fini(&s->port[i].host);
        for (unsigned slot = 0; slot < AHCI_SLOTS; slot++) {
            dma_list_free(s->port[i].queue[slot].list);
        }
    }
}

/*
 * The bank was reset before us, registers with it: what the ports did ends now, and CR says whether
 * it has.
 */
static void ahci_reset(struct device *dev, enum reset_reason why)
{
    struct ahci *s = ahci_of(dev);

    s->index = 0;
    s->resetting = false;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        s->port[i].cmd |= CMD_CR;
    }
    reset_ports(s);
    update_line(s);
}

static void ahci_quiesce(struct device *dev)
{
    struct ahci *s = ahci_of(dev);

    s->quiesced = true;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        later_forget(&s->port[i].later);
    }
}

static bool ahci_busy(struct device *dev)
{
    const struct ahci *s = ahci_of(dev);
    unsigned n = 0;

    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        n += s->port[i].in_flight;
    }
    return n > 0;
}

static void ahci_resume(struct device *dev)
{
    struct ahci *s = ahci_of(dev);

    s->quiesced = false;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        ahci_queue_step(&s->port[i]);
        ahci_port_go(&s->port[i]);
    }
}

static void ahci_describe(struct device *dev, struct facts *to)
{
    struct ahci *s = ahci_of(dev);

    fact_bool(to, "resetting", s->resetting);
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        const struct ahci_port *p = &s->port[i];
        g_autofree char *name = g_strdup_printf("port %u", i);

        if (!ahci_drive(p)) {
            continue;
        }
        fact_group(to, name);
        fact_text(to, "drive", "%s", ahci_drive(p)->dev.id);
        fact_int(to, "in flight", p->in_flight);
        fact_bool(to, "halted", p->halted);
    }
}

/* ---- saved state ---- */

#define PRD_FIELDS(st, f) \
    {.name = "prd-table", .type = STATE_U64, .offset = offsetof(st, f.table)}, \
        {.name = "prd-count", \
         .type = STATE_U32, \
         .offset = offsetof(st, f.count), \
         .max = UINT16_MAX}, \
        {.name = "prd-next", \
         .type = STATE_U32, \
         .offset = offsetof(st, f.next), \
         .max = UINT16_MAX}, \
        {.name = "prd-address", .type = STATE_U64, .offset = offsetof(st, f.address)}, \
    { \
        .name = "prd-left", .type = STATE_U32, .offset = offsetof(st, f.left), .max = 1 << 22 \
    }

static const struct state_field queued_fields[] = {
    STATE_FIELD_U32(struct ahci_queued, slot, .max = AHCI_SLOTS - 1),
    STATE_FIELD_U64(struct ahci_queued, lba, .max = UINT64_C(1) << 48),
    STATE_FIELD_U32(struct ahci_queued, left, .max = 65536),
    STATE_FIELD_BOOL(struct ahci_queued, write),
    STATE_FIELD_BOOL(struct ahci_queued, fua),
    PRD_FIELDS(struct ahci_queued, prd),
    STATE_FIELD_END,
};

static const struct state_desc queued_state = {.name = "queued",
                                               .version = 1,
                                               .fields = queued_fields};

static const struct state_field port_fields[] = {
    STATE_FIELD_U32(struct ahci_port, clb),
    STATE_FIELD_U32(struct ahci_port, clbu),
    STATE_FIELD_U32(struct ahci_port, fb),
    STATE_FIELD_U32(struct ahci_port, fbu),
    STATE_FIELD_U32(struct ahci_port, is),
    STATE_FIELD_U32(struct ahci_port, ie),
    STATE_FIELD_U32(struct ahci_port, cmd),
    STATE_FIELD_U32(struct ahci_port, tfd),
    STATE_FIELD_U32(struct ahci_port, sig),
    STATE_FIELD_U32(struct ahci_port, ssts),
    STATE_FIELD_U32(struct ahci_port, sctl),
    STATE_FIELD_U32(struct ahci_port, serr),
    STATE_FIELD_U32(struct ahci_port, sact),
    STATE_FIELD_U32(struct ahci_port, ci),
    STATE_FIELD_BOOL(struct ahci_port, halted),
    STATE_FIELD_BOOL(struct ahci_port, signature_pending),
    STATE_FIELD_BOOL(struct ahci_port, detected),
    STATE_FIELD_U8(struct ahci_port, control),
    STATE_FIELD_U8(struct ahci_port, slot),
    STATE_FIELD_BOOL(struct ahci_port, packet_sent),
    STATE_FIELD_BOOL(struct ahci_port, pio_in),
    PRD_FIELDS(struct ahci_port, prd),
    STATE_FIELD_U32(struct ahci_port, moved),
    STATE_FIELD_BOOL(struct ahci_port, queue_failed),
    STATE_FIELD_U8(struct ahci_port, log_tag, .max = AHCI_SLOTS - 1),
    STATE_FIELD_U8(struct ahci_port, log_status),
    STATE_FIELD_U8(struct ahci_port, log_error),
    STATE_FIELD_U64(struct ahci_port, log_lba),
    STATE_FIELD_U16(struct ahci_port, log_count),
    STATE_FIELD_STRUCTS_VAR(struct ahci_port, saved, AHCI_SLOTS, saved_count, &queued_state),
    STATE_FIELD_END,
};

static void port_pre_save(void *base)
{
    struct ahci_port *p = base;

    p->saved_count = 0;
    for (unsigned i = 0; i < AHCI_SLOTS; i++) {
        if (p->queue[i].active) {
            p->saved[p->saved_count++] = p->queue[i].q;
        }
    }
}

static bool port_check(const void *base, GError **err)
{
    const struct ahci_port *p = base;
    uint32_t seen = 0, twice = 0;

    for (uint32_t i = 0; i < p->saved_count; i++) {
        twice |= seen & 1u << p->saved[i].slot;
        seen |= 1u << p->saved[i].slot;
    }
    if (twice || (p->slot >= AHCI_SLOTS && p->slot != AHCI_NO_SLOT)) {
        g_set_error(err, STATE_ERROR, EINVAL, "an AHCI port has slot %u, queue %x", p->slot, seen);
        return false;
    }
    return true;
}

static void port_post_load(void *base)
{
    struct ahci_port *p = base;

    p->chunk_start = p->prd;
    p->cmd |= CMD_SUD; /* older states have ports that were not spun up yet */
    for (unsigned i = 0; i < AHCI_SLOTS; i++) {
        p->queue[i].active = false;
    }
    for (uint32_t i = 0; i < p->saved_count; i++) {
        struct ahci_slot *s = &p->queue[p->saved[i].slot];

        s->q = p->saved[i];
        s->active = true;
    }
}

static const struct state_desc port_state = {
    .name = "port",
    .version = 1,
    .fields = port_fields,
    .pre_save = port_pre_save,
    .check = port_check,
    .post_load = port_post_load,
};

static const struct state_field ahci_fields[] = {
    STATE_FIELD_U32(struct ahci, ghc),
    STATE_FIELD_U32(struct ahci, is),
    STATE_FIELD_U32(struct ahci, index, .max = MEMORY_BYTES - 4),
    STATE_FIELD_BOOL(struct ahci, resetting),
    STATE_FIELD_STRUCT(struct ahci, port, AHCI_PORTS, &port_state),
    STATE_FIELD_END,
};

static void ahci_post_load(void *base)
{
    struct ahci *s = base;

    s->index &= ~3u;
}

static const struct state_desc ahci_state = {.name = "ahci",
                                             .version = 1,
                                             .fields = ahci_fields,
                                             .post_load = ahci_post_load};

static const struct pci_config_reg ahci_config[] = {
    {0x90, 0x40},    /* address map: AHCI */
    {0x92, 0, 0x3f}, /* ports enabled: drivers write it; without firmware they are all on */
    {0},
};

static const struct pci_info ahci_pci = {
    .vendor = 0x8086,
    .device = 0x2922,
    .subsystem_vendor = 0x1af4, /* QEMU's, so that a guest sees the same hardware */
    .subsystem = 0x1100,
    .class = 0x010601, /* SATA, AHCI 1.0 */
    .revision = 0x02,
    .intx_pin = 1,
    .bar = {[BAR_INDEX] = {.type = PCI_BAR_IO, .size = 32, .ops = &pair_ops, .name = "ahci-pair"},
            [BAR_MEMORY] = {.type = PCI_BAR_MEM32, .size = MEMORY_BYTES, .regs = &ahci_block}},
    .config = ahci_config,
    .config_written = ahci_config_written,
};

static const char *const ahci_aliases[] = {"ich9-ahci", NULL};

const struct device_class ahci_class = {
    .name = "ahci",
    .aliases = ahci_aliases,
    .help = "ICH9 SATA adapter (AHCI), six ports",
    .size = sizeof(struct ahci),
    .state = &ahci_state,
    .recorded = true,
    .realize = ahci_realize,
    .reset = ahci_reset,
    .quiesce = ahci_quiesce,
    .busy = ahci_busy,
    .resume = ahci_resume,
    .unrealize = ahci_unrealize,
    .describe = ahci_describe,
    .pci = &ahci_pci,
};
