/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * i6300esb: the watchdog of Intel's 6300ESB I/O controller hub (8086:25ab). Linux' i6300esb, and
 * what else knows it.
 *
 * Source: 6300ESB data sheet (300641), chapter 16 (watchdog timer, function 4 of device 29).
 *
 *   0x60 in configuration space  bits 1:0 interrupt, bit 2 short ticks, bit 5 no reset
 *   0x68                         bit 0 lock, bit 1 enable, bit 2 free running
 *   0x00, 0x04 PRELOAD           ticks of the first and the second stage, 20 bits
 *   0x08 STATUS   W1C            bit 0: the first stage was over
 *   0x0c RELOAD                  bit 8 begin again, bit 9 it was over once (W1C)
 *
 * A write to PRELOAD or RELOAD counts only as the third of 0x80, 0x86 to RELOAD and itself.
 *
 * What it does at the end is the admin's: the guest's reset (on_reboot), or Xen's own reason for a
 * watchdog (on_watchdog), or nothing. Left out: the interrupt at the end of the first stage, which
 * goes to a second I/O APIC that no Xen guest has, and SMI; a flag that says to the next boot who
 * caused it, for after a reset Xen makes a new domain.
 */
#include <errno.h>
#include <string.h>

#include <xendm/classes.h>
#include <xendm/clock.h>
#include <xendm/error.h>
#include <xendm/facts.h>
#include <xendm/log.h>
#include <xendm/machine.h>
#include <xendm/pci.h>
#include <xendm/regs.h>

#define BAR_BYTES 16u
#define CONFIG_CONTROL 0x60u
#define CONFIG_LOCK 0x68u
#define CONTROL_WRITABLE 0x27
#define CONTROL_INTERRUPT 0x03 /* 0: by APIC, 2: SMI, 3: none */
#define CONTROL_SHORT 0x04
#define CONTROL_NO_RESET 0x20
#define LOCK_LOCK 0x01
#define LOCK_ENABLE 0x02
#define LOCK_FREE 0x04

#define PRELOAD_BITS 0xfffffu
#define STATUS_STAGE 0x1u
#define RELOAD_BEGIN 0x100u
#define RELOAD_OVER 0x200u
#define UNLOCK_1 0x80
#define UNLOCK_2 0x86

/* A tick is 2^15 clocks of the PCI bus, a short one 2^5. */
#define CLOCK_MHZ 33
#define TICK_SHIFT 15
#define TICK_SHORT_SHIFT 5
#define STAGE_MIN NS_PER_MS /* a guest that asks for less gets no more wake-ups than these */

#define WATCHDOG_REGS(R) \
    R(preload1, 0x00, 32, .reset = PRELOAD_BITS, .rw = PRELOAD_BITS, .writable = is_unlocked) \
    R(preload2, 0x04, 32, .reset = PRELOAD_BITS, .rw = PRELOAD_BITS, .writable = is_unlocked) \
    R(status, 0x08, 32, .w1c = STATUS_STAGE) \
    R(reload, 0x0c, 16, .hold = RELOAD_OVER, .written = reload_written)

enum action {
    ACTION_RESET,
    ACTION_WATCHDOG,
    ACTION_NONE,
};
static const char *const action_names[] = {"reset", "watchdog", "none", NULL};

struct watchdog {
    struct pci_device pci;
    char *action_name; /* property */
    enum action action;
    REG_FIELDS(WATCHDOG_REGS)
    uint8_t unlocked;    /* of the two writes before the third */
    uint8_t stage;       /* 1, 2; 0: it stands */
    struct vtimer timer; /* armed while it runs */
};

static struct watchdog *watchdog_of(struct device *dev)
{
    return DEVICE_CAST(struct watchdog, dev);
}

/* ---- the timer ---- */

static void begin_stage(struct watchdog *s, uint8_t stage)
{
    unsigned shift = s->pci.config[CONFIG_CONTROL] & CONTROL_SHORT ? TICK_SHORT_SHIFT : TICK_SHIFT;
    uint64_t ticks = stage == 1 ? s->preload1 : s->preload2;
    int64_t ns = (int64_t)((ticks << shift) * 1000 / CLOCK_MHZ);

    s->stage = stage;
    vtimer_arm_in(&s->timer, MAX(ns, STAGE_MIN));
}

static void stand(struct watchdog *s)
{
    s->stage = 0;
    vtimer_disarm(&s->timer);
}

static void bite(struct watchdog *s)
{
    struct machine *m = s->pci.dev.machine;

    log_provoked(LOG_CORE, XLOG_WARNING, "%s: the guest's watchdog timer ran out: %s",
                 s->pci.dev.id, action_names[s->action]);
    s->reload |= RELOAD_OVER;
    if (s->action == ACTION_RESET) {
        machine_request_reset(m);
    } else if (s->action == ACTION_WATCHDOG) {
        machine_request_watchdog(m);
    }
}

static void stage_ends(void *opaque)
{
    struct watchdog *s = opaque;
    uint8_t control = s->pci.config[CONFIG_CONTROL];

    if (s->stage == 1) {
        if (!(control & CONTROL_INTERRUPT)) {
            s->status |= STATUS_STAGE;
        }
        begin_stage(s, 2);
        return;
    }
    stand(s);
    if (!(control & CONTROL_NO_RESET)) {
        bite(s);
    }
    if (s->pci.config[CONFIG_LOCK] & LOCK_FREE) {
        begin_stage(s, 1);
    }
}

/* ---- registers ---- */

static bool is_unlocked(void *dev)
{
    return ((struct watchdog *)dev)->unlocked == 2;
}

static void reload_written(void *dev, unsigned index, uint64_t old, uint64_t value)
{
    struct watchdog *s = dev;

    if (value == UNLOCK_1) {
        s->unlocked = 1 | 0x80;
    } else if (value == UNLOCK_2 && s->unlocked == 1) {
        s->unlocked = 2 | 0x80;
    } else if (is_unlocked(s)) {
        s->reload &= (uint16_t) ~(value & RELOAD_OVER);
        if ((value & RELOAD_BEGIN) && s->stage) {
            begin_stage(s, 1);
        }
    }
}

/* A write that is no step of the unlocking ends it. */
static void registers_written(void *dev)
{
    struct watchdog *s = dev;

    s->unlocked = s->unlocked & 0x80 ? s->unlocked & 0x03 : 0;
}

#define REG_STRUCT struct watchdog
static const struct reg watchdog_regs[] = {REG_ROWS(WATCHDOG_REGS)};
static const struct reg_block watchdog_block = {"i6300esb", watchdog_regs, BAR_BYTES,
                                                registers_written};

static const struct pci_config_reg watchdog_config[] = {
    {CONFIG_CONTROL, .writable = CONTROL_WRITABLE},
    {CONFIG_LOCK, .writable = LOCK_LOCK | LOCK_ENABLE | LOCK_FREE},
    {0},
};

static void watchdog_config_written(struct device *dev, unsigned reg, unsigned len, uint32_t old)
{
    struct watchdog *s = watchdog_of(dev);
    uint8_t *lock = &s->pci.config[CONFIG_LOCK];

    if (reg != CONFIG_LOCK) {
        return;
    }
    if (old & LOCK_LOCK) {
        *lock = (uint8_t)old; /* until the next reset */
    }
    if (!(*lock & LOCK_ENABLE)) {
        stand(s);
    } else if (!(old & LOCK_ENABLE)) {
        begin_stage(s, 1);
    }
}

/* ---- life ---- */

static int watchdog_realize(struct device *dev, GError **err)
{
    struct watchdog *s = watchdog_of(dev);

    for (s->action = 0; action_names[s->action]; s->action++) {
        if (strcmp(action_names[s->action], s->action_name) == 0) {
            vtimer_init(&s->timer, dev->machine->clock, "i6300esb", stage_ends, s);
            return 0;
        }
    }
    g_set_error(err, XENDM_ERROR, EINVAL, "%s: action=%s: known are reset, watchdog and none",
                dev->id, s->action_name);
    return -EINVAL;
}

static void watchdog_unrealize(struct device *dev)
{
    vtimer_disarm(&watchdog_of(dev)->timer);
}

static void watchdog_reset(struct device *dev, enum reset_reason why)
{
    struct watchdog *s = watchdog_of(dev);

    s->unlocked = 0;
    stand(s);
}

static void watchdog_describe(struct device *dev, struct facts *to)
{
    const struct watchdog *s = watchdog_of(dev);

    fact_text(to, "action", "%s", action_names[s->action]);
    fact_int(to, "stage", s->stage);
}

static const struct property watchdog_properties[] = {
    {.name = "action",
     .type = PROP_STRING,
     .offset = offsetof(struct watchdog, action_name),
     .def = "reset",
     .help = "reset, watchdog (as on_watchdog= says) or none (default reset)"},
    {.name = NULL},
};

static const struct state_field watchdog_fields[] = {
    REG_STATE(WATCHDOG_REGS) STATE_FIELD_U8(struct watchdog, unlocked, .max = 2),
    STATE_FIELD_U8(struct watchdog, stage, .max = 2),
    STATE_FIELD_TIMER(struct watchdog, timer),
    STATE_FIELD_END,
};

static bool watchdog_check(const void *base, GError **err)
{
    const struct watchdog *s = base;

    if (vtimer_armed(&s->timer) != (s->stage != 0)) {
        g_set_error(err, STATE_ERROR, EINVAL, "stage %u and the timer contradict each other",
                    s->stage);
        return false;
    }
    return true;
}

static const struct state_desc watchdog_state = {
    .name = "i6300esb",
    .version = 1,
    .fields = watchdog_fields,
    .check = watchdog_check,
};

static const struct pci_info watchdog_pci = {
    .vendor = 0x8086,
    .device = 0x25ab,
    .subsystem_vendor = 0x1af4, /* as guests that were installed under QEMU know it */
    .subsystem = 0x1100,
    .class = 0x088000,
    .config = watchdog_config,
    .config_written = watchdog_config_written,
    .bar =
        {
            [0] = {.type = PCI_BAR_MEM32, .size = BAR_BYTES, .regs = &watchdog_block},
        },
};

const struct device_class i6300esb_class = {
    .name = "i6300esb",
    .help = "Intel 6300ESB watchdog timer",
    .size = sizeof(struct watchdog),
    .properties = watchdog_properties,
    .state = &watchdog_state,
    .recorded = true,
    .hotplug = true,
    .realize = watchdog_realize,
    .unrealize = watchdog_unrealize,
    .reset = watchdog_reset,
    .describe = watchdog_describe,
    .pci = &watchdog_pci,
};
