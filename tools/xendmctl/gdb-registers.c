/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers as gdb numbers them (its manual, "i386 Features"): the features core and segments, and
 * one of ours with what a kernel's author looks for. The program counter is the linear address of
 * the instruction, segment and all, so that code in real mode is found by it; `ip` is without.
 */
#include <string.h>

#include "gdb.h"

enum what { FIELD, PC, FPU_STACK, FPU_CONTROL };

struct reg {
    const char *name, *type;
    unsigned size; /* as gdb has it */
    enum what what;
    unsigned at;  /* offset, or number */
    unsigned own; /* size of the field */
    bool fixed;   /* cannot be changed */
};

#define AT(field) offsetof(struct hvm_hw_cpu, field), sizeof(((struct hvm_hw_cpu *)0)->field)
#define GENERAL(name, field, size, type) \
    { \
        name, type, size, FIELD, AT(field), false \
    }
#define FIXED(name, field, size, type) \
    { \
        name, type, size, FIELD, AT(field), true \
    }
#define STACK(n) \
    { \
        "st" #n, "i387_ext", 10, FPU_STACK, n, 0, true \
    }
#define CONTROL(name, n) \
    { \
        name, "int", 4, FPU_CONTROL, n, 0, true \
    }

#define SELECTORS \
    FIXED("cs", cs_sel, 4, "int32"), FIXED("ss", ss_sel, 4, "int32"), \
        FIXED("ds", ds_sel, 4, "int32"), FIXED("es", es_sel, 4, "int32"), \
        FIXED("fs", fs_sel, 4, "int32"), FIXED("gs", gs_sel, 4, "int32")
#define FPU \
    STACK(0), STACK(1), STACK(2), STACK(3), STACK(4), STACK(5), STACK(6), STACK(7), \
        CONTROL("fctrl", 0), CONTROL("fstat", 1), CONTROL("ftag", 2), CONTROL("fiseg", 3), \
        CONTROL("fioff", 4), CONTROL("foseg", 5), CONTROL("fooff", 6), CONTROL("fop", 7)
#define SYSTEM(ptr) \
    FIXED("ip", rip, 8, ptr), FIXED("cs_base", cs_base, 8, ptr), \
        FIXED("ss_base", ss_base, 8, ptr), FIXED("ds_base", ds_base, 8, ptr), \
        FIXED("es_base", es_base, 8, ptr), FIXED("cr0", cr0, 8, "int64"), \
        FIXED("cr2", cr2, 8, "int64"), FIXED("cr3", cr3, 8, "int64"), \
        FIXED("cr4", cr4, 8, "int64"), FIXED("efer", msr_efer, 8, "int64"), \
        FIXED("idt_base", idtr_base, 8, "int64"), FIXED("gdt_base", gdtr_base, 8, "int64")

#define CORE_64 (24u + 16u)
static const struct reg registers_64[] = {
    GENERAL("rax", rax, 8, "int64"),
    GENERAL("rbx", rbx, 8, "int64"),
    GENERAL("rcx", rcx, 8, "int64"),
    GENERAL("rdx", rdx, 8, "int64"),
    GENERAL("rsi", rsi, 8, "int64"),
    GENERAL("rdi", rdi, 8, "int64"),
    GENERAL("rbp", rbp, 8, "data_ptr"),
    GENERAL("rsp", rsp, 8, "data_ptr"),
    GENERAL("r8", r8, 8, "int64"),
    GENERAL("r9", r9, 8, "int64"),
    GENERAL("r10", r10, 8, "int64"),
    GENERAL("r11", r11, 8, "int64"),
    GENERAL("r12", r12, 8, "int64"),
    GENERAL("r13", r13, 8, "int64"),
    GENERAL("r14", r14, 8, "int64"),
    GENERAL("r15", r15, 8, "int64"),
    {"rip", "code_ptr", 8, PC, 0, 0, false},
    GENERAL("eflags", rflags, 4, "int32"),
    SELECTORS,
    FPU,
    FIXED("fs_base", fs_base, 8, "int64"),
    FIXED("gs_base", gs_base, 8, "int64"),
    SYSTEM("int64"),
};

#define CORE_32 (16u + 16u)
static const struct reg registers_32[] = {
    GENERAL("eax", rax, 4, "int32"),
    GENERAL("ecx", rcx, 4, "int32"),
    GENERAL("edx", rdx, 4, "int32"),
    GENERAL("ebx", rbx, 4, "int32"),
    GENERAL("esp", rsp, 4, "data_ptr"),
    GENERAL("ebp", rbp, 4, "data_ptr"),
    GENERAL("esi", rsi, 4, "int32"),
    GENERAL("edi", rdi, 4, "int32"),
    {"eip", "code_ptr", 4, PC, 0, 0, false},
    GENERAL("eflags", rflags, 4, "int32"),
    SELECTORS,
    FPU,
    SYSTEM("int64"),
};

static const struct reg *table(unsigned bits, unsigned *count, unsigned *core)
{
    *count = bits == 64 ? G_N_ELEMENTS(registers_64) : G_N_ELEMENTS(registers_32);
    *core = bits == 64 ? CORE_64 : CORE_32;
    return bits == 64 ? registers_64 : registers_32;
}

static void feature(GString *xml, const char *name, const struct reg *regs, unsigned from,
                    unsigned to)
{
    g_string_append_printf(xml, "<feature name=\"%s\">", name);
    for (unsigned i = from; i < to; i++) {
        g_string_append_printf(xml, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\"/>",
                               regs[i].name, regs[i].size * 8, regs[i].type, i);
    }
    g_string_append(xml, "</feature>");
}

char *gdb_description(unsigned bits)
{
    unsigned count, core, segments = bits == 64 ? 2 : 0;
    const struct reg *regs = table(bits, &count, &core);
    GString *xml = g_string_new("<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
                                "<target version=\"1.0\">");

    g_string_append_printf(xml, "<architecture>%s</architecture>",
                           bits == 64   ? "i386:x86-64"
                           : bits == 32 ? "i386"
                                        : "i8086");
    feature(xml, "org.gnu.gdb.i386.core", regs, 0, core);
    if (segments) {
        feature(xml, "org.gnu.gdb.i386.segments", regs, core, core + segments);
    }
    feature(xml, "org.xendm.system", regs, core + segments, count);
    g_string_append(xml, "</target>");
    return g_string_free(xml, FALSE);
}

/* From what FXSAVE wrote (Intel's SDM, volume 1, table 10-2). */
static uint32_t fpu_control(const struct hvm_hw_cpu *regs, unsigned n)
{
    static const struct {
        unsigned at, size;
    } places[] = {{0, 2}, {2, 2}, {4, 1}, {12, 2}, {8, 4}, {20, 2}, {16, 4}, {6, 2}};
    uint32_t value = 0, tags = 0;

    memcpy(&value, regs->fpu_regs + places[n].at, places[n].size);
    if (n != 2) {
        return value;
    }
    for (unsigned i = 0; i < 8; i++) { /* a bit each there, two here: 3 is empty */
        tags |= value >> i & 1 ? 0 : 3u << (2 * i);
    }
    return tags;
}

unsigned gdb_register(unsigned bits, unsigned number, const struct hvm_hw_cpu *regs,
                      uint8_t value[GDB_REGISTER_MAX])
{
    unsigned count, core;
    const struct reg *r = table(bits, &count, &core);
    uint64_t pc = cpu_instruction(regs);
    uint32_t control;

    if (number >= count) {
        return 0;
    }
    r += number;
    memset(value, 0, GDB_REGISTER_MAX);
    switch (r->what) {
    case FIELD:
        memcpy(value, (const char *)regs + r->at, MIN(r->size, r->own));
        break;
    case PC:
        memcpy(value, &pc, r->size);
        break;
    case FPU_STACK:
        memcpy(value, regs->fpu_regs + 32 + 16 * r->at, r->size);
        break;
    case FPU_CONTROL:
        control = fpu_control(regs, r->at);
        memcpy(value, &control, r->size);
        break;
    }
    return r->size;
}

bool gdb_set_register(unsigned bits, unsigned number, struct hvm_hw_cpu *regs, const uint8_t *value)
{
    unsigned count, core;
    const struct reg *r = table(bits, &count, &core);
    uint64_t pc = 0;

    if (number >= count || r[number].fixed) {
        return false;
    }
    r += number;
    if (r->what == PC) {
        memcpy(&pc, value, r->size);
        regs->rip = cpu_mode(regs) == CPU_64 ? pc : (uint32_t)(pc - regs->cs_base);
    } else {
        memcpy((char *)regs + r->at, value, MIN(r->size, r->own));
    }
    return true;
}
