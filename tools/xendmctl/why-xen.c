/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What Xen says of a guest: paused or ended, what its vCPUs do, which lines are high. See why.h. */
#include <inttypes.h>
#include <string.h>

#include <xen/sched.h>

#include <xendm/bytes.h>

#include "cpu.h"
#include "why.h"

/* vCPUs are looked at so often, so far apart: a quarter of a second in all. */
#define LOOKS 10u
#define LOOK_US 25000
#define SPIN_BYTES 256u /* code in which a vCPU goes round */
#define CODE_BYTES 8u
#define VCPUS_MAX 128u
#define LINE_HIGH_S 2.0

/* ISA lines of what Xen itself emulates, the PIT and the clock: they are not ours to explain. */
#define XEN_LINES (UINT64_C(1) << 0 | UINT64_C(1) << 8)

enum { RFLAGS_IF = 1u << 9 };

/* Registers of the local APIC (Intel's SDM, volume 3, 11.4.1). */
enum { LAPIC_LVTT = 0x320, LAPIC_TMICT = 0x380, LVT_MASKED = 1u << 16 };

/* ---- the domain ---- */

/*
 * Xen's last message that begins with one of its vCPUs, "d7v0 Triple fault …"; "". What it says of
 * each record of a state that is asked for, when its messages are all on, is none.
 */
static char *xens_word(const struct report *r)
{
    g_autofree char *messages = xen_messages(r->xen),
                    *who = g_strdup_printf(" d%uv", r->page->raw.domid), *last = g_strdup("");
    g_auto(GStrv) lines = g_strsplit(messages ? messages : "", "\n", 0);

    for (char **line = lines; *line; line++) {
        const char *at = strstr(*line, who);

        if (at && !strstr(at, " save: ") && !strstr(at, " restore: ")) {
            g_free(last);
            last = g_strdup_printf("%.160s", at + 1);
        }
    }
    return page_clean(last);
}

static void shut_down(struct report *r, unsigned reason)
{
    static const char *const why[] = {
        [SHUTDOWN_poweroff] = "it powered itself off, or its last vCPU halted with interrupts off",
        [SHUTDOWN_reboot] = "it asked for a reboot, or a vCPU met a triple fault",
        [SHUTDOWN_suspend] = "it was suspended, for a save or a migration",
        [SHUTDOWN_crash] = "it crashed",
        [SHUTDOWN_watchdog] = "its watchdog ran out",
        [SHUTDOWN_soft_reset] = "it asked for a soft reset (kexec)",
    };
    g_autofree char *toolstack = why_toolstack(r), *watcher = why_watcher(r), *clean = xens_word(r);

    why_blame(r, "the guest has shut down, and is kept: %s%s%s; %s%s",
              reason < G_N_ELEMENTS(why) ? why[reason] : "for a reason of its own",
              *clean ? "; Xen says: " : "", clean,
              toolstack ? "at work on it is "
              : watcher ? "xl keeps it (on_poweroff, on_reboot, on_crash): "
                        : "no xl watches it, so that nobody removes it: xl destroy",
              toolstack ? toolstack
              : watcher ? watcher
                        : "");
}

void why_domain(struct report *r)
{
    g_autofree char *toolstack = NULL;
    struct xen_domain d;

    if (!r->xen) {
        why_note(r, "Xen could not be asked: nothing is known of its vCPUs (root in domain 0 may)");
        return;
    }
    if (xen_domain(r->xen, &d) < 0) {
        return;
    }
    r->paused = d.paused || d.shutdown || d.dying;
    if (d.dying) {
        why_blame(r, "Xen is destroying the guest: somebody still holds pages of its memory");
    } else if (d.shutdown) {
        shut_down(r, d.reason);
    } else if (d.paused) {
        toolstack = why_toolstack(r);
        if (toolstack) {
            why_blame(r, "the guest is paused in Xen, and at work on it is %s", toolstack);
        } else {
            why_blame(r,
                      "the guest is paused in Xen, and no toolstack or debugger is at work on it: "
                      "xl unpause %u",
                      r->page->raw.domid);
        }
    }
}

/* ---- what vCPUs do ---- */

struct look {
    bool online, ran;       /* ran: in one of the looks it was running */
    unsigned blocked;       /* in so many of them */
    uint64_t time;          /* ns of CPU time from the first to the last */
    uint64_t first;         /* CPU time at the first */
    uint64_t low, high;     /* of its instruction's address */
    bool deaf;              /* interrupts were off each time */
    struct hvm_hw_cpu regs; /* at the last */
    bool seen;
};

static bool take_look(struct xen *x, unsigned vcpus, struct look *looks, bool is_first)
{
    g_autoptr(GByteArray) state = NULL;

    for (unsigned i = 0; i < vcpus; i++) {
        struct xen_vcpu v = {0};

        looks[i].online = xen_vcpu(x, i, &v) == 0 && v.online;
        looks[i].ran |= v.running;
        looks[i].blocked += v.blocked;
        looks[i].first = is_first ? v.cpu_time : looks[i].first;
        looks[i].time = v.cpu_time - looks[i].first;
    }
    state = xen_state(x);
    for (unsigned i = 0; state && i < vcpus; i++) {
        const struct hvm_hw_cpu *regs = XEN_STATE(state, CPU, i);

        if (regs) {
            uint64_t at = cpu_instruction(regs);

            looks[i].deaf = (!looks[i].seen || looks[i].deaf) && !(regs->rflags & RFLAGS_IF);
            looks[i].low = looks[i].seen ? MIN(looks[i].low, at) : at;
            looks[i].high = looks[i].seen ? MAX(looks[i].high, at) : at;
            looks[i].regs = *regs;
            looks[i].seen = true;
        }
    }
    return state != NULL;
}

/* A kernel that is not where it was linked: Linux' handler of interrupt 0 tells how far. */
static uint64_t kernel_slide(const struct report *r, const struct hvm_hw_cpu *regs)
{
    static const char *const handlers[] = {"asm_exc_divide_error", "divide_error"};
    uint8_t gate[16];

    if (cpu_mode(regs) != CPU_64 ||
        cpu_read(r->xen, regs, regs->idtr_base, gate, sizeof(gate)) != sizeof(gate)) {
        return 0;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(handlers); i++) {
        uint64_t linked = symbols_address(r->map, handlers[i]);

        if (linked) {
            /* the SDM, volume 3, 6.14.1: the offset of a gate is in three parts */
            return load_le16(gate) + ((uint64_t)load_le16(gate + 6) << 16) +
                   ((uint64_t)load_le32(gate + 8) << 32) - linked;
        }
    }
    return 0;
}

/* "at 0xffffffff81000012 (cpu_idle+0x12) in 64-bit mode, code f4 c3" */
static char *place(const struct report *r, const struct hvm_hw_cpu *regs)
{
    GString *text = g_string_new("at ");
    enum cpu_mode mode = cpu_mode(regs);
    uint8_t code[CODE_BYTES];
    size_t n = cpu_read(r->xen, regs, cpu_instruction(regs), code, sizeof(code));
    g_autofree char *name = r->map ? symbols_name(r->map, regs->rip, kernel_slide(r, regs)) : NULL;

    if (cpu_bits(mode) == 16) {
        g_string_append_printf(text, "%04x:%04" PRIx64, regs->cs_sel, regs->rip);
    } else {
        g_string_append_printf(text, "0x%" PRIx64, regs->rip);
    }
    if (name) {
        g_string_append_printf(text, " (%s)", name);
    }
    g_string_append_printf(text, " in %s, %s", cpu_mode_name(mode),
                           n > 0 ? "code" : "where there is no memory");
    for (size_t i = 0; i < n; i++) {
        g_string_append_printf(text, " %02x", code[i]);
    }
    return g_string_free(text, FALSE);
}

/* ---- firmware, boot sectors ---- */

#define BOOT_SECTOR 0x7c00u
#define LOW_END 0xa0000u
#define FIRMWARE 0xc0000u /* option ROMs, then SeaBIOS, up to the first MiB */
#define FIRMWARE_END 0x100000u

struct media {
    const struct report *r;
    GString *text;
    unsigned bootable, busy;
};

static void medium(void *opaque, const char *group, const char *id, JsonObject *facts)
{
    struct media *m = opaque;
    g_autofree char *name = page_clean(id), *file = page_text(m->r->page, group, "file"),
                    *format = page_text(m->r->page, group, "format");
    const char *problem = NULL;

    m->busy += json_object_get_int_member(facts, "in flight") > 0;
    if (m->busy) {
        return; /* it is the disk that is waited for */
    }
    if (!*file) {
        problem = "is empty";
    } else if (strcmp(format, "raw") == 0) {
        problem = host_not_bootable(file);
    }
    if (!problem && page_int(m->r->page, group, "reads") == 0) {
        problem = "was not read";
    }
    if (problem) {
        g_string_append_printf(m->text, "%s%s %s", m->text->len ? ", " : "", name, problem);
    }
    m->bootable += !problem;
}

/* True: nothing else is to be said of this vCPU. */
static bool firmware(struct report *r, const struct look *look, const char *where)
{
    bool waits = look->blocked == LOOKS || look->high - look->low < SPIN_BYTES;
    uint64_t at = cpu_instruction(&look->regs);
    struct media m = {r, NULL, 0, 0};

    if (cpu_bits(cpu_mode(&look->regs)) != 16 || at < FIRMWARE || at >= FIRMWARE_END) {
        return false;
    }
    m.text = g_string_new(NULL);
    page_foreach(r->page, "block", medium, &m);
    if (m.busy == 0 && m.bootable == 0 && waits) {
        why_blame(r, "the firmware found nothing to boot: %s; it waits %s",
                  m.text->len ? m.text->str : "there is no disk", where);
    } else if (m.busy == 0) {
        why_note(r, "the guest is still in its firmware, %s%s%s", where, m.text->len ? "; " : "",
                 m.text->str);
    }
    g_string_free(m.text, TRUE);
    return true;
}

static const char *whose(const struct look *look)
{
    enum cpu_mode mode = cpu_mode(&look->regs);
    uint64_t at = cpu_instruction(&look->regs);

    if (mode != CPU_REAL || at >= LOW_END) {
        return "";
    }
    return at >= BOOT_SECTOR && at < BOOT_SECTOR + 512 ? ", in the boot sector"
                                                       : ", before any kernel was there";
}

/* ---- the verdict on each ---- */

static const char *timer(const GByteArray *state, unsigned vcpu)
{
    const struct hvm_hw_lapic_regs *lapic = state ? XEN_STATE(state, LAPIC_REGS, vcpu) : NULL;
    const struct hvm_hw_lapic *base = state ? XEN_STATE(state, LAPIC, vcpu) : NULL;
    uint32_t lvt = LVT_MASKED, count = 0;

    if (lapic) {
        memcpy(&lvt, lapic->data + LAPIC_LVTT, sizeof(lvt));
        memcpy(&count, lapic->data + LAPIC_TMICT, sizeof(count));
    }
    return !(lvt & LVT_MASKED) && (count || (base && base->tdt_msr))
               ? "the timer of its local APIC is armed"
               : "the timer of its local APIC is not armed (Xen's own, which Linux uses, is not "
                 "to be seen)";
}

static bool is_busy(const struct look *look)
{
    return look->time > LOOKS * LOOK_US * UINT64_C(1000) / 2;
}

static void one(struct report *r, const GByteArray *state, unsigned n, const struct look *look)
{
    g_autofree char *where = place(r, &look->regs);

    if (is_busy(look)) {
        r->idle = false;
        if (firmware(r, look, where)) {
            return;
        }
        if (look->high - look->low < SPIN_BYTES && cpu_level(&look->regs) == 0) {
            why_blame(r,
                      "vCPU %u spins %s%s%s: it has gone nowhere else for %u ms, and uses all "
                      "of its CPU",
                      n, where, whose(look), look->deaf ? ", with interrupts off" : "",
                      LOOKS * LOOK_US / 1000);
        } else {
            why_note(r, "vCPU %u computes, now %s", n, where);
        }
    } else if (look->blocked == LOOKS && look->deaf) {
        if (!firmware(r, look, where)) {
            why_blame(r,
                      "vCPU %u has halted with interrupts off, %s%s: nothing but a reset, an NMI "
                      "or another vCPU wakes it",
                      n, where, whose(look));
        }
    } else if (look->blocked == LOOKS) {
        if (!firmware(r, look, where)) {
            why_note(r, "vCPU %u idles %s; %s", n, where, timer(state, n));
        }
    } else if (!look->ran && look->blocked == 0 && look->time == 0) {
        r->idle = false;
        why_note(r, "vCPU %u neither runs nor idles: it waits for the answer to an access, %s", n,
                 where);
    } else {
        r->idle = false;
        why_note(r, "vCPU %u runs now and then, last %s", n, where);
    }
}

void why_vcpus(struct report *r)
{
    g_autofree struct look *looks = NULL;
    g_autoptr(GByteArray) state = NULL;
    struct xen_domain d;
    unsigned online = 0;

    if (!r->xen || xen_domain(r->xen, &d) < 0) {
        return;
    }
    d.vcpus = MIN(d.vcpus, VCPUS_MAX);
    looks = g_new0(struct look, d.vcpus + 1);
    for (unsigned i = 0; i < (r->paused ? 1 : LOOKS); i++) {
        if (i > 0) {
            g_usleep(LOOK_US);
        }
        if (!take_look(r->xen, d.vcpus, looks, i == 0)) {
            why_note(r, "Xen does not tell the registers of its vCPUs");
            return;
        }
    }
    state = xen_state(r->xen);
    r->idle = !r->paused;
    for (unsigned i = 0; i < d.vcpus; i++) {
        if (!looks[i].seen) {
            continue;
        }
        online++;
        if (r->paused) {
            g_autofree char *where = place(r, &looks[i].regs);

            why_note(r, "vCPU %u stands %s", i, where);
        } else {
            one(r, state, i, &looks[i]);
        }
    }
    if (online == 0) {
        why_blame(r, "none of the guest's %u vCPUs is online", d.vcpus);
    }
}

/* ---- interrupt lines ---- */

/* Since when it is high, s; negative: it is longer ago than the recorder goes back. */
static double high_since(const struct report *r, uint64_t line, uint64_t intx)
{
    const struct recorder *rec = &r->page->raw.recorder;

    for (uint64_t i = rec->next; i > page_recorder_first(r->page); i--) {
        const struct recorder_entry *e = &rec->entry[(i - 1) % RECORDER_SIZE];

        if (e->kind == REC_IRQ && e->a == line && e->b == intx) {
            return page_ago_us(r->page, e) / 1e6;
        }
    }
    return -1;
}

/* Whether nobody is told of that line: it is masked in the IO-APIC and in the 8259. */
static bool is_masked(const GByteArray *state, unsigned gsi)
{
    const struct hvm_hw_vioapic *ioapic = XEN_STATE(state, IOAPIC, 0);
    const struct hvm_hw_vpic *pic = gsi < 16 ? XEN_STATE(state, PIC, gsi / 8) : NULL;
    bool by_ioapic =
        !ioapic || gsi >= G_N_ELEMENTS(ioapic->redirtbl) || ioapic->redirtbl[gsi].fields.mask;

    return by_ioapic && (!pic || pic->imr >> gsi % 8 & 1);
}

static void line(struct report *r, const GByteArray *state, const char *name, unsigned gsi,
                 double since)
{
    g_autofree char *how_long =
        since < 0 ? g_strdup("long ago") : g_strdup_printf("%.1f s ago", since);
    const char *masked =
        is_masked(state, gsi) ? "the guest has masked it" : "the guest has not masked it";

    if (since >= 0 && since < LINE_HIGH_S) {
        return;
    }
    if (r->idle && !r->paused && page_int(r->page, "machine", "started")) {
        why_blame(r,
                  "%s was raised %s and is high still, and all vCPUs idle: %s, and does not "
                  "serve its device",
                  name, how_long, masked);
    } else {
        why_note(r, "%s is high since %s; %s", name, how_long, masked);
    }
}

void why_lines(struct report *r)
{
    g_autoptr(GByteArray) state = r->xen ? xen_state(r->xen) : NULL;
    const struct hvm_hw_pci_irqs *pci;
    const struct hvm_hw_isa_irqs *isa;
    int64_t refused = page_int(r->page, "hypervisor", "interrupts refused");

    if (refused > 0) {
        why_blame(r,
                  "Xen refused %" PRId64 " interrupts of the device model's: they are lost, and "
                  "the guest waits for them",
                  refused);
    }
    if (!state) {
        return;
    }
    pci = XEN_STATE(state, PCI_IRQ, 0);
    isa = XEN_STATE(state, ISA_IRQ, 0);
    for (unsigned i = 0; isa && i < 16; i++) {
        if ((isa->pad[0] & ~XEN_LINES) >> i & 1) {
            g_autofree char *name = g_strdup_printf("interrupt line %u", i);

            line(r, state, name, i, high_since(r, i, 0));
        }
    }
    for (unsigned i = 0; pci && i < 128; i++) {
        if (pci->pad[i / 64] >> i % 64 & 1) {
            unsigned slot = i / 4, pin = i % 4;
            g_autofree char *name =
                g_strdup_printf("interrupt INT%c of PCI device 00:%02x", 'A' + pin, slot);

            /* where Xen has it at the IO-APIC, as its DSDT tells the guest */
            line(r, state, name, 16 + ((slot * 4 + slot / 8 + pin) & 31), high_since(r, i, 1));
        }
    }
}
