/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Intel 82371AB (PIIX4) function 3: power management, 8086:7113 at 00:01.3, as far as Xen leaves it
 * to the device model, and the hot-plug register blocks that hvmloader's ACPI tables describe.
 *
 * Sources: 82371AB data sheet (290562), chapters 7.1 (configuration), 7.2 (power management I/O),
 * 7.3 (SMBus I/O), 11.4 (APM ports); ACPI 2.0 chapter 4.7 (PM1 control, GPE blocks); Xen's
 * tools/libacpi (dsdt.asl, mk_dsdt.c, static_tables.c) for the addresses outside the chip.
 *
 *   PMBASE + 4      PM1a control: SCI_EN, SLP_TYP, SLP_EN
 *   0xB2, 0xB3      APM control, status: 0xF1 / 0xF0 switch SCI_EN on / off (SMI handler)
 *   0xAFE0-0xAFE3   GPE0 status (write 1 to clear), enable; 16 bits each; on SCI = ISA irq 9
 *   0xAE00-0xAE0F   PCI slots: up, down, eject, removable
 *   0xAF00-0xAF1F   one bit per vCPU, 1 = online
 *   0xB044-0xB047   debug port of the DSDT
 *   SMBBASE         SMBus host controller (off after hvmloader, which clears 0xD2)
 *
 * Xen's: PM1a status/enable (PMBASE + 0) and the PM timer (PMBASE + 8). They stay at 0xB000
 * wherever PMBASE is moved; the ranges are not claimed. Xen raises irq 9 for PM1a events on the
 * same one-bit line (toolstack.md 4.7): the line is lowered only when our own last GPE goes away,
 * and raised again, though it is high for us, when the guest clears one GPE while another is
 * pending.
 *
 * Left out on purpose: SMM, general purpose I/O, device monitors, the SMBus slave functions; block
 * transfers fail like all others because no device answers on the SMBus.
 *
 * PCI hot-plug, as Xen's DSDT has it: _E01 reads up and down, a bit a slot, and notifies; _EJ0
 * writes the slot's bit to eject. As in QEMU up is not cleared by reading: a guest that is notified
 * again looks again.
 *
 * SLP_TYP: 1 = S3, 0 = S5 and S4 (Xen's DSDT gives both the same), 2 = QEMU's S4; others: an error.
 */
#include <string.h>

#include <xendm/acpi.h>
#include <xendm/classes.h>
#include <xendm/facts.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/regs.h>

#define REG_PMBASE 0x40
#define REG_PMREGMISC 0x80
#define REG_SMBBA 0x90
#define REG_SMBHSTCFG 0xd2

#define PMREGMISC_ENABLE 0x01
#define SMBHSTCFG_ENABLE 0x01

#define PM1_CONTROL 4u /* from PMBASE */
#define PM1_SCI_EN 0x0001
#define PM1_SLP_EN 0x2000
#define PM1_SLP_TYP_SHIFT 10

#define APM_ACPI_ENABLE 0xf1
#define APM_ACPI_DISABLE 0xf0

#define GPE_PCI 0x0002
#define GPE_CPU 0x0004
#define SCI_IRQ 9

#define SMB_SIZE 14u /* SMBHSTSTS 0 … SMBSLVDAT+1 */
#define SMB_STS_INTR 0x02
#define SMB_STS_DEV_ERR 0x04
#define SMB_STS_FAILED 0x10
#define SMB_STS_CLEAR 0x1e
#define SMB_CNT_KILL 0x02
#define SMB_CNT_START 0x40

/* Blocks of registers; those up to DEBUG are where they are, the last two move. */
enum {
    APM,
    SLOTS,
    CPUS,
    GPE,
    DEBUG,
    PM1,
    SMB,
    BLOCKS,
};

struct piix4_pm {
    struct pci_device pci;
    struct irq sci;
    struct reg_bank bank[BLOCKS];
    uint64_t pm1_at, smb_at; /* where they are placed, or NOWHERE */

    uint16_t control; /* PM1a control without SLP_EN */
    uint8_t apm_control, apm_status;
    uint16_t gpe_status, gpe_enable;
    uint32_t slots_up, slots_down; /* came, and are asked to go; a bit a slot */
    uint8_t cpu_map[ACPI_VCPU_MAX / 8];
    uint8_t debug_byte[4];
    uint8_t smb_status, smb_control, smb_command, smb_address, smb_data0, smb_data1;
    uint8_t smb_block[32];
    uint8_t smb_index;    /* into smb_block */
    uint8_t smb_slave[6]; /* registers 8-13: stored only */

    unsigned refusals; /* of the hypervisor to forward a block; not saved */
};

#define NOWHERE UINT64_MAX
#define REFUSALS_LOGGED 16u /* the guest may move a block as often as it likes */

/* ---- SCI and GPE0 ---- */

/* `again`: something is still pending after the guest dealt with something; see the head. */
static void update_sci(struct piix4_pm *s, bool again)
{
    bool level = s->gpe_status & s->gpe_enable;

    if (level && s->sci.level && again) {
        hv_isa_irq_set(s->pci.dev.machine->hv, SCI_IRQ, true);
    }
    irq_set(&s->sci, level);
}

static void raise_gpe(struct piix4_pm *s, uint16_t bit)
{
    s->gpe_status |= bit;
    update_sci(s, true);
}

static void gpe_changed(void *dev)
{
    update_sci(dev, true);
}

/* ---- PM1a control, APM ---- */

static void enter_sleep(struct piix4_pm *s)
{
    struct machine *m = s->pci.dev.machine;
    unsigned type = s->control >> PM1_SLP_TYP_SHIFT & 7;

    switch (type) {
    case 0:
    case 2:
        machine_request_poweroff(m);
        break;
    case 1:
        machine_request_suspend(m);
        break;
    default:
        log_guest(LOG_ACPI, "sleep type %u is not supported", type);
    }
}

static void control_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct piix4_pm *s = dev;

    if (s->control & PM1_SLP_EN) {
        s->control &= ~PM1_SLP_EN;
        enter_sleep(s);
    }
}

static void apm_control_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct piix4_pm *s = dev;

    if (value == APM_ACPI_ENABLE) {
        s->control |= PM1_SCI_EN;
    } else if (value == APM_ACPI_DISABLE) {
        s->control &= ~PM1_SCI_EN;
    }
}

/* ---- hot-plug blocks ---- */

/*
 * Slots whose device may be taken out, as the DSDT's _STA reads it: all, also empty ones, but those
 * of the chip set and the display adapter.
 */
static uint64_t removable_slots(void *dev, unsigned index)
{
    struct piix4_pm *s = dev;
    uint32_t mask = UINT32_MAX;

    pci_foreach (d, s->pci.dev.machine->pci) {
        uint32_t class = d->dev.class->pci->class >> 8;

        if (class >> 8 == 0x06 || class == 0x0300) {
            mask &= ~(UINT32_C(1) << PCI_SLOT(d->devfn));
        }
    }
    return mask;
}

static void eject_slot(struct piix4_pm *s, unsigned slot)
{
    s->slots_up &= ~(UINT32_C(1) << slot);
    s->slots_down &= ~(UINT32_C(1) << slot);
    pci_foreach (d, s->pci.dev.machine->pci) {
        if (PCI_SLOT(d->devfn) != slot) {
            continue;
        }
        if (d->dev.class->hotplug) {
            device_unplug(&d->dev);
        } else {
            log_guest(LOG_ACPI, "eject of PCI slot %u refused: %s is no removable device", slot,
                      d->dev.id);
        }
    }
}

static void eject_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        if (value >> slot & 1) {
            eject_slot(dev, slot);
        }
    }
}

static void slot_plugged(void *opaque, struct pci_device *pci)
{
    struct piix4_pm *s = opaque;

    s->slots_up |= UINT32_C(1) << PCI_SLOT(pci->devfn);
    s->slots_down &= ~(UINT32_C(1) << PCI_SLOT(pci->devfn));
    raise_gpe(s, GPE_PCI);
}

static void slot_request_unplug(void *opaque, struct pci_device *pci)
{
    struct piix4_pm *s = opaque;

    s->slots_down |= UINT32_C(1) << PCI_SLOT(pci->devfn);
    raise_gpe(s, GPE_PCI);
}

static const struct pci_hotplug slot_hotplug = {
    .plugged = slot_plugged,
    .request_unplug = slot_request_unplug,
};

static uint64_t cpu_map_byte(void *dev, unsigned index)
{
    return ((struct piix4_pm *)dev)->cpu_map[index];
}

bool acpi_vcpu_is_online(struct device *pm, unsigned vcpu)
{
    struct piix4_pm *s = DEVICE_CAST(struct piix4_pm, pm);

    return vcpu < ACPI_VCPU_MAX && (s->cpu_map[vcpu / 8] & 1u << vcpu % 8);
}

bool acpi_vcpu_online(struct device *pm, unsigned vcpu)
{
    struct piix4_pm *s = DEVICE_CAST(struct piix4_pm, pm);

    if (vcpu >= ACPI_VCPU_MAX || acpi_vcpu_is_online(pm, vcpu)) {
        return false;
    }
    s->cpu_map[vcpu / 8] |= 1u << vcpu % 8;
    raise_gpe(s, GPE_CPU);
    return true;
}

/* ---- SMBus host controller: nobody at home ---- */

/* The index wraps at once, so that saved state has one form of it. */
static uint8_t *smb_block_next(struct piix4_pm *s)
{
    uint8_t *byte = &s->smb_block[s->smb_index % sizeof(s->smb_block)];

    s->smb_index = (uint8_t)((s->smb_index + 1) % sizeof(s->smb_block));
    return byte;
}

static uint64_t smb_block_read(void *dev, unsigned index)
{
    return *smb_block_next(dev);
}

static void smb_block_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    *smb_block_next(dev) = (uint8_t)value;
}

static uint64_t smb_control_read(void *dev, unsigned index)
{
    struct piix4_pm *s = dev;

    s->smb_index = 0;
    return s->smb_control & ~SMB_CNT_START;
}

static void smb_control_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct piix4_pm *s = dev;

    if (value & SMB_CNT_KILL) {
        s->smb_status |= SMB_STS_FAILED;
    } else if (value & SMB_CNT_START) {
        /* Every address goes unacknowledged, at once; no interrupt is wired. */
        s->smb_status = SMB_STS_INTR | SMB_STS_DEV_ERR;
    }
}

/* ---- registers ---- */

#define R(f, off, ...) REG(struct piix4_pm, f, off, __VA_ARGS__)
#define RS(f, off, ...) REG_ARRAY(struct piix4_pm, f, off, __VA_ARGS__)

static const struct reg_block blocks[BLOCKS] = {
    [APM] = {"apm",
             (const struct reg[]){
                 R(apm_control, 0, .rw = 0xff, .written = apm_control_written),
                 R(apm_status, 1, .rw = 0xff),
                 REG_END,
             },
             2},
    [SLOTS] = {"acpi-pci-slots",
               (const struct reg[]){
                   R(slots_up, 0, .hold = UINT32_MAX),
                   R(slots_down, 4, .hold = UINT32_MAX),
                   REG_PORT("eject", 8, 32, .written = eject_written),
                   REG_PORT("removable", 12, 32, .read = removable_slots),
                   REG_END,
               },
               16},
    [CPUS] = {"acpi-cpu-map",
              (const struct reg[]){
                  REG_PORT("online", 0, 8, .count = ACPI_VCPU_MAX / 8, .read = cpu_map_byte),
                  REG_END,
              },
              ACPI_VCPU_MAX / 8},
    [GPE] = {"acpi-gpe0",
             (const struct reg[]){
                 R(gpe_status, 0, .w1c = 0xffff),
                 R(gpe_enable, 2, .rw = 0xffff),
                 REG_END,
             },
             4, gpe_changed},
    [DEBUG] = {"acpi-debug", (const struct reg[]){RS(debug_byte, 0, .rw = 0xff), REG_END}, 4},
    /* Four bytes, so that Xen forwards a dword access as a whole; the upper two are reserved. */
    [PM1] = {"acpi-pm1-control",
             (const struct reg[]){
                 /*
                  * At wake-up firmware would set up PMBASE and switch to ACPI mode again, but Xen
                  * starts in SeaBIOS, which leaves that to hvmloader, which does not run. So what
                  * it did before stays.
                  */
                 R(control, 0, .rw = 0xffff, .wakeup = PM1_SCI_EN, .written = control_written),
                 REG_END,
             },
             4},
    [SMB] = {"smbus",
             (const struct reg[]){
                 R(smb_status, 0, .w1c = SMB_STS_CLEAR),
                 R(smb_control, 2, .rw = 0xff, .read = smb_control_read,
                   .written = smb_control_written),
                 R(smb_command, 3, .rw = 0xff),
                 R(smb_address, 4, .rw = 0xff),
                 R(smb_data0, 5, .rw = 0xff),
                 R(smb_data1, 6, .rw = 0xff),
                 REG_PORT("smb_block", 7, 8, .read = smb_block_read, .written = smb_block_written),
                 RS(smb_slave, 8, .rw = 0xff),
                 REG_END,
             },
             SMB_SIZE},
};

static const uint16_t block_port[] = {
    [APM] = 0xb2, [SLOTS] = 0xae00, [CPUS] = 0xaf00, [GPE] = 0xafe0, [DEBUG] = 0xb044,
};

/* ---- configuration ---- */

static const struct pci_config_reg registers[] = {
    {0x06, 0x80},
    {0x07, 0x02}, /* fast back-to-back, medium DEVSEL# timing */
    {REG_PMBASE, 0x01, 0xc0},
    {0x41, 0x00, 0xff},
    {0x44, 0x00, 0xff}, /* CNTA */
    {0x45, 0x00, 0xff},
    {0x46, 0x00, 0xff},
    {0x47, 0x00, 0xff},
    {0x48, 0x00, 0xff}, /* CNTB */
    {0x49, 0x00, 0xff},
    {0x4a, 0x00, 0xff},
    {0x4b, 0x00, 0x07},
    {0x4c, 0x00, 0xff}, /* GPICTL */
    {0x4d, 0x00, 0xff},
    {0x4e, 0x00, 0xff},
    {0x4f, 0x00, 0xff},
    {0x54, 0x00, 0xff}, /* DEVACTA */
    {0x55, 0x00, 0xff},
    {0x56, 0x00, 0xff},
    {0x57, 0x00, 0xff},
    {0x58, 0x00, 0xff}, /* DEVACTB */
    {0x59, 0x00, 0xff},
    {0x5a, 0x00, 0xff},
    {0x5b, 0x00, 0x0f},
    {0x5f, 0x10, 0xff}, /* DEVRESA-D: ports that firmware set up; as QEMU presents them */
    {0x63, 0x60, 0xff},
    {0x67, 0x00, 0xff},
    {REG_PMREGMISC, 0x00, 0x01},
    {REG_SMBBA, 0x01, 0xf0},
    {0x91, 0xb1, 0xff},
    {REG_SMBHSTCFG, 0x09, 0x0f},
    {0xd3, 0x00, 0xff}, /* SMBSLVC */
    {0xd4, 0x00, 0xff}, /* SMBSHDW1 */
    {0xd5, 0x00, 0xff}, /* SMBSHDW2 */
    {0},
};

/* Moves a block to where its base register says; if that is taken, nowhere. */
static void move_block(struct piix4_pm *s, struct region *r, uint64_t *at, uint64_t to)
{
    g_autoptr(GError) err = NULL;
    int rc;

    if (*at == to) {
        return;
    }
    region_remove(r);
    *at = NOWHERE;
    if (to == NOWHERE) {
        return;
    }
    rc = region_place(s->pci.dev.machine->pio, r, to, &err);
    if (rc < 0) {
        if (region_misplaced(rc)) {
            log_guest(LOG_ACPI, "%s cannot be at port 0x%x: %s", r->name, (unsigned)to,
                      err->message);
        } else if (s->refusals++ < REFUSALS_LOGGED) {
            log_warning(LOG_ACPI, "%s is not there: %s", r->name, err->message);
        }
        return;
    }
    *at = to;
}

static void update_blocks(struct piix4_pm *s)
{
    uint32_t pm = s->pci.config[REG_PMBASE] | (uint32_t)s->pci.config[REG_PMBASE + 1] << 8;
    uint32_t smb = s->pci.config[REG_SMBBA] | (uint32_t)s->pci.config[REG_SMBBA + 1] << 8;
    bool pm_on = s->pci.config[REG_PMREGMISC] & PMREGMISC_ENABLE;
    bool smb_on = s->pci.config[REG_SMBHSTCFG] & SMBHSTCFG_ENABLE;

    move_block(s, &s->bank[PM1].region, &s->pm1_at, pm_on ? (pm & 0xffc0) + PM1_CONTROL : NOWHERE);
    move_block(s, &s->bank[SMB].region, &s->smb_at, smb_on ? smb & 0xfff0 : NOWHERE);
}

static void pm_config_written(struct device *dev, unsigned reg, unsigned len, uint32_t old)
{
    struct piix4_pm *s = DEVICE_CAST(struct piix4_pm, dev);

    switch (reg & ~3u) {
    case REG_PMBASE:
    case REG_PMREGMISC:
    case REG_SMBBA:
    case REG_SMBHSTCFG & ~3u:
        update_blocks(s);
    }
}

static int pm_realize(struct device *dev, GError **err)
{
    struct piix4_pm *s = DEVICE_CAST(struct piix4_pm, dev);
    int ret = 0;

    for (unsigned i = 0; i < BLOCKS; i++) {
        reg_bank_init(&s->bank[i], &blocks[i], dev);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(block_port) && ret == 0; i++) {
        ret = device_place_pio(dev, &s->bank[i].region, block_port[i], err);
    }
    s->pm1_at = NOWHERE;
    s->smb_at = NOWHERE;
    device_connect_isa_irq(dev, &s->sci, SCI_IRQ);
    pci_set_hotplug(dev->machine->pci, &slot_hotplug, s);
    for (unsigned i = 0; i < dev->machine->vcpus_online && i < ACPI_VCPU_MAX; i++) {
        s->cpu_map[i / 8] |= 1u << i % 8;
    }
    return ret;
}

static void pm_unrealize(struct device *dev)
{
    struct piix4_pm *s = DEVICE_CAST(struct piix4_pm, dev);

    pci_set_hotplug(dev->machine->pci, NULL, NULL);
    region_remove(&s->bank[PM1].region);
    region_remove(&s->bank[SMB].region);
    irq_set(&s->sci, false);
}

static void pm_reset(struct device *dev, enum reset_reason why)
{
    struct piix4_pm *s = DEVICE_CAST(struct piix4_pm, dev);

    s->smb_index = 0;
    memset(s->smb_block, 0, sizeof(s->smb_block));
    update_sci(s, false);
    update_blocks(s);
}

static void pm_post_load(void *base)
{
    struct piix4_pm *s = base;

    s->smb_index %= sizeof(s->smb_block);
    update_blocks(s);
}

static void pm_describe(struct device *dev, struct facts *to)
{
    struct piix4_pm *s = DEVICE_CAST(struct piix4_pm, dev);
    unsigned online = 0;

    for (unsigned i = 0; i < ACPI_VCPU_MAX; i++) {
        online += acpi_vcpu_is_online(dev, i);
    }
    fact_hex(to, "PM1a control", s->control);
    fact_bool(to, "ACPI enabled", s->control & PM1_SCI_EN);
    fact_bool(to, "decoded", s->pm1_at != NOWHERE);
    fact_hex(to, "GPE0 status", s->gpe_status);
    fact_hex(to, "GPE0 enable", s->gpe_enable);
    fact_text(to, "SCI", "%s", s->sci.level ? "high" : "low");
    fact_int(to, "vCPUs online", online);
    fact_bool(to, "SMBus decoded", s->smb_at != NOWHERE);
}

static bool slots_pending(const void *base)
{
    const struct piix4_pm *s = base;

    return s->slots_up || s->slots_down;
}

static const struct state_desc slots_state = {
    .name = "slots",
    .version = 1,
    .fields =
        (const struct state_field[]){
            STATE_FIELD_U32(struct piix4_pm, slots_up),
            STATE_FIELD_U32(struct piix4_pm, slots_down),
            STATE_FIELD_END,
        },
    .needed = slots_pending,
};

static const struct state_desc pm_state = {
    .name = "piix4-pm",
    .version = 1,
    .fields =
        (const struct state_field[]){
            STATE_FIELD_IRQ(struct piix4_pm, sci),
            STATE_FIELD_U16(struct piix4_pm, control),
            STATE_FIELD_U8(struct piix4_pm, apm_control),
            STATE_FIELD_U8(struct piix4_pm, apm_status),
            STATE_FIELD_U16(struct piix4_pm, gpe_status),
            STATE_FIELD_U16(struct piix4_pm, gpe_enable),
            STATE_FIELD_BYTES(struct piix4_pm, cpu_map),
            STATE_FIELD_BYTES(struct piix4_pm, debug_byte),
            STATE_FIELD_U8(struct piix4_pm, smb_status),
            STATE_FIELD_U8(struct piix4_pm, smb_control),
            STATE_FIELD_U8(struct piix4_pm, smb_command),
            STATE_FIELD_U8(struct piix4_pm, smb_address),
            STATE_FIELD_U8(struct piix4_pm, smb_data0),
            STATE_FIELD_U8(struct piix4_pm, smb_data1),
            STATE_FIELD_BYTES(struct piix4_pm, smb_block),
            STATE_FIELD_U8(struct piix4_pm, smb_index),
            STATE_FIELD_BYTES(struct piix4_pm, smb_slave),
            STATE_FIELD_END,
        },
    .post_load = pm_post_load,
    .sections = (const struct state_desc *const[]){&slots_state, NULL},
};

static const struct pci_info pm_pci = {
    .vendor = 0x8086,
    .device = 0x7113,
    .subsystem_vendor = 0x1af4, /* QEMU's, so that a guest sees the same hardware */
    .subsystem = 0x1100,
    .class = 0x068000,
    .revision = 3,
    .intx_pin = 1,
    .config = registers,
    .config_written = pm_config_written,
};

const struct device_class piix4_pm_class = {
    .name = "piix4-pm",
    .help = "Intel 82371AB power management",
    .built_in = "every machine with ACPI has one; -no-acpi leaves it out",
    .size = sizeof(struct piix4_pm),
    .recorded = true,
    .state = &pm_state,
    .realize = pm_realize,
    .unrealize = pm_unrealize,
    .reset = pm_reset,
    .describe = pm_describe,
    .pci = &pm_pci,
};
