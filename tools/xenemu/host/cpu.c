/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vCPUs as others see them; see cpu.h. */
#include <stdint.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/vm_event.h>
#include "cpu.h"
#include "domain.h"

#define RUN_MAX 4096u /* instructions, then it is taken to run for ever */

enum { FLAG_TF = 0x100, DR6_BS = 0x4000 };
enum { TRAP_HW = 3, TRAP_INT1 = 5 }; /* HVMOP_TRAP_hw_exc, _pri_sw_exc */

void cpu_init(struct cpu *cpu)
{
    struct hvm_hw_cpu *r = &cpu->regs;

    memset(cpu, 0, sizeof(*cpu));
    cpu->online = cpu->blocked = true;
    r->rip = 0x1000;
    r->rsp = 0x8000;
    r->rflags = 0x202; /* interrupts are on */
    r->cr0 = 0x80050033;
    r->cr4 = 0x20;
    r->cr3 = 0x2000; /* whoever wants virtual addresses makes the tables */
    r->msr_efer = 0xd00;
    r->cs_sel = 0x10;
    r->cs_arbytes = 0xa9b; /* 64-bit code, in the layout of VT-x without the gap */
    r->cs_limit = UINT32_MAX;
    r->ss_sel = r->ds_sel = r->es_sel = 0x18;
    r->ss_arbytes = r->ds_arbytes = r->es_arbytes = 0xc93;
    r->dr6 = 0xffff0ff0;
    r->dr7 = 0x400;
}

/* ---- by name ---- */

#define REG(name) \
    { \
#name, offsetof(struct cpu, regs.name), sizeof(((struct cpu *)0)->regs.name) \
    }
#define STATE(name) \
    { \
#name, offsetof(struct cpu, name), sizeof(((struct cpu *)0)->name) \
    }

static const struct {
    const char *name;
    size_t offset;
    unsigned int size;
} registers[] = {
    REG(rax),        REG(rbx),      REG(rcx),      REG(rdx),       REG(rbp),       REG(rsi),
    REG(rdi),        REG(rsp),      REG(r8),       REG(r9),        REG(r10),       REG(r11),
    REG(r12),        REG(r13),      REG(r14),      REG(r15),       REG(rip),       REG(rflags),
    REG(cr0),        REG(cr2),      REG(cr3),      REG(cr4),       REG(dr0),       REG(dr1),
    REG(dr2),        REG(dr3),      REG(dr6),      REG(dr7),       REG(cs_sel),    REG(ds_sel),
    REG(es_sel),     REG(fs_sel),   REG(gs_sel),   REG(ss_sel),    REG(cs_base),   REG(ds_base),
    REG(es_base),    REG(fs_base),  REG(gs_base),  REG(ss_base),   REG(idtr_base), REG(cs_arbytes),
    REG(ss_arbytes), REG(msr_efer), STATE(online), STATE(blocked), STATE(running), STATE(time),
    STATE(wander),
};

void *cpu_register(struct cpu *cpu, const char *name, unsigned int *size)
{
    for (size_t i = 0; i < G_N_ELEMENTS(registers); i++) {
        if (!strcmp(registers[i].name, name)) {
            *size = registers[i].size;
            return (char *)cpu + registers[i].offset;
        }
    }
    return NULL;
}

void cpu_foreach_register(struct cpu *cpu,
                          void (*fn)(void *opaque, const char *name, uint64_t value), void *opaque)
{
    for (size_t i = 0; i < G_N_ELEMENTS(registers); i++) {
        uint64_t value = 0;

        memcpy(&value, (char *)cpu + registers[i].offset, registers[i].size);
        fn(opaque, registers[i].name, value);
    }
}

/* ---- as a saved state ---- */

static void add(GByteArray *to, unsigned int type, unsigned int instance, const void *data,
                size_t size)
{
    struct hvm_save_descriptor head = {(uint16_t)type, (uint16_t)instance, (uint32_t)size};

    g_byte_array_append(to, (const guint8 *)&head, sizeof(head));
    if (size)
        g_byte_array_append(to, data, (guint)size);
}

#define ADD(to, code, instance, data) \
    add(to, HVM_SAVE_CODE(code), instance, &(data), sizeof(HVM_SAVE_TYPE(code)))

void cpu_save_domain(struct domain *d, GByteArray *to)
{
    struct hvm_save_header header = {.magic = 0x54381286u, .version = 2};
    struct hvm_hw_pci_irqs pci = {0};
    struct hvm_hw_isa_irqs isa = {0};
    struct hvm_hw_pci_link link = {0};
    struct hvm_hw_vioapic ioapic;
    struct hvm_hw_lapic_regs lapic;
    unsigned int i, pin;

    ADD(to, HEADER, 0, header);
    for (i = 0; i < d->nr_vcpus; i++)
        if (d->vcpu[i].cpu.online)
            ADD(to, CPU, i, d->vcpu[i].cpu.regs);
    for (i = 0; i < 2; i++) {
        struct hvm_hw_vpic pic = {.is_master = !i, .imr = xen_pic_mask(d, i)};

        ADD(to, PIC, i, pic);
    }
    xen_ioapic(d, &ioapic);
    ADD(to, IOAPIC, 0, ioapic);
    xen_lapic(d, &lapic);
    for (i = 0; i < d->nr_vcpus; i++)
        ADD(to, LAPIC_REGS, i, lapic);
    for (i = 0; i < 32; i++)
        for (pin = 0; pin < 4; pin++)
            if (d->pci_intx[pin] >> i & 1)
                pci.pad[i / 16] |= UINT64_C(1) << (i % 16 * 4 + pin);
    ADD(to, PCI_IRQ, 0, pci);
    isa.pad[0] = d->isa_level;
    ADD(to, ISA_IRQ, 0, isa);
    memcpy(link.route, d->link_route, sizeof(link.route));
    ADD(to, PCI_LINK, 0, link);
    add(to, 0, 0, NULL, 0);
}

/* ---- what little it executes ---- */

static const uint8_t *code(struct domain *d, uint64_t address)
{
    enum mem_type type;
    uint64_t left;
    const uint8_t *at = mem_ptr(d, address, &left, &type);

    return at && left >= 2 ? at : NULL;
}

/* A debug exception: the debugger's, who has the domain paused, or its monitor's. */
static void trap(struct domain *d, unsigned int vcpu, uint8_t type)
{
    if (d->debugged)
        d->paused = true;
    else
        monitor_tell(d, vcpu,
                     d->vcpu[vcpu].cpu.step ? VM_EVENT_REASON_SINGLESTEP
                                            : VM_EVENT_REASON_DEBUG_EXCEPTION,
                     type);
}

/* A debugger finds the instruction pointer behind it; a guest's own handler has been through. */
static bool execute_int3(struct domain *d, unsigned int vcpu)
{
    d->vcpu[vcpu].cpu.regs.rip++;
    d->paused = d->paused || d->debugged;
    return !d->debugged;
}

/* The monitor finds it at the instruction. One that is injected is the guest's, as above. */
static bool execute_int1(struct domain *d, unsigned int vcpu)
{
    bool injected = d->vcpu[vcpu].event_pending;

    d->vcpu[vcpu].event_pending = false;
    if (injected)
        d->vcpu[vcpu].cpu.regs.rip++;
    else
        trap(d, vcpu, TRAP_INT1);
    return injected;
}

/* False: it cannot go on, or stops for the debugger. */
static bool execute(struct domain *d, unsigned int vcpu)
{
    struct cpu *cpu = &d->vcpu[vcpu].cpu;
    struct hvm_hw_cpu *r = &cpu->regs;
    bool stepping = cpu->step || (r->rflags & FLAG_TF);
    const uint8_t *at = code(d, r->cs_base + r->rip);

    cpu->time++;
    switch (at ? *at : 0) {
    case 0x90: /* nop */
        r->rip++;
        break;
    case 0xeb: /* jmp */
        r->rip += 2 + (uint64_t)(int64_t)(int8_t)at[1];
        break;
    case 0xcc:
        return execute_int3(d, vcpu);
    case 0xf1:
        return execute_int1(d, vcpu);
    default:
        return false;
    }
    if (stepping) {
        r->dr6 |= DR6_BS;
        trap(d, vcpu, TRAP_HW);
    }
    return !stepping;
}

void cpu_run_debugged(struct domain *d)
{
    for (unsigned int i = 0; i < d->nr_vcpus && !d->paused; i++) {
        struct cpu *cpu = &d->vcpu[i].cpu;

        for (unsigned int n = 0; cpu->online && !cpu->blocked && !cpu->held && n < RUN_MAX; n++)
            if (!execute(d, i))
                break;
    }
}
